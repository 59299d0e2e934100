"""Global dimensions from second-order correlators: d2, and the participation ratio over the same pairs.

d2 = 1 / mean of cos^2 over pairs of centred points from different sequences. It is the participation ratio of the
covariance of directions without the diagonal terms: no 1/N bias, no extra weight for large norms (method: squared
cosine between distinct tokens; for isotropic points in d dimensions E cos^2 = 1/d exactly, so d2 = d).

The first part of this file works on points alone; the second on a cloud of a run and its delete-one-block subsets, from
one pass over pairs (core.geometry.pairs).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from core.errors import EstimateError
from core.geometry import pairs
from core.geometry.clouds import Cloud, LabelledPoints, Reading
from core.geometry.neighbours import TILE, NeighbourTable, first_copies
from core.geometry.pairs import COINCIDES, PairSums

N_REMOVED = {"abtt1": 1, "abtt3": 3}
"""Leading components that each transform removes."""

RESIDUE = 1e-6
"""Minimum share of the variance that must remain: below it single precision has too few digits."""


def d2(points: Tensor, sequences: Tensor, *, with_norms: bool = False) -> tuple[float, float]:
    """(d2 without pairs within a sequence, d2 of all pairs) of points (n, n_dims) fp32, which are centred here.

    sequences (n,) int64, not negative. A point that coincides with the mean has no direction and is left out; NaN if no
    pair is left. `with_norms` gives the participation ratio instead, sum |x|^2 |y|^2 / sum (x.y)^2 over the same pairs,
    whose numerator and denominator have no 1/N term. The plain ratio of sample eigenvalues has one (144 for 200
    Gaussian dimensions at N = 512), and with pairs within a sequence it counts sequences if each has one direction.
    """
    points = centred(points)
    squared_norms = points.square().sum(1)
    valid = squared_norms > COINCIDES * squared_norms.max()
    scale = squared_norms.mean().clamp_min(1e-30).expand_as(squared_norms) if with_norms else squared_norms
    directions, sizes = points[valid] * scale[valid, None].rsqrt(), (squared_norms / scale)[valid].double()
    n, n_dims = directions.shape
    if n < 3:
        return math.nan, math.nan
    product = directions @ directions.T if n <= n_dims else directions.T @ directions
    total = float(torch.dot(product.flatten(), product.flatten()))
    labels = sequences[valid]
    of_sequences = torch.bincount(labels, sizes)
    itself = within = float(sizes.square().sum())
    for padded in pairs.grouped(labels.cpu().numpy()):
        index = torch.from_numpy(padded).to(labels.device)
        own = directions[index.clamp_min(0)] * (index >= 0)[..., None]
        within += float((own @ own.transpose(1, 2)).square().sum()) - float(sizes[index[index >= 0]].square().sum())
    everything = float(sizes.sum()) ** 2
    between = everything - float(of_sequences.square().sum())
    return _d2_of_sums(between, total - within, _added(directions, labels)), _d2_of_sums(
        everything - itself, total - itself
    )


def _d2_of_sums(n_pairs: float, squares: float, added: float = 0.0) -> float:
    """d2 from a sum over pairs, minus the mean squared cosine `added` by centring."""
    sums = PairSums(*(np.array([value], dtype=float) for value in (squares, math.nan, n_pairs)))
    return float(sums.d2_without(np.array([added]))[0])


def _added(directions: Tensor, labels: Tensor) -> float:
    """`pairs.added_by_centring` for directions (n, n_dims) and their sequences (n,)."""
    counts = torch.bincount(labels)
    sums = directions.new_zeros(len(counts), directions.shape[1]).index_add_(0, labels, directions)
    n, n_within = len(directions), int((counts * counts).sum())
    of_all, of_sequences = float(sums.sum(0).square().sum()), float(sums.square().sum())
    within = (of_sequences - n) / (n_within - n) if n_within > n else math.nan
    between = (of_all - of_sequences) / (n * n - n_within) if n_within < n * n else math.nan
    counted = counts[None].cpu().double().numpy()
    return float(pairs.added_by_centring(np.array([between]), np.array([within]), counted)[0])


def log_d2_without_two(points: Tensor, blocks: Tensor, *, with_norms: bool = False) -> np.ndarray:
    """`without_two` for points (n, n_dims) fp32, centred here, with block numbers (n,) int64."""
    n_blocks = int(blocks.max()) + 1
    points = centred(points)
    scale = points.square().sum(1).mean().sqrt().clamp_min(1e-30)
    directions = points / scale if with_norms else torch.nn.functional.normalize(points, dim=1)
    if n_blocks * points.shape[1] <= len(points):
        own = [directions[blocks == b] for b in range(n_blocks)]
        moments = torch.stack([(some.T @ some).flatten() for some in own])
        squares = moments @ moments.T
    else:
        of_block = torch.nn.functional.one_hot(blocks, n_blocks).to(directions.dtype)
        squares = of_block.T @ (directions @ directions.T).square() @ of_block
    sizes = torch.bincount(blocks, directions.square().sum(1).double())
    return without_two(squares.cpu().double().numpy(), sizes.cpu().numpy())


def log_participation_ratio_without_two(points: Tensor, blocks: Tensor) -> np.ndarray:
    return log_d2_without_two(points, blocks, with_norms=True)


def without_two(squares: np.ndarray, counts: np.ndarray, added: float = 0.0) -> np.ndarray:
    """log d2 without each pair of blocks, on the diagonal without one block; (n_blocks, n_blocks).

    Only pairs of different blocks count, and points stay centred on the mean of all points: good enough for differences
    between these values. squares (n_blocks, n_blocks): sums of squared cosines between two blocks; counts (n_blocks,):
    numbers of points per block, or sums of squared norms; `added`: the part of each squared cosine due to centring.
    """
    total = np.outer(counts, counts)

    def left(sums: np.ndarray) -> np.ndarray:
        sums = sums - np.diag(np.diag(sums))
        rows = sums.sum(1)
        without = sums.sum() - 2 * (rows[:, None] + rows) + 2 * sums
        np.fill_diagonal(without, sums.sum() - 2 * rows)
        return without

    with np.errstate(divide="ignore", invalid="ignore"):
        return -np.log(left(squares) / left(total) - added)


def centred(points: Tensor, members: Tensor | None = None) -> Tensor:
    """Points minus the mean of the members (of all by default); all zero if they differ by round-off only."""
    moved = points - (points if members is None else points[members]).mean(0)
    size, spread = points.square().sum(1).max(), moved.square().sum(1).max()
    return torch.where(spread > 1e-11 * size, moved, 0.0)


def halves_of_sequences(sequences: Tensor, between: Tensor, halves: Tensor, added: float = 0.0) -> Tensor:
    """d2 of both halves of each split, (n_splits, 2), with points centred once on the mean of the whole cloud.

    sequences (n,) of the cloud's points, in 0..S-1; between (S, S): sums of squared cosines between two sequences;
    halves (n_splits, S) bool; `added`: the part of each squared cosine due to centring. Centring each half on its own
    mean would lower d2 if sequences cluster (7 percent at the last layer of a real encoder) and so exaggerate a
    contraction.
    """
    counts = torch.bincount(sequences, minlength=halves.shape[1]).to(between.dtype)
    pairs = counts[:, None] * counts[None, :]
    between = between.clone()
    for matrix in (between, pairs):
        matrix.fill_diagonal_(0)
    sides = torch.stack([halves, ~halves], dim=1).to(between.dtype)  # (n_splits, 2, S)
    total = torch.einsum("hsa,ab,hsb->hs", sides, pairs, sides)
    squares = torch.einsum("hsa,ab,hsb->hs", sides, between, sides)
    return total / (squares - torch.minimum(added * total, squares / 2))


def leading_components(points: Tensor, members: Tensor, n_components: int) -> Tensor:
    """Leading principal directions of each subset, (n_sets, n_components, n_dims), by subspace iteration.

    points (n, n_dims), members (n_sets, n) bool with the whole cloud first. The other sets lack only a sixteenth of the
    cloud, so two steps from the whole cloud's directions suffice.
    """
    weight = members.to(points.dtype)
    n = weight.sum(1)
    means = weight @ points / n[:, None]
    width = min(n_components + 5, *points.shape)
    generator = torch.Generator().manual_seed(0)
    basis = torch.randn(points.shape[1], width, generator=generator).to(points)

    def step(basis: Tensor, which: slice) -> Tensor:
        scores = points @ basis - (means[which, None] @ basis)  # (n_sets, n, width)
        scores = scores * weight[which, :, None]
        image = (points.T @ scores) - means[which, :, None] * scores.sum(1, keepdim=True)
        return torch.linalg.qr(image.cpu())[0].to(points.device)  # (n_sets, n_dims, width)

    whole = basis[None]
    for _ in range(8):
        whole = step(whole, slice(0, 1))
    each = whole.expand(len(members), -1, -1)
    for _ in range(2):
        each = step(each, slice(0, len(members)))
    scores = (points @ each - means[:, None] @ each) * weight[:, :, None]
    # Decompositions of such small matrices run on the CPU: not every device supports them.
    _, rotation = torch.linalg.eigh((scores.transpose(1, 2) @ scores).cpu().double())  # ascending
    return (each @ rotation.to(points)).transpose(1, 2).flip(1)[:, :n_components]


def read_d2(cloud: LabelledPoints) -> Reading:
    return Reading(d2(cloud.points, cloud.sequences)[0])


def read_d2_all_pairs(cloud: LabelledPoints) -> Reading:
    return Reading(d2(cloud.points, cloud.sequences)[1])


def read_participation_ratio(cloud: LabelledPoints) -> Reading:
    return Reading(d2(cloud.points, cloud.sequences, with_norms=True)[0])


def read_d2_typed(cloud: LabelledPoints) -> Reading:
    """d2 over pairs that differ in both type and sequence, by explicit enumeration of pairs in tiles."""
    if cloud.types is None:
        raise EstimateError("d2_typed needs the token type of each point: give types=.")
    directions = torch.nn.functional.normalize(cloud.points - cloud.points.mean(0), dim=1)
    squares, n_pairs = 0.0, 0
    for start in range(0, len(directions), TILE):
        rows = slice(start, start + TILE)
        counted = cloud.sequences[rows, None] != cloud.sequences[None, :]
        counted &= cloud.types[rows, None] != cloud.types[None, :]
        cosines = directions[rows] @ directions.T
        squares += float((cosines.square_() * counted).sum(1).cpu().double().sum())
        n_pairs += int(counted.sum())
    return Reading(_d2_of_sums(n_pairs, squares, _added(directions, cloud.sequences)))


def d2_of_windows(points: Tensor, types: Tensor, stretches: Tensor) -> np.ndarray:
    """d2 of each window of text separately, over pairs of different token types, for all its points and with one
    stretch of them left out at a time; (n_windows, 1 + n_stretches) float64, NaN if no pair is left.

    points (n_windows, n, n_dims) fp32; types (n_windows, n); stretches (n,) int64, 0 to n_stretches - 1. Within one
    text there are no other sequences to pair with, so what its tokens share is removed with the mean, which is
    recomputed for each set. Pairs of one type are excluded because they measure how often the text repeats itself.
    """
    moved = points - points.mean(1, keepdim=True)
    gram = (moved @ moved.transpose(1, 2)).cpu().double()  # (n_windows, n, n)
    apart = (types[:, :, None] != types[:, None, :]).cpu()
    every = torch.ones_like(stretches, dtype=torch.bool)
    sets = [every, *(stretches != number for number in range(int(stretches.max()) + 1))]
    found = np.full((len(points), len(sets)), np.nan)
    for number, members in enumerate(sets):
        own = members.nonzero()[:, 0].cpu()
        products = gram[:, own][:, :, own]
        rows = products.mean(2, keepdim=True)
        products = products - rows - rows.transpose(1, 2) + products.mean((1, 2), keepdim=True)
        norms = products.diagonal(dim1=1, dim2=2)
        is_valid = norms > COINCIDES * norms.amax(1, keepdim=True)
        counted = apart[:, own][:, :, own] & is_valid[:, :, None] & is_valid[:, None, :]
        cosines = products.square() / (norms[:, :, None] * norms[:, None, :]).clamp_min(1e-300)
        squares, n_pairs, n = (
            of.numpy() for of in ((cosines * counted).sum((1, 2)), counted.sum((1, 2)), is_valid.sum(1).double())
        )
        sums = PairSums(squares, np.full(len(points), np.nan), n_pairs.astype(float))
        found[:, number] = sums.d2_without(1 / n**2)  # bias from centring, with each point as its own sequence
    return found


# --- a cloud and its member sets -------------------------------------------------------------------------------


@dataclass(frozen=True)
class PlacedCloud:
    """A cloud's points at one layer, centred on the mean of the whole cloud (its first member set)."""

    cloud: Cloud
    points: Tensor
    """(n_union, hidden_size) fp32"""
    members: Tensor
    """(n_sets, n_union) bool"""


