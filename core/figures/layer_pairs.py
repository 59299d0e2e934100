"""How layers resemble each other: one measure of every two layers of a run, as a matrix in colours."""

from __future__ import annotations

import math
from dataclasses import dataclass

import plotly.graph_objects as go
import polars as pl

from core import wording
from core.figures.style import COLOUR_SCALE, COLOURS, DASHES, LOG_TICKS, QUIET, bars, empty, faded, frame
from core.locale import translator

EXPONENT = "displacement_exponent"
HEIGHT = 620
FLOW = ("kept", "removed", "added")
SYMBOLS = ("circle", "square", "triangle-up")
STORED_ONCE = ("kept", "common_dimension", "common_correlator")
"""Measures without direction, of which only the rows with layer_a <= layer_b are stored."""


@dataclass(frozen=True)
class PairData:
    """One measure of one run; `values[b][a]` belongs to the layers a (across) and b (up)."""

    measure: str
    k: int | None
    layers: list[int]
    values: list[list[float | None]]
    errors: list[list[float | None]]
    """Standard errors; None where there is none."""
    n_points: int

    nulls: list[list[float | None]]
    """What chance alone gives, where it is known."""


@dataclass(frozen=True)
class Curve:
    """One measure along the layers, a pair of layers at each place."""

    measure: str
    values: list[float | None]
    reach: list[float | None]
    """Two standard errors."""


@dataclass(frozen=True)
class AlongLayers:
    """Successive layers: at each place the later one, beside the layer before it."""

    layers: list[int]
    curves: list[Curve]
    null: list[float | None]
    """Of the first curve: its mean where the tokens of one layer are permuted."""
    null_reach: list[float]
    """Two standard deviations over permutations; 0 where not known."""
    n_points: int


@dataclass(frozen=True)
class Exponent:
    """How the displacement of directions grows with the number of layers between."""

    value: float
    std_error: float | None
    first: int
    last: int
    """The inner layers that it was fitted on."""


def pair_points(pairs: pl.DataFrame, run_id: str, measure: str) -> PairData:
    """`pairs` are rows of layer_pairs; without any of this measure the matrix is empty."""
    rows = pairs.filter(run_id=run_id, measure=measure)
    layers = sorted(set(rows["layer_a"]) | set(rows["layer_b"]))
    found = {(row["layer_a"], row["layer_b"]): row for row in rows.iter_rows(named=True)}
    if measure in STORED_ONCE:
        found |= {(b, a): row for (a, b), row in found.items()}

    def matrix(column: str) -> list[list[float | None]]:
        return [[found[a, b][column] if (a, b) in found else None for a in layers] for b in layers]

    n_points = max(rows["n_points"].to_list(), default=0)
    k = rows["k"].drop_nulls().to_list()
    return PairData(
        measure, k[0] if k else None, layers, matrix("value"), matrix("std_error"), n_points, matrix("null_value")
    )


def along_layers(pairs: pl.DataFrame, run_id: str, measure: str) -> AlongLayers:
    """A measure from each layer to the next; with the dimensions that are kept, those that go and come."""
    rows = pairs.filter(pl.col("layer_b") == pl.col("layer_a") + 1, run_id=run_id).sort("layer_b")
    first = rows.filter(measure=measure)
    layers = first["layer_b"].to_list()
    names = FLOW if measure in FLOW else (measure,)
    curves = []
    for name in names:
        own = {row["layer_b"]: row for row in rows.filter(measure=name).iter_rows(named=True)}
        found = [own.get(layer, {}) for layer in layers]
        errors = [row.get("std_error") for row in found]
        reach = [None if error is None else 2 * error for error in errors]
        curves.append(Curve(name, [row.get("value") for row in found], reach))
    spread = [2 * (value or 0.0) for value in first["null_spread"].to_list()]
    n_points = max(first["n_points"].to_list(), default=0)
    return AlongLayers(layers, curves, first["null_value"].to_list(), spread, n_points)


def exponent(pairs: pl.DataFrame, run_id: str) -> Exponent | None:
    rows = pairs.filter(pl.col("value").is_finite(), run_id=run_id, measure=EXPONENT)
    if rows.is_empty():
        return None
    row = rows.row(0, named=True)
    return Exponent(row["value"], row["std_error"], row["layer_a"], row["layer_b"])


