"""The numbers of a story with their sources: of every text its stretches, of every chart its points."""

from __future__ import annotations

import json
from collections.abc import Iterator

from core.deck.story import Heading, Story, StorySlide, Table
from core.figures.chart import Blocks, Chart, Gallery
from core.sources import Source
from core.tables import RecipeNumberRow


def numbers_of(story: Story, recipe_id: str) -> list[RecipeNumberRow]:
    """Every number of the story's slides, in reading order."""
    rows = []
    for number, (slide, slide_key, place, text, value, source) in enumerate(_found(story), start=1):
        key = dict(source.key) if source else {}
        rows.append(
            RecipeNumberRow(
                recipe_id=recipe_id,
                number=number,
                slide=slide,
                slide_key=slide_key,
                place=place,
                text=text,
                value=float(value),
                source_table=source.table if source else None,
                source_column=source.column if source else None,
                run_id=key.get("run_id"),
                source_key=json.dumps(key, sort_keys=True, default=str) if key else None,
            )
        )
    return rows


def _found(story: Story) -> Iterator[tuple[int, str, str, str, float, Source | None]]:
    for number, slide in enumerate(story, start=1):
        for place, text in texts_of(slide):
            for stretch in getattr(text, "stretches", ()):
                yield number, slide.key, place, text[stretch.start : stretch.end], stretch.value, stretch.source
        for value in points_of(slide):
            yield number, slide.key, "chart", written_point(value), value, getattr(value, "source", None)


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
    visual = slide.visual
    charts = visual.charts if isinstance(visual, Gallery) else (visual,) if isinstance(visual, Chart) else ()
    for chart in charts:
        for point in chart.points:
            if not chart.y.is_ordered:  # else it is a place in a list
                yield point.y
            if hasattr(point.x, "source"):
                yield point.x


def written_point(value: float) -> str:
    return f"{value:.6g}"
