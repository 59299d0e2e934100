"""The content of a score file before any of it is stored: what each value would become, or why it is left out."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from operator import attrgetter

from core.errors import InputError, Sentence
from core.registry.names import NOT_STATED
from core.scores.cells import Cell, Remark, Remarks, Skip, optional_label, required_label, shorten
from core.scores.score_input import MODEL, ScoreInput, Unnamed
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


def directed(score: ScoreRow) -> str:
    """What has a better end: the metric; the benchmark where none is stated."""
    return score.benchmark if score.metric == NOT_STATED else score.metric


def metrics_without_direction(file: ScoreFile) -> tuple[str, ...]:
    """What is `directed` and neither the file nor the registry says which end is the better one."""
    unknown = (row.score for row in file.rows if row.score and row.score.higher_is_better is None)
    return tuple(dict.fromkeys(map(directed, unknown)))


def with_directions(file: ScoreFile, higher_is_better: Mapping[str, bool]) -> ScoreFile:
    """The file with what somebody said of those of unknown direction."""
    rows = tuple(
        replace(row, score=replace(row.score, higher_is_better=higher_is_better[directed(row.score)]))
        if row.score and row.score.higher_is_better is None and directed(row.score) in higher_is_better
        else row
        for row in file.rows
    )
    return replace(file, rows=rows)


def parse_row(at: str, model: Cell, benchmark: Cell, build: Callable[[Remarks], ScoreRow]) -> ParsedScore:
    """The row that `build` makes, or the reason why it made none."""
    remarks: Remarks = []
    score, skipped = None, None
    try:
        score = build(remarks)
    except Skip as skip:
        skipped = skip.remark
    return ParsedScore(at, shorten(model), shorten(benchmark), score, skipped, tuple(remarks))


def skipped_row(at: str, model: Cell, benchmark: Cell, remark: Remark | None) -> ParsedScore:
    """A skipped row for a place of the file that should hold a score and does not."""
    return ParsedScore(at, shorten(model), shorten(benchmark), None, remark)


def mapped_model(value: Cell, mapping: Mapping[str, str], remarks: Remarks) -> str:
    """The name to store a model under: the file's, unless the user gave another. Raises Skip if there is none."""
    name = required_label(value, "model")
    if name in mapping:
        remarks.append(Remark("renamed", name))
        return required_label(mapping[name], "model")
    if _LOCAL.match(name):
        remarks.append(Remark("local_path", shorten(name)))
    return name


def model_of_file(file: ScoreInput, name: Cell, remarks: Remarks) -> str:
    """The model of a file with one model; the user's name for it if the file's is unusable. Raises Unnamed."""
    try:
        return mapped_model(name, file.mapping, remarks)
    except Skip as skip:
        stated = file.mapping.get(MODEL)
        if stated is not None and stated != name:
            return model_of_file(file, stated, remarks)
        if skip.remark.code == "name_missing":
            raise Unnamed(
                MODEL, "{file} names no model: state which model its scores are of.", file=file.shown_name
            ) from skip
        raise Unnamed(
            MODEL,
            "{name!r} is no name for the model of {file}: state another.",
            name=shorten(name),
            file=file.shown_name,
        ) from skip


def model_by_path(file: ScoreInput, named: str | None, remarks: Remarks) -> str:
    """The model that the user states, else the one that the file's path names. Raises Unnamed."""
    stated = file.mapping.get(MODEL)
    model = model_of_file(file, stated or named, remarks)
    if named is not None and stated is None:
        remarks.append(Remark("model_from_file_name", shorten(named)))
    return model


def normalize_dtype(value: Cell, remarks: Remarks) -> str | None:
    """`torch.bfloat16` -> bfloat16; `auto` becomes NULL."""
    dtype = optional_label(value, "dtype", remarks)
    return None if dtype is None or dtype == "auto" else dtype.removeprefix("torch.")


def join_flags(flags: Mapping[str, bool]) -> str:
    """The flags that are set, in the format of the `flags` column."""
    return ";".join(flag for flag, is_set in flags.items() if is_set)


MAX_VALUES = 200_000
"""Most values of one file: three times the largest public export (4,576 rows of 13), about 2 KB of memory each."""
_identity = attrgetter(
    *("repository", "revision", "benchmark", "metric", "filter", "n_shot", "suite", "dtype", "chat_template"),
    *("task_version", "source_row", "source"),
)
"""What a score measures and where it comes from: two values with the same identity are one score."""


def score_file(file: ScoreInput, format: str, rows: Iterable[ParsedScore], remarks: Iterable[Remark]) -> ScoreFile:
    """The file with its scores: repeated values are skipped, a different value of the same score is kept with a remark.

    Raises InputError for no value at all, and past MAX_VALUES.
    """
    first_by_identity: dict[tuple[object, ...], ParsedScore] = {}
    kept: list[ParsedScore] = []
    for row in rows:
        earlier = first_by_identity.setdefault(_identity(row.score), row) if row.score else row
        if earlier is not row and earlier.score and row.score:
            if earlier.score.value == row.score.value:
                row = replace(row, score=None, skipped=Remark("repeated", earlier.at))
            else:
                row = replace(row, remarks=(*row.remarks, Remark("differs_from", earlier.at)))
        kept.append(row)
        file.require_at_most(MAX_VALUES, len(kept), Sentence("values"))
    if not kept:
        raise InputError("{file} holds no scores.", file=file.shown_name)
    return ScoreFile(file.shown_name, file.sha256, format, tuple(kept), (), tuple(remarks))
