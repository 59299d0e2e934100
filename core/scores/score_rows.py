"""The content of a score file before any of it is stored: its rows, built from what all values of one model share."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace

from core.errors import InputError
from core.registry.names import NOT_STATED
from core.scores.cells import Cell, Remark, Remarks, Skip, optional_label, required_label, shorten
from core.scores.score_input import ScoreInput
from core.tables import ScoreRow, ScoreSampleRow

_LOCAL = re.compile(r"[/~.\\]|[A-Za-z]:[\\/]|file:")


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


@dataclass(frozen=True)
class Origin:
    """What all scores of one model in one file share."""

    repository: str
    file_sha256: str
    source: str
    suite: str
    revision: str | None = None
    as_of: str | None = None
    dtype: str | None = None
    chat_template: bool | None = None
    source_row: str | None = None
    licence: str = NOT_STATED
    flags: str = ""
    named: str = ""
    """The model as the file names it; `repository` is what is stored."""

    def score(
        self,
        benchmark: str,
        metric: str,
        value: float,
        unit: str,
        *,
        filter: str = NOT_STATED,
        n_shot: int | None = None,
        std_error: float | None = None,
        higher_is_better: bool | None = None,
        n_samples: int | None = None,
        is_partial: bool = False,
        is_group: bool = False,
        task_version: str | None = None,
    ) -> ScoreRow:
        """A score of this origin."""
        return ScoreRow(
            repository=self.repository,
            revision=self.revision,
            benchmark=benchmark,
            metric=metric,
            filter=filter,
            n_shot=n_shot,
            suite=self.suite,
            value=value,
            std_error=std_error,
            unit=unit,
            higher_is_better=higher_is_better,
            n_samples=n_samples,
            is_partial=is_partial,
            is_group=is_group,
            source=self.source,
            licence=self.licence,
            as_of=self.as_of,
            flags=self.flags,
            file_sha256=self.file_sha256,
            dtype=self.dtype,
            chat_template=self.chat_template,
            task_version=task_version,
            source_row=self.source_row,
        )


def metrics_without_direction(file: ScoreFile) -> tuple[str, ...]:
    """The metrics of which neither the file nor the registry says which end is the better one."""
    return tuple(
        dict.fromkeys(row.score.metric for row in file.rows if row.score and row.score.higher_is_better is None)
    )


def with_directions(file: ScoreFile, higher_is_better: Mapping[str, bool]) -> ScoreFile:
    """The file with what somebody said of metrics of unknown direction."""
    rows = tuple(
        replace(row, score=replace(row.score, higher_is_better=higher_is_better[row.score.metric]))
        if row.score and row.score.higher_is_better is None and row.score.metric in higher_is_better
        else row
        for row in file.rows
    )
    return replace(file, rows=rows)


def parse_row(at: str, model: Cell, benchmark: Cell, build: Callable[[Remarks], ScoreRow]) -> ParsedScore:
    """The row that `build` makes, or the reason why it made none."""
    remarks: Remarks = []
    try:
        return ParsedScore(at, shorten(model), shorten(benchmark), build(remarks), None, tuple(remarks))
    except Skip as skip:
        return ParsedScore(at, shorten(model), shorten(benchmark), None, skip.remark, tuple(remarks))


def skipped_row(at: str, model: Cell, benchmark: Cell, code: str, detail: Cell = "") -> ParsedScore:
    """A skipped row for a place of the file that should hold a score and does not."""
    return ParsedScore(at, shorten(model), shorten(benchmark), None, Remark(code, shorten(detail)))


def mapped_model(value: Cell, mapping: Mapping[str, str], remarks: Remarks) -> str:
    """The name to store a model under: the file's, unless the user gave another. Raises Skip if there is none."""
    name = required_label(value, "model")
    if name in mapping:
        remarks.append(Remark("renamed", name))
        return required_label(mapping[name], "model")
    if _LOCAL.match(name):
        remarks.append(Remark("local_path", shorten(name)))
    return name


def normalize_dtype(value: Cell, remarks: Remarks) -> str | None:
    """`torch.bfloat16` -> bfloat16; `auto` becomes NULL."""
    dtype = optional_label(value, "dtype", remarks)
    return None if dtype is None or dtype == "auto" else dtype.removeprefix("torch.")


def join_flags(flags: Mapping[str, bool]) -> str:
    """The flags that are set, in the format of the `flags` column."""
    return ";".join(flag for flag, is_set in flags.items() if is_set)


MAX_VALUES = 200_000
"""Most values of one file: three times the largest public export (4,576 rows of 13), about 2 KB of memory each."""


def without_duplicates(file: ScoreInput, rows: Iterable[ParsedScore]) -> tuple[ParsedScore, ...]:
    """Skip repeated values; a different value of the same score is kept with a remark. InputError past MAX_VALUES."""
    first_by_identity: dict[tuple[object, ...], ParsedScore] = {}
    results: list[ParsedScore] = []
    for row in rows:
        if len(results) == MAX_VALUES:
            raise InputError(
                "{file} holds more than {max_values:,} values; split it into files of fewer.",
                file=file.shown_name,
                max_values=MAX_VALUES,
            )
        results.append(_compared_with_first(row, first_by_identity) if row.score is not None else row)
    return tuple(results)


def _compared_with_first(row: ParsedScore, first_by_identity: dict[tuple[object, ...], ParsedScore]) -> ParsedScore:
    """The row, skipped if it repeats an earlier value, or with a remark if it differs from it."""
    assert row.score is not None
    earlier = first_by_identity.setdefault(_identity(row.score), row)
    if earlier is row or earlier.score is None:
        return row
    if earlier.score.value == row.score.value:
        return replace(row, score=None, skipped=Remark("repeated", earlier.at))
    return replace(row, remarks=(*row.remarks, Remark("differs_from", earlier.at)))


def _identity(score: ScoreRow) -> tuple[object, ...]:
    """What a score measures and where it comes from: two values with the same identity are one score."""
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
