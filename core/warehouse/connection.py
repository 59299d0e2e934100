"""A DuckDB file, opened for milliseconds: every read and write opens it, works and closes it again.

DuckDB lets one process write or many read, so nobody may keep a file open. A busy file is tried again until `wait`
seconds have passed; the gate sees to it that readers do not keep writers out. What stays is DuckDB itself, which takes
17 ms of computing to start: a file is attached to a running one in 2, and detached again.

Never open the warehouse file with plain Python (`open`, `shutil`) in a process that also uses it through DuckDB:
on POSIX systems, closing any handle of a file drops every lock that the process has on it.

DuckDB's own lock is held or refused, and nobody can wait in line for it: readers that follow each other closely would
keep a writer out for ever (four processes that read without a pause: a median of 0.5 s, 6 s at most, for a write of
20 ms; six of them: no write in 10 s). So a writer closes the gate first. New readers wait in front of it, those inside
leave within milliseconds, and the writer goes in. The gate is a file lock beside the warehouse, which the operating
system opens again when a process dies. Where no such file can be made (a folder that may only be read), DuckDB's lock
alone decides, as it does for programs that know no gate.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import random
import re
import stat
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Protocol, TypeVar

import duckdb
import polars as pl
from filelock import FileLock, Timeout

from core.errors import ResourceError, Sentence, WarehouseError, WarehouseLocked, sentences
from core.files import names_in
from core.tables import TABLES
from core.warehouse import copy_worker

_READER_POLL, _WRITER_POLL = 0.002, 0.02
"""Seconds between two looks at a closed gate. Readers look more often: when it opens, they walk through before the
next writer closes it, so that a reader waits for one writer and not for a row of them."""


def gate_path(path: Path) -> Path:
    return path.with_name(path.name + ".gate")


@contextmanager
def closed_gate(path: Path, wait: float) -> Iterator[None]:
    """Keep everybody else out of the warehouse; TimeoutError where another writer has it closed for `wait` seconds."""
    lock = _acquire_gate(path, wait, _WRITER_POLL)
    try:
        yield
    finally:
        if lock is not None:
            lock.release()


def wait_for_gate(path: Path, wait: float) -> None:
    """Return at once where the gate is open; TimeoutError where it stays closed for `wait` seconds."""
    lock = _acquire_gate(path, wait, _READER_POLL)
    if lock is not None:
        lock.release()


def _acquire_gate(path: Path, wait: float, poll_interval: float) -> FileLock | None:
    lock = FileLock(gate_path(path), thread_local=False, fallback_to_soft=False)  # no marker that outlives its process
    try:
        lock.acquire(timeout=wait, poll_interval=poll_interval)
    except Timeout as error:
        raise TimeoutError(str(error)) from error
    except (OSError, NotImplementedError):
        return None
    return lock


def copy_snapshot(path: Path, target: Path, wait: float) -> None:
    """Copy the file as it stands to `target`, without a log; writers wait meanwhile, readers do not.

    Raises ResourceError where there is no room, WarehouseLocked where a writer does not let go within `wait` seconds.
    """
    with attach(path, read_only=True, wait=wait):
        copy_database(path, target)
    checkpoint(target)


def copy_database(source: Path, target: Path) -> None:
    """Copy a DuckDB file with its log; the caller sees to it that nobody writes to it meanwhile."""
    done = subprocess.run(
        [sys.executable, "-I", copy_worker.__file__, str(source), str(target)],
        capture_output=True,
        text=True,
        encoding="utf-8",
        errors="replace",
        check=False,
        creationflags=getattr(subprocess, "CREATE_NO_WINDOW", 0),
    )
    if done.returncode:
        reason = done.stderr.strip().splitlines() or [f"exit code {done.returncode}"]
        raise ResourceError(
            "{source} cannot be copied to {parent}: {reason}.", source=source, parent=target.parent, reason=reason[-1]
        )


def checkpoint(path: Path) -> None:
    """Take what the write-ahead log holds into the file that it belongs to."""
    if wal_path(path).exists():
        duckdb.connect(path).close()


Connection = duckdb.DuckDBPyConnection
_BUSY_MESSAGES = (
    "Could not set lock",  # another process has it, POSIX
    "being used by another process",  # the same on Windows
    "different configuration",  # another thread of this process reads while we want to write, or the reverse
    "Unique file handle conflict",
)
_DISK_FULL_MESSAGES = ("No space left", "not enough space", "disk is full", "File too large", "Disk quota")
CONFIG: dict[str, str | bool | int | float | list[str]] = {
    "autoinstall_known_extensions": "false",
    "autoload_known_extensions": "false",
    "python_enable_replacements": "false",
    "default_block_size": "65536",
}
"""A new file has blocks of 64 KiB, not 256: what a run adds to a column is short, and 2,000 runs take 12 percent less."""
WRITING = CONFIG | {"threads": "1"}
"""Rows of one run are few: a second thread costs more than it does (82 against 56 ms of work for an ingest)."""


_FIRST_DELAY = 0.005
"""Seconds until a busy file is tried again for the first time."""
_GATE_CLOSED, _GATE_OPEN = 0.4, 0.1
"""Seconds that a writer who cannot go in keeps readers out, and lets them in before it tries again."""


class DiskFull(ResourceError):
    """The disk is full."""


class Readable(Protocol):
    """What named reads ask: a warehouse, which opens for each of them, or one that is open for several."""

    def read(self, sql: str, params: Any = None) -> pl.DataFrame: ...


@dataclass(frozen=True)
class OpenWarehouse:
    """A warehouse between opening and closing: what it reads is all of one state."""

    connection: duckdb.DuckDBPyConnection

    def read(self, sql: str, params: Any = None) -> pl.DataFrame:
        """The result of one query."""
        return pl.DataFrame(self.connection.sql(sql, params=params))


def file_stamp(path: Path) -> tuple[int, ...]:
    """Time and size of the file and of its write-ahead log."""
    return (*_stamp(path), *_stamp(wal_path(path)))


def exists(path: Path) -> bool:
    """Whether the file exists; an address that cannot even be asked about is an error with a name."""
    return _stamp(path) != (0, 0)


def wal_path(path: Path) -> Path:
    """DuckDB's write-ahead log: committed rows live there until the next clean close."""
    return path.with_name(path.name + ".wal")


