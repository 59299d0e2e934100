"""The wording of a layer plan: its answer, the reasons against it and what its numbers do not tell. Blocks count from 0.

What else a plan measured is worded in plan_evidence.
"""

from __future__ import annotations

import math
from collections.abc import Collection
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
    within_own_budget,
)
from core.errors import Sentence
from core.locale import N_, _, translated, worded
from core.records import AGAINST_PLAN, BUDGETS, PUBLISHED_FIFTH, LayerPlan, PlanEstimate, stretches
from core.sources import Text, counted, derived, shown
from core.tables import PlanOutcomeRow, PlanRow
from core.wording import joined_sentences
from core.wording.labels import name, shortened_name
from core.wording.numbers import amount, duration, number

MAX_LISTED_BLOCKS = 12
"""More blocks than this are shown as ranges."""


REASONS = {
    "not_verified": N_(
        "Its price is from the text that chose it, and so too low: --verify prices it on held-out text."
    ),
    "over_budget": N_("The upper limit of its loss is not under the budget."),
    "no_better_than_random": N_("One in ten random sets of as many blocks costs less."),
    "falls_copying": N_("Copying words falls below half of what the whole model gets right."),
    "falls_brackets": N_("Closing brackets falls below half of what the whole model gets right."),
    "falls_digit_sums": N_("Sums of digits fall below half of what the whole model gets right."),
    "falls_task": N_("The task falls below half of what the whole model gets right beyond chance."),
    "few_documents": N_(
        "The held-out text has fewer than eight documents: intervals are over blocks of neighbouring windows, and say less of other texts."
    ),
    "few_random_sets": N_("Fewer than 20 other sets of so many blocks exist: it was held against all of them."),
    "budget_zero": N_("Within a budget of 0 only a removal that certainly lowers the loss is recommended."),
    "mixture": N_(
        "A mixture of experts: a block that goes takes all its experts with it, and memory falls by more than the "
        "work for a token."
    ),
    "short_windows": N_(
        "Windows have fewer than 256 tokens, as the text is short or the model reads no more: longer contexts are not priced."
    ),
    "few_direction_tokens": N_(
        "Directions are from fewer tokens than ten times the hidden size: with a longer text fewer may suffice."
    ),
    "streamed": N_(
        "Its weights are read block by block: attention and MLP alone were not priced, and nothing was timed."
    ),
    "no_sublayers": N_("Attention and MLP of this architecture cannot be left out alone, and were not priced."),
    "language_not_read": N_("The model does not read the other language well enough to have something to lose there."),
    "no_room_copying": N_("The whole model copies too few words right for a fall to be seen."),
    "no_room_brackets": N_("The whole model closes too few brackets right for a fall to be seen."),
    "no_room_digit_sums": N_("The whole model adds too few digits right for a fall to be seen."),
    "no_room_task": N_("The whole model answers the task no better than by chance: it has no room to fall."),
    "not_healed": N_("It was not repaired."),
    "healed_not_better": N_("Repair did not lower the loss on held-out text, and was not used."),
}


HEALING = {
    "first_block": N_("Block 0 goes, and there is none before it to take up a correction."),
    "streamed": N_("Its weights are read block by block, and are not held to be changed."),
    "short_text": N_("The text that chooses has too few tokens for a fit: at least 8,192 are needed."),
    "no_stream": N_("Attention and MLP of this architecture do not add to one stream."),
    "norm_between": N_(
        "What its MLP gives is changed on the way to the stream, and its weights cannot take up a correction."
    ),
    "mixture": N_("Its MLP is a mixture of experts, whose output is the product of no single matrix."),
}
"""Why a plan cannot be repaired."""
MERGEKIT = {
    "gguf": N_("mergekit reads repositories of safetensors, and this model is a GGUF file: use --save-model."),
    "healed": N_("A recipe copies weights, and repair has changed some: use --save-model."),
    "counts_blocks": N_("Its configuration counts blocks, and mergekit copies it as it is: use --save-model."),
    "blocks_differ": N_(
        "Its blocks are not alike, and mergekit copies the list of their kinds uncut: use --save-model."
    ),
    "list_uncut": N_(
        "Its configuration has a list with an entry for each block, which mergekit copies uncut: use --save-model."
    ),
}
"""Why mergekit could not make the smaller model from a recipe."""


# --- the answer ------------------------------------------------------------------------------------------------


def plan_text(layer_plan: LayerPlan) -> str:
    """What the plan's own budget allows, in one sentence."""
    return within_budget_text(layer_plan, within_own_budget(layer_plan), budget_text(layer_plan.plan))


