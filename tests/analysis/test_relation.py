"""Relations of a dimension to a score: the four answers, what changes nothing, what is left out, and bad input."""

import math

import numpy as np
import polars as pl
import pytest
from scipy import stats

from core.analysis.relation import detectable_rho, fewest_for_unrelated, relate, relate_specifications
from core.analysis.resampling import spearman, spearman_p_value
from core.analysis.units import average_recipes
from tests.bench import relations as bench
from tests.frames import of_units as of
from tests.frames import units

# --- the four answers ------------------------------------------------------------------------------------------


def test_the_four_answers():
    strong = units(20, rho=-0.85)
    assert relate(strong).answer == "related_as_registered"
    assert relate(strong, sign="positive").answer == "related_other_way"
    weak = relate(units(14, rho=0.3, seed=2))
    assert (weak.answer, weak.reasons) == ("cannot_tell", ("interval_too_wide",))
    assert relate(units(200, seed=1)).answer == "not_related"


def test_below_ten_models_nothing_is_related_and_below_five_there_is_no_coefficient():
    few = relate(pl.DataFrame({"unit": list("abcdefg"), "dimension": range(1, 8), "performance": range(7)}))
    assert (few.answer, few.reasons) == ("cannot_tell", ("stage",))
    assert few.rho == 1
    assert few.p == pytest.approx(2 / math.factorial(7))
    assert few.lower < 0.95, "a perfect order of seven is no proof of a perfect relation"
    picture = relate(units(4))
    assert (picture.answer, picture.reasons) == ("cannot_tell", ("too_few",))
    assert (picture.rho, picture.p, picture.lower, picture.detectable, picture.without_one) == (None,) * 5


def test_what_as_many_models_could_show():
    """Near the powers that were simulated: .80 at n = 10, .75 at 12, about .5 at 30."""
    assert [round(detectable_rho(n), 2) for n in (10, 12, 30)] == [0.80, 0.75, 0.50]
    hits = []
    for seed in range(300):
        generator = np.random.default_rng(seed)
        of_normal = 2 * math.sin(math.pi / 6 * detectable_rho(16))
        x, e = generator.normal(size=(2, 16))
        hits.append(spearman_p_value(x, of_normal * x + math.sqrt(1 - of_normal**2) * e) <= 0.05)
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
    middle = math.tanh((math.atanh(found.error_lower) + math.atanh(found.error_upper)) / 2)
    assert found.rho < middle < whole + 0.05 and abs(middle - whole) < abs(found.rho - whole)
    assert relate(frame.drop("dimension_error")).error_lower is None
    unknown = frame.with_columns(dimension_error=pl.lit(math.inf), performance_error=pl.lit(-1.0))
    assert relate(unknown).error_lower is None


def test_what_a_hard_text_does_to_all_models_moves_no_order():
    """Errors that all models share, as large as the spread between them: independent they would leave no order."""
    frame = units(30, rho=0.8, seed=3, performance_error=[1.0] * 30)
    hard = np.random.default_rng(4).normal(size=20)
    blocks = [[value + one for one in hard / 4] for value in frame["performance"]]
    apart, together = (
        relate(one, "positive") for one in (frame, frame.with_columns(performance_blocks=pl.Series(blocks)))
    )
    assert (apart.errors_paired, together.errors_paired) == ((), ("performance",))
    assert together.error_upper - together.error_lower < 1e-9 < 0.1 < apart.error_upper - apart.error_lower
    own = np.random.default_rng(5).normal(size=(30, 20))
    own *= 0.3 / np.sqrt(19 * own.var(1, keepdims=True))  # jackknife errors of .3
    moved = relate(frame.with_columns(performance_blocks=pl.Series(own + frame["performance"].to_numpy()[:, None])))
    alike = relate(frame.with_columns(performance_error=pl.lit(0.3)))
    for name in ("error_lower", "error_upper"):
        assert getattr(moved, name) == pytest.approx(getattr(alike, name), abs=0.02)
    few = relate(frame.with_columns(performance_blocks=pl.Series([*blocks[:-1], None])))
    assert few.errors_paired == ()


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


