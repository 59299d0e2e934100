"""Drawing in static SVG: lines, bands, marks and text, axes, room for labels, scatters.

Used for thumbnails, downloads, documents and reports, where no script runs. Sizes are in pixels of the drawing.
"""

from __future__ import annotations

import html
import math
from collections.abc import Sequence
from dataclasses import dataclass, field

from core.figures.text import shorten_to_width, text_width, wrap_text
from core.locale import spoken

Point = tuple[float, float]
Box = tuple[float, float, float, float]
"""Left, top, right, bottom."""
FONT = "system-ui, 'Segoe UI', 'Noto Sans', 'Noto Sans CJK JP', 'Hiragino Sans', Meiryo, sans-serif"
MARKERS = ("circle", "diamond", "square", "up", "down")


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

    def hotspot(self, x: float, y: float, width: float, height: float, layer: int, tooltip: str) -> None:
        """An invisible rectangle with a tooltip; a click on it selects its layer."""
        self.parts.append(
            f'<rect x="{x:.1f}" y="{y:.1f}" width="{max(width, 0):.1f}" height="{height:.1f}" fill-opacity="0" '
            f'data-layer="{layer}"><title>{html.escape(tooltip, quote=False)}</title></rect>'
        )

    def marker(self, position: Point, kind: str, colour: str, size: float = 5, hollow: bool = False) -> None:
        """One of MARKERS; hollow ones show the paper."""
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
            "down": [(0, 1.15), (1.05, -0.8), (-1.05, -0.8)],
        }[kind]
        way = " ".join(f"{x + size * dx:.1f},{y + size * dy:.1f}" for dx, dy in corners)
        self.parts.append(f'<polygon points="{way}" {style}/>')

    def text(
        self, position: Point, text: str, size: float = 13, colour: str = "", anchor: str = "start", bold: bool = False
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

    def to_pixels(self, x: float, y: float) -> Point:
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


def spread_apart(wanted: Sequence[float], gap: float, lowest: float, highest: float) -> list[float]:
    """Positions near the wanted ones, in their order, at least `gap` apart and within the limits where there is room."""
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
    spread_places = [0.0] * len(wanted)
    for place, n in zip(places, order, strict=True):
        spread_places[n] = place
    return spread_places


# --- room for labels -------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Label:
    """A label beside its mark."""

    baseline: Point
    """The middle of its baseline."""
    leader: tuple[Point, Point] | None = None
    """From the mark to a label that does not stand next to it."""


@dataclass
class LabelRoom:
    """Finds places for labels beside marks: within the edges, on no line, mark or other label."""

    edges: Box
    lines: list[tuple[Point, Point]] = field(default_factory=list)
    boxes: list[Box] = field(default_factory=list)

    def place(
        self, text: str, mark: Point, size: float, is_above: bool, gap: float = 8, farthest: float = 0
    ) -> Label | None:
        """Takes the nearest free place for a bold label: above or below the mark, else beside it, else up to `farthest` pixels
        above or below; None where nothing is free."""
        wide = text_width(text, size, bold=True)
        for across, down in _label_offsets(wide, size, is_above, gap, farthest):
            middle = min(max(mark[0] + across, self.edges[0] + wide / 2), self.edges[2] - wide / 2)
            baseline = (middle, mark[1] + down)
            box = _label_box(baseline, wide, size)
            leader = _leader(mark, box, gap)
            if self._is_free(box) and (leader is None or not any(_crosses(*leader, other) for other in self.boxes)):
                self.boxes.append(box)
                self.lines += [leader] if leader else []
                return Label(baseline, leader)
        return None

    def _is_free(self, box: Box) -> bool:
        return (
            self.edges[2] - self.edges[0] >= box[2] - box[0]
            and self.edges[1] <= box[1]
            and box[3] <= self.edges[3]
            and not any(boxes_overlap(box, other) for other in self.boxes)
            and not any(_crosses(start, end, box) for start, end in self.lines)
        )


def around(mark: Point, reach: float) -> Box:
    return mark[0] - reach, mark[1] - reach, mark[0] + reach, mark[1] + reach


def boxes_overlap(a: Box, b: Box) -> bool:
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]


def _label_offsets(wide: float, size: float, is_above: bool, gap: float, farthest: float) -> list[Point]:
    """From a mark to the middle of the baseline of its label, nearest first."""
    above, below = -gap - 0.25 * size, gap + 0.8 * size
    first, second = (above, below) if is_above else (below, above)
    aside = wide / 2 + gap
    offsets = [(0.0, first), (aside / 2, first), (-aside / 2, first), (aside, first), (-aside, first)]
    offsets += [(aside, 0.35 * size), (-aside, 0.35 * size), (0.0, second), (aside, second), (-aside, second)]
    for away in range(round(size), round(farthest) + 1, round(size)):
        offsets += [
            (across, end + (away if end > 0 else -away)) for end in (first, second) for across in (0.0, aside, -aside)
        ]
    return offsets


