"""What else is read of a cloud: ranks of its spectrum, two-token correlators, d2 of neighbourhoods, close pairs.

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

from core.errors import EstimateError
from core.geometry.clouds import (
    Cloud,
    CloudCorrelator,
    CloudEstimate,
    Distribution,
    LabelledPoints,
    PlacedCloud,
    Reading,
    beside,
    jackknife_error,
)
from core.geometry.neighbours import GRIDE_READ_AT, TILE, NeighbourReading, NeighbourTable, SetNeighbours, nearest

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


# --- two-token correlators, and how the variance lies ----------------------------------------------------------------


COSINE_SAMPLE = 256
TOP_PERCENT = (1, 10)


def first_order(states: Tensor, cloud: Cloud) -> list[CloudCorrelator]:
    """`E1` and `mean_cosine`; states (n_tokens, n_dims) fp32 of the masked tokens, NOT centred.

    E1 = sum_{i != j} x_i.x_j / (N sum |x_i|^2) = |mean x|^2 / mean |x|^2 - 1/N, in [-1/N, 1 - 1/N]: the formula of
    the DeepCT package, not verified against arXiv 2503.22547. mean_cosine = (N |mean u|^2 - 1) / (N - 1), u = x/|x|.
    """
    points = states[beside(states, cloud.rows)]
    weights = torch.from_numpy(cloud.members).to(points)  # (n_sets, n)
    n = weights.sum(1)
    norms = points.norm(dim=1)
    directions = points / norms.clamp_min(torch.finfo(points.dtype).tiny)[:, None]
    mean = weights @ points / n[:, None]  # (n_sets, n_dims)
    mean_direction = weights @ directions / n[:, None]
    energy = weights @ norms.square() / n
    cosine = (n * mean_direction.square().sum(1) - 1) / (n - 1)
    values = {"E1": mean.square().sum(1) / energy - 1 / n, "mean_cosine": cosine}
    return [CloudCorrelator.of_sets(cloud, name, of_sets.tolist()) for name, of_sets in values.items()]


def token_to_population(states: Tensor, placed: PlacedCloud) -> tuple[list[CloudCorrelator], list[Distribution]]:
    """Each token's share of the cloud's variance and its cosine to the mean.

    states (n_tokens, n_dims) of the masked tokens, NOT centred. Shares are multiples of 1/N; the sum of the largest
    shares is returned with its jackknife error. Cosines are uncentred.
    """
    cloud = placed.cloud
    rows = cloud.rows[cloud.members[0]]
    points = states[beside(states, rows)]
    mean = points.mean(0)
    tiny = torch.finfo(points.dtype).tiny
    squared = (points - mean).square().sum(1)
    shares = squared / squared.mean().clamp_min(tiny)
    cosines = (points @ mean) / (points.norm(dim=1) * mean.norm()).clamp_min(tiny)
    held = (
        torch.stack([_held_by_largest(states, cloud.rows[members]) for members in cloud.members]).cpu().double().numpy()
    )
    found = [
        CloudCorrelator.of_sets(cloud, f"variance_top_{percent}", of_sets)
        for percent, of_sets in zip(TOP_PERCENT, held.T, strict=True)
    ]
    return found, [
        Distribution("variance_share", rows, shares.cpu().numpy()),
        Distribution("cosine_to_mean", rows, cosines.cpu().numpy()),
    ]


def _held_by_largest(states: Tensor, rows: np.ndarray) -> Tensor:
    """Share of the variance due to the `TOP_PERCENT` percent of the tokens farthest from the mean; NaN without variance."""
    points = states[beside(states, rows)]
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
    of_both = [[e for e in of if (e.estimator, e.n1) == ("gride", GRIDE_READ_AT)] for of in (read, surrogate)]
    result = []
    for of_data, of_surrogate in zip(*of_both, strict=False):  # no protocol needs surrogates
        data, other = of_data.estimate, of_surrogate.estimate
        if data.value > 0:
            ratio = other.value / data.value
            parts = [data.std_error / data.value, other.std_error / other.value]
            error = ratio * math.hypot(*(part for part in parts if math.isfinite(part)))
            name = f"nonlinearity_ratio_{GRIDE_READ_AT}"
            result.append(CloudCorrelator(of_surrogate.cloud, name, ratio, error, data.n_points))
    return result


def leading_shares(placed: PlacedCloud, spectra: Spectra) -> list[CloudCorrelator]:
    """Share of the variance explained by the leading coordinates and principal components, with jackknife errors."""
    by_kind = {"coordinates": coordinate_shares(placed.points, placed.members), "components": spectra.components}
    return [
        CloudCorrelator.of_sets(placed.cloud, f"top_{kind}_{top}", of_sets)
        for kind, of_tops in by_kind.items()
        for top, of_sets in of_tops.items()
    ]


def cosines(placed: PlacedCloud, seed: int) -> tuple[CloudCorrelator, Distribution]:
    """The excess kurtosis of the cosine between two centred tokens, above 0 where there are clusters, and its distribution.

    Uses pairs of different sequences in a seeded subsample; the kurtosis has a jackknife error. For isotropic points in
    d dimensions the excess kurtosis is -6 / (d + 2).
    """
    rows = placed.members[0].nonzero().squeeze(1).cpu()
    sample = rows[torch.randperm(len(rows), generator=torch.Generator().manual_seed(seed))[:COSINE_SAMPLE]]
    directions = torch.nn.functional.normalize(placed.points[sample.to(placed.points.device)], dim=1)
    products = (directions @ directions.T).cpu().double().numpy()
    sequences, kept = placed.cloud.sequences[sample.numpy()], placed.members[:, sample.to(placed.points.device)]
    counted = np.triu(sequences[:, None] != sequences[None, :], 1)
    of_sets = _excess_kurtosis(products, counted, kept.cpu().numpy())
    kurtosis, error = float(of_sets[0]), jackknife_error(of_sets[1:])
    return (
        CloudCorrelator(placed.cloud.name, "cosine_kurtosis", kurtosis, error, len(sample)),
        Distribution("cosine", np.empty(0, dtype=np.int64), products[counted]),
    )


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


# --- d2 of each point's neighbourhood, from local to global ----------------------------------------------------------

# The local second-order correlator: the k neighbours of a point, without the point itself, are centred on their centroid
# and normalised to directions W_a. C2_loc = mean_{a != b} (W_a . W_b)^2 - 1/(k-1)^2, where the last term corrects for
# centring on k points, and d2(k) = 1 / mean C2_loc over points. With k = N it becomes d2. Angles at the point itself are no
# alternative: they saturate near 60 degrees, so that the angle-based dimension of Thordsen and Schubert (arXiv 2006.12880)
# is about 4 both in 20 and in 100 dimensions.

KS = (20, 50)
"""Neighbourhood sizes evaluated at all points of a cloud."""
CENTRES = 128
"""Seeded points at which the jackknife replicates of the local d2 are computed."""

WIDE_KS = (100, 200, 400)
"""Larger neighbourhood sizes, between local d2 and d2 of the whole cloud, up to half of the points."""

WIDE_CENTRES = 32
"""Seeded points at which these are evaluated; a left-out block takes its centres along, so the error includes their
scatter."""
CHUNK_BYTES = 2**24
"""Bytes of neighbours gathered at a time; chunks of 64 MB were no faster."""
GRAM_BYTES = 2**28
"""Most bytes of the products of all pairs of a cloud's points."""


