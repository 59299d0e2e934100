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
from core.models import machine
from core.warehouse import ingest, mirror
from core.warehouse.integrity import examine
from core.warehouse.rebuilding import mend, rebuild
from core.warehouse.warehouse import Warehouse
from tests.profiles import make_model, make_profile
from tests.warehouse.older_files import COMMITS
from tests.warehouse.test_migrations import older
from tests.warehouse.test_parcels import RUN_IDS, cut_a_table, garble_run_file, lose_a_table, sign_again
from tests.warehouse.test_rebuilding import full

__all__ = ["full"]  # the fixture


def lines(warehouse, thorough=False):
    return [finding.line for finding in examine(warehouse, thorough).findings if finding.is_damage]


def notes(warehouse):
    return [finding.line for finding in examine(warehouse).findings if not finding.is_damage]


def sql(warehouse, *statements):
    with warehouse.write() as connection:
        for statement in statements:
            connection.execute(statement)


@pytest.mark.parametrize("thorough", [False, True])
def test_a_sound_warehouse_has_no_finding_and_is_not_changed(full, thorough):
    before = {path: path.stat().st_mtime_ns for path in full.path.parent.rglob("*")}
    examined = examine(full, thorough)
    assert not examined.is_damaged and examined.n_parcels == 3
    assert examined.n_rows > 3 * len(make_profile().estimates)
    assert {path: path.stat().st_mtime_ns for path in full.path.parent.rglob("*")} == before


def test_where_there_is_no_warehouse_there_is_nothing_to_find(tmp_path):
    assert examine(Warehouse(tmp_path / "w.duckdb")).findings == () and not list(tmp_path.iterdir())


ROWS = {
    "DELETE FROM models": "3 runs .* of a model that is not in the warehouse",
    "DELETE FROM corpora": "3 runs .* on a text that is not",
    "DELETE FROM layer_pairs": "not what its parcel holds .layer_pairs: 0 rows",
    "INSERT INTO layer_estimates SELECT * FROM layer_estimates LIMIT 1": "layer_estimates holds rows twice of 1 run",
    "INSERT INTO run_checks SELECT * FROM run_checks LIMIT 1": "run_checks holds rows twice",
    "INSERT INTO run_summaries SELECT * REPLACE ('gone' AS run_id) FROM run_summaries LIMIT 1": "run_summaries has rows of 1 run .gone. not in the warehouse",
    "DELETE FROM layer_estimates WHERE layer = 2": "3 runs .* without estimates of all layers",
    "DELETE FROM layer_estimates WHERE layer = 4": "3 runs .* without estimates of all layers",
    "DELETE FROM run_summaries": "3 runs .* without a summary",
    "DELETE FROM pilots": "pilot_runs names 1 pilot",
    "DELETE FROM plans": "plan_outcomes names 1 plan",
    "DELETE FROM score_files": "score_samples has answers of 2 files",
    "ALTER TABLE runs DROP COLUMN note": "The column runs.note is missing",
    "ALTER TABLE runs ALTER COLUMN seed TYPE VARCHAR": "The column runs.seed is VARCHAR NOT NULL and should be BIGINT",
    "ALTER TABLE runs ALTER COLUMN protocol DROP NOT NULL": "runs.protocol is VARCHAR and should be VARCHAR NOT NULL",
}


@pytest.mark.parametrize("damage", ROWS)
def test_rows_and_columns_that_are_wrong_are_found(full, damage):
    sql(full, damage)
    found = lines(full)
    assert any(re.search(ROWS[damage], line) for line in found), found
    assert all("\n" not in line for line in found)


@pytest.mark.parametrize(
    "remark, message",
    [
        ("COMMENT ON COLUMN runs.note IS NULL", "has lost its comment"),
        ("CREATE TABLE mine (a INT)", "tables mine are not Workdim's"),
        ("UPDATE runs SET parent_run_id = 'gone'", "Control passes belong to 1 run .gone."),
        ("UPDATE runs SET pilot_id = 'elsewhere'", "1 pilot .elsewhere. registered elsewhere"),
        ("UPDATE run_summaries SET control_run_ids = ['gone']", "rest on 1 control run .gone."),
        (
            "INSERT INTO scores SELECT * REPLACE ('d' AS file_sha256) FROM scores LIMIT 1",
            "1 file .d. not in score_files",
        ),
    ],
)
def test_what_is_only_to_be_known_is_no_damage(full, remark, message):
    sql(full, remark)
    assert lines(full) == [] and any(re.search(message, line) for line in notes(full)), notes(full)


def change_a_value(warehouse):
    sql(warehouse, "UPDATE layer_estimates SET value = value + 1 WHERE rowid = 5")


def test_a_changed_value_is_found_by_the_thorough_look(full):
    change_a_value(full)
    assert lines(full) == []
    (line,) = lines(full, thorough=True)
    assert "is not what its parcel holds (layer_estimates)" in line


