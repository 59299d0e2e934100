"""Rebuild the DuckDB file from the files beside it, if it is lost, damaged or of another schema version.

The new file is built in bulk while readers use the old one; the gate closes only to catch up and to rename. Rows that only
the old file has, because their parcel or file is missing, are carried over and reported. Tables and views that people made
in it become files (own_tables.py), from which all is built.
Two processes never build in turn: the second finds it done.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import duckdb
import polars as pl
from filelock import FileLock, Timeout

from core.errors import ResourceError, Sentence, WarehouseError, WarehouseLocked
from core.files import make_folder, sync_folder, timestamp, unused_path
from core.store import restore, trash, user_files
from core.store.folder import Folder
from core.store.parcels import is_parcel
from core.tables import ADDED_TABLES, LONG_TABLES, TABLES
from core.warehouse import connection as gate
from core.warehouse import own_tables, schema, sync
from core.warehouse.connection import (
    WRITING,
    Connection,
    DiskFull,
    DuckDBInstance,
    attach,
    checkpoint,
    connect_private,
    exclusive,
    exists,
    transaction,
    translated_errors,
    wal_path,
)
from core.warehouse.schema import OtherProgram
from core.warehouse.sync import Progress, Report

_MAX_BUILD_SECONDS = 1800.0
"""How long to wait for another process that is building."""
_NEW_CATALOG = "workdim_rebuilt"


@dataclass(frozen=True)
class BuildResult:
    """The outcome of a rebuild."""

    run_ids: tuple[str, ...]
    """The runs loaded from parcels."""
    previous_file: Path | None
    """Where the old file is kept: after a restore, or if rows were carried over from it or could not be."""


def build(
    path: Path, wait: float, is_wanted: Callable[[], bool], report: Report, progress: Progress
) -> BuildResult | None:
    """Build the file at `path`; None if `is_wanted` says that another process has done it.

    `progress` is called with parcels done and in total, `report` for every parcel and file left out. Raises
    WarehouseLocked if another process holds the old file, NewerSchema or OtherProgram if that must not be replaced,
    ResourceError if there is no room; nothing is changed then.
    """
    make_folder(path.parent)
    with _build_lock(path):
        if not is_wanted():
            return None
        new_path = path.with_name(path.name + ".rebuild")
        _remove_database(new_path)
        try:
            with translated_errors(path):
                return _build(path, new_path, wait, report, progress)
        except OSError as error:
            raise ResourceError(
                "The warehouse cannot be built in {parent}: {reason}. Nothing was changed.",
                parent=path.parent,
                reason=error.strerror or error,
            ) from error
        finally:
            with contextlib.suppress(OSError):
                _remove_database(new_path)


def _build(path: Path, new_path: Path, wait: float, report: Report, progress: Progress) -> BuildResult:
    folder = Folder(path.parent)
    with exclusive(path, wait):
        restores = restore.pending_restores(folder)
        for backup in restores:
            restore.exchange_files(folder, backup)
    started_at = time.time()
    pending_changes = folder.pending_changes()
    with contextlib.closing(connect_private(new_path, False, wait)) as new:  # on all processors: this is no single run
        with transaction(new):
            schema.create_tables(new)
        _load_user_files(new, folder, report)
        run_ids = sync.ingest_runs(new, folder, sync.runs_to_ingest(new, folder), report, progress)
    messages: list[str] = []
    with _old_file(path, wait, messages.append) as (old, close_old), contextlib.ExitStack() as inside:
        if old is None:
            connection = inside.enter_context(contextlib.closing(connect_private(new_path, False, wait, WRITING)))
        else:
            connection, old_name = old, str(old.execute("SELECT current_database()").fetchall()[0][0])
            connection.execute(f"ATTACH '{_escaped(str(new_path))}' AS {_NEW_CATALOG}")
            connection.execute(f"USE {_NEW_CATALOG}.main")
        run_ids += _catch_up(connection, folder, started_at, report)
        if old is not None:
            # After a restore, user files written since the backup are not carried over: they are kept in a folder.
            _carry_over(connection, folder, old_name, not restores, messages.append)
        own_tables.load(connection, folder, report)
        if old is not None:
            connection.execute(f"USE {_main_schema(old_name)}")
            connection.execute(f"DETACH {_NEW_CATALOG}")
        inside.close()
        checkpoint(new_path)
        reason = "restore" if restores else "rebuild"
        keeps_old = messages or (restores and path.exists())
        previous_file = unused_path(path.with_name(f"{path.name}.before-{reason}-{timestamp()}")) if keeps_old else None
        _replace_database(path, new_path, previous_file, close_old, wait)
        for kind, marker in pending_changes:
            if kind in sync.KINDS:
                folder.unmark(kind, [marker])
        for backup in restores:
            restore.finish(folder, backup)
    for line in messages:
        report(line)
    return BuildResult(tuple(run_ids), previous_file)


def _load_user_files(connection: Connection, folder: Folder, report: Report) -> None:
    user_files.remove_partial_imports(folder)
    with transaction(connection):
        for kind in user_files.KINDS:
            sync.sync_rows(connection, folder, kind, user_files.list_ids(folder, kind), report)


def _catch_up(connection: Connection, folder: Folder, started_at: float, report: Report) -> list[str]:
    """Apply what was measured, annotated and deleted since the build began; no other process writes now."""

    def ignore(line: str) -> None:
        """Problems were reported during the build already."""

    run_ids = sync.ingest_runs(connection, folder, sync.runs_to_ingest(connection, folder), ignore)
    known = [row[0] for row in connection.execute("SELECT run_id FROM runs").fetchall()]
    changed = [run_id for run_id in known if _changed_since(folder.parcels / run_id, started_at)]
    with transaction(connection):
        sync.sync_rows(connection, folder, sync.RUN, changed, report)
        # The new file was built from files alone: one that is gone was deleted meanwhile, perhaps for good.
        sync.remove_runs(connection, [run_id for run_id in known if not is_parcel(folder.parcels / run_id)])
        for kind in user_files.KINDS:
            existing = set(user_files.list_ids(folder, kind))
            for file_id in set(sync.ids_in(connection, kind)) - existing:
                sync.remove_rows(connection, kind, file_id)
            sync.sync_rows(connection, folder, kind, sorted(existing), ignore)
    return run_ids


def _changed_since(parcel: Path, started_at: float) -> bool:
    """Whether the parcel is gone or its annotations are newer (a second is allowed for coarse clocks)."""
    try:
        return (parcel / "annotations.json").stat().st_mtime > started_at - 1.0
    except FileNotFoundError:
        return not is_parcel(parcel)


def _carry_over(connection: Connection, folder: Folder, old: str, with_people: bool, report: Report) -> None:
    """Copy runs, user files and people's own tables that only the old file has."""
    has_runs = "runs" in _columns_of(connection, old)
    if has_runs:
        _carry_over_runs(connection, folder, old, report)
        for kind in user_files.KINDS if with_people else ():
            _carry_over_user_files(connection, folder, old, kind, report)
    elsewhere = connection.execute(
        "SELECT schema_name || '.' || table_name FROM duckdb_tables() WHERE NOT internal AND database_name = ? "
        "AND schema_name NOT IN ('main', 'stored') ORDER BY ALL",
        [old],
    ).fetchall()
    for (table,) in elsewhere:
        report(Sentence("The table {table} stands in a schema of its own: it stays in the old file.", table=table))
    with _reporting_errors(Sentence("What people made in it"), report):
        own_tables.carry_over(connection, folder, old, with_people, report)


