"""Relations of a dimension to a score: against scipy, statsmodels and pingouin, what changes nothing, and bad input."""

import math

import numpy as np
import pandas as pd
import pingouin
import polars as pl
import pytest
from scipy import stats
from statsmodels.stats.descriptivestats import sign_test as their_sign_test
from statsmodels.stats.multitest import multipletests

from core.analysis import relation
from core.analysis.relation import (
    ANSWERS,
    adjusted,
    concordance,
    counted_once,
    detectable,
    kendall,
    permutation_p,
    relate,
    relate_recipes,
    reliability,
    search,
    sign_test,
    spearman,
    under_specifications,
)
from core.errors import InputError
from tests.bench import relations as bench


def units(n, rho=0.0, seed=0, **columns) -> pl.DataFrame:
    """n models whose log dimension and score have this correlation; further columns by name."""
    generator = np.random.default_rng(seed)
    x = generator.normal(size=n)
    y = rho * x + math.sqrt(1 - rho * rho) * generator.normal(size=n)
    frame = pl.DataFrame({"unit": [f"model-{i}" for i in range(n)], "dimension": 30 * np.exp(x), "performance": y})
    return frame.with_columns(**{name: pl.Series(values) for name, values in columns.items()})


def of(frame):
    return frame["dimension"].to_numpy(), frame["performance"].to_numpy()


# --- against other implementations -----------------------------------------------------------------------------


@pytest.mark.parametrize("digits", [6, 0], ids=["no ties", "ties"])
def test_coefficients_are_those_of_scipy(digits):
    generator = np.random.default_rng(1)
    x, y = generator.normal(size=(2, 20)).round(digits)
    assert spearman(x, y) == pytest.approx(stats.spearmanr(x, y).statistic)
    assert kendall(x, y)[0] == pytest.approx(stats.kendalltau(x, y).statistic)


def test_with_few_models_p_goes_through_every_order():
    x, y = of(units(6, seed=3))

    def rho(one):
        return stats.spearmanr(one, y).statistic

    theirs = stats.permutation_test((x,), rho, permutation_type="pairings", n_resamples=np.inf)
    assert permutation_p(x, y) == pytest.approx(theirs.pvalue, abs=1e-12)
    assert kendall(x, y)[1] == pytest.approx(stats.kendalltau(x, y, method="exact").pvalue)
    tied = np.round(x)
    theirs = stats.permutation_test(
        (tied,), lambda one: stats.kendalltau(one, y).statistic, permutation_type="pairings", n_resamples=np.inf
    )
    assert kendall(tied, y)[1] == pytest.approx(theirs.pvalue, abs=1e-12)


def test_with_many_models_p_is_near_that_of_student():
    x, y = of(units(60, rho=0.25, seed=4))
    assert permutation_p(x, y) == pytest.approx(stats.spearmanr(x, y).pvalue, abs=0.01)
    assert kendall(np.round(x, -1), y)[1] == pytest.approx(stats.kendalltau(np.round(x, -1), y).pvalue, abs=0.01)


def test_given_size_and_tokens_the_coefficient_is_that_of_pingouin_on_normal_scores():
    generator = np.random.default_rng(5)
    size, tokens = generator.normal(size=(2, 24))
    frame = units(24, seed=6, log_parameters=size, training_tokens=np.exp(tokens))
    frame = frame.with_columns(dimension=(pl.col("dimension").log() + pl.Series(size)).exp())
    found = relate(frame).partial
    table = frame.with_columns(pl.col("training_tokens").log()).to_pandas()
    for name in ("dimension", "performance"):
        table[name] = stats.norm.ppf((table[name].rank() - 3 / 8) / (24 + 1 / 4))
    theirs = pingouin.partial_corr(table, "dimension", "performance", covar=["log_parameters", "training_tokens"])
    assert found.rho == pytest.approx(float(theirs["r"].iloc[0]))
    assert found.p == pytest.approx(float(theirs[next(c for c in theirs if c.startswith("p"))].iloc[0]), abs=0.02)
    lower, upper = theirs[next(c for c in theirs if c.startswith("CI"))].iloc[0]
    assert lower - 0.05 < found.lower < lower < found.rho < upper < found.upper < upper + 0.05
    assert (found.given, found.n, found.reason) == (("log_parameters", "training_tokens"), 24, None)


