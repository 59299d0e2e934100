"""The wording of a layer plan: the answer first, then the reasons and what the numbers measure. Blocks count from 0."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

from core.analysis.plans import (
    BudgetResult,
    LayerDirections,
    RuleForecast,
    RuleRecord,
    excess_of_published,
    harder_text_prices,
    has_given_blocks,
    plan_price,
    rules_with_same_blocks,
    student_width,
)
from core.errors import Sentence
from core.locale import translator, worded
from core.records import AGAINST_PLAN, LayerPlan, PlanEstimate, stretches, text_budget
from core.tables import PlanOutcomeRow, PlanRow
from core.wording.labels import name
from core.wording.numbers import amount, duration

MANY = 12
"""More blocks than this are shown as ranges."""


def _(message: str) -> str:
    """Marks a message for the catalogues; it is translated once the reader's language is known."""
    return message


REASONS = {
    "not_verified": _("Its price is from the text that chose it, and so too low: --verify prices it on held-out text."),
    "over_budget": _("The upper limit of its price is not under the budget."),
    "no_better_than_random": _("One in ten random sets of as many blocks costs less."),
    "few_random_sets": _("Fewer than 20 other sets of so many blocks exist: it was held against all of them."),
    "budget_zero": _("Within a budget of 0 only a removal that certainly lowers the loss is recommended."),
    "mixture": _(
        "A mixture of experts: a block that goes takes all its experts with it, and memory falls by more than the "
        "work for a token."
    ),
    "short_windows": _(
        "Windows have fewer than 256 tokens, as the text is short or the model reads no more: longer contexts are not priced."
    ),
    "no_sublayers": _("Attention and MLP of this architecture cannot be left out alone, and were not priced."),
    "language_not_read": _("The model does not read the other language well enough to have something to lose there."),
    "no_room_copying": _("The whole model copies too few words right for a fall to be seen."),
    "no_room_brackets": _("The whole model closes too few brackets right for a fall to be seen."),
    "no_room_digit_sums": _("The whole model adds too few digits right for a fall to be seen."),
    "no_room_task": _("The whole model answers the task no better than by chance: it has no room to fall."),
    "not_healed": _("It was not healed."),
    "healed_not_better": _("Healing did not lower the price on held-out text, and was not used."),
}


HEALING = {
    "first_block": _("Block 0 goes, and there is none before it to take up a correction."),
    "streamed": _("Its weights are read block by block, and are not held to be changed."),
    "short_text": _("The text that chooses has too few tokens for a fit: at least 8,192 are needed."),
    "no_stream": _("Attention and MLP of this architecture do not add to one stream."),
    "mixture": _("Its MLP is a mixture of experts, whose output is the product of no single matrix."),
    "norm_between": _("A norm stands between its MLP and the stream, so that no matrix passes through it."),
}
"""Why a plan cannot be healed."""
MERGEKIT = {
    "gguf": _("mergekit reads repositories of safetensors, and this model is a GGUF file: use --save-model."),
    "healed": _("A recipe copies weights, and healing has changed some: use --save-model."),
    "counts_blocks": _("Its configuration counts blocks, and mergekit copies it as it is: use --save-model."),
    "blocks_differ": _(
        "Its blocks are not alike, and mergekit copies the list of their kinds uncut: use --save-model."
    ),
    "list_uncut": _(
        "Its configuration has a list with an entry for each block, which mergekit copies uncut: use --save-model."
    ),
}
"""Why mergekit could not make the smaller model from a recipe."""


def mergekit_reason_text(code: str, language: str) -> str:
    return translator(language)(MERGEKIT[code])


def reason_text(code: str, language: str) -> str:
    return translator(language)(REASONS[code])


