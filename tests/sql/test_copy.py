"""The copy that typed queries run on: whole, newest, and taken without holding anybody up."""

from __future__ import annotations

import contextlib

import duckdb
import pytest

from core.errors import QueryError, WarehouseLocked
from core.sql import sandbox
from core.warehouse import schema
from core.warehouse.runs import ingest_parcel
from core.warehouse.warehouse import Warehouse
from tests.profiles import make_profile

pytestmark = pytest.mark.slow

HOLDS_THE_LOCK = """
import sys
from pathlib import Path
import duckdb
connection = duckdb.connect(sys.argv[1])
print("held", flush=True)
sys.stdin.read()
"""
WRITES_PAIRS = """
import sys, time
from pathlib import Path
from core.warehouse.warehouse import Warehouse
warehouse = Warehouse(Path(sys.argv[1]))
for n in range(40):
    with warehouse.write() as connection:
        for half in (1, 2):
            connection.execute("INSERT INTO saved_queries VALUES (?, repeat('x', 50000), NULL, now())", [f"{n} {half}"])
    time.sleep(float(sys.argv[2]))
"""


def names_in(copy) -> list[str]:
    with contextlib.closing(duckdb.connect(copy, read_only=True)) as connection:
        return [row[0] for row in connection.execute("SELECT name FROM saved_queries").fetchall()]


def test_no_copy_holds_half_a_transaction(warehouse, python):
    process = python(WRITES_PAIRS, warehouse.path, 0.02)
    seen = [0]
    while process.poll() is None:
        with contextlib.suppress(FileNotFoundError):
            names = names_in(sandbox.current_copy(warehouse))
            assert len(names) % 2 == 0 and len(names) >= seen[-1]
            seen.append(len(names))
    assert process.returncode == 0, process.stderr.read()
    assert len(names_in(sandbox.current_copy(warehouse))) == 80
    assert len(seen) > 2


def test_one_copy_serves_all_queries_on_a_version(warehouse, monkeypatch):
    first = sandbox.current_copy(warehouse)
    monkeypatch.setattr(sandbox, "copy_snapshot", lambda *_: pytest.fail("copied again"))
    assert sandbox.current_copy(warehouse) == first


def test_a_query_on_a_known_version_takes_no_lock_and_another_waits_for_who_writes(warehouse, python, monkeypatch):
    sandbox.run_query(warehouse, "SELECT 1")
    process = python(HOLDS_THE_LOCK, warehouse.path)
    assert process.stdout.readline().strip() == "held"
    impatient = Warehouse(warehouse.path, wait=0.0)
    assert sandbox.run_query(impatient, "SELECT 2 AS n").frame["n"].to_list() == [2]
    monkeypatch.setattr(schema, "fingerprint", lambda: "another")
    with pytest.raises(WarehouseLocked, match=f"Process {process.pid} has held"):
        sandbox.current_copy(impatient)
    process.kill()
    process.wait()
    sandbox.current_copy(warehouse)
    assert [file.suffix for file in warehouse.query_copies.iterdir()] == [".duckdb"]


def test_a_name_with_signs_of_a_pattern_is_a_name(tmp_path):
    warehouse = Warehouse(tmp_path / "w[1]*.duckdb")
    warehouse.prepare()
    first = sandbox.current_copy(warehouse)
    with warehouse.write() as connection:
        connection.execute("INSERT INTO saved_queries VALUES ('a', 'SELECT 1', NULL, now())")
    second = sandbox.current_copy(warehouse)
    assert second != first and list(second.parent.iterdir()) == [second]


def test_a_running_query_is_cancelled_and_leaves_nothing(warehouse, add_parcel):
    ingest_parcel(warehouse, add_parcel(make_profile()))
    running = sandbox.start_query(warehouse, "SELECT sleep_ms(60000)", seconds=60)
    assert not running.is_done()
    running.cancel()
    assert running.is_done() and running.answer.closed
    assert sandbox.run_query(warehouse, "SELECT count(*) AS n FROM runs").frame["n"].to_list() == [1]


LIMITS = ((0, 10.0, "0 rows"), (10**9, 10.0, "not 1,000,000,000"), (5, 0.0, "not 0.0"), (5, float("nan"), "not nan"))


def test_limits_have_limits(warehouse):
    for limit, seconds, message in LIMITS:
        with pytest.raises(QueryError, match=message):
            sandbox.start_query(warehouse, "SELECT 1", limit, seconds)
