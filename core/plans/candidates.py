"""What can go: candidate sets of blocks (published rules, steps of the search), and directions that a layer does not need.

Blocks are numbered from 0. Rules are computed on the selection text, without position 0 (an atypical state in most
models) and without the state after the final norm.

Needed directions: the smallest rank of a projection after a layer under which the loss stays within a budget. States x
become m + P (x - m), with m their mean and P the projection onto their leading principal components. These are the
directions of largest variance, not those that the loss needs most: the rank is an upper bound, "directions that suffice".
Position 0 and tokens of a large norm stay as they are. For comparison, the rank is also priced with these projected, and
so is a random subspace of that rank.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from itertools import combinations, count

import numpy as np
import torch
from torch import Tensor

from core.analysis.intervals import Difference, mean_difference, windows_to_units
from core.geometry.second_order import d2
from core.plans.pricing import Blocks, Price, Pricer, Prices, ReportShare, Scores, loss_increase, price_sets
from core.plans.variants import ATTENTION, MLP, Network, Projection, Variant, layer_states
from core.records import stretches
from core.texts.sample import TokenWindows

SHORTLIST = 10
"""Number of blocks, cheapest alone, that the search considers; more if more than a third of them is to be removed."""
OFFSPRING = 6
"""Exchanges tried per round; the best one is kept."""
MOST_ROUNDS = 5
CONTIGUOUS_TRIED = 4
"""Number of contiguous stretches, those with the smallest angles, that are priced."""
N_RANDOM = 20
NO_RISE = 1e-5
"""Rounding error of the loss in single precision, in nats per token."""


@dataclass(frozen=True)
class Similarity:
    """How much blocks, and stretches of them, change the direction of hidden states."""

    influence: list[Difference]
    """1 - mean cosine between input and output of each block (ShortGPT, arXiv 2403.03853)."""
    angle: np.ndarray
    """Mean angle between layers l and m over pi, all tokens; (n_layers + 1, n_layers + 1)"""
    last_angle: np.ndarray
    """The same for the last token of each window (arXiv 2403.17887)."""


@torch.inference_mode()
def measure_similarity(network: Network, windows: TokenWindows, report: ReportShare = lambda done: None) -> Similarity:
    """Influence of each block and angles between all layers, in one pass over the windows."""
    n_blocks = network.n_blocks
    angle, last_angle = (torch.zeros(n_blocks + 1, n_blocks + 1, dtype=torch.float64) for _ in range(2))
    changes, counts = [], []
    n_tokens, n_windows = 0, len(windows.ids)
    for batch in layer_states(network, windows, range(n_blocks + 1)):
        # (n_batch, n_tokens - 1, n_layers + 1, hidden_size)
        states = torch.stack([batch[layer] for layer in range(n_blocks + 1)], dim=2)[:, 1:].float()
        unit = states / torch.linalg.vector_norm(states, dim=-1, keepdim=True).clamp(min=1e-30)
        for sequence in unit:  # one window at a time bounds memory
            cosines = (sequence @ sequence.transpose(1, 2)).clamp(-1, 1).cpu().double()
            changes.append((1 - cosines.diagonal(1, 1, 2)).sum(0))  # (n_blocks,)
            counts.append(len(sequence))
            angles = cosines.arccos() / math.pi
            angle += angles.sum(0)
            last_angle += angles[-1]
            n_tokens += len(sequence)
        report(len(counts) / n_windows)
    changes_per_window = torch.stack(changes).numpy()  # (n_windows, n_blocks)
    units, n_counted = windows_to_units(windows.documents), np.array(counts, dtype=float)
    influence = [mean_difference(of_block, n_counted, units) for of_block in changes_per_window.T]
    return Similarity(influence, (angle / n_tokens).numpy(), (last_angle / n_windows).numpy())


@dataclass(frozen=True)
class Candidate:
    """A set of blocks and the rule that proposes it."""

    rule: str
    blocks: Blocks


def smallest_angles(angle: np.ndarray, n: int, n_best: int) -> list[Blocks]:
    """Stretches of n blocks, sorted by the angle between their ends, smallest first."""
    order = np.argsort(np.diagonal(angle, n), kind="stable")
    return [tuple(range(int(start), int(start) + n)) for start in order[:n_best]]


def published_candidates(similarity: Similarity, n: int) -> list[Candidate]:
    """The choices of published rules: least influence, smallest angles, and several contiguous stretches to be priced."""
    order = np.argsort([influence.value for influence in similarity.influence], kind="stable")
    smallest, *contiguous = smallest_angles(similarity.angle, n, CONTIGUOUS_TRIED)
    return [
        Candidate("influence", tuple(sorted(map(int, order[:n])))),  # ShortGPT
        Candidate("last_angle", smallest_angles(similarity.last_angle, n, 1)[0]),
        Candidate("angle", smallest),
        *(Candidate("contiguous", blocks) for blocks in contiguous),
    ]


def cost_order(price: Price) -> tuple[float, float]:
    """Least loss increase first. Increases below rounding error count as equal; then the least divergence comes first."""
    return max(NO_RISE, price.increase.value), price.divergence.value


def shortlist(costs: Sequence[float], n: int) -> list[int]:
    """The blocks that are cheapest alone, cheapest first; enough of them to choose n."""
    size = min(len(costs), max(SHORTLIST, 3 * n))
    return [int(block) for block in np.argsort(costs, kind="stable")[:size]]


def next_step(
    pricer: Pricer, removed: Collection[int], pool: Sequence[int], report: ReportShare = lambda done: None
) -> Price:
    """Remove the block of the pool that changes the predictions least, given the removed ones: costs are not additive.

    Compared by divergence, since the cost of one block is small beside the scatter of the loss over tokens.
    """
    sets = [(*removed, block) for block in pool if block not in removed]
    return min(price_sets(pricer, sets, report, removed), key=lambda price: price.divergence.value)


def list_exchanges(blocks: Sequence[int], pool: Collection[int], costs: Sequence[float]) -> list[Blocks]:
    """Every set with one removed block exchanged for another, sorted by the sum of single costs.

    The newly removed block is one of the pool, or a neighbour of the restored one. `costs`: of each block alone.
    """
    removed = set(blocks)
    exchanges = []
    for restored in blocks:
        neighbours = {block for block in (restored - 1, restored + 1) if 0 <= block < len(costs)}
        exchanges += [tuple(sorted(removed - {restored} | {block})) for block in ({*pool} | neighbours) - removed]
    return sorted({*exchanges}, key=lambda exchange: (sum(costs[block] for block in exchange), exchange))


def random_sets(n_blocks: int, n: int, seed: int, apart_from: Collection[int] = ()) -> list[Blocks]:
    """At most N_RANDOM distinct random sets of n blocks, without the set `apart_from`; all sets if there are no more."""
    excluded = tuple(sorted(apart_from))
    if math.comb(n_blocks, n) - 1 <= N_RANDOM:
        return [blocks for blocks in combinations(range(n_blocks), n) if blocks != excluded]
    generator = np.random.default_rng([seed, 16])
    sets: dict[Blocks, None] = {}
    while len(sets) < N_RANDOM:
        blocks = tuple(sorted(int(i) for i in generator.choice(n_blocks, n, replace=False)))
        if blocks != excluded:
            sets[blocks] = None
    return list(sets)


@dataclass(frozen=True)
class Choice:
    """The chosen candidate, and the sets that are statistically as good."""

    chosen: Candidate
    equal: frozenset[Blocks]
    """Sets whose cost does not differ significantly from the lowest, the chosen one included."""


def choose_simplest(candidates: Sequence[Candidate], prices: Prices) -> Choice:
    """Of the candidates that do not differ significantly from the cheapest, the one with the fewest stretches; on ties the
    cheapest. Compared window by window in loss and divergence."""
    best = min((prices[candidate.blocks] for candidate in candidates), key=cost_order).scores

    def is_equal(found: Scores) -> bool:
        apart = found.loss - best.loss, found.divergence - best.divergence
        return not any(best.mean(sums).lower > 0 for sums in apart)

    equal = [candidate for candidate in candidates if is_equal(prices[candidate.blocks].scores)]
    chosen = min(equal, key=lambda one: (len(stretches(one.blocks)), cost_order(prices[one.blocks])))
    return Choice(chosen, frozenset(candidate.blocks for candidate in equal))


def distinct_sets(candidates: Iterable[Candidate]) -> list[Candidate]:
    """Each set once, with the first rule that proposes it."""
    first_by_blocks: dict[Blocks, Candidate] = {}
    for candidate in candidates:
        first_by_blocks.setdefault(candidate.blocks, candidate)
    return list(first_by_blocks.values())


def sublayer_singles(network: Network) -> list[tuple[str, int, Variant]]:
    """(kind, block, variant) without each single attention, then without each single MLP; empty if there are none."""
    blocks = range(network.n_blocks if network.sublayers else 0)
    without_attention = [(ATTENTION, block, Variant(attention=frozenset({block}))) for block in blocks]
    return without_attention + [(MLP, block, Variant(mlp=frozenset({block}))) for block in blocks]


# --- needed directions -----------------------------------------------------------------------------------------------

NORM_FACTOR = 3.0
"""A token counts as large beyond this multiple of the layer's median norm, as in a measurement."""
TOKENS_PER_DIMENSION = 10
MOST_LAYERS = 7
RESOLUTION = 64
"""The rank is determined to within the hidden size divided by this."""
COVARIANCE_BUDGET = 2**30
"""Bytes that the covariances of all layers may take together; where they take more, layers are not projected jointly."""
D2_TOKENS = 4096
RANKS = 12
"""How many ranks are priced of a layer, about."""
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
class Projected:
    """What it costs to project one layer, or all layers together."""

    rule: str
    rank: int
    price: Difference
    """Loss increase."""
    is_chosen: bool = False
    """Whether it is the smallest rank whose upper limit is under the budget."""


