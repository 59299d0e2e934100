"""A second draw of the text: judged by how far the largest inner dimension moves."""

import math
from dataclasses import replace

import pytest

from core.measure.rows import check_second_draw
from tests.profiles import make_profile

RUN_IDS = [f"01900000-0000-7000-8000-00000000000{n}" for n in (1, 2)]


def with_maximum(profile, factor):
    rows = [replace(row, inner_max=factor * 50.0) for row in profile.summaries]
    return replace(profile, summaries=rows)


@pytest.mark.parametrize(
    "factor, outcome",
    [(1.0, "pass"), (1.09, "pass"), (1.11, "warn"), (1 / 1.11, "warn"), (1.21, "veto"), (1 / 1.21, "veto")],
)
def test_a_second_draw_is_judged_by_how_far_the_largest_inner_dimension_moves(factor, outcome):
    first, later = make_profile(RUN_IDS[0]), make_profile(RUN_IDS[1], seed=1)
    check = check_second_draw(with_maximum(first, 1), with_maximum(later, factor))
    assert (check.run_id, check.check_name, check.layer, check.outcome) == (RUN_IDS[1], "second_draw", None, outcome)
    assert check.value == pytest.approx(math.log(factor), abs=1e-12) and check.std_error > 0


def test_without_an_inner_layer_there_is_nothing_to_compare():
    profile = make_profile(RUN_IDS[0])
    assert check_second_draw(profile, replace(profile, summaries=[])) is None
    undefined = [replace(row, inner_max=None, inner_max_layer=None) for row in profile.summaries]
    assert check_second_draw(replace(profile, summaries=undefined), profile) is None
