"""One warehouse file, opened for milliseconds: every read and write opens it, works and closes it again.

DuckDB lets one process write or many read, so nobody may keep a connection. A busy file is tried again until `wait`
seconds have passed; the gate (gate.py) sees to it that readers do not keep writers out.

Never open the warehouse file with plain Python (`open`, `shutil`) in a process that also uses it through DuckDB:
on POSIX systems, closing any handle of a file drops every lock that the process has on it.
"""

from __future__ import annotations

import contextlib
import logging
import random
import re
import stat
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import duckdb
import polars as pl

from core.errors import ResourceError, WarehouseError, WarehouseLocked
from core.files import folders_in, make_folder
from core.store.folder import Folder
from core.warehouse import gate, migrations, mirror, scores

_log = logging.getLogger("workdim")
_BUSY = (
    "Could not set lock",  # another process has it, POSIX
    "being used by another process",  # the same on Windows
    "different configuration",  # another thread of this process reads while we want to write, or the reverse
    "Unique file handle conflict",
)
_FULL = ("No space left", "not enough space", "disk is full", "File too large", "Disk quota")
_CONFIG: dict[str, str | bool | int | float | list[str]] = {
    "autoinstall_known_extensions": "false",
    "autoload_known_extensions": "false",
    "python_enable_replacements": "false",
}
_WRITING = _CONFIG | {"threads": "1"}
"""Rows of one run are few: a second thread costs more than it does (82 against 56 ms of work for an ingest)."""


_FIRST_DELAY = 0.005
"""Seconds until a busy file is tried again for the first time."""
_GATE_CLOSED, _GATE_OPEN = 0.4, 0.1
"""Seconds that a writer who cannot go in keeps readers out, and lets them in before it tries again."""


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


