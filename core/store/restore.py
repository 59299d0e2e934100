"""Restore a backup into a warehouse folder by renames, so that a kill at any moment cannot leave half of it.

    pending/restore-<time>/     one rename puts it there; from then on the restore will be finished by whoever comes next
        journal.json            the name under which the present user files are kept
        parcels/ people/        what moves into the folder, one rename each; what is still there is yet to be moved

Nothing measured since the backup is lost: parcels stay, with their tags and notes, and so do pilots (runs refer to them)
with their own scores. All other user files are replaced by those of the backup.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from core.errors import Sentence, WarehouseError, sentences
from core.files import (
    NOTHING_CHANGED,
    folders_in,
    make_folder,
    move,
    names_in,
    read_json,
    read_json_or_none,
    sync_all,
    sync_folder,
    timestamp,
    unused_path,
    write_atomic,
    writing,
)
from core.store import parcels, trash, user_files
from core.store.folder import Folder

KIND = "restore"
_JOURNAL = "journal.json"


@dataclass(frozen=True)
class PendingRestore:
    """A restore that has begun: its files are being exchanged, the DuckDB file is to be rebuilt."""

    folder: Path

    @property
    def previous_files(self) -> Path:
        """Where the replaced user files are kept, if there were any."""
        return self.folder.parents[1] / str(self._journal["kept"])

    @property
    def _journal(self) -> dict[str, Any]:
        return read_json(self.folder / _JOURNAL)


def begin(
    folder: Folder, unpacked: Path, damaged: Sequence[str], report: Callable[[str], None]
) -> tuple[PendingRestore, int]:
    """Make an unpacked backup a pending restore, which will be finished whatever happens; also returns its parcel count.

    `damaged` names what was left out of the backup: the files of people that are here stay. The caller keeps other processes from moving parcels or changing user files. `report` gets a line for what could not
    be carried over. Raises ResourceError if there is no room; nothing is changed then.
    """
    n_parcels = 0
    for parcel in folders_in(unpacked / "parcels"):
        if not parcels.problem(folder.parcels / parcel.name):
            shutil.rmtree(parcel)
        else:
            n_parcels += 1
    for name in damaged:
        if name.startswith("people/") and (ours := folder.root / name).exists():
            make_folder((unpacked / name).parent)
            (shutil.copytree if ours.is_dir() else shutil.copyfile)(ours, unpacked / name)
    _merge_pilots(folder, Folder(unpacked), report)
    previous_files = unused_path(folder.root / f"people.before-restore-{timestamp()}")
    journal = {"kept": previous_files.name}
    with writing(folder.pending, NOTHING_CHANGED):
        make_folder(unpacked / "people")
        write_atomic(unpacked / _JOURNAL, json.dumps(journal, indent=1).encode())
        make_folder(folder.pending)
        sync_all()
        pending = unused_path(folder.pending / f"{KIND}-{timestamp()}")
        os.replace(unpacked, pending)
        sync_folder(folder.pending)
    return PendingRestore(pending), n_parcels


def pending_restores(folder: Folder) -> list[PendingRestore]:
    """Restores that were begun and not finished, oldest first. What else lies there under such a name is none."""
    places = (folder.pending / f"{kind}-{one}" for kind, one in folder.pending_changes() if kind == KIND)
    return [PendingRestore(place) for place in places if isinstance(read_json_or_none(place / _JOURNAL), dict)]


def exchange_files(folder: Folder, restore: PendingRestore) -> None:
    """Move the files that have not been moved yet. Idempotent; the caller keeps other processes out."""
    for source in folders_in(restore.folder / "parcels"):
        target = folder.parcels / source.name
        make_folder(folder.parcels)
        if target.exists():
            trash.quarantine(folder, target)
        move(source, target)
    if (restore.folder / "people").is_dir():
        if folder.people.exists():
            move(folder.people, unused_path(restore.previous_files))
        move(restore.folder / "people", folder.people)
    for changed in (folder.parcels, folder.root):
        sync_folder(changed)


def finish(folder: Folder, restore: PendingRestore) -> None:
    """Clean up once the DuckDB file is rebuilt. Restored files lose their tombstones."""
    for name in names_in(folder.trash / "people"):
        kind, _, one = name.removesuffix(".json").partition("-")
        if kind in user_files.KINDS and user_files.exists(folder, kind, one):
            (folder.trash / "people" / name).unlink(missing_ok=True)
    leftovers = unused_path(folder.root / f".workdim-{restore.folder.name}")
    move(restore.folder, leftovers)
    shutil.rmtree(leftovers, ignore_errors=True)


def _merge_pilots(folder: Folder, unpacked: Folder, report: Callable[[str], None]) -> None:
    """Add to the backup the pilots, results and own scores that were registered since."""
    for one in user_files.list_ids(folder, "pilot"):
        try:
            ours, theirs = (user_files.read(place, "pilot", one) for place in (folder, unpacked))
            if ours and theirs:
                ours = theirs | {
                    "pilot_runs": pl.concat([theirs["pilot_runs"], ours["pilot_runs"]]).unique(maintain_order=True),
                    "scores": pl.concat([theirs["scores"], ours["scores"]]).unique(
                        ["repository", "revision"], maintain_order=True
                    ),
                }
            if ours:
                user_files.write(unpacked, "pilot", one, ours)
        except WarehouseError as error:
            report(sentences(error.message, Sentence("The backup's pilots were taken without it.")))
