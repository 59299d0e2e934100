"""A picture described once: screens draw it with plotly, slides as a native chart, files and reports as SVG.

Numbers are unrounded. How a renderer draws is its own matter; what is shown stands here.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, TypeVar

from core.locale import _
from core.sources import counted
from core.wording.labels import joined_sentences, with_interval

Mark = Literal["none", "circle", "open", "diamond", "triangle", "down", "hollow", "square", "plus", "dash"]
"""`hollow` is an empty triangle."""
MARKS: dict[Mark, str] = {
    "circle": "●",
    "open": "○",
    "diamond": "◆",
    "triangle": "▲",
    "down": "▼",
    "hollow": "△",
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
    """Rows 0, 1, ... from the top, named by its labels."""
    is_log: bool = False
    is_reversed: bool = False
    """Its low end is at the top or on the right, because it is the better one."""
    labels: tuple[tuple[float, str], ...] = ()
    """Ticks that are told in words."""

    def ticks(self) -> list[tuple[float, str]]:
        """What is marked on it, with its label."""
        if self.labels or self.is_ordered:
            return list(self.labels)
        if self.is_log:
            return [(value, f"{value:,g}") for value in log_ticks(self.low, self.high)]
        n = min(int((self.high - self.low) / self.step + 1e-6), 40) if self.step > 0 else 0
        return [(value, f"{value:,.{self.decimals}f}") for value in (self.low + self.step * k for k in range(n + 1))]

    def share(self, value: float) -> float:
        """Where a value lies between `low` (0) and `high` (1)."""
        low, high = self.low, self.high
        if self.is_log:
            value, low, high = (math.log(max(end, 1e-12)) for end in (value, low, high))
        share = (value - low) / (high - low) if high > low else 0.5
        return 1 - share if self.is_reversed else share

    def value(self, share: float) -> float:
        """The value that lies there: `share` the other way round."""
        share = 1 - share if self.is_reversed else share
        return self.low * (self.high / self.low) ** share if self.is_log else self.low + share * (self.high - self.low)


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
    told: str = ""
    """Its value across as it is written, where that is not `with_interval`."""
    note: str = ""
    """What a pointer over it tells; else its name and its values."""
    layer: int | None = None
    """What a click on it chooses."""
    is_first: bool = False
    """Its name finds its place before the others."""

    def moved(self, change: Callable[[float], float]) -> Point:
        """With another upright value, and the limits of it."""
        lower, upper = (None if limit is None else change(limit) for limit in (self.lower, self.upper))
        return replace(self, y=change(self.y), lower=lower, upper=upper)

    def intervals(self) -> list[tuple[tuple[float, float], tuple[float, float]]]:
        """Those that are known, across and upright, each from one end to the other."""
        known = []
        if self.left is not None and self.right is not None:
            known.append(((self.left, self.y), (self.right, self.y)))
        if self.lower is not None and self.upper is not None:
            known.append(((self.x, self.lower), (self.x, self.upper)))
        return known


@dataclass(frozen=True)
class Series:
    """Points of one colour; `name` is written at the end of a line, and in the workbook behind the chart."""

    name: str
    points: tuple[Point, ...]
    colour: int | None = 0
    """Index into `figures.chart_figure.COLOURS`; None is grey, for series to compare with."""
    is_line: bool = True
    """Points are joined by a line; otherwise marks."""
    mark: Mark = "none"
    is_banded: bool = False
    """Intervals are drawn as a filled band, or as error bars where there are marks."""
    is_named: bool = True
    """The name is written beside the last point."""
    dash: str = ""
    """As plotly calls it, of a thin line to compare with; else colours have theirs."""
    group: str = ""
    """The series that it is hidden with; it then stands in no legend. One without points stands there alone."""
    end: str = ""
    """What is written at the end of a line to compare with, in place of its name."""


@dataclass(frozen=True)
class Guide:
    """A thin straight line across a chart, with its name at the end."""

    name: str
    at: float
    is_vertical: bool = True

    def ends(self, chart: Chart) -> tuple[tuple[float, float], tuple[float, float]]:
        """Its positions at the edges of a chart."""
        if self.is_vertical:
            return (self.at, chart.y.low), (self.at, chart.y.high)
        return (chart.x.low, self.at), (chart.x.high, self.at)


@dataclass(frozen=True)
class Span:
    """A range of x, shaded, with its name at the top."""

    name: str
    low: float
    high: float


@dataclass(frozen=True)
class Chart:
    """Lines or marks over two axes; names stand beside what they name."""

    x: Axis
    y: Axis
    series: tuple[Series, ...]
    alternative: str
    """Text for screen readers: what is seen, with its values; at most some 300 characters."""
    guides: tuple[Guide, ...] = ()
    key: str = ""
    """One line below the chart: what marks and bands mean."""
    spans: tuple[Span, ...] = ()

    @property
    def points(self) -> list[Point]:
        return [point for line in self.series for point in line.points]


def round_axis(title: str, values: Iterable[float | None], from_zero: bool = False, most_steps: int = 6) -> Axis:
    """An axis from one round number to another that contains the values, which span no more than so many steps."""
    finite = [value for value in values if value is not None and math.isfinite(value)] or [0.0, 1.0]
    low, high = min(finite), max(finite)
    low = min(low, 0.0) if from_zero else low
    room = (high - low) or abs(high) or 1.0
    step = 10.0 ** math.floor(math.log10(room / 4))
    step = next(step * factor for factor in (1, 2, 5, 10, 20) if room / (step * factor) <= most_steps)
    start = 0.0 if from_zero and low == 0 else math.floor((low - 0.02 * room) / step) * step
    end = math.ceil((high + 0.04 * room) / step) * step
    decimals = max(0, math.ceil(-math.log10(step) - 1e-9))
    return Axis(title, round(start, 10), round(end, 10), step, decimals)


def x_ends(series: Iterable[Series]) -> list[float | None]:
    """All that an axis across must contain: values and the limits of their intervals."""
    return [end for line in series for point in line.points for end in (point.x, point.left, point.right)]


def y_ends(series: Iterable[Series]) -> list[float | None]:
    return [end for line in series for point in line.points for end in (point.y, point.lower, point.upper)]


def log_ticks(lowest: float, highest: float) -> list[float]:
    """1, 2 and 5 of each power of ten within a range; the powers alone where there would be more than seven, and finer ones
    where there would be less than two: within `log_axis` lies always one."""
    powers = range(math.floor(math.log10(lowest)), math.ceil(math.log10(highest)) + 1)
    for digits in ((1, 2, 5), (1, 1.5, 2, 3, 5, 7)):
        values = [a * 10.0**power for power in powers for a in digits if lowest <= a * 10.0**power <= highest]
        if len(values) > 1:
            break
    return values if len(values) <= 7 else [value for value in values if f"{value:e}".startswith("1.")]


def log_axis(title: str, values: Iterable[float | None]) -> Axis:
    """A logarithmic axis with some room around the values, which are positive."""
    positive = [value for value in values if value is not None and 0 < value < math.inf] or [1.0]
    return Axis(title, min(positive) / 1.3, 1.3 * max(positive), 0.0, is_log=True)


def value_text(point: Point) -> str:
    """The value across with its interval, as it stands beside a point in a row: `1.90 [1.85, 1.95]`."""
    return point.told or with_interval(point.x, point.left, point.right)


def point_text(chart: Chart, line: Series, point: Point) -> str:
    """`pythia-410m (106 [98.6, 113]): 45.0 [44.0, 46.0]`, for a pointer over the point."""
    if point.note:
        return point.note
    if chart.x.is_ordered or chart.y.is_ordered:
        return f"{point.name or line.name}: {value_text(point)}"
    across = (
        f"{point.x:,.{chart.x.decimals}f}" if point.left is None else with_interval(point.x, point.left, point.right)
    )
    return f"{point.name or line.name} ({across}): {with_interval(point.y, point.lower, point.upper)}".lstrip()


def whole_step(most: float) -> int:
    """Distance of some ten ticks of an axis of whole numbers from 0."""
    return next((step for step in (1, 2, 5, 10) if most / step <= 10), 20)


def marked_series(
    name: str, points: Iterable[Point], colour: int | None = 0, mark: Mark = "circle", group: str = ""
) -> Series:
    """Marks that no line joins; their name stands in the legend alone."""
    return Series(name, tuple(points), colour, False, mark, is_named=False, group=group)


def mark_key(series: Iterable[Series]) -> str:
    """What their marks mean: `● told apart, ○ cannot be told apart`."""
    return _(", ").join(f"{MARKS[line.mark]} {line.name}" for line in series if line.name)


def kinds_series(
    kinds: Mapping[Any, tuple[str, Mark, int | None]], points: Iterable[tuple[Any, Point]]
) -> list[Series]:
    """Marks without a line: of each kind that has points its name, mark and colour."""
    found = list(points)
    of_kinds = {kind: [point for of, point in found if of == kind] for kind in kinds}
    return [
        marked_series(name, of_kinds[kind], colour, mark)
        for kind, (name, mark, colour) in kinds.items()
        if of_kinds[kind]
    ]


def scatter_chart(
    groups: Mapping[str, Sequence[Point]], x_title: str, y_title: str, alternative: str, key: str = ""
) -> Chart:
    """Points in both directions on round axes; each group has a mark and a colour of its own."""
    series = tuple(
        marked_series(name, points, n, mark)
        for n, ((name, points), mark) in enumerate(zip(groups.items(), MARKS, strict=False))
        if points
    )
    x, y = round_axis(x_title, x_ends(series)), round_axis(y_title, y_ends(series))
    return Chart(x, y, series, alternative, key=key or mark_key(series))


MOST_ROWS_TOLD = 8
"""In the text for screen readers."""


def row_chart(x: str | Axis, points: Iterable[Point], **more: Any) -> Chart:
    """`interval_chart` of one point in each row, in this order."""
    placed = (replace(point, y=row) for row, point in enumerate(points))
    return interval_chart([marked_series(x if isinstance(x, str) else x.title, placed)], x, **more)


def interval_chart(
    series: Iterable[Series],
    x: str | Axis,
    guides: Sequence[Guide] = (),
    key: str = "",
    nothing: str = "",
    beside: Sequence[float] = (),
    from_zero: bool = False,
    is_reversed: bool = False,
) -> Chart:
    """Values with their intervals in rows: y of a point is its row, from 0 at the top, named by its points; `nothing` is told
    where there are none. Where only the title of the axis is given, it is a round one, with what is `beside` the values too."""
    drawn = tuple(line for line in series if line.points)
    if isinstance(x, str):
        x = replace(round_axis(x, [*x_ends(drawn), *beside], from_zero), is_reversed=is_reversed)
    points = [point for line in drawn for point in line.points]
    told = _("; ").join(
        _("{name}: {relation}", name=one.name, relation=value_text(one)) for one in points[:MOST_ROWS_TOLD]
    )
    alternative = _("{title}. {told}.", title=x.title, told=told) if points else nothing
    if any(point.left is not None for point in points):
        key = key or _("Bars: 95 % intervals.")
    names = {round(point.y): point.name for point in points if point.name}
    rows = Axis("", -0.5, max(names, default=0) + 0.5, 1, is_ordered=True, labels=tuple(sorted(names.items())))
    return Chart(x, rows, drawn, alternative, tuple(guides), key)


@dataclass(frozen=True)
class Block:
    number: int
    """From 0, in the order of the model."""
    is_removed: bool
    told: str = ""
    """How much harder text is to predict without this block alone; empty where it was not priced."""
    shade: int = 3
    """0 to 3, the darker the more it harms to leave this block out; the darkest where it was not priced."""

    @property
    def is_pale(self) -> bool:
        """Whether letters on it are dark."""
        return self.shade < 2


@dataclass(frozen=True)
class Blocks:
    """The blocks of one model in a row: which stay and which go."""

    blocks: tuple[Block, ...]
    kept_name: str
    removed_name: str
    alternative: str
    key: str = ""
    do_go: bool = True
    """Whether those that are removed are to go, and so are empty; those that were only tried are framed."""


@dataclass(frozen=True)
class Bar:
    row: int
    """From 0 at the top."""
    low: float
    high: float
    note: str
    """What a pointer over it tells."""
    text: str = ""
    """Written within it."""


@dataclass(frozen=True)
class Bars:
    """Rows of horizontal bars, each in parts side by side."""

    title: str
    """Of the axis of values."""
    rows: tuple[str, ...]
    parts: Mapping[str, Sequence[Bar]]
    """Name of a part, its colour and pattern those of its place."""
    marked: tuple[float, ...] = ()
    """For each row a value that a line marks."""
    is_share: bool = False
    """Values are shares of one."""


@dataclass(frozen=True)
class Gallery:
    """Small charts, row by row, each under the title of its y axis."""

    charts: tuple[Chart, ...]
    alternative: str
    key: str = ""


Drawing = TypeVar("Drawing", Chart, Gallery)


def told_drawn(picture: Drawing, total: int, source: str) -> Drawing:
    """The picture of models, with how many of `total` it has room for, where that is not all; `source` holds them."""
    n = counted(len(picture.charts if isinstance(picture, Gallery) else picture.y.labels), source)
    if n == total:
        return picture
    drawn = _("Drawn: {n} of {total} models.", n=n, total=total)
    return replace(picture, key=joined_sentences((drawn, picture.key)))
