"""Files and folders: locations, atomic writes, reads with named errors, locks."""

from __future__ import annotations

import contextlib
import json
import math
import os
import shutil
import stat
import tempfile
import time
import tomllib
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from core.errors import InputError, ResourceError, Sentence, WorkdimError, sentences

_STALE_SECONDS = 6 * 3600.0
MODELS = "WORKDIM_MODELS"
"""Environment variable: the folder whose models are offered for measuring; by default the working folder of the app."""
READ_ONLY = "WORKDIM_READ_ONLY"
"""Environment variable, set for the server of `workdim app --read-only`, which changes and starts nothing."""


def is_read_only() -> bool:
    return bool(os.environ.get(READ_ONLY))


def refuse_where_read_only() -> None:
    """To be called before any change. Raises InputError if this process is read-only."""
    if is_read_only():
        raise InputError("This app is read only. Its owner can change things in another app.")


def max_parallel_jobs() -> int:
    """The number of jobs that run at the same time: WORKDIM_JOBS_AT_ONCE, by default 1.

    Raises InputError if that is no positive number.
    """
    text = os.environ.get("WORKDIM_JOBS_AT_ONCE", "1")
    if not text.isdecimal() or int(text) < 1:
        raise InputError("WORKDIM_JOBS_AT_ONCE must be a whole number from 1 on, not '{text}'.", text=text)
    return int(text)


def write_atomic(file: Path, content: bytes, is_synced: bool = True) -> None:
    """Write a temporary file, sync it to disk and rename it, so that the name never stands for half a file.

    What is replaced all the time, as progress is, need not be `is_synced`.
    """
    part = file.with_name(file.name + ".part")
    try:
        with part.open("wb") as handle:
            handle.write(content)
            handle.flush()
            if is_synced:
                os.fsync(handle.fileno())
        os.replace(part, file)
    except OSError:
        with contextlib.suppress(OSError):
            part.unlink()
        raise


def sync_folder(folder: Path) -> None:
    """Sync renames to disk, if the system can open folders (Windows cannot)."""
    with contextlib.suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def sync_all() -> None:
    """Sync everything to disk, if the system can: for very many files, which take too long one by one."""
    if hasattr(os, "sync"):
        os.sync()


MOST_READ = 256 * 2**20
"""Largest file of people that is read as a whole, in bytes."""


def read_whole(file: Path, what: str = Sentence("file"), most: int = MOST_READ) -> bytes:
    """The content of a file that somebody named; `what` it is, for messages.

    Kind and size are looked at before it is opened: a device has no end, and a pipe waits for ever. Raises InputError.
    """
    file = Path(os.path.expanduser(file))
    try:
        state = file.stat()
        if not stat.S_ISREG(state.st_mode):
            raise InputError(
                "{file} is no regular file but {kind}. Name the {what} itself.",
                file=file,
                kind=Sentence("a folder") if stat.S_ISDIR(state.st_mode) else Sentence("a device or pipe"),
                what=what,
            )
        if state.st_size > most:
            raise beyond_limit(file, state.st_size / 2**20, most / 2**20, "MiB")
        return file.read_bytes()
    except FileNotFoundError as error:
        raise InputError("There is no {what} {file}. Check the path.", what=what, file=file) from error
    except (OSError, ValueError) as error:  # ValueError: a name with a NUL
        reason = getattr(error, "strerror", None) or str(error)
        raise InputError("The {what} {file} cannot be read: {reason}.", what=what, file=file, reason=reason) from error


def mend(where: object, problem: object, kind: type[InputError] = InputError) -> InputError:
    """The error for a file of people: the place in it, and what is wrong there."""
    whole = problem if str(problem).endswith(".") else Sentence("{problem}.", problem=problem)
    return kind(Sentence("{where}: {problem} Correct the file.", where=where, problem=whole))


