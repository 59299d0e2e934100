"""One relation over tasks, orders over texts and tasks, verdicts over texts: against oracles and simulated truths."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import polars as pl
import pytest
from scipy import stats
from statsmodels.stats.meta_analysis import combine_effects

from core.analysis.criteria import choice_context, resolve_criteria
from core.pilots.saved import Assumptions, Criterion
from core.questions import generality
from core.questions.generality import (
    choose_tasks,
    compare_over_tasks,
    concordance,
    order_over_texts,
    pool_tasks,
    verdict_agreements,
)
from core.questions.ranking_answer import answer_question
from core.questions.ranking_question import RankingQuestion, Registration, select_population
from core.wording import answers as answer_wording
from tests import frames
from tests.answers import evidence, models, pilot, scores
from tests.bench import relations as bench


def tied(seed: int, n: int, rhos: list[float], shared: float = 0.0) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """A dimension and the performance on several tasks, of known correlation; `shared` is how much of the noise of the
    tasks is the models' own."""
    draw = np.random.default_rng(seed)
    x, own = draw.standard_normal((2, n))
    tasks = {}
    for k, rho in enumerate(rhos):
        noise = math.sqrt(shared) * own + math.sqrt(1 - shared) * draw.standard_normal(n)
        tasks[f"task {k}"] = rho * x + math.sqrt(1 - rho * rho) * noise
    return x, tasks


@pytest.mark.parametrize("spread", [0.0, 0.3, 1.0])
def test_with_unrelated_errors_and_one_spread_it_is_plain_shrinkage(spread, monkeypatch):
    monkeypatch.setattr(generality, "_mean_error_correlation", lambda influence: 0.0)
    monkeypatch.setattr(generality, "SPREADS", np.array([spread]))
    x, tasks = tied(1, 24, [-0.9, -0.6, 0.0, 0.4, 0.8])
    found = pool_tasks(x, tasks)
    z, errors, _ = (
        np.array(part) for part in zip(*(generality._z_and_influence(x, y) for y in tasks.values()), strict=True)
    )
    variance = errors**2
    weights = 1 / (variance + spread**2)
    mean = (weights * z).sum() / weights.sum()
    for name, own, v in zip(tasks, z, variance, strict=True):
        keep = spread**2 / (spread**2 + v)
        assert math.atanh(found.tasks[name].rho) == pytest.approx(mean + keep * (own - mean), abs=1e-9)
        error = math.sqrt(keep * v + (1 - keep) ** 2 / weights.sum())
        assert math.atanh(found.tasks[name].upper) - math.atanh(found.tasks[name].rho) == pytest.approx(
            1.96 * error, rel=1e-4
        )
    further = math.sqrt(spread**2 + 1 / weights.sum())
    assert math.atanh(found.further_upper) == pytest.approx(mean + 1.96 * further, rel=1e-4)
    oracle = combine_effects(z, variance)
    assert found.p_differ == pytest.approx(oracle.test_homogeneity().pvalue, rel=1e-6)


def test_tasks_that_differ_are_drawn_together_less():
    alike, apart = (pool_tasks(*tied(7, 40, rhos)) for rhos in ([-0.4] * 6, [-0.9, -0.6, -0.3, 0.3, 0.6, 0.9]))
    assert alike.spread < 0.25 < 0.5 < apart.spread and alike.p_differ > 0.05 > apart.p_differ
    assert max(one.rho for one in alike.tasks.values()) - min(one.rho for one in alike.tasks.values()) < 0.25
    assert apart.tasks["task 5"].rho > 0.7 and apart.further_upper > 0.8


def test_tasks_of_the_same_models_are_no_new_evidence():
    """The same scores six times say as much as once; six unrelated sets of scores say more."""
    x, tasks = tied(1, 24, [-0.5])
    once = pool_tasks(x, tasks)
    again = pool_tasks(x, {f"copy {k}": tasks["task 0"] for k in range(6)})
    assert again.error_correlation == 0.95 and again.rho == pytest.approx(once.rho) and again.p_differ > 0.99
    assert (again.upper - again.lower) == pytest.approx(once.upper - once.lower, rel=0.05)
    apart = pool_tasks(*tied(3, 24, [-0.5] * 6))
    assert apart.error_correlation < 0.5 and (apart.upper - apart.lower) < 0.75 * (once.upper - once.lower)


@pytest.mark.parametrize("shared", [0.0, 0.8])
def test_the_intervals_hold_the_truth(shared):
    """120 draws of 24 models and 5 tasks: the mean over these tasks lies within in 90 to 99.5 percent, each of them drawn
    towards the others in at least 90."""
    rhos = [-0.7, -0.5, -0.4, -0.3, 0.0]
    true = [6 / math.pi * math.asin(rho / 2) for rho in rhos]
    mean = math.tanh(np.mean(np.arctanh(true)))
    found = [pool_tasks(*tied(seed, 24, rhos, shared)) for seed in range(120)]
    assert 0.90 <= np.mean([one.lower <= mean <= one.upper for one in found]) <= 0.995
    each = [t.lower <= rho <= t.upper for one in found for t, rho in zip(one.tasks.values(), true, strict=True)]
    assert 0.90 <= np.mean(each) <= 0.995