@dataclass(frozen=True)
class Warehouse:
    """A handle, not a connection: cheap to make, safe to share between threads."""

    path: Path
    wait: float = 10.0
    """Seconds to go on trying while another process holds the file."""

    def __post_init__(self) -> None:
        # One spelling per file: DuckDB would take two spellings for two files.
        object.__setattr__(self, "path", Path(self.path).expanduser().resolve())

    @property
    def folder(self) -> Folder:
        """The folder that the file lies in, with all it is built from."""
        return Folder(self.path.parent)

    @property
    def parcels(self) -> Path:
        """Finished measurements, one folder per run."""
        return self.folder.parcels

    @property
    def query_copies(self) -> Path:
        """Copies of the file that typed queries run on."""
        return self.path.parent / "query-copies"

    @property
    def jobs(self) -> Path:
        """Measurements under way, one folder per run."""
        return self.folder.jobs

    @property
    def mirror(self) -> Path:
        """What people wrote or imported, table by table: the rows that no parcel holds."""
        return self.path.parent / "mirror"

    @property
    def backups(self) -> Path:
        """Backups, and copies from before migrations."""
        return self.path.parent / "backups"

    def version(self) -> tuple[int, ...]:
        """Changes with every write: time and size of the file and of its write-ahead log."""
        return stamp_of(self.path)

    def read(self, sql: str, params: Any = None) -> pl.DataFrame:
        """The result of one query; the warehouse is made first if it is not there yet."""
        with self.opened() as opened:
            return opened.read(sql, params)

    @contextlib.contextmanager
    def opened(self) -> Iterator[OpenWarehouse]:
        """For several reads in a row: opening and closing costs as much as most of them. Nobody writes meanwhile."""
        with self._session(read_only=True) as connection:
            yield OpenWarehouse(connection)

    @contextlib.contextmanager
    def write(self, mirrored: Sequence[str] = ()) -> Iterator[duckdb.DuckDBPyConnection]:
        """A connection in one transaction: committed at the end of the block, or undone by any exception.

        `mirrored` names the tables of `mirror.TABLES` that the block changes: no parcel holds them.
        """
        with self._session(read_only=False) as connection:
            try:
                with _transaction(connection):
                    yield connection
                    mirror.write(connection, self.mirror, mirrored)
            except BaseException:
                mirror.put_back(connection, self.mirror, mirrored)
                raise

    def prepare(self) -> None:
        """Make the file, or bring it up to date; costs one short opening where nothing is to be done."""
        with self._session(read_only=False):
            pass

    @contextlib.contextmanager
    def _session(self, read_only: bool) -> Iterator[duckdb.DuckDBPyConnection]:
        with clear_errors(self.path):
            if not is_there(self.path):
                if read_only:
                    self.prepare()
                else:
                    make_folder(self.path.parent)
            with self._reading() if read_only else self._writing() as connection:
                yield connection

    @contextlib.contextmanager
    def _reading(self) -> Iterator[duckdb.DuckDBPyConnection]:
        connection = self._connected()
        try:
            if migrations.pending(connection):
                connection.close()
                self.prepare()
                connection = self._connected()
            yield connection
        finally:
            connection.close()

    def _connected(self) -> duckdb.DuckDBPyConnection:
        """Through the gate before every try: whoever met a writer at the file waits there until that one has left,
        and not by a clock of its own, by which it would meet the next one."""
        end = time.monotonic() + self.wait
        delay = _FIRST_DELAY
        while True:
            with self._told_as_locked():
                gate.pass_through(self.path, max(0.0, end - time.monotonic()))
            try:
                return connect(self.path, True, 0.0, told_wait=self.wait)
            except WarehouseLocked:
                if time.monotonic() + delay > end:
                    raise
            delay = _pause(delay)

    @contextlib.contextmanager
    def _writing(self) -> Iterator[duckdb.DuckDBPyConnection]:
        with contextlib.ExitStack() as leaving:
            connection = self._entered(leaving)
            if steps := migrations.pending(connection):
                is_new = len(steps) == len(migrations.MIGRATIONS)
                if not is_new:
                    from core.warehouse.copying import before_migration

                    connection.close()
                    connection, steps = before_migration(self.path, self.backups, self.wait)
                    leaving.callback(connection.close)
                with _transaction(connection):
                    migrations.apply(connection, steps)
                    scores.load_reference(connection)
                    self._bring_together(connection, is_new)
            yield connection

    def _entered(self, leaving: contextlib.ExitStack) -> duckdb.DuckDBPyConnection:
        """A connection behind the closed gate. While a program that knows no gate keeps the file, readers are let in
        again and again: they need not wait for what a writer waits for."""
        end = time.monotonic() + self.wait
        while True:
            left = max(0.0, end - time.monotonic())
            with contextlib.ExitStack() as inside:
                with self._told_as_locked():
                    inside.enter_context(gate.closed(self.path, left))
                try:
                    connection = connect(self.path, False, min(left, _GATE_CLOSED), _WRITING, told_wait=self.wait)
                except WarehouseLocked:
                    if time.monotonic() + _GATE_OPEN > end:
                        raise
                else:
                    inside.callback(connection.close)
                    leaving.push(inside.pop_all())
                    return connection
            time.sleep(_GATE_OPEN)

    @contextlib.contextmanager
    def _told_as_locked(self) -> Iterator[None]:
        try:
            yield
        except TimeoutError as error:
            raise WarehouseLocked(_locked_line(self.path, "", self.wait)) from error

    def _bring_together(self, connection: duckdb.DuckDBPyConnection, is_new: bool) -> None:
        """A new file takes back what the mirror holds of one that was lost; an older one gets its first mirror."""
        if not is_new:
            mirror.write(connection, self.mirror)
        elif not mirror.is_empty(self.mirror):
            with duckdb.connect(":memory:", config=_CONFIG) as rehearsal:
                migrations.apply(rehearsal, sorted(migrations.MIGRATIONS))
                mirror.read_back(connection, rehearsal, self.mirror, _log.warning)


def stamp_of(path: Path) -> tuple[int, ...]:
    """Time and size of the file and of its write-ahead log."""
    return (*_stamp(path), *_stamp(wal(path)))


def is_there(path: Path) -> bool:
    """Whether the file exists; an address that cannot even be asked about is an error with a name."""
    return _stamp(path) != (0, 0)


def wal(path: Path) -> Path:
    """DuckDB's write-ahead log: committed rows live there until the next clean close."""
    return path.with_name(path.name + ".wal")


def connect(
    path: Path, read_only: bool, wait: float, config: dict[str, Any] | None = None, told_wait: float | None = None
) -> duckdb.DuckDBPyConnection:
    """Open a DuckDB file, trying again while it is busy; WarehouseLocked where it stays so.

    `told_wait`: seconds that the error speaks of, where `wait` is only a part of them.
    """
    end = time.monotonic() + wait
    delay = _FIRST_DELAY
    while True:
        try:
            return duckdb.connect(path, read_only=read_only, config=_CONFIG if config is None else config)
        except duckdb.Error as error:
            if not any(text in str(error) for text in _BUSY):
                raise
            if time.monotonic() + delay > end:
                raise WarehouseLocked(_locked_line(path, str(error), told_wait or wait)) from error
            delay = _pause(delay)