def _label_box(baseline: Point, wide: float, size: float) -> Box:
    middle, y = baseline
    return middle - wide / 2, y - 0.8 * size, middle + wide / 2, y + 0.25 * size


def _leader(mark: Point, box: Box, gap: float) -> tuple[Point, Point] | None:
    """A line from a mark to a label that is more than twice the gap away."""
    end = (min(max(mark[0], box[0]), box[2]), min(max(mark[1], box[1]), box[3]))
    away = math.dist(mark, end)
    if away <= 2 * gap:
        return None
    share = (gap + 1) / away
    return (mark[0] + share * (end[0] - mark[0]), mark[1] + share * (end[1] - mark[1])), end


def _crosses(start: Point, end: Point, box: Box) -> bool:
    """Whether a line between two points passes through the box or within two pixels of it."""
    (x0, y0), (x1, y1) = (start, end) if start[0] <= end[0] else (end, start)
    left, right = max(box[0] - 2, x0), min(box[2] + 2, x1)
    if left > right:
        return False
    slope = (y1 - y0) / (x1 - x0) if x1 > x0 else 0.0
    heights = (y0 + slope * (left - x0), y0 + slope * (right - x0)) if x1 > x0 else (y0, y1)
    return min(heights) < box[3] + 2 and box[1] - 2 < max(heights)


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


@dataclass(frozen=True)
class Dot:
    """One model in a scatter; limits are those of 95 percent intervals."""

    name: str
    x: float
    y: float
    x_limits: tuple[float, float] | None = None
    y_limits: tuple[float, float] | None = None
    group: int = 0
    """Decides colour and marker."""
    is_named: bool = True


def scatter_svg(
    dots: Sequence[Dot],
    caption: Caption,
    x_title: str,
    y_title: str,
    groups: Sequence[str] = (),
    theme: Theme = LIGHT,
    size: tuple[float, float] = (WIDTH, HEIGHT),
) -> str:
    """Dots with error bars in both directions, names where there is room, and a legend of `groups`."""
    drawing = Drawing(*size, theme)
    top = draw_title(drawing, caption)
    across = [value for dot in dots for value in (dot.x, *(dot.x_limits or ()))]
    up = [value for dot in dots for value in (dot.y, *(dot.y_limits or ()))]
    if not dots:
        return drawing.svg(caption.title)
    axes = Axes(drawing, 72, top + 30, size[0] - 40, size[1] - 74, padded_range(across), padded_range(up))
    axes.draw(x_title, y_title, ticks(*axes.x_range))
    occupied: list[Box] = []
    for dot in dots:
        colour = theme.curves[dot.group % len(theme.curves)]
        position = axes.to_pixels(dot.x, dot.y)
        bars = [(x, dot.y) for x in dot.x_limits or ()], [(dot.x, y) for y in dot.y_limits or ()]
        for bar in bars:
            drawing.line([axes.to_pixels(x, y) for x, y in bar], colour, 1.2, opacity=0.6)
        drawing.marker(position, MARKERS[dot.group % len(MARKERS)], colour, 5)
        occupied.append(around(position, 7))
    for dot in dots:
        if dot.is_named:
            _label_dot(axes, dot, occupied)
    x = axes.left
    for n, name in enumerate(groups):
        drawing.marker((x + 6, size[1] - 27), MARKERS[n % len(MARKERS)], theme.curves[n % len(theme.curves)], 5)
        drawing.text((x + 17, size[1] - 23), name, SMALL)
        x += 40 + text_width(name, SMALL)
    draw_source(drawing, caption)
    return drawing.svg(caption.title, caption.subtitle)


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


def padded_range(values: Sequence[float]) -> tuple[float, float]:
    """A range with a little room around it."""
    lowest, highest = min(values), max(values)
    room = 0.07 * (highest - lowest) or 0.1 * abs(highest) or 1.0
    return lowest - room, highest + room


def _label_dot(axes: Axes, dot: Dot, occupied: list[Box]) -> None:
    """Writes the name beside, above or below its dot where it overlaps nothing; else not at all."""
    x, y = axes.to_pixels(dot.x, dot.y)
    long = text_width(dot.name, SMALL)
    for left, base in ((x + 10, y + 4), (x - 10 - long, y + 4), (x - long / 2, y - 10), (x - long / 2, y + 19)):
        box = (left, base - SMALL, left + long, base + 2)
        is_inside = axes.left <= left and left + long <= axes.drawing.width - 4
        if is_inside and not any(boxes_overlap(box, other) for other in occupied):
            axes.drawing.text((left, base), dot.name, SMALL)
            occupied.append(box)
            return
