"""Every example runs, and on a warehouse that holds what it asks about, it finds something."""

from __future__ import annotations

import re
from pathlib import Path

import polars as pl
import pytest

from core.figures.query_chart import default_choice, query_points
from core.locale import in_language, translated
from core.sql import sandbox
from core.sql.examples import EXAMPLES
from core.warehouse import stored_scores
from core.warehouse.aliases import set_aliases
from core.warehouse.runs import save_plan
from core.warehouse.warehouse import Warehouse
from tests.plans.made import layer_plan
from tests.profiles import make_model, make_profile
from tests.screens import RUN_IDS, add_run, filled_warehouse
from tests.warehouse.score_files import score, score_file

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Warehouse:
    """With a repeat by another seed, a vetoed run, a layer plan, and an alias that makes two names one model."""
    path = filled_warehouse(tmp_path_factory.mktemp("examples"))
    big = make_model("made-up/big@1", name="made-up-big", repository="HuggingFaceTB/SmolLM2-135M", revision="main")
    add_run(path, make_profile(RUN_IDS[0][:-2] + "91", model=big, seed=1, peak=104.0, outcome="veto"))
    warehouse = Warehouse(path)
    set_aliases(warehouse, {"EleutherAI/pythia-70m": "made-up/encoder"})
    save_plan(warehouse, layer_plan())
    return warehouse


@pytest.mark.parametrize("name", EXAMPLES)
def test_an_example_finds_something(filled: Warehouse, name: str):
    frame = sandbox.run_query(filled, EXAMPLES[name].statement()).frame
    assert not frame.is_empty()
    assert len(set(frame.columns)) == frame.width and not [column for column in frame.columns if "(" in column]
    choice = default_choice(frame)
    assert choice is None or query_points(frame, choice).series


@pytest.mark.parametrize("name", EXAMPLES)
def test_an_example_is_explained_in_the_readers_language(name: str):
    titles = {in_language(language, translated, EXAMPLES[name].title) for language in ("en", "ja")}
    assert len(titles) == 2
    english, japanese = (in_language(language, EXAMPLES[name].statement).splitlines() for language in ("en", "ja"))
    assert all(line.strip("- ") for line in english + japanese)
    said = [[line for line in lines if line.startswith("-- ")] for lines in (english, japanese)]
    assert english[len(said[0]) :] == japanese[len(said[1]) :], "the same statement"
    assert re.search("[ぁ-ん]", "".join(said[1])) and not re.search("[ぁ-ん]", "".join(said[0]))


def test_names_of_one_model_are_joined_by_its_alias(filled: Warehouse):
    frame = sandbox.run_query(filled, EXAMPLES["dimension_and_score"].statement()).frame
    assert "made-up-encoder" in frame["name"].to_list()


def test_a_vetoed_run_is_named_and_not_ranked(filled: Warehouse):
    vetoed = sandbox.run_query(filled, EXAMPLES["checks_not_passed"].statement()).frame
    assert vetoed.filter(outcome="veto")["run_id"].to_list() == [RUN_IDS[0][:-2] + "91"]
    ranked = sandbox.run_query(filled, EXAMPLES["inner_dimensions"].statement()).frame
    assert RUN_IDS[0][:-2] + "91" not in ranked["run_id"].to_list()


def test_examples_run_on_a_warehouse_without_runs(tmp_path: Path):
    warehouse = Warehouse(tmp_path / "w.duckdb")
    warehouse.prepare()
    for name in ("one_profile", "controls", "ranks_disagree"):
        assert sandbox.run_query(warehouse, EXAMPLES[name].statement()).frame.is_empty()


def test_fractions_percentages_and_revisions_are_kept_apart_in_examples(tmp_path: Path):
    path = filled_warehouse(tmp_path)
    warehouse = Warehouse(path)
    repository = "HuggingFaceTB/SmolLM2-135M"
    same = {"benchmark": "made", "suite": "s", "n_shot": 0, "filter": "none"}
    told = [
        score(repository, 0.5, unit="fraction", source="one", **same),
        score(repository, 50.0, source="two", **same),
    ]
    other = score(repository, 99.0, benchmark="made", suite="s", n_shot=1, filter="none", revision="another")
    stored_scores.store_import(warehouse, score_file(*told, other))
    conflicts = sandbox.run_query(warehouse, EXAMPLES["score_conflicts"].statement()).frame
    assert "made" not in conflicts["benchmark"].to_list()
    beside = sandbox.run_query(warehouse, EXAMPLES["dimension_and_score"].statement()).frame.filter(benchmark="made")
    assert set(beside.filter(score=99.0)["score_of"]) == {"another revision", "base model"}
    assert set(beside.filter(pl.col("score") != 99.0)["score_of"]) == {"revision not stated", "base model"}
