"""The Guide: docs/guide.md on a screen and as one file to print, with what the warehouse, the checks and the glossary fill in."""

from __future__ import annotations

import html
import math
import re
from collections.abc import Callable, Iterator
from dataclasses import astuple, dataclass
from functools import lru_cache
from pathlib import Path

import polars as pl
import streamlit as st
from markdown_it import MarkdownIt

from core import wording
from core.analysis.question import RankingQuestion
from core.analysis.ranking import newest_runs
from core.figures.svg import LIGHT
from core.locale import glossary, translator
from core.registry.checks import CHECKS, Check
from core.ui import inputs, language, pictures, reads
from core.ui.markdown import escape
from core.wording import answers, plans
from core.wording.numbers import number, with_interval

DOCS = Path(__file__).resolve().parents[2] / "docs"
FILES = {"en": DOCS / "guide.md", "ja": DOCS / "guide.ja.md"}
_PICTURE = re.compile(r"!\[(?P<told>[^\]]*)\]\((?P<file>figures/[\w.]+\.svg)\)")
_FILLED = re.compile(r"<!-- (\w+) -->")
_WITHIN = re.compile(r"(?<=[^\x00-\x7f])\n(?=[^\x00-\x7f])")
"""A line end in a Japanese sentence, which Markdown would show as a space."""
_LINK = re.compile(r"\[([^\]]*)\]\([\w.]+\.md\)")
"""To another document, which no page of the app and no printed file leads to."""
MOST_HITS = 30


@dataclass(frozen=True)
class Section:
    title: str
    blocks: tuple[str, ...]
    """Paragraphs, lists, tables, pictures and places to be filled, as Markdown."""


@lru_cache(maxsize=4)
def sections(lang: str) -> tuple[Section, ...]:
    """The guide without its head, which is for readers of the files."""
    text = _WITHIN.sub("", _LINK.sub(r"\1", FILES.get(lang, FILES["en"]).read_text(encoding="utf-8")))
    found = []
    for part in text.split("\n## ")[1:]:
        title, _, body = part.partition("\n")
        found.append(
            Section(title.strip(), tuple(block.strip() for block in re.split(r"\n{2,}", body) if block.strip()))
        )
    return tuple(found)


def show() -> None:
    """A section at a time, or whatever the reader looks for."""
    _ = language.translator()
    known = sections(language.current())
    asked = st.text_input(_("Search the guide"), key="guide search", icon=":material/search:").strip()
    if asked:
        _show_hits(known, asked)
        return
    numbers = list(range(1, len(known) + 1))
    chosen = inputs.choose(
        _("Chapter"), numbers, "section", 1, lambda n: known[n - 1].title, label_visibility="collapsed"
    )
    st.subheader(escape(known[chosen - 1].title))
    for block in known[chosen - 1].blocks:
        _show(block)


def _show_hits(known: tuple[Section, ...], asked: str) -> None:
    _ = language.translator()
    hits = [(one.title, block) for one in known for block in one.blocks for block in _lines(block, asked)]
    st.caption(_("Found: {n}").format(n=len(hits)))
    before = ""
    for title, block in hits[:MOST_HITS]:
        if title != before:
            st.subheader(escape(title))
        before = title
        _show(block)


def _lines(block: str, asked: str) -> Iterator[str]:
    """Of a block what holds the words: all of it, of a long list or a filled table only those lines."""
    filled = _FILLED.fullmatch(block)
    text = _fill(filled[1], language.current()) if filled else block
    if asked.casefold() not in text.casefold():
        return
    rows = text.split("\n")
    if rows[0].startswith("|") and asked.casefold() not in rows[0].casefold():
        yield "\n".join([*rows[:2], *(row for row in rows[2:] if asked.casefold() in row.casefold())])
    else:
        yield text


def _show(block: str) -> None:
    picture, filled = _PICTURE.fullmatch(block), _FILLED.fullmatch(block)
    if picture:
        st.image(_in_theme((DOCS / picture["file"]).read_text(encoding="utf-8")), width=900, alt=picture["told"])
    elif block.startswith("### "):
        st.markdown(f"**{block.removeprefix('### ')}**")
    else:
        st.markdown(_fill(filled[1], language.current()) if filled else block)


def _in_theme(drawn: str) -> str:
    """The stored drawing, which is on white paper, in the reader's theme."""
    for light, own in zip(_colours(astuple(LIGHT)), _colours(astuple(pictures.theme())), strict=True):
        drawn = drawn.replace(light, own)
    return drawn


def _colours(theme: tuple) -> list[str]:
    *single, curves = theme
    return [*single, *curves]


# --- what is filled in -----------------------------------------------------------------------------------------


def _fill(name: str, lang: str) -> str:
    return _FILLS[name](lang)


