"""One measurement from its request to the warehouse, so that it either lands whole or leaves nothing behind.

The measuring process fills `jobs/<run_id>/`. The finished folder becomes a parcel by one rename and is then
ingested in one short transaction. A parcel that could not be ingested is taken by the next process that opens the
warehouse.
"""

from __future__ import annotations

import json
import os
import secrets
import shutil
import time
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from filelock import FileLock, Timeout

from core.analysis.shape import summarise
from core.errors import InputError, ResourceError, WarehouseError, WarehouseLocked
from core.records import Profile, Progress, ProgressCallback, RunConfig
from core.warehouse import parcels
from core.warehouse.parcel_format import is_parcel
from core.warehouse.profiles import draws, find_control, read_profile
from core.warehouse.store import Warehouse, folders_in, make_folder

PROGRESS_FILE = "progress.json"


@dataclass(frozen=True)
class Finished:
    run_id: str
    profile: Profile
    waits: str
    """Why the finished parcel waits beside the warehouse, which is locked or has no room; empty where it does not."""
    controls: tuple[Profile, ...] = ()
    failed: tuple[str, ...] = ()
    """One line for each control pass that could not be measured."""


def measure(config: RunConfig, warehouse: Warehouse, progress: ProgressCallback) -> Finished:
    """Measure one model and append the result. Raises InputError for what the user can mend; then nothing is left.

    Control passes come first and are runs of their own, so that the verdict on the text can be judged with them and a
    measurement that is stopped finds them again. One that is in the warehouse already is not measured twice.
    """
    warehouse.prepare()  # an unusable warehouse is found out now, not after the measuring
    sweep(warehouse)
    run_id = new_run_id()
    planned, first = _look_up(config, warehouse)
    controls, failed = _controls(config, warehouse, run_id, planned, progress)
    profile, waits = _measure_pass(config, warehouse, run_id, progress, controls, tuple(failed), first=first)
    return Finished(run_id, profile, waits, tuple(controls), tuple(failed.values()))


def parts_of(config: RunConfig) -> list[RunConfig]:
    """The measurements that one request stands for: a protocol may take further draws of the text, and other texts."""
    from core.measure.protocol import find_protocol

    protocol = find_protocol(config.protocol)
    seeds = [replace(config, seed=seed) for seed in protocol.more_seeds if seed != config.seed]
    others = [name for name in protocol.more_corpora if name != config.corpus]
    texts = [replace(config, corpus=name, column=None, chat="template") for name in others]
    return [config, *seeds, *texts]


@dataclass(frozen=True)
class _Control:
    """One control pass of a measurement."""

    name: str
    label: str
    seed: int
    known: Profile | None
    """None where the warehouse does not have it."""


def _look_up(config: RunConfig, warehouse: Warehouse) -> tuple[list[_Control], Profile | None]:
    """All that the warehouse has for this measurement: control passes, and the first run on another draw of the text.

    Raises EstimateError for further estimators that cannot be asked for.

    Asked before the first pass: a warehouse that is locked between two passes must not end hours of measuring. Listed
    are the passes of the protocol, and whatever else the warehouse has.
    """
    from core.geometry.costs import require_further
    from core.measure.identity import identify
    from core.measure.protocol import CONTROLS, find_protocol

    protocol = find_protocol(config.protocol)
    require_further(config.estimators, protocol.name, protocol.clouds)
    same = asdict(identify(config))
    planned = []
    for name in CONTROLS:
        for number in range(protocol.n_random_models if name == "random_init" else 1):
            seed = config.seed + number
            run_id = find_control(warehouse, **same, **{"pass": name, "model_seed": seed})
            if run_id or config.controls or name in protocol.passes:
                label = f"{name} {number + 1}" if name == "random_init" else name
                planned.append(_Control(name, label, seed, read_profile(warehouse, run_id) if run_id else None))
    of_text = {name: same[name] for name in ("model_id", "corpus_id", "dtype", "stack")}
    runs = [(run_id, seed) for run_id, seed, digest in draws(warehouse, **of_text) if digest == protocol.hash(seed)]
    first, first_seed = runs[0] if runs else (None, None)
    # Measured again, the first draw is still the first.
    return planned, read_profile(warehouse, first) if first and first_seed != config.seed else None