def test_tags_and_notes_are_people_s(full):
    sql(full, "UPDATE runs SET tags = ['good'], note = 'remember'")
    assert lines(full, thorough=True) == []


@pytest.mark.parametrize("thorough", [False, True])
@pytest.mark.parametrize("damage", [cut_a_table, lose_a_table, garble_run_file])
def test_a_damaged_parcel_is_found(full, damage, thorough):
    damage(full.parcels / RUN_IDS[1])
    (line,) = lines(full, thorough)
    assert f"parcel of run {RUN_IDS[1]} is damaged" in line and "restore" in line


def test_a_parcel_with_other_rows_is_found(full):
    file = full.parcels / RUN_IDS[1] / "run_checks.parquet"
    pl.read_parquet(file).head(1).write_parquet(file)
    sign_again(file.parent, file)
    (line,) = lines(full)
    assert "not what its parcel holds (run_checks: " in line and "ingest --rebuild" in line


def test_a_run_without_a_parcel_is_known(full):
    shutil.rmtree(full.parcels / RUN_IDS[1])
    assert lines(full) == [] and any("1 run " in note and "only copy" in note for note in notes(full))


def test_the_mirror_is_held_against_the_file_and_mended(full):
    sql(full, "INSERT INTO model_aliases VALUES ('b', 'c', now()::TIMESTAMP)")  # past the mirror
    next((full.mirror / "scores").glob("*.parquet")).unlink()
    part = next((full.mirror / "score_samples").glob("*.parquet"))
    part.write_bytes(part.read_bytes()[:200] + b"x" * 50 + part.read_bytes()[250:])
    found = lines(full)
    assert len(found) == 2 and f"{part} is damaged" in found[0] and "2 mirror files" in found[1]
    mend(full)
    assert lines(full) == []
    (full.mirror / "model_aliases.parquet").write_bytes(b"")
    full.path.unlink()
    full.prepare()
    ingest.ingest_waiting(full)
    assert lines(full) == [] and any("could not be read when the warehouse was made" in note for note in notes(full))


def test_bad_blocks_are_found_and_a_rebuild_mends_them(full):
    with duckdb.connect(full.path) as connection:
        blocks = "SELECT DISTINCT block_id FROM pragma_storage_info('{}') WHERE persistent AND block_id >= 0"
        bad = {
            table: {row[0] for row in connection.execute(blocks.format(table)).fetchall()}
            for table in ("layer_distributions", "saved_queries")
        }
    with full.path.open("r+b") as handle:
        for block in set.union(*bad.values()):
            handle.seek(3 * 4096 + block * 262_144 + 100)
            handle.write(b"garbage!" * 20)
    found = lines(full)
    assert found and all("cannot be read: Corrupt database" in line for line in found)
    rebuild(full, lambda line: None)
    assert lines(full) == []


@pytest.mark.parametrize("name", [name for name in COMMITS if name != "step_1"])
def test_files_of_earlier_versions_are_sound_before_and_after_they_are_brought_up_to_date(name, tmp_path):
    warehouse = older(name, tmp_path)
    before = warehouse.path.read_bytes()
    assert lines(warehouse) == []
    assert warehouse.path.read_bytes() == before
    warehouse.prepare()
    assert lines(warehouse, thorough=True) == []


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
        sql(replace(full, wait=5.0), "INSERT INTO plan_outcomes VALUES ('p', 'm', NULL, 1, 1, 1, 1, now()::TIMESTAMP)")
        written.set()

    examine(full, progress=lambda done, total: None if written.is_set() else write(done, total))
    assert written.is_set()


def test_stacks_of_an_encoder_decoder_may_differ_in_length(warehouse, add_parcel):
    for run_id, n_layers in zip(RUN_IDS, (4, 3), strict=False):
        model = make_model(kind="encoder_decoder", n_layers=n_layers)
        ingest.ingest(warehouse, add_parcel(make_profile(run_id, model=model)))
    assert lines(warehouse) == []


@pytest.fixture
def elsewhere_fine(monkeypatch):
    """Only the stores are of interest here."""
    for look in ("_program", "_machine", "_network", "_optional"):
        monkeypatch.setattr(doctor, look, lambda facts, options: iter(()))
    monkeypatch.setattr(machine, "why_no_hub", lambda: None)


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


def test_ingest_mends_the_mirror(full, capsys):
    for file in mirror.files(full.mirror, "scores"):
        file.unlink()
    assert len(lines(full)) == 1
    assert main.main(["ingest", "--warehouse", str(full.path)]) == 0
    assert lines(full) == []


def test_who_reads_where_the_file_is_lost_is_told_how_it_comes_back(full, capsys):
    before = full.read("FROM runs ORDER BY ALL")
    full.path.unlink()
    assert main.main(["runs", "--warehouse", str(full.path)]) == 2
    assert "python -m core ingest" in capsys.readouterr().err and not full.path.exists()
    assert main.main(["ingest", "--warehouse", str(full.path)]) == 0
    assert full.read("FROM runs ORDER BY ALL").equals(before) and lines(full) == []