@dataclass(frozen=True)
class Scanned:
    """Results of one pass over the pairs of a cloud; arrays are (n_sets,) with the whole cloud first unless stated."""

    d2: np.ndarray
    d2_all_pairs: np.ndarray
    participation_ratio: np.ndarray
    """Empty if not requested, like `halves`, `d2_typed` and `ratio_without_two`."""
    halves: np.ndarray
    """(n_splits, 2)"""
    d2_typed: np.ndarray
    without_two: np.ndarray
    """log d2 of the whole cloud without each pair of blocks; (n_blocks, n_blocks)"""
    ratio_without_two: np.ndarray
    """The same for the participation ratio."""
    table: NeighbourTable


def place(states: Tensor, cloud: Cloud) -> PlacedCloud:
    points = states[torch.from_numpy(cloud.rows).to(states.device)]
    members = torch.from_numpy(cloud.members).to(states.device)
    moved = centred(points, members[0])
    # Coordinates that are constant up to round-off are set to zero.
    variances = members[0].to(points.dtype) @ moved.square() / members[0].sum()
    constant = variances.sqrt() <= 1e-6 * (points[0] - moved[0]).abs()
    return PlacedCloud(cloud, moved.masked_fill(constant, 0), members)


MIN_DISTINCT = 3
"""Minimum number of distinct points: two points lie on a line whatever their distribution."""


