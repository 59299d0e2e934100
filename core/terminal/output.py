"""All output to the terminal, filtered: foreign names cannot move the cursor, set colours, or fake a line of ours.

`say` prints lines and escapes line breaks within one. `guarded_output` puts the same filter before everything else that
a verb writes to standard output and standard error, libraries included.
"""

from __future__ import annotations

import copy
import json
import logging
import math
import os
import re
import shlex
import shutil
import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TextIO

from rich.cells import cell_len

from core.errors import Sentence
from core.locale import DIRECTION_CONTROLS, LANGUAGES, worded

CONTROL_CHARACTERS = re.compile(f"[\x00-\x08\x0b-\x1f\x7f-\x9f{DIRECTION_CONTROLS}]")
"""Characters that move the cursor, set colours or reverse the direction of text; line break and tab excluded."""
WIDTH = 80
"""Columns of a terminal that states none."""


def escape_controls(text: str) -> str:
    """Escape control characters. JSON stays valid: it never contains those below a space."""
    return CONTROL_CHARACTERS.sub(
        lambda match: f"\\x{ord(match[0]):02x}" if match[0] < " " else f"\\u{ord(match[0]):04x}", text
    )


def preferred_language() -> str:
    """The terminal's language: WORKDIM_LANGUAGE, else the variables that gettext reads (such as LANG), else English."""
    chosen = os.environ.get("WORKDIM_LANGUAGE", "")
    if chosen not in LANGUAGES:
        variables = ("LANGUAGE", "LC_ALL", "LC_MESSAGES", "LANG")
        chosen = next(filter(None, map(os.environ.get, variables)), "")[:2]
    return chosen if chosen in LANGUAGES else "en"


def heads(*names: str) -> list[Sentence]:
    """The heads of a table. Code compares them in English; they are translated when printed."""
    return [Sentence(name) for name in names]


def one_line(text: str) -> str:
    """The text, translated, as a single line with control characters, line breaks and tabs escaped."""
    return escape_controls(worded(text)).replace("\n", "\\n").replace("\t", "\\t")


class Fixed(str):
    """A line that is never wrapped: a row of a table, a line of a file."""


class Head(Fixed):
    """The first line of a table."""


STYLES = {
    r"`workdim [^`]*`|^usage: workdim .*": "cyan",
    r"\b(?:failed|interrupted|veto|vetoed|OUTSIDE|NOT)\b|失敗|中断|不合格|範囲外": "yellow",
    r"\b(?:holds|finished)\b|(?<!ほぼ)成立(?!し)|完了": "green",
    r"^workdim:": "bold red",
}
"""Pattern -> style of matching text in a line."""


_COMMAND = re.compile(r"`(workdim [^`]+)`")
_named_warehouse: ContextVar[str] = ContextVar("warehouse", default="")


def name_warehouse(path: Path | None) -> None:
    """Have commands that lines tell to type name the warehouse too, as the one that was typed does."""
    _named_warehouse.set(f" --warehouse {shlex.quote(str(path))}" if path else "")


def _with_warehouse(command: re.Match[str]) -> str:
    said = command[1]
    return f"`{said}`" if "--warehouse" in said or "--help" in said else f"`{said}{_named_warehouse.get()}`"


def say(*lines: str) -> None:
    """Print lines, those that are not `Fixed` wrapped to the width of the terminal; beneath its text that of a label."""
    _print([part for line in lines for part in _fitting(line)], sys.stdout)


_LABEL = re.compile(r"\s*\S.*?\s{2,}(?=\S)")
"""What stands before the text of a line, two spaces or more to its left."""


def _fitting(line: str) -> list[str]:
    clean = _clean(line)
    if isinstance(line, Fixed):
        return [type(line)(clean)]
    room = width()
    hanging = cell_len(label[0]) if (label := _LABEL.match(clean)) else 0
    if not 0 < hanging <= room // 2:
        indent = len(clean) - len(clean.lstrip())
        hanging = indent and indent + 2
    return wrap(clean, room, " " * hanging) or [""]


def _clean(line: str) -> str:
    return _COMMAND.sub(_with_warehouse, one_line(line))


def tell(message: str, plural: str = "", /, **parts: Any) -> None:
    """Print a line that is made as a `Sentence` is."""
    say(_sentence(message, plural, parts))


def _sentence(message: str, plural: str, parts: Mapping[str, Any]) -> Sentence:
    return message if isinstance(message, Sentence) else Sentence(message, plural, **parts)


class WordedFormatter(logging.Formatter):
    """Formats log records as `warn` prints lines: a `Sentence` in the language of the terminal."""

    def format(self, record: logging.LogRecord) -> str:
        if isinstance(record.msg, Sentence):
            record = copy.copy(record)
            record.msg, record.args = worded(record.msg), None
        return super().format(record)


def warn(message: str, plural: str = "", /, **parts: Any) -> None:
    """Print a line that is made as a `Sentence` is, on standard error."""
    _print([_clean(f"workdim: {worded(_sentence(message, plural, parts))}")], sys.stderr)


