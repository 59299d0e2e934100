"""SIGKILL at a hundred random moments: no finished run is lost, none is half there, the file opens and is sound."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.conftest import ROOT
from tests.portions import kills

pytestmark = [pytest.mark.alone, pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")]

KILLS = {"ingest": 40, "migration": 30, "import": 12, "rebuild": 10, "restore": 8}

# Imports once and forks, so that kills hit the work and not an import. The parent never uses polars or DuckDB: their
# threads would be missing in its children.
KILLER = """
import json, os, random, shutil, signal, sys, time, traceback
from pathlib import Path
from core.store import parcels
from core.warehouse import backup, copying, ingest, integrity, mirror, rebuilding, restoring
from core.warehouse.warehouse import Warehouse
from tests.profiles import make_model, make_profile
from tests.warehouse.test_migrations import older
from tests.warehouse.test_mirror import fill, import_scores
from tests.warehouse.test_rebuilding import content, same

scenario, place, kills = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3])
random.seed(scenario)
TEMPLATE, ROUND, TOLD = place / "template", place / "round", place / "told.json"
RUNS = [f"01900000-0000-7000-8000-00000000001{n}" for n in range(4)]
LATE = "c" * 64


def at(folder):
    return Warehouse(folder / "workdim.duckdb")


def add(warehouse, run_id):
    profile = make_profile(run_id, model=make_model(n_layers=2))
    parcels.write_parcel(warehouse.jobs / run_id, profile)
    parcels.finish(warehouse.folder, warehouse.jobs / run_id)


def prepare(folder):
    if scenario == "migration":
        folder.mkdir(parents=True)
        warehouse = older("step_8", folder)
        add(warehouse, RUNS[0])
        return
    warehouse = at(folder)
    fill(warehouse)
    with warehouse.write() as connection:  # of the shipped scores nothing is needed here, and all is read in each check
        connection.execute("DELETE FROM scores WHERE file_sha256 NOT IN (SELECT file_sha256 FROM score_files)"
                           " AND file_sha256 <> ''")
    add(warehouse, RUNS[0])
    ingest.ingest_waiting(warehouse)
    for run_id in RUNS[1:]:
        add(warehouse, run_id)
    if scenario in ("rebuild", "restore"):
        ingest.ingest_waiting(warehouse)
    if scenario == "restore":
        backup.back_up(warehouse, folder / "backup.zip")
        import_scores(warehouse, LATE)


def work(folder):
    warehouse = at(folder)
    if scenario == "ingest":
        ingest.ingest_waiting(warehouse)
    elif scenario == "migration":
        warehouse.prepare()
    elif scenario == "import":
        import_scores(warehouse, LATE, n=2000)
    elif scenario == "rebuild":
        rebuilding.rebuild(warehouse)
    elif scenario == "restore":
        with restoring.staged(warehouse, folder / "backup.zip") as found:
            restoring.put_in_place(warehouse, found)


def check(folder, number):
    warehouse = at(folder)
    assert warehouse.path.exists()
    if scenario == "migration":
        for copy in copying.step_copies(warehouse.path, warehouse.backups):
            assert backup.step_and_runs(copy.file) == (8, 2)
    # The mirror may be ahead by what somebody had asked for when the kill came; the next write brings it back.
    sound(warehouse, but=("mirror file",))
    with warehouse.opened() as opened:
        known = set(opened.read("SELECT run_id FROM runs")["run_id"])
        tables = {table: opened.read(f"FROM {table}").height for table in mirror.TABLES}
        late = {t: opened.read(f"SELECT 1 FROM {t} WHERE file_sha256 = ?", [LATE]).height
                for t in ("score_files", "scores", "score_samples")}
    assert RUNS[0] in known or scenario == "migration"
    if scenario == "migration":
        assert len(known) >= 2 and all(tables[t] == 1 for t in ("pilots", "pilot_runs", "plans", "plan_outcomes"))
        assert copying.step_copies(warehouse.path, warehouse.backups)
    else:
        assert all(tables.values())
        whole = {"import": 2000, "restore": 3}.get(scenario, 0)
        assert late in ({t: 0 for t in late}, late | {"score_files": 1, "scores": whole, "score_samples": whole})
    if scenario in ("rebuild", "restore"):
        assert known == set(RUNS)
    if scenario == "import" and late["score_files"]:
        sound(warehouse)  # what is in the file is in the mirror
    else:
        work(folder)
    ingest.ingest_waiting(warehouse)
    expected = set(RUNS[:1] if scenario == "migration" else RUNS)
    assert expected <= set(warehouse.read("SELECT run_id FROM runs")["run_id"])
    assert not parcels.waiting_parcels(warehouse)
    if number % 4 == 0:  # it takes as long as all the rest
        sound(warehouse)


def sound(warehouse, but=()):
    found = [one.line for one in integrity.examine(warehouse).findings if one.is_damage]
    assert [line for line in found if not any(known in line for known in but)] == [], found


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
    shutil.rmtree(ROUND, ignore_errors=True)  # a copy that was begun may have gone on for a moment
print(json.dumps({"unfinished": unfinished, "seconds": seconds}))
"""


@pytest.fixture(scope="module")
def killed(request, tmp_path_factory) -> Iterator[dict[str, Future]]:
    """What came of each scenario that is asked for; two run at a time, because each leaves most processors idle."""
    asked = [one.callspec.params["scenario"] for one in request.session.items if "killed" in one.fixturenames]
    with ThreadPoolExecutor(2) as pool:
        yield {scenario: pool.submit(kill, scenario, tmp_path_factory.mktemp(scenario)) for scenario in asked}


def kill(scenario: str, place: Path) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, "-c", KILLER, scenario, str(place), str(kills(KILLS[scenario]))],
        cwd=ROOT,
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=380,
        check=False,
    )


@pytest.mark.parametrize("scenario", KILLS)
def test_a_kill_at_any_moment_loses_nothing(scenario, killed):
    done = killed[scenario].result()
    assert done.returncode == 0, done.stderr[-3000:]
    told = json.loads(done.stdout)
    assert told["unfinished"] >= kills(KILLS[scenario]) / 3, told


def test_there_are_a_hundred_of_them():
    assert sum(KILLS.values()) == 100
