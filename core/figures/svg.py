"""Drawing in static SVG: lines, areas, marks and text, and where values lie.

Used for thumbnails, downloads, documents and reports, where no script runs. Sizes are in pixels of the drawing.
"""

from __future__ import annotations

import html
from collections.abc import Sequence
from dataclasses import dataclass, field

from core.figures.chart import Axis, Mark
from core.figures.text import Position, shorten_to_width, wrap_text
from core.locale import spoken

FONT = "system-ui, 'Segoe UI', 'Noto Sans', 'Noto Sans CJK JP', 'Hiragino Sans', Meiryo, sans-serif"


@dataclass(frozen=True)
class Theme:
    """Colours of a drawing; curves have a contrast of at least 3:1 on the paper."""

    paper: str
    text: str
    quiet: str
    grid: str
    curves: tuple[str, ...]


LIGHT = Theme(
    "#FFFFFF", "#1F2933", "#5F6B76", "#E3E7EC", ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#6B4A00", "#4B2E83")
)
"""Curves: the first four colours of Okabe and Ito, then a brown and a violet, because their yellow and sky blue are too pale
for lines on white. All can be distinguished with the common colour blindnesses."""
DARK = Theme(
    "#0E1117", "#E6EAEE", "#A3AEB9", "#2B333C", ("#56B4E9", "#E69F00", "#2BBF8F", "#E6A0C4", "#D9C27E", "#B39DDB")
)
THEMES = {"light": LIGHT, "dark": DARK}


@dataclass
class Drawing:
    """SVG parts in drawing order: later parts lie over earlier ones."""

    width: float
    height: float
    theme: Theme = LIGHT
    parts: list[str] = field(default_factory=list)

    def line(
        self, points: Sequence[Position], colour: str, width: float = 2, dash: str = "", opacity: float = 1
    ) -> None:
        """Through two points and more."""
        if len(points) < 2:
            return
        way = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
        more = (f' stroke-dasharray="{dash}"' if dash else "") + (f' opacity="{opacity:g}"' if opacity != 1 else "")
        self.parts.append(
            f'<polyline points="{way}" fill="none" stroke="{colour}" stroke-width="{width:g}" '
            f'stroke-linejoin="round"{more}/>'
        )

    def area(self, points: Sequence[Position], colour: str, opacity: float = 0.18) -> None:
        """A filled polygon."""
        way = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
        self.parts.append(f'<polygon points="{way}" fill="{colour}" fill-opacity="{opacity:g}"/>')

    def box(self, x: float, y: float, width: float, height: float, colour: str, opacity: float = 1) -> None:
        self.parts.append(
            f'<rect x="{x:.1f}" y="{y:.1f}" width="{max(width, 0):.1f}" height="{max(height, 0):.1f}" fill="{colour}"'
            + (f' fill-opacity="{opacity:g}"/>' if opacity != 1 else "/>")
        )

    def frame(self, x: float, y: float, width: float, height: float, colour: str, line: float, dash: str = "") -> None:
        self.line([(x, y), (x + width, y), (x + width, y + height), (x, y + height), (x, y)], colour, line, dash)

    def marker(self, position: Position, mark: Mark, colour: str, size: float = 5) -> None:
        """`open` and `hollow` ones show the paper."""
        x, y = position
        fill = self.theme.paper if mark in ("open", "hollow") else colour
        style = f'fill="{fill}" stroke="{colour}" stroke-width="1.6"'
        if mark in ("circle", "open"):
            self.parts.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{size:g}" {style}/>')
            return
        up = [(0, -1.15), (1.05, 0.8), (-1.05, 0.8)]
        corners = {
            "diamond": [(0, -1.2), (1.2, 0), (0, 1.2), (-1.2, 0)],
            "square": [(-0.9, -0.9), (0.9, -0.9), (0.9, 0.9), (-0.9, 0.9)],
            "triangle": up,
            "hollow": up,
            "plus": [
                *((-0.35, -1.1), (0.35, -1.1), (0.35, -0.35), (1.1, -0.35), (1.1, 0.35), (0.35, 0.35)),
                *((0.35, 1.1), (-0.35, 1.1), (-0.35, 0.35), (-1.1, 0.35), (-1.1, -0.35), (-0.35, -0.35)),
            ],
            "dash": [(-1.1, -0.4), (1.1, -0.4), (1.1, 0.4), (-1.1, 0.4)],
            "down": [(0, 1.15), (1.05, -0.8), (-1.05, -0.8)],
        }[mark]
        way = " ".join(f"{x + size * dx:.1f},{y + size * dy:.1f}" for dx, dy in corners)
        self.parts.append(f'<polygon points="{way}" {style}/>')

    def text(
        self,
        position: Position,
        text: str,
        size: float = 13,
        colour: str = "",
        anchor: str = "start",
        bold: bool = False,
    ) -> None:
        """A line of text on its baseline."""
        x, y = position
        more = ' font-weight="600"' if bold else ""
        self.parts.append(
            f'<text x="{x:.1f}" y="{y:.1f}" font-size="{size:g}" fill="{colour or self.theme.text}" '
            f'text-anchor="{anchor}" paint-order="stroke" stroke="{self.theme.paper}" stroke-width="3" '
            f'stroke-linejoin="round"{more}>{html.escape(text, quote=False)}</text>'
        )

    def svg(self, title: str, description: str = "") -> str:
        """The drawing as an SVG file; title and description are for screen readers."""
        head = f"<title>{html.escape(title, quote=False)}</title>"
        if description:
            head += f"<desc>{html.escape(description, quote=False)}</desc>"
        return (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {self.width:g} {self.height:g}" '
            f'width="{self.width:g}" height="{self.height:g}" role="img" lang="{spoken()}" font-family="{FONT}">{head}'
            f'<rect width="100%" height="100%" fill="{self.theme.paper}"/>{"".join(self.parts)}</svg>'
        )


@dataclass(frozen=True)
class Plot:
    """A box of a drawing and the axes along its edges."""

    drawing: Drawing
    left: float
    top: float
    right: float
    bottom: float
    x: Axis
    y: Axis

    def to_pixels(self, x: float, y: float) -> Position:
        """The position of a value; values outside are moved to the edge."""
        across, up = (min(max(axis.share(value), 0), 1) for axis, value in ((self.x, x), (self.y, y)))
        up = 1 - up if self.y.is_ordered else up  # places count from the top
        return self.left + across * (self.right - self.left), self.bottom - up * (self.bottom - self.top)


# --- charts ----------------------------------------------------------------------------------------------------

SMALL = 11.0


@dataclass(frozen=True)
class Caption:
    """Texts around a chart."""

    title: str
    subtitle: str = ""
    """Below the title: text, protocol, sample size."""
    source: str = ""
    """At the bottom: where the numbers come from."""


def draw_title(drawing: Drawing, caption: Caption) -> float:
    """Draws title and subtitle; returns the y position where they end."""
    y = 12.0
    for line in wrap_text(caption.title, 17, drawing.width - 24, bold=True):
        y += 18
        drawing.text((12, y), line, 17, bold=True)
        y += 4
    for line in wrap_text(caption.subtitle, 12, drawing.width - 24):
        y += 16
        drawing.text((12, y), line, 12, drawing.theme.quiet)
    return y + 8


def draw_source(drawing: Drawing, caption: Caption) -> None:
    source = shorten_to_width(caption.source, SMALL, drawing.width - 24)
    drawing.text((12, drawing.height - 9), source, SMALL, drawing.theme.quiet)
