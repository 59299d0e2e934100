"""Names that people give, as Streamlit's Markdown shows them: letter by letter, never as markup."""

from __future__ import annotations

import re

_ICON = re.compile(r":(?=material/|streamlit:)")
"""Streamlit looks for icons after the Markdown is read, so that only an unseen joiner keeps the letters."""
_MARKUP = re.compile(r"[\\*_\[\]$:~`<>#]")


def escape(text: str) -> str:
    """`sales_*final*` with its stars: for every place where a label or sentence goes through Markdown."""
    return _MARKUP.sub(r"\\\g<0>", _ICON.sub(":\u2060", text))
