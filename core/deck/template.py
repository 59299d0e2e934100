"""A company's own PowerPoint file as the ground of a deck: its master, layouts, fonts and colours, and nothing else of it.

Slides are drawn on a page that lies in the place that the company's layouts leave free, in letters of their usual sizes. What the file says of people, and what it links to, does not come along.
"""

from __future__ import annotations

import io
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from lxml import etree
from pptx import Presentation
from pptx.enum.shapes import PP_PLACEHOLDER as KIND
from pptx.opc.constants import RELATIONSHIP_TYPE as RT
from pptx.opc.package import XmlPart
from pptx.oxml.ns import qn
from pptx.presentation import Presentation as Deck
from pptx.slide import Slide, SlideLayout
from pptx.util import Inches, Pt

from core.deck.layout import SOURCE_SIZE, Box, Page, broken_at_phrases, cut, page_in, text_height
from core.errors import InputError
from core.locale import translator


def _(message: str) -> str:
    """Marks a message for the catalogues; it is translated when a reader's language is known."""
    return message


LARGEST, MOST_UNPACKED, MOST_MEMBERS = 64 * 2**20, 512 * 2**20, 20_000
"""Bytes of a file, bytes that it may unfold to, and parts: more is no template of slides."""
LARGEST_XML, MOST_XML = 16 * 2**20, 48 * 2**20
"""Bytes of one part of XML, and of all: read, it takes thirty times as much, and twenty MB of it pack to twenty kB."""
_MAIN = "application/vnd.openxmlformats-officedocument.presentationml.presentation.main+xml"
_AS_MAIN = (
    b"application/vnd.openxmlformats-officedocument.presentationml.template.main+xml",
    b"application/vnd.openxmlformats-officedocument.presentationml.slideshow.main+xml",
)
_R = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
_KEPT = {RT.SLIDE_MASTER, RT.NOTES_MASTER, RT.THEME, RT.PRES_PROPS, RT.VIEW_PROPS, RT.TABLE_STYLES, RT.FONT, RT.SLIDE}
"""What a presentation keeps: authors of comments, tags, revisions, printers and other people's XML are not among it."""
_KEPT_OF_LAYOUTS = {RT.SLIDE_MASTER, RT.SLIDE_LAYOUT, RT.THEME, RT.IMAGE}
_HEADINGS = (KIND.TITLE, KIND.CENTER_TITLE, KIND.VERTICAL_TITLE)
_FEET = (KIND.FOOTER, KIND.SLIDE_NUMBER, KIND.DATE)
_LARGEST_TITLE, _SMALLEST_TITLE = 28.0, 16.0
"""Titles are sentences: in the size that many templates have for three words they would differ from slide to slide."""

REMARKS = {
    "no_title_only": _("No layout of the template has a title alone: its other placeholders are left out."),
    "no_footer": _("The layouts of the template have no footer: sources stand in a line of their own."),
    "no_slide_number": _("The layouts of the template have no slide number."),
    "no_japanese_font": _("The template's theme names no Japanese font: PowerPoint takes one of its own."),
    "smaller": _("The template leaves less room than a slide of Workdim: what does not fit stands in the notes."),
}


@dataclass(frozen=True)
class Template:
    """A deck without slides on a company's layouts."""

    deck: Deck
    content: SlideLayout
    """With a title, and as little else as there is."""
    body: SlideLayout
    """With a title and a place for text."""
    split: SlideLayout
    """With a title and places for a chart and for text beside it."""
    missing: tuple[str, ...]
    """Keys of REMARKS."""

    def layout_for(self, with_chart: bool, with_text: bool) -> SlideLayout:
        """The layout that has places for what a slide shows."""
        return self.split if with_chart and with_text else self.body if with_text and not with_chart else self.content

    @property
    def room(self) -> Box:
        """Left, top, width and height, in inches, of what a slide of `content` may fill."""
        return _room(self.deck, self.content)

    @property
    def page(self) -> Page:
        """Where things stand in that room."""
        return page_in(self.room)

    def remarks(self, language: str) -> list[str]:
        """One line for each thing that a deck on this template goes without."""
        said = translator(language)
        return [said(REMARKS[key]) for key in self.missing]


