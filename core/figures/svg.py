"""Charts, blocks and galleries as static SVG, for thumbnails, downloads, documents and HTML reports, where no script runs.

First what draws lines, areas, marks and text; then the charts. Sizes are in pixels of the drawing.
"""

from __future__ import annotations

import html
import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import groupby

from core.figures.chart import Axis, Blocks, Chart, Gallery, Mark, Point, Series, point_text, value_text
from core.figures.text import Position, name_baseline, name_sides, shorten_to_width, spread_apart, text_width, wrap_text
from core.locale import spoken
from core.wording.labels import distinct_short_names

FONT = "system-ui, 'Segoe UI', 'Noto Sans', 'Noto Sans CJK JP', 'Hiragino Sans', Meiryo, sans-serif"


@dataclass(frozen=True)
class Theme:
    """Colours of a drawing; curves have a contrast of at least 3:1 on the paper."""

    paper: str
    text: str
    quiet: str
    grid: str
    curves: tuple[str, ...]


LIGHT = Theme(
    "#FFFFFF", "#1F2933", "#5F6B76", "#E3E7EC", ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#6B4A00", "#4B2E83")
)
"""Curves: the first four colours of Okabe and Ito, then a brown and a violet, because their yellow and sky blue are too pale
for lines on white. All can be distinguished with the common colour blindnesses."""
DARK = Theme(
    "#0E1117", "#E6EAEE", "#A3AEB9", "#2B333C", ("#56B4E9", "#E69F00", "#2BBF8F", "#E6A0C4", "#D9C27E", "#B39DDB")
)
THEMES = {"light": LIGHT, "dark": DARK}


CORNERS = {
    "diamond": "0,-1.2 1.2,0 0,1.2 -1.2,0",
    "square": "-0.9,-0.9 0.9,-0.9 0.9,0.9 -0.9,0.9",
    "triangle": "0,-1.15 1.05,0.8 -1.05,0.8",
    "hollow": "0,-1.15 1.05,0.8 -1.05,0.8",
    "down": "0,1.15 1.05,-0.8 -1.05,-0.8",
    "plus": "-.35,-1.1 .35,-1.1 .35,-.35 1.1,-.35 1.1,.35 .35,.35 .35,1.1 -.35,1.1 -.35,.35 -1.1,.35 -1.1,-.35 -.35,-.35",
    "dash": "-1.1,-0.4 1.1,-0.4 1.1,0.4 -1.1,0.4",
}
"""Of marks that are no circles, as SVG writes them, of size 1 around 0."""


