"""The deck as PowerPoint would open it: native charts with the right numbers, nothing that overflows, tagged languages."""

import re
import shutil
import subprocess
import zipfile
from dataclasses import replace
from io import BytesIO
from itertools import accumulate, combinations

import pytest
from openxml_audit import OpenXmlValidator
from pptx import Presentation
from pptx.enum.shapes import PP_PLACEHOLDER
from pptx.opc.constants import RELATIONSHIP_TYPE
from pptx.oxml.ns import qn
from pptx.util import Inches

from core.deck import layout
from core.deck.board import PAGE_POINTS
from core.deck.layout import Column, Heading, lines_needed, paginate, row_height, table_height, truncate
from core.deck.powerpoint import draw_deck
from core.deck.report import build_story
from core.deck.story import Statement, Story, Table
from core.deck.template import own_template, parsed_xml
from core.figures.chart import Axis, Chart, Gallery, Point, row_chart
from core.figures.chart_figure import COLOURS, chart_figure
from core.figures.layer_profiles import layer_chart
from core.figures.profile_data import profile_points
from core.figures.text import phrases
from tests import frames
from tests.deck.cases import CASES, LANGUAGES, ONE, data_of, many, of_models, story_of
from tests.frames import Model

pytestmark = pytest.mark.slow


def opened(story: Story):
    return Presentation(BytesIO(draw_deck(story)))


def stories() -> list[Story]:
    """Every case once, and 2, 5 and 40 models with names that give trouble."""
    told = [build_story(data_of(case, LANGUAGES[at % 2]), True) for at, case in enumerate(CASES)]
    return told + [build_story(of_models(*many(n), language=LANGUAGES[n % 5 % 2]), True) for n in (2, 5, 40)]


@pytest.fixture(scope="module")
def decks():
    return [(story, opened(story)) for story in stories()]


def height_of(shape) -> float:
    """Inches that the text of a shape takes, each paragraph in its own size."""
    width = shape.width / Inches(1) + 0.2
    sized = [
        (p.text, max((run.font.size.pt for run in p.runs if run.font.size), default=0)) for p in paragraphs_of(shape)
    ]
    return sum(layout.text_height([text], width, points or layout.TITLE_SIZES[0]) - 0.1 for text, points in sized)


def paragraphs_of(shape) -> list:
    return [paragraph for paragraph in shape.text_frame.paragraphs if paragraph.text]


def text_of(shape) -> list[str]:
    return [paragraph.text for paragraph in shape.text_frame.paragraphs if paragraph.text]


def sizes(shape) -> set[float]:
    return {run.font.size.pt for p in shape.text_frame.paragraphs for run in p.runs if run.font.size}


def box_of(shape) -> tuple[float, float, float, float]:
    """Left, top, right and lower end in inches of what the shape shows: text and rows of a table as high as they run."""
    left, top, width, height = (length / Inches(1) for length in (shape.left, shape.top, shape.width, shape.height))
    if shape.has_text_frame and shape.text_frame.text:
        height = min(height, height_of(shape))
    if shape.has_table:
        high = (
            max(row.height / Inches(1), *map(cell_height, row.cells, shape.table.columns)) for row in shape.table.rows
        )
        height = sum(high)
    return left, top, left + width, top + height


def cell_height(cell, column) -> float:
    points = max(sizes(cell), default=0.0)
    if cell.is_merge_origin or cell.is_spanned or not points:
        return 0.0
    room = (column.width - cell.margin_left - cell.margin_right) / Inches(1)
    lines = layout.lines_needed(cell.text, room, points) * layout.line_height(cell.text)
    return lines * points / 72 + (cell.margin_top + cell.margin_bottom) / Inches(1)


def test_nothing_overflows_or_overlaps(decks):
    for _story, presentation in decks:
        for number, slide in enumerate(presentation.slides):
            boxes = []
            for shape in slide.shapes:
                if shape.has_text_frame and shape.text_frame.text and not shape.is_placeholder:
                    points = max(sizes(shape))
                    assert height_of(shape) <= shape.height / Inches(1) + 0.2 * points / 72, (
                        slide.shapes.title.text,
                        text_of(shape),
                    )
                left, top, right, low = box_of(shape)
                assert left >= 0 and top >= 0 and right <= layout.WIDTH and low <= layout.HEIGHT
                boxes.append((shape.name, left, top, right, low))
            for one, other in combinations(boxes, 2):
                across = min(one[3], other[3]) - max(one[1], other[1])
                down = min(one[4], other[4]) - max(one[2], other[2])
                assert across < 0.05 or down < 0.05, (number, slide.shapes.title.text_frame.text, one, other)


