"""What a deck says, before anything is drawn: seven slides that lead to a decision, and an appendix.

`core.deck.storyboards.storyboard` writes a Story; PowerPoint slides, the HTML file and the outlines on the report page draw
it and add nothing. All words are in the story's language and hold no character that XML does not; all numbers that a
picture shows stand here as they were measured.
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
    "incomplete",
    "one_model",
    "two_models",
    "many_models",
    "plan",
]
"""What the data are: the answer of a pilot; a pilot that lacks models or scores, or holds vetoed runs; no pilot; a layer
plan."""

CORE_SLIDES = 7
Mark = Literal["none", "circle", "open", "diamond", "triangle"]


# --- pictures --------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Axis:
    title: str
    """With its unit."""
    low: float
    high: float
    """Both axes of a chart begin and end at round numbers."""
    step: float
    decimals: int = 0
    """Of the numbers along it."""
    is_ordered: bool = False
    """Places 1, 2, ... from the top, of which each is named by the point that stands there; no numbers along it."""


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
    """Written beside the point, if anything is."""
    place: Literal["above", "below", "left", "right"] = "above"
    """Where its name stands."""


@dataclass(frozen=True)
class Series:
    """Points of one colour; `name` is written at the end of a line, and in the workbook behind the chart."""

    name: str
    points: tuple[Point, ...]
    colour: int | None = 0
    """Place in `figures.style.COLOURS`; None is a quiet grey, for what is there to compare with."""
    is_line: bool = True
    """Joined by a line; otherwise marks."""
    mark: Mark = "none"
    is_banded: bool = False
    """Intervals are drawn as a filled band, or as bars beside marks."""
    is_named: bool = True
    """Its name stands beside its last point."""


@dataclass(frozen=True)
class Guide:
    """A thin straight line across a chart, with its name at the end."""

    name: str
    at: float
    is_vertical: bool = True


@dataclass(frozen=True)
class Chart:
    """Lines or marks over two linear axes; never a legend: names stand beside what they name."""

    x: Axis
    y: Axis
    series: tuple[Series, ...]
    alternative: str
    """What is seen, with its values, for those who hear it; at most some 300 characters."""
    guides: tuple[Guide, ...] = ()
    key: str = ""
    """One line below: what marks and bands mean."""


@dataclass(frozen=True)
class Column:
    title: str
    share: float
    """Of the table's width; all of them together are 1."""
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
    """Small charts on one scale, each under the title of its upright axis; read by rows."""

    charts: tuple[Chart, ...]
    alternative: str
    key: str = ""


Evidence = Chart | Table | Blocks | Gallery


# --- slides ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Statement:
    """One paragraph beside the evidence."""

    text: str
    label: str = ""
    """`Conclusion`, `Evidence`, `Action`, or what else stands before it in bold."""
    is_main: bool = False
    """The sentence that the slide is for: larger than the others."""


@dataclass(frozen=True)
class StorySlide:
    key: str
    """What it is: `question`, `answer`, `relation`, ... Of one story each key occurs once, with a number behind it where
    a slide goes on (`checks-2`)."""
    title: str
    """A sentence of at most two lines, with its number."""
    statements: tuple[Statement, ...] = ()
    evidence: Evidence | None = None
    source: str = ""
    """One line at the foot: tables and runs."""
    use_class: str = ""
    """What the pilot is for and what that allows."""
    speech: tuple[str, ...] = ()
    """What a presenter says, in paragraphs: 60 to 90 seconds."""
    sources: tuple[str, ...] = ()
    """Below it in the notes: each number with its run and table."""
    run_ids: tuple[str, ...] = ()
    """Runs whose numbers it shows."""
    is_not_measured: bool = False
    """It stands in place of one whose data are missing, and says what that takes."""


@dataclass(frozen=True)
class Story:
    case: Case
    language: str
    made_on: date
    title: str
    """Of the document."""
    slides: tuple[StorySlide, ...]
    """Seven."""
    appendix: tuple[StorySlide, ...] = ()
    pilot_id: str | None = None
    plan_id: str | None = None

    def __iter__(self) -> Iterator[StorySlide]:
        yield from self.slides
        yield from self.appendix

    @property
    def run_ids(self) -> tuple[str, ...]:
        """Every run that some slide shows."""
        return tuple(dict.fromkeys(run_id for slide in self for run_id in slide.run_ids))

    def without(self, *keys: str) -> Story:
        """Less the slides of the appendix that a recipe leaves out; the seven stay."""
        kept = tuple(slide for slide in self.appendix if slide.key.split("-")[0] not in keys)
        return replace(self, appendix=kept)
