"""The visuals of a story as typed data: profiles, a scatter, coefficients with their intervals, blocks, prices.

Every axis is linear and shared by all that is compared on it.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from dataclasses import replace

import polars as pl

from core import wording
from core.analysis import plans as plan_analysis
from core.analysis.relation import MARGIN
from core.figures.chart import Axis, Chart, Gallery, Guide, Point, Series, round_axis, whole_step, y_ends
from core.figures.layer_profiles import layer_axis
from core.figures.profile_data import PRIMARY, Curve, Mark, ProfileData, curve_text, profile_points
from core.locale import _
from core.questions.ranking_answer import Answer
from core.records import LayerPlan
from core.sources import Source, Text, counted, derived, shown, sourced
from core.tables import PlanOutcomeRow
from core.wording import answers as answer_wording
from core.wording import plan_evidence
from core.wording import plans as plan_wording
from core.wording.labels import distinguishing_names, run_labels, shortened_name

MOST_CURVES = 6
"""Curves that colours can distinguish; more become a gallery of small profiles."""
MOST_IN_GALLERY = 12
"""Small profiles that fit on a slide with text of 14 points."""
LONGEST_GALLERY_NAME = 18
LONGEST_NAME = 26


def short_names(runs: pl.DataFrame, longest: int = LONGEST_NAME) -> dict[str, str]:
    """run_id -> a label that distinguishes it from the others, short enough to stand beside a curve."""
    labels = run_labels(runs)
    cut = dict(zip(labels, distinguishing_names(list(labels.values())), strict=True))
    short = {run_id: shortened_name(label, longest) for run_id, label in cut.items()}
    return short if len(set(short.values())) == len(short) else {key: shortened_name(cut[key], 40) for key in cut}


# --- profiles --------------------------------------------------------------------------------------------------


def profile_chart(estimates: pl.DataFrame, runs: pl.DataFrame) -> Chart | None:
    """d2 over the layers, one coloured curve per run, vetoed runs grey and dashed; None where no run has estimates.

    For more than MOST_CURVES runs use `profile_gallery`.
    """
    profile_data = _curves(estimates, runs)
    if not profile_data.curves:
        return None
    names = short_names(runs)
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
    up = _dimension_axis(_dimension_title(profile_data), series)
    descriptions = _("; ").join(
        curve_text(curve, names.get(curve.run_id, curve.name)) for curve in profile_data.curves[:4]
    )
    alternative = _("Estimated dimension over the layers. {curves}.").format(curves=descriptions)
    key = _("In paler colour: 95 % intervals.")
    if len(sound) < len(profile_data.curves):
        key = wording.joined_sentences((key, wording.veto_mark_text()))
    return Chart(layer_axis(profile_data), up, tuple(series), alternative, key=key)


def profile_gallery(estimates: pl.DataFrame, runs: pl.DataFrame, required: Collection[str] = ()) -> Gallery | None:
    """A small profile of each run on one scale, ordered by the largest inner dimension.

    Of more than MOST_IN_GALLERY runs, those of `required` (run ids) and others evenly along that order. None where no run
    has estimates.
    """
    ranked = runs.filter(pl.col("inner_max").is_not_null()).sort("inner_max", "run_id", descending=[True, False])
    profile_data = _curves(estimates, ranked)
    curves = {curve.run_id: curve for curve in profile_data.curves}
    ordered = [run_id for run_id in ranked["run_id"] if run_id in curves]
    if not ordered:
        return None
    selected = _pick_evenly(ordered, required)
    names = short_names(ranked, LONGEST_GALLERY_NAME)
    series = {
        run_id: Series(names[run_id], _curve_points(curves[run_id], profile_data.same_depth), 0, is_banded=True)
        for run_id in selected
    }
    across = replace(layer_axis(profile_data), title="")
    up = _dimension_axis("", list(series.values()))
    across, up = (replace(axis, step=axis.high - axis.low) for axis in (across, up))
    charts = []
    for run_id, curve_series in series.items():
        top = wording.number(max(mark.value for mark in curves[run_id].marks[1:-1] or curves[run_id].marks))
        titled = replace(up, title=Text("{}  {}").format(curve_series.name, top))
        charts.append(Chart(across, titled, (curve_series,), curve_text(curves[run_id], curve_series.name)))
    alternative = _("{n} small profiles on one scale. {curves}.").format(
        n=counted(len(charts), "runs"), curves=_("; ").join(chart.alternative for chart in (charts[0], charts[-1]))
    )
    key = (
        _(
            "Across: {across}, {low:g} to {high:g}; upright: {up}. Behind each name its largest inner dimension, which orders them; no order is better."
        ).format(
            across=layer_axis(profile_data).title,
            low=derived(across.low, "layer_estimates", "first layer"),
            high=derived(across.high, "layer_estimates", "last layer"),
            up=_dimension_title(profile_data),
        ),
        _("Bands: 95 % intervals."),
    )
    return Gallery(tuple(charts), alternative, wording.joined_sentences(key))


def _pick_evenly(ordered: Sequence[str], required: Collection[str]) -> list[str]:
    """At most MOST_IN_GALLERY of them in their order: the ends, those of `required`, and others at even steps."""
    n = len(ordered)
    if n <= MOST_IN_GALLERY:
        return list(ordered)
    required_places = [position for position, run_id in enumerate(ordered) if run_id in required]
    evenly = [round(place * (n - 1) / (MOST_IN_GALLERY - 1)) for place in range(MOST_IN_GALLERY)]
    places = list(dict.fromkeys([0, n - 1, *required_places, *evenly]))[:MOST_IN_GALLERY]
    return [ordered[position] for position in sorted(places)]


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


def _dimension_title(profile_data: ProfileData) -> str:
    return _("Estimated dimension (d2, N={size})").format(size=wording.size_range(profile_data.n_points))


def _dimension_axis(title: str, series: Sequence[Series]) -> Axis:
    heights = [v for line in series for p in line.points for v in (p.y, p.upper if line.is_banded else None)]
    return round_axis(title, heights, from_zero=True)


# --- relation --------------------------------------------------------------------------------------------------


def coefficient_chart(answer: Answer) -> Chart | None:
    """Spearman's rho over all models, given size, and within families and sizes, with intervals.

    None where only one of them could be computed.
    """
    relation = answer.relation
    rows = [
        (_("all models"), relation.rho, relation.lower, relation.upper, relation.n),
        (_("given size"), relation.partial.r, relation.partial.lower, relation.partial.upper, relation.partial.n),
        (_("within families and sizes"), relation.strata.rho, None, None, relation.strata.n),
    ]
    available = [row for row in rows if row[1] is not None]
    if len(available) < 2:  # rho over all models is shown on the previous slide
        return None
    points = tuple(
        Point(rho, place, left=lower, right=upper, name=_("{name}, n = {n}").format(name=name, n=n))  # type: ignore[arg-type]
        for place, (name, rho, lower, upper, n) in enumerate(available, start=1)
    )
    guides = (
        Guide("0", 0.0),
        Guide(Text("−{:g}").format(MARGIN), -MARGIN),
        Guide(Text("+{:g}").format(MARGIN), MARGIN),
    )
    descriptions = _("; ").join(
        _("{name}: {relation}").format(
            name=point.name, relation=answer_wording.coefficient_text(point.x, point.left, point.right)
        )
        for point in points
    )
    return Chart(
        Axis(_("Rank correlation of dimension and performance (Spearman's rho)"), -1, 1, 0.5, 1),
        Axis("", 0.5, len(points) + 0.5, 1, is_ordered=True),
        (Series(_("Spearman's rho"), points, 0, False, "circle", is_named=False),),
        _("Coefficients with 95 % intervals. {told}.").format(told=descriptions),
        guides,
        _("Bars: 95 % intervals. Within ±{margin} an interval counts as not related.").format(
            margin=shown(MARGIN, "g")
        ),
    )


# --- layer plans -----------------------------------------------------------------------------------------------


MOST_OTHER_CHOICES = 3
"""Other choices of the same number of blocks that are drawn beside the plan's."""


def _price_point(row: PlanOutcomeRow) -> Point:
    assert row.difference is not None
    return Point(len(row.blocks), row.difference, row.lower, row.upper)


def price_chart(layer_plan: LayerPlan) -> Chart | None:
    """Loss increase over the number of removed blocks: along the search, and for other choices of the plan's size."""
    unhealed = plan_analysis.unhealed_price(layer_plan)
    steps = [
        unhealed if unhealed is not None and row.is_healed else row for row in plan_analysis.search_steps(layer_plan)
    ]
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
    up = round_axis(_("Rise of the loss (nats per token)"), y_ends(series), from_zero=True)
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
        _("Rise of the loss over the number of blocks left out. {told}.").format(told=descriptions),
        guides,
        _("Bars: 95 % intervals."),
    )
