"""The warehouse: read it for a moment, or change a file and sync its rows.

The files in its folder are the truth (core.store); the DuckDB file is built from them. Opening checks the markers of
changes and the names of the parcels, and applies what a killed process left; a file that is lost or of another version is
rebuilt.
"""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import duckdb
import polars as pl

from core.errors import ResourceError, Sentence, WarehouseError, WarehouseLocked
from core.files import names_in, refuse_where_read_only
from core.store import user_files
from core.store.folder import Folder, Progress, no_progress
from core.store.parcels import RUN_FILE
from core.warehouse import connection as gate
from core.warehouse import schema, sync
from core.warehouse.connection import Connection, OpenWarehouse, exists, file_stamp, transaction, translated_errors
from core.warehouse.sync import BuildResult, PendingChanges, Report, build

_log = logging.getLogger("workdim")
_READER_WRITE_WAIT = 0.9
"""Seconds that a reader waits for the right to write."""
_INGEST_GRACE = 5.0
"""Seconds after its end within which a measurement is not reported as waiting: its own process is ingesting it."""
_CLOCK_TICK = 50_000_000
"""Nanoseconds: a folder that changed so recently is checked again, because file clocks are coarse."""
_LOG_INTERVAL = 5.0
"""Seconds."""
_synced_stamps: dict[Path, tuple[int, ...]] = {}
"""Warehouse -> change times of its folders when nothing was pending, so that twenty reads of a page do not list ten
thousand names twenty times."""


@dataclass(frozen=True)
class PendingResult:
    """The outcome of applying pending changes before a read."""

    run_ids: list[str] = field(default_factory=list)
    n_waiting: int = 0
    """Parcels that could not be ingested now."""
    damaged: list[str] = field(default_factory=list)
    """One line for each damaged file."""
    waiting: str = ""
    """Tells of parcels that wait, and why: not of those that their own process is ingesting just now."""

    @property
    def messages(self) -> list[str]:
        return [*filter(None, [self.waiting]), *self.damaged]


