"""Do results generalise? A relation over several tasks, the order of models over texts and tasks, verdicts over texts.

Tasks scored on the same models have correlated errors: one model's luck moves all of them. The correlation is estimated
from the effect of leaving out each model. Below `FEWEST_FOR_SPREAD` tasks only the mean over these tasks is reported;
from there on also the spread between tasks, with each task's coefficient shrunk towards the mean (random effects).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import polars as pl
from scipy import special

from core.analysis import ranking
from core.analysis.criteria import ChoiceContext, ResolvedCriterion, count_related_models, resolve_criterion, score_key
from core.analysis.decision import Decision, decide_in_context
from core.analysis.intervals import NORMAL_95, share_limits
from core.analysis.resampling import (
    LARGEST_RESAMPLED,
    bca_interval,
    centred_ranks,
    fisher_interval,
    fisher_z,
    is_resampled,
    n_orders,
    permutation_p_value,
    random_orders,
    rank_matrix,
    resamples,
    rho_after_one_swap,
    spearman,
    weighted_spearman,
)
from core.analysis.units import FEWEST_EXPLORATORY, Numbers, average_recipes, to_floats
from core.pilots.saved import DIMENSIONS, Criterion
from core.questions.ranking_answer import Answer, relation_units
from core.registry.checks import VERDICTS
from core.registry.protocols import CLAIMS
from core.tables import ids_of

FEWEST_FOR_SPREAD = 4
"""Fewest tasks for which their spread is estimated."""
SPREADS = np.linspace(0.0, 1.5, 61)
"""Standard deviations of the true coefficients between tasks, on Fisher's scale."""
PRIOR = 0.5
"""Scale of the half-normal prior of `SPREADS`: tasks of one kind rarely differ by more than rho -0.9 to 0.4."""
LEAST_COVERAGE = 0.8
"""Tasks enter a comparison if they have at least this share of the models of the best covered task."""


# --- one relation over tasks -----------------------------------------------------------------------------------


@dataclass(frozen=True)
class ShrunkCoefficient:
    """A task's coefficient shrunk towards the mean over tasks."""

    rho: float
    lower: float
    upper: float


@dataclass(frozen=True)
class PooledRelation:
    """Rank correlation of one dimension with the scores of several tasks."""

    rho: float
    """Mean over these tasks, on Fisher's scale."""
    lower: float
    upper: float
    """95 percent, for these tasks; another set of tasks may have another mean."""
    error_correlation: float
    """Mean correlation of the tasks' errors, 0 to 0.95: they share their models."""
    n_tasks: int
    p_differ: float | None = None
    """p of the hypothesis that the tasks' true coefficients are equal (Cochran's Q); None for a single task."""
    spread: float | None = None
    """Standard deviation of the true coefficients between tasks, on Fisher's scale (posterior mean); like all fields below
    None under `FEWEST_FOR_SPREAD` tasks."""
    further_lower: float | None = None
    further_upper: float | None = None
    """95 percent prediction interval for the true coefficient of a further task of the kind."""
    tasks: Mapping[str, ShrunkCoefficient] = field(default_factory=dict)
    """By task; empty under `FEWEST_FOR_SPREAD` tasks."""


