"""The pictures of the app. Each is a pure points function (core.report.points) and a drawing function here."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import plotly.graph_objects as go

from core.locale import translator
from core.report import wording
from core.report.figure_style import COLOURS, DASHES, LOG_TICKS, QUIET, TEXT, bars, empty, faded, frame, shown
from core.report.points import SURROGATE, CorrelatorData, Curve, Mark, ProfileData, Reference, with_gaps

REFERENCE_DASHES = {"random_init": "dot", "shuffled": "dash", "gaussian_surrogate": "dashdot"}
FEW_LAYERS = 12
"""Up to so many, each layer has its tick: plotly would put some at halves."""


def layer_figure(data: ProfileData | CorrelatorData, language: str) -> go.Figure:
    return correlator_figure(data, language) if isinstance(data, CorrelatorData) else profile_figure(data, language)


def profile_figure(data: ProfileData, language: str) -> go.Figure:
    """Dimension over the layers, with 95 percent bands, the working band, the final state before and after the norm."""
    _ = translator(language)
    figure = frame(wording.layer_axis(data.same_depth, language), _profile_axis(data, language))
    if not data.curves:
        return empty(figure, _("No estimates of this kind in the chosen runs."))
    _draw_all(figure, data.curves, data.references, data.same_depth, language)
    if data.needs_log:
        figure.update_yaxes(type="log", tickvals=LOG_TICKS)
    else:
        figure.update_yaxes(rangemode="tozero")
    return figure


def correlator_figure(data: CorrelatorData, language: str) -> go.Figure:
    """One correlator over the layers."""
    _ = translator(language)
    figure = frame(
        wording.layer_axis(data.same_depth, language),
        wording.correlator_axis(data.correlator, data.cloud, language, data.n_points),
    )
    if not data.curves:
        return empty(figure, _("No correlators of this kind in the chosen runs."))
    _draw_all(figure, data.curves, data.references, data.same_depth, language)
    return figure


def _profile_axis(data: ProfileData, language: str) -> str:
    """What the values depend on; on a second line what was done to them and whether the axis is logarithmic."""
    _ = translator(language)
    title = wording.dimension_axis(data.estimator, data.cloud, language, data.n_points, data.n1, data.n2)
    told = [_("Gaussian equivalent") if data.is_equivalent else "", _("log scale") if data.needs_log else ""]
    if data.transform != "centred":
        told.append(wording.transform_name(data.transform, language))
    second = _(", ").join(part for part in told if part)
    return f"{title}<br>{second}" if second else title


def _draw_all(
    figure: go.Figure, curves: list[Curve], references: list[Reference], same_depth: bool, language: str
) -> None:
    colours = {curve.run_id: COLOURS[index % len(COLOURS)] for index, curve in enumerate(curves)}
    for reference in references:
        _draw_reference(figure, reference, colours[reference.of_run_id], same_depth, language)
    for index, curve in enumerate(curves):
        _draw_curve(figure, curve, index, same_depth, language)
    _draw_keys(figure, curves, references, language)
    if same_depth and max(mark.layer for curve in curves for mark in curve.marks) <= FEW_LAYERS:
        figure.update_xaxes(dtick=1)


def _draw_reference(figure: go.Figure, reference: Reference, colour: str, same_depth: bool, language: str) -> None:
    """Thin, in the colour of its run, and hidden with it."""
    name = shown(f"{reference.name} · {reference_name(reference.kind, language, reference.model_seed)}")
    line = {"color": colour, "dash": REFERENCE_DASHES[reference.kind], "width": 1.3}
    pen = _Pen(figure, name, reference.of_run_id, same_depth, language)
    pen.draw(reference.marks, mode="lines", line=line, opacity=0.9, showlegend=False)


def reference_name(kind: str, language: str, model_seed: int | None = None) -> str:
    """`random weights, seed 1`, `shuffled text`, `Gaussian points of equal covariance`."""
    if kind == SURROGATE:
        return wording.transform_name(kind, language)
    return wording.control_name(kind, model_seed, language)


def _draw_curve(figure: go.Figure, curve: Curve, index: int, same_depth: bool, language: str) -> None:
    name = shown(curve.name)
    pen = _Pen(figure, name, curve.run_id, same_depth, language)
    colour, dash = COLOURS[index % len(COLOURS)], DASHES[index % len(DASHES)]
    banded = [mark for mark in curve.marks if mark.lower is not None and mark.upper is not None]
    if banded:
        x = [_x(mark, same_depth) for mark in banded]
        outline = [mark.upper for mark in banded] + [mark.lower for mark in reversed(banded)]
        figure.add_scatter(
            x=x + x[::-1],
            y=outline,
            fill="toself",
            fillcolor=faded(colour),
            line={"width": 0},
            mode="lines",
            hoverinfo="skip",
            showlegend=False,
            legendgroup=curve.run_id,
            name=name,
        )
    pen.draw(curve.marks, mode="lines", line={"color": colour, "dash": dash, "width": 2.5}, showlegend=True)
    pen.mark(curve.in_band, "circle", colour)
    pen.mark([curve.final] if curve.final else [], "diamond", colour, with_error=True)
    pen.mark([curve.post_norm] if curve.post_norm else [], "triangle-up-open", colour, with_error=True)


@dataclass(frozen=True)
class _Pen:
    """Draws values of one curve, each with its layer and interval under the pointer; a missing layer is a gap."""

    figure: go.Figure
    name: str
    group: str
    """What is shown and hidden together."""
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
        spaced = with_gaps(marks)
        told = [
            mark
            and _("Layer {layer}: {value}").format(
                layer=mark.layer, value=wording.with_interval(mark.value, mark.lower, mark.upper)
            )
            for mark in spaced
        ]
        self.figure.add_scatter(
            x=[mark and _x(mark, self.same_depth) for mark in spaced],
            y=[mark and mark.value for mark in spaced],
            customdata=told,
            hovertemplate="%{fullData.name}<br>%{customdata}<extra></extra>",
            name=self.name,
            legendgroup=self.group,
            **style,
        )


def _interval_bars(marks: list[Mark]) -> dict:
    return bars(
        [None if mark.upper is None else mark.upper - mark.value for mark in marks],
        [None if mark.lower is None else mark.value - mark.lower for mark in marks],
    )


def _draw_keys(figure: go.Figure, curves: list[Curve], references: list[Reference], language: str) -> None:
    """Legend entries for marks and references, in a neutral colour: they mean the same on every curve."""
    _ = translator(language)
    keys = (
        (any(curve.in_band for curve in curves), _("working band"), "circle"),
        (True, _("final state, before the norm"), "diamond"),
        (any(curve.post_norm for curve in curves), _("final state, after the norm"), "triangle-up-open"),
    )
    for is_there, name, symbol in keys:
        if is_there:
            marker = {"symbol": symbol, "size": 9, "color": TEXT, "line": {"width": 2, "color": TEXT}}
            figure.add_scatter(x=[None], y=[None], mode="markers", marker=marker, name=name, hoverinfo="skip")
    for kind in dict.fromkeys(reference.kind for reference in references):
        line = {"color": QUIET, "dash": REFERENCE_DASHES[kind], "width": 1.3}
        name = reference_name(kind, language)
        figure.add_scatter(x=[None], y=[None], mode="lines", line=line, name=name, hoverinfo="skip")


def _x(mark: Mark, same_depth: bool) -> float:
    return mark.layer if same_depth else mark.depth
