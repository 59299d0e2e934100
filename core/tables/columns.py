"""How a table is declared: a frozen record for its rows, whose fields say what each column is.

    @dataclass(frozen=True)
    class RunRow:
        run_id: Annotated[str, Column("Time-ordered id, fixed at submission.", _("run"), key=True)]
        note: Annotated[str | None, Column("A remark by people.", _("note"))]

Name, order, type, whether a value may be missing and the default are the field's own. A trailing underscore (`pass_`)
only avoids a Python keyword; the column has none. From this one declaration follow the DDL and the comments of the
DuckDB file, the typed frames, the data dictionary, the keys that parcels are checked by, and the names on screen.

Modules that declare rows do not import `annotations` from `__future__`: their annotations are values, so that nothing
has to be evaluated again where a parcel is read.
"""

from __future__ import annotations

import types
import typing
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields
from datetime import UTC, datetime
from functools import cache
from typing import Any

import polars as pl

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


@dataclass(frozen=True)
class Column:
    """What is said of a column beside what its field says."""

    meaning: str
    """For people who write SQL or read an export."""
    screen: str = ""
    """Name on screen: the English message, which the catalogues translate. Empty: shown by the column's own name."""
    section: str = ""
    """Section of the record of a run, where it is not the table's own."""
    unit: str = ""
    values: str = ""
    """The kind of names that its values are, for example `cloud`: each has a name on screen of its own."""
    key: bool = False
    """Part of what tells the rows of the table apart."""
    is_layer: bool = False
    """Numbers layers: 0 to n_layers of the model."""
    storage: str = ""
    """Type in the DuckDB file, where it is narrower there than in parcels: `FLOAT`, `SMALLINT`."""
    derived: str = ""
    """SQL over the columns that the file stores, where this one is not stored and follows from them."""
    parts: Mapping[str, str] = field(default_factory=dict)
    """Of a JSON object: its keys and their names on screen."""


@dataclass(frozen=True)
class Residue:
    """A column that only the DuckDB file has, and nobody sees: what derived columns need beside the others."""

    name: str
    sql_type: str
    """Empty: it is not stored, and only named by those after it, so that DuckDB need not read the same twice."""
    expression: str
    """SQL over a whole row and what stands before it, from which it is made when the row is stored."""


@dataclass(frozen=True)
class BoundColumn:
    """A column in its table: the declaration together with what the field says."""

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
    """A table of the warehouse: its name, the class of its rows, and what it is for."""

    name: str
    row: type
    comment: str
    is_indexed: bool = False
    """Whether its key is a primary key. Small tables only: an index slows the bulk insert of long rows."""
    section: str = ""
    """Section of the record of a run that its columns stand in."""
    prefix: str = ""
    """What its columns are prefixed with in the record of a run."""
    residue: tuple[Residue, ...] = ()
    """What is stored in place of derived columns. Such a table is a view of one in the schema `stored`."""

    @property
    def stored_name(self) -> str:
        """The table in the DuckDB file that holds the rows: of a view, the one behind it."""
        return f"stored.{self.name}" if self.residue else self.name

    @property
    def columns(self) -> tuple[BoundColumn, ...]:
        return bound_columns(self.row)

    @property
    def names(self) -> list[str]:
        return columns(self.row)

    @property
    def schema(self) -> dict[str, pl.DataType]:
        """Column name -> polars type, in table order."""
        return schema(self.row)

    @property
    def optional(self) -> set[str]:
        """Columns that may be NULL."""
        return optional_columns(self.row)

    @property
    def comments(self) -> dict[str, str]:
        """Column name -> what it means."""
        return {column.name: column.declared.meaning for column in self.columns}

    @property
    def key(self) -> tuple[str, ...]:
        """Columns that tell its rows apart; none where rows may repeat."""
        return tuple(column.name for column in self.columns if column.declared.key)

    @property
    def layer_columns(self) -> tuple[str, ...]:
        return tuple(column.name for column in self.columns if column.declared.is_layer)

    def ddl(self) -> str:
        """The statements that create the table in a DuckDB file, and the view of it where columns are derived."""
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
        """The statement that stores rows of `source`; columns that they lack are NULL."""
        left_out = [column.name for column in self.columns if column.declared.derived]
        for column in self.residue:
            source = f"(SELECT *, {column.expression} AS {column.name} FROM {source})"
        left_out += [column.name for column in self.residue if not column.sql_type]
        chosen = f"* EXCLUDE ({', '.join(left_out)})" if left_out else "*"
        return f"INSERT INTO {self.stored_name} BY NAME SELECT {chosen} FROM {source}"

    def comment_statements(self) -> list[str]:
        """The statements that write the table's and the columns' meaning into the DuckDB file."""
        kind = "VIEW" if self.residue else "TABLE"
        return [f"COMMENT ON {kind} {self.name} IS {_quoted(self.comment)}"] + [
            f"COMMENT ON COLUMN {self.name}.{column} IS {_quoted(text)}" for column, text in self.comments.items()
        ]

    def frame(self, rows: Iterable[Any]) -> pl.DataFrame:
        return frame(rows, self.row)

    def rows(self, table: pl.DataFrame) -> list[Any]:
        """The records that a frame with these columns holds, in any order of columns."""
        attributes = [column.attribute for column in self.columns]
        found = table.select(self.names).iter_rows()
        return [self.row(**dict(zip(attributes, values, strict=True))) for values in found]


@cache
def bound_columns(row_class: type) -> tuple[BoundColumn, ...]:
    """The columns that a row class declares, in order."""
    return tuple(_bound(f) for f in fields(row_class))


def columns(row_class: type) -> list[str]:
    """Column names of a table, in order."""
    return [column.name for column in bound_columns(row_class)]


def schema(row_class: type) -> dict[str, pl.DataType]:
    """Column name -> polars type, in table order."""
    return {column.name: column.dtype for column in bound_columns(row_class)}


def optional_columns(row_class: type) -> set[str]:
    """Columns that may be NULL."""
    return {column.name for column in bound_columns(row_class) if column.is_optional}


def frame(rows: Iterable[Any], row_class: type) -> pl.DataFrame:
    """Rows of one class as a frame; an undefined number (NaN) becomes NULL where the column allows it."""
    bound = bound_columns(row_class)
    values = [tuple(_without_zone(getattr(row, column.attribute)) for column in bound) for row in rows]
    table = pl.DataFrame(values, schema={column.name: column.dtype for column in bound}, orient="row")
    numbers = [column.name for column in bound if column.is_optional and column.dtype == pl.Float64]
    return table.with_columns(pl.col(numbers).fill_nan(None))


def _bound(f: Any) -> BoundColumn:
    if typing.get_origin(f.type) is not typing.Annotated:
        raise TypeError(f"{f.name} is no column: write Annotated[type, Column(...)], without postponed annotations.")
    hint, declared = typing.get_args(f.type)
    alternatives = typing.get_args(hint) if isinstance(hint, types.UnionType) else (hint,)
    (plain,) = (part for part in alternatives if part is not types.NoneType)
    dtype, sql_type = _TYPES[plain]
    is_optional = types.NoneType in alternatives
    return BoundColumn(f.name.rstrip("_"), f.name, dtype, declared.storage or sql_type, is_optional, declared)


def _without_zone(value: Any) -> Any:
    """Times are stored in UTC without a zone, so that reading them needs no time-zone database."""
    if isinstance(value, datetime) and value.tzinfo is not None:
        return value.astimezone(UTC).replace(tzinfo=None)
    return value


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"
