"""Pictures that speak for themselves, in static SVG: a layer profile with its title, text, protocol and source inside,
its thumbnail for a gallery, a labelled scatter, and small multiples."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import polars as pl

from core import wording
from core.analysis.differences import LayerDifference
from core.figures.layer_profiles import CorrelatorData, Curve, Mark, ProfileData, reference_name, with_gaps
from core.figures.svg import LIGHT, MARKERS, Axes, Drawing, Point, Theme, cut_to, spread, text_width, ticks, wrapped
from core.locale import translator
from core.records import Estimate
from core.wording.labels import shortened_apart
from core.wording.verdicts import badge, claim_name

WIDTH, HEIGHT = 960, 520
THUMBNAIL = (252, 132)
MOST_TOGETHER = 3
"""Curves that one picture keeps apart with their names and turns; more stand side by side."""
_REFERENCE_DASHES = ("5 4", "2 3", "8 3 2 3", "1 3", "10 4")
_LARGE, _SMALL = 13.0, 11.0


@dataclass(frozen=True)
class Caption:
    """What stands in the picture besides the curves."""

    title: str
    told: str = ""
    """Beneath the title: text, protocol, sample size."""
    source: str = ""
    """At the foot: where the numbers come from."""


@dataclass(frozen=True)
class Turn:
    """A peak or valley that stands out from the simultaneous band of its run (rows of run_extrema)."""

    run_id: str
    kind: str
    """peak, valley, start or end; the ends are drawn as what they are and not named again."""
    layer: int
    value: float


@dataclass(frozen=True)
class Layers:
    """That the layers of a picture can be clicked on, and which one is chosen."""

    chosen: int | None = None


def caption_of(runs: pl.DataFrame, data: ProfileData | CorrelatorData, language: str) -> Caption:
    """What a reader who has nothing but the picture must know: models, verdicts, texts, protocol, and which runs."""
    _ = translator(language)
    texts = runs.filter(pl.col("run_id").is_in([curve.run_id for curve in data.curves]))
    rows = texts.to_dicts()
    if len(rows) == 1:
        title = _("{name}: {title}").format(name=rows[0]["name"], title=badge(rows[0], language))
    elif len(rows) > MOST_TOGETHER:
        title = _("Dimension from layer to layer")
    else:
        title = _("Dimension from layer to layer: {names}").format(
            names=_(", ").join(dict.fromkeys(row["name"] for row in rows))
        )
    told = [
        _(", ").join(dict.fromkeys(row["corpus_name"] for row in rows)),
        _("Protocol: {name}.").format(name=_(", ").join(dict.fromkeys(row["protocol"] for row in rows))),
        _("Shaded: 95 % intervals."),
    ]
    runs_named = _(", ").join(row["run_id"] for row in rows[:3]) + (" …" if len(rows) > 3 else "")
    source = _("Workdim {version}, runs {runs}").format(
        version=rows[0]["code_version"] if rows else "", runs=runs_named
    )
    return Caption(title, " · ".join(part.rstrip(".。") for part in told), source)


@dataclass(frozen=True)
class Phase:
    """A stretch of layers in which a robust claim holds."""

    first: float
    last: float
    name: str


def phases_of(run: Mapping[str, Any], turns: Sequence[Turn], language: str) -> list[Phase]:
    """Where the dimension rises and where it falls, each only where that is robust; on the axis of layers.

    `run` is a row of `queries.runs`.
    """
    peak = next((turn for turn in principal(turns, run["run_id"]) if turn.kind == "peak"), None)
    if peak is None:
        return []
    before = [turn.layer for turn in turns if turn.kind == "valley" and turn.layer < peak.layer]
    spans = {"rise": (max(before, default=0), peak.layer), "fall": (peak.layer, run["n_layers"])}
    return [
        Phase(*span, claim_name(claim, language, brief=True))
        for claim, span in spans.items()
        if run[f"verdict_{claim}"] == "robust"
    ]


def turns_of(extrema: pl.DataFrame, cloud: str) -> list[Turn]:
    """The rows of run_extrema on one cloud."""
    rows = extrema.filter(cloud=cloud).to_dicts()
    return [Turn(row["run_id"], row["kind"], row["layer"], row["value"]) for row in rows]


def principal(turns: Sequence[Turn], run_id: str) -> list[Turn]:
    """The highest peak and the lowest valley of a run."""
    peaks = [turn for turn in turns if (turn.run_id, turn.kind) == (run_id, "peak")]
    valleys = [turn for turn in turns if (turn.run_id, turn.kind) == (run_id, "valley")]
    highest = [max(peaks, key=lambda turn: turn.value)] if peaks else []
    return highest + ([min(valleys, key=lambda turn: turn.value)] if valleys else [])


def profile_picture(
    data: ProfileData | CorrelatorData,
    caption: Caption,
    turns: Sequence[Turn] = (),
    language: str = "en",
    theme: Theme = LIGHT,
    is_log: bool = False,
    size: tuple[float, float] = (WIDTH, HEIGHT),
    phases: Sequence[Phase] = (),
    most_together: int = MOST_TOGETHER,
    layers: Layers | None = None,
) -> str:
    """Curves over the layers with filled 95 percent bands, their names at their ends, controls as thin dashed lines or, of
    several seeds, as a pale band. More than `MOST_TOGETHER` curves stand in a picture each, on one scale.

    `turns` are marked with layer and value, `phases` shaded and named. The vertical axis begins at zero unless `is_log`,
    which it then says. With `layers`, each layer has a mark on its curve that a click finds. Returns the SVG of a file.
    """
    if len(data.curves) > most_together:
        return _side_by_side(data, caption, turns, language, theme, is_log, size[0], layers)
    _ = translator(language)
    drawing = Drawing(*size, theme)
    top = _head(drawing, caption)
    longest = max((text_width(curve.name, _LARGE, bold=True) for curve in data.curves), default=0)
    right = size[0] - min(longest, 0.24 * size[0]) - 30
    values = _values(data)
    if not values:
        drawing.words(
            (size[0] / 2, size[1] / 2), _("No estimates of this kind in the chosen runs."), 15, anchor="middle"
        )
        return drawing.svg(caption.title, language=language)
    last = max(mark.layer if data.same_depth else mark.depth for curve in data.curves for mark in curve.marks)
    kinds = list(dict.fromkeys(reference.kind for reference in data.references))
    keys = _key_rows(kinds, any(curve.post_norm for curve in data.curves), language, size[0])
    bottom = size[1] - 59 - 15 * len(keys)
    axes = Axes(drawing, 58, top + 26, right, bottom, (0, last), _y_range(values, is_log), is_log)
    y_title = _axis(data, language) + (_(", log scale") if is_log else "")
    if isinstance(data, ProfileData) and data.cuts_controls:
        y_title += _(" (controls run off the axis)")
    for phase in phases:
        _shade(axes, phase)
    axes.draw(wording.layer_axis(data.same_depth, language), y_title, _layer_ticks(last, data.same_depth))
    colours = {curve.run_id: theme.curves[n % len(theme.curves)] for n, curve in enumerate(data.curves)}
    _draw_references(axes, data, colours)
    for curve in data.curves:
        _draw_curve(axes, curve, colours[curve.run_id], data.same_depth)
        if curve.post_norm:
            at = axes.at(_x(curve.post_norm, data.same_depth), curve.post_norm.value)
            drawing.marker(at, "circle", colours[curve.run_id], 4.5, hollow=True)
    _name_turns(axes, data, turns, colours, language)
    _name_ends(axes, data, colours, right, size[0])
    _mark_layers(axes, data, colours, layers, language)
    _keys(axes, keys, language)
    _foot(drawing, caption)
    return drawing.svg(caption.title, _described(data, turns, language), language)


def _values(data: ProfileData | CorrelatorData) -> list[float]:
    """All that the axis is to hold: controls too, unless they would press the curves flat."""
    found = [
        value
        for curve in data.curves
        for mark in [*curve.marks, *([curve.post_norm] if curve.post_norm else [])]
        for value in (mark.value, mark.upper)
        if value is not None
    ]
    if found and not (isinstance(data, ProfileData) and data.cuts_controls):
        found += [mark.value for reference in data.references for mark in reference.marks]
    return found


def _y_range(values: Sequence[float], is_log: bool, above: float = 1.1) -> tuple[float, float]:
    """`above`: how far beyond the largest value it reaches, where its label stands."""
    if is_log:
        return min(value for value in values if value > 0) / 1.3, (above + 0.2) * max(values)
    return min(0.0, min(values)), above * max(values)


def _shade(axes: Axes, phase: Phase) -> None:
    theme = axes.drawing.theme
    left, right = (axes.at(layer, axes.y_range[0])[0] for layer in (phase.first, phase.last))
    axes.drawing.box(left, axes.top, right - left, axes.bottom - axes.top, theme.quiet, 0.08)
    axes.drawing.words(((left + right) / 2, axes.top + 13), phase.name, _SMALL, theme.quiet, "middle")


def _draw_references(axes: Axes, data: ProfileData | CorrelatorData, colours: dict[str, str]) -> None:
    """One line for each control; several seeds of one kind as a band from the least to the largest and their mean."""
    kinds = list(dict.fromkeys(reference.kind for reference in data.references))
    for run_id, kind in dict.fromkeys((one.of_run_id, one.kind) for one in data.references):
        alike = [one for one in data.references if (one.of_run_id, one.kind) == (run_id, kind)]
        colour = colours[run_id] if len(data.curves) > 1 else axes.drawing.theme.quiet
        dash = _REFERENCE_DASHES[kinds.index(kind) % len(_REFERENCE_DASHES)]
        by_layer: dict[int, list[Mark]] = {}
        for one in alike:
            for mark in one.marks:
                by_layer.setdefault(mark.layer, []).append(mark)
        marks = [
            replace(
                found[0],
                value=sum(mark.value for mark in found) / len(found),
                lower=min(mark.value for mark in found),
                upper=max(mark.value for mark in found),
            )
            for _layer, found in sorted(by_layer.items())
            if min(mark.value for mark in found) <= axes.y_range[1]
        ]
        for piece in _pieces(marks):
            at = [_x(mark, data.same_depth) for mark in piece]
            if len(alike) > 1:
                above = [axes.at(x, mark.upper or 0) for x, mark in zip(at, piece, strict=True)]
                below = [axes.at(x, mark.lower or 0) for x, mark in zip(at, piece, strict=True)]
                axes.drawing.area([*above, *below[::-1]], colour, 0.1)
            axes.drawing.line(
                [axes.at(x, mark.value) for x, mark in zip(at, piece, strict=True)], colour, 1.2, dash, 0.9
            )


def _side_by_side(
    data: ProfileData | CorrelatorData,
    caption: Caption,
    turns: Sequence[Turn],
    language: str,
    theme: Theme,
    is_log: bool,
    width: float,
    layers: Layers | None,
) -> str:
    """Each curve in a picture of its own, with its controls, all on one scale."""
    _ = translator(language)
    rows, columns = -(-len(data.curves) // 3), 3
    drawing = Drawing(width, 116 + 178 * rows, theme)
    top = _head(drawing, caption)
    y_range = _y_range(_values(data), is_log, 1.35)  # the label of a peak stands clear of the panel's name
    last = max(mark.layer if data.same_depth else mark.depth for curve in data.curves for mark in curve.marks)
    drawing.words((14, top + 12), _axis(data, language) + (_(", log scale") if is_log else ""), _SMALL, theme.quiet)
    room = (width - 30) / columns
    for n, curve in enumerate(data.curves):
        left, above = 52 + room * (n % columns), top + 32 + 176 * (n // columns)
        axes = Axes(drawing, left, above + 14, left + room - 48, above + 128, (0, last), y_range, is_log)
        x_title = wording.layer_axis(data.same_depth, language) if n // columns == rows - 1 else ""
        axes.draw(x_title, "", ticks(0, last, 4), _SMALL)
        drawing.words((left, above), cut_to(curve.name, _SMALL + 1, room - 40), _SMALL + 1, bold=True)
        one = replace(data, curves=[curve], references=[r for r in data.references if r.of_run_id == curve.run_id])
        _draw_references(axes, one, {curve.run_id: theme.quiet})
        _draw_curve(axes, curve, theme.curves[0], data.same_depth, width=2.2)
        _name_turns(axes, one, turns, {curve.run_id: theme.curves[1]}, language)
        _mark_layers(axes, one, {curve.run_id: theme.curves[0]}, layers, language)
    _foot(drawing, caption)
    return drawing.svg(caption.title, _described(data, turns, language), language)


def thumbnail(
    curve: Curve,
    turns: Sequence[Turn] = (),
    language: str = "en",
    theme: Theme = LIGHT,
    size: tuple[float, float] = THUMBNAIL,
) -> str:
    """One profile without axes: its band, its peak and valley with their values, its first and last layer."""
    drawing = Drawing(*size, theme)
    values = [value for mark in curve.marks for value in (mark.value, mark.upper) if value is not None]
    if not values:
        return drawing.svg(curve.name, language=language)
    last = curve.marks[-1].layer
    axes = Axes(drawing, 12, 24, size[0] - 12, size[1] - 20, (0, max(last, 1)), (0, 1.05 * max(values)))
    drawing.line([(axes.left, axes.bottom), (axes.right, axes.bottom)], theme.grid, 1)
    _draw_curve(axes, curve, theme.curves[0], True, width=2.2)
    ends = [Turn(curve.run_id, "start", curve.marks[0].layer, curve.marks[0].value)]
    ends.append(Turn(curve.run_id, "end", curve.marks[-1].layer, curve.marks[-1].value))
    named: list[tuple[float, float]] = []
    for turn in [*principal(turns, curve.run_id), *ends]:
        x, y = axes.at(turn.layer, turn.value)
        if turn.kind in ("peak", "valley"):
            drawing.marker((x, y), "up" if turn.kind == "peak" else "down", theme.curves[1], 4)
        has_room = y < axes.bottom - 18
        anchor = "start" if x < axes.left + 25 else "end" if x > axes.right - 25 else "middle"
        if turn.kind == "valley" and not has_room:  # beside the slope that falls to it
            x, anchor = x + 6, "start"
        place = max(y + (16 if has_room and _is_below(turn, curve) else -9), 14)
        if turn in ends and any(abs(x - there) < 30 and abs(place - beside) < 12 for there, beside in named):
            continue  # a peak or valley beside it says more
        named.append((x, place))
        drawing.words((x, place), wording.number(turn.value), _SMALL, theme.text, anchor, bold=True)
    drawing.words((axes.left, size[1] - 6), "0", 10, theme.quiet)
    drawing.words((axes.right, size[1] - 6), f"{last}", 10, theme.quiet, "end")
    return drawing.svg(curve.name, language=language)


def so_far(name: str, found: Sequence[Estimate], language: str, theme: Theme = LIGHT) -> str:
    """The beginning of a profile whose later layers are still to come; the interval where it is known."""
    marks = [
        Mark(layer, 0.0, one.value, *(None if math.isnan(end) else end for end in (one.lower, one.upper)))
        for layer, one in enumerate(found)
        if not math.isnan(one.value)
    ]
    return thumbnail(Curve(name, name, marks, None, None), (), language, theme)


def _is_below(turn: Turn, curve: Curve) -> bool:
    """Whether the value is named beneath its mark, where the curve does not run: at a valley, where it begins to rise, and
    where it falls to its end."""
    if len(curve.marks) < 2 or turn.kind in ("peak", "valley"):
        return turn.kind == "valley"
    beside = curve.marks[1] if turn.kind == "start" else curve.marks[-2]
    return beside.value > turn.value


def difference_picture(
    found: Mapping[str, Sequence[LayerDifference]],
    caption: Caption,
    language: str = "en",
    theme: Theme = LIGHT,
    size: tuple[float, float] = (WIDTH, 330),
    order: Sequence[str] = (),
) -> str:
    """By how many percent each run of `found` (name -> its layers) lies above or below the one that they are held
    against, with filled 95 percent bands; a band that leaves out zero is a difference. `order` of all names decides their
    colours, as in a picture of the curves themselves."""
    _ = translator(language)
    drawing = Drawing(*size, theme)
    top = _head(drawing, caption)
    values = [
        100 * end
        for rows in found.values()
        for row in rows
        for end in (row.share, row.lower, row.upper)
        if end is not None
    ]
    if not values:
        return drawing.svg(caption.title, language=language)
    longest = max(text_width(name, _LARGE, bold=True) for name in found)
    right = size[0] - min(longest, 0.24 * size[0]) - 30
    last = max(row.layer for rows in found.values() for row in rows)
    low, high = _wide([0.0, *values])
    axes = Axes(drawing, 58, top + 26, right, size[1] - 62, (0, max(last, 1)), (max(low, -100), high))
    axes.draw(wording.layer_axis(True, language), _("difference in %"), _layer_ticks(last, True))
    drawing.line([axes.at(0, 0), axes.at(last, 0)], theme.text, 1.4)
    ends = []
    for n, (name, rows) in enumerate(found.items(), start=1):
        colour = theme.curves[(order.index(name) if name in order else n) % len(theme.curves)]
        marks = [_percent(row) for row in rows]
        _draw_curve(axes, Curve("", name, marks, None, None), colour, True)
        ends.append((name, colour, axes.at(0, marks[-1].value)[1]))
    places = spread([y for *_name, y in ends], 17, axes.top + 6, axes.bottom - 2)
    names = _names_at_ends([name for name, *_end in ends], size[0] - right - 14)
    for name, (_name, colour, _y), y in zip(names, ends, places, strict=True):
        drawing.words((right + 9, y + 4), name, _LARGE, colour, bold=True)
    _foot(drawing, caption)
    return drawing.svg(caption.title, caption.told, language)


def _percent(row: LayerDifference) -> Mark:
    low, high = (None if end is None else 100 * end for end in (row.lower, row.upper))
    return Mark(row.layer, 0.0, 100 * row.share, low, high)


@dataclass(frozen=True)
class Dot:
    """One model in a scatter; limits are those of 95 percent intervals."""

    name: str
    x: float
    y: float
    x_limits: tuple[float, float] | None = None
    y_limits: tuple[float, float] | None = None
    group: int = 0
    """Decides colour and marker."""
    is_named: bool = True


def scatter_picture(
    dots: Sequence[Dot],
    caption: Caption,
    x_title: str,
    y_title: str,
    groups: Sequence[str] = (),
    language: str = "en",
    theme: Theme = LIGHT,
    size: tuple[float, float] = (WIDTH, HEIGHT),
) -> str:
    """Dots with the bars of both errors; names where there is room for them, one key for each of `groups`."""
    drawing = Drawing(*size, theme)
    top = _head(drawing, caption)
    across = [value for dot in dots for value in (dot.x, *(dot.x_limits or ()))]
    up = [value for dot in dots for value in (dot.y, *(dot.y_limits or ()))]
    if not dots:
        return drawing.svg(caption.title, language=language)
    axes = Axes(drawing, 72, top + 30, size[0] - 40, size[1] - 74, _wide(across), _wide(up))
    axes.draw(x_title, y_title, ticks(*axes.x_range))
    taken: list[tuple[float, float, float, float]] = []
    for dot in dots:
        colour = theme.curves[dot.group % len(theme.curves)]
        x, y = axes.at(dot.x, dot.y)
        if dot.x_limits:
            drawing.line([axes.at(dot.x_limits[0], dot.y), axes.at(dot.x_limits[1], dot.y)], colour, 1.2, opacity=0.6)
        if dot.y_limits:
            drawing.line([axes.at(dot.x, dot.y_limits[0]), axes.at(dot.x, dot.y_limits[1])], colour, 1.2, opacity=0.6)
        drawing.marker((x, y), MARKERS[dot.group % len(MARKERS)], colour, 5)
        taken.append((x - 7, y - 7, x + 7, y + 7))
    for dot in dots:
        if dot.is_named:
            _name_dot(axes, dot, taken)
    x = axes.left
    for n, name in enumerate(groups):
        drawing.marker((x + 6, size[1] - 27), MARKERS[n % len(MARKERS)], theme.curves[n % len(theme.curves)], 5)
        drawing.words((x + 17, size[1] - 23), name, _SMALL)
        x += 40 + text_width(name, _SMALL)
    _foot(drawing, caption)
    return drawing.svg(caption.title, caption.told, language)


@dataclass(frozen=True)
class Panel:
    """One picture among small multiples: lines over a common horizontal axis."""

    title: str
    lines: list[list[tuple[float, float]]] = field(default_factory=list)
    colours: list[int] = field(default_factory=list)
    """Of each line, a place in the theme's curves."""


