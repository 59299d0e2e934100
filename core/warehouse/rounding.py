"""Whether two published values can be one value that was rounded differently."""

from __future__ import annotations

import polars as pl

MOST_DECIMALS = 5
FEWEST_DECIMALS = 1
"""Of a percentage: 50 is taken for 50.0, not for anything between 49.5 and 50.5."""


def in_percent(value: str, unit: str) -> pl.Expr:
    """The column `value` on one scale: a fraction of 0.5 is 50 percent."""
    return pl.when(pl.col(unit) == "fraction").then(100 * pl.col(value)).otherwise(pl.col(value))


def scale(unit: str) -> pl.Expr:
    """What `in_percent` is counted in: percent, or the unit's own name. Values of two scales are never set against each
    other, `not stated` being one of its own."""
    return pl.col(unit).replace("fraction", "percent")


def agree(a: str, b: str) -> pl.Expr:
    """Whether these columns differ by no more than half a unit of the last decimal of the one that has fewer."""
    step = 10.0 ** -pl.min_horizontal(_decimals(a), _decimals(b))
    return (pl.col(a) - pl.col(b)).abs() <= 0.5 * step * (1 + 1e-6) + 1e-9


def _decimals(column: str) -> pl.Expr:
    """Decimals that a value is written with, as far as can be seen from it."""
    found = pl.lit(MOST_DECIMALS, pl.Float64)
    for n in range(MOST_DECIMALS - 1, FEWEST_DECIMALS - 1, -1):
        scaled = pl.col(column) * 10**n
        found = pl.when((scaled - scaled.round()).abs() < 1e-6).then(pl.lit(n, pl.Float64)).otherwise(found)
    return found
