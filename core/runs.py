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
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import psutil

from core.analysis.shape import summarise
from core.errors import ResourceError, WarehouseError, WarehouseLocked
from core.records import Profile, Progress, ProgressCallback, RunConfig
from core.warehouse import parcels
from core.warehouse.parcel_format import is_parcel
from core.warehouse.store import Warehouse, folders_in, make_folder

PROGRESS_FILE = "progress.json"


@dataclass(frozen=True)
class Finished:
    run_id: str
    profile: Profile
    ingested: bool
    """False where the warehouse stayed locked: the parcel waits beside it and nothing is lost."""


def measure(config: RunConfig, warehouse: Warehouse, progress: ProgressCallback) -> Finished:
    """Measure one model and append the result. Raises InputError for what the user can mend; then nothing is left."""
    from core.measure.profile import measure_profile  # torch: only where something is measured

    warehouse.prepare()  # an unusable warehouse is found out now, not after the measuring
    sweep(warehouse)
    run_id = new_run_id()
    with _job_folder(warehouse, run_id, config) as job:
        scratch = job / "scratch"
        scratch.mkdir()
        report = _reporting(job, progress)
        profile = measure_profile(config, run_id, scratch, report)
        profile = replace(profile, summaries=[summarise(profile)])
        shutil.rmtree(scratch, ignore_errors=True)
        (job / PROGRESS_FILE).unlink(missing_ok=True)
        parcels.write_parcel(job, profile)
    folder = parcels.finish(warehouse, job)
    try:
        parcels.ingest(warehouse, folder)
    except WarehouseLocked:
        return Finished(run_id, profile, ingested=False)
    return Finished(run_id, profile, ingested=True)


def sweep(warehouse: Warehouse) -> None:
    """Bring in what waits: complete jobs and parcels. Remove what a killed measurement left half done."""
    for job in folders_in(warehouse.jobs):
        _settle(warehouse, job)
    parcels.ingest_waiting(warehouse)


def sweep_to_read(warehouse: Warehouse) -> list[str]:
    """As `sweep`, for verbs that only read: what cannot be written now goes on waiting, and one line says why."""
    reasons = []
    for job in folders_in(warehouse.jobs):
        try:
            _settle(warehouse, job)
        except (ResourceError, WarehouseError) as error:
            reasons.append(str(error))
    return reasons + parcels.take_in(warehouse).lines


def _settle(warehouse: Warehouse, job: Path) -> None:
    """A complete job becomes a parcel; one whose process is gone is removed."""
    if is_parcel(job):
        parcels.finish(warehouse, job)
    elif not _is_alive(job):
        shutil.rmtree(job, ignore_errors=True)


def new_run_id() -> str:
    """A UUID version 7: ids that sort by time keep the rows of one run together in the warehouse."""
    value = (time.time_ns() // 1_000_000 << 80) | secrets.randbits(80)
    value = value & ~(0xF << 76) | 0x7 << 76
    return str(uuid.UUID(int=value & ~(0x3 << 62) | 0x2 << 62))


@contextmanager
def _job_folder(warehouse: Warehouse, run_id: str, config: RunConfig) -> Iterator[Path]:
    """`jobs/<run_id>/`, removed again by any failure before it holds a complete result."""
    job = warehouse.jobs / run_id
    make_folder(job)
    try:
        owner = {"pid": os.getpid(), "created": psutil.Process().create_time(), "config": asdict(config)}
        (job / "job.json").write_text(json.dumps(owner), encoding="utf-8")
        yield job
    except BaseException:
        if not is_parcel(job):
            shutil.rmtree(job, ignore_errors=True)
        raise


def _is_alive(job: Path) -> bool:
    """Whether the process that fills a job folder still runs; process ids are used again, start times are not."""
    try:
        owner = json.loads((job / "job.json").read_text(encoding="utf-8"))
        return abs(psutil.Process(owner["pid"]).create_time() - owner["created"]) < 1
    except psutil.AccessDenied:
        return True
    except FileNotFoundError:
        # A job that is this very moment being made: leave it alone for a minute.
        return job.exists() and time.time() - job.stat().st_mtime < 60
    except (psutil.Error, OSError, ValueError, KeyError):
        return False


def _reporting(job: Path, progress: ProgressCallback) -> ProgressCallback:
    """Pass progress on, and leave it in the job folder for whoever looks from outside."""

    def report(step: Progress) -> None:
        beside = job / f"{PROGRESS_FILE}.new"
        beside.write_text(json.dumps(asdict(step) | {"at": time.time()}), encoding="utf-8")
        os.replace(beside, job / PROGRESS_FILE)
        progress(step)

    return report
