"""Many relations at once: the largest of a search, corrected p-values, a grid of specifications, signs over recipes, and
whether several orders agree; and the windows of one model."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import polars as pl

from core.analysis.confounding import PartialCorrelation, normal_scores, partial_correlation
from core.analysis.differences import controls_of
from core.analysis.relation import ANSWERS, MARGIN, Relation, Sign, relate
from core.analysis.resampling import (
    bca_interval,
    centred_ranks,
    fisher_interval,
    is_exact,
    is_resampled,
    n_orders,
    orders,
    permutation_p_value,
    random_orders,
    rank_matrix,
    resamples,
    spearman,
    weighted_spearman,
)
from core.analysis.units import FEWEST_EXPLORATORY, known_units
from core.errors import InputError

Numbers = Sequence[float | None] | Sequence[float] | np.ndarray
"""One of each unit; None and NaN where it is not known."""


def to_floats(values: Numbers) -> np.ndarray:
    return np.array([math.nan if v is None else v for v in values], dtype=float)


# --- the largest of many ----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class DimensionSearch:
    """The largest of many coefficients, with p adjusted for the search."""

    names: tuple[str, ...]
    rho: tuple[float | None, ...]
    """Of each column; None where it is constant, or fewer than 5 units have it."""
    adjusted_p: tuple[float | None, ...]
    """Of each, against the permutation distribution of the maximum: family-wise error over the whole search."""
    best: str | None
    n: int

    @property
    def p(self) -> float | None:
        """Of the largest coefficient."""
        return self.adjusted_p[self.names.index(self.best)] if self.best is not None else None


def search_dimensions(columns: Mapping[str, Numbers], performance: Numbers, seed: int = 0) -> DimensionSearch:
    """Which of many dimensions (layers, specifications) correlates most with the score, with max-statistic p-values.

    `columns`: a dimension of each unit, in the order of `performance`. Whole units are permuted, which keeps the
    correlation between columns. Coefficients of different n are compared by z = |rho| sqrt(n - 1).
    """
    every = to_floats(performance)
    scored = np.isfinite(every)
    y = every[scored]
    n = len(y)
    if n < FEWEST_EXPLORATORY:
        return DimensionSearch(tuple(columns), (None,) * len(columns), (None,) * len(columns), None, n)
    drawn = orders(n, seed)
    whole = centred_ranks(y)[drawn]  # (n_orders, n)
    rho: list[float | None] = []
    z: list[float] = []
    complete = []  # scaled ranks of complete columns: their product with scaled score ranks is z; (n,) each
    largest = np.zeros(len(drawn))
    for name, values in columns.items():
        if len(values) != len(every):
            raise InputError(
                "'{name}' has {n_values} units, the score has {n_every}.",
                name=name,
                n_values=len(values),
                n_every=len(every),
            )
        x = to_floats(values)[scored]
        has = np.isfinite(x)
        if has.sum() < FEWEST_EXPLORATORY or len(set(x[has])) < 2 or len(set(y[has])) < 2:
            rho.append(None)
            z.append(math.nan)
            continue
        found = spearman(x[has], y[has])
        rho.append(found)
        z.append(abs(found) * math.sqrt(has.sum() - 1))
        a = centred_ranks(x[has])
        a *= math.sqrt((has.sum() - 1) / (a @ a))
        if has.all():
            complete.append(a / math.sqrt(whole[0] @ whole[0]))
        else:  # incomplete column: scores must be ranked again in each order, at fifty times the cost
            b = centred_ranks(y[drawn][:, has])
            largest = np.maximum(largest, np.abs(b @ a) / np.sqrt(np.maximum((b * b).sum(1), 1e-12)))
    if complete:
        largest = np.maximum(largest, np.abs(whole @ np.stack(complete, 1)).max(1))
    p_values = tuple(None if math.isnan(v) else permutation_p_value(largest, v, is_exact=is_exact(n)) for v in z)
    best = list(columns)[int(np.nanargmax(z))] if z and not np.isnan(z).all() else None
    return DimensionSearch(tuple(columns), tuple(rho), p_values, best, n)


def adjust_p_values(p_values: Sequence[float | None], method: Literal["holm", "bh"] = "holm") -> list[float | None]:
    """Adjusted p-values: Holm (1979) controls the family-wise error rate, Benjamini and Hochberg (1995) the false discovery
    rate. None stays None and does not count."""
    at = [i for i, p in enumerate(p_values) if p is not None]
    found: list[float | None] = [None] * len(p_values)
    if not at:
        return found
    p = np.array([p_values[i] for i in at], dtype=float)
    if method == "bh":
        from scipy import stats  # loads in half a second, and pages do not need it

        corrected = stats.false_discovery_control(p)
    elif method == "holm":
        order = np.argsort(p, kind="stable")
        stepped = np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1))
        corrected = np.empty(len(p))
        corrected[order] = np.minimum(stepped, 1)
    else:
        raise InputError("Many p-values are corrected by holm or bh, not by '{method}'.", method=method)
    for i, value in zip(at, corrected, strict=True):
        found[i] = float(value)
    return found


# --- one relation under every specification ---------------------------------------------------------------------


@dataclass(frozen=True)
class SpecificationCurve:
    """One relation under every specification (specification-curve analysis)."""

    relations: Mapping[str, Relation]
    primary: str

    @property
    def answer(self) -> str:
        return self.relations[self.primary].answer

    @property
    def n_agreeing(self) -> int:
        """Specifications with the same answer as the primary one, which is included."""
        return sum(found.answer == self.answer for found in self.relations.values())

    @property
    def counts(self) -> dict[str, int]:
        """Number of specifications by answer, in the order of `ANSWERS`."""
        said = [found.answer for found in self.relations.values()]
        return {answer: said.count(answer) for answer in ANSWERS}


def relate_specifications(
    frames: Mapping[str, pl.DataFrame], primary: str, sign: Sign = "negative", margin: float = MARGIN, seed: int = 0
) -> SpecificationCurve:
    """`relate` in brief for each specification's units; InputError where the primary one is not among them."""
    if primary not in frames:
        raise InputError("The primary specification '{primary}' is not among {frames}.", primary=primary, frames=frames)
    relations = {name: relate(frame, sign, margin, seed, is_brief=True) for name, frame in frames.items()}
    return SpecificationCurve(relations, primary)


