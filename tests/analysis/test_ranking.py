"""Groups never mix what is not comparable; a score is shown only as what it is."""

import polars as pl
import pytest

from core.analysis.ranking import (
    across_tokenizers,
    filter_benchmark,
    groups,
    list_benchmarks,
    newest_runs,
    vetoed,
    with_scores,
)
from tests import frames
from tests.frames import Model, score


def names(group) -> list[str]:
    return group.rows["name"].to_list()


MADE_HERE = "scored here: Workdim 0.1.0, float32, task 1a2b3c"


@pytest.mark.parametrize(
    "other",
    [{"kind": "encoder"}, {"tokenizer_hash": "tok2"}, {"corpus": "python-source"}, {"protocol_hash": "000000000000"}],
)
def test_what_differs_in_one_key_stands_in_another_group(other):
    found = groups(frames.runs(Model("a"), Model("b"), Model("c", **other)))
    assert [names(group) for group in found] == [["a", "b"], ["c"]]


def with_stacks(runs: pl.DataFrame, *stacks: str) -> pl.DataFrame:
    return runs.with_columns(stack=pl.Series(stacks, dtype=pl.String))


def test_encoder_and_decoder_of_one_model_are_two_groups():
    runs = frames.runs(*(Model(name, kind="encoder_decoder", run_id=name) for name in "abcd"))
    found = groups(with_stacks(runs, "encoder", "decoder", "main", "main"))
    assert sorted((group.shared["stack"], names(group)) for group in found) == [
        ("decoder", ["b"]),
        ("encoder", ["a"]),
        ("main", ["c", "d"]),
    ]
    models = [Model("a", tokenizer_hash="tok1"), Model("b", tokenizer_hash="tok2")]
    apart = with_stacks(frames.runs(*models), "encoder", "decoder")
    assert across_tokenizers(apart, frames.summaries(*models)) == []


def test_the_newest_run_of_each_model_stack_text_and_protocol_counts():
    runs = frames.runs(*(Model("a", run_id=run_id) for run_id in "pqrs"), Model("a", run_id="t", corpus="other"))
    found = newest_runs(with_stacks(runs, "main", "main", "encoder", "encoder", "main"))
    assert found["run_id"].to_list() == ["p", "r", "t"]


def test_only_runs_on_unchanged_text_are_compared():
    found = groups(frames.runs(Model("a"), Model("a", pass_="random_init"), Model("a", pass_="shuffled")))
    assert [names(group) for group in found] == [["a"]]


def test_a_vetoed_run_is_left_out_and_named_with_its_checks_until_the_veto_is_lifted():
    runs = frames.runs(Model("a"), Model("b", worst_check="veto"), Model("c", worst_check="warn"))
    assert [names(group) for group in groups(runs)] == [["a", "c"]]
    assert [names(group) for group in groups(runs, include_vetoed=True)] == [["a", "b", "c"]]
    assert vetoed(runs).select("name", "vetoed_by").rows() == [("b", ["sequence_share"])]


def test_a_run_without_checks_is_no_vetoed_run():
    runs = frames.runs(Model("a")).with_columns(worst_check=pl.lit(None, dtype=pl.String))
    assert [names(group) for group in groups(runs)] == [["a"]]
    assert vetoed(runs).is_empty()


A, B = Model("a", tokenizer_hash="tok1"), Model("b", tokenizer_hash="tok2")


def test_models_with_different_tokenizers_are_compared_on_the_words_that_they_share():
    runs, summaries = frames.runs(A, B), frames.summaries(A, B)
    (group,) = across_tokenizers(runs, summaries)
    assert names(group) == ["a", "b"]
    assert group.is_by_words and group.shared["words_hash"] == "w1"
    assert group.rows["inner_max"].to_list() == [frames.WORDS_READ * A.peak, frames.WORDS_READ * B.peak]
    assert group.n_points == (760, 760)
    assert set(runs.columns) == set(group.rows.columns)


@pytest.mark.parametrize(
    "other",
    [
        {"kind": "encoder"},
        {"words_hash": "w2"},
        {"corpus": "python-source"},
        {"protocol_hash": "000000000000"},
        {"words_hash": None},
        {"pass_": "shuffled"},
        {"worst_check": "veto"},
    ],
)
def test_words_are_compared_only_where_they_are_the_same_words_read_alike(other):
    models = [A, Model("b", tokenizer_hash="tok2", **other)]
    assert across_tokenizers(frames.runs(*models), frames.summaries(*models)) == []


