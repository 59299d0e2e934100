"""Layers side by side: the same bits for any number of workers, and nothing at work once the job's process is gone."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from dataclasses import asdict
from pathlib import Path

import numpy as np
import psutil
import pytest
import torch

from core.geometry import clouds
from core.geometry.layer import CloudPlan, measure_layer
from core.measure import layers
from core.measure.checkpoint import Clock
from core.measure.layers import WORKER_BYTES, LayerWorkers, count_workers
from core.measure.profile import measure_profile
from core.records import Progress, RunConfig
from core.registry.protocols import PROTOCOLS
from tests.conftest import ROOT
from tests.geometry.test_layer import clustered
from tests.runs.small import SMALL

pytestmark = pytest.mark.slow

N_STATES = 4


@pytest.fixture(scope="module")
def spilled(tmp_path_factory) -> tuple[Path, np.ndarray, CloudPlan]:
    """A file of hidden states, the mask of its tokens, and a plan of all kinds of clouds."""
    states, types, sequences = clustered(3, n_types=120, n_sequences=16)
    tokens = clouds.Tokens(types, sequences, sequences // 2, 8)
    orders = [np.random.default_rng(draw).permutation(len(types)) for draw in range(2)]
    plan = CloudPlan(
        [clouds.one_per_type(order, tokens, 100) for order in orders],
        [clouds.one_per_word(orders[0], types, np.arange(len(types)), tokens, 100)],
        [clouds.all_tokens(orders[0], tokens, 500)],
        clouds.half_splits(16, 4, 0),
        n_surrogates=1,
        blocks=tokens.blocks,
    )
    file = tmp_path_factory.mktemp("spilled") / "states.npy"
    keep = np.r_[np.ones(len(states), bool), np.zeros(3, bool)]
    every = np.stack([np.r_[states.numpy() * (1 + layer), np.zeros((3, 64))] for layer in range(N_STATES)])
    np.save(file, every.astype(np.float32))
    return file, keep, plan


def bits(results) -> dict[int, str]:
    """Results in full, each double with all its digits; NaN equals NaN."""
    return {index: repr(asdict(result)) for index, result in results}


def workers_of(pid: int | None = None) -> list[psutil.Process]:
    children = psutil.Process(pid).children()
    return [child for child in children if "core.measure.layers" in child.cmdline()]


def test_every_bit_is_the_same_for_any_number_of_workers_and_what_a_layer_raises_comes_back(spilled):
    file, keep, plan = spilled
    states = np.load(file)
    threads = torch.get_num_threads()
    torch.set_num_threads(3)
    here = bits((index, measure_layer(torch.from_numpy(states[index][keep]), plan)) for index in range(N_STATES))
    assert torch.get_num_threads() == 3
    torch.set_num_threads(threads)
    with LayerWorkers() as workers:
        for n in (1, 2):
            assert bits(workers.measure(n, file, keep, plan, range(N_STATES))) == here
        assert workers.memory() > 2 * WORKER_BYTES / 4
        spent = workers.processor_seconds()
        with pytest.raises(IndexError):
            list(workers.measure(1, file, keep, plan, [N_STATES]))
    assert workers.memory() == 0 and workers.processor_seconds() >= spent > 0


def test_processor_time_is_that_of_the_pass_with_what_an_earlier_process_spent_on_it():
    spent = [100.0]  # by workers, on other passes
    clock = Clock(lambda step: None, processor_of_workers=lambda: spent[0])
    clock.add_earlier({"started_at": "2026-01-01T00:00:00", "seconds": {}, "processor_seconds": 50.0, "peak_memory": 0})
    spent[0] = 103.0
    assert 53 <= clock.processor_seconds < 54 and clock.resources()["processor_seconds"] >= 53


def test_a_worker_that_the_system_ends_is_memory_that_ran_out(spilled):
    file, keep, plan = spilled
    with LayerWorkers() as workers:
        measuring = workers.measure(2, file, keep, plan, range(N_STATES))
        next(measuring)
        for child in workers_of():
            child.send_signal(signal.SIGKILL)
        with pytest.raises(MemoryError):
            list(measuring)
        assert not workers_of()
        assert len(list(workers.measure(1, file, keep, plan, [0]))) == 1  # the next pass starts others


def test_workers_are_as_many_as_cpus_and_memory_allow_and_none_for_little_work(spilled, monkeypatch):
    _, _, plan = spilled
    one = WORKER_BYTES + layers.layer_bytes(plan, 64)
    assert count_workers(plan, 64, N_STATES, cpus=8, room=100 * one) == 0
    monkeypatch.setattr(layers, "SHORT_SECONDS", 0.0)
    assert count_workers(plan, 64, N_STATES, cpus=3, room=100 * one) == 3
    assert count_workers(plan, 64, N_STATES, cpus=8, room=100 * one) == N_STATES
    assert count_workers(plan, 64, N_STATES, cpus=8, room=2 * one) == 2
    assert count_workers(plan, 64, N_STATES, cpus=8, room=2 * one - 1) == 0
    assert count_workers(plan, 64, N_STATES, cpus=1, room=100 * one) == 0
    monkeypatch.setenv("WORKDIM_JOBS_AT_ONCE", str(10**6))
    assert layers.cpus_of_job() == 1


def test_a_profile_is_the_same_with_workers(tiny_llama, tmp_path, monkeypatch):
    monkeypatch.setitem(PROTOCOLS, "small", SMALL)
    config = RunConfig(str(tiny_llama), "english-business", "small", device="cpu")
    alone = measure_profile(config, "a", tmp_path / "kept", lambda step: None)
    monkeypatch.setattr(layers, "SHORT_SECONDS", 0.0)
    for layer in (tmp_path / "kept").glob("step-layer-*.json"):
        layer.unlink()
    steps: list[Progress] = []
    with LayerWorkers() as workers:
        workers.cpus = 2
        together = measure_profile(config, "a", tmp_path / "kept", steps.append, workers=workers)
        assert len(workers_of()) == 2  # kept for the next pass
    for name in ("estimates", "correlators", "replicates", "checks", "pairs", "distributions"):
        assert repr(getattr(together, name)) == repr(getattr(alone, name)), name
    done = [step.done for step in steps if step.phase == "geometry"]
    assert done == sorted(done) and done[-1] == 6


JOB = """
import sys
from pathlib import Path
from core.measure import layers, profile
from core.measure.layers import LayerWorkers
from core.records import RunConfig
from core.registry.protocols import PROTOCOLS
from tests.runs.small import WHOLE

PROTOCOLS["whole"] = WHOLE
layers.SHORT_SECONDS = 0.0
config = RunConfig(sys.argv[1], "english-business", "whole", device="cpu")
with LayerWorkers() as workers:
    workers.cpus = 2
    profile.measure_profile(config, "a", Path(sys.argv[2]), lambda step: None, workers=workers)
"""


def test_nothing_is_at_work_or_writes_after_a_kill(tiny_llama, tmp_path):
    scratch = tmp_path / "kept"
    job = subprocess.Popen([sys.executable, "-c", JOB, str(tiny_llama), str(scratch)], cwd=ROOT)
    try:
        deadline = time.monotonic() + 120
        while not list(scratch.glob("step-layer-*.json")) and time.monotonic() < deadline:
            time.sleep(0.05)
        workers = workers_of(job.pid)
        assert len(workers) == 2
    finally:
        os.kill(job.pid, signal.SIGKILL)
        job.wait()
    left = {file.name: file.stat().st_mtime_ns for file in scratch.iterdir()}
    _, alive = psutil.wait_procs(workers, timeout=5)
    assert not alive
    assert {file.name: file.stat().st_mtime_ns for file in scratch.iterdir()} == left
