"""SQL typed by a person, run where it can neither wait for nor hold up, read, write or break anything else.

Each query gets a process of its own (sandbox_worker) on a copy of the warehouse file, and leaves one table behind.
"""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from core.errors import QueryError
from core.warehouse.store import Warehouse

MEMORY_MB = 512
MAX_CHARACTERS = 100_000
# Room for the start of the process and the copy of the file, beyond the query's own time.
_START_SECONDS = 60.0


@dataclass(frozen=True)
class SqlResult:
    """The rows of one query."""

    frame: pl.DataFrame
    truncated: bool
    """There are more rows than the limit allowed."""
    seconds: float
    """Time in the query itself."""


def query(warehouse: Warehouse, sql: str, limit: int = 10_000, seconds: float = 10.0) -> SqlResult:
    """Run one SELECT (or EXPLAIN, DESCRIBE, SUMMARIZE) statement; QueryError says in one line why it cannot be run."""
    if len(sql) > MAX_CHARACTERS:
        raise QueryError(f"The statement has {len(sql):,} characters; at most {MAX_CHARACTERS:,} are taken.")
    if any("\ud800" <= character <= "\udfff" for character in sql):
        raise QueryError("The statement holds half a character (a lone surrogate): it was cut or pasted wrongly.")
    warehouse.read("SELECT 1")  # makes or updates the file, and reports an unusable one in its own words
    request = {
        "path": str(warehouse.path),
        "sql": sql,
        "limit": limit,
        "seconds": seconds,
        "memory_mb": MEMORY_MB,
        "wait": warehouse.wait,
    }
    header, _, table = _answer(request, seconds + warehouse.wait + _START_SECONDS).partition(b"\n")
    answer = json.loads(header)
    if "error" in answer:
        raise QueryError(answer["error"])
    return SqlResult(pl.read_ipc_stream(io.BytesIO(table)), answer["truncated"], answer["seconds"])


def _answer(request: dict, timeout: float) -> bytes:
    root = str(Path(__file__).parents[2])
    known = os.environ.get("PYTHONPATH")
    environment = os.environ | {
        "PYTHONPATH": root if not known else root + os.pathsep + known,
        "POLARS_MAX_THREADS": "1",
    }
    try:
        process = subprocess.run(
            [sys.executable, "-m", "core.warehouse.sandbox_worker"],
            input=json.dumps(request).encode(),
            capture_output=True,
            timeout=timeout,
            env=environment,
            creationflags=getattr(subprocess, "CREATE_NO_WINDOW", 0),
        )
    except subprocess.TimeoutExpired as error:
        raise QueryError(f"The query was stopped: no answer after {timeout:g} seconds.") from error
    if process.returncode != 0 or not process.stdout:
        raise QueryError(
            f"The query ended its process (exit code {process.returncode}): it is nested too deeply or needs too much "
            "memory. The warehouse is untouched."
        )
    return process.stdout
