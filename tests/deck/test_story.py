"""What holds for every story: a decision in five slides, few words beside one picture, nothing claimed too much."""

import json
import re
from dataclasses import asdict, replace
from functools import cache

import polars as pl
import pytest

from core.analysis.differences import comparability
from core.analysis.ranking import default_benchmark, with_scores
from core.analysis.relation import SpecificationCurve
from core.analysis.resampling import search_dimensions
from core.deck import board, choice_board, layout, pilot_board, plan_board, profile_board
from core.deck.board import make_slide
from core.deck.deck_data import ReportedRuns, deck_data, plan_data
from core.deck.layout import shorten_for_page
from core.deck.powerpoint import draw_deck
from core.deck.report import build_story, report_of, sql_strings
from core.deck.story import Column, Statement, Story, StorySlide, Table, cleaned, numbers_of, texts_of
from core.errors import InputError
from core.figures.chart import Chart
from core.figures.layer_profiles import profile_chart
from core.figures.scores import relation_chart
from core.figures.text import is_wide, phrases
from core.locale import in_language
from core.pilots.pilot import PilotModel
from core.pilots.saved import Criterion, Recipe
from core.questions import ranking_answer
from core.questions.ranking_question import missing_models
from core.records import SHIPPED, LayerPlan, PlanConfig
from core.registry.checks import VERDICTS
from core.sql.sandbox import check_statement
from core.tables import TABLES, Run, RunControlRow, RunSummaryRow, columns, records
from core.warehouse import queries
from core.warehouse.warehouse import Warehouse
from core.wording.runs import apart_text
from core.wording.verdicts import MARKS
from tests import answers, frames
from tests.deck import cases
from tests.deck.cases import (
    CASES,
    LANGUAGES,
    ONE,
    TWO,
    data_of,
    many,
    of_models,
    of_pilot,
    of_rule,
    story_of,
    two_readers,
)
from tests.frames import Model, score
from tests.plans.made import layer_plan

pytestmark = pytest.mark.slow

EVERY = [(case, language) for case in CASES for language in LANGUAGES]


def test_notes_say_what_the_slide_does_not():
    for case, language in EVERY:
        for slide in story_of(case, language).slides:
            assert not {statement.text for statement in slide.statements} & set(slide.speech), (case, slide.key)
            assert slide.title not in slide.speech, (case, slide.key)


@pytest.mark.parametrize("case", CASES)
def test_japanese_titles_end_in_a_noun_and_days_are_written_out(case):
    for slide in story_of(case, "ja").slides:
        assert not re.search(r"(です|ます|する|した|いる|。)$", slide.title), slide.title
        assert not re.search(r"\d{4}-\d\d-\d\d", slide.title)


@cache
def forty_models() -> Story:
    return build_story(of_models(*many(40)), True)


def test_queries_of_the_appendix_are_sql_of_any_number_of_runs():
    for story in (build_story(of_models(ONE, TWO), True), forty_models()):
        (slide,) = [slide for slide in story.appendix if slide.key == "sql"]
        for one in slide.statements:
            check_statement(one.text)
        assert len(slide.statements) > 2
    assert "'it''s'" in sql_strings(["it's"])
    query = f"SELECT value FROM scores WHERE benchmark IN ({sql_strings(['ARC 25-shot', 'عربي 2'])})"
    assert cleaned(query) == query and cleaned("عربي 2") != "عربي 2", "marks of direction would be pasted too"


def test_a_plan_says_what_was_asked_for_and_not_where_it_lay():
    asked = PlanConfig(
        "/home/smith/llm", "/home/smith/notes.txt", task="/home/smith/q.csv", save_model="C:\\smith\\out"
    )
    plan = layer_plan()
    plan = replace(plan, plan=replace(plan.plan, config=json.dumps(asdict(replace(asked, verify=True)))))
    (slide,) = [one for one in build_story(plan_data(plan, cases.DAY), True).appendix if one.key == "provenance"]
    told = slide.visual.rows[-1][1]
    assert told == (
        "model llm, corpus notes.txt, budget 0.0488, budget_unit nats, task q.csv, verify True, save_model out, encoding utf-8, "
        "chat template, seed 0, dtype float32, device auto"
    )


def test_no_page_of_the_appendix_holds_one_row():
    for story in (build_story(data_of("not_related", "ja"), True), forty_models()):
        pages = [slide for slide in story.appendix if isinstance(slide.visual, Table) and "-" in slide.key]
        assert pages and all(len(slide.visual.rows) > 1 for slide in pages)


def test_a_mark_means_one_thing_in_a_deck():
    of_verdicts = {word.mark for word in VERDICTS.values()}
    shared = set(MARKS.values()) & of_verdicts
    assert shared == {"?"} and MARKS["cannot_tell"] == VERDICTS["unclear"].mark == "?"
    answer = data_of("related_as_registered", "en").answer
    first, *others = answer.models
    ranked = replace(answer.ranked, models=(replace(first, match="base"), *others))
    chart = relation_chart(replace(answer, ranked=ranked))
    legend = re.findall(r"(\S) scores? of", chart.key)
    assert "▲" in legend and not {"○", *of_verdicts} & set(legend)


