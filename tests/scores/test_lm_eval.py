"""Results of lm-evaluation-harness, genuine ones of six versions and every trap that the format is known to have."""

from __future__ import annotations

import json

import pytest

from core.scores.reader import read_scores
from core.scores.score_rows import MODEL, Unnamed
from tests.scores.files import (
    GENUINE,
    codes,
    genuine,
    read,
    read_json,
    results,
    row,
    skipped,
    taken,
    with_config,
    with_values,
)

NEWEST = "0.4.13/whole/*/results_*.json"


@pytest.mark.parametrize("path", sorted(GENUINE.glob("0.4*/**/*results*.json")), ids=lambda path: path.parts[-3])
def test_genuine_files_give_every_number_that_stands_in_them(path):
    found = read(path)
    data = json.loads(path.read_text(encoding="utf-8"))
    expected = {
        (task, *key.split(",")): value
        for task, values in data["results"].items()
        for key, value in values.items()
        if isinstance(value, float) and "_stderr" not in key
    }
    assert {(s.benchmark, s.metric, s.filter): s.value for s in taken(found)} == expected
    assert found.format == "lm_eval"


def test_newest_version_is_read_in_full():
    found = read(genuine(NEWEST))
    score = row(found, "little_sums", "exact_match", "flexible-extract")
    assert (score.repository, score.dtype, score.chat_template) == ("org/tiny-llama", "float32", False)
    assert (score.n_shot, score.n_samples, score.is_partial, score.is_group) == (0, 12, False, False)
    assert (score.unit, score.higher_is_better, score.task_version) == ("fraction", True, "0.1")
    assert score.as_of == "2026-11-25" and score.suite == "lm_eval"


def test_two_filters_are_two_scores():
    filters = {s.filter for s in taken(read(genuine(NEWEST))) if s.benchmark == "little_sums"}
    assert filters == {"strict-match", "flexible-extract"}


def test_groups_are_marked_and_taken_once():
    found = read(genuine(NEWEST))
    group = row(found, "words", "acc")
    assert group.is_group and group.n_samples == 24 and group.task_version == "3.0"
    assert skipped(found) == {"groups / words / acc,none": "repeated"}
    assert {s.benchmark for s in taken(found) if s.is_group} == {"words"}


def test_a_group_that_differs_from_its_copy_is_kept_and_told():
    found = read_json(results(groups={"arc_easy": {"acc,none": 0.6}}))
    assert [s.value for s in taken(found)] == [0.5, 0.6]
    assert "differs_from" in codes(found.rows[1]) and found.rows[1].score.is_group


def test_a_group_without_values_is_no_score():
    found = read(genuine("0.4.5/whole/*/results_*.json"))
    assert "mixed_bag" not in {r.benchmark for r in found.rows}
    assert "word_choice_a" in {r.benchmark for r in found.rows}, "alias is indented there, the key is not"


def test_a_group_has_the_shots_of_its_tasks_where_they_agree():
    assert row(read(genuine("0.4.5/whole/*/results_*.json")), "words", "acc").n_shot == 1
    group = {"results": {"both": {"acc,none": 0.1}}, "group_subtasks": {"both": ["a", "b"]}}
    assert row(read_json(results(**group, **{"n-shot": {"a": 0, "b": 5}})), "both", "acc").n_shot is None


@pytest.mark.parametrize(
    ("limit", "partial"), [(None, False), (5, True), (5.0, True), (0.1, True), ("10", True), (0, True)]
)
def test_a_limit_marks_the_run_as_partial(limit, partial):
    assert row(read_json(with_config(limit=limit)), "arc_easy", "acc").is_partial is partial


def test_fewer_questions_than_there_are_mark_a_task_as_partial_and_its_group_with_it():
    counts = {"arc_easy": {"original": 100, "effective": 7}}
    data = results(**{"n-samples": counts}, group_subtasks={"easy": ["arc_easy"]})
    data["results"]["easy"] = {"acc,none": 0.5}
    found = read_json(data)
    assert row(found, "arc_easy", "acc").is_partial and row(found, "arc_easy", "acc").n_samples == 7
    assert row(found, "easy", "acc").is_partial and row(found, "easy", "acc").n_samples is None


