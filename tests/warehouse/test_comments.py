"""A comment that lists what a column may hold lists all of it."""

import pytest

from core.tables import TABLES
from core.wording.labels import NAMES

LISTED = {
    ("models", "kind"): "kind",
    ("runs", "pass"): "pass",
    ("runs", "stack"): "stack",
    ("layer_estimates", "stack"): "stack",
    ("layer_estimates", "state"): "state",
    ("layer_estimates", "transform"): "transform",
    ("layer_correlators", "cloud"): "cloud",
    ("run_checks", "outcome"): "outcome",
    ("run_checks", "check_name"): "check",
    ("layer_pairs", "measure"): "pair",
    ("layer_distributions", "quantity"): "quantity",
    ("layer_correlators", "correlator"): "correlator",
    ("layer_estimates", "estimator"): "estimator",
    ("run_summaries", "verdict_rise"): "claim_verdict",
    ("run_claims", "outcome"): "claim_outcome",
    ("run_controls", "outcome"): "control_outcome",
    ("run_extrema", "kind"): "extremum",
}


@pytest.mark.parametrize(("table", "column"), LISTED)
def test_a_comment_lists_every_value(table, column):
    comment = TABLES[table].comments[column]
    assert not [key for kind, key in NAMES if kind == LISTED[table, column] and key not in comment]


def test_a_format_of_weights_is_a_file_format():
    assert (
        TABLES["models"]
        .comments["weight_format"]
        .startswith("Files of the weights: safetensors or gguf; a quantisation undone")
    )
