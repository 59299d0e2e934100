"""Layers against layers: the matrix by value, its colours' ends, and what the pointer says."""

from __future__ import annotations

import math
from dataclasses import asdict

import polars as pl
import pytest

from core.figures.within_layers import displacement_exponent, pair_figure, successive_chart
from core.locale import LANGUAGES, in_language
from core.tables import LayerPairRow
from tests.profiles import make_profile

RUN = "run"


def pairs(measure: str = "information_imbalance", **changes) -> pl.DataFrame:
    """Two layers; from 0 to 1 the value is 0.2, back it is 0.6."""
    values = {(0, 0): 0.01, (0, 1): 0.2, (1, 0): 0.6, (1, 1): 0.01} | changes.get("values", {})
    rows = [LayerPairRow(RUN, measure, "one_per_type", 1, a, b, v, 0.031, 512) for (a, b), v in values.items()]
    rows.append(LayerPairRow(RUN, "displacement_exponent", "one_per_type", None, 1, 29, 0.61, 0.03, 512))
    rows.append(LayerPairRow("other", measure, "one_per_type", 1, 0, 5, 0.9, 0.01, 99))
    return pl.DataFrame([asdict(row) for row in rows])


def test_a_directed_measure_keeps_its_direction():
    figure = pair_figure(pairs(), RUN, "information_imbalance")
    drawn = figure.data[0]
    assert drawn.x == drawn.y == (0, 1)
    assert (drawn.z[1][0], drawn.z[0][1]) == (0.2, 0.6), "layer_a runs across, layer_b up"
    assert drawn.customdata[1][0] == "From layer 0 to layer 1: 0.200 ± 0.031"
    assert (figure.layout.xaxis.title.text, figure.layout.yaxis.title.text) == ("From layer", "To layer")


@pytest.mark.parametrize(
    ("measure", "values", "ends"),
    [
        ("cka", {}, (0, 1)),
        ("autocorrelation", {(0, 1): -0.2}, (-0.2, 1)),
        ("displacement", {}, (0, 2)),
        ("displacement", {(0, 1): 2.1}, (0, 2)),
    ],
)
def test_two_runs_are_read_by_one_scale(measure, values, ends):
    drawn = pair_figure(pairs(measure, values=values), RUN, measure).data[0]
    assert (drawn.zmin, drawn.zmax) == ends


def test_the_colour_bar_names_the_measure_and_its_points():
    bar = pair_figure(pairs("neighbour_overlap"), RUN, "neighbour_overlap").data[0].colorbar
    assert bar.title.text.startswith("Neighbourhood overlap") and "N=512, k=1" in bar.title.text


def test_a_pair_that_was_not_measured_stays_empty():
    figure = pair_figure(pairs().filter(pl.col("layer_b") != 1), RUN, "information_imbalance")
    assert figure.data[0].z == ([0.01, 0.6], [None, None])


def test_the_exponent_comes_with_its_layers():
    found = displacement_exponent(pairs(), RUN)
    assert (found.value, found.std_error, found.layer_a, found.layer_b) == (0.61, 0.03, 1, 29)
    assert displacement_exponent(pairs(), "other") is None


def of_profile() -> tuple[pl.DataFrame, str]:
    profile = make_profile()
    return pl.DataFrame([asdict(row) for row in profile.pairs]), profile.run.run_id


def test_what_is_stored_once_is_drawn_on_both_sides_and_tells_its_null():
    kept = pair_figure(*of_profile(), "kept").data[0]
    assert kept.z[3][1] == kept.z[1][3] == pytest.approx(50 * 0.64)
    assert kept.customdata[1][3].endswith("(by chance 0.0100)")
    common = pair_figure(*of_profile(), "common_dimension").data[0]
    assert common.z[1][1] == pytest.approx(math.log10(50)) == common.zmin


def test_kept_gone_and_new_dimensions_come_with_errors_and_chance():
    kept, gone, _new, null = successive_chart(*of_profile(), "kept").series
    assert [point.x for point in kept.points] == [1, 2, 3, 4]
    assert [point.y for point in kept.points[1:]] == pytest.approx([40.0] * 3)
    assert [point.upper - point.y for point in gone.points] == [4.0] * 4
    assert kept.points[1].upper - kept.points[1].y == pytest.approx(3.2)
    assert max(point.upper for point in null.points) == pytest.approx(1.01)
    *_measured, null = successive_chart(*of_profile(), "neighbour_overlap").series
    assert null.points[0].y == pytest.approx(8 / 799)


@pytest.mark.parametrize("language", LANGUAGES)
def test_without_rows_the_figure_says_so(language):
    assert in_language(language, pair_figure, pairs().clear(), RUN, "cka").layout.annotations[0].text
    assert in_language(language, successive_chart, of_profile()[0].clear(), RUN, "cka").alternative
