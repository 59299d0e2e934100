"""Every number of a report is found where it came from, and a deck carries the list with it."""

from __future__ import annotations

import io
import json
import zipfile
from dataclasses import replace
from datetime import date

import polars as pl
import pytest
from pptx import Presentation
from pptx.util import Inches

from core import wording
from core.deck import embedded_sources, number_sources
from core.deck.deck_data import deck_data, plan_data
from core.deck.story import Column as StoryColumn
from core.deck.story import Heading, Statement, Story, StorySlide, Table
from core.errors import InputError
from core.figures.chart import Axis, Chart, Point, Series
from core.pilots.recipe import Recipe
from tests import frames
from tests.frames import Model, score
from tests.plans.made import layer_plan

BIG = Model("Big-7B", n_layers=10, peak=106.2, repository="o/big")
SMALL = Model("Small-1.5B", n_layers=8, peak=61.4, embedding=31.0, final=12.6)
RUNS = (BIG.id, SMALL.id)
ABOUT = embedded_sources.DeckOrigin(Recipe("Board", RUNS, language="en"), "0.1.0", "0a1b2c3d4e5f")


@pytest.fixture(scope="module")
def data():
    return deck_data(frames.of_runs(BIG, SMALL, scored=[score("o/big", 43.9)]), made_on=date(2026, 11, 26))


@pytest.fixture(scope="module")
def known(data):
    axis, values = Axis("", 0, 1, 1), data.estimates["value"].to_list()
    every = Chart(axis, axis, (Series("", tuple(Point(0, value) for value in values)),), "")
    return number_sources.collect_sources(data, story_of(StorySlide("all", "", visual=every)))


def story_of(*slides: StorySlide) -> Story:
    return Story("two_models", "en", date(2026, 11, 26), "Two models", slides)


def told(text: str, known, *runs: str) -> list[tuple[str, str | None, str | None, str | None]]:
    story = story_of(StorySlide("answer", text, run_ids=runs or RUNS))
    return [
        (one.text, one.source_table, one.source_column, one.run_id)
        for one in number_sources.trace_numbers(story, known, "r")
    ]


def test_a_number_is_of_the_model_that_was_named_last(data, known):
    rows = {row["name"]: row for row in data.runs.iter_rows(named=True)}
    big = wording.interval_of(rows["Big-7B"], "inner_max")
    layer = rows["Big-7B"]["inner_max_layer"]
    small = wording.number(rows["Small-1.5B"]["inner_max"])
    found = told(f"Big-7B: at most {big} at layer {layer}; Small-1.5B: {small}, on 2026-11-26 (95 % intervals)", known)
    summary = "run_summaries"
    assert found == [
        (wording.number(rows["Big-7B"]["inner_max"]), summary, "inner_max", BIG.id),
        (wording.number(rows["Big-7B"]["inner_max_lower"]), summary, "inner_max_lower", BIG.id),
        (wording.number(rows["Big-7B"]["inner_max_upper"]), summary, "inner_max_upper", BIG.id),
        (str(layer), summary, "inner_max_layer", BIG.id),
        (small, summary, "inner_max", SMALL.id),
    ]


def test_of_rows_with_one_value_it_is_of_the_row_that_holds_the_others_too():
    """Four tests of a plan begin at one loss; two layers of a run have one dimension."""
    plan = plan_data(layer_plan(), date(2026, 11, 26))
    rows = [row for row in plan.plan.outcomes if row.difference is not None]
    own, other = (
        replace(rows[0], text=text, value_before=3.5, value_after=after)
        for text, after in (("typos", 3.61), ("japanese", 3.72))
    )
    data = replace(plan, plan=replace(plan.plan, outcomes=[other, own]))
    columns = (StoryColumn("Test", 0.4), StoryColumn("Whole", 0.3, True), StoryColumn("Without", 0.3, True))
    slide = StorySlide(
        "breaks", "", visual=Table(columns, (("typing errors", "3.50", "3.61"),), ""), sources=("plan_outcomes",)
    )
    story = replace(story_of(slide), plan_id="p")
    found = number_sources.trace_numbers(story, number_sources.collect_sources(data, story), "r")
    assert [json.loads(one.source_key or "")["text"] for one in found] == ["typos", "typos"]


def test_japanese_scores_and_what_nobody_stored(known):
    found = told("Big-7Bの得点は43.9％、30層中の第3層、差は77.7", known)
    assert found[0][:3] == ("43.9", "scores", "value")
    assert [one[0] for one in found] == ["43.9", "30", "3", "77.7"]
    assert found[2][1:] == found[3][1:] == (None, None, None), "several columns hold a layer 3; nobody stored 77.7"


def test_a_share_shown_in_percent_is_compared_with_what_is_stored():
    share = score("o/big", 0.439, unit="fraction", std_error=0.019)
    of_share = deck_data(frames.of_runs(BIG, scored=[share]), made_on=date(2026, 11, 26))
    story = story_of(StorySlide("answer", "Big-7B: 43.9 ± 1.9", run_ids=(BIG.id,)))
    found = number_sources.trace_numbers(story, number_sources.collect_sources(of_share, story), "r")
    assert [(one.text, one.source_column) for one in found] == [("43.9", "value"), ("1.9", "std_error")]
    assert [one.value for one in found] == pytest.approx([0.439, 0.019])


