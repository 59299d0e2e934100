"""Finish what killed processes left: publish finished passes, end jobs and deletions, ingest parcels."""

from __future__ import annotations

import logging
import shutil
import time
from pathlib import Path

from core.errors import ResourceError, Sentence, WarehouseError
from core.files import lock_path, try_lock
from core.runs.jobs import CANCEL_FILE, finish_job, job_folders, read_job, remove_job
from core.store import parcels
from core.store.parcels import is_parcel
from core.warehouse.warehouse import Warehouse

_log = logging.getLogger("workdim")
KEEP_FINISHED_SECONDS = 7 * 24 * 3600.0
"""A finished job is removed after a week."""


def recover(warehouse: Warehouse) -> None:
    """Publish finished passes, ingest parcels, finish deletions, remove old finished jobs.

    Checkpoints of stopped jobs are left alone. A job that cannot be recovered is logged as a warning and stops nothing.
    """
    for reason in _recover_jobs(warehouse):
        _log.warning(reason)
    warehouse.apply_pending()


def recover_for_reader(warehouse: Warehouse) -> list[str]:
    """As `recover`, for verbs that only read: what cannot be written now waits for the next time; returns the reasons."""
    return _recover_jobs(warehouse) + warehouse.try_apply_pending().messages


def _recover_jobs(warehouse: Warehouse) -> list[str]:
    """Recover every job; returns the reasons of those that could not be."""
    reasons = []
    for folder in job_folders(warehouse):
        try:
            _recover_job(warehouse, folder)
        except (ResourceError, WarehouseError) as error:
            reasons.append(str(error))
        except OSError as error:  # another user's folder, which is not writable
            reason = error.strerror or error
            reasons.append(Sentence("The job {folder} is left as it is: {reason}.", folder=folder, reason=reason))
    return reasons


def _recover_job(warehouse: Warehouse, folder: Path) -> None:
    """Publish the finished passes of a job that is not running; finish the job if its own run is published."""
    with try_lock(lock_path(folder)) as is_idle:
        if not is_idle:
            return
        parcels.publish_finished(warehouse.folder, folder)
        job, finished_file = read_job(folder), folder / "finished.json"
        if job and (folder / CANCEL_FILE).exists():
            remove_job(job)
        elif job is None:
            if not (folder / "job.json").exists():  # the request of another version is left alone
                shutil.rmtree(folder, ignore_errors=True)
        elif finished_file.exists() and time.time() - finished_file.stat().st_mtime > KEEP_FINISHED_SECONDS:
            remove_job(job)
        elif not finished_file.exists() and is_parcel(warehouse.parcels / folder.name):
            finish_job(job, {"run_id": folder.name})
