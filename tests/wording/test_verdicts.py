"""A verdict is never told without its reasons, and what has no working dimension is said to have none."""

from dataclasses import replace

import pytest

from core import wording
from core.analysis.claims import ClaimCounts
from core.locale import in_language
from core.registry.protocols import REFERENCE, SPECIFICATIONS
from core.tables import LayerCorrelatorRow, Run, RunClaimRow, RunControlRow, RunExtremumRow
from core.wording.verdicts import (
    MARKS,
    claim_outcome_text,
    control_chips,
    counts_text,
    joint_text,
    opinion_chips,
    outcome_of,
    pace_text,
    sorted_reasons,
    specification_name,
    specification_of,
)
from tests import frames
from tests.frames import Model, made


def run(**changes):
    return frames.made(Run, **frames.run_row(Model("m")) | changes)


def test_both_claims_are_told_with_their_reasons():
    said = run(reasons_rise=["axis_scale", "axis_dominant_directions"], verdict_fall="holds", reasons_fall=[])
    assert wording.verdict_text(said) == (
        "rises: depends (changes without dominant directions, changes with scaled coordinates); falls: holds"
    )
    assert (
        in_language("ja", wording.verdict_text, said)
        == "上昇：測り方により異なる（主要な方向による、座標の尺度による）、下降：成立"
    )


def test_a_verdict_carries_its_counts_and_their_joint_test():
    counts = ClaimCounts(8, 5, 0, 3, 2.53, 0.0002, 1.42)
    said = run(reasons_rise=[], **counts.columns("rise"))
    assert wording.claim_text("rise", said) == ("rises: depends, 5 of 8 methods yes, 3 reversed, median × 2.53")
    assert in_language("ja", counts_text, counts) == "8通りの測り方のうち成立5、逆転3、中央値2.53倍"
    assert counts_text(replace(counts, yes=7, reversed=0)) == "7 of 8 methods yes, median × 2.53"
    assert counts_text(replace(counts, no=1)) == "5 of 8 methods yes, 1 no, 3 reversed, median × 2.53"
    assert joint_text("rise", said).startswith("rises: median of all methods above 1.1, p < 0.001; 8 ")
    assert joint_text("fall", said) == counts_text(None) == ""


def test_what_limits_the_numbers_is_said_once():
    vetoed = {"verdict_rise": "invalid", "verdict_fall": "invalid"}
    reasons = {"reasons_rise": ["check_vetoed"], "reasons_fall": ["check_vetoed"]}
    said = run(**vetoed, **reasons, qualifiers=["check_vetoed", "few_types"])
    assert wording.verdict_text(said) == (
        "rises: not usable (vetoed by a check); falls: not usable (vetoed by a check); few token types"
    )


@pytest.mark.parametrize(
    ("changes", "english"),
    [
        ({"n_points": None}, "–"),
        (
            {"verdict_rise": None, "verdict_fall": None, "reasons_rise": [], "reasons_fall": None},
            "rises: not judged; falls: not judged",
        ),
        ({"pass": "shuffled"}, "control: shuffled text"),
        (
            {"pass": "random_init", "model_seed": 1, "qualifiers": ["check_vetoed"]},
            "control: random weights, seed 1 (vetoed by a check)",
        ),
    ],
)
def test_a_control_pass_has_no_verdict_and_an_old_run_was_not_judged(changes, english):
    assert wording.outcome_text(run(**changes)) == english


def test_where_there_is_no_inner_peak_none_is_made_up():
    assert wording.shape_text(run()) == "106 [99, 113]"
    flat = {"working_dimension": None, "lowest_layer": 2, "lowest_dimension": 4.05}
    without = run(**flat)
    assert wording.shape_text(without) == "no inner peak; lowest at layer 2 (4.05)"
    assert in_language("ja", wording.shape_text, without) == "中間層に山なし、最小は第2層（4.05）"
    assert wording.shape_text(run(**flat | {"lowest_layer": None})) == "no inner peak"
    assert wording.shape_text(run(**flat | {"inner_max": None})) == "–"


def test_the_turns_of_a_profile_are_told_layer_by_layer():
    turns = [("end", 18, 43.0), ("start", 0, 103.0), ("peak", 13, 58.0), ("valley", 2, 4.0)]
    rows = [made(RunExtremumRow, kind=kind, layer=layer, value=value) for kind, layer, value in turns]
    assert wording.extrema_text(rows) == (
        "start 103 at layer 0, valley 4.00 at layer 2, peak 58.0 at layer 13, end 43.0 at layer 18"
    )


def test_layers_whose_variance_lies_on_three_coordinates_or_else_components_are_named():
    def rows(correlator, shares, **other):
        place = {"correlator": correlator, "cloud": "one_per_type", "state": "residual"} | other
        return [made(LayerCorrelatorRow, **place, layer=layer, value=value) for layer, value in enumerate(shares)]

    coordinates = rows("top_coordinates_3", [0.04, 0.52, 0.72, 0.61, 0.22, 0.5, None])
    components = rows("top_components_3", [0.14, 0.57, 0.75, 0.64, 0.51, 0.58, 0.4])
    elsewhere = rows("top_components_3", [0.9] * 7, cloud="all_tokens") + rows("E1", [0.9] * 7)
    assert wording.dominance_text([*components, *coordinates, *elsewhere]) == (
        "three coordinates hold half of the variance or more (layers 1–3, 5; 72 %, layer 2)"
    )
    assert (
        in_language("ja", wording.dominance_text, components) == "3主成分で分散の半分以上（層：1–5。最大は第2層の75%）"
    )
    assert wording.dominance_text(elsewhere) == ""


