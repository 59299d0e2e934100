"""One archive for backup, export, restore and import: a zip file, which is also read where somebody has unpacked it.

    manifest.json           what it is, when it was made, and the size and hash of every other file
    parcels/<run_id>/       measurements, as in the folder of a warehouse
    people/                 files that people wrote or imported, as in the folder of a warehouse
    tables/                 export: rows for people to read
    dictionary.csv, .md     export: what each column is

An archive may come from anybody: sizes are checked before anything is read, and no name may lead outside of it.
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
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath
from typing import IO, Any

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from core.errors import InputError, Sentence, WarehouseError, sentences
from core.files import (
    NOTHING_CHANGED,
    folders_in,
    free_some,
    make_folder,
    move,
    require_room,
    sync_all,
    sync_folder,
    temporary_folder,
    timestamp,
    unused_path,
    writing,
)
from core.store import parcels, user_files
from core.store.folder import RESTORE, Folder, Progress, no_progress
from core.store.parcels import PARCEL_FILES, TOKENS, is_parcel, reason_of
from core.store.user_files import KINDS

FORMAT = 1
SCORE_FILES = KINDS["scores"].files
"""The files of one import of scores."""
MANIFEST = "manifest.json"
MAX_FILE_BYTES = {".json": user_files.MAX_JSON_BYTES, ".parquet": 64 * 2**20}
"""Bytes of one file of a parcel, where the largest known has 3 MB, for a model of a hundred layers; or of people."""
MAX_TOKENS_BYTES = 2**30
"""Bytes of the results of single tokens, which are stored on request and which an import never reads."""
MAX_CELLS, MAX_UNPACKED_BYTES = 40_000_000, 2**30
"""Values of one Parquet file, and their bytes: a small file can hold any number of equal rows."""
MAX_MEMBERS = 2_000_000
_MANIFEST_BYTES_PER_FILE = 1024
"""Limit on the size of the manifest, for each file that it names."""
_MAX_COMPRESSION_RATIO, _RATIO_ALLOWANCE = 50, 16 * 2**20
"""A zip file may unpack to this many times its size plus these bytes: Parquet is compressed already."""
_UNSAFE_NAME = re.compile(r"[\\:\x00-\x1f]|^/|(^|/)\.\.(/|$)")
_MEMBER_NAME = re.compile(
    r"parcels/[0-9a-f-]{36}/[a-z_]+\.(json|parquet)|people/[a-z]+/\w[\w.-]*(/[a-z_]+)?\.(json|parquet)"
)
"""The files that Workdim writes into a backup. The id of a pilot may have letters of any script."""
_CHUNK = 2**20
_DISK_ERRNOS = (errno.ENOSPC, getattr(errno, "EDQUOT", errno.ENOSPC), errno.EROFS, errno.EFBIG)
_ZIP_ERRORS = (
    *(zipfile.BadZipFile, zipfile.LargeZipFile, zlib.error, lzma.LZMAError),
    *(UnicodeDecodeError, EOFError, NotImplementedError, RuntimeError),
)


# --- writing ---------------------------------------------------------------------------------------------------


class ArchiveWriter:
    """Writes an archive, file by file."""

    def __init__(self, zip_file: zipfile.ZipFile) -> None:
        self._zip_file = zip_file
        self._files: dict[str, dict[str, Any]] = {}

    def add(self, name: str, content: bytes) -> None:
        self._files[name] = {"sha256": hashlib.sha256(content).hexdigest(), "bytes": len(content)}
        self._write(name, content)

    def add_files(self, name: str, folder: Path, files: Sequence[str]) -> bool:
        """Add the existing ones of these files of a folder. All are read before any is written.

        Returns False, and adds nothing, if the folder disappears meanwhile.
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

    def add_manifest(self, about: dict[str, Any]) -> None:
        """Write the manifest, the last file."""
        manifest = {"format": FORMAT, "made_by": "Workdim", "made_at": datetime.now(UTC).isoformat(timespec="seconds")}
        manifest |= about | {"files": self._files}
        self._write(MANIFEST, json.dumps(manifest, indent=1, ensure_ascii=False).encode())

    def _write(self, name: str, content: bytes) -> None:
        compression = zipfile.ZIP_STORED if name.endswith(".parquet") else zipfile.ZIP_DEFLATED
        self._zip_file.writestr(name, content, compression)


