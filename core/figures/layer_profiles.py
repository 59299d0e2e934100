"""Quantities over the layers as charts: profiles with their controls, differences, GRIDE over the neighbour ranks, thumbnails."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace

import polars as pl

from core import wording
from core.analysis.differences import LayerDifference
from core.figures.chart import (
    MARKS,
    Axis,
    Chart,
    Gallery,
    Guide,
    Point,
    Series,
    Span,
    log_axis,
    marked_series,
    round_axis,
    row_chart,
    whole_step,
    y_ends,
)
from core.figures.chart import Mark as Shape
from core.figures.profile_data import (
    PRIMARY,
    SURROGATE,
    Curve,
    Mark,
    ProfileData,
    Reference,
    cloud_sizes,
    curve_text,
    height,
    main_extrema,
    profile_points,
    range_of_seeds,
    reference_name,
    unbroken,
    value_axis,
)
from core.figures.svg import LIGHT, Caption, Drawing, Plot, Theme, chart_svg, draw_series
from core.locale import _
from core.records import Estimate
from core.registry.protocols import CONTROLS
from core.sources import Source, Text, derived, sourced
from core.tables import Run, RunExtremumRow, ids_of, records
from core.tables.sourced import rows_of
from core.wording.labels import distinct_short_names, distinguishing_names, names_text, run_labels, shortened_name
from core.wording.verdicts import badge_text

REFERENCE_DASHES = {key: control.dash for key, control in CONTROLS.items()} | {SURROGATE: "dashdot"}
THUMBNAIL = (252, 132)
MOST_IN_ONE_CHART = 3
"""Curves that are readable in one picture with names and extrema; more become small charts."""
MOST_TOLD = 4
"""Curves in the text for screen readers."""
_END, _AROUND = 13, 180
"""Pixels that the name of a line takes at its end, and that title, key and axis take of a picture's height."""


def layer_chart(
    data: ProfileData,
    extrema: Sequence[RunExtremumRow] = (),
    phases: Sequence[Span] = (),
    selected: int | None = None,
    is_brief: bool = False,
) -> Chart:
    """The curves with their 95 percent bands, working bands, final states before and after the norm, and controls.

    `extrema` are marked, the highest peak and the lowest valley of the first curves with layer and value; the layer `selected`
    is ringed. The axis of values begins at zero unless it is logarithmic. `is_brief`, for a slide: the curves with their bands
    alone, those that a check vetoes grey.
    """
    if not data.curves:
        nothing = _("No such estimates in the chosen runs.")
        return Chart(layer_axis(data), Axis(value_axis(data), 0, 1, 1), (), nothing)
    legend: dict[str, Series] = {}
    series = _reference_series(data)
    for n, (curve, colour) in enumerate(zip(data.curves, data.colours.values(), strict=True)):
        if is_brief:
            series += curve_series(curve, None if curve.is_vetoed else colour, data)
            continue
        series += curve_series(curve, colour, data) if not data.is_equivalent else _range_series(curve, colour, data)
        turns = [turn for turn in extrema if turn.run_id == curve.run_id]
        ringed = [mark for mark in curve.marks if mark.layer == selected]
        final, after_norm = ([mark] if mark else [] for mark in (curve.final, curve.post_norm))
        kinds: tuple[tuple[str, Shape, Sequence[Mark]], ...] = (
            (_("working band"), "circle", curve.in_band),
            (_("final state, before the norm"), "diamond", final),
            (_("final state, after the norm"), "hollow", after_norm),
            ("", "open", ringed),
        )
        for name, shape, marks in kinds if not data.is_equivalent else ():
            if shape in ("circle", "open"):
                marks = [replace(mark, lower=None, upper=None) for mark in marks]
            if marks:
                series.append(marked_series(name, _points(marks, curve.name, data), colour, shape, curve.name))
            if marks and name:
                legend[name] = marked_series(name, (), None, shape)
        series += _turn_series(curve, colour, turns, data, is_told=n < MOST_IN_ONE_CHART)
    key = _("; ").join(f"{MARKS[line.mark]} {name}" for name, line in legend.items())
    if is_brief:
        is_vetoed = any(curve.is_vetoed for curve in data.curves)
        key = wording.joined_sentences([_("Pale: 95 % intervals."), *([wording.veto_mark_text()] if is_vetoed else [])])
    told = _("; ").join(curve_text(curve, curve.name) for curve in data.curves[:MOST_TOLD])
    return Chart(
        layer_axis(data),
        _value_range(data),
        (*series, *legend.values()),
        _("{title}. {told}.", title=value_axis(data), told=told),
        key=key,
        spans=tuple(phases),
    )


