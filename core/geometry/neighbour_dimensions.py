"""Dimension from ratios of neighbour distances: TwoNN in three forms, GRIDE and the maximum-likelihood estimator (MLE).

The formulas take distances (n_points, k), sorted along each row, excluding the point itself and without exact
duplicates: a duplicate has r_1 = 0, and dropping only its ratio would leave its partners with biased ratios. The result
is NaN if undefined: fewer than three points, or all ratios 1 (ties).

`neighbour_readings` computes all of them, for a cloud and its jackknife replicates, from one table of neighbours.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from torch import Tensor

from core.errors import EstimateError
from core.geometry.clouds import LabelledPoints, Reading
from core.geometry.neighbours import Labels, NeighbourTable, SetNeighbours, nearest, with_differing_labels, within_sets
from core.registry.estimators import plateau

GRIDE_SCALES = (1, 2, 4, 8, 16, 32)
"""Inner ranks n1; the outer rank is n2 = 2 n1."""
GRIDE_READ_AT = 8
"""Inner rank of the reported value: lower ones see spelling variants of one word, higher ones the edge of the cloud."""
MLE_NEIGHBOURS = 20
MIN_POINTS = 3
DISCARDED = 0.1
"""Share of the largest ratios that censored and linear TwoNN leave out: they come from the sparse edge of a cloud."""


RANKS = (1, 2, 4, 8, 10, 16, 20, 32, 64)
"""Ranks whose distances are kept: for GRIDE, MLE and the radii of the correlation integral."""

OVERLAP = 96
"""Outer rank at which points share so many neighbours that the jackknife is right: see `sums_over_centres`."""

LOCAL = 8
"""GRIDE needs at least this many points per inner rank n1; beyond rank N / 4 neighbours are no longer local."""


def two_nn(distances: Tensor) -> float:
    """Two-nearest-neighbour dimension, full maximum likelihood: (N-1) / sum log(r2/r1).

    distances (n_points, >= 2). Facco et al. 2017. Unbiased for N independent points of locally constant density; a tie
    r1 = r2 counts as log 1 = 0 and so raises the estimate.
    """
    log_mu = _log_ratios(distances, 1, 2)
    if len(log_mu) < MIN_POINTS:
        return math.nan
    return _safe_ratio(len(log_mu) - 1, float(log_mu.sum()))


def two_nn_censored(distances: Tensor, discarded: float = DISCARDED) -> float:
    """TwoNN by maximum likelihood with the largest ratios censored: (n-1) / (sum of n smallest + (N-n) times the n-th).

    distances (n_points, >= 2); n = floor(N (1 - discarded)); the sums are over log(r2/r1). Type-II censoring of the
    Pareto distribution: a censored ratio counts as "at least the largest kept". Unbiased for independent points.
    """
    log_mu = _log_ratios(distances, 1, 2).sort().values
    n = _n_kept(len(log_mu), discarded)
    if n < MIN_POINTS - 1:
        return math.nan
    return _safe_ratio(n - 1, float(log_mu[:n].sum()) + (len(log_mu) - n) * float(log_mu[n - 1]))


def two_nn_linear(distances: Tensor, discarded: float = DISCARDED) -> float:
    """TwoNN by its authors' linear fit: slope through the origin of -log(1 - i/N) on the i-th smallest log(r2/r1).

    distances (n_points, >= 2); i = 1..floor(N (1 - discarded)), because i = N would be infinite. Facco et al. 2017.
    """
    log_mu = _log_ratios(distances, 1, 2).sort().values
    n = min(_n_kept(len(log_mu), discarded), len(log_mu) - 1)
    if n < MIN_POINTS - 1:
        return math.nan
    x = log_mu[:n]
    y = -torch.log1p(-torch.arange(1, n + 1, dtype=x.dtype) / len(log_mu))
    return _safe_ratio(float(x @ y), float(x @ x))


def mle(distances: Tensor) -> float:
    """Levina-Bickel dimension, inverses averaged over points: (k-1) N / sum_i sum_{j<k} log(r_k/r_j).

    distances (n_points, k). Levina and Bickel 2004, with inverses averaged as in MacKay and Ghahramani 2005: averaging
    the local dimensions themselves is biased at small k.
    """
    k = distances.shape[1]
    if len(distances) < MIN_POINTS:
        return math.nan
    return _safe_ratio((k - 1) * len(distances), float(_mle_terms(distances).sum()))


def _mle_terms(distances: Tensor) -> Tensor:
    logs = _in_double(distances).log()
    return (logs[:, -1:] - logs[:, :-1]).sum(1)


def gride(distances: Tensor, n1: int) -> float:
    """GRIDE at ranks (n1, 2 n1): maximum-likelihood dimension from the ratios mu = r_{2 n1} / r_{n1}.

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
    """Newton iteration on the score (N-1)/d + (n2-n1-1) sum l/(1-e^-dl) - (n2-1) sum l, decreasing in d: one root.

    NaN if it does not converge in 50 steps.
    """
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


