"""Rows of scores, their files and model names, and of what people write down: pilots, plans, selection rules, queries,
and recipes of stored reports.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Annotated

from core.errors import N_ as _
from core.registry.names import NOT_STATED
from core.tables.columns import Column

PILOT_SOURCE = "pilot:"
"""Prefix of the source of scores that a user states in a pilot; the pilot's id follows."""
SCORED_SOURCE = "scored here:"
"""Prefix of the source of scores made by Workdim on a user's own task; version, number format and task follow."""
SCORED_FORMAT = "scored_here"
"""The format of these scores, among the formats of imported files."""
SCORE_KEYS = ("benchmark", "metric", "filter", "n_shot", "suite")
"""Columns that two scores must share to be compared: metrics and numbers of shots are never mixed."""


@dataclass(frozen=True, kw_only=True)
class ScoreRow:
    repository: Annotated[str, "As the source names it; of an own score the reference."]
    revision: Annotated[str | None, "NULL if not stated."] = None
    benchmark: str
    metric: Annotated[str, "Or 'not stated'."]
    filter: Annotated[str, "How answers are read off, or 'not stated'."] = NOT_STATED
    n_shot: Annotated[int | None, "NULL if not stated."] = None
    suite: str
    value: float
    std_error: float | None = None
    unit: Annotated[str, "percent (0 to 100), fraction, or its own name."]
    higher_is_better: Annotated[bool | None, "NULL if not stated."] = None
    n_samples: Annotated[int | None, "NULL if not stated."] = None
    is_partial: Annotated[bool, "Only part of the benchmark was run."] = False
    is_group: Annotated[bool, "Mean over sub-benchmarks."] = False
    source: Annotated[
        str, "Where published; pilot: with its id if stated; scored here: with version, number format, task."
    ]
    licence: str = NOT_STATED
    as_of: str | None = None
    flags: Annotated[str, "Cautions, separated by semicolons."] = ""
    file_sha256: str
    dtype: Annotated[str | None, "NULL if not stated."] = None
    chat_template: Annotated[bool | None, "NULL if not stated."] = None
    task_version: Annotated[str | None, "In its harness."] = None
    source_row: Annotated[str | None, "Its id in the file, where a model has several."] = None


@dataclass(frozen=True)
class ScoreFileRow:
    """One imported file. Removing it deletes all rows with its hash."""

    file_sha256: Annotated[str, Column("Of the file; of own scores, of model, task and settings.", key=True)]
    file_name: str
    format: Annotated[str, "lm_eval, leaderboard_v2_csv, csv, ..., scored_here."]
    n_taken: int
    n_skipped: int
    imported_at: datetime


@dataclass(frozen=True)
class ScoreSampleRow:
    """One model's answer to one question of a benchmark. Neither question nor answer is stored, only a hash."""

    file_sha256: str
    repository: str
    revision: str | None
    benchmark: str
    metric: str
    filter: str
    doc_hash: Annotated[str, "Equal for two models on one question."]
    doc_id: Annotated[int | None, "In the file."]
    value: Annotated[float, "Mostly 0 or 1."]
    group_id: Annotated[str | None, "A group counts as one in errors."] = None


@dataclass(frozen=True)
class ModelAliasRow:
    """A name that score files use for a model, and the repository or reference that it means."""

    alias: Annotated[str, Column("As in scores.repository.", key=True)]
    reference: Annotated[str, "As in models.repository or models.reference."]
    created_at: datetime


@dataclass(frozen=True)
class PilotRow:
    pilot_id: Annotated[str, Column("Name and hash.", key=True)]
    name: str
    use_class: Annotated[str, Column(values="use_class")]
    models: list[str]
    corpora: list[str]
    protocol: Annotated[str, Column(values="protocol")]
    seed: int
    benchmark: Annotated[str | None, "Named before measuring."]
    metric: str | None
    config: Annotated[str, "JSON object: as requested."]
    note: str | None
    created_at: datetime


