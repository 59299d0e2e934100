"""From the files, which are the truth, to the rows of the DuckDB file: synced after a change, or built anew.

`sync_rows` is the only way from a file to rows: for a change, an ingest, the recovery after a kill and a rebuild. If a
file exists, its rows become what it holds. If it is gone, its rows go only where it was being changed, as a marker in
`pending/` tells, and those of a run only where its parcel is in the trash: what is lost another way deletes nothing.

A DuckDB file that is lost, damaged or of another schema version is built anew (`build`), in bulk while readers use the old
one; the gate closes only to catch up and to rename. Tables and views that people made in the old file become files first.
Rows that only the old file has, because their parcel or file is missing, are reported, and the old file is kept. Two
processes never build in turn: the second finds it done.
"""

from __future__ import annotations

import contextlib
import glob
import itertools
import os
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb
import polars as pl
import pyarrow.parquet as pq

from core.errors import ResourceError, Sentence, WarehouseError, WarehouseLocked
from core.files import (
    NOTHING_CHANGED,
    make_folder,
    move,
    names_in,
    sync_folder,
    timestamp,
    unused_path,
    utc_now,
    writing,
)
from core.store import archive, parcels, user_files
from core.store.folder import Folder, Progress, no_progress
from core.store.parcels import (
    SINGLE_ROW_TABLES,
    ParcelHeader,
    annotation_columns,
    damaged,
    is_deleted,
    is_parcel,
    naming_damage,
    read_header,
    read_tables,
    reason_of,
)
from core.tables import LONG_TABLES, PILOT_SOURCE, TABLES, SavedQueryRow
from core.tables.columns import literal
from core.warehouse import schema
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
    first_column,
    gate_path,
    insert,
    placeholders,
    transaction,
    translated_errors,
    wal_path,
)
from core.warehouse.schema import OtherProgram

RUN = "run"
KINDS = (RUN, *user_files.KINDS)
BATCH, BATCH_BYTES = 200, 16 * 2**20
"""Parcels that are in memory together, and stored by one statement for each table: so many, of so many bytes in their files. In
memory they take about 40 times as much."""
Parcel = tuple[ParcelHeader, dict[str, pl.DataFrame]]
"""With its long tables, all checked."""
Report = Callable[[str], None]

_SORT_ORDER = {
    "layer_estimates": ("run_id", "cloud", "transform", "estimator", "n1", "n2", "state", "layer"),
    "layer_correlators": ("run_id", "cloud", "correlator", "state", "layer"),
    "layer_distributions": ("run_id", "quantity", "bin_lower", "layer"),
    "run_checks": ("run_id", "check_name", "layer"),
}
"""Rows are stored run by run, and within a run so that equal values are adjacent and compress well (bin edges, the same on
every layer, take 12.6 instead of 47.7 MB for 1,000 runs). Other tables are not sorted."""
CONTENT_HASHES = {"models": ("model_id", "weights_sha256"), "corpora": ("corpus_id", "sha256")}
"""Table -> its key and the hash that must be the same for equal keys."""
_DELETE_UNUSED = (
    "DELETE FROM models WHERE model_id NOT IN (SELECT model_id FROM runs)",
    "DELETE FROM corpora WHERE corpus_id NOT IN (SELECT corpus_id FROM runs)",
)
"""A model or text is deleted with its last run, also where a plan names it, as a rebuilt file would not have it."""


@dataclass(frozen=True)
class PendingChanges:
    """Changes of files that the rows do not reflect yet."""

    changes: tuple[tuple[str, str], ...] = ()
    """Kind and id of files that a killed process was changing."""
    run_ids: tuple[str, ...] = ()
    """Runs whose parcels are not ingested, oldest first."""

    def __bool__(self) -> bool:
        return bool(self.changes or self.run_ids)

    def without(self, others: Collection[tuple[str, str]]) -> PendingChanges:
        """The changes without those of `others` (kind, id), which the caller is making."""
        return PendingChanges(
            tuple(mark for mark in self.changes if mark not in others),
            tuple(run_id for run_id in self.run_ids if (RUN, run_id) not in others),
        )


def find_pending_changes(connection: Connection, folder: Folder) -> PendingChanges:
    """Look only at the markers and at the names of the parcels: ten thousand names take a few milliseconds."""
    marked = tuple(mark for mark in folder.pending_changes() if mark[0] in KINDS)
    return PendingChanges(marked, tuple(runs_to_ingest(connection, folder)))


