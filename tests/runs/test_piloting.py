"""A pilot of four models, one of them broken, by the command that its user types: three measured, one explained."""

from __future__ import annotations

import json
import sys

import pytest

from core.errors import WarehouseLocked
from core.pilots.pilot import read_pilot
from core.records import SHIPPED
from core.registry.protocols import PROTOCOLS
from core.runs import jobs as processes
from core.runs import requests
from core.runs.jobs import JobStatus, job_status, list_jobs, submit
from core.runs.requests import protocol_names, run_pilot, text_names
from core.warehouse import queries
from core.warehouse.warehouse import Warehouse
from tests.conftest import answer_here, run_core
from tests.profiles import make_corpus, make_model, make_profile
from tests.runs.small import SMALL
from tests.screens import add_run
from tests.tiny import save_tiny_model

pytestmark = pytest.mark.slow

PILOT = """
name = "Four"
question = "Does one broken model stop the others?"
use_class = "scarce_data"
models = ["./first", "./second", "./broken", "./third"]
texts = ["english-business"]
protocol = "small"
device = "cpu"

[benchmark]
name = "own"
metric = "accuracy"
direction = "higher"
expectation = "None."
frozen = 2026-11-25
"""


@pytest.fixture(scope="module")
def measured(tmp_path_factory):
    """The folder after the pilot was run once, and what the command said."""
    folder = tmp_path_factory.mktemp("pilot")
    for seed, name in enumerate(("first", "second", "third", "broken")):
        save_tiny_model(folder / name, seed=seed)
    weights = folder / "broken" / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:2000])
    (folder / "four.toml").write_text(PILOT, encoding="utf-8")
    return folder, run_pilot_verb(folder)


@pytest.fixture
def small(monkeypatch):
    """The protocol `small` in this process, which also reads the tokenizers: a process of its own would not know it."""
    monkeypatch.setattr("core.registry.protocols.PROTOCOLS", {"small": SMALL})
    monkeypatch.setattr(requests, "_run_process", answer_here)


