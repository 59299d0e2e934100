"""The drawings: their traces and titles; the numbers are tested in test_points."""

import pytest

from core.analysis.ranking import benchmarks, groups, with_scores
from core.locale import LANGUAGES
from core.report.figures import COLOURS, correlator_figure, profile_figure, ranking_figure
from core.report.points import correlator_points, profile_points, ranking_points
from tests.report import frames
from tests.report.frames import Model, score

A, B = Model("a"), Model("b")


def drawn(*models, language="en"):
    data = profile_points(frames.estimates(*models), frames.runs(*models), "d2", "one_per_type")
    return profile_figure(data, language)


def test_every_curve_has_a_band_a_line_and_its_marks():
    figure = drawn(A, B)
    lines = [trace for trace in figure.data if trace.mode == "lines" and trace.fill is None]
    assert [trace.name for trace in lines] == ["a", "b"]
    assert len({trace.line.dash for trace in lines}) == 2
    assert [trace.line.color for trace in lines] == COLOURS[:2]
    assert sum(trace.fill == "toself" for trace in figure.data) == 2
    open_marks = [t for t in figure.data if t.mode == "markers" and t.marker.symbol == "diamond-open" and t.legendgroup]
    assert [list(trace.y) for trace in open_marks] == [[18.0], [18.0]]


def test_titles_name_what_the_estimate_depends_on():
    figure = drawn(A)
    assert figure.layout.yaxis.title.text == "Estimated dimension (d2, one per type, N=800)"
    assert figure.layout.xaxis.title.text == "Layer (0 = embedding output)"
    assert drawn(A, language="ja").layout.yaxis.title.text == "推定次元（d2、タイプごとに1点、N=800）"
    assert drawn(A, Model("b", n_layers=6)).layout.xaxis.title.text.startswith("Relative depth")
    assert list(figure.layout.colorway) == COLOURS


@pytest.mark.parametrize("language", LANGUAGES)
def test_without_data_the_figure_says_so(language):
    assert drawn(language=language).layout.annotations[0].text
    empty = correlator_points(frames.correlators(), frames.runs(), "E1", "one_per_type")
    assert correlator_figure(empty, language).layout.annotations[0].text


def test_a_correlator_is_drawn():
    figure = correlator_figure(correlator_points(frames.correlators(A), frames.runs(A), "E1", "one_per_type"), "en")
    assert figure.layout.yaxis.title.text == "E1: first-order correlator, uncentred"


def test_scores_of_a_base_model_are_open_markers():
    runs = frames.runs(Model("a", repository="o/a"), Model("b", base_repository="o/b"))
    scored = with_scores(runs, frames.scores(score("o/a", 50.0), score("o/b", 40.0)))
    data = ranking_points(groups(runs)[0], scored, benchmarks(scored).row(0, named=True))
    own, base = ranking_figure(data, "en").data
    assert (own.marker.symbol, list(own.x), list(own.y)) == ("circle", [106.0], [50.0])
    assert (base.marker.symbol, base.name) == ("circle-open", "score of the base model")
    assert own.error_x.array[0] == pytest.approx(0.07 * 106)