def opened(content: bytes, name: str, language: str = "en") -> Template:
    """The template of a .pptx or .potx file. Raises InputError, one line, for a file that is none or holds macros."""
    try:
        return _template(_deck(content, name), name, language)
    except InputError:
        raise
    except Exception as error:  # python-pptx meets a broken part with whatever its code runs into there
        raise InputError(
            "{name} is damaged or no PowerPoint file: {error}.", name=name, error=_first_line(error)
        ) from error


def _template(deck: Deck, name: str, language: str) -> Template:
    _clean(deck)
    with_title = [layout for layout in deck.slide_layouts if _has(layout, _HEADINGS)]
    if not with_title:
        raise InputError(
            "No layout of {name} has a title: slides cannot be made on it. Choose another template.", name=name
        )
    usable = [
        layout for layout in with_title if not _has(layout, (KIND.CENTER_TITLE, KIND.VERTICAL_TITLE))
    ] or with_title
    plain = min(usable, key=_busy)
    body = next((layout for layout in usable if _places(layout) == [_TEXT]), plain)
    split = next((layout for layout in usable if sorted(_places(layout)) in ([_CHART, _TEXT], [_TEXT, _TEXT])), plain)
    kinds = [_kind(holder) for holder in _holders_of(plain)]
    for holder in [holder for layout in (plain, body, split) for holder in _holders_of(layout)]:
        _box(holder)  # raises here, and not when a slide is made on it
    found = Template(deck, plain, body, split, ())
    if min(found.room[2:]) <= 0:
        raise InputError("The layouts of {name} leave no room for a slide. Choose another template.", name=name)
    missing = {
        "no_title_only": bool(_busy(plain)),
        "no_footer": KIND.FOOTER not in kinds,
        "no_slide_number": KIND.SLIDE_NUMBER not in kinds,
        "no_japanese_font": language == "ja" and not _east_asian(deck),
        "smaller": found.page.is_small,
    }
    return replace(found, missing=tuple(key for key, is_so in missing.items() if is_so))


def fit(template: Template, slide: Slide, foot: str) -> None:
    """Settle what the layout gives to a slide that was drawn on the template's page.

    The title keeps the layout's font and takes its size, or the largest at which it fits; placeholders that stayed empty
    go; `foot` stands in a line of its own where the layout has no footer or one too small for it.
    """
    for shape in list(slide.shapes):
        if not _is_drawn(shape):
            _settle_placeholder(template, shape)
    if foot and not any(_kind(shape) == KIND.FOOTER for shape in _holders_of(slide)):
        _own_foot(template, slide, foot)


def finish(deck: Deck) -> None:
    """What every deck needs before it is written, with a template or without.

    Its properties name nobody and no other program, printers and previews of the file that it grew from go, and axes have
    numbers that the format allows.
    """
    part: Any = deck.part
    _drop_relations(part, _KEPT)
    for key, relation in list(part.package._rels.items()):
        if relation.reltype not in (RT.OFFICE_DOCUMENT, RT.CORE_PROPERTIES):
            part.package._rels.pop(key)
    about = deck.core_properties
    about.author = about.last_modified_by = "Workdim"
    about.category = about.comments = about.content_status = about.identifier = ""
    about.keywords = about.subject = about.version = ""
    about.revision = 1
    for slide in deck.slides:
        for shape in slide.shapes:
            if shape.has_chart:
                numbered: Any = shape
                for element in numbered.chart._chartSpace.iter(qn("c:axId"), qn("c:crossAx")):
                    element.set("val", element.get("val").lstrip("-"))  # python-pptx writes signed ones


# --- reading ---------------------------------------------------------------------------------------------------


