"""Typed SQL: what it may see, what it may not do, and what it says then."""

import json
import re
import time

import polars as pl
import pytest

from core.errors import QueryError, WarehouseError
from core.warehouse import parcels, sandbox, sandbox_worker
from core.warehouse.store import Warehouse
from tests.profiles import make_profile


@pytest.fixture
def filled(warehouse, add_parcel):
    parcels.ingest(warehouse, add_parcel(make_profile()))
    return warehouse


def test_a_select_gives_typed_rows(filled):
    result = sandbox.query(
        filled, "SELECT run_id, layer, value FROM layer_estimates WHERE estimator = 'd2' ORDER BY layer;"
    )
    assert result.frame.schema == {"run_id": pl.String, "layer": pl.Int64, "value": pl.Float64}
    stored = filled.read("SELECT count(*) AS n FROM layer_estimates WHERE estimator = 'd2'")["n"][0]
    assert result.frame.height == stored >= 12
    assert not result.truncated
    assert 0 < result.seconds < 10


def test_an_empty_result_keeps_its_columns(filled):
    result = sandbox.query(filled, "SELECT run_id, seed FROM runs WHERE false")
    assert result.frame.schema == {"run_id": pl.String, "seed": pl.Int64}


def test_more_rows_than_the_limit_are_cut_and_said_to_be(filled):
    result = sandbox.query(filled, "SELECT i FROM range(100000) t(i) ORDER BY i DESC", limit=7)
    assert result.truncated
    assert result.frame["i"].to_list() == list(range(99_999, 99_992, -1))


def test_odd_types_arrive_as_text_and_equal_names_are_told_apart(filled):
    sql = """SELECT INTERVAL 3 DAY AS span, MAP {'k': 1} AS m, {'a': 1} AS s, [1.5, 2.5] AS l, 1 AS n, 2 AS n,
                    sum(seed) AS t FROM runs"""
    frame = sandbox.query(filled, sql).frame
    assert frame.columns == ["span", "m", "s", "l", "n", "n_1", "t"]
    assert [frame["span"][0], frame["m"][0], frame["s"][0]] == ["3 days", "{k=1}", "{'a': 1}"]


def test_a_query_sees_the_newest_rows_and_old_copies_go(filled, add_parcel):
    sql = "SELECT count(*) AS n FROM runs"
    assert sandbox.query(filled, sql).frame["n"].to_list() == [1]
    parcels.ingest(filled, add_parcel(make_profile("01900000-0000-7000-8000-000000000002")))
    assert sandbox.query(filled, sql).frame["n"].to_list() == [2]
    assert len(list((filled.path.parent / "query-copies").iterdir())) == 1


def test_beside_a_read_only_warehouse_the_copy_lies_in_a_folder_of_its_own(filled, tmp_path, monkeypatch):
    blocked = filled.path.parent / "query-copies"
    blocked.write_text("no folder can be made here", encoding="utf-8")
    private = tmp_path / "temp"
    private.mkdir()
    monkeypatch.setenv("TMPDIR", str(private))
    monkeypatch.setenv("TEMP", str(private))
    assert sandbox.query(filled, "SELECT count(*) AS n FROM runs").frame["n"].to_list() == [1]
    assert not list(private.iterdir())


KILLED_AFTER_COMMIT = """
import os, sys
from pathlib import Path
from core.warehouse import parcels
from core.warehouse.store import connect
connection = connect(Path(sys.argv[1]), False, 10.0)
connection.begin()
parcels.insert(connection, parcels.read_parcel(Path(sys.argv[2])))
connection.commit()
os._exit(9)
"""


def test_rows_that_are_still_in_the_log_are_seen(warehouse, add_parcel, python):
    process = python(KILLED_AFTER_COMMIT, warehouse.path, add_parcel(make_profile()))
    assert process.wait() == 9
    assert warehouse.version()[3] > 0  # the log of the killed process
    assert sandbox.query(warehouse, "SELECT count(*) AS n FROM runs").frame["n"].to_list() == [1]


