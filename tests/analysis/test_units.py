"""Recipes counted once, and how much of what differs between runs differs between recipes."""

import numpy as np
import pingouin
import polars as pl
import pytest

from core.analysis.units import average_recipes
from tests.bench import relations as bench
from tests.bench.relations import reliability


def test_a_recipe_counts_by_the_means_of_its_measured_runs():
    frame = pl.DataFrame(
        {
            "unit": ["a", "b", "c", "d"],
            "recipe": ["x", "x", "x", None],
            "dimension": [10.0, 40.0, 99.0, 5.0],
            "dimension_error": [0.3, 0.4, 0.1, None],
            "performance": [1.0, 3.0, None, 7.0],
            "performance_blocks": [[1.0, 2.0], [3.0, 6.0], None, None],
        }
    )
    found = average_recipes(frame)
    assert found["unit"].to_list() == ["x", "d"]
    assert found["dimension"].to_list() == pytest.approx([20, 5])
    assert found["performance"].to_list() == [2, 7]
    assert found["dimension_error"].to_list() == [pytest.approx(0.25), None]
    assert found["performance_blocks"].to_list() == [[2, 4], None]


def test_the_share_of_variance_between_recipes():
    assert bench.reliable(0.6, 100) >= 0.90
    frame = bench.ladder(np.random.default_rng(1))
    dimension, performance = reliability(frame)
    for found in (dimension, performance):
        assert 0 <= found.lower < found.value < found.upper <= 1
        assert (found.n_recipes, found.n_again) == (18, 6)
    runs = frame.with_columns(pl.col("dimension").log())
    balanced = runs.filter(pl.col("recipe") == "recipe 0").with_columns(
        recipe=pl.Series(["a", "b", "c", "a", "b", "c", None]), dimension=pl.col("dimension").exp()
    )
    pairs = balanced.filter(pl.col("recipe").is_not_null())
    theirs = pingouin.intraclass_corr(
        pairs.with_columns(pl.col("dimension").log(), rater=pl.Series([0, 0, 0, 1, 1, 1])).to_pandas(),
        targets="recipe",
        raters="rater",
        ratings="dimension",
    ).iloc[0]
    found = reliability(pairs)[0]
    assert found.value == pytest.approx(max(0.0, theirs["ICC"]), abs=1e-6)
    assert reliability(frame.filter(pl.col("recipe") != "recipe 0")) == (None, None)
