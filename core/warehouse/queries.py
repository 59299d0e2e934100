"""Named queries. Each returns a polars frame whose columns are typed even if it has no rows."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

import polars as pl

from core.records import SHIPPED
from core.tables import SCORED_SOURCE, TABLES, ids_of
from core.warehouse.aliases import RESOLVED_SCORES
from core.warehouse.connection import Readable, placeholders

# `chosen` restricts every subquery: run_checks is by far the longest table, and counting the checks of all runs would
# take longer than the rest. The config, a long JSON text, is parsed only if it can contain a revision.
_RUNS = """
    WITH chosen AS (SELECT * FROM runs {condition})
    SELECT chosen.* {columns} REPLACE (coalesce(chosen.bits_per_byte, summary.bits_per_byte) AS bits_per_byte),
        models.reference, models.name, models.repository, models.revision, models.base_repository,
        models.base_relation, models.kind, models.architecture, models.family, models.parameters,
        models.hidden_size, models.n_layers, models.vocabulary_size, models.tokenizer_hash, models.licence,
        models.configuration_hash, models.key_value_size,
        CASE WHEN starts_with(asked.model, models.reference || '@')
            THEN nullif(substr(asked.model, length(models.reference) + 2), '') END AS requested_revision,
        corpora.name AS corpus_name, corpora.language AS corpus_language, corpora.domain AS corpus_domain,
        summary.* EXCLUDE (run_id, bits_per_byte),
        checked.worst_check,
        CASE WHEN checked.run_id IS NOT NULL THEN coalesce(vetoing.check_names, []) END AS vetoed_by
    FROM chosen
    JOIN models USING (model_id)
    JOIN corpora USING (corpus_id)
    LEFT JOIN (
        SELECT run_id, replace(TRY(json_extract_string(config, '$.run.model')), '==', '@') AS model FROM chosen
        WHERE contains(config, '@') OR contains(config, '==')
    ) AS asked ON asked.run_id = chosen.run_id
    LEFT JOIN (
        SELECT * FROM run_summaries
        WHERE estimator = 'd2' AND cloud = 'one_per_type' AND run_id IN (SELECT run_id FROM chosen)
    ) AS summary ON summary.run_id = chosen.run_id
    LEFT JOIN (
        SELECT run_id, ['pass', 'warn', 'veto'][max(CASE outcome WHEN 'veto' THEN 3 WHEN 'warn' THEN 2 ELSE 1 END)]
            AS worst_check
        FROM run_checks WHERE run_id IN (SELECT run_id FROM chosen) GROUP BY run_id
    ) AS checked ON checked.run_id = chosen.run_id
    LEFT JOIN (
        SELECT run_id, list_sort(list(DISTINCT check_name)) AS check_names
        FROM run_checks WHERE outcome = 'veto' AND run_id IN (SELECT run_id FROM chosen) GROUP BY run_id
    ) AS vetoing ON vetoing.run_id = chosen.run_id
    ORDER BY chosen.started_at DESC, chosen.run_id DESC
"""
_WITHOUT_RECORDS = "EXCLUDE (config, library_versions, phase_seconds, execution)"
_MEMBERS = """
    SELECT run_id, pilot_id AS member_of FROM pilot_runs
    UNION SELECT run_id, pilot_id FROM runs WHERE pilot_id IS NOT NULL AND pass = 'text'
