"""Read the Open LLM Leaderboard v2: one row per model, one column per score, as CSV or as the list that it is made from.

Suite, benchmarks and metrics are named as in our reference scores, so that the same number from two places is recognised
as one. `raw` and `normalised` values are two metrics: normalising subtracts chance, for BBH and MUSR by subtask, so neither
can be computed from the other.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any

from core.errors import Sentence
from core.scores.cells import Cell, Remark, Remarks, Skip, boolean, day, number, optional_label, required_label, shorten
from core.scores.score_input import ScoreInput
from core.scores.score_rows import (
    Origin,
    ParsedScore,
    ScoreFile,
    join_flags,
    mapped_model,
    normalize_dtype,
    parse_row,
    without_duplicates,
)
from core.scores.table import Line, Table, skipped_line
from core.tables import ScoreRow

FORMAT = "leaderboard_v2_json"
FORMAT_CSV = "leaderboard_v2_csv"
SUITE = "open_llm_leaderboard_v2"
KNOWN_BY = frozenset({"model_name", "model_average_score", "evaluations_ifeval_value"})
"""Columns of its CSV export."""
_AVERAGE = "model_average_score"
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
_SECTIONS = ("model", "evaluations", "features", "metadata")


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
    _ScoreColumn(_AVERAGE, "average", "mean of benchmarks", is_group=True),
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
    remarks = (*table.remarks, Remark("availability_inverted"))
    rows = without_duplicates(file, _rows(file, table.lines, set(table.header), table.decimal_comma))
    return ScoreFile(file.shown_name, file.sha256, format, rows, (), remarks)


def _entries(data: list[Any]) -> Iterator[Line]:
    for index, entry in enumerate(data, start=1):
        if isinstance(entry, dict):
            yield Line(Sentence("entry {number}", number=index), _flatten(entry))
        else:
            yield Line(Sentence("entry {number}", number=index), None, Remark("not_a_task", shorten(entry)))


def _flatten(entry: dict[str, Any]) -> dict[str, Cell]:
    """`{"evaluations": {"ifeval": {"value": 0.3}}}` -> `evaluations_ifeval_value`; only as deep as the format goes."""
    cells: dict[str, Cell] = {"id": entry.get("id")}
    for section in _SECTIONS:
        values = entry.get(section)
        for key, value in values.items() if isinstance(values, dict) else ():
            inner = value if isinstance(value, dict) else {"": value}
            for name, cell in inner.items():
                cells["_".join(filter(None, (section, key, name)))] = cell
    return cells


def _rows(file: ScoreInput, lines: Iterable[Line], header: set[str], decimal_comma: bool) -> Iterator[ParsedScore]:
    columns = [column for column in _COLUMNS if column.name in header]
    for line in lines:
        if line.cells is None:
            yield skipped_line(line)
            continue
        row = _Row(file, line.cells, decimal_comma)
        for column in columns:
            place = Sentence("{place} / {column}", place=line.at, column=column.name)
            yield parse_row(place, line.cells.get("model_name"), column.benchmark, partial(row.score, column))


@dataclass(frozen=True)
class _Row:
    """One line: one model with one revision, dtype and template."""

    file: ScoreInput
    cells: Mapping[str, Cell]
    decimal_comma: bool

    def score(self, column: _ScoreColumn, remarks: Remarks) -> ScoreRow:
        """The score in one column. Raises Skip if it is not a number, or if the model has no usable name."""
        value = number(self.cells.get(column.name), remarks, self.decimal_comma) * column.factor
        if column.factor != 1.0:
            remarks.append(Remark("to_percent"))
        if not 0.0 <= value <= 100.0:
            remarks.append(Remark("outside_percent", f"{value:.6g}"))
        if isinstance(self._origin, Skip):
            raise self._origin
        origin, line_remarks = self._origin
        remarks += line_remarks
        return origin.score(
            column.benchmark,
            column.metric,
            value,
            "percent",
            n_shot=column.n_shot,
            higher_is_better=True,
            is_group=column.is_group,
        )

    @cached_property
    def _origin(self) -> tuple[Origin, Remarks] | Skip:
        """The origin of the line with its remarks, or why it has none."""
        remarks: Remarks = []
        try:
            return self._read_origin(remarks), remarks
        except Skip as skip:
            return skip

    def _read_origin(self, remarks: Remarks) -> Origin:
        """Model, revision and settings of the line. Raises Skip if the model has no usable name."""
        cells = self.cells
        weights = shorten(cells.get("model_weight_type")).lower()
        flags = {
            flag: boolean(cells.get(name), name, remarks) is value
            for name, (flag, value) in _FLAGS.items()
            if name in cells
        }
        repository = mapped_model(cells.get("model_name"), self.file.mapping, remarks)
        revision = optional_label(cells.get("model_sha"), "revision", remarks)
        if revision is None:
            remarks.append(Remark("no_revision"))
        return Origin(
            repository=repository,
            file_sha256=self.file.sha256,
            source=self.file.shown_name,
            suite=SUITE,
            revision=revision,
            as_of=day(cells.get("metadata_submission_date"), remarks),
            dtype=normalize_dtype(cells.get("model_precision"), remarks),
            chat_template=boolean(cells.get("model_has_chat_template"), "chat_template", remarks),
            source_row=self._row_id(),
            flags=join_flags(flags | {weights: weights in _INCOMPLETE_WEIGHTS}),
        )

    def _row_id(self) -> str | None:
        """What tells several rows of a model apart, never cut: two long names may start the same and still be two rows."""
        value = self.cells.get("id")
        try:
            return None if isinstance(value, dict | list) else required_label("" if value is None else str(value), "id")
        except Skip:
            return None