@dataclass
class Drawing:
    """SVG parts in drawing order: later parts lie over earlier ones."""

    width: float
    height: float
    theme: Theme = LIGHT
    parts: list[str] = field(default_factory=list)

    def line(
        self, points: Sequence[Position], colour: str, width: float = 2, dash: str = "", opacity: float = 1
    ) -> None:
        """Through two points and more."""
        if len(points) < 2:
            return
        way = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
        more = (f' stroke-dasharray="{dash}"' if dash else "") + (f' opacity="{opacity:g}"' if opacity != 1 else "")
        self.parts.append(
            f'<polyline points="{way}" fill="none" stroke="{colour}" stroke-width="{width:g}" '
            f'stroke-linejoin="round"{more}/>'
        )

    def area(self, points: Sequence[Position], colour: str, opacity: float = 0.18) -> None:
        """A filled polygon."""
        way = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
        self.parts.append(f'<polygon points="{way}" fill="{colour}" fill-opacity="{opacity:g}"/>')

    def box(self, x: float, y: float, width: float, height: float, colour: str, opacity: float = 1) -> None:
        self.parts.append(
            f'<rect x="{x:.1f}" y="{y:.1f}" width="{max(width, 0):.1f}" height="{max(height, 0):.1f}" fill="{colour}"'
            + (f' fill-opacity="{opacity:g}"/>' if opacity != 1 else "/>")
        )

    def frame(self, x: float, y: float, width: float, height: float, colour: str, line: float, dash: str = "") -> None:
        self.line([(x, y), (x + width, y), (x + width, y + height), (x, y + height), (x, y)], colour, line, dash)

    def marker(self, position: Position, mark: Mark, colour: str, size: float = 5) -> None:
        """`open` and `hollow` ones show the paper."""
        x, y = position
        fill = self.theme.paper if mark in ("open", "hollow") else colour
        style = f'fill="{fill}" stroke="{colour}" stroke-width'
        if mark in ("circle", "open"):
            self.parts.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{size:g}" {style}="1.6"/>')
            return
        at = f"translate({x:.1f} {y:.1f}) scale({size:g})"
        self.parts.append(f'<polygon points="{CORNERS[mark]}" transform="{at}" {style}="{1.6 / size:.3g}"/>')

    def text(
        self,
        position: Position,
        text: str,
        size: float = 13,
        colour: str = "",
        anchor: str = "start",
        bold: bool = False,
    ) -> None:
        """A line of text on its baseline."""
        x, y = position
        more = ' font-weight="600"' if bold else ""
        self.parts.append(
            f'<text x="{x:.1f}" y="{y:.1f}" font-size="{size:g}" fill="{colour or self.theme.text}" '
            f'text-anchor="{anchor}" paint-order="stroke" stroke="{self.theme.paper}" stroke-width="3" '
            f'stroke-linejoin="round"{more}>{html.escape(text, quote=False)}</text>'
        )

    def svg(self, title: str, description: str = "") -> str:
        """The drawing as an SVG file; title and description are for screen readers."""
        head = f"<title>{html.escape(title, quote=False)}</title>"
        if description:
            head += f"<desc>{html.escape(description, quote=False)}</desc>"
        return (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {self.width:g} {self.height:g}" '
            f'width="{self.width:g}" height="{self.height:g}" role="img" lang="{spoken()}" font-family="{FONT}">{head}'
            f'<rect width="100%" height="100%" fill="{self.theme.paper}"/>{"".join(self.parts)}</svg>'
        )


@dataclass(frozen=True)
class Plot:
    """A box of a drawing and the axes along its edges."""

    drawing: Drawing
    left: float
    top: float
    right: float
    bottom: float
    x: Axis
    y: Axis

    def to_pixels(self, x: float, y: float) -> Position:
        """The position of a value; values outside are moved to the edge."""
        across, up = (min(max(axis.share(value), 0), 1) for axis, value in ((self.x, x), (self.y, y)))
        up = 1 - up if self.y.is_ordered else up  # places count from the top
        return self.left + across * (self.right - self.left), self.bottom - up * (self.bottom - self.top)


# --- whole pictures ----------------------------------------------------------------------------------------------

Box = tuple[float, float, float, float]
"""Left, top, width, height."""
Ticks = list[tuple[float, str]]
BY_STYLE = Theme(
    "var(--paper)", "var(--text)", "var(--quiet)", "var(--grid)", tuple(f"var(--curve-{n})" for n in range(6))
)
"""CSS variables of the surrounding page, light or dark."""
WIDTH, HEIGHT = 760.0, 400.0
SMALL = 11.0


@dataclass(frozen=True)
class Caption:
    """Texts around a chart."""

    title: str
    subtitle: str = ""
    """Below the title: text, protocol, sample size."""
    source: str = ""
    """At the bottom: where the numbers come from."""


def visual_svg(
    visual: Chart | Blocks | Gallery, theme: Theme = LIGHT, size: tuple[float, float] = (WIDTH, HEIGHT)
) -> str:
    """The SVG of a chart, of blocks or of a gallery; points show their value as a tooltip."""
    drawing = Drawing(*size, theme)
    if isinstance(visual, Chart):
        _draw_chart(drawing, visual, (0, 0, *size), 13)
    elif isinstance(visual, Gallery):
        drawing.height = _gallery_height(visual, size[0]) + 6
        _draw_gallery(drawing, visual, (0, 0, size[0], drawing.height))
    else:
        drawing.height = _draw_blocks(drawing, visual, 12)
    return drawing.svg(visual.alternative)


