"""The pictures of a story, as typed data: profiles, a scatter, coefficients with their intervals, blocks, prices.

Every axis is linear and shared by all that is compared on it.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Sequence
from dataclasses import replace

import polars as pl

from core import wording
from core.analysis import plans as read_again
from core.analysis.answer import Answer
from core.analysis.ranks import NORMAL_95
from core.deck import layout
from core.deck.story import Axis, Block, Blocks, Chart, Guide, Mark, Point, Series
from core.figures.layer_profiles import PRIMARY, Curve, profile_points
from core.figures.scores import dimension_axis, distinct, ranking_points, score_axis
from core.locale import translator
from core.records import LayerPlan
from core.wording import answers, plans
from core.wording.labels import run_labels, shortened

MOST_CURVES = 6
"""Curves that colours tell apart; of more, some are named and the others stand behind them in grey."""
MOST_BANDS = 3
LONGEST_NAME = 26


def axis(title: str, values: Iterable[float | None], from_zero: bool = False) -> Axis:
    """From one round number to another around the values."""
    known = [value for value in values if value is not None and math.isfinite(value)] or [0.0, 1.0]
    low, high = min(known), max(known)
    low = min(low, 0.0) if from_zero else low
    room = (high - low) or abs(high) or 1.0
    step = 10.0 ** math.floor(math.log10(room / 4))
    step = next(step * factor for factor in (1, 2, 5, 10) if room / (step * factor) <= 6)
    start = 0.0 if from_zero and low == 0 else math.floor((low - 0.02 * room) / step) * step
    end = math.ceil((high + 0.04 * room) / step) * step
    decimals = max(0, math.ceil(-math.log10(step) - 1e-9))
    return Axis(title, round(start, 10), round(end, 10), step, decimals)


def short_names(runs: pl.DataFrame, language: str, longest: int = LONGEST_NAME) -> dict[str, str]:
    """run_id -> what tells it from the others, short enough to stand beside a curve."""
    labels = run_labels(runs, language)
    cut = dict(zip(labels, distinct(list(labels.values())), strict=True))
    short = {run_id: shortened(label, longest) for run_id, label in cut.items()}
    return short if len(set(short.values())) == len(short) else {key: shortened(cut[key], 40) for key in cut}


# --- profiles --------------------------------------------------------------------------------------------------


def profiles(
    estimates: pl.DataFrame, runs: pl.DataFrame, language: str, named: Collection[str] | None = None
) -> Chart | None:
    """d2 over the layers of these runs, one curve each; None where none has estimates.

    Up to six runs have a colour each. Of more, those `named` (run ids; else the extremes) do and the others stand behind
    them in grey. Runs that a check vetoes are grey and dashed by their mark, whatever is asked for.
    """
    _ = translator(language)
    found = profile_points(estimates, runs, *PRIMARY, language=language)
    if not found.curves:
        return None
    names = short_names(runs, language)
    sound = [curve for curve in found.curves if not curve.is_vetoed]
    if len(found.curves) <= MOST_CURVES:
        told = [curve.run_id for curve in sound]
    else:
        told = [curve.run_id for curve in sound if curve.run_id in (named or extremes(runs))][:MOST_CURVES]
    with_bands = len(told) <= MOST_BANDS
    series = []
    # Those in colour come last, so that they are drawn over the others.
    order = sorted(found.curves, key=lambda curve: (curve.run_id in told, -len(curve.marks)))
    colour_of = {run_id: number for number, run_id in enumerate(told)}
    for curve in order:
        own = colour_of.get(curve.run_id)
        is_told = own is not None or (curve.is_vetoed and len(found.curves) <= MOST_CURVES)
        points = tuple(
            Point(mark.layer if found.same_depth else round(mark.depth, 4), mark.value, mark.lower, mark.upper)
            for mark in curve.marks
        )
        name = names.get(curve.run_id, curve.name)
        series.append(Series(name, points, own, is_banded=own is not None and with_bands, is_named=is_told))
    deepest = max(curve.marks[-1].layer for curve in found.curves)
    step = next((step for step in (1, 2, 5, 10) if deepest / step <= 10), 20)
    across = (
        Axis(wording.layer_axis(True, language), 0, deepest, step)
        if found.same_depth
        else Axis(wording.layer_axis(False, language), 0, 1, 0.25, 2)
    )
    reach = [
        value for one in series for point in one.points for value in (point.y, point.upper if one.is_banded else None)
    ]
    size = wording.size_range(found.n_points)
    up = axis(_("Estimated dimension (d2, N={size})").format(size=size), reach, from_zero=True)
    shown = [curve for curve in found.curves if curve.run_id in told] or found.curves[:MOST_CURVES]
    told_of = _("; ").join(curve_text(curve, names.get(curve.run_id, curve.name), language) for curve in shown[:4])
    quiet = len(found.curves) - len(shown)
    alternative = _("Estimated dimension over the layers. {curves}.").format(curves=told_of)
    if quiet:
        alternative = wording.sentences((alternative, _("Behind them in grey: {n} more.").format(n=quiet)), language)
    key = _("Bars: 95 % intervals.") if with_bands else ""
    if any(curve.is_vetoed for curve in found.curves):
        key = wording.sentences((key, wording.veto_note(language)), language)
    return Chart(across, up, tuple(series), alternative, key=key)


def curve_text(curve: Curve, name: str, language: str) -> str:
    """`SmolLM2: 44 at the embedding, 106 at layer 9, 21.7 after the last block`."""
    _ = translator(language)
    inner = curve.marks[1:-1] or curve.marks
    top = max(inner, key=lambda mark: mark.value)
    return _(
        "{name}: {start} at the embedding, at most {top} inside (layer {layer}), {end} after the last block"
    ).format(
        name=name,
        start=wording.number(curve.marks[0].value),
        top=wording.number(top.value),
        layer=top.layer,
        end=wording.number(curve.marks[-1].value),
    )


def extremes(runs: pl.DataFrame) -> list[str]:
    """The run of the largest, of the middle and of the smallest inner dimension, vetoed ones left out."""
    known = runs.filter(pl.col("inner_max").is_not_null(), ~pl.col("worst_check").eq_missing(pl.lit("veto"))).sort(
        "inner_max", "run_id"
    )
    if known.is_empty():
        return []
    return list(dict.fromkeys(known["run_id"][at] for at in (known.height - 1, 0, known.height // 2)))


# --- relation --------------------------------------------------------------------------------------------------


def scatter(found: Answer, language: str) -> Chart | None:
    """Dimension against score, every model a point with both intervals; None where no model has both."""
    _ = translator(language)
    data = ranking_points(found, language)
    if not data.points:
        return None
    vetoed = {one.run_id for one in found.models if one.is_vetoed}
    groups: dict[str, list[Point]] = {"own": [], "base": [], "vetoed": []}
    for point in data.points:
        reach = NORMAL_95 * (point.score_std_error or 0.0)
        kind = "vetoed" if point.run_id in vetoed else "base" if point.match == "base" else "own"
        groups[kind].append(
            Point(
                point.dimension,
                point.score,
                point.score - reach if reach else None,
                point.score + reach if reach else None,
                point.lower,
                point.upper,
                shortened(point.name, LONGEST_NAME),
            )
        )
    short = {point.run_id: shortened(point.name, LONGEST_NAME) for point in data.points}
    moves = [found.relation.without_one.moves_most] if found.relation.without_one else []
    first = [
        short[run_id]
        for run_id in (*moves, *(one.run_id for one in found.models if one.score_rank_low == 1))
        if run_id in short
    ]
    kinds: dict[str, tuple[str, int | None, Mark]] = {
        "own": (_("scores of the models themselves"), 0, "circle"),
        "base": (_("scores of base models, which test nothing"), 1, "open"),
        "vetoed": (_("vetoed by a check"), None, "diamond"),
    }
    every = [point for points in groups.values() for point in points]
    x = axis(dimension_axis(data, language), [value for p in every for value in (p.x, p.left, p.right)])
    scale = score_axis(data)
    if found.population.higher_is_better is False:
        scale = _("{title} (lower is better)").format(title=scale)
    y = axis(scale, [value for p in every for value in (p.y, p.lower, p.upper)])
    named = dict(zip(map(id, every), placed(every, x, y, first), strict=True))
    series = tuple(
        Series(
            kinds[kind][0], tuple(named[id(p)] for p in points), kinds[kind][1], False, kinds[kind][2], is_named=False
        )
        for kind, points in groups.items()
        if points
    )
    low, high = min(every, key=lambda p: p.x), max(every, key=lambda p: p.x)
    alternative = _(
        "{n} models as points. Dimension from {low} to {high}, score from {worst} to {best}; {numbers}."
    ).format(
        n=len(every),
        low=wording.number(low.x),
        high=wording.number(high.x),
        worst=wording.number(min(p.y for p in every)),
        best=wording.number(max(p.y for p in every)),
        numbers=answers.numbers(found.relation, language),
    )
    marks = {"own": "●", "base": "○", "vetoed": "◆"}
    key = [_("Bars: 95 % intervals.")]
    if len(series) > 1:
        key.append(_(", ").join(f"{marks[kind]} {kinds[kind][0]}" for kind, points in groups.items() if points))
    return Chart(x, y, series, alternative, key=wording.sentences(key, language))


def placed(points: Sequence[Point], x: Axis, y: Axis, first: Collection[str]) -> list[Point]:
    """Names where they cover no point, no interval and no other name, the `first` ones before others; else no name."""
    margins = layout.PLOT_MARGINS
    width = layout.CHART_BOX[2] - margins[0] - margins[3]
    height = layout.CHART_BOX[3] - layout.KEY_HEIGHT - margins[1] - margins[2]

    def across(value: float) -> float:
        return width * (value - x.low) / (x.high - x.low)

    def down(value: float) -> float:
        return height * (1 - (value - y.low) / (y.high - y.low))

    taken: list[layout.Box] = []
    for p in points:
        left, top = across(p.x), down(p.y)
        taken.append((left - 0.08, top - 0.08, left + 0.08, top + 0.08))
        if p.upper is not None and p.lower is not None:
            taken.append((left - 0.02, down(p.upper), left + 0.02, down(p.lower)))
        if p.left is not None and p.right is not None:
            taken.append((across(p.left), top - 0.02, across(p.right), top + 0.02))
    told: dict[int, Point] = {}
    high = 1.25 * layout.SMALLEST / 72
    for number, p in sorted(enumerate(points), key=lambda one: one[1].name not in first):
        wide, left, top = layout.text_width(p.name, layout.SMALLEST) + 0.05, across(p.x), down(p.y)
        aside = layout.NAME_ASIDE if p.left is not None else 0.0
        places = {
            "right": (left + 0.1, top - aside - high / 2),
            "left": (left - 0.1 - wide, top - aside - high / 2),
            "above": (left - wide / 2, top - 0.1 - high),
            "below": (left - wide / 2, top + 0.1),
        }
        for place, (begin, above) in places.items():
            box = (begin, above, begin + wide, above + high)
            own = (left - 0.08, top - 0.08, left + 0.08, top + 0.08)
            free = all(one == own or not _overlap(box, one) for one in taken)
            if free and box[0] >= 0 and box[2] <= width + margins[3] and box[1] >= -0.1 and box[3] <= height:
                told[number] = replace(p, place=place)  # type: ignore[arg-type]
                taken.append(box)
                break
    return [told.get(number, replace(p, name="")) for number, p in enumerate(points)]


def _overlap(a: layout.Box, b: layout.Box) -> bool:
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]


def coefficients(found: Answer, language: str) -> Chart | None:
    """Spearman's rho over all models and as far as size, families and recipes allow, each with its interval; None where only one of them is
    known."""
    _ = translator(language)
    relation = found.relation
    rows = [
        (_("all models"), relation.rho, relation.lower, relation.upper, relation.n),
        (_("given size"), relation.partial.r, relation.partial.lower, relation.partial.upper, relation.partial.n),
        (_("within families and sizes"), relation.strata.rho, None, None, relation.strata.n),
    ]
    if relation.once is not None:
        once = relation.once
        rows.insert(1, (_("each recipe once"), once.rho, once.lower, once.upper, once.n))
    known = [row for row in rows if row[1] is not None]
    if len(known) < 2:  # the one of all models stands on the slide before
        return None
    points = tuple(
        Point(rho, place, left=lower, right=upper, name=_("{name}, n = {n}").format(name=name, n=n))  # type: ignore[arg-type]
        for place, (name, rho, lower, upper, n) in enumerate(known, start=1)
    )
    margin = relation.margin
    guides = (Guide("0", 0.0), Guide(f"−{margin:g}", -margin), Guide(f"+{margin:g}", margin))
    told = _("; ").join(
        _("{name}: {relation}").format(name=point.name, relation=answers.coefficient(point.x, point.left, point.right))
        for point in points
    )
    return Chart(
        Axis(_("Rank correlation of dimension and performance (Spearman's rho)"), -1, 1, 0.5, 1),
        Axis("", 0.5, len(points) + 0.5, 1, is_ordered=True),
        (Series(_("Spearman's rho"), points, 0, False, "circle", is_named=False),),
        _("Coefficients with 95 % intervals. {told}.").format(told=told),
        guides,
        _("Bars: 95 % intervals. Within ±{margin} an interval counts as not related.").format(margin=f"{margin:g}"),
    )


# --- layer plans -----------------------------------------------------------------------------------------------


def blocks(found: LayerPlan, gone: Collection[int], language: str) -> Blocks:
    _ = translator(language)
    plan = found.plan
    prices = {row.blocks[0]: row.difference for row in found.of("selection", "loss", "single") if len(row.blocks) == 1}
    told = tuple(Block(n, n in gone, prices.get(n)) for n in range(plan.n_layers))
    return Blocks(
        told,
        _("stays"),
        _("goes"),
        _("{n} blocks in a row; {blocks} go.").format(
            n=plan.n_layers, blocks=plans.blocks_text(gone, plan.n_layers, language)
        ),
        _("Blocks are counted from 0, the first after the embedding."),
    )


RIVALS = 3
"""Other choices of as many blocks that are drawn beside ours: the cheapest of them."""


def prices(found: LayerPlan, language: str) -> Chart | None:
    """Rise of the loss over the number of blocks left out: along the search, and other choices of the plan's size."""
    _ = translator(language)
    rivals = [row for row in read_again.rivals(found) if row.difference is not None and not row.is_chosen][:RIVALS]
    points = [
        Point(len(row.blocks), row.difference, row.lower, row.upper)
        for row in read_again.steps(found)
        if row.difference is not None
    ]
    if not points:
        return None
    series = [Series(_("ours"), tuple(points), 0, len(points) > 1, "circle", is_banded=True)]
    for number, row in enumerate(rivals, start=1):
        assert row.difference is not None
        name = plans.rule_name(row.rule, language)
        point = Point(len(row.blocks), row.difference, row.lower, row.upper)
        series.append(Series(name, (point,), number, False, "open"))
    every = [point for one in series for point in one.points]
    most = max(point.x for point in every)
    step = next((step for step in (1, 2, 5, 10) if most / step <= 10), 20)
    up = axis(
        _("Rise of the loss (nats per token)"), [v for p in every for v in (p.y, p.lower, p.upper)], from_zero=True
    )
    guides: tuple[Guide, ...] = ()
    if found.plan.budget_unit == "nats":
        guides = (Guide(_("budget {budget:g}").format(budget=found.plan.budget), found.plan.budget, is_vertical=False),)
        up = replace(up, high=max(up.high, math.ceil(found.plan.budget / up.step) * up.step))
    told = _("; ").join(
        _("{name}: {relation}").format(
            name=one.name, relation=plans.price_text(one.points[-1].y, one.points[-1].lower, one.points[-1].upper)
        )
        for one in series
    )
    return Chart(
        Axis(_("Blocks left out"), 0, most + (most % step and step - most % step), step),
        up,
        tuple(series),
        _("Rise of the loss over the number of blocks left out. {told}.").format(told=told),
        guides,
        _("Bars: 95 % intervals."),
    )
