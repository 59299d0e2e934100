"""Jobs on a Ray cluster, which is a real one of two CPUs on this machine."""

from __future__ import annotations

import importlib.util
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from core.plans.plan import make_plan
from core.records import PlanConfig, RunConfig
from core.runs import processes
from core.runs.execution import load_layer_plan, run_submitted
from core.runs.jobs import job_status, list_jobs, submit
from core.runs.ray import cluster as ray_cluster
from core.runs.ray import engine
from core.runs.ray.cluster import Needs, job_needs
from core.warehouse import layer_plans, queries
from core.warehouse.warehouse import Warehouse
from tests.conftest import ROOT, run_core, start_core
from tests.measuring import measure
from tests.plans import small as plan_sizes
from tests.runs import small
from tests.runs.test_jobs import left_over, quiet, wait_for
from tests.runs.test_kills import content

pytestmark = pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="needs Ray (requirements-ray.txt)")


@pytest.fixture(scope="module")
def cluster():
    """Address of a cluster, and the temporary folder of its workers."""
    place = Path(tempfile.mkdtemp(prefix="ray-", dir="/tmp"))  # short: sockets lie in it
    (place / "workers").mkdir()
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    command = [
        sys.executable,
        "-m",
        "ray.scripts.scripts",
        "start",
        "--head",
        "--block",
        "--disable-usage-stats",
        "--include-dashboard=false",
        "--num-cpus=2",
        "--num-gpus=0",
        f"--object-store-memory={100 * 2**20}",
        f"--port={address.partition(':')[2]}",
        f"--temp-dir={place / 'ray'}",
    ]
    token = pytest.MonkeyPatch()  # as on a cluster that not everybody may use
    token.setenv("RAY_AUTH_MODE", "token")
    token.setenv("RAY_AUTH_TOKEN", secrets.token_hex(32))
    environment = os.environ | {"TMPDIR": str(place / "workers"), "RAY_USAGE_STATS_ENABLED": "0"}
    with (place / "log").open("wb") as log:
        head = subprocess.Popen(command, cwd=place, env=environment, stdout=log, stderr=log, start_new_session=True)
    wait_for(lambda: "Ray runtime started" in (place / "log").read_text(encoding="utf-8"))
    yield address, place / "workers"
    head.terminate()
    head.wait(timeout=30)
    token.undo()
    shutil.rmtree(place)


@pytest.fixture
def config(tiny_llama, monkeypatch):
    """A request that is measured in a second here, in the processes of jobs and on workers."""
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    for owner, name in ((processes, "COMMAND"), (ray_cluster, "SENT_PATHS"), (engine, "run_remote_job")):
        monkeypatch.setattr(owner, name, getattr(owner, name))
    monkeypatch.setattr(small, "PROTOCOLS", small.PROTOCOLS)
    small.use()
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # here as on workers: the last bits of a sum depend on them
    yield RunConfig(str(tiny_llama), "english-business", "small", device="cpu")
    torch.set_num_threads(threads)
    for name in small.MORE:
        del small.PROTOCOLS[name]


def nothing_left_of(jobs, workers):
    return not [path for path in workers.glob("workdim-*") if path.name.removeprefix("workdim-") in jobs]


def test_jobs_give_what_local_ones_give_though_a_worker_is_lost(config, tiny_bert, warehouse, tmp_path, cluster):
    """Seeds of one text, of which the second is compared with the first; another model; one that is not there."""
    address, workers = cluster
    longer = replace(config, protocol="whole")  # until what is told every now and then was told once
    configs = [
        longer,
        replace(longer, seed=1),
        replace(config, model=str(tiny_bert), controls=True),
        replace(config, model="no-such-model"),
    ]
    todo = [submit(one, warehouse) for one in configs]
    beside = Warehouse(tmp_path / "local" / "w.duckdb")
    shutil.copytree(warehouse.jobs, beside.jobs)
    seen, lost = defaultdict(list), []

    def told(at):
        seen[at.job.job_id].append(at)
        if (
            at.job == todo[2]
            and not lost
            and "on" in at.progress_record
            and (workers / f"workdim-{at.job.job_id}" / "parcels").is_dir()
        ):
            lost.append(at.progress_record["on"]["pid"])
            os.kill(lost[0], signal.SIGKILL)

    ended = {at.job.job_id: at for at in engine.run_jobs_on_cluster(todo, warehouse, address, told)}
    assert lost
    assert [ended[job.job_id].state for job in todo] == ["finished"] * 3 + ["failed"]
    assert "No model 'no-such-model'" in ended[todo[3].job_id].reason
    assert "\n" not in ended[todo[3].job_id].reason and ended[todo[3].job_id].exit_code == 2
    # What takes a second may be finished between two looks: only the job that was lost is surely seen at work.
    assert all(seen[job.job_id][0].state == "queued" for job in todo[:3])
    assert "running" in [at.state for at in seen[todo[2].job_id]]
    assert any("seconds_left" in at.progress_record for at in seen[todo[2].job_id])
    assert "geometry" in todo[0].log.read_text(encoding="utf-8")
    assert nothing_left_of(ended, workers)

    here = [job_status(job).job for job in todo]
    for job in (replace(job, folder=beside.jobs / job.job_id) for job in here[:3]):
        run_submitted(job, beside, quiet)
    assert content(tmp_path) == content(tmp_path / "local")
    assert len(content(tmp_path)) == 7  # three on text, four controls of the second model
    assert set(queries.runs(warehouse)["run_id"]) == set(queries.runs(beside)["run_id"])


