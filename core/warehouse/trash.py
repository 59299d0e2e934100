"""Runs that were deleted: their parcels wait in the trash until they are restored, or the trash is emptied.

    trash/<run_id>/         the parcel, moved there by one rename
    trash/<run_id>.json     when, and the results of which pilots it counted among

The rename is the deletion: a run whose parcel lies in the trash and not among the parcels is deleted, and whoever opens
the warehouse next removes rows that a killed process left. The other way round, a parcel that was moved back waits
among the parcels and is taken in like any other.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from core.errors import InputError, ResourceError, WarehouseError, WarehouseLocked
from core.files import folders_in, make_folder, workplace, write_through
from core.store.parcels import RUN_FILE, is_parcel, read_parcel
from core.store.trash import DAMAGED
from core.tables import LONG_TABLES
from core.warehouse import ingest
from core.warehouse.care import whole_parcel
from core.warehouse.moving import moving_parcels
from core.warehouse.pilots import add_runs
from core.warehouse.warehouse import Warehouse, is_there

OF_RUNS = ["runs", *LONG_TABLES]
"""Tables whose rows belong to one run."""
_USERS = """
    SELECT run_id, unnest(control_run_ids) AS used FROM run_summaries JOIN runs USING (run_id)
    UNION SELECT plan_id, run_id FROM plans
