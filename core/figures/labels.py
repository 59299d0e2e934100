"""Room for labels in a drawing: beside points, next to marks on curves, at the ends of lines, and on nothing that is drawn.

Lengths are in the unit of the drawing, whatever it is; y counts downwards.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from core.figures.chart import Point, Side
from core.figures.text import text_width

Position = tuple[float, float]
Box = tuple[float, float, float, float]
"""Left, top, right, bottom."""
Place = TypeVar("Place")

SIDES: dict[Side, tuple[int, int]] = {
    "above": (0, -1),
    "below": (0, 1),
    "right": (1, 0),
    "left": (-1, 0),
    "above right": (1, -1),
    "below right": (1, 1),
    "above left": (-1, -1),
    "below left": (-1, 1),
}
"""Where a name stands beside its point: across and down, the best side first."""
MARK, GAP, CORNER = 0.6, 0.85, 1.1
"""Reach of a mark, distance of a name from its middle, and height of a name at a corner, in letter sizes."""


def around(mark: Position, reach: float) -> Box:
    return mark[0] - reach, mark[1] - reach, mark[0] + reach, mark[1] + reach


def boxes_overlap(a: Box, b: Box) -> bool:
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]


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


@dataclass(frozen=True)
class Label:
    """A label near its mark."""

    baseline: Position
    """The middle of its baseline."""
    leader: tuple[Position, Position] | None = None
    """From the mark to a label that does not stand next to it."""


@dataclass
class LabelRoom:
    """Finds places for labels: within the edges, on no line, mark or other label."""

    edges: Box
    lines: list[tuple[Position, Position]] = field(default_factory=list)
    boxes: list[Box] = field(default_factory=list)

    def take(self, places: Mapping[Place, Box], beside: Sequence[Box] = ()) -> Place | None:
        """The first free place, of several the one that covers least of `beside`; None where nothing is free."""
        free = [place for place, box in places.items() if self._is_free(box)]
        if not free:
            return None
        best = min(free, key=lambda place: sum(boxes_overlap(places[place], box) for box in beside))
        self.boxes.append(places[best])
        return best

    def near(
        self, text: str, mark: Position, size: float, is_above: bool, gap: float = 8, farthest: float = 0
    ) -> Label | None:
        """A place for a bold label above or below its mark, else beside it, else up to `farthest` above or below."""
        wide = text_width(text, size, bold=True)
        places = {}
        for across, down in _label_offsets(wide, size, is_above, gap, farthest):
            middle = min(max(mark[0] + across, self.edges[0] + wide / 2), self.edges[2] - wide / 2)
            y = mark[1] + down
            box = (middle - wide / 2, y - 0.8 * size, middle + wide / 2, y + 0.25 * size)
            leader = _leader(mark, box, gap)
            if leader is None or not any(_crosses(*leader, other) for other in self.boxes):
                places[Label((middle, y), leader)] = box
        label = self.take(places)
        self.lines += [label.leader] if label and label.leader else []
        return label

    def _is_free(self, box: Box) -> bool:
        left, top, right, bottom = self.edges
        return (
            (left <= box[0] and top <= box[1] and box[2] <= right and box[3] <= bottom)
            and not any(boxes_overlap(box, other) for other in self.boxes)
            and not any(_crosses(start, end, box) for start, end in self.lines)
        )


def name_sides(
    points: Sequence[Point], to_plot: Callable[[float, float], Position], edges: Box, size: float
) -> list[Side | None]:
    """For each point the side on which its name overlaps no mark and no other name, and few intervals; None without room.

    Names of points with `is_first` find their place before the others.
    """
    marks = [to_plot(point.x, point.y) for point in points]
    bars = [bar for point in points for bar in _bars(point, to_plot, 0.1 * size)]
    room = LabelRoom(edges, boxes=[around(mark, MARK * size) for mark in marks])
    sides: list[Side | None] = [None] * len(points)
    for number in sorted(range(len(points)), key=lambda number: not points[number].is_first):
        if not points[number].name:
            continue
        others = [around(mark, 1.4 * size) for other, mark in enumerate(marks) if other != number]
        wide = text_width(points[number].name, size)
        boxes = {side: _name_box(marks[number], wide, size, side) for side in SIDES}
        sides[number] = room.take(boxes, [*bars, *others])
    return sides


def name_baseline(mark: Position, side: Side, size: float) -> tuple[Position, str]:
    """Where the baseline of a name begins, is centred or ends, and which of these."""
    left, _top, right, bottom = _name_box(mark, 0.0, size, side)
    return ((left + right) / 2, bottom - 0.15 * size), {0: "middle", 1: "start", -1: "end"}[SIDES[side][0]]


def _name_box(mark: Position, wide: float, size: float, side: Side) -> Box:
    across, down = SIDES[side]
    left = mark[0] + (across * GAP * size if across > 0 else across * (GAP * size + wide) if across else -wide / 2)
    middle = mark[1] + down * (CORNER if across else GAP + 0.55) * size
    return left, middle - 0.5 * size, left + wide, middle + 0.5 * size


def _bars(point: Point, to_plot: Callable[[float, float], Position], thick: float) -> list[Box]:
    """The intervals of a point, as thin boxes."""
    x, y = to_plot(point.x, point.y)
    bars = []
    if point.left is not None and point.right is not None:
        bars.append((to_plot(point.left, point.y)[0], y - thick, to_plot(point.right, point.y)[0], y + thick))
    if point.lower is not None and point.upper is not None:
        bars.append((x - thick, to_plot(point.x, point.upper)[1], x + thick, to_plot(point.x, point.lower)[1]))
    return bars


def _label_offsets(wide: float, size: float, is_above: bool, gap: float, farthest: float) -> list[Position]:
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


def _leader(mark: Position, box: Box, gap: float) -> tuple[Position, Position] | None:
    """A line from a mark to a label that is more than twice the gap away."""
    end = (min(max(mark[0], box[0]), box[2]), min(max(mark[1], box[1]), box[3]))
    away = math.dist(mark, end)
    if away <= 2 * gap:
        return None
    share = (gap + 1) / away
    return (mark[0] + share * (end[0] - mark[0]), mark[1] + share * (end[1] - mark[1])), end


def _crosses(start: Position, end: Position, box: Box) -> bool:
    """Whether a line between two points passes through the box or within two units of it."""
    (x0, y0), (x1, y1) = (start, end) if start[0] <= end[0] else (end, start)
    left, right = max(box[0] - 2, x0), min(box[2] + 2, x1)
    if left > right:
        return False
    slope = (y1 - y0) / (x1 - x0) if x1 > x0 else 0.0
    heights = (y0 + slope * (left - x0), y0 + slope * (right - x0)) if x1 > x0 else (y0, y1)
    return min(heights) < box[3] + 2 and box[1] - 2 < max(heights)
