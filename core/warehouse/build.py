"""Rebuild the DuckDB file from the files beside it, if it is lost, damaged or of another schema version.

The new file is built in bulk while readers use the old one; the gate closes only to catch up and to rename. All is built from
files: tables and views that people made in the old file become files first (own_tables.py). Rows that only the old file
has, because their parcel or file is missing, are reported, and the old file is kept.
Two processes never build in turn: the second finds it done.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from pathlib import Path

import duckdb

from core.errors import ResourceError, Sentence, WarehouseError, WarehouseLocked
from core.files import NOTHING_CHANGED, make_folder, move, sync_folder, timestamp, unused_path, writing
from core.store import archive, parcels, user_files
from core.store.folder import Folder
from core.store.parcels import is_parcel, reason_of
from core.warehouse import connection as gate
from core.warehouse import own_tables, schema, sync
from core.warehouse.connection import (
    CONFIG,
    WRITING,
    Connection,
    DiskFull,
    DuckDBInstance,
    attach,
    checkpoint,
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


@dataclass(frozen=True)
class BuildResult:
    """The outcome of a rebuild."""

    run_ids: tuple[str, ...]
    """The runs loaded from parcels."""
    previous_file: Path | None
    """Where the old file is kept: after a restore, or if it has what no file has."""


def build(
    path: Path, wait: float, is_wanted: Callable[[], bool], report: Report, progress: Progress
) -> BuildResult | None:
    """Build the file at `path`; None if `is_wanted` says that another process has done it.

    `progress` is called with parcels done and in total, `report` for every parcel and file left out. Raises
    WarehouseLocked if another process holds the old file, NewerSchema or OtherProgram if that must not be replaced,
    ResourceError if there is no room; nothing is changed then.
    """
    make_folder(path.parent)
    with exclusive(path.with_name(path.name + ".building"), _MAX_BUILD_SECONDS):
        if not is_wanted():
            return None
        new_path = path.with_name(path.name + ".rebuild")
        _remove_database(new_path)
        try:
            with writing(path.parent, NOTHING_CHANGED), translated_errors(path):
                return _build(path, new_path, wait, report, progress)
        finally:
            with contextlib.suppress(OSError):
                _remove_database(new_path)


def _build(path: Path, new_path: Path, wait: float, report: Report, progress: Progress) -> BuildResult:
    folder = Folder(path.parent)
    with exclusive(path, wait):
        restores = archive.pending_restores(folder)
        for backup in restores:
            archive.exchange_files(folder, backup)
    pending_changes = folder.pending_changes()
    with duckdb.connect(new_path, config=CONFIG) as new:  # on all processors: this is no single run
        with transaction(new):
            schema.create_tables(new)
            for kind in user_files.KINDS:
                sync.sync_rows(new, folder, kind, user_files.list_ids(folder, kind), report)
        run_ids = sync.ingest_runs(new, folder, sync.runs_to_ingest(new, folder), report, progress)
    messages: list[str] = []
    with _old_file(path, wait, messages.append) as (old, close_old):
        if old is not None:
            with _reporting_errors(messages.append):
                own_tables.save(old, folder, messages.append, replace=not restores)
        with duckdb.connect(new_path, config=WRITING) as new:
            run_ids += _catch_up(new, folder)
            own_tables.load(new, folder, report)
            if old is not None:
                with _reporting_errors(messages.append):
                    # After a restore, what people wrote since the backup is kept in a folder.
                    messages += _left_behind(old, new, folder, pending_changes, with_people=not restores)
        checkpoint(new_path)
        reason = "restore" if restores else "rebuild"
        keeps_old = messages or (restores and path.exists())
        previous_file = unused_path(path.with_name(f"{path.name}.before-{reason}-{timestamp()}")) if keeps_old else None
        _replace_database(path, new_path, previous_file, close_old)
        for kind, marker in pending_changes:
            if kind in sync.KINDS:
                folder.unmark(kind, [marker])
        for backup in restores:
            archive.finish_restore(folder, backup)
    for line in messages:
        report(line)
    return BuildResult(tuple(run_ids), previous_file)


def _catch_up(connection: Connection, folder: Folder) -> list[str]:
    """Apply what was measured, annotated and deleted since the build began; no other process writes now."""

    def ignore(line: str) -> None:
        """Problems were reported during the build already."""

    run_ids = sync.ingest_runs(connection, folder, sync.runs_to_ingest(connection, folder), ignore)
    sync.sync_all(connection, folder, ignore)
    known = [row[0] for row in connection.execute("SELECT run_id FROM runs").fetchall()]
    with transaction(connection):
        # The new file was built from files alone: one that is gone was deleted meanwhile, perhaps for good.
        sync.remove_runs(connection, [run_id for run_id in known if not is_parcel(folder.parcels / run_id)])
        for kind in user_files.KINDS:
            for file_id in set(sync.ids_in(connection, kind)) - set(user_files.list_ids(folder, kind)):
                sync.remove_rows(connection, kind, file_id)
    return run_ids


def _left_behind(
    old: Connection, new: Connection, folder: Folder, changing: Collection[tuple[str, str]], with_people: bool
) -> Iterator[Sentence]:
    """A line for all that only the old file has: the new one is built from files, which these rows lack."""
    tables = {name for (name,) in old.execute("SELECT table_name FROM duckdb_tables() WHERE NOT internal").fetchall()}
    if "runs" in tables:
        before, now = ({row[0] for row in each.execute("SELECT run_id FROM runs").fetchall()} for each in (old, new))
        for run_id in sorted(before - now):
            if not parcels.is_deleted(folder, run_id):
                yield Sentence("Run {run_id} has no readable parcel: its rows stay in the old file.", run_id=run_id)
    for kind, declared in user_files.KINDS.items() if with_people else ():
        if declared.tables[0] in tables:
            for one in sorted({*sync.ids_in(old, kind)} - {*sync.ids_in(new, kind)}):
                if (kind, one) not in changing:  # otherwise a killed process has just deleted it
                    yield Sentence(
                        "The {kind} {one} has no readable file: its rows stay in the old file.", kind=kind, one=one
                    )
    elsewhere = old.execute(
        "SELECT schema_name || '.' || table_name FROM duckdb_tables() "
        "WHERE NOT internal AND schema_name NOT IN ('main', 'stored') ORDER BY ALL"
    ).fetchall()
    for (table,) in elsewhere:
        yield Sentence("Table {table} has a schema of its own and stays in the old file.", table=table)


@contextlib.contextmanager
def _reporting_errors(report: Report) -> Iterator[None]:
    try:
        yield
    except (duckdb.Error, WarehouseError) as error:
        report(Sentence("The old warehouse could not be read: {reason}.", reason=reason_of(error)))


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


def _replace_database(path: Path, new: Path, previous_file: Path | None, close_old: Callable[[], None]) -> None:
    """Replace the file by `new` in one step, so that there is a warehouse at any moment.

    The old file's log was folded in: DuckDB refuses a file beside a log that is not its own.
    """
    if os.name == "nt":  # which moves no file that is open, not even in this process
        close_old()
    if wal_path(path).exists():  # of a file that cannot be opened
        move(
            wal_path(path), wal_path(previous_file) if previous_file else wal_path(path).with_suffix(".before-rebuild")
        )
    if path.exists() and previous_file is not None:
        try:
            os.link(path, previous_file)
        except OSError:  # a file system without hard links: for a moment there is no warehouse
            move(path, previous_file)
    move(new, path)
    sync_folder(path.parent)


def _remove_database(path: Path) -> None:
    """Remove a DuckDB file, its log and its gate."""
    for file in (path, wal_path(path), gate.gate_path(path)):
        with contextlib.suppress(FileNotFoundError):
            file.unlink()
