"""Read scores from tables: lines of named cells, streamed from text with one of three separators or read from Parquet; then
a user's own scores and single answers in them."""

from __future__ import annotations

import csv
import io
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import polars as pl
import pyarrow.parquet as pq

from core.errors import InputError, Sentence
from core.registry.names import NOT_STATED
from core.registry.published import find_metric, higher_is_better
from core.scores.score_rows import (
    MAX_BYTES,
    Cell,
    ParsedScore,
    Remark,
    Remarks,
    ScoreFile,
    ScoreInput,
    Skip,
    boolean,
    day,
    is_blank,
    is_question_hash,
    mapped_model,
    normalize_dtype,
    number,
    optional_label,
    parse_row,
    required_label,
    score_file,
    shorten,
    skipped_row,
    std_error,
    unknown_format,
    whole_number,
)
from core.tables import ScoreRow, ScoreSampleRow

PARQUET = b"PAR1"
MAX_LINES = 100_000
MAX_COLUMNS = 1_000
MAX_CELL = 131_072
"""Python's own limit for one cell. No score needs it: a longer cell comes from a quote that was never closed."""
_SEPARATORS = {",": ",", ";": ";", "\t": "TAB"}
_MAX_ROW = 2**20


@dataclass(frozen=True)
class Line:
    """A line of a table."""

    at: str
    cells: dict[str, Cell]
    problem: Remark | None = None
    """Why there are no cells, for example more or fewer of them than the header has."""


@dataclass(frozen=True)
class Table:
    """A table whose lines are read one by one."""

    header: tuple[str, ...]
    lines: Iterable[Line]
    remarks: tuple[Remark, ...] = ()
    decimal_comma: bool = False
    """Whether `0,5` may be a number; false if the comma separates the cells."""


def text_table(file: ScoreInput) -> Table:
    """Read a table with separators. Raises InputError if the header is invalid, or if a line cannot be read."""
    file.require_at_most(MAX_LINES, max(map(file.content.count, (b"\n", b"\r"))), Sentence("lines"))
    outside_quotes = "".join(file.first_line.split('"')[::2])
    separator = max(_SEPARATORS, key=outside_quotes.count)
    if separator not in outside_quotes:
        raise unknown_format(file)
    rows = _rows(file, separator)
    header = [name.strip() for name in next(rows, (0, []))[1]]
    file.require_at_most(MAX_COLUMNS, len(header), Sentence("columns"))
    for name, n in Counter(filter(None, header)).items():
        if n > 1:
            raise InputError(
                "{file} has the column {twice!r} twice: rename or remove one of them.", file=file, twice=shorten(name)
            )
    separator_remark = () if separator == "," else (Remark("separator", _SEPARATORS[separator]),)
    remarks = (*file.encoding_remarks, *separator_remark)
    return Table(tuple(filter(None, header)), _lines(rows, header), remarks, separator != ",")


def _rows(file: ScoreInput, separator: str) -> Iterator[tuple[int, list[str]]]:
    """The number and cells of each line that is not blank. Raises InputError at a line that is not part of a table."""
    row_length = 0

    def chunks() -> Iterator[str]:
        nonlocal row_length
        with file.text() as text:
            while chunk := text.readline(_MAX_ROW):
                row_length += len(chunk)
                if row_length >= _MAX_ROW:
                    raise csv.Error
                yield chunk

    reader = csv.reader(chunks(), delimiter=separator, strict=True)
    try:
        for cells in reader:
            if any(cell.strip() for cell in cells):
                yield reader.line_num, cells
            row_length = 0
    except csv.Error as error:
        raise InputError(
            "{file} cannot be read as a table at line {line}: {reason}.",
            file=file,
            line=reader.line_num + (row_length >= _MAX_ROW),  # such a line is not counted
            reason=_cause(str(error), row_length),
        ) from error


