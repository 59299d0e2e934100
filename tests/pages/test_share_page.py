"""The report page: slides in small, files by name, a company template, and kept reports."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest

from core.ids import MAX_NAME
from core.pilots.saved import Recipe
from core.ui import share
from core.warehouse import people
from core.warehouse.people import list_rules
from core.warehouse.warehouse import Warehouse
from tests.conftest import run_core
from tests.deck.test_template import company
from tests.pages.test_pages import opened
from tests.screens import RUN_IDS, filled_warehouse

pytestmark = pytest.mark.slow


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    found = filled_warehouse(tmp_path)
    monkeypatch.setenv("WORKDIM_WAREHOUSE", str(found))
    return found


@pytest.mark.parametrize("language", ["en", "ja"])
def test_five_slides_in_small_and_hardly_a_word_besides(path: Path, language: str) -> None:
    app = opened("share.py", runs=f"{RUN_IDS[0]},{RUN_IDS[1]}", lang=language)
    assert not app.exception and not app.error
    drawn = len(app.get("image"))
    assert 3 <= drawn <= 5
    app.toggle(key="view.appendix").set_value(True).run()
    assert len(app.get("image")) - len(app.expander[0].get("image")) == drawn
    said = " ".join(one.value for one in app.caption)
    assert len(said.split()) <= 10 and len(app.get("download_button")) == 3


def test_a_report_is_kept_with_its_appendix_and_says_what_has_changed(path: Path) -> None:
    app = opened("share.py", runs=RUN_IDS[0])
    app.toggle(key="view.appendix").set_value(True).run()
    app.text_input[-1].set_value("Board")
    next(button for button in app.button if button.label == "Keep").click().run()
    assert not app.exception and not app.toggle
    assert ": 0 of " in app.success[0].value
    (kept,) = people.list_recipes(Warehouse(path))
    assert kept.recipe.appendix and kept.recipe.run_ids == (RUN_IDS[0],)
    with Warehouse(path).write() as connection:
        connection.execute("UPDATE run_summaries SET inner_max = 3 * inner_max WHERE run_id = ?", [RUN_IDS[0]])
    app.run()
    assert "Numbers changed since" in app.warning[0].value and len(app.dataframe[0].value)
    next(button for button in app.button if button.label == "Use today's numbers").click().run()
    assert ": 0 of " in app.success[0].value
    next(button for button in app.button if button.label == "Forget this report").click().run()
    assert people.list_recipes(Warehouse(path)) == []


def test_a_template_is_taken_or_refused_in_one_line(path: Path) -> None:
    app = opened("share.py", runs=RUN_IDS[0])
    before = [one.value for one in app.caption]
    content = company(layouts={"Title and Content"}, footer=False, as_potx=True)
    app.file_uploader(key="template").set_value(("company.potx", content, "application/x")).run()
    assert not app.error and not app.exception
    lacks = [one.value for one in app.caption if one.value not in before]
    assert any("has no footer" in line for line in lacks) and any("less room" in line for line in lacks)
    app.text_input[-1].set_value("Ours")
    next(button for button in app.button if button.label == "Keep").click().run()
    (kept,) = people.list_recipes(Warehouse(path))
    assert kept.recipe.template == "company.potx"
    assert people.read_template(Warehouse(path), kept.recipe) == content
    app = opened("share.py", runs=RUN_IDS[0])
    app.file_uploader(key="template").set_value(("notes.pptx", b"hello", "application/x")).run()
    assert len(app.error) == 1 and "no PowerPoint file" in app.error[0].value and len(app.get("download_button")) == 3


def test_a_link_to_a_plan_that_is_not_here_says_so_also_where_there_are_none(path: Path) -> None:
    app = opened("share.py", runs=RUN_IDS[0], plan="0199-gone")
    assert [one.value for one in app.warning] == ["Layer plan: the link's 0199-gone is not here."]
    assert not app.exception and app.get("image")


def test_a_choice_that_a_rule_made_becomes_slides(path: Path, tmp_path: Path) -> None:
    rule = tmp_path / "small.toml"
    rule.write_text('name = "Small"\nuse_class = "general"\n[[criteria]]\nof = "parameters"\nweight = 1\n')
    for arguments in (("save", str(rule)), ("apply", "Small", "--all")):
        assert run_core("rules", *arguments, warehouse=path).returncode == 0
    ((made,),) = [saved.choices for saved in list_rules(Warehouse(path))]
    app = opened("share.py", choice=made.choice_id)
    assert not app.exception and not app.error and 2 < len(app.get("image")) <= 5
    assert "Small" in app.get("image")[0].proto.imgs[0].alt
    app.text_input[-1].set_value("Chosen")
    next(button for button in app.button if button.label == "Keep").click().run()
    (kept,) = people.list_recipes(Warehouse(path))
    assert kept.recipe.choice_id == made.choice_id and ": 0 of " in app.success[0].value
    assert run_core("rules", "delete", "Small", "--yes", warehouse=path).returncode == 0
    app.run()
    assert "There is no choice" in app.error[0].value and not app.exception
    next(button for button in app.button if button.label == "Forget this report").click().run()
    assert people.list_recipes(Warehouse(path)) == []


def test_a_pilot_whose_name_holds_what_no_report_may_has_a_report() -> None:
    for name, told in (("rank\u00a0by\nd2", "rankbyd2"), ("\n", "report"), ("a" * 300, "a" * MAX_NAME)):
        named = SimpleNamespace(pilot=SimpleNamespace(name=name))
        assert Recipe(share._report_name(named), ("r",)).name == told
