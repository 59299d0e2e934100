"""A backup is whole or none; a restore looks first, loses nothing that was measured, and keeps what was there."""

from __future__ import annotations

import io
import json
import shutil
import zipfile
from dataclasses import replace

import polars as pl
import pytest

from core.commands import main
from core.errors import InputError, QueryError, ResourceError, WarehouseError, WarehouseLocked
from core.sql.sandbox import run_query
from core.store import archive as restoring
from core.store import parcels, user_files
from core.tables import LONG_TABLES
from core.warehouse import aliases as alias_table
from core.warehouse import people, schema, sync
from core.warehouse.exchange import create_backup, export_runs, list_backups, restore_backup, stage_backup
from core.warehouse.integrity import check_integrity
from core.warehouse.runs import annotate, ingest_parcel
from core.warehouse.warehouse import Warehouse
from tests.profiles import make_profile
from tests.store.test_archive import zip_of
from tests.warehouse.conftest import copied, put_beside
from tests.warehouse.test_import_runs import with_scores
from tests.warehouse.test_parcels import RUN_IDS, cut_a_table
from tests.warehouse.test_pilots import PILOT
from tests.warehouse.test_recipes import RECIPE, number_row
from tests.warehouse.test_rules import RULE, chosen

pytestmark = pytest.mark.slow

OF_PEOPLE = (
    "pilots",
    "pilot_runs",
    "score_files",
    "scores",
    "score_samples",
    "model_aliases",
    "saved_queries",
    "rules",
    "rule_choices",
    "recipes",
    "recipe_numbers",
)
TABLES = ("models", "corpora", "runs", *LONG_TABLES, *OF_PEOPLE)


@pytest.fixture(scope="session")
def _full(new_warehouse) -> Warehouse:
    """Three runs, something of each kind that people write, a table and a view of a user's own."""
    warehouse = new_warehouse("full")
    for run_id in RUN_IDS[:3]:
        ingest_parcel(warehouse, put_beside(warehouse, make_profile(run_id)))
    people.register_pilot(warehouse, PILOT)
    people.add_runs(warehouse, PILOT.pilot_id, RUN_IDS[:1])
    alias_table.set_aliases(warehouse, {"their name": "made-up/other"})
    people.save_query(warehouse, "mine", "SELECT 1")
    people.save_rule(warehouse, RULE)
    people.add_choice(warehouse, chosen(RULE, "choice-1"))
    people.save_recipe(warehouse, RECIPE, [number_row(1, 21.5)], "0.1", b"PK a template")
    with_scores(warehouse)
    with warehouse.write() as connection:
        connection.execute('CREATE TABLE "my ""table""" AS SELECT 1 AS a, [1.5, 2.5] AS b')
        connection.execute("CREATE VIEW my_view AS SELECT count(*) AS n FROM runs")
    warehouse.rebuild()
    return warehouse


@pytest.fixture
def full(_full, warehouse) -> Warehouse:
    return copied(_full, warehouse)


def content(warehouse) -> dict[str, pl.DataFrame]:
    with warehouse.open() as opened:
        tables = {table: opened.read(f"SELECT * FROM {table}") for table in TABLES}
    for table, rows in tables.items():
        tables[table] = rows.sort([name for name, kind in rows.schema.items() if not kind.is_nested()])
    return tables


def same(one, other) -> bool:
    return all(one[table].equals(other[table]) for table in one)


def restore(warehouse, file):
    reports: list[str] = []
    with stage_backup(warehouse, file) as found:
        done = restore_backup(warehouse, found, reports.append)
    assert not list(warehouse.path.parent.glob(".workdim-*")) and not warehouse.folder.pending_changes()
    return done, reports


def damages(warehouse):
    return [finding.line for finding in check_integrity(warehouse, thorough=True).findings if finding.is_damage]


def test_a_backup_comes_back_on_an_empty_machine(full, tmp_path):
    before = content(full)
    made = create_backup(full)
    assert made.file.parent == full.folder.backups and made.n_runs == 3
    assert [one.file for one in list_backups(full)] == [made.file] and list_backups(full)[0].n_runs == 3
    elsewhere = Warehouse(tmp_path / "new machine" / "w.duckdb")
    done, reports = restore(elsewhere, made.file)
    assert (done.previous_file, done.previous_people, done.n_parcels, done.n_newer, reports) == (None, None, 3, 0, [])
    assert same(before, content(elsewhere)) and damages(elsewhere) == []
    assert elsewhere.read('FROM "my ""table"""').rows() == [(1, [1.5, 2.5])]
    assert elsewhere.read("SELECT view_name FROM duckdb_views() WHERE view_name = 'my_view'").is_empty()
    assert run_query(elsewhere, "SELECT n + 1 AS n FROM My_View").frame["n"].to_list() == [4]
    assert not list(full.path.parent.glob(".workdim-*"))


