"""Needed directions: the smallest rank of a projection after a layer under which the loss stays within a budget.

States x become m + P (x - m), with m their mean and P the projection onto their leading principal components. These are
the directions of largest variance, not those that the loss needs most: the rank is an upper bound, "directions that
suffice". Position 0 and tokens of a large norm stay as they are; what the rank costs when they are projected too is told
beside it, and so is what a random subspace of that rank costs.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from core.geometry.second_order import d2
from core.plans.pricing import Difference, Pricer, loss_increase
from core.plans.variants import Network, Projection, States, Variant, run_whole
from core.texts.sample import TokenWindows

NORM_FACTOR = 3.0
"""A token is large beyond so many times the layer's median norm, as in a measurement."""
TOKENS_PER_DIMENSION = 10
MOST_LAYERS = 7
RESOLUTION = 64
"""The rank is found to the hidden size over this."""
COVARIANCE_BUDGET = 2**30
"""Bytes that the covariances of all layers may take together; where they take more, layers are not projected jointly."""
D2_TOKENS = 4096
SHARE_OF_PASS = 0.6
"""Of a pass of the whole network, what the price of one rank is taken to be: it begins at its layer."""


@dataclass(frozen=True)
class Components:
    """Principal components of the states of one layer."""

    mean: Tensor
    """(hidden_size,)"""
    directions: Tensor
    """Columns, that of the largest variance first; (hidden_size, hidden_size)"""
    limit: float
    """Norm from which a token counts as large."""
    d2: float
    n_tokens: int

    def projection(self, rank: int, keep_large: bool = True) -> Projection:
        return Projection(self.mean, self.directions[:, :rank], self.limit if keep_large else None)

    def random(self, rank: int, seed: int) -> Projection:
        generator = torch.Generator().manual_seed(seed)
        drawn = torch.randn(len(self.mean), rank, generator=generator)
        basis = torch.linalg.qr(drawn)[0].to(self.mean)
        return Projection(self.mean, basis, self.limit)


@dataclass(frozen=True)
class NeededDirections:
    """What projecting one layer costs, or all of them together."""

    layer: int | None
    """None is: all layers at once."""
    rank: int | None
    """The smallest whose upper limit is under the budget; None where not even the largest that was tried is."""
    prices: dict[int, Difference]
    """Rank -> loss increase."""
    random: Difference | None = None
    """Of a random subspace of that rank."""
    including_large: Difference | None = None
    """With large-norm tokens and position 0 projected as well."""
    d2: float | None = None
    at_d2: Difference | None = None
    """Of the projection onto as many directions as d2 says."""


def layers_to_try(n_layers: int) -> list[int]:
    """At most seven, spread over the depth, from the embedding to the layer before the last block."""
    return sorted({round(x) for x in np.linspace(0, n_layers - 1, min(MOST_LAYERS, n_layers))})


@torch.inference_mode()
def principal_components(network: Network, windows: TokenWindows, layers: Sequence[int]) -> dict[int, Components]:
    """Of the retained tokens of these windows: two passes, the first for the median norm."""
    model, n = network.model, network.model.hidden_size
    norms: dict[int, list[Tensor]] = {layer: [] for layer in layers}
    for found in _layer_states(network, windows, layers):
        for layer in layers:
            norms[layer].append(torch.linalg.vector_norm(found[layer], dim=-1)[:, 1:].flatten().cpu())
    limits = {layer: NORM_FACTOR * float(torch.cat(norms[layer]).median()) for layer in layers}
    sums = {layer: torch.zeros(n, dtype=torch.float64) for layer in layers}
    products = {layer: torch.zeros(n, n, dtype=torch.float64) for layer in layers}
    counts = dict.fromkeys(layers, 0)
    samples: dict[int, list[tuple[Tensor, Tensor]]] = {layer: [] for layer in layers}
    n_done = 0
    for found in _layer_states(network, windows, layers):
        for layer in layers:
            states = found[layer]
            keep = torch.linalg.vector_norm(states, dim=-1) <= limits[layer]
            keep[:, 0] = False
            kept = states[keep].float()
            sums[layer] += kept.sum(0).cpu().double()
            products[layer] += (kept.T @ kept).cpu().double()
            counts[layer] += len(kept)
            if n_done * states.shape[1] < D2_TOKENS:
                own = torch.arange(len(states), device=states.device)[:, None].expand(keep.shape)[keep] + n_done
                samples[layer].append((kept.cpu(), own.cpu()))
        n_done += len(states)
    result = {}
    for layer in layers:
        mean = sums[layer] / counts[layer]
        covariance = products[layer] / counts[layer] - torch.outer(mean, mean)
        directions = torch.linalg.eigh(covariance)[1].flip(1)
        points, sequences = (torch.cat(parts) for parts in zip(*samples[layer], strict=True))
        result[layer] = Components(
            mean.float().to(model.device),
            directions.float().to(model.device),
            limits[layer],
            d2(points, sequences)[0],
            counts[layer],
        )
    return result


