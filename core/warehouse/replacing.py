"""Puts a new file in the place of a warehouse while nobody else has it, and never beside the log of another.

The present file is held by a connection that writes, so that other processes wait, and its log is folded in first:
DuckDB refuses a file beside a log that is not its own. The new file takes the name in one step, so that at no moment
somebody finds no warehouse and makes an empty one.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import duckdb
import polars as pl

from core.errors import ResourceError, WarehouseError, WarehouseLocked
from core.files import sync_folder
from core.warehouse import gate, migrations
from core.warehouse.copying import fold_log
from core.warehouse.warehouse import clear_errors, connect, is_there, wal


class Held:
    """The present file of a warehouse, which nobody else can open meanwhile; perhaps none, or one beyond reading."""

    def __init__(self, path: Path, wait: float, connection: duckdb.DuckDBPyConnection | None) -> None:
        self.path, self.is_readable = path, connection is not None
        self._wait, self._connection = wait, connection

    def read(self, what: str, sql: str, report: Callable[[str], None], params: Any = None) -> pl.DataFrame | None:
        """Rows of a file that may be ruined in part; None, with a line to `report`, where they cannot be read."""
        if self._connection is None:
            return None
        try:
            with clear_errors(self.path):
                return pl.DataFrame(self._connection.sql(sql, params=params))
        except duckdb.CatalogException:  # an earlier version had no such table
            return None
        except (WarehouseError, ResourceError, duckdb.Error) as error:
            is_damage = isinstance(error, WarehouseError)  # its line advises what is being done here
            reason = "its blocks are damaged" if is_damage else str(error).splitlines()[0].rstrip(".")
            report(f"{what} cannot be read in the old warehouse: {reason}.")
            return None

    def refuse_newer(self) -> None:
        """Raises WarehouseError for a file of a newer Workdim, which this one would make less of."""
        if self._connection is not None:
            with clear_errors(self.path):
                migrations.pending(self._connection)

    def exchange(self, new: Path, kept: Path) -> None:
        """Put `new` in the place of the file, which is kept as `kept`. Raises WarehouseLocked where it is in use."""
        fold_log(new)
        if os.name == "nt":  # Windows moves no file that is open, not even in this process
            self.close()
        remove(kept)
        if wal(self.path).exists():  # of a file that cannot be opened; its log must not lie beside the new one
            _replace(wal(self.path), wal(kept), self._wait)
        if self.path.exists():
            try:
                os.link(self.path, kept)
            except OSError:  # a file system without hard links: for a moment there is no warehouse
                _replace(self.path, kept, self._wait)
        _replace(new, self.path, self._wait)
        sync_folder(self.path.parent)

    def close(self) -> None:
        if self._connection is not None:
            with contextlib.suppress(duckdb.Error):
                self._connection.close()
        self._connection = None


@contextlib.contextmanager
def held(path: Path, wait: float, report: Callable[[str], None]) -> Iterator[Held]:
    """The present file until the end of the block; one that cannot be read is a line to `report`.

    Raises WarehouseLocked where another process does not let go, WarehouseError for a file of another program.
    """
    connection, line = None, ""
    try:
        with gate.closed(path, wait):
            if is_there(path):
                connection, line = _opened(path, wait)
            if line:
                report(f"The old warehouse could not be read: {line}")
            here = Held(path, wait, connection)
            try:
                yield here
            finally:
                here.close()
    except TimeoutError as error:
        raise WarehouseLocked(f"{path} is written to by another process: try again in a moment.") from error


def remove(path: Path) -> None:
    """A DuckDB file, its log and its gate."""
    for file in (path, wal(path), gate.gate_of(path)):
        with contextlib.suppress(FileNotFoundError):
            file.unlink()


def _opened(path: Path, wait: float) -> tuple[duckdb.DuckDBPyConnection | None, str]:
    """A connection that writes, with the log folded in; or None and why the file cannot be read."""
    connection = None
    try:
        with clear_errors(path):
            connection = connect(path, read_only=False, wait=wait)
            with contextlib.suppress(migrations.NewerSchema):  # the caller's affair
                migrations.pending(connection)
            connection.execute("CHECKPOINT")
            return connection, ""
    except WarehouseLocked:
        raise
    except (WarehouseError, ResourceError, duckdb.Error) as error:
        if connection is not None:
            connection.close()
        if isinstance(error, migrations.OtherProgram) or "has no room" in str(error):
            raise
        return None, str(error).splitlines()[0].partition(". ")[0].rstrip(".") + "."  # without advice to do this


def _replace(source: Path, target: Path, wait: float) -> None:
    """Rename; on Windows that fails while another process has the file open."""
    end = time.monotonic() + wait
    while True:
        try:
            os.replace(source, target)
            return
        except PermissionError as error:
            if time.monotonic() > end:
                raise WarehouseLocked(f"{source} is held by another process: close it there and try again.") from error
            time.sleep(0.1)
