"""Does an estimate depend on how many sequences the tokens come from? A check of one layer, not an estimate.

In a randomly initialised model uniform attention averages each prefix, so late states are one direction per sequence:
d2 of all pairs then counts sequences (26 for 32 of them) and most of the variance lies between them. A trained
model's tokens barely notice. Both quantities are computed on the same token types, so that vocabulary plays no part.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from core.geometry import second_order
from core.geometry.clouds import Cloud


@dataclass(frozen=True)
class SequencePair:
    """The same token types, drawn from half of the sequences and from all of them."""

    few: np.ndarray
    many: np.ndarray


@dataclass(frozen=True)
class SequenceDependence:
    d2_shift: float
    """log of d2 from all sequences over d2 from half of them; pairs within a sequence left out."""
    d2_all_pairs_shift: float
    """The same for d2 of all pairs, which a random model cannot pass."""
    share: float
    """Variance of the token directions between sequences, as omega squared: 0 in expectation without an effect."""


def sequence_pairs(
    order: np.ndarray, types: np.ndarray, sequences: np.ndarray, halves: np.ndarray, limit: int
) -> list[SequencePair]:
    """One pair for each side of each half-split; at most `limit` types, first met in the permutation `order`."""
    _, first = np.unique(types[order], return_index=True)
    representative = dict(zip(types[order[first]].tolist(), order[first].tolist(), strict=True))
    pairs = []
    for side in np.concatenate([halves, ~halves]):
        candidates = order[side[sequences[order]]]
        _, where = np.unique(types[candidates], return_index=True)
        few = candidates[np.sort(where)[:limit]]
        pairs.append(SequencePair(few, np.array([representative[t] for t in types[few].tolist()])))
    return pairs


def sequence_dependence(
    states: Tensor, sequences: np.ndarray, pairs: list[SequencePair], cloud: Cloud
) -> SequenceDependence:
    """states (n_tokens, hidden_size) fp32; sequences (n_tokens,); the share is that of the cloud's points."""
    labels = torch.from_numpy(sequences).to(states.device)
    shifts = []
    for pair in pairs:
        few, many = (torch.from_numpy(rows).to(states.device) for rows in (pair.few, pair.many))
        from_few = second_order.d2(states[few], labels[few])
        from_many = second_order.d2(states[many], labels[many])
        shifts.append([math.log(b / a) for a, b in zip(from_few, from_many, strict=True)])
    d2_shift, all_pairs_shift = np.mean(shifts, axis=0).tolist()
    rows = torch.from_numpy(cloud.rows[cloud.members[0]]).to(states.device)
    return SequenceDependence(d2_shift, all_pairs_shift, between_share(states[rows], labels[rows]))


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
    return (between - (n_sequences - 1) * within_mean) / (total + within_mean)
