"""Within one model: does the dimension of a window's tokens go with how hard the window is to predict?

The unit is a window of the text, each of as many tokens; windows of one document resemble each other, so that an answer
stands only if it is the same with each document counted once. A text that repeats itself is easy and narrow at once:
the dimension pairs tokens of different types alone, and the coefficient is told given the number of types as well. The
control is the same with the tokens of each window shuffled, its loss and its dimension measured anew.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl

from core.analysis.confounding import Partial, normal_scores, partial
from core.analysis.differences import controls_of
from core.analysis.relation import Relation, Sign, relate
from core.analysis.resampling import bca, correlations, resamples
from core.analysis.units import FEWEST_EXPLORATORY, known_units

PLACES = ("inner", "final")
"""Where in the model: at the inner layer whose dimension is largest, and after the last block. The first is asked first."""
PUBLISHED_SIGN: Sign = "positive"
"""The larger the dimension of a text, the larger its loss (arXiv 2501.10573, for most of its estimators)."""


@dataclass(frozen=True)
class Within:
    """Dimension and loss over the windows of one run, at one place in the model."""

    place: str
    """One of `PLACES`."""
    layer: int | None
    relation: Relation
    """Of the dimension to the loss, neither turned; `n` counts windows, `once` documents."""
    n_documents: int
    given_types: Partial
    """The same given how many distinct tokens a window has."""
    shuffled: Relation | None = None
    """None where no control with shuffled tokens was measured."""
    difference: tuple[float, float, float] | None = None
    """The coefficient of the text less that of the control, and its 95 percent interval over the windows that both have."""


def shuffled_windows(run: dict[str, Any], runs: pl.DataFrame, rows: pl.DataFrame) -> pl.DataFrame | None:
    """The rows, of run_windows, of the newest control with shuffled tokens among `runs`; None without one that has any."""
    of_run = controls_of(run, runs).filter(pl.col("pass") == "shuffled")
    measured = [own for run_id in of_run["run_id"] if not (own := rows.filter(run_id=run_id)).is_empty()]
    return measured[-1] if measured else None


def within(
    windows: pl.DataFrame, place: str = PLACES[0], shuffled: pl.DataFrame | None = None, seed: int = 0
) -> Within:
    """`windows`, `shuffled`: rows of run_windows of one run, and of its control."""
    units = units_of(windows, place)
    layers = windows["inner_layer"].drop_nulls() if place == "inner" else pl.Series(dtype=pl.Int64)
    whole = Within(
        place,
        layers[0] if layers.len() else None,
        relate(units, PUBLISHED_SIGN, seed=seed),
        windows["document"].n_unique(),
        _given_types(units, seed),
    )
    if shuffled is None or shuffled.is_empty():
        return whole
    of_control = units_of(shuffled, place)
    return Within(
        **vars(whole)
        | {
            "shuffled": relate(of_control, PUBLISHED_SIGN, seed=seed),
            "difference": _difference(units, of_control, seed),
        }
    )


def units_of(windows: pl.DataFrame, place: str) -> pl.DataFrame:
    """What `relate` counts: a row for each window, its loss as it is."""
    dimension = pl.col(f"{place}_d2")
    return windows.select(
        unit=pl.col("sequence").cast(pl.String),
        dimension=dimension,
        dimension_error=pl.col(f"{place}_d2_std_error") / dimension,
        performance="loss",
        performance_error="loss_std_error",
        recipe=pl.format("document {}", "document"),
        types=pl.lit(pl.Series(normal_scores(windows["n_types"].to_numpy()))),
    )


def _given_types(units: pl.DataFrame, seed: int) -> Partial:
    known, _, _ = known_units(units)
    if known.height < FEWEST_EXPLORATORY or min(known["dimension"].n_unique(), known["performance"].n_unique()) < 2:
        return Partial(None, None, None, None, known.height, (), "too_few")
    return partial(known, seed, ("types",))


def _difference(units: pl.DataFrame, of_control: pl.DataFrame, seed: int) -> tuple[float, float, float] | None:
    """Windows are drawn anew for both at once: what one of them has of its own goes into both coefficients."""
    known = [known_units(one)[0].select("unit", "dimension", "performance") for one in (units, of_control)]
    both = known[0].join(known[1], on="unit", suffix="_shuffled").sort("unit")
    n = both.height
    numbers = [both[name].to_numpy() for name in both.columns if name != "unit"]
    if n < FEWEST_EXPLORATORY or min(len(set(values)) for values in numbers) < 2:
        return None

    def less(counts: np.ndarray) -> np.ndarray:
        return correlations(counts, *numbers[:2]) - correlations(counts, *numbers[2:])

    value = float(less(np.ones((1, n)))[0])
    return value, *bca(value, less(resamples(n, seed)), less(1 - np.eye(n)), 0.95)
