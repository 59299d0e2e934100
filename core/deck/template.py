"""A company's PowerPoint file as the template of a deck: its master, layouts, fonts and colours, and nothing else.

Slides are drawn in the area that the company's layouts leave free, with the usual letter sizes. Authors, comments, links and
other content of the file are removed.
"""

from __future__ import annotations

import io
import zipfile
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from lxml import etree
from pptx.enum.shapes import PP_PLACEHOLDER as KIND
from pptx.opc.constants import CONTENT_TYPE as CT
from pptx.opc.constants import RELATIONSHIP_TYPE as RT
from pptx.opc.package import XmlPart
from pptx.oxml.ns import nsuri, qn
from pptx.package import Package
from pptx.presentation import Presentation as Deck
from pptx.slide import Slide, SlideLayout
from pptx.util import Inches, Pt

from core.deck.layout import SOURCE_SIZE, Box, Page, fitting_size, page_within, text_height, title_in_lines, truncate
from core.errors import InputError
from core.locale import N_, spoken, translated

OWN = Path(__file__).with_name("workdim.pptx")
MOST_BYTES, MOST_UNPACKED, MOST_MEMBERS = 64 * 2**20, 512 * 2**20, 20_000
"""Limits of the file: packed bytes, unpacked bytes and number of parts."""
SLIDE_INCHES = 1, 56
"""Shortest and longest side of a slide, as PowerPoint has it."""
MOST_PART_BYTES, MOST_XML_BYTES = 16 * 2**20, 48 * 2**20
"""Limits of one XML part, and of all: parsed XML takes thirty times as much memory, and twenty MB pack to twenty kB."""
_REFERENCES = etree.XPath("//@r:*[.=$key]", namespaces={"r": nsuri("r")})
"""The attributes that refer to a relation by its key."""
_KEPT = {RT.SLIDE_MASTER, RT.NOTES_MASTER, RT.THEME, RT.PRES_PROPS, RT.VIEW_PROPS, RT.TABLE_STYLES, RT.FONT}
"""Relations that a presentation keeps; authors of comments, tags, revisions, printers and custom XML are removed."""
_KEPT_OF_LAYOUTS = {RT.SLIDE_MASTER, RT.SLIDE_LAYOUT, RT.THEME, RT.IMAGE}
_HEADINGS = (KIND.TITLE, KIND.CENTER_TITLE, KIND.VERTICAL_TITLE)
_FOOTERS = (KIND.FOOTER, KIND.SLIDE_NUMBER, KIND.DATE)
_TITLE_SIZES = range(28, 15, -2)
"""Titles are sentences: in the size that many templates use for three words they would differ from slide to slide."""

REMARKS = {
    "no_title_only": N_("The template has no layout with a title alone: other placeholders are left out."),
    "no_footer": N_("The template has no footer: sources get a line of their own."),
    "no_slide_number": N_("The template has no slide numbers."),
    "no_japanese_font": N_("The template names no Japanese font: PowerPoint uses its own."),
    "smaller": N_("The template leaves less room than Workdim's slides: what does not fit goes into the notes."),
}


@dataclass(frozen=True)
class Template:
    """An empty deck with the layouts of a company, or with ours."""

    deck: Deck
    content: SlideLayout
    """With a title, and as few other placeholders as possible."""
    body: SlideLayout
    """With a title and a placeholder for text."""
    split: SlideLayout
    """With a title and placeholders for a chart and for text beside it."""
    room: Box
    """The area in inches that a slide of `content` may fill."""
    missing: tuple[str, ...] = ()
    """Keys of REMARKS."""

    def layout_for(self, with_chart: bool, with_text: bool) -> SlideLayout:
        """The layout with placeholders for what a slide shows."""
        return self.split if with_chart and with_text else self.body if with_text and not with_chart else self.content

    @property
    def page(self) -> Page:
        """The boxes in this area."""
        return page_within(self.room)

    def remarks(self) -> list[str]:
        """One line for each thing that the template lacks."""
        return [translated(REMARKS[key]) for key in self.missing]


def own_template() -> Template:
    """Workdim's own look: a file like a company's, to be changed in PowerPoint. It has theme colours alone, those of
    `figures.svg`, so that another theme recolours every slide and chart."""
    return open_template(OWN.read_bytes(), OWN.name)


