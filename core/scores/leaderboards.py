"""Read leaderboard tables: one row per model, one column per score."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property, partial
from typing import Any

from core.errors import Sentence
from core.scores.cells import (
    Cell,
    Remark,
    Remarks,
    Skip,
    boolean,
    day,
    is_blank,
    number,
    optional_label,
    required_label,
    shorten,
    std_error,
    whole_number,
)
from core.scores.layouts import V2_FORMATTED, Layout, ScoreColumn
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

_LINK_TEXT = re.compile(r"<a\s[^>]{0,2000}>([^<]{1,300})</a>", re.IGNORECASE)
_INTERVAL = re.compile(r"\+(\d+(?:\.\d+)?)\s*/\s*[-−](\d+(?:\.\d+)?)", re.ASCII)
_HALF_OF_95_PERCENT = 1.959963984540054
"""Half width of a 95 percent interval of a normal distribution, in standard errors."""
_INCOMPLETE_WEIGHTS = ("adapter", "delta")
"""Kinds of weights that are no complete model."""
_HIGHER_IS_BETTER = True
"""Holds for every column of every layout."""


def read_table(file: ScoreInput, table: Table, layout: Layout) -> ScoreFile:
    """Read every score column of every line."""
    remarks = [*table.remarks, *map(Remark, layout.remarks)]
    rows = without_duplicates(file, _rows(file, table.lines, layout, set(table.header), table.decimal_comma))
    return ScoreFile(file.shown_name, file.sha256, layout.format, rows, (), tuple(remarks))


def _rows(
    file: ScoreInput, lines: Iterable[Line], layout: Layout, header: set[str], decimal_comma: bool
) -> Iterator[ParsedScore]:
    columns = [column for column in layout.scores if column.name in header]
    for line in lines:
        if line.cells is None:
            yield skipped_line(line)
            continue
        row = _Row(file, line.cells, layout, decimal_comma)
        for column in columns:
            build = partial(row.score, column)
            yield parse_row(
                Sentence("{place} / {column}", place=line.at, column=column.name), row.model, column.benchmark, build
            )


@dataclass(frozen=True)
class _Row:
    """One line: one model with one revision, dtype and template."""

    file: ScoreInput
    cells: Mapping[str, Cell]
    layout: Layout
    decimal_comma: bool

    @cached_property
    def model(self) -> Cell:
        return model_cell(self.cells, self.layout)

    def score(self, column: ScoreColumn, remarks: Remarks) -> ScoreRow:
        """The score in one column. Raises Skip if it is not a number, or if the model has no usable name."""
        value = number(self.cells.get(column.name), remarks, self.decimal_comma) * column.factor
        if column.factor != 1.0:
            remarks.append(Remark("to_percent"))
        if column.unit == "percent" and not 0.0 <= value <= 100.0:
            remarks.append(Remark("outside_percent", f"{value:.6g}"))
        return self._origin_of(column, remarks).score(
            column.benchmark,
            column.metric,
            value,
            column.unit,
            n_shot=column.n_shot,
            std_error=_from_interval(self.cells.get(column.interval), remarks) if column.interval else None,
            higher_is_better=_HIGHER_IS_BETTER,
            n_samples=whole_number(self.cells.get(column.count), "n_samples", remarks) if column.count else None,
            is_group=column.is_group,
        )

    def _origin_of(self, column: ScoreColumn, remarks: Remarks) -> Origin:
        """The origin of a score in one column. Raises Skip if the model has no usable name."""
        if isinstance(self._origin, Skip):
            raise self._origin
        origin, line_remarks = self._origin
        if column.suite is None:
            remarks += line_remarks
            return origin
        remarks.append(Remark("matched_by_name", shorten(self.cells.get(column.named))))
        return Origin(origin.repository, origin.file_sha256, origin.source, column.suite)

    @cached_property
    def _origin(self) -> tuple[Origin, Remarks] | Skip:
        """The origin of the line with its remarks, or why it has none."""
        remarks: Remarks = []
        try:
            return _read_origin(self.file, self.model, self.cells, self.layout, remarks), remarks
        except Skip as skip:
            return skip


def model_cell(cells: Mapping[str, Cell], layout: Layout) -> Cell:
    """The model's name as text; the `Model` column of the leaderboard's own data set is an HTML link."""
    cell = next((cells[name] for name in layout.model if not is_blank(cells.get(name))), None)
    link = _LINK_TEXT.search(cell) if isinstance(cell, str) and len(cell) < 3000 else None
    return link[1] if link else cell


def _read_origin(file: ScoreInput, model: Cell, cells: Mapping[str, Cell], layout: Layout, remarks: Remarks) -> Origin:
    """Model, revision and settings of one line. Raises Skip if the model has no usable name."""

    def is_set(name: str, flag_value: bool) -> bool:
        return boolean(cells.get(name), name, remarks) is flag_value

    weights = shorten(cells.get(layout.weights)).lower() if layout.weights else ""
    chat_template = boolean(cells.get(layout.chat_template), "chat_template", remarks) if layout.chat_template else None
    return Origin(
        repository=mapped_model(model, file.mapping, remarks),
        file_sha256=file.sha256,
        source=file.shown_name,
        suite=layout.suite,
        revision=_revision(cells, layout, remarks),
        as_of=day(cells.get(layout.day), remarks) if layout.day else None,
        dtype=normalize_dtype(cells.get(layout.dtype), remarks) if layout.dtype else None,
        chat_template=chat_template,
        source_row=_row_id(cells, layout),
        flags=join_flags(
            {flag: is_set(name, flag_value) for name, (flag, flag_value) in layout.flags.items() if name in cells}
            | {weights: weights in _INCOMPLETE_WEIGHTS}
        ),
    )


def _revision(cells: Mapping[str, Cell], layout: Layout, remarks: Remarks) -> str | None:
    if layout.sha is None:
        return None
    revision = optional_label(cells.get(layout.sha), "revision", remarks)
    if revision is None:
        remarks.append(Remark("no_revision"))
    return revision


def _row_id(cells: Mapping[str, Cell], layout: Layout) -> str | None:
    """An identifier of the row, never cut: two long names may start the same and still be two rows."""
    values = [cells.get(name) for name in layout.row_id]
    text = "_".join("" if is_blank(value) else str(value) for value in values if not isinstance(value, dict | list))
    try:
        return required_label(text, "id") if layout.row_id else None
    except Skip:
        return None


def _from_interval(value: Cell, remarks: Remarks) -> float | None:
    """The standard error from a 95 percent interval such as `+4/-3`."""
    match = _INTERVAL.fullmatch(value.strip()) if isinstance(value, str) and len(value) < 40 else None
    if match is None:
        return std_error(None, remarks)
    remarks.append(Remark("std_error_from_interval", shorten(value)))
    return (float(match[1]) + float(match[2])) / 2 / _HALF_OF_95_PERCENT


FORMAT = "leaderboard_v2_json"
_LAYOUT = replace(V2_FORMATTED, format=FORMAT)
_SECTIONS = ("model", "evaluations", "features", "metadata")


def recognises(data: Any) -> bool:
    if not isinstance(data, list):
        return False
    entries = [entry for entry in data[:100] if isinstance(entry, dict)]
    return any(isinstance(entry.get("evaluations"), dict) and "model" in entry for entry in entries)


def read(file: ScoreInput, data: list[Any], remarks: Remarks) -> ScoreFile:
    """Read a JSON leaderboard: an entry flattened with `_` is a row of the CSV export."""
    header = (*(column.name for column in _LAYOUT.scores), *_LAYOUT.flags)
    return read_table(file, Table(header, _lines(data), tuple(remarks)), _LAYOUT)


def _lines(data: list[Any]) -> Iterator[Line]:
    for index, entry in enumerate(data, start=1):
        if isinstance(entry, dict):
            yield Line(f"entry {index}", flatten(entry))
        else:
            yield Line(f"entry {index}", None, Remark("not_a_task", shorten(entry)))


def flatten(entry: dict[str, Any]) -> dict[str, Cell]:
    """`{"evaluations": {"ifeval": {"value": 0.3}}}` -> `evaluations_ifeval_value`; only as deep as the format goes."""
    cells: dict[str, Cell] = {"id": entry.get("id")}
    for section in _SECTIONS:
        values = entry.get(section)
        for key, value in values.items() if isinstance(values, dict) else ():
            inner = value if isinstance(value, dict) else {"": value}
            for name, cell in inner.items():
                cells["_".join(filter(None, (section, key, name)))] = cell
    return cells
