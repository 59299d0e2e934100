"""Rows of the warehouse as records whose numbers know their table, column and key."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
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
        (named[name], *_declared(name, table))
        for name, kind in frame.schema.items()
        if name in named and (kind.inner if isinstance(kind, pl.List) else kind).is_numeric()
    ]
    keys = {of: TABLES[of].key or _KEYS.get(of, ()) for _attribute, of, _column in columns}
    for row, found in zip(frame.iter_rows(named=True), records(frame, record), strict=True):
        values, key_in = vars(found), {of: _key(row, names) for of, names in keys.items()}
        for attribute, of, column in columns:
            source, value = Source(of, column, key_in[of]), values[attribute]
            values[attribute] = (
                [sourced(one, source) for one in value] if isinstance(value, list) else sourced(value, source)
            )
        yield found


def row_of(frame: pl.DataFrame, record: type[T]) -> T:
    """The first row, as `rows_of` gives it."""
    return next(rows_of(frame.head(1), record))


@lru_cache(maxsize=1024)
def _declared(name: str, table: str | None) -> tuple[str, str]:
    """Table and column of a frame's column; of `runs` where none declares it."""
    if table is not None:
        return (table if name in TABLES[table].schema else "runs", name)
    if name.startswith("score") and name not in TABLES["run_summaries"].schema:
        column = name.removeprefix("score").removeprefix("_") or "value"
        return ("scores", column) if column in TABLES["scores"].schema else ("runs", name)
    return next((of for of in _READ_TOGETHER if name in TABLES[of].schema), "runs"), name


def _key(row: Mapping[str, Any], names: tuple[str, ...]) -> tuple[tuple[str, Any], ...]:
    values = ((name, row[name]) for name in names if name in row)
    return tuple((name, tuple(value) if isinstance(value, list) else value) for name, value in values)
