"""How the warehouse grows: `python -m tests.bench.scale [--sizes 100 1000 10000 100000] [--shape trial real]`.

Every time is that of the whole way, opening and closing included: least and median of 20, in milliseconds. Behind it
stands its ratio to bare DuckDB, which does the same to the same file in the same minute: connects, asks one statement
without joins (profile: the estimates of the run; ranking: the summaries of the comparison; ingest: as many estimates
inserted), and closes. On a busy machine read the least and the ratios.
"""

from __future__ import annotations

import argparse
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import duckdb
import polars as pl

from core.records import PROFILE_TABLES, Profile
from core.runs.reference_check import references
from core.sql import sandbox
from core.store import parcels
from core.warehouse import ingest, queries
from core.warehouse.profiles import read_profile
from core.warehouse.warehouse import Warehouse
from tests.bench.warehouses import SHAPES, fill, run_id_of

REPEATS = 20
LIMITS = {"file": 200.0, "ingest": 60.0, "ranking": 60.0, "profile": 40.0}
"""At 10,000 runs of the trial's shape: MB, and milliseconds of the median."""
LIMIT_OF_PROFILE = 80.0
"""Milliseconds at 100,000."""


@dataclass(frozen=True)
class Timing:
    name: str
    seconds: list[float]
    bare: list[float]

    @property
    def median(self) -> float:
        return 1e3 * statistics.median(self.seconds)

    def __str__(self) -> str:
        told = f"{self.name:<16} least {1e3 * min(self.seconds):7.1f}   median {self.median:7.1f} ms"
        if not self.bare:
            return told
        return f"{told}   x {min(self.seconds) / min(self.bare):.2f} of bare ({1e3 * min(self.bare):.1f})"


