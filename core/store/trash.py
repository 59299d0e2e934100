"""The trash: parcels of deleted runs, until they are restored or the trash is emptied.

    trash/<run_id>/         the parcel, moved there by one rename; the time of the folder tells when

The rename is the deletion: a run with a parcel in the trash and none among the parcels is deleted, and so are its rows.
Parcels are moved inside `Warehouse.update`, which syncs the rows.
"""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from core.files import folders_in, make_folder, move, read_json_or_none, temporary_folder, unused_path, writing
from core.store.folder import Folder
from core.store.parcels import RUN_FILE, RUN_ID, is_parcel

DAMAGED_SUFFIX = ".damaged"
"""Suffix in the trash for a damaged parcel that was replaced by another of the same run."""


@dataclass(frozen=True)
class TrashedRun:
    """A run in the trash, as far as its parcel is readable."""

    run_id: str
    deleted_at: str
    """ISO 8601, UTC."""
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
    return [one.name for one in folders_in(folder.trash) if RUN_ID.fullmatch(one.name)]


def is_deleted(folder: Folder, run_id: str) -> bool:
    """Whether the run's parcel lies in the trash and not among the parcels."""
    return is_parcel(folder.trash / run_id) and not is_parcel(folder.parcels / run_id)


def move_to_trash(folder: Folder, run_id: str) -> None:
    """Move a parcel to the trash; the time of its folder tells when. A pilot that counts it as a result goes on doing so.

    Raises ResourceError if it cannot be moved; the run is not deleted then.
    """
    make_folder(folder.trash)
    with writing(folder.trash):
        shutil.rmtree(folder.trash / run_id, ignore_errors=True)  # of an earlier deletion
        os.utime(folder.parcels / run_id)
        move(folder.parcels / run_id, folder.trash / run_id)


def restore_parcel(folder: Folder, run_id: str) -> None:
    """Move a parcel out of the trash."""
    if is_parcel(folder.parcels / run_id):  # it came back another way
        shutil.rmtree(folder.trash / run_id, ignore_errors=True)
    else:
        make_folder(folder.parcels)
        move(folder.trash / run_id, folder.parcels / run_id)


def empty(folder: Folder) -> int:
    """Remove the content of the trash for good; returns the number of runs."""
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
    content = read_json_or_none(parcel / RUN_FILE)  # the trash must be listed also where that is damaged
    run = content.get("run") if isinstance(content, dict) else None
    said = run if isinstance(run, dict) else {}
    names = (str(said.get(key, "")) for key in ("model_id", "corpus_id", "protocol", "pass"))
    deleted_at = datetime.fromtimestamp(parcel.stat().st_mtime, UTC).isoformat(timespec="seconds")
    n_bytes = sum(file.stat().st_size for file in parcel.iterdir() if file.is_file())
    return TrashedRun(parcel.name, deleted_at, n_bytes, *names)
