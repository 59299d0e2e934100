"""Native charts of the deck with an embedded workbook, so that every number can be edited: scatters, and lines with bands."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from lxml import etree
from pptx.chart.chart import Chart as NativeChart
from pptx.chart.data import XyChartData
from pptx.enum.chart import XL_CHART_TYPE, XL_LABEL_POSITION, XL_MARKER_STYLE, XL_TICK_LABEL_POSITION, XL_TICK_MARK
from pptx.enum.dml import MSO_LINE, MSO_THEME_COLOR
from pptx.enum.shapes import PP_PLACEHOLDER
from pptx.oxml.ns import qn
from pptx.slide import Slide
from pptx.util import Inches, Pt

from core.deck import bands, layout
from core.deck.layout import Box
from core.deck.story import Axis, Chart, Guide, Point, Series
from core.deck.theme import describe
from core.figures.svg import spread
from core.wording.labels import shortened

ACCENTS = (
    MSO_THEME_COLOR.ACCENT_1,
    MSO_THEME_COLOR.ACCENT_2,
    MSO_THEME_COLOR.ACCENT_3,
    MSO_THEME_COLOR.ACCENT_4,
    MSO_THEME_COLOR.ACCENT_5,
    MSO_THEME_COLOR.ACCENT_6,
)
DASHES = (
    MSO_LINE.SOLID,
    MSO_LINE.DASH,
    MSO_LINE.ROUND_DOT,
    MSO_LINE.DASH_DOT,
    MSO_LINE.LONG_DASH,
    MSO_LINE.LONG_DASH_DOT,
)
MARKERS = {
    "circle": XL_MARKER_STYLE.CIRCLE,
    "open": XL_MARKER_STYLE.CIRCLE,
    "diamond": XL_MARKER_STYLE.DIAMOND,
    "triangle": XL_MARKER_STYLE.TRIANGLE,
}
PLACES = {
    "above": XL_LABEL_POSITION.ABOVE,
    "below": XL_LABEL_POSITION.BELOW,
    "left": XL_LABEL_POSITION.LEFT,
    "right": XL_LABEL_POSITION.RIGHT,
}
LEFT, BOTTOM, TOP, RIGHT = layout.PLOT_MARGINS
SMALL_MARGINS = (0.5, 0.45, 0.2, 0.12)
"""Of a chart in a gallery: left, above, right and below."""
MOST_RIGHT = 0.36
"""Of the width."""
ASIDE = layout.NAME_ASIDE
BAR, BAR_OF_BAND = 1.5, 3.0
"""Points broad: of more than two bands each is a row of bars, since areas pile up."""


@dataclass(frozen=True)
class _Plot:
    """Where the axes stand within the frame of a chart, in inches."""

    box: Box
    left: float
    top: float
    width: float
    height: float

    def down(self, axis: Axis, value: float) -> float:
        return self.top + self.height * (1 - (value - axis.low) / (axis.high - axis.low))


def draw_chart(slide: Slide, box: Box, chart: Chart, language: str, is_small: bool = False) -> Any:
    """Into the layout's place for a chart where it has one, with its frame; else into a frame of its own."""
    # Longest series first: LibreOffice drops a series that stands before a longer one. Grey ones behind the others.
    shown = _with_intervals(chart.series) if chart.y.is_ordered else chart.series
    drawn = sorted(shown, key=lambda one: (-len(one.points), one.colour is not None))
    order: list[Series | Guide] = sorted([*chart.guides, *drawn], key=lambda one: -_length(one))
    is_banded = bands.has_bands(chart)
    kind = XL_CHART_TYPE.LINE if is_banded else XL_CHART_TYPE.XY_SCATTER_LINES_NO_MARKERS
    content = bands.content(chart, drawn, language) if is_banded else _scattered(order, chart)
    left, top, width, height = (Inches(length) for length in box)
    holder: Any = next((one for one in slide.placeholders if one.placeholder_format.type == PP_PLACEHOLDER.CHART), None)
    frame: Any
    if holder is not None and not is_small:
        frame = holder.insert_chart(kind, content)
        frame.left, frame.top, frame.width, frame.height = left, top, width, height
    else:
        frame = slide.shapes.add_chart(kind, left, top, width, height, content)  # type: ignore[arg-type]
    describe(frame, chart.alternative)
    native = frame.chart
    native.has_legend = False
    native.has_title = False
    native.font.size = Pt(layout.SMALLEST)
    native.font.color.theme_color = MSO_THEME_COLOR.TEXT_1
    plot = _plot(box, chart, drawn, is_small)
    _lay_out(native, plot)
    if is_banded:
        bands.lay_axis(native, chart.x)
    _style_axis(native.category_axis, chart.x, with_grid=False, is_of_days=is_banded)
    _style_axis(native.value_axis, chart.y, with_grid=not chart.y.is_ordered)
    native.value_axis.has_title = False
    if chart.y.title:
        _name_upright_axis(native, _one_line(chart.y.title, 0.62 * box[2]) if is_small else chart.y.title)
    if is_small:  # where it begins and ends stands below the gallery
        native.category_axis.tick_label_position = XL_TICK_LABEL_POSITION.NONE
    named = []
    for series, each in zip(native.plots[0].series, order, strict=not is_banded):
        if isinstance(each, Guide):
            _style_guide(series, each, plot.box[3])
        else:
            _style(series, each, plot, is_banded)
            named += [(series, each)] if each.is_named and each.points and not is_small else []
    _name_lines(named, chart, plot, bands.places_of(drawn) if is_banded else None)
    if is_banded:
        bands.arrange(native, drawn)
    return frame


