"""Native charts of the deck with an embedded workbook, so that every number can be edited: scatters with error bars."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

from pptx.chart.chart import Chart as NativeChart
from pptx.chart.data import XyChartData
from pptx.chart.xlsx import XyWorkbookWriter
from pptx.enum.chart import (
    XL_AXIS_CROSSES,
    XL_CHART_TYPE,
    XL_LABEL_POSITION,
    XL_MARKER_STYLE,
    XL_TICK_LABEL_POSITION,
    XL_TICK_MARK,
)
from pptx.enum.dml import MSO_LINE, MSO_THEME_COLOR
from pptx.enum.shapes import PP_PLACEHOLDER
from pptx.oxml import parse_xml
from pptx.oxml.ns import nsdecls, qn
from pptx.slide import Slide
from pptx.util import Inches, Pt

from core.deck import layout
from core.deck.layout import Box
from core.figures.chart import Axis, Chart, Point, Series, Side, value_text
from core.figures.text import CORNER, SIDES, Position, name_sides, shorten_to_width, spread_apart, text_width, wrap_text

ACCENTS = [getattr(MSO_THEME_COLOR, f"ACCENT_{number}") for number in range(1, 7)]
DASHES = [
    *(MSO_LINE.SOLID, MSO_LINE.DASH, MSO_LINE.ROUND_DOT),
    *(MSO_LINE.DASH_DOT, MSO_LINE.LONG_DASH, MSO_LINE.LONG_DASH_DOT),
]
OF_SHAPE = {"open": "circle", "down": "triangle", "hollow": "triangle"}
"""Marks that PowerPoint draws as another, filled or not."""
LEFT, BOTTOM, TOP, RIGHT = layout.PLOT_MARGINS
ROWS_TOP = 0.35
"""Inches above rows, for the names of guides."""
SMALL_MARGINS = (0.5, 0.45, 0.2, 0.12)
"""Of a chart in a gallery: left, above, right and below."""
MOST_NAME_SHARE = 0.36
"""Of the width, for names at the ends of lines."""
ROW_LINES = 2
"""That a name of a row may take."""
ROW_FITS = (
    (20, 0.45),
    (18, 0.45),
    (16, 0.45),
    (layout.SMALLEST, 0.45),
    (layout.SMALLEST, 0.35),
    (layout.SMALLEST, 0.25),
)
"""Letters of rows, the fewer there are, the larger, and the share of the width that is left for the marks between names and
values."""
BESIDE_ROWS = 0.25
"""Inches between the names of rows and the least value, and between the greatest and the values as they are written."""
LETTER = layout.SMALLEST / 72
BAR_WIDTH, BAND_BAR_WIDTH = 1.5, 3.0
"""Widths in points of the intervals of points, and of the layers of a curve."""


@dataclass(frozen=True)
class _Plot:
    """Position of the plot area within the frame of a chart, in inches."""

    box: Box
    left: float
    top: float
    width: float
    height: float
    points: int = layout.SMALLEST
    """Size of the letters beside points and rows."""

    def down(self, axis: Axis, value: float) -> float:
        return self.top + self.height * (1 - axis.share(value))


def draw_chart(slide: Slide, box: Box, chart: Chart, is_small: bool = False) -> Any:
    """Draws into the layout's chart placeholder, or into a new frame. Returns the frame."""
    plot = _plot(box, chart, is_small)
    series, sides = _in_rows(chart, plot) if chart.y.is_ordered else ([*chart.series], _sides_of_names(chart, plot))
    for guide in chart.guides:
        start, end = (Point(*place, name=guide.name) for place in guide.ends(chart))
        series.append(Series(guide.name, (start, end), None, is_named=False, dash="dash"))
        sides |= {end: "above"} if guide.is_vertical else {start: "above right"}
    # Longest series first: LibreOffice drops a series that stands before a longer one. Grey ones behind the others.
    items = sorted(series, key=lambda line: (-len(line.points), line.colour is not None))
    kind, content = XL_CHART_TYPE.XY_SCATTER_LINES_NO_MARKERS, _Workbook(number_format="General")
    for item in items:
        data = content.add_series(item.name)
        for point in item.points:
            data.add_data_point(point.x, point.y)
    places = (item for item in slide.placeholders if item.placeholder_format.type == PP_PLACEHOLDER.CHART)
    holder: Any = None if is_small else next(places, None)
    shapes: Any = slide.shapes
    frame = holder.insert_chart(kind, content) if holder else shapes.add_chart(kind, 0, 0, 0, 0, content)
    frame.left, frame.top, frame.width, frame.height = map(Inches, box)
    set_alternative_text(frame, chart.alternative)
    native = frame.chart
    native.has_legend = False
    native.has_title = False
    native.font.size = Pt(layout.SMALLEST)
    native.font.color.theme_color = MSO_THEME_COLOR.TEXT_1
    _set_plot_area(native, plot)
    _style_axis(native.category_axis, chart.x, with_grid=False)
    _style_axis(native.value_axis, chart.y, with_grid=True)  # between rows too
    native.value_axis.has_title = False
    if chart.y.title:
        _title_value_axis(native, _shorten_title(chart.y.title, 0.85 * box[2]) if is_small else chart.y.title)
    if chart.y.is_ordered:
        native.value_axis.crosses = XL_AXIS_CROSSES.MINIMUM  # below the last row, which is at 0
    if chart.y.is_reversed:
        native.value_axis.reverse_order = True
        native.value_axis.crosses = XL_AXIS_CROSSES.MAXIMUM  # the axis across stays below
    if chart.x.is_reversed:
        native.category_axis.reverse_order = True
    if is_small:  # its range is written below the gallery
        native.category_axis.tick_label_position = XL_TICK_LABEL_POSITION.NONE
    named_lines: list[tuple[Any, Series]] = []
    for native_series, item in zip(native.plots[0].series, items, strict=True):
        _style_series(native_series, item, plot, sides)
        named_lines += [(native_series, item)] if item.is_named and item.points and not is_small else []
    _label_lines(named_lines, chart, plot)
    return frame