@pytest.fixture(scope="module")
def every_case(tmp_path_factory):
    """A file with the core slides of every case, and how many they are."""
    every = [story_of(case, LANGUAGES[at % 2]) for at, case in enumerate(CASES)]
    every += [build_story(of_models(*many(n), language=LANGUAGES[n % 2])) for n in (3, 12)]
    slides = tuple(slide for story in every for slide in story.slides)
    file = tmp_path_factory.mktemp("every") / "every.pptx"
    file.write_bytes(draw_deck(replace(every[0], slides=slides, appendix=())))
    return file, len(slides)


@pytest.mark.slow
def test_every_case_is_valid_by_the_rules_of_the_open_xml_sdk(every_case):
    found = OpenXmlValidator().validate(str(every_case[0]))
    assert not found.errors, [(one.description, one.part_uri) for one in found.errors[:3]]


@pytest.mark.slow
@pytest.mark.skipif(
    not (shutil.which("soffice") and shutil.which("pdftotext")), reason="LibreOffice or pdftotext is missing"
)
def test_no_word_lies_on_another_in_the_pdf_that_libreoffice_makes(every_case, tmp_path):
    """With the fonts of this machine; labels of charts included."""
    file, n_slides = every_case
    profile = f"-env:UserInstallation={(tmp_path / 'profile').as_uri()}"
    convert = ["soffice", profile, "--headless", "--convert-to", "pdf", "--outdir", str(tmp_path), str(file)]
    subprocess.run(convert, check=True, capture_output=True)
    told = subprocess.run(
        ["pdftotext", "-bbox", str(tmp_path / "every.pdf"), "-"], check=True, capture_output=True, text=True
    )
    drawn = told.stdout.split("<page ")[1:]
    assert len(drawn) == n_slides
    for number, page in enumerate(drawn):
        words = [
            (*map(float, found), text)
            for *found, text in re.findall(r'xMin="(.*?)" yMin="(.*?)" xMax="(.*?)" yMax="(.*?)">(.*?)<', page)
        ]
        assert words and all(one[0] >= 0 and one[2] <= 72 * layout.WIDTH + 1 for one in words)
        for one, other in combinations(words, 2):
            across = min(one[2], other[2]) - max(one[0], other[0])
            apart = abs(one[1] + one[3] - other[1] - other[3]) / 2
            height = min(one[3] - one[1], other[3] - other[1])
            assert across < 2 or apart > 0.5 * height, (number, one, other)


def test_statements_and_tables_fit_where_they_stand(decks):
    for story, _ in decks:
        for slide in story.slides:
            box = layout.below_large(slide.statements, layout.STATEMENT_BOX)
            assert layout.text_height(layout.paragraphs(slide.statements), box[2], layout.SMALLEST) <= box[3]
            if isinstance(slide.visual, Table):
                width = layout.TEXT_WIDTH if not slide.statements else layout.CHART_BOX[2]
                room = layout.BODY_HEIGHT - layout.key_height(slide.visual.key, width)
                assert table_height(slide.visual.rows, slide.visual.columns, layout.SMALLEST, width) <= room


def test_letters_are_14_points_in_core_slides_10_behind_them_and_in_source_lines(decks):
    for story, presentation in decks:
        for number, slide in enumerate(presentation.slides):
            smallest = layout.SMALLEST if number < len(story.slides) else 10
            small = [
                shape.text_frame.text
                for shape in slide.shapes
                if shape.has_text_frame and min(sizes(shape), default=20) < smallest
            ]
            assert small == []
            for shape in slide.shapes:
                if shape.has_table:
                    cells = (cell for row in shape.table.rows for cell in row.cells)
                    assert min(size for cell in cells for size in sizes(cell) or {20}) >= smallest
                if shape.has_chart:
                    found = [int(each.get("sz")) for each in shape.chart._chartSpace.iter() if each.get("sz")]
                    assert min(found) >= 100 * layout.SMALLEST
    holders = decks[0][1].slide_master.placeholders
    foot = next(one for one in holders if one.placeholder_format.type == PP_PLACEHOLDER.FOOTER)
    assert [style.get("sz") for style in foot._element.iter(qn("a:defRPr"))][:1] == ["1000"]


