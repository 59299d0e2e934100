"""The tables hold exactly what the records say, and explain themselves."""

import polars as pl

from core.tables import TABLES, VERSIONS
from core.warehouse import schema

NARROW = {"FLOAT": pl.Float32(), "SMALLINT": pl.Int16(), "INTEGER": pl.Int32(), "FLOAT[]": pl.List(pl.Float32)}


def test_columns_and_types_are_those_of_the_record(warehouse):
    with warehouse.open() as opened:
        for table, declared in TABLES.items():
            found = opened.read(f"SELECT * FROM {table} LIMIT 0").schema
            assert list(found) == declared.names
            for column in declared.columns:
                narrow = pl.Float64() if column.declared.derived else NARROW.get(column.sql_type, column.dtype)
                assert found[column.name] == narrow, column.name


def test_every_table_has_a_comment(warehouse):
    assert {table.name for table in schema.list_tables(warehouse)} == {*TABLES, VERSIONS.name}
    for table in schema.list_tables(warehouse):
        assert table.comment, table.name


def test_the_version_is_recorded_once(warehouse):
    warehouse.prepare()
    found = warehouse.read("SELECT version, fingerprint FROM schema_version").rows()
    assert found == [(schema.VERSION, schema.fingerprint())]


def test_the_file_uses_the_storage_format_of_duckdb_2(warehouse):
    tags = warehouse.read("SELECT tags['storage_version'] AS storage FROM duckdb_databases() WHERE path IS NOT NULL")
    assert tags["storage"].to_list() == ["v2.0.0+"]