def test_every_family_is_left_out_and_judged_not_only_those_that_move_rho_furthest():
    """Without `big` rho is neither lowest nor highest, but fifteen models are too few for the answer."""
    frame = units(24, rho=0.5, seed=24)
    found = relate(frame.with_columns(family=pl.Series(["big"] * 9 + ["a"] * 5 + ["b"] * 5 + ["c"] * 5)))
    assert found.without_family.moves_most == "c" and found.without_family.changes
    assert found.without_family.not_judged == ()
    few = relate(frame.with_columns(family=pl.Series(["most"] * 20 + ["rest"] * 4)))
    assert few.without_family.not_judged == ("most",)


def test_replicates_count_once():
    """Twelve runs of one recipe at one end make a relation that nine other recipes do not have."""
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
    assert relate(both.drop("recipe"), "positive").answer == "related_as_registered"
    found = relate(both, "positive")
    assert (found.answer, found.n, found.n_units) == ("cannot_tell", 10, 21)
    assert found.rho == pytest.approx(spearman(*of(average_recipes(both))))
    clear = relate(units(30, rho=0.9, recipe=[f"r{i // 2}" for i in range(30)]), "positive")
    assert (clear.answer, clear.n, clear.n_units) == ("related_as_registered", 15, 30)


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


# --- how often it is right: the small form of tests/bench/relations.py -----------------------------------------


@pytest.mark.parametrize("case", [bench.Case(0.0), bench.Case(0.7), bench.Case(0.6, "ties")], ids=str)
@pytest.mark.parametrize("n", (bench.SIZES[0], bench.SIZES[-1]))
def test_intervals_hold_the_truth_and_unrelated_models_are_seldom_related(case, n):
    found = bench.told(case, n, 200)
    assert 0.90 <= found.held <= 0.995
    if case.r == 0:
        assert found.related <= 0.095


def test_a_relation_as_strong_as_the_margin_is_seldom_called_none_and_no_relation_is_from_32_models_on():
    assert fewest_for_unrelated() == 32
    assert bench.told(bench.Case(0.5176), 30, 200).not_related <= 0.095
    assert bench.told(bench.Case(0.0), 32, 200).not_related >= 0.72


def test_a_brief_relation_is_the_same_without_what_stands_beside_it():
    frame = units(14, rho=0.7, seed=3, recipe=[f"r{i // 2}" for i in range(14)], log_parameters=range(14))
    whole, brief = relate(frame), relate(frame, is_brief=True)
    for name in ("answer", "reasons", "rho", "lower", "upper", "p", "n", "n_units", "detectable"):
        assert getattr(brief, name) == getattr(whole, name)
    assert (brief.tau, brief.partial.r, brief.without_one) == (None, None, None) and whole.partial.r is not None


def test_a_relation_under_every_specification():
    frames = {f"s{k}": units(20, rho=-0.85, seed=k) for k in range(9)} | {f"n{k}": units(6, seed=k) for k in range(3)}
    found = relate_specifications(frames, "s0")
    assert (found.answer, found.n_agreeing, len(found.relations)) == ("related_as_registered", 9, 12)
    looked_at = found.as_exploratory(dict.fromkeys(found.relations, 0.04) | {"s1": 0.2}, 60)
    assert [one.answer for one in looked_at.relations.values()].count("hint") == 8 and looked_at.relations[
        "s1"
    ].reasons == ("search",)
    assert looked_at.search.p == 0.04 and looked_at.relations["s0"].n_looks == 60
    assert found.search.n == 20 and tuple(found.search.rho) == tuple(frames)
    assert found.search.p >= max(found.relations[found.search.best].p, 0.0001), "looking at all of them costs something"
    again = relate_specifications({name: frame.reverse() for name, frame in frames.items()}, "s0")
    assert again.search == found.search, "whatever the order of the models"
    twice = {"s0": units(20, rho=-0.85).with_columns(recipe=pl.lit("one"))}
    assert relate_specifications(twice, "s0").relations["s0"].n == 1, "recipes count once here too"
