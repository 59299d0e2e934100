"""The page of scores: what is handed over is shown value by value, stored when asked, and never run."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from urllib.parse import parse_qsl

import pytest
from streamlit.testing.v1 import AppTest

from core.errors import WarehouseLocked
from core.files import READ_ONLY
from core.records import Progress, ScoreConfig
from core.runs import jobs
from core.runs.jobs import ProgressReporter
from core.ui import url_state
from core.warehouse import queries, stored_scores
from core.warehouse.aliases import list_aliases, set_aliases
from core.warehouse.warehouse import Warehouse
from tests.pages.test_pages import drawings, figures, opened, table_of, texts
from tests.screens import filled_warehouse
from tests.warehouse.score_files import answers, score, score_file

pytestmark = pytest.mark.slow

BIG = "HuggingFaceTB/SmolLM2-135M"
HOSTILE = "<img src=x onerror=alert(1)>**bold** :material/home: $x$ [a](javascript:alert(1))"
HEAD = "model,benchmark,metric,value,unit\n"


@pytest.fixture
def warehouse(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Warehouse:
    path = filled_warehouse(tmp_path)
    monkeypatch.setenv("WORKDIM_WAREHOUSE", str(path))
    return Warehouse(path)


def handed_over(*files: tuple[str, str], **asked: str) -> AppTest:
    app = opened("choose.py", choose="scores", scores="import", **asked)
    return app.file_uploader[0].set_value([(name, text.encode(), "text/csv") for name, text in files]).run()


def imported(warehouse: Warehouse) -> list[str]:
    return stored_scores.list_imports(warehouse)["file_name"].to_list()


def test_a_warehouse_that_is_in_use_is_asked_again_at_the_next_look(
    warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    def locked(*_given: object) -> None:
        raise WarehouseLocked("In use.")

    with monkeypatch.context() as held:
        held.setattr(stored_scores, "preview_import", locked)
        app = handed_over(("mine.csv", f"{HEAD}{BIG},arc_easy,acc,61,percent\n"))
        assert [one.value for one in app.error] == ["In use."]
    app.run()
    assert not app.error and not app.exception and app.button(key="scores store")


def test_nothing_is_stored_before_the_button_and_all_of_it_after(warehouse: Warehouse) -> None:
    app = handed_over(("mine.csv", f"{HEAD}{BIG},arc_easy,acc,61,percent\n{BIG},piqa,acc,much,percent\n"))
    assert not app.exception and imported(warehouse) == []
    table = app.dataframe[-1].value
    assert list(table["Benchmark"]) == ["arc_easy", "piqa"]
    assert [text.split(",")[0] for text in table["What will be done"]] == ["taken", "skipped"]
    assert "line 3" in texts(app)
    app.button(key="scores store").click().run()
    assert imported(warehouse) == ["mine.csv"] and not app.exception
    assert "scores: 1," in app.success[0].value
    assert app.file_uploader[0].value == []
    assert queries.scores(warehouse, [BIG]).filter(benchmark="arc_easy", value=61.0).height == 1


def test_a_bad_file_says_why_and_keeps_no_good_one_from_being_stored(warehouse: Warehouse) -> None:
    app = handed_over(("bad.json", '{"results": {'), ("good.csv", f"{HEAD}{BIG},arc_easy,acc,61,percent\n"))
    assert len(app.error) == 1 and "bad.json" in app.error[0].value.replace("\\", "")
    app.button(key="scores store").click().run()
    assert imported(warehouse) == ["good.csv"]


def test_a_file_that_is_there_already_cannot_be_stored_again(warehouse: Warehouse) -> None:
    file = ("mine.csv", f"{HEAD}{BIG},arc_easy,acc,61,percent\n")
    handed_over(file).button(key="scores store").click().run()
    app = handed_over(file)
    assert "This file was stored on" in app.info[0].value
    assert app.button(key="scores store").disabled


def test_duplicates_and_contradictions_are_told(warehouse: Warehouse) -> None:
    stored_scores.store_import(warehouse, score_file(score(BIG, 61.0, filter="strict", suite="s", source="first")))
    head = "model,benchmark,metric,filter,n_shot,suite,value,unit,source\n"
    line = f"{BIG},arc_easy,acc,strict,0,s,{{value}},percent,second\n"
    app = handed_over(("again.csv", head + line.format(value=61.04)), ("other.csv", head + line.format(value=64)))
    told = app.dataframe[-1].value
    assert list(told["What will be done"]) == ["taken, is there already", "taken, contradicts what is there"]
    assert list(told["In the warehouse already"]) == ["the same from first", "61.0 from first"]


@pytest.mark.parametrize("language", ["en", "ja"])
def test_every_section_draws_with_hostile_names(warehouse: Warehouse, language: str) -> None:
    samples = [*answers(HOSTILE, {"q1": 1, "q2": 0}), *answers("made-up__small", {"q1": 0, "q2": 0})]
    file = score_file(
        score(HOSTILE, 40.0, source=HOSTILE), score(HOSTILE, 60.0, source="b"), samples=samples, name=HOSTILE + ".csv"
    )
    stored_scores.store_import(warehouse, file)
    set_aliases(warehouse, {HOSTILE + " too": HOSTILE})
    app = opened("choose.py", choose="scores", lang=language)
    for section in ("all", "import", "files", "names", "conflicts", "pairs"):
        app.query_params["scores"] = section
        assert not app.run().exception and not app.error, section
        for element in app.markdown:
            assert not element.allow_html
            assert "**bold**" not in element.value and "<img" not in element.value.replace("\\<", "")


def test_hostile_names_of_a_file_are_shown_letter_by_letter(warehouse: Warehouse) -> None:
    table = f'{HEAD}"{HOSTILE}",arc,acc,61,percent\n'
    app = handed_over((f"{HOSTILE}.csv".replace("/", "_"), table), ("other.csv", table))
    assert not app.exception and app.dataframe[-1].value["Model"][0] == HOSTILE
    for line in texts(app).splitlines():
        assert "**bold**" not in line and "<img" not in line.replace("\\<", "")


def test_names_are_mapped_where_the_reader_ticks_them(warehouse: Warehouse) -> None:
    stored_scores.store_import(warehouse, score_file(score("HuggingFaceTB__SmolLM2-135M", 61.0)))
    app = opened("choose.py", choose="scores", scores="names")
    assert "Suggestions" in texts(app)
    edits = {"edited_rows": {"0": {"Map": True}}, "added_rows": [], "deleted_rows": []}
    app.session_state["scores names suggested 0"] = edits
    app.button(key="scores map").click().run()
    assert not app.exception
    assert list_aliases(warehouse).select("alias", "reference").rows() == [("HuggingFaceTB__SmolLM2-135M", BIG)]


def test_names_as_screens_show_them_are_matched_and_lead_to_the_ranking(warehouse: Warehouse) -> None:
    head = "model,benchmark,metric,value\n"
    app = handed_over(("mine.csv", f"{head}made-up-big,ours,taste,5\nmade-up-small,ours,taste,4\nx/y,ours,acc,1\n"))
    assert "Measured here: 2 of 3 (by name: 2)" in texts(app) and list_aliases(warehouse).is_empty()
    (asked,) = [one for one in app.button_group if one.key == "scores direction taste"]
    asked.set_value(False)
    app.button(key="scores store").click().run()
    assert not app.exception
    assert list_aliases(warehouse)["alias"].to_list() == ["made-up-big", "made-up-small"]
    stored = warehouse.read("SELECT DISTINCT higher_is_better FROM scores WHERE metric = 'taste'").rows()
    assert stored == [(False,)]
    (link,) = [one for one in app.get("page_link") if "ours" in one.proto.label]
    address = dict(parse_qsl(link.proto.query_string))
    ranking = opened("choose.py", **address)
    assert not ranking.exception and ranking.selectbox(key=url_state.key("score")).value == address["score"]
    assert "Rank by score (no error known)" in table_of(ranking).columns


def test_a_file_of_unknown_models_says_that_no_ranking_shows_it(warehouse: Warehouse) -> None:
    app = handed_over(("mine.csv", f"{HEAD}HuggingFaceTB__SmolLM2-135M,arc_easy,acc,61,percent\n"))
    app.button(key="scores store").click().run()
    assert "None of this file's models is measured here: no ranking shows them" in app.warning[0].value and not app.get(
        "page_link"
    )


def test_all_suggestions_are_taken_by_one_tick(warehouse: Warehouse) -> None:
    stored_scores.store_import(warehouse, score_file(score("HuggingFaceTB__SmolLM2-135M"), score("MADE-UP/small")))
    app = opened("choose.py", choose="scores", scores="names")
    app.checkbox(key="scores tick all").check().run()
    app.button(key="scores map").click().run()
    assert not app.exception and list_aliases(warehouse).height == 2


def test_the_table_of_names_is_edited_as_a_whole_or_not_at_all(warehouse: Warehouse) -> None:
    set_aliases(warehouse, {"one": "o/one", "two": "o/two"})
    name, model = "Name in the file", "Model that is meant"

    def edited(*added: dict[str, str]) -> AppTest:
        app = opened("choose.py", choose="scores", scores="names")
        app.session_state["scores names table 0"] = {
            "edited_rows": {"0": {model: "o/other"}},
            "added_rows": list(added),
            "deleted_rows": [1],
        }
        return app.button(key="scores save names").click().run()

    app = edited({name: "three", model: "one"})
    assert "' is an alias of '" in app.error[0].value and list_aliases(warehouse)["alias"].to_list() == ["one", "two"]
    assert "is there twice" in edited({name: "one", model: "o/x"}).error[0].value
    app = edited({name: "three", model: "o/three"}, {})
    assert not app.error and not app.exception
    assert dict(list_aliases(warehouse).select("alias", "reference").rows()) == {"one": "o/other", "three": "o/three"}


def test_every_score_is_found_by_words(warehouse: Warehouse) -> None:
    stored_scores.store_import(warehouse, score_file(score("o/mine", 61.0), score("o/other", 40.0, benchmark="piqa")))
    app = opened("choose.py", choose="scores")
    assert len(app.dataframe[0].value) > 2
    app.text_input(key="view.words").set_value("o/ PIQA").run()
    assert app.dataframe[0].value["Model"].to_list() == ["o/other"]


def test_a_file_is_removed_after_it_was_confirmed(warehouse: Warehouse) -> None:
    stored_scores.store_import(warehouse, score_file(score()))
    app = opened("choose.py", choose="scores", scores="files")
    app.button(key="scores remove").click().run()
    assert imported(warehouse) == [] and not app.exception
    assert "No file was imported yet" in app.info[0].value


def test_an_app_that_only_shows_removes_no_file(warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch) -> None:
    stored_scores.store_import(warehouse, score_file(score()))
    monkeypatch.setenv(READ_ONLY, "1")
    app = opened("choose.py", choose="scores", scores="files")
    assert not app.exception and app.dataframe[0].value.shape[0] == 1
    assert not [one for one in app.button if "Remove" in one.label] and not app.selectbox


def test_two_models_are_compared_on_their_common_questions(warehouse: Warehouse) -> None:
    for name, right in (("o/good", 1), ("o/bad", 0)):
        samples = answers(name, {f"q{n}": right if n < 20 else 1 for n in range(30)})
        stored_scores.store_import(warehouse, score_file(samples=samples, name=name))
    app = opened("choose.py", choose="scores", scores="pairs", first="o/good", second="o/bad")
    row = app.dataframe[0].value.iloc[0]
    assert row["Result"] == "first is higher" and row["Common questions"] == 30
    assert row["Only the first is right"] == 20 and row["Only the second is right"] == 0
    (picture,) = figures(app)
    assert "good minus bad" in picture["layout"]["xaxis"]["title"]["text"]


def test_of_many_benchmarks_the_reader_chooses(warehouse: Warehouse) -> None:
    for model in ("o/a", "o/b"):
        samples = [row for n in range(14) for row in answers(model, {"q1": 1, "q2": 0}, benchmark=f"part{n:02}")]
        stored_scores.store_import(warehouse, score_file(samples=samples, name=model))
    app = opened("choose.py", choose="scores", scores="pairs")
    assert len(app.dataframe[0].value) == 12 and "Comparisons\\: 12" in texts(app)
    app.multiselect(key="view.benchmarks").set_value(["part13"]).run()
    assert list(app.dataframe[0].value["Benchmark"]) == ["part13, acc"]


def test_the_ranking_leaves_partial_runs_out_until_asked(warehouse: Warehouse) -> None:
    assert not [toggle for toggle in opened("choose.py", choose="ranking").toggle if toggle.key == "view.partial"]
    partial = score(BIG, 77.0, benchmark="only_here", is_partial=True, n_samples=100, source="p")
    stored_scores.store_import(warehouse, score_file(partial))
    app = opened("choose.py", choose="ranking")
    labels = app.selectbox(key="view.score").options
    assert not [label for label in labels if "only_here" in label]
    app.toggle(key="view.partial").set_value(True).run()
    asked = next(label for label in app.selectbox(key="view.score").options if "only_here" in label)
    app.selectbox(key="view.score").select(asked).run()
    assert not app.exception
    shown = table_of(app)
    assert "partial run, 100 questions" in "".join(shown["Whose score"].drop_nulls())
    assert "partial run" in drawings(app)[0]


def test_a_scoring_is_followed_among_the_jobs_and_leads_to_its_scores(
    warehouse: Warehouse, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = ScoreConfig("org/model", str(tmp_path / "tickets.jsonl"), "0" * 64)
    (tmp_path / "tickets.jsonl").touch()
    job = jobs.submit(config, warehouse)
    with jobs.hold_job(job):
        ProgressReporter(job, lambda step: None)(Progress("score", 1_200, 480_000))
        app = opened("measure.py")
        shown = texts(app).replace("\\", "")
        assert not app.exception and "org/model · tickets.jsonl · scoring" in shown and "running" in shown
    finished = {"file_sha256": "a" * 64, "waits": "", "was_known": True}
    jobs.finish_job(job, finished)
    jobs.finish_job(jobs.submit(replace(config, model="org/later"), warehouse), finished)
    app = opened("measure.py")
    shown = texts(app)
    assert not app.exception and "Known before; nothing was repeated." in shown
    assert shown.index("org/later") < shown.index("org/model"), "the newest first"
    assert "Clear from this list" in [one.label for one in app.button]
    monkeypatch.setenv(READ_ONLY, "1")  # what only leads on stays there
    app = opened("measure.py")
    assert "Clear from this list" not in [one.label for one in app.button]
    assert "Open the scores" in [one.proto.label for one in app.get("page_link")]