def pair_figure(data: PairData, language: str) -> go.Figure:
    """A matrix whose colours run over all that the measure can be, so that two runs are read by one scale."""
    _ = translator(language)
    directed = data.measure == "information_imbalance"
    across, up = (_("From layer"), _("To layer")) if directed else (_("Layer l"), _("Layer m"))
    figure = frame(across, up, HEIGHT)
    if not data.layers:
        return empty(figure, _("This run holds no such comparison of layers."))
    low, high = colour_range(data)
    is_log = data.measure == "common_dimension"
    figure.add_heatmap(
        x=data.layers,
        y=data.layers,
        z=[[math.log10(v) if v else None for v in line] for line in data.values] if is_log else data.values,
        zmin=low,
        zmax=high,
        colorscale=COLOUR_SCALE,
        customdata=_told(data, language),
        hovertemplate="%{customdata}<extra></extra>",
        colorbar={
            "title": {"text": _axis(data, language), "side": "right", "font": {"size": 12}},
            "thickness": 16,
            **(_log_ticks(low, high) if is_log else {}),
        },
    )
    # One cell is one square: what is symmetric must look so.
    figure.update_yaxes(scaleanchor="x", constrain="domain", showgrid=False)
    figure.update_xaxes(constrain="domain", showgrid=False)
    figure.update_layout(margin={"t": 20})
    return figure


def along_figure(data: AlongLayers, language: str) -> go.Figure:
    """What each block leaves as it was, with errors and what chance alone gives; a ribbon of the dimensions kept."""
    _ = translator(language)
    points = _(", ").join([wording.name("cloud", "one_per_type", language), f"N={data.n_points:,}"])
    one = len(data.curves) == 1
    quantity = wording.name("pair", data.curves[0].measure, language) if one else _("Dimensions")
    named = _("{quantity} ({details})").format(quantity=quantity, details=points)
    figure = frame(_("Block (from the layer before it to its own)"), named)
    if not data.layers:
        return empty(figure, _("This run holds no such comparison of layers."))
    _draw_null(figure, data, language)
    for i, curve in enumerate(data.curves):
        name = wording.name("pair", curve.measure, language)
        figure.add_scatter(
            x=data.layers,
            y=curve.values,
            error_y=bars(curve.reach, curve.reach),
            mode="lines+markers",
            line={"color": COLOURS[i], "dash": DASHES[i], "width": 2},
            marker={"symbol": SYMBOLS[i], "size": 7},
            fill="tozeroy" if curve.measure == "kept" else "none",
            fillcolor=faded(COLOURS[i]),
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


def _draw_null(figure: go.Figure, data: AlongLayers, language: str) -> None:
    """The mean by chance as a line, two standard deviations to both sides as a band."""
    _ = translator(language)
    if all(value is None for value in data.null):
        return
    known = [
        (x, value, reach)
        for x, value, reach in zip(data.layers, data.null, data.null_reach, strict=True)
        if value is not None
    ]
    xs = [x for x, _value, _reach in known]
    figure.add_scatter(
        x=[*xs, *reversed(xs)],
        y=[*(value + reach for _x, value, reach in known), *(value - reach for _x, value, reach in reversed(known))],
        fill="toself",
        fillcolor=faded(QUIET),
        line={"width": 0},
        mode="lines",
        showlegend=False,
        hoverinfo="skip",
    )
    figure.add_scatter(
        x=xs,
        y=[value for _x, value, _reach in known],
        mode="lines",
        line={"color": QUIET, "width": 1.5, "dash": "dot"},
        name=_("tokens of one layer permuted"),
        hovertemplate="%{y:.3g}<extra>%{fullData.name}</extra>",
    )


def colour_range(data: PairData) -> tuple[float, float]:
    """0 to 2 for a displacement, where 2 is unrelated; else 0 to 1, wider where a cosine is negative.

    Dimensions have no end of their own: those kept run from 0 to the largest d2; common ones, in powers of ten, from
    the smallest to a hundred times that, beyond which hardly anything is shared.
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


def _told(data: PairData, language: str) -> list[list[str]]:
    _ = translator(language)
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


def _axis(data: PairData, language: str) -> str:
    """The measure with what it depends on: its points, and its neighbours where it has a number of them."""
    _ = translator(language)
    details = [wording.name("cloud", "one_per_type", language), f"N={data.n_points:,}"]
    if data.measure == "neighbour_overlap" and data.k is not None:
        details.append(f"k={data.k}")
    named = _("{quantity} ({details})")
    return named.format(quantity=wording.name("pair", data.measure, language), details=_(", ").join(details))
