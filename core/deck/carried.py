"""What a deck carries of its numbers, and what became of them since.

A small XML part lists each number with its source, beside the recipe, the version and the id of the warehouse that made
the deck: never a path, a name of a person or of a machine.
"""

from __future__ import annotations

import dataclasses
import io
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from lxml import etree
from pptx import Presentation
from pptx.opc.constants import RELATIONSHIP_TYPE
from pptx.opc.package import Part
from pptx.opc.packuri import PackURI
from pptx.oxml.ns import qn
from pptx.presentation import Presentation as Deck

from core.deck.numbers import is_measured, numbers_in, texts_of
from core.deck.story import Blocks, Gallery, Heading, Story, StorySlide, Table
from core.deck.template import checked_zip
from core.errors import InputError
from core.pilots.recipe import Recipe
from core.tables import RecipeNumberRow

_SPACE = "urn:workdim:report:1"
_PART = "/customXml/workdim1.xml"


@dataclass(frozen=True)
class About:
    """What a deck says of itself."""

    recipe: Recipe
    version: str
    """Of Workdim."""
    warehouse_id: str


@dataclass(frozen=True)
class Carried:
    """What a file brings along, and what stands on its slides now."""

    about: About
    numbers: tuple[RecipeNumberRow, ...]
    edited: tuple[RecipeNumberRow, ...]
    """Numbers that their slides no longer show as they were made."""
    added: tuple[tuple[int, str], ...]
    """Slide, from 1, and number: what stands there and was not made by Workdim."""


def attach(deck: Deck, story: Story, found: Sequence[RecipeNumberRow], about: About, names: Sequence[str] = ()) -> None:
    """Put the list into the deck as a part of its own; `names` are what digits in a text are none of."""
    root = etree.Element(f"{{{_SPACE}}}report", nsmap={None: _SPACE})
    for key, text in (("version", about.version), ("warehouse", about.warehouse_id)):
        root.set(key, text)
    _child(root, "recipe").text = json.dumps(dataclasses.asdict(about.recipe), ensure_ascii=False)
    _child(root, "names").text = json.dumps(sorted(set(names)), ensure_ascii=False)
    slides: dict[int, Any] = {}
    for number, (slide, identity) in enumerate(zip(story, deck.slides, strict=True), start=1):
        feet = " ".join(part for part in (slide.source, slide.use_class, *_quiet(slide, story)) if part)
        quiet = [written for _at, written in numbers_in(feet, names)]
        slides[number] = _child(root, "slide", id=str(identity.slide_id), key=slide.key, quiet=" ".join(quiet))
    for row in found:
        told = {
            "place": row.place,
            "text": row.text,
            "value": repr(row.value),
            "table": row.source_table,
            "column": row.source_column,
            "run": row.run_id,
            "row": row.source_key,
        }
        _child(slides[row.slide], "number", **{key: value for key, value in told.items() if value is not None})
    content = etree.tostring(root, xml_declaration=True, encoding="UTF-8", standalone=True)
    recipe = about.recipe.recipe_id
    deck.core_properties.comments = f"Workdim {about.version}, recipe {recipe}, warehouse {about.warehouse_id}"[:255]
    package: Any = deck.part.package
    deck.part.relate_to(Part(PackURI(_PART), "application/xml", package, content), RELATIONSHIP_TYPE.CUSTOM_XML)


def read(content: bytes, name: str) -> Carried:
    """What a file carries, beside what its slides show. Raises InputError, one line, for a file that is none of ours."""
    packed = checked_zip(content, name)
    if _PART[1:] not in packed.namelist():
        raise InputError(
            "{name} carries no sources: it was not made by Workdim, or what it carried was removed.", name=name
        )
    try:
        root = etree.fromstring(packed.read(_PART[1:]), etree.XMLParser(resolve_entities=False, no_network=True))
        asked = json.loads(root.findtext(f"{{{_SPACE}}}recipe") or "")
        asked |= {key: tuple(asked[key]) for key in ("run_ids", "left_out")}
        about = About(Recipe(**asked), root.get("version") or "", root.get("warehouse") or "")
        names = [str(one) for one in json.loads(root.findtext(f"{{{_SPACE}}}names") or "[]")]
        slides = root.findall(f"{{{_SPACE}}}slide")
        rows = list(_rows(slides, about.recipe.recipe_id))
        shown = _shown(content)
    except InputError:
        raise
    except Exception as error:  # a file of anybody: whatever is wrong with it, it is not one that Workdim wrote
        raise InputError("{name} is damaged: what it carries of its numbers cannot be read.", name=name) from error
    edited, added = _held_against(slides, rows, shown, names)
    return Carried(about, tuple(rows), tuple(edited), tuple(added))


