"""Embeds what a deck says of its numbers in the .pptx file, and reads it back from a deck that may have been edited.

A small XML part holds, as JSON, the recipe, the version and the id of the warehouse; of each slide what its shapes showed when
they were written; and each number with its source and its place there. It holds no path and no name of a person or a machine.
"""

from __future__ import annotations

import io
import math
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from functools import cache
from typing import Any

from lxml import etree
from pptx import Presentation
from pptx.opc.constants import RELATIONSHIP_TYPE
from pptx.opc.package import Part
from pptx.opc.packuri import PackURI
from pptx.oxml.ns import qn
from pptx.presentation import Presentation as Deck
from pydantic import ConfigDict, TypeAdapter

from core.deck.story import Origin, Story, points_of, texts_of, written_point
from core.deck.template import checked_zip, parsed_xml
from core.errors import InputError
from core.tables import RecipeNumberRow

_NAMESPACE = "urn:workdim:report:1"
_PART_NAME = "/customXml/workdim1.xml"
_CHART = "chart"


@dataclass(frozen=True)
class _Number:
    row: RecipeNumberRow
    at: tuple[str, int] | None
    """Shape, and first letter in what it shows."""


@dataclass(frozen=True)
class _Slide:
    slide_id: int
    shapes: dict[str, str]
    """Id of a shape, which stays when it is moved -> its paragraphs; id and `chart` -> the numbers behind the chart, in lines."""
    numbers: list[_Number]


@dataclass(frozen=True)
class _Embedded:
    """The content of the part."""

    __pydantic_config__ = ConfigDict(ser_json_inf_nan="constants")  # else no file with such a number could be read back
    origin: Origin
    slides: list[_Slide]


@dataclass(frozen=True)
class EmbeddedSources:
    """The embedded list of a file, and how its slides differ from it now."""

    origin: Origin
    numbers: tuple[RecipeNumberRow, ...]
    edited: Mapping[int, str]
    """Numbers (by `number`) that their slides no longer show -> what stands in their place, as far as that is known."""
    added: tuple[tuple[int, str], ...]
    """Slide, from 1, and number: on a slide now and not written by Workdim."""


@cache
def _as_json() -> TypeAdapter[_Embedded]:
    return TypeAdapter(_Embedded)


def embed_sources(deck: Deck, story: Story, rows: Sequence[RecipeNumberRow], about: Origin) -> None:
    """Put the list into the deck as a part of its own."""
    left = iter(rows)
    slides = []
    for slide, drawn in zip(story, deck.slides, strict=True):
        shapes = _shapes_of(drawn)
        places, numbers = _places(shapes), []
        for _place, text in texts_of(slide):
            places_of_text = places[_plain(str.__str__(text).replace("\v", "").replace("\n", ""))]
            at = places_of_text.pop(0) if text and places_of_text else None
            for stretch in getattr(text, "stretches", ()):
                numbers.append(_Number(next(left), at and (at[0], at[1] + stretch.start)))
        for value in points_of(slide):
            places_of_point = places[_CHART + written_point(value)]
            numbers.append(_Number(next(left), places_of_point.pop(0) if places_of_point else None))
        slides.append(_Slide(drawn.slide_id, shapes, numbers))
    root = etree.Element(f"{{{_NAMESPACE}}}report", nsmap={None: _NAMESPACE})
    root.text = _as_json().dump_json(_Embedded(about, slides)).decode()
    content = etree.tostring(root, xml_declaration=True, encoding="UTF-8", standalone=True)
    recipe = about.recipe.recipe_id
    deck.core_properties.comments = f"Workdim {about.version}, report {recipe}, warehouse {about.warehouse_id}"[:255]
    package: Any = deck.part.package
    deck.part.relate_to(Part(PackURI(_PART_NAME), "application/xml", package, content), RELATIONSHIP_TYPE.CUSTOM_XML)


def read_sources(content: bytes, file_name: str) -> EmbeddedSources:
    """Reads the embedded list and compares it with the slides. Raises InputError for a file that Workdim did not write."""
    packed = checked_zip(content, file_name)
    if _PART_NAME[1:] not in packed.namelist():
        raise InputError("{name} carries no sources: not made by Workdim, or they were removed.", name=file_name)
    try:
        root = parsed_xml(packed.read(_PART_NAME[1:]))
        embedded = _as_json().validate_json(root.text or "")
        now = {
            slide.slide_id: (place, _shapes_of(slide))
            for place, slide in enumerate(Presentation(io.BytesIO(content)).slides, start=1)
        }
        edited: dict[int, str] = {}
        added: list[tuple[int, str]] = []
        nothing = _Slide(0, {}, [])
        written = {slide.slide_id: slide for slide in embedded.slides}
        for slide_id in dict.fromkeys((*written, *now)):
            place, shapes = now.get(slide_id, (0, {}))
            changed, beside = _edits_of_slide(written.get(slide_id, nothing), shapes)
            edited |= changed
            added += ((place, digits) for digits in beside if place)
    except InputError:
        raise
    except Exception as error:  # the file may be anybody's, damaged in any way
        raise InputError("{name} is damaged: what it carries of its numbers cannot be read.", name=file_name) from error
    numbers = tuple(number.row for slide in embedded.slides for number in slide.numbers)
    return EmbeddedSources(embedded.origin, numbers, edited, tuple(added))


