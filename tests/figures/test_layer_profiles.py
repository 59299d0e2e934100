"""The drawings: their traces and titles; the numbers are tested in test_points."""

import pytest

from core.figures.chart_figure import COLOURS, chart_figure
from core.figures.layer_profiles import layer_chart
from core.figures.profile_data import correlator_points, profile_points
from core.figures.scores import relation_chart
from core.locale import LANGUAGES, in_language
from core.questions.ranking_answer import answer_question
from core.questions.ranking_question import Evidence, select_population
from tests import frames
from tests.frames import Model, score

A, B = Model("a"), Model("b")


def drawn(*models, language="en"):
    data = profile_points(frames.estimates(*models), frames.runs(*models), "d2", "one_per_type")
    return in_language(language, lambda: chart_figure(layer_chart(data)))


def test_every_curve_has_a_band_a_line_and_its_marks():
    figure = drawn(A, B)
    lines = [trace for trace in figure.data if trace.mode == "lines" and trace.fill is None]
    assert [trace.name for trace in lines] == ["a", "b"]
    assert len({trace.line.dash for trace in lines}) == 2
    assert [trace.line.color for trace in lines] == COLOURS[:2]
    assert sum(trace.fill == "toself" for trace in figure.data) == 2
    assert [list(trace.y) for trace in marks_of(figure, "triangle-up-open")] == [[18.0], [18.0]]


def marks_of(figure, symbol):
    return [trace for trace in figure.data if trace.mode == "markers" and trace.marker.symbol == symbol and trace.x[0]]


@pytest.mark.parametrize(("symbol", "value"), [("diamond", 21.7), ("triangle-up-open", 18.0)])
def test_the_final_states_carry_their_interval(symbol, value):
    (mark,) = marks_of(drawn(A), symbol)
    assert list(mark.error_y.array) == pytest.approx([0.07 * value])
    assert list(mark.error_y.arrayminus) == pytest.approx([0.07 * value])


@pytest.mark.parametrize(("language", "told"), [("en", "Layer 3: 106 [99, 113]"), ("ja", "第3層：106 [99, 113]")])
def test_the_pointer_names_the_layer(language, told):
    figure = drawn(A, language=language)
    assert all(
        any(told in text for text in trace.hovertext)
        for trace in figure.data
        if trace.mode == "lines" and trace.fill is None
    )


def test_every_colour_stands_out_on_white():
    assert min(contrast_on_white(colour) for colour in COLOURS) >= 3


def contrast_on_white(colour):
    shares = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [share / 12.92 if share <= 0.04045 else ((share + 0.055) / 1.055) ** 2.4 for share in shares]
    return 1.05 / (sum(weight * part for weight, part in zip((0.2126, 0.7152, 0.0722), linear, strict=True)) + 0.05)


def test_titles_name_what_the_estimate_depends_on():
    figure = drawn(A)
    assert figure.layout.yaxis.title.text == "Estimated dimension (d2, one per type, N=800)"
    assert figure.layout.xaxis.title.text == "Layer (0 = embedding output)"
    assert drawn(A, language="ja").layout.yaxis.title.text == "推定次元（d2、異なりトークン単位、N=800）"
    assert drawn(A, Model("b", n_layers=6)).layout.xaxis.title.text.startswith("Relative depth")
    assert list(figure.layout.colorway) == COLOURS


@pytest.mark.parametrize("language", LANGUAGES)
def test_without_data_the_figure_says_so(language):
    assert drawn(language=language).layout.annotations[0].text
    empty = correlator_points(frames.correlators(), frames.runs(), "E1", "one_per_type")
    assert in_language(language, lambda: chart_figure(layer_chart(empty))).layout.annotations[0].text


def test_a_correlator_is_drawn():
    figure = chart_figure(layer_chart(correlator_points(frames.correlators(A), frames.runs(A), "E1", "one_per_type")))
    assert figure.layout.yaxis.title.text == "E1: first-order correlator, uncentred (one per type, N=800)"


def test_a_marker_says_whose_score_it_stands_for():
    runs = frames.runs(
        Model("a", repository="o/a"), Model("b", base_repository="o/b"), Model("c", repository="o/c", revision="r1")
    )
    scores = frames.scores(score("o/a", 50.0), score("o/b", 40.0), score("o/c", 45.0, "r1", std_error=0.5))
    chart = relation_chart(answer_question(select_population(Evidence(runs, scores))))
    own, unsure, base = chart_figure(chart).data
    assert (own.marker.symbol, list(own.x), list(own.y)) == ("circle", [106.0], [45.0])
    assert (unsure.marker.symbol, unsure.name) == ("cross", "this model, revision not stated")
    assert list(unsure.y) == [50.0]
    assert (base.marker.symbol, base.name) == ("triangle-up", "scores of base models, which test nothing")
    assert own.error_x.array[0] == pytest.approx(0.07 * 106)
    assert own.error_y.array[0] == pytest.approx(1.96 * 0.5, abs=1e-4), "both bars are 95 percent intervals"
    assert own.hovertext[0] == "c (106 [99, 113]): 45.0 [44.0, 46.0]"


def test_a_name_is_no_markup():
    model = Model("<b>bold</b>")
    data = profile_points(frames.estimates(model), frames.runs(model), "d2", "one_per_type")
    names = {trace.name for trace in chart_figure(layer_chart(data)).data}
    assert "&lt;b&gt;bold&lt;/b&gt;" in names and "<b>bold</b>" not in names
