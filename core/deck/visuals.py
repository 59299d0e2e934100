"""The visuals of a story as typed data: profiles, a scatter, coefficients with their intervals, blocks, prices.

Every axis is linear and shared by all that is compared on it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import polars as pl

from core import wording
from core.analysis import claims as claim_analysis
from core.analysis import plans as plan_analysis
from core.analysis.criteria import Candidate
from core.analysis.decision import Decision
from core.analysis.paired import TextLoss
from core.analysis.relation import MARGIN
from core.figures.chart import Axis, Chart, Gallery, Guide, Point, Series, round_axis, whole_step, y_ends
from core.figures.decisions import criterion_title, scaled
from core.figures.layer_profiles import layer_axis
from core.figures.profile_data import PRIMARY, Curve, Mark, ProfileData, curve_text, profile_points
from core.locale import _
from core.pilots.rule import Assumptions
from core.questions.ranking_answer import Answer
from core.records import LayerPlan
from core.sources import Source, Text, derived, shown, sourced, stated
from core.tables import PlanOutcomeRow
from core.tables.sourced import rows_of
from core.wording import plan_evidence
from core.wording import plans as plan_wording
from core.wording.labels import distinguishing_names, run_labels, shortened_name
from core.wording.verdicts import claim_name, specification_name

RATIO = stated(round(math.exp(claim_analysis.MARGIN), 3), "MARGIN")
"""From here on a ratio counts as a rise or a fall."""
MOST_CURVES = 6
"""Curves that colours can distinguish; more become a gallery of small profiles."""
MOST_IN_GALLERY = 12
"""Small profiles that fit on a slide with text of 14 points."""
MOST_BARS = 9
"""Intervals in one chart of them."""
LONGEST_GALLERY_NAME = 18
LONGEST_NAME = 26


def short_names(runs: pl.DataFrame, longest: int = LONGEST_NAME) -> dict[str, str]:
    """run_id -> a label that distinguishes it from the others, short enough to stand beside a curve."""
    labels = run_labels(runs)
    cut = dict(zip(labels, distinguishing_names(list(labels.values())), strict=True))
    short = {run_id: shortened_name(label, longest) for run_id, label in cut.items()}
    return short if len(set(short.values())) == len(short) else {key: shortened_name(cut[key], 40) for key in cut}


# --- profiles --------------------------------------------------------------------------------------------------


def profile_chart(estimates: pl.DataFrame, runs: pl.DataFrame, longest: int = LONGEST_NAME) -> Chart | None:
    """d2 over the layers, one coloured curve per run, vetoed runs grey and dashed; None where no run has estimates.

    For more than MOST_CURVES runs use `profile_gallery`.
    """
    profile_data = _curves(estimates, runs)
    if not profile_data.curves:
        return None
    names = short_names(runs, longest)
    sound = [curve.run_id for curve in profile_data.curves if not curve.is_vetoed]
    # Coloured curves come last, so that they are drawn over the others.
    series = [
        Series(
            names.get(curve.run_id, curve.name),
            _curve_points(curve, profile_data.same_depth),
            None if curve.is_vetoed else sound.index(curve.run_id),
            is_banded=not curve.is_vetoed,
        )
        for curve in sorted(profile_data.curves, key=lambda curve: (not curve.is_vetoed, -len(curve.marks)))
    ]
    title = _("Estimated dimension (d2, N={size})").format(size=wording.size_range(profile_data.n_points))
    heights = [v for line in series for p in line.points for v in (p.y, p.upper if line.is_banded else None)]
    descriptions = _("; ").join(
        curve_text(curve, names.get(curve.run_id, curve.name)) for curve in profile_data.curves[:4]
    )
    alternative = _("Estimated dimension over the layers. {curves}.").format(curves=descriptions)
    key = _("Pale: 95 % intervals.")
    if len(sound) < len(profile_data.curves):
        key = wording.joined_sentences((key, wording.veto_mark_text()))
    up = round_axis(title, heights, from_zero=True)
    return Chart(layer_axis(profile_data), up, tuple(series), alternative, key=key)


def profile_gallery(estimates: pl.DataFrame, runs: pl.DataFrame) -> Gallery | None:
    """`profile_chart`, each curve in a small chart of its own, ordered by the largest inner dimension.

    Of more than MOST_IN_GALLERY runs, so many evenly along that order. None where no run has estimates.
    """
    ranked = runs.filter(pl.col("inner_max").is_not_null()).sort("inner_max", "run_id", descending=[True, False])
    chosen = ranked.filter(pl.col("run_id").is_in(_pick_evenly(ranked["run_id"].to_list(), MOST_IN_GALLERY)))
    whole = profile_chart(estimates, chosen, LONGEST_GALLERY_NAME)
    if whole is None:
        return None
    across, up = (replace(axis, title="", step=axis.high - axis.low) for axis in (whole.x, whole.y))
    order = list(short_names(chosen, LONGEST_GALLERY_NAME).values())
    charts = []
    for line in sorted(whole.series, key=lambda one: order.index(one.name)):
        top = max(point.y for point in line.points[1:-1] or line.points)
        title = Text("{}  {}").format(line.name, wording.number(top))
        charts.append(Chart(across, replace(up, title=title), (replace(line, colour=0),), title))
    key = _(
        "Across: {across}, {low:g} to {high:g}; upright: {up}. Behind each name: its largest inner dimension."
    ).format(
        across=whole.x.title,
        low=derived(across.low, "layer_estimates", "first layer"),
        high=derived(across.high, "layer_estimates", "last layer"),
        up=whole.y.title,
    )
    return Gallery(tuple(charts), whole.alternative, wording.joined_sentences((key, whole.key)))


def _pick_evenly(ordered: Sequence[str], most: int) -> list[str]:
    """At most so many of them in their order, at even steps from the first to the last."""
    n = len(ordered)
    if n <= most:
        return list(ordered)
    return [ordered[round(place * (n - 1) / (most - 1))] for place in range(most)]


def _curves(estimates: pl.DataFrame, runs: pl.DataFrame) -> ProfileData:
    """The curves with the row of each number."""
    profile_data = profile_points(estimates, runs, *PRIMARY)
    settings = tuple(zip(("estimator", "cloud", "transform"), PRIMARY, strict=False))

    def read(mark: Mark, run_id: str) -> Mark:
        key = (("run_id", run_id), ("layer", mark.layer), *settings)
        columns = ("layer", "value", "lower", "upper")
        return replace(
            mark, **{name: sourced(getattr(mark, name), Source("layer_estimates", name, key)) for name in columns}
        )

    curves = [replace(curve, marks=[read(mark, curve.run_id) for mark in curve.marks]) for curve in profile_data.curves]
    return replace(profile_data, curves=curves)


def _curve_points(curve: Curve, same_depth: bool) -> tuple[Point, ...]:
    return tuple(
        Point(int(mark.layer) if same_depth else round(mark.depth, 4), mark.value, mark.lower, mark.upper)
        for mark in curve.marks
    )


# --- relation --------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Bar:
    """A row of a chart of intervals."""

    name: str
    value: float
    low: float | None
    high: float | None


def _interval_chart(title: str, name: str, bars: Sequence[_Bar], guides: Sequence[Guide], key: str, x: Axis) -> Chart:
    """Values with their intervals, one below the other, each under its name."""
    points = tuple(
        Point(bar.value, place, left=bar.low, right=bar.high, name=bar.name) for place, bar in enumerate(bars, start=1)
    )
    told = _("; ").join(
        _("{name}: {relation}").format(name=one.name, relation=wording.with_interval(one.value, one.low, one.high))
        for one in bars[:8]
    )
    series = Series(name, points, 0, False, "circle", is_named=False)
    return Chart(
        x,
        Axis("", 0.5, len(points) + 0.5, 1, is_ordered=True),
        (series,),
        _("{title}. {told}.").format(title=title, told=told),
        tuple(guides),
        key,
    )


def coefficient_chart(answer: Answer) -> Chart | None:
    """Spearman's rho over all models, and how far it moves: given size, within families and sizes,
    without one model or family, by errors of measurement. None without a coefficient."""
    relation = answer.relation
    if relation.rho is None:
        return None
    partial, strata = relation.partial, relation.strata
    rows = [
        (_("all models"), relation.rho, relation.lower, relation.upper),
        (_("models of equal size"), partial.r, partial.lower, partial.upper),
        (_("within families and sizes"), strata.rho, None, None),
    ]
    for name, effect in (
        (_("without one model"), relation.without_one),
        (_("without one family"), relation.without_family),
    ):
        if effect is not None:
            rows.append((name, relation.rho, effect.lowest, effect.highest))
    if relation.error_lower is not None:
        rows.append((_("errors of measurement"), relation.rho, relation.error_lower, relation.error_upper))
    bars = [_Bar(name, rho, low, high) for name, rho, low, high in rows if rho is not None]
    guides = [
        Guide("0", 0.0),
        Guide(Text("−{:g}").format(MARGIN), -MARGIN),
        Guide(Text("+{:g}").format(MARGIN), MARGIN),
    ]
    title = _("Spearman's rho; right of 0: larger dimension, better score")
    key = _("Bars: 95 % intervals; where one is left out, the range. Not related: within ±{margin}.").format(
        margin=shown(MARGIN, "g")
    )
    return _interval_chart(title, _("Spearman's rho"), bars, guides, key, Axis(title, -1, 1, 0.5, 1))


# --- measurements ----------------------------------------------------------------------------------------------


def rise_chart(claims: pl.DataFrame) -> Chart | None:
    """The ratio of the rise by each core method, with its interval and the ratio from which it counts. `claims` are rows of
    one run; None without them."""
    bars = [
        _Bar(specification_name(row), row["ratio"], row["lower"], row["upper"])
        for row in rows_of(claims.filter(claim="rise", is_core=True), "run_claims")
        if row["ratio"] is not None
    ]
    if not bars:
        return None
    title = _("Largest inner dimension over that at layer 0")
    needed = Guide(_("counts from {ratio}").format(ratio=shown(RATIO, "g")), RATIO)
    x = round_axis(title, [end for bar in bars for end in (bar.value, bar.low, bar.high, 1.0, RATIO)])
    return _interval_chart(title, claim_name("rise"), bars, [needed], _("Bars: 95 % intervals."), x)


def dimension_chart(runs: pl.DataFrame) -> Chart:
    """Largest inner dimensions with their intervals, largest first: of many models the first, some between and the last."""
    ordered = runs.sort("inner_max", "run_id", descending=[True, False])
    chosen = _pick_evenly(ordered["run_id"].to_list(), MOST_BARS)
    names = short_names(runs)
    bars = [
        _Bar(names[row["run_id"]], row["inner_max"], row["inner_max_lower"], row["inner_max_upper"])
        for row in rows_of(ordered.filter(pl.col("run_id").is_in(chosen)))
    ]
    title = _("Largest inner dimension, estimated (d2)")
    x = round_axis(title, [end for bar in bars for end in (bar.value, bar.low, bar.high)], from_zero=True)
    return _interval_chart(title, title, bars, (), _("Bars: 95 % intervals."), x)


def loss_chart(losses: Sequence[tuple[str, TextLoss]]) -> Chart:
    """Bits per byte of models with their intervals, the best on top."""
    bars = [_Bar(name, loss.value, loss.lower, loss.upper) for name, loss in losses]
    title = _("Bits per byte (lower is better, to the right)")
    x = replace(round_axis(title, [end for bar in bars for end in (bar.value, bar.low, bar.high)]), is_reversed=True)
    return _interval_chart(title, title, bars, (), _("Bars: 95 % intervals."), x)


def mean_chart(decision: Decision) -> Chart | None:
    """Weighted means of the models that can be chosen, the best on top; None without any."""
    names = distinguishing_names([one.name for one in decision.candidates])
    bars = [
        _Bar(shortened_name(name, LONGEST_NAME), total, None, None)
        for name, total in list(zip(names, decision.totals, strict=True))[:MOST_BARS]
    ]
    title = _("Weighted mean (1: best in all criteria)")
    return _interval_chart(title, title, bars, (), "", Axis(title, 0, 1, 0.25, 2)) if bars else None


def criterion_chart(decision: Decision, k: int, assumed: Assumptions) -> tuple[Chart, Candidate] | None:
    """The values of one criterion with their intervals, the best on top, and whose the best is; None without values."""
    question = decision.criteria[k]
    names = distinguishing_names([one.name for one in decision.candidates])
    found = [
        (name, one, value) for name, one in zip(names, decision.candidates, strict=True) if (value := one.values[k])
    ]
    found.sort(key=lambda row: row[2].value, reverse=question.higher_is_better)
    bars = []
    for name, _one, value in found[:MOST_BARS]:
        lower, middle, upper = scaled(question, value)
        is_exact = lower == upper
        bars.append(_Bar(shortened_name(name, LONGEST_NAME), middle, *((None, None) if is_exact else (lower, upper))))
    if not bars:
        return None
    title = criterion_title(question, assumed)
    x = round_axis(title, [end for bar in bars for end in (bar.value, bar.low, bar.high)])
    x = replace(x, is_reversed=not question.higher_is_better)
    return _interval_chart(title, title, bars, (), _("Bars: 95 % intervals."), x), found[0][1]


# --- layer plans -----------------------------------------------------------------------------------------------


MOST_OTHER_CHOICES = 3
"""Other choices of the same number of blocks that are drawn beside the plan's."""


