"""A story in a browser: as one HTML file, and its slides in small on the report page.

The file has no script and fetches nothing; it is light or dark by the reader's setting, with a style for print.

Points show their value as a tooltip, and hovering a curve or its name fades the others: by CSS alone.

Names may come from anybody's files: all texts are escaped; a story has no control characters.
"""

from __future__ import annotations

import base64
import functools
import hashlib
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from core.deck import layout
from core.deck.story import Origin, Story, StorySlide, Table, cleaned
from core.figures.svg import BY_STYLE, DARK, FONT, LIGHT, Theme, visual_svg
from core.locale import _, speaking, spoken
from core.wording.labels import day

MOST_BYTES = 3_000_000
"""Largest file; some 100 kB are usual."""


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
                story=story,
                day=day(story.made_on),
                words=_words(story, origin, bundle),
                style=Markup(style),
                policy=Markup(policy),
                svg=lambda slide: _svg(slide, BY_STYLE, 700.0 if slide.statements else 1000.0, 430.0),
            )
        )
    return f"{page}\n".encode()


@functools.cache
def _templates() -> Environment:
    """Every text is escaped by the template, unless it is `Markup` of ours."""
    loader = FileSystemLoader(Path(__file__).parent)
    return Environment(loader=loader, autoescape=lambda name: name != "report.css", undefined=StrictUndefined)


def _colours(theme: Theme) -> str:
    curves = "".join(f"--curve-{n}:{colour};" for n, colour in enumerate(theme.curves))
    return f"--paper:{theme.paper};--text:{theme.text};--quiet:{theme.quiet};--grid:{theme.grid};{curves}"


def _words(story: Story, origin: Origin, bundle: str) -> dict[str, str]:
    made = {"version": origin.version, "recipe": origin.recipe.recipe_id, "warehouse": origin.warehouse_id}
    return {
        "details": _("What to say, and the sources"),
        "origin": _("Workdim {version}, report {recipe}, warehouse {warehouse}.", **made),
        "bundle": _("The rows behind it: {file}.", file=cleaned(bundle)) if bundle else "",
        "runs": "" if story.appendix or not story.run_ids else _("Runs {ids}", ids=story.run_ids),
    }


def _svg(slide: StorySlide, theme: Theme, width: float, height: float) -> Markup:
    """The picture of a slide, whose texts are escaped where they are drawn; of a table, which the template draws, none."""
    visual = slide.visual
    return Markup("" if visual is None or isinstance(visual, Table) else visual_svg(visual, theme, (width, height)))


def slide_outline(slide: StorySlide, place: int) -> str:
    """A slide to be looked at on a screen: its texts have the places and sizes that they have in PowerPoint, so what fits
    there is whole here."""
    box = layout.CHART_BOX if slide.statements else layout.BODY_BOX
    beside = layout.STATEMENT_BOX if slide.visual else layout.BODY_BOX
    sizes, texts = range(20, 9, -1), layout.paragraphs(slide.statements)
    key = layout.key_height(slide.visual.key, box[2]) if slide.visual else 0.0
    width, height = 72 * box[2], 72 * (box[3] - key)
    return (
        _templates()
        .get_template("outline.svg")
        .render(
            slide=slide,
            place=place,
            points=layout.fitting_size(texts, layout.below_large(slide.statements, beside), sizes),
            cell=layout.table_size(slide.visual, *box[2:], sizes) if isinstance(slide.visual, Table) else 0,
            line=layout.line_height(slide.title),
            width=width,
            height=height,
            left=72 * beside[0],
            svg=_svg(slide, LIGHT, width, height),
            theme=LIGHT,
            font=Markup(FONT),
            language=spoken(),
        )
    )
