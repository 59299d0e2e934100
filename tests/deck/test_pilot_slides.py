"""A deck of a pilot: what was fixed beforehand stands near its start, what the use class forbids on every slide."""

import re
from dataclasses import replace
from datetime import date, datetime
from io import BytesIO

import pytest
from pptx import Presentation

from core.analysis.asked import missing_models
from core.deck.build import deck
from core.deck.build import titles as planned_titles
from core.deck.deck_data import deck_data
from core.pilots.pilot import Benchmark, OwnScore, OwnTask, Pilot, PilotModel, PilotText
from core.pilots.registration import Registered
from core.wording.pilot_sentences import Evidence, caution, evidence, shown_first
from tests import frames
from tests.deck.test_slides import rows_of, texts, titles
from tests.frames import Model, score

BIG = Model("big", repository="o/big", n_layers=30)
SMALL = Model("small", base_repository="o/base", peak=90.0)
CONTROL = Model("big", repository="o/big", n_layers=30, pass_="random_init", model_seed=0, parent_run_id=BIG.id)
PILOT = Pilot(
    "Medicines",
    "Which model may draft answers?",
    "general",
    tuple(PilotModel(f"hub:{name}") for name in ("big", "small", "gone")),
    (PilotText("python-docs"),),
    Benchmark("arc_easy", "acc", "Smaller goes with better.", date(2026, 11, 20), True, n_shot=0),
)
CLASSES = ("scarce_data", "safety_critical")
FORBIDS = {"en": "a dimension never supports a recommendation by itself", "ja": "次元だけを推奨の根拠にしない"}
TASK = OwnTask("answers without an error", "percent", True)


def registered(pilot: Pilot) -> Registered:
    return Registered(pilot.pilot_id, pilot, datetime(2026, 11, 25, 12, 0))


def opened(pilot: Pilot, *models: Model, language: str = "en", scores=()):
    of_runs = frames.of_runs(*(models or (BIG, SMALL)), scored=scores)
    data = deck_data(of_runs, language, registered(pilot), date(2026, 11, 26))
    return Presentation(BytesIO(deck(data)))


def told(presentation) -> dict[str, str]:
    """Tables of two columns, as first cell -> second cell; of equal first cells that of the pilot slide."""
    return dict(row for row in reversed(rows_of(presentation)) if len(row) == 2)


def test_what_was_fixed_beforehand_stands_behind_the_answer():
    presentation = opened(PILOT, scores=[score("o/big", 43.9, "r1"), score("o/base", 40.0)])
    assert titles(presentation)[3] == "Pilot “Medicines”: what is to be decided, and by which benchmark"
    said = told(presentation)
    assert said["Question"] == "Which model may draft answers?"
    assert said["Use class"] == "general: A choice that can be checked by its results, and taken back."
    assert said["Models"] == "2 of 3 in this deck; without a run here: gone"
    assert said["Primary benchmark"] == "arc_easy (acc, 0-shot); a higher score is the better one"
    assert said["Expected"] == "Smaller goes with better."
    assert said["Written down on"] == (
        "2026-11-20; registered in this warehouse on 2026-11-25; runs measured before that: 2 of 2"
    )
    assert said["Scores of the benchmark"] == "of the model itself: 1; of its base model only: 1"


def test_a_deck_without_a_pilot_tells_of_none():
    made = planned_titles(deck_data(frames.of_runs(BIG, SMALL), "en"))
    assert not [title for title in made if "Pilot" in title]


def test_that_nothing_tests_the_expectation_is_said():
    presentation = opened(PILOT, scores=[score("o/big", 1.0, "r1", benchmark="piqa")])
    assert told(presentation)["Scores of the benchmark"].startswith("None for these models")
    said = told(presentation)["Does the pre-registered expectation hold?"]
    assert said.startswith("Cannot tell whether") and "None of these models has this score." in said


def test_the_registered_benchmark_is_shown_and_any_other_is_called_exploratory():
    many = [score("o/big", 1.0, "r1", benchmark="piqa"), score("o/base", 2.0, benchmark="piqa")]
    head = next(row for row in rows_of(opened(PILOT, scores=[*many, score("o/big", 43.9, "r1")])) if len(row) == 7)
    assert head[6] == "arc_easy (acc, 0-shot): pre-registered"
    head = next(row for row in rows_of(opened(PILOT, scores=many)) if len(row) == 7)
    assert head[6] == "piqa (acc, 0-shot): not pre-registered (exploratory)"


