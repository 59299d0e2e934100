"""Copy the warehouse for typed queries: one copy per version of the file, shared until the next write.

The copy is taken without a lock, so that no writer waits for a query. It is valid only if the file and its log were at
rest before and unchanged after. Such a copy is what a crash at that moment would have left, and opens like that. If
writers never rest, the copy is made behind a read lock, for a bounded time.

Use this only in the sandbox's own process: closing a plain file handle drops the DuckDB locks of its process.
"""

from __future__ import annotations

import atexit
import contextlib
import glob
import hashlib
import os
import shutil
import tempfile
import time
from pathlib import Path

import duckdb

from core.errors import QueryError
from core.warehouse import schema
from core.warehouse.connection import attach
from core.warehouse.warehouse import Warehouse

REST_SECONDS = 0.05
"""Seconds without a write that count as rest: file times are only accurate to a few milliseconds."""
UNLOCKED_SECONDS = 1.5
"""Seconds to try without a lock."""
LOCKED_SECONDS = 0.5
"""Longest time in seconds that a copy may hold off writers."""
_LOGS = (".wal", ".wal.checkpoint", ".wal.recovery")
_CHUNK = 32 * 2**20
_STALE_PART_SECONDS = 600.0


class _NotAtRest(Exception):
    """The file was written to while it was read."""


def current_copy(warehouse: Warehouse) -> Path:
    """The copy of the current file, made if necessary."""
    folder = _copies_folder(warehouse)
    end = time.monotonic() + UNLOCKED_SECONDS
    while time.monotonic() < end:
        with contextlib.suppress(_NotAtRest, duckdb.Error, OSError):  # Windows may deny the file to us
            return _copy_at_rest(warehouse, folder)
        time.sleep(REST_SECONDS)
    with attach(warehouse.path, read_only=True, wait=warehouse.wait):
        return _copy(warehouse, folder, until=time.monotonic() + LOCKED_SECONDS)


def has_copy(warehouse: Warehouse) -> bool:
    """Whether the current file has a copy, which is then usable and up to date."""
    return _copy_path(warehouse, warehouse.query_copies).exists()


def _copy_at_rest(warehouse: Warehouse, folder: Path) -> Path:
    before = _stamps(warehouse.path)
    copy = _copy_path(warehouse, folder)
    if copy.exists():
        return copy
    age = time.time() - max(changed for changed, _ in before.values()) / 1e9
    if 0 <= age < REST_SECONDS:  # a time in the future means that the clock was set back
        raise _NotAtRest
    return _copy(warehouse, folder, until=None, expected=before)


def _copy(
    warehouse: Warehouse, folder: Path, until: float | None, expected: dict[str, tuple[int, int]] | None = None
) -> Path:
    copy = _copy_path(warehouse, folder)
    if copy.exists():
        return copy
    part = folder / f"{copy.stem}.{os.getpid()}.part"
    try:
        # The log first: closing our handle of the main file drops a lock that this process has on it.
        for ending in _LOGS:
            with contextlib.suppress(FileNotFoundError):
                _copy_bytes(_beside(warehouse.path, ending), _beside(part, ending), until)
        _copy_bytes(warehouse.path, part, until)
        if expected is not None and _stamps(warehouse.path) != expected:
            raise _NotAtRest
        with contextlib.closing(duckdb.connect(part)) as connection:  # folds the log in
            schema.is_current(connection)
        os.replace(part, copy)
    finally:
        for ending in ("", *_LOGS):
            with contextlib.suppress(OSError):
                _beside(part, ending).unlink()
    _remove_old_copies(folder, warehouse.path.name, copy)
    return copy


def _copy_path(warehouse: Warehouse, folder: Path) -> Path:
    # A newer Workdim makes its own copy; for that it opens the file, which brings it up to date.
    known = (warehouse.version(), schema.fingerprint())
    key = hashlib.sha256(repr(known).encode()).hexdigest()[:16]
    return folder / f"{warehouse.path.name}-{key}.duckdb"


def _stamps(path: Path) -> dict[str, tuple[int, int]]:
    """Time and size of the file and of each existing log."""
    found = {"": path.stat()}
    for ending in _LOGS:
        with contextlib.suppress(FileNotFoundError):
            found[ending] = _beside(path, ending).stat()
    return {ending: (status.st_mtime_ns, status.st_size) for ending, status in found.items()}


def _beside(path: Path, ending: str) -> Path:
    return path.with_name(path.name + ending)


def _copy_bytes(source: Path, target: Path, until: float | None) -> None:
    with source.open("rb") as reading, target.open("xb") as writing:
        while chunk := reading.read(_CHUNK):
            writing.write(chunk)
            if until is not None and time.monotonic() > until:
                raise QueryError("The warehouse is being written to. Try again later.")


def _copies_folder(warehouse: Warehouse) -> Path:
    """The folder beside the warehouse; if that is not writable, a private folder that is removed with this process."""
    beside = warehouse.query_copies
    with contextlib.suppress(OSError):
        beside.mkdir(mode=0o700, exist_ok=True)
        if os.access(beside, os.W_OK):
            return beside
    private = Path(tempfile.mkdtemp(prefix="workdim-"))
    atexit.register(shutil.rmtree, private, ignore_errors=True)
    return private


def _remove_old_copies(folder: Path, name: str, current: Path) -> None:
    for file in folder.glob(f"{glob.escape(name)}-*"):
        if file == current:
            continue
        # Windows refuses while another query still uses the old copy; the next query clears it.
        with contextlib.suppress(OSError):
            if ".part" not in file.name or time.time() - file.stat().st_mtime > _STALE_PART_SECONDS:
                file.unlink()