def _in_rows(chart: Chart, plot: _Plot) -> tuple[list[Series], dict[Point, Side]]:
    """The series from below, the names of rows as points at the left edge and their values at the right one; intervals as
    lines between two points, because LibreOffice reads no horizontal error bars."""
    room = plot.left - BESIDE_ROWS + 0.01  # the widest name fits exactly
    ends = chart.y.low + chart.y.high
    names = []
    for row, name in chart.y.labels:
        lines = (f"{line}\u00a0\u00a0" for line in wrap_text(name, plot.points, 72 * room))  # beyond a mark at the edge
        names.append(Point(chart.x.value(0.0), ends - row, name="\n".join(lines)))
    at_end = chart.x.value(1.0)
    values = [
        Point(at_end, ends - point.y, name="\u00a0\u00a0" + value_text(point).replace("-", "−"))
        for point in chart.points
    ]
    told_at = {"–": names, "[95 %]": values}
    series = [Series(name, tuple(points), None, False, is_named=False) for name, points in told_at.items()]
    sides: dict[Point, Side] = {**dict.fromkeys(names, "left"), **dict.fromkeys(values, "right")}
    for line in chart.series:
        bare = []
        for point in line.points:
            y, limits = ends - point.y, [end for end in (point.left, point.right) if end is not None]
            if len(limits) == 2:
                first, last = (Point(end, y) for end in sorted(limits, key=chart.x.share))
                series.append(Series(f"{point.name} [95 %]", (first, last), line.colour, is_named=False))
            bare.append(replace(point, y=y, left=None, right=None, name=""))
        series.append(replace(line, points=tuple(bare)))
    return series, sides