def test_limited_genuine_runs_are_partial():
    for pattern in ("0.4.13/limited/*/results_*.json", "0.4.5/whole/*/results_*.json", "0.4.0/results.json"):
        assert all(score.is_partial for score in taken(read(genuine(pattern))))


def test_groups_that_contain_each_other_end():
    data = results(group_subtasks={"arc_easy": ["b"], "b": ["arc_easy"]})
    assert row(read_json(data), "arc_easy", "acc").is_group


@pytest.mark.parametrize("stated", ["N/A", None, "", float("nan"), float("inf"), -0.1, [], {}])
def test_a_standard_error_that_is_none_is_null(stated):
    found = read_json(with_values(acc__none=0.5, acc_stderr__none=stated))
    assert row(found, "task", "acc").std_error is None and len(found.rows) == 1


@pytest.mark.parametrize(
    ("value", "code"),
    [
        (float("nan"), "not_finite"),
        (float("inf"), "not_finite"),
        (10**400, "not_finite"),
        ("N/A", "no_value"),
        ("0.5", "not_a_number"),
        (True, "not_a_number"),
        (None, "no_value"),
        ([0.5], "not_a_number"),
        ({"a": 1}, "not_a_number"),
    ],
)
def test_a_value_that_is_no_finite_number_is_skipped(value, code):
    found = read_json(with_values(acc__none=value, f1__none=0.5))
    assert skipped(found) == {"results / task / acc,none": code}
    assert row(found, "task", "f1").value == 0.5


def test_infinity_may_stand_as_a_literal():
    text = json.dumps(results()).replace('"acc,none": 0.5', '"acc,none": -Infinity')
    assert skipped(read_scores("r.json", text.encode())) == {"results / arc_easy / acc,none": "not_finite"}


def test_keys_are_split_at_the_first_comma():
    found = read_json(with_values(exact_match__strict__match=0.5))
    assert row(found, "task", "exact_match").filter == "strict,match"


def test_bookkeeping_is_no_score():
    found = read_json(
        with_values(acc__none=0.5, alias=" - task", name="task", sample_len=3, sample_count={"acc,none": 3})
    )
    assert len(found.rows) == 1 and taken(found)[0].n_samples == 3


def test_a_key_without_comma_is_taken_with_its_filter_not_stated():
    found = read_json(with_values(acc__none=0.5, f1=0.25, f1_stderr=0.01))
    score = row(found, "task", "f1")
    assert (score.filter, score.std_error) == ("not stated", 0.01) and "no_filter" in codes(found.rows[1])


def test_an_error_without_value_and_a_run_without_scoring_are_told():
    found = read_json(with_values(acc_stderr__none=0.5, bypass__none=999))
    assert sorted(skipped(found).values()) == ["no_metric_was_computed", "std_error_alone"]


@pytest.mark.parametrize(
    ("shots", "expected"),
    [({"arc_easy": 2}, 2), ({"arc_easy": "5"}, 5), ({}, 3), ({"arc_easy": "many"}, None), ([], 3)],
)
def test_shots_by_task_and_else_by_its_configuration(shots, expected):
    assert row(read_json(results(**{"n-shot": shots})), "arc_easy", "acc").n_shot == expected


@pytest.mark.parametrize(
    ("section", "expected"),
    [
        ({"arc_easy": {"acc": True}}, True),
        ({"arc_easy": {"acc": False}}, False),
        ({"arc_easy": {"acc": None}}, None),
        ({}, None),
        ({"arc_easy": {"acc": "yes"}}, None),
    ],
)
def test_direction_is_the_files_own_and_null_stays_null(section, expected):
    assert row(read_json(results(higher_is_better=section)), "arc_easy", "acc").higher_is_better is expected


def test_direction_by_name_where_the_file_has_no_such_section():
    found = read(genuine("0.4.2/results.json"))
    assert row(found, "word_pages", "word_perplexity").higher_is_better is False
    assert row(found, "words", "acc").higher_is_better is True
    assert "direction_by_metric" in codes(found.rows[0])


