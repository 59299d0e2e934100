"""Company templates: what a deck takes from one, what it leaves behind, and what is refused in one line."""

from __future__ import annotations

import io
import zipfile
from dataclasses import replace

import pytest
from pptx import Presentation
from pptx.enum.shapes import PP_PLACEHOLDER
from pptx.opc.constants import RELATIONSHIP_TYPE
from pptx.oxml.ns import nsuri, qn
from pptx.util import Inches

from core.deck import template
from core.deck.layout import SMALLEST, lines_needed
from core.deck.powerpoint import draw_slide
from core.errors import InputError
from core.locale import in_language
from tests.deck.cases import story_of
from tests.deck.test_slides import height_of, sizes, text_of


def company(*, layouts=None, width=10.0, height=7.5, footer=True, as_potx=False) -> bytes:
    """A file as a company has it: slides of its own with a note of an author, and a link in its master."""
    deck = Presentation()
    deck.slide_width, deck.slide_height = Inches(width), Inches(height)
    for layout in list(deck.slide_layouts):
        if layouts is not None and layout.name not in layouts:
            deck.slide_layouts.remove(layout)
        elif not footer:
            for holder in list(layout.placeholders):
                if holder.placeholder_format.type == PP_PLACEHOLDER.FOOTER:
                    holder._element.getparent().remove(holder._element)
    slide = deck.slides.add_slide(deck.slide_layouts[0])
    slide.shapes.add_textbox(0, 0, 9, 9).text_frame.text = "Secret plans of J. Smith"
    slide._element.set("show", "0")
    deck.core_properties.author = deck.core_properties.last_modified_by = "J. Smith"
    master = deck.slide_masters[0]
    run = next(iter(master._element.iter(qn("a:r"))))
    key = master.part.relate_to("https://intranet.example/smith", RELATIONSHIP_TYPE.HYPERLINK, is_external=True)
    link = run.get_or_add_rPr().makeelement(qn("a:hlinkClick"), {qn("r:id"): key})
    run.get_or_add_rPr().append(link)
    made = io.BytesIO()
    deck.save(made)
    return renamed(made.getvalue()) if as_potx else made.getvalue()


def renamed(content: bytes) -> bytes:
    """The same as a .potx: nothing but a content type tells the two apart."""
    made = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(content)) as packed, zipfile.ZipFile(made, "w") as out:
        for name in packed.namelist():
            part = packed.read(name)
            if name == "[Content_Types].xml":
                part = part.replace(b"presentation.main+xml", b"template.main+xml")
            out.writestr(name, part)
    return made.getvalue()


SLIDE = story_of("cannot_tell", "en").slides[1]
"""A chart with statements beside it."""
FOOT = "Workdim · 26 November 2026"


def drawn(found: template.Template, title: str = "A title"):
    slide = draw_slide(found, replace(SLIDE, title=title), FOOT)
    template.adapt_placeholders(found, slide, FOOT)
    return slide


def saved(found: template.Template) -> bytes:
    made = io.BytesIO()
    found.deck.save(made)
    return made.getvalue()


@pytest.mark.parametrize("as_potx", [False, True])
def test_a_deck_keeps_the_layouts_and_nothing_of_the_people(as_potx):
    found = template.open_template(company(as_potx=as_potx), "company.potx")
    assert (found.content.name, found.body.name, found.split.name) == ("Title Only", "Title and Content", "Two Content")
    drawn(found)
    content = saved(found)
    with zipfile.ZipFile(io.BytesIO(content)) as packed:
        everything = b"".join(packed.read(name) for name in packed.namelist())
        assert b"Smith" not in everything and b"intranet" not in everything and b'show="0"' not in everything
        assert b"template.main" not in packed.read("[Content_Types].xml")
    again = Presentation(io.BytesIO(content))
    assert [layout.name for layout in again.slide_layouts][:2] == ["Title Slide", "Title and Content"]
    assert len(again.slides) == 1


