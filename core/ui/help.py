"""The screen Help: docs/guide.md, with phrases filled from the warehouse; also to print."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import astuple
from pathlib import Path

import polars as pl
import streamlit as st
from jinja2 import Environment, FileSystemLoader
from markdown_it import MarkdownIt
from markupsafe import Markup

from core import wording
from core.analysis.ranking import own_runs
from core.figures.svg import LIGHT
from core.files import PROJECT
from core.locale import _, spoken
from core.questions.ranking_question import RankingQuestion
from core.tables import Run, ids_of, records
from core.ui import inputs, pictures, reads
from core.ui.language import escape
from core.wording import answers as answer_wording
from core.wording import plans as plan_wording

DOCS = PROJECT / "docs"
FILES = {"en": DOCS / "guide.md", "ja": DOCS / "guide.ja.md"}
_PICTURE = re.compile(r"!\[(?P<alt>[^\]]*)\]\((?P<file>figures/[\w.]+\.svg)\)")
PHRASES = "<!-- phrases -->"
"""The block in whose place the phrases stand."""
_WIDE = "\u3000-\u9fff\uff00-\uffef"
_LINE_END = re.compile(rf"(?<=[{_WIDE}])\n *(?=[{_WIDE}A-Za-z`])|(?<=[A-Za-z`)])\n *(?=[{_WIDE}])")
"""A line end in a Japanese sentence, which Markdown would show as a space; no new item of a list begins there."""
_LINK = re.compile(r"\[([^\]]*)\]\([\w.]+\.md\)")
"""A link to another document, which neither the app nor the printed file contains."""
TOPICS = (
    "measured",
    "pictures",
    "reading",
    "protocols",
    "limits",
    "procedure",
    "checklist",
    "phrases",
    "rules",
    "glossary",
)
"""Name of each section in an address, in their order: `help?topic=glossary`."""
MAX_HITS = 30


def sections() -> dict[str, list[str]]:
    """The sections of the guide in the reader's language by their titles, without the head of the file: paragraphs, lists,
    tables, pictures and places for generated parts, as Markdown."""
    text = FILES.get(spoken(), FILES["en"]).read_text(encoding="utf-8")
    parts = (part.partition("\n") for part in _LINE_END.sub("", _LINK.sub(r"\1", text)).split("\n## ")[1:])
    return {
        title.strip(): [block.strip() for block in re.split(r"\n{2,}", body) if block.strip()]
        for title, _newline, body in parts
    }


def show() -> None:
    """Draw a search field, and the section chosen or the hits of the search."""
    guide = sections()
    words = st.text_input(_("Search the guide"), key="guide search", icon=":material/search:").strip()
    if words:
        hits = [(title, part) for title in guide for block in guide[title] for part in _matching_parts(block, words)]
        st.caption(_("Found: {n}", n=len(hits)))
        last_title = ""
        for title, part in hits[:MAX_HITS]:
            if title != last_title:
                st.subheader(escape(title))
            last_title = title
            _show_block(part)
        return
    titles = dict(zip(TOPICS, guide, strict=True))
    title = titles[inputs.choose(_("Chapter"), titles, "topic", label_visibility="collapsed")]
    st.subheader(escape(title))
    for block in guide[title]:
        _show_block(block)


def _matching_parts(block: str, words: str) -> Iterator[str]:
    """The parts of a block that contain the words: the whole block, or of a table its title and the matching rows."""
    text = _markdown(block)
    if words.casefold() not in text.casefold():
        return
    rows = text.split("\n")
    if rows[0].startswith("|") and words.casefold() not in rows[0].casefold():
        yield "\n".join([*rows[:2], *(row for row in rows[2:] if words.casefold() in row.casefold())])
    else:
        yield text


def _show_block(block: str) -> None:
    picture = _PICTURE.fullmatch(block)
    if picture:
        st.image(_svg_in_theme((DOCS / picture["file"]).read_text(encoding="utf-8")), width=900, alt=picture["alt"])
    elif block.startswith("### "):
        st.markdown(f"**{block.removeprefix('### ')}**")
    else:
        st.markdown(_markdown(block))


def _svg_in_theme(svg: str) -> str:
    """A stored drawing, which has the light theme, in the reader's theme."""
    colours = ([*single, *curves] for *single, curves in (astuple(LIGHT), astuple(pictures.theme())))
    for light, own in zip(*colours, strict=True):
        svg = svg.replace(light, own)
    return svg


# --- generated parts -------------------------------------------------------------------------------------------


def _markdown(block: str) -> str:
    """A block, or in the place of the phrases a list of them, each with its caution."""
    if block != PHRASES:
        return block
    return "\n".join(f"- **{escape(sentence)}**  \n  {escape(caution)}" for sentence, caution in phrases())


def phrases() -> Iterator[tuple[str, str]]:
    """Sentences for a meeting from the numbers of this warehouse, each with the caution to add."""
    runs = reads.lists().runs.filter(pl.col("pass") == "text")
    if runs.is_empty():
        yield _("Nothing has been measured here yet."), _("There is nothing to be said.")
        return
    yield measured_text(runs), _("Only runs of one text, protocol and tokenizer compare.")
    newest = reads.start_data(ids_of(reads.own_first(runs).head(1)))
    for run in records(newest.runs.filter(pl.col("inner_max").is_not_null()).head(1), Run):
        yield (
            _(
                "On {text}, {name} reaches dimension {value} at layer {layer} (d2, N={n}).",
                text=run.corpus_name,
                name=run.name,
                value=wording.interval_of(run, "inner_max"),
                layer=run.inner_max_layer,
                n=f"{run.n_points:,}",
            ),
            _("On one text; neither more nor fewer is better."),
        )
    relation = reads.relation(RankingQuestion())
    yield (answer_wording.answer_text(relation), _("These models and task only: no cause, no forecast."))
    if (plan := reads.cheapest_plan(reads.shows_reference())) is not None:
        yield (plan_wording.plan_text(plan), _("Test the shortened model on your task."))


def measured_text(runs: pl.DataFrame) -> str:
    """What was measured here, and apart from it what comes with Workdim. `runs` are on text."""
    own = own_runs(runs)
    shipped = runs.join(own, on="run_id", how="anti")
    template = _("{where} – models: {models}, texts: {texts}, runs: {runs}.")
    return wording.joined_sentences(
        template.format(
            where=where, models=some["model_id"].n_unique(), texts=some["corpus_id"].n_unique(), runs=some.height
        )
        for where, some in ((_("Measured here"), own), (_("Shipped with Workdim"), shipped))
    )


# --- to print --------------------------------------------------------------------------------------------------


def printable() -> bytes:
    """The whole guide as one HTML file with the current numbers."""
    template = Environment(loader=FileSystemLoader(Path(__file__).parent), autoescape=True).get_template("help.html")
    filled = {title: [_block_html(block) for block in blocks] for title, blocks in sections().items()}
    page = template.render(language=spoken(), title=_("Workdim: guide"), sections=filled)
    return f"{page}\n".encode()


def _block_html(block: str) -> Markup:
    picture = _PICTURE.fullmatch(block)
    if picture:
        return Markup((DOCS / picture["file"]).read_text(encoding="utf-8"))
    return Markup(MarkdownIt("commonmark", {"html": False}).enable("table").render(_markdown(block)))
