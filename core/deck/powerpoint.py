"""Draws a story as an editable PowerPoint file. All texts and numbers come from the story; nothing is computed here."""

from __future__ import annotations

import copy
from collections.abc import Callable
from datetime import datetime
from io import BytesIO
from typing import Any

from lxml import etree
from pptx.enum.dml import MSO_THEME_COLOR
from pptx.enum.shapes import PP_PLACEHOLDER
from pptx.enum.text import MSO_ANCHOR, PP_ALIGN
from pptx.oxml import parse_xml
from pptx.oxml.ns import nsdecls, qn
from pptx.presentation import Presentation as Deck
from pptx.slide import Slide
from pptx.util import Inches, Pt

from core.deck import layout
from core.deck.charts import draw_chart, set_alternative_text
from core.deck.layout import Box, shorten_for_page
from core.deck.story import Heading, Story, StorySlide, Table, Visual, is_query
from core.deck.template import Template, adapt_placeholders, own_template
from core.figures.chart import Block, Blocks, Chart, Gallery
from core.figures.text import unbroken
from core.locale import _, speaking, spoken
from core.wording.labels import day


def draw_deck(
    story: Story, template: Template | None = None, attach: Callable[[Deck], None] = lambda presentation: None
) -> bytes:
    """The bytes of a .pptx file, on a company's `template` if there is one.

    `attach` is called with the finished presentation before it is saved, to add parts to it.
    """
    with speaking(story.language):
        presentation = _draw(story, template)
    attach(presentation)
    file = BytesIO()
    presentation.save(file)
    return file.getvalue()


def _draw(story: Story, template: Template | None) -> Deck:
    drawn_on = template or own_template()
    presentation, foot = drawn_on.deck, " · ".join(("Workdim", day(story.made_on)))
    for number, story_slide in enumerate(story):
        slide = draw_slide(drawn_on, story_slide, foot, number < len(story.slides))
        if template is not None:
            adapt_placeholders(template, slide, foot)
    properties = presentation.core_properties
    properties.title = story.title[:255]
    properties.author = properties.last_modified_by = "Workdim"
    properties.language = story.language
    properties.created = properties.modified = datetime.combine(story.made_on, datetime.min.time())
    for slide in presentation.slides:
        set_language(slide._element)
        set_language(slide.notes_slide._element)
        shape: Any
        for shape in slide.shapes:
            if shape.has_chart:
                set_language(shape.chart._chartSpace)
                for element in shape.chart._chartSpace.iter(qn("c:axId"), qn("c:crossAx")):
                    element.set("val", element.get("val").lstrip("-"))  # python-pptx writes negative ids
    return presentation


def draw_slide(template: Template, story_slide: StorySlide, foot: str, is_core: bool = True) -> Slide:
    """Draws one slide on the layout that fits its content; slides of the appendix have smaller letters. `foot` says who made
    it, and when."""
    with_chart, with_text = isinstance(story_slide.visual, Chart), bool(story_slide.statements)
    slide, page = template.deck.slides.add_slide(template.layout_for(with_chart, with_text)), template.page
    if is_core and page.is_small:
        story_slide = shorten_for_page(story_slide, page)
    _write_title(slide, story_slide.title)
    if story_slide.visual is not None:
        _draw_visual(slide, story_slide.visual, page.chart if story_slide.statements else page.body, is_core)
    if story_slide.statements:
        _write_statements(slide, story_slide, is_core, page)
    for holder in list(slide.placeholders):  # those that stayed empty
        if holder.has_text_frame and not holder.text_frame.text:
            holder._element.getparent().remove(holder._element)
    add_footer(slide, foot)
    notes: Any = slide.notes_slide.notes_text_frame
    sources = ["", _("Sources:"), *story_slide.sources] if story_slide.sources else []
    notes.text = "\n".join([*story_slide.speech, *sources])
    return slide


def _write_title(slide: Slide, text: str) -> None:
    """Writes the title in the size of the layout, or smaller if it would take three lines; Japanese breaks behind a phrase."""
    width = layout.TITLE_BOX[2]
    sizes = layout.TITLE_SIZES
    points = next((p for p in sizes if layout.truncate(text, width, p, bold=True) == text), sizes[-1])
    frame: Any = slide.shapes.title
    frame.text_frame.text = layout.title_in_lines(text, width, points)
    if points != sizes[0]:
        for run in frame.text_frame.paragraphs[0].runs:
            run.font.size = Pt(points)


