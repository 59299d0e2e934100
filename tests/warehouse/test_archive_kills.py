"""SIGKILL at random moments of a backup, a restore and an import: all of it or nothing, whoever opens next."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from tests.conftest import ROOT
from tests.portions import kills

pytestmark = [pytest.mark.alone, pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")]

KILLS = {"restore": 15, "import": 9, "backup": 6}

# Imports once and forks, so that kills hit the work and not an import. The parent never uses polars or DuckDB: their
# threads would be missing in its children.
KILLER = """
import json, os, random, shutil, signal, sys, time, traceback
from pathlib import Path
from core.store import parcels, people
from core.warehouse import ingest, saved
from core.warehouse.backup import back_up, backups, put_in_place, staged
from core.warehouse.export_runs import export
from core.warehouse.import_runs import import_runs
from core.warehouse.integrity import examine
from core.warehouse.warehouse import Warehouse
from tests.profiles import make_model, make_profile
from tests.warehouse.test_import_runs import with_scores

scenario, place, kills = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3])
random.seed(scenario)
TEMPLATE, ROUND = place / "template", place / "round"
RUNS = [f"01900000-0000-7000-8000-00000000001{n}" for n in range(4)]
EARLY, LATE = "a" * 64, "c" * 64


def at(folder):
    return Warehouse(folder / "w" / "workdim.duckdb")


def add(warehouse, run_id):
    parcels.write_parcel(warehouse.jobs / run_id, make_profile(run_id, model=make_model("made-up/other@1", n_layers=2,
                                                                                         repository="made-up/other")))
    parcels.finish(warehouse.folder, warehouse.jobs / run_id)


def prepare(folder):
    warehouse = at(folder)
    for run_id in RUNS[:3]:
        add(warehouse, run_id)
    warehouse.settle()
    with_scores(warehouse, EARLY)
    saved.save(warehouse, "early", "SELECT 1")
    back_up(warehouse, folder / "backup.zip")
    export(warehouse, RUNS[:3], folder / "export.zip")
    if scenario == "restore":
        add(warehouse, RUNS[3])
        warehouse.settle()
        with_scores(warehouse, LATE)
        saved.save(warehouse, "late", "SELECT 2")
        saved.delete(warehouse, "early")
        shutil.rmtree(warehouse.parcels / RUNS[1])
    elif scenario == "import":
        shutil.rmtree(folder / "w")
        warehouse.prepare()


def work(folder):
    warehouse = at(folder)
    if scenario == "restore":
        with staged(warehouse, folder / "backup.zip") as found:
            put_in_place(warehouse, found)
    elif scenario == "import":
        assert import_runs(warehouse, [folder / "export.zip"]).is_complete
    else:
        back_up(warehouse)


def check(folder, number):
    warehouse = at(folder)
    runs = set(warehouse.read("SELECT run_id FROM runs")["run_id"])
    names = set(warehouse.read("SELECT name FROM saved_queries")["name"])
    files = dict(warehouse.read("SELECT file_sha256, count(*) FROM scores JOIN score_files USING (file_sha256) GROUP BY ALL").rows())
    assert not warehouse.folder.marked()
    assert files.keys() == set(people.ids(warehouse.folder, "scores"))
    assert set(files.values()) <= {2}
    if scenario == "restore":
        restored = "early" in names
        assert (names, set(files)) == (({"early"}, {EARLY}) if restored else ({"late"}, {EARLY, LATE})), (names, files)
        assert runs == set(RUNS), runs
        assert (warehouse.parcels / RUNS[1] / "run.json").is_file() == restored
    elif scenario == "import":
        assert runs <= set(RUNS[:3])
    else:
        assert all(one.n_runs == 3 for one in backups(warehouse)), backups(warehouse)
    found = [one.line for one in examine(warehouse).findings if one.is_damage]
    assert found == [], found
    work(folder)
    assert set(RUNS[:3]) <= set(warehouse.read("SELECT run_id FROM runs")["run_id"])
    assert set(people.ids(warehouse.folder, "scores")) == {EARLY}
    if scenario == "backup":
        assert len(backups(warehouse)) >= 1


def start(do, *arguments):
    child = os.fork()
    if child == 0:
        try:
            do(*arguments)
        except BaseException:
            traceback.print_exc()
            os._exit(1)
        os._exit(0)
    return child


def finish(child):
    return os.waitpid(child, 0)[1]


assert finish(start(prepare, TEMPLATE)) == 0
seconds = []
for _ in range(2):
    shutil.copytree(TEMPLATE, ROUND)
    begun = time.monotonic()
    assert finish(start(work, ROUND)) == 0
    seconds.append(time.monotonic() - begun)
    shutil.rmtree(ROUND)
unfinished = 0
for number in range(kills):
    shutil.copytree(TEMPLATE, ROUND)
    child = start(work, ROUND)
    # Each kill in its own slice of the time that the work takes.
    time.sleep((number + random.random()) / kills * min(seconds))
    os.kill(child, signal.SIGKILL)
    unfinished += os.WIFSIGNALED(finish(child))
    status = finish(start(check, ROUND, number))
    assert status == 0, f"after kill {number} in {ROUND}"
    shutil.rmtree(ROUND, ignore_errors=True)
print(json.dumps({"unfinished": unfinished, "seconds": seconds}))
"""


@pytest.mark.parametrize("scenario", KILLS)
def test_a_kill_at_any_moment_leaves_all_or_nothing(scenario, tmp_path):
    n_kills = kills(KILLS[scenario])
    done = subprocess.run(
        [sys.executable, "-c", KILLER, scenario, str(tmp_path), str(n_kills)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=380,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert json.loads(done.stdout)["unfinished"] >= n_kills / 3