def test_a_plan_is_made_on_a_worker_as_here(tiny_llama, warehouse, tmp_path, cluster, monkeypatch):
    monkeypatch.setattr(ray_cluster, "SENT_PATHS", (*ray_cluster.SENT_PATHS, "tests"))
    monkeypatch.setattr(engine, "run_remote_job", plan_sizes.work)
    for module, name, value in plan_sizes.SIZES:
        monkeypatch.setattr(module, name, value)
    asked = PlanConfig(str(tiny_llama), "english-business", blocks=1, device="cpu")
    job, seen = submit(asked, warehouse), []
    (ended,) = engine.run_jobs_on_cluster([job], warehouse, cluster[0], lambda at: seen.append(at.state))
    assert ended.state == "finished", ended.reason
    assert "running" in seen
    found = load_layer_plan(ended, warehouse)
    here = make_plan(asked, job.job_id, tmp_path / "here", quiet)
    assert found.plan.blocks == here.plan.blocks
    assert found.plan.loss_increase == pytest.approx(here.plan.loss_increase, abs=1e-6)
    assert list(layer_plans.list_plans(warehouse)["plan_id"]) == [job.job_id]


def test_what_no_machine_has_fails_at_once_and_what_is_known_is_not_measured(config, warehouse, cluster, monkeypatch):
    first = measure(config, warehouse, quiet)
    big = replace(config, seed=1)
    monkeypatch.setattr(engine, "job_needs", lambda one, at: Needs(10**15) if one == big else job_needs(one, at))
    todo = [submit(one, warehouse) for one in (replace(config, device="cuda", seed=2), big, config)]
    ended = list(engine.run_jobs_on_cluster(todo, warehouse, cluster[0], quiet))
    assert [at.state for at in ended] == ["failed", "failed", "finished"]
    assert "no machine of the cluster has a GPU" in ended[0].reason
    assert "needs 1000000.0 GB of memory; the cluster offers" in ended[1].reason
    assert ended[2].result["was_known"] and ended[2].result["run_id"] == first.run_id


def test_one_job_is_cancelled_from_elsewhere_and_ctrl_c_calls_all_back(tiny_llama, tiny_bert, warehouse, cluster):
    address, workers = cluster
    command = [
        sys.executable,
        "-m",
        "core",
        "measure",
        str(tiny_llama),
        str(tiny_bert),
        "--protocol",
        "standard",
        "--device",
        "cpu",
        "--engine",
        "ray",
        "--address",
        address,
    ]
    terminal = subprocess.Popen(
        command,
        cwd=ROOT,
        env=os.environ | {"WORKDIM_WAREHOUSE": str(warehouse.path), "OMP_NUM_THREADS": "1"},
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        text=True,
    )
    wait_for(lambda: [at.state for at in list_jobs(warehouse)] == ["running"] * 2)
    jobs = [at.job for at in list_jobs(warehouse)]
    listed = run_core("jobs", warehouse=warehouse.path).stdout
    assert listed.count("running") == 2
    started = time.monotonic()
    processes.cancel_job(jobs[0])
    assert time.monotonic() - started < 2 and not jobs[0].folder.exists()
    assert job_status(jobs[1]).state == "running"
    terminal.send_signal(signal.SIGINT)
    _, said = terminal.communicate(timeout=60)
    assert terminal.returncode == 130 and "nothing half written was kept" in said
    assert not left_over(warehouse)
    wait_for(lambda: nothing_left_of([job.job_id for job in jobs], workers), 60)  # a busy worker ends a moment later


def test_no_cluster_is_one_line(warehouse):
    told = start_core("measure", "x", "--engine", "ray", "--address", "127.0.0.1:9", warehouse=warehouse.path)
    assert told.returncode == 2 and told.stderr.startswith("workdim: No Ray cluster answers at 127.0.0.1:9")
    assert told.stderr.count("\n") == 1 and not list_jobs(warehouse)
