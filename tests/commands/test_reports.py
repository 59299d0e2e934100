"""The verbs of reports: slides, the HTML file, the rows behind them, where numbers come from, and recipes."""

from __future__ import annotations

import json
import re
import zipfile
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from io import BytesIO
from pathlib import Path

import polars as pl
import pytest
from openxml_audit import OpenXmlValidator
from pptx import Presentation

from core.warehouse.runs import save_plan
from core.warehouse.warehouse import Warehouse
from tests.conftest import run_core
from tests.deck.test_template import company
from tests.plans.made import layer_plan
from tests.screens import RUN_IDS, filled_warehouse

pytestmark = pytest.mark.slow

BOTH = ("--run", RUN_IDS[0], "--run", RUN_IDS[1])


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return filled_warehouse(tmp_path_factory.mktemp("reports"))


def told(*arguments: str | Path, path: Path) -> str:
    done = run_core(*map(str, arguments), warehouse=path)
    assert done.returncode == 0, done.stderr
    return done.stdout


def refused(*arguments: str | Path, path: Path) -> str:
    done = run_core(*map(str, arguments), warehouse=path)
    assert done.returncode == 2 and done.stderr.count("\n") == 1, done.stderr
    return done.stderr


@pytest.fixture(scope="module")
def deck_in(path: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    @cache
    def made(language: str) -> Path:
        deck = tmp_path_factory.mktemp(language) / "deck.pptx"
        told("slides", "--out", deck, "--appendix", "--language", language, *BOTH, path=path)
        return deck

    return made


@pytest.mark.parametrize("language", ("en", "ja"))
def test_a_deck_is_traced_number_by_number_to_the_warehouse(
    language: str, deck_in: Callable[[str], Path], path: Path, tmp_path: Path
) -> None:
    deck = deck_in(language)
    found = json.loads(told("trace", deck, "--json", path=path))
    assert found["is_this_warehouse"] and not found["added"]
    assert {one["state"] for one in found["numbers"]} == {"same"}, "nothing has changed in a deck just made"
    assert found["changed"] == found["without_source"] == [] and found["n_stated"] < 0.1 * found["n_numbers"]
    charted = [one for one in found["numbers"] if one["place"] == "chart" and one["run_id"] == RUN_IDS[0]]
    of_curve = [one["source_key"]["estimator"] for one in charted if one["source_table"] == "layer_estimates"]
    assert set(of_curve) == {"d2"}
    Warehouse(path).path.unlink()
    told("ingest", "--rebuild", path=path)
    assert "the same" in told("trace", deck, path=path), "the numbers are those of the files"
    edited = Presentation(str(deck))
    paragraphs = (
        one for shape in edited.slides[0].shapes if shape.has_text_frame for one in shape.text_frame.paragraphs
    )
    number = next(one.runs[0] for one in paragraphs if re.fullmatch(r"[\d.]+", one.text))
    number.text = "987"
    edited.save(str(tmp_path / "edited.pptx"))
    done = run_core("trace", str(tmp_path / "edited.pptx"), "--json", warehouse=path)
    (one,) = json.loads(done.stdout)["changed"]
    assert done.returncode == 1 and (one["state"], one["text_now"]) == ("edited", "987")


def test_a_deck_says_nothing_of_places_and_people_and_is_valid(path: Path, tmp_path: Path) -> None:
    template = tmp_path / "company.potx"
    template.write_bytes(company(as_potx=True))
    for name, more in (("own", ()), ("on-template", ("--template", template, "--language", "ja"))):
        deck = tmp_path / f"{name}.pptx"
        told("slides", "--out", deck, *BOTH, *more, path=path)
        with zipfile.ZipFile(deck) as packed:
            parts = {part: packed.read(part) for part in packed.namelist()}
        everything = b"".join(parts.values())
        for secret in (str(path.parent), "Smith", "intranet", "TargetMode", "python-pptx", 'show="0"'):
            assert secret.encode() not in everything, (name, secret)
        assert not [part for part in parts if "comment" in part.lower() or "thumbnail" in part]
        found = OpenXmlValidator().validate(str(deck))
        assert not found.errors, [(one.description, one.part_uri) for one in found.errors[:3]]


def test_one_html_file_and_the_rows_behind_it(path: Path, tmp_path: Path) -> None:
    page, rows = tmp_path / "report.html", tmp_path / "rows.zip"
    said = told("report", "--out", page, "--bundle", rows, "--appendix", "--language", "ja", *BOTH, path=path)
    assert "rows.zip" in said and 'lang="ja"' in page.read_text(encoding="utf-8")
    with zipfile.ZipFile(rows) as packed:
        numbers = pl.read_parquet(BytesIO(packed.read("tables/recipe_numbers.parquet")))
        assert set(numbers.filter(pl.col("source_key").is_not_null())["source_table"]) <= {
            Path(one).stem for one in packed.namelist()
        }
        estimates = pl.read_csv(BytesIO(packed.read("tables/layer_estimates.csv")))
        assert set(RUN_IDS[:2]) <= set(estimates["run_id"])
        assert b"recipe_numbers" in packed.read("dictionary.csv")


def test_a_recipe_makes_the_same_again_and_says_what_has_changed(path: Path, tmp_path: Path) -> None:
    first, again = tmp_path / "first.pptx", tmp_path / "again.pptx"
    template = tmp_path / "company.pptx"
    template.write_bytes(company())
    told("slides", "--out", first, *BOTH, "--keep", "Board", "--template", template, "--appendix", path=path)
    assert "last report: 0 of " in told("slides", "--out", again, "--kept", "Board", path=path)
    assert texts(first) == texts(again) and "Board" in told("reports", path=path)
    checked = json.loads(told("reports", "check", "Board", "--json", path=path))
    assert checked["n_numbers"] > 60 and checked["changed"] == checked["without_source"] == []
    with Warehouse(path).write() as connection:
        connection.execute("UPDATE run_summaries SET inner_max = inner_max * 2 WHERE run_id = ?", [RUN_IDS[0]])
    done = run_core("reports", "check", "Board", "--json", warehouse=path)
    changed = json.loads(done.stdout)["changed"]
    assert done.returncode == 1 and changed and {one["state"] for one in changed} == {"changed"}
    assert {"inner_max"} <= {one["source_column"] for one in changed}
    with Warehouse(path).write() as connection:
        connection.execute("UPDATE run_summaries SET inner_max = inner_max / 2 WHERE run_id = ?", [RUN_IDS[0]])
    told("runs", "delete", RUN_IDS[1], "--yes", path=path)
    assert "is in the trash" in refused("slides", "--out", again, "--kept", "Board", path=path)
    told("runs", "undelete", RUN_IDS[1], path=path)
    told("reports", "delete", "Board", "--yes", path=path)
    assert "None yet" in refused("reports", "check", "Board", path=path)


def test_a_layer_plan_is_reported_and_traced_without_any_run(path: Path, tmp_path: Path) -> None:
    plan = layer_plan()
    asked = json.dumps(json.loads(plan.plan.config) | {"model": "/home/smith/llm"})
    plan = replace(plan, plan=replace(plan.plan, config=asked, saved_as="/home/smith/small"))
    save_plan(Warehouse(path), plan)
    deck, rows = tmp_path / "plan.pptx", tmp_path / "rows.zip"
    told("slides", "--out", deck, "--plan", plan.plan.plan_id[:8], path=path)
    traced = json.loads(told("trace", deck, "--json", path=path))
    found = traced["numbers"]
    assert traced["n_numbers"] == len(found) and traced["changed"] == traced["without_source"] == []
    assert {one["source_table"] for one in found} >= {"plans", "plan_outcomes"}
    assert {one["state"] for one in found} == {"same"}
    told("report", "--out", tmp_path / "plan.html", "--plan", plan.plan.plan_id, "--bundle", rows, path=path)
    with zipfile.ZipFile(rows) as packed:
        assert pl.read_parquet(packed.read("tables/plan_outcomes.parquet")).height == len(plan.outcomes)
        shared = pl.read_parquet(packed.read("tables/plans.parquet")).row(0, named=True)
    assert shared["saved_as"] == "small" and json.loads(shared["config"])["model"] == "llm"
    assert "smith" not in "".join(file.read_text(errors="replace") for file in (rows / "tables").glob("*.csv"))
    assert "/home/smith" not in (tmp_path / "plan.html").read_text()
    both = ("--plan", plan.plan.plan_id, "--run", RUN_IDS[0])
    assert "Give one of a plan, a choice, a pilot or runs" in refused("slides", "--out", deck, *both, path=path)


def test_every_query_that_a_deck_prints_runs_as_it_is_pasted(path: Path, deck_in: Callable[[str], Path]) -> None:
    printed = [line for text in texts(deck_in("en")) for line in text.splitlines() if "SELECT" in line]
    assert len(printed) > 2
    for query in printed:
        assert json.loads(told("sql", query, "--format", "json", path=path)), query


def texts(deck: Path) -> list[str]:
    shapes = [shape for slide in Presentation(str(deck)).slides for shape in slide.shapes if shape.has_text_frame]
    return [shape.text_frame.text for shape in shapes]  # type: ignore[attr-defined]


def test_what_cannot_be_made_or_read_is_one_line(path: Path, tmp_path: Path) -> None:
    foreign = tmp_path / "foreign.pptx"
    Presentation().save(str(foreign))
    assert "carries no sources" in refused("trace", foreign, path=path)
    assert "There is no file" in refused("trace", tmp_path / "none.pptx", path=path)
    assert "no HTML file" in refused("report", "--out", tmp_path / "x.pdf", path=path)
    text = tmp_path / "notes.txt"
    text.write_text("hello")
    assert "no PowerPoint file" in refused("slides", "--out", tmp_path / "x.pptx", "--template", text, path=path)
    for more in (("--language", "ja"), ("--keep", "y")):
        assert "Give --kept alone" in refused("slides", "--out", tmp_path / "x.pptx", "--kept", "x", *more, path=path)
