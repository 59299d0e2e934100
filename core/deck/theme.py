"""The default look of a deck, on python-pptx's bare template: 16:9, own theme fonts and colours, three layouts.

Only theme colours are used, so that another theme applied in PowerPoint recolours every slide and chart.
"""

from __future__ import annotations

import copy
from typing import Any

from lxml import etree
from pptx import Presentation
from pptx.enum.shapes import PP_PLACEHOLDER
from pptx.enum.text import MSO_ANCHOR
from pptx.opc.constants import RELATIONSHIP_TYPE
from pptx.oxml.ns import nsdecls, qn
from pptx.presentation import Presentation as Deck
from pptx.slide import Slide, SlideLayout
from pptx.util import Inches

from core.deck.layout import (
    BODY_BOX,
    CHART_BOX,
    HEIGHT,
    MARGIN,
    NUMBER_BOX,
    SOURCE_BOX,
    STATEMENT_BOX,
    TEXT_WIDTH,
    TITLE_BOX,
    TITLE_SIZES,
    WIDTH,
    Box,
)
from core.figures.style import COLOURS
from core.locale import spoken

PALETTE = {
    "dk1": "1F2933",
    "lt1": "FFFFFF",
    "dk2": "0B3C6F",
    "lt2": "EEF2F6",
    **{f"accent{number}": colour.lstrip("#") for number, colour in enumerate(COLOURS, start=1)},
    "hlink": "0072B2",
    "folHlink": "6C5B9E",
}
LATIN, JAPANESE = "Calibri", "Yu Gothic"
LANGUAGE_TAGS = {"en": "en-US", "ja": "ja-JP"}

CONTENT, BODY, SPLIT = "Title Only", "Title and Content", "Two Content"
"""Layouts: a visual over the whole page, text over the whole page, a visual with text beside it."""


def new_deck() -> Deck:
    """An empty deck in our theme."""
    deck = Presentation()
    deck.slide_width, deck.slide_height = Inches(WIDTH), Inches(HEIGHT)
    _recolour(deck)
    _place_masters(deck)
    _set_text_styles(deck)
    for layout in list(deck.slide_layouts):
        if layout.name not in (CONTENT, BODY, SPLIT):
            deck.slide_layouts.remove(layout)
    for layout in deck.slide_layouts:
        layout.shapes._spTree.append(_bar_element((MARGIN, 1.33, TEXT_WIDTH, 0.02)))
    return deck


def layout_named(deck: Deck, name: str) -> SlideLayout:
    return next(layout for layout in deck.slide_layouts if layout.name == name)


def add_footer(slide: Slide, source: str) -> None:
    """Adds the source line and the slide number, which python-pptx does not copy from the layout."""
    placeholders: Any = slide.slide_layout.placeholders
    for holder in placeholders:
        kind = holder.placeholder_format.type
        if kind in (PP_PLACEHOLDER.FOOTER, PP_PLACEHOLDER.SLIDE_NUMBER):
            element = copy.deepcopy(holder._element)
            free_id = 1 + max(int(shape.get("id")) for shape in slide.shapes._spTree.iter(qn("p:cNvPr")))
            element.nvSpPr.cNvPr.set("id", str(free_id))
            slide.shapes._spTree.append(element)
            if kind == PP_PLACEHOLDER.FOOTER:
                next(s for s in slide.placeholders if s._element is element).text_frame.text = source


def set_language(element: etree._Element) -> None:
    """Tags every text run below `element` with the language: without it, Japanese is drawn with Chinese glyphs."""
    for run in element.iter(qn("a:r"), qn("a:fld")):
        properties = run.find(qn("a:rPr"))
        if properties is None:
            properties = etree.SubElement(run, qn("a:rPr"))
            run.insert(0, properties)
        properties.set("lang", LANGUAGE_TAGS.get(spoken(), spoken()))
        if spoken() == "ja" and properties.find(qn("a:ea")) is None:
            _insert_in_order(properties, etree.Element(qn("a:ea"), typeface="+mn-ea"))
    for properties in element.iter(qn("a:endParaRPr"), qn("a:defRPr")):
        properties.set("lang", LANGUAGE_TAGS.get(spoken(), spoken()))


def set_box(shape, box: Box) -> None:
    shape.left, shape.top, shape.width, shape.height = (Inches(length) for length in box)


def set_alternative_text(shape, text: str) -> None:
    """Text for screen readers."""
    next(shape._element.iter(qn("p:cNvPr"))).set("descr", text)


def _insert_in_order(properties: etree._Element, ea: etree._Element) -> None:
    """The schema wants a:ea after a:latin and the fill, before a:cs, a:sym and links."""
    later = [properties.find(qn(tag)) for tag in ("a:cs", "a:sym", "a:hlinkClick", "a:hlinkMouseOver", "a:extLst")]
    first = next((element for element in later if element is not None), None)
    if first is None:
        properties.append(ea)
    else:
        first.addprevious(ea)


