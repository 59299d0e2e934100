"""Every number of a report knows where it came from, a deck carries the list, and what was changed by hand is found."""

from __future__ import annotations

import io
import math
import re
import zipfile
from collections import Counter
from dataclasses import replace
from functools import cache

import pytest
from pptx import Presentation
from pptx.oxml.ns import qn

from core.deck import embedded_sources
from core.deck.powerpoint import draw_deck
from core.deck.report import build_story
from core.deck.story import Origin, Story, numbers_of, texts_of
from core.errors import InputError
from core.pilots.saved import Recipe
from core.sources import STATED
from core.tables import TABLES
from core.warehouse.people import compare_numbers
from tests.deck.cases import CASES, LANGUAGES, NAMES, data_of, story_of

pytestmark = pytest.mark.slow

ABOUT = Origin(Recipe("Board", ("r1",), language="en"), "0.1.0", "0a1b2c3d4e5f")


@cache
def whole(case: str, language: str) -> Story:
    """With its appendix."""
    return build_story(data_of(case, language), with_appendix=True)


def numbers(case: str, language: str):
    return numbers_of(whole(case, language), ABOUT.recipe.recipe_id)


def deck(case: str, language: str = "en") -> bytes:
    story = whole(case, language)
    rows = numbers(case, language)
    return draw_deck(story, attach=lambda drawn: embedded_sources.embed_sources(drawn, story, rows, ABOUT))


@pytest.mark.parametrize(("case", "language"), [(case, LANGUAGES[at % 2]) for at, case in enumerate(CASES)])
def test_every_number_of_a_report_has_a_source(case, language):
    rows = numbers(case, language)
    assert [(one.slide_key, one.place, one.text) for one in rows if one.source_table is None] == []
    assert sum(one.source_table == STATED for one in rows) < 0.1 * len(rows)
    read = [one for one in rows if one.source_table in TABLES and one.source_key]
    assert len(read) > 0.4 * len(rows)


NOT_NUMBERS = (
    r"\d{4}-\d\d-\d\d|\d{4}年\d{1,2}月\d{1,2}日|\d{1,2} (?:January|November|December) \d{4}",
    r"[0-9a-f]{8}(?:-[0-9a-f]{4,}){4}|\b[0-9a-f]{12,}\b|@\S+|…[0-9a-f]+|\b\S*…\S*|\w+-[0-9a-f]{8}\b",
    r"\d{4}\.\d{5}|\b[dnk]\d?(?:=\d+)?\b|d2|float\d+|n1=\d+|k=\d+|\(\d+/\d+\)|\d+\.\d+\.\d+|\d+\u2060?-\u2060?shot",
    r"m\d\d|\bm-\d+|上位3主成分|9割|SmolLM2-135M-Instruct|all-MiniLM-L6-v2|utf-8|MiniLM-L\d|(?:Option|選択肢|案) ?\d",
    r"\d+ ?(?:%|％|percent|パーセント)",
)


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("case", ("cannot_tell", "incomplete", "many_models", "two_models", "plan"))
def test_no_number_is_lost_on_its_way_into_a_sentence(case, language):
    """What an f-string wrote would be a number that nobody knows of: of a slide's texts only names, days and our own words
    may have digits."""
    lost: Counter[str] = Counter()
    for slide in whole(case, language):
        if slide.key.partition("-")[0] in ("method", "glossary", "sql", "provenance"):
            continue
        for _place, text in texts_of(slide):
            rest = list(text)
            for stretch in text.stretches:
                rest[stretch.start : stretch.end] = "~" * (stretch.end - stretch.start)
            left = "".join(rest)
            for name in sorted((name for name in NAMES), key=len, reverse=True):
                left = re.sub(rf"{re.escape(name)}(?:-\d+)?" if len(name) > 1 else r"(?!)", "", left)
            left = re.sub("|".join(NOT_NUMBERS), "", left)
            lost.update({left: 1} if re.search(r"\d", left) else {})
    own = {"0", "1"}
    assert {text for text in lost if set(re.findall(r"\d+(?:\.\d+)?", text)) - own - {"1.1", "0.05", "10"}} == set()


# --- embedded --------------------------------------------------------------------------------------------------


def changed(content: bytes, change) -> bytes:
    presentation = Presentation(io.BytesIO(content))
    change(presentation)
    made = io.BytesIO()
    presentation.save(made)
    return made.getvalue()


