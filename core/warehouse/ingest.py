"""From parcels into the warehouse: a run is in it once, however often its parcel comes."""

from __future__ import annotations

import shutil
from pathlib import Path

from core.files import make_folder, move, workplace
from core.store.parcels import is_parcel, read_parcel
from core.warehouse.sync import RUN
from core.warehouse.warehouse import Warehouse


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


def waiting_parcels(warehouse: Warehouse) -> list[Path]:
    """Parcels whose runs are not in the warehouse, oldest first."""
    return [warehouse.parcels / run_id for run_id in warehouse.unsettled().waiting]
