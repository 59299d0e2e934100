"""The wording of a decision: the choice, what would change it, why models are left out, and a rule's track record.

A choice rests on stated criteria. No sentence calls a dimension good or bases a saving on one.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from core import wording
from core.analysis.criteria import Cost, CriterionValue, ResolvedCriterion
from core.analysis.decision import (
    AMOUNTS,
    Decision,
    ExcludedCandidate,
    ParetoStatus,
    TrackRecord,
    is_equal_for_all,
    task_remark,
)
from core.analysis.units import FEWEST_TEST
from core.locale import N_, _, translated
from core.pilots.saved import DIMENSIONS, Assumptions, Criterion, Rule, SavedRule, TaskName
from core.questions.choice import PilotChoice
from core.sources import shown
from core.tables import RuleChoiceRow
from core.wording.labels import amount, detailed, listed, names_text, number, share_text
from core.wording.scores import row_benchmark_name


def criterion_name(resolved: ResolvedCriterion, bits: float | None = None) -> str:
    """A criterion with what it was resolved to: `score in lambada_openai (acc, 0-shot)`, `memory at 8 bits`."""
    if resolved.benchmark is None:
        return unresolved_criterion_name(resolved.criterion, bits)
    return _("score in {benchmark}", benchmark=row_benchmark_name(resolved.benchmark))


def measured_criterion_name(resolved: ResolvedCriterion, n_points: tuple[int, int], bits: float | None = None) -> str:
    """As `criterion_name`, with sample size and estimator if it is a dimension."""
    name = criterion_name(resolved, bits)
    return wording.estimate_label(name, n_points) if resolved.criterion.of in DIMENSIONS else name


def unresolved_criterion_name(criterion: Criterion, bits: float | None = None) -> str:
    """A criterion as declared, before it meets data: its score is that of the benchmark it names, or of the task."""
    if criterion.of == "score":
        benchmark = criterion.benchmark
        return _("score in {benchmark}", benchmark=task_name(benchmark)) if benchmark else _("score of the task")
    name = wording.name("criterion", criterion.of)
    return (
        _("{quantity} at {bits} bits", quantity=name, bits=shown(bits, "g"))
        if criterion.of == "memory" and bits
        else name
    )


def task_name(task: TaskName | Mapping[str, Any] | None) -> str:
    """A benchmark with its settings; `no task in particular` for None."""
    return _("no task in particular") if task is None else row_benchmark_name(task)


def value_text(quantity: str, value: float | None, assumptions: Assumptions | None = None) -> str:
    """The value of a criterion with its unit: `1.35 M`, `2.10 GB`, `2,048 tokens/s`, `120 USD`, `61.5`."""
    if value is None:
        return "–"
    if quantity == "parameters":
        return _("{n} B", n=number(value / 1e9)) if value >= 1e9 else _("{n} M", n=number(value / 1e6))
    if quantity == "memory":
        return amount(round(value))
    if quantity == "speed":
        return _("{n} tokens/s", n=shown(value, ",.0f") if value >= 100 else number(value))
    if quantity == "price":
        currency = (assumptions or Assumptions()).currency
        return _("{n} {currency}", n=shown(value, ",.0f") if value >= 100 else number(value), currency=currency)
    return number(value)


def interval_text(quantity: str, value: CriterionValue | None, assumptions: Assumptions | None = None) -> str:
    """As `value_text`, with the interval if there is one: `61.5 [60.1, 62.9]`."""
    if value is None:
        return "–"
    text = value_text(quantity, value.value, assumptions)
    if quantity in AMOUNTS or value.lower is None or value.upper is None or value.lower == value.upper:
        return text
    return f"{text} [{number(value.lower)}, {number(value.upper)}]"


# --- the decision ----------------------------------------------------------------------------------------------


def decision_text(
    decision: Decision, bits: float | None = None, *, is_capped: bool = False, is_dominant: bool = False
) -> str:
    """The first model, what puts it first and how sure its place is, and how far the weight of a criterion may move before
    another is first. `is_capped`: something that no value says keeps it from being the choice."""
    if not decision.candidates:
        return _("No model has all values and meets the thresholds.")
    first, *others = decision.candidates
    if decision.standing == "no_choice":
        return _(
            "No choice: only {model} has all that is asked (models: {n}).",
            n=1 + len(decision.excluded),
            model=first.name,
        )
    share = share_text(decision.share_first or 0.0)
    if decision.standing == "cannot_tell":
        if "tie" in decision.reasons:
            return _(
                "Cannot tell: {model} and {other} share their weighted mean.", model=first.name, other=others[0].name
            )
        return _(
            "Cannot tell: {model} comes first in only {share} of draws within the errors.",
            model=first.name,
            share=share,
        )
    is_choice = decision.standing == "choice" and not is_capped
    template = _("By {criterion}: {model}.") if is_choice else _("By {criterion}, {model} leads.")
    told = [template.format(criterion=criterion_name(decision.decisive, bits), model=first.name)]
    if is_capped:
        told.append(_("No choice yet: something is untested or missing."))
    elif not others:
        told.append(_("No other meets the criteria."))
    elif is_dominant:
        told.append(_("It is surely no worse than any other."))
    else:
        if not is_choice and decision.share_first is not None:
            told.append(_("It is first in {share} of draws within the errors.", share=share))
        told.append(_change_text(decision, bits))
    return wording.joined_sentences(told)


def pilot_text(answer: PilotChoice, bits: float | None = None) -> str:
    """Which model to pilot, how sure, and what a use class or a missing value leaves of that."""
    if answer.refusal == "no_task_score":
        return _("No choice: where answers can do harm, only a task's scores choose; none is shared.")
    if answer.choice is None or answer.refusal:
        return _("No choice: no measure of quality covers all models.")
    decision = answer.choice.decision
    is_dominant = answer.word == "choice" and answer.is_dominant
    return decision_text(decision, bits, is_capped=answer.word != decision.standing, is_dominant=is_dominant)


MISSING = N_(
    {
        "run": "Not measured: {names}. Use `workdim measure MODEL`.",
        "text": "These models share no measured text. Use `workdim compare MODEL MODEL --text FILE`.",
        "loss": "Encoders have no loss: {names}. Bits per byte choose among the others.",
        "direction": "Better end unknown: {benchmark}. Import the column higher_is_better.",
        "score": "No score in {benchmark}: {names}. `workdim scores import FILE` adds one.",
    }
)
"""What models lack, and the command that brings it."""


def missing_lines(answer: PilotChoice) -> list[str]:
    """Which models lack what, and the command that brings it."""
    lines = []
    for what, template in MISSING.items():
        if found := [one for one in answer.missing if one.what == what]:
            benchmark = found[0].benchmark
            lines.append(
                translated(template).format(
                    names=names_text([one.model for one in found]),
                    benchmark=row_benchmark_name(benchmark) if benchmark else _("a common benchmark"),
                )
            )
    return lines


UNTESTED = N_(
    {
        "own_task": "a task of your own",
        "error": "other questions",
        "one_text": "other texts",
        "harm": "how often an answer does harm",
    }
)


def untested_lines(answer: PilotChoice) -> list[str]:
    """What nothing here has tested, in one sentence; none where that does no harm."""
    untested = _("; ").join(translated(UNTESTED[key]) for key in answer.untested)
    return [_("Untested: {what}.", what=untested)] if untested else []


def criteria_text(decision: Decision, told: str, bits: float | None = None) -> str:
    """What the models are chosen by: `Criteria: bits per byte (75 %), parameters (25 %).`

    Empty where nothing weighs, or where the one that does is named in the sentence `told` above.
    """
    weighing = {criterion_name(one, bits): share_text(one.share) for one in decision.criteria if one.share > 0}
    if not weighing or (len(weighing) == 1 and next(iter(weighing)) in told):
        return ""
    names = [detailed(name, [share]) for name, share in weighing.items()]
    return _("Criteria: {names}.", names=names)


def _change_text(decision: Decision, bits: float | None) -> str:
    """The smallest change of a weight that puts another model first."""
    change = decision.nearest_change
    if change is None:
        return _("No single weight changes the first place.")
    return _(
        "{other} comes first at a weight of {share} for {criterion}.",
        other=model_name(decision, change.run_id),
        criterion=criterion_name(decision.criteria[change.criterion], bits),
        share=share_text(change.new_share),
    )


def standing_text(decision: Decision | None) -> str:
    """The first model in a table: `SmolLM2`, `SmolLM2 leads`, `cannot tell`; a dash where nothing is chosen."""
    if decision is not None and decision.standing == "cannot_tell":
        return _("cannot tell")
    if decision is None or decision.chosen is None:
        return "–"
    name = decision.chosen.name
    return name if decision.standing == "choice" else _("{name} leads", name=name)


def model_name(decision: Decision, run_id: str) -> str:
    """The name of the model of a run, whether it meets the criteria or is left out."""
    candidates = [*decision.candidates, *(candidate.candidate for candidate in decision.excluded)]
    return next(candidate.name for candidate in candidates if candidate.run_id == run_id)


def note_lines(decision: Decision) -> list[str]:
    """What limits the choice, one line each."""
    lines = list(map(reason_text, decision.reasons))
    if len(decision.candidates) > 1:
        weighing = [i for i, criterion in enumerate(decision.criteria) if criterion.share > 0]
        alike = [criterion_name(decision.criteria[i]) for i in weighing if is_equal_for_all(decision, i)]
        if alike:
            lines.append(_("Alike in all models: {names}.", names=alike))
    of_losses = [i for i, criterion in enumerate(decision.criteria) if criterion.criterion.of == "bits_per_byte"]
    if any((value := one.values[i]) and value.lower is not None for one in decision.candidates for i in of_losses):
        lines.append(_("Intervals of bits per byte are for differences between these models."))
    return [line for line in lines if line]


REASONS = N_(
    {
        "within_error": "Errors of models are taken as independent.",
        "errors_unknown": "A value has no known error: how sure the first place is cannot be told.",
        "threshold_within_error": "Its interval reaches across a threshold.",
        "score_no_direction": "A score weighs nothing: which end is better is unclear.",
        "some_lack_values": "Models without a value are left out.",
        "other_task": "Learned on another task: only outcomes show whether it holds.",
        "no_task": "Learned on a task, applied without scores.",
    }
)
NO_WEIGHT = N_(
    {
        "dimension_few_models": "fewer than {n} models have it and this score",
        "dimension_no_score": "there is no score",
        "dimension_not_comparable": "text, tokenizer or protocol differ",
        "dimension_use_class": "it supports no choice in this use class",
    }
)
"""Why the dimension weighs nothing."""


def reason_text(reason: str) -> str:
    """A reason of `Decision.reasons` in words; empty if `decision_text` says it already."""
    if reason in NO_WEIGHT:
        return _("The dimension weighs nothing: {why}.", why=translated(NO_WEIGHT[reason]).format(n=FEWEST_TEST))
    return translated(REASONS[reason]) if reason in REASONS else ""


def pareto_text(status: ParetoStatus, decision: Decision) -> str:
    """Whether other models are better in all that counts: `on the front`, `dominated for sure: SmolLM2`."""
    if status.status == "front":
        return _("on the front")
    names = [model_name(decision, run_id) for run_id in status.dominated_by]
    by = names_text(names, most=2)
    if status.status == "dominated":
        return _("dominated for sure: {names}", names=by)
    return _("perhaps dominated: {names}", names=by)


def exclusion_text(excluded: ExcludedCandidate, decision: Decision, assumptions: Assumptions) -> str:
    """Why a model is left out: `SmolLM2: no score in gsm8k`, `MiniLM: score in arc 41.0, asked for at least 50.0`."""
    resolved = decision.criteria[excluded.criterion]
    name = criterion_name(resolved, assumptions.bits)
    if excluded.reason == "lacks":
        return _("{model}: no {criterion}", model=excluded.candidate.name, criterion=name)
    value = excluded.candidate.values[excluded.criterion]
    assert value is not None, "what misses a threshold has a value"
    return _(
        "{model}: {criterion} {value}, asked for {limits}",
        model=excluded.candidate.name,
        criterion=name,
        value=value_text(resolved.criterion.of, value.value, assumptions),
        limits=_limit_texts(resolved.criterion, assumptions),
    )


def normalisation_text() -> str:
    """How the values of a model are combined into one number."""
    return _("Values count from 0 (worst) to 1 (best), amounts by logarithm; other models move both ends.")


# --- cost ------------------------------------------------------------------------------------------------------


ASSUMPTIONS = N_(
    {
        "bits": "Bits per weight",
        "cache_bits": "Bits per cached number",
        "cache_share": "Width of unknown keys (share of hidden size)",
        "context_tokens": "Tokens of context",
        "requests": "Requests at once",
        "overhead": "Memory on top, as a share",
        "tokens_per_month": "Tokens read per month (millions)",
        "utilisation": "Share of paid hours at work",
        "price_per_hour": "Machine cost per hour",
        "currency": "Currency",
        "speeds": "Own speeds",
    }
)


def assumption_name(key: str) -> str:
    """The name of a field of `Assumptions`."""
    return translated(ASSUMPTIONS[key])


def speed_source_text(cost: Cost) -> str:
    """Where a speed comes from: `measured on cuda`, `own figure`, `not known`."""
    if cost.speed_from is None:
        return _("not known")
    if cost.speed_from == "own":
        return _("own figure")
    return _("measured on {device}", device=cost.device or "–")


def cache_text(cost: Cost) -> str:
    """The size of the key-value cache: `0.12 GB`, with `(width assumed)` if the model does not state its keys."""
    text = value_text("memory", cost.cache_bytes)
    return text if cost.is_cache_known else _("{value} (width assumed)", value=text)


def cost_basis_text() -> str:
    """What costs are computed from."""
    return _(
        "Computed without the dimension. Measured speed is a lower bound; the hourly cost must be of that machine."
    )


# --- rules -----------------------------------------------------------------------------------------------------


def rule_name(saved: SavedRule) -> str:
    """A saved rule with its version: `Small and good enough, version 2`."""
    return _("{name}, version {n}", name=saved.rule.name, n=saved.version)


def rule_text(rule: Rule) -> str:
    """The criteria of a rule: `score of the task 60 %, at least 30.0; memory at 8 bits 40 %, at most 8.00 GB`."""
    total = sum(criterion.weight for criterion in rule.criteria)
    return _("; ").join(
        _criterion_text(criterion, criterion.weight / total, rule.assumptions) for criterion in rule.criteria
    )


def _criterion_text(criterion: Criterion, weight: float, assumptions: Assumptions) -> str:
    weighed = f"{unresolved_criterion_name(criterion, assumptions.bits)} {share_text(weight)}"
    return listed([weighed, *_limit_texts(criterion, assumptions)])


def _limit_texts(criterion: Criterion, assumptions: Assumptions) -> list[str]:
    ends = ((_("at least {value}"), criterion.at_least), (_("at most {value}"), criterion.at_most))
    return [
        template.format(value=value_text(criterion.of, end, assumptions)) for template, end in ends if end is not None
    ]


def track_record_text(record: TrackRecord) -> str:
    """How often a rule was right: `right in 3 of 4 (95 %: 19 to 99 %); not known yet: 2`."""
    if record.lower is None or record.upper is None:
        return _("no outcome known yet; choices: {n}", n=record.n_open)
    return _(
        "right in {right} of {known} (95 %: {lower} to {upper}); not known yet: {n}",
        right=record.n_right,
        known=record.n_known,
        lower=share_text(record.lower),
        upper=share_text(record.upper),
        n=record.n_open,
    )


def choice_text(choice: RuleChoiceRow) -> str:
    """What was chosen: `SmolLM2 among 24 models`."""
    if choice.model_id is None:
        return _("none of {n} models", n=choice.n)
    return _("{model} among {n} models", model=choice.model_id, n=choice.n_meeting)


def other_task_text(rule: Rule, benchmark: Mapping[str, Any] | None) -> str | None:
    """That a rule is applied to another task than it was learned on, or to none; None otherwise."""
    if (remark := task_remark(rule, benchmark)) != "other_task":
        return remark and reason_text(remark)
    names = {"learned": task_name(rule.task), "applied": task_name(benchmark)}
    return _("Learned on {learned}, applied to {applied}: only outcomes show whether it holds.", **names)