def test_two_runs_of_one_model_are_no_comparison_across_tokenizers():
    models = [A, Model("a", tokenizer_hash="tok1", seed=1, run_id="second")]
    assert across_tokenizers(frames.runs(*models), frames.summaries(*models)) == []


def test_clouds_of_words_of_other_sizes_are_not_compared():
    models = [A, Model("b", tokenizer_hash="tok2", n_points=600), Model("c", tokenizer_hash="tok3", n_points=790)]
    assert across_tokenizers(frames.runs(*models[:2]), frames.summaries(*models[:2])) == []
    assert [names(group) for group in across_tokenizers(frames.runs(*models), frames.summaries(*models))] == [
        ["a", "c"]
    ]


def test_runs_that_measured_no_words_are_no_group():
    assert across_tokenizers(frames.runs(A, B), frames.summaries()) == []
    assert across_tokenizers(frames.runs(), frames.summaries()) == []


def test_no_runs_no_groups():
    assert groups(frames.runs()) == []


def test_a_model_without_an_inner_peak_and_one_without_summary_are_ranked():
    runs = frames.runs(Model("b", peak=70.0, has_peak=False), Model("a", peak=90.0), Model("c")).with_columns(
        inner_max=pl.when(pl.col("name") == "c").then(None).otherwise("inner_max")
    )
    assert names(groups(runs)[0]) == ["a", "b", "c"]


def test_no_two_runs_of_a_group_differ_in_size_by_more_than_10_percent():
    sizes = {"a": 800, "b": 720, "c": 719, "d": 650, "e": 600}
    found = groups(frames.runs(*(Model(name, n_points=size) for name, size in sizes.items())))
    assert [(names(group), group.n_points) for group in found] == [
        (["a", "b"], (720, 800)),
        (["c", "d"], (650, 719)),
        (["e"], (600, 600)),
    ]


def test_runs_without_a_number_of_points_stand_apart():
    runs = frames.runs(Model("a"), Model("b"), Model("c")).with_columns(
        n_points=pl.when(pl.col("name") == "b").then(None).otherwise("n_points")
    )
    assert [(names(group), group.n_points) for group in groups(runs)] == [(["a", "c"], (800, 800)), (["b"], (0, 0))]


def test_other_number_formats_are_told():
    assert groups(frames.runs(Model("a"), Model("b", dtype="bfloat16")))[0].dtypes == ["bfloat16", "float32"]


@pytest.mark.parametrize(
    ("scores", "expected"),
    [
        ([score("o/a", 50.0, "r1")], [(50.0, "exact")]),
        ([score("o/a", 50.0, "r1"), score("o/a", 40.0), score("o/base", 30.0)], [(50.0, "exact")]),
        ([score("o/a", 50.0)], [(50.0, "revision_not_stated")]),
        ([score("o/a", 50.0, "step3000")], [(None, "none")]),
        ([score("o/base", 30.0)], [(30.0, "base")]),
        ([score("o/base", 30.0, "step3000")], [(None, "none")]),
        ([score("other/a", 50.0)], [(None, "none")]),
        ([], [(None, "none")]),
    ],
)
def test_a_score_belongs_to_the_exact_model_or_says_what_it_is(scores, expected):
    runs = frames.runs(Model("a", repository="o/a", revision="r1", base_repository="o/base"))
    scored = with_scores(runs, frames.scores(*scores))
    assert scored.select("score", "score_match").rows() == expected


@pytest.mark.parametrize(
    ("requested", "of", "revision", "expected"),
    [
        ("step1", "o/a", "step1", (50.0, "exact")),
        ("step1", "o/a", "step2", (None, "none")),
        (None, "o/a", "step1", (None, "none")),
    ],
)
def test_a_score_that_names_a_branch_belongs_to_who_asked_for_that_branch(requested, of, revision, expected):
    runs = frames.runs(Model("a", repository="o/a", revision="0a1b2c", requested_revision=requested))
    assert with_scores(runs, frames.scores(score(of, 50.0, revision))).select("score", "score_match").rows() == [
        expected
    ]


