"""Contrasts with the base recipe, and the joint test of all specifications, where the answer is known."""

import numpy as np
import pytest
from scipy import stats

from tests.ladder.contrasts import contrasts, joint_test, variation


def test_a_recipe_that_differs_in_both_stands_and_one_that_differs_in_one_does_not():
    base = [(40.0 * np.exp(0.02 * at), -1.5 + 0.01 * at) for at in (-1, 0, 1)]
    up, half = contrasts({"up": (80.0, -1.0), "half": (80.0, -1.5)}, base)
    error = 0.02 * np.sqrt(4 / 3)
    assert up.dimension == pytest.approx(np.log(2) / error) and up.performance == pytest.approx(0.5 / (error / 2))
    assert up.p == pytest.approx(2 * stats.t.sf(up.dimension, 2)) and up.corrected_p == pytest.approx(2 * up.p)
    assert not up.is_as_published and half.p == pytest.approx(1) and half.corrected_p == 1


def test_recipes_that_vary_more_than_the_base_recipe_are_told_and_those_that_lie_apart_are_named(monkeypatch):
    monkeypatch.setattr("gc.collect", lambda: 0)  # by the library's correction each time: half a second among tests
    draw = np.random.default_rng(4)

    def runs(n: int, at: float, spread: float) -> list[tuple[float, float]]:
        return [
            (float(np.exp(at + spread * one)), float(at + spread * other)) for one, other in draw.normal(size=(n, 2))
        ]

    base = runs(7, 0.0, 0.1)
    found = variation({"far": runs(3, 2.0, 0.1), "near": runs(3, 0.0, 0.1), "wide": runs(3, 0.0, 2.0)}, base)
    assert found.apart == ("far",)
    assert found.dimension[0] > 3 and found.dimension[1] < 0.05 and found.performance[0] > 3
    p_values = [variation({"a": runs(3, 0, 1), "b": runs(3, 1, 1)}, runs(7, 0, 1)).dimension[1] for _ in range(60)]
    assert np.mean(np.array(p_values) <= 0.1) == pytest.approx(0.1, abs=0.11)


def test_the_joint_test_counts_copies_of_a_specification_once():
    draw = np.random.default_rng(3)
    p_values = []
    for seed in range(60):
        x, y = draw.normal(size=(2, 18))
        p_values.append(joint_test(np.tile(x, (6, 1)), y, seed).p)
    assert np.mean(np.array(p_values) <= 0.2) == pytest.approx(0.2, abs=0.15)
    found = joint_test(np.tile(x, (6, 1)), x)
    assert (found.median, found.p) == (pytest.approx(1), pytest.approx(1e-4)) and found.effective == pytest.approx(1)
    assert 4 < joint_test(draw.normal(size=(6, 400)), draw.normal(size=400)).effective < 6.1
