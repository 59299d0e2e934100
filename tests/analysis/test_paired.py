"""Paired differences: coverage by simulation, against other implementations, and where there is nothing to tell."""

import math

import numpy as np
import polars as pl
import pytest
from scipy import stats
from statsmodels.stats.descriptivestats import sign_test as their_sign_test

from core.analysis.differences import compare_all_answers, compare_answers, mcnemar, reaches_among, text_loss
from core.errors import InputError
from core.wording.scores import comparison_lines
from tests.evidence import sign_test


def answers(values, hashes=None, **more):
    values = [float(value) for value in values]
    columns = {"doc_hash": hashes or [f"q{n}" for n in range(len(values))], "value": values}
    given = {"group_id": pl.lit(None, pl.String), **{name: pl.lit(value) for name, value in more.items()}}
    return pl.DataFrame(columns).with_columns(**given)


def drawn(rng, n, rate_a, rate_b):
    """Right and wrong answers whose rates differ by question: some are hard for both."""
    ease = rng.normal(0, 1.5, n)
    noise = [rng.logistic(size=n) < ease + math.log(rate / (1 - rate)) for rate in (rate_a, rate_b)]
    return [found.astype(float) for found in noise]


def test_it_is_students_paired_test():
    a, b = np.random.default_rng(1).normal(0.5, 0.2, (2, 400))
    found = compare_answers(answers(a), answers(b))
    other = stats.ttest_rel(a, b)
    interval = other.confidence_interval(0.95)
    assert found.difference == pytest.approx(a.mean() - b.mean())
    assert (found.lower, found.upper) == pytest.approx((interval.low, interval.high))
    assert found.difference / found.std_error == pytest.approx(other.statistic)


@pytest.mark.parametrize("counts", [(0, 1), (3, 3), (1, 9), (12, 30), (400, 520), (5000, 5200)])
def test_mcnemar_is_the_exact_binomial_test(counts):
    assert mcnemar(*counts) == pytest.approx(stats.binomtest(counts[0], sum(counts)).pvalue, rel=1e-9)


def test_the_interval_covers_the_true_difference_as_often_as_it_says():
    rng = np.random.default_rng(7)
    big = drawn(rng, 2_000_000, 0.62, 0.5)
    truth = big[0].mean() - big[1].mean()
    covered = []
    for _ in range(240):
        found = compare_answers(*(answers(side) for side in drawn(rng, 150, 0.62, 0.5)))
        covered.append(found.lower <= truth <= found.upper)
    assert 0.95 - 3.5 * math.sqrt(0.95 * 0.05 / 240) < np.mean(covered) < 0.95 + 3.5 * math.sqrt(0.95 * 0.05 / 240)


def test_models_that_are_alike_are_rarely_told_apart():
    rng = np.random.default_rng(3)
    told = [compare_answers(*(answers(s) for s in drawn(rng, 150, 0.5, 0.5))).is_told_apart for _ in range(240)]
    assert np.mean(told) <= 0.05 + 3.5 * math.sqrt(0.05 * 0.95 / 240)


def test_a_detectable_difference_is_found_four_times_in_five():
    rng = np.random.default_rng(5)
    n, spread = 400, 0.8
    detectable = compare_answers(answers(rng.normal(0, spread, n)), answers(np.zeros(n))).detectable
    found = [
        compare_answers(answers(rng.normal(detectable, spread, n)), answers(np.zeros(n))).is_told_apart
        for _ in range(250)
    ]
    assert np.mean(found) == pytest.approx(0.80, abs=0.09)  # `detectable` is itself estimated, to about 4 percent


def test_equal_models_have_no_difference_and_no_made_up_interval():
    same = answers([1, 0, 1, 1])
    found = compare_answers(same, same)
    assert (found.difference, found.std_error, found.detectable) == (0, None, None)
    assert found.lower == -found.upper < -0.3, "four questions rule out no difference of a third"
    assert found.p_value == 1 and not found.is_told_apart


def test_questions_on_one_passage_count_as_one():
    """Eight answers to each of 12 passages that are all or nothing: the error is that of 12 questions, and how alike the answers
    of a passage are is itself known from 12."""
    a, b = (drawn(np.random.default_rng(6), 12, 0.7, 0.4)[side] for side in (0, 1))
    grouped = [
        answers(np.repeat(side, 8)).with_columns(group_id=pl.Series(np.repeat(np.arange(12), 8).astype(str)))
        for side in (a, b)
    ]
    found, single = compare_answers(*grouped), compare_answers(answers(a), answers(b))
    assert (found.n_groups, found.p_value) == (12, None)
    assert "12 units" in comparison_lines("task", "a", "b", found)[1]
    assert 1 < (found.upper - found.lower) / (single.upper - single.lower) < 1.15
    of_one_file = compare_answers(grouped[0].with_columns(group_id=pl.lit(None, pl.String)), grouped[1])
    assert (of_one_file.n_groups, of_one_file.lower) == (12, found.lower), "whichever of the two files names them"


