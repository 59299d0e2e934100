"""One measurement from its request to the warehouse, so that it either lands whole or can go on where it stopped.

A pass is written into its job's folder (core/runs/jobs.py). Finished, it becomes a parcel by one rename and is then
ingested in one short transaction. A parcel that could not be ingested is taken by the next process that opens the
warehouse.
"""

from __future__ import annotations

import errno
import json
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar
from typing import Protocol as Interface

from core.analysis.shape import judge_profile
from core.errors import InputError, ResourceError, WarehouseError, WarehouseLocked
from core.records import Profile, Progress, ProgressCallback, RunConfig
from core.registry.protocols import Protocol
from core.runs.jobs import Job, JobStatus, Reporter, Requested, fail, finish, held, log, logged
from core.runs.processes import turn
from core.runs.recovery import take_in_finished
from core.store import parcels
from core.store.parcels import is_parcel
from core.warehouse.profiles import find_same_runs, read_profile, seeds_of_runs
from core.warehouse.runs import ingest_parcel
from core.warehouse.warehouse import Warehouse

FULL = (errno.ENOSPC, getattr(errno, "EDQUOT", errno.ENOSPC))
if TYPE_CHECKING:  # torch: only where something is measured
    from core.measure.setup import Setup

Expected = Callable[[RunConfig, Warehouse, "Setup"], Mapping[str, float]]


@dataclass(frozen=True)
class Finished:
    run_id: str
    profile: Profile
    waits: str = ""
    """Why the finished parcel waits beside the warehouse, which is locked or has no room; empty where it does not."""
    controls: tuple[Profile, ...] = ()
    failed: tuple[str, ...] = ()
    """One line for each control pass that could not be measured."""
    was_known: bool = False
    """Nothing was measured: the warehouse has this run already."""

    def result(self) -> dict[str, Any]:
        return {"run_id": self.run_id, "waits": self.waits, "failed": self.failed, "was_known": self.was_known}


class Ended(Interface):
    """What a job's work has brought."""

    def result(self) -> dict[str, Any]:
        """What stays of it in the job's folder."""


Brought = TypeVar("Brought", bound=Ended)


def run(job: Job, warehouse: Warehouse, progress: ProgressCallback, expected: Expected | None = None) -> Finished:
    """Bring a submitted measurement to its end, after the jobs that wait before it. Raises InputError for what the user
    can mend, ResourceError where memory or disk ran out: the job can then go on.

    `expected` tells, once it is the job's turn and its model is here, what each phase will take.

    Control passes come first and are runs of their own, so that the verdict on the text can be judged with them and a
    measurement that is stopped finds them again. One that is in the warehouse already is not measured twice.
    """
    return carry_out(job, warehouse, progress, lambda report: _run(job, warehouse, report, expected))


def carry_out(
    job: Job, warehouse: Warehouse, progress: ProgressCallback, work: Callable[[Reporter], Brought]
) -> Brought:
    """Do a job's work as its only process, once it is its turn, and leave in its folder how that ended."""
    with held(job), logged(job):
        try:
            report = Reporter(job, progress)
            with turn(job, warehouse, lambda before: report(Progress("queued", 0, before))):
                report(Progress("load", 0, 1))
                take_in_finished(job.folder, warehouse)
                finished = work(report)
        except Exception as error:
            log(job, str(error))
            fail(job, error)
            raise
        finish(job, finished.result())
    return finished


def _forecast(job: Job, warehouse: Warehouse, expected: Expected, setup: Setup) -> Mapping[str, float]:
    """Nothing where it fails: a forecast is no reason not to measure."""
    try:
        return expected(job.config, warehouse, setup)
    except Exception as error:
        log(job, f"The time that is left cannot be told: {type(error).__name__}: {error}")
        return {}


