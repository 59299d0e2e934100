"""Multi-criteria choice of a model: the choice by weighted mean, its sensitivity to the weights, and the Pareto front.

A score without a stated error has an unbounded interval, so it never makes a model surely dominated. A candidate without
a value that counts is excluded, with the reason.

The dimension is a criterion with reservations (`muted_reason`): with fewer than 10 scored models its relation to the
score cannot be tested, so it gets no weight and no threshold. It never enters a cost or a saving.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Literal

import numpy as np

from core.analysis.criteria import (
    Candidate,
    ChoiceContext,
    CriterionValue,
    ResolvedCriterion,
    build_candidates,
    count_related_models,
)
from core.analysis.intervals import NORMAL_95, share_limits
from core.analysis.units import FEWEST_TEST
from core.errors import InputError, Sentence, sentences
from core.pilots.pilot import CAUTIOUS_USE_CLASSES
from core.pilots.saved import DIMENSIONS, Rule
from core.tables import RuleChoiceRow

AMOUNTS = ("parameters", "memory", "speed", "price")
"""Quantities compared on a log scale: they differ by orders of magnitude."""
_DRAWS = 2000
_MAX_DRAWN_VALUES = 4_000_000
"""Limit on drawn values in memory: with very many models fewer draws are made."""
_STABLE = 0.95
SURE, LEADING = 0.8, 0.5
"""Shares of the draws from which on the first model is the choice, and leads."""
Standing = Literal["choice", "leads", "cannot_tell", "no_choice"]


@dataclass(frozen=True)
class ExcludedCandidate:
    candidate: Candidate
    reason: str
    """`lacks` (a value) or `misses` (a threshold)."""
    criterion: int


@dataclass(frozen=True)
class ParetoStatus:
    """Pareto status of a model over the criteria with a weight."""

    status: str
    """`front`: no other model can be as good in everything. `dominated`: another is, for all values within the intervals.
    `perhaps`: neither is certain."""
    is_on_front: bool
    """By the point values alone."""
    dominated_by: tuple[str, ...]
    """Run ids of the models that dominate it, surely or perhaps."""


@dataclass(frozen=True)
class Segment:
    """A range of one weight's share within which one model is chosen; the other weights keep their proportions."""

    start: float
    end: float
    run_id: str


@dataclass(frozen=True)
class Sensitivity:
    criterion: int
    share: float
    """The current share of the weight."""
    segments: tuple[Segment, ...]
    current: int
    """Index of the segment that contains the current share."""


@dataclass(frozen=True)
class WeightChange:
    """The change of one criterion's share at which another model is chosen."""

    criterion: int
    share: float
    new_share: float
    run_id: str


@dataclass(frozen=True)
class Decision:
    criteria: tuple[ResolvedCriterion, ...]
    """With their shares of the weights, and why they are muted."""
    candidates: tuple[Candidate, ...]
    """The candidates with all values that count and within the thresholds, the best weighted mean first."""
    excluded: tuple[ExcludedCandidate, ...]
    utilities: tuple[tuple[float | None, ...], ...]
    """By candidate and criterion: 0 the worst, 1 the best; amounts on a log scale. None for a missing value that does not
    count."""
    totals: tuple[float, ...]
    """Weighted means of the utilities."""
    shares_first: tuple[float, ...]
    """By candidate: share of the draws in which it is first; empty where no value has an error."""
    pareto: tuple[ParetoStatus, ...]
    sensitivities: tuple[Sensitivity, ...]
    reasons: tuple[str, ...]

    @property
    def share_first(self) -> float | None:
        """Share of the draws in which the first stays first; None where no value has an error."""
        return self.shares_first[0] if self.shares_first else None

    @property
    def standing(self) -> Standing:
        """What may be said of the first model. Whoever is left over because others lack a value is no choice."""
        if not self.candidates or self.n == 1:
            return "no_choice"
        share = 1.0 if self.share_first is None else round(self.share_first, 2)  # as it is told, in whole percent
        if "tie" in self.reasons or share < LEADING:
            return "cannot_tell"
        is_sure = share >= SURE and not {"errors_unknown", "threshold_within_error"} & set(self.reasons)
        return "choice" if is_sure else "leads"

    @property
    def chosen(self) -> Candidate | None:
        """The first model, where it is the choice or leads."""
        return self.candidates[0] if self.standing in ("choice", "leads") else None

    @property
    def decisive(self) -> ResolvedCriterion:
        """The criterion that most of the first model's lead over the second rests on; of one model alone, the weightiest."""
        first, *others = self.utilities
        second = others[0] if others else (0.0,) * len(self.criteria)
        leads = [one.share * ((a or 0.0) - (b or 0.0)) for one, a, b in zip(self.criteria, first, second, strict=True)]
        return self.criteria[leads.index(max(leads))]

    @property
    def nearest_change(self) -> WeightChange | None:
        """The smallest change of one weight that changes the choice."""
        changes = [
            WeightChange(one.criterion, one.share, segment.end if at < one.current else segment.start, segment.run_id)
            for one in self.sensitivities
            for at, segment in enumerate(one.segments)
            if abs(at - one.current) == 1
        ]
        # With two criteria one share rises as the other falls: report the one that rises.
        return min(
            changes,
            key=lambda change: (round(abs(change.new_share - change.share), 9), change.new_share < change.share),
            default=None,
        )

    @property
    def n(self) -> int:
        """Models with all values that count."""
        return len(self.candidates) + sum(candidate.reason == "misses" for candidate in self.excluded)


