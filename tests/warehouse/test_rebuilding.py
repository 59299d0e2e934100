"""A warehouse that is lost or ruined comes back from its parcels and its mirror with the same content."""

from __future__ import annotations

import os
import shutil
from dataclasses import replace

import duckdb
import polars as pl
import pytest

from core.errors import ResourceError, WarehouseError, WarehouseLocked
from core.store import annotation
from core.store.annotation import Annotations
from core.tables import TABLES
from core.warehouse import ingest, mirror, pilots, replacing, trash
from core.warehouse.care import annotate
from core.warehouse.rebuilding import mend, rebuild
from core.warehouse.warehouse import wal
from tests.profiles import make_profile
from tests.warehouse.test_mirror import fill, import_scores
from tests.warehouse.test_parcels import RUN_IDS, lose_a_value
from tests.warehouse.test_pilots import PILOT, with_score


def content(warehouse):
    tables = [*TABLES, *(table for table in mirror.TABLES if table not in TABLES)]
    return {table: warehouse.read(f"FROM {table} ORDER BY ALL") for table in tables}


def same(one, other):
    return one.keys() == other.keys() and all(one[table].equals(other[table]) for table in one)


@pytest.fixture
def full(warehouse, add_parcel):
    """Three runs and something in every table."""
    fill(warehouse)
    for run_id in RUN_IDS[:3]:
        ingest.ingest(warehouse, add_parcel(make_profile(run_id)))
    assert all(rows.height for rows in content(warehouse).values())
    return warehouse


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
    shutil.move(wal(other), wal(warehouse.path))
    other.unlink()


def nothing(warehouse):
    pass


@pytest.mark.parametrize("damage", [nothing, lose, ruin, cut_short, put_a_strange_log_beside])
def test_a_rebuilt_warehouse_holds_the_same(full, damage):
    before = content(full)
    damage(full)
    reports: list[str] = []
    assert rebuild(full, reports.append) == RUN_IDS[:3]
    assert len(reports) == (damage not in (nothing, lose)), reports
    assert not wal(full.path).exists()
    assert same(before, content(full))
    left = {file.name for file in full.path.parent.iterdir() if file.is_file()} - {"workdim.duckdb", "parcels.gate"}
    kept = {name for name in left if name.startswith("workdim.duckdb.before-rebuild") and not name.endswith(".wal")}
    assert len(kept) == (damage is not lose) and {name for name in left if ".before-" not in name} == {
        "workdim.duckdb.gate"
    }
    if kept and damage is not nothing:  # what could not be read may be the only copy of something
        rebuild(full)
        assert kept < {file.name for file in full.path.parent.glob("*.before-rebuild*")}
    assert same(before, content(full))


def test_a_table_with_a_bad_block_comes_from_the_mirror_and_the_parcels(full):
    before = content(full)
    with duckdb.connect(full.path) as connection:
        sql = "SELECT DISTINCT block_id FROM pragma_storage_info('{}') WHERE persistent AND block_id >= 0"
        blocks = {t: {row[0] for row in connection.execute(sql.format(t)).fetchall()} for t in before}
    only = (blocks["saved_queries"] | blocks["layer_estimates"]) - blocks["runs"]
    assert only
    with full.path.open("r+b") as handle:
        for block in only:
            handle.seek(3 * 4096 + block * 262_144 + 100)
            handle.write(b"garbage!" * 20)
    reports: list[str] = []
    rebuild(full, reports.append)
    assert reports and all("\n" not in line and "--rebuild" not in line for line in reports)
    assert any(line.startswith("saved_queries cannot be read") and "mirror" in line for line in reports)
    assert same(before, content(full))


def test_a_folder_is_no_warehouse(full):
    lose(full)
    full.path.mkdir()
    for use in (full.prepare, lambda: full.read("SELECT 1"), lambda: rebuild(full)):
        with pytest.raises(WarehouseError, match=r"is a folder\. Name a file in it: --warehouse"):
            use()
    assert full.path.is_dir() and not list(full.path.parent.glob("*.rebuild*"))


def test_a_rebuild_keeps_the_runs_whose_parcels_are_gone_or_damaged(full):
    before = content(full)
    shutil.rmtree(full.parcels / RUN_IDS[0])
    lose_a_value(full.parcels / RUN_IDS[1])
    reports: list[str] = []
    assert rebuild(full, reports.append) == [RUN_IDS[2]]
    assert len(reports) == 3 and sum("taken over" in line for line in reports) == 2
    assert same(before, content(full))


