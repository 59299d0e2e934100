"""The verbs of selection rules, from a file to what came of its choices."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from core.pilots.saved import parse_rule, read_rule
from core.warehouse.people import list_rules
from core.warehouse.warehouse import Warehouse
from tests.answers import ladder_warehouse
from tests.conftest import run_core

pytestmark = pytest.mark.slow

RULE = """
name = "Fewest bits"
use_class = "general"
[task]
name = "ladder_code"
[[criteria]]
of = "score"
weight = 3
[[criteria]]
of = "dimension"
weight = 1
[[criteria]]
of = "memory"
at_most = 1e12
"""
BITS = [1.5 + 0.01 * (n % 12) + 0.003 * n for n in range(24)]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    (tmp_path / "rule.toml").write_text(RULE, encoding="utf-8")
    return ladder_warehouse(tmp_path / "w.duckdb", BITS).path


def told(*arguments: str, path: Path) -> str:
    done = run_core("rules", *arguments, warehouse=path)
    assert done.returncode == 0, done.stderr
    return done.stdout


def refused(*arguments: str, path: Path) -> str:
    done = run_core("rules", *arguments, warehouse=path)
    assert done.returncode == 2 and done.stderr.count("\n") == 1, done.stderr
    return done.stderr


def test_a_rule_is_kept_applied_and_held_against_its_outcome(path: Path) -> None:
    file = path.parent / "rule.toml"
    assert "Fewest bits, version 1" in told("save", str(file), path=path)
    first = json.loads(told("apply", "Fewest bits", "--dry-run", "--json", path=path))
    assert first["kept"] is False and list_rules(Warehouse(path))[0].choices == ()
    assert first["task"]["benchmark"] == "ladder_code" and first["criteria"][1]["share"] == 0.25
    assert first["choice"]["n"] == 24 and first["candidates"][0]["model_id"] == first["choice"]["model_id"]
    assert first["choice"]["model_id"].endswith(f"@{0:012x}"), "the fewest bits and the smallest dimension"
    said = told("apply", "fewest", path=path)
    assert said.startswith("By score in ladder_code") and "Kept as choice" in said and "memory at 16 bits 0 %" in said
    ((choice,),) = [one.choices for one in list_rules(Warehouse(path))]
    deck = path.parent / "choice.pptx"
    done = run_core("slides", "--choice", choice.choice_id, "--out", str(deck), warehouse=path)
    assert done.returncode == 0 and "5 slides" in done.stdout + done.stderr, done.stderr
    traced = json.loads(run_core("trace", str(deck), "--json", warehouse=path).stdout)
    assert (
        traced["changed"] == [] == [one["text"] for one in traced["without_source"]]
        and traced["n_stated"] < 0.1 * traced["n_numbers"]
    )
    assert "right in 1 of 1 (95 %: 21 % to 100 %)" in told(
        "outcome", choice.choice_id, "right", "--note", "it was", path=path
    )
    listed = json.loads(told("list", "--json", path=path))
    assert listed[0]["record"]["n_right"] == 1 and listed[0]["choices"][0]["outcome_note"] == "it was"
    assert "no outcome known yet" in told("outcome", choice.choice_id[:5], "unknown", path=path)
    assert parse_rule(told("list", "Fewest bits", path=path)) == read_rule(file)
    assert "Fewest bits, version 1" in told("list", path=path) and choice.choice_id in told("list", path=path)
    assert "--yes" in refused("delete", "fewest", path=path)
    assert "forgotten" in told("delete", "fewest", "--yes", path=path)
    assert told("list", path=path).startswith("None yet")


def test_a_rule_that_is_applied_elsewhere_says_so_and_never_weighs_what_does_not_compare(path: Path) -> None:
    file = path.parent / "rule.toml"
    file.write_text(RULE.replace('name = "ladder_code"', 'name = "gsm8k"'), encoding="utf-8")
    told("save", str(file), path=path)
    assert "a score of gsm8k. There are scores of: ladder_code" in refused("apply", "fewest", path=path)
    said = told("apply", "fewest", "--benchmark", "ladder_code", "--dry-run", path=path)
    assert "Learned on gsm8k, applied to ladder_code" in said
    every = json.loads(told("apply", "fewest", "--benchmark", "ladder_code", "--all", "--dry-run", "--json", path=path))
    assert every["criteria"][1]["muted_reason"] == "not_comparable" and every["criteria"][1]["share"] == 0
    assert [one["reason"] for one in every["excluded"]] == ["lacks"], "the model without a score"
    file.write_text(RULE.replace('"general"', '"safety_critical"').replace("Fewest", "No harm by"), encoding="utf-8")
    told("save", str(file), path=path)
    harmful = told("apply", "no-harm", path=path)
    assert "No choice yet" in harmful and "how often an answer does harm." in harmful


def test_what_cannot_be_done_is_one_line(path: Path) -> None:
    file = path.parent / "rule.toml"
    assert "None yet" in refused("apply", "x", path=path)
    assert "There is no rule file" in refused("save", str(path.parent / "gone.toml"), path=path)
    told("save", str(file), path=path)
    assert "--metric needs" in refused("apply", "fewest", "--metric", "acc", path=path)
    assert "There is no choice x" in refused("outcome", "x", "right", path=path)
    assert run_core("rules", "outcome", "x", "maybe", warehouse=path).returncode == 2
