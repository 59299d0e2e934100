"""Back up all files that a warehouse is built from, and restore them.

A backup is made while others read and write: every file is whole at any moment, so that a change during the backup is in
it as it was before or after. The DuckDB file is left out, because it is built from the rest; tables that a user added to it
are included. See core.store.restore for what a restore replaces and what it keeps.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from core.errors import InputError, ResourceError, Sentence, WarehouseError, WarehouseLocked, sentences
from core.files import folders_in, make_folder, temporary_folder, timestamp, unused_path
from core.store import archive, restore, user_files
from core.store.parcels import PARCEL_FILES, RUN_ID, is_parcel
from core.warehouse import schema
from core.warehouse.build import build
from core.warehouse.connection import exclusive, exists, translated_errors, write_connection
from core.warehouse.warehouse import Warehouse

_log = logging.getLogger("workdim")
Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Backup:
    """A backup file."""

    file: Path
    made_at: datetime
    n_bytes: int
    n_runs: int | None
    """None if the file cannot be read."""


def create_backup(
    warehouse: Warehouse,
    out: Path | None = None,
    progress: Progress = lambda done, total: None,
    report: Callable[[str], None] = _log.warning,
) -> Backup:
    """Write a backup to `out`, or to `backups/` beside the warehouse: complete, or not there at all.

    `progress` is called with parcels done and in total. `report` gets a line if the DuckDB file is damaged, so that users'
    tables are missing. Raises InputError if `out` exists or has no folder, ResourceError if there is no room,
    WarehouseLocked if another process holds the DuckDB file.
    """
    if out is None:
        make_folder(warehouse.backups)
        out = unused_path(warehouse.backups / f"{warehouse.path.stem}-{timestamp()}.zip")
    if not out.parent.is_dir():
        raise InputError("There is no folder {parent}. Make it, or name another file with --out.", parent=out.parent)
    manifest: dict[str, Any] = {"kind": "backup", "n_runs": 0}
    folder = warehouse.folder
    with archive.create_archive(out, manifest, is_zip=True) as writer:
        for kind, declared in user_files.KINDS.items():
            for file_id in user_files.list_ids(folder, kind):
                path = user_files.path_of(folder, kind, file_id)
                if declared.is_import:
                    writer.add_files(f"people/{declared.folder}/{file_id}", path, archive.SCORE_FILES)
                else:
                    writer.add_files(f"people/{declared.folder}", path.parent, [path.name])
        # Folders copied by hand, or files left by a file browser, could not be restored.
        parcels = [
            parcel for parcel in folders_in(folder.parcels) if RUN_ID.fullmatch(parcel.name) and is_parcel(parcel)
        ]
        for number, parcel in enumerate(parcels, start=1):
            manifest["n_runs"] += writer.add_files(f"parcels/{parcel.name}", parcel, PARCEL_FILES)
            progress(number, len(parcels))
        manifest |= _add_user_tables(writer, warehouse, report)
    return Backup(out, datetime.now(UTC), out.stat().st_size, manifest["n_runs"])


def list_backups(warehouse: Warehouse) -> list[Backup]:
    """The files in `backups/`, newest first."""
    backups = []
    for file in warehouse.backups.glob("*.zip"):
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
    manifest: dict[str, Any]


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
        raise InputError("There is no file {file}. `workdim backup --list` lists what is there.", file=file)
    root = warehouse.folder.root
    make_folder(root)
    with temporary_folder("restore", root) as place:
        unpacked = place / "restore"
        make_folder(unpacked)
        try:
            with archive.open_archive(file, root) as packed:
                if packed.manifest.get("kind") == "export":
                    raise InputError("{file} is an export and no backup: `workdim import` takes it in.", file=file)
                packed.unpack(unpacked, progress)
                about = packed.manifest
        except OSError as error:
            raise ResourceError(
                "The backup {file} cannot be unpacked beside the warehouse: {reason}. Nothing was changed.",
                file=file,
                reason=error.strerror or error,
            ) from error
        yield StagedBackup(file, unpacked, len(folders_in(unpacked / "parcels")), about)


def restore_backup(
    warehouse: Warehouse,
    backup: StagedBackup,
    report: Callable[[str], None] = _log.warning,
    progress: Progress = lambda done, total: None,
) -> RestoreResult:
    """Replace parcels and user files by those of the backup, then rebuild the DuckDB file.

    `report` gets a line for what could not be carried over; `progress` follows the rebuild. The previous files are kept
    under names that end in the time. Raises WarehouseLocked if another process holds the warehouse.
    """
    parcels, backed_up = (folders_in(place / "parcels") for place in (warehouse.folder.root, backup.folder))
    n_newer = len({parcel.name for parcel in parcels if is_parcel(parcel)} - {parcel.name for parcel in backed_up})
    with _exclusive(warehouse):
        pending, n_parcels = restore.begin(warehouse.folder, backup.folder, backup.manifest, report)
        previous_people = pending.previous_files
    built = build(
        warehouse.path, warehouse.wait, lambda: bool(restore.pending_restores(warehouse.folder)), report, progress
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


def _add_user_tables(
    writer: archive.ArchiveWriter, warehouse: Warehouse, report: Callable[[str], None]
) -> dict[str, Any]:
    """Add users' tables of the DuckDB file; returns the manifest's entries for them and for users' views."""
    added: dict[str, Any] = {"tables": {}, "views": {}}
    if not exists(warehouse.path):
        return added
    try:
        with warehouse.open() as opened, temporary_folder("tables", warehouse.folder.root) as place:
            tables, added["views"] = schema.user_relations(opened.connection)
            for number, table in enumerate(tables):
                file = place / f"{number}.parquet"
                opened.connection.execute(f"COPY {schema.quoted(table)} TO '{str(file).replace(chr(39), chr(39) * 2)}'")
                writer.add(f"tables/{file.name}", file.read_bytes())
                added["tables"][f"tables/{file.name}"] = table
    except WarehouseLocked:
        raise
    except WarehouseError as error:
        report(sentences(error.message, Sentence("Tables that were added to it are not in the backup.")))
    return added
