"""The nearest neighbours of every point, from tiled matrix products, and their restriction to a subset.

|x - y|^2 = |x|^2 + |y|^2 - 2 x.y is one matrix product, but it cancels where two points nearly coincide. Those
pairs, and only those, are computed again by explicit difference.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

TILE = 512
# Below this share of |x|^2 + |y|^2 the product form of a squared distance has lost 7 of its 24 bits.
CANCELLATION = 2.0**-7


@dataclass(frozen=True)
class NeighbourTable:
    """Neighbours in order of distance, the point itself left out."""

    points: Tensor
    """(n_points, n_dims) fp32, centred."""
    distances: Tensor
    """(n_points, k)"""
    indices: Tensor
    """(n_points, k) int64"""

    def restrict(self, keep: Tensor, k: int) -> Tensor:
        """Distances to the k nearest among the points where `keep` is true; (n_kept, k).

        A row whose stored neighbours do not hold k kept ones is computed afresh, so the answer is always exact.
        """
        rows = keep.nonzero().squeeze(1)
        k = min(k, len(rows) - 1)
        if k < 1:
            return self.distances.new_empty(len(rows), 0)
        alive = keep[self.indices[rows]]  # (n_kept, k_stored)
        rank = alive.cumsum(1)
        enough = rank[:, -1] >= k
        result = self.distances.new_empty(len(rows), k)
        chosen = alive & (rank <= k) & enough[:, None]
        result[enough] = self.distances[rows][chosen].view(-1, k)
        short = rows[~enough]
        if len(short):
            result[~enough] = _distances_between(self.points, short, rows, k)[0]
        return result


def nearest(points: Tensor, k: int) -> NeighbourTable:
    """The k nearest neighbours of each point; points (n_points, n_dims), any float dtype, any device."""
    points = points.float()
    points = points - points.mean(0)
    everything = torch.arange(len(points), device=points.device)
    k = min(k, len(points) - 1)
    tiles = [_distances_between(points, rows, everything, k) for rows in everything.split(TILE)]
    return NeighbourTable(points, torch.cat([t[0] for t in tiles]), torch.cat([t[1] for t in tiles]))


def _distances_between(points: Tensor, rows: Tensor, others: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """Distances and indices of the k nearest among `others` for each of `rows`, the row itself left out."""
    x, y = points[rows], points[others]
    norms_x, norms_y = (x * x).sum(1), (y * y).sum(1)
    squared = torch.addmm(norms_y[None, :], x, y.T, alpha=-2).add_(norms_x[:, None])
    squared.masked_fill_(rows[:, None] == others[None, :], torch.inf)
    # A few spare candidates: cancellation can swap the order of the nearest.
    squared, columns = squared.topk(min(k + 4, len(others) - 1), dim=1, largest=False)
    close = squared < CANCELLATION * (norms_x[:, None] + norms_y[columns])
    i, j = close.nonzero(as_tuple=True)
    for part_i, part_j in zip(i.split(1 << 16), j.split(1 << 16), strict=True):
        difference = x[part_i] - y[columns[part_i, part_j]]
        squared[part_i, part_j] = (difference * difference).sum(1)
    squared, again = squared.sort(dim=1)
    return squared[:, :k].clamp_min(0).sqrt(), others[columns.gather(1, again)[:, :k]]


def first_copies(points: Tensor, members: Tensor) -> Tensor:
    """Member sets without exact duplicates: of equal rows, only the first member stays; bool, shaped as `members`.

    points (n_points, n_dims) fp32; members (n_sets, n_points) bool. Rows are compared by their bits, through a
    64-bit integer hash: a hash cannot depend on how a product was tiled, as a floating-point sum can.
    """
    bits = (points.float() + 0.0).contiguous().view(torch.int32).to(torch.int64)
    generator = torch.Generator().manual_seed(0x5EED)
    weights = torch.randint(-(2**62), 2**62, (bits.shape[1],), generator=generator, dtype=torch.int64)
    _, group = torch.unique((bits * weights.to(bits.device)).sum(1), return_inverse=True)
    n = len(group)
    position = torch.arange(n, device=group.device)
    result = torch.zeros_like(members)
    for index, member in enumerate(members):
        first = torch.full((n,), n, device=group.device).scatter_reduce_(0, group[member], position[member], "amin")
        result[index, first[first < n]] = True
    return result
