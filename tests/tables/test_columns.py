"""A column is declared once: what follows from the declaration agrees with it."""

import math
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Annotated

import duckdb
import polars as pl
import pytest

from core.geometry.clouds import log_interval
from core.records import Estimate
from core.tables import TABLES, RunRow, ids_of, records, value_of
from core.tables.columns import Column, Table
from tests.profiles import make_profile


@dataclass(frozen=True)
class Row:
    name: Annotated[str, Column("Who it's of.", key=True)]
    pass_: Annotated[int, Column("Which.", storage="SMALLINT", key=True)]
    value: Annotated[float | None, Column("What.", storage="FLOAT")]
    made_at: Annotated[datetime, Column("When.")]
    parts: Annotated[list[int] | None, Column("Of what.", storage="SMALLINT[]")] = None


THINGS = Table("things", Row, "Things that are counted.", is_indexed=True)


def test_the_ddl_makes_the_columns_that_are_declared():
    sql = """
        SELECT column_name, is_nullable, comment FROM duckdb_columns()
        WHERE schema_name = 'main' AND NOT internal AND table_name = ?
    """
    with duckdb.connect() as connection:
        for table in (*TABLES.values(), THINGS):
            for statement in [table.ddl(), *table.comment_statements()]:
                connection.execute(statement)
            is_view = bool(table.residue)  # of which DuckDB takes every column for one that may be NULL
            assert connection.execute(sql, [table.name]).fetchall() == [
                (column.name, column.is_optional or is_view, column.declared.comment) for column in table.columns
            ]
            connection.register("incoming", table.frame([]))
            connection.execute(table.insert_sql("incoming"))


def test_a_narrower_type_is_the_files_alone():
    assert THINGS.ddl() == (
        "CREATE TABLE things (name VARCHAR NOT NULL, pass SMALLINT NOT NULL, value FLOAT, made_at TIMESTAMP NOT NULL, "
        "parts SMALLINT[], PRIMARY KEY (name, pass))"
    )
    assert THINGS.schema["value"] == pl.Float64 and THINGS.schema["pass"] == pl.Int64


def test_intervals_that_follow_are_not_stored_and_others_stay_as_they_are():
    """By value, error and Student's t; NULL stays NULL."""
    table = TABLES["layer_estimates"]
    like = make_profile().estimates[0]
    odd = {
        "not of Student": replace(like, lower=1.0, upper=2.0),
        "without an error": replace(like, std_error=None, lower=90.0, upper=110.0),
        "without an interval": replace(like, lower=None, upper=None),
        "of nothing": replace(like, value=None, std_error=None, lower=None, upper=None),
        "below zero": replace(like, value=-1.0, std_error=1.0, lower=-3.0, upper=1.0),
        "half": replace(like, upper=None),
        "wide": replace(like, value=1.0, std_error=90.3, lower=math.exp(-90.3 * 2.13), upper=math.exp(90.3 * 2.13)),
    }
    follows = []
    for number, n_blocks in enumerate((2, 5, 16, 64)):
        found = log_interval(Estimate(100.0 + number), [100 + number + 0.1 * n for n in range(n_blocks)])
        follows.append(
            replace(like, value=found.value, std_error=found.std_error, lower=found.lower, upper=found.upper)
        )
    rows = table.frame([*follows, *odd.values()]).with_row_index("layer_of", 0).with_columns(layer=pl.col("layer_of"))
    rows = rows.select(table.names)
    with duckdb.connect() as connection:
        connection.execute(table.ddl())
        connection.register("incoming", rows)
        connection.execute(table.insert_sql("incoming"))
        back = pl.DataFrame(connection.sql("SELECT * FROM layer_estimates ORDER BY layer"))
        stored = connection.sql("SELECT count(t_quantile), count(own_lower) FROM stored.layer_estimates").fetchall()
    assert stored == [(4, 5)]
    for column in ("lower", "upper"):
        for one, other in zip(rows[column], back[column], strict=True):
            assert one is other is None or math.isclose(one, other, rel_tol=1e-6)
        assert back[column][4:].equals(rows[column][4:])


def test_records_become_a_frame_and_records_again():
    made_at = datetime(2026, 11, 26, 9, tzinfo=UTC)
    table = THINGS.frame([Row("a", 1, math.nan, made_at, [1, 2]), Row("b", 2, 0.5, made_at)])
    assert table["value"].to_list() == [None, 0.5]
    assert THINGS.rows(table.select(sorted(table.columns))) == [
        Row("a", 1, None, made_at.replace(tzinfo=None), [1, 2]),
        Row("b", 2, 0.5, made_at.replace(tzinfo=None)),
    ]


def test_a_narrow_read_gives_records_without_the_columns_that_it_leaves_out():
    read = pl.DataFrame({"run_id": ["a", "b"], "pass": ["text", "shuffled"], "beside": [1, 2], "note": [None, "mine"]})
    first, second = records(read, RunRow)
    assert (first.run_id, first.pass_, second.pass_) == ("a", "text", "shuffled") and ids_of(read) == ["a", "b"]
    assert (value_of(second, "pass"), value_of(second, "note")) == ("shuffled", "mine")
    assert not {"beside", "seed", "model_seed"} & set(dir(first)), "nor does a default stand for what was not read"
    with pytest.raises(AttributeError):
        value_of(second, "seed")
    with pytest.raises(pl.exceptions.ColumnNotFoundError):
        TABLES["runs"].rows(read)
