"""Jobs as processes of this machine, which outlive the process that started them.

They run one at a time in the order of their ids, which is that of submission; `WORKDIM_JOBS_AT_ONCE` raises the number.
A turn is a file lock, which is released when its process dies.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

import psutil

from core.errors import InputError, ResourceError
from core.files import (
    PROJECT,
    acquire_lock,
    is_locked,
    lock_path,
    make_folder,
    max_parallel_jobs,
    refuse_where_read_only,
    release_lock,
    write_json,
)
from core.runs.jobs import (
    CANCEL_FILE,
    CHECKPOINT_PREFIX,
    Job,
    JobStatus,
    find_process,
    job_status,
    list_jobs,
    remove_job,
    worker_record,
)
from core.warehouse.warehouse import Warehouse

COMMAND = (sys.executable, "-m", "core")
POLL_INTERVAL = 0.2
TURN_POLL_INTERVAL = 0.3
TERMINATE_SECONDS = 0.8
"""Seconds for a process to terminate before it is killed: cancelling takes two seconds at most."""
CANCEL_TIMEOUT = 30.0
"""Seconds for the process that submitted a job to a cluster to notice that it is cancelled."""


def start_job(job: Job, warehouse: Warehouse) -> subprocess.Popen[bytes]:
    """Start the job's process, which waits for its turn; its output goes into the job's log."""
    refuse_where_read_only()
    with job.log.open("ab") as log:
        process = _start_process(warehouse, log, "jobs", "resume", job.job_id, "--here")
    if not is_locked(job.folder):  # it may have been quick
        write_json(job.folder / "worker.json", worker_record(process.pid))
    return process


def start_verb(warehouse: Warehouse, log_file: Path, *arguments: str) -> subprocess.Popen[bytes]:
    """Run a verb of the command line in a process that outlives this one; its output replaces the log file."""
    refuse_where_read_only()
    make_folder(log_file.parent)
    with log_file.open("wb") as log:
        return _start_process(warehouse, log, *arguments)


def _start_process(warehouse: Warehouse, log: BinaryIO, *arguments: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [*COMMAND, *arguments],
        cwd=PROJECT,
        env=environment(warehouse),
        stdin=subprocess.DEVNULL,
        stdout=log,
        stderr=log,
        start_new_session=True,
    )


def environment(warehouse: Warehouse) -> dict[str, str]:
    """Environment variables of a process that runs a verb on this warehouse, in whatever folder."""
    paths = [str(PROJECT), *filter(None, [os.environ.get("PYTHONPATH")])]
    return (
        waiting_policy()
        | os.environ
        | {"WORKDIM_WAREHOUSE": str(warehouse.path), "PYTHONPATH": os.pathsep.join(paths), "PYTHONUTF8": "1"}
    )


def waiting_policy() -> dict[str, str]:
    """How long OpenMP threads spin for each other before they sleep; empty if the user has set it.

    The default, some 300,000 turns, burns cores that other processes need. In two runs of `tests/bench/waiting.py`, 1,000
    turns took 0.98 and 1.03 times as long as the default on a calm machine; beside busy processes 1.45 and 1.62 times the
    calm time, against 1.48 and 1.99 for the default. Sleeping at once costs 16 percent when calm; 10,000 turns gain nothing.
    """
    is_set = any(name in os.environ for name in ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT"))
    return {} if is_set else {"GOMP_SPINCOUNT": "1000"}


def run_jobs(
    jobs: Sequence[Job], warehouse: Warehouse, at_once: int, on_status: Callable[[JobStatus], None]
) -> Iterator[JobStatus]:
    """Start the jobs in order, `at_once` at a time, and yield each as it ends.

    `on_status` is called with the status of each several times a second. Closing the iterator (Ctrl-C) cancels running
    jobs.
    """
    waiting, running = list(jobs), dict[str, tuple[Job, subprocess.Popen[bytes]]]()
    try:
        while waiting or running:
            while waiting and len(running) < at_once:
                job = waiting.pop(0)
                if not job.folder.exists():  # cancelled before its start
                    yield job_status(job)
                    continue
                running[job.job_id] = job, start_job(job, warehouse)
            time.sleep(POLL_INTERVAL)
            for job, process in list(running.values()):
                ended = process.poll() is not None
                status = job_status(job)
                if not ended:
                    on_status(status)
                    continue
                del running[job.job_id]
                yield status
    finally:
        for job, _ in running.values():
            cancel_job(job)
        for job in waiting:  # jobs without a checkpoint are removed; what an earlier process has finished stays
            if not any(job.folder.glob(f"{CHECKPOINT_PREFIX}*")):
                remove_job(job)


def cancel_job(job: Job) -> None:
    """Stop the job and remove it with its checkpoints.

    Raises InputError if its process is on another machine, ResourceError if it cannot be called back from a cluster.
    """
    refuse_where_read_only()
    status = job_status(job)
    if status.state in ("queued", "running"):
        host = status.worker.get("host")
        if host not in (None, socket.gethostname()):
            raise InputError(
                "The job {job} is at work on the machine {host}: cancel it there.", job=job.job_id, host=host
            )
        with suppress(OSError):  # so that whoever waits for its process sees why it ended
            (job.folder / CANCEL_FILE).touch()
        if status.worker.get("engine") == "ray":
            _wait_for_cancel(job)
        else:
            _stop_process(status)
    remove_job(job)
    with suppress(OSError):
        lock_path(job.folder).unlink(missing_ok=True)


def _wait_for_cancel(job: Job) -> None:
    """Wait until the process that submitted the job to a cluster has removed it, usually in less than two seconds.

    Raises ResourceError if it does not respond.
    """
    deadline = time.monotonic() + CANCEL_TIMEOUT
    while job.folder.exists() and is_locked(job.folder):
        if time.monotonic() > deadline:
            raise ResourceError(
                "The process that sent job {job} to a cluster does not answer. Stop it.", job=job.job_id
            )
        time.sleep(POLL_INTERVAL / 2)


def _stop_process(status: JobStatus) -> None:
    """Terminate the job's process and its children; kill those that do not end in time."""
    process = find_process(status.worker)
    if process is None:  # not started yet, or just gone
        return
    with suppress(psutil.Error):
        tree = [*process.children(recursive=True), process]
        for member in tree:
            with suppress(psutil.Error):
                member.terminate()
        _, alive = psutil.wait_procs(tree, timeout=TERMINATE_SECONDS)
        for member in alive:
            with suppress(psutil.Error):
                member.kill()
        psutil.wait_procs(alive, timeout=TERMINATE_SECONDS)


@contextmanager
def wait_for_turn(job: Job, warehouse: Warehouse, on_wait: Callable[[int], None]) -> Iterator[None]:
    """Wait until the job may start; `on_wait` is called repeatedly with the number of jobs before it."""
    lock = None
    while lock is None:
        n_before = _count_jobs_before(job, warehouse)
        slots = (acquire_lock(warehouse.jobs / f".turn-{number}.lock") for number in range(max_parallel_jobs()))
        lock = next(filter(None, slots), None) if not n_before else None
        if lock is None:
            on_wait(max(n_before, 1))
            time.sleep(TURN_POLL_INTERVAL)
    try:
        yield
    finally:
        release_lock(lock)


def _count_jobs_before(job: Job, warehouse: Warehouse) -> int:
    """Number of older jobs that wait for a turn, without those that a pilot has not started and those on a cluster."""
    waiting = (s for s in list_jobs(warehouse) if s.state == "queued" and s.worker.get("engine", "local") == "local")
    return sum(bool(s.worker) and s.job.job_id < job.job_id for s in waiting)
