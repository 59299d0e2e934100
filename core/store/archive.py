"""One archive for backup, export, restore and import: a folder, or a zip file that holds the same.

    manifest.json           what it is, when it was made, and the size and hash of every other file
    parcels/<run_id>/       measurements, as in the folder of a warehouse
    people/                 what people wrote or imported, as there
    tables/                 backup: the tables that a user added to the DuckDB file; export: the rows, to be read
    dictionary.csv, .md     export: what each column is

It may come from anybody, so nothing is read before its size is known and allowed, and no name leads anywhere else.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import lzma
import os
import re
import shutil
import stat
import zipfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath
from typing import IO, Any

import pyarrow as pa
import pyarrow.parquet as pq

from core.errors import InputError, ResourceError, Sentence, WarehouseError
from core.files import folders_in, make_folder, workplace
from core.store.parcels import PARCEL_FILES, RUN_FILE
from core.store.people import IMPORT_FILE

FORMAT = 1
SCORE_FILES = (IMPORT_FILE, "scores.parquet", "samples.parquet")
"""The files of one import of scores."""
MANIFEST = "manifest.json"
LARGEST = {".json": 4 * 2**20, ".parquet": 64 * 2**20}
"""Bytes of one file of a parcel. The largest that is known has 3 MB, of a model of a hundred layers."""
LARGEST_TOKENS = 2**30
"""Bytes of the results of single tokens, which are kept on request and never read by an import."""
MOST_CELLS, MOST_UNPACKED = 40_000_000, 2**30
"""Values of one Parquet file, and bytes of them: a small file may hold any number of equal rows."""
MOST_MEMBERS = 2_000_000
_BYTES_OF_A_NAME = 1024
"""Bytes of the manifest for each file that it names; what is larger says something else."""
_RATIO, _FREELY = 50, 16 * 2**20
"""A zip file may unfold to so many times its size, and some bytes more: Parquet is compressed already."""
_HOSTILE = re.compile(r"[\\:\x00-\x1f]|^/|(^|/)\.\.(/|$)")
_NAME = re.compile(
    r"parcels/[0-9a-f-]{36}/[a-z_]+\.(json|parquet)|people/[a-z]+/\w[\w.-]*(/[a-z_]+)?\.(json|parquet)|tables/[0-9]+\.parquet"
)
"""What Workdim itself writes into a backup. The id of a pilot may have letters of any script."""
_CHUNK = 2**20
_NO_ROOM = (errno.ENOSPC, getattr(errno, "EDQUOT", errno.ENOSPC), errno.EROFS, errno.EFBIG)
_BROKEN = (
    zipfile.BadZipFile,
    zipfile.LargeZipFile,
    zlib.error,
    lzma.LZMAError,
    UnicodeDecodeError,
    EOFError,
    NotImplementedError,
    RuntimeError,
)
Progress = Callable[[int, int], None]


# --- writing ---------------------------------------------------------------------------------------------------


class Writer:
    """An archive while it is made, file by file."""

    def __init__(self, place: Path, is_zip: bool) -> None:
        self.place = place
        self.files: dict[str, dict[str, Any]] = {}
        self._packed = zipfile.ZipFile(place, "w") if is_zip else None

    @property
    def n_bytes(self) -> int:
        """Of the files, unpacked."""
        return sum(file["bytes"] for file in self.files.values())

    def add(self, name: str, content: bytes) -> None:
        self.files[name] = {"sha256": hashlib.sha256(content).hexdigest(), "bytes": len(content)}
        self._write(name, content)

    def add_files(self, name: str, folder: Path, files: Sequence[str]) -> bool:
        """Those of these files of a folder that are there, all of which are read before any is written.

        False, and nothing is added, where the folder goes meanwhile.
        """
        try:
            contents = {file: (folder / file).read_bytes() for file in files if (folder / file).is_file()}
            if not (folder / files[0]).is_file():
                return False
        except FileNotFoundError:
            return False
        for file, content in contents.items():
            self.add(f"{name}/{file}", content)
        return bool(contents)

    def close(self, about: dict[str, Any]) -> None:
        """Write the manifest, and force all to the disk."""
        told = {"format": FORMAT, "made_by": "Workdim", "made_at": datetime.now(UTC).isoformat(timespec="seconds")}
        told |= about | {"files": self.files}
        self._write(MANIFEST, json.dumps(told, indent=1, ensure_ascii=False).encode())
        if self._packed is not None:
            self._packed.close()
            with self.place.open("rb") as handle:
                os.fsync(handle.fileno())

    def abandon(self) -> None:
        if self._packed is not None:
            with contextlib.suppress(OSError, ValueError):
                self._packed.close()

    def _write(self, name: str, content: bytes) -> None:
        if self._packed is None:
            target = self.place / name
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(content)
            return
        info = zipfile.ZipInfo(name, datetime.now(UTC).timetuple()[:6])
        info.external_attr = 0o600 << 16
        info.compress_type = zipfile.ZIP_STORED if name.endswith(".parquet") else zipfile.ZIP_DEFLATED
        with self._packed.open(info, "w", force_zip64=True) as write:
            write.write(content)


@contextlib.contextmanager
def written(target: Path, about: dict[str, Any], is_zip: bool) -> Iterator[Writer]:
    """An archive at `target`, a zip file or a folder: whole after the block, or not there.

    `about` is what the manifest says beside the files; the block may add to it. Raises InputError where something is in
    the way, ResourceError where there is no room, or nothing may be written.
    """
    if target.exists() and (is_zip or not target.is_dir() or any(target.iterdir())):
        raise InputError("{target} is there already. Name a new folder or a .zip file with --out.", target=target)
    make_folder(target.parent)
    try:
        with workplace("archive", target.parent) as place:
            writer = Writer(place / f"archive{'.zip' if is_zip else ''}", is_zip)
            try:
                yield writer
                writer.close(about)
            finally:
                writer.abandon()
            if target.is_dir():
                target.rmdir()
            os.replace(writer.place, target)
    except OSError as error:
        raise ResourceError(
            "{target} cannot be written: {reason}. Free some space, or name another place with --out; the "
            "warehouse was not touched.",
            target=target,
            reason=error.strerror or error,
        ) from error


# --- reading ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Archive:
    """An archive that is open: its files by their names in it, none of them read yet but the manifest."""

    path: Path
    members: dict[str, Path | zipfile.ZipInfo]
    about: dict[str, Any] = field(default_factory=dict)
    """What the manifest says; empty where there is none, as beside a folder of parcels."""
    packed: zipfile.ZipFile | None = None

    @property
    def told(self) -> dict[str, dict[str, Any]]:
        """File -> its `sha256` and `bytes` by the manifest."""
        return self.about.get("files", {})

    def folders(self, of: str) -> dict[str, dict[str, str]]:
        """Folder below `of` -> the files in it, by their names there -> their names in the archive."""
        found: dict[str, dict[str, str]] = {}
        for name in self.members:
            if name.startswith(f"{of}/"):
                folder, _, file = name[len(of) + 1 :].rpartition("/")
                found.setdefault(folder, {})[file] = name
        return found

    def extract(self, name: str, target: Path, largest: int | None = None) -> None:
        """Copy one file, no more than is allowed. Raises WarehouseError where it is not what the manifest says."""
        member = self.members[name]
        source = str(member) if isinstance(member, Path) else f"{self.path}, {name}"
        if isinstance(member, Path) and member.is_symlink():
            raise WarehouseError("{source} is a link: archives hold none.", source=source)
        n_bytes = member.stat().st_size if isinstance(member, Path) else member.file_size
        if n_bytes > (_largest(name) if largest is None else largest):
            raise WarehouseError(
                "{source} has {n_bytes:,.0f} MB: no archive of Workdim has such a file.",
                source=source,
                n_bytes=n_bytes / 1e6,
            )
        told = self.told.get(name)
        sha256, left = hashlib.sha256(), n_bytes
        make_folder(target.parent)
        try:
            with self._opened(member) as read, target.open("wb") as write:
                # One byte more than there should be is asked for, and no more: a small zip file may hold terabytes.
                while left >= 0 and (chunk := read.read(min(_CHUNK, left + 1))):
                    left -= len(chunk)
                    sha256.update(chunk)
                    write.write(chunk)
        except OSError as error:
            if error.errno not in _NO_ROOM:
                raise WarehouseError(
                    "{source} cannot be read: {reason}.", source=source, reason=error.strerror or error
                ) from error
            raise ResourceError(
                "{parent} cannot be written to: {reason}.", parent=target.parent, reason=error.strerror
            ) from error
        if left or (self.about and (told is None or told["sha256"] != sha256.hexdigest())):
            raise WarehouseError("{source} is not as the manifest has it, or was cut off.", source=source)

    def unpack(self, into: Path, progress: Progress = lambda done, total: None) -> None:
        """Copy all files. Raises WarehouseError, also where there are other files than the manifest names."""
        strange = next((name for name in (*self.members, *self.told) if not _NAME.fullmatch(name)), None)
        if strange is not None:
            raise _damaged(self.path, Sentence("it holds {strange!r}", strange=strange[:80]))
        if self.members.keys() != self.told.keys():
            raise _damaged(self.path, Sentence("it does not hold what its manifest names"))
        for number, name in enumerate(self.members, start=1):
            of_user = name.startswith("tables/")
            self.extract(name, into / name, largest=2**63 if of_user else None)
            progress(number, len(self.members))

    def _opened(self, member: Path | zipfile.ZipInfo) -> IO[bytes]:
        if isinstance(member, Path):
            return member.open("rb")
        assert self.packed is not None
        return self.packed.open(member)


@contextlib.contextmanager
def opened(path: Path, room: Path | None) -> Iterator[Archive]:
    """An archive, a parcel, or a folder of parcels, to be read; whatever proves wrong with it is one WarehouseError.

    `room` is the folder that it will be unpacked in: what does not fit there is refused, with ResourceError.
    """
    try:
        if path.is_dir():
            yield _of_folder(path)
        elif path.is_file() and zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as packed:
                yield _of_zip(path, packed, room)
        elif path.suffix.lower() == ".zip":
            raise _damaged(path, Sentence("it is no zip file, or was cut off"))
        else:
            raise WarehouseError(
                "{path} is neither a folder nor a .zip file. Name a backup, an export or a folder of parcels; files "
                "of scores are taken by `workdim scores import`.",
                path=path,
            )
    except _BROKEN as error:
        raise _damaged(path, str(error).splitlines()[0] if str(error) else type(error).__name__) from error


def _of_folder(path: Path) -> Archive:
    members: dict[str, Path | zipfile.ZipInfo] = {}

    def add(folder: Path, files: tuple[str, ...], name: str) -> None:
        members.update({f"{name}/{file}": folder / file for file in files if os.path.lexists(folder / file)})

    if (path / RUN_FILE).is_file():
        add(path, PARCEL_FILES, f"parcels/{path.name}")
        return Archive(path, members)
    inner = path / "parcels"
    for folder in folders_in(inner if inner.is_dir() else path):
        if (folder / RUN_FILE).is_file():
            add(folder, PARCEL_FILES, f"parcels/{folder.name}")
    for folder in folders_in(path / "people" / "scores"):
        add(folder, SCORE_FILES, f"people/scores/{folder.name}")
    manifest = path / MANIFEST
    if not manifest.is_file():
        return Archive(path, members)
    if manifest.stat().st_size > _BYTES_OF_A_NAME * (len(members) + 1000):
        raise _damaged(path, Sentence("its {manifest} is too large", manifest=MANIFEST))
    return Archive(path, members, _about(path, manifest.read_bytes()))


def _of_zip(path: Path, packed: zipfile.ZipFile, room: Path | None) -> Archive:
    infos = [info for info in packed.infolist() if not (info.is_dir() or info.filename.startswith("__MACOSX/"))]
    _check(path, infos, room)
    members = dict[str, Path | zipfile.ZipInfo](_as_in_an_archive(path.stem, {info.filename: info for info in infos}))
    manifest = members.pop(MANIFEST, None)
    if not isinstance(manifest, zipfile.ZipInfo):
        return Archive(path, members, packed=packed)
    if manifest.file_size > _BYTES_OF_A_NAME * (len(infos) + 1000):
        raise _damaged(path, Sentence("its {manifest} is too large", manifest=MANIFEST))
    return Archive(path, members, _about(path, packed.read(manifest)), packed)


def _check(path: Path, infos: list[zipfile.ZipInfo], room: Path | None) -> None:
    """By the zip file's own table of contents, before anything is read. Of each file no more is read than it says."""
    names = [info.filename for info in infos]
    hostile = next((name for name in names if _HOSTILE.search(name)), None)
    if hostile is not None:
        raise _damaged(path, Sentence("the name {hostile!r} leads out of it", hostile=hostile[:80]))
    if any(stat.S_ISLNK(info.external_attr >> 16) for info in infos):
        raise _damaged(path, Sentence("it holds links"))
    if len(set(names)) < len(names):
        raise _damaged(path, Sentence("it holds one name twice"))
    if any(info.flag_bits & 1 for info in infos):
        raise WarehouseError("{path} is encrypted. Unpack it first, and name the folder.", path=path)
    unpacked, packed = sum(info.file_size for info in infos), path.stat().st_size
    if len(names) > MOST_MEMBERS or unpacked > _RATIO * packed + _FREELY:
        raise WarehouseError(
            "{path} was refused: its {packed:,.1f} MB would unfold to {unpacked:,.0f} MB in {n_names:,} files, "
            "and no archive of Workdim does.",
            path=path,
            packed=packed / 1e6,
            unpacked=unpacked / 1e6,
            n_names=len(names),
        )
    if room is not None and unpacked > (free := shutil.disk_usage(room).free):
        raise ResourceError(
            "{path} takes {unpacked:,.0f} MB unpacked, and {free:,.0f} are free in {room}. Free some space; "
            "nothing was changed.",
            path=path,
            unpacked=unpacked / 1e6,
            free=free / 1e6,
            room=room,
        )


