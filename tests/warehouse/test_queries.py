"""The named reads that pages, slides and the command line stand on."""

from dataclasses import replace

import polars as pl
import pytest

from core.analysis.differences import control_links
from core.tables import LONG_TABLES, TABLES, Run, RunRow, RunSummaryRow, columns
from core.tables.columns import attributes
from core.warehouse import queries
from core.warehouse.runs import ingest_parcel
from tests.profiles import make_controls, make_model, make_profile

OLD, NEW = "01900000-0000-7000-8000-000000000001", "01900000-0000-7000-8000-000000000002"


@pytest.fixture
def filled(warehouse, add_parcel):
    ingest_parcel(warehouse, add_parcel(make_profile(OLD, outcome="veto")))
    encoder = make_model("pypi:encoder@2.0", kind="encoder", n_layers=6)
    ingest_parcel(warehouse, add_parcel(make_profile(NEW, model=encoder, peak=80.0, outcome="warn")))
    return warehouse


def test_runs_come_newest_first_with_model_corpus_summary_and_worst_check(filled):
    runs = queries.runs(filled)
    assert runs["run_id"].to_list() == [NEW, OLD]
    assert runs["worst_check"].to_list() == ["warn", "veto"]
    assert runs["kind"].to_list() == ["encoder", "decoder"]
    assert runs["working_dimension"].to_list() == [80.0, 100.0]
    assert runs["final_dimension_post_norm"].to_list() == [None, pytest.approx(17.0)]
    assert runs["corpus_name"].to_list() == ["made-up", "made-up"]
    assert set(columns(RunRow)) | set(columns(RunSummaryRow)) < set(runs.columns)
    assert set(runs.columns) <= set(attributes(Run)), "who reads records would not see it"


def test_a_run_without_summary_or_checks_is_still_listed(warehouse, add_parcel):
    ingest_parcel(warehouse, add_parcel(replace(make_profile(OLD), summaries=[], checks=[])))
    run = queries.runs(warehouse).row(0, named=True)
    assert (run["run_id"], run["working_dimension"], run["worst_check"]) == (OLD, None, None)


def test_an_empty_warehouse_gives_the_same_columns_and_types(filled, new_warehouse):
    empty = queries.runs(new_warehouse("empty"))
    assert empty.is_empty()
    assert empty.schema == queries.runs(filled).schema


def test_rows_of_chosen_runs_only(filled):
    for table in {*LONG_TABLES}.difference(("layer_seeds", "run_controls", "run_windows")):
        assert set(queries.rows(filled, table, [OLD])["run_id"]) == {OLD}
        assert set(queries.rows(filled, table, [OLD, NEW])["run_id"]) == {OLD, NEW}
        assert queries.rows(filled, table, []).schema == TABLES[table].schema


def test_layers_come_in_order_with_the_post_norm_state_last(filled):
    d2 = queries.rows(filled, "layer_estimates", [OLD]).filter(
        estimator="d2", cloud="one_per_type", transform="centred"
    )
    assert d2["layer"].to_list() == [0, 1, 2, 3, 4, 4]
    assert d2["state"].to_list()[-2:] == ["residual", "post_norm"]


def test_a_run_names_the_checks_that_veto_it(filled):
    assert queries.runs(filled)["vetoed_by"].to_list() == [[], ["norm_dropped_share"]]


def test_controls_belong_to_their_parent_and_random_weights_to_all_of_one_architecture(warehouse, add_parcel):
    text = make_profile(OLD)
    shuffled, random, second = make_controls(text, 51)
    alike = make_model("made-up/finetuned@1", configuration_hash=text.model.configuration_hash)
    others = (
        make_profile(NEW, model=alike),
        make_profile(OLD[:-2] + "61", model=make_model("made-up/other@1")),
        make_profile(OLD[:-2] + "62", protocol_hash="another"),
    )
    for profile in (text, shuffled, random, second, *others):
        ingest_parcel(warehouse, add_parcel(profile))
    known = queries.runs(warehouse)
    found = control_links(known, known).sort("text_run_id", "pass", "model_seed")
    assert found.select("text_run_id", "run_id", "pass", "model_seed").rows() == [
        (OLD, random.run.run_id, "random_init", 0),
        (OLD, second.run.run_id, "random_init", 1),
        (OLD, shuffled.run.run_id, "shuffled", None),
        (NEW, random.run.run_id, "random_init", 0),
        (NEW, second.run.run_id, "random_init", 1),
    ]
    assert control_links(known.clear(), known).is_empty()


def test_a_control_that_the_verdict_names_is_one_whatever_its_hashes(warehouse, add_parcel):
    far = make_profile(NEW, pass_="random_init", protocol_hash="another", model_seed=3)
    text = make_profile(OLD)
    judged = [replace(row, control_run_ids=[NEW]) for row in text.summaries]
    for profile in (far, replace(text, summaries=judged)):
        ingest_parcel(warehouse, add_parcel(profile))
    known = queries.runs(warehouse)
    assert control_links(known, known)["run_id"].to_list() == [NEW]


def test_scores_of_chosen_repositories(warehouse):
    base = queries.scores(warehouse, ["HuggingFaceTB/SmolLM2-135M"])
    assert set(base["repository"]) == {"HuggingFaceTB/SmolLM2-135M"}
    assert queries.scores(warehouse, []).schema == TABLES["scores"].schema | {"name_in_source": pl.String}
    assert queries.scores(warehouse, ["HuggingFaceTB/SmolLM2-135M-Instruct"]).is_empty()


def test_counts(filled):
    counts = queries.counts(filled)
    assert (counts["runs"], counts["models"], counts["corpora"]) == (2, 2, 1)
    assert counts["estimates"] == queries.rows(filled, "layer_estimates", [OLD, NEW]).height
    assert counts["scores"] == queries.scores(filled).height
