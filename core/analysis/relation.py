"""Does a dimension go with a score? Rank correlation over models, with what a referee would ask for beside it.

The unit is the model (or the recipe that it was trained by), never a checkpoint. All that is said follows from ranks, so
that any increasing change of dimension or score leaves it as it is. Nothing here says that one thing makes another.

The answer is one of four (`ANSWERS`). Related: the two-sided permutation p is at most .05, from 10 models on, and the
score was turned so that higher is better. Not related: the 90 percent interval of rho lies within the margin (two
one-sided tests at 5 percent). Else nobody can tell, and `reasons` say why.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Literal

import numpy as np
import polars as pl
from scipy import optimize, special, stats

from core.errors import InputError

ANSWERS = ("related_as_registered", "related_other_way", "not_related", "cannot_tell")
LEVEL = 0.05
POWER = 0.80
MARGIN = 0.5
FEWEST_EXPLORATORY = 5
FEWEST_TEST = 10
N_PERMUTATIONS = 9999
N_BOOTSTRAP = 2000
N_REDRAWS = 2000
LARGEST_EXACT = 8
"""Models of which every order is gone through: 40,320. With more, 9,999 random orders."""
LARGEST_RESAMPLED = 300
"""With more models closed forms stand for resampling: they agree to the second digit, and resampling would take seconds."""
SIZE_FACTOR = 2.0
"""Models of one size stratum have at least half of the parameters of its largest."""
GIVEN = ("log_parameters", "training_tokens")
Numbers = Sequence[float | None] | Sequence[float] | np.ndarray
"""One of each unit; None and NaN where it is not known."""
_OPTIONAL = ("dimension_error", "performance_error", *GIVEN)


@dataclass(frozen=True)
class Partial:
    """Correlation of what size and training tokens leave of dimension and score, both as normal scores."""

    rho: float | None
    lower: float | None
    upper: float | None
    p: float | None
    n: int
    """Models of which all that is given is known."""
    given: tuple[str, ...]
    """`log_parameters`, `training_tokens`; empty where neither is known or differs."""
    reason: str | None = None
    """Why there is none: `parameters_unknown`, `one_size`, `too_few`, or `one_value`: size leaves nothing of the order of
    dimension or score."""


@dataclass(frozen=True)
class Strata:
    """Rank correlation within families and sizes: models are only compared with their like."""

    rho: float | None
    """Mean of the strata's coefficients, each weighted by its models less one."""
    p: float | None
    """Scores permuted within strata; two-sided."""
    n: int
    """Models in strata of at least two."""
    n_strata: int
    reason: str | None = None
    """Why there is none: `families_unknown`, `one_stratum`, `too_few`."""


@dataclass(frozen=True)
class Without:
    """What leaving out one model, or one family, does to the coefficient."""

    lowest: float
    highest: float
    moves_most: str
    """The model or family whose absence moves the coefficient furthest."""
    changes: bool
    """Whether the answer is another one without some model or family."""


@dataclass(frozen=True)
class Relation:
    """A dimension and a score over n models; coefficients are None where they cannot be told."""

    answer: str
    """One of `ANSWERS`."""
    sign: str
    """The expectation: `negative` or `positive`."""
    margin: float
    n: int
    stage: str
    """`picture` (fewer than 5 models: no coefficient), `exploratory` (5 to 9), `test`."""
    rho: float | None = None
    """Spearman's."""
    lower: float | None = None
    upper: float | None = None
    """95 percent, by bootstrap over models (BCa)."""
    p: float | None = None
    """Of a two-sided permutation test of rho."""
    tau: float | None = None
    """Kendall's tau-b."""
    tau_p: float | None = None
    lower_90: float | None = None
    upper_90: float | None = None
    error_lower: float | None = None
    error_upper: float | None = None
    """How far errors of measurement alone move rho, 95 percent; None without errors."""
    without_error: float | None = None
    """What rho would be without errors of measurement, extrapolated from what adding them again takes away."""
    detectable: float | None = None
    """The smallest |rho| that as many models would show with a power of 80 percent."""
    partial: Partial = field(default_factory=lambda: Partial(None, None, None, None, 0, (), "too_few"))
    strata: Strata = field(default_factory=lambda: Strata(None, None, 0, 0, "too_few"))
    without_one: Without | None = None
    """None below 6 models and above `LARGEST_RESAMPLED`."""
    without_family: Without | None = None
    """None where fewer than two families are known, or too few models are left."""
    reasons: tuple[str, ...] = ()
    """Why nobody can tell: `no_scores`, `no_dimensions`, `one_value`, `too_few`, `stage`, `interval_too_wide`,
    `replicates`."""
    without_dimension: tuple[str, ...] = ()
    """Units that were left out because their dimension is not known, by name."""
    without_performance: tuple[str, ...] = ()
    """Units that were left out because only their score is not known."""
    once: Relation | None = None
    """The same with each recipe counted once, where units are replicates (`relate_recipes`)."""

    @property
    def enough(self) -> int:
        """Models from which an unrelated pair would be called not related with a power of 80 percent."""
        return enough(self.margin)


