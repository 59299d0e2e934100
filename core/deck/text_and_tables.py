"""Text boxes and tables of the deck, and how much room their text takes."""

from __future__ import annotations

import math
import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from lxml import etree
from pptx.enum.dml import MSO_THEME_COLOR
from pptx.enum.text import MSO_ANCHOR, PP_ALIGN
from pptx.oxml.ns import qn
from pptx.slide import Slide
from pptx.util import Inches, Pt

from core.deck.theme import BODY_TOP, MARGIN, Box, describe, place

NO_STYLE = "{2D5ABB26-0587-4C30-8999-92F81FD0307C}"
"""PowerPoint's table style without fills and lines: ours are drawn cell by cell."""
BREAKABLE = re.compile(r"[^\u2e80-\uffef\s-]+-*\s*|[\u2e80-\uffef]\s*|-+\s*|\s+")
"""Pieces that a line is never broken in."""
NARROW = " .,:;!'|()[]/ijlftrI-"
CELL_SIDE, CELL_EDGE = 0.08, 0.045
"""Inches left and right, above and below the text of a cell."""


@dataclass(frozen=True)
class Column:
    """One column of a deck table."""

    title: str
    width: float
    """Inches."""
    is_number: bool = False


@dataclass(frozen=True)
class Heading:
    """A row that spans the table and names what stands below it."""

    text: str


Row = Heading | Sequence[str]


def line_height(text: str) -> float:
    """Of the letter size: Japanese fonts need more, and a line takes the height of its tallest letter."""
    return 1.5 if any(map(_is_wide, text)) else 1.2


def lines_needed(text: str, width: float, points: float) -> int:
    """Lines that `text` takes in `width` inches: broken at spaces, behind hyphens, between wide letters."""
    room = 72 * width / points
    return sum(_lines(part, room) for part in text.split("\n"))


def _lines(text: str, room: float) -> int:
    """Greedy, as programs break lines; a piece that is longer than a line is broken inside."""
    lines, used = 1, 0.0
    for piece in BREAKABLE.findall(text):
        breadth = _breadth(piece.rstrip())
        if used and used + breadth > room:
            lines, used = lines + 1, 0.0
        lines += max(0, math.ceil(breadth / room) - 1)
        used = used + _breadth(piece) if breadth <= room else breadth % room
    return lines


def _breadth(text: str) -> float:
    """In letter sizes, with a gap where Japanese and Latin letters meet."""
    wide = [_is_wide(letter) for letter in text]
    gaps = sum(before != after for before, after in pairwise(wide))
    return sum(map(_letter_breadth, text)) + 0.25 * gaps


def _letter_breadth(letter: str) -> float:
    """Of the letter size, a little more than the deck's fonts take: a table that is too high is the lesser evil."""
    if _is_wide(letter):
        return 1.0
    if letter in NARROW:
        return 0.3
    return 0.62 if letter.isupper() or letter in "mw%" else 0.5


def _is_wide(letter: str) -> bool:
    return unicodedata.east_asian_width(letter) in "WF"


def fitting_size(paragraphs: Sequence[str], box: Box, sizes: Sequence[float]) -> float:
    """The largest of `sizes`, given in falling order, at which the paragraphs fit in the box; else the smallest."""
    return next((points for points in sizes if text_height(paragraphs, box[2], points) <= box[3]), sizes[-1])


def text_height(paragraphs: Sequence[str], width: float, points: float) -> float:
    """Inches that a text box of `width` needs; 0.92: words do not fill their lines to the end."""
    lines = [lines_needed(text, 0.92 * (width - 0.2), points) * line_height(text) + 0.35 for text in paragraphs]
    return sum(lines) * points / 72 + 0.1


def row_height(row: Row, columns: Sequence[Column], points: float) -> float:
    """Inches, with the words that do not break in mid-line taken into account by a little spare room."""
    if isinstance(row, Heading):
        lines = lines_needed(row.text, sum(column.width for column in columns) - 2 * CELL_SIDE, points)
    else:
        # 0.92: words do not fill their lines to the end.
        widths = [0.92 * (column.width - 2 * CELL_SIDE) for column in columns]
        lines = max(lines_needed(text, width, points) for text, width in zip(row, widths, strict=True))
    tallest = line_height(row.text if isinstance(row, Heading) else "".join(row))
    return lines * points * tallest / 72 + 2 * CELL_EDGE


def pages(rows: Sequence[Row], columns: Sequence[Column], points: float, room: float) -> list[list[Row]]:
    """Rows split so that each page fits in `room` inches below its header; a page repeats the heading it is under."""
    header = row_height([column.title for column in columns], columns, points)
    filled: list[list[Row]] = [[]]
    used, heading = header, None
    for position, row in enumerate(rows):
        height = row_height(row, columns, points)
        needed = height
        if isinstance(row, Heading):
            heading = row
            following = rows[position + 1] if position + 1 < len(rows) else row
            needed += row_height(following, columns, points)  # a heading never stands alone at the foot of a page
        if filled[-1] and used + needed > room:
            filled.append([])
            used = header
            if heading is not None and row is not heading:
                filled[-1].append(heading)
                used += row_height(heading, columns, points)
        filled[-1].append(row)
        used += height
    return filled


