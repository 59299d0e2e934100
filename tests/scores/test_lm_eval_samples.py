"""Single answers: what pairs two models, and what is left out."""

from __future__ import annotations

import json

import pytest

from core.errors import InputError
from core.scores.reader import read_scores
from core.scores.score_rows import BENCHMARK, MODEL, Unnamed
from tests.scores.files import codes, genuine, read

CHOICE = "samples_word_choice_a_*.jsonl"
STATED = {MODEL: "org/m", BENCHMARK: "task"}


def line(**changed):
    return json.dumps({"doc_id": 0, "doc": {"q": "1+1"}, "resps": [["2"]], "filter": "none", "acc": 1.0} | changed)


def read_lines(*lines, name="samples_task_2024-06-10T11-22-33.1.jsonl", mapping=STATED):
    return read_scores(name, "\n".join(lines).encode(), mapping)


def test_newest_version():
    found = read(genuine(f"0.4.13/whole/*/{CHOICE}"))
    assert found.format == "lm_eval_samples" and found.rows == ()
    assert {(s.repository, s.benchmark, s.filter, s.revision) for s in found.samples} == {
        ("org/tiny-llama", "word_choice_a", "none", None)
    }
    assert {s.metric for s in found.samples} == {"acc", "acc_norm"} and len(found.samples) == 24
    assert "model_from_file_name" in codes(found)


def test_values_average_to_the_score_in_the_results():
    found = read(genuine(f"0.4.13/whole/*/{CHOICE}"))
    acc_norm = [s.value for s in found.samples if s.metric == "acc_norm"]
    assert sum(acc_norm) / len(acc_norm) == pytest.approx(1 / 3)


def test_the_same_question_has_the_same_hash_in_every_version():
    stated = read(genuine(f"0.4.13/whole/*/{CHOICE}"))
    by_id = {s.doc_id: s.doc_hash for s in stated.samples}
    early = {MODEL: "org/m", BENCHMARK: "word_choice_a"}
    for pattern in ("0.4.0/*choice_a.jsonl", "0.4.2/*choice_a.jsonl", f"0.4.5/whole/*/{CHOICE}"):
        found = read(genuine(pattern), early)
        assert found.samples and all(by_id[s.doc_id] == s.doc_hash for s in found.samples), pattern


def test_early_files_are_a_list_whose_name_tells_the_model_and_not_the_task():
    path = genuine("0.4.2/*choice_a.jsonl")
    with pytest.raises(
        Unnamed, match="names no benchmark for its answers: state it, or keep the harness's name"
    ) as told:
        read(path)
    assert told.value.key == BENCHMARK
    assert read(path, {BENCHMARK: "word_choice_a"}).samples[0].repository == "org/tiny-llama"
    named = read(genuine(f"0.4.13/whole/*/{CHOICE}"), {BENCHMARK: "another"})
    assert named.samples[0].benchmark == "word_choice_a"  # what a file says of itself counts


def test_two_filters_without_names_are_kept_apart():
    found = read(genuine("0.4.5/whole/*/samples_little_sums_*.jsonl"))
    assert {s.filter for s in found.samples} == {"not stated", "not stated (2)"} and "filters_not_named" in codes(found)


def test_a_folder_without_organisation_is_no_model():
    with pytest.raises(InputError, match="names no model"):
        read_scores("downloads/samples_task_2024-06-10T11-22-33.1.jsonl", line().encode())


def test_perplexity_is_not_scored_question_by_question():
    with pytest.raises(InputError, match="the benchmark's score is in the results file"):
        read(genuine("0.4.13/whole/*/samples_word_pages_*.jsonl"))


def test_neither_question_nor_answer_is_kept():
    found = read_lines(line(doc={"q": "secret question"}, resps=[["secret answer"]], target="secret target"))
    assert "secret" not in repr(found)


def test_truth_values_count_as_one_and_zero():
    found = read_lines(line(acc=True), line(doc_id=1, acc=False))
    assert [s.value for s in found.samples] == [1.0, 0.0]


@pytest.mark.parametrize("value", [[1, 2], {"a": 1}, "0.5", None, float("nan"), float("inf")])
def test_what_is_no_number_is_left_out_and_counted(value):
    found = read_lines(line(), line(doc_id=1, acc=value))
    assert len(found.samples) == 1
    assert [(r.code, r.detail) for r in found.remarks] == [("metric_not_per_question", "acc (1)")]


def test_without_hash_and_question_the_identity_is_hashed():
    one = read_lines(line(doc=None, target="a", arguments=["x"]))
    same = read_lines(line(doc=None, target="a", arguments=["x"], resps=[["other"]], acc=0.0))
    other = read_lines(line(doc=None, target="b", arguments=["x"]))
    assert one.samples[0].doc_hash == same.samples[0].doc_hash != other.samples[0].doc_hash


@pytest.mark.parametrize("stated", [5, "", "short", None, "<script>alert(1)</script>", ["a"]])
def test_a_hash_that_is_none_is_not_taken(stated):
    assert read_lines(line(doc_hash=stated)).samples[0].doc_hash == read_lines(line()).samples[0].doc_hash


def test_listed_metrics_only():
    found = read_lines(line(metrics=["acc"], other=3.0))
    assert {s.metric for s in found.samples} == {"acc"}


@pytest.mark.parametrize("bad", ['{"doc_id": 1, "doc"', "[]", "null", "{}", "not json"])
def test_a_bad_line_refuses_the_file_and_is_named(bad):
    with pytest.raises(InputError, match="[Ll]ine 2|entry 2"):
        read_lines(line(), bad)


def test_blank_lines_are_nothing():
    assert len(read_lines(line(), "", line(doc_id=1), "").samples) == 2


@pytest.mark.parametrize("doc_id", [None, "a", 1.5, 2**70, True, [1]])
def test_strange_ids_are_null(doc_id):
    assert read_lines(line(doc_id=doc_id)).samples[0].doc_id is None


def test_half_a_surrogate_does_not_stop_the_hash():
    text = line(doc={"q": "x"}).replace('"x"', '"\\ud800"')
    assert len(read_lines(text).samples[0].doc_hash) == 64
