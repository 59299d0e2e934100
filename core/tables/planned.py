"""What people write down: pilots before measuring, layer plans and what came of them, saved queries."""

# No postponed annotations here: see core.tables.columns.
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated

from core.tables.columns import Column

_UTC = "UTC."


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
class SavedQueryRow:
    """A typed query that somebody wants to ask again."""

    name: Annotated[str, Column("Name given by people.", key=True)]
    sql: Annotated[str, Column("The statement.")]
    note: Annotated[str | None, Column("A remark by people.")]
    created_at: Annotated[datetime, Column(_UTC)]
