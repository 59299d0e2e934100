"""Whether a warehouse is whole: its files, and the DuckDB file that is built from them, looked at without changing any.

The files are the truth, so that whatever is wrong with the DuckDB file can be mended by building it anew; what is wrong
with a file cannot. The DuckDB file is looked at on a copy, so that nobody waits meanwhile.
"""

from __future__ import annotations

import contextlib
import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import duckdb
import polars as pl
import pyarrow.parquet as pq

from core.errors import ResourceError, WarehouseError
from core.files import folders_in, workplace
from core.records import SHIPPED
from core.store import people
from core.store.parcels import DAMAGE, is_parcel, read_parcel
from core.store.restore import check_hashes
from core.tables import LONG_TABLES
from core.warehouse import schema, sync
from core.warehouse.connection import Connection, attached, clear_errors, is_there, snapshot
from core.warehouse.warehouse import Warehouse

PATIENCE = 1.0
"""Seconds that the check waits for a writer."""
_REBUILD = "Run: workdim ingest --rebuild"
_SHIPPED = f"list_contains(tags, '{SHIPPED}')"
"""Of the profiles that Workdim ships, neither pilots nor controls come along."""
Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Health:
    """Whether a warehouse could be used as it is."""

    is_there: bool
    n_runs: int = 0
    n_waiting: int = 0
    """Finished measurements that are not in the file yet."""
    damaged: tuple[str, ...] = ()
    """One line for each parcel that cannot be taken in as it is."""
    problem: str | None = None
    """Why the file cannot be used, None where it can."""


@dataclass(frozen=True)
class Finding:
    line: str
    """What is wrong, and what to do about it."""
    is_damage: bool = True
    """Whether something is lost or wrong, or is only to be known."""


@dataclass(frozen=True)
class Examined:
    """What an integrity check looked at and what it found."""

    findings: tuple[Finding, ...] = ()
    n_rows: int = 0
    n_parcels: int = 0

    @property
    def is_damaged(self) -> bool:
        return any(finding.is_damage for finding in self.findings)


def look_at(warehouse: Warehouse) -> Health:
    """Without making, changing or taking in anything, and without reading more than what waits."""
    try:
        there, known = is_there(warehouse.path), set[str]()
        if there:
            with clear_errors(warehouse.path), attached(warehouse.path, True, warehouse.wait) as file:
                schema.check(file)
                with contextlib.suppress(duckdb.CatalogException):  # an empty one, or of an earlier version
                    known = {row[0] for row in file.execute("SELECT run_id FROM runs").fetchall()}
        waiting = [path for path in folders_in(warehouse.parcels) if path.name not in known and is_parcel(path)]
    except (WarehouseError, ResourceError) as error:
        return Health(True, problem=str(error))
    damaged = [line for path in waiting if (line := _problem_of(path))]
    return Health(there, len(known), len(waiting) - len(damaged), tuple(damaged))


def examine(warehouse: Warehouse, thorough: bool = False, progress: Progress = lambda done, total: None) -> Examined:
    """All that is wrong, one line each. `thorough` compares every value of every run and file with its rows.

    `progress` hears of parcels done and parcels in all. What cannot be looked at now (a file that another process
    holds, no room for the copy) is a finding and no error.
    """
    if not is_there(warehouse.path):
        return Examined()
    patient = replace(warehouse, wait=PATIENCE)
    findings = [*_unfinished(patient), *_unreadable_files(patient)]
    n_rows = n_parcels = 0
    try:
        with _copied(patient) as path, clear_errors(path), contextlib.closing(duckdb.connect(path)) as file:
            counts, unreadable = read_all(file)
            n_rows = sum(counts.values())
            findings += unreadable
            if not unreadable and not schema.check(file):
                line = "The warehouse was built by an earlier version: it is built anew when it is next opened."
                findings.append(Finding(line, is_damage=False))
            elif not unreadable:
                with duckdb.connect(":memory:") as model:
                    schema.create(model)
                    findings += [*_columns_of(file, model), *_rows_of(file)]
                    findings += _people_of(file, model, patient, thorough)
                    n_parcels, of_parcels = _parcels_of(file, model, patient, thorough, progress)
                    findings += of_parcels
    except (WarehouseError, ResourceError) as error:
        findings.append(Finding(f"The integrity of the warehouse was not checked: {error}", is_damage=False))
    return Examined(tuple(findings), n_rows, n_parcels)