def estimate_lines(estimate: PlanEstimate, language: str) -> list[str]:
    """What a plan will take, shown before it starts: time, passes of the model, downloads."""
    _ = translator(language)
    lines = []
    if estimate.passes is None:
        lines.append(_("How long it takes is not known before the download."))
    else:
        told: dict[str, Any] = {
            "time": duration(estimate.seconds, language),
            "passes": estimate.passes,
            "tokens": estimate.n_searched,
        }
        line = _(
            "About {time} on this machine: as much as {passes:.0f} passes of the whole model over {tokens:,} tokens."
        )
        if estimate.seconds is None:
            line = _(
                "As much as {passes:.0f} passes of the whole model over {tokens:,} tokens; how long a pass takes here is not known."
            )
        lines.append(line.format(**told))
    if estimate.readings is not None:
        line = _("Memory is short: its weights ({size}) are read block by block, about {n} times from their files.")
        lines.append(line.format(size=amount(estimate.weight_bytes), n=estimate.readings))
    if estimate.download_bytes:
        lines.append(_("{size} are downloaded first.").format(size=amount(estimate.download_bytes)))
    return [*lines, *(worded(note, language) for note in estimate.notes)]


def blocks_text(blocks: Collection[int], n_layers: int, language: str) -> str:
    """`blocks 4, 14, 15 (of 0 to 29)`: each by its number; many blocks as half-open ranges `[14, 29)`."""
    text = Sentence(
        "block {blocks} (of 0 to {last})",
        "blocks {blocks} (of 0 to {last})",
        n=len(blocks),
        blocks=block_numbers_text(blocks, language),
        last=n_layers - 1,
    )
    return worded(text, language)


def block_numbers_text(blocks: Collection[int], language: str) -> str:
    _ = translator(language)
    found = [str(block) for block in sorted(blocks)]
    if len(found) > MANY:
        found = [f"[{first}, {after})" for first, after in stretches(blocks)]
    return _(", ").join(found)


def price_text(value: float | None, lower: float | None = None, upper: float | None = None) -> str:
    """`+0.42 [+0.38, +0.46]`: an increase with its 95 percent interval."""
    if value is None:
        return "–"
    if lower is None or upper is None:
        return f"{value:+.3f}"
    return f"{value:+.3f} [{lower:+.3f}, {upper:+.3f}]"


def plan_text(plan: PlanRow, language: str) -> str:
    """The plan in one sentence, with number and interval; an unverified plan says so first."""
    _ = translator(language)
    blocks = blocks_text(plan.blocks, plan.n_layers, language)
    told = {
        "blocks": _("{blocks}, and healed,").format(blocks=blocks) if plan.is_healed else blocks,
        "price": price_text(plan.loss_increase, plan.lower, plan.upper),
        "n": plan.n_verification if plan.is_verified else plan.n_selection,
        "budget": budget_text(plan, language),
    }
    if not plan.is_verified:
        return _(
            "Not verified: without {blocks} the loss rises by {price} nats per token on the text that chose them "
            "({n} windows)."
        ).format(**told)
    if plan.is_recommended:
        return _(
            "Recommended: without {blocks} the loss rises by {price} nats per token on held-out text ({n} windows), "
            "within {budget}."
        ).format(**told)
    if "no_better_than_random" in plan.reasons and "over_budget" not in plan.reasons:
        return _(
            "Not recommended, as one in ten random sets costs less: without {blocks} the loss rises by {price} nats per "
            "token on held-out text ({n} windows)."
        ).format(**told)
    if has_given_blocks(plan):
        return _(
            "This set is not within {budget}: without {blocks} the loss rises by {price} nats per token on held-out text "
            "({n} windows)."
        ).format(**told)
    return _(
        "None can be recommended within {budget}: without {blocks} the loss rises by {price} nats per token on held-out "
        "text ({n} windows)."
    ).format(**told)


def short_plan_text(plan: PlanRow, language: str) -> str:
    """A short form: `SmolLM2-135M: 3 of 30 blocks can go, 8.9 % of the parameters`; if not recommended, why.

    Covers only the plan's own set; that fewer blocks may stay within the budget is said with the whole plan.
    """
    _ = translator(language)
    if plan.is_recommended:
        line = _("{name}: {k} of {n} blocks can go, {share:.1%} of the parameters")
    elif "not_verified" in plan.reasons:
        line = _("{name}: this set of {k} of {n} blocks is not verified ({share:.1%} of the parameters)")
    elif "over_budget" in plan.reasons:
        line = _("{name}: leaving out {k} of {n} blocks ({share:.1%} of the parameters) costs more than its budget")
    else:
        line = _(
            "{name}: this set of {k} of {n} blocks is not recommended, one in ten random sets costs less ({share:.1%} of the "
            "parameters)"
        )
    share = 1 - plan.parameters_after / plan.parameters_before
    return line.format(name=plan.name, k=len(plan.blocks), n=plan.n_layers, share=share)