def test_what_a_control_shows_is_told_with_ratio_interval_and_power():
    row = {"claim": "rise", "ratio": 1.52, "lower": 1.31, "upper": 1.76, "power": 0.94, "outcome": "exceeded"}
    assert wording.control_text(made(RunControlRow, **row)) == (
        "rises: 1.52 [1.31, 1.76] times the control (power 0.94): the text exceeds it"
    )
    ranked = wording.control_text(made(RunControlRow, **row | {"n_seeds": 19, "p": 0.05}))
    assert " (power 0.94, p = 0.05 with 19 networks): the text exceeds it" in ranked
    same = row | {"claim": "inner_max", "power": None, "outcome": "same"}
    assert wording.control_text(made(RunControlRow, **same)) == (
        "largest inner dimension: 1.52 [1.31, 1.76] times the control: the same within 10 percent"
    )
    assert (
        wording.control_text(made(RunControlRow, **row | {"ratio": None, "outcome": "not_usable"}))
        == "rises: not usable"
    )


def test_a_specification_is_named_by_what_it_changes():
    names = {specification_name(one) for one in SPECIFICATIONS}
    assert len(names) == len(SPECIFICATIONS)
    assert specification_name(REFERENCE) == "d2, one per type"
    one = SPECIFICATIONS[4]
    row = made(RunClaimRow, cloud=one.cloud, transform=one.transform, estimator=one.estimator, n1=one.n1)
    assert specification_of(row) == one


def test_outcomes_are_told_apart_without_colour_and_no_value_is_no_outcome():
    assert len({*MARKS.values(), "–"}) == len(MARKS) + 1
    assert outcome_of(made(RunClaimRow, ratio=None, outcome="cannot_tell")) is None


def test_a_ratio_above_one_is_not_within_the_error_but_too_small_to_count():
    row = {"ratio": 1.24, "lower": 1.0957, "upper": 1.47, "outcome": "cannot_tell"}
    assert claim_outcome_text(made(RunClaimRow, **row)) == "too small to count (lower limit 1.095, needed 1.10)"
    assert (
        in_language("ja", claim_outcome_text, made(RunClaimRow, **row))
        == "数えるには小さすぎる（下限1.095、必要な値1.10）"
    )
    assert claim_outcome_text(made(RunClaimRow, **row | {"lower": 0.98})) == "unclear"
    assert claim_outcome_text(made(RunClaimRow, **row | {"lower": 1.2, "outcome": "yes"})) == "yes"
    assert claim_outcome_text(made(RunClaimRow, **row | {"ratio": None})) == "–"
    said = run(verdict_fall="unclear", reasons_fall=["within_error"])
    assert wording.claim_text("fall", said) == "falls: unclear (a lower limit below 1.10)"


def test_what_weighs_most_is_said_first_and_unknown_keys_are_shown_as_they_are():
    assert sorted_reasons(["new_key", "few_types", "axis_norms", "few_types"]) == ["axis_norms", "few_types", "new_key"]
    assert in_language("ja", wording.reason_text, "new_key") == "new_key"
    assert in_language("ja", wording.name, "cloud", "new_key") == "new_key"
    assert in_language("ja", wording.check_meaning, "new_key") == ""


def control(outcome: str, claim: str = "rise", run_id: str = "c1") -> RunControlRow:
    known = {"ratio": 1.5, "lower": 1.3, "upper": 1.7, "power": 0.9}
    return made(RunControlRow, control_run_id=run_id, claim=claim, outcome=outcome, **known)


def test_a_chip_speaks_against_a_profile_before_it_asks_and_a_control_without_power_is_a_question():
    passes = {"c1": "random_init", "c2": "shuffled"}

    def marks(*rows: RunControlRow) -> list[str]:
        return [chip.mark for chip in control_chips(rows, passes)]

    assert marks(control("exceeded")) == ["✓"] and marks(control("no_power")) == ["?"]
    assert marks(control("no_power"), control("shows_it", "fall")) == ["✕"]
    assert marks(control("same", "inner_max", "c2")) == ["="] and marks(control("differs", "final", "c2")) == ["≠"]
    (chip,) = control_chips([control("exceeded")], passes)
    assert chip.name == "random weights" and "1.50 [1.30, 1.70]" in chip.explanation


def test_a_chip_of_another_reading_compares_its_outcome_with_that_of_the_reference():
    def row(outcome: str, transform: str = "centred", estimator: str = "d2") -> RunClaimRow:
        cell = {"cloud": "one_per_type", "transform": transform, "estimator": estimator, "n1": None, "n2": None}
        return made(RunClaimRow, **cell, claim="rise", outcome=outcome, ratio=1.5, lower=1.3, upper=1.7)

    rows = [
        row("yes"),
        row("opposite", "abtt1"),
        row("yes", "zscore"),
        row("cannot_tell", estimator="participation_ratio"),
    ]
    assert [(chip.mark, chip.name) for chip in opinion_chips(rows)] == [
        ("✕", "dominant directions removed"),
        ("✓", "coordinates scaled to one variance"),
        ("?", "norms counted"),
    ]


def test_a_pace_is_told_beyond_its_error_and_without_a_cause() -> None:
    for value, error, said in (
        (0.8, 0.05, "slower than a random walk"),
        (1.2, 0.05, "faster than a random walk"),
        (0.95, 0.05, "not distinguishable from a random walk"),
        (0.8, None, "its error is not known"),
    ):
        assert pace_text(value, error) == said
