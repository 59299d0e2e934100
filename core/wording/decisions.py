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
from core.wording.labels import amount, names_text, number, share_text
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


def decision_text(decision: Decision, bits: float | None = None) -> str:
    """The first model, what puts it first and how sure its place is, and how far the weight of a criterion may move before
    another is first."""
    standing, share = decision.standing, share_text(decision.share_first or 0.0)
    if not decision.candidates:
        return (
            _("None of {n} models meets the thresholds.", n=decision.n) if decision.n else _("No model has all values.")
        )
    first, *others = decision.candidates
    if standing == "no_choice":
        return _no_choice_text(decision, bits)
    if standing == "cannot_tell":
        if "tie" in decision.reasons:
            template = _("Cannot tell: {model} and {other} share their weighted mean.")
            return template.format(model=first.name, other=others[0].name)
        template = _("Cannot tell: {model} comes first in only {share} of draws within the errors.")
        return template.format(model=first.name, share=share)
    if not others:
        template = (
            _("On these criteria: {model}, the only one that meets them.")
            if standing == "choice"
            else _("On these criteria {model} leads: by value, it alone meets them.")
        )
        return template.format(model=first.name)
    if standing == "choice":
        sentence = _("By {criterion}: {model}.")
    elif decision.share_first is None:
        sentence = _("By {criterion}, {model} leads; no error is known.")
    else:
        sentence = _("By {criterion}, {model} leads, in {share} of draws within the errors.")
    told = sentence.format(criterion=criterion_name(decision.decisive, bits), model=first.name, share=share)
    return wording.joined_sentences((told, _change_text(decision, bits)))


def pilot_text(answer: PilotChoice, bits: float | None = None) -> str:
    """Which model to pilot, how sure, and what a use class or a missing value leaves of that."""
    if answer.refusal == "no_task_score":
        return _("No choice: where answers can do harm, only a task's scores choose; none is shared.")
    if answer.choice is None or answer.refusal:
        return _("No choice: no measure of quality covers all models.")
    decision = answer.choice.decision
    if answer.word == "leads" and decision.standing == "choice":
        template = (
            _("By {criterion}, {model} leads. No choice yet: something is untested.")
            if answer.capped == "use_class"
            else _("By {criterion}, {model} leads. No choice yet: values are missing.")
        )
    elif answer.word == "choice" and answer.is_dominant:
        template = _("By {criterion}: {model}, surely no worse than any other.")
    else:
        return decision_text(decision, bits)
    return template.format(criterion=criterion_name(decision.decisive, bits), model=decision.candidates[0].name)


def missing_lines(answer: PilotChoice) -> list[str]:
    """Which models lack what, and the command that brings it."""
    lacking = {
        what: [one for one in answer.missing if one.what == what] for what in {one.what for one in answer.missing}
    }
    names = {what: names_text([one.model for one in found]) for what, found in lacking.items()}
    benchmarks = {what: found[0].benchmark for what, found in lacking.items()}
    lines = []
    if "run" in names:
        lines.append(_("Not measured: {names}. Use `workdim measure MODEL`.", names=names["run"]))
    if "text" in names:
        lines.append(_("These models share no measured text. Use `workdim compare MODEL MODEL --text FILE`."))
    if "loss" in names:
        lines.append(_("Encoders have no loss: {names}. Bits per byte choose among the others.", names=names["loss"]))
    if undirected := benchmarks.get("direction"):
        name = row_benchmark_name(undirected)
        lines.append(_("Better end unknown: {benchmark}. Import the column higher_is_better.", benchmark=name))
    if "score" in names:
        asked = benchmarks["score"]
        if asked:
            template = _("Without score in {benchmark}: {names}. Use `workdim scores import FILE` to add it.")
        elif any(one.is_encoder for one in lacking["score"]):
            template = _("No common score (missing: {names}): `workdim scores import FILE` adds one, of encoders too.")
        else:
            template = _("No common score (missing: {names}): `workdim score MODEL --task FILE.jsonl` adds one.")
        lines.append(template.format(names=names["score"], benchmark=asked and row_benchmark_name(asked)))
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


def _no_choice_text(decision: Decision, bits: float | None) -> str:
    """That one model is left because the others lack a value: `No choice: 1 of 2 has this score; missing: SmolLM2.`"""
    if not decision.excluded:
        return _("No choice: {model} is the only model.", model=decision.candidates[0].name)
    names = names_text([excluded.candidate.name for excluded in decision.excluded], most=3)
    lacked = {excluded.criterion for excluded in decision.excluded}
    what = criterion_name(decision.criteria[lacked.pop()], bits) if len(lacked) == 1 else _("all that is asked")
    template = _("No choice: only 1 of {total} with {what}; missing: {names}.")
    return template.format(total=1 + len(decision.excluded), what=what, names=names)


