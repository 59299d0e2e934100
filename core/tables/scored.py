"""What others say of models (scores, the files they came in, names), and what people write down: pilots, plans, selection
rules, queries."""

from dataclasses import dataclass
from datetime import datetime
from typing import Annotated

from core.tables.columns import Column

_UTC = "UTC."
PILOT_SOURCE = "pilot:"
"""Before a pilot's id, the source of the scores that a user states in it."""
SCORED_SOURCE = "scored here:"
"""Before version, number format and task, the source of the scores that Workdim has made on a user's own task."""
SCORED_FORMAT = "scored_here"
"""The format of what is stored of them, among the formats of imported files."""
SCORE_KEYS = ("benchmark", "metric", "filter", "n_shot", "suite")
"""What two scores must share to be compared: metrics and numbers of shots are never mixed."""


@dataclass(frozen=True)
class ScoreRow:
    repository: Annotated[
        str,
        Column(
            "Hub repository as the source names it, not checked; of a score that was stated or made here the reference."
        ),
    ]
    revision: Annotated[str | None, Column("Revision that was scored; NULL where the source does not say.")]
    benchmark: Annotated[str, Column("Name of the benchmark.")]
    metric: Annotated[str, Column("What is counted; 'not stated' where the source does not say.")]
    filter: Annotated[str, Column("How answers were read off; 'not stated' where the source does not say.")]
    n_shot: Annotated[int | None, Column("Worked examples in the prompt; NULL where the source does not say.")]
    suite: Annotated[str, Column("The set of settings that the score was made with.")]
    value: Annotated[float, Column("The score.")]
    std_error: Annotated[float | None, Column("Standard error as published.")]
    unit: Annotated[str, Column("percent (0 to 100), fraction, or the unit's own name.")]
    higher_is_better: Annotated[bool | None, Column("NULL where the metric does not tell.")]
    n_samples: Annotated[int | None, Column("Questions asked; NULL where the source does not say.")]
    is_partial: Annotated[bool, Column("TRUE where only part of the benchmark was run.")]
    is_group: Annotated[bool, Column("TRUE where the score is a mean over sub-benchmarks.")]
    source: Annotated[
        str,
        Column(
            "Where the score was published; pilot: and an id for a score that a user stated in that pilot; scored here: with "
            "version, number format and task for a score that was made here."
        ),
    ]
    licence: Annotated[str, Column("Licence of the source as stated there.")]
    as_of: Annotated[str | None, Column("Date of the source.")]
    flags: Annotated[str, Column("Cautions for this row, separated by semicolons.")]
    file_sha256: Annotated[str, Column("Hash of the imported file.")]
    dtype: Annotated[
        str | None, Column("Number type of the weights that were scored; NULL where the source does not say.")
    ] = None
    chat_template: Annotated[
        bool | None, Column("TRUE where the questions went through the model's chat template; NULL where not said.")
    ] = None
    task_version: Annotated[str | None, Column("Version of the benchmark's definition in the harness that ran it.")] = (
        None
    )
    source_row: Annotated[str | None, Column("The row's own id in the file, where one model has several.")] = None


@dataclass(frozen=True)
class ScoreFileRow:
    """One imported file. Taking it out again removes all rows with its hash."""

    file_sha256: Annotated[
        str,
        Column(
            "Hash of the file (scores.file_sha256); of model, task and settings where it was scored here.", key=True
        ),
    ]
    file_name: Annotated[str, Column("Its name when it was imported.")]
    format: Annotated[str, Column("Which reader understood it: lm_eval, leaderboard_v2_csv, csv, ...; or scored_here.")]
    n_taken: Annotated[int, Column("Scores that were stored.")]
    n_skipped: Annotated[int, Column("Rows that were not, each for a reason that the preview names.")]
    imported_at: Annotated[datetime, Column(_UTC)]


@dataclass(frozen=True)
class ScoreSampleRow:
    """One question of one benchmark as one model answered it; neither question nor answer is stored, only a hash."""

    file_sha256: Annotated[str, Column("Hash of the imported file (score_files.file_sha256).")]
    repository: Annotated[str, Column("As in scores.")]
    revision: Annotated[str | None, Column("As in scores.")]
    benchmark: Annotated[str, Column("As in scores.")]
    metric: Annotated[str, Column("As in scores.")]
    filter: Annotated[str, Column("As in scores.")]
    doc_hash: Annotated[str, Column("Hash of the question: equal where two models answered the same one.")]
    doc_id: Annotated[int | None, Column("Number of the question in the file.")]
    value: Annotated[float, Column("What the metric gives for this answer, 0 or 1 for most.")]


@dataclass(frozen=True)
class ModelAliasRow:
    """A name that score files use for a model, and the repository or reference that is meant."""

    alias: Annotated[str, Column("The name as scores.repository has it.", key=True)]
    reference: Annotated[
        str, Column("The hub repository (models.repository) or reference (models.reference) that is meant.")
    ]
    created_at: Annotated[datetime, Column(_UTC)]


