"""Restore a backup into a warehouse folder by renames, so that a kill at any moment cannot leave half of it.

    pending/restore-<time>/     one rename puts it there; from then on the restore will be finished by whoever comes next
        parcels/ people/        what moves into the folder, one rename each; what is still there is yet to be moved
    people.before-restore-<time>/   the user files that were there before

Nothing measured since the backup is lost: parcels stay, with their tags and notes, and so do pilots (runs refer to them)
with their own scores. All other user files are replaced by those of the backup.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

import polars as pl

from core.errors import Sentence, WarehouseError, sentences
from core.files import (
    NOTHING_CHANGED,
    folders_in,
    make_folder,
    move,
    sync_all,
    sync_folder,
    timestamp,
    unused_path,
    writing,
)
from core.store import parcels, trash, user_files
from core.store.folder import Folder

KIND = "restore"
_NAME = re.compile(r"\d{8}-\d{6}(-\d+)?")


def begin(folder: Folder, unpacked: Path, damaged: Sequence[str], report: Callable[[str], None]) -> tuple[Path, int]:
    """Make an unpacked backup a pending restore, which will be finished whatever happens; returns its folder and the number
    of its parcels.

    `damaged` names what was left out of the backup: the files of people that are here stay. The caller keeps other processes
    from moving parcels or changing user files. `report` gets a line for what could not be carried over. Raises ResourceError
    if there is no room; nothing is changed then.
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
    with writing(folder.pending, NOTHING_CHANGED):
        make_folder(unpacked / "people")
        make_folder(folder.pending)
        sync_all()
        pending = unused_path(folder.pending / f"{KIND}-{timestamp()}")
        os.replace(unpacked, pending)
        sync_folder(folder.pending)
    return pending, n_parcels


def pending_restores(folder: Folder) -> list[Path]:
    """The folders of restores that were begun and not finished, oldest first: their files are being exchanged, the DuckDB file
    is to be rebuilt. What else lies there under such a name is none."""
    begun = [one for kind, one in folder.pending_changes() if kind == KIND and _NAME.fullmatch(one)]
    return [place for one in begun if (place := folder.pending / f"{KIND}-{one}").is_dir()]


def previous_files(folder: Folder, restore: Path) -> Path:
    """Where the user files are kept that a restore replaces, if there were any."""
    return folder.root / f"people.before-{restore.name}"


def exchange_files(folder: Folder, restore: Path) -> None:
    """Move the files that have not been moved yet. Idempotent; the caller keeps other processes out."""
    for source in folders_in(restore / "parcels"):
        target = folder.parcels / source.name
        make_folder(folder.parcels)
        if target.exists():
            trash.quarantine(folder, target)
        move(source, target)
    if (restore / "people").is_dir():
        if folder.people.exists():
            move(folder.people, unused_path(previous_files(folder, restore)))
        move(restore / "people", folder.people)
    for changed in (folder.parcels, folder.root):
        sync_folder(changed)


def finish(folder: Folder, restore: Path) -> None:
    """Clean up once the DuckDB file is rebuilt."""
    leftovers = unused_path(folder.root / f".workdim-{restore.name}")
    move(restore, leftovers)
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
