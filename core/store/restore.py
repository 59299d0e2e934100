"""From a backup to a folder: looked through beside, then exchanged by renames that a kill at any of them cannot halve.

    pending/restore-<time>/     one rename puts it there, and from then on the restore is going to be finished
        journal.json            under which name the present files of people are kept; what tables/ holds
        parcels/ people/        what takes its place, one rename each; what is still there has not been moved yet
        tables/                 tables that a user had added to the DuckDB file, for whoever builds it anew

Nothing that was measured since the backup is lost: parcels stay where they are, with their tags and notes, and so do
pilots, which run results name, with the scores stated in them. All else that people wrote is as in the backup.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from core.errors import ResourceError, Sentence, WarehouseError, sentences
from core.files import (
    folders_in,
    make_folder,
    move,
    names_in,
    read_json,
    sync_all,
    sync_folder,
    time_now,
    unused,
    write_through,
)
from core.store import people, trash
from core.store.folder import Folder
from core.store.parcels import DAMAGE, RUN_FILE

KIND = "restore"
_JOURNAL = "journal.json"


@dataclass(frozen=True)
class Pending:
    """A restore that is under way: its files are exchanged or about to be, the DuckDB file is to be built of them."""

    folder: Path

    @property
    def tables(self) -> dict[str, Path]:
        """Name of a table that a user had added to the DuckDB file -> its rows as Parquet."""
        return {str(table): self.folder / name for name, table in self._journal["tables"].items()}

    @property
    def views(self) -> dict[str, str]:
        """Name of a view that a user had added -> its statement."""
        return {str(name): str(sql) for name, sql in self._journal["views"].items()}

    @property
    def kept(self) -> Path:
        """What people had written before, if anything."""
        return self.folder.parents[1] / str(self._journal["kept"])

    @property
    def _journal(self) -> dict[str, Any]:
        return read_json(self.folder / _JOURNAL)


def begin(folder: Folder, unpacked: Path, about: dict[str, Any], report: Callable[[str], None]) -> tuple[Pending, int]:
    """From an unpacked backup to a restore that will be finished, whatever comes; how many parcels it brings, too.

    `about` is its manifest. Nobody else may move parcels or change people's files meanwhile. A line to `report` for what
    could not be carried over. Raises ResourceError where there is no room: nothing was changed then.
    """
    parcels = 0
    for parcel in folders_in(unpacked / "parcels"):
        if is_sound(folder.parcels / parcel.name):
            shutil.rmtree(parcel)
        else:
            parcels += 1
    _keep_pilots(folder, Folder(unpacked), report)
    kept = unused(folder.root / f"people.before-restore-{time_now()}")
    journal = {"kept": kept.name, "tables": about.get("tables", {}), "views": about.get("views", {})}
    try:
        make_folder(unpacked / "people")
        write_through(unpacked / _JOURNAL, json.dumps(journal, indent=1).encode())
        make_folder(folder.pending)
        sync_all()
        pending = unused(folder.pending / f"{KIND}-{time_now()}")
        os.replace(unpacked, pending)
        sync_folder(folder.pending)
    except OSError as error:
        raise ResourceError(
            "The backup cannot be put in place: {reason}. Nothing was changed.", reason=error.strerror or error
        ) from error
    return Pending(pending), parcels


def pending(folder: Folder) -> list[Pending]:
    """Restores that were begun and not finished, the first one first."""
    return [Pending(folder.pending / f"{kind}-{one}") for kind, one in folder.marked() if kind == KIND]


def go_on(folder: Folder, restore: Pending) -> None:
    """Exchange what has not been exchanged yet. Doing it twice is no error; the caller keeps everybody else out."""
    for staged in folders_in(restore.folder / "parcels"):
        target = folder.parcels / staged.name
        make_folder(folder.parcels)
        if target.exists():
            trash.set_aside(folder, target)
        move(staged, target)
    if (restore.folder / "people").is_dir():
        if folder.people.exists():
            move(folder.people, unused(restore.kept))
        move(restore.folder / "people", folder.people)
    for changed in (folder.parcels, folder.root):
        sync_folder(changed)


def end(folder: Folder, restore: Pending) -> None:
    """The DuckDB file is built: nothing is left to be done. What came back is no longer remembered as deleted."""
    for name in names_in(folder.trash / "people"):
        kind, _, one = name.removesuffix(".json").partition("-")
        if kind in people.KINDS and people.is_there(folder, kind, one):
            (folder.trash / "people" / name).unlink(missing_ok=True)
    gone = unused(folder.root / f".workdim-{restore.folder.name}")
    move(restore.folder, gone)
    shutil.rmtree(gone, ignore_errors=True)


def is_sound(parcel: Path) -> bool:
    """Whether a parcel's files are those that its run.json names."""
    try:
        check_hashes(parcel)
    except DAMAGE:
        return False
    return True


def check_hashes(parcel: Path) -> None:
    """Raises ValueError, or another of DAMAGE, where a file of a parcel is not as its run.json has it."""
    for name, sha256 in read_json(parcel / RUN_FILE)["files"].items():
        if hashlib.sha256((parcel / f"{name}.parquet").read_bytes()).hexdigest() != sha256:
            raise ValueError(f"{name}.parquet has changed since it was written")


def _keep_pilots(folder: Folder, unpacked: Folder, report: Callable[[str], None]) -> None:
    """Pilots registered since the backup, results counted and own scores stated since."""
    for one in people.ids(folder, "pilot"):
        try:
            ours = people.read(folder, "pilot", one)
            if people.is_there(unpacked, "pilot", one):
                theirs = people.read(unpacked, "pilot", one)
                ours = theirs | {
                    "pilot_runs": pl.concat([theirs["pilot_runs"], ours["pilot_runs"]]).unique(maintain_order=True),
                    "scores": pl.concat([theirs["scores"], ours["scores"]]).unique(
                        ["repository", "revision"], maintain_order=True
                    ),
                }
            people.write(unpacked, "pilot", one, ours)
        except WarehouseError as error:
            report(sentences(error.message, Sentence("The backup's pilots were taken without it.")))
        except FileNotFoundError:
            continue