@pytest.mark.parametrize(
    "text",
    (
        "Big-7B: a power of 44 %",  # a score of 43.9
        "Big-7B: 61.4",  # the other model's dimension
        "The largest is 106",  # of which model?
        "Small-1.5B: 31 of 44 tests",  # few digits
        "Big-7B: 106 %",  # a dimension is no share
    ),
)
def test_no_source_is_kept_of_what_cannot_be_told_for_sure(known, text):
    assert {table for _digits, table, *_rest in told(text, known)} == {None}


def test_a_day_is_no_number_of_a_report(known):
    assert told("Big-7B was measured on 26 November 2026, of 800–2,000 points", known) == [("800", None, None, None)]


def test_a_number_that_two_columns_hold_has_no_source(data):
    same = data.runs.with_columns(final_dimension_pre_norm=pl.lit(106.21), inner_max=pl.lit(106.2))
    story = story_of(StorySlide("answer", "Big-7B: 106", run_ids=RUNS))
    sources = number_sources.collect_sources(replace(data, runs=same), story)
    assert [one.source_table for one in number_sources.trace_numbers(story, sources, "r")] == [None]


def test_points_and_cells_are_found_by_their_full_value(data, known):
    values = data.estimates.filter(run_id=SMALL.id, estimator="d2", state="residual").sort("layer")["value"].to_list()
    points = tuple(Point(layer, value) for layer, value in enumerate(values))
    axis = Axis("", 0, 1, 1)
    chart = Chart(axis, axis, (Series("Small", points),), "")
    table = Table((StoryColumn("", 0.5),) * 2, (Heading("1 group of 2"), ("Small-1.5B", "61.4")), "")
    story = story_of(StorySlide("a", "", visual=chart, run_ids=RUNS), StorySlide("b", "", visual=table, run_ids=RUNS))
    found = number_sources.trace_numbers(story, known, "r")
    assert [json.loads(one.source_key or "")["layer"] for one in found[:-1]] == list(range(len(values)))
    assert {(one.source_table, one.run_id, one.place) for one in found[:-1]} == {("layer_estimates", SMALL.id, "chart")}
    assert (found[-1].place, found[-1].source_column, found[-1].run_id) == ("table", "inner_max", SMALL.id)


# --- embedded -------------------------------------------------------------------------------------------------


def carrying(known, change=lambda deck: None) -> bytes:
    """A deck of two slides that carries its list, changed by somebody afterwards."""
    slides = (
        StorySlide(
            "answer", "Big-7B: 106 at layer 3", (Statement("Small-1.5B: 61.4."),), run_ids=RUNS, source="run …0001"
        ),
        StorySlide("next", "Nothing more", run_ids=RUNS),
    )
    story, deck = story_of(*slides), Presentation()
    for slide in slides:
        drawn = deck.slides.add_slide(deck.slide_layouts[5])
        drawn.shapes.title.text_frame.text = slide.title
        for text in (*(one.text for one in slide.statements), slide.source):
            drawn.shapes.add_textbox(0, 0, Inches(1), Inches(1)).text_frame.text = text
    embedded_sources.embed_sources(
        deck, story, number_sources.trace_numbers(story, known, ABOUT.recipe.recipe_id), ABOUT, ["Big-7B", "Small-1.5B"]
    )
    change(deck)
    made = io.BytesIO()
    deck.save(made)
    return made.getvalue()


def test_a_deck_says_what_made_it_and_keeps_its_list(known):
    found = embedded_sources.read_sources(carrying(known), "deck.pptx")
    assert found.origin == ABOUT and not found.edited and not found.added
    assert [(one.text, one.source_column) for one in found.numbers] == [
        ("106", "inner_max"),
        ("3", "inner_max_layer"),
        ("61.4", "inner_max"),
    ]


def test_what_was_changed_by_hand_is_seen_wherever_its_slide_was_moved(known):
    def change(deck) -> None:
        order = deck.part._element.sldIdLst
        order.append(order[0])
        deck.slides[1].shapes.title.text_frame.text = "Big-7B: 109 at layer 3"

    found = embedded_sources.read_sources(carrying(known, change), "deck.pptx")
    assert [one.text for one in found.edited] == ["106"] and found.added == ((2, "109"),)


def test_a_file_of_somebody_else_is_one_line(known):
    plain = io.BytesIO()
    Presentation().save(plain)
    mine = carrying(known)
    wrong = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(mine)) as packed, zipfile.ZipFile(wrong, "w") as out:
        for name in packed.namelist():
            hostile = b'<!DOCTYPE x [<!ENTITY a SYSTEM "file:///etc/passwd">]><report xmlns="urn:workdim:report:1">&a;'
            out.writestr(name, hostile if name.startswith("customXml") else packed.read(name))
    for content in (b"", b"hello", plain.getvalue(), wrong.getvalue(), mine[: len(mine) // 2]):
        with pytest.raises(InputError) as error:
            embedded_sources.read_sources(content, "x.pptx")
        assert "\n" not in str(error.value) and "x.pptx" in str(error.value)
