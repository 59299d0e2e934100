"""Back up all files that a warehouse is built from, and restore them.

A backup is made while others read and write: every file is whole at any moment, so that a change during the backup is in
it as it was before or after. The DuckDB file is left out, because it is built from the rest; what people made in it becomes
files first. A damaged file is left out by name, of a backup as of a restore: it never takes the place of a
good one. See core.store.archive for what a restore replaces and what it keeps.
"""

from __future__ import annotations

import contextlib
import logging
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from core.errors import InputError, ResourceError, Sentence, WarehouseError, WarehouseLocked, missing, sentences
from core.files import (
    NOTHING_CHANGED,
    folders_in,
    make_folder,
    no_folder,
    temporary_folder,
    timestamp,
    unused_path,
    writing,
)
from core.store import archive, parcels, user_files
from core.store.folder import Folder
from core.store.parcels import PARCEL_FILES, RUN_ID, is_parcel
from core.warehouse import sync
from core.warehouse.connection import exclusive, exists, translated_errors, write_connection
from core.warehouse.sync import Progress, Report, build
from core.warehouse.warehouse import Warehouse

_log = logging.getLogger("workdim")


@dataclass(frozen=True)
class Backup:
    """A backup file."""

    file: Path
    made_at: datetime
    n_bytes: int
    n_runs: int | None
    """None if the file cannot be read."""
    n_left_out: int = 0
    """Damaged files that were left out when it was made."""


def create_backup(
    warehouse: Warehouse,
    out: Path | None = None,
    progress: Progress = lambda done, total: None,
    report: Report = _log.warning,
) -> Backup:
    """Write a backup to `out`, or to `backups/` beside the warehouse: complete, or not there at all.

    `progress` is called with parcels done and in total. `report` gets a line for each damaged file, which is left out, and
    if the DuckDB file is damaged, so that what people made in it since the last backup is missing. Raises InputError if `out` exists or has no folder, ResourceError if there is no room,
    WarehouseLocked if another process holds the DuckDB file.
    """
    if out is None:
        make_folder(warehouse.folder.backups)
        out = unused_path(warehouse.folder.backups / f"{warehouse.path.stem}-{timestamp()}.zip")
    if not out.parent.is_dir():
        raise InputError(no_folder(out.parent))
    manifest: dict[str, Any] = {"kind": "backup", "n_runs": 0}
    folder = warehouse.folder
    _save_own_tables(warehouse, report)
    damaged = sync.damaged_files(folder)
    with archive.create_archive(out, manifest) as writer:
        for path in _user_files(folder):
            if path in damaged:
                continue
            place = path if path.is_dir() else path.parent
            writer.add_files(
                place.relative_to(folder.root).as_posix(), place, archive.SCORE_FILES if path.is_dir() else [path.name]
            )
        # Folders copied by hand, or files left by a file browser, could not be restored.
        packed = [
            parcel for parcel in folders_in(folder.parcels) if RUN_ID.fullmatch(parcel.name) and is_parcel(parcel)
        ]
        for number, parcel in enumerate(packed, start=1):
            if (problem := parcels.problem(parcel)) and is_parcel(parcel):  # and not deleted since
                damaged[parcel] = problem
            else:
                manifest["n_runs"] += writer.add_files(f"parcels/{parcel.name}", parcel, PARCEL_FILES)
            progress(number, len(packed))
    for problem in damaged.values():
        report(sentences(problem, Sentence("It is not in the backup.")))
    return Backup(out, datetime.now(UTC), out.stat().st_size, manifest["n_runs"], len(damaged))


def list_backups(warehouse: Warehouse) -> list[Backup]:
    """The files in `backups/`, newest first."""
    backups = []
    for file in warehouse.folder.backups.glob("*.zip"):
        about: dict[str, Any] = {}
        with contextlib.suppress(WarehouseError, ResourceError, OSError), archive.open_archive(file, None) as packed:
            about = packed.manifest
        status = file.stat()
        made_at = datetime.fromtimestamp(status.st_mtime, UTC)
        backups.append(Backup(file, made_at, status.st_size, about.get("n_runs")))
    return sorted(backups, key=lambda backup: backup.made_at, reverse=True)


@dataclass(frozen=True)
class StagedBackup:
    """A checked backup, unpacked beside the warehouse."""

    file: Path
    folder: Path
    n_runs: int
    damaged: tuple[str, ...]
    """Files in it that were damaged when it was made, and are left out: those that are here stay."""


