"""Dimension estimators, under one name: the formulas on neighbour distances, and `ESTIMATORS` on points alone.

The layer-by-layer measurement in `core.geometry.layer` uses the formulas on neighbour tables that estimators share;
`ESTIMATORS` maps a name to a function that does everything by itself, on any (n_points, n_dims) array or tensor.
"""

from __future__ import annotations

from core.geometry.ratios import (
    DISCARDED,
    GRIDE_SCALES,
    MIN_POINTS,
    MLE_NEIGHBOURS,
    gride,
    mle,
    plateau,
    two_nn,
    two_nn_censored,
    two_nn_linear,
)
from core.geometry.registry import ESTIMATORS

__all__ = [
    "DISCARDED",
    "ESTIMATORS",
    "GRIDE_SCALES",
    "MIN_POINTS",
    "MLE_NEIGHBOURS",
    "gride",
    "mle",
    "plateau",
    "two_nn",
    "two_nn_censored",
    "two_nn_linear",
]