def local_c2(points: Tensor, indices: Tensor, ks: Sequence[int], gram: Tensor | None = None) -> dict[int, Tensor]:
    """C2_loc of each row for several k at once; {k: (n_rows,) fp32}, NaN if all k neighbours coincide.

    points (n, n_dims) fp32; indices (n_rows, k_max) int64: neighbours of each row in order of distance, without the
    row's own point. One k_max x k_max Gram matrix per row serves every k, from 3 to k_max. `gram` as from `gram_matrix`, if
    there is one.
    """
    indices = indices[:, : max(ks)]
    ranks = torch.arange(max(ks), device=points.device)
    first = (ranks[:, None] < torch.tensor(ks, device=points.device)).to(points.dtype)  # (k_max, n_ks)
    parts = [_c2(own, first.expand(len(own), -1, -1)) for own in _grams(points, indices, min(ks), gram)]
    return dict(zip(ks, torch.cat(parts).unbind(1), strict=True))


def local_dimension(c2: Tensor) -> float:
    """d2(k) = 1 / mean C2_loc over the points where it is defined; NaN if the mean is not positive."""
    return _inverse_if_positive(float(c2.nanmean()))


def _inverse_if_positive(mean: float) -> float:
    return 1 / mean if mean > 0 else math.nan


def local_d2_of_sets(
    points: Tensor, stored: Tensor, members: Tensor, centres: Tensor, ks: Sequence[int], gram: Tensor | None = None
) -> dict[int, list[float]]:
    """d2(k) of each member set from a few hundred centres; {k: n_sets values}.

    points (n, n_dims) fp32; stored (n_centres, k_stored) neighbours of the centres in order of distance; members
    (n_sets, n) bool; centres (n_centres,) positions. In each set, a member centre uses its first k stored neighbours
    that are members; centres with fewer are skipped in that set. Store about 1.25 k + 32 neighbours.
    """
    limits = torch.tensor(ks, device=points.device)
    parts, start = [], 0
    for own in _grams(points, stored, min(ks), gram):
        rows = slice(start, start + len(own))
        start += len(own)
        alive = members[:, stored[rows]] & members[:, centres[rows], None]  # (n_sets, n_chunk, k_stored)
        rank = alive.cumsum(2)
        chosen = alive[..., None] & (rank[..., None] <= limits)  # (n_sets, n_chunk, k_stored, n_ks)
        c2 = _c2(own, chosen.permute(1, 2, 0, 3).flatten(2).to(points.dtype)).unflatten(1, (len(members), len(ks)))
        parts.append(torch.where((rank[..., -1:] >= limits).transpose(0, 1), c2, torch.nan))
    c2 = torch.cat(parts)  # (n_centres, n_sets, n_ks)
    means = c2.nanmean(0).T.tolist()
    return {k: [_inverse_if_positive(mean) for mean in of_sets] for k, of_sets in zip(ks, means, strict=True)}