def test_everything_fits_into_the_room_that_the_layout_leaves_in_letters_of_14_points():
    width, height = 10.0, 5.625
    found = template.open_template(company(width=width, height=height), "company.pptx")
    left, top, wide, high = found.room
    assert left >= 0 and top >= 0 and left + wide <= width and top + high <= height
    told = [story_of(*which).slides for which in (("related_other_way", "en"), ("many_models", "ja"), ("plan", "ja"))]
    for one in (slide for slides in told for slide in slides):
        slide = draw_slide(found, one, FOOT)
        template.adapt_placeholders(found, slide, FOOT)
        for shape in slide.shapes:
            if shape.is_placeholder and shape.placeholder_format.type in (*template._FOOTERS, *template._HEADINGS):
                continue
            if shape.has_text_frame and shape.text_frame.text.startswith("Workdim"):  # the line of sources
                continue
            assert shape.left >= Inches(left - 0.1) and shape.left + shape.width <= Inches(left + wide) + 9
            assert shape.top >= Inches(top - 0.1) and shape.top + shape.height <= Inches(top + high) + 9, one.key
            if shape.has_table:
                cells = (cell for row in shape.table.rows for cell in row.cells)
                assert min(size for cell in cells for size in sizes(cell) or {20}) >= SMALLEST
            if shape.has_text_frame and shape.text_frame.text:
                points = sizes(shape)
                assert min(points) >= SMALLEST
                assert height_of(shape) <= shape.height / Inches(1) + 0.2 * max(points) / 72, (one.key, text_of(shape))
            if shape.has_chart:
                found_sizes = [int(each.get("sz")) for each in shape.chart._chartSpace.iter() if each.get("sz")]
                assert min(found_sizes) >= 100 * SMALLEST
        shown = {text.replace("\v", "") for shape in slide.shapes if shape.has_text_frame for text in text_of(shape)}
        notes = slide.notes_slide.notes_text_frame.text
        assert all(each.text in shown or each.text in notes for each in one.statements)


def test_a_chart_stands_in_the_placeholder_that_a_layout_has_for_one():
    deck = Presentation(io.BytesIO(company()))
    (split,) = (layout for layout in deck.slide_layouts if layout.name == "Two Content")
    split.placeholders[1]._element.nvSpPr.nvPr.ph.set("type", "chart")
    made = io.BytesIO()
    deck.save(made)
    slide = drawn(template.open_template(made.getvalue(), "company.pptx"))
    assert [
        shape.has_chart for shape in slide.placeholders if shape.placeholder_format.type == PP_PLACEHOLDER.CHART
    ] == [True]


def test_a_japanese_title_breaks_at_a_phrase_by_the_width_that_the_layout_has():
    slide = drawn(
        template.open_template(company(), "company.pptx"),
        "12月15日までにご判断いただきたい点：終了、または20モデルの追加測定",
    )
    (size,) = sizes(slide.shapes.title)
    lines = slide.shapes.title.text_frame.text.split("\v")
    assert len(lines) > 1 and lines[0].endswith(("、", "た", "点："))
    assert all(lines_needed(line, slide.shapes.title.width / Inches(1), size) == 1 for line in lines)


def test_what_a_template_lacks_is_said_and_the_deck_is_made_all_the_same():
    found = in_language(
        "ja", template.open_template, company(layouts={"Title and Content"}, footer=False), "company.pptx"
    )
    assert found.body is found.split is found.content
    assert set(found.missing) >= {"no_title_only", "no_footer"}
    assert all("{" not in line for line in in_language("ja", found.remarks))
    slide = drawn(found)
    assert "Workdim · " in slide.shapes[-1].text_frame.text
    empty = [one for one in slide.placeholders if one.has_text_frame and not one.text_frame.text]
    assert all(one.placeholder_format.type in template._FOOTERS for one in empty)


def test_what_is_no_template_is_one_line():
    without_title = company(layouts={"Blank"})
    made = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(company())) as packed, zipfile.ZipFile(made, "w") as out:
        for name in packed.namelist():
            out.writestr(name, packed.read(name))
        out.writestr("ppt/vbaProject.bin", b"x")
    broken = company()[:-4000]
    for content in (b"", b"PK\x03\x04", b"\xd0\xcf\x11\xe0 old", without_title, made.getvalue(), broken):
        with pytest.raises(InputError) as error:
            template.open_template(content, "x.pptx")
        assert "\n" not in str(error.value) and "x.pptx" in str(error.value)


