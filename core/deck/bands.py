"""Lines with filled 95 percent bands as one native chart: a line chart over stacked areas, all on one axis of places.

A band is two series of the chart's workbook, the lower limit, which is not drawn, and the width above it, which is filled: who
edits a number moves the band. Areas lie on whole numbers alone, so that depths between 0 and 1 stand there in thousandths.
Stacked areas pile up, and a chart has one pile on each pair of axes: two bands at most.
"""

from __future__ import annotations

import copy
from bisect import bisect_left
from collections.abc import Sequence
from typing import Any

from lxml import etree
from pptx.chart.chart import Chart as NativeChart
from pptx.chart.data import CategoryChartData
from pptx.oxml.ns import qn

from core.deck.story import Axis, Chart, Series
from core.locale import translator

MOST = 2
THOUSANDTHS = 1000
ALPHA = "25000"
_FIRST_AXES, _SECOND_AXES = ("2118791784", "2140495176"), ("2118791785", "2140495177")


def has_bands(chart: Chart) -> bool:
    """Whether a chart is drawn so; one with guides or marks is a scatter, with bars for its intervals."""
    is_plain = not chart.guides and all(one.is_line for one in chart.series)
    return is_plain and 0 < len(_banded(chart.series)) <= MOST


def _banded(series: Sequence[Series]) -> list[Series]:
    return [one for one in series if one.is_banded and one.mark == "none" and len(_limits(one)) > 1]


def content(chart: Chart, drawn: Sequence[Series], language: str) -> CategoryChartData:
    """The workbook: a column of places, one for each line, and two for each band."""
    _ = translator(language)
    places = places_of(drawn)
    data = CategoryChartData(number_format="General")
    for place in places:
        data.add_category(round(place * _factor(chart.x)))
    for one in drawn:
        heights = {point.x: point.y for point in one.points}
        data.add_series(one.name, [heights.get(place) for place in places])
    for one in _banded(drawn):
        limits = [_limits_at(_limits(one), place) for place in places]
        data.add_series(_("{name}: lower 95 % limit").format(name=one.name), [lower for lower, _upper in limits])
        widths = [upper - lower for lower, upper in limits]
        data.add_series(_("{name}: width of the 95 % interval").format(name=one.name), widths)
    return data


def places_of(drawn: Sequence[Series]) -> list[float]:
    """Where some line has a point, from left to right."""
    return sorted({point.x for one in drawn for point in one.points})


def arrange(native: NativeChart, drawn: Sequence[Series]) -> None:
    """Areas behind the lines, each band on a pair of axes of its own that lie on the drawn ones; call it after styling."""
    area = native._chartSpace.chart.plotArea
    lines = area.find(qn("c:lineChart"))
    every = lines.findall(qn("c:ser"))
    banded = _banded(drawn)
    native._chartSpace.chart.find(qn("c:dispBlanksAs")).set("val", "span")  # at the depths of another model
    for cache in lines.iter(qn("c:cat")):  # LibreOffice lays out an axis of days only where places are formatted so
        cache.find(f".//{qn('c:formatCode')}").text = "yyyy\\-mm\\-dd"
    for number, one in enumerate(banded):
        lower, width = every[len(drawn) + 2 * number : len(drawn) + 2 * number + 2]
        _fill(lower, None)
        _fill(width, one.colour)
        axes = (_FIRST_AXES, _SECOND_AXES)[number]
        pile = etree.Element(qn("c:areaChart"))
        etree.SubElement(pile, qn("c:grouping"), val="stacked")
        etree.SubElement(pile, qn("c:varyColors"), val="0")
        pile.extend([lower, width])
        for axis in axes:
            etree.SubElement(pile, qn("c:axId"), val=axis)
        lines.addprevious(pile) if number == 0 else lines.addnext(pile)
    if len(banded) > 1:
        _add_second_axes(area)


