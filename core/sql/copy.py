"""Copy the warehouse for typed queries: one copy per version of the file, shared until the next write.

Writers wait while the copy is made, and for no query.
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

from core.warehouse import schema
from core.warehouse.connection import copy_snapshot
from core.warehouse.warehouse import Warehouse

_STALE_PART_SECONDS = 600.0


def current_copy(warehouse: Warehouse) -> Path:
    """The copy of the current file, made if necessary. Raises as `copy_snapshot`."""
    folder = _copies_folder(warehouse)
    copy = _copy_path(warehouse, folder)
    if copy.exists():
        return copy
    part = folder / f"{copy.stem}.{os.getpid()}.part"
    try:
        copy_snapshot(warehouse.path, part, warehouse.wait)
        with duckdb.connect(part, read_only=True) as connection:
            schema.is_current(connection)
        os.replace(part, copy)
    finally:
        for left in folder.glob(f"{glob.escape(part.name)}*"):
            with contextlib.suppress(OSError):
                left.unlink()
    _remove_old_copies(folder, warehouse.path.name, copy)
    return copy


def has_copy(warehouse: Warehouse) -> bool:
    """Whether the current file has a copy, which is then usable and up to date."""
    return _copy_path(warehouse, warehouse.query_copies).exists()


def _copy_path(warehouse: Warehouse, folder: Path) -> Path:
    # A newer Workdim makes its own copy; for that it opens the file, which brings it up to date.
    known = (warehouse.version(), schema.fingerprint())
    key = hashlib.sha256(repr(known).encode()).hexdigest()[:16]
    return folder / f"{warehouse.path.name}-{key}.duckdb"


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
