"""Finish what killed processes left: publish finished passes, end jobs and deletions, ingest parcels."""

from __future__ import annotations

import logging
import shutil
import time
from pathlib import Path

from filelock import FileLock, Timeout

from core.errors import ResourceError, Sentence, WarehouseError
from core.files import folders_in
from core.runs.jobs import CANCEL_FILE, finish_job, job_folders, lock_path, read_job, release_lock, remove_job
from core.store import parcels
from core.store.parcels import is_parcel
from core.warehouse.warehouse import Warehouse

_log = logging.getLogger("workdim")
_KEEP_FINISHED = 7 * 24 * 3600.0
"""Seconds after which a finished job is removed."""


def publish_finished_passes(folder: Path, warehouse: Warehouse) -> None:
    """Publish and ingest the finished passes of an earlier process of this job."""
    for finished in filter(is_parcel, folders_in(folder)):
        parcels.publish_parcel(warehouse.folder, finished)
    warehouse.try_apply_pending()


def recover(warehouse: Warehouse) -> None:
    """Publish finished passes, ingest parcels and finish deletions. Checkpoints of stopped jobs are left alone.

    Finished jobs are removed after a week. A job that cannot be recovered is logged as a warning and stops nothing.
    """
    for reason in _recover_jobs(warehouse):
        _log.warning(reason)
    warehouse.apply_pending()


def recover_for_reader(warehouse: Warehouse) -> list[str]:
    """As `recover`, for verbs that only read: what cannot be written now keeps waiting; returns the reasons."""
    return _recover_jobs(warehouse) + warehouse.try_apply_pending().messages


def _recover_jobs(warehouse: Warehouse) -> list[str]:
    reasons = []
    for folder in job_folders(warehouse):
        try:
            _recover_job(warehouse, folder)
        except (ResourceError, WarehouseError) as error:
            reasons.append(str(error))
        except OSError as error:  # another user's folder, which is not writable
            why = error.strerror or error
            reasons.append(Sentence("The job {folder} is left as it is: {reason}.", folder=folder, reason=why))
    return reasons


def _recover_job(warehouse: Warehouse, folder: Path) -> None:
    """Publish the finished passes of a job that is not running; finish the job if its own run is published."""
    lock = FileLock(lock_path(folder))
    try:
        lock.acquire(timeout=0)
    except Timeout:
        return
    try:
        for finished in filter(is_parcel, folders_in(folder)):
            parcels.publish_parcel(warehouse.folder, finished)
        job, end = read_job(folder), folder / "finished.json"
        if job and (folder / CANCEL_FILE).exists():
            remove_job(job)
        elif job is None:
            if not (folder / "job.json").exists():  # the request of another version is left alone
                shutil.rmtree(folder, ignore_errors=True)
        elif end.exists() and time.time() - end.stat().st_mtime > _KEEP_FINISHED:
            remove_job(job)
        elif not end.exists() and is_parcel(warehouse.parcels / folder.name):
            finish_job(job, {"run_id": folder.name})
    finally:
        release_lock(lock)