def undefined_reason(placed: PlacedCloud) -> str:
    """Reason why a cloud admits no estimate: no spread beyond round-off, or fewer than three distinct points.

    Empty if it does admit estimates.
    """
    distinct = int(first_copies(placed.points, placed.members[:1]).sum())
    if distinct == 1:
        return "all points are equal, or differ by round-off alone"
    return f"only {distinct} distinct points" if distinct < MIN_DISTINCT else ""


def scan_cloud(
    placed: PlacedCloud,
    *,
    k: int = 0,
    used: Tensor | None = None,
    halves: Tensor | None = None,
    typed: bool = False,
    ratio: bool = False,
) -> Scanned:
    """One pass over all pairs: always d2; optionally `k` neighbours among the `used` points, d2 of `halves`
    (n_splits, n_sequences) bool, typed d2, participation ratio."""
    points, members, cloud = placed.points, placed.members, placed.cloud
    centred = pairs.directions(points, members)
    sequences = torch.from_numpy(cloud.sequences).to(points.device)
    columns = [centred.weights.T, _block_matrix(members, centred)]
    if ratio:
        with_norms = pairs.directions(points, members, with_norms=True)
        columns += [with_norms.weights.T, _block_matrix(members, with_norms)]
    if halves is not None:
        of_sequence = _one_hot(sequences, halves.shape[1]).to(points.dtype)
        columns.append(of_sequence * centred.weights[0][:, None])
    products, table = pairs.scan(points, torch.cat(columns, 1), k, used)
    by_weight, of_blocks, *others = products.split([column.shape[1] for column in columns], 1)
    between, everything, within, added = _between_sequences(placed, centred, by_weight)
    d2_typed = split = ratios = ratio_two = np.empty(0)
    if ratio:
        sums, _, _, owed = _between_sequences(placed, with_norms, others.pop(0))
        ratios = sums.d2_without(owed)
        ratio_two = _without_two(members, with_norms, columns[3], others.pop(0), float(owed[0]))
    if typed:
        of_type = pairs.pairs_within(points, centred, cloud.type_groups)
        of_both = pairs.pairs_within(points, centred, cloud.type_and_sequence_groups)
        d2_typed = everything.without(within, of_type.without(of_both)).d2_without(added)
    if halves is not None:
        by_sequence = of_sequence.T @ (others.pop(0) * centred.weights[0][:, None])  # (S, S)
        by_sequence = (by_sequence + by_sequence.T) / 2
        split = halves_of_sequences(sequences[members[0]], by_sequence, halves, float(added[0])).cpu().numpy()
    two = _without_two(members, centred, columns[1], of_blocks, float(added[0]))
    return Scanned(between.d2_without(added), everything.d2, ratios, split, d2_typed, two, ratio_two, table)


