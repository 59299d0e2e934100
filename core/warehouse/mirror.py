"""What people wrote or imported, kept as Parquet beside the warehouse file, so that a lost file can be made anew.

Parcels hold measurements only. These tables are mirrored within the transaction that changes them, before it commits:
a crash in between leaves the mirror with what somebody had asked for, never without what is in the file. Scores and
single answers grow by whole imported files, so each of these has a file of its own; a file of which nothing changed,
told by a fingerprint of its rows, is not written again. The scores that Workdim ships are not mirrored.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import os
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import duckdb
import polars as pl

from core.errors import ResourceError
from core.files import write_through
from core.warehouse.inserting import insert

TABLES = (
    "pilots",
    "pilot_runs",
    "plans",
    "plan_outcomes",
    "model_aliases",
    "saved_queries",
    "score_files",
    "scores",
    "score_samples",
)
_PART_OF = {
    # What a user stated in a pilot came in no file: it goes by its source.
    "scores": "CASE WHEN file_sha256 = '' THEN source ELSE file_sha256 END",
    "score_samples": "file_sha256",
}
"""Tables that are kept in parts, and what tells the parts."""
_WHICH = {"scores": "file_sha256 = '' OR file_sha256 IN (SELECT file_sha256 FROM score_files)"}
_FINGERPRINT = "rows"


@dataclass(frozen=True)
class Part:
    """A mirror file as it should be."""

    file: Path
    table: str
    key: str
    """Of this part of the table; empty where the table is kept whole."""
    fingerprint: str


def write(connection: duckdb.DuckDBPyConnection, folder: Path, tables: Sequence[str] = TABLES) -> None:
    """Bring the mirror of these tables up to what the open transaction will commit.

    Raises ResourceError where the mirror cannot be written: the transaction must not commit then.
    """
    for table in tables:
        wanted = parts(connection, folder, table)
        for part in wanted:
            if fingerprint_in(part.file) != part.fingerprint:
                _replace(part.file, _rows(connection, part), part.fingerprint)
        for file in set(files(folder, table)) - {part.file for part in wanted}:
            _remove(file)


def put_back(connection: duckdb.DuckDBPyConnection, folder: Path, tables: Sequence[str]) -> None:
    """After a transaction that came to nothing: the mirror as the file is, as far as that can be done now."""
    with contextlib.suppress(duckdb.Error, ResourceError):
        write(connection, folder, tables)


def parts(connection: duckdb.DuckDBPyConnection, folder: Path, table: str) -> list[Part]:
    """The mirror files of a table as they should be; none for a table without rows."""
    key, which = _PART_OF.get(table, "''"), _WHICH.get(table, "true")
    # The sum of the rows' hashes does not depend on their order, and unlike an exclusive or it counts equal rows.
    found = connection.execute(
        f"SELECT {key} AS part, count(*), sum(hash({table})) FROM {table} WHERE {which} GROUP BY part ORDER BY part"
    ).fetchall()
    return [Part(_file(folder, table, part), table, part, f"{count}-{total}") for part, count, total in found]


def files(folder: Path, table: str) -> list[Path]:
    """The mirror files of a table that are there."""
    if table not in _PART_OF:
        whole = folder / f"{table}.parquet"
        return [whole] if whole.is_file() else []
    return sorted((folder / table).glob("*.parquet"))


def fingerprint_in(file: Path) -> str | None:
    """Of the rows that a mirror file holds; None where it is not there or cannot be read."""
    try:
        return pl.read_parquet_metadata(file).get(_FINGERPRINT)
    except (OSError, pl.exceptions.PolarsError):
        return None


def unreadable(folder: Path) -> Iterator[tuple[Path, str]]:
    """Mirror files that cannot be read to the end, and why."""
    for table in TABLES:
        for file in files(folder, table):
            try:
                pl.read_parquet(file)
            except FileNotFoundError:  # taken out since
                continue
            except (OSError, pl.exceptions.PolarsError) as error:
                yield file, str(error).splitlines()[0] if str(error) else type(error).__name__


def is_empty(folder: Path) -> bool:
    return not any(files(folder, table) for table in TABLES)


def read_back(
    connection: duckdb.DuckDBPyConnection,
    rehearsal: duckdb.DuckDBPyConnection,
    folder: Path,
    report: Callable[[str], None],
) -> None:
    """Insert what the mirror holds into a new file, within the caller's transaction.

    An error would end that transaction, so all is inserted into `rehearsal`, an empty warehouse in memory, first. A
    file that fails there is one line to `report` and is put aside, where no later write will replace it.
    """
    for table in TABLES:
        for file in files(folder, table):
            try:
                rows = pl.read_parquet(file)
                insert(rehearsal, table, rows)
            except (OSError, duckdb.Error, pl.exceptions.PolarsError) as error:
                aside = _put_aside(file)
                reason = str(error).splitlines()[0] if str(error) else type(error).__name__
                report(f"{file} cannot be read ({reason}): what it held is missing, and it was kept as {aside.name}.")
                continue
            insert(connection, table, rows)


def set_aside(folder: Path) -> Iterator[Path]:
    """Mirror files that could not be read when a warehouse was made from them."""
    yield from sorted(folder.rglob("*.unreadable"))


def _file(folder: Path, table: str, key: str) -> Path:
    if table not in _PART_OF:
        return folder / f"{table}.parquet"
    # A key may come from a file of anybody, so only one that is a hash is trusted as a name.
    name = key if re.fullmatch(r"[0-9a-f]{64}", key) else "of-" + hashlib.sha256(key.encode()).hexdigest()[:32]
    return folder / table / f"{name}.parquet"


def _rows(connection: duckdb.DuckDBPyConnection, part: Part) -> pl.DataFrame:
    key, which = _PART_OF.get(part.table, "''"), _WHICH.get(part.table, "true")
    sql = f"SELECT * FROM {part.table} WHERE {key} = ? AND ({which})"
    return pl.DataFrame(connection.sql(sql, params=[part.key]))


def _replace(file: Path, rows: pl.DataFrame, fingerprint: str) -> None:
    content = io.BytesIO()
    rows.write_parquet(content, compression="zstd", metadata={_FINGERPRINT: fingerprint})
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        write_through(file, content.getvalue())
    except OSError as error:
        raise ResourceError(f"{file} cannot be written: {error.strerror or error}. Nothing was changed.") from error


def _remove(file: Path) -> None:
    try:
        file.unlink(missing_ok=True)
    except OSError as error:
        raise ResourceError(f"{file} cannot be removed: {error.strerror or error}. Nothing was changed.") from error


def _put_aside(file: Path) -> Path:
    aside = file.with_name(file.name + ".unreadable")
    with contextlib.suppress(OSError):
        os.replace(file, aside)
    return aside
