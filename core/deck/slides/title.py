"""The first slide: which models, on what text, when; what was left out."""

from __future__ import annotations

from collections.abc import Iterator

from pptx.slide import Slide

from core import wording
from core.deck.deck_data import DeckData
from core.deck.theme import TITLE, PlannedSlide
from core.locale import translator
from core.wording.labels import shortened
from core.wording.numbers import day

POSITION = 10
MOST_NAMES = 8
"""Model names on the slide; the others are counted."""


def slides(data: DeckData) -> Iterator[PlannedSlide]:
    _ = translator(data.language)
    names = [shortened(name, 34) for name in data.texts["name"].unique(maintain_order=True)]
    title = (
        _("{names}: estimated dimension (d2, N={size}), layer by layer")
        if len(names) <= 2
        else _("{count} language models: estimated dimension (d2, N={size}), layer by layer")
    ).format(names=_(" and ").join(names), count=len(names), size=wording.size_range(data.n_points))

    def draw(slide: Slide) -> None:
        slide.placeholders[1].text_frame.text = "\n".join(_lines(data, names))

    notes = [_("Runs {ids}").format(ids=_(", ").join(data.runs["run_id"]))]
    yield PlannedSlide(title, data.footer, draw, notes, TITLE)


def _lines(data: DeckData, names: list[str]) -> list[str]:
    _ = translator(data.language)
    texts = data.texts.unique("corpus_id", maintain_order=True).iter_rows(named=True)
    text_names = [
        wording.text_name(run["corpus_name"], run["corpus_language"], run["corpus_domain"], data.language)
        for run in texts
    ]
    more = [_("{count} more").format(count=len(names) - MOST_NAMES)] * (len(names) > MOST_NAMES)
    lines = [
        _("Models: {names}").format(names=_(", ").join(names[:MOST_NAMES] + more)),
        _("Text: {texts}").format(texts=_(", ").join(text_names)),
        _("Workdim · {date}").format(date=day(data.made_on, data.language)),
    ]
    if data.pilot:
        lines.insert(0, _("Pilot: {name}").format(name=data.pilot.pilot.name))
    if data.left_out:
        left_out = _("Left out, having no verdicts: {names}").format(names=_(", ").join(data.left_out[:MOST_NAMES]))
        lines.insert(-2, left_out)
    return lines
