"""The wording of a layer plan: its answer, the reasons against it and what its numbers do not tell. Blocks count from 0.

What else a plan measured is worded in plan_evidence.
"""

from __future__ import annotations

import math
from collections.abc import Collection
from itertools import groupby
from typing import Any

from core.analysis.plans import (
    BudgetResult,
    fallen_abilities,
    has_given_blocks,
    parameters_saved_share,
    search_steps,
    sets_within_budget,
    standing,
    time_saved_share,
    unhealed_price,
    upper_limit,
    within_own_budget,
)
from core.locale import N_, _, translated, worded
from core.records import AGAINST_PLAN, BUDGETS, PUBLISHED_FIFTH, LayerPlan, PlanEstimate
from core.sources import Text, counted, shown, sourced, stated
from core.tables import PlanOutcomeRow, PlanRow
from core.wording import joined_sentences
from core.wording.labels import name, shortened_name
from core.wording.numbers import amount, duration, number, ranges, share_text

MAX_LISTED_BLOCKS = 12
"""More blocks than this are shown as ranges."""


REASONS = {
    "not_verified": N_("Its loss is from the text that chose it, so too low: use --verify."),
    "over_budget": N_("The upper limit of its loss is over the budget."),
    "no_better_than_random": N_("One in ten random sets of its size loses less."),
    "few_documents": N_("Fewer than eight documents: intervals say less of other texts."),
    "few_random_sets": N_("Compared with all other sets of its size, fewer than 20."),
    "budget_zero": N_("A budget of 0 allows only what certainly lowers the loss."),
    "mixture": N_("Mixture of experts: memory falls by more than the work for a token."),
    "short_windows": N_("Windows have fewer than 256 tokens: longer contexts are untested."),
    "few_direction_tokens": N_("With a longer text fewer directions may suffice."),
    "streamed": N_("Weights read block by block: attention, MLP and time were not measured."),
    "no_sublayers": N_("This architecture's attention and MLP cannot be removed alone."),
    "language_not_read": N_("The whole model hardly reads the other language: untested there."),
    "not_healed": N_("It was not repaired."),
    "healed_not_better": N_("Repair did not help on held-out text and was not used."),
}
OF_ABILITIES = {
    "falls_": N_("Less than half of the right answers beyond chance are left: {ability}."),
    "no_room_": N_("The whole model is too weak to show a fall: {ability}."),
}
"""How the codes of reasons begin that say something of one of `ABILITIES`."""


HEALING = {
    "first_block": N_("Repair needs a block before the first that goes."),
    "streamed": N_("Weights read block by block cannot be changed."),
    "short_text": N_("Repair needs 8,192 tokens that choose."),
    **dict.fromkeys(("no_stream", "norm_between", "mixture"), N_("Repair does not know this architecture.")),
}
"""Why a plan cannot be repaired."""
MERGEKIT = {
    "gguf": N_("mergekit does not read GGUF files: use --save-model."),
    "healed": N_("A mergekit file cannot hold repaired weights: use --save-model."),
    "configuration": N_("mergekit would copy a configuration that no longer fits: use --save-model."),
}
"""Why mergekit could not make the smaller model from a recipe."""


# --- the answer ------------------------------------------------------------------------------------------------


def plan_text(layer_plan: LayerPlan) -> str:
    """What the plan's own budget allows."""
    return within_budget_text(layer_plan, within_own_budget(layer_plan), budget_text(layer_plan.plan))


def _without_text(row: PlanOutcomeRow, plan: PlanRow) -> str:
    return _("Without {blocks}: {loss}.").format(blocks=blocks_text(row.blocks, plan.n_layers), loss=loss_text(row))


def own_set_text(layer_plan: LayerPlan, told: BudgetResult | None = None) -> str:
    """What the plan's own set loses, which savings and cautions are of; empty where the answer within a budget (`told`; by
    default within the plan's own) has said it."""
    found = told or within_own_budget(layer_plan)
    return (
        "" if (found.price or found.cheapest) is layer_plan.price else _without_text(layer_plan.price, layer_plan.plan)
    )


def recipe_text(layer_plan: LayerPlan) -> str:
    """What a recipe, which is of the plan's own set, says of it."""
    return joined_sentences([plan_text(layer_plan), own_set_text(layer_plan)])


ANSWERS = {
    "unverified": N_("{name}: {k} of {n} blocks may go, not verified: {loss}"),
    "ability_falls": N_("{name}: keep all {n} blocks, as {ability} falls from {before} to {after}"),
    "no_better_than_random": N_("{name}: keep all {n} blocks, as one in ten random sets loses less"),
    "given": N_("{name}: keep all {n} blocks, as this set is not within the budget"),
    "none": N_("{name}: keep all {n} blocks, as no set tried is within the budget"),
    "unsure": N_("{name}: keep all {n} blocks, as the loss may exceed the budget"),
    "less_time": N_("{name}: {k} of {n} blocks can go: {loss}, {less} less time"),
    "fewer": N_("{name}: {k} of {n} blocks can go: {loss}, {less} fewer parameters"),
}
"""What to do, by the standing of the plan, and why."""


