"""A story as one HTML file: no script, nothing fetched, light or dark by the reader's setting, with a style for print.

Points show their value as a tooltip, and hovering a curve or its name fades the others: by CSS alone.

Names may come from anybody's files: all texts are escaped, and control characters that change the order of letters are removed.
"""

from __future__ import annotations

import base64
import hashlib
import html
import re
from collections.abc import Iterator
from dataclasses import dataclass

from core.deck.story import CORE_SLIDES, Heading, Statement, Story, StorySlide, Table
from core.figures.chart_svg import BY_STYLE, visual_svg
from core.figures.svg import DARK, FONT, LIGHT, Theme
from core.locale import DIRECTION_CONTROLS, _, speaking
from core.wording.numbers import day

MOST_BYTES = 3_000_000
"""Largest file; some 100 kB are usual."""
_CONTROL = re.compile(f"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ufffe\uffff\ud800-\udfff{DIRECTION_CONTROLS}]")


def _colours(theme: Theme) -> str:
    curves = "".join(f"--curve-{n}:{colour};" for n, colour in enumerate(theme.curves))
    return f"--paper:{theme.paper};--text:{theme.text};--quiet:{theme.quiet};--grid:{theme.grid};{curves}"


_DIMMED = "".join(f"svg:has(.s{n}:hover) .s:not(.s{n}){{opacity:.15}}" for n in range(8))
"""Fades the other series while a curve, its points or its name is hovered."""

_STYLE = f"""
:root{{color-scheme:light dark;{_colours(LIGHT)}--soft:#F4F6F9}}
@media screen and (prefers-color-scheme:dark){{:root{{{_colours(DARK)}--soft:#171C25}}}}
*{{box-sizing:border-box}}
body{{margin:0;background:var(--paper);color:var(--text);font:17px/1.55 {FONT};line-break:strict}}
header,main,footer{{max-width:1080px;margin:0 auto;padding:0 28px}}
header{{padding-top:44px}}
.quiet,.key,.source,.class{{color:var(--quiet);font-size:14px;overflow-wrap:anywhere}}
nav ol{{columns:2;column-gap:40px;padding-left:22px;font-size:15px}}
nav li{{break-inside:avoid;margin-bottom:5px}}
a{{color:var(--curve-0)}}
section{{border-top:3px solid var(--curve-0);margin:46px 0 0;padding-top:14px;scroll-margin-top:10px}}
h1,h2{{font-size:25px;line-height:1.3;margin:0 0 8px;text-wrap:balance;word-break:auto-phrase}}
section.later h2{{font-size:20px}}
.place{{float:right;color:var(--quiet);font-size:14px}}
.class{{border-left:4px solid var(--curve-1);padding-left:10px;margin:0 0 12px}}
.main{{font-size:20px;line-height:1.45}}
.row{{display:grid;grid-template-columns:minmax(0,1.9fr) minmax(0,1fr);gap:26px;align-items:start}}
.row>div p{{margin:0 0 10px}}
b.label{{color:var(--curve-0);margin-right:.5em}}
figure{{margin:6px 0}}
svg{{width:100%;height:auto;display:block}}
.scroll{{overflow-x:auto}}
table{{border-collapse:collapse;width:100%;font-size:15px;line-height:1.4;margin:8px 0}}
th,td{{text-align:left;padding:6px 10px;border-bottom:1px solid var(--grid);vertical-align:top;overflow-wrap:anywhere}}
th{{overflow-wrap:normal;word-break:auto-phrase}}
thead th{{border-bottom:2px solid var(--curve-0);vertical-align:bottom}}
tr.heading th{{background:var(--soft)}}
.number{{text-align:right;font-variant-numeric:tabular-nums}}
details{{margin:8px 0;font-size:15px}}
details>div{{border-left:2px solid var(--grid);padding-left:14px;overflow-wrap:anywhere}}
summary{{color:var(--quiet);cursor:pointer}}
footer{{margin-top:50px;padding-bottom:50px;color:var(--quiet);font-size:14px;overflow-wrap:anywhere}}
@media screen{{.s{{transition:opacity .15s}}{_DIMMED}tbody tr:hover{{background:var(--soft)}}}}
@media screen and (max-width:760px){{.row{{grid-template-columns:1fr}}nav ol{{columns:1}}}}
@page{{size:A4 landscape;margin:13mm 15mm 14mm}}
@page{{@bottom-right{{content:counter(page);font:10px sans-serif;color:#5F6B76}}}}
@media print{{
body{{font-size:13px;line-height:1.45}}
header,main,footer{{max-width:none;padding:0}}
header{{padding-top:0}}
nav,details{{display:none}}
section{{break-before:page;margin:0}}
header+main>section:first-child{{break-before:auto;margin-top:14px}}
h1,h2{{font-size:24px}}section.later h2{{font-size:17px}}
section.slide{{font-size:15.5px}}
section.later{{break-before:auto;margin-top:22px}}
a+section.later{{break-before:page;margin-top:0}}
.main{{font-size:18px}}
.row{{grid-template-columns:minmax(0,2.1fr) minmax(0,1fr)}}
figure,tr,p{{break-inside:avoid}}
h1,h2{{break-after:avoid}}
thead{{display:table-header-group}}
table{{font-size:13.5px}}section.later table{{font-size:11.5px}}
th,td{{padding:3.5px 7px}}
svg{{max-height:128mm}}
.row svg{{max-height:118mm}}
a{{color:inherit;text-decoration:none}}
}}
"""


