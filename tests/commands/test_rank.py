"""The verbs rank and within: the same answers as on page and slides, for people and for scripts."""

from __future__ import annotations

import json
from dataclasses import replace
from io import BytesIO
from pathlib import Path

import pytest
from pptx import Presentation
from streamlit.testing.v1 import AppTest

from core.commands.main import main
from core.ui.language import escape
from core.warehouse import people, queries
from core.warehouse.warehouse import Warehouse
from tests import answers
from tests.conftest import run_core
from tests.pages.test_pages import opened, table_of, texts
from tests.profiles import make_model, make_profile
from tests.screens import RUN_IDS, add_run, empty_warehouse, filled_warehouse

pytestmark = pytest.mark.slow

WITHOUT_WINDOWS = "01900000-0000-7000-8000-000000000099"
RISING = [1.5 + 0.01 * at + 0.03 * (at % 4) for at in range(24)]
"""The larger the dimension, the more bits per byte: the worse the model."""


@pytest.fixture(scope="module")
def ladder(tmp_path_factory: pytest.TempPathFactory) -> Warehouse:
    return answers.ladder_warehouse(tmp_path_factory.mktemp("ladder") / "w.duckdb", RISING)


def told(warehouse: Warehouse, *arguments: str) -> dict:
    done = run_core("rank", "--json", *arguments, warehouse=warehouse.path)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout, parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))


@pytest.fixture(scope="module")
def found(ladder: Warehouse) -> dict:
    """What is answered without options."""
    return told(ladder)


def test_without_options_the_shipped_pair_is_answered(found: dict) -> None:
    assert found["answer"] == "related_as_registered"
    assert found["lower"] < found["coefficient"] < found["upper"] < 0 and found["p"] < 0.001
    assert found["registered"]["pilot"] == "Ladder, width 128" and found["registered"]["sign"] == "negative"
    assert found["registered"]["before_the_scores"] and (found["n"], found["n_models"]) == (18, 24)
    assert (found["benchmark"], found["metric"], found["dimension"]) == ("ladder_code", "bits_per_byte", "inner_max")
    first, *_, last = found["models"]
    assert {"model", "dimension", "lower", "upper", "score", "rank_low", "rank_high"} <= set(first)
    assert first["model"] == "ladder-128-base-again-6-step1500" and first["dimension"] == 53.0
    assert first["rank_low"] == 1 and last["rank_high"] == 24 and last["score_rank_low"] == 1
    (other,) = found["others"]
    assert other["models"] == ["other"] and other["differs"] == ["tokenizer_hash", "corpus_id"]
    assert other["told"] == "Another tokenizer, text. On one point per word they compare if measured together."


def test_for_people_the_sentence_comes_first_and_the_table_fits(
    ladder: Warehouse, found: dict, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    lines = run_core("rank", "--specifications", "--published", warehouse=ladder.path).stdout.splitlines()
    sentence = found["sentence"]
    assert " ".join(lines[:4]).startswith(sentence) and "cause" not in sentence
    assert max(map(len, lines)) <= 80
    head = next(n for n, line in enumerate(lines) if line.startswith("rank "))
    assert "base-again-6" in lines[head + 1] and "53.0 [47.7, 58.3]" in lines[head + 1]
    said = "\n".join(lines)
    assert "Detectable between any two models: a ratio of dimensions of" in " ".join(said.split())
    assert "rho -0.82 (d2, one per type, three leading components removed); corrected" in " ".join(said.split())
    assert (
        "specifications give the same answer" in said
        and "2503.22547 (n: not stated; smaller with better)" in " ".join(said.split())
    )
    assert "  participation_ratio" not in said and "  PR, one per type: -0.8" in said


def test_another_dimension_or_score_is_exploratory(ladder: Warehouse) -> None:
    found = told(ladder, "--dimension", "final")
    assert found["answer"] == "hint" and found["expectation"]["exploratory"] == ["other_dimension"]
    assert found["p"] <= found["corrected_p"] <= 0.05 and found["n_looks"] > 1
    assert not found["registered"]["before_the_scores"] and "exploratory" in found["sentence"]
    family = told(ladder, "--family", "llama")
    assert family["n_models"] == 24 and family["registered"]["before_the_scores"], "all of them are of this family"


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--benchmark", "ladder_cod"], "Unknown benchmark 'ladder_cod'. Did you mean ladder_code"),
        (["--dimension", "inner"], "Unknown dimension 'inner'. Did you mean inner_max"),
        (["--family", "llma"], "Unknown family 'llma'. Did you mean llama"),
        (["--metric", "acc"], "--metric needs --benchmark"),
        (["--benchmark", "ladder_code", "--metric", "bits"], "Unknown metric 'bits'"),
    ],
)
def test_what_is_not_there_is_one_line_and_exit_code_2(ladder: Warehouse, arguments: list[str], says: str) -> None:
    done = run_core("rank", *arguments, warehouse=ladder.path)
    assert done.returncode == 2 and done.stdout == ""
    assert says in done.stderr and done.stderr.count("\n") == 1