"""


_ORDER = {
    "layer_estimates": "cloud, estimator, transform, n1, n2, layer, state DESC",
    "layer_correlators": "cloud, correlator, layer, state DESC",
    "layer_replicates": "cloud, estimator, n1, layer, state DESC",
    "layer_seeds": "model_seed, layer",
    "layer_pairs": "cloud, measure, k, layer_a, layer_b",
    "layer_distributions": "quantity, layer, bin_lower",
    "run_checks": "check_name, layer",
    "run_claims": "is_core DESC, cloud DESC, transform DESC, estimator, n1, claim DESC",
    "run_extrema": "cloud, layer",
    "run_controls": "control_run_id, claim DESC",
    "run_windows": "sequence",
    "run_summaries": "estimator, cloud",
}
"""Table of results -> in which order the rows of a run are read."""


def rows(warehouse: Readable, table: str, run_ids: Sequence[str]) -> pl.DataFrame:
    """The rows of these runs in a table of results, run by run."""
    sql = f"SELECT * FROM {table} WHERE run_id IN ({placeholders(run_ids)}) ORDER BY run_id, {_ORDER[table]}"
    # The file has narrower number types than callers expect.
    return warehouse.read(sql, list(run_ids)).cast(dict(TABLES[table].schema))  # type: ignore[arg-type]


def runs(warehouse: Readable, run_ids: Sequence[str] | None = None) -> pl.DataFrame:
    """One row per run, newest first: the run, its model and corpus, its d2 summary by type, the outcome of its checks.

    For these runs, or for all. `requested_revision` is the branch, tag or version that was asked for, NULL if none was;
    `revision` is what it resolved to. `worst_check` and `vetoed_by` (names of vetoing checks) are NULL without checks.
    """
    condition = "" if run_ids is None else f"WHERE run_id IN ({placeholders(run_ids)})"
    return warehouse.read(_RUNS.format(condition=condition, columns=""), list(run_ids or []))


def run_records(warehouse: Readable, run_ids: Sequence[str]) -> pl.DataFrame:
    """All stored fields of these runs, in the given order; columns of the text begin with `corpus_`."""
    sql = f"""
        SELECT runs.*, models.* EXCLUDE (model_id), corpora.name AS corpus_name, corpora.language AS corpus_language,
            corpora.domain AS corpus_domain, corpora.licence AS corpus_licence, corpora.sha256 AS corpus_sha256,
            corpora.n_documents AS corpus_n_documents, corpora.n_characters AS corpus_n_characters,
            corpora.source AS corpus_source
        FROM runs JOIN models USING (model_id) JOIN corpora USING (corpus_id)
        WHERE runs.run_id IN ({placeholders(run_ids)}) ORDER BY list_position(?, runs.run_id)
    """
    return warehouse.read(sql, [*run_ids, list(run_ids)])


def ranking(warehouse: Readable, protocol_hash: str | None = None) -> pl.DataFrame:
    """As `runs`, restricted to runs on unchanged text, by one protocol if it is given, and without the JSON columns: what a
    comparison needs."""
    condition = "WHERE pass = 'text' AND ($hash IS NULL OR protocol_hash = $hash)"
    return warehouse.read(_RUNS.format(condition=condition, columns=_WITHOUT_RECORDS), {"hash": protocol_hash})


def run_list(warehouse: Readable) -> pl.DataFrame:
    """One narrow row per run, newest first: enough to search the list of runs and to match controls with runs."""
    sql = """
        SELECT runs.run_id, runs.parent_run_id, runs.pass, runs.seed, runs.model_id, runs.corpus_id, runs.protocol,
            runs.protocol_hash, runs.started_at, runs.dtype, runs.stack, runs.model_seed, runs.chat_template_hash,
            runs.tags,
            models.reference, models.name, models.family, models.kind, models.parameters, models.tokenizer_hash, models.configuration_hash,
            corpora.name AS corpus_name, summary.control_run_ids
        FROM runs
        JOIN models USING (model_id)
        JOIN corpora USING (corpus_id)
        LEFT JOIN (
            SELECT run_id, control_run_ids FROM run_summaries WHERE estimator = 'd2' AND cloud = 'one_per_type'
        ) AS summary ON summary.run_id = runs.run_id
        ORDER BY runs.started_at DESC, runs.run_id DESC
    """
    return warehouse.read(sql)


def d2_profiles(warehouse: Readable, run_ids: Sequence[str]) -> pl.DataFrame:
    """Rows of layer_estimates for a thumbnail: d2 on one point per type, layer by layer."""
    return warehouse.read(
        f"""SELECT * FROM layer_estimates WHERE run_id IN ({placeholders(run_ids)})
            AND estimator = 'd2' AND cloud = 'one_per_type' AND transform = 'centred' ORDER BY run_id, layer, state DESC""",
        list(run_ids),
    )


def jackknife_blocks(warehouse: Readable, wanted: pl.DataFrame) -> pl.DataFrame:
    """run_id and blocks (d2 without block 0, 1, ... of the text) at one layer of each run.

    `wanted`: run_id, layer, state, cloud, a row for each run.
    """
    if wanted.is_empty():
        return pl.DataFrame(schema={"run_id": pl.String, "blocks": pl.List(pl.Float64)})
    rows, run_ids = wanted.select("run_id", "layer", "state", "cloud").rows(), ids_of(wanted)
    sql = f"""
        SELECT run_id, blocks FROM layer_replicates
        JOIN (VALUES {", ".join(["(?, ?, ?, ?)"] * len(rows))}) AS wanted (run_id, layer, state, cloud)
            USING (run_id, layer, state, cloud)
        WHERE estimator = 'd2' AND transform = 'centred' AND run_id IN ({placeholders(run_ids)})
    """
    values = [value for row in rows for value in row]
    return warehouse.read(sql, [*values, *run_ids]).cast({"blocks": pl.List(pl.Float64)})


def inner_maxima(warehouse: Readable, run_ids: Sequence[str]) -> pl.DataFrame:
    """run_id, cloud, transform, estimator, n1, and value, lower, upper, layer of the largest over the inner layers 1 to
    L - 1."""
    sql = f"""
        SELECT run_id, cloud, transform, estimator, n1, max(value) AS value, arg_max(lower, value) AS lower,
            arg_max(upper, value) AS upper, arg_max(layer, value) AS layer
        FROM layer_estimates JOIN runs USING (run_id) JOIN models USING (model_id)
        WHERE run_id IN ({placeholders(run_ids)}) AND state = 'residual' AND layer BETWEEN 1 AND models.n_layers - 1
        GROUP BY ALL
    """
    types = {"n1": pl.Int64, "layer": pl.Int64} | dict.fromkeys(("value", "lower", "upper"), pl.Float64)
    return warehouse.read(sql, list(run_ids)).cast(types)  # type: ignore[arg-type]


def import_times(warehouse: Readable) -> dict[str, datetime]:
    """Hash of an imported score file -> import time (UTC)."""
    return dict(warehouse.read("SELECT file_sha256, imported_at FROM score_files").iter_rows())


def scores(warehouse: Readable, repositories: Sequence[str] | None = None) -> pl.DataFrame:
    """Rows of scores of these hub repositories or references, or of all, with aliases resolved.

    `repository` is the model, `name_in_source` its name in the source.
    """
    chosen = ""
    if repositories is not None:  # an alias of a reference does not take away its own scores
        named = placeholders(repositories)
        made_here = f"starts_with(source, '{SCORED_SOURCE}')"
        chosen = f"WHERE repository IN ({named}) OR name_in_source IN ({named}) AND {made_here}"
    order = "repository, revision, benchmark, metric, n_shot, source"
    return warehouse.read(f"SELECT * FROM {RESOLVED_SCORES} {chosen} ORDER BY {order}", [*(repositories or ())] * 2)


def texts(warehouse: Readable) -> pl.DataFrame:
    """corpus_id and corpus_name of every text that was measured."""
    return warehouse.read("SELECT corpus_id, name AS corpus_name FROM corpora ORDER BY corpus_id")


def pilots(warehouse: Readable) -> pl.DataFrame:
    """Rows of pilots, the newest registration first; `n_runs` counts the finished results of each."""
    sql = f"""
        SELECT pilots.*, (
            SELECT count(*) FROM ({_MEMBERS}) JOIN runs USING (run_id) WHERE member_of = pilots.pilot_id
        ) AS n_runs
        FROM pilots ORDER BY created_at DESC, pilot_id
    """
    return warehouse.read(sql)


def pilot_run_ids(warehouse: Readable, pilot_id: str) -> list[str]:
    """Ids of the runs that are results of a pilot, newest first: measured for it, or added to it."""
    order = "ORDER BY started_at DESC, run_id DESC"
    sql = f"SELECT run_id FROM runs JOIN ({_MEMBERS}) USING (run_id) WHERE member_of = ? {order}"
    return ids_of(warehouse.read(sql, [pilot_id]))


def speeds(warehouse: Readable, run_ids: Sequence[str]) -> pl.DataFrame:
    """Speed of these runs: tokens, seconds of all forward passes, device and dtype. Without shipped profiles, which were
    measured on an unknown machine under unknown load."""
    sql = f"""
        SELECT run_id, n_tokens, TRY_CAST(json_extract(phase_seconds, '$.forward') AS DOUBLE) AS forward_seconds,
            coalesce(json_extract_string(execution, '$.device_name'), device) AS device, dtype
        FROM runs WHERE run_id IN ({placeholders(run_ids)}) AND NOT list_contains(tags, '{SHIPPED}') ORDER BY run_id
    """
    return warehouse.read(sql, list(run_ids))


def counts(warehouse: Readable) -> dict[str, int]:
    """Number of runs, models, corpora, estimates and scores."""
    tables = {name: name for name in ("runs", "models", "corpora", "scores")} | {"estimates": "layer_estimates"}
    counted = ", ".join(f"(SELECT count(*) FROM {table}) AS {name}" for name, table in tables.items())
    return warehouse.read(f"SELECT {counted}").row(0, named=True)
