"""The page Choose: the answer first, everything in the address, one update; rules from saving to their outcome."""

from __future__ import annotations

from dataclasses import fields
from datetime import UTC, datetime
from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

from core.tables import ModelRow
from core.warehouse import stored_scores
from core.warehouse.people import list_rules
from core.warehouse.warehouse import Warehouse
from tests.answers import ladder as ladder_pilot
from tests.answers import ladder_score, ladder_warehouse
from tests.pages.test_pages import figures, opened, texts
from tests.profiles import make_corpus, make_model, make_profile
from tests.screens import add_run, filled_warehouse, worked_with
from tests.warehouse.score_files import score_file

pytestmark = pytest.mark.slow

BITS = [1.7 - 0.01 * (n % 12) - 0.003 * n for n in range(24)]
SCORE = "score~ladder_code~bits_per_byte~none~~suite1"


@pytest.fixture(scope="module")
def ladder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return ladder_warehouse(tmp_path_factory.mktemp("ladder") / "w.duckdb", BITS).path


@pytest.fixture
def path(ladder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("WORKDIM_WAREHOUSE", str(ladder))
    return ladder


def headline(app: AppTest) -> str:
    return next(one.value for one in app.markdown if one.value.startswith("####")).replace("\\", "")


def test_the_answer_stands_first_and_a_weight_changes_it_in_one_update(path: Path) -> None:
    app = opened("choose.py")
    assert "By score in ladder_code" in headline(app)
    assert app.markdown[0].value.startswith("####"), "before every control"
    before = headline(app)
    weights = {one.key: one for one in app.slider}
    assert weights["view.w.dimension"].value == 0 and not weights["view.w.dimension"].disabled
    weights[f"view.w.{SCORE}"].set_value(0)
    weights["view.w.dimension"].set_value(10).run()
    assert not app.exception and headline(app) != before
    assert app.query_params["w.dimension"] in ("10", ["10"])
    again = opened("choose.py", **{"w.dimension": "10", f"w.{SCORE}": "0"})
    assert headline(again) == headline(app)
    assert "ladder-128" in headline(app) and "n = 18" in texts(app), "what is known of dimension and score"


def test_a_link_with_criteria_thresholds_and_assumptions_is_followed(path: Path) -> None:
    app = opened(
        "choose.py", by=f"{SCORE},memory", **{f"t.{SCORE}": "1.55", "w.memory": "0", "a.bits": "8", "choose": "choice"}
    )
    assert not app.exception
    matrix = next(one.value for one in app.dataframe if "memory at 8 bits, weight 0 %" in one.value.columns)
    (left,) = [one.label for one in app.expander if "Left out" in one.label]
    assert matrix.shape[0] == sum(bits <= 1.55 for bits in BITS)
    assert "Alike in all models: " not in texts(app), "memory weighs nothing"
    assert left == f"Left out: {sum(bits > 1.55 for bits in BITS)} models"


def test_a_score_that_not_all_chosen_models_have_is_no_default_and_crowns_nobody(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = ladder_warehouse(tmp_path / "w.duckdb", [None, *BITS[1:]]).path
    monkeypatch.setenv("WORKDIM_WAREHOUSE", str(path))
    ids = Warehouse(path).read(
        "SELECT model_id FROM models WHERE name <> 'other' ORDER BY split_part(model_id, '@', 2)"
    )["model_id"]
    lacking, *others = ids
    app = opened("choose.py", among=f"{lacking},{others[0]}")
    assert not app.exception
    assert app.multiselect(key="view.by").value == ["bits_per_byte", "dimension"]
    asked = opened("choose.py", among=f"{lacking},{others[0]}", by=SCORE)
    assert ":material/check_circle:" not in headline(asked)
    assert "No choice: only" in headline(asked) and "ladder-128-base" in texts(asked)
    shared = opened("choose.py", among=",".join(others[:2]))
    assert shared.multiselect(key="view.by").value == [SCORE, "dimension"]


def test_two_models_are_held_against_each_other_on_the_text_that_both_have_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = filled_warehouse(tmp_path)
    monkeypatch.setenv("WORKDIM_WAREHOUSE", str(path))
    toy = make_model("made-up/toy@1", name="toy", tokenizer_hash="another", parameters=1_000_000)
    own, later = make_corpus("own-0123456789ab"), make_corpus("later-0123456789ab")
    big = Warehouse(path).read("SELECT * FROM models WHERE name = 'made-up-big'").row(0, named=True)
    model = ModelRow(**{field.name: big[field.name] for field in fields(ModelRow)})
    add_run(path, make_profile("01900000-0000-7000-8000-000000000091", model=model, corpus=own, bits_per_byte=1.81))
    add_run(path, make_profile("01900000-0000-7000-8000-000000000092", model=toy, corpus=own, bits_per_byte=2.91))
    chosen = {"group": "any", "among": "made-up/big@1,made-up/toy@1"}
    app = opened("choose.py", **chosen)
    assert not app.exception and app.multiselect(key="view.by").value[0] == "bits_per_byte"
    told = headline(app).replace("\\", "")
    assert ":material/check_circle: By bits per byte: made-up-big." in told  # sure, by losses that are paired
    add_run(path, make_profile("01900000-0000-7000-8000-000000000093", model=toy, corpus=later, bits_per_byte=0.5))
    again = headline(opened("choose.py", **chosen))
    assert "byte: made-up-big." in again.replace("\\", ""), "another text of the toy is no comparison"
    none = {"group": "any", "among": "made-up/encoder@1,made-up/toy@1"}
    for language, told in (("en", "No choice"), ("ja", "選べません")):
        alone = opened("choose.py", lang=language, **none)
        assert not alone.exception and told in headline(alone) and alone.multiselect(key="view.by").value == []
    encoder = make_model("made-up/encoder@1", name="made-up-encoder", kind="encoder", tokenizer_hash="another")
    add_run(path, make_profile("01900000-0000-7000-8000-000000000094", model=encoder, corpus=own, bits_per_byte=None))
    three = opened("choose.py", group="any", among="made-up/big@1,made-up/encoder@1,made-up/toy@1")
    assert "No choice" in headline(three)


def test_a_use_class_in_which_an_answer_can_do_harm_changes_the_answer_and_names_what_is_untested(path: Path) -> None:
    app = opened("choose.py", use="safety_critical")
    assert "leads" in headline(app) and ":material/check_circle:" not in headline(app)
    assert "how often an answer does harm." in texts(app).replace("\\", "")
    assert not [one for one in app.slider if "parameters" in one.key], "size chooses nothing there"
    app.selectbox(key="view.use").select("general").run()
    assert "Untested" not in texts(app)
    refused = opened("choose.py", use="safety_critical", by="parameters")
    assert "No choice" in headline(refused) and not refused.exception and not figures(refused)
    assert "Weighted mean" not in refused.dataframe[0].value.columns, "nor is there an order by what may not choose"
    app = opened("choose.py", by="parameters")
    assert "Weighted mean" in app.dataframe[0].value.columns


@pytest.mark.parametrize(
    "asked",
    [{"by": "nonsense"}, {"w.dimension": "x"}, {"a.bits": "nan"}, {"speeds": "~,a~-1"}, {"group": "x"}, {"rule": "x"}],
)
def test_a_link_with_nonsense_falls_back(asked: dict[str, str], path: Path) -> None:
    app = opened("choose.py", **asked)
    assert not app.exception and not app.error


def test_each_section_draws_its_pictures_before_its_table(path: Path) -> None:
    for section, n in (("choice", 2), ("cost", 1), ("tasks", 1)):
        app = opened("choose.py", choose=section)
        assert not app.exception, section
        assert len(figures(app)) == n, section
    assert "Untested: it takes the same models on two texts or tasks" in texts(opened("choose.py", choose="elsewhere"))
    two = ",".join(Warehouse(path).read("SELECT model_id FROM models ORDER BY model_id LIMIT 2")["model_id"])
    app = opened("choose.py", choose="cost", among=two)
    assert not app.exception and len(figures(app)) == 1, "the cost of some of the models"


def test_the_order_by_tasks_names_models_that_are_not_chosen_among(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    warehouse = ladder_warehouse(tmp_path / "w.duckdb", BITS)
    named = [model.reference for model in ladder_pilot().models]
    again = [ladder_score(name, bits, benchmark="again") for name, bits in zip(named, BITS, strict=True)]
    stored_scores.store_import(warehouse, score_file(*again, name="again.csv"))
    monkeypatch.setenv("WORKDIM_WAREHOUSE", str(warehouse.path))
    two = ",".join(warehouse.read("SELECT model_id FROM models ORDER BY model_id LIMIT 2")["model_id"])
    drawn = str(figures(opened("choose.py", choose="elsewhere", among=two))[-1])
    assert "base-again-1" in drawn and "01900000" not in drawn, "names, and no ids of runs"


def test_models_that_do_not_compare_have_their_choice_of_each_task(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WORKDIM_WAREHOUSE", str(worked_with(tmp_path)))
    for section in ("choice", "ranking", "cost", "tasks", "elsewhere", "rules"):
        app = opened("choose.py", choose=section, group="own")
        assert not app.exception and not app.error, section
        if section == "tasks":
            assert "tickets answered right" in app.dataframe[-1].value["Task"].to_list()[0]


def test_a_price_is_told_once_the_machine_has_one(path: Path) -> None:
    app = opened("choose.py", choose="cost")
    assert "Cost needs the machine's cost per hour and each model's speed" in texts(app)
    reference = Warehouse(path).read("SELECT reference FROM models LIMIT 1").item()
    priced = opened("choose.py", choose="cost", speeds=f"{reference}~2000", **{"a.price_per_hour": "2"})
    assert (
        not priced.exception
        and len(figures(priced)) == 1
        and "Cost needs the machine's cost per hour and each model's speed" not in texts(priced)
    )


def test_a_speed_typed_for_one_model_is_none_of_another_in_its_row(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    typed_into: list[str] = []
    monkeypatch.setattr("streamlit.data_editor", lambda _rows, key, **_more: typed_into.append(key))
    models = Warehouse(path).read("SELECT model_id FROM runs WHERE pass = 'text' ORDER BY run_id")["model_id"].to_list()
    for among in (models[:3], models[1:4], models[:3]):
        assert not opened("choose.py", choose="cost", among=",".join(among)).exception
    first, other, again = typed_into
    assert first == again != other


def test_below_ten_models_the_dimension_weighs_nothing_and_says_why(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WORKDIM_WAREHOUSE", str(filled_warehouse(tmp_path)))
    app = opened("choose.py")
    assert not app.exception
    slider = next(one for one in app.slider if one.key == "view.w.dimension")
    assert slider.disabled and "weighs nothing" in slider.help
    every = opened("choose.py", group="any", choose="ranking")
    assert "because they differ in: kind of model, tokenizer" in texts(every).replace("\\", "")
    assert not every.exception and not [one for one in every.slider if one.key == "view.w.dimension"]


def test_a_rule_is_saved_applied_and_told_to_be_right(path: Path) -> None:
    app = opened("choose.py", choose="rules")
    assert "No rule is saved" in texts(app)
    app.text_input(key="rule name").set_value("Few bits").run()
    next(one for one in app.button if one.label == "Save as a rule").click().run()
    assert not app.exception and not app.error
    (saved,) = list_rules(Warehouse(path))
    assert saved.rule.name == "Few bits" and saved.rule.task.name == "ladder_code"
    assert [one.of for one in saved.rule.criteria] == ["score", "dimension"], "all have one size"
    assert app.selectbox(key="view.rule").value == saved.rule_id
    drawn_at = datetime.now(UTC).replace(tzinfo=None)
    next(one for one in app.button if one.label == "Apply and keep the choice").click().run()
    (saved,) = list_rules(Warehouse(path))
    assert saved.choices[0].n == 24 and saved.choices[0].run_id
    assert saved.choices[0].chosen_at >= drawn_at, "the time of the click"
    app.run()
    next(one for one in app.button if one.label == "It was right").click().run()
    assert list_rules(Warehouse(path))[0].choices[0].outcome == "right"
    assert "right in 1 of 1" in texts(app)
    next(one for one in app.button if one.key == "rule delete").click().run()
    assert not app.exception and list_rules(Warehouse(path)) == []