def test_what_was_measured_since_is_not_lost(full, add_parcel):
    annotate(full, RUN_IDS[0], lambda said: said.with_tag("before").with_note("first"))
    made = create_backup(full)
    before = content(full)
    annotate(full, RUN_IDS[0], lambda said: said.with_tag("after").with_note("second"))
    late = replace(PILOT, name="Later")
    people.register_pilot(full, late)
    people.add_runs(full, late.pilot_id, [RUN_IDS[3]])
    people.add_runs(full, PILOT.pilot_id, [RUN_IDS[1]])
    ingest_parcel(full, add_parcel(make_profile(RUN_IDS[3], pilot_id=late.pilot_id)))
    with_scores(full, "c" * 64)
    people.save_query(full, "later", "SELECT 2")
    at_last = content(full)
    shutil.rmtree(full.parcels / RUN_IDS[1])
    cut_a_table(full.parcels / RUN_IDS[2])
    done, reports = restore(full, made.file)
    assert (done.n_parcels, done.n_newer, reports) == (2, 1, [])
    now = content(full)
    for table in now:
        is_of_backup = table in ("score_files", "scores", "score_samples", "saved_queries")
        assert now[table].equals((before if is_of_backup else at_last)[table]), table
    assert damages(full) == []
    aside = Warehouse(full.path.with_name("aside") / "w.duckdb")
    aside.path.parent.mkdir()
    shutil.copyfile(done.previous_file, aside.path)
    assert aside.read("SELECT 1 FROM score_files WHERE file_sha256 = ?", ["c" * 64]).height == 1
    assert (done.previous_people / "scores" / ("c" * 64) / "file.json").is_file()
    assert [one.name for one in full.folder.trash.iterdir() if one.name != "people"] == [f"{RUN_IDS[2]}.damaged"]


def test_what_was_deleted_since_comes_back(full):
    made, before = create_backup(full), content(full)
    people.delete_query(full, "mine")
    alias_table.set_aliases(full, {}, ["their name"])
    restore(full, made.file)
    assert same(before, content(full)) and damages(full) == []
    full.rebuild()
    assert same(before, content(full))


def test_a_restore_needs_no_usable_file(full):
    before, made = content(full), create_backup(full)
    full.path.write_bytes(b"ruined" * 1000)
    assert restore(full, made.file)[0].previous_file is not None
    assert same(before, content(full)) and damages(full) == []