def own_text(layer_plan: LayerPlan) -> str:
    """What the plan's own set loses: its answer may be about a smaller one."""
    blocks = blocks_text(layer_plan.plan.blocks, layer_plan.plan.n_layers)
    return _("Of the plan itself, without {blocks}: {loss}.").format(blocks=blocks, loss=loss_text(layer_plan.price))


def recipe_text(layer_plan: LayerPlan) -> str:
    """What a recipe, which is of the plan's own set, says of it."""
    own = "" if within_own_budget(layer_plan).is_plan else own_text(layer_plan)
    return joined_sentences([plan_text(layer_plan), own])


def named_answer_text(layer_plan: LayerPlan) -> str:
    """The same after the name of the model: where nothing beside it names the model."""
    return _("{name}: {answer}").format(name=layer_plan.plan.name, answer=plan_text(layer_plan))


ANSWERS = {
    "unverified": N_("Not verified: without {blocks}, on the text that chose them, {loss}."),
    "ability_falls": N_("Not recommended, as {ability} falls from {before} to {after}: without {blocks}, {loss}."),
    "no_better_than_random": N_("Not recommended, as one in ten random sets costs less: without {blocks}, {loss}."),
    "given": N_("This set is not within the budget: {budget}. Without {blocks}: {loss}."),
    "none": N_(
        "None of the sets that were tried is within the budget: {budget}. The smallest, without {blocks}: {loss}."
    ),
    "less_time": N_("{k} of {n} blocks can go: {loss}, {less} less time."),
    "fewer": N_("{k} of {n} blocks can go: {loss}, {less} fewer parameters."),
}
"""What a budget allows, by the standing of the plan."""
TITLES = {
    "unverified": N_("{name}: {k} of {n} blocks may go, not verified: {worse}"),
    "ability_falls": N_("{name}: keep all {n} blocks, as {ability} falls from {before} to {after}"),
    "no_better_than_random": N_("{name}: keep all {n} blocks, as one in ten random sets costs less"),
    "given": N_("{name}: keep all {n} blocks, as this set is not within the budget"),
    "none": N_("{name}: keep all {n} blocks, as none of the sets that were tried is within the budget"),
    "less_time": N_("{name}: {k} of {n} blocks can go: {worse}, {less} less time"),
    "fewer": N_("{name}: {k} of {n} blocks can go: {worse}, {less} fewer parameters"),
}
"""The same as the title of a slide: what to do, and why."""


def plan_title_text(layer_plan: LayerPlan) -> str:
    """What to do with the plan's model, and why."""
    kind, values = _within_budget(layer_plan, within_own_budget(layer_plan))
    return translated(TITLES[kind]).format(name=shortened_name(layer_plan.plan.name, 34), **values)


def within_budget_text(layer_plan: LayerPlan, result: BudgetResult, budget: str) -> str:
    """How many blocks can go within a budget, in one sentence with what is lost; `budget` is the budget in words."""
    kind, values = _within_budget(layer_plan, result)
    return translated(ANSWERS[kind]).format(budget=budget, **values)


def _within_budget(layer_plan: LayerPlan, result: BudgetResult) -> tuple[str, dict[str, Any]]:
    """Key of `ANSWERS` and what stands in it."""
    plan, row = layer_plan.plan, result.price or result.cheapest
    values: dict[str, Any] = {
        "k": counted(len(row.blocks), "plan_outcomes"),
        "n": plan.n_layers,
        "blocks": blocks_text(row.blocks, plan.n_layers),
        "loss": loss_text(row),
        "worse": worse_text(row),
    }
    kind: str = standing(layer_plan, result)
    if kind == "over_budget":
        kind = "given" if has_given_blocks(plan) else "none"
    elif kind == "ability_falls":
        fallen = fallen_abilities(layer_plan)[0]
        shares = {"before": shown(fallen.value_before, ".0%"), "after": shown(fallen.value_after, ".0%")}
        values |= shares | {"ability": name("plan_text", fallen.text)}
    elif kind == "recommended":
        less_time = time_saved_share(plan) if result.is_plan else None
        kind = "less_time" if less_time is not None and less_time > 0 else "fewer"
        less = less_time if kind == "less_time" else parameters_saved_share(plan, len(row.blocks))
        values["less"] = shown(less, ".0%")
    return kind, values


