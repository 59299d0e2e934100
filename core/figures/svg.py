"""Drawing in static SVG: lines, bands, marks and text, axes, room for labels, scatters.

Used for thumbnails, downloads, documents and reports, where no script runs. Sizes are in pixels of the drawing.
"""

from __future__ import annotations

import html
import math
from collections.abc import Sequence
from dataclasses import dataclass, field

from core.figures.chart import Point
from core.figures.labels import Position
from core.figures.text import shorten_to_width, wrap_text
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

    def hotspot(self, x: float, y: float, width: float, height: float, layer: int, tooltip: str) -> None:
        """An invisible rectangle with a tooltip; a click on it selects its layer."""
        self.parts.append(
            f'<rect x="{x:.1f}" y="{y:.1f}" width="{max(width, 0):.1f}" height="{height:.1f}" fill-opacity="0" '
            f'data-layer="{layer}"><title>{html.escape(tooltip, quote=False)}</title></rect>'
        )

    def marker(self, position: Position, kind: str, colour: str, size: float = 5, hollow: bool = False) -> None:
        """A circle, diamond, square, plus, dash, or triangle up or down; hollow ones show the paper."""
        x, y = position
        fill = self.theme.paper if hollow else colour
        style = f'fill="{fill}" stroke="{colour}" stroke-width="1.6"'
        if kind == "circle":
            self.parts.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{size:g}" {style}/>')
            return
        corners = {
            "diamond": [(0, -1.2), (1.2, 0), (0, 1.2), (-1.2, 0)],
            "square": [(-0.9, -0.9), (0.9, -0.9), (0.9, 0.9), (-0.9, 0.9)],
            "up": [(0, -1.15), (1.05, 0.8), (-1.05, 0.8)],
            "plus": [
                *((-0.35, -1.1), (0.35, -1.1), (0.35, -0.35), (1.1, -0.35), (1.1, 0.35), (0.35, 0.35)),
                *((0.35, 1.1), (-0.35, 1.1), (-0.35, 0.35), (-1.1, 0.35), (-1.1, -0.35), (-0.35, -0.35)),
            ],
            "dash": [(-1.1, -0.4), (1.1, -0.4), (1.1, 0.4), (-1.1, 0.4)],
            "down": [(0, 1.15), (1.05, -0.8), (-1.05, -0.8)],
        }[kind]
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


def ticks(lowest: float, highest: float, n: int = 5) -> list[float]:
    """About `n` round values within a range."""
    if not highest > lowest:
        return [lowest]
    rough = (highest - lowest) / max(n, 1)
    power = 10.0 ** math.floor(math.log10(rough))
    step = min((factor * power for factor in (1, 2, 5, 10)), key=lambda step: abs(math.log(step / rough)))
    first = math.ceil(lowest / step - 1e-9)
    return [round(k * step, 10) for k in range(first, math.floor(highest / step + 1e-9) + 1)]


def log_ticks(lowest: float, highest: float) -> list[float]:
    """1, 2 and 5 of each power of ten within a range; the powers alone where there would be more than seven."""
    powers = range(math.floor(math.log10(lowest)), math.ceil(math.log10(highest)) + 1)
    values = [a * 10.0**power for power in powers for a in (1, 2, 5) if lowest <= a * 10.0**power <= highest]
    return values if len(values) <= 7 else [value for value in values if f"{value:e}".startswith("1.")]


@dataclass(frozen=True)
class Axes:
    """A box of a drawing and the values of its edges."""

    drawing: Drawing
    left: float
    top: float
    right: float
    bottom: float
    x_range: tuple[float, float]
    y_range: tuple[float, float]
    is_log: bool = False
    """Of the vertical axis."""

    def to_pixels(self, x: float, y: float) -> Position:
        """The position of a value; values outside are moved to the edge."""
        (x_low, x_high), (y_low, y_high) = self.x_range, self.y_range
        if self.is_log:
            y, y_low, y_high = (math.log(max(value, 1e-12)) for value in (y, y_low, y_high))
        across = (x - x_low) / (x_high - x_low) if x_high > x_low else 0.5
        up = (y - y_low) / (y_high - y_low) if y_high > y_low else 0.5
        return (
            self.left + min(max(across, 0), 1) * (self.right - self.left),
            self.bottom - min(max(up, 0), 1) * (self.bottom - self.top),
        )

    def draw(self, x_title: str, y_title: str, x_ticks: Sequence[float], size: float = 12) -> None:
        """Grid, ticks and titles; the y title stands above the axis, so that it need not be rotated."""
        drawing, theme = self.drawing, self.drawing.theme
        values = log_ticks(*self.y_range) if self.is_log else ticks(*self.y_range)
        for value in values:
            y = self.to_pixels(0, value)[1]
            drawing.line([(self.left, y), (self.right, y)], theme.grid, 1)
            drawing.text((self.left - 7, y + size * 0.35), f"{value:,g}", size, theme.quiet, "end")
        drawing.line([(self.left, self.bottom), (self.right, self.bottom)], theme.quiet, 1)
        for value in x_ticks:
            x = self.to_pixels(value, self.y_range[0])[0]
            drawing.line([(x, self.bottom), (x, self.bottom + 4)], theme.quiet, 1)
            drawing.text((x, self.bottom + size + 7), f"{value:,g}", size, theme.quiet, "middle")
        middle = (self.left + self.right) / 2
        drawing.text((middle, self.bottom + 2 * size + 13), x_title, size, theme.quiet, "middle")
        if y_title:
            drawing.text((self.left - 38, self.top - 14), y_title, size, theme.quiet)


# --- charts ----------------------------------------------------------------------------------------------------

WIDTH, HEIGHT = 960, 520
LARGE, SMALL = 13.0, 11.0


@dataclass(frozen=True)
class Caption:
    """Texts around a chart."""

    title: str
    subtitle: str = ""
    """Below the title: text, protocol, sample size."""
    source: str = ""
    """At the bottom: where the numbers come from."""


def ranges_of(points: Sequence[Point]) -> tuple[tuple[float, float], tuple[float, float]]:
    """Smallest and largest value in both directions, intervals included."""
    across = [value for p in points for value in (p.x, p.left, p.right) if value is not None]
    up = [value for p in points for value in (p.y, p.lower, p.upper) if value is not None]
    return (min(across), max(across)), (min(up), max(up))


def draw_title(drawing: Drawing, caption: Caption) -> float:
    """Draws title and subtitle; returns the y position where they end."""
    y = 12.0
    for line in wrap_text(caption.title, 17, drawing.width - 24):
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
