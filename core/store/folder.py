"""The folder of a warehouse: where each kind of file lies, and markers of pending changes.

The files are the source of truth; the DuckDB file beside them is built from them.

    workdim.duckdb          built from all below; workdim.duckdb.gate lets writers in
    parcels/<run_id>/       finished measurements (parcels.py), with tags and notes
    people/                 what people write or import (user_files.py)
    pending/<kind>-<id>     markers: this file is being changed
    trash/                  deleted runs
    jobs/ texts/ backups/   running measurements, uploaded texts, backups
    offered.json            the shipped profiles that were added once
    identity                the id that reports use for this warehouse, instead of its path
"""

from __future__ import annotations

import contextlib
import re
import secrets
from collections.abc import Callable, Iterable
from pathlib import Path

from core.errors import InputError, ResourceError
from core.files import NOTHING_CHANGED, make_folder, names_in, refuse_where_read_only, write_atomic, writing

RESTORE = "restore"
"""The kind of change under whose marker the files of a backup lie."""
_RESTORE_TIME = re.compile(r"\d{8}-\d{6}(-\d+)?")
Progress = Callable[[int, int], None]
"""Called with what is done, and in total."""


def no_progress(done: int, total: int) -> None:
    """Where nobody watches."""


class Folder:
    """The folder with a warehouse file and everything it is built from."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.parcels, self.jobs, self.backups = root / "parcels", root / "jobs", root / "backups"
        """Finished measurements and running ones, one folder per run; backups."""
        self.people = root / "people"
        """What people write or import: pilots, scores, aliases, saved queries."""
        self.pending = root / "pending"
        """Markers of files that are being changed."""
        self.trash = root / "trash"
        """Parcels of deleted runs, until the trash is emptied."""
        self.offered_profiles = root / "offered.json"
        """Ids of the shipped profiles that were added once: those that people removed stay out."""

    def identity(self) -> str:
        """A random id that distinguishes this warehouse in reports without revealing its path; created on first use.

        `unnamed` if the folder cannot be written to.
        """
        file = self.root / "identity"
        with contextlib.suppress(OSError, UnicodeDecodeError):
            if re.fullmatch("[0-9a-f]{12}", stored_id := file.read_text(encoding="ascii").strip()):
                return stored_id
        new_id = secrets.token_hex(6)
        try:
            refuse_where_read_only()
            write_atomic(file, new_id.encode())
        except (OSError, InputError):
            return "unnamed"
        return new_id

    def mark(self, kind: str, ids: Iterable[str]) -> None:
        """Set a marker for each file that is about to change. Raises ResourceError if that fails; nothing is changed."""
        make_folder(self.pending)
        try:
            with writing(self.pending, NOTHING_CHANGED):
                for one in ids:
                    (self.pending / f"{kind}-{one}").touch()
        except ResourceError:
            self.unmark(kind, ids)
            raise

    def unmark(self, kind: str, ids: Iterable[str]) -> None:
        """Remove the markers. One that cannot be removed is checked again when the warehouse is next opened."""
        for one in ids:
            with contextlib.suppress(OSError):
                (self.pending / f"{kind}-{one}").unlink(missing_ok=True)

    def pending_changes(self) -> list[tuple[str, str]]:
        """Kind and id of every marker: changes that are running or were left unfinished by a killed process."""
        return sorted((kind, one) for kind, mark, one in (n.partition("-") for n in names_in(self.pending)) if mark)

    def pending_restores(self) -> list[Path]:
        """The folders of restores that were begun and not finished, oldest first: their files are being exchanged, the DuckDB
        file is to be rebuilt. What else lies there under such a name is none."""
        begun = [one for kind, one in self.pending_changes() if kind == RESTORE and _RESTORE_TIME.fullmatch(one)]
        return [place for one in begun if (place := self.pending / f"{RESTORE}-{one}").is_dir()]