def layer_axis(data: ProfileData) -> Axis:
    title = wording.layer_axis(data.same_depth)
    if not data.same_depth:
        return Axis(title, 0, 1, 0.25, 2)
    last = max((curve.marks[-1].layer for curve in data.curves), default=1)
    return Axis(title, 0, max(last, 1), whole_step(last))


def _value_range(data: ProfileData) -> Axis:
    """The values of controls are within it too, unless they would flatten the curves."""
    marks = [mark for curve in data.curves for mark in [*curve.marks, *([curve.post_norm] if curve.post_norm else [])]]
    values = [value for mark in marks for value in (mark.value, mark.lower if data.is_log else mark.value, mark.upper)]
    if not data.cuts_controls:
        values += [mark.value for reference in data.references for mark in reference.marks]
    title = value_axis(data)
    return log_axis(title, values) if data.is_log else round_axis(title, values, from_zero=True)


def _points(marks: Sequence[Mark], name: str, data: ProfileData, is_range: bool = False) -> tuple[Point, ...]:
    """`is_range`: only the limits are told, no value between them."""
    points = []
    for mark in marks:
        told = wording.with_interval(mark.value, mark.lower, mark.upper)
        if is_range:
            told = f"{wording.number(mark.lower)} – {wording.number(mark.upper)}"
        note = f"{name}\n" + _("Layer {layer}: {value}", layer=mark.layer, value=told)
        points.append(Point(mark.x(data.same_depth), mark.value, mark.lower, mark.upper, note=note, layer=mark.layer))
    return tuple(points)


def curve_series(curve: Curve, colour: int | None, data: ProfileData) -> list[Series]:
    """A line for each piece of a curve without a missing layer; with its band, unless it is grey."""
    pieces, is_banded = unbroken(curve.marks), colour is not None
    return [
        Series(curve.name, _points(piece, curve.name, data), colour, is_banded=is_banded, is_named=piece is pieces[-1])
        for piece in pieces
    ]


def _range_series(curve: Curve, colour: int, data: ProfileData) -> list[Series]:
    """Both ends of ranges and the area between, no middle."""
    series = []
    for piece in unbroken(curve.marks):
        points = _points(piece, curve.name, data, is_range=True)
        for end in ("lower", "upper"):
            ends = tuple(replace(point, y=getattr(point, end)) for point in points)
            is_last = end == "upper" and piece[-1] is curve.marks[-1]
            series.append(Series(curve.name, ends, colour, is_banded=end == "upper", is_named=is_last))
    return series


def _reference_series(data: ProfileData) -> list[Series]:
    """A thin line for each control, named at its end; several seeds of one kind as their mean in a band from smallest to
    largest value."""
    series = []
    names = {curve.run_id: curve.name for curve in data.curves}
    by_kind: dict[tuple[str, str], list[Reference]] = {}
    for reference in data.references:
        by_kind.setdefault((reference.of_run_id, reference.kind), []).append(reference)
    for (run_id, kind), seeds in by_kind.items():
        is_range, dash = len(seeds) > 1, REFERENCE_DASHES[kind]
        name = f"{seeds[0].name} · {reference_name(kind, None if is_range else seeds[0].model_seed)}"
        marks = range_of_seeds(seeds) if is_range else seeds[0].marks
        pieces = unbroken(marks)
        for piece in pieces:
            points = tuple(replace(point, layer=None) for point in _points(piece, name, data, is_range))
            colour, is_last = data.colours[run_id] if len(data.curves) > 1 else None, piece is pieces[-1]
            line = Series(name, points, colour, True, "none", is_range, is_last, dash, names[run_id])
            series.append(replace(line, end=reference_name(kind)))
    return series


def _turn_series(
    curve: Curve, colour: int, turns: Sequence[RunExtremumRow], data: ProfileData, is_told: bool
) -> list[Series]:
    """The peaks and valleys of a curve; `is_told`: the highest and the lowest with layer and value."""
    at = {mark.layer: mark.x(data.same_depth) for mark in curve.marks}
    main = main_extrema(turns, curve.run_id) if is_told else []
    series = []
    kinds: dict[str, Shape] = {"peak": "triangle", "valley": "down"}
    for kind, shape in kinds.items():
        points = []
        for turn in turns:
            if turn.kind == kind and turn.layer in at:
                told = _("layer {layer}: {value}", layer=turn.layer, value=wording.number(turn.value))
                name = told if turn in main else ""
                note, is_alone = f"{curve.name}\n{told}", len(data.curves) == 1
                points.append(Point(at[turn.layer], height(turn), name=name, note=note, is_first=is_alone))
        if points:
            series.append(marked_series("", points, colour, shape, curve.name))
    return series


