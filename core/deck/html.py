"""A story as one HTML file: no script, nothing fetched, light or dark by the reader's setting, with a style for print.

Points show their value as a tooltip, and hovering a curve or its name fades the others: by CSS alone.

Names may come from anybody's files: all texts are escaped; a story has no control characters.
"""

from __future__ import annotations

import base64
import functools
import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import groupby
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from core.deck.slide import cleaned
from core.deck.story import Heading, Origin, Row, Story, StorySlide, Table
from core.figures.chart import Blocks
from core.figures.svg import BLOCK_WIDTH, BY_STYLE, DARK, FONT, LIGHT, Theme, visual_svg
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
