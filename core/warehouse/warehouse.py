"""The warehouse as everybody uses it: read for a moment, or change a file and have its rows follow.

The files in its folder are the truth (core.store); the DuckDB file is built from them. Opening looks at the markers of
changes and at the names of the parcels, and brings in what a kill left; a file that is lost or of another version is
built anew.
"""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import duckdb
import polars as pl

from core.errors import ResourceError, Sentence, WarehouseError, WarehouseLocked
from core.files import names_in, refuse_where_read_only
from core.store import restore
from core.store.folder import Folder
from core.store.parcels import RUN_FILE
from core.warehouse import connection as files
from core.warehouse import schema, sync
from core.warehouse.build import Built, build
from core.warehouse.connection import Connection, OpenWarehouse, clear_errors, is_there, stamp_of, transaction
from core.warehouse.sync import Progress, Report, Unsettled

_log = logging.getLogger("workdim")
_READERS_WAIT = 0.9
"""Seconds that somebody who only wants to read waits for the right to write."""
_BEING_BROUGHT = 5.0
"""Seconds after its end within which a measurement that is not in yet is nothing to be told of."""
_TICK = 50_000_000
"""Nanoseconds: a folder that changed so shortly before is looked at again, because clocks of files tick coarsely."""
_LINE_EVERY = 5.0
"""Seconds."""
_settled: dict[Path, tuple[int, ...]] = {}
"""Folder -> when its parcels and markers last changed, of folders in which nothing was left to be done then: twenty
reads of a page do not list ten thousand names twenty times."""