def _run(job: Job, warehouse: Warehouse, report: Reporter, expected: Expected | None) -> Finished:
    from core.measure.setup import open_setup

    if is_parcel(warehouse.parcels / job.job_id):  # finished by an earlier process
        return outcome(JobStatus(job, "finished", result={"run_id": job.job_id}), warehouse)
    setup = open_setup(job.config)
    report.expect(_forecast(job, warehouse, expected, setup) if expected else {})
    planned, first, same = look_up(job, warehouse, setup)
    if same:
        controls = [one.known for one in planned if one.known]
        return Finished(same.run.run_id, same, controls=tuple(controls), was_known=True)
    controls, failed = _controls(job, warehouse, planned, setup, report)
    profile, waits = _measure_pass(
        job, job.config, job.job_id, warehouse, setup, report, controls, tuple(failed), first=first
    )
    return Finished(job.job_id, profile, waits, tuple(controls), tuple(failed.values()))


def outcome(standing: JobStatus, warehouse: Warehouse) -> Finished:
    """What a job that ended in another process has brought; raises KeyError where its run is no longer there."""
    told = standing.result
    profile = read_profile(warehouse, told["run_id"])
    control_ids = (profile.summaries[0].control_run_ids if profile.summaries else None) or []
    controls = tuple(read_profile(warehouse, run_id) for run_id in control_ids)
    return Finished(
        told["run_id"],
        profile,
        told.get("waits", ""),
        controls,
        tuple(told.get("failed", ())),
        told.get("was_known", False),
    )


def _controls(
    job: Job, warehouse: Warehouse, planned: list[Control], setup: Setup, progress: ProgressCallback
) -> tuple[list[Profile], dict[str, str]]:
    """The control passes, those that are not known measured now; and why a pass could not be measured.

    Some architectures cannot be drawn at random, some not in this memory, and that is no reason not to measure the
    model. A warehouse that cannot be used is: the text pass would be lost as well.
    """
    found, failed = list[Profile](), dict[str, str]()
    for one in planned:
        if one.known:
            found.append(one.known)
        elif is_parcel(warehouse.parcels / one.run_id):  # it waits while the warehouse is locked
            found.append(read_profile(warehouse, one.run_id))
        elif one.name not in failed:
            control = replace(
                job.config, pass_=one.name, model_seed=one.seed, keep_tokens=False, controls=False, estimators=()
            )
            try:
                profile, _ = _measure_pass(
                    job, control, one.run_id, warehouse, setup, _named(one.label, progress), parent_run_id=job.job_id
                )
                found.append(profile)
            except WarehouseError:
                raise
            except InputError as error:
                failed[one.name] = f"The control pass {one.name} could not be measured: {error}"
    return found, failed


def _named(label: str, progress: ProgressCallback) -> ProgressCallback:
    return lambda step: progress(replace(step, phase=f"{label}: {step.phase}"))


def _measure_pass(
    job: Job,
    config: RunConfig,
    run_id: str,
    warehouse: Warehouse,
    setup: Setup,
    progress: ProgressCallback,
    controls: Sequence[Profile] = (),
    failed: Sequence[str] = (),
    parent_run_id: str | None = None,
    first: Profile | None = None,
) -> tuple[Profile, str]:
    """One pass to the warehouse, and why it waits to be ingested where it does.

    `first` is the first run on another draw of the same text.
    """
    # Never inside the pass: hidden states of a user's text must not travel in a parcel.
    kept = job.kept(run_id)
    profile = _measured(config, run_id, kept, progress, setup)
    profile = replace(profile, run=replace(profile.run, parent_run_id=parent_run_id, pilot_id=job.pilot_id))
    profile = _against_first_draw(profile, first)
    profile = judge_profile(profile, controls, failed)
    parcels.write_parcel(job.folder / run_id, profile)
    folder = parcels.publish_parcel(warehouse.folder, job.folder / run_id)
    shutil.rmtree(kept, ignore_errors=True)
    try:
        ingest_parcel(warehouse, folder)
    except (WarehouseLocked, ResourceError) as error:  # the measurement is finished all the same
        return profile, str(error)
    return profile, ""


def _measured(config: RunConfig, run_id: str, scratch: Path, progress: ProgressCallback, setup: Setup) -> Profile:
    """Raises ResourceError where memory runs out at a place that knows no way round: the next model may still fit."""
    from core.measure.profile import measure_profile

    with short_of_room(config, scratch):
        return measure_profile(config, run_id, scratch, progress, setup)


