"""Is a dimension related to a score? Rank correlation over models; then what errors of measurement, single models, another
specification, sizes and families do to it; last, dimension and loss over the windows of one run.

The unit is the model (or its training recipe), never a checkpoint. All statements depend on ranks alone, so monotone
transformations of dimension or score change nothing. None of them is causal.

The answer (`Relation.answer`) is related if the two-sided permutation p is at most .05, with at least 10 models, and the
score signed so that higher is better. Not related: the 90 percent interval of rho lies within the margin (two one-sided
tests at 5 percent). Otherwise `cannot_tell`, and `reasons` say why. Of what nobody registered, related is at most a
`hint` (`Relation.as_exploratory`).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np
import polars as pl
from scipy import special

from core.analysis.claims import LEVEL
from core.analysis.differences import controls_of
from core.analysis.intervals import POWER, common_blocks
from core.analysis.ranking import from_largest
from core.analysis.resampling import (
    SEED,
    DimensionSearch,
    bca_interval,
    centred_ranks,
    fisher_interval,
    is_exact,
    is_resampled,
    kendall,
    mean_ranks,
    n_orders,
    orders,
    permutation_p_value,
    random_orders,
    resamples,
    search_dimensions,
    spearman,
    spearman_intervals,
    spearman_p_value,
    weighted_spearman,
)
from core.analysis.units import FEWEST_EXPLORATORY, FEWEST_TEST, average_recipes, known_units, missing_reason
from core.sources import derived, stated
from core.tables import Run, ids_of

RELATED = ("related_as_registered", "related_other_way")
ANSWERS = (*RELATED, "not_related", "cannot_tell", "hint")
MARGIN = stated(0.5, "MARGIN")
"""Equivalence margin of rho: a relation within it counts as none."""
Sign = Literal["negative", "positive"]
N_REDRAWS = 2000


@dataclass(frozen=True)
class Relation:
    """A dimension and a score over n recipes of models; coefficients are None where they are undefined."""

    answer: str
    """One of `ANSWERS`."""
    sign: Sign
    """The expectation."""
    n: int
    """Units with both numbers, those of one recipe counted once."""
    n_units: int = 0
    """The same, each counted."""
    rho: float | None = None
    """Spearman's."""
    lower: float | None = None
    upper: float | None = None
    """95 percent, by bootstrap over models (BCa)."""
    p: float | None = None
    """Of a two-sided permutation test of rho."""
    corrected_p: float | None = None
    """p corrected for the relations that can be looked at, where nobody registered this one."""
    n_looks: int = 1
    """How many relations that is."""
    tau: float | None = None
    """Kendall's tau-b."""
    tau_p: float | None = None
    lower_90: float | None = None
    upper_90: float | None = None
    error_lower: float | None = None
    error_upper: float | None = None
    """95 percent band of rho from measurement errors alone; None without errors."""
    errors_paired: tuple[str, ...] = ()
    """The quantities (`dimension`, `performance`) whose errors were drawn jointly for all units, as all were measured on
    the same blocks of text or questions. Other errors count as independent."""
    detectable: float | None = None
    """The smallest |rho| that this many models detect with a power of 80 percent."""
    partial: PartialCorrelation = field(default_factory=lambda: PartialCorrelation(reason="too_few"))
    strata: StratifiedCorrelation = field(default_factory=lambda: StratifiedCorrelation(reason="too_few"))
    without_one: LeaveOneOut | None = None
    """None below 6 models and above `LARGEST_RESAMPLED`."""
    without_family: LeaveOneOut | None = None
    """None where fewer than two families are known, or too few models are left."""
    reasons: tuple[str, ...] = ()
    """Why it is `cannot_tell`: `no_scores`, `no_dimensions`, `one_value`, `too_few`, `stage`, `interval_too_wide`,
    `search`, `interval_holds_zero`, `picked`."""
    without_dimension: tuple[str, ...] = ()
    """Names of units left out because their dimension is unknown."""
    without_performance: tuple[str, ...] = ()
    """Names of units left out because only their score is unknown."""

    @property
    def enough(self) -> int:
        """Fewest models with which an unrelated pair is called not related with a power of 80 percent."""
        return derived(fewest_for_unrelated(), "answer", "relation.enough")

    def as_exploratory(self, p: float | None, n_looks: int) -> Relation:
        """The relation where nobody registered it: related is a hint if p, corrected for `n_looks` relations that can be looked
        at, is at most .05 and the interval of rho holds no 0, and else nothing that can be told. Without a p, as no correction
        covers models that were picked by hand, nothing can be told either. Whether leaving out a model changes the answer is
        then not known."""
        corrected = None if p is None or self.p is None else max(p, self.p)
        result = replace(
            self,
            corrected_p=corrected,
            n_looks=n_looks if corrected is not None else 1,
            without_one=replace(self.without_one, changes=None) if self.without_one else None,
            without_family=replace(self.without_family, changes=None) if self.without_family else None,
        )
        if self.answer not in RELATED:
            return result
        if corrected is None:
            why = "picked"
        elif corrected > LEVEL:
            why = "search"
        elif self.lower is None or self.upper is None or self.lower <= 0 <= self.upper:
            why = "interval_holds_zero"
        else:
            return replace(result, answer="hint")
        return replace(result, answer="cannot_tell", reasons=(why,))


