"""The tables of the warehouse. Each column is declared once, in the class of its table's rows.

`TABLES["runs"]` is a declared table: its row class, columns, types, keys, comments and DDL. To add a column, add a
field to the row class and fill it where rows are made; everything else follows from the declaration.
"""

from __future__ import annotations

from core.tables.columns import BoundColumn, Column, Table, columns, frame, ids_of, records, value_of
from core.tables.judged import RunCheckRow, RunClaimRow, RunControlRow, RunExtremumRow, RunSummaryRow
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
    RunRow,
    RunWindowRow,
    TokenResultRow,
)
from core.tables.run import Run, ScoredRun, Sibling
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
)

_DECLARED = (
    Table("models", ModelRow, "Measured models, one row per reference and revision.", is_indexed=True, section="model"),
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
        "Estimated dimensions: a row per run, layer, cloud, estimator and scale.",
        is_narrow=True,
        residue=INTERVAL,
    ),
    Table("layer_correlators", LayerCorrelatorRow, "Two-token correlations, layer by layer.", is_narrow=True),
    Table("layer_pairs", LayerPairRow, "Comparisons of two layers of one run.", is_narrow=True),
    Table(
        "layer_replicates",
        LayerReplicateRow,
        "Estimates on parts of the sample: for errors, ties and paired differences.",
        is_narrow=True,
    ),
    Table("layer_seeds", LayerSeedRow, "d2 of each draw of a control, layer by layer.", is_narrow=True),
    Table(
        "layer_distributions",
        LayerDistributionRow,
        "Histograms of a per-token quantity, layer by layer.",
        is_narrow=True,
    ),
    Table("run_checks", RunCheckRow, "Checks of a run's sample, with outcomes."),
    Table("run_claims", RunClaimRow, "Each claim about a run's profile under each specification."),
    Table("run_extrema", RunExtremumRow, "Peaks, valleys and ends of a run's profile of d2."),
    Table("run_controls", RunControlRow, "What each control says of its run's claims."),
    Table("run_summaries", RunSummaryRow, "The shape of a profile, one row per estimator and cloud."),
    Table("run_windows", RunWindowRow, "Loss and dimension of each window of a causal model's text.", is_narrow=True),
    Table("scores", ScoreRow, "Scores; only equal benchmark, metric, filter, n_shot and suite compare."),
    Table("score_files", ScoreFileRow, "Files that scores were imported from.", is_indexed=True),
    Table("score_samples", ScoreSampleRow, "Answers to single questions, without their text."),
    Table("model_aliases", ModelAliasRow, "Names in score files, and the models they mean.", is_indexed=True),
    Table("pilots", PilotRow, "Comparisons that were planned before measuring.", is_indexed=True),
    Table("pilot_runs", PilotRunRow, "Which runs are results of which pilots.", is_indexed=True),
    Table("plans", PlanRow, "Layer plans: which blocks can go, and the loss.", is_indexed=True),
    Table("plan_outcomes", PlanOutcomeRow, "Every loss behind a plan, rivals and controls included."),
    Table("rules", RuleRow, "Rules for choosing between models, each version one row.", is_indexed=True),
    Table("rule_choices", RuleChoiceRow, "What each rule chose, and whether it was right."),
    Table("recipes", RecipeRow, "Kept reports: what each is made of.", is_indexed=True),
    Table("recipe_numbers", RecipeNumberRow, "Every number of a kept report, with its source."),
    Table("saved_queries", SavedQueryRow, "Queries that people kept.", is_indexed=True),
)
TABLES: dict[str, Table] = {table.name: table for table in _DECLARED}
LONG_TABLES = tuple(name for name in TABLES if name.startswith(("layer_", "run_")))
"""Tables with many rows per run; each is a Parquet file in the run's parcel."""
