"""Intervals over documents and of shares: coverage by simulation, against statsmodels, and where nothing varies."""

from __future__ import annotations

import math

import numpy as np
import pytest
from statsmodels.stats.proportion import proportion_confint

from core.analysis.intervals import (
    NORMAL_95,
    mean_difference,
    share_difference,
    share_error,
    share_limits,
    windows_to_units,
)


@pytest.mark.parametrize("sizes", [[1] * 16 + [2] * 8, [1, 1, 1, 1, 2, 2, 3, 3, 4, 5, 9], [1] * 20 + [12], [8] * 8])
def test_the_interval_covers_as_often_as_it_says_where_windows_of_a_document_are_alike(sizes):
    generator, documents = np.random.default_rng(0), np.repeat(np.arange(len(sizes)), sizes)
    counts, covered = np.full(len(documents), 255.0), []
    for _ in range(800):
        values = generator.normal(0, 0.8, len(sizes))[documents] + generator.exponential(1, len(documents)) - 1
        found = mean_difference(values * 255, counts, documents)
        covered.append(found.lower <= 0 <= found.upper)
    assert 0.92 < np.mean(covered) < 0.98


def test_alone_windows_have_students_interval():
    values, counts = np.random.default_rng(0).normal(0.3, 0.1, 16) * 100, np.full(16, 100.0)
    found = mean_difference(values, counts)
    assert (found.value, found.n) == (pytest.approx((values / 100).mean()), 16)
    assert found.std_error == pytest.approx((values / 100).std(ddof=1) / 4)
    assert found.upper - found.value == pytest.approx(2.1314 * found.std_error, rel=1e-4)
    assert math.isnan(mean_difference(values[:1], counts[:1]).lower)


def test_a_text_of_few_documents_is_cut_into_blocks_of_neighbours():
    assert windows_to_units(np.arange(9)).tolist() == list(range(9))
    assert windows_to_units(np.zeros(16)).tolist() == [n // 2 for n in range(16)]
    assert windows_to_units(np.repeat([3, 4], 2)).tolist() == [0, 1, 2, 3]


@pytest.mark.parametrize("right", [0, 1, 20, 39, 40])
def test_a_share_has_wilsons_interval_at_its_ends_too(right):
    values = np.array([1.0] * right + [0.0] * (40 - right))
    assert share_limits(values) == pytest.approx(proportion_confint(right, 40, method="wilson"), abs=1e-9)
    grouped = share_limits(np.repeat(values, 5), np.repeat(np.arange(40), 5))
    assert grouped == pytest.approx(share_limits(values), abs=8e-3), "five equal answers are one, but for Student's t"


def test_a_share_of_few_groups_is_as_uncertain_as_they_are_and_one_group_is_one_answer():
    generator, covered, groups = np.random.default_rng(0), [], np.repeat(np.arange(5), 12)
    for _ in range(400):
        of_groups = generator.beta(0.7 * 4, 0.3 * 4, 5)
        lower, upper = share_limits((generator.random(60) < of_groups[groups]).astype(float), groups)
        covered.append(lower <= 0.7 <= upper)
    assert 0.93 < np.mean(covered) < 0.99
    one = share_limits(np.array([1.0, 0.0, 1.0, 1.0] * 9), np.zeros(36))
    assert one == pytest.approx(proportion_confint(0.75, 1, method="wilson"), abs=1e-6)


def test_a_share_of_all_has_an_error_too():
    values = np.repeat([1.0, 0.0], [30, 10])
    assert share_error(values) == pytest.approx(np.std(values, ddof=1) / np.sqrt(40))
    assert 1 - NORMAL_95 * share_error(np.ones(40)) == pytest.approx(proportion_confint(40, 40, method="wilson")[0])
    assert share_error(np.zeros(40), np.arange(40) // 8) > share_error(np.zeros(40)) > 0


def test_the_difference_of_two_ratios_is_that_of_one_where_their_counts_are_the_same():
    generator, units = np.random.default_rng(0), np.repeat(np.arange(12), 2)
    counts, one, other = generator.integers(300, 500, 24), *generator.normal(800, 90, (2, 24))
    found, same = mean_difference(one, counts, units, (other, counts)), mean_difference(one - other, counts, units)
    assert (found.value, found.lower, found.n) == pytest.approx((same.value, same.lower, same.n))
    wider = mean_difference(one, counts, units, (other, counts * generator.uniform(0.8, 1.2, 24)))
    assert wider.upper - wider.lower > found.upper - found.lower


def test_a_difference_is_the_same_whichever_is_taken_away():
    generator = np.random.default_rng(0)
    (sums, counts), (others, other_counts) = generator.uniform(300, 500, (2, 2, 24))
    found = mean_difference(sums, counts, None, (others, other_counts))
    turned = mean_difference(others, other_counts, None, (sums, counts))
    assert (found.value, found.lower, found.upper) == (-turned.value, -turned.upper, -turned.lower)


def test_shares_that_do_not_change_have_a_difference_with_an_interval():
    for share in (0.0, 0.5, 1.0):
        same = (np.arange(40) < 40 * share).astype(float)
        found = share_difference(same, same)
        assert found.value == 0 and found.lower < -0.01 and found.upper > 0.01


def test_the_difference_of_shares_covers_as_often_as_it_says():
    generator, covered = np.random.default_rng(1), []
    for _ in range(1000):
        before = (generator.random(40) < 0.9).astype(float)
        after = before * (generator.random(40) < 0.85)
        found = share_difference(before, after)
        covered.append(found.lower <= -0.9 * 0.15 <= found.upper)
    assert 0.93 < np.mean(covered) < 0.985
