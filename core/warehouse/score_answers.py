"""Read imported scores: answers to single questions, contradictions, names that match no measured model."""

from __future__ import annotations

import polars as pl

from core.tables import PILOT_SOURCE, SCORE_KEYS
from core.warehouse.aliases import RESOLVED_SCORES, known_names, set_aliases
from core.warehouse.connection import Readable
from core.warehouse.score_imports import SAME_SCORE
from core.warehouse.scores import IN_PERCENT, SCALE, agree, shipped_blocks
from core.warehouse.warehouse import Warehouse

N_ANSWER_BLOCKS = 20
"""Blocks of a benchmark's questions, in the order of their hashes."""
TOLERANCE = 1e-6
"""Largest difference between a score and the mean of its answers."""

# Two revisions are two models.
_ANSWERS = """
    (SELECT coalesce(model_aliases.reference, score_samples.repository)
            || coalesce('@' || nullif(score_samples.revision, ''), '') AS model,
        score_samples.*, imported_at
    FROM score_samples JOIN score_files USING (file_sha256) LEFT JOIN model_aliases ON alias = score_samples.repository)
"""


def list_answer_sets(warehouse: Readable) -> pl.DataFrame:
    """The stored sets of answers: model (`repository` or `repository@revision`), benchmark, metric, filter, n_questions,
    n_files."""
    return warehouse.read(f"""
        SELECT model, benchmark, metric, filter, count(DISTINCT doc_hash) AS n_questions,
            count(DISTINCT file_sha256) AS n_files
        FROM {_ANSWERS} GROUP BY ALL ORDER BY ALL
    """)


def answers(warehouse: Readable, model: str, benchmark: str | None = None) -> pl.DataFrame:
    """The answers of a model in `list_answer_sets`: benchmark, metric, filter, doc_hash, value, group_id; if a benchmark
    is in several files, those of the file imported last."""
    return warehouse.read(
        f"""
        SELECT benchmark, metric, filter, doc_hash, value, group_id FROM {_ANSWERS}
        WHERE model = $model AND ($benchmark IS NULL OR benchmark = $benchmark)
        QUALIFY file_sha256 = first_value(file_sha256) OVER (
            PARTITION BY benchmark, metric, filter ORDER BY imported_at DESC, file_sha256)
        ORDER BY benchmark, metric, filter, doc_hash
        """,
        {"model": model, "benchmark": benchmark},
    )


def score_blocks(warehouse: Readable, wanted: pl.DataFrame) -> pl.DataFrame:
    """Jackknife blocks of scores: run_id and blocks (the score without block 0, 1, ... of questions, in percent).

    Known for shipped scores and for those with their answers in the same file. `wanted`: run_id, file_sha256, repository,
    benchmark, metric, filter, score; all of one benchmark. Left out: answers whose mean is not the score, and answers to
    other questions than those of most models.
    """
    shipped = shipped_blocks(wanted)
    keys = ["file_sha256", "repository", "benchmark", "metric", "filter"]
    rest = wanted.join(shipped, on="run_id", how="anti")
    if rest.height:
        answered_in = warehouse.read("SELECT DISTINCT file_sha256 FROM score_samples")
        rest = rest.join(answered_in, on="file_sha256", how="semi")
    if rest.is_empty():
        return shipped
    marks = ", ".join(["(?, ?, ?, ?, ?)"] * rest.height)
    answered = warehouse.read(
        f"""
        WITH own AS (
            SELECT {", ".join(keys)}, doc_hash, avg(value) AS value FROM score_samples
            JOIN (VALUES {marks}) AS wanted ({", ".join(keys)}) USING ({", ".join(keys)}) GROUP BY ALL),
        numbered AS (
            SELECT *, ntile({N_ANSWER_BLOCKS}) OVER (PARTITION BY {", ".join(keys)} ORDER BY doc_hash) AS block FROM own)
        SELECT {", ".join(keys)}, block, sum(value) AS total, count(*) AS n, bit_xor(hash(doc_hash)) AS questions
        FROM numbered GROUP BY ALL ORDER BY ALL
        """,
        [value for row in rest.select(keys).rows() for value in row],
    )
    total, n = (pl.col(name).sum().over(keys) for name in ("total", "n"))
    of_models = (
        answered.with_columns(mean=total / n, without=(total - pl.col("total")) / (n - pl.col("n")))
        .group_by(keys, maintain_order=True)
        .agg(pl.col("mean").first(), blocks="without", questions=pl.col("questions").cast(pl.String).str.join(" "))
        .filter(pl.col("blocks").list.len() == N_ANSWER_BLOCKS)
    )
    scale = pl.when((pl.col("score") - 100 * pl.col("mean")).abs() < TOLERANCE).then(100.0).otherwise(1.0)
    known = rest.join(of_models, on=keys).filter(
        (scale * pl.col("mean") - pl.col("score")).abs() < TOLERANCE,
        pl.col("questions") == pl.col("questions").mode().sort().first(),
    )
    return pl.concat([shipped, known.select("run_id", blocks=scale * pl.col("blocks"))])