"""
_UNUSED = {
    "models": "DELETE FROM models WHERE model_id NOT IN (SELECT model_id FROM runs) "
    "AND model_id NOT IN (SELECT model_id FROM plans)",
    "corpora": "DELETE FROM corpora WHERE corpus_id NOT IN (SELECT corpus_id FROM runs)",
}
"""A model or text that no run is of any more goes, too: the warehouse made anew from parcels would not have it."""


@dataclass(frozen=True)
class Trashed:
    """One run in the trash, as far as its parcel can still be read."""

    run_id: str
    deleted_at: str
    """ISO 8601, UTC; empty where it is not known."""
    n_bytes: int
    model_id: str = ""
    corpus_id: str = ""
    protocol: str = ""
    pass_: str = ""


def users(warehouse: Warehouse, run_ids: Sequence[str]) -> dict[str, list[str]]:
    """Of these runs those that others need, and which others: runs judged with them, plans made from them."""
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
    """Move the parcels of these runs to the trash, then remove their rows in one transaction.

    Raises InputError, and deletes nothing, where another run was judged with one of them, or a run is not there.
    """
    needed = users(warehouse, run_ids)
    if needed:
        told = "; ".join(f"{used[:13]} by {', '.join(user[:13] for user in by)}" for used, by in needed.items())
        raise InputError(f"Others were judged with what is to be deleted: {told}. Delete these too, or keep it.")
    with moving_parcels(warehouse):
        for run_id in run_ids:
            whole_parcel(warehouse, run_id)
        members = warehouse.read("SELECT run_id, pilot_id FROM pilot_runs").rows()
        for run_id in run_ids:
            _move(warehouse, run_id, [pilot for run, pilot in members if run == run_id])
        _remove_rows(warehouse, run_ids)


def finish_deletions(warehouse: Warehouse) -> list[str]:
    """Remove the rows of runs whose parcels are in the trash already: who deleted them was killed in between.

    Returns the ids. Costs a look at a folder where nothing was deleted.
    """
    gone = [name for name in _names(warehouse) if not is_parcel(warehouse.parcels / name)]
    if not gone or not is_there(warehouse.path):
        return []
    known = set(warehouse.read("SELECT run_id FROM runs")["run_id"])
    unfinished = [run_id for run_id in gone if run_id in known]
    if unfinished:
        _remove_rows(warehouse, unfinished)
    return unfinished


def finish_to_read(warehouse: Warehouse) -> list[str]:
    """As `finish_deletions` for somebody who only reads: where it cannot be done now, one line says why."""
    try:
        finish_deletions(warehouse)
    except (WarehouseLocked, ResourceError) as error:
        return [f"Runs that were deleted are still listed: {error}"]
    return []


def trashed(warehouse: Warehouse) -> list[Trashed]:
    """What is in the trash, the oldest measurement first."""
    return [_told(warehouse.folder.trash / name) for name in _names(warehouse)]


def restore(warehouse: Warehouse, run_id: str) -> list[str]:
    """Bring a run back, with the control runs that it was judged with where they are in the trash, too.

    Returns the ids of all that came back. Raises InputError for a run that is not in the trash, WarehouseError where
    its parcel does not fit the warehouse any more; it then stays in the trash.
    """
    folder = warehouse.folder.trash / run_id
    if not is_parcel(folder):
        raise InputError(f"There is no run {run_id} in the trash. `python -m core runs --trash` lists what is there.")
    tables = read_parcel(folder)
    judged = [one for ids in tables["run_summaries"]["control_run_ids"].drop_nulls() for one in ids]
    controls = [one for one in dict.fromkeys(judged) if is_parcel(warehouse.folder.trash / one)]
    back = [*controls, run_id]
    with moving_parcels(warehouse):
        for one in back:
            _bring_back(warehouse, one)
    return back


def empty(warehouse: Warehouse) -> int:
    """Remove for good what is in the trash; returns the number of runs."""
    folder = warehouse.folder.trash
    if not folder.exists():
        return 0
    with moving_parcels(warehouse):
        finish_deletions(warehouse)
        names = _names(warehouse)
        try:
            with workplace("emptied", folder.parent) as place:
                os.replace(folder, place / folder.name)
        except OSError as error:
            raise ResourceError(f"The trash {folder} cannot be emptied: {error.strerror or error}.") from error
    return len(names)


def _move(warehouse: Warehouse, run_id: str, pilots: list[str]) -> None:
    folder = warehouse.folder.trash
    make_folder(folder)
    try:
        shutil.rmtree(folder / run_id, ignore_errors=True)  # deleted before, and measured, imported or ingested again
        told = {"deleted_at": datetime.now(UTC).isoformat(timespec="seconds"), "pilots": pilots}
        write_through(folder / f"{run_id}.json", json.dumps(told, indent=1).encode())
        os.replace(warehouse.parcels / run_id, folder / run_id)
    except OSError as error:
        raise ResourceError(f"Run {run_id} cannot be moved to {folder}: {error.strerror or error}.") from error


def _remove_rows(warehouse: Warehouse, run_ids: Sequence[str]) -> None:
    with warehouse.write(mirrored=("pilot_runs",)) as connection:
        # Whoever brings a run back moves its parcel first and then writes: what is among the parcels now stays.
        ids = [run_id for run_id in run_ids if not is_parcel(warehouse.parcels / run_id)]
        marks = ", ".join("?" * len(ids)) or "NULL"
        for table in (*OF_RUNS, "pilot_runs"):
            connection.execute(f"DELETE FROM {table} WHERE run_id IN ({marks})", ids)
        for statement in _UNUSED.values():
            connection.execute(statement)


def _bring_back(warehouse: Warehouse, run_id: str) -> None:
    folder, target = warehouse.folder.trash, warehouse.parcels / run_id
    told = _note(folder / run_id)
    if is_parcel(target):  # it came back another way
        shutil.rmtree(folder / run_id, ignore_errors=True)
    else:
        make_folder(warehouse.parcels)
        try:
            os.replace(folder / run_id, target)
        except OSError as error:
            raise ResourceError(f"Run {run_id} cannot be moved to {target}: {error.strerror or error}.") from error
    try:
        ingest.ingest(warehouse, target)
    except WarehouseLocked:  # it waits among the parcels like any other
        raise
    except WarehouseError:
        os.replace(target, folder / run_id)
        raise
    for pilot_id in told.get("pilots", []):
        add_runs(warehouse, pilot_id, [run_id])
    with suppress(OSError):
        (folder / f"{run_id}.json").unlink(missing_ok=True)


def _names(warehouse: Warehouse) -> list[str]:
    return [folder.name for folder in folders_in(warehouse.folder.trash) if not folder.name.endswith(DAMAGED)]


def _told(folder: Path) -> Trashed:
    note, run = _note(folder), _json(folder / RUN_FILE).get("run")
    run = run if isinstance(run, dict) else {}
    n_bytes = sum(file.stat().st_size for file in folder.iterdir() if file.is_file())
    model_id, corpus_id, protocol, pass_ = (
        str(run.get(key, "")) for key in ("model_id", "corpus_id", "protocol", "pass")
    )
    return Trashed(folder.name, str(note.get("deleted_at", "")), n_bytes, model_id, corpus_id, protocol, pass_)


def _note(folder: Path) -> dict[str, Any]:
    return _json(folder.with_name(f"{folder.name}.json"))


def _json(file: Path) -> dict[str, Any]:
    """Empty where it is not there or damaged: the trash must be listed all the same."""
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}