@contextlib.contextmanager
def read_connection(path: Path, wait: float) -> Iterator[Connection]:
    """A connection that reads. Through the gate before every try: whoever met a writer at the file waits there until
    that one has left, and not by a clock of its own, by which it would meet the next one."""
    end = time.monotonic() + wait
    delay = _FIRST_DELAY
    with contextlib.ExitStack() as inside:
        while True:
            with _timeout_as_locked(path, wait):
                wait_for_gate(path, max(0.0, end - time.monotonic()))
            try:
                connection = inside.enter_context(attach(path, True, 0.0, reported_wait=wait))
                break
            except WarehouseLocked:
                if time.monotonic() + delay > end:
                    raise
            delay = _back_off(delay)
        yield connection


@contextlib.contextmanager
def write_connection(path: Path, wait: float) -> Iterator[Connection]:
    """A connection that writes, behind the closed gate. While a program that knows no gate keeps the file, readers are
    let in again and again: they need not wait for what a writer waits for."""
    end = time.monotonic() + wait
    with contextlib.ExitStack() as leaving:
        while True:
            left = max(0.0, end - time.monotonic())
            with contextlib.ExitStack() as inside:
                with _timeout_as_locked(path, wait):
                    inside.enter_context(closed_gate(path, left))
                try:
                    connection = inside.enter_context(attach(path, False, min(left, _GATE_CLOSED), reported_wait=wait))
                except WarehouseLocked:
                    if time.monotonic() + _GATE_OPEN > end:
                        raise
                else:
                    leaving.push(inside.pop_all())
                    break
            time.sleep(_GATE_OPEN)
        yield connection


@contextlib.contextmanager
def exclusive(path: Path, wait: float) -> Iterator[None]:
    """Behind the closed gate without opening the file: nobody else changes what it is built from meanwhile."""
    with contextlib.ExitStack() as inside:
        with _timeout_as_locked(path, wait):
            inside.enter_context(closed_gate(path, wait))
        yield


def connect_private(path: Path, read_only: bool, wait: float, config: dict[str, Any] | None = None) -> Connection:
    """Open a DuckDB file that only this process knows, a copy or a new one, in a DuckDB of its own; tried again while
    it is busy, WarehouseLocked where it stays so."""
    chosen = CONFIG if config is None else config
    return _retry_while_busy(path, wait, None, lambda: duckdb.connect(path, read_only=read_only, config=chosen))