@contextlib.contextmanager
def create_archive(target: Path, about: dict[str, Any]) -> Iterator[ArchiveWriter]:
    """Create an archive at `target`: complete after the block, or not there at all.

    `about` holds the other entries of the manifest; the block may add to it. Raises InputError if the target exists or is
    no .zip file, ResourceError if it cannot be written.
    """
    if target.suffix.lower() != ".zip" or target.exists():
        raise InputError("{target} is there already, or no .zip file. Name a new .zip file with --out.", target=target)
    make_folder(target.parent)
    with writing(target, free_some("--out")), temporary_folder("archive", target.parent) as place:
        made = place / "archive.zip"
        with zipfile.ZipFile(made, "w") as zip_file:
            writer = ArchiveWriter(zip_file)
            yield writer
            writer.add_manifest(about)
        with made.open("rb") as handle:
            os.fsync(handle.fileno())
        os.replace(made, target)


# --- reading ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Archive:
    """An open archive. Only its manifest has been read."""

    path: Path
    members: dict[str, Path | zipfile.ZipInfo]
    zip_file: zipfile.ZipFile | None = None
    manifest: dict[str, Any] = field(default_factory=dict)
    """Empty if there is none, as in a plain folder of parcels."""

    @property
    def declared_files(self) -> dict[str, dict[str, Any]]:
        """File -> its `sha256` and `bytes` in the manifest."""
        return self.manifest.get("files", {})

    def folders(self, parent: str) -> dict[str, dict[str, str]]:
        """Folder below `parent` -> file name -> name in the archive, also of files that only its manifest names."""
        found: dict[str, dict[str, str]] = {}
        for name in (*self.members, *self.declared_files):
            if name.startswith(f"{parent}/"):
                folder, _, file = name[len(parent) + 1 :].rpartition("/")
                found.setdefault(folder, {})[file] = name
        return found

    def extract(self, name: str, target: Path) -> None:
        """Copy one file. Raises WarehouseError if it contradicts the manifest, or is larger than any of ours."""
        member = self.members.get(name)
        if member is None:
            raise WarehouseError("{gone} of {path} is missing, which its manifest names.", gone=name, path=self.path)
        source = str(member) if isinstance(member, Path) else f"{self.path}, {name}"
        if isinstance(member, Path) and member.is_symlink():
            raise WarehouseError("{source} is a link: archives hold none.", source=source)
        n_bytes = _size(member)
        if n_bytes > _max_bytes(name):
            raise WarehouseError(
                "{source} has {n_bytes:,.0f} MB: no archive of Workdim has such a file.",
                source=source,
                n_bytes=n_bytes / 1e6,
            )
        declared = self.declared_files.get(name)
        sha256, n_left = hashlib.sha256(), n_bytes
        make_folder(target.parent)
        try:
            with self.open_member(member) as read, target.open("wb") as write:
                # Read at most one byte more than declared: a small zip file can hold terabytes.
                while n_left >= 0 and (chunk := read.read(min(_CHUNK, n_left + 1))):
                    n_left -= len(chunk)
                    sha256.update(chunk)
                    write.write(chunk)
        except OSError as error:
            if error.errno in _DISK_ERRNOS:
                with writing(target.parent):
                    raise
            raise WarehouseError(
                "{source} cannot be read: {reason}.", source=source, reason=error.strerror or error
            ) from error
        if n_left or (self.manifest and (declared is None or declared["sha256"] != sha256.hexdigest())):
            raise WarehouseError("{source} is not as the manifest has it, or was cut off.", source=source)
        # Results of tokens are never read, and people's own tables have no limit: both may be larger.
        if target.suffix == ".parquet" and _max_bytes(name) == MAX_FILE_BYTES[".parquet"]:
            _check_parquet_size(target, source)

    def unpack(self, target: Path, progress: Progress = no_progress) -> None:
        """Copy all files. Raises WarehouseError also if the files are not those the manifest names."""
        if self.members.keys() != self.declared_files.keys() or not all(map(_MEMBER_NAME.fullmatch, self.members)):
            raise _damaged_archive(self.path, Sentence("it does not hold what its manifest names"))
        for number, name in enumerate(self.members, start=1):
            self.extract(name, target / name)
            progress(number, len(self.members))

    def open_member(self, member: Path | zipfile.ZipInfo) -> IO[bytes]:
        if isinstance(member, Path):
            return member.open("rb")
        assert self.zip_file is not None
        return self.zip_file.open(member)