# --- writing ---------------------------------------------------------------------------------------------------


def _places(shapes: Mapping[str, str]) -> dict[str, list[tuple[str, int]]]:
    """Paragraph, or `chart` and number -> the shapes that show it, with its first letter in what they show."""
    places: dict[str, list[tuple[str, int]]] = defaultdict(list)
    for name, shown in shapes.items():
        start = 0
        for part in shown.split("\n"):
            is_point = name.endswith(_CHART) and part
            places[_CHART + written_point(float(part)) if is_point else part].append((name, start))
            start += len(part) + 1
    return places


def _shapes_of(slide: Any) -> dict[str, str]:
    """What the shapes of a slide show."""
    found: dict[str, str] = {}
    for shape in _flat(slide.shapes):
        if shape.has_chart:
            values = (value for value in shape.chart._chartSpace.iter(qn("c:v")) if value.getparent().tag == qn("c:pt"))
            found[f"{shape.shape_id} {_CHART}"] = "\n".join(value.text for value in values if _is_number(value.text))
        else:
            paragraphs = shape._element.iter(qn("a:p"))
            found[str(shape.shape_id)] = "\n".join(
                _plain("".join(run.text or "" for run in one.iter(qn("a:t")))) for one in paragraphs
            )
    return found


def _plain(text: str) -> str:
    """With spaces for those that keep a number and its sign on one line, which are only drawn."""
    return text.replace("\u00a0", " ")


def _flat(shapes: Iterable[Any]) -> Iterator[Any]:
    for shape in shapes:
        if hasattr(shape, "shapes"):
            yield from _flat(shape.shapes)
        else:
            yield shape


def _is_number(text: str | None) -> bool:
    try:
        return text is not None and math.isfinite(float(text))
    except ValueError:
        return False


# --- reading ---------------------------------------------------------------------------------------------------

_NUMBER = r"[-−+]?\d+(?:[.,]\d+)*(?:e[-+]?\d+)?"
_DIGITS, _WORDS = re.compile(_NUMBER), re.compile(rf"{_NUMBER}|[^\W\d]+|\S")


def _edits_of_slide(then: _Slide, now: Mapping[str, str]) -> tuple[dict[int, str], list[str]]:
    """Numbers whose place shows something else now, with that; and digits that stand where Workdim wrote none."""
    edited: dict[int, str] = {}
    added: list[str] = []
    for name in dict.fromkeys((*then.shapes, *now)):
        edits, beside = _edits_of_text(then.shapes.get(name, ""), now.get(name, ""))
        for number in then.numbers:
            shape, start = number.at or ("", 0)
            within = range(start - 1, start + len(number.row.text)) if shape == name else ()
            found = next((at for at in edits if at in within), None)
            if found is not None:
                edited[number.row.number] = edits.pop(found)
        added += (*beside, *edits.values())
    return edited, [digits for digits in added if digits]


def _edits_of_text(old: str, new: str) -> tuple[dict[int, str], list[str]]:
    """Texts are compared word by word: of words that were replaced, the first number stands for the first, and so on. Returns
    the starts of the numbers that changed with what stands there now, and the numbers that came beside them."""
    if old == new:
        return {}, []
    before, after = list(_WORDS.finditer(old)), list(_WORDS.finditer(new))
    edits: dict[int, str] = {}
    beside: list[str] = []
    words = SequenceMatcher(None, [one[0] for one in before], [one[0] for one in after], autojunk=False)
    for kind, start, end, first, last in words.get_opcodes():
        if kind == "equal":
            continue
        gone = [one.start() for one in before[start:end] if _DIGITS.fullmatch(one[0])]
        come = [one[0] for one in after[first:last] if _DIGITS.fullmatch(one[0])]
        edits |= {at: come[n] if n < len(come) else "" for n, at in enumerate(gone)}
        beside += come[len(gone) :]
    return edits, beside