@contextlib.contextmanager
def attach(
    path: Path, read_only: bool, wait: float, reported_wait: float | None = None, instance: DuckDBInstance | None = None
) -> Iterator[Connection]:
    """A connection that works on a warehouse file, tried again while that is busy; WarehouseLocked where it stays so.

    `reported_wait`: seconds that the error speaks of, where `wait` is only a part of them.
    """
    instance = instance or (_READER if read_only else _WRITER)
    file = _retry_while_busy(path, wait, reported_wait, lambda: instance.attach(path, read_only))
    try:
        with contextlib.closing(file.connection.cursor()) as connection:
            connection.execute(f"USE {file.name}")
            yield connection
    except (duckdb.FatalException, duckdb.InternalException):
        instance.reset()  # it refuses everything from now on
        raise
    finally:
        instance.detach(path, file)


@dataclass
class AttachedFile:
    connection: Connection
    name: str
    """Its catalog, quoted for SQL."""
    read_only: bool
    users: int = 0


class DuckDBInstance:
    """DuckDB without a file of its own, to which files are attached for a moment.

    All threads of a process share an attached file: POSIX systems keep locks for whole processes, so that a second
    handle which is closed, or which DuckDB refuses, would drop the lock of the first. Therefore one list of what is
    attached in this process is asked before DuckDB touches a file.
    """

    _files: ClassVar[dict[Path, AttachedFile]] = {}
    _lock: ClassVar[threading.Lock] = threading.Lock()

    def __init__(self, config: dict[str, Any]) -> None:
        spilled = Path(tempfile.gettempdir()) / f"workdim-{os.getpid()}"  # made where a query needs it, not before
        self._config = config | {"temp_directory": str(spilled)}
        self._connection: Connection | None = None

    def attach(self, path: Path, read_only: bool) -> AttachedFile:
        """Raises `_Busy` where another thread has the file open in another way, and what DuckDB raises."""
        with self._lock:
            file = self._files.get(path)
            if file is None:
                file = self._files[path] = self._attach(path, read_only)
            elif not (read_only and file.read_only):
                raise _Busy
            file.users += 1
            return file

    def detach(self, path: Path, file: AttachedFile) -> None:
        """Whoever leaves last closes the file, and DuckDB takes its log in."""
        with self._lock:
            file.users -= 1
            if file.users:
                return
            del self._files[path]
            try:
                file.connection.execute(f"DETACH {file.name}")
            except duckdb.Error:  # a full disk, or this DuckDB has ended: what it has open is closed with it
                file.connection.close()
                self._connection = None

    def reset(self) -> None:
        """Start DuckDB anew for whoever comes next."""
        self._connection = None

    def _attach(self, path: Path, read_only: bool) -> AttachedFile:
        if self._connection is None:
            self._connection = duckdb.connect(":memory:", config=self._config)
        quoted = str(path).replace("'", "''")
        name = _catalog_name(path, [file.name for file in self._files.values()])
        try:
            self._connection.execute(f"ATTACH '{quoted}' AS {name}{' (READ_ONLY)' if read_only else ''}")
        except (duckdb.FatalException, duckdb.InternalException):
            self.reset()
            raise
        return AttachedFile(self._connection, name, read_only)


def _catalog_name(path: Path, others: list[str]) -> str:
    """As DuckDB would call the file, because views that a user added may name it, but for names that are taken."""
    taken, name = {'"main"', '"memory"', '"system"', '"temp"', *map(str.lower, others)}, path.stem.replace('"', '""')
    found = (f'"{name}"' if n == 0 else f'"{name}_{n}"' for n in itertools.count())
    return next(one for one in found if one.lower() not in taken)


_READER, _WRITER = DuckDBInstance(CONFIG), DuckDBInstance(WRITING)
_PARENT_CONNECTIONS: list[Connection | None] = []
"""Of the process that this one was forked from: to end it here would be to wait for threads that are not here."""


def _after_fork() -> None:
    for running in (_READER, _WRITER):
        _PARENT_CONNECTIONS.append(running._connection)
        running.reset()
    DuckDBInstance._lock = threading.Lock()
    DuckDBInstance._files.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


class _Busy(Exception):
    """Another thread of this process has the file open."""


_T = TypeVar("_T")


def _retry_while_busy(path: Path, wait: float, reported_wait: float | None, open_file: Callable[[], _T]) -> _T:
    end = time.monotonic() + wait
    delay = _FIRST_DELAY
    while True:
        try:
            return open_file()
        except (duckdb.Error, _Busy) as error:
            if isinstance(error, duckdb.Error) and not any(text in str(error) for text in _BUSY_MESSAGES):
                raise
            if time.monotonic() + delay > end:
                raise WarehouseLocked(_locked_message(path, str(error), reported_wait or wait)) from error
            delay = _back_off(delay)


def _back_off(delay: float) -> float:
    """Sleep for about `delay` seconds; returns the next delay, a longer one."""
    time.sleep(delay * random.uniform(0.5, 1.5))
    return min(delay * 1.7, 0.25)