@dataclass(frozen=True)
class LeaveOneOut:
    """The effect of leaving out one model, or one family, on the coefficient and the answer."""

    lowest: float
    highest: float
    moves_most: str
    """The model or family whose absence changes the coefficient most."""
    changes: bool | None
    """Whether the answer changes without some model or family: tested for every family, and for the models whose absence
    makes rho lowest and highest. None: not tested."""
    not_judged: tuple[str, ...] = ()
    """Families that cannot be left out: too few models would remain, or all would be equal."""


# --- the answer -------------------------------------------------------------------------------------------------


def relate(units: pl.DataFrame, sign: Sign = "negative", *, is_brief: bool = False) -> Relation:
    """The relation of `dimension` to `performance` (higher is better) over units, one row each.

    Columns: unit (unique), dimension, performance; optional: dimension_error (standard error of log dimension),
    performance_error (standard error), dimension_blocks and performance_blocks (lists: log dimension and performance
    without block 0, 1, ... of what every unit has read), family, log_parameters, and recipe, of which the
    unit is a replicate (null: none). Units without a finite dimension or performance are left out and named. Replicates are
    not independent: each recipe counts once, by the means of its units. A brief relation has only the answer, rho, its
    intervals and p: a fifth of the time.
    """
    every, without_dimension, without_performance = known_units(units)
    known = known_units(average_recipes(units))[0]
    x, y = known["dimension"].to_numpy(), known["performance"].to_numpy()
    if known.height < FEWEST_EXPLORATORY or len(set(x)) < 2 or len(set(y)) < 2:
        reason = missing_reason(units, known) if known.height < FEWEST_EXPLORATORY else "one_value"
        relation = Relation("cannot_tell", sign, known.height, reasons=(reason,))
    else:
        relation = evaluate_ranks(x, y, sign)
    relation = replace(
        relation, n_units=every.height, without_dimension=without_dimension, without_performance=without_performance
    )
    if is_brief or relation.rho is None:
        return relation
    tau, tau_p = kendall(x, y)
    return replace(
        _with_error_band(relation, known, relation.rho),
        tau=tau,
        tau_p=tau_p,
        partial=partial_correlation(known),
        strata=stratified_correlation(known),
        without_one=_leave_out(known, relation, by="unit") if is_resampled(known.height) else None,
        without_family=_leave_out(known, relation, by="family"),
    )


def evaluate_ranks(x: np.ndarray, y: np.ndarray, sign: Sign = "negative", *, fewest: int = FEWEST_TEST) -> Relation:
    """The brief relation of dimensions (n,) and scores (n,) of at least five units, neither constant.

    With fewer than `fewest` units the answer is `cannot_tell`.
    """
    n = len(x)
    rho = spearman(x, y)
    p = spearman_p_value(x, y)
    (lower, upper), (lower_90, upper_90) = spearman_intervals(x, y, rho)
    reasons: tuple[str, ...] = ()
    if n < fewest:
        answer, reasons = "cannot_tell", ("stage",)
    elif p <= LEVEL:
        answer = "related_as_registered" if (rho < 0) == (sign == "negative") else "related_other_way"
    elif lower_90 >= -MARGIN and upper_90 <= MARGIN:
        answer = "not_related"
    else:
        answer, reasons = "cannot_tell", ("interval_too_wide",)
    return Relation(
        answer,
        sign,
        n,
        rho=rho,
        lower=lower,
        upper=upper,
        p=p,
        lower_90=lower_90,
        upper_90=upper_90,
        detectable=detectable_rho(n),
        reasons=reasons,
    )


