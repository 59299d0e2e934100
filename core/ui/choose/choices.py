"""The choices of the page Choose: models, rule or criteria with weights and thresholds, use class, assumptions of cost."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

import polars as pl
import streamlit as st

from core import wording
from core.analysis import criteria as criteria_analysis
from core.analysis import decision as decision_analysis
from core.analysis import ranking
from core.analysis.criteria import ChoiceContext, ResolvedCriterion
from core.analysis.decision import Decision
from core.errors import InputError
from core.locale import _, worded
from core.pilots.pilot import USE_CLASSES, RegisteredPilot
from core.pilots.saved import Assumptions, Direction, SavedRule, TaskName
from core.questions import choice as choice_question
from core.questions.choice import PilotChoice
from core.questions.ranking_question import RankingQuestion
from core.tables import ids_of
from core.ui import inputs, reads, url_state
from core.ui.choose import models
from core.ui.choose.models import RankingView
from core.ui.markdown import escape
from core.wording import decisions as decision_wording

STATED = "own"
"""In place of the id of a rule: the criteria stated on this page."""
MAX_WEIGHT = 10
THRESHOLD_UNITS = {"parameters": 1e6, "memory": 1e9}
"""Units in which thresholds are typed: millions, GB."""
ASSUMPTION_UNITS = {"tokens_per_month": 1e6}
"""Units in which assumptions are typed: millions."""


@dataclass(frozen=True)
class DecisionView:
    """What the choices of the reader select."""

    context: ChoiceContext
    """The models to choose among, with their costs and scores."""
    criteria: list[ResolvedCriterion]
    task: Mapping[str, Any] | None
    """The benchmark whose scores are a criterion; None without one."""
    answer: PilotChoice | None
    message: str
    """Why nothing can be chosen; empty where there is an answer."""
    assumptions: Assumptions
    use_class: str
    rule: SavedRule | None
    """The saved rule that is applied; None for criteria stated on the page."""
    rules: list[SavedRule]
    """All saved rules."""
    ranked: RankingView
    """What is known of dimension and score; its question is asked for each task."""

    @property
    def decision(self) -> Decision | None:
        return self.answer.choice.decision if self.answer and self.answer.choice else None

    @property
    def is_refused(self) -> bool:
        """Whether the use class forbids to choose by what these models have."""
        return self.answer is not None and self.answer.refusal is not None

    @property
    def n_points(self) -> tuple[int, int]:
        """The fewest and the most points of the models' clouds; zeros where none is known."""
        known = self.context.runs["n_points"].drop_nulls()
        return (0, 0) if known.is_empty() else (int(known.min()), int(known.max()))  # type: ignore[arg-type]


def choose_view(pilot: RegisteredPilot | None, *, relates: bool = False) -> DecisionView:
    """Draw all choices of the page; returns what they select. `relates`: as of `models.choose_view`."""
    with url_state.batched():
        above = st.container()
        with st.container(horizontal=True, vertical_alignment="bottom"):
            in_sight = st.container(horizontal=True, vertical_alignment="bottom", width="content")
            by = st.popover(_("Criteria"), icon=":material/balance:")
            settings = st.popover(_("Settings"), icon=":material/tune:")
        with in_sight:
            ranked = models.choose_view(pilot, above, settings, relates=relates)
        rules = reads.lists().rules
        with by:
            rule = _choose_rule(rules, above)
        assumptions = rule.rule.assumptions if rule else _read_assumptions()
        context = _whole_context(ranked.question if ranked.group_answer else None, assumptions)
        # The rows as they are asked for: a specification has changed their dimension.
        context = replace(context.restrict_to(ids_of(ranked.runs)), runs=ranked.runs)
        with by:
            task = _choose_task(context, rule)
        with in_sight:
            subset = choice_question.one_run_each(_choose_subset(ranked.runs))
            use_class = rule.rule.use_class if rule else _choose_use_class(pilot)
        run_ids = ids_of(subset)
        context = context.restrict_to(run_ids).with_windows(reads.rows("run_windows", run_ids))
        with by:
            criteria = [] if rule else _choose_criteria(context, ranked.question, use_class)
        return _decide(context, criteria, task, assumptions, use_class, rule, rules, ranked)


