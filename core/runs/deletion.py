"""Runs moved to the trash, unless a measurement that is under way may be judged with them."""

from __future__ import annotations

from collections.abc import Sequence

from core.errors import InputError
from core.runs.jobs import all_jobs
from core.warehouse import trash
from core.warehouse.warehouse import Warehouse

_UNDER_WAY = ("queued", "running")


def delete(warehouse: Warehouse, run_ids: Sequence[str]) -> None:
    """As `trash.delete`; raises InputError, too, for a control pass while a job is at work."""
    marks = ", ".join("?" * len(run_ids)) or "NULL"
    controls = warehouse.read(f"SELECT run_id FROM runs WHERE pass <> 'text' AND run_id IN ({marks})", list(run_ids))
    alive = [one.job for one in all_jobs(warehouse) if one.state in _UNDER_WAY] if controls.height else []
    if alive:
        raise InputError(
            f"{controls['run_id'][0][:13]} is a control pass, and the measurement of {alive[0].config.model} that is "
            "under way may be judged with it. Wait for its end, or cancel it."
        )
    trash.delete(warehouse, run_ids)
