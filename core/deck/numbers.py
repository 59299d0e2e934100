"""The numbers of a story with their sources: of every text its stretches, of every chart its points."""

from __future__ import annotations

import json
from collections.abc import Iterator

from core.deck.story import Heading, Story, StorySlide, Table
from core.figures.chart import Blocks, Chart, Gallery, Series
from core.sources import Source
from core.tables import RecipeNumberRow


def numbers_of(story: Story, recipe_id: str) -> list[RecipeNumberRow]:
    """Every number of the story's slides, in reading order."""
    rows: list[RecipeNumberRow] = []

    def add(slide: int, key: str, place: str, text: str, value: float, source: Source | None) -> None:
        row_key = dict(source.key) if source and source.key else None
        rows.append(
            RecipeNumberRow(
                recipe_id=recipe_id,
                number=len(rows) + 1,
                slide=slide,
                slide_key=key,
                place=place,
                text=text,
                value=float(value),
                source_table=source.table if source else None,
                source_column=source.column if source else None,
                run_id=row_key.get("run_id") if row_key else None,
                source_key=json.dumps(row_key, sort_keys=True, default=str) if row_key else None,
            )
        )

    for number, slide in enumerate(story, start=1):
        for place, text in texts_of(slide):
            for stretch in getattr(text, "stretches", ()):
                written = text[stretch.start : stretch.end]
                add(number, slide.key, place, written, stretch.value, stretch.source)
        for value in points_of(slide):
            add(number, slide.key, "chart", written_point(value), value, getattr(value, "source", None))
    return rows


def texts_of(slide: StorySlide) -> Iterator[tuple[str, str]]:
    """Place and text of each paragraph of a slide, as it stands on the slide from top to bottom."""
    yield "title", slide.title
    for statement in slide.statements:
        yield "statement", statement.label
        yield "statement", statement.text
    visual = slide.visual
    if isinstance(visual, Table):
        yield from (("table", column.title) for column in visual.columns)
        for row in visual.rows:
            yield from (("table", cell) for cell in ((row.text,) if isinstance(row, Heading) else row))
    if isinstance(visual, Blocks):
        yield from (("blocks", name) for name in (visual.kept_name, visual.removed_name))
    if visual is not None:
        yield "key", visual.key


def points_of(slide: StorySlide) -> Iterator[float]:
    """The upright number of each point, and the one across where it is a measured number and no layer."""
    for series in _series(slide):
        for point in series.points:
            yield point.y
            if hasattr(point.x, "source"):
                yield point.x


def written_point(value: float) -> str:
    return f"{value:.6g}"


def _series(slide: StorySlide) -> Iterator[Series]:
    visual = slide.visual
    charts = visual.charts if isinstance(visual, Gallery) else (visual,) if isinstance(visual, Chart) else ()
    for chart in charts:
        yield from chart.series