@reads.cached(8)
def _whole_context(question: RankingQuestion | None, assumptions: Assumptions) -> ChoiceContext:
    """All models that a question compares, whatever filters leave of them; without a question all models, which do not compare."""
    group = None if question is None else reads.population(question).group
    runs = choice_question.all_models(reads.evidence()) if group is None else group.rows
    scores, speeds = reads.evidence().scores, reads.speeds(ids_of(runs))
    return criteria_analysis.choice_context(runs, scores, speeds, assumptions, comparable=group is not None)


def _decide(
    context: ChoiceContext,
    criteria: list[ResolvedCriterion],
    task: Mapping[str, Any] | None,
    assumptions: Assumptions,
    use_class: str,
    rule: SavedRule | None,
    rules: list[SavedRule],
    ranked: RankingView,
) -> DecisionView:
    """The decision by a rule or by criteria, as the answer that the use class leaves of it."""
    asked = reads.population(ranked.question).benchmark if ranked.question.benchmark else None
    answer, message = None, ""
    try:
        if rule:
            answer = choice_question.judged(
                choice_question.choose_by_rule(context, rule.rule, task_name(task)), use_class
            )
        else:
            answer = choice_question.choose_pilot(context, criteria, use_class, asked=asked)
    except InputError as error:
        message = worded(error)
    choice = answer.choice if answer else None
    task = choice.task if choice else task or choice_question.task_of(criteria)
    criteria = list(choice.decision.criteria) if choice else criteria
    return DecisionView(context, criteria, task, answer, message, assumptions, use_class, rule, rules, ranked)


def _choose_rule(rules: list[SavedRule], above: Any) -> SavedRule | None:
    """Return a saved rule, or None for the criteria stated on the page; what the link says wrongly is drawn `above`."""
    saved = {rule.rule_id: rule for rule in rules}
    names = {STATED: _("criteria stated here")} | {key: decision_wording.rule_name(rule) for key, rule in saved.items()}
    chosen = inputs.choose_by_id(_("Rule"), names, "rule", above=above, width=210)
    return saved.get(chosen)


def _choose_task(context: ChoiceContext, rule: SavedRule | None) -> Mapping[str, Any] | None:
    """Return the task that a rule is applied to: by default the one that it was made for."""
    if rule is None or not any(
        criterion.of == "score" and criterion.benchmark is None for criterion in rule.rule.criteria
    ):
        return None
    offered = {criteria_analysis.score_key(row): row for row in context.benchmarks.to_dicts()}
    if not offered:
        return None
    learned = rule.rule.task
    default = next((key for key, row in offered.items() if learned and learned.is_met_by(row)), next(iter(offered)))
    names = {key: decision_wording.task_name(row) for key, row in offered.items()}
    return offered[inputs.choose_from_list(_("Task"), names, "task", default, width=230)]


def task_name(task: Mapping[str, Any] | None) -> TaskName | None:
    """The task of a row of benchmarks, as rules store it."""
    return None if task is None else TaskName(task["benchmark"], task["metric"], task["filter"], task["n_shot"])


def _choose_subset(runs: pl.DataFrame) -> pl.DataFrame:
    """Return some of the models, or all."""
    names = dict(runs.sort(ranking.natural_sort_key()).select("model_id", "name").rows())
    if len(names) < 3:
        return runs
    width = 320 if url_state.requested("among") else 140  # beside a name there is room for nothing else
    chosen = inputs.choose_many(_("Only these models"), names, "among", placeholder=_("all"), width=width)
    return runs.filter(pl.col("model_id").is_in(chosen)) if chosen else runs


def _choose_use_class(pilot: RegisteredPilot | None) -> str:
    """Return the use class: that of the pilot, or the choice of the reader."""
    if pilot is not None:
        return pilot.pilot.use_class
    return inputs.choose_from_list(_("Use class"), wording.names("use_class", USE_CLASSES), "use", width=120)


def _offered(
    context: ChoiceContext, question: RankingQuestion, use_class: str
) -> tuple[dict[str, ResolvedCriterion], list[str]]:
    """`choice.offer_criteria`, the score of the ranking first; where no source states its better end, the pilot may. Models that
    do not compare have no ranking: the verb `choose` begins with the same."""
    if not context.comparable:
        return choice_question.offer_criteria(context, use_class=use_class)
    population = reads.population(question)
    known = population.higher_is_better
    direction: Direction | None = None if known is None else "higher" if known else "lower"
    return choice_question.offer_criteria(context, population.benchmark, direction, use_class)