# --- pictures that explain themselves --------------------------------------------------------------------------


def profile_caption(runs: pl.DataFrame, data: ProfileData, with_verdict: bool = False) -> Caption:
    """Models, texts, protocol and run ids, for readers who have only the file; `with_verdict` of a single one, which a screen
    tells above the picture."""
    texts = runs.filter(pl.col("run_id").is_in([curve.run_id for curve in data.curves]))
    rows = records(texts, Run)
    if len(rows) == 1 and with_verdict:
        title = _("{name}: {title}", name=rows[0].name, title=badge_text(rows[0]))
    else:
        names = list(dict.fromkeys(row.name for row in rows))
        told = names_text(names, MOST_IN_ONE_CHART)
        title = (
            _("Correlator from layer to layer: {names}", names=told)
            if data.is_correlator
            else _("Dimension from layer to layer: {names}", names=told)
        )
    details = [
        _(", ").join(dict.fromkeys(row.corpus_name for row in rows)),
        _("Protocol: {name}.", name=dict.fromkeys(row.protocol for row in rows)),
        _("Shaded: 95 % intervals."),
    ]
    version, runs_named = rows[0].code_version if rows else "", names_text([row.run_id for row in rows], 3)
    source = _("Workdim {version}, runs {runs}", version=version, runs=runs_named)
    return Caption(title, " · ".join(part.rstrip(".。") for part in details), source)


def profile_svg(
    data: ProfileData,
    caption: Caption,
    extrema: Sequence[RunExtremumRow] = (),
    theme: Theme = LIGHT,
    size: tuple[float, float] = (960, 520),
    phases: Sequence[Span] = (),
    selected: int | None = None,
) -> str:
    """The SVG of `layer_chart`; more than `MOST_IN_ONE_CHART` curves, or several with more lines to compare with than find room
    for their names, become small charts on one scale, where these lines are numbered at their ends."""
    chart = layer_chart(data, extrema, phases, selected)
    n_ends = sum(line.is_named and bool(line.name) for line in chart.series if line.is_line)
    if len(data.curves) == 1 or (len(data.curves) <= MOST_IN_ONE_CHART and n_ends * _END <= size[1] - _AROUND):
        return chart_svg(chart, caption, theme, size)
    compared = {end: str(n) for n, end in enumerate(dict.fromkeys(line.end for line in chart.series if line.end), 1)}
    panels = []
    for curve in data.curves:
        alone = replace(data, curves=[curve], references=[r for r in data.references if r.of_run_id == curve.run_id])
        panel = layer_chart(alone, extrema, (), selected)
        series = tuple(replace(line, end=compared.get(line.end, "")) for line in panel.series)
        panels.append(replace(panel, x=chart.x, y=replace(chart.y, title=curve.name), series=series))
    told = [*chart.y.title.split("\n"), chart.x.title, chart.key, *(f"{n} {end}" for end, n in compared.items())]
    key = _(" · ").join(filter(None, told))
    return chart_svg(Gallery(tuple(panels), chart.alternative, key), caption, theme, size)


def thumbnail(curve: Curve, extrema: Sequence[RunExtremumRow] = (), theme: Theme = LIGHT) -> str:
    """A small profile without axes: band, peak and valley with their values, first and last layer."""
    drawing, (width, height) = Drawing(*THUMBNAIL, theme), THUMBNAIL
    if not curve.marks:
        return drawing.svg(curve.name)
    data = ProfileData("", "", None, [curve], (0, 0), True)
    last = curve.marks[-1].layer
    turns = main_extrema(extrema, curve.run_id)
    # A peak or valley says more than an end, and so finds its place before it.
    ends = [mark for mark in (curve.marks[0], curve.marks[-1]) if mark.layer not in {turn.layer for turn in turns}]
    points = [Point(mark.layer, mark.value, name=wording.number(mark.value), is_first=True) for mark in ends]
    marked = [
        replace(line, points=tuple(replace(point, name=wording.number(point.y)) for point in line.points), colour=1)
        for line in _turn_series(curve, 0, turns, data, is_told=True)
    ]
    colour = curve.colour or 0
    lines = [replace(line, is_named=False) for line in curve_series(curve, colour, data)]
    highest = max(value for mark in curve.marks for value in (mark.value, mark.upper or 0.0))
    chart = Chart(
        Axis("", 0, max(last, 1), 1),
        Axis("", 0, 1.05 * highest, 1),
        (*lines, *marked, Series("", tuple(points), colour, False)),
        curve.name,
    )
    plot = Plot(drawing, 12, 24, width - 12, height - 20, chart.x, chart.y)
    drawing.line([(plot.left, plot.bottom), (plot.right, plot.bottom)], theme.grid, 1)
    draw_series(plot, chart, 2.2, 4, 12)
    drawing.text((plot.left, height - 6), "0", 10, theme.quiet)
    drawing.text((plot.right, height - 6), f"{last}", 10, theme.quiet, "end")
    return drawing.svg(curve.name)