def test_what_is_written_while_parcels_are_read_is_not_lost(full, add_parcel):
    def meanwhile(done, total):
        if done == 1:
            import_scores(full, "c" * 64)
            annotate(full, RUN_IDS[0], lambda said: said.tagged("meanwhile").noted("said meanwhile"))
            ingest.ingest(full, add_parcel(make_profile(RUN_IDS[3])))

    assert rebuild(full, progress=meanwhile) == RUN_IDS
    assert full.read("SELECT 1 FROM scores WHERE file_sha256 = ?", ["c" * 64]).height == 3
    said = full.read("SELECT tags, note FROM runs WHERE run_id = ?", [RUN_IDS[0]]).row(0)
    assert said == (["meanwhile"], "said meanwhile")


def test_a_warehouse_is_made_anew_once_at_a_time_and_nobody_deletes_meanwhile(full):
    hasty, told = replace(full, wait=0.05), []

    def meanwhile(done, total):
        for change in (lambda: rebuild(hasty), lambda: trash.delete(hasty, RUN_IDS[:1])):
            with pytest.raises(WarehouseLocked, match="moves the parcels"):
                change()
            told.append(done)

    assert rebuild(full, progress=meanwhile) == RUN_IDS[:3] and len(told) == 6


def test_tags_that_a_kill_left_in_the_parcel_alone_are_taken_from_there(full):
    annotation.write(full.parcels / RUN_IDS[0], Annotations(("mine",), "kept"))
    mend(full)
    assert full.read("SELECT tags, note FROM runs WHERE run_id = ?", [RUN_IDS[0]]).row(0) == (["mine"], "kept")


def test_a_file_that_others_hold_is_left_alone(full, python):
    before = content(full)
    holder = python(
        "import sys, duckdb\nc = duckdb.connect(sys.argv[1], read_only=True)\nprint(flush=True)\ninput()", full.path
    )
    holder.stdout.readline()
    with pytest.raises(WarehouseLocked, match=f"Process {holder.pid} has held"):
        rebuild(replace(full, wait=0.2))
    holder.communicate("\n")
    assert same(before, content(full))
    assert rebuild(full) == RUN_IDS[:3]


@pytest.mark.parametrize("whose", ["another program", "a newer Workdim"])
def test_a_file_that_is_not_of_this_version_is_refused_and_left_alone(full, whose):
    if whose == "another program":
        full.path.unlink()
        with duckdb.connect(full.path) as connection:
            connection.execute("CREATE TABLE invoices (a INT)")
    else:
        with full.write() as connection:
            connection.execute("INSERT INTO schema_migrations VALUES (99, 'from_the_future', now()::TIMESTAMP)")
    before = full.path.read_bytes()
    with pytest.raises(WarehouseError, match=whose):
        rebuild(full)
    assert full.path.read_bytes() == before


@pytest.mark.parametrize("stage", ["insert", "exchange"])
def test_a_full_disk_leaves_the_old_file(full, monkeypatch, stage):
    before = content(full)

    def no_room(*_):
        raise ResourceError("The disk has no room.")

    with monkeypatch.context() as patch:
        if stage == "insert":
            patch.setattr("core.warehouse.rebuilding.ingest", no_room)
        else:
            patch.setattr(replacing, "_replace", no_room)
        with pytest.raises(ResourceError, match="no room"):
            rebuild(full)
    assert same(before, content(full))


def test_without_hard_links_the_file_is_moved(full, monkeypatch):
    before = content(full)

    def no_links(*_):
        raise OSError(1, "Operation not permitted")

    monkeypatch.setattr(os, "link", no_links)
    rebuild(full)
    assert same(before, content(full))
    assert full.path.with_name("workdim.duckdb.before-rebuild").exists()


def test_a_mirror_behind_the_file_counts_less_than_the_file(full):
    old = {file: file.read_bytes() for file in full.mirror.rglob("*.parquet")}
    pilots.register(full, with_score(replace(PILOT, name="Later"), 55.0))
    before = content(full)
    for file, bytes_then in old.items():
        file.write_bytes(bytes_then)
    rebuild(full)
    assert same(before, content(full))
    lose(full)
    assert same(
        {t: rows for t, rows in before.items() if t in mirror.TABLES},
        {t: full.read(f"FROM {t} ORDER BY ALL") for t in mirror.TABLES if t in before},
    )
    assert pl.read_parquet(full.mirror / "pilots.parquet").height == 2
