"""Every function of DuckDB is known to the sandbox: a new version may bring one that reads files or settings."""

from __future__ import annotations

import csv
from pathlib import Path

import duckdb
import pytest

from core.sql.sandbox import refused_functions

KNOWN = Path(__file__).with_name("duckdb_functions.csv")
FUNCTIONS = "SELECT DISTINCT function_name FROM duckdb_functions() WHERE function_type <> 'pragma'"
"""PRAGMA is a statement of its own, and refused as such."""


@pytest.fixture(scope="module")
def decisions() -> dict[str, str]:
    """Function -> what somebody decided who looked at it."""
    with KNOWN.open(encoding="utf-8", newline="") as file:
        return {row["function"]: row["decision"] for row in csv.DictReader(file)}


def test_somebody_looked_at_every_function(decisions: dict[str, str]) -> None:
    with duckdb.connect() as connection:
        functions = connection.execute(FUNCTIONS).fetchall()
    unknown = sorted({name for (name,) in functions} - set(decisions))
    assert unknown == [], (
        f"DuckDB {duckdb.__version__} has functions that nobody looked at. For each: does it look at anything but its "
        f"arguments? Refuse it in core/sql/sandbox.py or allow it, and add the decision to {KNOWN.name}."
    )


def test_the_gate_decides_as_was_decided(decisions: dict[str, str]) -> None:
    with duckdb.connect() as connection:
        functions = connection.execute(FUNCTIONS).fetchall()
        refused = refused_functions(connection)
    there = {name: "refused" if name in refused else "allowed" for (name,) in functions}
    assert there == {name: decision for name, decision in decisions.items() if name in there}
