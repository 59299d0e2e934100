"""What the slides are made from: the frames that were read of the chosen runs, and all that follows from them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime

import polars as pl

from core.analysis.answer import Answer, RankedModel, answer
from core.analysis.asked import Asked, Evidence
from core.analysis.differences import controls_of
from core.analysis.many import Specifications
from core.analysis.population import population
from core.analysis.ranking import RankingGroup, across_tokenizers, groups, with_scores, without_other_pilots
from core.deck.story import Case
from core.errors import InputError
from core.pilots.pilot import Pilot
from core.pilots.registration import Registered
from core.records import LayerPlan
from core.wording.labels import run_labels, with_text_marks

CONTROL = "[\x00-\x1f\x7f-\x9f\ufffe\uffff]"
"""Characters that XML does not hold, and line breaks, which a name does not need."""


UNANSWERED = {"no_runs", "no_scores", "base_scores", "no_dimensions", "no_direction"}
"""Reasons for which a pilot has no answer yet."""


@dataclass(frozen=True)
class RunFrames:
    """The chosen runs with their control runs, and what the warehouse holds of them: frames of its named reads."""

    runs: pl.DataFrame
    estimates: pl.DataFrame
    correlators: pl.DataFrame
    checks: pl.DataFrame
    summaries: pl.DataFrame
    scores: pl.DataFrame
    """Of these models at least; those of other models are ignored."""
    claims: pl.DataFrame
    extrema: pl.DataFrame
    against_controls: pl.DataFrame
    plans: tuple[LayerPlan, ...] = ()
    """Layer plans of these models; those of others are ignored."""


@dataclass(frozen=True)
class DeckData:
    runs: pl.DataFrame
    """The chosen runs in the order of their names, the controls of a model behind its runs on text."""
    estimates: pl.DataFrame
    correlators: pl.DataFrame
    checks: pl.DataFrame
    claims: pl.DataFrame
    extrema: pl.DataFrame
    against_controls: pl.DataFrame
    """What each control says about its run on text: rows of run_controls."""
    scored: pl.DataFrame
    """`ranking.with_scores` of the runs."""
    groups: list[RankingGroup]
    """Of the runs on text, vetoed ones included: they were chosen, and are marked."""
    words: list[RankingGroup]
    """The same across tokenizers, on one point per word."""
    language: str
    made_on: date
    left_out: list[str]
    """Names of the chosen runs that have no verdict: their protocol measures no points of one per type."""
    pilot: Registered | None = None
    """The pilot that the runs are results of, if the deck is of one."""
    answer: Answer | None = None
    """What the pilot asked, answered over all of its models, be they in this deck or not."""
    specifications: Specifications | None = None
    """The answer under every specification, where that was looked at."""
    plans: tuple[LayerPlan, ...] = ()
    """Newest first."""
    plan: LayerPlan | None = None
    """The layer plan that the deck is of."""

    @property
    def case(self) -> Case:
        """A pilot is incomplete while models or scores are missing or a check vetoes one of its runs."""
        if self.plan is not None:
            return "plan"
        found = self.answer
        if found is None:
            n = self.texts["model_id"].n_unique()
            return "one_model" if n == 1 else "two_models" if n == 2 else "many_models"
        vetoed = any(one.is_vetoed for one in found.models) or found.population.vetoed.height
        if found.population.missing or vetoed or set(found.reasons) & UNANSWERED:
            return "incomplete"
        return found.word  # type: ignore[return-value]

    @property
    def answered(self) -> tuple[Pilot, Answer]:
        """The pilot and its answer, of a deck that is of one."""
        assert self.pilot is not None and self.answer is not None
        return self.pilot.pilot, self.answer

    @property
    def best_by_score(self) -> RankedModel | None:
        """The model whose rank by score can be the first; of several the one whose rank reaches least far."""
        models = self.answer.models if self.answer else ()
        known = [one for one in models if one.score_rank_low == 1 and not one.is_vetoed and one.score_rank_high]
        return min(known, key=lambda one: (one.score_rank_high or 0, one.name), default=None)

    @property
    def texts(self) -> pl.DataFrame:
        """The runs on unchanged text: what is compared, and what has a verdict."""
        return self.runs.filter(pl.col("pass") == "text")

    def controls_of(self, run: dict) -> pl.DataFrame:
        return controls_of(run, self.runs)

    @property
    def n_points(self) -> tuple[int, int]:
        """Smallest and largest cloud of all groups."""
        sizes = [size for group in self.groups for size in group.n_points if size]
        return (min(sizes), max(sizes)) if sizes else (0, 0)


def deck_data(
    frames: RunFrames,
    language: str,
    pilot: Registered | None = None,
    made_on: date | None = None,
    found: Answer | None = None,
    specifications: Specifications | None = None,
) -> DeckData:
    """Runs without a verdict are left out and named; InputError where no run on text is left.

    With a `pilot` whose results the runs are, the deck says what that decides, by which benchmark, and on every slide
    what its use class forbids; and it answers the pilot's question: as `found` does, else by the runs of this deck.
    """
    chosen = with_text_marks(writable(frames.runs)).sort("name", pl.col("pass") != "text", "run_id")
    ordered = with_verdict(chosen)
    if ordered.is_empty() and chosen.height:
        raise InputError(
            "A deck needs at least one run with a verdict; the chosen runs have none, because their protocols measure "
            "no points of one per type. Choose a run of the protocol quick, standard or thorough."
        )
    compared = groups(ordered, lifted=True)
    if not compared:
        raise InputError("A deck needs at least one run on unchanged text; none was chosen. Choose runs and try again.")
    scores = without_other_pilots(frames.scores, pilot.pilot if pilot else None)
    if pilot is not None and found is None:
        of_deck = Evidence(chosen.filter(pl.col("pass") == "text"), frames.scores, pilots=(pilot,))
        found = answer(population(of_deck, Asked(pilot=pilot)))
    return DeckData(
        runs=ordered,
        estimates=frames.estimates,
        correlators=frames.correlators,
        checks=writable(frames.checks),
        claims=frames.claims,
        extrema=frames.extrema,
        against_controls=frames.against_controls,
        scored=with_scores(ordered, writable(scores)),
        groups=compared,
        words=across_tokenizers(ordered, writable(frames.summaries), lifted=True),
        language=language,
        made_on=made_on or datetime.now(UTC).astimezone().date(),
        left_out=list(without_verdict(chosen, language).values()),
        pilot=pilot,
        answer=found if pilot else None,
        specifications=specifications,
        plans=frames.plans,
    )


def plan_data(plan: LayerPlan, language: str, made_on: date | None = None) -> DeckData:
    """Of a deck on one layer plan, which needs no measurement of its model."""
    nothing = pl.DataFrame(schema={"run_id": pl.String, "pass": pl.String})
    return DeckData(
        runs=nothing,
        estimates=nothing,
        correlators=nothing,
        checks=nothing,
        claims=nothing,
        extrema=nothing,
        against_controls=nothing,
        scored=nothing,
        groups=[],
        words=[],
        language=language,
        made_on=made_on or datetime.now(UTC).astimezone().date(),
        left_out=[],
        plans=(plan,),
        plan=plan,
    )


def with_verdict(runs: pl.DataFrame) -> pl.DataFrame:
    """The runs that a deck can show: those of literature protocols have no d2 of one per type, and no verdict."""
    return runs.filter(pl.col("n_points").is_not_null())


def without_verdict(runs: pl.DataFrame, language: str) -> dict[str, str]:
    """run_id -> label of the runs on text that a deck leaves out."""
    labels = run_labels(runs, language)
    left_out = runs.filter(pl.col("pass") == "text", pl.col("n_points").is_null())
    return {run_id: labels[run_id] for run_id in left_out["run_id"]}


def writable(frame: pl.DataFrame) -> pl.DataFrame:
    """The same rows with texts that can stand in a file of XML: without control characters."""
    texts = [column for column, kind in frame.schema.items() if kind == pl.String]
    lists = [column for column, kind in frame.schema.items() if kind == pl.List(pl.String)]
    return frame.with_columns(
        pl.col(texts).str.replace_all(CONTROL, ""), pl.col(lists).list.eval(pl.element().str.replace_all(CONTROL, ""))
    )