def _glossary(lang: str) -> str:
    _ = translator(lang)
    other = "en" if lang == "ja" else "ja"
    head = f"| {_('Term')} | {language.LANGUAGES[other]} | {_('Meaning')} |\n| --- | --- | --- |\n"
    return head + "\n".join(f"| **{one.name(lang)}** | {one.name(other)} | {one.meaning(lang)} |" for one in glossary())


def _checks(lang: str) -> str:
    _ = translator(lang)
    head = (
        f"| {_('Check')} | {_('warning above')} | {_('veto above')} | {_('Meaning')} |\n| --- | ---: | ---: | --- |\n"
    )
    judged = [check for check in CHECKS.values() if check.is_judged]
    return head + "\n".join(
        f"| {wording.name('check', one.key, lang)} | {_limit(one, one.warn)} | {_limit(one, one.veto)} "
        f"| {wording.check_meaning(one.key, lang)} |"
        for one in judged
    )


def _limit(check: Check, value: float) -> str:
    if math.isinf(value):
        return "–"
    return f"±{math.expm1(value):.0%}" if check.is_log_change else number(value)


def _phrases(lang: str) -> str:
    """Each with what it does not say."""
    return "\n".join(f"- **{escape(said)}**  \n  {escape(caution)}" for said, caution in phrases(lang))


def phrases(lang: str) -> list[tuple[str, str]]:
    """What can be said in a meeting with the numbers of this warehouse, and what must be added to it."""
    _ = translator(lang)
    runs = reads.lists().runs.filter(pl.col("pass") == "text")
    if runs.is_empty():
        return [(_("Nothing has been measured here yet."), _("There is nothing to be said."))]
    said = _("We have measured {models} models on {texts} texts, {runs} runs in all.").format(
        models=runs["model_id"].n_unique(), texts=runs["corpus_name"].n_unique(), runs=runs.height
    )
    found = [(said, _("Only runs of one text, one protocol and one tokenizer are held against each other."))]
    home = reads.home_data(newest_runs(reads.own_first(runs))["run_id"].head(1).to_list(), runs)
    for run in home.runs.filter(pl.col("inner_max").is_not_null()).head(1).iter_rows(named=True):
        found.append(
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
    found.append(
        (
            answers.sentence(relation, lang),
            _("These models and this task only; a relation is no cause, and it foretells no other model's score."),
        )
    )
    if home.saving is not None:
        found.append(
            (
                f"{plans.brief(home.saving, lang)} ({plans.cost(home.saving, lang)})",
                _("A price on held-out text; the shortened model must be tested on the task itself."),
            )
        )
    return found


_FILLS: dict[str, Callable[[str], str]] = {"glossary": _glossary, "checks": _checks, "phrases": _phrases}


# --- to print --------------------------------------------------------------------------------------------------

_STYLE = """
@page { size: A4; margin: 18mm; }
body { font-family: system-ui, 'Noto Sans', 'Noto Sans CJK JP', 'Hiragino Sans', Meiryo, sans-serif; max-width: 46rem;
  margin: 2rem auto; padding: 0 1rem; line-height: 1.65; color: #1F2933; }
h1, h2, h3 { line-height: 1.3; break-after: avoid; } h2 { border-top: 2px solid #E3E7EC; padding-top: 1rem; }
table { border-collapse: collapse; width: 100%; font-size: 0.88rem; } tr { break-inside: avoid; }
th, td { border-bottom: 1px solid #E3E7EC; padding: 0.35rem 0.6rem; text-align: left; vertical-align: top; }
svg { width: 100%; height: auto; break-inside: avoid; } a { color: inherit; }
"""


def to_print(lang: str) -> bytes:
    """The whole guide as one HTML file that needs nothing beside it, with the numbers of this moment."""
    _ = translator(lang)
    turn = MarkdownIt("commonmark", {"html": False}).enable("table").render
    known = sections(lang)
    parts = [f"<h1>{html.escape(_('Workdim: guide'))}</h1>", "<ol>"]
    parts += [f'<li><a href="#s{n}">{html.escape(one.title)}</a></li>' for n, one in enumerate(known, 1)]
    parts.append("</ol>")
    for n, one in enumerate(known, 1):
        parts.append(f'<h2 id="s{n}">{html.escape(one.title)}</h2>')
        for block in one.blocks:
            picture, filled = _PICTURE.fullmatch(block), _FILLED.fullmatch(block)
            if picture:
                parts.append((DOCS / picture["file"]).read_text(encoding="utf-8"))
            else:
                parts.append(turn(_fill(filled[1], lang) if filled else block))
    return (
        f'<!DOCTYPE html>\n<html lang="{lang}">\n<head>\n<meta charset="utf-8">\n'
        f"<title>{html.escape(_('Workdim: guide'))}</title>\n<style>{_STYLE}</style>\n</head>\n<body>\n"
        + "\n".join(parts)
        + "\n</body>\n</html>\n"
    ).encode()
