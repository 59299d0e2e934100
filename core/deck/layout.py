"""Measures text and places it on a slide before anything is drawn, without PowerPoint.

Lengths are in inches, letter sizes in points.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import pairwise, zip_longest

from core.deck.story import Column, Heading, Row, Statement, StorySlide, Table
from core.figures.text import is_wide, phrases, text_width, unbroken, wrap_text
from core.locale import _

Box = tuple[float, float, float, float]
"""Left, top, width, height."""

WIDTH, HEIGHT, MARGIN = 13.333, 7.5, 0.6
TEXT_WIDTH = WIDTH - 2 * MARGIN
BODY_TOP, BODY_HEIGHT = 1.5, 5.4
TITLE_BOX: Box = (MARGIN, 0.35, TEXT_WIDTH, 0.95)
BODY_BOX: Box = (MARGIN, BODY_TOP, TEXT_WIDTH, BODY_HEIGHT)
CHART_BOX: Box = (MARGIN - 0.1, BODY_TOP - 0.05, 7.9, BODY_HEIGHT + 0.05)
STATEMENT_BOX: Box = (8.6, BODY_TOP, WIDTH - MARGIN - 8.6, BODY_HEIGHT)


@dataclass(frozen=True)
class Page:
    """Boxes of a slide; letters have the same size on pages of all sizes."""

    body: Box
    chart: Box
    statements: Box

    @property
    def is_small(self) -> bool:
        """Whether less fits on this page than on Workdim's own."""
        return self.body[2] < 0.97 * BODY_BOX[2] or self.body[3] < 0.97 * BODY_BOX[3]


OWN_PAGE = Page(BODY_BOX, CHART_BOX, STATEMENT_BOX)


def page_within(room: Box) -> Page:
    """The page with all boxes scaled into the room that a company's layouts leave."""
    left, top, width, height = room
    wide, high = width / TEXT_WIDTH, height / BODY_HEIGHT

    def moved(box: Box) -> Box:
        above = top + (box[1] - BODY_TOP) * high
        return left + (box[0] - MARGIN) * wide, above, box[2] * wide, box[3] * high

    return Page(moved(BODY_BOX), moved(CHART_BOX), moved(STATEMENT_BOX))


PLOT_MARGINS = (0.75, 0.8, 0.5, 0.25)
"""Left, bottom, top and right of a plot, for tick labels and titles; more on the right where names stand there."""

TITLE_SIZES = (26, 24, 22)
TITLE_FILL = 0.92
"""Share of its width that a line of a title fills, because words end before it does."""
LARGE = 44
"""The number that a slide is about."""
BESIDE_SIZES, TABLE_SIZES = range(20, 13, -1), range(22, 13, -1)
MOST_STRETCH = 3.2
"""Rows of a table of few rows are so many times as high as their text, to fill the slide."""
SMALLEST = 14
"""Of the core slides; their footers are smaller."""
SOURCE_SIZE = 10
APPENDIX_SIZES, APPENDIX_TABLE_SIZES = range(16, 9, -1), range(12, 9, -1)


def line_height(text: str) -> float:
    """Line height as a multiple of the letter size: Japanese fonts need more."""
    return 1.5 if any(map(is_wide, text)) else 1.2


@lru_cache(maxsize=20_000)
def lines_needed(text: str, width: float, points: float) -> int:
    """Lines that `text` takes in `width` inches."""
    return sum(max(len(wrap_text(part, points, 72 * width)), 1) for part in text.split("\n"))


def fitting_size(paragraphs: Sequence[str], box: Box, sizes: Sequence[float]) -> float:
    """The first of `sizes`, in descending order, at which the paragraphs fit in the box; else the last."""
    return next((points for points in sizes if text_height(paragraphs, box[2], points) <= box[3]), sizes[-1])


def line_room(width: float) -> float:
    """Of a line in a text box of `width`; 0.92: words do not fill their lines to the end."""
    return 0.92 * (width - 0.2)


def text_height(paragraphs: Sequence[str], width: float, points: float) -> float:
    """Height of a text box of `width`."""
    lines = [lines_needed(text, line_room(width), points) * line_height(text) + 0.35 for text in paragraphs]
    return sum(lines) * points / 72 + 0.1


