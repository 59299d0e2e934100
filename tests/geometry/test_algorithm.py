"""What a released algorithm number stands for: values on one cloud, to four digits.

If a change moves one of them, stored runs no longer compare with new ones: raise `Protocol.algorithm`, measure the
reference profiles again (CONTRIBUTING.md), and put the new values here.
"""

import pytest

from core.geometry import layer
from core.registry.protocols import PROTOCOLS
from tests.geometry.test_layer import clustered, found, plan

ALGORITHM = 4
VALUES = {
    ("one_per_type", "d2", None, "centred"): (10.154, 0.0623),
    ("one_per_type", "d2", None, "abtt3"): (7.0639, 0.0504),
    ("one_per_type", "d2", None, "zscore"): (64.34, 1.493),
    ("one_per_type", "gride", 8, "centred"): (7.4526, 0.2008),
    ("one_per_type", "mle", None, "centred"): (7.5495, 0.2037),
    ("one_per_type", "correlation_integral", 10, "centred"): (6.5439, 0.2926),
    ("one_per_type", "effective_rank", None, "centred"): (9.7278, 0.0545),
    ("all_tokens", "d2_typed", None, "centred"): (9.2770, 0.2005),
    ("one_per_type", "participation_ratio", None, "centred"): (10.198, 0.1475),
    ("all_tokens", "participation_ratio", None, "centred"): (5.6609, 0.2090),
    ("one_per_type", "gride_between", 8, "centred"): (7.3168, 0.1883),
    ("all_tokens", "gride_typed", 8, "centred"): (14.324, 0.5982),
}


def test_values_are_those_of_the_algorithm_number():
    assert {protocol.algorithm for protocol in PROTOCOLS.values()} == {ALGORITHM}
    states, types, sequences = clustered(11)
    result = layer.measure_layer(states, plan(types, sequences))
    for key, (value, error) in VALUES.items():
        estimate = found(result, *key).estimate
        assert estimate.value == pytest.approx(value, rel=2e-3), key
        assert estimate.std_error == pytest.approx(error, rel=0.03), key