@pytest.mark.parametrize(("case", "language"), [("cannot_tell", "en"), ("many_models", "ja"), ("plan", "en")])
def test_a_deck_says_what_made_it_and_keeps_its_list(case, language):
    found = embedded_sources.read_sources(deck(case, language), "deck.pptx")
    assert found.origin == ABOUT and not found.edited and not found.added
    rows = numbers(case, language)
    assert [(one.text, one.source_column) for one in found.numbers] == [(one.text, one.source_column) for one in rows]
    assert {one.state for one in compare_numbers(found.numbers, rows)} == {"same"}


def test_ten_numbers_that_were_changed_by_hand_are_found():
    """In texts, table cells and a chart; the slides were moved as well."""
    content = deck("cannot_tell")
    written = embedded_sources.read_sources(content, "deck.pptx").numbers
    wanted: list[tuple[str, str]] = []

    def change(presentation) -> None:
        order = presentation.part._element.sldIdLst
        order.append(order[0])
        for slide in presentation.slides:
            for run in slide.shapes._spTree.iter(qn("a:t")):
                text = run.text or ""
                if len(wanted) < 7 and (found := re.search(r"[-−]?\d+\.\d+", text)):
                    run.text = text.replace(found[0], "0.99", 1)
                    wanted.append((found[0], "0.99"))
            for shape in slide.shapes:
                if shape.has_chart and len(wanted) < 10:
                    values = [
                        one for one in shape.chart._chartSpace.iter(qn("c:v")) if one.getparent().tag == qn("c:pt")
                    ]
                    shown = {one.text for one in written if one.place == "chart"}
                    for value in values:
                        try:
                            number = f"{float(value.text):.6g}"
                        except ValueError:
                            continue
                        if len(wanted) < 10 and number in shown:
                            shown.discard(number)
                            wanted.append((number, "4321"))
                            value.text = "4321"

    found = embedded_sources.read_sources(changed(content, change), "deck.pptx")
    by_number = {one.number: one.text for one in found.numbers}
    assert len(wanted) == 10
    assert sorted((by_number[number], now) for number, now in found.edited.items()) == sorted(wanted)
    assert not found.added


def test_a_number_without_end_is_kept():
    story, (first, *others) = whole("two_models", "en"), numbers("two_models", "en")
    rows = [replace(first, value=math.inf), *others]
    content = draw_deck(story, attach=lambda drawn: embedded_sources.embed_sources(drawn, story, rows, ABOUT))
    assert embedded_sources.read_sources(content, "deck.pptx").numbers[0].value == math.inf


def test_a_number_that_somebody_added_is_told_apart():
    def change(presentation) -> None:
        box = presentation.slides[0].shapes.add_textbox(0, 0, 100, 100)
        box.text_frame.text = "Saves 37 million"

    found = embedded_sources.read_sources(changed(deck("two_models"), change), "deck.pptx")
    assert not found.edited and found.added == ((1, "37"),)


def test_digits_beside_a_number_change_it_and_words_do_not():
    def edit(old: str, new: str) -> dict[int, str]:
        def change(presentation) -> None:
            title = presentation.slides[0].shapes.title.text_frame.paragraphs[0].runs[0]
            assert old in title.text
            title.text = title.text.replace(old, new)

        return dict(embedded_sources.read_sources(changed(deck("many_models"), change), "deck.pptx").edited)

    title = story_of("many_models", "en").title
    n = title[title.stretches[0].start : title.stretches[0].end]
    assert list(edit(f"{n} models", f"{n}5 models").values()) == [f"{n}5"]
    assert edit("none is thereby", "none is thus") == {}


def test_a_file_of_somebody_else_is_one_line():
    plain = io.BytesIO()
    Presentation().save(plain)
    mine = deck("two_models")
    wrong = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(mine)) as packed, zipfile.ZipFile(wrong, "w") as out:
        for name in packed.namelist():
            hostile = b'<!DOCTYPE x [<!ENTITY a SYSTEM "file:///etc/passwd">]><report xmlns="urn:workdim:report:1">&a;'
            out.writestr(name, hostile if name.startswith("customXml") else packed.read(name))
    for content in (b"", b"hello", plain.getvalue(), wrong.getvalue(), mine[: len(mine) // 2]):
        with pytest.raises(InputError) as error:
            embedded_sources.read_sources(content, "x.pptx")
        assert "\n" not in str(error.value) and "x.pptx" in str(error.value)
