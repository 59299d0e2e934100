"""A warehouse made anew from what lies beside it: the parcels, and the mirror of what no parcel holds."""

from __future__ import annotations

import logging
from collections.abc import Callable

import duckdb

from core.errors import WarehouseError, WarehouseLocked
from core.files import folders_in, time_now, unused
from core.store.parcels import ROWS_OF_RUN, is_parcel
from core.warehouse import mirror
from core.warehouse.care import bring_annotations
from core.warehouse.ingest import ingest, insert
from core.warehouse.inserting import insert as insert_rows
from core.warehouse.moving import moving_parcels
from core.warehouse.replacing import Held, held, remove
from core.warehouse.warehouse import Warehouse, is_there

_log = logging.getLogger("workdim")


def rebuild(
    warehouse: Warehouse,
    report: Callable[[str], None] = _log.warning,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> list[str]:
    """Make the warehouse anew from its parcels and its mirror, beside the old file, then exchange the two.

    Where the old file can still be read, what it holds beside parcels counts more than the mirror, and runs without a
    readable parcel are taken over from it, with a line each to `report`. The old file is kept as
    `<name>.before-rebuild`, or with the time behind that, so that no later rebuild replaces it, where anything was to
    be reported of it. Others may go on reading and writing until the last moment. Returns the ids of the runs
    that came from parcels; `progress` hears of parcels done and parcels in all. Raises WarehouseLocked where another
    process does not let go of the old file, WarehouseError where that is of another program, of a newer
    Workdim, or a folder.
    """
    path = warehouse.path
    is_there(path)  # a folder of that name is an error before anything is made
    beside = Warehouse(path.with_name(path.name + ".rebuild"), warehouse.wait)
    with moving_parcels(warehouse):
        remove(beside.path)
        beside.prepare()  # a new file takes in the mirror
        taken = _all_parcels(beside, warehouse, set(), report, progress)
        told: list[str] = []
        with held(path, warehouse.wait, told.append) as old:
            old.refuse_newer()
            # What was finished and said since; from here on nobody else writes.
            taken += _all_parcels(beside, warehouse, set(taken), lambda line: None, lambda done, total: None)
            take_over_runs(beside, old, set(taken), told.append)
            with beside.write(mirrored=mirror.TABLES) as connection:
                take_over(connection, old, mirror.TABLES, told.append)
                bring_annotations(connection, warehouse.parcels)
            kept = path.with_name(path.name + ".before-rebuild" + (f"-{time_now()}" if told else ""))
            old.exchange(beside.path, unused(kept) if told else kept)
        for line in told:
            report(line)
        remove(beside.path)  # its gate
    return taken


def mend(warehouse: Warehouse) -> None:
    """Write anew what the mirror lacks of the warehouse, or holds beyond reading, and take tags and notes from the
    parcels: what a kill between the two left."""
    with warehouse.write(mirrored=mirror.TABLES) as connection:
        bring_annotations(connection, warehouse.parcels)
        for file, _ in list(mirror.unreadable(warehouse.mirror)):
            file.unlink(missing_ok=True)


def take_over(
    connection: duckdb.DuckDBPyConnection, old: Held, tables: tuple[str, ...], report: Callable[[str], None]
) -> None:
    """Replace these tables by those of the old file, each where it can be read."""
    for table in tables:
        rows = old.read(table, f"SELECT * FROM {table}", lambda line: report(f"{line} The mirror's rows were taken."))
        if rows is not None:
            connection.execute(f"DELETE FROM {table}")
            insert_rows(connection, table, rows)


def _all_parcels(
    beside: Warehouse,
    warehouse: Warehouse,
    known: set[str],
    report: Callable[[str], None],
    progress: Callable[[int, int], None],
) -> list[str]:
    folders = [folder for folder in folders_in(warehouse.parcels) if folder.name not in known and is_parcel(folder)]
    taken = []
    for number, folder in enumerate(folders, start=1):
        try:
            ingest(beside, folder)
            taken.append(folder.name)
        except WarehouseLocked:
            raise
        except WarehouseError as error:
            report(str(error))
        progress(number, len(folders))
    return taken


def take_over_runs(new: Warehouse, old: Held, taken: set[str], report: Callable[[str], None]) -> None:
    """Runs of the old file that are not among `taken`, because no parcel brought them: the only copy that is left."""
    known = old.read("runs", "SELECT run_id FROM runs ORDER BY run_id", report)
    for run_id in [] if known is None else known["run_id"].to_list():
        if run_id in taken:
            continue
        reasons: list[str] = []
        tables = {table: old.read(table, sql, reasons.append, [run_id]) for table, sql in ROWS_OF_RUN.items()}
        whole = {table: rows for table, rows in tables.items() if rows is not None}
        try:
            if reasons:
                raise WarehouseError(reasons[0])
            with new.write() as connection:
                insert(connection, whole)
            report(f"Run {run_id} has no parcel that can be read: its rows were taken over from the old warehouse.")
        except WarehouseLocked:
            raise
        except (WarehouseError, duckdb.Error) as error:
            report(f"Run {run_id} is lost, it has no parcel that can be read: {str(error).splitlines()[0]}")
