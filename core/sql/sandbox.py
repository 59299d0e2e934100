"""Run typed SQL in isolation: it cannot block the app, and can only read the warehouse.

Each query gets its own process (worker.py) on a copy of the warehouse file, and leaves only one table behind.
"""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
import weakref
from dataclasses import dataclass, field
from typing import IO

import polars as pl

from core import errors
from core.errors import QueryError, Sentence
from core.files import beyond_limit, python_path
from core.sql.copy import has_copy
from core.warehouse.warehouse import Warehouse

MEMORY_MB = 512
MAX_RUNNING = 2
"""Most queries at a time in one app, over all its readers: each takes a core and up to MEMORY_MB."""
MAX_CHARACTERS = 100_000
MAX_ROWS = 1_000_000
MAX_SECONDS = 600.0
# Time to start the process and copy the file, in addition to the query's own time.
_START_SECONDS = 60.0
_POLL_SECONDS = 0.01
_processes: list[subprocess.Popen] = []
_starting = threading.Lock()


@dataclass(frozen=True)
class SqlResult:
    """The rows of one query."""

    frame: pl.DataFrame
    truncated: bool
    """Whether there are more rows than the limit allows."""
    seconds: float
    """Time spent in the query itself."""


@dataclass(frozen=True)
class RunningQuery:
    """A query running in its own process. It ends with this object: no one waits for rows of a closed session."""

    sql: str
    process: subprocess.Popen
    answer: IO[bytes]
    timeout: float
    """Seconds to wait for an answer."""
    started: float = field(default_factory=time.monotonic)

    def __post_init__(self) -> None:
        weakref.finalize(self, self.process.kill)

    def is_done(self) -> bool:
        return self.process.poll() is not None or self.elapsed() > self.timeout

    def elapsed(self) -> float:
        """Seconds since the start."""
        return time.monotonic() - self.started

    def cancel(self) -> None:
        """End the process at once and discard its answer."""
        self.process.kill()
        self.process.wait()
        self.answer.close()

    def result(self) -> SqlResult:
        """Wait for the rows. Raises QueryError, in one line, if there are none. Ctrl-C ends the process."""
        try:
            while not self.is_done():
                time.sleep(_POLL_SECONDS)
            if self.process.poll() is None:
                raise QueryError(
                    "The query exceeded {limit}. Filter earlier, or aggregate.", limit=f"{self.timeout:g} s"
                )
            self.answer.seek(0)
            header, _, table = self.answer.read().partition(b"\n")
        finally:
            self.cancel()
        if self.process.returncode != 0 or not header:
            raise QueryError(
                "The query ended its process ({code}): nested too deeply, or out of memory.",
                code=self.process.returncode,
            )
        answer = json.loads(header)
        if "error" in answer:
            raise QueryError(errors.from_record(answer["error"]))
        return SqlResult(pl.read_ipc_stream(io.BytesIO(table)), answer["truncated"], answer["seconds"])


def run_query(warehouse: Warehouse, sql: str, limit: int = 10_000, seconds: float = 10.0) -> SqlResult:
    """Run one SELECT (or EXPLAIN, DESCRIBE, SUMMARIZE) statement. Raises QueryError, in one line, if it cannot run."""
    return start_query(warehouse, sql, limit, seconds).result()


def start_query(warehouse: Warehouse, sql: str, limit: int = 10_000, seconds: float = 10.0) -> RunningQuery:
    """Like `run_query`, without waiting for the rows."""
    check_request(sql, limit, seconds)
    if not has_copy(warehouse):
        warehouse.read("SELECT 1")  # makes or updates the file; raises the right error if it is unusable
    request = {
        "path": str(warehouse.path),
        "sql": sql,
        "limit": limit,
        "seconds": seconds,
        "memory_mb": MEMORY_MB,
        "wait": warehouse.wait,
    }
    # A temporary file instead of a pipe on both sides: no one has to fill or drain it meanwhile.
    with tempfile.TemporaryFile() as asked, _starting:
        asked.write(json.dumps(request).encode())
        asked.seek(0)
        _processes[:] = [process for process in _processes if process.poll() is None]
        if len(_processes) >= MAX_RUNNING:
            raise QueryError(
                "{most_at_once} queries are running. Wait for one, or cancel one.", most_at_once=MAX_RUNNING
            )
        answer = tempfile.TemporaryFile()  # noqa: SIM115  (closed by `cancel`, and so by `result`)
        process = subprocess.Popen(
            [sys.executable, "-m", "core.sql.worker"],
            stdin=asked,
            stdout=answer,
            stderr=subprocess.DEVNULL,
            env=_environment(),
            creationflags=getattr(subprocess, "CREATE_NO_WINDOW", 0),
        )
        _processes.append(process)
    return RunningQuery(sql, process, answer, seconds + warehouse.wait + _START_SECONDS)


def check_request(sql: str, limit: int = 10_000, seconds: float = 10.0) -> None:
    """Raises QueryError for a statement that is too long or broken, and for limits beyond what is allowed."""
    if len(sql) > MAX_CHARACTERS:
        raise beyond_limit(Sentence("The statement"), len(sql), MAX_CHARACTERS, Sentence("characters"), QueryError)
    if any("\ud800" <= character <= "\udfff" for character in sql):
        raise QueryError("The statement holds a broken character. Paste it again.")
    if not 1 <= limit <= MAX_ROWS:
        raise QueryError(
            "Ask for 1 to {most:,} {unit}, not {asked:,}.", most=MAX_ROWS, unit=Sentence("rows"), asked=limit
        )
    if not 0 < seconds <= MAX_SECONDS:
        raise QueryError("Ask for 1 to {most:,} {unit}, not {asked:,}.", most=MAX_SECONDS, unit="s", asked=seconds)


def _environment() -> dict[str, str]:
    return os.environ | {"PYTHONPATH": python_path(), "POLARS_MAX_THREADS": "1"}