@pytest.mark.parametrize(
    ("requested", "of", "revision", "expected"),
    [
        (None, "hub:a", None, (61.0, "own")),
        ("step1", "hub:a", "step1", (61.0, "own")),
        (None, "hub:a", "r1", (61.0, "own")),
        ("step1", "hub:a", None, (None, "none")),
        (None, "hub:a", "step1", (None, "none")),
        (None, "o/a", None, (61.0, "own")),
        (None, "o/a", "r1", (61.0, "own")),
        ("step1", "o/a", "step1", (61.0, "own")),
        ("step1", "o/a", None, (None, "none")),
        (None, "o/a", "r2", (None, "none")),
        (None, "o/base", None, (None, "none")),
    ],
)
@pytest.mark.parametrize("source", ["pilot:p-1", MADE_HERE])
def test_an_own_score_belongs_to_the_model_by_any_name_it_has_gone_by(requested, of, revision, expected, source):
    """Its reference as it was asked for or as it was resolved, and its repository; the base model has others."""
    model = Model("a", repository="o/a", base_repository="o/base", requested_revision=requested)
    scored = with_scores(frames.runs(model), frames.scores(score(of, 61.0, revision, source=source)))
    assert scored.select("score", "score_match").rows() == [expected]


def test_a_score_that_was_made_here_counts_before_the_repositorys_and_that_before_the_base_models():
    runs = frames.runs(Model("a", repository="o/a", revision="r1", base_repository="o/base"))
    rows = [score("hub:a", 61.0, "r1", source=MADE_HERE), score("o/a", 50.0, "r1"), score("o/base", 40.0)]
    for n, expected in enumerate([(61.0, "own"), (50.0, "exact"), (40.0, "base")]):
        assert with_scores(runs, frames.scores(*rows[n:])).select("score", "score_match").rows() == [expected]


def test_an_alias_of_a_reference_takes_no_score_from_it_and_gives_it_to_the_model_that_is_meant():
    """As the scores are read where `local:a` means `local:b`: resolved, with the name as it was scored."""
    runs = frames.runs(Model("a", revision="abc"), Model("b", revision="def"))
    runs = runs.with_columns(reference="local:" + pl.col("name"))
    rows = frames.scores(score("local:b", 61.0, "abc", source=MADE_HERE)).with_columns(name_in_source=pl.lit("local:a"))
    found = with_scores(runs, rows).sort("name").select("name", "score", "score_match").rows()
    assert found == [("a", 61.0, "own"), ("b", 61.0, "mapped")]


def test_every_run_is_kept_and_models_without_repository_match_nothing():
    scored = with_scores(frames.runs(Model("a"), Model("b", repository="o/b")), frames.scores(score("o/b", 1.0)))
    assert sorted(scored.select("name", "score_match").rows()) == [("a", "none"), ("b", "revision_not_stated")]


def test_metrics_and_shots_are_never_mixed():
    rows = [score("o/a", 1.0, n_shot=0), score("o/a", 2.0, n_shot=5), score("o/a", 3.0, n_shot=None)]
    scored = with_scores(frames.runs(Model("a", repository="o/a")), frames.scores(*rows))
    offered = list_benchmarks(scored)
    assert offered.height == 3
    for benchmark in offered.iter_rows(named=True):
        assert filter_benchmark(scored, benchmark).height == 1


def test_a_score_of_the_model_on_one_benchmark_hides_no_other_benchmark():
    rows = [
        score("o/a", 50.0, "r1", benchmark="piqa"),
        score("o/a", 40.0, benchmark="arc"),
        score("o/base", 30.0, benchmark="piqa"),
        score("o/base", 20.0, benchmark="boolq"),
    ]
    scored = with_scores(frames.runs(Model("a", repository="o/a", base_repository="o/base")), frames.scores(*rows))
    found = scored.select("benchmark", "score", "score_match").sort("benchmark").rows()
    assert found == [("arc", 40.0, "revision_not_stated"), ("boolq", 20.0, "base"), ("piqa", 50.0, "exact")]


def test_a_score_that_two_sources_publish_is_one_score():
    rows = [score("o/a", 51.0, source="z", n_shot=None), score("o/a", 50.0, source="a", n_shot=None)]
    scored = with_scores(frames.runs(Model("a", repository="o/a")), frames.scores(*rows))
    assert scored.select("score", "score_source", "score_sources").rows() == [(50.0, "a", 2)]


def test_means_over_benchmarks_are_offered_last():
    rows = [score("o/a", 1.0, benchmark="average", is_group=True), score("o/a", 2.0, benchmark="piqa")]
    scored = with_scores(frames.runs(Model("a", repository="o/a")), frames.scores(*rows))
    assert list_benchmarks(scored)["benchmark"].to_list() == ["piqa", "average"]


