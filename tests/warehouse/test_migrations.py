"""Files that earlier versions wrote, brought up to date: every row stays, and there is a copy of what was."""

from __future__ import annotations

import gzip
import os
import shutil
from pathlib import Path

import duckdb
import pytest

from core.errors import ResourceError, WarehouseError
from core.tables import TABLES
from core.warehouse import copying, migrations, mirror, queries
from core.warehouse.warehouse import Warehouse, connect
from tests.warehouse.older_files import COMMITS, FILES


def older(name: str, folder: Path) -> Warehouse:
    warehouse = Warehouse(folder / "workdim.duckdb")
    warehouse.path.write_bytes(gzip.decompress((FILES / f"{name}.duckdb.gz").read_bytes()))
    return warehouse


def rows_as_they_lie(path: Path) -> dict[str, list[dict]]:
    """All rows without bringing the file up to date, sorted by their text."""
    with connect(path, read_only=True, wait=1.0) as connection:
        tables = [row[0] for row in connection.execute("SELECT table_name FROM duckdb_tables()").fetchall()]
        content = {table: connection.sql(f"FROM {table}").pl().to_dicts() for table in tables}
    return {table: sorted(rows, key=str) for table, rows in content.items()}


def test_there_is_a_file_of_every_earlier_step():
    steps = {int(name.split("_")[1]) for name in COMMITS}
    assert steps == set(range(1, max(migrations.MIGRATIONS)))
    assert {file.name for file in FILES.iterdir()} == {f"{name}.duckdb.gz" for name in COMMITS}


@pytest.mark.parametrize("name", COMMITS)
def test_a_file_of_an_earlier_version_is_brought_up_to_date_with_every_row(name, tmp_path, caplog):
    warehouse = older(name, tmp_path)
    before = rows_as_they_lie(warehouse.path)
    assert before["runs"] and before["schema_migrations"]
    warehouse.read("SELECT 1")
    after = rows_as_they_lie(warehouse.path)
    assert after.keys() == {*TABLES, "schema_migrations"}
    for table in before.keys() - {"scores", "schema_migrations"}:  # the shipped scores have a newer edition
        old_columns = before[table][0].keys() if before[table] else ()
        kept = sorted(({column: row[column] for column in old_columns} for row in after[table]), key=str)
        assert kept == before[table], table
    own = [score["value"] for score in after["scores"] if score["source"].startswith("pilot:")]
    assert own == [score["value"] for score in before.get("scores", []) if score["source"].startswith("pilot:")]
    assert len(caplog.records) == 1 and "is kept in" in caplog.text

    for table in TABLES.values():
        stored = warehouse.read("SELECT column_name, comment FROM duckdb_columns() WHERE table_name = ?", [table.name])
        assert set(stored["column_name"]) == set(table.names)
        assert dict(stored.rows()) == table.comments
    assert queries.runs(warehouse).height == len(before["runs"])
    assert queries.estimates(warehouse, [before["runs"][0]["run_id"]]).height == len(
        [row for row in before.get("layer_estimates", []) if row["run_id"] == before["runs"][0]["run_id"]]
    )
    assert queries.scores(warehouse).height > 100
    assert queries.pilots(warehouse).height == len(before.get("pilots", []))

    (copy,) = copying.step_copies(warehouse.path, warehouse.backups)
    assert copy.step == int(name.split("_")[1]) if name != "step_7_without_6" else 5
    assert rows_as_they_lie(copy.file) == before
    assert not copy.file.with_name(copy.file.name + ".wal").exists()


def test_what_an_older_file_holds_beside_parcels_has_a_mirror_from_then_on(tmp_path):
    warehouse = older("step_8", tmp_path)
    warehouse.prepare()
    before = {table: warehouse.read(f"FROM {table} ORDER BY ALL") for table in mirror.TABLES}
    assert before["pilots"].height == 1 and before["plans"].height == 1
    warehouse.path.unlink()
    after = {table: warehouse.read(f"FROM {table} ORDER BY ALL") for table in mirror.TABLES}
    assert all(before[table].equals(after[table]) for table in before)


def test_a_log_that_a_killed_writer_left_is_in_the_copy(tmp_path, python):
    warehouse = older("step_8", tmp_path)
    dying = python(
        "import duckdb, os, sys\nc = duckdb.connect(sys.argv[1])\n"
        "c.execute(\"INSERT INTO plans SELECT * REPLACE ('late' AS plan_id) FROM plans\")\nos._exit(0)",
        warehouse.path,
    )
    dying.wait()
    assert warehouse.path.with_name("workdim.duckdb.wal").exists()
    assert warehouse.read("SELECT plan_id FROM plans ORDER BY ALL")["plan_id"].to_list() == ["late", "plan"]
    (copy,) = copying.step_copies(warehouse.path, warehouse.backups)
    assert len(rows_as_they_lie(copy.file)["plans"]) == 2