def _with_intervals(series: Sequence[Series]) -> list[Series]:
    """Their intervals as lines between two points: LibreOffice reads no error bars that lie flat."""
    lines = [
        Series(f"{p.name} [95 %]", (Point(p.left, p.y), Point(p.right, p.y)), one.colour, is_named=False)
        for one in series
        for p in one.points
        if p.left is not None and p.right is not None
    ]
    bare = [replace(one, points=tuple(replace(p, left=None, right=None) for p in one.points)) for one in series]
    return [*bare, *lines]


def _scattered(order: Sequence[Series | Guide], chart: Chart) -> XyChartData:
    content = XyChartData(number_format="General")
    highest = max((point.y for one in order if isinstance(one, Series) for point in one.points), default=0.0)
    for each in order:
        series = content.add_series(each.name)
        for x, y in _ends(each, chart) if isinstance(each, Guide) else _points(each, chart, highest):
            series.add_data_point(x, y)
    return content


def _length(one: Series | Guide) -> int:
    return 2 if isinstance(one, Guide) else len(one.points)


def _points(one: Series, chart: Chart, highest: float) -> list[tuple[float, float]]:
    """Ordered places count from the top, and axes from below."""
    return [(point.x, highest + 1 - point.y if chart.y.is_ordered else point.y) for point in one.points]


def _ends(guide: Guide, chart: Chart) -> tuple[tuple[float, float], tuple[float, float]]:
    if guide.is_vertical:
        return (guide.at, chart.y.low), (guide.at, chart.y.high)
    return (chart.x.low, guide.at), (chart.x.high, guide.at)


def _plot(box: Box, chart: Chart, drawn: Sequence[Series], is_small: bool) -> _Plot:
    """The plot leaves room on the right for the names at the ends of lines, which a small one does not have."""
    if is_small:
        left, top, right, bottom = SMALL_MARGINS
        return _Plot(box, left, top, box[2] - left - right, box[3] - top - bottom)
    names = [one.name for one in drawn if one.is_named and one.points]
    widest = max((layout.text_width(name, layout.SMALLEST) for name in names), default=0.0)
    right = min(widest + 0.2, MOST_RIGHT * box[2]) if names else RIGHT
    left, top = (0.4, 0.4) if chart.y.is_ordered else (LEFT, TOP)
    return _Plot(box, left, top, box[2] - left - right, box[3] - top - BOTTOM)


def _lay_out(native: NativeChart, plot: _Plot) -> None:
    area = native._chartSpace.chart.plotArea
    found = area.find(qn("c:layout"))
    if found is None:
        found = etree.Element(qn("c:layout"))
        area.insert(0, found)
    for child in list(found):
        found.remove(child)
    manual = etree.SubElement(found, qn("c:manualLayout"))
    width, height = plot.box[2], plot.box[3]
    for name, value in (
        ("layoutTarget", "inner"),
        ("xMode", "edge"),
        ("yMode", "edge"),
        ("x", f"{plot.left / width:.4f}"),
        ("y", f"{plot.top / height:.4f}"),
        ("w", f"{plot.width / width:.4f}"),
        ("h", f"{plot.height / height:.4f}"),
    ):
        etree.SubElement(manual, qn(f"c:{name}"), val=value)


