"""Check the integrity of a warehouse, its files and its DuckDB file, without changing anything.

The files are the truth: whatever is wrong with the DuckDB file can be repaired by rebuilding it; a damaged file cannot.
The DuckDB file is checked on a copy, so that nobody waits meanwhile.
"""

from __future__ import annotations

import contextlib
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import duckdb
import polars as pl

from core.errors import ResourceError, Sentence, WarehouseError
from core.files import folders_in, temporary_folder
from core.records import SHIPPED
from core.store import parcels, user_files
from core.store.folder import Folder, Progress, no_progress
from core.store.parcels import is_parcel, read_header, read_tables
from core.tables import LONG_TABLES
from core.warehouse import schema, sync
from core.warehouse.connection import Connection, attach, copy_snapshot, exists, first_column, translated_errors
from core.warehouse.sync import RUN
from core.warehouse.warehouse import Warehouse

LOCK_WAIT = 1.0
"""Seconds to wait for a writer."""
_REBUILD = Sentence("Run: workdim ingest --rebuild")
_RESTORE = Sentence("Bring it back: workdim restore FILE")
_SHIPPED = f"list_contains(tags, '{SHIPPED}')"
"""Shipped profiles come without their pilots and controls."""


@dataclass(frozen=True)
class Health:
    """Whether a warehouse is usable as it is."""

    is_there: bool
    n_runs: int = 0
    n_waiting: int = 0
    """Finished measurements to be ingested."""
    damaged: tuple[str, ...] = ()
    """One line for each parcel that cannot be ingested."""
    problem: str | None = None
    """Why the file cannot be used; None if it can."""


class Finding(Sentence):
    """What is wrong, and what to do about it."""

    is_damage = True
    """Whether something is lost or wrong."""


class Notice(Finding):
    """A finding of which nothing is lost or wrong."""

    is_damage = False


@dataclass(frozen=True)
class IntegrityReport:
    """The outcome of an integrity check."""

    findings: tuple[Finding, ...] = ()
    n_rows: int = 0
    n_parcels: int = 0

    @property
    def is_damaged(self) -> bool:
        return any(finding.is_damage for finding in self.findings)


def check_health(warehouse: Warehouse) -> Health:
    """Check the file and the parcels that are yet to be ingested, without changing anything."""
    try:
        is_present, known = exists(warehouse.path), set[str]()
        if is_present:
            with translated_errors(warehouse.path), attach(warehouse.path, True, warehouse.wait) as file:
                schema.is_current(file)
                with contextlib.suppress(duckdb.CatalogException):  # an empty one
                    known = set(first_column(file, "SELECT run_id FROM runs"))
        waiting = [path for path in folders_in(warehouse.parcels) if path.name not in known and is_parcel(path)]
    except (WarehouseError, ResourceError) as error:
        return Health(True, problem=str(error))
    damaged = [line for path in waiting if (line := parcels.problem(path))]
    return Health(is_present, len(known), len(waiting) - len(damaged), tuple(damaged))


def check_integrity(warehouse: Warehouse, thorough: bool = False, progress: Progress = no_progress) -> IntegrityReport:
    """Check everything; one finding for each problem. `thorough` compares every value of every run and file with its rows.

    `progress` is called with parcels done and in total. What cannot be checked now (a locked file, no room for the
    copy) is a finding and no error.
    """
    if not exists(warehouse.path):
        return IntegrityReport()
    patient = replace(warehouse, wait=LOCK_WAIT)
    findings = [*_unfinished_changes(patient.folder), *map(_damaged, sync.damaged_files(patient.folder).values())]
    n_rows = n_parcels = 0
    try:
        with _snapshot(patient) as path, translated_errors(path), contextlib.closing(duckdb.connect(path)) as file:
            counts, unreadable = read_all_tables(file)
            n_rows = sum(counts.values())
            findings += unreadable
            if not unreadable and not schema.is_current(file):
                findings.append(Notice("The warehouse is of an earlier version and is rebuilt when next opened."))
            elif not unreadable:
                with duckdb.connect(":memory:") as model:
                    schema.create_tables(model)
                    findings += [*_check_columns(file, model), *_check_references(file)]
                    findings += _check_user_files(file, model, patient, thorough)
                    told: dict[str, list[dict[str, Any]]] = {table: [] for table in sync.CONTENT_HASHES}
                    n_parcels, parcel_findings = _check_parcels(file, model, patient, thorough, told, progress)
                    findings += parcel_findings
                    findings += _check_models_and_corpora(file, told) if thorough else ()
    except (WarehouseError, ResourceError) as error:
        findings.append(Notice("The integrity of the warehouse was not checked: {reason}", reason=error))
    return IntegrityReport(tuple(findings), n_rows, n_parcels)


