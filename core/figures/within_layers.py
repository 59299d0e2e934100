"""What lies behind a profile: how alike the layers of a run are, how quantities of its tokens spread, tokens of large norm."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from typing import Any

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


def displacement_exponent(pairs: pl.DataFrame, run_id: str) -> LayerPairRow | None:
    """How the displacement of directions grows with the number of layers between them, fitted on inner layers, a to b."""
    rows = pairs.filter(pl.col("value").is_finite(), run_id=run_id, measure=EXPONENT_MEASURE)
    return next(iter(records(rows, LayerPairRow)), None)


def pair_figure(pairs: pl.DataFrame, run_id: str, measure: str) -> go.Figure:
    """A matrix, layer a across and b upwards, whose colours span all possible values of the measure, so that two runs can be
    compared; `pairs` are rows of layer_pairs."""
    rows = pairs.filter(run_id=run_id, measure=measure)
    figure = axes_figure(_("From layer"), _("To layer"), HEIGHT)
    if rows.is_empty():
        return with_message(figure, _("This run holds no such comparison of layers."))
    found = {(row.layer_a, row.layer_b): row for row in records(rows, LayerPairRow)}
    if measure in STORED_ONCE:
        found |= {(b, a): row for (a, b), row in found.items()}
    layers = sorted({layer for pair in found for layer in pair})

    def note(a: int, b: int) -> str:
        row = found.get((a, b))
        value = wording.with_error(getattr(row, "value", None), getattr(row, "std_error", None))
        if row and row.null_value is not None:
            value += _(" (by chance {null})", null=wording.number(row.null_value))
        return _("From layer {a} to layer {b}: {value}", a=a, b=b, value=value)

    is_log = measure == "common_dimension"
    values = {pair: math.log10(row.value) if is_log and row.value else row.value for pair, row in found.items()}
    low, high = colour_range(measure, [value for value in values.values() if value is not None])
    sizes = [f"N={max(rows['n_points']):,}"]
    if measure == "neighbour_overlap":
        sizes += [f"k={k}" for k in rows["k"].drop_nulls().head(1)]
    bar: dict[str, Any] = {"title": {"text": _with_points(wording.name("pair", measure), *sizes)}}
    if is_log:
        ticks = [tick for tick in LOG_TICKS if low <= math.log10(tick) <= high]
        bar |= {"tickvals": [math.log10(tick) for tick in ticks], "ticktext": [f"{tick:g}" for tick in ticks]}
    matrix = [[values.get((a, b)) for a in layers] for b in layers]
    notes = [[note(a, b) for a in layers] for b in layers]
    add_heatmap(figure, layers, layers, matrix, notes, bar, zmin=low, zmax=high)
    # Square cells, so that symmetric matrices look symmetric.
    figure.update_yaxes(scaleanchor="x", constrain="domain", showgrid=False)
    figure.update_xaxes(constrain="domain", showgrid=False)
    figure.update_layout(margin={"t": 20})
    return figure


def successive_chart(pairs: pl.DataFrame, run_id: str, measure: str) -> Chart:
    """A measure from each layer to the next with two standard errors, and where it is known the mean and two standard deviations
    with the tokens of one layer permuted; kept, removed and added dimensions come together."""
    rows = pairs.filter(pl.col("layer_b") == pl.col("layer_a") + 1, run_id=run_id).sort("layer_b")
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
            told = wording.with_error(value, error)
            note = _("From layer {a} to layer {b}: {value}", a=layer - 1, b=layer, value=told)
            points.append(Point(layer, value, lower, upper, note=f"{name}\n{note}"))
            if one == measure and mean is not None:
                spread = 2 * (null_spread or 0.0)
                null.append(Point(layer, mean, mean - spread, mean + spread, note=f"{by_chance}: {mean:.3g}"))
        if points:
            series.append(Series(name, tuple(points), n, mark=marks[n], is_banded=True, is_named=False))
    if null:
        series.append(Series(by_chance, tuple(null), None, is_banded=True, is_named=False))
    n_points = max(rows.filter(measure=measure)["n_points"].to_list(), default=0)
    y_title = _with_points(wording.name("pair", measure) if len(measures) == 1 else _("Dimensions"), f"N={n_points:,}")
    last = max((point.x for line in series for point in line.points), default=1)
    return Chart(
        Axis(_("Block (from the layer before it to its own)"), 0.5, last + 0.5, whole_step(last)),
        round_axis(y_title, y_ends(series), from_zero=True),
        tuple(series),
        "" if series else _("This run holds no such comparison of layers."),
    )


def colour_range(measure: str, values: list[float]) -> tuple[float, float]:
    """0 to 2 for a displacement, where 2 is unrelated; else 0 to 1, wider where a cosine is negative.

    Dimensions have no upper limit: kept ones span 0 to the largest d2; common ones, in powers of ten, the smallest to a
    hundred times that, above which hardly anything is shared.
    """
    if measure == "displacement":
        return 0.0, 2.0
    if measure == "common_dimension":
        return min(values, default=0.0), min(values, default=0.0) + 2
    return min([0.0, *values]), max([1.0, *values])


def _with_points(quantity: str, *sizes: str) -> str:
    return _("{quantity} ({details})", quantity=quantity, details=[wording.name("cloud", "one_per_type"), *sizes])


# --- distributions: shares of tokens in colours, layer by layer, and the median as a line --------------------------

OF_PAIRS = ("cosine",)
"""Quantities of pairs of tokens; all others belong to single tokens."""
_MOST_GRID_BINS = 60
"""Bins of the common grid where the bins of layers differ."""


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


def distribution_figure(distributions: pl.DataFrame, run_id: str, quantity: str) -> go.Figure:
    """Of each layer the shares of its tokens, or pairs, within common bins, and the median; `distributions` are rows of
    layer_distributions, layers with different bins are counted on one grid."""
    rows = distributions.filter(run_id=run_id, quantity=quantity).sort("layer", "bin_lower")
    found = [bins for _layer, bins in rows.group_by("layer", maintain_order=True) if bins["count"].sum()]
    edges, is_log = _common_edges(found) if found else ([], False)
    totals = [int(bins["count"].sum()) for bins in found] or [0]
    size = wording.size_range((min(totals), max(totals)))
    share, counted = _("Share of tokens"), f"{wording.name('cloud', 'one_per_type')}, N={size}"
    if quantity in OF_PAIRS:
        share, counted = _("Share of pairs"), _("pairs: {n}", n=size)
    details = [counted, _("log scale")] if is_log else [counted]
    y_title = _("{quantity} ({details})", quantity=wording.name("quantity", quantity), details=details)
    figure = axes_figure(wording.layer_axis(True), y_title, HEIGHT)
    if not found:
        return with_message(figure, _("This run holds no such distribution."))
    layers, medians = [bins["layer"][0] for bins in found], list(map(bin_median, found))
    shares = np.column_stack([bin_shares(bins, edges) for bins in found]).tolist()
    told = _("Layer {layer}, {low} to {high}: {share} (median: {median})")
    notes = [
        [
            told.format(
                layer=layer,
                low=wording.number(low),
                high=wording.number(high),
                share=wording.share_text(part, 1),
                median=wording.number(median),
            )
            for layer, part, median in zip(layers, parts, medians, strict=True)
        ]
        for (low, high), parts in zip(pairwise(edges), shares, strict=True)
    ]
    bar = {"title": {"text": share}, "tickformat": ".1~%"}
    add_heatmap(figure, layers, edges, shares, notes, bar, zmin=0, name=share)
    # White on a dark edge is visible on every colour of the scale.
    for colour, width in ((TEXT, 5), ("#FFFFFF", 2.5)):
        figure.add_scatter(
            x=layers,
            y=medians,
            mode="lines",
            line={"color": colour, "width": width},
            name=_("median"),
            legendgroup="median",
            showlegend=width > 4,
            hoverinfo="skip",
        )
    figure.update_yaxes(showgrid=False, **({"type": "log", "tickvals": LOG_TICKS} if is_log else {}))
    figure.update_xaxes(showgrid=False)
    return figure


def _common_edges(layers: list[pl.DataFrame]) -> tuple[list[float], bool]:
    """The common bins of the layers without empty ends; where bins differ, a fine grid over all of them."""
    bin_limits = {(tuple(bins["bin_lower"]), tuple(bins["bin_upper"])) for bins in layers}
    filled = pl.concat(layers).filter(pl.col("count") > 0)
    low, high = filled.select(low=pl.col("bin_lower").min(), high=pl.col("bin_upper").max()).row(0)
    is_log = low > 0 and high > 30 * low
    if len(bin_limits) == 1:
        lower, upper = bin_limits.pop()
        return [edge for edge in (*lower, upper[-1]) if low <= edge <= high], is_log
    if low == high:
        return [low, high], False
    return (np.geomspace if is_log else np.linspace)(low, high, _MOST_GRID_BINS + 1).tolist(), is_log


# --- tokens with norms far above the layer's median: how many, how large and where ---------------------------------


def mask_limits(runs: pl.DataFrame) -> list[float]:
    """The distinct limits of the runs' masks, ascending."""
    return sorted({mask_limit(config) for config in runs["config"]})


def mask_limit(config: str | None) -> float:
    """Multiple of the layer's median above which a run masks tokens, from its configuration."""
    return of_protocol(config, "norm_factor")


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
