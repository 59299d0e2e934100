"""Coefficients, p and intervals by resampling: against scipy, and closed forms against resampling."""

import math

import numpy as np
import pytest
from scipy import stats

from core.analysis import resampling
from core.analysis.relation import relate
from core.analysis.resampling import kendall, mean_ranks, search_dimensions, search_pairs, spearman, spearman_p_value
from tests.bench import relations as bench
from tests.frames import of_units as of
from tests.frames import units


@pytest.mark.parametrize("n", [20, 100, 250])
@pytest.mark.parametrize("digits", [6, 0], ids=["no ties", "ties"])
def test_coefficients_are_those_of_scipy(n, digits):
    generator = np.random.default_rng(1)
    x, y = generator.normal(size=(2, n)).round(digits)
    assert spearman(x, y) == pytest.approx(stats.spearmanr(x, y).statistic)
    method = "exact" if digits and n <= 170 else "asymptotic"
    theirs = stats.kendalltau(x, y, method=method)
    assert kendall(x, y)[0] == pytest.approx(theirs.statistic)
    if n > 60:  # fewer models with ties are resampled
        assert kendall(x, y)[1] == pytest.approx(theirs.pvalue, rel=1e-9)
    assert mean_ranks(np.stack([x, y])).tolist() == stats.rankdata(np.stack([x, y]), axis=-1).tolist()


def test_with_few_models_p_goes_through_every_order():
    x, y = of(units(6, seed=3))

    def rho(one):
        return stats.spearmanr(one, y).statistic

    theirs = stats.permutation_test((x,), rho, permutation_type="pairings", n_resamples=np.inf)
    assert spearman_p_value(x, y) == pytest.approx(theirs.pvalue, abs=1e-12)
    assert kendall(x, y)[1] == pytest.approx(stats.kendalltau(x, y, method="exact").pvalue)
    tied = np.round(x)
    theirs = stats.permutation_test(
        (tied,), lambda one: stats.kendalltau(one, y).statistic, permutation_type="pairings", n_resamples=np.inf
    )
    assert kendall(tied, y)[1] == pytest.approx(theirs.pvalue, abs=1e-12)


def test_with_many_models_p_is_near_that_of_student():
    x, y = of(units(60, rho=0.25, seed=4))
    assert spearman_p_value(x, y) == pytest.approx(stats.spearmanr(x, y).pvalue, abs=0.01)
    assert kendall(np.round(x, -1), y)[1] == pytest.approx(stats.kendalltau(np.round(x, -1), y).pvalue, abs=0.01)


def test_with_hundreds_of_models_closed_forms_agree_with_resampling(monkeypatch):
    frame = units(250, rho=0.3, seed=14, log_parameters=np.random.default_rng(0).normal(size=250))
    resampled = relate(frame)
    monkeypatch.setattr(resampling, "LARGEST_RESAMPLED", 100)
    closed = relate(frame)
    for name in ("lower", "upper", "p"):
        assert getattr(closed, name) == pytest.approx(getattr(resampled, name), abs=0.03)
        assert getattr(closed.partial, name) == pytest.approx(getattr(resampled.partial, name), abs=0.03)


# --- many tests at once ------------------------------------------------------------------------------------------


def test_a_search_finds_what_is_related_and_passes_over_gaps():
    y = np.arange(16.0)
    noise = np.random.default_rng(0).normal(size=(5, 16))
    layers = {f"layer {k}": row for k, row in enumerate(noise)} | {"related": -y, "flat": np.ones(16)}
    found = search_dimensions(layers, y)
    assert (found.best, found.largest, found.rho["flat"], found.adjusted_p["flat"]) == ("related", -1, None, None)
    assert found.p == pytest.approx(1 / 10_000)
    gaps = search_dimensions(layers | {"gaps": [None, math.nan, *y[2:]]}, [*y[:-1], None])
    assert (gaps.n, gaps.rho["gaps"]) == (15, 1)


def test_pairs_are_corrected_for_all_of_them_with_gaps_and_without():
    """Where nothing is related, the smallest of forty p is at most .05 in a twentieth of cases, where their own p say so in
    most; what is related is found all the same."""
    generator = np.random.default_rng(1)
    dimensions = generator.normal(size=(1, 24)) + 0.5 * generator.normal(size=(4, 24))
    smallest, alone = [], []
    for _case in range(40):
        scores = generator.normal(size=(10, 24))
        scores[0, :8], scores[1] = math.nan, 1.0
        p = search_pairs(dimensions, scores)
        assert p.shape == (4, 10) and np.isnan(p[:, 1]).all() and np.isfinite(p[:, 0]).all()
        smallest.append(np.nanmin(p))
        alone.append(min(spearman_p_value(x, y) for x in dimensions for y in scores[2:]))
    assert sum(p <= 0.05 for p in smallest) <= 6 < 10 < sum(p <= 0.05 for p in alone)
    found = search_pairs(dimensions, np.vstack([scores, -dimensions[2]]))
    assert found[2, 10] == pytest.approx(1 / 10_000) and np.isnan(search_pairs(dimensions[:, :4], scores[:, :4])).all()


@pytest.mark.parametrize("name", bench.NULLS)
def test_other_tests_find_nothing_where_nothing_is(name):
    assert bench.false_positives(name, 18, 60) <= 0.12