def test_questions_without_a_partner_are_counted_and_left_out():
    found = compare_answers(answers([1, 1, 0], ["a", "b", "c"]), answers([0, 1, 1, 1], ["b", "c", "d", "e"]))
    assert (found.n_common, found.n_only_a, found.n_only_b) == (2, 1, 2)
    assert (found.mean_a, found.mean_b, found.only_a_right, found.only_b_right) == (0.5, 0.5, 1, 1)


def test_disjoint_questions_are_an_error_with_both_counts():
    with pytest.raises(InputError, match=r"share no question \(2 and 1\)"):
        compare_answers(answers([1, 0], ["a", "b"]), answers([1], ["c"]))


def test_a_repeated_question_counts_once_with_its_mean():
    a = answers([1, 0, 1, 0], ["q", "q", "r", "s"])
    found = compare_answers(a, answers([0, 0, 0], ["q", "r", "s"]))
    assert (found.n_common, found.n_repeated) == (3, 1)
    assert found.mean_a == pytest.approx((0.5 + 1 + 0) / 3)
    assert (found.only_a_right, found.only_b_right) == (1, 0)  # the half-right question is neither


def test_one_question_has_no_error():
    found = compare_answers(answers([1]), answers([0]))
    assert found.difference == 1 and found.std_error is None and not found.is_told_apart


def test_a_few_questions_all_one_way_are_judged_by_the_exact_test():
    assert not compare_answers(answers([1] * 5), answers([0] * 5)).is_told_apart  # p = 1/16
    assert compare_answers(answers([1] * 6), answers([0] * 6)).is_told_apart  # p = 1/32


def test_graded_answers_have_no_counts_of_right_and_wrong():
    found = compare_answers(answers([0.2, 0.9, 0.4]), answers([0.1, 0.5, 0.4]))
    assert found.p_value is None and found.only_a_right is None and found.std_error > 0


def test_the_sign_turns_with_the_order_and_the_rows_may_come_in_any():
    a, b = (answers(side) for side in drawn(np.random.default_rng(4), 60, 0.6, 0.4))
    one, other = compare_answers(a, b), compare_answers(b.sample(fraction=1, shuffle=True, seed=1), a)
    assert one.difference == pytest.approx(-other.difference) and one.lower == pytest.approx(-other.upper)
    assert one.p_value == other.p_value


def test_every_shared_benchmark_is_compared_by_itself():
    a = pl.concat([answers([1, 0], benchmark=name, metric="acc", filter="none") for name in ("x", "y")])
    b = answers([0, 0], benchmark="y", metric="acc", filter="none")
    ((key, found),) = compare_all_answers(a, b)
    assert key == ("y", "acc", "none") and found.n_common == 2


def test_an_interval_of_shares_ends_where_shares_do():
    found = compare_answers(answers([1, 1, 0, 1]), answers([0, 0, 0, 1]))
    assert found.upper <= 1.0 and found.lower < 0
    assert compare_answers(answers([9, 1, 4]), answers([1, 0, 4])).upper > 1  # of a graded metric it may lie anywhere


def asked(filter, values=(1, 0, 1), metric="acc"):
    return answers(values, benchmark="arc", metric=metric, filter=filter)


@pytest.mark.parametrize(
    ("filters_a", "filters_b", "met"),
    [
        (["not stated"], ["none"], ["none"]),
        (["get-answer"], ["not stated"], ["get-answer"]),
        (["not stated"], ["not stated"], ["not stated"]),
        (["not stated"], ["strict-match", "flexible-extract"], []),  # which of the two it is, nobody knows
        (["not stated", "not stated (2)"], ["strict-match"], []),
        (["not stated", "none"], ["none"], ["none"]),
        (["strict-match"], ["flexible-extract"], []),
    ],
)
def test_a_filter_without_a_name_is_the_others_only_one(filters_a, filters_b, met):
    a, b = (pl.concat(map(asked, filters)) for filters in (filters_a, filters_b))
    assert [key.filter for key, _ in compare_all_answers(a, b)] == met
    assert [key.filter for key, _ in compare_all_answers(b, a)] == met


