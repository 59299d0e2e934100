"""What size and family leave: against pingouin and plain permutation, and what is missing."""

import numpy as np
import pingouin
import polars as pl
import pytest
from scipy import stats

from core.analysis.relation import relate
from core.analysis.resampling import spearman
from tests.frames import of_units as of
from tests.frames import units


def test_given_size_the_coefficient_is_that_of_pingouin_on_normal_scores():
    generator = np.random.default_rng(5)
    size = generator.normal(size=24)
    frame = units(24, seed=6, log_parameters=size)
    frame = frame.with_columns(dimension=(pl.col("dimension").log() + pl.Series(size)).exp())
    found = relate(frame).partial
    table = frame.to_pandas()
    for name in ("dimension", "performance"):
        table[name] = stats.norm.ppf((table[name].rank() - 3 / 8) / (24 + 1 / 4))
    theirs = pingouin.partial_corr(table, "dimension", "performance", covar="log_parameters")
    assert found.r == pytest.approx(float(theirs["r"].iloc[0]))
    assert found.p == pytest.approx(float(theirs[next(c for c in theirs if c.startswith("p"))].iloc[0]), abs=0.02)
    lower, upper = theirs[next(c for c in theirs if c.startswith("CI"))].iloc[0]
    assert (
        lower - 0.05 < found.lower < lower + 0.005 < found.r < upper - 0.005 < found.upper < upper + 0.05
    )  # theirs are rounded
    assert (found.n, found.reason) == (24, None)


def test_where_size_says_all_there_is_no_coefficient():
    frame = units(14, rho=0.5, log_parameters=np.random.default_rng(2).normal(size=14))
    two = frame.with_columns(dimension=pl.Series([1.0, 2.0] * 7), log_parameters=pl.Series([18.0, 19.0] * 7))
    assert (relate(two).partial.reason, relate(two).partial.r) == ("one_value", None)


def test_within_strata_the_test_is_a_permutation_within_them():
    frame = units(12, rho=0.8, seed=12, family=["a"] * 6 + ["b"] * 6)
    found = relate(frame).strata
    parts = [of(part) for part in frame.partition_by("family")]
    draw = np.random.default_rng(0)
    observed = sum(stats.spearmanr(*part).statistic for part in parts)
    null = [sum(spearman(x, draw.permutation(y)) for x, y in parts) for _ in range(2000)]
    assert found.p == pytest.approx(np.mean(np.abs(null) >= observed - 1e-9), abs=0.02)
    sizes = frame.with_columns(log_parameters=pl.Series(np.log([1, 1.9, 1, 4, 4, 7] * 2)))
    assert relate(sizes).strata.n_strata == 4


def test_a_family_of_two_is_no_family_to_test_in():
    found = relate(units(12, family=["a", "a"] + [None] * 10))
    assert (found.strata.reason, found.strata.n, found.without_family) == ("too_few", 2, None)
