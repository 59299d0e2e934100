"""Lines with filled 95 percent bands as one native chart: a line chart over stacked areas with a common x axis.

A band is two series of the chart's workbook: the lower limit, which is invisible, and the width above it, which is filled; so
editing a number moves the band. Areas need whole numbers on the x axis, so depths between 0 and 1 are stored in thousandths.
A chart has one stack of areas for each of its two pairs of axes: two bands at most.
"""

from __future__ import annotations

import copy
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from lxml import etree
from pptx.chart.chart import Chart as NativeChart
from pptx.chart.data import CategoryChartData, XyChartData
from pptx.chart.xlsx import CategoryWorkbookWriter, XyWorkbookWriter
from pptx.oxml import parse_xml
from pptx.oxml.ns import nsdecls, qn

from core.figures.chart import Axis, Chart, Series
from core.locale import _

MOST_BANDS = 2
THOUSANDTHS = 1000
OPACITY = "25000"
_FIRST_AXES, _SECOND_AXES = ("2118791784", "2140495176"), ("2118791785", "2140495177")


def has_bands(chart: Chart) -> bool:
    """Whether a chart is drawn with filled bands; with guides or marks it is a scatter with error bars."""
    is_plain = not chart.guides and all(line.is_line for line in chart.series)
    return is_plain and 0 < len(_banded(chart.series)) <= MOST_BANDS


def _banded(series: Sequence[Series]) -> list[Series]:
    return [line for line in series if line.is_banded and line.mark == "none" and len(_limits(line)) > 1]


# --- the workbook ---------------------------------------------------------------------------------------------


class _TextStaysText:
    """Names of models stand in a workbook as text: XlsxWriter would make formulas, links or numbers of some."""

    @contextmanager
    def _open_worksheet(self, xlsx_file: Any) -> Iterator[tuple[Any, Any]]:
        with super()._open_worksheet(xlsx_file) as (workbook, worksheet):  # type: ignore[misc]
            worksheet.strings_to_formulas = worksheet.strings_to_urls = worksheet.strings_to_numbers = False
            yield workbook, worksheet


class _CategoryWriter(_TextStaysText, CategoryWorkbookWriter):
    pass


class _XyWriter(_TextStaysText, XyWorkbookWriter):
    pass


class CategoryData(CategoryChartData):
    @property
    def _workbook_writer(self) -> _CategoryWriter:
        return _CategoryWriter(self)


class XyData(XyChartData):
    @property
    def _workbook_writer(self) -> _XyWriter:
        return _XyWriter(self)


def workbook(chart: Chart, lines: Sequence[Series]) -> CategoryData:
    """The chart's workbook: a column of x values, one for each line, and two for each band."""
    places = x_values(lines)
    data = CategoryData(number_format="General")
    for place in places:
        data.add_category(round(place * _factor(chart.x)))
    for line in lines:
        heights = {point.x: point.y for point in line.points}
        data.add_series(line.name, [heights.get(place) for place in places])
    for line in _banded(lines):
        limits = [_limits_at(_limits(line), place) for place in places]
        data.add_series(_("{name}: lower 95 % limit").format(name=line.name), [lower for lower, _upper in limits])
        widths = [upper - lower for lower, upper in limits]
        data.add_series(_("{name}: width of the 95 % interval").format(name=line.name), widths)
    return data


def x_values(lines: Sequence[Series]) -> list[float]:
    """The x values of all points, ascending."""
    return sorted({point.x for line in lines for point in line.points})


def arrange_areas(native: NativeChart, lines: Sequence[Series]) -> None:
    """Puts areas behind the lines, each band on its own pair of axes over the visible ones. Call it after styling."""
    area = native._chartSpace.chart.plotArea
    line_chart = area.find(qn("c:lineChart"))
    native_series = line_chart.findall(qn("c:ser"))
    banded = _banded(lines)
    native._chartSpace.chart.find(qn("c:dispBlanksAs")).set("val", "span")  # at the depths of another model
    for cache in line_chart.iter(qn("c:cat")):  # LibreOffice needs dates here for a date axis
        cache.find(f".//{qn('c:formatCode')}").text = "yyyy\\-mm\\-dd"
    for number, band in enumerate(banded):
        lower, width = native_series[len(lines) + 2 * number : len(lines) + 2 * number + 2]
        _fill(lower, None)
        _fill(width, band.colour)
        axes = (_FIRST_AXES, _SECOND_AXES)[number]
        pile = parse_xml(
            f'<c:areaChart {nsdecls("c")}><c:grouping val="stacked"/><c:varyColors val="0"/></c:areaChart>'
        )
        pile.extend([lower, width, *(etree.Element(qn("c:axId"), val=axis) for axis in axes)])
        line_chart.addprevious(pile) if number == 0 else line_chart.addnext(pile)
    if len(banded) > 1:
        _add_second_axes(area)


