"""The wording of a layer plan: its answer within a budget, what it saves, the reasons against it, what its numbers do not tell
and what a plan will take; blocks, prices and budgets, its tables, and what else was measured for it. Blocks count from 0.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Sequence
from itertools import groupby, product
from typing import Any

from core.analysis.plans import (
    BudgetResult,
    LayerDirections,
    RuleForecast,
    RuleRecord,
    alternatives,
    excess_of_published,
    fallen_abilities,
    harder_text_prices,
    has_given_blocks,
    parameters_saved_share,
    rules_with_same_blocks,
    search_steps,
    sets_within_budget,
    standing,
    student_width,
    unhealed_price,
    upper_limit,
    within_own_budget,
)
from core.locale import N_, _, translated, worded
from core.records import AGAINST_PLAN, BUDGETS, PUBLISHED_FIFTH, LayerPlan, PlanEstimate, text_budget
from core.sources import Source, Text, counted, shown, sourced, stated
from core.tables import LayerCorrelatorRow, PlanOutcomeRow, PlanRow, Sibling
from core.wording import joined_sentences
from core.wording.labels import amount, duration, listed, name, number, ranges, share_text, shortened_name, with_limits
from core.wording.readouts import not_readable_text

MAX_LISTED_BLOCKS = 12
"""More blocks than this are shown as ranges."""


REASONS = N_(
    {
        "not_verified": "Its loss is from the text that chose it, so too low: use --verify.",
        "over_budget": "The upper limit of its loss is over the budget.",
        "no_better_than_random": "One in ten random sets of its size loses less.",
        "few_documents": "Fewer than eight documents: intervals say less of other texts.",
        "few_random_sets": "Compared with all other sets of its size, fewer than 20.",
        "budget_zero": "A budget of 0 allows only what certainly lowers the loss.",
        "mixture": "Mixture of experts: memory falls by more than the work for a token.",
        "short_windows": "Windows have fewer than 256 tokens: longer contexts are untested.",
        "few_direction_tokens": "With a longer text fewer directions may suffice.",
        "streamed": "Weights read block by block: attention, MLP and time were not measured.",
        "no_sublayers": "This architecture's attention and MLP cannot be removed alone.",
        "language_not_read": "The whole model hardly reads the other language: untested there.",
        "not_healed": "It was not repaired.",
        "healed_not_better": "Repair did not help on held-out text and was not used.",
    }
)
OF_ABILITIES = N_(
    {
        "falls_": "Less than half of the right answers beyond chance are left: {ability}.",
        "no_room_": "The whole model is too weak to show a fall: {ability}.",
    }
)
"""How the codes of reasons begin that say something of one of `ABILITIES`."""


HEALING = N_(
    {
        "first_block": "Repair needs a block before the first that goes.",
        "streamed": "Weights read block by block cannot be changed.",
        "short_text": "Repair needs 8,192 tokens that choose.",
        **dict.fromkeys(("no_stream", "norm_between", "mixture"), N_("Repair does not know this architecture.")),
    }
)
"""Why a plan cannot be repaired."""
MERGEKIT = N_(
    {
        "gguf": "mergekit does not read GGUF files: use --save-model.",
        "healed": "A mergekit file cannot hold repaired weights: use --save-model.",
        "configuration": "mergekit would copy a configuration that no longer fits: use --save-model.",
    }
)
"""Why mergekit could not make the smaller model from a recipe."""


# --- the answer ------------------------------------------------------------------------------------------------


def plan_text(layer_plan: LayerPlan) -> str:
    """What the plan's own budget allows."""
    return within_budget_text(layer_plan, within_own_budget(layer_plan), budget_text(layer_plan.plan))


def _without_text(row: PlanOutcomeRow, plan: PlanRow) -> str:
    return _("Without {blocks}: {loss}.", blocks=blocks_text(row.blocks, plan.n_layers), loss=loss_text(row))


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


ANSWERS = N_(
    {
        "unverified": "{name}: {k} of {n} blocks may go, not verified: {loss}",
        "ability_falls": "{name}: keep all {n} blocks, as {ability} falls from {before} to {after}",
        "no_better_than_random": "{name}: keep all {n} blocks, as one in ten random choices of {k} does less harm",
        "given": "{name}: keep all {n} blocks, as this set is not within the budget",
        "none": "{name}: keep all {n} blocks, as no set tried is within the budget",
        "unsure": "{name}: keep all {n} blocks, as the loss may exceed the budget",
        "recommended": "{name}: {k} of {n} blocks can go: {loss}, {less} fewer parameters",
    }
)
"""What to do, by the standing of the plan, and why."""