# --- choosing ---------------------------------------------------------------------------------------------------


def decide_in_context(
    context: ChoiceContext, criteria: Sequence[ResolvedCriterion], task: Mapping[str, Any] | None, use_class: str
) -> Decision:
    """The decision among the models of a context; `task` is the benchmark that the dimension must be related to."""
    return decide(
        build_candidates(context, criteria),
        criteria,
        count_related_models(context, task),
        use_class,
        comparable=context.comparable,
    )


def decide(
    candidates: Sequence[Candidate],
    criteria: Sequence[ResolvedCriterion],
    n_related: int | None,
    use_class: str = "general",
    *,
    comparable: bool = True,
) -> Decision:
    """Choose one of the candidates by the weighted mean of their utilities.

    `n_related`: models with a dimension and the score of the task (None: no task); `comparable`: whether their dimensions
    may be compared. Raises InputError if no criterion has a weight.
    """
    weighted = _weigh_criteria(criteria, n_related, use_class, comparable)
    eligible, excluded = [], []
    for candidate in candidates:
        readings = list(zip(candidate.values, weighted, strict=True))
        lacked = [k for k, (reading, one) in enumerate(readings) if reading is None and _counts(one)]
        limits = [(reading, *_thresholds(one)) for reading, one in readings]
        missed = [k for k, (reading, low, high) in enumerate(limits) if reading and not low <= reading.value <= high]
        if lacked or missed:
            excluded.append(ExcludedCandidate(candidate, "lacks" if lacked else "misses", (lacked or missed)[0]))
        else:
            eligible.append(candidate)
    shares = np.array([criterion.share for criterion in weighted])
    utilities, errors = _utilities(eligible, criteria)
    totals = np.nansum(utilities * shares, axis=1)
    order = sorted(
        range(len(eligible)), key=lambda i: (-round(float(totals[i]), 9), eligible[i].name, eligible[i].run_id)
    )
    eligible, utilities, errors, totals = [eligible[i] for i in order], utilities[order], errors[order], totals[order]
    decision = Decision(
        criteria=tuple(weighted),
        candidates=tuple(eligible),
        excluded=tuple(excluded),
        utilities=tuple(tuple(None if math.isnan(u) else float(u) for u in row) for row in utilities),
        totals=tuple(map(float, totals)),
        shares_first=_shares_first(utilities[:, shares > 0], errors[:, shares > 0], shares[shares > 0]),
        pareto=tuple(pareto_statuses(eligible, weighted)),
        sensitivities=tuple(_sensitivities(eligible, weighted, utilities, shares)),
        reasons=(),
    )
    return replace(decision, reasons=tuple(_reasons(decision)))


def _weigh_criteria(
    criteria: Sequence[ResolvedCriterion], n_related: int | None, use_class: str, comparable: bool
) -> list[ResolvedCriterion]:
    muted_reasons = [muted_reason(criterion, n_related, use_class, comparable) for criterion in criteria]
    weights = [
        0.0 if why else criterion.criterion.weight for criterion, why in zip(criteria, muted_reasons, strict=True)
    ]
    if not sum(weights):
        told = [Sentence("No criterion that counts has a weight, so that nothing can be chosen.")]
        if set(muted_reasons) - {None, "no_direction"}:
            told.append(Sentence("The dimension does not count here."))
        if "no_direction" in muted_reasons:
            told.append(Sentence("No source says whether a higher score is the better one."))
        raise InputError(sentences(*told, Sentence("Give one a weight.")))
    return [
        replace(criterion, share=weight / sum(weights), muted_reason=why)
        for criterion, weight, why in zip(criteria, weights, muted_reasons, strict=True)
    ]