@dataclass(frozen=True)
class Origin:
    """What made the file, written in its footer."""

    version: str
    recipe: str
    warehouse_id: str
    bundle: str = ""
    """Name of the file with the rows behind it, if one was written."""


def render_html(story: Story, origin: Origin) -> bytes:
    """The file, in UTF-8."""
    with speaking(story.language):
        return _page(story, origin).encode()


def _page(story: Story, origin: Origin) -> str:
    digest = base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()
    policy = f"default-src 'none'; style-src 'sha256-{digest}'; img-src data:; base-uri 'none'; form-action 'none'"
    slides = list(story)
    body = "".join(_section(slide, place) for place, slide in enumerate(slides, start=1))
    contents = "".join(
        f'<li><a href="#{_id(slide)}">{escape(slide.title)}</a></li>' for slide in slides[: max(CORE_SLIDES, 1)]
    )
    more = f'<p class="quiet"><a href="#appendix">{_("Appendix")}</a></p>' if story.appendix else ""
    origin_line = _("Workdim {version}, recipe {recipe}, warehouse {warehouse}.").format(
        version=escape(origin.version), recipe=escape(origin.recipe), warehouse=escape(origin.warehouse_id)
    )
    runs = _("Runs {ids}").format(ids=escape(_(", ").join(story.run_ids)))
    bundle = _("The rows behind it: {file}.").format(file=escape(origin.bundle)) if origin.bundle else ""
    return (
        f'<!DOCTYPE html>\n<html lang="{story.language}">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<meta name="referrer" content="no-referrer">\n<meta name="robots" content="noindex">\n'
        f"<title>{escape(story.title)}</title>\n<style>{_STYLE}</style>\n</head>\n<body>\n"
        f'<header><p class="quiet">Workdim · {day(story.made_on)}</p>'
        f'<nav aria-label="{_("Contents")}"><ol>{contents}</ol>{more}</nav></header>\n'
        f"<main>{body}</main>\n<footer><p>{origin_line} {bundle}</p><p>{runs}</p></footer>\n</body>\n</html>\n"
    )


def escape(text: str) -> str:
    """A text as HTML, without control characters."""
    return html.escape(_without_control_characters(text), quote=True)


def _without_control_characters(text: str) -> str:
    return _CONTROL.sub("", text)


def _id(slide: StorySlide) -> str:
    return escape(re.sub(r"[^\w-]", "-", slide.key))


def _section(slide: StorySlide, place: int) -> str:
    later, heading = place > CORE_SLIDES, "h1" if place == 1 else "h2"
    anchor = '<a id="appendix"></a>' if place == CORE_SLIDES + 1 else ""
    parts = [
        f'{anchor}<section id="{_id(slide)}" class="{"later" if later else "slide"}">',
        f'<span class="place">{_("Appendix") + " " if later else ""}{place - CORE_SLIDES if later else place}</span>',
        f"<{heading}>{escape(slide.title)}</{heading}>",
    ]
    if slide.use_class:
        parts.append(f'<p class="class">{escape(slide.use_class)}</p>')
    statements = "".join(map(_statement, slide.statements))
    visual = _visual(slide)
    is_beside = bool(visual and statements and not isinstance(slide.visual, Table))
    parts.append(
        f'<div class="row">{visual}<div>{statements}</div></div>' if is_beside else f"<div>{statements}</div>{visual}"
    )
    if slide.speech or slide.sources:
        speech, sources = (
            "".join(f"<p>{escape(text)}</p>" for text in texts) for texts in (slide.speech, slide.sources)
        )
        summary = _("What to say, and the sources")
        parts.append(
            f'<details><summary>{summary}</summary><div>{speech}<div class="source">{sources}</div></div></details>'
        )
    if slide.source:
        parts.append(f'<p class="source">{escape(slide.source)}</p>')
    return "".join([*parts, "</section>\n"])


def _statement(statement: Statement) -> str:
    label = f'<b class="label">{escape(statement.label)}</b>' if statement.label else ""
    return f"<p{' class=main' if statement.is_main else ''}>{label}{escape(statement.text)}</p>"


def _visual(slide: StorySlide) -> str:
    visual = slide.visual
    if visual is None:
        return ""
    key = f'<figcaption class="key">{escape(visual.key)}</figcaption>' if visual.key else ""
    if isinstance(visual, Table):
        return f'<div class="scroll">{"".join(_table(visual))}</div>{key}'
    alone = not slide.statements
    svg = _without_control_characters(visual_svg(visual, BY_STYLE, (1000.0, 430.0) if alone else (700.0, 430.0)))
    return f"<figure>{svg}{key}</figure>"


def _table(table: Table) -> Iterator[str]:
    kinds = [' class="number"' if column.is_number else "" for column in table.columns]
    heads = "".join(
        f'<th scope="col"{kind}>{escape(column.title)}</th>' for column, kind in zip(table.columns, kinds, strict=True)
    )
    shares = "".join(f'<col width="{column.share:.0%}">' for column in table.columns)
    yield f'<table aria-label="{escape(table.alternative)}"><colgroup>{shares}</colgroup><thead><tr>{heads}</tr></thead><tbody>'
    for row in table.rows:
        if isinstance(row, Heading):
            yield f'<tr class="heading"><th colspan="{len(table.columns)}">{escape(row.text)}</th></tr>'
        else:
            cells = "".join(f"<td{kind}>{escape(cell)}</td>" for cell, kind in zip(row, kinds, strict=True))
            yield f"<tr>{cells}</tr>"
    yield "</tbody></table>"
