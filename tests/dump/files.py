"""What a file says that the product makes: a deck, a report, a table, a drawing."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Iterator
from typing import Any

from pptx import Presentation

from tests.dump.texts import called, of_html, row

_ROWS = 3
"""Of a long table, whose numbers are on the screen beside it."""


def of_file(name: str, content: str | bytes) -> list[str]:
    text = content if isinstance(content, str) else content.decode("utf-8-sig", errors="replace")
    ending = name.rpartition(".")[2]
    if ending in ("svg", "html"):
        return of_html(content)
    if ending == "csv":
        head, *rows = text.splitlines()
        return [head, *rows[:_ROWS], f"({len(rows)} rows)"]
    if ending == "pptx" and isinstance(content, bytes):
        return list(of_powerpoint(content))
    if ending == "zip" and isinstance(content, bytes):
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            return sorted(archive.namelist())
    return text.splitlines() if ending in ("json", "md", "toml", "yaml", "txt", "sql") else ["(a table)"]


def of_powerpoint(content: bytes) -> Iterator[str]:
    """Every word of every slide, the points of its charts, its alternative texts and its notes."""
    for number, slide in enumerate(Presentation(io.BytesIO(content)).slides, start=1):
        yield f"# {number} ({slide.slide_layout.name})"
        for shape in slide.shapes:
            yield from _shape(shape)
        if slide.has_notes_slide:
            yield from (called("note", line) for line in slide.notes_slide.notes_text_frame.text.splitlines())


def _shape(shape: Any) -> Iterator[str]:
    described = shape._element._nvXxPr.cNvPr.get("descr")
    if described:
        yield called("alternative", described)
    if shape.shape_type is not None and hasattr(shape, "shapes"):
        for one in shape.shapes:
            yield from _shape(one)
    elif getattr(shape, "has_chart", False):
        yield from _chart(shape.chart)
    elif getattr(shape, "has_table", False):
        yield from (row(cell.text.replace("\n", " / ") for cell in one.cells) for one in shape.table.rows)
    elif shape.has_text_frame:
        yield from (paragraph.text for paragraph in shape.text_frame.paragraphs if paragraph.text)


def _chart(chart: Any) -> Iterator[str]:
    yield called("chart", str(chart.chart_type))
    texts = chart._chartSpace.xpath(".//c:title//a:t | .//c:dLbl//a:t")
    yield from (called("chart text", one.text) for one in texts)
    for element in chart._chartSpace.xpath(".//c:ser"):
        name = "".join(one.text or "" for one in element.xpath("./c:tx//c:v"))
        yield called("series", name)
        for part in ("xVal", "yVal", "errBars"):
            values = [float(one.text) for one in element.xpath(f"./c:{part}//c:v")]
            if values:
                yield called(f"chart {part}", row(values))
