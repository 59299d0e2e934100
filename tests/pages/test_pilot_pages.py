"""Pages looked at through a pilot: its runs, its benchmark first, and what its use class forbids before any number."""

from __future__ import annotations

from dataclasses import replace
from datetime import date
from io import BytesIO
from pathlib import Path

import pytest
from pptx import Presentation

from core.commands.main import main
from core.locale import in_language
from core.pilots import pilot as registration
from core.pilots.pilot import Benchmark, OwnScore, OwnTask, Pilot, PilotModel, PilotText
from core.warehouse import people, queries
from core.warehouse.warehouse import Warehouse
from core.wording.labels import day
from tests.pages.test_pages import opened, table_of, texts
from tests.screens import RUN_IDS, filled_warehouse

pytestmark = pytest.mark.slow

PAGES = ("compare.py", "choose.py", "share.py")
BIG, SMALL = (PilotModel(name) for name in ("made-up/big", "made-up/small"))
GENERAL = Pilot(
    "Tickets",
    "Which model may answer first?",
    "general",
    (replace(BIG, score=OwnScore(71.5, 2.4)), SMALL),
    (PilotText("made-up"),),
    Benchmark("hellaswag", "not stated", "Smaller goes with *better*.", date(2026, 1, 1), True, n_shot=0),
    task=OwnTask("tickets answered right", "percent", True),
)
SAFE = replace(GENERAL, name="Medicines", use_class="safety_critical", task=None, models=(BIG, SMALL))
SCARCE = replace(SAFE, name="Rare", use_class="scarce_data", benchmark=replace(SAFE.benchmark, name="no_such"))
EMPTY = replace(SAFE, name="Not measured")


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = filled_warehouse(tmp_path_factory.mktemp("filled"))
    for pilot in (GENERAL, SAFE, SCARCE, EMPTY):
        people.register_pilot(Warehouse(path), pilot)
    for pilot in (GENERAL, SAFE, SCARCE):
        people.add_runs(Warehouse(path), pilot.pilot_id, RUN_IDS[:2])
    return path


