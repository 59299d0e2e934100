"""A slide's evidence as static SVG, for the HTML report and for the outlines on the report page."""

from __future__ import annotations

import html
import math
from collections.abc import Sequence
from dataclasses import replace

from core.deck.story import Axis, Block, Blocks, Chart, Gallery, Heading, Point, Series, StorySlide, Table
from core.figures.svg import LIGHT, Axes, Drawing, Theme, cut_to, spread, text_width, wrapped
from core.wording.numbers import number

BY_STYLE = Theme(
    "var(--paper)", "var(--text)", "var(--quiet)", "var(--grid)", tuple(f"var(--curve-{n})" for n in range(6))
)
"""Colours that the page around the picture gives, light or dark."""
WIDTH, HEIGHT = 760.0, 400.0
OUTLINE = (320.0, 180.0)
_MARKS = {
    "circle": ("circle", False),
    "open": ("circle", True),
    "diamond": ("diamond", False),
    "triangle": ("up", False),
}


def picture(
    drawn: Chart | Blocks | Gallery, language: str, theme: Theme = LIGHT, size: tuple[float, float] = (WIDTH, HEIGHT)
) -> str:
    """The SVG of a chart, of blocks or of a gallery; a point says its value where it is pointed at."""
    if isinstance(drawn, Gallery):
        return _gallery(drawn, language, theme, size[0])
    height = size[1] if isinstance(drawn, Chart) else 40.0 + 58 * -(-len(drawn.blocks) // _per_row(size[0]))
    drawing = Drawing(size[0], height, theme)
    if isinstance(drawn, Chart):
        _chart(drawing, drawn, (0, 0, size[0], height), 13)
    else:
        _blocks(drawing, drawn, (0, 0, size[0], height), 12)
    return drawing.svg(drawn.alternative, language=language)


def outline(slide: StorySlide, place: int, language: str, theme: Theme = LIGHT) -> str:
    """A small picture of a slide: its title in full, its statements as far as they go, its evidence in little."""
    drawing = Drawing(*OUTLINE, theme)
    width, height = OUTLINE
    corners = [(0.5, 0.5), (width - 0.5, 0.5), (width - 0.5, height - 0.5), (0.5, height - 0.5), (0.5, 0.5)]
    drawing.line(corners, theme.grid, 1)
    y = 8.0
    for line in _lines(slide.title, 11, width - 20, 3):
        y += 14
        drawing.words((10, y), line, 11, bold=True)
    y += 6
    drawing.line([(10, y), (width - 10, y)], theme.curves[0], 1.2)
    foot = height - 16
    has_picture = slide.evidence is not None
    room = 0.36 * width if has_picture else width - 20
    left = width - room - 8 if has_picture else 10
    edge = left - 18 if slide.statements else width - 18
    text_y = y
    for statement in slide.statements:
        said = f"{statement.label} {statement.text}".strip()
        size = 8.5 if statement.is_main else 7.5
        for line in _lines(said, size, room, 6 if has_picture else 3):
            if text_y + size + 3 > foot - 2:
                break
            text_y += size + 3
            drawing.words((left, text_y), line, size, bold=statement.is_main)
        text_y += 3
    if slide.evidence is not None:
        _little(drawing, slide, (9, y + 4, edge, foot - y - 6))
    drawing.words((10, height - 5), cut_to(slide.source, 6.5, width - 50), 6.5, theme.quiet)
    drawing.words((width - 10, height - 5), str(place), 8, theme.quiet, "end")
    return drawing.svg(slide.title, language=language)


def _lines(text: str, size: float, room: float, most: int) -> list[str]:
    lines = wrapped(text, size, room)
    return lines if len(lines) <= most else [*lines[: most - 1], f"{lines[most - 1].rstrip()[:-1]}…"]


def _little(drawing: Drawing, slide: StorySlide, box: tuple[float, float, float, float]) -> None:
    """Charts without words, the shape of what is shown; the first rows of a table."""
    drawn = slide.evidence
    left, top, width, height = box
    if isinstance(drawn, Chart):
        _curves(_axes(drawing, drawn, (left + 6, top + 4, width - 12, height - 10)), drawn, 1.4, 2.2, named=False)
    elif isinstance(drawn, Gallery):
        columns = math.ceil(math.sqrt(len(drawn.charts) * width / max(height, 1))) or 1
        rows = math.ceil(len(drawn.charts) / columns)
        for n, chart in enumerate(drawn.charts):
            across, down = width / columns, height / rows
            place = (left + across * (n % columns) + 2, top + down * (n // columns) + 2, across - 5, down - 5)
            _curves(_axes(drawing, chart, place), chart, 1, 1.2, named=False)
    elif isinstance(drawn, Blocks):
        _row_of_blocks(drawing, drawn.blocks, (left, top + height / 2 - 8, width, 16))
    elif isinstance(drawn, Table):
        heads = tuple(column.title for column in drawn.columns)
        for n, row in enumerate((heads, *drawn.rows)[: int(height / 11)]):
            y, x = top + 11 * n + 8, left
            drawing.line([(left, y + 3), (left + width, y + 3)], drawing.theme.grid, 0.6)
            for column, cell in zip(drawn.columns, (row.text,) if isinstance(row, Heading) else row, strict=False):
                room = width if isinstance(row, Heading) else width * column.share
                is_head = n == 0 or isinstance(row, Heading)
                drawing.words((x, y), cut_to(cell.replace("\n", " "), 6.5, room - 3), 6.5, bold=is_head)
                x += room


# --- charts ----------------------------------------------------------------------------------------------------


def _steps(axis: Axis) -> list[float]:
    n = min(round((axis.high - axis.low) / axis.step), 40) if axis.step > 0 else 0
    return [axis.low + axis.step * k for k in range(n + 1)]


def _written(value: float, axis: Axis) -> str:
    return f"{value:,.{axis.decimals}f}"


def _axes(drawing: Drawing, chart: Chart, box: tuple[float, float, float, float]) -> Axes:
    left, top, width, height = box
    up = (chart.y.high, chart.y.low) if chart.y.is_ordered else (chart.y.low, chart.y.high)  # places count from the top
    ranges = (chart.x.low, chart.x.high), up
    axes = Axes(drawing, left, top, left + width, top + height, *ranges)
    drawing.line([(left, top + height), (left + width, top + height)], drawing.theme.quiet, 1)
    return axes


def _chart(drawing: Drawing, chart: Chart, box: tuple[float, float, float, float], size: float) -> None:
    """With grid, numbers and titles, and names in the place that is kept for them on the right."""
    left, top, width, height = box
    theme = drawing.theme
    ends = [series.name for series in chart.series if series.is_named and series.is_line and series.name]
    kept = min(max((text_width(name, size, bold=True) for name in ends), default=0) + 14, 0.3 * width)
    marks = [_written(value, chart.y) for value in _steps(chart.y)]
    side = max((text_width(mark, size - 1) for mark in marks), default=20) + 12
    place = (left + side, top + 30, width - side - max(kept, 16), height - 30 - 46)
    axes = _axes(drawing, chart, place)
    for value, mark in zip(_steps(chart.y), marks, strict=True):
        if not chart.y.is_ordered:
            y = axes.at(chart.x.low, value)[1]
            drawing.line([(axes.left, y), (axes.right, y)], theme.grid, 1)
            drawing.words((axes.left - 7, y + 4), mark, size - 1, theme.quiet, "end")
    for value in _steps(chart.x):
        if not chart.x.is_ordered:
            x = axes.at(value, chart.y.low)[0]
            drawing.line([(x, axes.bottom), (x, axes.bottom + 4)], theme.quiet, 1)
            drawing.words((x, axes.bottom + size + 6), _written(value, chart.x), size - 1, theme.quiet, "middle")
    title = cut_to(chart.x.title, size - 1, width - 10)
    drawing.words(((axes.left + axes.right) / 2, axes.bottom + 2 * size + 11), title, size - 1, theme.quiet, "middle")
    drawing.words((left + 2, top + 15), cut_to(chart.y.title, size - 1, width - 6), size - 1, theme.quiet)
    for guide in chart.guides:
        if guide.is_vertical:
            ends_of = axes.at(guide.at, chart.y.low), axes.at(guide.at, chart.y.high)
        else:
            ends_of = axes.at(chart.x.low, guide.at), axes.at(chart.x.high, guide.at)
        drawing.line(ends_of, theme.quiet, 1.2, "5 4")
        if guide.is_vertical:
            x, y = ends_of[1]
            drawing.words((x - 4, y + 12), guide.name, size - 2, theme.quiet, "end")
        else:  # above its beginning, where no curve has come that far
            x, y = ends_of[0]
            drawing.words((x + 4, y - 5), guide.name, size - 2, theme.quiet)
    _curves(axes, chart, 2.4, 4.5, named=True, size=size)


def _curves(axes: Axes, chart: Chart, line: float, mark: float, named: bool, size: float = 13) -> None:
    taken: list[tuple[float, float, float, float]] = []
    for place, series in enumerate(chart.series):
        begun = len(axes.drawing.parts)
        colour = _colour(axes.drawing.theme, series)
        if series.is_banded and series.is_line:
            known = [point for point in series.points if point.lower is not None and point.upper is not None]
            above = [axes.at(point.x, point.upper or 0) for point in known]
            below = [axes.at(point.x, point.lower or 0) for point in reversed(known)]
            if len(known) > 1:
                axes.drawing.area([*above, *below], colour, 0.16)
        if series.is_line:
            dash = "" if series.colour is not None else "5 4"
            axes.drawing.line([axes.at(point.x, point.y) for point in series.points], colour, line, dash)
        elif not (series.is_line or series.mark == "none") or series.is_banded:
            for point in series.points:
                _bars(axes, point, colour)
        if series.mark != "none":
            kind, is_open = _MARKS[series.mark]
            for point in series.points:
                x, y = axes.at(point.x, point.y)
                axes.drawing.marker((x, y), kind, colour, mark, is_open)
                taken.append((x - mark - 2, y - mark - 2, x + mark + 2, y + mark + 2))
        if named:
            for point in series.points:
                _tell(axes, chart, series, point)
        _grouped(axes.drawing, begun, place)
    if named:
        _name_ends(axes, chart, size)
        for series in chart.series:
            for point in series.points:
                if point.name:
                    _name_point(axes, point, taken, size - 1)
            if series.is_named and not series.is_line and series.points and not series.points[-1].name:
                _name_point(axes, replace(series.points[-1], name=series.name), taken, size - 1)


def _grouped(drawing: Drawing, begun: int, place: int) -> None:
    """What was drawn since belongs to one series: a page dims the others where a pointer or the keyboard rests on it."""
    drawing.parts[begun:] = [f'<g class="s s{place}">', *drawing.parts[begun:], "</g>"]


def _colour(theme: Theme, series: Series) -> str:
    return theme.quiet if series.colour is None else theme.curves[series.colour % len(theme.curves)]


def _bars(axes: Axes, point: Point, colour: str) -> None:
    if point.lower is not None and point.upper is not None:
        axes.drawing.line([axes.at(point.x, point.lower), axes.at(point.x, point.upper)], colour, 1.3, opacity=0.7)
    if point.left is not None and point.right is not None:
        axes.drawing.line([axes.at(point.left, point.y), axes.at(point.right, point.y)], colour, 1.3, opacity=0.7)


def _tell(axes: Axes, chart: Chart, series: Series, point: Point) -> None:
    """What a pointer that rests on a point is told."""
    x, y = axes.at(point.x, point.y)
    interval = "" if point.lower is None or point.upper is None else f" [{number(point.lower)}, {number(point.upper)}]"
    place = "" if chart.x.is_ordered else f" ({point.x:,.{max(chart.x.decimals, 0)}f})"
    told = html.escape(f"{point.name or series.name}{place}: {number(point.y)}{interval}", quote=False)
    axes.drawing.parts.append(
        f'<circle cx="{x:.1f}" cy="{y:.1f}" r="8" fill-opacity="0"><title>{told}</title></circle>'
    )


def _name_ends(axes: Axes, chart: Chart, size: float) -> None:
    named = [series for series in chart.series if series.is_named and series.is_line and series.points and series.name]
    wanted = [axes.at(series.points[-1].x, series.points[-1].y)[1] for series in named]
    room = axes.drawing.width - axes.right - 10
    for series, y in zip(named, spread(wanted, size + 3, axes.top + 4, axes.bottom), strict=True):
        name, begun = cut_to(series.name, size, room, bold=True), len(axes.drawing.parts)
        axes.drawing.words((axes.right + 7, y + 4), name, size, _colour(axes.drawing.theme, series), bold=True)
        _grouped(axes.drawing, begun, chart.series.index(series))


def _name_point(axes: Axes, point: Point, taken: list[tuple[float, float, float, float]], size: float) -> None:
    """Where it lies on nothing; not at all where there is no such place: a pointer is told it."""
    x, y = axes.at(point.x, point.y)
    name = cut_to(point.name, size, 190)
    long = text_width(name, size)
    places = {"right": (x + 9, y + 4), "left": (x - 9 - long, y + 4), "above": (x - long / 2, y - 9)}
    places["below"] = (x - long / 2, y + 18)
    for left, base in (places[point.place], *places.values()):
        box = (left, base - size, left + long, base + 2)
        is_free = all(box[2] < one[0] or box[0] > one[2] or box[3] < one[1] or box[1] > one[3] for one in taken)
        if is_free and axes.left - 4 <= left and left + long <= axes.drawing.width - 2:
            axes.drawing.words((left, base), name, size)
            taken.append(box)
            return


# --- blocks and galleries --------------------------------------------------------------------------------------


def _per_row(width: float) -> int:
    return max(1, int(width // 34))


def _row_of_blocks(drawing: Drawing, blocks: Sequence[Block], box: tuple[float, float, float, float]) -> None:
    left, top, width, height = box
    each = width / max(len(blocks), 1)
    for n, block in enumerate(blocks):
        if block.is_removed:
            drawing.line(
                [(left + each * n + 1, top + height), (left + each * (n + 1) - 1, top)], drawing.theme.quiet, 1
            )
        else:
            drawing.box(left + each * n + 0.7, top, each - 1.4, height, drawing.theme.curves[0])


def _blocks(drawing: Drawing, drawn: Blocks, box: tuple[float, float, float, float], size: float) -> None:
    """Each block a field with its number; one that goes is empty, dashed and crossed; below it its price."""
    left, top, width, _height = box
    per_row, theme = _per_row(width), drawing.theme
    drawing.box(left + 4, top + 4, 12, 12, theme.curves[0])
    drawing.words((left + 21, top + 15), drawn.kept_name, size)
    x = left + 40 + text_width(drawn.kept_name, size)
    _crossed(drawing, x, top + 4, 12, 12)
    drawing.words((x + 18, top + 15), drawn.removed_name, size)
    for n, block in enumerate(drawn.blocks):
        x, y = left + 4 + 34 * (n % per_row), top + 28 + 58 * (n // per_row)
        if block.is_removed:
            _crossed(drawing, x, y, 30, 26)
        else:
            drawing.box(x, y, 30, 26, theme.curves[0], 0.85)
        drawing.parts.append(
            f'<text x="{x + 15:.1f}" y="{y + 17:.1f}" font-size="{size:g}" text-anchor="middle" '
            f'fill="{theme.text if block.is_removed else theme.paper}">{block.number}</text>'
        )
        if block.price is not None:
            drawing.words((x + 15, y + 40), f"{block.price:.3f}", size - 3, theme.quiet, "middle")


def _crossed(drawing: Drawing, x: float, y: float, width: float, height: float) -> None:
    corners = [(x, y), (x + width, y), (x + width, y + height), (x, y + height), (x, y)]
    drawing.line(corners, drawing.theme.quiet, 1.2, "3 2")
    drawing.line([(x, y + height), (x + width, y)], drawing.theme.quiet, 1, opacity=0.6)


def _gallery(drawn: Gallery, language: str, theme: Theme, width: float) -> str:
    columns = 2 if len(drawn.charts) <= 4 else 3 if len(drawn.charts) <= 12 else 5
    across, down = width / columns, 190.0 if columns < 5 else 128.0
    drawing = Drawing(width, down * math.ceil(len(drawn.charts) / columns) + 6, theme)
    for n, chart in enumerate(drawn.charts):
        left, top = across * (n % columns), down * (n // columns)
        drawing.words((left + 8, top + 17), cut_to(chart.y.title, 12, across - 16, bold=True), 12, bold=True)
        axes = _axes(drawing, chart, (left + 36, top + 26, across - 50, down - 54))
        for value in (chart.y.low, chart.y.high):
            drawing.words((axes.left - 5, axes.at(0, value)[1] + 4), _written(value, chart.y), 10, theme.quiet, "end")
        for value, anchor in ((chart.x.low, "start"), (chart.x.high, "end")):
            place = (axes.at(value, chart.y.low)[0], axes.bottom + 14)
            drawing.words(place, _written(value, chart.x), 10, theme.quiet, anchor)
        _curves(axes, chart, 1.8, 3, named=False)
        for series in chart.series:
            for point in series.points:
                _tell(axes, chart, series, point)
    return drawing.svg(drawn.alternative, language=language)
