"""Working dimension and verdict on profiles whose truth is known."""

import json
import math
from dataclasses import replace

import numpy as np
import pytest

from core.analysis.shape import summarise as summarise_all
from core.tables import LayerEstimateRow, LayerReplicateRow, RunCheckRow
from tests.profiles import make_model, make_profile

N_LAYERS, N_BLOCKS, N_SPLITS = 10, 16, 20


def summarise(profile, controls=()):
    """The summary of the primary cloud."""
    return summarise_all(profile, controls)[0]


def profile_of(truth, noise=0.02, seed=0, post_norm=None, shared=0.0):
    """A profile with log-normal errors: jackknife blocks and halves scattered as 16 blocks of text would make them.

    `noise` is the relative standard error of each layer; `shared` adds an error common to all layers.
    """
    generator = np.random.default_rng(seed)
    base = make_profile(model=make_model(n_layers=N_LAYERS))
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
                value * noise,
                value * (1 - 2 * noise),
                value * (1 + 2 * noise),
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


def test_a_rise_and_fall_is_found_with_its_layer_and_its_ratios():
    summary = summarise(profile_of(RISE_AND_FALL, post_norm=15))
    assert summary.verdict == "found"
    assert summary.working_layer_first <= 3 <= summary.working_layer_last + 1
    assert summary.working_dimension == pytest.approx(100, rel=0.05)
    assert summary.expansion_ratio == pytest.approx(2.5, rel=0.06)
    assert summary.contraction_ratio == pytest.approx(5, rel=0.06)
    assert summary.contraction_ratio_lower < summary.contraction_ratio < summary.contraction_ratio_upper
    assert summary.contraction_ratio_post_norm == pytest.approx(100 / 15, rel=0.06)
    assert summary.qualifiers == ["no_random_init", "no_shuffled", "gride_unclear"]


@pytest.mark.parametrize(
    "truth",
    [
        [190, 128, 114, 108, 93, 90, 85, 80, 80, 80, 50],  # only falls
        [40, 50, 60, 70, 80, 90, 100, 110, 120, 130, 140],  # only rises
        [50] * 11,
    ],
)
def test_profiles_without_both_movements_are_not_found(truth):
    assert summarise(profile_of(truth)).verdict == "not_found"


def test_a_small_movement_under_a_large_error_is_undecided():
    assert summarise(profile_of([50, 60, 62, 62, 62, 62, 62, 62, 60, 60, 50], noise=0.12)).verdict == "undecided"


def test_choosing_the_maximum_does_not_raise_a_flat_profile():
    """The maximum of ten noisy equal layers is 1.5 errors too high; read on the other half it is not."""
    values = [summarise(profile_of([50] * 11, noise=0.1, seed=seed)).working_dimension for seed in range(40)]
    assert np.mean(values) == pytest.approx(50, rel=0.02)


def test_an_error_common_to_all_layers_cancels_in_the_ratios():
    summary = summarise(profile_of(RISE_AND_FALL, noise=0.02, shared=0.3, seed=3))
    assert summary.verdict == "found"
    assert summary.contraction_ratio_upper / summary.contraction_ratio_lower < 1.4
    assert summary.working_dimension_upper / summary.working_dimension_lower > 1.8


def test_limits_of_a_run_are_qualifiers():
    profile = profile_of(RISE_AND_FALL)
    assert "no_final_norm" in summarise(profile).qualifiers
    fewer = replace(profile, estimates=[replace(row, n_points=500) for row in profile.estimates])
    assert "few_types" in summarise(fewer).qualifiers


def test_an_undefined_layer_leaves_the_shape_undecided():
    profile = profile_of(RISE_AND_FALL)
    holes = [replace(row, value=None) if row.layer == 4 else row for row in profile.estimates]
    summary = summarise(replace(profile, estimates=holes))
    assert (summary.verdict, summary.working_dimension) == ("undecided", None)
    assert summary.embedding_dimension == 40


FALL = [190, 128, 114, 108, 93, 90, 85, 80, 80, 80, 50]


