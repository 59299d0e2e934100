"""A plan as its user sees it: told, kept, listed, saved; and a kill at any moment loses no finished step."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from core.errors import InputError
from core.models.model import Blueprint
from core.models.stacks import MemoryPlan
from core.records import PlanConfig
from core.runs import jobs
from core.runs.execution import load_layer_plan, run_submitted
from core.runs.jobs import job_status, list_jobs, submit
from core.runs.requests import estimate_plan
from core.warehouse.runs import list_plans, load_plan
from core.warehouse.warehouse import Warehouse
from core.wording.plans import estimate_lines
from tests.conftest import run_core
from tests.plans.small import SIZES

pytestmark = pytest.mark.slow

ASKED = ("--text", "english-business", "--device", "cpu")


@pytest.fixture(autouse=True)
def small(monkeypatch):
    for module, name, value in SIZES:
        monkeypatch.setattr(module, name, value)
    monkeypatch.setattr(jobs, "COMMAND", (sys.executable, "-m", "tests.plans.small"))


def test_a_plan_is_told_kept_and_shown(tiny_llama, warehouse, tmp_path):
    recipe = tmp_path / "plan.yaml"
    asked = ("plan", str(tiny_llama), *ASKED, "--blocks", "1", "--mergekit", str(recipe))
    done = run_core(*asked, warehouse=warehouse.path)
    assert done.returncode == 0, done.stderr
    first, *told = done.stdout.splitlines()
    assert first.startswith("Planning ") and "passes over" in told[0]  # said before it starts
    assert ", not verified: " in told[1]
    found = load_plan(warehouse, list_plans(warehouse)["plan_id"].item())
    ranges = [one["sources"][0]["layer_range"] for one in yaml.safe_load(recipe.read_text("utf-8"))["slices"]]
    assert sum(last - first for first, last in ranges) == 3 and found.plan.blocks[0] not in [
        block for first, last in ranges for block in range(first, last)
    ]
    assert not list(warehouse.jobs.glob("[!.]*"))
    listed = run_core("plan", "--list", warehouse=warehouse.path)
    assert found.plan.plan_id[:18] in listed.stdout and "not verified" in listed.stdout
    shown = run_core("plan", "--show", found.plan.plan_id[:18], "--json", warehouse=warehouse.path)
    told = json.loads(shown.stdout)
    assert told["blocks"] == found.plan.blocks and told["verified"] is False and told["seconds_before"] is None
    assert told["map"]["kept"] == found.kept


def test_what_a_plan_takes_is_said_before_and_nothing_is_made(tiny_llama, warehouse, monkeypatch):
    config = PlanConfig(str(tiny_llama), "english-business", blocks=1, device="cpu")
    alone, verified = (
        estimate_plan(config, warehouse),
        estimate_plan(replace(config, verify=True, heal=True), warehouse),
    )
    assert 0 < alone.seconds < verified.seconds and alone.passes < verified.passes and alone.readings is None
    with pytest.raises(InputError, match="at most 3 can go"):
        estimate_plan(replace(config, blocks=9), warehouse)
    monkeypatch.setattr(Blueprint, "plan", lambda self, *others: MemoryPlan(True, 4, 1))
    streamed = estimate_plan(config, warehouse)
    assert streamed.readings > 1 and f"about {streamed.readings} times" in " ".join(estimate_lines(streamed))
    searched = estimate_plan(replace(config, verify=True, directions=True), warehouse)
    assert (
        searched.readings > estimate_plan(replace(config, verify=True), warehouse).readings + 12
    )  # each rank is a reading
    asked = ("plan", str(tiny_llama), *ASKED, "--estimate-only", "--json")
    done = run_core(*asked, warehouse=warehouse.path)
    assert json.loads(done.stdout)["passes"] > 1 and not list(warehouse.jobs.glob("[!.]*"))


def test_json_is_json_and_a_saved_model_can_be_measured(tiny_llama, warehouse, tmp_path):
    folder = tmp_path / "smaller"
    asked = ("plan", str(tiny_llama), *ASKED, "--remove", "1:3", "--save-model", str(folder), "--json")
    done = run_core(*asked, warehouse=warehouse.path)
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    expected = {"blocks", "verified", "recommended", "loss_increase", "lower", "upper", "random_10th", "healed"}
    assert expected | {"seconds_before", "seconds_after"} <= told.keys()
    assert told["blocks"] == [1, 2] and told["verified"] and told["seconds_before"] > 0
    assert told["saved_as"] == str(folder)
    again = run_core("plan", str(folder), *ASKED, "--blocks", "1", warehouse=warehouse.path)
    assert again.returncode == 2 and "has 2 blocks" in again.stderr  # what is left is a model like any other


@pytest.mark.parametrize(
    "more, said",
    [
        (("--budget", "cheap"), "'cheap' is no budget"),
        (("--budget", "2points"), "name its file with --task"),
        (("--remove", "2:1"), "--remove takes block numbers from 0, as 4,14,15 or 4,14:16, not '"),
        (("--remove", "0:99999999999"), "--remove takes block numbers from 0, as 4,14,15 or 4,14:16, not '"),
        (("--mergekit", "/none/such/plan.yaml"), "There is no folder /none/such"),
        (("--task", "none.jsonl"), "There is no task file none.jsonl"),
        (("--text", "nonesuch"), "Unknown text 'nonesuch'"),
    ],
)
def test_what_cannot_be_is_one_line(tiny_llama, warehouse, more, said):
    done = run_core("plan", str(tiny_llama), "--device", "cpu", *more, warehouse=warehouse.path)
    assert done.returncode == 2 and said in done.stderr and "Traceback" not in done.stderr
    assert not list(warehouse.jobs.glob("[!.]*"))


def test_without_a_model_there_is_a_list(warehouse):
    done = run_core("plan", warehouse=warehouse.path)
    assert done.returncode == 2 and "--list" in done.stderr


HOLD = "import duckdb, sys, time; c = duckdb.connect(sys.argv[1]); print('held', flush=True); time.sleep(60)"


def test_a_locked_warehouse_loses_no_plan(tiny_llama, warehouse):
    warehouse.prepare()
    job = submit(PlanConfig(str(tiny_llama), "english-business", blocks=1, device="cpu"), warehouse)
    holders: list[subprocess.Popen[bytes]] = []

    def hold(step) -> None:
        """Somebody takes the file while blocks are chosen."""
        if step.phase == "choose" and not holders:
            holders.append(subprocess.Popen([sys.executable, "-c", HOLD, str(warehouse.path)], stdout=subprocess.PIPE))
            holders[0].stdout.readline()  # type: ignore[union-attr]

    done = run_submitted(job, Warehouse(warehouse.path, wait=0.2), hold)
    assert done["waits"] and job_status(job).result["plan_id"] == job.job_id
    holders[0].kill()
    holders[0].wait()
    assert list_plans(warehouse)["plan_id"].to_list() == [job.job_id]
    assert load_layer_plan(job_status(job), warehouse).plan.plan_id == job.job_id


@pytest.mark.slow
def test_a_kill_loses_no_finished_step(tiny_llama, warehouse, tmp_path):
    config = PlanConfig(str(tiny_llama), "english-business", verify=True, blocks=2, device="cpu")
    job = submit(config, warehouse)
    process = jobs.start_job(job, warehouse)
    steps = job.checkpoint_folder(job.job_id)

    def finished() -> set[str]:
        return {path.name for path in steps.glob("step-*.json")}

    end = time.monotonic() + 300
    while len(finished()) < 4 and process.poll() is None and time.monotonic() < end:
        time.sleep(0.02)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    assert job_status(job).state == "interrupted"
    before = {name: (steps / name).stat().st_mtime_ns for name in finished()}
    assert len(before) >= 4
    again = submit(config, warehouse)
    assert again.job_id == job.job_id
    run_submitted(again, warehouse, lambda step: None)
    assert [one.state for one in list_jobs(warehouse)] == ["finished"]
    assert list_plans(warehouse)["plan_id"].to_list() == [job.job_id]
    assert before and not steps.exists()  # used to the end, and gone with the job's work


def test_a_cancelled_plan_leaves_nothing(tiny_llama, warehouse):
    job = submit(PlanConfig(str(tiny_llama), "english-business", verify=True, device="cpu"), warehouse)
    process = jobs.start_job(job, warehouse)
    end = time.monotonic() + 120
    while not job.checkpoint_folder(job.job_id).exists() and process.poll() is None and time.monotonic() < end:
        time.sleep(0.05)
    jobs.cancel_job(job)
    process.wait()
    assert not job.folder.exists() and list_plans(warehouse).is_empty()
    assert isinstance(process, subprocess.Popen) and Path(warehouse.path).exists()