def read_all(connection: Connection) -> tuple[dict[str, int], list[Finding]]:
    """Rows of each table, all of whose blocks were read; a finding for each table where that failed."""
    counts, findings = {}, []
    sql = "SELECT schema_name, table_name FROM duckdb_tables() ORDER BY ALL"
    for schema_name, table in connection.execute(sql).fetchall():
        try:
            name = f"{schema_name}.{schema.quoted(table)}"
            found = connection.execute(f"SELECT count(*), sum(hash(t)) FROM {name} AS t").fetchall()
            counts[f"{schema_name}.{table}"] = found[0][0]
        except duckdb.Error as error:
            findings.append(Finding(f"{table} cannot be read: {str(error).splitlines()[0]}. {_REBUILD}"))
    return counts, findings


# --- the files -------------------------------------------------------------------------------------------------


def _unfinished(warehouse: Warehouse) -> Iterator[Finding]:
    marked = [f"{kind} {one}" for kind, one in warehouse.folder.marked()]
    if marked:
        yield Finding(f"{_some(marked, 'change')} not finished. Run: workdim ingest", is_damage=False)


def _unreadable_files(warehouse: Warehouse) -> Iterator[Finding]:
    for kind in people.KINDS:
        for one in people.ids(warehouse.folder, kind):
            try:
                people.read(warehouse.folder, kind, one)
            except FileNotFoundError:  # taken out since
                continue
            except WarehouseError as error:
                yield Finding(f"{error} Bring it back: workdim restore FILE")


def _problem_of(parcel: Path) -> str:
    try:
        read_parcel(parcel)
    except WarehouseError as error:
        return str(error)
    return ""


def _rows_in_files(parcel: Path) -> dict[str, int]:
    """Rows of each table of a parcel, by files that agree with their hashes; raises one of _UNSOUND else."""
    check_hashes(parcel)
    return {table: pq.read_metadata(parcel / f"{table}.parquet").num_rows for table in LONG_TABLES}


# --- the DuckDB file -------------------------------------------------------------------------------------------


@contextlib.contextmanager
def _copied(warehouse: Warehouse) -> Iterator[Path]:
    """A copy of the file that goes at the end: in the system's folder for such things, or beside where that is small"""
    size = warehouse.path.stat().st_size
    elsewhere = Path(tempfile.gettempdir())
    has_room = shutil.disk_usage(elsewhere).free > 2 * size
    with workplace("check", elsewhere if has_room else warehouse.path.parent) as folder:
        copy = folder / warehouse.path.name
        snapshot(warehouse.path, copy, warehouse.wait)
        yield copy


_COLUMNS = """
    SELECT schema_name || '.' || table_name, column_name, data_type || if(is_nullable, '', ' NOT NULL'), comment
    FROM duckdb_columns() WHERE NOT internal
"""


def _columns_of(file: Connection, model: Connection) -> Iterator[Finding]:
    """Tables and columns as this version makes them."""
    expected, found = (
        {(table, column): (kind, comment) for table, column, kind, comment in one.execute(_COLUMNS).fetchall()}
        for one in (model, file)
    )
    known = {table for table, _ in expected}
    for at in sorted(expected.keys() | found.keys()):
        name = ".".join(at).removeprefix("main.")
        if at not in found:
            yield Finding(f"The column {name} is missing. {_REBUILD}")
        elif at in expected and expected[at][0] != found[at][0]:
            yield Finding(f"The column {name} is {found[at][0]} and should be {expected[at][0]}. {_REBUILD}")
        elif at in expected and expected[at][1] and not found[at][1]:
            yield Finding(f"The column {name} has lost its comment. {_REBUILD}", False)
        elif at not in expected and at[0] in known:
            yield Finding(f"The column {name} is not Workdim's; a new file is built without it.", False)
    foreign = sorted({table.removeprefix("main.") for table, _ in found} - {one.removeprefix("main.") for one in known})
    if foreign:
        yield Finding(
            f"The tables {', '.join(foreign)} are not Workdim's: no file beside the warehouse holds them. "
            "`workdim backup` does.",
            False,
        )