def pool_tasks(dimension: Sequence[float | None], tasks: Mapping[str, Sequence[float | None]]) -> PooledRelation | None:
    """The relation pooled over all tasks with scores of at least 5 models; None if there is no such task.

    `tasks`: the performance (higher is better) of each model, in the order of `dimension`. Coefficients are Spearman's;
    their errors are Bonett and Wright's (2000) on Fisher's scale, with correlations from leaving out one model.
    """
    x = to_floats(dimension)
    usable = {name: y for name, values in tasks.items() if _is_usable(x, y := to_floats(values))}
    if not usable:
        return None
    z, errors, influence = (
        np.array(part) for part in zip(*(_z_and_influence(x, y) for y in usable.values()), strict=True)
    )
    k = len(z)
    error_correlation = _mean_error_correlation(influence)
    covariance = np.outer(errors, errors) * (error_correlation + (1 - error_correlation) * np.eye(k))
    mean, error = float(z.mean()), math.sqrt(covariance.sum()) / k
    pooled = PooledRelation(
        rho=math.tanh(mean),
        lower=math.tanh(mean - NORMAL_95 * error),
        upper=math.tanh(mean + NORMAL_95 * error),
        error_correlation=error_correlation,
        n_tasks=k,
    )
    if k < 2:
        return pooled
    inverse = np.linalg.inv(covariance)
    weights = inverse.sum(1) / inverse.sum()
    residual = z - weights @ z
    pooled = replace(pooled, p_differ=float(special.chdtrc(k - 1, residual @ inverse @ residual)))
    return pooled if k < FEWEST_FOR_SPREAD else _random_effects(pooled, list(usable), z, covariance)


def _random_effects(
    pooled: PooledRelation, names: Sequence[str], z: np.ndarray, covariance: np.ndarray
) -> PooledRelation:
    """Add random effects: predictions of each task's true coefficient, and of that of a further task.

    With few tasks the best estimate of the spread is often 0, which would shrink all tasks onto the mean with too narrow
    intervals. So results are averaged over `SPREADS`, weighted by restricted likelihood and prior (Gelman 2006,
    doi 10.1214/06-BA117A).
    """
    k = len(z)
    log_weights, means, variances = [], [], []
    for spread in SPREADS:
        between = spread**2 * np.eye(k)
        inverse = np.linalg.inv(covariance + between)
        precision = inverse.sum()
        mean = float(inverse.sum(1) @ z / precision)
        residual = z - mean
        _sign, log_det = np.linalg.slogdet(inverse)
        log_weights.append(
            0.5 * (log_det - math.log(precision) - residual @ inverse @ residual) - (spread / PRIOR) ** 2 / 2
        )
        # Variance of each shrunk coefficient: its spread minus what the data explain, plus the error of the mean.
        pulled = 1 - spread**2 * inverse.sum(1)
        means.append([*(mean + spread**2 * (inverse @ residual)), mean])
        within = spread**2 - spread**4 * np.diag(inverse) + pulled**2 / precision
        variances.append([*within, spread**2 + 1 / precision])
    weights = np.exp(np.array(log_weights) - max(log_weights))
    weights /= weights.sum()
    center = weights @ np.array(means)  # (k + 1,): the tasks, and a further one
    error = np.sqrt(weights @ (np.array(variances) + (np.array(means) - center) ** 2))
    lower, upper = np.tanh(center - NORMAL_95 * error), np.tanh(center + NORMAL_95 * error)
    return replace(
        pooled,
        spread=float(weights @ SPREADS),
        further_lower=float(lower[k]),
        further_upper=float(upper[k]),
        tasks={
            name: ShrunkCoefficient(math.tanh(center[i]), float(lower[i]), float(upper[i]))
            for i, name in enumerate(names)
        },
    )


def _is_usable(x: np.ndarray, y: np.ndarray) -> bool:
    both = np.isfinite(x) & np.isfinite(y)
    return int(both.sum()) >= FEWEST_EXPLORATORY and len(set(x[both])) > 1 and len(set(y[both])) > 1


def _z_and_influence(x: np.ndarray, y: np.ndarray) -> tuple[float, float, np.ndarray]:
    """Fisher's z, its error, and the influence of each model on it (n,), 0 for models without the score."""
    both = np.isfinite(x) & np.isfinite(y)
    n = int(both.sum())
    rho = spearman(x[both], y[both])
    tried = np.flatnonzero(both)[:LARGEST_RESAMPLED]  # so many models are enough
    without = weighted_spearman(1 - np.eye(len(tried)), x[tried], y[tried])
    without[np.isnan(without)] = rho  # undefined where only one value is left: no influence
    moved = np.arctanh(np.clip(without, -rho_after_one_swap(n), rho_after_one_swap(n)))
    influence = np.zeros(len(x))
    influence[tried] = moved.mean() - moved
    return *fisher_z(rho, n), influence


