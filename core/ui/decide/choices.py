"""What is chosen among, on which criteria, under which assumptions: all that the reader states, in the address."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, get_args

import polars as pl
import streamlit as st
from pydantic import ValidationError

from core.analysis import criteria as asking
from core.analysis import decision as deciding
from core.analysis import ranking
from core.analysis.criteria import ChoiceContext, ResolvedCriterion
from core.analysis.decision import Decision
from core.analysis.population import group_key
from core.analysis.question import RankingQuestion
from core.errors import InputError
from core.pilots.pilot import USE_CLASSES
from core.pilots.registration import RegisteredPilot
from core.pilots.rule import DIMENSIONS, Assumptions, Criterion, Quantity, SavedRule, TaskName
from core.ui import inputs, language, reads, url_state
from core.ui.markdown import escape
from core.ui.ranking.choices import ASKED, group_names
from core.wording import decisions as words
from core.wording.pilot_sentences import use_class_name

OWN = "own"
"""Instead of a rule's id: criteria stated on this page."""
ANY = "any"
"""Instead of a group's key: all models, whatever they were measured on; their dimensions do not compare."""
MOST_WEIGHT = 10
FIRST_WEIGHTS = {"score": 6, "parameters": 4}
SCALES = {"parameters": 1e6, "memory": 1e9}
"""What a threshold is typed in: millions, GB."""
ASSUMED_IN = {"tokens_per_month": 1e6}
"""Assumptions that are typed in other units: millions."""


@dataclass(frozen=True)
class Look:
    """What the reader looks at."""

    on: ChoiceContext
    """The models to choose among."""
    asked: list[ResolvedCriterion]
    task: Mapping[str, Any] | None
    """The benchmark by whose scores is chosen; None where by none."""
    decision: Decision | None
    error: str
    """Why nothing can be chosen; empty where there is a decision."""
    assumed: Assumptions
    use_class: str
    rule: SavedRule | None
    """The one that is applied; None: criteria stated on the page."""
    rules: list[SavedRule]
    """All that were saved."""
    question: RankingQuestion
    """What the relation is told of, task by task."""

    @property
    def n_points(self) -> tuple[int, int]:
        """Fewest and most points of the models' clouds; zeros where none is known."""
        known = self.on.runs["n_points"].drop_nulls()
        return (0, 0) if known.is_empty() else (int(known.min()), int(known.max()))  # type: ignore[arg-type]

    @property
    def names(self) -> dict[str, str]:
        return dict(self.on.runs.select("run_id", "name").rows())


def choose(pilot: RegisteredPilot | None) -> Look:
    """All choices of the page in one change of the address."""
    with url_state.together():
        with st.container(horizontal=True, vertical_alignment="bottom"):
            question, runs, comparable = _choose_models(pilot)
            known = reads.deciding(runs["run_id"].to_list())
            rule = _choose_rule(known.rules)
            assumed = rule.rule.assumptions if rule else _assumptions()
            on = asking.choice_context(runs, reads.scores(), known.speeds, assumed, comparable=comparable)
            task = _choose_task(on, rule)
            some = _choose_some(runs)
            use_class = rule.rule.use_class if rule else _choose_use_class(pilot)
            passing = inputs.choose_passing(some)
            on = on.restrict_to((some if passing.is_empty() else passing)["run_id"].to_list())
        try:
            asked = (
                asking.resolve_criteria(rule.rule.criteria, on, task_named(task))
                if rule
                else _own_criteria(on, question, use_class)
            )
            task = task if rule else next((one.benchmark for one in asked if one.benchmark is not None), None)
            decision = deciding.decide_in_context(on, asked, task, use_class)
            return Look(on, asked, task, decision, "", assumed, use_class, rule, known.rules, question)
        except InputError as error:
            asked = [] if rule else _stated(on, question)
            return Look(on, asked, task, None, str(error), assumed, use_class, rule, known.rules, question)


def _choose_models(pilot: RegisteredPilot | None) -> tuple[RankingQuestion, pl.DataFrame, bool]:
    """Which models are compared: those of the ranking at first. Returns also whether their dimensions compare."""
    _ = language.translator()
    first = reads.population(RankingQuestion(pilot=pilot))
    names = group_names(first) | {ANY: _("all models; their dimensions do not compare")}
    chosen = inputs.choose_from_list(
        _("Compared models"), list(names), "group", next(iter(names)), names.__getitem__, width=270
    )
    if chosen == ANY:
        newest = ranking.newest_runs(ranking.without_variants(reads.ranking())).unique(
            "model_id", keep="first", maintain_order=True
        )
        return RankingQuestion(ignores_pilots=True), newest, False
    # Named outright: whatever score is asked for later, it is asked for of these models.
    of_pilot = first.registration.registered_pilot if chosen == ASKED else None
    key = group_key(first.group) if chosen == ASKED and first.group else chosen
    question = RankingQuestion(pilot=of_pilot) if of_pilot else RankingQuestion(pilot=pilot, group=key)
    group = reads.population(question).group
    assert group is not None, "each of these names has a group"
    return question, group.rows.unique("model_id", keep="first", maintain_order=True), True


