"""Inputs of a choice among models: the candidates, their costs, and their value of each criterion.

A criterion is a number of each model with its 95 percent interval and the preferred direction. A computed amount
(parameters, memory) has no error; an error that is not stated is unknown, not zero. Missing values are never guessed.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import polars as pl

from core.analysis import ranking
from core.analysis.differences import reaches_among
from core.analysis.intervals import NORMAL_95
from core.errors import InputError, Sentence
from core.pilots.saved import DIRECTIONS, Assumptions, Criterion, TaskName
from core.tables import Run, records

_COLUMNS = {"dimension": "inner_max", "final_dimension": "final_dimension_pre_norm", "bits_per_byte": "bits_per_byte"}
PRECISIONS = (32, 16, 8, 4)
"""Bits per weight that a cost is shown for."""
HOURS_OF_A_MONTH = 730


# --- costs -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Cost:
    """What running a model costs under stated assumptions; independent of its dimension."""

    run_id: str
    weight_bytes: tuple[float, ...]
    """At each of `PRECISIONS`."""
    cache_bytes: float
    """Keys and values of all requests at full context; 0 for an encoder."""
    is_cache_known: bool
    """Whether the width of keys and values is the model's own rather than assumed."""
    memory_bytes: float
    """Weights at the assumed precision, cache and overhead."""
    tokens_per_second: float | None
    speed_from: str | None
    """`own` (the user's figure) or `measured` (tokens of the run over the seconds of its forward passes)."""
    device: str | None
    """The device of the measured speed."""
    hours: float | None
    """Machine hours per month."""
    price: float | None
    """Price per month, in the assumed currency."""

    @property
    def machines(self) -> int | None:
        """Machines needed for the monthly hours."""
        return None if self.hours is None else max(1, math.ceil(self.hours / HOURS_OF_A_MONTH))


@dataclass(frozen=True)
class Speed:
    """How fast a run read its text: a row of `queries.speeds`."""

    run_id: str
    n_tokens: int
    forward_seconds: float | None
    device: str


def estimate_costs(runs: pl.DataFrame, speeds: pl.DataFrame, assumptions: Assumptions) -> dict[str, Cost]:
    """The cost of each run's model, by run id.

    `runs` have model_id, reference, name, kind, parameters, hidden_size and n_layers; `speeds` are rows of
    `queries.speeds`. The measured time includes capturing the states, so the speed is a lower bound.
    """
    measured = {speed.run_id: speed for speed in records(speeds, Speed)}
    return {row.run_id: _cost(row, measured.get(row.run_id), assumptions) for row in records(runs, Run)}


def _cost(row: Run, measured: Speed | None, assumptions: Assumptions) -> Cost:
    width = row.key_value_size
    per_token = 2 * row.n_layers * (width or row.hidden_size * assumptions.cache_share) * assumptions.cache_bits / 8
    cache = 0.0 if row.kind == "encoder" else per_token * assumptions.context_tokens * assumptions.requests
    weights = row.parameters * assumptions.bits / 8
    names = (row.reference, row.model_id, row.name)
    stated_speed = next((assumptions.speeds[name] for name in names if name in assumptions.speeds), None)
    seconds = measured.forward_seconds if measured and not stated_speed else None
    speed = measured.n_tokens / seconds if measured and seconds else stated_speed
    hours = assumptions.tokens_per_month / speed / 3600 / assumptions.utilisation if speed else None
    return Cost(
        run_id=row.run_id,
        weight_bytes=tuple(row.parameters * bits / 8 for bits in PRECISIONS),
        cache_bytes=cache,
        is_cache_known=bool(width) or row.kind == "encoder",
        memory_bytes=(weights + cache) * (1 + assumptions.overhead),
        tokens_per_second=speed,
        speed_from="own" if stated_speed else "measured" if seconds else None,
        device=measured.device if measured and seconds else None,
        hours=hours,
        price=None if hours is None or assumptions.price_per_hour is None else hours * assumptions.price_per_hour,
    )