def _between_sequences(
    placed: PlacedCloud, of: pairs.Directions, products: Tensor
) -> tuple[PairSums, PairSums, PairSums, np.ndarray]:
    """Sums over pairs of different sequences, all pairs, and pairs within a sequence; and the first's centring bias."""
    everything = pairs.all_pairs(placed.points, of, products)
    within = pairs.pairs_within(placed.points, of, placed.cloud.sequence_groups)
    between = everything.without(within)
    sequences = torch.from_numpy(placed.cloud.sequences).to(placed.points.device)
    of_sequence = _one_hot(sequences, int(placed.cloud.sequences.max()) + 1).to(of.weights.dtype)
    counts = (of.weights > 0).to(of.weights.dtype) @ of_sequence
    added = pairs.added_by_centring(between.mean_cosine, within.mean_cosine, counts.cpu().double().numpy())
    return between, everything, within, added


def _one_hot(labels: Tensor, n: int) -> Tensor:
    """(n_points, n) bool; torch's own makes a GPU wait, to check the labels."""
    return labels[:, None] == torch.arange(n, device=labels.device)


def _block_matrix(members: Tensor, of: pairs.Directions) -> Tensor:
    """Weights of the whole cloud's points, each in its block's column; (n, n_blocks)."""
    return (members[0] & ~members[1:]).to(of.weights.dtype).T * of.weights[0][:, None]


