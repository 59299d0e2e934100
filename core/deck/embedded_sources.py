"""Embeds what a deck says of its numbers in the .pptx file, and reads it back from a deck that may have been edited.

A small XML part holds the recipe, the version and the id of the warehouse; of each slide what its shapes showed when they were
written; and each number with its source and its place there. It holds no path and no name of a person or a machine.
"""

from __future__ import annotations

import dataclasses
import io
import json
import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from typing import Any

from lxml import etree
from pptx import Presentation
from pptx.opc.constants import RELATIONSHIP_TYPE
from pptx.opc.package import Part
from pptx.opc.packuri import PackURI
from pptx.oxml.ns import qn
from pptx.presentation import Presentation as Deck

from core.deck.numbers import texts_of, written_point
from core.deck.story import Story
from core.deck.template import checked_zip
from core.errors import InputError
from core.pilots.recipe import Recipe
from core.tables import RecipeNumberRow

_NAMESPACE = "urn:workdim:report:1"
_PART_NAME = "/customXml/workdim1.xml"
_CHART = "chart"
_Shapes = Mapping[str, Sequence[str]]
"""Id of a shape, which stays when it is moved -> its paragraphs; id and `chart` -> the numbers behind the chart."""


@dataclass(frozen=True)
class DeckOrigin:
    """What a deck was made from."""

    recipe: Recipe
    version: str
    """Of Workdim."""
    warehouse_id: str


@dataclass(frozen=True)
class EmbeddedSources:
    """The embedded list of a file, and how its slides differ from it now."""

    origin: DeckOrigin
    numbers: tuple[RecipeNumberRow, ...]
    edited: Mapping[int, str]
    """Numbers (by `number`) that their slides no longer show -> what stands in their place, as far as that is known."""
    added: tuple[tuple[int, str], ...]
    """Slide, from 1, and number: on a slide now and not written by Workdim."""


def embed_sources(deck: Deck, story: Story, rows: Sequence[RecipeNumberRow], about: DeckOrigin) -> None:
    """Put the list into the deck as a part of its own."""
    root = etree.Element(f"{{{_NAMESPACE}}}report", nsmap={None: _NAMESPACE})
    for key, text in (("version", about.version), ("warehouse", about.warehouse_id)):
        root.set(key, text)
    _child(root, "recipe").text = json.dumps(dataclasses.asdict(about.recipe), ensure_ascii=False)
    left = iter(rows)
    for slide, drawn in zip(story, deck.slides, strict=True):
        shapes = _shapes_of(drawn)
        element = _child(root, "slide", id=str(drawn.slide_id), key=slide.key)
        for name, parts in shapes.items():
            shape = _child(element, "shape", id=name)
            for part in parts:
                _child(shape, "part").text = part
        placed = _Placed(shapes)
        for _place, text in texts_of(slide):
            where = placed.text(text)
            for stretch in getattr(text, "stretches", ()):
                at = where and (*where[:2], where[2] + stretch.start)
                _embed_number(element, next(left), at)
        for row in (next(left) for _point in range(_n_points(rows, slide.key))):
            _embed_number(element, row, placed.point(row.text))
    content = etree.tostring(root, xml_declaration=True, encoding="UTF-8", standalone=True)
    recipe = about.recipe.recipe_id
    deck.core_properties.comments = f"Workdim {about.version}, recipe {recipe}, warehouse {about.warehouse_id}"[:255]
    package: Any = deck.part.package
    deck.part.relate_to(Part(PackURI(_PART_NAME), "application/xml", package, content), RELATIONSHIP_TYPE.CUSTOM_XML)


