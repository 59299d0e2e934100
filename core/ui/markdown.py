"""Names that people give, and sentences with them, as Streamlit's Markdown shows them: letter by letter, never as markup."""

from __future__ import annotations

import re

from core.locale import worded
from core.ui import language

_JOINER = "\u2060"
"""Takes no room and parts what is recognised after backslashes are gone: icons, addresses."""
_RECOGNISED = re.compile(
    r"(?<=:)(?=material/|streamlit:)"
    r"|(?<=http:)(?=//)|(?<=https:)(?=//)|(?<=www)(?=\.)"
    r"|(?<=\w@)(?=[-\w]+(?:\.[-\w]+)+(?<![-\d_]))",
    re.IGNORECASE,
)
_MARKUP = re.compile(r"[\\*_\[\]$:~`<>#&]")
_LINE_START = re.compile(r"^[ \t]*(?:([-+=])(?=[-=\s]|$)|(\d{1,9})([.)])(?=\s|$))?", re.MULTILINE)
"""Indented code, lists and underlines of headings begin here."""


def escape(text: str) -> str:
    """`sales_*final*` with its stars: for every place where a name or sentence goes through Markdown.

    The message of an error comes out in the reader's language.
    """
    marked = _MARKUP.sub(r"\\\g<0>", _RECOGNISED.sub(_JOINER, worded(text, language.current())))
    return _LINE_START.sub(_escape_line_start, marked)


def _escape_line_start(found: re.Match[str]) -> str:
    sign, digits, end = found.groups()
    return f"\\{sign}" if sign else f"{digits}\\{end}" if digits else ""