@pytest.mark.parametrize(("ours", "theirs"), [("holm", "holm"), ("bh", "fdr_bh")])
def test_many_p_values_are_corrected_as_by_statsmodels(ours, theirs):
    p = [0.04, 0.001, 0.2, 0.012, 0.8, 0.012]
    assert adjusted(p, ours) == pytest.approx(list(multipletests(p, method=theirs)[1]))
    assert adjusted([None, 0.03, None], ours) == [None, 0.03, None]
    assert adjusted([], ours) == []


def test_the_sign_test_is_that_of_statsmodels():
    differences = [0.3, 0.1, 0.2, -0.1, 0.5, 0.2, 0.0, 0.4, 0.6]
    found = sign_test([*differences, None, math.nan])
    assert (found.positive, found.negative, found.zero) == (7, 1, 1)
    assert found.p == pytest.approx(their_sign_test(np.array(differences))[1])
    assert sign_test([1.0] * 6).p == pytest.approx(0.03125)
    assert sign_test([0.0, None]).p is None


def test_agreement_of_orders_is_kendalls_w():
    """W and the mean of the pairwise rho say the same: rho = (m W - 1) / (m - 1)."""
    generator = np.random.default_rng(7)
    base = generator.normal(size=12)
    orders = {f"text {k}": base + 0.8 * generator.normal(size=12) for k in range(4)}
    table = np.array(list(orders.values()))
    mean_rho = np.mean([stats.spearmanr(table[a], table[b]).statistic for a in range(4) for b in range(a)])
    found = concordance(orders)
    assert found.w == pytest.approx((3 * mean_rho + 1) / 4)
    friedman = stats.friedmanchisquare(*table.T)
    assert found.w == pytest.approx(friedman.statistic / (4 * 11))
    tied = {name: np.round(values) for name, values in orders.items()}
    assert concordance(tied).w == pytest.approx(
        stats.friedmanchisquare(*np.array(list(tied.values())).T).statistic / (4 * 11)
    )
    assert found.lower < found.w < found.upper
    assert found.p < 0.01
    assert concordance({f"text {k}": generator.normal(size=12) for k in range(4)}).p > 0.05


# --- the four answers ------------------------------------------------------------------------------------------


def test_the_four_answers():
    strong = units(20, rho=-0.85)
    assert relate(strong).answer == "related_as_registered"
    assert relate(strong, sign="positive").answer == "related_other_way"
    weak = relate(units(14, rho=0.3, seed=2))
    assert (weak.answer, weak.reasons) == ("cannot_tell", ("interval_too_wide",))
    assert relate(units(200, seed=1)).answer == "not_related"
    assert {relate(units(n, rho=r, seed=n)).answer for n in (12, 40, 120) for r in (0, 0.8)} <= set(ANSWERS)


def test_below_ten_models_nothing_is_related_and_below_five_there_is_no_coefficient():
    few = relate(pl.DataFrame({"unit": list("abcdefg"), "dimension": range(1, 8), "performance": range(7)}))
    assert (few.stage, few.answer, few.reasons) == ("exploratory", "cannot_tell", ("stage",))
    assert few.rho == 1
    assert few.p == pytest.approx(2 / math.factorial(7))
    assert few.lower < 0.95, "a perfect order of seven is no proof of a perfect relation"
    picture = relate(units(4))
    assert (picture.stage, picture.answer, picture.reasons) == ("picture", "cannot_tell", ("too_few",))
    assert (picture.rho, picture.p, picture.lower, picture.detectable, picture.without_one) == (None,) * 5


