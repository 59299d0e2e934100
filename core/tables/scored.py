"""Rows of scores, their files and model names, and of what people write down: pilots, plans, selection rules, queries,
and recipes of stored reports.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Annotated

from core.registry.names import NOT_STATED
from core.tables.columns import Column

Utc = Annotated[datetime, "UTC."]
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
    repository: Annotated[str, "Hub repository as the source names it; of an own score the reference."]
    revision: Annotated[str | None, "Revision that was scored; NULL if not stated."] = None
    benchmark: Annotated[str, "Name of the benchmark."]
    metric: Annotated[str, "What is counted, or 'not stated'."]
    filter: Annotated[str, "How answers were read off, or 'not stated'."] = NOT_STATED
    n_shot: Annotated[int | None, "Worked examples in the prompt; NULL if not stated."] = None
    suite: Annotated[str, "The settings of the score."]
    value: Annotated[float, "The score."]
    std_error: Annotated[float | None, "Standard error as published."] = None
    unit: Annotated[str, "percent (0 to 100), fraction, or its own name."]
    higher_is_better: Annotated[bool | None, "NULL where the metric does not tell."] = None
    n_samples: Annotated[int | None, "Questions asked; NULL where the source does not say."] = None
    is_partial: Annotated[bool, "TRUE where only part of the benchmark was run."] = False
    is_group: Annotated[bool, "TRUE where the score is a mean over sub-benchmarks."] = False
    source: Annotated[
        str,
        "Where it was published; pilot: with an id, for a stated score; scored here: with version, "
        "number format and task.",
    ]
    licence: Annotated[str, "Licence of the source as stated there."] = NOT_STATED
    as_of: Annotated[str | None, "Date of the source."] = None
    flags: Annotated[str, "Cautions for this row, separated by semicolons."] = ""
    file_sha256: Annotated[str, "Hash of the imported file."]
    dtype: Annotated[str | None, "Number format of the weights; NULL if not stated."] = None
    chat_template: Annotated[bool | None, "TRUE with the model's chat template; NULL if not stated."] = None
    task_version: Annotated[str | None, "Version of the benchmark in its harness."] = None
    source_row: Annotated[str | None, "The row's id in the file, where a model has several."] = None


@dataclass(frozen=True)
class ScoreFileRow:
    """One imported file. Removing it deletes all rows with its hash."""

    file_sha256: Annotated[
        str, Column("Hash of the file (scores.file_sha256); here, of model, task and settings.", key=True)
    ]
    file_name: Annotated[str, "Its name when it was imported."]
    format: Annotated[str, "Format: lm_eval, leaderboard_v2_csv, csv, ...; or scored_here."]
    n_taken: Annotated[int, "Scores that were stored."]
    n_skipped: Annotated[int, "Rows left out, each for a reason in the preview."]
    imported_at: Utc


@dataclass(frozen=True)
class ScoreSampleRow:
    """One model's answer to one question of a benchmark. Neither question nor answer is stored, only a hash."""

    file_sha256: Annotated[str, "Hash of the imported file (score_files.file_sha256)."]
    repository: Annotated[str, "As in scores."]
    revision: Annotated[str | None, "As in scores."]
    benchmark: Annotated[str, "As in scores."]
    metric: Annotated[str, "As in scores."]
    filter: Annotated[str, "As in scores."]
    doc_hash: Annotated[str, "Hash of the question: equal for two models on one."]
    doc_id: Annotated[int | None, "Number of the question in the file."]
    value: Annotated[float, "The metric's value of this answer, mostly 0 or 1."]
    group_id: Annotated[str | None, "Questions of one group count as one in errors; NULL: each for itself."] = None


@dataclass(frozen=True)
class ModelAliasRow:
    """A name that score files use for a model, and the repository or reference that it means."""

    alias: Annotated[str, Column("The name as scores.repository has it.", key=True)]
    reference: Annotated[str, "The repository (models.repository) or reference (models.reference) meant."]
    created_at: Utc


@dataclass(frozen=True)
class PilotRow:
    pilot_id: Annotated[str, Column("Its name and a hash of what was decided.", key=True)]
    name: Annotated[str, "Name given by people."]
    use_class: Annotated[str, Column("general, scarce_data or safety_critical.", values="use_class")]
    models: Annotated[list[str], "Model references to measure."]
    corpora: Annotated[list[str], "Texts to measure on."]
    protocol: Annotated[str, Column("Name of the protocol.", values="protocol")]
    seed: Annotated[int, "Seed of all its runs."]
    benchmark: Annotated[str | None, "The primary benchmark, named before measuring."]
    metric: Annotated[str | None, "Its metric."]
    config: Annotated[str, "JSON object: the pilot as it was requested."]
    note: Annotated[str | None, "A remark by people."]
    created_at: Utc


@dataclass(frozen=True)
class PilotRunRow:
    pilot_id: Annotated[str, Column("The pilot (pilots.pilot_id).", key=True)]
    run_id: Annotated[str, Column("Its result (runs.run_id), measured for it or before.", key=True)]


_NATS = "nats per token"


