"""Whether what a warehouse holds is whole: looked at without changing anything, on a copy, so that nobody waits.

What is in the file itself is checked here, what lies beside it in integrity_beside.
"""

from __future__ import annotations

import contextlib
import shutil
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import duckdb

from core.errors import ResourceError, WarehouseError
from core.files import workplace
from core.tables import LONG_TABLES, TABLES
from core.warehouse import integrity_beside, migrations
from core.warehouse.comments import COMMENTS
from core.warehouse.copying import snapshot
from core.warehouse.finding import Finding, some
from core.warehouse.integrity_rows import incomplete_runs, orphans
from core.warehouse.warehouse import Warehouse, clear_errors, is_there

PATIENCE = 1.0
"""Seconds that the check waits for a writer."""
_REBUILD = "Run: python -m core ingest --rebuild"
_RUNS_AT_ONCE = 500
"""Runs whose rows are compared with each other at a time, which bounds the memory: 0.4 million rows."""
Connection = duckdb.DuckDBPyConnection
Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Examined:
    """What an integrity check looked at and what it found."""

    findings: tuple[Finding, ...] = ()
    n_rows: int = 0
    n_parcels: int = 0

    @property
    def is_damaged(self) -> bool:
        return any(finding.is_damage for finding in self.findings)


def examine(warehouse: Warehouse, thorough: bool = False, progress: Progress = lambda done, total: None) -> Examined:
    """All that is wrong, one line each. `thorough` compares every row of every run with its parcel.

    `progress` hears of parcels done and parcels in all. What cannot be looked at now (a file that another process
    holds, no room for the copy) is a finding and no error.
    """
    if not is_there(warehouse.path):
        return Examined()
    patient = replace(warehouse, wait=PATIENCE)
    findings: list[Finding] = []
    n_rows = n_parcels = 0
    try:
        with _copied(patient) as path, clear_errors(path), contextlib.closing(duckdb.connect(path)) as connection:
            counts, unreadable = read_all(connection)
            findings += unreadable or list(_of_file(connection))
            n_rows = sum(counts.values())
            if not unreadable:
                n_parcels, of_parcels = integrity_beside.of_parcels(connection, patient, thorough, progress)
                findings += of_parcels
        if not unreadable:
            findings += integrity_beside.of_mirror(patient)
    except (WarehouseError, ResourceError) as error:
        findings.append(Finding(f"The integrity of the warehouse was not checked: {error}", is_damage=False))
    return Examined(tuple(findings), n_rows, n_parcels)


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


def read_all(connection: Connection) -> tuple[dict[str, int], list[Finding]]:
    """Rows of each table, all of whose blocks were read; a finding for each table where that failed."""
    counts, findings = {}, []
    for (table,) in connection.execute("SELECT table_name FROM duckdb_tables() ORDER BY ALL").fetchall():
        try:
            found = connection.execute(f'SELECT count(*), sum(hash(t)) FROM "{table}" AS t').fetchall()
            counts[table] = found[0][0]
        except duckdb.Error as error:
            findings.append(Finding(f"{table} cannot be read: {str(error).splitlines()[0]}. {_REBUILD}"))
    return counts, findings


def _of_file(connection: Connection) -> Iterator[Finding]:
    applied = set(migrations.MIGRATIONS) - set(migrations.pending(connection))
    yield from _schema(connection, applied)
    if applied != set(migrations.MIGRATIONS):
        migrations.apply(connection, sorted(set(migrations.MIGRATIONS) - applied))  # of the copy
    yield from _doubled(connection)
    yield from orphans(connection)
    yield from incomplete_runs(connection)


def _schema(connection: Connection, applied: set[int]) -> Iterator[Finding]:
    """Tables and columns as the recorded steps make them; comments only where the file is up to date."""
    is_newest = applied == set(migrations.MIGRATIONS)
    with duckdb.connect(":memory:") as model:
        if is_newest:
            migrations.apply(model, sorted(applied))
        else:
            for step in sorted(applied):
                migrations.MIGRATIONS[step](model)
        expected, found = _columns(model), _columns(connection)
    expected = {at: column for at, column in expected.items() if at[0] != "schema_migrations"}
    for table, column in sorted(expected.keys() - found.keys()):
        yield Finding(f"The column {table}.{column} is missing. {_REBUILD}")
    foreign = {table for table, _ in found} - {*COMMENTS, *(table for table, _ in expected)}
    if foreign:
        yield Finding(f"The tables {', '.join(sorted(foreign))} are not Workdim's; a rebuild leaves them out.", False)
    for at in sorted(expected.keys() & found.keys()):
        (kind, comment), (kind_here, comment_here) = expected[at], found[at]
        if kind != kind_here:
            yield Finding(f"The column {at[0]}.{at[1]} is {kind_here} and should be {kind}. {_REBUILD}")
        if is_newest and comment and not comment_here:  # its words may be those of another version
            yield Finding(f"The column {at[0]}.{at[1]} has lost its comment. {_REBUILD}", False)
    for table, column in sorted(found.keys() - expected.keys()):
        if table in COMMENTS and table != "schema_migrations":
            yield Finding(f"The column {table}.{column} is not Workdim's; a rebuild leaves it out.", False)


def _columns(connection: Connection) -> dict[tuple[str, str], tuple[str, str | None]]:
    """(table, column) -> type with NOT NULL and PRIMARY KEY, and comment."""
    keys = connection.execute(
        "SELECT table_name, unnest(constraint_column_names) FROM duckdb_constraints() "
        "WHERE constraint_type = 'PRIMARY KEY'"
    ).fetchall()
    rows = connection.execute(
        "SELECT table_name, column_name, data_type, is_nullable, comment FROM duckdb_columns() WHERE NOT internal"
    ).fetchall()
    return {
        (table, column): (
            f"{kind}{'' if is_nullable else ' NOT NULL'}{' PRIMARY KEY' if (table, column) in keys else ''}",
            comment,
        )
        for table, column, kind, is_nullable, comment in rows
    }


def _doubled(connection: Connection) -> Iterator[Finding]:
    """Rows of the long tables that are there twice: these have no index that would refuse them."""
    runs = [row[0] for row in connection.execute("SELECT run_id FROM runs ORDER BY run_id").fetchall()]
    bounds = [(some[0], some[-1]) for some in (runs[n : n + _RUNS_AT_ONCE] for n in range(0, len(runs), _RUNS_AT_ONCE))]
    for table in LONG_TABLES:
        key = TABLES[table].key
        sql = f"""SELECT DISTINCT run_id FROM (SELECT run_id FROM {table} WHERE run_id BETWEEN ? AND ?
                  GROUP BY {", ".join(key)} HAVING count(*) > 1) ORDER BY run_id"""
        twice = [row[0] for low, high in bounds for row in connection.execute(sql, [low, high]).fetchall()]
        if twice:
            yield Finding(f"{table} holds rows twice of {some(twice, 'run')}. {_REBUILD}")
