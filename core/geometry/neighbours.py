"""Nearest neighbours of every point, and the dimension that the ratios of their distances tell: TwoNN, GRIDE, MLE; of a
cloud of a run with its member sets, and of points on their own.

Distances come from tiled matrix products. |x - y|^2 = |x|^2 + |y|^2 - 2 x.y needs one matrix product, but loses
precision when two points nearly coincide. Only those pairs are recomputed by explicit difference.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from torch import Tensor

from core.errors import EstimateError
from core.geometry.clouds import MIN_POINTS, CentreSums, Cloud, CloudEstimate, LabelledPoints, Reading, log_interval
from core.records import Estimate
from core.registry.estimators import plateau

TILE = 512
# Below this share of |x|^2 + |y|^2 the product form of a squared distance has lost 7 of its 24 bits.
CANCELLATION = 2.0**-7
# Below this share the product form cannot even rank the candidates: such rows are computed explicitly.
BLUR = 2.0**-17
SAMPLED, FEWEST_SAMPLED = 8, 2048
"""One of so many columns tells where the smallest of a row lie, where there are at least so many."""

Labels = Sequence[Tensor]
"""Labels of the points, such as their sequence numbers; (n_points,) int64 each."""


@dataclass(frozen=True)
class NeighbourTable:
    """Neighbours in order of distance, excluding the point itself."""

    points: Tensor
    """(n_points, n_dims) fp32, centred."""
    norms: Tensor
    """Squared norms; (n_points,)"""
    distances: Tensor
    """(n_points, k); infinite if a row was not requested or has no more neighbours."""
    indices: Tensor
    """(n_points, k) int64"""


@dataclass(frozen=True)
class SetNeighbours:
    """Neighbour distances at selected ranks among the members of each subset; NaN for points that are not members."""

    ranks: tuple[int, ...]
    distances: Tensor
    """(n_sets, n_points, n_ranks)"""
    log_sums: Tensor
    """Sum of log distances of ranks 1 to `sum_to`; (n_sets, n_points)"""
    sum_to: int


def nearest(points: Tensor, k: int) -> NeighbourTable:
    """The k nearest neighbours of each point; points (n_points, n_dims), any float dtype, any device."""
    points = points.float()
    points = points - points.mean(0)
    norms = points.square().sum(1)
    k = min(k, len(points) - 1)
    starts = range(0, len(points), TILE)
    tiles = (nearest_of_tile(points[at : at + TILE] @ points.T, points, norms, at, k) for at in starts)
    return NeighbourTable(points, norms, *_joined(tiles))


def _joined(parts: Iterable[Sequence[Tensor]]) -> tuple[Tensor, Tensor]:
    """Distances and indices of all rows from those of parts."""
    distances, indices = zip(*parts, strict=True)
    return torch.cat(distances), torch.cat(indices)


def nearest_of_tile(
    gram: Tensor, points: Tensor, norms: Tensor, start: int, k: int, hidden: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Distances and indices of the k nearest neighbours of rows start, start + 1, ..., from their Gram matrix tile.

    gram (n_rows, n) is overwritten; points in `hidden` (n,) bool are excluded as neighbours.
    """
    rows = torch.arange(start, start + len(gram), device=gram.device)
    # |y|^2 - 2 x.y ranks the neighbours of x as the distance does; |x|^2 is added only to the few that are kept.
    relative = torch.add(norms[None, :], gram, alpha=-2, out=gram)
    relative[rows - start, rows] = torch.inf
    if hidden is not None:
        relative[:, hidden] = torch.inf
    return _nearest_of(relative, points, norms, rows, k)


