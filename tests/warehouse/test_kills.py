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

KILLS = {"ingest": 30, "update": 20, "import": 12, "write": 10, "delete": 10, "rebuild": 10, "restore": 8}

# Imports once and forks, so that kills hit the work and not an import. The parent never uses polars or DuckDB: their
# threads would be missing in its children.
KILLER = """
import json, os, random, shutil, signal, sys, time, traceback
from pathlib import Path
from core.store import parcels
from core.store import people
from core.warehouse import backup, ingest, integrity, schema, trash
from core.warehouse.warehouse import Warehouse
from tests.profiles import make_model, make_profile
from core.warehouse.aliases import set_aliases
from core.warehouse.annotate import annotate
from tests.warehouse.filling import FILE_A, content, fill, import_scores

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
    warehouse = at(folder)
    fill(warehouse)
    add(warehouse, RUNS[0])
    warehouse.settle()
    for run_id in RUNS[1:]:
        add(warehouse, run_id)
    if scenario != "ingest":
        warehouse.settle()
    if scenario == "restore":
        backup.back_up(warehouse, folder / "backup.zip")
        import_scores(warehouse, LATE)


def work(folder):
    warehouse = at(folder)
    if scenario == "ingest":
        warehouse.settle()
    elif scenario == "update":
        schema.fingerprint = lambda: "another"
        warehouse.prepare()
    elif scenario == "import":
        import_scores(warehouse, LATE, n=2000)
    elif scenario == "write":
        set_aliases(warehouse, {f"name {n}": f"o/{n}" for n in range(20)})
        annotate(warehouse, RUNS[0], lambda said: said.tagged("late"))
    elif scenario == "delete":
        trash.delete(warehouse, RUNS[1:])
    elif scenario == "rebuild":
        warehouse.rebuild()
    elif scenario == "restore":
        with backup.staged(warehouse, folder / "backup.zip") as found:
            backup.put_in_place(warehouse, found)


def check(folder, number):
    # After a kill all files are whole, and the rows follow them, whatever they then hold.
    warehouse = at(folder)
    if scenario == "update":
        schema.fingerprint = lambda: "another"
    with warehouse.opened() as opened:
        known = set(opened.read("SELECT run_id FROM runs")["run_id"])
        late = {t: opened.read(f"SELECT 1 FROM {t} WHERE file_sha256 = ?", [LATE]).height
                for t in ("score_files", "scores", "score_samples")}
        kept = opened.read("SELECT 1 FROM scores WHERE file_sha256 = ?", [FILE_A]).height
    assert RUNS[0] in known and kept == 3
    whole = {"import": 2000, "restore": 3}.get(scenario, 0)
    assert late in ({t: 0 for t in late}, late | {"score_files": 1, "scores": whole, "score_samples": whole})
    if scenario not in ("delete", "ingest"):
        assert known == set(RUNS)
    before = content(warehouse)
    assert not warehouse.unsettled()
    if number % 4 == 0:  # it takes as long as all the rest
        sound(warehouse)
    warehouse.path.unlink()  # nothing is in the file alone
    after = content(warehouse)
    assert all(before[table].equals(after[table]) for table in before), [
        table for table in before if not before[table].equals(after[table])
    ]
    if scenario == "delete":
        for run_id in set(RUNS) - known:
            trash.restore(warehouse, run_id)
    else:
        work(folder)
    assert set(warehouse.read("SELECT run_id FROM runs")["run_id"]) == set(RUNS)


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
