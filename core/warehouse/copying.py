"""Copies of a warehouse file as it stands at one moment, made while other processes use it."""

from __future__ import annotations

import contextlib
import logging
import os
import re
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import duckdb

from core.errors import ResourceError, WarehouseLocked
from core.files import make_folder, time_now, unused
from core.warehouse import copy_worker, migrations
from core.warehouse.warehouse import connect, stamp_of, wal

KEPT_COPIES = 3
"""Copies from before migrations that are kept of one warehouse."""
_TRIES = 5
_STALE_PART_SECONDS = 600.0
_log = logging.getLogger("workdim")


@dataclass(frozen=True)
class StepCopy:
    """A copy that was made before the schema of a warehouse was brought up to date."""

    file: Path
    step: int
    """Last step of the schema that the copy has."""


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


def before_migration(path: Path, folder: Path, wait: float) -> tuple[duckdb.DuckDBPyConnection, list[int]]:
    """A connection that writes, and the steps to be taken, with a copy in `folder` of the file as it is then.

    Raises ResourceError where there is no room for the copy: nothing was changed.
    """
    for _ in range(_TRIES):
        with contextlib.closing(connect(path, read_only=True, wait=wait)) as reading:
            stamp, steps = stamp_of(path), migrations.pending(reading)
            if steps:
                _keep_copy(path, folder, min(steps) - 1)
        connection = connect(path, read_only=False, wait=wait)
        # Between the two connections somebody else may have written, or done all this.
        if not steps or stamp_of(path) == stamp:
            return connection, steps
        connection.close()
    raise WarehouseLocked(f"{path} is written to all the time: its schema could not be brought up to date. Try again.")


def step_copies(path: Path, folder: Path) -> list[StepCopy]:
    """The copies from before migrations of this warehouse, newest first."""
    named = re.compile(re.escape(path.stem) + r"\.step(\d+)-\d{8}-\d{6}(-\d+)?\.duckdb")
    found = [(file, match) for file in folder.glob("*.duckdb") if (match := named.fullmatch(file.name))]
    newest = sorted(found, key=lambda one: one[0].stat().st_mtime_ns, reverse=True)
    return [StepCopy(file, int(match[1])) for file, match in newest]


def _keep_copy(path: Path, folder: Path, step: int) -> None:
    now, copies = path.stat(), step_copies(path, folder)
    last = copies[0].file.stat() if copies and copies[0].step == step else None
    if last and last.st_mtime_ns > now.st_mtime_ns and last.st_size == now.st_size:
        return  # a migration that did not come to its end has made it, and the file has not changed since
    make_folder(folder)
    for part in folder.glob("*.part"):
        with contextlib.suppress(OSError):
            if time.time() - part.stat().st_mtime > _STALE_PART_SECONDS:
                part.unlink()
    copy = unused(folder / f"{path.stem}.step{step}-{time_now()}.duckdb")
    part = copy.with_name(copy.name + ".part")
    try:
        copy_file(path, part)
        fold_log(part)
    except (ResourceError, duckdb.Error) as error:
        raise ResourceError(
            f"The warehouse {path} is of an earlier version, and it is copied before it is brought up to date. "
            f"{str(error).splitlines()[0]} Free {now.st_size / 1e6:.0f} MB there and try again; the warehouse "
            "was left as it is."
        ) from error
    os.replace(part, copy)
    _log.warning("The warehouse is brought up to date (schema step %d); as it was, it is kept in %s.", step, copy)
    for old in step_copies(path, folder)[KEPT_COPIES:]:
        with contextlib.suppress(OSError):
            old.file.unlink()