@dataclass(frozen=True)
class PlanRow:
    """Which blocks of a model can be removed, and the price; blocks are counted from 0 everywhere."""

    plan_id: Annotated[str, Column("Time-ordered id of the plan.", key=True)]
    model_id: Annotated[str, "The planned model (models.model_id, if measured)."]
    reference: Annotated[str, "The model as it was asked for."]
    name: Annotated[str, "The model's name without its owner."]
    family: Annotated[str, "Model type of its configuration."]
    weights_sha256: Annotated[str, "Hash of the planned weights."]
    n_layers: Annotated[int, "Blocks of the model."]
    corpus_id: Annotated[str, "The text: one half chose, the other verified."]
    blocks: Annotated[list[int], "Blocks to remove, from 0: block i stands between layers i and i + 1."]
    rule: Annotated[str, Column("The rule that proposed them.", values="plan_rule")]
    is_verified: Annotated[bool, "TRUE where the loss is from held-out text."]
    is_recommended: Annotated[
        bool, "TRUE where the loss's upper limit is within the budget and most random sets lose more."
    ]
    reasons: Annotated[list[str], Column("Why it is not recommended, and cautions.", values="plan_reason")]
    budget: Annotated[float, "What may be given up, in budget_unit."]
    budget_unit: Annotated[str, "nats (of loss per token) or points (percent of the task's questions)."]
    loss_increase: Annotated[float, Column("Rise of the loss on text, repaired where is_healed.", unit=_NATS)]
    std_error: Annotated[float | None, Column("Its standard error over documents.", unit=_NATS)]
    lower: Annotated[float | None, Column("Lower end of the 95 percent interval.", unit=_NATS)]
    upper: Annotated[float | None, Column("Upper end.", unit=_NATS)]
    random_10th: Annotated[
        float | None, Column("Rise that one in ten random sets stays below, on part of the text.", unit=_NATS)
    ]
    same_windows: Annotated[float | None, Column("The plan's rise on that part of the text.", unit=_NATS)]
    sum_of_singles: Annotated[
        float | None, Column("Rises of its blocks alone, summed, on the choosing text.", unit=_NATS)
    ]
    is_healed: Annotated[bool, "TRUE where weights are repaired, without training."]
    healing: Annotated[str | None, "Why it was not repaired as asked, for example short_text."]
    parameters_before: Annotated[int, "Numbers in all weights."]
    parameters_after: Annotated[int, "Without the blocks."]
    kv_bytes_before: Annotated[float | None, Column("Cache of generation per token, at dtype.", unit="bytes")]
    kv_bytes_after: Annotated[float | None, Column("Without the blocks.", unit="bytes")]
    prompt_tokens: Annotated[int | None, "Tokens of the prompt that was timed."]
    prefill_seconds_before: Annotated[float | None, Column("Median time to read it.", unit="s")]
    prefill_seconds_after: Annotated[float | None, Column("Without the blocks.", unit="s")]
    new_tokens: Annotated[int | None, "Tokens that were generated after it."]
    generation_seconds_before: Annotated[float | None, Column("Median time to generate them.", unit="s")]
    generation_seconds_after: Annotated[float | None, Column("Without the blocks.", unit="s")]
    saved_as: Annotated[str | None, "Folder that the smaller model was saved in."]
    saved_model_id: Annotated[str | None, "What it is called when it is measured (models.model_id)."]
    mergekit: Annotated[str | None, "Why mergekit cannot make this model, as configuration; else NULL."]
    n_tokens: Annotated[int, "Tokens of a window."]
    n_selection: Annotated[int, "Windows that the blocks were chosen on."]
    n_verification: Annotated[int | None, "Windows of held-out text."]
    seed: Annotated[int, "Seed of windows, random sets and exchanges."]
    dtype: Annotated[str, "Number format that was measured in."]
    device: Annotated[str, "Where: cpu, cuda or mps."]
    config: Annotated[str, "JSON object: the plan as it was requested."]
    code_version: Annotated[str, "Version of Workdim."]
    note: Annotated[str | None, "A remark by people."]
    created_at: Utc


@dataclass(frozen=True)
class PlanOutcomeRow:
    """The price of one change: of the plan itself, another candidate, a single block, or a projection."""

    plan_id: Annotated[str, "The plan (plans.plan_id)."]
    rule: Annotated[str, Column("What proposed the change.", values="plan_rule")]
    unit: Annotated[str, "What is removed or projected: block, attention, mlp or layer."]
    blocks: Annotated[list[int], "Blocks concerned, counted from 0; of a projection, layers."]
    is_chosen: Annotated[bool, "TRUE for the set that the plan is."]
    is_equal: Annotated[bool | None, "TRUE where it may lose as little as the best candidate."]
    is_healed: Annotated[bool, "TRUE with corrected weights."]
    text: Annotated[str, Column("Which text or probe.", values="plan_text")]
    corpus_id: Annotated[str | None, "The text, if it is one (corpora.corpus_id)."]
    measure: Annotated[str, Column("What was measured.", values="plan_measure")]
    rank: Annotated[int | None, "Directions that a projection keeps."]
    value_before: Annotated[float | None, "Of the whole model."]
    value_after: Annotated[float | None, "With the change."]
    difference: Annotated[float | None, "After less before, paired by windows or questions."]
    std_error: Annotated[float | None, "Standard error of the difference, else of the value."]
    lower: Annotated[float | None, "Lower end of its 95 percent interval."]
    upper: Annotated[float | None, "Upper end."]
    n_points: Annotated[int | None, "Independent units: documents, blocks of windows, questions, or groups."]
    created_at: Utc