def plan_title_text(layer_plan: LayerPlan) -> str:
    """The answer as the title of a slide."""
    kind, values = _within_budget(layer_plan, within_own_budget(layer_plan))
    return translated(ANSWERS[kind]).format(**values | {"loss": values["worse"]})


def within_budget_text(layer_plan: LayerPlan, result: BudgetResult, budget: str) -> str:
    """How many blocks can go within a budget, with what is lost; `budget` is the budget in words, empty where it stands beside."""
    kind, values = _within_budget(layer_plan, result)
    told = [_("{text}.", text=translated(ANSWERS[kind]).format(**values))]
    if budget and kind in ("given", "none", "unsure"):
        told.append(_("The budget is {budget}.", budget=budget))
    if kind not in ("unverified", "recommended"):
        told.append(_without_text(result.price or result.cheapest, layer_plan.plan))
    if kind == "unsure":
        most = share_harder_text(upper_limit(result.cheapest), 1)
        told.append(_("Up to {most} harder is possible: a longer text tells.", most=most))
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
        values["less"] = share_text(parameters_saved_share(plan, len(row.blocks)))
    return kind, values


def loss_text(row: PlanOutcomeRow) -> str:
    """`text 11 % harder to predict (+0.104 [+0.081, +0.127] nats per token)`."""
    return _("{loss} ({price} nats per token)", loss=worse_text(row), price=outcome_price_text(row))


def worse_text(row: PlanOutcomeRow) -> str:
    """`text 11 % harder to predict`."""
    template = _("text {percent} harder to predict")
    if row.is_healed:
        template = _("text {percent} harder to predict after repair")
    return template.format(percent=harder_text(row))


def harder_text(row: PlanOutcomeRow) -> str:
    """`11 %`: by so much perplexity rises, exp(loss) - 1."""
    return share_harder_text(max(0.0, row.difference or 0.0))


def share_harder(loss: float | None) -> float:
    """The rise of perplexity as a share of it, exp(loss) - 1, for a rise of the loss in nats per token, whose source it keeps."""
    return sourced(math.expm1(loss or 0.0), getattr(loss, "source", None) or Source("plan_outcomes", "harder"))


MOST_HARDER = stated(10.0, "MOST_HARDER")
"""From this share on text is of no use, and how much harder it is to predict says nothing more."""


def share_harder_text(loss: float | None, digits: int = 0) -> str:
    """`11 %`, also of the end of an interval, which may be below 0; `>1000 %`."""
    share = share_harder(loss)
    return share_text(share, digits) if share <= MOST_HARDER else Text(">{}").format(share_text(MOST_HARDER))


def healing_text(layer_plan: LayerPlan) -> str:
    """What the plan's own set loses before repair; empty if the plan is not repaired."""
    before = unhealed_price(layer_plan)
    return "" if before is None else _("Before repair: {loss}.", loss=loss_text(before))


def budget_lines(layer_plan: LayerPlan) -> list[str]:
    """What each budget that has a name allows, and what was published for as much."""
    plan = layer_plan.plan
    if not plan.is_verified:
        return []
    within = {nats: sets_within_budget(layer_plan, nats).price for nats in (*BUDGETS.values(), PUBLISHED_FIFTH)}
    against = [f"falls_{one.text}" for one in fallen_abilities(layer_plan)]
    against += [code for code in plan.reasons if code == "no_better_than_random"]
    lines = []
    for nats in BUDGETS.values():
        row, budget = within[nats], nats_text(nats)
        if row is None:
            lines.append(_("{budget}: none of the sets tried.", budget=budget))
            continue
        k = counted(len(row.blocks), "plan_outcomes")
        told = _("{budget}: {k} of {n} blocks; {loss}.", budget=budget, k=k, n=plan.n_layers, loss=loss_text(row))
        lines.append(joined_sentences([told, *(map(reason_text, against) if row is layer_plan.price else ())]))
    tenth, fifth = (
        share_text(len(row.blocks) / plan.n_layers if row else 0.0)
        for row in (within[BUDGETS["as-published"]], within[PUBLISHED_FIFTH])
    )
    published = _(
        "LLaMA-2-7B (SLEB, arXiv 2402.09025): 10 % of its blocks for 0.25 nats per token, 20 % for 0.53; this model "
        "{tenth} and {fifth}.",
        tenth=tenth,
        fifth=fifth,
    )
    most = counted(len(search_steps(layer_plan)[-1].blocks), "plan_outcomes")
    return [*lines, joined_sentences([published, _("At most {n} blocks were tried.", n=most)])]


def task_text(layer_plan: LayerPlan) -> str:
    """What the user's own task loses under the plan; empty without a task."""
    row = next((row for row in layer_plan.outcomes if row.text == "task" and row.measure == "accuracy"), None)
    if row is None:
        return ""
    return _(
        "Right answers in the task: {points} points ({n} questions or groups).", points=points_text(row), n=row.n_points
    )