def _as_in_an_archive(stem: str, infos: dict[str, zipfile.ZipInfo]) -> dict[str, zipfile.ZipInfo]:
    """By the names that an archive has: without the folder that holds it all, and parcels below `parcels`."""
    tops = {name.partition("/")[0] for name in infos if "/" in name}
    if len(tops) == 1 and not any("/" not in name for name in infos) and tops != {"parcels"}:
        top = tops.pop()
        if f"{top}/{RUN_FILE}" not in infos:
            infos = {name[len(top) + 1 :]: info for name, info in infos.items()}
    if RUN_FILE in infos:
        return {f"parcels/{stem}/{name}": info for name, info in infos.items()}
    if not any(name.startswith("parcels/") for name in infos):
        parcels = {name.rpartition("/")[0] for name in infos if PurePosixPath(name).name == RUN_FILE}
        infos = {
            f"parcels/{name}" if name.rpartition("/")[0] in parcels else name: info for name, info in infos.items()
        }
    return infos


def _about(path: Path, content: bytes) -> dict[str, Any]:
    """The manifest, its types checked as far as anybody relies on them."""
    try:
        about = json.loads(content)
        if about["format"] > FORMAT:
            raise WarehouseError("{path} was written by a newer Workdim: update Workdim to read it.", path=path)
        if about["format"] < 1 or not all(
            isinstance(name, str) and isinstance(file["sha256"], str) and int(file["bytes"]) >= 0
            for name, file in about["files"].items()
        ):
            raise ValueError("it gives no format, hashes and sizes")
        for key in ("tables", "views"):
            more = about.get(key, {})
            if not isinstance(more, dict) or not all(isinstance(one, str) for one in more.values()):
                raise ValueError(f"its {key} cannot be read")
        return about
    except (KeyError, ValueError, TypeError, AttributeError, OverflowError, RecursionError) as error:
        raise _damaged(
            path,
            Sentence(
                "it has no readable {manifest}: {reason}", manifest=MANIFEST, reason=str(error).splitlines()[0][:200]
            ),
        ) from error


def check_rows(file: Path, source: str) -> None:
    """By what the file says of itself, before any of it is read. Raises WarehouseError, which names `source`."""
    try:
        footer = pq.read_metadata(file)
        unpacked = sum(footer.row_group(number).total_byte_size for number in range(footer.num_row_groups))
    except (pa.ArrowException, OSError, ValueError) as error:
        raise WarehouseError("{source} is damaged: it is no Parquet file.", source=source) from error
    if footer.num_rows * footer.num_columns > MOST_CELLS or unpacked > MOST_UNPACKED:
        raise WarehouseError(
            "{source} has {n_rows:,} rows: no archive of Workdim has such a file.",
            source=source,
            n_rows=footer.num_rows,
        )


def _largest(name: str) -> int:
    file = PurePosixPath(name)
    return LARGEST_TOKENS if file.name == "tokens.parquet" else LARGEST.get(file.suffix, 0)


def _damaged(path: Path, reason: str) -> WarehouseError:
    return WarehouseError(
        "{path} is damaged, or no archive of Workdim ({reason}): nothing of it was taken.", path=path, reason=reason
    )
