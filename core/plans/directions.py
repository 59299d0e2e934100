"""Needed directions: the smallest rank of a projection after a layer under which the loss stays within a budget.

States x become m + P (x - m), with m their mean and P the projection onto their leading principal components. These are
the directions of largest variance, not those that the loss needs most: the rank is an upper bound, "directions that
suffice". Position 0 and tokens of a large norm stay as they are. For comparison, the rank is also priced with these
projected, and so is a random subspace of that rank.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from core.analysis.intervals import Difference
from core.geometry.second_order import d2
from core.plans.pricing import Pricer, ReportPasses, loss_increase
from core.plans.variants import Network, Projection, Variant, layer_states
from core.texts.sample import TokenWindows

NORM_FACTOR = 3.0
"""A token counts as large beyond this multiple of the layer's median norm, as in a measurement."""
TOKENS_PER_DIMENSION = 10
MOST_LAYERS = 7
RESOLUTION = 64
"""The rank is determined to within the hidden size divided by this."""
COVARIANCE_BUDGET = 2**30
"""Bytes that the covariances of all layers may take together; where they take more, layers are not projected jointly."""
D2_TOKENS = 4096
SHARE_OF_PASS = 0.6
"""Cost of pricing one rank as a share of a full pass: the pass starts at the projected layer."""


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
        """The projection onto the leading `rank` directions; large tokens stay as they are if `keep_large`."""
        return Projection(self.mean, self.directions[:, :rank], self.limit if keep_large else None)

    def random(self, rank: int, seed: int) -> Projection:
        """The projection onto a random subspace of this rank."""
        generator = torch.Generator().manual_seed(seed)
        gaussian = torch.randn(len(self.mean), rank, generator=generator)
        basis = torch.linalg.qr(gaussian)[0].to(self.mean)
        return Projection(self.mean, basis, self.limit)


@dataclass(frozen=True)
class NeededDirections:
    """What projecting one layer costs, or all layers together."""

    layer: int | None
    """None: all layers at once."""
    rank: int | None
    """The smallest rank whose upper limit is under the budget; None if none that was tried is."""
    prices: dict[int, Difference]
    """Rank -> loss increase."""
    random: Difference | None = None
    """Loss increase under a random subspace of that rank."""
    including_large: Difference | None = None
    """Loss increase with large-norm tokens and position 0 projected as well."""
    d2: float | None = None
    at_d2: Difference | None = None
    """Loss increase under the projection onto d2 directions, rounded."""


def layers_to_try(n_layers: int) -> list[int]:
    """At most seven, spread over the depth, from the embedding to the layer before the last block."""
    return sorted({round(x) for x in np.linspace(0, n_layers - 1, min(MOST_LAYERS, n_layers))})


