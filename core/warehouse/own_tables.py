"""Tables and views that people made in the DuckDB file with another program: kept as files, like all that people write.

    people/tables/<id>.parquet      a table; its name stands in the file
    people/queries/<id>.json        a view: a saved query, which typed SQL reads by its name, as it does a table

A view's text may come from anybody, and may read files or take hours: it is never run here, only in the sandbox of typed SQL.
"""

from __future__ import annotations

import os
from datetime import UTC, datetime
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from core.errors import Sentence, WarehouseError
from core.files import make_folder, names_in
from core.store import user_files
from core.store.folder import Folder
from core.store.parcels import reason_of
from core.tables import SavedQueryRow
from core.tables.columns import literal
from core.warehouse import schema
from core.warehouse.connection import Connection
from core.warehouse.sync import Report

_NAME_IN_FILE = "workdim_table"


def files(folder: Folder) -> list[Path]:
    """The files of people's tables, in a fixed order."""
    place = folder.people / "tables"
    return [place / name for name in sorted(names_in(place)) if name.endswith(".parquet")]


def table_name(file: Path) -> str:
    """The name of the table in a file. Raises WarehouseError for a file that is damaged or was renamed."""
    try:
        name = (pq.read_metadata(file).metadata or {})[_NAME_IN_FILE.encode()].decode()
    except (pa.ArrowException, OSError, KeyError, ValueError) as error:
        raise WarehouseError("{file} is damaged: it holds no table of Workdim.", file=file) from error
    if file.stem != user_files.hash_name(name):
        raise WarehouseError("{file} is damaged: it holds no table of Workdim.", file=file)
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
    for file in files(folder):
        try:
            table_name(file)
        except WarehouseError as error:
            damaged[file] = error.message
    return damaged


def save(connection: Connection, folder: Folder, report: Report, replace: bool = True) -> list[str]:
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
        row = SavedQueryRow(view, select, None, datetime.now(UTC).replace(tzinfo=None))
        user_files.write(folder, "query", query_id, {"saved_queries": [row]})
        new.append(query_id)
    return new


def load(connection: Connection, folder: Folder, report: Report) -> None:
    """Make people's tables from their files. `report` gets a line for each that cannot be made."""
    for file in files(folder):
        try:
            name = schema.quoted(table_name(file))
            source = "read_parquet(?, hive_partitioning = false)"
            connection.execute(f"CREATE TABLE {name} AS FROM {source}", [_escaped_glob(file)])
        except WarehouseError as error:
            report(error.message)
        except duckdb.Error as error:
            report(Sentence("The table of {file} cannot be made: {reason}.", file=file, reason=reason_of(error)))


def _escaped_glob(path: Path) -> str:
    """The path as a pattern for DuckDB that fits this file alone."""
    return "".join(f"[{letter}]" if letter in "*?[" else letter for letter in str(path))


def select_of(statement: str) -> str:
    """The SELECT of a CREATE VIEW statement, as DuckDB words it."""
    tokens = duckdb.tokenize(statement)
    as_ = next(at for at, kind in tokens if kind == duckdb.token_type.keyword and statement[at : at + 3] == "AS ")
    columns = next((at for at, _ in tokens if at < as_ and statement[at] == "("), None)
    select = statement[as_ + 3 :].rstrip("; \n")
    return select if columns is None else f"SELECT * FROM ({select}) AS named{statement[columns:as_].strip()}"