def _controls(
    config: RunConfig, warehouse: Warehouse, parent_run_id: str, planned: list[_Control], progress: ProgressCallback
) -> tuple[list[Profile], dict[str, str]]:
    """The control passes, those that are not known measured now; and why a pass could not be measured.

    Some architectures cannot be drawn at random, some not in this memory, and that is no reason not to measure the
    model. A warehouse that cannot be used is: the text pass would be lost as well.
    """
    found, failed = list[Profile](), dict[str, str]()
    for one in planned:
        if one.known:
            found.append(one.known)
        elif one.name not in failed:
            control = replace(
                config, pass_=one.name, model_seed=one.seed, keep_tokens=False, controls=False, estimators=()
            )
            try:
                profile, _ = _measure_pass(
                    control, warehouse, new_run_id(), _named(one.label, progress), parent_run_id=parent_run_id
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
    config: RunConfig,
    warehouse: Warehouse,
    run_id: str,
    progress: ProgressCallback,
    controls: Sequence[Profile] = (),
    failed: Sequence[str] = (),
    parent_run_id: str | None = None,
    first: Profile | None = None,
) -> tuple[Profile, str]:
    """One pass from its job folder to the warehouse, and why it waits to be ingested where it does.

    `first` is the first run on another draw of the same text.
    """
    with _job_folder(warehouse, run_id) as (job, scratch):
        profile = _measured(config, run_id, scratch, _reporting(job, progress))
        profile = replace(profile, run=replace(profile.run, parent_run_id=parent_run_id))
        profile = _against_first_draw(profile, first)
        profile = replace(profile, summaries=summarise(profile, controls, failed))
        (job / PROGRESS_FILE).unlink(missing_ok=True)
        parcels.write_parcel(job, profile)
        folder = parcels.finish(warehouse, job)
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


def sweep(warehouse: Warehouse) -> None:
    """Bring in what waits: complete jobs and parcels. Remove what a killed measurement left half done."""
    for job in _jobs(warehouse):
        _settle(warehouse, job)
    parcels.ingest_waiting(warehouse)


def sweep_to_read(warehouse: Warehouse) -> list[str]:
    """As `sweep`, for verbs that only read: what cannot be written now goes on waiting, and one line says why."""
    reasons = []
    for job in _jobs(warehouse):
        try:
            _settle(warehouse, job)
        except (ResourceError, WarehouseError) as error:
            reasons.append(str(error))
        except OSError as error:  # somebody else's folder, which may be read and not written
            reasons.append(f"The job {job} is left as it is: {error.strerror or error}.")
    return reasons + parcels.take_in(warehouse).lines


def _jobs(warehouse: Warehouse) -> list[Path]:
    return [folder for folder in folders_in(warehouse.jobs) if not folder.name.startswith(".")]


def _settle(warehouse: Warehouse, job: Path) -> None:
    """A complete job becomes a parcel; one whose process is gone is removed. A job at work is left alone."""
    lock = FileLock(_lock_of(job))
    try:
        lock.acquire(timeout=0)
    except Timeout:
        return
    try:
        if is_parcel(job):
            parcels.finish(warehouse, job)
        shutil.rmtree(_scratch_of(job), ignore_errors=True)
        shutil.rmtree(job, ignore_errors=True)
    finally:
        _release(lock)


def new_run_id() -> str:
    """A UUID version 7: ids that sort by time keep the rows of one run together in the warehouse."""
    value = (time.time_ns() // 1_000_000 << 80) | secrets.randbits(80)
    value = value & ~(0xF << 76) | 0x7 << 76
    return str(uuid.UUID(int=value & ~(0x3 << 62) | 0x2 << 62))


@contextmanager
def _job_folder(warehouse: Warehouse, run_id: str) -> Iterator[tuple[Path, Path]]:
    """`jobs/<run_id>/` and a scratch folder beside it, both gone at the end unless the job became a parcel.

    The operating system drops the lock with the process, however that ends: process ids and start times, which are
    used again and move with the clock, are not asked.
    """
    job = warehouse.jobs / run_id
    make_folder(warehouse.jobs)
    lock = FileLock(_lock_of(job))
    lock.acquire(timeout=0)
    try:
        make_folder(job)
        make_folder(_scratch_of(job))
        yield job, _scratch_of(job)
    finally:
        # Never inside the job: hidden states of a user's text must not travel in a parcel.
        shutil.rmtree(_scratch_of(job), ignore_errors=True)
        if not is_parcel(job):
            shutil.rmtree(job, ignore_errors=True)
        _release(lock)


def _scratch_of(job: Path) -> Path:
    return job.with_name(f".scratch-{job.name}")


def _lock_of(job: Path) -> Path:
    return job.with_name(f"{job.name}.lock")


def _release(lock: FileLock) -> None:
    with suppress(OSError):  # Windows refuses while a waiting process has it open; that one removes it
        Path(lock.lock_file).unlink(missing_ok=True)
    lock.release()


def _reporting(job: Path, progress: ProgressCallback) -> ProgressCallback:
    """Pass progress on, and leave it in the job folder for whoever looks from outside."""

    def report(step: Progress) -> None:
        beside = job / f"{PROGRESS_FILE}.new"
        with suppress(OSError):  # a reader may hold the file for a moment; the measurement goes on
            beside.write_text(json.dumps(asdict(step) | {"at": time.time()}), encoding="utf-8")
            os.replace(beside, job / PROGRESS_FILE)
        progress(step)

    return report
