"""Parcels that are moved about, by one process at a time: to the trash and back, aside, in from a backup."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

from core.errors import ResourceError, WarehouseLocked
from core.warehouse import gate
from core.warehouse.copying import unused
from core.warehouse.store import Warehouse, make_folder

DAMAGED = ".damaged"
"""Ends the name in the trash of a parcel that could not be read and was replaced by another of the same run."""


@contextlib.contextmanager
def moving_parcels(warehouse: Warehouse) -> Iterator[None]:
    """Nobody else moves parcels out, back or in from a backup meanwhile, nor makes the file anew from them.

    Raises WarehouseLocked where another process goes on with that for longer than the warehouse waits.
    """
    with contextlib.ExitStack() as alone:
        try:
            alone.enter_context(gate.closed(warehouse.parcels, warehouse.wait))
        except TimeoutError as error:
            raise WarehouseLocked(
                f"Another process moves the parcels of {warehouse.path}, or makes the warehouse anew from them: try "
                "again in a moment."
            ) from error
        yield


def set_aside(warehouse: Warehouse, parcel: Path) -> None:
    """Move a damaged parcel to the trash, where nobody takes it for a deleted run."""
    aside = unused(trash_folder(warehouse) / f"{parcel.name}{DAMAGED}")
    make_folder(aside.parent)
    try:
        os.replace(parcel, aside)
    except OSError as error:
        raise ResourceError(f"The damaged parcel {parcel} cannot be moved to {aside}: {error.strerror}.") from error


def trash_folder(warehouse: Warehouse) -> Path:
    """Parcels of runs that were deleted, until the trash is emptied."""
    return warehouse.path.parent / "trash"
