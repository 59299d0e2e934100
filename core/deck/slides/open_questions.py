"""The last slide: questions that a reader will ask, and why these runs do not answer them."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from core.deck.deck_data import DeckData
from core.deck.text_and_tables import Column, Row, add_table, numbered_titles, pages, row_height
from core.deck.theme import BODY_HEIGHT, TEXT_WIDTH, PlannedSlide
from core.locale import translator
from core.wording.limits import limits

POSITION = 70
SIZES = (14, 13, 12, 11)
"""Letter sizes: the largest that keeps the questions on one page, but never a smaller one."""


def slides(data: DeckData) -> Iterator[PlannedSlide]:
    _ = translator(data.language)
    columns = [Column(_("Question"), 3.7), Column(_("Why it stays open"), TEXT_WIDTH - 3.7)]
    pilot = data.pilot.pilot if data.pilot else None
    found = limits(
        data.runs, data.checks, data.against_controls, data.scored, data.words, data.language, pilot, data.answer
    )
    rows: list[Row] = [(limit.question, limit.reason) for limit in found]
    first = rows[:1] if pilot and pilot.is_cautious else []
    fitting = (size for size in SIZES if len(_pages(first, rows, columns, size)) == 1)
    filled = _pages(first, rows, columns, points := next(fitting, SIZES[-1]))
    alternative = _("Table of open questions and the reasons why these runs do not answer them.")
    notes = [_("Read off the chosen runs: {ids}").format(ids=_(", ").join(data.runs["run_id"]))]
    titles = numbered_titles(_("What this deck cannot decide"), len(filled))
    for title, page in zip(titles, filled, strict=True):
        draw = partial(add_table, columns=columns, rows=page, points=points, alternative=alternative)
        yield PlannedSlide(title, data.footer, draw, notes)


def _pages(first: list[Row], rows: list[Row], columns: list[Column], points: float) -> list[list[Row]]:
    """Pages that each open with the `first` rows: what a use class forbids stands on every one of them."""
    room = BODY_HEIGHT - sum(row_height(row, columns, points) for row in first)
    return [[*first, *page] for page in pages(rows[len(first) :], columns, points, room)]