USED = 0.55
"""Share of a core slide's area between title and footer that its picture and texts fill."""


def test_every_core_slide_has_one_chart_or_table_and_fills_more_than_half_of_its_room(decks):
    room = layout.BODY_BOX[2] * layout.BODY_BOX[3]
    for story, presentation in decks:
        for told, slide in zip(story.slides, presentation.slides, strict=False):
            pictures = [shape for shape in slide.shapes if shape.has_chart or shape.has_table]
            assert len(pictures) == max(1, len(charts_of(told))), told.key
            boxes = [box_of(shape) for shape in slide.shapes if shape.top >= Inches(layout.BODY_TOP - 0.1)]
            feet = [box for box in boxes if box[1] < layout.BODY_TOP + layout.BODY_HEIGHT]
            used = sum((right - left) * (low - top) for left, top, right, low in feet)
            assert used >= USED * room, (story.language, told.key, used / room)


def test_charts_are_native_and_hold_what_the_story_holds(decks):
    for story, presentation in decks:
        for told, slide in zip(story, presentation.slides, strict=True):
            drawn = [shape.chart for shape in slide.shapes if shape.has_chart]
            assert len(drawn) == len(charts_of(told))
            for chart, one in zip(drawn, charts_of(told), strict=True):
                assert chart.part.chart_workbook.xlsx_part is not None and not chart.has_legend
                scatter_held(chart, one)


def charts_of(told) -> tuple[Chart, ...]:
    shown = told.visual
    return shown.charts if isinstance(shown, Gallery) else (shown,) if isinstance(shown, Chart) else ()


def scatter_held(chart, told: Chart) -> None:
    found = {
        (series.name, tuple(series.values)): [float(x) for x in series._element.xpath("c:xVal//c:v/text()")]
        for series in chart.plots[0].series
    }
    for one in told.series:
        ys = [told.y.low + told.y.high - p.y if told.y.is_ordered else p.y for p in one.points]
        assert found[one.name, tuple(ys)] == pytest.approx([p.x for p in one.points])
    lengths = [len(list(series.values)) for series in chart.plots[0].series]
    banded = {one.name: [p.upper - p.y for p in one.points] for one in told.series if one.is_banded and one.is_line}
    above = {
        series.name: [float(v) for v in series._element.xpath("c:errBars[c:errDir/@val='y']/c:plus//c:v/text()")]
        for series in chart.plots[0].series
        if series.name in banded
    }
    assert above == {name: pytest.approx(reach, rel=1e-5) for name, reach in banded.items()}
    assert lengths == sorted(lengths, reverse=True)  # LibreOffice drops every series that stands before a longer one


def test_names_at_the_ends_of_lines_do_not_cover_each_other(decks):
    """By the places that labels were moved to, where curves end at one value."""
    story = build_story(of_models(*(Model(f"m{at}", peak=60.0 + at, final=20.0 + 0.1 * at) for at in range(5))))
    slide = opened(story).slides[0]
    (frame,) = (shape for shape in slide.shapes if shape.has_chart)
    moved = [
        float(y.get("val"))
        for y in frame.chart._chartSpace.iter(qn("c:y"))
        if y.getparent().getparent().getparent().tag == qn("c:dLbl")
    ]
    ends = sorted([0.0] * (5 - len(moved)) + moved)
    assert ends[-1] - ends[0] > 3 * layout.SMALLEST / 72 / (frame.height / Inches(1))


def test_a_curve_has_the_colour_that_it_has_in_the_app():
    models = [Model(name, n_layers=n) for name, n in (("a", 6), ("b", 30), ("c", 12))]
    points = profile_points(frames.estimates(*models), frames.runs(*models), "d2", "one_per_type")
    app = {
        trace.name: trace.line.color
        for trace in chart_figure(layer_chart(points)).data
        if trace.mode == "lines" and trace.fill is None
    }
    slide = opened(build_story(of_models(*models))).slides[0]
    (chart,) = [shape.chart for shape in slide.shapes if shape.has_chart]
    assert len(app) == 3
    for series in chart.plots[0].series:
        accent = series.format.line.color.theme_color.name.replace("_", "").lower()
        assert COLOURS[int(accent.removeprefix("accent")) - 1] == app[series.name]


