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

from core.analysis.intervals import Difference, mean_difference, windows_to_units
from core.plans.pricing import Pricer, ReportPasses, Scores, divergence, loss_increase
from core.plans.variants import ATTENTION, MLP, Network, Variant, layer_states, without_blocks
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
    blocks: tuple[int, ...]


def smallest_angles(angle: np.ndarray, n: int, n_best: int) -> list[tuple[int, ...]]:
    """Stretches of n blocks, sorted by the angle between their ends, smallest first."""
    starts = len(angle) - n
    order = np.argsort([angle[start, start + n] for start in range(starts)], kind="stable")
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


@dataclass(frozen=True)
class Step:
    """A set of removed blocks with its scores."""

    blocks: tuple[int, ...]
    divergence: Difference
    """On the search windows."""
    increase: Difference
    """Increase of the loss on the search windows."""
    scores: Scores


def make_step(blocks: Collection[int], baseline: Scores, scores: Scores) -> Step:
    """A set of blocks with its price; `baseline` are the scores of the whole network."""
    return Step(tuple(sorted(blocks)), divergence(scores), loss_increase(baseline, scores), scores)


def cheapest(steps: Sequence[Step]) -> Step:
    """The step with the least loss increase. Increases below rounding error count as equal; then the least divergence wins."""
    return min(steps, key=lambda step: (max(NO_RISE, step.increase.value), step.divergence.value))


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
    baseline, *set_scores = pricer.scores([without_blocks(blocks) for blocks in sets], report, without_blocks(shared))
    return [make_step(blocks, baseline, scores) for blocks, scores in zip(sets, set_scores, strict=True)]


def list_exchanges(blocks: Sequence[int], pool: Collection[int], costs: Sequence[float]) -> list[tuple[int, ...]]:
    """Every set with one removed block exchanged for another, sorted by the sum of single costs.

    The newly removed block is one of the pool, or a neighbour of the restored one. `costs`: of each block alone.
    """
    removed = set(blocks)
    exchanges = []
    for restored in blocks:
        neighbours = {block for block in (restored - 1, restored + 1) if 0 <= block < len(costs)}
        exchanges += [tuple(sorted(removed - {restored} | {block})) for block in ({*pool} | neighbours) - removed]
    return sorted({*exchanges}, key=lambda exchange: (sum(costs[block] for block in exchange), exchange))


def random_sets(n_blocks: int, n: int, seed: int, apart_from: Collection[int] = ()) -> list[tuple[int, ...]]:
    """At most N_RANDOM distinct random sets of n blocks, without the set `apart_from`; all sets if there are no more."""
    excluded = tuple(sorted(apart_from))
    if math.comb(n_blocks, n) - 1 <= N_RANDOM:
        return [blocks for blocks in combinations(range(n_blocks), n) if blocks != excluded]
    generator = np.random.default_rng([seed, 16])
    sets: dict[tuple[int, ...], None] = {}
    while len(sets) < N_RANDOM:
        blocks = tuple(sorted(int(i) for i in generator.choice(n_blocks, n, replace=False)))
        if blocks != excluded:
            sets[blocks] = None
    return list(sets)


@dataclass(frozen=True)
class Choice:
    """The chosen candidate, and the sets that are statistically as good."""

    chosen: Candidate
    equal: frozenset[tuple[int, ...]]
    """Sets whose cost does not differ significantly from the lowest, the chosen one included."""


def choose_simplest(candidates: Sequence[Candidate], baseline: Scores, scores: Sequence[Scores]) -> Choice:
    """Of the candidates that do not differ significantly from the cheapest, the one with the fewest stretches; on ties the
    cheapest.

    `baseline` are the scores of the whole network, `scores` those of each candidate: compared window by window in loss
    and divergence.
    """
    steps = [make_step(candidate.blocks, baseline, score) for candidate, score in zip(candidates, scores, strict=True)]
    best = cheapest(steps).scores
    equal = [
        (candidate, step)
        for candidate, step in zip(candidates, steps, strict=True)
        if not baseline.mean(step.scores.loss - best.loss).lower > 0
        and not baseline.mean(step.scores.divergence - best.divergence).lower > 0
    ]
    fewest = min(len(stretches(candidate.blocks)) for candidate, _ in equal)
    best_step = cheapest([step for candidate, step in equal if len(stretches(candidate.blocks)) == fewest])
    chosen = next(candidate for candidate, step in equal if step is best_step)
    return Choice(chosen, frozenset(candidate.blocks for candidate, _ in equal))


def distinct_sets(candidates: Sequence[Candidate]) -> list[Candidate]:
    """Each set once, with the first rule that proposes it."""
    first_by_blocks: dict[tuple[int, ...], Candidate] = {}
    for candidate in candidates:
        first_by_blocks.setdefault(candidate.blocks, candidate)
    return list(first_by_blocks.values())


def sublayer_singles(network: Network) -> list[tuple[str, int, Variant]]:
    """(kind, block, variant) without each single attention, then without each single MLP; empty if there are none."""
    blocks = range(network.n_blocks if network.sublayers else 0)
    without_attention = [(ATTENTION, block, Variant(attention=frozenset({block}))) for block in blocks]
    return without_attention + [(MLP, block, Variant(mlp=frozenset({block}))) for block in blocks]
