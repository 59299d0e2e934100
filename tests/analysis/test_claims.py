"""Claims on profiles whose truth is known: how often a verdict is wrong, and how often it is right where it should be."""

import math
from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from core.analysis import claims
from core.analysis.claims import LogProfile, claim_rows, simultaneous_limits
from core.records import Estimate
from core.registry.protocols import SPECIFICATIONS
from core.tables import RunControlRow, RunSummaryRow
from tests.bench import coverage
from tests.frames import made

N_BLOCKS = 16
CORE = [at for at in SPECIFICATIONS if at.is_core]
RISES = [40, 50, 60, 65, 62, 60, 58, 50, 30]
FLAT = [60, 60, 60, 60, 60, 60, 60, 60, 30]
FALLS_AT_ONCE = [90, 70, 60, 55, 50, 50, 45, 40, 30]
AT_THE_MARGIN = [50, *[55] * 7, 30]


def logs_of(truth, generator, noise=0.03, shared=0.03) -> LogProfile:
    """What a jackknife over blocks gives where each block has an error of its own and one of all layers together."""
    truth = np.log(np.array(truth, dtype=float))
    scale = math.sqrt(N_BLOCKS)
    of_blocks = generator.normal(0, noise * scale, (len(truth), N_BLOCKS))
    of_blocks += generator.normal(0, shared * scale, N_BLOCKS)
    whole = truth + of_blocks.mean(1)
    blocks = truth[:, None] + (of_blocks.sum(1, keepdims=True) - of_blocks) / (N_BLOCKS - 1)
    return LogProfile(whole, blocks, np.empty((len(truth), 0, 2)))


def judged(truths, generator, controls=(), claim="rise", **noise):
    """The verdict where the core specifications have these truths, in their order."""
    read = [(at, logs_of(truth, generator, **noise)) for at, truth in zip(CORE, truths, strict=True)]
    return claims.decide_verdict(list(claim_rows("run", 0, claim, read)), controls, is_vetoed=False)


def control(outcome, lower=1.2, power=0.9, claim="rise", ratio=1.5) -> RunControlRow:
    return RunControlRow("run", "control", claim, ratio, lower, 2.0, power, outcome)


def share(n, judge) -> float:
    return sum(judge(np.random.default_rng(seed)) for seed in range(n)) / n


def test_limits_hold_for_all_layers_at_once():
    """Among 12 layers that are truly equal, none leaves its limits in 95 percent of the draws."""

    def misses(generator):
        logs = logs_of([50.0] * 12, generator)
        found = simultaneous_limits(logs.whole - math.log(50), logs.blocks - math.log(50))
        return bool(((found.lower > 0) | (found.upper < 0)).any())

    assert 0.02 <= share(400, misses) <= 0.08


def test_a_rise_that_is_made_by_three_directions_never_holds_and_says_so():
    truths = [FALLS_AT_ONCE if at.transform == "abtt3" else RISES for at in CORE]
    found = [judged(truths, np.random.default_rng(seed), [control("exceeded")]) for seed in range(60)]
    assert all(one.word != "holds" for one in found)
    depends = [one for one in found if one.word == "depends"]
    assert len(depends) >= 54
    assert all(one.reasons == ["axis_dominant_directions"] for one in depends)


def test_an_undecided_reference_names_what_the_smaller_side_has():
    """Not the five choices under which it rises, but the one under which it does not."""
    truths = [FALLS_AT_ONCE if at.axis == "scale" else RISES for at in CORE]
    truths[0] = [50, 51, 54, 55, 54, 52, 50, 50, 30]  # at the margin of 10 percent
    found = judged(truths, np.random.default_rng(0))
    assert (found.word, found.reasons) == ("depends", ["axis_scale"])


@pytest.mark.parametrize("false", [FLAT, AT_THE_MARGIN])
def test_a_claim_that_fails_under_one_specification_holds_in_at_most_one_of_twenty(false):
    """Also where every layer stands at the margin of 10 percent itself: the largest of them is chosen on the data."""
    truths = [false if at.transform == "zscore" else RISES for at in CORE]
    assert share(120, lambda g: judged(truths, g, [control("exceeded")]).word == "holds") <= 0.05


@pytest.mark.parametrize(("false", "wrong"), [(FLAT, ["scale"]), (AT_THE_MARGIN, ["scale", "norms"])])
def test_a_claim_holds_mostly_in_at_most_one_of_twenty_where_one_method_is_flat_or_two_stand_at_the_margin(
    false, wrong
):
    truths = [false if at.axis in wrong else RISES for at in CORE]
    found = [judged(truths, np.random.default_rng(seed), [control("exceeded")]).word for seed in range(120)]
    assert sum(word in ("holds", "mostly_holds") for word in found) <= 6