def chart_svg(
    visual: Chart | Gallery, caption: Caption, theme: Theme = LIGHT, size: tuple[float, float] = (960.0, 520.0)
) -> str:
    """The SVG as a file that explains itself: title, details, what its marks mean, and source; galleries have their height."""
    drawing = Drawing(*size, theme)
    top = _draw_title(drawing, caption)
    keys = wrap_text(visual.key, SMALL, size[0] - 24)
    if isinstance(visual, Gallery):
        drawing.height = top + _gallery_height(visual, size[0] - 20) + 26 + 15 * len(keys)
    bottom = drawing.height - 26 - 15 * len(keys)
    box = (10, top, size[0] - 20, bottom - top)
    if isinstance(visual, Gallery):
        _draw_gallery(drawing, visual, box)
    elif visual.points:
        _draw_chart(drawing, visual, box, 13)
    else:
        drawing.text((size[0] / 2, size[1] / 2), visual.alternative, 15, anchor="middle")
    for n, line in enumerate(keys):
        drawing.text((12, bottom + 11 + 15 * n), line, SMALL, theme.quiet)
    source = shorten_to_width(caption.source, SMALL, size[0] - 24)
    drawing.text((12, drawing.height - 9), source, SMALL, theme.quiet)
    return drawing.svg(caption.title, visual.alternative or caption.subtitle)


def _draw_title(drawing: Drawing, caption: Caption) -> float:
    """Draws title and subtitle; returns the y position where they end."""
    y = 12.0
    for line in wrap_text(caption.title, 17, drawing.width - 24, bold=True):
        y += 18
        drawing.text((12, y), line, 17, bold=True)
        y += 4
    for line in wrap_text(caption.subtitle, 12, drawing.width - 24):
        y += 16
        drawing.text((12, y), line, 12, drawing.theme.quiet)
    return y + 8


# --- charts ----------------------------------------------------------------------------------------------------

MOST_NAME_SHARE = 0.5
"""Of the width, for the names of rows."""
NARROWEST_ENDS = 110.0
"""Pixels that the names at the ends of lines may take on a phone too: a control is known by its name alone."""
_DASHES = {"dash": "5 4", "dot": "2 3", "dashdot": "8 3 2 3", "longdash": "10 4", "longdashdot": "10 3 2 3"}


def _draw_axes(drawing: Drawing, chart: Chart, box: Box, ticks: Sequence[Ticks], size: float) -> Plot:
    """The lines of a grid and what is marked along both axes, across and upwards."""
    left, top, width, height = box
    quiet = drawing.theme.quiet
    plot = Plot(drawing, left, top, left + width, top + height, chart.x, chart.y)
    drawing.line([(plot.left, plot.bottom), (plot.right, plot.bottom)], quiet, 1)
    for value, mark in ticks[1]:
        y = plot.to_pixels(chart.x.low, value)[1]
        drawing.line([(plot.left, y), (plot.right, y)], drawing.theme.grid, 1)
        drawing.text((plot.left - 7, y + 4), mark, size, quiet, "end")
    for value, mark in ticks[0]:
        x = plot.to_pixels(value, chart.y.low)[0]
        drawing.line([(x, plot.bottom), (x, plot.bottom + 4)], quiet, 1)
        drawing.text((x, plot.bottom + size + 7), mark, size, quiet, "middle")
    return plot