def _choose_criteria(context: ChoiceContext, question: RankingQuestion, use_class: str) -> list[ResolvedCriterion]:
    """Return the criteria with weights and thresholds."""
    available, default = _offered(context, question, use_class)
    names = {key: decision_wording.criterion_name(criterion) for key, criterion in available.items()}
    help_ = _("At first: the score in sight; else the loss on a text that all have read; else their scores, all alike.")
    keys = inputs.choose_many(_("Criteria"), names, "by", default, hides_default=True, help=help_)
    chosen = [available[key] for key in keys]
    n = criteria_analysis.count_related_models(context, choice_question.task_of(chosen))
    for i, criterion in enumerate(chosen):
        muted_reason = decision_analysis.muted_reason(criterion, n, use_class, context.comparable)
        chosen[i] = _choose_weight(criterion, muted_reason)
    return [_choose_threshold(criterion) for criterion in chosen]


def _choose_weight(criterion: ResolvedCriterion, muted_reason: str | None) -> ResolvedCriterion:
    name = f"w.{criterion.key}"
    url_state.restore_choice(
        name, range(MAX_WEIGHT + 1), choice_question.DEFAULT_WEIGHTS.get(criterion.criterion.of, 2)
    )
    reason = decision_analysis.reason_key(criterion, muted_reason) if muted_reason else None
    value = st.slider(
        escape(decision_wording.criterion_name(criterion)),
        0,
        MAX_WEIGHT,
        key=url_state.key(name),
        disabled=muted_reason is not None,
        help=decision_wording.reason_text(reason) if reason else None,
        width=220,
    )
    url_state.publish(name, value)
    return replace(criterion, criterion=replace(criterion.criterion, weight=float(value)))


def _choose_threshold(criterion: ResolvedCriterion) -> ResolvedCriterion:
    """Return the criterion with its limit: a minimum where higher values are better, a maximum where lower ones are."""
    quantity, name = criterion.criterion.of, f"t.{criterion.key}"
    units = {"parameters": _("millions"), "memory": "GB"}
    template = _("{criterion}, at least") if criterion.higher_is_better else _("{criterion}, at most")
    label = template.format(criterion=decision_wording.criterion_name(criterion))
    limit = inputs.read_number(name, None)
    label = f"{label} [{units[quantity]}]" if quantity in units else label
    inputs.show_number_input(escape(label), name, placeholder=_("no threshold"))
    limit = None if limit is None else limit * THRESHOLD_UNITS.get(quantity, 1.0)
    low, high = (limit, None) if criterion.higher_is_better else (None, limit)
    return replace(criterion, criterion=replace(criterion.criterion, at_least=low, at_most=high))


def _read_assumptions() -> Assumptions:
    """The assumptions of the address; numbers outside their limits are replaced by the defaults."""
    defaults = Assumptions()
    values: dict[str, Any] = {}
    for name in NUMBER_LIMITS:
        default, unit = getattr(defaults, name), ASSUMPTION_UNITS.get(name, 1.0)
        value = inputs.read_number(f"a.{name}", None if default is None else default / unit, *NUMBER_LIMITS[name])
        if value is not None:
            values[name] = round(value * unit) if isinstance(default, int) else float(value)
    currency = url_state.restore_text("a.currency", defaults.currency).strip()
    url_state.publish("a.currency", currency)
    return Assumptions(**values, currency=currency or defaults.currency, speeds=_read_speeds())


NUMBER_LIMITS: dict[str, tuple[float | None, float | None]] = {
    "bits": (0.5, 64.0),
    "context_tokens": (1.0, 2.0**40),
    "requests": (1.0, 1e6),
    "cache_bits": (0.5, 64.0),
    "cache_share": (0.001, 1.0),
    "overhead": (0.0, 10.0),
    "tokens_per_month": (0.001, 2.0**30),
    "utilisation": (0.001, 1.0),
    "price_per_hour": (0.0, 1e9),
}
"""Assumptions that are numbers, with their limits, in the order of their inputs."""


def _read_speeds() -> dict[str, float]:
    """The speeds of the address, each `reference~tokens per second`."""
    speeds = {}
    for text in url_state.requested("speeds"):
        name, _sign, value = text.rpartition("~")
        with suppress(ValueError):
            if name.strip() and 0 < float(value) < 1e12:
                speeds[name] = float(value)
    kept = [f"{name}~{value:g}" for name, value in speeds.items()]
    st.session_state[url_state.key("speeds")] = kept
    url_state.publish("speeds", kept)
    return speeds
