"""A story with every kind of evidence, of made-up models, for tests of what draws it."""

from __future__ import annotations

from dataclasses import replace
from datetime import date

from core.deck.story import Column, Heading, Statement, Story, StorySlide, Table
from core.figures.chart import Axis, Block, Blocks, Chart, Gallery, Guide, Point, Series

RUNS = ("01940000-0000-7000-8000-000000000001", "01940000-0000-7000-8000-000000000002")
LAYERS = Axis("Layer", 0, 4, 1)
HEIGHTS = (44.25, 80.5, 106.125, 60.0, 21.75)


def made_story(language: str = "en", name: str = "made-up-big", n_models: int = 6) -> Story:
    """Seven slides and an appendix that hold a chart, a scatter, a table, blocks and a gallery."""
    profile = tuple(Point(layer, value, 0.9 * value, 1.1 * value) for layer, value in enumerate(HEIGHTS))
    chart = Chart(
        LAYERS,
        Axis("Estimated dimension (d2, N = 800)", 0, 120, 20),
        (
            Series(name, profile, 0, is_banded=True),
            Series("shuffled", tuple(Point(p.x, p.y / 3) for p in profile), None),
        ),
        "One curve, and its control.",
        (Guide("layer 2", 2),),
        "Band: 95 % interval.",
    )
    dots = tuple(
        Point(50.0 + n, 40.0 + n, 39.0 + n, 41.0 + n, 49.0 + n, 51.0 + n, f"model {n}") for n in range(n_models)
    )
    scatter = Chart(
        Axis("Dimension", 40, 100, 10),
        Axis("Score", 30, 90, 10),
        (Series("own", dots, 0, False, "circle", True, False),),
        "A scatter.",
    )
    table = Table(
        (Column("Model", 0.5), Column("Largest", 0.3, True), Column("Layer", 0.2, True)),
        (Heading("On python-docs"), (name, "106 [95.5, 117]", "2"), ("other", "61.0", "3")),
    )
    blocks = Blocks(tuple(Block(n, n in (3, 4)) for n in range(30)), "stays", "goes", "30 blocks, 2 go.")
    small = tuple(
        Chart(LAYERS, replace(chart.y, title=f"{name} {n}"), (Series(f"{name} {n}", profile, 0),), "")
        for n in range(n_models)
    )
    said = (
        Statement(f"{name} rises to 106 [95.5, 117] at layer 2.", "Conclusion", is_main=True),
        Statement("rho = −0.31 over 12 models on 2026-11-26.", "Evidence"),
    )
    keys = ("question", "answer", "profiles", "relation", "size", "saving", "next")
    shown = (None, None, chart, scatter, table, blocks, Gallery(small, "All of them."))
    slides = [
        StorySlide(key, f"{key} of {name}", said, drawn, ("General use.",), run_ids=RUNS[:1])
        for key, drawn in zip(keys, shown, strict=True)
    ]
    more = StorySlide("glossary", "Glossary", said[1:], speech=("Say this.",), sources=("106: run_summaries.",))
    return Story(language, date(2026, 11, 26), f"About {name}", tuple(slides), (more,))
