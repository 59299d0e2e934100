"""Many relations at once: against statsmodels and scipy, and false positives of searches and agreements."""

import math

import numpy as np
import polars as pl
import pytest
from scipy import stats
from statsmodels.stats.descriptivestats import sign_test as their_sign_test
from statsmodels.stats.multitest import multipletests

from core.analysis.many import adjust_p_values, concordance, relate_specifications, search_dimensions, sign_test
from core.errors import InputError
from tests.bench import relations as bench
from tests.frames import units


@pytest.mark.parametrize(("ours", "theirs"), [("holm", "holm"), ("bh", "fdr_bh")])
def test_many_p_values_are_corrected_as_by_statsmodels(ours, theirs):
    p = [0.04, 0.001, 0.2, 0.012, 0.8, 0.012]
    assert adjust_p_values(p, ours) == pytest.approx(list(multipletests(p, method=theirs)[1]))
    assert adjust_p_values([None, 0.03, None], ours) == [None, 0.03, None]
    assert adjust_p_values([], ours) == []


def test_the_sign_test_is_that_of_statsmodels():
    differences = [0.3, 0.1, 0.2, -0.1, 0.5, 0.2, 0.0, 0.4, 0.6]
    found = sign_test([*differences, None, math.nan])
    assert (found.positive, found.negative, found.zero) == (7, 1, 1)
    assert found.p == pytest.approx(their_sign_test(np.array(differences))[1])
    assert sign_test([1.0] * 6).p == pytest.approx(0.03125)
    assert sign_test([0.0, None]).p is None


def test_agreement_of_orders_is_kendalls_w():
    """W and the mean of the pairwise rho say the same: rho = (m W - 1) / (m - 1)."""
    generator = np.random.default_rng(7)
    base = generator.normal(size=12)
    orders = {f"text {k}": base + 0.8 * generator.normal(size=12) for k in range(4)}
    table = np.array(list(orders.values()))
    mean_rho = np.mean([stats.spearmanr(table[a], table[b]).statistic for a in range(4) for b in range(a)])
    found = concordance(orders)
    assert found.w == pytest.approx((3 * mean_rho + 1) / 4)
    friedman = stats.friedmanchisquare(*table.T)
    assert found.w == pytest.approx(friedman.statistic / (4 * 11))
    tied = {name: np.round(values) for name, values in orders.items()}
    assert concordance(tied).w == pytest.approx(
        stats.friedmanchisquare(*np.array(list(tied.values())).T).statistic / (4 * 11)
    )
    assert found.lower < found.w < found.upper
    assert found.p < 0.01
    assert concordance({f"text {k}": generator.normal(size=12) for k in range(4)}).p > 0.05


def test_a_search_finds_what_is_related_and_passes_over_gaps():
    y = np.arange(16.0)
    noise = np.random.default_rng(0).normal(size=(5, 16))
    layers = {f"layer {k}": row for k, row in enumerate(noise)} | {"related": -y, "flat": np.ones(16)}
    found = search_dimensions(layers, y)
    assert (found.best, found.rho[5], found.rho[6], found.adjusted_p[6]) == ("related", -1, None, None)
    assert found.p == pytest.approx(1 / 10_000)
    gaps = search_dimensions(layers | {"gaps": [None, math.nan, *y[2:]]}, [*y[:-1], None])
    assert (gaps.n, gaps.rho[7]) == (15, 1)


def test_a_relation_under_every_specification():
    frames = {f"s{k}": units(20, rho=-0.85, seed=k) for k in range(9)} | {f"n{k}": units(6, seed=k) for k in range(3)}
    found = relate_specifications(frames, "s0")
    assert (found.answer, found.n_agreeing, len(found.relations)) == ("related_as_registered", 9, 12)
    assert found.counts == {"related_as_registered": 9, "related_other_way": 0, "not_related": 0, "cannot_tell": 3}
    twice = {"s0": units(20, rho=-0.85).with_columns(recipe=pl.lit("one"))}
    assert relate_specifications(twice, "s0").relations["s0"].reasons == ("replicates",), "recipes count once here too"
    with pytest.raises(InputError, match="s9"):
        relate_specifications(frames, "s9")


@pytest.mark.parametrize("name", bench.NULLS)
def test_other_tests_find_nothing_where_nothing_is(name):
    assert bench.false_positives(name, 18, 100) <= 0.12


def test_the_interval_of_an_agreement_holds_the_truth():
    assert bench.agreement(18, 3, 0.9, 200) >= 0.90
