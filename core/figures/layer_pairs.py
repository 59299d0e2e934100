"""Similarity of layers: a measure of every pair of layers of a run as a matrix, or of successive layers as curves."""

from __future__ import annotations

import math
from dataclasses import dataclass

import plotly.graph_objects as go
import polars as pl

from core import wording
from core.figures.style import (
    COLOUR_SCALE,
    COLOURS,
    DASHES,
    LOG_TICKS,
    QUIET,
    axes_figure,
    error_bars,
    translucent,
    with_message,
)
from core.locale import _
from core.registry.correlators import PAIR_MEASURES

EXPONENT_MEASURE = "displacement_exponent"
DRAWN = tuple(key for key in PAIR_MEASURES if key not in (EXPONENT_MEASURE, "common_correlator", "removed", "added"))
"""The others are one number, or follow from one that is drawn."""
HEIGHT = 620
FLOW_MEASURES = ("kept", "removed", "added")
SYMBOLS = ("circle", "square", "triangle-up")
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
class PairCurve:
    """One measure of successive layers."""

    measure: str
    values: list[float | None]
    reach: list[float | None]
    """Two standard errors."""


@dataclass(frozen=True)
class SuccessiveLayers:
    """Measures of each layer and the one before it."""

    layers: list[int]
    curves: list[PairCurve]
    null: list[float | None]
    """Mean of the first curve's measure with the tokens of one layer permuted."""
    null_reach: list[float]
    """Two standard deviations over permutations; 0 where unknown."""
    n_points: int


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
    row_of_pair = {(row["layer_a"], row["layer_b"]): row for row in rows.iter_rows(named=True)}
    if measure in STORED_ONCE:
        row_of_pair |= {(b, a): row for (a, b), row in row_of_pair.items()}

    def matrix(column: str) -> list[list[float | None]]:
        return [[row_of_pair[a, b][column] if (a, b) in row_of_pair else None for a in layers] for b in layers]

    n_points = max(rows["n_points"].to_list(), default=0)
    k = rows["k"].drop_nulls().to_list()
    return PairData(
        measure, k[0] if k else None, layers, matrix("value"), matrix("std_error"), n_points, matrix("null_value")
    )


def successive_layers(pairs: pl.DataFrame, run_id: str, measure: str) -> SuccessiveLayers:
    """A measure from each layer to the next; kept, removed and added dimensions come together."""
    rows = pairs.filter(pl.col("layer_b") == pl.col("layer_a") + 1, run_id=run_id).sort("layer_b")
    first = rows.filter(measure=measure)
    layers = first["layer_b"].to_list()
    names = FLOW_MEASURES if measure in FLOW_MEASURES else (measure,)
    curves = []
    for name in names:
        by_layer = {row["layer_b"]: row for row in rows.filter(measure=name).iter_rows(named=True)}
        row_of_layer = [by_layer.get(layer, {}) for layer in layers]
        errors = [row.get("std_error") for row in row_of_layer]
        reach = [None if error is None else 2 * error for error in errors]
        curves.append(PairCurve(name, [row.get("value") for row in row_of_layer], reach))
    spread = [2 * (value or 0.0) for value in first["null_spread"].to_list()]
    n_points = max(first["n_points"].to_list(), default=0)
    return SuccessiveLayers(layers, curves, first["null_value"].to_list(), spread, n_points)


def displacement_exponent(pairs: pl.DataFrame, run_id: str) -> DisplacementExponent | None:
    rows = pairs.filter(pl.col("value").is_finite(), run_id=run_id, measure=EXPONENT_MEASURE)
    if rows.is_empty():
        return None
    row = rows.row(0, named=True)
    return DisplacementExponent(row["value"], row["std_error"], row["layer_a"], row["layer_b"])


