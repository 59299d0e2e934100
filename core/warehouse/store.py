"""One warehouse file, opened for milliseconds: every read and write opens it, works and closes it again.

DuckDB lets one process write or many read, so nobody may keep a connection. A busy file is tried again until `wait`
seconds have passed.

Never open the warehouse file with plain Python (`open`, `shutil`) in a process that also uses it through DuckDB:
on POSIX systems, closing any handle of a file drops every lock that the process has on it.
"""

from __future__ import annotations

import contextlib
import logging
import os
import random
import re
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb
import polars as pl

from core.errors import ResourceError, WarehouseError, WarehouseLocked
from core.warehouse import migrations, mirror, scores

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


def default_path() -> Path:
    """WORKDIM_WAREHOUSE, or data/local/workdim.duckdb in the project."""
    chosen = os.environ.get("WORKDIM_WAREHOUSE")
    return Path(chosen) if chosen else Path(__file__).parents[2] / "data" / "local" / "workdim.duckdb"


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
    def parcels(self) -> Path:
        """Finished measurements, one folder per run."""
        return self.path.parent / "parcels"

    @property
    def jobs(self) -> Path:
        """Measurements under way, one folder per run."""
        return self.path.parent / "jobs"

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
        with self._session(read_only=True) as connection:
            return pl.DataFrame(connection.sql(sql, params=params))

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
            connection = connect(self.path, read_only, self.wait)
            try:
                steps = migrations.pending(connection)
                if steps and read_only:
                    connection.close()
                    self.prepare()
                    connection = connect(self.path, read_only, self.wait)
                elif steps:
                    is_new = len(steps) == len(migrations.MIGRATIONS)
                    if not is_new:
                        from core.warehouse.copying import before_migration

                        connection.close()
                        connection, steps = before_migration(self.path, self.backups, self.wait)
                    with _transaction(connection):
                        migrations.apply(connection, steps)
                        scores.load_reference(connection)
                        self._bring_together(connection, is_new)
                yield connection
            finally:
                connection.close()

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


def folders_in(folder: Path) -> list[Path]:
    """The folders in `folder`, sorted by name; none where it does not exist."""
    try:
        with os.scandir(folder) as entries:
            return sorted(Path(entry.path) for entry in entries if entry.is_dir())
    except FileNotFoundError:
        return []
    except OSError as error:
        raise ResourceError(f"The folder {folder} cannot be read: {error.strerror or error}.") from error


def make_folder(folder: Path) -> None:
    """Create a folder of the warehouse, or say why that cannot be."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ResourceError(f"The folder {folder} cannot be made: {error.strerror or error}.") from error


def wal(path: Path) -> Path:
    """DuckDB's write-ahead log: committed rows live there until the next clean close."""
    return path.with_name(path.name + ".wal")


def connect(
    path: Path, read_only: bool, wait: float, config: dict[str, Any] | None = None
) -> duckdb.DuckDBPyConnection:
    """Open a DuckDB file, trying again while it is busy; WarehouseLocked where it stays so."""
    end = time.monotonic() + wait
    delay = 0.005
    while True:
        try:
            return duckdb.connect(path, read_only=read_only, config=_CONFIG if config is None else config)
        except duckdb.Error as error:
            if not any(text in str(error) for text in _BUSY):
                raise
            if time.monotonic() + delay > end:
                raise WarehouseLocked(_locked_line(path, str(error), wait)) from error
            time.sleep(delay * random.uniform(0.5, 1.5))
            delay = min(delay * 1.7, 0.25)


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
        return WarehouseError(
            f"{path} is not a DuckDB file. Move it away, or choose another warehouse with --warehouse."
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
    if isinstance(error, (duckdb.IOException, duckdb.PermissionException)):
        return ResourceError(f"The warehouse {path} cannot be used: {first.removeprefix('IO Error: ')}.")
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
    return status.st_mtime_ns, status.st_size
