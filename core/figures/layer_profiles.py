"""Plotly figures over the layers: profiles, correlators, and GRIDE against the neighbour rank at one layer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import plotly.graph_objects as go
import polars as pl

from core import wording
from core.figures.profile_data import (
    PRIMARY,
    SURROGATE,
    CorrelatorData,
    Curve,
    Mark,
    ProfileData,
    Reference,
    reference_name,
    value_axis,
    with_gaps,
)
from core.figures.style import (
    COLOURS,
    DASHES,
    LOG_TICKS,
    QUIET,
    TEXT,
    axes_figure,
    error_bars,
    escape_label,
    translucent,
    with_message,
)
from core.locale import _
from core.registry.passes import CONTROLS
from core.wording.labels import run_labels

REFERENCE_DASHES = {key: control.dash for key, control in CONTROLS.items()} | {SURROGATE: "dashdot"}


FEW_LAYERS = 12
"""Up to this number each layer has a tick, because plotly would put some at halves."""


def layer_figure(data: ProfileData | CorrelatorData) -> go.Figure:
    return correlator_figure(data) if isinstance(data, CorrelatorData) else profile_figure(data)


def profile_figure(data: ProfileData) -> go.Figure:
    """Dimension over the layers, with 95 percent bands, the working band, the final state before and after the norm."""
    figure = axes_figure(wording.layer_axis(data.same_depth), _profile_title(data))
    if not data.curves:
        return with_message(figure, _("No estimates of this kind in the chosen runs."))
    if data.is_equivalent:
        _draw_ranges(figure, data.curves, data.same_depth)
    else:
        _draw_curves(figure, data.curves, data.references, data.same_depth)
    if data.is_log:
        figure.update_yaxes(type="log", tickvals=LOG_TICKS)
    elif data.cuts_controls:
        figure.update_yaxes(range=[0, 1.15 * data.highest])
    else:
        figure.update_yaxes(rangemode="tozero")
    return figure


def correlator_figure(data: CorrelatorData) -> go.Figure:
    """One correlator over the layers."""
    figure = axes_figure(wording.layer_axis(data.same_depth), value_axis(data))
    if not data.curves:
        return with_message(figure, _("No correlators of this kind in the chosen runs."))
    _draw_curves(figure, data.curves, data.references, data.same_depth)
    return figure


def _profile_title(data: ProfileData) -> str:
    """Title of the y axis; on a second line the transform and whether the axis is logarithmic."""
    n1 = None if data.is_equivalent else data.n1
    title = wording.dimension_axis(data.estimator, data.cloud, data.n_points, n1, data.n2)
    notes = [
        _("Gaussian equivalent, over all n1") if data.is_equivalent else "",
        _("log scale") if data.is_log else "",
        _("controls run off the axis") if data.cuts_controls else "",
    ]
    if data.transform != "centred":
        notes.append(wording.name("transform", data.transform))
    second = _(", ").join(part for part in notes if part)
    return f"{title}<br>{second}" if second else title


def _draw_curves(figure: go.Figure, curves: list[Curve], references: list[Reference], same_depth: bool) -> None:
    colours = {curve.run_id: COLOURS[index % len(COLOURS)] for index, curve in enumerate(curves)}
    for reference in references:
        _draw_reference(figure, reference, colours[reference.of_run_id], same_depth)
    for index, curve in enumerate(curves):
        _draw_curve(figure, curve, index, same_depth)
    _draw_legend(figure, curves, references)
    if same_depth and max(mark.layer for curve in curves for mark in curve.marks) <= FEW_LAYERS:
        figure.update_xaxes(dtick=1)


def _draw_reference(figure: go.Figure, reference: Reference, colour: str, same_depth: bool) -> None:
    """A thin line in the colour of its run, hidden together with it."""
    name = escape_label(f"{reference.name} · {reference_name(reference.kind, reference.model_seed)}")
    line = {"color": colour, "dash": REFERENCE_DASHES[reference.kind], "width": 1.3}
    pen = _Pen(figure, name, reference.of_run_id, same_depth)
    pen.draw(reference.marks, mode="lines", line=line, opacity=0.9, showlegend=False)


def _draw_ranges(figure: go.Figure, curves: list[Curve], same_depth: bool) -> None:
    """Draws ranges of Gaussian equivalents: both ends and the area between, no middle."""
    for index, curve in enumerate(curves):
        colour, dash = COLOURS[index % len(COLOURS)], DASHES[index % len(DASHES)]
        _draw_band(figure, curve, colour, same_depth)
        pen = _Pen(figure, escape_label(curve.name), curve.run_id, same_depth, is_range=True)
        for end in ("lower", "upper"):
            limit_marks = [replace(mark, value=getattr(mark, end)) for mark in curve.marks]
            line = {"color": colour, "dash": dash, "width": 1.5}
            pen.draw(limit_marks, mode="lines", line=line, showlegend=end == "upper")


def _draw_band(figure: go.Figure, curve: Curve, colour: str, same_depth: bool) -> None:
    """The area between the lower and upper limits of a curve."""
    banded = [mark for mark in curve.marks if mark.lower is not None and mark.upper is not None]
    if not banded:
        return
    x = [mark.x(same_depth) for mark in banded]
    figure.add_scatter(
        x=x + x[::-1],
        y=[mark.upper for mark in banded] + [mark.lower for mark in reversed(banded)],
        fill="toself",
        fillcolor=translucent(colour),
        line={"width": 0},
        mode="lines",
        hoverinfo="skip",
        showlegend=False,
        legendgroup=curve.run_id,
        name=escape_label(curve.name),
    )


def _draw_curve(figure: go.Figure, curve: Curve, index: int, same_depth: bool) -> None:
    name = escape_label(curve.name)
    pen = _Pen(figure, name, curve.run_id, same_depth)
    colour, dash = COLOURS[index % len(COLOURS)], DASHES[index % len(DASHES)]
    _draw_band(figure, curve, colour, same_depth)
    pen.draw(curve.marks, mode="lines", line={"color": colour, "dash": dash, "width": 2.5}, showlegend=True)
    pen.mark(curve.in_band, "circle", colour)
    pen.mark([curve.final] if curve.final else [], "diamond", colour, with_error=True)
    pen.mark([curve.post_norm] if curve.post_norm else [], "triangle-up-open", colour, with_error=True)


@dataclass(frozen=True)
class _Pen:
    """Draws the values of one curve with layer and interval as hover text; a missing layer is a gap."""

    figure: go.Figure
    name: str
    group: str
    """Traces of a group are shown and hidden together."""
    same_depth: bool
    is_range: bool = False
    """Hover texts show only the limits, no value between them."""

    def mark(self, marks: list[Mark], symbol: str, colour: str, with_error: bool = False) -> None:
        if not marks:
            return
        size = 6 if symbol == "circle" else 11
        more = {"error_y": _interval_bars(marks) | {"color": colour}} if with_error else {}
        marker = {"symbol": symbol, "size": size, "color": colour, "line": {"width": 2, "color": colour}}
        self.draw(marks, mode="markers", marker=marker, showlegend=False, **more)

    def draw(self, marks: list[Mark], **style: Any) -> None:
        spaced = with_gaps(marks)
        hover_texts = [
            mark and _("Layer {layer}: {value}").format(layer=mark.layer, value=self._value_text(mark))
            for mark in spaced
        ]
        self.figure.add_scatter(
            x=[mark and mark.x(self.same_depth) for mark in spaced],
            y=[mark and mark.value for mark in spaced],
            customdata=hover_texts,
            hovertemplate="%{fullData.name}<br>%{customdata}<extra></extra>",
            name=self.name,
            legendgroup=self.group,
            **style,
        )

    def _value_text(self, mark: Mark) -> str:
        if self.is_range:
            return f"{wording.number(mark.lower)} – {wording.number(mark.upper)}"
        return wording.with_interval(mark.value, mark.lower, mark.upper)


def _interval_bars(marks: list[Mark]) -> dict:
    return error_bars(
        [None if mark.upper is None else mark.upper - mark.value for mark in marks],
        [None if mark.lower is None else mark.value - mark.lower for mark in marks],
    )


def _draw_legend(figure: go.Figure, curves: list[Curve], references: list[Reference]) -> None:
    """Legend entries for marks and references, in a neutral colour because they apply to every curve."""
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
        name = reference_name(kind)
        figure.add_scatter(x=[None], y=[None], mode="lines", line=line, name=name, hoverinfo="skip")


# --- neighbour ranks -------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class RankScan:
    """Estimates of one layer of a run at every neighbour rank."""

    name: str
    layer: int
    marks: list[tuple[int, Mark]]
    """Rank and value."""
    n_points: int


def rank_scans(estimates: pl.DataFrame, runs: pl.DataFrame, layer: int | None) -> list[RankScan]:
    """One layer of each run: `layer`, or that of its largest inner dimension; runs with a single rank are left out."""
    rows = estimates.filter(estimator="gride", cloud=PRIMARY[1], transform="centred", state="residual")
    labels = run_labels(runs)
    rank_scans = []
    for run in runs.iter_rows(named=True):
        run_layer = run["inner_max_layer"] if layer is None else layer
        if run_layer is None:
            continue
        scan = rows.filter(run_id=run["run_id"], layer=run_layer).sort("n1")
        if scan.height > 1:
            marks = [
                (row["n1"], Mark(run_layer, 0.0, row["value"], row["lower"], row["upper"])) for row in scan.to_dicts()
            ]
            rank_scans.append(RankScan(labels[run["run_id"]], run_layer, marks, int(scan["n_points"][0])))
    return rank_scans


def scan_figure(rank_scans: Sequence[RankScan]) -> go.Figure:
    """GRIDE against the neighbour rank, which shows how the dimension depends on scale; a curve per run with its band."""
    sizes = [scan.n_points for scan in rank_scans]
    y_title = wording.dimension_axis("gride", PRIMARY[1], (min(sizes), max(sizes)))
    figure = axes_figure(_("Neighbour rank n1 (from near to far)"), y_title, 380)
    ranks = sorted({rank for scan in rank_scans for rank, _mark in scan.marks})
    for n, scan in enumerate(rank_scans):
        colour = COLOURS[n % len(COLOURS)]
        name = _("{name}, layer {layer}").format(name=escape_label(scan.name), layer=scan.layer)
        banded = [(rank, mark) for rank, mark in scan.marks if mark.lower is not None and mark.upper is not None]
        figure.add_scatter(
            x=[rank for rank, _mark in [*banded, *banded[::-1]]],
            y=[mark.upper for _rank, mark in banded] + [mark.lower for _rank, mark in banded[::-1]],
            mode="lines",
            fill="toself",
            fillcolor=translucent(colour),
            line={"width": 0},
            hoverinfo="skip",
            showlegend=False,
        )
        figure.add_scatter(
            x=[rank for rank, _mark in scan.marks],
            y=[mark.value for _rank, mark in scan.marks],
            name=name,
            mode="lines+markers",
            line={"color": colour, "dash": DASHES[n % len(DASHES)], "width": 2.2},
            hovertext=[wording.with_interval(mark.value, mark.lower, mark.upper) for _rank, mark in scan.marks],
            hoverinfo="text+name",
        )
    figure.update_xaxes(type="log", tickvals=ranks, ticktext=[str(rank) for rank in ranks])
    figure.update_yaxes(rangemode="tozero")
    return figure