def test_own_scores_and_whose_a_score_is_stand_in_the_appendix():
    scores = frames.scores(score("o/base", 43.9))
    story = build_story(of_models(ONE, TWO, scores=scores), True)
    (values,) = (slide for slide in story.appendix if slide.key == "values")
    cells = [row[-1] for row in values.visual.rows if isinstance(row, tuple)]
    assert "43.9 °" in cells and "–" in cells and "° of the base model" in values.visual.key


# --- what is refused, and what is left out ---------------------------------------------------------------------


def without_summary(runs: pl.DataFrame) -> pl.DataFrame:
    """As a protocol of the literature leaves them: no one per type, and so no dimensions and no verdict."""
    names = [
        name for name in columns(RunSummaryRow) if name in runs.columns and name not in ("run_id", "bits_per_byte")
    ]
    return runs.with_columns(pl.lit(None).cast(runs[column].dtype).alias(column) for column in names)


def test_what_holds_no_run_on_text_with_a_verdict_is_no_deck():
    with pytest.raises(InputError, match="A deck needs a run with a verdict: of quick"):
        of_models(ONE, runs=without_summary(frames.runs(ONE)))
    with pytest.raises(InputError, match="A deck needs a run on unchanged text; choose one"):
        of_models(Model("a", pass_="random_init"))


def test_our_frames_have_the_columns_of_the_warehouse(tmp_path):
    stored = queries.runs(Warehouse(tmp_path / "w.duckdb"))
    assert set(frames.runs(ONE).columns) <= set(stored.columns)
    with pytest.raises(InputError):
        of_models(runs=stored)


def test_the_registered_benchmark_is_shown_first_else_the_one_that_most_models_have():
    pilot = replace(answers.pilot(1), benchmark=replace(answers.BENCHMARK, name="piqa"))
    runs = frames.runs(Model("big", repository="o/big"), Model("plain", repository="o/plain"))
    scores = [score("o/big", 43.9, "r1"), score("o/plain", 41.0), score("o/plain", 44.0, benchmark="piqa")]
    scored = with_scores(runs, frames.scores(*scores))
    assert default_benchmark(scored, pilot)["benchmark"] == "piqa"
    assert default_benchmark(scored, None)["benchmark"] == "arc_easy"


def test_a_model_counts_as_measured_by_its_revision_stack_and_format():
    pilot = replace(answers.pilot(1), models=(PilotModel("hub:a@s1", stack="encoder", dtype="bfloat16"),))
    runs = frames.runs(Model("a", requested_revision="s1", dtype="bfloat16"))
    assert [model.label for model in missing_models(pilot, runs)] == ["a@s1 · encoder · bfloat16"]
    assert not missing_models(replace(pilot, models=(replace(pilot.models[0], stack=None),)), runs)
    assert missing_models(replace(pilot, models=(replace(pilot.models[0], written="hub:a", stack=None),)), runs)


def words(text: str) -> int:
    """Words of English; of Japanese, which sets no blanks, two letters count as one."""
    wide = sum(map(is_wide, text))
    return len(re.sub(r"[^\x00-\u2fff]", " ", text).split()) + wide // 2


def beside(slide: StorySlide) -> str:
    """What stands beside the picture of a slide; of the last, its table as well."""
    told = [text for one in slide.statements for text in (one.label, one.text)]
    if slide.key == "options" and isinstance(slide.visual, Table):
        told += [cell for row in slide.visual.rows if isinstance(row, tuple) for cell in row] + [slide.visual.key]
    return " ".join(told)


@pytest.mark.parametrize(("case", "language"), EVERY)
def test_every_story_is_five_slides_at_most_each_carried_by_one_picture(case, language):
    story = story_of(case, language)
    kind = "no_pilot" if "model" in case else case.removesuffix("_open").removesuffix("_refused")
    assert kind == data_of(case, language).case
    keys = [slide.key for slide in story.slides]
    assert len(keys) <= 5 and (keys[0], keys[-1]) == ("answer", "options") and not story.appendix
    for slide in story.slides:
        assert layout.lines_needed(slide.title, 0.96 * layout.TEXT_WIDTH, 24) <= 2
        assert slide.sources
        assert slide.visual is not None and 15 <= len(slide.visual.alternative) <= 700
        assert words(beside(slide)) <= (45 if language == "en" else 65), (slide.key, beside(slide))


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("case", CASES)
def test_a_deck_repeats_less_than_a_tenth_of_its_words(case, language):
    """By runs of four words; of five phrases in Japanese."""
    found: list[str] = []
    for slide in story_of(case, language).slides:
        for _place, text in texts_of(slide):
            parts = text.split() if language == "en" else phrases(text)
            size = 4 if language == "en" else 5
            found += [" ".join(parts[at : at + size]) for at in range(len(parts) - size + 1)]
    assert 1 - len(set(found)) / max(1, len(found)) < 0.1


def test_the_model_is_named_on_the_first_slide_where_the_question_is_which():
    for case in ("related_as_registered", "related_other_way", "not_related", "cannot_tell"):
        first = story_of(case, "en").slides[0]
        assert data_of(case, "en").best_by_score.name in "".join(one.text for one in first.statements)
    names = {"plan": "model", "plan_refused": "model", "choice": "middle-model", "two_models_one_text": "one"}
    for case in ("one_model", *names):
        assert names.get(case, "SmolLM2-135M-Instruct") in story_of(case, "en").slides[0].title