def runs_to_ingest(connection: Connection, folder: Folder) -> list[str]:
    """Runs whose parcels are not in the file, oldest first (run ids are time-ordered)."""
    names = names_in(folder.parcels)
    if names:
        names.difference_update(first_column(connection, "SELECT run_id FROM runs"))
    # Only unknown names are checked: looking at ten thousand known parcels would be slow.
    return [name for name in sorted(names) if is_parcel(folder.parcels / name)]


def apply_pending(connection: Connection, folder: Folder, pending: PendingChanges, report: Report) -> list[str]:
    """Apply pending changes in short transactions; returns the ids of the runs that were ingested.

    A file that cannot be read is reported as one line and does not stop the others.
    """
    for kind, marks in itertools.groupby(pending.changes, key=lambda mark: mark[0]):
        ids = [file_id for _, file_id in marks]
        with transaction(connection):
            sync_rows(connection, folder, kind, ids, report)
        folder.unmark(kind, ids)
    return ingest_runs(connection, folder, pending.run_ids, report)


def ingest_runs(
    connection: Connection,
    folder: Folder,
    run_ids: Sequence[str],
    report: Report,
    progress: Progress = no_progress,
    at_once: int | None = None,
) -> list[str]:
    """Ingest many runs, so many `at_once` (`BATCH`) in a transaction; returns the ids of those that were ingested."""
    ingested: list[str] = []
    n_done = 0
    for batch in _batches(folder, run_ids, at_once or BATCH):
        try:
            with transaction(connection):
                ingested += sync_rows(connection, folder, RUN, batch, report)
        except (duckdb.ConstraintException, duckdb.ConversionException, duckdb.InvalidInputException) as error:
            # One of them has an unforeseen error: ingest each alone, so that it does not stop the others.
            if len(batch) == 1:
                report(str(damaged(folder.parcels / batch[0], error)))
            else:
                ingested += ingest_runs(connection, folder, batch, report, at_once=1)
        n_done += len(batch)
        progress(n_done, len(run_ids))
    return ingested


def _batches(folder: Folder, run_ids: Sequence[str], most: int) -> Iterator[list[str]]:
    """`most` runs, or fewer where their files are large."""
    batch: list[str] = []
    n_bytes = 0
    for run_id in run_ids:
        size = 0
        with contextlib.suppress(OSError):  # gone meanwhile, which whoever reads it says
            size = sum(file.stat().st_size for file in (folder.parcels / run_id).iterdir())
        if batch and (len(batch) == most or n_bytes + size > BATCH_BYTES):
            yield batch
            batch, n_bytes = [], 0
        batch.append(run_id)
        n_bytes += size
    if batch:
        yield batch


def sync_all(connection: Connection, folder: Folder, report: Report) -> None:
    """Sync the rows with every file that may have been edited by hand, and with the trash."""
    known = first_column(connection, "SELECT run_id FROM runs")
    with transaction(connection):
        sync_rows(connection, folder, RUN, known, report)
        for kind in user_files.KINDS:
            sync_rows(connection, folder, kind, user_files.list_ids(folder, kind), report)


def names_in_rows(connection: Connection, kind: str) -> dict[str, str]:
    """Id -> name of all user files of a kind that have rows in a DuckDB file; where no person typed a name, the id."""
    declared = user_files.KINDS[kind]
    names = first_column(connection, f"SELECT {declared.key} FROM {declared.tables[0]} ORDER BY ALL")
    return {user_files.hash_name(name) if declared.is_hashed else name: name for name in names}


_CALLED = {
    RUN: Sentence("run"),
    "pilot": Sentence("pilot"),
    "scores": Sentence("file of scores"),
    "alias": Sentence("alias"),
    "plan": Sentence("plan"),
    "query": Sentence("saved query"),
    "rule": Sentence("rule"),
    "recipe": Sentence("kept report"),
}


def called(kind: str, name: str) -> Sentence:
    """A run or user file in a sentence: `saved query mine`."""
    return Sentence("{kind} {name}", kind=_CALLED[kind], name=name)


def sync_rows(
    connection: Connection, folder: Folder, kind: str, ids: Sequence[str], report: Report | None = None
) -> list[str]:
    """Make the rows of these files what the files hold, within the caller's transaction; returns the ids of new runs.

    A file that cannot be read keeps its rows: it is reported as one line, or raised as WarehouseError without `report`.
    """
    if kind == RUN:
        return _sync_runs(connection, folder, ids, report)
    for file_id in ids:
        with _reporting(report):
            try:
                tables = user_files.read(folder, kind, file_id)
            except ValueError:  # the name of a foreign file in pending/ is no id
                continue
            remove_rows(connection, kind, file_id)
            for table, rows in (tables or {}).items():
                insert(connection, table, rows)
    return []


