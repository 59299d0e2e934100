"""A file that is lost, ruined or of another version is built anew from the files beside it, with the same content."""

from __future__ import annotations

import json
import re
import shutil
import threading
from dataclasses import replace

import duckdb
import pytest

from core.errors import InputError, ResourceError, WarehouseError, WarehouseLocked
from core.store import parcels, user_files
from core.store.parcels import Annotations
from core.tables import LONG_TABLES, TABLES
from core.warehouse import queries, schema, sync
from core.warehouse.aliases import set_aliases
from core.warehouse.connection import wal_path
from core.warehouse.people import add_runs, find_query, list_queries
from core.warehouse.runs import annotate, delete_runs, ingest_parcel
from core.warehouse.warehouse import Warehouse
from tests.profiles import make_profile
from tests.warehouse.conftest import copied, put_beside
from tests.warehouse.filling import content, fill, import_scores, same
from tests.warehouse.test_parcels import RUN_IDS, lose_a_value
from tests.warehouse.test_pilots import PILOT

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def _full(new_warehouse):
    """Three runs and a file of every kind."""
    warehouse = new_warehouse("building")
    fill(warehouse)
    for run_id in RUN_IDS[:3]:
        ingest_parcel(warehouse, put_beside(warehouse, make_profile(run_id)))
    return warehouse


@pytest.fixture
def full(_full, warehouse):
    return copied(_full, warehouse)


def lose(warehouse):
    warehouse.path.unlink()


def ruin(warehouse):
    warehouse.path.write_bytes(b"ruined" * 1000)


def cut_short(warehouse):
    warehouse.path.write_bytes(warehouse.path.read_bytes()[:300_000])


def put_a_strange_log_beside(warehouse):
    """That of another DuckDB file: DuckDB opens no file beside it."""
    other = warehouse.path.with_name("other")
    with duckdb.connect(other) as connection:
        connection.execute("CREATE TABLE t (i INT)")
        connection.execute("PRAGMA disable_checkpoint_on_shutdown")
        connection.execute("INSERT INTO t VALUES (1)")
    shutil.move(wal_path(other), wal_path(warehouse.path))
    other.unlink()


@pytest.mark.parametrize("damage", [lose, ruin, cut_short, put_a_strange_log_beside])
def test_a_file_that_was_built_anew_holds_the_same(full, damage):
    before = content(full)
    damage(full)
    reports: list[str] = []
    built = full.rebuild(reports.append)
    assert list(built.run_ids) == RUN_IDS[:3]
    assert len(reports) == (damage is not lose), reports
    assert (built.previous_file is not None) == bool(reports)
    assert not wal_path(full.path).exists()
    assert same(before, content(full))
    assert not list(full.path.parent.glob("*.rebuild*"))


def test_many_parcels_come_in_by_one_statement_each_as_they_do_alone(full, monkeypatch):
    alone = content(full)
    lose(full)
    monkeypatch.setattr(sync, "BATCH", 2)
    assert same(alone, content(full))


def test_a_file_of_another_version_is_built_anew_when_it_is_opened(full, monkeypatch):
    before = content(full)
    monkeypatch.setattr(schema, "fingerprint", lambda: "another")
    assert same(before, content(full))
    assert full.read("SELECT fingerprint FROM schema_version")["fingerprint"].to_list() == ["another"]


OPEN = """
import sys
from pathlib import Path
from core.warehouse import schema, sync
from core.warehouse.warehouse import Warehouse
schema.fingerprint = lambda: "another"
built = []
inner = sync._build
sync._build = lambda *a: (built.append(1), inner(*a))[1]
sys.stdin.readline()
print(Warehouse(Path(sys.argv[1])).read("SELECT count(*) AS n FROM runs")["n"][0], len(built))
"""


def test_two_processes_that_open_after_an_update_build_once(full, python):
    processes = [python(OPEN, full.path) for _ in range(3)]
    for process in processes:
        process.stdin.write("go\n")
        process.stdin.flush()
    answers = [process.communicate(timeout=120) for process in processes]
    assert [out.split()[0] for out, _ in answers] == ["3"] * 3, answers
    assert sum(int(out.split()[1]) for out, _ in answers) == 1, answers


