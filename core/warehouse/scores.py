"""Scores as they are read: those that come with Workdim, single answers, contradictions, and names that no model goes by.

Two published values can be one value that was rounded differently; the rule for that stands here, too.
"""

from __future__ import annotations

import hashlib
import io
from pathlib import Path

import duckdb
import polars as pl

from core import files
from core.errors import WarehouseError
from core.pilots.registration import SOURCE
from core.registry.names import NOT_STATED
from core.scores.near_names import suggestions
from core.tables import SCORE_KEYS, ScoreRow, columns
from core.warehouse.aliases import RESOLVED
from core.warehouse.connection import insert
from core.warehouse.score_imports import SAME_SCORE
from core.warehouse.warehouse import Warehouse

REFERENCE = files.REFERENCE / "benchmarks.parquet"
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


def unmet_names(warehouse: Warehouse) -> pl.DataFrame:
    """name, n_scores, n_samples and `suggestions` (measured models), of every name that has one and no alias yet; names
    with most scores first."""
    found = warehouse.read(f"""
        WITH named AS (
            SELECT repository AS name, count(*) AS n_scores, 0 AS n_samples FROM scores
            WHERE NOT starts_with(source, '{SOURCE}') GROUP BY ALL
            UNION ALL SELECT repository, 0, count(*) FROM score_samples GROUP BY ALL)
        SELECT name, sum(n_scores)::BIGINT AS n_scores, sum(n_samples)::BIGINT AS n_samples FROM named
        WHERE name NOT IN (SELECT alias FROM model_aliases)
            AND name NOT IN (SELECT reference FROM models)
            AND name NOT IN (SELECT repository FROM models WHERE repository IS NOT NULL)
        GROUP BY ALL ORDER BY n_scores DESC, n_samples DESC, name
    """)
    known = warehouse.read("SELECT reference FROM models UNION SELECT repository FROM models")["reference"].drop_nulls()
    near = suggestions(found["name"].to_list(), known.to_list())
    told = pl.Series("suggestions", [near[name] for name in found["name"]], dtype=pl.List(pl.String))
    return found.with_columns(told).filter(pl.col("suggestions").list.len() > 0)


# Two revisions are two models.
_ANSWERS = """
    (SELECT coalesce(model_aliases.reference, score_samples.repository)
            || coalesce('@' || nullif(score_samples.revision, ''), '') AS model,
        score_samples.*, imported_at
    FROM score_samples JOIN score_files USING (file_sha256) LEFT JOIN model_aliases ON alias = score_samples.repository)
"""


def answered(warehouse: Warehouse) -> pl.DataFrame:
    """What single answers there are: model (`repository`, or `repository@revision`), benchmark, metric, filter,
    n_questions, n_files."""
    return warehouse.read(f"""
        SELECT model, benchmark, metric, filter, count(DISTINCT doc_hash) AS n_questions,
            count(DISTINCT file_sha256) AS n_files
        FROM {_ANSWERS} GROUP BY ALL ORDER BY ALL
    """)


def answers(warehouse: Warehouse, model: str, benchmark: str | None = None) -> pl.DataFrame:
    """A model's answers, as `answered` names it: benchmark, metric, filter, doc_hash, value; of a benchmark that came
    in several files, those of the file that was imported last."""
    return warehouse.read(
        f"""
        SELECT benchmark, metric, filter, doc_hash, value FROM {_ANSWERS}
        WHERE model = $model AND ($benchmark IS NULL OR benchmark = $benchmark)
        QUALIFY file_sha256 = first_value(file_sha256) OVER (
            PARTITION BY benchmark, metric, filter ORDER BY imported_at DESC, file_sha256)
        ORDER BY benchmark, metric, filter, doc_hash
        """,
        {"model": model, "benchmark": benchmark},
    )


def conflicts(warehouse: Warehouse) -> pl.DataFrame:
    """Scores that are told differently, rounding apart: repository, revision, SCORE_KEYS, dtype, chat_template, unit
    (percent for fractions too), `lowest`, `highest`, n_values, `told` (`value – source`, highest first).

    The widest contradiction comes first.
    """
    keys = ", ".join(SAME_SCORE)
    rows = warehouse.read(f"""
        SELECT {keys}, value, unit, source, is_partial, name_in_source FROM {RESOLVED} WHERE NOT is_partial
        QUALIFY count(*) OVER (PARTITION BY {keys}) > 1
    """).with_columns(mine=in_percent("value", "unit"), unit=scale("unit"))
    one_score = (*SAME_SCORE, "unit")
    lowest, highest = (getattr(pl.col("mine"), end)().over(one_score) for end in ("min", "max"))
    rows = rows.with_columns(lowest=lowest, highest=highest)
    rows = rows.filter((~agree("lowest", "highest")).any().over(one_score)).sort("mine", "source", descending=True)
    told = pl.concat_str(pl.col("mine").round(3).cast(pl.String), pl.lit(" – "), "source")
    return (
        rows.group_by(one_score, maintain_order=True)
        .agg(
            pl.col("lowest").first(),
            pl.col("highest").first(),
            n_values=pl.len().cast(pl.Int64),
            told=told.unique(maintain_order=True),
        )
        .sort(pl.col("highest") - pl.col("lowest"), "repository", *SCORE_KEYS, descending=[True] + [False] * 6)
    )


MOST_DECIMALS = 5
FEWEST_DECIMALS = 1
"""Of a percentage: 50 is taken for 50.0, not for anything between 49.5 and 50.5."""


def in_percent(value: str, unit: str) -> pl.Expr:
    """The column `value` on one scale: a fraction of 0.5 is 50 percent."""
    return pl.when(pl.col(unit) == "fraction").then(100 * pl.col(value)).otherwise(pl.col(value))


def scale(unit: str) -> pl.Expr:
    """What `in_percent` is counted in: percent, or the unit's own name. Values of two scales are never set against each
    other, `not stated` being one of its own."""
    return pl.col(unit).replace("fraction", "percent")


def agree(a: str, b: str) -> pl.Expr:
    """Whether these columns differ by no more than half a unit of the last decimal of the one that has fewer."""
    step = 10.0 ** -pl.min_horizontal(_decimals(a), _decimals(b))
    return (pl.col(a) - pl.col(b)).abs() <= 0.5 * step * (1 + 1e-6) + 1e-9


def _decimals(column: str) -> pl.Expr:
    """Decimals that a value is written with, as far as can be seen from it."""
    found = pl.lit(MOST_DECIMALS, pl.Float64)
    for n in range(MOST_DECIMALS - 1, FEWEST_DECIMALS - 1, -1):
        scaled = pl.col(column) * 10**n
        found = pl.when((scaled - scaled.round()).abs() < 1e-6).then(pl.lit(n, pl.Float64)).otherwise(found)
    return found
