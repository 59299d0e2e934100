"""The tables of the warehouse. Each column is declared once, in the class of its table's rows.

`TABLES["runs"]` is a declared table: its row class, columns, types, keys, comments and DDL. To add a column, add a
field to the row class and fill it where rows are made; everything else follows from the declaration.
"""

from __future__ import annotations

from core.errors import Sentence
from core.tables.columns import BoundColumn, Column, Table, columns, frame, ids_of, records, value_of
from core.tables.measured import (
    INTERVAL,
    CorpusRow,
    LayerCorrelatorRow,
    LayerDistributionRow,
    LayerEstimateRow,
    LayerPairRow,
    LayerReplicateRow,
    LayerSeedRow,
    ModelRow,
    Run,
    RunCheckRow,
    RunClaimRow,
    RunControlRow,
    RunExtremumRow,
    RunRow,
    RunSummaryRow,
    RunWindowRow,
    ScoredRun,
    Sibling,
    TokenResultRow,
)
from core.tables.scored import (
    PILOT_SOURCE,
    SCORE_KEYS,
    SCORED_FORMAT,
    SCORED_SOURCE,
    ModelAliasRow,
    PilotRow,
    PilotRunRow,
    PlanOutcomeRow,
    PlanRow,
    RecipeNumberRow,
    RecipeRow,
    RuleChoiceRow,
    RuleRow,
    SavedQueryRow,
    ScoreFileRow,
    ScoreRow,
    ScoreSampleRow,
    VersionRow,
)

_DECLARED = (
    Table("models", ModelRow, "Measured models, by reference and revision.", is_indexed=True, section="model"),
    Table(
        "corpora",
        CorpusRow,
        "Measured texts, without their contents.",
        is_indexed=True,
        section="text",
        prefix="corpus_",
    ),
    Table("runs", RunRow, "Measurements: one model, one text, one protocol.", is_indexed=True, section="run"),
    Table(
        "layer_estimates",
        LayerEstimateRow,
        "Dimensions: a row per layer, cloud, estimator and scale.",
        is_narrow=True,
        residue=INTERVAL,
    ),
    Table("layer_correlators", LayerCorrelatorRow, "Two-token correlations, layer by layer.", is_narrow=True),
    Table("layer_pairs", LayerPairRow, "Comparisons of two layers of one run.", is_narrow=True),
    Table("layer_replicates", LayerReplicateRow, "Estimates on parts of the sample, for errors.", is_narrow=True),
    Table("layer_seeds", LayerSeedRow, "d2 of each draw of a control.", is_narrow=True),
    Table("layer_distributions", LayerDistributionRow, "Histograms over tokens, layer by layer.", is_narrow=True),
    Table("run_checks", RunCheckRow, "Checks of a run's sample, with outcomes."),
    Table("run_claims", RunClaimRow, "Each claim under each specification."),
    Table("run_extrema", RunExtremumRow, "Peaks, valleys and ends of d2."),
    Table("run_controls", RunControlRow, "What each control says of claims."),
    Table("run_summaries", RunSummaryRow, "A profile's shape, by estimator and cloud."),
    Table("run_windows", RunWindowRow, "Loss and dimension of each window.", is_narrow=True),
    Table("scores", ScoreRow, "Scores; only equal benchmark, metric, filter, n_shot and suite compare."),
    Table("score_files", ScoreFileRow, "Imported score files.", is_indexed=True),
    Table("score_samples", ScoreSampleRow, "Answers to single questions, without their text."),
    Table("model_aliases", ModelAliasRow, "What names in score files mean.", is_indexed=True),
    Table("pilots", PilotRow, "Comparisons planned before measuring.", is_indexed=True),
    Table("pilot_runs", PilotRunRow, "Results of each pilot.", is_indexed=True),
    Table("plans", PlanRow, "Layer plans: blocks that can go, and loss.", is_indexed=True),
    Table("plan_outcomes", PlanOutcomeRow, "Every loss behind a plan, rivals and controls included."),
    Table("rules", RuleRow, "Rules for choosing a model, by version.", is_indexed=True),
    Table("rule_choices", RuleChoiceRow, "Choices by rules, and whether right."),
    Table("recipes", RecipeRow, "What kept reports are made of.", is_indexed=True),
    Table("recipe_numbers", RecipeNumberRow, "Numbers of kept reports, with sources."),
    Table("saved_queries", SavedQueryRow, "Kept queries.", is_indexed=True),
)
VERSIONS = Table("schema_version", VersionRow, Sentence("Version of this file's schema."))
TABLES: dict[str, Table] = {table.name: table for table in _DECLARED}
LONG_TABLES = tuple(name for name in TABLES if name.startswith(("layer_", "run_")))
"""Tables with many rows per run; each is a Parquet file in the run's parcel."""
