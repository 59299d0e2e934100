"""A pilot, measured: all its requests as jobs, and what came of each. Run again, it goes on with what is missing."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from filelock import FileLock

from core.errors import InputError
from core.pilots import Pilot, requests
from core.records import RunConfig
from core.runs.jobs import Job, Standing, is_held, lock_of, pilot_folder, release, remove, submit
from core.runs.measuring import parts_of, sweep
from core.warehouse import pilots
from core.warehouse.store import Warehouse, make_folder

Told = Callable[[Standing], None]
Engine = Callable[[Sequence[Job], Told], Iterator[Standing]]
"""Brings jobs to their end, and gives back each as it ends."""


@dataclass(frozen=True)
class Outcome:
    """What came of one request of a pilot."""

    config: RunConfig
    state: str
    """`finished`, or `failed`, `interrupted` or `cancelled`."""
    run_id: str | None = None
    reason: str = ""
    was_known: bool = False


def run_pilot(pilot: Pilot, warehouse: Warehouse, engine: Engine, told: Told) -> Iterator[Outcome]:
    """Register the pilot and measure what it lacks; each outcome as it comes, a failure does not stop the others.

    Raises InputError where the pilot is at work already, or was registered with other scores.
    """
    warehouse.prepare()
    sweep(warehouse)
    with _only_one(pilot, warehouse):
        pilots.register(warehouse, pilot)
        jobs = []
        for config in _requests(pilot):
            try:
                jobs.append(submit(config, warehouse, pilot.pilot_id))
            except InputError as error:
                yield Outcome(config, "failed", reason=str(error))
        for ended in engine(jobs, told):
            yield _outcome(ended, pilot, warehouse)


def _requests(pilot: Pilot) -> list[RunConfig]:
    from core.measure.identity import with_tokenizer

    asked = list(dict.fromkeys(model.asked for model in pilot.models))
    readable = with_tokenizer(asked) if len(asked) > 1 else asked
    return [part for request in requests(pilot, readable) for part in parts_of(request)]


def _outcome(ended: Standing, pilot: Pilot, warehouse: Warehouse) -> Outcome:
    """Finished jobs are cleared away: their runs are results of the pilot now. The others stay, to go on with."""
    config = ended.job.config
    if ended.state != "finished":
        reason = ended.reason or {"interrupted": "Its process was ended from outside."}.get(ended.state, "")
        return Outcome(config, ended.state, reason=reason)
    run_id = ended.result["run_id"]
    pilots.add_runs(warehouse, pilot.pilot_id, [run_id])
    remove(ended.job)
    return Outcome(config, "finished", run_id, was_known=bool(ended.result.get("was_known")))


def require_idle(pilot: Pilot, warehouse: Warehouse) -> None:
    """Raises InputError where the pilot is at work."""
    if is_held(pilot_folder(warehouse.jobs, pilot.pilot_id)):
        raise InputError(f"The pilot {pilot.name} is at work already: `python -m core jobs` shows how far.")


@contextmanager
def _only_one(pilot: Pilot, warehouse: Warehouse) -> Iterator[None]:
    """While it is held, the pilot's jobs that were not started yet count as waiting."""
    make_folder(warehouse.jobs)
    require_idle(pilot, warehouse)
    lock = FileLock(lock_of(pilot_folder(warehouse.jobs, pilot.pilot_id)))
    with lock:
        try:
            yield
        finally:
            release(lock)