@dataclass(frozen=True)
class TakenIn:
    """What became of what waited beside the file when somebody came to read."""

    run_ids: list[str] = field(default_factory=list)
    waiting: int = 0
    """Parcels that could not be written now, for the one `reason`."""
    reason: str = ""
    damaged: list[str] = field(default_factory=list)
    """One line for each file that can never be taken in as it is."""
    late: int = 0
    """Of those that wait, how many a reader is told of: not one whose own process is just bringing it in."""

    @property
    def lines(self) -> list[str]:
        if not self.late:
            return self.damaged
        return [Sentence("{n} finished measurements wait: {reason}", n=self.late, reason=self.reason), *self.damaged]


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
    def jobs(self) -> Path:
        """Measurements under way, one folder per run."""
        return self.folder.jobs

    @property
    def query_copies(self) -> Path:
        """Copies of the file that typed queries run on."""
        return self.folder.root / "query-copies"

    @property
    def backups(self) -> Path:
        return self.folder.backups

    @property
    def is_there(self) -> bool:
        """Whether there is a file, or what it can be built from: opening it does that."""
        return is_there(self.path) or bool(names_in(self.parcels)) or bool(names_in(self.folder.people))

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
        with clear_errors(self.path):
            if not is_there(self.path):
                self.prepare()
            with contextlib.ExitStack() as inside:
                connection = inside.enter_context(files.reading(self.path, self.wait))
                todo = self._todo(connection)
                if todo is None or todo:
                    inside.close()
                    if todo is None:
                        self.prepare()
                    else:
                        self._settle_to_read(todo, _log.warning)
                    connection = inside.enter_context(files.reading(self.path, self.wait))
                yield OpenWarehouse(connection)

    @contextlib.contextmanager
    def changing(self, kind: str, *ids: str) -> Iterator[Connection]:
        """The one way to change what the warehouse holds: inside the block the caller reads, changes and writes the
        files of these ids; afterwards their rows are made what the files say, in one transaction.

        Everybody else waits meanwhile. The connection is for reading. A marker in `pending/` stands for the change, so
        that whoever comes after a kill finishes it. An error in the block is raised once the rows follow whatever the
        files then hold. Kinds are `run` and those of core.store.people. Raises ResourceError where the files are
        changed and the DuckDB file has no room to follow: it does when there is some.
        """
        refuse_where_read_only()
        with self._writing({(kind, one) for one in ids}) as connection:
            self.folder.mark(kind, ids)
            try:
                yield connection
            except BaseException:
                with contextlib.suppress(WarehouseError, duckdb.Error):
                    self._follow(connection, kind, ids)
                raise
            try:
                self._follow(connection, kind, ids)
            except WarehouseError:  # a file that cannot be read: nothing is gained by trying again
                self.folder.unmark(kind, ids)
                raise
            except duckdb.Error as error:
                clear = files.explained(self.path, error)
                if clear is None:
                    raise
                why: str = (
                    Sentence("The disk has no room for {path}.", path=self.path)
                    if isinstance(clear, files.NoRoom)
                    else clear.message
                )
                raise ResourceError(
                    "The files beside the warehouse are changed, and its rows cannot follow yet: {reason} The next "
                    "command brings the change in.",
                    reason=why,
                ) from error

    @contextlib.contextmanager
    def write(self) -> Iterator[Connection]:
        """A connection in one transaction, for tables that users added: all others are built from files."""
        with self._writing() as connection, transaction(connection):
            yield connection

    def prepare(self) -> None:
        """Make the file, or build it anew where it is of another version; costs a look where nothing is to be done."""
        with clear_errors(self.path):
            if self._needs_building():
                build(self.path, self.wait, self._needs_building, _log.warning, _logged(self.path))

    def rebuild(self, report: Report = _log.warning, progress: Progress = lambda done, total: None) -> Built:
        """Build the file anew from the files beside it, whatever state it is in (see core.warehouse.build)."""
        is_there(self.path)  # a folder of that name is an error before anything is made
        with clear_errors(self.path):
            built = build(self.path, self.wait, lambda: True, report, progress)
        assert built is not None
        return built

    def unsettled(self) -> Unsettled:
        """What the files have and the rows do not follow yet; nothing is changed."""
        if not is_there(self.path):
            self.prepare()
        with clear_errors(self.path), files.reading(self.path, self.wait) as connection:
            return sync.unsettled(connection, self.folder)

    def settle(self, report: Report = _log.warning) -> list[str]:
        """Bring in what lies beside the file and is not in it: finished measurements, oldest first, and what a kill
        left. Returns the ids of the runs that came in.

        A file that is damaged is passed to `report` as one line and does not stop the others. A locked warehouse does.
        """
        taken: list[str] = []
        with self._writing(report=report, taken=taken):
            return taken

    def follow_files(self, report: Report = _log.warning) -> None:
        """Make all rows follow what was edited by hand: tags and notes, people's files, and what the trash holds."""
        with self._writing() as connection:
            sync.follow_all(connection, self.folder, report)

    def take_in(self) -> TakenIn:
        """As `settle` for somebody who only reads: what cannot be written now goes on waiting and is told."""
        todo = self.unsettled()
        damaged: list[str] = []
        return self._settle_to_read(todo, damaged.append, damaged) if todo else TakenIn()

    # --- within ---

    def _follow(self, connection: Connection, kind: str, ids: Collection[str]) -> None:
        with transaction(connection):
            sync.bring(connection, self.folder, kind, list(ids))
        self.folder.unmark(kind, ids)

    @contextlib.contextmanager
    def _writing(
        self,
        except_for: Collection[tuple[str, str]] = (),
        report: Report = _log.warning,
        taken: list[str] | None = None,
    ) -> Iterator[Connection]:
        """A connection that writes to a file in which nothing is left to be done, but for what the caller changes."""
        with clear_errors(self.path), contextlib.ExitStack() as inside:
            if not is_there(self.path):
                self.prepare()
            connection = inside.enter_context(files.writing(self.path, self.wait))
            stamp = self._stamp()  # before the look: what comes in between is looked at again
            todo = self._todo(connection, is_fresh=taken is not None)
            if todo is None:
                inside.close()
                self.prepare()
                connection = inside.enter_context(files.writing(self.path, self.wait))
                stamp = self._stamp()
                todo = self._todo(connection) or Unsettled()
            if todo := todo.without(except_for):
                came = sync.settle(connection, self.folder, todo, report)
                if taken is not None:
                    taken += came
                if not except_for:
                    self._remember(stamp)  # what is left there is damaged, and was reported
            yield connection

    def _todo(self, connection: Connection, is_fresh: bool = False) -> Unsettled | None:
        """What is left to be done, looked at once for each change of the folder; None where the file is to be built."""
        if not schema.check(connection):
            return None
        stamp = self._stamp()
        if _settled.get(self.path) == stamp and not is_fresh:
            return Unsettled()
        if restore.pending(self.folder):
            return None
        todo = sync.unsettled(connection, self.folder)
        if not todo:
            self._remember(stamp)
        return todo

    def _needs_building(self) -> bool:
        if not is_there(self.path) or restore.pending(self.folder):
            return True
        with files.reading(self.path, self.wait) as connection:
            return not schema.check(connection)

    def _stamp(self) -> tuple[int, ...]:
        return tuple(_changed(place) for place in (self.folder.parcels, self.folder.pending))

    def _remember(self, stamp: tuple[int, ...]) -> None:
        if max(stamp) < time.time_ns() - _TICK:
            _settled[self.path] = stamp

    def _settle_to_read(self, todo: Unsettled, report: Report, damaged: list[str] | None = None) -> TakenIn:
        damaged = [] if damaged is None else damaged
        # All who read would stand in line for it else, each to find that it is in already.
        is_brought = not todo.marked and all(map(self._is_being_brought, todo.waiting))
        patient = replace(self, wait=0.0 if is_brought else min(self.wait, _READERS_WAIT))
        try:
            return TakenIn(patient.settle(report), damaged=damaged)
        except (WarehouseLocked, ResourceError) as error:
            left = self.unsettled().waiting
            taken = [run_id for run_id in todo.waiting if run_id not in left]
            is_busy = isinstance(error, WarehouseLocked)
            late = [run_id for run_id in left if not (is_busy and self._is_being_brought(run_id))]
            n_waiting, n_late = (max(0, len(runs) - len(damaged)) for runs in (left, late))
            return TakenIn(taken, n_waiting, str(error), damaged, n_late)

    def _is_being_brought(self, run_id: str) -> bool:
        with contextlib.suppress(OSError):
            return time.time() - (self.parcels / run_id / RUN_FILE).stat().st_mtime < _BEING_BROUGHT
        return False


def _changed(place: Path) -> int:
    try:
        return place.stat().st_mtime_ns
    except OSError:
        return 0


def _logged(path: Path) -> Progress:
    """Progress of a building that nobody asked for, and so sees no bar: a line in the log every few seconds."""
    last = time.monotonic()

    def tell(done: int, total: int) -> None:
        nonlocal last
        if time.monotonic() - last > _LINE_EVERY:
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
