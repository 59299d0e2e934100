"""From a finished job to a parcel, and from parcels into the warehouse: one short transaction each, never twice."""

from __future__ import annotations

import contextlib
import logging
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

import duckdb
import polars as pl

from core.errors import ResourceError, WarehouseError, WarehouseLocked
from core.files import make_folder, move, names_in, workplace
from core.store.parcels import RUN_FILE, is_parcel, read_parcel, write_parcel
from core.warehouse.inserting import insert as insert_rows
from core.warehouse.warehouse import Warehouse

__all__ = [
    "TakenIn",
    "ingest",
    "ingest_waiting",
    "read_parcel",
    "take_copy",
    "take_in",
    "waiting_parcels",
    "write_parcel",
]

_log = logging.getLogger("workdim")
_READERS_WAIT = 0.9
"""Seconds that somebody who only wants to read waits for the right to write."""
_BEING_BROUGHT = 5.0
"""Seconds after its end within which a measurement that is not in yet is nothing to be told of."""


_IF_KNOWN = {
    # An earlier version knew less of a model: what this one can tell of it holds for its earlier runs, too. A parcel
    # of that version, which has no configuration_hash, may come in later and teaches nothing.
    "models": """ON CONFLICT (model_id) DO UPDATE SET tokenizer_hash = excluded.tokenizer_hash,
        configuration_hash = excluded.configuration_hash WHERE excluded.configuration_hash IS NOT NULL""",
    "corpora": "ON CONFLICT DO NOTHING",
}
STORED_ORDER = {"layer_distributions": "quantity, bin_lower, layer"}
"""Rows are stored as they come, but for these: the edges of a bin, which are the same on every layer, take a quarter of
the room where they follow each other (12.6 instead of 47.7 MB for 1,000 runs)."""
_TAUGHT: dict[str, tuple[str, ...]] = {"models": ("tokenizer_hash", "configuration_hash"), "corpora": ()}
"""What a parcel may tell of a model that is known: where it agrees already, an insert that does nothing is spared."""


@dataclass(frozen=True)
class TakenIn:
    """What became of the waiting parcels when somebody came to read."""

    run_ids: list[str] = field(default_factory=list)
    waiting: int = 0
    """Parcels that could not be written now, for the one `reason`."""
    reason: str = ""
    damaged: list[str] = field(default_factory=list)
    """One line for each parcel that can never be taken in as it is."""
    late: int = 0
    """Of those that wait, how many a reader is told of: not one whose own process is just bringing it in."""

    @property
    def lines(self) -> list[str]:
        late = [f"{self.late} finished measurements wait: {self.reason}"] if self.late else []
        return late + self.damaged


def ingest(warehouse: Warehouse, folder: Path) -> bool:
    """Insert one parcel; False where its run is in the warehouse already."""
    tables = read_parcel(folder)
    with warehouse.write() as connection:
        return insert(connection, tables)


def take_copy(warehouse: Warehouse, folder: Path) -> bool:
    """Copy a parcel from elsewhere beside the warehouse and insert it; False where its run is there already."""
    read_parcel(folder)  # a damaged one is refused before anything is copied
    target = warehouse.parcels / folder.name
    if not is_parcel(target):
        make_folder(warehouse.parcels)
        with workplace("copied", warehouse.path.parent) as place:
            shutil.copytree(folder, place / folder.name)
            move(place / folder.name, target)
    return ingest(warehouse, target)


def take_in(warehouse: Warehouse) -> TakenIn:
    """As `ingest_waiting` for somebody who only reads: what cannot be written now goes on waiting and is told."""
    waiting, damaged = waiting_parcels(warehouse), list[str]()
    if not waiting:
        return TakenIn()
    # All who read would stand in line for it else, each to find that it is in already.
    wait = 0.0 if all(map(_is_being_brought, waiting)) else _READERS_WAIT
    try:
        return TakenIn(ingest_waiting(replace(warehouse, wait=wait), damaged.append), damaged=damaged)
    except (WarehouseLocked, ResourceError) as error:
        left = waiting_parcels(warehouse)
        taken = [folder.name for folder in waiting if folder not in left]
        is_busy = isinstance(error, WarehouseLocked)
        late = [folder for folder in left if not (is_busy and _is_being_brought(folder))]
        n_waiting, n_late = (max(0, len(folders) - len(damaged)) for folders in (left, late))
        return TakenIn(taken, n_waiting, str(error), damaged, n_late)


def _is_being_brought(folder: Path) -> bool:
    with contextlib.suppress(OSError):
        return time.time() - (folder / RUN_FILE).stat().st_mtime < _BEING_BROUGHT
    return False


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
    names = names_in(warehouse.parcels)
    if not names:
        return []
    names.difference_update(warehouse.read("SELECT run_id FROM runs")["run_id"])
    # Whatever else lies there is looked at only now: ten thousand parcels that are in cost no look each.
    return [folder for name in sorted(names) if is_parcel(folder := warehouse.parcels / name)]


def insert(connection: duckdb.DuckDBPyConnection, tables: dict[str, pl.DataFrame]) -> bool:
    """Insert the tables of one parcel within the caller's transaction; False where the run is there already."""
    run_id = tables["runs"]["run_id"][0]
    if connection.execute("SELECT 1 FROM runs WHERE run_id = ?", [run_id]).fetchall():
        return False
    known = {
        "models": _check_same(connection, tables["models"], "models", "model_id", "weights_sha256"),
        "corpora": _check_same(connection, tables["corpora"], "corpora", "corpus_id", "sha256"),
    }
    for table, rows in tables.items():
        if not known.get(table):
            order = f"ORDER BY {STORED_ORDER[table]}" if table in STORED_ORDER else ""
            insert_rows(connection, table, rows, f"{order} {_IF_KNOWN.get(table, '')}")
    return True


def _check_same(connection: duckdb.DuckDBPyConnection, rows: pl.DataFrame, table: str, key: str, content: str) -> bool:
    """One id must not stand for two different contents. True where the row is there and `rows` add nothing to it."""
    name, here = rows[key][0], rows[content][0]
    taught = _TAUGHT[table]
    sql = f"SELECT {', '.join([content, *taught])} FROM {table} WHERE {key} = ?"
    there = connection.execute(sql, [name]).fetchall()
    if there and there[0][0] != here:
        raise WarehouseError(
            f"{name} is in the warehouse with another content ({there[0][0][:12]}, this parcel has {here[:12]}): "
            "the parcel was left where it is."
        )
    return bool(there) and there[0][1:] == tuple(rows[column][0] for column in taught)
