"""The quick picture of a query's rows."""

from __future__ import annotations

import plotly.graph_objects as go

from core.locale import translator
from core.report.figure_style import COLOURS, DASHES, empty, frame, shown
from core.report.figures import FEW_LAYERS
from core.report.query_points import BINS, QueryPicture, Series

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
