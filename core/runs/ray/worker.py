"""What runs on the machines of a Ray cluster: one job each, in a folder and a warehouse of its own.

The folder lies in the machine's temporary folder under the job's id, readable by its owner alone: it holds hidden
states. A job whose worker was lost finds it again if it comes to the same machine, and goes on from what is kept there.
"""

from __future__ import annotations

import os
import shutil
import socket
import tempfile
import time
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from core.records import PlanConfig
from core.runs import jobs
from core.runs.jobs import Job
from core.store.parcels import is_parcel
from core.warehouse.warehouse import Warehouse

Parcels = dict[str, dict[str, bytes]]
"""run_id -> file name -> content"""
_EVERY = 0.3
"""Seconds between two tellings of one job."""


class Board:
    """An actor that knows where all jobs stand and have been."""

    def __init__(self) -> None:
        self._told: dict[str, dict[str, Any]] = {}
        self._nodes: dict[str, list[str]] = {}

    def arrive(self, job_id: str, node_id: str) -> None:
        self._nodes.setdefault(job_id, []).append(node_id)

    def tell(self, job_id: str, told: dict[str, Any]) -> None:
        self._told[job_id] = told

    def all(self) -> dict[str, dict[str, Any]]:
        return self._told

    def nodes(self, job_id: str) -> list[str]:
        return self._nodes.get(job_id, [])


def work(job_id: str, request: dict[str, Any], cache: str, known: Parcels, board: Any) -> dict[str, Any]:
    """Measure or plan one job: `parcels` or `plan` has what it brought, `error` or `finished` and `log` what the job's
    folder says.

    `known` are runs that need not be measured again, `cache` is where models lie for whoever asked.
    """
    import ray

    from core.forecast.preflight_card import expected_seconds
    from core.runs import planning
    from core.runs.execution import run
    from core.runs.recovery import sweep
    from core.warehouse import layer_plans

    # Not waited for: whoever waits for Ray gives its CPUs to other jobs meanwhile.
    board.arrive.remote(job_id, ray.get_runtime_context().get_node_id())
    _settle_in(cache)
    home = home_of(job_id)
    home.mkdir(mode=0o700, exist_ok=True)
    warehouse = Warehouse(home / "workdim.duckdb")
    unpack(warehouse.parcels, known)
    job = _on_this_gpu(jobs.write_job(warehouse, job_id, request))
    here, told_at = {"host": socket.gethostname(), "pid": os.getpid()}, 0.0

    def tell(_step: object) -> None:
        nonlocal told_at
        if time.monotonic() - told_at > _EVERY and (told := jobs.read_json(job.folder / "progress.json")):
            told_at = time.monotonic()
            board.tell.remote(job_id, told | {"on": here})

    finished = job.folder / "finished.json"
    try:
        sweep(warehouse)  # a lost worker's passes, and what is known
        if not finished.exists() and isinstance(job.config, PlanConfig):
            planning.plan(job, warehouse, tell)
        elif not finished.exists():
            run(job, warehouse, tell, expected_seconds)
    except Exception as error:
        jobs.fail(job, error)
    new = [folder for folder in _folders(warehouse.parcels) if folder.name not in known]
    return {
        "error": jobs.read_json(job.folder / "error.json"),
        "finished": jobs.read_json(finished),
        "log": "\n".join(job.log_tail(1000)),
        "parcels": pack(new),
        "plan": layer_plans.load_plan(warehouse, job_id),
    }


def clear(job_id: str) -> None:
    """Leave nothing of the job on this machine."""
    shutil.rmtree(home_of(job_id), ignore_errors=True)


def home_of(job_id: str) -> Path:
    return Path(tempfile.gettempdir()) / f"workdim-{job_id}"


def pack(folders: Iterable[Path]) -> Parcels:
    return {
        folder.name: {file.name: file.read_bytes() for file in folder.iterdir()}
        for folder in folders
        if is_parcel(folder)
    }


def unpack(into: Path, packed: Mapping[str, Mapping[str, bytes]]) -> None:
    """Write each parcel below `into`, where it appears whole; one that is there is left as it is."""
    for run_id, files in packed.items():
        if is_parcel(into / run_id):
            continue
        beside = into / f".{run_id}"
        beside.mkdir(parents=True, exist_ok=True)
        for name, content in files.items():
            (beside / name).write_bytes(content)
        os.replace(beside, into / run_id)


def _folders(parent: Path) -> list[Path]:
    return [path for path in parent.iterdir() if not path.name.startswith(".")] if parent.is_dir() else []


def _settle_in(cache: str) -> None:
    """The cache of whoever asked, where this machine has it, too.

    The code itself lies in a folder that goes with the cluster: no place to keep models in.
    """
    here = cache if os.path.isdir(cache) and os.access(cache, os.W_OK) else str(Path.home() / ".cache" / "workdim")
    os.environ.setdefault("WORKDIM_CACHE", here)


def _on_this_gpu(job: Job) -> Job:
    """Which GPU is for Ray to say: it shows the worker no other one."""
    is_numbered = job.config.device.startswith("cuda:")
    return replace(job, config=replace(job.config, device="cuda")) if is_numbered else job