def scored_of(*rows, partial=False, **model):
    runs = frames.runs(Model("a", **{"repository": "o/a"} | model))
    return with_scores(runs, frames.scores(*rows), include_partial=partial)


def test_where_sources_contradict_each_other_the_newest_counts_with_the_range():
    rows = [
        score("o/a", 51.0, source="a", as_of="2024-01-01"),
        score("o/a", 53.0, source="b", as_of="2025-06"),
        score("o/a", 49.0, source="c", as_of=None),
    ]
    told = ["score", "score_source", "score_sources", "score_lowest", "score_highest"]
    assert scored_of(*rows).select(told).rows() == [(53.0, "b", 3, 49.0, 53.0)]


def test_partial_runs_are_left_out_until_they_are_asked_for_and_then_come_last():
    rows = [
        score("o/a", 70.0, is_partial=True, as_of="2026-01-01"),
        score("o/a", 50.0, benchmark="piqa"),
        score("o/a", 71.0, benchmark="piqa", is_partial=True, as_of="2026-01-01"),
    ]
    assert scored_of(*rows).select("benchmark", "score").rows() == [("piqa", 50.0)]
    included = scored_of(*rows, partial=True).sort("benchmark")
    assert included.select("benchmark", "score", "score_is_partial").rows() == [
        ("arc_easy", 70.0, True),
        ("piqa", 50.0, False),
    ]
    assert included["score_highest"].to_list() == [70.0, 50.0]  # a partial run widens no range of whole ones


def test_of_several_settings_the_one_of_the_run_counts():
    rows = [
        score("o/a", 50.0, dtype="float16", as_of="2026-01-01"),
        score("o/a", 51.0, dtype=None, as_of="2025-01-01"),
        score("o/a", 52.0, dtype="float32", as_of="2024-01-01"),
        score("o/a", 53.0, dtype="float32", chat_template=True, as_of="2023-01-01"),
    ]
    told = ["score", "score_dtype", "score_variants", "score_sources", "score_lowest"]
    assert scored_of(*rows, dtype="float32").select(told).rows() == [(52.0, "float32", 4, 1, 52.0)]
    assert scored_of(*rows, dtype="bfloat16").select(told).rows() == [(51.0, None, 4, 1, 51.0)]
    assert scored_of(*rows[:1], dtype="bfloat16").select(told).rows() == [(50.0, "float16", 1, 1, 50.0)]


def test_fractions_and_percentages_are_one_unit_and_others_are_not_set_against_them():
    rows = [
        score("o/a", 0.5, unit="fraction", std_error=0.01, source="a"),
        score("o/a", 51.0, source="b"),
        score("o/a", 7.0, unit="not stated", source="c"),
    ]
    told = ["score", "score_std_error", "unit", "score_sources", "score_highest"]
    assert scored_of(*rows).select(told).rows() == [(50.0, 1.0, "percent", 2, 51.0)]


def test_a_pilots_own_fraction_stays_as_it_was_stated():
    (row,) = scored_of(score("hub:a", 0.5, unit="fraction", source="pilot:p-1")).select("score", "unit").rows()
    assert row == (0.5, "fraction")


@pytest.mark.parametrize(
    ("name", "revision", "expected"),
    [
        ("my tuned", None, "revision_not_stated"),
        ("my tuned", "abc", "mapped"),  # an alias names weights of no hub: revisions cannot be compared
        ("local:a", "abc", "none"),  # no alias: the revision is another one
    ],
)
def test_a_score_may_belong_to_a_model_of_no_hub_by_its_reference(name, revision, expected):
    runs = frames.runs(Model("a")).with_columns(reference=pl.lit("local:a"))
    rows = frames.scores(score("local:a", 50.0, revision)).with_columns(name_in_source=pl.lit(name))
    assert with_scores(runs, rows)["score_match"].to_list() == [expected]


def test_an_alias_of_a_hub_repository_makes_no_other_revision_fit():
    runs = frames.runs(Model("a", repository="o/a", revision="r1")).with_columns(reference=pl.lit("o/a"))
    rows = frames.scores(score("o/a", 50.0, "r2")).with_columns(name_in_source=pl.lit("o__a"))
    assert with_scores(runs, rows)["score_match"].to_list() == ["none"]