def _choose_rule(rules: list[SavedRule]) -> SavedRule | None:
    _ = language.translator()
    saved = {one.rule_id: one for one in rules}
    if not saved:
        return None
    names = {OWN: _("criteria stated here")} | {
        key: words.rule_name(one, language.current()) for key, one in saved.items()
    }
    chosen = inputs.choose_from_list(_("Rule"), list(names), "rule", OWN, names.__getitem__, width=210)
    return saved.get(chosen)


def _choose_task(on: ChoiceContext, rule: SavedRule | None) -> Mapping[str, Any] | None:
    """The task that a rule is applied to: at first the one that it was learned on."""
    _ = language.translator()
    if rule is None or not any(one.of == "score" and one.benchmark is None for one in rule.rule.criteria):
        return None
    offered = {asking.score_key(row): row for row in on.benchmarks.to_dicts()}
    if not offered:
        return None
    learned = rule.rule.task
    first = next((key for key, row in offered.items() if learned and learned.is_met_by(row)), next(iter(offered)))
    chosen = inputs.choose_from_list(
        _("Task"),
        list(offered),
        "task",
        first,
        lambda key: words.task_name(offered[key], language.current()),
        width=230,
    )
    return offered[chosen]


def task_named(task: Mapping[str, Any] | None) -> TaskName | None:
    return None if task is None else TaskName(task["benchmark"], task["metric"], task["filter"], task["n_shot"])


def _choose_some(runs: pl.DataFrame) -> pl.DataFrame:
    _ = language.translator()
    names = dict(runs.sort(ranking.natural_sort_key()).select("model_id", "name").rows())
    if len(names) < 3:
        return runs
    wanted = inputs.choose_many(
        _("Only these models"), list(names), "among", show=names.__getitem__, placeholder=_("all"), width=150
    )
    return runs.filter(pl.col("model_id").is_in(wanted)) if wanted else runs


def _choose_use_class(pilot: RegisteredPilot | None) -> str:
    """That of the pilot, or what the reader says."""
    _ = language.translator()
    if pilot is not None:
        return pilot.pilot.use_class
    return inputs.choose_from_list(
        _("Use class"),
        list(USE_CLASSES),
        "use",
        "general",
        lambda key: use_class_name(key, language.current()),
        width=140,
    )


def _offered(on: ChoiceContext) -> dict[str, ResolvedCriterion]:
    """All criteria that these models can be chosen by, by their key."""
    plain = [Criterion(of) for of in get_args(Quantity) if of != "score" and _is_known(on, of)]
    scores = [asking.resolve_criterion(Criterion("score"), on.scored, row) for row in on.benchmarks.to_dicts()]
    return {one.key: one for one in [*scores, *(asking.resolve_criterion(one, on.scored, None) for one in plain)]}


def _is_known(on: ChoiceContext, of: str) -> bool:
    """Whether any of these models has it; losses on several texts do not compare."""
    costs = on.costs.values()
    if of == "bits_per_byte":
        return on.runs[of].count() > 0 and on.runs["corpus_id"].n_unique() == 1
    if of in ("speed", "price"):
        return any((one.tokens_per_second if of == "speed" else one.price) is not None for one in costs)
    return on.comparable and on.runs["inner_max"].count() > 0 if of in DIMENSIONS else True


def _first_criteria(
    on: ChoiceContext, question: RankingQuestion, offered: Mapping[str, ResolvedCriterion]
) -> list[str]:
    """The score that the ranking looks at, size where the models differ in it, and the dimension."""
    looked_at = reads.population(question).benchmark
    scores = [key for key, one in offered.items() if one.criterion.of == "score"]
    first = [asking.score_key(looked_at)] if looked_at and asking.score_key(looked_at) in scores else scores[:1]
    first = first or [key for key in ("bits_per_byte",) if key in offered]
    more = ["parameters"] if not first or on.runs["parameters"].n_unique() > 1 else []
    return [*first, *(key for key in (*more, "dimension") if key in offered)]