def test_without_runs_and_without_scores(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["rank", "--warehouse", str(empty_warehouse(tmp_path))]) == 2
    assert "No warehouse" in capsys.readouterr().err
    bare = answers.ladder_warehouse(tmp_path / "bare.duckdb", [])
    found = told(bare)
    assert (found["answer"], found["reasons"], found["coefficient"], found["n"]) == (
        "cannot_tell",
        ["no_scores"],
        None,
        0,
    )
    assert len(found["models"]) == 24 and found["models"][0]["score"] is None
    assert "None of these models has this score." in run_core("rank", warehouse=bare.path).stdout


def test_page_slide_and_verb_say_the_same_sentence(
    ladder: Warehouse, found: dict, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sentence = found["sentence"]
    monkeypatch.setenv("WORKDIM_WAREHOUSE", str(ladder.path))
    app = opened("choose.py", choose="ranking")
    assert not app.exception and sentence in spoken(app)
    assert table_of(app).height == 24
    pilot = answers.ladder()
    people.register_pilot(ladder, pilot)
    people.add_runs(ladder, pilot.pilot_id, queries.runs(ladder)["run_id"].to_list()[:2])
    assert told(ladder)["sentence"] == sentence, "the shipped pilot is what it was, whoever registers it"
    assert sentence in spoken(opened("choose.py", choose="ranking", pilot=pilot.pilot_id))
    out = tmp_path / "deck.pptx"
    assert main(["slides", "--warehouse", str(ladder.path), "--pilot", pilot.name, "--out", str(out)]) == 0
    first, second = list(Presentation(BytesIO(out.read_bytes())).slides)[:2]
    assert "26 November 2026, before the scores" in sentence
    written = [
        one.text.replace("−", "-")
        for slide in (first, second)
        for shape in (*slide.shapes, *slide.notes_slide.shapes)
        if shape.has_text_frame
        for one in shape.text_frame.paragraphs
    ]
    assert written.count(sentence) == 1
    (chart,) = [shape.chart for shape in first.shapes if shape.has_chart]
    bars = chart._chartSpace.xpath("//c:errBars/c:errDir/@val")
    assert bars == ["x", "y"] and len(list(chart.plots[0].series[0].values)) == 24
    labels = chart._chartSpace.xpath("//c:dLbl//a:t/text()")
    assert "base" in labels and not [label for label in labels if "step1500" in label]


def spoken(app: AppTest) -> str:
    return "\n".join(one.value for one in app.markdown).replace("\\", "")


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return filled_warehouse(tmp_path_factory.mktemp("within"))


def test_within_one_model_the_answer_is_that_of_the_page(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = json.loads(run_core("within", RUN_IDS[0], "--json", warehouse=path).stdout)
    told = found["inner"]["relation"]
    assert (told["n"], told["n_units"]) == (8, 16) and len(found["windows"]) == 16
    assert found["inner"]["shuffled"]["n"] == 8 and len(found["inner"]["difference"]) == 3
    for_people = run_core("within", RUN_IDS[0], warehouse=path).stdout
    monkeypatch.setenv("WORKDIM_WAREHOUSE", str(path))
    page = opened("compare.py", runs=RUN_IDS[0], section="within")
    for sentence in (found["inner"]["sentence"], found["final"]["sentence"]):
        assert sentence in " ".join(for_people.split())
    assert escape(found["inner"]["sentence"]) in texts(page)
    page.segmented_control(key="view.place").set_value("final").run()
    assert escape(found["final"]["sentence"]) in texts(page)


def test_a_deleted_run_is_told_where_it_is(tmp_path: Path) -> None:
    path = filled_warehouse(tmp_path)
    assert run_core("runs", "delete", RUN_IDS[0], "--yes", warehouse=path).returncode == 0
    assert "runs list --deleted" in run_core("within", RUN_IDS[0], warehouse=path).stderr


def test_a_run_without_losses_says_why(path: Path) -> None:
    """An encoder; and a run whose parcel has no such row, as most that ship, and which is whole all the same."""
    profile = make_profile(WITHOUT_WINDOWS, model=make_model("made-up/big@1", name="made-up-big"))
    add_run(path, replace(profile, windows=[]))
    for run_id, told in ((RUN_IDS[2], "predicts no next token"), (WITHOUT_WINDOWS, "holds no losses of")):
        done = run_core("within", run_id, warehouse=path)
        assert done.returncode == 2 and told in done.stderr and done.stderr.count("\n") == 1
    assert run_core("doctor", "--thorough", warehouse=path).returncode == 0