def _style_axis(axis: Any, told: Axis, with_grid: bool, is_of_days: bool = False) -> None:
    if not is_of_days:
        axis.minimum_scale, axis.maximum_scale, axis.major_unit = told.low, told.high, told.step
    axis.has_title = bool(told.title)
    if told.title:
        frame = axis.axis_title.text_frame
        frame.text = told.title
        frame.paragraphs[0].runs[0].font.size, frame.paragraphs[0].runs[0].font.bold = Pt(layout.SMALLEST), False
    axis.format.line.color.theme_color = MSO_THEME_COLOR.TEXT_1
    axis.format.line.color.brightness = 0.5
    axis.major_tick_mark = XL_TICK_MARK.NONE if told.is_ordered else XL_TICK_MARK.OUTSIDE
    axis.tick_labels.font.size = Pt(layout.SMALLEST)
    if not is_of_days:
        axis.tick_labels.number_format = "0" if not told.decimals else f"0.{'0' * told.decimals}"
        axis.tick_labels.number_format_is_linked = False
    if told.is_ordered:
        axis.tick_label_position = XL_TICK_LABEL_POSITION.NONE
        axis.format.line.fill.background()
    elif told.low < 0:  # the other axis crosses at zero: numbers stay at the edge
        axis.tick_label_position = XL_TICK_LABEL_POSITION.LOW
    axis.has_major_gridlines = with_grid
    if with_grid:
        line = axis.major_gridlines.format.line
        line.color.theme_color = MSO_THEME_COLOR.BACKGROUND_2
        line.color.brightness = -0.1
        line.width = Pt(0.75)


def _name_upright_axis(native: NativeChart, text: str) -> None:
    """What the upright axis is stands flat above it, as the chart's title: programs break the title of such an axis."""
    native.has_title = True
    frame = native.chart_title.text_frame
    frame.text = text
    font = frame.paragraphs[0].runs[0].font
    font.size, font.bold = Pt(layout.SMALLEST), False
    title = native.chart_title._element
    found = title.find(qn("c:layout"))
    if found is None:
        found = etree.Element(qn("c:layout"))
        title.find(qn("c:tx")).addnext(found)
    manual = etree.SubElement(found, qn("c:manualLayout"))
    for name, value in (("xMode", "edge"), ("yMode", "edge"), ("x", "0.01"), ("y", "0.005")):
        etree.SubElement(manual, qn(f"c:{name}"), val=value)


def _one_line(text: str, width: float) -> str:
    """A name, with a number behind it, shortened in its middle until both take one line."""
    name, gap, value = text.partition("  ")
    fitting = [f"{shortened(name, n)}{gap}{value}" for n in range(max(len(name), 5), 4, -1)]
    return next((one for one in fitting if layout.text_width(one, layout.SMALLEST) <= width), fitting[-1])


def _colour(format_colour: Any, colour: int | None) -> None:
    if colour is None:
        format_colour.theme_color = MSO_THEME_COLOR.TEXT_1
        format_colour.brightness = 0.6
    else:
        format_colour.theme_color = ACCENTS[colour % len(ACCENTS)]


def _style(series: Any, one: Series, plot: _Plot, is_filled: bool) -> None:
    series.smooth = False
    if one.is_line:
        line = series.format.line
        line.width = Pt(1.0 if one.colour is None else 2.5)
        line.dash_style = MSO_LINE.SOLID if one.colour is None else DASHES[one.colour % len(DASHES)]
        _colour(line.color, one.colour)
    else:
        series.format.line.fill.background()
    marker = series.marker
    if one.mark == "none":
        marker.style = XL_MARKER_STYLE.NONE
    else:
        marker.style, marker.size = MARKERS[one.mark], 9
        _colour(marker.format.line.color, one.colour)
        marker.format.line.width = Pt(1.5)
        if one.mark == "open":
            marker.format.fill.background()
        else:
            marker.format.fill.solid()
            _colour(marker.format.fill.fore_color, one.colour)
    if not one.is_line or (one.is_banded and not is_filled):
        broad = BAR_OF_BAND if one.mark == "none" else BAR
        _intervals(series, "y", [(p.y, p.lower, p.upper) for p in one.points], one.colour, broad)
    if not one.is_line:
        _intervals(series, "x", [(p.x, p.left, p.right) for p in one.points], one.colour)
    for number, point in enumerate(one.points):
        if point.name and not one.is_named:
            aside = point.place in ("left", "right") and point.left is not None
            _label(series, number, point.name, PLACES[point.place], None, -ASIDE / plot.box[3] if aside else 0.0)


