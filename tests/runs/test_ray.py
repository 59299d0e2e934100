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
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
import torch

from core.plans.plan import make_plan
from core.records import PlanConfig, RunConfig
from core.registry.protocols import PROTOCOLS
from core.runs import jobs as processes
from core.runs import requests
from core.runs.execution import load_layer_plan, run_submitted
from core.runs.jobs import Job, JobStatus, job_status, list_jobs, submit
from core.runs.ray import engine
from core.runs.ray import engine as ray_cluster
from core.runs.ray.engine import Needs, job_needs
from core.warehouse import queries, runs
from core.warehouse.warehouse import Warehouse
from tests.conftest import ROOT, answer_here, run_core, start_core
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
    # Ray's workers let others go first, and on a busy machine for minutes.
    own = {"TMPDIR": str(place / "workers"), "RAY_USAGE_STATS_ENABLED": "0", "RAY_worker_niceness": "0"}
    environment = os.environ | own
    with (place / "log").open("wb") as log:
        head = subprocess.Popen(command, cwd=place, env=environment, stdout=log, stderr=log, start_new_session=True)
    wait_for(lambda: "Ray runtime started" in (place / "log").read_text(encoding="utf-8"))
    yield address, place / "workers"
    head.terminate()
    head.wait(timeout=30)
    token.undo()
    shutil.rmtree(place)


@dataclass(frozen=True)
class Done:
    """One run of the engine: its jobs by what they are for, how each was seen and ended, and what was left."""

    warehouse: Warehouse
    jobs: dict[str, Job]
    seen: dict[str, list[JobStatus]]
    ended: dict[str, JobStatus]
    submitted: Path
    """A copy of the folders of the jobs, as they were sent."""
    is_clean: bool


@pytest.fixture(scope="module")
def sized() -> Iterator[None]:
    """Measurements of a second and a plan of a few windows, on one thread, as on the workers: sums depend on it."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OMP_NUM_THREADS", "1")
        patch.setattr(ray_cluster, "SENT_PATHS", (*ray_cluster.SENT_PATHS, "tests"))
        patch.setattr(engine, "run_remote_job", plan_sizes.work)
        patch.setattr(requests, "_run_process", answer_here)
        for name, one in small.MORE.items():
            patch.setitem(PROTOCOLS, name, one)
        for module, name, value in plan_sizes.SIZES:
            patch.setattr(module, name, value)
        yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def done(tiny_llama, tiny_bert, tmp_path_factory, cluster, sized) -> Done:
    """Seeds of one text, of which the second is compared with the first; another model, whose worker is killed after its
    pass on the text; a plan; one of no model, and two that no machine has room for."""
    address, workers = cluster
    place = tmp_path_factory.mktemp("ray")
    warehouse = Warehouse(place / "w.duckdb")
    config = RunConfig(str(tiny_llama), "english-business", small.SMALL.name, device="cpu")
    asked = {
        "lost": replace(config, model=str(tiny_bert), protocol=small.CONTROLLED.name),
        "first": config,
        "second": replace(config, seed=1),
        "plan": PlanConfig(str(tiny_llama), "english-business", blocks=1, device="cpu"),
        "absent": replace(config, model="no-such-model"),
        "gpu": replace(config, device="cuda", seed=2),
        "big": replace(config, seed=3),
    }
    todo = {name: submit(one, warehouse) for name, one in asked.items()}
    shutil.copytree(warehouse.jobs, place / "submitted")
    names = {job.job_id: name for name, job in todo.items()}
    seen, killed = defaultdict(list), []

    def told(at: JobStatus) -> None:
        seen[names[at.job.job_id]].append(at)
        has_text = (workers / f"workdim-{at.job.job_id}" / "parcels").is_dir()
        if at.job == todo["lost"] and has_text and not killed and "on" in at.progress_record:
            killed.append(at.progress_record["on"]["pid"])
            os.kill(killed[0], signal.SIGKILL)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(engine, "CLEANUP_TIMEOUT", 60.0)  # on a busy machine a worker takes long to begin
        patch.setattr(engine, "job_needs", lambda one, at: Needs(10**15) if one == asked["big"] else job_needs(one, at))
        every = list(engine.run_jobs_on_cluster(list(todo.values()), warehouse, address, told))
    assert killed
    ended = {names[at.job.job_id]: at for at in every}
    return Done(warehouse, todo, seen, ended, place / "submitted", nothing_left_of(names, workers))


def nothing_left_of(jobs, workers):
    return not [path for path in workers.glob("workdim-*") if path.name.removeprefix("workdim-") in jobs]


def test_jobs_give_what_local_ones_give_though_a_worker_is_lost(done, tmp_path):
    measured = ("lost", "first", "second")
    assert [done.ended[name].state for name in measured] == ["finished"] * 3
    # What takes a second may be finished between two looks: only the job that was lost is surely seen at work.
    assert all(done.seen[name][0].state == "queued" for name in measured)
    assert "running" in [at.state for at in done.seen["lost"]]
    assert any("seconds_left" in at.progress_record for at in done.seen["lost"])
    assert "geometry" in done.jobs["first"].log.read_text(encoding="utf-8")
    assert done.is_clean

    beside = Warehouse(tmp_path / "w.duckdb")
    shutil.copytree(done.submitted, beside.jobs)
    for name in ("first", "second", "lost"):
        job = job_status(done.jobs[name]).job
        run_submitted(replace(job, folder=beside.jobs / job.job_id), beside, quiet)
    found = content(done.warehouse.path.parent)
    assert found == content(tmp_path) and len(found) == 3 + 2  # on text, and two controls
    assert set(queries.runs(done.warehouse)["run_id"]) == set(queries.runs(beside)["run_id"])


def test_a_plan_is_made_on_a_worker_as_here(done, tmp_path):
    ended = done.ended["plan"]
    assert ended.state == "finished", ended.reason
    assert "running" in [at.state for at in done.seen["plan"]]
    found = load_layer_plan(ended, done.warehouse)
    here = make_plan(ended.job.config, ended.job.job_id, tmp_path / "here", quiet)
    assert found.plan.blocks == here.plan.blocks
    assert found.plan.loss_increase == pytest.approx(here.plan.loss_increase, abs=1e-6)
    assert list(runs.list_plans(done.warehouse)["plan_id"]) == [ended.job.job_id]


def test_what_no_machine_has_fails_at_once(done):
    ended = done.ended
    assert {ended[name].state for name in ("absent", "gpu", "big")} == {"failed"}
    assert "No model 'no-such-model'" in ended["absent"].reason
    assert "\n" not in ended["absent"].reason and ended["absent"].exit_code == 2
    assert "no machine of the cluster has a GPU" in ended["gpu"].reason
    assert "needs 1000000.0 GB of memory; the cluster offers" in ended["big"].reason


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