def _mean_error_correlation(influence: np.ndarray) -> float:
    """Mean correlation of rows (k, n), clipped to 0 to 0.95: too few models to estimate one per pair."""
    if len(influence) < 2:
        return 0.0
    size = np.sqrt((influence**2).sum(1))
    if not size.all():
        return 0.95
    correlation = influence @ influence.T / np.outer(size, size)
    pairs = correlation[np.triu_indices(len(influence), 1)]
    return float(np.clip(pairs.mean(), 0.0, 0.95))


# --- tasks -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Task:
    """One benchmark: the answer about its scores, and the model that the criteria choose by it."""

    benchmark: Mapping[str, Any]
    answer: Answer
    decision: Decision | None
    """None if the criteria cannot choose by this task."""

    @property
    def key(self) -> str:
        return score_key(self.benchmark)

    @property
    def p(self) -> float | None:
        """Of the relation, corrected for all that can be looked at; that of a registered pair is its own."""
        relation = self.answer.relation
        return relation.p if self.answer.registration.is_registered else relation.corrected_p


@dataclass(frozen=True)
class OverTasks:
    tasks: tuple[Task, ...]
    pooled: PooledRelation | None
    decision: Decision | None
    """By all tasks together, which share the weight of the score."""
    order: OrderTable | None
    """The models' order by score on each task."""
    n_recipes: int | None = None
    """Recipes that `pooled` counts, where some were trained more than once."""


def choose_tasks(benchmarks: pl.DataFrame) -> list[dict[str, Any]]:
    """One row of `ranking.list_benchmarks` per name, in the setting that most models have; means over several benchmarks
    are not tasks."""
    return benchmarks.filter(~pl.col("is_group")).unique("benchmark", keep="first", maintain_order=True).to_dicts()


def compare_over_tasks(
    answers: Sequence[Answer], context: ChoiceContext, criteria: Sequence[ResolvedCriterion], use_class: str
) -> OverTasks:
    """Each task on its own, and all together. Each answer is about the same models by one benchmark (`choose_tasks`); the
    relation uses all of their models, the decision only the models of the context. Over all tasks each recipe counts once."""
    tasks, values, recipes = [], {}, {}
    run_ids = list(dict.fromkeys(run_id for answer in answers for run_id in ids_of(answer.population.rows)))
    dimension: dict[str, float | None] = {}
    for answer in answers:
        benchmark = answer.population.benchmark
        if benchmark is None:
            continue
        task = Task(benchmark, answer, decide_by_benchmarks(context, [benchmark], criteria, use_class))
        tasks.append(task)
        units = relation_units(answer.population)
        once = average_recipes(units)
        dimension |= dict(once.select("unit", "dimension").rows())
        recipes[task.key] = dict(once.select("unit", "performance").rows())
        of_runs = dict(units.select("unit", "performance").rows())
        values[task.key] = [of_runs.get(run_id) for run_id in run_ids]
    benchmarks = [task.benchmark for task in tasks]
    of_recipes = {key: [of_task.get(unit) for unit in dimension] for key, of_task in recipes.items()}
    return OverTasks(
        tasks=tuple(tasks),
        pooled=pool_tasks(list(dimension.values()), of_recipes),
        decision=decide_by_benchmarks(context, benchmarks, criteria, use_class) if len(tasks) > 1 else None,
        order=order_over_tasks(run_ids, values),
        n_recipes=len(dimension) if len(dimension) < len(run_ids) else None,
    )


