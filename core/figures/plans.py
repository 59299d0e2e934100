"""Figures of layer plans: removed blocks, the price of each number of blocks, harder tests, needed directions.

Blocks are counted from 0 and stretches are half-open everywhere.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Collection, Sequence
from dataclasses import replace

from core.analysis.plans import (
    PUBLISHED,
    LayerDirections,
    harder_text_prices,
    is_recommended,
    other_choices,
    parameters_saved_share,
    pareto_front,
    prices_alone,
    search_steps,
)
from core.figures.chart import (
    Axis,
    Block,
    Blocks,
    Chart,
    Guide,
    Mark,
    Point,
    Series,
    interval_chart,
    kinds_series,
    log_axis,
    marked_series,
    round_axis,
    whole_step,
    x_ends,
    y_ends,
)
from core.locale import _
from core.records import LayerPlan
from core.sources import counted, stated
from core.tables import PlanOutcomeRow
from core.wording import joined_sentences, share_text
from core.wording import plans as plan_wording
from core.wording.labels import name

# --- blocks -------------------------------------------------------------------------------------------------------------


SHADED_FROM = (0.05, 0.25, 1.0)
"""Shares that text gets harder to predict, at which a block's shade changes: two named budgets, and twice as hard."""


def block_row(layer_plan: LayerPlan, removed: Collection[int], is_recommended: bool) -> Blocks:
    """The blocks of the model; those of a set that is not recommended are told as tried or proposed, not as removed."""
    plan = layer_plan.plan
    prices = prices_alone(layer_plan.outcomes)
    known = {n: price for n, price in prices.items() if price is not None}
    told = {n: plan_wording.share_harder_text(price) for n, price in known.items()}
    shades = {n: bisect_left(SHADED_FROM, plan_wording.share_harder(price)) for n, price in known.items()}
    row_of_blocks = tuple(
        Block(n, n in removed, told.get(n, ""), shades.get(n, len(SHADED_FROM))) for n in range(plan.n_layers)
    )
    removed_name = plan_wording.removed_name(plan, is_recommended)
    return Blocks(
        row_of_blocks,
        _("stays"),
        removed_name,
        _(
            "{n} blocks in a row; {name}: {blocks}.",
            n=plan.n_layers,
            name=removed_name,
            blocks=plan_wording.blocks_text(removed, plan.n_layers),
        ),
        _("Block numbers from 0, and how much harder text is to predict without that one (dark: much).")
        if prices
        else _("Blocks are counted from 0, the first after the embedding."),
        is_recommended,
    )


# --- the price of each number of blocks ---------------------------------------------------------------------------------

OTHERS: dict[str, Mark] = dict(zip((*PUBLISHED, "random"), ("square", "triangle", "down", "plus", "open"), strict=True))
"""Choices of blocks that the search's are held against, and their marks."""
MOST_OTHER_CHOICES = 3
"""Of these, on a slide."""
MOST_DRAWN = 5
"""Times the least price, the budget or 1 percent: on one axis with what is beyond, all others would look like none."""