def read_sources(content: bytes, file_name: str) -> EmbeddedSources:
    """Reads the embedded list and compares it with the slides. Raises InputError for a file that Workdim did not write."""
    packed = checked_zip(content, file_name)
    if _PART_NAME[1:] not in packed.namelist():
        raise InputError(
            "{name} carries no sources: it was not made by Workdim, or what it carried was removed.", name=file_name
        )
    try:
        root = etree.fromstring(packed.read(_PART_NAME[1:]), etree.XMLParser(resolve_entities=False, no_network=True))
        recipe_fields = json.loads(root.findtext(f"{{{_NAMESPACE}}}recipe") or "")
        recipe_fields |= {key: tuple(recipe_fields[key]) for key in ("run_ids", "left_out")}
        about = DeckOrigin(Recipe(**recipe_fields), root.get("version") or "", root.get("warehouse") or "")
        slides = root.findall(f"{{{_NAMESPACE}}}slide")
        numbers = list(_numbers(slides, about.recipe.recipe_id))
        now = {
            str(slide.slide_id): (place, _shapes_of(slide))
            for place, slide in enumerate(Presentation(io.BytesIO(content)).slides, start=1)
        }
        edited: dict[int, str] = {}
        added: list[tuple[int, str]] = []
        for slide_number, slide in enumerate(slides, start=1):
            own = [number for number in numbers if number.row.slide == slide_number]
            place, shapes = now.pop(slide.get("id"), (0, {}))
            in_it, beside = _edits_of_slide(_written_shapes(slide), shapes, own)
            edited |= in_it
            added += ((place, digits) for digits in beside if place)
        for place, shapes in now.values():
            added += (
                (place, digits) for parts in shapes.values() for part in parts for digits in _DIGITS.findall(part)
            )
    except InputError:
        raise
    except Exception as error:  # the file may be anybody's, damaged in any way
        raise InputError("{name} is damaged: what it carries of its numbers cannot be read.", name=file_name) from error
    return EmbeddedSources(about, tuple(number.row for number in numbers), edited, tuple(added))


# --- writing ---------------------------------------------------------------------------------------------------


class _Placed:
    """Finds the texts and points of a story among the shapes that were drawn of them; each place is taken once."""

    def __init__(self, shapes: _Shapes) -> None:
        self._parts = [(name, index, part) for name, parts in shapes.items() for index, part in enumerate(parts)]
        self._taken: set[tuple[str, int]] = set()

    def text(self, text: str) -> tuple[str, int, int] | None:
        """Shape, paragraph and start of a text; None where it does not stand on the slide, or is cut there."""
        written = str.__str__(text).replace("\v", "").replace("\n", "")
        return self._take(lambda name, part: not name.endswith(_CHART) and written and part == written)

    def point(self, written: str) -> tuple[str, int, int] | None:
        return self._take(lambda name, part: name.endswith(_CHART) and written_point(float(part)) == written)

    def _take(self, fits: Any) -> tuple[str, int, int] | None:
        for name, index, part in self._parts:
            if (name, index) not in self._taken and fits(name, part):
                self._taken.add((name, index))
                return name, index, 0
        return None


def _n_points(rows: Sequence[RecipeNumberRow], key: str) -> int:
    return sum(row.slide_key == key and row.place == "chart" for row in rows)


def _embed_number(slide: Any, row: RecipeNumberRow, at: tuple[str, int, int] | None) -> None:
    attributes = {
        "place": row.place,
        "text": str(row.text),
        "value": repr(row.value),
        "table": row.source_table,
        "column": row.source_column,
        "run": row.run_id,
        "row": row.source_key,
        "at": None if at is None else " ".join(map(str, at)),
    }
    _child(slide, "number", **{key: value for key, value in attributes.items() if value is not None})


def _child(parent: Any, name: str, **attributes: str) -> Any:
    return etree.SubElement(parent, f"{{{_NAMESPACE}}}{name}", attributes)


def _shapes_of(slide: Any) -> dict[str, list[str]]:
    """What the shapes of a slide show."""
    found: dict[str, list[str]] = {}
    for shape in _flat(slide.shapes):
        if shape.has_chart:
            values = (value for value in shape.chart._chartSpace.iter(qn("c:v")) if value.getparent().tag == qn("c:pt"))
            found[f"{shape.shape_id} {_CHART}"] = [value.text for value in values if _is_number(value.text)]
        else:
            paragraphs = shape._element.iter(qn("a:p"))
            found[str(shape.shape_id)] = ["".join(run.text or "" for run in one.iter(qn("a:t"))) for one in paragraphs]
    return found


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


@dataclass(frozen=True)
class _Number:
    row: RecipeNumberRow
    at: tuple[str, int, int] | None
    """Shape, paragraph (or point) and first letter."""


