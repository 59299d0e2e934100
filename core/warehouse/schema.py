"""What tables and columns there are and what each means, for people who write SQL."""

from __future__ import annotations

from dataclasses import dataclass

from core.errors import InputError, unknown_name
from core.warehouse.warehouse import Warehouse

_COLUMNS = """
    SELECT table_name, duckdb_tables.comment AS table_comment, column_name, data_type, duckdb_columns.comment
    FROM duckdb_columns() AS duckdb_columns JOIN duckdb_tables() AS duckdb_tables USING (table_name, schema_name)
    WHERE schema_name = 'main' AND NOT duckdb_tables.internal
    ORDER BY table_name, column_index
"""


@dataclass(frozen=True)
class Column:
    name: str
    type: str
    comment: str


@dataclass(frozen=True)
class Table:
    name: str
    comment: str
    n_rows: int
    columns: tuple[Column, ...]


def tables(warehouse: Warehouse) -> list[Table]:
    """Every table with its columns, as they stand in the file, by name."""
    rows = warehouse.read(_COLUMNS).to_dicts()
    by_table: dict[str, list[dict]] = {}
    for row in rows:
        by_table.setdefault(row["table_name"], []).append(row)
    counts = _counts(warehouse, list(by_table))
    return [
        Table(
            name,
            own[0]["table_comment"] or "",
            counts[name],
            tuple(Column(row["column_name"], row["data_type"], row["comment"] or "") for row in own),
        )
        for name, own in by_table.items()
    ]


def find(warehouse: Warehouse, name: str) -> Table:
    """One table; InputError names those that are there."""
    known = {table.name: table for table in tables(warehouse)}
    if name.lower() not in known:
        raise InputError(unknown_name("table", name, known))
    return known[name.lower()]


def _counts(warehouse: Warehouse, names: list[str]) -> dict[str, int]:
    parts = " UNION ALL ".join(f"SELECT '{name}' AS name, count(*) AS n FROM \"{name}\"" for name in names)
    return dict(warehouse.read(parts).rows()) if names else {}
