"""Which blocks might go: the published rules, and a search that removes, looks again and exchanges.

Blocks are numbered from 0. What a rule measures, it measures on the selection text; position 0 is left out, where most
models keep a state of their own kind, and so is the state after the final norm.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
import torch

from core.plans.pricing import Difference, Pricer, Scores, Told, divergence, loss_increase, ratio
from core.plans.variants import Network, States, Variant, run_whole, without
from core.records import stretches
from core.texts.sample import TokenWindows

SHORTLIST = 10
"""Blocks, cheapest alone, that the search goes on with; more where more than a third of them is to go."""
OFFSPRING = 6
"""Exchanges that are tried at a time, of which the best is gone on from."""
MOST_ROUNDS = 5
CONTIGUOUS_TRIED = 4
"""Stretches with the smallest angle that are priced, of which the cheapest is the best contiguous one."""
N_RANDOM = 20
NO_RISE = 1e-5
"""Nats per token that arithmetic in single precision may add."""


@dataclass(frozen=True)
class Similarity:
    """How much blocks, and stretches of them, turn the states."""

    influence: list[Difference]
    """1 - mean cosine between what enters a block and what leaves it (ShortGPT, arXiv 2403.03853), per block."""
    angle: np.ndarray
    """Mean angle between layers l and m over pi, all tokens; (n_layers + 1, n_layers + 1)"""
    last_angle: np.ndarray
    """The same on the last token of each window alone (arXiv 2403.17887)."""


@torch.inference_mode()
def similarity(network: Network, windows: TokenWindows, told: Told = lambda done: None) -> Similarity:
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
            states = torch.stack([keep.found[layer] for layer in range(n + 1)], dim=2)[:, 1:].float()
            unit = states / torch.linalg.vector_norm(states, dim=-1, keepdim=True).clamp(min=1e-30)
            for sequence in unit:  # a window at a time: all layer pairs of all tokens are many
                cosines = (sequence @ sequence.transpose(1, 2)).clamp(-1, 1).cpu().double()
                turned.append((1 - cosines.diagonal(1, 1, 2)).sum(0))  # (n_blocks,)
                counts.append(len(sequence))
                angles = cosines.arccos() / math.pi
                angle += angles.sum(0)
                last += angles[-1]
                n_tokens += len(sequence)
            told((start + len(ids)) / n_windows)
    table = torch.stack(turned).numpy()  # (n_windows, n_blocks)
    influence = [ratio(table[:, block], np.array(counts, dtype=float)) for block in range(n)]
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
    """ShortGPT: the blocks that turn the states least, at one go."""
    order = np.argsort([one.value for one in found.influence], kind="stable")
    return Candidate("influence", tuple(sorted(int(i) for i in order[:n])))


def smallest_angles(angle: np.ndarray, n: int, most: int) -> list[tuple[int, ...]]:
    """Stretches of n blocks, that with the smallest angle between its ends first."""
    starts = len(angle) - n
    order = np.argsort([angle[start, start + n] for start in range(starts)], kind="stable")
    return [tuple(range(int(start), int(start) + n)) for start in order[:most]]


def published(found: Similarity, n: int) -> list[Candidate]:
    """What others would take: the least influence, the smallest angles, the cheapest of several stretches."""
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
    """One block more gone."""

    blocks: tuple[int, ...]
    divergence: Difference
    """On the windows that it was searched on."""
    increase: Difference
    """Of the loss, there."""
    scores: Scores


def step_of(blocks: Collection[int], whole: Scores, scores: Scores) -> Step:
    return Step(tuple(sorted(blocks)), divergence(scores), loss_increase(whole, scores), scores)


def cheapest(steps: Sequence[Step]) -> Step:
    """The budget is in nats of the loss. Where it does not rise, which is chance if it falls, the least divergence counts."""
    return min(steps, key=lambda step: (max(NO_RISE, step.increase.value), step.divergence.value))


def singles(pricer: Pricer, told: Told = lambda done: None) -> list[Scores]:
    """The whole network, then the network without each of its blocks."""
    return pricer.scores([without([block]) for block in range(pricer.network.n_blocks)], told)


def shortlist(costs: Sequence[float], n: int) -> list[int]:
    """The blocks that are cheapest alone, the cheapest first, and so many that n of them are a choice."""
    size = min(len(costs), max(SHORTLIST, 3 * n))
    return [int(block) for block in np.argsort(costs, kind="stable")[:size]]


def next_step(pricer: Pricer, gone: Collection[int], pool: Sequence[int], told: Told = lambda done: None) -> Step:
    """The block of the pool whose removal moves the predictions least once those are gone: costs do not add up.

    By divergence, since what one block costs is small beside the scatter of the loss over the words of a text.
    """
    steps = priced(pricer, [(*gone, block) for block in pool if block not in gone], gone, told)
    return min(steps, key=lambda step: step.divergence.value)


def priced(
    pricer: Pricer, sets: Sequence[Collection[int]], shared: Collection[int], told: Told = lambda done: None
) -> list[Step]:
    """`shared` are the blocks that most of the sets leave out: what they have in common runs once."""
    whole, *found = pricer.scores([without(blocks) for blocks in sets], told, without(shared))
    return [step_of(blocks, whole, scores) for blocks, scores in zip(sets, found, strict=True)]


def exchanges(blocks: Sequence[int], pool: Collection[int], costs: Sequence[float]) -> list[tuple[int, ...]]:
    """Every set that has one block in another's place, those first whose blocks cost least alone, added up.

    What comes in is a block of the pool, or a neighbour of the one that comes back. costs: of each block alone.
    """
    gone = set(blocks)
    found = []
    for back in blocks:
        near = {block for block in (back - 1, back + 1) if 0 <= block < len(costs)}
        found += [tuple(sorted(gone - {back} | {block})) for block in ({*pool} | near) - gone]
    return sorted({*found}, key=lambda one: (sum(costs[block] for block in one), one))


def random_sets(
    n_blocks: int, n: int, seed: int, apart_from: Collection[int] = (), most: int = N_RANDOM
) -> list[tuple[int, ...]]:
    """Different sets of n blocks, drawn; all that there are where they are fewer. The set itself is not among them."""
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
    """The candidate that is taken, and those that are as good as far as anyone can tell."""

    taken: Candidate
    equal: frozenset[tuple[int, ...]]
    """Sets whose cost is not told apart from the lowest; that of the chosen one is among them."""


def simplest(candidates: Sequence[Candidate], whole: Scores, scores: Sequence[Scores]) -> Choice:
    """Of those that cannot be told from the cheapest, the one in the fewest stretches; of these, the cheapest.

    scores: of each candidate, compared window by window, in the loss and in the divergence.
    """
    steps = [step_of(one.blocks, whole, score) for one, score in zip(candidates, scores, strict=True)]
    best, counts = cheapest(steps).scores, whole.n_targets
    equal = [
        (one, step)
        for one, step in zip(candidates, steps, strict=True)
        if not ratio(step.scores.loss - best.loss, counts).lower > 0
        and not ratio(step.scores.divergence - best.divergence, counts).lower > 0
    ]
    fewest = min(one.n_stretches for one, _ in equal)
    least = cheapest([step for one, step in equal if one.n_stretches == fewest])
    taken = next(one for one, step in equal if step is least)
    return Choice(taken, frozenset(one.blocks for one, _ in equal))


def distinct(candidates: Sequence[Candidate]) -> list[Candidate]:
    """Each set once, under the first rule that proposes it."""
    found: dict[tuple[int, ...], Candidate] = {}
    for one in candidates:
        found.setdefault(one.blocks, one)
    return list(found.values())


def sublayer_singles(network: Network) -> list[tuple[str, int, Variant]]:
    """Each attention and each MLP alone, left out."""
    if not network.sublayers:
        return []
    blocks = range(network.n_blocks)
    return [("attention", i, Variant(attention=frozenset({i}))) for i in blocks] + [
        ("mlp", i, Variant(mlp=frozenset({i}))) for i in blocks
    ]
