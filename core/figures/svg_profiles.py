"""Layer profiles as static SVG files that explain themselves: title, text, protocol and source are part of the drawing."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import polars as pl

from core import wording
from core.analysis.differences import LayerDifference
from core.figures.chart import Axis, Chart, Guide, Point, Series, round_axis, whole_step
from core.figures.labels import Box, Label, LabelRoom, Position, around, spread_apart
from core.figures.profile_data import (
    CorrelatorData,
    Curve,
    Extremum,
    Mark,
    Phase,
    ProfileData,
    describe_curves,
    main_extrema,
    range_of_seeds,
    reference_name,
    unbroken,
    value_axis,
)
from core.figures.svg import (
    HEIGHT,
    LARGE,
    LIGHT,
    SMALL,
    WIDTH,
    Axes,
    Caption,
    Drawing,
    Theme,
    draw_source,
    draw_title,
    ticks,
)
from core.figures.text import shorten_to_width, text_width
from core.locale import _
from core.records import Estimate
from core.wording.labels import distinct_short_names
from core.wording.verdicts import badge_text

THUMBNAIL = (252, 132)
MOST_IN_ONE_CHART = 3
"""Curves that are readable in one chart with names and extrema; more become small charts."""
_REFERENCE_DASHES = ("5 4", "2 3", "8 3 2 3", "1 3", "10 4")


@dataclass(frozen=True)
class LayerSelection:
    """Makes the layers of a chart clickable; `selected` is highlighted."""

    selected: int | None = None


def profile_caption(runs: pl.DataFrame, data: ProfileData | CorrelatorData) -> Caption:
    """Models, verdicts, texts, protocol and run ids, for readers who have only the file."""
    texts = runs.filter(pl.col("run_id").is_in([curve.run_id for curve in data.curves]))
    rows = texts.to_dicts()
    if len(rows) == 1:
        title = _("{name}: {title}").format(name=rows[0]["name"], title=badge_text(rows[0]))
    elif len(rows) > MOST_IN_ONE_CHART:
        title = _("Dimension from layer to layer")
    else:
        title = _("Dimension from layer to layer: {names}").format(
            names=_(", ").join(dict.fromkeys(row["name"] for row in rows))
        )
    details = [
        _(", ").join(dict.fromkeys(row["corpus_name"] for row in rows)),
        _("Protocol: {name}.").format(name=_(", ").join(dict.fromkeys(row["protocol"] for row in rows))),
        _("Shaded: 95 % intervals."),
    ]
    runs_named = _(", ").join(row["run_id"] for row in rows[:3]) + (" …" if len(rows) > 3 else "")
    source = _("Workdim {version}, runs {runs}").format(
        version=rows[0]["code_version"] if rows else "", runs=runs_named
    )
    return Caption(title, " · ".join(part.rstrip(".。") for part in details), source)


def profile_svg(
    data: ProfileData | CorrelatorData,
    caption: Caption,
    extrema: Sequence[Extremum] = (),
    theme: Theme = LIGHT,
    is_log: bool = False,
    size: tuple[float, float] = (WIDTH, HEIGHT),
    phases: Sequence[Phase] = (),
    most_together: int = MOST_IN_ONE_CHART,
    layers: LayerSelection | None = None,
) -> str:
    """The SVG of curves over the layers with filled 95 percent bands and their names at the ends.

    Controls are thin dashed lines or, for several seeds, a pale band. More than `most_together` curves become small charts on
    one scale. `extrema` are marked with layer and value, `phases` shaded and named. The y axis begins at zero unless `is_log`.
    With `layers`, each layer has a clickable mark on its curve.
    """
    if len(data.curves) > most_together:
        return _side_by_side(data, caption, extrema, theme, is_log, size[0], layers)
    drawing = Drawing(*size, theme)
    top = draw_title(drawing, caption)
    longest = max((text_width(curve.name, LARGE, bold=True) for curve in data.curves), default=0)
    right = size[0] - min(longest, 0.24 * size[0]) - 30
    values = _values(data)
    if not values:
        drawing.text(
            (size[0] / 2, size[1] / 2), _("No estimates of this kind in the chosen runs."), 15, anchor="middle"
        )
        return drawing.svg(caption.title)
    last = max(mark.layer if data.same_depth else mark.depth for curve in data.curves for mark in curve.marks)
    kinds = list(dict.fromkeys(reference.kind for reference in data.references))
    keys = _legend_rows(kinds, any(curve.post_norm for curve in data.curves), size[0])
    bottom = size[1] - 59 - 15 * len(keys)
    axes = Axes(drawing, 58, top + 26, right, bottom, (0, last), _y_range(values, is_log), is_log)
    y_title = value_axis(data) + (_(", log scale") if is_log else "")
    if isinstance(data, ProfileData) and data.cuts_controls:
        y_title += _(" (controls run off the axis)")
    names_of_phases = [_draw_phase(axes, phase) for phase in phases]
    axes.draw(wording.layer_axis(data.same_depth), y_title, _layer_ticks(last, data.same_depth))
    colours = {curve.run_id: theme.curves[n % len(theme.curves)] for n, curve in enumerate(data.curves)}
    _draw_references(axes, data, colours)
    for curve in data.curves:
        _draw_curve(axes, curve, colours[curve.run_id], data.same_depth)
        if curve.post_norm:
            position = axes.to_pixels(curve.post_norm.x(data.same_depth), curve.post_norm.value)
            drawing.marker(position, "circle", colours[curve.run_id], 4.5, hollow=True)
    _draw_extrema(axes, data, extrema, colours, names_of_phases)
    line_ends = [(curve.name, colours[curve.run_id], curve.marks[-1].value) for curve in data.curves if curve.marks]
    _label_line_ends(axes, line_ends, size[0])
    _draw_layer_targets(axes, data, colours, layers)
    _draw_legend(axes, keys)
    draw_source(drawing, caption)
    return drawing.svg(caption.title, describe_curves(data, extrema))


def _values(data: ProfileData | CorrelatorData) -> list[float]:
    """The values that the y axis must contain: those of controls too, unless they would flatten the curves."""
    values = [
        value
        for curve in data.curves
        for mark in [*curve.marks, *([curve.post_norm] if curve.post_norm else [])]
        for value in (mark.value, mark.upper)
        if value is not None
    ]
    if values and not (isinstance(data, ProfileData) and data.cuts_controls):
        values += [mark.value for reference in data.references for mark in reference.marks]
    return values


def _y_range(values: Sequence[float], is_log: bool, above: float = 1.1) -> tuple[float, float]:
    """`above`: the factor by which it exceeds the largest value, as room for a label."""
    if is_log:
        return min(value for value in values if value > 0) / 1.3, (above + 0.2) * max(values)
    return min(0.0, min(values)), above * max(values)


def _draw_phase(axes: Axes, phase: Phase) -> Box:
    """Returns where its name stands."""
    theme = axes.drawing.theme
    left, right = (axes.to_pixels(layer, axes.y_range[0])[0] for layer in (phase.first, phase.last))
    axes.drawing.box(left, axes.top, right - left, axes.bottom - axes.top, theme.quiet, 0.08)
    middle, half = (left + right) / 2, text_width(phase.name, SMALL) / 2
    axes.drawing.text((middle, axes.top + 13), phase.name, SMALL, theme.quiet, "middle")
    return middle - half, axes.top + 3, middle + half, axes.top + 16


def _draw_references(axes: Axes, data: ProfileData | CorrelatorData, colours: dict[str, str]) -> None:
    """One line for each control; several seeds of one kind as a band from smallest to largest value with their mean."""
    kinds = list(dict.fromkeys(reference.kind for reference in data.references))
    for run_id, kind in dict.fromkeys((reference.of_run_id, reference.kind) for reference in data.references):
        seeds = [reference for reference in data.references if (reference.of_run_id, reference.kind) == (run_id, kind)]
        colour = colours[run_id] if len(data.curves) > 1 else axes.drawing.theme.quiet
        dash = _REFERENCE_DASHES[kinds.index(kind) % len(_REFERENCE_DASHES)]
        drawn = [mark for mark in range_of_seeds(seeds) if (mark.lower or 0) <= axes.y_range[1]]
        for piece in unbroken(drawn):
            if len(seeds) > 1:
                _draw_band(axes, piece, colour, data.same_depth, 0.1)
            line = [axes.to_pixels(mark.x(data.same_depth), mark.value) for mark in piece]
            axes.drawing.line(line, colour, 1.2, dash, 0.9)


def _side_by_side(
    data: ProfileData | CorrelatorData,
    caption: Caption,
    extrema: Sequence[Extremum],
    theme: Theme,
    is_log: bool,
    width: float,
    layers: LayerSelection | None,
) -> str:
    """Each curve in its own small chart, with its controls, all on one scale."""
    rows, columns = -(-len(data.curves) // 3), 3
    drawing = Drawing(width, 116 + 178 * rows, theme)
    top = draw_title(drawing, caption)
    y_range = _y_range(_values(data), is_log, 1.35)  # keeps the label of a peak off the panel's name
    last = max(mark.layer if data.same_depth else mark.depth for curve in data.curves for mark in curve.marks)
    drawing.text((14, top + 12), value_axis(data) + (_(", log scale") if is_log else ""), SMALL, theme.quiet)
    room = (width - 30) / columns
    for n, curve in enumerate(data.curves):
        left, above = 52 + room * (n % columns), top + 32 + 176 * (n // columns)
        axes = Axes(drawing, left, above + 14, left + room - 48, above + 128, (0, last), y_range, is_log)
        x_title = wording.layer_axis(data.same_depth) if n // columns == rows - 1 else ""
        axes.draw(x_title, "", ticks(0, last, 4), SMALL)
        drawing.text((left, above), shorten_to_width(curve.name, SMALL + 1, room - 40), SMALL + 1, bold=True)
        panel_data = replace(
            data, curves=[curve], references=[r for r in data.references if r.of_run_id == curve.run_id]
        )
        _draw_references(axes, panel_data, {curve.run_id: theme.quiet})
        _draw_curve(axes, curve, theme.curves[0], data.same_depth, width=2.2)
        _draw_extrema(axes, panel_data, extrema, {curve.run_id: theme.curves[1]})
        _draw_layer_targets(axes, panel_data, {curve.run_id: theme.curves[0]}, layers)
    draw_source(drawing, caption)
    return drawing.svg(caption.title, describe_curves(data, extrema))


def thumbnail(curve: Curve, extrema: Sequence[Extremum] = (), theme: Theme = LIGHT) -> str:
    """A small profile without axes: band, peak and valley with their values, first and last layer."""
    drawing, (width, height) = Drawing(*THUMBNAIL, theme), THUMBNAIL
    values = [value for mark in curve.marks for value in (mark.value, mark.upper) if value is not None]
    if not values:
        return drawing.svg(curve.name)
    last = curve.marks[-1].layer
    axes = Axes(drawing, 12, 24, width - 12, height - 20, (0, max(last, 1)), (0, 1.05 * max(values)))
    drawing.line([(axes.left, axes.bottom), (axes.right, axes.bottom)], theme.grid, 1)
    _draw_curve(axes, curve, theme.curves[0], True, width=2.2)
    ends = [Extremum(curve.run_id, "start", curve.marks[0].layer, curve.marks[0].value)]
    ends.append(Extremum(curve.run_id, "end", curve.marks[-1].layer, curve.marks[-1].value))
    turns = main_extrema(extrema, curve.run_id)
    room = LabelRoom((4, 3, width - 4, axes.bottom - 2), _curve_lines(axes, curve, True))
    for turn in turns:
        position = axes.to_pixels(turn.layer, turn.value)
        drawing.marker(position, "up" if turn.kind == "peak" else "down", theme.curves[1], 4)
        room.boxes.append(around(position, 5))
    for extremum in [*turns, *ends]:
        if extremum in ends and any(abs(turn.layer - extremum.layer) < 0.1 * last for turn in turns):
            continue  # a peak or valley beside it says more
        x, y = axes.to_pixels(extremum.layer, extremum.value)
        label = wording.number(extremum.value)
        place = room.near(label, (x, y), SMALL, not _is_below(extremum, curve), 6, farthest=33)
        if place is None and extremum not in ends:
            place = Label((x, max(y - 9, 14)))
        if place is not None:
            _draw_label(drawing, place, label, SMALL)
    drawing.text((axes.left, height - 6), "0", 10, theme.quiet)
    drawing.text((axes.right, height - 6), f"{last}", 10, theme.quiet, "end")
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


def _is_below(extremum: Extremum, curve: Curve) -> bool:
    """Whether the value is written below its mark, away from the curve: at a valley, at a start before a rise, and at an end
    after a fall."""
    if len(curve.marks) < 2 or extremum.kind in ("peak", "valley"):
        return extremum.kind == "valley"
    neighbour = curve.marks[1] if extremum.kind == "start" else curve.marks[-2]
    return neighbour.value > extremum.value


def difference_chart(differences: Mapping[str, Sequence[LayerDifference]], order: Sequence[str] = ()) -> Chart:
    """The difference of each run (name -> its layers) from the base run in percent, with 95 percent bands: a band without zero
    is a difference; a missing layer is a gap. `order` of all names decides the colours, as in the chart of the curves."""
    series = []
    for n, (name, rows) in enumerate(differences.items(), start=1):
        pieces = unbroken([Mark(row.layer, 0.0, row.share, row.lower, row.upper) for row in rows])
        for piece in pieces:
            points = (Point(mark.layer, *map(_percent, (mark.value, mark.lower, mark.upper))) for mark in piece)  # type: ignore[arg-type]
            colour = order.index(name) if name in order else n
            series.append(Series(name, tuple(points), colour, is_banded=True, is_named=piece is pieces[-1]))
    drawn = [point for line in series for point in line.points]
    y = round_axis(_("difference in %"), [0.0, *(value for p in drawn for value in (p.y, p.lower, p.upper))])
    last = max((point.x for point in drawn), default=1)
    x = Axis(wording.layer_axis(True), 0, max(last, 1), whole_step(last))
    return Chart(x, replace(y, low=max(y.low, -100.0)), tuple(series), "", (Guide("", 0.0, False),))


def _percent(share: float | None) -> float | None:
    return None if share is None else 100 * share


def _layer_ticks(last: float, same_depth: bool) -> list[float]:
    return [value for value in ticks(0, last, 10) if value == round(value)] if same_depth else [0, 0.25, 0.5, 0.75, 1]


def _draw_curve(axes: Axes, curve: Curve, colour: str, same_depth: bool, width: float = 2.6) -> None:
    """Line and band; a missing layer is a gap."""
    for piece in unbroken(curve.marks):
        _draw_band(axes, piece, colour, same_depth)
        axes.drawing.line([axes.to_pixels(mark.x(same_depth), mark.value) for mark in piece], colour, width)


def _draw_band(axes: Axes, marks: Sequence[Mark], colour: str, same_depth: bool, opacity: float = 0.18) -> None:
    """The area between the limits of marks without gaps."""
    banded = [mark for mark in marks if mark.lower is not None and mark.upper is not None]
    above = [axes.to_pixels(mark.x(same_depth), mark.upper or 0) for mark in banded]
    below = [axes.to_pixels(mark.x(same_depth), mark.lower or 0) for mark in reversed(banded)]
    axes.drawing.area([*above, *below], colour, opacity)


def _draw_extrema(
    axes: Axes,
    data: ProfileData | CorrelatorData,
    extrema: Sequence[Extremum],
    colours: dict[str, str],
    taken: Sequence[Box] = (),
) -> None:
    """Marks all extrema; labels the highest peak and the lowest valley of the first three curves where a label lies on
    nothing, that of the only curve always. `taken`: where texts stand already."""
    drawing = axes.drawing
    depth = {(curve.run_id, mark.layer): mark.x(data.same_depth) for curve in data.curves for mark in curve.marks}
    marks = {
        extremum: axes.to_pixels(depth[extremum.run_id, extremum.layer], extremum.value)
        for extremum in extrema
        if extremum.kind in ("peak", "valley") and (extremum.run_id, extremum.layer) in depth
    }
    for extremum, position in marks.items():
        drawing.marker(position, "up" if extremum.kind == "peak" else "down", colours[extremum.run_id], 5)
    room = LabelRoom(
        (axes.left + 4, axes.top, axes.right + 16, axes.bottom - 3),
        [line for curve in data.curves for line in _curve_lines(axes, curve, data.same_depth)],
        [*taken, *(around(position, 6) for position in marks.values()), *_post_norm_boxes(axes, data)],
    )
    is_alone = len(data.curves) == 1
    for extremum in [extremum for curve in data.curves[:3] for extremum in main_extrema(extrema, curve.run_id)]:
        if extremum not in marks:
            continue
        x, y = marks[extremum]
        label = _("layer {layer}: {value}").format(layer=extremum.layer, value=wording.number(extremum.value))
        is_peak = extremum.kind == "peak"
        place = room.near(label, (x, y), 12, is_peak, farthest=0.4 * (axes.bottom - axes.top))
        if place is None and is_alone:
            place = Label((x, y - 11 if is_peak else y + 21))
        if place is not None:  # a label on something would be unreadable
            _draw_label(drawing, place, label, 12, "" if is_alone else colours[extremum.run_id])


def _draw_label(drawing: Drawing, label: Label, text: str, size: float, colour: str = "") -> None:
    if label.leader:
        drawing.line(label.leader, drawing.theme.quiet, 0.8)
    drawing.text(label.baseline, text, size, colour, "middle", bold=True)


def _curve_lines(axes: Axes, curve: Curve, same_depth: bool) -> list[tuple[Position, Position]]:
    """The pieces of a curve's line between successive layers, in pixels."""
    pieces = [[axes.to_pixels(mark.x(same_depth), mark.value) for mark in piece] for piece in unbroken(curve.marks)]
    return [line for piece in pieces for line in pairwise(piece)]


