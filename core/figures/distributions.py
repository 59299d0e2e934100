"""The distribution of a quantity of tokens, layer by layer: shares of tokens in colours, and the median as a line."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import plotly.graph_objects as go
import polars as pl

from core import wording
from core.figures.style import COLOUR_SCALE, LOG_TICKS, TEXT, axes_figure, with_message
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


@dataclass(frozen=True)
class Histogram:
    """The counts of one layer in its own bins, ascending and side by side."""

    layer: int
    lower: list[float]
    upper: list[float]
    counts: list[int]

    @property
    def total(self) -> int:
        return sum(self.counts)

    def share(self, low: float, high: float) -> float:
        """Share of the tokens between two values, with each bin filled evenly."""
        return sum(
            count * _overlap(low, high, a, b) for a, b, count in zip(self.lower, self.upper, self.counts, strict=True)
        ) / max(self.total, 1)

    @property
    def median(self) -> float:
        half, below = self.total / 2, 0.0
        for a, b, count in zip(self.lower, self.upper, self.counts, strict=True):
            if count and below + count >= half:
                return a + (b - a) * (half - below) / count
            below += count
        return self.upper[-1]


def distribution_points(distributions: pl.DataFrame, run_id: str, quantity: str) -> DistributionData:
    """`distributions` are rows of layer_distributions; layers with different bins are counted on one grid."""
    rows = distributions.filter(run_id=run_id, quantity=quantity).sort("layer", "bin_lower")
    histograms = [_histogram(of_layer) for _, of_layer in rows.group_by("layer", maintain_order=True)]
    histograms = [histogram for histogram in histograms if histogram.total]
    if not histograms:
        return DistributionData(quantity, [], [], [], [], (0, 0), False)
    edges, is_log = _common_edges(histograms)
    sizes = [histogram.total for histogram in histograms]
    return DistributionData(
        quantity=quantity,
        layers=[histogram.layer for histogram in histograms],
        edges=edges,
        shares=[[histogram.share(low, high) for histogram in histograms] for low, high in pairwise(edges)],
        medians=[histogram.median for histogram in histograms],
        n_points=(min(sizes), max(sizes)),
        is_log=is_log,
    )


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
    figure.add_heatmap(
        x=data.layers,
        y=data.edges,
        z=data.shares,
        zmin=0,
        colorscale=COLOUR_SCALE,
        customdata=_hover_texts(data),
        hovertemplate="%{customdata}<extra></extra>",
        colorbar={
            "title": {"text": share, "side": "right", "font": {"size": 12}},
            "tickformat": ".1~%",
            "thickness": 16,
        },
        name=share,
    )
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
    line = _("Layer {layer}, {low} to {high}: {share} (median of the layer: {median})")
    return [
        [
            line.format(
                layer=layer,
                low=wording.number(low),
                high=wording.number(high),
                share=f"{share:.1%}",
                median=wording.number(median),
            )
            for layer, share, median in zip(data.layers, shares, data.medians, strict=True)
        ]
        for low, high, shares in zip(data.edges[:-1], data.edges[1:], data.shares, strict=True)
    ]


def _histogram(bins: pl.DataFrame) -> Histogram:
    columns = (bins[name].to_list() for name in ("bin_lower", "bin_upper", "count"))
    return Histogram(bins["layer"][0], *columns)


def _common_edges(histograms: list[Histogram]) -> tuple[list[float], bool]:
    """The common bins of the layers without empty ends; where bins differ, a fine grid over all of them."""
    bin_limits = {(tuple(histogram.lower), tuple(histogram.upper)) for histogram in histograms}
    filled = [
        edge
        for histogram in histograms
        for low, high, count in zip(histogram.lower, histogram.upper, histogram.counts, strict=True)
        if count
        for edge in (low, high)
    ]
    low, high = min(filled), max(filled)
    if len(bin_limits) == 1:
        lower, upper = bin_limits.pop()
        edges = [edge for edge in (*lower, upper[-1]) if low <= edge <= high]
        return edges, _is_geometric(edges)
    is_log = low > 0 and high > 30 * low
    if low == high:
        return [low, high], False
    steps = [i / _MOST_GRID_BINS for i in range(_MOST_GRID_BINS + 1)]
    return [low * (high / low) ** t if is_log else low + (high - low) * t for t in steps], is_log


def _is_geometric(edges: list[float]) -> bool:
    """True where each bin is wider than the one below by the same factor."""
    return len(edges) > 2 and edges[0] > 0 and (edges[-1] - edges[-2]) > 1.5 * (edges[1] - edges[0])


def _overlap(low: float, high: float, a: float, b: float) -> float:
    """Share of the bin a to b between low and high; a bin without width belongs where it starts."""
    if b <= a:
        return 1.0 if low <= a < high else 0.0
    return max(0.0, min(high, b) - max(low, a)) / (b - a)
