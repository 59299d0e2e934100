"""What a file of scores was found to hold, before anything of it is stored."""

from __future__ import annotations

from dataclasses import dataclass, field

from core.tables import ScoreRow, ScoreSampleRow


@dataclass(frozen=True)
class Remark:
    """Why something was left out, or what was made of it: a code that `report.score_words` puts into words."""

    code: str
    detail: str = ""
    """A name or value out of the file, cut to a readable length."""


@dataclass(frozen=True)
class ParsedScore:
    """One value of the file, and what would become of it."""

    at: str
    """Where it stands, for example `line 12` or `results / arc_easy / acc,none`."""
    model: str
    """As the file names it."""
    benchmark: str
    score: ScoreRow | None
    """As it would be stored; None where it is skipped."""
    skipped: Remark | None = None
    remarks: tuple[Remark, ...] = ()
    """What was mapped, converted or left NULL."""


@dataclass(frozen=True)
class ScoreFile:
    """One file, read and understood; `rows` for scores, `samples` for single answers."""

    name: str
    sha256: str
    format: str
    rows: tuple[ParsedScore, ...] = ()
    samples: tuple[ScoreSampleRow, ...] = ()
    remarks: tuple[Remark, ...] = field(default=())
    """About the file as a whole."""
