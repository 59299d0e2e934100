"""The content of a deck before anything is drawn: at most five slides that lead to a decision, and an appendix on request.

`report.build_story` makes a Story; PowerPoint slides, the HTML file and the outlines on the report page draw it and add
nothing. All texts are in the story's language, without characters that XML forbids. Numbers in visuals are unrounded.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from typing import Any

from core.figures.chart import Blocks, Chart, Gallery
from core.figures.text import is_wide
from core.locale import DIRECTION_CONTROLS, _
from core.pilots.saved import Recipe
from core.sources import Source, Text, changed
from core.tables import RecipeNumberRow

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
        columns = [column.title for column in self.columns]
        return _("Table of {columns}: {names}.", columns=columns, names=names[:MOST_NAMED] + more)


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


def is_query(text: str) -> bool:
    """Whether it will be pasted: nothing may be put into it."""
    return text.startswith("SELECT ")


@dataclass(frozen=True)
class StorySlide:
    key: str
    """`answer`, `evidence`, ...; unique in a story, with a number where a slide continues (`checks-2`)."""
    title: str
    """A sentence of at most two lines, with its number."""
    statements: tuple[Statement, ...] = ()
    visual: Visual | None = None
    speech: tuple[str, ...] = ()
    """Speaker notes, in paragraphs: what the slide does not say."""
    sources: tuple[str, ...] = ()
    """Below them in the notes: each number with its run and table."""
    run_ids: tuple[str, ...] = ()
    """Runs whose numbers it shows."""


@dataclass(frozen=True)
class Story:
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


# --- numbers -----------------------------------------------------------------------------------------------------


def numbers_of(story: Story, recipe_id: str) -> list[RecipeNumberRow]:
    """Every number of the story's slides, in reading order."""
    rows: list[RecipeNumberRow] = []
    for number, slide in enumerate(story, start=1):
        found: list[tuple[str, str, float, Source | None]] = [
            (place, text[one.start : one.end], one.value, one.source)
            for place, text in texts_of(slide)
            for one in getattr(text, "stretches", ())
        ]
        found += [("chart", written_point(one), one, getattr(one, "source", None)) for one in points_of(slide)]
        for place, text, value, source in found:
            key = dict(source.key) if source else {}
            rows.append(
                RecipeNumberRow(
                    recipe_id=recipe_id,
                    number=len(rows) + 1,
                    slide=number,
                    slide_key=slide.key,
                    place=place,
                    text=text,
                    value=float(value),
                    source_table=source.table if source else None,
                    source_column=source.column if source else None,
                    run_id=key.get("run_id"),
                    source_key=json.dumps(key, sort_keys=True, default=str) if key else None,
                )
            )
    return rows


def texts_of(slide: StorySlide) -> Iterator[tuple[str, str]]:
    """Place and text of each paragraph of a slide, as it stands on the slide from top to bottom."""
    yield "title", slide.title
    for statement in slide.statements:
        yield "statement", statement.label
        yield "statement", statement.text
    visual = slide.visual
    if isinstance(visual, Table):
        yield from (("table", column.title) for column in visual.columns)
        for row in visual.rows:
            yield from (("table", cell) for cell in ((row.text,) if isinstance(row, Heading) else row))
    if isinstance(visual, Blocks):
        yield from (("blocks", name) for name in (visual.kept_name, visual.removed_name))
        yield from (("blocks", block.told) for block in visual.blocks if block.told)
    if visual is not None:
        yield "key", visual.key


def points_of(slide: StorySlide) -> Iterator[float]:
    """The upright number of each point, and the one across where it is a measured number and no layer."""
    visual = slide.visual
    charts = visual.charts if isinstance(visual, Gallery) else (visual,) if isinstance(visual, Chart) else ()
    for chart in charts:
        for point in chart.points:
            if not chart.y.is_ordered:  # else it is a place in a list
                yield point.y
            if hasattr(point.x, "source"):
                yield point.x


def written_point(value: float) -> str:
    return f"{value:.6g}"


# --- characters ------------------------------------------------------------------------------------------------


def cleaned(record: Any) -> Any:
    """The record with all its texts without characters that XML forbids, which names and texts of users may contain, and with
    minus signs."""
    return changed(record, lambda value, _path: _cleaned_text(value) if isinstance(value, str) else value)


def _cleaned_text(text: str) -> Text:
    text = Text(text).substituted(CONTROL_CHARACTERS, lambda _found: "")
    if is_query(text):
        return text
    return _with_minus(text.substituted(RIGHT_TO_LEFT_NAME, lambda found: f"{found[1]}{LEFT_TO_RIGHT_MARK}"))


def _with_minus(text: Text) -> Text:
    """Numbers for people have a minus sign, not a hyphen; names keep theirs. Behind a Japanese letter programs would set a
    minus sign as wide as one."""
    starts = {
        one.start
        for one in text.stretches
        if text[one.start] == "-" and not is_wide(text[: one.start].rstrip()[-1:] or " ")
    }
    return Text("".join("−" if at in starts else letter for at, letter in enumerate(text)), text.stretches)


CONTROL_CHARACTERS = f"[\x00-\x1f\x7f-\x9f\ufffe\uffff\ud800-\udfff{DIRECTION_CONTROLS}]"
"""Characters that XML forbids, that turn the direction of text, and line breaks, which a name does not need."""
LEFT_TO_RIGHT_MARK = "\u200e"
RIGHT_TO_LEFT_NAME = re.compile(rf"([\u0590-\u08ff][^\s、。,;:；：()（）{LEFT_TO_RIGHT_MARK}]*){LEFT_TO_RIGHT_MARK}?")
"""A name in Arabic or Hebrew: numbers behind it would otherwise be set to its left, intervals reversed."""
