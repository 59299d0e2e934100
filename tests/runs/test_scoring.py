"""Scoring as its user sees it: stored once, in files first, and a kill at any moment loses nothing that was finished."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from core.errors import InputError
from core.measure import score as scoring
from core.runs import jobs
from core.runs.execution import load_scores, run_submitted
from core.runs.jobs import job_status, list_jobs, submit
from core.runs.requests import scoring_requests
from core.store import user_files
from core.warehouse import queries, stored_scores
from core.warehouse.warehouse import Warehouse
from tests.conftest import ROOT, run_core
from tests.tiny import save_tiny_model

pytestmark = pytest.mark.slow

PROSE = (ROOT / "data" / "corpora" / "english-business.txt").read_text(encoding="utf-8")


def write_task(file: Path, n: int = 6, length: int = 80) -> Path:
    """Questions that ask for the next characters of the prose."""
    starts = range(0, n * (length + 20), length + 20)
    rows = [
        {"prompt": PROSE[s : s + length], "choices": [PROSE[s + length : s + length + 9], " other", "!"], "answer": 0}
        for s in starts
    ]
    file.write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    return file


@pytest.fixture
def task(tmp_path: Path) -> Path:
    return write_task(tmp_path / "next.jsonl")


@pytest.fixture(scope="module")
def other(tmp_path_factory) -> Path:
    return save_tiny_model(tmp_path_factory.mktemp("models") / "other", seed=1)


def quiet(_step: Any) -> None:
    pass


def test_two_models_are_scored_once_and_compare_in_pairs(tiny_llama, other, tiny_bert, task, warehouse):
    asked = ("score", str(tiny_llama), str(tiny_bert), str(other), "--task", str(task), "--device", "cpu")
    done = run_core(*asked, warehouse=warehouse.path)
    assert done.returncode == 2 and "is no decoder" in done.stderr  # it keeps no other from being scored
    assert "local:tiny-llama@" in done.stdout and "6 scored, float32" in done.stdout
    scores = queries.scores(warehouse).filter(pl.col("source").str.starts_with("scored here:"))
    assert sorted(scores.select("repository", "metric").rows()) == [
        (f"local:{name}", metric)
        for name in ("other", "tiny-llama")
        for metric in ("acc", "acc_norm", "answer_bits_per_byte")
    ]
    assert not list(warehouse.jobs.glob("[!.]*"))
    compared = run_core(
        "scores",
        "compare",
        "local:tiny-llama",
        "local:other",
        "--benchmark",
        "next",
        "--json",
        warehouse=warehouse.path,
    )
    told = {one["metric"]: one for one in json.loads(compared.stdout)}
    assert {one["n_common"] for one in told.values()} == {6} and len(told) == 3
    of_llama = scores.filter(pl.col("repository") == "local:tiny-llama")
    assert told["acc_norm"]["mean_a"] == pytest.approx(of_llama.filter(metric="acc_norm")["value"].item())
    assert set(stored_scores.list_answer_sets(warehouse)["model"]) == {
        f"{r}@{v}" for r, v in scores.select("repository", "revision").rows()
    }


def test_the_same_again_is_there_already_and_can_be_taken_out(tiny_llama, task, warehouse, monkeypatch):
    asked = ("score", str(tiny_llama), "--task", str(task), "--device", "cpu")
    first = json.loads(run_core(*asked, "--json", warehouse=warehouse.path).stdout)
    renamed = task.with_name("renamed.jsonl")
    renamed.write_bytes(task.read_bytes() + b"\n\n")
    with monkeypatch.context() as patch:
        patch.setattr(scoring, "load_network", None)
        again = json.loads(
            run_core("score", str(tiny_llama), "--task", str(renamed), "--json", warehouse=warehouse.path).stdout
        )
    assert [one.pop("was_known") for one in (*first, *again)] == [False, True] and first == again
    sha = first[0]["file_sha256"]
    told = run_core(*asked, warehouse=warehouse.path)
    assert "Already scored; `workdim scores remove " in told.stdout
    listed = json.loads(run_core("scores", "list", "--json", warehouse=warehouse.path).stdout)
    assert [(one["file_name"], one["format"], one["n_taken"], one["n_samples"]) for one in listed] == [
        ("next.jsonl", "scored_here", 3, 18)
    ]
    assert run_core("scores", "remove", sha[:18], warehouse=warehouse.path).returncode == 0
    assert run_core(*asked, "--json", warehouse=warehouse.path).returncode == 0
    assert user_files.list_ids(warehouse.folder, "scores") == [sha]


def test_json_says_all_that_is_stored_and_nothing_else_is_printed(tiny_llama, task, warehouse):
    done = run_core(
        "score", str(tiny_llama), "--task", str(task), "--json", "--dtype", "bfloat16", warehouse=warehouse.path
    )
    (told,) = json.loads(done.stdout)
    stored = queries.scores(warehouse).filter(pl.col("source").str.starts_with("scored here:"))
    assert told["dtype"] == "bfloat16" and "bfloat16, task " + told["task_version"] in told["source"]
    assert {one["metric"]: (one["value"], one["std_error"]) for one in told["scores"]} == {
        metric: pair for metric, *pair in stored.select("metric", "value", "std_error").rows() for pair in [tuple(pair)]
    }
    assert (told["n_left_out"], told["waits"], told["flags"]) == (0, "", "")


def test_a_bad_task_file_is_told_before_anything_is_asked_for(tiny_llama, tmp_path, warehouse):
    file = tmp_path / "bad.jsonl"
    file.write_text('{"prompt": "a", "choices": ["b", "c"]}', encoding="utf-8")
    done = run_core("score", str(tiny_llama), "--task", str(file), warehouse=warehouse.path)
    assert (
        done.returncode == 2 and done.stderr.count("\n") == 1 and "bad.jsonl, line 1: answer is missing" in done.stderr
    )
    assert not warehouse.exists and run_core("score", "m", warehouse=warehouse.path).returncode == 2


def test_a_task_that_changed_after_it_was_asked_for_is_not_scored(tiny_llama, task, warehouse):
    (config,) = scoring_requests([str(tiny_llama)], task, device="cpu")
    job = submit(config, warehouse)
    with pytest.raises(InputError, match="is queued already|is interrupted"), pytest.MonkeyPatch.context() as patch:
        patch.setattr("core.runs.jobs._waits_for_pilot", lambda job: True)
        submit(config, warehouse)
    write_task(task, 3)
    with pytest.raises(InputError, match="Cancel this job and start anew"):
        run_submitted(job, warehouse, quiet)
    assert job_status(job).state == "failed" and list_jobs(warehouse)[0].job.config == config
    listed = run_core("jobs", warehouse=warehouse.path)
    assert "next.jsonl" in listed.stdout and "scoring" in listed.stdout and "has changed" in listed.stdout
    cancelled = run_core("jobs", "cancel", job.job_id, warehouse=warehouse.path)
    assert "nothing of it stays" in cancelled.stdout and not list_jobs(warehouse)


def test_a_warehouse_that_stays_locked_is_no_failure(tiny_llama, task, warehouse):
    """Another process takes the file while the model answers, and does not let go: the scores wait in their file."""
    warehouse.prepare()
    hold = f"import duckdb; c = duckdb.connect({str(warehouse.path)!r}); print('held', flush=True); input()"
    holder = None

    def lock_once(step: Any) -> None:
        nonlocal holder
        if step.phase == "score" and holder is None:
            holder = subprocess.Popen([sys.executable, "-c", hold], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
            assert holder.stdout and holder.stdout.readline().strip() == b"held"

    (config,) = scoring_requests([str(tiny_llama)], task, device="cpu")
    impatient = Warehouse(warehouse.path, wait=0.3)
    try:
        found = run_submitted(submit(config, impatient), impatient, lock_once)
        assert found["waits"] and user_files.list_ids(warehouse.folder, "scores") == [found["file_sha256"]]
    finally:
        if holder:
            holder.kill()
            holder.wait()
    assert stored_scores.list_imports(warehouse)["file_sha256"].to_list() == [found["file_sha256"]]
    assert not list(warehouse.folder.pending.iterdir())


@pytest.mark.slow
def test_a_killed_scoring_goes_on_where_it_stopped(tiny_llama, tmp_path, warehouse):
    """A real process, killed for good once it has written down some answers; what another model has is not touched."""
    task = write_task(tmp_path / "many.jsonl", 780, 120)
    (config,) = scoring_requests([str(tiny_llama)], task, device="cpu")
    whole = Warehouse(tmp_path / "whole" / "w.duckdb")
    expected = outcome_of(config, whole)
    job = submit(config, warehouse)
    process = jobs.start_job(job, warehouse)
    end = time.monotonic() + 180
    while not list(job.folder.glob("kept-*/step-answers-*.json")):
        assert time.monotonic() < end and process.poll() is None
        time.sleep(0.02)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    standing = job_status(job)
    assert standing.state == "interrupted" and standing.progress and standing.progress.phase == "score"
    assert not user_files.list_ids(warehouse.folder, "scores")
    steps: list[Any] = []
    again = submit(config, warehouse)
    assert again.job_id == job.job_id
    run_submitted(again, warehouse, steps.append)
    answering = [step for step in steps if step.phase == "score"]
    assert answering[0].done > 0 and answering[-1].done == answering[-1].total
    told = job_status(again)
    assert (
        told.state == "finished"
        and told.progress_record["seconds_left"] == 0
        and told.progress_record["tokens_per_second"] > 0
    )
    found = load_scores(told, warehouse)["scores"]
    assert found.drop("source", "as_of").equals(expected.drop("source", "as_of"))
    assert stored_scores.list_imports(warehouse).height == 1


def outcome_of(config: Any, warehouse: Warehouse) -> pl.DataFrame:
    job = submit(config, warehouse)
    run_submitted(job, warehouse, quiet)
    return load_scores(job_status(job), warehouse)["scores"]
