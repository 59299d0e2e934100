"""What lies behind a profile: how alike the layers of a run are, how quantities of its tokens spread, tokens of large norm."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import plotly.graph_objects as go
import polars as pl

from core import wording
from core.figures.chart import Axis, Chart, Guide, Mark, Point, Series, log_axis, round_axis, whole_step, y_ends
from core.figures.chart_figure import LOG_TICKS, TEXT, add_heatmap, axes_figure, with_message
from core.figures.layer_profiles import curve_series, layer_axis
from core.figures.profile_data import Curve, correlator_points, of_protocol
from core.locale import _
from core.registry.estimators import PAIR_MEASURES
from core.tables import LayerPairRow, records

HEIGHT = 600
"""Pixels of a heat map."""

# --- pairs of layers: each as a cell of a matrix, successive ones as curves ----------------------------------------

EXPONENT_MEASURE = "displacement_exponent"
DRAWN = tuple(key for key in PAIR_MEASURES if key not in (EXPONENT_MEASURE, "common_correlator", "removed", "added"))
"""The others are one number, or follow from one that is drawn."""
FLOW_MEASURES = ("kept", "removed", "added")
STORED_ONCE = ("kept", "common_dimension", "common_correlator")
"""Symmetric measures, of which only the rows with layer_a <= layer_b are stored."""


@dataclass(frozen=True)
class PairData:
    """One measure of one run; `values[b][a]` belongs to the layers a (x axis) and b (y axis)."""

    measure: str
    k: int | None
    layers: list[int]
    values: list[list[float | None]]
    errors: list[list[float | None]]
    """Standard errors; None where there is none."""
    n_points: int

    nulls: list[list[float | None]]
    """Expected by chance, where known."""


@dataclass(frozen=True)
class DisplacementExponent:
    """How the displacement of directions grows with the number of layers between them."""

    value: float
    std_error: float | None
    first: int
    last: int
    """First and last of the inner layers that it was fitted on."""


def pair_points(pairs: pl.DataFrame, run_id: str, measure: str) -> PairData:
    """`pairs` are rows of layer_pairs; without rows of this measure the matrix is empty."""
    rows = pairs.filter(run_id=run_id, measure=measure)
    layers = sorted(set(rows["layer_a"]) | set(rows["layer_b"]))
    row_of_pair = {(row.layer_a, row.layer_b): row for row in records(rows, LayerPairRow)}
    if measure in STORED_ONCE:
        row_of_pair |= {(b, a): row for (a, b), row in row_of_pair.items()}

    def matrix(column: str) -> list[list[float | None]]:
        return [[getattr(row_of_pair[a, b], column) if (a, b) in row_of_pair else None for a in layers] for b in layers]

    n_points = max(rows["n_points"].to_list(), default=0)
    k = rows["k"].drop_nulls().to_list()
    return PairData(
        measure, k[0] if k else None, layers, matrix("value"), matrix("std_error"), n_points, matrix("null_value")
    )


def displacement_exponent(pairs: pl.DataFrame, run_id: str) -> DisplacementExponent | None:
    rows = pairs.filter(pl.col("value").is_finite(), run_id=run_id, measure=EXPONENT_MEASURE)
    found = rows.select("value", "std_error", "layer_a", "layer_b").iter_rows()
    return next((DisplacementExponent(*row) for row in found), None)


def pair_figure(data: PairData) -> go.Figure:
    """A matrix whose colours span all possible values of the measure, so that two runs can be compared."""
    directed = data.measure == "information_imbalance"
    across, up = (_("From layer"), _("To layer")) if directed else (_("Layer l"), _("Layer m"))
    figure = axes_figure(across, up, HEIGHT)
    if not data.layers:
        return with_message(figure, _("This run holds no such comparison of layers."))
    low, high = colour_range(data)
    is_log = data.measure == "common_dimension"
    values = [[math.log10(v) if v else None for v in line] for line in data.values] if is_log else data.values
    bar = {"title": {"text": _colour_title(data)}, **(_log_ticks(low, high) if is_log else {})}
    add_heatmap(figure, data.layers, data.layers, values, _pair_texts(data), bar, zmin=low, zmax=high)
    # Square cells, so that symmetric matrices look symmetric.
    figure.update_yaxes(scaleanchor="x", constrain="domain", showgrid=False)
    figure.update_xaxes(constrain="domain", showgrid=False)
    figure.update_layout(margin={"t": 20})
    return figure


def successive_chart(pairs: pl.DataFrame, run_id: str, measure: str) -> Chart:
    """A measure from each layer to the next with two standard errors, and where it is known the mean and two standard deviations
    with the tokens of one layer permuted; kept, removed and added dimensions come together."""
    rows = pairs.filter(pl.col("layer_b") == pl.col("layer_a") + 1, run_id=run_id).sort("layer_b")
    told = _("Layers {a} and {b}: {value}")
    by_chance = _("tokens of one layer permuted")
    null: list[Point] = []
    series = []
    measures = FLOW_MEASURES if measure in FLOW_MEASURES else (measure,)
    marks: tuple[Mark, ...] = ("circle", "square", "triangle")
    for n, one in enumerate(measures):
        name = wording.name("pair", one)
        points = []
        columns = ("layer_b", "value", "std_error", "null_value", "null_spread")
        finite = rows.filter(pl.col("value").is_finite(), measure=one).select(columns)
        for layer, value, error, mean, null_spread in finite.iter_rows():
            lower, upper = (None, None) if error is None else (value - 2 * error, value + 2 * error)
            note = told.format(a=layer - 1, b=layer, value=_with_error(value, error))
            points.append(Point(layer, value, lower, upper, note=f"{name}\n{note}"))
            if one == measure and mean is not None:
                spread = 2 * (null_spread or 0.0)
                null.append(Point(layer, mean, mean - spread, mean + spread, note=f"{by_chance}: {mean:.3g}"))
        if points:
            series.append(Series(name, tuple(points), n, mark=marks[n], is_banded=True, is_named=False))
    if null:
        series.append(Series(by_chance, tuple(null), None, is_banded=True, is_named=False))
    n_points = max(rows.filter(measure=measure)["n_points"].to_list(), default=0)
    y_title = _("{quantity} ({details})").format(
        quantity=wording.name("pair", measure) if len(measures) == 1 else _("Dimensions"),
        details=_(", ").join([wording.name("cloud", "one_per_type"), f"N={n_points:,}"]),
    )
    last = max((point.x for line in series for point in line.points), default=1)
    return Chart(
        Axis(_("Block (from the layer before it to its own)"), 0.5, last + 0.5, whole_step(last)),
        round_axis(y_title, y_ends(series), from_zero=True),
        tuple(series),
        "" if series else _("This run holds no such comparison of layers."),
    )


def colour_range(data: PairData) -> tuple[float, float]:
    """0 to 2 for a displacement, where 2 is unrelated; else 0 to 1, wider where a cosine is negative.

    Dimensions have no upper limit: kept ones span 0 to the largest d2; common ones, in powers of ten, the smallest to a
    hundred times that, above which hardly anything is shared.
    """
    if data.measure == "displacement":
        return 0.0, 2.0
    values = [value for line in data.values for value in line if value is not None]
    if data.measure == "common_dimension":
        low = math.log10(min(values, default=1.0))
        return low, low + 2
    return min([0.0, *values]), max([1.0, *values])


def _log_ticks(low: float, high: float) -> dict[str, list]:
    ticks = [tick for tick in LOG_TICKS if low <= math.log10(tick) <= high]
    return {"tickvals": [math.log10(tick) for tick in ticks], "ticktext": [f"{tick:g}" for tick in ticks]}


def _pair_texts(data: PairData) -> list[list[str]]:
    between = _("Layers {a} and {b}: {value}")
    if data.measure == "information_imbalance":
        between = _("From layer {a} to layer {b}: {value}")
    return [
        [
            between.format(a=a, b=b, value=_with_error(value, error))
            + ("" if null is None else _(" (by chance {null})").format(null=wording.number(null)))
            for a, value, error, null in zip(data.layers, values, errors, nulls, strict=True)
        ]
        for b, values, errors, nulls in zip(data.layers, data.values, data.errors, data.nulls, strict=True)
    ]


def _with_error(value: float | None, error: float | None) -> str:
    return wording.number(value) if error is None else f"{wording.number(value)} ± {error:.2g}"


def _colour_title(data: PairData) -> str:
    """The measure with its number of points and, if it has one, of neighbours."""
    details = [wording.name("cloud", "one_per_type"), f"N={data.n_points:,}"]
    if data.measure == "neighbour_overlap" and data.k is not None:
        details.append(f"k={data.k}")
    title = _("{quantity} ({details})")
    return title.format(quantity=wording.name("pair", data.measure), details=_(", ").join(details))


# --- distributions: shares of tokens in colours, layer by layer, and the median as a line --------------------------

OF_PAIRS = ("cosine",)
"""Quantities of pairs of tokens; all others belong to single tokens."""
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
    add_heatmap(figure, data.layers, data.edges, data.shares, _share_texts(data), bar, zmin=0, name=share)
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


def _share_texts(data: DistributionData) -> list[list[str]]:
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


# --- tokens with norms far above the layer's median: how many, how large and where ---------------------------------

DEFAULT_LIMIT = 3.0
"""Where a run's configuration does not state the limit of its mask."""