def criteria_text(decision: Decision, told: str, bits: float | None = None) -> str:
    """What the models are chosen by: `Criteria: bits per byte (75 %), parameters (25 %).`

    Empty where nothing weighs, or where the one that does is named in the sentence `told` above.
    """
    weighing = {criterion_name(one, bits): share_text(one.share) for one in decision.criteria if one.share > 0}
    if not weighing or (len(weighing) == 1 and next(iter(weighing)) in told):
        return ""
    names = [_("{name} ({share})", name=name, share=share) for name, share in weighing.items()]
    return _("Criteria: {names}.", names=names)


def _change_text(decision: Decision, bits: float | None) -> str:
    """The smallest change of a weight that puts another model first."""
    if not decision.sensitivities:
        return _("No other criterion weighs.")
    change = decision.nearest_change
    if change is None:
        return _("No single weight changes the first place.")
    template = (
        _("Above a weight of {share} for {criterion}: {other}.")
        if change.new_share >= change.share
        else _("Below a weight of {share} for {criterion}: {other}.")
    )
    return template.format(
        criterion=criterion_name(decision.criteria[change.criterion], bits),
        share=share_text(change.new_share),
        other=model_name(decision, change.run_id),
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
    said = {"tie", "one_left"}  # by `decision_text`
    if decision.standing == "leads" and decision.share_first is None and len(decision.candidates) > 1:
        said.add("errors_unknown")
    lines = [reason_text(key) for key in decision.reasons if key not in said]
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
        "one_left": "Only one model has all values: no choice.",
        "tie": "Another model has the same weighted mean.",
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
    """Where a model stands on the Pareto front: `on the front`, `dominated for sure: SmolLM2`."""
    if status.status == "front":
        return _("on the front")
    names = [model_name(decision, run_id) for run_id in status.dominated_by]
    by = names_text(names, most=2)
    if status.status == "dominated":
        return _("dominated for sure: {names}", names=by)
    if status.is_on_front:
        return _("on the front, perhaps dominated: {names}", names=by)
    return _("perhaps dominated: {names}", names=by)


def exclusion_text(excluded: ExcludedCandidate, decision: Decision, assumptions: Assumptions) -> str:
    """Why a model is left out: `SmolLM2: no score in gsm8k`, `MiniLM: score in arc 41.0, below 50.0`."""
    resolved = decision.criteria[excluded.criterion]
    name, quantity = criterion_name(resolved, assumptions.bits), resolved.criterion.of
    if excluded.reason == "lacks":
        return _("{model}: no {criterion}", model=excluded.candidate.name, criterion=name)
    value = excluded.candidate.values[excluded.criterion]
    assert value is not None, "what misses a threshold has a value"
    low, high = resolved.criterion.at_least, resolved.criterion.at_most
    is_below = low is not None and value.value < low
    template = (
        _("{model}: {criterion} {value}, below {limit}")
        if is_below
        else _("{model}: {criterion} {value}, above {limit}")
    )
    return template.format(
        model=excluded.candidate.name,
        criterion=name,
        value=value_text(quantity, value.value, assumptions),
        limit=value_text(quantity, low if is_below else high, assumptions),
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
    parts = [f"{unresolved_criterion_name(criterion, assumptions.bits)} {share_text(weight)}"]
    if criterion.at_least is not None:
        parts.append(_("at least {value}", value=value_text(criterion.of, criterion.at_least, assumptions)))
    if criterion.at_most is not None:
        parts.append(_("at most {value}", value=value_text(criterion.of, criterion.at_most, assumptions)))
    return _(", ").join(parts)


def track_record_text(record: TrackRecord) -> str:
    """How often a rule was right: `right in 3 of 4 (95 %: 19 to 99 %); not known yet: 2`."""
    if record.lower is None or record.upper is None:
        return _("no outcome known yet; choices: {n}", n=record.n_open) if record.n_open else _("not applied yet")
    right = _("right in {right} of {known} (95 %: {lower} to {upper})").format(
        right=record.n_right, known=record.n_known, lower=share_text(record.lower), upper=share_text(record.upper)
    )
    not_known = _("not known yet: {n}", n=record.n_open)
    return _("; ").join([right, not_known]) if record.n_open else right


def choice_text(choice: RuleChoiceRow) -> str:
    """What was chosen: `SmolLM2 among 24 models`."""
    if choice.model_id is None:
        return _("none of {n} models", n=choice.n)
    return _("{model} among {n} models", model=choice.model_id, n=choice.n_meeting)


def other_task_text(rule: Rule, benchmark: Mapping[str, Any] | None) -> str | None:
    """That a rule is applied to another task than it was learned on, or to none; None otherwise."""
    if (remark := task_remark(rule, benchmark)) != "other_task":
        return remark and reason_text(remark)
    template = _("Learned on {learned}, applied to {applied}: only outcomes show whether it holds.")
    return template.format(learned=task_name(rule.task), applied=task_name(benchmark))
