"""Definitions on one profile of log dimensions: working band and dimension, ratios, verdict.

The working layer is chosen on one half of the sequences and its dimension read on the other, both ways round and
averaged, so that choosing the maximum does not flatter it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from scipy import stats

MARGIN = math.log(1.1)
"""A rise or fall of less than 10 percent does not count as one."""


class Interval(NamedTuple):
    value: float | None
    lower: float | None
    upper: float | None


UNDEFINED = Interval(None, None, None)


@dataclass(frozen=True)
class LogProfile:
    """log d2 of every layer, whole, without each block, and on each half."""

    whole: np.ndarray
    """(n_states,)"""
    blocks: np.ndarray
    """(n_states, n_blocks)"""
    halves: np.ndarray
    """(n_states, n_splits, 2)"""

    @property
    def quantile(self) -> float:
        return float(stats.t.ppf(0.975, self.blocks.shape[1] - 1))

    @property
    def one_sided(self) -> float:
        return float(stats.t.ppf(0.95, self.blocks.shape[1] - 1))

    def error(self, difference: np.ndarray) -> float:
        """Delete-one-block error of a (n_blocks,) statistic."""
        b = len(difference)
        return math.sqrt((b - 1) / b * float(((difference - difference.mean()) ** 2).sum()))


def working_band(logs: LogProfile, n_layers: int) -> tuple[int, int, int]:
    """First layer, lower median and last layer of the contiguous run around the peak within one paired error."""
    peak = 1 + int(np.argmax(logs.whole[1:n_layers]))

    def within(layer: int) -> bool:
        gap = logs.whole[peak] - logs.whole[layer]
        return gap <= logs.error(logs.blocks[peak] - logs.blocks[layer])

    first = last = peak
    while first > 1 and within(first - 1):
        first -= 1
    while last < n_layers - 1 and within(last + 1):
        last += 1
    return first, (first + last) // 2, last


def selected(logs: LogProfile, n_layers: int) -> np.ndarray:
    """The layer chosen on each half: the maximum over layers 1..L-1; (n_splits, 2)."""
    return 1 + np.argmax(logs.halves[1:n_layers], axis=0)


def _on_other_half(logs: LogProfile, chosen: np.ndarray) -> np.ndarray:
    """log d2 at the layer chosen on one half, read on the other; (n_splits, 2), second index = the half read."""
    splits = np.arange(chosen.shape[0])
    return np.stack([logs.halves[chosen[:, 1], splits, 0], logs.halves[chosen[:, 0], splits, 1]], axis=1)


@dataclass(frozen=True)
class LogRatio:
    value: float
    error: float


def ratio(logs: LogProfile, n_layers: int, working: int, below: LogProfile, layer: int) -> LogRatio:
    """log of working over another layer's dimension, both read on the same half; its error is the jackknife's."""
    chosen = selected(logs, n_layers)
    value = float((_on_other_half(logs, chosen) - below.halves[layer]).mean())
    return LogRatio(value, logs.error(logs.blocks[working] - below.blocks[layer]))


def verdict(ratios: list[LogRatio], logs: LogProfile) -> str:
    """Expansion-contraction by intersection-union: `found`, `not_found` or `undecided`.

    Found where the one-sided lower 95 percent limits of all ratios exceed 1.1, which needs no correction for
    multiple tests; not found where any upper 97.5 percent limit stays below 1.1.
    """
    if all(r.value - logs.one_sided * r.error > MARGIN for r in ratios):
        return "found"
    if any(r.value + logs.quantile * r.error < MARGIN for r in ratios):
        return "not_found"
    return "undecided"


def exponentiate(ratio: LogRatio, quantile: float) -> Interval:
    reach = quantile * ratio.error
    return Interval(math.exp(ratio.value), math.exp(ratio.value - reach), math.exp(ratio.value + reach))


def dimension(logs: LogProfile, chosen: np.ndarray, working: int) -> Interval:
    value = float(_on_other_half(logs, chosen).mean())
    return exponentiate(LogRatio(value, logs.error(logs.blocks[working])), logs.quantile)
