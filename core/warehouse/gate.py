"""The gate in front of a warehouse: whoever writes closes it, whoever reads walks through.

DuckDB's own lock is held or refused, and nobody can wait in line for it: readers that follow each other closely would
keep a writer out for ever (four processes that read without a pause: a median of 0.5 s, 6 s at most, for a write of
20 ms; six of them: no write in 10 s). So a writer closes the gate first. New readers wait in front of it, those inside
leave within milliseconds, and the writer goes in.

It is a file lock beside the warehouse, which the operating system opens again when a process dies. Where no such file
can be made (a folder that may only be read), DuckDB's lock alone decides, as it does for programs that know no gate.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

_READERS_LOOK, _WRITERS_LOOK = 0.002, 0.02
"""Seconds between two looks at a closed gate. Readers look more often: when it opens, they walk through before the
next writer closes it, so that a reader waits for one writer and not for a row of them."""


def gate_of(path: Path) -> Path:
    return path.with_name(path.name + ".gate")


@contextmanager
def closed(path: Path, wait: float) -> Iterator[None]:
    """Keep everybody else out of the warehouse; TimeoutError where another writer has it closed for `wait` seconds."""
    lock = _close(path, wait, _WRITERS_LOOK)
    try:
        yield
    finally:
        if lock is not None:
            lock.release()


def pass_through(path: Path, wait: float) -> None:
    """Return at once where the gate is open; TimeoutError where it stays closed for `wait` seconds."""
    lock = _close(path, wait, _READERS_LOOK)
    if lock is not None:
        lock.release()


def _close(path: Path, wait: float, look: float) -> FileLock | None:
    lock = FileLock(gate_of(path), thread_local=False, fallback_to_soft=False)  # no marker that outlives its process
    try:
        lock.acquire(timeout=wait, poll_interval=look)
    except Timeout as error:
        raise TimeoutError(str(error)) from error
    except (OSError, NotImplementedError):
        return None
    return lock
