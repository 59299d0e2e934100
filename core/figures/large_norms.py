"""Tokens with norms far above the layer's median: how many, how large and where, layer by layer."""

from __future__ import annotations

import json
from dataclasses import replace

import polars as pl

from core import wording
from core.figures.chart import Chart, Guide, log_axis, round_axis
from core.figures.layer_profiles import curve_series, layer_axis
from core.figures.profile_data import Curve, correlator_points
from core.locale import _

DEFAULT_LIMIT = 3.0
"""Where a run's configuration does not state the limit of its mask."""


def mask_limits(runs: pl.DataFrame) -> list[float]:
    """The distinct limits of the runs' masks, ascending."""
    return sorted({mask_limit(config) for config in runs["config"]})


def mask_limit(config: str | None) -> float:
    """Multiple of the layer's median above which a run masks tokens, from its configuration."""
    try:
        return float(json.loads(config or "{}")["protocol"]["norm_factor"])
    except (ValueError, KeyError, TypeError):
        return DEFAULT_LIMIT


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
