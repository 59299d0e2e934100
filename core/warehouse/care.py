"""What a person says of a run, written into its parcel and its row; and a parcel for a run that has none."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from pathlib import Path

import duckdb

from core.errors import InputError, WarehouseError
from core.files import workplace
from core.store import annotation
from core.store.annotation import Annotations
from core.store.parcels import finish, is_parcel, read_parcel, write_parcel
from core.store.trash import set_aside
from core.warehouse.profiles import read_profile
from core.warehouse.warehouse import Warehouse


def annotate(warehouse: Warehouse, run_id: str, change: Callable[[Annotations], Annotations]) -> Annotations:
    """Change tags and note of a run, in its parcel and in the warehouse, and return them as they are now.

    Raises InputError for a run that is not there and for what `change` refuses; nothing is changed then.
    """
    parcel = whole_parcel(warehouse, run_id)
    with warehouse.write() as connection:
        found = connection.execute("SELECT tags, note FROM runs WHERE run_id = ?", [run_id]).fetchall()
        if not found:
            raise _no_run(run_id)
        own, note = found[0]
        said = change(annotation.of_row(own, note))
        # The parcel first: what it does not hold is lost when the warehouse is made anew.
        annotation.write(parcel, said)
        row = [annotation.as_tags(own, said), said.note, run_id]
        connection.execute("UPDATE runs SET tags = ?, note = ? WHERE run_id = ?", row)
    return said


def whole_parcel(warehouse: Warehouse, run_id: str) -> Path:
    """The run's parcel, written from its rows where there is none that can be read.

    Such runs were taken over from an old file whose parcels are gone. A parcel that is damaged goes to the trash.
    Raises InputError for a run that is not there.
    """
    parcel = warehouse.parcels / run_id
    if is_parcel(parcel):
        try:
            read_parcel(parcel)
            return parcel
        except WarehouseError:
            pass
    try:
        profile = read_profile(warehouse, run_id)
    except KeyError as error:
        raise _no_run(run_id) from error
    if parcel.exists():
        set_aside(warehouse.folder, parcel)
    with workplace("written", warehouse.path.parent) as place:
        write_parcel(place / run_id, profile)
        annotation.write(place / run_id, annotation.of_row(profile.run.tags, profile.run.note))
        finish(warehouse.folder, place / run_id)
    return parcel


def bring_annotations(connection: duckdb.DuckDBPyConnection, parcels: Path) -> None:
    """Tags and notes of all rows as the parcels have them, which are written first and change while a file is made."""
    for run_id, own, note in connection.execute("SELECT run_id, tags, note FROM runs").fetchall():
        with contextlib.suppress(OSError, ValueError, RecursionError):  # a damaged one is told by the ingest
            said = annotation.read(parcels / run_id)
            if said is not None and (own, note) != (annotation.as_tags(own, said), said.note):
                row = [annotation.as_tags(own, said), said.note, run_id]
                connection.execute("UPDATE runs SET tags = ?, note = ? WHERE run_id = ?", row)


def _no_run(run_id: str) -> InputError:
    return InputError(f"There is no run {run_id}. `python -m core runs` lists what is there.")