def _child(parent: Any, name: str, **attributes: str) -> Any:
    return etree.SubElement(parent, f"{{{_SPACE}}}{name}", attributes)


def _quiet(slide: StorySlide, story: Story) -> Iterator[str]:
    """What a slide says besides numbers that were measured: headings, axes, keys, names beside points, definitions."""
    if not is_measured(slide, story):
        yield from (text for _place, text, *_rest in texts_of(slide))
    for statement in slide.statements:
        yield statement.label
    drawn = slide.evidence
    if drawn is None:
        return
    yield drawn.key
    if isinstance(drawn, Table):
        yield from (column.title for column in drawn.columns)
        yield from (row.text if isinstance(row, Heading) else row[0] for row in drawn.rows)
    elif isinstance(drawn, Blocks):
        yield from (drawn.kept_name, drawn.removed_name, *(str(block.number) for block in drawn.blocks))
        yield from (f"{block.price:.3f}" for block in drawn.blocks if block.price is not None)
    else:
        for chart in drawn.charts if isinstance(drawn, Gallery) else (drawn,):
            yield from (chart.key, *(series.name for series in chart.series), *(guide.name for guide in chart.guides))


def _rows(slides: Sequence[Any], recipe_id: str) -> Iterator[RecipeNumberRow]:
    number = 0
    for at, slide in enumerate(slides, start=1):
        for one in slide.findall(f"{{{_SPACE}}}number"):
            number += 1
            yield RecipeNumberRow(
                recipe_id=recipe_id,
                number=number,
                slide=at,
                slide_key=slide.get("key") or "",
                place=one.get("place") or "",
                text=one.get("text") or "",
                value=float(one.get("value")),
                source_table=one.get("table"),
                source_column=one.get("column"),
                run_id=one.get("run"),
                source_key=one.get("row"),
            )


@dataclass(frozen=True)
class _Shown:
    """What a slide of a file shows now."""

    place: int
    """Among the slides, from 1."""
    texts: tuple[str, ...]
    values: frozenset[str]
    """Numbers of its charts, written as in the list."""


def _shown(content: bytes) -> dict[str, _Shown]:
    """By the ids of the slides, which stay when slides are moved."""
    found = {}
    for place, slide in enumerate(Presentation(io.BytesIO(content)).slides, start=1):
        texts = [
            "".join(run.text or "" for run in paragraph.iter(qn("a:t")))
            for paragraph in slide.shapes._spTree.iter(qn("a:p"))
        ]
        values = {
            f"{float(value.text):.6g}"
            for shape in slide.shapes
            if shape.has_chart
            for value in shape.chart._chartSpace.iter(qn("c:v"))
            if value.getparent().tag == qn("c:pt") and _is_number(value.text)
        }
        found[str(slide.slide_id)] = _Shown(place, tuple(texts), frozenset(values))
    return found


def _is_number(text: str | None) -> bool:
    try:
        return text is not None and math.isfinite(float(text))
    except ValueError:
        return False


def _held_against(
    slides: Sequence[Any], rows: Sequence[RecipeNumberRow], shown: Mapping[str, _Shown], names: Sequence[str]
) -> tuple[list[RecipeNumberRow], list[tuple[int, str]]]:
    """Numbers that went from their slides, and numbers that came to them."""
    edited, added = [], []
    for at, slide in enumerate(slides, start=1):
        own = [row for row in rows if row.slide == at]
        now = shown.get(slide.get("id"))
        if now is None:
            edited += own
            continue
        left = [written for text in now.texts for _at, written in numbers_in(text, names)]
        for row in own:
            if row.place == "chart":
                edited += [] if row.text in now.values else [row]
            elif row.text in left:
                left.remove(row.text)
            else:
                edited.append(row)
        quiet = (slide.get("quiet") or "").split()
        added += [(now.place, written) for written in left if written not in quiet and written != str(now.place)]
    return edited, added