def _write_statements(slide: Slide, story_slide: StorySlide, is_core: bool, page: layout.Page) -> None:
    """Writes the statements into the layout's placeholder for text, or into a box of their own."""
    box = page.body if story_slide.visual is None else page.statements
    texts, room = layout.paragraphs(story_slide.statements), layout.below_large(story_slide.statements, box)
    points = layout.fitting_size(texts, room, layout.BESIDE_SIZES if is_core else layout.APPENDIX_SIZES)
    kinds = (PP_PLACEHOLDER.BODY, PP_PLACEHOLDER.OBJECT)
    shape: Any = next((holder for holder in slide.placeholders if holder.placeholder_format.type in kinds), None)
    if shape is None:
        shape = slide.shapes.add_textbox(*map(Inches, box))
        shape.text_frame.word_wrap = True
    shape.left, shape.top, shape.width, shape.height = map(Inches, box)
    frame = shape.text_frame
    frame.vertical_anchor = MSO_ANCHOR.TOP
    paragraph = frame.paragraphs[0]
    for statement in story_slide.statements:
        for text, is_label in ((statement.label, True), (statement.text, False)):
            if not text:
                continue
            if paragraph.runs:
                paragraph = frame.add_paragraph()
            is_strong = is_label or statement.is_main or statement.is_large
            size = layout.LARGE if statement.is_large else points
            if not (statement.is_large or is_query(text)):
                text = layout.in_whole_words(text, layout.line_room(box[2]), size)
            _write(paragraph, text, size, _STRONG if is_strong else _PLAIN, is_label or statement.is_large)
            properties = paragraph._p.get_or_add_pPr()
            properties.set("marL", "0")
            properties.set("indent", "0")
            properties.insert(0, properties.makeelement(qn("a:buNone"), {}))
            paragraph.space_before = Pt(0)
            paragraph.space_after = Pt(0 if is_label or statement.is_large else points * 0.55)


_STRONG, _PLAIN = MSO_THEME_COLOR.TEXT_2, MSO_THEME_COLOR.TEXT_1


def _write(paragraph: Any, text: str, points: float, colour: MSO_THEME_COLOR, is_bold: bool | None = None) -> None:
    """Each line of the text is a run."""
    for number, line in enumerate(text.split("\v")):
        if number:
            paragraph.add_line_break()
        run = paragraph.add_run()
        run.text = unbroken(line)
        run.font.size, run.font.bold = Pt(points), is_bold
        run.font.color.theme_color = colour


# --- pictures --------------------------------------------------------------------------------------------------


def _draw_visual(slide: Slide, visual: Visual, box: Box, is_core: bool) -> None:
    key, key_room = visual.key, layout.key_height(visual.key, box[2])
    inner = (*box[:3], box[3] - key_room)
    below = box[1] + inner[3]
    match visual:
        case Chart():
            draw_chart(slide, inner, visual)
        case Table():
            sizes_of_table = layout.TABLE_SIZES if is_core else layout.APPENDIX_TABLE_SIZES
            points = layout.table_size(visual, box[2], box[3], sizes_of_table)
            end = box[1] + _draw_table(slide, inner, visual, points, layout.MOST_STRETCH if is_core else 1.0) + 0.1
            below = min(below, end)
        case Blocks():
            _draw_blocks(slide, inner, visual)
        case Gallery():
            _draw_gallery(slide, inner, visual)
    if key:
        room = (box[0] + 0.1, below, box[2] - 0.1, box[1] + box[3] - below)
        sizes = [layout.SMALLEST] if is_core else layout.APPENDIX_TABLE_SIZES[1:]
        _add_text(slide, room, key, layout.fitting_size([key], room, sizes), is_quiet=True)


BLOCKS_IN_A_ROW, MOST_BLOCK_ROWS = 10, 8


