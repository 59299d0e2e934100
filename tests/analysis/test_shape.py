"""Turns, ends and the largest inner dimension of profiles whose truth is known; and what controls say of them."""

import json
import math
from dataclasses import replace
from functools import cache

import numpy as np
import pytest
from scipy import stats

from core.analysis.claims import compare_with_controls
from core.analysis.shape import judge_profile
from core.tables import LayerEstimateRow, LayerReplicateRow, LayerSeedRow, RunCheckRow
from tests.profiles import make_model, make_profile

N_LAYERS, N_BLOCKS, N_SPLITS = 10, 16, 20
T = float(stats.t.ppf(0.975, N_BLOCKS - 1))


def summarise(profile, controls=()):
    """The summary of the primary cloud."""
    return judge_profile(profile, controls).summaries[0]


@cache
def base_profile():
    """Everything of a profile but its dimensions: made once, for thousands of draws."""
    return make_profile(model=make_model(n_layers=N_LAYERS))


def profile_of(truth, noise=0.02, seed=0, post_norm=None, shared=0.0):
    """A profile with log-normal errors: jackknife blocks and halves scattered as 16 blocks of text would make them.

    `noise` is the relative standard error of each layer; `shared` adds an error common to all layers.
    """
    generator = np.random.default_rng(seed)
    base = base_profile()
    states = [(layer, "residual", value) for layer, value in enumerate(truth)]
    states += [(N_LAYERS, "post_norm", post_norm)] if post_norm else []
    common_blocks = generator.normal(0, shared / math.sqrt(N_BLOCKS - 1), N_BLOCKS)
    common_halves = generator.normal(0, shared * 1.4, 2 * N_SPLITS)
    estimates, replicates = [], []
    for layer, state, value in states:
        blocks = value * np.exp(common_blocks + generator.normal(0, noise / math.sqrt(N_BLOCKS - 1), N_BLOCKS))
        halves = value * np.exp(common_halves + generator.normal(0, noise * 1.4, 2 * N_SPLITS))
        estimates.append(
            LayerEstimateRow(
                base.run.run_id,
                layer,
                state,
                "main",
                "one_per_type",
                "d2",
                None,
                None,
                "centred",
                None,
                value,
                value * math.hypot(noise, shared),
                value * math.exp(-T * math.hypot(noise, shared)),
                value * math.exp(T * math.hypot(noise, shared)),
                None,
                800,
                0,
            )
        )
        replicates.append(
            LayerReplicateRow(
                base.run.run_id, layer, state, "one_per_type", "d2", None, "centred", blocks.tolist(), halves.tolist()
            )
        )
    config = json.dumps({"protocol": {"max_types": 800}})
    return replace(
        base, estimates=estimates, replicates=replicates, checks=[], run=replace(base.run, config=config), summaries=[]
    )


RISE_AND_FALL = [40, 70, 90, 100, 100, 90, 80, 75, 75, 70, 20]
FALL = [100, 90, 80, 70, 60, 50, 40, 35, 30, 25, 20]


def test_a_rise_and_fall_has_a_working_dimension_with_its_layer_and_its_ratios():
    summary = summarise(profile_of(RISE_AND_FALL, post_norm=15))
    assert summary.working_layer_first <= 3 <= summary.working_layer_last + 1
    assert summary.working_dimension == summary.inner_max == pytest.approx(100, rel=0.05)
    assert summary.inner_max_layer in (3, 4)
    assert (summary.lowest_layer, summary.lowest_dimension) == (10, pytest.approx(20, rel=0.1))
    assert summary.expansion_ratio == pytest.approx(2.5, rel=0.06)
    assert summary.contraction_ratio == pytest.approx(5, rel=0.06)
    assert summary.contraction_ratio_lower < summary.contraction_ratio < summary.contraction_ratio_upper
    assert summary.contraction_ratio_post_norm == pytest.approx(100 / 15, rel=0.06)


def test_a_profile_without_an_inner_peak_has_a_largest_inner_dimension_all_the_same():
    summary = summarise(profile_of(FALL))
    assert summary.working_dimension is None and summary.working_layer is None
    assert summary.inner_max == pytest.approx(90, rel=0.05)


