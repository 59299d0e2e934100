"""From parcels into the warehouse: a run is in it once, however often its parcel comes."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Callable
from pathlib import Path

from core.files import make_folder, move, workplace
from core.store.parcels import is_parcel, read_parcel
from core.warehouse.sync import RUN
from core.warehouse.warehouse import TakenIn, Warehouse

_log = logging.getLogger("workdim")


def ingest(warehouse: Warehouse, parcel: Path) -> bool:
    """Insert one of the warehouse's parcels; False where its run is in the warehouse already."""
    run_id = parcel.name
    with warehouse.changing(RUN, run_id) as connection:
        known = connection.execute("SELECT 1 FROM runs WHERE run_id = ?", [run_id]).fetchall()
    return not known


def take_copy(warehouse: Warehouse, folder: Path) -> bool:
    """Copy a parcel from elsewhere beside the warehouse and insert it; False where its run is there already."""
    read_parcel(folder)  # a damaged one is refused before anything is copied
    target = warehouse.parcels / folder.name
    if not is_parcel(target):
        make_folder(warehouse.parcels)
        with workplace("copied", warehouse.folder.root) as place:
            shutil.copytree(folder, place / folder.name)
            move(place / folder.name, target)
    return ingest(warehouse, target)


def take_in(warehouse: Warehouse) -> TakenIn:
    """As `ingest_waiting` for somebody who only reads: what cannot be written now goes on waiting and is told."""
    return warehouse.take_in()


def ingest_waiting(warehouse: Warehouse, report: Callable[[str], None] = _log.warning) -> list[str]:
    """Insert every parcel that is not in yet, oldest first; returns their run ids (see Warehouse.settle)."""
    return warehouse.settle(report)


def waiting_parcels(warehouse: Warehouse) -> list[Path]:
    """Parcels whose runs are not in the warehouse, oldest first."""
    return [warehouse.parcels / run_id for run_id in warehouse.unsettled().waiting]