@dataclass(frozen=True)
class RestoreResult:
    """What a restore changed."""

    previous_file: Path | None
    """Where the previous DuckDB file is kept."""
    previous_people: Path | None
    """Where the previous user files are kept."""
    n_parcels: int
    """Parcels that were missing or damaged here and came from the backup."""
    n_newer: int
    """Parcels that are not in the backup and stay."""


@contextlib.contextmanager
def stage_backup(
    warehouse: Warehouse, file: Path, progress: Progress = lambda done, total: None
) -> Iterator[StagedBackup]:
    """Unpack and check a backup; the unpacked files are removed at the end of the block.

    `progress` is called with files done and in total. Raises WarehouseError for a backup that is damaged, of a newer
    Workdim or of another program, InputError if there is no such file, ResourceError if there is no room.
    """
    file = file.expanduser().resolve()
    if not file.is_file():
        raise InputError(missing("file", file, "backup --list"))
    root = warehouse.folder.root
    make_folder(root)
    with temporary_folder("restore", root) as place:
        unpacked = place / "restore"
        make_folder(unpacked)
        with writing(root, NOTHING_CHANGED), archive.open_archive(file, root) as packed:
            if packed.manifest.get("kind") == "export":
                raise InputError("{file} is an export and no backup: `workdim import` takes it in.", file=file)
            packed.unpack(unpacked, progress)
        damaged = _remove_damaged(Folder(unpacked))
        yield StagedBackup(file, unpacked, len(folders_in(unpacked / "parcels")), damaged)


def restore_backup(
    warehouse: Warehouse,
    backup: StagedBackup,
    report: Report = _log.warning,
    progress: Progress = lambda done, total: None,
) -> RestoreResult:
    """Replace parcels and user files by those of the backup, then rebuild the DuckDB file.

    `report` gets a line for what could not be carried over; `progress` follows the rebuild. The previous files are kept
    under names that end in the time. Raises WarehouseLocked if another process holds the warehouse.
    """
    present, backed_up = (folders_in(place / "parcels") for place in (warehouse.folder.root, backup.folder))
    n_newer = len({parcel.name for parcel in present if is_parcel(parcel)} - {parcel.name for parcel in backed_up})
    with _exclusive(warehouse):
        pending, n_parcels = archive.begin_restore(warehouse.folder, backup.folder, backup.damaged, report)
        previous_people = archive.previous_files(warehouse.folder, pending)
    built = build(
        warehouse.path, warehouse.wait, lambda: bool(archive.pending_restores(warehouse.folder)), report, progress
    )
    return RestoreResult(
        built.previous_file if built else None,
        previous_people if previous_people.is_dir() else None,
        n_parcels,
        n_newer,
    )


@contextlib.contextmanager
def _exclusive(warehouse: Warehouse) -> Iterator[None]:
    """Keep other processes from changing files or opening the DuckDB file, if it can be opened."""
    with contextlib.ExitStack() as inside:
        if exists(warehouse.path):
            try:
                with translated_errors(warehouse.path):
                    inside.enter_context(write_connection(warehouse.path, warehouse.wait))
            except WarehouseLocked:
                raise
            except (WarehouseError, ResourceError):  # ruined, or newer: it is replaced
                inside.enter_context(exclusive(warehouse.path, warehouse.wait))
        else:
            inside.enter_context(exclusive(warehouse.path, warehouse.wait))
        yield


def _save_own_tables(warehouse: Warehouse, report: Report) -> None:
    """Write what people made in the DuckDB file to files; the next one who opens it brings their rows in."""
    if not exists(warehouse.path):
        return
    try:
        with warehouse.open() as opened:
            queries = sync.save_own_tables(opened.connection, warehouse.folder, report)
        if queries:
            warehouse.folder.mark("query", queries)
    except WarehouseLocked:
        raise
    except WarehouseError as error:
        report(sentences(error.message, Sentence("Added tables are in the backup as last saved.")))


def _user_files(folder: Folder) -> list[Path]:
    """The files and folders of all that people wrote."""
    ids = [(kind, file_id) for kind in user_files.KINDS for file_id in user_files.list_ids(folder, kind)]
    return [*(user_files.path_of(folder, kind, file_id) for kind, file_id in ids), *sync.own_table_files(folder)]


def _remove_damaged(unpacked: Folder) -> tuple[str, ...]:
    """Remove the damaged files of an unpacked backup; returns their names in it."""
    bad = [parcel for parcel in folders_in(unpacked.parcels) if parcels.problem(parcel)]
    damaged = [*bad, *sync.damaged_files(unpacked)]
    for path in damaged:
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    return tuple(path.relative_to(unpacked.root).as_posix() for path in damaged)
