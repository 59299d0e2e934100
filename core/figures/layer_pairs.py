"""Similarity of layers: a measure of every pair of layers of a run as a matrix, or of successive layers as curves."""

from __future__ import annotations

import math
from dataclasses import dataclass

import plotly.graph_objects as go
import polars as pl

from core import wording
from core.figures.chart import Axis, Chart, Mark, Point, Series, round_axis, whole_step, y_ends
from core.figures.chart_figure import LOG_TICKS, add_heatmap, axes_figure, with_message
from core.locale import _
from core.registry.estimators import PAIR_MEASURES
from core.tables import LayerPairRow, records

EXPONENT_MEASURE = "displacement_exponent"
DRAWN = tuple(key for key in PAIR_MEASURES if key not in (EXPONENT_MEASURE, "common_correlator", "removed", "added"))
"""The others are one number, or follow from one that is drawn."""
HEIGHT = 620
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
    add_heatmap(figure, data.layers, data.layers, values, _hover_texts(data), bar, zmin=low, zmax=high)
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