def _draw_blocks(slide: Slide, box: Box, row_of_blocks: Blocks) -> None:
    """The blocks with their numbers, and what each alone costs, as cells of a table, the darker the more; those that go, or were
    tried, are white. What that means stands below."""
    n = len(row_of_blocks.blocks)
    per_row = max(min(n, BLOCKS_IN_A_ROW), -(-n // MOST_BLOCK_ROWS))
    rows = -(-n // per_row)
    legend = 0.4
    place = (Inches(box[0] + 0.1), Inches(box[1] + 0.1), Inches(box[2] - 0.2), Inches(box[3] - 0.2 - legend))
    frame: Any = slide.shapes.add_table(rows, per_row, *place)
    set_alternative_text(frame, row_of_blocks.alternative)
    frame._element.graphic.graphicData.tbl.tblPr.find(qn("a:tableStyleId")).text = NO_STYLE
    for position, block in enumerate(row_of_blocks.blocks):
        _fill_block(frame.table.cell(*divmod(position, per_row)), block, row_of_blocks.do_go)
    place_of_legend = (box[0] + 0.1, box[1] + box[3] - legend, box[2] - 0.2, legend)
    paragraph = _add_text(slide, place_of_legend, "■", layout.SMALLEST)
    paragraph.runs[0].font.color.theme_color = MSO_THEME_COLOR.ACCENT_1
    _write(paragraph, f" {row_of_blocks.kept_name}    ", layout.SMALLEST, _PLAIN)
    _write(paragraph, "□", layout.SMALLEST, MSO_THEME_COLOR.ACCENT_2 if row_of_blocks.do_go else _PLAIN)
    _write(paragraph, f" {row_of_blocks.removed_name}", layout.SMALLEST, _PLAIN)


SHADES = (0.75, 0.5, 0.0, -0.4)
"""Brightness of a block by its shade."""


def _fill_block(cell: Any, block: Block, do_go: bool) -> None:
    fill, letters = MSO_THEME_COLOR.ACCENT_1, _PLAIN if block.is_pale else MSO_THEME_COLOR.BACKGROUND_1
    if block.is_removed:
        fill, letters = MSO_THEME_COLOR.BACKGROUND_1, MSO_THEME_COLOR.ACCENT_2 if do_go else _PLAIN
    cell.vertical_anchor = MSO_ANCHOR.MIDDLE
    cell.margin_left = cell.margin_right = cell.margin_top = cell.margin_bottom = Inches(0.01)
    cell.text_frame.word_wrap = False
    cell.text_frame.paragraphs[0].alignment = PP_ALIGN.CENTER
    _write(cell.text_frame.paragraphs[0], str(block.number), 20, letters, block.is_removed)
    if block.told:
        alone = cell.text_frame.add_paragraph()
        alone.alignment = PP_ALIGN.CENTER
        _write(alone, block.told, layout.SMALLEST, letters)
    cell.fill.solid()
    cell.fill.fore_color.theme_color = fill
    if not block.is_removed:
        cell.fill.fore_color.brightness = SHADES[block.shade]
    for side in ("lnB", "lnT", "lnR", "lnL"):
        _draw_edge(cell, side, 2.25, "bg1")


def _draw_edge(cell: Any, side: str, points: float, colour: str, darker: str = "") -> None:
    """A line at a side of a cell; the schema wants lines, in the order of left, right, top and bottom, before fills."""
    fill = f'<a:solidFill><a:schemeClr val="{colour}">{darker}</a:schemeClr></a:solidFill>'
    line = parse_xml(f'<a:{side} {nsdecls("a")} w="{Pt(points)}" cap="flat" cmpd="sng">{fill}</a:{side}>')
    cell._tc.get_or_add_tcPr().insert(0, line)


def _draw_gallery(slide: Slide, box: Box, gallery: Gallery) -> None:
    n = len(gallery.charts)
    per_row = min(n, 4)
    rows = -(-n // per_row)
    wide, high = box[2] / per_row, box[3] / rows
    for position, chart in enumerate(gallery.charts):
        row, column = divmod(position, per_row)
        draw_chart(slide, (box[0] + column * wide, box[1] + row * high, wide - 0.1, high - 0.05), chart, is_small=True)


# --- text and tables -------------------------------------------------------------------------------------------

NO_STYLE = "{2D5ABB26-0587-4C30-8999-92F81FD0307C}"
"""PowerPoint's table style without fills and lines: ours are drawn cell by cell."""


def _draw_table(slide: Slide, box: Box, table: Table, points: float, stretch: float) -> float:
    """Draws the table at the top of the box, the rows below its titles up to `stretch` times as high as their text, and returns
    the height that it takes, in inches."""
    columns, rows = table.columns, table.rows
    titles = tuple(column.title for column in columns)
    needed = [layout.row_height(row, columns, points, box[2]) for row in (titles, *rows)]
    wide = max(1.0, min(stretch, (0.99 * box[3] - needed[0]) / max(sum(needed[1:]), 0.01)))
    heights = [needed[0], *layout.levelled(needed[1:], wide * sum(needed[1:]))]
    frame: Any = slide.shapes.add_table(len(rows) + 1, len(columns), *map(Inches, (*box[:3], sum(heights))))
    set_alternative_text(frame, table.alternative)
    native_table = frame.table
    frame._element.graphic.graphicData.tbl.tblPr.find(qn("a:tableStyleId")).text = NO_STYLE
    for column, native_column in zip(columns, native_table.columns, strict=True):
        native_column.width = Inches(column.share * box[2])
    for index, (row, height) in enumerate(zip((titles, *rows), heights, strict=True)):
        native_table.rows[index].height = Inches(height)
        cells, is_heading = list(native_table.rows[index].cells), isinstance(row, Heading)
        if is_heading:
            cells[0].merge(cells[-1])
        is_strong = index == 0 or is_heading
        texts = (row.text, *[""] * (len(columns) - 1)) if isinstance(row, Heading) else row
        for cell, column, text in zip(cells, columns, texts, strict=True):
            cell.vertical_anchor = MSO_ANCHOR.MIDDLE
            cell.margin_left = cell.margin_right = Inches(layout.CELL_SIDE)
            cell.margin_top = cell.margin_bottom = Inches(layout.CELL_EDGE)
            paragraph = cell.text_frame.paragraphs[0]
            paragraph.font.size = Pt(points)
            if text:
                room = (1.0 if is_heading else column.share) * box[2] - 2 * layout.CELL_SIDE
                lines = layout.in_whole_words(text, room, points)
                _write(paragraph, lines, points, _STRONG if is_strong else _PLAIN, is_strong)
            if column.is_number and not is_heading:
                paragraph.alignment = PP_ALIGN.RIGHT
            if is_heading:
                cell.fill.solid()
                cell.fill.fore_color.theme_color = MSO_THEME_COLOR.BACKGROUND_2
            edge = (1.5, "accent1") if index == 0 else (0.5, "bg2", '<a:lumMod val="85000"/>')
            _draw_edge(cell, "lnB", *edge)
    return sum(heights)


def _add_text(slide: Slide, box: Box, text: str, points: float, is_quiet: bool = False) -> Any:
    """Adds a text box and gives its paragraph; quiet text, which is only looked up, is a little paler."""
    frame = slide.shapes.add_textbox(*map(Inches, box)).text_frame
    frame.word_wrap = True
    frame.margin_left = frame.margin_right = frame.margin_top = frame.margin_bottom = Inches(0.02)
    _write(frame.paragraphs[0], layout.in_whole_words(text, layout.line_room(box[2]), points), points, _PLAIN)
    for run in frame.paragraphs[0].runs if is_quiet else ():
        run.font.color.brightness = 0.35
    return frame.paragraphs[0]


# --- what every slide gets ---------------------------------------------------------------------------------------

LANGUAGE_TAGS = {"en": "en-US", "ja": "ja-JP"}


def add_footer(slide: Slide, foot: str) -> None:
    """Adds the footer and the slide number, which python-pptx does not copy from the layout."""
    placeholders: Any = slide.slide_layout.placeholders
    for holder in placeholders:
        kind = holder.placeholder_format.type
        if kind in (PP_PLACEHOLDER.FOOTER, PP_PLACEHOLDER.SLIDE_NUMBER):
            element = copy.deepcopy(holder._element)
            free_id = 1 + max(int(shape.get("id")) for shape in slide.shapes._spTree.iter(qn("p:cNvPr")))
            element.nvSpPr.cNvPr.set("id", str(free_id))
            slide.shapes._spTree.append(element)
            if kind == PP_PLACEHOLDER.FOOTER:
                next(s for s in slide.placeholders if s._element is element).text_frame.text = foot


def set_language(element: etree._Element) -> None:
    """Tags every text run below `element` with the language: without it, Japanese is drawn with Chinese glyphs."""
    tag = LANGUAGE_TAGS.get(spoken(), spoken())
    for run in element.iter(qn("a:r"), qn("a:fld")):
        properties = run.find(qn("a:rPr"))
        if properties is None:
            properties = etree.SubElement(run, qn("a:rPr"))
            run.insert(0, properties)
        properties.set("lang", tag)
        if spoken() == "ja" and properties.find(qn("a:ea")) is None:
            later = ("a:cs", "a:sym", "a:hlinkClick", "a:hlinkMouseOver", "a:extLst")
            properties.insert_element_before(parse_xml(f'<a:ea {nsdecls("a")} typeface="+mn-ea"/>'), *later)
    for properties in element.iter(qn("a:endParaRPr"), qn("a:defRPr")):
        properties.set("lang", tag)