LOSSES = {
    (True, False): N_("text {percent} harder to predict"),
    (True, True): N_("text {percent} harder to predict after repair"),
    (False, False): N_("text no harder to predict"),
    (False, True): N_("text no harder to predict after repair"),
}
"""By whether text gets harder to predict, and whether the blocks were made up for."""


def loss_text(row: PlanOutcomeRow) -> str:
    """`text 11% harder to predict (+0.104 [+0.081, +0.127] nats per token)`."""
    return _("{loss} ({price} nats per token)").format(loss=worse_text(row), price=outcome_price_text(row))


def worse_text(row: PlanOutcomeRow) -> str:
    """`text 11% harder to predict`."""
    return translated(LOSSES[(row.difference or 0.0) > 0, row.is_healed]).format(percent=harder_text(row))


def harder_text(row: PlanOutcomeRow) -> str:
    """`11%`: by so much perplexity rises, exp(loss) - 1."""
    worse = derived(math.expm1(max(0.0, row.difference or 0.0)), "plan_outcomes", "harder")
    return shown(worse, ".1%" if worse < 0.01 else ".0%")


def healing_text(layer_plan: LayerPlan) -> str:
    """What the plan's own set loses before and after repair; empty if the plan is not repaired."""
    plan, before = layer_plan.plan, unhealed_price(layer_plan)
    if before is None:
        return ""
    blocks = blocks_text(plan.blocks, plan.n_layers)
    return _("Without {blocks}: {before}, {after}.").format(
        blocks=blocks, before=loss_text(before), after=loss_text(layer_plan.price)
    )


def budget_lines(layer_plan: LayerPlan) -> list[str]:
    """What each budget that has a name allows, and what was published for as much."""
    lines, n = [], layer_plan.plan.n_layers
    if not layer_plan.plan.is_verified:
        return []
    most = len(search_steps(layer_plan)[-1].blocks)
    for budget in BUDGETS.values():
        row = sets_within_budget(layer_plan, budget).price
        line = (
            _("{budget}: none of the sets that were tried.")
            if row is None
            else _("{budget}: {k} of {n} blocks, the most that were tried; {loss}.")
            if len(row.blocks) == most
            else _("{budget}: {k} of {n} blocks; {loss}.")
        )
        values = {} if row is None else {"k": counted(len(row.blocks), "plan_outcomes"), "n": n, "loss": loss_text(row)}
        is_own = row is layer_plan.price
        against = [f"falls_{one.text}" for one in fallen_abilities(layer_plan)]
        against += [code for code in layer_plan.plan.reasons if code == "no_better_than_random"]
        told = map(reason_text, against if is_own else ())
        lines.append(joined_sentences([line.format(budget=nats_text(budget), **values), *told]))
    found = [sets_within_budget(layer_plan, budget).price for budget in (BUDGETS["as-published"], PUBLISHED_FIFTH)]
    shares = [len(row.blocks) / n if row else 0.0 for row in found]
    lines.append(
        _(
            "Published for LLaMA-2-7B (SLEB, arXiv 2402.09025): 10% of the blocks for 0.25 nats per token, 20% for 0.53. "
            "Of this model {tenth} and {fifth} were found to go for as much."
        ).format(**{key: shown(share, ".0%") for key, share in zip(("tenth", "fifth"), shares, strict=True)})
    )
    if found[1] and len(found[1].blocks) == most:
        lines[-1] = joined_sentences([lines[-1], _("Larger sets were not tried.")])
    return lines


def task_text(layer_plan: LayerPlan) -> str:
    """What the user's own task loses under the plan; empty without a task."""
    row = next((row for row in layer_plan.outcomes if row.text == "task" and row.measure == "accuracy"), None)
    if row is None:
        return ""
    return _("The task changes by {points} points of right answers ({n} questions, those of one group as one).").format(
        points=points_text(row), n=row.n_points
    )


