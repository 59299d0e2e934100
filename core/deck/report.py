"""A report as a whole: a recipe and what was read for it in; the story, its numbers with their sources, and files out."""

from __future__ import annotations

from dataclasses import dataclass

from core.deck import carried, html, numbers
from core.deck.build import deck
from core.deck.carried import About
from core.deck.deck_data import DeckData
from core.deck.story import Story
from core.deck.storyboards import storyboard
from core.deck.template import Template
from core.pilots.recipe import Recipe
from core.tables import RecipeNumberRow


@dataclass(frozen=True)
class Report:
    """What a recipe makes of the data, not yet drawn."""

    recipe: Recipe
    story: Story
    numbers: tuple[RecipeNumberRow, ...]
    names: tuple[str, ...]
    """What digits in a text are no numbers of: names of models and texts."""

    def powerpoint(self, version: str, warehouse_id: str, template: Template | None = None) -> bytes:
        """The deck, which carries its recipe and its numbers with their sources."""
        about = About(self.recipe, version, warehouse_id)
        return deck(
            self.story, template, lambda made: carried.attach(made, self.story, self.numbers, about, self.names)
        )

    def page(self, version: str, warehouse_id: str, bundle: str = "") -> bytes:
        """The same as one HTML file."""
        return html.page(self.story, html.Origin(version, self.recipe.recipe_id, warehouse_id, bundle))


def report(data: DeckData, recipe: Recipe) -> Report:
    """The report of a recipe on data that were read of its runs."""
    story = storyboard(data, per_run=recipe.audience == "analysts").without(*recipe.left_out)
    known = numbers.sources(data, story)
    names = [name for called in known.names.values() for name in called]
    found = numbers.numbers(story, known, recipe.recipe_id)
    return Report(recipe, story, tuple(found), tuple(dict.fromkeys(names)))


def sections(story: Story) -> list[str]:
    """What a recipe may leave out: the sections of the appendix, in their order."""
    return list(dict.fromkeys(slide.key.split("-")[0] for slide in story.appendix))