def _carry_over_runs(connection: Connection, folder: Folder, old: str, report: Report) -> None:
    try:
        sql = (
            f"SELECT run_id FROM {_main_schema(old)}.runs WHERE run_id NOT IN (SELECT run_id FROM runs) ORDER BY run_id"
        )
        missing = [row[0] for row in connection.execute(sql).fetchall()]
    except duckdb.Error as error:
        report(Sentence("The runs cannot be read in the old warehouse: {error}.", error=_first_line(error)))
        return
    columns = _columns_of(connection, old)
    for run_id in missing:
        if trash.is_deleted(folder, run_id):
            continue
        try:
            with transaction(connection):
                for table, key in (("models", "model_id"), ("corpora", "corpus_id")):
                    where = f"{key} = (SELECT {key} FROM {_main_schema(old)}.runs WHERE run_id = ?)"
                    beyond = f"{where} AND {key} NOT IN (SELECT {key} FROM {table})"
                    _copy_rows(connection, old, table, columns[table], beyond, [run_id])
                for table in ("runs", *LONG_TABLES):
                    if table in columns or table not in ADDED_TABLES:
                        _copy_rows(connection, old, table, columns[table], "run_id = ?", [run_id])
            report(
                Sentence(
                    "Run {run_id} has no parcel that can be read: its rows were taken over from the old warehouse.",
                    run_id=run_id,
                )
            )
        except (duckdb.Error, KeyError) as error:
            report(
                Sentence(
                    "Run {run_id} is lost, it has no parcel that can be read: {error}",
                    run_id=run_id,
                    error=_first_line(error),
                )
            )