def plan_price_text(plan: PlanRow, language: str) -> str:
    """`+0.021 [+0.010, +0.032] nats per token on held-out text`, for a verified plan."""
    _ = translator(language)
    price = price_text(plan.loss_increase, plan.lower, plan.upper)
    return _("{price} nats per token on held-out text").format(price=price)


def within_budget_text(found: LayerPlan, at: BudgetResult, budget: str, language: str) -> str:
    """What can go within a budget (`budget_text`, `nats_text`), in one sentence with its price.

    An unverified plan says so first.
    """
    _ = translator(language)
    plan, price = found.plan, at.price
    row = price or at.cheapest
    told: dict[str, Any] = {
        "k": len(row.blocks),
        "n": plan.n_layers,
        "blocks": blocks_text(row.blocks, plan.n_layers, language),
        "price": price_text(row.difference, row.lower, row.upper),
        "budget": budget,
    }
    if price is None:
        if has_given_blocks(plan):
            line = _("This set is not within {budget}: {blocks} would cost {price} nats per token.")
            if not plan.is_verified:
                line = _("Not verified: this set is not within {budget}; {blocks} would cost {price} nats per token.")
        elif plan.is_verified:
            line = _("None of the {n} blocks can go within {budget}: {blocks} would cost {price} nats per token.")
        else:
            line = _(
                "Not verified: none of the {n} blocks seems able to go within {budget}; {blocks} would cost {price} nats per "
                "token on the text that chose."
            )
        return line.format(**told)
    if not plan.is_verified:
        line = _("Not verified: {k} of {n} blocks may go for {price} nats per token on the text that chose them.")
        return line.format(**told)
    if at.is_plan and "no_better_than_random" in plan.reasons:
        line = _("{k} of {n} blocks can go for {price} nats per token, but one in ten random sets costs less.")
        return line.format(**told)
    less_time = time_saved_share(plan) if at.is_plan else None
    if less_time is not None and less_time > 0:
        line = _("{k} of {n} blocks can go for {price} nats per token and {less:.0%} less time.")
        return line.format(**told, less=less_time)
    line = _("{k} of {n} blocks can go for {price} nats per token and {less:.0%} fewer parameters.")
    return line.format(**told, less=parameters_saved_share(plan, len(row.blocks)))


def time_saved_share(plan: PlanRow) -> float | None:
    """Measured share of the time saved for a prompt and some new tokens; None if it was not measured."""
    before = (plan.prefill_seconds_before, plan.generation_seconds_before)
    after = (plan.prefill_seconds_after, plan.generation_seconds_after)
    if None in before or None in after:
        return None
    return 1 - sum(filter(None, after)) / sum(filter(None, before))


def parameters_saved_share(plan: PlanRow, n_blocks: int) -> float:
    """Share of the parameters in `n_blocks` blocks, assuming that blocks are equally large."""
    of_block = (plan.parameters_before - plan.parameters_after) / max(1, len(plan.blocks))
    return n_blocks * of_block / plan.parameters_before


