"""Resampling over models, or their recipes: permutations for p of Spearman's rho and Kendall's tau, a bootstrap for
intervals, p of many tests at once.

The draws depend on the number of models alone, so they are cached.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from scipy import special

from core.analysis.units import FEWEST_EXPLORATORY, Numbers, to_floats

N_PERMUTATIONS = 9999
SEED = 0
N_BOOTSTRAP = 2000
LARGEST_EXACT = 8
"""Most models for which all permutations are enumerated: 40,320. With more, 9,999 random ones."""
LARGEST_COUNTED = 170
"""Most models without ties for which Kendall's exact p is computed by counting."""
LARGEST_RESAMPLED = 300
"""With more models closed forms replace resampling: they agree to the second digit, and resampling would take seconds."""


def is_exact(n: int) -> bool:
    """Whether all permutations of n models are enumerated."""
    return n <= LARGEST_EXACT


def is_resampled(n: int) -> bool:
    """Whether n models are few enough to resample."""
    return n <= LARGEST_RESAMPLED


def spearman(x: np.ndarray, y: np.ndarray) -> float:
    """Pearson's correlation of mean ranks."""
    a, b = (centred_ranks(v) for v in (x, y))
    return float(np.clip(a @ b / math.sqrt((a @ a) * (b @ b)), -1, 1))


def centred_ranks(values: np.ndarray) -> np.ndarray:
    """Mean ranks along the last axis minus their mean."""
    return mean_ranks(values) - (values.shape[-1] + 1) / 2


def mean_ranks(values: np.ndarray) -> np.ndarray:
    """Along the last axis, 1 for the smallest; equal values share the mean of their ranks.

    That is the mean of their places counted from the left and from the right. As `scipy.stats.rankdata`, without the half
    second that importing scipy.stats takes.
    """
    left, right = (
        np.argsort(np.argsort(row, axis=-1, kind="stable"), axis=-1) for row in (values, np.flip(values, -1))
    )
    return np.asarray((left + np.flip(right, -1)) / 2 + 1)


# --- p by permuting models --------------------------------------------------------------------------------------


def n_orders(n: int) -> int:
    """Number of random permutations; a tenth for many models, where a smallest p of .001 is enough."""
    return N_PERMUTATIONS if is_resampled(n) else N_PERMUTATIONS // 10


@lru_cache(maxsize=16)
def random_orders(n: int, which: int, n_orders: int) -> np.ndarray:
    """(n_orders, n): random permutations; `which` tells draws apart that must not be alike."""
    line = np.tile(np.arange(n, dtype=np.int32), (n_orders, 1))
    return np.random.default_rng([SEED, n, which]).permuted(line, axis=1)


@lru_cache(maxsize=8)
def orders(n: int) -> np.ndarray:
    """(n_orders, n): all permutations of up to `LARGEST_EXACT` models, else random ones."""
    if is_exact(n):
        return np.array(list(itertools.permutations(range(n))), dtype=np.int32)
    return random_orders(n, 0, n_orders(n))


def permutation_p_value(null: np.ndarray, observed: float, *, is_exact: bool) -> float:
    """Share of permutations at least as extreme as observed; random ones count the observed one (Phipson and Smyth 2010)."""
    hits = int((np.abs(null) >= abs(observed) * (1 - 1e-9) - 1e-12).sum())
    return hits / len(null) if is_exact else (1 + hits) / (1 + len(null))


def spearman_p_value(x: np.ndarray, y: np.ndarray) -> float:
    """Two-sided p of Spearman's rho; Student's t beyond `LARGEST_RESAMPLED`."""
    n = len(x)
    if not is_resampled(n):
        rho = spearman(x, y)
        return 2 * float(special.stdtr(n - 2, -abs(rho) * math.sqrt((n - 2) / max(1 - rho * rho, 1e-12))))
    a, b = (centred_ranks(v) for v in (x, y))
    has_ties = len(set(x)) < n or len(set(y)) < n
    # Sorted, so that p does not depend on the order of the models.
    null = np.sort(b)[orders(n)] @ np.sort(a) if has_ties else _null_without_ties(n)
    return permutation_p_value(null, float(a @ b), is_exact=is_exact(n))


