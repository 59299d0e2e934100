"""Candidate sets of blocks to remove: published rules, and the steps of the search.

Blocks are numbered from 0. Rules are computed on the selection text, without position 0 (an atypical state in most
models) and without the state after the final norm.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
import torch

from core.plans.pricing import Difference, Pricer, ReportPasses, Scores, divergence, loss_increase, ratio_difference
from core.plans.variants import Network, States, Variant, run_whole, without_blocks
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
def measure_similarity(network: Network, windows: TokenWindows, report: ReportPasses = lambda done: None) -> Similarity:
    n = network.n_blocks
    every = frozenset(range(n + 1))
    angle, last = (torch.zeros(n + 1, n + 1, dtype=torch.float64) for _ in range(2))
    turned, counts = [], []
    n_tokens, n_windows = 0, len(windows.ids)
    with network.hooked():
        for start in range(0, n_windows, network.model.batch):
            ids = torch.from_numpy(windows.ids[start : start + network.model.batch]).to(network.model.device)
            keep = States(every)
            run_whole(network, ids, keep)
            # (n_batch, n_tokens - 1, n_layers + 1, hidden_size)
            states = torch.stack([keep.states[layer] for layer in range(n + 1)], dim=2)[:, 1:].float()
            unit = states / torch.linalg.vector_norm(states, dim=-1, keepdim=True).clamp(min=1e-30)
            for sequence in unit:  # one window at a time bounds memory
                cosines = (sequence @ sequence.transpose(1, 2)).clamp(-1, 1).cpu().double()
                turned.append((1 - cosines.diagonal(1, 1, 2)).sum(0))  # (n_blocks,)
                counts.append(len(sequence))
                angles = cosines.arccos() / math.pi
                angle += angles.sum(0)
                last += angles[-1]
                n_tokens += len(sequence)
            report((start + len(ids)) / n_windows)
    table = torch.stack(turned).numpy()  # (n_windows, n_blocks)
    influence = [ratio_difference(table[:, block], np.array(counts, dtype=float)) for block in range(n)]
    return Similarity(influence, (angle / n_tokens).numpy(), (last / n_windows).numpy())


@dataclass(frozen=True)
class Candidate:
    """A set of blocks and the rule that proposes it."""

    rule: str
    blocks: tuple[int, ...]

    @property
    def n_stretches(self) -> int:
        return len(stretches(self.blocks))


def lowest_influence(found: Similarity, n: int) -> Candidate:
    """ShortGPT: the n blocks with the least influence."""
    order = np.argsort([one.value for one in found.influence], kind="stable")
    return Candidate("influence", tuple(sorted(int(i) for i in order[:n])))


def smallest_angles(angle: np.ndarray, n: int, most: int) -> list[tuple[int, ...]]:
    """Stretches of n blocks, sorted by the angle between their ends, smallest first."""
    starts = len(angle) - n
    order = np.argsort([angle[start, start + n] for start in range(starts)], kind="stable")
    return [tuple(range(int(start), int(start) + n)) for start in order[:most]]


def published_candidates(found: Similarity, n: int) -> list[Candidate]:
    """The choices of published rules: least influence, smallest angles, and several contiguous stretches to be priced."""
    last = smallest_angles(found.last_angle, n, 1)[0]
    first, *others = smallest_angles(found.angle, n, CONTIGUOUS_TRIED)
    return [
        lowest_influence(found, n),
        Candidate("last_angle", last),
        Candidate("angle", first),
        *(Candidate("contiguous", one) for one in others),
    ]


@dataclass(frozen=True)
class Step:
    """A set of removed blocks with its scores."""

    blocks: tuple[int, ...]
    divergence: Difference
    """On the search windows."""
    increase: Difference
    """Increase of the loss on the search windows."""
    scores: Scores


def make_step(blocks: Collection[int], whole: Scores, scores: Scores) -> Step:
    return Step(tuple(sorted(blocks)), divergence(scores), loss_increase(whole, scores), scores)


def cheapest(steps: Sequence[Step]) -> Step:
    """The step with the least loss increase. Increases below rounding error count as equal; then the least divergence wins."""
    return min(steps, key=lambda step: (max(NO_RISE, step.increase.value), step.divergence.value))


def score_single_removals(pricer: Pricer, report: ReportPasses = lambda done: None) -> list[Scores]:
    """Scores of the whole network, then without each single block."""
    return pricer.scores([without_blocks([block]) for block in range(pricer.network.n_blocks)], report)


def shortlist(costs: Sequence[float], n: int) -> list[int]:
    """The blocks that are cheapest alone, cheapest first; enough of them to choose n."""
    size = min(len(costs), max(SHORTLIST, 3 * n))
    return [int(block) for block in np.argsort(costs, kind="stable")[:size]]


def next_step(
    pricer: Pricer, removed: Collection[int], pool: Sequence[int], report: ReportPasses = lambda done: None
) -> Step:
    """Remove the block of the pool that changes the predictions least, given the removed ones: costs are not additive.

    Compared by divergence, since the cost of one block is small beside the scatter of the loss over tokens.
    """
    steps = price_sets(pricer, [(*removed, block) for block in pool if block not in removed], removed, report)
    return min(steps, key=lambda step: step.divergence.value)


def price_sets(
    pricer: Pricer, sets: Sequence[Collection[int]], shared: Collection[int], report: ReportPasses = lambda done: None
) -> list[Step]:
    """Price sets of removed blocks; `shared` are removed in most of them, so that their common part runs once."""
    whole, *found = pricer.scores([without_blocks(blocks) for blocks in sets], report, without_blocks(shared))
    return [make_step(blocks, whole, scores) for blocks, scores in zip(sets, found, strict=True)]


def list_exchanges(blocks: Sequence[int], pool: Collection[int], costs: Sequence[float]) -> list[tuple[int, ...]]:
    """Every set with one removed block exchanged for another, sorted by the sum of single costs.

    The newly removed block is one of the pool, or a neighbour of the one put back. `costs`: of each block alone.
    """
    removed = set(blocks)
    found = []
    for returned in blocks:
        near = {block for block in (returned - 1, returned + 1) if 0 <= block < len(costs)}
        found += [tuple(sorted(removed - {returned} | {block})) for block in ({*pool} | near) - removed]
    return sorted({*found}, key=lambda one: (sum(costs[block] for block in one), one))


def random_sets(
    n_blocks: int, n: int, seed: int, apart_from: Collection[int] = (), most: int = N_RANDOM
) -> list[tuple[int, ...]]:
    """Distinct random sets of n blocks, or all of them if there are few; without the set `apart_from`."""
    own = tuple(sorted(apart_from))
    if math.comb(n_blocks, n) - 1 <= most:
        return [one for one in combinations(range(n_blocks), n) if one != own]
    generator = np.random.default_rng([seed, 16])
    found: dict[tuple[int, ...], None] = {}
    while len(found) < most:
        drawn = tuple(sorted(int(i) for i in generator.choice(n_blocks, n, replace=False)))
        if drawn != own:
            found[drawn] = None
    return list(found)


@dataclass(frozen=True)
class Choice:
    """The chosen candidate, and the sets that are statistically as good."""

    chosen: Candidate
    equal: frozenset[tuple[int, ...]]
    """Sets whose cost does not differ significantly from the lowest, the chosen one included."""


def choose_simplest(candidates: Sequence[Candidate], whole: Scores, scores: Sequence[Scores]) -> Choice:
    """Of the candidates that do not differ significantly from the cheapest, the one with the fewest stretches; on ties the
    cheapest.

    `scores`: of each candidate, compared window by window in loss and divergence.
    """
    steps = [make_step(one.blocks, whole, score) for one, score in zip(candidates, scores, strict=True)]
    best, counts = cheapest(steps).scores, whole.n_targets
    equal = [
        (one, step)
        for one, step in zip(candidates, steps, strict=True)
        if not ratio_difference(step.scores.loss - best.loss, counts).lower > 0
        and not ratio_difference(step.scores.divergence - best.divergence, counts).lower > 0
    ]
    fewest = min(one.n_stretches for one, _ in equal)
    least = cheapest([step for one, step in equal if one.n_stretches == fewest])
    chosen = next(one for one, step in equal if step is least)
    return Choice(chosen, frozenset(one.blocks for one, _ in equal))


def distinct_sets(candidates: Sequence[Candidate]) -> list[Candidate]:
    """Each set once, with the first rule that proposes it."""
    found: dict[tuple[int, ...], Candidate] = {}
    for one in candidates:
        found.setdefault(one.blocks, one)
    return list(found.values())


def sublayer_singles(network: Network) -> list[tuple[str, int, Variant]]:
    """Variants without each single attention and each single MLP."""
    if not network.sublayers:
        return []
    blocks = range(network.n_blocks)
    return [("attention", i, Variant(attention=frozenset({i}))) for i in blocks] + [
        ("mlp", i, Variant(mlp=frozenset({i}))) for i in blocks
    ]
