"""The integrity check finds each kind of damage, names the remedy in a line, changes nothing, keeps nobody waiting."""

from __future__ import annotations

import json
import re
import shutil
import threading
import time
from dataclasses import replace

import duckdb
import polars as pl
import pytest

from core.commands import doctor, main
from core.locale import in_language, worded
from core.runs import installation
from core.store import user_files
from core.warehouse.connection import CONFIG
from core.warehouse.exchange import export_runs, import_runs
from core.warehouse.integrity import check_integrity
from core.warehouse.runs import annotate, delete_runs, empty_trash, ingest_parcel, restore_run
from core.warehouse.warehouse import Warehouse
from tests.profiles import make_corpus, make_model, make_profile
from tests.warehouse.conftest import put_beside
from tests.warehouse.test_backup import _full, full
from tests.warehouse.test_parcels import RUN_IDS, cut_a_table, garble_run_file, lose_a_table, sign_again
from tests.warehouse.test_pilots import PILOT

pytestmark = pytest.mark.slow

__all__ = ["_full", "full"]  # the fixtures


def lines(warehouse, thorough=False):
    return [finding for finding in check_integrity(warehouse, thorough).findings if finding.is_damage]


def notes(warehouse):
    return [finding for finding in check_integrity(warehouse).findings if not finding.is_damage]


def sql(warehouse, *statements):
    with warehouse.write() as connection:
        for statement in statements:
            connection.execute(statement)


def test_a_sound_warehouse_has_no_finding_and_is_not_changed(full):
    before = {path: path.stat().st_mtime_ns for path in full.path.parent.rglob("*")}
    examined = check_integrity(full, thorough=True)
    assert not examined.is_damaged and examined.n_parcels == 3
    (note,) = examined.findings
    assert 'my "table"' in note and "backup" in note
    assert examined.n_rows > 3 * len(make_profile().estimates)
    assert {path: path.stat().st_mtime_ns for path in full.path.parent.rglob("*")} == before


def test_a_warehouse_is_sound_after_whatever_may_be_done_with_runs(full, tmp_path):
    """And after a restored backup, as tests/warehouse/test_backup.py has it."""
    other = make_profile(RUN_IDS[3], model=make_model("made-up/other@1"), corpus=make_corpus("other-0123456789ab"))
    theirs, exported = Warehouse(tmp_path / "theirs" / "w.duckdb"), tmp_path / "export.zip"
    ingest_parcel(full, put_beside(full, other))
    annotate(full, RUN_IDS[0], lambda said: said.with_tag("候補").with_note("seen"))
    assert lines(full, thorough=True) == []
    export_runs(full, RUN_IDS[:4], exported)
    delete_runs(full, RUN_IDS[3:4])
    assert lines(full, thorough=True) == []
    restore_run(full, RUN_IDS[3])
    assert lines(full, thorough=True) == []
    import_runs(theirs, [exported])
    assert lines(theirs, thorough=True) == []
    delete_runs(theirs, RUN_IDS[3:4])
    empty_trash(theirs)
    assert lines(theirs, thorough=True) == [] and check_integrity(theirs).n_parcels == 3


def test_where_there_is_no_warehouse_there_is_nothing_to_find(tmp_path):
    assert check_integrity(Warehouse(tmp_path / "w.duckdb")).findings == () and not list(tmp_path.iterdir())


ROWS = {
    "DELETE FROM models": "Runs whose model is not in the warehouse: .* and 1 more",
    "DELETE FROM corpora": "Runs whose text is not",
    "DELETE FROM layer_pairs": "holds something else .*layer_pairs",
    "INSERT INTO run_checks SELECT * FROM run_checks LIMIT 1": "holds something else .*run_checks",
    "INSERT INTO run_summaries SELECT * REPLACE ('gone' AS run_id) FROM run_summaries LIMIT 1": "run_summaries has rows of runs that are not in the warehouse: gone",
    "DELETE FROM stored.layer_estimates WHERE layer = 2": "holds something else .*layer_estimates",
    "DELETE FROM pilots": "Not in the warehouse yet: pilot ",
    "DELETE FROM pilot_runs": "The file of pilot .* holds something else .pilot_runs",
    "UPDATE saved_queries SET sql = 'SELECT 3'": "The file of saved query mine holds something else",
    "DELETE FROM score_files": "Not in the warehouse yet: file of scores ",
    "ALTER TABLE runs DROP COLUMN note": "The column runs.note is not there",
    "ALTER TABLE runs ALTER COLUMN seed TYPE VARCHAR": "The column runs.seed is VARCHAR NOT NULL and should be BIGINT",
    "ALTER TABLE runs ALTER COLUMN protocol DROP NOT NULL": "runs.protocol is VARCHAR and should be VARCHAR NOT NULL",
}


