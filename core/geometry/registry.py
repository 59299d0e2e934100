"""`ESTIMATORS`: every estimator by name, each a function of points alone."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial

import numpy as np
import torch
from torch import Tensor

from core.errors import EstimateError
from core.geometry import second_order
from core.geometry.neighbours import first_copies, nearest
from core.geometry.ratios import GRIDE_SCALES, MIN_POINTS, MLE_NEIGHBOURS, gride, mle, two_nn
from core.geometry.resampling import log_interval
from core.records import Estimate


def _on_points(
    name: str, compute: Callable[[Tensor, Tensor], tuple[float, float, int]], points, sequences=None, n_blocks: int = 16
) -> Estimate:
    """Run an estimator on points with a block jackknife; without `sequences`, points count as independent.

    points (n_points, n_dims); sequences (n_points,) integers, or None. Raises EstimateError for fewer than three
    distinct points. Blocks are groups of neighbouring sequences.
    """
    points = torch.as_tensor(np.asarray(points) if not isinstance(points, Tensor) else points).float()
    n = len(points)
    notes = "" if sequences is not None else "independent points assumed"
    labels = torch.arange(n) if sequences is None else torch.as_tensor(np.asarray(sequences)).long()
    labels = torch.unique(labels, return_inverse=True)[1].to(points.device)
    if points.ndim != 2 or n < MIN_POINTS or not bool(torch.isfinite(points).all()):
        raise EstimateError(
            f"{name} needs a (n_points, n_dims) array of at least {MIN_POINTS} finite points; this one has shape "
            f"{tuple(points.shape)}. Drop rows with missing values or give more points."
        )
    n_labels = int(labels.max()) + 1
    n_blocks = min(n_blocks, n_labels)
    blocks = labels * n_blocks // n_labels
    if sequences is None:  # the order of independent points means nothing: shuffle it
        blocks = blocks[torch.randperm(n, generator=torch.Generator().manual_seed(0)).to(blocks.device)]
    value, scale, dropped = compute(points, labels)
    if n - dropped < MIN_POINTS:
        raise EstimateError(
            f"{name} needs at least {MIN_POINTS} distinct points; {n} were given and {n - dropped} are distinct. "
            "Give more points."
        )
    replicates = [compute(points[blocks != b], labels[blocks != b])[0] for b in range(n_blocks)]
    return log_interval(value, replicates, scale=scale, n_points=n - dropped, n_dropped=dropped, notes=notes)


def _by_neighbours(estimate: Callable[[Tensor], float], k: int, points: Tensor, _labels: Tensor):
    everything = torch.ones(1, len(points), dtype=torch.bool, device=points.device)
    distinct = points[first_copies(points, everything)[0]]
    dropped = len(points) - len(distinct)
    if len(distinct) <= k:
        return math.nan, math.nan, dropped
    distances = nearest(distinct, k).distances
    return estimate(distances), float(distances[:, -1].mean()), dropped


def _d2(points: Tensor, labels: Tensor):
    return second_order.d2(points, labels)[0], math.nan, 0


def _d2_all_pairs(points: Tensor, labels: Tensor):
    return second_order.d2(points, labels)[1], math.nan, 0


def _participation_ratio(points: Tensor, _labels: Tensor):
    everything = torch.ones(1, len(points), dtype=torch.bool, device=points.device)
    return second_order.participation_ratios(points, everything)[0], math.nan, 0


_ON_POINTS: dict[str, Callable[[Tensor, Tensor], tuple[float, float, int]]] = {
    "d2": _d2,
    "d2_all_pairs": _d2_all_pairs,
    "participation_ratio": _participation_ratio,
    "two_nn": partial(_by_neighbours, two_nn, 2),
    "mle": partial(_by_neighbours, mle, MLE_NEIGHBOURS),
    **{f"gride_{n1}": partial(_by_neighbours, partial(gride, n1=n1), 2 * n1) for n1 in GRIDE_SCALES},
}

ESTIMATORS: dict[str, Callable[..., Estimate]] = {
    name: partial(_on_points, name, compute) for name, compute in _ON_POINTS.items()
}
"""Name -> function(points, sequences=None, n_blocks=16) -> Estimate. `gride_8` is GRIDE at ranks 8 and 16."""