def _draw_chart(drawing: Drawing, chart: Chart, box: Box, size: float) -> None:
    """Draws a chart with grid, tick labels, titles, and names at the right ends of lines."""
    left, top, width, height = box
    theme = drawing.theme
    ends = [text_width(name, *style) for name, style in _line_ends(chart, size).values()]
    names_width = min(max(ends, default=0) + 19, max(0.3 * width, NARROWEST_ENDS))
    marks = [(value, shorten_to_width(mark, size - 1, MOST_NAME_SHARE * width)) for value, mark in chart.y.ticks()]
    side = max((text_width(mark, size - 1) for _value, mark in marks), default=20) + 12
    across = wrap_text(chart.x.title, size - 1, width - 10) or [""]
    upward = wrap_text(chart.y.title.replace("\n", " · "), size - 1, width - 6) or [""]
    line = size + 2
    above, below = 30 + line * (len(upward) - 1), 46 + line * (len(across) - 1)
    place = (left + side, top + above, width - side - max(names_width, 16), height - above - below)
    across_ticks = _fitting_ticks(chart.x.ticks(), size - 1, place[2])
    plot = _draw_axes(drawing, chart, place, (across_ticks, marks), size - 1)
    for span in chart.spans:
        start, end = (plot.to_pixels(value, chart.y.low)[0] for value in (span.low, span.high))
        drawing.box(start, plot.top, end - start, plot.bottom - plot.top, theme.quiet, 0.08)
        drawing.text(((start + end) / 2, plot.top + 13), span.name, SMALL, theme.quiet, "middle")
    for row, title in enumerate(across):
        middle = min(max((plot.left + plot.right) / 2, left + text_width(title, size - 1) / 2 + 4), left + width)
        drawing.text((middle, plot.bottom + 2 * size + 11 + line * row), title, size - 1, theme.quiet, "middle")
    for row, title in enumerate(upward):
        drawing.text((left + 2, top + 15 + line * row), title, size - 1, theme.quiet)
    for guide in chart.guides:
        endpoints = [plot.to_pixels(*end) for end in guide.ends(chart)]
        drawing.line(endpoints, theme.quiet, 1.2, "5 4")
        x, y = min(endpoints, key=lambda end: end[1])  # rows and reversed axes count from the top
        at, anchor = ((x - 4, y + 12), "end") if guide.is_vertical else ((plot.left + 4, y - 5), "start")
        drawing.text(at, guide.name, size - 2, theme.quiet, anchor)
    draw_series(plot, chart, 2.4, 4.5, size)


def _fitting_ticks(ticks: Ticks, size: float, room: float) -> Ticks:
    """Every tick, or of many every second or third: those whose marks have room beside each other."""
    widest = max((text_width(mark, size) for _value, mark in ticks), default=0.0) + 8
    return ticks[:: math.ceil(len(ticks) * widest / room) or 1]


def draw_series(
    plot: Plot, chart: Chart, line: float, mark: float, size: float = 13, right: float | None = None
) -> None:
    """With names at the ends of lines, and beside points up to `right`, or up to the edge of the drawing."""

    def is_within(point: Point) -> bool:
        return point.y <= chart.y.high or chart.y.is_ordered

    _draw_strips(plot, chart)
    for place, series in enumerate(chart.series):
        first_part = len(plot.drawing.parts)
        colour = _colour(plot.drawing.theme, series)
        if series.is_banded and series.is_line:
            banded_points = [point for point in series.points if point.lower is not None and point.upper is not None]
            above = [plot.to_pixels(point.x, point.upper or 0) for point in banded_points]
            below = [plot.to_pixels(point.x, point.lower or 0) for point in reversed(banded_points)]
            if len(banded_points) > 1:
                plot.drawing.area([*above, *below], colour, 0.16)
        points = list(filter(is_within, series.points))
        if series.is_line:
            dash = _DASHES.get(series.dash, "" if series.colour is not None else "5 4")
            for is_drawn, piece in groupby(series.points, is_within):
                way = [plot.to_pixels(point.x, point.y) for point in piece] if is_drawn else []
                plot.drawing.line(way, colour, 1.2 if series.dash else line, dash)
        elif series.mark != "none" or series.is_banded:
            for ends in (ends for point in points for ends in point.intervals()):
                plot.drawing.line([plot.to_pixels(*end) for end in ends], colour, 1.3, opacity=0.7)
        for point in points:
            if series.mark != "none":
                plot.drawing.marker(plot.to_pixels(point.x, point.y), series.mark, colour, mark)
            _add_tooltip(plot, chart, series, point)
        _group_series(plot.drawing, first_part, place)
    _label_line_ends(plot, chart, size)
    _name_points(plot, chart, size - 1, right or plot.drawing.width - 2)


