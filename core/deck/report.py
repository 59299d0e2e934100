"""A report: from a recipe and the data read for it to a story, its numbers with their sources, and files.

The story has seven core slides, chosen by the case that the data are in, and an appendix. A slide whose data are missing says
what was not measured and what that takes. Nothing is claimed from what a check vetoed, from what no control confirms, or from a
control without power.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from core.deck import html, incomplete_pilot_slides, no_pilot_slides, pilot_slides, plan_slides, profile_slides
from core.deck.appendix import appendix
from core.deck.deck_data import DeckData
from core.deck.embedded_sources import embed_sources
from core.deck.numbers import numbers_of
from core.deck.powerpoint import draw_deck
from core.deck.story import Case, Origin, Story, StorySlide
from core.deck.template import Template
from core.locale import speaking
from core.pilots.recipe import Recipe
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


def build_report(data: DeckData, recipe: Recipe) -> Report:
    """`data` are those of the recipe's runs or layer plan."""
    story = build_story(data, per_run=recipe.audience == "analysts").without_sections(*recipe.left_out)
    return Report(recipe, story, tuple(numbers_of(story, recipe.recipe_id)))


def appendix_sections(story: Story) -> list[str]:
    """The sections of the appendix in their order, which a recipe may leave out."""
    return list(dict.fromkeys(slide.key.split("-")[0] for slide in story.appendix))


def build_story(data: DeckData, per_run: bool = False) -> Story:
    """Seven slides and an appendix; with `per_run` the appendix also has a slide for each run."""
    with speaking(data.language):
        slides = [make(data) for make in _CORE_SLIDES[data.case]]
        return Story(
            data.case, data.language, data.made_on, slides[0].title, tuple(slides), tuple(appendix(data, per_run))
        )


def _relation_or_profiles(data: DeckData) -> StorySlide:
    relation = pilot_slides.relation_slide(data)
    return profile_slides.profiles_slide(data) if relation.is_placeholder else relation


_Makers = tuple[Callable[[DeckData], StorySlide], ...]
_PILOT: _Makers = (pilot_slides.question_slide, pilot_slides.answer_slide)
_NOT_CLEAR: _Makers = (
    *_PILOT,
    pilot_slides.relation_slide,
    pilot_slides.size_slide,
    profile_slides.profiles_slide,
    plan_slides.saving_slide,
    pilot_slides.stop_or_measure_slide,
)
_RELATED: _Makers = (
    *_PILOT,
    pilot_slides.relation_slide,
    pilot_slides.size_slide,
    pilot_slides.robustness_slide,
    pilot_slides.allowed_use_slide,
    pilot_slides.adopt_slide,
)
_CORE_SLIDES: dict[Case, _Makers] = {
    "related_as_registered": _RELATED,
    "related_other_way": _RELATED,
    "not_related": _NOT_CLEAR,
    "cannot_tell": _NOT_CLEAR,
    "hint": _NOT_CLEAR,
    "incomplete": (
        *_PILOT,
        incomplete_pilot_slides.missing_slide,
        _relation_or_profiles,
        incomplete_pilot_slides.quality_slide,
        incomplete_pilot_slides.completion_slide,
        incomplete_pilot_slides.complete_or_stop_slide,
    ),
    "no_pilot": (
        no_pilot_slides.measured_slide,
        no_pilot_slides.findings_slide,
        profile_slides.profiles_slide,
        no_pilot_slides.outstanding_slide,
        no_pilot_slides.controls_slide,
        no_pilot_slides.next_step_slide,
        no_pilot_slides.limits_slide,
    ),
    "plan": (
        plan_slides.question_slide,
        plan_slides.answer_slide,
        plan_slides.blocks_slide,
        plan_slides.prices_slide,
        plan_slides.breaks_slide,
        plan_slides.directions_slide,
        plan_slides.decision_slide,
    ),
}
