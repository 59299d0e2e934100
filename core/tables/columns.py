"""Declare a table as a frozen record for its rows, whose fields describe its columns.

    @dataclass(frozen=True)
    class RunRow:
        run_id: Annotated[str, Column("Time-ordered id, fixed at submission.", _("run"), key=True)]
        code_version: Annotated[str, "Version of Workdim."]
        hidden_size: Annotated[int, "", _("hidden size")]

Meaning and name on screen may stand without `Column`, and a type alone declares a column whose name says all. A
trailing underscore (`pass_`) only avoids a Python keyword. DDL and comments of the DuckDB file, typed frames, the data
dictionary, the keys that parcels are checked by and names on screen all follow from this one declaration.

Modules that declare rows do not import `annotations` from `__future__`: their annotations are values, so that nothing
has to be evaluated again when a parcel is read.
"""

from __future__ import annotations

import types
import typing
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields
from datetime import UTC, datetime
from functools import cache
from typing import Any, TypeVar

import polars as pl

from core.errors import Sentence, sentences
from core.registry.names import keys

T = TypeVar("T")
_TYPES: dict[Any, tuple[Any, str]] = {
    str: (pl.String(), "VARCHAR"),
    int: (pl.Int64(), "BIGINT"),
    float: (pl.Float64(), "DOUBLE"),
    bool: (pl.Boolean(), "BOOLEAN"),
    datetime: (pl.Datetime("us"), "TIMESTAMP"),
    list[str]: (pl.List(pl.String), "VARCHAR[]"),
    list[int]: (pl.List(pl.Int64), "BIGINT[]"),
    list[float]: (pl.List(pl.Float64), "DOUBLE[]"),
}
"""Type of a field -> type in frames and parcels, type in the DuckDB file."""
_NARROW = {"BIGINT": "INTEGER", "DOUBLE": "FLOAT", "DOUBLE[]": "FLOAT[]"}


@dataclass(frozen=True)
class Column:
    """The part of a column's declaration that its field cannot express."""

    meaning: str = ""
    """What the column's name leaves open, for people who write SQL or read an export."""
    screen: str = ""
    """Name on screen: the English message, which the catalogues translate. Empty: the column's own name is shown."""
    section: str = ""
    """Section in the record of a run, if it is not the table's own."""
    unit: str = ""
    values: str = ""
    """Kind of names that its values are, for example `cloud`: each has its own name on screen, and its comment lists them."""
    key: bool = False
    """Whether it is part of the key that identifies a row."""
    is_layer: bool = False
    """Whether it numbers layers: 0 to n_layers of the model."""
    storage: str = ""
    """Type in the DuckDB file, if not that of its field, or of a narrow table."""
    derived: str = ""
    """SQL over the columns in the file, if this column is derived from them and not stored."""
    parts: Mapping[str, str] = field(default_factory=dict)
    """For a JSON object: its keys and their names on screen."""

    @property
    def comment(self) -> Sentence:
        """Its meaning, else its name on screen, and what it may hold: a new estimator or check appears by itself."""
        names = list(keys(self.values))
        meaning = self.meaning or ("" if names else self.screen)
        return sentences(Sentence(meaning), Sentence("{names}.", names=names) if names else "")


@dataclass(frozen=True)
class Residue:
    """A hidden column that only the DuckDB file has: an additional input of the derived columns."""

    name: str
    sql_type: str
    """Empty: not stored, only named for the residues after it, so that DuckDB need not compute it twice."""
    expression: str
    """SQL over a whole row and the residues before it; evaluated when the row is stored."""


@dataclass(frozen=True)
class BoundColumn:
    """A column of a table: its declaration together with its field."""

    name: str
    attribute: str
    """Name of the field, `pass_` for the column `pass`."""
    dtype: pl.DataType
    sql_type: str
    """Type in the DuckDB file."""
    is_optional: bool
    """Whether it may be NULL."""
    declared: Column