def score_conflicts(warehouse: Readable) -> pl.DataFrame:
    """Scores that differ between sources by more than rounding, widest contradiction first.

    Columns: repository, revision, SCORE_KEYS, dtype, chat_template, unit (percent for fractions too), `lowest`, `highest`,
    n_values, `told` (`value – source`, highest first).
    """
    keys = ", ".join(SAME_SCORE)
    rows = warehouse.read(f"""
        SELECT {keys}, value, unit, source, is_partial, name_in_source FROM {RESOLVED_SCORES} WHERE NOT is_partial
        QUALIFY count(*) OVER (PARTITION BY {keys}) > 1
    """).with_columns(mine=IN_PERCENT, unit=SCALE)
    one_score = (*SAME_SCORE, "unit")
    lowest, highest = (getattr(pl.col("mine"), end)().over(one_score) for end in ("min", "max"))
    rows = rows.with_columns(lowest=lowest, highest=highest)
    rows = rows.filter((~agree("lowest", "highest")).any().over(one_score)).sort("mine", "source", descending=True)
    value_texts = pl.concat_str(pl.col("mine").round(3).cast(pl.String), pl.lit(" – "), "source")
    return (
        rows.group_by(one_score, maintain_order=True)
        .agg(
            pl.col("lowest").first(),
            pl.col("highest").first(),
            n_values=pl.len().cast(pl.Int64),
            told=value_texts.unique(maintain_order=True),
        )
        .sort(pl.col("highest") - pl.col("lowest"), "repository", *SCORE_KEYS, descending=[True] + [False] * 6)
    )


def unmatched_names(warehouse: Readable) -> pl.DataFrame:
    """name, n_scores, n_samples and `suggestions` (measured models) of every name with suggestions and no alias; names with
    most scores first."""
    names = warehouse.read(f"""
        WITH named AS (
            SELECT repository AS name, count(*) AS n_scores, 0 AS n_samples FROM scores
            WHERE NOT starts_with(source, '{PILOT_SOURCE}') GROUP BY ALL
            UNION ALL SELECT repository, 0, count(*) FROM score_samples GROUP BY ALL)
        SELECT name, sum(n_scores)::BIGINT AS n_scores, sum(n_samples)::BIGINT AS n_samples FROM named
        WHERE name NOT IN (SELECT alias FROM model_aliases)
            AND name NOT IN (SELECT reference FROM models)
            AND name NOT IN (SELECT repository FROM models WHERE repository IS NOT NULL)
        GROUP BY ALL ORDER BY n_scores DESC, n_samples DESC, name
    """)
    near = known_names(warehouse).suggest(names["name"].to_list())
    suggestions = pl.Series("suggestions", [near[name] for name in names["name"]], dtype=pl.List(pl.String))
    return names.with_columns(suggestions).filter(pl.col("suggestions").list.len() > 0)


def map_suggested(warehouse: Warehouse) -> dict[str, str]:
    """Let every stored name that may mean a measured model mean the likeliest one; returns the new aliases."""
    wanted = dict(unmatched_names(warehouse).select("name", pl.col("suggestions").list.first()).rows())
    if wanted:
        set_aliases(warehouse, wanted)
    return wanted
