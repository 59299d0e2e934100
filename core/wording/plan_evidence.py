"""The wording of what else a plan measured: harder texts, other choices, directions of layers, a student, rules."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from core import wording
from core.analysis.plans import (
    LayerDirections,
    RuleForecast,
    RuleRecord,
    alternatives,
    excess_of_published,
    harder_text_prices,
    rules_with_same_blocks,
    student_width,
)
from core.locale import _
from core.records import LayerPlan, text_budget
from core.sources import Text, shown
from core.tables import LayerCorrelatorRow, PlanOutcomeRow, PlanRow, Sibling
from core.wording.labels import name
from core.wording.numbers import number, ranges, share_text
from core.wording.plans import (
    before_and_after,
    blocks_cell,
    budget_text,
    change_text,
    loss_text,
    nats_text,
    outcome_price_text,
    points_text,
    price_text,
)


def largest_losses_text(layer_plan: LayerPlan) -> str:
    """`largest_loss_lines` as one text."""
    return wording.joined_sentences(largest_loss_lines(layer_plan))


def largest_loss_lines(layer_plan: LayerPlan) -> list[str]:
    """The probe and the text that lose most, with intervals. A fall of a probe within its error is said to be one."""
    rows = [
        row
        for row in harder_text_prices(layer_plan)
        if row.is_healed == layer_plan.plan.is_healed and row.difference is not None
    ]
    held_out = layer_plan.price.difference or 0.0
    texts = [row for row in rows if row.measure == "loss" and row.text != "task"]
    answers = [row for row in rows if row.measure != "loss" and f"no_room_{row.text}" not in layer_plan.plan.reasons]
    lines = []
    if answers:
        worst = min(answers, key=lambda row: row.difference or 0.0)
        line = (
            _("Breaks first: {what}, {change} points.")
            if worst.upper is not None and worst.upper < 0
            else _("No probe falls beyond its error; lowest: {what}, {change} points.")
        )
        lines.append(line.format(what=name("plan_text", worst.text), change=points_text(worst)))
    if texts:
        worst = max(texts, key=lambda row: row.difference or 0.0)
        line = _("Largest loss: {what}, {price} nats per token; held-out text {held_out}.")
        lines.append(
            line.format(
                what=name("plan_text", worst.text), price=outcome_price_text(worst), held_out=price_text(held_out)
            )
        )
    return lines


def published_lines(layer_plan: LayerPlan) -> list[str]:
    """What published choices of as many blocks cost above the plan (paired, before healing), and which chose the same."""
    rows = excess_of_published(layer_plan)
    if not rows:
        return []
    prices = _(", ").join(Text("{} {}").format(rule_name(row.rule), outcome_price_text(row)) for row in rows)
    if all(row.lower is not None and row.lower > 0 for row in rows):
        line = _("Every published choice of as many blocks loses more on held-out text: {told}.")
    else:
        line = _("Not certainly better than published choices of as many blocks; their loss above this one: {told}.")
    return [line.format(told=prices), *same_choice_lines(layer_plan)]


def same_choice_lines(layer_plan: LayerPlan) -> list[str]:
    """The published rules that chose the plan's blocks, in a line; none where no rule did."""
    same = [rule_name(rule) for rule in rules_with_same_blocks(layer_plan)]
    return [_("The same choice: {rules}.").format(rules=_(", ").join(same))] if same else []


def control_lines(plan: PlanRow) -> list[str]:
    """What random sets of as many blocks cost, and what the plan's blocks cost alone."""
    lines = []
    if plan.random_10th is not None:
        lines.append(
            _(
                "Nine in ten random sets of its size lose {limit} nats per token or more; the plan, on the same windows, {own}."
            ).format(limit=price_text(plan.random_10th), own=price_text(plan.same_windows))
        )
    if plan.sum_of_singles is not None and len(plan.blocks) > 1:
        lines.append(
            _("Its blocks alone: {total} nats per token in sum.").format(total=price_text(plan.sum_of_singles))
        )
    return lines


