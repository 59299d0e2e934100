"""Kendall's W: whether several texts (or tasks) put the same models in the same order."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from core.analysis.resampling import (
    bca_interval,
    centred_ranks,
    fisher_interval,
    is_resampled,
    n_orders,
    permutation_p_value,
    random_orders,
    rank_matrix,
    resamples,
)
from core.analysis.units import FEWEST_EXPLORATORY, Numbers, to_floats
from core.errors import InputError


@dataclass(frozen=True)
class Concordance:
    """Agreement of several texts (or tasks) on the order of the same models."""

    w: float | None
    """Kendall's W, 0 to 1, corrected for ties."""
    lower: float | None
    upper: float | None
    """95 percent, by bootstrap over models."""
    p: float | None
    """Against unrelated orders: each text's order permuted independently."""
    n: int
    """Models with a value on every text."""
    n_orders: int
    reason: str | None = None
    """Why there is none: `too_few`, `one_value`."""


def concordance(orders: Mapping[str, Numbers], seed: int = 0) -> Concordance:
    """Kendall's W of the same models under several texts or tasks, given by name in `orders`. Models without all values
    are left out. Raises InputError for different lengths."""
    if len({len(values) for values in orders.values()}) > 1:
        raise InputError("Orders of one set of models have one value of each model.")
    table = np.array([to_floats(values) for values in orders.values()]).reshape(len(orders), -1)
    table = table[:, np.isfinite(table).all(0)]  # (m, n)
    m, n = table.shape
    if m < 2 or n < FEWEST_EXPLORATORY:
        return Concordance(None, None, None, None, n, m, "too_few")
    if any(len(set(row)) < 2 for row in table):
        return Concordance(None, None, None, None, n, m, "one_value")
    ranks = centred_ranks(table)
    w = float((ranks.sum(0) ** 2).sum() / (m * (ranks**2).sum()))
    if is_resampled(n):
        of_rows = [rank_matrix(row) for row in table]
        drawn, left_out = (_concordances(counts, of_rows) for counts in (resamples(n, seed), 1 - np.eye(n)))
        lower, upper = bca_interval(w, drawn, left_out, 0.95)
    else:  # W is 1/m more than the mean rho of two of them, times (m - 1) / m
        lower, upper = (((m - 1) * end + 1) / m for end in fisher_interval((m * w - 1) / (m - 1), n, 0.95))
    sums = np.tile(ranks[0], (n_orders(n), 1))
    for which, row in enumerate(ranks[1:]):
        sums += row[random_orders(n, seed, 1 + which, len(sums))]
    p = permutation_p_value((sums**2).sum(1), float((ranks.sum(0) ** 2).sum()), is_exact=False)
    return Concordance(w, lower, upper, p, n, m)


def _concordances(counts: np.ndarray, below: Sequence[np.ndarray]) -> np.ndarray:
    """W where model i occurs counts[., i] times; (m,). Squared rank sums over their maximum given the ties."""
    n = counts.sum(1, keepdims=True)
    ranks = np.stack([counts @ b.T - n / 2 for b in below], 1)
    between = np.einsum("mkn,mln,mn->m", ranks, ranks, counts, optimize=True)
    within = np.einsum("mkn,mn->m", ranks**2, counts)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(between / (len(below) * within))