@contextlib.contextmanager
def transaction(connection: duckdb.DuckDBPyConnection) -> Iterator[None]:
    """Committed at the end of the block, or undone by any exception."""
    connection.begin()
    try:
        yield
        connection.commit()
    except BaseException:
        # A failed commit has already ended the transaction, and then there is nothing to undo.
        with contextlib.suppress(duckdb.Error):
            connection.rollback()
        raise


def insert(connection: Connection, table: str, rows: pl.DataFrame) -> None:
    """Rows of a frame into a table, within the caller's transaction; columns that the rows lack are NULL."""
    if rows.is_empty():
        return
    connection.register("incoming_rows", rows)
    try:
        connection.execute(TABLES[table].insert_sql("incoming_rows"))
    finally:
        connection.unregister("incoming_rows")


@contextlib.contextmanager
def translated_errors(path: Path) -> Iterator[None]:
    """Failures of the file or the disk as one line that says what to do; mistakes in SQL pass through."""
    try:
        yield
    except duckdb.Error as error:
        clear = translate_error(path, error)
        if clear is None:
            raise
        raise clear from error


def translate_error(path: Path, error: duckdb.Error) -> WarehouseError | ResourceError | None:
    """The error as a line for people; None where it is about a statement and not about the file."""
    text = str(error)
    first = text.splitlines()[0]
    if any(part in text for part in _DISK_FULL_MESSAGES):
        return DiskFull(
            "The disk has no room for the warehouse {path}: nothing was changed. Free some space and run `workdim "
            "ingest`.",
            path=path,
        )
    if "not a valid DuckDB" in text:
        if names_in(path.parent / "parcels"):
            return WarehouseError(
                "{path} is not a DuckDB file. Move it away, or make it anew from the parcels beside it with `workdim "
                "ingest --rebuild`, or choose another warehouse with --warehouse.",
                path=path,
            )
        return WarehouseError(
            "{path} is not a DuckDB file. Move it away, or choose another warehouse with --warehouse.", path=path
        )
    if "with version number" in text or "storage version" in text:
        return WarehouseError(
            "{path} was written by a newer DuckDB than {version}: update duckdb.", path=path, version=duckdb.__version__
        )
    if "replaying WAL" in text or "WAL was created" in text:
        return WarehouseError(
            "The log {log} belongs to another state of the warehouse {path}: move the log away, and run `workdim "
            "ingest`.",
            log=wal_path(path),
            path=path,
        )
    if "Corrupt database" in text or "Could not read enough bytes" in text:
        return WarehouseError(
            "{path} is damaged. `workdim ingest --rebuild` makes it anew from the parcels.", path=path
        )
    is_wal_error = isinstance(error, duckdb.TransactionException) and f'file "{wal_path(path)}"' in text
    if isinstance(error, (duckdb.IOException, duckdb.PermissionException)) or is_wal_error:
        reason = first.rpartition("Error: ")[2].removeprefix("Failed to commit: ")
        message = Sentence("The warehouse {path} cannot be used: {reason}.", path=path, reason=reason)
        if "Permission denied" in reason:
            message = sentences(
                message, Sentence("Check the permissions of the file and of {parent}.", parent=path.parent)
            )
        return ResourceError(message)
    return None


@contextlib.contextmanager
def _timeout_as_locked(path: Path, wait: float) -> Iterator[None]:
    try:
        yield
    except TimeoutError as error:
        raise WarehouseLocked(_locked_message(path, "", wait)) from error


def _locked_message(path: Path, text: str, wait: float) -> Sentence:
    holder = re.search(r"PID (\d+)", text)
    who = (
        Sentence("Process {pid}", pid=holder[1]) if holder else Sentence("Another process or another part of this one")
    )
    return Sentence(
        "{who} has held the warehouse {path} for more than {wait:g} seconds. Close it there (an open DuckDB "
        "shell?) and try again; finished measurements wait in their parcels.",
        who=who,
        path=path,
        wait=wait,
    )


def _stamp(path: Path) -> tuple[int, int]:
    try:
        status = path.stat()
    except FileNotFoundError:
        return 0, 0
    except OSError as error:
        raise ResourceError(
            "The warehouse {path} cannot be used: {reason}.", path=path, reason=error.strerror or error
        ) from error
    if stat.S_ISDIR(status.st_mode):
        raise WarehouseError(
            "{path} is a folder. Name a file in it: --warehouse {file}.", path=path, file=path / "workdim.duckdb"
        )
    return status.st_mtime_ns, status.st_size