def full_disk(source, target):
    raise ResourceError(f"{source} cannot be copied to {target.parent}: No space left on device.")


def test_without_room_for_the_copy_nothing_is_changed(tmp_path, monkeypatch):
    warehouse = older("step_8", tmp_path)
    before = warehouse.path.read_bytes()
    with monkeypatch.context() as patch:
        patch.setattr(copying, "copy_file", full_disk)
        with pytest.raises(ResourceError, match=r"No space left .* was left as it is") as caught:
            warehouse.read("SELECT 1")
    assert "\n" not in str(caught.value)
    assert warehouse.path.read_bytes() == before and not list(warehouse.backups.iterdir())
    assert queries.runs(warehouse).height == 2


@pytest.mark.skipif(os.name == "nt", reason="needs a POSIX limit on the size of files")
def test_a_copy_that_the_disk_cuts_short_is_none(tmp_path, python):
    warehouse = older("step_8", tmp_path)
    code = (
        "import resource, sys\nfrom pathlib import Path\nfrom core.errors import ResourceError\n"
        "from core.warehouse.warehouse import Warehouse\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, resource.RLIM_INFINITY))\n"
        "try:\n    Warehouse(Path(sys.argv[1])).prepare()\nexcept ResourceError as error:\n    print(error)"
    )
    out, err = python(code, warehouse.path).communicate(timeout=60)
    assert "File too large" in out and len(out.splitlines()) == 1, err
    assert not list(warehouse.backups.iterdir())
    assert queries.runs(warehouse).height == 2


def test_a_migration_that_fails_again_and_again_makes_one_copy(tmp_path, monkeypatch):
    warehouse = older("step_8", tmp_path)

    def break_down(connection):
        raise RuntimeError("in the middle")

    with monkeypatch.context() as patch:
        patch.setitem(migrations.MIGRATIONS, 9, break_down)
        for _ in range(3):
            with pytest.raises(RuntimeError, match="in the middle"):
                warehouse.read("SELECT 1")
    warehouse.read("SELECT 1")
    assert len(copying.step_copies(warehouse.path, warehouse.backups)) == 1


def test_the_last_few_copies_are_kept(tmp_path):
    warehouse = older("step_8", tmp_path)
    warehouse.backups.mkdir()
    others = [warehouse.backups / f"workdim.step{n}-20250101-00000{n}.duckdb" for n in range(1, 6)]
    others += [warehouse.backups / "other.step1-20250101-000000.duckdb", warehouse.backups / "workdim-2025.zip"]
    for n, file in enumerate(others):
        file.write_bytes(b"")
        os.utime(file, (n, n))
    warehouse.prepare()
    kept = [copy.step for copy in copying.step_copies(warehouse.path, warehouse.backups)]
    assert kept == [8, 5, 4] and others[5].exists() and others[6].exists()


def from_the_future(warehouse):
    with warehouse.write() as connection:
        connection.execute("INSERT INTO schema_migrations VALUES (99, 'from_the_future', now()::TIMESTAMP)")


def test_a_newer_file_is_refused_with_the_way_out(tmp_path):
    warehouse = older("step_8", tmp_path)
    warehouse.prepare()
    from_the_future(warehouse)
    (copy,) = copying.step_copies(warehouse.path, warehouse.backups)
    with pytest.raises(WarehouseError, match="written by a newer Workdim") as caught:
        warehouse.read("SELECT 1")
    assert f"python -m core restore {copy.file}" in str(caught.value) and "\n" not in str(caught.value)
    shutil.rmtree(warehouse.backups)
    with pytest.raises(WarehouseError, match="--warehouse") as caught:
        warehouse.prepare()
    assert "restore" not in str(caught.value)


def test_two_processes_that_find_an_old_file_bring_it_up_to_date_once(tmp_path, python):
    warehouse = older("step_7", tmp_path)
    code = (
        "import sys\nfrom pathlib import Path\nfrom core.warehouse.warehouse import Warehouse\nsys.stdin.readline()\n"
        "print(Warehouse(Path(sys.argv[1])).read('SELECT count(*) AS n FROM runs')['n'][0])"
    )
    processes = [python(code, warehouse.path) for _ in range(3)]
    for process in processes:
        process.stdin.write("go\n")
        process.stdin.flush()
    answers = [process.communicate(timeout=60) for process in processes]
    assert [out.strip() for out, _ in answers] == ["2"] * 3, answers
    steps = warehouse.read("SELECT version FROM schema_migrations")["version"]
    assert sorted(steps) == sorted(migrations.MIGRATIONS)
    for copy in copying.step_copies(warehouse.path, warehouse.backups):
        with duckdb.connect(copy.file, read_only=True) as connection:
            assert migrations.pending(connection)