def _draw_strips(plot: Plot, chart: Chart) -> None:
    """Over each layer that can be clicked on, so that nobody has to hit a point: its values as a tooltip."""
    texts: dict[float, dict[str, None]] = {}
    for series in chart.series:
        for point in series.points if series.is_line else ():  # marks upon a line repeat its values
            if point.layer == point.x:
                texts.setdefault(point.x, {})[point_text(chart, series, point)] = None
    half = (plot.right - plot.left) / max(len(texts) - 1, 1) / 2
    # At relative depths only layer 0 lies at its own number: no strips then.
    for layer, told in texts.items() if len(texts) > 1 else ():
        x = plot.to_pixels(layer, chart.y.low)[0]
        start, end = max(x - half, plot.left), min(x + half, plot.right)  # not over the numbers beside the axis
        plot.drawing.parts.append(
            f'<rect x="{start:.1f}" y="{plot.top:.1f}" width="{end - start:.1f}" height="{plot.bottom - plot.top:.1f}" '
            f'fill-opacity="0" data-layer="{layer}"><title>{html.escape("; ".join(told), quote=False)}</title></rect>'
        )


def _group_series(drawing: Drawing, first_part: int, place: int) -> None:
    """Groups the parts since `first_part` as one series: a page dims the others while it is hovered or focused."""
    drawing.parts[first_part:] = [f'<g class="s s{place}">', *drawing.parts[first_part:], "</g>"]


def _colour(theme: Theme, series: Series) -> str:
    return theme.quiet if series.colour is None else theme.curves[series.colour % len(theme.curves)]


def _add_tooltip(plot: Plot, chart: Chart, series: Series, point: Point) -> None:
    """An invisible circle over the point with its value as a tooltip; a click on it may choose a layer."""
    x, y = plot.to_pixels(point.x, point.y)
    tooltip = html.escape(point_text(chart, series, point), quote=False)
    chosen = "" if point.layer is None else f' data-layer="{point.layer}"'
    plot.drawing.parts.append(
        f'<circle cx="{x:.1f}" cy="{y:.1f}" r="8" fill-opacity="0"{chosen}><title>{tooltip}</title></circle>'
    )


def _line_ends(chart: Chart, size: float) -> dict[int, tuple[str, tuple[float, bool]]]:
    """What is written at the ends of lines, with its size and whether it is bold, by the place of its series: names, and in
    small letters lines to compare with, of which an arrow says that they end above the axis."""
    ends = {}
    for place, series in enumerate(chart.series):
        if series.is_named and series.is_line and series.points and series.name:
            arrow = "↑ " if series.end and series.points[-1].y > chart.y.high else ""
            small = (max(size - 3, 10), False)
            ends[place] = (arrow + series.end, small) if series.end else (series.name, (size, True))
    return ends


def _label_line_ends(plot: Plot, chart: Chart, size: float) -> None:
    ends = _line_ends(chart, size)
    lasts = [chart.series[place].points[-1] for place in ends]
    heights = [plot.to_pixels(last.x, last.y)[1] for last in lasts]
    room = plot.drawing.width - plot.right - 15  # beyond the mark of a last point
    names: dict[int, str] = {}
    for style in dict.fromkeys(style for _name, style in ends.values()):  # curves are told apart among themselves
        alike = {place: name for place, (name, its_style) in ends.items() if its_style == style}
        shorten = partial(shorten_to_width, size=style[0], room=room, bold=style[1])
        names |= zip(alike, distinct_short_names(list(alike.values()), shorten), strict=True)
    places = spread_apart(heights, size + 3, plot.top + 4, plot.bottom)
    for (place, (_name, style)), y in zip(ends.items(), places, strict=True):
        first_part, colour = len(plot.drawing.parts), _colour(plot.drawing.theme, chart.series[place])
        plot.drawing.text((plot.right + 12, y + 4), names[place], style[0], colour, bold=style[1])
        _group_series(plot.drawing, first_part, place)


def _name_points(plot: Plot, chart: Chart, size: float, right: float) -> None:
    """Writes names of points, and of marks without a line, where they lie on nothing; elsewhere only the tooltip shows them."""
    points = []
    for series in chart.series:
        is_named = series.is_named and not series.is_line
        for point in series.points:
            name = point.name or (series.name if is_named and point is series.points[-1] else "")
            name = value_text(point) if chart.y.is_ordered else name  # what it is called stands on the left
            points.append(replace(point, name=shorten_to_width(name, size, 190)))
    edges = (plot.left - 4, plot.top - (2 if chart.y.title else 20), right, plot.bottom)  # the title stands above
    sides = name_sides(points, plot.to_pixels, edges, size, [line.points for line in chart.series if line.is_line])
    for point, side in zip(points, sides, strict=True):
        if side:
            place, anchor = name_baseline(plot.to_pixels(point.x, point.y), side, size)
            plot.drawing.text(place, point.name, size, anchor=anchor)


