"""The reader's language: `?lang=` in the URL, else what the browser prefers."""

from __future__ import annotations

from collections.abc import Callable

import streamlit as st

from core import locale
from core.ui import view

LANGUAGES = locale.LANGUAGES
_NAME = "lang"


def settle() -> str:
    """The language of this run, before anything is drawn."""
    return view.settle_one(_NAME, list(LANGUAGES), _of_browser())


def current() -> str:
    return st.session_state.get(view.key(_NAME), "en")


def translator() -> Callable[[str], str]:
    return locale.translator(current())


def switch(chosen: str) -> None:
    """The choice in the sidebar; the page's own language attribute follows for screen readers and line breaks."""
    with st.sidebar:
        st.segmented_control(
            "Language / 言語", list(LANGUAGES), format_func=LANGUAGES.__getitem__, key=view.key(_NAME), required=True
        )
        script = f"<script>document.documentElement.lang = '{chosen}'</script>"
        st.html(script, unsafe_allow_javascript=True)
    view.publish(_NAME, chosen)


def _of_browser() -> str:
    preferred = (st.context.locale or "en").split("-")[0]
    return preferred if preferred in LANGUAGES else "en"