def test_our_template_has_the_colours_of_the_app():
    theme = parsed_xml(own_template().deck.slide_masters[0].part.part_related_by(RELATIONSHIP_TYPE.THEME).blob)
    accents = [next(theme.iter(qn(f"a:accent{number}")))[0].get("val") for number in range(1, 7)]
    assert [f"#{accent}" for accent in accents] == COLOURS


def test_every_picture_is_described_and_every_word_has_its_language(decks):
    for story, presentation in decks:
        tag = {"en": "en-US", "ja": "ja-JP"}[story.language]
        for slide in presentation.slides:
            for shape in slide.shapes:
                if shape.has_chart or shape.has_table:
                    assert shape._element.xpath(".//p:cNvPr")[0].get("descr")
            for part in (slide._element, slide.notes_slide._element):
                assert {run.get("lang") for run in part.iter(qn("a:rPr"))} <= {tag}


def test_slides_have_the_titles_of_the_story(decks):
    story, presentation = decks[3]
    drawn = [slide.shapes.title.text_frame.text.replace("\v", "") for slide in presentation.slides]
    assert [slide.title for slide in story] == drawn


@pytest.mark.parametrize("language", LANGUAGES)
def test_control_characters_in_names_stop_no_deck(language):
    broken = Model("bad\x00na\ufffeme", corpus="te\x02xt", base_relation="tuned\x03")
    presentation = opened(build_story(of_models(broken, language=language)))
    assert "badname" in presentation.slides[0].shapes.title.text_frame.text


@pytest.mark.parametrize("name", ["=1+1", "{=1+1}", "https://example.org", "mailto:a@example.org"])
def test_a_name_stays_text_in_the_workbook_of_a_chart(name):
    presentation = opened(build_story(of_models(Model(name), Model("b"), Model("c"), language="en")))
    workbooks = [
        shape.chart.part.chart_workbook.xlsx_part.blob
        for slide in presentation.slides
        for shape in slide.shapes
        if shape.has_chart
    ]
    assert workbooks
    for workbook in workbooks:
        with zipfile.ZipFile(BytesIO(workbook)) as packed:
            parts = {part: packed.read(part) for part in packed.namelist()}
        assert not any(b"<f>" in content or b"<hyperlink" in content for content in parts.values())
    assert any(name.encode() in zipfile.ZipFile(BytesIO(one)).read("xl/sharedStrings.xml") for one in workbooks)


def test_no_name_turns_the_direction_of_a_slide():
    turned = Model("a\u202eb\u2066c\u061cd\u200fe", corpus="te\u2029xt")
    packed = zipfile.ZipFile(BytesIO(draw_deck(build_story(of_models(turned, Model("b"))))))
    parts = [packed.read(part).decode() for part in packed.namelist() if part.endswith(".xml")]
    assert any("abcde" in part for part in parts)
    assert not any(set("\u202e\u2066\u061c\u200f\u2029") & set(part) for part in parts)


def test_numbers_behind_a_name_from_right_to_left_keep_their_order():
    (told,) = (slide.visual.alternative for slide in build_story(of_models(*many(6))).slides if slide.key == "evidence")
    assert "العربية-5\u200e: 75.0 [69.8, 80.2]" in told


def test_a_query_is_drawn_as_it_is_pasted_while_other_japanese_ends_behind_phrases():
    story, name = story_of("one_model", "ja"), "日本語の読解力を測る試験" * 12
    told = (Statement(f"SELECT value FROM scores WHERE benchmark = '{name}'"), Statement(f"{name}です。"))
    first = replace(story.slides[0], statements=told, visual=None)
    slide = opened(replace(story, slides=(first,), appendix=())).slides[0]
    breaks = {one.text[:6]: len(one._p.findall(qn("a:br"))) for one in slide.placeholders[1].text_frame.paragraphs}
    assert breaks["SELECT"] == 0 and breaks[name[:6]] > 0


