"""What a layer costs grows with what its plan asks for."""

from dataclasses import replace

import numpy as np
import pytest

from core.geometry import clouds
from core.geometry.effort import extra_work, layer_effort, layer_seconds
from core.geometry.layer import CloudPlan
from core.registry.specifications import CORE_CLOUDS


@pytest.fixture(scope="module")
def plan():
    generator = np.random.default_rng(0)
    types, sequences = generator.integers(0, 500, 2000), np.repeat(np.arange(20), 100)
    tokens = clouds.Tokens(types, sequences, sequences // 2, 10)
    orders = [generator.permutation(2000) for _ in range(2)]
    return CloudPlan(
        [clouds.one_per_type(order, tokens, 400) for order in orders],
        [],
        [clouds.all_tokens(orders[0], tokens, 1000)],
        np.zeros((2, 20), bool),
    )


def test_more_asked_for_costs_more(plan):
    base = layer_seconds(plan, 128)
    assert layer_seconds(plan, 256) > base
    for change in (dict(n_surrogates=19), dict(word_draws=plan.draws), dict(prompts=(np.arange(500),))):
        assert layer_seconds(replace(plan, **change), 128) > base
    for change in (dict(core_only=CORE_CLOUDS), dict(n_surrogates=0), dict(draws=plan.draws[:1]), dict(others=[])):
        assert layer_seconds(replace(plan, **change), 128) < base


def test_a_draw_without_neighbours_costs_half_the_products(plan):
    cloud = replace(plan.others[0], name="last_token")  # of which no specification asks more
    once = layer_effort(CloudPlan([], [cloud], [], plan.halves), 10_000)
    twice = layer_effort(CloudPlan([], [cloud, cloud], [], plan.halves), 10_000)
    assert twice.products == pytest.approx(1.5 * once.products, rel=0.01) and twice.pairs == once.pairs


def test_specifications_cost_what_they_ask_of_a_cloud(plan):
    word_draws = [replace(plan.draws[0], name=name) for name in ("one_per_word", "last_token")]
    asked, not_asked = (layer_effort(replace(plan, word_draws=[draw]), 128) for draw in word_draws)
    n = len(plan.draws[0].rows)
    assert asked.products - not_asked.products > n**2 * 128 and asked.members > not_asked.members


def test_further_estimators_cost_what_their_table_says():
    assert extra_work(["skdim_lPCA", "skdim_TLE"], 2000) == pytest.approx(0.096 + 3.7)
    assert extra_work(["skdim_TLE"], 1000) == pytest.approx(3.7 / 4)
