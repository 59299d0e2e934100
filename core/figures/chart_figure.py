"""A `Chart` as a plotly figure, for screens."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import plotly.graph_objects as go

from core.figures.chart import Axis, Chart, Guide, Point, Series, point_text
from core.figures.labels import SIDES, Position, name_sides
from core.figures.style import (
    BARS,
    COLOURS,
    DASHES,
    QUIET,
    axes_figure,
    error_bars,
    escape_label,
    label_rows,
    translucent,
)

SYMBOLS = {
    "circle": "circle",
    "open": "circle-open",
    "diamond": "diamond",
    "triangle": "triangle-up",
    "square": "square",
    "plus": "cross",
    "dash": "line-ew-open",
}
LABEL_SIZE = 11.0
PLOT = (450.0, 310.0)
"""Pixels of the axes in a window of 1,000: labels that do not overlap there do not overlap in a wider window."""
MARGINS = 130
"""Pixels of a figure above and below its axes."""
LONGEST_ROW = 40


def chart_figure(chart: Chart, height: int = 440) -> go.Figure:
    """Lines with bands, marks with error bars, names where there is room, guides; values under the pointer."""
    figure = axes_figure(_in_html(chart.x.title), _in_html(chart.y.title), height)
    in_legend: set[str] = set()
    texts = _names_beside(chart, height)
    for line in chart.series:
        colour, dash = _colour(line), DASHES[(line.colour or 0) % len(DASHES)] if line.colour is not None else "dot"
        if line.is_line and line.is_banded:
            _draw_band(figure, line, colour)
        positions = [texts.get(point, "") for point in line.points]
        parts = {"lines": line.is_line, "markers": line.mark != "none", "text": any(positions)}
        has_bars = not line.is_line or (line.is_banded and line.mark != "none")
        x, y = [point.x for point in line.points], [point.y for point in line.points]
        figure.add_scatter(
            x=x,
            y=y,
            mode="+".join(part for part, is_drawn in parts.items() if is_drawn),
            name=escape_label(line.name),
            legendgroup=line.name,
            showlegend=bool(line.name) and line.name not in in_legend,
            line={"color": colour, "width": 2.5 if line.colour is not None else 1.3, "dash": dash},
            marker={
                "symbol": SYMBOLS.get(line.mark, "circle"),
                "size": 9,
                "color": colour,
                "line": {"width": 2, "color": colour},
            },
            text=[
                escape_label(point.name) if place else "" for point, place in zip(line.points, positions, strict=True)
            ],
            textposition=[place or "top center" for place in positions],
            textfont={"size": LABEL_SIZE},
            error_x=_bars(x, [(point.left, point.right) for point in line.points], colour) if has_bars else None,
            error_y=_bars(y, [(point.lower, point.upper) for point in line.points], colour) if has_bars else None,
            hovertext=[_in_html(point_text(chart, line, point)) for point in line.points],
            hoverinfo="text",
        )
        in_legend.add(line.name)
    for guide in chart.guides:
        _draw_guide(figure, guide)
    _set_axis(figure.update_xaxes, chart.x)
    _set_axis(figure.update_yaxes, chart.y)
    if chart.y.is_ordered:
        label_rows(
            figure, [name for _place, name in sorted({round(p.y): p.name for p in chart.points}.items())], LONGEST_ROW
        )
    if not any(in_legend):
        figure.update_layout(showlegend=False, margin={"t": 20})
    return figure


def _in_html(text: str) -> str:
    return escape_label(text).replace("\n", "<br>")


def _colour(line: Series) -> str:
    return QUIET if line.colour is None else COLOURS[line.colour % len(COLOURS)]


def _draw_band(figure: go.Figure, line: Series, colour: str) -> None:
    banded = [point for point in line.points if point.lower is not None and point.upper is not None]
    figure.add_scatter(
        x=[point.x for point in [*banded, *banded[::-1]]],
        y=[point.upper for point in banded] + [point.lower for point in banded[::-1]],
        mode="lines",
        fill="toself",
        fillcolor=translucent(colour),
        line={"width": 0},
        hoverinfo="skip",
        showlegend=False,
        legendgroup=line.name,
    )


def _bars(values: Sequence[float], limits: Sequence[tuple[float | None, float | None]], colour: str) -> dict:
    above = [None if high is None else high - value for value, (_low, high) in zip(values, limits, strict=True)]
    below = [None if low is None else value - low for value, (low, _high) in zip(values, limits, strict=True)]
    return error_bars(above, below) | {"color": translucent(colour, BARS), "width": 0}


def _draw_guide(figure: go.Figure, guide: Guide) -> None:
    line = {"color": QUIET, "width": 1.2, "dash": "dash"}
    draw = figure.add_vline if guide.is_vertical else figure.add_hline
    draw(guide.at, line=line, annotation={"text": escape_label(guide.name), "font": {"color": QUIET}})


def _set_axis(update: Callable[..., Any], axis: Axis) -> None:
    if not axis.is_ordered:
        update(range=[axis.low, axis.high], dtick=axis.step, tickformat=f",.{axis.decimals}f")


def _names_beside(chart: Chart, height: int) -> dict[Point, str]:
    """Position of the name of each point that has room for one, as plotly calls it."""
    if chart.y.is_ordered:
        return {}
    plot = PLOT[0], height - MARGINS

    def to_pixels(x: float, y: float) -> Position:
        return plot[0] * _share(x, chart.x), plot[1] * (1 - _share(y, chart.y))

    sides = name_sides(chart.points, to_pixels, (-20, -20, plot[0] + 20, plot[1]), LABEL_SIZE)
    return {point: _text_position(*SIDES[side]) for point, side in zip(chart.points, sides, strict=True) if side}


def _share(value: float, axis: Axis) -> float:
    return (value - axis.low) / (axis.high - axis.low)


def _text_position(across: int, down: int) -> str:
    return f"{('top', 'middle', 'bottom')[down + 1]} {('left', 'center', 'right')[across + 1]}"