def multiples(
    panels: Sequence[Panel],
    caption: Caption,
    x_title: str,
    y_title: str,
    names: Sequence[str] = (),
    language: str = "en",
    theme: Theme = LIGHT,
    columns: int = 3,
    is_log: bool = False,
    width: float = WIDTH,
) -> str:
    """Panels on one scale, row by row; `names` are the keys of the colours."""
    rows = -(-len(panels) // columns)
    drawing = Drawing(width, 96 + 24 * bool(names) + 190 * rows, theme)
    top = _head(drawing, caption)
    across = [x for panel in panels for line in panel.lines for x, _y in line]
    up = [y for panel in panels for line in panel.lines for _x, y in line]
    if not up:
        return drawing.svg(caption.title, language=language)
    y_range = (min(up) / 1.2, 1.2 * max(up)) if is_log else (min(0.0, min(up)), 1.08 * max(up))
    room = (width - 30) / columns
    for n, panel in enumerate(panels):
        left, above = 52 + room * (n % columns), top + 22 + 190 * (n // columns)
        axes = Axes(
            drawing, left, above + 12, left + room - 48, above + 138, (min(across), max(across)), y_range, is_log
        )
        axes.draw(x_title if n // columns == rows - 1 else "", "", ticks(min(across), max(across), 4), _SMALL)
        drawing.words((left, above + 4), cut_to(panel.title, _SMALL + 1, room - 40), _SMALL + 1, bold=True)
        for line, colour in zip(panel.lines, panel.colours, strict=True):
            drawing.line([axes.at(x, y) for x, y in line], theme.curves[colour % len(theme.curves)], 1.8, opacity=0.85)
    drawing.words((14, top + 12), y_title, _SMALL, theme.quiet)
    x = 52.0
    for n, name in enumerate(names):
        y = drawing.height - 30
        drawing.line([(x, y), (x + 18, y)], theme.curves[n % len(theme.curves)], 2.4)
        drawing.words((x + 24, y + 4), name, _SMALL)
        x += 44 + text_width(name, _SMALL)
    _foot(drawing, caption)
    return drawing.svg(caption.title, caption.told, language)


def _head(drawing: Drawing, caption: Caption) -> float:
    """Title and what is told beneath it; returns where they end."""
    y = 12.0
    for line in wrapped(caption.title, 17, drawing.width - 24):
        y += 18
        drawing.words((12, y), line, 17, bold=True)
        y += 4
    for line in wrapped(caption.told, 12, drawing.width - 24):
        y += 16
        drawing.words((12, y), line, 12, drawing.theme.quiet)
    return y + 8


def _foot(drawing: Drawing, caption: Caption) -> None:
    source = cut_to(caption.source, _SMALL, drawing.width - 24)
    drawing.words((12, drawing.height - 9), source, _SMALL, drawing.theme.quiet)


def _axis(data: ProfileData | CorrelatorData, language: str) -> str:
    if isinstance(data, CorrelatorData):
        return wording.correlator_axis(data.correlator, data.cloud, language, data.n_points)
    return wording.dimension_axis(data.estimator, data.cloud, language, data.n_points, data.n1, data.n2)


def _layer_ticks(last: float, same_depth: bool) -> list[float]:
    return [value for value in ticks(0, last, 10) if value == round(value)] if same_depth else [0, 0.25, 0.5, 0.75, 1]


def _x(mark: Mark, same_depth: bool) -> float:
    return mark.layer if same_depth else mark.depth


def _pieces(marks: list[Mark]) -> list[list[Mark]]:
    """Runs of layers that follow one another: no line is drawn across a missing one."""
    pieces: list[list[Mark]] = [[]]
    for mark in with_gaps(marks):
        if mark is None:
            pieces.append([])
        else:
            pieces[-1].append(mark)
    return [piece for piece in pieces if piece]


def _draw_curve(axes: Axes, curve: Curve, colour: str, same_depth: bool, width: float = 2.6) -> None:
    """With its band; a missing layer is a gap."""
    for piece in _pieces(curve.marks):
        banded = [mark for mark in piece if mark.lower is not None and mark.upper is not None]
        above = [axes.at(_x(mark, same_depth), mark.upper or 0) for mark in banded]
        below = [axes.at(_x(mark, same_depth), mark.lower or 0) for mark in reversed(banded)]
        axes.drawing.area([*above, *below], colour)
        axes.drawing.line([axes.at(_x(mark, same_depth), mark.value) for mark in piece], colour, width)


def _name_turns(
    axes: Axes, data: ProfileData | CorrelatorData, turns: Sequence[Turn], colours: dict[str, str], language: str
) -> None:
    """All are marked; the highest peak and the lowest valley of the first three curves are named."""
    _ = translator(language)
    depth = {(curve.run_id, mark.layer): _x(mark, data.same_depth) for curve in data.curves for mark in curve.marks}
    named = [turn for curve in data.curves[:3] for turn in principal(turns, curve.run_id)]
    taken: list[Point] = []
    for turn in turns:
        place = depth.get((turn.run_id, turn.layer))
        if turn.kind not in ("peak", "valley") or place is None:
            continue
        x, y = axes.at(place, turn.value)
        is_peak = turn.kind == "peak"
        axes.drawing.marker((x, y), "up" if is_peak else "down", colours[turn.run_id], 5)
        if turn not in named:
            continue
        told = _("layer {layer}: {value}").format(layer=turn.layer, value=wording.number(turn.value))
        anchor = "start" if x < axes.left + 60 else "end" if x > axes.right - 60 else "middle"
        # What stands on the axis is named above it; what stands under the upper edge, beside its mark.
        is_above = is_peak or y > axes.bottom - 24
        at = (x, y - 11 if is_above else y + 21)
        if at[1] < axes.top + 4:
            is_left = x > (axes.left + axes.right) / 2
            at, anchor = (x - 9 if is_left else x + 9, y + 4), "end" if is_left else "start"
        if any(abs(at[0] - other[0]) < 80 and abs(at[1] - other[1]) < 13 for other in taken):
            continue  # its mark says where; two names on one place say nothing
        taken.append(at)
        axes.drawing.words(at, told, 12, anchor=anchor, bold=True)


def _mark_layers(
    axes: Axes, data: ProfileData | CorrelatorData, colours: dict[str, str], layers: Layers | None, language: str
) -> None:
    """A dot for each layer of each curve with its value for the pointer, the chosen one ringed; and, where all curves share
    the axis of layers, a strip over each layer, so that nobody has to meet a dot."""
    if layers is None:
        return
    _ = translator(language)
    drawing = axes.drawing
    told: dict[int, list[str]] = {}
    for curve in data.curves:
        for mark in curve.marks:
            told.setdefault(mark.layer, []).append(f"{curve.name}: {wording.number(mark.value)}")
    if data.same_depth and axes.x_range[1]:
        half = (axes.right - axes.left) / axes.x_range[1] / 2
        for layer, values in told.items():
            x = axes.at(layer, axes.y_range[0])[0]
            left, right = max(x - half, axes.left - 4), min(x + half, axes.right + 4)
            name = _("; ").join([_("layer {layer}").format(layer=layer), *values])
            drawing.spot(left, axes.top, right - left, axes.bottom - axes.top, layer, name)
    for curve in data.curves:
        for mark in curve.marks:
            at = axes.at(_x(mark, data.same_depth), mark.value)
            if mark.layer == layers.chosen:
                drawing.marker(at, "circle", colours[curve.run_id], 6, hollow=True)
            drawing.marker(at, "circle", colours[curve.run_id], 1.8)
            name = _("layer {layer}: {value}").format(layer=mark.layer, value=wording.number(mark.value))
            drawing.spot(at[0] - 5, at[1] - 5, 10, 10, mark.layer, f"{curve.name}, {name}")


def _name_ends(
    axes: Axes, data: ProfileData | CorrelatorData, colours: dict[str, str], right: float, width: float
) -> None:
    ends = [curve for curve in data.curves if curve.marks]
    wanted = [axes.at(0, curve.marks[-1].value)[1] for curve in ends]
    names = _names_at_ends([curve.name for curve in ends], width - right - 14)
    places = spread(wanted, 17, axes.top + 6, axes.bottom - 2)
    for curve, name, y in zip(ends, names, places, strict=True):
        axes.drawing.words((right + 9, y + 4), name, _LARGE, colours[curve.run_id], bold=True)


def _names_at_ends(names: Sequence[str], room: float) -> list[str]:
    return shortened_apart(names, lambda name: cut_to(name, _LARGE, room, bold=True))


def _key_rows(kinds: Sequence[str], has_post_norm: bool, language: str, width: float) -> list[list[str]]:
    """Which keys stand on which line beneath the axis; `post_norm` is the mark of the state after the norm."""
    rows: list[list[str]] = [[]]
    x = 12.0
    for kind in [*kinds, *(["post_norm"] if has_post_norm else [])]:
        long = 44 + text_width(_key_name(kind, language), _SMALL)
        if rows[-1] and x + long > width:
            rows.append([])
            x = 12.0
        rows[-1].append(kind)
        x += long
    return rows


def _key_name(kind: str, language: str) -> str:
    _ = translator(language)
    return _("final state, after the norm") if kind == "post_norm" else reference_name(kind, language)


def _keys(axes: Axes, rows: Sequence[Sequence[str]], language: str) -> None:
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
            name = _key_name(kind, language)
            drawing.words((x + 29, y + 4), name, _SMALL, drawing.theme.quiet)
            x += 44 + text_width(name, _SMALL)


def _described(data: ProfileData | CorrelatorData, turns: Sequence[Turn], language: str) -> str:
    """For who cannot see the picture: each curve's ends and turns with their values."""
    _ = translator(language)
    told = []
    for curve in data.curves:
        if not curve.marks:
            continue
        named = [(curve.marks[0].layer, curve.marks[0].value), (curve.marks[-1].layer, curve.marks[-1].value)]
        named += [(turn.layer, turn.value) for turn in turns if turn.run_id == curve.run_id]
        values = [
            _("layer {layer}: {value}").format(layer=layer, value=wording.number(value))
            for layer, value in sorted(set(named))
        ]
        told.append(f"{curve.name}: {_(', ').join(values)}")
    return _("; ").join(told)


def _wide(values: Sequence[float]) -> tuple[float, float]:
    """A range with a little room around it."""
    lowest, highest = min(values), max(values)
    room = 0.07 * (highest - lowest) or 0.1 * abs(highest) or 1.0
    return lowest - room, highest + room


def _name_dot(axes: Axes, dot: Dot, taken: list[tuple[float, float, float, float]]) -> None:
    """The name beside, above or below its dot, where it lies on nothing; not at all where there is no such place."""
    x, y = axes.at(dot.x, dot.y)
    long = text_width(dot.name, _SMALL)
    for left, base in ((x + 10, y + 4), (x - 10 - long, y + 4), (x - long / 2, y - 10), (x - long / 2, y + 19)):
        box = (left, base - _SMALL, left + long, base + 2)
        is_free = not any(
            box[0] < other[2] and other[0] < box[2] and box[1] < other[3] and other[1] < box[3] for other in taken
        )
        if is_free and axes.left <= left and left + long <= axes.drawing.width - 4:
            axes.drawing.words((left, base), dot.name, _SMALL)
            taken.append(box)
            return
