"""The gate in front of a warehouse: a writer closes it, readers walk through, and nobody waits for nothing."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from dataclasses import replace

import duckdb
import pytest

from core.errors import WarehouseLocked
from core.warehouse import connection as gate
from core.warehouse import copy_worker
from core.warehouse.warehouse import Warehouse

HOLD = """
import sys, duckdb
connection = duckdb.connect(sys.argv[1], read_only=True)
print("held", flush=True)
sys.stdin.readline()
"""
SAVED = "INSERT INTO saved_queries VALUES ('mine', 'SELECT 1', NULL, now()::TIMESTAMP)"


def test_a_closed_gate_keeps_readers_and_writers_out(warehouse):
    hasty = replace(warehouse, wait=0.05)
    with gate.exclusive(warehouse.path, 1.0):
        with pytest.raises(WarehouseLocked):
            hasty.read("SELECT 1")
        with pytest.raises(WarehouseLocked), hasty.write():
            pass
        with pytest.raises(WarehouseLocked), gate.exclusive(warehouse.path, 0.01):
            pass
    assert hasty.read("SELECT 1").height == 1


def test_readers_do_not_close_the_gate(warehouse):
    with warehouse.open() as one, warehouse.open() as other:
        assert one.read("SELECT 1").equals(other.read("SELECT 1"))
        with gate.exclusive(warehouse.path, 0.0):
            pass


def test_readers_go_in_while_a_writer_waits_for_a_program_that_knows_no_gate(warehouse, python, monkeypatch):
    monkeypatch.setattr(gate, "_GATE_CLOSED", 0.05)
    shell = python(HOLD, warehouse.path)
    shell.stdout.readline()
    failed: list[str] = []

    def write() -> None:
        try:
            with replace(warehouse, wait=1.5).write():
                pass
        except WarehouseLocked as error:
            failed.append(str(error))

    writer = threading.Thread(target=write)
    writer.start()
    read = 0
    while writer.is_alive():
        assert replace(warehouse, wait=1.0).read("SELECT 1").height == 1
        read += 1
    assert read > 1
    # Where the writer's last try met one of the reads above, which are of this process, DuckDB names no process.
    holders = (f"Process {shell.pid} has", "Another process or another part of this one has")
    assert len(failed) == 1 and failed[0].startswith(holders)


def test_without_room_for_a_gate_the_file_decides_alone(warehouse, monkeypatch):
    monkeypatch.setattr(gate, "gate_path", lambda path, name: path / name)  # below a file
    with warehouse.write() as connection:
        connection.execute(SAVED)
    assert warehouse.read("SELECT name FROM saved_queries")["name"].to_list() == ["mine"]


def test_who_leaves_or_is_refused_takes_no_lock_from_another_thread(warehouse, python):
    """POSIX systems keep locks for processes: a second handle that is closed would drop the first one's."""
    try_it = "import duckdb, sys; duckdb.connect(sys.argv[1])"
    with warehouse.open():
        with warehouse.open() as other:
            other.read("SELECT 1")
        with pytest.raises(WarehouseLocked), replace(warehouse, wait=0.0).write():
            pass
        _, said = python(try_it, warehouse.path).communicate(timeout=60)
    assert "Could not set lock" in said
    assert python(try_it, warehouse.path).communicate(timeout=60)[1] == ""


def test_a_running_duckdb_that_has_failed_is_started_anew(warehouse):
    with pytest.raises(duckdb.FatalException), warehouse.open():
        raise duckdb.FatalException("database has been invalidated")
    assert warehouse.read("SELECT 1 AS one")["one"].to_list() == [1]


def test_files_of_one_name_are_open_at_the_same_time(warehouse, tmp_path):
    other = Warehouse(tmp_path / "other" / warehouse.path.name)
    with warehouse.open() as one, other.open() as two:
        names = [each.read("SELECT current_database() AS name, count(*) AS n FROM runs").row(0) for each in (one, two)]
    assert names[0][0] == warehouse.path.stem and names[1] == (f"{warehouse.path.stem}_1", 0)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="a system without pipes that have a name")
def test_a_copy_that_failed_for_a_reason_without_a_number_is_not_taken_for_one(tmp_path):
    os.mkfifo(tmp_path / "source")
    done = subprocess.run(
        [sys.executable, "-I", copy_worker.__file__, str(tmp_path / "source"), str(tmp_path / "target")],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode and "named pipe" in done.stderr