def relate(
    units: pl.DataFrame, sign: Literal["negative", "positive"] = "negative", margin: float = MARGIN, seed: int = 0
) -> Relation:
    """The relation of `dimension` to `performance` (higher is better) over units, one row each.

    Columns: unit (unique), dimension, performance; and where known dimension_error (standard error of log dimension),
    performance_error (standard error), family, log_parameters, training_tokens: a missing column is one of nulls. Units
    without a finite dimension or performance are left out and named. Raises InputError for a column that is missing, a
    unit that occurs twice, an unknown sign, or a margin outside 0 to 1.
    """
    _check(units, sign, margin)
    known, without_dimension, without_performance = _known(units)
    n = known.height
    stage = "test" if n >= FEWEST_TEST else "exploratory" if n >= FEWEST_EXPLORATORY else "picture"
    blank = Relation(
        "cannot_tell",
        sign,
        margin,
        n,
        stage,
        without_dimension=without_dimension,
        without_performance=without_performance,
    )
    x, y = known["dimension"].to_numpy(), known["performance"].to_numpy()
    if stage == "picture":
        return replace(blank, reasons=(_why_none(units, known),))
    if len(set(x)) < 2 or len(set(y)) < 2:
        return replace(blank, reasons=("one_value",))
    found = judge(x, y, sign, margin, seed)
    error_lower, error_upper, without_error = _measurement_error(known, found.rho, seed)
    tau, tau_p = kendall(x, y, seed)
    return replace(
        blank,
        answer=found.answer,
        rho=found.rho,
        lower=found.lower,
        upper=found.upper,
        p=found.p,
        tau=tau,
        tau_p=tau_p,
        lower_90=found.lower_90,
        upper_90=found.upper_90,
        error_lower=error_lower,
        error_upper=error_upper,
        without_error=without_error,
        detectable=detectable(n),
        partial=partial(known, seed),
        strata=strata(known, seed),
        without_one=_without_one(known, found, sign, margin, seed),
        without_family=_without_family(known, found, sign, margin, seed),
        reasons=found.reasons,
    )


def relate_recipes(
    units: pl.DataFrame, sign: Literal["negative", "positive"] = "negative", margin: float = MARGIN, seed: int = 0
) -> Relation:
    """`relate` where some units are replicates: a further column `recipe` says of which (null: its own).

    An answer stands only if it is the same with each recipe counted once, by the means of its units; else it is
    `cannot_tell`, for `replicates`. `once` holds the relation over recipes; None where no recipe occurs twice.
    """
    _need(units, ("unit", "recipe"))
    every = relate(units, sign, margin, seed)
    recipes = counted_once(units)
    if recipes.height == units.height:
        return every
    once = relate(recipes, sign, margin, seed)
    if once.answer == every.answer:
        return replace(every, once=once)
    return replace(every, answer="cannot_tell", reasons=("replicates", *every.reasons), once=once)


def counted_once(units: pl.DataFrame) -> pl.DataFrame:
    """One row per recipe: means of its measured units, with the errors of those means; the first of what names it."""
    known = _with_optional(units).with_columns(pl.coalesce("recipe", "unit").alias("recipe"))
    is_known = _is_finite("dimension") & _is_finite("performance")
    # A unit without one of the two would move the mean of the other; a recipe without any whole unit keeps its gap.
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
            pl.col("family", *GIVEN).first(),
        )
        .with_columns(pl.when(pl.col(c) > 0).then(pl.col(c)).alias(c) for c in ("dimension_error", "performance_error"))
        .rename({"recipe": "unit"})
    )


@dataclass(frozen=True)
class Reliability:
    """What share of a quantity's variance lies between recipes, of all that there is between single runs."""

    value: float
    lower: float
    upper: float
    """95 percent."""
    n_recipes: int
    n_again: int
    """Runs beyond the first of their recipe: the degrees of freedom of the variance within."""


def reliability(units: pl.DataFrame) -> tuple[Reliability | None, Reliability | None]:
    """Of log dimension and of performance, from units that share a `recipe` (null: its own); None without replicates.

    One-way random effects of recipes of unequal sizes, by their unweighted means (Thomas and Hultquist 1978).
    """
    _need(units, ("unit", "recipe", "dimension", "performance"))
    known = _known(units)[0].with_columns(pl.col("dimension").log(), pl.coalesce("recipe", "unit").alias("recipe"))
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


# --- what comes in ---------------------------------------------------------------------------------------------


def _check(units: pl.DataFrame, sign: str, margin: float) -> None:
    _need(units, ("unit", "dimension", "performance"))
    if sign not in ("negative", "positive"):
        raise InputError("An expected sign is negative or positive, not '{sign}'.", sign=sign)
    if not 0 < margin < 1:
        raise InputError("A margin of rho lies between 0 and 1, not at {margin:g}.", margin=margin)
    if units["unit"].null_count() or units["unit"].n_unique() < units.height:
        twice = units.filter(pl.col("unit").is_duplicated() | pl.col("unit").is_null())["unit"]
        raise InputError("Each unit of a relation counts once; '{twice}' occurs twice or has no name.", twice=twice[0])


