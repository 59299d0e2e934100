"""Similarity of layers: measures between the states of the same tokens at two layers, as layer x layer matrices.

All use one seeded subsample of `one_per_type`, small enough that the data stored per layer fit a memory budget.
Errors come from a delete-one-block jackknife in which neighbours stay fixed.

The number of directions that two layers share comes from the second-order correlator between two layers: C(l, m) is the
mean of cos_l(i, j) cos_m(i, j), both centred, over token pairs from different sequences. Its population value is
|E[u v']|_F^2 >= 0 for a token's directions u, v at the two layers; C(l, l) = 1 / d2_l. Sample values may be negative and
are not clipped. By the Cauchy-Schwarz inequality the common dimension 1 / C is at least sqrt(d2_l d2_m). If directions are
orthogonal with equal variance, d2_l d2_m C(l, m) counts those present in both layers.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from core.geometry.clouds import Distribution, jackknife_error, none_if_nan
from core.geometry.second_order import COINCIDES
from core.tables import LayerPairRow

MAX_POINTS = 1024
NEIGHBOUR_SHARE = 100
"""Neighbourhood overlap uses the n / 100 nearest neighbours: at a fixed k it would depend on n."""


def points_within(budget: int, n_layers: int, hidden_size: int, available: int) -> int:
    """Number of points that fit the memory budget (bytes); a layer stores two sets of directions, a kernel and ranks.

    One kind at a time is copied into a stack of all layers, which is counted too. At least 64 points are used.
    """
    n = min(MAX_POINTS, available)
    while n > 64 and n_layers * (3 * n * hidden_size * 4 + n * n * (4 + 2) * 2) > budget:
        n = int(n * 0.9)
    return n


class LayerPairs:
    """Collects layers one by one, then computes all pairs, as rows of a run.

    rows (n,) of the tokens in the masked table; sequences and blocks (n,), one number per token.
    """

    def __init__(self, rows: np.ndarray, sequences: np.ndarray, blocks: np.ndarray, run_id: str = "") -> None:
        self.rows, self._run_id = rows, run_id
        self._sequences = torch.from_numpy(sequences)
        self._k = max(1, len(rows) // NEIGHBOUR_SHARE)
        numbers, label = np.unique(blocks, return_inverse=True)
        self._block_of = torch.nn.functional.one_hot(torch.from_numpy(label), len(numbers)).float()  # (n, B)
        self._centred: list[Tensor] = []
        self._raw: list[Tensor] = []
        self._lengths: list[Tensor] = []
        self._kernels: list[Tensor] = []
        self._norms: list[Tensor] = []
        self._ranks: list[Tensor] = []
        self._nearest: list[Tensor] = []

    @property
    def n_layers(self) -> int:
        return len(self._kernels)

    def add(self, points: Tensor) -> None:
        """Add the next layer's states of the tokens in `rows`, (n, hidden_size) fp32."""
        n = len(points)
        self._raw.append(torch.nn.functional.normalize(points, dim=1).cpu())
        self._lengths.append(points.norm(dim=1).cpu())
        points = points - points.mean(0)
        self._centred.append(torch.nn.functional.normalize(points, dim=1).cpu())
        kernel = points @ points.T
        norms = kernel.diagonal().clone()
        squared = norms[:, None] + norms[None, :] - 2 * kernel
        squared.fill_diagonal_(-torch.inf)  # the point itself comes first and is no neighbour
        order = squared.argsort(dim=1)
        ranks = torch.empty(n, n, dtype=torch.int16, device=points.device)
        ranks.scatter_(1, order, torch.arange(n, dtype=torch.int16, device=points.device).expand(n, n).contiguous())
        self._ranks.append(ranks.cpu())
        self._nearest.append(order[:, 1 : self._k + 1].clone().cpu())
        kernel.fill_diagonal_(0)
        scale = norms.mean().clamp_min(1e-30)
        self._kernels.append((kernel / scale).cpu())
        self._norms.append((norms / scale).cpu())

    def values(self) -> list[LayerPairRow]:
        """Every measure for every pair of layers, including layer_a = layer_b, where a measure is at its limit.

        Symmetric common-dimension measures are listed once, with layer_a <= layer_b.
        """
        found = []
        for measure, directions in (("autocorrelation", self._centred), ("autocorrelation_raw", self._raw)):
            whole, blocks = self._left_out(_cosines(directions))
            found += self._rows(measure, whole, _jackknife(blocks))
            if measure == "autocorrelation":
                moved, moved_blocks = 2 - 2 * whole, 2 - 2 * blocks
                found += [
                    *self._rows("displacement", moved, _jackknife(moved_blocks)),
                    *self._exponent(moved, moved_blocks),
                ]
        n = len(self.rows)
        nulls = {"neighbour_overlap": (self._k, self._k / (n - 1)), "information_imbalance": (1, 1.0)}
        for (measure, (k, null)), per_point in zip(nulls.items(), self._neighbour_overlap(), strict=True):
            whole, blocks = self._left_out(per_point)
            found += self._rows(measure, whole, _jackknife(blocks), k=k, null=null)
        whole, blocks = self._alignment()
        found += self._rows("cka", whole, _jackknife(blocks), null=0.0, spread=_spread_of_alignment(n))
        return found + self._common_dimensions()

    def distributions(self, layer: int) -> list[Distribution]:
        """Per token, from `layer` to the next: share of neighbours kept, displacement of the direction, and how much of the
        state the block between them has written (Sun et al. 2025, arXiv 2502.05795)."""
        kept = (self._ranks[layer + 1].gather(1, self._nearest[layer]) <= self._k).float().mean(1)
        moved = 2 - 2 * (self._centred[layer] * self._centred[layer + 1]).sum(1)
        before, after = self._lengths[layer], self._lengths[layer + 1]
        cosine = (self._raw[layer] * self._raw[layer + 1]).sum(1)
        written = (before.square() + after.square() - 2 * before * after * cosine).clamp_min(0).sqrt()
        return [
            Distribution("neighbours_kept", self.rows, kept.numpy()),
            Distribution("displacement", self.rows, moved.numpy()),
            Distribution("block_share", self.rows, (written / after.clamp_min(1e-30)).numpy()),
        ]

    def _common_dimensions(self) -> list[LayerPairRow]:
        """Common dimension and kept dimensions for all pairs of layers; removed and added dimensions for successive
        layers, from the first layer and to the last."""
        norms, n_layers = torch.stack(self._norms), self.n_layers
        whole, blocks, null, spread = common_correlators(self._kernels, norms, self._sequences, self._block_of)
        own, own_blocks = whole.diagonal(), blocks.diagonal(dim1=1, dim2=2)  # 1 / d2
        scale = own[:, None] * own
        kept, kept_blocks = whole / scale, blocks / (own_blocks[:, :, None] * own_blocks[:, None, :])
        positive = torch.where(whole > 0, whole, torch.nan)
        logs = torch.where(blocks > 0, blocks, torch.nan).log()
        removed, removed_blocks = 1 / own[:, None] - kept, 1 / own_blocks[:, :, None] - kept_blocks
        every = [(a, b) for a in range(n_layers) for b in range(a, n_layers)]
        steps = [(a, b) for a, b in every if b == a + 1 or (a < b and (a == 0 or b == n_layers - 1))]
        return [
            *self._rows("common_correlator", whole, _jackknife(blocks), every, null=null, spread=spread),
            *self._rows("common_dimension", 1 / positive, _jackknife(logs) / positive, every),
            *self._rows("kept", kept, _jackknife(kept_blocks), every, null=null / scale, spread=spread / scale),
            *self._rows("removed", removed, _jackknife(removed_blocks), steps),
            *self._rows("added", removed.T, _jackknife(removed_blocks).T, steps),
        ]

    def _rows(
        self,
        measure: str,
        whole: Tensor,
        errors: Tensor,
        pairs: Sequence[tuple[int, int]] = (),
        *,
        k: int | None = None,
        null: Tensor | float = math.nan,
        spread: Tensor | float = math.nan,
    ) -> list[LayerPairRow]:
        """Values of these pairs of layers, or of all; each tensor (L, L). `null` and `spread`: mean and standard deviation
        where the tokens of one layer are permuted."""
        nulls, spreads = (torch.as_tensor(one, dtype=torch.float64).expand_as(whole) for one in (null, spread))
        return [
            self._row(measure, k, at, whole[at], errors[at], nulls[at], spreads[at])
            for at in pairs or [(a, b) for a in range(len(whole)) for b in range(len(whole))]
        ]

    def _row(self, measure: str, k: int | None, layers: tuple[int, int], *numbers: Tensor | float) -> LayerPairRow:
        """`numbers`: value, its error, and those of permuted tokens, if any."""
        value, error, null, spread = (none_if_nan(float(one)) for one in (*numbers, math.nan, math.nan)[:4])
        return LayerPairRow(
            self._run_id, measure, "one_per_type", k, *layers, value, error, len(self.rows), null, spread
        )

    def _left_out(self, per_point: Tensor) -> tuple[Tensor, Tensor]:
        """Means over points (L, L), and delete-one-block means (B, L, L); per_point (n, L, L)."""
        sums = torch.einsum("nb,nlm->blm", self._block_of, per_point)
        counts = self._block_of.sum(0)
        total, n = sums.sum(0), float(counts.sum())
        return total / n, (total - sums) / (n - counts)[:, None, None]

    def _neighbour_overlap(self) -> tuple[Tensor, Tensor]:
        """Share of common neighbours, and 2/n times the rank at m of the nearest neighbour at l; each (n, L, L)."""
        ranks = torch.stack(self._ranks)  # (L, n, n)
        n, n_layers = ranks.shape[1], len(ranks)
        overlap, imbalance = torch.empty(n, n_layers, n_layers), torch.empty(n, n_layers, n_layers)
        for layer, neighbours in enumerate(self._nearest):
            at = ranks.gather(2, neighbours.expand(n_layers, -1, -1))  # (L, n, k): their ranks at every layer
            overlap[:, layer, :] = (at <= self._k).float().mean(2).T
            imbalance[:, layer, :] = 2 / n * at[:, :, 0].float().T
        return overlap, imbalance

    def _alignment(self) -> tuple[Tensor, Tensor]:
        """Linear CKA from unbiased HSIC (Song et al. 2012), on all points and without each block."""
        kernels = torch.stack(self._kernels)  # (L, n, n), zero diagonal
        n = kernels.shape[1]
        row_products = torch.stack([kernels[:, i] @ kernels[:, i].T for i in range(n)])  # (n, L, L)
        by_block = torch.einsum("nb,nlm->blm", self._block_of, row_products)
        row_sums = kernels.sum(2)  # (L, n)
        whole = _hsic(by_block.sum(0), row_sums, n)
        blocks = []
        for b in range(self._block_of.shape[1]):
            inside = self._block_of[:, b].bool()
            own = kernels[:, inside][:, :, inside].flatten(1)
            products = by_block.sum(0) - 2 * by_block[b] + own @ own.T
            kept = (row_sums - kernels[:, :, inside].sum(2))[:, ~inside]
            blocks.append(_hsic(products, kept, int((~inside).sum())))
        return _normalised_hsic(whole), torch.stack([_normalised_hsic(block) for block in blocks])

    def _exponent(self, whole: Tensor, blocks: Tensor) -> list[LayerPairRow]:
        """Slope of log displacement on log |l - m| over inner layers: 1 random walk, 2 straight, below 1 slowing."""
        last = len(whole) - 2
        if last < 3:
            return []
        a, b = (layers + 1 for layers in np.triu_indices(last, 1))
        x = np.log(b - a)

        def slope(matrix: Tensor) -> float:
            y = np.log(np.maximum(matrix.double().numpy()[a, b], 1e-12))
            return float(np.polyfit(x, y, 1)[0])

        error = jackknife_error(np.array([slope(block) for block in blocks]))
        return [self._row("displacement_exponent", None, (1, last), slope(whole), error)]


