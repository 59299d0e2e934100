"""Whether what is said of relations and ranks holds, on simulated models whose truth is known.

`python -m tests.bench.relations --draws 2000` prints all tables; `--write` puts them into docs/accuracy;
`--only partial` makes those whose name holds the word.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import polars as pl
from scipy import special, stats

from core.analysis.claims import LEVEL
from core.analysis.intervals import rank_intervals
from core.analysis.relation import (
    MARGIN,
    detectable_rho,
    evaluate_ranks,
    fewest_for_unrelated,
    partial_correlation,
    stratified_correlation,
)
from core.analysis.resampling import search_dimensions
from core.analysis.units import average_recipes, known_units
from core.questions.generality import concordance
from tests.bench.coverage import keep, table

N_DRAWS = 2000
SIZES = (10, 18, 30)
N_BLOCKS = 16


# --- models whose relation is known ----------------------------------------------------------------------------


@dataclass(frozen=True)
class Case:
    """Dimension and score of models: a normal pair with this correlation, as it stands or changed."""

    r: float
    """Pearson's, of the normal pair."""
    kind: str = "normal"
    """`normal`; `heavy tails`: both over one chi with 3 degrees of freedom, so that far models are far in both; `ties`:
    both rounded to about seven values; `groups`: two groups of models at some distance, related within each alone."""

    @property
    def name(self) -> str:
        return self.kind

    def draw(self, generator: np.random.Generator, shape: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
        x, e = generator.normal(size=(2, *shape))
        y = self.r * x + math.sqrt(1 - self.r**2) * e
        if self.kind == "heavy tails":
            scale = np.sqrt(generator.chisquare(3, shape) / 3)
            return x / scale, y / scale
        if self.kind == "ties":
            return np.round(1.5 * x), np.round(1.5 * y)
        if self.kind == "groups":
            return x + 3 * (generator.random(shape) < 0.5), y
        return x, y

    @property
    def truth(self) -> float:
        """Spearman's rho of the population: exact for the normal pair, else of half a million models."""
        if self.kind == "normal":
            return 6 / math.pi * math.asin(self.r / 2)
        if self.r == 0:
            return 0.0
        return _of_many(self)


@lru_cache
def _of_many(case: Case) -> float:
    return float(stats.spearmanr(*case.draw(np.random.default_rng(99), (500_000,))).statistic)


RELATED = (
    *(Case(r) for r in (0.0, 0.3, 0.5, 0.7, 0.9)),
    *(Case(r, "heavy tails") for r in (0.0, 0.6)),
    *(Case(r, "ties") for r in (0.0, 0.6)),
    Case(0.6, "groups"),
)


@dataclass(frozen=True)
class Told:
    """What was said in many draws of one case."""

    held: float
    """Share of 95 percent intervals that hold the truth."""
    held_90: float
    p_small: float
    """Share of p at most .05."""
    related: float
    not_related: float
    cannot_tell: float


@lru_cache
def told(case: Case, n: int, n_draws: int) -> Told:
    generator = np.random.default_rng([n, round(100 * case.r), len(case.kind)])
    found = [evaluate_ranks(*pair) for pair in zip(*case.draw(generator, (n_draws, n)), strict=True)]
    truth = case.truth

    def share(holds: Callable) -> float:
        return float(np.mean([holds(one) for one in found]))

    return Told(
        share(lambda f: f.lower <= truth <= f.upper),
        share(lambda f: f.lower_90 <= truth <= f.upper_90),
        share(lambda f: f.p <= LEVEL),
        share(lambda f: f.answer.startswith("related")),
        share(lambda f: f.answer == "not_related"),
        share(lambda f: f.answer == "cannot_tell"),
    )


def percent(share: float, n_draws: int) -> str:
    return f"{100 * share:.1f} ± {100 * math.sqrt(share * (1 - share) / n_draws):.1f} %"


def relations_table(n_draws: int) -> str:
    rows = []
    for case in RELATED:
        for n in SIZES:
            one = told(case, n, n_draws)
            shares = (one.held, one.held_90, one.related, one.not_related, one.cannot_tell)
            rows.append([case.name, f"{case.truth:.2f}", n, *(percent(s, n_draws) for s in shares)])
    head = ["models", "rho", "n", "95 % intervals", "90 % intervals", "related", "not related", "cannot tell"]
    return table(head, rows)


def limits_table(n_draws: int) -> str:
    """What is wrong at the two limits, and what as many models were said to show."""
    margin = 2 * math.sin(math.pi / 6 * MARGIN)
    rows = []
    for n in (*SIZES, fewest_for_unrelated(), 60):
        at_margin, unrelated = told(Case(margin), n, n_draws), told(Case(0.0), n, n_draws)
        least = detectable_rho(n)
        shown = told(Case(2 * math.sin(math.pi / 6 * least)), n, n_draws)
        rows.append(
            [
                n,
                percent(unrelated.p_small, n_draws),
                percent(unrelated.not_related, n_draws),
                percent(at_margin.not_related, n_draws),
                f"{least:.2f}",
                percent(shown.p_small, n_draws),
            ]
        )
    head = [
        "n",
        "unrelated: p at most .05",
        "unrelated: called not related",
        f"rho {MARGIN:g}: called not related",
        "detectable rho",
        "shown where it is the truth",
    ]
    return table(head, rows)


# --- more than one variable ------------------------------------------------------------------------------------


def frame_of(dimension: np.ndarray, performance: np.ndarray, **columns: Sequence) -> pl.DataFrame:
    units = [f"m{i}" for i in range(len(dimension))]
    known = {"unit": units, "dimension": np.exp(dimension), "performance": performance}
    absent = {"family": pl.Series([None] * len(units), dtype=pl.String)}
    numbers = dict.fromkeys(("dimension_error", "performance_error", "log_parameters"))
    floats = {name: pl.Series([None] * len(units), dtype=pl.Float64) for name in numbers}
    return pl.DataFrame(known | absent | floats | columns)


def p_of_partial(generator: np.random.Generator, n: int) -> float:
    """Size drives both (correlations of .8), and nothing else does."""
    size = generator.normal(size=n)
    x, y = 0.8 * size + 0.6 * generator.normal(size=(2, n))
    return partial_correlation(frame_of(x, y, log_parameters=size)).p or math.nan


def p_of_sizes(generator: np.random.Generator, n: int) -> float:
    """Three sizes, of which the score saturates."""
    size = generator.choice([-1.2, 0.0, 1.2], n) + 0.05 * generator.normal(size=n)
    e, f = generator.normal(size=(2, n))
    return (
        partial_correlation(frame_of(size + 0.6 * e, np.tanh(1.5 * size) + 0.6 * f, log_parameters=size)).p or math.nan
    )


def p_of_strata(generator: np.random.Generator, n: int) -> float:
    """Three families far apart in both, unrelated within."""
    family = np.arange(n) % 3
    x, y = 3 * family + generator.normal(size=(2, n))
    return stratified_correlation(frame_of(x, y, family=[f"f{k}" for k in family])).p or math.nan


def p_of_search(generator: np.random.Generator, n: int) -> float:
    """30 layers that have half of their variance in common, one more with gaps; no relation."""
    common = generator.normal(size=n)
    layers = {f"layer {k}": common + generator.normal(size=n) for k in range(30)}
    return search_dimensions(layers, generator.normal(size=n)).p or math.nan


def p_of_concordance(generator: np.random.Generator, n: int) -> float:
    return concordance([generator.normal(size=n) for _ in range(4)]).p or math.nan


NULLS: dict[str, Callable[[np.random.Generator, int], float]] = {
    "given size, which drives both": p_of_partial,
    "given one of three sizes, with which the score saturates": p_of_sizes,
    "within three families that are far apart": p_of_strata,
    "largest of 30 layers": p_of_search,
    "agreement of 4 texts": p_of_concordance,
}


def false_positives(name: str, n: int, n_draws: int) -> float:
    generator = np.random.default_rng([n, len(name)])
    return float(np.mean([NULLS[name](generator, n) <= LEVEL for _ in range(n_draws)]))


def nulls_table(n_draws: int) -> str:
    rows = [[name, *(percent(false_positives(name, n, n_draws), n_draws) for n in SIZES)] for name in NULLS]
    return table(["test", *(f"n = {n}" for n in SIZES)], rows)


def held_partial(n: int, r: float, n_draws: int) -> float:
    """How often the interval of a partial correlation of r holds it; size drives both."""
    generator = np.random.default_rng([n, round(100 * r), 7])
    held = 0
    for _ in range(n_draws):
        size, x, e = generator.normal(size=(3, n))
        y = r * x + math.sqrt(1 - r * r) * e
        found = partial_correlation(frame_of(size + x, size + y, log_parameters=size))
        held += (found.lower or 0) <= r <= (found.upper or 0)
    return held / n_draws


def partial_table(n_draws: int) -> str:
    rows = [[r, *(percent(held_partial(n, r, n_draws), n_draws) for n in SIZES)] for r in (0.0, 0.5, 0.8)]
    return table(["partial correlation", *(f"n = {n}" for n in SIZES)], rows)


def agreement(n: int, m: int, r: float, n_draws: int) -> float:
    """How often the interval of Kendall's W holds the truth, where orders correlate by r with what they share."""
    generator = np.random.default_rng([n, m, round(100 * r)])
    truth = ((m - 1) * 6 / math.pi * math.asin(r * r / 2) + 1) / m
    held = 0
    for _ in range(n_draws):
        common = generator.normal(size=n)
        orders = [r * common + math.sqrt(1 - r * r) * generator.normal(size=n) for _ in range(m)]
        found = concordance(orders)
        held += (found.lower or 0) <= truth <= (found.upper or 0)
    return held / n_draws


def agreement_table(n_draws: int) -> str:
    rows = [
        [m, r, *(percent(agreement(n, m, r, n_draws), n_draws) for n in SIZES)]
        for m in (3, 6)
        for r in (0.5, 0.8, 0.95)
    ]
    return table(["texts", "correlation with what they share", *(f"n = {n}" for n in SIZES)], rows)


# --- replicates ------------------------------------------------------------------------------------------------


def ladder(generator: np.random.Generator) -> pl.DataFrame:
    """Like the ladder's first population: 18 recipes, the first of which was run seven times; unrelated."""
    of_recipe = np.concatenate([np.arange(18), np.zeros(6, dtype=int)])
    x, y = (generator.normal(size=18)[of_recipe] + 0.4 * generator.normal(size=24) for _ in range(2))
    return frame_of(x, y, recipe=[f"recipe {k}" for k in of_recipe])


def permuted_table(n_draws: int) -> str:
    """Answers where scores are permuted over runs, and where recipes are unrelated but runs of one are alike."""
    generator = np.random.default_rng(24)
    rows = []
    for title, is_permuted in (("scores permuted over runs", True), ("unrelated recipes", False)):
        every, once = 0, 0
        for _ in range(n_draws):
            runs = ladder(generator)
            if is_permuted:
                runs = runs.with_columns(performance=pl.Series(generator.permutation(runs["performance"].to_numpy())))
            answers = [
                evaluate_ranks(f["dimension"].to_numpy(), f["performance"].to_numpy()).answer
                for f in (runs, average_recipes(runs))
            ]
            every += answers[0].startswith("related")
            once += answers[1].startswith("related")
        rows.append([title, percent(1 - every / n_draws, n_draws), percent(1 - once / n_draws, n_draws)])
    return table(["population", "24 runs, each counted", "18 recipes, each counted once"], rows)


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


def reliable(share: float, n_draws: int) -> float:
    """How often the interval of a reliability of this share holds it, in a population like the ladder."""
    generator = np.random.default_rng([18, round(100 * share)])
    of_recipe = np.concatenate([np.arange(18), np.zeros(6, dtype=int)])
    held = 0
    for _ in range(n_draws):
        x = math.sqrt(share) * generator.normal(size=18)[of_recipe] + math.sqrt(1 - share) * generator.normal(size=24)
        found = reliability(frame_of(x, x, recipe=[f"recipe {k}" for k in of_recipe]))[0]
        held += found is not None and found.lower <= share <= found.upper
    return held / n_draws


def reliability_table(n_draws: int) -> str:
    shares = (0.3, 0.6, 0.9)
    return table([f"reliability {s:g}" for s in shares], [[percent(reliable(s, n_draws), n_draws) for s in shares]])


# --- ranks -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class RankCase:
    n: int
    kind: str
    """`equal errors`; `unequal errors`: from once to four times; `skewed blocks`: errors of blocks are exponential;
    `standard errors`: no blocks, independent errors."""

    def draw(self, generator: np.random.Generator) -> tuple[pl.DataFrame, np.ndarray]:
        """Units in groups of four with the same truth, and the truth."""
        truth = np.repeat(np.linspace(0, 0.05 * self.n, -(-self.n // 4)), 4)[: self.n]
        spread = np.geomspace(0.05, 0.2, self.n) if self.kind == "unequal errors" else np.full(self.n, 0.1)
        own = generator.normal(size=(self.n, N_BLOCKS))
        if self.kind == "skewed blocks":
            own = generator.exponential(size=(self.n, N_BLOCKS)) - 1
        of_blocks = (spread[:, None] * own + 0.2 * generator.normal(size=N_BLOCKS)) * math.sqrt(N_BLOCKS)
        units = [str(i) for i in range(self.n)]
        if self.kind == "standard errors":
            values = truth + spread * generator.normal(size=self.n)
            errors = spread * np.sqrt(generator.chisquare(15, self.n) / 15)
            return pl.DataFrame({"unit": units, "value": values, "error": errors}), truth
        without = truth[:, None] + (of_blocks.sum(1, keepdims=True) - of_blocks) / (N_BLOCKS - 1)
        values = truth + of_blocks.mean(1)
        return pl.DataFrame({"unit": units, "value": values, "blocks": without.tolist()}), truth


RANKED = tuple(
    RankCase(n, kind)
    for n in (20, 40)
    for kind in ("equal errors", "unequal errors", "skewed blocks", "standard errors")
)


def with_unknown(frame: pl.DataFrame) -> pl.DataFrame:
    """Units with blocks and errors that are not known, where there are none."""
    kinds = {"blocks": pl.List(pl.Float64()), "error": pl.Float64()}
    return frame.with_columns(
        pl.lit(None, kind).alias(name) for name, kind in kinds.items() if name not in frame.columns
    )


def ranks_right(case: RankCase, n_draws: int) -> tuple[float, float, float]:
    """How often all pairwise differences lie within their intervals at once; how often all ranks do; how many ranks an
    interval spans."""
    generator = np.random.default_rng([case.n, len(case.kind)])
    held, right, width = 0, 0, 0.0
    for _ in range(n_draws):
        frame, truth = case.draw(generator)
        ranks = rank_intervals(with_unknown(frame))
        if "blocks" in frame.columns:
            blocks = np.array(frame["blocks"].to_list())
            errors = np.sqrt((N_BLOCKS - 1) * (blocks[:, None] - blocks[None, :]).var(-1))
        else:
            errors = np.hypot(frame["error"].to_numpy()[:, None], frame["error"].to_numpy()[None, :])
        missed = np.abs(np.subtract.outer(frame["value"].to_numpy() - truth, frame["value"].to_numpy() - truth))
        held += bool((missed <= (ranks.critical or 0) * errors + 1e-12).all())
        at = truth[ranks.units["unit"].cast(pl.Int64).to_numpy()]
        # Equal units share their ranks: an interval is right if it holds all of them.
        above, equal = (truth[None, :] > at[:, None]).sum(1), (truth[None, :] == at[:, None]).sum(1)
        low, high = ranks.units["rank_low"].to_numpy(), ranks.units["rank_high"].to_numpy()
        right += bool((low <= above + 1).all() and (high >= above + equal).all())
        width += float((high - low + 1).mean())
    return held / n_draws, right / n_draws, width / n_draws


def ranks_table(n_draws: int) -> str:
    rows = []
    for case in RANKED:
        held, right, width = ranks_right(case, n_draws)
        rows.append([case.kind, case.n, percent(held, n_draws), percent(right, n_draws), f"{width:.1f}"])
    return table(
        ["errors", "models", "all differences at once", "all ranks at once", "ranks that an interval spans"], rows
    )


# --- the document ----------------------------------------------------------------------------------------------


PARTS: dict[str, Callable[[int], str]] = {
    "relations": relations_table,
    "relation_limits": limits_table,
    "other_tests": nulls_table,
    "partial_correlations": partial_table,
    "agreement": agreement_table,
    "replicates": permuted_table,
    "reliability": reliability_table,
    "ranks": ranks_table,
}
"""Each table of docs/accuracy that is made here.

Of `relations`: with heavy tails, far models are far in both, either way, so that they are not independent at a rho of 0, which is
what the permutation test tests. Of `relation_limits`: how often a relation as strong as the margin is called not related, and
the smallest rho that a test is said to show in 80 %, with how often it does. Of `replicates`: a population like the ladder's,
without a relation; how often it is told as cannot tell or not related. Of `ranks`: models in groups of four with equal truth;
how often all intervals hold it at once.
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--draws", type=int, default=N_DRAWS)
    parser.add_argument("--only", default="", help="parts whose name holds this word: " + ", ".join(PARTS))
    parser.add_argument("--write", action="store_true", help="put the tables into docs/accuracy")
    options = parser.parse_args()
    for name, made in PARTS.items():
        if options.only in name:
            (keep if options.write else print)(name, made(options.draws))


if __name__ == "__main__":
    main()