def checked_zip(content: bytes, name: str) -> zipfile.ZipFile:
    """The parts of a PowerPoint file that is small enough to be looked at. Raises InputError."""
    if content[:4] == b"\xd0\xcf\x11\xe0":
        raise InputError(
            "{name} is protected by a password or of PowerPoint 97: save it as .pptx and try again.", name=name
        )
    if len(content) > LARGEST:
        raise InputError(
            "{name} has {n_content:.0f} MB; at most {largest} MB are read.",
            name=name,
            n_content=len(content) / 2**20,
            largest=LARGEST // 2**20,
        )
    try:
        packed = zipfile.ZipFile(io.BytesIO(content))
        members = packed.infolist()
        is_large = len(members) > MOST_MEMBERS or sum(member.file_size for member in members) > MOST_UNPACKED
        of_xml = [] if is_large else [member.file_size for member in members if _is_xml(packed, member)]
    except (zipfile.BadZipFile, ValueError, RuntimeError, zlib.error, EOFError) as error:
        raise InputError("{name} is no PowerPoint file.", name=name) from error
    if is_large or max(of_xml, default=0) > LARGEST_XML or sum(of_xml) > MOST_XML:
        raise InputError("{name} unfolds to more than a PowerPoint file holds: it was not read.", name=name)
    if "[Content_Types].xml" not in packed.namelist() or "ppt/presentation.xml" not in packed.namelist():
        raise InputError("{name} is no PowerPoint file.", name=name)
    return packed


def _is_xml(packed: zipfile.ZipFile, member: zipfile.ZipInfo) -> bool:
    """By its name or its first letter: any part may be declared to be XML."""
    if member.filename.lower().endswith((".xml", ".rels")):
        return True
    with packed.open(member) as part:
        return part.read(64).lstrip(b"\xef\xbb\xbf\xff\xfe\0 \t\r\n").startswith(b"<")


def _deck(content: bytes, name: str) -> Deck:
    packed = checked_zip(content, name)
    types = packed.read("[Content_Types].xml")
    if b"macroEnabled" in types or any(part.endswith("vbaProject.bin") for part in packed.namelist()):
        raise InputError("{name} holds macros: save it without them as .pptx or .potx and try again.", name=name)
    changed = types
    for kind in _AS_MAIN:
        changed = changed.replace(kind, _MAIN.encode())
    if changed != types:
        content = _with_part(packed, "[Content_Types].xml", changed)
    deck = Presentation(io.BytesIO(content))
    list(deck.slide_layouts)
    return deck


def _with_part(packed: zipfile.ZipFile, name: str, changed: bytes) -> bytes:
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED) as copied:
        for member in packed.infolist():
            copied.writestr(member.filename, changed if member.filename == name else packed.read(member))
    return made.getvalue()


def _parsed(content: bytes) -> Any:
    return etree.fromstring(content, etree.XMLParser(resolve_entities=False, no_network=True))


def _first_line(error: Exception) -> str:
    told = str(error).strip().splitlines()
    return told[0][:120].rstrip(".") if told else type(error).__name__


# --- what does not come along ----------------------------------------------------------------------------------


def _clean(deck: Deck) -> None:
    """Without slides, sections, shows, authors, comments, tags, macros, and links that lead out of the file."""
    part: Any = deck.part
    root = part._element
    for slide in list(root.sldIdLst) if root.sldIdLst is not None else ():
        part.drop_rel(slide.rId)
        root.sldIdLst.remove(slide)
    gone = ("p:custShowLst", "p:handoutMasterIdLst", "p:custDataLst", "p:smartTags", "p:photoAlbum", "p:modifyVerifier")
    for element in [*root.iter(*map(qn, gone)), *root.findall(qn("p:extLst"))]:
        element.getparent().remove(element)
    _drop_relations(part, _KEPT)
    holders = list(_holders(deck))
    for holder in holders:
        _drop_relations(holder.part, _KEPT_OF_LAYOUTS)
    for one in [part, *(holder.part for holder in holders)]:
        for (
            relation
        ) in one.rels.values():  # themes, properties, views and styles of tables, which python-pptx leaves as they are
            plain = relation.target_part
            if not isinstance(plain, XmlPart) and plain.content_type.endswith("xml") and len(plain.rels):
                root = _parsed(plain.blob)
                _drop_relations(plain, {RT.IMAGE}, root)
                plain.blob = etree.tostring(root, xml_declaration=True, encoding="UTF-8", standalone=True)
    package = part.package
    for key, relation in list(package._rels.items()):
        if relation.reltype != RT.OFFICE_DOCUMENT:
            package._rels.pop(key)


