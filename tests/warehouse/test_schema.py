"""The tables hold exactly what the records say, and explain themselves."""

import pytest

from core.tables import TABLES
from core.warehouse.comments import COMMENTS
from core.warehouse.migrations import MIGRATIONS


@pytest.mark.parametrize("table", TABLES)
def test_columns_types_and_nulls_are_those_of_the_record(warehouse, table):
    stored = warehouse.read("SELECT column_name, is_nullable FROM duckdb_columns() WHERE table_name = ?", [table])
    assert stored["column_name"].to_list() == TABLES[table].names
    assert set(stored.filter("is_nullable")["column_name"]) == TABLES[table].optional
    assert warehouse.read(f"SELECT * FROM {table} LIMIT 0").schema == TABLES[table].schema


def test_every_table_and_column_has_a_comment(warehouse):
    tables = warehouse.read("SELECT table_name, comment FROM duckdb_tables()")
    assert set(tables["table_name"]) == {*TABLES, "schema_migrations"}
    assert tables["comment"].null_count() == 0
    stored = warehouse.read("SELECT table_name, column_name, comment FROM duckdb_columns() WHERE NOT internal")
    assert stored.filter(stored["comment"].is_null()).is_empty()
    assert stored.height == sum(len(of_table) for _, of_table in COMMENTS.values())


def test_each_step_is_recorded_once(warehouse):
    warehouse.prepare()
    steps = warehouse.read("SELECT version, name FROM schema_migrations ORDER BY version")
    assert steps.rows() == [(version, step.__name__) for version, step in MIGRATIONS.items()]


def test_the_file_uses_the_storage_format_of_duckdb_2(warehouse):
    tags = warehouse.read("SELECT tags['storage_version'] AS storage FROM duckdb_databases() WHERE path IS NOT NULL")
    assert tags["storage"].to_list() == ["v2.0.0+"]
