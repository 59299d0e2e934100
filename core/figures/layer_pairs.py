"""How layers resemble each other: one measure of every two layers of a run, as a matrix in colours."""

from __future__ import annotations

from dataclasses import dataclass

import plotly.graph_objects as go
import polars as pl

from core import wording
from core.figures.style import COLOUR_SCALE, empty, frame
from core.locale import translator

EXPONENT = "displacement_exponent"
HEIGHT = 620
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
    return PairData(measure, k[0] if k else None, layers, matrix("value"), matrix("std_error"), n_points)


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
    figure.add_heatmap(
        x=data.layers,
        y=data.layers,
        z=data.values,
        zmin=low,
        zmax=high,
        colorscale=COLOUR_SCALE,
        customdata=_told(data, language),
        hovertemplate="%{customdata}<extra></extra>",
        colorbar={"title": {"text": _axis(data, language), "side": "right", "font": {"size": 12}}, "thickness": 16},
    )
    # One cell is one square: what is symmetric must look so.
    figure.update_yaxes(scaleanchor="x", constrain="domain", showgrid=False)
    figure.update_xaxes(constrain="domain", showgrid=False)
    figure.update_layout(margin={"t": 20})
    return figure


def colour_range(data: PairData) -> tuple[float, float]:
    """0 to 2 for a displacement, where 2 is unrelated; else 0 to 1, wider where a cosine is negative."""
    if data.measure == "displacement":
        return 0.0, 2.0
    values = [value for line in data.values for value in line if value is not None]
    return min([0.0, *values]), max([1.0, *values])


def _told(data: PairData, language: str) -> list[list[str]]:
    _ = translator(language)
    between = _("Layers {a} and {b}: {value}")
    if data.measure == "information_imbalance":
        between = _("From layer {a} to layer {b}: {value}")
    return [
        [
            between.format(a=a, b=b, value=_with_error(value, error))
            for a, value, error in zip(data.layers, values, errors, strict=True)
        ]
        for b, values, errors in zip(data.layers, data.values, data.errors, strict=True)
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
