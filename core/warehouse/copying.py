"""Copies of a warehouse file as it stands at one moment, made while other processes use it."""

from __future__ import annotations

import contextlib
import subprocess
import sys
from pathlib import Path

import duckdb

from core.errors import ResourceError
from core.warehouse import copy_worker
from core.warehouse.connection import connect, wal


def snapshot(path: Path, target: Path, wait: float) -> None:
    """Copy the file as it stands to `target`, without a log; writers wait meanwhile, readers do not.

    Raises ResourceError where there is no room, WarehouseLocked where a writer does not let go within `wait` seconds.
    """
    with contextlib.closing(connect(path, read_only=True, wait=wait)):
        copy_file(path, target)
    fold_log(target)


def copy_file(source: Path, target: Path) -> None:
    """Copy a DuckDB file with its log; the caller sees to it that nobody writes to it meanwhile."""
    done = subprocess.run(
        [sys.executable, "-I", copy_worker.__file__, str(source), str(target)],
        capture_output=True,
        text=True,
        encoding="utf-8",
        errors="replace",
        check=False,
        creationflags=getattr(subprocess, "CREATE_NO_WINDOW", 0),
    )
    if done.returncode:
        reason = done.stderr.strip().splitlines() or [f"exit code {done.returncode}"]
        raise ResourceError(f"{source} cannot be copied to {target.parent}: {reason[-1]}.")


def fold_log(path: Path) -> None:
    """Take what the write-ahead log holds into the file that it belongs to."""
    if wal(path).exists():
        duckdb.connect(path).close()