@pytest.mark.parametrize("language", ["en", "ja"])
@pytest.mark.parametrize("use_class", CLASSES)
def test_a_cautious_class_stands_on_every_slide_that_compares_or_states_a_verdict(use_class, language):
    presentation = opened(replace(PILOT, use_class=use_class), BIG, SMALL, CONTROL, language=language)
    slides = list(presentation.slides)
    kinds = {
        "en": ("Verdicts", "the text and of its controls", "Specification"),
        "ja": ("判定 –", "テキストと対照の推定", "全座標の分散を統一", "グループ内は名前順"),
    }[language]
    provenance = {"en": "Method and provenance", "ja": "方法と出所"}[language]
    comparing = [
        slide
        for slide in slides
        if any(kind in texts(slide) for kind in kinds) and provenance not in slide.shapes.title.text_frame.text
    ]
    assert len(comparing) >= 3
    for slide in comparing:
        assert FORBIDS[language] in texts(slide), slide.shapes.title.text_frame.text


@pytest.mark.parametrize("language", ["en", "ja"])
@pytest.mark.parametrize("use_class", CLASSES)
def test_the_last_slide_opens_with_what_the_class_forbids(use_class, language):
    presentation = opened(replace(PILOT, use_class=use_class), language=language)
    question = {"en": "May a model be chosen by these dimensions?", "ja": "これらの次元でモデルを選べるか"}[language]
    *_, last = (shape.table for slide in presentation.slides for shape in slide.shapes if shape.has_table)
    assert last.cell(1, 0).text_frame.text == question


def test_every_page_of_open_questions_opens_with_it(monkeypatch):
    from core.deck.slides import open_questions

    monkeypatch.setattr(open_questions, "BODY_HEIGHT", 1.8)
    presentation = opened(replace(PILOT, use_class="safety_critical"))
    pages = [slide for slide in presentation.slides if "cannot decide" in slide.shapes.title.text_frame.text]
    assert len(pages) > 2
    firsts = [shape.table.cell(1, 0).text_frame.text for slide in pages for shape in slide.shapes if shape.has_table]
    assert set(firsts) == {"May a model be chosen by these dimensions?"}


@pytest.mark.parametrize("language", ["en", "ja"])
def test_a_general_pilot_carries_no_such_line(language):
    said = "\n".join(texts(slide) for slide in opened(PILOT, language=language).slides)
    assert FORBIDS[language] not in said.lower()
    assert caution(PILOT, language) is None and caution(None, language) is None


def test_own_scores_stand_on_the_pilots_slide_and_beside_the_benchmark():
    models = (replace(PILOT.models[0], score=OwnScore(71.5, 2.4)), *PILOT.models[1:])
    pilot = replace(PILOT, task=TASK, models=models)
    own = {"benchmark": TASK.name, "metric": "score", "n_shot": None}
    scores = [
        score("o/big", 43.9, "r1"),
        score("hub:big", 71.5, std_error=2.4, source=pilot.source, **own),
        score("hub:small", 12.3, source="pilot:another-12345678", **own),
    ]
    presentation = opened(pilot, scores=scores)
    assert told(presentation)["Own task: answers without an error"] == "big 71.5 ± 2.4 (percent)"
    shown = {row[0]: row[6] for row in rows_of(presentation) if len(row) == 7}
    assert shown["big"] == "43.9; answers without an error: 71.5 ± 2.4 (own score)"
    assert "12.3" not in "\n".join(texts(slide) for slide in presentation.slides)


def test_evidence_counts_each_model_once_by_its_strongest_score():
    from core.analysis.ranking import with_scores

    runs = frames.runs(BIG, replace(BIG, seed=1), SMALL, Model("plain", repository="o/plain"), Model("none"))
    scores = [
        score("o/big", 43.9, "r1"),
        score("o/big", 43.0, suite="another"),
        score("o/base", 40.0),
        score("o/plain", 41.0),
        score("o/plain", 44.0, benchmark="piqa"),
    ]
    scored = with_scores(runs, frames.scores(*scores))
    assert evidence(scored, PILOT.benchmark) == Evidence(own=1, unsure=1, base=1)
    assert shown_first(scored, PILOT)["benchmark"] == "arc_easy"


def test_a_model_counts_as_measured_by_its_revision_stack_and_format():
    pilot = replace(PILOT, models=(PilotModel("hub:a@s1", stack="encoder", dtype="bfloat16"),))
    run = Model("a", requested_revision="s1", dtype="bfloat16")
    runs = frames.runs(run)
    assert [model.label for model in missing_models(pilot, runs)] == ["a@s1 · encoder · bfloat16"]
    assert not missing_models(replace(pilot, models=(replace(pilot.models[0], stack=None),)), runs)
    assert missing_models(replace(pilot, models=(replace(pilot.models[0], written="hub:a", stack=None),)), runs)


@pytest.mark.parametrize("language", ["en", "ja"])
def test_a_long_pilot_goes_on_a_second_slide(language):
    models = tuple(PilotModel(f"o/{'m' * 40}{n}") for n in range(40))
    long = replace(
        PILOT, models=models, question="Why? " * 150, benchmark=replace(PILOT.benchmark, expectation="x " * 800)
    )
    presentation = opened(long, language=language)
    heads = [title for title in titles(presentation) if "Medicines" in title]
    assert len(heads) > 1 and all(re.search(r"\(\d/\d\)$", title) for title in heads)
