"""The data of a deck: the frames read for the selected runs, and what is derived from them once."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field, replace
from datetime import date

import polars as pl

from core.analysis.criteria import Candidate
from core.analysis.ranking import (
    RankingGroup,
    across_tokenizers,
    groups,
    with_scores,
    with_text_marks,
    without_other_pilots,
)
from core.errors import InputError
from core.locale import spoken
from core.pilots.pilot import Pilot
from core.questions.choice import AskedRule, PilotChoice, ReportedRuns
from core.questions.ranking_answer import Answer, RankedModel
from core.questions.runs import Comparison, Selection, compare
from core.records import LayerPlan
from core.registry.protocols import CLAIMS
from core.sources import Source, sourced, stamped
from core.tables import PlanOutcomeRow, PlanRow, ids_of
from core.tables.sourced import row_of, rows_of
from core.wording.labels import run_labels

UNANSWERED_REASONS = {"no_runs", "no_scores", "base_scores", "no_dimensions", "no_direction"}
"""Reasons for which a pilot has no answer yet."""


def _nothing() -> pl.DataFrame:
    return pl.DataFrame(schema={"run_id": pl.String, "pass": pl.String})


@dataclass(frozen=True)
class DeckData:
    language: str
    made_on: date
    runs: pl.DataFrame = field(default_factory=_nothing)
    """The selected runs by name, the controls of a model after its runs on text."""
    estimates: pl.DataFrame = field(default_factory=_nothing)
    checks: pl.DataFrame = field(default_factory=_nothing)
    claims: pl.DataFrame = field(default_factory=_nothing)
    against_controls: pl.DataFrame = field(default_factory=_nothing)
    """Rows of run_controls: the outcome of each control for its run on text."""
    scored: pl.DataFrame = field(default_factory=_nothing)
    """`ranking.with_scores` of the runs."""
    groups: Sequence[RankingGroup] = ()
    """Comparable groups of the runs on text, vetoed ones included (they are marked)."""
    word_groups: Sequence[RankingGroup] = ()
    """The same across tokenizers, with one point per word."""
    left_out: Sequence[str] = ()
    """Names of the selected runs without a verdict: their protocol measures no points of one per type."""
    pilot: Pilot | None = None
    """The pilot that the runs belong to, or the one that ships with them."""
    pilot_id: str | None = None
    """Of one that is registered here."""
    decided_by: str | None = None
    decide_by: date | None = None
    """Whom the deck asks, and by when."""
    answer: Answer | None = None
    """The answer to the pilot's question, over all of its models, including those that are not in this deck."""
    comparison: Comparison | None = None
    """Of two runs on text, where there are no more: which reads the text better."""
    on_other_texts: tuple[Answer, ...] = ()
    """The answers to it on the other texts that its models have read."""
    choice: AskedRule | None = None
    """The choice by a rule that the deck is about, if any."""
    plan: LayerPlan | None = None
    """The layer plan that the deck is about, if any."""

    @property
    def case(self) -> str:
        """Which slides the data call for: the word of a pilot's answer; `incomplete` while models or scores are missing or a
        check vetoes one of its runs; `no_pilot`, `choice`, `plan`."""
        if self.plan is not None:
            return "plan"
        if self.choice is not None:
            return "choice"
        answer = self.answer
        if answer is None:
            return "no_pilot"
        vetoed = any(model.is_vetoed for model in answer.models) or answer.population.vetoed.height
        if answer.population.missing or vetoed or set(answer.reasons) & UNANSWERED_REASONS:
            return "incomplete"
        return answer.word

    @property
    def asked(self) -> Answer:
        """The answer; only where there is one."""
        assert self.answer is not None
        return self.answer

    @property
    def best_by_score(self) -> RankedModel | None:
        """The model with the best score of those whose rank by it can be 1: the first of `models_by_score` that counts."""
        return next((one for one in self.models_by_score if one.score_rank_low == 1 and not one.is_vetoed), None)

    @property
    def models_by_score(self) -> list[RankedModel]:
        """The models with a rank by score, the best score first."""
        turn = 1 if self.answer and self.answer.population.higher_is_better is False else -1
        scored = [one for one in self.answer.models if one.score_rank_low is not None] if self.answer else []
        return sorted(scored, key=lambda one: (turn * (one.score or 0.0), one.name))

    @property
    def text_runs(self) -> pl.DataFrame:
        """The runs on unchanged text: these are compared and have verdicts."""
        return self.runs.filter(pl.col("pass") == "text")

    def outcomes_of_controls(self, run_ids: Collection[str]) -> pl.Series:
        """What the controls that judge say of both claims of these runs; what shuffling the text changes is no such outcome."""
        judged = self.against_controls.filter(pl.col("power").is_not_null(), pl.col("claim").is_in(CLAIMS))
        return judged.filter(pl.col("run_id").is_in(list(run_ids)))["outcome"]

    @property
    def n_points(self) -> tuple[int, int]:
        """Smallest and largest point cloud of all groups."""
        sizes = [size for group in self.groups for size in group.n_points if size]
        return (min(sizes), max(sizes)) if sizes else (0, 0)