def with_parts(
    changes: dict[str, bytes] | None = None, replaced: dict[str, tuple[bytes, bytes]] | None = None
) -> bytes:
    """A company's file with parts put in or in place of its own, or with bytes of some replaced."""
    made = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(company())) as packed, zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED) as out:
        parts = {name: packed.read(name) for name in packed.namelist()} | (changes or {})
        for name, (before, after) in (replaced or {}).items():
            assert before in parts[name], name
            parts[name] = parts[name].replace(before, after)
        for name, content in parts.items():
            out.writestr(name, content)
    return made.getvalue()


THEME, LAYOUT = "ppt/theme/theme1.xml", "ppt/slideLayouts/slideLayout6.xml"


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(lambda: with_parts(replaced={LAYOUT: (b'type="title"', b'type="bogus"')}), id="kind"),
        pytest.param(lambda: with_parts({THEME: b"<a:theme"}), id="theme"),
        pytest.param(
            lambda: with_parts(replaced={"ppt/presentation.xml": (b'cx="9144000"', b'cx="z9144000"')}), id="cx"
        ),
        pytest.param(lambda: with_parts(replaced={"ppt/presentation.xml": (b"p:sldSz", b"p:other")}), id="no size"),
        pytest.param(lambda: with_parts({"ppt/x.xml": b"<x/>" + b" " * template.MOST_PART_BYTES}), id="one part"),
        pytest.param(
            lambda: with_parts({"ppt/media/x.png": b"<x/>" + b" " * template.MOST_PART_BYTES}), id="by its letter"
        ),
        pytest.param(lambda: with_parts({f"{n}.xml": b" " * 13 * 2**20 for n in range(4)}), id="all parts"),
    ],
)
def test_what_breaks_within_a_template_or_unfolds_too_far_is_one_line(content):
    with pytest.raises(InputError, match="x.pptx") as error:
        in_language("ja", template.open_template, content(), "x.pptx")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("side", [b"51206401", b"2147483647", b"914399"])
def test_slides_of_a_size_that_powerpoint_does_not_have_are_one_line_with_the_limits(side):
    content = with_parts(replaced={"ppt/presentation.xml": (b'cx="9144000"', b'cx="%b"' % side)})
    with pytest.raises(InputError, match="The slides of x.pptx are .* x .* inches; PowerPoint allows 1 to 56"):
        template.open_template(content, "x.pptx")


def test_large_pictures_are_let_through():
    template.checked_zip(with_parts({"ppt/media/x.png": b"\x89PNG" + b"\0" * template.MOST_PART_BYTES}), "x.pptx")


def test_links_of_themes_and_properties_stay_behind():
    """And the slides that the outline of a view refers to."""
    relations = "http://schemas.openxmlformats.org/package/2006/relationships"
    outside = f'<Relationship Id="rId7" Type="{RELATIONSHIP_TYPE.IMAGE}" Target="file:///home/smith/a.png" TargetMode="External"/>'
    slide = f'<Relationship Id="rId8" Type="{RELATIONSHIP_TYPE.SLIDE}" Target="slides/slide1.xml"/>'
    link = f'<a:blip xmlns:r="{nsuri("r")}" r:link="rId7"/>'.encode()
    seen = (
        f'<p:outlineViewPr><p:sldLst><p:sld xmlns:r="{nsuri("r")}" r:id="rId8"/></p:sldLst></p:outlineViewPr>'.encode()
    )
    with zipfile.ZipFile(io.BytesIO(company())) as packed:
        theme, views = packed.read(THEME), packed.read("ppt/viewProps.xml")
    changes = {
        THEME: theme.replace(b"</a:theme>", link + b"</a:theme>"),
        "ppt/theme/_rels/theme1.xml.rels": f'<Relationships xmlns="{relations}">{outside}</Relationships>'.encode(),
        "ppt/viewProps.xml": views.replace(b"</p:viewPr>", seen + b"</p:viewPr>"),
        "ppt/_rels/viewProps.xml.rels": f'<Relationships xmlns="{relations}">{slide}</Relationships>'.encode(),
    }
    with zipfile.ZipFile(io.BytesIO(saved(template.open_template(with_parts(changes), "company.pptx")))) as packed:
        everything = b"".join(packed.read(name) for name in packed.namelist())
        assert b"smith" not in everything.lower() and not [name for name in packed.namelist() if "slides/" in name]
        assert b"rId7" not in packed.read(THEME) and b"rId8" not in packed.read("ppt/viewProps.xml")