def test_what_as_many_models_could_show():
    """Near the powers that were simulated: .80 at n = 10, .75 at 12, about .5 at 30."""
    assert [round(detectable(n), 2) for n in (10, 12, 30)] == [0.80, 0.75, 0.50]
    assert detectable(4) is None
    hits = []
    for seed in range(300):
        generator = np.random.default_rng(seed)
        of_normal = 2 * math.sin(math.pi / 6 * detectable(16))
        x, e = generator.normal(size=(2, 16))
        hits.append(permutation_p(x, of_normal * x + math.sqrt(1 - of_normal**2) * e) <= 0.05)
    assert 0.72 <= np.mean(hits) <= 0.88


def test_increasing_changes_and_the_order_of_rows_change_nothing():
    frame = units(15, rho=0.5, seed=8, family=[f"f{i % 3}" for i in range(15)])
    found = relate(frame)
    bent = frame.with_columns(dimension=pl.col("dimension") ** 3, performance=pl.col("performance").exp())
    assert relate(bent) == found
    turned = relate(frame.with_columns(performance=-pl.col("performance")))
    assert turned.rho == pytest.approx(-found.rho)
    assert turned.p == pytest.approx(found.p)
    assert relate(frame.sample(fraction=1, shuffle=True, seed=1)) == found
    assert relate(frame, seed=5).p == pytest.approx(found.p, abs=0.015)


# --- errors, leaving out, strata, replicates -------------------------------------------------------------------


def test_errors_of_measurement_are_carried_and_not_counted_twice():
    """Of true values with a correlation of .9, errors as large as their spread take away about half."""
    generator = np.random.default_rng(9)
    true = generator.normal(size=200)
    x = true + 0.7 * generator.normal(size=200)
    frame = pl.DataFrame(
        {
            "unit": [str(i) for i in range(200)],
            "dimension": np.exp(x),
            "dimension_error": [0.7] * 200,
            "performance": 0.9 * true + math.sqrt(1 - 0.81) * generator.normal(size=200),
        }
    )
    found = relate(frame, sign="positive")
    assert found.error_lower < found.rho < found.error_upper
    whole = relate(frame.with_columns(dimension=pl.Series(np.exp(true)))).rho
    assert found.rho < found.without_error < whole + 0.05
    assert abs(found.without_error - whole) < abs(found.rho - whole)
    assert relate(frame.drop("dimension_error")).error_lower is None
    unknown = frame.with_columns(dimension_error=pl.lit(math.inf), performance_error=pl.lit(-1.0))
    assert relate(unknown).error_lower is None


def test_the_model_that_carries_a_relation_is_named():
    frame = units(11, seed=21)
    far = pl.DataFrame({"unit": ["far"], "dimension": [1e6], "performance": [1e6]})
    found = relate(pl.concat([frame, far]))
    rho = {
        name: stats.spearmanr(*of(pl.concat([frame, far]).filter(pl.col("unit") != name))).statistic
        for name in [*frame["unit"], "far"]
    }
    assert found.without_one.lowest == pytest.approx(min(rho.values()))
    assert found.without_one.highest == pytest.approx(max(rho.values()))
    assert found.without_one.moves_most == max(rho, key=lambda name: abs(rho[name] - found.rho))
    related = relate(units(40, rho=0.9, seed=1))
    assert not related.without_one.changes


def test_a_relation_that_one_family_makes_falls_without_it():
    """Two families, each without a relation, one above the other in both: pooled it is related, within it is not."""
    generator = np.random.default_rng(11)
    low, high = generator.normal(size=(2, 10)), generator.normal(size=(2, 10)) + 6
    both = np.concatenate([low, high], 1)
    frame = pl.DataFrame(
        {
            "unit": [str(i) for i in range(20)],
            "dimension": np.exp(both[0]),
            "performance": both[1],
            "family": ["small"] * 10 + ["large"] * 10,
        }
    )
    found = relate(frame, sign="positive")
    assert found.answer == "related_as_registered"
    assert found.without_family.changes
    assert (found.strata.n, found.strata.n_strata) == (20, 2)
    assert found.strata.p > 0.05
    assert found.strata.rho == pytest.approx(
        np.mean([stats.spearmanr(*of(part)).statistic for part in frame.partition_by("family")])
    )


