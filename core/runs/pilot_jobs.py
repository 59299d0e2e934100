"""Measure a pilot: submit its requests as jobs and collect the outcomes. Run again, it continues with what is missing."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from core.errors import InputError, WarehouseError
from core.files import is_locked, lock_path, make_folder, try_lock
from core.pilots.pilot import Pilot, pilot_requests
from core.records import LOCAL, RunConfig
from core.registry.protocols import find_protocol
from core.runs.estimates import readable_models
from core.runs.jobs import Job, JobStatus, pilot_folder, remove_job, submit
from core.runs.recovery import recover
from core.runs.requests import expand_request
from core.tables import ids_of
from core.warehouse import people, queries
from core.warehouse.warehouse import Warehouse

StatusCallback = Callable[[JobStatus], None]
Engine = Callable[[Sequence[Job], StatusCallback], Iterator[JobStatus]]
"""Runs jobs and yields each as it ends."""


@dataclass(frozen=True)
class RequestOutcome:
    """The outcome of one request of a pilot."""

    config: RunConfig
    state: str
    """`finished`, or `failed`, `interrupted` or `cancelled`."""
    run_id: str | None = None
    reason: str = ""
    was_known: bool = False
    notes: tuple[str, ...] = ()
    """Control passes that could not be measured, and why the result could not be ingested yet."""


def run_pilot(
    pilot: Pilot, warehouse: Warehouse, engine: Engine, on_status: StatusCallback
) -> Iterator[RequestOutcome]:
    """Register the pilot and measure what it lacks; yields each outcome. A failure does not stop the others.

    Raises InputError if the pilot is running already, or was registered with other scores.
    """
    warehouse.prepare()
    recover(warehouse)
    with _pilot_lock(pilot, warehouse):
        people.register_pilot(warehouse, pilot)
        jobs = []
        for config in _requests(pilot, warehouse):
            run_id = _find_local_run(config, warehouse)
            if run_id is not None:
                people.add_runs(warehouse, pilot.pilot_id, [run_id])
                yield RequestOutcome(config, "finished", run_id, was_known=True)
                continue
            try:
                _require_weights(config)
                jobs.append(submit(config, warehouse, pilot.pilot_id))
            except InputError as error:
                yield RequestOutcome(config, "failed", reason=str(error))
        for ended in engine(sorted(jobs, key=lambda job: job.job_id), on_status):
            yield _request_outcome(ended, pilot, warehouse)


def _find_local_run(config: RunConfig, warehouse: Warehouse) -> str | None:
    """The newest run of a local model that is requested by its name in the warehouse: its files need not be here."""
    if not config.model.startswith(LOCAL):
        return None
    protocol_hash = find_protocol(config.protocol).hash(config.seed)
    runs = queries.ranking(warehouse, protocol_hash=protocol_hash)
    matches = runs.filter(reference=config.model, corpus_name=config.corpus, dtype=config.dtype)
    return ids_of(matches)[0] if matches.height else None


def _require_weights(config: RunConfig) -> None:
    """Raises ModelError if the files of a local model are not here, before a process is started for it."""
    if config.model.startswith(LOCAL):
        from core.models.hub import local_weights

        local_weights(config.model)


def _requests(pilot: Pilot, warehouse: Warehouse) -> list[RunConfig]:
    """Every measurement of the pilot. Raises InputError if none of its texts is long enough, before any model is fetched."""
    models = list(dict.fromkeys(model.asked for model in pilot.models))
    texts = {(part.corpus, part.seed): part for part in pilot_measurements(pilot)}
    companions = models if len(models) > 1 else []
    return pilot_measurements(pilot, readable_models(companions, list(texts.values()), warehouse))


def pilot_measurements(pilot: Pilot, readable: Collection[str] | None = None) -> list[RunConfig]:
    """Every measurement of the pilot, each once; `readable` are the models whose tokenizers can be read."""
    return list(dict.fromkeys(part for request in pilot_requests(pilot, readable) for part in expand_request(request)))


def _request_outcome(status: JobStatus, pilot: Pilot, warehouse: Warehouse) -> RequestOutcome:
    """Record the result of a job that has ended. Finished jobs are removed; the others stay, to be resumed."""
    config = status.job.config
    if status.state != "finished":
        reason = status.reason or {"interrupted": "Its process was ended from outside."}.get(status.state, "")
        return RequestOutcome(config, status.state, reason=reason)
    result = status.result
    notes = [*result.get("failed", ()), *filter(None, [result.get("waits")])]
    try:
        if result.get("was_known"):  # a new run has the pilot's id already
            people.add_runs(warehouse, pilot.pilot_id, [result["run_id"]])
        remove_job(status.job)
    except WarehouseError as error:  # the job stays and is finished the next time
        notes.append(str(error))
    return RequestOutcome(
        config, "finished", result["run_id"], was_known=bool(result.get("was_known")), notes=tuple(notes)
    )


def require_pilot_idle(pilot: Pilot, warehouse: Warehouse) -> None:
    """Raises InputError if the pilot is running."""
    if is_locked(pilot_folder(warehouse.jobs, pilot.pilot_id)):
        raise _already_running(pilot)


@contextmanager
def _pilot_lock(pilot: Pilot, warehouse: Warehouse) -> Iterator[None]:
    """Hold the pilot's lock; meanwhile its jobs that were not started yet count as queued.

    Raises InputError if the pilot is running already.
    """
    make_folder(warehouse.jobs)
    with try_lock(lock_path(pilot_folder(warehouse.jobs, pilot.pilot_id)), timeout=1) as is_held:
        if not is_held:
            raise _already_running(pilot)
        yield


def _already_running(pilot: Pilot) -> InputError:
    return InputError("The pilot {pilot} is at work already: `workdim jobs` shows how far.", pilot=pilot.name)