@torch.inference_mode()
def principal_components(
    network: Network, windows: TokenWindows, layers: Sequence[int], report: ReportPasses = lambda done: None
) -> dict[int, Components]:
    """Components of each layer from the retained tokens of these windows.

    Two passes: the first for the median norm, the second for mean, covariance and d2.
    """
    model, n = network.model, network.model.hidden_size
    norms: dict[int, list[Tensor]] = {layer: [] for layer in layers}
    n_read, n_windows = 0, len(windows.ids)
    for batch in layer_states(network, windows, layers):
        for layer in layers:
            norms[layer].append(torch.linalg.vector_norm(batch[layer], dim=-1)[:, 1:].flatten().cpu())
        n_read += len(batch[layers[0]])
        report(n_read / n_windows)
    limits = {layer: NORM_FACTOR * float(torch.cat(norms[layer]).median()) for layer in layers}
    sums = {layer: torch.zeros(n, dtype=torch.float64) for layer in layers}
    products = {layer: torch.zeros(n, n, dtype=torch.float64) for layer in layers}
    counts = dict.fromkeys(layers, 0)
    samples: dict[int, list[tuple[Tensor, Tensor]]] = {layer: [] for layer in layers}
    n_done = 0
    for batch in layer_states(network, windows, layers):
        for layer in layers:
            states = batch[layer]
            keep = torch.linalg.vector_norm(states, dim=-1) <= limits[layer]
            keep[:, 0] = False
            points = states[keep].float()
            sums[layer] += points.sum(0).cpu().double()
            products[layer] += (points.T @ points).cpu().double()
            counts[layer] += len(points)
            if n_done * states.shape[1] < D2_TOKENS:
                sequence_ids = (
                    torch.arange(len(states), device=states.device)[:, None].expand(keep.shape)[keep] + n_done
                )
                samples[layer].append((points.cpu(), sequence_ids.cpu()))
        n_done += len(states)
        report(1 + n_done / n_windows)
    result = {}
    for layer in layers:
        mean = sums[layer] / counts[layer]
        covariance = products[layer] / counts[layer] - torch.outer(mean, mean)
        directions = torch.linalg.eigh(covariance)[1].flip(1)
        points, sequences = (torch.cat(tensors) for tensors in zip(*samples[layer], strict=True))
        result[layer] = Components(
            mean.float().to(model.device),
            directions.float().to(model.device),
            limits[layer],
            d2(points, sequences)[0],
            counts[layer],
        )
    return result


def isotonic_limits(prices: dict[int, Difference]) -> dict[int, float]:
    """Upper limits of the prices, made non-increasing in the rank by isotonic regression."""
    from scipy.optimize import isotonic_regression  # slow to import, and not needed to read a plan

    ranks = sorted(prices)
    limits = isotonic_regression([prices[rank].upper for rank in ranks], increasing=False).x
    return dict(zip(ranks, limits.tolist(), strict=True))


def needed_directions(
    pricer: Pricer,
    components: dict[int, Components],
    layer: int | None,
    budget: float,
    seed: int = 0,
    report: Callable[[], None] = lambda: None,
) -> NeededDirections:
    """Needed directions of one layer, on the pricer's windows; `report` is called for each price.

    Without a layer, all are projected at once, each onto its own components, all of one rank: the width that a distilled
    student would need.
    """
    projected = components if layer is None else {layer: components[layer]}

    def price(project: Callable[[Components], Projection]) -> Difference:
        report()
        variant = Variant(projected={number: project(own) for number, own in projected.items()})
        return loss_increase(*pricer.scores([variant]))

    hidden_size = pricer.network.model.hidden_size
    rank, prices = _search_rank(lambda rank: price(lambda own: own.projection(rank)), hidden_size, budget)
    if layer is None:
        return NeededDirections(None, rank, prices)
    d2 = components[layer].d2
    rounded = max(1, min(round(d2), hidden_size)) if math.isfinite(d2) else None
    return NeededDirections(
        layer,
        rank,
        prices,
        at_d2=price(lambda own: own.projection(rounded)) if rounded else None,
        random=price(lambda own: own.random(rank, seed)) if rank else None,
        including_large=price(lambda own: own.projection(rank, keep_large=False)) if rank else None,
        d2=d2,
    )


def _search_rank(
    price: Callable[[int], Difference], max_rank: int, budget: float
) -> tuple[int | None, dict[int, Difference]]:
    """Bisect for the smallest rank whose upper limit is under the budget, from a few ranks on that also show the curve;
    None if there is none."""
    step = max(1, max_rank // RESOLUTION)
    prices = {rank: price(rank) for rank in sorted({max(1, max_rank // divisor) for divisor in (8, 4, 2, 1)})}
    while True:
        rank = min((rank for rank, upper in isotonic_limits(prices).items() if upper < budget), default=None)
        low = max((tried for tried in prices if rank is None or tried < rank), default=0)
        if rank is None or rank - low <= step:
            return rank, prices
        middle = (low + rank) // 2
        prices[middle] = price(middle)