def _layer_states(network: Network, windows: TokenWindows, layers: Sequence[int]):
    """The states of these layers, batch by batch."""
    batch = network.model.batch
    with network.hooked():
        for start in range(0, len(windows.ids), batch):
            keep = States(frozenset(layers))
            run_whole(network, torch.from_numpy(windows.ids[start : start + batch]).to(network.model.device), keep)
            yield keep.states


def isotonic_limits(prices: dict[int, Difference]) -> dict[int, float]:
    """Upper limits that never rise with the rank."""
    from scipy.optimize import isotonic_regression  # which nobody who only reads a plan needs

    ranks = sorted(prices)
    limits = isotonic_regression([prices[rank].upper for rank in ranks], increasing=False).x
    return dict(zip(ranks, limits.tolist(), strict=True))


def smallest_rank(prices: dict[int, Difference], budget: float) -> int | None:
    fitting = [rank for rank, upper in isotonic_limits(prices).items() if upper < budget]
    return min(fitting) if fitting else None


def needed_directions(
    pricer: Pricer, found: Components, layer: int, budget: float, seed: int, report: Callable[[], None] = lambda: None
) -> NeededDirections:
    """One layer, on the pricer's windows; `report` is called for each rank that was tried."""

    def price(projection: Projection) -> Difference:
        report()
        return _price(pricer, {layer: projection})

    rank, prices = _search_rank(lambda r: price(found.projection(r)), len(found.mean), budget)
    at_d2 = None
    if math.isfinite(found.d2):
        at_d2 = price(found.projection(max(1, min(round(found.d2), len(found.mean)))))
    if rank is None:
        return NeededDirections(layer, None, prices, d2=found.d2, at_d2=at_d2)
    return NeededDirections(
        layer,
        rank,
        prices,
        price(found.random(rank, seed)),
        price(found.projection(rank, keep_large=False)),
        found.d2,
        at_d2,
    )


def joint_directions(
    pricer: Pricer, found: dict[int, Components], budget: float, report: Callable[[], None] = lambda: None
) -> NeededDirections:
    """All layers at once, each onto its own components, all of one rank: what a student's width would have to be."""

    def price(rank: int) -> Difference:
        report()
        return _price(pricer, {layer: one.projection(rank) for layer, one in found.items()})

    rank, prices = _search_rank(price, len(next(iter(found.values())).mean), budget)
    return NeededDirections(None, rank, prices)


def _price(pricer: Pricer, projections: dict[int, Projection]) -> Difference:
    before, after = pricer.scores([Variant(projected=projections)])
    return loss_increase(before, after)


def _search_rank(price: Callable[[int], Difference], n: int, budget: float) -> tuple[int | None, dict[int, Difference]]:
    """Halves the interval in which the price falls below the budget, after a look at some ranks for the curve."""
    step = max(1, n // RESOLUTION)
    prices = {rank: price(rank) for rank in sorted({max(1, n // 8), max(1, n // 4), max(1, n // 2), n})}
    while True:
        found = smallest_rank(prices, budget)
        below = [rank for rank in prices if found is None or rank < found]
        low, high = max(below, default=0), found
        if high is None or high - low <= step:
            return found, prices
        middle = (low + high) // 2
        prices[middle] = price(middle)