def test_few_tasks_are_told_apart_and_many_are_drawn_together():
    x, tasks = tied(5, 20, [-0.6, -0.5, -0.4, -0.6])
    few = pool_tasks(x, dict(list(tasks.items())[:3]))
    assert few.n_tasks == 3 and few.tasks == {} and few.spread is None and few.p_differ is not None
    many = pool_tasks(x, tasks)
    assert set(many.tasks) == set(tasks) and many.further_lower < many.rho < many.further_upper
    assert pool_tasks(x, {"one": tasks["task 0"]}).p_differ is None


def test_tasks_that_tell_nothing_do_not_count():
    x, tasks = tied(5, 12, [-0.6])
    gaps = [None] * 8 + list(tasks["task 0"][8:])
    assert pool_tasks(x, {"a": gaps, "b": [1.0] * 12}) is None
    assert pool_tasks(x, tasks | {"a": gaps, "b": [1.0] * 12}).n_tasks == 1
    perfect = pool_tasks(list(range(12)), {"up": list(range(12)), "down": [-v for v in range(12)]})
    assert perfect.rho == pytest.approx(0) and math.isfinite(perfect.lower)


# --- models x tasks, models x texts ------------------------------------------------------------------------------

NO_SPEEDS = pl.DataFrame(
    schema={"run_id": pl.String, "n_tokens": pl.Int64, "forward_seconds": pl.Float64, "device": pl.String}
)
FALLING = [float(50 - at) for at in range(12)]
REGISTERED = Registration("pilot", "negative")


def asked_of(**benchmarks: list[float | None]):
    """The answers of each of these benchmarks over twelve models, and the setting of a choice among them."""
    fields = {"mean": {"is_group": True}, "loss": {"higher_is_better": False}}
    known = pl.concat([scores(values, benchmark=name, **fields.get(name, {})) for name, values in benchmarks.items()])
    evidence_ = evidence(models(12), known)
    first = select_population(evidence_)
    on = choice_context(first.group.rows, known, NO_SPEEDS, Assumptions())
    return [
        answer_question(select_population(evidence_, RankingQuestion().with_score(row)))
        for row in choose_tasks(on.benchmarks)
    ], on


def test_each_task_has_its_relation_and_its_choice_and_all_have_them_together():
    told, on = asked_of(
        falls=FALLING, rises=FALLING[::-1], loss=[float(at) for at in range(12)], mean=FALLING, few=[1.0, 2.0]
    )
    criterion = Criterion("score", weight=1.0, at_least=45.0)
    found = compare_over_tasks(told, on, resolve_criteria([criterion], on, None), "general")
    by_name = {one.benchmark["benchmark"]: one for one in found.tasks}
    assert set(by_name) == {"falls", "rises", "loss", "few"}, "a mean over benchmarks is no task"
    assert {by_name[name].answer.word for name in ("falls", "loss", "rises")} == {"hint"}
    assert by_name["few"].answer.relation.n == 2
    assert by_name["falls"].decision.chosen.name == by_name["loss"].decision.chosen.name == "m00"
    assert by_name["rises"].decision.chosen.name == "m11"
    assert found.pooled.n_tasks == 3 and found.pooled.rho < 0
    for name in ("falls", "rises", "loss"):
        relation = by_name[name].answer.relation
        assert relation.p <= by_name[name].p == relation.corrected_p <= 0.05
        assert relation.n_looks == 2 * 4, "two dimensions in which they differ, four scores that can be tested"
    assert by_name["few"].p is None, "below five models there is no test to correct"
    assert len(found.decision.criteria) == 4 and {one.share for one in found.decision.criteria} == {0.25}
    assert [key.split("~")[1] for key in found.order.columns] == ["falls", "loss", "rises"]
    assert found.order.concordance.w == pytest.approx(1 / 9)  # two of three orders cancel out


def test_over_all_tasks_a_recipe_that_was_trained_again_counts_once():
    told, on = asked_of(falls=FALLING, rises=FALLING[::-1])
    again = tuple(f"hub:m{at:02d}" for at in range(4))
    pilot_ = Registration("pilot", "negative", pilot=pilot(12, replicates=(again,)))
    of_recipes = [replace(one, population=replace(one.population, registration=pilot_)) for one in told]
    criteria = resolve_criteria([Criterion("score")], on, None)
    every, once = (compare_over_tasks(answers, on, criteria, "general") for answers in (told, of_recipes))
    assert (every.n_recipes, once.n_recipes) == (None, 9) and once.pooled.n_tasks == every.pooled.n_tasks == 2
    width, narrower = (found.pooled.upper - found.pooled.lower for found in (once, every))
    assert width > narrower, "nine recipes say less than twelve runs"
    assert "Each of the 9 recipes counts once." in " ".join(answer_wording.pooled_relation_lines(once))
    assert "recipe" not in " ".join(answer_wording.pooled_relation_lines(every))