@pytest.mark.parametrize(
    ("sql", "message"),
    [
        ("", "no statement"),
        ("-- only a remark", "no statement"),
        ("SELECT 1; DROP TABLE runs", "2 statements"),
        ("DROP TABLE runs", "DROP statement is refused"),
        ("INSERT INTO runs SELECT * FROM runs", "INSERT statement is refused"),
        ("UPDATE runs SET seed = 1", "UPDATE statement is refused"),
        ("CREATE TEMP TABLE t AS SELECT 1", "CREATE statement is refused"),
        ("ATTACH 'other.duckdb'", "ATTACH statement is refused"),
        ("COPY runs TO 'stolen.csv'", "COPY statement is refused"),
        ("EXPORT DATABASE 'stolen'", "EXPORT statement is refused"),
        ("PRAGMA database_list", "PRAGMA statement is refused"),
        ("SET memory_limit = '100GB'", "SET statement is refused"),
        ("INSTALL httpfs", "statement is refused"),
        ("CALL pragma_version()", "CALL statement is refused"),
        ("WITH gone AS (DELETE FROM runs RETURNING *) SELECT * FROM gone", "only read"),
        ("EXPLAIN ANALYZE DELETE FROM runs", "only read"),
        ("SELECT * FROM read_csv('{secret}')", "no files"),
        ("SELECT * FROM read_text('{secret}')", "no files"),
        ("SELECT * FROM glob('*')", "no files"),
        ("FROM '{secret}'", "no files"),
        ("SELECT * FROM read_parquet('https://example.org/x.parquet')", "no files"),
        ("SELECT * FROM statement", "does not exist"),  # a Python variable of the worker
        ("SELEC 1", "syntax error"),
        ("SELECT nope FROM runs", 'column "nope" not found'),
        ("SELECT * FROM runs WHERE seed = ?", "parameters"),
        ("SELECT " + "(" * 5000 + "1" + ")" * 5000, "nested too deeply"),
    ],
)
def test_everything_else_is_refused_in_one_line(warehouse, tmp_path, sql, message):
    secret = tmp_path / "secret.csv"
    secret.write_text("word\nhunter2\n", encoding="utf-8")
    before = warehouse.version()
    request: dict = {"path": str(warehouse.path), "wait": 10.0, "limit": 10, "seconds": 10.0, "memory_mb": 512}
    request["sql"] = sql.replace("{secret}", secret.as_posix())
    line, _, rest = sandbox_worker.answer(request, pytest.fail).partition(b"\n")
    assert re.search(message, json.loads(line)["error"])
    assert "\n" not in json.loads(line)["error"]
    assert rest == b""
    assert warehouse.version() == before
    assert {f.name for f in tmp_path.iterdir()} <= {"workdim.duckdb", "secret.csv", "query-copies"}


@pytest.mark.parametrize(
    ("sql", "message"),
    [
        (
            "WITH RECURSIVE t(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM t) SELECT count(*) FROM t",
            "longer than 0.5 seconds",
        ),
        ("SELECT sleep_ms(100000)", "longer than 0.5 seconds"),
        ("SELECT repeat('x', 30000000) FROM range(10)", "larger than 64 MB|MB of memory|longer than"),
        ("SELECT list(a.i || b.i) FROM range(100000) a(i), range(1000) b(i)", "MB of memory|longer than"),
    ],
)
def test_greedy_queries_are_stopped(warehouse, sql, message):
    started = time.monotonic()
    with pytest.raises(QueryError, match=message):
        sandbox.query(warehouse, sql, seconds=0.5)
    assert time.monotonic() - started < 30


def test_a_long_query_does_not_hold_up_a_writer(filled, python):
    code = """
import sys
from pathlib import Path
from core.errors import QueryError
from core.warehouse import sandbox
from core.warehouse.store import Warehouse
try:
    sandbox.query(Warehouse(Path(sys.argv[1])), "SELECT sleep_ms(60000)", seconds=5)
except QueryError:
    pass
"""
    copies = filled.path.parent / "query-copies"
    process = python(code, filled.path)
    while not list(copies.glob("*.duckdb")):
        assert process.poll() is None
        time.sleep(0.05)
    with Warehouse(filled.path, wait=1.0).write() as connection:
        connection.execute("UPDATE runs SET note = 'written meanwhile'")
    assert process.poll() is None


def test_an_unusable_warehouse_is_reported_in_its_own_words(tmp_path):
    (tmp_path / "w.duckdb").write_bytes(b"text" * 1000)
    with pytest.raises(WarehouseError, match="not a DuckDB file"):
        sandbox.query(Warehouse(tmp_path / "w.duckdb"), "SELECT 1")
