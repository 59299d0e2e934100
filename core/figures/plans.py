"""Figures of layer plans: removed blocks, the price of each number of blocks, harder tests, needed directions.

Blocks are counted from 0 and stretches are half-open everywhere.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import plotly.graph_objects as go

from core.analysis.plans import (
    PUBLISHED,
    LayerDirections,
    harder_text_prices,
    parameters_saved_share,
    pareto_front,
    search_steps,
)
from core.figures.chart import Axis, Chart, Guide, Mark, Point, Series, round_axis
from core.figures.labels import spread_apart
from core.figures.style import COLOURS, QUIET, TEXT, axes_figure, error_bars, escape_label
from core.figures.svg import LIGHT, Drawing, Theme
from core.figures.text import text_width
from core.locale import _
from core.records import LayerPlan, stretches
from core.tables import PlanOutcomeRow
from core.wording import plans as plan_wording
from core.wording.labels import name

# --- removed and remaining blocks, as static SVG ------------------------------------------------------------------------

WIDTH = 960.0
MOST_IN_A_ROW = 40
MARGIN, CELL = 16.0, 30.0


def blocks_svg(blocks: Collection[int], n_layers: int, theme: Theme = LIGHT, *, tried_as: str = "") -> str:
    """The SVG of the whole model with removed blocks hollow and lowered and their stretches below; then the smaller model.

    Inside each block is its number in the whole model; above the blocks of the smaller model are their new numbers. Of a
    set that is not allowed `tried_as` says what its blocks are; they do not go, and there is no smaller model.
    """
    remaining = [] if tried_as else [block for block in range(n_layers) if block not in blocks]
    rows = list(_rows(range(n_layers)))
    cell = min(44.0, (WIDTH - 2 * MARGIN) / max(map(len, rows)))
    height = 34 + sum(CELL + _room_below(row, blocks) for row in rows) + 6
    if remaining:
        height += 30 + len(list(_rows(remaining))) * (CELL + 30)
    drawing = Drawing(WIDTH, height, theme)
    stays, goes = theme.curves[0], theme.curves[1]
    y = 20.0
    drawing.text(
        (MARGIN, y), _("Whole model: {n} blocks, 0 to {last}").format(n=n_layers, last=n_layers - 1), bold=True
    )
    _draw_legend(drawing, y, tried_as or _("goes"))
    y += 14
    for row in rows:
        for place, block in enumerate(row):
            x = MARGIN + place * cell
            if block in blocks:
                _draw_removed(drawing, x, y + 9, cell, block, goes)
            else:
                _draw_cell(drawing, x, y, cell, block, stays)
        _draw_stretches(drawing, [block for block in row if block in blocks], row[0], y + CELL + 15, cell, goes)
        y += CELL + _room_below(row, blocks)
    if remaining:
        y += 16
        drawing.text(
            (MARGIN, y), _("Smaller model: {n} blocks; over each its new number").format(n=len(remaining)), bold=True
        )
        y += 26
    for first, part in enumerate(_rows(remaining)):
        for place, block in enumerate(part):
            x = MARGIN + place * cell
            new = first * len(next(_rows(remaining))) + place
            drawing.text((x + cell / 2, y - 4), str(new), _font_size(cell) - 1, theme.quiet, "middle")
            _draw_cell(drawing, x, y, cell, block, stays)
        y += CELL + 30
    removed = plan_wording.blocks_text(blocks, n_layers) if blocks else _("no block")
    told = (
        _("{name}: {relation}").format(name=tried_as, relation=removed)
        if tried_as
        else _("Goes: {blocks}. {stays} of {n} stay.").format(blocks=removed, stays=len(remaining), n=n_layers)
    )
    return drawing.svg(_("Blocks of a layer plan"), told)


def _room_below(row: Sequence[int], removed: Collection[int]) -> float:
    """Room below a row, with brackets where some of its blocks are removed."""
    return 54.0 if set(row) & set(removed) else 14.0


def _rows(blocks: Sequence[int]) -> Iterator[Sequence[int]]:
    """Rows of about the same length, at most MOST_IN_A_ROW."""
    n = -(-len(blocks) // MOST_IN_A_ROW) or 1
    length = -(-len(blocks) // n) or 1
    for start in range(0, len(blocks), length):
        yield blocks[start : start + length]


def _font_size(cell: float) -> float:
    return max(8.5, min(13.0, cell * 0.42))


def _draw_cell(drawing: Drawing, x: float, y: float, cell: float, block: int, colour: str) -> None:
    drawing.box(x + 1, y, cell - 2, CELL, colour, 0.22)
    drawing.line([(x + 1, y + CELL), (x + cell - 1, y + CELL)], colour, 2)
    drawing.text((x + cell / 2, y + CELL / 2 + 4.5), str(block), _font_size(cell), anchor="middle")


def _draw_removed(drawing: Drawing, x: float, y: float, cell: float, block: int, colour: str) -> None:
    left, right, bottom = x + 2, x + cell - 2, y + CELL
    drawing.line([(left, y), (right, y), (right, bottom), (left, bottom), (left, y)], colour, 1.6, "4 3")
    drawing.line([(left, bottom), (right, y)], colour, 1.2, opacity=0.55)
    drawing.text((x + cell / 2, y + CELL / 2 + 4.5), str(block), _font_size(cell), colour, "middle", bold=True)


def _draw_stretches(drawing: Drawing, removed: Sequence[int], start: int, y: float, cell: float, colour: str) -> None:
    """A bracket under each stretch with its half-open pair of numbers."""
    removed_stretches = stretches(removed)
    if not removed_stretches:
        return
    labels = [f"[{first}, {after})" for first, after in removed_stretches]
    size = 11.5
    middles = [MARGIN + ((first + after) / 2 - start) * cell for first, after in removed_stretches]
    reach = max(text_width(label, size) for label in labels)
    places = spread_apart(middles, reach + 6, MARGIN + reach / 2, drawing.width - MARGIN - reach / 2)
    for (first, after), label, middle, place in zip(removed_stretches, labels, middles, places, strict=True):
        left, right = MARGIN + (first - start) * cell + 2, MARGIN + (after - start) * cell - 2
        drawing.line([(left, y), (left, y + 5), (right, y + 5), (right, y)], colour, 1.4)
        drawing.line([(middle, y + 5), (place, y + 13)], colour, 1)
        drawing.text((place, y + 25), label, size, colour, "middle")


def _draw_legend(drawing: Drawing, y: float, goes: str) -> None:
    stays = _("stays")
    colours = drawing.theme.curves
    x = WIDTH - MARGIN - text_width(goes, 13)
    drawing.text((x, y), goes, 13, colours[1])
    drawing.line(
        [(x - 20, y - 10), (x - 6, y - 10), (x - 6, y + 1), (x - 20, y + 1), (x - 20, y - 10)], colours[1], 1.4, "3 2"
    )
    x -= 44 + text_width(stays, 13)
    drawing.text((x, y), stays, 13)
    drawing.box(x - 20, y - 10, 14, 11, colours[0], 0.35)


# --- the price of each number of blocks ---------------------------------------------------------------------------------


@dataclass(frozen=True)
class PriceData:
    """Prices of sets of blocks on one text, in nats per token."""

    steps: list[PlanOutcomeRow]
    """The search's set of each size; of the plan's size the final plan itself."""
    unhealed: PlanOutcomeRow | None
    """The plan without its corrected weights, if it has some."""
    published: list[PlanOutcomeRow]
    random: list[PlanOutcomeRow]
    front: list[PlanOutcomeRow]
    """The cheapest of all these for at least as many blocks."""
    saved: dict[int, float]
    """Number of blocks -> share of the parameters in them."""


def price_points(layer_plan: LayerPlan) -> PriceData:
    text, price = layer_plan.decisive_text, layer_plan.price
    rows = layer_plan.of(text, "loss")
    same_size = [row for row in rows if row.unit == "block" and not row.is_healed]
    published = [row for row in same_size if row.rule in PUBLISHED]
    random = [row for row in same_size if row.rule == "random"]
    unhealed = next((row for row in same_size if row.is_chosen), None) if price.is_healed else None
    all_steps = search_steps(layer_plan)
    priced = [*all_steps, *published, *random]
    sizes = {len(row.blocks) for row in priced}
    saved = {size: parameters_saved_share(layer_plan.plan, size) for size in sizes}
    return PriceData(all_steps, unhealed, published, random, pareto_front(priced), saved)


def price_figure(data: PriceData, budget: float | None) -> go.Figure:
    """Number of blocks against loss: each step with its 95 percent interval, beside published choices and random sets."""
    figure = axes_figure(
        _("blocks that go, and the share of the parameters"), _("rise of the loss, nats per token"), height=470
    )
    floor = _log_axis_start([*data.steps, *data.published, *data.random], budget)
    ours, theirs = COLOURS[0], COLOURS[2:5]
    _add_prices(
        figure, data.front, floor, _("lowest price of each size"), line={"color": QUIET, "width": 1.2, "dash": "dot"}
    )
    _add_prices(figure, data.random, floor, _("random sets"), _marker("circle-open", QUIET, 6), aside=0.28)
    for place, (rule, symbol) in enumerate(
        zip(PUBLISHED, ("square", "triangle-up", "triangle-down", "x"), strict=True)
    ):
        rows = [row for row in data.published if row.rule == rule]
        marker = _marker(symbol, theirs[place % 3], 9)
        _add_prices(figure, rows, floor, name("plan_rule", rule), marker, aside=0.07 * place - 0.28, with_bars=True)
    line = {"color": ours, "width": 2}
    _add_prices(
        figure, data.steps, floor, _("the search's set of each size"), _marker("circle", ours, 8), line, with_bars=True
    )
    unhealed = [data.unhealed] if data.unhealed else []
    _add_prices(figure, unhealed, floor, _("the plan, not healed"), _marker("diamond-open", ours, 12), with_bars=True)
    chosen = [row for row in data.steps if row.is_chosen]
    label = _("the plan, healed") if unhealed else _("the plan")
    _add_prices(figure, chosen, floor, label, _marker("diamond", COLOURS[1], 14))
    if budget:
        figure.add_hline(y=budget, line={"color": COLOURS[1], "width": 1.5, "dash": "dash"})
        budget_label = _("budget {budget:g}").format(budget=budget)
        y = budget if floor is None else math.log10(budget)  # as plotly places words on such an axis
        anchor = {"x": 0, "xref": "paper", "xanchor": "left", "y": y, "yanchor": "bottom"}
        figure.add_annotation(anchor, text=budget_label, showarrow=False, font={"color": COLOURS[1]})
    sizes = sorted(data.saved)
    figure.update_xaxes(
        tickvals=sizes, ticktext=[f"{size}<br>−{data.saved[size]:.0%}" for size in sizes], range=[0.5, max(sizes) + 0.6]
    )
    figure.update_layout(margin={"t": 95})
    return _set_price_axis(figure, floor)


_TICKS = [a * 10.0**power for power in range(-4, 2) for a in (1, 2, 5)]


def _log_axis_start(rows: Sequence[PlanOutcomeRow], budget: float | None) -> float | None:
    """Start of a logarithmic axis; None where a linear axis shows all prices well."""
    values = [row.difference for row in rows if row.difference is not None]
    positive = [value for value in values if value > 0]
    if not positive or max(positive) < 12 * min([*positive, *([budget] if budget else [])]):
        return None
    return max(min([*positive, *([budget] if budget else [])]) / 2, max(positive) / 2000)


def _set_price_axis(figure: go.Figure, floor: float | None) -> go.Figure:
    if floor is None:
        return figure.update_yaxes(zeroline=True, zerolinecolor=TEXT)
    return figure.update_yaxes(type="log", tickvals=_TICKS, ticktext=[f"{tick:g}" for tick in _TICKS])


def _marker(symbol: str, colour: str, size: int) -> dict[str, Any]:
    return {"symbol": symbol, "color": colour, "size": size}


def _add_prices(
    figure: go.Figure,
    rows: Sequence[PlanOutcomeRow],
    floor: float | None,
    label: str,
    marker: dict[str, Any] | None = None,
    line: dict[str, Any] | None = None,
    *,
    aside: float = 0.0,
    with_bars: bool = False,
) -> None:
    """Adds prices over numbers of blocks; values below a logarithmic axis are drawn on its edge."""
    if not rows:
        return
    values, intervals = _clipped_prices(rows, floor)
    figure.add_scatter(
        x=[len(row.blocks) + aside for row in rows],
        y=values,
        mode="+".join(filter(None, ["lines" if line else "", "markers" if marker else ""])),
        name=label,
        marker=marker,
        line=line,
        error_y=intervals if with_bars else None,
        hovertext=[
            f"{escape_label(', '.join(map(str, row.blocks)))}: {plan_wording.outcome_price_text(row)}" for row in rows
        ],
        hoverinfo="text+name" if marker else "skip",
    )


def _clipped_prices(rows: Sequence[PlanOutcomeRow], floor: float | None) -> tuple[list[float], dict[str, Any]]:
    """Prices and their 95 percent intervals as error bars, clipped at the start of the axis."""
    lowest = -math.inf if floor is None else floor
    values = [max(row.difference or 0.0, lowest) for row in rows]
    above = [None if row.upper is None else max(row.upper, lowest) - v for row, v in zip(rows, values, strict=True)]
    below = [None if row.lower is None else v - max(row.lower, lowest) for row, v in zip(rows, values, strict=True)]
    return values, error_bars(above, below)


# --- each block alone ---------------------------------------------------------------------------------------------------


def single_block_points(layer_plan: LayerPlan) -> dict[str, list[PlanOutcomeRow]]:
    """Unit (block, attention, mlp) -> price of each one removed alone, on the selection text, in the order of the blocks."""
    rows = layer_plan.of("selection", "loss", "single")
    return {
        unit: sorted((row for row in rows if row.unit == unit), key=lambda row: row.blocks)
        for unit in ("block", "attention", "mlp")
    }


def single_block_figure(
    points: dict[str, list[PlanOutcomeRow]], influence: Sequence[PlanOutcomeRow], removed: Collection[int]
) -> go.Figure:
    """The price of each block, and of its attention and MLP, removed alone; hover texts show the block's influence."""
    figure = axes_figure(_("block, counted from 0"), _("rise of the loss, nats per token"), height=420)
    floor = _log_axis_start([row for rows in points.values() for row in rows], None)
    influences = {row.blocks[0]: row.value_after for row in influence}
    looks = {
        "block": ("circle", COLOURS[0], 0.0),
        "attention": ("triangle-up", COLOURS[2], -0.22),
        "mlp": ("square", COLOURS[3], 0.22),
    }
    names = {"block": _("whole block"), "attention": _("its attention"), "mlp": _("its MLP")}
    for unit, rows in points.items():
        if not rows:
            continue
        symbol, colour, aside = looks[unit]
        is_block = unit == "block"
        values, intervals = _clipped_prices(rows, floor)
        hover_line = _("{price}; influence {influence:.3f}")
        figure.add_scatter(
            x=[row.blocks[0] + aside for row in rows],
            y=values,
            mode="lines+markers" if is_block else "markers",
            name=names[unit],
            marker=_marker(symbol, colour, 8),
            line={"color": colour, "width": 1},
            error_y=intervals if is_block else None,
            hovertext=[
                hover_line.format(price=plan_wording.outcome_price_text(row), influence=influences[row.blocks[0]])
                if is_block and influences.get(row.blocks[0]) is not None
                else plan_wording.outcome_price_text(row)
                for row in rows
            ],
        )
    removed_rows = [row for row in points["block"] if row.blocks[0] in removed]
    if removed_rows:
        figure.add_scatter(
            x=[row.blocks[0] for row in removed_rows],
            y=_clipped_prices(removed_rows, floor)[0],
            mode="markers",
            name=_("goes"),
            marker=_marker("circle-open", COLOURS[1], 15) | {"line": {"width": 2}},
            hoverinfo="skip",
        )
    return _set_price_axis(figure, floor)


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
    title = _("right answers: change in points") if of_answers else _("rise of the loss, nats per token")
    names, scale = list(dict.fromkeys(row.text for row in rows)), 100 if of_answers else 1
    series = []
    kinds: tuple[tuple[bool, str, Mark, int], ...] = (
        (False, _("without the blocks"), "circle", 1),
        (True, _("healed"), "diamond", 2),
    )
    for is_healed, label, mark, colour in kinds:
        points = [
            Point(
                scale * row.difference,
                names.index(row.text) + (0.16 if is_healed else 0.0),
                left=None if row.lower is None else scale * row.lower,
                right=None if row.upper is None else scale * row.upper,
                name=name("plan_text", row.text),
                note=plan_wording.points_text(row) if of_answers else plan_wording.outcome_price_text(row),
            )
            for row in rows
            if row.is_healed == is_healed and row.difference is not None
        ]
        series += [Series(label, tuple(points), colour, False, mark, is_named=False)] if points else []
    if not series:
        return None
    x = round_axis(title, [0.0, *(value for line in series for p in line.points for value in (p.x, p.left, p.right))])
    y = Axis("", -0.5, len(names) - 0.5, 1, is_ordered=True)
    return Chart(x, y, tuple(series), "", (Guide("", 0.0),))


