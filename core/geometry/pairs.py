"""One pass over all pairs of a cloud, which yields neighbours and all second-order quantities.

A tile of the Gram matrix gives distances; its elementwise square times a matrix of weights gives sums of squared
cosines for one subset of the cloud per column. Centring a subset on its own mean, or rotating its removed components,
shifts points along few directions u, c_i = x_i + U'f_i, and changes c_i.c_j only by low-rank terms,

    c_i.c_j = G_ij - a_i' M a_j,   a_i = (f_i, U x_i),   M = -(UU' I; I 0),

so sum_ij w_i w_j (c_i.c_j)^2, with w_i = 1 / |c_i|^2, needs the squared Gram matrix only in w'(G o G)w. This makes the
jackknife exact, with subsets re-drawn and re-centred, without a second pass over pairs. Shifts must be small compared
with the points, because cancellation loses digits in single precision.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from core.errors import Sentence
from core.geometry.neighbours import NeighbourTable, nearest_of_tile

_log = logging.getLogger("workdim")
TILE = 512
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


@dataclass(frozen=True)
class PairSums:
    """Sums over ordered pairs of different points, for each subset; (n_sets,) float64 each.

    If points keep their norms, "cosine" is the inner product over the mean squared norm.
    """

    squares: np.ndarray
    """Sum of squared cosines."""
    cosines: np.ndarray
    pairs: np.ndarray
    """Number of pairs; with norms, the sum of the largest squared cosine that two points of these norms can have."""

    def without(self, *others: PairSums) -> PairSums:
        return PairSums(
            self.squares - sum(other.squares for other in others),
            self.cosines - sum(other.cosines for other in others),
            self.pairs - sum(other.pairs for other in others),
        )

    @property
    def d2(self) -> np.ndarray:
        """Number of pairs over the sum of squared cosines; NaN if there is no pair."""
        return self.d2_without(np.zeros(len(self.pairs)))

    @property
    def mean_cosine(self) -> np.ndarray:
        return np.divide(self.cosines, self.pairs, out=np.full(len(self.pairs), np.nan), where=self.pairs > 0)

    def d2_without(self, added: np.ndarray) -> np.ndarray:
        """d2 after subtracting the mean squared cosine `added` (n_sets,) due to centring, at most half of the total."""
        good = (self.pairs > 0) & (self.squares > 0)
        squares = self.squares - np.minimum(self.pairs * added, self.squares / 2)
        return np.divide(self.pairs, squares, out=np.full(len(self.pairs), np.nan), where=good)


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
    distances = points.new_full((n, max(k, 0)), torch.inf)
    indices = torch.zeros(n, max(k, 0), dtype=torch.int64, device=points.device)
    gram, squares = (points.new_empty(tile if k > 0 else 0, n) for _ in range(2))
    hidden = None if used is None else ~used
    for start in range(0, n, tile):
        rows = slice(start, min(start + tile, n))
        if k <= 0:
            products[rows] = _upper_products(points, columns, start, rows.stop)
            continue
        block = torch.mm(points[rows], points.T, out=gram[: rows.stop - start])
        if columns.shape[1]:
            squared = torch.mul(block, block, out=squares[: len(block)])
            torch.mm(squared, columns, out=products[rows])
        distances[rows], indices[rows] = nearest_of_tile(block, points, norms, start, k, hidden)
    return products, NeighbourTable(points, norms, distances, indices)


def _upper_products(points: Tensor, columns: Tensor, start: int, stop: int) -> Tensor:
    """Rows start..stop of the product: pairs with later points count twice, pairs within the tile once."""
    squared = (points[start:stop] @ points[start:].T).square_()
    own = squared[:, : stop - start] @ columns[start:stop]
    return own.add_(squared[:, stop - start :] @ columns[stop:], alpha=2)


def directions(
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
        index = torch.from_numpy(np.maximum(padded, 0)).to(points.device)  # (n_groups, width)
        real = torch.from_numpy(padded >= 0).to(points.device)
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
    result = PairSums(*np.zeros((3, len(of.weights))))
    if not of_groups:
        return result
    for expanded, sizes in zip(torch.stack(of_groups).cpu().double().numpy(), sizes_of_groups, strict=True):
        part = _without_itself(
            expanded, sizes.flatten(1), sizes.sum(2).square().sum(1)
        )  # sizes (n_sets, n_groups, width)
        result = PairSums(result.squares + part.squares, result.cosines + part.cosines, result.pairs + part.pairs)
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
    return PairSums(sums[0] - squared, sums[1] - of_itself, pairs.numpy() - squared)


def grouped(labels: np.ndarray) -> list[np.ndarray]:
    """Row numbers of the points of each label, padded with -1; one array (n_groups, width) per size class.

    Size classes are powers of two, so padding at most doubles each group; labels that occur once are left out.
    """
    order = np.argsort(labels, kind="stable")
    _, starts, counts = np.unique(labels[order], return_index=True, return_counts=True)
    result = []
    width = 2
    while counts.size and width // 2 < int(np.max(counts)):
        chosen = (counts > width // 2) & (counts <= width) if width > 2 else counts == 2
        if chosen.any():
            offset = np.arange(int(np.max(counts[chosen])))
            rows = starts[chosen][:, None] + offset
            padded = np.where(offset < counts[chosen][:, None], order[np.minimum(rows, len(order) - 1)], -1)
            result.append(padded)
        width *= 2
    return result