def plan_title_text(layer_plan: LayerPlan) -> str:
    """The answer as the title of a slide."""
    kind, values = _within_budget(layer_plan, within_own_budget(layer_plan))
    return translated(ANSWERS[kind]).format(**values | {"loss": values["worse"]})


def within_budget_text(layer_plan: LayerPlan, result: BudgetResult, budget: str) -> str:
    """How many blocks can go within a budget, with what is lost; `budget` is the budget in words."""
    kind, values = _within_budget(layer_plan, result)
    told = [_("{text}.").format(text=translated(ANSWERS[kind]).format(**values))]
    if kind in ("given", "none", "unsure"):
        told.append(_("The budget is {budget}.").format(budget=budget))
    if kind not in ("unverified", "less_time", "fewer"):
        told.append(_without_text(result.price or result.cheapest, layer_plan.plan))
    if kind == "unsure":
        most = share_harder_text(upper_limit(result.cheapest), 1)
        told.append(_("Up to {most} harder is possible: a longer text tells.").format(most=most))
    return joined_sentences(told)


def _within_budget(layer_plan: LayerPlan, result: BudgetResult) -> tuple[str, dict[str, Any]]:
    """Key of `ANSWERS` and what stands in it."""
    plan, row = layer_plan.plan, result.price or result.cheapest
    values: dict[str, Any] = {
        "name": shortened_name(plan.name, 34),
        "k": counted(len(row.blocks), "plan_outcomes"),
        "n": plan.n_layers,
        "loss": loss_text(row),
        "worse": worse_text(row),
    }
    kind: str = standing(layer_plan, result)
    if kind == "over_budget":
        kind = "unsure" if result.is_unsure else "given" if has_given_blocks(plan) else "none"
    elif kind == "ability_falls":
        fallen = fallen_abilities(layer_plan)[0]
        before, after = before_and_after(fallen)
        values |= {"before": before, "after": after, "ability": name("plan_text", fallen.text)}
    elif kind == "recommended":
        less_time = (time_saved_share(plan) or 0.0) if result.is_plan else 0.0
        kind = "less_time" if less_time > 0 else "fewer"
        values["less"] = share_text(less_time if less_time > 0 else parameters_saved_share(plan, len(row.blocks)))
    return kind, values


LOSSES = {
    (True, False): N_("text {percent} harder to predict"),
    (True, True): N_("text {percent} harder to predict after repair"),
    (False, False): N_("text no harder to predict"),
    (False, True): N_("text no harder to predict after repair"),
}
"""By whether text gets harder to predict, and whether the blocks were made up for."""


def loss_text(row: PlanOutcomeRow) -> str:
    """`text 11 % harder to predict (+0.104 [+0.081, +0.127] nats per token)`."""
    return _("{loss} ({price} nats per token)").format(loss=worse_text(row), price=outcome_price_text(row))


def worse_text(row: PlanOutcomeRow) -> str:
    """`text 11 % harder to predict`."""
    return translated(LOSSES[(row.difference or 0.0) > 0, row.is_healed]).format(percent=harder_text(row))


def harder_text(row: PlanOutcomeRow) -> str:
    """`11 %`: by so much perplexity rises, exp(loss) - 1."""
    return share_harder_text(max(0.0, row.difference or 0.0))


def share_harder(loss: float | None) -> float:
    """The rise of perplexity as a share of it, exp(loss) - 1, for a rise of the loss in nats per token, whose source it keeps."""
    return sourced(math.expm1(loss or 0.0), getattr(loss, "source", None))


MOST_HARDER = stated(10.0, "MOST_HARDER")
"""From this share on text is of no use, and how much harder it is to predict says nothing more."""


def share_harder_text(loss: float | None, digits: int = 0, *, in_cell: bool = False) -> str:
    """`11 %`, also of the end of an interval, which may be below 0; `over 1000 %`, in a narrow cell `>1000 %`."""
    share = share_harder(loss)
    if share <= MOST_HARDER:
        return share_text(share, digits)
    most = share_text(MOST_HARDER)
    return Text(">{}").format(most) if in_cell else _("over {share}").format(share=most)


def healing_text(layer_plan: LayerPlan) -> str:
    """What the plan's own set loses before repair; empty if the plan is not repaired."""
    before = unhealed_price(layer_plan)
    return "" if before is None else _("Before repair: {loss}.").format(loss=loss_text(before))


