"""Jobs as their user sees them: asked for, waiting, at work, stopped, gone on with; real processes throughout."""

from __future__ import annotations

import errno
import json
import logging
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace

import psutil
import pytest

from core.errors import InputError, ResourceError, Sentence
from core.figures.layer_profiles import partial_thumbnail
from core.files import write_json
from core.geometry.clouds import CloudEstimate, LayerResult
from core.locale import in_language, worded
from core.measure import checkpoint
from core.measure.profile import measure_profile
from core.models import loading
from core.records import Estimate, RunConfig
from core.registry.protocols import PROTOCOLS
from core.runs import jobs as processes
from core.runs.caches import recover
from core.runs.execution import run_submitted
from core.runs.jobs import find_job, finish_job, job_status, list_jobs, log_warnings, read_log, submit, worker_record
from core.warehouse import queries
from tests.conftest import ROOT, run_core
from tests.measuring import measure
from tests.runs.small import SMALL
from tests.tiny import save_tiny_model

pytestmark = pytest.mark.slow


@pytest.fixture
def longer(config):
    """A request whose work lasts until it has been looked at."""
    return replace(config, protocol="whole")


def left_over(warehouse):
    return [path for path in warehouse.jobs.iterdir() if not path.name.startswith(".turn")]


def quiet(_step):
    pass


def wait_for(condition, seconds=180):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "did not come"
        time.sleep(0.05)


def test_warnings_in_a_log_are_worded_by_whoever_reads_them(config, warehouse):
    job = submit(config, warehouse)
    with log_warnings(job):
        for line in (Sentence("Memory is short: now in batches of {n}.", n=8), "another"):
            logging.getLogger("workdim").warning(line)
    ours, other = read_log(job, 2)
    assert ours.endswith("  Memory is short: now in batches of 8.") and other.endswith("  another")
    assert in_language("ja", worded, ours).startswith(ours[:19]) and in_language("ja", worded, ours).endswith(
        "8個ずつ処理します。"
    )


STARTER = """
import sys
from core.runs import jobs as processes
from core.runs.jobs import find_job
from core.warehouse.warehouse import Warehouse
warehouse = Warehouse(sys.argv[1])
processes.COMMAND = (sys.executable, "-m", "tests.runs.small")
processes.start_job(find_job(warehouse, sys.argv[2]).job, warehouse)
"""


def test_jobs_go_in_their_order_and_cancel_stops_each_within_two_seconds_and_leaves_nothing(longer, config, warehouse):
    """The first lives on without whoever started it. One is cancelled as it waits, one at work, one as it begins; before,
    nobody else may ask for the same or shoot at it from elsewhere."""
    asked = (longer, replace(config, seed=1), replace(longer, seed=2), replace(longer, seed=3))
    first, second, third, fourth = (submit(one, warehouse) for one in asked)
    subprocess.run([sys.executable, "-c", STARTER, str(warehouse.path), first.job_id], cwd=ROOT, check=True)
    wait_for(lambda: job_status(first).state == "running")
    worker = job_status(first).worker["pid"]
    os.kill(worker, signal.SIGSTOP)  # until all others wait, however long they take to begin
    with pytest.raises(InputError, match="is running already as job"):
        submit(replace(longer, memory_budget=10**9), warehouse)
    waiting = {job.job_id: processes.start_job(job, warehouse) for job in (fourth, third, second)}
    wait_for(lambda: all((at := job_status(job).progress) and at.phase == "queued" for job in (second, third, fourth)))
    cancelled_in_time(fourth)
    os.kill(worker, signal.SIGCONT)

    wait_for(lambda: (at := job_status(first).progress) is not None and at.phase == "geometry")
    known = job_status(first).worker
    write_json(first.folder / "worker.json", known | {"host": "another"})
    with pytest.raises(InputError, match="on the machine another"):
        processes.cancel_job(first)
    write_json(first.folder / "worker.json", known)
    assert {job_status(job).state for job in (second, third)} == {"queued"}
    cancelled_in_time(first)

    before_third = []
    while job_status(third).state == "queued":
        before_third.append(job_status(second).state)
        time.sleep(0.05)
    assert "running" in before_third and job_status(second).state == "finished"
    assert all(phase in second.log.read_text(encoding="utf-8") for phase in ("load", "forward", "geometry"))
    cancelled_in_time(third)
    for process in waiting.values():
        process.wait(timeout=10)
    assert queries.runs(warehouse)["run_id"].to_list() == [second.job_id]
    assert {path.name for path in left_over(warehouse)} <= {second.job_id}