class _Writer(XyWorkbookWriter):
    """Names of models stand in a workbook as text: XlsxWriter would make formulas, links or numbers of some."""

    @contextmanager
    def _open_worksheet(self, xlsx_file: Any) -> Iterator[tuple[Any, Any]]:
        with super()._open_worksheet(xlsx_file) as (workbook, worksheet):
            worksheet.strings_to_formulas = worksheet.strings_to_urls = worksheet.strings_to_numbers = False
            yield workbook, worksheet


class _Workbook(XyChartData):
    @property
    def _workbook_writer(self) -> _Writer:
        return _Writer(self)


def _plot(box: Box, chart: Chart, is_small: bool) -> _Plot:
    """The plot leaves room on the right for the names at the ends of lines, on the left for those of rows; small charts have
    none."""
    if is_small:
        left, top, right, bottom = SMALL_MARGINS
        return _Plot(box, left, top, box[2] - left - right, box[3] - top - bottom)
    if chart.y.is_ordered:
        return _plot_of_rows(box, chart)
    names = [line.name for line in chart.series if line.is_named and line.points]
    widest = max((text_width(name, LETTER) for name in names), default=0.0)
    right = min(widest + 0.2, MOST_NAME_SHARE * box[2]) if names else RIGHT
    return _Plot(box, LEFT, TOP, box[2] - LEFT - right, box[3] - TOP - BOTTOM)


def _plot_of_rows(box: Box, chart: Chart) -> _Plot:
    """In the largest letters in which names and values leave room for the marks; values stand on the right."""
    height, top = box[3] - BOTTOM - ROWS_TOP, ROWS_TOP
    names, values = [name for _row, name in chart.y.labels], [value_text(point) for point in chart.points]

    def widest(texts: Sequence[str], points: float) -> float:
        return max((text_width(text, points / 72) for text in texts), default=0.0)

    words = [word for name in names for word in name.split()]
    for points, share in ROW_FITS:
        right = widest(values, points) + BESIDE_ROWS
        room = (1 - share) * box[2] - right - BESIDE_ROWS
        lines = max((len(wrap_text(name, points, 72 * room)) for name in names), default=1)
        needed = len(names) * (lines * layout.line_height("".join(names)) + 0.35) * points / 72
        if lines <= ROW_LINES and needed < height and widest(words, points) <= room:
            break
    left = min(widest(names, points), room) + BESIDE_ROWS
    return _Plot(box, left, top, box[2] - left - right, height, points)


def _sides_of_names(chart: Chart, plot: _Plot) -> dict[Point, Side]:
    points = [point for line in chart.series for point in line.points if not line.is_named]

    def to_plot(x: float, y: float) -> Position:
        return plot.width * chart.x.share(x), plot.down(chart.y, y) - plot.top

    edges = (0.0, -0.1, plot.box[2] - plot.left, plot.height)
    sides = name_sides(points, to_plot, edges, LETTER)
    return {point: side for point, side in zip(points, sides, strict=True) if side}


def _set_plot_area(native: NativeChart, plot: _Plot) -> None:
    width, height = plot.box[2], plot.box[3]
    shares = (plot.left / width, plot.top / height, plot.width / width, plot.height / height)
    places = dict(zip("xywh", (f"{share:.4f}" for share in shares), strict=True))
    _lay_out(native._chartSpace.chart.plotArea, None, layoutTarget="inner", xMode="edge", yMode="edge", **places)


def _lay_out(parent: Any, before: Any, **places: str) -> None:
    """Places an element of a chart by hand; the layout stands after `before`, or first."""
    for layout_element in parent.findall(qn("c:layout")):
        parent.remove(layout_element)
    told = "".join(f'<c:{name} val="{value}"/>' for name, value in places.items())
    manual = parse_xml(f"<c:layout {nsdecls('c')}><c:manualLayout>{told}</c:manualLayout></c:layout>")
    parent.insert(0, manual) if before is None else before.addnext(manual)