def test_within_strata_the_test_is_a_permutation_within_them():
    frame = units(12, rho=0.8, seed=12, family=["a"] * 6 + ["b"] * 6)
    found = relate(frame).strata
    parts = [of(part) for part in frame.partition_by("family")]
    draw = np.random.default_rng(0)
    observed = sum(stats.spearmanr(*part).statistic for part in parts)
    null = [sum(spearman(x, draw.permutation(y)) for x, y in parts) for _ in range(2000)]
    assert found.p == pytest.approx(np.mean(np.abs(null) >= observed - 1e-9), abs=0.02)
    sizes = frame.with_columns(log_parameters=pl.Series(np.log([1, 1.9, 1, 4, 4, 7] * 2)))
    assert relate(sizes).strata.n_strata == 4


def test_replicates_do_not_make_an_answer():
    """Twelve runs of one recipe at one end make a relation that eight recipes do not have."""
    generator = np.random.default_rng(13)
    recipes = pl.DataFrame(
        {"unit": [f"r{i}" for i in range(9)], "dimension": np.exp(generator.normal(size=9)), "performance": range(9)}
    ).with_columns(recipe=pl.lit(None, pl.String), performance=pl.col("performance").cast(pl.Float64))
    again = pl.DataFrame(
        {
            "unit": [f"again{i}" for i in range(12)],
            "dimension": 20 + generator.normal(size=12),
            "performance": 20 + generator.normal(size=12),
            "recipe": ["base"] * 12,
        }
    )
    both = pl.concat([recipes, again.select(recipes.columns)])
    assert relate(both, "positive").answer == "related_as_registered"
    found = relate_recipes(both, "positive")
    assert (found.answer, found.reasons, found.once.n) == ("cannot_tell", ("replicates",), 10)
    assert relate_recipes(recipes, "positive").once is None
    clear = units(30, rho=0.9, recipe=[f"r{i // 2}" for i in range(30)])
    assert (relate_recipes(clear, "positive").answer, relate_recipes(clear).once.n) == ("related_as_registered", 15)


def test_a_recipe_counts_by_the_means_of_its_measured_runs():
    frame = pl.DataFrame(
        {
            "unit": ["a", "b", "c", "d"],
            "recipe": ["x", "x", "x", None],
            "dimension": [10.0, 20.0, 99.0, 5.0],
            "dimension_error": [0.3, 0.4, 0.1, None],
            "performance": [1.0, 3.0, None, 7.0],
        }
    )
    found = counted_once(frame)
    assert found["unit"].to_list() == ["x", "d"]
    assert found["dimension"].to_list() == [15, 5]
    assert found["performance"].to_list() == [2, 7]
    assert found["dimension_error"].to_list() == [pytest.approx(0.25), None]


# --- many at once ----------------------------------------------------------------------------------------------


def test_a_search_is_tested_by_its_maximum():
    """Of 30 layers without a relation, the largest coefficient is told from chance in about 5 percent."""
    hits = 0
    for seed in range(120):
        generator = np.random.default_rng(seed)
        shared = generator.normal(size=12)
        layers = {f"layer {k}": shared + generator.normal(size=12) for k in range(30)}
        found = search(layers, generator.normal(size=12))
        hits += found.p <= 0.05
    assert hits / 120 <= 0.10
    y = np.arange(16.0)
    noise = np.random.default_rng(0).normal(size=(5, 16))
    layers = {f"layer {k}": row for k, row in enumerate(noise)} | {"related": -y, "flat": np.ones(16)}
    found = search(layers, y)
    assert (found.best, found.rho[5], found.rho[6], found.adjusted_p[6]) == ("related", -1, None, None)
    assert found.p == pytest.approx(1 / 10_000)
    gaps = search(layers | {"gaps": [None, math.nan, *y[2:]]}, [*y[:-1], None])
    assert (gaps.n, gaps.rho[7]) == (15, 1)


