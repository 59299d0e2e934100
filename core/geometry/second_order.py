"""Global dimensions from second-order correlators: d2, and the participation ratio over the same pairs.

d2 = 1 / mean of cos^2 over pairs of centred points from different sequences. It is the participation ratio of the
covariance of directions without the diagonal terms: no 1/N bias, no extra weight for large norms (method: squared
cosine between distinct tokens; for isotropic points in d dimensions E cos^2 = 1/d exactly, so d2 = d).

First the pass over all pairs that everything is read from; then the formulas on points alone; then a cloud of a run and
its delete-one-block subsets.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from core.errors import EstimateError, Sentence
from core.geometry.clouds import LabelledPoints, PlacedCloud, Reading, beside, centred, grouped
from core.geometry.neighbours import TILE, NeighbourTable, nearest_of_tile

# --- one pass over all pairs of a cloud, for neighbours and all second-order quantities ------------------------------

# A tile of the Gram matrix gives distances; its elementwise square times a matrix of weights gives sums of squared
# cosines for one subset of the cloud per column. Centring a subset on its own mean, or rotating its removed components,
# shifts points along few directions u, c_i = x_i + U'f_i, and changes c_i.c_j only by low-rank terms,
#     c_i.c_j = G_ij - a_i' M a_j,   a_i = (f_i, U x_i),   M = -(UU' I; I 0),
# so sum_ij w_i w_j (c_i.c_j)^2, with w_i = 1 / |c_i|^2, needs the squared Gram matrix only in w'(G o G)w. This makes the
# jackknife exact, with subsets re-drawn and re-centred, without a second pass over pairs. Shifts must be small compared
# with the points, because cancellation loses digits in single precision.

_log = logging.getLogger("workdim")
SMALLEST_TILE = 64
COINCIDES = 1e-6
"""Below this share of the largest squared distance to the mean a point has no direction, only round-off."""


@dataclass(frozen=True)
class Directions:
    """Maps points to centred directions, or to centred points that keep their norms, for each subset of a cloud."""

    weights: Tensor
    """w_i = 1 / |c_i|^2 for members, 0 for non-members and for points at the subset's mean; with norms, 1 over the
    subset's mean of |c_i|^2 for all members; (n_sets, n)"""
    sizes: Tensor
    """w_i |c_i|^2: 1 for directions; (n_sets, n)"""
    features: Tensor
    """a_i; (n_sets, n, n_features)"""
    metric: Tensor
    """M; (n_sets, n_features, n_features)"""

    @cached_property
    def sizes_on_host(self) -> Tensor:
        """`sizes` in double precision; read once, as a GPU waits for it."""
        return self.sizes.cpu().double()


PairSums = np.ndarray
"""Sums over ordered pairs of different points, for each subset; (3, n_sets) double: squared cosines, the number of pairs, and
cosines. If points keep their norms, "cosine" is the inner product over the mean squared norm, and the number of pairs the sum
of the largest squared cosine that two points of these norms can have."""


def d2_of_sums(sums: PairSums, added: np.ndarray | float = 0.0) -> np.ndarray:
    """Number of pairs over the sum of squared cosines, (n_sets,); NaN if there is no pair.

    `added`: the mean squared cosine due to centring, (n_sets,), of which at most half of the total is subtracted.
    """
    squares, pairs = sums[:2]
    left = squares - np.minimum(pairs * added, squares / 2)
    return np.divide(pairs, left, out=np.full(len(pairs), np.nan), where=(pairs > 0) & (squares > 0))


