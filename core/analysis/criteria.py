"""Inputs of a choice among models: the candidates, their costs, and their value of each criterion.

A criterion is a number of each model with its 95 percent interval and the preferred direction. A computed amount
(parameters, memory) has no error; an error that is not stated is unknown, not zero. Missing values are never guessed.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import polars as pl

from core.analysis import ranking
from core.analysis.ranks import NORMAL_95
from core.errors import InputError, Sentence
from core.pilots.rule import DIRECTIONS, Assumptions, Criterion, TaskName

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


def costs(runs: pl.DataFrame, speeds: pl.DataFrame, assumed: Assumptions) -> dict[str, Cost]:
    """The cost of each run's model, by run id.

    `runs` have model_id, reference, name, kind, parameters, hidden_size and n_layers; `speeds` are rows of
    `queries.speeds`. The measured time includes capturing the states, so the speed is a lower bound.
    """
    measured = {row["run_id"]: row for row in speeds.iter_rows(named=True)}
    return {row["run_id"]: _cost(row, measured.get(row["run_id"]), assumed) for row in runs.iter_rows(named=True)}


def _cost(row: Mapping[str, Any], measured: Mapping[str, Any] | None, assumed: Assumptions) -> Cost:
    width = row.get("key_value_size")
    per_token = 2 * row["n_layers"] * (width or row["hidden_size"] * assumed.cache_share) * assumed.cache_bits / 8
    cache = 0.0 if row["kind"] == "encoder" else per_token * assumed.context_tokens * assumed.requests
    weights = row["parameters"] * assumed.bits / 8
    own = next(
        (assumed.speeds[row[key]] for key in ("reference", "model_id", "name") if row[key] in assumed.speeds), None
    )
    seconds = measured["forward_seconds"] if measured else None
    here = measured["n_tokens"] / seconds if measured and seconds else None
    speed = own or here
    hours = assumed.tokens_per_month / speed / 3600 / assumed.utilisation if speed else None
    return Cost(
        run_id=row["run_id"],
        weight_bytes=tuple(row["parameters"] * bits / 8 for bits in PRECISIONS),
        cache_bytes=cache,
        is_cache_known=bool(width) or row["kind"] == "encoder",
        memory_bytes=(weights + cache) * (1 + assumed.overhead),
        tokens_per_second=speed,
        speed_from="own" if own else "measured" if here else None,
        device=measured["device"] if measured and not own and here else None,
        hours=hours,
        price=None if hours is None or assumed.price_per_hour is None else hours * assumed.price_per_hour,
    )


# --- candidates ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Setting:
    """The models to choose among, with their scores and costs."""

    runs: pl.DataFrame
    """One run of each model: rows of `queries.ranking`."""
    scored: pl.DataFrame
    """`ranking.with_scores` of them, only the models' own scores: those of a base model belong to other weights."""
    cost: Mapping[str, Cost]
    comparable: bool
    """Whether their dimensions may be compared."""

    def narrowed(self, run_ids: Sequence[str]) -> Setting:
        kept = pl.col("run_id").is_in(list(run_ids))
        return replace(self, runs=self.runs.filter(kept), scored=self.scored.filter(kept))

    @property
    def offered(self) -> pl.DataFrame:
        """`ranking.benchmarks` of these models."""
        return ranking.list_benchmarks(self.scored)


def setting(
    runs: pl.DataFrame, scores: pl.DataFrame, speeds: pl.DataFrame, assumed: Assumptions, *, comparable: bool = True
) -> Setting:
    """`scores` are rows of `queries.scores`, `speeds` of `queries.speeds`."""
    scored = ranking.with_scores(runs, scores).filter(pl.col("score_match").is_in(ranking.OWN_MATCHES))
    return Setting(runs, scored, costs(runs, speeds, assumed), comparable)


def n_related(on: Setting, benchmark: Mapping[str, Any] | None) -> int | None:
    """Models with a dimension and a score of this benchmark; None where there is no benchmark."""
    if benchmark is None:
        return None
    rows = ranking.filter_benchmark(on.scored, dict(benchmark))
    return rows.filter(pl.col("score").is_not_null(), pl.col("inner_max").is_not_null())["model_id"].n_unique()


# --- criteria ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Question:
    """A criterion with its direction and benchmark settled for the models at hand."""

    criterion: Criterion
    higher_is_better: bool
    benchmark: Mapping[str, Any] | None = None
    """For a score: a row of `ranking.list_benchmarks`."""

    @property
    def key(self) -> str:
        """`parameters`, or `score~lambada_openai~acc~none~0~v2`: stable across data sets."""
        return self.criterion.of if self.benchmark is None else score_key(self.benchmark)


