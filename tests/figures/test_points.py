"""The numbers in the pictures, by value."""

import polars as pl
import pytest

from core.analysis.ranking import with_text_marks
from core.figures.chart_figure import chart_figure
from core.figures.profile_data import correlator_points, of_protocol, profile_points, t_95
from core.figures.scores import relation_chart, score_axis
from core.locale import in_language
from core.questions.ranking_answer import answer_question
from core.questions.ranking_question import Evidence, RankingQuestion, select_population
from core.wording.labels import distinct_short_names, distinguishing_names, run_labels, shortened_name
from tests import frames
from tests.frames import Model, score

A = Model("a", n_layers=10)
ENCODER = Model("e", kind="encoder", tokenizer_hash="tok2", n_layers=6, final_post_norm=None)


def profile(*models, estimator="d2", n1=None):
    return profile_points(frames.estimates(*models), frames.runs(*models), estimator, "one_per_type", n1)


def test_a_curve_ends_before_the_final_norm():
    data = profile(A)
    curve = data.curves[0]
    assert [mark.value for mark in curve.marks] == A.values()
    assert [mark.layer for mark in curve.marks] == list(range(11))
    assert curve.marks[5].depth == 0.5
    assert curve.final.value == 21.7
    assert (curve.post_norm.value, curve.post_norm.layer) == (18.0, 10)
    assert curve.final.lower == pytest.approx(0.93 * 21.7)
    assert data.n_points == (800, 800)


def test_the_working_band_belongs_to_d2_only():
    assert profile(A).curves[0].band == (2, 4)
    assert [mark.layer for mark in profile(A).curves[0].in_band] == [2, 3, 4]
    assert profile(A, estimator="gride", n1=1).curves[0].band is None


def test_gride_is_read_at_rank_eight_unless_asked_otherwise():
    assert profile(A, estimator="gride").curves[0].marks[0].value == A.embedding / 4 + 8
    assert profile(A, estimator="gride", n1=1).curves[0].marks[0].value == A.embedding / 4 + 1


def test_models_of_other_depths_are_compared_by_relative_depth():
    assert profile(A, Model("b", n_layers=10)).same_depth
    assert not profile(A, ENCODER).same_depth
    assert profile(A, ENCODER).curves[1].post_norm is None


def test_sizes_count_the_chosen_runs_only():
    other = Model("b", n_points=100)
    data = profile_points(frames.estimates(A, other), frames.runs(A), "d2", "one_per_type")
    assert data.n_points == (800, 800)


def test_undefined_values_are_left_out():
    estimates = frames.estimates(A).with_columns(value=pl.when(pl.col("layer") == 3).then(None).otherwise("value"))
    data = profile_points(estimates, frames.runs(A), "d2", "one_per_type")
    assert 3 not in [mark.layer for mark in data.curves[0].marks]


def test_nothing_chosen_is_no_curve():
    data = profile_points(frames.estimates(), frames.runs(), "d2", "one_per_type")
    assert (data.curves, data.n_points, data.same_depth) == ([], (0, 0), True)
    assert profile_points(frames.estimates(), frames.runs(A), "d2", "one_per_type").curves == []


def test_correlators_carry_their_interval():
    mark = correlator_points(frames.correlators(A), frames.runs(A), "E1", "one_per_type").curves[0].marks[2]
    assert mark.value == pytest.approx(0.12)
    assert mark.upper == pytest.approx(0.12 + 2.131 * 0.01, abs=1e-5)


def test_intervals_of_correlators_follow_the_number_of_blocks():
    runs = frames.runs(A).with_columns(config=pl.lit('{"protocol": {"n_blocks": 8}}'))
    mark = correlator_points(frames.correlators(A), runs, "E1", "one_per_type").curves[0].marks[2]
    assert mark.upper == pytest.approx(0.12 + 2.365 * 0.01, abs=1e-5)
    assert t_95(16) == pytest.approx(2.131, abs=1e-3)
    assert [of_protocol(text, "n_blocks") for text in (None, "{}", "no json", '{"protocol": 1}')] == [16] * 4


def test_a_scatter_shows_one_group_and_names_who_has_no_score():
    models = [Model("a", repository="o/a", peak=90.0), Model("b", base_repository="o/b"), Model("c"), ENCODER]
    runs = frames.runs(*models)
    scores = frames.scores(score("o/a", 50.0, std_error=0.4), score("o/b", 40.0))
    answer = answer_question(select_population(Evidence(runs, scores)))
    own, base = relation_chart(answer).series
    assert [(p.name, p.x, p.y) for line in (own, base) for p in line.points] == [("a", 90.0, 50.0), ("b", 106.0, 40.0)]
    assert own.points[0].left == pytest.approx(0.93 * 90) and base.name.startswith("scores of base models")
    assert score_axis(answer) == "arc_easy (acc, 0-shot) [%]"
    asked = answer_question(select_population(Evidence(runs, scores), RankingQuestion("final")))
    assert relation_chart(asked).points[0].x == 21.7