def _own_criteria(on: ChoiceContext, question: RankingQuestion, use_class: str) -> list[ResolvedCriterion]:
    """The criteria that the reader states, each with its weight, and behind a click its threshold."""
    _ = language.translator()
    offered, lang = _offered(on), language.current()
    chosen = inputs.choose_many(
        _("Criteria"),
        list(offered),
        "by",
        _first_criteria(on, question, offered),
        lambda key: words.criterion_name(offered[key], lang),
        is_brief=True,
    )
    task = next((offered[key].benchmark for key in chosen if offered[key].benchmark is not None), None)
    n = asking.count_related_models(on, task)
    with st.container(horizontal=True, gap="medium", vertical_alignment="bottom"):
        for key in chosen:
            _ask_weight(offered[key], deciding.muted_reason(offered[key].criterion.of, n, use_class, on.comparable))
        if chosen:
            with st.popover(_("Thresholds"), icon=":material/horizontal_rule:"):
                for key in chosen:
                    _ask_threshold(offered[key])
    return _stated(on, question)


def _ask_weight(one: ResolvedCriterion, muted: str | None) -> None:
    _ = language.translator()
    name = f"w.{one.key}"
    url_state.settle_one(name, range(MOST_WEIGHT + 1), _first_weight(one))
    lang = language.current()
    value = st.slider(
        escape(words.criterion_name(one, lang)),
        0,
        MOST_WEIGHT,
        key=url_state.key(name),
        disabled=muted is not None,
        help=words.reason(f"dimension_{muted}", lang) if muted else None,
        width=220,
    )
    url_state.publish(name, value)


def _first_weight(one: ResolvedCriterion) -> int:
    of = one.criterion.of
    return 0 if of in DIMENSIONS else FIRST_WEIGHTS.get("score" if of == "bits_per_byte" else of, 2)


def _ask_threshold(one: ResolvedCriterion) -> None:
    """The end that matters: at least of what is wanted high, at most of what is wanted low."""
    _ = language.translator()
    lang, of = language.current(), one.criterion.of
    units = {"parameters": _("millions"), "memory": "GB"}
    told = _("{criterion}, at least") if one.higher_is_better else _("{criterion}, at most")
    label = told.format(criterion=words.criterion_name(one, lang))
    inputs.kept_number(f"t.{one.key}", None)
    inputs.draw_number(
        escape(f"{label} [{units[of]}]" if of in units else label), f"t.{one.key}", placeholder=_("no threshold")
    )


def _stated(on: ChoiceContext, question: RankingQuestion) -> list[ResolvedCriterion]:
    """The criteria as they stand in the address."""
    offered = _offered(on)
    found = []
    for key in url_state.wanted("by", _first_criteria(on, question, offered)):
        if key not in offered:
            continue
        one = offered[key]
        weight = st.session_state.get(url_state.key(f"w.{key}"), _first_weight(one))
        limit = st.session_state.get(url_state.key(f"t.{key}"))
        limit = None if limit is None else float(limit) * SCALES.get(one.criterion.of, 1.0)
        low, high = (limit, None) if one.higher_is_better else (None, limit)
        found.append(replace(one, criterion=replace(one.criterion, weight=float(weight), at_least=low, at_most=high)))
    return found


def _assumptions() -> Assumptions:
    """As they stand in the address; what is no sensible number is as it would be anyway."""
    plain = Assumptions()
    told: dict[str, Any] = {}
    for name in NUMBERS:
        default, by = getattr(plain, name), ASSUMED_IN.get(name, 1.0)
        value = inputs.kept_number(f"a.{name}", None if default is None else default / by, *NUMBERS[name])
        if value is not None:
            told[name] = round(value * by) if isinstance(default, int) else float(value)
    currency = url_state.settle_text("a.currency", plain.currency).strip()
    url_state.publish("a.currency", currency)
    speeds = _speeds()
    url_state.publish("speeds", [f"{name}~{value:g}" for name, value in speeds.items()])
    try:
        return Assumptions(**told, currency=currency or plain.currency, speeds=speeds)
    except ValidationError:
        return replace(plain, speeds=speeds)


NUMBERS: dict[str, tuple[float | None, float | None]] = {
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
"""Assumptions that are numbers, with the ends between which they lie, in the order in which they are asked for."""


def _speeds() -> dict[str, float]:
    """Own figures, `reference~tokens per second` each."""
    found = {}
    for text in url_state.wanted("speeds"):
        name, _sign, value = text.rpartition("~")
        try:
            speed = float(value)
        except ValueError:
            continue
        if name and 0 < speed < 1e12:
            found[name] = speed
    st.session_state[url_state.key("speeds")] = [f"{name}~{value:g}" for name, value in found.items()]
    return found