def _style_guide(series: Any, guide: Guide, height: float) -> None:
    series.smooth = False
    line = series.format.line
    line.width, line.dash_style = Pt(1.25), MSO_LINE.DASH
    line.color.theme_color = MSO_THEME_COLOR.TEXT_1
    line.color.brightness = 0.4
    series.marker.style = XL_MARKER_STYLE.NONE
    if guide.is_vertical:
        _label(series, 1, guide.name, PLACES["above"], None)
    else:  # above its beginning, where no curve has come that far
        _label(series, 0, guide.name, PLACES["right"], None, -ASIDE / height)


def _name_lines(named: Sequence[tuple[Any, Series]], chart: Chart, plot: _Plot, rows: Sequence[float] | None) -> None:
    """Each name at the end of its line, in its colour, moved up or down where two would cover each other. `rows` are the
    places that all lines share, where each has a row for every place."""
    wanted = [plot.down(chart.y, one.points[-1].y) for _, one in named]
    gap = 1.3 * layout.SMALLEST / 72
    places = spread(wanted, gap, plot.top + gap / 2, plot.top + plot.height - gap / 2) if len(wanted) > 1 else wanted
    for (series, one), before, after in zip(named, wanted, places, strict=False):
        at = rows.index(one.points[-1].x) if rows else len(one.points) - 1
        _label(series, at, one.name, XL_LABEL_POSITION.RIGHT, one.colour, (after - before) / plot.box[3])


def _label(
    series: Any, number: int, text: str, position: XL_LABEL_POSITION, colour: int | None, moved: float = 0.0
) -> None:
    """A name beside a point; `moved` is how far down it stands of its usual place, as a share of the chart's height."""
    label = series.points[number].data_label
    label.has_text_frame = True
    label.text_frame.text = text
    run = label.text_frame.paragraphs[0].runs[0]
    run.font.size = Pt(layout.SMALLEST)
    if colour is not None:
        run.font.bold = True
        run.font.color.theme_color = ACCENTS[colour % len(ACCENTS)]
    label.text_frame.word_wrap = False
    label.position = position
    if abs(moved) > 0.004:
        found = etree.Element(qn("c:layout"))
        manual = etree.SubElement(found, qn("c:manualLayout"))
        etree.SubElement(manual, qn("c:x"), val="0")
        etree.SubElement(manual, qn("c:y"), val=f"{moved:.4f}")
        label._dLbl.find(qn("c:idx")).addnext(found)


def _intervals(
    series: Any,
    direction: str,
    ends: Sequence[tuple[float, float | None, float | None]],
    colour: int | None,
    points: float = BAR,
) -> None:
    """95 percent intervals as custom error bars, paler than what they belong to."""
    if not any(low is not None or high is not None for _, low, high in ends):
        return
    bars = etree.Element(qn("c:errBars"))
    for name, value in (("errDir", direction), ("errBarType", "both"), ("errValType", "cust"), ("noEndCap", "1")):
        etree.SubElement(bars, qn(f"c:{name}"), val=value)
    above = [0.0 if high is None else max(0.0, high - value) for value, _, high in ends]
    below = [0.0 if low is None else max(0.0, value - low) for value, low, _ in ends]
    for name, lengths in (("plus", above), ("minus", below)):
        numbers = etree.SubElement(etree.SubElement(bars, qn(f"c:{name}")), qn("c:numLit"))
        etree.SubElement(numbers, qn("c:formatCode")).text = "General"
        etree.SubElement(numbers, qn("c:ptCount"), val=str(len(lengths)))
        for position, length in enumerate(lengths):
            point = etree.SubElement(numbers, qn("c:pt"), idx=str(position))
            etree.SubElement(point, qn("c:v")).text = f"{length:.6g}"
    shape = etree.SubElement(bars, qn("c:spPr"))
    line = etree.SubElement(shape, qn("a:ln"), w=str(Pt(points)), cap="flat")
    fill = etree.SubElement(line, qn("a:solidFill"))
    if colour is None:
        scheme = etree.SubElement(fill, qn("a:schemeClr"), val="tx1")
        etree.SubElement(scheme, qn("a:lumMod"), val="40000")
        etree.SubElement(scheme, qn("a:lumOff"), val="60000")
    else:
        scheme = etree.SubElement(fill, qn("a:schemeClr"), val=f"accent{colour % len(ACCENTS) + 1}")
        etree.SubElement(scheme, qn("a:alpha"), val="55000")
    # The schema wants the bars of x before those of y.
    before = series._element.find(qn("c:errBars"))
    if before is not None and direction == "x":
        before.addprevious(bars)
    elif before is not None:
        before.addnext(bars)
    else:
        series._element.find(qn("c:xVal")).addprevious(bars)


__all__ = ["ACCENTS", "Point", "draw_chart"]