def alternative_lines(layer_plan: LayerPlan) -> list[str]:
    """What else makes the model smaller, and what is lost for each percent that is saved."""
    lines = []
    for option in alternatives(layer_plan):
        template = (
            _("Blocks rounded to 8 bits instead: {loss}; {memory} less memory, {price} nats for each percent.")
            if option.row.rule == "rounding"
            else _("The plan: {memory} less memory, {price} nats for each percent.")
        )
        values = {"loss": loss_text(option.row), "memory": share_text(option.memory)}
        lines.append(template.format(price=shown(option.per_percent(option.memory), ".4f"), **values))
    return lines if len(lines) > 1 else []


def sibling_lines(sibling: Sibling | None, plan: PlanRow) -> list[str]:
    """The smaller model that was measured on the same text, in a line; none without one."""
    if sibling is None:
        return []
    line = _("Smaller model of the family: {name}, {less} fewer parameters, {bits} bits per byte against {own}.")
    return [
        line.format(
            name=sibling.name,
            less=share_text(1 - sibling.parameters / plan.parameters_before),
            bits=number(sibling.bits_per_byte),
            own=number(sibling.own_bits_per_byte),
        )
    ]


def readable_lines(layers: Sequence[LayerCorrelatorRow], plan: PlanRow) -> list[str]:
    """What the head reads of the next token before and after each block that goes, in a line; none where nobody measured it."""
    loss = {row.layer: row.value for row in layers}
    if not loss or not plan.blocks:
        return []
    changes = [
        Text("{}: {} → {}").format(block, number(loss[block]), number(loss[block + 1])) for block in sorted(plan.blocks)
    ]
    line = _("Readable loss before and after each of its blocks, in nats: {changes}.")
    return [line.format(changes=_(", ").join(changes))]


def direction_lines(layer_plan: LayerPlan) -> list[str]:
    """How many directions each layer needs, and all layers at once: on held-out text, then for the task."""
    return [line for text in ("held_out", "task") for line in _direction_lines_on(layer_plan, text)]


def _direction_lines_on(layer_plan: LayerPlan, text: str) -> list[str]:
    lines = []
    for rule in ("projection", "joint_projection"):
        rows = layer_plan.of(text, "loss", rule)
        for layers in dict.fromkeys(tuple(row.blocks) for row in rows):
            chosen = next((row for row in rows if tuple(row.blocks) == layers and row.is_chosen), None)
            where = _("all layers at once") if rule != "projection" else _("layer {layer}").format(layer=layers[0])
            if text == "task":
                where = _("task, {where}").format(where=where)
            if chosen is None:
                lines.append(_("{where}: no rank stays within the budget.").format(where=where))
                continue
            random = [row for row in layer_plan.of(text, "loss", "random_subspace") if row.blocks == list(layers)]
            line = _("{where}: {rank} directions suffice, {price} nats per token").format(
                where=where, rank=chosen.rank, price=outcome_price_text(chosen)
            )
            if random:
                line += _("; a random subspace: {price}").format(price=outcome_price_text(random[0]))
            lines.append(line)
    return lines


def student_lines(layer_plan: LayerPlan) -> list[str]:
    """The width and the blocks that a smaller model may start with: from all layers jointly, never from single ones."""
    width = student_width(layer_plan)
    if width is None:
        return [_("No width is advised for a student: layers were not projected jointly.")]
    values: dict[str, Any] = {"width": width.width, "budget": nats_text(text_budget(layer_plan.plan))}
    if width.enough is None or width.enough.rank == width.width:
        lines = [_("No student narrower than {width} is advised: no smaller rank stays within {budget}.")]
    else:
        row = width.enough
        values |= {"rank": row.rank, "price": outcome_price_text(row)}
        lines = [
            _("A student needs no more than {rank} of {width} dimensions: {price} nats per token, within {budget}.")
        ]
    if width.too_few is not None:
        row = width.too_few
        values |= {"few": row.rank, "few_price": outcome_price_text(row)}
        lines.append(_("{few} are too few: {few_price} nats per token."))
    kept = layer_plan.kept
    values |= {"n": len(kept), "kept": _(", ").join(ranges(kept))}
    lines.append(_("Its {n} blocks begin as the teacher's {kept}, in this order."))
    return [line.format(**values) for line in lines]


