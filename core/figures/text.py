"""How much room text takes in a drawing or on a slide, and where its lines break."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator
from functools import lru_cache
from importlib.util import find_spec
from itertools import pairwise
from pathlib import Path

from icu4py.breakers import LineBreaker
from PIL import ImageFont

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
    """The pieces that a line is never broken within, each with the spaces behind it."""
    return tuple(LineBreaker(text, rules))


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