def measured(warehouse: Warehouse) -> Iterator[Timing]:
    """Every reading of one warehouse; the ingests come last, because they change it."""
    listing = queries.listing(warehouse)
    texts = listing.filter(pl.col("pass") == "text")
    middle = texts.row(texts.height // 2, named=True)
    shown = texts["run_id"].head(20).to_list()
    ids = [texts["run_id"][(7 * i + 3) % texts.height] for i in range(REPEATS)]
    group = (middle["corpus_id"], middle["protocol_hash"])

    def home() -> None:
        with warehouse.opened() as opened:
            queries.listing(opened), queries.counts(opened), queries.runs(opened, shown)

    def record(i: int) -> None:
        with warehouse.opened() as opened:
            for read in (queries.runs, queries.estimates, queries.correlators, queries.checks):
                read(opened, [ids[i]])

    def layers(i: int) -> None:
        with warehouse.opened() as opened:
            queries.estimates(opened, [ids[i]]), queries.correlators(opened, [ids[i]])

    estimates = "SELECT * FROM layer_estimates WHERE run_id = ?"
    compared = (
        "SELECT * FROM run_summaries WHERE estimator = 'd2' AND cloud = 'one_per_type' AND run_id IN "
        "(SELECT run_id FROM runs WHERE pass = 'text' AND corpus_id = ? AND protocol_hash = ?)"
    )
    yield timed("open and close", lambda i: warehouse.read("SELECT 1"), lambda i: bare(warehouse, "SELECT 1"))
    yield timed("profile", layers, lambda i: bare(warehouse, estimates, [ids[i]]))
    yield timed("profile, record", record)
    yield timed("ranking", lambda i: queries.ranking(warehouse, *group), lambda i: bare(warehouse, compared, group))
    yield timed("listing", lambda i: queries.listing(warehouse), repeats=5)
    yield timed("home", lambda i: home(), repeats=5)
    yield timed("waiting parcels", lambda i: ingest.waiting_parcels(warehouse), repeats=5)
    yield timed("typed SQL", lambda i: sandbox.query(warehouse, "SELECT count(*) FROM runs"), repeats=5)
    yield _ingests(warehouse)


def timed(
    name: str, act: Callable[[int], Any], baseline: Callable[[int], Any] | None = None, repeats: int = REPEATS
) -> Timing:
    """Each once unmeasured, then in turns, so that a busy minute is one of both."""
    seconds, bare_seconds = [], []
    for i in range(-1, repeats):
        for doing, kept in ((act, seconds), (baseline, bare_seconds)):
            if doing is None:
                continue
            start = time.perf_counter()
            doing(max(i, 0))
            if i >= 0:
                kept.append(time.perf_counter() - start)
    return Timing(name, seconds, bare_seconds)


def bare(warehouse: Warehouse, sql: str, values: Any = None) -> pl.DataFrame:
    connection = duckdb.connect(warehouse.path, read_only=True)
    try:
        return pl.DataFrame(connection.sql(sql, params=values))
    finally:
        connection.close()


def _ingests(warehouse: Warehouse) -> Timing:
    """Real parcels under new ids, taken in one at a time, and as many estimates into a bare table of the same file."""
    like = [profile for profile in _shipped() if profile.run.pass_ == "text"]
    known = queries.counts(warehouse)["runs"]
    with tempfile.TemporaryDirectory() as folder:
        waiting = []
        for i in range(REPEATS + 1):
            run_id = run_id_of(known + i)
            waiting.append(Path(folder) / run_id)
            parcels.write_parcel(waiting[-1], under(like[i % len(like)], run_id))
        rows = queries.estimates(warehouse, warehouse.read("SELECT run_id FROM runs LIMIT 1")["run_id"].to_list())
        taken = iter(waiting)
        return timed("ingest", lambda i: ingest.ingest(warehouse, next(taken)), lambda i: _bare_insert(warehouse, rows))


def _bare_insert(warehouse: Warehouse, rows: pl.DataFrame) -> None:
    connection = duckdb.connect(warehouse.path)
    try:
        connection.execute("CREATE TABLE IF NOT EXISTS bare_estimates AS FROM layer_estimates LIMIT 0")
        connection.register("incoming", rows)
        connection.execute("INSERT INTO bare_estimates SELECT * FROM incoming")
        connection.unregister("incoming")
    finally:
        connection.close()


def _shipped() -> list[Profile]:
    with tempfile.TemporaryDirectory() as folder:
        warehouse = Warehouse(Path(folder) / "shipped.duckdb")
        for path in references():
            ingest.ingest(warehouse, path)
        return [read_profile(warehouse, path.name) for path in references()]


def under(profile: Profile, run_id: str) -> Profile:
    """The same profile as another run."""
    many = {name: [replace(row, run_id=run_id) for row in getattr(profile, name)] for name in PROFILE_TABLES.values()}
    return replace(profile, run=replace(profile.run, run_id=run_id, tags=[]), **many)


def told(n_runs: int, shape: str, warehouse: Warehouse) -> list[str]:
    """The lines of one size; what misses a limit is marked."""
    n = queries.counts(warehouse)["estimates"]
    size = warehouse.path.stat().st_size / 1e6
    lines = [f"{shape}, {n_runs:,} runs: {n:,} estimates, {size:,.1f} MB, {1e6 * size / max(n, 1):.0f} bytes each"]
    if n_runs == 10_000 and size > LIMITS["file"]:
        lines[0] += f"   ABOVE THE LIMIT of {LIMITS['file']:g} MB"
    for timing in measured(warehouse):
        limit = LIMITS.get(timing.name) if n_runs == 10_000 else None
        if n_runs == 100_000 and timing.name == "profile":
            limit = LIMIT_OF_PROFILE
        late = "" if limit is None else f"   limit {limit:g}" + ("" if timing.median <= limit else ": ABOVE")
        lines.append(f"  {timing}{late}")
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", type=int, nargs="+", default=[100, 1_000, 10_000])
    parser.add_argument("--shape", nargs="+", choices=SHAPES, default=["trial"])
    parser.add_argument("--folder", type=Path, help="where the files are made, and kept for the next time")
    options = parser.parse_args()
    folder = options.folder or Path(tempfile.mkdtemp())
    try:
        for shape in options.shape:
            for size in options.sizes:
                path = folder / f"{shape}-{size}" / "workdim.duckdb"
                warehouse = Warehouse(path) if path.exists() else fill(path, size, shape, folders=True)
                print("\n".join(told(size, shape, warehouse)), flush=True)
                if options.folder is None:
                    shutil.rmtree(path.parent)
    finally:
        if options.folder is None:
            shutil.rmtree(folder)


if __name__ == "__main__":
    main()
