"""Open a DuckDB file for milliseconds: every read and write attaches it, works and detaches it again.

DuckDB lets one process write or many read, so no process may keep the file open. A busy file is tried again for `wait`
seconds; the gate ensures that readers do not keep writers out. DuckDB itself, which takes 17 ms to start, keeps running;
attaching a file to it takes 2 ms.

Never open the warehouse file with plain Python (`open`, `shutil`) in a process that also uses it through DuckDB:
on POSIX systems, closing any handle of a file drops every lock that the process has on it.

DuckDB's own lock is held or refused and has no queue: readers that follow each other closely would keep a writer out for
ever (with four processes that read without a pause, a write of 20 ms took 0.5 s in the median and 6 s at most; with six,
none succeeded in 10 s). So a writer first closes the gate: new readers wait, those inside leave within milliseconds, and
the writer goes in. The gate is a file lock beside the warehouse, which the operating system releases when a process
dies. If no such file can be made (in a read-only folder), only DuckDB's lock decides, as for other programs.
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
from collections.abc import Iterator, Sized
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Protocol

import duckdb
import polars as pl
from filelock import FileLock, Timeout

from core.errors import ResourceError, Sentence, WarehouseError, WarehouseLocked
from core.files import refusing
from core.tables import TABLES
from core.tables.columns import literal
from core.warehouse import copy_worker

_READER_POLL, _WRITER_POLL = 0.002, 0.02
"""Seconds between two tries at a closed gate. Readers try more often, so that they pass before the next writer closes it
and wait for one writer only."""


def gate_path(path: Path, name: str = "gate") -> Path:
    return path.with_name(f"{path.name}.{name}")


@contextlib.contextmanager
def exclusive(path: Path, wait: float, name: str = "gate") -> Iterator[None]:
    """Keep the gate closed: no other process opens the file, or changes the files beside it. A gate of another `name` is
    closed only to those who want the same.

    Raises WarehouseLocked if another process has it closed for `wait` seconds.
    """
    lock = _close_gate(path, wait, _WRITER_POLL, name)
    try:
        yield
    finally:
        lock.release()


def _close_gate(path: Path, wait: float, poll_interval: float, name: str = "gate") -> FileLock:
    # A soft lock could outlive its process.
    lock = FileLock(gate_path(path, name), thread_local=False, fallback_to_soft=False)
    try:
        lock.acquire(timeout=wait, poll_interval=poll_interval)
    except Timeout as error:
        raise WarehouseLocked(_locked_message(path, "")) from error
    except (OSError, NotImplementedError):
        pass  # no such file can be made: then DuckDB's own lock decides
    return lock


def copy_snapshot(path: Path, target: Path, wait: float) -> None:
    """Copy the file to `target`, without a log; writers wait meanwhile, readers do not.

    Raises ResourceError if there is no room, WarehouseLocked if a writer holds the file for `wait` seconds.
    """
    with attach(path, True, wait):
        done = subprocess.run(
            [sys.executable, "-I", copy_worker.__file__, str(path), str(target)],
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
            "{source} cannot be copied to {parent}: {reason}.", source=path, parent=target.parent, reason=reason[-1]
        )
    checkpoint(target)


def checkpoint(path: Path) -> None:
    """Merge the write-ahead log into its file."""
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
"""Blocks of 64 KiB instead of 256: a run adds little to each column, and 2,000 runs take 12 percent less space."""
WRITING = CONFIG | {"threads": "1"}
"""One thread: a run has few rows, and a second thread costs more than it saves (82 against 56 ms for an ingest)."""


_FIRST_DELAY = 0.005
"""Seconds until the first retry of a busy file."""
_GATE_CLOSED, _GATE_OPEN = 0.4, 0.1
"""Seconds that a writer which cannot open the file keeps readers out, and then lets them in before its next try."""


class DiskFull(ResourceError):
    """The disk is full."""


class Readable(Protocol):
    """What queries read from: a Warehouse, which opens the file for each read, or an OpenWarehouse for several reads."""

    def read(self, sql: str, params: Any = None) -> pl.DataFrame: ...


@dataclass(frozen=True)
class OpenWarehouse:
    """An open warehouse: all reads see the same state."""

    connection: Connection

    def read(self, sql: str, params: Any = None) -> pl.DataFrame:
        """The result of one query."""
        return pl.DataFrame(self.connection.sql(sql, params=params))


def file_stamp(path: Path) -> tuple[int, ...]:
    """Time and size of the file and of its write-ahead log."""
    return (*_stamp(path), *_stamp(wal_path(path)))


def exists(path: Path) -> bool:
    """Whether the file exists. Raises ResourceError or WarehouseError for a path that cannot be a warehouse."""
    return _stamp(path) != (0, 0)


def wal_path(path: Path) -> Path:
    """DuckDB's write-ahead log: committed rows live there until the next clean close."""
    return path.with_name(path.name + ".wal")