def _price_point(row: PlanOutcomeRow) -> Point:
    assert row.difference is not None
    return Point(len(row.blocks), row.difference, row.lower, row.upper)


def price_chart(layer_plan: LayerPlan) -> Chart | None:
    """Loss increase over the number of removed blocks: along the search, and for other choices of the plan's size."""
    unhealed = plan_analysis.unhealed_price(layer_plan)
    steps = plan_analysis.search_steps(layer_plan, repaired=False)
    points = [_price_point(row) for row in steps if row.difference is not None]
    if not points:
        return None
    name = _("ours") if unhealed is None else _("ours, before repair")
    series = [Series(name, tuple(points), 0, len(points) > 1, "circle", is_banded=True)]
    for number, row in enumerate(plan_analysis.other_choices(layer_plan)[:MOST_OTHER_CHOICES], start=1):
        series.append(Series(plan_evidence.rule_name(row.rule), (_price_point(row),), number, False, "open"))
    if unhealed is not None:
        healed = _price_point(layer_plan.price)
        series.append(Series(_("ours, repaired"), (healed,), len(series), False, "diamond"))
    most = max(point.x for line in series for point in line.points)
    step = whole_step(most)
    up = round_axis(_("Rise of the loss (nats per token); less is better, above"), y_ends(series), from_zero=True)
    up = replace(up, is_reversed=True)
    guides: tuple[Guide, ...] = ()
    if layer_plan.plan.budget_unit == "nats":
        guides = (
            Guide(
                _("budget {budget:g}").format(budget=layer_plan.plan.budget), layer_plan.plan.budget, is_vertical=False
            ),
        )
        up = replace(up, high=max(up.high, math.ceil(layer_plan.plan.budget / up.step) * up.step))
    descriptions = _("; ").join(
        _("{name}: {relation}").format(
            name=line.name,
            relation=plan_wording.price_text(line.points[-1].y, line.points[-1].lower, line.points[-1].upper),
        )
        for line in series
    )
    return Chart(
        Axis(_("Blocks left out"), 0, most + (most % step and step - most % step), step),
        up,
        tuple(series),
        _("Rise of the loss over blocks left out. {told}.").format(told=descriptions),
        guides,
        _("Bars: 95 % intervals."),
    )
