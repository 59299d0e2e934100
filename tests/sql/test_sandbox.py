"""Typed SQL: what it sees, and how its answer arrives. What is refused: test_hostile_sql.py."""

import json
import time

import polars as pl
import pytest

from core.errors import QueryError, WarehouseError
from core.locale import in_language, worded
from core.sql import sandbox
from core.sql.sandbox import check_statement
from core.warehouse.runs import ingest_parcel
from core.warehouse.warehouse import Warehouse
from tests.profiles import make_profile

pytestmark = pytest.mark.slow


@pytest.fixture
def filled(warehouse, add_parcel):
    ingest_parcel(warehouse, add_parcel(make_profile()))
    return warehouse


def test_a_select_gives_typed_rows(filled):
    result = sandbox.run_query(
        filled, "SELECT run_id, layer, value FROM layer_estimates WHERE estimator = 'd2' ORDER BY layer;"
    )
    assert result.frame.schema == {"run_id": pl.String, "layer": pl.Int16, "value": pl.Float32}
    stored = filled.read("SELECT count(*) AS n FROM layer_estimates WHERE estimator = 'd2'")["n"][0]
    assert result.frame.height == stored >= 12
    assert not result.truncated
    assert 0 < result.seconds < 10


def test_two_queries_run_at_a_time_and_end_with_those_who_asked(filled):
    slow = [sandbox.start_query(filled, "SELECT sleep_ms(60000)", seconds=60) for _ in range(sandbox.MAX_RUNNING)]
    with pytest.raises(QueryError, match="queries are running"):
        sandbox.start_query(filled, "SELECT 1")
    process = slow.pop().process  # as a session that ends takes its query along
    process.wait(timeout=10)
    assert sandbox.run_query(filled, "SELECT 1 AS one").frame["one"].to_list() == [1]
    slow.pop().cancel()


def test_an_empty_result_keeps_its_columns(filled):
    result = sandbox.run_query(filled, "SELECT run_id, seed FROM runs WHERE false")
    assert result.frame.schema == {"run_id": pl.String, "seed": pl.Int64}


def test_more_rows_than_the_limit_are_cut_and_said_to_be(filled):
    result = sandbox.run_query(filled, "SELECT i FROM range(100000) t(i) ORDER BY i DESC", limit=7)
    assert result.truncated
    assert result.frame["i"].to_list() == list(range(99_999, 99_992, -1))


def test_odd_types_arrive_as_text_and_equal_names_are_told_apart(filled):
    sql = """SELECT INTERVAL 3 DAY AS span, MAP {'k': 1} AS m, {'a': 1} AS s, [1.5, 2.5] AS l, 1 AS n, 2 AS n,
                    sum(seed) AS t FROM runs"""
    frame = sandbox.run_query(filled, sql).frame
    assert frame.columns == ["span", "m", "s", "l", "n", "n_1", "t"]
    assert [frame["span"][0], frame["m"][0], frame["s"][0]] == ["3 days", "{k=1}", "{'a': 1}"]


WAYS_TO_ASK = (
    "PIVOT run_checks ON outcome IN ('pass', 'warn') USING count(*) GROUP BY run_id",
    "FROM (UNPIVOT (SELECT 1 AS a, 2 AS b) ON a, b)",
    "VALUES (1), (2)",
    "TABLE runs",
    "FROM runs ORDER BY ALL LIMIT 10%",
    "SELECT * EXCLUDE (config) REPLACE (seed + 1 AS seed) FROM runs",
    "SELECT COLUMNS('.*_id') FROM runs USING SAMPLE 3",
    "SELECT list_transform([1, 2], lambda x: x + 1), TRY(1 / 0), config->>'$.model' FROM runs",
    "SELECT * FROM runs ASOF JOIN models ON runs.model_id = models.model_id AND runs.seed < models.n_layers",
    "SELECT pass, seed, count(*) FROM runs GROUP BY GROUPING SETS ((pass), (seed), ())",
    "WITH RECURSIVE t(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM t WHERE n < 5) SELECT * FROM t",
    "SELECT DISTINCT ON (pass) pass, avg(seed) OVER w FROM runs WINDOW w AS (PARTITION BY pass) ORDER BY pass",
    "WITH pg_rank AS (SELECT 1 AS duckdb_settings) SELECT duckdb_settings, version() FROM pg_rank",
    "SELECT json_each.* FROM runs, json_each(phase_seconds)",
    "SELECT started_at AT TIME ZONE 'Asia/Tokyo' FROM runs",
    "SUMMARIZE runs",
    "SHOW ALL TABLES",
    "EXPLAIN ANALYZE SELECT * FROM runs",
    "-- a remark\nexplain (format json) select 1",
)


