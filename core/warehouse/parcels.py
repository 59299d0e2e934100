"""From a finished job to a parcel, and from parcels into the warehouse: one short transaction each, never twice."""

from __future__ import annotations

import contextlib
import logging
import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path

import duckdb
import polars as pl

from core.errors import ResourceError, WarehouseError, WarehouseLocked
from core.warehouse.parcel_format import RUN_FILE, is_parcel, read_parcel, write_parcel
from core.warehouse.store import Warehouse, make_folder, wal

__all__ = ["finish", "ingest", "ingest_waiting", "read_parcel", "rebuild", "waiting_parcels", "write_parcel"]

_log = logging.getLogger("workdim")
# Rows that a rebuilt warehouse cannot get from parcels.
_NOT_IN_PARCELS = ("scores", "pilots", "plans", "plan_outcomes")


def finish(warehouse: Warehouse, job_folder: Path) -> Path:
    """Make a job's complete folder a parcel, by one rename. Doing it twice is no error."""
    parcels = warehouse.parcels
    target = parcels / job_folder.name
    if not job_folder.exists() and is_parcel(target):
        return target
    if not is_parcel(job_folder):
        raise WarehouseError(f"The job {job_folder} has not finished: it has no {RUN_FILE}.")
    if is_parcel(target):
        if (target / RUN_FILE).read_bytes() != (job_folder / RUN_FILE).read_bytes():
            raise WarehouseError(f"There is another result under {target}: {job_folder} was left where it is.")
        shutil.rmtree(job_folder)
        return target
    make_folder(parcels)
    _rename(job_folder, target)
    for parent in (parcels, job_folder.parent):
        _sync_folder(parent)
    return target


def ingest(warehouse: Warehouse, folder: Path) -> bool:
    """Insert one parcel; False where its run is in the warehouse already."""
    tables = read_parcel(folder)
    with warehouse.write() as connection:
        return insert(connection, tables)


def ingest_waiting(warehouse: Warehouse, report: Callable[[str], None] = _log.warning) -> list[str]:
    """Insert every parcel that is not in yet, oldest first; returns their run ids.

    A damaged parcel is passed to `report` as one line and does not stop the others. A locked warehouse does.
    """
    waiting = waiting_parcels(warehouse)
    taken = []
    for folder in waiting:
        try:
            if ingest(warehouse, folder):
                taken.append(folder.name)
        except WarehouseLocked:
            raise
        except WarehouseError as error:
            report(str(error))
    return taken


def waiting_parcels(warehouse: Warehouse) -> list[Path]:
    """Parcels whose runs are not in the warehouse, oldest first (run ids are time-ordered)."""
    folders = _parcel_folders(warehouse.parcels)
    if not folders:
        return []
    known = set(warehouse.read("SELECT run_id FROM runs")["run_id"])
    return [folder for folder in folders if folder.name not in known and is_parcel(folder)]


def insert(connection: duckdb.DuckDBPyConnection, tables: dict[str, pl.DataFrame]) -> bool:
    """Insert the tables of one parcel within the caller's transaction; False where the run is there already."""
    run_id = tables["runs"]["run_id"][0]
    if connection.execute("SELECT 1 FROM runs WHERE run_id = ?", [run_id]).fetchall():
        return False
    _check_same(connection, tables["models"], "models", "model_id", "weights_sha256")
    _check_same(connection, tables["corpora"], "corpora", "corpus_id", "sha256")
    for table, rows in tables.items():
        if rows.is_empty():
            continue
        connection.register("incoming_rows", rows)
        known = "ON CONFLICT DO NOTHING" if table in ("models", "corpora") else ""
        connection.execute(f"INSERT INTO {table} BY NAME SELECT * FROM incoming_rows {known}")
        connection.unregister("incoming_rows")
    return True


def rebuild(warehouse: Warehouse, report: Callable[[str], None] = _log.warning) -> list[str]:
    """Make the warehouse anew from its parcels, beside the old file, then exchange the two.

    Scores, pilots and plans are taken over from the old file where it can still be read. The old file is kept as
    `<name>.before-rebuild`. Returns the run ids of the new warehouse.
    """
    path = warehouse.path
    beside = Warehouse(path.with_name(path.name + ".rebuild"), warehouse.wait)
    _remove(beside.path)
    taken = []
    with beside.write() as connection:
        _take_over(connection, warehouse, report)
        for folder in filter(is_parcel, _parcel_folders(warehouse.parcels)):
            try:
                insert(connection, read_parcel(folder))
                taken.append(folder.name)
            except WarehouseError as error:
                report(str(error))
    kept = path.with_name(path.name + ".before-rebuild")
    _remove(kept)
    # The log goes first: an old log beside the new file would be replayed into it.
    for source, target in ((wal(path), wal(kept)), (path, kept), (beside.path, path)):
        if source.exists():
            _replace(source, target, warehouse.wait)
    return taken


def _parcel_folders(parcels: Path) -> list[Path]:
    try:
        with os.scandir(parcels) as entries:
            return sorted(Path(entry.path) for entry in entries if entry.is_dir())
    except FileNotFoundError:
        return []


def _check_same(connection: duckdb.DuckDBPyConnection, rows: pl.DataFrame, table: str, key: str, content: str) -> None:
    """One id must not stand for two different contents."""
    name, here = rows[key][0], rows[content][0]
    there = connection.execute(f"SELECT {content} FROM {table} WHERE {key} = ?", [name]).fetchall()
    if there and there[0][0] != here:
        raise WarehouseError(
            f"{name} is in the warehouse with another content ({there[0][0][:12]}, this parcel has {here[:12]}): "
            "the parcel was left where it is."
        )


def _take_over(connection: duckdb.DuckDBPyConnection, old: Warehouse, report: Callable[[str], None]) -> None:
    if not old.path.exists():
        return
    for table in _NOT_IN_PARCELS:
        try:
            rows = old.read(f"SELECT * FROM {table}")
        except WarehouseLocked:
            raise
        except (WarehouseError, duckdb.Error) as error:
            report(f"{table} could not be taken over: {str(error).splitlines()[0]}")
            continue
        connection.execute(f"DELETE FROM {table}")
        connection.register("incoming_rows", rows)
        connection.execute(f"INSERT INTO {table} BY NAME SELECT * FROM incoming_rows")
        connection.unregister("incoming_rows")


def _rename(source: Path, target: Path) -> None:
    """Rename a folder; on Windows a virus scanner may hold a file in it for a moment."""
    for attempt in range(6):
        try:
            source.rename(target)
            return
        except PermissionError as error:
            if attempt == 5:
                raise ResourceError(f"{source} cannot be moved to {target}: {error.strerror}.") from error
            time.sleep(0.05 * 2**attempt)
        except OSError as error:
            raise ResourceError(f"{source} cannot be moved to {target}: {error.strerror}.") from error


def _sync_folder(folder: Path) -> None:
    """Force the rename itself to the disk, where the system can open folders (Windows cannot)."""
    with contextlib.suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def _replace(source: Path, target: Path, wait: float) -> None:
    """Exchange a file; on Windows that fails while another process has it open."""
    end = time.monotonic() + wait
    while True:
        try:
            os.replace(source, target)
            return
        except PermissionError as error:
            if time.monotonic() > end:
                raise WarehouseLocked(f"{source} is held by another process: close it there and try again.") from error
            time.sleep(0.1)


def _remove(path: Path) -> None:
    for file in (path, wal(path)):
        with contextlib.suppress(FileNotFoundError):
            file.unlink()