@lru_cache(maxsize=64)
def _null_without_ties(n: int) -> np.ndarray:
    ranks = np.arange(n) - (n - 1) / 2
    return np.asarray(ranks[orders(n)] @ ranks)


def kendall(x: np.ndarray, y: np.ndarray) -> tuple[float, float]:
    """tau-b and its two-sided p: exact without ties, by permutation with ties up to 60 models, else normal."""
    n = len(x)
    ties = [np.unique(v, return_counts=True)[1] for v in (x, y)]
    has_ties = any(len(of) < n for of in ties)
    excess = _concordant_excess(x, y)
    free = [n * (n - 1) / 2 - float((of * (of - 1)).sum()) / 2 for of in ties]
    if not all(free):  # one of them is constant
        return math.nan, math.nan
    tau = float(np.clip(excess / math.sqrt(free[0]) / math.sqrt(free[1]), -1, 1))
    if not has_ties and n <= LARGEST_COUNTED:
        return tau, _kendall_p(n, excess)
    if not has_ties or n > 60:
        return tau, 2 * float(special.ndtr(-abs(excess) / math.sqrt(_kendall_variance(n, *ties))))
    of_x, of_y = (np.sign(v[:, None] - v[None, :]).astype(np.float32) for v in (x, y))
    i, j = np.triu_indices(n, 1)
    permutations = orders(n)
    null = [
        of_y[part[:, i], part[:, j]] @ of_x[i, j]
        for part in np.array_split(permutations, 1 + len(permutations) // 1000)
    ]
    return tau, permutation_p_value(np.concatenate(null), excess, is_exact=is_exact(n))


def _concordant_excess(x: np.ndarray, y: np.ndarray) -> float:
    """Concordant minus discordant pairs."""
    rows = max(1, 2**20 // len(x))  # in chunks: all pairs of thousands of models take a gigabyte
    excess = 0.0
    for start in range(0, len(x), rows):
        part = slice(start, start + rows)
        excess += float((np.sign(x[part, None] - x) * np.sign(y[part, None] - y)).sum())
    return excess / 2


def _kendall_p(n: int, excess: float) -> float:
    """Two-sided p from the number of permutations with at most this many inversions (Kendall 1970, 5.2)."""
    n_pairs = n * (n - 1) // 2
    fewest = round((n_pairs - abs(excess)) / 2)
    if 2 * fewest >= n_pairs:
        return 1.0
    counts = np.zeros(fewest + 1)
    counts[0] = 1.0
    for j in range(2, n + 1):  # of the j-th, 0 to j - 1 of those before come after it
        counts = np.cumsum(counts) / j
        counts[j:] -= counts[:-j]
    return float(min(1.0, 2 * counts.sum()))


def _kendall_variance(n: int, in_x: np.ndarray, in_y: np.ndarray) -> float:
    """Null variance of concordant minus discordant pairs, given the sizes of ties (Kendall 1970, 4.6)."""
    pairs = n * (n - 1)
    of_ties = sum(float((t * (t - 1) * (2 * t + 5)).sum()) for t in (in_x, in_y))
    doubles = math.prod(float((t * (t - 1)).sum()) for t in (in_x, in_y))
    triples = math.prod(float((t * (t - 1) * (t - 2)).sum()) for t in (in_x, in_y))
    return (pairs * (2 * n + 5) - of_ties) / 18 + doubles / (2 * pairs) + triples / (9 * pairs * max(n - 2, 1))


# --- bootstrap intervals ----------------------------------------------------------------------------------------


def spearman_intervals(x: np.ndarray, y: np.ndarray, rho: float) -> list[tuple[float, float]]:
    """95 and 90 percent intervals of Spearman's rho by bootstrap over models: bias-corrected and accelerated (Efron 1987).

    In simulations at n = 10, 18, 30 their coverage is 93 to 98 percent, 99 at n = 10 and rho .9 (docs/accuracy.md); that
    of Student's t around Fisher's z with a bootstrap error was up to 99.6. Beyond `LARGEST_RESAMPLED` models: Fisher's z
    with the error of Bonett and Wright.
    """
    n, levels = len(x), (0.95, 0.90)
    if not is_resampled(n) or abs(rho) > 1 - 1e-9:
        return [fisher_interval(rho, n, level) for level in levels]
    drawn, left_out = (weighted_spearman(counts, x, y) for counts in (resamples(n), 1 - np.eye(n)))
    return [bca_interval(rho, drawn, left_out, level) for level in levels]


def rank_matrix(values: np.ndarray) -> np.ndarray:
    """(n, n): 1 where the column's value is smaller than the row's, 1/2 where equal. Its product with counts gives ranks."""
    return (values[None, :] < values[:, None]) + 0.5 * (values[None, :] == values[:, None])


def weighted_spearman(counts: np.ndarray, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Spearman's rho of x and y (n,) where unit i occurs counts[., i] times (m, n); (m,), NaN where undefined.

    Ranks are computed within each resample.
    """
    n = counts.sum(1, keepdims=True)
    a, b = (counts @ rank_matrix(v).T - n / 2 for v in (x, y))
    with np.errstate(invalid="ignore", divide="ignore"):
        rho = (counts * a * b).sum(1) / np.sqrt((counts * a * a).sum(1) * (counts * b * b).sum(1))
    return np.clip(rho, -1, 1)


@lru_cache(maxsize=16)
def resamples(n: int) -> np.ndarray:
    """(n_bootstrap, n): how often each unit occurs."""
    return np.random.default_rng([SEED, n, 1]).multinomial(n, np.full(n, 1 / n), N_BOOTSTRAP).astype(float)


def bca_interval(value: float, drawn: np.ndarray, left_out: np.ndarray, level: float) -> tuple[float, float]:
    """Efron's BCa interval from bootstrap draws and leave-one-out values; undefined ones are left out."""
    drawn, left_out = drawn[np.isfinite(drawn)], left_out[np.isfinite(left_out)]
    if not len(drawn) or not len(left_out):
        return -1.0, 1.0
    slack = 1e-9
    below = (drawn < value - slack).mean() + 0.5 * (np.abs(drawn - value) <= slack).mean()
    shift = special.ndtri(np.clip(below, 1 / len(drawn), 1 - 1 / len(drawn)))
    deviations = left_out.mean() - left_out
    squares = float((deviations**2).sum())
    acceleration = float((deviations**3).sum()) / (6 * squares**1.5) if squares > 1e-18 else 0.0
    tails = shift + special.ndtri(np.array([(1 - level) / 2, (1 + level) / 2]))
    probabilities = special.ndtr(shift + tails / np.maximum(1 - acceleration * tails, 1e-3))
    lower, upper = np.quantile(drawn, probabilities)
    return float(min(lower, value)), float(max(upper, value))


def fisher_interval(rho: float, n: int, level: float) -> tuple[float, float]:
    """The interval by Fisher's z; it always contains rho, even 1."""
    z, error = fisher_z(rho, n)
    reach = float(special.ndtri((1 + level) / 2)) * error
    return min(rho, math.tanh(z - reach)), max(rho, math.tanh(z + reach))


def fisher_z(rho: float, n: int) -> tuple[float, float]:
    """Fisher's z of Spearman's rho and its standard error (Bonett and Wright 2000, doi 10.1007/BF02294183).

    For a perfect order, z and error are those of one swap of neighbours, where they are finite.
    """
    inside = max(-rho_after_one_swap(n), min(rho_after_one_swap(n), rho))
    return math.atanh(inside), math.sqrt((1 + inside**2 / 2) / max(n - 3, 1))


def rho_after_one_swap(n: int) -> float:
    """Spearman's rho of a perfect order of n models after swapping two neighbours."""
    return 1 - 12 / (n * (n * n - 1))


# --- many tests at once -----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class DimensionSearch:
    """The largest of many coefficients, with p adjusted for the search."""

    rho: Mapping[str, float | None]
    """Of each column; None where it is constant, or fewer than 5 units have it."""
    adjusted_p: Mapping[str, float | None]
    """Of each, against the permutation distribution of the maximum: family-wise error over the whole search."""
    best: str | None
    n: int

    @property
    def largest(self) -> float | None:
        return None if self.best is None else self.rho[self.best]

    @property
    def p(self) -> float | None:
        """Adjusted p of the largest coefficient."""
        return None if self.best is None else self.adjusted_p[self.best]


def search_dimensions(columns: Mapping[str, Numbers], performance: Numbers) -> DimensionSearch:
    """Which of many dimensions (layers, specifications) correlates most with the score, with p as of `search_pairs`.

    `columns`: a dimension of each unit, in the order of `performance`. Coefficients of different n are compared by
    z = |rho| sqrt(n - 1).
    """
    scores = to_floats(performance)
    scored = np.isfinite(scores)
    y = scores[scored]
    table = [to_floats(values)[scored] for values in columns.values()]
    p_values = search_pairs(np.array(table).reshape(len(table), len(y)), y[None])[:, 0]
    rho: dict[str, float | None] = dict.fromkeys(columns)
    adjusted: dict[str, float | None] = dict.fromkeys(columns)
    z = {}
    for name, x, p in zip(columns, table, p_values, strict=True):
        has = np.isfinite(x)
        if not math.isnan(p) and len(set(y[has])) > 1:
            coefficient = spearman(x[has], y[has])
            rho[name], adjusted[name] = coefficient, float(p)
            z[name] = abs(coefficient) * math.sqrt(has.sum() - 1)
    return DimensionSearch(rho, adjusted, max(z, key=z.__getitem__, default=None), len(y))


def search_pairs(dimensions: np.ndarray, scores: np.ndarray) -> np.ndarray:
    """p of each pair of a dimension (k, n) and a score (m, n) of n units, adjusted for having looked at all pairs: (k, m).

    Against the permutation distribution of the largest of all coefficients. Whole units are permuted, which keeps what
    dimensions have in common and what scores have in common. NaN: unknown; a row with fewer than 5 known values, or equal
    ones, has no p. Within a pair the ranks are those among the known values of each.
    """
    n = dimensions.shape[1]
    if n < FEWEST_EXPLORATORY:
        return np.full((len(dimensions), len(scores)), math.nan)
    a, b = (_unit_ranks(rows) for rows in (dimensions, scores))
    permutations = orders(n)
    largest = np.zeros(len(permutations))
    for row in a:
        largest = np.maximum(largest, np.abs(row[permutations] @ b.T).max(1, initial=0))
    p_values = np.full((len(a), len(b)), math.nan)
    for i, j in itertools.product(np.flatnonzero(a.any(1)), np.flatnonzero(b.any(1))):
        p_values[i, j] = permutation_p_value(largest, float(a[i] @ b[j]), is_exact=is_exact(n))
    return p_values


def _unit_ranks(rows: np.ndarray) -> np.ndarray:
    """Centred ranks among the known values of each row, of length 1, so that their products all vary by 1 / (n - 1) under
    permutation; 0 where unknown."""
    ranks = np.zeros(rows.shape)
    for of_row, values in zip(ranks, rows, strict=True):
        known = np.isfinite(values)
        if known.sum() >= FEWEST_EXPLORATORY and len(set(values[known])) > 1:
            of_row[known] = centred_ranks(values[known])
            of_row /= math.sqrt(of_row @ of_row)
    return ranks
