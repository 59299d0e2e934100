"""From a backup to a warehouse: looked through completely before anything is changed, then exchanged in one step.

Nothing that was measured since the backup is lost: parcels stay where they are, and are taken in again; so do pilots,
which run results name, with the scores stated in them, and tags and notes, which stand in the parcels. All else that
people wrote or imported is as in the backup.
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
import re
import shutil
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import duckdb

from core import files
from core.errors import InputError, ResourceError, WarehouseError
from core.files import folders_in, make_folder, sync_all
from core.store.parcels import is_parcel
from core.store.trash import set_aside
from core.warehouse import copying, migrations, mirror, scores
from core.warehouse.backup import FILE, MANIFEST, damaged, manifest, step_and_runs, zipfile_of
from core.warehouse.care import bring_annotations
from core.warehouse.inserting import insert
from core.warehouse.integrity import read_all
from core.warehouse.integrity_beside import UNSOUND, rows_in_files
from core.warehouse.moving import moving_parcels
from core.warehouse.rebuilding import take_over_runs
from core.warehouse.replacing import Held, held
from core.warehouse.warehouse import Warehouse, clear_errors, connect

_log = logging.getLogger("workdim")
_NAME = re.compile(r"warehouse\.duckdb|parcels/\w[\w.-]*/\w[\w.-]*|mirror/(\w+/)?\w[\w.-]*\.parquet", re.ASCII)
"""What a backup may hold: no name leads out of the folder that it is unpacked in."""
_CHUNK = 2**20
Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Staged:
    """A backup that was found whole, unpacked beside the warehouse like a warehouse of its own."""

    file: Path
    warehouse: Warehouse
    step: int
    n_runs: int


@dataclass(frozen=True)
class Restored:
    """What a restore did."""

    kept: Path | None
    """The warehouse file that was there before."""
    kept_mirror: Path | None
    n_parcels: int
    """Parcels that were missing or damaged here and came from the backup."""


@contextlib.contextmanager
def staged(warehouse: Warehouse, file: Path, progress: Progress = lambda done, total: None) -> Iterator[Staged]:
    """Unpack and check a backup, or a copy from before a migration; what was unpacked goes at the end of the block.

    `progress` hears of files done and in all. Raises WarehouseError for a backup that is damaged, of a newer Workdim or
    of another program, InputError where there is no such file, ResourceError where there is no room.
    """
    file = file.expanduser().resolve()
    if not file.is_file():
        raise InputError(f"There is no file {file}. `python -m core backup --list` lists what is there.")
    if file == warehouse.path:
        raise InputError(f"{file} is the warehouse itself. Name a backup: `python -m core backup --list`.")
    make_folder(warehouse.path.parent)
    with files.workplace("restore", warehouse.path.parent) as folder:
        try:
            if zipfile.is_zipfile(file):
                with zipfile_of(file) as packed:
                    _unpack(file, packed, folder, progress)
            else:
                with clear_errors(file):
                    copying.snapshot(file, folder / FILE, wait=1.0)
        except OSError as error:
            reason = error.strerror or error
            raise ResourceError(
                f"The backup {file} cannot be unpacked beside the warehouse: {reason}. Nothing was changed."
            ) from error
        copy = Warehouse(folder / FILE, warehouse.wait)
        yield Staged(file, copy, *_looked_through(file, copy.path))


def put_in_place(warehouse: Warehouse, backup: Staged, report: Callable[[str], None] = _log.warning) -> Restored:
    """Exchange the warehouse for what was staged; a line to `report` for what could not be carried over.

    The file that was there is kept as `<name>.before-restore-<time>`, its mirror likewise. Raises WarehouseLocked where
    another process does not let go of the warehouse.
    """
    path, time = warehouse.path, files.time_now()
    kept = files.unused(path.with_name(f"{path.name}.before-restore-{time}"))
    kept_mirror = files.unused(warehouse.mirror.with_name(f"mirror.before-restore-{time}"))
    with moving_parcels(warehouse):
        missing = [one for one in folders_in(backup.warehouse.parcels) if not _is_sound(warehouse.parcels / one.name)]
        sync_all()
        with held(path, warehouse.wait, report) as old:
            # All that may fail for want of room is done in the folder of the backup; then there are renames only.
            was_there, has_mirror = path.exists(), warehouse.mirror.is_dir()
            _bring_up_to_date(backup.warehouse)
            _keep_since(warehouse, backup.warehouse, old, report)
            with backup.warehouse.write(mirrored=mirror.TABLES) as connection:
                bring_annotations(connection, warehouse.parcels)
            _add_parcels(warehouse, missing)
            old.exchange(backup.warehouse.path, kept)
            if has_mirror:
                warehouse.mirror.rename(kept_mirror)
            if backup.warehouse.mirror.is_dir():
                backup.warehouse.mirror.rename(warehouse.mirror)
    return Restored(kept if was_there else None, kept_mirror if has_mirror else None, len(missing))


def _unpack(file: Path, packed: zipfile.ZipFile, folder: Path, progress: Progress) -> None:
    told = manifest(file, packed)["files"]
    infos = {info.filename: info for info in packed.infolist() if info.filename != MANIFEST}
    strange = [name for name in told if not _NAME.fullmatch(name)]
    if strange:
        raise damaged(file, f"it holds {strange[0]!r}")
    if infos.keys() != told.keys() or len(packed.infolist()) != len(told) + 1 or FILE not in told:
        raise damaged(file, "it does not hold what its manifest names")
    needed, free = sum(of["bytes"] for of in told.values()), shutil.disk_usage(folder).free
    if needed > free:
        raise ResourceError(
            f"The backup {file} takes {needed / 1e6:,.0f} MB unpacked, and {free / 1e6:,.0f} are free in "
            f"{folder.parent}. Free some space; nothing was changed."
        )
    for number, (name, of) in enumerate(told.items(), start=1):
        target = folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        sha256, left = hashlib.sha256(), of["bytes"]
        with packed.open(infos[name]) as read, target.open("wb") as write:
            # One byte more than there should be is asked for, and no more: a small zip may hold terabytes.
            while chunk := read.read(min(_CHUNK, left + 1)):
                left -= len(chunk)
                if left < 0:
                    break
                sha256.update(chunk)
                write.write(chunk)
        if left or sha256.hexdigest() != of["sha256"]:
            raise damaged(file, f"{name} has changed since it was written")
        progress(number, len(told))


def _looked_through(file: Path, copy: Path) -> tuple[int, int]:
    """Schema step and number of runs, all blocks read."""
    try:
        step, n_runs = step_and_runs(copy)
        with clear_errors(copy), contextlib.closing(connect(copy, True, 1.0)) as connection:
            unreadable = read_all(connection)[1]
    except migrations.NewerSchema as error:
        raise WarehouseError(
            f"The backup {file} was written by a newer Workdim: update Workdim to restore it; nothing was changed."
        ) from error
    except (WarehouseError, ResourceError, duckdb.Error) as error:
        raise damaged(file, str(error).splitlines()[0].replace(str(copy), "its warehouse")) from error
    if unreadable:
        raise damaged(file, unreadable[0].line)
    return step, n_runs


def _add_parcels(warehouse: Warehouse, folders: list[Path]) -> None:
    """Parcels that are not here, or here and damaged, which go to the trash."""
    make_folder(warehouse.parcels)
    for folder in folders:
        target = warehouse.parcels / folder.name
        if target.exists():
            set_aside(warehouse.folder, target)
        folder.rename(target)


def _is_sound(folder: Path) -> bool:
    try:
        rows_in_files(folder)
    except UNSOUND:
        return False
    return True


def _bring_up_to_date(backup: Warehouse) -> None:
    """Here and not when it is next opened: that would make one more copy of what the backup holds."""
    with contextlib.closing(connect(backup.path, read_only=False, wait=1.0)) as connection:
        steps = migrations.pending(connection)
        if steps:
            migrations.apply(connection, steps)
            scores.load_reference(connection)


def _keep_since(warehouse: Warehouse, backup: Warehouse, old: Held, report: Callable[[str], None]) -> None:
    """What was measured or registered since the backup and has no parcel."""
    known = set(backup.read("SELECT run_id FROM runs")["run_id"])
    known |= {
        one.name for parcels in (warehouse.parcels, backup.parcels) for one in folders_in(parcels) if is_parcel(one)
    }
    take_over_runs(backup, old, known, report)
    for table, where, new in (
        ("pilots", "true", "pilot_id NOT IN (SELECT pilot_id FROM pilots)"),
        ("pilot_runs", "true", "(pilot_id, run_id) NOT IN (SELECT (pilot_id, run_id) FROM pilot_runs)"),
        (
            "scores",
            "file_sha256 = ''",
            """NOT EXISTS (SELECT 1 FROM scores AS known
            WHERE known.source = incoming_rows.source AND known.repository = incoming_rows.repository
            AND known.revision IS NOT DISTINCT FROM incoming_rows.revision)""",
        ),
    ):
        rows = old.read(table, f"SELECT * FROM {table} WHERE {where}", report)
        if rows is not None:
            with backup.write() as connection:
                insert(connection, table, rows, f"WHERE {new}")
