"""The content of a deck before anything is drawn: at most five slides that lead to a decision, and an appendix on request.

`report.build_story` makes a Story; PowerPoint slides, the HTML file and the outlines on the report page draw it and add
nothing. All texts are in the story's language, without characters that XML forbids. Numbers in visuals are unrounded.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from typing import Literal

from core.figures.chart import Blocks, Chart, Gallery
from core.locale import _
from core.pilots.recipe import Recipe

Case = Literal[
    "related_as_registered",
    "related_other_way",
    "not_related",
    "cannot_tell",
    "hint",
    "incomplete",
    "no_pilot",
    "choice",
    "plan",
]
"""Which slides the data call for: by the answer of a pilot; a pilot that lacks models or scores, or holds vetoed runs; no
pilot; a choice by a rule; a layer plan."""

MOST_SLIDES = 5
"""Without the appendix."""
MOST_NAMED = 6
"""Rows of a table that its description names."""


# --- visuals ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Column:
    title: str
    share: float
    """Of the table's width; the shares of all columns sum to 1."""
    is_number: bool = False


@dataclass(frozen=True)
class Heading:
    """A row that spans the table and names what stands below it."""

    text: str


Row = Heading | tuple[str, ...]


@dataclass(frozen=True)
class Table:
    columns: tuple[Column, ...]
    rows: tuple[Row, ...]
    key: str = ""

    @property
    def alternative(self) -> str:
        """For screen readers, which then read its cells: what it is a table of."""
        names = [row[0] for row in self.rows if isinstance(row, tuple)]
        more = ["…"] if len(names) > MOST_NAMED else []
        return _("Table of {columns}: {names}.").format(
            columns=_(", ").join(column.title for column in self.columns), names=_(", ").join(names[:MOST_NAMED] + more)
        )


Visual = Chart | Table | Blocks | Gallery


# --- slides ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Statement:
    """One paragraph beside the visual."""

    text: str
    label: str = ""
    """Bold heading before it: `Conclusion`, `Evidence`, `Action`, ..."""
    is_main: bool = False
    """The slide's main sentence, larger than the others."""
    is_large: bool = False
    """The number that the slide is about, to be read from the last row."""


@dataclass(frozen=True)
class StorySlide:
    key: str
    """`answer`, `evidence`, ...; unique in a story, with a number where a slide continues (`checks-2`)."""
    title: str
    """A sentence of at most two lines, with its number."""
    statements: tuple[Statement, ...] = ()
    visual: Visual | None = None
    source: str = ""
    """Source line in the footer: tables and runs."""
    speech: tuple[str, ...] = ()
    """Speaker notes, in paragraphs: what the slide does not say."""
    sources: tuple[str, ...] = ()
    """Below them in the notes: each number with its run and table."""
    run_ids: tuple[str, ...] = ()
    """Runs whose numbers it shows."""


@dataclass(frozen=True)
class Story:
    case: Case
    language: str
    made_on: date
    title: str
    """Of the document."""
    slides: tuple[StorySlide, ...]
    appendix: tuple[StorySlide, ...] = ()

    def __iter__(self) -> Iterator[StorySlide]:
        yield from self.slides
        yield from self.appendix

    @property
    def run_ids(self) -> tuple[str, ...]:
        """Every run that any slide shows."""
        return tuple(dict.fromkeys(run_id for slide in self for run_id in slide.run_ids))


@dataclass(frozen=True)
class Origin:
    """What a deck was made from."""

    recipe: Recipe
    version: str
    """Of Workdim."""
    warehouse_id: str