def layers_to_try(n_layers: int) -> list[int]:
    """At most seven, spread over the depth, from the embedding to the layer before the last block."""
    return sorted({round(x) for x in np.linspace(0, n_layers - 1, min(MOST_LAYERS, n_layers))})


@torch.inference_mode()
def principal_components(
    network: Network, windows: TokenWindows, layers: Sequence[int], report: ReportShare = lambda done: None
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
        report(n_read / n_windows / 2)
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
        report((1 + n_done / n_windows) / 2)
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
    report: ReportShare = lambda done: None,
) -> list[Projected]:
    """Every rank that was priced in the search for the needed directions of one layer, on the pricer's windows; beside it a
    random subspace of the rank that was found, that rank with large-norm tokens and position 0 projected as well, and d2.

    Without a layer, all are projected at once, each onto its own components, all of one rank: the width that a distilled
    student would need.
    """
    projected, tried = components if layer is None else {layer: components[layer]}, count()

    def price(project: Callable[[Components], Projection]) -> Difference:
        report(next(tried) / RANKS)
        variant = Variant(projected={number: project(own) for number, own in projected.items()})
        return loss_increase(*pricer.scores([variant]))

    hidden_size = pricer.network.model.hidden_size
    rank, prices = _search_rank(lambda rank: price(lambda own: own.projection(rank)), hidden_size, budget)
    rule = "joint_projection" if layer is None else "projection"
    found = [Projected(rule, one, prices[one], one == rank) for one in sorted(prices)]
    if layer is None:
        return found
    if rank:
        found += [
            Projected("random_subspace", rank, price(lambda own: own.random(rank, seed))),
            Projected("projection_of_all", rank, price(lambda own: own.projection(rank, keep_large=False))),
        ]
    if math.isfinite(components[layer].d2):
        rounded = max(1, min(round(components[layer].d2), hidden_size))
        found.append(Projected("projection_d2", rounded, price(lambda own: own.projection(rounded))))
    return found


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