def _need(units: pl.DataFrame, names: Sequence[str]) -> None:
    missing = [name for name in names if name not in units.columns]
    if missing:
        raise InputError(
            "A relation needs the column {missing}; there are {columns}.", missing=missing[0], columns=units.columns
        )


def _is_finite(column: str) -> pl.Expr:
    return pl.col(column).is_finite().fill_null(False)


def _with_optional(units: pl.DataFrame) -> pl.DataFrame:
    """All columns that a relation knows; numbers that are not finite, and errors that are not positive, are null."""
    absent = [pl.lit(None, pl.Float64).alias(name) for name in _OPTIONAL if name not in units.columns]
    if "family" not in units.columns:
        absent.append(pl.lit(None, pl.String).alias("family"))
    numbers = ["dimension", "performance", *_OPTIONAL]
    whole = units.with_columns(absent).with_columns(pl.col("family").cast(pl.String), pl.col(numbers).cast(pl.Float64))
    finite = whole.with_columns(pl.when(pl.col(c).is_finite()).then(pl.col(c)).alias(c) for c in numbers)
    return finite.with_columns(
        pl.when(pl.col(c) > 0).then(pl.col(c)).alias(c) for c in ("dimension", "dimension_error", "performance_error")
    )


def _known(units: pl.DataFrame) -> tuple[pl.DataFrame, tuple[str, ...], tuple[str, ...]]:
    """Units with both values, and the names of those without a dimension and of the others without a score.

    Sorted, so that nothing that is drawn at random goes by the order in which models come.
    """
    whole = _with_optional(units).sort("dimension", "performance", "unit")
    has_dimension, has_performance = pl.col("dimension").is_not_null(), pl.col("performance").is_not_null()
    return (
        whole.filter(has_dimension & has_performance),
        tuple(whole.filter(~has_dimension)["unit"].cast(pl.String)),
        tuple(whole.filter(has_dimension & ~has_performance)["unit"].cast(pl.String)),
    )


def _why_none(units: pl.DataFrame, known: pl.DataFrame) -> str:
    if known.height or units.is_empty():
        return "too_few"
    whole = _with_optional(units)
    if whole["performance"].null_count() == units.height:
        return "no_scores"
    return "no_dimensions" if whole["dimension"].null_count() == units.height else "too_few"


# --- the answer ------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Judged:
    """Coefficient and answer alone."""

    answer: str
    rho: float
    p: float
    lower: float
    upper: float
    lower_90: float
    upper_90: float
    reasons: tuple[str, ...]


def judge(
    x: np.ndarray,
    y: np.ndarray,
    sign: str = "negative",
    margin: float = MARGIN,
    seed: int = 0,
    *,
    fewest: int = FEWEST_TEST,
) -> Judged:
    """The answer for dimensions (n,) and scores (n,) of at least five units, neither all equal.

    With fewer than `fewest` units nobody can tell.
    """
    n = len(x)
    rho = spearman(x, y)
    p = permutation_p(x, y, seed)
    (lower, upper), (lower_90, upper_90) = intervals(x, y, rho, seed, (0.95, 0.90))
    reasons: tuple[str, ...] = ()
    if n < fewest:
        answer, reasons = "cannot_tell", ("stage",)
    elif p <= LEVEL:
        answer = "related_as_registered" if (rho < 0) == (sign == "negative") else "related_other_way"
    elif -margin <= lower_90 and upper_90 <= margin:
        answer = "not_related"
    else:
        answer, reasons = "cannot_tell", ("interval_too_wide",)
    return Judged(answer, rho, p, lower, upper, lower_90, upper_90, reasons)


def spearman(x: np.ndarray, y: np.ndarray) -> float:
    """Pearson's correlation of mean ranks."""
    a, b = (_centred_ranks(v) for v in (x, y))
    return float(np.clip(a @ b / math.sqrt((a @ a) * (b @ b)), -1, 1))


def _centred_ranks(values: np.ndarray) -> np.ndarray:
    """Mean ranks along the last axis less their mean."""
    return stats.rankdata(values, axis=-1) - (values.shape[-1] + 1) / 2


def _n_orders(n: int) -> int:
    """A tenth of the random orders where they are long: a p of .001 is small enough there."""
    return N_PERMUTATIONS if n <= LARGEST_RESAMPLED else N_PERMUTATIONS // 10


@lru_cache(maxsize=16)
def _shuffled(n: int, seed: int, which: int, n_orders: int) -> np.ndarray:
    """(n_orders, n): random orders."""
    line = np.tile(np.arange(n, dtype=np.int32), (n_orders, 1))
    return np.random.default_rng([seed, n, which]).permuted(line, axis=1)


@lru_cache(maxsize=8)
def _orders(n: int, seed: int) -> np.ndarray:
    """(n_orders, n): every order of up to `LARGEST_EXACT`, else random ones."""
    if n <= LARGEST_EXACT:
        return np.array(list(itertools.permutations(range(n))), dtype=np.int32)
    return _shuffled(n, seed, 0, _n_orders(n))


