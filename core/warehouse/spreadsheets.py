"""Tables for people who open them in a spreadsheet."""

from __future__ import annotations

import polars as pl

_FORMULA = r"^([=+\-@\t\r])"
"""How a cell begins that a spreadsheet would run."""


def as_csv(frame: pl.DataFrame) -> bytes:
    """All columns at full precision, with the mark that makes Excel read UTF-8; lists with a blank between their parts.

    A text that a spreadsheet would run as a formula gets an apostrophe in front.
    """
    lists = [name for name, kind in frame.schema.items() if isinstance(kind, pl.List)]
    flat = frame.with_columns(pl.col(name).cast(pl.List(pl.String)).list.join(" ") for name in lists)
    safe = flat.with_columns(pl.col(pl.String).str.replace(_FORMULA, "'$1"))
    return safe.write_csv(include_bom=True).encode("utf-8")