def test_every_turn_that_stands_out_is_named_and_no_other():
    """The profile of a decoder with a deep early valley, and one of nothing but noise."""
    truth = [103, 10, 4, 7, 29, 19, 15, 8, 58, 35, 43]
    turns = [(row.kind, row.layer) for row in judge_profile(profile_of(truth, noise=0.01)).extrema]
    assert turns == [
        ("start", 0), ("valley", 2), ("peak", 4), ("valley", 7), ("peak", 8), ("valley", 9), ("end", 10),
    ]  # fmt: skip
    of_noise = [judge_profile(profile_of([50] * 11, noise=0.03, seed=seed)).extrema for seed in range(30)]
    assert sum(len(rows) > 2 for rows in of_noise) <= 2
    assert all(row.lower < row.value < row.upper for row in of_noise[0])


@pytest.mark.parametrize("of_ends", [lambda truth: truth, lambda truth: 10000 / np.array(truth)])
def test_a_wiggle_beside_the_first_layer_is_no_turn(of_ends):
    """Three percent above the first layer, then a fall: the profile only falls, and turned over it only rises."""
    truth = of_ends([100, 103, 90, 80, 70, 60, 50, 40, 35, 30, 25])
    assert [row.kind for row in judge_profile(profile_of(truth, noise=0.001)).extrema] == ["start", "end"]


def test_choosing_the_maximum_does_not_raise_a_flat_profile():
    """The largest of ten noisy layers lies 15 percent above the truth; choosing on one half and reading on the other not."""
    values = [summarise(profile_of([50] * 11, noise=0.1, seed=seed)).inner_max for seed in range(40)]
    assert np.mean(values) == pytest.approx(50, rel=0.03)


def test_an_error_common_to_all_layers_cancels_in_the_ratios():
    summary = summarise(profile_of(RISE_AND_FALL, noise=0.02, shared=0.3, seed=3))
    assert summary.contraction_ratio_upper / summary.contraction_ratio_lower < 1.2
    assert summary.inner_max_upper / summary.inner_max_lower > 1.5


def test_limits_of_a_run_are_qualifiers():
    profile = profile_of(RISE_AND_FALL)
    assert "no_final_norm" in summarise(profile).qualifiers
    fewer = replace(profile, estimates=[replace(row, n_points=600) for row in profile.estimates])
    assert "few_types" in summarise(fewer).qualifiers
    check = RunCheckRow(profile.run.run_id, "sequence_share", 0, 0.5, 0.3, "veto")
    vetoed = summarise(replace(profile, checks=[check]))
    assert "check_vetoed" in vetoed.qualifiers and vetoed.verdict_rise == vetoed.verdict_fall == "invalid"


@pytest.mark.parametrize("n_layers", [1, 2, 3])
def test_few_blocks_give_what_they_can(n_layers):
    profile = profile_of(RISE_AND_FALL[: n_layers + 1])
    few = judge_profile(replace(profile, model=replace(profile.model, n_layers=n_layers)))
    summary = few.summaries[0]
    assert (summary.inner_max is None) == (n_layers == 1)
    assert (summary.reasons_rise == ["too_few_layers"]) == (n_layers == 1)
    assert few.extrema[0].kind == "start"


def test_an_undefined_layer_leaves_the_claims_open():
    profile = profile_of(RISE_AND_FALL)
    holes = [replace(row, value=None) if row.layer == 4 else row for row in profile.estimates]
    found = judge_profile(replace(profile, estimates=holes))
    assert found.summaries[0].reasons_rise == ["cells_missing"] and found.summaries[0].inner_max is None
    assert found.summaries[0].embedding_dimension == pytest.approx(40, rel=0.05)


def control(name, truth, shift=0.01, seed=1, n_seeds=19, spread=0.05, noise=0.02):
    """A control pass whose draws have this profile, but for factors of their own at every layer."""
    generator = np.random.default_rng(seed)
    profile = profile_of(truth, noise, seed)
    rows = []
    for draw in range(n_seeds):
        own = np.array(truth) * np.exp(generator.normal(0, spread, len(truth)))
        one = profile_of(own, noise, seed=1000 * seed + draw)
        rows += [
            LayerSeedRow("c", draw, e.layer, e.value, e.lower, e.upper, shift, r.blocks, r.halves)
            for e, r in zip(one.estimates, one.replicates, strict=True)
        ]
    return replace(profile, run=replace(profile.run, run_id=f"{name}-{seed}", pass_=name), seeds=rows)


def said_by(*controls, hidden_size=576, truth=RISE_AND_FALL):
    profile = profile_of(truth)
    profile = replace(profile, model=replace(profile.model, hidden_size=hidden_size))
    rows = judge_profile(profile, controls).controls
    return {(row.control_run_id, row.claim): row for row in rows}