@contextlib.contextmanager
def open_archive(path: Path, unpack_folder: Path | None) -> Iterator[Archive]:
    """Open an archive, a parcel or a folder of parcels for reading. Any damage is raised as WarehouseError.

    `unpack_folder` is where it will be unpacked: raises ResourceError if it does not fit there.
    """
    try:
        if path.is_dir():
            yield _with_manifest(Archive(path, _files_in(path)))
        elif path.is_file() and zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as packed:
                infos = [info for info in packed.infolist() if not info.is_dir()]
                _check_members(path, infos, unpack_folder)
                yield _with_manifest(Archive(path, {info.filename: info for info in infos}, packed))
        elif path.suffix.lower() == ".zip":
            raise _damaged_archive(path, Sentence("it is no zip file, or was cut off"))
        else:
            raise WarehouseError(
                "{path} is no folder or .zip file. Name a backup, an export or parcels; scores go by `workdim "
                "scores import`.",
                path=path,
            )
    except _ZIP_ERRORS as error:
        raise _damaged_archive(path, reason_of(error)) from error


def _files_in(path: Path) -> dict[str, Path | zipfile.ZipInfo]:
    """The files of a parcel, a folder of parcels or an unpacked archive, by their names in an archive."""
    inner = path / "parcels"
    runs = [path] if is_parcel(path) else filter(is_parcel, folders_in(inner if inner.is_dir() else path))
    places = {f"parcels/{folder.name}": folder for folder in runs}
    places |= {f"people/scores/{folder.name}": folder for folder in folders_in(path / "people" / "scores")}
    files = {
        f"{name}/{file}": folder / file for name, folder in places.items() for file in (*PARCEL_FILES, *SCORE_FILES)
    }
    return {name: file for name, file in (files | {MANIFEST: path / MANIFEST}).items() if os.path.lexists(file)}


def _check_members(path: Path, infos: list[zipfile.ZipInfo], unpack_folder: Path | None) -> None:
    """Check the zip file's table of contents before reading anything. Later no file is read beyond its size here."""
    names = [info.filename for info in infos]
    has_links = any(stat.S_ISLNK(info.external_attr >> 16) for info in infos)
    if has_links or any(map(_UNSAFE_NAME.search, names)) or len(set(names)) < len(names):
        raise _damaged_archive(path, Sentence("it holds links, one name twice, or a name that leads out of it"))
    if any(info.flag_bits & 1 for info in infos):
        raise WarehouseError("{path} is encrypted. Unpack it first, and name the folder.", path=path)
    unpacked, packed = sum(info.file_size for info in infos), path.stat().st_size
    if len(names) > MAX_MEMBERS or unpacked > _MAX_COMPRESSION_RATIO * packed + _RATIO_ALLOWANCE:
        raise WarehouseError(
            "{path} was refused: {packed:,.1f} MB would unfold to {unpacked:,.0f} MB in {n_names:,} files.",
            path=path,
            packed=packed / 1e6,
            unpacked=unpacked / 1e6,
            n_names=len(names),
        )
    if unpack_folder is not None:
        require_room(unpacked, unpack_folder, NOTHING_CHANGED)


def _with_manifest(opened: Archive) -> Archive:
    """The archive with its manifest read, whose size and types that callers rely on are checked."""
    member = opened.members.pop(MANIFEST, None)
    if member is None:
        return opened
    if _size(member) > _MANIFEST_BYTES_PER_FILE * (len(opened.members) + 1000):
        raise _damaged_archive(opened.path, Sentence("its {manifest} is too large", manifest=MANIFEST))
    try:
        with opened.open_member(member) as read:
            manifest = json.load(read)
        if manifest["format"] > FORMAT:
            raise WarehouseError("{file} was written by a newer Workdim: update Workdim to read it.", file=opened.path)
        if not all(isinstance(file["sha256"], str) for file in manifest["files"].values()):
            raise ValueError("it gives no hashes")
        return replace(opened, manifest=manifest)
    except (KeyError, ValueError, TypeError, AttributeError, RecursionError) as error:
        told = Sentence("it has no readable {manifest}: {reason}", manifest=MANIFEST, reason=reason_of(error)[:200])
        raise _damaged_archive(opened.path, told) from error


def _size(member: Path | zipfile.ZipInfo) -> int:
    return member.stat().st_size if isinstance(member, Path) else member.file_size


def _check_parquet_size(file: Path, source: str) -> None:
    """Check the size in a Parquet file's footer, before anybody reads rows. Raises WarehouseError, which names `source`."""
    with contextlib.suppress(pa.ArrowException, OSError, ValueError):  # a damaged file: whoever reads it says so
        footer = pq.read_metadata(file)
        unpacked = sum(footer.row_group(number).total_byte_size for number in range(footer.num_row_groups))
        if footer.num_rows * footer.num_columns > MAX_CELLS or unpacked > MAX_UNPACKED_BYTES:
            raise WarehouseError(
                "{source} has {n_rows:,} rows: no archive of Workdim has such a file.",
                source=source,
                n_rows=footer.num_rows,
            )


