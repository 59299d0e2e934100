"""The schema of the DuckDB file: created from the declarations in core.tables, and listed for people who write SQL; and the
scores that every new file holds.

A file is never migrated to another schema version: an outdated one is rebuilt from the files beside it (sync.py). The
table `schema_version` tells which version built it.

Ingest cost decides the indexes. Only the small tables have a primary key; the long ones have none, because an index
slows the bulk insert of a run, and because one run's rows lie together anyway (run ids are time-ordered), which lets
DuckDB skip all other row groups by their minimum and maximum.
"""

from __future__ import annotations

import functools
import hashlib
import io
from dataclasses import dataclass
from pathlib import Path

import duckdb
import polars as pl

from core.errors import InputError, Sentence, WarehouseError, unknown_name
from core.files import REFERENCE
from core.tables import TABLES, VERSIONS
from core.tables.columns import literal
from core.warehouse.connection import Connection, Readable, first_column, insert

VERSION = 2
"""To be raised with every change of the schema that an earlier Workdim cannot read."""


class NewerSchema(WarehouseError):
    """The file was built by a newer version."""


class OtherProgram(WarehouseError):
    """The DuckDB file belongs to another program."""


@dataclass(frozen=True)
class Column:
    name: str
    type: str
    comment: Sentence
    """What it means; empty where a user's own column has no comment."""


@dataclass(frozen=True)
class Table:
    name: str
    comment: Sentence
    n_rows: int | None
    """None for a view of a user's own: counting its rows would run it, and it may read or take anything."""
    columns: tuple[Column, ...]


def create_tables(connection: Connection) -> None:
    """Create all tables with their comments and load the shipped scores, within the caller's transaction."""
    for table in (*TABLES.values(), VERSIONS):
        for statement in (table.ddl(), *table.comment_statements()):
            connection.execute(statement)
    sql = f"INSERT INTO {VERSIONS.name} VALUES (?, ?, now() AT TIME ZONE 'UTC')"
    connection.execute(sql, [VERSION, fingerprint()])
    load_shipped_scores(connection)


def is_current(connection: Connection) -> bool:
    """Whether the file has exactly this schema; False if it is older or empty and must be rebuilt.

    Raises NewerSchema or OtherProgram for a file that must be left alone.
    """
    try:
        versions = connection.execute(f"SELECT version, fingerprint FROM {VERSIONS.name}").fetchall()
    except (duckdb.CatalogException, duckdb.BinderException):
        versions = []
    if versions == [(VERSION, fingerprint())]:
        return True
    sql = """
        SELECT table_name, list(column_name || ' ' || data_type ORDER BY column_index) FROM duckdb_columns()
        WHERE NOT internal AND database_name = current_database() GROUP BY table_name
    """
    found = dict(connection.execute(sql).fetchall())
    if not found:
        return False
    if found.get(VERSIONS.name) != [f"{column.name} {column.sql_type}" for column in VERSIONS.columns] or not versions:
        raise OtherProgram(
            "{path} is another program's DuckDB file. Choose another with --warehouse.", path=_path(connection)
        )
    if versions[0][0] > VERSION:
        raise NewerSchema(
            "{path} is of a newer Workdim. Update Workdim, or choose another --warehouse.", path=_path(connection)
        )
    return False


@functools.cache
def fingerprint() -> str:
    """Hash of the tables, without their comments, and of the shipped scores."""
    statements = "".join(table.ddl() for table in TABLES.values())
    return hashlib.sha256(statements.encode() + "".join(shipped_hashes()).encode()).hexdigest()[:16]


def list_tables(warehouse: Readable) -> list[Table]:
    """Every table and view of the file with its columns, by name.

    Comments of declared tables are those of this version, not those in the file.
    """
    columns: dict[str, list[Column]] = {}
    comments: dict[str, str | None] = {}
    declared = {name: table.comments for name, table in TABLES.items()}
    sql = """
        SELECT table_name, relations.comment AS table_comment, column_name, data_type, duckdb_columns.comment
        FROM duckdb_columns() AS duckdb_columns JOIN (
            SELECT table_name, schema_name, comment FROM duckdb_tables() WHERE NOT internal
            UNION ALL SELECT view_name, schema_name, comment FROM duckdb_views() WHERE NOT internal
        ) AS relations USING (table_name, schema_name)
        WHERE schema_name = 'main'
        ORDER BY table_name, column_index
    """
    for name, of_table, column, kind, comment in warehouse.read(sql).iter_rows():
        comments[name] = of_table
        meaning = declared.get(name, {}).get(column) or Sentence(comment or "")
        columns.setdefault(name, []).append(Column(column, kind, meaning))
    counts = _counts(warehouse)
    return [
        Table(
            name,
            Sentence(TABLES[name].comment if name in TABLES else comments[name] or ""),
            counts.get(name),
            tuple(own),
        )
        for name, own in columns.items()
    ]