def test_what_a_user_added_to_the_file_is_copied(full):
    with full.write() as connection:
        connection.execute('CREATE TABLE "my own" AS SELECT 42 AS answer')
        connection.execute('CREATE VIEW seen AS SELECT * FROM "my own"')
    assert full.rebuild().previous_file is None
    assert full.read('FROM "my own"').rows() == [(42,)]
    assert find_query(full, "seen").sql == 'SELECT * FROM "my own"'
    with full.write() as connection:
        connection.execute('INSERT INTO "my own" VALUES (43)')
    full.rebuild()
    assert full.read('FROM "my own"').rows() == [(42,), (43,)]


def test_runs_whose_parcels_are_gone_or_damaged_stay_in_the_old_file(full):
    shutil.rmtree(full.parcels / RUN_IDS[0])
    lose_a_value(full.parcels / RUN_IDS[1])
    reports: list[str] = []
    built = full.rebuild(reports.append)
    assert list(built.run_ids) == [RUN_IDS[2]] == queries.runs(full)["run_id"].to_list()
    assert len(reports) == 3 and sum("stay in the old file" in line for line in reports) == 2
    with duckdb.connect(built.previous_file, read_only=True) as old:
        assert old.sql("SELECT run_id FROM runs ORDER BY ALL").fetchall() == [(one,) for one in RUN_IDS[:3]]


def test_what_people_wrote_and_whose_files_are_gone_stays_in_the_old_file(full):
    shutil.rmtree(full.folder.people)
    reports: list[str] = []
    built = full.rebuild(reports.append)
    assert len(reports) == 8 and all("stay in the old file" in line for line in reports) and built.previous_file
    assert not len(list_queries(full)) and not full.folder.people.exists()


def test_a_parcel_with_a_row_twice_is_left_out_by_name_and_stops_no_other(full, monkeypatch):
    bad = full.parcels / RUN_IDS[1]
    run = json.loads((bad / "run.json").read_text())
    run["model"]["n_layers"] = 2**62
    (bad / "run.json").write_text(json.dumps(run))
    lose(full)
    reports: list[str] = []
    assert list(full.rebuild(reports.append).run_ids) == [RUN_IDS[0], RUN_IDS[2]]
    assert len(reports) == 1 and RUN_IDS[1] in reports[0] and "blocks" in reports[0]


def test_what_is_written_while_parcels_are_read_is_not_lost(full, add_parcel):
    def meanwhile(done, total):
        if done == total:
            import_scores(full, "c" * 64)
            annotate(full, RUN_IDS[0], lambda said: said.with_tag("meanwhile").with_note("said meanwhile"))
            ingest_parcel(full, add_parcel(make_profile(RUN_IDS[3])))
            delete_runs(full, [RUN_IDS[2]])

    full.rebuild(progress=meanwhile)
    assert full.read("SELECT 1 FROM scores WHERE file_sha256 = ?", ["c" * 64]).height == 3
    said = full.read("SELECT tags, note FROM runs WHERE run_id = ?", [RUN_IDS[0]]).row(0)
    assert said == (["meanwhile"], "said meanwhile")
    assert set(queries.runs(full)["run_id"]) == {RUN_IDS[0], RUN_IDS[1], RUN_IDS[3]}


def test_readers_go_on_with_the_old_file_while_a_new_one_is_built(full):
    seen = []
    full.rebuild(progress=lambda done, total: seen.append(queries.runs(replace(full, wait=0.5)).height))
    assert seen == [3]


def test_tags_that_were_edited_by_hand_are_found_by_ingest(full):
    parcels.write_annotations(full.parcels / RUN_IDS[0], Annotations(("mine",), "kept"))
    full.sync_files()
    assert full.read("SELECT tags, note FROM runs WHERE run_id = ?", [RUN_IDS[0]]).row(0) == (["mine"], "kept")