def muted_reason(criterion: ResolvedCriterion, n_related: int | None, use_class: str, comparable: bool) -> str | None:
    """Why a criterion may not decide (see `ResolvedCriterion.muted_reason`); None if it may."""
    if criterion.criterion.of not in DIMENSIONS:
        return None if criterion.is_direction_known else "no_direction"
    if use_class in CAUTIOUS_USE_CLASSES:
        return "use_class"
    if not comparable:
        return "not_comparable"
    if n_related is None:
        return "no_score"
    return "few_models" if n_related < FEWEST_TEST else None


def reason_key(criterion: ResolvedCriterion, why: str) -> str:
    """A `muted_reason` as one of `Decision.reasons`."""
    return f"{'dimension' if criterion.criterion.of in DIMENSIONS else 'score'}_{why}"


def _thresholds(criterion: ResolvedCriterion) -> tuple[float, float]:
    """The least and the largest value that it allows."""
    low, high = criterion.criterion.at_least, criterion.criterion.at_most
    if criterion.muted_reason:
        return -math.inf, math.inf
    return -math.inf if low is None else low, math.inf if high is None else high


def _counts(criterion: ResolvedCriterion) -> bool:
    """Whether a model without a value of it cannot be chosen."""
    return criterion.share > 0 or _thresholds(criterion) != (-math.inf, math.inf)


def _is_threshold_within_error(value: CriterionValue | None, criterion: ResolvedCriterion) -> bool:
    """Whether a threshold that is met lies within the value's interval."""
    if value is None:
        return False
    lower = -math.inf if value.lower is None else value.lower
    upper = math.inf if value.upper is None else value.upper
    return any(lower < end < upper for end in _thresholds(criterion))


def _utilities(eligible: Sequence[Candidate], criteria: Sequence[ResolvedCriterion]) -> tuple[np.ndarray, np.ndarray]:
    """Utilities and their standard errors, (n, k) each: 0 for the worst and 1 for the best model, NaN for a missing value.
    Where all are equal, each has 1."""
    utilities = np.full((len(eligible), len(criteria)), math.nan)
    errors = np.zeros_like(utilities)
    for k, criterion in enumerate(criteria):
        readings = {i: reading for i, candidate in enumerate(eligible) if (reading := candidate.values[k]) is not None}
        if not readings:
            continue
        by_ratio = criterion.criterion.of in AMOUNTS and min(reading.value for reading in readings.values()) > 0
        values = np.array([math.log(r.value) if by_ratio else r.value for r in readings.values()])
        spread = values.max() - values.min()
        if not spread:
            utilities[[*readings], k] = 1.0
            continue
        share = (values - values.min()) / spread
        utilities[[*readings], k] = share if criterion.higher_is_better else 1 - share
        for i, r in readings.items():
            if r.lower is not None and r.upper is not None and (not by_ratio or r.lower > 0):
                width = math.log(r.upper / r.lower) if by_ratio else r.upper - r.lower
                errors[i, k] = width / (2 * NORMAL_95) / spread
    return utilities, errors