def pair_figure(data: PairData) -> go.Figure:
    """A matrix whose colours span all possible values of the measure, so that two runs can be compared."""
    directed = data.measure == "information_imbalance"
    across, up = (_("From layer"), _("To layer")) if directed else (_("Layer l"), _("Layer m"))
    figure = axes_figure(across, up, HEIGHT)
    if not data.layers:
        return with_message(figure, _("This run holds no such comparison of layers."))
    low, high = colour_range(data)
    is_log = data.measure == "common_dimension"
    figure.add_heatmap(
        x=data.layers,
        y=data.layers,
        z=[[math.log10(v) if v else None for v in line] for line in data.values] if is_log else data.values,
        zmin=low,
        zmax=high,
        colorscale=COLOUR_SCALE,
        customdata=_hover_texts(data),
        hovertemplate="%{customdata}<extra></extra>",
        colorbar={
            "title": {"text": _colour_title(data), "side": "right", "font": {"size": 12}},
            "thickness": 16,
            **(_log_ticks(low, high) if is_log else {}),
        },
    )
    # Square cells, so that symmetric matrices look symmetric.
    figure.update_yaxes(scaleanchor="x", constrain="domain", showgrid=False)
    figure.update_xaxes(constrain="domain", showgrid=False)
    figure.update_layout(margin={"t": 20})
    return figure


def successive_figure(data: SuccessiveLayers) -> go.Figure:
    """Similarity before and after each block with errors and chance level; kept dimensions as an area."""
    points = _(", ").join([wording.name("cloud", "one_per_type"), f"N={data.n_points:,}"])
    is_single = len(data.curves) == 1
    quantity = wording.name("pair", data.curves[0].measure) if is_single else _("Dimensions")
    y_title = _("{quantity} ({details})").format(quantity=quantity, details=points)
    figure = axes_figure(_("Block (from the layer before it to its own)"), y_title)
    if not data.layers:
        return with_message(figure, _("This run holds no such comparison of layers."))
    _draw_null(figure, data)
    for i, curve in enumerate(data.curves):
        name = wording.name("pair", curve.measure)
        figure.add_scatter(
            x=data.layers,
            y=curve.values,
            error_y=error_bars(curve.reach, curve.reach),
            mode="lines+markers",
            line={"color": COLOURS[i], "dash": DASHES[i], "width": 2},
            marker={"symbol": SYMBOLS[i], "size": 7},
            fill="tozeroy" if curve.measure == "kept" else "none",
            fillcolor=translucent(COLOURS[i]),
            name=name,
            customdata=[
                _("Layers {a} and {b}: {value}").format(
                    a=layer - 1, b=layer, value=_with_error(value, reach and reach / 2)
                )
                for layer, value, reach in zip(data.layers, curve.values, curve.reach, strict=True)
            ],
            hovertemplate="%{customdata}<extra>%{fullData.name}</extra>",
        )
    return figure


def _draw_null(figure: go.Figure, data: SuccessiveLayers) -> None:
    """The chance level as a line with a band of two standard deviations."""
    if all(value is None for value in data.null):
        return
    points = [
        (x, value, reach)
        for x, value, reach in zip(data.layers, data.null, data.null_reach, strict=True)
        if value is not None
    ]
    xs = [x for x, _value, _reach in points]
    figure.add_scatter(
        x=[*xs, *reversed(xs)],
        y=[*(value + reach for _x, value, reach in points), *(value - reach for _x, value, reach in reversed(points))],
        fill="toself",
        fillcolor=translucent(QUIET),
        line={"width": 0},
        mode="lines",
        showlegend=False,
        hoverinfo="skip",
    )
    figure.add_scatter(
        x=xs,
        y=[value for _x, value, _reach in points],
        mode="lines",
        line={"color": QUIET, "width": 1.5, "dash": "dot"},
        name=_("tokens of one layer permuted"),
        hovertemplate="%{y:.3g}<extra>%{fullData.name}</extra>",
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


def _hover_texts(data: PairData) -> list[list[str]]:
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