def test_in_safety_critical_use_the_answer_itself_is_another():
    assert story_of("related_other_way", "en").title.startswith("Safety-critical use: choose by tests")
    # whatever was found, asked is what the title says
    for scores, use_class in ((answers.falling(), "safety_critical"), (answers.unrelated(24), "scarce_data")):
        found = pilot_board.pilot_board(of_pilot(24, scores, "en", use_class=use_class)).decision
        assert found.options[0].what == "Test it on your own task"
        assert found.options[-1].what == "Stop"
    plain = build_story(of_pilot(24, answers.falling()[::-1], "en"))
    assert plain.title.startswith("Against the expectation, larger dimension")


def test_what_nobody_entered_is_left_out():
    def asked(**changes) -> str:
        data = replace(data_of("related_as_registered", "en"), **changes)
        return build_story(data).slides[0].statements[-1].text

    assert asked().startswith("Head of support, by 15 December 2026: Measure")
    assert asked(decide_by=None).startswith("Head of support: Measure")
    assert asked(decided_by=None).startswith("by 15 December 2026: Measure")
    assert asked(decided_by=None, decide_by=None).startswith("Measure what is untested")


def test_a_plan_is_asked_of_whom_the_report_names():
    recipe = Recipe("x", (), plan_id="p", decided_by="Head of support", decide_by="2026-12-15")
    told = report_of(layer_plan(), recipe).story.slides[0].statements[-1]
    assert (told.label, told.text.split(": ")[0]) == ("Decision asked", "Head of support, by 15 December 2026")
    with pytest.raises(InputError, match="soon is no day, as 2026-11-25"):
        replace(recipe, decide_by="soon")


def test_what_cannot_be_made_is_no_check_left_undone():
    slides = {slide.key: slide for slide in story_of("cannot_tell", "en").slides}
    marks = {row[0]: row[1] for row in slides["looks"].visual.rows}
    assert marks["Equal size"] == marks["Families left out"] == "– not possible" and "untested" in marks["Controls"]
    assert slides["looks"].title == "1 of 5 possible cross-checks made, none contradicts the answer"
    assert "size" not in slides["options"].visual.key
    found = pilot_board.pilot_board(data_of("not_related", "en")).decision
    assert "could still say otherwise" in found.title and found.options[0].what == "Measure what is untested"
    rows = {row[0]: row[4] for row in slides["compared"].visual.rows}
    assert rows["m00"] == "7–12", "rank 1 is the largest dimension, as on screens and in the terminal"


def test_an_answer_is_no_surer_than_the_other_ways_of_looking_let_it_be():
    found = board.Board(
        board.Panel("", Table((), ())),
        *("1", "", "holds", board.Decision("", ())),
        looks=(board.Look("one", "holds", ""),),
    )

    def with_look(sure) -> board.Board:
        return replace(found, looks=(*found.looks, board.Look("other", sure, "")))

    told = {sure: with_look(sure).how_sure for sure in ("holds", "depends", "unclear", "fails", "untested")}
    assert told == {
        "holds": "holds",
        "depends": "depends",
        "unclear": "unclear",
        "fails": "depends",
        "untested": "untested",
    }
    assert replace(with_look("holds"), sure="unclear").how_sure == "unclear"


@pytest.mark.parametrize("language", LANGUAGES)
def test_adopting_is_recommended_only_where_nothing_that_could_reverse_it_is_untested(language, monkeypatch):
    def first(data) -> str:
        return in_language(language, pilot_board.pilot_board, data).decision.options[0].what

    data = data_of("related_as_registered", language)
    untested, adopt = {
        "en": ("Measure what is untested", "Adopt for shortlists"),
        "ja": ("未検証の項目を測定", "候補の絞り込みに採用"),
    }[language]
    assert first(data) == untested
    monkeypatch.setattr(pilot_board, "_looks", lambda _data: [board.Look("x", "holds", "")])
    assert first(data) == adopt
    other_way = replace(data, answer=replace(data.answer, word="related_other_way"))
    assert first(other_way) not in (untested, adopt)
    assert first(replace(data, pilot=replace(data.pilot, use_class="scarce_data"))) not in (untested, adopt)


def test_a_second_text_is_held_against_the_first():
    data = data_of("related_as_registered", "en")
    other = data_of("related_other_way", "en").answer
    open_one, hint = replace(other, word="cannot_tell"), replace(data.answer, word="hint")
    for answer, told in ((data.answer, "holds"), (hint, "holds"), (other, "depends"), (open_one, "unclear")):
        looks = in_language("en", pilot_board.pilot_board, replace(data, on_other_texts=(answer,))).looks
        assert {look.name: look.sure for look in looks}["Second text"] == told


def test_a_look_that_nobody_took_is_untested_and_one_by_controls_says_what_they_showed():
    looks = {look.name: look for look in in_language("en", profile_board.profile_board, of_models(ONE)).looks}
    assert looks["Controls"].sure == "untested" and looks["Controls"].told.startswith("would take about ")
    text = Model("m", run_id="t", reasons_fall=("control_no_power",), control_run_ids=("r0",))
    control = Model("m", run_id="r0", parent_run_id="t", pass_="random_init", model_seed=0)
    looks = {look.name: look for look in profile_board.profile_board(of_models(text, control)).looks}
    assert looks["Controls"].sure == "unclear" and "could not have shown it" in looks["Controls"].told


