"""Confidence intervals of ranks, and classes of models that cannot be distinguished.

Rank intervals follow from simultaneous intervals of all pairwise differences (Mogstad, Romano, Shaikh and Wilhelm 2024,
doi 10.1093/restud/rdad006): the rank of a model is at least one more than the number of models surely above it. Where
every model has jackknife values over the same blocks of text, a block's common effect cancels out of the differences, and
the intervals are those of `claims.simultaneous_limits`. With standard errors alone, they are Bonferroni's.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import polars as pl
from scipy import special

from core.analysis.claims import FEWEST_BLOCKS, LEVEL, jackknife_error, simultaneous_limits

POWER = 0.80
"""Power at which a difference is called detectable."""
MAX_SIGN_FLIP_UNITS = 120
"""Most units (7,140 pairs) for which signs are flipped: about half a second. Beyond, Bonferroni's t, which is wider."""
BLOCK_FREEDOM = 15.0
"""Degrees of freedom of an error from 16 blocks."""
NORMAL_95 = float(special.ndtri(1 - LEVEL / 2))
"""Standard errors from a value to its 95 percent limit, in the normal approximation."""


@dataclass(frozen=True)
class Ranks:
    """The order of units with simultaneous 95 percent intervals of their ranks."""

    units: pl.DataFrame
    """unit, value, rank, rank_low, rank_high, class_leader; rank 1 first. Filtering rows afterwards keeps ranks among all."""
    critical: float
    """Standard errors from a pairwise difference to its limit; infinite for a single unit."""
    detectable: float | None
    """The smallest true difference that the median pair detects with a power of 80 percent, in the unit of the values; None
    without known errors."""
    like_first: tuple[str, ...] = ()
    """The first unit, and the units that cannot be distinguished from it. Its class may be smaller: that ends at the first
    unit that can, and one of a larger error may follow."""


def rank_intervals(units: pl.DataFrame, *, largest_first: bool = True) -> Ranks:
    """Ranks of all units, with simultaneous intervals.

    Columns: unit (unique), value (log dimension, or a score), blocks (a list: the value without block 0, 1, ...; the same
    text for every unit) and error (standard error of value). Sign flips of blocks are used if all units have the same
    number of blocks, at least 6; else Bonferroni's t for independent errors. A unit without blocks or error may have any
    rank. Units without a finite value are not in the result.

    A class holds the units that cannot be distinguished from its first one; the next unit leads a new class. Chaining
    neighbours instead would put nearly all into one class.
    """
    known = units.filter(pl.col("value").is_finite()).sort("value", descending=largest_first, maintain_order=True)
    n, names = known.height, known["unit"].to_list()
    values = known["value"].to_numpy() * (1 if largest_first else -1)
    blocks = common_blocks(known["blocks"])
    errors = np.array([error if error and math.isfinite(error) and error > 0 else math.inf for error in known["error"]])
    freedom = BLOCK_FREEDOM if blocks is None else blocks.shape[1] - 1.0
    critical = math.inf
    if n > 1 and blocks is not None and n <= MAX_SIGN_FLIP_UNITS:
        i, j = np.triu_indices(n, 1)
        critical = simultaneous_limits(values[i] - values[j], blocks[i] - blocks[j]).critical
    elif n > 1:
        critical = quantile(1 - LEVEL / (n * (n - 1)), freedom)

    def of_pairs(rows: np.ndarray) -> np.ndarray:
        """Standard errors of the differences of these units from all: (rows, n)."""
        if blocks is None:
            return np.hypot(errors[rows][:, None], errors[None, :])
        return jackknife_error(blocks[rows][:, None, :] - blocks[None, :, :])

    def is_above(rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Whether these units are surely above, and surely below, each unit: (rows, n) both."""
        gap = values[rows][:, None] - values[None, :]
        reach = critical * np.maximum(of_pairs(rows), 1e-12)
        return gap > reach, gap < -reach

    low, high = np.ones(n, dtype=int), np.full(n, n, dtype=int)
    for rows in np.array_split(np.arange(n), max(1, n * n // 200_000)):
        above, below = is_above(rows)
        low[rows] += below.sum(1)
        high[rows] -= above.sum(1)
    leaders: list[str] = []
    while (start := len(leaders)) < n:
        apart = is_above(np.array([start]))[0][0, start + 1 :]
        leaders += [names[start]] * (1 + (int(np.argmax(apart)) if apart.any() else len(apart)))
    like_first = [names[at] for at in np.flatnonzero(~is_above(np.array([0]))[0][0])] if n else []
    frame = known.select(
        "unit",
        "value",
        rank=pl.col("value").rank("min", descending=largest_first).cast(pl.Int64),
        rank_low=pl.Series(low, dtype=pl.Int64),
        rank_high=pl.Series(high, dtype=pl.Int64),
        class_leader=pl.Series(leaders, dtype=known.schema["unit"]),
    )
    some = np.unique(np.linspace(0, n - 1, min(n, 60)).astype(int))  # a sample is enough for the median
    typical = of_pairs(some)[~(np.arange(n)[None, :] == some[:, None])]
    typical = typical[np.isfinite(typical)]
    least = (critical + quantile(POWER, freedom)) * float(np.median(typical)) if len(typical) else None
    return Ranks(frame, critical, least, tuple(like_first))


def quantile(probability: float, freedom: float) -> float:
    """Quantile of Student's t."""
    return float(special.stdtrit(freedom, probability))


def reach_of_many(n_comparisons: int) -> float:
    """Standard errors from a value to its limit, so that n such intervals hold together in 95 percent (Bonferroni)."""
    return float(special.ndtri(1 - LEVEL / 2 / max(1, n_comparisons)))


def common_blocks(blocks: pl.Series) -> np.ndarray | None:
    """(n, n_blocks) from a list per unit; None unless all have the same number, at least 6, of finite values."""
    lengths = blocks.list.len().unique().to_list()
    if len(lengths) != 1 or lengths[0] is None or lengths[0] < FEWEST_BLOCKS:
        return None
    values = np.array(blocks.to_list(), dtype=float)
    return values if np.isfinite(values).all() else None