def price_chart(layer_plan: LayerPlan, budget: float | None, is_brief: bool = False) -> Chart:
    """Rise of the loss in nats per token over the number of blocks that go: each step of the search with its 95 percent
    interval (of the plan's size the plan itself), before repair and repaired, beside published choices, random sets and the
    cheapest of all for at least as many blocks.

    `is_brief`, for a slide: in percent that text gets harder to predict, what is named alone, each with the number at its end,
    and of each published rule and of random sets the cheapest, on a linear axis from zero.
    """
    same_size = [row for row in layer_plan.of(layer_plan.decisive_text, "loss") if row.unit == "block"]
    others = {rule: [row for row in same_size if row.rule == rule and not row.is_healed] for rule in OTHERS}
    steps = search_steps(layer_plan, repaired=False)
    repaired = [row for row in search_steps(layer_plan) if row.is_healed]
    rows = [*steps, *repaired, *(row for of_rule in others.values() for row in of_rule)]
    cheapest = {row.rule: [row] for row in other_choices(layer_plan)[:MOST_OTHER_CHOICES]}
    if "no_better_than_random" in layer_plan.plan.reasons:
        cheapest["random"] = sorted(others["random"], key=lambda row: row.difference or 0.0)[:1]
    series = [Series(_("lowest loss of each size"), _price_points(pareto_front(rows)), None, is_named=False)]
    n_random = counted(len(others["random"]), "plan_outcomes")
    for place, (rule, mark) in enumerate(OTHERS.items()):
        aside = 0.0 if is_brief else 0.07 * place - 0.28
        drawn = cheapest.get(rule, []) if is_brief else others[rule]
        points, colour = _price_points(drawn, aside), None if rule == "random" else 2 + place
        label = plan_wording.rule_name(rule)
        if is_brief and rule == "random":
            label = _("least of {n} random choices", n=n_random)
        series.append(Series(label, points, colour, False, mark, is_named=rule in cheapest))
    label, path = _("this plan") if is_brief else _("the search"), _price_points(steps)
    label = _("this plan, before repair") if repaired else label
    if is_brief and path:
        path = (Point(0.0, 0.0, 0.0, 0.0), *path)  # where every search starts: the whole model
    searched = [Series(label, path, 0, len(path) > 1, "circle", is_banded=True)]
    if repaired:
        again = Series(_("this plan, repaired"), _price_points(repaired), 1, False, "diamond")
        searched.insert(len(searched) if layer_plan.price.is_healed else 0, again)  # what the plan is stands last
    else:
        searched.append(Series(_("the plan"), _price_points([layer_plan.price]), 1, False, "diamond", is_named=False))
    visible = [line for line in (*series, *searched) if line.points]
    if is_brief:
        return _brief_chart([line for line in visible if line.is_named], len(layer_plan.plan.blocks), budget)
    return _priced_chart(layer_plan, visible, budget)


def _priced_chart(layer_plan: LayerPlan, series: Sequence[Series], budget: float | None) -> Chart:
    """The axes: numbers of blocks with their share of the parameters, and losses, the least above."""
    up = _price_axis(series, budget)
    sizes = sorted({round(point.x) for line in series for point in line.points})
    labels = tuple((size, f"{size}\n−{share_text(parameters_saved_share(layer_plan.plan, size))}") for size in sizes)
    return Chart(
        Axis(_("blocks that go, share of parameters"), 0.5, max(sizes) + 0.6, 1, labels=labels),
        replace(up, title=_("rise of loss, nats per token (up is better)"), is_reversed=True),
        _within(series, up.low),
        "",
        (Guide(_("budget {budget}", budget=f"{budget:g}"), budget, False),) if budget else (),
    )


def _brief_chart(series: Sequence[Series], most: int, budget: float | None) -> Chart:
    """How much harder text is to predict, in percent, the least above, over numbers of blocks: up to the plan's, as a search
    goes further, of the sets that are compared with it."""
    upto = (replace(line, points=tuple(one for one in line.points if round(one.x) <= most)) for line in series)
    drawn = tuple(_harder_series(line) for line in upto if line.points and round(line.points[-1].x) == most)
    limit = None if budget is None else plan_wording.share_harder(budget)
    told = _("; ").join(line.name for line in reversed(drawn))
    key = _("Bars: 95 % intervals.")
    least = min(line.points[-1].y for line in drawn)
    most_drawn = stated(MOST_DRAWN * max(least, 100 * (limit or 0.0), 1.0), "MOST_DRAWN")
    if any(point.y > most_drawn for line in drawn for point in line.points):
        drawn = _within(drawn, -math.inf, most_drawn)
        key = joined_sentences((key, _("What lies beyond the axis stands at its end.")))
    up = round_axis(
        _("text harder to predict, % (up is better)"), [0.0, limit and 100 * limit, *y_ends(drawn)], from_zero=True
    )
    return Chart(
        Axis(_("Blocks left out"), 0, most, whole_step(most)),
        replace(up, is_reversed=True),
        drawn,
        _("How much harder text gets over blocks left out. {told}.", told=told),
        (Guide(_("budget {budget}", budget=plan_wording.share_harder_text(budget)), 100 * limit, False),)
        if limit
        else (),
        key,
    )


