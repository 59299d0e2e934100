"""What single recipes do beside runs of the base recipe, and what all specifications say together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import special, stats
from statsmodels.stats.multitest import multipletests

N_ORDERS = 9_999


@dataclass(frozen=True)
class Contrast:
    """One run of a recipe beside several of the base recipe, in standard errors of their difference."""

    recipe: str
    dimension: float
    """Of the logarithm of the dimension."""
    performance: float
    p: float
    """The larger p of the two: that both differ (intersection-union test; two-sided, Student's t)."""
    corrected_p: float
    """Holm's, over all recipes."""

    @property
    def is_as_published(self) -> bool:
        """Whether the smaller dimension goes with the better performance."""
        return self.dimension * self.performance < 0


def contrasts(recipes: Mapping[str, tuple[float, float]], base: Sequence[tuple[float, float]]) -> tuple[Contrast, ...]:
    """(dimension, performance) of each recipe's run against those of the base recipe's runs, in the order of the recipes.

    A run of another recipe is taken to vary as the base recipe does: the standard error of a difference is s * sqrt(1 + 1 / m)
    with s over the m base runs, whose m - 1 are the degrees of freedom.
    """
    known = _logs(base)  # (m, 2)
    m = len(known)
    error = known.std(0, ddof=1) * np.sqrt(1 + 1 / m)
    t = (_logs(list(recipes.values())) - known.mean(0)) / error
    p = 2 * special.stdtr(m - 1, -np.abs(t)).max(1)
    corrected = multipletests(p, method="holm")[1]
    return tuple(
        Contrast(name, float(of[0]), float(of[1]), float(p_both), float(of_all))
        for name, of, p_both, of_all in zip(recipes, t, p, corrected, strict=True)
    )


@dataclass(frozen=True)
class Variation:
    """How runs of several recipes, a few starts of each, vary beside runs of the base recipe, and what they still show."""

    dimension: tuple[float, float]
    """Standard deviation within recipes over that of the base recipe, of the logarithm of the dimension; and p."""
    performance: tuple[float, float]
    apart: tuple[str, ...]
    """Recipes whose starts differ from those of the base recipe in both (Welch's test, the larger p, Holm over recipes)."""


def variation(
    recipes: Mapping[str, Sequence[tuple[float, float]]], base: Sequence[tuple[float, float]], level: float = 0.05
) -> Variation:
    """(dimension, performance) of each start of each recipe, and of the base recipe.

    p: two-sided, of the ratio of two variances (F test), with starts less recipes and base runs less one degrees of freedom.
    """
    logs = {name: _logs(runs) for name, runs in recipes.items()}
    known = _logs(base)
    n_within, n_base = sum(len(runs) - 1 for runs in logs.values()), len(known) - 1
    within = sum(((runs - runs.mean(0)) ** 2).sum(0) for runs in logs.values()) / n_within
    ratios = within / known.var(0, ddof=1)
    p = 2 * np.minimum(stats.f.sf(ratios, n_within, n_base), stats.f.cdf(ratios, n_within, n_base))
    both = [stats.ttest_ind(runs, known, equal_var=False).pvalue.max() for runs in logs.values()]
    corrected = multipletests(both, method="holm")[1]
    apart = tuple(name for name, one in zip(logs, corrected, strict=True) if one <= level)
    (of_dimension, of_performance) = zip(np.sqrt(ratios).tolist(), p.tolist(), strict=True)
    return Variation(of_dimension, of_performance, apart)


def _logs(runs: Sequence[tuple[float, float]]) -> np.ndarray:
    return np.array([(np.log(dimension), performance) for dimension, performance in runs])


@dataclass(frozen=True)
class JointTest:
    """The coefficients of all specifications as one statistic."""

    median: float
    """Of Spearman's rho."""
    p: float
    """Two-sided: how often the median is as far from 0 with scores permuted over recipes, for all specifications alike."""
    effective: float
    """Their number over the largest eigenvalue of the correlations of their ranks, as verdicts count methods."""


def joint_test(dimensions: np.ndarray, performance: np.ndarray, seed: int = 0) -> JointTest:
    """`dimensions` (k, n): each specification's dimension of the same n recipes; `performance` (n,).

    A permutation test of the whole curve of specifications (Simonsohn, Simmons and Nelson 2020, doi 10.1038/s41562-020-0912-z).
    """
    x, y = (
        stats.zscore(stats.rankdata(values, axis=-1), axis=-1) for values in (dimensions, performance)
    )  # rho = mean(x y)
    n = len(y)
    orders = np.random.default_rng(seed).permuted(np.tile(y, (N_ORDERS, 1)), axis=1)  # (orders, n)
    medians = np.median(orders @ x.T / n, axis=1)
    median = float(np.median(x @ y / n))
    p = (1 + int((np.abs(medians) >= abs(median) - 1e-12).sum())) / (N_ORDERS + 1)
    return JointTest(median, p, len(x) / float(np.linalg.eigvalsh(x @ x.T / n)[-1]))