def control(name, truth, vetoed=False):
    profile = profile_of(truth)
    if vetoed:
        profile = replace(profile, checks=[RunCheckRow(profile.run.run_id, "sequence_share", 5, 0.8, 0.3, "veto")])
    profile = replace(profile, run=replace(profile.run, pass_=name))
    return replace(profile, summaries=summarise_all(profile))


def test_what_random_weights_show_as_well_is_no_finding():
    text = profile_of(RISE_AND_FALL)
    same = summarise(text, [control("random_init", FALL), control("random_init", RISE_AND_FALL)])
    assert (same.verdict, "random_init_same" in same.qualifiers) == ("undecided", True)
    differs = summarise(text, [control("random_init", FALL)])
    assert (differs.verdict, differs.qualifiers[0]) == ("found", "random_init_differs")
    assert differs.control_run_ids and summarise(text).control_run_ids is None


@pytest.mark.parametrize(
    ("controls", "qualifier"),
    [
        ([control("random_init", RISE_AND_FALL, vetoed=True)], "random_init_unclear"),
        ([control("random_init", FALL, vetoed=True)], "random_init_differs"),
        ([control("random_init", FALL), replace(control("random_init", FALL), summaries=[])], "random_init_unclear"),
        ([control("random_init", FALL), control("random_init", RISE_AND_FALL)], "random_init_same"),
        ([], "no_random_init"),
    ],
)
def test_a_control_differs_only_where_it_was_not_found(controls, qualifier):
    assert summarise(profile_of(RISE_AND_FALL), controls).qualifiers[0] == qualifier


def test_a_control_that_could_not_be_measured_is_said():
    rows = summarise_all(profile_of(RISE_AND_FALL), (), failed=["random_init"])
    assert rows[0].qualifiers[0] == "random_init_failed"


def test_a_shape_on_shuffled_text_is_said_and_does_not_change_the_verdict():
    controls = [control("random_init", FALL), control("shuffled", RISE_AND_FALL)]
    summary = summarise(profile_of(RISE_AND_FALL), controls)
    assert summary.verdict == "found" and "shuffled_same" in summary.qualifiers


def test_second_opinions_qualify_a_finding():
    profile = profile_of(RISE_AND_FALL)

    def also(estimator, n1, transform, values):
        rows = [
            replace(row, estimator=estimator, n1=n1, transform=transform, value=values[row.layer])
            for row in profile.estimates
        ]
        blocks = [
            replace(
                row, estimator=estimator, n1=n1, blocks=[(values[row.layer] or 1) * (1 + 0.001 * b) for b in range(16)]
            )
            for row in profile.replicates
        ]
        return rows, blocks if transform == "centred" else []

    def judged(gride, removed):
        by_gride, by_removed = also("gride", 8, "centred", gride), also("d2", None, "abtt3", removed)
        return summarise(
            replace(
                profile,
                estimates=profile.estimates + by_gride[0] + by_removed[0],
                replicates=profile.replicates + by_gride[1],
            )
        )

    summary = judged(FALL, [90] * 11)
    assert summary.verdict == "found"
    assert {"gride_contracts", "abtt3_lost"} <= set(summary.qualifiers)
    assert summary.contraction_ratio_abtt3 == pytest.approx(1)
    assert summary.expansion_ratio_gride_8 < 1 < summary.contraction_ratio_gride_8
    assert "gride_disagrees" in judged([50] * 11, [90] * 11).qualifiers
    assert "abtt3_undefined" in judged(FALL, [90] * 10 + [None]).qualifiers
    agreeing = judged(RISE_AND_FALL, RISE_AND_FALL).qualifiers
    assert not {name for name in agreeing if name.startswith(("gride", "abtt3"))}


def test_words_are_summarised_beside_types():
    profile = profile_of(RISE_AND_FALL)
    words = [replace(row, cloud="one_per_word") for row in profile.estimates]
    blocks = [replace(row, cloud="one_per_word") for row in profile.replicates]
    both = replace(profile, estimates=profile.estimates + words, replicates=profile.replicates + blocks)
    assert [row.cloud for row in summarise_all(both)] == ["one_per_type", "one_per_word"]
