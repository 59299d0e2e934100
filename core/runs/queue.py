"""Whose turn it is: jobs wait in the order of their ids, which is that of their submission, and go one at a time.

`WORKDIM_JOBS_AT_ONCE` raises the number. A turn is a file lock, which a process that dies gives back.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from filelock import FileLock, Timeout

from core.errors import InputError
from core.runs.jobs import Job, all_jobs
from core.runs.locks import release
from core.warehouse.warehouse import Warehouse

POLL = 0.3


@contextmanager
def turn(job: Job, warehouse: Warehouse, waiting: Callable[[int], None]) -> Iterator[None]:
    """Wait until the job may start; `waiting` hears again and again how many are before it."""
    lock = None
    while lock is None:
        before = _before(job, warehouse)
        lock = _free_slot(warehouse) if not before else None
        if lock is None:
            waiting(max(before, 1))
            time.sleep(POLL)
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
        raise InputError(f"WORKDIM_JOBS_AT_ONCE must be a whole number from 1 on, not '{text}'.")
    return int(text)