def test_controls_are_those_that_judge_and_take_all_their_passes():
    """What shuffling the text changes is told of both claims too, and judges none."""
    judge, effect = (RunControlRow("t", name, "rise", 1.5, 1.3, 1.7, power, outcome) for name, power, outcome in JUDGES)
    rows = TABLES["run_controls"].frame([judge, effect])
    data = of_models(Model("m", run_id="t"), against_controls=rows)
    look = {one.name: one for one in profile_board.profile_board(data).looks}["Controls"]
    assert (look.sure, look.told) == ("holds", "the text exceeds it: 1")
    pilot = data_of("related_as_registered", "en")
    controls = {one.name: one for one in pilot_board.pilot_board(pilot).looks}["Controls"]
    hours = 24 * pilot_board.N_CONTROLS / 60
    assert controls.told == f"would take about {hours:.1f} h", "24 models of a minute for each pass"


JUDGES = (("r0", 0.9, "exceeded"), ("s0", None, "same"))


@pytest.mark.parametrize(
    ("word", "limits", "sure"),
    [
        ("related_as_registered", (-0.9, -0.2), "holds"),
        ("related_as_registered", (-0.6, 0.2), "depends"),
        ("related_as_registered", (0.2, 0.9), "depends"),
        ("not_related", (-0.3, 0.4), "holds"),
        ("not_related", (-0.3, 0.8), "unclear"),
        ("not_related", (0.2, 0.9), "depends"),
        ("cannot_tell", (-0.3, 0.8), "holds"),
        ("cannot_tell", (None, None), "unclear"),
    ],
)
def test_models_of_equal_size_agree_with_the_answer_that_was_given(word, limits, sure):
    answer = data_of("related_as_registered", "en").answer
    low, high = limits
    r = -0.1 if low is None else (low + high) / 2
    partial = replace(answer.relation.partial, r=r, lower=low, upper=high, p=0.5, n=24)
    changed = replace(answer, word=word, relation=replace(answer.relation, rho=-0.8, partial=partial))
    assert pilot_board._size(changed).sure == sure


def test_nothing_is_measured_for_what_only_other_models_can_settle(monkeypatch):
    looks = [board.Look("Families left out", "untested", "")]
    monkeypatch.setattr(pilot_board, "_looks", lambda _data: looks)
    found = pilot_board.pilot_board(data_of("related_as_registered", "en"))
    assert found.decision.options[0].what == "Extend to 24 other models"


@pytest.mark.parametrize(
    ("others", "sure"),
    [
        (("related_as_registered", "related_as_registered"), "holds"),
        (("related_as_registered", "cannot_tell"), "depends"),
        (("cannot_tell", "cannot_tell"), "depends"),
    ],
)
def test_other_methods_agree_where_they_give_the_answer_itself(others, sure):
    data = data_of("related_as_registered", "en")
    relations = {str(n): replace(data.answer.relation, answer=word) for n, word in enumerate(others)}
    curve = SpecificationCurve(relations, "0", search_dimensions({}, []))
    looks = pilot_board.pilot_board(replace(data, answer=replace(data.answer, specifications=curve))).looks
    assert looks[0].sure == sure
    assert len(looks[0].told.stretches) == 2 and all(one.source for one in looks[0].told.stretches)


def test_nothing_agrees_with_an_answer_that_is_not_there():
    slides = {slide.key: slide for slide in story_of("incomplete", "en").slides}
    assert "looks" not in slides, "a page that says only that nothing was tried"
    assert slides["options"].visual.key == "Not tested: Second text, Second sample, Controls."


def test_one_model_is_counted_as_one():
    told = pilot_board.pilot_board(of_pilot(1, [80.0], "en")).answer.title
    assert told.startswith("1 model cannot tell whether dimension")


def test_three_models_have_no_coefficient_and_say_so():
    data = of_pilot(3, [80.0, 70.0, 60.0], "en")
    found = pilot_board.pilot_board(data)
    assert (found.number, found.meaning) == (f"3 / {data.asked.relation.enough}", "models that count, of those needed")


def test_a_pilot_that_lacks_no_model_and_no_score_says_what_is_open():
    data = data_of("not_related", "en")
    open_data = replace(data, answer=replace(data.answer, word="cannot_tell", reasons=("no_direction",)))
    assert open_data.case == "incomplete"
    assert (
        pilot_board.pilot_board(open_data)
        .decision.options[0]
        .what.startswith("Settle this first: No source says whether")
    )


def test_models_that_do_not_compare_are_not_ordered():
    other = Model("third", tokenizer_hash="tok9", peak=500.0)
    on_other_words = replace(other, words_hash="w2")
    chosen = ((ONE, TWO, other), (*many(2), on_other_words), (*many(2), other))
    told = {n: build_story(of_models(*models)) for n, models in enumerate(chosen)}
    titles = [(story.title, story.slides[-2].title) for story in told.values()]
    drawn_together = [any(slide.key == "evidence" for slide in story.slides) for story in told.values()]
    assert drawn_together == [False, True, True], "one axis would compare what does not compare"
    assert titles == [
        (f"On token types, {n} of 3 models have dimensions that compare", f"3 models side by side, {n} comparable")
        for n in (0, 2, 2)
    ]
    assert any(
        "on one point per word alone, because they differ in: tokenizer" in text for text in told[2].slides[0].speech
    )
    gallery = told[0].slides[0].visual
    tops = [chart.y.high for chart in gallery.charts]
    assert len(tops) == 3 and len(set(tops)) > 1 and "Each is on a scale of its own" in gallery.key
    assert told[1].slides[1].visual.key.startswith("Drawn: 2 of 3 models.")


