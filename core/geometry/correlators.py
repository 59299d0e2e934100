"""How the variance of a cloud lies: ranks of its spectrum, shares of leading axes and tokens, two-token correlators.

The ranks use the eigenvalues l_1 >= l_2 >= ... of the covariance, that is VARIANCES; RankMe uses singular values
instead and is higher. stable rank <= participation ratio <= effective rank <= rank holds for every spectrum. The ranks
are not corrected for the number of points: 500 points in 200 Gaussian dimensions have an effective rank of 166.

The first-order correlators are computed from sums, without forming pairs. They measure how much of the cloud is a
common offset; the correlator that measures a dimension is C2 = 1 / d2 (core.geometry.second_order).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from core.geometry.clouds import Cloud, LabelledPoints, Reading
from core.geometry.neighbour_dimensions import GRIDE_READ_AT
from core.geometry.results import CloudCorrelator, CloudEstimate, Distribution, jackknife_error
from core.geometry.second_order import PlacedCloud

LEADING = 32
"""Number of leading axes within which the leading variances of a member set are computed."""
TOPS = (1, 3, 10)
"""Numbers of leading components or coordinates for which shares of the variance are computed."""


@dataclass(frozen=True)
class Spectra:
    """Spectral quantities of every member set, the whole cloud first."""

    effective_rank: list[float]
    stable_rank: list[float]
    components: dict[int, list[float]]
    """Share of the variance on the leading 1, 3, 10 axes."""


def effective_rank(variances: Tensor) -> float:
    """exp(- sum p log p), p = l / sum l: the exponential of the entropy of the variance shares. Roy and Vetterli 2007.

    variances (r,), not negative. d for d equal variances; NaN if there is no variance.
    """
    total = float(variances.sum())
    if not total > 0:
        return math.nan
    shares = variances / total
    return math.exp(-float(torch.xlogy(shares, shares).sum()))


def stable_rank(variances: Tensor) -> float:
    """sum l / l_1, the squared Frobenius norm over the squared spectral norm. Rudelson and Vershynin 2007.

    variances (r,). d for d equal variances; NaN if there is no variance.
    """
    largest = float(variances.max()) if len(variances) else 0.0
    return float(variances.sum()) / largest if largest > 0 else math.nan


def spectrum(points: Tensor) -> Tensor:
    """Sums of squares along the principal axes, not divided by n, in no order; (min(n, n_dims),) double on the CPU."""
    product = _smaller_product(points - points.mean(0))
    with one_thread():
        values = torch.linalg.eigvalsh(product)
    return values.clamp_min(0).cpu().double()


def ranks(points: Tensor) -> tuple[float, float]:
    """(effective rank, stable rank) of points (n, n_dims) fp32, centred here."""
    if len(points) < 2:
        return math.nan, math.nan
    variances = spectrum(points)
    return effective_rank(variances), stable_rank(variances)


def shares(variances: Tensor) -> dict[int, float]:
    """Share of the 1, 3, 10 largest in the total; variances (r,), not negative. NaN if there is no variance."""
    total = float(variances.sum())
    largest = variances.sort(descending=True).values
    return {top: float(largest[:top].sum()) / total if total > 0 else math.nan for top in TOPS}


def coordinate_shares(points: Tensor, members: Tensor) -> dict[int, list[float]]:
    """Share of the variance on the 1, 3, 10 coordinates of largest variance, in each member set.

    points (n, n_dims) fp32, centred on the whole cloud; members (n_sets, n) bool.
    """
    weight = members.to(points.dtype)
    n = weight.sum(1, keepdim=True)
    variances = (weight @ points.square() / n - (weight @ points / n).square()).clamp_min(0)  # (n_sets, n_dims)
    of_sets = [shares(of_set) for of_set in variances.cpu().double()]
    return {top: [of_set[top] for of_set in of_sets] for top in TOPS}


def spectra_of_sets(points: Tensor, members: Tensor) -> Spectra:
    """Effective rank, stable rank and leading shares of every member set, from one eigendecomposition.

    points (n, n_dims) fp32; members (n_sets, n) bool, each close to set 0. Set 0 is exact. The others are perturbations
    of a base (set 0 if it has enough points) in the eigenbasis of the base, where the covariance of a set is
    diag(l) + E. To second order

        tr C log C = sum l log l + sum (1 + log l_k) E_kk + 1/2 sum_jk E_jk^2 (log l_j - log l_k) / (l_j - l_k),

    and l_1, l_2, ... are the eigenvalues of the leading block of `LEADING` axes. First order alone would make the error
    9 percent too large. On clustered points the error from these replicates is within 5 percent of the error from exact
    eigenvalues (tested).
    """
    # Fewer points than dimensions span a subspace that does not contain the other sets: then all points are the base.
    base = members[0] if int(members[0].sum()) >= points.shape[1] else members.any(0)
    scores, variances = _principal_scores(points, base)
    if not float(variances[0]) > 0:  # no variance, no ranks
        undefined = [math.nan] * len(members)
        return Spectra(undefined, undefined, {top: undefined for top in TOPS})
    is_exact = bool((base == members[0]).all())
    own = variances.cpu().double() if is_exact else spectrum(points[members[0]])
    logs, slopes = _derivatives(variances)
    entropies, leading, totals = zip(*_perturbed(scores, variances, logs, slopes, base, members), strict=True)
    tops = {
        top: [float(of_set[-top:].sum()) / total for of_set, total in zip(leading, totals, strict=True)] for top in TOPS
    }
    peaks = [total / float(of_set[-1]) for of_set, total in zip(leading, totals, strict=True)]
    return Spectra(
        _scaled([math.exp(h) for h in entropies], effective_rank(own)),
        _scaled(peaks, stable_rank(own)),
        {top: _scaled(of_sets, shares(own)[top]) for top, of_sets in tops.items()},
    )


def _principal_scores(points: Tensor, whole: Tensor) -> tuple[Tensor, Tensor]:
    """Coordinates (n, r) of all points on the principal axes of the subset `whole`; its variances (r,), descending."""
    centred = points - points[whole].mean(0)
    own = centred[whole]
    n, n_dims = own.shape
    product = _smaller_product(own)
    with one_thread():
        values, axes = torch.linalg.eigh(product)
    values, axes = values.flip(0).clamp_min(0), axes.flip(1)
    if n_dims > n:  # these are eigenvectors U of the Gram matrix: own = U s V', so V = own' U / s
        inverse = torch.where(values > 1e-8 * values[0], values.clamp_min(1e-30).rsqrt(), 0.0)  # axes without variance
        axes = (own.T @ axes.to(points)) * inverse.to(points)
    return centred @ axes.to(points), values.to(points) / n


def _derivatives(variances: Tensor) -> tuple[Tensor, Tensor]:
    """log l_k (r,) and divided differences (log l_j - log l_k) / (l_j - l_k), or 1 / l if they coincide, (r, r)."""
    floored = variances.clamp_min(float(variances[0]) * 1e-9)
    logs = floored.log()
    gaps = variances[:, None] - variances[None, :]
    equal = gaps.abs() < 1e-3 * floored[:, None]
    return logs, torch.where(equal, 1 / floored[:, None], (logs[:, None] - logs[None, :]) / gaps)


def _perturbed(
    scores: Tensor, variances: Tensor, logs: Tensor, slopes: Tensor, whole: Tensor, members: Tensor
) -> Iterator[tuple[float, Tensor, float]]:
    """(entropy of the variance shares, leading variances in ascending order, total variance) of each member set.

    scores (n, r), variances (r,), mask `whole` (n,), members (n_sets, n). NaN if a set differs too much from the whole for a
    perturbation. What is read on the host is read for all sets at once, so that a GPU waits twice.
    """
    leading = min(LEADING, len(variances))
    own, of_sets = whole.cpu(), members.cpu()
    n_whole = int(own.sum())
    blocks, sums = [], []
    for member in of_sets:
        gone, come = (scores[rows.nonzero().squeeze(1).to(scores.device)] for rows in (own & ~member, member & ~own))
        n = int(member.sum())
        mean = (come.sum(0) - gone.sum(0)) / n  # because the scores of the whole sum to zero
        change = torch.outer(mean, mean).addmm_(come.T, come, beta=-1, alpha=1 / n).addmm_(gone.T, gone, alpha=-1 / n)
        change.diagonal().add_(variances, alpha=n_whole / n - 1)
        on_diagonal = change.diagonal().clone()
        blocks.append(variances[:leading].diag() + change[:leading, :leading])
        first = (variances * logs).sum() + ((1 + logs) * on_diagonal).sum()
        second = torch.dot(slopes.flatten(), change.square_().flatten()) / 2
        sums.append(torch.stack([variances.sum() + on_diagonal.sum(), first + second]))
    for block, (total, surprise) in zip(torch.stack(blocks).cpu().double(), torch.stack(sums).tolist(), strict=True):
        with one_thread():
            largest = torch.linalg.eigvalsh(block)
        entropy = math.log(total) - surprise / total if total > 0 else math.nan
        # If the points left out carried most of the variance, the change is not a small perturbation.
        if -0.1 < entropy < math.log(len(variances)) + 0.1:
            yield entropy, largest, total
        else:
            yield math.nan, torch.full_like(largest, math.nan), math.nan


@contextmanager
def one_thread() -> Iterator[None]:
    """Limit torch to one thread, whose sums are the same on any number of cores: small products and decompositions gain
    little from more, which slow them on a busy machine."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def _smaller_product(centred: Tensor) -> Tensor:
    """Scatter matrix (n_dims, n_dims) or Gram matrix (n, n), whichever is smaller: their nonzero eigenvalues are equal.

    Single precision, in which a decomposition takes a third of the time; ranks differ in the fifth digit.
    """
    n, n_dims = centred.shape
    product = centred.T @ centred if n_dims <= n else centred @ centred.T
    return product.cpu() if product.device.type == "mps" else product  # no eigendecomposition on Apple's GPUs


