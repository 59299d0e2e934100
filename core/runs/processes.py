"""Jobs as processes of this machine: each is started on its own and lives on when whoever started it is gone.

They take turns in the order of their ids, which is that of their submission, one at a time; `WORKDIM_JOBS_AT_ONCE`
raises the number. A turn is a file lock, which a process that dies gives back.
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

import psutil
from filelock import FileLock, Timeout

from core.errors import InputError, ResourceError
from core.files import make_folder, refuse_where_read_only
from core.runs.jobs import (
    CANCEL_FILE,
    Job,
    JobStatus,
    all_jobs,
    is_held,
    lock_of,
    process_of,
    release,
    remove,
    stand,
    worker,
    write_json,
)
from core.warehouse.warehouse import Warehouse

ROOT = Path(__file__).resolve().parents[2]
COMMAND = (sys.executable, "-m", "core")
POLL = 0.2
GRACE = 0.8
"""Seconds that a process has to end by itself before it is killed: a cancel takes two at most."""
PATIENCE = 30.0
"""Seconds until one that is connecting to a cluster, say, must have seen that its job is cancelled."""


def start(job: Job, warehouse: Warehouse) -> subprocess.Popen[bytes]:
    """Start the job's process, which waits for its turn; what it says goes into the job's log."""
    refuse_where_read_only()
    command = [*COMMAND, "jobs", "resume", job.job_id, "--here"]
    with job.log.open("ab") as log:
        process = subprocess.Popen(
            command,
            cwd=ROOT,
            env=environment(warehouse),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    if not is_held(job.folder):  # it may have been quick
        write_json(job.folder / "worker.json", worker(process.pid))
    return process


def start_verb(warehouse: Warehouse, log_file: Path, *arguments: str) -> subprocess.Popen[bytes]:
    """Run a verb of the command line in a process that outlives this one; what it says replaces the log file."""
    refuse_where_read_only()
    make_folder(log_file.parent)
    with log_file.open("wb") as log:
        return subprocess.Popen(
            [*COMMAND, *arguments],
            cwd=ROOT,
            env=environment(warehouse),
            stdout=log,
            stderr=log,
            stdin=subprocess.DEVNULL,
            start_new_session=True,
        )


def environment(warehouse: Warehouse) -> dict[str, str]:
    """Of a process that runs a verb on this warehouse, in whatever folder."""
    paths = [str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
    return (
        waiting_policy()
        | os.environ
        | {"WORKDIM_WAREHOUSE": str(warehouse.path), "PYTHONPATH": os.pathsep.join(paths), "PYTHONUTF8": "1"}
    )


def waiting_policy() -> dict[str, str]:
    """How long threads of one product spin for each other before they sleep; empty where the user has chosen.

    The default, some 300,000 turns, burns cores that other processes need. By two runs of `tests/bench/waiting.py`, 1,000
    turns take 0.98 and 1.03 times the default on a calm machine; beside busy processes 1.45 and 1.62 times its calm
    time, where the default takes 1.48 and 1.99. Sleeping at once costs 16 percent calm; 10,000 turns gain nothing.
    """
    chosen = any(name in os.environ for name in ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT"))
    return {} if chosen else {"GOMP_SPINCOUNT": "1000"}


def run_all(
    jobs: Sequence[Job], warehouse: Warehouse, at_once: int, told: Callable[[JobStatus], None]
) -> Iterator[JobStatus]:
    """Start the jobs in their order, `at_once` at a time, and give back each as it ends.

    `told` hears several times a second where each stands. Whoever stops listening (Ctrl-C) cancels those at work.
    """
    waiting, at_work = list(jobs), dict[str, tuple[Job, subprocess.Popen[bytes]]]()
    try:
        while waiting or at_work:
            while waiting and len(at_work) < at_once:
                job = waiting.pop(0)
                if not job.folder.exists():  # cancelled before it came to it
                    yield stand(job)
                    continue
                at_work[job.job_id] = job, start(job, warehouse)
            time.sleep(POLL)
            for job, process in list(at_work.values()):
                ended = process.poll() is not None
                standing = stand(job)
                if not ended:
                    told(standing)
                    continue
                del at_work[job.job_id]
                yield standing
    finally:
        for job, _ in at_work.values():
            cancel(job)
        for job in waiting:  # nothing of them was asked for again; what an earlier process has finished stays
            if not any(job.folder.glob("kept-*")):
                remove(job)


def cancel(job: Job) -> None:
    """Stop the job, whatever it is doing, and remove it with all that it has so far.

    Raises InputError where its process is on another machine, ResourceError where nobody calls it back from a cluster.
    """
    refuse_where_read_only()
    standing = stand(job)
    if standing.state in ("queued", "running"):
        host = standing.worker.get("host")
        if host not in (None, socket.gethostname()):
            raise InputError(
                "The job {job} is at work on the machine {host}: cancel it there.", job=job.job_id, host=host
            )
        with suppress(OSError):  # whoever waits for its process then knows why that has ended
            (job.folder / CANCEL_FILE).touch()
        if standing.worker.get("engine") == "ray":
            _await_call_back(job)
        else:
            _stop(standing)
    remove(job)
    with suppress(OSError):
        lock_of(job.folder).unlink(missing_ok=True)


def _await_call_back(job: Job) -> None:
    """Whoever sent the job to a cluster calls it back and removes it, in less than two seconds if it can.

    Raises ResourceError where it does not answer.
    """
    end = time.monotonic() + PATIENCE
    while job.folder.exists() and is_held(job.folder):
        if time.monotonic() > end:
            raise ResourceError(
                "The job {job} is to be cancelled, but the process that sent it to a cluster does not answer. Stop "
                "that one.",
                job=job.job_id,
            )
        time.sleep(POLL / 2)


def _stop(standing: JobStatus) -> None:
    process = process_of(standing.worker)
    if process is None:  # not started yet, or gone in this moment
        return
    with suppress(psutil.Error):
        family = [*process.children(recursive=True), process]
        for member in family:
            with suppress(psutil.Error):
                member.terminate()
        _, alive = psutil.wait_procs(family, timeout=GRACE)
        for member in alive:
            with suppress(psutil.Error):
                member.kill()
        psutil.wait_procs(alive, timeout=GRACE)


BETWEEN_LOOKS = 0.3


@contextmanager
def turn(job: Job, warehouse: Warehouse, waiting: Callable[[int], None]) -> Iterator[None]:
    """Wait until the job may start; `waiting` hears again and again how many are before it."""
    lock = None
    while lock is None:
        before = _before(job, warehouse)
        lock = _free_slot(warehouse) if not before else None
        if lock is None:
            waiting(max(before, 1))
            time.sleep(BETWEEN_LOOKS)
    try:
        yield
    finally:
        release(lock)


def _before(job: Job, warehouse: Warehouse) -> int:
    """Older jobs that wait for a turn, too: not those that a pilot has not come to, nor those on a cluster."""
    waiting = (s for s in all_jobs(warehouse) if s.state == "queued" and s.worker.get("engine", "local") == "local")
    return sum(bool(s.worker) and s.job.job_id < job.job_id for s in waiting)


def _free_slot(warehouse: Warehouse) -> FileLock | None:
    for number in range(at_once()):
        lock = FileLock(warehouse.jobs / f".turn-{number}.lock")
        try:
            lock.acquire(timeout=0)
            return lock
        except Timeout:
            continue
    return None


def at_once() -> int:
    """Raises InputError for a setting that is no positive number."""
    text = os.environ.get("WORKDIM_JOBS_AT_ONCE", "1")
    if not text.isdecimal() or int(text) < 1:
        raise InputError("WORKDIM_JOBS_AT_ONCE must be a whole number from 1 on, not '{text}'.", text=text)
    return int(text)