def test_a_large_claim_holds_in_nine_of_ten():
    assert share(60, lambda g: judged([RISES] * 8, g, [control("exceeded")]).word in ("holds", "mostly_holds")) >= 0.9
    fall = [control("exceeded", claim="fall")]
    assert share(60, lambda g: judged([RISES] * 8, g, fall, claim="fall").word in ("holds", "mostly_holds")) >= 0.9


def test_specifications_at_the_margin_disagree_with_one_that_fails_in_at_most_one_of_twenty():
    """Seven of them have seven chances to say yes by mistake: without Holm's correction one does in one of eight."""
    truths = [FALLS_AT_ONCE if at.transform == "zscore" else AT_THE_MARGIN for at in CORE]
    assert share(120, lambda g: judged(truths, g, [control("exceeded")]).word == "depends") <= 0.05


def test_a_fall_that_only_the_number_of_sequences_makes_is_none_in_the_core():
    """Fifty directions at every layer; after the last block half of the variance is common to the tokens of a sequence.

    Over all pairs 16 sequences then read as a fall, which is how random weights fall.
    """
    falls = dict.fromkeys(("d2", "participation_ratio", "d2_all_pairs"), 0)
    for seed in range(20):
        inner = coverage.layer_of(*coverage.clustered(coverage.Case("50 equal variances", 16, 0.05), seed), False)
        final = coverage.layer_of(*coverage.clustered(coverage.Case("50 equal variances", 16, 0.5), seed), False)
        for name in falls:
            read = [inner[name], inner[name], final[name]]
            blocks = np.stack([claims.scale_to_interval(np.log(e.blocks), e.estimate) for e in read])
            logs = LogProfile(np.log([e.estimate.value for e in read]), blocks, np.empty((3, 0, 2)))
            falls[name] += claims.evaluate_claim(logs, "fall").outcome == "yes"
    assert falls["d2"] <= 2 and falls["participation_ratio"] <= 2
    assert falls["d2_all_pairs"] >= 17


def test_a_fall_under_one_specification_alone_does_not_hold_and_ranks_that_grow_with_n_decide_nothing():
    assert all(not at.is_core for at in SPECIFICATIONS if at.estimator == "effective_rank")
    truths = [RISES if at.estimator == "participation_ratio" else [40] * 9 for at in CORE]
    words = {judged(truths, np.random.default_rng(seed), claim="fall").word for seed in range(20)}
    assert words <= {"depends", "unclear"}


def test_without_any_rise_it_fails_and_within_the_error_it_is_unclear():
    assert share(40, lambda g: judged([FALLS_AT_ONCE] * 8, g).word == "fails") == 1
    barely = [50, 51, 54, 55, 54, 52, 50, 50, 30]
    found = [judged([barely] * 8, np.random.default_rng(seed), noise=0.2) for seed in range(20)]
    assert sum(one.word == "unclear" and one.reasons == ["within_error"] for one in found) >= 15


def test_a_specification_that_was_not_measured_leaves_it_open():
    read = [(at, logs_of(RISES, np.random.default_rng(0)) if at.axis != "words" else None) for at in CORE]
    found = claims.decide_verdict(list(claim_rows("run", 0, "rise", read)), [control("exceeded")], is_vetoed=False)
    assert (found.word, found.reasons) == ("unclear", ["cells_missing"])


@pytest.mark.parametrize(
    ("controls", "word", "reason"),
    [
        ([], "untested", "no_control"),
        ([control("exceeded"), control("exceeded")], "holds", None),
        ([control("exceeded"), control("no_power", lower=0.9, power=0.1)], "holds", None),
        ([control("exceeded"), control("not_usable", lower=0.9)], "holds", None),
        ([control("exceeded"), control("not_usable", None, 0, ratio=None)], "holds", None),
        ([control("no_power", power=0.1)], "untested", "control_no_power"),
        ([control("not_usable")], "untested", "control_not_usable"),
        ([control("same", power=None)], "untested", "no_control"),
        ([control("exceeded"), control("cannot_tell", lower=0.9)], "unclear", "control_not_exceeded"),
        ([control("exceeded"), control("shows_it", lower=0.5)], "depends", "control_shows_it"),
    ],
)
def test_a_claim_holds_only_against_a_control_that_could_have_shown_it(controls, word, reason):
    found = judged([RISES] * 8, np.random.default_rng(1), controls)
    assert (found.word, found.reasons) == (word, [reason] if reason else [])


def test_a_vetoed_run_has_no_verdict_and_a_failed_control_is_said():
    read = [(at, logs_of(RISES, np.random.default_rng(0))) for at in CORE]
    rows = list(claim_rows("run", 0, "rise", read))
    assert claims.decide_verdict(rows, [control("exceeded")], is_vetoed=True).word == "invalid"
    assert claims.decide_verdict(rows, [], is_vetoed=False, failed=["random_blocks"]).reasons == ["control_failed"]