def saving_lines(plan: PlanRow) -> list[str]:
    """Parameters, cache of generation and time, before and after the blocks are removed."""
    share = 1 - plan.parameters_after / plan.parameters_before
    lines = [
        _("Parameters: {before:,} before, {after:,} after ({share:.1%} less).").format(
            before=plan.parameters_before, after=plan.parameters_after, share=share
        )
    ]
    if plan.kv_bytes_before and plan.kv_bytes_after is not None:
        lines.append(
            _("Cache of generation: {before:,.0f} bytes per token before, {after:,.0f} after ({dtype}).").format(
                before=plan.kv_bytes_before, after=plan.kv_bytes_after, dtype=plan.dtype
            )
        )
    read, written = (
        (plan.prefill_seconds_before, plan.prefill_seconds_after),
        (plan.generation_seconds_before, plan.generation_seconds_after),
    )
    if None not in (*read, *written):
        lines.append(
            _(
                "Time here: {prompt} tokens read in {read_before:.2f} s before, {read_after:.2f} s after; {new} tokens "
                "written in {write_before:.2f} s before, {write_after:.2f} s after."
            ).format(
                prompt=plan.prompt_tokens,
                read_before=read[0],
                read_after=read[1],
                new=plan.new_tokens,
                write_before=written[0],
                write_after=written[1],
            )
        )
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
    for code in plan.reasons:
        if code == "not_healed" and plan.healing:
            lines.append(f"{reason_text(code)} {translated(HEALING.get(plan.healing, plan.healing))}")
        elif code not in AGAINST_PLAN:
            lines.append(reason_text(code))
    return lines


def reason_text(code: str) -> str:
    return translated(REASONS[code])


def mergekit_reason_text(code: str) -> str:
    return translated(MERGEKIT.get(code, code))


def estimate_lines(estimate: PlanEstimate) -> list[str]:
    """What a plan will take, shown before it starts: time, passes over the model, downloads."""
    lines = []
    if estimate.passes is None:
        lines.append(_("How long it takes is not known before the download."))
    else:
        line = (
            _(
                "As much as {passes:.0f} passes of the whole model over {tokens:,} tokens; how long a pass takes here is not known."
            )
            if estimate.seconds is None
            else _(
                "About {time} on this machine: as much as {passes:.0f} passes of the whole model over {tokens:,} tokens."
            )
        )
        lines.append(line.format(time=duration(estimate.seconds), passes=estimate.passes, tokens=estimate.n_searched))
    if estimate.readings is not None:
        line = _("Memory is short: its weights ({size}) are read block by block, about {n} times from their files.")
        lines.append(line.format(size=amount(estimate.weight_bytes), n=estimate.readings))
    if estimate.download_bytes:
        lines.append(_("{size} are downloaded first.").format(size=amount(estimate.download_bytes)))
    return [*lines, *(worded(note) for note in estimate.notes)]


# --- blocks, prices, budgets -----------------------------------------------------------------------------------


def blocks_text(blocks: Collection[int], n_layers: int) -> str:
    """`blocks 4, 14, 15 (of 0 to 29)`."""
    text = Sentence(
        "block {blocks} (of 0 to {last})",
        "blocks {blocks} (of 0 to {last})",
        n=counted(len(blocks), "plan_outcomes"),
        blocks=block_numbers_text(blocks),
        last=n_layers - 1,
    )
    return worded(text)


def block_numbers_text(blocks: Collection[int]) -> str:
    """`4, 14, 15`; many blocks as half-open ranges `[14, 29)`."""
    numbers = [str(block) for block in sorted(blocks)]
    if len(numbers) > MAX_LISTED_BLOCKS:
        numbers = [Text("[{}, {})").format(first, after) for first, after in stretches(blocks)]
    return _(", ").join(numbers)


def removed_name(plan: PlanRow, is_recommended: bool) -> str:
    """What a picture calls the blocks of a set: those of one that is not recommended do not go."""
    return _("goes") if is_recommended else _("tried, not recommended") if plan.is_verified else _("proposed")


def range_example_text(blocks: Collection[int]) -> str:
    """An explanation of half-open ranges by the first one: `[4, 6) is blocks 4 to 5: a stretch ends before ...`."""
    first, after = stretches(blocks)[0]
    if after - first == 1:
        return _("[{first}, {after}) is block {first} alone: a stretch ends before its second number.").format(
            first=first, after=after
        )
    return _("[{first}, {after}) is blocks {first} to {last}: a stretch ends before its second number.").format(
        first=first, after=after, last=after - 1
    )


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
        "–" if value is None else number(value) if row.measure == "loss" else shown(value, ".0%")
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
    "lossless": N_("lossless (at most 5% harder to predict)"),
    "noticeable": N_("noticeable (at most 25% harder to predict)"),
    "as-published": N_("as published (0.25 nats per token)"),
}


def nats_text(budget: float) -> str:
    """A budget by its name, where it has one."""
    for key, nats in BUDGETS.items():
        if math.isclose(budget, nats, rel_tol=1e-6):
            return translated(NAMED_BUDGETS[key])
    return _("{budget:g} nats per token").format(budget=budget)