def _max_bytes(name: str) -> int:
    if name.startswith("people/tables/"):
        return 2**63
    file = PurePosixPath(name)
    return MAX_TOKENS_BYTES if file.name == f"{TOKENS}.parquet" else MAX_FILE_BYTES.get(file.suffix, 0)


def _damaged_archive(path: Path, reason: str) -> WarehouseError:
    return WarehouseError(
        "{path} is damaged, or no archive of Workdim ({reason}): nothing of it was taken.", path=path, reason=reason
    )


# --- restoring, by renames, so that a kill at any moment cannot leave half of it ----------------------------------------
#
#     pending/restore-<time>/     one rename puts it there; from then on whoever comes next finishes the restore
#         parcels/ people/        what moves into the folder, one rename each; what is still there is yet to be moved
#     people.before-restore-<time>/   the user files that were there before
#
# Nothing measured since the backup is lost: parcels stay, with their tags and notes, and so do pilots (runs refer to them)
# with their own scores. All other user files are replaced by those of the backup.


def begin_restore(
    folder: Folder, unpacked: Path, damaged: Sequence[str], report: Callable[[str], None]
) -> tuple[Path, int]:
    """Make an unpacked backup a pending restore, which will be finished whatever happens; returns its folder and the number
    of its parcels.

    `damaged` names what was left out of the backup: the files of people that are here stay. The caller keeps other processes
    from moving parcels or changing user files. `report` gets a line for what could not be carried over. Raises ResourceError
    if there is no room; nothing is changed then.
    """
    for parcel in folders_in(unpacked / "parcels"):
        if not parcels.problem(folder.parcels / parcel.name):
            shutil.rmtree(parcel)
    n_parcels = len(folders_in(unpacked / "parcels"))
    for name in damaged:
        if name.startswith("people/") and (ours := folder.root / name).exists():
            make_folder((unpacked / name).parent)
            (shutil.copytree if ours.is_dir() else shutil.copyfile)(ours, unpacked / name)
    _merge_pilots(folder, Folder(unpacked), report)
    with writing(folder.pending, NOTHING_CHANGED):
        make_folder(unpacked / "people")
        make_folder(folder.pending)
        sync_all()
        pending = unused_path(folder.pending / f"{RESTORE}-{timestamp()}")
        os.replace(unpacked, pending)
        sync_folder(folder.pending)
    return pending, n_parcels


def previous_files(folder: Folder, restore: Path) -> Path:
    """Where the user files are kept that a restore replaces, if there were any."""
    return folder.root / f"people.before-{restore.name}"


def exchange_files(folder: Folder, restore: Path) -> None:
    """Move the files that have not been moved yet. Idempotent; the caller keeps other processes out."""
    for source in folders_in(restore / "parcels"):
        target = folder.parcels / source.name
        make_folder(folder.parcels)
        if target.exists():
            parcels.quarantine(folder, target)
        move(source, target)
    if (restore / "people").is_dir():
        if folder.people.exists():
            move(folder.people, unused_path(previous_files(folder, restore)))
        move(restore / "people", folder.people)
    for changed in (folder.parcels, folder.root):
        sync_folder(changed)


def finish_restore(folder: Folder, restore: Path) -> None:
    """Clean up once the DuckDB file is rebuilt."""
    leftovers = unused_path(folder.root / f".workdim-{restore.name}")
    move(restore, leftovers)
    shutil.rmtree(leftovers, ignore_errors=True)


def _merge_pilots(folder: Folder, unpacked: Folder, report: Callable[[str], None]) -> None:
    """Add to the backup the pilots, results and own scores that were registered since."""
    for one in user_files.list_ids(folder, "pilot"):
        try:
            ours, theirs = (user_files.read(place, "pilot", one) for place in (folder, unpacked))
            if ours and theirs:
                ours = theirs | {
                    "pilot_runs": pl.concat([theirs["pilot_runs"], ours["pilot_runs"]]).unique(maintain_order=True),
                    "scores": pl.concat([theirs["scores"], ours["scores"]]).unique(
                        ["repository", "revision"], maintain_order=True
                    ),
                }
            if ours:
                user_files.write(unpacked, "pilot", one, ours)
        except WarehouseError as error:
            report(sentences(error.message, Sentence("The backup's pilots were taken without it.")))