def _post_norm_boxes(axes: Axes, data: ProfileData | CorrelatorData) -> list[Box]:
    states = [curve.post_norm for curve in data.curves if curve.post_norm]
    return [around(axes.to_pixels(state.x(data.same_depth), state.value), 6) for state in states]


def _draw_layer_targets(
    axes: Axes, data: ProfileData | CorrelatorData, colours: dict[str, str], layers: LayerSelection | None
) -> None:
    """A dot with a tooltip for each layer of each curve, the selected one ringed. Where all curves have the same layers, also
    an invisible strip over each layer, so that nobody has to hit a dot."""
    if layers is None:
        return
    drawing = axes.drawing
    values_by_layer: dict[int, list[str]] = {}
    for curve in data.curves:
        for mark in curve.marks:
            values_by_layer.setdefault(mark.layer, []).append(f"{curve.name}: {wording.number(mark.value)}")
    if data.same_depth and axes.x_range[1]:
        half = (axes.right - axes.left) / axes.x_range[1] / 2
        for layer, values in values_by_layer.items():
            x = axes.to_pixels(layer, axes.y_range[0])[0]
            left, right = max(x - half, axes.left - 4), min(x + half, axes.right + 4)
            name = _("; ").join([_("layer {layer}").format(layer=layer), *values])
            drawing.hotspot(left, axes.top, right - left, axes.bottom - axes.top, layer, name)
    for curve in data.curves:
        for mark in curve.marks:
            position = axes.to_pixels(mark.x(data.same_depth), mark.value)
            if mark.layer == layers.selected:
                drawing.marker(position, "circle", colours[curve.run_id], 6, hollow=True)
            drawing.marker(position, "circle", colours[curve.run_id], 1.8)
            name = _("layer {layer}: {value}").format(layer=mark.layer, value=wording.number(mark.value))
            drawing.hotspot(position[0] - 5, position[1] - 5, 10, 10, mark.layer, f"{curve.name}, {name}")


