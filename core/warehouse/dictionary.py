"""The data dictionary: what each column of the tables is, for people who read an export without Workdim."""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl

from core.tables import TABLES

_TYPES = {
    pl.String: "text",
    pl.Int64: "whole number",
    pl.Float64: "number",
    pl.Boolean: "yes or no",
    pl.Datetime: "time",
    pl.List: "list",
}


def dictionary(tables: Sequence[str]) -> pl.DataFrame:
    """table, column, type, optional (whether it may be empty), meaning: one row per column, in the tables' order."""
    rows = [
        (table, column.name, _type(column.dtype), column.is_optional, column.declared.meaning)
        for table in tables
        for column in TABLES[table].columns
    ]
    return pl.DataFrame(rows, schema=["table", "column", "type", "optional", "meaning"], orient="row")


def as_markdown(tables: Sequence[str]) -> str:
    """The same to be read: a heading and a table for each."""
    parts = []
    for table in tables:
        parts += [f"## {table}", "", TABLES[table].comment, "", "| column | type | meaning |", "|---|---|---|"]
        for _table, column, kind, optional, meaning in dictionary([table]).iter_rows():
            parts.append(f"| `{column}` | {kind}{', may be empty' if optional else ''} | {_cell(meaning)} |")
        parts.append("")
    return "\n".join(parts)


def _type(kind: pl.DataType) -> str:
    if isinstance(kind, pl.List):
        return f"list of {_type(kind.inner)}s"  # type: ignore[arg-type]
    return _TYPES[kind.base_type()]


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")
