"""Published benchmark scores that come with Workdim, loaded when a warehouse is made."""

from __future__ import annotations

import hashlib
import io
from pathlib import Path

import duckdb
import polars as pl

from core import paths
from core.errors import WarehouseError
from core.registry.names import NOT_STATED
from core.tables import ScoreRow, columns
from core.warehouse.connection import insert

REFERENCE = paths.REFERENCE / "benchmarks.parquet"
MEAN_OF_SUBTASKS = "derived_macro_mean_of_subtasks"

# By the first word of the metric: `acc, ranked classification` is still an accuracy.
_HIGHER_IS_BETTER = {
    "acc": True,
    "acc_norm": True,
    "len_norm": True,
    "exact_match": True,
    "mc1": True,
    "mc2": True,
    "pass@1": True,
    "f1": True,
    "perplexity": False,
    "word_perplexity": False,
    "byte_perplexity": False,
    "bits_per_byte": False,
}


def reference_hash(file: Path = REFERENCE) -> str:
    """Hash of the scores that belong to this version."""
    return hashlib.sha256(_content(file)).hexdigest()


def load_reference(connection: duckdb.DuckDBPyConnection, file: Path = REFERENCE) -> int:
    """Insert the shipped scores into a new file; returns the number of rows."""
    content = _content(file)
    rows = score_rows(pl.read_parquet(io.BytesIO(content)), hashlib.sha256(content).hexdigest())
    insert(connection, "scores", rows)
    return rows.height


def _content(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError as error:
        raise WarehouseError(
            f"The reference scores {file} are missing: Workdim is not completely installed."
        ) from error


def score_rows(published: pl.DataFrame, file_sha256: str) -> pl.DataFrame:
    """The reference table in the columns of ScoreRow. Nothing is guessed: what a source omits stays NULL."""
    first_word = pl.col("metric").str.extract(r"^([\w@]+)")
    is_mean = pl.col("flags").fill_null("").str.contains(MEAN_OF_SUBTASKS, literal=True)
    return published.select(
        repository="model_id",
        revision="revision",
        benchmark="benchmark",
        metric=pl.col("metric").fill_null(NOT_STATED),
        filter=pl.lit(NOT_STATED),
        n_shot="n_shot",
        suite="suite",
        value="score",
        std_error="stderr",
        unit=pl.lit("percent"),
        higher_is_better=first_word.replace_strict(_HIGHER_IS_BETTER, default=None, return_dtype=pl.Boolean),
        n_samples=pl.lit(None, dtype=pl.Int64),
        is_partial=pl.lit(False),
        is_group=is_mean | pl.col("metric").fill_null("").str.starts_with("mean of"),
        source="source",
        licence="source_licence",
        as_of="as_of",
        flags=pl.col("flags").fill_null(""),
        file_sha256=pl.lit(file_sha256),
        dtype=pl.lit(None, dtype=pl.String),
        chat_template=pl.lit(None, dtype=pl.Boolean),
        task_version=pl.lit(None, dtype=pl.String),
        source_row=pl.lit(None, dtype=pl.String),
    ).select(columns(ScoreRow))
