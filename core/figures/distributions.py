"""The distribution of a quantity of tokens, layer by layer: shares of tokens in colours, and the median as a line."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import plotly.graph_objects as go
import polars as pl

from core import wording
from core.figures.chart_figure import LOG_TICKS, TEXT, add_heatmap, axes_figure, with_message
from core.locale import _

OF_PAIRS = ("cosine",)
"""Quantities of pairs of tokens; all others belong to single tokens."""
HEIGHT = 560
_MOST_GRID_BINS = 60
"""Bins of the common grid where the bins of layers differ."""


@dataclass(frozen=True)
class DistributionData:
    """One quantity of one run; `shares[i][j]` is the share of layer j's tokens between edges i and i + 1."""

    quantity: str
    layers: list[int]
    edges: list[float]
    """Of the bins, ascending; common to all layers."""
    shares: list[list[float]]
    medians: list[float]
    """Of each layer, interpolated within its bin."""
    n_points: tuple[int, int]
    """Fewest and most tokens (or pairs) counted at a layer."""
    is_log: bool
    """True where bins grow as powers do."""


def distribution_points(distributions: pl.DataFrame, run_id: str, quantity: str) -> DistributionData:
    """`distributions` are rows of layer_distributions; layers with different bins are counted on one grid."""
    rows = distributions.filter(run_id=run_id, quantity=quantity).sort("layer", "bin_lower")
    layers = [of_layer for _, of_layer in rows.group_by("layer", maintain_order=True) if of_layer["count"].sum()]
    if not layers:
        return DistributionData(quantity, [], [], [], [], (0, 0), False)
    edges, is_log = _common_edges(layers)
    totals = [int(of_layer["count"].sum()) for of_layer in layers]
    return DistributionData(
        quantity=quantity,
        layers=[of_layer["layer"][0] for of_layer in layers],
        edges=edges,
        shares=np.column_stack([bin_shares(of_layer, edges) for of_layer in layers]).tolist(),
        medians=[bin_median(of_layer) for of_layer in layers],
        n_points=(min(totals), max(totals)),
        is_log=is_log,
    )


def bin_shares(bins: pl.DataFrame, edges: Sequence[float]) -> np.ndarray:
    """Share of the tokens between successive edges, with each bin filled evenly; one without width belongs where it starts."""
    lower, upper, counts = (bins[name].to_numpy() for name in ("bin_lower", "bin_upper", "count"))
    low, high, width = np.array(edges[:-1])[:, None], np.array(edges[1:])[:, None], upper - lower
    common = np.clip(np.minimum(high, upper) - np.maximum(low, lower), 0, None)
    within = np.where(width > 0, common / np.where(width > 0, width, 1), (low <= lower) & (lower < high))
    return within @ counts / counts.sum()


def bin_median(bins: pl.DataFrame) -> float:
    """The median, interpolated within its bin."""
    counts = bins["count"].to_numpy()
    n = int(np.searchsorted(np.cumsum(counts), counts.sum() / 2))
    low, high = bins["bin_lower"][n], bins["bin_upper"][n]
    return float(low + (high - low) * (counts.sum() / 2 - counts[:n].sum()) / counts[n])


def distribution_figure(data: DistributionData) -> go.Figure:
    of_pairs = data.quantity in OF_PAIRS
    counted = _("pairs: {n}") if of_pairs else f"{wording.name('cloud', 'one_per_type')}, N={{n}}"
    details = counted.format(n=wording.size_range(data.n_points))
    y_title = _("{quantity} ({details})").format(
        quantity=wording.name("quantity", data.quantity),
        details=_(", ").join([details, *([_("log scale")] if data.is_log else [])]),
    )
    figure = axes_figure(wording.layer_axis(True), y_title, HEIGHT)
    if not data.layers:
        return with_message(figure, _("This run holds no such distribution."))
    share = _("Share of pairs") if of_pairs else _("Share of tokens")
    bar = {"title": {"text": share}, "tickformat": ".1~%"}
    add_heatmap(figure, data.layers, data.edges, data.shares, _hover_texts(data), bar, zmin=0, name=share)
    # White on a dark edge is visible on every colour of the scale.
    for colour, width in ((TEXT, 5), ("#FFFFFF", 2.5)):
        figure.add_scatter(
            x=data.layers,
            y=data.medians,
            mode="lines",
            line={"color": colour, "width": width},
            name=_("median"),
            legendgroup="median",
            showlegend=width > 4,
            hoverinfo="skip",
        )
    figure.update_yaxes(showgrid=False)
    if data.is_log:
        figure.update_yaxes(type="log", tickvals=LOG_TICKS)
    figure.update_xaxes(showgrid=False)
    return figure


def _hover_texts(data: DistributionData) -> list[list[str]]:
    line = _("Layer {layer}, {low} to {high}: {share} (median: {median})")
    return [
        [
            line.format(
                layer=layer,
                low=wording.number(low),
                high=wording.number(high),
                share=wording.share_text(share, 1),
                median=wording.number(median),
            )
            for layer, share, median in zip(data.layers, shares, data.medians, strict=True)
        ]
        for low, high, shares in zip(data.edges[:-1], data.edges[1:], data.shares, strict=True)
    ]


def _common_edges(layers: list[pl.DataFrame]) -> tuple[list[float], bool]:
    """The common bins of the layers without empty ends; where bins differ, a fine grid over all of them."""
    bin_limits = {(tuple(bins["bin_lower"]), tuple(bins["bin_upper"])) for bins in layers}
    filled = pl.concat(layers).filter(pl.col("count") > 0)
    low, high = filled.select(low=pl.col("bin_lower").min(), high=pl.col("bin_upper").max()).row(0)
    if len(bin_limits) == 1:
        lower, upper = bin_limits.pop()
        edges = [edge for edge in (*lower, upper[-1]) if low <= edge <= high]
        return edges, _is_geometric(edges)
    is_log = low > 0 and high > 30 * low
    if low == high:
        return [low, high], False
    return (np.geomspace if is_log else np.linspace)(low, high, _MOST_GRID_BINS + 1).tolist(), is_log


def _is_geometric(edges: list[float]) -> bool:
    """True where each bin is wider than the one below by the same factor."""
    return len(edges) > 2 and edges[0] > 0 and (edges[-1] - edges[-2]) > 1.5 * (edges[1] - edges[0])
