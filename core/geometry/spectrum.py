"""Ranks from the variance spectrum: effective rank and stable rank, of a cloud and of its member sets.

Both use the eigenvalues l_1 >= l_2 >= ... of the centred covariance, that is VARIANCES; the RankMe score uses singular
values instead and reads higher. stable rank <= participation ratio <= effective rank <= rank holds for every spectrum.
Neither is corrected for the number of points: 500 points of 200 Gaussian dimensions have an effective rank of 166.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor

from core.geometry.clouds import LabelledPoints, Reading

LEADING = 32
"""Axes among which the first variance of a member set is found."""


def effective_rank(variances: Tensor) -> float:
    """exp(- sum p log p), p = l / sum l: the exponential of the entropy of the variance shares. Roy and Vetterli 2007.

    variances (r,), not negative. d for d equal variances; NaN where there is no variance.
    """
    total = float(variances.sum())
    if not total > 0:
        return math.nan
    shares = variances / total
    return math.exp(-float(torch.xlogy(shares, shares).sum()))


def stable_rank(variances: Tensor) -> float:
    """sum l / l_1, the squared Frobenius norm over the squared spectral norm. Rudelson and Vershynin 2007.

    variances (r,). d for d equal variances; NaN where there is no variance.
    """
    largest = float(variances.max()) if len(variances) else 0.0
    return float(variances.sum()) / largest if largest > 0 else math.nan


def spectrum(points: Tensor) -> Tensor:
    """Variances along the principal axes, in no order, the divisor left out; (min(n, n_dims),) double on the CPU."""
    product = _smaller_product(points - points.mean(0))
    with _one_thread():
        values = torch.linalg.eigvalsh(product)
    return values.clamp_min(0).cpu().double()


def ranks(points: Tensor) -> tuple[float, float]:
    """(effective rank, stable rank) of points (n, n_dims) fp32, centred here."""
    if len(points) < 2:
        return math.nan, math.nan
    variances = spectrum(points)
    return effective_rank(variances), stable_rank(variances)


def rank_replicates(points: Tensor, members: Tensor) -> tuple[list[float], list[float]]:
    """(effective ranks, stable ranks) of every member set, from one decomposition.

    points (n, n_dims) fp32; members (n_sets, n) bool, each nearly set 0. Set 0 is exact. The others are perturbations
    of the base, set 0 where it has points enough, in its own eigenbasis, where the covariance of a set is
    diag(l) + E: to second order

        tr C log C = sum l log l + sum (1 + log l_k) E_kk + 1/2 sum_jk E_jk^2 (log l_j - log l_k) / (l_j - l_k),

    and l_1 is that of the leading block of `LEADING` axes. The first order alone makes the error 9 percent too large.
    On clustered points the error from these replicates is within 5 percent of the one from exact eigenvalues (tested).
    """
    # Fewer points than dimensions span a subspace that other sets leave: then all points are the base.
    base = members[0] if int(members[0].sum()) >= points.shape[1] else members.any(0)
    scores, variances = _principal_scores(points, base)
    if not float(variances[0]) > 0:  # no variance, no ranks
        return [math.nan] * len(members), [math.nan] * len(members)
    of_base = variances.cpu().double()
    is_exact = bool((base == members[0]).all())
    exact = (effective_rank(of_base), stable_rank(of_base)) if is_exact else ranks(points[members[0]])
    logs, slopes = _derivatives(variances)
    perturbed = [_perturbed(scores, variances, logs, slopes, base, member) for member in members]
    entropies, peaks = zip(*perturbed, strict=True)
    return _scaled([math.exp(h) for h in entropies], exact[0]), _scaled(peaks, exact[1])


def _principal_scores(points: Tensor, whole: Tensor) -> tuple[Tensor, Tensor]:
    """Coordinates (n, r) of all points on the principal axes of the `whole`, largest first, and its variances (r,)."""
    centred = points - points[whole].mean(0)
    own = centred[whole]
    n, n_dims = own.shape
    product = _smaller_product(own)
    with _one_thread():
        values, axes = torch.linalg.eigh(product)
    values, axes = values.flip(0).clamp_min(0), axes.flip(1)
    if n_dims > n:  # of the Gram matrix: own = U s V', so V = own' U / s
        inverse = torch.where(values > 1e-8 * values[0], values.clamp_min(1e-30).rsqrt(), 0.0)  # axes without variance
        axes = (own.T @ axes.to(points)) * inverse.to(points)
    return centred @ axes.to(points), values.to(points) / n


def _derivatives(variances: Tensor) -> tuple[Tensor, Tensor]:
    """log l_k (r,); and divided differences (log l_j - log l_k) / (l_j - l_k), 1 / l where both coincide, (r, r)."""
    floored = variances.clamp_min(float(variances[0]) * 1e-9)
    logs = floored.log()
    gaps = variances[:, None] - variances[None, :]
    equal = gaps.abs() < 1e-3 * floored[:, None]
    return logs, torch.where(equal, 1 / floored[:, None], (logs[:, None] - logs[None, :]) / gaps)


def _perturbed(
    scores: Tensor, variances: Tensor, logs: Tensor, slopes: Tensor, whole: Tensor, member: Tensor
) -> tuple[float, float]:
    """(entropy of the variance shares, stable rank) of one member set; scores (n, r), variances (r,), masks (n,)."""
    gone, come = scores[whole & ~member], scores[member & ~whole]
    n_whole, n = int(whole.sum()), int(member.sum())
    mean = (come.sum(0) - gone.sum(0)) / n  # the scores of the whole sum to zero
    change = torch.outer(mean, mean).addmm_(come.T, come, beta=-1, alpha=1 / n).addmm_(gone.T, gone, alpha=-1 / n)
    change.diagonal().add_(variances, alpha=n_whole / n - 1)
    on_diagonal = change.diagonal().clone()
    leading = min(LEADING, len(variances))
    block = (variances[:leading].diag() + change[:leading, :leading]).cpu().double()
    total = float(variances.sum() + on_diagonal.sum())
    first = (variances * logs).sum() + ((1 + logs) * on_diagonal).sum()
    second = torch.dot(slopes.flatten(), change.square_().flatten()) / 2
    with _one_thread():
        largest = float(torch.linalg.eigvalsh(block)[-1])
    entropy = math.log(total) - float(first + second) / total if total > 0 else math.nan
    # Where the points left out held most of the variance, what remains is no perturbation.
    if not -0.1 < entropy < math.log(len(variances)) + 0.1:
        return math.nan, math.nan
    return entropy, total / largest


@contextmanager
def _one_thread() -> Iterator[None]:
    """Decompositions of a few hundred rows gain nothing from threads; on a busy machine these make them much slower."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def _smaller_product(centred: Tensor) -> Tensor:
    """Second moment (n_dims, n_dims) or Gram matrix (n, n), whichever is smaller: they share their eigenvalues.

    In single precision, where a decomposition takes a third of the time; ranks differ in the fifth digit.
    """
    n, n_dims = centred.shape
    product = centred.T @ centred if n_dims <= n else centred @ centred.T
    return product.cpu() if product.device.type == "mps" else product  # Apple's GPUs have no eigenvalues


def _scaled(values: Sequence[float], first: float) -> list[float]:
    return [first] + [first * value / values[0] for value in values[1:]]


def read_effective_rank(cloud: LabelledPoints) -> Reading:
    return Reading(ranks(cloud.points)[0])


def read_stable_rank(cloud: LabelledPoints) -> Reading:
    return Reading(ranks(cloud.points)[1])