def _label_line_ends(axes: Axes, line_ends: Sequence[tuple[str, str, float]], width: float) -> None:
    """Names of the lines, in their colours, beside their last values; `line_ends` has name, colour and value of each."""
    room = width - axes.right - 14
    names = distinct_short_names(
        [name for name, *_end in line_ends], lambda name: shorten_to_width(name, LARGE, room, bold=True)
    )
    heights = [axes.to_pixels(0, value)[1] for *_name, value in line_ends]
    places = spread_apart(heights, 17, axes.top + 6, axes.bottom - 2)
    for name, (_name, colour, _value), y in zip(names, line_ends, places, strict=True):
        axes.drawing.text((axes.right + 9, y + 4), name, LARGE, colour, bold=True)


def _legend_rows(kinds: Sequence[str], has_post_norm: bool, width: float) -> list[list[str]]:
    """The legend entries in lines below the axis; `post_norm` is the mark of the state after the norm."""
    rows: list[list[str]] = [[]]
    x = 12.0
    for kind in [*kinds, *(["post_norm"] if has_post_norm else [])]:
        long = 44 + text_width(_legend_label(kind), SMALL)
        if rows[-1] and x + long > width:
            rows.append([])
            x = 12.0
        rows[-1].append(kind)
        x += long
    return rows


def _legend_label(kind: str) -> str:
    return _("final state, after the norm") if kind == "post_norm" else reference_name(kind)


def _draw_legend(axes: Axes, rows: Sequence[Sequence[str]]) -> None:
    drawing = axes.drawing
    kinds = [kind for row in rows for kind in row if kind != "post_norm"]
    for n, row in enumerate(rows):
        y, x = drawing.height - 28 - 15 * (len(rows) - 1 - n), 12.0
        for kind in row:
            if kind == "post_norm":
                drawing.marker((x + 12, y), "circle", drawing.theme.quiet, 4, hollow=True)
            else:
                dash = _REFERENCE_DASHES[kinds.index(kind) % len(_REFERENCE_DASHES)]
                drawing.line([(x, y), (x + 24, y)], drawing.theme.quiet, 1.4, dash)
            name = _legend_label(kind)
            drawing.text((x + 29, y + 4), name, SMALL, drawing.theme.quiet)
            x += 44 + text_width(name, SMALL)
