"""The verbs compare and choose: the answer first, and the keys that scripts rely on."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.conftest import run_core
from tests.screens import RUN_IDS, filled_warehouse

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return filled_warehouse(tmp_path_factory.mktemp("compared"))


def test_runs_or_models_that_were_measured_are_compared(path: Path) -> None:
    by_id = json.loads(run_core("compare", RUN_IDS[0], RUN_IDS[1], "--json", warehouse=path).stdout)
    assert {"sentence", "models", "difference", "differences", "points", "compares"} <= set(by_id)
    assert {"model", "bits_per_byte", "lower", "upper"} <= set(by_id["models"][0])
    assert {"value", "lower", "upper", "unit"} <= set(by_id["difference"])
    assert json.loads(run_core("compare", "made-up-big", "made-up-small", "--json", warehouse=path).stdout) == by_id
    told = run_core("compare", RUN_IDS[0], RUN_IDS[1], warehouse=path).stdout
    assert told.startswith("made-up-big and made-up-small read made-up alike") and "Bits per byte" in told
    refused = run_core("compare", "made-up-big", "nobody", warehouse=path)
    assert refused.returncode == 2 and "measures with --text FILE" in refused.stderr


def test_a_model_is_chosen_and_one_that_was_not_measured_is_named(path: Path) -> None:
    models = "made-up-big,made-up-small,nobody"
    found = json.loads(run_core("choose", "--models", models, "--json", warehouse=path).stdout)
    assert found["answer"] in ("leads", "cannot_tell", "no_choice") and set(found) >= {"model", "share", "missing"}
    assert {"model": "nobody", "what": "run", "benchmark": None} in found["missing"]
    harmful = run_core("choose", "--models", models, "--use-class", "safety_critical", warehouse=path)
    assert "how often an answer does harm." in " ".join(harmful.stdout.split())
    alone = run_core("choose", "--models", "made-up-big", warehouse=path)
    assert alone.returncode == 2 and "two models or more" in alone.stderr
    assert "measure MODEL MODEL" in alone.stderr and "made-up-small" in alone.stderr, "what to do"


def test_a_text_that_is_too_short_is_refused_before_a_job_starts_or_a_model_is_fetched(tmp_path: Path) -> None:
    text, warehouse = tmp_path / "short.txt", tmp_path / "w" / "workdim.duckdb"
    text.write_text("A customer asked for labels. " * 100, encoding="utf-8")
    for command in (
        ("measure", "nobody/nothing", "--text", str(text), "--protocol", "standard"),
        ("compare", "nobody/nothing", "nobody/else", "--text", str(text)),
    ):
        refused = run_core(*command, warehouse=warehouse)
        assert refused.returncode == 2 and "short is too short for" in refused.stderr, refused.stderr
        assert "nobody" not in refused.stderr and not list(warehouse.parent.glob("jobs/*"))
