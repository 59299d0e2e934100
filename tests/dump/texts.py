"""Texts out of what people are shown, a line for each block, and one place where what passes is taken out of them."""

from __future__ import annotations

import html
import re
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import lxml.html

LANGUAGES = ("en", "ja")
_INLINE = {"a", "abbr", "b", "br", "code", "em", "i", "mark", "small", "span", "strong", "sub", "sup", "tspan", "u"}
_ATTRIBUTES = ("aria-label", "title", "alt", "placeholder")
"""What a reader hears, or sees under the pointer."""
_RUN_ID = re.compile(
    r"(?<![0-9A-Za-z])0[0-9a-f]{7}(?:-[0-9a-f]{4}(?:-[0-9a-f]{4}){0,2}(?:-[0-9a-f]{12})?)?(?![0-9A-Za-z])"
)
"""A uuidv7, or its start: the first eight digits are a time in units of 65 seconds."""
_PASSING = (
    (re.compile(r"\d[\d,.]* (?:ms|s|seconds?|min|minutes?|h|hours?|秒|分|時間)(?![\w/])"), "<duration>"),
    (re.compile(r"\d[\d.]* GB(?![A-Za-z])"), "<memory>"),
)
"""What is measured of the machine while it speaks."""


class Folder:
    """Writes texts, without what differs between two dumps of the same state: today, places of files, random ids."""

    def __init__(self, path: Path, places: Sequence[Path] = (), warehouse_id: str = "") -> None:
        self.path = path
        self._names = {str(place): "<place>" for place in places} | (
            {warehouse_id: "<warehouse>"} if warehouse_id else {}
        )
        now = datetime.now(UTC)
        self._days = {(now + timedelta(days=n)).date() for n in (-1, 0, 1)}  # whatever the zone, and past midnight

    def write(self, name: str, lines: Iterable[str], passing: bool = False) -> None:
        """`passing`: the lines tell how long something took."""
        path = self.path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        text = self.settled("".join(f"{line}\n" for line in lines))
        for pattern, instead in _PASSING if passing else ():
            text = pattern.sub(instead, text)
        path.write_text(text, encoding="utf-8")

    def settled(self, text: str) -> str:
        for name in sorted(self._names, key=len, reverse=True):
            text = text.replace(name, self._names[name])
        for day in self._days:
            months = f"{day.day} {day:%B} {day.year}", f"{day.year}年{day.month}月{day.day}日"
            text = re.sub(rf"{day}(?:[ T]\d\d:\d\d(?::\d\d(?:\.\d+)?)?)?(?:\+00:00|Z)?", "<now>", text)
            text = re.sub(rf"{day:%Y%m%d}-\d{{6}}", "<now>", text)
            text = re.sub(rf"(?:{'|'.join(months)})(?: \d?\d\\?:\d\d)?", "<now>", text)
        return _RUN_ID.sub(lambda found: "<run>" if self._is_new(found[0]) else found[0], text)

    def _is_new(self, run_id: str) -> bool:
        made = datetime.fromtimestamp((int(run_id[:8], 16) << 16) / 1000, UTC)
        return made.date() in self._days


def of_html(text: str | bytes) -> list[str]:
    """A line for each block, row of a table and text of a drawing; before it what it is called by."""
    lines: list[str] = []
    words: list[str] = []

    def end_block() -> None:
        if line := " ".join("".join(words).split()):
            lines.append(line)
        words.clear()

    def walk(node: Any) -> None:
        if not isinstance(node.tag, str) or node.tag in ("script", "style"):
            return
        is_block = node.tag not in _INLINE
        if is_block and node.tag not in ("td", "th"):
            end_block()
        lines.extend(called(name, node.get(name)) for name in _ATTRIBUTES if node.get(name))
        words.append(node.text or "")
        for child in node:
            walk(child)
            words.append(child.tail or "")
        if node.tag in ("td", "th"):
            words.append(" | ")
        elif is_block:
            end_block()

    walk(lxml.html.fromstring(text.encode() if isinstance(text, str) else text, parser=_parser()))
    end_block()
    return lines


def _parser() -> lxml.html.HTMLParser:
    return lxml.html.HTMLParser(encoding="utf-8")


def called(name: str, text: str) -> str:
    """A text after the name of what it stands in, which is no word of the text."""
    return f"«{name}» {text}"


def value(of: Any) -> str:
    """A number as far as two machines agree on it; labels of buttons come as references to letters."""
    return f"{of:.6g}" if isinstance(of, float) else html.unescape(str(of))


def row(of: Iterable[Any]) -> str:
    return " | ".join(value(one) for one in of)
