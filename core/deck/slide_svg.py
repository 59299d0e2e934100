"""Visuals and thumbnails of slides as static SVG, for the HTML report and the report page."""

from __future__ import annotations

import html
import math
from collections.abc import Sequence
from dataclasses import replace

from core.deck.layout import has_room_at_its_end
from core.deck.story import Heading, StorySlide, Table
from core.figures.chart import Axis, Block, Blocks, Chart, Gallery, Point, Series, point_text
from core.figures.labels import name_baseline, name_sides, spread_apart
from core.figures.svg import LIGHT, Axes, Drawing, Theme
from core.figures.text import shorten_to_width, text_width, wrap_text

BY_STYLE = Theme(
    "var(--paper)", "var(--text)", "var(--quiet)", "var(--grid)", tuple(f"var(--curve-{n})" for n in range(6))
)
"""CSS variables of the surrounding page, light or dark."""
WIDTH, HEIGHT = 760.0, 400.0
OUTLINE = (320.0, 180.0)
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


def slide_outline(slide: StorySlide, place: int) -> str:
    """A thumbnail of a slide: its whole title, as much of its statements as fits, and a small version of its visual."""
    drawing = Drawing(*OUTLINE, LIGHT)
    width, height = OUTLINE
    corners = [(0.5, 0.5), (width - 0.5, 0.5), (width - 0.5, height - 0.5), (0.5, height - 0.5), (0.5, 0.5)]
    drawing.line(corners, LIGHT.grid, 1)
    y = 8.0
    for line in _wrap(slide.title, 11, width - 34, 3, bold=True):
        y += 14
        drawing.text((10, y), line, 11, bold=True)
    y += 6
    drawing.line([(10, y), (width - 10, y)], LIGHT.curves[0], 1.2)
    foot = height - 16
    has_picture = slide.visual is not None
    room = 0.36 * width if has_picture else width - 20
    left = width - room - 8 if has_picture else 10
    edge = left - 18 if slide.statements else width - 18
    text_y = y
    for statement in slide.statements:
        text = f"{statement.label} {statement.text}".strip()
        size = 8.5 if statement.is_main else 7.5
        for line in _wrap(text, size, room, 6 if has_picture else 3, bold=statement.is_main):
            if text_y + size + 3 > foot - 2:
                break
            text_y += size + 3
            drawing.text((left, text_y), line, size, bold=statement.is_main)
        text_y += 3
    if slide.visual is not None:
        _draw_thumbnail(drawing, slide, (9, y + 4, edge, foot - y - 6))
    drawing.text((10, height - 5), shorten_to_width(slide.source, 6.5, width - 50), 6.5, LIGHT.quiet)
    drawing.text((width - 10, height - 5), str(place), 8, LIGHT.quiet, "end")
    return drawing.svg(slide.title)


def _wrap(text: str, size: float, room: float, most: int, bold: bool) -> list[str]:
    lines = wrap_text(text, size, room, bold)
    return lines if len(lines) <= most else [*lines[: most - 1], f"{lines[most - 1].rstrip()[:-1]}…"]


def _draw_thumbnail(drawing: Drawing, slide: StorySlide, box: tuple[float, float, float, float]) -> None:
    """Draws charts without text, and of a table the first rows."""
    visual = slide.visual
    left, top, width, height = box
    if isinstance(visual, Chart):
        _draw_series(
            _draw_axes(drawing, visual, (left + 6, top + 4, width - 12, height - 10)),
            visual,
            1.4,
            2.2,
            with_names=False,
        )
    elif isinstance(visual, Gallery):
        columns = math.ceil(math.sqrt(len(visual.charts) * width / max(height, 1))) or 1
        rows = math.ceil(len(visual.charts) / columns)
        for n, chart in enumerate(visual.charts):
            across, down = width / columns, height / rows
            place = (left + across * (n % columns) + 2, top + down * (n // columns) + 2, across - 5, down - 5)
            _draw_series(_draw_axes(drawing, chart, place), chart, 1, 1.2, with_names=False)
    elif isinstance(visual, Blocks):
        _draw_block_thumbnails(drawing, visual.blocks, (left, top + height / 2 - 8, width, 16))
    elif isinstance(visual, Table):
        heads = tuple(column.title for column in visual.columns)
        for n, row in enumerate((heads, *visual.rows)[: int(height / 11)]):
            y, x = top + 11 * n + 8, left
            drawing.line([(left, y + 3), (left + width, y + 3)], drawing.theme.grid, 0.6)
            for column, cell in zip(visual.columns, (row.text,) if isinstance(row, Heading) else row, strict=False):
                room = width if isinstance(row, Heading) else width * column.share
                is_head = n == 0 or isinstance(row, Heading)
                drawing.text((x, y), shorten_to_width(cell.replace("\n", " "), 6.5, room - 3), 6.5, bold=is_head)
                x += room


# --- charts ----------------------------------------------------------------------------------------------------


def _tick_values(axis: Axis) -> list[float]:
    n = min(round((axis.high - axis.low) / axis.step), 40) if axis.step > 0 else 0
    return [axis.low + axis.step * k for k in range(n + 1)]


def _tick_label(value: float, axis: Axis) -> str:
    return f"{value:,.{axis.decimals}f}"


def _draw_axes(drawing: Drawing, chart: Chart, box: tuple[float, float, float, float]) -> Axes:
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
    axes = _draw_axes(drawing, chart, place)
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
    _draw_series(axes, chart, 2.4, 4.5, with_names=True, size=size)


def _draw_series(axes: Axes, chart: Chart, line: float, mark: float, with_names: bool, size: float = 13) -> None:
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


def _draw_block_thumbnails(drawing: Drawing, blocks: Sequence[Block], box: tuple[float, float, float, float]) -> None:
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
        axes = _draw_axes(drawing, chart, (left + 36, top + 26, across - 50, down - 54))
        for value in (chart.y.low, chart.y.high):
            drawing.text(
                (axes.left - 5, axes.to_pixels(0, value)[1] + 4), _tick_label(value, chart.y), 10, theme.quiet, "end"
            )
        for value, anchor in ((chart.x.low, "start"), (chart.x.high, "end")):
            place = (axes.to_pixels(value, chart.y.low)[0], axes.bottom + 14)
            drawing.text(place, _tick_label(value, chart.x), 10, theme.quiet, anchor)
        _draw_series(axes, chart, 1.8, 3, with_names=False)
        for series in chart.series:
            for point in series.points:
                _add_tooltip(axes, chart, series, point)
    return drawing.svg(gallery.alternative)