def read_all_tables(connection: Connection) -> tuple[dict[str, int], list[Finding]]:
    """Read every block of every table; returns the row counts, and a finding for each table that cannot be read."""
    counts, findings = {}, []
    sql = "SELECT schema_name, table_name FROM duckdb_tables() ORDER BY ALL"
    for schema_name, table in connection.execute(sql).fetchall():
        try:
            name = f"{schema_name}.{schema.quoted(table)}"
            counted = connection.execute(f"SELECT count(*), sum(hash(t)) FROM {name} AS t").fetchall()
            counts[f"{schema_name}.{table}"] = counted[0][0]
        except duckdb.Error as error:
            reason = str(error).splitlines()[0]
            findings.append(
                Finding("{table} cannot be read: {reason}. {remedy}", table=table, reason=reason, remedy=_REBUILD)
            )
    return counts, findings


# --- the files -------------------------------------------------------------------------------------------------


def _unfinished_changes(folder: Folder) -> Iterator[Finding]:
    marked = [f"{kind}-{one}" for kind, one in folder.pending_changes() if kind in sync.KINDS]
    if marked := [*marked, *(one.name for one in folder.pending_restores())]:
        yield Notice("Changes not finished: {names}. Run: workdim ingest", names=_few(marked))


# --- the DuckDB file -------------------------------------------------------------------------------------------


@contextlib.contextmanager
def _snapshot(warehouse: Warehouse) -> Iterator[Path]:
    """A temporary copy of the file, in the system's temporary folder or, if that is small, beside the file."""
    size = warehouse.path.stat().st_size
    elsewhere = Path(tempfile.gettempdir())
    has_room = shutil.disk_usage(elsewhere).free > 2 * size
    with temporary_folder("check", elsewhere if has_room else warehouse.path.parent) as folder:
        copy = folder / warehouse.path.name
        copy_snapshot(warehouse.path, copy, warehouse.wait)
        yield copy


def _check_columns(file: Connection, model: Connection) -> Iterator[Finding]:
    """Compare tables and columns with those of this version."""
    sql = """
        SELECT schema_name || '.' || table_name, column_name, data_type || if(is_nullable, '', ' NOT NULL')
        FROM duckdb_columns() WHERE NOT internal
    """
    expected, actual = (
        {(table, column): kind for table, column, kind in connection.execute(sql).fetchall()}
        for connection in (model, file)
    )
    known = {table for table, _ in expected}
    for column in sorted(expected.keys() | actual.keys()):
        name = ".".join(column).removeprefix("main.")
        found, wanted = actual.get(column, Sentence("not there")), expected.get(column)
        if wanted and found != wanted:
            yield Finding(
                "The column {name} is {found} and should be {expected}. {remedy}",
                name=name,
                found=found,
                expected=wanted,
                remedy=_REBUILD,
            )
        elif not wanted and column[0] in known:
            yield Notice("The column {name} is not Workdim's; a new file is built without it.", name=name)
    if foreign := sorted(table.removeprefix("main.") for table in {table for table, _ in actual} - known):
        yield Notice(
            "The tables {tables} are not Workdim's; `workdim backup` and `workdim ingest --rebuild` save them as files.",
            tables=foreign,
        )