def test_a_backup_needs_no_usable_file_either(full, tmp_path):
    before, reports = content(full), []
    with full.path.open("r+b") as handle:
        handle.truncate(full.path.stat().st_size // 2)
    made = create_backup(full, report=reports.append)
    assert len(reports) == 1 and "Added tables are in the backup as last saved" in reports[0]
    elsewhere = Warehouse(tmp_path / "new machine" / "w.duckdb")
    restore(elsewhere, made.file)
    assert same(before, content(elsewhere))


def test_a_backup_goes_on_while_others_write(full, add_parcel):
    def meanwhile(done, total):
        if done == 1:
            ingest_parcel(full, add_parcel(make_profile(RUN_IDS[3])))
            with_scores(full, "c" * 64)
            shutil.rmtree(full.parcels / RUN_IDS[2])

    made = create_backup(full, progress=meanwhile)
    elsewhere = Warehouse(full.path.parent / "elsewhere" / "w.duckdb")
    restore(elsewhere, made.file)
    assert elsewhere.read("SELECT run_id FROM runs ORDER BY ALL")["run_id"].to_list() == RUN_IDS[:2]
    assert damages(elsewhere) == []


def test_a_damaged_backup_changes_nothing(full, tmp_path):
    with zipfile.ZipFile(create_backup(full).file) as packed:
        files = {name: packed.read(name) for name in packed.namelist()}
    name = next(name for name in files if name.endswith("layer_pairs.parquet"))
    bad = zip_of(tmp_path / "bad.zip", files | {name: files[name][:-1] + b"x"})
    before = content(full), sorted(full.path.parent.rglob("*"))
    with pytest.raises(WarehouseError, match="not as the manifest"):
        restore(full, bad)
    assert same(before[0], content(full)) and sorted(full.path.parent.rglob("*")) == before[1]


def test_what_is_no_backup_is_told_as_that(full, tmp_path):
    exported = export_runs(full, RUN_IDS[:1], tmp_path / "export.zip")
    for wrong, message in (
        (exported, "is an export and no backup"),
        (full.path, "Name a backup, an export or parcels; scores go by"),
        (tmp_path / "none.zip", "There is no file"),
    ):
        with pytest.raises(InputError, match=message):
            restore(full, wrong)


def test_a_warehouse_that_others_hold_is_left_alone(full, python):
    file = create_backup(full).file
    with_scores(full, "c" * 64)
    before = content(full)
    holder = python(
        "import sys, duckdb\nc = duckdb.connect(sys.argv[1], read_only=True)\nprint(flush=True)\ninput()", full.path
    )
    holder.stdout.readline()
    with pytest.raises(WarehouseLocked):
        restore(replace(full, wait=0.2), file)
    holder.communicate("\n")
    assert same(before, content(full)) and damages(full) == []


def test_a_full_disk_while_restoring_changes_nothing(full, monkeypatch):
    file = create_backup(full).file
    with_scores(full, "c" * 64)
    shutil.rmtree(full.parcels / RUN_IDS[0])
    before = content(full)

    def no_room(*_):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(restoring, "sync_all", no_room)
        with pytest.raises(ResourceError, match="No space"):
            restore(full, file)
    assert same(before, content(full)) and damages(full) == []
    assert not (full.parcels / RUN_IDS[0]).exists()


def test_a_restore_that_was_killed_is_finished_by_whoever_opens_next(full, monkeypatch):
    """Killed after the commit and before the DuckDB file is built: 500 scores were lost so."""
    made, before = create_backup(full), content(full)
    with_scores(full, "c" * 64)
    people.save_query(full, "later", "SELECT 2")

    class Killed(BaseException):
        pass

    def kill(*_, **__):
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr("core.store.archive.exchange_files", kill)
        with pytest.raises(Killed):
            restore(full, made.file)
    assert full.folder.pending_changes()
    assert same(before, content(full)) and damages(full) == [] and not full.folder.pending_changes()
    assert full.read('FROM "my ""table"""').height == 1


def test_what_else_lies_among_the_parcels_keeps_no_backup_from_being_restored(full, tmp_path):
    """What a file browser leaves, and what somebody copied by hand."""
    shutil.copytree(full.parcels / RUN_IDS[0], full.parcels / "a parcel (copy)")
    for left in (".DS_Store", f"{RUN_IDS[0]}/.DS_Store", f"{RUN_IDS[0]}/note of mine (1).txt"):
        (full.parcels / left).write_bytes(b"x")
    before, made = content(full), create_backup(full)
    elsewhere = Warehouse(tmp_path / "new machine" / "w.duckdb")
    assert restore(elsewhere, made.file)[0].n_parcels == 3
    assert same(before, content(elsewhere)) and damages(elsewhere) == []


def test_a_damaged_pilot_of_today_is_told_and_the_backup_s_is_taken(full):
    made = create_backup(full)
    user_files.path_of(full.folder, "pilot", PILOT.pilot_id).write_text("[" * 100_000, encoding="utf-8")
    _, reports = restore(full, made.file)
    assert len(reports) == 1 and "is damaged" in reports[0] and "\n" not in reports[0]
    assert user_files.list_ids(full.folder, "pilot") == [PILOT.pilot_id] and damages(full) == []


def test_where_a_backup_goes(full, tmp_path):
    made = create_backup(full, tmp_path / "mine.zip")
    assert made.file == tmp_path / "mine.zip"
    with pytest.raises(InputError, match="is there already"):
        create_backup(full, tmp_path / "mine.zip")
    with pytest.raises(InputError, match="There is no folder"):
        create_backup(full, tmp_path / "nowhere" / "mine.zip")
    assert {create_backup(full).file.name for _ in range(2)} == {file.name for file in full.folder.backups.iterdir()}
    assert len(list(full.folder.backups.iterdir())) == 2
    (full.folder.backups / "ruin.zip").write_bytes(b"PK")
    assert [one.n_runs for one in list_backups(full) if one.file.name == "ruin.zip"] == [None]


def test_the_verbs_ask_a_person_before_anything_is_replaced(full, monkeypatch, capsys):
    def core(*arguments):
        code = main.main([*map(str, arguments), "--warehouse", str(full.path)])
        return code, *capsys.readouterr()

    made = json.loads(core("backup", "--json")[1])
    assert [one["file"] for one in json.loads(core("backup", "--list", "--json")[1])] == [made["file"]]
    with_scores(full, "c" * 64)
    before = content(full)
    monkeypatch.setattr("sys.stdin", io.StringIO())
    code, _, refused = core("restore", made["file"])
    assert code == 2 and "--yes" in refused

    class Terminal(io.StringIO):
        def isatty(self):
            return True

    monkeypatch.setattr("sys.stdin", Terminal("\n"))
    code, _, asked = core("restore", made["file"])
    assert code == 0 and "[y/N]" in asked and same(before, content(full))
    monkeypatch.setattr("sys.stdin", Terminal("y\n"))
    code, told, _ = core("restore", made["file"])
    assert code == 0 and "before-restore" in told and "Later parcels kept: 0" in told
    assert not same(before, content(full)) and full.read("SELECT 1 FROM saved_queries").height == 2


def test_a_view_that_reads_files_is_text_until_the_sandbox_refuses_it(full, tmp_path):
    (tmp_path / "secret.csv").write_text("word\nsecret\n")
    with full.write() as connection:
        connection.execute(f"CREATE VIEW peeks AS SELECT * FROM read_csv('{tmp_path / 'secret.csv'}')")
        connection.execute('CREATE VIEW "named AS so" (a, b) AS SELECT 1, 2')
    out = create_backup(full, tmp_path / "b.zip").file
    (tmp_path / "secret.csv").unlink()  # to run the view would be an error from now on
    assert {table.name: table.n_rows for table in schema.list_tables(full)}["peeks"] is None
    other = Warehouse(tmp_path / "other" / "w.duckdb")
    _, reports = restore(other, out)
    assert reports == [] and "peeks" not in {table.name for table in schema.list_tables(other)}
    with pytest.raises(QueryError, match=r"saved query peeks cannot be read: read_csv is refused"):
        run_query(other, "FROM peeks")
    assert run_query(other, 'SELECT a + b AS n FROM "named AS so"').frame["n"].to_list() == [3]


def test_what_is_damaged_goes_into_no_backup_and_is_told(full, tmp_path, capsys):
    cut_a_table(full.parcels / RUN_IDS[0])
    path = user_files.path_of(full.folder, "query", user_files.hash_name("mine"))
    path.write_text("{")
    assert main.main(["backup", "--json", "--out", str(tmp_path / "b.zip"), "--warehouse", str(full.path)]) == 2
    told, errors = capsys.readouterr()
    made = json.loads(told)
    assert (made["n_runs"], made["n_left_out"], errors.count("It is not in the backup.")) == (2, 2, 2)
    assert errors.count("is damaged") == 2


def test_what_was_damaged_when_it_was_packed_takes_no_good_file_s_place(full, tmp_path, monkeypatch, capsys):
    before, query = content(full), user_files.path_of(full.folder, "query", user_files.hash_name("mine"))
    good = query.read_bytes(), shutil.copytree(full.parcels / RUN_IDS[0], tmp_path / "good")
    with monkeypatch.context() as patch:
        patch.setattr(sync, "damaged_files", lambda folder: {})
        patch.setattr(parcels, "problem", lambda parcel: "")
        query.write_text("{")
        cut_a_table(full.parcels / RUN_IDS[0])
        out = create_backup(full, tmp_path / "b.zip").file
    query.write_bytes(good[0])
    shutil.rmtree(full.parcels / RUN_IDS[0])
    shutil.copytree(good[1], full.parcels / RUN_IDS[0])
    with stage_backup(full, out) as staged:
        assert set(staged.damaged) == {f"parcels/{RUN_IDS[0]}", f"people/queries/{query.name}"}
    assert main.main(["restore", str(out), "--yes", "--warehouse", str(full.path)]) == 0
    assert capsys.readouterr().err.count("left out") == 2
    assert same(before, content(full)) and damages(full) == []


def test_a_stray_file_among_the_pending_changes_stops_nothing(full):
    full.folder.pending.mkdir(exist_ok=True)
    for name in ("restore-x", ".DS_Store", "alias (copy)-1"):
        (full.folder.pending / name).write_bytes(b"x")
    full.path.unlink()
    assert full.read("SELECT 1 FROM runs").height == 3


def test_the_duckdb_file_may_be_deleted_once_its_tables_are_files(full):
    full.path.unlink()
    assert full.read('FROM "my ""table"""').rows() == [(1, [1.5, 2.5])]


def test_a_table_in_a_schema_of_its_own_keeps_the_old_file(full):
    with full.write() as connection:
        connection.execute("CREATE SCHEMA mine; CREATE TABLE mine.t AS SELECT 1 AS a")
    reports: list[str] = []
    assert full.rebuild(reports.append).previous_file is not None
    assert any("mine.t" in line for line in reports)


def test_an_import_that_lost_its_values_is_damaged_and_not_gone(full):
    sha256 = next(iter(user_files.list_ids(full.folder, "scores")))
    (user_files.path_of(full.folder, "scores", sha256) / "scores.parquet").unlink()
    reports: list[str] = []
    full.rebuild(reports.append)
    assert any("scores.parquet is missing" in line for line in reports)
