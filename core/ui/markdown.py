"""Escape names and sentences for Streamlit's Markdown, so that they are shown letter by letter and never as markup."""

from __future__ import annotations

import re

from core.locale import DIRECTION_CONTROLS, worded
from core.ui import language

_JOINER = "\u2060"
"""A character of no width: it breaks icons and addresses, which Streamlit recognises after backslashes are removed."""
_RECOGNISED = re.compile(
    r"(?<=:)(?=material/|streamlit:)"
    r"|(?<=http:)(?=//)|(?<=https:)(?=//)|(?<=www)(?=\.)"
    r"|(?<=\w@)(?=[-\w]+(?:\.[-\w]+)+(?<![-\d_]))",
    re.IGNORECASE,
)
_DIRECTION = re.compile(f"[{DIRECTION_CONTROLS}]")
_MARKUP = re.compile(r"[\\*_\[\]$:~`<>#&]")
_LINE_START = re.compile(r"^[ \t]*(?:([-+=])(?=[-=\s]|$)|(\d{1,9})([.)])(?=\s|$))?", re.MULTILINE)
"""Indented code, lists and underlines of headings begin here."""
_COMMAND = re.compile(r"(`workdim [^`\n]*`)")


def escape(text: str) -> str:
    """A text for Markdown that shows its own characters, as the stars of `sales_*final*`.

    Every name or sentence that goes through Markdown passes here. The message of an error comes out in the reader's
    language, its commands as code.
    """
    parts = _COMMAND.split(_DIRECTION.sub("", worded(text)))
    between = [part if n % 2 else _after_command(part) for n, part in enumerate(parts[1:], 1)]
    return "".join([_escaped(parts[0]), *between])


def _after_command(text: str) -> str:
    """Text that begins no line: its blank stays."""
    rest = text.lstrip(" \t")
    return text[: len(text) - len(rest)] + _escaped(rest)


def _escaped(text: str) -> str:
    marked = _MARKUP.sub(r"\\\g<0>", _RECOGNISED.sub(_JOINER, text))
    return _LINE_START.sub(_escape_line_start, marked)


def _escape_line_start(match: re.Match[str]) -> str:
    sign, digits, end = match.groups()
    return f"\\{sign}" if sign else f"{digits}\\{end}" if digits else ""


def button_label(text: str) -> str:
    """Escape the label of a button in a row, as Markdown in ASCII (`language.as_ascii`)."""
    return language.as_ascii(escape(text))