def largest_losses_text(found: LayerPlan, language: str) -> str:
    """The text and the probe that lose most, with their intervals; a loss within its error is marked as such."""
    _ = translator(language)
    rows = [
        row for row in harder_text_prices(found) if row.is_healed == found.plan.is_healed and row.difference is not None
    ]
    held_out = plan_price(found).difference or 0.0
    texts = [row for row in rows if row.measure == "loss" and row.text != "task"]
    answers = [row for row in rows if row.measure != "loss" and f"no_room_{row.text}" not in found.plan.reasons]
    lines = []
    if answers:
        worst = min(answers, key=lambda row: row.difference or 0.0)
        told = {"what": name("plan_text", worst.text, language), "change": points_text(worst)}
        falls = worst.upper is not None and worst.upper < 0
        line = _("Breaks first: {what}, {change} points of right answers.")
        if not falls:
            line = _("No probe falls beyond its error; lowest is {what}, {change} points of right answers.")
        lines.append(line.format(**told))
    if texts:
        worst = max(texts, key=lambda row: row.difference or 0.0)
        line = _("Dearest text: {what}, {price} nats per token, against {held_out} on held-out text.")
        lines.append(
            line.format(
                what=name("plan_text", worst.text, language),
                price=price_text(worst.difference, worst.lower, worst.upper),
                held_out=price_text(held_out),
            )
        )
    return " ".join(lines) if language == "en" else "".join(lines)


def limit_reached_text(found: LayerPlan, language: str) -> str:
    """Whether the most expensive harder text reaches or exceeds the budget; empty if it stays below."""
    _ = translator(language)
    plan = found.plan
    rows = [
        row
        for row in harder_text_prices(found)
        if row.measure == "loss"
        and row.text != "task"
        and row.is_healed == plan.is_healed
        and row.difference is not None
    ]
    worst = max(rows, key=lambda row: row.difference or 0.0, default=None)
    if plan.budget_unit != "nats" or worst is None:
        return ""
    reach = worst.difference if worst.upper is None else max(worst.upper, worst.lower or worst.upper)
    if reach is None or reach < plan.budget:
        return ""
    line = (
        _("On {what} it passes the limit of {budget}.")
        if (worst.difference or 0.0) > plan.budget
        else _("On {what} it reaches the limit of {budget}.")
    )
    return line.format(what=name("plan_text", worst.text, language), budget=budget_text(plan, language))


def points_text(row: PlanOutcomeRow) -> str:
    """A change of a share in points, `-10.0 [-14.2, -5.8]`."""
    if row.difference is None:
        return "–"
    if row.lower is None or row.upper is None:
        return f"{100 * row.difference:+.1f}"
    return f"{100 * row.difference:+.1f} [{100 * row.lower:+.1f}, {100 * row.upper:+.1f}]"


def range_example_text(blocks: Collection[int], language: str) -> str:
    """`[4, 6): blocks 4 and 5`: explains half-open ranges by the first one."""
    _ = translator(language)
    first, after = stretches(blocks)[0]
    if after - first == 1:
        return _("[{first}, {after}) is block {first} alone: a stretch ends before its second number.").format(
            first=first, after=after
        )
    return _("[{first}, {after}) is blocks {first} to {last}: a stretch ends before its second number.").format(
        first=first, after=after, last=after - 1
    )


def budget_text(plan: PlanRow, language: str) -> str:
    _ = translator(language)
    if plan.budget_unit == "points":
        return _("{budget:g} points of the task").format(budget=plan.budget)
    return nats_text(plan.budget, language)


def nats_text(budget: float, language: str) -> str:
    _ = translator(language)
    return _("{budget:g} nats per token").format(budget=budget)


def healing_text(found: LayerPlan, language: str) -> str:
    """The price before and after healing; empty if the plan is not healed."""
    if not found.plan.is_healed:
        return ""
    _ = translator(language)
    after = plan_price(found)
    before = next(
        row for row in found.of(after.text, "loss") if row.is_chosen and row.unit == "block" and not row.is_healed
    )
    return _("Healed without training: {after} nats per token, where it was {before} before.").format(
        after=price_text(after.difference, after.lower, after.upper),
        before=price_text(before.difference, before.lower, before.upper),
    )


def task_text(found: LayerPlan, language: str) -> str:
    """What the user's own task loses under the final plan; empty without a task."""
    _ = translator(language)
    row = next((row for row in found.outcomes if row.text == "task" and row.measure == "accuracy"), None)
    if row is None:
        return ""
    return _("The task changes by {points} points of right answers ({n} questions).").format(
        points=points_text(row), n=row.n_points
    )


