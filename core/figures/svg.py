"""Drawing in static SVG: lines, bands, marks and words in a box with axes; one picture speaks for itself wherever it lies.

Used for thumbnails, downloads, documents and reports, where no script runs. Sizes are in pixels of the drawing.
"""

from __future__ import annotations

import html
import math
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass, field

from core.wording.labels import between_words

Point = tuple[float, float]
FONT = "system-ui, 'Segoe UI', 'Noto Sans', 'Noto Sans CJK JP', 'Hiragino Sans', Meiryo, sans-serif"
MARKERS = ("circle", "diamond", "square", "up", "down")


@dataclass(frozen=True)
class Theme:
    """Colours of one picture; curves have a contrast of at least 3:1 on the paper."""

    paper: str
    text: str
    quiet: str
    grid: str
    curves: tuple[str, ...]


LIGHT = Theme(
    "#FFFFFF", "#1F2933", "#5F6B76", "#E3E7EC", ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#6B4A00", "#4B2E83")
)
"""Its curves are Okabe and Ito's first four, then a brown and a violet, as their yellow and sky blue are too pale for a
line on white: all are told apart with the common colour blindnesses."""
DARK = Theme(
    "#0E1117", "#E6EAEE", "#A3AEB9", "#2B333C", ("#56B4E9", "#E69F00", "#2BBF8F", "#E6A0C4", "#D9C27E", "#B39DDB")
)
THEMES = {"light": LIGHT, "dark": DARK}


def text_width(text: str, size: float, bold: bool = False) -> float:
    """About how wide a text is: East Asian letters fill a square, all others a little more than half of one."""
    latin = 0.66 if bold else 0.58
    return size * sum(1.0 if unicodedata.east_asian_width(letter) in "WF" else latin for letter in text)


