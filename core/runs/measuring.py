"""One measurement from its request to the warehouse, so that it either lands whole or can go on where it stopped.

A pass is written into its job's folder (core/runs/jobs.py). Finished, it becomes a parcel by one rename and is then
ingested in one short transaction. A parcel that could not be ingested is taken by the next process that opens the
warehouse.
"""

from __future__ import annotations

import errno
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from core.analysis.shape import summarise
from core.errors import InputError, ResourceError, WarehouseError, WarehouseLocked
from core.records import Profile, Progress, ProgressCallback, RunConfig
from core.runs.jobs import Job, Standing, fail, finish, held, remove, submit
from core.runs.known import Control, look_up
from core.runs.reporting import Reporter, log, logged
from core.runs.settling import sweep, take_in_finished
from core.runs.turns import turn
from core.warehouse import parcels
from core.warehouse.parcel_format import is_parcel
from core.warehouse.profiles import read_finished
from core.warehouse.store import Warehouse

FULL = (errno.ENOSPC, getattr(errno, "EDQUOT", errno.ENOSPC))
Expected = Callable[[RunConfig, Warehouse], Mapping[str, float]]


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


def measure(config: RunConfig, warehouse: Warehouse, progress: ProgressCallback, again: bool = True) -> Finished:
    """Measure one model in this process and append the result. Raises InputError for what the user can mend.

    A measurement of the same request that was interrupted goes on. Nothing is left of one that is refused or stopped
    with Ctrl-C; one that ran out of memory or disk can go on. Without `again`, a run that the warehouse has already is
    not measured twice.
    """
    warehouse.prepare()  # an unusable warehouse is found out now, not after the measuring
    sweep(warehouse)
    job = submit(config, warehouse, again=again)
    try:
        finished = run(job, warehouse, progress)
        remove(job)
        return finished
    except ResourceError:
        if not list(job.folder.glob("kept-*/forward.json")):
            remove(job)
        raise
    except (InputError, KeyboardInterrupt):
        remove(job)
        raise


def run(job: Job, warehouse: Warehouse, progress: ProgressCallback, expected: Expected | None = None) -> Finished:
    """Bring a submitted job to its end, after those that wait before it. Raises what `measure` raises.

    `expected` tells, once it is the job's turn, what each phase will take.

    Control passes come first and are runs of their own, so that the verdict on the text can be judged with them and a
    measurement that is stopped finds them again. One that is in the warehouse already is not measured twice.
    """
    with held(job), logged(job):
        try:
            report = Reporter(job, progress)
            with turn(job, warehouse, lambda before: report(Progress("queued", 0, before))):
                report(Progress("load", 0, 1))
                take_in_finished(job.folder, warehouse)
                report.expect(_forecast(job, warehouse, expected) if expected else {})
                finished = _run(job, warehouse, report)
        except Exception as error:
            log(job, str(error))
            fail(job, error)
            raise
        finish(
            job,
            {
                "run_id": finished.run_id,
                "waits": finished.waits,
                "failed": finished.failed,
                "was_known": finished.was_known,
            },
        )
    return finished


def _forecast(job: Job, warehouse: Warehouse, expected: Expected) -> Mapping[str, float]:
    """Nothing where it fails: a forecast is no reason not to measure."""
    try:
        return expected(job.config, warehouse)
    except Exception as error:
        log(job, f"The time that is left cannot be told: {type(error).__name__}: {error}")
        return {}


def _run(job: Job, warehouse: Warehouse, progress: ProgressCallback) -> Finished:
    if is_parcel(warehouse.parcels / job.job_id):  # finished by an earlier process
        return outcome(Standing(job, "finished", result={"run_id": job.job_id}), warehouse)
    planned, first, same = look_up(job, warehouse)
    if same:
        controls = [one.known for one in planned if one.known]
        return Finished(same.run.run_id, same, controls=tuple(controls), was_known=True)
    controls, failed = _controls(job, warehouse, planned, progress)
    profile, waits = _measure_pass(
        job, job.config, job.job_id, warehouse, progress, controls, tuple(failed), first=first
    )
    return Finished(job.job_id, profile, waits, tuple(controls), tuple(failed.values()))


def outcome(standing: Standing, warehouse: Warehouse) -> Finished:
    """What a job that ended in another process has brought; raises KeyError where its run is no longer there."""
    told = standing.result
    profile = read_finished(warehouse, told["run_id"])
    control_ids = (profile.summaries[0].control_run_ids if profile.summaries else None) or []
    controls = tuple(read_finished(warehouse, run_id) for run_id in control_ids)
    return Finished(
        told["run_id"],
        profile,
        told.get("waits", ""),
        controls,
        tuple(told.get("failed", ())),
        told.get("was_known", False),
    )


def parts_of(config: RunConfig) -> list[RunConfig]:
    """The measurements that one request stands for: a protocol may take further draws of the text, and other texts."""
    from core.registry.protocols import find_protocol

    protocol = find_protocol(config.protocol)
    seeds = [replace(config, seed=seed) for seed in protocol.more_seeds if seed != config.seed]
    others = [name for name in protocol.more_corpora if name != config.corpus]
    texts = [replace(config, corpus=name, column=None, chat="template") for name in others]
    return [config, *seeds, *texts]


def _controls(
    job: Job, warehouse: Warehouse, planned: list[Control], progress: ProgressCallback
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
            found.append(read_finished(warehouse, one.run_id))
        elif one.name not in failed:
            control = replace(
                job.config, pass_=one.name, model_seed=one.seed, keep_tokens=False, controls=False, estimators=()
            )
            try:
                profile, _ = _measure_pass(
                    job, control, one.run_id, warehouse, _named(one.label, progress), parent_run_id=job.job_id
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
    profile = _measured(config, run_id, kept, progress)
    profile = replace(profile, run=replace(profile.run, parent_run_id=parent_run_id, pilot_id=job.pilot_id))
    profile = _against_first_draw(profile, first)
    profile = replace(profile, summaries=summarise(profile, controls, failed))
    parcels.write_parcel(job.folder / run_id, profile)
    folder = parcels.finish(warehouse, job.folder / run_id)
    shutil.rmtree(kept, ignore_errors=True)
    try:
        parcels.ingest(warehouse, folder)
    except (WarehouseLocked, ResourceError) as error:  # the measurement is finished all the same
        return profile, str(error)
    return profile, ""


def _measured(config: RunConfig, run_id: str, scratch: Path, progress: ProgressCallback) -> Profile:
    """Raises ResourceError where memory runs out at a place that knows no way round: the next model may still fit."""
    from core.measure.models import is_out_of_memory  # torch: only where something is measured
    from core.measure.profile import measure_profile

    try:
        return measure_profile(config, run_id, scratch, progress)
    except OSError as error:
        if error.errno not in FULL:
            raise
        raise ResourceError(
            f"The disk has no more room in {scratch.parent}: free some. What is finished of {config.model} is kept: "
            "the same request goes on with it."
        ) from error
    except (MemoryError, RuntimeError) as error:
        if not is_out_of_memory(error):
            raise
        raise ResourceError(
            f"There is not enough memory to measure {config.model} on device '{config.device}'. Try --dtype bfloat16, "
            "--device cpu, a smaller --memory-budget or a smaller model."
        ) from error


def _against_first_draw(profile: Profile, first: Profile | None) -> Profile:
    """With one check more where the text was drawn before and both draws have a working dimension."""
    from core.measure.checks import second_draw

    check = second_draw(first, replace(profile, summaries=summarise(profile))) if first else None
    return replace(profile, checks=[*profile.checks, check]) if check else profile