def note_lines(plan: PlanRow, language: str) -> list[str]:
    """First the reasons against the plan, then cautions. Results on random sets and sums are shown with the numbers."""
    return objection_lines(plan, language) + caution_lines(plan, language)


def objection_lines(plan: PlanRow, language: str) -> list[str]:
    """Why the plan is not recommended."""
    return [reason_text(code, language) for code in plan.reasons if code in AGAINST_PLAN]


def caution_lines(plan: PlanRow, language: str) -> list[str]:
    """What the plan's numbers do not tell."""
    told = []
    for code in plan.reasons:
        if code == "not_healed" and plan.healing:
            told.append(f"{reason_text(code, language)} {translator(language)(HEALING[plan.healing])}")
        elif code not in AGAINST_PLAN:
            told.append(reason_text(code, language))
    return told


def saving_lines(plan: PlanRow, language: str) -> list[str]:
    """Parameters, cache and time, before and after."""
    _ = translator(language)
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
    if plan.prefill_seconds_before is not None and plan.generation_seconds_before is not None:
        lines.append(
            _(
                "Time here: {prompt} tokens read in {read_before:.2f} s before, {read_after:.2f} s after; {new} tokens "
                "written in {write_before:.2f} s before, {write_after:.2f} s after."
            ).format(
                prompt=plan.prompt_tokens,
                read_before=plan.prefill_seconds_before,
                read_after=plan.prefill_seconds_after,
                new=plan.new_tokens,
                write_before=plan.generation_seconds_before,
                write_after=plan.generation_seconds_after,
            )
        )
    return lines


def published_lines(found: LayerPlan, language: str) -> list[str]:
    """Whether the plan beats published choices of as many blocks, and by how much; paired, before healing."""
    _ = translator(language)
    above = excess_of_published(found)
    if not above:
        return []
    told = _(", ").join(
        f"{rule_name(row.rule, language)} {price_text(row.difference, row.lower, row.upper)}" for row in above
    )
    if all(row.lower is not None and row.lower > 0 for row in above):
        line = _(
            "Cheaper than every published choice of as many other blocks, which cost above it, on held-out text: {told}."
        )
    else:
        line = _(
            "Not certainly cheaper than every published choice of as many other blocks, which cost above it, on held-out "
            "text: {told}."
        )
    same = [rule_name(rule, language) for rule in rules_with_same_blocks(found)]
    return [
        line.format(told=told),
        *([_("Also the choice of: {rules}.").format(rules=_(", ").join(same))] if same else []),
    ]


def control_lines(plan: PlanRow, language: str) -> list[str]:
    """What the price is compared with."""
    _ = translator(language)
    lines = []
    if plan.random_10th is not None:
        lines.append(
            _(
                "Of random sets of that size ({k}), nine in ten raise the loss by {limit} nats per token or more (on a part of "
                "the held-out text); the plan costs {own} there."
            ).format(k=len(plan.blocks), limit=price_text(plan.random_10th), own=price_text(plan.same_windows))
        )
    if plan.sum_of_singles is not None and len(plan.blocks) > 1:
        lines.append(
            _("Its blocks alone add up to {total} nats per token: what they cost together differs.").format(
                total=price_text(plan.sum_of_singles)
            )
        )
    return lines


def direction_lines(found: LayerPlan, language: str) -> list[str]:
    """How many directions each layer needs, and all layers jointly: on held-out text, and for the task."""
    return [
        *_direction_lines_on(found, "held_out", "loss", language),
        *_direction_lines_on(found, "task", "loss", language),
    ]


def _direction_lines_on(found: LayerPlan, text: str, measure: str, language: str) -> list[str]:
    _ = translator(language)
    lines = []
    for rule in ("projection", "joint_projection"):
        rows = found.of(text, measure, rule)
        for layers in dict.fromkeys(tuple(row.blocks) for row in rows):
            own = [row for row in rows if tuple(row.blocks) == layers]
            chosen = next((row for row in own if row.is_chosen), None)
            where = _("all layers at once") if rule != "projection" else _("layer {layer}").format(layer=layers[0])
            if text == "task":
                where = _("task, {where}").format(where=where)
            if chosen is None:
                lines.append(_("{where}: no rank stays within the budget.").format(where=where))
                continue
            more = [row for row in found.of(text, measure, "random_subspace") if row.blocks == list(layers)]
            line = _("{where}: {rank} directions suffice, {price} nats per token").format(
                where=where, rank=chosen.rank, price=price_text(chosen.difference, chosen.lower, chosen.upper)
            )
            if more:
                line += _("; a random subspace of that rank costs {price}").format(
                    price=price_text(more[0].difference, more[0].lower, more[0].upper)
                )
            lines.append(line)
    return lines


