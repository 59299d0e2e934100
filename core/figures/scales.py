"""How the dimension around a layer's tokens depends on the scale that it is read at: GRIDE against neighbour rank."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import plotly.graph_objects as go
import polars as pl

from core import wording
from core.figures.layer_profiles import PRIMARY, Mark
from core.figures.style import COLOURS, DASHES, faded, frame, shown
from core.locale import translator
from core.wording.labels import run_labels


@dataclass(frozen=True)
class Scan:
    """One layer of a run, read at every rank."""

    name: str
    layer: int
    marks: list[tuple[int, Mark]]
    """Each with its rank."""
    n_points: int


def scans(estimates: pl.DataFrame, runs: pl.DataFrame, layer: int | None, language: str) -> list[Scan]:
    """Of each run one layer: `layer`, or that of its largest inner dimension; none where one rank alone was read."""
    rows = estimates.filter(estimator="gride", cloud=PRIMARY[1], transform="centred", state="residual")
    labels = run_labels(runs, language)
    found = []
    for run in runs.iter_rows(named=True):
        at = run["inner_max_layer"] if layer is None else layer
        if at is None:
            continue
        own = rows.filter(run_id=run["run_id"], layer=at).sort("n1")
        if own.height > 1:
            marks = [(row["n1"], Mark(at, 0.0, row["value"], row["lower"], row["upper"])) for row in own.to_dicts()]
            found.append(Scan(labels[run["run_id"]], at, marks, int(own["n_points"][0])))
    return found


def scan_figure(found: Sequence[Scan], language: str) -> go.Figure:
    """A curve for each run with its 95 percent band, over ranks that double."""
    _ = translator(language)
    sizes = [scan.n_points for scan in found]
    y_title = wording.dimension_axis("gride", PRIMARY[1], language, (min(sizes), max(sizes)))
    figure = frame(_("Neighbour rank n1 (from near to far)"), y_title, 380)
    ranks = sorted({rank for scan in found for rank, _mark in scan.marks})
    for n, scan in enumerate(found):
        colour = COLOURS[n % len(COLOURS)]
        told = _("{name}, layer {layer}").format(name=shown(scan.name), layer=scan.layer)
        banded = [(rank, mark) for rank, mark in scan.marks if mark.lower is not None and mark.upper is not None]
        figure.add_scatter(
            x=[rank for rank, _mark in [*banded, *banded[::-1]]],
            y=[mark.upper for _rank, mark in banded] + [mark.lower for _rank, mark in banded[::-1]],
            mode="lines",
            fill="toself",
            fillcolor=faded(colour),
            line={"width": 0},
            hoverinfo="skip",
            showlegend=False,
        )
        figure.add_scatter(
            x=[rank for rank, _mark in scan.marks],
            y=[mark.value for _rank, mark in scan.marks],
            name=told,
            mode="lines+markers",
            line={"color": colour, "dash": DASHES[n % len(DASHES)], "width": 2.2},
            hovertext=[wording.with_interval(mark.value, mark.lower, mark.upper) for _rank, mark in scan.marks],
            hoverinfo="text+name",
        )
    figure.update_xaxes(type="log", tickvals=ranks, ticktext=[str(rank) for rank in ranks])
    figure.update_yaxes(rangemode="tozero")
    return figure