def sufficient_directions_text(layer_plan: LayerPlan, points: Sequence[LayerDirections]) -> str:
    """The ranks that suffice in the layers tried, and d2 there: a short form beside profiles."""
    ranks = [point.rank for point in points if point.rank is not None]
    d2 = [point.d2 for point in points if point.d2 is not None]
    if not ranks:
        return ""
    line = _("{name}: within {budget}, {least} to {most} directions suffice after layers {layers}.").format(
        name=layer_plan.plan.name,
        budget=budget_text(layer_plan.plan),
        least=min(ranks),
        most=max(ranks),
        layers=_(", ").join(str(point.layer) for point in points if point.rank is not None),
    )
    if not d2:
        return line
    d2_line = _("d2 of the same tokens reads {least} to {most} there.").format(least=min(d2), most=max(d2))
    return wording.joined_sentences((line, d2_line))


def rule_name(rule: str) -> str:
    return name("plan_rule", rule)


def _repaired(row: PlanOutcomeRow) -> str:
    return _(", repaired") if row.is_healed else ""


def rival_columns() -> dict[str, Callable[[PlanOutcomeRow], Any]]:
    """The table of the sets of the plan's size (`analysis.plans.rivals`): head -> the cell of a row."""
    return {
        _("Rule"): lambda row: rule_name(row.rule) + _repaired(row),
        _("Blocks"): blocks_cell,
        _("Nats per token [95 %]"): outcome_price_text,
        _("Taken"): lambda row: _("the plan") if row.is_chosen else _("may lose least") if row.is_equal else "",
    }


def harder_columns() -> dict[str, Callable[[PlanOutcomeRow], Any]]:
    """The table of what the loss on held-out text may hide (`analysis.plans.harder_text_prices`)."""
    return {
        _("Text or probe"): lambda row: name("plan_text", row.text) + _repaired(row),
        _("Quantity"): lambda row: name("plan_measure", row.measure),
        _("Before"): lambda row: before_and_after(row)[0],
        _("After"): lambda row: before_and_after(row)[1],
        _("Change [95 %]"): change_text,
        _("N"): lambda row: row.n_points,
    }


def best_rule_text(records: Sequence[RuleRecord]) -> str:
    """The rules that came closest to the cheapest set, over all verified plans. `records` begins with the best."""
    best = [record for record in records if record.excess <= records[0].excess + 1e-9]
    return _(
        "Best rule in {n} verified plan: {rules}, {excess:.3f} nats per token above the least.",
        "Best rule over {n} verified plans: {rules}, {excess:.3f} nats per token above the least.",
        n=best[0].n_plans,
        rules=_(" and ").join(rule_name(record.rule) for record in best),
        excess=best[0].excess,
    )


def foresight_text(forecasts: Sequence[RuleForecast]) -> str:
    """How well sums over single blocks predict the cost of sets, on average over these plans."""
    n = len(forecasts)
    return _(
        "Foresight of a set's loss (Spearman, {n} plan): sum of single losses {alone:.2f}, of influences "
        "{influence:.2f}.",
        "Foresight of a set's loss (Spearman, mean of {n} plans): sum of single losses {alone:.2f}, of "
        "influences {influence:.2f}.",
        n=n,
        alone=sum(forecast.alone for forecast in forecasts) / n,
        influence=sum(forecast.influence for forecast in forecasts) / n,
    )
