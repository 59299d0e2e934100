"""Read the Open LLM Leaderboard v2: one row per model, one column per score, as CSV or as the list that it is made from.

Suite, benchmarks and metrics are named as in our reference scores, so that the same number from two places is recognised
as one. `raw` and `normalised` values are two metrics: normalising subtracts chance, for BBH and MUSR by subtask, so neither
can be computed from the other.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from core.errors import Sentence
from core.scores.cells import Cell, Remark, Remarks, Skip, boolean, day, number, optional_label, shorten
from core.scores.score_input import ScoreInput, section
from core.scores.score_rows import (
    ParsedScore,
    ScoreFile,
    join_flags,
    mapped_model,
    normalize_dtype,
    parse_row,
    score_file,
    skipped_row,
)
from core.scores.table import Line, Table
from core.tables import ScoreRow

FORMAT = "leaderboard_v2_json"
FORMAT_CSV = "leaderboard_v2_csv"
SUITE = "open_llm_leaderboard_v2"
KNOWN_BY = frozenset({"model_name", "model_average_score", "evaluations_ifeval_value"})
"""Columns of its CSV export."""
_BENCHMARKS = {
    "ifeval": ("ifeval", 0),
    "bbh": ("bbh", 3),
    "math": ("math_lvl_5", 4),
    "gpqa": ("gpqa", 0),
    "musr": ("musr", 0),
    "mmlu_pro": ("mmlu_pro", 5),
}
"""Key in the leaderboard -> the benchmark's name in our reference scores, and its shots."""
_FLAGS = {
    # The export fills this column from "Available on the hub": it says the opposite of its name.
    "features_is_not_available_on_hub": ("not_on_hub", False),
    "features_is_merged": ("merged", True),
    "features_is_moe": ("moe", True),
    "features_is_flagged": ("flagged", True),
    "features_is_official_provider": ("official_provider", True),
    "features_is_highlighted_by_maintainer": ("official_provider", True),
}
"""Column -> the flag, and the column's value for which the flag is set."""
_INCOMPLETE_WEIGHTS = ("adapter", "delta")
"""Kinds of weights that are no complete model."""


@dataclass(frozen=True)
class _ScoreColumn:
    """A column of scores and what it measures."""

    name: str
    benchmark: str
    metric: str
    n_shot: int | None = None
    factor: float = 1.0
    """100 for fractions: all is stored in percent."""
    is_group: bool = False


_COLUMNS = (
    *(
        column
        for key, (benchmark, n_shot) in _BENCHMARKS.items()
        for column in (
            _ScoreColumn(f"evaluations_{key}_value", benchmark, "raw", n_shot, factor=100.0),
            _ScoreColumn(f"evaluations_{key}_normalized_score", benchmark, "normalised", n_shot),
        )
    ),
    _ScoreColumn("model_average_score", "average", "mean of benchmarks", is_group=True),
)


def recognises(data: Any) -> bool:
    if not isinstance(data, list):
        return False
    entries = [entry for entry in data[:100] if isinstance(entry, dict)]
    return any(isinstance(entry.get("evaluations"), dict) and "model" in entry for entry in entries)


def read(file: ScoreInput, data: list[Any], remarks: Remarks) -> ScoreFile:
    """Read the leaderboard's own list: an entry flattened with `_` is a row of the CSV export."""
    header = (*(column.name for column in _COLUMNS), *_FLAGS)
    return read_table(file, Table(header, _entries(data), tuple(remarks)), FORMAT)


def read_table(file: ScoreInput, table: Table, format: str = FORMAT_CSV) -> ScoreFile:
    """Read every score column of every line."""
    return score_file(file, format, _rows(file, table), (*table.remarks, Remark("availability_inverted")))


def _entries(data: list[Any]) -> Iterator[Line]:
    for index, entry in enumerate(data, start=1):
        location = Sentence("entry {number}", number=index)
        if isinstance(entry, dict):
            yield Line(location, _flatten(entry))
        else:
            yield Line(location, {}, Remark("not_a_task", shorten(entry)))


def _flatten(entry: dict[str, Any]) -> dict[str, Cell]:
    """`{"evaluations": {"ifeval": {"value": 0.3}}}` -> `evaluations_ifeval_value`; only as deep as the format goes."""
    cells: dict[str, Cell] = {"id": entry.get("id")}
    for part in ("model", "evaluations", "features", "metadata"):
        for key, value in section(entry, part).items():
            for name, cell in value.items() if isinstance(value, dict) else [("", value)]:
                cells["_".join(filter(None, (part, key, name)))] = cell
    return cells


def _rows(file: ScoreInput, table: Table) -> Iterator[ParsedScore]:
    columns = [column for column in _COLUMNS if column.name in set(table.header)]
    for line in table.lines:
        if line.problem:
            yield skipped_row(line.at, "", "", line.problem)
            continue
        origin: partial[ScoreRow] | Skip
        line_remarks: Remarks = []
        try:
            origin = _origin(file, line.cells, line_remarks)
        except Skip as skip:
            origin = skip
        for column in columns:
            place = Sentence("{place} / {column}", place=line.at, column=column.name)
            cell = line.cells.get(column.name)
            build = partial(_score, column, cell, table.decimal_comma, origin, line_remarks)
            yield parse_row(place, line.cells.get("model_name"), column.benchmark, build)


def _score(
    column: _ScoreColumn,
    cell: Cell,
    decimal_comma: bool,
    origin: partial[ScoreRow] | Skip,
    line_remarks: Remarks,
    remarks: Remarks,
) -> ScoreRow:
    """The score in one column. Raises Skip if it is not a number, or if the model has no usable name."""
    value = number(cell, remarks, decimal_comma) * column.factor
    if column.factor != 1.0:
        remarks.append(Remark("to_percent"))
    if not 0.0 <= value <= 100.0:
        remarks.append(Remark("outside_percent", f"{value:.6g}"))
    if isinstance(origin, Skip):
        raise origin
    remarks += line_remarks
    return origin(
        benchmark=column.benchmark, metric=column.metric, value=value, n_shot=column.n_shot, is_group=column.is_group
    )


def _origin(file: ScoreInput, cells: Mapping[str, Cell], remarks: Remarks) -> partial[ScoreRow]:
    """What the scores of a line share: model, revision and settings. Raises Skip if the model has no usable name."""
    weights = shorten(cells.get("model_weight_type")).lower()
    flags = {
        flag: boolean(cells.get(name), name, remarks) is value
        for name, (flag, value) in _FLAGS.items()
        if name in cells
    }
    repository = mapped_model(cells.get("model_name"), file.mapping, remarks)
    revision = optional_label(cells.get("model_sha"), "revision", remarks)
    if revision is None:
        remarks.append(Remark("no_revision"))
    return partial(
        ScoreRow,
        repository=repository,
        file_sha256=file.sha256,
        source=file.shown_name,
        suite=SUITE,
        unit="percent",
        higher_is_better=True,
        revision=revision,
        as_of=day(cells.get("metadata_submission_date"), remarks),
        dtype=normalize_dtype(cells.get("model_precision"), remarks),
        chat_template=boolean(cells.get("model_has_chat_template"), "chat_template", remarks),
        source_row=optional_label(cells.get("id"), "id", []),  # never cut: long names may differ in their ends alone
        flags=join_flags(flags | {weights: weights in _INCOMPLETE_WEIGHTS}),
    )
