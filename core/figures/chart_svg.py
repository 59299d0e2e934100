"""Charts, blocks and galleries as static SVG: for the HTML report, thumbnails, downloads and documents."""

from __future__ import annotations

import html
import math
from collections.abc import Sequence
from dataclasses import replace

from core.figures.chart import Axis, Block, Blocks, Chart, Gallery, Point, Series, has_room_at_its_end, point_text
from core.figures.labels import name_baseline, name_sides, spread_apart
from core.figures.svg import LIGHT, SMALL, Axes, Caption, Drawing, Theme, draw_source, draw_title
from core.figures.text import shorten_to_width, text_width, wrap_text

BY_STYLE = Theme(
    "var(--paper)", "var(--text)", "var(--quiet)", "var(--grid)", tuple(f"var(--curve-{n})" for n in range(6))
)
"""CSS variables of the surrounding page, light or dark."""
WIDTH, HEIGHT = 760.0, 400.0
_MARKS = {
    "circle": ("circle", False),
    "open": ("circle", True),
    "diamond": ("diamond", False),
    "triangle": ("up", False),
    "square": ("square", False),
    "plus": ("plus", False),
    "dash": ("dash", False),
}


def visual_svg(
    visual: Chart | Blocks | Gallery, theme: Theme = LIGHT, size: tuple[float, float] = (WIDTH, HEIGHT)
) -> str:
    """The SVG of a chart, of blocks or of a gallery; points show their value as a tooltip."""
    if isinstance(visual, Gallery):
        return _gallery(visual, theme, size[0])
    height = size[1] if isinstance(visual, Chart) else 40.0 + 58 * -(-len(visual.blocks) // _per_row(size[0]))
    drawing = Drawing(size[0], height, theme)
    if isinstance(visual, Chart):
        _draw_chart(drawing, visual, (0, 0, size[0], height), 13)
    else:
        _draw_blocks(drawing, visual, (0, 0, size[0], height), 12)
    return drawing.svg(visual.alternative)


def chart_svg(chart: Chart, caption: Caption, theme: Theme = LIGHT, size: tuple[float, float] = (960.0, 520.0)) -> str:
    """The SVG of a chart as a file that explains itself: title, details, what its marks mean, and source."""
    drawing = Drawing(*size, theme)
    top = draw_title(drawing, caption)
    keys = wrap_text(chart.key, SMALL, size[0] - 24)
    bottom = size[1] - 26 - 15 * len(keys)
    _draw_chart(drawing, chart, (10, top, size[0] - 20, bottom - top), 13)
    for n, line in enumerate(keys):
        drawing.text((12, bottom + 11 + 15 * n), line, SMALL, theme.quiet)
    draw_source(drawing, caption)
    return drawing.svg(caption.title, caption.subtitle)


# --- charts ----------------------------------------------------------------------------------------------------


def _tick_values(axis: Axis) -> list[float]:
    n = min(int((axis.high - axis.low) / axis.step + 1e-6), 40) if axis.step > 0 else 0
    return [axis.low + axis.step * k for k in range(n + 1)]


def _tick_label(value: float, axis: Axis) -> str:
    return f"{value:,.{axis.decimals}f}"


def draw_axes(drawing: Drawing, chart: Chart, box: tuple[float, float, float, float]) -> Axes:
    left, top, width, height = box
    up = (chart.y.high, chart.y.low) if chart.y.is_ordered else (chart.y.low, chart.y.high)  # places count from the top
    ranges = (chart.x.low, chart.x.high), up
    axes = Axes(drawing, left, top, left + width, top + height, *ranges)
    drawing.line([(left, top + height), (left + width, top + height)], drawing.theme.quiet, 1)
    return axes


def _draw_chart(drawing: Drawing, chart: Chart, box: tuple[float, float, float, float], size: float) -> None:
    """Draws a chart with grid, tick labels, titles, and names at the right ends of lines."""
    left, top, width, height = box
    theme = drawing.theme
    end_names = [series.name for series in chart.series if series.is_named and series.is_line and series.name]
    names_width = min(max((text_width(name, size, bold=True) for name in end_names), default=0) + 14, 0.3 * width)
    marks = [_tick_label(value, chart.y) for value in _tick_values(chart.y)]
    side = max((text_width(mark, size - 1) for mark in marks), default=20) + 12
    place = (left + side, top + 30, width - side - max(names_width, 16), height - 30 - 46)
    axes = draw_axes(drawing, chart, place)
    for value, mark in zip(_tick_values(chart.y), marks, strict=True):
        if not chart.y.is_ordered:
            y = axes.to_pixels(chart.x.low, value)[1]
            drawing.line([(axes.left, y), (axes.right, y)], theme.grid, 1)
            drawing.text((axes.left - 7, y + 4), mark, size - 1, theme.quiet, "end")
    for value in _tick_values(chart.x):
        if not chart.x.is_ordered:
            x = axes.to_pixels(value, chart.y.low)[0]
            drawing.line([(x, axes.bottom), (x, axes.bottom + 4)], theme.quiet, 1)
            drawing.text((x, axes.bottom + size + 6), _tick_label(value, chart.x), size - 1, theme.quiet, "middle")
    title = shorten_to_width(chart.x.title, size - 1, width - 10)
    drawing.text(((axes.left + axes.right) / 2, axes.bottom + 2 * size + 11), title, size - 1, theme.quiet, "middle")
    drawing.text((left + 2, top + 15), shorten_to_width(chart.y.title, size - 1, width - 6), size - 1, theme.quiet)
    for guide in chart.guides:
        if guide.is_vertical:
            endpoints = axes.to_pixels(guide.at, chart.y.low), axes.to_pixels(guide.at, chart.y.high)
        else:
            endpoints = axes.to_pixels(chart.x.low, guide.at), axes.to_pixels(chart.x.high, guide.at)
        drawing.line(endpoints, theme.quiet, 1.2, "5 4")
        if guide.is_vertical:
            x, y = endpoints[1]
            drawing.text((x - 4, y + 12), guide.name, size - 2, theme.quiet, "end")
        else:
            is_right = has_room_at_its_end(guide, chart)
            x, y = endpoints[is_right]
            start = x - 4 if is_right else x + 4
            drawing.text((start, y - 5), guide.name, size - 2, theme.quiet, "end" if is_right else "start")
    draw_series(axes, chart, 2.4, 4.5, with_names=True, size=size)


def draw_series(axes: Axes, chart: Chart, line: float, mark: float, with_names: bool, size: float = 13) -> None:
    for place, series in enumerate(chart.series):
        first_part = len(axes.drawing.parts)
        colour = _colour(axes.drawing.theme, series)
        if series.is_banded and series.is_line:
            banded_points = [point for point in series.points if point.lower is not None and point.upper is not None]
            above = [axes.to_pixels(point.x, point.upper or 0) for point in banded_points]
            below = [axes.to_pixels(point.x, point.lower or 0) for point in reversed(banded_points)]
            if len(banded_points) > 1:
                axes.drawing.area([*above, *below], colour, 0.16)
        if series.is_line:
            dash = "" if series.colour is not None else "5 4"
            axes.drawing.line([axes.to_pixels(point.x, point.y) for point in series.points], colour, line, dash)
        elif not (series.is_line or series.mark == "none") or series.is_banded:
            for point in series.points:
                _draw_error_bars(axes, point, colour)
        if series.mark != "none":
            kind, is_open = _MARKS[series.mark]
            for point in series.points:
                x, y = axes.to_pixels(point.x, point.y)
                axes.drawing.marker((x, y), kind, colour, mark, is_open)
        if with_names:
            for point in series.points:
                _add_tooltip(axes, chart, series, point)
        _group_series(axes.drawing, first_part, place)
    if with_names:
        _label_line_ends(axes, chart, size)
        _name_points(axes, chart, size - 1)


def _group_series(drawing: Drawing, first_part: int, place: int) -> None:
    """Groups the parts since `first_part` as one series: a page dims the others while it is hovered or focused."""
    drawing.parts[first_part:] = [f'<g class="s s{place}">', *drawing.parts[first_part:], "</g>"]


def _colour(theme: Theme, series: Series) -> str:
    return theme.quiet if series.colour is None else theme.curves[series.colour % len(theme.curves)]


def _draw_error_bars(axes: Axes, point: Point, colour: str) -> None:
    if point.lower is not None and point.upper is not None:
        axes.drawing.line(
            [axes.to_pixels(point.x, point.lower), axes.to_pixels(point.x, point.upper)], colour, 1.3, opacity=0.7
        )
    if point.left is not None and point.right is not None:
        axes.drawing.line(
            [axes.to_pixels(point.left, point.y), axes.to_pixels(point.right, point.y)], colour, 1.3, opacity=0.7
        )


def _add_tooltip(axes: Axes, chart: Chart, series: Series, point: Point) -> None:
    """An invisible circle over the point with its value as a tooltip."""
    x, y = axes.to_pixels(point.x, point.y)
    tooltip = html.escape(point_text(chart, series, point), quote=False)
    axes.drawing.parts.append(
        f'<circle cx="{x:.1f}" cy="{y:.1f}" r="8" fill-opacity="0"><title>{tooltip}</title></circle>'
    )


def _label_line_ends(axes: Axes, chart: Chart, size: float) -> None:
    named_series = [
        series for series in chart.series if series.is_named and series.is_line and series.points and series.name
    ]
    heights = [axes.to_pixels(series.points[-1].x, series.points[-1].y)[1] for series in named_series]
    room = axes.drawing.width - axes.right - 10
    for series, y in zip(named_series, spread_apart(heights, size + 3, axes.top + 4, axes.bottom), strict=True):
        name, first_part = shorten_to_width(series.name, size, room, bold=True), len(axes.drawing.parts)
        axes.drawing.text((axes.right + 7, y + 4), name, size, _colour(axes.drawing.theme, series), bold=True)
        _group_series(axes.drawing, first_part, chart.series.index(series))


def _name_points(axes: Axes, chart: Chart, size: float) -> None:
    """Writes names of points, and of marks without a line, where they lie on nothing; elsewhere only the tooltip shows them."""
    points = []
    for series in chart.series:
        is_named = series.is_named and not series.is_line
        for point in series.points:
            name = point.name or (series.name if is_named and point is series.points[-1] else "")
            points.append(replace(point, name=shorten_to_width(name, size, 190)))
    edges = (axes.left - 4, axes.top - 20, axes.drawing.width - 2, axes.bottom)
    sides = name_sides(points, axes.to_pixels, edges, size)
    for point, side in zip(points, sides, strict=True):
        if side:
            place, anchor = name_baseline(axes.to_pixels(point.x, point.y), side, size)
            axes.drawing.text(place, point.name, size, anchor=anchor)


# --- blocks and galleries --------------------------------------------------------------------------------------


def _per_row(width: float) -> int:
    return max(1, int(width // 34))


def draw_block_thumbnails(drawing: Drawing, blocks: Sequence[Block], box: tuple[float, float, float, float]) -> None:
    left, top, width, height = box
    block_width = width / max(len(blocks), 1)
    for n, block in enumerate(blocks):
        if block.is_removed:
            drawing.line(
                [(left + block_width * n + 1, top + height), (left + block_width * (n + 1) - 1, top)],
                drawing.theme.quiet,
                1,
            )
        else:
            drawing.box(left + block_width * n + 0.7, top, block_width - 1.4, height, drawing.theme.curves[0])


def _draw_blocks(drawing: Drawing, row_of_blocks: Blocks, box: tuple[float, float, float, float], size: float) -> None:
    """Each block as a box with its number and its price below; removed ones are empty, dashed and crossed out."""
    left, top, width, _height = box
    per_row, theme = _per_row(width), drawing.theme
    drawing.box(left + 4, top + 4, 12, 12, theme.curves[0])
    drawing.text((left + 21, top + 15), row_of_blocks.kept_name, size)
    x = left + 40 + text_width(row_of_blocks.kept_name, size)
    _draw_crossed_box(drawing, x, top + 4, 12, 12)
    drawing.text((x + 18, top + 15), row_of_blocks.removed_name, size)
    for n, block in enumerate(row_of_blocks.blocks):
        x, y = left + 4 + 34 * (n % per_row), top + 28 + 58 * (n // per_row)
        if block.is_removed:
            _draw_crossed_box(drawing, x, y, 30, 26)
        else:
            drawing.box(x, y, 30, 26, theme.curves[0], 0.85)
        drawing.parts.append(
            f'<text x="{x + 15:.1f}" y="{y + 17:.1f}" font-size="{size:g}" text-anchor="middle" '
            f'fill="{theme.text if block.is_removed else theme.paper}">{block.number}</text>'
        )
        if block.price is not None:
            drawing.text((x + 15, y + 40), f"{block.price:.3f}", size - 3, theme.quiet, "middle")


def _draw_crossed_box(drawing: Drawing, x: float, y: float, width: float, height: float) -> None:
    corners = [(x, y), (x + width, y), (x + width, y + height), (x, y + height), (x, y)]
    drawing.line(corners, drawing.theme.quiet, 1.2, "3 2")
    drawing.line([(x, y + height), (x + width, y)], drawing.theme.quiet, 1, opacity=0.6)


def _gallery(gallery: Gallery, theme: Theme, width: float) -> str:
    columns = 2 if len(gallery.charts) <= 4 else 3 if len(gallery.charts) <= 12 else 5
    across, down = width / columns, 190.0 if columns < 5 else 128.0
    drawing = Drawing(width, down * math.ceil(len(gallery.charts) / columns) + 6, theme)
    for n, chart in enumerate(gallery.charts):
        left, top = across * (n % columns), down * (n // columns)
        drawing.text((left + 8, top + 17), shorten_to_width(chart.y.title, 12, across - 16, bold=True), 12, bold=True)
        axes = draw_axes(drawing, chart, (left + 36, top + 26, across - 50, down - 54))
        for value in (chart.y.low, chart.y.high):
            drawing.text(
                (axes.left - 5, axes.to_pixels(0, value)[1] + 4), _tick_label(value, chart.y), 10, theme.quiet, "end"
            )
        for value, anchor in ((chart.x.low, "start"), (chart.x.high, "end")):
            place = (axes.to_pixels(value, chart.y.low)[0], axes.bottom + 14)
            drawing.text(place, _tick_label(value, chart.x), 10, theme.quiet, anchor)
        draw_series(axes, chart, 1.8, 3, with_names=False)
        for series in chart.series:
            for point in series.points:
                _add_tooltip(axes, chart, series, point)
    return drawing.svg(gallery.alternative)
