"""The content of a deck before anything is drawn: seven core slides that lead to a decision, and an appendix.

`report.build_story` makes a Story; PowerPoint slides, the HTML file and the outlines on the report page draw it and add
nothing. All texts are in the story's language, without characters that XML forbids. Numbers in visuals are unrounded.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import date
from typing import Literal

Case = Literal[
    "related_as_registered",
    "related_other_way",
    "not_related",
    "cannot_tell",
    "hint",
    "incomplete",
    "one_model",
    "two_models",
    "many_models",
    "plan",
]
"""Which slides the data call for: by the answer of a pilot; a pilot that lacks models or scores, or holds vetoed runs; no
pilot; a layer plan."""

CORE_SLIDES = 7
Mark = Literal["none", "circle", "open", "diamond", "triangle"]


# --- visuals ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Axis:
    title: str
    """With its unit."""
    low: float
    high: float
    """`low` and `high` are round numbers."""
    step: float
    decimals: int = 0
    """Of the tick labels."""
    is_ordered: bool = False
    """A list of places 1, 2, ... from the top, each labelled by its point; without tick labels."""


@dataclass(frozen=True)
class Point:
    """One number, or pair of numbers; intervals are 95 percent, None where no error is known."""

    x: float
    y: float
    lower: float | None = None
    upper: float | None = None
    """Of y."""
    left: float | None = None
    right: float | None = None
    """Of x."""
    name: str = ""
    """Label beside the point, if any."""
    place: Literal["above", "below", "left", "right"] = "above"
    """Position of the label."""


@dataclass(frozen=True)
class Series:
    """Points of one colour; `name` is written at the end of a line, and in the workbook behind the chart."""

    name: str
    points: tuple[Point, ...]
    colour: int | None = 0
    """Index into `figures.style.COLOURS`; None is grey, for series to compare with."""
    is_line: bool = True
    """Points are joined by a line; otherwise marks."""
    mark: Mark = "none"
    is_banded: bool = False
    """Intervals are drawn as a filled band, or as error bars where there are marks."""
    is_named: bool = True
    """The name is written beside the last point."""


@dataclass(frozen=True)
class Guide:
    """A thin straight line across a chart, with its name at the end."""

    name: str
    at: float
    is_vertical: bool = True


@dataclass(frozen=True)
class Chart:
    """Lines or marks over two linear axes; without a legend: names stand beside what they name."""

    x: Axis
    y: Axis
    series: tuple[Series, ...]
    alternative: str
    """Text for screen readers: what is seen, with its values; at most some 300 characters."""
    guides: tuple[Guide, ...] = ()
    key: str = ""
    """One line below the chart: what marks and bands mean."""


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
    alternative: str
    key: str = ""


@dataclass(frozen=True)
class Block:
    number: int
    """From 0, in the order of the model."""
    is_removed: bool
    price: float | None = None
    """Rise of the loss without this block alone, nats per token; None where it was not priced."""


@dataclass(frozen=True)
class Blocks:
    """The blocks of one model in a row: which stay and which go."""

    blocks: tuple[Block, ...]
    kept_name: str
    removed_name: str
    alternative: str
    key: str = ""


@dataclass(frozen=True)
class Gallery:
    """Small charts on one scale, row by row, each under the title of its y axis."""

    charts: tuple[Chart, ...]
    alternative: str
    key: str = ""


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


@dataclass(frozen=True)
class StorySlide:
    key: str
    """`question`, `answer`, `relation`, ...; unique in a story, with a number where a slide continues (`checks-2`)."""
    title: str
    """A sentence of at most two lines, with its number."""
    statements: tuple[Statement, ...] = ()
    visual: Visual | None = None
    source: str = ""
    """Source line in the footer: tables and runs."""
    use_class: str = ""
    """What the pilot is for and what that allows."""
    speech: tuple[str, ...] = ()
    """Speaker notes, in paragraphs: 60 to 90 seconds."""
    sources: tuple[str, ...] = ()
    """Below them in the notes: each number with its run and table."""
    run_ids: tuple[str, ...] = ()
    """Runs whose numbers it shows."""
    is_placeholder: bool = False
    """The data of this slide are missing: it says which, and what measuring them takes."""


@dataclass(frozen=True)
class Story:
    case: Case
    language: str
    made_on: date
    title: str
    """Of the document."""
    slides: tuple[StorySlide, ...]
    """The seven core slides."""
    appendix: tuple[StorySlide, ...] = ()
    pilot_id: str | None = None
    plan_id: str | None = None

    def __iter__(self) -> Iterator[StorySlide]:
        yield from self.slides
        yield from self.appendix

    @property
    def run_ids(self) -> tuple[str, ...]:
        """Every run that any slide shows."""
        return tuple(dict.fromkeys(run_id for slide in self for run_id in slide.run_ids))

    def without_sections(self, *keys: str) -> Story:
        """Without these sections of the appendix; the core slides stay."""
        appendix = tuple(slide for slide in self.appendix if slide.key.split("-")[0] not in keys)
        return replace(self, appendix=appendix)
