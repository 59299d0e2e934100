"""What a relation is counted over: models with both numbers, each training recipe once, by the mean of its models."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import polars as pl

from core.sources import stated

FEWEST_EXPLORATORY = stated(5, "FEWEST_EXPLORATORY")
"""Fewest models for a coefficient, which is exploratory."""
FEWEST_TEST = stated(10, "FEWEST_TEST")
"""Fewest models for a test of a relation, and for a dimension to weigh in a choice."""
_BLOCKS = ("dimension_blocks", "performance_blocks")
Numbers = Sequence[float | None] | Sequence[float] | np.ndarray
"""One number per unit; None or NaN where it is unknown."""


def to_floats(values: Numbers) -> np.ndarray:
    """The numbers as floats (n,), NaN where unknown."""
    return np.array([math.nan if v is None else v for v in values], dtype=float)


def _with_all_columns(units: pl.DataFrame) -> pl.DataFrame:
    """Add missing optional columns; set numbers that are not finite, and errors that are not positive, to null."""
    numbers = ["dimension", "performance", "dimension_error", "performance_error", "log_parameters"]
    types = pl.Schema(dict.fromkeys(numbers, pl.Float64))
    types |= dict.fromkeys(_BLOCKS, pl.List(pl.Float64))
    types |= dict.fromkeys(["family", "recipe"], pl.String())
    absent = [pl.lit(None).alias(name) for name in types if name not in units.columns]
    complete = units.with_columns(absent).cast(types)
    finite = complete.with_columns(pl.when(pl.col(c).is_finite()).then(c) for c in numbers)
    return finite.with_columns(
        pl.when(pl.col(c) > 0).then(c) for c in ("dimension", "dimension_error", "performance_error")
    )


def known_units(units: pl.DataFrame) -> tuple[pl.DataFrame, tuple[str, ...], tuple[str, ...]]:
    """Units with both values, and the names of those without a dimension and of the others without a score.

    Sorted, so that random draws do not depend on the order of the models.
    """
    complete = _with_all_columns(units).sort("dimension", "performance", "unit")
    has_dimension, has_performance = pl.col("dimension").is_not_null(), pl.col("performance").is_not_null()
    return (
        complete.filter(has_dimension & has_performance),
        tuple(complete.filter(~has_dimension)["unit"].cast(pl.String)),
        tuple(complete.filter(has_dimension & ~has_performance)["unit"].cast(pl.String)),
    )


def missing_reason(units: pl.DataFrame, known: pl.DataFrame) -> str:
    if known.height or units.is_empty():
        return "too_few"
    complete = _with_all_columns(units)
    if complete["performance"].null_count() == units.height:
        return "no_scores"
    return "no_dimensions" if complete["dimension"].null_count() == units.height else "too_few"


def average_recipes(units: pl.DataFrame) -> pl.DataFrame:
    """One row per recipe: means over its measured units (of dimensions geometric ones) with their errors, and the first
    unit's family."""
    known = _with_all_columns(units).with_columns(recipe=pl.coalesce("recipe", "unit"))
    if known["recipe"].n_unique() == known.height:
        return known.drop("unit").rename({"recipe": "unit"})
    is_known = pl.all_horizontal(pl.col("dimension", "performance").is_not_null())
    # Only units with both values enter the means, unless the recipe has no such unit.
    enters = is_known | ~is_known.any().over("recipe")
    known = known.with_columns(pl.when(enters).then(pl.col("dimension", "performance")))
    described = {"unit", "recipe", "family", "dimension", "dimension_error", "performance_error", *_BLOCKS}

    def error(column: str, of: str) -> pl.Expr:
        among = pl.col(column).filter(pl.col(of).is_not_null())
        return ((among**2).sum().sqrt() / among.len()).alias(column)

    return (
        known.group_by("recipe", maintain_order=True)
        .agg(
            pl.col("dimension").log().mean().exp(),
            error("dimension_error", "dimension"),
            error("performance_error", "performance"),
            pl.col(*_BLOCKS).filter(enters),
            pl.col("family").first(),
            pl.exclude(described).mean(),
        )
        .with_columns(pl.col(name).map_elements(_mean_blocks, pl.List(pl.Float64)) for name in _BLOCKS)
        .with_columns(pl.col("dimension_error", "performance_error").replace(0.0, None))
        .rename({"recipe": "unit"})
    )


def _mean_blocks(of_units: pl.Series) -> list[float] | None:
    """The means of lists (one per unit) of jackknife values; None unless all have the same number of them."""
    lengths = of_units.list.len().unique().to_list()
    if len(lengths) != 1 or not lengths[0]:
        return None
    return np.array(of_units.to_list(), dtype=float).mean(0).tolist()
