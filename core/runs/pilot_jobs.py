"""A pilot, measured: all its requests as jobs, and what came of each. Run again, it goes on with what is missing."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from filelock import FileLock, Timeout

from core.errors import InputError, WarehouseError
from core.files import make_folder
from core.pilots.pilot import Pilot
from core.pilots.registration import requests
from core.records import LOCAL, RunConfig
from core.registry.protocols import find_protocol
from core.runs.jobs import Job, JobStatus, is_held, lock_of, pilot_folder, release, remove, submit
from core.runs.recovery import sweep
from core.runs.requests import parts_of
from core.warehouse import pilots, queries
from core.warehouse.warehouse import Warehouse

Told = Callable[[JobStatus], None]
Engine = Callable[[Sequence[Job], Told], Iterator[JobStatus]]
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
    notes: tuple[str, ...] = ()
    """Control passes that could not be measured, and why the result waits to be taken in."""


def run_pilot(pilot: Pilot, warehouse: Warehouse, engine: Engine, told: Told) -> Iterator[Outcome]:
    """Register the pilot and measure what it lacks; each outcome as it comes, a failure does not stop the others.

    Raises InputError where the pilot is at work already, or was registered with other scores.
    """
    warehouse.prepare()
    sweep(warehouse)
    with _only_one(pilot, warehouse):
        pilots.register_pilot(warehouse, pilot)
        jobs = []
        for config in _requests(pilot):
            run_id = _named_run(config, warehouse)
            if run_id is not None:
                pilots.add_runs(warehouse, pilot.pilot_id, [run_id])
                yield Outcome(config, "finished", run_id, was_known=True)
                continue
            try:
                _require_weights(config)
                jobs.append(submit(config, warehouse, pilot.pilot_id))
            except InputError as error:
                yield Outcome(config, "failed", reason=str(error))
        for ended in engine(sorted(jobs, key=lambda job: job.job_id), told):
            yield _outcome(ended, pilot, warehouse)


def _named_run(config: RunConfig, warehouse: Warehouse) -> str | None:
    """The newest run of a model that is asked for as the warehouse calls it, not by a place: its files need not be here."""
    if not config.model.startswith(LOCAL):
        return None
    protocol_hash = find_protocol(config.protocol).hash(config.seed)
    known = queries.ranking(warehouse, protocol_hash=protocol_hash)
    found = known.filter(reference=config.model, corpus_name=config.corpus, dtype=config.dtype)
    return found["run_id"][0] if found.height else None


def _require_weights(config: RunConfig) -> None:
    """Raises ModelError for such a model whose files are not here either, before a process is started for it."""
    if config.model.startswith(LOCAL):
        from core.models.hub import local_weights

        local_weights(config.model)


def _requests(pilot: Pilot) -> list[RunConfig]:
    from core.measure.setup import with_tokenizer

    asked = list(dict.fromkeys(model.asked for model in pilot.models))
    return all_parts(pilot, with_tokenizer(asked) if len(asked) > 1 else asked)


def all_parts(pilot: Pilot, readable: Collection[str] | None = None) -> list[RunConfig]:
    """Every measurement that the pilot stands for, each once."""
    return list(dict.fromkeys(part for request in requests(pilot, readable) for part in parts_of(request)))


def _outcome(ended: JobStatus, pilot: Pilot, warehouse: Warehouse) -> Outcome:
    """Finished jobs are cleared away: their runs are results of the pilot now. The others stay, to go on with."""
    config = ended.job.config
    if ended.state != "finished":
        reason = ended.reason or {"interrupted": "Its process was ended from outside."}.get(ended.state, "")
        return Outcome(config, ended.state, reason=reason)
    told = ended.result
    notes = [*told.get("failed", ()), *filter(None, [told.get("waits")])]
    try:
        if told.get("was_known"):  # a run of its own says itself whose result it is
            pilots.add_runs(warehouse, pilot.pilot_id, [told["run_id"]])
        remove(ended.job)
    except WarehouseError as error:  # the job stays, and the next time it is taken in
        notes.append(str(error))
    return Outcome(config, "finished", told["run_id"], was_known=bool(told.get("was_known")), notes=tuple(notes))


def require_idle(pilot: Pilot, warehouse: Warehouse) -> None:
    """Raises InputError where the pilot is at work."""
    if is_held(pilot_folder(warehouse.jobs, pilot.pilot_id)):
        raise _at_work(pilot)


def _at_work(pilot: Pilot) -> InputError:
    return InputError("The pilot {pilot} is at work already: `workdim jobs` shows how far.", pilot=pilot.name)


@contextmanager
def _only_one(pilot: Pilot, warehouse: Warehouse) -> Iterator[None]:
    """While it is held, the pilot's jobs that were not started yet count as waiting."""
    make_folder(warehouse.jobs)
    lock = FileLock(lock_of(pilot_folder(warehouse.jobs, pilot.pilot_id)))
    try:
        lock.acquire(timeout=1)
    except Timeout as error:
        raise _at_work(pilot) from error
    try:
        yield
    finally:
        release(lock)
