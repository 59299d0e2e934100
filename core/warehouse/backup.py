"""A backup of all that a warehouse is built from, and the way back.

It is made while others read and write: each file is whole at every moment, so that what is measured or changed during
the backup is in it as it was before or after. The DuckDB file is not in it, because it is built from the rest; tables
that a user added to it are. What a restore keeps and what it takes is said in core.store.restore.
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
from core.files import folders_in, make_folder, time_now, unused, workplace
from core.store import archive, people, restore
from core.store.parcels import PARCEL_FILES, RUN_ID, is_parcel
from core.warehouse import schema
from core.warehouse.build import build
from core.warehouse.connection import alone, clear_errors, is_there, writing
from core.warehouse.warehouse import Warehouse

_log = logging.getLogger("workdim")
Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Backup:
    """A file that a warehouse can be restored from."""

    file: Path
    made_at: datetime
    n_bytes: int
    n_runs: int | None
    """None for a file that cannot be read."""


def back_up(
    warehouse: Warehouse,
    out: Path | None = None,
    progress: Progress = lambda done, total: None,
    report: Callable[[str], None] = _log.warning,
) -> Backup:
    """Write a backup to `out`, or to `backups/` beside the warehouse: complete, or not there at all.

    `progress` hears of parcels done and in all. A line to `report` where the DuckDB file is damaged, and tables that a
    user added to it are not in the backup. Raises InputError where `out` exists or has no folder, ResourceError where
    there is no room, WarehouseLocked where another process does not let go of the DuckDB file.
    """
    if out is None:
        make_folder(warehouse.backups)
        out = unused(warehouse.backups / f"{warehouse.path.stem}-{time_now()}.zip")
    if not out.parent.is_dir():
        raise InputError("There is no folder {parent}. Make it, or name another file with --out.", parent=out.parent)
    about: dict[str, Any] = {"kind": "backup", "n_runs": 0}
    folder = warehouse.folder
    with archive.written(out, about, is_zip=True) as writer:
        for kind, declared in people.KINDS.items():
            for one in people.ids(folder, kind):
                path = people.path_of(folder, kind, one)
                if declared.is_import:
                    writer.add_files(f"people/{declared.folder}/{one}", path, archive.SCORE_FILES)
                else:
                    writer.add_files(f"people/{declared.folder}", path.parent, [path.name])
        # Of folders that were copied by hand, or what a file browser leaves in one, nothing could be restored.
        parcels = [one for one in folders_in(folder.parcels) if RUN_ID.fullmatch(one.name) and is_parcel(one)]
        for number, parcel in enumerate(parcels, start=1):
            about["n_runs"] += writer.add_files(f"parcels/{parcel.name}", parcel, PARCEL_FILES)
            progress(number, len(parcels))
        about |= _add_user_tables(writer, warehouse, report)
    return Backup(out, datetime.now(UTC), out.stat().st_size, about["n_runs"])


def backups(warehouse: Warehouse) -> list[Backup]:
    """The backups beside the warehouse, newest first."""
    found = []
    for file in warehouse.backups.glob("*.zip"):
        about: dict[str, Any] = {}
        with contextlib.suppress(WarehouseError, ResourceError, OSError), archive.opened(file, None) as packed:
            about = packed.about
        status = file.stat()
        made_at = datetime.fromtimestamp(status.st_mtime, UTC)
        found.append(Backup(file, made_at, status.st_size, about.get("n_runs")))
    return sorted(found, key=lambda backup: backup.made_at, reverse=True)


@dataclass(frozen=True)
class Staged:
    """A backup that was found whole, and is unpacked beside the warehouse."""

    file: Path
    folder: Path
    n_runs: int
    about: dict[str, Any]


@dataclass(frozen=True)
class Restored:
    """What a restore did."""

    kept: Path | None
    """The DuckDB file that was there before."""
    kept_people: Path | None
    """What people had written before."""
    n_parcels: int
    """Parcels that were missing or damaged here and came from the backup."""
    n_since: int
    """Parcels that are here and not in the backup."""


@contextlib.contextmanager
def staged(warehouse: Warehouse, file: Path, progress: Progress = lambda done, total: None) -> Iterator[Staged]:
    """Unpack and check a backup; what was unpacked goes at the end of the block.

    `progress` hears of files done and in all. Raises WarehouseError for a backup that is damaged, of a newer Workdim or
    of another program, InputError where there is no such file, ResourceError where there is no room.
    """
    file = file.expanduser().resolve()
    if not file.is_file():
        raise InputError("There is no file {file}. `workdim backup --list` lists what is there.", file=file)
    root = warehouse.folder.root
    make_folder(root)
    with workplace("restore", root) as place:
        unpacked = place / "restore"
        make_folder(unpacked)
        try:
            with archive.opened(file, root) as packed:
                if packed.about.get("kind") == "export":
                    raise InputError("{file} is an export and no backup: `workdim import` takes it in.", file=file)
                packed.unpack(unpacked, progress)
                about = packed.about
        except OSError as error:
            raise ResourceError(
                "The backup {file} cannot be unpacked beside the warehouse: {reason}. Nothing was changed.",
                file=file,
                reason=error.strerror or error,
            ) from error
        yield Staged(file, unpacked, len(folders_in(unpacked / "parcels")), about)


def put_in_place(
    warehouse: Warehouse,
    backup: Staged,
    report: Callable[[str], None] = _log.warning,
    progress: Progress = lambda done, total: None,
) -> Restored:
    """Exchange parcels and people's files for what was staged, then build the DuckDB file anew of them.

    A line to `report` for what could not be carried over; `progress` hears of the building. What was there is kept under
    names that end in the time. Raises WarehouseLocked where another process does not let go of the warehouse.
    """
    here, there = (folders_in(place / "parcels") for place in (warehouse.folder.root, backup.folder))
    n_since = len({one.name for one in here if is_parcel(one)} - {one.name for one in there})
    with _alone(warehouse):
        begun, n_parcels = restore.begin(warehouse.folder, backup.folder, backup.about, report)
        kept_people = begun.kept
    built = build(warehouse.path, warehouse.wait, lambda: bool(restore.pending(warehouse.folder)), report, progress)
    return Restored(built.kept if built else None, kept_people if kept_people.is_dir() else None, n_parcels, n_since)


@contextlib.contextmanager
def _alone(warehouse: Warehouse) -> Iterator[None]:
    """Nobody else changes files or has the DuckDB file open, as far as that can be opened."""
    with contextlib.ExitStack() as inside:
        if is_there(warehouse.path):
            try:
                with clear_errors(warehouse.path):
                    inside.enter_context(writing(warehouse.path, warehouse.wait))
            except WarehouseLocked:
                raise
            except (WarehouseError, ResourceError):  # ruined, or newer: it is replaced
                inside.enter_context(alone(warehouse.path, warehouse.wait))
        else:
            inside.enter_context(alone(warehouse.path, warehouse.wait))
        yield


def _add_user_tables(writer: archive.Writer, warehouse: Warehouse, report: Callable[[str], None]) -> dict[str, Any]:
    """What a user added to the DuckDB file, as the manifest names it."""
    added: dict[str, Any] = {"tables": {}, "views": {}}
    if not is_there(warehouse.path):
        return added
    try:
        with warehouse.opened() as opened, workplace("tables", warehouse.folder.root) as place:
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