def beyond_limit(name: object, size: float, most: float, unit: str, kind: type[InputError] = InputError) -> InputError:
    """The error for what is larger than is read or kept."""
    message = Sentence(
        "{name} has {size:,.0f} {unit}; at most {most:,.0f} are read. Take a part.",
        name=name,
        size=math.ceil(size),  # never the limit itself
        unit=unit,
        most=most,
    )
    return kind(message)


def no_folder(folder: Path) -> Sentence:
    return Sentence("There is no folder {folder}. Make it, or name another.", folder=folder)


def not_utf8(file: Path) -> InputError:
    return InputError("{file} is not UTF-8. Save it as UTF-8.", file=file.name)


def write_json(file: Path, content: Any, is_synced: bool = True) -> None:
    """Write a JSON file whole or not at all. Raises ResourceError."""
    with writing(file):
        write_atomic(file, json.dumps(content, indent=1, ensure_ascii=False).encode(), is_synced)


def read_json(file: Path) -> Any:
    """The content of a JSON file. Raises OSError, or ValueError for invalid or too deeply nested JSON."""
    return parse_json(file.read_text(encoding="utf-8"))


def read_json_or_none(file: Path) -> Any:
    """The content of a JSON file; None if it is missing or invalid."""
    try:
        return read_json(file)
    except (OSError, ValueError):
        return None


def parse_json(text: str) -> Any:
    """Parse JSON. Raises ValueError for invalid or too deeply nested JSON."""
    try:
        return json.loads(text)
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error


def folders_in(folder: Path) -> list[Path]:
    """The folders in `folder`, sorted by name; empty if it does not exist."""
    return [path for name in sorted(names_in(folder)) if (path := folder / name).is_dir()]


def names_in(folder: Path) -> set[str]:
    """The names of all entries of `folder`; empty if it does not exist."""
    with refusing(ResourceError, "The folder {folder} cannot be read: {reason}.", folder=folder):
        try:
            return set(os.listdir(folder))
        except FileNotFoundError:
            return set()


def nearest_folder(path: Path) -> Path:
    """The path if it is a folder, else its nearest parent that is one: what will be on the same disk. Raises ResourceError."""
    for place in (path.absolute(), *path.absolute().parents):
        if place.is_dir():
            return place
    raise ResourceError(no_folder(path))  # on a drive that is not there


@contextlib.contextmanager
def refusing(kind: type[WorkdimError], message: str, **parts: Any) -> Iterator[None]:
    """Raises this error where the system refuses what is done inside; {reason} in the message is what it says."""
    try:
        yield
    except OSError as error:
        raise kind(message, **parts, reason=error.strerror or error) from error


@contextlib.contextmanager
def writing(place: Path, after: str = "") -> Iterator[None]:
    """Raises ResourceError where the disk refuses what is written inside; `after` is the sentence that follows."""
    try:
        yield
    except OSError as error:
        raise cannot_write(place, error, after) from error


def cannot_write(place: Path, error: OSError, after: str = "") -> ResourceError:
    refusal = Sentence("{place} cannot be written to: {reason}.", place=place, reason=error.strerror or error)
    return ResourceError(sentences(refusal, after))


NOTHING_CHANGED = Sentence("Nothing was changed.")


def free_some(option: str) -> Sentence:
    """What helps where a disk is full: `option` is the argument or variable that chooses another."""
    return Sentence("Free some space, or choose another disk with {option}.", option=option)


def require_room(n_bytes: float, folder: Path, remedy: str) -> None:
    """Raises ResourceError, before anything is written, if the disk of `folder` has less than `n_bytes` free."""
    if shutil.disk_usage(nearest_folder(folder)).free < n_bytes:
        raise no_room(n_bytes, folder, remedy)


def no_room(n_bytes: float, folder: Path, remedy: str) -> ResourceError:
    free = shutil.disk_usage(nearest_folder(folder)).free
    return ResourceError(
        "{folder} needs {needed:,.1f} MB; {free:,.1f} MB is free. {remedy}",
        folder=folder,
        needed=n_bytes / 1e6,
        free=free / 1e6,
        remedy=remedy,
    )


def make_folder(folder: Path) -> None:
    """Create a folder. Raises ResourceError."""
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)


