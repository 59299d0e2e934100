"""Large-norm tokens: three charts over the layers, and where the mask begins."""

from __future__ import annotations

from dataclasses import asdict

import polars as pl

from core.figures.within_layers import large_norm_charts, mask_limit
from core.tables import LayerCorrelatorRow
from tests import frames
from tests.frames import Model

A = Model("a", n_layers=4)


def correlators() -> pl.DataFrame:
    """No large norms at layer 0 and 2, so that no share of them is known there."""
    values = {
        "large_norm_tokens": [0.0, 30.0, 0.0, 35.0, 35.0],
        "large_norm_ratio": [1.7, 12.0, 2.0, 200.0, 9.0],
        "large_norm_at_start": [None, 0.3, None, 0.9, 0.9],
    }
    rows = [
        LayerCorrelatorRow(A.id, layer, "residual", "unmasked", name, value, None, 4096)
        for name, of_layers in values.items()
        for layer, value in enumerate(of_layers)
    ]
    return pl.DataFrame([asdict(row) for row in rows], infer_schema_length=None).with_columns(
        pl.col("std_error").cast(pl.Float64)
    )


def test_each_chart_has_the_layers_of_its_own_values_and_no_line_crosses_a_gap():
    how_many, how_large, where = large_norm_charts(correlators(), frames.runs(A))
    assert [point.y for point in how_many.points] == [0, 30, 0, 35, 35] and "4,096 read" in how_many.y.title
    assert max(point.y for point in how_large.points) == 200 and how_large.y.is_log
    assert [[(point.x, point.y) for point in line.points] for line in where.series] == [[(1, 30)], [(3, 90), (4, 90)]]
    assert where.points[0].note == "a\nLayer 1: 30.0", "in the unit of its axis"


def test_the_limit_of_the_mask_is_that_of_the_run():
    assert mask_limit('{"protocol": {"norm_factor": 5}}') == 5.0
    assert [mask_limit(text) for text in (None, "{}", "no json", '{"protocol": 1}')] == [3.0] * 4


def test_each_runs_own_limit_is_drawn():
    other = pl.lit('{"protocol": {"norm_factor": 5}}')
    runs = pl.concat([frames.runs(A), frames.runs(Model("b", n_layers=4)).with_columns(config=other)])
    _, how_large, _ = large_norm_charts(correlators(), runs)
    assert [guide.at for guide in how_large.guides] == [3.0, 5.0]


def test_runs_without_norms_have_no_chart():
    assert large_norm_charts(correlators().clear(), frames.runs(A)) == []
