"""The instrument's own check: shipped profiles are whole, of today's protocol, and a drifted value is seen."""

import json

import polars as pl
import pytest

from core import wording
from core.analysis.claims import decide_verdict
from core.analysis.shape import judge_profile
from core.registry.protocols import CLAIMS, PASSES, PROTOCOLS, ROTATED, TRAINED
from core.runs.installation import CORPUS, MODEL, PROTOCOL, compare
from core.store.parcels import read_parcel
from core.tables import RunControlRow
from core.warehouse import queries
from core.warehouse.integrity import check_integrity
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
    assert sum(file.stat().st_size for file in PROFILES.rglob("*")) < 18e6
    models = {(t["models"]["reference"][0], t["runs"]["protocol"][0], t["runs"]["pass"][0]) for t in shipped}
    assert (MODEL, PROTOCOL, "text") in models
    assert {"random_init", "shuffled", "text"} <= {run["pass"] for run in runs}


@pytest.fixture(scope="module")
def taken_in(tmp_path_factory):
    """A warehouse of the shipped profiles, and what was said when they were taken in."""
    path = tmp_path_factory.mktemp("profiles") / "w.duckdb"
    return Warehouse(path), run_core("ingest", "--reference", warehouse=path).stdout


@pytest.fixture(scope="module")
def profiles(taken_in):
    """The shipped profiles as they are read back, without those of the ladder and of damaged networks."""
    warehouse, _ = taken_in
    runs = queries.runs(warehouse).filter(pl.col("reference").str.starts_with("pypi:"))
    return [read_profile(warehouse, run_id) for run_id in runs["run_id"]]


def judged_again(profile, profiles):
    """By today's code, not by what was stored when it was measured; with the controls that it was judged with."""
    ids = profile.summaries[0].control_run_ids or ()
    return judge_profile(profile, [control for control in profiles if control.run.run_id in ids])


def test_the_shipped_models_have_the_shape_and_the_verdicts_that_the_documents_tell(profiles):
    texts = [judged_again(profile, profiles) for profile in profiles if profile.run.pass_ == "text"]
    of_model = {name: [p for p in texts if name in p.model.reference] for name in ("smollm2", "minilm", "gemma")}
    assert [len(found) for found in of_model.values()] == [4, 2, 6]
    for profile in of_model["smollm2"]:
        summary = profile.summaries[0]
        assert summary.verdict_rise == "depends" and summary.reasons_rise[0] == "axis_dominant_directions"
        held = {row.claim: row.outcome for row in profile.controls if row.power is not None}
        assert held == {"rise": "shows_it", "fall": "exceeded"} and "control_shows_it" in summary.reasons_rise
        assert summary.working_layer is not None
    told = {(p.run.protocol, p.corpus.name): p.summaries[0].verdict_fall for p in of_model["smollm2"]}
    assert told == {
        ("quick", "english-business"): "holds",
        ("quick", "python-docs"): "mostly_holds",
        ("standard", "english-business"): "mostly_holds",
        ("standard", "python-docs"): "unclear",
    }
    for profile in [*of_model["minilm"], *of_model["gemma"]]:
        summary = profile.summaries[0]
        valleys = [row.layer for row in profile.extrema if (row.kind, row.cloud) == ("valley", summary.cloud)]
        assert summary.working_dimension is None and summary.lowest_layer in valleys
        assert summary.inner_max is not None and "holds" not in (summary.verdict_rise, summary.verdict_fall)
    for profile in of_model["gemma"]:
        assert "three coordinates" in wording.dominance_text(profile.correlators)
    shuffled = {profile.run.run_id for profile in profiles if profile.run.pass_ == "shuffled"}
    of_docs = [
        row for p in of_model["smollm2"] if (p.corpus.name, p.run.protocol) == (CORPUS, "quick") for row in p.controls
    ]
    (final,) = (row for row in of_docs if row.claim == "final" and row.control_run_id in shuffled)
    assert final.outcome == "differs" and final.ratio > 2


def test_no_claim_of_a_random_model_would_hold_even_against_a_control_that_it_exceeds(profiles):
    """Without controls none could be, whatever it read: so each is given one."""
    exceeded = RunControlRow("run", "control", "any", 1.5, 1.2, 2.0, 0.9, "exceeded")
    words = {}
    for profile in profiles:
        if PASSES[profile.run.pass_].weights in (TRAINED, ROTATED):  # rotated updates keep what training wrote
            continue
        judged = judge_profile(profile)
        for claim in CLAIMS:
            found = decide_verdict(
                [row for row in judged.claims if row.claim == claim], [exceeded], profile.worst_check == "veto"
            )
            words.setdefault((profile.model.reference, profile.run.pass_), []).append(found.word)
    assert all("holds" not in of_kind for of_kind in words.values()), words
    assert {*words[MODEL, "random_blocks"], *words[MODEL, "random_init"]} == {"invalid"}


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


def test_reference_profiles_are_taken_in_once_and_are_sound(taken_in, shipped):
    """Their controls and pilots did not come along, which is no reason to complain."""
    path = taken_in[0].path
    assert f"{len(shipped)} of {len(shipped)} shipped profiles" in taken_in[1]
    assert f"Added: 0 of {len(shipped)} shipped profiles" in run_core("ingest", "--reference", warehouse=path).stdout
    examined = check_integrity(taken_in[0])
    assert examined.findings == () and examined.n_parcels == len(shipped)
    assert json.loads(run_core("runs", "--json", warehouse=path).stdout) == []  # not one of the user's own
    listed = json.loads(run_core("runs", "--tag", "reference", "--json", warehouse=path).stdout)
    assert len(listed) == len(shipped) and all(run["tags"][0] == "reference" for run in listed)
