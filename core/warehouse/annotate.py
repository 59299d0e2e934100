"""What a person says of a run, written into its parcel; and a parcel for a run that has none."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from core.errors import InputError, WarehouseError
from core.files import workplace
from core.store import annotation
from core.store.annotation import Annotations
from core.store.parcels import finish, is_parcel, read_parcel, write_parcel
from core.store.trash import set_aside
from core.warehouse import sync
from core.warehouse.profiles import read_profile
from core.warehouse.warehouse import Warehouse


def annotate(warehouse: Warehouse, run_id: str, change: Callable[[Annotations], Annotations]) -> Annotations:
    """Change tags and note of a run, in its parcel and in the warehouse, and return them as they are now.

    Raises InputError for a run that is not there and for what `change` refuses; nothing is changed then.
    """
    parcel = whole_parcel(warehouse, run_id)
    with warehouse.changing(sync.RUN, run_id) as connection:
        found = connection.execute("SELECT tags, note FROM runs WHERE run_id = ?", [run_id]).fetchall()
        if not found:
            raise no_run(run_id)
        said = change(annotation.of_row(*found[0]))
        annotation.write(parcel, said)
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
        raise no_run(run_id) from error
    with warehouse.changing(sync.RUN, run_id), workplace("written", warehouse.folder.root) as place:
        write_parcel(place / run_id, profile)
        annotation.write(place / run_id, annotation.of_row(profile.run.tags, profile.run.note))
        if parcel.exists():
            set_aside(warehouse.folder, parcel)
        finish(warehouse.folder, place / run_id)
    return parcel


def no_run(run_id: str) -> InputError:
    """For a run that is not there."""
    return InputError("There is no run {run_id}. `workdim runs` lists what is there.", run_id=run_id)
