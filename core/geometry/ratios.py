"""Dimension from ratios of neighbour distances: TwoNN in three forms, GRIDE and the maximum likelihood of k.

Every function takes distances (n_points, k), sorted along each row, the point itself left out and exact duplicates
removed beforehand: a duplicate has r_1 = 0, and dropping only its ratio would leave its partners with biased ones.
NaN stands where an estimate is undefined: fewer than three points, or ratios that are all 1 (ties).
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

GRIDE_SCALES = (1, 2, 4, 8, 16, 32)
"""Inner ranks n1; the outer rank is n2 = 2 n1."""
GRIDE_READ_AT = 8
"""The inner rank that is read: lower ones see spelling variants of one word, higher ones the rim."""
MLE_NEIGHBOURS = 20
MIN_POINTS = 3
DISCARDED = 0.1
"""Share of the largest ratios that censored and linear TwoNN leave out: they come from the sparse rim of a cloud."""
PLATEAU = 0.1
"""Two scales agree where their log dimensions differ by less than this."""


def two_nn(distances: Tensor) -> float:
    """Two-nearest-neighbour dimension, full maximum likelihood: (N-1) / sum log(r2/r1).

    distances (n_points, >= 2). Facco et al. 2017. For N independent points of locally constant density it is unbiased;
    a tie r1 = r2 counts as log 1 = 0 and so raises it.
    """
    log_mu = _log_ratios(distances, 1, 2)
    if len(log_mu) < MIN_POINTS:
        return math.nan
    return _safe_ratio(len(log_mu) - 1, float(log_mu.sum()))


def two_nn_censored(distances: Tensor, discarded: float = DISCARDED) -> float:
    """TwoNN by maximum likelihood without its largest ratios: (n-1) / (sum of the n smallest + (N-n) the n-th).

    distances (n_points, >= 2); n = floor(N (1 - discarded)). Type-II censoring of the Pareto law: what is left out
    still counts as "at least the largest kept", so no bias enters. Unbiased for independent points.
    """
    log_mu = _log_ratios(distances, 1, 2).sort().values
    n = _kept(len(log_mu), discarded)
    if n < MIN_POINTS - 1:
        return math.nan
    return _safe_ratio(n - 1, float(log_mu[:n].sum()) + (len(log_mu) - n) * float(log_mu[n - 1]))


def two_nn_linear(distances: Tensor, discarded: float = DISCARDED) -> float:
    """TwoNN as its authors fit it: slope through the origin of -log(1 - i/N) on the i-th smallest log(r2/r1).

    distances (n_points, >= 2); i = 1..floor(N (1 - discarded)), because i = N would be infinite. Facco et al. 2017.
    """
    log_mu = _log_ratios(distances, 1, 2).sort().values
    n = min(_kept(len(log_mu), discarded), len(log_mu) - 1)
    if n < MIN_POINTS - 1:
        return math.nan
    x = log_mu[:n]
    y = -torch.log1p(-torch.arange(1, n + 1, dtype=x.dtype) / len(log_mu))
    return _safe_ratio(float(x @ y), float(x @ x))


def mle(distances: Tensor) -> float:
    """Levina-Bickel dimension, inverses averaged over points: (k-1) N / sum_i sum_{j<k} log(r_k/r_j).

    distances (n_points, k). Levina and Bickel 2004, averaged as MacKay and Ghahramani 2005: averaging the local
    dimensions themselves is biased at small k.
    """
    k = distances.shape[1]
    if len(distances) < MIN_POINTS:
        return math.nan
    logs = _in_double(distances).log()
    return _safe_ratio((k - 1) * len(distances), float((logs[:, -1:] - logs[:, :-1]).sum()))


def gride(distances: Tensor, n1: int) -> float:
    """Generalised ratio dimension at ranks (n1, 2 n1): root of the likelihood of mu = r_{2 n1} / r_{n1}.

    distances (n_points, >= 2 n1). Denti et al. 2022: f(mu) = d (mu^d - 1)^(n2-n1-1) / (B(n2-n1, n1) mu^((n2-1)d+1)).
    n1 = 1 is `two_nn`. The start value is the moment estimate (H_{n2-1} - H_{n1-1}) / mean log mu.
    """
    n2 = 2 * n1
    log_mu = _log_ratios(distances, n1, n2)
    mean = float(log_mu.mean())
    n = len(log_mu)
    if n < MIN_POINTS or not math.isfinite(mean) or mean <= 0:
        return math.nan
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


def plateau(values: dict[int, float]) -> int | None:
    """The smallest n1 from which two successive doublings change log d by less than `PLATEAU`; None if there is none.

    values {n1: GRIDE dimension}; the scales n1, 2 n1 and 4 n1 must all be there and finite.
    """
    logs = {n1: math.log(value) for n1, value in values.items() if math.isfinite(value) and value > 0}
    for n1 in sorted(logs):
        scan = [logs.get(n1 * factor, math.nan) for factor in (1, 2, 4)]
        if abs(scan[1] - scan[0]) < PLATEAU and abs(scan[2] - scan[1]) < PLATEAU:
            return n1
    return None


def _log_ratios(distances: Tensor, inner: int, outer: int) -> Tensor:
    """log(r_outer / r_inner) of each point, in double; a ratio below 1 is round-off and counts as 1."""
    inner_distance, outer_distance = _in_double(distances[:, [inner - 1, outer - 1]]).unbind(1)
    return (outer_distance / inner_distance).log().clamp_min(0)


def _kept(n: int, discarded: float) -> int:
    return math.floor(n * (1 - discarded) + 1e-9)


def _in_double(values: Tensor) -> Tensor:
    """On the CPU: the tables are small by now, and Apple's GPUs have no double precision."""
    return values.cpu().double()


def _safe_ratio(numerator: float, denominator: float) -> float:
    return numerator / denominator if math.isfinite(denominator) and denominator > 0 else math.nan