def decide_by_benchmarks(
    context: ChoiceContext,
    benchmarks: Sequence[Mapping[str, Any]],
    criteria: Sequence[ResolvedCriterion],
    use_class: str,
) -> Decision | None:
    """The decision with every score criterion replaced by these benchmarks, which share its weight. Thresholds of scores
    are dropped: they belong to one benchmark."""
    counted = [one for one in criteria if one.criterion.of != "score"]
    weight = sum(one.criterion.weight for one in criteria if one.criterion.of == "score") / len(benchmarks)
    if weight:
        score = Criterion("score", weight=weight)
        counted = [*(resolve_criterion(score, context, benchmark) for benchmark in benchmarks), *counted]
    if not any(
        one.criterion.weight for one in counted if one.criterion.of not in DIMENSIONS and one.is_direction_known
    ):
        return None
    fewest = min(benchmarks, key=lambda benchmark: count_related_models(context, benchmark) or 0)
    return decide_in_context(context, counted, fewest, use_class)


# --- agreement of orders ---------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Concordance:
    """Agreement of several texts (or tasks) on the order of the same models."""

    n: int
    """Models with a value on every text."""
    n_orders: int
    w: float | None = None
    """Kendall's W, 0 to 1, corrected for ties."""
    lower: float | None = None
    upper: float | None = None
    """95 percent, by bootstrap over models."""
    p: float | None = None
    """Against unrelated orders: each text's order permuted independently."""
    reason: str | None = None
    """Why there is none: `too_few`, `one_value`."""


def concordance(orders: Sequence[Numbers]) -> Concordance:
    """Kendall's W of the same models under several texts or tasks. Models without all values are left out."""
    table = np.array([to_floats(values) for values in orders]).reshape(len(orders), -1)
    table = table[:, np.isfinite(table).all(0)]  # (m, n)
    m, n = table.shape
    if m < 2 or n < FEWEST_EXPLORATORY:
        return Concordance(n, m, reason="too_few")
    if any(len(set(row)) < 2 for row in table):
        return Concordance(n, m, reason="one_value")
    ranks = centred_ranks(table)
    w = float((ranks.sum(0) ** 2).sum() / (m * (ranks**2).sum()))
    if is_resampled(n):
        of_rows = [rank_matrix(row) for row in table]
        drawn, left_out = (_concordances(counts, of_rows) for counts in (resamples(n), 1 - np.eye(n)))
        lower, upper = bca_interval(w, drawn, left_out, 0.95)
    else:  # W is 1/m more than the mean rho of two of them, times (m - 1) / m
        lower, upper = (((m - 1) * end + 1) / m for end in fisher_interval((m * w - 1) / (m - 1), n, 0.95))
    sums = np.tile(ranks[0], (n_orders(n), 1))
    for which, row in enumerate(ranks[1:]):
        sums += row[random_orders(n, 1 + which, len(sums))]
    p = permutation_p_value((sums**2).sum(1), float((ranks.sum(0) ** 2).sum()), is_exact=False)
    return Concordance(n, m, w, lower, upper, p)


def _concordances(counts: np.ndarray, below: Sequence[np.ndarray]) -> np.ndarray:
    """W where model i occurs counts[., i] times; (m,). Squared rank sums over their maximum given the ties."""
    n = counts.sum(1, keepdims=True)
    ranks = np.stack([counts @ b.T - n / 2 for b in below], 1)
    between = np.einsum("mkn,mln,mn->m", ranks, ranks, counts, optimize=True)
    within = np.einsum("mkn,mn->m", ranks**2, counts)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(between / (len(below) * within))


# --- orders and shapes -----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class OrderTable:
    """The same models under several texts or tasks."""

    columns: tuple[str, ...]
    """Corpus ids, or keys of scores (`criteria.score_key`)."""
    run_ids: tuple[str, ...]
    """One run per model, which identifies it."""
    values: tuple[tuple[float | None, ...], ...]
    """By model, then by column."""
    concordance: Concordance
    """Over the models that have all values."""


@dataclass(frozen=True)
class VerdictAgreement:
    """Whether a claim has the same verdict for a model on all of its texts."""

    claim: str
    n_same: int
    n_models: int
    """Models with a decisive verdict on at least two texts."""
    n_undecided: int
    """Models on several texts with a decisive verdict on at most one."""
    lower: float | None
    upper: float | None
    """95 percent of the share of models that agree (Wilson)."""


