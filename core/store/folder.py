"""The folder of a warehouse: where each kind of file lies, and the markers of what is being changed.

The files are the truth; the DuckDB file beside them is built from them.

    workdim.duckdb          built from all below; workdim.duckdb.gate lets writers in
    parcels/<run_id>/       finished measurements (parcels.py), with tags and notes (annotation.py)
    people/                 what people write or import (people.py)
    pending/<kind>-<id>     markers: this file is being changed
    trash/                  deleted runs, and tombstones of people's files (trash.py)
    jobs/ texts/ backups/   measurements under way, texts that were uploaded, backups
    offered.json            which of the profiles that come with Workdim were in here once
    identity                what reports call this warehouse: its id, never its path
"""

from __future__ import annotations

import contextlib
import re
import secrets
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from core.errors import InputError, ResourceError
from core.files import make_folder, names_in, refuse_where_read_only, write_through


@dataclass(frozen=True)
class Folder:
    """The folder that holds a warehouse file and all it is built from."""

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
        """Parcels of runs that were deleted, until the trash is emptied, and tombstones of people's files."""
        return self.root / "trash"

    @property
    def jobs(self) -> Path:
        """Measurements under way, one folder per run."""
        return self.root / "jobs"

    @property
    def backups(self) -> Path:
        return self.root / "backups"

    @property
    def offered(self) -> Path:
        """Ids of the shipped profiles that were taken in once: those that people take out stay out."""
        return self.root / "offered.json"

    def identity(self) -> str:
        """A random id that tells this warehouse from others in reports that left it; made when it is first asked for.

        It says nothing of its place. Of a folder that cannot be written to it is `unnamed`.
        """
        file = self.root / "identity"
        with contextlib.suppress(OSError, UnicodeDecodeError):
            if re.fullmatch("[0-9a-f]{12}", known := file.read_text(encoding="ascii").strip()):
                return known
        made = secrets.token_hex(6)
        try:
            refuse_where_read_only()
            write_through(file, made.encode())
        except (OSError, InputError):
            return "unnamed"
        return made

    def mark(self, kind: str, ids: Iterable[str]) -> None:
        """Set a marker for each file that is about to change. Raises ResourceError: nothing was changed then."""
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
        """Take the markers away again. One that cannot go is looked at again when the warehouse is next opened."""
        for one in ids:
            with contextlib.suppress(OSError):
                (self.pending / f"{kind}-{one}").unlink(missing_ok=True)

    def marked(self) -> list[tuple[str, str]]:
        """Kind and id of everything that a kill left half changed, if anything."""
        return sorted((kind, one) for kind, mark, one in (n.partition("-") for n in names_in(self.pending)) if mark)