_LINKS: list[tuple[str, str, str, bool]] = [
    *(
        (
            f"SELECT DISTINCT run_id FROM {table} WHERE run_id NOT IN (SELECT run_id FROM runs)",
            f"{table} has rows of {{}} not in the warehouse. {_REBUILD}",
            "run",
            True,
        )
        for table in LONG_TABLES
    ),
    (
        "SELECT run_id FROM runs WHERE model_id NOT IN (SELECT model_id FROM models)",
        f"{{}} of a model that is not in the warehouse. {_REBUILD}",
        "run",
        True,
    ),
    (
        "SELECT run_id FROM runs WHERE corpus_id NOT IN (SELECT corpus_id FROM corpora)",
        f"{{}} on a text that is not in the warehouse. {_REBUILD}",
        "run",
        True,
    ),
    (
        f"SELECT DISTINCT pilot_id FROM runs WHERE pilot_id NOT IN (SELECT pilot_id FROM pilots) AND NOT {_SHIPPED}",
        "Runs were measured for {} registered elsewhere. `workdim pilot FILE.toml` registers one here.",
        "pilot",
        False,
    ),
    (
        "SELECT DISTINCT run_id FROM pilot_runs WHERE run_id NOT IN (SELECT run_id FROM runs)",
        "Pilots count {} not in the warehouse: deleted, or not measured yet.",
        "run",
        False,
    ),
    (
        f"SELECT DISTINCT parent_run_id FROM runs WHERE parent_run_id NOT IN (SELECT run_id FROM runs) AND NOT {_SHIPPED}",
        "Control passes belong to {} not in the warehouse: not finished yet, or deleted.",
        "run",
        False,
    ),
    (
        "SELECT DISTINCT control FROM (SELECT unnest(control_run_ids) AS control FROM run_summaries "
        f"WHERE run_id IN (SELECT run_id FROM runs WHERE NOT {_SHIPPED})) "
        "WHERE control NOT IN (SELECT run_id FROM runs)",
        "Verdicts rest on {} not in the warehouse. Measure the control again, or import its parcel.",
        "control run",
        False,
    ),
]
"""Query of what is missing, sentence, what is counted, whether that is damage."""


def _rows_of(file: Connection) -> Iterator[Finding]:
    """Rows that name what is not there."""
    for sql, sentence, what, is_damage in _LINKS:
        found = file.execute(f"SELECT * FROM ({sql}) AS missing WHERE COLUMNS(*) IS NOT NULL ORDER BY ALL").fetchall()
        if found:
            yield Finding(sentence.format(_some([row[0] for row in found], what)), is_damage)


# --- both ------------------------------------------------------------------------------------------------------


