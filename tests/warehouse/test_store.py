"""Opening, sharing and refusing warehouse files."""

import functools
import operator
import os
import threading
from pathlib import Path

import duckdb
import pytest

from core.errors import ResourceError, WarehouseError, WarehouseLocked
from core.files import default_warehouse, folders_in
from core.warehouse.connection import wal_path
from core.warehouse.warehouse import Warehouse
from tests.profiles import make_profile

HOLD = """
import sys, duckdb
connection = duckdb.connect(sys.argv[1])
print("held", flush=True)
sys.stdin.readline()
"""


def test_a_missing_warehouse_is_made_on_first_reading(tmp_path):
    warehouse = Warehouse(tmp_path / "new" / "w.duckdb")
    assert warehouse.version() == (0, 0, 0, 0)
    assert warehouse.read("SELECT count(*) AS n FROM runs")["n"].to_list() == [0]


def test_default_path_is_in_the_project_unless_the_environment_says_otherwise(monkeypatch, tmp_path):
    monkeypatch.delenv("WORKDIM_WAREHOUSE", raising=False)
    assert default_warehouse().parts[-3:] == ("data", "local", "workdim.duckdb")
    monkeypatch.setenv("WORKDIM_WAREHOUSE", str(tmp_path / "mine.duckdb"))
    assert default_warehouse() == tmp_path / "mine.duckdb"


def test_an_exception_undoes_the_whole_write(warehouse):
    before = warehouse.version()
    with pytest.raises(KeyboardInterrupt), warehouse.write() as connection:
        connection.execute("DELETE FROM scores")
        raise KeyboardInterrupt
    assert warehouse.read("SELECT count(*) AS n FROM scores")["n"][0] > 0
    with warehouse.write() as connection:
        connection.execute("DELETE FROM scores")
    assert warehouse.version() != before


def test_a_lock_that_stays_is_named(warehouse, python):
    holder = python(HOLD, warehouse.path)
    holder.stdout.readline()
    impatient = Warehouse(warehouse.path, wait=0.3)
    for use in (lambda: impatient.read("SELECT 1"), impatient.prepare):
        with pytest.raises(WarehouseLocked, match=f"Process {holder.pid} has held") as caught:
            use()
        assert "\n" not in str(caught.value)


def test_a_lock_that_is_let_go_costs_only_time(warehouse, python):
    holder = python(HOLD, warehouse.path)
    holder.stdout.readline()
    threading.Timer(0.5, holder.kill).start()
    assert warehouse.read("SELECT 1 AS one")["one"].to_list() == [1]


def test_threads_that_read_and_write_wait_for_each_other(warehouse):
    failures: list[Exception] = []

    def work(number: int) -> None:
        try:
            for _ in range(5):
                warehouse.read("SELECT count(*) FROM scores")
                with warehouse.write() as connection:
                    connection.execute("INSERT INTO run_checks VALUES ('r', 'c', NULL, 1, 1, 'pass', NULL)")
        except Exception as error:
            failures.append(error)

    threads = [threading.Thread(target=work, args=[n]) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert warehouse.read("SELECT count(*) AS n FROM run_checks")["n"].to_list() == [20]


@pytest.mark.parametrize(
    "made",
    [
        "CREATE TABLE runs (a INT); CREATE TABLE models (b INT)",
        "CREATE TABLE schema_version AS SELECT '1.0.3' AS version, 'x' AS fingerprint",
        "CREATE TABLE schema_version AS SELECT 1 AS version, 'x' AS fingerprint; CREATE TABLE runs (run_id INT)",
        "CREATE VIEW theirs AS SELECT 1 AS a",
    ],
)
def test_a_file_of_another_program_that_uses_our_names_is_left_alone_too(tmp_path, made):
    path = tmp_path / "theirs.duckdb"
    with duckdb.connect(path) as connection:
        connection.execute(made)
    before = path.read_bytes()
    for use in (lambda: Warehouse(path).read("SELECT 1"), Warehouse(path).apply_pending, Warehouse(path).rebuild):
        with pytest.raises(WarehouseError, match="is another program's DuckDB file"):
            use()
    assert path.read_bytes() == before


@pytest.mark.parametrize("is_sealed", [True, False])
def test_a_file_of_a_newer_duckdb_is_told_as_that(tmp_path, is_sealed):
    path = tmp_path / "newer.duckdb"
    duckdb.connect(path).close()
    content = bytearray(path.read_bytes())
    content[12:20] = (5000).to_bytes(8, "little")  # the version of the format
    if is_sealed:
        words = (int.from_bytes(content[start : start + 8], "little") for start in range(8, 4096, 8))
        sums = (word * 0xBF58476D1CE4E5B9 % 2**64 for word in words)
        content[:8] = functools.reduce(operator.xor, sums, 5381).to_bytes(8, "little")
    path.write_bytes(content)
    with pytest.raises(WarehouseError, match="newer, or damaged. Update duckdb"):
        Warehouse(path).read("SELECT 1")
    assert path.read_bytes() == content


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"a table of some other kind\n" * 100, "is not a DuckDB file"),
        (b"", "is not a DuckDB file"),
        (None, "is damaged"),
    ],
)
def test_an_unusable_file_is_named_and_left_alone(warehouse, tmp_path, content, message):
    path = tmp_path / "broken.duckdb"
    content = warehouse.path.read_bytes()[:200_000] if content is None else content
    path.write_bytes(content)
    for use in (lambda: Warehouse(path).read("SELECT 1"), Warehouse(path).prepare):
        with pytest.raises(WarehouseError, match=message) as caught:
            use()
        assert "\n" not in str(caught.value)
        assert path.name in str(caught.value)
    assert path.read_bytes() == content