@contextlib.contextmanager
def _reporting(report: Report | None) -> Iterator[None]:
    """Report as one line what cannot be read, and go on; without `report` it is raised."""
    try:
        yield
    except WarehouseError as error:
        if report is None:
            raise
        report(str(error))


def row_condition(kind: str, table: str) -> str:
    """The SQL condition for the rows of one user file in a table; `$one` is its id."""
    declared = user_files.KINDS[kind]
    if table == "scores" and kind == "pilot":
        return f"file_sha256 = '' AND source = '{PILOT_SOURCE}' || $one"
    key = f"left(sha256({declared.key}), {user_files.HASH_LENGTH})" if declared.is_hashed else declared.key
    return f"{key} = $one"


def remove_runs(connection: Connection, run_ids: Sequence[str]) -> None:
    """Delete all rows of these runs, and the models and texts without other runs."""
    for table in ("runs", *LONG_TABLES):
        connection.execute(
            f"DELETE FROM {TABLES[table].stored_name} WHERE run_id IN ({placeholders(run_ids)})", list(run_ids)
        )
    for statement in _DELETE_UNUSED:
        connection.execute(statement)


def known_content(connection: Connection) -> dict[str, dict[str, str]]:
    """Table -> key -> hash of the models and texts in a DuckDB file."""
    return {
        table: dict(connection.execute(f"SELECT {key}, {content} FROM {table}").fetchall())
        for table, (key, content) in CONTENT_HASHES.items()
    }


def check_content(known: Mapping[str, Mapping[str, str]], rows: Mapping[str, Mapping[str, Any]]) -> None:
    """Raises WarehouseError if the model or text of a parcel has another content in the warehouse."""
    for table, (key, content) in CONTENT_HASHES.items():
        name, here = rows[table][key], rows[table][content]
        if known[table].get(name, here) != here:
            raise WarehouseError(
                "{name} is in the warehouse with other content: this parcel was left where it is.", name=name
            )


def remove_rows(connection: Connection, kind: str, file_id: str) -> None:
    for table in user_files.KINDS[kind].tables:
        connection.execute(f"DELETE FROM {table} WHERE {row_condition(kind, table)}", {"one": file_id})


def _sync_runs(connection: Connection, folder: Folder, run_ids: Sequence[str], report: Report | None) -> list[str]:
    known = dict(
        connection.execute(
            "SELECT run_id, {'tags': tags, 'note': note} FROM runs WHERE run_id IN (SELECT unnest(?))", [list(run_ids)]
        ).fetchall()
    )
    new: list[Parcel] = []
    deleted = []
    for run_id in run_ids:
        with _reporting(report):
            if not is_parcel(folder.parcels / run_id):
                if run_id in known and is_deleted(folder, run_id):
                    deleted.append(run_id)
            elif run_id in known:
                _update_annotations(connection, folder, run_id, known[run_id])
            else:
                header = read_header(folder.parcels / run_id)
                new.append((header, read_tables(header)))
    if deleted:
        remove_runs(connection, deleted)
    return _insert_runs(connection, new, report) if new else []


def _update_annotations(connection: Connection, folder: Folder, run_id: str, known: dict[str, Any]) -> None:
    """Update the annotations of a known run: nothing else of a parcel ever changes."""
    with naming_damage(folder.parcels / run_id):
        stored = annotation_columns(folder.parcels / run_id, known["tags"])
    if stored is not None and stored != known:
        connection.execute(
            "UPDATE runs SET tags = ?, note = ? WHERE run_id = ?", [stored["tags"], stored["note"], run_id]
        )


def _insert_runs(connection: Connection, parcels: list[Parcel], report: Report | None) -> list[str]:
    """Insert what these parcels hold, without those of a content that conflicts; returns the ids of the others."""
    known = known_content(connection)
    rows: dict[str, list[dict[str, Any]]] = {table: [] for table in SINGLE_ROW_TABLES}
    fitting = []
    for header, tables in parcels:
        with _reporting(report):
            check_content(known, header.rows)
            fitting.append(tables)
            rows["runs"].append(header.rows["runs"])
            for table, (key, content) in CONTENT_HASHES.items():
                row = header.rows[table]
                if row[key] not in known[table]:
                    known[table][row[key]] = row[content]
                    rows[table].append(row)
    for table in SINGLE_ROW_TABLES:
        insert(connection, table, pl.DataFrame(rows[table], schema=TABLES[table].schema))
    for table in LONG_TABLES if fitting else ():
        insert(connection, table, pl.concat([tables.pop(table) for tables in fitting]).sort(_SORT_ORDER.get(table, [])))
    return [row["run_id"] for row in rows["runs"]]


