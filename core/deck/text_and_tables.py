"""Text boxes and native tables of the deck."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from lxml import etree
from pptx.enum.dml import MSO_THEME_COLOR
from pptx.enum.text import MSO_ANCHOR, PP_ALIGN
from pptx.oxml.ns import qn
from pptx.slide import Slide
from pptx.util import Inches, Pt

from core.deck.layout import CELL_EDGE, CELL_SIDE, Box, row_height, text_height
from core.deck.story import Heading, Table
from core.deck.theme import describe, place

NO_STYLE = "{2D5ABB26-0587-4C30-8999-92F81FD0307C}"
"""PowerPoint's table style without fills and lines: ours are drawn cell by cell."""


def add_table(slide: Slide, box: Box, shown: Table, points: float) -> float:
    """Draws the table at the top of the box and returns the height that it takes, in inches."""
    columns, rows = shown.columns, shown.rows
    titles = tuple(column.title for column in columns)
    heights = [row_height(row, columns, points, box[2]) for row in (titles, *rows)]
    frame: Any = slide.shapes.add_table(
        len(rows) + 1, len(columns), Inches(box[0]), Inches(box[1]), Inches(box[2]), Inches(sum(heights))
    )
    describe(frame, shown.alternative)
    table = frame.table
    frame._element.graphic.graphicData.tbl.tblPr.find(qn("a:tableStyleId")).text = NO_STYLE
    for column, drawn in zip(columns, table.columns, strict=True):
        drawn.width = Inches(column.share * box[2])
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


def _fill_cell(cell: Any, text: str, points: float, bold: bool) -> None:
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


def _style_cell(cell: Any, strong: bool, tinted: bool) -> None:
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


def add_text(slide: Slide, box: Box, paragraphs: Sequence[str], points: float, quiet: bool = False) -> Any:
    """A text box; quiet letters are a little paler, for what is only looked up."""
    shape = slide.shapes.add_textbox(*[Inches(0)] * 4)
    place(shape, box)
    frame = shape.text_frame
    frame.word_wrap = True
    frame.margin_left = frame.margin_right = Inches(0.02)
    frame.margin_top = frame.margin_bottom = Inches(0.02)
    for index, text in enumerate(paragraphs):
        paragraph = frame.paragraphs[0] if index == 0 else frame.add_paragraph()
        run = paragraph.add_run()
        run.text = text
        run.font.size = Pt(points)
        run.font.color.theme_color = MSO_THEME_COLOR.TEXT_1
        if quiet:
            run.font.color.brightness = 0.35
    return shape


__all__ = ["add_table", "add_text", "text_height"]