@dataclass(frozen=True)
class Warehouse:
    """A handle, not a connection: cheap to make, safe to share between threads."""

    path: Path
    wait: float = 10.0
    """Seconds to retry while another process holds the file."""

    def __post_init__(self) -> None:
        # One spelling per file: DuckDB takes two spellings for two files.
        object.__setattr__(self, "path", Path(self.path).expanduser().resolve())

    @property
    def folder(self) -> Folder:
        """The folder of the file, with everything it is built from."""
        return Folder(self.path.parent)

    @property
    def parcels(self) -> Path:
        """Finished measurements, one folder per run."""
        return self.folder.parcels

    @property
    def jobs(self) -> Path:
        """Running measurements, one folder per run."""
        return self.folder.jobs

    @property
    def query_copies(self) -> Path:
        """Copies of the file that typed queries run on."""
        return self.folder.root / "query-copies"

    @property
    def exists(self) -> bool:
        """Whether there is a DuckDB file, or files from which opening would build it."""
        return exists(self.path) or bool(names_in(self.parcels)) or bool(names_in(self.folder.people))

    def version(self) -> tuple[int, ...]:
        """A stamp that changes with every write: time and size of the file and of its write-ahead log."""
        return file_stamp(self.path)

    def read(self, sql: str, params: Any = None) -> pl.DataFrame:
        """The result of one query; creates the warehouse if it does not exist."""
        with self.open() as opened:
            return opened.read(sql, params)

    @contextlib.contextmanager
    def open(self) -> Iterator[OpenWarehouse]:
        """Open for several reads, since opening costs as much as most reads. Writers wait meanwhile."""
        with translated_errors(self.path):
            if not exists(self.path):
                self.prepare()
            with contextlib.ExitStack() as inside:
                connection = inside.enter_context(gate.attach(self.path, True, self.wait))
                todo = self._find_pending(connection)
                if todo is None or todo:
                    inside.close()
                    if todo is None:
                        self.prepare()
                    else:
                        for line in self._apply_for_reader(todo).damaged:
                            _log.warning(line)
                    connection = inside.enter_context(gate.attach(self.path, True, self.wait))
                yield OpenWarehouse(connection)

    @contextlib.contextmanager
    def update(self, kind: str, *ids: str) -> Iterator[Connection]:
        """The only way to change the warehouse: the block reads, changes and writes the files of these ids; afterwards
        their rows are synced in one transaction.

        Kinds are `run` and those of core.store.user_files. Other processes wait meanwhile; the connection is for
        reading. Markers in `pending/` let the next process finish the change after a kill. An error in the block is
        raised after the rows are synced with whatever the files then hold. Raises ResourceError if the files are changed
        but the disk is too full for the rows: they follow later.
        """
        refuse_where_read_only()
        with self._writing({(kind, file_id) for file_id in ids}) as (connection, _):
            lost = {one for one in ids if kind != sync.RUN and not user_files.exists(self.folder, kind, one)}
            self.folder.mark(kind, ids)
            try:
                yield connection
            except BaseException:
                # A file that was not there before either may be lost: its rows are then all that is left of it.
                there = [one for one in ids if one not in lost or user_files.exists(self.folder, kind, one)]
                self.folder.unmark(kind, lost.difference(there))
                with contextlib.suppress(WarehouseError, duckdb.Error):
                    self._sync(connection, kind, there)
                raise
            try:
                self._sync(connection, kind, ids)
            except WarehouseError:  # an unreadable file: a retry would not help
                self.folder.unmark(kind, ids)
                raise
            except duckdb.Error as error:
                clear = gate.translate_error(self.path, error)
                if clear is None:
                    raise
                raise ResourceError(
                    "The files are changed; the warehouse follows with the next command: {reason}", reason=clear.message
                ) from error

    def save(self, kind: str, files: Mapping[str, Mapping[str, user_files.Rows]]) -> str:
        """Write files of people: id -> table -> rows. Made by work of hours, they are not lost to a warehouse that is locked
        or full: the files are written all the same, and the rows follow when it is next opened. Then returns the reason,
        otherwise an empty string."""

        def write() -> None:
            for file_id, tables in files.items():
                user_files.write(self.folder, kind, file_id, tables)

        try:
            with self.update(kind, *files):
                write()
        except (WarehouseLocked, ResourceError) as error:
            # The file before its marker: another process could apply, and remove, a marker without a file.
            write()
            self.folder.mark(kind, files)
            return str(error)
        return ""

    def delete(self, kind: str, *ids: str) -> None:
        """Delete these files of people, and their rows."""
        with self.update(kind, *ids):
            for file_id in ids:
                user_files.delete(self.folder, kind, file_id)

    @contextlib.contextmanager
    def write(self) -> Iterator[Connection]:
        """A connection in one transaction, for users' own tables: all others are built from files."""
        with self._writing() as (connection, _), transaction(connection):
            yield connection

    def prepare(self) -> None:
        """Create the file, or rebuild it if it is of another version; cheap if nothing is to be done."""
        with translated_errors(self.path):
            if self._needs_building():
                build(self.path, self.wait, self._needs_building, _log.warning, _log_progress(self.path))

    def rebuild(self, report: Report = _log.warning, progress: Progress = no_progress) -> BuildResult:
        """Rebuild the file from the files beside it, whatever its state (see core.warehouse.sync)."""
        exists(self.path)  # a folder of that name is an error before anything is made
        with translated_errors(self.path):
            built = build(self.path, self.wait, lambda: True, report, progress)
        assert built is not None
        return built

    def pending_changes(self) -> PendingChanges:
        """Changes of files that the rows do not reflect yet; changes nothing."""
        if not exists(self.path):
            self.prepare()
        with translated_errors(self.path), gate.attach(self.path, True, self.wait) as connection:
            return sync.find_pending_changes(connection, self.folder)

    def apply_pending(self, report: Report = _log.warning) -> list[str]:
        """Apply pending changes: ingest finished measurements, oldest first, and finish what a killed process left.

        Returns the ids of the ingested runs. A damaged file is reported as one line and does not stop the others.
        """
        with self._writing(report=report, is_fresh=True) as (_, ingested):
            return ingested

    def sync_files(self, report: Report = _log.warning) -> None:
        """Sync all rows with files that were edited by hand: tags and notes, user files, the trash."""
        with self._writing() as (connection, _):
            sync.sync_all(connection, self.folder, report)

    def try_apply_pending(self) -> PendingResult:
        """As `apply_pending`, for a reader: what cannot be written now keeps waiting and is reported."""
        todo = self.pending_changes()
        return self._apply_for_reader(todo) if todo else PendingResult()

    # --- within ---

    def _sync(self, connection: Connection, kind: str, ids: Collection[str]) -> None:
        with transaction(connection):
            sync.sync_rows(connection, self.folder, kind, list(ids))
        self.folder.unmark(kind, ids)

    @contextlib.contextmanager
    def _writing(
        self, except_for: Collection[tuple[str, str]] = (), report: Report = _log.warning, is_fresh: bool = False
    ) -> Iterator[tuple[Connection, list[str]]]:
        """A writing connection, after applying all pending changes but those of the caller; and the runs ingested so."""
        with translated_errors(self.path), contextlib.ExitStack() as inside:
            todo = None
            if not exists(self.path):
                self.prepare()
            while todo is None:
                connection = inside.enter_context(gate.write_connection(self.path, self.wait))
                stamp = self._stamp()  # before the check: what changes in between is checked again
                todo = self._find_pending(connection, is_fresh)
                if todo is None:
                    inside.close()
                    self.prepare()
            ingested = []
            if todo := todo.without(except_for):
                ingested = sync.apply_pending(connection, self.folder, todo, report)
                if not except_for:
                    self._remember_stamp(stamp)  # what is left is damaged and was reported
            yield connection, ingested

    def _find_pending(self, connection: Connection, is_fresh: bool = False) -> PendingChanges | None:
        """Pending changes, checked once for each change of the folder; None if the file must be built."""
        if not schema.is_current(connection):
            return None
        stamp = self._stamp()
        if _synced_stamps.get(self.path) == stamp and not is_fresh:
            return PendingChanges()
        if self.folder.pending_restores():
            return None
        todo = sync.find_pending_changes(connection, self.folder)
        if not todo:
            self._remember_stamp(stamp)
        return todo

    def _needs_building(self) -> bool:
        if not exists(self.path) or self.folder.pending_restores():
            return True
        with gate.attach(self.path, True, self.wait) as connection:
            return not schema.is_current(connection)

    def _stamp(self) -> tuple[int, ...]:
        return tuple(_mtime_ns(place) for place in (self.folder.parcels, self.folder.pending))

    def _remember_stamp(self, stamp: tuple[int, ...]) -> None:
        if max(stamp) < time.time_ns() - _CLOCK_TICK:
            _synced_stamps[self.path] = stamp

    def _apply_for_reader(self, todo: PendingChanges) -> PendingResult:
        damaged: list[str] = []
        # Otherwise all readers would wait in line for it, each to find that it is ingested already.
        is_brought = not todo.changes and all(map(self._is_being_ingested, todo.run_ids))
        patient = replace(self, wait=0.0 if is_brought else min(self.wait, _READER_WRITE_WAIT))
        try:
            return PendingResult(patient.apply_pending(damaged.append), damaged=damaged)
        except (WarehouseLocked, ResourceError) as error:
            left = self.pending_changes().run_ids
            ingested = [run_id for run_id in todo.run_ids if run_id not in left]
            is_busy = isinstance(error, WarehouseLocked)
            late = [run_id for run_id in left if not (is_busy and self._is_being_ingested(run_id))]
            n_waiting, n_late = (max(0, len(runs) - len(damaged)) for runs in (left, late))
            waiting = Sentence(
                "{n} finished measurement waits: {reason}",
                "{n} finished measurements wait: {reason}",
                n=n_late,
                reason=error.message,
            )
            return PendingResult(ingested, n_waiting, damaged, waiting if n_late else "")

    def _is_being_ingested(self, run_id: str) -> bool:
        with contextlib.suppress(OSError):
            return time.time() - (self.parcels / run_id / RUN_FILE).stat().st_mtime < _INGEST_GRACE
        return False


def _mtime_ns(place: Path) -> int:
    try:
        return place.stat().st_mtime_ns
    except OSError:
        return 0


def _log_progress(path: Path) -> Progress:
    """Progress of an automatic rebuild, which has no progress bar: a log line every few seconds."""
    last = time.monotonic()

    def tell(done: int, total: int) -> None:
        nonlocal last
        if time.monotonic() - last > _LOG_INTERVAL:
            last = time.monotonic()
            _log.warning(
                Sentence(
                    "The warehouse {path} is built anew: {done} of {total} runs are in.",
                    path=path,
                    done=done,
                    total=total,
                )
            )

    return tell
