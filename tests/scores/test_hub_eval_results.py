"""Evaluation results of model repositories, by the hub's description of `.eval_results/*.yaml`."""

from __future__ import annotations

from pathlib import Path

import pytest

from core.errors import InputError
from core.scores.reader import read_scores
from core.scores.score_rows import MODEL, Unnamed
from core.warehouse import queries
from core.warehouse.warehouse import Warehouse
from tests.conftest import run_core
from tests.scores.files import codes, skipped, taken

WHOLE = """
# Scores of this repository
- dataset:
    id: cais/hle                  # a benchmark of the hub
    task_id: default
    revision: 5503434ddd75
  value: 20.90
  verifyToken: eyJhbGciOiJIUzI1NiJ9.abc
  date: 2025-01-15
  source:
    url: https://example.org/spaces/org/traces
    name: Eval traces
    user: someone
  evaluation_framework: inspect-ai
  notes: "no-tools"
- dataset:
    id: cais/hle
    task_id: default
  value: 25.1
  notes: "with tools"
- dataset: {id: Idavidrein/gpqa, task_id: gpqa_diamond}
  value: 0.412
"""
STATED = {MODEL: "org/m"}


def read(text: str, name: str = ".eval_results/hle.yaml", mapping: dict[str, str] | None = None):
    return read_scores(name, text.encode(), STATED if mapping is None else mapping)


def test_each_entry_is_a_score_and_what_is_not_stated_is_not_guessed():
    found = read(WHOLE)
    first, second, third = taken(found)
    assert (first.repository, first.revision, first.benchmark, first.metric) == (
        "org/m",
        None,
        "cais/hle",
        "not stated",
    )
    assert (first.value, first.unit, first.higher_is_better) == (20.9, "not stated", None)
    assert (first.source, first.as_of) == ("https://example.org/spaces/org/traces", "2025-01-15")
    assert (first.task_version, first.flags) == ("5503434ddd75", "verify_token_not_checked")
    assert (third.benchmark, third.value) == ("Idavidrein/gpqa:gpqa_diamond", 0.412)
    assert (third.source, third.flags, third.as_of) == ("hle.yaml", "", None)
    # With tools and without are no two values of one score.
    assert len({row.suite for row in (first, second, third)}) == 3
    assert first.suite == "hub_eval_results+inspect-ai+no-tools"
    assert found.format == "hub_eval_results" and "no_revision" in codes(found)


def test_the_model_is_named_by_the_hubs_cache_or_by_the_user():
    place = "models--org--name/snapshots/0a1b2c/.eval_results/hle.yaml"
    found = read(WHOLE, place, {})
    assert {row.repository for row in taken(found)} == {"org/name"} and "model_from_file_name" in codes(found)
    assert {row.repository for row in taken(read(WHOLE, place))} == {"org/m"}
    with pytest.raises(Unnamed, match="names no model") as error:
        read(WHOLE, mapping={})
    assert error.value.key == MODEL


def test_early_files_say_config_for_the_task():
    (row,) = taken(read("- dataset: {id: a/b, config: hard, split: test}\n  value: 1\n"))
    assert row.benchmark == "a/b:hard"


@pytest.mark.parametrize(
    ("entry", "why"),
    [
        ("{dataset: {id: a/b, task_id: t}, value: much}", "not_a_number"),
        ("{dataset: {id: a/b, task_id: t}, value: .nan}", "not_a_number"),
        ("{dataset: {id: a/b, task_id: t}, value: nan}", "not_finite"),
        ("{dataset: {id: a/b, task_id: t}, value: true}", "not_a_number"),
        ("{dataset: {id: a/b, task_id: t}, value: 12:30}", "not_a_number"),
        ("{dataset: {id: a/b, task_id: t}}", "no_value"),
        ("{dataset: {id: a/b, task_id: t}, value: [1, 2]}", "not_a_number"),
        ("{dataset: {task_id: t}, value: 1}", "name_missing"),
        ("{dataset: {id: [a], task_id: t}, value: 1}", "name_is_no_text"),
        ("{dataset: {id: a/b, task_id: t}, value: 1, notes: [tools]}", "not_readable"),
        ("{dataset: a/b, value: 1}", "not_a_task"),
        ("words", "not_a_task"),
    ],
)
def test_an_entry_that_is_no_score_is_left_out_with_its_reason(entry, why):
    found = read(f"- {entry}\n- {{dataset: {{id: c/d, task_id: t}}, value: 3e-1}}\n")
    assert skipped(found) == {"entry 1": why} and [row.value for row in taken(found)] == [0.3]


BOMB = "- &a [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"- &{chr(98 + i)} [{', '.join(['*' + chr(97 + i)] * 9)}]\n" for i in range(20)
)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("- dataset: {id: a/b\n  value: 1\n", "is no YAML at line"),
        ("- dataset: {id: a/b}\n  value: 1\n  value: 2\n", "a key stands twice"),
        ("- one\n- two\n", "is no score file that is known"),
        ("---\nname: a\n", "is no score file that is known"),
        ("- " + "[" * 20_000, "is YAML that cannot be read: RecursionError"),
        ("- !!python/object/apply:os.system [echo]\n", "is no score file that is known"),
        (BOMB, "is no score file that is known"),
        ("- x: 1\n" * 1_000_000, "7 MiB of YAML; up to 4 are read"),
    ],
)
def test_what_is_no_such_file_is_one_line(text, told):
    with pytest.raises(InputError, match=told) as error:
        read(text)
    assert "\n" not in str(error.value)


def test_a_repository_is_taken_in_as_a_folder(tmp_path: Path):
    place = tmp_path / "models--org--name" / "snapshots" / "0a1b2c" / ".eval_results"
    place.mkdir(parents=True)
    (place / "hle.yaml").write_text(WHOLE, encoding="utf-8")
    path = tmp_path / "w.duckdb"
    done = run_core("scores", "import", str(place.parent), warehouse=path)
    assert done.returncode == 0 and "3 taken" in done.stdout, done.stderr
    assert "Unit not stated" in done.stdout and "Model named after file or folder: org/name" in done.stdout
    assert queries.scores(Warehouse(path), ["org/name"]).height == 3
    again = run_core("scores", "import", str(place), warehouse=path)
    assert again.returncode == 0 and "stored before" in again.stdout
