"""The values of a file put together: a value that stands there twice is taken once, and a file has an end."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from core.errors import InputError
from core.scores.given import Given
from core.scores.proposal import Proposed, Remark
from core.tables import ScoreRow

MAX_VALUES = 200_000
"""Values of one file: three times what the largest public export has (4,576 rows of 13), at about 2 KB of memory."""


def gathered(given: Given, rows: Iterable[Proposed]) -> tuple[Proposed, ...]:
    """The same value again is skipped, another one for the same is kept and told. Raises InputError past MAX_VALUES."""
    first: dict[tuple[object, ...], Proposed] = {}
    kept: list[Proposed] = []
    for row in rows:
        if len(kept) == MAX_VALUES:
            raise InputError(f"{given.shown_name} holds more than {MAX_VALUES:,} values; split it into files of fewer.")
        kept.append(_beside_the_first(row, first) if row.score is not None else row)
    return tuple(kept)


def _beside_the_first(row: Proposed, first: dict[tuple[object, ...], Proposed]) -> Proposed:
    assert row.score is not None
    earlier = first.setdefault(_identity(row.score), row)
    if earlier is row or earlier.score is None:
        return row
    if earlier.score.value == row.score.value:
        return replace(row, score=None, skipped=Remark("repeated", earlier.at))
    return replace(row, remarks=(*row.remarks, Remark("differs_from", earlier.at)))


def _identity(score: ScoreRow) -> tuple[object, ...]:
    """What a score is of and from where: all that keeps two values from being one."""
    return (
        score.repository,
        score.revision,
        score.benchmark,
        score.metric,
        score.filter,
        score.n_shot,
        score.suite,
        score.dtype,
        score.chat_template,
        score.task_version,
        score.source_row,
        score.source,
    )