_NO_RUN = "run_id NOT IN (SELECT run_id FROM runs)"
_REFERENCES: list[tuple[str, Sentence]] = [
    (
        "SELECT run_id FROM runs WHERE model_id NOT IN (SELECT model_id FROM models)",
        Sentence("Runs whose model is not in the warehouse: {names}. {remedy}"),
    ),
    (
        "SELECT run_id FROM runs WHERE corpus_id NOT IN (SELECT corpus_id FROM corpora)",
        Sentence("Runs whose text is not in the warehouse: {names}. {remedy}"),
    ),
    (
        f"SELECT DISTINCT pilot_id FROM runs WHERE pilot_id NOT IN (SELECT pilot_id FROM pilots) AND NOT {_SHIPPED}",
        Sentence(
            "Pilots that runs were measured for, registered elsewhere: {names}. `workdim pilot FILE.toml` registers one here."
        ),
    ),
    (
        f"SELECT DISTINCT run_id FROM pilot_runs WHERE {_NO_RUN}",
        Sentence("Runs that pilots count, not in the warehouse: {names}. They were deleted, or not measured yet."),
    ),
    (
        f"SELECT DISTINCT parent_run_id FROM runs WHERE parent_{_NO_RUN} AND NOT {_SHIPPED}",
        Sentence("Runs of control passes, not in the warehouse: {names}. They are not finished yet, or deleted."),
    ),
    (
        "SELECT DISTINCT run_id FROM (SELECT unnest(control_run_ids) AS run_id FROM run_summaries "
        f"SEMI JOIN (FROM runs WHERE NOT {_SHIPPED}) AS own USING (run_id)) WHERE {_NO_RUN}",
        Sentence("Control runs that verdicts rest on, not here: {names}. Measure the control again, or import it."),
    ),
]
"""Query for missing ids, and message; those with a remedy are damage."""


def _check_references(file: Connection) -> Iterator[Finding]:
    """Find rows that refer to something that does not exist."""
    stray = Sentence("{table} has rows of runs that are not in the warehouse: {names}. {remedy}")
    of_tables = [(f"SELECT DISTINCT run_id FROM {table} WHERE {_NO_RUN}", stray, table) for table in LONG_TABLES]
    for sql, template, table in [*of_tables, *((*one, "") for one in _REFERENCES)]:
        query = f"SELECT * FROM ({sql}) AS missing WHERE COLUMNS(*) IS NOT NULL ORDER BY ALL"
        if missing := first_column(file, query):
            kind = Finding if "{remedy}" in template else Notice
            yield kind(template, table=table, names=_few(missing), remedy=_REBUILD)


# --- both ------------------------------------------------------------------------------------------------------


def _check_parcels(
    file: Connection,
    model: Connection,
    warehouse: Warehouse,
    thorough: bool,
    told: dict[str, list[dict[str, Any]]],
    progress: Progress,
) -> tuple[int, list[Finding]]:
    """Compare runs with their parcels; returns the number of parcels read and the findings, and adds the rows of models and
    texts to `told`."""
    runs = first_column(file, "SELECT run_id FROM runs ORDER BY run_id")
    counts = {
        table: dict(file.execute(f"SELECT run_id, count(*) FROM {table} GROUP BY run_id").fetchall())
        for table in LONG_TABLES
    }
    findings, missing = [], []
    for number, run_id in enumerate(runs, start=1):
        parcel = warehouse.parcels / run_id
        if not is_parcel(parcel):
            missing.append(run_id)
            continue
        try:
            header = read_header(parcel)
            for table, rows in told.items():
                rows.append(header.rows[table])
            tables = read_tables(header)
            differences = [table for table in LONG_TABLES if tables[table].height != counts[table].get(run_id, 0)]
            if thorough and not differences:
                differences = _differing_tables(file, model, warehouse, RUN, run_id, ("runs", *LONG_TABLES))
        except WarehouseError as error:
            findings.append(_damaged(error.message))
            continue
        if differences:
            findings.append(_other_content(run_id, differences))
        progress(number, len(runs))
    if missing:
        findings.append(_lost(missing))
    return len(runs) - len(missing), findings


