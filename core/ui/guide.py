"""The screen Guide: docs/guide.md, with tables filled from the warehouse, the checks and the glossary; also to print."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator
from dataclasses import astuple, dataclass
from functools import lru_cache
from pathlib import Path

import polars as pl
import streamlit as st
from jinja2 import Environment, FileSystemLoader
from markdown_it import MarkdownIt
from markupsafe import Markup

from core import wording
from core.analysis.ranking import own_runs
from core.figures.svg import LIGHT
from core.locale import _, glossary, spoken
from core.questions.ranking_question import RankingQuestion
from core.registry.checks import CHECKS, Check
from core.ui import inputs, language, pictures, reads
from core.ui.markdown import escape
from core.wording import answers as answer_wording
from core.wording import plans as plan_wording
from core.wording.numbers import number, with_interval

DOCS = Path(__file__).resolve().parents[2] / "docs"
FILES = {"en": DOCS / "guide.md", "ja": DOCS / "guide.ja.md"}
_PICTURE = re.compile(r"!\[(?P<alt>[^\]]*)\]\((?P<file>figures/[\w.]+\.svg)\)")
_PLACE = re.compile(r"<!-- (\w+) -->")
_WIDE = "\u3000-\u9fff\uff00-\uffef"
_LINE_END = re.compile(rf"(?<=[{_WIDE}])\n *(?=[{_WIDE}A-Za-z`])|(?<=[A-Za-z`)])\n *(?=[{_WIDE}])")
"""A line end in a Japanese sentence, which Markdown would show as a space; no new item of a list begins there."""
_LINK = re.compile(r"\[([^\]]*)\]\([\w.]+\.md\)")
"""A link to another document, which neither the app nor the printed file contains."""
MAX_HITS = 30


@dataclass(frozen=True)
class Section:
    title: str
    blocks: tuple[str, ...]
    """Paragraphs, lists, tables, pictures and places for generated tables, as Markdown."""


def sections() -> tuple[Section, ...]:
    """The sections of the guide in the reader's language, without the head of the file."""
    return _sections(FILES.get(spoken(), FILES["en"]))


@lru_cache(maxsize=4)
def _sections(file: Path) -> tuple[Section, ...]:
    text = _LINE_END.sub("", _LINK.sub(r"\1", file.read_text(encoding="utf-8")))
    parsed = []
    for part in text.split("\n## ")[1:]:
        title, _, body = part.partition("\n")
        parsed.append(
            Section(title.strip(), tuple(block.strip() for block in re.split(r"\n{2,}", body) if block.strip()))
        )
    return tuple(parsed)


def show() -> None:
    """Draw a search field, and the section chosen or the hits of the search."""
    guide = sections()
    words = st.text_input(_("Search the guide"), key="guide search", icon=":material/search:").strip()
    if words:
        _show_hits(guide, words)
        return
    titles = {number: section.title for number, section in enumerate(guide, 1)}
    chosen = inputs.choose(_("Chapter"), titles, "section", label_visibility="collapsed")
    st.subheader(escape(guide[chosen - 1].title))
    for block in guide[chosen - 1].blocks:
        _show_block(block)


def _show_hits(guide: tuple[Section, ...], words: str) -> None:
    hits = [
        (section.title, block)
        for section in guide
        for block in section.blocks
        for block in _matching_parts(block, words)
    ]
    st.caption(_("Found: {n}").format(n=len(hits)))
    last_title = ""
    for title, block in hits[:MAX_HITS]:
        if title != last_title:
            st.subheader(escape(title))
        last_title = title
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
    for light, own in zip(_colours(astuple(LIGHT)), _colours(astuple(pictures.theme())), strict=True):
        svg = svg.replace(light, own)
    return svg


def _colours(theme: tuple) -> list[str]:
    *single, curves = theme
    return [*single, *curves]


# --- generated tables ------------------------------------------------------------------------------------------


def _markdown(block: str) -> str:
    """A block, or the table generated in its place."""
    place = _PLACE.fullmatch(block)
    return _GENERATED[place[1]]() if place else block


def _glossary_table() -> str:
    other_lang = "en" if spoken() == "ja" else "ja"
    header = f"| {_('Term')} | {language.LANGUAGES[other_lang]} | {_('Meaning')} |\n| --- | --- | --- |\n"
    return header + "\n".join(
        f"| **{term.name(spoken())}** | {term.name(other_lang)} | {term.meaning(spoken())} |" for term in glossary()
    )