def detectable_rho(n: int) -> float:
    """The smallest |rho| that a test of n models, five or more, at 5 percent detects with a power of 80 percent.

    The critical value is that of Student's t; around it Fisher's z has the variance (1 + rho^2 / 2) / (n - 3) (Bonett and
    Wright 2000, doi 10.1007/BF02294183).
    """
    t = special.stdtrit(n - 2, 1 - LEVEL / 2)
    least = math.atanh(t / math.sqrt(n - 2 + t * t))

    def missing(rho: float) -> float:
        return math.atanh(rho) - least - float(special.ndtri(POWER)) * math.sqrt((1 + rho * rho / 2) / (n - 3))

    low, high = 0.0, 1 - 1e-12
    for _halving in range(50):
        middle = (low + high) / 2
        low, high = (low, middle) if missing(middle) > 0 else (middle, high)
    return high


def fewest_for_unrelated() -> int:
    """Fewest models with which an unrelated pair is called not related with a power of 80 percent: 32.

    Two one-sided tests at 5 percent of Fisher's z, whose variance is 1 / (n - 3) where nothing is related.
    """
    z = float(special.ndtri(1 - LEVEL) + special.ndtri((1 + POWER) / 2))
    return math.ceil(3 + (z / math.atanh(MARGIN)) ** 2)


# --- measurement errors -----------------------------------------------------------------------------------------