def test_one_model_name_out_of_several():
    without = {key: value for key, value in results().items() if key != "model_name"}

    def named(arguments):
        return taken(read_json(without | {"config": {"model_args": arguments}}))[0].repository

    assert named("pretrained=org/base,peft=org/adapter,dtype=auto") == "org/adapter"
    assert named({"pretrained": "org/base", "delta": "org/delta"}) == "org/delta"
    assert named("engine=davinci") == "davinci" and named({"path": "org/x"}) == "org/x"
    assert named("model=org/m,trust_remote_code=True") == "org/m"
    assert taken(read_json(results(model_name="org/top")))[0].repository == "org/top"
    assert taken(read_json(results(model_name="  ")))[0].repository == "org/name"


@pytest.mark.parametrize("arguments", [None, 7, "dtype=float16", [], {"pretrained": 3}])
def test_a_file_without_model_is_refused_until_the_user_says_which(arguments):
    data = {key: value for key, value in results(config={"model_args": arguments}).items() if key != "model_name"}
    with pytest.raises(Unnamed, match="names no model that can be stored") as told:
        read_json(data)
    assert told.value.key == MODEL
    assert taken(read_json(data, mapping={MODEL: "org/said"}))[0].repository == "org/said"


def test_an_unusable_name_gives_way_to_the_users_and_the_users_is_checked_too():
    data = results(model_name="org/\x07")
    assert taken(read_json(data, mapping={MODEL: "org/said"}))[0].repository == "org/said"
    with pytest.raises(Unnamed, match="results.json names no model that can be stored"):
        read_json(data, mapping={MODEL: "org/\x08"})


def test_a_local_path_is_told_and_can_be_renamed():
    path = genuine("0.4.5/local/*/results_*.json")
    found = read(path)
    assert "local_path" in codes(found) and taken(found)[0].repository == "/evaluation/models/tiny-gpt2"
    renamed = read(path, {"/evaluation/models/tiny-gpt2": "openai-community/gpt2"})
    assert taken(renamed)[0].repository == "openai-community/gpt2" and "renamed" in codes(renamed)
    assert renamed.rows[0].model == "/evaluation/models/tiny-gpt2"


@pytest.mark.parametrize(
    ("sha", "branch", "expected"),
    [
        ("abc", "main", "abc"),
        ("", "step1000", "step1000"),
        ("", "main", None),
        (None, None, None),
        ("N/A", "main", None),
        (5, "main", "5"),
    ],
)
def test_revision_is_a_commit_or_a_branch_that_pins_something(sha, branch, expected):
    found = read_json(with_config(model_sha=sha, model_revision=branch))
    assert taken(found)[0].revision == expected
    assert ("no_revision" in codes(found)) is (expected is None)


def test_an_adapter_has_its_own_commit():
    arguments = {"pretrained": "org/base", "peft": "org/adapter"}
    config = {"model_args": arguments, "model_sha": "base1", "model_revision": "step5", "peft_sha": "adapter1"}
    score = taken(read_json(results(config=config, model_name="org/adapter")))[0]
    assert (score.repository, score.revision, score.flags) == ("org/adapter", "adapter1", "adapter")
    del config["peft_sha"]
    assert taken(read_json(results(config=config, model_name="org/adapter")))[0].revision is None
    assert taken(read_json(results(config=config, model_name="org/base")))[0].revision == "base1"


def test_vllm_and_apis_state_neither_dtype_nor_commit():
    found = read_json(results(config={"model": "vllm", "model_args": {"pretrained": "org/name", "dtype": "auto"}}))
    assert (taken(found)[0].dtype, taken(found)[0].revision) == (None, None)


@pytest.mark.parametrize(("template", "expected"), [(None, False), ("", False), ("{{ messages }}", True)])
def test_chat_template(template, expected):
    assert taken(read_json(results(chat_template=template)))[0].chat_template is expected


def test_chat_template_is_unknown_before_it_was_written():
    assert taken(read(genuine("0.4.2/results.json")))[0].chat_template is None
    assert taken(read(genuine("0.4.13/limited/*/results_*.json")))[0].chat_template is True


def test_other_instructions_and_generation_settings_are_another_suite():
    plain = taken(read_json(results()))[0].suite
    told = taken(read_json(results(system_instruction="Be brief.")))[0]
    warm = taken(read_json(with_config(gen_kwargs={"temperature": 1})))[0].suite
    turns = taken(read_json(results(fewshot_as_multiturn=True)))[0].suite
    assert len({plain, told.suite, warm, turns}) == 4 and told.flags == "system_instruction"
    assert taken(read_json(results(fewshot_as_multiturn=False)))[0].suite == plain