def test_names_of_a_scatter_lose_what_all_of_them_share_and_cover_nothing():
    names = ["ladder-128-base-step1500", "ladder-128-lr-6e-3-step1500", "ladder-128-base-again-1-step1500"]
    assert distinguishing_names(names) == ["base", "lr-6e-3", "base-again-1"]
    assert distinguishing_names(names[:2]) == names[:2] and distinguishing_names(["a", "b", "c"]) == ["a", "b", "c"]
    assert distinguishing_names(["x", "x-y", "x-z"]) == ["x", "x-y", "x-z"], "no name is cut to nothing"
    long = ["ladder-192-shuffled-all-step1500", "ladder-192-decay-1-step1500"]
    assert distinct_short_names(long, lambda name: shortened_name(name, 20)) == ["shuffled-all", "decay-1"]
    assert distinct_short_names(["short", "other"], lambda name: shortened_name(name, 20)) == ["short", "other"]
    coders = [f"Qwen2.5-Coder-{size}-Instruct" for size in ("0.5B", "1.5B")]
    some = distinct_short_names([*coders, "SmolLM2", "SmolLM2"], lambda name: shortened_name(name, 20))
    assert some == ["0.5B", "1.5B", "SmolLM2", "SmolLM2"]
    long = [f"{n}{'longname' * 3}" for n in range(30)]
    models = [Model(name, peak=100.0 + 0.01 * n) for n, name in enumerate(long)]
    rows = [score(f"hub:{name}", 50.0 + n % 3) for n, name in enumerate(long)]
    crowded = answer_question(select_population(Evidence(frames.runs(*models), frames.scores(*rows))))
    chart = relation_chart(crowded)
    named = [text for trace in chart_figure(chart).data for text in trace.text or () if text]
    firsts = [point.name for point in chart.points if point.is_first]
    assert firsts and set(firsts) & set(named)
    assert 2 < len(named) < 30, "where there is no room, only a pointer tells the name"


def test_labels_say_what_differs_and_no_more():
    labels = run_labels(frames.runs(Model("a"), Model("a", seed=1), Model("b")))
    assert list(labels.values()) == ["a · seed 0", "a · seed 1", "b"]
    twins = run_labels(frames.runs(Model("a", run_id="x-000001"), Model("a", run_id="x-000002")))
    assert list(twins.values()) == ["a · 000001", "a · 000002"]


@pytest.mark.parametrize(
    ("language", "told"),
    [
        ("en", ["a · text", "a · random weights, seed 0", "a · random weights, seed 1"]),
        ("ja", ["a · テキスト", "a · ランダム重み、シード0", "a · ランダム重み、シード1"]),
    ],
)
def test_labels_call_a_control_by_its_name_and_seed(language, told):
    randoms = [Model("a", run_id=f"r{seed}", pass_="random_init", model_seed=seed) for seed in (0, 1)]
    assert list(in_language(language, run_labels, frames.runs(Model("a"), *randoms)).values()) == told
    data = in_language(
        language, profile_points, frames.estimates(*randoms), frames.runs(*randoms), "d2", "one_per_type"
    )
    assert [curve.name for curve in data.curves] == told[1:]


def test_long_names_keep_both_ends():
    assert shortened_name("abc", 5) == "abc"
    assert shortened_name("Qwen2.5-Coder-0.5B-Instruct", 15) == "Qwen2.5…nstruct"
    assert shortened_name("ladder-128-base-again-2-step1500", 26) == "ladder-128-…-2-step1500", "never in a word"
    assert len(shortened_name("x" * 90, 26)) == 26


def test_different_texts_of_one_name_are_told_apart():
    runs = frames.runs(Model("a", corpus="notes"), Model("b", corpus="notes"), Model("c", corpus="docs"))
    assert with_text_marks(runs).equals(runs)
    runs = runs.with_columns(corpus_id=pl.Series(["notes@0123456789ab", "notes@fedcba987654", "docs@0123456789ab"]))
    marked = with_text_marks(runs)
    assert marked["corpus_name"].to_list() == ["notes #012345", "notes #fedcba", "docs"]
    assert with_text_marks(marked).equals(marked)