def _log_ratios(distances: Tensor, inner: int, outer: int) -> Tensor:
    """log(r_outer / r_inner) of each point, in double precision; a ratio below 1 is round-off and counts as 1."""
    inner_distance, outer_distance = _in_double(distances[:, [inner - 1, outer - 1]]).unbind(1)
    return (outer_distance / inner_distance).log().clamp_min(0)


def _n_kept(n: int, discarded: float) -> int:
    return math.floor(n * (1 - discarded) + 1e-9)


def _in_double(values: Tensor) -> Tensor:
    """Double precision on the CPU: the tables are small here, and Apple's GPUs have no double precision."""
    return values.cpu().double()


def _safe_ratio(numerator: float, denominator: float) -> float:
    return numerator / denominator if math.isfinite(denominator) and denominator > 0 else math.nan


# --- a cloud and its member sets -------------------------------------------------------------------------------


@dataclass(frozen=True)
class CentreSums:
    """Leave-out values of a neighbour estimate in which left-out points lose their own ratios but stay as neighbours of
    others; used to correct the jackknife variance."""

    without_two: np.ndarray
    """Log estimate without each pair of blocks, on the diagonal without one block; (n_blocks, n_blocks)"""
    share: float
    """Weight of the jackknife variance against the centres' variance; points that share neighbours are dependent."""


@dataclass(frozen=True)
class NeighbourReading:
    """One estimator at one scale: its value on the whole cloud and its delete-one-block replicates."""

    estimator: str
    n1: int | None
    n2: int
    value: float
    blocks: list[float]
    mean_distance: float
    """Mean distance of the outer neighbour."""
    centres: CentreSums | None = None
    """Set if neighbours come only from other sequences: see `sums_over_centres`."""


def stored_neighbours(n_points: int, n_union: int, rank: int = RANKS[-1]) -> int:
    """Number of neighbours to store so that nearly every row finds `rank` of them in each member set.

    A member set holds n_points of the n_union rows, and blocks are not spread evenly over neighbourhoods. Storing a tenth
    more costs less than searching again for the hundreds of rows that would run short.
    """
    return math.ceil(rank * 1.2 * n_union / max(n_points, 1)) + 12


def distances_of_sets(table: NeighbourTable, distinct: Tensor) -> SetNeighbours:
    """Distances for `neighbour_readings`; distinct (n_sets, n) bool are member sets without exact copies."""
    return within_sets(table, distinct, RANKS, MLE_NEIGHBOURS)


def readings_of_points(points: Tensor) -> list[NeighbourReading]:
    """Neighbour estimates of one cloud without replicates; points (n, n_dims) without exact copies."""
    everyone = torch.ones(1, len(points), dtype=torch.bool, device=points.device)
    return neighbour_readings(distances_of_sets(nearest(points, RANKS[-1]), everyone), everyone)


