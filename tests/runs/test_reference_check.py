"""The instrument's own check: shipped profiles are whole, of today's protocol, and a drifted value is seen."""

import json

import polars as pl
import pytest

from core.analysis.shape import judge_profile
from core.registry.protocols import PROTOCOLS
from core.runs.reference_check import CORPUS, MODEL, PROTOCOL, compare
from core.store.parcels import read_parcel
from core.warehouse import queries
from core.warehouse.reference import PROFILES, shipped_bundles, shipped_parcels, unpack
from core.warehouse.runs import read_profile
from core.warehouse.warehouse import Warehouse
from tests.conftest import run_core

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def shipped(tmp_path_factory):
    packed = tmp_path_factory.mktemp("packed")
    for bundle in shipped_bundles():
        unpack(bundle, packed)
    return [read_parcel(folder) for folder in [*shipped_parcels(), *sorted(packed.iterdir())]]


def test_the_shipped_profiles_are_of_todays_protocols(shipped):
    runs = [tables["runs"].row(0, named=True) for tables in shipped]
    assert {run["protocol_hash"] for run in runs} == {PROTOCOLS[r["protocol"]].hash(r["seed"]) for r in runs}
    assert all(run["tags"][0] == "reference" for run in runs) and len(runs) > 150
    assert sum(file.stat().st_size for file in PROFILES.rglob("*")) < 15e6
    models = {(t["models"]["reference"][0], t["runs"]["protocol"][0], t["runs"]["pass"][0]) for t in shipped}
    assert (MODEL, PROTOCOL, "text") in models
    assert {"random_init", "shuffled", "text"} <= {run["pass"] for run in runs}


def test_no_random_model_has_a_robust_verdict_and_the_text_is_as_the_evidence_says(tmp_path):
    """The shipped measurements judged again by today's code, not by what they stored when they were measured."""
    path = tmp_path / "w.duckdb"
    run_core("ingest", "--reference", warehouse=path)
    profiles = [read_profile(Warehouse(path), run_id) for run_id in queries.runs(Warehouse(path))["run_id"]]
    wanted = (MODEL, CORPUS, PROTOCOL)
    of_model = [p for p in profiles if (p.model.reference, p.corpus.name, p.run.protocol) == wanted]
    texts, controls = ([p for p in of_model if (p.run.pass_ == "text") == wanted] for wanted in (True, False))
    for profile in controls:
        summary = judge_profile(profile).summaries[0]
        assert "robust" not in (summary.verdict_rise, summary.verdict_fall)
    found = judge_profile(texts[0], controls)
    assert found.summaries[0].working_dimension is not None
    final = next(row for row in found.controls if row.claim == "final")
    assert final.outcome == "differs" and final.ratio > 2


LAYER_COLUMN = {"layer_estimates": "layer", "layer_correlators": "layer", "layer_pairs": "layer_a"}


@pytest.mark.parametrize(
    ("table", "column", "name", "what", "factor", "quantity"),
    [
        ("layer_estimates", "estimator", "d2", "value", 1.01, "d2"),
        ("layer_estimates", "estimator", "mle", "std_error", 1.2, "errors of mle"),
        ("layer_correlators", "correlator", "mean_cosine", "value", 1.2, "mean_cosine"),
        ("layer_pairs", "measure", "autocorrelation", "value", 1.2, "autocorrelation"),
    ],
)
def test_a_value_that_drifted_is_seen(shipped, table, column, name, what, factor, quantity):
    tables = next(t for t in shipped if t["models"]["reference"][0] == MODEL)
    same = compare(tables, tables)
    assert same.is_within_tolerance and same.values["n_values"].sum() > 2000
    at_layer_5 = (pl.col(column) == name) & (pl.col(LAYER_COLUMN[table]) == 5)
    drifted = tables[table].with_columns(pl.when(at_layer_5).then(pl.col(what) * factor).otherwise(what).alias(what))
    found = compare(tables, tables | {table: drifted})
    assert not found.is_within_tolerance
    assert found.values.filter(~pl.col("within")).select("quantity", "layer").rows() == [(quantity, 5)]


def test_zeros_agree_with_zeros(shipped):
    tables = next(t for t in shipped if t["models"]["reference"][0] == MODEL)
    exact = tables["layer_estimates"].with_columns(std_error=0.0 * pl.col("std_error"))
    assert compare(tables | {"layer_estimates": exact}, tables | {"layer_estimates": exact}).is_within_tolerance


def test_a_value_that_is_missing_is_seen(shipped):
    tables = next(t for t in shipped if t["models"]["reference"][0] == MODEL)
    fewer = compare(tables, tables | {"layer_estimates": tables["layer_estimates"].filter(pl.col("layer") != 3)})
    assert not fewer.is_within_tolerance and fewer.n_missing > 0


def test_reference_profiles_can_be_taken_in_once(tmp_path, shipped):
    path = tmp_path / "w.duckdb"
    first, second = (run_core("ingest", "--reference", warehouse=path) for _ in range(2))
    assert f"{len(shipped)} of {len(shipped)} reference profiles" in first.stdout
    assert f"0 of {len(shipped)}" in second.stdout
    assert json.loads(run_core("runs", "--json", warehouse=path).stdout) == []  # not one of the user's own
    listed = json.loads(run_core("runs", "--tag", "reference", "--json", warehouse=path).stdout)
    assert len(listed) == len(shipped) and all(run["tags"][0] == "reference" for run in listed)
