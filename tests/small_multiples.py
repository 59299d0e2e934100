"""Small multiples as one SVG file: charts of the same kind side by side, for the figures of the documents."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from core.figures.labels import Position
from core.figures.svg import LIGHT, SMALL, WIDTH, Axes, Caption, Drawing, Theme, draw_source, draw_title, ticks
from core.figures.text import shorten_to_width, text_width
from core.locale import in_language


@dataclass(frozen=True)
class Panel:
    """One chart among small multiples: lines over a common x axis."""

    title: str
    lines: list[list[Position]] = field(default_factory=list)
    colours: list[int] = field(default_factory=list)
    """For each line, an index into the theme's curves."""


def small_multiples_svg(
    panels: Sequence[Panel],
    caption: Caption,
    x_title: str,
    y_title: str,
    names: Sequence[str] = (),
    language: str = "en",
    theme: Theme = LIGHT,
    columns: int = 3,
    is_log: bool = False,
    width: float = WIDTH,
) -> str:
    """Panels on one scale, row by row; `names` are the legend of the colours."""
    rows = -(-len(panels) // columns)
    drawing = Drawing(width, 96 + 24 * bool(names) + 190 * rows, theme)
    top = draw_title(drawing, caption)
    across = [x for panel in panels for line in panel.lines for x, _y in line]
    up = [y for panel in panels for line in panel.lines for _x, y in line]
    if not up:
        return in_language(language, drawing.svg, caption.title)
    y_range = (min(up) / 1.2, 1.2 * max(up)) if is_log else (min(0.0, min(up)), 1.08 * max(up))
    room = (width - 30) / columns
    for n, panel in enumerate(panels):
        left, above = 52 + room * (n % columns), top + 22 + 190 * (n // columns)
        axes = Axes(
            drawing, left, above + 12, left + room - 48, above + 138, (min(across), max(across)), y_range, is_log
        )
        axes.draw(x_title if n // columns == rows - 1 else "", "", ticks(min(across), max(across), 4), SMALL)
        drawing.text((left, above + 4), shorten_to_width(panel.title, SMALL + 1, room - 40), SMALL + 1, bold=True)
        for line, colour in zip(panel.lines, panel.colours, strict=True):
            drawing.line(
                [axes.to_pixels(x, y) for x, y in line], theme.curves[colour % len(theme.curves)], 1.8, opacity=0.85
            )
    drawing.text((14, top + 12), y_title, SMALL, theme.quiet)
    x = 52.0
    for n, name in enumerate(names):
        y = drawing.height - 30
        drawing.line([(x, y), (x + 18, y)], theme.curves[n % len(theme.curves)], 2.4)
        drawing.text((x + 24, y + 4), name, SMALL)
        x += 44 + text_width(name, SMALL)
    draw_source(drawing, caption)
    return in_language(language, drawing.svg, caption.title, caption.subtitle)
