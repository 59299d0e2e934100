"""Makes tests/warehouse/files again: a warehouse of each earlier schema step, written by the code of that time.

    python -m tests.warehouse.older_files

Each file holds two made-up runs, a plan with an outcome and, from when there were any, a pilot with an own score. Steps
1 to 3 were never left alone by any version: the code of step 4 writes them with its list of steps cut short, and what
has no table yet is left out. `step_7_without_6` is what a branch wrote on which steps 6 and 7 were made side by side.
Needs the history of the repository; DuckDB files are mostly empty room, so they are kept compressed.
"""

from __future__ import annotations

import gzip
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

import polars as pl

ROOT = Path(__file__).parents[2]
FILES = Path(__file__).parent / "files"
COMMITS = {
    "step_1": "c9c520f",
    "step_2": "c9c520f",
    "step_3": "c9c520f",
    "step_4": "c9c520f",
    "step_5": "feca16f",
    "step_6": "9e4d5be",
    "step_7": "93f2e92",
    "step_7_without_6": "1900e89",
    "step_8": "2d7b91f",
}
"""Name of the file -> last commit that wrote such files."""

WRITE = """
import sys
from pathlib import Path
from core.warehouse import migrations, parcels
from core.warehouse.warehouse import Warehouse
from tests.profiles import make_model, make_profile

folder, last = Path(sys.argv[1]), int(sys.argv[2])
for step in [step for step in migrations.MIGRATIONS if step > last]:
    del migrations.MIGRATIONS[step]
if last < 4:  # comments name all tables of step 4, and scores are loaded into one of them
    from core.warehouse import scores
    migrations.COMMENTS = {}
    if last < 3:
        scores.load_reference = lambda connection: 0
warehouse = Warehouse(folder / "workdim.duckdb")
model = make_model(n_layers=2)
for n in (1, 2):
    profile = make_profile(f"01900000-0000-7000-8000-00000000000{n}", model=model, peak=100.0 * n)
    if last > 1:
        parcels.write_parcel(warehouse.jobs / profile.run.run_id, profile)
        parcels.ingest(warehouse, parcels.finish(warehouse, warehouse.jobs / profile.run.run_id))
    else:
        from core.records import TABLES
        from core.warehouse.frames import frame
        with warehouse.write() as connection:
            for table, row in (("models", profile.model), ("corpora", profile.corpus), ("runs", profile.run)):
                connection.register("rows", TABLES[table].frame([row]))
                connection.execute(f"INSERT INTO {table} SELECT * FROM rows ON CONFLICT DO NOTHING")
                connection.unregister("rows")
if last >= 4:
    with warehouse.write() as connection:
        connection.execute("INSERT INTO plans VALUES ('plan', ?, 'm', 'prune', [1], 0.1, 0.05, '{}', 'a plan', "
                           "TIMESTAMP '2026-01-01')", [profile.run.run_id])
        connection.execute("INSERT INTO plan_outcomes VALUES ('plan', 'loss', NULL, 1, 2, 0.1, 9, "
                           "TIMESTAMP '2026-01-01')")
if last >= 7:
    from core.warehouse import pilots
    from tests.warehouse.test_pilots import PILOT, with_score
    pilots.register(warehouse, with_score(PILOT, 61.0))
    pilots.add_runs(warehouse, PILOT.pilot_id, [profile.run.run_id])
"""


def main() -> None:
    FILES.mkdir(exist_ok=True)
    for name, commit in COMMITS.items():
        with tempfile.TemporaryDirectory() as place:
            folder = Path(place)
            archive = folder / "code.tar"
            subprocess.run(["git", "archive", "-o", str(archive), commit], cwd=ROOT, check=True)
            with tarfile.open(archive) as packed:
                packed.extractall(folder / "code", filter="data")
            shipped = folder / "code" / "data" / "reference" / "benchmarks.parquet"
            pl.read_parquet(shipped).head(20).write_parquet(shipped)  # so that the file stays small
            subprocess.run(
                [sys.executable, "-c", WRITE, str(folder), name.split("_")[1]], cwd=folder / "code", check=True
            )
            content = (folder / "workdim.duckdb").read_bytes()
        packed_file = FILES / f"{name}.duckdb.gz"
        packed_file.write_bytes(gzip.compress(content, mtime=0))
        print(f"{packed_file.name}: {len(content) / 1e3:.0f} kB, {packed_file.stat().st_size / 1e3:.0f} kB compressed")


if __name__ == "__main__":
    main()