def _holders(deck: Deck) -> Iterator[Any]:
    for master in deck.slide_masters:
        yield master
        yield from master.slide_layouts
    if deck.part._element.find(qn("p:notesMasterIdLst")) is not None:
        yield deck.notes_master


def _drop_relations(part: Any, kept: set[str], root: Any = None) -> None:
    """Take away relations of other kinds, and those that lead outside, with what refers to them; `root` is the XML of a
    part that python-pptx has not parsed."""
    for key, relation in list(part.rels.items()):
        if relation.reltype in kept and not relation.is_external:
            continue
        for element in list((part._element if root is None else root).iter(etree.Element)):
            for name, value in list(element.attrib.items()):
                if name.startswith(f"{{{_R}}}") and value == key:
                    _take_out(element, name)
        part.rels.pop(key)


def _take_out(element: Any, attribute: str) -> None:
    """A link goes from its text; of a linked picture the link goes; of anything else the whole shape."""
    if element.tag == qn("a:blip"):
        del element.attrib[attribute]
        return
    whole = element
    while element.getparent() is not None and element.getparent().tag not in (qn("p:spTree"), qn("p:grpSp")):
        if element.tag in (qn("a:hlinkClick"), qn("a:hlinkHover"), qn("a:hlinkMouseOver"), qn("p:custDataLst")):
            break
        element = element.getparent()
    if element.getparent() is None:  # outside of all shapes
        element = whole
    if element.getparent() is not None:
        element.getparent().remove(element)


# --- layouts ---------------------------------------------------------------------------------------------------


def _holders_of(page: Any) -> list[Any]:
    """The placeholders of a slide, layout or master."""
    return list(page.placeholders)


def _kind(shape: Any) -> Any:
    return shape.placeholder_format.type


def _has(layout: SlideLayout, kinds: Sequence[Any]) -> bool:
    return any(_kind(holder) in kinds for holder in _holders_of(layout))


def _busy(layout: SlideLayout) -> int:
    """How many placeholders a layout has besides title, footer, date and number."""
    return sum(_kind(holder) not in (*_HEADINGS, *_FEET) for holder in _holders_of(layout))


_TEXT, _CHART, _OTHER = "text", "chart", "other"


def _places(layout: SlideLayout) -> list[str]:
    """What a layout has places for besides title and foot; a place for anything takes text."""
    names = {KIND.BODY: _TEXT, KIND.OBJECT: _TEXT, KIND.CHART: _CHART}
    kinds = [_kind(holder) for holder in _holders_of(layout)]
    return [names.get(kind, _OTHER) for kind in kinds if kind not in (*_HEADINGS, *_FEET)]


def _room(deck: Deck, layout: SlideLayout) -> Box:
    """The master's body, or all between title and foot where it has none; never above the layout's own title."""
    width, height = int(deck.slide_width or 0) / Inches(1), int(deck.slide_height or 0) / Inches(1)
    heading = next(_box(holder) for holder in _holders_of(layout) if _kind(holder) in _HEADINGS)
    feet = [_box(holder)[1] for holder in _holders_of(layout) if _kind(holder) in _FEET]
    bodies = [_box(holder) for holder in _holders_of(layout.slide_master) if _kind(holder) == KIND.BODY]
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
    found = (holder.left, holder.top, holder.width, holder.height)
    left, top, width, height = (int(length or 0) / Inches(1) for length in found)
    return left, top, width, height


