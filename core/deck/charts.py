"""Native charts of the deck: XY scatter lines with an embedded workbook, so that every number can be edited."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from lxml import etree
from pptx.chart.chart import Chart
from pptx.chart.data import XyChartData
from pptx.enum.chart import XL_CHART_TYPE, XL_LABEL_POSITION, XL_LEGEND_POSITION, XL_MARKER_STYLE, XL_TICK_MARK
from pptx.enum.dml import MSO_LINE, MSO_THEME_COLOR
from pptx.oxml.ns import qn
from pptx.slide import Slide
from pptx.util import Inches, Pt

from core import wording
from core.analysis.ranks import NORMAL_95
from core.deck.deck_data import CONTROL
from core.deck.text_and_tables import add_text, fill_paragraphs, fitting_size
from core.deck.theme import CHART_BOX, READING_BOX, STATEMENT_BOX, Box, describe
from core.figures.layer_profiles import Curve, Mark, ProfileData
from core.figures.scores import RankingData, ScoredPoint, dimension_axis, match_names, score_axis
from core.locale import translator
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
MOST_CURVES = len(ACCENTS)
MARKERS = {
    "band": (XL_MARKER_STYLE.CIRCLE, 6),
    "final": (XL_MARKER_STYLE.DIAMOND, 11),
    "post_norm": (XL_MARKER_STYLE.TRIANGLE, 11),
}
STATEMENT_SIZES = (16, 15, 14, 13, 12, 11)
"""Letter sizes of the statements beside a chart: the largest that fits."""
MOST_BANDS = 3
"""With more curves the 95 percent limits are drawn at the marked layers only: 18 lines cannot be read."""


@dataclass(frozen=True)
class ChartWords:
    """What a chart says, in the language of the deck."""

    x_title: str
    y_title: str
    lower: str
    upper: str
    band: str
    final: str
    post_norm: str
    alternative: str


def add_profile_chart(slide: Slide, box: Box, data: ProfileData, words: ChartWords, is_log: bool = False) -> Chart:
    """One line per run between thin lines for its 95 percent limits; marks for the band and the final states."""
    content = XyChartData(number_format="0.0")
    roles: list[tuple[str, int, list[Mark]]] = []
    # Deepest model first: LibreOffice drops every series that stands before a longer one. Colours stay the app's.
    for index, curve in sorted(enumerate(data.curves), key=lambda numbered: -len(numbered[1].marks)):
        for role, name, marks in _series(curve, words, with_limits=len(data.curves) <= MOST_BANDS):
            series = content.add_series(name)
            for mark in marks:
                x = mark.layer if data.same_depth else round(mark.depth, 4)
                series.add_data_point(x, {"lower": mark.lower, "upper": mark.upper}.get(role, mark.value))
            roles.append((role, index, marks))
    left, top, width, height = (Inches(length) for length in box)
    kind = XL_CHART_TYPE.XY_SCATTER_LINES_NO_MARKERS
    frame: Any = slide.shapes.add_chart(kind, left, top, width, height, content)  # type: ignore[arg-type]
    describe(frame, words.alternative)
    chart = frame.chart
    _style_axes(chart, words, data)
    if is_log:
        _make_log(chart, data)
    _show_legend(chart, [position for position, (role, _, _) in enumerate(roles) if role != "curve"])
    for series, (role, index, marks) in zip(chart.plots[0].series, roles, strict=True):
        _style_series(series, role, index)
        if role in ("final", "post_norm") or (role == "band" and len(data.curves) > MOST_BANDS):
            _add_error_bars(series, marks, ACCENTS[index])
    return chart


def _series(curve: Curve, words: ChartWords, with_limits: bool) -> Iterator[tuple[str, str, list[Mark]]]:
    """What is drawn of one run. Marks are series of their own: point formats do not survive every program."""
    name = shortened(curve.name)
    yield "curve", name, curve.marks
    known = [mark for mark in curve.marks if mark.lower is not None and mark.upper is not None]
    if with_limits and known:
        yield "lower", f"{name}, {words.lower}", known
        yield "upper", f"{name}, {words.upper}", known
    if curve.in_band:
        yield "band", f"{name}, {words.band}", curve.in_band
    yield "final", f"{name}, {words.final}", curve.marks[-1:]
    if curve.post_norm is not None:
        yield "post_norm", f"{name}, {words.post_norm}", [curve.post_norm]


def _style_series(series, role: str, index: int) -> None:
    series.smooth = False
    colour = ACCENTS[index]
    if role in ("curve", "lower", "upper"):
        line = series.format.line
        line.width, line.dash_style = (Pt(2.25), DASHES[index]) if role == "curve" else (Pt(0.75), MSO_LINE.SOLID)
        line.color.theme_color = colour
        series.marker.style = XL_MARKER_STYLE.NONE
        return
    series.format.line.fill.background()
    marker = series.marker
    marker.style, marker.size = MARKERS[role]
    marker.format.fill.solid()
    marker.format.fill.fore_color.theme_color = colour
    marker.format.line.color.theme_color = colour
    marker.format.line.width = Pt(1.75)


def _add_error_bars(series, marks: list[Mark], colour: MSO_THEME_COLOR) -> None:
    """The 95 percent interval of each mark."""
    _error_bars(
        series,
        "y",
        [0.0 if mark.upper is None else mark.upper - mark.value for mark in marks],
        [0.0 if mark.lower is None else mark.value - mark.lower for mark in marks],
        colour,
    )


def _error_bars(
    series, direction: str, above: Sequence[float], below: Sequence[float], colour: MSO_THEME_COLOR = ACCENTS[0]
) -> None:
    """Bars in one direction, as lengths of each point; the schema wants those of x before those of y."""
    bars = etree.Element(qn("c:errBars"))
    for name, value in (("errDir", direction), ("errBarType", "both"), ("errValType", "cust"), ("noEndCap", "1")):
        etree.SubElement(bars, qn(f"c:{name}"), val=value)
    for name, lengths in (("plus", above), ("minus", below)):
        numbers = etree.SubElement(etree.SubElement(bars, qn(f"c:{name}")), qn("c:numLit"))
        etree.SubElement(numbers, qn("c:formatCode")).text = "General"
        etree.SubElement(numbers, qn("c:ptCount"), val=str(len(lengths)))
        for position, length in enumerate(lengths):
            point = etree.SubElement(numbers, qn("c:pt"), idx=str(position))
            etree.SubElement(point, qn("c:v")).text = f"{length:.6g}"
    shape = etree.SubElement(bars, qn("c:spPr"))
    line = etree.SubElement(shape, qn("a:ln"), w=str(Pt(1.25)))
    fill = etree.SubElement(line, qn("a:solidFill"))
    etree.SubElement(fill, qn("a:schemeClr"), val=f"accent{ACCENTS.index(colour) + 1}")
    before = series._element.find(qn("c:errBars"))
    (series._element.find(qn("c:xVal")) if before is None else before).addprevious(bars)


def _style_two_axes(chart: Chart, x_title: str, y_title: str) -> None:
    chart.font.size = Pt(12)
    chart.font.color.theme_color = MSO_THEME_COLOR.TEXT_1
    chart.has_title = False
    x, y = chart.category_axis, chart.value_axis
    for axis, title in ((x, x_title), (y, y_title)):
        axis.has_title = True
        axis.axis_title.text_frame.text = title
        font = axis.axis_title.text_frame.paragraphs[0].runs[0].font
        font.size, font.bold = Pt(12), False
        axis.format.line.color.theme_color = MSO_THEME_COLOR.TEXT_1
        axis.format.line.color.brightness = 0.5
        axis.major_tick_mark = XL_TICK_MARK.OUTSIDE
        axis.tick_labels.font.size = Pt(11)
        axis.tick_labels.number_format_is_linked = False
    x.has_major_gridlines = False
    y.has_major_gridlines = True
    y.major_gridlines.format.line.color.theme_color = MSO_THEME_COLOR.BACKGROUND_2
    y.major_gridlines.format.line.color.brightness = -0.1
    y.major_gridlines.format.line.width = Pt(0.75)


def _style_axes(chart: Chart, words: ChartWords, data: ProfileData) -> None:
    _style_two_axes(chart, words.x_title, words.y_title)
    x, y = chart.category_axis, chart.value_axis
    deepest = max((curve.marks[-1].layer for curve in data.curves), default=1)
    x.minimum_scale, x.maximum_scale = 0, deepest if data.same_depth else 1
    x.major_unit = _layer_step(deepest) if data.same_depth else 0.2
    x.tick_labels.number_format = "0" if data.same_depth else "0.0"
    y.minimum_scale = 0
    y.tick_labels.number_format = "0"


def _make_log(chart: Chart, data: ProfileData) -> None:
    """A logarithmic value axis from the power of ten below the smallest value; the schema wants the base first."""
    scaling = chart.value_axis._element.find(qn("c:scaling"))
    scaling.insert(0, etree.Element(qn("c:logBase"), val="10"))
    smallest = min(mark.value for curve in data.curves for mark in curve.marks)
    chart.value_axis.minimum_scale = 10.0 ** math.floor(math.log10(smallest))


def _layer_step(deepest: int) -> int:
    return next((step for step in (1, 2, 5, 10) if deepest / step <= 10), 20)


def _show_legend(chart: Chart, hidden: list[int]) -> None:
    """Only the lines stand in the legend; what the marks mean is said once, below the chart."""
    chart.has_legend = True
    legend = chart.legend
    legend.position, legend.include_in_layout = XL_LEGEND_POSITION.TOP, False
    legend.font.size = Pt(12)
    for position in reversed(hidden):
        entry = etree.Element(qn("c:legendEntry"))
        etree.SubElement(entry, qn("c:idx"), val=str(position))
        etree.SubElement(entry, qn("c:delete"), val="1")
        legend._element.find(qn("c:legendPos")).addnext(entry)


SCATTER_PLOT = (500.0, 230.0)
"""What the axes of a scatter on a slide span, where a letter takes 11."""
LABEL_PLACES = {
    "top": XL_LABEL_POSITION.ABOVE,
    "bottom": XL_LABEL_POSITION.BELOW,
    "middle left": XL_LABEL_POSITION.LEFT,
    "middle right": XL_LABEL_POSITION.RIGHT,
}


def add_scatter(slide: Slide, box: Box, data: RankingData, language: str) -> Chart:
    """Dimension against score as native points, a series for each kind of score, with both 95 percent intervals."""
    _ = translator(language)
    names = {match: name for match, name in match_names(language).items() if any(p.match == match for p in data.points)}
    points = {match: [point for point in data.points if point.match == match] for match in names}
    # Largest series first: LibreOffice drops every series that stands before a longer one.
    order = sorted(names, key=lambda match: -len(points[match]))
    content = XyChartData(number_format="General")
    for match in order:
        series = content.add_series(names[match])
        for point in points[match]:
            series.add_data_point(point.dimension, point.score)
    left, top, width, height = (Inches(length) for length in box)
    kind = XL_CHART_TYPE.XY_SCATTER
    frame: Any = slide.shapes.add_chart(kind, left, top, width, height, content)  # type: ignore[arg-type]
    alternative = _("Scatter chart of dimension against score, one point for each of {n} models.")
    describe(frame, alternative.format(n=len(data.points)))
    chart = frame.chart
    _style_two_axes(chart, dimension_axis(data, language), score_axis(data))
    across = [value for p in data.points for value in (p.dimension, p.lower, p.upper) if value is not None]
    reach = [NORMAL_95 * (p.score_std_error or 0.0) for p in data.points]
    up = [p.score + sign * r for p, r in zip(data.points, reach, strict=True) for sign in (-1, 1)]
    _span(chart.category_axis, across)
    _span(chart.value_axis, up)
    chart.has_legend = len(order) > 1
    if chart.has_legend:
        chart.legend.position, chart.legend.include_in_layout = XL_LEGEND_POSITION.TOP, False
        chart.legend.font.size = Pt(12)
    for series, match in zip(chart.plots[0].series, order, strict=True):
        _style_points(series, points[match], is_open=match == "base")
    return chart


def _span(axis: Any, values: Sequence[float]) -> None:
    """Around the values, from one round number to another: they need not begin at zero, as lengths would."""
    low, high = min(values), max(values)
    room = (high - low) or abs(high) or 1.0
    step = 10.0 ** math.floor(math.log10(room / 4))
    step = next(step * factor for factor in (1, 2, 5, 10) if room / (step * factor) <= 6)
    axis.minimum_scale = math.floor((low - 0.02 * room) / step) * step
    axis.maximum_scale = math.ceil((high + 0.04 * room) / step) * step
    axis.major_unit = step
    axis.tick_labels.number_format = "0" if step >= 1 else f"0.{'0' * math.ceil(-math.log10(step))}"


def _style_points(series, points: Sequence[ScoredPoint], is_open: bool) -> None:
    series.format.line.fill.background()
    marker = series.marker
    marker.style, marker.size = XL_MARKER_STYLE.CIRCLE, 8
    marker.format.line.color.theme_color = ACCENTS[0]
    if is_open:
        marker.format.fill.background()
    else:
        marker.format.fill.solid()
        marker.format.fill.fore_color.theme_color = ACCENTS[0]
    reach = [NORMAL_95 * (point.score_std_error or 0.0) for point in points]
    _error_bars(series, "y", reach, reach)
    _error_bars(
        series,
        "x",
        [0.0 if point.upper is None else point.upper - point.dimension for point in points],
        [0.0 if point.lower is None else point.dimension - point.lower for point in points],
    )
    for at, point in enumerate(points):
        if not point.place:
            continue
        label = series.points[at].data_label
        label.has_text_frame = True
        label.text_frame.text = re.sub(CONTROL, "", point.name)
        label.text_frame.paragraphs[0].runs[0].font.size = Pt(10)
        label.position = next(where for start, where in LABEL_PLACES.items() if point.place.startswith(start))


BELOW_CHART = (CHART_BOX[0] + 0.1, CHART_BOX[1] + CHART_BOX[3] + 0.02, CHART_BOX[2], 0.3)


def chart_words(data: ProfileData, language: str, is_log: bool = False) -> ChartWords:
    """Axis titles and series names; a logarithmic axis says that it is one."""
    _ = translator(language)
    dimension = wording.dimension_axis(data.estimator, data.cloud, language, data.n_points)
    return ChartWords(
        x_title=wording.layer_axis(data.same_depth, language),
        y_title=_("{axis}, logarithmic").format(axis=dimension) if is_log else dimension,
        lower=_("lower 95 % limit"),
        upper=_("upper 95 % limit"),
        band=_("working band"),
        final=_("final state, before the norm"),
        post_norm=_("final state, after the norm"),
        alternative=_("Line chart of the estimated dimension (d2) over the layers of {names}.").format(
            names=_(", ").join(curve.name for curve in data.curves)
        ),
    )


def mark_key(data: ProfileData, language: str) -> str:
    """What the marks mean: said once, below the chart."""
    _ = translator(language)
    marks = [_("● working band"), _("◆ final state, before the norm")]
    if any(curve.post_norm for curve in data.curves):
        marks.append(_("▲ final state, after the norm"))
    limits = _("thin lines and bars: 95 % intervals") if len(data.curves) <= MOST_BANDS else _("bars: 95 % intervals")
    return "    ".join([*marks, limits])


def fill_chart_slide(
    slide: Slide,
    data: ProfileData,
    statements: Sequence[str],
    has_veto: bool,
    language: str,
    is_log: bool = False,
    without: str = "",
) -> None:
    """A chart on the left, statements beside it, below them what the dimensions are; `without` stands for no chart."""
    chart_holder, text_holder = slide.placeholders[1], slide.placeholders[2]
    chart_holder._element.getparent().remove(chart_holder._element)
    if data.curves:
        add_profile_chart(slide, CHART_BOX, data, chart_words(data, language, is_log), is_log)
        add_text(slide, BELOW_CHART, [mark_key(data, language)], 11, quiet=True)
    elif without:
        add_text(slide, CHART_BOX, [without], 14)
    fill_paragraphs(text_holder.text_frame, statements, fitting_size(statements, STATEMENT_BOX, STATEMENT_SIZES))
    reading = [wording.own_definition(language)]
    reading += [wording.veto_note(language)] * has_veto
    add_text(slide, READING_BOX, reading, 11, quiet=True)