def cancelled_in_time(job):
    started = time.monotonic()
    processes.cancel_job(job)
    assert time.monotonic() - started < 2 and not job.folder.exists()


def test_a_killed_job_is_interrupted_and_goes_on_where_it_stopped(longer, warehouse, monkeypatch):
    job = submit(longer, warehouse)
    process = processes.start_job(job, warehouse)
    wait_for(lambda: list(job.folder.glob("kept-*/step-layer-0002.json")))
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert job_status(job).state == "interrupted"
    recover(warehouse)
    measured = []

    def count(*arguments):
        measured.append(arguments)
        return __import__("core.geometry.layer", fromlist=["measure_layer"]).measure_layer(*arguments)

    monkeypatch.setattr("core.measure.layers.measure_layer", count)
    monkeypatch.setattr("core.measure.profile.capture", None)  # a second forward pass would call it
    finished = measure(longer, warehouse, quiet)  # the same request is the same job
    assert finished.run_id == job.job_id and 0 < len(measured) <= 3


def test_what_is_kept_belongs_to_one_request_and_version(config, warehouse, monkeypatch, tmp_path):
    """And what was spent on it before a stop is counted."""
    first = measure_profile(config, "a", tmp_path / "kept", quiet)
    spent = json.loads((tmp_path / "kept" / "spent.json").read_text(encoding="utf-8"))
    spent["seconds"]["forward"] += 1000
    (tmp_path / "kept" / "spent.json").write_text(json.dumps(spent), encoding="utf-8")
    forwards = []
    really = __import__("core.measure.profile", fromlist=["capture"]).capture
    monkeypatch.setattr("core.measure.profile.capture", lambda *a: (forwards.append(1), really(*a))[1])
    again = measure_profile(replace(config, memory_budget=10**10), "a", tmp_path / "kept", quiet)
    assert not forwards and again.estimates == first.estimates and again.pairs == first.pairs
    assert json.loads(again.run.phase_seconds)["forward"] > 1000
    assert again.run.started_at.isoformat() == spent["started_at"]
    monkeypatch.setattr("core.measure.checkpoint.code_version", lambda: "of tomorrow")
    measure_profile(config, "a", tmp_path / "kept", quiet)
    assert forwards


def test_the_same_request_twice_is_one_job(config, warehouse):
    job = submit(config, warehouse)
    assert submit(replace(config, memory_budget=10**9), warehouse).job_id == job.job_id


def test_a_run_that_is_there_is_not_measured_twice_unless_asked(config, warehouse, monkeypatch):
    """But one that holds less is not the same: protocols that compare alike may run more besides."""
    first = measure(config, warehouse, quiet)
    known = measure(config, warehouse, quiet, again=False)
    assert known.was_known and known.run_id == first.run_id
    more = replace(SMALL, name="more", more_estimators=("skdim_lPCA",))
    monkeypatch.setitem(PROTOCOLS, "more", more)
    deep = measure(replace(config, protocol="more"), warehouse, quiet, again=False)
    assert not deep.was_known and deep.profile.run.protocol_hash == SMALL.hash(0)
    rows = [row for row in deep.profile.estimates if row.estimator == "skdim_lPCA"]
    assert len(rows) == 6 and {row.cloud for row in rows} == {"one_per_type"}
    assert not measure(replace(config, estimators=("skdim_lPCA",)), warehouse, quiet, again=False).was_known
    assert measure(config, warehouse, quiet, again=False).was_known
    command = ("measure", config.model, "--text", config.corpus, "--protocol", "small", "--device", "cpu")
    told = run_core(*command, warehouse=warehouse.path)
    assert told.returncode == 0 and "--again measures it again" in told.stdout, told.stderr
    assert queries.runs(warehouse).height == 3


def test_a_worker_that_never_came_is_interrupted_and_not_waited_for(config, warehouse):
    job = submit(config, warehouse)
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    write_json(job.folder / "worker.json", worker_record(gone.pid))
    assert job_status(job).state == "interrupted"


