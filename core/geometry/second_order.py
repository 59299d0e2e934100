"""Global dimensions from second-order correlators: d2 and the unbiased participation ratio.

d2 = 1 / mean of cos^2 over pairs of centred points from different sequences. It is the participation ratio of the
covariance of directions, with the diagonal removed: no 1/N bias, no weight for large norms (method: squared cosine
between distinct tokens; for isotropic points in d dimensions E cos^2 = 1/d exactly, so d2 = d).
"""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

COINCIDES = 1e-6
"""Points whose squared distance to the mean is below this share of the largest have no direction: it is round-off."""


def d2(points: Tensor, sequences: Tensor) -> tuple[float, float]:
    """(d2 without pairs of one sequence, d2 of all pairs) of points (n, n_dims) fp32, centred here.

    sequences (n,) int64, not negative. A point that coincides with the mean has no direction and is left out; NaN
    where no pair is left.
    """
    points = centred(points)
    squared_norms = points.square().sum(1)
    valid = squared_norms > COINCIDES * squared_norms.max()
    directions = points[valid] * squared_norms[valid].rsqrt()[:, None]
    n, n_dims = directions.shape
    if n < 3:
        return math.nan, math.nan
    product = directions @ directions.T if n <= n_dims else directions.T @ directions
    total = float(torch.dot(product.flatten(), product.flatten()))
    labels = sequences[valid]
    counts = torch.bincount(labels)
    within = float((counts == 1).sum())  # a point with itself has cosine 1
    for rows in torch.argsort(labels).split([c for c in counts.tolist() if c]):
        if len(rows) > 1:
            own = directions[rows]
            within += float((own @ own.T).square().sum())
    return _ratio(n * n - int((counts * counts).sum()), total - within), _ratio(n * n - n, total - n)


def centred(points: Tensor, members: Tensor | None = None) -> Tensor:
    """Points less the mean of the members (of all); exactly zero where they differ by round-off alone."""
    moved = points - (points if members is None else points[members]).mean(0)
    size, spread = points.square().sum(1).max(), moved.square().sum(1).max()
    return moved if float(spread) > 1e-11 * float(size) else torch.zeros_like(moved)


def halves_of_sequences(sequences: Tensor, between: Tensor, halves: Tensor) -> Tensor:
    """d2 of both halves of each split, (n_splits, 2): rows of one cloud, centred once on the cloud's own mean.

    sequences (n,) of the cloud's points, in 0..S-1; between (S, S) sums of squared cosines between two sequences;
    halves (n_splits, S) bool. Centring each half on its own mean would lower d2 where sequences cluster, 7 percent at
    the last layer of a real encoder, and so inflate a contraction.
    """
    counts = torch.bincount(sequences, minlength=halves.shape[1]).to(between.dtype)
    pairs = counts[:, None] * counts[None, :]
    between = between.clone()
    for matrix in (between, pairs):
        matrix.fill_diagonal_(0)
    sides = torch.stack([halves, ~halves], dim=1).to(between.dtype)  # (n_splits, 2, S)
    total = torch.einsum("hsa,ab,hsb->hs", sides, pairs, sides)
    return total / torch.einsum("hsa,ab,hsb->hs", sides, between, sides)


def leading_components(points: Tensor, members: Tensor, n_components: int) -> Tensor:
    """Leading principal directions of each subset, (n_sets, n_components, n_dims), by subspace iteration.

    points (n, n_dims), members (n_sets, n) bool with the whole cloud first. The whole cloud's directions start the
    others, which lack a sixteenth of it: two steps then suffice.
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
    # Decompositions of such small matrices run on the CPU: not every device has them.
    _, rotation = torch.linalg.eigh((scores.transpose(1, 2) @ scores).cpu().double())  # ascending
    return (each @ rotation.to(points)).transpose(1, 2).flip(1)[:, :n_components]


def participation_ratio(points: Tensor) -> float:
    """Unbiased participation ratio (tr S)^2 / tr S^2 of points (n, n_dims); NaN where it is undefined.

    Numerator and denominator are U-statistics: tr S^2 is the unbiased HSIC of the kernel with itself. The naive
    ratio of sample eigenvalues is biased by about 1/N: 144 for 200 Gaussian dimensions at N = 512.
    """
    points = centred(points)
    everything = torch.ones(1, len(points), dtype=torch.bool, device=points.device)
    if len(points) > points.shape[1]:
        moment = points.T @ points
        squares = torch.dot(moment.flatten(), moment.flatten())[None]
    else:
        gram = points @ points.T
        squares = torch.dot(gram.flatten(), gram.flatten())[None]
    return float(participation_ratios(points, everything, squares)[0])


def participation_ratios(points: Tensor, members: Tensor, squares: Tensor) -> np.ndarray:
    """`participation_ratio` of each subset; squares (n_sets,) sums of G_ij^2 over pairs of members, i = j included.

    It depends on differences of points alone, so the centring of the whole cloud serves every subset.
    """
    weight = members.to(points.dtype)
    n = weight.sum(1).cpu().double().numpy()
    norms = points.square().sum(1)
    totals = weight @ points  # (n_sets, n_dims)
    row_sums = (totals @ points.T - norms) * weight  # without the diagonal; (n_sets, n)
    trace, on_diagonal, total, of_rows, squared = (
        value.cpu().double().numpy()
        for value in (
            weight @ norms,
            weight @ norms.square(),
            totals.square().sum(1),
            row_sums.square().sum(1),
            squares,
        )
    )
    off = total - trace
    with np.errstate(divide="ignore", invalid="ignore"):
        second = squared - on_diagonal + off * off / ((n - 1) * (n - 2)) - 2 / (n - 2) * of_rows
        first = (n * trace - total) / (n * (n - 1))
        ratio = first * first / (second / (n * (n - 3)))
    return np.where((n >= 4) & (second > 0) & (first > 0), ratio, np.nan)


def _ratio(numerator: float, denominator: float) -> float:
    return numerator / denominator if denominator > 0 and numerator > 0 else math.nan
