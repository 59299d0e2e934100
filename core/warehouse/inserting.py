"""Rows of a frame into a table."""

from __future__ import annotations

import duckdb
import polars as pl


def insert(connection: duckdb.DuckDBPyConnection, table: str, rows: pl.DataFrame, more: str = "") -> None:
    """Within the caller's transaction; columns that the rows lack are NULL.

    `more` ends the statement: which of `incoming_rows`, in which order, and what becomes of those that are there.
    """
    if rows.is_empty():
        return
    connection.register("incoming_rows", rows)
    try:
        connection.execute(f"INSERT INTO {table} BY NAME SELECT * FROM incoming_rows {more}")
    finally:
        connection.unregister("incoming_rows")
