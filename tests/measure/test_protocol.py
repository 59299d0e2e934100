"""Named protocols: what their hash tells apart, and that what they name exists."""

from dataclasses import replace

import pytest

from core.errors import InputError
from core.geometry.estimators import ESTIMATORS
from core.registry.protocols import CONTROLS, PROTOCOLS, find_protocol, n_control_passes
from core.texts.corpora import BUILT_IN


def test_everything_that_a_protocol_names_exists():
    for protocol in PROTOCOLS.values():
        assert set(protocol.more_estimators) <= set(ESTIMATORS)
        assert set(protocol.more_corpora) <= set(BUILT_IN)
        assert set(protocol.passes) <= set(CONTROLS)
    assert "one_per_type" in PROTOCOLS["standard"].clouds
    assert set(PROTOCOLS["thorough"].passes) == set(CONTROLS) > set(PROTOCOLS["standard"].passes)


def test_the_hash_tells_values_apart_and_nothing_else():
    standard = PROTOCOLS["standard"]
    assert standard.hash(0) == PROTOCOLS["thorough"].hash(0)  # the same numbers, and more of them
    assert standard.hash(0) != standard.hash(1)
    for change in (
        {"n_tokens": 128},
        {"bos": "none"},
        {"norm_factor": 4.0},
        {"n_draws": 3},
        {"clouds": ("one_per_type",)},
        {"algorithm": standard.algorithm + 1},
    ):
        assert replace(standard, **change).hash(0) != standard.hash(0)
    for change in ({"name": "other"}, {"passes": ()}, {"more_seeds": (4,)}, {"n_surrogates": 9}):
        assert replace(standard, **change).hash(0) == standard.hash(0)


def test_controls_take_as_long_as_their_effects_and_a_quarter_of_their_draws():
    assert n_control_passes(PROTOCOLS["standard"]) == 4 + 5 and n_control_passes(PROTOCOLS["quick"]) == 0


def test_an_unknown_name_lists_the_near_ones():
    with pytest.raises(InputError, match="Did you mean standard"):
        find_protocol("standart")
