"""Results of lighteval, whose early form the Open LLM Leaderboard v1 kept for each model."""

from __future__ import annotations

import pytest

from tests.scores.files import codes, read_json, row, skipped, taken

GENERAL = {
    "model_name": "org/name",
    "model_sha": "abc123",
    "model_dtype": "torch.bfloat16",
    "lighteval_sha": "494ee1",
    "max_samples": None,
    "start_time": 1781075.607155059,
    "total_evaluation_time_secondes": "3579.8",
}
RESULTS = {
    "harness|arc:challenge|25": {"acc": 0.5, "acc_stderr": 0.01, "acc_norm": 0.54, "acc_norm_stderr": 0.02},
    "harness|hendrycksTest-anatomy|5": {"acc": 0.3, "acc_stderr": 0.04},
    "harness|truthfulqa:mc|0": {"mc1": 0.2, "mc2": 0.4},
    "lighteval|math_500|0|0": {"pass@k:k=1&n=1": 0.7},
    "all": {"acc": 0.4},
}


def read(**changed):
    return read_json({"config_general": GENERAL, "results": RESULTS} | changed, "results_2023-11-02T10-20-30.json")


def test_the_leaderboards_tasks_have_the_names_of_our_reference_scores_and_its_percent():
    found = read()
    score = row(found, "arc_challenge", "acc_norm")
    assert (score.suite, score.n_shot, score.unit) == ("open_llm_leaderboard_v1", 25, "percent")
    assert (score.value, score.std_error) == (54.0, 2.0)
    assert row(found, "mmlu_anatomy", "acc").n_shot == 5 and row(found, "truthfulqa_mc2", "mc2").value == 40.0
    assert (score.repository, score.revision, score.dtype, score.as_of) == (
        "org/name",
        "abc123",
        "bfloat16",
        "2023-11-02",
    )


def test_other_tasks_are_a_suite_of_their_own():
    score = row(read(), "math_500", "pass@k:k=1&n=1")
    assert (score.suite, score.n_shot, score.unit, score.value) == ("lighteval_lighteval", 0, "fraction", 0.7)


def test_other_shots_are_not_the_leaderboards():
    found = read(results={"harness|arc:challenge|0": {"acc_norm": 0.5}})
    assert taken(found)[0].suite == "lighteval_harness"


def test_all_is_a_mean():
    score = row(read(), "all", "acc")
    assert score.is_group and score.n_shot is None


def test_a_clock_of_the_machine_is_no_date():
    found = read_json({"config_general": GENERAL, "results": RESULTS})
    assert taken(found)[0].as_of is None


def test_newest_form_has_the_model_in_an_object_and_counts_by_task():
    model = {"model_name": "org/new", "revision": "v2", "dtype": "float16"}
    counts = {"lighteval|math_500": {"effective_num_docs": 10, "original_num_docs": 500}}
    results = {"lighteval|math_500|0": {"extractive_match": 0.5}}
    found = read(config_general={"model_config": model}, config_tasks=counts, results=results)
    score = taken(found)[0]
    assert (score.repository, score.revision, score.dtype) == ("org/new", "v2", "float16")
    assert (score.n_samples, score.is_partial) == (10, True)


def test_a_limited_run_is_partial():
    assert all(score.is_partial for score in taken(read(config_general=GENERAL | {"max_samples": 10})))


@pytest.mark.parametrize("sha", ["", None, "  "])
def test_a_blank_commit_is_null_and_told(sha):
    found = read(config_general=GENERAL | {"model_sha": sha})
    assert taken(found)[0].revision is None and "no_revision" in codes(found)


def test_wrong_types_are_skipped():
    found = read(results={"harness|a|5": [1], "harness|b|x": {"acc": "high"}, "c": {"acc": 0.5}})
    assert skipped(found) == {"results / harness|a|5": "not_a_task", "results / harness|b|x / acc": "not_a_number"}
    assert taken(found)[0].benchmark == "c"
