"""What curves are held against: control passes and Gaussian points, as numbers and as thin lines."""

from __future__ import annotations

from dataclasses import replace

import polars as pl
import pytest

from core import wording
from core.figures.chart_figure import chart_figure
from core.figures.layer_profiles import layer_chart
from core.figures.profile_data import (
    SURROGATE,
    control_references,
    correlator_points,
    profile_points,
    range_of_seeds,
    select_estimates,
    surrogate_references,
)
from core.locale import in_language
from tests import frames
from tests.frames import Model

A, B = Model("a"), Model("b")
RANDOM = Model("a", pass_="random_init", seed=1, embedding=576.0, peak=300.0, final=8.6)
SHUFFLED = Model("a", pass_="shuffled")


def controls(*pairs: tuple[Model, Model]) -> pl.DataFrame:
    """As `control_links`: a run on text with a run that controls it, in each row."""
    rows = [
        (text.id, control.id, control.pass_, 0, 7 if control.pass_ == "random_init" else None)
        for text, control in pairs
    ]
    return pl.DataFrame(rows, ["text_run_id", "run_id", "pass", "seed", "model_seed"], orient="row")


def data_of(*models: Model):
    return profile_points(frames.estimates(*models), frames.runs(*models), "d2", "one_per_type")


def test_control_passes_are_references_of_their_run_only():
    found = control_references(
        data_of(A, B), frames.estimates(RANDOM, SHUFFLED), controls((A, RANDOM), (A, SHUFFLED)), frames.runs(A, B)
    )
    assert [(one.kind, one.of_run_id, one.model_seed) for one in found] == [
        ("random_init", A.id, 7),
        ("shuffled", A.id, None),
    ]
    assert [mark.value for mark in found[0].marks] == RANDOM.values()
    assert all(mark.lower is None for mark in found[0].marks)


def test_a_control_of_a_run_without_a_curve_is_left_out():
    found = control_references(data_of(B), frames.estimates(RANDOM), controls((A, RANDOM)), frames.runs(A, B))
    assert found == []


def test_correlators_are_held_against_those_of_the_controls():
    data = correlator_points(frames.correlators(A), frames.runs(A), "E1", "one_per_type")
    (found,) = control_references(data, frames.correlators(RANDOM), controls((A, RANDOM)), frames.runs(A))
    assert found.marks[2].value == pytest.approx(0.12)


def test_surrogates_are_read_at_the_same_scale():
    runs, estimates = frames.runs(A), frames.estimates(A)
    gaussian = estimates.with_columns(transform=pl.lit(SURROGATE), value=2 * pl.col("value"))
    data = profile_points(pl.concat([estimates, gaussian]), runs, "gride", "one_per_type")
    (found,) = surrogate_references(data, gaussian, runs)
    assert [mark.value for mark in found.marks] == [2 * mark.value for mark in data.curves[0].marks]
    assert len(data.curves[0].marks) == 11, "the surrogate is no part of the curve"


def test_a_linear_axis_ends_above_the_curves_where_random_weights_would_press_them_flat():
    references = control_references(data_of(A), frames.estimates(RANDOM), controls((A, RANDOM)), frames.runs(A))
    pressed = replace(data_of(A), references=references)
    assert pressed.cuts_controls and not replace(pressed, is_log=True).cuts_controls
    late = [mark for mark in references[0].marks if mark.value < 2 * A.peak]
    assert late and not replace(data_of(A), references=[replace(references[0], marks=late)]).cuts_controls
    assert not replace(data_of(A), references=[replace(references[0], kind=SURROGATE)]).cuts_controls
    assert not data_of(A).cuts_controls


@pytest.mark.parametrize(
    ("language", "name", "second"), [("en", "random weights", "log scale"), ("ja", "ランダム重み", "対数目盛")]
)
def test_references_are_thin_lines_that_hide_with_their_run(language, name, second):
    references = control_references(data_of(A), frames.estimates(RANDOM), controls((A, RANDOM)), frames.runs(A))
    figure = in_language(
        language, lambda: chart_figure(layer_chart(replace(data_of(A), references=references, is_log=True)))
    )
    thin = [trace for trace in figure.data if trace.line.width == 1.3 and "lines" in trace.mode]
    (line,) = thin
    assert line.legendgroup == "a" and name in line.name and line.name.endswith("7") and not line.showlegend
    assert list(line.y) == RANDOM.values() and line.line.dash == "dot"
    (end,) = [trace for trace in figure.data if trace.mode == "text" and trace.text[0].strip("\u00a0") == name]
    assert end.legendgroup == "a", "the line is labelled, not told by its dash, and its label is hidden with it"
    assert end.x[0] == figure.layout.xaxis.range[1] and end.y[0] == pytest.approx(RANDOM.values()[-1], rel=0.01)
    assert figure.layout.yaxis.type == "log" and figure.layout.yaxis.title.text.endswith(f"<br>{second}")


