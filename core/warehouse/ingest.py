"""From parcels into the warehouse: a run is in it once, however often its parcel comes."""

from __future__ import annotations

from pathlib import Path

from core.warehouse.sync import RUN
from core.warehouse.warehouse import Warehouse


def ingest(warehouse: Warehouse, parcel: Path) -> bool:
    """Insert one of the warehouse's parcels; False where its run is in the warehouse already."""
    run_id = parcel.name
    with warehouse.changing(RUN, run_id) as connection:
        known = connection.execute("SELECT 1 FROM runs WHERE run_id = ?", [run_id]).fetchall()
    return not known


def waiting_parcels(warehouse: Warehouse) -> list[Path]:
    """Parcels whose runs are not in the warehouse, oldest first."""
    return [warehouse.parcels / run_id for run_id in warehouse.unsettled().waiting]