def score_key(benchmark: Mapping[str, Any]) -> str:
    """Key of the score in a row with the columns of SCORE_KEYS."""
    return f"score~{ranking.score_key(benchmark)}"


def questions(criteria: Sequence[Criterion], on: Setting, task: TaskName | None) -> list[Question]:
    """Settle the benchmark and the direction of each criterion for these models.

    A score criterion without a benchmark uses the task's; without a task, the benchmark that most models have.
    Raises InputError if no model has such a score.
    """
    offered = on.offered.to_dicts()
    return [
        question(one, on.scored, _benchmark(one.benchmark or task, offered) if one.of == "score" else None)
        for one in criteria
    ]


def question(criterion: Criterion, scored: pl.DataFrame, benchmark: Mapping[str, Any] | None) -> Question:
    """`benchmark`: a row of `ranking.list_benchmarks`, for a score. Without a stated direction higher is better."""
    if criterion.direction:
        return Question(criterion, criterion.direction == "higher", benchmark)
    if benchmark is None:
        return Question(criterion, DIRECTIONS[criterion.of] == "higher")
    said = ranking.filter_benchmark(scored, dict(benchmark))["higher_is_better"].drop_nulls()
    return Question(criterion, bool(said[0]) if len(said) else True, benchmark)


def _benchmark(named: TaskName | None, offered: Sequence[Mapping[str, Any]]) -> Mapping[str, Any]:
    found = next((row for row in offered if named is None or named.is_met_by(row)), None)
    if found is not None:
        return found
    if named is None:
        raise InputError(
            "The rule asks for a score, and none of these models has any. Import scores, or score the models."
        )
    there = sorted({row["benchmark"] for row in offered})[:8]
    asked = " ".join(str(part) for part in (named.name, named.metric, named.filter) if part)
    shots = "" if named.n_shot is None else Sentence(" with {n_shot} shots", n_shot=named.n_shot)
    raise InputError(
        "None of these models has a score of {asked}{shots}. There are scores of: {there}.",
        asked=asked,
        shots=shots,
        there=there,
    )


# --- values of each model ---------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Reading:
    """A value with its 95 percent interval; the limits are None if no error is known."""

    value: float
    lower: float | None
    upper: float | None


@dataclass(frozen=True)
class Candidate:
    run_id: str
    model_id: str
    name: str
    readings: tuple[Reading | None, ...]
    """One per criterion; None where the model lacks it."""


def candidates(on: Setting, asked: Sequence[Question]) -> list[Candidate]:
    """The models with their value of each criterion."""
    of_scores = {one.key: _scores(on.scored, one.benchmark) for one in asked if one.benchmark is not None}

    def reading(row: Mapping[str, Any], one: Question) -> Reading | None:
        of = one.criterion.of
        if of == "score":
            return of_scores[one.key].get(row["run_id"])
        if of in _COLUMNS:
            column = _COLUMNS[of]
            return _reading(row[column], row.get(f"{column}_lower"), row.get(f"{column}_upper"))
        own = on.cost[row["run_id"]]
        if of in ("speed", "price"):
            return _reading(own.tokens_per_second if of == "speed" else own.price, None, None)
        amount = float(row["parameters"]) if of == "parameters" else own.memory_bytes
        return _reading(amount, amount, amount)

    return [
        Candidate(row["run_id"], row["model_id"], row["name"], tuple(reading(row, one) for one in asked))
        for row in on.runs.iter_rows(named=True)
    ]


def _scores(scored: pl.DataFrame, benchmark: Mapping[str, Any]) -> dict[str, Reading | None]:
    rows = ranking.filter_benchmark(scored, dict(benchmark)).filter(pl.col("score").is_not_null())
    rows = rows.filter(pl.col("unit") == pl.col("unit").mode().sort().first())  # only one unit is comparable
    return {
        run_id: _reading(
            value,
            None if error is None else value - NORMAL_95 * error,
            None if error is None else value + NORMAL_95 * error,
        )
        for run_id, value, error in rows.select("run_id", "score", "score_std_error").rows()
    }


def _reading(value: float | None, lower: float | None, upper: float | None) -> Reading | None:
    if value is None or not math.isfinite(value):
        return None
    ends = (None if end is None or not math.isfinite(end) else end for end in (lower, upper))
    low, high = ends
    return Reading(value, low, high) if low is not None and high is not None else Reading(value, None, None)