def test_an_equivalent_is_a_range_over_the_ranks_and_leaves_gaps():
    at_8 = frames.estimates(A).filter(estimator="gride", n1=8)
    missing = pl.col("layer").is_in([3, 10])
    estimates = pl.concat(
        at_8.with_columns(
            n1=pl.lit(n1, at_8.schema["n1"]),
            gaussian_equivalent=pl.when(missing).then(None).otherwise(factor * pl.col("value")),
        )
        for n1, factor in ((2, 0.5), (8, 2.0), (32, 3.0))
    )
    data = profile_points(estimates, frames.runs(A), "gride", "one_per_type", 8, is_equivalent=True)
    curve, value = data.curves[0], A.embedding / 4 + 8
    assert [mark.layer for mark in curve.marks] == [0, 1, 2, 4, 5, 6, 7, 8, 9]
    assert (curve.marks[0].lower, curve.marks[0].upper) == pytest.approx((0.5 * value, 3.0 * value))
    assert curve.final is None, "layer 9 is not the final state"
    lines = [trace for trace in chart_figure(layer_chart(data)).data if trace.mode == "lines" and trace.fill is None]
    assert [line.y[0] for line in lines[:2]] == pytest.approx([0.5 * value, 3.0 * value]), "its ends and no middle"
    assert [list(line.x) for line in lines] == [[0, 1, 2]] * 2 + [[4, 5, 6, 7, 8, 9]] * 2, "no line crosses a gap"
    assert lines[0].hovertext[0] == f"a<br>Layer 0: {wording.number(0.5 * value)} – {wording.number(3.0 * value)}"


def test_a_transform_is_another_curve_without_a_band():
    estimates = pl.concat([frames.estimates(A), frames.estimates(A).with_columns(transform=pl.lit("abtt3"))])
    plain = profile_points(estimates, frames.runs(A), "d2", "one_per_type")
    assert len(plain.curves[0].marks) == 11 and plain.curves[0].band
    other = profile_points(estimates, frames.runs(A), "d2", "one_per_type", transform="abtt3")
    assert len(other.curves[0].marks) == 11 and other.curves[0].band is None
    assert chart_figure(layer_chart(other)).layout.yaxis.title.text.endswith("<br>three leading components removed")


def test_local_d2_is_read_at_its_number_of_neighbours():
    estimates = pl.concat(
        frames.estimates(A)
        .filter(estimator="d2")
        .with_columns(estimator=pl.lit("local_d2"), n2=pl.lit(k, dtype=pl.Int64), value=pl.col("value") * k / 100)
        for k in (20, 50)
    )
    assert set(select_estimates(estimates, "local_d2", "one_per_type", None, 50, "centred")["n2"]) == {50}
    data = profile_points(estimates, frames.runs(A), "local_d2", "one_per_type", n2=50)
    assert data.curves[0].marks[0].value == pytest.approx(A.embedding / 2)
    assert "k=50" in chart_figure(layer_chart(data)).layout.yaxis.title.text


def test_a_control_of_several_draws_has_one_reference_for_each():
    control = Model("a", run_id="m", pass_="matched_blocks", model_seed=0)
    rows = [("m", seed, layer, 40.0 + seed + layer, None, None) for seed in (0, 1, 2) for layer in range(3)]
    seeds = pl.DataFrame(rows, ["run_id", "model_seed", "layer", "value", "lower", "upper"], orient="row")
    against = (frames.estimates(control), controls((A, control)), frames.runs(A), seeds)
    found = control_references(data_of(A), *against)
    assert [one.model_seed for one in found] == [0, 1, 2]
    assert [(mark.lower, mark.upper) for mark in range_of_seeds(found)] == [(40, 42), (41, 43), (42, 44)]
    words = profile_points(frames.estimates(A), frames.runs(A), "d2_all_pairs", "one_per_type")
    assert len(control_references(words, *against)) <= 1