def open_template(content: bytes, name: str) -> Template:
    """Reads a .pptx or .potx file. Raises InputError for a file that is damaged, too large or has macros."""
    try:
        return _template(_deck(content, name), name)
    except InputError:
        raise
    except Exception as error:  # python-pptx raises anything on a broken part
        told = next(iter(str(error).strip().splitlines()), type(error).__name__)[:120].rstrip(".")
        raise InputError("{name} is damaged or no PowerPoint file: {error}.", name=name, error=told) from error


def _template(deck: Deck, name: str) -> Template:
    _clean(deck)
    with_title: list[Any] = [layout for layout in deck.slide_layouts if _has(layout, _HEADINGS)]
    if not with_title:
        raise InputError("{name} has no layout with a title. Choose another template.", name=name)
    usable = [
        layout for layout in with_title if not _has(layout, (KIND.CENTER_TITLE, KIND.VERTICAL_TITLE))
    ] or with_title
    kinds = [(layout, _placeholder_kinds(layout)) for layout in usable]
    plain, beside_title = min(kinds, key=lambda one: len(one[1]))
    body = next((layout for layout, held in kinds if held == [KIND.BODY]), plain)
    split = next((layout for layout, held in kinds if held in ([KIND.BODY, KIND.CHART], [KIND.BODY, KIND.BODY])), plain)
    for holder in (holder for layout in (plain, body, split) for holder in layout.placeholders):
        _box(holder)  # raises here rather than when a slide is drawn
    template = Template(deck, plain, body, split, _room(deck, plain))
    if min(template.room[2:]) <= 0:
        raise InputError("The layouts of {name} leave no room for a slide. Choose another template.", name=name)
    missing = {
        "no_title_only": bool(beside_title),
        "no_footer": not _has(plain, (KIND.FOOTER,)),
        "no_slide_number": not _has(plain, (KIND.SLIDE_NUMBER,)),
        "no_japanese_font": spoken() == "ja" and not _has_east_asian_font(deck),
        "smaller": template.page.is_small,
    }
    return replace(template, missing=tuple(key for key, is_so in missing.items() if is_so))


def adapt_placeholders(template: Template, slide: Slide, foot: str) -> None:
    """Adapts the layout's placeholders of a slide that was drawn on the template's page.

    The title keeps the layout's font and gets the largest size at which it fits; `foot` becomes a line of its own
    where the layout has no footer or one that is too small.
    """
    for shape in [holder for holder in slide.placeholders if holder.has_text_frame]:  # a chart may stand in the others
        frame, box = shape.text_frame, _box(shape)
        if _kind(shape) in _HEADINGS:
            frame.text = title = frame.text.replace("\v", "")  # where a line ends depends on the layout's own width
            size = fitting_size([title], (*box[:3], box[3] + 0.1), _TITLE_SIZES)
            frame.text = title_in_lines(title, box[2] - 0.2, size)
            _set_size(shape, size)
        elif _kind(shape) == KIND.FOOTER:
            if text_height([frame.text], box[2], SOURCE_SIZE) - 0.1 > box[3]:
                shape._element.getparent().remove(shape._element)
            else:
                _set_size(shape, SOURCE_SIZE)
    if not _has(slide, (KIND.FOOTER,)):
        left, top, width, height = template.room
        line: Any = slide.shapes.add_textbox(Inches(left), Inches(top + height), Inches(0.88 * width), Inches(0.25))
        line.text_frame.word_wrap = True
        line.text_frame.text = truncate(foot, 0.88 * width - 0.2, SOURCE_SIZE, lines=1)
        _set_size(line, SOURCE_SIZE)


# --- reading ---------------------------------------------------------------------------------------------------