def budget_lines(layer_plan: LayerPlan) -> list[str]:
    """What each budget that has a name allows, and what was published for as much."""
    lines, n, said = [], layer_plan.plan.n_layers, set[str]()
    if not layer_plan.plan.is_verified:
        return []
    most, larger = len(search_steps(layer_plan)[-1].blocks), _("Larger sets were not tried.")
    before = None
    for budget in BUDGETS.values():
        row = sets_within_budget(layer_plan, budget).price
        line = _("{budget}: none of the sets tried.") if row is None else _("{budget}: {k} of {n} blocks; {loss}.")
        is_own = row is layer_plan.price
        if row is not None and row is before:
            line = _("{budget}: the same blocks.")
        elif is_own:
            line = _("{budget}: this plan's {k} of {n} blocks.")
        before = row
        values = {} if row is None else {"k": counted(len(row.blocks), "plan_outcomes"), "n": n, "loss": loss_text(row)}
        against = [f"falls_{one.text}" for one in fallen_abilities(layer_plan)]
        against += [code for code in layer_plan.plan.reasons if code == "no_better_than_random"]
        told = [reason_text(code) for code in against] if is_own else []
        if row is not None and len(row.blocks) == most:
            told.append(larger)
        lines.append(
            joined_sentences(
                [line.format(budget=nats_text(budget), **values), *(one for one in told if one not in said)]
            )
        )
        said |= set(told)
    found = [sets_within_budget(layer_plan, budget).price for budget in (BUDGETS["as-published"], PUBLISHED_FIFTH)]
    shares = [len(row.blocks) / n if row else 0.0 for row in found]
    lines.append(
        _(
            "LLaMA-2-7B (SLEB, arXiv 2402.09025): 10 % of its blocks for 0.25 nats per token, 20 % for 0.53; this model "
            "{tenth} and {fifth}."
        ).format(**{key: share_text(share) for key, share in zip(("tenth", "fifth"), shares, strict=True)})
    )
    if larger not in said and found[1] and len(found[1].blocks) == most:
        lines[-1] = joined_sentences([lines[-1], larger])
    return lines


def task_text(layer_plan: LayerPlan) -> str:
    """What the user's own task loses under the plan; empty without a task."""
    row = next((row for row in layer_plan.outcomes if row.text == "task" and row.measure == "accuracy"), None)
    if row is None:
        return ""
    return _("Right answers in the task: {points} points ({n} questions or groups).").format(
        points=points_text(row), n=row.n_points
    )


def saving_lines(plan: PlanRow) -> list[str]:
    """Parameters, cache of generation and time, before and after the blocks are removed."""
    share = 1 - plan.parameters_after / plan.parameters_before
    lines = [
        _("Parameters: {before:,} → {after:,} (−{share}).").format(
            before=plan.parameters_before, after=plan.parameters_after, share=share_text(share, 1)
        )
    ]
    if plan.kv_bytes_before and plan.kv_bytes_after is not None:
        lines.append(
            _("Cache per token written: {before:,.0f} → {after:,.0f} bytes ({dtype}).").format(
                before=plan.kv_bytes_before, after=plan.kv_bytes_after, dtype=plan.dtype
            )
        )
    timed = (
        (_("Reading {n} tokens: {before:.2f} → {after:.2f} s."), plan.prompt_tokens, "prefill_seconds"),
        (_("Writing {n} tokens: {before:.2f} → {after:.2f} s."), plan.new_tokens, "generation_seconds"),
    )
    for template, n, column in timed:
        before, after = (getattr(plan, f"{column}_{end}") for end in ("before", "after"))
        if before is not None and after is not None:
            lines.append(template.format(n=n, before=before, after=after))
    return lines


def note_lines(plan: PlanRow) -> list[str]:
    """The reasons against the plan, then its cautions."""
    return objection_lines(plan) + caution_lines(plan)


def objection_lines(plan: PlanRow) -> list[str]:
    """Why the plan is not recommended."""
    return [reason_text(code) for code in plan.reasons if code in AGAINST_PLAN]


def caution_lines(plan: PlanRow) -> list[str]:
    """What the plan's numbers do not tell."""
    lines = []
    for kind, codes in groupby((code for code in plan.reasons if code not in AGAINST_PLAN), _kind_of_reason):
        repair = plan.healing if kind == "not_healed" else None
        lines.append(joined_sentences([reason_text(*codes), translated(HEALING.get(repair, repair)) if repair else ""]))
    return lines


def _kind_of_reason(code: str) -> str:
    return next((beginning for beginning in OF_ABILITIES if code.startswith(beginning)), code)


def reason_text(*codes: str) -> str:
    """What a reason says; codes of one kind that name several abilities share a sentence."""
    kind = _kind_of_reason(codes[0])
    if kind not in OF_ABILITIES:
        return translated(REASONS[kind])
    abilities = _(", ").join(name("plan_text", code.removeprefix(kind)) for code in codes)
    return translated(OF_ABILITIES[kind]).format(ability=abilities)


