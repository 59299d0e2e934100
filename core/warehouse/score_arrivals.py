"""Scores that come with an export: the rows of files that this warehouse has not imported."""

from __future__ import annotations

import hashlib
import io
from pathlib import Path

import polars as pl

from core.errors import ResourceError, WarehouseLocked
from core.tables import TABLES
from core.warehouse.exchange import SCORE_TABLES
from core.warehouse.inserting import insert
from core.warehouse.warehouse import Warehouse, is_there

_KNOWN = "SELECT file_sha256 FROM score_files"


def take_in(warehouse: Warehouse, folder: Path, hashes: dict[str, str], dry_run: bool) -> tuple[int, list[str]]:
    """How many scores came in, or would, and a line for what was left out.

    A file comes with all its rows or not at all; one that is known already brings nothing. Only scores of imported
    files come: those that Workdim ships are here, and a user's own belong to their pilot.
    """
    if not (folder / "tables" / "score_files.parquet").is_file():
        return 0, []
    try:
        tables = {table: _read(folder, table, hashes) for table in SCORE_TABLES}
    except (ValueError, OSError, pl.exceptions.PolarsError, pl.exceptions.PanicException) as error:
        return 0, [f"The scores in {folder} were left out: {str(error).splitlines()[0]}."]
    if dry_run:
        known = warehouse.read(_KNOWN)["file_sha256"].to_list() if is_there(warehouse.path) else []
        return _new(tables, known)["scores"].height, []
    try:
        with warehouse.write(mirrored=SCORE_TABLES) as connection:
            arrived = _new(tables, [row[0] for row in connection.execute(_KNOWN).fetchall()])
            for table, rows in arrived.items():
                insert(connection, table, rows)
    except (WarehouseLocked, ResourceError) as error:
        return 0, [f"The scores in {folder} were left out: {error}"]
    return arrived["scores"].height, []


def _new(tables: dict[str, pl.DataFrame], known: list[str]) -> dict[str, pl.DataFrame]:
    """The rows of files that are not known."""
    new = tables["score_files"].filter(~pl.col("file_sha256").is_in(known))["file_sha256"].to_list()
    return {table: rows.filter(pl.col("file_sha256").is_in(new)) for table, rows in tables.items()}


def _read(folder: Path, table: str, hashes: dict[str, str]) -> pl.DataFrame:
    """The rows as the export has them; raises ValueError where they are not what its manifest and our tables say."""
    name = f"tables/{table}.parquet"
    types = TABLES[table].schema
    if not (folder / name).is_file():
        return pl.DataFrame(schema=types)
    content = (folder / name).read_bytes()
    if hashlib.sha256(content).hexdigest() != hashes.get(name):
        raise ValueError(f"{name} is not as the manifest has it")
    rows = pl.read_parquet(io.BytesIO(content))
    if rows.schema != types:
        raise ValueError(f"{name} has other columns than {table}")
    missing = [column for column in rows.columns if column not in TABLES[table].optional]
    if any(rows[column].null_count() for column in missing):
        raise ValueError(f"{name} lacks values")
    return rows
