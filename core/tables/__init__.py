"""What the warehouse stores: one frozen record per row, one class per table.

Field names are column names, in order, and TABLES lists the classes. A trailing underscore (`pass_`) only avoids a
Python keyword; the column has none. The parcel writer, the ingest and the migrations are held to these classes by a
test.
"""

from __future__ import annotations

from dataclasses import fields

from core.tables.measured import (
    CorpusRow,
    LayerCorrelatorRow,
    LayerDistributionRow,
    LayerEstimateRow,
    LayerPairRow,
    LayerReplicateRow,
    ModelRow,
    RunCheckRow,
    RunRow,
    RunSummaryRow,
    TokenResultRow,
)
from core.tables.scored import (
    NOT_STATED,
    SCORE_KEYS,
    ModelAliasRow,
    SavedQueryRow,
    ScoreFileRow,
    ScoreRow,
    ScoreSampleRow,
)

__all__ = [
    "NOT_STATED",
    "SCORE_KEYS",
    "TABLES",
    "CorpusRow",
    "LayerCorrelatorRow",
    "LayerDistributionRow",
    "LayerEstimateRow",
    "LayerPairRow",
    "LayerReplicateRow",
    "ModelAliasRow",
    "ModelRow",
    "RunCheckRow",
    "RunRow",
    "RunSummaryRow",
    "SavedQueryRow",
    "ScoreFileRow",
    "ScoreRow",
    "ScoreSampleRow",
    "TokenResultRow",
    "columns",
]

TABLES: dict[str, type] = {
    "models": ModelRow,
    "corpora": CorpusRow,
    "runs": RunRow,
    "layer_estimates": LayerEstimateRow,
    "layer_correlators": LayerCorrelatorRow,
    "layer_pairs": LayerPairRow,
    "layer_replicates": LayerReplicateRow,
    "layer_distributions": LayerDistributionRow,
    "run_checks": RunCheckRow,
    "run_summaries": RunSummaryRow,
    "scores": ScoreRow,
    "score_files": ScoreFileRow,
    "score_samples": ScoreSampleRow,
    "model_aliases": ModelAliasRow,
    "saved_queries": SavedQueryRow,
}


def columns(row_class: type) -> list[str]:
    """Column names of a table, in order."""
    return [f.name.rstrip("_") for f in fields(row_class)]
