"""Dimension estimators: each a function from points or neighbour distances to a number.

`ESTIMATORS` maps a name to a function of points alone, callable by itself on any (n_points, n_dims) array or tensor.
The layer-by-layer measurement in `core.geometry.layer` uses the same formulas on shared neighbour tables.
"""

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
from core.geometry.resampling import log_interval
from core.records import Estimate

GRIDE_SCALES = (1, 2, 4, 8, 16, 32)
"""Inner ranks n1; the outer rank is n2 = 2 n1."""
MLE_NEIGHBOURS = 20
MIN_POINTS = 3


def two_nn(distances: Tensor) -> float:
    """Two-nearest-neighbour dimension, full maximum likelihood: (N-1) / sum log(r2/r1).

    distances (n_points, >= 2), sorted, without exact duplicates. Facco et al. 2017. For N independent points of
    locally constant density it is unbiased; NaN where all ratios are 1.
    """
    log_ratios = _in_double(distances[:, 1] / distances[:, 0]).log().clamp_min(0)
    return _safe_ratio(len(distances) - 1, float(log_ratios.sum()))


def mle(distances: Tensor) -> float:
    """Levina-Bickel dimension, inverses averaged over points: (k-1) N / sum_i sum_{j<k} log(r_k/r_j).

    distances (n_points, k), sorted, without exact duplicates. Levina and Bickel 2004, averaged as MacKay and
    Ghahramani 2005: averaging the local dimensions themselves is biased at small k.
    """
    k = distances.shape[1]
    logs = _in_double(distances).log()
    return _safe_ratio((k - 1) * len(distances), float((logs[:, -1:] - logs[:, :-1]).sum()))


def gride(distances: Tensor, n1: int) -> float:
    """Generalised ratio dimension at ranks (n1, 2 n1): root of the likelihood of mu = r_{2 n1} / r_{n1}.

    distances (n_points, >= 2 n1). Denti et al. 2022: f(mu) = d (mu^d - 1)^(n2-n1-1) / (B(n2-n1, n1) mu^((n2-1)d+1)).
    n1 = 1 is `two_nn`. The start value is the moment estimate (H_{n2-1} - H_{n1-1}) / mean log mu.
    """
    n2 = 2 * n1
    log_mu = _in_double(distances[:, n2 - 1] / distances[:, n1 - 1]).log().clamp_min(0)
    mean = float(log_mu.mean())
    if not math.isfinite(mean) or mean <= 0:
        return math.nan
    n = len(log_mu)
    start = sum(1 / i for i in range(n1, n2)) / mean
    if n1 == 1:
        return start * (n - 1) / n
    return _gride_root(log_mu, n1, n2, start)


def _gride_root(log_mu: Tensor, n1: int, n2: int, d: float) -> float:
    """Newton steps on the score (N-1)/d + (n2-n1-1) sum l/(1-e^-dl) - (n2-1) sum l, which falls in d: one root."""
    l = log_mu.clamp_min(1e-12)  # noqa: E741 - the paper's symbol
    n, linear = len(l), float(l.sum()) * (n2 - 1)
    for _ in range(50):
        decay = torch.exp(-d * l)
        rest = -torch.expm1(-d * l)
        score = (n - 1) / d + (n2 - n1 - 1) * float((l / rest).sum()) - linear
        slope = -(n - 1) / d**2 - (n2 - n1 - 1) * float((l * l * decay / rest.square()).sum())
        step = score / slope
        d = min(max(d - step, d / 3), d * 3)
        if abs(step) < 1e-9 * d:
            return d
    return math.nan


def _in_double(values: Tensor) -> Tensor:
    """On the CPU: the tables are small by now, and Apple's GPUs have no double precision."""
    return values.cpu().double()


def _safe_ratio(numerator: float, denominator: float) -> float:
    return numerator / denominator if math.isfinite(denominator) and denominator > 0 else math.nan


# --- the registry: points -> Estimate --------------------------------------------------------------------------


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