def test_encoders_of_two_tokenizers_compare_on_words_alone():
    pair = (Model("one", kind="encoder"), Model("two", kind="encoder", tokenizer_hash="tok9"))
    told = of_models(*pair)
    assert build_story(told).title == "On token types, 0 of 2 models have dimensions that compare"
    assert apart_text(comparability(*records(told.text_runs, Run))).startswith(
        "Their dimensions compare on one point per"
    )


def test_models_compare_beside_a_larger_group_of_vetoed_ones_and_in_one_number_format():
    vetoed = [Model(f"v{n}", tokenizer_hash="tok9", worst_check="veto") for n in range(4)]
    sound = [Model(f"s{n}", peak=60.0 + 20 * n) for n in range(3)]
    told = build_story(of_models(*sound, *vetoed))
    assert told.title == "3 models, from s0 (60) to s2 (100): none is thereby better"
    assert told.slides[-1].title.startswith("27 control passes"), "of what is vetoed no control tells anything"
    other_format = build_story(of_models(*sound[:2], replace(sound[2], dtype="bfloat16")))
    assert other_format.title == "On token types, 2 of 3 models have dimensions that compare"


def test_what_judges_rise_and_fall_changes_no_answer_about_heights():
    (looks,) = [slide for slide in story_of("two_models", "en").slides if slide.key == "looks"]
    assert looks.title == "Cross-checks that differ: Rise by other methods"


def test_where_no_model_meets_a_rule_its_models_are_shown_once_and_a_threshold_is_what_is_asked():
    criteria = (Criterion("score", weight=3.0, at_least=99.0), Criterion("parameters", weight=1.0))
    story = build_story(of_rule("en", {"one": (61.0, 2.0), "other": (62.0, 2.0)}, criteria))
    answer, options = story.slides
    assert [row[:2] for row in answer.visual.rows] == [("one", "–"), ("other", "–")]
    assert any(text.endswith("61.0, asked for at least 99.0") for text in answer.speech)
    assert options.visual.rows[0][0].startswith("Loosen a threshold")
    assert draw_deck(story)[:2] == b"PK"


@pytest.mark.parametrize(
    ("outcomes", "verdict", "sure", "agrees"),
    [
        (("yes", "yes"), "holds", "holds", None),
        (("yes", "no"), "depends", "depends", None),
        (("yes", "cannot_tell"), "unclear", "unclear", None),
        (("yes", "cannot_tell"), "mostly_holds", "holds", None),
        (("no", "opposite"), "fails", "fails", True),
        (("cannot_tell", "cannot_tell"), "unclear", "unclear", None),
    ],
)
def test_methods_that_cannot_tell_deny_nothing(outcomes, verdict, sure, agrees):
    rows = pl.DataFrame({"run_id": "r", "claim": "rise", "is_core": True, "outcome": outcomes})
    look = profile_board._methods("Other methods", rows, "rise", {verdict})
    assert (look.sure, look.agrees) == (sure, agrees)


def test_a_dimension_that_is_not_there_is_no_zero():
    runs = frames.runs(ONE).with_columns(embedding_dimension=pl.lit(None, pl.Float64))
    assert "dimension – at the start" in build_story(of_models(ONE, runs=runs)).title


def test_better_is_up_also_where_a_lower_score_is_better():
    low = replace(answers.BENCHMARK, higher_is_better=False)
    chart = build_story(of_pilot(12, answers.unrelated(12), "en", benchmark=low)).slides[0].visual
    assert chart.y.title.endswith("(lower is better, and stands higher)") and chart.y.is_reversed
    assert chart.y.share(chart.y.low) == 1 and not story_of("cannot_tell", "en").slides[0].visual.y.is_reversed


def test_nothing_is_claimed_from_a_vetoed_run():
    vetoed = replace(ONE, worst_check="veto", rise="holds", fall="holds", peak=999.0)
    story = build_story(of_models(vetoed, TWO))
    shown = "\n".join(text for slide in story.slides for _place, text in texts_of(slide))
    assert "999" not in shown and "1 vetoed" in shown
    curves = [one for slide in story.slides if isinstance(slide.visual, Chart) for one in slide.visual.series]
    assert [one.colour for one in curves if "‡" in one.name] == [None]
    only = build_story(of_models(vetoed))
    assert only.title.startswith("0 of 1") and len(only.slides) == 2


def test_what_ships_alone_answers_the_question_that_ships_with_it(tmp_path):
    bits = [1.2 - 0.01 * at for at in range(24)]
    warehouse = answers.ladder_warehouse(tmp_path / "w.duckdb", bits)
    runs = queries.runs(warehouse).filter(pl.col("tokenizer_hash") == "ladder")
    assert ranking_answer.ask_for_report(warehouse, None, runs) == (), "runs of one's own have no registered question"
    shipped = runs.with_columns(tags=pl.lit([SHIPPED]))
    (answer,) = ranking_answer.ask_for_report(warehouse, None, shipped)
    assert answer.registration.by == "shipped" and answer.relation.n_units == 24
    assert ranking_answer.ask_for_report(warehouse, None, shipped.head(3)) == (), (
        "of three of them it is another question"
    )


