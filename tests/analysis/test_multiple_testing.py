"""Many tests at once: against statsmodels, and false positives of searches and other tests."""

import math

import numpy as np
import pytest
from statsmodels.stats.multitest import multipletests

from core.analysis.multiple_testing import adjust_p_values, search_dimensions
from tests.bench import relations as bench


@pytest.mark.parametrize(("ours", "theirs"), [("holm", "holm"), ("bh", "fdr_bh")])
def test_many_p_values_are_corrected_as_by_statsmodels(ours, theirs):
    p = [0.04, 0.001, 0.2, 0.012, 0.8, 0.012]
    assert adjust_p_values(p, ours) == pytest.approx(list(multipletests(p, method=theirs)[1]))
    assert adjust_p_values([None, 0.03, None], ours) == [None, 0.03, None]
    assert adjust_p_values([], ours) == []


def test_a_search_finds_what_is_related_and_passes_over_gaps():
    y = np.arange(16.0)
    noise = np.random.default_rng(0).normal(size=(5, 16))
    layers = {f"layer {k}": row for k, row in enumerate(noise)} | {"related": -y, "flat": np.ones(16)}
    found = search_dimensions(layers, y)
    assert (found.best, found.rho[5], found.rho[6], found.adjusted_p[6]) == ("related", -1, None, None)
    assert found.p == pytest.approx(1 / 10_000)
    gaps = search_dimensions(layers | {"gaps": [None, math.nan, *y[2:]]}, [*y[:-1], None])
    assert (gaps.n, gaps.rho[7]) == (15, 1)


@pytest.mark.parametrize("name", bench.NULLS)
def test_other_tests_find_nothing_where_nothing_is(name):
    assert bench.false_positives(name, 18, 100) <= 0.12