def _p_of(null: np.ndarray, observed: float, n: int) -> float:
    """Share of orders that reach the observed size; random orders count the observed one too (Phipson and Smyth 2010)."""
    hits = int((np.abs(null) >= abs(observed) * (1 - 1e-9) - 1e-12).sum())
    return hits / len(null) if n <= LARGEST_EXACT else (1 + hits) / (1 + len(null))


def permutation_p(x: np.ndarray, y: np.ndarray, seed: int = 0) -> float:
    """Two-sided p of Spearman's rho; Student's t beyond `LARGEST_RESAMPLED`."""
    n = len(x)
    if n > LARGEST_RESAMPLED:
        return float(stats.spearmanr(x, y).pvalue)
    a, b = (_centred_ranks(v) for v in (x, y))
    has_ties = len(set(x)) < n or len(set(y)) < n
    return _p_of(_null(np.sort(a), np.sort(b), seed) if has_ties else _null_without_ties(n, seed), float(a @ b), n)


def _null(a: np.ndarray, b: np.ndarray, seed: int) -> np.ndarray:
    """Products of ranks under each order. Of sorted ranks, so that p does not go by the order in which models come."""
    return np.asarray(b[_orders(len(a), seed)] @ a)


@lru_cache(maxsize=64)
def _null_without_ties(n: int, seed: int) -> np.ndarray:
    ranks = np.arange(n) - (n - 1) / 2
    return _null(ranks, ranks, seed)


