"""Stored plans read again: another budget, the Pareto front, and rules held against what came."""

from dataclasses import replace

import pytest

from core.analysis.plans import (
    fallen_abilities,
    harder_text_prices,
    layer_directions,
    other_choices,
    pareto_front,
    rule_forecasts,
    rule_records,
    search_steps,
    sets_within_budget,
    standing,
)
from core.records import LayerPlan
from tests.plans.made import SINGLES, layer_plan


@pytest.mark.parametrize(
    ("budget", "blocks", "is_plan"),
    [(0.009, None, False), (0.01, [3], False), (0.03, [3, 4], False), (0.05, [3, 4, 6], True)],
)
def test_a_budget_allows_what_stays_below_it_with_its_upper_limit(budget, blocks, is_plan):
    at = sets_within_budget(layer_plan(), budget)
    assert (at.price and at.price.blocks, at.is_plan) == (blocks, is_plan)
    assert at.cheapest.blocks == [3]


def test_the_plans_own_set_stands_for_its_size_healed_where_it_is():
    found = layer_plan(is_healed=True)
    steps = search_steps(found)
    assert [len(row.blocks) for row in steps] == [1, 2, 3] and (steps[-1].is_healed, steps[-1].difference) == (
        True,
        0.02,
    )
    assert sets_within_budget(found, 0.025).is_plan


def test_a_block_that_was_repaired_alone_stands_before_a_dearer_plan_that_was_not():
    found = layer_plan(blocks=[3], loss_increase=0.06)
    alone = next(row for row in found.of("held_out", "loss") if row.is_chosen and row.unit == "block")
    alone = replace(alone, blocks=[3], difference=0.06, lower=0.05, upper=0.07)
    repaired = replace(alone, rule="path", is_chosen=False, is_healed=True, difference=0.04, upper=0.045)
    steps = LayerPlan(found.plan, [alone, replace(alone, rule="path", is_chosen=False), repaired])
    assert search_steps(steps) == [repaired, alone] and search_steps(steps, repaired=False) == [alone]
    assert sets_within_budget(steps, 0.05).price is repaired and not sets_within_budget(steps, 0.05).is_plan
    assert sets_within_budget(steps, 0.04).cheapest is repaired
    assert sets_within_budget(steps, 0.08).is_plan, "the plan, which was held against more, where it is allowed"
    dearer = replace(repaired, upper=0.09)
    assert search_steps(replace(steps, outcomes=[*steps.outcomes[:2], dearer])) == [alone]


def test_the_abilities_of_a_plan_made_before_they_counted_are_read_from_its_rows():
    found = layer_plan(reasons=["no_room_brackets"])
    copying = next(row for row in found.outcomes if row.text == "copying")
    lost = [
        replace(copying, text=text, value_before=0.8, value_after=0.1, difference=-0.7)
        for text in ("digit_sums", "brackets")
    ]
    assert standing(found) == "recommended"
    old = LayerPlan(found.plan, [*found.outcomes, *lost])
    assert [row.text for row in fallen_abilities(old)] == ["digit_sums"] and standing(old) == "ability_falls"


def test_of_each_rule_that_chose_other_blocks_the_cheapest_is_held_against_the_plan():
    found = layer_plan()
    dearer = replace(found.of("held_out", "loss", "influence")[0], blocks=[0, 1, 2], difference=0.07)
    choices = other_choices(replace(found, outcomes=[dearer, *found.outcomes]))
    assert [(row.rule, row.difference) for row in choices] == [("influence", 0.05), ("last_angle", 0.09)]


def test_what_a_task_loses_to_a_projection_is_no_price_of_the_plan():
    found = layer_plan()
    projected = next(row for row in found.outcomes if row.rule == "projection" and row.is_chosen)
    outcomes = [*found.outcomes, replace(projected, text="task")]
    assert [row.text for row in harder_text_prices(replace(found, outcomes=outcomes))] == ["typos", "copying"]


def test_the_front_leaves_out_what_more_blocks_undercut():
    rows = layer_plan().of("held_out", "loss")
    sets = [row for row in rows if row.unit == "block"]
    worse = replace(sets[0], blocks=[1], difference=0.2)
    assert [row.difference for row in pareto_front([*sets, worse])] == [0.008, 0.017, 0.031]


def test_rules_are_held_against_what_their_sets_cost():
    records = rule_records([*layer_plan("a").outcomes, *layer_plan("b").outcomes])
    assert [(one.rule, one.n_plans, one.n_cheapest) for one in records] == [
        ("greedy", 2, 2),
        ("influence", 2, 0),
        ("last_angle", 2, 0),
    ]
    assert records[1].excess == pytest.approx(0.019)


def test_sums_of_single_blocks_are_held_against_the_price_of_sets():
    found = layer_plan()
    sizes = {found.plan.plan_id: 3}
    assert rule_forecasts(found.outcomes, sizes) == []  # too few sets of three
    like = next(row for row in found.outcomes if row.rule == "random")
    sets = [[a, b, c] for a in range(4) for b in range(4, 6) for c in range(6, 8)]
    priced = [replace(like, blocks=one, difference=sum(SINGLES[block] for block in one) ** 2) for one in sets]
    singles = [row for row in found.outcomes if row.rule == "single"]
    (told,) = rule_forecasts([*singles, *priced], sizes)
    assert told.alone == pytest.approx(1)
    assert told.influence == pytest.approx(1, abs=0.01)  # equal sums may differ by round-off


def test_needed_directions_stand_beside_each_layer():
    (point,) = layer_directions(layer_plan())
    assert (point.layer, point.rank, point.d2) == (4, 128, None)