def mergekit_reason_text(code: str) -> str:
    return translated(MERGEKIT.get(code, code))


def estimate_lines(estimate: PlanEstimate) -> list[str]:
    """What a plan will take, shown before it starts: time, passes over the model, downloads."""
    lines = []
    if estimate.passes is None:
        lines.append(_("The time is not known before the download."))
    else:
        line = (
            _("{passes:.0f} passes over {tokens:,} tokens; the time here is not known.")
            if estimate.seconds is None
            else _("About {time} on this machine: {passes:.0f} passes over {tokens:,} tokens.")
        )
        lines.append(line.format(time=duration(estimate.seconds), passes=estimate.passes, tokens=estimate.n_searched))
    if estimate.readings is not None:
        line = _("Memory is short: weights ({size}) are read block by block, about {n} times.")
        lines.append(line.format(size=amount(estimate.weight_bytes), n=estimate.readings))
    if estimate.download_bytes:
        lines.append(_("{size} are downloaded first.").format(size=amount(estimate.download_bytes)))
    return [*lines, *(worded(note) for note in estimate.notes)]


# --- blocks, prices, budgets -----------------------------------------------------------------------------------


def blocks_text(blocks: Collection[int], n_layers: int) -> str:
    """`blocks 4, 14, 15 (of 0 to 29)`."""
    return _(
        "block {blocks} (of 0 to {last})",
        "blocks {blocks} (of 0 to {last})",
        n=counted(len(blocks), "plan_outcomes"),
        blocks=block_numbers_text(blocks),
        last=n_layers - 1,
    )


def block_numbers_text(blocks: Collection[int]) -> str:
    """`4, 14, 15`; many blocks as ranges `14–28`."""
    return _(", ").join(map(str, sorted(blocks)) if len(blocks) <= MAX_LISTED_BLOCKS else ranges(blocks))


def blocks_cell(row: PlanRow | PlanOutcomeRow) -> str:
    """The blocks of a set in a table: `2, 13–18`."""
    return _(", ").join(ranges(row.blocks))


def removed_name(plan: PlanRow, is_recommended: bool) -> str:
    """What a picture calls the blocks of a set: those of one that is not recommended do not go."""
    return _("goes") if is_recommended else _("tried, not recommended") if plan.is_verified else _("proposed")


def price_text(value: float | None, lower: float | None = None, upper: float | None = None) -> str:
    """`+0.42 [+0.38, +0.46]`: an increase with its 95 percent interval."""
    if value is None:
        return "–"
    if lower is None or upper is None:
        return shown(value, "+.3f")
    return Text("{:+.3f} [{:+.3f}, {:+.3f}]").format(value, lower, upper)


def outcome_price_text(row: PlanOutcomeRow) -> str:
    """The price of one set of blocks on one text: `+0.42 [+0.38, +0.46]`, in nats per token."""
    return price_text(row.difference, row.lower, row.upper)


def points_text(row: PlanOutcomeRow) -> str:
    """A change of a share in percentage points: `-10.0 [-14.2, -5.8]`."""
    if row.difference is None:
        return "–"
    if row.lower is None or row.upper is None:
        return shown(100 * row.difference, "+.1f")
    return Text("{:+.1f} [{:+.1f}, {:+.1f}]").format(100 * row.difference, 100 * row.lower, 100 * row.upper)


def before_and_after(row: PlanOutcomeRow) -> tuple[str, str]:
    """What a harder text or test gave before and after: nats per token, or percent of right answers."""
    before, after = (
        "–" if value is None else number(value) if row.measure == "loss" else share_text(value)
        for value in (row.value_before, row.value_after)
    )
    return before, after


def change_text(row: PlanOutcomeRow) -> str:
    """How far it changes: nats per token, or points of right answers."""
    return outcome_price_text(row) if row.measure == "loss" else points_text(row)


def budget_text(plan: PlanRow) -> str:
    """`0.1 nats per token`, `lossless (...)`, or `2 points of the task`."""
    if plan.budget_unit == "points":
        return _("{budget:g} points of the task").format(budget=plan.budget)
    return nats_text(plan.budget)


NAMED_BUDGETS = {
    "lossless": N_("lossless (at most 5 % harder to predict)"),
    "noticeable": N_("noticeable (at most 25 % harder to predict)"),
    "as-published": N_("as published (0.25 nats per token)"),
}


def nats_text(budget: float) -> str:
    """A budget by its name, where it has one."""
    for key, nats in BUDGETS.items():
        if math.isclose(budget, nats, rel_tol=1e-6):
            return translated(NAMED_BUDGETS[key])
    return _("{budget:g} nats per token").format(budget=budget)