def _nearest_of(relative: Tensor, points: Tensor, norms: Tensor, rows: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """The k nearest neighbours from `relative` = |y|^2 - 2 x.y (n_rows, n), x = `rows`; cancelling ones are exact."""
    # A few spare candidates, because cancellation can swap the order of the nearest.
    smallest, columns = _smallest(relative, min(k + 4, relative.shape[1]))
    squared = smallest + norms[rows, None]
    blurred = squared[:, -1] < BLUR * (norms[rows] + norms[columns[:, -1]])
    if blurred.any():
        squared[blurred], columns[blurred] = _exactly(relative[blurred], points, rows[blurred], squared.shape[1])
    close = squared < CANCELLATION * (norms[rows, None] + norms[columns])
    i, j = close.nonzero(as_tuple=True)
    if len(i):
        for part_i, part_j in zip(i.split(1 << 15), j.split(1 << 15), strict=True):
            difference = points[rows[part_i]] - points[columns[part_i, part_j]]
            squared[part_i, part_j] = (difference * difference).sum(1)
        squared, again = squared.sort(dim=1)
        columns = columns.gather(1, again)
    return squared[:, :k].clamp_min(0).sqrt(), columns[:, :k]


def _smallest(values: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """The k smallest of each row in ascending order, and their columns; values (n_rows, n)."""
    if values.device.type != "cpu" or k >= values.shape[1]:
        smallest, columns = values.topk(k, dim=1, largest=False)
        return smallest, columns
    few = _few_candidates(values, k)
    if few is None:
        columns = torch.from_numpy(np.argpartition(values.numpy(), k - 1, axis=1)[:, :k])
        few = values.gather(1, columns), columns
    smallest, order = few[0].topk(k, dim=1, largest=False)
    return smallest, few[1].gather(1, order)


def _few_candidates(values: Tensor, k: int) -> tuple[Tensor, Tensor] | None:
    """Values and columns (n_rows, at least k) that hold the k smallest of each row; infinite beyond a row's candidates.

    A threshold that an eighth of the columns gives leaves few to sort, in a third of the time of looking for the k-th of all. None
    where it leaves too few or too many, as among copies, or where there is little to gain.
    """
    n = values.shape[1]
    rank = round(k / SAMPLED + 4 * math.sqrt(k / SAMPLED)) + 4
    if n < FEWEST_SAMPLED or rank * SAMPLED > n // 4:
        return None
    content = values.numpy()
    thresholds = np.partition(content[:, ::SAMPLED], rank, axis=1)[:, rank]
    rows, columns = np.divmod(np.flatnonzero(content <= thresholds[:, None]), n)  # a third of the time of nonzero
    counts = np.bincount(rows, minlength=len(content))
    if counts.min() < k or counts.max() > n // 4:
        return None
    places = np.arange(len(rows)) - np.repeat(np.cumsum(counts) - counts, counts)
    found = np.zeros((len(content), counts.max()), np.int64)
    found[rows, places] = columns
    candidates = np.full(found.shape, np.inf, content.dtype)
    candidates[rows, places] = content[rows, columns]
    return torch.from_numpy(candidates), torch.from_numpy(found)


def _exactly(relative: Tensor, points: Tensor, rows: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """The k nearest (squared distances, indices) by explicit difference, except entries infinite in `relative`."""
    found = []
    for part, row in zip(relative.split(64), rows.split(64), strict=True):
        exact = torch.cdist(points[row], points, compute_mode="donot_use_mm_for_euclid_dist").square()
        exact[torch.isinf(part)] = torch.inf
        found.append(exact.topk(k, dim=1, largest=False))
    return _joined(found)


def with_differing_labels(table: NeighbourTable, used: Tensor, labels: Labels, k: int) -> NeighbourTable:
    """The k nearest neighbours that differ from the point in every label.

    Stored neighbours are used if a row has k of these; other rows are searched again among the `used` points (n,) bool.
    Distances are infinite beyond the neighbours that exist.
    """
    k = min(k, int(used.sum()) - 1)
    rank = (_labels_differ(table.indices, labels) & torch.isfinite(table.distances)).cumsum(1)
    wanted = torch.arange(1, k + 1, device=rank.device).expand(len(rank), -1).contiguous()
    place = torch.searchsorted(rank, wanted).clamp_max(rank.shape[1] - 1)
    distances, indices = table.distances.gather(1, place), table.indices.gather(1, place)
    missing = rank[:, -1] < k
    distances[missing] = torch.inf
    rows = (missing & used).nonzero().squeeze(1)
    if len(rows):
        distances[rows], indices[rows] = _search_again(table, rows, used, k, labels)
    return NeighbourTable(table.points, table.norms, distances, indices)


def _labels_differ(indices: Tensor, labels: Labels) -> Tensor:
    """Whether each neighbour differs from its row's point in every label; same shape as `indices` (n, k)."""
    apart = torch.ones_like(indices, dtype=torch.bool)
    for label in labels:
        apart &= label[indices] != label[:, None]
    return apart


def within_sets(
    table: NeighbourTable, members: Tensor, ranks: tuple[int, ...], sum_to: int, labels: Labels = ()
) -> SetNeighbours:
    """Neighbour distances among the members of each subset; members (n_sets, n_points) bool.

    Rows with too few members among their stored neighbours are searched again, so the result is exact. Ranks beyond the
    size of a subset are NaN. `labels` are those passed to `with_differing_labels`, if that built `table`.
    """
    n_sets, n = members.shape
    highest = max(*ranks, sum_to)
    logs = table.distances.log()
    alive = members[:, table.indices] & torch.isfinite(table.distances)  # (n_sets, n, k_stored)
    rank = alive.cumsum(2, dtype=torch.int16)
    enough = rank[:, :, -1] >= highest
    wanted = torch.tensor(ranks, dtype=torch.int16, device=members.device).expand(n_sets, n, -1).contiguous()
    place = torch.searchsorted(rank, wanted).clamp_max(rank.shape[2] - 1)  # (n_sets, n, n_ranks)
    distances = table.distances.expand(n_sets, -1, -1).gather(2, place)
    counted = alive & (rank <= sum_to)
    last = int(torch.where(enough, torch.searchsorted(rank, wanted[..., :1] * 0 + sum_to)[..., 0], 0).max()) + 1
    log_sums = torch.where(counted[..., :last], logs[None, :, :last], 0.0).sum(2)
    distances = torch.where((members & enough)[..., None], distances, torch.nan)
    log_sums = torch.where(members & enough, log_sums, torch.nan)
    for which, row in _incomplete_rows(members & ~enough):
        found, _ = _search_again(table, row, members[which], highest, labels)
        padded = found.new_full((len(row), highest), torch.nan)
        padded[:, : found.shape[1]] = torch.where(torch.isfinite(found), found, torch.nan)
        distances[which, row] = padded[:, [r - 1 for r in ranks]]
        log_sums[which, row] = padded[:, :sum_to].log().sum(1)
    return SetNeighbours(ranks, distances, log_sums, sum_to)


def _incomplete_rows(missing: Tensor) -> list[tuple[int, Tensor]]:
    """The sets that miss rows, and these rows; missing (n_sets, n) bool."""
    which, rows = missing.nonzero().cpu().unbind(1)
    sets, counts = which.unique_consecutive(return_counts=True)
    return [
        (s, of_set.to(missing.device)) for s, of_set in zip(sets.tolist(), rows.split(counts.tolist()), strict=True)
    ]


def _search_again(
    table: NeighbourTable, rows: Tensor, member: Tensor, k: int, labels: Labels = ()
) -> tuple[Tensor, Tensor]:
    """Distances and indices of the k members nearest to each of `rows`, or of all members if there are fewer.

    With labels, only members that differ in all of them; distances are infinite if a row has fewer than k of these.
    """
    k = min(k, int(member.sum()) - 1)
    if k < 1:
        return table.norms.new_empty(len(rows), 0), rows.new_empty(len(rows), 0)
    found = []
    for part in rows.split(TILE):
        relative = torch.addmm(table.norms[None, :], table.points[part], table.points.T, alpha=-2)
        relative.masked_fill_(~member[None, :], torch.inf)
        relative[torch.arange(len(part), device=part.device), part] = torch.inf
        for label in labels:
            relative.masked_fill_(label[part, None] == label[None, :], torch.inf)
        found.append(_nearest_of(relative, table.points, table.norms, part, k))
    return _joined(found)


# --- dimension from ratios of neighbour distances --------------------------------------------------------------------

# The formulas take distances (n_points, k), sorted along each row, excluding the point itself and without exact
# duplicates: a duplicate has r_1 = 0, and dropping only its ratio would leave its partners with biased ratios. The result
# is NaN if undefined: fewer than three points, or all ratios 1 (ties).
# `neighbour_readings` computes all of them, for a cloud and its jackknife replicates, from one table of neighbours.

GRIDE_SCALES = (1, 2, 4, 8, 16, 32)
"""Inner ranks n1; the outer rank is n2 = 2 n1."""
GRIDE_READ_AT = 8
"""Inner rank of the reported value: lower ones see spelling variants of one word, higher ones the edge of the cloud."""
MLE_NEIGHBOURS = 20
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


def two_nn_censored(distances: Tensor) -> float:
    """TwoNN by maximum likelihood with the largest ratios censored: (n-1) / (sum of n smallest + (N-n) times the n-th).

    distances (n_points, >= 2); n = floor(N (1 - DISCARDED)); the sums are over log(r2/r1). Type-II censoring of the
    Pareto distribution: a censored ratio counts as "at least the largest kept". Unbiased for independent points.
    """
    log_mu = _log_ratios(distances, 1, 2).sort().values
    n = _n_kept(len(log_mu))
    if n < MIN_POINTS - 1:
        return math.nan
    return _safe_ratio(n - 1, float(log_mu[:n].sum()) + (len(log_mu) - n) * float(log_mu[n - 1]))


def two_nn_linear(distances: Tensor) -> float:
    """TwoNN by its authors' linear fit: slope through the origin of -log(1 - i/N) on the i-th smallest log(r2/r1).

    distances (n_points, >= 2); i = 1..floor(N (1 - DISCARDED)), because i = N would be infinite. Facco et al. 2017.
    """
    log_mu = _log_ratios(distances, 1, 2).sort().values
    n = min(_n_kept(len(log_mu)), len(log_mu) - 1)
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
    return _gride_of_ratios(_log_ratios(distances, n1, 2 * n1), n1)


def _gride_of_ratios(log_mu: Tensor, n1: int) -> float:
    """`gride` from log(r_{2 n1} / r_{n1}) of each point; NaN if the iteration does not converge in 50 steps."""
    n, n2, mean = len(log_mu), 2 * n1, float(log_mu.mean())
    if n < MIN_POINTS or not math.isfinite(mean) or mean <= 0:
        return math.nan
    d = sum(1 / i for i in range(n1, n2)) / mean
    if n1 == 1:
        return d * (n - 1) / n
    # Newton iteration on the score (N-1)/d + (n2-n1-1) sum l/(1-e^-dl) - (n2-1) sum l, decreasing in d: one root.
    l = log_mu.clamp_min(1e-12)  # noqa: E741 - the paper's symbol
    linear = float(l.sum()) * (n2 - 1)
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


def _n_kept(n: int) -> int:
    return math.floor(n * (1 - DISCARDED) + 1e-9)


def _in_double(values: Tensor) -> Tensor:
    """Double precision on the CPU: the tables are small here, and Apple's GPUs have no double precision."""
    return values.cpu().double()


def _safe_ratio(numerator: float, denominator: float) -> float:
    return numerator / denominator if math.isfinite(denominator) and denominator > 0 else math.nan


# --- a cloud and its member sets -------------------------------------------------------------------------------


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

    def estimate(self, cloud: Cloud, n_points: int) -> CloudEstimate:
        """On the `n_points` of a cloud that are no copies."""
        bare = Estimate(self.value, scale=self.mean_distance, n_points=n_points, n_dropped=cloud.n_points - n_points)
        found = log_interval(bare, self.blocks, centres=self.centres)
        return CloudEstimate(cloud.name, self.estimator, self.n1, self.n2, found, self.blocks).calibrated()


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
    distances, members = _in_double(found.distances)[..., :2], distinct.cpu()
    nearest_two = distances[0][members[0]]  # (n_points, 2)
    scale = float(nearest_two[:, 1].mean())
    logs = _log_or_undefined(distances)
    ratios = np.nansum(np.maximum(logs[:, :, 1] - logs[:, :, 0], 0), 1)
    blocks = _undefined_if_empty(members.sum(1).numpy() - 1, ratios)[1:].tolist()
    readings = [NeighbourReading("two_nn", 1, 2, two_nn(nearest_two), blocks, scale)]
    for estimator, function in (("two_nn_censored", two_nn_censored), ("two_nn_linear", two_nn_linear)):
        blocks = [function(of_set[own]) for of_set, own in zip(distances[1:], members[1:], strict=True)]
        readings.append(NeighbourReading(estimator, 1, 2, function(nearest_two), blocks, scale))
    asked = [("mle", None, MLE_NEIGHBOURS), *(("gride", n1, 2 * n1) for n1 in GRIDE_SCALES)]
    return readings + _scan_of_ranks(found, distinct, asked)


_Asked = tuple[str, int | None, int]
"""Estimator, n1 and n2; of the MLE, without n1, n2 is its number of neighbours."""


def differing_readings(
    table: NeighbourTable, distinct: Tensor, labels: Labels, kind: str, scales: Sequence[int], with_mle: bool
) -> list[NeighbourReading]:
    """`gride_<kind>` at the inner ranks `scales` and optionally `mle_<kind>`; neighbours differ in all labels.

    table of the points; distinct (n_sets, n) bool member sets without exact copies; labels (n,) each. Tokens of one
    sequence, and occurrences of one type, are correlated, so such neighbours say little about the population. NaN if
    there are too few points for a scale.
    """
    n = int(distinct[0].sum())
    asked: list[_Asked] = [(f"mle_{kind}", None, MLE_NEIGHBOURS)] if with_mle else []
    asked += [(f"gride_{kind}", n1, 2 * n1) for n1 in scales]
    ranks = tuple(sorted({rank for _, n1, n2 in asked if _fits(n, n1, n2) for rank in (n1, n2) if rank}))
    if not ranks:
        undefined = [math.nan] * (len(distinct) - 1)
        return [NeighbourReading(name, n1, n2, math.nan, undefined, math.nan) for name, n1, n2 in asked]
    used = distinct.any(0)
    stored = with_differing_labels(table, used, labels, stored_neighbours(n, int(used.sum()), ranks[-1]))
    found = within_sets(stored, distinct, ranks, MLE_NEIGHBOURS if with_mle else 1, labels)
    return _scan_of_ranks(found, distinct, asked, with_centres=True)


def _fits(n: int, n1: int | None, n2: int) -> bool:
    """Whether n points are enough for these ranks."""
    return n > n2 and n >= LOCAL * (n1 or 0)


def _scan_of_ranks(
    found: SetNeighbours, distinct: Tensor, asked: Sequence[_Asked], *, with_centres: bool = False
) -> list[NeighbourReading]:
    """MLE and GRIDE from distances at all their ranks; NaN where there are too few points, or neighbours of one."""
    distances, count = _in_double(found.distances), distinct.sum(1).cpu().numpy()
    whole, logs = distances[0][distinct[0].cpu()], _log_or_undefined(distances)  # (n_points, n_ranks)
    own = (distinct[0] & ~distinct[1:]).cpu().numpy()
    readings = []
    for estimator, n1, n2 in asked:
        value, scale, blocks, centres = math.nan, math.nan, [math.nan] * len(own), None
        if n2 in found.ranks:
            outer = found.ranks.index(n2)
            scale = float(whole[:, outer].mean())
        if _fits(len(whole), n1, n2) and math.isfinite(scale):
            if n1 is None:  # sum_{j<k} log(r_k / r_j) = k log r_k - sum_{j<=k} log r_j
                terms = MLE_NEIGHBOURS * logs[:, :, outer] - _in_double(found.log_sums).numpy()
                inverse = _undefined_if_empty((MLE_NEIGHBOURS - 1) * count, np.nansum(terms, 1))
                value, *blocks = inverse.tolist()
            else:
                inner = found.ranks.index(n1)
                value = _gride_of_ratios(_log_ratios(whole[:, [inner, outer]], 1, 2), n1)
                terms = np.maximum(logs[:, :, outer] - logs[:, :, inner], 0)
                # Replicates: the moment estimate (H_{n2-1} - H_{n1-1}) / mean log mu, which has 99.9 percent of the
                # likelihood's information, scaled to match the maximum likelihood on the whole cloud.
                moment = _undefined_if_empty(count, np.nansum(terms, 1))
                blocks = (moment[1:] * (value / moment[0])).tolist()
            centres = sums_over_centres(terms[0], own, _outer_rank(n1, n2)) if with_centres else None
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


def _log_or_undefined(distances: Tensor) -> np.ndarray:
    """Logarithms; NaN where two points coincide, and at ranks beyond the size of a set."""
    return torch.where(distances > 0, distances.log(), torch.nan).numpy()


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
