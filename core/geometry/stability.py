"""Checks of one layer: whether d2 depends on the number of sequences or of points in the sample.

In a randomly initialised model uniform attention averages each prefix, so late states have one direction per sequence:
d2 of all pairs then counts sequences (26 for 32 of them) and most of the variance lies between them. A trained model is
barely affected. Both values use the same token types, so that vocabulary has no effect.

Dependence on the number of points is tested on random halves of the types; a biased estimator would fail. The half of
the types that a permutation meets first differs: these types are frequent, and smaller vocabularies have lower values.
That shift is reported but not judged; because of it, values are compared only at equal N.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from torch import Tensor

from core.geometry import second_order
from core.geometry.clouds import Cloud


@dataclass(frozen=True)
class SequencePair:
    """Rows of the same token types, drawn from half of the sequences and from all of them."""

    few: np.ndarray
    many: np.ndarray


@dataclass(frozen=True)
class Shift:
    """Mean of log(d2 from all / d2 from half) over halves, with the error from the difference of the two halves."""

    value: float
    std_error: float


@dataclass(frozen=True)
class Dependence:
    d2: Shift
    """Shift from half of the sequences to all, same types; pairs within a sequence excluded."""
    d2_all_pairs: Shift
    """The same for d2 of all pairs; a random model fails this check."""
    share: float
    """Share of the variance of token directions between sequences, as omega squared; expectation 0 without effect."""
    points: Shift
    """Shift from a random half of the types to all."""
    vocabulary: float
    """Shift from the half of the types that the text meets first to all."""


def sequence_pairs(
    order: np.ndarray, types: np.ndarray, sequences: np.ndarray, halves: np.ndarray, limit: int
) -> list[SequencePair]:
    """One pair for each side of each half-split; at most `limit` types, in order of the permutation `order`."""
    _, first = np.unique(types[order], return_index=True)
    representative = dict(zip(types[order[first]].tolist(), order[first].tolist(), strict=True))
    pairs = []
    for side in np.concatenate([halves, ~halves]):
        candidates = order[side[sequences[order]]]
        _, where = np.unique(types[candidates], return_index=True)
        few = candidates[np.sort(where)[:limit]]
        pairs.append(SequencePair(few, np.array([representative[t] for t in types[few].tolist()])))
    return pairs


def dependence(
    states: Tensor, sequences: np.ndarray, pairs: list[SequencePair], cloud: Cloud, first_types: np.ndarray, seed: int
) -> Dependence:
    """Compute all shifts of one layer.

    states (n_tokens, hidden_size) fp32; sequences (n_tokens,); first_types: rows of the types met first.
    """
    labels = torch.from_numpy(sequences).to(states.device)
    d2 = partial(_log_d2, states, labels)
    shifts = window_shifts(states, sequences, pairs)
    rows = cloud.rows[cloud.members[0]]
    whole = d2(rows)[0]
    generator = np.random.default_rng([seed, 4])
    halves = [half for _ in range(len(pairs) // 2) for half in np.array_split(generator.permutation(rows), 2)]
    of_points = np.array([whole - d2(half)[0] for half in halves]).reshape(-1, 2).T.flatten()  # A sides, then B sides
    index = torch.from_numpy(rows).to(states.device)
    return Dependence(
        _shift(shifts[:, 0]),
        _shift(shifts[:, 1]),
        between_share(states[index], labels[index]),
        _shift(of_points),
        float(whole - d2(first_types)[0]),
    )


def _log_d2(states: Tensor, labels: Tensor, rows: np.ndarray) -> np.ndarray:
    """log d2, and log d2 of all pairs, of these rows."""
    index = torch.from_numpy(rows).to(states.device)
    return np.log(second_order.d2(states[index], labels[index]))


def window_shifts(states: Tensor, sequences: np.ndarray, pairs: list[SequencePair]) -> np.ndarray:
    """Changes of log d2, and of log d2 of all pairs, from half of the sequences to all; (2 n_splits, 2)."""
    d2 = partial(_log_d2, states, torch.from_numpy(sequences).to(states.device))
    return np.array([d2(pair.many) - d2(pair.few) for pair in pairs])


def _shift(values: np.ndarray) -> Shift:
    """Mean and error of values (2 n_splits,): A sides of all splits, then the B sides, each disjoint from its A."""
    a, b = values.reshape(2, -1)
    return Shift(float(values.mean()), float(np.sqrt(np.mean(((a - b) / 2) ** 2))))


def between_share(points: Tensor, sequences: Tensor) -> float:
    """Omega squared of the directions of centred points: (SSB - (S-1) MSW) / (SST + MSW)."""
    directions = torch.nn.functional.normalize(points - points.mean(0), dim=1)
    directions = directions - directions.mean(0)
    _, labels = torch.unique(sequences, return_inverse=True)
    counts = torch.bincount(labels).to(points.dtype)
    n, n_sequences = len(points), len(counts)
    if n <= n_sequences:
        return math.nan
    sums = points.new_zeros(n_sequences, points.shape[1]).index_add_(0, labels, directions)
    total = float(directions.square().sum())
    between = float((sums.square().sum(1) / counts).sum())
    within_mean = (total - between) / (n - n_sequences)
    if not total:  # all points are equal
        return math.nan
    return (between - (n_sequences - 1) * within_mean) / (total + within_mean)