def gram_matrix(points: Tensor) -> Tensor | None:
    """Products of all pairs of points (n, n_dims) in double precision, in which differences of neighbours keep their
    digits; None if they need more than `GRAM_BYTES`."""
    if 8 * len(points) ** 2 > GRAM_BYTES:
        return None
    points = points.cpu().double() if points.device.type == "mps" else points.double()  # Apple's GPUs have no double
    return points @ points.T


def _grams(points: Tensor, indices: Tensor, n_near: int, gram: Tensor | None) -> Iterator[Tensor]:
    """Gram matrices (n_chunk, k, k) fp32 of each row's neighbours, relative to the centroid of the `n_near` nearest.

    Centring avoids cancellation: a neighbourhood can be a thousand times smaller than its distance from the origin, or
    than a larger neighbourhood around it. They are read from `gram`, or else computed for each row.
    """
    k, n_dims = indices.shape[1], points.shape[1]
    if gram is None:
        for chunk in indices.split(max(1, CHUNK_BYTES // (4 * k * max(k, n_dims)))):
            gathered = points.index_select(0, chunk.flatten()).view(len(chunk), k, n_dims)
            gathered -= gathered[:, :n_near].mean(1, keepdim=True)
            yield torch.bmm(gathered, gathered.transpose(1, 2))
        return
    for chunk in indices.to(gram.device).split(max(1, CHUNK_BYTES // (32 * k * k))):
        if 4 * k > len(gram):  # whole rows are copied faster than their single entries
            own = gram[chunk].gather(2, chunk[:, None].expand(-1, k, -1))
        else:
            own = gram[chunk[:, :, None], chunk[:, None]]
        to_near = own[:, :, :n_near].mean(2)
        shift = to_near - to_near[:, :n_near].mean(1, keepdim=True) / 2
        own -= shift[:, :, None]
        own -= shift[:, None]
        yield own.to(points)


def _c2(gram: Tensor, chosen: Tensor) -> Tensor:
    """C2_loc of several subsets of each row's neighbours; (n_chunk, n_choices).

    gram (n_chunk, k, k) is overwritten; chosen (n_chunk, k, n_choices) holds 0 and 1. Centred on the chosen points, an
    entry is G_ab - t_a - t_b, t_a = mean_b G_ab - (mean of all G) / 2. The sum of squared cosines therefore expands
    into products of G and of its squares with vectors, and no centred matrix is formed.
    """
    n = chosen.sum(1)  # (n_chunk, n_choices)
    shift = torch.bmm(gram, chosen) / n[:, None]
    shift -= (chosen * shift).sum(1, keepdim=True) / n[:, None] / 2
    squared_norms = gram.diagonal(dim1=1, dim2=2)[..., None] - 2 * shift
    spread = (chosen * squared_norms).sum(1, keepdim=True) / n[:, None]
    # A neighbour at the centroid has no direction: it counts as orthogonal to all others.
    inverse = torch.where((chosen > 0) & (squared_norms > 1e-6 * spread), 1 / squared_norms, 0.0)
    shifted = inverse * shift
    mixed = (shifted * torch.bmm(gram, inverse)).sum(1)
    plain = (inverse * torch.bmm(gram.square_(), inverse)).sum(1)
    total = plain - 4 * mixed + 2 * inverse.sum(1) * (shifted * shift).sum(1) + 2 * shifted.sum(1).square()
    c2 = (total - (inverse > 0).sum(1)) / (n * (n - 1)) - 1 / (n - 1).square()
    return torch.where(spread.squeeze(1) > 0, c2, torch.nan)


def local_readings(
    placed: PlacedCloud, table: NeighbourTable, distinct: Tensor, seed: int, *, wide: bool = True
) -> tuple[list[CloudEstimate], list[Distribution]]:
    """Local d2: values from all points, jackknife replicates from seeded centres.

    Leaving a block out has two effects: it changes the set of points (computed on all points, neighbours fixed) and the
    neighbours of the rest (computed on the centres). The effects are added on the log scale. Large neighbourhoods use
    few centres for value and error, and are read only if `wide`. If there are too few distinct points for a neighbourhood
    size, its value is NaN.
    """
    rows = distinct[0].nonzero().squeeze(1)
    ks = [k for k in KS if _fits(k, len(rows))]
    asked = [k for k in (*KS, *(WIDE_KS if wide else ())) if _fits(k, placed.cloud.n_points)]
    undefined = [
        _estimate(placed.cloud, k, math.nan, math.nan, [], len(rows)) for k in asked if not _fits(k, len(rows))
    ]
    if not ks:
        return undefined, []
    order = torch.randperm(len(rows), generator=torch.Generator().manual_seed(seed))[:CENTRES].to(rows.device)
    neighbours, distances = _first_members(table, rows, distinct[0], max(ks))
    gram = gram_matrix(placed.points)
    c2 = local_c2(placed.points, neighbours, ks, gram)
    exact = local_d2_of_sets(placed.points, table.indices[rows[order]], distinct, rows[order], ks, gram)
    estimates = []
    stays = distinct[:, rows]  # (n_sets, n_rows)
    for k in ks:
        kept = torch.where(stays, c2[k], torch.nan)
        means = torch.stack([kept.nanmean(1), kept[:, order].nanmean(1)], 1).tolist()
        value, *compositions = [(_inverse_if_positive(all_), _inverse_if_positive(some)) for all_, some in means]
        blocks = [
            composition * of_set / of_kept if of_kept > 0 else math.nan
            for (composition, of_kept), of_set in zip(compositions, exact[k][1:], strict=True)
        ]
        scale = float(distances[:, k - 1].mean())
        estimates.append(_estimate(placed.cloud, k, scale, value[0], blocks, len(rows)))
    if wide:
        estimates += _wide_d2(placed, distinct, rows[order[:WIDE_CENTRES]], gram)
    largest = c2[max(ks)].cpu().numpy()
    defined = np.isfinite(largest)
    with np.errstate(divide="ignore"):  # a correlator of zero or below means an infinite dimension
        values = np.where(largest > 0, 1 / largest, np.inf)
    tokens = placed.cloud.rows[rows.cpu().numpy()]
    norms = placed.points[rows].norm(dim=1).cpu().numpy()
    return [*estimates, *undefined], [
        Distribution("local_d2", tokens[defined], values[defined]),
        Distribution("distance_to_mean", tokens, norms),
    ]


def _fits(k: int, n_points: int) -> bool:
    return k < n_points if k in KS else 2 * k <= n_points


def _wide_d2(placed: PlacedCloud, distinct: Tensor, centres: Tensor, gram: Tensor | None) -> list[CloudEstimate]:
    n, used = int(distinct[0].sum()), distinct.any(0)
    ks = [k for k in WIDE_KS if _fits(k, n)]
    if not ks:
        return []
    points, k_stored = placed.points, math.ceil(1.25 * ks[-1] * int(used.sum()) / n) + 32
    squared = points.square().sum(1)[None, :] - 2 * points[centres] @ points.T  # minus the centre's squared norm
    squared.masked_fill_(~used, torch.inf)
    squared[torch.arange(len(centres), device=points.device), centres] = torch.inf
    order = squared.topk(min(k_stored, int(used.sum()) - 1), largest=False).indices
    # Recompute and re-sort by explicit distances: the product form cancels for close points far from the origin.
    # One centre at a time: all neighbours of all centres are many times the cloud.
    away = [(points[near] - centre).norm(dim=1) for near, centre in zip(order, points[centres], strict=True)]
    distances, by_distance = torch.stack(away).sort(dim=1)
    order = order.gather(1, by_distance)
    values = local_d2_of_sets(points, order, distinct, centres, ks, gram)
    member = distinct[0][order]  # (n_centres, k_stored)
    scales = {k: float(distances[member & (member.cumsum(1) == k)].mean()) for k in ks}
    return [_estimate(placed.cloud, k, scales[k], values[k][0], values[k][1:], n) for k in ks]


def _estimate(cloud: Cloud, k: int, distance: float, value: float, blocks: list[float], n: int) -> CloudEstimate:
    return NeighbourReading("local_d2", None, k, value, blocks, distance).estimate(cloud, n)


def _first_members(table: NeighbourTable, rows: Tensor, member: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """The first k stored neighbours of each row that are members, and their distances; (n_rows, k) each."""
    stored = table.indices[rows]
    order = (~member[stored]).to(torch.uint8).argsort(dim=1, stable=True)[:, :k]
    return stored.gather(1, order), table.distances[rows].gather(1, order)


def read_local_d2(cloud: LabelledPoints, k: int = KS[-1]) -> Reading:
    """Local d2 with k neighbours per point; raises EstimateError if k < 3."""
    if k < 3:
        raise EstimateError("local_d2 needs at least 3 neighbours of each point, not {k}. Raise k.", k=k)
    if len(cloud.points) <= k:
        return Reading(math.nan)
    table = nearest(cloud.points, k)
    c2 = local_c2(table.points, table.indices, (k,))[k]
    return Reading(local_dimension(c2), float(table.distances[:, k - 1].mean()))


# --- the correlation integral, a dimension from the growth of close pairs with the radius ----------------------------

# C(r) is the share of pairs closer than r; for points of dimension d it grows as r^d. All pairs are counted, not only stored
# neighbours. Pairs within a sequence are excluded: they are close because their contexts are (Theiler window).

RANKS = (10, 20)
"""The two radii are the median distances of these neighbours, as in scikit-dimension's CorrInt."""


def correlation_integral(points: Tensor, sequences: Tensor) -> float:
    """Correlation dimension (Grassberger and Procaccia 1983) from two radii: log(C(r_b)/C(r_a)) / log(r_b/r_a).

    points (n, n_dims) without exact duplicates; sequences (n,) int64, all different if the points are independent. NaN
    if no pair of different sequences is closer than the smaller radius.
    """
    if len(points) <= RANKS[1]:
        return math.nan
    radii = median_radii(nearest(points, RANKS[1]).distances[:, [rank - 1 for rank in RANKS]])
    everything = torch.ones(1, len(points), dtype=torch.bool, device=points.device)
    return correlation_of_sets(points, sequences, everything, radii)[0]


def correlation_of_sets(points: Tensor, sequences: Tensor, members: Tensor, radii: tuple[float, float]) -> list[float]:
    """`correlation_integral` of every member set at the radii of the whole cloud, in one pass over pairs.

    members (n_sets, n) bool. Fixed radii are accurate enough when a sixteenth of the points is left out: the dimension
    is a slope, and the error from these replicates is within 5 percent of the error with radii per set (tested).
    """
    width = math.log(radii[1] / radii[0]) if 0 < radii[0] < radii[1] else math.nan
    counts = pair_counts(points, sequences, members, radii).tolist()  # their total number cancels
    return [math.log(outer / inner) / width if inner > 0 else math.nan for inner, outer in counts]


def median_radii(distances: Tensor) -> tuple[float, float]:
    """The medians of the defined distances of the two neighbours, (n, 2); of an even number the mean of the middle two."""
    inner, outer = distances.nanquantile(0.5, dim=0).tolist()
    return inner, outer


def pair_counts(points: Tensor, sequences: Tensor, members: Tensor, radii: tuple[float, float]) -> Tensor:
    """Exact number of pairs of different sequences closer than each radius, in each member set; (n_sets, 2) double.

    points (n, n_dims) fp32; sequences (n,) int64; members (n_sets, n) bool. Only tiles of the upper triangle are
    computed, plus one small product per tile for all member sets together.
    """
    points = points - points.mean(0)
    norms = points.square().sum(1)
    weights = members.to(points.dtype)  # counts stay below 2^24, so fp32 holds them exactly
    counts = torch.zeros(len(members), len(radii), dtype=torch.float64)
    for start in range(0, len(points), TILE):
        rows = slice(start, min(start + TILE, len(points)))
        squared = torch.addmm(norms[None, start:], points[rows], points[start:].T, alpha=-2).add_(norms[rows, None])
        squared.masked_fill_(sequences[rows, None] == sequences[None, start:], torch.inf)
        own = squared[:, : squared.shape[0]]
        own.masked_fill_(torch.ones_like(own, dtype=torch.bool).tril_(), torch.inf)
        for index, radius in enumerate(radii):
            near = (squared < radius * radius).to(points.dtype)
            counts[:, index] += ((weights[:, rows] @ near) * weights[:, start:]).sum(1, dtype=torch.float32).cpu()
    return counts


def correlation_integral_of_cloud(placed: PlacedCloud, distinct: Tensor, within: SetNeighbours) -> CloudEstimate:
    """The estimate of a cloud. Subsets use the radii of the whole cloud; only the pair counts are recomputed."""
    whole = within.distances[0][distinct[0]]
    radii = median_radii(whole[:, [within.ranks.index(rank) for rank in RANKS]])
    sequences = beside(placed.points, placed.cloud.sequences)
    value, *blocks = correlation_of_sets(placed.points, sequences, distinct, radii)
    reading = NeighbourReading("correlation_integral", *RANKS, value, blocks, radii[1])
    return reading.estimate(placed.cloud, len(whole))


def read_correlation_integral(cloud: LabelledPoints) -> Reading:
    return Reading(correlation_integral(cloud.points, cloud.sequences))
