"""A story in a browser: as one HTML file, and its slides as thumbnails on the report page.

The file has no script and fetches nothing; it is light or dark by the reader's setting, with a style for print.

Points show their value as a tooltip, and hovering a curve or its name fades the others: by CSS alone.

Names may come from anybody's files: all texts are escaped; a story has no control characters.
"""

from __future__ import annotations

import base64
import functools
import hashlib
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import groupby
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from core.deck.story import Heading, Origin, Row, Story, StorySlide, Table, cleaned
from core.figures.chart import Blocks
from core.figures.svg import BLOCK_WIDTH, BY_STYLE, DARK, FONT, LIGHT, Box, Drawing, Theme, visual_svg
from core.figures.text import shorten_to_width, wrap_text
from core.locale import _, speaking
from core.wording.labels import day

MOST_BYTES = 3_000_000
"""Largest file; some 100 kB are usual."""
FEWEST_BLOCKS_WIDTH = 400.0
"""Pixels that the words above a row of blocks need."""


def render_html(story: Story, origin: Origin, bundle: str = "") -> bytes:
    """The file, in UTF-8; `bundle` is the name of the file with the rows behind it, if one was written."""
    style = _templates().get_template("report.css").render(colours=_colours, light=LIGHT, dark=DARK, font=FONT)
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    policy = f"default-src 'none'; style-src 'sha256-{digest}'; img-src data:; base-uri 'none'; form-action 'none'"
    with speaking(story.language):
        page = (
            _templates()
            .get_template("report.html")
            .render(
                story=replace(story, appendix=tuple(_whole(parts) for parts in _sections(story.appendix))),
                day=day(story.made_on),
                words=_words(story, origin, bundle),
                style=Markup(style),
                policy=Markup(policy),
                svg=_svg,
                is_table=lambda visual: isinstance(visual, Table),
            )
        )
    return f"{page}\n".encode()


@functools.cache
def _templates() -> Environment:
    """Every text is escaped by the template, unless it is `Markup` of ours."""
    loader = FileSystemLoader(Path(__file__).parent)
    return Environment(loader=loader, autoescape=lambda name: name == "report.html", undefined=StrictUndefined)


def _colours(theme: Theme) -> str:
    curves = "".join(f"--curve-{n}:{colour};" for n, colour in enumerate(theme.curves))
    return f"--paper:{theme.paper};--text:{theme.text};--quiet:{theme.quiet};--grid:{theme.grid};{curves}"


def _words(story: Story, origin: Origin, bundle: str) -> dict[str, str]:
    made, recipe = _("Workdim {version}, report {recipe}, warehouse {warehouse}."), origin.recipe.recipe_id
    return {
        "details": _("What to say, and the sources"),
        "origin": made.format(version=origin.version, recipe=recipe, warehouse=origin.warehouse_id),
        "bundle": _("The rows behind it: {file}.").format(file=cleaned(bundle)) if bundle else "",
        "runs": "" if story.appendix or not story.run_ids else _("Runs {ids}").format(ids=_(", ").join(story.run_ids)),
    }


def _sections(slides: Iterable[StorySlide]) -> Iterator[list[StorySlide]]:
    """Slides that continue each other stand together."""
    for _section, parts in groupby(slides, lambda slide: slide.key.partition("-")[0]):
        yield list(parts)


def _whole(parts: Sequence[StorySlide]) -> StorySlide:
    """A table that a deck spreads over several slides: here it is one, and a heading that continues stands once."""
    table = parts[0].visual
    if len(parts) == 1 or not isinstance(table, Table):
        return parts[0]
    rows: list[Row] = []
    heading: Row | None = None
    for row in (row for part in parts if isinstance(part.visual, Table) for row in part.visual.rows):
        if row != heading:
            rows.append(row)
        heading = row if isinstance(row, Heading) else heading
    title = parts[0].title.removesuffix(f" (1/{len(parts)})")
    return replace(parts[0], title=title, visual=replace(table, rows=tuple(rows)))


def _svg(slide: StorySlide) -> Markup:
    """The picture of a slide, whose texts are escaped where they are drawn."""
    assert slide.visual is not None and not isinstance(slide.visual, Table)
    size = (700.0, 430.0) if slide.statements else (1000.0, 430.0)
    if isinstance(slide.visual, Blocks):  # few are drawn as large as many
        size = (min(size[0], max(FEWEST_BLOCKS_WIDTH, BLOCK_WIDTH * len(slide.visual.blocks) + 8)), size[1])
    return Markup(visual_svg(slide.visual, BY_STYLE, size))


# --- thumbnails ------------------------------------------------------------------------------------------------

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