def _without_two(
    members: Tensor, of: pairs.Directions, of_blocks: Tensor, products: Tensor, added: float, more: Tensor | float = 0.0
) -> np.ndarray:
    """`without_two` from `of_blocks` of `_block_matrix` and its `scan` product; `more` is added to the block sums."""
    squares = (of_blocks.T @ products + more).cpu().double().numpy()
    counts = ((members[0] & ~members[1:]).cpu().double() @ of.sizes_on_host[0]).numpy()
    return without_two((squares + squares.T) / 2, counts, added)


def d2_without_components(placed: PlacedCloud, n_removed: Sequence[int]) -> list[tuple[np.ndarray, np.ndarray]]:
    """d2 without each member set's own leading components (n_sets,), and log d2 without each pair of blocks.

    Returns one pair of arrays for each number of components in `n_removed`. First the largest number of the whole
    cloud's components is removed from the points explicitly. A subset's own components differ only slightly, which is a
    small shift; components that were not to be removed are put back by adding to the sums. So one pass over pairs
    serves all numbers. NaN if less than `RESIDUE` of the variance is left.
    """
    points, members = placed.points, placed.members
    most = max(n_removed)
    leading = leading_components(points, members, most)  # (n_sets, most, n_dims)
    first = leading[0]
    rest = points
    for _ in range(2):  # one projection would leave round-off of the large components
        rest = rest - (rest @ first.T) @ first
    taken = points @ first.T  # (n, most)
    weight = members.to(points.dtype)
    means = weight / weight.sum(1, keepdim=True).clamp_min(1)  # (n_sets, n)
    shifted = taken[None] - (means @ taken)[:, None]
    of_whole = members[0]
    total, of_rest = (float(x[of_whole].square().sum()) for x in (points, rest))
    moved = []
    for n in n_removed:
        own = leading[:, :n]
        # Scores of the rest on a set's own components, and the part of the whole cloud's components outside their span.
        found = torch.einsum("srd,nd->snr", own, rest) - torch.einsum("srd,sd->sr", own, means @ rest)[:, None]
        missed = first - (first @ own.transpose(1, 2)) @ own  # (n_sets, most, n_dims)
        moved.append(pairs.directions(rest, members, torch.cat([own, missed], 1), torch.cat([-found, shifted], 2)))
    columns = [part for of in moved for part in (of.weights.T, _block_matrix(members, of))]
    products = pairs.scan(rest, torch.cat(columns, 1))[0].split([part.shape[1] for part in columns], 1)
    results = []
    for number, (n, of) in enumerate(zip(n_removed, moved, strict=True)):
        by_weight, of_blocks, blocks = products[2 * number], products[2 * number + 1], columns[2 * number + 1]
        if not of_rest + float(taken[of_whole, n:].square().sum()) > RESIDUE * total:
            n_blocks = len(members) - 1
            results.append((np.full(len(members), np.nan), np.full((n_blocks, n_blocks), np.nan)))
            continue
        between, _, _, added = _between_sequences(PlacedCloud(placed.cloud, rest, members), of, by_weight)
        put_back = _squares_put_back(blocks, rest, taken[:, n:])
        two = _without_two(members, of, blocks, of_blocks, float(added[0]), put_back)
        results.append((between.d2_without(added), two))
    return results


