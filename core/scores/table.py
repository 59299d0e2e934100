"""Read tables as lines of named cells: streamed text with one of three separators, or Parquet."""

from __future__ import annotations

import csv
import io
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import polars as pl
import pyarrow.parquet as pq

from core.errors import InputError, Sentence
from core.scores.cells import Cell, Remark, shorten
from core.scores.score_input import MAX_BYTES, ScoreInput

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
        raise InputError(
            "{file} is neither JSON nor a table ({line!r}). Known: lm-evaluation-harness, Open LLM Leaderboard v2, CSV after `workdim scores template`.",
            file=file.shown_name,
            line=shorten(file.first_line.strip()),
        )
    rows = _rows(file, separator)
    header = [name.strip() for name in next(rows, (0, []))[1]]
    file.require_at_most(MAX_COLUMNS, len(header), Sentence("columns"))
    for name, n in Counter(filter(None, header)).items():
        if n > 1:
            raise InputError(
                "{file} has the column {twice!r} twice: rename or remove one of them.",
                file=file.shown_name,
                twice=shorten(name),
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
            file=file.shown_name,
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
    if "expected after" in error:
        return Sentence("text follows a closing quotation mark")
    return Sentence("its line ends or characters are not those of a CSV file")


def _lines(rows: Iterator[tuple[int, list[str]]], header: list[str]) -> Iterator[Line]:
    for number, row in rows:
        location = Sentence("line {line}", line=number)
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
        raise InputError(
            "{file} is a Parquet file that cannot be read: it was damaged or cut.", file=file.shown_name
        ) from error
    lines = (Line(f"row {index}", row) for index, row in enumerate(frame.iter_rows(named=True), start=1))
    return Table(tuple(frame.columns), lines)