# --- candidates ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class ChoiceContext:
    """The models to choose among, with their scores and costs."""

    runs: pl.DataFrame
    """One run of each model: rows of `queries.ranking`."""
    scored: pl.DataFrame
    """`ranking.with_scores` of them, only the models' own scores: those of a base model belong to other weights."""
    costs: Mapping[str, Cost]
    comparable: bool
    """Whether their dimensions may be compared."""

    def restrict_to(self, run_ids: Sequence[str]) -> ChoiceContext:
        is_chosen = pl.col("run_id").is_in(list(run_ids))
        costs = {run_id: self.costs[run_id] for run_id in run_ids if run_id in self.costs}
        return replace(self, runs=self.runs.filter(is_chosen), scored=self.scored.filter(is_chosen), costs=costs)

    def with_windows(self, windows: pl.DataFrame) -> ChoiceContext:
        """With the intervals that bits per byte have between these models; `windows` are their rows of run_windows."""
        reach = pl.col("run_id").replace_strict(reaches_among(windows), default=None, return_dtype=pl.Float64)
        loss = pl.col("bits_per_byte")
        return replace(
            self, runs=self.runs.with_columns(bits_per_byte_lower=loss - reach, bits_per_byte_upper=loss + reach)
        )

    @cached_property
    def benchmarks(self) -> pl.DataFrame:
        """`ranking.benchmarks` of these models."""
        return ranking.list_benchmarks(self.scored)

    def scores_of(self, benchmark: Mapping[str, Any]) -> pl.DataFrame:
        """The rows of `scored` of a benchmark, a row of `benchmarks`."""
        return self._by_benchmark.get(tuple(benchmark[key] for key in ranking.SCORE_KEYS), self.scored.clear())

    @cached_property
    def _by_benchmark(self) -> dict[tuple[Any, ...], pl.DataFrame]:
        # To filter for each of a hundred benchmarks takes most of the time of a page.
        return self.scored.partition_by(*ranking.SCORE_KEYS, as_dict=True, maintain_order=True)

    @cached_property
    def directions(self) -> dict[tuple[Any, ...], set[bool]]:
        """What the sources say of the better end of each benchmark, by its SCORE_KEYS: whether it is the higher one."""
        known = self.scored.drop_nulls("higher_is_better").group_by(*ranking.SCORE_KEYS).agg("higher_is_better")
        return {tuple(benchmark): set(is_higher) for *benchmark, is_higher in known.rows()}


def choice_context(
    runs: pl.DataFrame, scores: pl.DataFrame, speeds: pl.DataFrame, assumed: Assumptions, *, comparable: bool = True
) -> ChoiceContext:
    """`scores` are rows of `queries.scores`, `speeds` of `queries.speeds`."""
    scored = ranking.with_scores(runs, scores).filter(pl.col("score_match").is_in(ranking.OWN_MATCHES))
    return ChoiceContext(runs, scored, estimate_costs(runs, speeds, assumed), comparable)


def count_related_models(context: ChoiceContext, benchmark: Mapping[str, Any] | None) -> int | None:
    """Models with a dimension and a score of this benchmark; None where there is no benchmark."""
    if benchmark is None:
        return None
    rows = context.scores_of(benchmark).filter(pl.col("score").is_not_null())
    known = context.runs.filter(pl.col("inner_max").is_not_null())
    return rows.join(known, on="run_id", how="semi")["model_id"].n_unique()


# --- criteria ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class ResolvedCriterion:
    """A criterion with its direction and benchmark settled for the models at hand."""

    criterion: Criterion
    higher_is_better: bool
    benchmark: Mapping[str, Any] | None = None
    """For a score: a row of `ranking.list_benchmarks`."""
    is_direction_known: bool = True
    """False for a score of which no source, or sources in contradiction, say which end is the better one."""
    share: float = 0.0
    """In a decision: its share of all weights, 0 to 1."""
    muted_reason: str | None = None
    """Why it has no weight and no threshold there: of a dimension `use_class`, `not_comparable`, `no_score` or `few_models`,
    of a score `no_direction`."""

    @property
    def key(self) -> str:
        """`parameters`, or `score~lambada_openai~acc~none~0~v2`: stable across data sets."""
        return self.criterion.of if self.benchmark is None else score_key(self.benchmark)


def score_key(benchmark: Mapping[str, Any]) -> str:
    """Key of the score in a row with the columns of SCORE_KEYS."""
    return f"score~{ranking.score_key(benchmark)}"