# --- signs and orders -------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class SignTest:
    positive: int
    negative: int
    zero: int
    """Zero differences, which do not count."""
    p: float | None
    """Two-sided, exact; None without any nonzero difference."""


def sign_test(differences: Numbers) -> SignTest:
    """Whether more units (recipes) change in one direction than in the other; unknown differences are left out."""
    from scipy import stats  # half a second to load, which no page needs

    known = to_floats(differences)
    known = known[np.isfinite(known)]
    positive, negative = int((known > 0).sum()), int((known < 0).sum())
    n = positive + negative
    p = float(stats.binomtest(positive, n).pvalue) if n else None
    return SignTest(positive, negative, len(known) - n, p)


@dataclass(frozen=True)
class Concordance:
    """Agreement of several texts (or tasks) on the order of the same models."""

    w: float | None
    """Kendall's W, 0 to 1, corrected for ties."""
    lower: float | None
    upper: float | None
    """95 percent, by bootstrap over models."""
    p: float | None
    """Against unrelated orders: each text's order permuted independently."""
    n: int
    """Models with a value on every text."""
    n_orders: int
    reason: str | None = None
    """Why there is none: `too_few`, `one_value`."""


def concordance(orders: Mapping[str, Numbers], seed: int = 0) -> Concordance:
    """Kendall's W of the same models under several texts or tasks, given by name in `orders`. Models without all values
    are left out. Raises InputError for different lengths."""
    if len({len(values) for values in orders.values()}) > 1:
        raise InputError("Orders of one set of models have one value of each model.")
    table = np.array([to_floats(values) for values in orders.values()]).reshape(len(orders), -1)
    table = table[:, np.isfinite(table).all(0)]  # (m, n)
    m, n = table.shape
    if m < 2 or n < FEWEST_EXPLORATORY:
        return Concordance(None, None, None, None, n, m, "too_few")
    if any(len(set(row)) < 2 for row in table):
        return Concordance(None, None, None, None, n, m, "one_value")
    ranks = centred_ranks(table)
    w = float((ranks.sum(0) ** 2).sum() / (m * (ranks**2).sum()))
    if is_resampled(n):
        of_rows = [rank_matrix(row) for row in table]
        drawn, left_out = (_concordances(counts, of_rows) for counts in (resamples(n, seed), 1 - np.eye(n)))
        lower, upper = bca_interval(w, drawn, left_out, 0.95)
    else:  # W is 1/m more than the mean rho of two of them, times (m - 1) / m
        lower, upper = (((m - 1) * end + 1) / m for end in fisher_interval((m * w - 1) / (m - 1), n, 0.95))
    sums = np.tile(ranks[0], (n_orders(n), 1))
    for which, row in enumerate(ranks[1:]):
        sums += row[random_orders(n, seed, 1 + which, len(sums))]
    p = permutation_p_value((sums**2).sum(1), float((ranks.sum(0) ** 2).sum()), is_exact=False)
    return Concordance(w, lower, upper, p, n, m)


