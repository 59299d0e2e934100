"""Correlation dimension from the correlation integral: the growth of the number of close pairs with the radius.

C(r) is the share of pairs closer than r; for points of dimension d it grows as r^d. All pairs are counted, not only
stored neighbours. Pairs within a sequence are excluded: they are close because their contexts are (Theiler window).
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from core.geometry.clouds import LabelledPoints, Reading
from core.geometry.neighbours import TILE, SetNeighbours, nearest
from core.geometry.results import CloudEstimate, estimate_from_blocks
from core.geometry.second_order import PlacedCloud

RANKS = (10, 20)
"""The two radii are the median distances of these neighbours, as in scikit-dimension's CorrInt."""


def correlation_integral(points: Tensor, sequences: Tensor) -> float:
    """Correlation dimension (Grassberger and Procaccia 1983) from two radii: log(C(r_b)/C(r_a)) / log(r_b/r_a).

    points (n, n_dims) without exact duplicates; sequences (n,) int64, all different if the points are independent. NaN
    if no pair of different sequences is closer than the smaller radius.
    """
    if len(points) <= RANKS[1]:
        return math.nan
    radii = median_radii(nearest(points, RANKS[1]).distances)
    everything = torch.ones(1, len(points), dtype=torch.bool, device=points.device)
    return correlation_of_sets(points, sequences, everything, radii)[0]


def correlation_of_sets(points: Tensor, sequences: Tensor, members: Tensor, radii: tuple[float, float]) -> list[float]:
    """`correlation_integral` of every member set at the radii of the whole cloud, in one pass over pairs.

    members (n_sets, n) bool. Fixed radii are accurate enough when a sixteenth of the points is left out: the dimension
    is a slope, and the error from these replicates is within 5 percent of the error with radii per set (tested).
    """
    return _slopes(pair_counts(points, sequences, members, radii), radii)


def median_radii(distances: Tensor) -> tuple[float, float]:
    """The two radii from sorted neighbour distances (n, >= 20)."""
    inner, outer = (median(distances[:, rank - 1]) for rank in RANKS)
    return inner, outer


def median(distances: Tensor) -> float:
    """Median of the defined values; the mean of the middle two for an even number of values, as in numpy."""
    return float(distances.nanquantile(0.5))


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


def _slopes(counts: Tensor, radii: tuple[float, float]) -> list[float]:
    """Dimension of each member set from its pair counts (n_sets, 2); the total number of pairs cancels."""
    width = math.log(radii[1] / radii[0]) if 0 < radii[0] < radii[1] else math.nan
    return [math.log(outer / inner) / width if inner > 0 else math.nan for inner, outer in counts.tolist()]


def correlation_integral_of_cloud(placed: PlacedCloud, distinct: Tensor, within: SetNeighbours) -> CloudEstimate:
    """The estimate of a cloud. Subsets use the radii of the whole cloud; only the pair counts are recomputed."""
    inner, outer = RANKS
    whole = within.distances[0][distinct[0]]
    radii = (median(whole[:, within.ranks.index(inner)]), median(whole[:, within.ranks.index(outer)]))
    sequences = torch.from_numpy(placed.cloud.sequences).to(placed.points.device)
    value, *blocks = correlation_of_sets(placed.points, sequences, distinct, radii)
    n, n_dropped = len(whole), placed.cloud.n_points - len(whole)
    return estimate_from_blocks(
        placed.cloud,
        "correlation_integral",
        inner,
        outer,
        value,
        blocks,
        scale=radii[1],
        n_points=n,
        n_dropped=n_dropped,
    )


def read_correlation_integral(cloud: LabelledPoints) -> Reading:
    return Reading(correlation_integral(cloud.points, cloud.sequences))