@contextlib.contextmanager
def write_connection(path: Path, wait: float) -> Iterator[Connection]:
    """A writing connection, behind the closed gate. While another program holds the file, readers are let in now and
    then: they need not wait with the writer."""
    end = time.monotonic() + wait
    with contextlib.ExitStack() as leaving:
        while True:
            left = max(0.0, end - time.monotonic())
            with contextlib.ExitStack() as inside:
                inside.enter_context(exclusive(path, left))
                try:
                    connection = inside.enter_context(attach(path, False, min(left, _GATE_CLOSED)))
                except WarehouseLocked:
                    if time.monotonic() + _GATE_OPEN > end:
                        raise
                else:
                    leaving.push(inside.pop_all())
                    break
            time.sleep(_GATE_OPEN)
        yield connection


@contextlib.contextmanager
def attach(path: Path, read_only: bool, wait: float, instance: DuckDBInstance | None = None) -> Iterator[Connection]:
    """A connection to a warehouse file. Retries while it is busy; WarehouseLocked if it stays so for `wait` seconds.
    A reader passes the gate at every try: after a collision with a writer it goes in as soon as that has left."""
    instance = instance or (_READER if read_only else _WRITER)
    end, delay = time.monotonic() + wait, _FIRST_DELAY
    while True:
        if read_only:
            _close_gate(path, max(0.0, end - time.monotonic()), _READER_POLL).release()
        try:
            file = instance.attach(path, read_only)
            break
        except (duckdb.Error, _Busy) as error:
            if isinstance(error, duckdb.Error) and not any(text in str(error) for text in _BUSY_MESSAGES):
                raise
            if time.monotonic() + delay > end:
                raise WarehouseLocked(_locked_message(path, str(error))) from error
            time.sleep(delay * random.uniform(0.5, 1.5))
            delay = min(delay * 1.7, 0.25)
    try:
        with contextlib.closing(file.connection.cursor()) as connection:
            connection.execute(f"USE {file.name}")
            yield connection
    except (duckdb.FatalException, duckdb.InternalException):
        instance.reset()  # after such an error DuckDB refuses all further work
        raise
    finally:
        instance.detach(path, file)


@dataclass
class AttachedFile:
    connection: Connection
    name: str
    """Catalog name, quoted for SQL."""
    read_only: bool
    users: int = 0


class DuckDBInstance:
    """An in-memory DuckDB, to which files are attached for a moment.

    All threads of a process share an attached file: POSIX locks belong to the whole process, so closing a second
    handle, or having DuckDB refuse one, would drop the lock of the first. Hence one registry of attached files per
    process, checked before DuckDB touches a file.
    """

    _files: ClassVar[dict[Path, AttachedFile]] = {}
    _lock: ClassVar[threading.Lock] = threading.Lock()

    def __init__(self, config: dict[str, Any]) -> None:
        spilled = Path(tempfile.gettempdir()) / f"workdim-{os.getpid()}"  # created by DuckDB when a query needs it
        self._config = config | {"temp_directory": str(spilled)}
        self._connection: Connection | None = None

    def attach(self, path: Path, read_only: bool) -> AttachedFile:
        """Raises `_Busy` if another thread has the file open in another mode, and whatever DuckDB raises."""
        with self._lock:
            file = self._files.get(path)
            if file is None:
                file = self._files[path] = self._attach(path, read_only)
            elif not (read_only and file.read_only):
                raise _Busy
            file.users += 1
            return file

    def detach(self, path: Path, file: AttachedFile) -> None:
        """The last user closes the file, and DuckDB merges its log."""
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
        """Make the next attach start a new DuckDB."""
        self._connection = None

    def _attach(self, path: Path, read_only: bool) -> AttachedFile:
        if self._connection is None:
            self._connection = duckdb.connect(":memory:", config=self._config)
        name = _catalog_name(path, [file.name for file in self._files.values()])
        try:
            self._connection.execute(f"ATTACH {literal(str(path))} AS {name}{' (READ_ONLY)' if read_only else ''}")
        except (duckdb.FatalException, duckdb.InternalException):
            self.reset()
            raise
        return AttachedFile(self._connection, name, read_only)


def _catalog_name(path: Path, others: list[str]) -> str:
    """The name DuckDB itself would choose, because users' views may contain it; with a number if it is taken."""
    used, name = {'"main"', '"memory"', '"system"', '"temp"', *map(str.lower, others)}, path.stem.replace('"', '""')
    candidates = (f'"{name}"' if n == 0 else f'"{name}_{n}"' for n in itertools.count())
    return next(candidate for candidate in candidates if candidate.lower() not in used)