@contextmanager
def short_of_room(config: Requested, scratch: Path) -> Iterator[None]:
    """Raises ResourceError where disk or memory run out at a place that knows no way round."""
    from core.models.model import is_out_of_memory  # torch: only where a model is at work

    try:
        yield
    except OSError as error:
        if error.errno not in FULL:
            raise
        raise ResourceError(
            "The disk has no more room in {parent}: free some. What is finished of {model} is kept: the same "
            "request goes on with it.",
            parent=scratch.parent,
            model=config.model,
        ) from error
    except (MemoryError, RuntimeError) as error:
        if not is_out_of_memory(error):
            raise
        raise ResourceError(
            "There is not enough memory to measure {model} on device '{device}'. Try --dtype bfloat16, --device "
            "cpu, a smaller --memory-budget or a smaller model.",
            model=config.model,
            device=config.device,
        ) from error


def _against_first_draw(profile: Profile, first: Profile | None) -> Profile:
    """With one check more where the text was drawn before and both draws have a largest inner dimension."""
    from core.measure.checks import second_draw

    check = second_draw(first, judge_profile(profile)) if first else None
    return replace(profile, checks=[*profile.checks, check]) if check else profile


@dataclass(frozen=True)
class Control:
    """One control pass of a measurement."""

    name: str
    label: str
    seed: int
    run_id: str
    known: Profile | None
    """None where the warehouse does not have it."""


def look_up(job: Job, warehouse: Warehouse, setup: Setup) -> tuple[list[Control], Profile | None, Profile | None]:
    """All that the warehouse has for this measurement.

    Its control passes; the first run on another draw of the text; and this very run, where it shall not be measured
    again.

    Asked before the first pass: a warehouse that is locked between two passes must not end hours of measuring. Listed
    are the passes of the protocol, and whatever else the warehouse has.
    """
    from core.forecast.existing_runs import control_passes

    config, protocol, identity = job.config, setup.protocol, setup.identity
    same = asdict(identity)
    planned = [
        Control(
            one.name,
            one.label,
            one.seed,
            job.control_id(one.name, one.number),
            read_profile(warehouse, one.run_id) if one.run_id else None,
        )
        for one in control_passes(config, protocol, identity, bool(setup.sample.opening_token), warehouse)
    ]
    again = None if job.again else _same_run(config, protocol, same, warehouse)
    of_text = {name: same[name] for name in ("model_id", "corpus_id", "dtype", "stack")}
    runs = [
        (run_id, seed) for run_id, seed, digest in seeds_of_runs(warehouse, **of_text) if digest == protocol.hash(seed)
    ]
    first, first_seed = runs[0] if runs else (None, None)
    # Measured again, the first draw is still the first.
    return planned, read_profile(warehouse, first) if first and first_seed != config.seed else None, again


def _same_run(config: RunConfig, protocol: Protocol, same: dict[str, str], warehouse: Warehouse) -> Profile | None:
    """The newest run of this model and text that holds all that is asked for."""
    for run_id, stored in find_same_runs(warehouse, **same):
        try:
            asked = json.loads(stored)
            covers = _covers(asked["run"], asdict(config)) and _protocol_covers(asked["protocol"], asdict(protocol))
        except (ValueError, KeyError, TypeError):  # of another version, which asked for other things
            continue
        if covers:
            return read_profile(warehouse, run_id)
    return None


def _covers(run: dict[str, Any], asked: dict[str, Any]) -> bool:
    """Whether a run was asked for no less; words depend on the companions."""
    return (
        {*run["companions"]} == {*asked["companions"]}
        and {*run["estimators"]} >= {*asked["estimators"]}
        and run["keep_tokens"] >= asked["keep_tokens"]
        and run["controls"] >= asked["controls"]
    )


def _protocol_covers(run: dict[str, Any], asked: dict[str, Any]) -> bool:
    """Whether a protocol of the same hash runs no less besides what is compared."""
    numbers = ("n_surrogates", "n_random_models")
    return all(run[name] >= asked[name] for name in numbers) and all(
        {*run[name]} >= {*asked[name]} for name in ("passes", "more_estimators")
    )
