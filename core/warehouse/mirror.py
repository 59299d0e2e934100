"""What people wrote or imported, kept as Parquet beside the warehouse file, so that a lost file can be made anew.

Parcels hold measurements only. These tables are mirrored within the transaction that changes them, before it commits:
a crash in between leaves the mirror with what somebody had asked for, never without what is in the file.
"""

from __future__ import annotations

import io
import os
from collections.abc import Sequence
from pathlib import Path

import duckdb
import polars as pl

from core.errors import ResourceError

TABLES = (
    "pilots", "pilot_runs", "plans", "plan_outcomes", "model_aliases", "saved_queries", "score_files", "scores",
    "score_samples",
)  # fmt: skip


def write(connection: duckdb.DuckDBPyConnection, folder: Path, tables: Sequence[str]) -> None:
    """Bring the mirror of these tables up to what the open transaction will commit."""
    for table in tables:
        rows = pl.DataFrame(connection.sql(f"SELECT * FROM {table}"))
        _replace(folder / f"{table}.parquet", rows)


def _replace(file: Path, rows: pl.DataFrame) -> None:
    content = io.BytesIO()
    rows.write_parquet(content, compression="zstd")
    part = file.with_name(file.name + ".part")
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with part.open("wb") as handle:
            handle.write(content.getvalue())
            handle.flush()
            os.fsync(handle.fileno())
        os.replace(part, file)
    except OSError as error:
        raise ResourceError(f"{file} cannot be written: {error.strerror or error}. Nothing was changed.") from error
