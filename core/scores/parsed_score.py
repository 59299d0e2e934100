"""The content of a parsed score file, before any of it is stored."""

from __future__ import annotations

from dataclasses import dataclass

from core.tables import ScoreRow, ScoreSampleRow


@dataclass(frozen=True)
class Remark:
    """Why something was left out or how it was changed: a code that `core.wording.score_files` puts into words."""

    code: str
    detail: str = ""
    """A name or value from the file, cut to a readable length."""


@dataclass(frozen=True)
class ParsedScore:
    """One value of the file, and the row it would become."""

    at: str
    """Its place in the file, for example `line 12` or `results / arc_easy / acc,none`."""
    model: str
    """The model as the file names it."""
    benchmark: str
    score: ScoreRow | None
    """The row as it would be stored; None if it is skipped."""
    skipped: Remark | None = None
    remarks: tuple[Remark, ...] = ()
    """What was mapped, converted or set to NULL."""


@dataclass(frozen=True)
class ScoreFile:
    """One parsed file: `rows` holds scores, `samples` single answers."""

    name: str
    sha256: str
    format: str
    rows: tuple[ParsedScore, ...] = ()
    samples: tuple[ScoreSampleRow, ...] = ()
    remarks: tuple[Remark, ...] = ()
    """Remarks about the file as a whole."""