def _harder_series(line: Series) -> Series:
    """In percent; its name with the last number: `this plan: 3 %`."""

    points = tuple(one.moved(lambda loss: 100 * plan_wording.share_harder(loss)) for one in line.points)
    last = plan_wording.share_harder_text(line.points[-1].y)
    return replace(line, name=_("{name}: {relation}", name=line.name, relation=last), points=points)


def _price_axis(series: Sequence[Series], budget: float | None) -> Axis:
    """Logarithmic where a linear axis would not show all prices well."""
    title = _("rise of loss, nats per token")
    values = [point.y for line in series for point in line.points]
    positive = [value for value in values if value > 0]
    lowest = min([*positive, *([budget] if budget else [])], default=0.0)
    if not positive or max(positive) < 12 * lowest:
        return round_axis(title, [0.0, budget or 0.0, *y_ends(series)], from_zero=True)
    ends = [end for end in y_ends(series) if end and end > lowest]
    return log_axis(title, [max(lowest / 1.6, max(positive) / 1000), budget, *ends])


def _within(series: Sequence[Series], low: float, high: float = math.inf) -> tuple[Series, ...]:
    """What lies below or above the ends of an axis at these."""

    points = ((one.moved(lambda value: min(max(value, low), high)) for one in line.points) for line in series)
    return tuple(replace(line, points=tuple(moved)) for line, moved in zip(series, points, strict=True))


def _price_points(rows: Sequence[PlanOutcomeRow], aside: float = 0.0) -> tuple[Point, ...]:
    """Prices over numbers of blocks, or over the one block."""
    return tuple(
        Point(
            (row.blocks[0] if row.rule == "single" else len(row.blocks)) + aside,
            row.difference,
            row.lower,
            row.upper,
            note=f"{', '.join(map(str, row.blocks))}: {plan_wording.outcome_price_text(row)}",
        )
        for row in rows
        if row.difference is not None
    )


def single_block_chart(layer_plan: LayerPlan) -> Chart | None:
    """The price of each block, and of its attention and MLP, removed alone, on the text that chose; a pointer shows the block's
    influence too. None where only given blocks were priced."""
    rows = sorted(layer_plan.of("selection", "loss", "single"), key=lambda row: row.blocks)
    if not any(row.unit in ("block", "attention") for row in rows):
        return None
    influences = {row.blocks[0]: row.value_after for row in layer_plan.of("selection", "influence")}
    looks: tuple[tuple[str, str, Mark, int, float], ...] = (
        ("block", _("whole block"), "circle", 0, 0.0),
        ("attention", _("its attention"), "triangle", 2, -0.22),
        ("mlp", _("its MLP"), "square", 3, 0.22),
    )
    series = []
    for unit, label, mark, colour, aside in looks:
        is_block = unit == "block"
        points = _price_points([row for row in rows if row.unit == unit], aside)
        if is_block:
            points = tuple(
                point
                if (influence := influences.get(int(point.x))) is None
                else replace(point, note=_("{price}; influence {influence:.3f}", price=point.note, influence=influence))
                for point in points
            )
        series.append(Series(label, points, colour, is_block, mark, is_banded=is_block, is_named=False))
    removed = _price_points([row for row in rows if row.unit == "block" and row.blocks[0] in layer_plan.plan.blocks])
    label = plan_wording.removed_name(layer_plan.plan, is_recommended(layer_plan))
    series.append(marked_series(label, removed, 1, "open"))
    n = layer_plan.plan.n_layers
    x = Axis(_("block, counted from 0"), -0.5, n - 0.5, whole_step(n))
    up = _price_axis(series, None)
    return Chart(x, up, _within([line for line in series if line.points], up.low), "")


