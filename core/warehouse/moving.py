"""Parcels that are moved about, by one process at a time: to the trash and back, aside, in from a backup."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from core.errors import WarehouseLocked
from core.warehouse import gate
from core.warehouse.warehouse import Warehouse


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