def _concordances(counts: np.ndarray, below: Sequence[np.ndarray]) -> np.ndarray:
    """W where model i occurs counts[., i] times; (m,). Squared rank sums over their maximum given the ties."""
    n = counts.sum(1, keepdims=True)
    ranks = np.stack([counts @ b.T - n / 2 for b in below], 1)
    between = np.einsum("mkn,mln,mn->m", ranks, ranks, counts, optimize=True)
    within = np.einsum("mkn,mn->m", ranks**2, counts)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(between / (len(below) * within))


# --- the windows of one model -----------------------------------------------------------------------------------
#
# The unit is a window of the text, with the same number of tokens each. Windows of one document are similar, so an answer
# stands only if it is the same with each document counted once. A repetitive text has low loss and low dimension: so the
# dimension pairs only tokens of different types, and the coefficient is also reported given the number of types. In the
# control the tokens of each window are shuffled, and loss and dimension measured again.

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
    """Dimension against loss, neither negated; `n` counts windows, `once` documents."""
    n_documents: int
    given_types: PartialCorrelation
    """The same given how many distinct tokens a window has."""
    shuffled: Relation | None = None
    """None without a control with shuffled tokens."""
    difference: tuple[float, float, float] | None = None
    """Coefficient of the text minus that of the control, with its 95 percent interval over their common windows."""


def shuffled_windows(run: dict[str, Any], runs: pl.DataFrame, rows: pl.DataFrame) -> pl.DataFrame | None:
    """Rows of run_windows of the run's newest control with shuffled tokens; None without such rows."""
    of_run = controls_of(run, runs).filter(pl.col("pass") == "shuffled")
    measured = [own for run_id in of_run["run_id"] if not (own := rows.filter(run_id=run_id)).is_empty()]
    return measured[-1] if measured else None


def relate_windows(
    windows: pl.DataFrame, place: str = PLACES[0], shuffled: pl.DataFrame | None = None, seed: int = 0
) -> WindowRelation:
    """Relate dimension and loss; `windows` and `shuffled` are rows of run_windows of one run and of its control."""
    units = window_units(windows, place)
    layers = windows["inner_layer"].drop_nulls() if place == "inner" else pl.Series(dtype=pl.Int64)
    whole = WindowRelation(
        place,
        layers[0] if layers.len() else None,
        relate(units, PUBLISHED_SIGN, seed=seed),
        windows["document"].n_unique(),
        _relation_given_types(units, seed),
    )
    if shuffled is None or shuffled.is_empty():
        return whole
    of_control = window_units(shuffled, place)
    return WindowRelation(
        **vars(whole)
        | {
            "shuffled": relate(of_control, PUBLISHED_SIGN, seed=seed),
            "difference": _difference_from_control(units, of_control, seed),
        }
    )


def window_units(windows: pl.DataFrame, place: str) -> pl.DataFrame:
    """Input of `relate`: one row per window, with its loss as performance."""
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


def _relation_given_types(units: pl.DataFrame, seed: int) -> PartialCorrelation:
    known, _, _ = known_units(units)
    if known.height < FEWEST_EXPLORATORY or min(known["dimension"].n_unique(), known["performance"].n_unique()) < 2:
        return PartialCorrelation(None, None, None, None, known.height, (), "too_few")
    return partial_correlation(known, seed, ("types",))


def _difference_from_control(
    units: pl.DataFrame, of_control: pl.DataFrame, seed: int
) -> tuple[float, float, float] | None:
    """Coefficient minus the control's, with a bootstrap that draws the same windows for both."""
    known = [known_units(one)[0].select("unit", "dimension", "performance") for one in (units, of_control)]
    both = known[0].join(known[1], on="unit", suffix="_shuffled").sort("unit")
    n = both.height
    numbers = [both[name].to_numpy() for name in both.columns if name != "unit"]
    if n < FEWEST_EXPLORATORY or min(len(set(values)) for values in numbers) < 2:
        return None

    def less(counts: np.ndarray) -> np.ndarray:
        return weighted_spearman(counts, *numbers[:2]) - weighted_spearman(counts, *numbers[2:])

    value = float(less(np.ones((1, n)))[0])
    return value, *bca_interval(value, less(resamples(n, seed)), less(1 - np.eye(n)), 0.95)
