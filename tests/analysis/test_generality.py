"""One relation over tasks, orders over texts and tasks, verdicts over texts: against oracles and simulated truths."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import polars as pl
import pytest
from statsmodels.stats.meta_analysis import combine_effects

from core.analysis import generality
from core.analysis.decision import costs
from core.analysis.generality import agreements, order_of_texts, over_tasks, pool, tasks_of
from core.analysis.ranking import with_scores
from core.pilots.rule import Assumptions, Criterion


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


@pytest.mark.parametrize("seed", range(4))
def test_with_unrelated_errors_the_spread_is_that_of_dersimonian_and_laird(seed, monkeypatch):
    monkeypatch.setattr(generality, "_shared", lambda influence: 0.0)
    x, tasks = tied(seed, 24, [-0.9, -0.6, 0.0, 0.4, 0.8])
    found = pool(x, tasks)
    z, variance, _ = (
        np.array(part) for part in zip(*(generality._coefficient(x, y) for y in tasks.values()), strict=True)
    )
    oracle = combine_effects(z, variance, method_re="chi2", use_t=True)
    assert found.spread**2 == pytest.approx(oracle.tau2, rel=1e-9)
    weights = 1 / (variance + oracle.tau2)
    mean = (weights * z).sum() / weights.sum()
    # With unrelated errors a best linear prediction is the plain shrinkage of each coefficient towards the mean.
    for name, own, v in zip(tasks, z, variance, strict=True):
        keep = oracle.tau2 / (oracle.tau2 + v)
        assert math.atanh(found.tasks[name].rho) == pytest.approx(mean + keep * (own - mean), abs=1e-9)
    assert found.p_differ == pytest.approx(oracle.test_homogeneity().pvalue, rel=1e-6)


def test_tasks_of_the_same_models_are_no_new_evidence():
    """The same scores six times say as much as once; six unrelated sets of scores say more."""
    x, tasks = tied(1, 24, [-0.5])
    once = pool(x, tasks)
    again = pool(x, {f"copy {k}": tasks["task 0"] for k in range(6)})
    assert again.shared == 0.95 and again.rho == pytest.approx(once.rho) and again.spread == 0
    assert (again.upper - again.lower) == pytest.approx(once.upper - once.lower, rel=0.05)
    apart = pool(*tied(3, 24, [-0.5] * 6))
    assert apart.shared < 0.5 and (apart.upper - apart.lower) < 0.75 * (once.upper - once.lower)


@pytest.mark.parametrize("shared", [0.0, 0.8])
def test_the_pooled_interval_holds_the_truth(shared):
    """240 draws of 24 models and 5 tasks: the mean over these tasks lies within in 92 to 98.5 percent."""
    rhos = [-0.7, -0.5, -0.4, -0.3, 0.0]
    truth = math.tanh(np.mean([math.atanh(6 / math.pi * math.asin(rho / 2)) for rho in rhos]))
    held = [(one := pool(*tied(seed, 24, rhos, shared))).lower <= truth <= one.upper for seed in range(240)]
    assert 0.92 <= np.mean(held) <= 0.985


def test_few_tasks_are_told_apart_and_many_are_drawn_together():
    x, tasks = tied(5, 20, [-0.6, -0.5, -0.4, -0.6])
    few = pool(x, dict(list(tasks.items())[:3]))
    assert few.n_tasks == 3 and few.tasks == {} and few.spread is None and few.p_differ is not None
    many = pool(x, tasks)
    assert set(many.tasks) == set(tasks) and many.further_lower < many.rho < many.further_upper
    assert pool(x, {"one": tasks["task 0"]}).p_differ is None


def test_tasks_that_tell_nothing_do_not_count():
    x, tasks = tied(5, 12, [-0.6])
    gaps = [None] * 8 + list(tasks["task 0"][8:])
    assert pool(x, {"a": gaps, "b": [1.0] * 12}) is None
    assert pool(x, tasks | {"a": gaps, "b": [1.0] * 12}).n_tasks == 1
    perfect = pool(list(range(12)), {"up": list(range(12)), "down": [-v for v in range(12)]})
    assert perfect.rho == pytest.approx(0) and math.isfinite(perfect.lower)


# --- models x tasks, models x texts ------------------------------------------------------------------------------


def scores_of(runs: pl.DataFrame, **benchmarks: list[float | None]) -> pl.DataFrame:
    rows = [
        {
            "repository": reference, "revision": None, "benchmark": name, "metric": "acc", "filter": "none", "n_shot": 0,
            "suite": "s", "value": value, "std_error": 1.0, "unit": "percent", "higher_is_better": name != "loss",
            "n_samples": 500, "is_partial": False, "is_group": name == "mean", "source": "x", "licence": "own",
            "as_of": None, "flags": "", "file_sha256": "", "dtype": None, "chat_template": None, "name_in_source": reference,
        }
        for name, values in benchmarks.items()
        for reference, value in zip(runs["reference"], values, strict=True)
        if value is not None
    ]  # fmt: skip
    return pl.DataFrame(rows, infer_schema_length=None).with_columns(
        pl.col("revision", "as_of", "dtype").cast(pl.String)
    )


def runs_of(n: int, texts: tuple[str, ...] = ("a",), **columns) -> pl.DataFrame:
    rows = []
    for text in texts:
        for i in range(n):
            rows.append(
                {
                    "run_id": f"{text}-{i:02}", "model_id": f"m{i:02}@1", "reference": f"m{i:02}", "name": f"m{i:02}",
                    "repository": f"m{i:02}", "base_repository": None, "revision": "1", "requested_revision": None,
                    "family": "f", "kind": "decoder", "stack": "main", "tokenizer_hash": "t", "corpus_id": text,
                    "protocol_hash": "p", "pass": "text", "dtype": "float32", "worst_check": "pass", "n_points": 800,
                    "parameters": 1000 * (i + 1), "hidden_size": 8, "n_layers": 2, "bits_per_byte": 1.0,
                    "inner_max": 20.0 + i, "inner_max_lower": 19.0 + i, "inner_max_upper": 21.0 + i,
                    "final_dimension_pre_norm": 5.0, "verdict_rise": "robust", "verdict_fall": "robust",
                }
            )  # fmt: skip
    return (
        pl.DataFrame(rows)
        .with_columns(pl.col("base_repository", "requested_revision").cast(pl.String))
        .with_columns(**columns)
    )


NO_SPEEDS = pl.DataFrame(
    schema={"run_id": pl.String, "n_tokens": pl.Int64, "forward_seconds": pl.Float64, "device": pl.String}
)


def test_each_task_has_its_relation_and_its_choice_and_all_have_them_together():
    runs = runs_of(12)
    falling = [float(50 - i) for i in range(12)]
    scored = with_scores(
        runs,
        scores_of(
            runs,
            falls=falling,
            rises=falling[::-1],
            loss=[float(i) for i in range(12)],
            mean=falling,
            few=[1.0, 2.0] + [None] * 10,
        ),
    )
    asked = [generality.question(Criterion("score", weight=1.0, at_least=45.0), scored, tasks_of(scored)[0])]
    found = over_tasks(runs, scored, asked, costs(runs, NO_SPEEDS, Assumptions()), "general")
    by_name = {one.benchmark["benchmark"]: one for one in found.tasks}
    assert set(by_name) == {"falls", "rises", "loss", "few"}
    assert by_name["falls"].relation.answer == by_name["loss"].relation.answer == "related_as_registered"
    assert by_name["rises"].relation.answer == "related_other_way" and by_name["few"].relation.n == 2
    assert by_name["falls"].decision.chosen.name == by_name["loss"].decision.chosen.name == "m00"
    assert by_name["rises"].decision.chosen.name == "m11"
    assert found.pooled.n_tasks == 3 and found.pooled.rho < 0
    assert len(found.decision.weighed) == 4 and {one.share for one in found.decision.weighed} == {0.25}
    assert set(found.order.columns) == {f"score~{name}~acc~none~0~s" for name in ("falls", "rises", "loss")}
    assert found.order.concordance.w == pytest.approx(1 / 9)  # two of three orders cancel out


def test_the_order_over_texts_is_of_the_models_that_all_texts_have():
    runs = runs_of(6, ("a", "b", "c"))
    lone = runs.filter(~(pl.col("corpus_id").eq("c") & pl.col("model_id").ne("m00@1")))
    found = order_of_texts(runs)
    assert found.columns == ("a", "b", "c") and found.concordance.w == 1 and len(found.values) == 6
    assert found.values[1] == (21.0, 21.0, 21.0)
    assert order_of_texts(lone).columns == ("a", "b")
    assert order_of_texts(runs.filter(pl.col("corpus_id") == "a")) is None
    assert order_of_texts(runs.filter(pl.col("model_id") == "m00@1")) is None
    other = runs.with_columns(
        pl.when(pl.col("corpus_id") == "b").then(pl.lit("other")).otherwise("protocol_hash").alias("protocol_hash")
    )
    assert order_of_texts(other).columns == ("a", "c")


def test_a_shape_holds_where_all_texts_of_a_model_have_one_verdict():
    said = {("m00@1", "b"): "no", ("m01@1", "a"): "cannot_tell", ("m02@1", "b"): "depends"}
    runs = runs_of(6, ("a", "b"))
    verdicts = [said.get((m, c), "robust") for m, c in runs.select("model_id", "corpus_id").rows()]
    runs = runs.with_columns(verdict_rise=pl.Series(verdicts))
    rise, fall = agreements(runs)
    assert (rise.n_same, rise.n_models, rise.n_undecided) == (3, 5, 1) and rise.lower < 0.6 < rise.upper
    assert (fall.n_same, fall.n_models, fall.n_undecided) == (6, 6, 0)
    (lone, _) = agreements(runs.filter(pl.col("corpus_id") == "a"))
    assert lone == replace(lone, n_models=0, n_undecided=0, lower=None)
    vetoed = runs.with_columns(worst_check=pl.lit("veto"))
    assert [one.n_models for one in agreements(vetoed)] == [0, 0]