def _style_axis(native_axis: Any, axis: Axis, with_grid: bool) -> None:
    native_axis.minimum_scale, native_axis.maximum_scale, native_axis.major_unit = axis.low, axis.high, axis.step
    native_axis.has_title = bool(axis.title)
    if axis.title:
        _write_title(native_axis.axis_title.text_frame, axis.title)
    native_axis.format.line.color.theme_color = MSO_THEME_COLOR.TEXT_1
    native_axis.format.line.color.brightness = 0.5
    native_axis.major_tick_mark = XL_TICK_MARK.NONE if axis.is_ordered else XL_TICK_MARK.OUTSIDE
    native_axis.tick_labels.font.size = Pt(layout.SMALLEST)
    form = "0" if not axis.decimals else f"0.{'0' * axis.decimals}"
    native_axis.tick_labels.number_format = f"{form};−{form};{form}"
    native_axis.tick_labels.number_format_is_linked = False
    if axis.is_ordered:
        native_axis.tick_label_position = XL_TICK_LABEL_POSITION.NONE
        native_axis.format.line.fill.background()
    elif axis.low < 0:  # the other axis crosses at zero: numbers stay at the edge
        native_axis.tick_label_position = XL_TICK_LABEL_POSITION.LOW
    native_axis.has_major_gridlines = with_grid
    if with_grid:
        line = native_axis.major_gridlines.format.line
        line.color.theme_color = MSO_THEME_COLOR.BACKGROUND_2
        line.color.brightness = -0.1
        line.width = Pt(0.75)


def _title_value_axis(native: NativeChart, text: str) -> None:
    """Writes the title of the y axis horizontally above it, as the chart's title, because programs rotate axis titles."""
    native.has_title = True
    _write_title(native.chart_title.text_frame, text)
    title = native.chart_title._element
    _lay_out(title, title.find(qn("c:tx")), xMode="edge", yMode="edge", x="0.01", y="0.005")


def _write_title(frame: Any, text: str) -> None:
    frame.text = text
    font = frame.paragraphs[0].runs[0].font
    font.size, font.bold = Pt(layout.SMALLEST), False


def _shorten_title(text: str, width: float) -> str:
    """The name, shortened in its middle, and its whole number on one line."""
    name, gap, value = text.partition("  ")
    return f"{shorten_to_width(name, LETTER, width - text_width(gap + value, LETTER))}{gap}{value}"


def _set_colour(format_colour: Any, colour: int | None) -> None:
    if colour is None:
        format_colour.theme_color = MSO_THEME_COLOR.TEXT_1
        format_colour.brightness = 0.6
    else:
        format_colour.theme_color = ACCENTS[colour % len(ACCENTS)]


def _style_series(native_series: Any, line: Series, plot: _Plot, sides: Mapping[Point, Side]) -> None:
    native_series.smooth = False
    if line.is_line:
        native_line = native_series.format.line
        native_line.width = Pt(1.0 if line.colour is None else 2.5)
        grey = MSO_LINE.DASH if line.dash else MSO_LINE.SOLID
        native_line.dash_style = grey if line.colour is None else DASHES[line.colour % len(DASHES)]
        _set_colour(native_line.color, line.colour)
    else:
        native_series.format.line.fill.background()
    marker = native_series.marker
    if line.mark == "none":
        marker.style = XL_MARKER_STYLE.NONE
    else:
        marker.style, marker.size = (
            XL_MARKER_STYLE[OF_SHAPE.get(line.mark, line.mark).upper()],
            round(0.65 * plot.points),
        )
        _set_colour(marker.format.line.color, line.colour)
        marker.format.line.width = Pt(1.5)
        if line.mark in ("open", "hollow"):
            marker.format.fill.background()
        else:
            marker.format.fill.solid()
            _set_colour(marker.format.fill.fore_color, line.colour)
    if not line.is_line:  # the schema wants the bars of x before those of y
        _add_error_bars(native_series, "x", [(p.x, p.left, p.right) for p in line.points], line.colour)
    if line.is_banded or not line.is_line:
        broad = BAND_BAR_WIDTH if line.mark == "none" else BAR_WIDTH
        _add_error_bars(native_series, "y", [(p.y, p.lower, p.upper) for p in line.points], line.colour, broad)
    for number, point in enumerate(line.points):
        side = sides.get(point)
        if side and point.name and not line.is_named:
            across, down = SIDES[side]
            moved = down * CORNER * LETTER / plot.box[3] if across else 0.0
            _add_label(native_series, number, point.name, side.split()[-1], moved, points=plot.points)