@dataclass(frozen=True)
class PilotRow:
    pilot_id: Annotated[str, Column("Its name and a hash of what was decided before measuring.", key=True)]
    name: Annotated[str, Column("Name given by people.")]
    use_class: Annotated[str, Column("general, scarce_data or safety_critical.", values="use_class")]
    models: Annotated[list[str], Column("Model references to measure.")]
    corpora: Annotated[list[str], Column("Corpora to measure on.")]
    protocol: Annotated[str, Column("Name of the protocol.", values="protocol")]
    seed: Annotated[int, Column("Seed of all its runs.")]
    benchmark: Annotated[str | None, Column("The primary benchmark, named before measuring.")]
    metric: Annotated[str | None, Column("Its metric.")]
    config: Annotated[str, Column("JSON object: the pilot as it was requested.")]
    note: Annotated[str | None, Column("A remark by people.")]
    created_at: Annotated[datetime, Column(_UTC)]


@dataclass(frozen=True)
class PilotRunRow:
    pilot_id: Annotated[str, Column("The pilot (pilots.pilot_id).", key=True)]
    run_id: Annotated[str, Column("Its result (runs.run_id), measured for it or before.", key=True)]


@dataclass(frozen=True)
class PlanRow:
    plan_id: Annotated[str, Column("Id of the plan.", key=True)]
    run_id: Annotated[str, Column("The run that it rests on (runs.run_id).")]
    model_id: Annotated[str, Column("The model (models.model_id).")]
    kind: Annotated[str, Column("What the plan is for.")]
    blocks: Annotated[list[int], Column("The blocks concerned, 1 = the first.")]
    budget_nats: Annotated[float | None, Column("Loss per token that may be given up.", unit="nats per token")]
    predicted_nats: Annotated[
        float | None, Column("Loss per token that the plan is expected to cost.", unit="nats per token")
    ]
    config: Annotated[str, Column("JSON object: how the plan was made.")]
    note: Annotated[str | None, Column("A remark by people.")]
    created_at: Annotated[datetime, Column(_UTC)]


@dataclass(frozen=True)
class PlanOutcomeRow:
    plan_id: Annotated[str, Column("The plan (plans.plan_id).")]
    measure: Annotated[str, Column("What was measured.")]
    corpus_id: Annotated[str | None, Column("The text, if any (corpora.corpus_id).")]
    value_before: Annotated[float | None, Column("Before the plan.")]
    value_after: Annotated[float | None, Column("After the plan.")]
    std_error: Annotated[float | None, Column("Standard error of the difference.")]
    n_points: Annotated[int | None, Column("Sample size of the measure.")]
    created_at: Annotated[datetime, Column(_UTC)]


@dataclass(frozen=True)
class RuleRow:
    """How to choose between models, written down before choosing. A rule that is changed is another version."""

    rule_id: Annotated[str, Column("Its name and a hash of what it says.", key=True)]
    name: Annotated[str, Column("Name given by people.")]
    version: Annotated[int, Column("1 for the first rule of this name, one more for each that says something else.")]
    use_class: Annotated[str, Column("general, scarce_data or safety_critical.", values="use_class")]
    task: Annotated[str | None, Column("The benchmark that it was learned on; NULL where it was learned on none.")]
    metric: Annotated[str | None, Column("Its metric.")]
    config: Annotated[str, Column("JSON object: criteria, weights, thresholds, assumptions of cost.")]
    note: Annotated[str | None, Column("A remark by people.")]
    created_at: Annotated[datetime, Column(_UTC)]


@dataclass(frozen=True)
class RuleChoiceRow:
    """A rule as it was applied once: what it chose, why, among how many, and whether that proved right."""

    rule_id: Annotated[str, Column("The rule (rules.rule_id).", key=True)]
    choice_id: Annotated[str, Column("Id of the choice.", key=True)]
    task: Annotated[str | None, Column("The benchmark whose scores were looked at; NULL where none was.")]
    metric: Annotated[str | None, Column("Its metric.")]
    candidates: Annotated[list[str], Column("The runs it chose among (runs.run_id).")]
    n: Annotated[int, Column("Models that had all that the rule asks for.")]
    n_meeting: Annotated[int, Column("Those of them that meet its thresholds.")]
    run_id: Annotated[str | None, Column("The run of the model that it chose (runs.run_id); NULL where it chose none.")]
    model_id: Annotated[str | None, Column("That model (models.model_id).")]
    runner_up: Annotated[str | None, Column("The next model (models.model_id); NULL where there was no other.")]
    total: Annotated[float | None, Column("Weighted mean of the chosen model, 0 to 1.")]
    runner_up_total: Annotated[float | None, Column("The same of the next model.")]
    share_first: Annotated[
        float | None, Column("Share of draws from the intervals of all values in which it is chosen.")
    ]
    reasons: Annotated[list[str], Column("Why, in the order in which they count.")]
    evidence: Annotated[str, Column("JSON object: the values that it was chosen by, as they were then.")]
    chosen_at: Annotated[datetime, Column(_UTC)]
    outcome: Annotated[str | None, Column("right or wrong; NULL while nobody knows.", values="rule_outcome")] = None
    outcome_at: Annotated[datetime | None, Column("When that was written down, UTC.")] = None
    outcome_note: Annotated[str | None, Column("What it is known from.")] = None


@dataclass(frozen=True)
class SavedQueryRow:
    """A typed query that somebody wants to ask again."""

    name: Annotated[str, Column("Name given by people.", key=True)]
    sql: Annotated[str, Column("The statement.")]
    note: Annotated[str | None, Column("A remark by people.")]
    created_at: Annotated[datetime, Column(_UTC)]
