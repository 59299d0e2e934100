"""Thumbnails of slides as static SVG, for the report page."""

from __future__ import annotations

import re

from core.deck.story import Heading, StorySlide, Table
from core.figures.chart_svg import Box, visual_svg
from core.figures.svg import LIGHT, Drawing
from core.figures.text import shorten_to_width, wrap_text
from core.locale import _

OUTLINE = (320.0, 180.0)


def slide_outline(slide: StorySlide, place: int) -> str:
    """A thumbnail of a slide: its whole title, as much of its statements as fits, and a small version of its visual."""
    drawing = Drawing(*OUTLINE, LIGHT)
    width, height = OUTLINE
    corners = [(0.5, 0.5), (width - 0.5, 0.5), (width - 0.5, height - 0.5), (0.5, height - 0.5), (0.5, 0.5)]
    drawing.line(corners, LIGHT.grid, 1)
    y = 8.0
    for line in _wrap(slide.title, 11, width - 34, 3, bold=True):
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
    for statement in slide.statements:
        text = _(": ").join(filter(None, (statement.label, statement.text)))
        is_bold = statement.is_main or statement.is_large
        size = 18 if statement.is_large else 8.5 if is_bold else 7.5
        for line in _wrap(text, size, room, 6 if has_picture else 3, bold=is_bold):
            if text_y + size + 3 > foot - 2:
                break
            text_y += size + 3
            drawing.text((left, text_y), line, size, bold=is_bold)
        text_y += 3
    if slide.visual is not None:
        _draw_thumbnail(drawing, slide, (9, y + 4, edge, foot - y - 6))
    drawing.text((10, height - 5), shorten_to_width(slide.source, 6.5, width - 50), 6.5, LIGHT.quiet)
    drawing.text((width - 10, height - 5), str(place), 8, LIGHT.quiet, "end")
    return drawing.svg(slide.title)


def _wrap(text: str, size: float, room: float, most: int, bold: bool) -> list[str]:
    lines = wrap_text(text, size, room, bold)
    return lines if len(lines) <= most else [*lines[: most - 1], f"{lines[most - 1].rstrip()[:-1]}…"]


def _draw_thumbnail(drawing: Drawing, slide: StorySlide, box: Box) -> None:
    """The picture itself, made smaller; of a table the first rows."""
    visual = slide.visual
    left, top, width, height = box
    if isinstance(visual, Table):
        heads = tuple(column.title for column in visual.columns)
        for n, row in enumerate((heads, *visual.rows)[: int(height / 11)]):
            y, x = top + 11 * n + 8, left
            drawing.line([(left, y + 3), (left + width, y + 3)], drawing.theme.grid, 0.6)
            for column, cell in zip(visual.columns, (row.text,) if isinstance(row, Heading) else row, strict=False):
                room = width if isinstance(row, Heading) else width * column.share
                is_head = n == 0 or isinstance(row, Heading)
                drawing.text((x, y), shorten_to_width(cell.replace("\n", " "), 6.5, room - 3), 6.5, bold=is_head)
                x += room
    elif visual is not None:
        inner = visual_svg(visual, LIGHT, (2.4 * width, 2.4 * height))
        place = f'x="{left:g}" y="{top:g}" width="{width:g}" height="{height:g}"'
        drawing.parts.append(re.sub(r'width="\S+" height="\S+"', place, inner, count=1))