def kendall(x: np.ndarray, y: np.ndarray, seed: int = 0) -> tuple[float, float]:
    """tau-b and its two-sided p: exact without ties, by permutation with ties up to 60 models, else normal."""
    n = len(x)
    has_ties = len(set(x)) < n or len(set(y)) < n
    found = stats.kendalltau(x, y, method="exact" if not has_ties and n <= 170 else "asymptotic")
    if not has_ties or n > 60:
        return float(found.statistic), float(found.pvalue)
    of_x, of_y = (np.sign(v[:, None] - v[None, :]).astype(np.float32) for v in (x, y))
    i, j = np.triu_indices(n, 1)
    orders = _orders(n, seed)
    null = [of_y[part[:, i], part[:, j]] @ of_x[i, j] for part in np.array_split(orders, 1 + len(orders) // 1000)]
    return float(found.statistic), _p_of(np.concatenate(null), float(of_x[i, j] @ of_y[i, j]), n)


def detectable(n: int) -> float | None:
    """The smallest |rho| that a test of n models at 5 percent shows with a power of 80 percent; None below 5.

    The critical value is that of Student's t; around it Fisher's z has the variance (1 + rho^2 / 2) / (n - 3) (Bonett and
    Wright 2000, doi 10.1007/BF02294183).
    """
    if n < FEWEST_EXPLORATORY:
        return None
    t = special.stdtrit(n - 2, 1 - LEVEL / 2)
    least = math.atanh(t / math.sqrt(n - 2 + t * t))

    def missing(rho: float) -> float:
        return math.atanh(rho) - least - float(special.ndtri(POWER)) * math.sqrt((1 + rho * rho / 2) / (n - 3))

    return float(optimize.brentq(missing, 0.0, 1 - 1e-12))


def enough(margin: float = MARGIN) -> int:
    """Models of which an unrelated pair is called not related with a power of 80 percent: 32 at a margin of .5.

    Two one-sided tests at 5 percent of Fisher's z, whose variance is 1 / (n - 3) where nothing is related.
    """
    z = float(special.ndtri(1 - LEVEL) + special.ndtri((1 + POWER) / 2))
    return math.ceil(3 + (z / math.atanh(margin)) ** 2)


# --- intervals by resampling models ----------------------------------------------------------------------------


def _below(values: np.ndarray) -> np.ndarray:
    """(n, n): 1 where the column's value is smaller than the row's, 1/2 where equal. Times counts it makes mean ranks."""
    return (values[None, :] < values[:, None]) + 0.5 * (values[None, :] == values[:, None])


def _correlations(counts: np.ndarray, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Spearman's rho of x and y (n,) where unit i occurs counts[., i] times (m, n); (m,), NaN where it is not defined.

    Ranks are made anew within each resample.
    """
    n = counts.sum(1, keepdims=True)
    a, b = (counts @ _below(v).T - n / 2 for v in (x, y))
    with np.errstate(invalid="ignore", divide="ignore"):
        found = (counts * a * b).sum(1) / np.sqrt((counts * a * a).sum(1) * (counts * b * b).sum(1))
    return np.clip(found, -1, 1)


@lru_cache(maxsize=16)
def _resamples(n: int, seed: int) -> np.ndarray:
    """(n_bootstrap, n): how often each unit occurs."""
    return np.random.default_rng([seed, n, 1]).multinomial(n, np.full(n, 1 / n), N_BOOTSTRAP).astype(float)


def intervals(
    x: np.ndarray, y: np.ndarray, rho: float, seed: int, levels: Sequence[float]
) -> list[tuple[float, float]]:
    """Of Spearman's rho, by bootstrap over models: bias-corrected and accelerated (Efron 1987).

    In simulations at n = 10, 18, 30 these hold the truth in 93 to 98 percent, 99 at n = 10 and rho .9 (docs/accuracy.md); Student's t around
    Fisher's z with a bootstrap error did in up to 99.6. Beyond `LARGEST_RESAMPLED` models Fisher's z with the error of
    Bonett and Wright.
    """
    n = len(x)
    if n > LARGEST_RESAMPLED or abs(rho) > 1 - 1e-9:
        return [_fisher(rho, n, level) for level in levels]
    drawn, left_out = (_correlations(counts, x, y) for counts in (_resamples(n, seed), 1 - np.eye(n)))
    return [bca(rho, drawn, left_out, level) for level in levels]


def bca(value: float, drawn: np.ndarray, left_out: np.ndarray, level: float) -> tuple[float, float]:
    """Efron's interval from bootstrap draws and leave-one-out values; what is not defined among them is left out."""
    drawn, left_out = drawn[np.isfinite(drawn)], left_out[np.isfinite(left_out)]
    if not len(drawn) or not len(left_out):
        return -1.0, 1.0
    slack = 1e-9
    below = (drawn < value - slack).mean() + 0.5 * (np.abs(drawn - value) <= slack).mean()
    shift = special.ndtri(np.clip(below, 1 / len(drawn), 1 - 1 / len(drawn)))
    deviations = left_out.mean() - left_out
    squares = float((deviations**2).sum())
    acceleration = float((deviations**3).sum()) / (6 * squares**1.5) if squares > 1e-18 else 0.0
    tails = shift + special.ndtri(np.array([(1 - level) / 2, (1 + level) / 2]))
    at = special.ndtr(shift + tails / np.maximum(1 - acceleration * tails, 1e-3))
    lower, upper = np.quantile(drawn, at)
    return float(min(lower, value)), float(max(upper, value))


def _fisher(rho: float, n: int, level: float) -> tuple[float, float]:
    """Fisher's z with the error of Bonett and Wright (2000).

    A perfect order says no more than that the truth may be one swap of neighbours away: its error is taken there.
    """
    swap = 1 - 12 / (n * (n * n - 1))
    inside = max(-swap, min(swap, rho))
    reach = float(special.ndtri((1 + level) / 2)) * math.sqrt((1 + inside**2 / 2) / max(n - 3, 1))
    z = math.atanh(inside)
    return min(rho, math.tanh(z - reach)), max(rho, math.tanh(z + reach))


# --- errors of measurement -------------------------------------------------------------------------------------


def _measurement_error(known: pl.DataFrame, rho: float, seed: int) -> tuple[float | None, float | None, float | None]:
    """The band that errors of dimension and score make around rho, and rho without them.

    Both are drawn again around what was measured, which takes from rho once more what errors took from it before
    (simulation-extrapolation, Cook and Stefanski 1994, its first step). The band is that of the redraws, moved back by
    what they lost; an error that is not known counts as none.
    """
    errors = known.select(pl.col("dimension_error", "performance_error").fill_null(0.0)).to_numpy()
    if not errors.any():
        return None, None, None
    values = np.stack([np.log(known["dimension"].to_numpy()), known["performance"].to_numpy()], 1)
    n_draws = max(200, min(N_REDRAWS, 600_000 // len(values)))
    noise = np.random.default_rng([seed, len(values), 2]).standard_normal((n_draws, *values.shape))
    a, b = (_centred_ranks((values + errors * noise)[:, :, k]) for k in (0, 1))  # (n_draws, n)
    redrawn = (a * b).sum(1) / np.sqrt((a * a).sum(1) * (b * b).sum(1))
    z, drawn = (np.arctanh(np.clip(v, -0.999, 0.999)) for v in (rho, redrawn))
    lost = z - np.median(drawn)
    lower, upper = np.tanh(np.quantile(drawn, [LEVEL / 2, 1 - LEVEL / 2]) + lost)
    return min(float(lower), rho), max(float(upper), rho), float(np.tanh(z + lost))


# --- size, tokens, family --------------------------------------------------------------------------------------


def partial(known: pl.DataFrame, seed: int = 0) -> Partial:
    """Correlation of the normal scores of dimension and performance, given log parameters and log training tokens.

    Of the units whose parameters are known; tokens are given where all of these have them, and they are not a power of
    the parameters. Normal scores (Blom 1958) follow from ranks; size and tokens enter as they are. Ranks of size do not
    hold size fixed: with three sizes that drive both, and nothing else, a partial Spearman coefficient had false positives
    of 8 to 14 percent, this one 5 to 7. p by permuting residuals (Freedman and Lane 1983). The interval is that of Fisher's
    z with the error of Bonett and Wright: at 8 and 10 models a bootstrap held the truth in 77 to 98 percent.
    """
    sized = known.filter(pl.col("log_parameters").is_not_null()).with_columns(
        training_tokens=pl.when(pl.col("training_tokens") > 0).then(pl.col("training_tokens").log())
    )
    n = sized.height
    if n == 0:
        return Partial(None, None, None, None, 0, (), "parameters_unknown")
    given: list[str] = []
    base = np.zeros((n, 0))  # orthonormal; (n, q)
    for name in GIVEN:
        if sized[name].null_count():
            continue
        values = sized[name].to_numpy()
        rest = _left(values - values.mean(), base)
        if rest @ rest > 1e-9 * max(values @ values, 1.0):  # else it is one value, or says the same again
            given.append(name)
            base = np.column_stack([base, rest / math.sqrt(rest @ rest)])
    if not given:
        return Partial(None, None, None, None, n, (), "one_size")
    if n < FEWEST_EXPLORATORY + len(given):
        return Partial(None, None, None, None, n, tuple(given), "too_few")
    a, b = (_left(_normal_scores(sized[name].to_numpy()), base) for name in ("dimension", "performance"))
    if min(a @ a, b @ b) < 1e-9 * n:
        return Partial(None, None, None, None, n, tuple(given), "one_value")
    rho = float(np.clip(a @ b / math.sqrt((a @ a) * (b @ b)), -1, 1))
    lower, upper = _fisher(rho, n - len(given), 0.95)
    if n > LARGEST_RESAMPLED:
        freedom = n - 2 - len(given)
        p = 2 * float(special.stdtr(freedom, -abs(rho) * math.sqrt(freedom / max(1 - rho * rho, 1e-12))))
    else:
        shuffled = b[_orders(n, seed)]
        squares = b @ b - ((shuffled @ base) ** 2).sum(1)  # of what the base leaves of them; a is orthogonal to it
        null = shuffled @ a / np.sqrt((a @ a) * np.maximum(squares, 1e-9))
        p = _p_of(null, rho, n)
    return Partial(rho, lower, upper, p, n, tuple(given))


def _normal_scores(values: np.ndarray) -> np.ndarray:
    """What a normal sample of as many has at these ranks, about; mean 0."""
    scores = special.ndtri((stats.rankdata(values) - 0.375) / (len(values) + 0.25))
    return np.asarray(scores - scores.mean())


def _left(values: np.ndarray, base: np.ndarray) -> np.ndarray:
    """What an orthonormal base (n, q) leaves of values (n,)."""
    return np.asarray(values - base @ (base.T @ values))


def strata(known: pl.DataFrame, seed: int = 0) -> Strata:
    """One test of all families and sizes together: the sum of the strata's coefficients, each weighted by its units less
    one (the inverse of its variance where nothing is related), with scores permuted within strata.

    A stratum reaches from its largest model down to half of its parameters; a family's models of unknown size are one.
    """
    if known["family"].null_count() == known.height:
        return Strata(None, None, 0, 0, "families_unknown")
    of_family = known.filter(pl.col("family").is_not_null()).partition_by("family", maintain_order=True)
    parts = [part for family in of_family for part in _sizes(family)]
    if len(parts) == 1 and parts[0].height == known.height:
        return Strata(None, None, known.height, 1, "one_stratum")
    ranked = []
    for part in parts:
        a, b = (_centred_ranks(part[name].to_numpy()) for name in ("dimension", "performance"))
        if part.height > 1 and a.any() and b.any():
            scale = (part.height - 1) / math.sqrt((a @ a) * (b @ b))
            ranked.append((a * scale, b))
    n = sum(len(a) for a, _ in ranked)
    if math.prod(math.factorial(min(len(a), 20)) for a, _ in ranked) < 2 / LEVEL:
        return Strata(None, None, n, len(ranked), "too_few")  # no order of the scores could reach a p of 5 percent
    observed, null = 0.0, np.zeros(_n_orders(n))
    for which, (a, b) in enumerate(ranked):
        observed += float(a @ b)
        null += b[_shuffled(len(a), seed, 1 + which, len(null))] @ a
    hits = int((np.abs(null) >= abs(observed) * (1 - 1e-9) - 1e-12).sum())
    return Strata(observed / (n - len(ranked)), (1 + hits) / (1 + len(null)), n, len(ranked))


def _sizes(family: pl.DataFrame) -> list[pl.DataFrame]:
    """A family's models in parts of one size, largest first; those of unknown size last."""
    parts, left = [], family
    while (largest := left["log_parameters"].max()) is not None:
        is_near = (pl.col("log_parameters") >= pl.lit(largest) - math.log(SIZE_FACTOR)).fill_null(False)
        parts.append(left.filter(is_near))
        left = left.filter(~is_near)
    return parts if left.is_empty() else [*parts, left]


# --- leaving out -----------------------------------------------------------------------------------------------


def _without_one(known: pl.DataFrame, found: Judged, sign: str, margin: float, seed: int) -> Without | None:
    n = known.height
    if n <= FEWEST_EXPLORATORY or n > LARGEST_RESAMPLED:
        return None
    x, y = known["dimension"].to_numpy(), known["performance"].to_numpy()
    rho = _correlations(1 - np.eye(n), x, y)
    return _extremes(known, list(known["unit"].cast(pl.String)), ~np.eye(n, dtype=bool), rho, found, sign, margin, seed)


def _without_family(known: pl.DataFrame, found: Judged, sign: str, margin: float, seed: int) -> Without | None:
    families = known["family"].drop_nulls().unique(maintain_order=True).to_list()
    if len(families) < 2:
        return None
    kept = np.stack([known["family"].ne_missing(name).to_numpy() for name in families])
    rho = np.array([_spearman_or_nan(known, rows) for rows in kept])
    return _extremes(known, families, kept, rho, found, sign, margin, seed)


def _spearman_or_nan(known: pl.DataFrame, rows: np.ndarray) -> float:
    x, y = (known[name].to_numpy()[rows] for name in ("dimension", "performance"))
    return spearman(x, y) if min(len(set(x)), len(set(y))) > 1 and len(x) >= FEWEST_EXPLORATORY else math.nan


def _extremes(
    known: pl.DataFrame,
    names: Sequence[str],
    kept: np.ndarray,
    rho: np.ndarray,
    found: Judged,
    sign: str,
    margin: float,
    seed: int,
) -> Without | None:
    """`kept` (m, n) rows that each leaves, `rho` (m,) their coefficients. The answer is judged anew at both extremes, by the
    stage of all units: that nine of ten would be too few for a test is nothing that the tenth does."""
    if not np.isfinite(rho).any():
        return None
    ends = {int(np.nanargmin(rho)), int(np.nanargmax(rho))}
    x, y = known["dimension"].to_numpy(), known["performance"].to_numpy()
    fewest = FEWEST_EXPLORATORY if known.height >= FEWEST_TEST else FEWEST_TEST
    answers = {judge(x[kept[at]], y[kept[at]], sign, margin, seed, fewest=fewest).answer for at in ends}
    furthest = int(np.nanargmax(np.abs(rho - found.rho)))
    return Without(float(np.nanmin(rho)), float(np.nanmax(rho)), names[furthest], answers != {found.answer})


# --- many at once ----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Search:
    """The largest of many coefficients, tested as the largest."""

    names: tuple[str, ...]
    rho: tuple[float | None, ...]
    """Of each column; None where it does not vary, or fewer than 5 units have it."""
    adjusted_p: tuple[float | None, ...]
    """Of each, against the largest of all under permutation: the error rate is held over the whole search."""
    best: str | None
    n: int

    @property
    def p(self) -> float | None:
        """Of the largest coefficient."""
        return self.adjusted_p[self.names.index(self.best)] if self.best is not None else None


def search(columns: Mapping[str, Numbers], performance: Numbers, seed: int = 0) -> Search:
    """Which of many dimensions (layers, specifications) goes with the score most, with p by the maximum over all.

    `columns` holds a dimension of each unit, in the order of `performance`. Units are permuted whole, so that what the
    columns have in common stays. Coefficients of fewer units count by their z = |rho| sqrt(n - 1).
    """
    every = _floats(performance)
    scored = np.isfinite(every)
    y = every[scored]
    n = len(y)
    if n < FEWEST_EXPLORATORY:
        return Search(tuple(columns), (None,) * len(columns), (None,) * len(columns), None, n)
    orders = _orders(n, seed)
    whole = _centred_ranks(y)[orders]  # (n_orders, n)
    rho: list[float | None] = []
    z: list[float] = []
    complete = []  # ranks of columns that every unit has, times what makes a product of ranks their z; (n,) each
    largest = np.zeros(len(orders))
    for name, values in columns.items():
        if len(values) != len(every):
            raise InputError(
                "'{name}' has {n_values} units, the score has {n_every}.",
                name=name,
                n_values=len(values),
                n_every=len(every),
            )
        x = _floats(values)[scored]
        has = np.isfinite(x)
        if has.sum() < FEWEST_EXPLORATORY or len(set(x[has])) < 2 or len(set(y[has])) < 2:
            rho.append(None)
            z.append(math.nan)
            continue
        found = spearman(x[has], y[has])
        rho.append(found)
        z.append(abs(found) * math.sqrt(has.sum() - 1))
        a = _centred_ranks(x[has])
        a *= math.sqrt((has.sum() - 1) / (a @ a))
        if has.all():
            complete.append(a / math.sqrt(whole[0] @ whole[0]))
        else:  # among these units scores have other ranks in each order: fifty times the work
            b = _centred_ranks(y[orders][:, has])
            largest = np.maximum(largest, np.abs(b @ a) / np.sqrt(np.maximum((b * b).sum(1), 1e-12)))
    if complete:
        largest = np.maximum(largest, np.abs(whole @ np.stack(complete, 1)).max(1))
    p_values = tuple(None if math.isnan(v) else _p_of(largest, v, n) for v in z)
    best = list(columns)[int(np.nanargmax(z))] if z and not np.isnan(z).all() else None
    return Search(tuple(columns), tuple(rho), p_values, best, n)


def _floats(values: Numbers) -> np.ndarray:
    return np.array([math.nan if v is None else v for v in values], dtype=float)


def adjusted(p_values: Sequence[float | None], method: Literal["holm", "bh"] = "holm") -> list[float | None]:
    """p-values corrected for their number: Holm (1979) holds the chance of any error, Benjamini and Hochberg (1995) the
    share of errors among what is found. None stays None and does not count."""
    at = [i for i, p in enumerate(p_values) if p is not None]
    found: list[float | None] = [None] * len(p_values)
    if not at:
        return found
    p = np.array([p_values[i] for i in at], dtype=float)
    if method == "bh":
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


@dataclass(frozen=True)
class Specifications:
    """One relation under every specification of a grid."""

    relations: Mapping[str, Relation]
    primary: str

    @property
    def answer(self) -> str:
        return self.relations[self.primary].answer

    @property
    def holds(self) -> int:
        """Specifications with the answer of the primary one, itself among them."""
        return sum(found.answer == self.answer for found in self.relations.values())

    @property
    def counts(self) -> dict[str, int]:
        """How many say which answer, in the order of `ANSWERS`."""
        said = [found.answer for found in self.relations.values()]
        return {answer: said.count(answer) for answer in ANSWERS}


def under_specifications(
    frames: Mapping[str, pl.DataFrame],
    primary: str,
    sign: Literal["negative", "positive"] = "negative",
    margin: float = MARGIN,
    seed: int = 0,
) -> Specifications:
    """`relate` for each specification's units; InputError where the primary one is not among them."""
    if primary not in frames:
        raise InputError("The primary specification '{primary}' is not among {frames}.", primary=primary, frames=frames)
    return Specifications({name: relate(frame, sign, margin, seed) for name, frame in frames.items()}, primary)


@dataclass(frozen=True)
class SignTest:
    positive: int
    negative: int
    zero: int
    """Neither; they do not count."""
    p: float | None
    """Two-sided, exact; None where nothing counts."""


def sign_test(differences: Numbers) -> SignTest:
    """Whether more units (recipes) move one way than the other; what is not known is left out."""
    known = _floats(differences)
    known = known[np.isfinite(known)]
    positive, negative = int((known > 0).sum()), int((known < 0).sum())
    n = positive + negative
    p = float(stats.binomtest(positive, n).pvalue) if n else None
    return SignTest(positive, negative, len(known) - n, p)


@dataclass(frozen=True)
class Concordance:
    """Whether several texts (or tasks) put the same models into the same order."""

    w: float | None
    """Kendall's W, 0 to 1, corrected for ties."""
    lower: float | None
    upper: float | None
    """95 percent, by bootstrap over models."""
    p: float | None
    """Against unrelated orders: each text's order permuted on its own."""
    n: int
    """Models of which every text has a value."""
    n_orders: int
    reason: str | None = None
    """Why there is none: `too_few`, `one_value`."""


def concordance(orders: Mapping[str, Numbers], seed: int = 0) -> Concordance:
    """Kendall's W of the same models under several texts or tasks, which `orders` has by name; InputError where lengths
    differ. Models without one of the values are left out."""
    if len({len(values) for values in orders.values()}) > 1:
        raise InputError("Orders of one set of models have one value of each model.")
    table = np.array([_floats(values) for values in orders.values()]).reshape(len(orders), -1)
    table = table[:, np.isfinite(table).all(0)]  # (m, n)
    m, n = table.shape
    if m < 2 or n < FEWEST_EXPLORATORY:
        return Concordance(None, None, None, None, n, m, "too_few")
    if any(len(set(row)) < 2 for row in table):
        return Concordance(None, None, None, None, n, m, "one_value")
    ranks = _centred_ranks(table)
    w = float((ranks.sum(0) ** 2).sum() / (m * (ranks**2).sum()))
    if n <= LARGEST_RESAMPLED:
        below = [_below(row) for row in table]
        drawn, left_out = (_concordances(counts, below) for counts in (_resamples(n, seed), 1 - np.eye(n)))
        lower, upper = bca(w, drawn, left_out, 0.95)
    else:  # W is 1/m more than the mean rho of two of them, times (m - 1) / m
        lower, upper = (((m - 1) * end + 1) / m for end in _fisher((m * w - 1) / (m - 1), n, 0.95))
    sums = np.tile(ranks[0], (_n_orders(n), 1))
    for which, row in enumerate(ranks[1:]):
        sums += row[_shuffled(n, seed, 1 + which, len(sums))]
    hits = int(((sums**2).sum(1) >= float((ranks.sum(0) ** 2).sum()) * (1 - 1e-9)).sum())
    return Concordance(w, lower, upper, (1 + hits) / (1 + len(sums)), n, m)


def _concordances(counts: np.ndarray, below: Sequence[np.ndarray]) -> np.ndarray:
    """W where model i occurs counts[., i] times; (m,). Squares of rank sums over the most that ties allow."""
    n = counts.sum(1, keepdims=True)
    ranks = np.stack([counts @ b.T - n / 2 for b in below], 1)
    between = np.einsum("mkn,mln,mn->m", ranks, ranks, counts, optimize=True)
    within = np.einsum("mkn,mn->m", ranks**2, counts)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(between / (len(below) * within))
