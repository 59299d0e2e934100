"""Everything that is stored about runs, one row each: the run, its model and its text, without what came out."""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl

from core.warehouse.warehouse import Warehouse

# IN, not list_contains: only IN lets DuckDB skip the row groups of other runs.
_RECORDS = """
    SELECT runs.*, models.* EXCLUDE (model_id), corpora.name AS corpus_name, corpora.language AS corpus_language,
        corpora.domain AS corpus_domain, corpora.licence AS corpus_licence, corpora.sha256 AS corpus_sha256,
        corpora.n_documents AS corpus_n_documents, corpora.n_characters AS corpus_n_characters,
        corpora.source AS corpus_source
    FROM runs JOIN models USING (model_id) JOIN corpora USING (corpus_id)
    WHERE runs.run_id IN ({marks}) ORDER BY list_position($ids, runs.run_id)
"""


def records(warehouse: Warehouse, run_ids: Sequence[str]) -> pl.DataFrame:
    """Every stored field of these runs, in the order given; columns of the text begin with `corpus_`."""
    marks = ", ".join(f"$id{number}" for number in range(len(run_ids))) or "NULL"
    named = {f"id{number}": run_id for number, run_id in enumerate(run_ids)}
    return warehouse.read(_RECORDS.format(marks=marks), {"ids": list(run_ids), **named})
