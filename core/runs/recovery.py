"""What was finished and not brought further, brought further by whoever comes next."""

from __future__ import annotations

import logging
import shutil
import time
from pathlib import Path

from filelock import FileLock, Timeout

from core.errors import ResourceError, Sentence, WarehouseError
from core.files import folders_in
from core.runs.jobs import CANCEL_FILE, finish, job_folders, lock_of, read_job, release, remove
from core.store import parcels
from core.store.parcels import is_parcel
from core.warehouse.warehouse import Warehouse

_log = logging.getLogger("workdim")
_SHOWN = 7 * 24 * 3600.0
"""Seconds that a finished job is listed."""


def take_in_finished(folder: Path, warehouse: Warehouse) -> None:
    """Passes that an earlier process finished, and could not bring further."""
    for finished in filter(is_parcel, folders_in(folder)):
        parcels.publish_parcel(warehouse.folder, finished)
    warehouse.try_apply_pending()


def sweep(warehouse: Warehouse) -> None:
    """Bring in what waits: passes that were finished, and parcels; and end deletions that were begun. What a stopped
    job has so far is left to it.

    Finished jobs are cleared away a week later. One that cannot be settled is warned of and stops nothing.
    """
    for reason in _settle_all(warehouse):
        _log.warning(reason)
    warehouse.apply_pending()


def sweep_to_read(warehouse: Warehouse) -> list[str]:
    """As `sweep`, for verbs that only read: what cannot be written now goes on waiting, and one line says why."""
    return _settle_all(warehouse) + warehouse.try_apply_pending().messages


def _settle_all(warehouse: Warehouse) -> list[str]:
    reasons = []
    for folder in job_folders(warehouse):
        try:
            _settle(warehouse, folder)
        except (ResourceError, WarehouseError) as error:
            reasons.append(str(error))
        except OSError as error:  # somebody else's folder, which may be read and not written
            why = error.strerror or error
            reasons.append(Sentence("The job {folder} is left as it is: {reason}.", folder=folder, reason=why))
    return reasons


def _settle(warehouse: Warehouse, folder: Path) -> None:
    """Finished passes of a job that nobody works on become parcels; the job is finished once its own run is one."""
    lock = FileLock(lock_of(folder))
    try:
        lock.acquire(timeout=0)
    except Timeout:
        return
    try:
        for finished in filter(is_parcel, folders_in(folder)):
            parcels.publish_parcel(warehouse.folder, finished)
        job, end = read_job(folder), folder / "finished.json"
        if job and (folder / CANCEL_FILE).exists():
            remove(job)
        elif job is None:
            if not (folder / "job.json").exists():  # one of another version is left to that
                shutil.rmtree(folder, ignore_errors=True)
        elif end.exists() and time.time() - end.stat().st_mtime > _SHOWN:
            remove(job)
        elif not end.exists() and is_parcel(warehouse.parcels / folder.name):
            finish(job, {"run_id": folder.name})
    finally:
        release(lock)