def added_by_centring(between: np.ndarray, within: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Bias of the mean squared cosine between sequences that is due to centring on the sample mean; (n_sets,).

    between and within (n_sets,): mean cosine of two tokens of different sequences and of the same sequence (NaN if each
    sequence has one token); counts (n_sets, n_sequences). Every sequence contributes to the mean. With shares w of the
    N points, W = sum w^2 and rho = within - between, the cosine of tokens of sequences s and t has the expectation
    -(rho (w_s + w_t - W) + (1 - rho) / N). For S sequences of equal length, its square is a share d2 (rho / S)^2 of the
    total: 2.5 percent for S = 16, 50 dimensions and rho = .36, and more if a few sequences are long.
    """
    n = counts.sum(1)
    with np.errstate(divide="ignore", invalid="ignore"):
        w2, w3, w4 = (((counts / n[:, None]) ** power).sum(1) for power in (2, 3, 4))
        rho = np.nan_to_num(within - between).clip(0, 1)
        first = (w2 - 2 * w3 + w2**2) / (1 - w2)  # means over pairs of w_s + w_t - W, and of its square
        second = (2 * w3 - w2**2 - 4 * w4 + 4 * w2 * w3 - w2**3) / (1 - w2)
        rest = (1 - rho) / n
        return np.nan_to_num(rho**2 * second + 2 * rho * rest * first + rest**2)


def scan(points: Tensor, columns: Tensor, k: int = 0, used: Tensor | None = None) -> tuple[Tensor, NeighbourTable]:
    """(G o G) @ columns or an equivalent, and the k nearest neighbours among the `used` points.

    points (n, n_dims) fp32, centred; columns (n, n_columns); used (n,) bool or None for all. With k > 0 the product is
    (G o G) @ columns itself. With k = 0 each pair is computed once, and the product is a P with C'P + P'C =
    2 C'(G o G) C for the columns C: quadratic forms of one column are exact, bilinear forms only after symmetrising.
    If memory runs short, the tiles are halved and a warning is logged.
    """
    tile = TILE
    while True:
        try:
            return _scan(points, columns, k, used, tile)
        except torch.OutOfMemoryError:
            if tile <= SMALLEST_TILE:
                raise
            tile //= 2
            _log.warning(Sentence("Memory is short: the geometry goes on with tiles of {n} rows.", n=tile))


def _scan(points: Tensor, columns: Tensor, k: int, used: Tensor | None, tile: int) -> tuple[Tensor, NeighbourTable]:
    n = len(points)
    norms = points.square().sum(1)
    k = min(k, (n if used is None else int(used.sum())) - 1)
    products = points.new_empty(n, columns.shape[1])
    distances = points.new_full((n, k), torch.inf)
    indices = torch.zeros(n, k, dtype=torch.int64, device=points.device)
    gram, squares = (points.new_empty(tile if k else 0, n) for _ in range(2))
    hidden = None if used is None else ~used
    for start in range(0, n, tile):
        rows = slice(start, min(start + tile, n))
        if not k:
            products[rows] = _upper_products(points, columns, start, rows.stop)
            continue
        block = torch.mm(points[rows], points.T, out=gram[: rows.stop - start])
        squared = torch.mul(block, block, out=squares[: len(block)])
        torch.mm(squared, columns, out=products[rows])
        distances[rows], indices[rows] = nearest_of_tile(block, points, norms, start, k, hidden)
    return products, NeighbourTable(points, norms, distances, indices)


def _upper_products(points: Tensor, columns: Tensor, start: int, stop: int) -> Tensor:
    """Rows start..stop of the product: pairs with later points count twice, pairs within the tile once."""
    squared = (points[start:stop] @ points[start:].T).square_()
    own = squared[:, : stop - start] @ columns[start:stop]
    return own.add_(squared[:, stop - start :] @ columns[stop:], alpha=2)


def centred_directions(
    points: Tensor,
    members: Tensor,
    axes: Tensor | None = None,
    coefficients: Tensor | None = None,
    *,
    with_norms: bool = False,
) -> Directions:
    """Centre each subset on its own mean and optionally shift along further axes: c_i = x_i - mean + sum_k f_ik u_k.

    points (n, n_dims) fp32; members (n_sets, n) bool; axes u (n_sets, n_axes, n_dims) and coefficients f
    (n_sets, n, n_axes).
    """
    weight = members.to(points.dtype)
    means = weight @ points / weight.sum(1, keepdim=True).clamp_min(1)  # (n_sets, n_dims)
    moves = means[:, None]  # U; (n_sets, n_moves, n_dims)
    along = points.new_full((len(members), len(points), 1), -1.0)  # f; (n_sets, n, n_moves)
    if axes is not None and coefficients is not None:
        moves, along = torch.cat([moves, axes], 1), torch.cat([along, coefficients], 2)
    scores = torch.einsum("smd,nd->snm", moves, points)  # U x_i
    products = moves @ moves.transpose(1, 2)  # UU'; (n_sets, n_moves, n_moves)
    norms = points.square().sum(1) + (along * (2 * scores + along @ products)).sum(2)
    # Points that coincide with the mean have no direction; round-off must not give them one.
    valid = members & (norms > COINCIDES * norms.clamp_min(0).amax(1, keepdim=True).clamp_min(1e-30))
    if with_norms:
        sizes = norms.clamp_min(0) * weight
        means_of_squares = sizes.sum(1, keepdim=True) / weight.sum(1, keepdim=True).clamp_min(1)
        weights = weight / means_of_squares.clamp_min(1e-30)
        sizes = sizes / means_of_squares.clamp_min(1e-30)
    else:
        weights = torch.where(valid, 1 / norms.clamp_min(1e-30), torch.zeros_like(norms))
        sizes = valid.to(points.dtype)
    one = torch.eye(moves.shape[1], device=points.device, dtype=points.dtype).expand_as(products)
    metric = -torch.cat([torch.cat([products, one], 2), torch.cat([one, torch.zeros_like(one)], 2)], 1)
    return Directions(weights, sizes, torch.cat([along, scores], 2), metric)


def all_pairs(points: Tensor, of: Directions, products: Tensor) -> PairSums:
    """Sums over all pairs; products = (G o G) @ weights' (n, n_sets) from `scan`."""
    weighted = of.weights[:, :, None] * of.features  # (n_sets, n, n_features)
    squares = torch.einsum("sn,ns->s", of.weights, products)
    moments = torch.einsum("snf,nd->sfd", weighted, points)
    cross = moments @ moments.transpose(1, 2)  # (n_sets, n_features, n_features)
    own = weighted.transpose(1, 2) @ of.features
    root = of.weights.sqrt()
    total = torch.einsum("sn,snf->sf", root, of.features)
    cosines = (root @ points).square().sum(1) - torch.einsum("sf,sfe,se->s", total, of.metric, total)
    expanded = torch.stack([_expanded(squares, cross, own[None], of.metric), cosines]).cpu().double().numpy()
    sizes = of.sizes_on_host
    return _without_itself(expanded, sizes, sizes.sum(1).square())


def pairs_within(points: Tensor, of: Directions, groups: list[np.ndarray]) -> PairSums:
    """Sums over pairs within a group, such as a sequence; `groups` in the format of `grouped`.

    The sums stay on the device until all groups are done, so that a GPU waits once.
    """
    of_groups, sizes_of_groups = [], []
    for padded in groups:
        index = beside(points, np.maximum(padded, 0))  # (n_groups, width)
        real = beside(points, padded >= 0)
        own_points = points[index]
        gram = own_points @ own_points.transpose(1, 2)  # (n_groups, width, width)
        weights = of.weights[:, index] * real  # (n_sets, n_groups, width)
        features = of.features[:, index]
        weighted = (weights[..., None] * features).permute(1, 2, 0, 3)  # (n_groups, width, n_sets, n_features)
        carried = (gram @ weighted.flatten(2)).view_as(weighted)
        cross = torch.einsum("gwsf,gwse->sfe", weighted, carried)
        by_set = weights.permute(1, 2, 0)
        squares = torch.einsum("gws,gws->s", by_set, gram.square() @ by_set)
        own = torch.einsum("gwsf,sgwe->gsfe", weighted, features)
        root = by_set.sqrt()
        summed = torch.einsum("gws,sgwf->gsf", root, features)
        cosines = torch.einsum("gws,gws->s", root, gram @ root)
        cosines -= torch.einsum("gsf,sfe,gse->s", summed, of.metric, summed)
        of_groups.append(torch.stack([_expanded(squares, cross, own, of.metric), cosines]))
        sizes_of_groups.append(of.sizes_on_host[:, np.maximum(padded, 0)] * torch.from_numpy(padded >= 0))
    result = np.zeros((3, len(of.weights)))
    if not of_groups:
        return result
    for expanded, sizes in zip(torch.stack(of_groups).cpu().double().numpy(), sizes_of_groups, strict=True):
        # sizes (n_sets, n_groups, width)
        result += _without_itself(expanded, sizes.flatten(1), sizes.sum(2).square().sum(1))
    return result


def _expanded(squares: Tensor, cross: Tensor, own: Tensor, metric: Tensor) -> Tensor:
    """The sum of squared cosines of directions from that of the points; (n_sets,)"""
    mixed = metric @ own  # (n_groups or 1, n_sets, n_features, n_features)
    trace = torch.einsum("gsfe,gsef->s", mixed, mixed)
    return squares - 2 * (metric * cross).sum((1, 2)) + trace


def _without_itself(sums: np.ndarray, sizes: Tensor, pairs: Tensor) -> PairSums:
    """Subtract each point's pair with itself, whose cosine is its size; sums (2, n_sets): squares and cosines; sizes
    (n_sets, n)."""
    of_itself, squared = sizes.sum(1).numpy(), sizes.square().sum(1).numpy()
    return np.stack([sums[0] - squared, pairs.numpy() - squared, sums[1] - of_itself])


# --- points on their own ---------------------------------------------------------------------------------------------

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
    for padded in grouped(labels.cpu().numpy()):
        index = beside(labels, padded)
        own = directions[index.clamp_min(0)] * (index >= 0)[..., None]
        within += float((own @ own.transpose(1, 2)).square().sum()) - float(sizes[index[index >= 0]].square().sum())
    everything = float(sizes.sum()) ** 2
    between = everything - float(of_sequences.square().sum())
    sums = np.array([[total - within, total - itself], [between, everything - itself]])
    apart, all_pairs_ = d2_of_sums(sums, np.array([_added(directions, labels), 0.0])).tolist()
    return apart, all_pairs_


def _added(directions: Tensor, labels: Tensor) -> float:
    """`added_by_centring` for directions (n, n_dims) and their sequences (n,)."""
    counts = torch.bincount(labels)
    sums = directions.new_zeros(len(counts), directions.shape[1]).index_add_(0, labels, directions)
    n, n_within = len(directions), int((counts * counts).sum())
    of_all, of_sequences = float(sums.sum(0).square().sum()), float(sums.square().sum())
    within = (of_sequences - n) / (n_within - n) if n_within > n else math.nan
    between = (of_all - of_sequences) / (n * n - n_within) if n_within < n * n else math.nan
    counted = counts[None].cpu().double().numpy()
    return float(added_by_centring(np.array([between]), np.array([within]), counted)[0])


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
    sums = np.array([[squares], [n_pairs]], dtype=float)
    return Reading(float(d2_of_sums(sums, _added(directions, cloud.sequences))[0]))


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
        sums = torch.stack([(cosines * counted).sum((1, 2)), counted.sum((1, 2)).double()]).numpy()
        n = is_valid.sum(1).double().numpy()
        found[:, number] = d2_of_sums(sums, 1 / n**2)  # bias from centring, with each point as its own sequence
    return found


# --- a cloud and its member sets -------------------------------------------------------------------------------


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
    centred = centred_directions(points, members)
    sequences = beside(points, cloud.sequences)
    columns = [centred.weights.T, _block_matrix(members, centred)]
    if ratio:
        with_norms = centred_directions(points, members, with_norms=True)
        columns += [with_norms.weights.T, _block_matrix(members, with_norms)]
    if halves is not None:
        of_sequence = _one_hot(sequences, halves.shape[1]).to(points.dtype)
        columns.append(of_sequence * centred.weights[0][:, None])
    products, table = scan(points, torch.cat(columns, 1), k, used)
    by_weight, of_blocks, *others = products.split([column.shape[1] for column in columns], 1)
    between, everything, within, added = _between_sequences(placed, centred, by_weight)
    d2_typed = split = ratios = ratio_two = np.empty(0)
    if ratio:
        sums, _, _, owed = _between_sequences(placed, with_norms, others.pop(0))
        ratios = d2_of_sums(sums, owed)
        ratio_two = _without_two(members, with_norms, columns[3], others.pop(0), float(owed[0]))
    if typed:
        of_type = pairs_within(points, centred, cloud.type_groups)
        of_both = pairs_within(points, centred, cloud.type_and_sequence_groups)
        d2_typed = d2_of_sums(everything - (within + (of_type - of_both)), added)
    if halves is not None:
        by_sequence = of_sequence.T @ (others.pop(0) * centred.weights[0][:, None])  # (S, S)
        by_sequence = (by_sequence + by_sequence.T) / 2
        split = halves_of_sequences(sequences[members[0]], by_sequence, halves, float(added[0])).cpu().numpy()
    two = _without_two(members, centred, columns[1], of_blocks, float(added[0]))
    of_pairs = d2_of_sums(between, added), d2_of_sums(everything)
    return Scanned(*of_pairs, ratios, split, d2_typed, two, ratio_two, table)


def _between_sequences(
    placed: PlacedCloud, of: Directions, products: Tensor
) -> tuple[PairSums, PairSums, PairSums, np.ndarray]:
    """Sums over pairs of different sequences, all pairs, and pairs within a sequence; and the first's centring bias."""
    everything = all_pairs(placed.points, of, products)
    within = pairs_within(placed.points, of, placed.cloud.sequence_groups)
    between = everything - within
    sequences = beside(placed.points, placed.cloud.sequences)
    of_sequence = _one_hot(sequences, int(placed.cloud.sequences.max()) + 1).to(of.weights.dtype)
    counts = (of.weights > 0).to(of.weights.dtype) @ of_sequence
    with np.errstate(divide="ignore", invalid="ignore"):  # undefined where there are no pairs
        apart, together = (np.where(of[1] > 0, of[2] / of[1], np.nan) for of in (between, within))
    added = added_by_centring(apart, together, counts.cpu().double().numpy())
    return between, everything, within, added


def _one_hot(labels: Tensor, n: int) -> Tensor:
    """(n_points, n) bool; torch's own makes a GPU wait, to check the labels."""
    return labels[:, None] == torch.arange(n, device=labels.device)


def _block_matrix(members: Tensor, of: Directions) -> Tensor:
    """Weights of the whole cloud's points, each in its block's column; (n, n_blocks)."""
    return (members[0] & ~members[1:]).to(of.weights.dtype).T * of.weights[0][:, None]


def _without_two(
    members: Tensor, of: Directions, of_blocks: Tensor, products: Tensor, added: float, more: Tensor | float = 0.0
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
    total, of_rest = (float(x[members[0]].square().sum()) for x in (points, rest))
    moved = []
    for n in n_removed:
        own = leading[:, :n]
        # Scores of the rest on a set's own components, and the part of the whole cloud's components outside their span.
        found = torch.einsum("srd,nd->snr", own, rest) - torch.einsum("srd,sd->sr", own, means @ rest)[:, None]
        missed = first - (first @ own.transpose(1, 2)) @ own  # (n_sets, most, n_dims)
        moved.append(centred_directions(rest, members, torch.cat([own, missed], 1), torch.cat([-found, shifted], 2)))
    columns = [part for of in moved for part in (of.weights.T, _block_matrix(members, of))]
    products = scan(rest, torch.cat(columns, 1))[0].split([part.shape[1] for part in columns], 1)
    results = []
    for number, (n, of) in enumerate(zip(n_removed, moved, strict=True)):
        by_weight, of_blocks, blocks = products[2 * number], products[2 * number + 1], columns[2 * number + 1]
        if not of_rest + float(taken[members[0], n:].square().sum()) > RESIDUE * total:
            n_blocks = len(members) - 1
            results.append((np.full(len(members), np.nan), np.full((n_blocks, n_blocks), np.nan)))
            continue
        between, _, _, added = _between_sequences(PlacedCloud(placed.cloud, rest, members), of, by_weight)
        put_back = _squares_put_back(blocks, rest, taken[:, n:])
        two = _without_two(members, of, blocks, of_blocks, float(added[0]), put_back)
        results.append((d2_of_sums(between, added), two))
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
