"""Whether what lies beside a warehouse file agrees with it: the parcel of each run, and the mirror."""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
from collections.abc import Callable, Iterator
from pathlib import Path

import duckdb
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from core.errors import WarehouseError
from core.store.parcels import DAMAGE, MANY_TABLES, RUN_FILE, is_parcel, read_parcel
from core.warehouse import migrations, mirror
from core.warehouse.finding import Finding, some
from core.warehouse.warehouse import Warehouse, clear_errors, connect

UNSOUND = (*DAMAGE, pa.ArrowException)
"""What reading a parcel that is damaged may raise."""
_BY_PEOPLE = ("tags", "note")
"""Columns of a run that people change after it was measured."""


def of_parcels(
    connection: duckdb.DuckDBPyConnection, warehouse: Warehouse, thorough: bool, progress: Callable[[int, int], None]
) -> tuple[int, list[Finding]]:
    """How many parcels of runs in the file were read, and what is wrong with them."""
    runs = [row[0] for row in connection.execute("SELECT run_id FROM runs ORDER BY run_id").fetchall()]
    counts = {
        table: dict(connection.execute(f"SELECT run_id, count(*) FROM {table} GROUP BY run_id").fetchall())
        for table in MANY_TABLES
    }
    findings, without = [], []
    for number, run_id in enumerate(runs, start=1):
        if not is_parcel(warehouse.parcels / run_id):
            without.append(run_id)
            continue
        expected = {table: of_table.get(run_id, 0) for table, of_table in counts.items()}
        try:
            differing = _differing(connection, warehouse, run_id, expected, thorough)
        except (WarehouseError, *UNSOUND) as error:
            reason = str(error).splitlines()[0] if str(error) else type(error).__name__
            findings.append(
                Finding(
                    f"The parcel of run {run_id} is damaged ({reason}); the run itself is in the warehouse. Bring the "
                    "parcel back: python -m core restore FILE"
                )
            )
            continue
        if differing:
            findings.append(
                Finding(
                    f"Run {run_id} is not what its parcel holds ({', '.join(differing)}). Run: python -m core ingest "
                    "--rebuild"
                )
            )
        progress(number, len(runs))
    if without:
        findings.append(
            Finding(
                f"{some(without, 'run')} without a parcel: the file has the only copy of the rows. "
                "Make a backup: python -m core backup",
                is_damage=False,
            )
        )
    return len(runs) - len(without), findings


def of_mirror(warehouse: Warehouse) -> list[Finding]:
    """The mirror against the file itself, which nobody can write while it is read; raises WarehouseLocked."""
    with clear_errors(warehouse.path), contextlib.closing(connect(warehouse.path, True, warehouse.wait)) as connection:
        if migrations.pending(connection):
            return []  # an older file has none
        wanted = {table: mirror.parts(connection, warehouse.mirror, table) for table in mirror.TABLES}
        stale = [
            str(file.relative_to(warehouse.mirror))
            for table in mirror.TABLES
            for file in _stale(warehouse, table, wanted[table])
        ]
    findings = list(_unreadable(warehouse))
    if stale:
        findings.append(Finding(f"{some(stale, 'mirror file')} behind the warehouse. Run: python -m core ingest"))
    aside = [str(file.relative_to(warehouse.mirror)) for file in mirror.set_aside(warehouse.mirror)]
    if aside:
        findings.append(
            Finding(
                f"{some(aside, 'mirror file')} could not be read when the warehouse was made anew. "
                "Restore a backup that has the rows, and remove it.",
                is_damage=False,
            )
        )
    return findings


def rows_in_files(folder: Path) -> dict[str, int]:
    """Rows of each table of a parcel, told by files that agree with their hashes; raises ValueError where one does not.

    Raises OSError, KeyError, TypeError or pa.ArrowException as well: `UNSOUND` are all of these.
    """
    told = json.loads((folder / RUN_FILE).read_text(encoding="utf-8"))
    n_rows = {}
    for name, sha256 in told["files"].items():
        content = (folder / f"{name}.parquet").read_bytes()
        if hashlib.sha256(content).hexdigest() != sha256:
            raise ValueError(f"{name}.parquet has changed since it was written")
        n_rows[name] = pq.read_metadata(io.BytesIO(content)).num_rows
    return n_rows


def _stale(warehouse: Warehouse, table: str, wanted: list[mirror.Part]) -> Iterator[Path]:
    there = mirror.files(warehouse.mirror, table)
    yield from sorted(set(there) - {part.file for part in wanted})
    yield from (part.file for part in wanted if mirror.fingerprint_in(part.file) != part.fingerprint)


def _unreadable(warehouse: Warehouse) -> Iterator[Finding]:
    for file, reason in mirror.unreadable(warehouse.mirror):
        yield Finding(f"The mirror file {file} is damaged ({reason}). Run: python -m core ingest")


def _differing(
    connection: duckdb.DuckDBPyConnection, warehouse: Warehouse, run_id: str, expected: dict[str, int], thorough: bool
) -> list[str]:
    """Tables in which a run has other rows than its parcel, the parcel's files held against their hashes."""
    folder = warehouse.parcels / run_id
    if thorough:
        return _differing_rows(connection, run_id, read_parcel(folder))
    n_rows = rows_in_files(folder)
    return [
        f"{table}: {expected[table]} rows, not {n_rows[table]}"
        for table in MANY_TABLES
        if n_rows[table] != expected[table]
    ]


def _differing_rows(connection: duckdb.DuckDBPyConnection, run_id: str, parcel: dict[str, pl.DataFrame]) -> list[str]:
    differing = []
    for table in ("runs", *MANY_TABLES):
        stored = pl.DataFrame(connection.sql(f"SELECT * FROM {table} WHERE run_id = ?", params=[run_id]))
        there = parcel[table].drop(_BY_PEOPLE, strict=False)
        # Rows are inserted in the order of the parcel, which nothing promises: so both are brought into one.
        if not _sorted(stored.drop(_BY_PEOPLE, strict=False)).equals(_sorted(there.select(pl.all()))):
            differing.append(table)
    return differing


def _sorted(rows: pl.DataFrame) -> pl.DataFrame:
    plain = [name for name, kind in rows.schema.items() if not kind.is_nested()]
    return rows.select(sorted(rows.columns)).sort(plain, nulls_last=True)
