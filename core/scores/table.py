"""Read tables as lines of named cells: streamed text with one of three separators, or Parquet."""

from __future__ import annotations

import csv
import io
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

import polars as pl
import pyarrow.parquet as pq

from core.errors import InputError, Sentence
from core.scores.cells import Cell, Remark, shorten
from core.scores.score_input import MAX_BYTES, ScoreInput
from core.scores.score_rows import ParsedScore

PARQUET = b"PAR1"
MAX_LINES = 100_000
MAX_COLUMNS = 1_000
MAX_CELL = 131_072
"""Python's own limit for one cell. No score needs it: a longer cell comes from a quote that was never closed."""
_SEPARATORS = {",": ",", ";": ";", "\t": "TAB"}
_MAX_HEADER = 2**16
_MAX_ROW = 2**20


@dataclass(frozen=True)
class Line:
    """A line of a table."""

    at: str
    cells: dict[str, Cell] | None
    problem: Remark | None = None
    """Why there are no cells, for example more or fewer of them than the header has."""


@dataclass(frozen=True)
class Table:
    """A table whose lines are read one by one."""

    header: tuple[str, ...]
    lines: Iterator[Line]
    remarks: tuple[Remark, ...] = ()
    decimal_comma: bool = False
    """Whether `0,5` may be a number; false if the comma separates the cells."""


def skipped_line(line: Line) -> ParsedScore:
    """The skipped row for a line that cannot be split into cells."""
    return ParsedScore(line.at, "", "", None, line.problem)


def text_table(file: ScoreInput) -> Table:
    """Read a table with separators. Raises InputError if the header is invalid, or if a line cannot be read."""
    n_lines = max(map(file.content.count, (b"\n", b"\r")))
    if n_lines > MAX_LINES:
        raise InputError(
            "{file} has {n_lines:,} lines; up to {max_lines:,} are read. Split it into files of fewer.",
            file=file.shown_name,
            n_lines=n_lines,
            max_lines=MAX_LINES,
        )
    first_line = _first_line(file)
    separator = max(_SEPARATORS, key=_outside_quotes(first_line).count)
    if separator not in _outside_quotes(first_line):
        raise InputError(
            "{file} is neither JSON nor a table: its first line, {line!r}, has no comma, semicolon or tab. Known "
            "are results of lm-evaluation-harness, exports of the Open LLM Leaderboard v2, and CSV after the template.",
            file=file.shown_name,
            line=shorten(first_line.strip()),
        )
    rows = _Rows(file, separator)
    header = _header(file, next(rows, []))
    separator_remark = () if separator == "," else (Remark("separator", _SEPARATORS[separator]),)
    remarks = (*file.encoding_remarks, *separator_remark)
    return Table(tuple(filter(None, header)), _lines(rows, header), remarks, separator != ",")


def _first_line(file: ScoreInput) -> str:
    """The first line that is not blank, which is the header."""
    with file.text() as text:
        for _ in range(100):
            line = text.readline(_MAX_HEADER)
            if len(line) >= _MAX_HEADER or not line:
                break
            if line.strip():
                return line
    if not line:
        raise InputError("{file} is empty.", file=file.shown_name)
    raise InputError(
        "{file} is no table of scores: its first line is longer than {max_header:,} characters.",
        file=file.shown_name,
        max_header=_MAX_HEADER,
    )


def _outside_quotes(line: str) -> str:
    """The line without quoted cells."""
    return "".join(line.split('"')[::2])


def _header(file: ScoreInput, cells: list[str]) -> list[str]:
    """The column names. Raises InputError for too many or repeated ones."""
    names = [name.strip() for name in cells]
    if len(names) > MAX_COLUMNS:
        raise InputError(
            "{file} has {n_names:,} columns; up to {max_columns:,} are read.",
            file=file.shown_name,
            n_names=len(names),
            max_columns=MAX_COLUMNS,
        )
    twice = [name for name, n in Counter(filter(None, names)).items() if n > 1]
    if twice:
        raise InputError(
            "{file} has the column {twice!r} twice: rename or remove one of them.",
            file=file.shown_name,
            twice=shorten(twice[0]),
        )
    return names