def _recolour(deck: Deck) -> None:
    part = deck.slide_masters[0].part.part_related_by(RELATIONSHIP_TYPE.THEME)
    theme = etree.fromstring(part.blob)
    for name, colour in PALETTE.items():
        slot = theme.find(f".//{qn('a:clrScheme')}/{qn(f'a:{name}')}")
        for child in list(slot):
            slot.remove(child)
        etree.SubElement(slot, qn("a:srgbClr"), val=colour)
    for fonts in theme.iter(qn("a:majorFont"), qn("a:minorFont")):
        fonts.find(qn("a:latin")).set("typeface", LATIN)
        fonts.find(qn("a:ea")).set("typeface", JAPANESE)
        for font in fonts.findall(qn("a:font")):
            if font.get("script") == "Jpan":
                font.set("typeface", JAPANESE)
    part._blob = etree.tostring(theme, xml_declaration=True, encoding="UTF-8", standalone=True)


def _place_masters(deck: Deck) -> None:
    boxes: dict[object, Box] = {
        PP_PLACEHOLDER.TITLE: TITLE_BOX,
        PP_PLACEHOLDER.DATE: (MARGIN, 7.02, 0.5, 0.3),
        PP_PLACEHOLDER.FOOTER: SOURCE_BOX,
        PP_PLACEHOLDER.SLIDE_NUMBER: NUMBER_BOX,
        PP_PLACEHOLDER.BODY: BODY_BOX,
    }
    master = deck.slide_masters[0]
    for holder in (master, *deck.slide_layouts):
        for placeholder in list(holder.placeholders):
            kind = placeholder.placeholder_format.type
            if kind in boxes and (holder is master or kind != PP_PLACEHOLDER.BODY):
                set_box(placeholder, boxes[kind])
            if kind == PP_PLACEHOLDER.DATE and holder is not master:
                placeholder._element.getparent().remove(placeholder._element)
            if kind == PP_PLACEHOLDER.TITLE:
                placeholder.text_frame.vertical_anchor = MSO_ANCHOR.MIDDLE
    split: Any = layout_named(deck, SPLIT).placeholders
    left, right = (p for p in split if p.placeholder_format.idx in (1, 2))
    left._element.nvSpPr.nvPr.find(qn("p:ph")).set("type", "chart")
    set_box(left, CHART_BOX)
    set_box(right, STATEMENT_BOX)
    body_placeholders: Any = layout_named(deck, BODY).placeholders
    (body,) = (p for p in body_placeholders if p.placeholder_format.idx == 1)
    set_box(body, BODY_BOX)


def _set_text_styles(deck: Deck) -> None:
    master = deck.slide_masters[0]
    styles = master._element.find(qn("p:txStyles"))
    title = styles.find(qn("p:titleStyle")).find(qn("a:lvl1pPr"))
    title.set("algn", "l")
    _set_run_style(title.find(qn("a:defRPr")), TITLE_SIZES[0], bold=True, colour="tx2")
    for level, points in enumerate((18, 16, 14, 14, 14), start=1):
        style = styles.find(qn("p:bodyStyle")).find(qn(f"a:lvl{level}pPr"))
        _set_run_style(style.find(qn("a:defRPr")), points)
    for holder in (master, *deck.slide_layouts):
        for placeholder in holder.placeholders:
            _restyle(placeholder)


def _restyle(placeholder) -> None:
    """Layouts repeat sizes and alignments that would override the master's."""
    kind = placeholder.placeholder_format.type
    styles = placeholder._element.txBody.find(qn("a:lstStyle"))
    if styles is None:
        return
    small = kind in (PP_PLACEHOLDER.FOOTER, PP_PLACEHOLDER.SLIDE_NUMBER)
    if not small:
        for child in list(styles):
            styles.remove(child)
    for level in styles.findall(qn("a:lvl1pPr")) if small else ():
        level.set("algn", "l" if kind == PP_PLACEHOLDER.FOOTER else "r")
        style = level.find(qn("a:defRPr"))
        style.set("sz", "1000" if kind == PP_PLACEHOLDER.FOOTER else "1400")
        for colour in style.iter(qn("a:schemeClr")):  # the template's is too pale for letters of this size
            for change in list(colour):
                colour.remove(change)
            etree.SubElement(colour, qn("a:lumMod"), val="65000")
            etree.SubElement(colour, qn("a:lumOff"), val="35000")


def _set_run_style(style: etree._Element, points: int, bold: bool = False, colour: str | None = None) -> None:
    style.set("sz", str(points * 100))
    style.set("b", "1" if bold else "0")
    if colour is not None:
        style.find(qn("a:solidFill")).find(qn("a:schemeClr")).set("val", colour)


def _bar_element(box: Box) -> etree._Element:
    """A thin bar as XML: layouts have no add_shape."""
    left, top, width, height = (int(Inches(length)) for length in box)
    return etree.fromstring(
        f'<p:sp {nsdecls("p", "a")}><p:nvSpPr><p:cNvPr id="99" name="Rule"/>'
        '<p:cNvSpPr/><p:nvPr userDrawn="1"/></p:nvSpPr><p:spPr>'
        f'<a:xfrm><a:off x="{left}" y="{top}"/><a:ext cx="{width}" cy="{height}"/></a:xfrm>'
        '<a:prstGeom prst="rect"><a:avLst/></a:prstGeom><a:solidFill><a:schemeClr val="accent1"/></a:solidFill>'
        "<a:ln><a:noFill/></a:ln></p:spPr></p:sp>"
    )
