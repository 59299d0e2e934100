"""Rows of the warehouse as records whose numbers know their table, column and key."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import fields, replace
from functools import lru_cache
from typing import Any, TypeVar

import polars as pl

from core.sources import Source, sourced
from core.tables import TABLES
from core.tables.columns import attributes, records

T = TypeVar("T")
_TABLES: dict[type, str] = {table.row: name for name, table in TABLES.items()}

_READ_TOGETHER = ("run_summaries", "runs", "models", "corpora")
"""Tables that the named reads of runs join: a column is of the first that declares it."""
_KEYS = {
    "scores": ("run_id", "model_id", "benchmark", "metric", "n_shot", "filter"),
    "plan_outcomes": ("plan_id", "rule", "unit", "blocks", "is_chosen", "is_healed", "text", "measure", "rank"),
}
"""Columns that distinguish rows, for tables without a key."""


def rows_of(frame: pl.DataFrame, record: type[T]) -> Iterator[T]:
    """The rows of a frame as `records` makes them: of a table's class, or runs; what no table declares is derived."""
    table, named = _TABLES.get(record), attributes(record)
    columns = [
        (named[name], *_declared(name, table), name)
        for name, kind in frame.schema.items()
        if kind.is_numeric() and name in named
    ]
    for row, found in zip(frame.iter_rows(named=True), records(frame, record), strict=True):
        for attribute, of, column, name in columns:
            if (value := row[name]) is not None:
                vars(found)[attribute] = sourced(value, _source(row, of, column, name))
        yield found


def row_of(frame: pl.DataFrame, record: type[T]) -> T:
    """The first row, as `rows_of` gives it."""
    return next(rows_of(frame.head(1), record))


def read_records(rows: list[Any], table: str) -> list[Any]:
    """Records of a table's row class with the source of each number."""
    found = []
    for record in rows:
        row = {field.name: getattr(record, field.name) for field in fields(record)}
        numbers: dict[str, Any] = {}
        for name, value in row.items():
            source = _source(row, table, name, name)
            if isinstance(value, list):
                numbers[name] = [sourced(one, source) for one in value]
            elif isinstance(value, (int, float)):
                numbers[name] = sourced(value, source)
        found.append(replace(record, **numbers))
    return found


@lru_cache(maxsize=1024)
def _declared(name: str, table: str | None) -> tuple[str, str]:
    """Table and column of a frame's column; without a table where none declares it."""
    if table is not None:
        return (table, name) if name in TABLES[table].schema else ("", name)
    if name.startswith("score") and name not in TABLES["run_summaries"].schema:
        column = name.removeprefix("score").removeprefix("_") or "value"
        return ("scores", column) if column in TABLES["scores"].schema else ("", name)
    return next(((of, name) for of in _READ_TOGETHER if name in TABLES[of].schema), ("", name))


def _source(row: Mapping[str, Any], table: str, column: str, name: str) -> Source:
    if not table:
        return Source("runs", name, _key(row, ("run_id",)))
    return Source(table, column, _key(row, TABLES[table].key or _KEYS.get(table, ())))


def _key(row: Mapping[str, Any], names: tuple[str, ...]) -> tuple[tuple[str, Any], ...]:
    values = ((name, row[name]) for name in names if name in row)
    return tuple((name, tuple(value) if isinstance(value, list) else value) for name, value in values)