def _parcels_of(
    file: Connection, model: Connection, warehouse: Warehouse, thorough: bool, progress: Progress
) -> tuple[int, list[Finding]]:
    """How many parcels of runs in the file were read, and what is wrong with them."""
    runs = [row[0] for row in file.execute("SELECT run_id FROM runs ORDER BY run_id").fetchall()]
    counts = {
        table: dict(file.execute(f"SELECT run_id, count(*) FROM {table} GROUP BY run_id").fetchall())
        for table in LONG_TABLES
    }
    findings, without = [], []
    for number, run_id in enumerate(runs, start=1):
        parcel = warehouse.parcels / run_id
        if not is_parcel(parcel):
            without.append(run_id)
            continue
        try:
            n_rows = _rows_in_files(parcel)
            differing = [
                f"{table}: {counts[table].get(run_id, 0)} rows, not {n_rows[table]}"
                for table in LONG_TABLES
                if n_rows[table] != counts[table].get(run_id, 0)
            ]
            if thorough and not differing:
                differing = _differing(file, model, warehouse, sync.RUN, run_id, ("runs", *LONG_TABLES))
        except (WarehouseError, *DAMAGE) as error:
            reason = str(error).splitlines()[0] if str(error) else type(error).__name__
            findings.append(
                Finding(
                    f"The parcel of run {run_id} is damaged ({reason}); its rows are in the warehouse. Bring the parcel "
                    "back: workdim restore FILE"
                )
            )
            continue
        if differing:
            findings.append(Finding(f"Run {run_id} is not what its parcel holds ({', '.join(differing)}). {_REBUILD}"))
        progress(number, len(runs))
    if without:
        findings.append(
            Finding(
                f"{_some(without, 'run')} without a parcel: the file has the only copy of the rows, and a new one is "
                "built without them. Bring the parcels back: workdim restore FILE, or workdim import.",
                is_damage=False,
            )
        )
    return len(runs) - len(without), findings


def _people_of(file: Connection, model: Connection, warehouse: Warehouse, thorough: bool) -> Iterator[Finding]:
    """What people wrote, its files against its rows: which there are, how many, and all values where that is quick."""
    for kind, declared in people.KINDS.items():
        first = declared.tables[0]
        names = [row[0] for row in file.execute(f"SELECT {declared.key} FROM {first} ORDER BY ALL").fetchall()]
        rows = {people.id_of(name) if declared.is_hashed else name: name for name in names}
        files = people.ids(warehouse.folder, kind)
        if gone := [rows[one] for one in rows.keys() - set(files)]:
            yield Finding(
                f"{_some(sorted(gone), kind)} without a file: a new warehouse is built without it. "
                "Bring it back: workdim restore FILE",
                is_damage=False,
            )
        if absent := sorted(set(files) - rows.keys()):
            yield Finding(f"{_some(absent, kind)} not in the warehouse. Run: workdim ingest")
        for one in sorted(rows.keys() & set(files)):
            with contextlib.suppress(WarehouseError, FileNotFoundError):  # told already
                tables = declared.tables if thorough or not declared.is_import else (first,)
                if differing := _differing(file, model, warehouse, kind, one, tables):
                    yield Finding(
                        f"The {kind} {rows[one]} is not what its file holds ({', '.join(differing)}). {_REBUILD}"
                    )


def _differing(
    file: Connection, model: Connection, warehouse: Warehouse, kind: str, one: str, tables: Sequence[str]
) -> list[str]:
    """Tables whose rows are not those that a new file would have of this run, or of this file of people."""
    differing = []
    model.begin()
    try:
        sync.bring(model, warehouse.folder, kind, [one])
        for table in tables:
            where = "run_id = $one" if kind == sync.RUN else sync.rows_of(kind, table)
            sql = f"SELECT * FROM {table} WHERE {where}"
            found, expected = (pl.DataFrame(each.sql(sql, params={"one": one})) for each in (file, model))
            # Nothing promises an order, so both are brought into one.
            if not _sorted(found).equals(_sorted(expected)):
                differing.append(table)
    finally:
        model.rollback()
    return differing


def _sorted(rows: pl.DataFrame) -> pl.DataFrame:
    plain = [name for name, kind in rows.schema.items() if not kind.is_nested()]
    return rows.select(sorted(rows.columns)).sort(plain, nulls_last=True)


def _some(names: Sequence[str], what: str) -> str:
    """`3 runs (a, b and 1 more)`: a finding of many stays one line."""
    shown = ", ".join(str(name) for name in names[:2])
    more = f" and {len(names) - 2} more" if len(names) > 2 else ""
    return f"{len(names)} {what}{'' if len(names) == 1 else 's'} ({shown}{more})"