def saving_lines(plan: PlanRow) -> list[str]:
    """Parameters, cache of generation and time, before and after the blocks are removed."""
    share = 1 - plan.parameters_after / plan.parameters_before
    sizes: dict[str, Any] = {"before": plan.parameters_before, "after": plan.parameters_after}
    lines = [_("Parameters: {before:,} → {after:,} (−{share}).", share=share_text(share, 1), **sizes)]
    if plan.kv_bytes_before and plan.kv_bytes_after is not None:
        sizes = {"before": plan.kv_bytes_before, "after": plan.kv_bytes_after}
        lines.append(
            _("Cache per token written: {before:,.0f} → {after:,.0f} bytes ({dtype}).", dtype=plan.dtype, **sizes)
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
    """Why the plan is not recommended, then its cautions."""
    return [reason_text(code) for code in plan.reasons if code in AGAINST_PLAN] + caution_lines(plan)


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
    abilities = listed(name("plan_text", code.removeprefix(kind)) for code in codes)
    return translated(OF_ABILITIES[kind]).format(ability=abilities)


def mergekit_reason_text(code: str) -> str:
    return translated(MERGEKIT.get(code, code))


def estimate_lines(estimate: PlanEstimate) -> list[str]:
    """What a plan will take, shown before it starts: time, passes over the model, downloads."""
    lines = []
    if estimate.passes is None:
        lines.append(_("The time is not known before the download."))
    else:
        values = {"time": duration(estimate.seconds), "passes": estimate.passes, "tokens": estimate.n_searched}
        lines.append(_("Time on this machine: {time}; {passes:.0f} passes over {tokens:,} tokens.", **values))
    if estimate.readings is not None:
        values = {"size": amount(estimate.weight_bytes), "n": estimate.readings}
        lines.append(_("Memory is short: weights ({size}) are read block by block, about {n} times.", **values))
    if estimate.download_bytes:
        lines.append(_("{size} are downloaded first.", size=amount(estimate.download_bytes)))
    return [*lines, *(worded(note) for note in estimate.notes)]


# --- blocks, prices, budgets -----------------------------------------------------------------------------------


def blocks_text(blocks: Collection[int], n_layers: int) -> str:
    """`blocks 4, 14, 15 (of 0 to 29)`; many blocks as ranges `14–28`."""
    return _(
        "block {blocks} (of 0 to {last})",
        "blocks {blocks} (of 0 to {last})",
        n=counted(len(blocks), "plan_outcomes"),
        blocks=[str(n) for n in sorted(blocks)] if len(blocks) <= MAX_LISTED_BLOCKS else ranges(blocks),
        last=n_layers - 1,
    )


def blocks_cell(row: PlanRow | PlanOutcomeRow) -> str:
    """The blocks of a set in a table: `2, 13–18`."""
    return listed(ranges(row.blocks))


def removed_name(plan: PlanRow, is_recommended: bool) -> str:
    """What a picture calls the blocks of a set: those of one that is not recommended do not go."""
    return _("goes") if is_recommended else _("tried, not recommended") if plan.is_verified else _("proposed")


def price_text(value: float | None, lower: float | None = None, upper: float | None = None) -> str:
    """`+0.42 [+0.38, +0.46]`: an increase with its 95 percent interval."""
    return with_limits(value, lower, upper, "+.3f")


def outcome_price_text(row: PlanOutcomeRow) -> str:
    """The price of one set of blocks on one text: `+0.42 [+0.38, +0.46]`, in nats per token."""
    return price_text(row.difference, row.lower, row.upper)


def points_text(row: PlanOutcomeRow) -> str:
    """A change of a share in percentage points: `-10.0 [-14.2, -5.8]`."""
    value, lower, upper = (None if share is None else 100 * share for share in (row.difference, row.lower, row.upper))
    return with_limits(value, lower, upper, "+.1f")


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
        return _("{budget:g} points of the task", budget=plan.budget)
    return nats_text(plan.budget)


NAMED_BUDGETS = N_(
    {
        "lossless": "lossless (at most 5 % harder to predict)",
        "noticeable": "noticeable (at most 25 % harder to predict)",
        "as-published": "as published (0.25 nats per token)",
    }
)


def nats_text(budget: float) -> str:
    """A budget by its name, where it has one."""
    for key, nats in BUDGETS.items():
        if math.isclose(budget, nats, rel_tol=1e-6):
            return translated(NAMED_BUDGETS[key])
    return _("{budget:g} nats per token", budget=budget)


# --- what else was measured: harder texts, other choices, directions, a student, rules ---------------------------


def largest_losses_text(layer_plan: LayerPlan) -> str:
    """The probe and the text that lose most, with intervals."""
    rows = [
        row
        for row in harder_text_prices(layer_plan)
        if row.is_healed == layer_plan.plan.is_healed and row.difference is not None
    ]
    texts = [row for row in rows if row.measure == "loss" and row.text != "task"]
    answers = [row for row in rows if row.measure != "loss" and f"no_room_{row.text}" not in layer_plan.plan.reasons]
    lines = []
    if answers:
        worst = min(answers, key=lambda row: row.difference or 0.0)
        what, change = name("plan_text", worst.text), points_text(worst)
        lines.append(_("Lowest probe: {what}, {change} points.", what=what, change=change))
    if texts:
        worst = max(texts, key=lambda row: row.difference or 0.0)
        values = {"what": name("plan_text", worst.text), "price": outcome_price_text(worst)}
        held_out = price_text(layer_plan.price.difference or 0.0)
        line = _("Largest loss: {what}, {price} nats per token; held-out text {held_out}.", held_out=held_out, **values)
        lines.append(line)
    return joined_sentences(lines)


def published_lines(layer_plan: LayerPlan) -> list[str]:
    """What published choices of as many blocks cost above the plan (paired, before healing), and which chose the same."""
    rows = excess_of_published(layer_plan)
    if not rows:
        return []
    prices = listed(Text("{} {}").format(rule_name(row.rule), outcome_price_text(row)) for row in rows)
    line = _("Loss of published choices of as many blocks above this one, on held-out text: {told}.", told=prices)
    return [line, *same_choice_lines(layer_plan)]


def same_choice_lines(layer_plan: LayerPlan) -> list[str]:
    """The published rules that chose the plan's blocks, in a line; none where no rule did."""
    same = [rule_name(rule) for rule in rules_with_same_blocks(layer_plan)]
    return [_("The same choice: {rules}.", rules=same)] if same else []


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
        lines.append(_("Its blocks alone: {total} nats per token in sum.", total=price_text(plan.sum_of_singles)))
    return lines


def alternative_lines(layer_plan: LayerPlan) -> list[str]:
    """What else makes the model smaller, and what is lost for each percent that is saved."""
    lines = []
    for option in alternatives(layer_plan):
        lines.append(
            _(
                "{name}: {loss}; {memory} less memory, {price} nats for each percent.",
                name=_("Blocks rounded to 8 bits instead") if option.row.rule == "rounding" else _("The plan"),
                loss=loss_text(option.row),
                memory=share_text(option.memory),
                price=shown(option.per_percent, ".4f"),
            )
        )
    return lines if len(lines) > 1 else []


def sibling_lines(sibling: Sibling | None, plan: PlanRow) -> list[str]:
    """The smaller model that was measured on the same text, in a line; none without one."""
    if sibling is None:
        return []
    return [
        _(
            "Smaller model of the family: {name}, {less} fewer parameters, {bits} bits per byte against {own}.",
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
    if None in loss.values():
        return [not_readable_text()]
    changes = [
        Text("{}: {} → {}").format(block, number(loss[block]), number(loss[block + 1])) for block in sorted(plan.blocks)
    ]
    return [_("Readable loss before and after each of its blocks, in nats: {changes}.", changes=changes)]


def direction_lines(layer_plan: LayerPlan) -> list[str]:
    """How many directions each layer needs, and all layers at once: on held-out text, then for the task."""
    lines = []
    for text, rule in product(("held_out", "task"), ("projection", "joint_projection")):
        rows = layer_plan.of(text, "loss", rule)
        for layers in dict.fromkeys(tuple(row.blocks) for row in rows):
            chosen = next((row for row in rows if tuple(row.blocks) == layers and row.is_chosen), None)
            where = _("all layers at once") if rule != "projection" else _("layer {layer}", layer=layers[0])
            if text == "task":
                where = _("task, {where}", where=where)
            if chosen is None:
                lines.append(_("{where}: no rank stays within the budget.", where=where))
                continue
            values = {"where": where, "rank": chosen.rank, "price": outcome_price_text(chosen)}
            told = _("{where}: {rank} directions suffice, {price} nats per token", **values)
            rivals = (row for row in layer_plan.of(text, "loss", "random_subspace") if row.blocks == list(layers))
            if rival := next(rivals, None):
                told += _("; a random subspace: {price}", price=outcome_price_text(rival))
            lines.append(told)
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
    values |= {"n": len(kept), "kept": listed(ranges(kept))}
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
        layers=listed(str(point.layer) for point in points if point.rank is not None),
    )
    if not d2:
        return line
    d2_line = _("d2 of the same tokens reads {least} to {most} there.", least=min(d2), most=max(d2))
    return joined_sentences((line, d2_line))


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
        _("Change, 95 % interval"): change_text,
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