def checked_zip(content: bytes, name: str) -> zipfile.ZipFile:
    """The parts of a PowerPoint file. Raises InputError for other files and for those that are too large."""
    if content[:4] == b"\xd0\xcf\x11\xe0":
        raise InputError("{name} has a password or is of PowerPoint 97. Save it as .pptx.", name=name)
    if len(content) > MOST_BYTES:
        raise InputError(
            "{name} has {n_content:.0f} MB; at most {largest} MB are read.",
            name=name,
            n_content=len(content) / 2**20,
            largest=MOST_BYTES // 2**20,
        )
    try:
        packed = zipfile.ZipFile(io.BytesIO(content))
        members = packed.infolist()
        is_large = len(members) > MOST_MEMBERS or sum(member.file_size for member in members) > MOST_UNPACKED
        of_xml = [] if is_large else [member.file_size for member in members if _is_xml(packed, member)]
    except (zipfile.BadZipFile, ValueError, RuntimeError, zlib.error, EOFError) as error:
        raise InputError("{name} is no PowerPoint file.", name=name) from error
    if is_large or max(of_xml, default=0) > MOST_PART_BYTES or sum(of_xml) > MOST_XML_BYTES:
        raise InputError("{name} unfolds to more than a PowerPoint file holds: it was not read.", name=name)
    if "[Content_Types].xml" not in packed.namelist() or "ppt/presentation.xml" not in packed.namelist():
        raise InputError("{name} is no PowerPoint file.", name=name)
    return packed


def _is_xml(packed: zipfile.ZipFile, member: zipfile.ZipInfo) -> bool:
    """Whether a part is XML, by its name or its first character: any part may be declared to be XML."""
    if member.filename.lower().endswith((".xml", ".rels")):
        return True
    with packed.open(member) as part:
        return part.read(64).lstrip(b"\xef\xbb\xbf\xff\xfe\0 \t\r\n").startswith(b"<")


def _deck(content: bytes, name: str) -> Deck:
    packed = checked_zip(content, name)
    types = packed.read("[Content_Types].xml")
    if b"macroEnabled" in types or any(part.endswith("vbaProject.bin") for part in packed.namelist()):
        raise InputError("{name} holds macros: save it without them as .pptx or .potx.", name=name)
    part: Any = Package.open(io.BytesIO(content)).main_document_part
    part._content_type = CT.PML_PRESENTATION_MAIN  # of a .potx or .ppsx, which differ from a .pptx in this alone
    deck = part.presentation
    list(deck.slide_layouts)
    width, height = (int(length or 0) / Inches(1) for length in (deck.slide_width, deck.slide_height))
    if not all(SLIDE_INCHES[0] <= length <= SLIDE_INCHES[1] for length in (width, height)):
        raise InputError(
            "The slides of {name} are {width:.4g} x {height:.4g} inches; PowerPoint allows {smallest} to {largest}.",
            name=name,
            width=width,
            height=height,
            smallest=SLIDE_INCHES[0],
            largest=SLIDE_INCHES[1],
        )
    return deck


def parsed_xml(content: bytes) -> Any:
    return etree.fromstring(content, etree.XMLParser(resolve_entities=False, no_network=True))


# --- removed content -------------------------------------------------------------------------------------------


def _clean(deck: Deck) -> None:
    """Removes slides, sections, shows, authors, comments, tags, macros, and links out of the file."""
    part: Any = deck.part
    root = part._element
    removed = ("sldId", "custShowLst", "handoutMasterIdLst", "custDataLst", "smartTags", "photoAlbum", "modifyVerifier")
    for element in [*root.iter(*(qn(f"p:{tag}") for tag in removed)), *root.findall(qn("p:extLst"))]:
        element.getparent().remove(element)
    _drop_relations(part, _KEPT)
    holders: list[Any] = [holder for master in deck.slide_masters for holder in (master, *master.slide_layouts)]
    if root.find(qn("p:notesMasterIdLst")) is not None:
        holders.append(deck.notes_master)
    for holder in holders:
        _drop_relations(holder.part, _KEPT_OF_LAYOUTS)
    for relation in [relation for one in (deck, *holders) for relation in one.part.rels.values()]:
        plain = (
            relation.target_part
        )  # themes, properties, views and styles of tables, which python-pptx leaves as they are
        if not isinstance(plain, XmlPart) and plain.content_type.endswith("xml") and len(plain.rels):
            root = parsed_xml(plain.blob)
            _drop_relations(plain, {RT.IMAGE}, root)
            plain.blob = etree.tostring(root, xml_declaration=True, encoding="UTF-8", standalone=True)
    for key, relation in list(part.package._rels.items()):
        if relation.reltype != RT.OFFICE_DOCUMENT:
            part.package._rels.pop(key)