NONSENSE = ("", "[]", "{}", '{"format": -1, "tables": {}}', '{"format": 99}', "[" * 100_000, '{"tables": 1}')


def test_a_file_of_people_edited_into_nonsense_is_one_line_and_its_rows_stay(full):
    before = content(full)
    path = user_files.path_of(full.folder, "query", user_files.hash_name("all"))
    for nonsense in NONSENSE:
        path.write_text(nonsense)
        reports: list[str] = []
        full.sync_files(reports.append)
        assert len(reports) == 1 and str(path) in reports[0] and "\n" not in reports[0]
    assert same(before, content(full))
    reports.clear()
    assert full.rebuild(reports.append).previous_file is not None
    assert path.read_text() == nonsense and len(reports) == 2 and not len(list_queries(full))


UNREADABLE = (
    ("pilot", "config", "{", "config: Invalid JSON"),
    ("pilot", "config", '{"name": "x"}', "config.question"),
    ("rule", "config", '{"name": "x"}', "config.use_class"),
    ("rule", "outcome", "perhaps", "the outcome 'perhaps' is none of right, wrong"),
    ("recipe", "language", "fr", "Unknown language 'fr'"),
)


def test_a_file_of_people_whose_rows_nothing_could_read_is_one_line(full):
    before = content(full)
    for kind, column, value, reason in UNREADABLE:
        (file_id,) = user_files.list_ids(full.folder, kind)
        path = user_files.path_of(full.folder, kind, file_id)
        whole = path.read_text()
        edited = json.loads(whole)
        table = next(table for table in user_files.KINDS[kind].tables if column in TABLES[table].names)
        edited["tables"][table][0][column] = value
        path.write_text(json.dumps(edited))
        reports: list[str] = []
        full.sync_files(reports.append)
        assert len(reports) == 1 and str(path) in reports[0] and reason in reports[0] and "\n" not in reports[0]
        path.write_text(whole)
    assert same(before, content(full))


def test_a_file_that_was_removed_by_hand_deletes_nothing(full):
    before = content(full)
    user_files.path_of(full.folder, "query", user_files.hash_name("all")).unlink()
    full.sync_files()
    assert same(before, content(full))


def test_a_change_that_fails_for_a_lost_file_leaves_its_rows(full):
    """They are all that is left of it."""
    user_files.path_of(full.folder, "pilot", PILOT.pilot_id).unlink()
    before = content(full)
    with pytest.raises(InputError, match="There is no pilot"):
        add_runs(full, PILOT.pilot_id, RUN_IDS[:1])
    assert same(before, content(full)) and not full.folder.pending_changes()


def test_an_alias_whose_file_is_lost_is_written_where_it_is_set_again(full):
    file = user_files.path_of(full.folder, "alias", user_files.hash_name("Llama"))
    file.unlink()
    set_aliases(full, {"Llama": "o/llama"})
    assert file.is_file() and full.read("SELECT alias FROM model_aliases")["alias"].to_list() == ["Llama"]


def test_a_file_that_others_hold_is_left_alone(full, python):
    before = content(full)
    holder = python(
        "import sys, duckdb\nc = duckdb.connect(sys.argv[1], read_only=True)\nprint(flush=True)\ninput()", full.path
    )
    holder.stdout.readline()
    with pytest.raises(WarehouseLocked, match=f"Process {holder.pid} has held"):
        replace(full, wait=0.2).rebuild()
    holder.communicate("\n")
    assert same(before, content(full))
    assert list(full.rebuild().run_ids) == RUN_IDS[:3]


def test_who_waits_for_a_build_is_told_so(full, monkeypatch):
    monkeypatch.setattr(sync, "_SILENT_SECONDS", 0.05)
    monkeypatch.setattr(sync, "_MAX_BUILD_SECONDS", 0.1)
    told = []
    refused = pytest.raises(WarehouseLocked, match=f"has held the warehouse {re.escape(str(full.path))} too long")
    with sync.exclusive(full.path, 1.0, "building"), refused:
        full.rebuild(told.append)
    assert len(told) == 1 and "this one waits for it" in told[0]