def partial_thumbnail(name: str, estimates: Mapping[int, Estimate], theme: Theme = LIGHT) -> str:
    """The thumbnail of a profile of which some layers (layer -> estimate) are measured; a missing one is a gap."""
    marks = [
        Mark(
            layer, 0.0, estimate.value, *(None if math.isnan(end) else end for end in (estimate.lower, estimate.upper))
        )
        for layer, estimate in estimates.items()
        if not math.isnan(estimate.value)
    ]
    return thumbnail(Curve(name, name, marks, None, None), (), theme)


# --- of a slide ------------------------------------------------------------------------------------------------

MOST_CURVES = 6
"""Curves that colours can distinguish; more become a gallery of small profiles."""
MOST_IN_GALLERY = 12
"""Small profiles that fit on a slide with text of 14 points."""
MOST_ROWS = 9
"""Models in one chart of their dimensions."""
LONGEST_GALLERY_NAME = 18
LONGEST_NAME = 26


def short_names(runs: pl.DataFrame, longest: int = LONGEST_NAME) -> dict[str, str]:
    """run_id -> a label that distinguishes it from the others, short enough to stand beside a curve."""
    labels = run_labels(runs)
    names = distinguishing_names(list(labels.values()))
    return dict(zip(labels, distinct_short_names(names, lambda name: shortened_name(name, longest)), strict=True))


def profile_chart(estimates: pl.DataFrame, runs: pl.DataFrame) -> Chart | None:
    """d2 over the layers, one coloured curve per run; None where no run has estimates.

    For more than MOST_CURVES runs, and for those whose dimensions do not compare, use `profile_gallery`.
    """
    data = _curves(estimates, runs, LONGEST_NAME)
    return layer_chart(data, is_brief=True) if data.curves else None


def profile_gallery(estimates: pl.DataFrame, runs: pl.DataFrame, is_one_scale: bool = True) -> Gallery | None:
    """`profile_chart`, each curve in a small chart of its own, ordered by the largest inner dimension; upright on one scale,
    or each on its own.

    Of more than MOST_IN_GALLERY runs, so many evenly along that order. None where no run has estimates.
    """
    ranked = runs.filter(pl.col("inner_max").is_not_null()).sort("inner_max", "run_id", descending=[True, False])
    chosen = ranked.filter(pl.col("run_id").is_in(_pick_evenly(ids_of(ranked), MOST_IN_GALLERY)))
    data = _curves(estimates, chosen, LONGEST_GALLERY_NAME)
    if not data.curves:
        return None
    whole = layer_chart(data, is_brief=True)
    across = whole.x
    charts = []
    for curve in data.curves:
        alone = layer_chart(replace(data, curves=[curve]), is_brief=True)
        up, inner = whole.y if is_one_scale else alone.y, curve.marks[1:-1] or curve.marks
        title = Text("{}  {}").format(curve.name, wording.number(max(mark.value for mark in inner)))
        x, y = (replace(axis, title=told, step=axis.high - axis.low) for axis, told in ((across, ""), (up, title)))
        charts.append(replace(alone, x=x, y=y, alternative=title, key=""))
    key = _(
        "Across: {across}, {low:g} to {high:g}; upright: {up}. Behind each name: its largest inner dimension.",
        across=across.title,
        low=derived(across.low, "layer_estimates", "first layer"),
        high=derived(across.high, "layer_estimates", "last layer"),
        up=whole.y.title,
    )
    own_scale = "" if is_one_scale else _("Each is on a scale of its own.")
    return Gallery(tuple(charts), whole.alternative, wording.joined_sentences((key, own_scale, whole.key)))