def test_the_registered_task_keeps_its_own_p():
    told, on = asked_of(tickets=FALLING, other=FALLING[::-1])
    registered = replace(told[0], population=replace(told[0].population, registration=REGISTERED))
    found = compare_over_tasks([registered, told[1]], on, resolve_criteria([Criterion("score")], on, None), "general")
    assert [one.p for one in found.tasks] == [one.answer.relation.p for one in found.tasks]


def test_criteria_without_a_score_choose_alike_by_every_task_and_the_dimension_alone_chooses_nothing():
    told, on = asked_of(falls=FALLING)
    size, dimension = Criterion("parameters", weight=1.0), Criterion("dimension", weight=1.0)
    one = compare_over_tasks(told, on, resolve_criteria([size, dimension], on, None), "general")
    assert one.decision is None and one.tasks[0].decision.criteria[1].share == 0.5
    assert compare_over_tasks(told, on, resolve_criteria([dimension], on, None), "general").tasks[0].decision is None


def on_texts(*texts: str, **changes) -> pl.DataFrame:
    return frames.runs(*(replace(one, corpus=text, **changes) for text in texts for one in models(6, rise="holds")))


def test_the_order_over_texts_is_of_the_models_that_all_texts_have():
    runs = on_texts("a", "b", "c")
    is_c = pl.col("corpus_name") == "c"
    found = order_over_texts(runs)
    assert len(found.columns) == 3 and found.concordance.w == 1 and len(found.values) == 6
    assert found.values[1] == (52.0, 52.0, 52.0)
    turned = runs.with_columns(inner_max=pl.when(is_c).then(-pl.col("inner_max")).otherwise("inner_max"))
    assert order_over_texts(turned).concordance.w == pytest.approx(1 / 9)
    lone = runs.filter(~is_c | (pl.col("name") == "m00"))
    assert len(order_over_texts(lone).columns) == 2
    assert order_over_texts(runs.filter(is_c)) is None
    assert order_over_texts(runs.filter(pl.col("name") == "m00")) is None
    other = pl.concat([on_texts("a", "c"), on_texts("b", protocol_hash="another")])
    assert [key[0] for key in order_over_texts(other).columns] == ["a", "c"]


def test_a_shape_holds_where_all_texts_of_a_model_have_one_verdict():
    said = {("m00", "b"): "fails", ("m01", "a"): "unclear", ("m02", "b"): "depends"}
    runs = on_texts("a", "b", fall="holds")
    verdicts = [said.get(key, "holds") for key in runs.select("name", "corpus_name").rows()]
    runs = runs.with_columns(verdict_rise=pl.Series(verdicts))
    rise, fall = verdict_agreements(runs)
    assert (rise.n_same, rise.n_models, rise.n_undecided) == (3, 5, 1) and rise.lower < 0.6 < rise.upper
    assert (fall.n_same, fall.n_models, fall.n_undecided) == (6, 6, 0)
    lone, _ = verdict_agreements(runs.filter(pl.col("corpus_name") == "a"))
    assert lone == replace(lone, n_models=0, n_undecided=0, lower=None)
    vetoed = runs.with_columns(worst_check=pl.lit("veto"))
    assert [one.n_models for one in verdict_agreements(vetoed)] == [0, 0]


# --- Kendall's W: against scipy, and the coverage of its interval ------------------------------------------------


def test_agreement_of_orders_is_kendalls_w():
    """W and the mean of the pairwise rho say the same: rho = (m W - 1) / (m - 1)."""
    generator = np.random.default_rng(7)
    base = generator.normal(size=12)
    orders = [base + 0.8 * generator.normal(size=12) for _ in range(4)]
    table = np.array(orders)
    mean_rho = np.mean([stats.spearmanr(table[a], table[b]).statistic for a in range(4) for b in range(a)])
    found = concordance(orders)
    assert found.w == pytest.approx((3 * mean_rho + 1) / 4)
    friedman = stats.friedmanchisquare(*table.T)
    assert found.w == pytest.approx(friedman.statistic / (4 * 11))
    tied = [np.round(values) for values in orders]
    assert concordance(tied).w == pytest.approx(stats.friedmanchisquare(*np.array(tied).T).statistic / (4 * 11))
    assert found.lower < found.w < found.upper
    assert found.p < 0.01
    assert concordance([generator.normal(size=12) for _ in range(4)]).p > 0.05


def test_the_interval_of_an_agreement_holds_the_truth():
    assert bench.agreement(18, 3, 0.9, 200) >= 0.90