def _with_error_band(relation: Relation, known: pl.DataFrame, rho: float) -> Relation:
    """The relation with the band of rho from measurement errors: that of redraws, shifted back by what they attenuate rho.

    Adding measurement error once more attenuates rho by as much as the actual error did (simulation-extrapolation, Cook and
    Stefanski 1994, first step). Where every unit has the values of one jackknife, its blocks are drawn jointly for all
    units: a block's common effect changes no order. Otherwise errors are independent, and an unknown error counts as none.
    Errors of dimension and score are independent of each other.
    """
    values = {"dimension": np.log(known["dimension"].to_numpy()), "performance": known["performance"].to_numpy()}
    n = known.height
    n_draws = max(200, min(N_REDRAWS, 600_000 // n))
    draw = np.random.default_rng([SEED, n, 2])
    ranks, paired, is_exact = [], [], True
    for name, value in values.items():
        blocks = common_blocks(known[f"{name}_blocks"])
        if blocks is not None:
            b = blocks.shape[1]
            noise = draw.standard_normal((n_draws, b)) @ (blocks - blocks.mean(1, keepdims=True)).T
            noise *= math.sqrt((b - 1) / b)
            paired.append(name)
        else:
            noise = draw.standard_normal((n_draws, n)) * known[f"{name}_error"].fill_null(0.0).to_numpy()
        is_exact = is_exact and not noise.any()
        ranks.append(centred_ranks(value + noise))  # (n_draws, n)
    if is_exact:
        return relation
    x, y = ranks
    redrawn = (x * y).sum(1) / np.sqrt((x * x).sum(1) * (y * y).sum(1))
    z, redrawn_z = (np.arctanh(np.clip(v, -0.999, 0.999)) for v in (rho, redrawn))
    lost = z - np.median(redrawn_z)
    lower, upper = np.tanh(np.quantile(redrawn_z, [LEVEL / 2, 1 - LEVEL / 2]) + lost)
    return replace(
        relation, error_lower=min(float(lower), rho), error_upper=max(float(upper), rho), errors_paired=tuple(paired)
    )


# --- leaving out ------------------------------------------------------------------------------------------------


def _leave_out(known: pl.DataFrame, relation: Relation, by: str) -> LeaveOneOut | None:
    """Without each unit, or without each family, `by` which the rows are told apart; None of fewer than two.

    The repeated test keeps the number of units of the full sample: nine of ten are not reported as too few.
    """
    names = known[by].drop_nulls().unique(maintain_order=True).cast(pl.String).to_list()
    parts = [known.filter(pl.col(by).cast(pl.String).ne_missing(pl.lit(name))) for name in names]
    left = [(part["dimension"].to_numpy(), part["performance"].to_numpy()) for part in parts]
    is_known = [len(a) >= FEWEST_EXPLORATORY and min(len(set(a)), len(set(b))) > 1 for a, b in left]
    if len(names) < 2 or not any(is_known):
        return None
    rho = np.array([spearman(*both) if can else math.nan for both, can in zip(left, is_known, strict=True)])
    judged = [np.nanargmin(rho), np.nanargmax(rho)] if by == "unit" else np.flatnonzero(is_known).tolist()
    fewest = FEWEST_EXPLORATORY if known.height >= FEWEST_TEST else FEWEST_TEST
    changes = any(
        evaluate_ranks(*left[case], relation.sign, fewest=fewest).answer != relation.answer for case in judged
    )
    furthest = int(np.nanargmax(np.abs(rho - relation.rho)))
    missed = tuple(name for name, value in zip(names, rho, strict=True) if not math.isfinite(value))
    return LeaveOneOut(float(np.nanmin(rho)), float(np.nanmax(rho)), names[furthest], changes, missed)


# --- every specification ----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class SpecificationCurve:
    """One relation under every specification (specification-curve analysis)."""

    relations: Mapping[str, Relation]
    primary: str
    search: DimensionSearch
    """The largest coefficient of all, its p corrected for having looked at all; each recipe counts once."""

    @property
    def answer(self) -> str:
        return self.relations[self.primary].answer

    @property
    def n_agreeing(self) -> int:
        """Specifications with the same answer as the primary one, which is included."""
        return sum(relation.answer == self.answer for relation in self.relations.values())

    def as_exploratory(self, p_values: Mapping[str, float], n_looks: int) -> SpecificationCurve:
        """As `Relation.as_exploratory`, with the corrected p of each specification."""
        relations = {name: one.as_exploratory(p_values.get(name), n_looks) for name, one in self.relations.items()}
        corrected = {name: relations[name].corrected_p for name in self.search.rho}
        return replace(self, relations=relations, search=replace(self.search, adjusted_p=corrected))


def relate_specifications(
    frames: Mapping[str, pl.DataFrame], primary: str, sign: Sign = "negative"
) -> SpecificationCurve:
    """`relate` in brief under each specification (name -> units), `primary` among them."""
    relations = {name: relate(frame, sign, is_brief=True) for name, frame in frames.items()}
    recipes = {
        name: average_recipes(frame).select("unit", "dimension", "performance") for name, frame in frames.items()
    }
    units = recipes[primary].sort("unit")  # so that random draws do not depend on the order of the models
    dimensions = {
        name: units.select("unit").join(of_name, on="unit", how="left", maintain_order="left")["dimension"].to_list()
        for name, of_name in recipes.items()
    }
    return SpecificationCurve(relations, primary, search_dimensions(dimensions, units["performance"].to_list()))


# --- confounders: reported beside the answer, which they do not change -------------------------------------------

SIZE_FACTOR = 2.0
"""Models of one size stratum have at least half of the parameters of its largest."""


# --- confounders: size -----------------------------------------------------------------------


@dataclass(frozen=True)
class PartialCorrelation:
    """Pearson's correlation of the normal scores of dimension and score, adjusted for size. Not a partial Spearman
    coefficient."""

    r: float | None = None
    lower: float | None = None
    upper: float | None = None
    p: float | None = None
    n: int = 0
    """Models whose size is known."""
    reason: str | None = None
    """Why there is none: `parameters_unknown`, `one_size`, `too_few`, or `one_value` (size explains all of the order of
    dimension or score)."""


def partial_correlation(known: pl.DataFrame, given: str = "log_parameters") -> PartialCorrelation:
    """Correlation of the normal scores of dimension and performance, given log parameters or another column, of the units
    where it is known.

    Normal scores (Blom 1958) depend on ranks alone; size enters untransformed, since ranks of size do not hold size fixed:
    with three sizes that drive both quantities, a partial Spearman coefficient had false positives of 8 to 14 percent, this
    one 5 to 7. p by permuting residuals (Freedman and Lane 1983). The interval is that of Fisher's z with the error of
    Bonett and Wright: at 8 and 10 models a bootstrap covered the truth in 77 to 98 percent.
    """
    sized = known.filter(pl.col(given).is_not_null())
    n = sized.height
    if n == 0:
        return PartialCorrelation(reason="parameters_unknown")
    values = sized[given].to_numpy()
    size = values - values.mean()
    if size @ size <= 1e-9 * max(values @ values, 1.0):
        return PartialCorrelation(n=n, reason="one_size")
    if n <= FEWEST_EXPLORATORY:
        return PartialCorrelation(n=n, reason="too_few")
    size /= math.sqrt(size @ size)
    scores = (normal_scores(sized[name].to_numpy()) for name in ("dimension", "performance"))
    x, y = (of - (of @ size) * size for of in scores)
    if min(x @ x, y @ y) < 1e-9 * n:
        return PartialCorrelation(n=n, reason="one_value")
    r = float(np.clip(x @ y / math.sqrt((x @ x) * (y @ y)), -1, 1))
    lower, upper = fisher_interval(r, n - 1, 0.95)
    if not is_resampled(n):
        p = 2 * float(special.stdtr(n - 3, -abs(r) * math.sqrt((n - 3) / max(1 - r * r, 1e-12))))
    else:
        permuted = y[orders(n)]
        squares = y @ y - (permuted @ size) ** 2  # of what size leaves of them; x is orthogonal to it
        null = permuted @ x / np.sqrt((x @ x) * np.maximum(squares, 1e-9))
        p = permutation_p_value(null, r, is_exact=is_exact(n))
    return PartialCorrelation(r, lower, upper, p, n)


def normal_scores(values: np.ndarray) -> np.ndarray:
    """Approximate expected normal order statistics at the ranks of `values` (Blom 1958), with mean 0."""
    scores = special.ndtri((mean_ranks(values) - 0.375) / (len(values) + 0.25))
    return np.asarray(scores - scores.mean())


# --- confounders: families and sizes -----------------------------------------------------------------------------


@dataclass(frozen=True)
class StratifiedCorrelation:
    """Rank correlation within strata of family and size."""

    rho: float | None = None
    """Mean of the strata's coefficients, each weighted by its models less one."""
    p: float | None = None
    """Scores permuted within strata; two-sided."""
    n: int = 0
    """Models in strata of at least two."""
    n_strata: int = 0
    reason: str | None = None
    """Why there is none: `families_unknown`, `one_stratum`, `too_few`."""


def stratified_correlation(known: pl.DataFrame) -> StratifiedCorrelation:
    """One test over all strata of family and size: the strata's coefficients weighted by their number of units minus one
    (the inverse of their null variance), with scores permuted within strata.

    A stratum reaches from its largest model down to half of its parameters; a family's models of unknown size form one.
    """
    if known["family"].null_count() == known.height:
        return StratifiedCorrelation(reason="families_unknown")
    of_family = known.filter(pl.col("family").is_not_null()).partition_by("family", maintain_order=True)
    parts = [
        part
        for family in of_family
        for part in from_largest(family, "log_parameters", lambda largest: largest - math.log(SIZE_FACTOR))
    ]
    if len(parts) == 1 and parts[0].height == known.height:
        return StratifiedCorrelation(n=known.height, n_strata=1, reason="one_stratum")
    ranked = []
    for part in parts:
        a, b = (centred_ranks(part[name].to_numpy()) for name in ("dimension", "performance"))
        if part.height > 1 and a.any() and b.any():
            scale = (part.height - 1) / math.sqrt((a @ a) * (b @ b))
            ranked.append((a * scale, b))
    n = sum(len(a) for a, _ in ranked)
    if math.prod(math.factorial(min(len(a), 20)) for a, _ in ranked) < 2 / LEVEL:
        # No order of the scores could reach a p of 5 percent.
        return StratifiedCorrelation(n=n, n_strata=len(ranked), reason="too_few")
    observed, null = 0.0, np.zeros(n_orders(n))
    for which, (a, b) in enumerate(ranked):
        observed += float(a @ b)
        null += b[random_orders(len(a), 1 + which, len(null))] @ a
    return StratifiedCorrelation(
        observed / (n - len(ranked)), permutation_p_value(null, observed, is_exact=False), n, len(ranked)
    )


# --- dimension and loss over the windows of one run --------------------------------------------------------------
# All windows have the same number of tokens. Windows of one document are similar, so the unit is the document, by the means of
# its windows, and as nobody registers such a relation it is a hint at most. A repetitive text has low loss and low dimension:
# so the dimension pairs only tokens of different types, and the coefficient is also reported given the number of types. In
# the control the tokens of each window are shuffled, and loss and dimension measured again.

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
        place,
        layers[0] if layers.len() else None,
        _unregistered_relation(windows, place),
        partial_correlation(known_units(units)[0], "types"),
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
    n_looks = sum(p is not None for p in search.adjusted_p.values())
    return relate(_window_units(windows, place), PUBLISHED_SIGN).as_exploratory(search.adjusted_p[place], n_looks)


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