def _drop_relations(part: Any, kept_types: set[str], root: Any = None) -> None:
    """Removes relations of other kinds and external ones, with the elements that refer to them; `root` is the XML of a part
    that python-pptx has not parsed."""
    for key, relation in list(part.rels.items()):
        if relation.reltype in kept_types and not relation.is_external:
            continue
        for reference in _REFERENCES(part._element if root is None else root, key=key):
            _remove_reference(reference.getparent(), reference.attrname)
        part.rels.pop(key)


def _remove_reference(element: Any, attribute: str) -> None:
    """Removes the link of a text or a linked picture; of anything else the whole shape."""
    if element.tag == qn("a:blip"):
        del element.attrib[attribute]
        return
    links = {*map(qn, ("a:hlinkClick", "a:hlinkHover", "a:hlinkMouseOver", "p:custDataLst"))}
    trees = {qn("p:spTree"), qn("p:grpSp")}
    around = (one for one in (element, *element.iterancestors()) if one.getparent() is not None)
    whole = next((one for one in around if one.tag in links or one.getparent().tag in trees), element)
    if whole.getparent() is not None:
        whole.getparent().remove(whole)


# --- layouts ---------------------------------------------------------------------------------------------------


def _kind(shape: Any) -> Any:
    return shape.placeholder_format.type


def _has(page: Any, kinds: Sequence[Any]) -> bool:
    return any(_kind(holder) in kinds for holder in page.placeholders)


def _placeholder_kinds(layout: Any) -> list[Any]:
    """The kinds of placeholders of a layout besides title and footer, in their order; one for any content counts as text."""
    kinds = (_kind(holder) for holder in layout.placeholders)
    return sorted(KIND.BODY if kind == KIND.OBJECT else kind for kind in kinds if kind not in (*_HEADINGS, *_FOOTERS))


def _room(deck: Deck, layout: Any) -> Box:
    """The master's body, or the area between title and footer where it has none; never above the layout's title."""
    width, height = int(deck.slide_width or 0) / Inches(1), int(deck.slide_height or 0) / Inches(1)
    heading = next(_box(holder) for holder in layout.placeholders if _kind(holder) in _HEADINGS)
    feet = [_box(holder)[1] for holder in layout.placeholders if _kind(holder) in _FOOTERS]
    bodies = [_box(holder) for holder in layout.slide_master.placeholders if _kind(holder) == KIND.BODY]
    is_on_top = heading[1] + heading[3] < 0.45 * height
    top = heading[1] + heading[3] + 0.1 if is_on_top else 0.06 * height
    bottom = min([height - 0.3, *(foot - 0.05 for foot in feet if foot > 0.7 * height)])
    left, right = min(0.5, 0.05 * width), width - min(0.5, 0.05 * width)
    for body in bodies:
        if body[2] > 0.4 * width and body[3] > 0.3 * height:
            left, right = body[0], body[0] + body[2]
            top, bottom = max(top, min(body[1], 0.4 * height)), min(bottom, max(body[1] + body[3], 0.75 * height))
    return left, top, right - left, bottom - top


def _box(holder: Any) -> Box:
    lengths = (holder.left, holder.top, holder.width, holder.height)
    left, top, width, height = (int(length or 0) / Inches(1) for length in lengths)
    return left, top, width, height


def _has_east_asian_font(deck: Deck) -> bool:
    part = deck.slide_masters[0].part.part_related_by(RT.THEME)
    theme = parsed_xml(part.blob)
    fonts = (font for font in theme.iter(qn("a:ea"), qn("a:font")) if font.get("script", "Jpan") == "Jpan")
    return any(font.get("typeface") for font in fonts)


# --- drawn slides ----------------------------------------------------------------------------------------------


def _set_size(shape: Any, size: float) -> None:
    for paragraph in shape.text_frame.paragraphs:
        for run in paragraph.runs:
            run.font.size = Pt(size)
        for field in paragraph._p.iter(qn("a:fld")):
            field.get_or_add_rPr().set("sz", str(round(100 * size)))