@pytest.mark.parametrize(
    ("changes", "title", "asked"),
    [
        ({}, "model: 3 of 8 blocks can go at a cost of 10 points in copying words", "Test it on your own task"),
        ({"budget": 0.001}, "model: keep all 8 blocks, as no set tried is within the budget", "Keep all 8 blocks"),
        (
            {"is_recommended": False, "reasons": ["no_better_than_random"]},
            "model: keep all 8 blocks, as one in ten random choices of 3 does less harm",
            "Keep all 8 blocks",
        ),
        ({"budget": 0.009}, "model: keep all 8 blocks, as the loss may exceed the budget", "Keep all 8 blocks"),
        (
            {"is_recommended": False, "reasons": ["falls_copying"]},
            "model: keep all 8 blocks, as copying words falls from 90 % to 80 %",
            "Keep all 8 blocks",
        ),
        ({"budget": 0.015}, "model: 1 of 8 blocks can go: text 0.8 % harder", "Test it on your own task"),
        (
            {"is_verified": False, "is_recommended": False, "budget": 0.001},
            "model: keep all 8 blocks, as no set tried is within the budget",
            "Keep all 8 blocks",
        ),
        (
            {"is_verified": False, "is_recommended": False},
            "model: 3 of 8 blocks may go, not verified: text 3 % harder to predict",
            "Verify on held-out text",
        ),
    ],
)
def test_a_plan_asks_for_what_its_price_allows(changes, title, asked):
    story = build_story(plan_data(layer_plan(**changes), cases.DAY))
    assert story.title.startswith(title) and story.slides[-1].visual.rows[0][0].startswith(asked)
    looks = {row[0]: row[1] for slide in story.slides if slide.key == "looks" for row in slide.visual.rows}
    is_smaller = "1 of 8" in title  # what was held against random sets is another set
    assert is_smaller == ("untested" in looks["Random sets"])


def test_a_choice_names_no_best_where_two_are_alike_and_counts_whom_it_left_behind():
    unsure = build_story(of_rule("en", {"a": (61.0, None), "b": (62.0, None), "c": (62.0, None)}))
    title = "score in arc_easy weighs 75 %; by weighted mean b leads"
    assert [slide.title for slide in unsure.slides if slide.key == "evidence"] == [title]
    only = of_rule("en", {"a": (61.0, 1.0), "b": (90.0, 1.0)}, (Criterion("score", weight=3.0, at_least=80.0),))
    assert build_story(only).slides[-1].title == "Best of 2 by the rule: a pilot decides on b"


def test_numbers_of_what_nobody_verified_or_a_rule_leaves_out_have_their_sources():
    unverified = layer_plan(is_verified=False, is_recommended=False, reasons=["not_verified"], n_verification=None)
    strict = (Criterion("score", weight=3.0, at_least=99.0), Criterion("parameters", weight=1.0))
    for data in (plan_data(unverified, cases.DAY), of_rule("en", {"one": (61.0, 2.0), "other": (62.0, 2.0)}, strict)):
        numbers = numbers_of(build_story(data, True), "recipe")
        assert [row.text for row in numbers if row.source_table is None] == []


def test_a_price_stands_beside_the_blocks_that_it_is_of():
    made = layer_plan(budget=0.001)
    found = plan_board.plan_board(plan_data(made, cases.DAY))
    removed = [one.number for one in found.evidence.visual.blocks if one.is_removed]
    assert found.number == "3 %" and removed == made.plan.blocks, "the plan itself, as on the slides behind it"
    assert "Without block 3 (of 0 to 7)" in " ".join(found.answer.say)
    assert found.how_sure == "holds", "that nothing may go: an ability that falls too makes that no less sure"
    assert found.answer.statements == (), "what is not to go saves nothing"
    unsure = plan_board.plan_board(plan_data(layer_plan(budget=0.009), cases.DAY))
    assert (unsure.how_sure, unsure.decision.title) == ("unclear", "Keep all 8 blocks until a better set is found")


def test_what_speaks_against_a_plan_is_what_its_first_picture_shows():
    for changes, axis, number in (
        ({"reasons": ["no_better_than_random"]}, "text harder to predict, % (up is better)", "3 %"),
        ({"reasons": ["falls_copying"]}, "right answers: change in points", "-10 points"),
    ):
        found = plan_board.plan_board(plan_data(layer_plan(is_recommended=False, **changes), cases.DAY))
        chart = found.answer.visual
        assert axis in (chart.x.title, chart.y.title) and found.number == number
    assert (
        found.meaning.startswith("right answers in copying words [-12, -8] without")
        and "only 3 % harder [2 %" in found.meaning
    )
    made = layer_plan(is_recommended=False, is_healed=True, reasons=["falls_copying"])
    repaired = [replace(row, is_healed=True, difference=-0.09) for row in made.outcomes if row.measure == "exact_match"]
    chart = plan_board.plan_board(plan_data(LayerPlan(made.plan, [*made.outcomes, *repaired]), cases.DAY)).answer.visual
    assert {point.x for point in chart.points} == {-9.0}, (
        "of the plan as it is, as values of both would cover each other"
    )


