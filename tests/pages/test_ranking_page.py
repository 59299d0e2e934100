"""The ranking as an answer: what the reader's choices change of it, and what they never change."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import polars as pl
import pytest

from core.analysis.relation import ANSWERS
from core.ui import pictures, tables
from core.warehouse.warehouse import Warehouse
from tests import answers
from tests.pages.test_pages import drawings, opened, table_of, texts
from tests.profiles import make_corpus, make_model, make_profile
from tests.screens import add_run, empty_warehouse

pytestmark = pytest.mark.slow

RISING = [1.5 + 0.01 * at + 0.03 * (at % 4) for at in range(24)]
BASE = "01900000-0000-7000-8000-000000000000"
HOSTILE = '<img src=x onerror="alert(1)">'


@pytest.fixture(scope="module")
def ladder(tmp_path_factory: pytest.TempPathFactory) -> Warehouse:
    return answers.ladder_warehouse(tmp_path_factory.mktemp("ladder") / "w.duckdb", RISING)


@pytest.fixture(autouse=True)
def _shown(ladder: Warehouse, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORKDIM_WAREHOUSE", str(ladder.path))


def spoken(app) -> str:
    return texts(app).replace("\\", "")


@pytest.mark.parametrize("language", ["en", "ja"])
def test_the_sentence_stands_first_and_one_picture_and_one_table_follow(language: str) -> None:
    app = opened("choose.py", choose="ranking", lang=language)
    assert not app.exception and not app.error and not app.warning
    first = next(one.value for one in app.markdown if one.value.startswith("**:")).replace("\\", "")
    said = {"en": "Related as registered: models with", "ja": "登録どおりの関連あり（中間層の最大次元が小さいモデル"}
    assert said[language] in first and "-0.80 [" in first and "n = 18" in first and "ladder-code" in first
    assert ("24 models of 18 recipes" if language == "en" else "24モデルは18レシピによる") in spoken(app)
    (picture,) = drawings(app)
    assert picture.count('fill-opacity="0"') == 24 and ">base</text>" in picture and "step1500</text>" not in picture
    shown = table_of(app)
    assert "0123456789ab" not in spoken(app)
    if language == "en":
        assert shown.height == 24
        first_by_dimension = shown.filter(Model="ladder-128-base-again-6-step1500").row(0, named=True)
        columns = ("Largest inner dimension", "Rank by dimension", "down to rank")
        assert tuple(first_by_dimension[name] for name in columns) == (53.0, 1, 14)
        assert first_by_dimension["from (95 %)"] < first_by_dimension["Working dimension"]
        first, dimension, score = shown.columns[:3]
        assert (first, dimension) == ("Model", "Largest inner dimension") and score.startswith("ladder_code")
        assert shown["Weighted mean"].is_sorted(descending=True), "the choice first; a click on a head sorts otherwise"


def test_another_dimension_is_told_as_a_hint_with_its_corrected_p() -> None:
    assert set(pictures.ICONS) == set(ANSWERS)
    said = spoken(opened("choose.py", choose="ranking", dimension="embedding"))
    assert "Related as registered: models with a smaller embedding" not in said and "looks:" in said


def test_a_filter_asks_another_question_and_leaves_the_ranks_as_they_are() -> None:
    whole = table_of(opened("choose.py", choose="ranking"))
    app = opened("choose.py", choose="ranking", specification="d2 one_per_type zscore")
    assert "not the registered dimension" in spoken(app)
    app = opened("choose.py", choose="ranking", family="made-up")
    ranks = dict(zip(whole["Model"], whole["Rank by dimension"], strict=True))
    assert all(ranks[name] == rank for name, rank in table_of(app).select("Model", "Rank by dimension").rows())


def test_the_group_of_other_models_can_be_looked_at_and_is_nobodys_expectation() -> None:
    app = opened("choose.py", choose="ranking")
    box = app.selectbox(key="view.group")
    assert box.options[0] == "“Ladder, width 128” (models: 24)" and "all that can be compared" in box.options
    other = next(option for option in box.options if "made-up" in option)
    app = box.select(other).run()
    assert not app.exception and table_of(app)["Model"].to_list() == ["other"]
    assert "not registered for these models" in spoken(app)


def test_the_file_holds_every_row_with_its_ranks_and_the_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list = []
    monkeypatch.setattr(tables, "show_download", lambda make, name, *_: made.append(make) if "models" in name else None)
    assert not opened("choose.py", choose="ranking").exception
    rows: pl.DataFrame = made[0]()
    assert rows.height == 24 and rows["answer"].unique().to_list() == ["related_as_registered"]
    first = rows.sort("dimension", descending=True).row(0, named=True)
    assert (first["name"], first["dimension"], first["rank_low"], first["rank_high"]) == (
        "ladder-128-base-again-6-step1500",
        53.0,
        1,
        14,
    )
    assert first["score_upper"] - first["score_lower"] == pytest.approx(2 * 1.96 * 0.004, rel=1e-3)


def test_what_was_measured_apart_opens_the_measuring_page_filled_in(tmp_path: Path, monkeypatch) -> None:
    path = empty_warehouse(tmp_path)
    monkeypatch.setenv("WORKDIM_WAREHOUSE", str(path))
    shared = {"tokenizer_hash": "one", "repository": None}
    for number, corpus in ((1, "english-business-0123456789ab"), (2, "english-business-0123456789ab")):
        model = make_model(f"made-up/m{number}@1", name=f"m{number}", **shared)
        add_run(path, make_profile(f"{BASE[:-2]}0{number}", model=model, corpus=make_corpus(corpus)))
    apart = make_model("pypi:made-up-apart@1", name="apart", **shared)
    add_run(path, make_profile(f"{BASE[:-2]}03", model=apart, corpus=make_corpus("python-docs-0123456789ab")))
    app = opened("choose.py", choose="ranking")
    assert not [one for one in app.get("page_link") if "Measure them so" in one.proto.label], "folded"
    app.session_state["other groups"] = True
    (link,) = [one for one in app.run().get("page_link") if "Measure them so" in one.proto.label]
    asked = {name: values[0] for name, values in parse_qs(urlsplit("?" + link.proto.query_string).query).items()}
    assert asked == {"models": "pypi:made-up-apart", "text": "english-business", "protocol": "quick", "seed": "0"}
    form = opened("measure.py", **asked | {"protocol": "standard", "seed": "3"})
    assert not form.exception and form.text_area[0].value == "pypi:made-up-apart"
    assert form.selectbox(key="view.measure text").value == "english-business"
    assert form.number_input(key="view.measure seed").value == 3
    assert opened("measure.py", text="no-such-text", protocol="x", seed="-1").selectbox(key="view.measure text").value


def test_a_name_from_a_file_is_no_markup_in_the_table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = empty_warehouse(tmp_path)
    monkeypatch.setenv("WORKDIM_WAREHOUSE", str(path))
    model = make_model("made-up/hostile@1", name=HOSTILE, licence=HOSTILE, family=HOSTILE, architecture=HOSTILE)
    add_run(path, make_profile(BASE, model=model))
    app = opened("choose.py", choose="ranking")
    assert not app.exception and table_of(app)["Model"].to_list() == [HOSTILE]
    assert not [one for one in app.get("html") if "<img" in one.proto.body]


def test_what_is_published_stands_beside_the_answer() -> None:
    app = opened("choose.py", choose="ranking")
    app.session_state["published claims"] = True
    shown = app.run().dataframe[-1].value
    assert shown["Source"][0] == "this page" and shown["n (models)"][0] == "18"
    assert "arXiv 2503.22547" in shown["Source"].to_list() and shown["Direction"][0] == "related as registered"