@dataclass(frozen=True)
class RuleRow:
    """How to choose between models, written down before choosing. A changed rule is another version."""

    rule_id: Annotated[str, Column("Its name and a hash of what it says.", key=True)]
    name: Annotated[str, "Name given by people."]
    version: Annotated[int, "1 for the first rule of this name, then one more each."]
    use_class: Annotated[str, Column("general, scarce_data or safety_critical.", values="use_class")]
    task: Annotated[str | None, "The benchmark it was learned on, if any."]
    metric: Annotated[str | None, "Its metric."]
    config: Annotated[str, "JSON object: criteria, weights, thresholds, assumptions of cost."]
    note: Annotated[str | None, "A remark by people."]
    created_at: Utc


@dataclass(frozen=True)
class RuleChoiceRow:
    """One application of a rule: what it chose, why, among how many, and whether that proved right."""

    rule_id: Annotated[str, Column("The rule (rules.rule_id).", key=True)]
    choice_id: Annotated[str, Column("Id of the choice.", key=True)]
    task: Annotated[str | None, "The benchmark looked at; NULL without."]
    metric: Annotated[str | None, "Its metric."]
    candidates: Annotated[list[str], "The runs it chose among (runs.run_id)."]
    n: Annotated[int, "Models that had all that the rule asks for."]
    n_meeting: Annotated[int, "Those of them that meet its thresholds."]
    run_id: Annotated[str | None, "The chosen model's run (runs.run_id); NULL without."]
    model_id: Annotated[str | None, "That model (models.model_id)."]
    runner_up: Annotated[str | None, "The next model (models.model_id); NULL without."]
    total: Annotated[float | None, "Weighted mean of the chosen model, 0 to 1."]
    runner_up_total: Annotated[float | None, "The same of the next model."]
    share_first: Annotated[float | None, "Share of draws from all intervals in which the first stays first."]
    reasons: Annotated[list[str], "Why, in the order in which they count."]
    evidence: Annotated[str, "JSON object: the values behind the choice, as of then."]
    chosen_at: Utc
    outcome: Annotated[str | None, Column("right or wrong; NULL while nobody knows.", values="rule_outcome")] = None
    outcome_at: Annotated[datetime | None, "When that was written down, UTC."] = None
    outcome_note: Annotated[str | None, "What it is known from."] = None


@dataclass(frozen=True)
class SavedQueryRow:
    """A typed query that someone saved to run again."""

    name: Annotated[str, Column("Name given by people.", key=True)]
    sql: Annotated[str, "The statement."]
    note: Annotated[str | None, "A remark by people."]
    created_at: Utc


@dataclass(frozen=True)
class RecipeRow:
    """How a report is made, so that it can be made again."""

    recipe_id: Annotated[str, Column("Its name and a hash of what it says.", key=True)]
    name: Annotated[str, "Name given by people."]
    pilot_id: Annotated[str | None, "The reported pilot (pilots.pilot_id); NULL for runs."]
    choice_id: Annotated[str | None, "The reported choice (rule_choices.choice_id); else NULL."]
    plan_id: Annotated[str | None, "The reported plan (plans.plan_id); else NULL."]
    run_ids: Annotated[list[str], "The runs on text that it tells of (runs.run_id)."]
    language: Annotated[str, Column("en or ja.", values="language")]
    appendix: Annotated[bool, "Whether an appendix follows its five slides."]
    template: Annotated[str | None, "File of the company template; NULL for Workdim's own."]
    template_sha256: Annotated[str | None, "Hash of that file."]
    code_version: Annotated[str, "Version of Workdim that made the numbers."]
    made_at: Annotated[datetime, "When the numbers were taken, UTC."]
    created_at: Utc


@dataclass(frozen=True)
class RecipeNumberRow:
    """One number of a report as it was made, and its place in the warehouse."""

    recipe_id: Annotated[str, Column("The recipe (recipes.recipe_id).", key=True)]
    number: Annotated[int, Column("Place of the number in the report, from 1.", key=True)]
    slide: Annotated[int, "Slide, from 1."]
    slide_key: Annotated[str, "What that slide is."]
    place: Annotated[str, "title, statement, table, key or chart."]
    text: Annotated[str, "The number as it is written there."]
    value: Annotated[float, "The number, unrounded, in its written unit."]
    source_table: Annotated[str | None, "Its table or answer; `stated` for a definition, NULL where unknown."]
    source_column: Annotated[str | None, "Its column, answer field or definition."]
    run_id: Annotated[str | None, "Its run; NULL where several."]
    source_key: Annotated[str | None, "JSON object: the key of its row."] = None