def neighbour_readings(found: SetNeighbours, distinct: Tensor) -> list[NeighbourReading]:
    """TwoNN in three forms, MLE and the GRIDE scan, from `distances_of_sets` of the same member sets.

    NaN if there are too few points for an estimator.
    """
    distances = found.distances.cpu().double()  # small here, and Apple's GPUs have no double precision
    whole = distances[0][distinct[0].cpu()]  # (n_points, n_ranks)
    n = len(whole)
    # Ranks beyond the size of a set, and coinciding points, stay undefined.
    logs = torch.where(distances > 0, distances.log(), torch.nan).numpy()
    count = distinct.sum(1).cpu().numpy()
    readings = []

    def add(estimator: str, n1: int | None, n2: int, value: float, blocks: np.ndarray) -> None:
        readings.append(
            NeighbourReading(estimator, n1, n2, value, blocks.tolist(), float(whole[:, RANKS.index(n2)].mean()))
        )

    none = np.full(len(count) - 1, np.nan)
    if n >= MIN_POINTS:
        ratio = np.maximum(logs[:, :, 1] - logs[:, :, 0], 0)
        of_sets = _undefined_if_empty(count - 1, np.nansum(ratio, 1))
        add("two_nn", 1, 2, two_nn(whole[:, :2]), of_sets[1:])
        for name, function in (("two_nn_censored", two_nn_censored), ("two_nn_linear", two_nn_linear)):
            add(name, 1, 2, function(whole[:, :2]), _value_per_set(function, distances, distinct))
    else:
        for name in ("two_nn", "two_nn_censored", "two_nn_linear"):
            add(name, 1, 2, math.nan, none)
    if n > MLE_NEIGHBOURS:
        of_sets = _mle_of_sets(found, logs, count, RANKS.index(MLE_NEIGHBOURS))
        add("mle", None, MLE_NEIGHBOURS, of_sets[0], of_sets[1:])
    else:
        add("mle", None, MLE_NEIGHBOURS, math.nan, none)
    for n1 in GRIDE_SCALES:
        if n >= LOCAL * n1 and n > 2 * n1:
            inner, outer = RANKS.index(n1), RANKS.index(2 * n1)
            value = gride(_as_table(whole, n1, inner, outer), n1)
            add("gride", n1, 2 * n1, value, _gride_of_sets(logs, count, n1, inner, outer, value))
        else:
            add("gride", n1, 2 * n1, math.nan, none)
    return readings


def differing_readings(
    table: NeighbourTable, distinct: Tensor, labels: Labels, kind: str, scales: Sequence[int], with_mle: bool
) -> list[NeighbourReading]:
    """`gride_<kind>` at the inner ranks `scales` and optionally `mle_<kind>`; neighbours differ in all labels.

    table of the points; distinct (n_sets, n) bool member sets without exact copies; labels (n,) each. Tokens of one
    sequence, and occurrences of one type, are correlated, so such neighbours say little about the population. NaN if
    there are too few points for a scale.
    """
    count = distinct.sum(1).cpu().numpy()
    n = int(count[0])
    asked: list[tuple[str, int | None, int, bool]] = []
    if with_mle:
        asked.append((f"mle_{kind}", None, MLE_NEIGHBOURS, n > MLE_NEIGHBOURS))
    asked += [(f"gride_{kind}", n1, 2 * n1, n >= LOCAL * n1 and n > 2 * n1) for n1 in scales]
    ranks = tuple(sorted({rank for _, n1, n2, fits in asked if fits for rank in (n1, n2) if rank}))
    undefined = [math.nan] * (len(count) - 1)
    if not ranks:
        return [NeighbourReading(name, n1, n2, math.nan, undefined, math.nan) for name, n1, n2, _ in asked]
    used = distinct.any(0)
    stored = with_differing_labels(table, used, labels, stored_neighbours(n, int(used.sum()), ranks[-1]))
    found = within_sets(stored, distinct, ranks, MLE_NEIGHBOURS if with_mle else 1, labels)
    distances = found.distances.cpu().double()
    whole = distances[0][distinct[0].cpu()]  # (n_points, n_ranks)
    logs = torch.where(distances > 0, distances.log(), torch.nan).numpy()
    readings = []
    own = (distinct[0] & ~distinct[1:]).cpu().numpy()
    for estimator, n1, n2, fits in asked:
        value, scale, blocks, centres = math.nan, math.nan, undefined, None
        if fits and bool(torch.isfinite(whole[:, ranks.index(n2)]).all()):
            outer = ranks.index(n2)
            scale = float(whole[:, outer].mean())
            if n1 is None:
                value, *blocks = _mle_of_sets(found, logs, count, outer).tolist()
                terms = MLE_NEIGHBOURS * logs[0, :, outer] - found.log_sums[0].cpu().double().numpy()
            else:
                terms = np.maximum(logs[0, :, outer] - logs[0, :, ranks.index(n1)], 0)
                value = gride(_as_table(whole, n1, ranks.index(n1), outer), n1)
                blocks = _gride_of_sets(logs, count, n1, ranks.index(n1), outer, value).tolist()
            centres = sums_over_centres(terms, own, _outer_rank(n1, n2))
        readings.append(NeighbourReading(estimator, n1, n2, value, blocks, scale, centres))
    return readings


