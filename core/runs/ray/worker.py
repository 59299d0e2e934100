"""The code that runs on the machines of a Ray cluster: one job in a folder and a warehouse of its own.

The folder is in the machine's temporary folder under the job's id, readable by its owner only because it holds hidden
states. A job whose worker was lost finds its checkpoints there again if it returns to the same machine.
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

from core.files import folders_in, read_json_or_none
from core.limits import watched
from core.runs import jobs
from core.runs.jobs import Job
from core.store.parcels import is_parcel
from core.warehouse.warehouse import Warehouse

PackedParcels = dict[str, dict[str, bytes]]
"""run_id -> file name -> content"""
REPORT_INTERVAL = 0.3
"""Seconds between two progress reports of a job."""


class ProgressBoard:
    """An actor with the progress of all jobs and the nodes they ran on."""

    def __init__(self) -> None:
        self._progress: dict[str, dict[str, Any]] = {}
        self._nodes: dict[str, list[str]] = {}

    def add_node(self, job_id: str, node_id: str) -> None:
        """Record that a job has started on a node."""
        self._nodes.setdefault(job_id, []).append(node_id)

    def report(self, job_id: str, progress: dict[str, Any]) -> None:
        self._progress[job_id] = progress

    def progress(self) -> dict[str, dict[str, Any]]:
        """Job id -> content of its progress file."""
        return self._progress

    def nodes(self, job_id: str) -> list[str]:
        return self._nodes.get(job_id, [])


def run_remote_job(
    job_id: str, request: dict[str, Any], cache: str, known_runs: PackedParcels, board: Any
) -> dict[str, Any]:
    """Measure or plan one job: returns its `parcels` or `plan`, and `error`, `finished` and `log` of the job's folder.

    `known_runs` need not be measured again, `cache` is the model cache of the submitting machine.
    """
    import ray

    from core.runs.caches import recover
    from core.runs.execution import run_submitted
    from core.warehouse import runs

    # Not awaited: a task that waits for Ray gives its CPUs to other jobs meanwhile.
    board.add_node.remote(job_id, ray.get_runtime_context().get_node_id())
    _use_cache(cache)
    home = job_home(job_id)
    home.mkdir(mode=0o700, exist_ok=True)
    warehouse = Warehouse(home / "workdim.duckdb")
    unpack_parcels(warehouse.parcels, known_runs)
    job = _on_assigned_gpu(jobs.create_job(warehouse, job_id, request))
    worker, reported_at = {"host": socket.gethostname(), "pid": os.getpid()}, 0.0

    def report(_step: object) -> None:
        nonlocal reported_at
        is_due = time.monotonic() - reported_at > REPORT_INTERVAL
        if is_due and (progress := read_json_or_none(job.folder / "progress.json")):
            reported_at = time.monotonic()
            board.report.remote(job_id, progress | {"on": worker})

    finished, failed = job.folder / "finished.json", job.folder / jobs.ERROR_FILE
    try:
        recover(warehouse)  # passes of a lost worker, and known runs
        if not finished.exists() and not failed.exists():  # a worker that its limits ended would be ended again
            with watched(failed):
                run_submitted(job, warehouse, report)
    except Exception as error:
        jobs.record_failure(job, error)
    new = [
        folder
        for folder in folders_in(warehouse.parcels)
        if not folder.name.startswith(".") and folder.name not in known_runs
    ]
    return {
        "error": read_json_or_none(failed),
        "finished": read_json_or_none(finished),
        "log": job.log.read_text(encoding="utf-8", errors="replace").rstrip() if job.log.exists() else "",
        "parcels": pack_parcels(new),
        "plan": runs.load_plan(warehouse, job_id),
    }


def remove_job_files(job_id: str) -> None:
    """Remove the job's folder on this machine."""
    shutil.rmtree(job_home(job_id), ignore_errors=True)


def job_home(job_id: str) -> Path:
    """The folder of a job on this machine."""
    return Path(tempfile.gettempdir()) / f"workdim-{job_id}"


def pack_parcels(folders: Iterable[Path]) -> PackedParcels:
    """The files of those folders that are parcels."""
    return {
        folder.name: {file.name: file.read_bytes() for file in folder.iterdir()}
        for folder in folders
        if is_parcel(folder)
    }


def unpack_parcels(into: Path, packed: Mapping[str, Mapping[str, bytes]]) -> None:
    """Write each parcel below `into`, unless it exists; it appears there by one rename."""
    for run_id, files in packed.items():
        if is_parcel(into / run_id):
            continue
        temporary = into / f".{run_id}"
        temporary.mkdir(parents=True, exist_ok=True)
        for name, content in files.items():
            (temporary / name).write_bytes(content)
        os.replace(temporary, into / run_id)


def _use_cache(cache: str) -> None:
    """Use the cache path of the submitting machine if this machine has it, too; else one in the home folder.

    Not in the code's own folder, which is removed with the cluster.
    """
    is_writable = os.path.isdir(cache) and os.access(cache, os.W_OK)
    os.environ.setdefault("WORKDIM_CACHE", cache if is_writable else str(Path.home() / ".cache" / "workdim"))


def _on_assigned_gpu(job: Job) -> Job:
    """The job without the number of a GPU: Ray assigns one and shows the worker no other."""
    has_number = job.config.device.startswith("cuda:")
    return replace(job, config=replace(job.config, device="cuda")) if has_number else job
