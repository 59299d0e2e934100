"""Export rows to files: CSV for programs, CSV for spreadsheets, Parquet, JSON, and Markdown for a wiki."""

from __future__ import annotations

import io
import json
import math
import re
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import polars as pl

_APOSTROPHE = "${1}'${2}${3}"
_SIGNS = "=+\\-@＝＋－＠"
_FORMULA = rf"(^|[;\t\r\n])([\s\"]*[{_SIGNS}])|^([\t\r\n])"
"""Text that a spreadsheet would treat as the start of a formula, also in the full-width signs of Japanese keyboards.

Quotes keep a cell together only if commas separate the cells. A spreadsheet that separates them at `;` or TAB, as in
most of Europe, starts a new cell within the text.
"""


def csv(frame: pl.DataFrame) -> bytes:
    """UTF-8 at full precision; lists as JSON."""
    return _flatten_lists(frame).write_csv().encode("utf-8")


def excel_csv(frame: pl.DataFrame) -> bytes:
    """Like `csv`, with the byte order mark that makes Excel read UTF-8, and every text in quotes.

    A heading or cell that a spreadsheet would run as a formula gets an apostrophe in front; numbers stay numbers.
    """
    flat = _flatten_lists(frame)
    safe = flat.with_columns(pl.col(pl.String).str.replace_all(_FORMULA, _APOSTROPHE))
    headings = pl.Series(flat.columns, dtype=pl.String).str.replace_all(_FORMULA, _APOSTROPHE).to_list()
    # The headings are a row of data: two may have become equal, which a frame forbids and a spreadsheet allows.
    first = pl.DataFrame([headings], schema=[str(number) for number in range(len(headings))], orient="row")
    texts = (
        first.write_csv(include_header=False, include_bom=True, quote_style="non_numeric"),
        safe.write_csv(include_header=False, quote_style="non_numeric"),
    )
    return "".join(texts).encode()


def parquet(frame: pl.DataFrame) -> bytes:
    content = io.BytesIO()
    frame.write_parquet(content, compression="zstd")
    return content.getvalue()


MAX_MARKDOWN_ROWS = 200
"""Most rows on a page for people to read."""


def markdown(frame: pl.DataFrame, statement: str) -> bytes:
    """The statement and its rows as a table for a wiki, with all markup escaped; the first `MAX_MARKDOWN_ROWS` rows."""
    fence = "`" * max(3, 1 + max((len(ticks) for ticks in re.findall("`+", statement)), default=0))
    flat = _flatten_lists(frame.head(MAX_MARKDOWN_ROWS))
    rows = [[_cell(value) for value in row] for row in [flat.columns, *flat.rows()]]
    rows.insert(1, ["---"] * flat.width)
    lines = [f"| {' | '.join(row)} |" for row in rows]
    left = [f"({frame.height - flat.height:,} more)"] if frame.height > flat.height else []
    return "\n".join([f"{fence}sql", statement.strip(), fence, "", *lines, *left, ""]).encode("utf-8")


def _cell(value: Any) -> str:
    if value is None:
        return ""
    told = f"{value:.6g}" if isinstance(value, float) else str(value)
    return re.sub(r"([\\`*_\[\]<>|#~])", r"\\\1", " ".join(told.split())) if isinstance(value, str) else told


def as_json(frame: pl.DataFrame) -> bytes:
    """A list of objects. Times are text, and so are numbers that JSON cannot represent (NaN, infinity)."""
    rows = [{name: _json_value(value) for name, value in row.items()} for row in frame.iter_rows(named=True)]
    return json.dumps(rows, default=str, ensure_ascii=False, indent=1, allow_nan=False).encode("utf-8")


def _json_value(value: Any) -> Any:
    if isinstance(value, list):
        return [_json_value(one) for one in value]
    if isinstance(value, datetime):  # the warehouse stores UTC without a zone
        at = value.astimezone(UTC).replace(tzinfo=None) if value.tzinfo else value
        return f"{at.isoformat()}Z"
    if isinstance(value, Decimal):
        return int(value) if value == value.to_integral_value() else float(value)
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value


def _flatten_lists(frame: pl.DataFrame) -> pl.DataFrame:
    """Join lists of texts with spaces, as in every table of the app; other lists become JSON."""
    lists = {name: kind for name, kind in frame.schema.items() if isinstance(kind, (pl.List, pl.Array))}
    return frame.with_columns(
        pl.col(name).list.join(" ")
        if kind == pl.List(pl.String)
        else pl.Series(name, [_as_text(value) for value in frame[name].to_list()], dtype=pl.String)
        for name, kind in lists.items()
    )


def _as_text(values: list | None) -> str | None:
    return None if values is None else json.dumps(_json_value(values), default=str, ensure_ascii=False)