def kind_of(damage):
    """Of damages that can be told apart in one warehouse: nothing is said of the runs of a pilot that is gone."""
    return "columns" if damage.startswith("ALTER") else "pilots" if damage == "DELETE FROM pilots" else "rows"


@pytest.mark.parametrize("kind", ["rows", "columns", "pilots"])
def test_rows_and_columns_that_are_wrong_are_found_all_at_once(full, kind):
    wrong = {damage: told for damage, told in ROWS.items() if kind_of(damage) == kind}
    sql(full, *wrong)
    found = lines(full)
    assert not [line for line in found if re.search("[a-z]{3} (of|is|rows|not) ", in_language("ja", worded, line))]
    missed = [told for told in wrong.values() if not any(re.search(told, line) for line in found)]
    assert not missed, found
    assert all("\n" not in line for line in found)


REMARKS = {
    "CREATE TABLE mine (a INT)": "The tables mine, my .* are not Workdim's",
    "UPDATE runs SET parent_run_id = 'gone', pilot_id = 'elsewhere'": "Runs of control passes, not in the warehouse: gone",
    "UPDATE run_summaries SET control_run_ids = ['gone']": "Control runs that verdicts rest on, not here: gone",
    "INSERT INTO saved_queries SELECT * REPLACE ('other' AS name) FROM saved_queries LIMIT 1": "The files are gone of saved query other",
}


def test_what_is_only_to_be_known_is_no_damage(full):
    sql(full, *REMARKS)
    findings = check_integrity(full).findings
    assert [finding for finding in findings if finding.is_damage] == []
    told = [finding for finding in findings]
    wanted = [*REMARKS.values(), "registered elsewhere: elsewhere"]
    assert not [message for message in wanted if not any(re.search(message, line) for line in told)], told


def change_a_value(warehouse):
    sql(warehouse, "UPDATE stored.layer_estimates SET value = value + 1 WHERE rowid = 5")


def test_changed_values_are_found_by_the_thorough_look(full):
    """Also of tags and notes: they stand in the parcel, and the rows follow it."""
    change_a_value(full)
    sql(
        full,
        "UPDATE scores SET value = 0.75 WHERE file_sha256 = repeat('a', 64)",
        "UPDATE runs SET tags = ['good'], note = 'remember'",
    )
    assert lines(full) == []
    found = "\n".join(sorted(lines(full, thorough=True)))
    assert found.count("\n") == 3 and found.count("holds something else (runs") == 3
    assert "layer_estimates" in found and "holds something else (scores)" in found
    full.rebuild()
    assert lines(full, thorough=True) == []


def test_a_changed_model_or_text_is_found_by_the_thorough_look(full):
    sql(full, "UPDATE models SET parameters = parameters + 1", "UPDATE corpora SET language = 'no such'")
    assert lines(full) == []
    found = lines(full, thorough=True)
    assert any(
        re.search(r"The row of .* in models is not what its parcels hold \(parameters\)", line) for line in found
    )
    assert any(re.search(r"The row of .* in corpora is not what its parcels hold \(language\)", line) for line in found)
    full.rebuild()
    assert lines(full, thorough=True) == []
    sql(full, "INSERT INTO models BY NAME SELECT 'left@1' AS model_id, * EXCLUDE (model_id) FROM models LIMIT 1")
    (line,) = lines(full, thorough=True)
    assert "models has a row of left@1, which no run is of" in line


def test_damaged_parcels_are_found(full):
    for run_id, damage in zip(RUN_IDS, (cut_a_table, lose_a_table, garble_run_file), strict=False):
        damage(full.parcels / run_id)
    found = sorted(lines(full, thorough=True))
    assert len(found) == 3
    for run_id, line in zip(RUN_IDS, found, strict=False):
        assert f"{run_id} is damaged" in line and "restore" in line


