"""The number of directions that two layers share, from the second-order correlator between two layers.

C(l, m) is the mean of cos_l(i, j) cos_m(i, j), both centred, over token pairs from different sequences. Its population
value is |E[u v']|_F^2 >= 0 for a token's directions u, v at the two layers; C(l, l) = 1 / d2_l. Sample values may be
negative and are not clipped. By the Cauchy-Schwarz inequality the common dimension 1 / C is at least sqrt(d2_l d2_m).
If directions are orthogonal with equal variance, d2_l d2_m C(l, m) counts those present in both layers.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from core.geometry.pairs import COINCIDES

TILE = 64


@dataclass(frozen=True)
class CommonCorrelators:
    """C for all pairs of layers, its delete-one-block replicates, and its permutation null (tokens of one layer)."""

    whole: Tensor
    """(L, L) fp64; NaN if no pair is left."""
    blocks: Tensor
    """Without block 0, 1, ..., re-centred; (B, L, L)."""
    null: Tensor
    """Mean over all permutations; (L, L)."""
    null_spread: Tensor
    """Standard deviation over all permutations; (L, L)."""


def common_correlators(
    kernels: Sequence[Tensor], norms: Tensor, sequences: Tensor, block_of: Tensor
) -> CommonCorrelators:
    """C for all pairs of layers on the same n points.

    kernels: one centred Gram matrix per layer, (n, n) with a zero diagonal, on any scale; norms (L, n): the diagonals;
    sequences (n,); block_of (n, B) one-hot. Each subset is centred on its own mean: x - mu has the inner products
    K_ij - a_i - a_j + mu.mu with a_i = x_i.mu, so the points themselves are not needed.
    """
    n = norms.shape[1]
    members = torch.cat([torch.ones(n, 1), 1 - block_of], dim=1).T  # (1 + B, n)
    shifts = _shifts(kernels, norms, block_of)  # (1 + B, L, n)
    squared = norms - 2 * shifts
    valid = (squared > COINCIDES * squared.amax(2, keepdim=True)) & (members[:, None] > 0)
    scales = torch.where(valid, squared.clamp_min(1e-30).rsqrt(), 0.0)
    products, row_sums = _sums(kernels, shifts, scales, sequences)
    values = products / _pairs(valid, sequences)
    null, spread = _permuted(products[0], row_sums, _pairs(valid[:1], sequences)[0])
    return CommonCorrelators(values[0], values[1:], null, spread)


def _shifts(kernels: Sequence[Tensor], norms: Tensor, block_of: Tensor) -> Tensor:
    """x_i.mu - mu.mu / 2 for each subset's mean mu; subtracting it from row i and column i centres the kernel.

    Returns (1 + B, L, n).
    """
    left = len(block_of) - block_of.sum(0)  # remaining points, (B,)
    # All points have mean 0, so the mean of the remaining points is minus the sum of the others over their number.
    along = torch.stack([kernel @ block_of for kernel in kernels]) + norms[:, :, None] * block_of  # (L, n, B)
    along = -along / left
    own = -(along * block_of).sum(1) / left  # mu.mu, (L, B)
    moved = (along - own[:, None] / 2).permute(2, 0, 1)
    return torch.cat([torch.zeros_like(moved[:1]), moved])


def _sums(kernels: Sequence[Tensor], shifts: Tensor, scales: Tensor, sequences: Tensor) -> tuple[Tensor, Tensor]:
    """Sums of cos_l cos_m over ordered pairs of different sequences, (1 + B, L, L), and of cos_l per token, (L, n).

    A tile of rows uses only the columns from its own start on, so that each pair is computed once.
    """
    n_sets, n_layers, n = shifts.shape
    products = torch.zeros(n_sets, n_layers, n_layers, dtype=torch.float64)
    row_sums = torch.zeros(n_layers, n, dtype=torch.float64)
    positions = torch.arange(n)
    for start in range(0, n, TILE):
        rows, columns = slice(start, min(start + TILE, n)), slice(start, n)
        tile = torch.stack([kernel[rows, columns] for kernel in kernels])  # (L, rows, columns)
        differ = sequences[rows, None] != sequences[None, columns]
        counted = (differ & (positions[None, columns] > positions[rows, None])).to(tile.dtype)
        cosines = torch.empty_like(tile)
        for s in range(n_sets):
            torch.sub(tile, shifts[s][:, rows, None], out=cosines)
            cosines.sub_(shifts[s][:, None, columns])
            cosines.mul_(scales[s][:, rows, None]).mul_(scales[s][:, None, columns]).mul_(counted)
            flat = cosines.flatten(1)
            products[s] += 2 * (flat @ flat.T)
            if s == 0:
                row_sums[:, rows] += cosines.sum(2)
                row_sums[:, columns] += cosines.sum(1)
    return products, row_sums


def _pairs(valid: Tensor, sequences: Tensor) -> Tensor:
    """Number of ordered pairs of different sequences whose points have a direction at both layers; (n_sets, L, L).

    valid (n_sets, L, n) bool. NaN if there is no pair.
    """
    _, label = torch.unique(sequences, return_inverse=True)
    of_sequence = torch.nn.functional.one_hot(label).float()  # (n, S)
    counts = []
    for held in valid.float():
        within = (held[:, None] * held[None]) @ of_sequence  # (L, L, S)
        within = within.double()
        counts.append(within.sum(2).square() - within.square().sum(2))
    pairs = torch.stack(counts)
    return torch.where(pairs > 0, pairs, torch.nan)


def _permuted(products: Tensor, row_sums: Tensor, pairs: Tensor) -> tuple[Tensor, Tensor]:
    """Exact mean and standard deviation of C over all permutations of the tokens of one layer (Mantel 1967).

    For two symmetric matrices with zero diagonal, the moments of sum a_ij b_p(i)p(j) over ordered pairs follow from the
    sums of their entries, squared entries and squared row sums. Pairs within a sequence are zero in both matrices; the
    number of counted pairs is replaced by its mean.
    """
    n = row_sums.shape[1]
    total, squares = row_sums.sum(1), products.diagonal()
    touching = row_sums.square().sum(1) - squares  # entries that share one index
    apart = total.square() - 2 * squares - 4 * touching
    mean = total[:, None] * total / (n * (n - 1))
    second = (
        2 * squares[:, None] * squares / (n * (n - 1))
        + 4 * touching[:, None] * touching / (n * (n - 1) * (n - 2))
        + apart[:, None] * apart / (n * (n - 1) * (n - 2) * (n - 3))
    )
    counted = pairs.square() / (n * (n - 1))
    return mean / counted, (second - mean.square()).clamp_min(0).sqrt() / counted