def cut_to(text: str, size: float, room: float, bold: bool = False) -> str:
    """The text, shortened in its middle, between words, where it is wider than `room`."""
    if text_width(text, size, bold) <= room:
        return text
    keep = len(text)
    while keep > 2 and text_width(f"{text[: (keep + 1) // 2]}…{text[len(text) - keep // 2 :]}", size, bold) > room:
        keep -= 1
    return between_words(text, (keep + 1) // 2, keep // 2)


def wrapped(text: str, size: float, room: float) -> list[str]:
    """The text in lines no wider than `room`: broken at spaces, East Asian text between any two letters."""
    lines, line = [], ""
    for piece in _breakable(text):
        if line and text_width(line + piece.rstrip(), size) > room:
            lines.append(line.rstrip())
            line = piece.lstrip()
        else:
            line += piece
    return [*lines, line.rstrip()] if line.strip() else lines


_CLOSING = "、。，．）」』：；％・ー"


def _breakable(text: str) -> list[str]:
    pieces = [""]
    for letter in text:
        is_wide = unicodedata.east_asian_width(letter) in "WF"
        stays = letter in _CLOSING or not is_wide
        if pieces[-1] and ((is_wide and not stays) or (pieces[-1][-1] in " ：、；。，" and letter not in _CLOSING)):
            pieces.append("")
        pieces[-1] += letter
    return pieces


@dataclass
class Drawing:
    """A picture that grows: later parts lie over earlier ones."""

    width: float
    height: float
    theme: Theme = LIGHT
    parts: list[str] = field(default_factory=list)

    def line(self, points: Sequence[Point], colour: str, width: float = 2, dash: str = "", opacity: float = 1) -> None:
        """Through two points and more."""
        if len(points) < 2:
            return
        way = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
        more = (f' stroke-dasharray="{dash}"' if dash else "") + (f' opacity="{opacity:g}"' if opacity != 1 else "")
        self.parts.append(
            f'<polyline points="{way}" fill="none" stroke="{colour}" stroke-width="{width:g}" '
            f'stroke-linejoin="round"{more}/>'
        )

    def area(self, points: Sequence[Point], colour: str, opacity: float = 0.18) -> None:
        """A filled polygon."""
        way = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
        self.parts.append(f'<polygon points="{way}" fill="{colour}" fill-opacity="{opacity:g}"/>')

    def box(self, x: float, y: float, width: float, height: float, colour: str, opacity: float = 1) -> None:
        self.parts.append(
            f'<rect x="{x:.1f}" y="{y:.1f}" width="{max(width, 0):.1f}" height="{max(height, 0):.1f}" fill="{colour}"'
            + (f' fill-opacity="{opacity:g}"/>' if opacity != 1 else "/>")
        )

    def spot(self, x: float, y: float, width: float, height: float, layer: int, told: str) -> None:
        """A place that is not seen: the pointer reads there what it is told, and a click chooses its layer."""
        self.parts.append(
            f'<rect x="{x:.1f}" y="{y:.1f}" width="{max(width, 0):.1f}" height="{height:.1f}" fill-opacity="0" '
            f'data-layer="{layer}"><title>{html.escape(told, quote=False)}</title></rect>'
        )

    def marker(self, at: Point, kind: str, colour: str, size: float = 5, hollow: bool = False) -> None:
        """One of MARKERS; hollow ones show the paper."""
        x, y = at
        fill = self.theme.paper if hollow else colour
        style = f'fill="{fill}" stroke="{colour}" stroke-width="1.6"'
        if kind == "circle":
            self.parts.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{size:g}" {style}/>')
            return
        corners = {
            "diamond": [(0, -1.2), (1.2, 0), (0, 1.2), (-1.2, 0)],
            "square": [(-0.9, -0.9), (0.9, -0.9), (0.9, 0.9), (-0.9, 0.9)],
            "up": [(0, -1.15), (1.05, 0.8), (-1.05, 0.8)],
            "down": [(0, 1.15), (1.05, -0.8), (-1.05, -0.8)],
        }[kind]
        way = " ".join(f"{x + size * dx:.1f},{y + size * dy:.1f}" for dx, dy in corners)
        self.parts.append(f'<polygon points="{way}" {style}/>')

    def words(
        self,
        at: Point,
        text: str,
        size: float = 13,
        colour: str = "",
        anchor: str = "start",
        bold: bool = False,
        turned: bool = False,
    ) -> None:
        """A line of text on its baseline; `turned` reads upwards."""
        x, y = at
        more = (' font-weight="600"' if bold else "") + (f' transform="rotate(-90 {x:.1f} {y:.1f})"' if turned else "")
        self.parts.append(
            f'<text x="{x:.1f}" y="{y:.1f}" font-size="{size:g}" fill="{colour or self.theme.text}" '
            f'text-anchor="{anchor}" paint-order="stroke" stroke="{self.theme.paper}" stroke-width="3" '
            f'stroke-linejoin="round"{more}>{html.escape(text, quote=False)}</text>'
        )

    def svg(self, title: str, description: str = "", language: str = "en") -> str:
        """The picture as a file of its own; title and description are what a screen reader says."""
        told = f"<title>{html.escape(title, quote=False)}</title>"
        if description:
            told += f"<desc>{html.escape(description, quote=False)}</desc>"
        return (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {self.width:g} {self.height:g}" '
            f'width="{self.width:g}" height="{self.height:g}" role="img" lang="{language}" font-family="{FONT}">{told}'
            f'<rect width="100%" height="100%" fill="{self.theme.paper}"/>{"".join(self.parts)}</svg>'
        )


def ticks(lowest: float, highest: float, n: int = 5) -> list[float]:
    """Round values, some `n` of them, within a range."""
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
    found = [a * 10.0**power for power in powers for a in (1, 2, 5) if lowest <= a * 10.0**power <= highest]
    return found if len(found) <= 7 else [value for value in found if f"{value:e}".startswith("1.")]


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

    def at(self, x: float, y: float) -> Point:
        """Where a value lies; what is outside is drawn on the edge."""
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
        """Grid, ticks and titles; the vertical title stands over the axis, where it need not be turned."""
        drawing, theme = self.drawing, self.drawing.theme
        values = log_ticks(*self.y_range) if self.is_log else ticks(*self.y_range)
        for value in values:
            y = self.at(0, value)[1]
            drawing.line([(self.left, y), (self.right, y)], theme.grid, 1)
            drawing.words((self.left - 7, y + size * 0.35), f"{value:,g}", size, theme.quiet, "end")
        drawing.line([(self.left, self.bottom), (self.right, self.bottom)], theme.quiet, 1)
        for value in x_ticks:
            x = self.at(value, self.y_range[0])[0]
            drawing.line([(x, self.bottom), (x, self.bottom + 4)], theme.quiet, 1)
            drawing.words((x, self.bottom + size + 7), f"{value:,g}", size, theme.quiet, "middle")
        middle = (self.left + self.right) / 2
        drawing.words((middle, self.bottom + 2 * size + 13), x_title, size, theme.quiet, "middle")
        if y_title:
            drawing.words((self.left - 38, self.top - 14), y_title, size, theme.quiet)


def spread(wanted: Sequence[float], gap: float, lowest: float, highest: float) -> list[float]:
    """Places near the wanted ones, in their order, at least `gap` apart and within the limits where there is room."""
    order = sorted(range(len(wanted)), key=lambda n: wanted[n])
    places = [wanted[n] for n in order]
    for _ in range(60):  # neighbours push each other apart
        moved = False
        for n in range(len(places) - 1):
            if (missing := gap - (places[n + 1] - places[n])) > 1e-6:
                places[n] -= missing / 2
                places[n + 1] += missing / 2
                moved = True
        if places:
            places[0] = max(places[0], lowest)
            places[-1] = min(places[-1], highest)
        if not moved:
            break
    found = [0.0] * len(wanted)
    for place, n in zip(places, order, strict=True):
        found[n] = place
    return found
