"""A report: from a recipe and the data read for it to a story, its numbers with their sources, and files.

The story has at most five slides, described by the `Board` of the case that the data are in, and on request an appendix.
Nothing is claimed from what a check vetoed, from what no control confirms, or from a control without power.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import date

from core.deck import html
from core.deck.appendix import appendix
from core.deck.board import five_slides
from core.deck.choice_board import choice_board
from core.deck.deck_data import DeckData, deck_data, plan_data
from core.deck.embedded_sources import embed_sources
from core.deck.pilot_board import pilot_board
from core.deck.plan_board import plan_board
from core.deck.powerpoint import draw_deck
from core.deck.profile_board import profile_board
from core.deck.story import Origin, Story, StorySlide, numbers_of
from core.deck.template import Template
from core.locale import speaking
from core.pilots.saved import Recipe
from core.questions.choice import ReportedRuns
from core.records import LayerPlan
from core.tables import RecipeNumberRow


@dataclass(frozen=True)
class Report:
    """The content of a report, not yet drawn."""

    recipe: Recipe
    story: Story
    numbers: tuple[RecipeNumberRow, ...]

    def powerpoint(self, version: str, warehouse_id: str, template: Template | None = None) -> bytes:
        """The deck as .pptx, with its recipe, its numbers and their sources embedded."""
        origin = Origin(self.recipe, version, warehouse_id)
        return draw_deck(self.story, template, lambda deck: embed_sources(deck, self.story, self.numbers, origin))

    def page(self, version: str, warehouse_id: str, bundle: str = "") -> bytes:
        """The same story as one HTML file; `bundle` is the name of the file with the rows behind it."""
        return html.render_html(self.story, Origin(self.recipe, version, warehouse_id), bundle)


def report_of(found: LayerPlan | ReportedRuns, recipe: Recipe, made_on: date | None = None) -> Report:
    """The report of a recipe; `found` is what was read for it."""
    with speaking(recipe.language):
        data = plan_data(found, made_on) if isinstance(found, LayerPlan) else deck_data(found, made_on)
    who, when = recipe.decided_by or data.decided_by, recipe.day or data.decide_by
    return build_report(replace(data, decided_by=who, decide_by=when), recipe)


def build_report(data: DeckData, recipe: Recipe) -> Report:
    story = build_story(data, recipe.appendix)
    return Report(recipe, story, tuple(numbers_of(story, recipe.recipe_id)))


def build_story(data: DeckData, with_appendix: bool = False) -> Story:
    with speaking(data.language):
        slides = tuple(_slides(data))
        more = tuple(appendix(data, slides)) if with_appendix else ()
        return Story(data.case, data.language, data.made_on, slides[0].title, slides, more)


def _slides(data: DeckData) -> Iterable[StorySlide]:
    if data.plan is not None:
        return five_slides(data, plan_board(data), None)
    if data.choice is not None:
        return five_slides(data, choice_board(data), data.text_runs)
    if data.answer is not None:
        return five_slides(data, pilot_board(data), data.answer.population.rows)
    return five_slides(data, profile_board(data), data.text_runs)
