"""How layers resemble each other: correlators between the same tokens at two layers, as layer x layer matrices.

All of them come from one seeded sub-sample of `one_per_type`, small enough that what is kept of every layer fits a
memory budget. Errors leave out one block of text at a time; neighbours are then kept as they are.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from core.geometry.results import Distribution, jackknife_error

MAX_POINTS = 1024
NEIGHBOUR_SHARE = 100
"""Neighbour overlap looks at the n / 100 nearest: at a fixed k it would depend on n."""


@dataclass(frozen=True)
class PairValue:
    measure: str
    k: int | None
    layer_a: int
    layer_b: int
    value: float
    std_error: float
    n_points: int


def points_within(budget: int, n_layers: int, hidden_size: int, available: int) -> int:
    """How many points the matrices may use; of each layer are kept directions twice, a kernel and a table of ranks.

    One kind at a time is copied into a stack of all layers, which is counted too. At least 64 points are used.
    """
    n = min(MAX_POINTS, available)
    while n > 64 and n_layers * (3 * n * hidden_size * 4 + n * n * (4 + 2) * 2) > budget:
        n = int(n * 0.9)
    return n


class LayerPairs:
    """Takes in one layer after the other, then gives all pairs. rows (n,) masked tokens; blocks (n,) of each."""

    def __init__(self, rows: np.ndarray, blocks: np.ndarray) -> None:
        self._rows = rows
        self._k = max(1, len(rows) // NEIGHBOUR_SHARE)
        numbers, label = np.unique(blocks, return_inverse=True)
        self._block_of = torch.nn.functional.one_hot(torch.from_numpy(label), len(numbers)).float()  # (n, B)
        self._centred: list[Tensor] = []
        self._raw: list[Tensor] = []
        self._kernels: list[Tensor] = []
        self._ranks: list[Tensor] = []
        self._nearest: list[Tensor] = []

    @property
    def n_layers(self) -> int:
        return len(self._kernels)

    def add(self, states: Tensor) -> None:
        """The next layer's states of all masked tokens, (n_tokens, hidden_size) fp32."""
        points = states[torch.from_numpy(self._rows).to(states.device)]
        n = len(points)
        self._raw.append(torch.nn.functional.normalize(points, dim=1).cpu())
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
        self._kernels.append((kernel / norms.mean().clamp_min(1e-30)).cpu())

    def values(self) -> list[PairValue]:
        """Every measure of every pair of layers; layer_a = layer_b included, where a measure is at its limit."""
        found = []
        for measure, directions in (("autocorrelation", self._centred), ("autocorrelation_raw", self._raw)):
            whole, blocks = self._left_out(_cosines(directions))
            found += self._rowed(measure, None, whole, blocks)
            if measure == "autocorrelation":
                found += self._rowed("displacement", None, 2 - 2 * whole, 2 - 2 * blocks)
                found += self._exponent(2 - 2 * whole, 2 - 2 * blocks)
        overlap, imbalance = self._of_neighbours()
        found += self._rowed("neighbour_overlap", self._k, *self._left_out(overlap))
        found += self._rowed("information_imbalance", 1, *self._left_out(imbalance))
        return found + self._rowed("cka", None, *self._alignment())

    def distributions(self, layer: int) -> list[Distribution]:
        """Per token from `layer` to the next: the share of its neighbours kept, and its directional displacement."""
        kept = (self._ranks[layer + 1].gather(1, self._nearest[layer]) <= self._k).float().mean(1)
        moved = 2 - 2 * (self._centred[layer] * self._centred[layer + 1]).sum(1)
        return [
            Distribution("neighbours_kept", self._rows, kept.numpy()),
            Distribution("displacement", self._rows, moved.numpy()),
        ]

    def _left_out(self, per_point: Tensor) -> tuple[Tensor, Tensor]:
        """Means over points (L, L), and over the points of all blocks but one (B, L, L); per_point (n, L, L)."""
        sums = torch.einsum("nb,nlm->blm", self._block_of, per_point)
        counts = self._block_of.sum(0)
        total, n = sums.sum(0), float(counts.sum())
        return total / n, (total - sums) / (n - counts)[:, None, None]

    def _of_neighbours(self) -> tuple[Tensor, Tensor]:
        """Share of common neighbours, and 2/n times the rank at layer m of the nearest neighbour at l; (n, L, L)."""
        ranks = torch.stack(self._ranks)  # (L, n, n)
        n, n_layers = ranks.shape[1], len(ranks)
        overlap, imbalance = torch.empty(n, n_layers, n_layers), torch.empty(n, n_layers, n_layers)
        for layer, neighbours in enumerate(self._nearest):
            at = ranks.gather(2, neighbours.expand(n_layers, -1, -1))  # (L, n, k): their ranks at every layer
            overlap[:, layer, :] = (at <= self._k).float().mean(2).T
            imbalance[:, layer, :] = 2 / n * at[:, :, 0].float().T
        return overlap, imbalance

    def _alignment(self) -> tuple[Tensor, Tensor]:
        """Linear CKA from unbiased HSIC (Song et al. 2012), whole and without each block."""
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
        return _aligned(whole), torch.stack([_aligned(block) for block in blocks])

    def _rowed(self, measure: str, k: int | None, whole: Tensor, blocks: Tensor) -> list[PairValue]:
        errors = _jackknife(blocks)
        n_layers = len(whole)
        return [
            PairValue(measure, k, a, b, float(whole[a, b]), float(errors[a, b]), len(self._rows))
            for a in range(n_layers)
            for b in range(n_layers)
        ]

    def _exponent(self, whole: Tensor, blocks: Tensor) -> list[PairValue]:
        """Slope of log displacement on log distance between inner layers: 1 random walk, 2 straight, less: slower."""
        last = len(whole) - 2
        if last < 3:
            return []
        a, b = np.triu_indices(last, 1)
        a, b = a + 1, b + 1
        x = np.log(b - a)

        def slope(matrix: Tensor) -> float:
            y = np.log(np.maximum(matrix.double().numpy()[a, b], 1e-12))
            return float(np.polyfit(x, y, 1)[0])

        error = jackknife_error(np.array([slope(block) for block in blocks]))
        return [PairValue("displacement_exponent", None, 1, last, slope(whole), error, len(self._rows))]


def _cosines(directions: list[Tensor]) -> Tensor:
    """Cosine of every token with itself at every two layers; (n, L, L)."""
    stacked = torch.stack(directions, dim=1)  # (n, L, n_dims)
    return stacked @ stacked.transpose(1, 2)


def _hsic(products: Tensor, row_sums: Tensor, n: int) -> Tensor:
    """Unbiased HSIC of every two kernels with zero diagonal; products (L, L) sums of K_ij L_ij, row_sums (L, n)."""
    totals = row_sums.sum(1)
    mixed = totals[:, None] * totals[None, :] / ((n - 1) * (n - 2)) - 2 / (n - 2) * (row_sums @ row_sums.T)
    return (products + mixed) / (n * (n - 3))


def _aligned(hsic: Tensor) -> Tensor:
    own = hsic.diagonal().clamp_min(0).sqrt()
    return torch.where(own[:, None] * own[None, :] > 0, hsic / (own[:, None] * own[None, :]), torch.nan)


def _jackknife(blocks: Tensor) -> Tensor:
    b = len(blocks)
    if b < 2:
        return torch.full(blocks.shape[1:], math.nan)
    return ((b - 1) / b * (blocks - blocks.mean(0)).square().sum(0)).sqrt()