@pytest.fixture(autouse=True)
def _shown(filled: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORKDIM_WAREHOUSE", str(filled))


@pytest.mark.parametrize(("pilot", "language"), [(GENERAL, "en"), (SAFE, "ja"), (SCARCE, "en")], ids=["a", "b", "c"])
@pytest.mark.parametrize("page", PAGES)
def test_a_page_says_what_is_decided_and_what_the_class_forbids(page: str, pilot: Pilot, language: str) -> None:
    app = opened(page, pilot=pilot.pilot_id, lang=language)
    assert not app.exception and not app.error
    (asked,) = [one for one in app.markdown if pilot.question in one.value]
    assert in_language(language, day, pilot.benchmark.frozen) in asked.help
    assert any(r"\*better\*" in one.help for one in app.markdown if one.help), "what is expected, beside the question"
    forbids = {"en": "never choose by dimension alone", "ja": "次元だけを推奨の根拠にはできず"}
    said = [warning.value for warning in app.warning if forbids[language] in warning.value]
    assert len(said) == (1 if pilot.is_cautious else 0)


@pytest.mark.parametrize("page", PAGES)
def test_without_a_pilot_every_run_is_there_and_nothing_is_forbidden(page: str) -> None:
    app = opened(page)
    assert app.selectbox(key="view.pilot").value == "all"
    assert "choose by dimension alone" not in texts(app)


def test_a_pilot_that_is_not_there_is_no_pilot() -> None:
    app = opened("choose.py", choose="ranking", pilot="no-such-pilot-12345678")
    assert not app.exception and app.selectbox(key="view.pilot").value == "all"


def test_where_there_are_no_pilots_none_is_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORKDIM_WAREHOUSE", str(filled_warehouse(tmp_path)))
    assert "Pilot" not in [box.label for box in opened("choose.py", choose="ranking").selectbox]


def test_only_the_pilots_runs_are_offered_with_their_controls() -> None:
    app = opened("compare.py", pilot=GENERAL.pilot_id)
    offered = app.multiselect(key="view.runs").options
    assert len(offered) == 5 and not any("made-up-encoder" in label for label in offered)
    assert sorted(app.multiselect(key="view.runs").value) == RUN_IDS[:2]
    assert sorted(table_of(opened("choose.py", choose="ranking", pilot=GENERAL.pilot_id))["Model"]) == [
        "made-up-big",
        "made-up-small",
    ]


def test_another_pilot_starts_from_its_own_runs_and_the_choice_stays_between_pages() -> None:
    app = opened("compare.py", runs=RUN_IDS[2])
    app.selectbox(key="view.pilot").set_value(SAFE.pilot_id).run()
    assert not app.exception
    assert sorted(app.multiselect(key="view.runs").value) == RUN_IDS[:2]
    assert app.query_params["pilot"] == SAFE.pilot_id
    app.switch_page("pages/choose.py").run()
    assert (
        app.selectbox(key="view.pilot").value == SAFE.pilot_id and "choose by dimension alone" in app.warning[0].value
    )


def test_a_pilot_without_results_says_how_to_get_them() -> None:
    app = opened("choose.py", choose="ranking", pilot=EMPTY.pilot_id)
    assert app.info[0].value.startswith("This pilot has no result yet.")
    assert "Measure what is missing" in [one.proto.label for one in app.get("page_link")]


def test_the_registered_benchmark_comes_first_and_every_other_is_exploratory() -> None:
    app = opened("choose.py", choose="ranking", pilot=GENERAL.pilot_id)
    box = app.selectbox(key="view.score")
    assert box.value.startswith("hellaswag~not stated~")
    marks = [label.rpartition(" – ")[2] for label in box.options]
    assert set(marks) == {"registered", "exploratory"} and marks.count("registered") == 1
    other = next(key for key, mark in zip(box.options, marks, strict=True) if mark != "registered")
    app = box.select(other).run()
    assert "not the registered score" in texts(app) and "hellaswag" in texts(app)


def test_a_registered_benchmark_without_scores_is_answered_all_the_same() -> None:
    app = opened("choose.py", choose="ranking", pilot=SCARCE.pilot_id)
    assert "score in no\\_such (not stated" not in texts(app) and "no\\_such" in texts(app)
    assert "None of these models has this score." in texts(app)
    assert "exploratory" in app.selectbox(key="view.score").options[0]


def test_the_users_own_task_is_a_column_from_the_start_and_offered_first() -> None:
    app = opened("choose.py", choose="ranking", pilot=GENERAL.pilot_id)
    rows = table_of(app)
    assert dict(zip(rows["Model"], rows["Own score"], strict=True)) == {"made-up-big": 71.5, "made-up-small": None}
    assert app.selectbox(key="view.score").options[0].startswith("tickets answered right")
    assert not [
        name for name in table_of(opened("choose.py", choose="ranking", pilot=SAFE.pilot_id)).columns if "Own" in name
    ]


def test_own_scores_stay_with_their_pilot_and_what_its_class_forbids() -> None:
    for asked in ({}, {"pilot": SAFE.pilot_id}):
        offered = opened("choose.py", choose="ranking", **asked).selectbox(key="view.score").options
        assert offered and not [label for label in offered if "tickets answered right" in label]


def test_the_report_of_a_pilot_is_of_all_its_results() -> None:
    app = opened("share.py", pilot=SAFE.pilot_id)
    assert not app.exception and not app.error
    assert len(app.get("image")) == 4


def test_slides_of_a_pilot_by_its_name(filled: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "deck.pptx"
    assert main(["slides", "--warehouse", str(filled), "--out", str(out), "--pilot", "Medicines"]) == 0
    said = [slide.shapes.title.text_frame.text for slide in Presentation(BytesIO(out.read_bytes())).slides]
    assert len(said) == 4 and not any("encoder" in title for title in said)
    assert main(["slides", "--warehouse", str(filled), "--out", str(out), "--pilot", "Medicin"]) == 2
    assert "Unknown pilot 'Medicin'. Did you mean Medicines" in capsys.readouterr().err
    assert main(["slides", "--warehouse", str(filled), "--out", str(out), "--pilot", EMPTY.pilot_id]) == 2
    assert "has no result yet" in capsys.readouterr().err


def test_a_link_to_a_pilot_that_is_not_here_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORKDIM_WAREHOUSE", str(filled_warehouse(tmp_path)))
    app = opened("choose.py", choose="ranking", pilot="nobody's")
    assert not app.exception and "the link's nobody's" in app.warning[0].value.replace("\\", "")


def test_a_measurement_becomes_a_pilot_by_what_is_written_down_before(tmp_path: Path, monkeypatch) -> None:
    path = filled_warehouse(tmp_path)
    monkeypatch.setenv("WORKDIM_WAREHOUSE", str(path))
    started: list[str] = []
    monkeypatch.setattr("core.runs.jobs.start_verb", lambda _warehouse, _log, _verb, asked: started.append(asked))
    app = opened("measure.py", models="made-up/big,made-up/small", text="english-business")
    app.toggle(key="view.pilot asked").set_value(True).run()
    app.button(key="measure start").click().run()
    assert "not whole yet" in app.warning[0].value and not started
    for name, value in {"question": "Which?", "expectation": "None.", "benchmark": "ours", "metric": "acc"}.items():
        app.text_input(key=f"view.pilot {name}").set_value(value)
    app.run().button(key="measure start").click().run()
    assert not app.exception and not app.error
    assert [one.value for one in app.toast] == ["Starting. Its card appears at the top."]
    (row,) = queries.pilots(Warehouse(path)).to_dicts()
    pilot = registration.pilot_from_config(row["config"])
    assert started == [pilot.pilot_id] and [one.reference for one in pilot.models] == ["made-up/big", "made-up/small"]
    assert pilot.benchmark.frozen == date.today() and pilot.benchmark.sign == "none" and pilot.question == "Which?"
