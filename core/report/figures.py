"""The pictures of the app. Each is a pure points function (core.report.points) and a drawing function here."""

from __future__ import annotations

import html
from dataclasses import dataclass
from typing import Any

import plotly.graph_objects as go

from core.locale import translator
from core.report import wording
from core.report.palette import CURVE_COLOURS
from core.report.points import (
    CorrelatorData,
    Curve,
    Mark,
    ProfileData,
    RankingData,
    correlator_points,
    profile_points,
    ranking_points,
)

__all__ = [
    "correlator_figure",
    "correlator_points",
    "profile_figure",
    "profile_points",
    "ranking_figure",
    "ranking_points",
]

COLOURS = [f"#{colour}" for colour in CURVE_COLOURS]

DASHES = ["solid", "dash", "dot", "dashdot", "longdash", "longdashdot"]
GRID, TEXT = "#E3E7EC", "#1F2933"


def profile_figure(data: ProfileData, language: str) -> go.Figure:
    """Dimension over the layers, with 95 percent bands, the working band, the final state before and after the norm."""
    _ = translator(language)
    figure = _frame(
        wording.layer_axis(data.same_depth, language),
        wording.dimension_axis(data.estimator, data.cloud, language, data.n_points, data.n1),
    )
    if not data.curves:
        return _empty(figure, _("No estimates of this kind in the chosen runs."))
    for index, curve in enumerate(data.curves):
        _draw_curve(figure, curve, index, data.same_depth, language)
    _draw_keys(figure, data.curves, language)
    figure.update_yaxes(rangemode="tozero")
    return figure


def correlator_figure(data: CorrelatorData, language: str) -> go.Figure:
    """One correlator over the layers."""
    _ = translator(language)
    figure = _frame(
        wording.layer_axis(data.same_depth, language),
        wording.correlator_axis(data.correlator, data.cloud, language, data.n_points),
    )
    if not data.curves:
        return _empty(figure, _("No correlators of this kind in the chosen runs."))
    for index, curve in enumerate(data.curves):
        _draw_curve(figure, curve, index, data.same_depth, language)
    _draw_keys(figure, data.curves, language)
    return figure


def ranking_figure(data: RankingData, language: str) -> go.Figure:
    """Dimension against score within one group. Scores of a base model are open markers."""
    _ = translator(language)
    names = {
        "working": _("Working dimension, estimated (d2, one per type, N={n})"),
        "final_pre_norm": _("Final dimension before the norm, estimated (d2, one per type, N={n})"),
        "final_post_norm": _("Final dimension after the norm, estimated (d2, one per type, N={n})"),
    }
    score = wording.benchmark_name(data.benchmark, data.metric, data.n_shot, language)
    unit = {"percent": "%"}.get(data.unit, data.unit)
    figure = _frame(
        names[data.dimension].format(n=wording.size_range(data.n_points)), f"{score} [{unit}]" if unit else score
    )
    if not data.points:
        return _empty(figure, _("No run of this group has this score."))
    for match, name, symbol in (
        ("exact", _("score of this model"), "circle"),
        ("revision_not_stated", _("score of this model, revision not stated"), "circle-dot"),
        ("base", _("score of the base model"), "circle-open"),
    ):
        points = [point for point in data.points if point.match == match]
        if not points:
            continue
        figure.add_scatter(
            x=[point.dimension for point in points],
            y=[point.score for point in points],
            mode="markers+text",
            text=[_shown(point.name) for point in points],
            textposition="top center",
            name=name,
            marker={"size": 11, "symbol": symbol, "color": COLOURS[0], "line": {"width": 2, "color": COLOURS[0]}},
            error_x=_bars(
                [None if point.upper is None else point.upper - point.dimension for point in points],
                [None if point.lower is None else point.dimension - point.lower for point in points],
            ),
            error_y={"type": "data", "array": [point.score_std_error or 0 for point in points], "thickness": 1},
        )
    return figure


def _bars(above: list[float | None], below: list[float | None]) -> dict:
    return {
        "type": "data",
        "symmetric": False,
        "array": [value or 0 for value in above],
        "arrayminus": [value or 0 for value in below],
        "thickness": 1.5,
        "width": 4,
    }


