"""Embeds the sources of a deck's numbers in the .pptx file, and reads them back from a deck that may have been edited.

A small XML part lists each number with its source, the recipe, the version and the id of the warehouse. It holds no path and
no name of a person or a machine.
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

from core.deck.number_sources import find_numbers, has_measurements, texts_of
from core.deck.story import Heading, Story, StorySlide, Table
from core.deck.template import checked_zip
from core.errors import InputError
from core.figures.chart import Blocks, Gallery
from core.pilots.recipe import Recipe
from core.tables import RecipeNumberRow

_NAMESPACE = "urn:workdim:report:1"
_PART_NAME = "/customXml/workdim1.xml"


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
    edited: tuple[RecipeNumberRow, ...]
    """Numbers that their slides no longer show."""
    added: tuple[tuple[int, str], ...]
    """Slide, from 1, and number: on a slide now and not written by Workdim."""


def embed_sources(
    deck: Deck, story: Story, rows: Sequence[RecipeNumberRow], about: DeckOrigin, names: Sequence[str] = ()
) -> None:
    """Put the list into the deck as a part of its own; digits within `names` are not numbers of the report."""
    root = etree.Element(f"{{{_NAMESPACE}}}report", nsmap={None: _NAMESPACE})
    for key, text in (("version", about.version), ("warehouse", about.warehouse_id)):
        root.set(key, text)
    _child(root, "recipe").text = json.dumps(dataclasses.asdict(about.recipe), ensure_ascii=False)
    _child(root, "names").text = json.dumps(sorted(set(names)), ensure_ascii=False)
    slides: dict[int, Any] = {}
    for number, (slide, identity) in enumerate(zip(story, deck.slides, strict=True), start=1):
        feet = " ".join(part for part in (slide.source, slide.use_class, *_texts_without_numbers(slide, story)) if part)
        quiet = [digits for _at, digits in find_numbers(feet, names)]
        slides[number] = _child(root, "slide", id=str(identity.slide_id), key=slide.key, quiet=" ".join(quiet))
    for row in rows:
        attributes = {
            "place": row.place,
            "text": row.text,
            "value": repr(row.value),
            "table": row.source_table,
            "column": row.source_column,
            "run": row.run_id,
            "row": row.source_key,
        }
        _child(slides[row.slide], "number", **{key: value for key, value in attributes.items() if value is not None})
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
        names = [str(name) for name in json.loads(root.findtext(f"{{{_NAMESPACE}}}names") or "[]")]
        slides = root.findall(f"{{{_NAMESPACE}}}slide")
        rows = list(_rows(slides, about.recipe.recipe_id))
        slide_contents = _slide_contents(content)
    except InputError:
        raise
    except Exception as error:  # the file may be anybody's, damaged in any way
        raise InputError("{name} is damaged: what it carries of its numbers cannot be read.", name=file_name) from error
    edited, added = _find_edits(slides, rows, slide_contents, names)
    return EmbeddedSources(about, tuple(rows), tuple(edited), tuple(added))


def _child(parent: Any, name: str, **attributes: str) -> Any:
    return etree.SubElement(parent, f"{{{_NAMESPACE}}}{name}", attributes)


def _texts_without_numbers(slide: StorySlide, story: Story) -> Iterator[str]:
    """Texts of a slide whose digits are no measured numbers: headings, keys, names beside points, definitions."""
    if not has_measurements(slide, story):
        yield from (text for _place, text, *_rest in texts_of(slide))
    for statement in slide.statements:
        yield statement.label
    visual = slide.visual
    if visual is None:
        return
    yield visual.key
    if isinstance(visual, Table):
        yield from (column.title for column in visual.columns)
        yield from (row.text if isinstance(row, Heading) else row[0] for row in visual.rows)
    elif isinstance(visual, Blocks):
        yield from (visual.kept_name, visual.removed_name, *(str(block.number) for block in visual.blocks))
        yield from (f"{block.price:.3f}" for block in visual.blocks if block.price is not None)
    else:
        for chart in visual.charts if isinstance(visual, Gallery) else (visual,):
            yield from (chart.key, *(series.name for series in chart.series), *(guide.name for guide in chart.guides))


def _rows(slides: Sequence[Any], recipe_id: str) -> Iterator[RecipeNumberRow]:
    number = 0
    for slide_number, slide in enumerate(slides, start=1):
        for element in slide.findall(f"{{{_NAMESPACE}}}number"):
            number += 1
            yield RecipeNumberRow(
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


@dataclass(frozen=True)
class _SlideContent:
    """What a slide of the file shows now."""

    place: int
    """Among the slides, from 1."""
    texts: tuple[str, ...]
    values: frozenset[str]
    """Numbers of its charts, written as in the list."""


def _slide_contents(content: bytes) -> dict[str, _SlideContent]:
    """The content of each slide by its id, which stays when slides are moved."""
    contents = {}
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
        contents[str(slide.slide_id)] = _SlideContent(place, tuple(texts), frozenset(values))
    return contents


def _is_number(text: str | None) -> bool:
    try:
        return text is not None and math.isfinite(float(text))
    except ValueError:
        return False


def _find_edits(
    slides: Sequence[Any], rows: Sequence[RecipeNumberRow], contents: Mapping[str, _SlideContent], names: Sequence[str]
) -> tuple[list[RecipeNumberRow], list[tuple[int, str]]]:
    """Numbers that were removed from their slides, and numbers that were added."""
    edited, added = [], []
    for slide_number, slide in enumerate(slides, start=1):
        own_rows = [row for row in rows if row.slide == slide_number]
        content = contents.get(slide.get("id"))
        if content is None:
            edited += own_rows
            continue
        remaining = [digits for text in content.texts for _at, digits in find_numbers(text, names)]
        for row in own_rows:
            if row.place == "chart":
                edited += [] if row.text in content.values else [row]
            elif row.text in remaining:
                remaining.remove(row.text)
            else:
                edited.append(row)
        quiet = (slide.get("quiet") or "").split()
        added += [
            (content.place, digits) for digits in remaining if digits not in quiet and digits != str(content.place)
        ]
    return edited, added
