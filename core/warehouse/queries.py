"""Named reads. Each returns a polars frame whose columns are typed even where it has no rows."""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl

from core.warehouse.aliases import RESOLVED
from core.warehouse.store import Warehouse

_RUNS = """
    SELECT runs.* REPLACE (coalesce(runs.bits_per_byte, summary.bits_per_byte) AS bits_per_byte),
        models.reference, models.name, models.repository, models.revision, models.base_repository,
        models.base_relation, models.kind, models.architecture, models.family, models.parameters,
        models.hidden_size, models.n_layers, models.vocabulary_size, models.tokenizer_hash, models.licence,
        models.configuration_hash,
        CASE WHEN starts_with(asked.model, models.reference || '@')
            THEN nullif(substr(asked.model, length(models.reference) + 2), '') END AS requested_revision,
        corpora.name AS corpus_name, corpora.language AS corpus_language, corpora.domain AS corpus_domain,
        summary.* EXCLUDE (run_id, bits_per_byte),
        checked.worst_check, checked.vetoed_by
    FROM runs
    JOIN models USING (model_id)
    JOIN corpora USING (corpus_id)
    LEFT JOIN (
        SELECT run_id, replace(TRY(json_extract_string(config, '$.run.model')), '==', '@') AS model FROM runs
    ) AS asked ON asked.run_id = runs.run_id
    LEFT JOIN (
        SELECT * FROM run_summaries WHERE estimator = 'd2' AND cloud = 'one_per_type'
    ) AS summary ON summary.run_id = runs.run_id
    LEFT JOIN (
        SELECT run_id, arg_max(outcome, list_position(['pass', 'warn', 'veto'], outcome)) AS worst_check,
            coalesce(list_sort(list(DISTINCT check_name) FILTER (outcome = 'veto')), []) AS vetoed_by
        FROM run_checks GROUP BY run_id
    ) AS checked ON checked.run_id = runs.run_id
    ORDER BY runs.started_at DESC, runs.run_id DESC
"""
_COUNTS = """
    SELECT
        (SELECT count(*) FROM runs) AS runs,
        (SELECT count(*) FROM models) AS models,
        (SELECT count(*) FROM corpora) AS corpora,
        (SELECT count(*) FROM layer_estimates) AS estimates,
        (SELECT count(*) FROM scores) AS scores
"""
_MEMBERS = """
    SELECT run_id, pilot_id AS member_of FROM pilot_runs
    UNION SELECT run_id, pilot_id FROM runs WHERE pilot_id IS NOT NULL AND pass = 'text'
"""
_PILOTS = f"""
    SELECT pilots.*, (
        SELECT count(*) FROM ({_MEMBERS}) JOIN runs USING (run_id) WHERE member_of = pilots.pilot_id
    ) AS n_runs
    FROM pilots ORDER BY created_at DESC, pilot_id
"""


def runs(warehouse: Warehouse) -> pl.DataFrame:
    """One row per run, newest first: the run, its model and corpus, its d2 summary by type, how its checks came out.

    `requested_revision` is the branch, tag or version that a model was asked for by, NULL where none was: `revision` is
    what that meant on the day. `worst_check` and `vetoed_by` (names of the checks that veto the run) are NULL where no
    check was made.
    """
    return warehouse.read(_RUNS)


def estimates(warehouse: Warehouse, run_ids: Sequence[str]) -> pl.DataFrame:
    """Rows of layer_estimates, layer by layer."""
    order = "run_id, cloud, estimator, transform, n1, n2, layer, state DESC"
    return _rows(warehouse, "layer_estimates", run_ids, order)


def correlators(warehouse: Warehouse, run_ids: Sequence[str]) -> pl.DataFrame:
    """Rows of layer_correlators, layer by layer."""
    return _rows(warehouse, "layer_correlators", run_ids, "run_id, cloud, correlator, layer, state DESC")


def replicates(warehouse: Warehouse, run_ids: Sequence[str]) -> pl.DataFrame:
    """Rows of layer_replicates, layer by layer."""
    return _rows(warehouse, "layer_replicates", run_ids, "run_id, cloud, estimator, n1, layer, state DESC")


def pairs(warehouse: Warehouse, run_ids: Sequence[str]) -> pl.DataFrame:
    """Rows of layer_pairs: every measure of every two layers."""
    return _rows(warehouse, "layer_pairs", run_ids, "run_id, cloud, measure, k, layer_a, layer_b")


def distributions(warehouse: Warehouse, run_ids: Sequence[str]) -> pl.DataFrame:
    """Rows of layer_distributions, layer by layer and bin by bin."""
    return _rows(warehouse, "layer_distributions", run_ids, "run_id, quantity, layer, bin_lower")


def checks(warehouse: Warehouse, run_ids: Sequence[str]) -> pl.DataFrame:
    """Rows of run_checks."""
    return _rows(warehouse, "run_checks", run_ids, "run_id, check_name, layer")


def summaries(warehouse: Warehouse, run_ids: Sequence[str]) -> pl.DataFrame:
    """Rows of run_summaries: every estimator and cloud."""
    return _rows(warehouse, "run_summaries", run_ids, "run_id, estimator, cloud")


def scores(warehouse: Warehouse, repositories: Sequence[str] | None = None) -> pl.DataFrame:
    """Scores of these hub repositories or references, or all of them: rows of scores, with aliases resolved.

    `repository` is the model that is meant, `name_in_source` what the source calls it.
    """
    chosen = "" if repositories is None else f"WHERE repository IN ({_marks(repositories)})"
    order = "repository, revision, benchmark, metric, n_shot, source"
    return warehouse.read(f"SELECT * FROM {RESOLVED} {chosen} ORDER BY {order}", list(repositories or ()))


def pilots(warehouse: Warehouse) -> pl.DataFrame:
    """Rows of pilots, the newest registration first; `n_runs` counts the finished results of each."""
    return warehouse.read(_PILOTS)


def of_pilot(warehouse: Warehouse, pilot_id: str) -> list[str]:
    """Ids of the runs that are results of a pilot, newest first: measured for it, or counted as its result."""
    order = "ORDER BY started_at DESC, run_id DESC"
    sql = f"SELECT run_id FROM runs JOIN ({_MEMBERS}) USING (run_id) WHERE member_of = ? {order}"
    return warehouse.read(sql, [pilot_id])["run_id"].to_list()


def counts(warehouse: Warehouse) -> dict[str, int]:
    """How many runs, models, corpora, estimates and scores the warehouse holds."""
    return warehouse.read(_COUNTS).row(0, named=True)


def _rows(warehouse: Warehouse, table: str, run_ids: Sequence[str], order: str) -> pl.DataFrame:
    # IN, not list_contains: only IN lets DuckDB skip the row groups of other runs.
    sql = f"SELECT * FROM {table} WHERE run_id IN ({_marks(run_ids)}) ORDER BY {order}"
    return warehouse.read(sql, list(run_ids))


def _marks(run_ids: Sequence[str]) -> str:
    return ", ".join("?" * len(run_ids)) or "NULL"
