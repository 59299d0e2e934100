"""Sync the rows of the DuckDB file with the files, which are the truth.

`sync_rows` is the only way from a file to rows: for a change, an ingest, the recovery after a kill and a rebuild. If a
file exists, its rows become what it holds. If it is gone, its rows go only where it was being changed, as a marker in
`pending/` tells, and those of a run only where its parcel is in the trash: what is lost another way deletes nothing.
"""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import duckdb
import polars as pl

from core.errors import WarehouseError
from core.files import names_in
from core.store import user_files
from core.store.folder import Folder
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
)
from core.tables import LONG_TABLES, PILOT_SOURCE, TABLES
from core.warehouse.connection import Connection, insert, placeholders, transaction

RUN = "run"
KINDS = (RUN, *user_files.KINDS)
BATCH, BATCH_BYTES = 200, 16 * 2**20
"""Parcels that are in memory together, and stored by one statement for each table: so many, of so many bytes in their files. In
memory they take about 40 times as much."""
Parcel = tuple[ParcelHeader, dict[str, pl.DataFrame]]
"""With its long tables, all checked."""
Report = Callable[[str], None]
Progress = Callable[[int, int], None]

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
        names.difference_update(row[0] for row in connection.execute("SELECT run_id FROM runs").fetchall())
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
    progress: Progress = lambda done, total: None,
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
    known = [row[0] for row in connection.execute("SELECT run_id FROM runs").fetchall()]
    with transaction(connection):
        sync_rows(connection, folder, RUN, known, report)
        for kind in user_files.KINDS:
            sync_rows(connection, folder, kind, user_files.list_ids(folder, kind), report)


def ids_in(connection: Connection, kind: str) -> list[str]:
    """The ids of all user files of a kind that have rows in a DuckDB file."""
    declared = user_files.KINDS[kind]
    sql = f"SELECT {declared.key} FROM {declared.tables[0]} ORDER BY ALL"
    keys = [row[0] for row in connection.execute(sql).fetchall()]
    return [user_files.hash_name(key) if declared.is_hashed else key for key in keys]


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
        if (there := known[table].get(name, here)) != here:
            raise WarehouseError(
                "{name} is in the warehouse with other content ({there}; here {here}): this parcel was left "
                "where it is.",
                name=name,
                there=there[:12],
                here=here[:12],
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
