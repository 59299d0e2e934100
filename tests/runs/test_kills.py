"""A job that is killed at any moment goes on, and what comes of it is what an undisturbed one gives, bit for bit."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from core.records import RunConfig
from core.runs.jobs import submit
from core.warehouse.warehouse import Warehouse
from tests.conftest import ROOT
from tests.portions import kills

pytestmark = [pytest.mark.slow, pytest.mark.skipif(not hasattr(__import__("os"), "fork"), reason="needs fork")]

KILLS = kills(20)
TIMES = ("started_at", "finished_at", "phase_seconds", "peak_memory_bytes")

# Imports once and forks: otherwise nearly all kills would hit an import. torch has not computed before the first fork.
# Undisturbed first, which tells how long it takes; then beside it, killed again and again, as often as is asked.
KILLER = """
import os, random, shutil, signal, sys, time
from dataclasses import replace
from pathlib import Path
import torch
import core.measure.profile, core.measure.plan
from core.registry.protocols import PROTOCOLS
from core.runs.jobs import read_job
from core.runs.execution import run_submitted
from core.warehouse.warehouse import Warehouse
from tests.runs.small import SMALL

PROTOCOLS["small"] = replace(SMALL, passes=("matched_blocks", "shuffled"))
torch.set_num_threads(1)
place, job_id, kills = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])


def bring_to_end(name, kills, span):
    # How often it was killed.
    folder = place / name / "jobs" / job_id
    folder.mkdir(parents=True)
    shutil.copyfile(place / "job.json", folder / "job.json")
    killed = 0
    while not (folder / "finished.json").exists():
        child = os.fork()
        if child == 0:
            run_submitted(read_job(folder), Warehouse(place / name / "w.duckdb"), lambda step: None)
            os._exit(0)
        if killed < kills:
            time.sleep(random.uniform(0, span))
            os.kill(child, signal.SIGKILL)
            killed += 1
        os.waitpid(child, 0)
    return killed


started = time.monotonic()
bring_to_end("undisturbed", 0, 0)
span = time.monotonic() - started
random.seed(0)
killed = 0
while killed < kills:
    killed += bring_to_end(f"after {killed}", kills - killed, span)
"""


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
    job = submit(
        RunConfig(str(tiny_llama), "english-business", "small", device="cpu"), Warehouse(tmp_path / "w.duckdb")
    )
    (job.folder / "job.json").rename(tmp_path / "job.json")
    done = subprocess.run(
        [sys.executable, "-c", KILLER, str(tmp_path), job.job_id, str(KILLS)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=380,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    expected = content(tmp_path / "undisturbed")
    assert {told["run"]["pass"] for told in expected.values()} == {"text", "shuffled", "matched_blocks"}
    disturbed = list(tmp_path.glob("after *"))
    assert disturbed
    for other in disturbed:
        assert content(other) == expected
        assert [file.name for file in (other / "jobs").glob("*/kept-*")] == []
