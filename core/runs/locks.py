"""File locks by which a process shows that it is alive: the operating system releases them however the process ends."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout

PROBE_SECONDS = 0.02
"""How long `is_locked` tries: another process that probes holds the lock for less than a millisecond."""
POLL_INTERVAL = 0.005


def lock_path(folder: Path) -> Path:
    """The lock file of a folder, beside it."""
    return folder.with_name(f"{folder.name}.lock")


def is_locked(folder: Path) -> bool:
    """Whether a process holds the lock of this folder."""
    path = lock_path(folder)
    if not path.exists():
        return False
    with try_lock(path, PROBE_SECONDS) as is_free:
        return not is_free


@contextmanager
def try_lock(path: Path, timeout: float = 0.0) -> Iterator[bool]:
    """Hold a lock file; yields False if another process still holds it after `timeout` seconds."""
    lock = acquire_lock(path, timeout)
    try:
        yield lock is not None
    finally:
        if lock is not None:
            release_lock(lock)


def acquire_lock(path: Path, timeout: float = 0.0) -> FileLock | None:
    """Acquire a lock file, for `release_lock`; None if another process still holds it after `timeout` seconds."""
    lock = FileLock(path)
    try:
        lock.acquire(timeout=timeout, poll_interval=POLL_INTERVAL)
    except Timeout:
        return None
    return lock


def release_lock(lock: FileLock) -> None:
    """Release a lock and remove its file."""
    with suppress(OSError):  # Windows refuses while a waiting process has it open, which then removes it
        Path(lock.lock_file).unlink(missing_ok=True)
    lock.release()
