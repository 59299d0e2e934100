"""Errors from leaving out blocks of text, and half-splits of the sequences.

Tokens of one sequence depend on each other, so whole sequences are left out, never tokens. A bootstrap with
replacement is not offered: 63 percent of its rows would have an exact copy, which breaks every neighbour ratio.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from scipy import stats

from core.records import Estimate


def jackknife_error(replicates: np.ndarray) -> float:
    """Delete-one-block standard error, sqrt((B-1)/B sum (theta_b - mean)^2); NaN with fewer than two replicates."""
    replicates = np.asarray(replicates, dtype=float)
    if len(replicates) < 2 or not np.isfinite(replicates).all():
        return math.nan
    b = len(replicates)
    return math.sqrt((b - 1) / b * float(np.sum((replicates - replicates.mean()) ** 2)))


def t_quantile(probability: float, n_blocks: int) -> float:
    """Quantile of Student's t with B-1 degrees of freedom, which jackknife intervals use."""
    return float(stats.t.ppf(probability, n_blocks - 1))


def log_interval(
    value: float,
    blocks: Sequence[float],
    draw_values: Sequence[float] = (),
    *,
    scale: float = math.nan,
    n_points: int,
    n_dropped: int = 0,
    notes: str = "",
) -> Estimate:
    """A positive estimate with its error: the jackknife on the logarithm, and the variance of the draw.

    `blocks` are the delete-one values. `draw_values` are the values on the independent draws whose mean `value` is;
    their variance enters as s^2 / n_draws. The interval is value * exp(-+ t * error), t with B-1 degrees of freedom.
    """
    replicates = np.asarray(blocks, dtype=float)
    if not math.isfinite(value) or value <= 0 or not len(replicates) or not (replicates > 0).all():
        return Estimate(
            value if math.isfinite(value) and value > 0 else math.nan,
            scale=scale,
            n_points=n_points,
            n_dropped=n_dropped,
            notes=notes,
        )
    error = jackknife_error(np.log(replicates))
    if len(draw_values) > 1:
        error = math.hypot(error, float(np.std(np.log(draw_values), ddof=1)) / math.sqrt(len(draw_values)))
    reach = t_quantile(0.975, len(replicates)) * error
    return Estimate(
        value, value * error, value * math.exp(-reach), value * math.exp(reach), scale, n_points, n_dropped, notes
    )


def contiguous_blocks(documents: np.ndarray, n_blocks: int) -> np.ndarray:
    """A block number for each window, windows given in the order of the text; (n_windows,) int64.

    Blocks are runs of neighbouring windows of about equal size. Where there are at least `n_blocks` documents a
    block never cuts one, because windows of one document resemble each other.
    """
    documents = np.asarray(documents)
    n_windows = len(documents)
    starts = np.flatnonzero(np.r_[True, documents[1:] != documents[:-1]])
    if len(starts) < n_blocks:
        return np.arange(n_windows) * n_blocks // n_windows
    sizes = np.diff(np.r_[starts, n_windows])
    centres = (np.cumsum(sizes) - sizes / 2) / n_windows
    block_of_document = np.minimum((centres * n_blocks).astype(np.int64), n_blocks - 1)
    # Documents of very unequal length can leave a block empty: number the blocks by the documents instead.
    if len(np.unique(block_of_document)) < n_blocks:
        block_of_document = np.arange(len(starts)) * n_blocks // len(starts)
    return np.repeat(block_of_document, sizes)


def half_splits(n_sequences: int, n_splits: int, seed: int) -> np.ndarray:
    """Seeded halves of the sequences; (n_splits, n_sequences) bool, True = half A."""
    generator = np.random.default_rng([seed, 2])
    halves = np.zeros((n_splits, n_sequences), dtype=bool)
    for half in halves:
        half[generator.permutation(n_sequences)[: n_sequences // 2]] = True
    return halves