_READER, _WRITER = DuckDBInstance(CONFIG), DuckDBInstance(WRITING)
_PARENT_CONNECTIONS: list[Connection | None] = []
"""Connections of the parent process, kept alive after a fork: closing them would wait for threads that do not exist here."""


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


@contextlib.contextmanager
def transaction(connection: Connection) -> Iterator[None]:
    """Commit at the end of the block; roll back on any exception."""
    connection.begin()
    try:
        yield
        connection.commit()
    except BaseException:
        # A failed commit has already ended the transaction: then there is nothing to roll back.
        with contextlib.suppress(duckdb.Error):
            connection.rollback()
        raise


def first_column(connection: Connection, sql: str, parameters: Any = None) -> list[Any]:
    """The values of the first column of a query's result."""
    return [row[0] for row in connection.execute(sql, parameters).fetchall()]


def insert(connection: Connection, table: str, rows: pl.DataFrame) -> None:
    """Insert a frame into a table, within the caller's transaction; missing columns are NULL."""
    if rows.is_empty():
        return
    connection.register("incoming_rows", rows)
    try:
        connection.execute(TABLES[table].insert_sql("incoming_rows"))
    finally:
        connection.unregister("incoming_rows")


def placeholders(values: Sized) -> str:
    """What stands in the brackets of `IN ()`: a mark for each value. Only IN lets DuckDB skip row groups of other runs."""
    return ", ".join("?" * len(values)) or "NULL"


_FILE_PROBLEMS = (
    (
        ("not a valid DuckDB",),
        Sentence("{path} is not a DuckDB file. Move it away, or choose another with --warehouse."),
    ),
    (  # the last one: the header, which alone says by which DuckDB the file was written
        ("with version number", "storage version", "in block at location 0"),
        Sentence(
            "DuckDB {version} cannot read {path}: newer, or damaged. Update duckdb, or rebuild: `workdim ingest --rebuild` keeps the old file."
        ),
    ),
    (
        ("replaying WAL", "WAL was created"),
        Sentence("{log} belongs to another state of {path}: move it away and run `workdim ingest`."),
    ),
    (
        ("Corrupt database", "Could not read enough bytes"),
        Sentence("{path} is damaged. `workdim ingest --rebuild` makes it anew from the parcels."),
    ),
)
"""Words of DuckDB's errors -> what is wrong with the file."""


@contextlib.contextmanager
def translated_errors(path: Path) -> Iterator[None]:
    """Translate failures of the file or the disk into WarehouseError or ResourceError; SQL errors pass through."""
    try:
        yield
    except duckdb.Error as error:
        clear = translate_error(path, error)
        if clear is None:
            raise
        raise clear from error


def translate_error(path: Path, error: duckdb.Error) -> WarehouseError | ResourceError | None:
    """The error for people; None if it is about a statement and not about the file."""
    text = str(error)
    first = text.splitlines()[0]
    if any(part in text for part in _DISK_FULL_MESSAGES):
        return DiskFull("No disk space for the warehouse {path}. Free some and run `workdim ingest`.", path=path)
    for signs, told in _FILE_PROBLEMS:
        if any(sign in text for sign in signs):
            return WarehouseError(told, path=path, log=wal_path(path), version=duckdb.__version__)
    is_wal_error = isinstance(error, duckdb.TransactionException) and f'file "{wal_path(path)}"' in text
    if isinstance(error, (duckdb.IOException, duckdb.PermissionException)) or is_wal_error:
        reason = first.rpartition("Error: ")[2].removeprefix("Failed to commit: ")
        return ResourceError("The warehouse {path} cannot be used: {reason}.", path=path, reason=reason)
    return None


def _locked_message(path: Path, text: str) -> Sentence:
    holder = re.search(r"PID (\d+)", text)
    who = (
        Sentence("Process {pid}", pid=holder[1]) if holder else Sentence("Another process or another part of this one")
    )
    return Sentence(
        "{who} has held the warehouse {path} too long. Close it there, and try again; finished runs are kept.",
        who=who,
        path=path,
    )


def _stamp(path: Path) -> tuple[int, int]:
    with refusing(ResourceError, "The warehouse {path} cannot be used: {reason}.", path=path):
        try:
            status = path.stat()
        except FileNotFoundError:
            return 0, 0
    if stat.S_ISDIR(status.st_mode):
        raise WarehouseError(
            "{path} is a folder. Name a file in it: --warehouse {file}.", path=path, file=path / "workdim.duckdb"
        )
    return status.st_mtime_ns, status.st_size