def test_intervals_of_coefficients_are_lines_since_not_every_program_draws_flat_bars():
    points = (Point(-0.3, 0, left=-0.6, right=0.1, name="all models"), Point(-0.2, 0, name="within families"))
    chart = row_chart(Axis("rho", -1, 1, 0.5, 1), points)
    story = story_of("one_model", "en")
    slide = opened(replace(story, slides=(replace(story.slides[0], visual=chart),), appendix=())).slides[0]
    (drawn,) = (shape.chart for shape in slide.shapes if shape.has_chart)
    found = {
        one.name: list(zip(map(float, one._element.xpath("c:xVal//c:v/text()")), one.values, strict=True))
        for one in drawn.plots[0].series
    }
    rows, values = ([(edge, 1.0), (edge, 0.0)] for edge in (-1.0, 1.0))
    assert found == {
        "rho": [(-0.3, 1.0), (-0.2, 0.0)],
        "all models [95 %]": [(-0.6, 1.0), (0.1, 1.0)],
        "–": rows,
        "[95 %]": values,
    }
    told = "".join(drawn._chartSpace.itertext())
    assert all(one in told for one in ("−0.300 [−0.600, 0.100]", "within", "families")), "names and values stand there"


def test_a_chart_stands_where_the_layout_has_a_place_for_one():
    slide = opened(build_story(of_models(ONE))).slides[0]
    (frame,) = (shape for shape in slide.shapes if shape.has_chart)
    assert frame.is_placeholder and frame.placeholder_format.type == PP_PLACEHOLDER.CHART


# --- how much room text takes ----------------------------------------------------------------------------------


def test_wide_letters_take_more_room():
    assert lines_needed("abcd" * 10, 2.2, 12) == 2
    assert lines_needed("作業次元" * 10, 2.2, 12) == 4


def test_words_are_not_broken_to_fill_a_line():
    """Six words of four fifths of a line take six lines, though their letters would fill five."""
    assert lines_needed(" ".join(["a" * 16] * 6), 20 * 0.5 * 12 / 72, 12) == 6
    assert lines_needed("nearest-neighbour", 0.9, 12) == 2


def test_a_value_with_its_interval_takes_one_line():
    column = [Column("x", 1.0)]
    assert row_height(("106 [99, 113]",), column, PAGE_POINTS, 1.4) == row_height(("106",), column, PAGE_POINTS, 1.4)


def test_a_japanese_title_of_two_lines_breaks_at_a_phrase():
    titles = {slide.title for case in CASES for slide in story_of(case, "ja").slides}
    told = {title: layout.title_in_lines(title, layout.TEXT_WIDTH, layout.TITLE_SIZES[0]) for title in titles}
    long = {title: lines.split("\v") for title, lines in told.items() if "\v" in lines}
    assert len(long) > 3
    for title, (first, rest) in long.items():
        assert len(first) in list(accumulate(map(len, phrases(title)))) and rest, title
    loan_word = "測り方による違いが大きい二つのモデルとデータセットごとの最大の次元の値の違い"
    assert "データセット" in "".join(layout.title_in_lines(loan_word, 8.0, 26).split("\v")[1:])
    assert layout.title_in_lines("短い題", layout.TEXT_WIDTH, 26) == "短い題"


def test_what_is_too_long_ends_in_an_ellipsis():
    assert truncate("short", 3.0, 14) == "short"
    long = truncate("word " * 100, 3.0, 14)
    assert long.endswith("…") and lines_needed(long, 3.0, 14) == 2


def test_pages_are_even_and_repeat_the_heading_they_are_under():
    columns = [Column("a", 0.5), Column("b", 0.5)]
    filled = paginate([Heading("first"), *[("x", "y")] * 11], columns, 12, 2.5)
    assert len(filled) == 2 and all(page[0] == Heading("first") for page in filled)
    assert sorted(len(page) - 1 for page in filled) == [5, 6]


def test_no_line_ends_between_a_number_and_its_percent_sign():
    assert phrases("by 5 % or more") == ("by ", "5 % ", "or ", "more")
    drawn = Presentation(BytesIO(draw_deck(story_of("plan", "en"))))
    texts = drawn.slides[0].shapes._spTree.xpath(".//p:txBody//a:t/text()")
    assert "harder to predict without these blocks [2\u00a0%, 4\u00a0%]" in texts and not [
        text for text in texts if re.search(r"\d %", text)
    ]
