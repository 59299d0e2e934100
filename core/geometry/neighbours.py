"""Nearest neighbours of every point from tiled matrix products, and their restriction to subsets.

|x - y|^2 = |x|^2 + |y|^2 - 2 x.y needs one matrix product, but loses precision when two points nearly coincide. Only
those pairs are recomputed by explicit difference.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

TILE = 512
# Below this share of |x|^2 + |y|^2 the product form of a squared distance has lost 7 of its 24 bits.
CANCELLATION = 2.0**-7
# Below this share the product form cannot even rank the candidates: such rows are computed explicitly.
BLUR = 2.0**-17
_MIX = (-4658895280553007687, -7723592293110705685)
"""Odd 64-bit factors of the splitmix64 generator (Steele, Lea and Flood 2014), as signed numbers."""
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
    tiles = []
    for start in range(0, len(points), TILE):
        gram = points[start : start + TILE] @ points.T
        tiles.append(nearest_of_tile(gram, points, norms, start, k))
    return NeighbourTable(points, norms, torch.cat([t[0] for t in tiles]), torch.cat([t[1] for t in tiles]))


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
    squared, columns = [], []
    for part, row in zip(relative.split(64), rows.split(64), strict=True):
        exact = torch.cdist(points[row], points, compute_mode="donot_use_mm_for_euclid_dist").square()
        exact[torch.isinf(part)] = torch.inf
        nearest_few = exact.topk(k, dim=1, largest=False)
        squared.append(nearest_few.values)
        columns.append(nearest_few.indices)
    return torch.cat(squared), torch.cat(columns)


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
    distances, indices = [], []
    for part in rows.split(TILE):
        relative = torch.addmm(table.norms[None, :], table.points[part], table.points.T, alpha=-2)
        relative.masked_fill_(~member[None, :], torch.inf)
        relative[torch.arange(len(part), device=part.device), part] = torch.inf
        for label in labels:
            relative.masked_fill_(label[part, None] == label[None, :], torch.inf)
        nearest_few = _nearest_of(relative, table.points, table.norms, part, k)
        distances.append(nearest_few[0])
        indices.append(nearest_few[1])
    return torch.cat(distances), torch.cat(indices)


def first_copies(points: Tensor, members: Tensor) -> Tensor:
    """Member sets without exact duplicates: of equal rows only the first member is kept; bool, same shape as `members`.

    points (n_points, n_dims) fp32; members (n_sets, n_points) bool. Rows are compared bitwise through a 64-bit integer
    hash, which unlike a floating-point sum does not depend on how a product was tiled.
    """
    numbers = points.float() + 0.0  # no negative zeros
    if numbers.shape[1] % 2:
        numbers = torch.nn.functional.pad(numbers, (0, 1))
    generator = torch.Generator().manual_seed(0x5EED)
    keys = torch.randint(-(2**62), 2**62, (numbers.shape[1] // 2,), generator=generator, dtype=torch.int64)
    # Two coordinates at a time. A product moves a difference to higher bits only, so the sign bit, the highest, would
    # nearly vanish from a weighted sum: the upper half is XORed into the lower half before and after each product.
    mixed = numbers.contiguous().view(torch.int64)
    mixed += keys.to(points.device)
    halves = mixed.view(torch.int32)
    halves[:, ::2] ^= halves[:, 1::2]
    for factor in _MIX:
        mixed *= factor
        halves[:, ::2] ^= halves[:, 1::2]
    _, group = torch.unique(mixed.sum(1), return_inverse=True)
    n = len(group)
    group, own = group.cpu(), members.cpu()  # small, and not every device has these operations
    position = torch.arange(n)
    result = torch.zeros_like(own)
    for index, member in enumerate(own):
        first = torch.full((n,), n).scatter_reduce_(0, group[member], position[member], "amin")
        result[index, first[first < n]] = True
    return result.to(members.device)
