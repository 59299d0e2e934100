"""A column is declared once: what follows from the declaration agrees with it."""

import math
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated

import duckdb
import polars as pl
import pytest

from core.tables import TABLES
from core.tables.columns import Column, Table


@dataclass(frozen=True)
class Row:
    name: Annotated[str, Column("Who it's of.", key=True)]
    pass_: Annotated[int, Column("Which.", storage="SMALLINT", key=True)]
    value: Annotated[float | None, Column("What.", storage="FLOAT")]
    made_at: Annotated[datetime, Column("When.")]
    parts: Annotated[list[int] | None, Column("Of what.", storage="SMALLINT[]")] = None


THINGS = Table("things", Row, "Things that are counted.", is_indexed=True)


@pytest.mark.parametrize("table", [*TABLES.values(), THINGS], ids=lambda table: table.name)
def test_the_ddl_makes_the_columns_that_are_declared(table):
    with duckdb.connect() as connection:
        for statement in [table.ddl(), *table.comment_statements()]:
            connection.execute(statement)
        made = connection.execute("SELECT column_name, is_nullable, comment FROM duckdb_columns() WHERE NOT internal")
        assert made.fetchall() == [
            (column.name, column.is_optional, column.declared.meaning) for column in table.columns
        ]
        connection.register("incoming", table.frame([]))
        connection.execute(f"INSERT INTO {table.name} BY NAME SELECT * FROM incoming")


def test_a_narrower_type_is_the_files_alone():
    assert THINGS.ddl() == (
        "CREATE TABLE things (name VARCHAR NOT NULL, pass SMALLINT NOT NULL, value FLOAT, made_at TIMESTAMP NOT NULL, "
        "parts SMALLINT[], PRIMARY KEY (name, pass))"
    )
    assert THINGS.schema["value"] == pl.Float64 and THINGS.schema["pass"] == pl.Int64


def test_records_become_a_frame_and_records_again():
    made_at = datetime(2026, 11, 26, 9, tzinfo=UTC)
    table = THINGS.frame([Row("a", 1, math.nan, made_at, [1, 2]), Row("b", 2, 0.5, made_at)])
    assert table["value"].to_list() == [None, 0.5]
    assert THINGS.rows(table.select(sorted(table.columns))) == [
        Row("a", 1, None, made_at.replace(tzinfo=None), [1, 2]),
        Row("b", 2, 0.5, made_at.replace(tzinfo=None)),
    ]


def test_a_field_without_a_declaration_is_no_column():
    @dataclass(frozen=True)
    class Bare:
        name: str

    with pytest.raises(TypeError, match="name is no column"):
        Table("bare", Bare, "").names  # noqa: B018