def test_a_disk_that_is_full_in_mid_run_keeps_what_is_finished(config, warehouse, monkeypatch):
    write = checkpoint._write

    def full(path, content):
        if path.name == "step-layer-0002.json":
            raise OSError(errno.ENOSPC, "No space left on device")
        write(path, content)

    with monkeypatch.context() as short:
        short.setattr(checkpoint, "_write", full)
        with pytest.raises(ResourceError, match="finished parts are kept"):
            measure(config, warehouse, quiet)
    (standing,) = list_jobs(warehouse)
    assert standing.state == "failed" and queries.runs(warehouse).is_empty()
    assert standing.reason.startswith("No disk space in ")
    assert list(standing.job.folder.glob("kept-*/step-layer-0001.json"))
    assert measure(config, warehouse, quiet).run_id == standing.job.job_id and not left_over(warehouse)


def test_the_verbs_tell_of_jobs(config, warehouse):
    empty = run_core("jobs", warehouse=warehouse.path)
    assert empty.returncode == 0 and "None yet" in empty.stdout
    job = submit(replace(config, model="no-such-model"), warehouse)
    failed = run_core("jobs", "resume", job.job_id[:18], warehouse=warehouse.path)
    assert failed.returncode == 2 and "No model 'no-such-model'" in failed.stderr
    assert "Traceback" not in failed.stderr
    checkpoint = submit(config, warehouse)
    listed = json.loads(run_core("jobs", "--json", warehouse=warehouse.path).stdout)
    assert [(row["job_id"], row["state"]) for row in listed] == [(checkpoint.job_id, "interrupted")]
    gone = run_core("jobs", "cancel", checkpoint.job_id, warehouse=warehouse.path)
    assert gone.returncode == 0 and not checkpoint.folder.exists()
    none = run_core("jobs", "cancel", checkpoint.job_id, warehouse=warehouse.path)
    assert none.returncode == 2 and "There is no job" in none.stderr


def test_ctrl_c_cancels_the_job_that_it_waits_for(longer, warehouse):
    command = [*processes.COMMAND, "measure", longer.model, "--text", longer.corpus, "--protocol", longer.protocol]
    terminal = subprocess.Popen(
        command,
        cwd=ROOT,
        env=os.environ | {"WORKDIM_WAREHOUSE": str(warehouse.path)},
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        text=True,
    )
    wait_for(lambda: any(s.state == "running" for s in list_jobs(warehouse)))
    (standing,) = list_jobs(warehouse)
    terminal.send_signal(signal.SIGINT)
    _, said = terminal.communicate(timeout=20)
    assert terminal.returncode == 130 and "nothing half written was kept" in said
    assert not psutil.pid_exists(standing.worker["pid"]) and not left_over(warehouse)


def test_a_job_without_a_readable_request_is_cleared_away(warehouse):
    (warehouse.jobs / "of-an-earlier-version").mkdir(parents=True)
    recover(warehouse)
    assert not left_over(warehouse)
    with pytest.raises(InputError, match="There is no job anything"):
        find_job(warehouse, "anything")


def test_a_job_killed_between_its_parcel_and_its_end_is_finished_by_the_next(config, warehouse, monkeypatch):
    job = submit(config, warehouse)
    with monkeypatch.context() as dying:
        dying.setattr("core.runs.execution.ingest_parcel", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt()))
        with pytest.raises(KeyboardInterrupt):
            run_submitted(job, warehouse, quiet)
    assert (warehouse.parcels / job.job_id).is_dir() and job_status(job).state == "interrupted"
    monkeypatch.setattr("core.measure.profile.measure_profile", None)  # nothing is measured again
    assert run_submitted(job, warehouse, quiet)["run_id"] == job.job_id
    assert queries.runs(warehouse)["run_id"].to_list() == [job.job_id]


def test_paths_are_those_of_whoever_asked(tmp_path, warehouse, monkeypatch):
    for seed, place in enumerate(("here", "there")):
        save_tiny_model(tmp_path / place / "model", seed=seed)
    jobs = []
    for place in ("here", "there"):
        monkeypatch.chdir(tmp_path / place)
        jobs.append(submit(RunConfig("./model", "english-business"), warehouse))
    assert jobs[0].job_id != jobs[1].job_id
    assert [job.config.model for job in jobs] == [str(tmp_path / place / "model") for place in ("here", "there")]