# --- blocks and galleries --------------------------------------------------------------------------------------


BLOCK_WIDTH, BLOCK_HEIGHT = 44, 58
SHADES = (0.2, 0.4, 0.75, 1.0)
"""Opacity of a block by its shade."""


def _draw_blocks(drawing: Drawing, row_of_blocks: Blocks, size: float) -> float:
    """Each block as a box with its number and its price below; removed ones are empty, dashed and crossed out, those only
    tried are framed. Returns the height that is needed."""
    per_row, theme = max(1, int(drawing.width // BLOCK_WIDTH)), drawing.theme
    wide, middle = BLOCK_WIDTH - 4, BLOCK_WIDTH / 2 - 2

    def mark_removed(x: float, y: float, width: float, height: float) -> None:
        if row_of_blocks.do_go:
            drawing.frame(x, y, width, height, theme.quiet, 1.2, "3 2")
            drawing.line([(x, y + height), (x + width, y)], theme.quiet, 1, opacity=0.6)
        else:
            drawing.frame(x, y, width, height, theme.text, 2)

    drawing.box(4, 4, 12, 12, theme.curves[0])
    drawing.text((21, 15), row_of_blocks.kept_name, size)
    x = 40 + text_width(row_of_blocks.kept_name, size)
    mark_removed(x, 4, 12, 12)
    drawing.text((x + 18, 15), row_of_blocks.removed_name, size)
    for n, block in enumerate(row_of_blocks.blocks):
        x, y = 4.0 + BLOCK_WIDTH * (n % per_row), 28 + BLOCK_HEIGHT * (n // per_row)
        is_empty = block.is_removed and row_of_blocks.do_go
        if not is_empty:
            drawing.box(x, y, wide, 26, theme.curves[0], SHADES[block.shade])
        if block.is_removed:
            mark_removed(x, y, wide, 26)
        drawing.parts.append(
            f'<text x="{x + middle:.1f}" y="{y + 17:.1f}" font-size="{size:g}" text-anchor="middle" '
            f'fill="{theme.text if is_empty or block.is_pale else theme.paper}">{block.number}</text>'
        )
        if block.told:
            drawing.text((x + middle, y + 40), block.told, size - 3, theme.quiet, "middle")
    return 40 + BLOCK_HEIGHT * -(-len(row_of_blocks.blocks) // per_row)


def _gallery_cells(gallery: Gallery, width: float) -> tuple[int, float]:
    """Columns, and height of a row."""
    columns = 2 if len(gallery.charts) <= 4 else 3 if len(gallery.charts) <= 12 else 5
    columns = min(columns, max(1, int(width // 140)))
    return columns, 190.0 if columns < 5 else 128.0


def _gallery_height(gallery: Gallery, width: float) -> float:
    columns, down = _gallery_cells(gallery, width)
    return down * math.ceil(len(gallery.charts) / columns)


def _draw_gallery(drawing: Drawing, gallery: Gallery, box: Box) -> None:
    """Lines without an `end` are not named: what a small chart shows stands above it."""
    columns, down = _gallery_cells(gallery, box[2])
    across = box[2] / columns
    shorten = partial(shorten_to_width, size=12, room=across - 16, bold=True)
    titles = distinct_short_names([chart.y.title for chart in gallery.charts], shorten)
    for n, (chart, title) in enumerate(zip(gallery.charts, titles, strict=True)):
        left, top = box[0] + across * (n % columns), box[1] + down * (n // columns)
        drawing.text((left + 8, top + 17), title, 12, bold=True)
        few = [ticks[:: math.ceil(len(ticks) / 4) or 1] for ticks in (chart.x.ticks(), chart.y.ticks())]
        plot = _draw_axes(drawing, chart, (left + 36, top + 26, across - 50, down - 54), few, 10)
        lines = tuple(replace(line, is_named=line.is_named and bool(line.end)) for line in chart.series)
        draw_series(plot, replace(chart, series=lines), 1.8, 3, 11, plot.right + 12)
