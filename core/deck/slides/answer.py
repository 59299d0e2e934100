"""The second slide of a pilot's deck: the answer to what it asked, word for word as the page and the terminal give it;
after it the picture that it stands on."""

from __future__ import annotations

import re
from collections.abc import Iterator

from pptx.slide import Slide

from core import wording
from core.analysis.answer import Answer
from core.deck.charts import SCATTER_PLOT, STATEMENT_SIZES, add_scatter
from core.deck.deck_data import CONTROL, DeckData
from core.deck.text_and_tables import add_text, fill_paragraphs, fitting_size
from core.deck.theme import (
    BODY_HEIGHT,
    BODY_TOP,
    CHART_BOX,
    MARGIN,
    READING_BOX,
    SPLIT,
    STATEMENT_BOX,
    TEXT_WIDTH,
    PlannedSlide,
)
from core.figures.scores import ranking_points
from core.locale import translator
from core.wording import answers
from core.wording.labels import shortened
from core.wording.numbers import day

POSITION = 15
SENTENCE_BOX = (MARGIN, BODY_TOP + 0.1, TEXT_WIDTH, 1.75)
SENTENCE_SIZES = (22, 20, 18, 16, 14)
NOTES_BOX = (MARGIN, BODY_TOP + 2.0, TEXT_WIDTH, BODY_HEIGHT - 2.1)
NOTES_SIZES = (17, 16, 15, 14, 13, 12, 11)
LONGEST_TITLE = 110


def slides(data: DeckData) -> Iterator[PlannedSlide]:
    """None where the deck is not of a pilot."""
    found = data.answer
    if found is None:
        return
    _ = translator(data.language)
    title = _written(answers.headline(found, data.language))

    def draw(slide: Slide) -> None:
        sentence = [_written(answers.sentence(found, data.language))]
        add_text(slide, SENTENCE_BOX, sentence, fitting_size(sentence, SENTENCE_BOX, SENTENCE_SIZES))
        told = [*data.caution, *map(_written, answers.notes(found, data.language))]
        add_text(slide, NOTES_BOX, told, fitting_size(told, NOTES_BOX, NOTES_SIZES))

    yield PlannedSlide(shortened(title, LONGEST_TITLE), _footer(data, found), draw, _sources(found))
    points = ranking_points(found, data.language, plot=SCATTER_PLOT, corners=False)
    if not points.points:
        return

    def picture(slide: Slide) -> None:
        chart_holder, text_holder = slide.placeholders[1], slide.placeholders[2]
        chart_holder._element.getparent().remove(chart_holder._element)
        add_scatter(slide, CHART_BOX, points, data.language)
        told = [*data.caution, *map(_written, answers.details(found, data.language))]
        fill_paragraphs(text_holder.text_frame, told, fitting_size(told, STATEMENT_BOX, STATEMENT_SIZES))
        reading = [wording.scatter_caution(data.language), wording.own_definition(data.language)]
        add_text(slide, READING_BOX, reading, 11, quiet=True)

    title = _("{n} models by dimension and {benchmark}").format(
        n=len(points.points), benchmark=_written(points.benchmark)
    )
    yield PlannedSlide(shortened(title, LONGEST_TITLE), _footer(data, found), picture, _sources(found), SPLIT)


def _written(text: str) -> str:
    """Without what no file of XML holds."""
    return re.sub(CONTROL, "", text)


def _footer(data: DeckData, found: Answer) -> str:
    """The answer may rest on more runs than the deck shows."""
    _ = translator(data.language)
    runs = _("{n} runs, each in the notes of this slide").format(n=len(found.models))
    return f"Workdim · {runs} · {day(data.made_on, data.language)}"


def _sources(found: Answer) -> list[str]:
    """Each number with its run: `base: dimension 43.1 [41.0, 45.3], score 1.53, run 0190...`."""
    lines = ["run_summaries, estimator d2; scores; layer_replicates"]
    for one in found.models:
        dimension = wording.with_interval(one.dimension, one.lower, one.upper)
        lines.append(_written(f"{one.name}: d2 {dimension}; {wording.number(one.score)}; {one.run_id}"))
    return lines
