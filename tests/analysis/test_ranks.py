"""Ranks with intervals, classes, and differences of two."""

import math

import numpy as np
import polars as pl
import pytest
from scipy import stats

from core.analysis import intervals
from core.analysis.intervals import rank_intervals
from tests.bench import relations as bench

N_BLOCKS = 16


def ranked(frame, **options):
    return rank_intervals(bench.with_unknown(frame), **options)


def jackknifed(truth, generator, noise=0.03, shared=0.05) -> pl.DataFrame:
    """Units with these true values, of blocks with an error of their own and one that all units share."""
    truth = np.asarray(truth, dtype=float)
    scale = math.sqrt(N_BLOCKS)
    of_blocks = generator.normal(0, noise * scale, (len(truth), N_BLOCKS)) + generator.normal(
        0, shared * scale, N_BLOCKS
    )
    whole = truth + of_blocks.mean(1)
    without = truth[:, None] + (of_blocks.sum(1, keepdims=True) - of_blocks) / (N_BLOCKS - 1)
    error = np.sqrt((N_BLOCKS - 1) * without.var(1))
    return pl.DataFrame(
        {"unit": [f"m{i}" for i in range(len(truth))], "value": whole, "blocks": without.tolist(), "error": error}
    )


def test_what_all_units_share_does_not_widen_their_ranks():
    truth = np.linspace(0, 1, 12)
    frame = jackknifed(truth, np.random.default_rng(0), noise=0.02, shared=0.3)
    paired = ranked(frame)
    apart = ranked(frame.drop("blocks"))
    assert (paired.units["rank_high"] - paired.units["rank_low"]).mean() < 2
    assert (apart.units["rank_high"] - apart.units["rank_low"]).mean() > 6
    assert paired.detectable < apart.detectable


def test_standard_errors_alone_give_bonferronis_intervals():
    frame = pl.DataFrame({"unit": list("abc"), "value": [3.0, 2.0, 0.0], "error": [0.1, 0.2, 0.1]})
    found = ranked(frame)
    assert found.critical == pytest.approx(stats.t.ppf(1 - 0.05 / 6, 15))
    assert found.units.select("unit", "rank", "rank_low", "rank_high").rows() == [
        ("a", 1, 1, 1),
        ("b", 2, 2, 2),
        ("c", 3, 3, 3),
    ]
    wide = ranked(frame.with_columns(error=pl.lit(1.0)))
    assert wide.units["rank_low"].to_list() == [1, 1, 1]
    assert wide.units["rank_high"].to_list() == [3, 3, 3]


def test_classes_are_anchored_at_their_leader_and_not_chained():
    """Each neighbour can be no further told apart, yet the ends can: three classes, not one."""
    frame = pl.DataFrame({"unit": list("abcdefgh"), "value": np.arange(8.0)[::-1], "error": [0.5] * 8})
    found = ranked(frame).units
    assert found["class_leader"].to_list() == ["a", "a", "a", "d", "d", "d", "g", "g"]
    lowest_first = ranked(frame, largest_first=False).units
    assert lowest_first["unit"].to_list() == list("hgfedcba")
    assert lowest_first["rank_low"].to_list() == found["rank_low"].to_list()


def test_order_of_rows_and_shifts_change_nothing():
    frame = jackknifed(np.linspace(0, 0.4, 9), np.random.default_rng(3))
    found = ranked(frame).units
    assert ranked(frame.reverse()).units.equals(found)
    moved = frame.with_columns(pl.col("value") + 2, pl.col("blocks").list.eval(pl.element() + 2))
    assert ranked(moved).units.drop("value").equals(found.drop("value"))


def test_beyond_what_signs_are_flipped_for_bonferroni_is_wider_but_near(monkeypatch):
    frame = jackknifed(np.linspace(0, 1, 30), np.random.default_rng(4))
    flipped = ranked(frame)
    monkeypatch.setattr(intervals, "MAX_SIGN_FLIP_UNITS", 10)
    plain = ranked(frame)
    assert plain.critical != flipped.critical
    assert (plain.units["rank_low"] <= flipped.units["rank_low"] + 1).all()
    assert plain.critical == pytest.approx(flipped.critical, rel=0.15)


def test_a_unit_without_an_error_may_have_any_rank_and_hides_no_other():
    frame = pl.DataFrame({"unit": list("abc"), "value": [9.0, 5.0, 1.0], "error": [0.1, math.inf, 0.1]})
    found = ranked(frame).units
    assert found.select("rank_low", "rank_high").rows() == [(1, 2), (1, 3), (2, 3)]
    assert ranked(frame.drop("error")).detectable is None
    last = ranked(frame.with_columns(value=pl.Series([9.0, 1.0, 5.0])))
    assert last.units["class_leader"].to_list() == ["a", "c", "c"] and last.like_first == ("a", "b")


def test_no_value_one_unit_equal_values():
    one = pl.DataFrame({"unit": ["a", "b"], "value": [1.0, math.nan], "error": [0.1, 0.1]})
    found = ranked(one)
    assert found.units.rows() == [("a", 1.0, 1, 1, 1, "a")]
    assert found.detectable is None
    assert ranked(one.clear()).units.is_empty()
    same = ranked(pl.DataFrame({"unit": list("abc"), "value": [1.0] * 3, "error": [0.0] * 3})).units
    assert same["rank"].to_list() == [1, 1, 1]
    assert same["rank_high"].to_list() == [3, 3, 3]


@pytest.mark.parametrize("kind", ["equal errors", "unequal errors", "standard errors"])
def test_all_differences_of_twenty_models_are_held_at_once(kind):
    """The small form of tests/bench/relations.py."""
    held, right, _ = bench.ranks_right(bench.RankCase(20, kind), 100)
    assert held >= 0.88
    assert right >= held