def _carry_over_user_files(connection: Connection, folder: Folder, old: str, kind: str, report: Report) -> None:
    """Write files again for rows that have lost theirs."""
    declared, columns = user_files.KINDS[kind], _columns_of(connection, old)
    if not set(declared.tables) <= columns.keys():
        return
    with _reporting_errors(Sentence("What people wrote ({tables})", tables=declared.tables[0]), report):
        known = set(sync.ids_in(connection, kind))
        for file_id in sync.ids_in(connection, kind, _main_schema(old)):
            if file_id in known or user_files.is_deleted(folder, kind, file_id):
                continue
            if user_files.exists(folder, kind, file_id):
                report(
                    Sentence(
                        "The {kind} {one} was taken over from the old warehouse: its file cannot be read.",
                        kind=kind,
                        one=file_id,
                    )
                )
                for table in declared.tables:
                    _copy_rows(
                        connection, old, table, columns[table], sync.row_condition(kind, table), {"one": file_id}
                    )
                continue
            tables = {}
            for table in declared.tables:
                chosen = ", ".join(name for name in TABLES[table].names if name in columns[table])
                sql = f"SELECT {chosen} FROM {_main_schema(old)}.{table} WHERE {sync.row_condition(kind, table)}"
                rows = pl.DataFrame(connection.sql(sql, params={"one": file_id}))
                tables[table] = pl.DataFrame(rows.to_dicts(), schema=TABLES[table].schema)
            user_files.write(folder, kind, file_id, tables)
            with transaction(connection):
                sync.sync_rows(connection, folder, kind, [file_id])
            report(
                Sentence(
                    "The {kind} {one} had no file: it was written again from the old warehouse.", kind=kind, one=file_id
                )
            )


def _copy_rows(connection: Connection, old: str, table: str, known: set[str], where: str, params: object) -> None:
    """Copy rows of a table of the old file, in the columns that both have."""
    chosen = ", ".join(name for name in TABLES[table].names if name in known)
    source = f"(SELECT {chosen} FROM {_main_schema(old)}.{table} WHERE {where})"
    connection.execute(TABLES[table].insert_sql(source), params)


def _columns_of(connection: Connection, catalog: str) -> dict[str, set[str]]:
    sql = "SELECT table_name, column_name FROM duckdb_columns() WHERE database_name = ? AND schema_name = 'main'"
    columns: dict[str, set[str]] = {}
    for table, column in connection.execute(sql, [catalog]).fetchall():
        columns.setdefault(table, set()).add(column)
    return columns


@contextlib.contextmanager
def _reporting_errors(what: str, report: Report) -> Iterator[None]:
    try:
        yield
    except (duckdb.Error, WarehouseError, pl.exceptions.PolarsError) as error:
        report(
            Sentence(
                "{what} could not be taken over from the old warehouse: {error}.", what=what, error=_first_line(error)
            )
        )