def _squares_put_back(of_blocks: Tensor, rest: Tensor, scores: Tensor) -> Tensor:
    """Increase of the weighted sums of (x_i.x_j)^2 between blocks from put-back components; (n_blocks, n_blocks).

    of_blocks (n, n_blocks) weights; rest x (n, n_dims), orthogonal to the components; scores t (n, n_components) on
    them. The increase is (x_i.x_j + t_i.t_j)^2 - (x_i.x_j)^2.
    """
    added = of_blocks.new_zeros(of_blocks.shape[1], of_blocks.shape[1])
    for of_one in scores.T:
        moments = of_blocks.T @ (rest * of_one[:, None])
        added += 2 * moments @ moments.T
        products = of_blocks.T @ (scores * of_one[:, None])
        added += products @ products.T
    return added


def d2_of_scaled(placed: PlacedCloud) -> tuple[np.ndarray, np.ndarray]:
    """d2 with every coordinate divided by its standard deviation (n_sets,), and log d2 without each pair of blocks.

    All subsets use the scales of the whole cloud, which leaving a block out changes too little to matter.
    """
    spread = placed.points[placed.members[0]].std(0)
    scale = torch.where(spread > 0, 1 / spread.clamp_min(1e-30), 0.0)  # constant coordinates are left out
    scanned = scan_cloud(PlacedCloud(placed.cloud, placed.points * scale, placed.members))
    return scanned.d2, scanned.without_two