class _Rows:
    """The lines that are not blank, split into cells. Only one of them is held in memory at a time."""

    def __init__(self, file: ScoreInput, separator: str) -> None:
        self._file = file
        self._text = file.text()
        self._row_length = 0
        self._reader = csv.reader(self._chunks(), delimiter=separator, strict=True)

    @property
    def line(self) -> int:
        return self._reader.line_num

    def __iter__(self) -> Iterator[list[str]]:
        return self

    def __next__(self) -> list[str]:
        """Raises InputError at a line that is not part of a table."""
        while True:
            self._row_length = 0
            try:
                row = next(self._reader)
            except csv.Error as error:
                raise InputError(
                    "{file} cannot be read as a table at line {line}: {reason}.",
                    file=self._file.shown_name,
                    line=self.line,
                    reason=_cause(str(error)),
                ) from error
            if any(cell.strip() for cell in row):
                return row

    def _chunks(self) -> Iterator[str]:
        while chunk := self._text.readline(_MAX_ROW):
            self._row_length += len(chunk)
            if self._row_length >= _MAX_ROW:
                raise InputError(
                    "{file} cannot be read as a table: the row at line {line} is longer than {max_row:,} characters, "
                    "perhaps because a quotation mark is not closed.",
                    file=self._file.shown_name,
                    line=self.line + 1,
                    max_row=_MAX_ROW,
                )
            yield chunk


def _cause(error: str) -> Sentence:
    """What an error of Python's csv module means for the file."""
    if "field limit" in error:
        return Sentence(
            "a cell is longer than {max_cell:,} characters, perhaps because a quotation mark is not closed",
            max_cell=MAX_CELL,
        )
    if "unexpected end of data" in error:
        return Sentence("a quotation mark is not closed")
    if "expected after" in error:
        return Sentence("text follows a closing quotation mark")
    return Sentence("its line ends or characters are not those of a CSV file")


def _lines(rows: _Rows, header: list[str]) -> Iterator[Line]:
    for row in rows:
        location = Sentence("line {line}", line=rows.line)
        if len(row) != len(header):
            yield Line(location, None, Remark("ragged", f"{len(row)} / {len(header)}"))
        else:
            yield Line(location, {name: cell for name, cell in zip(header, row, strict=True) if name})


def parquet_table(file: ScoreInput) -> Table:
    """Read a Parquet table. Raises InputError if it is damaged or too large."""
    try:
        schema = pl.read_parquet_schema(io.BytesIO(file.content))
        n_lines = pl.scan_parquet(io.BytesIO(file.content)).select(pl.len()).collect().item()
        if n_lines > MAX_LINES or len(schema) > MAX_COLUMNS:
            raise InputError(
                "{file} has {n_lines:,} rows and {n_schema:,} columns; up to {max_lines:,} and {max_columns:,} are "
                "read.",
                file=file.shown_name,
                n_lines=n_lines,
                n_schema=len(schema),
                max_lines=MAX_LINES,
                max_columns=MAX_COLUMNS,
            )
        footer = pq.read_metadata(io.BytesIO(file.content))
        _require_size(file, sum(footer.row_group(number).total_byte_size for number in range(footer.num_row_groups)))
        frame = pl.read_parquet(io.BytesIO(file.content))
        _require_size(file, frame.estimated_size())  # a value that is stored once for many rows takes little until now
    except InputError:
        raise
    # The reader fails on damaged bytes in several ways, and one of its errors is not an Exception.
    except (Exception, pl.exceptions.PanicException) as error:
        raise InputError(
            "{file} is a Parquet file that cannot be read: it was damaged or cut.", file=file.shown_name
        ) from error
    lines = (Line(f"row {index}", row) for index, row in enumerate(frame.iter_rows(named=True), start=1))
    return Table(tuple(frame.columns), lines)


def _require_size(file: ScoreInput, n_bytes: float) -> None:
    """Raises InputError for a table that unpacks to more than is read of any file."""
    if n_bytes > MAX_BYTES:
        raise InputError(
            "{file} unpacks to {size:,.0f} MB; up to {limit:,.0f} MB are read. Split it into smaller files.",
            file=file.shown_name,
            size=n_bytes / 1e6,
            limit=MAX_BYTES / 1e6,
        )
