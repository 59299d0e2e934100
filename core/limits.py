"""Limits of memory and time for files that others made, kept by a small process beside the one that opens them.

A configuration of a few bytes can ask a library for all memory of the machine, or keep it at work for ever, in code that
neither signals nor threads of Python interrupt. A limit of the system does not help: RLIMIT_AS and RLIMIT_DATA count weights
that are only mapped, and at them libraries abort without a reason or go on half made. So a process is watched by
another, which reads the anonymous memory of it and its workers twenty times a second, ends it when they exceed what it
said it would take, and first writes down why, in the words that it was given.

Linux only. Elsewhere, and in a process that is not watched (that of `core.measure_model`), nothing is limited.
"""

from __future__ import annotations

import json
import os
import queue
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from core.errors import InputError, ResourceError, Sentence, to_record
from core.files import PROJECT, write_json

POLL_INTERVAL = 0.05
WORKERS_INTERVAL = 1.0
"""Seconds: who was started beside the watched process is asked more rarely, since all processes are looked through for it."""
OPENING_BYTES = 4 * 2**30
"""Memory that opening a model or text may take: one of 256,000 token types takes half a gigabyte, with its text one."""
OPENING_SECONDS = 180.0
"""Time that it may take, downloads apart: the largest GGUF vocabularies take half a minute on a slow machine."""
FREE_SHARE = 0.95
"""Share of the free memory that a process may take at most: beyond it the system would end some process or other."""

_limits: list[dict[str, Any]] = []
"""The limits of this process that hold now."""
_watcher: subprocess.Popen[str] | None = None


@contextmanager
def watched(reason_file: Path) -> Iterator[None]:
    """Have this process watched: its limits hold, and `reason_file` says why it was ended.

    The file is the record of a failure, as a job keeps it: told, exit_code.
    """
    global _watcher
    if not _proc(None).exists():
        yield
        return
    _watcher = subprocess.Popen(
        [sys.executable, "-m", "core.limits", str(os.getpid()), str(reason_file.absolute())],
        cwd=PROJECT,
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    try:
        yield
    finally:
        watcher, _watcher = _watcher, None
        with suppress(OSError):
            watcher.communicate()  # it ends where its input does


@contextmanager
def limit_memory(n_bytes: float, reason: Sentence) -> Iterator[None]:
    """Limit this process's memory for a while; no limit if it is not watched."""
    with _limited({"bytes": n_bytes, "reason": to_record(reason)}):
        yield


@contextmanager
def opening(name: str) -> Iterator[None]:
    """Limit what it takes to open a model or text of this name, beyond what the process has already."""
    if _watcher is None:
        yield
        return
    room, seconds = min(OPENING_BYTES, free_bytes()), OPENING_SECONDS
    too_large = Sentence(
        "Opening {name} took over {size:.2f} GB of memory and was stopped. Choose another, or close programs.",
        name=name,
        size=room / 1e9,
    )
    too_long = Sentence(
        "Opening {name} took over {seconds:.0f} seconds and was stopped. Choose another, or try again.",
        name=name,
        seconds=seconds,
    )
    by_time = {"until": time.monotonic() + seconds, "reason": to_record(too_long)}
    with _limited({"bytes": anonymous_memory() + room, "reason": to_record(too_large)}, by_time):
        yield


def free_bytes() -> float:
    """Bytes that this process may still take."""
    import psutil

    return FREE_SHARE * psutil.virtual_memory().available


def anonymous_memory(pid: int | None = None) -> int:
    """Bytes of this or another process's own memory, without mapped files where the system distinguishes them."""
    try:
        lines = (_proc(pid) / "status").read_text(encoding="utf-8", errors="replace").splitlines()
        own = [int(line.split()[1]) * 1024 for line in lines if line.startswith(("RssAnon:", "VmSwap:"))]
    except OSError:
        own = []
    if own:
        return sum(own)
    import psutil

    return psutil.Process(pid).memory_info().rss


def _proc(pid: int | None) -> Path:
    return Path("/proc", "self" if pid is None else str(pid))


@contextmanager
def _limited(*limits: dict[str, Any]) -> Iterator[None]:
    if _watcher is None:
        yield
        return
    _limits.extend(limits)
    _tell()
    try:
        yield
    finally:
        del _limits[-len(limits) :]
        _tell()


def _tell() -> None:
    """Tell the watching process which limits hold now; where that is gone, none do."""
    with suppress(OSError):
        assert _watcher and _watcher.stdin
        _watcher.stdin.write(json.dumps(_limits) + "\n")
        _watcher.stdin.flush()


def main() -> None:
    """Watch the process that started this one, until it closes the pipe or ends."""
    pid, reason_file = int(sys.argv[1]), Path(sys.argv[2])
    lines: queue.Queue[str] = queue.Queue()

    def read() -> None:
        for line in sys.stdin:
            lines.put(line)
        lines.put("")

    threading.Thread(target=read, daemon=True).start()
    limits: list[dict[str, Any]] = []
    workers, looked_at = list[int](), -WORKERS_INTERVAL
    while True:
        with suppress(queue.Empty):
            line = lines.get(timeout=POLL_INTERVAL if limits else None)
            if not line:
                return
            limits = json.loads(line)
        now = time.monotonic()
        if now > looked_at + WORKERS_INTERVAL:
            workers, looked_at = _workers(pid), now
        used = _memory_of_all([pid, *workers])
        exceeded = [limit for limit in limits if used > limit.get("bytes", used) or now > limit.get("until", now)]
        if exceeded and os.getppid() == pid:
            with suppress(ResourceError):  # the process must end all the same
                write_json(reason_file, {"told": exceeded[-1]["reason"], "exit_code": ResourceError.exit_code})
            os.kill(pid, signal.SIGKILL)
            return


def _workers(pid: int) -> list[int]:
    """The processes that the watched one started to work beside it, this one apart."""
    import psutil

    with suppress(psutil.Error):
        return [child.pid for child in psutil.Process(pid).children() if child.pid != os.getpid()]
    return []


def _memory_of_all(pids: list[int]) -> int:
    import psutil

    used = 0
    for pid in pids:
        with suppress(psutil.Error):  # it has just ended
            used += anonymous_memory(pid)
    return used


def bytes_of(text: str | None) -> int | None:
    """Parse `4GiB`, `500 MB`. Raises InputError for a bare number, which may mean bytes or gigabytes."""
    if text is None:
        return None
    found = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*(?:([KMGT])(i?)B?|B)\s*", text, re.IGNORECASE)
    if not found:
        raise InputError("'{text}' is no amount of memory. Write, for example, 4GiB or 500MB.", text=text)
    number, unit, binary = found.groups()
    return int(float(number) * (1024 if binary else 1000) ** (" KMGT".index(unit.upper()) if unit else 0))


if __name__ == "__main__":
    main()