def test_a_healed_plan_is_held_against_published_choices_as_it_was_before_healing():
    """Healed it costs less than all; before it, one of the two published choices was cheaper. A rule of ours is none."""
    made = layer_plan(is_healed=True, loss_increase=0.01, lower=0.008, upper=0.012)
    own = next(row for row in made.outcomes if row.rule == "greedy" and row.text == "held_out")
    rest = [replace(row, difference=0.02) if row.rule == "influence" else row for row in made.outcomes]
    ours = replace(own, rule="exchange", is_chosen=False)
    told = build_story(plan_data(LayerPlan(made.plan, [*rest, ours]), cases.DAY)).slides[1]
    own = "3 % [2 %, 4 %]"
    title = f"Without 3 blocks, text is {own} harder to predict; 1 of 2 published choices do better, before repair"
    assert told.title == title
    assert "this plan, repaired: 1 %" in [line.name for line in told.visual.series]


def test_right_answers_change_in_points_where_the_title_says_so():
    shown = plan_board.plan_board(plan_data(layer_plan(), cases.DAY)).compared
    assert shown.visual.rows[0][2:] == ("90 %", "80 %", "-10.0 [-12.0, -8.0] points")
    assert shown.title == "Breaks first: copying words, -10.0 [-12.0, -8.0] points"
    assert shown.visual.rows[1][2:] == ("20.1", "21.1", "5 % [4 %, 6 %] harder")


def test_a_test_that_goes_better_without_its_error_does_not_break_first():
    made = layer_plan()
    better = replace(
        next(row for row in made.outcomes if row.text == "copying"), difference=0.1, lower=None, upper=None
    )
    outcomes = [row for row in made.outcomes if row.text in ("held_out", "selection")]
    shown = plan_board.plan_board(plan_data(LayerPlan(made.plan, [*outcomes, better]), cases.DAY)).compared
    assert shown.title == "The 1 test is not harmed beyond its error"


def test_the_least_harmful_block_is_one_whose_price_is_known():
    made = layer_plan(is_recommended=False, reasons=["no_better_than_random"])
    unknown = [
        replace(row, difference=None) if row.rule == "single" and row.blocks == [0] else row for row in made.outcomes
    ]
    found = plan_board.plan_board(plan_data(LayerPlan(made.plan, unknown), cases.DAY))
    assert found.evidence.title.startswith("Alone, the least harmful block (4)")
    assert found.evidence.visual.blocks[0].told == "", "what is not known is no 0 %"


def test_what_cannot_be_tried_speaks_neither_for_nor_against_a_refusal():
    """Random sets over the budget as well support that none is within it; probes that the whole model fails say nothing."""
    made = layer_plan(is_recommended=False, budget=0.001, reasons=["over_budget", "no_room_copying"])
    looks = {look.name: look for look in plan_board.plan_board(plan_data(made, cases.DAY)).looks}
    assert looks["Random sets"].agrees and looks["Abilities"].sure == "impossible"
    of_task = layer_plan(is_recommended=False, budget=2.0, budget_unit="points", reasons=["over_budget"])
    found = {look.name: look for look in plan_board.plan_board(plan_data(of_task, cases.DAY)).looks}
    assert not found["Random sets"].agrees, "nobody asked them the questions of the task"


def test_tests_that_the_whole_model_fails_show_no_fall():
    made = layer_plan(reasons=["no_room_digit_sums", "no_room_task"])
    copying = next(row for row in made.outcomes if row.text == "copying")
    sums = replace(copying, text="digit_sums", value_before=0.02, value_after=0.0, difference=-0.02, upper=-0.01)
    task = replace(copying, text="task", measure="accuracy", upper=-0.05)
    found = plan_board.plan_board(plan_data(LayerPlan(made.plan, [*made.outcomes, sums, task]), cases.DAY))
    assert [row[0] for row in found.compared.visual.rows] == ["copying words", "text with typing errors"]
    looks = {look.name: look for look in found.looks}
    assert looks["Abilities"].told.endswith("in 1 of 1 test") and looks["Your own task"].sure == "unclear"


@pytest.mark.parametrize(("upper", "sure"), [(0.03, "holds"), (0.2, "depends")])
def test_a_task_of_texts_is_held_against_the_budget(upper, sure):
    made = layer_plan()
    task = replace(made.price, text="task", upper=upper)
    data = plan_data(LayerPlan(made.plan, [*made.outcomes, task]), cases.DAY)
    look = {one.name: one for one in plan_board.plan_board(data).looks}["Your own task"]
    assert look.sure == sure and look.told.startswith("3 % [2 %, ")


def test_what_a_table_cuts_stands_whole_in_the_notes():
    long = "a very long reason " * 60
    table = Table((Column("Name", 0.3), Column("Reason", 0.7)), (("one", long), ("two", "short")))
    whole = make_slide("x", "Title", (Statement("Short."), Statement(long.strip(), "Why")), table)
    found = shorten_for_page(whole, layout.OWN_PAGE)
    assert len(found.statements) == 1 and f"Why: {long.strip()}" in found.speech
    assert found.visual.rows[0][1].endswith("…") and f"one: Reason: {long}" in found.speech
    assert not any("short" in text for text in found.speech)


def test_a_vetoed_model_is_marked_beside_the_others():
    shown = next(slide for slide in story_of("incomplete", "en").slides if slide.key == "compared").visual
    data = data_of("incomplete", "en")
    models = [replace(one, is_vetoed=one.name == "m00") for one in data.answer.models]
    marked = replace(data, answer=replace(data.answer, ranked=replace(data.answer.ranked, models=tuple(models))))
    compared = pilot_board.pilot_board(marked).compared.visual
    assert "m00 ‡" in {row[0] for row in compared.rows} and "‡" in compared.key and "‡" not in shown.key


