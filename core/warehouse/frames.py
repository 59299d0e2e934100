"""Typed polars frames for the row classes of core.tables: what every table holds, on disk and in memory."""

from __future__ import annotations

import functools
import typing
from collections.abc import Iterable
from dataclasses import fields
from datetime import UTC, datetime
from typing import Any

import polars as pl

_DTYPES: dict[Any, Any] = {
    str: pl.String,
    int: pl.Int64,
    float: pl.Float64,
    bool: pl.Boolean,
    datetime: pl.Datetime("us"),
    list[str]: pl.List(pl.String),
    list[float]: pl.List(pl.Float64),
}


def schema(row_class: type) -> dict[str, pl.DataType]:
    """Column name -> polars type, in table order."""
    hints = _hints(row_class)
    return {f.name.rstrip("_"): _DTYPES[_plain(hints[f.name])] for f in fields(row_class)}


def optional_columns(row_class: type) -> set[str]:
    """Columns that may be NULL."""
    hints = _hints(row_class)
    return {f.name.rstrip("_") for f in fields(row_class) if type(None) in typing.get_args(hints[f.name])}


def frame(rows: Iterable[Any], row_class: type) -> pl.DataFrame:
    """Rows of one class as a frame; an undefined number (NaN) becomes NULL where the column allows it."""
    names = [f.name for f in fields(row_class)]
    values = [tuple(_stored(getattr(row, name)) for name in names) for row in rows]
    table = pl.DataFrame(values, schema=schema(row_class), orient="row")
    numbers = [c for c in optional_columns(row_class) if table.schema[c] == pl.Float64]
    return table.with_columns(pl.col(numbers).fill_nan(None))


@functools.cache
def _hints(row_class: type) -> dict[str, Any]:
    """Kept, because evaluating them is half of the time that reading a parcel takes."""
    return typing.get_type_hints(row_class)


def _plain(hint: Any) -> Any:
    """`float | None` -> `float`."""
    plain = [part for part in typing.get_args(hint) if part is not type(None)]
    return plain[0] if type(None) in typing.get_args(hint) else hint


def _stored(value: Any) -> Any:
    """Times are stored in UTC without a zone, so that reading them needs no time-zone database."""
    if isinstance(value, datetime) and value.tzinfo is not None:
        return value.astimezone(UTC).replace(tzinfo=None)
    return value
