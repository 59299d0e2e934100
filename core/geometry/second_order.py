"""Global dimensions from second-order correlators: d2 and the unbiased participation ratio.

d2 = 1 / mean of cos^2 over pairs of centred points from different sequences. It is the participation ratio of the
covariance of directions, with the diagonal removed: no 1/N bias, no weight for large norms (method: squared cosine
between distinct tokens; for isotropic points in d dimensions E cos^2 = 1/d exactly, so d2 = d).
"""

from __future__ import annotations

import math

import torch
from torch import Tensor


def pair_d2(gram: Tensor, sequences: Tensor) -> tuple[float, float]:
    """(d2 without pairs of one sequence, d2 of all pairs) from a Gram matrix of uncentred points.

    gram (n, n) fp32 is overwritten; sequences (n,) int64 sorted or not. Points are centred on their own mean here,
    in the Gram matrix: c_ij = g_ij - r_i - r_j + g. NaN where no pair is left.
    """
    n = len(gram)
    means = gram.mean(1)
    means = means - means.mean() / 2  # r_i - g/2, so that subtracting it for i and for j adds g back once
    gram.sub_(means[:, None]).sub_(means[None, :])
    scale = gram.diagonal().clamp_min(torch.finfo(gram.dtype).tiny).rsqrt()
    gram.mul_(scale[:, None]).mul_(scale[None, :])
    total = float(torch.dot(gram.flatten(), gram.flatten()))
    order = torch.argsort(sequences)
    within, counts = 0.0, torch.bincount(sequences)
    for rows in order.split([c for c in counts.tolist() if c]):
        within += float(gram[rows][:, rows].square().sum())
    return _ratio(n * n - int((counts * counts).sum()), total - within), _ratio(n * n - n, total - n)


def direction_d2(points: Tensor, sequences: Tensor) -> tuple[float, float]:
    """The same as `pair_d2`, from points (n, n_dims): cheaper where there are more points than dimensions."""
    directions = torch.nn.functional.normalize(points - points.mean(0), dim=1)
    n = len(directions)
    moment = directions.T @ directions  # (n_dims, n_dims)
    total = float(torch.dot(moment.flatten(), moment.flatten()))
    within, counts = 0.0, torch.bincount(sequences)
    for rows in torch.argsort(sequences).split([c for c in counts.tolist() if c]):
        own = directions[rows]
        within += float((own @ own.T).square().sum())
    return _ratio(n * n - int((counts * counts).sum()), total - within), _ratio(n * n - n, total - n)


def d2(points: Tensor, sequences: Tensor) -> tuple[float, float]:
    """(d2, d2_all_pairs) by the cheaper of the two routes; points (n, n_dims) fp32."""
    n, n_dims = points.shape
    if n < 3:
        return math.nan, math.nan
    if n <= n_dims:
        centred = points - points.mean(0)
        return pair_d2(centred @ centred.T, sequences)
    return direction_d2(points, sequences)


def d2_of_halves(points: Tensor, sequences: Tensor, halves: Tensor) -> Tensor:
    """d2 of both halves of each split, (n_splits, 2): rows of one cloud, centred once on the cloud's own mean.

    points (n, n_dims); sequences (n,) in 0..S-1; halves (n_splits, S) bool. Centring each half on its own mean would
    lower d2 where sequences cluster, 7 percent at the last layer of a real encoder, and so inflate a contraction.
    Sums of cos^2 between every two sequences make each half one quadratic form.
    """
    directions = torch.nn.functional.normalize(points - points.mean(0), dim=1)
    squared_cosines = (directions @ directions.T).square()
    member = torch.nn.functional.one_hot(sequences, halves.shape[1]).to(points.dtype)  # (n, S)
    between = member.T @ squared_cosines @ member  # (S, S)
    counts = member.sum(0)
    pairs = counts[:, None] * counts[None, :]
    for matrix in (between, pairs):
        matrix.fill_diagonal_(0)
    sides = torch.stack([halves, ~halves], dim=1).to(points.dtype)  # (n_splits, 2, S)
    total = torch.einsum("hsa,ab,hsb->hs", sides, pairs, sides)
    return total / torch.einsum("hsa,ab,hsb->hs", sides, between, sides)


def participation_ratio(gram: Tensor) -> float:
    """Unbiased participation ratio (tr S)^2 / tr S^2 from a Gram matrix (n, n); NaN where it is undefined.

    Numerator and denominator are U-statistics: tr S^2 is the unbiased HSIC of the kernel with itself. The naive
    ratio of sample eigenvalues is biased by about 1/N: 144 for 200 Gaussian dimensions at N = 512.
    """
    n = len(gram)
    if n < 4:
        return math.nan
    diagonal = gram.diagonal()
    row_sums = gram.sum(1)
    trace, total = float(diagonal.sum()), float(row_sums.sum())
    squares = float(torch.dot(gram.flatten(), gram.flatten())) - float(diagonal.square().sum())
    return _unbiased_ratio(n, trace, total, squares, float((row_sums - diagonal).square().sum()))


def participation_ratios(points: Tensor, members: Tensor) -> list[float]:
    """`participation_ratio` of several large subsets of one cloud, each lacking few points of the first.

    points (n, n_dims) fp32, members (n_sets, n) bool, members[0] a superset of the others. The second moment of a
    subset is that of the first set less that of the missing points, so all of them cost about two products.
    """
    points = points - points[members[0]].mean(0)
    squared_norms = points.square().sum(1)
    whole = points[members[0]]
    moment = whole.T @ whole
    ratios = []
    for member in members:
        missing = points[members[0] & ~member]
        rest = moment - missing.T @ missing
        kept, norms = points[member], squared_norms[member]
        n, total = len(kept), kept.sum(0)
        squares = float(torch.dot(rest.flatten(), rest.flatten())) - float(norms.square().sum())
        off_diagonal = kept @ total - norms
        ratios.append(_unbiased_ratio(n, float(norms.sum()), float(total @ total), squares,
                                      float(off_diagonal.square().sum())))  # fmt: skip
    return ratios


def _unbiased_ratio(n: int, trace: float, total: float, squares: float, row_squares: float) -> float:
    """From sum K_ii, sum K_ij, the sum of K_ij^2 over i != j, and sum_i (sum_{j != i} K_ij)^2."""
    if n < 4:
        return math.nan
    off = total - trace
    second = (squares + off * off / ((n - 1) * (n - 2)) - 2 / (n - 2) * row_squares) / (n * (n - 3))
    first = (n * trace - total) / (n * (n - 1))
    return _ratio(first * first, second)


def _ratio(numerator: float, denominator: float) -> float:
    return numerator / denominator if denominator > 0 and numerator > 0 else math.nan
