"""What an import says of a file's values: which kind each is, why it was skipped or what was made of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

from core.locale import translator
from core.report.numbers import number
from core.report.score_words import remark_words
from core.scores.parsed_score import ParsedScore, Remark, ScoreFile

KINDS = ("taken", "mapped", "duplicate", "conflict", "skipped")
EXAMPLES = 3

# A leaderboard says the same few things of thousands of values.
_words = lru_cache(maxsize=4096)(remark_words)


@dataclass(frozen=True)
class Told:
    """One reason, with all the values that it is true of."""

    code: str
    words: str
    """Of the first of them."""
    count: int
    places: tuple[str, ...]
    """Where the first few stand in the file."""


def kind_name(kind: str, language: str) -> str:
    _ = translator(language)
    names = {
        "taken": _("taken"),
        "mapped": _("taken and mapped"),
        "duplicate": _("taken, is there already"),
        "conflict": _("taken, contradicts what is there"),
        "skipped": _("skipped"),
    }
    return names[kind]


def why(row: ParsedScore, language: str) -> str:
    """Why a value is skipped, or what was made of it; empty where it is taken as it stands."""
    _ = translator(language)
    remarks = [row.skipped] if row.skipped else row.remarks
    return _("; ").join(_words(remark, language) for remark in remarks)


def known_text(known: str | None, sources: str | None, value: float | None, language: str) -> str:
    """What the warehouse, or another row of the file, has already of the same score."""
    _ = translator(language)
    if known is None:
        return ""
    if known == "duplicate":
        return _("the same from {source}").format(source=sources)
    return _("{value} from {source}").format(value=number(value), source=sources)


def reasons(rows: Sequence[ParsedScore], language: str, *, skipped: bool) -> list[Told]:
    """Why values were skipped, or what was made of those that were not: most frequent first."""
    found: dict[str, list[tuple[Remark, str]]] = {}
    for row in rows:
        if (row.skipped is not None) != skipped:
            continue
        for remark in [row.skipped] if row.skipped else row.remarks:
            found.setdefault(remark.code, []).append((remark, row.at))
    told = []
    for code, met in found.items():
        first = met[0][0]
        if len({remark.detail for remark, _ in met}) > 1:  # one line tells of all, the first stands for the others
            first = replace(first, detail=f"{first.detail}, …")
        told.append(Told(code, _words(first, language), len(met), tuple(at for _, at in met[:EXAMPLES])))
    return sorted(told, key=lambda one: (-one.count, one.code))


def file_remarks(file: ScoreFile, language: str) -> list[str]:
    return [_words(remark, language) for remark in file.remarks]