def student_lines(found: LayerPlan, language: str) -> list[str]:
    """The starting width and depth for a smaller model, from all layers jointly, never from single ones."""
    _ = translator(language)
    width = student_width(found)
    if width is None:
        return [
            _(
                "No width is advised for a student: its layers were not projected jointly, and ranks of single ones do not compose."
            )
        ]
    told: dict[str, Any] = {"width": width.width, "budget": nats_text(text_budget(found.plan), language)}
    if width.enough is None or width.enough.rank == width.width:
        lines = [
            _(
                "No student narrower than {width} is advised: with all layers projected jointly, no smaller rank stays within {budget}."
            )
        ]
    else:
        row = width.enough
        told |= {"rank": row.rank, "price": price_text(row.difference, row.lower, row.upper)}
        lines = [
            _(
                "A student needs no more than {rank} of {width} dimensions: with all layers projected jointly onto so many "
                "directions the loss rises by {price} nats per token, within {budget}."
            )
        ]
    if width.too_few is not None:
        row = width.too_few
        told |= {"few": row.rank, "few_price": price_text(row.difference, row.lower, row.upper)}
        lines.append(_("{few} of these directions are too few: {few_price} nats per token."))
    kept = found.kept
    told |= {"n": len(kept), "kept": _(", ").join(f"[{first}, {after})" for first, after in stretches(kept))}
    lines.append(_("Its {n} blocks begin as the teacher's blocks {kept}, in this order."))
    return [line.format(**told) for line in lines]


def sufficient_directions_text(found: LayerPlan, points: Sequence[LayerDirections], language: str) -> str:
    """A short form beside profiles: the ranks that suffice in the layers tried, and d2 there."""
    _ = translator(language)
    ranks, d2 = (
        [value for value in of if value is not None] for of in zip(*((p.rank, p.d2) for p in points), strict=True)
    )
    if not ranks:
        return ""
    layers = _(", ").join(str(point.layer) for point in points if point.rank is not None)
    told = {"name": found.plan.name, "layers": layers, "budget": budget_text(found.plan, language)}
    line = _("{name}: within {budget}, {least} to {most} principal components suffice after layers {layers}.")
    line = line.format(least=min(ranks), most=max(ranks), **told)
    if d2:
        line += " " * (language == "en") + _("d2 of the same tokens reads {least} to {most} there.").format(
            least=min(d2), most=max(d2)
        )
    return line


def rule_name(rule: str, language: str) -> str:
    return name("plan_rule", rule, language)


def best_rule_text(records: Sequence[RuleRecord], language: str) -> str:
    """The rule that came closest to the cheapest set, over all verified plans."""
    _ = translator(language)
    best = [one for one in records if one.excess <= records[0].excess + 1e-9]
    line = _(
        "Closest to the cheapest over {n} verified plans: {rules}, {excess:.3f} nats per token above it on average."
    )
    rules = _(" and ").join(rule_name(one.rule, language) for one in best)
    return line.format(n=best[0].n_plans, rules=rules, excess=best[0].excess)


def foresight_text(found: Sequence[RuleForecast], language: str) -> str:
    """How well sums over single blocks predict the cost of sets."""
    _ = translator(language)
    n = len(found)
    line = _(
        "What single blocks foresee of sets of the plan's size, random ones among them (Spearman, mean over {n} plans): the sum of "
        "what each costs alone {alone:.2f}, the sum of influences {influence:.2f}."
    )
    return line.format(
        n=n, alone=sum(one.alone for one in found) / n, influence=sum(one.influence for one in found) / n
    )