@contextlib.contextmanager
def _build_lock(path: Path) -> Iterator[None]:
    lock = FileLock(path.with_name(path.name + ".building"), thread_local=False, fallback_to_soft=False)
    try:
        lock.acquire(timeout=_MAX_BUILD_SECONDS, poll_interval=0.05)
    except Timeout as error:
        raise WarehouseLocked(
            "Another process has been building {path} for very long. Look at it there.", path=path
        ) from error
    except (OSError, NotImplementedError) as error:
        reason = getattr(error, "strerror", None) or error
        raise ResourceError(
            "The warehouse {path} cannot be made: {reason}. Check its folder.", path=path, reason=reason
        ) from error
    try:
        yield
    finally:
        lock.release()


@contextlib.contextmanager
def _old_file(path: Path, wait: float, report: Report) -> Iterator[tuple[Connection | None, Callable[[], None]]]:
    """The present file, which nobody else can open until the end of the block or of the call that stands beside it; None
    where there is none that can be read. Raises WarehouseLocked where another process does not let go, OtherProgram for
    a file that is not ours."""
    with exclusive(path, wait), contextlib.ExitStack() as inside:
        connection = None
        if exists(path):
            try:
                with translated_errors(path):
                    # In a DuckDB of its own: what a failure leaves attached to it must not stay.
                    connection = inside.enter_context(attach(path, False, wait, instance=DuckDBInstance(WRITING)))
                    schema.is_current(connection)
                    connection.execute("CHECKPOINT")
            except (WarehouseError, ResourceError, duckdb.Error) as error:
                inside.close()
                connection = None
                if isinstance(error, (WarehouseLocked, schema.NewerSchema, OtherProgram, DiskFull)):
                    raise
                report(
                    Sentence(
                        "The old warehouse could not be read: {reason}.",
                        reason=str(error).splitlines()[0].partition(". ")[0].rstrip("."),
                    )
                )
        yield connection, inside.close


def _replace_database(
    path: Path, new: Path, previous_file: Path | None, close_old: Callable[[], None], wait: float
) -> None:
    """Replace the file by `new` in one step, so that there is a warehouse at any moment.

    The old file's log was folded in: DuckDB refuses a file beside a log that is not its own.
    """
    if os.name == "nt":  # which moves no file that is open, not even in this process
        close_old()
    if wal_path(path).exists():  # of a file that cannot be opened
        _rename(
            wal_path(path),
            wal_path(previous_file) if previous_file else wal_path(path).with_suffix(".before-rebuild"),
            wait,
        )
    if path.exists() and previous_file is not None:
        try:
            os.link(path, previous_file)
        except OSError:  # a file system without hard links: for a moment there is no warehouse
            _rename(path, previous_file, wait)
    _rename(new, path, wait)
    sync_folder(path.parent)


def _rename(source: Path, target: Path, wait: float) -> None:
    """Rename a file; on Windows that fails while another process has it open."""
    end = time.monotonic() + wait
    while True:
        try:
            os.replace(source, target)
            return
        except PermissionError as error:
            if time.monotonic() > end or os.name != "nt":
                raise WarehouseLocked(
                    "{source} is held by another process: close it there and try again.", source=source
                ) from error
            time.sleep(0.1)


def _remove_database(path: Path) -> None:
    """Remove a DuckDB file, its log and its gate."""
    for file in (path, wal_path(path), gate.gate_path(path)):
        with contextlib.suppress(FileNotFoundError):
            file.unlink()


def _main_schema(catalog: str) -> str:
    """The SQL name of the main schema of an attached file."""
    return f"{schema.quoted(catalog)}.main"


def _escaped(text: str) -> str:
    return text.replace("'", "''")


def _first_line(error: BaseException) -> str:
    return str(error).splitlines()[0].rstrip(".") if str(error) else type(error).__name__