def lay_axis(native: NativeChart, told: Axis) -> None:
    """The axis of places as one of days, which is what makes it continuous: its numbers are days, shown as numbers."""
    area = native._chartSpace.chart.plotArea
    old = area.find(qn("c:catAx"))
    axis = etree.Element(qn("c:dateAx"))
    factor = _factor(told)
    etree.SubElement(axis, qn("c:axId"), val=_FIRST_AXES[0])
    scaling = etree.SubElement(axis, qn("c:scaling"))
    for name, value in (
        ("orientation", "minMax"),
        ("max", f"{told.high * factor:g}"),
        ("min", f"{told.low * factor:g}"),
    ):
        etree.SubElement(scaling, qn(f"c:{name}"), val=value)
    step = f"{told.step * factor:g}"
    for name, value in (
        ("delete", "0"),
        ("axPos", "b"),
        ("numFmt", ""),
        ("majorTickMark", "out"),
        ("minorTickMark", "none"),
        ("tickLblPos", "low"),
        ("crossAx", _FIRST_AXES[1]),
        ("crosses", "autoZero"),
        ("auto", "0"),
        ("lblOffset", "100"),
        ("baseTimeUnit", "days"),
        ("majorUnit", step),
        ("majorTimeUnit", "days"),
    ):
        made = etree.SubElement(axis, qn(f"c:{name}"))
        if name == "numFmt":
            made.set("formatCode", _number_format(told))
            made.set("sourceLinked", "0")
        else:
            made.set("val", value)
    area.replace(old, axis)
    upright = area.find(qn("c:valAx"))
    between = upright.find(qn("c:crossBetween"))
    if between is None:
        between = etree.Element(qn("c:crossBetween"))
        upright.find(qn("c:crosses")).addnext(between)
    between.set("val", "midCat")


def _number_format(told: Axis) -> str:
    """Behind a comma a program shows thousandths as ones."""
    digits = "0" if not told.decimals else f"0.{'0' * told.decimals}"
    return digits if _factor(told) == 1 else f"{digits},"


def _factor(told: Axis) -> int:
    return 1 if told.decimals == 0 else THOUSANDTHS


def _limits(one: Series) -> list[tuple[float, float, float]]:
    return [(p.x, p.lower, p.upper) for p in one.points if p.lower is not None and p.upper is not None]


def _limits_at(known: Sequence[tuple[float, float, float]], place: float) -> tuple[float, float]:
    """Lower and upper limit at a place: as measured, or on the straight line between two measured ones."""
    at = bisect_left([x for x, _low, _high in known], place)
    before, after = known[max(at - 1, 0)], known[min(at, len(known) - 1)]
    share = (
        0.0 if after[0] == before[0] else (min(max(place, before[0]), after[0]) - before[0]) / (after[0] - before[0])
    )
    return before[1] + share * (after[1] - before[1]), before[2] + share * (after[2] - before[2])


def _fill(series: Any, colour: int | None) -> None:
    """Pale in the colour of its line; the limit below it is there and not seen."""
    for name in ("c:marker", "c:smooth", "c:spPr"):
        for found in series.findall(qn(name)):
            series.remove(found)
    shape = etree.Element(qn("c:spPr"))
    if colour is None:
        etree.SubElement(shape, qn("a:noFill"))
    else:
        fill = etree.SubElement(shape, qn("a:solidFill"))
        scheme = etree.SubElement(fill, qn("a:schemeClr"), val=f"accent{colour % 6 + 1}")
        etree.SubElement(scheme, qn("a:alpha"), val=ALPHA)
    etree.SubElement(etree.SubElement(shape, qn("a:ln")), qn("a:noFill"))
    series.find(qn("c:tx")).addnext(shape)


def _add_second_axes(area: Any) -> None:
    """Axes that nobody sees, with the ends of those that are seen. LibreOffice would pile up on one axis what stands on
    axes that are deleted."""
    first = {tag: area.find(qn(tag)) for tag in ("c:dateAx", "c:valAx")}
    last = first["c:valAx"]
    for tag, (own, other) in (("c:valAx", _SECOND_AXES[::-1]), ("c:dateAx", _SECOND_AXES)):
        axis = copy.deepcopy(first[tag])
        for name in ("c:majorGridlines", "c:title"):
            for found in axis.findall(qn(name)):
                axis.remove(found)
        axis.find(qn("c:axId")).set("val", own)
        axis.find(qn("c:crossAx")).set("val", other)
        axis.find(qn("c:tickLblPos")).set("val", "none")
        axis.find(qn("c:majorTickMark")).set("val", "none")
        line = axis.find(f"{qn('c:spPr')}/{qn('a:ln')}")
        for found in list(line):
            line.remove(found)
        etree.SubElement(line, qn("a:noFill"))
        if tag == "c:valAx":
            axis.find(qn("c:axPos")).set("val", "r")
            axis.find(qn("c:crosses")).set("val", "max")
        last.addnext(axis)
        last = axis
