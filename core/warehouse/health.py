"""Whether a warehouse could be used as it is, looked at without making, changing or taking in anything."""

from __future__ import annotations

from dataclasses import dataclass

from core.errors import ResourceError, WarehouseError
from core.files import folders_in
from core.store.parcels import is_parcel, read_parcel
from core.warehouse import migrations
from core.warehouse.warehouse import Warehouse, clear_errors, connect, is_there


@dataclass(frozen=True)
class Health:
    is_there: bool
    step: int | None = None
    """The last step of the schema that the file has."""
    newest_step: int = max(migrations.MIGRATIONS)
    """The last one that this version knows; an older file is brought up to date when it is next opened."""
    n_runs: int = 0
    n_waiting: int = 0
    """Finished measurements that are not in the file yet."""
    damaged: tuple[str, ...] = ()
    """One line for each parcel that cannot be taken in as it is."""
    problem: str | None = None
    """Why the file cannot be used, None where it can."""


def look_at(warehouse: Warehouse) -> Health:
    try:
        there = is_there(warehouse.path)
        step, known = _inside(warehouse) if there else (None, set[str]())
        waiting = [path for path in folders_in(warehouse.parcels) if path.name not in known and is_parcel(path)]
    except (WarehouseError, ResourceError) as error:
        return Health(True, problem=str(error))
    damaged = []
    for parcel in waiting:
        try:
            read_parcel(parcel)
        except WarehouseError as error:
            damaged.append(str(error))
    return Health(there, step, n_runs=len(known), n_waiting=len(waiting) - len(damaged), damaged=tuple(damaged))


def _inside(warehouse: Warehouse) -> tuple[int | None, set[str]]:
    """The last step of the schema, and the ids of the runs."""
    with clear_errors(warehouse.path):
        connection = connect(warehouse.path, read_only=True, wait=warehouse.wait)
        try:
            pending = migrations.pending(connection)
            applied = sorted(migrations.MIGRATIONS.keys() - set(pending))
            if not applied:
                return None, set()
            return applied[-1], {row[0] for row in connection.execute("SELECT run_id FROM runs").fetchall()}
        finally:
            connection.close()