@dataclass(frozen=True)
class PilotRunRow:
    pilot_id: Annotated[str, Column(key=True)]
    run_id: Annotated[str, Column("Measured for it, or before.", key=True)]


_NATS = "nats per token"


@dataclass(frozen=True)
class PlanRow:
    """Which blocks of a model can be removed, and the price; blocks are counted from 0 everywhere."""

    plan_id: Annotated[str, Column(key=True)]
    model_id: Annotated[str, "As in models, if measured."]
    reference: str
    name: str
    family: str
    weights_sha256: str
    n_layers: int
    corpus_id: Annotated[str, "One half chose, the other verified."]
    blocks: Annotated[list[int], "To remove: block i stands between layers i and i + 1."]
    rule: Annotated[str, Column(values="plan_rule")]
    is_verified: Annotated[bool, "On held-out text."]
    is_recommended: Annotated[bool, "The loss's upper limit is within the budget, and most random sets lose more."]
    reasons: Annotated[list[str], Column("Against it, and cautions.", values="plan_reason")]
    budget: Annotated[float, "What may be given up, in budget_unit."]
    budget_unit: Annotated[str, "nats per token, or points (percent of the task's questions)."]
    loss_increase: Annotated[float, Column("Repaired where is_healed.", unit=_NATS)]
    std_error: Annotated[float | None, Column("Over documents.", unit=_NATS)]
    lower: Annotated[float | None, Column("95 % interval.", unit=_NATS)]
    upper: Annotated[float | None, Column("95 % interval.", unit=_NATS)]
    random_10th: Annotated[float | None, Column("One in ten random sets stays below, on part of the text.", unit=_NATS)]
    same_windows: Annotated[float | None, Column("The plan's rise on that part of the text.", unit=_NATS)]
    sum_of_singles: Annotated[float | None, Column("Rises of its blocks alone, summed.", unit=_NATS)]
    is_healed: Annotated[bool, "Repaired without training."]
    healing: Annotated[str | None, "Why not repaired, as short_text."]
    parameters_before: int
    parameters_after: int
    kv_bytes_before: Annotated[float | None, Column("Per token, at dtype.", unit="bytes")]
    kv_bytes_after: Annotated[float | None, Column(unit="bytes")]
    prompt_tokens: int | None
    prefill_seconds_before: Annotated[float | None, Column("Median.", unit="s")]
    prefill_seconds_after: Annotated[float | None, Column(unit="s")]
    new_tokens: int | None
    generation_seconds_before: Annotated[float | None, Column("Median.", unit="s")]
    generation_seconds_after: Annotated[float | None, Column(unit="s")]
    saved_as: str | None
    saved_model_id: Annotated[str | None, "As in models, when measured."]
    mergekit: Annotated[str | None, "Why mergekit cannot make it, as configuration."]
    n_tokens: int
    n_selection: Annotated[int, "Windows that the blocks were chosen on."]
    n_verification: Annotated[int | None, "Windows of held-out text."]
    seed: int
    dtype: str
    device: str
    config: Annotated[str, "JSON object: as requested."]
    code_version: str
    note: str | None
    created_at: datetime


@dataclass(frozen=True)
class PlanOutcomeRow:
    """The price of one change: of the plan itself, another candidate, a single block, or a projection."""

    plan_id: str
    rule: Annotated[str, Column(values="plan_rule")]
    unit: Annotated[str, "block, attention, mlp or layer."]
    blocks: Annotated[list[int], "From 0; of a projection, layers."]
    is_chosen: Annotated[bool, "The plan's set."]
    is_equal: Annotated[bool | None, "It may lose as little as the best."]
    is_healed: Annotated[bool, "Repaired without training."]
    text: Annotated[str, Column(values="plan_text")]
    corpus_id: str | None
    measure: Annotated[str, Column(values="plan_measure")]
    rank: Annotated[int | None, "Of a projection."]
    value_before: Annotated[float | None, "Of the whole model."]
    value_after: Annotated[float | None, "With the change."]
    difference: Annotated[float | None, "After less before, paired by windows or questions."]
    std_error: Annotated[float | None, "Of the difference, else of the value."]
    lower: Annotated[float | None, "95 % interval."]
    upper: Annotated[float | None, "95 % interval."]
    n_points: Annotated[int | None, "Documents, blocks of windows, questions or groups."]
    created_at: datetime


