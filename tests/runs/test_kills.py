"""A job that is killed at any moment goes on, and what comes of it is what an undisturbed one gives, bit for bit."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT
from tests.portions import kills

pytestmark = [pytest.mark.slow, pytest.mark.skipif(not hasattr(__import__("os"), "fork"), reason="needs fork")]

KILLS = kills(20)
TIMES = ("started_at", "finished_at", "phase_seconds", "peak_memory_bytes")

# Imports once and forks: otherwise nearly all kills would hit an import. torch has not computed before the first fork.
KILLER = """
import os, random, signal, sys, time
from dataclasses import replace
from pathlib import Path
import torch
import core.measure.profile, core.measure.setup
from core.registry.protocols import PROTOCOLS
from core.runs.jobs import read_job
from core.runs.execution import run_submitted
from core.warehouse.warehouse import Warehouse
from tests.runs.small import SMALL

PROTOCOLS["small"] = replace(SMALL, passes=("matched_blocks", "shuffled"))
torch.set_num_threads(1)
warehouse, job_id, kills, span = Warehouse(Path(sys.argv[1])), sys.argv[2], int(sys.argv[3]), float(sys.argv[4])
random.seed(int(sys.argv[5]))
folder = warehouse.jobs / job_id
started = time.monotonic()
killed = 0
while not (folder / "finished.json").exists():
    child = os.fork()
    if child == 0:
        run_submitted(read_job(folder), warehouse, lambda step: None)
        os._exit(0)
    if killed < kills:
        time.sleep(random.uniform(0, span))
        os.kill(child, signal.SIGKILL)
        killed += 1
    os.waitpid(child, 0)
print(killed, time.monotonic() - started)
"""


def bring_to_end(folder: Path, job_id: str, kills: int, span: float, seed: int = 0) -> tuple[int, float]:
    arguments = [str(folder / "w.duckdb"), job_id, str(kills), str(span), str(seed)]
    done = subprocess.run(
        [sys.executable, "-c", KILLER, *arguments], cwd=ROOT, capture_output=True, text=True, timeout=380, check=False
    )
    assert done.returncode == 0, done.stderr[-3000:]
    killed, seconds = done.stdout.split()
    return int(killed), float(seconds)


def content(folder: Path) -> dict[str, object]:
    """All parcels: run.json without times, and the hashes of the other files, which it holds."""
    found = {}
    for parcel in (folder / "parcels").iterdir():
        told = json.loads((parcel / "run.json").read_text(encoding="utf-8"))
        for name in TIMES:
            del told["run"][name]
        execution = json.loads(told["run"]["execution"])
        told["run"]["execution"] = {name: value for name, value in execution.items() if name != "processor_seconds"}
        found[parcel.name] = told
    return found


def test_kills_change_nothing(tiny_llama, tmp_path):
    from core.records import RunConfig
    from core.runs.jobs import submit
    from core.warehouse.warehouse import Warehouse

    undisturbed = tmp_path / "undisturbed"
    config = RunConfig(str(tiny_llama), "english-business", "small", device="cpu")
    job = submit(config, Warehouse(undisturbed / "w.duckdb"))
    request = (job.folder / "job.json").read_bytes()
    _, seconds = bring_to_end(undisturbed, job.job_id, 0, 0)
    expected = content(undisturbed)
    assert {told["run"]["pass"] for told in expected.values()} == {"text", "shuffled", "matched_blocks"}

    killed = 0
    while killed < KILLS:
        other = tmp_path / f"after {killed}"
        folder = other / "jobs" / job.job_id
        folder.mkdir(parents=True)
        (folder / "job.json").write_bytes(request)
        killed += bring_to_end(other, job.job_id, KILLS - killed, seconds, seed=killed)[0]
        assert content(other) == expected
        assert [file.name for file in (other / "jobs").glob("*/kept-*")] == []
        shutil.rmtree(other)