def _scaled(values: Sequence[float], first: float) -> list[float]:
    return [first] + [first * value / values[0] for value in values[1:]]


def read_effective_rank(cloud: LabelledPoints) -> Reading:
    return Reading(ranks(cloud.points)[0])


def read_stable_rank(cloud: LabelledPoints) -> Reading:
    return Reading(ranks(cloud.points)[1])


# --- correlators -----------------------------------------------------------------------------------------------


COSINE_SAMPLE = 256
TOP_PERCENT = (1, 10)


def first_order(points: Tensor, members: Tensor) -> dict[str, list[float]]:
    """`E1` and `mean_cosine` of each member set.

    points (n, n_dims) fp32, NOT centred; members (n_sets, n) bool.
    E1 = sum_{i != j} x_i.x_j / (N sum |x_i|^2) = |mean x|^2 / mean |x|^2 - 1/N, in [-1/N, 1 - 1/N]: the formula of
    the DeepCT package, not verified against arXiv 2503.22547. mean_cosine = (N |mean u|^2 - 1) / (N - 1), u = x/|x|.
    """
    weights = members.to(points.dtype)
    n = weights.sum(1)
    norms = points.norm(dim=1)
    directions = points / norms.clamp_min(torch.finfo(points.dtype).tiny)[:, None]
    mean = weights @ points / n[:, None]  # (n_sets, n_dims)
    mean_direction = weights @ directions / n[:, None]
    energy = weights @ norms.square() / n
    return {
        "E1": (mean.square().sum(1) / energy - 1 / n).tolist(),
        "mean_cosine": ((n * mean_direction.square().sum(1) - 1) / (n - 1)).tolist(),
    }


