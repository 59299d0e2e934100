"""Tokens with norms far above the layer's median: how many, how large and where, layer by layer."""

from __future__ import annotations

import json
from dataclasses import dataclass

import plotly.graph_objects as go
import polars as pl
from plotly.subplots import make_subplots

from core import wording
from core.figures.profile_data import Curve, correlator_points, with_gaps
from core.figures.style import COLOURS, DASHES, GRID, QUIET, TEXT, axes_figure, escape_label, template, with_message
from core.figures.svg import LIGHT
from core.locale import _

CLOUD = "unmasked"
HEIGHT = 720
MOST_FINE_TICKS = 50
"""Largest over smallest value of a logarithmic axis that has ticks between powers of ten."""
FINE_TICKS = [digit * 10**power for power in range(4) for digit in (1, 1.5, 2, 3, 5, 7)]
PANELS = ("large_norm_tokens", "large_norm_ratio", "large_norm_at_start")
"""Correlators of the cloud `unmasked`: which tokens stand out by their norm."""
DEFAULT_LIMIT = 3.0
"""Where a run's configuration does not state the limit of its mask."""


@dataclass(frozen=True)
class LargeNormData:
    """The curves of several runs for each of `PANELS`."""

    panels: dict[str, list[Curve]]
    n_points: tuple[int, int]
    """Tokens read."""
    same_depth: bool
    limits: list[float]
    """Multiples of the layer's median above which a norm counts as large, in any of the runs."""

    @property
    def is_empty(self) -> bool:
        return not any(self.panels.values())


def large_norm_points(correlators: pl.DataFrame, runs: pl.DataFrame) -> LargeNormData:
    """`language`: of the curves' names."""
    by_name = {name: correlator_points(correlators, runs, name, CLOUD) for name in PANELS}
    first = by_name[PANELS[0]]
    panels = {name: data.curves for name, data in by_name.items()}
    return LargeNormData(panels, first.n_points, first.same_depth, mask_limits(runs))


def mask_limits(runs: pl.DataFrame) -> list[float]:
    """The distinct limits of the runs' masks, ascending."""
    return sorted({mask_limit(config) for config in runs["config"]})


def mask_limit(config: str | None) -> float:
    """Multiple of the layer's median above which a run masks tokens, from its configuration."""
    try:
        return float(json.loads(config or "{}")["protocol"]["norm_factor"])
    except (ValueError, KeyError, TypeError):
        return DEFAULT_LIMIT


def large_norm_figure(data: LargeNormData) -> go.Figure:
    """Panels over the layers: how many, how large (logarithmic), and, where there are any, which share is at position 0."""
    if data.is_empty:
        return with_message(axes_figure("", "", HEIGHT // 2), _("The chosen runs hold no rows on large norms."))
    titles = [
        _("How many tokens (of {n} read)").format(n=wording.size_range(data.n_points)),
        _("How large: largest norm over the layer's median, log scale"),
        _("Where: share of them at position 0"),
    ]
    panels = PANELS if any(curve.marks for curve in data.panels[PANELS[2]]) else PANELS[:2]
    n_rows = len(panels)
    figure = make_subplots(
        rows=n_rows, cols=1, shared_xaxes=True, vertical_spacing=0.27 / n_rows, subplot_titles=titles[:n_rows]
    )
    for row, name in enumerate(panels, start=1):
        for index, curve in enumerate(data.panels[name]):
            figure.add_trace(_curve_trace(curve, index, data.same_depth, row == 1), row, 1)
    for limit in data.limits:
        figure.add_trace(_limit_trace(data, limit), 2, 1)
    _set_layout(figure, data, n_rows)
    return figure


def _curve_trace(curve: Curve, index: int, same_depth: bool, in_legend: bool) -> go.Scatter:
    colour = COLOURS[index % len(COLOURS)]
    hover_line = _("Layer {layer}: {value}")
    marks = with_gaps(curve.marks)
    return go.Scatter(
        x=[mark and (mark.layer if same_depth else mark.depth) for mark in marks],
        y=[mark and mark.value for mark in marks],
        customdata=[mark and hover_line.format(layer=mark.layer, value=wording.number(mark.value)) for mark in marks],
        hovertemplate="%{fullData.name}<br>%{customdata}<extra></extra>",
        mode="lines+markers",
        line={"color": colour, "dash": DASHES[index % len(DASHES)], "width": 2},
        marker={"size": 5, "color": colour},
        name=escape_label(curve.name),
        legendgroup=curve.run_id,
        showlegend=in_legend,
    )


def _limit_trace(data: LargeNormData, limit: float) -> go.Scatter:
    """The limit of the mask as a line across the whole axis."""
    positions = [mark.layer if data.same_depth else mark.depth for c in data.panels[PANELS[1]] for mark in c.marks]
    name = _("limit of the mask: {limit} times the median").format(limit=f"{limit:g}")
    line = {"color": QUIET, "dash": "dot", "width": 1.5}
    return go.Scatter(
        x=[min(positions, default=0), max(positions, default=1)],
        y=[limit] * 2,
        mode="lines",
        line=line,
        name=name,
        hoverinfo="skip",
    )


def _set_layout(figure: go.Figure, data: LargeNormData, n_rows: int) -> None:
    figure.update_layout(
        template=template(LIGHT),
        font={"color": TEXT, "size": 13},
        height=HEIGHT * n_rows // len(PANELS),
        hovermode="closest",
        legend={"orientation": "h", "yanchor": "bottom", "y": 1.06, "x": 0},
        margin={"l": 70, "r": 30, "t": 90, "b": 60},
        showlegend=True,
    )
    for title in figure.layout.annotations[:n_rows]:
        title.update(x=0, xanchor="left", font={"size": 13})
    figure.update_xaxes(gridcolor=GRID, zeroline=False)
    figure.update_yaxes(gridcolor=GRID, zeroline=False, rangemode="tozero")
    figure.update_traces(cliponaxis=False)
    ratios = [mark.value for curve in data.panels[PANELS[1]] for mark in curve.marks] + data.limits
    is_narrow = max(ratios) < MOST_FINE_TICKS * min(ratios)
    ticks = {"tickvals": FINE_TICKS} if is_narrow else {"dtick": 1}
    figure.update_yaxes(type="log", rangemode="normal", row=2, **ticks)
    if n_rows > 2:
        figure.update_yaxes(range=[-0.05, 1.05], tickformat=".0%", row=3)
    axis_title = {"text": wording.layer_axis(data.same_depth), "font": {"size": 12}}
    figure.update_xaxes(title=axis_title, row=n_rows)
