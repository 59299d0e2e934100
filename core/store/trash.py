"""The trash: parcels of deleted runs, until they are restored or the trash is emptied.

    trash/<run_id>/         the parcel, moved there by one rename
    trash/<run_id>.json     when, and the results of which pilots it counted among
    trash/people/           tombstones of people's files (people.py)

The rename is the deletion: a run whose parcel lies in the trash and not among the parcels is deleted, and its rows go.
Nothing else deletes rows. Whoever moves parcels does so within `Warehouse.changing`, which brings the rows up to date.
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

from core.errors import ResourceError
from core.files import folders_in, make_folder, move, read_json, unused, workplace, write_through
from core.store.folder import Folder
from core.store.parcels import RUN_FILE, is_parcel

DAMAGED = ".damaged"
"""Ends the name in the trash of a parcel that could not be read and was replaced by another of the same run."""


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


def trashed(folder: Folder) -> list[Trashed]:
    """What is in the trash, the oldest measurement first."""
    return [_listed(folder.trash / name) for name in names(folder)]


def names(folder: Folder) -> list[str]:
    """Ids of the runs in the trash, sorted."""
    return [one.name for one in folders_in(folder.trash) if one.name != "people" and not one.name.endswith(DAMAGED)]


def is_deleted(folder: Folder, run_id: str) -> bool:
    """Whether the run's parcel lies in the trash and not among the parcels."""
    return is_parcel(folder.trash / run_id) and not is_parcel(folder.parcels / run_id)


def throw(folder: Folder, run_id: str, pilots: Sequence[str]) -> None:
    """Move a parcel to the trash, with a note of the pilots that the run is a result of.

    Raises ResourceError where it cannot be moved: this run was not deleted then.
    """
    make_folder(folder.trash)
    try:
        shutil.rmtree(folder.trash / run_id, ignore_errors=True)  # deleted before, and measured or imported again
        told = {"deleted_at": datetime.now(UTC).isoformat(timespec="seconds"), "pilots": list(pilots)}
        write_through(folder.trash / f"{run_id}.json", json.dumps(told, indent=1).encode())
        os.replace(folder.parcels / run_id, folder.trash / run_id)
    except OSError as error:
        raise ResourceError(
            "Run {run_id} cannot be moved to {trash}: {reason}.",
            run_id=run_id,
            trash=folder.trash,
            reason=error.strerror or error,
        ) from error


def bring_back(folder: Folder, run_id: str) -> list[str]:
    """Move a parcel out of the trash again; returns the pilots that the run was a result of."""
    target = folder.parcels / run_id
    pilots = note(folder, run_id).get("pilots", [])
    if is_parcel(target):  # it came back another way
        shutil.rmtree(folder.trash / run_id, ignore_errors=True)
    else:
        make_folder(folder.parcels)
        move(folder.trash / run_id, target)
    with suppress(OSError):
        (folder.trash / f"{run_id}.json").unlink(missing_ok=True)
    return [pilot for pilot in pilots if isinstance(pilot, str)] if isinstance(pilots, list) else []


def empty(folder: Folder) -> int:
    """Remove for good what is in the trash; returns the number of runs. Tombstones of people's files go, too."""
    if not folder.trash.exists():
        return 0
    gone = names(folder)
    try:
        with workplace("emptied", folder.root) as place:
            os.replace(folder.trash, place / folder.trash.name)
    except OSError as error:
        raise ResourceError(
            "The trash {trash} cannot be emptied: {reason}.", trash=folder.trash, reason=error.strerror or error
        ) from error
    return len(gone)


def set_aside(folder: Folder, parcel: Path) -> None:
    """Move a damaged parcel to the trash, where nobody takes it for a deleted run."""
    aside = unused(folder.trash / f"{parcel.name}{DAMAGED}")
    make_folder(aside.parent)
    try:
        os.replace(parcel, aside)
    except OSError as error:
        raise ResourceError(
            "The damaged parcel {parcel} cannot be moved to {aside}: {reason}.",
            parcel=parcel,
            aside=aside,
            reason=error.strerror,
        ) from error


def note(folder: Folder, run_id: str) -> dict[str, Any]:
    """What was written down when the run was deleted; empty where that is not there or damaged."""
    return _json(folder.trash / f"{run_id}.json")


def _listed(parcel: Path) -> Trashed:
    told, run = _json(parcel.with_name(f"{parcel.name}.json")), _json(parcel / RUN_FILE).get("run")
    run = run if isinstance(run, dict) else {}
    n_bytes = sum(file.stat().st_size for file in parcel.iterdir() if file.is_file())
    model_id, corpus_id, protocol, pass_ = (
        str(run.get(key, "")) for key in ("model_id", "corpus_id", "protocol", "pass")
    )
    return Trashed(parcel.name, str(told.get("deleted_at", "")), n_bytes, model_id, corpus_id, protocol, pass_)


def _json(file: Path) -> dict[str, Any]:
    """Empty where it is not there or damaged: the trash must be listed all the same."""
    try:
        found = read_json(file)
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}
