"""A quick picture of any table: what to draw it as, and the points, as plain data."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import plotly.graph_objects as go
import polars as pl

from core.errors import InputError, unknown_name
from core.figures.layer_profiles import FEW_LAYERS
from core.figures.style import COLOURS, DASHES, empty, frame, shown
from core.locale import translator

KINDS = ("line", "scatter", "bar", "histogram")
MOST_SERIES = 12
MOST_POINTS = 5_000
MOST_BARS = 48
BINS = 40
_ORDERED = ("layer", "relative_depth", "depth", "n1", "n2", "k", "seed", "n_points", "bin_lower", "layer_a")
"""Columns that a value is read along, in this order."""
_VALUES = ("value", "inner_max", "working_dimension", "d2", "score", "neighbour_overlap", "count")


@dataclass(frozen=True)
class Choice:
    """What is drawn: column names, `y` None for a histogram, `colour` None for one series."""

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
class QueryPicture:
    """Points of one quick picture."""

    choice: Choice
    series: list[Series]
    x_is_text: bool
    n_left_out: int
    """Rows that are not drawn: without a value, of series beyond MOST_SERIES, or beyond MOST_POINTS."""


def numbers(frame: pl.DataFrame) -> list[str]:
    """Columns that can stand on a vertical axis."""
    return [name for name, kind in frame.schema.items() if kind.is_numeric()]


def groups(frame: pl.DataFrame) -> list[str]:
    """Columns that can part the rows into series: some, and not each its own."""
    return [
        name
        for name, kind in frame.schema.items()
        if (kind == pl.String or kind == pl.Boolean or kind.is_integer()) and 1 < frame[name].n_unique() <= MOST_SERIES
    ]


def first_choice(frame: pl.DataFrame) -> Choice | None:
    """What shows most of these rows at first; None where there is nothing to draw."""
    names = numbers(frame)
    if frame.is_empty() or not names:
        return None
    texts = [name for name, kind in frame.schema.items() if kind == pl.String]
    parts = [name for name in groups(frame) if name in texts]
    times = [name for name, kind in frame.schema.items() if kind.is_temporal()]
    along = [name for name in _ORDERED if name in names and frame[name].n_unique() > 1] + times
    values = [name for name in _VALUES if name in names] + names
    if along:
        y = next((name for name in values if name != along[0]), None)
        if y is not None:
            stands_once = frame[along[0]].is_unique().all()
            return Choice("line", along[0], y, None if stands_once else _parting(frame, along[0], parts))
    if texts and frame.height <= MOST_BARS:
        stands_once = frame[texts[0]].is_unique().all()
        colour = None if stands_once else _parting(frame, texts[0], [name for name in parts if name != texts[0]])
        if stands_once or colour:
            return Choice("bar", texts[0], values[0], colour)
    if len(names) > 1:
        y = next(name for name in values if name != names[0])
        return Choice("scatter", names[0], y, next(iter(parts), None))
    return Choice("histogram", names[0], None, next(iter(parts), None))


def _parting(frame: pl.DataFrame, x: str, parts: list[str]) -> str | None:
    """The column by which each `x` stands once in each series, or else the first that parts the rows at all."""
    by_itself = (name for name in parts if frame.select(x, name).is_unique().all())
    return next(by_itself, next(iter(parts), None))


def query_points(frame: pl.DataFrame, choice: Choice) -> QueryPicture:
    """The points of one picture; InputError for columns that are not there or cannot be drawn.

    Nothing is added up: where several rows of a series have one `x`, they are points, and no bars or lines.
    """
    for name in filter(None, (choice.x, choice.y, choice.colour)):
        if name not in frame.columns:
            raise InputError(unknown_name("column", name, frame.columns))
    if choice.kind not in KINDS:
        raise InputError(unknown_name("kind of picture", choice.kind, KINDS))
    if choice.kind == "histogram":
        choice = replace(choice, y=None)
    elif choice.y is None or choice.y not in numbers(frame):
        raise InputError("A {kind} needs a column of numbers on its vertical axis.", kind=choice.kind)
    needed = [choice.x] if choice.y is None else [choice.x, choice.y]
    rows = _drawable(frame, needed)
    kept = rows if choice.colour is None else _of_first_series(rows, choice.colour)
    kept = kept.head(MOST_POINTS)
    if choice.kind == "line":
        kept = kept.sort(choice.x, maintain_order=True)
    series = _series(kept, choice)
    if choice.kind in ("bar", "line") and any(len(set(one.x)) < len(one.x) for one in series):
        choice = replace(choice, kind="scatter")
    return QueryPicture(choice, series, frame[choice.x].dtype == pl.String, frame.height - kept.height)


def _drawable(frame: pl.DataFrame, needed: list[str]) -> pl.DataFrame:
    rows = frame.drop_nulls(needed)
    for name in needed:
        kind = frame.schema[name]
        if kind.is_float():
            rows = rows.filter(pl.col(name).is_finite())
    return rows


def _of_first_series(rows: pl.DataFrame, colour: str) -> pl.DataFrame:
    shown = rows[colour].unique(maintain_order=True).head(MOST_SERIES)
    return rows.filter(pl.col(colour).is_in(shown.implode(), nulls_equal=True))


def _series(rows: pl.DataFrame, choice: Choice) -> list[Series]:
    def one(name: str, part: pl.DataFrame) -> Series:
        return Series(name, _plain(part[choice.x]), [] if choice.y is None else _plain(part[choice.y]))

    if choice.colour is None:
        return [one(choice.y or choice.x, rows)] if rows.height else []
    parts = rows.partition_by(choice.colour, maintain_order=True)
    return [one("–" if part[choice.colour][0] is None else str(part[choice.colour][0]), part) for part in parts]


def _plain(values: pl.Series) -> list[Any]:
    """Numbers, times and texts as plotly takes them; decimals as floats, all else as text."""
    if values.dtype.is_decimal():
        return values.cast(pl.Float64).to_list()
    if values.dtype.is_numeric() or values.dtype.is_temporal():
        return values.to_list()
    return [str(value) for value in values.to_list()]


_SYMBOLS = ("circle", "square", "diamond", "cross", "triangle-up", "x")
_PATTERNS = ("", "/", ".", "x", "-", "|")
_LONGEST = 60


def query_figure(data: QueryPicture, language: str) -> go.Figure:
    """Lines, points, bars or a histogram; axes bear the names of the columns.

    Beyond the six colours of the palette, dashes, symbols and patterns change with every round of it.
    """
    _ = translator(language)
    choice = data.choice
    figure = frame(_title(choice.x), _("rows") if choice.y is None else _title(choice.y))
    if not data.series:
        return empty(figure, _("No row has both values."))
    for number, series in enumerate(data.series):
        _draw(figure, choice.kind, series, number)
    if data.x_is_text:
        figure.update_xaxes(type="category")
    elif _few_whole(data):
        figure.update_xaxes(dtick=1)
    if choice.kind == "histogram":
        figure.update_layout(barmode="overlay")
    figure.update_layout(showlegend=choice.colour is not None)
    if choice.colour is not None:
        figure.update_layout(legend={"title": {"text": _title(choice.colour), "font": {"size": 13}}})
    return figure


def _draw(figure: go.Figure, kind: str, series: Series, number: int) -> None:
    colour, turn = COLOURS[number % len(COLOURS)], number // len(COLOURS)
    x = [shown(_short(value)) if isinstance(value, str) else value for value in series.x]
    name = shown(_short(series.name))
    if kind == "line":
        dash = DASHES[(number + turn) % len(DASHES)]
        line = {"color": colour, "dash": dash, "width": 2.2}
        figure.add_scatter(x=x, y=series.y, name=name, mode="lines+markers", line=line, marker={"size": 5})
    elif kind == "scatter":
        symbol = _SYMBOLS[(number + turn) % len(_SYMBOLS)]
        figure.add_scatter(
            x=x, y=series.y, name=name, mode="markers", marker={"color": colour, "symbol": symbol, "size": 8}
        )
    else:
        marker = {"color": colour, "pattern": {"shape": _PATTERNS[turn % len(_PATTERNS)]}}
        if kind == "bar":
            figure.add_bar(x=x, y=series.y, name=name, marker=marker)
        else:
            figure.add_histogram(x=x, name=name, marker=marker, opacity=0.75, nbinsx=BINS)


def _few_whole(data: QueryPicture) -> bool:
    """Up to so many whole numbers each have their tick: plotly would put some at halves."""
    values = [value for series in data.series for value in series.x]
    return all(type(value) is int for value in values) and max(values) - min(values) <= FEW_LAYERS


def _title(column: str) -> str:
    return shown(_short(column))


def _short(text: str) -> str:
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…"