def test_a_control_is_exceeded_shows_the_claim_or_could_not_have_shown_it():
    rises_more = [20, 70, 90, 100, 100, 90, 80, 75, 75, 70, 60]
    found = said_by(
        control("matched_blocks", [40, 42, 41, 42, 40, 41, 40, 42, 41, 40, 40]),
        control("permuted_weights", rises_more),
        control("permuted_weights", [560] * 11, seed=2),
        control("matched_blocks", RISE_AND_FALL, shift=0.5, seed=2),
    )
    rise = found["matched_blocks-1", "rise"]
    assert (rise.outcome, rise.n_seeds, rise.p) == ("exceeded", 19, 0.05)
    assert rise.ratio == pytest.approx(2.5 / 1.05, rel=0.15)
    assert found["permuted_weights-1", "rise"].outcome == "shows_it" and found["permuted_weights-1", "rise"].p == 1
    assert found["permuted_weights-1", "fall"].outcome == "exceeded"
    assert found["permuted_weights-2", "rise"].outcome == "no_power"
    assert found["permuted_weights-2", "rise"].power < 0.5 < 0.9 < found["permuted_weights-2", "fall"].power
    assert found["matched_blocks-2", "rise"].outcome == "not_usable"


def test_few_draws_exceed_nothing_and_a_larger_ratio_than_a_tenth_is_needed():
    few = control("matched_blocks", [40] * 11, n_seeds=18)
    near = control("matched_blocks", [40, *[105] * 9, 28.6], seed=2, spread=0.005)
    found = said_by(few, near)
    assert found["matched_blocks-1", "rise"].outcome == "cannot_tell"
    assert found["matched_blocks-1", "rise"].p == pytest.approx(1 / 19)
    assert found["matched_blocks-2", "rise"].outcome == "shows_it"


def test_a_control_with_a_layer_that_has_no_estimate_is_not_usable():
    whole = control("matched_blocks", [40] * 11)
    for missing in ({"value": None}, {"value": None, "blocks": [], "halves": []}):
        holed = replace(whole, seeds=[replace(row, **missing) if row.layer == 4 else row for row in whole.seeds])
        row = said_by(holed)["matched_blocks-1", "rise"]
        assert (row.outcome, row.ratio, row.power) == ("not_usable", None, 0)


def test_a_run_that_is_one_more_draw_has_any_rank_alike_and_exceeds_one_time_in_twenty():
    """Text and draws have factors of one distribution: the layers of all maxima are chosen on the data."""
    truth, ranks, exceeded = np.array([40, *[80] * 9, 40]), [], 0
    for seed in range(40):
        own = truth * np.exp(np.random.default_rng(seed).normal(0, 0.2, len(truth)))
        profile = profile_of(own, noise=0.05, seed=seed)
        profile = replace(profile, model=replace(profile.model, hidden_size=576))
        like = control("matched_blocks", list(truth), seed=100 + seed, spread=0.2, noise=0.05)
        (rise, _fall) = compare_with_controls(profile, [like])
        ranks.append(rise.p * 20)
        exceeded += rise.outcome == "exceeded"
    assert exceeded <= 5
    assert stats.kstest(ranks, stats.randint(1, 21).cdf).pvalue > 0.01


def test_shuffled_text_has_an_effect_and_says_whether_it_is_none():
    """A final state of 9 against 28.6 is an effect of 3.2; the rest of the profile may be the same."""
    truth = [40, 70, 90, 100, 100, 90, 80, 75, 75, 70, 28.6]
    rows = said_by(control("shuffled", [40, 70, 90, 100, 100, 90, 80, 75, 75, 70, 9.0], seed=4), truth=truth)
    final = rows["shuffled-4", "final"]
    assert final.outcome == "differs" and final.ratio == pytest.approx(28.6 / 9, rel=0.1) and final.power is None
    assert rows["shuffled-4", "inner_max"].outcome in ("same", "cannot_tell")


def test_words_are_summarised_beside_types():
    profile = profile_of(RISE_AND_FALL)
    words = [[replace(row, cloud="one_per_word") for row in rows] for rows in (profile.estimates, profile.replicates)]
    both = replace(profile, estimates=[*profile.estimates, *words[0]], replicates=[*profile.replicates, *words[1]])
    assert [row.cloud for row in judge_profile(both).summaries] == ["one_per_type", "one_per_word"]