# --- what breaks first --------------------------------------------------------------------------------------------------


def harder_points(layer_plan: LayerPlan, of_answers: bool) -> list[PlanOutcomeRow]:
    """Texts by their loss, or probes and tasks by their right answers, the most harmed first, unhealed before healed.

    Probes that the whole model cannot answer are left out.
    """
    rows = [row for row in harder_text_prices(layer_plan) if (row.measure != "loss") == of_answers]
    rows = [row for row in rows if f"no_room_{row.text}" not in layer_plan.plan.reasons]
    if not of_answers:
        rows += [row for row in layer_plan.of("held_out", "loss") if row.is_chosen and row.unit == "block"]
    worst: dict[str, float] = {}
    for row in rows:
        loss = (row.difference or 0.0) * (-1 if of_answers else 1)
        worst[row.text] = max(loss, worst.get(row.text, loss))
    return sorted(rows, key=lambda row: (-worst[row.text], row.text, row.is_healed))


def harder_chart(rows: Sequence[PlanOutcomeRow], of_answers: bool) -> Chart | None:
    """One row per text or probe with its 95 percent interval; at zero nothing is lost. None without rows."""
    title = _("right answers: change in points") if of_answers else _("rise of loss, nats per token")
    names, scale = list(dict.fromkeys(row.text for row in rows)), 100 if of_answers else 1
    kinds: dict[bool, tuple[str, Mark, int | None]] = {
        False: (_("without the blocks"), "circle", 1),
        True: (_("repaired"), "diamond", 2),
    }
    points = [
        (
            row.is_healed,
            Point(
                scale * row.difference,
                names.index(row.text) + (0.16 if row.is_healed else 0.0),
                left=None if row.lower is None else scale * row.lower,
                right=None if row.upper is None else scale * row.upper,
                name=name("plan_text", row.text),
                note=plan_wording.change_text(row),
            ),
        )
        for row in rows
        if row.difference is not None
    ]
    series = kinds_series(kinds, points)
    across = round_axis(title, [*x_ends(series), 0.0], most_steps=3)  # two stand side by side, behind long names
    return interval_chart(series, across, [Guide("", 0.0)]) if series else None


# --- directions ---------------------------------------------------------------------------------------------------------


def direction_chart(
    points: Sequence[LayerDirections], of_task: Sequence[LayerDirections], joint: PlanOutcomeRow | None
) -> Chart:
    """Needed directions of a text and of a task over the layers, with d2; the joint rank of all layers as a line."""

    def needed(found: Sequence[LayerDirections], label: str, mark: Mark, colour: int) -> list[Series]:
        told = tuple(
            Point(one.layer, one.rank, note=f"{label}: {one.rank}, {plan_wording.outcome_price_text(one.price)}")
            for one in found
            if one.price is not None and one.rank is not None
        )
        return [Series(label, told, colour, True, mark)] if told else []

    series = needed(points, _("principal components that suffice"), "circle", 0)
    series += needed(of_task, _("the same for the task"), "square", 2)
    with_d2 = tuple(Point(point.layer, point.d2) for point in points if point.d2 is not None)
    series.append(Series(_("d2 of the same tokens"), with_d2, 1, True, "diamond"))
    guides = []
    if joint and joint.rank is not None:
        guides.append(Guide(_("all layers at once: {rank}", rank=joint.rank), joint.rank, False))
    x = round_axis(_("layer"), x_ends(series), from_zero=True)
    up = round_axis(_("directions"), [*y_ends(series), *(guide.at for guide in guides)], from_zero=True)
    return Chart(x, up, tuple(series), "", tuple(guides))
