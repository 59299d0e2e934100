"""A real DuckDB warehouse per test; made once and copied."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from core.records import Profile
from core.store import parcels
from core.warehouse.warehouse import Warehouse
from tests.measuring import prepared

ROOT = Path(__file__).parents[2]


@pytest.fixture
def warehouse(tmp_path) -> Warehouse:
    return prepared(tmp_path / "workdim.duckdb")


@pytest.fixture(scope="session")
def new_warehouse(tmp_path_factory) -> Callable[[str], Warehouse]:
    """Makes an empty one in a folder of its own, to be filled once and then `copied` for each test."""
    return lambda name: prepared(tmp_path_factory.mktemp(name) / "workdim.duckdb")


def copied(filled: Warehouse, warehouse: Warehouse) -> Warehouse:
    """The warehouse of a test, with everything that the other one holds."""
    shutil.copytree(filled.path.parent, warehouse.path.parent, dirs_exist_ok=True)
    return warehouse


@pytest.fixture
def add_parcel(warehouse) -> Callable[[Profile], Path]:
    """Puts a profile beside the warehouse as a finished parcel, not yet ingested."""
    return lambda profile: put_beside(warehouse, profile)


def put_beside(warehouse: Warehouse, profile: Profile) -> Path:
    job = warehouse.jobs / profile.run.run_id
    parcels.write_parcel(job, profile)
    return parcels.publish_parcel(warehouse.folder, job)


@pytest.fixture
def python() -> Callable[..., subprocess.Popen]:
    """Starts another Python process on a piece of code, with `sys.argv` as given; killed at the end of the test."""
    started: list[subprocess.Popen] = []

    def start(code: str, *arguments: object) -> subprocess.Popen:
        process = subprocess.Popen(
            [sys.executable, "-c", code, *map(str, arguments)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            encoding="utf-8",
            cwd=ROOT,
        )
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()
