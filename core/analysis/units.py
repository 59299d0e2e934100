"""The units of a relation, one row per model or recipe: validation, missing columns, and averaging over recipes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl
from scipy import special

from core.analysis.claims import LEVEL
from core.errors import InputError, Sentence
from core.sources import stated

FEWEST_EXPLORATORY = stated(5, "FEWEST_EXPLORATORY")
"""Fewest models for a coefficient, which is exploratory."""
FEWEST_TEST = stated(10, "FEWEST_TEST")
"""Fewest models for a test of a relation, and for a dimension to weigh in a choice."""
COVARIATES = ("log_parameters", "training_tokens")
_OPTIONAL = ("dimension_error", "performance_error", *COVARIATES)
_BLOCKS = ("dimension_blocks", "performance_blocks")
RELATION = Sentence("relation")
Numbers = Sequence[float | None] | Sequence[float] | np.ndarray
"""One number per unit; None or NaN where it is unknown."""


def to_floats(values: Numbers) -> np.ndarray:
    """The numbers as floats (n,), NaN where unknown."""
    return np.array([math.nan if v is None else v for v in values], dtype=float)


def check_units(units: pl.DataFrame, sign: str, margin: float) -> None:
    """Raises InputError for invalid units, sign or margin."""
    require_columns(units, ("unit", "dimension", "performance"))
    require_unique_units(units)
    if sign not in ("negative", "positive"):
        raise InputError("An expected sign is negative or positive, not '{sign}'.", sign=sign)
    if not 0 < margin < 1:
        raise InputError("A margin of rho lies between 0 and 1, not at {margin:g}.", margin=margin)


def require_columns(units: pl.DataFrame, names: Sequence[str], of: str = RELATION) -> None:
    """Raises InputError for a missing column; `of` names the analysis that needs it."""
    missing = [name for name in names if name not in units.columns]
    if missing:
        raise InputError(
            "A {of} needs the column {missing}; there are {columns}.", of=of, missing=missing[0], columns=units.columns
        )


def require_unique_units(units: pl.DataFrame, of: str = RELATION) -> None:
    """Raises InputError for a unit that is repeated or has no name."""
    if units["unit"].null_count() or units["unit"].n_unique() < units.height:
        twice = units.filter(pl.col("unit").is_duplicated() | pl.col("unit").is_null())["unit"]
        raise InputError(
            "Each unit of a {of} counts once; '{twice}' occurs twice or has no name.", of=of, twice=twice[0]
        )


def _is_finite(column: str) -> pl.Expr:
    return pl.col(column).is_finite().fill_null(False)


def _with_all_columns(units: pl.DataFrame) -> pl.DataFrame:
    """Add missing optional columns; set numbers that are not finite, and errors that are not positive, to null."""
    texts, numbers = ["family", "recipe"], ["dimension", "performance", *_OPTIONAL]
    absent = [pl.lit(None).alias(name) for name in (*texts, *numbers, *_BLOCKS) if name not in units.columns]
    complete = units.with_columns(absent).with_columns(
        pl.col(texts).cast(pl.String), pl.col(numbers).cast(pl.Float64), pl.col(_BLOCKS).cast(pl.List(pl.Float64))
    )
    finite = complete.with_columns(pl.when(pl.col(c).is_finite()).then(pl.col(c)).alias(c) for c in numbers)
    return finite.with_columns(
        pl.when(pl.col(c) > 0).then(pl.col(c)).alias(c) for c in ("dimension", "dimension_error", "performance_error")
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


# --- replicates -------------------------------------------------------------------------------------------------


def average_recipes(units: pl.DataFrame) -> pl.DataFrame:
    """One row per recipe: means over its measured units with their errors, and the first unit's family and covariates."""
    known = _with_all_columns(units).with_columns(pl.coalesce("recipe", "unit").alias("recipe"))
    is_known = _is_finite("dimension") & _is_finite("performance")
    # Only units with both values enter the means, unless the recipe has no such unit.
    known = known.with_columns(
        *(
            pl.when(is_known | ~is_known.any().over("recipe")).then(pl.col(c)).alias(c)
            for c in ("dimension", "performance")
        )
    )

    def error(column: str, of: str) -> pl.Expr:
        among = pl.col(column).filter(pl.col(of).is_not_null())
        return ((among**2).sum().sqrt() / among.len()).alias(column)

    return (
        known.group_by("recipe", maintain_order=True)
        .agg(
            pl.col("dimension", "performance").mean(),
            error("dimension_error", "dimension"),
            error("performance_error", "performance"),
            pl.col("family", *COVARIATES).first(),
        )
        .with_columns(pl.when(pl.col(c) > 0).then(pl.col(c)).alias(c) for c in ("dimension_error", "performance_error"))
        .rename({"recipe": "unit"})
    )


@dataclass(frozen=True)
class Reliability:
    """Share of the variance between runs that lies between recipes."""

    value: float
    lower: float
    upper: float
    """95 percent."""
    n_recipes: int
    n_again: int
    """Runs beyond the first of each recipe: the degrees of freedom of the variance within recipes."""


def reliability(units: pl.DataFrame) -> tuple[Reliability | None, Reliability | None]:
    """Reliability of log dimension and of performance, from units that share a `recipe`; None without replicates.

    One-way random effects with recipes of unequal sizes, by unweighted means (Thomas and Hultquist 1978).
    """
    require_columns(units, ("unit", "dimension", "performance"))
    known = known_units(units)[0].with_columns(pl.col("dimension").log(), pl.coalesce("recipe", "unit").alias("recipe"))
    dimension, performance = (_reliability(known.select("recipe", value=name)) for name in ("dimension", "performance"))
    return dimension, performance


def _reliability(runs: pl.DataFrame) -> Reliability | None:
    of_recipes = runs.group_by("recipe").agg(
        pl.col("value").mean().alias("mean"), pl.col("value").var().alias("variance"), n=pl.len()
    )
    again = int((of_recipes["n"] - 1).sum())
    within = float((of_recipes["variance"].fill_null(0.0) * (of_recipes["n"] - 1)).sum())
    if again == 0 or of_recipes.height < 3 or within <= 0:
        return None
    per_run = float((1 / of_recipes["n"]).sum()) / of_recipes.height
    ratio = float(of_recipes["mean"].to_numpy().var(ddof=1)) / (within / again)
    freedom = of_recipes.height - 1, again
    quantiles = [special.fdtri(*freedom, q) for q in (1 - LEVEL / 2, LEVEL / 2)]
    lower, value, upper = (max(0.0, ratio / q - per_run) for q in (quantiles[0], 1.0, quantiles[1]))
    value, lower, upper = (effect / (1 + effect) for effect in (value, lower, upper))
    return Reliability(value, lower, upper, of_recipes.height, again)
