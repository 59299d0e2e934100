"""`python -m tests.warehouse.kill_rounds FOLDER SCENARIO=KILLS...`: SIGKILL at random moments of pieces of work.

All is imported once and each round is a fork, so that kills hit the work and not an import. The parent never uses polars
or DuckDB: their threads would be missing in its children.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import sys
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from core.store import parcels, user_files
from core.warehouse import people, schema
from core.warehouse.aliases import set_aliases
from core.warehouse.exchange import create_backup, export_runs, import_runs, list_backups, restore_backup, stage_backup
from core.warehouse.integrity import check_integrity
from core.warehouse.runs import annotate, delete_runs, restore_run
from core.warehouse.warehouse import Warehouse
from tests.profiles import make_model, make_profile
from tests.warehouse.filling import FILE_A, content, fill, import_scores
from tests.warehouse.test_import_runs import with_scores

RUNS = [f"01900000-0000-7000-8000-00000000001{n}" for n in range(4)]
EARLY, LATE = "a" * 64, "c" * 64


@dataclass(frozen=True)
class Scenario:
    """One piece of work that is killed: what stands before it, the work, and what must be true after a kill."""

    prepare: Callable[[Path], None]
    work: Callable[[Path], object]
    check: Callable[[Path, int], None]
    """Of the folder and the number of the round."""


def at(folder: Path) -> Warehouse:
    return Warehouse(folder / "w" / "workdim.duckdb")


def add(warehouse: Warehouse, run_id: str) -> None:
    model = make_model("made-up/other@1", n_layers=2, repository="made-up/other")
    parcels.write_parcel(warehouse.jobs / run_id, make_profile(run_id, model=model))
    parcels.publish_parcel(warehouse.folder, warehouse.jobs / run_id)


def is_sound(warehouse: Warehouse) -> bool:
    return not [one for one in check_integrity(warehouse).findings if one.is_damage]


def runs_in(warehouse: Warehouse) -> set[str]:
    return set(warehouse.read("SELECT run_id FROM runs")["run_id"])


# --- changes of files, and a file built from them --------------------------------------------------------------


def filled(is_settled: bool = True) -> Callable[[Path], None]:
    def prepare(folder: Path) -> None:
        warehouse = at(folder)
        fill(warehouse)
        add(warehouse, RUNS[0])
        warehouse.apply_pending()
        for run_id in RUNS[1:]:
            add(warehouse, run_id)
        if is_settled:
            warehouse.apply_pending()

    return prepare


def update(folder: Path) -> None:
    schema.fingerprint = lambda: "another"
    at(folder).prepare()


def write(folder: Path) -> None:
    set_aliases(at(folder), {f"name {n}": f"o/{n}" for n in range(20)})
    annotate(at(folder), RUNS[0], lambda said: said.with_tag("late"))


def files_rule(again: Callable[[Path], object], has_all: bool = True, n_late: int = 0) -> Callable[[Path, int], None]:
    """After a kill all files are whole, the rows follow them, and the DuckDB file holds nothing alone."""

    def check(folder: Path, number: int) -> None:
        warehouse = at(folder)
        if again is update:
            schema.fingerprint = lambda: "another"
        with warehouse.open() as opened:
            known = set(opened.read("SELECT run_id FROM runs")["run_id"])
            late = {
                table: opened.read(f"SELECT 1 FROM {table} WHERE file_sha256 = ?", [LATE]).height
                for table in ("score_files", "scores", "score_samples")
            }
            kept = opened.read("SELECT 1 FROM scores WHERE file_sha256 = ?", [FILE_A]).height
        assert RUNS[0] in known and kept == 3
        assert late in (
            {table: 0 for table in late},
            late | {"score_files": 1, "scores": n_late, "score_samples": n_late},
        )
        assert known == set(RUNS) or not has_all
        before = content(warehouse)
        assert not warehouse.pending_changes()
        if number % 4 == 0:  # it takes as long as all the rest
            assert is_sound(warehouse)
        warehouse.path.unlink()
        after = content(warehouse)
        assert [table for table in before if not before[table].equals(after[table])] == []
        again(folder)
        assert runs_in(warehouse) == set(RUNS)

    return check


def restore_deleted(folder: Path) -> None:
    for run_id in set(RUNS) - runs_in(at(folder)):
        restore_run(at(folder), run_id)


# --- archives --------------------------------------------------------------------------------------------------


def archived(folder: Path) -> None:
    warehouse = at(folder)
    for run_id in RUNS[:3]:
        add(warehouse, run_id)
    warehouse.apply_pending()
    with_scores(warehouse, EARLY)
    people.save_query(warehouse, "early", "SELECT 1")
    create_backup(warehouse, folder / "backup.zip")
    export_runs(warehouse, RUNS[:3], folder / "export.zip")


def changed_since(folder: Path) -> None:
    archived(folder)
    warehouse = at(folder)
    add(warehouse, RUNS[3])
    warehouse.apply_pending()
    with_scores(warehouse, LATE)
    people.save_query(warehouse, "late", "SELECT 2")
    people.delete_query(warehouse, "early")
    shutil.rmtree(warehouse.parcels / RUNS[1])


def emptied(folder: Path) -> None:
    archived(folder)
    shutil.rmtree(folder / "w")
    at(folder).prepare()


def restore(folder: Path) -> None:
    with stage_backup(at(folder), folder / "backup.zip") as found:
        restore_backup(at(folder), found)


def merge(folder: Path) -> None:
    assert not import_runs(at(folder), [folder / "export.zip"]).n_left_out


def archive_rule(work: Callable[[Path], object], own: Callable[[Path], None]) -> Callable[[Path, int], None]:
    """After a kill nothing is pending, scores are whole or not there, and the work can be done again; and `own`."""

    def check(folder: Path, number: int) -> None:
        warehouse = at(folder)
        counts = warehouse.read(
            "SELECT file_sha256, count(*) FROM scores JOIN score_files USING (file_sha256) GROUP BY ALL"
        )
        files = dict(counts.rows())
        assert not warehouse.folder.pending_changes()
        assert files.keys() == set(user_files.list_ids(warehouse.folder, "scores")) and set(files.values()) <= {2}
        own(folder)
        assert is_sound(warehouse)
        work(folder)
        assert set(RUNS[:3]) <= runs_in(warehouse)
        assert set(user_files.list_ids(warehouse.folder, "scores")) == {EARLY}

    return check


def is_before_or_after(folder: Path) -> None:
    """A restore is all of the backup or nothing of it; what was measured since stays either way."""
    warehouse = at(folder)
    names = set(warehouse.read("SELECT name FROM saved_queries")["name"])
    is_restored = "early" in names
    state = (names, set(user_files.list_ids(warehouse.folder, "scores")))
    assert state == (({"early"}, {EARLY}) if is_restored else ({"late"}, {EARLY, LATE})), state
    assert runs_in(warehouse) == set(RUNS)
    assert (warehouse.parcels / RUNS[1] / "run.json").is_file() == is_restored


def has_whole_runs(folder: Path) -> None:
    assert runs_in(at(folder)) <= set(RUNS[:3])


def has_whole_backups(folder: Path) -> None:
    assert all(one.n_runs == 3 for one in list_backups(at(folder)))


SCENARIOS = {
    "ingest": Scenario(
        filled(is_settled=False),
        lambda folder: at(folder).apply_pending(),
        files_rule(lambda folder: at(folder).apply_pending(), has_all=False),
    ),
    "update": Scenario(filled(), update, files_rule(update)),
    "scores": Scenario(
        filled(),
        lambda folder: import_scores(at(folder), LATE, n=2000),
        files_rule(lambda folder: import_scores(at(folder), LATE, n=2000), n_late=2000),
    ),
    "write": Scenario(filled(), write, files_rule(write)),
    "delete": Scenario(
        filled(), lambda folder: delete_runs(at(folder), RUNS[1:]), files_rule(restore_deleted, has_all=False)
    ),
    "rebuild": Scenario(filled(), lambda folder: at(folder).rebuild(), files_rule(lambda folder: at(folder).rebuild())),
    "restore": Scenario(changed_since, restore, archive_rule(restore, is_before_or_after)),
    "import": Scenario(emptied, merge, archive_rule(merge, has_whole_runs)),
    "backup": Scenario(
        archived,
        lambda folder: create_backup(at(folder)),
        archive_rule(lambda folder: create_backup(at(folder)), has_whole_backups),
    ),
}


def main(place: Path, *asked: str) -> None:
    """Tells of each scenario in a line of JSON; one that fails ends none of the others."""
    for one in asked:
        name, _, n_kills = one.partition("=")
        (place / name).mkdir()
        child = forked(kill, name, place / name, int(n_kills))
        print(json.dumps({"scenario": name, "failed": status_of(child)}), flush=True)


def kill(name: str, place: Path, n_kills: int) -> None:
    random.seed(name)
    scenario, template, round_ = SCENARIOS[name], place / "template", place / "round"
    assert status_of(forked(scenario.prepare, template)) == 0
    seconds = []
    for _ in range(2):
        shutil.copytree(template, round_)
        begun = time.monotonic()
        assert status_of(forked(scenario.work, round_)) == 0
        seconds.append(time.monotonic() - begun)
        shutil.rmtree(round_)
    unfinished = 0
    for number in range(n_kills):
        shutil.copytree(template, round_)
        child = forked(scenario.work, round_)
        # Each kill in its own slice of the time that the work takes.
        time.sleep((number + random.random()) / n_kills * min(seconds))
        os.kill(child, signal.SIGKILL)
        unfinished += os.WIFSIGNALED(status_of(child))
        assert status_of(forked(scenario.check, round_, number)) == 0, f"after kill {number} in {round_}"
        shutil.rmtree(round_, ignore_errors=True)
        shutil.rmtree(round_, ignore_errors=True)  # a copy that was begun may have gone on for a moment
    assert unfinished >= n_kills / 3, f"{name}: {unfinished} of {n_kills} were killed at work, of {seconds} seconds"


def forked(do: Callable[..., object], *arguments: object) -> int:
    """The process id of a child that does it."""
    child = os.fork()
    if child == 0:
        try:
            do(*arguments)
        except BaseException:
            traceback.print_exc()
            os._exit(1)
        os._exit(0)
    return child


def status_of(child: int) -> int:
    return os.waitpid(child, 0)[1]


if __name__ == "__main__":
    main(Path(sys.argv[1]), *sys.argv[2:])
