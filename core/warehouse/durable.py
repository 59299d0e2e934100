"""Files that are whole or not there, whenever the power goes."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path


def write_through(file: Path, content: bytes) -> None:
    """Write beside, force to the disk, replace: the name never stands for half a file, and a failure leaves none."""
    part = file.with_name(file.name + ".part")
    try:
        with part.open("wb") as handle:
            handle.write(content)
            handle.flush()
            os.fsync(handle.fileno())
        os.replace(part, file)
    except OSError:
        with contextlib.suppress(OSError):
            part.unlink()
        raise


def sync_folder(folder: Path) -> None:
    """Force renames to the disk, where the system can open folders (Windows cannot)."""
    with contextlib.suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def sync_all() -> None:
    """Force all that was written to the disk, where the system can: of very many files, each alone takes too long."""
    if hasattr(os, "sync"):
        os.sync()