def _outer_rank(n1: int | None, n2: int) -> int:
    """Effective rank of the neighbours that points share: n2 for GRIDE, 2 n2 for MLE, which weighs all ranks alike."""
    return n2 if n1 else 2 * n2


def sums_over_centres(terms: np.ndarray, of_block: np.ndarray, rank: int) -> CentreSums:
    """Leave-out values of 1 / mean of the points' terms, with left-out points kept as neighbours of others.

    terms (n,), NaN if a point has none; of_block (n_blocks, n) bool; rank k from `_outer_rank`. If neighbours come only
    from other sequences, leaving a block out changes the neighbours of all other points, and the jackknife error is 1.1
    to 2 times the true standard deviation. Leaving out only centres treats points that share neighbours as independent:
    its error is .65 to 1 times the true one, lower for more neighbours. The true variance lies about k / 96 of the way
    from the centres' to the jackknife's (simulated: docs/accuracy.md). This does not hold if neighbours may come from
    the same sequence.
    """
    known = np.isfinite(terms)
    counts = of_block[:, known].sum(1).astype(float)
    sums = of_block[:, known] @ terms[known]
    n, total = known.sum(), terms[known].sum()
    left, rest = (x - part[:, None] - part for x, part in ((n, counts), (total, sums)))
    np.fill_diagonal(left, n - counts)
    np.fill_diagonal(rest, total - sums)
    with np.errstate(divide="ignore", invalid="ignore"):
        return CentreSums(np.log(left / rest), rank / OVERLAP)


def _mle_of_sets(found: SetNeighbours, logs: np.ndarray, count: np.ndarray, at: int) -> np.ndarray:
    """MLE of each member set, from sum_{j<k} log(r_k / r_j) = k log r_k - sum_{j<=k} log r_j; `at`: column of k."""
    k = MLE_NEIGHBOURS
    spread = k * logs[:, :, at] - found.log_sums.cpu().double().numpy()
    return _undefined_if_empty((k - 1) * count, np.nansum(spread, 1))


def _gride_of_sets(logs: np.ndarray, count: np.ndarray, n1: int, inner: int, outer: int, value: float) -> np.ndarray:
    """GRIDE replicates: the moment estimate of each subset, scaled to match the maximum likelihood on the whole cloud.

    The moment estimate (H_{n2-1} - H_{n1-1}) / mean log mu has 99.9 percent of the likelihood's information.
    """
    log_mu = np.maximum(logs[:, :, outer] - logs[:, :, inner], 0)
    moment = _undefined_if_empty(count, np.nansum(log_mu, 1))
    return moment[1:] * (value / moment[0])


def _value_per_set(function: Callable[[Tensor], float], distances: Tensor, distinct: Tensor) -> np.ndarray:
    members = distinct.cpu()
    return np.array([function(distances[s][members[s]][:, :2]) for s in range(1, len(members))])


def _as_table(whole: Tensor, n1: int, inner: int, outer: int) -> Tensor:
    """A table of 2 n1 columns with only ranks n1 and 2 n1 filled in, which are all that `gride` uses."""
    table = whole.new_full((len(whole), 2 * n1), math.nan)
    table[:, n1 - 1], table[:, 2 * n1 - 1] = whole[:, inner], whole[:, outer]
    return table