def mask_limits(runs: pl.DataFrame) -> list[float]:
    """The distinct limits of the runs' masks, ascending."""
    return sorted({mask_limit(config) for config in runs["config"]})


def mask_limit(config: str | None) -> float:
    """Multiple of the layer's median above which a run masks tokens, from its configuration."""
    return of_protocol(config, "norm_factor", DEFAULT_LIMIT)


def large_norm_charts(correlators: pl.DataFrame, runs: pl.DataFrame) -> list[Chart]:
    """Over the layers: how many, how large with the limits of the masks, and, where there are any, which share is at position
    0. Empty where nothing is stored on them."""
    titles = {
        "large_norm_tokens": _("How many tokens (of {n} read)"),
        "large_norm_ratio": _("Largest norm over the layer's median, log scale"),
        "large_norm_at_start": _("Share at position 0 in %"),
    }
    charts = []
    for name, title in titles.items():
        data = correlator_points(correlators, runs, name, "unmasked")
        guides = []
        if name == "large_norm_at_start":
            data = replace(data, curves=list(map(_in_percent, data.curves)))
        elif name == "large_norm_ratio":
            told = _("limit of the mask: {limit} times the median")
            guides = [Guide(told.format(limit=f"{limit:g}"), limit, False) for limit in mask_limits(runs)]
        lines = [
            replace(line, mark="circle") for n, curve in enumerate(data.curves) for line in curve_series(curve, n, data)
        ]
        values = [point.y for line in lines for point in line.points] + [guide.at for guide in guides]
        title = title.format(n=wording.size_range(data.n_points))
        y = log_axis(title, values) if guides else round_axis(title, values, from_zero=True)
        if lines:
            charts.append(Chart(layer_axis(data), y, tuple(lines), "", tuple(guides)))
    return charts


def _in_percent(curve: Curve) -> Curve:
    return replace(curve, marks=[replace(mark, value=100 * mark.value) for mark in curve.marks])