def deck_data(found: ReportedRuns, made_on: date | None = None) -> DeckData:
    """Derive the data of a deck; runs without a verdict are left out and named. Raises InputError where no run on text remains.

    With a pilot, the deck shows its decision, its benchmark, the answers to its question.
    """
    frames, pilot, answers, choice = found.measured, found.pilot, found.answers, found.choice
    runs = with_text_marks(frames.with_controls).sort("name", pl.col("pass") != "text", "run_id")
    ordered = runs_with_verdict(runs)
    if ordered.is_empty() and runs.height:
        raise InputError("A deck needs a run with a verdict: of quick, standard or thorough.")
    compared = groups(ordered, include_vetoed=True)
    if not compared:
        raise InputError("A deck needs a run on unchanged text; choose one.")
    asked = pilot.pilot if pilot else answers[0].registration.pilot if answers else None
    return DeckData(
        language=spoken(),
        made_on=made_on or date.today(),
        runs=ordered,
        estimates=frames.estimates,
        checks=frames.checks,
        claims=frames.claims,
        against_controls=frames.against_controls,
        scored=with_scores(ordered, without_other_pilots(frames.scores, asked)),
        groups=compared,
        word_groups=across_tokenizers(ordered, frames.summaries, include_vetoed=True),
        left_out=list(names_without_verdict(runs).values()),
        pilot=asked,
        comparison=stamped(_comparison(ordered, frames), "compare"),
        pilot_id=pilot.pilot.pilot_id if pilot else None,
        decided_by=asked.decided_by if asked else None,
        decide_by=asked.decide_by if asked else None,
        answer=stamped(answers[0], "answer") if answers else None,
        on_other_texts=tuple(stamped(answer, "answer") for answer in answers[1:]),
        choice=choice and AskedRule(stamped(choice.saved, "rules"), _read_choice(choice.answer)),
    )


_VALUES = {
    "score": ("scores", "value"),
    "bits_per_byte": ("run_summaries", "bits_per_byte"),
    "dimension": ("run_summaries", "inner_max"),
    "final_dimension": ("run_summaries", "final_dimension_pre_norm"),
    "parameters": ("models", "parameters"),
}
"""Criterion -> table and column of its values; the others are computed from several."""


def _read_choice(answer: PilotChoice) -> PilotChoice:
    """The choice, each value of a model with the row that holds it, every other number with its field."""
    if answer.choice is None:
        return answer
    criteria = answer.choice.decision.criteria

    def read(candidate: Candidate) -> Candidate:
        keys = {"models": (("model_id", candidate.model_id),)}
        values = []
        for one, value in zip(criteria, candidate.values, strict=True):
            if value is not None and (place := _VALUES.get(one.criterion.of)):
                key = keys.get(place[0], (("run_id", candidate.run_id),))
                if one.benchmark is not None:
                    key += tuple((name, one.benchmark[name]) for name in ("benchmark", "metric"))
                value = replace(value, value=sourced(value.value, Source(*place, key)))
            values.append(value)
        return replace(candidate, values=tuple(values))

    decision = answer.choice.decision
    read_decision = replace(decision, candidates=tuple(map(read, decision.candidates)))
    return replace(answer, choice=replace(answer.choice, decision=stamped(read_decision, "choice")))


def _comparison(runs: pl.DataFrame, frames: Selection) -> Comparison | None:
    """The two runs on one text held against each other; None of other numbers of runs, and where their losses do not compare."""
    texts = runs.filter(pl.col("pass") == "text")
    if texts.height != 2:
        return None
    comparison = compare(texts, frames.windows, frames.summaries)
    return comparison if comparison.differences else None


def _read_plan(plan: LayerPlan) -> LayerPlan:
    """The plan, each of its numbers with the row that holds it."""
    frames = plan.frames()
    return LayerPlan(row_of(frames["plans"], PlanRow), list(rows_of(frames["plan_outcomes"], PlanOutcomeRow)))


def plan_data(plan: LayerPlan, made_on: date | None = None) -> DeckData:
    """Data of a deck about one layer plan, which needs no measurement of its model."""
    return DeckData(spoken(), made_on or date.today(), plan=_read_plan(plan))


def runs_with_verdict(runs: pl.DataFrame) -> pl.DataFrame:
    """The runs that a deck can show: those of literature protocols have no d2 of one per type, so no verdict."""
    return runs.filter(pl.col("n_points").is_not_null())


def names_without_verdict(runs: pl.DataFrame) -> dict[str, str]:
    """run_id -> label of the runs on text that a deck leaves out because they have no verdict."""
    labels = run_labels(runs)
    left_out = runs.filter(pl.col("pass") == "text", pl.col("n_points").is_null())
    return {run_id: labels[run_id] for run_id in ids_of(left_out)}