# --- directions ---------------------------------------------------------------------------------------------------------


def direction_chart(
    points: Sequence[LayerDirections], of_task: Sequence[LayerDirections], joint: PlanOutcomeRow | None
) -> Chart:
    """Needed directions of a text and of a task over the layers, with d2; the joint rank of all layers as a line."""
    series = []
    kinds: tuple[tuple[Sequence[LayerDirections], str, Mark, int], ...] = (
        (points, _("principal components that suffice"), "circle", 0),
        (of_task, _("the same for the answers of the task"), "square", 2),
    )
    for needed_at, label, mark, colour in kinds:
        needed = tuple(
            Point(
                point.layer, point.rank, note=f"{label}: {point.rank}, {plan_wording.outcome_price_text(point.price)}"
            )
            for point in needed_at
            if point.price is not None and point.rank is not None
        )
        series += [Series(label, needed, colour, True, mark)] if needed else []
    with_d2 = tuple(Point(point.layer, point.d2) for point in points if point.d2 is not None)
    series.append(Series(_("d2 of the same tokens"), with_d2, 1, True, "diamond"))
    drawn = [point for line in series for point in line.points]
    guides = (
        (Guide(_("all layers at once: {rank}").format(rank=joint.rank), joint.rank, False),)
        if joint and joint.rank is not None
        else ()
    )
    up = [*(point.y for point in drawn), *(guide.at for guide in guides)]
    x = round_axis(_("layer"), [point.x for point in drawn], from_zero=True)
    return Chart(x, round_axis(_("directions"), up, from_zero=True), tuple(series), "", guides)