def _check_table() -> str:
    header = (
        f"| {_('Check')} | {_('warning above')} | {_('veto above')} | {_('Meaning')} |\n| --- | ---: | ---: | --- |\n"
    )
    checks = [check for check in CHECKS.values() if check.is_judged]
    return header + "\n".join(
        f"| {wording.name('check', check.key)} | {_limit_text(check, check.warn)} | {_limit_text(check, check.veto)} "
        f"| {wording.check_meaning(check.key)} |"
        for check in checks
    )


def _limit_text(check: Check, value: float) -> str:
    if math.isinf(value):
        return "–"
    return f"±{math.expm1(value):.0%}" if check.is_log_change else number(value)


def _phrase_list() -> str:
    """The phrases as a list, each with its caution."""
    return "\n".join(f"- **{escape(sentence)}**  \n  {escape(caution)}" for sentence, caution in phrases())


def phrases() -> list[tuple[str, str]]:
    """Sentences for a meeting from the numbers of this warehouse, each with the caution to add."""
    runs = reads.lists().runs.filter(pl.col("pass") == "text")
    if runs.is_empty():
        return [(_("Nothing has been measured here yet."), _("There is nothing to be said."))]
    pairs = [
        (measured_text(runs), _("Only runs of one text, one protocol and one tokenizer are held against each other."))
    ]
    home = reads.home_data(reads.own_first(runs)["run_id"].head(1).to_list(), [])
    for run in home.runs.filter(pl.col("inner_max").is_not_null()).head(1).iter_rows(named=True):
        pairs.append(
            (
                _("On {text}, {name} uses {value} directions at most, at layer {layer} (estimated, d2, N={n}).").format(
                    text=run["corpus_name"],
                    name=run["name"],
                    value=with_interval(run["inner_max"], run["inner_max_lower"], run["inner_max_upper"]),
                    layer=run["inner_max_layer"],
                    n=f"{run['n_points']:,}",
                ),
                _("An estimate on one text, and no score: neither more nor fewer is better."),
            )
        )
    relation = reads.relation(RankingQuestion())
    pairs.append(
        (
            answer_wording.answer_text(relation),
            _("These models and this task only; a relation is no cause, and it foretells no other model's score."),
        )
    )
    if home.saving is not None:
        pairs.append(
            (
                plan_wording.named_answer_text(home.saving),
                _("A price on held-out text; the shortened model must be tested on the task itself."),
            )
        )
    return pairs


def measured_text(runs: pl.DataFrame) -> str:
    """What was measured here, and apart from it what comes with Workdim. `runs` are on text."""
    own = own_runs(runs)
    sentences = []
    for template, among in (
        (_("Measured here so far – models: {models}, texts: {texts}, runs: {runs}."), own),
        (
            _("What comes with Workdim – models: {models}, texts: {texts}, runs: {runs}."),
            runs.join(own, on="run_id", how="anti"),
        ),
    ):
        n_models, n_texts = among["model_id"].n_unique(), among["corpus_id"].n_unique()
        sentences.append(template.format(models=n_models, texts=n_texts, runs=among.height) if among.height else "")
    return wording.joined_sentences((sentences[0] or _("Nothing has been measured here yet."), sentences[1]))


_GENERATED: dict[str, Callable[[], str]] = {
    "glossary": _glossary_table,
    "checks": _check_table,
    "phrases": _phrase_list,
}


# --- to print --------------------------------------------------------------------------------------------------


def printable() -> bytes:
    """The whole guide as one HTML file with the current numbers."""
    template = Environment(loader=FileSystemLoader(Path(__file__).parent), autoescape=True).get_template("guide.html")
    filled = [(section, [_block_html(block) for block in section.blocks]) for section in sections()]
    page = template.render(language=spoken(), title=_("Workdim: guide"), sections=filled)
    return f"{page}\n".encode()


def _block_html(block: str) -> Markup:
    picture = _PICTURE.fullmatch(block)
    if picture:
        return Markup((DOCS / picture["file"]).read_text(encoding="utf-8"))
    return Markup(MarkdownIt("commonmark", {"html": False}).enable("table").render(_markdown(block)))