def test_a_file_of_other_content_beside_parcels_is_made_anew_from_them(warehouse):
    (warehouse.parcels / "a run").mkdir(parents=True)
    warehouse.path.write_bytes(b"")
    with pytest.raises(WarehouseError, match="is not a DuckDB file. Move it away"):
        warehouse.read("SELECT 1")
    warehouse.path.rename(warehouse.path.with_suffix(".away"))
    assert warehouse.read("SELECT 1 AS one")["one"].to_list() == [1]


def test_a_log_that_cannot_be_written_is_named(warehouse):
    warehouse.prepare()
    with pytest.raises(ResourceError, match="cannot be used: .*wal"), warehouse.write() as connection:
        wal_path(warehouse.path).mkdir()
        connection.execute("CREATE TABLE t AS SELECT 1")


def test_a_folder_that_cannot_be_made_is_named(tmp_path):
    (tmp_path / "file").write_text("not a folder", encoding="utf-8")
    with pytest.raises(ResourceError, match="cannot be"):
        Warehouse(tmp_path / "file" / "below" / "w.duckdb").prepare()


def test_a_file_in_the_place_of_the_folder_is_named(tmp_path):
    (tmp_path / "letter").write_text("not a folder", encoding="utf-8")
    warehouse = Warehouse(tmp_path / "letter" / "w.duckdb")
    uses = (
        warehouse.version,
        warehouse.prepare,
        lambda: warehouse.read("SELECT 1"),
        lambda: folders_in(warehouse.jobs),
    )
    for use in uses:
        with pytest.raises(ResourceError, match="letter"):
            use()


@pytest.mark.parametrize("call", ["stat", "listdir"])
def test_a_folder_that_may_not_be_read_is_named(warehouse, monkeypatch, call):
    def refused(*arguments, **more):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path if call == "stat" else os, call, refused)
    with pytest.raises(ResourceError, match="Permission denied"):
        warehouse.version() if call == "stat" else folders_in(warehouse.parcels)


FILL_UP = """
import resource, sys
from pathlib import Path
from core.errors import ResourceError
from core.warehouse.runs import ingest_parcel
from core.warehouse.warehouse import Warehouse
warehouse = Warehouse(Path(sys.argv[1]))
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[3]), resource.RLIM_INFINITY))
try:
    ingest_parcel(warehouse, Path(sys.argv[2]))
except ResourceError as error:
    print(error)
"""


@pytest.mark.skipif(os.name == "nt", reason="needs a POSIX limit on the size of files")
@pytest.mark.parametrize("room", [1, 16_384])
def test_a_full_disk_is_named_and_leaves_nothing_half_written(warehouse, add_parcel, python, room):
    folder = add_parcel(make_profile())
    out, err = python(FILL_UP, warehouse.path, folder, room).communicate(timeout=60)
    assert "No disk space" in out, err
    assert len(out.splitlines()) == 1
    with duckdb.connect(warehouse.path, read_only=True) as connection:
        assert connection.execute("SELECT count(*) FROM layer_estimates").fetchall() == [(0,)]
        assert connection.execute("SELECT count(*) FROM runs").fetchall() == [(0,)]
    n_rows = len(make_profile().estimates)
    assert warehouse.read("SELECT count(*) AS n FROM layer_estimates")["n"].to_list() == [n_rows]  # there is room again


def test_one_file_has_one_spelling(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert Warehouse(Path("w.duckdb")) == Warehouse(tmp_path / "x" / ".." / "w.duckdb")
