"""How the warehouse grows: `python -m tests.bench.scale [--sizes 100 1000 10000] [--shape trial real] [--folder PLACE]`.

Every time is that of the whole way, opening and closing included: least and median of 20, in milliseconds. Behind it
stands its ratio to bare DuckDB, which does the same to the same file in the same minute: connects, asks one statement
without joins (profile: the estimates of the run; ranking: the summaries of the comparison; ingest: as many estimates
inserted), and closes. On a busy machine read the least and the ratios. The file is built of its parcels first.
"""

from __future__ import annotations

import argparse
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import polars as pl

from core.sql import sandbox
from core.store.parcels import publish_parcel
from core.warehouse import queries
from core.warehouse.runs import ingest_parcel
from core.warehouse.warehouse import Warehouse
from tests.bench.warehouses import SHAPES, Maker, fill

REPEATS = 20
LIMITS = {"file": 250.0, "build": 90_000.0, "ingest": 60.0, "ranking": 40.0, "profile": 30.0}
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
        told = f"{self.name:<16} least {1e3 * min(self.seconds):8.1f}   median {self.median:8.1f} ms"
        if not self.bare:
            return told
        return f"{told}   x {min(self.seconds) / min(self.bare):.2f} of bare ({1e3 * min(self.bare):.1f})"


def measured(warehouse: Warehouse, maker: Maker) -> Iterator[Timing]:
    """Every reading of one warehouse; the ingests come last, because they change it."""
    listing = queries.run_list(warehouse)
    texts = listing.filter(pl.col("pass") == "text")
    middle = texts.row(texts.height // 2, named=True)
    shown = texts["run_id"].head(20).to_list()
    ids = [texts["run_id"][(7 * i + 3) % texts.height] for i in range(REPEATS)]
    group = [middle["protocol_hash"]]

    def home() -> None:
        with warehouse.open() as opened:
            queries.run_list(opened), queries.counts(opened), queries.runs(opened, shown)

    def record(i: int) -> None:
        with warehouse.open() as opened:
            queries.runs(opened, [ids[i]])
            for table in ("layer_estimates", "layer_correlators", "run_checks"):
                queries.rows(opened, table, [ids[i]])

    def layers(i: int) -> None:
        with warehouse.open() as opened:
            queries.rows(opened, "layer_estimates", [ids[i]]), queries.rows(opened, "layer_correlators", [ids[i]])

    estimates = "SELECT * FROM stored.layer_estimates WHERE run_id = ?"
    compared = (
        "SELECT * FROM run_summaries WHERE estimator = 'd2' AND cloud = 'one_per_type' AND run_id IN "
        "(SELECT run_id FROM runs WHERE pass = 'text' AND protocol_hash = ?)"
    )
    yield timed("open and close", lambda i: warehouse.read("SELECT 1"), lambda i: bare(warehouse, "SELECT 1"))
    yield timed("profile", layers, lambda i: bare(warehouse, estimates, [ids[i]]))
    yield timed("profile, record", record)
    yield timed("ranking", lambda i: queries.ranking(warehouse, *group), lambda i: bare(warehouse, compared, group))
    yield timed("listing", lambda i: queries.run_list(warehouse), repeats=5)
    yield timed("home", lambda i: home(), repeats=5)
    yield timed("waiting parcels", lambda i: warehouse.pending_changes().run_ids, repeats=5)
    yield timed("typed SQL", lambda i: sandbox.run_query(warehouse, "SELECT count(*) FROM runs"), repeats=5)
    yield _ingests(warehouse, maker)


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


def _ingests(warehouse: Warehouse, maker: Maker) -> Timing:
    """Further parcels taken in one at a time, and as many estimates into a bare table of the same file."""
    known = queries.counts(warehouse)["runs"]
    made = [maker.write(warehouse.jobs, number) for number in range(known, known + REPEATS + 1)]
    rows = bare(warehouse, "SELECT * FROM stored.layer_estimates WHERE run_id = (SELECT min(run_id) FROM runs)")
    waiting = iter(made)

    def take() -> None:
        ingest_parcel(warehouse, publish_parcel(warehouse.folder, next(waiting)))

    return timed("ingest", lambda i: take(), lambda i: _bare_insert(warehouse, rows))


def _bare_insert(warehouse: Warehouse, rows: pl.DataFrame) -> None:
    connection = duckdb.connect(warehouse.path)
    try:
        connection.execute("CREATE TABLE IF NOT EXISTS bare_estimates AS FROM stored.layer_estimates LIMIT 0")
        connection.register("incoming", rows)
        connection.execute("INSERT INTO bare_estimates SELECT * FROM incoming")
        connection.unregister("incoming")
    finally:
        connection.close()


def told(n_runs: int, shape: str, warehouse: Warehouse, maker: Maker, build_seconds: float) -> list[str]:
    """The lines of one size; what misses a limit is marked."""
    n = queries.counts(warehouse)["estimates"]
    size = warehouse.path.stat().st_size / 1e6
    lines = [f"{shape}, {n_runs:,} runs: {n:,} estimates, {size:,.1f} MB, {1e6 * size / max(n, 1):.0f} bytes each"]
    if n_runs == 10_000 and size > LIMITS["file"]:
        lines[0] += f"   ABOVE THE LIMIT of {LIMITS['file']:g} MB"
    for timing in (Timing("build", [build_seconds], []), *measured(warehouse, maker)):
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
    parser.add_argument("--folder", type=Path, help="where the parcels are made, and kept for the next time")
    options = parser.parse_args()
    folder = options.folder or Path(tempfile.mkdtemp())
    try:
        for shape in options.shape:
            maker = Maker(shape)
            for size in options.sizes:
                path = folder / f"{shape}-{size}" / "workdim.duckdb"
                seconds = fill(path, size, maker)
                print("\n".join(told(size, shape, Warehouse(path), maker, seconds)), flush=True)
                if options.folder is None:
                    shutil.rmtree(path.parent)
    finally:
        if options.folder is None:
            shutil.rmtree(folder)


if __name__ == "__main__":
    np.random.seed(0)
    main()