def resolve_criteria(
    criteria: Sequence[Criterion], context: ChoiceContext, task: TaskName | None
) -> list[ResolvedCriterion]:
    """Settle the benchmark and the direction of each criterion for these models.

    A score criterion without a benchmark uses the task's; without a task, the benchmark that most models have.
    Raises InputError if no model has such a score.
    """
    benchmarks = context.benchmarks.to_dicts()
    named = [_find_benchmark(one.benchmark or task, benchmarks) if one.of == "score" else None for one in criteria]
    return [resolve_criterion(one, context, benchmark) for one, benchmark in zip(criteria, named, strict=True)]


def resolve_criterion(
    criterion: Criterion, context: ChoiceContext, benchmark: Mapping[str, Any] | None
) -> ResolvedCriterion:
    """`benchmark`: a row of `ranking.list_benchmarks`, for a score, whose direction is that of its sources."""
    if criterion.direction:
        return ResolvedCriterion(criterion, criterion.direction == "higher", benchmark)
    if benchmark is None:
        return ResolvedCriterion(criterion, DIRECTIONS[criterion.of] == "higher")
    directions = context.directions.get(tuple(benchmark[key] for key in ranking.SCORE_KEYS), set())
    return ResolvedCriterion(criterion, directions != {False}, benchmark, len(directions) == 1)


def _find_benchmark(task: TaskName | None, benchmarks: Sequence[Mapping[str, Any]]) -> Mapping[str, Any]:
    if benchmark := next((row for row in benchmarks if task is None or task.is_met_by(row)), None):
        return benchmark
    if task is None:
        raise InputError("The rule needs a score, and no model has one. Import scores, or score the models.")
    available = sorted({row["benchmark"] for row in benchmarks})[:8]
    wanted = " ".join(str(part) for part in (task.name, task.metric, task.filter) if part)
    shots = "" if task.n_shot is None else Sentence(" with {n_shot} shots", n_shot=task.n_shot)
    raise InputError(
        "None of these models has a score of {asked}{shots}. There are scores of: {there}.",
        asked=wanted,
        shots=shots,
        there=available,
    )


# --- values of each model ---------------------------------------------------------------------------------------


@dataclass(frozen=True)
class CriterionValue:
    """A value with its 95 percent interval; the limits are None if no error is known."""

    value: float
    lower: float | None
    upper: float | None


@dataclass(frozen=True)
class Candidate:
    run_id: str
    model_id: str
    name: str
    values: tuple[CriterionValue | None, ...]
    """One per criterion; None where the model lacks it."""


def build_candidates(context: ChoiceContext, criteria: Sequence[ResolvedCriterion]) -> list[Candidate]:
    """The models with their value of each criterion."""
    scores = {
        criterion.key: _score_values(context.scores_of(criterion.benchmark))
        for criterion in criteria
        if criterion.benchmark is not None
    }

    def reading(row: Run, criterion: ResolvedCriterion) -> CriterionValue | None:
        of = criterion.criterion.of
        if of == "score":
            return scores[criterion.key].get(row.run_id)
        if of in _COLUMNS:
            return _criterion_value(*(getattr(row, _COLUMNS[of] + end) for end in ("", "_lower", "_upper")))
        cost = context.costs[row.run_id]
        if of in ("speed", "price"):
            return _criterion_value(cost.tokens_per_second if of == "speed" else cost.price, None, None)
        amount = float(row.parameters) if of == "parameters" else cost.memory_bytes
        return _criterion_value(amount, amount, amount)

    return [
        Candidate(row.run_id, row.model_id, row.name, tuple(reading(row, criterion) for criterion in criteria))
        for row in records(context.runs, Run)
    ]


def _score_values(scores: pl.DataFrame) -> dict[str, CriterionValue | None]:
    """Of the unit that most of the rows have: only one is comparable."""
    known = scores.drop_nulls(["score", "unit"])
    of_unit = known.filter(pl.col("unit") == pl.col("unit").mode().min())
    found = {}
    for run_id, score, error in of_unit.select("run_id", "score", "score_std_error").rows():
        reach = math.nan if error is None else NORMAL_95 * error
        found[run_id] = _criterion_value(score, score - reach, score + reach)
    return found


def _criterion_value(value: float | None, lower: float | None, upper: float | None) -> CriterionValue | None:
    if value is None or not math.isfinite(value):
        return None
    if lower is None or upper is None or not math.isfinite(lower) or not math.isfinite(upper):
        return CriterionValue(value, None, None)
    return CriterionValue(value, lower, upper)
