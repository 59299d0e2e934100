"""A picture described once: screens draw it with plotly, slides as a native chart, files and reports as SVG.

Numbers are unrounded. How a renderer draws is its own matter; what is shown stands here.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from core.wording.numbers import with_interval

Mark = Literal["none", "circle", "open", "diamond", "triangle", "square", "plus", "dash"]
MARKS: dict[Mark, str] = {
    "circle": "●",
    "open": "○",
    "diamond": "◆",
    "triangle": "▲",
    "square": "■",
    "plus": "✚",
    "dash": "▬",
}
"""In a line of text that explains them."""
Side = Literal["above", "below", "left", "right", "above left", "above right", "below left", "below right"]
"""Of a point, where its name stands."""


@dataclass(frozen=True)
class Axis:
    title: str
    """With its unit."""
    low: float
    high: float
    """`low` and `high` are round numbers."""
    step: float
    decimals: int = 0
    """Of the tick labels."""
    is_ordered: bool = False
    """A list of places 1, 2, ... from the top, each labelled by its point; without tick labels."""


@dataclass(frozen=True)
class Point:
    """One number, or pair of numbers; intervals are 95 percent, None where no error is known."""

    x: float
    y: float
    lower: float | None = None
    upper: float | None = None
    """Of y."""
    left: float | None = None
    right: float | None = None
    """Of x."""
    name: str = ""
    """Written beside the point where there is room."""
    note: str = ""
    """What a pointer over it tells; else its name and its values."""
    is_first: bool = False
    """Its name finds its place before the others."""


@dataclass(frozen=True)
class Series:
    """Points of one colour; `name` is written at the end of a line, and in the workbook behind the chart."""

    name: str
    points: tuple[Point, ...]
    colour: int | None = 0
    """Index into `figures.style.COLOURS`; None is grey, for series to compare with."""
    is_line: bool = True
    """Points are joined by a line; otherwise marks."""
    mark: Mark = "none"
    is_banded: bool = False
    """Intervals are drawn as a filled band, or as error bars where there are marks."""
    is_named: bool = True
    """The name is written beside the last point."""


@dataclass(frozen=True)
class Guide:
    """A thin straight line across a chart, with its name at the end."""

    name: str
    at: float
    is_vertical: bool = True


@dataclass(frozen=True)
class Chart:
    """Lines or marks over two linear axes; without a legend: names stand beside what they name."""

    x: Axis
    y: Axis
    series: tuple[Series, ...]
    alternative: str
    """Text for screen readers: what is seen, with its values; at most some 300 characters."""
    guides: tuple[Guide, ...] = ()
    key: str = ""
    """One line below the chart: what marks and bands mean."""

    @property
    def points(self) -> list[Point]:
        return [point for line in self.series for point in line.points]


def round_axis(title: str, values: Iterable[float | None], from_zero: bool = False) -> Axis:
    """An axis from one round number to another that contains the values."""
    finite = [value for value in values if value is not None and math.isfinite(value)] or [0.0, 1.0]
    low, high = min(finite), max(finite)
    low = min(low, 0.0) if from_zero else low
    room = (high - low) or abs(high) or 1.0
    step = 10.0 ** math.floor(math.log10(room / 4))
    step = next(step * factor for factor in (1, 2, 5, 10) if room / (step * factor) <= 6)
    start = 0.0 if from_zero and low == 0 else math.floor((low - 0.02 * room) / step) * step
    end = math.ceil((high + 0.04 * room) / step) * step
    decimals = max(0, math.ceil(-math.log10(step) - 1e-9))
    return Axis(title, round(start, 10), round(end, 10), step, decimals)


def point_text(chart: Chart, line: Series, point: Point) -> str:
    """`pythia-410m (106 [98.6, 113]): 45.0 [44.0, 46.0]`, for a pointer over the point."""
    if point.note:
        return point.note
    if chart.x.is_ordered or chart.y.is_ordered:
        return f"{point.name or line.name}: {with_interval(point.x, point.left, point.right)}"
    across = (
        f"{point.x:,.{chart.x.decimals}f}" if point.left is None else with_interval(point.x, point.left, point.right)
    )
    return f"{point.name or line.name} ({across}): {with_interval(point.y, point.lower, point.upper)}".lstrip()


def whole_step(most: float) -> int:
    """Distance of some ten ticks of an axis of whole numbers from 0."""
    return next((step for step in (1, 2, 5, 10) if most / step <= 10), 20)


def scatter_chart(
    groups: Mapping[str, Sequence[Point]], x_title: str, y_title: str, alternative: str, key: str = ""
) -> Chart:
    """Points in both directions on round axes; each group has a mark and a colour of its own."""
    series = tuple(
        Series(name, tuple(points), n, False, mark, is_named=False)
        for n, ((name, points), mark) in enumerate(zip(groups.items(), MARKS, strict=False))
        if points
    )
    points = [point for line in series for point in line.points]
    x = round_axis(x_title, [value for p in points for value in (p.x, p.left, p.right)])
    y = round_axis(y_title, [value for p in points for value in (p.y, p.lower, p.upper)])
    keys = [f"{MARKS[line.mark]} {line.name}" for line in series if line.name]
    return Chart(x, y, series, alternative, key=key or "   ".join(keys))


def has_room_at_its_end(guide: Guide, chart: Chart) -> bool:
    """Whether the name of a horizontal guide stands clear of the points at its right end rather than at its left one."""
    middle = (chart.x.low + chart.x.high) / 2
    points = [point for line in chart.series for point in line.points]
    left, right = (
        min((abs(point.y - guide.at) for point in points if (point.x > middle) == is_right), default=math.inf)
        for is_right in (False, True)
    )
    return right > left


@dataclass(frozen=True)
class Block:
    number: int
    """From 0, in the order of the model."""
    is_removed: bool
    price: float | None = None
    """Rise of the loss without this block alone, nats per token; None where it was not priced."""


@dataclass(frozen=True)
class Blocks:
    """The blocks of one model in a row: which stay and which go."""

    blocks: tuple[Block, ...]
    kept_name: str
    removed_name: str
    alternative: str
    key: str = ""


@dataclass(frozen=True)
class Gallery:
    """Small charts on one scale, row by row, each under the title of its y axis."""

    charts: tuple[Chart, ...]
    alternative: str
    key: str = ""
