"""The trash: parcels of deleted runs, until they are restored or the trash is emptied.

    trash/<run_id>/         the parcel, moved there by one rename
    trash/<run_id>.json     when it was deleted, and the pilots whose result the run was
    trash/people/           tombstones of user files (user_files.py)

The rename is the deletion: a run with a parcel in the trash and none among the parcels is deleted, and so are its rows.
Nothing else deletes rows. Parcels are moved inside `Warehouse.update`, which syncs the rows.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from core.files import (
    folders_in,
    make_folder,
    move,
    read_json_or_none,
    temporary_folder,
    unused_path,
    write_json,
    writing,
)
from core.store.folder import Folder
from core.store.parcels import RUN_FILE, is_parcel

DAMAGED_SUFFIX = ".damaged"
"""Suffix in the trash for a damaged parcel that was replaced by another of the same run."""


@dataclass(frozen=True)
class TrashedRun:
    """A run in the trash, as far as its parcel is readable."""

    run_id: str
    deleted_at: str
    """ISO 8601, UTC; empty if unknown."""
    n_bytes: int
    model_id: str = ""
    corpus_id: str = ""
    protocol: str = ""
    pass_: str = ""


def list_runs(folder: Folder) -> list[TrashedRun]:
    """The runs in the trash, the oldest measurement first."""
    return [_read_entry(folder.trash / name) for name in run_ids(folder)]


def run_ids(folder: Folder) -> list[str]:
    """Ids of the runs in the trash, sorted."""
    return [
        one.name for one in folders_in(folder.trash) if one.name != "people" and not one.name.endswith(DAMAGED_SUFFIX)
    ]


def is_deleted(folder: Folder, run_id: str) -> bool:
    """Whether the run's parcel lies in the trash and not among the parcels."""
    return is_parcel(folder.trash / run_id) and not is_parcel(folder.parcels / run_id)


def move_to_trash(folder: Folder, run_id: str, pilots: Sequence[str]) -> None:
    """Move a parcel to the trash and record the pilots that the run is a result of.

    Raises ResourceError if it cannot be moved; the run is not deleted then.
    """
    make_folder(folder.trash)
    with writing(folder.trash):
        shutil.rmtree(folder.trash / run_id, ignore_errors=True)  # of an earlier deletion
        record = {"deleted_at": datetime.now(UTC).isoformat(timespec="seconds"), "pilots": list(pilots)}
        write_json(folder.trash / f"{run_id}.json", record)
        move(folder.parcels / run_id, folder.trash / run_id)


def restore_parcel(folder: Folder, run_id: str) -> list[str]:
    """Move a parcel out of the trash; returns the pilots that the run was a result of."""
    target = folder.parcels / run_id
    pilots = _read_object(folder.trash / f"{run_id}.json").get("pilots", [])
    if is_parcel(target):  # it came back another way
        shutil.rmtree(folder.trash / run_id, ignore_errors=True)
    else:
        make_folder(folder.parcels)
        move(folder.trash / run_id, target)
    with suppress(OSError):
        (folder.trash / f"{run_id}.json").unlink(missing_ok=True)
    return [pilot for pilot in pilots if isinstance(pilot, str)] if isinstance(pilots, list) else []


def empty(folder: Folder) -> int:
    """Remove the content of the trash for good, tombstones included; returns the number of runs."""
    if not folder.trash.exists():
        return 0
    removed = run_ids(folder)
    with temporary_folder("emptied", folder.root) as place:
        move(folder.trash, place / folder.trash.name)
    return len(removed)


def quarantine(folder: Folder, parcel: Path) -> None:
    """Move a damaged parcel to the trash, under a name that is not taken for a deleted run."""
    target = unused_path(folder.trash / f"{parcel.name}{DAMAGED_SUFFIX}")
    make_folder(target.parent)
    move(parcel, target)


def _read_entry(parcel: Path) -> TrashedRun:
    record, run = _read_object(parcel.with_name(f"{parcel.name}.json")), _read_object(parcel / RUN_FILE).get("run")
    n_bytes = sum(file.stat().st_size for file in parcel.iterdir() if file.is_file())
    said = run if isinstance(run, dict) else {}
    names = (str(said.get(key, "")) for key in ("model_id", "corpus_id", "protocol", "pass"))
    return TrashedRun(parcel.name, str(record.get("deleted_at", "")), n_bytes, *names)


def _read_object(file: Path) -> dict[str, Any]:
    """Empty if the file is missing or damaged: the trash must be listed all the same."""
    content = read_json_or_none(file)
    return content if isinstance(content, dict) else {}