def _cause(error: str, row_length: int) -> Sentence:
    """What an error of Python's csv module, or a row beyond the limit, means for the file."""
    if row_length >= _MAX_ROW or "field limit" in error:
        return Sentence(
            "a cell or row exceeds {most:,} characters, perhaps by an open quotation mark",
            most=_MAX_ROW if row_length >= _MAX_ROW else MAX_CELL,
        )
    if "unexpected end of data" in error:
        return Sentence("a quotation mark is not closed")
    return Sentence("its quotation marks, line ends or characters are not those of a CSV file")


def _lines(rows: Iterator[tuple[int, list[str]]], header: list[str]) -> Iterator[Line]:
    for line, row in rows:
        location = Sentence("line {line}", line=line)
        if len(row) != len(header):
            yield Line(location, {}, Remark("ragged", f"{len(row)} / {len(header)}"))
        else:
            yield Line(location, {name: cell for name, cell in zip(header, row, strict=True) if name})


def parquet_table(file: ScoreInput) -> Table:
    """Read a Parquet table. Raises InputError if it is damaged or too large."""
    unpacked = Sentence("MB when it is unpacked")
    try:
        footer = pq.read_metadata(io.BytesIO(file.content))
        file.require_at_most(MAX_LINES, footer.num_rows, Sentence("rows"))
        file.require_at_most(MAX_COLUMNS, footer.num_columns, Sentence("columns"))
        n_bytes = sum(footer.row_group(number).total_byte_size for number in range(footer.num_row_groups))
        file.require_at_most(MAX_BYTES // 10**6, n_bytes / 1e6, unpacked)
        frame = pl.read_parquet(io.BytesIO(file.content))
        # A value that is stored once for many rows takes little until now.
        file.require_at_most(MAX_BYTES // 10**6, frame.estimated_size("mb"), unpacked)
    except InputError:
        raise
    # The reader fails on damaged bytes in several ways, and one of its errors is not an Exception.
    except (Exception, pl.exceptions.PanicException) as error:
        raise InputError("{file} is a Parquet file that cannot be read: it was damaged or cut.", file=file) from error
    rows = enumerate(frame.iter_rows(named=True), start=1)
    lines = (Line(Sentence("row {number}", number=number), row) for number, row in rows)
    return Table(tuple(frame.columns), lines)


# --- a user's own scores: one row per value, following a template, or a row per model --------------------------------

FORMAT_CSV = "csv"
TEMPLATE_COLUMNS = (
    *("model", "revision", "benchmark", "metric", "filter", "n_shot", "suite", "value", "std_error", "unit"),
    *("higher_is_better", "n_samples", "is_partial", "source", "licence", "as_of"),
)
"""The columns of the template, in its order."""
_REQUIRED = ("model", "benchmark", "value")
_OF_ONE_VALUE = ("std_error", "n_samples")
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


def csv_template() -> bytes:
    """A CSV to fill in, which Excel opens as UTF-8: the header and two example rows."""
    return "\r\n".join([",".join(TEMPLATE_COLUMNS), *_EXAMPLES, ""]).encode("utf-8-sig")


def read_csv(file: ScoreInput, table: Table) -> ScoreFile:
    """A row for each value, or one for each model with a column for each benchmark. Raises InputError if a required column
    is missing, or if two columns would become the same one."""
    plain = {name: name.strip().lower().replace(" ", "_") for name in table.header}
    renamed = {name: _OTHER_NAMES.get(plain_name, plain_name) for name, plain_name in plain.items()}
    names = {name: column for name, column in renamed.items() if column in TEMPLATE_COLUMNS or column in _FURTHER}
    for column in names.values():
        same = [name for name, other_column in names.items() if other_column == column]
        if len(same) > 1:
            raise InputError(
                "{file} has {ours} twice, as {same!r} and {other!r}: remove one of them.",
                file=file,
                ours=column,
                same=shorten(same[0]),
                other=shorten(same[1]),
            )
    missing = [name for name in _REQUIRED if name not in names.values()]
    benchmarks: list[str] = []
    if {"benchmark", "value"} <= set(missing):
        table = replace(table, lines=list(table.lines))
        names, benchmarks = _wide(table, names)
    if missing and not benchmarks:
        raise InputError(
            "{file} lacks {missing}; it has {columns}. Name its columns as `workdim scores template` does, or write a row for "
            "each model and a column for each benchmark.",
            file=file,
            missing=missing,
            columns=shorten(", ".join(table.header)),
        )
    ignored = [Remark("column_ignored", shorten(name)) for name in table.header if name not in (*names, *benchmarks)]
    rows = list(_csv_rows(file, table, names, benchmarks))
    return score_file(file, FORMAT_CSV, _with_units(rows), (*table.remarks, *ignored))


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
    kept = {name: column for name, column in names.items() if len(benchmarks) < 2 or column not in _OF_ONE_VALUE}
    return {**kept, of_model: "model"}, benchmarks


def _csv_rows(
    file: ScoreInput, table: Table, names: Mapping[str, str], benchmarks: Sequence[str]
) -> Iterator[ParsedScore]:
    for line in table.lines:
        if line.problem:
            yield skipped_row(line.at, "", "", line.problem)
            continue
        cells = {column: line.cells[name] for name, column in names.items()}
        wide = [{"benchmark": name, "value": line.cells[name]} for name in benchmarks if not is_blank(line.cells[name])]
        for value in wide if benchmarks else [{}]:
            each = cells | value
            build = partial(_csv_score, file, each, table.decimal_comma)
            yield parse_row(line.at, each["model"], each["benchmark"], build)


def _csv_score(file: ScoreInput, cells: Mapping[str, Cell], decimal_comma: bool, remarks: Remarks) -> ScoreRow:
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


# --- single answers, with the columns of `score_samples` -------------------------------------------------------------
#
# A file may hold any number of models and benchmarks. An export writes this format, and the answers of the ladder that
# ships with Workdim are stored in it.

FORMAT_ANSWERS = "answers_table"
ANSWER_COLUMNS = {"repository", "benchmark", "metric", "doc_hash", "value"}
_MAX_ANSWER_REMARKS = 10


def read_answers(file: ScoreInput, table: Table) -> ScoreFile:
    """Read all answers. Raises InputError if any line is not an answer: models compared in pairs need every answer."""
    counted: Counter[Remark] = Counter()
    samples = []
    for line in table.lines:
        remarks: Remarks = []
        try:
            samples.append(_sample(file, table, line, remarks))
        except Skip as skip:
            raise InputError(
                "{file} holds something that is no answer at {place}: {reason}.",
                file=file,
                place=line.at,
                reason=shorten(f"{skip.remark.code} ({skip.remark.detail})".removesuffix(" ()")),
            ) from skip
        counted.update(remarks)
    if not samples:
        raise InputError("{file} holds no scores.", file=file)
    most_common = (remark for remark, _ in counted.most_common(_MAX_ANSWER_REMARKS))
    return ScoreFile(file.shown_name, file.sha256, FORMAT_ANSWERS, (), tuple(samples), (*table.remarks, *most_common))


def _sample(file: ScoreInput, table: Table, line: Line, remarks: Remarks) -> ScoreSampleRow:
    cells = line.cells
    if line.problem:
        raise Skip(line.problem.code, line.problem.detail)
    doc_hash, filter = required_label(cells["doc_hash"], "doc_hash"), cells.get("filter")
    if not is_question_hash(doc_hash):
        raise Skip("not_readable", f"doc_hash: {doc_hash}")
    return ScoreSampleRow(
        file_sha256=file.sha256,
        repository=mapped_model(cells["repository"], file.mapping, remarks),
        revision=optional_label(cells.get("revision"), "revision", remarks),
        benchmark=required_label(cells["benchmark"], "benchmark"),
        metric=required_label(cells["metric"], "metric"),
        filter=NOT_STATED if is_blank(filter) and filter != "none" else required_label(filter, "filter"),
        doc_hash=doc_hash,
        doc_id=whole_number(cells.get("doc_id"), "doc_id", remarks),
        value=number(cells["value"], remarks, table.decimal_comma),
        group_id=optional_label(cells.get("group_id"), "group_id", remarks),
    )
