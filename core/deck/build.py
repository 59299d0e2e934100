"""The slide deck: the data of the chosen runs in, the bytes of an editable .pptx out.

Every file in `slides/` makes one kind of slide: `slides(data)` plans them and `POSITION` says where they stand.
Wherever a working dimension stands, the final dimension stands beside it.
"""

from __future__ import annotations

from datetime import datetime
from importlib import import_module
from io import BytesIO
from pkgutil import iter_modules
from typing import Any

from core.deck import slides
from core.deck.deck_data import DeckData
from core.deck.theme import PlannedSlide, add_slide, new_deck, speak


def planned(data: DeckData) -> list[PlannedSlide]:
    """The slides of these runs in their order, not yet drawn."""
    kinds: list[Any] = [import_module(f"{slides.__name__}.{kind.name}") for kind in iter_modules(slides.__path__)]
    return [slide for kind in sorted(kinds, key=lambda kind: kind.POSITION) for slide in kind.slides(data)]


def titles(data: DeckData) -> list[str]:
    """The titles of the slides that `deck` draws, in their order."""
    return [slide.title for slide in planned(data)]


def deck(data: DeckData) -> bytes:
    """The deck as a .pptx file."""
    made = new_deck()
    for slide in planned(data):
        add_slide(made, slide)
    properties = made.core_properties
    properties.title = made.slides[0].shapes.title.text_frame.text[:255]
    properties.author = "Workdim"
    properties.language = data.language
    properties.created = properties.modified = datetime.combine(data.made_on, datetime.min.time())
    for slide in made.slides:
        speak(slide._element, data.language)
        speak(slide.notes_slide._element, data.language)
        shape: Any
        for shape in slide.shapes:
            if shape.has_chart:
                speak(shape.chart._chartSpace, data.language)
    file = BytesIO()
    made.save(file)
    return file.getvalue()