def run_pilot_verb(folder, what=None):
    """Its jobs in this process too; `test_jobs.py` and `test_app.py` see to those that are processes."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(PROTOCOLS, SMALL.name, SMALL)
        return run_core("pilot", what or str(folder / "four.toml"), warehouse=folder / "w.duckdb")


def test_three_are_measured_and_the_fourth_is_explained(measured):
    folder, done = measured
    assert done.returncode == 2 and "Traceback" not in done.stderr
    assert "of broken cannot be used" in done.stderr
    warehouse = Warehouse(folder / "w.duckdb")
    runs = queries.runs(warehouse)
    assert sorted(runs["name"]) == ["first", "second", "third"]
    (row,) = queries.pilots(warehouse).to_dicts()
    assert row["n_runs"] == 3 and set(runs["pilot_id"]) == {row["pilot_id"]}
    asked = [json.loads(config)["run"]["companions"] for config in runs["config"]]
    assert all(len(companions) == 3 for companions in asked)  # its tokenizer can be read


def test_the_failure_is_kept_to_be_looked_at_and_tried_again(measured):
    folder, _done = measured
    (standing,) = list_jobs(Warehouse(folder / "w.duckdb"))
    assert standing.state == "failed" and "of broken cannot be used" in standing.reason and standing.job.pilot_id


def test_run_again_it_measures_what_is_missing_only(measured):
    folder, _done = measured
    warehouse = Warehouse(folder / "w.duckdb")
    before = queries.runs(warehouse)["run_id"].to_list()
    save_tiny_model(folder / "broken", seed=7)  # mended
    again = run_pilot_verb(folder, queries.pilots(warehouse)["pilot_id"][0])
    assert again.returncode == 0 and again.stdout.count("was there already") == 3, again.stderr
    assert set(before) < set(queries.runs(warehouse)["run_id"])
    assert queries.pilots(warehouse)["n_runs"].to_list() == [4] and not list_jobs(warehouse)


def test_jobs_that_a_pilot_has_not_come_to_wait_while_it_is_at_work(measured, warehouse, small, monkeypatch):
    """And are interrupted, not lost, where it is gone."""
    monkeypatch.setattr(processes, "COMMAND", (sys.executable, "-m", "tests.runs.small"))
    folder, _done = measured
    pilot = read_pilot(folder / "four.toml", [*protocol_names(), "small"], text_names())
    seen = []

    def engine(jobs, _told):
        seen.append([job_status(job).state for job in jobs])
        return iter(())

    assert list(run_pilot(pilot, warehouse, engine, lambda at: None)) == []
    assert seen == [["queued"] * 4]
    assert {one.state for one in list_jobs(warehouse)} == {"interrupted"}
    again = submit(list_jobs(warehouse)[0].job.config, warehouse)
    assert again.pilot_id == pilot.pilot_id


def test_a_pilot_that_was_stopped_goes_on_with_all_that_is_missing(measured, warehouse, small):
    """What it had not come to is its own, and waits for nobody."""
    folder, _done = measured
    pilot = read_pilot(folder / "four.toml", [*protocol_names(), "small"], text_names())

    def stopped(_jobs, _told):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        list(run_pilot(pilot, warehouse, stopped, lambda at: None))
    seen = []

    def engine(jobs, _told):
        seen.extend(jobs)
        assert [job.job_id for job in jobs] == sorted(job.job_id for job in jobs)
        assert processes._count_jobs_before(jobs[-1], warehouse) == 0  # those that were not started hold nobody up
        return iter(())

    assert list(run_pilot(pilot, warehouse, engine, lambda at: None)) == []
    assert len(seen) == 4


def test_what_a_pilot_has_not_come_to_can_be_cancelled(measured, warehouse, small):
    folder, _done = measured
    pilot = read_pilot(folder / "four.toml", [*protocol_names(), "small"], text_names())

    def engine(jobs, _told):
        processes.cancel_job(jobs[0])
        yield job_status(jobs[0])

    (outcome,) = run_pilot(pilot, warehouse, engine, lambda at: None)
    assert outcome.state == "cancelled" and len(list_jobs(warehouse)) == 3


def test_a_locked_warehouse_does_not_end_a_pilot(measured, warehouse, small, monkeypatch):
    folder, _done = measured
    pilot = read_pilot(folder / "four.toml", [*protocol_names(), "small"], text_names())

    def refuse(*_):
        raise WarehouseLocked("Another process has it.")

    monkeypatch.setattr("core.runs.requests.people.add_runs", refuse)

    def engine(jobs, _told):
        for job in jobs:
            yield JobStatus(job, "finished", result={"run_id": job.job_id, "was_known": True})

    outcomes = list(run_pilot(pilot, warehouse, engine, lambda at: None))
    assert [one.state for one in outcomes] == ["finished"] * 4
    assert all("Another process" in one.notes[0] for one in outcomes) and len(list_jobs(warehouse)) == 4


def test_a_name_of_the_warehouse_is_answered_by_its_run_and_one_without_a_run_starts_nothing(warehouse, tmp_path):
    """Such a model's files need not be here: its profile may have come with Workdim, or from another team."""
    named = '["local:ladder-128-lr-6e-3-step1500", "local:nobody-has-measured-it"]'
    text = PILOT.replace('["./first", "./second", "./broken", "./third"]', named).replace('"small"', '"quick"')
    (tmp_path / "named.toml").write_text(text.replace("english-business", "ladder-code"), encoding="utf-8")
    pilot = read_pilot(tmp_path / "named.toml", protocol_names(), text_names())
    run = {"protocol": "quick", "protocol_hash": PROTOCOLS["quick"].hash(0), "dtype": "float32", "tags": [SHIPPED]}
    model = make_model("local:ladder-128-lr-6e-3-step1500@1")
    add_run(warehouse.path, make_profile(model=model, corpus=make_corpus("ladder-code-0123"), **run))
    there, missing = run_pilot(pilot, warehouse, lambda jobs, _told: iter(jobs), lambda at: None)
    assert there.was_known and there.config.model == "local:ladder-128-lr-6e-3-step1500"
    known = queries.runs(warehouse, [there.run_id]).row(0, named=True)
    assert (known["reference"], known["corpus_name"]) == (there.config.model, "ladder-code")
    assert missing.state == "failed" and "does not come with Workdim" in missing.reason
    assert queries.pilot_run_ids(warehouse, pilot.pilot_id) == [there.run_id] and not list_jobs(warehouse)