def test_every_way_to_ask_is_open(filled):
    for sql in WAYS_TO_ASK:
        request = {"path": str(filled.path), "wait": 10.0, "limit": 10, "seconds": 10.0, "memory_mb": 512, "sql": sql}
        line, _, rest = sandbox.answer(sandbox.Request(**request), pytest.fail).partition(b"\n")
        assert rest and "error" not in json.loads(line), (sql, line)


def test_a_query_sees_the_newest_rows_and_old_copies_go(filled, add_parcel):
    sql = "SELECT count(*) AS n FROM runs"
    assert sandbox.run_query(filled, sql).frame["n"].to_list() == [1]
    ingest_parcel(filled, add_parcel(make_profile("01900000-0000-7000-8000-000000000002")))
    assert sandbox.run_query(filled, sql).frame["n"].to_list() == [2]
    assert len(list((filled.path.parent / "query-copies").iterdir())) == 1


def test_beside_a_read_only_warehouse_the_copy_lies_in_a_folder_of_its_own(filled, tmp_path, monkeypatch):
    blocked = filled.path.parent / "query-copies"
    blocked.write_text("no folder can be made here", encoding="utf-8")
    private = tmp_path / "temp"
    private.mkdir()
    monkeypatch.setenv("TMPDIR", str(private))
    monkeypatch.setenv("TEMP", str(private))
    assert sandbox.run_query(filled, "SELECT count(*) AS n FROM runs").frame["n"].to_list() == [1]
    assert not list(private.iterdir())


KILLED_AFTER_COMMIT = """
import os, sys
from pathlib import Path
from core.store.folder import Folder
from core.warehouse import sync
import duckdb
connection = duckdb.connect(sys.argv[1])
connection.begin()
parcel = Path(sys.argv[2])
sync.sync_rows(connection, Folder(parcel.parents[1]), sync.RUN, [parcel.name])
connection.commit()
os._exit(9)
"""


def test_rows_that_are_still_in_the_log_are_seen(warehouse, add_parcel, python):
    process = python(KILLED_AFTER_COMMIT, warehouse.path, add_parcel(make_profile()))
    assert process.wait() == 9
    assert warehouse.version()[3] > 0  # the log of the killed process
    assert sandbox.run_query(warehouse, "SELECT count(*) AS n FROM runs").frame["n"].to_list() == [1]


def test_a_long_query_does_not_hold_up_a_writer(filled, python):
    code = """
import sys
from pathlib import Path
from core.errors import QueryError
from core.sql import sandbox
from core.warehouse.warehouse import Warehouse
try:
    sandbox.run_query(Warehouse(Path(sys.argv[1])), "SELECT sleep_ms(60000)", seconds=5)
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
        sandbox.run_query(Warehouse(tmp_path / "w.duckdb"), "SELECT 1")


SAID_BY_DUCKDB = (
    ("SELEC 1", "syntax error at or near"),
    ("FROM runz", "Table with name runz does not exist"),
    ("SELECT no_column FROM runs", "no_column"),
    ("SELECT 'a'::INTEGER", "Could not convert string 'a'"),
)


def test_what_duckdb_says_follows_words_in_the_readers_language(filled):
    for sql, original in SAID_BY_DUCKDB:
        with pytest.raises(QueryError) as refused:
            sandbox.run_query(filled, sql)
        told = in_language("ja", worded, refused.value)
        assert told.startswith("クエリを実行できませんでした：") and original in told and "LINE 1" not in told
    with pytest.raises(QueryError, match="The query failed: syntax error"):
        check_statement("SELEC 1")
