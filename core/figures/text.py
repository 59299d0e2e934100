"""Room for text in a drawing or on a slide: how much it takes, where its lines break, and where names stand on nothing that is
drawn: beside points, and at the ends of lines.

Lengths are in the unit of the drawing, whatever it is; y counts downwards.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import lru_cache
from importlib.util import find_spec
from itertools import pairwise
from pathlib import Path

from icu4py.breakers import LineBreaker
from PIL import ImageFont

from core.figures.chart import Point, Side
from core.wording.labels import text_without_middle

PHRASES = "ja-u-lw-phrase"
"""ICU breaks Japanese at the ends of phrases (bunsetsu), never within a word; other scripts as the Unicode standard says."""
_FONT_SIZE = 100
_GAP = 0.25
"""Where Japanese and Latin letters meet."""


@lru_cache
def _font(bold: bool) -> ImageFont.FreeTypeFont:
    """DejaVu Sans, which comes with matplotlib (found, not imported): programs without the fonts of a slide use it, and it is
    wider than most others, so that what fits by it fits."""
    package = find_spec("matplotlib")
    assert package is not None and package.origin is not None
    name = "DejaVuSans-Bold.ttf" if bold else "DejaVuSans.ttf"
    return ImageFont.truetype(Path(package.origin).parent / "mpl-data/fonts/ttf" / name, _FONT_SIZE)


def is_wide(letter: str) -> bool:
    return unicodedata.east_asian_width(letter) in "WF"


@lru_cache(maxsize=5_000)
def _letter_width(letter: str, bold: bool) -> float:
    """As a multiple of the letter size; East Asian letters, which the font lacks, fill a square."""
    return 1.0 if is_wide(letter) else _font(bold).getlength(letter) / _FONT_SIZE


@lru_cache(maxsize=50_000)
def text_width(text: str, size: float, bold: bool = False) -> float:
    """Width of a line in the unit of `size`."""
    meeting = sum(is_wide(before) != is_wide(after) for before, after in pairwise(text))
    return size * (sum(_letter_width(letter, bold) for letter in text) + _GAP * meeting)


def shorten_to_width(text: str, size: float, room: float, bold: bool = False) -> str:
    """The text, shortened in its middle, between words, where it is wider than `room`."""
    if text_width(text, size, bold) <= room:
        return text
    keep = len(text)
    while keep > 2 and text_width(f"{text[: (keep + 1) // 2]}…{text[len(text) - keep // 2 :]}", size, bold) > room:
        keep -= 1
    return text_without_middle(text, (keep + 1) // 2, keep // 2)


@lru_cache(maxsize=20_000)
def phrases(text: str, rules: str = PHRASES) -> tuple[str, ...]:
    """The pieces that a line is never broken within, each with the spaces behind it; ICU takes a prefix of negation for one, and
    parts `3 %`."""
    pieces: list[str] = []
    for piece in LineBreaker(text, rules):
        is_sign = piece.startswith("%") and pieces and pieces[-1].endswith(" ") and pieces[-1][-2:-1].isdigit()
        if pieces and (is_sign or pieces[-1].endswith("未")):
            pieces[-1] += piece
        else:
            pieces.append(piece)
    return tuple(pieces)


def unbroken(text: str) -> str:
    """As it is drawn by programs that break lines themselves: none ends between a number and its percent sign."""
    return re.sub(r"(?<=\d) (?=%)", "\u00a0", text)


def _pieces(text: str, size: float, room: float, bold: bool) -> Iterator[str]:
    """The phrases; a phrase longer than a line in the pieces of ordinary Japanese, and such a piece letter by letter."""
    for phrase in phrases(text):
        for piece in phrases(phrase, "ja") if text_width(phrase.rstrip(), size, bold) > room else (phrase,):
            yield from piece if text_width(piece.rstrip(), size, bold) > room else (piece,)


def wrap_text(text: str, size: float, room: float, bold: bool = False) -> list[str]:
    """The text in lines no wider than `room`, filled greedily as programs do."""
    lines, line, used = [], "", 0.0
    for piece in _pieces(text, size, room, bold):
        if line and used + text_width(piece.rstrip(), size, bold) > room:
            lines.append(line.rstrip())
            line, used = "", 0.0
        line, used = line + piece, used + text_width(piece, size, bold)
    return [*lines, line.rstrip()] if line.strip() else lines


# --- names -------------------------------------------------------------------------------------------------------

Position = tuple[float, float]
Box = tuple[float, float, float, float]
"""Left, top, right, bottom."""

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


def _around(mark: Position, reach: float) -> Box:
    return mark[0] - reach, mark[1] - reach, mark[0] + reach, mark[1] + reach


def boxes_overlap(a: Box, b: Box) -> bool:
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]


def spread_apart(wanted: Sequence[float], gap: float, lowest: float, highest: float) -> list[float]:
    """Positions near the wanted ones, in their order, within the limits and `gap` apart, or less where there is no room.

    Their squared distances from the wanted ones are least (isotonic regression, by pooling adjacent violators).
    """
    gap = min(gap, (highest - lowest) / max(len(wanted) - 1, 1))
    order = sorted(range(len(wanted)), key=lambda n: wanted[n])
    pools: list[tuple[float, int]] = []  # mean place of the first of neighbours that touch, and their number
    for place, n in enumerate(order):
        mean, size = wanted[n] - gap * place, 1
        while pools and pools[-1][0] > mean:
            before, n_before = pools.pop()
            mean, size = (before * n_before + mean * size) / (n_before + size), n_before + size
        pools.append((mean, size))
    last = highest - gap * (len(wanted) - 1)
    firsts = [min(max(mean, lowest), last) for mean, size in pools for _ in range(size)]
    places = {n: first + gap * place for place, (n, first) in enumerate(zip(order, firsts, strict=True))}
    return [places[n] for n in range(len(wanted))]


def name_sides(
    points: Sequence[Point],
    to_plot: Callable[[float, float], Position],
    edges: Box,
    size: float,
    lines: Iterable[Sequence[Point]] = (),
) -> list[Side | None]:
    """For each point the side on which its name overlaps no mark, line or other name, and few intervals; None without room.

    Names of points with `is_first` find their place before the others, over a line (one of `lines`) where there is no other.
    """
    marks = [to_plot(point.x, point.y) for point in points]
    bars = [(to_plot(*start), to_plot(*end)) for point in points for start, end in point.intervals()]
    pieces = [(to_plot(a.x, a.y), to_plot(b.x, b.y)) for line in lines for a, b in pairwise(line)]
    taken = [_around(mark, MARK * size) for mark in marks]
    sides: list[Side | None] = [None] * len(points)

    def is_free(box: Box) -> bool:
        left, top, right, bottom = edges
        is_inside = left <= box[0] and top <= box[1] and box[2] <= right and box[3] <= bottom
        return is_inside and not any(boxes_overlap(box, other) for other in taken)

    for number in sorted(range(len(points)), key=lambda number: not points[number].is_first):
        if not points[number].name:
            continue
        others = [_around(mark, 1.4 * size) for other, mark in enumerate(marks) if other != number]
        wide = text_width(points[number].name, size)
        boxes = {side: _name_box(marks[number], wide, size, side) for side in SIDES}
        free = [side for side, box in boxes.items() if is_free(box)]
        clear = [side for side in free if not any(_crosses(*piece, boxes[side]) for piece in pieces)]
        if places := clear or (free if points[number].is_first else []):
            crowd = {
                side: sum(boxes_overlap(boxes[side], mark) for mark in others)
                + sum(_crosses(*bar, boxes[side]) for bar in bars)
                for side in places
            }
            sides[number] = best = min(places, key=crowd.__getitem__)
            taken.append(boxes[best])
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


def _crosses(start: Position, end: Position, box: Box) -> bool:
    """Whether a line between two points passes through the box or within two units of it."""
    (x0, y0), (x1, y1) = (start, end) if start[0] <= end[0] else (end, start)
    left, right = max(box[0] - 2, x0), min(box[2] + 2, x1)
    if left > right:
        return False
    slope = (y1 - y0) / (x1 - x0) if x1 > x0 else 0.0
    heights = (y0 + slope * (left - x0), y0 + slope * (right - x0)) if x1 > x0 else (y0, y1)
    return min(heights) < box[3] + 2 and box[1] - 2 < max(heights)