def replace_axis(native: NativeChart, axis: Axis) -> None:
    """Replaces the category axis by a date axis, which is continuous: its numbers are days, shown as numbers."""
    area = native._chartSpace.chart.plotArea
    factor = _factor(axis)
    date_axis = parse_xml(
        f'<c:dateAx {nsdecls("c")}><c:axId val="{_FIRST_AXES[0]}"/><c:scaling><c:orientation val="minMax"/>'
        f'<c:max val="{axis.high * factor:g}"/><c:min val="{axis.low * factor:g}"/></c:scaling><c:delete val="0"/>'
        f'<c:axPos val="b"/><c:numFmt formatCode="{_number_format(axis)}" sourceLinked="0"/><c:majorTickMark val="out"/>'
        f'<c:minorTickMark val="none"/><c:tickLblPos val="low"/><c:crossAx val="{_FIRST_AXES[1]}"/>'
        '<c:crosses val="autoZero"/><c:auto val="0"/><c:lblOffset val="100"/><c:baseTimeUnit val="days"/>'
        f'<c:majorUnit val="{axis.step * factor:g}"/><c:majorTimeUnit val="days"/></c:dateAx>'
    )
    area.replace(area.find(qn("c:catAx")), date_axis)
    upright = area.find(qn("c:valAx"))
    between = upright.find(qn("c:crossBetween"))
    if between is None:
        between = etree.Element(qn("c:crossBetween"))
        upright.find(qn("c:crosses")).addnext(between)
    between.set("val", "midCat")


def _number_format(axis: Axis) -> str:
    """The comma at the end of a number format divides by 1000."""
    digits = "0" if not axis.decimals else f"0.{'0' * axis.decimals}"
    return digits if _factor(axis) == 1 else f"{digits},"


def _factor(axis: Axis) -> int:
    return 1 if axis.decimals == 0 else THOUSANDTHS


def _limits(series: Series) -> list[tuple[float, float, float]]:
    return [(p.x, p.lower, p.upper) for p in series.points if p.lower is not None and p.upper is not None]


def _limits_at(limits: Sequence[tuple[float, float, float]], place: float) -> tuple[float, float]:
    """Lower and upper limit at an x value: as measured, or interpolated linearly."""
    position = bisect_left([x for x, _low, _high in limits], place)
    before, after = limits[max(position - 1, 0)], limits[min(position, len(limits) - 1)]
    share = (
        0.0 if after[0] == before[0] else (min(max(place, before[0]), after[0]) - before[0]) / (after[0] - before[0])
    )
    return before[1] + share * (after[1] - before[1]), before[2] + share * (after[2] - before[2])


def _fill(series: Any, colour: int | None) -> None:
    """Fills a series with a pale colour; None makes it invisible."""
    for name in ("c:marker", "c:smooth", "c:spPr"):
        for child in series.findall(qn(name)):
            series.remove(child)
    fill = "<a:noFill/>" if colour is None else solid_fill(f"accent{colour % 6 + 1}", alpha=OPACITY)
    shape = parse_xml(f"<c:spPr {nsdecls('c', 'a')}>{fill}<a:ln><a:noFill/></a:ln></c:spPr>")
    series.find(qn("c:tx")).addnext(shape)


def solid_fill(colour: str, **changes: str) -> str:
    """A colour of the theme with its changes, in hundred thousandths."""
    changed = "".join(f'<a:{name} val="{value}"/>' for name, value in changes.items())
    return f'<a:solidFill><a:schemeClr val="{colour}">{changed}</a:schemeClr></a:solidFill>'


def _add_second_axes(area: Any) -> None:
    """Invisible axes with the range of the visible ones. They are not marked as deleted, because LibreOffice would then stack
    their areas on the first axes."""
    first = {tag: area.find(qn(tag)) for tag in ("c:dateAx", "c:valAx")}
    last = first["c:valAx"]
    for tag, (axis_id, crossed_id) in (("c:valAx", _SECOND_AXES[::-1]), ("c:dateAx", _SECOND_AXES)):
        axis = copy.deepcopy(first[tag])
        for name in ("c:majorGridlines", "c:title"):
            for child in axis.findall(qn(name)):
                axis.remove(child)
        axis.find(qn("c:axId")).set("val", axis_id)
        axis.find(qn("c:crossAx")).set("val", crossed_id)
        axis.find(qn("c:tickLblPos")).set("val", "none")
        axis.find(qn("c:majorTickMark")).set("val", "none")
        line = axis.find(f"{qn('c:spPr')}/{qn('a:ln')}")
        for child in list(line):
            line.remove(child)
        etree.SubElement(line, qn("a:noFill"))
        if tag == "c:valAx":
            axis.find(qn("c:axPos")).set("val", "r")
            axis.find(qn("c:crosses")).set("val", "max")
        last.addnext(axis)
        last = axis