def _written_shapes(slide: Any) -> dict[str, list[str]]:
    return {
        shape.get("id"): [part.text or "" for part in shape.findall(f"{{{_NAMESPACE}}}part")]
        for shape in slide.findall(f"{{{_NAMESPACE}}}shape")
    }


def _numbers(slides: Sequence[Any], recipe_id: str) -> Iterator[_Number]:
    number = 0
    for slide_number, slide in enumerate(slides, start=1):
        for element in slide.findall(f"{{{_NAMESPACE}}}number"):
            number += 1
            row = RecipeNumberRow(
                recipe_id=recipe_id,
                number=number,
                slide=slide_number,
                slide_key=slide.get("key") or "",
                place=element.get("place") or "",
                text=element.get("text") or "",
                value=float(element.get("value")),
                source_table=element.get("table"),
                source_column=element.get("column"),
                run_id=element.get("run"),
                source_key=element.get("row"),
            )
            at = element.get("at")
            shape, index, start = at.rsplit(" ", 2) if at else ("", "0", "0")
            yield _Number(row, (shape, int(index), int(start)) if at else None)


_NUMBER = r"[-−+]?\d+(?:[.,]\d+)*(?:e[-+]?\d+)?"
_DIGITS, _WORDS = re.compile(_NUMBER), re.compile(rf"{_NUMBER}|[^\W\d]+|\S")


def _edits_of_slide(then: _Shapes, now: _Shapes, numbers: Sequence[_Number]) -> tuple[dict[int, str], list[str]]:
    """Numbers whose place shows something else now, with that; and digits that stand where Workdim wrote none."""
    edited: dict[int, str] = {}
    added: list[str] = []
    for name in dict.fromkeys((*then, *now)):
        before, after = list(then.get(name, ())), list(now.get(name, ()))
        if before == after:
            continue
        of_shape = [number for number in numbers if number.at and number.at[0] == name]
        for index, old, new in _pairs(before, after):
            own = [number for number in of_shape if number.at and number.at[1] == index]
            if name.endswith(_CHART):
                if old != new:
                    edited |= {number.row.number: new for number in own}
                    added += [] if own else [new]
                continue
            in_text, beside = _edits_of_text(old, new, own)
            edited |= in_text
            added += beside
    return edited, [digits for digits in added if digits]


def _pairs(before: Sequence[str], after: Sequence[str]) -> Iterator[tuple[int, str, str]]:
    """Each paragraph of a shape, by its place, with what it is now; new ones have the place -1."""
    if len(before) == len(after):
        yield from ((index, old, new) for index, (old, new) in enumerate(zip(before, after, strict=True)))
        return
    for _kind, start, end, first, last in SequenceMatcher(None, before, after, autojunk=False).get_opcodes():
        for step in range(max(end - start, last - first)):
            old = before[start + step] if start + step < end else ""
            new = after[first + step] if first + step < last else ""
            yield (start + step if start + step < end else -1), old, new


def _edits_of_text(old: str, new: str, numbers: Sequence[_Number]) -> tuple[dict[int, str], list[str]]:
    """A text is compared word by word: of words that were replaced, the first number stands for the first, and so on."""
    if old == new:
        return {}, []
    before, after = list(_WORDS.finditer(old)), list(_WORDS.finditer(new))
    edits: dict[int, str] = {}
    """Start of a changed number of the old text -> what stands there now."""
    beside: list[str] = []
    words = SequenceMatcher(None, [one[0] for one in before], [one[0] for one in after], autojunk=False)
    for kind, start, end, first, last in words.get_opcodes():
        if kind == "equal":
            continue
        gone = [one.start() for one in before[start:end] if _DIGITS.fullmatch(one[0])]
        come = [one[0] for one in after[first:last] if _DIGITS.fullmatch(one[0])]
        edits |= {at: come[n] if n < len(come) else "" for n, at in enumerate(gone)}
        beside += come[len(gone) :]
    edited = {}
    for number in numbers:
        start = number.at[2] if number.at else 0
        found = next((at for at in edits if start - 1 <= at < start + len(number.row.text)), None)
        if found is not None:
            edited[number.row.number] = edits.pop(found)
    return edited, [*beside, *(now for now in edits.values() if now)]
