"""Thumbnails of slides as static SVG, for the report page."""

from __future__ import annotations

import re

from core.deck.story import Heading, StorySlide, Table
from core.figures.svg import LIGHT, Box, Drawing, visual_svg
from core.figures.text import shorten_to_width, wrap_text
from core.locale import _

OUTLINE = (320.0, 180.0)


def slide_outline(slide: StorySlide, place: int) -> str:
    """A thumbnail of a slide: its whole title and statements, and a small version of its visual."""
    drawing = Drawing(*OUTLINE, LIGHT)
    width, height = OUTLINE
    drawing.frame(0.5, 0.5, width - 1, height - 1, LIGHT.grid, 1)
    y = 8.0
    for line in wrap_text(slide.title, 11, width - 34, True):
        y += 14
        drawing.text((10, y), line, 11, bold=True)
    y += 6
    drawing.line([(10, y), (width - 10, y)], LIGHT.curves[0], 1.2)
    foot = height - 16
    has_picture = slide.visual is not None
    room = 0.36 * width if has_picture else width - 20
    left = width - room - 8 if has_picture else 10
    edge = left - 18 if slide.statements else width - 18
    text_y = y
    for size, is_bold, line in _fitted(slide, room, foot - 2 - y):
        text_y += size + 3 * bool(line)
        drawing.text((left, text_y), line, size, bold=is_bold)
    if slide.visual is not None:
        _draw_thumbnail(drawing, slide, (9, y + 4, edge, foot - y - 6))
    drawing.text((10, height - 5), shorten_to_width(slide.source, 6.5, width - 50), 6.5, LIGHT.quiet)
    drawing.text((width - 10, height - 5), str(place), 8, LIGHT.quiet, "end")
    return drawing.svg(slide.title)


def _fitted(slide: StorySlide, room: float, height: float) -> list[tuple[float, bool, str]]:
    """Size, weight and text of each line of the statements, as large as lets all of them stand in `height`; gaps are empty lines."""
    for scale in (1.0, 0.9, 0.8, 0.7, 0.6, 0.5):
        lines: list[tuple[float, bool, str]] = []
        for statement in slide.statements:
            text = _(": ").join(filter(None, (statement.label, statement.text)))
            is_bold = statement.is_main or statement.is_large
            size = scale * (18 if statement.is_large else 8.5 if is_bold else 7.5)
            lines += [(size, is_bold, line) for line in wrap_text(text, size, room, is_bold)] + [(3 * scale, False, "")]
        if sum(size + 3 * bool(line) for size, _bold, line in lines) <= height:
            break
    return lines


def _draw_thumbnail(drawing: Drawing, slide: StorySlide, box: Box) -> None:
    """The picture itself, made smaller."""
    visual = slide.visual
    left, top, width, height = box
    if isinstance(visual, Table):
        _draw_table(drawing, visual, box)
    elif visual is not None:
        inner = visual_svg(visual, LIGHT, (2.4 * width, 2.4 * height))
        place = f'x="{left:g}" y="{top:g}" width="{width:g}" height="{height:g}"'
        drawing.parts.append(re.sub(r'width="\S+" height="\S+"', place, inner, count=1))


def _draw_table(drawing: Drawing, table: Table, box: Box) -> None:
    """All its rows, in letters as large as lets their cells stand whole; what is too long even in the smallest ends in `…`."""
    left, top, width, height = box
    heads, widths = tuple(column.title for column in table.columns), [column.share for column in table.columns]
    for size in (7.5, 6.5, 5.5, 4.5, 3.5):
        rows: list[tuple[bool, list[tuple[float, list[str]]]]] = []
        for n, row in enumerate((heads, *table.rows)):
            is_head = n == 0 or isinstance(row, Heading)
            pairs = [(1.0, row.text)] if isinstance(row, Heading) else list(zip(widths, row, strict=False))
            cells = [(share, wrap_text(cell, size, width * share - 4, is_head)) for share, cell in pairs]
            rows.append((is_head, cells))
        heights = [1.25 * size * max(len(lines) for _share, lines in cells) + 4 for _is_head, cells in rows]
        if sum(heights) <= height:
            break
    y = top
    for (is_head, cells), row_height in zip(rows, heights, strict=True):
        if y + row_height > top + height:
            drawing.text((left, top + height), "…", size)
            break
        x = left
        for share, lines in cells:
            for n, line in enumerate(lines):
                drawing.text((x, y + 1.25 * size * (n + 1)), line, size, bold=is_head)
            x += width * share
        y += row_height
        drawing.line([(left, y), (left + width, y)], drawing.theme.grid, 0.6)