def _pause(delay: float) -> float:
    """Sleep for about `delay` seconds; returns the next delay, a longer one."""
    time.sleep(delay * random.uniform(0.5, 1.5))
    return min(delay * 1.7, 0.25)


@contextlib.contextmanager
def _transaction(connection: duckdb.DuckDBPyConnection) -> Iterator[None]:
    connection.begin()
    try:
        yield
        connection.commit()
    except BaseException:
        # A failed commit has already ended the transaction, and then there is nothing to undo.
        with contextlib.suppress(duckdb.Error):
            connection.rollback()
        raise


@contextlib.contextmanager
def clear_errors(path: Path) -> Iterator[None]:
    """Failures of the file or the disk as one line that says what to do; mistakes in SQL pass through."""
    try:
        yield
    except WarehouseLocked:
        raise
    except WarehouseError as error:
        if str(error).startswith(("was ", "is ")):  # a sentence about this file, from the migrations
            way_back = _way_back(path) if isinstance(error, migrations.NewerSchema) else ""
            raise type(error)(f"The warehouse {path} {error}{way_back}") from error
        raise
    except duckdb.Error as error:
        clear = _explained(path, error)
        if clear is None:
            raise
        raise clear from error


def _explained(path: Path, error: duckdb.Error) -> WarehouseError | ResourceError | None:
    text = str(error)
    first = text.splitlines()[0]
    if any(part in text for part in _FULL):
        return ResourceError(
            f"The disk has no room for the warehouse {path}: nothing was changed. Free some space and run "
            "`python -m core ingest`."
        )
    if "not a valid DuckDB" in text:
        anew = ""
        if folders_in(path.parent / "parcels"):
            anew = ", or make it anew from the parcels beside it with `python -m core ingest --rebuild`"
        return WarehouseError(
            f"{path} is not a DuckDB file. Move it away{anew}, or choose another warehouse with --warehouse."
        )
    if "with version number" in text or "storage version" in text:
        return WarehouseError(f"{path} was written by a newer DuckDB than {duckdb.__version__}: update duckdb.")
    if "replaying WAL" in text or "WAL was created" in text:
        return WarehouseError(
            f"The log {wal(path)} belongs to another state of the warehouse {path}: move the log away, and run "
            "`python -m core ingest`."
        )
    if "Corrupt database" in text or "Could not read enough bytes" in text:
        return WarehouseError(f"{path} is damaged. `python -m core ingest --rebuild` makes it anew from the parcels.")
    is_of_the_log = isinstance(error, duckdb.TransactionException) and f'file "{wal(path)}"' in text
    if isinstance(error, (duckdb.IOException, duckdb.PermissionException)) or is_of_the_log:
        reason = first.rpartition("Error: ")[2].removeprefix("Failed to commit: ")
        todo = f" Check the permissions of the file and of {path.parent}." if "Permission denied" in reason else ""
        return ResourceError(f"The warehouse {path} cannot be used: {reason}.{todo}")
    return None


def _way_back(path: Path) -> str:
    """To a file that this version can read: the copy made before a newer one brought it up to date."""
    from core.warehouse.copying import step_copies

    known = [copy for copy in step_copies(path, path.parent / "backups") if copy.step in migrations.MIGRATIONS]
    if not known:
        return ""
    return f" As it was before that, it is kept: python -m core restore {known[0].file}"


def _locked_line(path: Path, text: str, wait: float) -> str:
    holder = re.search(r"PID (\d+)", text)
    who = f"Process {holder[1]}" if holder else "Another process or another part of this one"
    return (
        f"{who} has held the warehouse {path} for more than {wait:g} seconds. "
        "Close it there (an open DuckDB shell?) and try again; finished measurements wait in their parcels."
    )


def _stamp(path: Path) -> tuple[int, int]:
    try:
        status = path.stat()
    except FileNotFoundError:
        return 0, 0
    except OSError as error:
        raise ResourceError(f"The warehouse {path} cannot be used: {error.strerror or error}.") from error
    if stat.S_ISDIR(status.st_mode):
        raise WarehouseError(f"{path} is a folder. Name a file in it: --warehouse {path / 'workdim.duckdb'}.")
    return status.st_mtime_ns, status.st_size