@dataclass(frozen=True)
class Table:
    """A table of the warehouse: its name, the class of its rows, and its purpose."""

    name: str
    row: type
    comment: str
    is_indexed: bool = False
    """Whether its key is a primary key. Small tables only: an index slows the bulk insert of long rows."""
    section: str = ""
    """Section of its columns in the record of a run."""
    prefix: str = ""
    """Prefix of its columns in the record of a run."""
    is_narrow: bool = False
    """Whether the DuckDB file holds its numbers in half the bytes that they have in parcels, and layers in a quarter."""
    residue: tuple[Residue, ...] = ()
    """Columns stored in place of derived ones. Such a table is a view of one in the schema `stored`."""

    def __post_init__(self) -> None:
        for name in attributes(self.row).values():
            if name in vars(self.row):  # a default is for who makes a row, not for a read that lacks the column
                delattr(self.row, name)

    @property
    def stored_name(self) -> str:
        """The table in the DuckDB file that holds the rows: for a view, the one behind it."""
        return f"stored.{self.name}" if self.residue else self.name

    @property
    def columns(self) -> tuple[BoundColumn, ...]:
        return bound_columns(self.row, self.is_narrow)

    @property
    def names(self) -> list[str]:
        return columns(self.row)

    @property
    def schema(self) -> dict[str, pl.DataType]:
        """Column name -> polars type, in table order."""
        return {column.name: column.dtype for column in self.columns}

    @property
    def optional(self) -> set[str]:
        """Columns that may be NULL."""
        return {column.name for column in self.columns if column.is_optional}

    @property
    def comments(self) -> dict[str, Sentence]:
        """Column name -> its meaning and the names that it may hold; empty where the column's name says all."""
        return {column.name: column.declared.comment for column in self.columns}

    @property
    def key(self) -> tuple[str, ...]:
        """Columns that identify a row; empty if rows may repeat."""
        return tuple(column.name for column in self.columns if column.declared.key)

    def ddl(self) -> str:
        """SQL that creates the table in a DuckDB file, and its view if columns are derived."""
        lines = [
            f"{column.name} {column.sql_type}{'' if column.is_optional else ' NOT NULL'}"
            for column in self.columns
            if not column.declared.derived
        ]
        lines += [f"{column.name} {column.sql_type}" for column in self.residue if column.sql_type]
        if self.is_indexed:
            lines.append(f"PRIMARY KEY ({', '.join(self.key)})")
        created = f"CREATE TABLE {self.stored_name} ({', '.join(lines)})"
        if not self.residue:
            return created
        shown = ", ".join(
            f"{column.declared.derived} AS {column.name}" if column.declared.derived else column.name
            for column in self.columns
        )
        view = f"CREATE VIEW {self.name} AS SELECT {shown} FROM {self.stored_name}"
        return f"CREATE SCHEMA IF NOT EXISTS stored; {created}; {view}"

    def insert_sql(self, source: str) -> str:
        """SQL that stores the rows of `source`; columns that it lacks become NULL."""
        left_out = [column.name for column in self.columns if column.declared.derived]
        for column in self.residue:
            source = f"(SELECT *, {column.expression} AS {column.name} FROM {source})"
        left_out += [column.name for column in self.residue if not column.sql_type]
        chosen = f"* EXCLUDE ({', '.join(left_out)})" if left_out else "*"
        return f"INSERT INTO {self.stored_name} BY NAME SELECT {chosen} FROM {source}"

    def comment_statements(self) -> list[str]:
        """SQL that writes the meaning of the table and its columns into the DuckDB file."""
        kind = "VIEW" if self.residue else "TABLE"
        return [f"COMMENT ON {kind} {self.name} IS {literal(self.comment)}"] + [
            f"COMMENT ON COLUMN {self.name}.{column} IS {literal(text)}" for column, text in self.comments.items()
        ]

    def frame(self, rows: Iterable[Any]) -> pl.DataFrame:
        return frame(rows, self.row)

    def rows(self, table: pl.DataFrame) -> list[Any]:
        """The records in a frame with these columns; their order does not matter."""
        return records(table.select(self.names), self.row)


def records(table: pl.DataFrame, record: type[T]) -> list[T]:
    """The rows of a frame as records of a class whose fields are named as its columns.

    What the frame has besides is left out; what it lacks, the records lack: to ask for it raises AttributeError.
    """
    named, found = attributes(record), []
    names = [name for name in table.columns if name in named]
    fields_read = [named[name] for name in names]
    for values in table.select(names).iter_rows():
        one = object.__new__(record)  # by its arguments, a thousand runs of a hundred columns take longest
        vars(one).update(zip(fields_read, values, strict=True))
        found.append(one)
    return found


def attributes(record: type) -> dict[str, str]:
    """Column -> field: a trailing underscore only avoids a keyword."""
    return {field.name.rstrip("_"): field.name for field in fields(record)}


def ids_of(rows: pl.DataFrame) -> list[str]:
    """The ids of the runs of these rows, in their order."""
    return rows["run_id"].to_list()


def value_of(record: Any, column: str) -> Any:
    """The value of a column by its name."""
    return getattr(record, attributes(type(record))[column])


@cache
def bound_columns(row_class: type, is_narrow: bool = False) -> tuple[BoundColumn, ...]:
    """The columns that a row class declares, in order."""
    return tuple(_bound(f, is_narrow) for f in fields(row_class))


def columns(row_class: type) -> list[str]:
    """Column names of a table, in order."""
    return [column.name for column in bound_columns(row_class)]


def frame(rows: Iterable[Any], row_class: type) -> pl.DataFrame:
    """A frame of rows of one class; an undefined number (NaN) becomes NULL if the column allows it."""
    bound = bound_columns(row_class)
    values = [tuple(_without_zone(getattr(row, column.attribute)) for column in bound) for row in rows]
    table = pl.DataFrame(values, schema={column.name: column.dtype for column in bound}, orient="row")
    numbers = [column.name for column in bound if column.is_optional and column.dtype == pl.Float64]
    return table.with_columns(pl.col(numbers).fill_nan(None))


def _bound(f: Any, is_narrow: bool) -> BoundColumn:
    hint, *said = typing.get_args(f.type) if typing.get_origin(f.type) is typing.Annotated else (f.type,)
    declared = said[0] if said and isinstance(said[0], Column) else Column(*said)
    (plain,) = (part for part in typing.get_args(hint | None) if part is not types.NoneType)
    dtype, sql_type = _TYPES[plain]
    if is_narrow and not declared.derived:
        sql_type = "SMALLINT" if declared.is_layer else _NARROW.get(sql_type, sql_type)
    is_optional = isinstance(hint, types.UnionType)
    return BoundColumn(f.name.rstrip("_"), f.name, dtype, declared.storage or sql_type, is_optional, declared)


def _without_zone(value: Any) -> Any:
    """Convert a time to UTC without a zone, so that reading it needs no time-zone database."""
    if isinstance(value, datetime) and value.tzinfo is not None:
        return value.astimezone(UTC).replace(tzinfo=None)
    return value


def literal(text: str) -> str:
    """A text quoted for SQL."""
    return "'" + text.replace("'", "''") + "'"