def first_order_of_cloud(states: Tensor, cloud: Cloud) -> list[CloudCorrelator]:
    rows = torch.from_numpy(cloud.rows).to(states.device)
    values = first_order(states[rows], torch.from_numpy(cloud.members).to(states.device))
    return [
        CloudCorrelator(cloud.name, name, v[0], jackknife_error(np.array(v[1:])), cloud.n_points)
        for name, v in values.items()
    ]


def token_to_population(states: Tensor, placed: PlacedCloud) -> tuple[list[CloudCorrelator], list[Distribution]]:
    """Each token's share of the cloud's variance and its cosine to the mean.

    states (n_tokens, n_dims) of the masked tokens, NOT centred. Shares are multiples of 1/N; the sum of the largest
    shares is returned with its jackknife error. Cosines are uncentred.
    """
    cloud = placed.cloud
    rows = cloud.rows[cloud.members[0]]
    points = states[torch.from_numpy(rows).to(states.device)]
    mean = points.mean(0)
    tiny = torch.finfo(points.dtype).tiny
    squared = (points - mean).square().sum(1)
    shares = squared / squared.mean().clamp_min(tiny)
    cosines = (points @ mean) / (points.norm(dim=1) * mean.norm()).clamp_min(tiny)
    held = (
        torch.stack([_held_by_largest(states, cloud.rows[members]) for members in cloud.members]).cpu().double().numpy()
    )
    found = [
        CloudCorrelator(cloud.name, f"variance_top_{percent}", float(v[0]), jackknife_error(v[1:]), cloud.n_points)
        for percent, v in zip(TOP_PERCENT, held.T, strict=True)
    ]
    return found, [
        Distribution("variance_share", rows, shares.cpu().numpy()),
        Distribution("cosine_to_mean", rows, cosines.cpu().numpy()),
    ]