def _check_models_and_corpora(file: Connection, told: dict[str, list[dict[str, Any]]]) -> Iterator[Finding]:
    """Compare the rows that runs share with those `told` by their parcels. Parcels of one model may differ, as versions of
    Workdim do and names that a model was asked by: each value of a row must be that of one of them."""
    for table, (key, _content) in sync.CONTENT_HASHES.items():
        used = set(first_column(file, f"SELECT {key} FROM runs"))
        for row in pl.DataFrame(file.sql(f"SELECT * FROM {table} ORDER BY {key}")).iter_rows(named=True):
            name, of_parcels = row[key], [rows for rows in told[table] if rows[key] == row[key]]
            wrong = [column for column, value in row.items() if value not in [one[column] for one in of_parcels]]
            if name not in used:
                yield Finding(
                    "{table} has a row of {name}, which no run is of. {remedy}", table=table, name=name, remedy=_REBUILD
                )
            elif of_parcels and wrong:
                yield Finding(
                    "The row of {name} in {table} is not what its parcels hold ({columns}). {remedy}",
                    name=name,
                    table=table,
                    columns=wrong,
                    remedy=_REBUILD,
                )


def _check_user_files(file: Connection, model: Connection, warehouse: Warehouse, thorough: bool) -> Iterator[Finding]:
    """What people wrote or imported, files against rows: which there are, and all values where that is quick."""
    lost, not_loaded = list[str](), list[str]()
    for kind, declared in user_files.KINDS.items():
        rows = sync.names_in_rows(file, kind)
        files = set(user_files.list_ids(warehouse.folder, kind))
        lost += [sync.called(kind, rows[file_id]) for file_id in sorted(rows.keys() - files)]
        not_loaded += [sync.called(kind, file_id) for file_id in sorted(files - rows.keys())]
        for file_id in sorted(rows.keys() & files):
            with contextlib.suppress(WarehouseError):  # reported already
                tables = declared.tables if thorough or not declared.parquet else declared.tables[:1]
                if differences := _differing_tables(file, model, warehouse, kind, file_id, tables):
                    yield _other_content(sync.called(kind, rows[file_id]), differences)
    if lost:
        yield _lost(lost)
    if not_loaded:
        yield Finding("Not in the warehouse yet: {names}. Run: workdim ingest", names=_few(not_loaded))


def _lost(names: Sequence[str]) -> Notice:
    return Notice(
        "The files are gone of {names}; rebuilding would lose the rows. {remedy}", names=_few(names), remedy=_RESTORE
    )


def _other_content(name: str, tables: Sequence[str]) -> Finding:
    return Finding(
        "The file of {name} holds something else ({tables}). {remedy}", name=name, tables=tables, remedy=_REBUILD
    )


def _damaged(problem: str) -> Finding:
    return Finding("{first} {second}", first=problem, second=_RESTORE)


def _differing_tables(
    file: Connection, model: Connection, warehouse: Warehouse, kind: str, file_id: str, tables: Sequence[str]
) -> list[str]:
    """Tables whose rows are not those that a new file would have of this run, or of this user file."""
    differing = []
    model.begin()
    try:
        sync.sync_rows(model, warehouse.folder, kind, [file_id])
        for table in tables:
            where = "run_id = $one" if kind == RUN else sync.row_condition(kind, table)
            # SQL promises no order of rows: a sum of their hashes needs none.
            sql = f"SELECT count(*), sum(hash(found)) FROM (FROM {table} WHERE {where}) AS found"
            actual, expected = (each.execute(sql, {"one": file_id}).fetchall() for each in (file, model))
            if actual != expected:
                differing.append(table)
    finally:
        model.rollback()
    return differing


def _few(names: Sequence[str]) -> Sentence | Sequence[str]:
    """All of two names, or the first two and how many more there are."""
    n_more = len(names) - 2
    return Sentence("{names} and {n:,} more", names=names[:2], n=n_more) if n_more > 0 else names
