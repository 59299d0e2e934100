"""The folder of a warehouse: where each kind of file lies, and markers of pending changes.

The files are the source of truth; the DuckDB file beside them is built from them.

    workdim.duckdb          built from all below; workdim.duckdb.gate lets writers in
    parcels/<run_id>/       finished measurements (parcels.py), with tags and notes (annotation.py)
    people/                 what people write or import (user_files.py)
    pending/<kind>-<id>     markers: this file is being changed
    trash/                  deleted runs, and tombstones of people's files (trash.py)
    jobs/ texts/ backups/   running measurements, uploaded texts, backups
    offered.json            the shipped profiles that were added once
    identity                the id that reports use for this warehouse, instead of its path
"""

from __future__ import annotations

import contextlib
import re
import secrets
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from core.errors import InputError, ResourceError
from core.files import make_folder, names_in, refuse_where_read_only, write_atomic


@dataclass(frozen=True)
class Folder:
    """The folder with a warehouse file and everything it is built from."""

    root: Path

    @property
    def parcels(self) -> Path:
        """Finished measurements, one folder per run."""
        return self.root / "parcels"

    @property
    def people(self) -> Path:
        """What people write or import: pilots, scores, aliases, saved queries."""
        return self.root / "people"

    @property
    def pending(self) -> Path:
        """Markers of files that are being changed."""
        return self.root / "pending"

    @property
    def trash(self) -> Path:
        """Parcels of deleted runs, until the trash is emptied, and tombstones of people's files."""
        return self.root / "trash"

    @property
    def jobs(self) -> Path:
        """Running measurements, one folder per run."""
        return self.root / "jobs"

    @property
    def backups(self) -> Path:
        return self.root / "backups"

    @property
    def offered_profiles(self) -> Path:
        """Ids of the shipped profiles that were added once: those that people removed stay out."""
        return self.root / "offered.json"

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
            for one in ids:
                (self.pending / f"{kind}-{one}").touch()
        except OSError as error:
            self.unmark(kind, ids)
            raise ResourceError(
                "{pending} cannot be written to: {reason}. Nothing was changed.",
                pending=self.pending,
                reason=error.strerror or error,
            ) from error

    def unmark(self, kind: str, ids: Iterable[str]) -> None:
        """Remove the markers. One that cannot be removed is checked again when the warehouse is next opened."""
        for one in ids:
            with contextlib.suppress(OSError):
                (self.pending / f"{kind}-{one}").unlink(missing_ok=True)

    def pending_changes(self) -> list[tuple[str, str]]:
        """Kind and id of every marker: changes that are running or were left unfinished by a killed process."""
        return sorted((kind, one) for kind, mark, one in (n.partition("-") for n in names_in(self.pending)) if mark)
