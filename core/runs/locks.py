"""Which process works on a job: told by a file lock, which the operating system drops with the process however it ends.

Process ids and start times are asked only where a process that holds a job is to be stopped.
"""

from __future__ import annotations

import socket
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
from filelock import FileLock, Timeout

SAME_START = 30.0
"""Seconds by which two processes may differ about when a third was started: each takes it from the time at which the
machine was started, which moves with a clock that is being set right."""
LOOK = 0.02
"""Seconds of looking until a lock counts as held."""


def lock_of(folder: Path) -> Path:
    return folder.with_name(f"{folder.name}.lock")


def release(lock: FileLock) -> None:
    with suppress(OSError):  # Windows refuses while a waiting process has it open; that one removes it
        Path(lock.lock_file).unlink(missing_ok=True)
    lock.release()


def is_held(folder: Path) -> bool:
    """Whether a process works on the job, told without disturbing it.

    Who else looks at this moment has the lock too, for less than a millisecond: hence more than one look.
    """
    path = lock_of(folder)
    if not path.exists():
        return False
    lock = FileLock(path)
    try:
        lock.acquire(timeout=LOOK, poll_interval=LOOK / 4)
    except Timeout:
        return True
    release(lock)  # the look may have made the file anew, after its owner removed it
    return False


def worker(pid: int) -> dict[str, Any]:
    created = 0.0
    with suppress(psutil.Error):
        created = psutil.Process(pid).create_time()
    return {"pid": pid, "created": created, "host": socket.gethostname(), "at": time.time()}


def process_of(worker: dict[str, Any]) -> psutil.Process | None:
    """The worker's process on this machine; None where it is gone, and its number perhaps another's."""
    with suppress(psutil.Error, KeyError):
        process = psutil.Process(worker["pid"])
        if abs(process.create_time() - worker["created"]) < SAME_START:
            return process
    return None