def test_a_pilot_without_scores_or_models_is_incomplete():
    none = build_story(of_pilot(12, [None] * 12, "en"))
    assert none.slides[-1].visual.rows[0][0].startswith("Score 12 models")
    few = build_story(of_pilot(12, answers.unrelated(10), "en"))
    assert few.slides[0].statements[0].text == "10 / 12"


def test_the_best_by_scores_without_errors_has_a_plain_rank():
    without = build_story(of_pilot(24, answers.falling(), "en", std_error=None))
    known = story_of("related_as_registered", "en")
    for story, told in ((known, "rank 1–4"), (without, "first, error not known")):
        first = story.slides[0]
        assert any(one.text.endswith(told) for one in first.statements)


def test_of_models_with_the_same_ranks_the_one_with_the_best_score_is_the_best():
    data = of_pilot(24, [*answers.falling()[:-2], 99.9, 100.0], "en")
    best = max(data.answer.models, key=lambda model: model.score)
    assert data.best_by_score == best and data.models_by_score[0] == best
    assert best.score_rank_high == data.models_by_score[1].score_rank_high
    lower = replace(answers.BENCHMARK, higher_is_better=False)
    turned = of_pilot(24, answers.falling(), "en", benchmark=lower)
    assert turned.best_by_score.score == min(model.score for model in turned.answer.models)


def test_a_run_without_a_verdict_is_left_out_and_named():
    other = Model("last-token-run", protocol_hash="000000000000")
    runs = pl.concat([frames.runs(ONE), without_summary(frames.runs(other))])
    story = build_story(of_models(ONE, other, runs=runs))
    assert any("last-token-run" in text for text in story.slides[0].speech)
    assert story.slides[1:] == story_of("one_model", "en").slides[1:]


def test_a_run_that_reached_no_dimension_tells_so():
    runs = without_summary(frames.runs(ONE)).with_columns(n_points=0, qualifiers=pl.lit(["few_types"]))
    assert build_story(of_models(ONE, runs=runs)).title.startswith("0 of 1 models have numbers")


def test_of_two_models_on_one_text_the_deck_tells_first_which_reads_it_better():
    story = story_of("two_models_one_text", "en")
    answer = next(slide for slide in story.slides if slide.key == "answer")
    assert answer.title == "one reads python-docs better than two: 1.90 against 3.00 bits per byte"
    assert answer.statements[0].text == "1.90" and answer.statements[1].text.startswith("bits per byte, lower is")
    assert story.slides[-1].visual.rows[0][0].startswith("Test it on your own task")
    assert [slide.key for slide in story.slides] == ["answer", "compared", "options"], "shapes choose no reader"
    table = story.slides[1].visual
    assert table.columns[2].title == "Largest inner dimension, one per word"
    assert table.rows[0][2].startswith("117 ["), "of words, as the verb compare tells, where of types it is 106"
    assert any("1.10 [1.01, 1.19], is more than chance" in text for _place, text in texts_of(answer))
    assert [one.text for one in numbers_of(story, "r") if one.source_table is None] == []


def test_two_readers_stand_with_their_sizes():
    read = two_readers()
    runs = read.runs.with_columns(parameters=pl.when(run_id="r-one").then(135_000_001).cast(pl.Int64))
    slides = build_story(deck_data(ReportedRuns(replace(read, runs=runs)), cases.DAY)).slides
    (compared,) = [slide for slide in slides if slide.key == "compared"]
    assert compared.title == "Largest inner dimension, one per word: one 117, two 96.8"
    assert [row[-1] for row in compared.visual.rows] == ["135", "–"]


def test_an_axis_does_not_reach_for_a_state_that_is_not_drawn():
    data = data_of("one_model", "en")
    far = pl.when(pl.col("state") == "post_norm").then(pl.col("value") * 100).otherwise(pl.col("value"))
    raised = data.estimates.with_columns(value=far, upper=far)
    tops = [profile_chart(of, data.text_runs).y.high for of in (data.estimates, raised)]
    assert tops[0] == tops[1]


def test_of_more_models_than_a_picture_has_rows_it_says_so():
    scores = {f"model-{chr(97 + n)}": (60.0 + n, 1.0) for n in range(12)}
    alone = choice_board.choice_board(of_rule("en", scores, (Criterion("score", weight=1.0),)))
    assert alone.answer.visual.key.startswith("Drawn: 9 of 12 models.") and alone.compared is None
    both = choice_board.choice_board(of_rule("en", scores))
    assert all("Drawn: 9 of 12 models." in one.visual.key for one in (both.answer, both.evidence))


def test_what_all_blocks_of_a_plan_save_or_cost_is_not_told_of_a_smaller_set():
    smaller = build_story(plan_data(layer_plan(budget=0.015), cases.DAY))
    assert smaller.slides[0].statements[0].text == "0.8 %" and smaller.slides[1].title.startswith("Without 3 blocks")
    assert not [text for slide in smaller.slides for _place, text in texts_of(slide) if "less time" in text]
    unsure = build_story(plan_data(layer_plan(budget=0.009), cases.DAY))
    assert unsure.slides[0].statements[0].text == "0.8 %", "the price that the title tells of"