def _held_by_largest(states: Tensor, rows: np.ndarray) -> Tensor:
    """Share of the variance due to the `TOP_PERCENT` percent of the tokens farthest from the mean; NaN without variance."""
    points = states[torch.from_numpy(rows).to(states.device)]
    squared = (points - points.mean(0)).square().sum(1).sort(descending=True).values
    sizes = [max(1, round(percent / 100 * len(rows))) for percent in TOP_PERCENT]
    return torch.stack([squared[:size].sum() for size in sizes]) / squared.sum()


def second_order_correlator(d2: CloudEstimate) -> CloudCorrelator:
    """C2 = 1 / d2, with the same relative standard error; 1/d for isotropic points in d dimensions."""
    e = d2.estimate
    value = 1 / e.value if e.value > 0 else math.nan
    return CloudCorrelator(d2.cloud, "C2", value, e.std_error * value * value, e.n_points)


def nonlinearity(read: Iterable[CloudEstimate], surrogate: Iterable[CloudEstimate]) -> list[CloudCorrelator]:
    """GRIDE of the Gaussian surrogates over GRIDE of the data: 1 for a Gaussian cloud, above 1 for others."""
    of_data = {e.n1: e.estimate for e in read if e.estimator == "gride"}
    result = []
    for e in surrogate:
        data = of_data.get(e.n1)
        if e.estimator == "gride" and e.n1 == GRIDE_READ_AT and data is not None and data.value > 0:
            ratio = e.estimate.value / data.value
            parts = [data.std_error / data.value, e.estimate.std_error / e.estimate.value]
            error = ratio * math.hypot(*(part for part in parts if math.isfinite(part)))
            result.append(CloudCorrelator(e.cloud, f"nonlinearity_ratio_{GRIDE_READ_AT}", ratio, error, data.n_points))
    return result


def leading_shares(placed: PlacedCloud, spectra: Spectra) -> list[CloudCorrelator]:
    """Share of the variance explained by the leading coordinates and principal components, with jackknife errors."""
    cloud = placed.cloud
    by_kind = {"coordinates": coordinate_shares(placed.points, placed.members), "components": spectra.components}
    return [
        CloudCorrelator(cloud.name, f"top_{kind}_{top}", v[0], jackknife_error(np.array(v[1:])), cloud.n_points)
        for kind, of_tops in by_kind.items()
        for top, v in of_tops.items()
    ]


def cosines(placed: PlacedCloud, seed: int, distributions: list[Distribution]) -> CloudCorrelator:
    """Distribution of the cosine between two centred tokens, and its excess kurtosis: above 0 it indicates clusters.

    Uses pairs of different sequences in a seeded subsample; the kurtosis has a jackknife error. For isotropic points in
    d dimensions the excess kurtosis is -6 / (d + 2). The distribution is appended to `distributions`.
    """
    rows = placed.members[0].nonzero().squeeze(1).cpu()
    sample = rows[torch.randperm(len(rows), generator=torch.Generator().manual_seed(seed))[:COSINE_SAMPLE]]
    directions = torch.nn.functional.normalize(placed.points[sample.to(placed.points.device)], dim=1)
    products = (directions @ directions.T).cpu().double().numpy()
    sequences, kept = placed.cloud.sequences[sample.numpy()], placed.members[:, sample.to(placed.points.device)]
    counted = np.triu(sequences[:, None] != sequences[None, :], 1)
    of_sets = _excess_kurtosis(products, counted, kept.cpu().numpy())
    distributions.append(Distribution("cosine", np.empty(0, dtype=np.int64), products[counted]))
    error = jackknife_error(of_sets[1:])
    return CloudCorrelator(placed.cloud.name, "cosine_kurtosis", float(of_sets[0]), error, len(sample))


def _excess_kurtosis(values: np.ndarray, counted: np.ndarray, members: np.ndarray) -> np.ndarray:
    """Excess kurtosis of the counted values between members of each set, (n_sets,); NaN if they do not vary.

    values (n, n) double; counted (n, n) bool; members (n_sets, n) bool.
    """
    held = members.astype(float)
    moved = np.where(counted, values - values[counted].mean(), 0.0) if counted.any() else np.zeros(values.shape)

    def sums(of_pairs: np.ndarray) -> np.ndarray:
        return ((held @ of_pairs) * held).sum(1)

    with np.errstate(divide="ignore", invalid="ignore"):
        first, second, third, fourth = (sums(moved**power) / sums(counted.astype(float)) for power in (1, 2, 3, 4))
        variance = second - first**2
        central = fourth - 4 * first * third + 6 * first**2 * second - 3 * first**4
        # Cosines that are equal but for round-off have no shape.
        return np.where(variance > 1e-14, central / variance**2 - 3, np.nan)
