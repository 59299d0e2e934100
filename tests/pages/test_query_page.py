"""The Query page: from a link, an example or the keyboard to rows, a picture and files; and what is refused there."""

from __future__ import annotations

import json
import re
import time
from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

from core.sql.examples import EXAMPLES
from core.ui import query
from core.ui.language import escape
from core.warehouse import people
from core.warehouse.warehouse import Warehouse
from tests.screens import ROOT, RUN_IDS, empty_warehouse, filled_warehouse
from tests.sql.hostile import DEEP, REFUSED

pytestmark = pytest.mark.slow


@pytest.fixture
def warehouse(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Warehouse:
    path = filled_warehouse(tmp_path)
    monkeypatch.setenv("WORKDIM_WAREHOUSE", str(path))
    monkeypatch.setattr(query, "PATIENCE_SECONDS", 60.0)
    return Warehouse(path)


def opened(**asked: str) -> AppTest:
    app = AppTest.from_file(str(ROOT / "app.py"), default_timeout=120).switch_page("pages/query.py")
    for name, value in asked.items():
        app.query_params[name] = value
    return app.run()


def button(app: AppTest, label: str):
    return next(one for one in app.button if one.label == label)


def typed(app: AppTest, sql: str) -> AppTest:
    app.text_area[0].set_value(sql)
    return app.button[0].click().run()  # "Run the query", in the reader's language


def rows(app: AppTest):
    """The table of the answer; the schema beside the editor is one too."""
    return app.dataframe[-1].value


def captions(app: AppTest) -> str:
    return "\n".join(one.value for one in app.caption)


def test_a_link_shows_rows_a_picture_and_files(warehouse: Warehouse):
    app = opened(sql=f"SELECT layer, value FROM layer_estimates WHERE run_id = '{RUN_IDS[0]}' AND estimator = 'd2'")
    button(app, "Run the query").click().run()
    assert not app.exception and not app.error
    assert list(rows(app).columns) == ["layer", "value"]
    assert "Rows: " in captions(app)
    (picture,) = [json.loads(one.proto.spec) for one in app.get("plotly_chart")]
    assert picture["layout"]["xaxis"]["title"]["text"] == "layer"
    assert [one.proto.label for one in app.get("download_button")] == [
        "CSV",
        "CSV for Excel",
        "Parquet",
        "Markdown for a wiki",
    ]


def test_a_link_runs_nothing_before_a_click(warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch):
    started: list[str] = []
    monkeypatch.setattr(query, "start", lambda sql, seconds: started.append(sql))
    app = opened(sql="SELECT sleep_ms(60000)")
    assert app.text_area[0].value == "SELECT sleep_ms(60000)" and "From a link" in captions(app)
    app.run()
    assert started == []
    button(app, "Run the query").click().run()
    assert started == ["SELECT sleep_ms(60000)"]


def test_an_example_is_run_when_it_is_chosen_and_has_a_short_address(warehouse: Warehouse):
    app = opened()
    assert len(app.dataframe) == 1 and not app.error
    app.selectbox(key="query example").set_value(EXAMPLES["inner_dimensions"].title).run()
    assert app.text_area[0].value == EXAMPLES["inner_dimensions"].statement()
    assert "made-up-big" in rows(app)["name"].to_list()
    assert app.query_params["example"] == "inner_dimensions" and "sql" not in app.query_params
    again = opened(example="inner_dimensions", lang="ja")
    again.button[0].click().run()
    assert rows(again).shape == rows(app).shape


def test_an_answer_stays_when_the_page_changes(warehouse: Warehouse):
    app = typed(opened(), "SELECT 41 + 1 AS answer")
    assert rows(app)["answer"].to_list() == [42]
    app.switch_page("pages/start.py").run()
    app.switch_page("pages/query.py").run()
    assert app.text_area[0].value == "SELECT 41 + 1 AS answer"
    assert rows(app)["answer"].to_list() == [42]
    assert app.query_params["sql"] == "SELECT 41 + 1 AS answer"


def test_a_query_is_saved_opened_by_its_name_replaced_when_asked_and_deleted(warehouse: Warehouse):
    name = "<b>mine</b> https://evil.example"
    app = typed(opened(), "SELECT 1 AS one")
    button(app, "Save...").click().run()
    app.text_input(key="query name").set_value(name).run()
    app.button(key="query save").click().run()
    assert people.find_query(warehouse, name).sql == "SELECT 1 AS one"
    assert app.query_params["saved"] == name and f"Saved as {escape(name)}" in captions(app)

    app = typed(opened(saved=name), "SELECT 2 AS two")
    button(app, "Save...").click().run()
    app.text_input(key="query name").set_value(name).run()
    assert app.button(key="query save").disabled
    app.checkbox(key="query replace").check().run()
    app.button(key="query save").click().run()
    assert people.find_query(warehouse, name).sql == "SELECT 2 AS two"

    app = button(opened(saved=name), "Run the query").click().run()
    assert rows(app)["two"].to_list() == [2]
    app.button(key="query delete").click().run()
    assert people.list_queries(warehouse) == []


def test_a_link_to_what_is_not_there_is_said(warehouse: Warehouse):
    assert "Unknown saved query" in opened(saved="gone").error[0].value
    assert "Unknown example" in opened(example="gone").error[0].value


def test_a_statement_too_long_for_a_link_says_how_to_share_it(warehouse: Warehouse):
    app = typed(opened(), "SELECT 1 AS n -- " + "x" * query.MAX_LINK_LENGTH)
    assert rows(app)["n"].to_list() == [1]
    assert "sql" not in app.query_params and "save the query" in captions(app)


def test_more_rows_than_are_shown_are_told(warehouse: Warehouse):
    app = typed(opened(), "SELECT i FROM range(20000) t(i)")
    assert rows(app).shape[0] == 10_000
    assert "Only the first 10,000" in app.warning[0].value


def test_a_long_query_has_a_bar_and_can_be_cancelled(warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(query, "PATIENCE_SECONDS", 0.0)
    app = typed(opened(), "SELECT sleep_ms(60000)")
    running = app.session_state["query under way"][0]
    assert not running.is_done()
    app.button(key="query cancel").click().run()
    assert app.error[0].value == "The query was cancelled."
    assert running.process.poll() is not None


def test_a_new_query_takes_the_place_of_the_one_under_way(warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(query, "PATIENCE_SECONDS", 0.0)
    app = typed(opened(), "SELECT sleep_ms(60000)")
    first = app.session_state["query under way"][0]
    typed(app, "SELECT 7 AS n")
    assert first.process.poll() is not None
    second = app.session_state["query under way"][0]
    while not second.is_done():
        time.sleep(0.05)
    assert rows(app.run())["n"].to_list() == [7]


def test_the_schema_is_searched_and_a_table_shown(warehouse: Warehouse):
    app = opened()
    assert "run_id" in app.dataframe[0].value["Column"].to_list()
    app.text_input(key="query search").set_value("neighbour").run()
    assert "layer_pairs" in app.dataframe[0].value["Table"].to_list()
    app.text_input(key="query search").set_value("no such word").run()
    assert "No table or column" in captions(app)
    app.text_input(key="query search").set_value("").run()
    app.selectbox(key="query table").set_value("models").run()
    app.button(key="query rows").click().run()
    assert "made-up-big" in rows(app)["name"].to_list()
    shown = next(one for one in app.dataframe if "name" in one.value.columns)
    widths = json.loads(shown.proto.columns)
    assert widths["name"]["width"] > 90 and "n_layers" not in widths


def test_the_picture_follows_the_readers_choice(warehouse: Warehouse):
    app = typed(opened(), "SELECT 'a' AS name, 1 AS x, 2 AS y UNION ALL SELECT 'b', 3, 5")
    app.selectbox(key="query x 1").set_value("x").run()
    app.selectbox(key="query y 1").set_value("y").run()
    assert not app.exception
    (picture,) = [json.loads(one.proto.spec) for one in app.get("plotly_chart")]
    assert (picture["layout"]["xaxis"]["title"]["text"], picture["layout"]["yaxis"]["title"]["text"]) == ("x", "y")
    app.get("button_group")[-1].set_value("histogram").run()
    assert not app.exception


@pytest.mark.parametrize(("sql", "told"), [REFUSED[5], DEEP[0]], ids=lambda text: ascii(text[:30]))
def test_a_hostile_statement_is_refused_in_one_line(warehouse: Warehouse, sql: str, told: str):
    before = warehouse.version()
    app = typed(opened(), sql.replace("{folder}", "/tmp").replace("{canary}", "/etc/hostname"))
    assert not app.exception
    assert len(app.error) == 1 and "\n" not in app.error[0].value
    assert re.search(told, app.error[0].value.replace("\\", ""))
    assert not app.get("download_button")
    assert warehouse.version() == before


def test_a_warehouse_without_runs_can_be_asked_for_its_scores(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("WORKDIM_WAREHOUSE", str(empty_warehouse(tmp_path)))
    monkeypatch.setattr(query, "PATIENCE_SECONDS", 60.0)
    app = typed(opened(), "SELECT count(*) > 9000 AS many FROM scores")
    assert not app.exception and rows(app)["many"].to_list() == [True]


def test_an_answer_without_rows_says_so_in_the_readers_language(warehouse: Warehouse):
    app = typed(opened(lang="ja"), "SELECT run_id AS _a_ FROM runs WHERE false")
    assert len(app.dataframe) == 1 and "\\_a\\_" in app.info[0].value  # the schema alone
    assert "No row" not in app.info[0].value
    assert len(app.get("download_button")) == 4