def _east_asian(deck: Deck) -> bool:
    part = deck.slide_masters[0].part.part_related_by(RT.THEME)
    theme = _parsed(part.blob)
    names = [font.get("typeface") for font in theme.iter(qn("a:ea"))]
    japanese = [font.get("typeface") for font in theme.iter(qn("a:font")) if font.get("script") == "Jpan"]
    return any(names) or any(japanese)


# --- drawn slides ----------------------------------------------------------------------------------------------


def _is_drawn(shape: Any) -> bool:
    """Whether it has its place from whoever drew the slide: all but title and foot, and what stayed empty."""
    if not shape.is_placeholder:
        return True
    if _kind(shape) in (*_HEADINGS, *_FEET):
        return False
    return not shape.has_text_frame or bool(shape.text_frame.text.strip())


def _settle_placeholder(template: Template, shape: Any) -> None:
    kind = _kind(shape)
    text = shape.text_frame.text if shape.has_text_frame else "."
    if kind in _HEADINGS:
        whole = text.replace("\v", "")  # where a line ends depends on the layout's own width
        shape.text_frame.text = whole
        size = _fit_text(shape, min(_inherited_size(template, shape), _LARGEST_TITLE), _SMALLEST_TITLE)
        shape.text_frame.text = broken_at_phrases(whole, _box(shape)[2] - 0.2, size)
        _set_size(shape, size)
    elif kind == KIND.FOOTER:
        if text_height([text], _box(shape)[2], SOURCE_SIZE) - 0.1 > _box(shape)[3]:
            shape._element.getparent().remove(shape._element)
        else:
            _set_size(shape, SOURCE_SIZE)
    elif kind not in _FEET:
        shape._element.getparent().remove(shape._element)


def _fit_text(shape: Any, largest: float, smallest: float) -> float:
    """Sets the largest size, two points apart, at which the text fits its box, and returns it."""
    sizes = [largest - 2 * n for n in range(40) if largest - 2 * n > smallest] + [smallest]
    size = _fitting(shape.text_frame.text, _box(shape), sizes) or smallest
    _set_size(shape, size)
    return size


def _fitting(text: str, box: Box, sizes: Sequence[float]) -> float | None:
    paragraphs = text.split("\n")
    return next((size for size in sizes if text_height(paragraphs, box[2], size) - 0.1 <= box[3]), None)


def _set_size(shape: Any, size: float) -> None:
    for paragraph in shape.text_frame.paragraphs:
        for run in paragraph.runs:
            run.font.size = Pt(size)
        for field in paragraph._p.iter(qn("a:fld")):
            field.get_or_add_rPr().set("sz", str(round(100 * size)))


def _inherited_size(template: Template, shape: Any) -> float:
    """The letter size of a title as layout and master have it."""
    own = next((one for one in _holders_of(shape.part.slide_layout) if _kind(one) == _kind(shape)), None)
    master = template.content.slide_master
    places = [own._element] if own is not None else []
    places += [one._element for one in _holders_of(master) if _kind(one) in _HEADINGS]
    places += master._element.findall(f"{qn('p:txStyles')}/{qn('p:titleStyle')}")
    for place in places:
        for style in place.iter(qn("a:lvl1pPr")):
            run = style.find(qn("a:defRPr"))
            if run is not None and (run.get("sz") or "").isdecimal():
                return int(run.get("sz")) / 100
    return 28.0


def _own_foot(template: Template, slide: Slide, foot: str) -> None:
    left, top, width, height = template.room
    shape: Any = slide.shapes.add_textbox(Inches(left), Inches(top + height), Inches(0.88 * width), Inches(0.25))
    shape.text_frame.word_wrap = True
    shape.text_frame.text = cut(foot, 0.88 * width - 0.2, SOURCE_SIZE, lines=1)
    _set_size(shape, SOURCE_SIZE)
