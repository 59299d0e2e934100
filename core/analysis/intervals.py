"""Intervals of means and shares over independent units, and of ranks.

Windows of one document, or questions on one passage, count as one unit. The standard error is a jackknife over units,
Student's t has as many degrees of freedom as equally large units would give (total^2 / sum of squares, less one). Simulated
with documents of 1 to 12 windows its 95 percent interval covers 94 to 98 percent; over windows, as if they were independent,
68 to 94 percent.

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

FEWEST_GROUPS = 8
"""With fewer documents, blocks of neighbouring windows are the units."""


@dataclass(frozen=True)
class Difference:
    """A mean over tokens, or over questions, with its 95 percent interval over independent units."""

    value: float
    std_error: float
    lower: float
    upper: float
    n: int
    """Number of independent units."""


def has_few_groups(groups: np.ndarray) -> bool:
    """Whether so few documents are there that neighbouring windows are the units; groups (n,)"""
    return len(np.unique(groups)) < FEWEST_GROUPS


def windows_to_units(documents: np.ndarray) -> np.ndarray:
    """The unit of each window, in the order of the text, (n,): its document, or the block of neighbours it is in."""
    n = len(documents)
    if not has_few_groups(documents):
        return documents
    return np.arange(n) * min(FEWEST_GROUPS, n) // max(1, n)


def mean_difference(
    sums: np.ndarray,
    counts: np.ndarray,
    units: np.ndarray | None = None,
    less: tuple[np.ndarray, np.ndarray] | None = None,
) -> Difference:
    """The ratio of sums and counts, (n,) each, with its error over units (n,); None: each is a unit of its own.

    less: sums and counts of another ratio that is taken away, whose units are the same and left out together.
    """
    value, changes, weights = _ratio(sums, counts, units)
    if less is not None:
        other, other_changes, other_weights = _ratio(*less, units)
        value, changes = value - other, changes - other_changes
        weights = weights / weights.sum() + other_weights / other_weights.sum()  # the same whichever is taken away
    n = len(changes)
    error = math.sqrt((n - 1) / n * float((changes**2).sum()))  # not a number for a single unit
    freedom = max(1.0, float(weights.sum()) ** 2 / float((weights**2).sum()) - 1)
    half_width = quantile(0.975, freedom) * error
    return Difference(value, error, value - half_width, value + half_width, n)


def share_limits(values: np.ndarray, units: np.ndarray | None = None) -> tuple[float, float]:
    """Wilson's 95 percent interval of the mean of zeros and ones (n,), which is never empty, at 0 and at 100 percent either.

    What units have in common makes the number of answers smaller; where all are equal, nothing tells by how much, and the
    units are counted.
    """
    value = float(values.mean())
    found, spread = mean_difference(values, np.ones(len(values)), units), value * (1 - value)
    n = float(found.n)
    if spread > 0 and 1 < n < len(values):
        half_width = found.upper - value  # Student's over groups, which may be few
        n = min(float(len(values)), spread * (NORMAL_95 / half_width) ** 2) if half_width > 0 else float(len(values))
    centre = (value + NORMAL_95**2 / (2 * n)) / (1 + NORMAL_95**2 / n)
    reach = NORMAL_95 / (1 + NORMAL_95**2 / n) * math.sqrt(spread / n + NORMAL_95**2 / (4 * n**2))
    return max(0.0, centre - reach), min(1.0, centre + reach)


def share_error(values: np.ndarray, units: np.ndarray | None = None) -> float:
    """Standard error of the mean of zeros and ones (n,); where all are equal, what Wilson's limit allows, as no spread tells it."""
    found = mean_difference(values, np.ones(len(values)), units)
    if found.value not in (0, 1):
        return found.std_error
    lower, upper = share_limits(values, units)
    return max(found.value - lower, upper - found.value) / NORMAL_95


def share_difference(before: np.ndarray, after: np.ndarray, units: np.ndarray | None = None) -> Difference:
    """After less before, shares of right answers to the same questions: zeros and ones (n,).

    Newcombe's interval of a paired difference from Wilson's of each share (Newcombe 1998, method 10): not empty where no
    answer changes.
    """
    old, new = float(before.mean()), float(after.mean())
    limits = [share_limits(values, units) for values in (before, after)]
    (old_low, old_high), (new_low, new_high) = limits
    paired = mean_difference(after - before, np.ones(len(before)), units)
    covariance, spread = float((before * after).mean()) - old * new, old * (1 - old) * new * (1 - new)
    if covariance > 0:  # his correction for continuity
        covariance = max(0.0, covariance - 1 / (2 * paired.n))
    together = covariance / math.sqrt(spread) if spread > 0 else 0.0

    def reach(a: float, b: float) -> float:
        return math.sqrt(max(0.0, a * a - 2 * together * a * b + b * b))

    return Difference(
        new - old,
        paired.std_error,
        new - old - reach(new - new_low, old_high - old),
        new - old + reach(new_high - new, old - old_low),
        paired.n,
    )


def _ratio(sums: np.ndarray, counts: np.ndarray, units: np.ndarray | None) -> tuple[float, np.ndarray, np.ndarray]:
    """The ratio, by how much it is above that without each unit (n_units,), and the counts of units (n_units,)"""
    value = float(sums.sum()) / float(counts.sum())
    own, weights = _by_unit(sums - value * counts, units), _by_unit(counts, units)
    with np.errstate(divide="ignore", invalid="ignore"):
        return value, own / (weights.sum() - weights), weights


def _by_unit(values: np.ndarray, units: np.ndarray | None) -> np.ndarray:
    """Sums of values (n,) over units; (n_units,)"""
    if units is None:
        return values
    return np.bincount(np.unique(units, return_inverse=True)[1], values)


# --- ranks -------------------------------------------------------------------------------------------------------

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

    above = np.zeros((n, n), dtype=bool)  # whether each unit is surely above each other: (n, n)
    for rows in np.array_split(np.arange(n), max(1, n * n // 200_000)):
        above[rows] = values[rows][:, None] - values > critical * np.maximum(of_pairs(rows), 1e-12)
    like_first = [name for name, is_apart in zip(names, above[:1].ravel(), strict=True) if not is_apart]
    leaders: list[str] = []
    while (start := len(leaders)) < n:
        leaders += [names[start]] * (int(above[start].argmax()) - start if above[start].any() else n - start)
    frame = known.select(
        "unit",
        "value",
        rank=pl.col("value").rank("min", descending=largest_first).cast(pl.Int64),
        rank_low=pl.Series(1 + above.sum(0), dtype=pl.Int64),
        rank_high=pl.Series(n - above.sum(1), dtype=pl.Int64),
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
