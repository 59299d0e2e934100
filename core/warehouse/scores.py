"""Benchmark scores that ship with Workdim, loaded into every new DuckDB file, and the comparison of score values."""

from __future__ import annotations

import hashlib
import io
from pathlib import Path

import duckdb
import polars as pl

from core import files
from core.errors import WarehouseError
from core.tables import TABLES
from core.warehouse.connection import insert

REFERENCE = files.REFERENCE / "benchmarks.parquet"
LADDER = files.REFERENCE / "ladder" / "scores.parquet"
"""Scores of the models trained for Workdim, written by `python -m tests.ladder --ship`."""
DECODERS = files.REFERENCE / "ladder" / "decoders.parquet"
"""Scores of public decoders on the same tasks, written by `python -m tests.ladder.decoders`."""
SHIPPED = (REFERENCE, LADDER, DECODERS)
"""All in the columns of `scores`."""


def shipped_hashes() -> tuple[str, ...]:
    """Hashes of the score files of this version."""
    return tuple(hashlib.sha256(_read_file(file)).hexdigest() for file in SHIPPED)


def load_shipped_scores(connection: duckdb.DuckDBPyConnection) -> None:
    """Insert the shipped scores into a new file."""
    for file in SHIPPED:
        content = _read_file(file)
        rows = pl.read_parquet(io.BytesIO(content)).with_columns(
            file_sha256=pl.lit(hashlib.sha256(content).hexdigest())
        )
        insert(connection, "scores", rows.select(TABLES["scores"].names))


def shipped_blocks(wanted: pl.DataFrame) -> pl.DataFrame:
    """run_id and jackknife blocks (the score without block 0, 1, ... of files or questions, in percent) of shipped scores.

    `wanted`: run_id, file_sha256, repository, benchmark, metric, filter.
    """
    own = _read_file(LADDER)
    keys = ["repository", "benchmark", "metric", "filter"]
    of_file = wanted.filter(file_sha256=hashlib.sha256(own).hexdigest())
    known = pl.read_parquet(io.BytesIO(own), columns=[*keys, "unit", "blocks"])
    scaled = pl.col("blocks") * pl.when(pl.col("unit") == "fraction").then(100.0).otherwise(1.0)
    return of_file.join(known, on=keys).select("run_id", blocks=scaled)


def _read_file(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError as error:
        raise WarehouseError(
            "The reference scores {file} are missing: Workdim is not completely installed.", file=file
        ) from error


MAX_DECIMALS = 5
MIN_DECIMALS = 1
"""Decimals of a percentage: 50 means 50.0, not anything between 49.5 and 50.5."""


IN_PERCENT = pl.when(pl.col("unit") == "fraction").then(100 * pl.col("value")).otherwise(pl.col("value"))
"""The column `value` with fractions as percentages."""
SCALE = pl.col("unit").replace("fraction", "percent")
"""The scale of `IN_PERCENT`: percent, or the name of another unit. Values of different scales are never compared;
`not stated` is a scale of its own."""


def agree(a: str, b: str) -> pl.Expr:
    """Whether two columns differ by at most half a unit of the last decimal of the less precise one."""
    step = 10.0 ** -pl.min_horizontal(_decimals(a), _decimals(b))
    return (pl.col(a) - pl.col(b)).abs() <= 0.5 * step * (1 + 1e-6) + 1e-9


def _decimals(column: str) -> pl.Expr:
    """Number of decimals that a value appears to be written with."""
    decimals = pl.lit(MAX_DECIMALS, pl.Float64)
    for n in range(MAX_DECIMALS - 1, MIN_DECIMALS - 1, -1):
        scaled = pl.col(column) * 10**n
        decimals = pl.when((scaled - scaled.round()).abs() < 1e-6).then(pl.lit(n, pl.Float64)).otherwise(decimals)
    return decimals
