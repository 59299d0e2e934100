"""The instrument's own check: shipped profiles are whole, of today's protocol, and a drifted value is seen."""

import json

import polars as pl
import pytest

from core.instrument import MODEL, PROTOCOL, compare, references
from core.measure.protocol import PROTOCOLS
from core.warehouse.parcel_format import read_parcel
from tests.conftest import run_core


@pytest.fixture(scope="module")
def shipped():
    return [read_parcel(folder) for folder in references()]


def test_the_shipped_profiles_are_of_todays_protocols(shipped):
    runs = [tables["runs"].row(0, named=True) for tables in shipped]
    assert {run["protocol_hash"] for run in runs} == {PROTOCOLS[r["protocol"]].hash(r["seed"]) for r in runs}
    assert all(run["tags"] == ["reference"] for run in runs)
    models = {(t["models"]["reference"][0], t["runs"]["protocol"][0], t["runs"]["pass"][0]) for t in shipped}
    assert (MODEL, PROTOCOL, "text") in models
    assert {"random_init", "shuffled", "text"} <= {run["pass"] for run in runs}


def test_trained_weights_show_the_shape_and_random_weights_do_not(shipped):
    """On the shipped measurements: `found` for the trained decoder, not found or a veto for random weights."""
    for tables in shipped:
        run, reference = tables["runs"].row(0, named=True), tables["models"]["reference"][0]
        summary = tables["run_summaries"].filter(cloud="one_per_type").row(0, named=True)
        if run["pass"] == "random_init":
            assert summary["verdict"] == "not_found" or "check_vetoed" in summary["qualifiers"]
        elif run["pass"] == "text" and reference == MODEL:
            assert summary["verdict"] == "found" and "random_init_differs" in summary["qualifiers"]


def test_a_value_that_drifted_or_is_missing_is_seen(shipped):
    estimates = next(t["layer_estimates"] for t in shipped if t["models"]["reference"][0] == MODEL)
    same = compare(estimates, estimates)
    assert same.is_right and same.values["n_values"].sum() > 500
    drifted = estimates.with_columns(
        value=pl.when(pl.col("estimator") == "d2", pl.col("layer") == 5).then(pl.col("value") * 1.01).otherwise("value")
    )
    found = compare(estimates, drifted)
    assert not found.is_right
    outside = found.values.filter(~pl.col("within"))
    assert outside.select("estimator", "layer").rows() == [("d2", 5)]
    fewer = compare(estimates, estimates.filter(pl.col("layer") != 3))
    assert not fewer.is_right and fewer.n_missing > 0


def test_reference_profiles_can_be_taken_in_once(tmp_path, shipped):
    path = tmp_path / "w.duckdb"
    first, second = (run_core("ingest", "--reference", warehouse=path) for _ in range(2))
    assert f"{len(shipped)} of {len(shipped)} reference profiles" in first.stdout
    assert f"0 of {len(shipped)}" in second.stdout
    listed = json.loads(run_core("runs", "--json", warehouse=path).stdout)
    assert len(listed) == len(shipped) and all(run["tags"] == ["reference"] for run in listed)


def test_doctor_says_what_is_here(tmp_path):
    done = run_core("doctor", "--json", warehouse=tmp_path / "w.duckdb")
    facts = json.loads(done.stdout)
    assert done.returncode == 0 and "cpu" in facts["devices"] and facts["torch"][0].isdigit()
    assert not list(tmp_path.iterdir())