def _shares_first(utilities: np.ndarray, errors: np.ndarray, shares: np.ndarray) -> tuple[float, ...]:
    """How often each row is first when values are drawn within their errors; an unknown error counts as none."""
    if len(utilities) < 2 or not errors.any():
        return ()
    n_draws = min(_DRAWS, max(200, _MAX_DRAWN_VALUES // utilities.size))
    noise = np.random.default_rng([0, len(utilities)]).standard_normal((n_draws, *utilities.shape))
    totals = (utilities + errors * noise) @ shares  # (n_draws, n)
    return tuple(map(float, np.bincount(totals.argmax(1), minlength=len(utilities)) / n_draws))


def is_equal_for_all(decision: Decision, k: int) -> bool:
    """Whether all eligible models have the same value of a criterion."""
    values = {reading.value for candidate in decision.candidates if (reading := candidate.values[k]) is not None}
    return len(values) < 2


def _reasons(decision: Decision) -> list[str]:
    """What stands for and against the choice, as keys of `core.wording.decisions`."""
    first = "none_known" if not decision.n else "none_meets" if not decision.candidates else "best_total"
    if len(decision.candidates) == 1:
        first = "one_left" if decision.n == 1 else "only_one"
    reasons = [first]
    if len(decision.totals) > 1 and decision.totals[0] - decision.totals[1] < 1e-9:
        reasons.append("tie")
    elif decision.share_first is not None and decision.share_first < _STABLE:
        reasons.append("within_error")
    if len(decision.candidates) > 1 and any(
        criterion.share > 0 and reading is not None and (reading.lower is None or reading.upper is None)
        for candidate in decision.candidates
        for reading, criterion in zip(candidate.values, decision.criteria, strict=True)
    ):
        reasons.append("errors_unknown")
    if decision.candidates and any(
        _is_threshold_within_error(reading, criterion)
        for reading, criterion in zip(decision.candidates[0].values, decision.criteria, strict=True)
    ):
        reasons.append("threshold_within_error")
    reasons += dict.fromkeys(reason_key(one, one.muted_reason) for one in decision.criteria if one.muted_reason)
    if any(candidate.reason == "lacks" for candidate in decision.excluded):
        reasons.append("some_lack_values")
    return reasons


# --- the front --------------------------------------------------------------------------------------------------


def pareto_statuses(eligible: Sequence[Candidate], criteria: Sequence[ResolvedCriterion]) -> list[ParetoStatus]:
    """The Pareto front over the criteria with a share of the weights, by values and by interval limits.

    A model dominates another if it is at least as good in everything and better in something: surely, if that holds for
    its worse limits against the other's better limits.
    """
    counted = {k: 1.0 if one.higher_is_better else -1.0 for k, one in enumerate(criteria) if one.share}

    def goodness(end: str, unknown: float = math.nan) -> np.ndarray:  # (n, k): the more the better
        limits = [[getattr(candidate.values[k], end) for k in counted] for candidate in eligible]
        rows = [[unknown if limit is None else limit for limit in row] for row in limits]
        return np.array(rows, dtype=float).reshape(len(eligible), len(counted)) * [*counted.values()]

    value, low, high = goodness("value"), goodness("lower", -math.inf), goodness("upper", math.inf)
    worst, best = np.minimum(low, high), np.maximum(low, high)

    def dominates(of: np.ndarray, over: np.ndarray) -> np.ndarray:  # [i, j]: i over j
        as_good = (of[:, None, :] >= over[None, :, :]).all(2)
        better = (of[:, None, :] > over[None, :, :]).any(2)
        return as_good & better & ~np.eye(len(eligible), dtype=bool)

    by_value, surely, possibly = dominates(value, value), dominates(worst, best), dominates(best, worst)
    statuses = []
    for j in range(len(eligible)):
        standing = "dominated" if surely[:, j].any() else "perhaps" if possibly[:, j].any() else "front"
        over = next((by for by in (surely[:, j], by_value[:, j]) if by.any()), possibly[:, j])
        run_ids = tuple(candidate.run_id for candidate, is_over in zip(eligible, over, strict=True) if is_over)
        statuses.append(ParetoStatus(standing, not by_value[:, j].any(), run_ids))
    return statuses


# --- weights ----------------------------------------------------------------------------------------------------


def _sensitivities(
    eligible: Sequence[Candidate], criteria: Sequence[ResolvedCriterion], utilities: np.ndarray, shares: np.ndarray
) -> list[Sensitivity]:
    """For each criterion that is not muted and that all models have: the model chosen at each of its weights."""
    sensitivities = []
    for k, criterion in enumerate(criteria):
        if criterion.muted_reason or len(eligible) < 2 or np.isnan(utilities[:, k]).any():
            continue
        others = np.where(np.arange(len(shares)) == k, 0.0, shares)
        if not others.sum():
            continue  # all weight is here: the others have no proportions to keep
        rest = np.nansum(utilities * others / others.sum(), axis=1)
        slopes = utilities[:, k] - rest  # the weighted mean of each is rest + w slopes: the envelope of these lines
        up, down = _upper_envelope(rest, slopes, shares[k]), _upper_envelope(rest + slopes, -slopes, 1 - shares[k])
        segments = [Segment(1 - end, 1 - start, eligible[i].run_id) for start, end, i in reversed(down[1:])]
        segments.append(Segment(1 - down[0][1], up[0][1], eligible[0].run_id))
        segments += [Segment(start, end, eligible[i].run_id) for start, end, i in up[1:]]
        sensitivities.append(Sensitivity(k, float(shares[k]), tuple(segments), len(down) - 1))
    return sensitivities


def _upper_envelope(at_zero: np.ndarray, slopes: np.ndarray, start: float) -> list[tuple[float, float, int]]:
    """The upper envelope of lines from `start`, where line 0 is on top, to 1: segments (from, to, line)."""
    segments: list[tuple[float, float, int]] = []
    current, segment_start = 0, start
    while True:
        steeper = np.flatnonzero(slopes > slopes[current] + 1e-12)
        meets = np.array([(at_zero[current] - at_zero[i]) / (slopes[i] - slopes[current]) for i in steeper])
        meets = np.maximum(meets, segment_start)
        if not len(meets) or meets.min() >= 1 - 1e-12:
            return [*segments, (segment_start, 1.0, current)]
        crossing = float(meets.min())
        nearest = steeper[meets <= crossing + 1e-12]
        following = int(nearest[np.argmax(slopes[nearest])])
        segments.append((segment_start, crossing, current))
        current, segment_start = following, crossing


# --- saved rules -------------------------------------------------------------------------------------------------


def task_remark(rule: Rule, benchmark: Mapping[str, Any] | None) -> str | None:
    """`other_task` if a rule learned on one task is applied to another, `no_task` if applied without a task."""
    if rule.task is None or (benchmark is not None and rule.task.is_met_by(benchmark)):
        return None
    return "no_task" if benchmark is None else "other_task"


def record_choice(
    rule: Rule, decision: Decision, benchmark: Mapping[str, Any] | None, choice_id: str, chosen_at: datetime
) -> RuleChoiceRow:
    """The row for a rule's choice; its outcome is added later."""
    remark, asked = task_remark(rule, benchmark), benchmark or {}
    chosen = decision.chosen
    totals = decision.totals if chosen else ()
    candidates = [*decision.candidates, *(excluded.candidate for excluded in decision.excluded)]
    evidence = {
        "criteria": [criterion.key for criterion in decision.criteria],
        "weights": [round(criterion.share, 6) for criterion in decision.criteria],
        "values": {
            candidate.run_id: [None if r is None else [r.value, r.lower, r.upper] for r in candidate.values]
            for candidate in candidates
        },
    }
    return RuleChoiceRow(
        rule_id=rule.rule_id,
        choice_id=choice_id,
        task=asked.get("benchmark"),
        metric=asked.get("metric"),
        candidates=sorted(candidate.run_id for candidate in candidates),
        n=decision.n,
        n_meeting=len(decision.candidates),
        run_id=chosen.run_id if chosen else None,
        model_id=chosen.model_id if chosen else None,
        runner_up=decision.candidates[1].model_id if len(totals) > 1 else None,
        total=totals[0] if totals else None,
        runner_up_total=totals[1] if len(totals) > 1 else None,
        share_first=decision.share_first,
        reasons=[*decision.reasons, *([remark] if remark else [])],
        evidence=json.dumps(evidence, sort_keys=True),
        chosen_at=chosen_at,
    )


@dataclass(frozen=True)
class TrackRecord:
    """How often a rule was right."""

    task: str | None
    """Restricted to this task; None: all tasks."""
    n_right: int
    n_known: int
    n_open: int
    """Choices without a recorded outcome."""
    lower: float | None
    """95 percent interval of the share of right choices (Wilson); None without known outcomes."""
    upper: float | None


def track_record(choices: Sequence[RuleChoiceRow], task: str | None = None) -> TrackRecord:
    """Track record over the choices of one rule, all or those on one task."""
    among = [choice for choice in choices if task is None or choice.task == task]
    is_right = [choice.outcome == "right" for choice in among if choice.outcome is not None]
    if not is_right:
        return TrackRecord(task, 0, 0, len(among), None, None)
    lower, upper = share_limits(np.array(is_right, dtype=float))
    return TrackRecord(task, sum(is_right), len(is_right), len(among) - len(is_right), lower, upper)