def order_over_tasks(run_ids: Sequence[str], values: Mapping[str, Sequence[float | None]]) -> OrderTable | None:
    """The models' order by score on the tasks that most of them have; None below two tasks."""
    counts = {key: sum(value is not None for value in of_task) for key, of_task in values.items()}
    columns = _well_covered(counts)
    return _order_table(columns, run_ids, [values[key] for key in columns])


def _well_covered(counts: Mapping[str, int]) -> list[str]:
    """The texts or tasks with at least two models, and most of those that the best covered one has."""
    return [key for key, n in counts.items() if n >= LEAST_COVERAGE * max(counts.values()) and n > 1]


def order_over_texts(runs: pl.DataFrame) -> OrderTable | None:
    """The models' order by dimension on the texts that most of them were measured on; None below two texts or models.

    Within each text the models are comparable (`ranking.groups`); between texts only their order is compared.
    """
    by_group: dict[tuple[str, ...], dict[str, pl.DataFrame]] = {}
    for group in ranking.groups(ranking.newest_runs(runs)):  # largest first
        alike = tuple(value for key, value in group.shared.items() if key != "corpus_id")
        of_text = by_group.setdefault(alike, {})
        of_text.setdefault(group.shared["corpus_id"], group.rows.filter(pl.col("inner_max").is_not_null()))
    orders = [order for texts in by_group.values() if (order := _order_of_group(texts)) is not None]
    return max(orders, key=lambda order: len(order.run_ids) * len(order.columns), default=None)


def _order_of_group(texts: Mapping[str, pl.DataFrame]) -> OrderTable | None:
    covered = _well_covered({text: rows["model_id"].n_unique() for text, rows in texts.items()})
    if len(covered) < 2:
        return None
    runs = pl.concat([texts[text].select("model_id", "run_id", "inner_max", text=pl.lit(text)) for text in covered])
    table = runs.pivot("text", index="model_id", values="inner_max")
    first = {model: run for rows in texts.values() for model, run in rows.select("model_id", "run_id").rows()}
    return _order_table(
        covered, [first[model] for model in table["model_id"]], [table[text].to_list() for text in covered]
    )


def _order_table(
    columns: Sequence[str], run_ids: Sequence[str], values: Sequence[Sequence[float | None]]
) -> OrderTable | None:
    if len(columns) < 2 or len(run_ids) < 2:
        return None
    table = tuple(tuple(of_column[i] for of_column in values) for i in range(len(run_ids)))
    return OrderTable(tuple(columns), tuple(run_ids), table, concordance(values))


def verdict_agreements(runs: pl.DataFrame) -> list[VerdictAgreement]:
    """For each claim, how many models have the same verdict on all their texts; vetoed runs do not count."""
    newest = ranking.newest_runs(
        runs.filter(pl.col("pass") == "text", pl.col("worst_check").ne_missing(pl.lit("veto")))
    )
    agreements = []
    for claim in CLAIMS:
        verdicts = newest.group_by("model_id", "stack", "protocol_hash").agg(
            n_texts=pl.col("corpus_id").n_unique(), of_texts=pl.col(f"verdict_{claim}")
        )
        of_models = [
            [v for v in of_texts if v in VERDICTS and VERDICTS[v].is_decided]
            for n_texts, of_texts in verdicts.select("n_texts", "of_texts").rows()
            if n_texts > 1
        ]
        judged = [of_texts for of_texts in of_models if len(of_texts) > 1]
        is_same = np.array([len(set(of_texts)) == 1 for of_texts in judged], dtype=float)
        lower, upper = share_limits(is_same) if judged else (None, None)
        agreements.append(
            VerdictAgreement(claim, int(is_same.sum()), len(judged), len(of_models) - len(judged), lower, upper)
        )
    return agreements
