"""Whether the rows of a warehouse belong together, and whether every run has all that a run has."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

import duckdb

from core.tables import LONG_TABLES
from core.warehouse.finding import Finding, some
from core.warehouse.scores import REFERENCE

_REBUILD = "Run: python -m core ingest --rebuild"
_OF_RUNS = [
    (
        f"SELECT DISTINCT run_id FROM {table} WHERE run_id NOT IN (SELECT run_id FROM runs)",
        f"{table} has rows of {{}} not in the warehouse. {_REBUILD}",
        "run",
        True,
    )
    for table in LONG_TABLES
]
_LINKS = [
    *_OF_RUNS,
    (
        "SELECT run_id FROM runs WHERE model_id NOT IN (SELECT model_id FROM models)",
        f"{{}} of a model that is not in the warehouse. {_REBUILD}",
        "run",
        True,
    ),
    (
        "SELECT run_id FROM runs WHERE corpus_id NOT IN (SELECT corpus_id FROM corpora)",
        f"{{}} on a text that is not in the warehouse. {_REBUILD}",
        "run",
        True,
    ),
    (
        "SELECT DISTINCT pilot_id FROM pilot_runs WHERE pilot_id NOT IN (SELECT pilot_id FROM pilots)",
        f"pilot_runs names {{}} not in the warehouse. {_REBUILD}",
        "pilot",
        True,
    ),
    (
        "SELECT DISTINCT plan_id FROM plan_outcomes WHERE plan_id NOT IN (SELECT plan_id FROM plans)",
        "plan_outcomes names {} not in the warehouse. Restore a backup that has it.",
        "plan",
        True,
    ),
    (
        "SELECT DISTINCT file_sha256 FROM score_samples WHERE file_sha256 NOT IN (SELECT file_sha256 FROM score_files)",
        "score_samples has answers of {} not in score_files. Import it again.",
        "file",
        True,
    ),
    (
        "SELECT DISTINCT pilot_id FROM runs WHERE pilot_id NOT IN (SELECT pilot_id FROM pilots)",
        "Runs were measured for {} registered elsewhere. `python -m core pilot FILE.toml` registers one here.",
        "pilot",
        False,
    ),
    (
        "SELECT DISTINCT run_id FROM pilot_runs WHERE run_id NOT IN (SELECT run_id FROM runs)",
        "Pilots count {} not in the warehouse: deleted, or not measured yet.",
        "run",
        False,
    ),
    (
        "SELECT DISTINCT parent_run_id FROM runs WHERE parent_run_id NOT IN (SELECT run_id FROM runs)",
        "Control passes belong to {} not in the warehouse: not finished yet, or deleted.",
        "run",
        False,
    ),
    (
        "SELECT DISTINCT control FROM (SELECT unnest(control_run_ids) AS control FROM run_summaries) "
        "WHERE control NOT IN (SELECT run_id FROM runs)",
        "Verdicts rest on {} not in the warehouse. Measure the control again, or import its parcel.",
        "control run",
        False,
    ),
    (
        "SELECT DISTINCT plan_id FROM plans WHERE run_id NOT IN (SELECT run_id FROM runs)",
        "{} of a run that is not in the warehouse.",
        "plan",
        False,
    ),
]
"""Query of what is missing, sentence, what is counted, whether that is damage."""
_LAYERS = """
    SELECT runs.run_id FROM runs JOIN models USING (model_id) LEFT JOIN (
        SELECT run_id, count(DISTINCT layer) AS n, min(layer) AS first, max(layer) AS last FROM layer_estimates
        WHERE state = 'residual' GROUP BY run_id
    ) AS found USING (run_id)
    WHERE n IS NULL OR first <> 0 OR n <> last + 1
        -- The two stacks of an encoder-decoder may differ in length, and share a row of models.
        OR (kind <> 'encoder_decoder' AND last <> n_layers)
    ORDER BY run_id
"""
# A run is summarised on each of these clouds that it has, by d2 (core.analysis.shape).
_SUMMARIES = """
    SELECT DISTINCT run_id FROM layer_estimates AS found JOIN runs USING (run_id)
    WHERE estimator = 'd2' AND cloud = 'one_per_type' AND NOT EXISTS (
        SELECT 1 FROM run_summaries AS summary WHERE summary.run_id = found.run_id AND summary.cloud = found.cloud
            AND summary.estimator = 'd2')
    ORDER BY run_id
"""


def orphans(connection: duckdb.DuckDBPyConnection) -> Iterator[Finding]:
    """Rows that name what is not there."""
    for sql, sentence, what, is_damage in _LINKS:
        missing = _column(connection, f"SELECT * FROM ({sql}) AS missing ORDER BY ALL")
        missing = [name for name in missing if name is not None]
        if missing:
            yield Finding(sentence.format(some(missing, what)), is_damage)
    shipped = hashlib.sha256(REFERENCE.read_bytes()).hexdigest() if REFERENCE.is_file() else ""
    strangers = _column(
        connection,
        "SELECT DISTINCT file_sha256 FROM scores WHERE file_sha256 NOT IN ('', ?) "
        "AND file_sha256 NOT IN (SELECT file_sha256 FROM score_files) ORDER BY ALL",
        [shipped],
    )
    if strangers:
        yield Finding(
            f"scores has rows of {some(strangers, 'file')} not in score_files, so they are not mirrored. "
            "Import it again.",
            False,
        )


def incomplete_runs(connection: duckdb.DuckDBPyConnection) -> Iterator[Finding]:
    """Runs that lack a layer or their summary: an ingest is one transaction, so there should be none."""
    for sql, sentence in ((_LAYERS, "{} without estimates of all layers."), (_SUMMARIES, "{} without a summary.")):
        found = _column(connection, sql)
        if found:
            yield Finding(f"{sentence.format(some(found, 'run'))} {_REBUILD}")


def _column(connection: duckdb.DuckDBPyConnection, sql: str, params: list | None = None) -> list[str]:
    return [row[0] for row in connection.execute(sql, params).fetchall()]