def test_a_filter_is_named_within_its_metric():
    a = pl.concat([asked("not stated"), asked("not stated", metric="f1")])
    b = pl.concat([asked("none"), asked("strict", metric="f1")])
    assert [(key.metric, key.filter) for key, _ in compare_all_answers(a, b)] == [("acc", "none"), ("f1", "strict")]


def test_the_sign_test_is_that_of_statsmodels():
    differences = [0.3, 0.1, 0.2, -0.1, 0.5, 0.2, 0.0, 0.4, 0.6]
    found = sign_test([*differences, None, math.nan])
    assert (found.positive, found.negative, found.zero) == (7, 1, 1)
    assert found.p == pytest.approx(their_sign_test(np.array(differences))[1])
    assert sign_test([1.0] * 6).p == pytest.approx(0.03125)
    assert sign_test([0.0, None]).p is None


def read_windows(bits, n_bytes, documents):
    return pl.DataFrame(
        {"sequence": range(len(bits)), "document": documents, "bits": bits.astype(float), "n_bytes": n_bytes}
    )


def drawn_texts(rng, n_documents, gap):
    """Windows of documents that are hard for both models alike; the second needs `gap` bits per byte more."""
    documents = np.repeat(np.arange(n_documents), 2)
    n_bytes = rng.integers(300, 500, len(documents))
    ease = np.repeat(rng.normal(0, 0.3, n_documents), 2)
    noise = rng.normal(0, 0.03, (2, len(documents)))
    return [
        read_windows((2 + ease + more + own) * n_bytes, n_bytes, documents)
        for more, own in zip((0, gap), noise, strict=True)
    ]


def test_losses_are_paired_by_documents_and_their_interval_holds_the_truth_as_often_as_it_says():
    rng, n_held, n_told_alone = np.random.default_rng(4), 0, 0
    for _n in range(150):
        one, other = drawn_texts(rng, 16, 0.05)
        found = text_loss(one, less=other)
        assert found.unit == "document" and found.n == 16
        n_held += found.lower <= -0.05 <= found.upper
        alone = text_loss(one)
        n_told_alone += alone.upper < text_loss(other).lower
        assert found.upper - found.lower < alone.upper - alone.lower
    assert 0.91 <= n_held / 150 <= 0.99 and n_told_alone == 0
    assert found.value == pytest.approx(
        one["bits"].sum() / one["n_bytes"].sum() - other["bits"].sum() / other["n_bytes"].sum()
    )


def test_of_few_documents_blocks_of_windows_are_the_units_and_without_bits_nothing_is_told():
    one, other = drawn_texts(np.random.default_rng(5), 7, 0.05)
    assert (text_loss(one, less=other).unit, text_loss(one, less=other).n) == ("block", 8)
    eight = text_loss(drawn_texts(np.random.default_rng(5), 8, 0.05)[0])
    assert (eight.unit, eight.n) == ("document", 8)
    single = text_loss(one.head(1))
    assert (single.n, single.lower, single.upper) == (1, None, None)
    assert text_loss(one, less=other.with_columns(bits=pl.lit(None, dtype=pl.Float64))) is None
    assert text_loss(one.clear()) is None


def test_losses_drawn_independently_within_their_reach_differ_as_the_paired_ones_do():
    rng = np.random.default_rng(5)
    texts = [of for pair in (drawn_texts(rng, 40, 0.05), drawn_texts(rng, 40, 0.0)) for of in pair]
    one, other = (of.with_columns(run_id=pl.lit(name)) for of, name in zip(texts[:2], "ab", strict=True))
    paired = text_loss(one, less=other)
    reaches = reaches_among(pl.concat([one, other]))
    assert math.sqrt(2) * reaches["a"] == pytest.approx((paired.upper - paired.lower) / 2) and len(reaches) == 2
    hard = one["bits"] / one["n_bytes"]  # what is hard for the first is as hard for a third, but for noise of its own
    bits = (hard + rng.normal(0.02, 0.04, len(hard))) * one["n_bytes"]
    three = reaches_among(pl.concat([one, other, one.with_columns(run_id=pl.lit("c"), bits=bits)]))
    assert math.hypot(three["a"], three["b"]) == pytest.approx(math.sqrt(2) * reaches["a"], rel=0.35)
    lost = other.with_columns(bits=pl.lit(None, pl.Float64))
    assert reaches_among(pl.concat([one, lost])) == {}, "one alone is held against nothing"