def _label_lines(named_lines: Sequence[tuple[Any, Series]], chart: Chart, plot: _Plot) -> None:
    """Writes each name at the end of its line, in its colour, moved up or down where two would overlap."""
    line_ends = [plot.down(chart.y, line.points[-1].y) for _, line in named_lines]
    gap = 1.3 * layout.SMALLEST / 72
    places = spread_apart(line_ends, gap, plot.top + gap / 2, plot.top + plot.height - gap / 2)
    for (series, line), before, after in zip(named_lines, line_ends, places, strict=False):
        moved = (after - before) / plot.box[3]
        _add_label(series, len(line.points) - 1, line.name, "right", moved, line.colour)


def _add_label(
    series: Any,
    number: int,
    text: str,
    side: str,
    moved: float = 0.0,
    colour: int | None = None,
    points: float = layout.SMALLEST,
) -> None:
    """A name beside a point; `moved` shifts it down by a share of the chart's height."""
    label = series.points[number].data_label
    label.has_text_frame = True
    label.text_frame.text = text
    for paragraph in label.text_frame.paragraphs:
        font = paragraph.runs[0].font
        font.size = Pt(points)
        if colour is not None:
            font.bold = True
            font.color.theme_color = ACCENTS[colour % len(ACCENTS)]
    label.text_frame.word_wrap = False
    label.position = getattr(XL_LABEL_POSITION, side.upper())
    if abs(moved) > 0.004:
        _lay_out(label._dLbl, label._dLbl.find(qn("c:idx")), x="0", y=f"{moved:.4f}")


def _add_error_bars(
    series: Any,
    direction: str,
    values_with_limits: Sequence[tuple[float, float | None, float | None]],
    colour: int | None,
    points: float = BAR_WIDTH,
) -> None:
    """95 percent intervals as custom error bars, paler than their series."""
    if not any(low is not None or high is not None for _, low, high in values_with_limits):
        return
    above = [0.0 if high is None else max(0.0, high - value) for value, _, high in values_with_limits]
    below = [0.0 if low is None else max(0.0, value - low) for value, low, _ in values_with_limits]
    plus, minus = (
        f'<c:numLit><c:formatCode>General</c:formatCode><c:ptCount val="{len(lengths)}"/>'
        + "".join(f'<c:pt idx="{n}"><c:v>{length:.6g}</c:v></c:pt>' for n, length in enumerate(lengths))
        + "</c:numLit>"
        for lengths in (above, below)
    )
    name, paler = "tx1", '<a:lumMod val="40000"/><a:lumOff val="60000"/>'
    if colour is not None:
        name, paler = f"accent{colour % len(ACCENTS) + 1}", '<a:alpha val="55000"/>'
    fill = f'<a:solidFill><a:schemeClr val="{name}">{paler}</a:schemeClr></a:solidFill>'
    bars = parse_xml(
        f'<c:errBars {nsdecls("c", "a")}><c:errDir val="{direction}"/><c:errBarType val="both"/><c:errValType val="cust"/>'
        f'<c:noEndCap val="1"/><c:plus>{plus}</c:plus><c:minus>{minus}</c:minus>'
        f'<c:spPr><a:ln w="{Pt(points)}" cap="flat">{fill}</a:ln></c:spPr></c:errBars>'
    )
    series._element.find(qn("c:xVal")).addprevious(bars)


def set_alternative_text(shape: Any, text: str) -> None:
    """Text for screen readers."""
    next(shape._element.iter(qn("p:cNvPr"))).set("descr", text)
