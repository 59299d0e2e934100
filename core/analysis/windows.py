"""Dimension and loss over the windows of one run: does the model predict a text worse where its dimension is larger?

All windows have the same number of tokens. Windows of one document are similar, so the unit is the document, by the means of
its windows, and as nobody registers such a relation it is a hint at most. A repetitive text has low loss and low dimension:
so the dimension pairs only tokens of different types, and the coefficient is also reported given the number of types. In
the control the tokens of each window are shuffled, and loss and dimension measured again.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import polars as pl

from core.analysis.confounding import PartialCorrelation, normal_scores, partial_correlation
from core.analysis.differences import controls_of
from core.analysis.relation import Relation, Sign, relate
from core.analysis.resampling import bca_interval, resamples, search_dimensions, weighted_spearman
from core.analysis.units import FEWEST_EXPLORATORY, average_recipes, known_units
from core.tables import Run, ids_of

PLACES = ("inner", "final")
"""Where in the model: the inner layer with the largest dimension (the default), and after the last block."""
PUBLISHED_SIGN: Sign = "positive"
"""The larger the dimension of a text, the larger its loss (arXiv 2501.10573, for most of its estimators)."""


@dataclass(frozen=True)
class WindowRelation:
    """The relation of dimension and loss over the windows of one run, at one place in the model."""

    place: str
    """One of `PLACES`."""
    layer: int | None
    relation: Relation
    """Dimension against loss, neither negated; `n` counts documents, `n_units` windows."""
    given_types: PartialCorrelation
    """The same given how many distinct tokens a document's windows have on average."""
    shuffled: Relation | None = None
    """None without a control with shuffled tokens."""
    difference: tuple[float, float, float] | None = None
    """Coefficient of the text minus that of the control, with its 95 percent interval over their common documents."""


def shuffled_windows(run: Run, runs: pl.DataFrame, rows: pl.DataFrame) -> pl.DataFrame | None:
    """Rows of run_windows of the run's newest control with shuffled tokens; None without such rows."""
    controls = controls_of(run, runs).filter(pl.col("pass") == "shuffled")
    of_controls = [windows for run_id in ids_of(controls) if not (windows := rows.filter(run_id=run_id)).is_empty()]
    return of_controls[-1] if of_controls else None


def relate_windows(
    windows: pl.DataFrame, place: str = PLACES[0], shuffled: pl.DataFrame | None = None
) -> WindowRelation:
    """Relate dimension and loss; `windows` and `shuffled` are rows of run_windows of one run and of its control."""
    windows = windows.filter(pl.col("n_points") > 0)
    units = _document_units(windows, place)
    layers = windows["inner_layer"].drop_nulls() if place == "inner" else pl.Series(dtype=pl.Int64)
    relation = WindowRelation(
        place, layers[0] if layers.len() else None, _unregistered_relation(windows, place), _relation_given_types(units)
    )
    if shuffled is None or shuffled.is_empty():
        return relation
    shuffled = shuffled.filter(pl.col("n_points") > 0)
    return replace(
        relation,
        shuffled=_unregistered_relation(shuffled, place),
        difference=_difference_from_control(units, _document_units(shuffled, place)),
    )


def _unregistered_relation(windows: pl.DataFrame, place: str) -> Relation:
    """The relation at one place, with p corrected for the places that can be looked at, as nobody registers one of windows."""
    places = {place: _document_units(windows, place) for place in PLACES}
    dimensions = {place: units["dimension"].to_list() for place, units in places.items()}
    search = search_dimensions(dimensions, places[PLACES[0]]["performance"].to_list())
    p_values = dict(zip(search.names, search.adjusted_p, strict=True))
    n_looks = sum(p is not None for p in search.adjusted_p)
    return relate(_window_units(windows, place), PUBLISHED_SIGN).as_exploratory(p_values[place], n_looks)


def _window_units(windows: pl.DataFrame, place: str) -> pl.DataFrame:
    """Input of `relate`: one row per window, with its loss as performance and its document as recipe."""
    dimension = pl.col(f"{place}_d2")
    return windows.select(
        unit=pl.col("sequence").cast(pl.String),
        dimension=dimension,
        dimension_error=pl.col(f"{place}_d2_std_error") / dimension,
        performance="loss",
        performance_error="loss_std_error",
        recipe=pl.format("document {}", "document"),
        n_types="n_types",
    )


def _document_units(windows: pl.DataFrame, place: str) -> pl.DataFrame:
    """One row per document, with the normal scores of its mean number of types in `types`."""
    documents = average_recipes(_window_units(windows, place))
    types = normal_scores(documents["n_types"].to_numpy()) if documents.height else np.empty(0)
    return documents.with_columns(types=pl.Series(types, dtype=pl.Float64))


def _relation_given_types(units: pl.DataFrame) -> PartialCorrelation:
    known, _, _ = known_units(units)
    if known.height < FEWEST_EXPLORATORY or min(known["dimension"].n_unique(), known["performance"].n_unique()) < 2:
        return PartialCorrelation(n=known.height, reason="too_few")
    return partial_correlation(known, ("types",))


def _difference_from_control(units: pl.DataFrame, of_control: pl.DataFrame) -> tuple[float, float, float] | None:
    """Coefficient minus the control's, with a bootstrap that draws the same documents for both."""
    known, of_control = (
        known_units(frame)[0].select("unit", "dimension", "performance") for frame in (units, of_control)
    )
    both = known.join(of_control, on="unit", suffix="_shuffled").sort("unit")
    n = both.height
    numbers = [both[name].to_numpy() for name in both.columns if name != "unit"]
    if n < FEWEST_EXPLORATORY or min(len(set(values)) for values in numbers) < 2:
        return None

    def difference(counts: np.ndarray) -> np.ndarray:
        return weighted_spearman(counts, *numbers[:2]) - weighted_spearman(counts, *numbers[2:])

    value = float(difference(np.ones((1, n)))[0])
    return value, *bca_interval(value, difference(resamples(n)), difference(1 - np.eye(n)), 0.95)
