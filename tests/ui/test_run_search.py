"""Choosing among many runs: what is offered, what is said of the rest, and that old links still lead to their runs."""

from __future__ import annotations

import re
from pathlib import Path

import polars as pl
import pytest
from streamlit.testing.v1 import AppTest

from core.ui import run_choice
from core.ui.choose import relation
from core.warehouse import queries
from core.warehouse.warehouse import Warehouse
from tests.bench.warehouses import Maker, fill, run_id_of
from tests.screens import ROOT

pytestmark = pytest.mark.slow

FIRST, END = 928, 1_024
"""Numbers of the runs: a quarter of them on text, the rest their controls; two days, and more than one list offers."""
LISTED = 10
OLDEST = "bert-00014"


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> Warehouse:
    path = Path(tmp_path_factory.mktemp("many")) / "workdim.duckdb"
    fill(path, END, Maker("small"), FIRST)
    return Warehouse(path)


@pytest.fixture
def app(many: Warehouse, monkeypatch: pytest.MonkeyPatch) -> AppTest:
    monkeypatch.setenv("WORKDIM_WAREHOUSE", str(many.path))
    monkeypatch.setattr(run_choice, "MAX_LISTED", LISTED)
    monkeypatch.setattr(run_choice, "N_SHOWN_FIRST", 1)
    return AppTest.from_file(str(ROOT / "app.py"), default_timeout=60).run()


def chooser(app: AppTest):
    return app.multiselect(key="view.runs")


def captions(app: AppTest) -> str:
    return "\n".join(one.value for one in app.caption)


def test_every_word_must_be_met(many: Warehouse) -> None:
    runs = queries.run_list(many)
    name = runs["name"][0]
    found = run_choice.matching_runs(runs, f"{name.upper()}  quick shuffled")
    assert 0 < found.height < runs.height
    assert set(found.select("name", "protocol", "pass").rows()) == {(name, "quick", "shuffled")}
    assert run_choice.matching_runs(runs, run_id_of(FIRST + 13))["run_id"].to_list() == [run_id_of(FIRST + 13)]
    assert run_choice.matching_runs(runs, "2026-01-01").height < runs.height
    assert run_choice.matching_runs(runs, ".*").is_empty()
    assert run_choice.matching_runs(runs, "  ").equals(runs)


def test_the_newest_are_offered_and_the_others_found_by_words(app: AppTest) -> None:
    app.switch_page("pages/compare.py").run()
    offered = chooser(app).options
    assert LISTED <= len(offered) <= LISTED + 6
    n_texts = int(app.text_input(key="view.find").label.removeprefix("Find runs (").removesuffix(")"))
    assert 0 < n_texts < END - FIRST
    assert not any(label.startswith(OLDEST) for label in offered)
    app.text_input(key="view.find").set_value(f"{OLDEST} quick text-3").run()
    assert any(label.startswith(OLDEST) for label in chooser(app).options)
    assert len(chooser(app).options) <= LISTED + 1
    app.text_input(key="view.find").set_value("no such run").run()
    assert chooser(app).value and not app.exception  # what was chosen stays
    app.text_input(key="view.find").set_value("").run()
    app.multiselect(key="view.of").set_value([OLDEST]).run()
    assert f"of {n_texts} shown" in captions(app), "the filter counts as the search does"
    assert app.text_input(key="view.find")


def test_a_link_to_an_old_run_still_shows_it(app: AppTest, many: Warehouse) -> None:
    old = run_id_of(FIRST + 3)
    app.switch_page("pages/compare.py").run()
    app.query_params["runs"] = old
    app.run()
    assert chooser(app).value == [old]
    assert not app.exception
    assert queries.runs(many, [old])["name"][0] in "\n".join(one.value for one in app.markdown)


def test_a_ranking_shows_one_group_and_lists_the_others(app: AppTest) -> None:
    app.switch_page("pages/choose.py")
    app.query_params["choose"] = "ranking"
    app.run()
    assert not app.exception and not app.error
    (others,) = [one.label for one in app.expander if "Not comparable" in one.label]
    assert int(re.search(r"\((\d+) groups\)", others)[1]) > relation.MAX_GROUPS
    app.session_state["other groups"] = True
    app.run()
    assert any(one.value.startswith("and ") and one.value.endswith(" more") for one in app.caption)


def test_a_comparison_is_read_as_all_runs_tell_it(many: Warehouse) -> None:
    runs = queries.runs(many)
    first = runs.filter(pl.col("pass") == "text").row(0, named=True)
    told = queries.ranking(many, first["protocol_hash"])
    wanted = runs.filter(pl.col("pass") == "text").filter(protocol_hash=first["protocol_hash"])
    assert told.equals(wanted.select(told.columns)) and 0 < told.height < runs.height
    some = wanted["run_id"].to_list()[:3]
    assert queries.runs(many, some).equals(wanted.head(3))
    assert queries.runs(many, []).is_empty()
