"""What every slide gets: footer and number, its language, and texts for screen readers."""

from __future__ import annotations

import copy
from typing import Any

from lxml import etree
from pptx.enum.shapes import PP_PLACEHOLDER
from pptx.oxml.ns import qn
from pptx.slide import Slide
from pptx.util import Inches

from core.deck.layout import Box
from core.locale import spoken

LANGUAGE_TAGS = {"en": "en-US", "ja": "ja-JP"}


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