def test_a_relation_under_every_specification():
    frames = {f"s{k}": units(20, rho=-0.85, seed=k) for k in range(9)} | {f"n{k}": units(6, seed=k) for k in range(3)}
    found = under_specifications(frames, "s0")
    assert (found.answer, found.holds, len(found.relations)) == ("related_as_registered", 9, 12)
    assert found.counts == {"related_as_registered": 9, "related_other_way": 0, "not_related": 0, "cannot_tell": 3}
    with pytest.raises(InputError, match="s9"):
        under_specifications(frames, "s9")


# --- bad input -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"performance": pl.lit(None)}, "no_scores"),
        ({"dimension": pl.lit(None)}, "no_dimensions"),
        ({"performance": pl.lit(0.7)}, "one_value"),
        ({"dimension": pl.lit(30.0)}, "one_value"),
        ({"performance": pl.lit(math.nan)}, "no_scores"),
        ({"dimension": pl.lit(math.inf)}, "no_dimensions"),
    ],
)
def test_what_cannot_be_told_has_its_reason_and_no_number(change, reason):
    found = relate(units(12).with_columns(**change))
    assert (found.answer, found.reasons, found.rho, found.p) == ("cannot_tell", (reason,), None, None)


def test_units_that_miss_something_are_left_out_and_named():
    frame = units(13).with_columns(
        dimension=pl.when(pl.col("unit") == "model-3").then(None).otherwise("dimension"),
        performance=pl.when(pl.col("unit") == "model-5").then(math.nan).otherwise("performance"),
    )
    found = relate(frame)
    assert (found.n, found.without_dimension, found.without_performance) == (11, ("model-3",), ("model-5",))
    assert found.rho == pytest.approx(spearman(*of(frame.filter(~pl.col("unit").is_in(["model-3", "model-5"])))))


def test_one_model_no_model_and_nothing_known_of_them():
    assert relate(units(1)).reasons == ("too_few",)
    empty = relate(units(1).clear())
    assert (empty.n, empty.answer, empty.reasons) == (0, "cannot_tell", ("too_few",))
    bare = relate(units(12))
    assert (bare.partial.reason, bare.strata.reason, bare.without_family) == (
        "parameters_unknown",
        "families_unknown",
        None,
    )
    one_size = relate(units(12, log_parameters=[18.0] * 12, family=["ladder"] * 12))
    assert (one_size.partial.reason, one_size.strata.reason) == ("one_size", "one_stratum")
    some = relate(units(12, log_parameters=[18.0, 19.0] + [None] * 10))
    assert (some.partial.reason, some.partial.n) == ("too_few", 2)


def test_a_family_of_two_is_no_family_to_test_in():
    found = relate(units(12, family=["a", "a"] + [None] * 10))
    assert (found.strata.reason, found.strata.n, found.without_family) == ("too_few", 2, None)


@pytest.mark.parametrize(
    ("frame", "arguments", "message"),
    [
        (units(12).drop("performance"), {}, "performance"),
        (pl.concat([units(5), units(5)]), {}, "model-0"),
        (units(12), {"sign": "up"}, "up"),
        (units(12), {"margin": 1.5}, "1.5"),
    ],
)
def test_a_request_that_cannot_be_met_is_refused(frame, arguments, message):
    with pytest.raises(InputError, match=message):
        relate(frame, **arguments)