def _pick_evenly(ordered: Sequence[str], most: int) -> list[str]:
    """At most so many of them in their order, at even steps from the first to the last."""
    n = len(ordered)
    if n <= most:
        return list(ordered)
    return [ordered[round(place * (n - 1) / (most - 1))] for place in range(most)]


def _curves(estimates: pl.DataFrame, runs: pl.DataFrame, longest: int) -> ProfileData:
    """The curves with short names and the row of each number, without the state after the norm, which is not drawn: the axis
    would reach for it."""
    data, names = profile_points(estimates, runs, *PRIMARY), short_names(runs, longest)
    settings = tuple(zip(("estimator", "cloud"), PRIMARY, strict=True))

    def read(mark: Mark, run_id: str) -> Mark:
        key = (("run_id", run_id), ("layer", mark.layer), *settings)
        columns = ("value", "lower", "upper")
        return replace(
            mark, **{name: sourced(getattr(mark, name), Source("layer_estimates", name, key)) for name in columns}
        )

    curves = [
        replace(one, name=names[one.run_id], marks=[read(mark, one.run_id) for mark in one.marks], post_norm=None)
        for one in data.curves
    ]
    return replace(data, curves=curves)


def dimension_chart(runs: pl.DataFrame) -> Chart:
    """Largest inner dimensions with their intervals, largest first: of many models the first, some between and the last."""
    ordered = runs.sort("inner_max", "run_id", descending=[True, False])
    chosen = _pick_evenly(ids_of(ordered), MOST_ROWS)
    names, title = short_names(runs), _("Largest inner dimension, estimated (d2)")
    points = (
        Point(row.inner_max, 0, None, None, row.inner_max_lower, row.inner_max_upper, names[row.run_id])
        for row in rows_of(ordered.filter(pl.col("run_id").is_in(chosen)), Run)
        if row.inner_max is not None
    )
    return row_chart(title, points, from_zero=True)


# --- differences and neighbour ranks ---------------------------------------------------------------------------


def difference_chart(
    differences: Mapping[str, Sequence[LayerDifference]], colours: Mapping[str, int] | None = None
) -> Chart:
    """The difference of each run (name -> its layers) from the base run in percent, with 95 percent bands: a band without zero
    is a difference; a missing layer is a gap. `colours`: those of the names in the chart of the curves."""
    series = []
    for n, (name, rows) in enumerate(differences.items(), start=1):
        pieces = unbroken(rows)
        for piece in pieces:
            shares = (Point(row.layer, row.share, row.lower, row.upper) for row in piece)
            points = (point.moved(lambda share: 100 * share) for point in shares)
            colour = (colours or {}).get(name, n)
            series.append(Series(name, tuple(points), colour, is_banded=True, is_named=piece is pieces[-1]))
    y = round_axis(_("difference in %"), [0.0, *y_ends(series)])
    last = max((point.x for line in series for point in line.points), default=1)
    x = Axis(wording.layer_axis(True), 0, max(last, 1), whole_step(last))
    return Chart(x, replace(y, low=max(y.low, -100.0)), tuple(series), "", (Guide("", 0.0, False),))


def scan_chart(estimates: pl.DataFrame, runs: pl.DataFrame, layer: int | None) -> Chart | None:
    """GRIDE against the neighbour rank, which shows how the dimension depends on scale, with 95 percent bands.

    One layer of each run: `layer`, or that of its largest inner dimension. Runs with a single rank are left out; None without
    any other.
    """
    rows = estimates.filter(estimator="gride", cloud=PRIMARY[1], transform="centred", state="residual")
    labels = run_labels(runs)
    series: list[Series] = []
    drawn = []
    for run in records(runs, Run):
        run_layer = run.inner_max_layer if layer is None else layer
        scan = rows.filter(pl.col("layer") == pl.lit(run_layer), run_id=run.run_id).sort("n1")  # without d2 no layer
        if scan.height > 1:
            name = _("{name}, layer {layer}", name=labels[run.run_id], layer=run_layer)
            points = tuple(Point(*row) for row in scan.select("n1", "value", "lower", "upper").rows())
            series.append(Series(name, points, len(series), mark="circle", is_banded=True))
            drawn.append(scan)
    if not series:
        return None
    ranks = sorted({point.x for line in series for point in line.points})
    x = log_axis(_("Neighbour rank n1 (from near to far)"), ranks)
    title = wording.dimension_axis("gride", PRIMARY[1], cloud_sizes(pl.concat(drawn)))
    y = round_axis(title, y_ends(series), from_zero=True)
    return Chart(replace(x, labels=tuple((rank, f"{rank:g}") for rank in ranks)), y, tuple(series), "")