def paragraphs(statements: Sequence[Statement]) -> list[str]:
    """The lines of the statements but for large numbers: a label is a line of its own."""
    return [text for one in statements if not one.is_large for text in (one.label, one.text) if text]


def below_large(statements: Sequence[Statement], box: Box) -> Box:
    """What a box has left below the large numbers in it."""
    lines = sum(lines_needed(one.text, line_room(box[2]), LARGE) for one in statements if one.is_large)
    return *box[:3], box[3] - lines * 1.35 * LARGE / 72


def key_height(key: str, width: float) -> float:
    """Height of the line or lines below a visual."""
    return text_height([key], width, SMALLEST) - 0.06 if key else 0.0


def truncate(text: str, width: float, points: float, lines: int = 2, bold: bool = False) -> str:
    """As much of the text as fits in so many lines, with an ellipsis where it was cut."""
    room = 72 * TITLE_FILL * width
    if len(wrap_text(text, points, room, bold)) <= lines:
        return text
    end = bisect_left(
        range(len(text)), True, key=lambda n: len(wrap_text(text[: n + 1].rstrip() + "…", points, room, bold)) > lines
    )
    return text[:end].rstrip() + "…"


def in_whole_words(text: str, width: float, points: float, bold: bool = False) -> str:
    """Japanese of several lines, each ended behind a phrase: programs would break it within words. Other texts as they are."""
    lines = wrap_text(text, points, 72 * width, bold) if any(map(is_wide, text)) else []
    ends, end = [0], 0
    for line in lines[:-1]:
        end = text.index(line, end) + len(line)
        ends += [end] if not text[end].isspace() else []  # programs end lines at spaces themselves
    return "\v".join(text[start:stop] for start, stop in pairwise([*ends, len(text)]))


def title_in_lines(text: str, width: float, points: float) -> str:
    return unbroken(in_whole_words(text, TITLE_FILL * width, points, bold=True))


# --- tables ----------------------------------------------------------------------------------------------------

CELL_SIDE, CELL_EDGE = 0.08, 0.045
"""Inches left and right, above and below the text of a cell."""


LONG = 13.0
"""Letter sizes; of what is longer than that a column has a quarter, and so several lines."""
NUMBERS = re.compile(r"[\d\s.,%±–−+()\[\]†*°-]+")


def table_of(titles: Sequence[str], rows: Sequence[Row], key: str = "") -> Table:
    """A table with columns as wide as their texts ask for; those of numbers are set to the right."""
    of_columns = list(zip(*(row for row in rows if isinstance(row, tuple)), strict=True)) or [()] * len(titles)
    wanted = []
    for title, cells in zip(titles, of_columns, strict=True):
        widest = max((text_width(cell, 1) for cell in cells), default=0.0)
        longest_word = max(text_width(phrase, 1, bold=True) for phrase in phrases(title))
        wanted.append(1 + max(longest_word, min(widest, LONG + (widest - LONG) / 4)))
    columns = (
        Column(title, width / sum(wanted), bool(cells) and all(map(NUMBERS.fullmatch, cells)))
        for title, width, cells in zip(titles, wanted, of_columns, strict=True)
    )
    return Table(tuple(columns), tuple(rows), key)


def row_height(row: Row, columns: Sequence[Column], points: float, width: float = TEXT_WIDTH) -> float:
    """Inches."""
    if isinstance(row, Heading):
        lines, letters = lines_needed(row.text, width - 2 * CELL_SIDE, points), row.text
    else:
        widths = [column.share * width - 2 * CELL_SIDE for column in columns]
        lines = max(lines_needed(text, room, points) for text, room in zip(row, widths, strict=True))
        letters = "".join(row)
    return lines * points * line_height(letters) / 72 + 2 * CELL_EDGE


def table_height(rows: Sequence[Row], columns: Sequence[Column], points: float, width: float = TEXT_WIDTH) -> float:
    """Height of the table in inches, its header row included."""
    head = tuple(column.title for column in columns)
    return sum(row_height(row, columns, points, width) for row in (head, *rows))