def test_a_stopped_job_takes_what_its_new_request_says(config, warehouse):
    job = submit(config, warehouse)
    again = submit(config, warehouse, pilot_id="one", again=True)
    assert again.job_id == job.job_id and (again.again, again.pilot_id) == (True, "one")
    assert find_job(warehouse, job.job_id).job == again


def test_kept_layers_are_not_those_of_another_configuration(tmp_path, monkeypatch):
    monkeypatch.setitem(PROTOCOLS, "small", SMALL)
    folder = save_tiny_model(tmp_path / "model")
    config = RunConfig(str(folder), "english-business", "small", device="cpu")
    first = measure_profile(config, "a", tmp_path / "kept", quiet)
    path = folder / "config.json"
    changed = json.loads(path.read_text(encoding="utf-8")) | {"hidden_act": "relu"}
    path.write_text(json.dumps(changed), encoding="utf-8")
    loading._stored_config.cache_clear()
    again = measure_profile(config, "a", tmp_path / "kept", quiet)
    assert again.estimates != first.estimates


def test_a_forecast_that_fails_fails_nothing(config, warehouse, monkeypatch):
    def fail(*_):
        raise OverflowError("too long")

    monkeypatch.setattr("core.forecast.times.pace_of", fail)
    job = submit(config, warehouse)
    assert run_submitted(job, warehouse, quiet)["run_id"] == job.job_id
    assert "too long" in job.log.read_text(encoding="utf-8")


def test_a_job_of_another_version_is_left_alone(config, warehouse):
    job = submit(config, warehouse)
    told = json.loads((job.folder / "job.json").read_text(encoding="utf-8"))
    (job.folder / "job.json").write_text(json.dumps(told | {"from_tomorrow": 1}), encoding="utf-8")
    recover(warehouse)
    assert (job.folder / "job.json").exists() and list_jobs(warehouse) == []


def test_jobs_get_a_waiting_policy_unless_the_user_has_chosen_one(monkeypatch, warehouse) -> None:
    monkeypatch.delenv("OMP_WAIT_POLICY", raising=False)
    monkeypatch.delenv("GOMP_SPINCOUNT", raising=False)
    assert int(processes.environment(warehouse)["GOMP_SPINCOUNT"]) < 300_000
    monkeypatch.setenv("OMP_WAIT_POLICY", "ACTIVE")
    assert "GOMP_SPINCOUNT" not in processes.environment(warehouse)


def test_layers_that_are_finished_can_be_looked_at_before_the_rest(config, warehouse, monkeypatch):
    job = submit(config, warehouse)
    kept = checkpoint.Checkpoint(job.checkpoint_folder(job.job_id), "a pass")
    for layer, value in {0: 5.0, 1: 6.0, 3: 7.0}.items():
        d2 = CloudEstimate("one_per_type", "d2", None, None, Estimate(value, lower=value - 1), [])
        kept.save_step(f"layer-{layer:04d}", LayerResult([d2], [], [], 0.0, "cpu"))
    found = job.finished_layers()
    assert {layer: (one.value, one.lower) for layer, one in found.items()} == {
        0: (5.0, 4.0),
        1: (6.0, 5.0),
        3: (7.0, 6.0),
    }
    assert in_language("ja", partial_thumbnail, "a model", found).startswith("<svg")
    with monkeypatch.context() as reading:
        reading.setattr("core.runs.jobs.read_json_or_none", lambda file: pytest.fail(f"{file} is read again"))
        assert job.finished_layers() == found
    for layer, content in {4: "{}", 5: '{"estimates": [{"of": "another version"}]}', 6: "[]", 7: "cut"}.items():
        (job.checkpoint_folder(job.job_id) / f"step-layer-{layer:04d}.json").write_text(content, encoding="utf-8")
    assert job.finished_layers() == found


def test_what_could_not_be_measured_is_told_in_the_readers_language(config, warehouse) -> None:
    job = submit(config, warehouse)
    reason = InputError("The seed must be 0 or more and below 2^63, not {seed}.", seed=-1)
    line = Sentence("The control pass {name} could not be measured: {reason}", name="shuffled", reason=reason)
    finish_job(job, {"run_id": job.job_id, "failed": (line,)})
    (told,) = job_status(job).result["failed"]
    assert told == line and in_language("ja", worded, told).startswith(
        "対照の測定 shuffled は測定できませんでした：シード"
    )