def _print(lines: Iterable[str], stream: TextIO) -> None:
    if not stream.isatty():
        print("\n".join(lines), file=stream, flush=True)
        return
    from rich.console import Console
    from rich.text import Text

    # Styles are added after the guard, to clean text. rich respects NO_COLOR and dumb terminals.
    console = Console(file=getattr(stream, "unguarded", stream), highlight=False, soft_wrap=True)
    for line in lines:
        drawn = Text(line, style="bold" if isinstance(line, Head) else "")
        for pattern, style in STYLES.items():
            drawn.highlight_regex(pattern, style)
        console.print(drawn)


def width() -> int:
    """Columns of the terminal, or those that COLUMNS asks for; 80 if neither is known, as of a file or a pipe."""
    return max(40, shutil.get_terminal_size((WIDTH, 24)).columns)


def pad(text: str, columns: int) -> str:
    """Pad with spaces to this number of terminal columns; a Japanese letter takes two."""
    return text + " " * (columns - cell_len(text))


_OPENING, _CLOSING = "（「『【〈《", "、。，．：；？！）」』】〉》ーっゃゅょッャュョ・％…"
_WIDE = "\u3001-\u9fff\uf900-\ufaff\uff01-\uff60"
_UNIT = re.compile(
    rf"\s+|[({_OPENING}]?`[^`]+`[^\s{_WIDE}]*|[{_OPENING}]*[{_WIDE}][{_CLOSING}]*|(?:[^\s{_WIDE}]|(?<=\d) (?=%))+[{_CLOSING}]*"
)
"""Space, a Japanese letter with the punctuation that stays with it, or a word: lines may break between units, not within
`95 %` or a command."""


def wrap(text: str, columns: int, further: str = "", first: str = "") -> list[str]:
    """Wrap to at most this number of columns, except for longer words. `first` and `further` are prefixes of the lines.

    `textwrap` counts a Japanese letter as one column and a Japanese sentence as one word.
    """
    lines: list[str] = []
    line, space = first, ""
    is_empty = True
    for unit in _UNIT.findall(text):
        if unit.isspace():
            space = unit if not (is_empty and lines) else ""
            continue
        if not is_empty and cell_len(line + space + unit) > columns:
            lines.append(line)
            line, space, is_empty = further, "", True
        line, space, is_empty = line + space + unit, "", False
    return lines if is_empty else [*lines, line]


JSON_COLUMNS = ("config", "evidence", "execution", "library_versions", "phase_seconds", "source_key")
"""Columns that hold JSON, printed as objects within their record."""


def say_json(content: Any) -> None:
    """Print records as JSON: times as `2026-11-26T19:40:46Z`, unknown values and non-finite numbers as null."""
    print(json.dumps(_json_value("", content), default=str, ensure_ascii=False, indent=1), flush=True)


def _json_value(key: str, value: Any) -> Any:
    if isinstance(value, Mapping):
        return {name: _json_value(str(name), item) for name, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_json_value(key, item) for item in value]
    if isinstance(value, str) and key in JSON_COLUMNS:
        with suppress(ValueError):
            return _json_value("", json.loads(value))
    if isinstance(value, datetime) or (value is not None and (key == "at" or key.endswith("_at"))):
        return utc_text(value)
    return None if isinstance(value, float) and not math.isfinite(value) else value


def utc_text(value: Any) -> Any:
    """A datetime, seconds since 1970 or a text with a time, as ISO 8601 in UTC; anything else unchanged."""
    if isinstance(value, str):
        try:
            value = datetime.fromisoformat(value)
        except ValueError:
            return value
    elif isinstance(value, (int, float)):
        value = datetime.fromtimestamp(value, UTC)
    if not isinstance(value, datetime):
        return value
    value = value.astimezone(UTC).replace(tzinfo=None) if value.tzinfo else value  # the warehouse stores UTC, unmarked
    return f"{value.isoformat(timespec='seconds')}Z"


class _Guard:
    """A stream that escapes control characters in all text written; otherwise the wrapped stream."""

    def __init__(self, stream: TextIO) -> None:
        self.unguarded = stream

    def write(self, text: str) -> int:
        self.unguarded.write(escape_controls(text))
        return len(text)

    def writelines(self, lines: Any) -> None:
        for line in lines:
            self.write(line)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.unguarded, name)


@contextmanager
def guarded_output() -> Iterator[None]:
    before = sys.stdout, sys.stderr
    for stream in before:  # a Windows console may default to a code page without our symbols
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")
    sys.stdout, sys.stderr = _Guard(sys.stdout), _Guard(sys.stderr)
    try:
        yield
    finally:
        sys.stdout, sys.stderr = before


def progress_stream() -> TextIO:
    """Standard error without the guard, for bars that move the cursor; the names they show pass through `one_line`."""
    return getattr(sys.stderr, "unguarded", sys.stderr)
