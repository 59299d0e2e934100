"""Large-norm tokens: three panels of one layer axis, and where the mask begins."""

from __future__ import annotations

from dataclasses import asdict

import polars as pl
import pytest

from core.figures.large_norms import large_norm_figure, large_norm_points, mask_limit
from core.locale import LANGUAGES, in_language
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


def test_each_panel_has_the_layers_of_its_own_values():
    data = large_norm_points(correlators(), frames.runs(A))
    assert data.n_points == (4096, 4096) and data.limits == [3.0]
    how_many, how_large, where = data.panels.values()
    assert [mark.value for mark in how_many[0].marks] == [0, 30, 0, 35, 35]
    assert max(mark.value for mark in how_large[0].marks) == 200
    assert [mark.layer for mark in where[0].marks] == [1, 3, 4]


def test_no_line_is_drawn_across_a_layer_without_large_norms():
    figure = large_norm_figure(large_norm_points(correlators(), frames.runs(A)))
    counts, _, where, limit = figure.data
    assert list(where.y) == [0.3, None, 0.9, 0.9]
    assert list(counts.y) == [0, 30, 0, 35, 35]
    assert list(limit.y) == [3.0, 3.0] and list(limit.x) == [0, 4]
    assert figure.layout.yaxis2.type == "log"
    assert [trace.showlegend for trace in (counts, where)] == [True, False]


def test_the_limit_of_the_mask_is_that_of_the_run():
    assert mask_limit('{"protocol": {"norm_factor": 5}}') == 5.0
    assert [mask_limit(text) for text in (None, "{}", "no json", '{"protocol": 1}')] == [3.0] * 4


def test_each_runs_own_limit_is_drawn():
    other = pl.lit('{"protocol": {"norm_factor": 5}}')
    runs = pl.concat([frames.runs(A), frames.runs(Model("b", n_layers=4)).with_columns(config=other)])
    figure = large_norm_figure(large_norm_points(correlators(), runs))
    assert [trace.y[0] for trace in figure.data if trace.name.startswith("limit of the mask")] == [3.0, 5.0]


@pytest.mark.parametrize("language", LANGUAGES)
def test_runs_without_norms_are_told(language):
    data = large_norm_points(correlators().clear(), frames.runs(A))
    assert data.is_empty
    assert in_language(language, large_norm_figure, data).layout.annotations[0].text