@pytest.mark.parametrize(
    ("date", "expected"),
    [
        (1718000000.5, "2024-06-10"),
        (None, None),
        ("2024-06-10T01:02:03", "2024-06-10"),
        (1e30, None),
        (float("nan"), None),
        (5.0, None),
        ([], None),
    ],
)
def test_date(date, expected):
    assert taken(read_json(results(date=date)))[0].as_of == expected


def test_the_day_may_come_from_the_name():
    found = read_json(results(date=None), name="results_2024-06-10T11-22-33.123.json")
    assert taken(found)[0].as_of == "2024-06-10"


@pytest.mark.parametrize(
    ("metric", "value", "unit"),
    [
        ("acc_norm", 0.5, "fraction"),
        ("inst_level_strict_acc", 0.5, "fraction"),
        ("word_perplexity", 12.0, "word_perplexity"),
        ("bits_per_byte", 0.7, "bits_per_byte"),
        ("bleu", 0.9, "bleu"),
        ("mcc", -0.5, "fraction"),
        ("acc", 55.0, "acc"),
        ("my_metric", 0.5, "my_metric"),
    ],
)
def test_units(metric, value, unit):
    assert row(read_json(with_values(**{f"{metric}__none": value})), "task", metric).unit == unit


def test_squad_is_in_percent():
    data = results(results={"squadv2": {"f1,none": 0.4}})
    assert row(read_json(data), "squadv2", "f1").unit == "percent"


def test_task_versions_are_kept_apart_as_text():
    found = read_json(results(versions={"arc_easy": "Yaml"}))
    assert taken(found)[0].task_version == "Yaml"
    assert taken(read_json(results(versions={"arc_easy": "N/A"})))[0].task_version is None


def test_a_key_twice_with_two_values_is_neither():
    text = json.dumps(results()).replace('"acc,none": 0.5', '"acc,none": 0.5, "acc,none": 0.6')
    found = read_scores("r.json", text.encode())
    assert skipped(found) == {"results / arc_easy / acc,none": "value_twice"} and "key_twice" in codes(found)


def test_what_stands_once_beside_a_key_twice_is_not_twice():
    text = '{"results": {"t": {"acc,none": 0.5, "acc,none": 0.5, "f1,none": NaN}}, "config": {"model": "m"}}'
    found = read_scores("r.json", text.encode(), {MODEL: "o/m"})
    assert skipped(found) == {"results / t / f1,none": "not_finite"} and "key_twice" not in codes(found)


def test_a_key_twice_with_one_value_is_that():
    text = json.dumps(results()).replace('"acc,none": 0.5', '"acc,none": 0.5, "acc,none": 0.5')
    assert taken(read_scores("r.json", text.encode()))[0].value == 0.5


def test_a_whole_task_twice_is_left_out():
    text = json.dumps(results()).replace('"results": {', '"results": {"arc_easy": {"acc,none": 0.1}, ')
    assert skipped(read_scores("r.json", text.encode())) == {"results / arc_easy": "value_twice"}


def test_v03_has_one_number_of_shots_and_no_filter():
    found = read(genuine("0.3.0/five_shot.json"))
    score = row(found, "word_choice", "acc_norm")
    assert (score.n_shot, score.filter, score.std_error, score.is_partial) == (5, "not stated", 0.25, True)
    assert (found.format, score.suite, score.task_version, score.as_of) == ("lm_eval_v03", "lm_eval_v03", "0", None)
    assert score.repository == "models/tiny-gpt2" and score.higher_is_better is True
    whole = read(genuine("0.3.0/results.json"))
    assert not row(whole, "word_pages", "word_perplexity").is_partial
    assert row(whole, "word_pages", "bits_per_byte").higher_is_better is False


def test_v03_and_v04_are_different_suites():
    suites = {taken(read(genuine(pattern)))[0].suite for pattern in ("0.3.0/results.json", "0.4.2/results.json")}
    assert len(suites) == 2
