"""Runs that are deleted and brought back: their parcels move, their rows follow (core.store.trash)."""

from __future__ import annotations

from collections.abc import Sequence

from core.errors import InputError, ResourceError, Sentence, sentences
from core.records import SHORT_ID
from core.store import people, trash
from core.store.parcels import is_parcel, read_head, read_parcel
from core.store.trash import Trashed
from core.warehouse import sync
from core.warehouse.annotate import no_run, whole_parcel
from core.warehouse.pilots import add_runs
from core.warehouse.warehouse import Warehouse

_USERS = """
    SELECT run_id, unnest(control_run_ids) AS used FROM run_summaries JOIN runs USING (run_id)
"""


def users(warehouse: Warehouse, run_ids: Sequence[str]) -> dict[str, list[str]]:
    """Of these runs those that others need, and which others: runs judged with them."""
    marks = ", ".join("?" * len(run_ids)) or "NULL"
    found = warehouse.read(
        f"SELECT DISTINCT used, run_id FROM ({_USERS}) WHERE used IN ({marks}) ORDER BY ALL", list(run_ids)
    )
    needed: dict[str, list[str]] = {}
    for used, user in found.rows():
        if user not in run_ids:
            needed.setdefault(used, []).append(user)
    return needed


def delete(warehouse: Warehouse, run_ids: Sequence[str]) -> None:
    """Move the parcels of these runs to the trash; their rows follow.

    Raises InputError, and deletes nothing, where another run was judged with one of them, or a run is not there;
    ResourceError where some could be moved and others not, or the rows cannot follow yet: it says which.
    """
    run_ids = list(dict.fromkeys(run_ids))
    needed = users(warehouse, run_ids)
    if needed:
        told = [
            Sentence("{used} by {users}", used=used[:SHORT_ID], users=[user[:SHORT_ID] for user in by])
            for used, by in needed.items()
        ]
        raise InputError(
            "Others were judged with what is to be deleted: {told}. Delete these too, or keep it.", told=told
        )
    for run_id in run_ids:
        whole_parcel(warehouse, run_id)
    with warehouse.changing(sync.RUN, *run_ids) as connection:
        members = connection.execute("SELECT run_id, pilot_id FROM pilot_runs").fetchall()
        for run_id in run_ids:
            if not is_parcel(warehouse.parcels / run_id):  # somebody else has deleted it meanwhile
                raise no_run(run_id)
        for done, run_id in enumerate(run_ids):
            try:
                trash.throw(warehouse.folder, run_id, [pilot for run, pilot in members if run == run_id])
            except ResourceError as error:
                others = Sentence("Nothing was deleted.")
                if done:
                    others = Sentence(
                        "{done} of {n_run_ids} runs were deleted before.", done=done, n_run_ids=len(run_ids)
                    )
                raise ResourceError(sentences(error.message, others)) from error


def trashed(warehouse: Warehouse) -> list[Trashed]:
    """What is in the trash, the oldest measurement first."""
    return trash.trashed(warehouse.folder)


def restore(warehouse: Warehouse, run_id: str) -> list[str]:
    """Bring a run back, with the control runs that it was judged with where they are in the trash, too.

    Returns the ids of all that came back. Raises InputError for a run that is not in the trash, WarehouseError where
    its parcel does not fit the warehouse any more; it then stays in the trash.
    """
    folder = warehouse.folder
    if not is_parcel(folder.trash / run_id):
        raise InputError(
            "There is no run {run_id} in the trash. `workdim runs list --deleted` lists what is there.", run_id=run_id
        )
    tables = read_parcel(folder.trash / run_id)
    judged = [one for ids in tables["run_summaries"]["control_run_ids"].drop_nulls() for one in ids]
    controls = [one for one in dict.fromkeys(judged) if is_parcel(folder.trash / one)]
    back = [*controls, run_id]
    pilots: dict[str, list[str]] = {}
    with warehouse.changing(sync.RUN, *back) as connection:
        for one in back:
            sync.check_content(connection, read_head(folder.trash / one).rows)
        for one in back:
            for pilot in trash.bring_back(folder, one):
                pilots.setdefault(pilot, []).append(one)
    for pilot_id, of_pilot in pilots.items():
        if people.is_there(folder, "pilot", pilot_id):
            add_runs(warehouse, pilot_id, of_pilot)
    return back


def empty(warehouse: Warehouse) -> int:
    """Remove for good what is in the trash; returns the number of runs."""
    if not warehouse.folder.trash.exists():
        return 0
    with warehouse.changing(sync.RUN):  # whatever a kill left is followed first
        return trash.empty(warehouse.folder)
