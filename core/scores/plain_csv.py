"""Read a user's own scores from a plain table: one row per value, following a template that can be downloaded."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from core.errors import InputError
from core.registry.names import NOT_STATED
from core.registry.published import find_metric, higher_is_better
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
from core.scores.score_input import ScoreInput
from core.scores.score_rows import (
    ParsedScore,
    ScoreFile,
    mapped_model,
    normalize_dtype,
    parse_row,
    score_file,
    skipped_row,
)
from core.scores.table import Table
from core.tables import ScoreRow

FORMAT = "csv"
COLUMNS = (
    *("model", "revision", "benchmark", "metric", "filter", "n_shot", "suite", "value", "std_error", "unit"),
    *("higher_is_better", "n_samples", "is_partial", "source", "licence", "as_of"),
)
"""The columns of the template, in its order."""
REQUIRED = ("model", "benchmark", "value")
OF_ONE_VALUE = ("std_error", "n_samples")
"""Columns that say something of a single value: nothing where a row has several."""
_FURTHER = ("flags", "dtype", "chat_template", "task_version", "source_row", "is_group")
"""Columns of our own export, which are read too."""
_OTHER_NAMES = {
    **dict.fromkeys(("model_id", "model_name", "repository", "モデル"), "model"),
    **dict.fromkeys(("task", "ベンチマーク"), "benchmark"),
    **dict.fromkeys(("score", "値", "スコア"), "value"),
    **dict.fromkeys(("stderr", "標準誤差"), "std_error"),
    **dict.fromkeys(("source_licence", "license"), "licence"),
    **{"date": "as_of", "num_fewshot": "n_shot", "指標": "metric", "単位": "unit", "出典": "source"},
}
_RANGES = {"percent": (0.0, 100.0), "fraction": (0.0, 1.0)}
_UNITS = {"%": "percent", "percentage": "percent"}
_EXAMPLES = (
    "EleutherAI/pythia-160m,step143000,lambada_openai,acc,none,0,our_harness_2024,32.6,0.65,percent,true,5153,false,"
    "our own run,CC0-1.0,2024-06-30",
    "EleutherAI/pythia-160m,step143000,wikitext,word_perplexity,none,0,our_harness_2024,37.9,,word_perplexity,false,62,"
    "false,our own run,CC0-1.0,2024-06-30",
)


def template() -> bytes:
    """Build a CSV to fill in, which Excel opens as UTF-8: the header and two example rows."""
    return "\r\n".join([",".join(COLUMNS), *_EXAMPLES, ""]).encode("utf-8-sig")


def read_table(file: ScoreInput, table: Table) -> ScoreFile:
    """A row for each value, or one for each model with a column for each benchmark. Raises InputError if a required column
    is missing, or if two columns would become the same one."""
    plain = {name: name.strip().lower().replace(" ", "_") for name in table.header}
    renamed = {name: _OTHER_NAMES.get(plain_name, plain_name) for name, plain_name in plain.items()}
    names = {name: column for name, column in renamed.items() if column in COLUMNS or column in _FURTHER}
    for column in names.values():
        same = [name for name, other_column in names.items() if other_column == column]
        if len(same) > 1:
            raise InputError(
                "{file} has {ours} twice, as {same!r} and {other!r}: remove one of them.",
                file=file.shown_name,
                ours=column,
                same=shorten(same[0]),
                other=shorten(same[1]),
            )
    missing = [name for name in REQUIRED if name not in names.values()]
    benchmarks: list[str] = []
    if {"benchmark", "value"} <= set(missing):
        table = replace(table, lines=list(table.lines))
        names, benchmarks = _wide(table, names)
    if missing and not benchmarks:
        raise InputError(
            "{file} lacks {missing}; it has {columns}. Name its columns as `workdim scores template` does, or write a row for "
            "each model and a column for each benchmark.",
            file=file.shown_name,
            missing=missing,
            columns=shorten(", ".join(table.header)),
        )
    ignored = [Remark("column_ignored", shorten(name)) for name in table.header if name not in (*names, *benchmarks)]
    rows = list(_rows(file, table, names, benchmarks))
    return score_file(file, FORMAT, _with_units(rows), (*table.remarks, *ignored))


def _wide(table: Table, names: Mapping[str, str]) -> tuple[dict[str, str], list[str]]:
    """The columns of a table that has a row for each model, and those that are benchmarks: all with numbers alone. Models
    stand in the column of that name, else in the first; no benchmarks where that one holds blanks, numbers or days."""
    lines = [line.cells for line in table.lines if not line.problem]
    of_model = next((name for name, column in names.items() if column == "model"), next(iter(table.header), ""))

    def is_number(cell: Cell) -> bool:
        try:
            number(cell, [], table.decimal_comma)
        except Skip:
            return False
        return True

    models = [cells[of_model] for cells in lines if of_model in cells]
    if not models or any(is_blank(cell) or is_number(cell) or day(cell, []) for cell in models):
        return dict(names), []
    filled = {
        name: [cells[name] for cells in lines if not is_blank(cells[name])]
        for name in table.header
        if name not in names and name != of_model
    }
    benchmarks = [name for name, cells in filled.items() if cells and all(map(is_number, cells))]
    kept = {name: column for name, column in names.items() if len(benchmarks) < 2 or column not in OF_ONE_VALUE}
    return {**kept, of_model: "model"}, benchmarks


def _rows(file: ScoreInput, table: Table, names: Mapping[str, str], benchmarks: Sequence[str]) -> Iterator[ParsedScore]:
    for line in table.lines:
        if line.problem:
            yield skipped_row(line.at, "", "", line.problem)
            continue
        cells = {column: line.cells[name] for name, column in names.items()}
        wide = [{"benchmark": name, "value": line.cells[name]} for name in benchmarks if not is_blank(line.cells[name])]
        for value in wide if benchmarks else [{}]:
            each = cells | value
            build = partial(_score, file, each, table.decimal_comma)
            yield parse_row(line.at, each["model"], each["benchmark"], build)


def _score(file: ScoreInput, cells: Mapping[str, Cell], decimal_comma: bool, remarks: Remarks) -> ScoreRow:
    """One value. Raises Skip if it, its model or its benchmark cannot be read, or what decides on comparability."""

    def stated(column: str) -> str | None:
        return optional_label(cells.get(column), column, remarks)

    def needed_if_stated(read: Any, column: str) -> Any:
        value = read(cells.get(column), column, remarks)
        if value is None and not is_blank(cells.get(column)):
            raise Skip("not_readable", f"{column}: {shorten(cells.get(column))}")
        return value

    value, metric = number(cells["value"], remarks, decimal_comma), stated("metric") or NOT_STATED
    direction: bool | None = needed_if_stated(boolean, "higher_is_better")
    if direction is None and (direction := higher_is_better(metric)) is not None:
        remarks.append(Remark("direction_by_metric", shorten(metric)))
    return ScoreRow(
        repository=mapped_model(cells["model"], file.mapping, remarks),
        file_sha256=file.sha256,
        source=stated("source") or file.shown_name,
        suite=stated("suite") or NOT_STATED,
        revision=stated("revision"),
        as_of=day(cells.get("as_of"), remarks),
        dtype=normalize_dtype(cells.get("dtype"), remarks),
        chat_template=boolean(cells.get("chat_template"), "chat_template", remarks),
        source_row=stated("source_row"),
        licence=stated("licence") or NOT_STATED,
        flags=stated("flags") or "",
        benchmark=required_label(cells["benchmark"], "benchmark"),
        metric=metric,
        value=value,
        unit=_unit(stated("unit"), value, remarks),
        # lm-evaluation-harness's name for no filter is kept: it is not a blank.
        filter="none" if str(cells.get("filter")).strip() == "none" else stated("filter") or NOT_STATED,
        n_shot=needed_if_stated(whole_number, "n_shot"),
        std_error=std_error(cells.get("std_error"), remarks, decimal_comma),
        higher_is_better=direction,
        n_samples=whole_number(cells.get("n_samples"), "n_samples", remarks),
        is_partial=bool(needed_if_stated(boolean, "is_partial")),
        is_group=bool(boolean(cells.get("is_group"), "is_group", remarks)),
        task_version=stated("task_version"),
    )


def _unit(stated: str | None, value: float, remarks: Remarks) -> str:
    if stated is None:
        remarks.append(Remark("no_unit"))
        return NOT_STATED
    unit = _UNITS.get(stated.lower(), stated)
    low, high = _RANGES.get(unit, (value, value))
    if not low <= value <= high:
        remarks.append(Remark(f"outside_{unit}", f"{value:.6g}"))
    return unit


def _with_units(rows: list[ParsedScore]) -> Iterator[ParsedScore]:
    """The rows with the units that standard metrics have, where none is stated.

    Shares are read as fractions or as percentages by all values of a benchmark together: one alone may be 0.8 percent.
    """
    largest: dict[tuple[str, str], float] = defaultdict(float)
    for row in rows:
        if row.score:
            key = row.score.benchmark, row.score.metric
            largest[key] = max(largest[key], abs(row.score.value) * (row.score.unit == NOT_STATED))
    for row in rows:
        score = row.score
        if score and score.unit == NOT_STATED and (metric := find_metric(score.metric)):
            unit, most = score.metric, largest[score.benchmark, score.metric]
            if metric.is_share:
                unit = "fraction" if most <= 1 else "percent" if most <= 100 else NOT_STATED
            if unit != NOT_STATED:
                remarks = [remark for remark in row.remarks if remark.code != "no_unit"]
                remarks.append(Remark("unit_by_metric", shorten(unit)))
                row = replace(row, score=replace(score, unit=unit), remarks=tuple(remarks))
        yield row