def test_a_parcel_with_other_rows_is_found(full):
    file = full.parcels / RUN_IDS[1] / "run_checks.parquet"
    pl.read_parquet(file).head(1).write_parquet(file)
    sign_again(file.parent, file)
    (line,) = lines(full)
    assert "holds something else (run_checks" in line and "ingest --rebuild" in line


def test_results_of_single_tokens_are_not_looked_into(full):
    file = full.parcels / RUN_IDS[1] / "tokens.parquet"
    file.write_bytes(b"no table")
    sign_again(file.parent, file)
    assert lines(full) == []


def test_a_run_without_a_parcel_is_known(full):
    shutil.rmtree(full.parcels / RUN_IDS[1])
    assert lines(full) == [] and any(f"gone of {RUN_IDS[1]}" in note for note in notes(full))


def test_a_damaged_file_of_people_is_found(full):
    user_files.path_of(full.folder, "pilot", PILOT.pilot_id).write_text("[" * 100_000, encoding="utf-8")
    (line,) = lines(full)
    assert f"{PILOT.pilot_id}.json is damaged" in line and "restore" in line and "\n" not in line


def test_a_damaged_table_of_people_is_found(full):
    file = full.folder.people / "tables" / "0.parquet"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(b"ruined")
    (line,) = lines(full)
    assert str(file) in line and "restore" in line


def test_what_a_kill_left_is_known(full):
    full.folder.mark("query", ["x"])
    assert any("Changes not finished: query-x" in note for note in notes(full))


def test_bad_blocks_are_found_and_building_anew_mends_them(full):
    with duckdb.connect(full.path) as connection:
        blocks = "SELECT DISTINCT block_id FROM pragma_storage_info('{}') WHERE persistent AND block_id >= 0"
        bad = {
            table: {row[0] for row in connection.execute(blocks.format(table)).fetchall()}
            for table in ("layer_distributions", "saved_queries")
        }
    with full.path.open("r+b") as handle:
        for block in set.union(*bad.values()):
            handle.seek(3 * 4096 + block * int(CONFIG["default_block_size"]) + 100)
            handle.write(b"garbage!" * 20)
    found = lines(full)
    assert found and all("cannot be read: Corrupt database" in line for line in found)
    full.rebuild()
    assert lines(full) == []


def test_a_held_file_is_not_waited_for(full, python):
    holder = python("import sys, duckdb\nc = duckdb.connect(sys.argv[1])\nprint(flush=True)\ninput()", full.path)
    holder.stdout.readline()
    started = time.monotonic()
    (note,) = notes(full)
    assert f"Process {holder.pid}" in note and "not checked" in note
    assert time.monotonic() - started < 5  # 1 s of waiting; a busy machine adds to it


def test_writers_go_on_while_parcels_are_read(full):
    """The check works on a copy: a write from within it would wait for ever otherwise."""
    written = threading.Event()

    def write(done, total):
        sql(replace(full, wait=5.0), "CREATE TABLE since (a INT)")
        written.set()

    check_integrity(full, progress=lambda done, total: None if written.is_set() else write(done, total))
    assert written.is_set()


def test_stacks_of_an_encoder_decoder_may_differ_in_length(warehouse, add_parcel):
    for run_id, n_layers in zip(RUN_IDS, (4, 3), strict=False):
        model = make_model(kind="encoder_decoder", n_layers=n_layers)
        ingest_parcel(warehouse, add_parcel(make_profile(run_id, model=model)))
    assert lines(warehouse) == []


@pytest.fixture
def elsewhere_fine(monkeypatch):
    """Only the stores are of interest here."""
    for look in ("_program", "_machine", "_network", "_optional"):
        monkeypatch.setattr(doctor, look, lambda facts: iter(()))
    monkeypatch.setattr(installation, "why_no_hub", lambda: None)


def test_doctor_tells_and_its_exit_code_too(full, elsewhere_fine, capsys):
    arguments = ["doctor", "--json", "--warehouse", str(full.path)]
    assert main.main(arguments) == 0
    assert json.loads(capsys.readouterr().out)["integrity"].startswith("sound (")
    change_a_value(full)
    assert main.main(arguments) == 0
    capsys.readouterr()
    assert main.main([*arguments, "--thorough"]) == 1
    told = json.loads(capsys.readouterr().out)
    assert told["integrity"].startswith("damaged") and any(problem["is_damage"] for problem in told["problems"])