def levelled(needed: Sequence[float], height: float) -> list[float]:
    """The heights of rows that fill a height: all alike, but for those that need more."""
    left, level = height, 0.0
    for n, tallest in enumerate(sorted(needed, reverse=True)):
        level = left / (len(needed) - n)
        if tallest <= level:
            break
        left -= tallest
    return [max(level, one) for one in needed]


def table_size(table: Table, width: float, height: float, sizes: Sequence[float]) -> float:
    """The first of `sizes`, in descending order, at which the table fits; else the last."""
    room = height - key_height(table.key, width)
    return next((p for p in sizes if table_height(table.rows, table.columns, p, width) <= room), sizes[-1])


def paginate(
    rows: Sequence[Row], columns: Sequence[Column], points: float, room: float = BODY_HEIGHT
) -> list[list[Row]]:
    """The fewest pages, filled as evenly as possible; a page repeats the heading that it continues."""
    filled = [_fill_pages(rows, columns, points, room * n / 20) for n in range(20, 4, -1)]
    return [pages for pages in filled if len(pages) == len(filled[0])][-1]


def _fill_pages(rows: Sequence[Row], columns: Sequence[Column], points: float, room: float) -> list[list[Row]]:
    header = row_height(tuple(column.title for column in columns), columns, points)
    filled: list[list[Row]] = [[]]
    used, heading = header, None
    for position, row in enumerate(rows):
        height = needed = row_height(row, columns, points)
        if isinstance(row, Heading):
            heading = row
            following = rows[position + 1] if position + 1 < len(rows) else row
            needed += row_height(following, columns, points)  # a heading never stands alone at the bottom of a page
        if filled[-1] and used + needed > room:
            filled.append([])
            used = header
            if heading is not None and row is not heading:
                filled[-1].append(heading)
                used += row_height(heading, columns, points)
        filled[-1].append(row)
        used += height
    return filled


# --- what fits on a page -----------------------------------------------------------------------------------------


def shorten_for_page(story_slide: StorySlide, page: Page) -> StorySlide:
    """As much of a core slide as fits on a page in letters of 14 points; the rest goes to its notes."""
    fitting, visual = list(story_slide.statements), story_slide.visual
    room = below_large(fitting, page.statements)
    while len(fitting) > 1 and text_height(paragraphs(fitting), room[2], SMALLEST) > room[3]:
        fitting.pop()
    dropped = [
        _("{name}: {relation}", name=statement.label, relation=statement.text) if statement.label else statement.text
        for statement in story_slide.statements[len(fitting) :]
    ]
    if isinstance(visual, Table):
        whole, visual = visual, _fitting_table(visual, page.chart if fitting else page.body)
        cut = [row for row, shortened in zip_longest(whole.rows, visual.rows) if shortened != row]
        dropped += [row.text if isinstance(row, Heading) else _read_aloud(row, whole) for row in cut]
    return replace(story_slide, statements=tuple(fitting), visual=visual, speech=(*story_slide.speech, *dropped))


def _read_aloud(row: tuple[str, ...], table: Table) -> str:
    """`m02: Score: 83.0, Rank by score: 1–4`: each cell with the title of its column."""
    cells = zip(table.columns[1:], row[1:], strict=True)
    told = [_("{name}: {relation}", name=column.title, relation=text) for column, text in cells if text != "–"]
    return _("{name}: {relation}", name=row[0], relation=told)


def _fitting_table(table: Table, box: Box) -> Table:
    """The table with cells cut to as many lines as the box has room for, and where one is too much, with fewer rows."""
    width, room = box[2], box[3] - key_height(table.key, box[2])
    for lines in (6, 4, 3, 2, 1):
        rows: tuple[Row, ...] = tuple(
            row
            if isinstance(row, Heading)
            else tuple(
                truncate(text, column.share * width - 2 * CELL_SIDE, SMALLEST, lines)
                for text, column in zip(row, table.columns, strict=True)
            )
            for row in table.rows
        )
        if table_height(rows, table.columns, SMALLEST, width) <= room:
            break
    while len(rows) > 1 and table_height(rows, table.columns, SMALLEST, width) > room:
        rows = rows[:-1]
    return replace(table, rows=rows)
