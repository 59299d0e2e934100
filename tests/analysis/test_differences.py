"""Two runs side by side: which fields differ, and whether their numbers may be held against each other."""

import math

import numpy as np
import polars as pl
import pytest
from scipy import stats

from core.analysis.differences import (
    Difference,
    comparability,
    differences,
    flatten,
    layer_differences,
    relative_difference,
    without_incidental,
)
from core.tables import Run
from core.wording.runs import differing_lines, field_name, field_text
from tests.frames import made

RECORD = {
    "run_id": "a",
    "started_at": 1,
    "seed": 0,
    "tags": [],
    "note": None,
    "device": "cpu",
    "library_versions": '{"torch": "2.13.0", "numpy": "2.3.0"}',
    "config": '{"run": {"seed": 0, "column": null}, "protocol": {"passes": ["shuffled"], "n_tokens": 128}}',
    "phase_seconds": '{"load": 1.5}',
    "execution": None,
}
RUN = {
    "pass": "text",
    "kind": "decoder",
    "stack": "main",
    "corpus_id": "c",
    "protocol_hash": "p",
    "dtype": "float32",
    "tokenizer_hash": "t",
    "words_hash": "w",
    "n_points": 800,
}


def test_json_is_taken_apart_and_emptiness_is_one_thing():
    assert flatten(RECORD) == {
        "run_id": "a",
        "started_at": 1,
        "seed": 0,
        "tags": None,
        "note": None,
        "device": "cpu",
        "library_versions.torch": "2.13.0",
        "library_versions.numpy": "2.3.0",
        "config.run.seed": 0,
        "config.run.column": None,
        "config.protocol.passes": ["shuffled"],
        "config.protocol.n_tokens": 128,
        "phase_seconds.load": 1.5,
        "execution": None,
    }


def test_each_differing_field_is_named_with_both_values():
    other = RECORD | {
        "run_id": "b",
        "seed": 3,
        "tags": ["x"],
        "library_versions": '{"torch": "2.14.0", "scipy": "1"}',
        "config": '{"run": {"seed": 3, "column": ""}, "protocol": {"passes": ["shuffled"], "n_tokens": 256}}',
    }
    found = differences(RECORD, other)
    assert found == [
        Difference("run_id", "a", "b"),
        Difference("seed", 0, 3),
        Difference("tags", None, ["x"]),
        Difference("library_versions.torch", "2.13.0", "2.14.0"),
        Difference("library_versions.numpy", "2.3.0", None),
        Difference("config.run.seed", 0, 3),
        Difference("config.protocol.n_tokens", 128, 256),
        Difference("library_versions.scipy", None, "1"),
    ]
    assert [one.field for one in without_incidental(found)] == [one.field for one in found[1:]]
    assert differences(RECORD, RECORD) == []


def test_a_difference_is_told_with_its_section_and_unit():
    other = RECORD | {"seed": 3, "phase_seconds": '{"load": 9}', "library_versions": '{"torch": "2.14.0"}'}
    lines = differing_lines(RECORD, other)
    assert [(line.section, line.label, line.one, line.other) for line in lines] == [
        ("Protocol", "seed of the draws", "0", "3"),
        ("Programs", "torch", "2.13.0", "2.14.0"),
        ("Programs", "numpy", "2.3.0", "–"),
    ]
    assert (field_name("phase_seconds.load"), field_text("phase_seconds.load", 9)) == ("time: loading", "9.0 s")


@pytest.mark.parametrize(
    ("changes", "by_types", "by_words", "reasons"),
    [
        ({}, True, True, ()),
        ({"protocol_hash": "q"}, False, False, ("protocol_hash",)),
        ({"corpus_id": "d", "pass": "shuffled"}, False, False, ("pass", "corpus_id")),
        ({"dtype": "bfloat16"}, False, False, ("dtype",)),
        ({"kind": "encoder"}, False, False, ("kind",)),
        ({"tokenizer_hash": "u"}, False, True, ("tokenizer_hash",)),
        ({"tokenizer_hash": "u", "n_points": 10}, False, True, ("tokenizer_hash",)),
        ({"tokenizer_hash": "u", "words_hash": "v"}, False, False, ("tokenizer_hash", "words_hash")),
        ({"words_hash": None}, True, False, ()),
        ({"n_points": 720}, True, True, ()),
        ({"n_points": 719}, False, True, ("n_points",)),
        ({"n_points": None}, False, True, ("n_points",)),
    ],
)
def test_what_may_be_compared(changes, by_types, by_words, reasons):
    for one, other in ((RUN, RUN | changes), (RUN | changes, RUN)):
        found = comparability(made(Run, **one), made(Run, **other))
        assert (found.by_types, found.by_words, found.reasons) == (by_types, by_words, reasons)


def test_runs_without_words_are_not_compared_on_words():
    without = made(Run, **RUN | {"words_hash": None})
    assert not comparability(without, without).by_words


def profile(values, blocks=None):
    return pl.DataFrame(
        {
            "layer": list(range(len(values))),
            "value": values,
            "lower": [0.9 * value for value in values],
            "upper": [value / 0.9 for value in values],
            "blocks": blocks or [None] * len(values),
        },
        schema_overrides={"blocks": pl.List(pl.Float64)},
    )


def test_what_blocks_do_to_both_profiles_cancels_out_of_their_difference():
    wobble = np.random.default_rng(1).normal(1, 0.02, (3, 16))
    one, other = (
        [[base * by * w for w in row] for base, row in zip([20, 40, 30], wobble, strict=True)] for by in (1.1, 1.0)
    )
    rows, is_paired = layer_differences(profile([22.0, 44.0, 33.0], one), profile([20.0, 40.0, 30.0], other))
    assert is_paired and [row.layer for row in rows] == [0, 1, 2]
    for row in rows:
        assert (row.share, row.lower, row.upper) == pytest.approx((0.1, 0.1, 0.1))


def test_without_paired_blocks_errors_are_independent_and_missing_layers_left_out():
    rows, is_paired = layer_differences(profile([22.0, 44.0]), profile([20.0, 40.0, 30.0]))
    assert not is_paired and len(rows) == 2
    alone = math.sqrt(2) * math.log(1 / 0.9)
    both = alone * stats.norm.ppf(1 - 0.05 / 2 / 2) / stats.norm.ppf(1 - 0.05 / 2)
    assert rows[0].upper == pytest.approx(math.expm1(math.log(1.1) + both))
    assert relative_difference([22.0, 0.9 * 22, 22 / 0.9], [20.0, 18.0, 20 / 0.9]) == pytest.approx(
        (0.1, math.expm1(math.log(1.1) - alone), math.expm1(math.log(1.1) + alone))
    )
    assert relative_difference([22.0, None, None], [20.0, 18.0, 22.0]) is None