def move(source: Path, target: Path) -> None:
    """Rename a file or folder, with retries on Windows, where a virus scanner may hold a file for a moment."""
    with writing(target):
        for attempt in range(6):
            try:
                return os.replace(source, target)
            except PermissionError:
                if attempt == 5 or os.name != "nt":
                    raise
                time.sleep(0.05 * 2**attempt)


def unused_path(file: Path) -> Path:
    """This path, or with a number if it exists."""
    number, free = 1, file
    while free.exists():
        number += 1
        free = file.with_name(f"{file.stem}-{number}{file.suffix}")
    return free


def utc_now() -> datetime:
    """The time as tables hold it: UTC, without a zone."""
    return datetime.now(UTC).replace(tzinfo=None)


def timestamp() -> str:
    """The time for file names, in UTC."""
    return datetime.now(UTC).strftime("%Y%m%d-%H%M%S")


@contextlib.contextmanager
def temporary_folder(purpose: str, folder: Path) -> Iterator[Path]:
    """A temporary folder inside `folder`; also removes stale ones of killed processes.

    Raises ResourceError if it cannot be created.
    """
    for left in folder.glob(".workdim-*"):
        with contextlib.suppress(OSError):
            if time.time() - left.stat().st_mtime > _STALE_SECONDS:
                shutil.rmtree(left, ignore_errors=True)
    with writing(folder):
        place = tempfile.TemporaryDirectory(prefix=f".workdim-{purpose}-", dir=folder, ignore_cleanup_errors=True)
    with place as name:
        yield Path(name)


def remove_temporary_folders(purpose: str, folder: Path) -> None:
    """Remove at once the temporary folders that killed processes left for this purpose, which nobody else may have."""
    for left in folder.glob(f".workdim-{purpose}-*"):
        shutil.rmtree(left, ignore_errors=True)


# --- locks: by them a process shows that it is alive, since the operating system releases them however it ends ---------

PROBE_SECONDS = 0.02
"""How long `is_locked` tries: another process that probes holds the lock for less than a millisecond."""
POLL_INTERVAL = 0.005


def lock_path(folder: Path) -> Path:
    """The lock file of a folder, beside it."""
    return folder.with_name(f"{folder.name}.lock")


def is_locked(folder: Path) -> bool:
    """Whether a process holds the lock of this folder."""
    path = lock_path(folder)
    if not path.exists():
        return False
    with try_lock(path, PROBE_SECONDS) as is_free:
        return not is_free


@contextlib.contextmanager
def try_lock(path: Path, timeout: float = 0.0) -> Iterator[bool]:
    """Hold a lock file; yields False if another process still holds it after `timeout` seconds."""
    lock = FileLock(path)
    with contextlib.suppress(Timeout):
        lock.acquire(timeout=timeout, poll_interval=POLL_INTERVAL)
    try:
        yield lock.is_locked
    finally:
        if lock.is_locked:
            with contextlib.suppress(OSError):
                path.unlink(missing_ok=True)  # Windows refuses while one that waits has it open, which then removes it
            lock.release()


# --- places ------------------------------------------------------------------------------------------------------


PROJECT = Path(__file__).resolve().parents[1]
DATA = PROJECT / "data"
REFERENCE = DATA / "reference"
"""Data of this version: published scores, reference profiles, calibration tables."""


def python_path() -> str:
    """PYTHONPATH of a process that finds this code in whatever folder it runs."""
    return os.pathsep.join([str(PROJECT), *filter(None, [os.environ.get("PYTHONPATH")])])


def version() -> str:
    """Of Workdim."""
    return tomllib.loads((PROJECT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"]


PROJECT_WAREHOUSE = DATA / "local" / "workdim.duckdb"
"""The warehouse where none is chosen."""


def default_warehouse() -> Path:
    """The warehouse file: WORKDIM_WAREHOUSE, or that of the project."""
    chosen = os.environ.get("WORKDIM_WAREHOUSE")
    return Path(chosen) if chosen else PROJECT_WAREHOUSE