def _cosines(directions: list[Tensor]) -> Tensor:
    """Cosine between a token's states at two layers, for all pairs of layers; (n, L, L)."""
    stacked = torch.stack(directions, dim=1)  # (n, L, n_dims)
    return stacked @ stacked.transpose(1, 2)


def _hsic(products: Tensor, row_sums: Tensor, n: int) -> Tensor:
    """Unbiased HSIC of all pairs of kernels with zero diagonal; products (L, L) sums of K_ij L_ij, row_sums (L, n)."""
    totals = row_sums.sum(1)
    mixed = totals[:, None] * totals[None, :] / ((n - 1) * (n - 2)) - 2 / (n - 2) * (row_sums @ row_sums.T)
    return (products + mixed) / (n * (n - 3))


def _normalised_hsic(hsic: Tensor) -> Tensor:
    own = hsic.diagonal().clamp_min(0).sqrt()
    return torch.where(own[:, None] * own[None, :] > 0, hsic / (own[:, None] * own[None, :]), torch.nan)


def _spread_of_alignment(n: int) -> float:
    """Standard deviation of CKA over permutations of the tokens of one layer; it depends on n alone.

    Unbiased HSIC is the mean product of kernels whose rows sum to zero. Its permutation moments (Mantel 1967) are
    therefore multiples of both sums of squares, by which CKA divides.
    """
    pairs = n * (n - 1)
    return math.sqrt(2 / pairs + 4 / (pairs * (n - 2)) + 4 / (pairs * (n - 2) * (n - 3)))


def _jackknife(blocks: Tensor) -> Tensor:
    b = len(blocks)
    if b < 2:
        return torch.full(blocks.shape[1:], math.nan)
    return ((b - 1) / b * (blocks - blocks.mean(0)).square().sum(0)).sqrt()


# --- what two layers share -------------------------------------------------------------------------------------


TILE = 64
"""Rows of the kernels whose cosines are in memory at once."""


def common_correlators(
    kernels: Sequence[Tensor], norms: Tensor, sequences: Tensor, block_of: Tensor
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """C for all pairs of layers on the same n points, (L, L) fp64, NaN if no pair is left; C without block 0, 1, ...,
    re-centred, (B, L, L); and its mean and standard deviation over all permutations of the tokens of one layer, (L, L).

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
    return values[0], values[1:], *_permuted(products[0], row_sums, _pairs(valid[:1], sequences)[0])


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
        within = ((held[:, None] * held[None]) @ of_sequence).double()  # (L, L, S)
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