def _draw_curve(figure: go.Figure, curve: Curve, index: int, same_depth: bool, language: str) -> None:
    pen = _Pen(figure, curve, same_depth, language)
    colour, dash = COLOURS[index % len(COLOURS)], DASHES[index % len(DASHES)]
    banded = [mark for mark in curve.marks if mark.lower is not None and mark.upper is not None]
    if banded:
        x = [_x(mark, same_depth) for mark in banded]
        outline = [mark.upper for mark in banded] + [mark.lower for mark in reversed(banded)]
        figure.add_scatter(
            x=x + x[::-1], y=outline, fill="toself", fillcolor=_faded(colour), line={"width": 0}, mode="lines",
            hoverinfo="skip", showlegend=False, legendgroup=curve.run_id, name=_shown(curve.name),
        )  # fmt: skip
    pen.draw(curve.marks, mode="lines", line={"color": colour, "dash": dash, "width": 2.5}, showlegend=True)
    pen.mark(curve.in_band, "circle", colour)
    pen.mark([curve.final] if curve.final else [], "diamond", colour, with_error=True)
    pen.mark([curve.post_norm] if curve.post_norm else [], "triangle-up-open", colour, with_error=True)


@dataclass(frozen=True)
class _Pen:
    """Draws values of one curve, each with its layer and interval under the pointer."""

    figure: go.Figure
    curve: Curve
    same_depth: bool
    language: str

    def mark(self, marks: list[Mark], symbol: str, colour: str, with_error: bool = False) -> None:
        if not marks:
            return
        size = 6 if symbol == "circle" else 11
        more = {"error_y": _interval_bars(marks) | {"color": colour}} if with_error else {}
        marker = {"symbol": symbol, "size": size, "color": colour, "line": {"width": 2, "color": colour}}
        self.draw(marks, mode="markers", marker=marker, showlegend=False, **more)

    def draw(self, marks: list[Mark], **style: Any) -> None:
        _ = translator(self.language)
        values = [wording.with_interval(mark.value, mark.lower, mark.upper) for mark in marks]
        told = [
            _("Layer {layer}: {value}").format(layer=mark.layer, value=value)
            for mark, value in zip(marks, values, strict=True)
        ]
        self.figure.add_scatter(
            x=[_x(mark, self.same_depth) for mark in marks],
            y=[mark.value for mark in marks],
            customdata=told,
            hovertemplate="%{fullData.name}<br>%{customdata}<extra></extra>",
            name=_shown(self.curve.name),
            legendgroup=self.curve.run_id,
            **style,
        )


def _interval_bars(marks: list[Mark]) -> dict:
    return _bars(
        [None if mark.upper is None else mark.upper - mark.value for mark in marks],
        [None if mark.lower is None else mark.value - mark.lower for mark in marks],
    )


def _draw_keys(figure: go.Figure, curves: list[Curve], language: str) -> None:
    """Legend entries for the marks, in a neutral colour: a mark means the same on every curve."""
    _ = translator(language)
    keys = (
        (any(curve.in_band for curve in curves), _("working band"), "circle"),
        (True, _("final state, before the norm"), "diamond"),
        (any(curve.post_norm for curve in curves), _("final state, after the norm"), "triangle-up-open"),
    )
    for shown, name, symbol in keys:
        if shown:
            marker = {"symbol": symbol, "size": 9, "color": TEXT, "line": {"width": 2, "color": TEXT}}
            figure.add_scatter(x=[None], y=[None], mode="markers", marker=marker, name=name, hoverinfo="skip")


def _shown(name: str) -> str:
    """Letter by letter: plotly reads `<b>` in a name as bold."""
    return html.escape(name, quote=False)


def _x(mark: Mark, same_depth: bool) -> float:
    return mark.layer if same_depth else mark.depth


def _faded(colour: str) -> str:
    red, green, blue = (int(colour[i : i + 2], 16) for i in (1, 3, 5))
    return f"rgba({red},{green},{blue},0.15)"


def _frame(x_title: str, y_title: str) -> go.Figure:
    figure = go.Figure()
    figure.update_layout(
        colorway=COLOURS,  # Streamlit's theme does not pass its colours on to graph objects
        template="plotly_white",
        font={"color": TEXT, "size": 13},
        legend={"orientation": "h", "yanchor": "bottom", "y": 1.02, "x": 0},
        margin={"l": 70, "r": 30, "t": 70, "b": 60},
        height=480,
        showlegend=True,
        hovermode="closest",
    )
    figure.update_xaxes(title={"text": x_title, "font": {"size": 12}}, gridcolor=GRID, zeroline=False, ticks="outside")
    figure.update_yaxes(title={"text": y_title, "font": {"size": 12}}, gridcolor=GRID, zeroline=False, ticks="outside")
    return figure


def _empty(figure: go.Figure, sentence: str) -> go.Figure:
    figure.add_annotation(text=sentence, showarrow=False, x=0.5, y=0.5, xref="paper", yref="paper", font={"size": 15})
    figure.update_xaxes(showticklabels=False)
    figure.update_yaxes(showticklabels=False)
    return figure