def table_height(rows: Sequence[Row], columns: Sequence[Column], points: float) -> float:
    """Inches that a table of these rows takes with its header."""
    return sum(row_height(row, columns, points) for row in ([column.title for column in columns], *rows))


def numbered_titles(title: str, total: int) -> list[str]:
    """`title (1/2)`, `title (2/2)`: a number only where there are several."""
    return [title] if total == 1 else [f"{title} ({number}/{total})" for number in range(1, total + 1)]


def add_table(slide: Slide, columns: Sequence[Column], rows: Sequence[Row], points: float, alternative: str) -> float:
    """Draws the table at the top of the body and returns the height that it takes, in inches."""
    left, top = MARGIN, BODY_TOP
    titles = [column.title for column in columns]
    heights = [row_height(row, columns, points) for row in (titles, *rows)]
    width = sum(column.width for column in columns)
    frame: Any = slide.shapes.add_table(
        len(rows) + 1, len(columns), Inches(left), Inches(top), Inches(width), Inches(sum(heights))
    )
    describe(frame, alternative)
    table = frame.table
    frame._element.graphic.graphicData.tbl.tblPr.find(qn("a:tableStyleId")).text = NO_STYLE
    for column, drawn in zip(columns, table.columns, strict=True):
        drawn.width = Inches(column.width)
    for index, (row, height) in enumerate(zip((titles, *rows), heights, strict=True)):
        table.rows[index].height = Inches(height)
        if isinstance(row, Heading):
            table.cell(index, 0).merge(table.cell(index, len(columns) - 1))
        texts = [row.text] + [""] * (len(columns) - 1) if isinstance(row, Heading) else row
        for number, (column, text) in enumerate(zip(columns, texts, strict=True)):
            cell = table.cell(index, number)
            _fill_cell(cell, text, points, bold=index == 0 or isinstance(row, Heading))
            if column.is_number and not isinstance(row, Heading):
                cell.text_frame.paragraphs[0].alignment = PP_ALIGN.RIGHT
            _style_cell(cell, strong=index == 0, tinted=isinstance(row, Heading))
    return sum(heights)


def _fill_cell(cell, text: str, points: float, bold: bool) -> None:
    cell.text_frame.text = text
    cell.vertical_anchor = MSO_ANCHOR.MIDDLE
    cell.margin_left = cell.margin_right = Inches(CELL_SIDE)
    cell.margin_top = cell.margin_bottom = Inches(CELL_EDGE)
    for paragraph in cell.text_frame.paragraphs:
        for run in paragraph.runs:
            run.font.size, run.font.bold = Pt(points), bold
            run.font.color.theme_color = MSO_THEME_COLOR.TEXT_2 if bold else MSO_THEME_COLOR.TEXT_1
        if not paragraph.runs:
            paragraph.font.size = Pt(points)


def _style_cell(cell, strong: bool, tinted: bool) -> None:
    """A line below each row; the schema wants lines before fills."""
    properties = cell._tc.get_or_add_tcPr()
    if tinted:
        cell.fill.solid()
        cell.fill.fore_color.theme_color = MSO_THEME_COLOR.BACKGROUND_2
    line = etree.Element(qn("a:lnB"), w=str(Pt(1.5 if strong else 0.5)), cap="flat", cmpd="sng")
    fill = etree.SubElement(line, qn("a:solidFill"))
    colour = etree.SubElement(fill, qn("a:schemeClr"), val="accent1" if strong else "bg2")
    if not strong:
        etree.SubElement(colour, qn("a:lumMod"), val="85000")
    properties.insert(0, line)


def add_text(slide: Slide, box: Box, paragraphs: Sequence[str], points: float, quiet: bool = False) -> None:
    """A text box; a paragraph that starts with `# ` is a small heading."""
    shape = slide.shapes.add_textbox(*[Inches(0)] * 4)
    place(shape, box)
    frame = shape.text_frame
    frame.word_wrap = True
    frame.margin_left = frame.margin_right = Inches(0.02)
    fill_paragraphs(frame, paragraphs, points, quiet)


def fill_paragraphs(frame, paragraphs: Sequence[str], points: float, quiet: bool = False) -> None:
    for index, text in enumerate(paragraphs):
        paragraph = frame.paragraphs[0] if index == 0 else frame.add_paragraph()
        is_heading = text.startswith("# ")
        run = paragraph.add_run()
        run.text = text.removeprefix("# ")
        run.font.size, run.font.bold = Pt(points), is_heading
        run.font.color.theme_color = MSO_THEME_COLOR.TEXT_2 if is_heading else MSO_THEME_COLOR.TEXT_1
        if quiet and not is_heading:
            run.font.color.brightness = 0.35
        paragraph.space_after = Pt(points * 0.35)