def _undefined_if_empty(numerator: np.ndarray, denominator: np.ndarray) -> np.ndarray:
    good = np.isfinite(denominator) & (denominator > 0)
    return np.divide(numerator, denominator, out=np.full(len(denominator), np.nan), where=good)


# --- points on their own ---------------------------------------------------------------------------------------


def _by_neighbours(estimate: Callable[[Tensor], float], k: int, cloud: LabelledPoints) -> Reading:
    if len(cloud.points) <= k:
        return Reading(math.nan)
    distances = nearest(cloud.points, k).distances
    return Reading(estimate(distances), float(distances[:, -1].mean()))


read_two_nn = partial(_by_neighbours, two_nn, 2)
read_two_nn_censored = partial(_by_neighbours, two_nn_censored, 2)
read_two_nn_linear = partial(_by_neighbours, two_nn_linear, 2)
read_mle = partial(_by_neighbours, mle, MLE_NEIGHBOURS)


def read_gride(cloud: LabelledPoints, n1: int | None = None) -> Reading:
    """GRIDE at the ranks n1 and 2 n1; without n1 the whole scan, with the value at `GRIDE_READ_AT`."""
    return _gride_scan(cloud) if n1 is None else _by_neighbours(partial(gride, n1=n1), 2 * n1, cloud)


def read_gride_between(cloud: LabelledPoints, n1: int = GRIDE_READ_AT) -> Reading:
    return _by_differing(partial(gride, n1=n1), n1, 2 * n1, cloud, (cloud.sequences,))


def read_mle_between(cloud: LabelledPoints) -> Reading:
    return _by_differing(mle, None, MLE_NEIGHBOURS, cloud, (cloud.sequences,))


def read_gride_typed(cloud: LabelledPoints, n1: int = GRIDE_READ_AT) -> Reading:
    if cloud.types is None:
        raise EstimateError("gride_typed needs the token type of each point: give types=.")
    return _by_differing(partial(gride, n1=n1), n1, 2 * n1, cloud, (cloud.sequences, cloud.types))


def _by_differing(
    estimate: Callable[[Tensor], float], n1: int | None, k: int, cloud: LabelledPoints, labels: Labels
) -> Reading:
    """Estimate from the k nearest neighbours that differ in all labels; NaN if a point has fewer."""
    if len(cloud.points) <= k:
        return Reading(math.nan)
    everyone = torch.ones(len(cloud.points), dtype=torch.bool, device=cloud.points.device)
    distances = with_differing_labels(nearest(cloud.points, 2 * k), everyone, labels, k).distances
    if not torch.isfinite(distances).all():
        return Reading(math.nan, notes=f"a point has fewer than {k} neighbours that count")
    terms = _mle_terms(distances) if n1 is None else _log_ratios(distances, n1, k)
    return Reading(estimate(distances), float(distances[:, -1].mean()), terms=terms.numpy(), rank=_outer_rank(n1, k))


def _gride_scan(cloud: LabelledPoints) -> Reading:
    """GRIDE at all scales up to N/8, with the value at n1 = 8; the notes give the plateau, if any, and the range."""
    n = len(cloud.points)
    scales = [n1 for n1 in GRIDE_SCALES if n >= 8 * n1]
    if GRIDE_READ_AT not in scales:
        return Reading(math.nan, notes=f"{n} points are too few for n1 = {GRIDE_READ_AT}")
    distances = nearest(cloud.points, 2 * scales[-1]).distances
    values = {n1: gride(distances, n1) for n1 in scales}
    flat = plateau(values)
    range_ = f"{min(values.values()):.1f} to {max(values.values()):.1f} over n1 = {scales[0]} to {scales[-1]}"
    notes = f"no plateau: {range_}" if flat is None else f"plateau from n1 = {flat}, n2 = {2 * flat}: {range_}"
    return Reading(values[GRIDE_READ_AT], float(distances[:, 2 * GRIDE_READ_AT - 1].mean()), notes=notes)