def find_table(warehouse: Readable, name: str) -> Table:
    """One table. Raises InputError, which lists the existing ones."""
    known = {table.name.lower(): table for table in list_tables(warehouse)}
    if name.lower() not in known:
        raise InputError(unknown_name("table", name, known))
    return known[name.lower()]


_OF_FILE = "NOT internal AND schema_name = 'main' AND database_name = current_database()"
"""Of the tables and views of this file alone."""


def user_relations(connection: Connection) -> tuple[list[str], dict[str, str]]:
    """Names of users' tables in a file, and name -> statement of users' views."""
    named = first_column(connection, f"SELECT table_name FROM duckdb_tables() WHERE {_OF_FILE}")
    views = dict(connection.execute(f"SELECT view_name, sql FROM duckdb_views() WHERE {_OF_FILE}").fetchall())
    own = {*TABLES, VERSIONS.name}
    return sorted(set(named) - own), {name: sql for name, sql in sorted(views.items()) if name not in own}


def quoted(name: str) -> str:
    """A name quoted for SQL."""
    return '"' + name.replace('"', '""') + '"'


def _counts(warehouse: Readable) -> dict[str, int]:
    """Rows of each table that is stored: of a declared view, those of the table behind it."""
    stored = {table.stored_name: name for name, table in TABLES.items()}
    own = warehouse.read(f"SELECT table_name FROM duckdb_tables() WHERE {_OF_FILE}")
    named = stored | {quoted(name): name for name in own["table_name"] if name not in TABLES}
    parts = " UNION ALL ".join(
        f"SELECT {literal(name)} AS name, count(*) AS n FROM {source}" for source, name in named.items()
    )
    return dict(warehouse.read(parts).rows())


def _path(connection: Connection) -> str:
    sql = "SELECT path FROM duckdb_databases() WHERE database_name = current_database()"
    return str(first_column(connection, sql)[0])


# --- benchmark scores that ship with Workdim, loaded into every new file -----------------------------------------------

BENCHMARKS = REFERENCE / "benchmarks.parquet"
LADDER = REFERENCE / "ladder" / "scores.parquet"
"""Scores of the models trained for Workdim, written by `python -m tests.ladder --ship`."""
DECODERS = REFERENCE / "ladder" / "decoders.parquet"
"""Scores of public decoders on the same tasks, written by `python -m tests.ladder.decoders`."""
SHIPPED_SCORES = (BENCHMARKS, LADDER, DECODERS)
"""All in the columns of `scores`."""


def shipped_hashes() -> tuple[str, ...]:
    """Hashes of the score files of this version."""
    return tuple(hashlib.sha256(_read_file(file)).hexdigest() for file in SHIPPED_SCORES)


def load_shipped_scores(connection: Connection) -> None:
    """Insert the shipped scores into a new file."""
    for file in SHIPPED_SCORES:
        content = _read_file(file)
        rows = pl.read_parquet(io.BytesIO(content)).with_columns(
            file_sha256=pl.lit(hashlib.sha256(content).hexdigest())
        )
        insert(connection, "scores", rows.select(TABLES["scores"].names))


def shipped_blocks(wanted: pl.DataFrame) -> pl.DataFrame:
    """run_id and jackknife blocks (the score without block 0, 1, ... of files or questions, in percent) of shipped scores.

    `wanted`: run_id, file_sha256, repository, benchmark, metric, filter.
    """
    own = _read_file(LADDER)
    keys = ["repository", "benchmark", "metric", "filter"]
    of_file = wanted.filter(file_sha256=hashlib.sha256(own).hexdigest())
    known = pl.read_parquet(io.BytesIO(own), columns=[*keys, "unit", "blocks"])
    scaled = pl.col("blocks") * pl.when(pl.col("unit") == "fraction").then(100.0).otherwise(1.0)
    return of_file.join(known, on=keys).select("run_id", blocks=scaled)


def _read_file(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError as error:
        raise WarehouseError(
            "The reference scores {file} are missing: Workdim is not completely installed.", file=file
        ) from error
