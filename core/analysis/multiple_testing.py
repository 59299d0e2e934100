"""Many tests at once: the largest coefficient of a search, and p-values adjusted for their number."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from core.analysis.resampling import centred_ranks, is_exact, orders, permutation_p_value, spearman
from core.analysis.units import FEWEST_EXPLORATORY, Numbers, to_floats
from core.errors import InputError


@dataclass(frozen=True)
class DimensionSearch:
    """The largest of many coefficients, with p adjusted for the search."""

    names: tuple[str, ...]
    rho: tuple[float | None, ...]
    """Of each column; None where it is constant, or fewer than 5 units have it."""
    adjusted_p: tuple[float | None, ...]
    """Of each, against the permutation distribution of the maximum: family-wise error over the whole search."""
    best: str | None
    n: int

    @property
    def p(self) -> float | None:
        """Of the largest coefficient."""
        return self.adjusted_p[self.names.index(self.best)] if self.best is not None else None


def search_dimensions(columns: Mapping[str, Numbers], performance: Numbers, seed: int = 0) -> DimensionSearch:
    """Which of many dimensions (layers, specifications) correlates most with the score, with max-statistic p-values.

    `columns`: a dimension of each unit, in the order of `performance`. Whole units are permuted, which keeps the
    correlation between columns. Coefficients of different n are compared by z = |rho| sqrt(n - 1).
    """
    scores = to_floats(performance)
    scored = np.isfinite(scores)
    y = scores[scored]
    n = len(y)
    if n < FEWEST_EXPLORATORY:
        return DimensionSearch(tuple(columns), (None,) * len(columns), (None,) * len(columns), None, n)
    permutations = orders(n, seed)
    permuted = centred_ranks(y)[permutations]  # (n_orders, n)
    rho: list[float | None] = []
    z: list[float] = []
    complete = []  # scaled ranks of complete columns: their product with scaled score ranks is z; (n,) each
    largest = np.zeros(len(permutations))
    for name, values in columns.items():
        if len(values) != len(scores):
            raise InputError(
                "'{name}' has {n_values} units, the score has {n_every}.",
                name=name,
                n_values=len(values),
                n_every=len(scores),
            )
        x = to_floats(values)[scored]
        has = np.isfinite(x)
        if has.sum() < FEWEST_EXPLORATORY or len(set(x[has])) < 2 or len(set(y[has])) < 2:
            rho.append(None)
            z.append(math.nan)
            continue
        coefficient = spearman(x[has], y[has])
        rho.append(coefficient)
        z.append(abs(coefficient) * math.sqrt(has.sum() - 1))
        a = centred_ranks(x[has])
        a *= math.sqrt((has.sum() - 1) / (a @ a))
        if has.all():
            complete.append(a / math.sqrt(permuted[0] @ permuted[0]))
        else:  # incomplete column: scores must be ranked again in each order, at fifty times the cost
            b = centred_ranks(y[permutations][:, has])
            largest = np.maximum(largest, np.abs(b @ a) / np.sqrt(np.maximum((b * b).sum(1), 1e-12)))
    if complete:
        largest = np.maximum(largest, np.abs(permuted @ np.stack(complete, 1)).max(1))
    p_values = tuple(None if math.isnan(v) else permutation_p_value(largest, v, is_exact=is_exact(n)) for v in z)
    best = list(columns)[int(np.nanargmax(z))] if z and not np.isnan(z).all() else None
    return DimensionSearch(tuple(columns), tuple(rho), p_values, best, n)


def adjust_p_values(p_values: Sequence[float | None], method: Literal["holm", "bh"] = "holm") -> list[float | None]:
    """Adjusted p-values: Holm (1979) controls the family-wise error rate, Benjamini and Hochberg (1995) the false discovery
    rate. None stays None and does not count."""
    known = [i for i, p in enumerate(p_values) if p is not None]
    adjusted: list[float | None] = [None] * len(p_values)
    if not known:
        return adjusted
    p = np.array([p_values[i] for i in known], dtype=float)
    if method == "bh":
        from scipy import stats  # loads in half a second, and pages do not need it

        corrected = stats.false_discovery_control(p)
    elif method == "holm":
        order = np.argsort(p, kind="stable")
        stepped = np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1))
        corrected = np.empty(len(p))
        corrected[order] = np.minimum(stepped, 1)
    else:
        raise InputError("Many p-values are corrected by holm or bh, not by '{method}'.", method=method)
    for i, value in zip(known, corrected, strict=True):
        adjusted[i] = float(value)
    return adjusted
