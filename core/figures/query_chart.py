"""A quick chart of any table: the default choice of columns, its points as plain data, and the figure."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import plotly.graph_objects as go
import polars as pl

from core.figures.chart_figure import COLOURS, DASHES, axes_figure, escape_label, with_message
from core.locale import _
from core.wording.labels import distinct_short_names, shortened_name

KINDS = ("line", "scatter", "bar", "histogram")
MOST_SERIES = 12
MOST_POINTS = 5_000
MOST_BARS = 48
BINS = 40
FEW_VALUES = 12
"""Up to this number each whole number has a tick, because plotly would put some at halves."""
_ORDERED = ("layer", "relative_depth", "depth", "n1", "n2", "k", "bin_lower", "layer_a")
"""Preferred columns for the x axis, in this order."""
_VALUES = ("value", "inner_max", "working_dimension", "d2", "score", "bits_per_byte", "neighbour_overlap", "count")
"""Preferred columns for the y axis: a table holds other numbers before what it is about."""
_LIMITS = ("lower", "upper", "std_error")
"""Endings of columns that limit a value."""


@dataclass(frozen=True)
class ChartChoice:
    """Kind and column names; `y` is None for a histogram, `colour` None for one series."""

    kind: str
    x: str
    y: str | None = None
    colour: str | None = None


@dataclass(frozen=True)
class Series:
    name: str
    x: list[Any]
    y: list[Any]


@dataclass(frozen=True)
class QueryChart:
    """Points of one quick chart."""

    choice: ChartChoice
    series: list[Series]
    x_is_text: bool
    n_empty: int
    """Rows that are not drawn because they have no number, or none for the other axis."""
    n_beyond: int
    """Rows that are not drawn because they are in series beyond MOST_SERIES, or beyond MOST_POINTS."""


def numeric_columns(frame: pl.DataFrame) -> list[str]:
    """Columns for the y axis."""
    return [name for name, kind in frame.schema.items() if kind.is_numeric()]


def grouping_columns(frame: pl.DataFrame) -> list[str]:
    """Columns that can split the rows into 2 to MOST_SERIES series."""
    return [
        name
        for name, kind in frame.schema.items()
        if (kind == pl.String or kind == pl.Boolean or kind.is_integer()) and 1 < frame[name].n_unique() <= MOST_SERIES
    ]


def default_choice(frame: pl.DataFrame) -> ChartChoice | None:
    """The chart that shows most of these rows; None where there is nothing to draw."""
    names = [name for name in numeric_columns(frame) if frame[name].count()]
    if not names:
        return None
    texts = [name for name, kind in frame.schema.items() if kind == pl.String]
    parts = [name for name in grouping_columns(frame) if name in texts]
    times = [name for name, kind in frame.schema.items() if kind.is_temporal()]
    along = [name for name in _ORDERED if name in names and frame[name].n_unique() > 1] + times
    measured = [name for name in names if not frame[name].dtype.is_integer()]
    values = [name for name in _VALUES if name in names]
    values += [name for name in measured if not name.endswith(_LIMITS)] + measured + names
    if along and (y := next((name for name in values if name != along[0]), None)):
        return ChartChoice("line", along[0], y, _series_column(frame, along[0], parts))
    if texts and frame.height <= MOST_BARS:
        colour = _series_column(frame, texts[0], [name for name in parts if name != texts[0]])
        if colour or frame[texts[0]].is_unique().all():
            return ChartChoice("bar", texts[0], values[0], colour)
    part = next(iter(parts), None)
    if len(names) > 1:
        return ChartChoice("scatter", names[0], next(name for name in values if name != names[0]), part)
    return ChartChoice("histogram", names[0], None, part)


def _series_column(frame: pl.DataFrame, x: str, parts: list[str]) -> str | None:
    """The column that makes `x` unique within each series, or else the first that splits the rows at all; None where `x` is
    unique without."""
    if frame[x].is_unique().all():
        return None
    return next((name for name in parts if frame.select(x, name).is_unique().all()), next(iter(parts), None))


def query_points(frame: pl.DataFrame, choice: ChartChoice) -> QueryChart:
    """The points of one chart of columns of the frame, upright one of numbers.

    Nothing is summed up: where several rows of a series have the same `x`, they become points instead of bars or lines.
    """
    needed = [choice.x] if choice.y is None else [choice.x, choice.y]
    rows = frame.drop_nulls(needed)
    rows = rows.filter(pl.lit(True), *(pl.col(name).is_finite() for name in needed if frame.schema[name].is_float()))
    drawn = rows
    if choice.colour is not None:
        first_values = rows[choice.colour].unique(maintain_order=True).head(MOST_SERIES)
        drawn = rows.filter(pl.col(choice.colour).is_in(first_values.implode(), nulls_equal=True))
    drawn = drawn.head(MOST_POINTS)
    if choice.kind == "line":
        drawn = drawn.sort(choice.x, maintain_order=True)
    series = _series(drawn, choice)
    if choice.kind in ("bar", "line") and any(len(set(one_series.x)) < len(one_series.x) for one_series in series):
        choice = replace(choice, kind="scatter")
    is_text = frame[choice.x].dtype == pl.String
    return QueryChart(choice, series, is_text, frame.height - rows.height, rows.height - drawn.height)


def _series(rows: pl.DataFrame, choice: ChartChoice) -> list[Series]:
    def make_series(name: str, part: pl.DataFrame) -> Series:
        return Series(name, _plotly_values(part[choice.x]), [] if choice.y is None else _plotly_values(part[choice.y]))

    if choice.colour is None:
        return [make_series(choice.y or choice.x, rows)] if rows.height else []
    parts = rows.partition_by(choice.colour, maintain_order=True)
    return [make_series("–" if part[choice.colour][0] is None else str(part[choice.colour][0]), part) for part in parts]


def _plotly_values(values: pl.Series) -> list[Any]:
    """Numbers, times and texts for plotly; decimals as floats, all else as text."""
    if values.dtype.is_decimal():
        return values.cast(pl.Float64).to_list()
    if values.dtype.is_numeric() or values.dtype.is_temporal():
        return values.to_list()
    return [str(value) for value in values.to_list()]


_SYMBOLS = ("circle", "square", "diamond", "cross", "triangle-up", "x")
_PATTERNS = ("", "/", ".", "x", "-", "|")
_LONGEST, _LONGEST_SERIES, _LONGEST_TICK = 60, 20, 24
_MOST_TICKS = 14
"""More names than these have no room of their own: plotly leaves some out."""


def query_figure(data: QueryChart) -> go.Figure:
    """Lines, points, bars or a histogram; the axes have the names of the columns.

    Beyond the six colours of the palette, dashes, symbols and patterns change. Bars and points of texts lie on their side:
    names beneath a picture that is this low would take its place.
    """
    choice = data.choice
    is_lying = data.x_is_text and choice.kind in ("bar", "scatter")
    titles = _label(choice.x), _("rows") if choice.y is None else _label(choice.y)
    figure = axes_figure(*(titles[::-1] if is_lying else titles))
    if not data.series:
        return with_message(figure, _("No row has both values."))
    for number, series in enumerate(data.series):
        _draw(figure, choice.kind, series, number, is_lying)
    if data.x_is_text:
        names = list(dict.fromkeys(name for series in data.series for name in series.x))
        axis: dict[str, Any] = {"type": "category"}
        if len(names) <= _MOST_TICKS:
            short = distinct_short_names(names, lambda name: shortened_name(name, _LONGEST_TICK))
            axis |= {"tickvals": list(map(_label, names)), "ticktext": list(map(escape_label, short))}
        if is_lying:
            figure.update_yaxes(autorange="reversed", **axis)
        else:
            figure.update_xaxes(**axis)
    elif _has_few_whole_values(data):
        figure.update_xaxes(dtick=1)
    if choice.kind == "histogram":
        figure.update_layout(barmode="overlay")
    figure.update_layout(showlegend=choice.colour is not None)
    if choice.colour is not None:
        # At the right, where many series scroll: above a picture that is this low they would take its place.
        place = {"orientation": "v", "yref": "paper", "y": 1, "x": 1.02, "maxheight": 1.0}
        title = {"text": _label(choice.colour), "font": {"size": 12}}
        figure.update_layout(legend=place | {"title": title, "font": {"size": 11}})
    figure.update_layout(margin={"t": 30})
    return figure


def _draw(figure: go.Figure, kind: str, series: Series, number: int, is_lying: bool) -> None:
    colour, turn = COLOURS[number % len(COLOURS)], number // len(COLOURS)
    x = [_label(value) if isinstance(value, str) else value for value in series.x]
    name = escape_label(shortened_name(series.name, _LONGEST_SERIES))
    places = {"x": series.y, "y": x, "orientation": "h"} if is_lying else {"x": x, "y": series.y}
    if kind == "line":
        dash = DASHES[(number + turn) % len(DASHES)]
        line = {"color": colour, "dash": dash, "width": 2.2}
        figure.add_scatter(**places, name=name, mode="lines+markers", line=line, marker={"size": 5})
    elif kind == "scatter":
        symbol = _SYMBOLS[(number + turn) % len(_SYMBOLS)]
        figure.add_scatter(**places, name=name, mode="markers", marker={"color": colour, "symbol": symbol, "size": 8})
    else:
        marker = {"color": colour, "pattern": {"shape": _PATTERNS[turn % len(_PATTERNS)]}}
        if kind == "bar":
            figure.add_bar(**places, name=name, marker=marker)
        else:
            figure.add_histogram(x=x, name=name, marker=marker, opacity=0.75, nbinsx=BINS)


def _has_few_whole_values(data: QueryChart) -> bool:
    """Few whole numbers each get a tick, because plotly would put some at halves."""
    values = [value for series in data.series for value in series.x]
    return all(type(value) is int for value in values) and max(values) - min(values) <= FEW_VALUES


def _label(text: str) -> str:
    return escape_label(shortened_name(text, _LONGEST))