def test_a_folder_is_no_warehouse(full):
    lose(full)
    full.path.mkdir()
    for use in (full.prepare, lambda: full.read("SELECT 1"), full.rebuild):
        with pytest.raises(WarehouseError, match=r"is a folder\. Name a file in it: --warehouse"):
            use()
    assert full.path.is_dir() and not list(full.path.parent.glob("*.rebuild*"))


def test_a_file_of_a_newer_workdim_is_refused_and_left_alone(full):
    with full.write() as connection:
        connection.execute("UPDATE schema_version SET version = 99")
    before = full.path.read_bytes()
    for use in (full.rebuild, lambda: full.read("SELECT 1"), full.apply_pending):
        with pytest.raises(WarehouseError, match="is of a newer Workdim. Update Workdim"):
            use()
    assert full.path.read_bytes() == before


@pytest.mark.parametrize("stage", ["ingest_runs", "exchange"])
def test_a_full_disk_leaves_the_old_file(full, monkeypatch, stage):
    before = content(full)

    def no_room(*_):
        raise (
            OSError(28, "No space left on device") if stage == "ingest_runs" else ResourceError("The disk has no room.")
        )

    with monkeypatch.context() as patch:
        patch.setattr(*((sync, "ingest_runs") if stage == "ingest_runs" else (sync, "move")), no_room)
        with pytest.raises(ResourceError, match="(?i)no (room|space)"):
            full.rebuild()
    assert same(before, content(full))
    assert not list(full.path.parent.glob("*.rebuild*"))


def test_a_read_only_file_system_is_one_line(full, monkeypatch):
    """Also to whoever may write anywhere else."""

    def no_gate(*_, **__):
        raise OSError(30, "Read-only file system")

    def no_file(*_, **__):
        raise duckdb.IOException('IO Error: Cannot open file "w.duckdb.rebuild": Read-only file system')

    with monkeypatch.context() as patch:
        patch.setattr("filelock.FileLock.acquire", no_gate)
        patch.setattr(duckdb, "connect", no_file)
        with pytest.raises(ResourceError, match="cannot be used: .*Read-only file system"):
            full.rebuild()
    assert queries.runs(full).height == 3


def test_many_reads_of_a_page_list_the_parcels_once(full, monkeypatch):
    monkeypatch.setattr("core.warehouse.warehouse._CLOCK_TICK", 0)
    looks = []
    inner = sync.find_pending_changes
    monkeypatch.setattr(sync, "find_pending_changes", lambda *a: (looks.append(1), inner(*a))[1])
    for _ in range(5):
        queries.counts(full)
    assert len(looks) <= 1


def test_readers_in_threads_survive_a_file_that_is_exchanged(full):
    failed = []

    def read():
        try:
            for _ in range(10):
                assert queries.counts(full)["runs"] == 3
        except Exception as error:
            failed.append(error)

    threads = [threading.Thread(target=read) for _ in range(3)]
    for thread in threads:
        thread.start()
    full.rebuild()
    for thread in threads:
        thread.join()
    assert not failed


def test_a_new_file_has_every_table(tmp_path):
    new = Warehouse(tmp_path / "new" / "workdim.duckdb")
    assert {table: rows.height for table, rows in content(new, LONG_TABLES).items()} == dict.fromkeys(LONG_TABLES, 0)


def test_hundreds_of_empty_parcels_are_told_with_progress(tmp_path):
    warehouse = Warehouse(tmp_path / "workdim.duckdb")
    for number in range(300):
        parcel = warehouse.parcels / f"01900000-0000-7000-8000-{number:012x}"
        parcel.mkdir(parents=True)
        (parcel / "run.json").write_text("{}")
    reports, seen = [], []
    warehouse.rebuild(reports.append, lambda done, total: seen.append((done, total)))
    assert len(reports) == 300 and seen[-1] == (300, 300) and len(seen) > 1