# --- tables and views that people made in the DuckDB file with another program: kept as files, like all that they write --
#
#     people/tables/<id>.parquet      a table; its name stands in the file
#     people/queries/<id>.json        a view: a saved query, which typed SQL reads by its name, as it does a table
#
# A view's text may come from anybody, and may read files or take hours: it is never run here, only in the sandbox of typed SQL.

_NAME_IN_FILE = "workdim_table"


def own_table_files(folder: Folder) -> list[Path]:
    """The files of people's tables, in a fixed order."""
    place = folder.people / "tables"
    return [place / name for name in sorted(names_in(place)) if name.endswith(".parquet")]


def own_table_name(file: Path) -> str:
    """The name of the table in a file. Raises WarehouseError for a file that is damaged or was renamed."""
    with naming_damage(file):
        name = (pq.read_metadata(file).metadata or {}).get(_NAME_IN_FILE.encode(), b"").decode()
        if file.stem != user_files.hash_name(name):
            raise ValueError("it holds no table of Workdim")
    return name


def damaged_files(folder: Folder) -> dict[Path, str]:
    """Each file of people that cannot be read, own tables and all others -> why."""
    damaged: dict[Path, str] = {}
    for kind in user_files.KINDS:
        for file_id in user_files.list_ids(folder, kind):
            try:
                user_files.read(folder, kind, file_id)
            except WarehouseError as error:
                damaged[user_files.path_of(folder, kind, file_id)] = error.message
    for file in own_table_files(folder):
        try:
            own_table_name(file)
        except WarehouseError as error:
            damaged[file] = error.message
    return damaged


def save_own_tables(connection: Connection, folder: Folder, report: Report, replace: bool = True) -> list[str]:
    """Write people's tables and views of a DuckDB file to files; returns the ids of new saved queries.

    `replace` says whether a table's file is written again. `report` gets a line for each that cannot be kept.
    """
    tables, views = schema.user_relations(connection)
    place, new = folder.people / "tables", []
    for table in tables:
        file = place / f"{user_files.hash_name(table)}.parquet"
        if file.exists() and not replace:
            continue
        make_folder(place)
        part = file.with_suffix(".part")
        source = f"main.{schema.quoted(table)}"
        options = f"FORMAT parquet, COMPRESSION zstd, KV_METADATA {{{_NAME_IN_FILE}: {literal(table)}}}"
        try:
            connection.execute(f"COPY {source} TO {literal(str(part))} ({options})")
            os.replace(part, file)
        except (duckdb.Error, OSError) as error:
            part.unlink(missing_ok=True)
            report(Sentence("The table {table} cannot be kept: {reason}.", table=table, reason=reason_of(error)))
    for view, statement in views.items():
        query_id, select = user_files.hash_name(view), select_of(statement)
        if there := user_files.read(folder, "query", query_id):
            if there["saved_queries"]["sql"].to_list() != [select]:
                report(Sentence("The view {view} cannot be kept: a saved query has its name.", view=view))
            continue
        row = SavedQueryRow(view, select, None, utc_now())
        user_files.write(folder, "query", query_id, {"saved_queries": [row]})
        new.append(query_id)
    return new


def load_own_tables(connection: Connection, folder: Folder, report: Report) -> None:
    """Make people's tables from their files. `report` gets a line for each that cannot be made."""
    for file in own_table_files(folder):
        try:
            name = schema.quoted(own_table_name(file))
            source = "read_parquet(?, hive_partitioning = false)"
            connection.execute(f"CREATE TABLE {name} AS FROM {source}", [glob.escape(str(file))])
        except WarehouseError as error:
            report(error.message)
        except duckdb.Error as error:
            report(Sentence("The table of {file} cannot be made: {reason}.", file=file, reason=reason_of(error)))


def select_of(statement: str) -> str:
    """The SELECT of a CREATE VIEW statement, as DuckDB words it."""
    tokens = duckdb.tokenize(statement)
    as_ = next(at for at, kind in tokens if kind == duckdb.token_type.keyword and statement[at : at + 3] == "AS ")
    columns = next((at for at, _ in tokens if at < as_ and statement[at] == "("), None)
    select = statement[as_ + 3 :].rstrip("; \n")
    return select if columns is None else f"SELECT * FROM ({select}) AS named{statement[columns:as_].strip()}"


# --- the file built anew -----------------------------------------------------------------------------------------------

