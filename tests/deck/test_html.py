"""The HTML report: one file that asks for nothing, runs nothing, and shows hostile names as they are written."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from xml.etree import ElementTree

import pytest

from core.deck.html import MOST_BYTES, render_html, slide_outline
from core.deck.story import Origin, Table, cleaned
from core.figures.chart import Axis, Chart, Guide, Point, Series
from core.figures.svg import visual_svg
from core.pilots.saved import Recipe
from tests.deck.cases import story_of
from tests.deck.stories import made_story

ORIGIN = Origin(Recipe("Board", ("r1",)), "0.1.0", "0a1b2c3d4e5f")
HOSTILE = "</title><script>alert(1)</script><img src=x onerror=alert(2)>\"'&\u202e\x00😀 עברית"


class Read(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data):
        self.text += data


def read(content: bytes) -> Read:
    found = Read()
    found.feed(content.decode())
    return found


@pytest.mark.parametrize("language", ["en", "ja"])
def test_one_file_without_script_links_or_styles_that_the_policy_forbids(language):
    found = read(render_html(made_story(language), ORIGIN))
    tags = [tag for tag, _of in found.tags]
    assert tags.count("section") == 8 and tags.count("svg") == 4 and tags.count("table") == 1
    assert not {"script", "link", "iframe", "object", "base", "form"} & set(tags)
    for _tag, attributes in found.tags:
        assert "style" not in attributes and not any(name.startswith("on") for name in attributes)
        assert all((attributes.get(name) or "#").startswith("#") for name in ("href", "src"))
    policy = next(of["content"] for _tag, of in found.tags if of.get("http-equiv") == "Content-Security-Policy")
    assert policy and "default-src 'none'" in policy and "unsafe" not in policy
    ids = [of["id"] for _tag, of in found.tags if "id" in of]
    assert len(set(ids)) == len(ids)
    assert {of["href"][1:] for tag, of in found.tags if tag == "a" and of.get("href")} <= set(ids)
    assert ("lang", language) in dict(found.tags)["html"].items()


def test_a_hostile_name_is_text_everywhere():
    content = render_html(made_story(name=cleaned(HOSTILE)), ORIGIN)
    found = read(content)
    assert "script" not in [tag for tag, _of in found.tags] and "img" not in [tag for tag, _of in found.tags]
    assert "<script>alert(1)</script>" in found.text and "\u202e" not in found.text and "\x00" not in found.text
    for svg in re.findall(rb"<svg.*?</svg>", content, re.DOTALL):
        ElementTree.fromstring(svg)


def test_marks_are_named_like_lines_where_their_series_is():
    axis = Axis("", 0, 4, 1)
    marks = Series("a rival", (Point(1, 2), Point(4, 3)), 1, False, "open")
    assert ">a rival</text>" in visual_svg(Chart(axis, axis, (marks,), ""))


def test_a_horizontal_guide_is_named_at_its_beginning_where_no_name_of_a_mark_stands():
    axis = Axis("", 0, 4, 1)
    marks = Series("a rival", (Point(4, 2),), 1, False, "open")
    drawn = visual_svg(Chart(axis, axis, (marks,), "", (Guide("budget 2", 2, is_vertical=False),)))
    at = {name: float(x) for x, name in re.findall(r'<text x="([\d.]+)"[^>]*>(a rival|budget 2)<', drawn)}
    assert at["budget 2"] < 100 < at["a rival"]


def test_a_curve_and_its_name_are_one_group_that_fades_the_others_on_screens_alone():
    content = render_html(made_story(), ORIGIN).decode()
    svg = re.findall(r"<svg.*?</svg>", content, re.DOTALL)[0]
    assert svg.count('<g class="s s0">') == 2 and "made-up-big" in svg.split('<g class="s s0">')[2].split("</g>")[0]
    rules = content.split("<style>")[1].split("</style>")[0]
    on_screen = rules[rules.index("@media screen{") :].split("\n")[0]
    assert "svg:has(.s0:hover) .s:not(.s0){opacity:.15}" in on_screen and rules.count(":has(.s0") == 1


def test_forty_models_stay_far_below_the_limit():
    assert len(render_html(made_story(n_models=40), ORIGIN)) < MOST_BYTES / 4


@pytest.mark.parametrize("case", ["choice", "plan", "two_models_one_text"])
def test_outlines_hold_every_word_of_their_slides(case: str):
    """A reader decides by them what to send: nothing may end early."""
    for place, slide in enumerate(story_of(case, "ja").slides, start=1):
        root = ElementTree.fromstring(slide_outline(slide, place))
        drawn = re.sub(r"\s", "", "".join(root.itertext()))
        cells = [cell for row in slide.visual.rows for cell in row] if isinstance(slide.visual, Table) else []
        for text in (slide.title, *(one.text for one in slide.statements), *cells):
            assert re.sub(r"\s", "", text) in drawn


def test_outlines_are_pictures_of_their_own():
    for place, slide in enumerate(made_story(name=HOSTILE.replace("\x00", "")), start=1):
        root = ElementTree.fromstring(slide_outline(slide, place))
        assert root.get("role") == "img"