def test_with_hundreds_of_models_closed_forms_agree_with_resampling(monkeypatch):
    frame = units(250, rho=0.3, seed=14, log_parameters=np.random.default_rng(0).normal(size=250))
    resampled = relate(frame)
    monkeypatch.setattr(relation, "LARGEST_RESAMPLED", 100)
    closed = relate(frame)
    for name in ("lower", "upper", "p"):
        assert getattr(closed, name) == pytest.approx(getattr(resampled, name), abs=0.03)
        assert getattr(closed.partial, name) == pytest.approx(getattr(resampled.partial, name), abs=0.03)
    assert isinstance(frame.to_pandas(), pd.DataFrame)


# --- how often it is right: the small form of tests/bench/relations.py -----------------------------------------


@pytest.mark.parametrize("case", [bench.Case(0.0), bench.Case(0.7), bench.Case(0.6, "ties")], ids=str)
@pytest.mark.parametrize("n", bench.SIZES)
def test_intervals_hold_the_truth_and_unrelated_models_are_seldom_related(case, n):
    found = bench.told(case, n, 200)
    assert 0.90 <= found.held <= 0.995
    if case.r == 0:
        assert found.related <= 0.095


def test_a_relation_as_strong_as_the_margin_is_seldom_called_none_and_no_relation_is_from_32_models_on():
    assert relation.enough() == 32
    assert bench.told(bench.Case(0.5176), 30, 200).not_related <= 0.095
    assert bench.told(bench.Case(0.0), 32, 200).not_related >= 0.72


@pytest.mark.parametrize("name", bench.NULLS)
def test_other_tests_find_nothing_where_nothing_is(name):
    assert bench.false_positives(name, 18, 100) <= 0.12


def test_scores_that_are_permuted_are_not_related():
    generator = np.random.default_rng(24)
    frame = bench.ladder(generator)
    words = []
    for _ in range(100):
        scores = generator.permutation(frame["performance"].to_numpy())
        words.append(relation.judge(frame["dimension"].to_numpy(), scores).answer)
    assert sum(word in ("not_related", "cannot_tell") for word in words) >= 90


def test_the_interval_of_an_agreement_holds_the_truth():
    assert bench.agreement(18, 3, 0.9, 200) >= 0.90


def test_the_share_of_variance_between_recipes():
    assert bench.reliable(0.6, 100) >= 0.90
    frame = bench.ladder(np.random.default_rng(1))
    dimension, performance = reliability(frame)
    for found in (dimension, performance):
        assert 0 <= found.lower < found.value < found.upper <= 1
        assert (found.n_recipes, found.n_again) == (18, 6)
    runs = frame.with_columns(pl.col("dimension").log())
    balanced = runs.filter(pl.col("recipe") == "recipe 0").with_columns(
        recipe=pl.Series(["a", "b", "c", "a", "b", "c", None]), dimension=pl.col("dimension").exp()
    )
    pairs = balanced.filter(pl.col("recipe").is_not_null())
    theirs = pingouin.intraclass_corr(
        pairs.with_columns(pl.col("dimension").log(), rater=pl.Series([0, 0, 0, 1, 1, 1])).to_pandas(),
        targets="recipe",
        raters="rater",
        ratings="dimension",
    ).iloc[0]
    found = reliability(pairs)[0]
    assert found.value == pytest.approx(max(0.0, theirs["ICC"]), abs=1e-6)
    assert reliability(frame.filter(pl.col("recipe") != "recipe 0")) == (None, None)


def test_size_and_tokens_that_say_the_same_are_given_once():
    size = np.random.default_rng(2).normal(size=14)
    frame = units(14, rho=0.5, log_parameters=size, training_tokens=20 * np.exp(size))
    found = relate(frame).partial
    assert found.given == ("log_parameters",)
    assert found.lower < found.rho < found.upper
    two = frame.with_columns(dimension=pl.Series([1.0, 2.0] * 7), log_parameters=pl.Series([18.0, 19.0] * 7))
    assert (relate(two).partial.reason, relate(two).partial.rho) == ("one_value", None)