def test_where_methods_disagree_and_a_control_shows_it_both_are_told():
    truths = [FALLS_AT_ONCE if at.axis == "scale" else RISES for at in CORE]
    found = judged(truths, np.random.default_rng(0), [control("shows_it", lower=0.5)])
    assert (found.word, found.reasons) == ("depends", ["axis_scale", "control_shows_it"])


def test_one_method_that_is_too_small_to_count_lets_a_claim_hold_mostly():
    """Its limits lie above one and reach 1.1; it never holds mostly where that method does not rise at all."""
    small = [50, 51, 54, 56, 54, 52, 50, 50, 30]
    truths = [small if at.axis == "scale" else RISES for at in CORE]
    found = [judged(truths, np.random.default_rng(seed), [control("exceeded")], noise=0.025) for seed in range(20)]
    assert sum((one.word, one.reasons) == ("mostly_holds", ["one_too_small"]) for one in found) >= 8
    untested = judged(truths, np.random.default_rng(0), noise=0.025)
    assert (untested.word, untested.reasons) == ("untested", ["no_control", "one_too_small"])


def test_a_claim_whose_reference_is_too_small_holds_against_no_control_that_shows_it():
    rows = list(claim_rows("run", 0, "rise", [(at, logs_of(RISES, np.random.default_rng(0))) for at in CORE]))
    rows[0] = replace(rows[0], outcome="cannot_tell", outcome_holm="cannot_tell", lower=1.05)
    controls = [control("exceeded")]
    assert claims.decide_verdict(rows, controls, is_vetoed=False).word == "mostly_holds"
    controls.append(control("shows_it", lower=0.5))
    found = claims.decide_verdict(rows, controls, is_vetoed=False)
    assert (found.word, found.reasons) == ("depends", ["control_shows_it"])


def test_all_methods_together_exceed_the_margin_by_chance_in_one_of_twenty_and_alike_curves_count_as_one():
    def tested(truth, seed, shared):
        generator = np.random.default_rng(seed)
        return claims.joint_test("rise", [logs_of(truth, generator, shared=shared) for _ in range(8)])

    assert np.mean([tested(AT_THE_MARGIN, seed, 0.0)[0] <= 0.05 for seed in range(100)]) <= 0.08
    p, effective = tested(RISES, 0, 0.0)
    assert p < 0.001 and effective == pytest.approx(1, abs=0.1)


def test_a_claim_carries_how_many_say_yes_and_their_median():
    truths = [FALLS_AT_ONCE if at.axis == "scale" else RISES for at in CORE]
    read = [(at, logs_of(truth, np.random.default_rng(0))) for at, truth in zip(CORE, truths, strict=True)]
    counts = claims.count_claim(claim_rows("run", 0, "rise", read), "rise", [])
    assert (counts.methods, counts.yes, counts.no, counts.reversed, counts.joint_p) == (8, 7, 0, 1, None)
    assert counts.median_ratio == pytest.approx(65 / 40, rel=0.1)
    assert claims.ClaimCounts.of(made(RunSummaryRow, **counts.columns("rise")), "rise") == counts


def test_power_is_that_of_the_published_figures():
    """At an error of .05: .51 for a ratio of 1.2, .94 for 1.3; none without room."""
    assert claims.control_power(math.log(1.2), 10, 0.05, 16) == pytest.approx(0.51, abs=0.01)
    assert claims.control_power(math.log(1.3), 10, 0.05, 16) == pytest.approx(0.94, abs=0.01)
    assert claims.control_power(math.log(3), math.log(1.05), 0.05, 16) < 0.05


def test_holm_keeps_what_is_strong_and_drops_what_only_one_test_would_take():
    cells = [claims.ClaimResult(0.1, 0, 0.2, 1, p, 1.0, 1.0) for p in (0.001, 0.03, 0.03, 0.9)]
    assert claims.holm_outcomes(cells) == ["yes", "cannot_tell", "cannot_tell", "cannot_tell"]
    assert claims.holm_outcomes([None, *cells[:1]]) == ["cannot_tell", "yes"]


def test_ten_is_in_above_or_below():
    assert [claims.compare_with_ten(*ends) for ends in ((8, 12), (15, 21), (4, 9), (None, None))] == [
        "in",
        "above",
        "below",
        "",
    ]


def test_blocks_of_a_layer_are_spread_as_widely_as_its_interval():
    blocks = np.random.default_rng(3).normal(0, 0.01, 16)
    told = claims.scale_to_interval(blocks, Estimate(20.0, 1.0, 20 * math.exp(-0.12), 20 * math.exp(0.12)))
    error = math.sqrt(15 / 16 * ((told - told.mean()) ** 2).sum())
    assert stats.t.ppf(0.975, 15) * error == pytest.approx(0.12)
    assert told.mean() == pytest.approx(blocks.mean()) and np.corrcoef(told, blocks)[0, 1] == pytest.approx(1)
    assert (
        claims.scale_to_interval(blocks, Estimate(20.0)) == blocks
    ).all()  # without an interval they stay as they are