_SILENT_SECONDS, _MAX_BUILD_SECONDS = 1.0, 1800.0
"""How long to wait for another process that is building: before it is said, and at most."""


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
    with _as_only_builder(path, report):
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


@contextlib.contextmanager
def _as_only_builder(path: Path, report: Report) -> Iterator[None]:
    """Wait for another process that builds this file, and say so. Raises WarehouseLocked if it does not end."""
    with contextlib.ExitStack() as held:
        try:
            held.enter_context(exclusive(path, _SILENT_SECONDS, "building"))
        except WarehouseLocked:
            report(
                Sentence(
                    "Another process builds the warehouse {path} from its files: this one waits for it.", path=path
                )
            )
            held.enter_context(exclusive(path, _MAX_BUILD_SECONDS, "building"))
        yield


def _build(path: Path, new_path: Path, wait: float, report: Report, progress: Progress) -> BuildResult:
    folder = Folder(path.parent)
    with exclusive(path, wait):
        restores = folder.pending_restores()
        for backup in restores:
            archive.exchange_files(folder, backup)
    pending_changes = folder.pending_changes()
    with duckdb.connect(new_path, config=CONFIG) as new:  # on all processors: this is no single run
        with transaction(new):
            schema.create_tables(new)
            for kind in user_files.KINDS:
                sync_rows(new, folder, kind, user_files.list_ids(folder, kind), report)
        run_ids = ingest_runs(new, folder, runs_to_ingest(new, folder), report, progress)
    messages: list[str] = []
    with _old_file(path, wait, messages.append) as (old, close_old):
        if old is not None:
            with _reporting_errors(messages.append):
                save_own_tables(old, folder, messages.append, replace=not restores)
        with duckdb.connect(new_path, config=WRITING) as new:
            run_ids += _catch_up(new, folder)
            load_own_tables(new, folder, report)
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
            if kind in KINDS:
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

    run_ids = ingest_runs(connection, folder, runs_to_ingest(connection, folder), ignore)
    sync_all(connection, folder, ignore)
    known = first_column(connection, "SELECT run_id FROM runs")
    with transaction(connection):
        # The new file was built from files alone: one that is gone was deleted meanwhile, perhaps for good.
        remove_runs(connection, [run_id for run_id in known if not is_parcel(folder.parcels / run_id)])
        for kind in user_files.KINDS:
            for file_id in names_in_rows(connection, kind).keys() - set(user_files.list_ids(folder, kind)):
                remove_rows(connection, kind, file_id)
    return run_ids


def _left_behind(
    old: Connection, new: Connection, folder: Folder, changing: Collection[tuple[str, str]], with_people: bool
) -> Iterator[Sentence]:
    """A line for all that only the old file has: the new one is built from files, which these rows lack."""
    for kind, one in sorted(_stored(old) - _stored(new)):
        # Otherwise it was deleted, or a killed process has just deleted it.
        if not parcels.is_deleted(folder, one) if kind == RUN else with_people and (kind, one) not in changing:
            yield Sentence("The {name} has no readable file: its rows stay in the old file.", name=called(kind, one))
    sql = (
        "SELECT schema_name || '.' || table_name FROM duckdb_tables() "
        "WHERE NOT internal AND schema_name NOT IN ('main', 'stored') ORDER BY ALL"
    )
    for table in first_column(old, sql):
        yield Sentence("Table {table} has a schema of its own and stays in the old file.", table=table)


def _stored(connection: Connection) -> set[tuple[str, str]]:
    """Kind and id of all runs and user files that have rows in a DuckDB file, which may lack tables."""
    tables = set(first_column(connection, "SELECT table_name FROM duckdb_tables() WHERE NOT internal"))
    run_ids = first_column(connection, "SELECT run_id FROM runs") if "runs" in tables else []
    people = [kind for kind, declared in user_files.KINDS.items() if declared.tables[0] in tables]
    return {(RUN, one) for one in run_ids} | {(kind, one) for kind in people for one in names_in_rows(connection, kind)}


@contextlib.contextmanager
def _reporting_errors(report: Report) -> Iterator[None]:
    try:
        yield
    except (duckdb.Error, WarehouseError) as error:
        report(_unreadable(error))


def _unreadable(error: Exception) -> Sentence:
    return Sentence("The old warehouse could not be read: {reason}.", reason=reason_of(error).partition(". ")[0])


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
                report(_unreadable(error))
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
    for file in (path, wal_path(path), gate_path(path)):
        with contextlib.suppress(FileNotFoundError):
            file.unlink()
