"""The wording of a decision: the choice, what would change it, why models are left out, and a rule's track record.

A choice rests on stated criteria. No sentence calls a dimension good or bases a saving on one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from core import wording
from core.analysis.criteria import Cost, CriterionValue, ResolvedCriterion
from core.analysis.decision import AMOUNTS, Decision, ExcludedCandidate, ParetoStatus, is_equal_for_all
from core.analysis.generality import OrderTable, PooledRelation, VerdictAgreement
from core.analysis.rule_record import TrackRecord
from core.locale import translator
from core.pilots.pilot import is_score_of
from core.pilots.rule import DIMENSIONS, Assumptions, Criterion, Rule, SavedRule, TaskName
from core.tables import RuleChoiceRow
from core.wording.answers import SHOWN_NAMES, coefficient_text
from core.wording.numbers import amount, number
from core.wording.scores import p_value_text


def criterion_name(asked: ResolvedCriterion, language: str, bits: float | None = None) -> str:
    """`score in lambada_openai (acc, 0-shot)`, `memory at 8 bits`."""
    if asked.benchmark is None:
        return unresolved_criterion_name(asked.criterion, language, bits)
    _ = translator(language)
    found = asked.benchmark
    name = wording.benchmark_name(found["benchmark"], found["metric"], found["n_shot"], language, found["filter"])
    return _("score in {benchmark}").format(benchmark=name)


def measured_criterion_name(
    asked: ResolvedCriterion, n_points: tuple[int, int], language: str, bits: float | None = None
) -> str:
    """As `criterion_name`, but a dimension is named with what it depends on."""
    name = criterion_name(asked, language, bits)
    return wording.estimate_label(name, language, n_points) if asked.criterion.of in DIMENSIONS else name


def unresolved_criterion_name(criterion: Criterion, language: str, bits: float | None = None) -> str:
    """As `criterion_name`, for a criterion without data yet: the score is named after the task or its benchmark."""
    _ = translator(language)
    if criterion.of == "score":
        named = criterion.benchmark
        return (
            _("score in {benchmark}").format(benchmark=task_name(named, language)) if named else _("score of the task")
        )
    name = wording.name("criterion", criterion.of, language)
    return (
        _("{quantity} at {bits} bits").format(quantity=name, bits=f"{bits:g}")
        if criterion.of == "memory" and bits
        else name
    )


def task_name(task: TaskName | Mapping[str, Any] | None, language: str) -> str:
    """A benchmark with its settings; `no task in particular` for a rule that was learned on none."""
    _ = translator(language)
    if task is None:
        return _("no task in particular")
    if isinstance(task, TaskName):
        return wording.benchmark_name(task.name, task.metric, task.n_shot, language, task.filter)
    return wording.benchmark_name(task["benchmark"], task["metric"], task["n_shot"], language, task["filter"])


def value_text(of: str, found: float | None, language: str, assumed: Assumptions | None = None) -> str:
    """A number with its unit: `1.35 M`, `2.10 GB`, `2,048 tokens/s`, `120 USD`, `61.5`."""
    _ = translator(language)
    if found is None:
        return "–"
    if of == "parameters":
        return _("{n} B").format(n=number(found / 1e9)) if found >= 1e9 else _("{n} M").format(n=number(found / 1e6))
    if of == "memory":
        return amount(round(found))
    if of == "speed":
        return _("{n} tokens/s").format(n=f"{found:,.0f}" if found >= 100 else number(found))
    if of == "price":
        currency = (assumed or Assumptions()).currency
        return _("{n} {currency}").format(n=f"{found:,.0f}" if found >= 100 else number(found), currency=currency)
    return number(found)


def interval_text(of: str, found: CriterionValue | None, language: str, assumed: Assumptions | None = None) -> str:
    """The value with its interval, if it has one."""
    if found is None:
        return "–"
    told = value_text(of, found.value, language, assumed)
    if of in AMOUNTS or found.lower is None or found.upper is None or found.lower == found.upper:
        return told
    return f"{told} [{number(found.lower)}, {number(found.upper)}]"


def share_text(weight: float, language: str) -> str:
    """`40 %`; below one percent `0.4 %`."""
    _ = translator(language)
    percent = 100 * weight
    return _("{n} %").format(n=f"{percent:.0f}" if percent >= 1 or percent == 0 else f"{percent:.1g}")


# --- the decision ----------------------------------------------------------------------------------------------


def decision_text(decision: Decision, language: str, bits: float | None = None) -> str:
    """The headline: the chosen model, and how far the weights may move before another one is chosen."""
    _ = translator(language)
    chosen = decision.chosen
    if chosen is None:
        return (
            _("None of {n} models meets the thresholds.").format(n=decision.n)
            if decision.n
            else _("None of these models has all that the criteria ask for.")
        )
    if len(decision.candidates) == 1:
        told = _("On these criteria: {model}, the only one that meets them.")
        return told.format(model=chosen.name)
    if not decision.sensitivities:
        return _("On these criteria: {model}, the best in the only one that weighs.").format(model=chosen.name)
    change = decision.nearest_change
    if change is None:
        return _("On these criteria: {model}. No change of a single weight makes it another one.").format(
            model=chosen.name
        )
    told = (
        _(
            "On these criteria: {model}. It stays the choice until the weight of {criterion} exceeds {share}; then {other}."
        )
        if change.new_share >= change.share
        else _(
            "On these criteria: {model}. It stays the choice until the weight of {criterion} falls below {share}; then {other}."
        )
    )
    asked = decision.criteria[change.criterion].resolved
    return told.format(
        model=chosen.name,
        criterion=criterion_name(asked, language, bits),
        share=share_text(change.new_share, language),
        other=model_name(decision, change.run_id),
    )


def model_name(decision: Decision, run_id: str) -> str:
    every = [*decision.candidates, *(one.candidate for one in decision.excluded)]
    return next(one.name for one in every if one.run_id == run_id)


def note_lines(decision: Decision, language: str) -> list[str]:
    """Limits of the headline, one line each."""
    _ = translator(language)
    lines = [reason_text(key, language, decision.share_first) for key in decision.reasons]
    if len(decision.candidates) > 1:
        weighing = [k for k, one in enumerate(decision.criteria) if one.share > 0]
        alike = [
            criterion_name(decision.criteria[k].resolved, language) for k in weighing if is_equal_for_all(decision, k)
        ]
        if alike:
            lines.append(_("All of these models are alike in: {names}.").format(names=_(", ").join(alike)))
    return [line for line in lines if line]


def reason_text(key: str, language: str, share_first: float | None = None) -> str:
    """The words for a reason of `decision.choice`; empty if the headline says it already."""
    _ = translator(language)
    told = {
        "best_total": "",
        "only_one": "",
        "none_meets": "",
        "none_known": "",
        "tie": _("Another model has the same weighted mean; the first by name is told."),
        "within_error": _(
            "Within the errors of its values it may be another one: drawn anew from all intervals, it comes first in {share}."
        ).format(share="–" if share_first is None else share_text(share_first, language)),
        "threshold_within_error": _("It meets a threshold by its value; the interval of that value reaches beyond it."),
        "dimension_few_models": _(
            "The dimension weighs nothing: fewer than 10 models have both a dimension and this score, and with so few "
            "nobody could tell whether the two are related."
        ),
        "dimension_no_score": _("The dimension weighs nothing: there is no score that it could be held against."),
        "dimension_not_comparable": _(
            "The dimension weighs nothing: these models were not measured on one text with one tokenizer by one protocol."
        ),
        "dimension_use_class": _(
            "The dimension weighs nothing: in this use class it never supports a choice by itself."
        ),
        "some_lack_values": _("Models that lack a value are left out; nothing is filled in for them."),
        "other_task": _(
            "The rule was learned on another task: whether it holds on this one, only outcomes on it can say."
        ),
        "no_task": _("The rule was learned on a task, and is applied without the scores of any."),
    }
    return told.get(key, key)


def pareto_text(found: ParetoStatus, decision: Decision, language: str) -> str:
    """`on the front`, `dominated by SmolLM2 for sure`."""
    _ = translator(language)
    if found.status == "front":
        return _("on the front")
    names = [model_name(decision, run_id) for run_id in found.dominated_by]
    by = _(", ").join([*names[:2], *([_("{count} more").format(count=len(names) - 2)] if len(names) > 2 else [])])
    if found.status == "dominated":
        return _("dominated for sure: {names}").format(names=by)
    if found.is_on_front:
        return _("on the front, perhaps dominated: {names}").format(names=by)
    return _("perhaps dominated: {names}").format(names=by)


def exclusion_text(one: ExcludedCandidate, decision: Decision, language: str, assumed: Assumptions) -> str:
    """`SmolLM2: no score in gsm8k`, `MiniLM: score in arc 41.0, below 50.0`."""
    _ = translator(language)
    asked = decision.criteria[one.criterion].resolved
    name, of = criterion_name(asked, language, assumed.bits), asked.criterion.of
    if one.reason == "lacks":
        return _("{model}: no {criterion}").format(model=one.candidate.name, criterion=name)
    found = one.candidate.values[one.criterion]
    assert found is not None, "what misses a threshold has a value"
    low, high = asked.criterion.at_least, asked.criterion.at_most
    is_below = low is not None and found.value < low
    told = (
        _("{model}: {criterion} {value}, below {limit}")
        if is_below
        else _("{model}: {criterion} {value}, above {limit}")
    )
    return told.format(
        model=one.candidate.name,
        criterion=name,
        value=value_text(of, found.value, language, assumed),
        limit=value_text(of, low if is_below else high, language, assumed),
    )


def normalisation_text(language: str) -> str:
    """How values are combined into one number."""
    _ = translator(language)
    return _(
        "Each value counts between 0 (the worst of these models) and 1 (the best); parameters, memory, speed and price by "
        "their logarithm. The weighted mean of these chooses. Other models among them, or one less, move the ends."
    )


# --- cost ------------------------------------------------------------------------------------------------------


def assumption_name(key: str, language: str) -> str:
    """A field of `Assumptions`."""
    _ = translator(language)
    return {
        "bits": _("Bits per weight"),
        "cache_bits": _("Bits per number of the key-value cache"),
        "cache_share": _("Width of keys where not known (share of hidden size)"),
        "context_tokens": _("Tokens of context"),
        "requests": _("Requests at once"),
        "overhead": _("Memory on top, as a share"),
        "tokens_per_month": _("Tokens read per month (millions)"),
        "utilisation": _("Share of paid hours at work"),
        "price_per_hour": _("Price of the machine per hour"),
        "currency": _("Currency"),
        "speeds": _("Own speeds"),
    }[key]


def speed_source_text(cost: Cost, language: str) -> str:
    _ = translator(language)
    if cost.speed_from is None:
        return _("not known")
    if cost.speed_from == "own":
        return _("own figure")
    return _("measured on {device}").format(device=cost.device or "–")


def cache_text(cost: Cost, language: str) -> str:
    """The cache; marked as assumed if the width of the keys is."""
    _ = translator(language)
    told = value_text("memory", cost.cache_bytes, language)
    return told if cost.is_cache_known else _("{value} (width assumed)").format(value=told)


def cost_basis_text(language: str) -> str:
    _ = translator(language)
    return _(
        "Everything here follows from parameters, blocks, hidden size and the assumptions; no dimension enters it. A measured "
        "speed is that of reading text in the forward passes of a measurement, which also keep every state: a lower bound, "
        "on that machine. The price per hour must be of the same machine."
    )


# --- rules -----------------------------------------------------------------------------------------------------


def rule_name(saved: SavedRule, language: str) -> str:
    """`Small and good enough, version 2`."""
    _ = translator(language)
    return _("{name}, version {n}").format(name=saved.rule.name, n=saved.version)


def rule_text(rule: Rule, language: str) -> str:
    """`score of the task 60 %, at least 30.0; memory at 8 bits 40 %, at most 8.00 GB`."""
    _ = translator(language)
    whole = sum(one.weight for one in rule.criteria)
    return _("; ").join(_criterion_text(one, one.weight / whole, rule.assumptions, language) for one in rule.criteria)


def _criterion_text(one: Criterion, weight: float, assumed: Assumptions, language: str) -> str:
    _ = translator(language)
    parts = [f"{unresolved_criterion_name(one, language, assumed.bits)} {share_text(weight, language)}"]
    if one.at_least is not None:
        parts.append(_("at least {value}").format(value=value_text(one.of, one.at_least, language, assumed)))
    if one.at_most is not None:
        parts.append(_("at most {value}").format(value=value_text(one.of, one.at_most, language, assumed)))
    return _(", ").join(parts)


def track_record_text(found: TrackRecord, language: str) -> str:
    """`right in 3 of 4 (95 %: 19 to 99 %); 2 not known yet`."""
    _ = translator(language)
    if found.lower is None or found.upper is None:
        return _("no outcome known yet; choices: {n}").format(n=found.n_open) if found.n_open else _("not applied yet")
    told = _("right in {right} of {known} (95 %: {lower} to {upper})").format(
        right=found.n_right,
        known=found.n_known,
        lower=share_text(found.lower, language),
        upper=share_text(found.upper, language),
    )
    more = _("not known yet: {n}").format(n=found.n_open)
    return _("; ").join([told, more]) if found.n_open else told


def choice_text(choice: RuleChoiceRow, language: str) -> str:
    """`SmolLM2 among 24 models`."""
    _ = translator(language)
    if choice.model_id is None:
        return _("none of {n} models").format(n=choice.n)
    return _("{model} among {n} models").format(model=choice.model_id, n=choice.n_meeting)


def other_task_text(rule: Rule, benchmark: Mapping[str, Any] | None, language: str) -> str | None:
    """A note for a rule that is applied to another task than it was learned on."""
    _ = translator(language)
    if rule.task is None or (benchmark is not None and is_score_of(rule.task, benchmark)):
        return None
    if benchmark is None:
        return reason_text("no_task", language)
    told = _(
        "This rule was learned on {learned} and is applied to {applied}: whether it holds there, only outcomes on it can say."
    )
    return told.format(learned=task_name(rule.task, language), applied=task_name(benchmark, language))


# --- elsewhere -------------------------------------------------------------------------------------------------


def pooled_relation_lines(found: PooledRelation, language: str) -> list[str]:
    """The relation over all tasks, how much tasks differ, and what to expect for a further task."""
    _ = translator(language)
    if found.n_tasks == 1:
        return [_("Only one task has enough models: there is nothing to pool.")]
    told = _("Over {n} tasks of the same models: mean rho {rho}; the tasks' errors correlate by {shared}.")
    lines = [
        told.format(
            n=found.n_tasks,
            rho=coefficient_text(found.rho, found.lower, found.upper),
            shared=coefficient_text(found.error_correlation),
        )
    ]
    if found.p_differ is not None:
        lines.append(_("Whether the tasks differ in it: {p} (Cochran's Q).").format(p=p_value_text(found.p_differ)))
    if found.spread is None or found.further_lower is None or found.further_upper is None:
        lines.append(_("Fewer than four tasks: none is drawn towards the others."))
    else:
        further = _(
            "Between tasks it spreads by {spread} (on Fisher's scale); a further task may lie between {lower} and {upper}."
        )
        lines.append(
            further.format(
                spread=coefficient_text(found.spread),
                lower=coefficient_text(found.further_lower),
                upper=coefficient_text(found.further_upper),
            )
        )
    return lines


def concordance_text(order: OrderTable, language: str, *, over_texts: bool) -> str:
    """`Over 3 texts the order of 24 models agrees: Kendall's W 0.82 [0.70, 0.91], p < 0.001.`"""
    _ = translator(language)
    found = order.concordance
    if found.w is None:
        told = (
            _("Fewer than 5 models were measured on all of {n} texts: no coefficient of agreement.")
            if over_texts
            else _("Fewer than 5 models have scores of all of {n} tasks: no coefficient of agreement.")
        )
        if found.reason == "one_value":
            told = _("All values of one column are equal: there is no order to compare.")
        return told.format(n=len(order.columns))
    told = (
        _("Order of {n} models over {m} texts: Kendall's W {w}, {p} (0: unrelated orders, 1: one order).")
        if over_texts
        else _("Order of {n} models over {m} tasks: Kendall's W {w}, {p} (0: unrelated orders, 1: one order).")
    )
    return told.format(
        n=found.n, m=found.n_orders, w=coefficient_text(found.w, found.lower, found.upper), p=p_value_text(found.p)
    )


def agreement_text(found: VerdictAgreement, language: str) -> str:
    """`rises inside: one verdict on all texts for 8 of 10 models (95 %: 44 to 97 %); undecided: 2.`"""
    _ = translator(language)
    claim = wording.name("claim", found.claim, language)
    if found.lower is None or found.upper is None:
        return _("{claim}: no model has a verdict that says something on two texts; undecided: {undecided}.").format(
            claim=claim, undecided=found.n_undecided
        )
    told = _(
        "{claim}: one verdict on all texts for {same} of {n} models (95 %: {lower} to {upper}); undecided: {undecided}."
    )
    return told.format(
        claim=claim,
        same=found.n_same,
        n=found.n_models,
        lower=share_text(found.lower, language),
        upper=share_text(found.upper, language),
        undecided=found.n_undecided,
    )


def names(of: Sequence[str], language: str) -> str:
    """The first ones by name; the others are counted."""
    _ = translator(language)
    more = [_("{count} more").format(count=len(of) - SHOWN_NAMES)] if len(of) > SHOWN_NAMES else []
    return _(", ").join([*of[:SHOWN_NAMES], *more])