@dataclass(frozen=True)
class RuleRow:
    """How to choose between models, written down before choosing. A changed rule is another version."""

    rule_id: Annotated[str, Column("Name and hash.", key=True)]
    name: str
    version: int
    use_class: Annotated[str, Column(values="use_class")]
    task: Annotated[str | None, "Benchmark it was learned on."]
    metric: str | None
    config: Annotated[str, "JSON: criteria, weights, thresholds, assumptions of cost."]
    note: str | None
    created_at: datetime


@dataclass(frozen=True)
class RuleChoiceRow:
    """One application of a rule: what it chose, why, among how many, and whether that proved right."""

    rule_id: Annotated[str, Column(key=True)]
    choice_id: Annotated[str, Column(key=True)]
    task: str | None
    metric: str | None
    candidates: Annotated[list[str], "Runs."]
    n: Annotated[int, "Models with all that the rule asks for."]
    n_meeting: Annotated[int, "Those of them that meet its thresholds."]
    run_id: Annotated[str | None, "Of the chosen model."]
    model_id: Annotated[str | None, "The chosen model."]
    runner_up: str | None
    total: Annotated[float | None, "Weighted mean of the chosen model."]
    runner_up_total: float | None
    share_first: Annotated[float | None, "Share of draws in which the first stays first."]
    reasons: list[str]
    evidence: Annotated[str, "JSON: the values at that time."]
    chosen_at: datetime
    outcome: Annotated[str | None, Column("NULL while unknown.", values="rule_outcome")] = None
    outcome_at: datetime | None = None
    outcome_note: Annotated[str | None, "What it is known from."] = None


@dataclass(frozen=True)
class SavedQueryRow:
    """A typed query that someone saved to run again."""

    name: Annotated[str, Column(key=True)]
    sql: str
    note: str | None
    created_at: datetime


@dataclass(frozen=True)
class RecipeRow:
    """How a report is made, so that it can be made again."""

    recipe_id: Annotated[str, Column("Name and hash.", key=True)]
    name: str
    pilot_id: str | None
    choice_id: str | None
    plan_id: str | None
    run_ids: list[str]
    language: Annotated[str, Column(values="language")]
    appendix: bool
    decided_by: str | None
    decide_by: Annotated[str | None, "A day."]
    template: Annotated[str | None, "NULL for Workdim's own."]
    template_sha256: str | None
    code_version: str
    made_at: datetime
    created_at: datetime


@dataclass(frozen=True)
class RecipeNumberRow:
    """One number of a report as it was made, and its place in the warehouse."""

    recipe_id: Annotated[str, Column(key=True)]
    number: Annotated[int, Column(key=True)]
    slide: int
    slide_key: str
    place: Annotated[str, "title, statement, table, key or chart."]
    text: Annotated[str, "As written there."]
    value: Annotated[float, "Unrounded, in the written unit."]
    source_table: Annotated[str | None, "`stated`: a definition; NULL: unknown."]
    source_column: str | None
    run_id: Annotated[str | None, "NULL where several."]
    source_key: Annotated[str | None, "JSON: the key of its row."] = None


@dataclass(frozen=True)
class VersionRow:
    """What a DuckDB file was built as."""

    version: Annotated[int, _("Version of the schema.")]
    fingerprint: Annotated[str, _("Hash of the tables and shipped scores.")]
    made_at: Annotated[datetime, _("When the file was built, UTC.")]
