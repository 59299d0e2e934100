"""Seven slides that lead to a decision, by the case that the data are in; then the appendix.

A slide whose data are missing says what was not measured and what that takes. Nothing is claimed from what a check vetoed,
from what no control confirms, or from a control without power.
"""

from __future__ import annotations

from collections.abc import Callable

from core.deck import incomplete_board, no_pilot_board, pilot_board, plan_board, profile_slides
from core.deck.appendix import appendix
from core.deck.deck_data import DeckData
from core.deck.story import Case, Story, StorySlide


def storyboard(data: DeckData, per_run: bool = False) -> Story:
    """The story of the data: seven slides and an appendix, with slides of each run only where somebody asks for them."""
    slides = _SEVEN[data.case](data)
    return Story(
        data.case,
        data.language,
        data.made_on,
        slides[0].title,
        tuple(slides),
        tuple(appendix(data, per_run)),
        data.pilot.pilot_id if data.pilot else None,
        data.plan.plan.plan_id if data.plan else None,
    )


def _not_clear(data: DeckData) -> list[StorySlide]:
    """Cannot tell, or not related."""
    return [
        pilot_board.question(data),
        pilot_board.answer(data),
        pilot_board.relation(data),
        pilot_board.given_size(data),
        profile_slides.profiles(data),
        plan_board.saving(data),
        pilot_board.asked_stop_or_measure(data),
    ]


def _related(data: DeckData) -> list[StorySlide]:
    return [
        pilot_board.question(data),
        pilot_board.answer(data),
        pilot_board.relation(data),
        pilot_board.given_size(data),
        pilot_board.robustness(data),
        pilot_board.allowed(data),
        pilot_board.asked_adopt(data),
    ]


def _incomplete(data: DeckData) -> list[StorySlide]:
    return [
        pilot_board.question(data),
        pilot_board.answer(data),
        incomplete_board.what_is_missing(data),
        pilot_board.relation(data) if pilot_board.has_points(data) else profile_slides.profiles(data),
        incomplete_board.checks(data),
        incomplete_board.to_complete(data),
        incomplete_board.asked_complete(data),
    ]


def _no_pilot(data: DeckData) -> list[StorySlide]:
    return [
        no_pilot_board.measured(data),
        no_pilot_board.what_was_found(data),
        profile_slides.profiles(data),
        no_pilot_board.stands_out(data),
        no_pilot_board.what_controls_show(data),
        no_pilot_board.next_step(data),
        no_pilot_board.three_limits(data),
    ]


_SEVEN: dict[Case, Callable[[DeckData], list[StorySlide]]] = {
    "related_as_registered": _related,
    "related_other_way": _related,
    "not_related": _not_clear,
    "cannot_tell": _not_clear,
    "incomplete": _incomplete,
    "one_model": _no_pilot,
    "two_models": _no_pilot,
    "many_models": _no_pilot,
    "plan": plan_board.seven,
}
