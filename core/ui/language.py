"""The reader's language: `?lang=` in the URL, else what the browser prefers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime, timedelta

import streamlit as st

from core import locale
from core.ui import url_state
from core.wording.numbers import day

LANGUAGES = locale.LANGUAGES
NAME = "lang"


def settle() -> str:
    """The language of this run, before anything is drawn."""
    return url_state.settle_one(NAME, list(LANGUAGES), _of_browser())


def current() -> str:
    return st.session_state.get(url_state.key(NAME), "en")


def translator() -> Callable[[str], str]:
    return locale.translator(current())


def write_over(texts: Mapping[str, str]) -> None:
    """Puts texts (CSS selector -> text) in the place of what Streamlit writes there in English, and only in English."""
    if current() == "en":
        return
    styles = [
        f"{place} {{ font-size: 0 !important; white-space: normal; overflow: visible; }} "
        f'{place}::after {{ font-size: 0.875rem; content: "{text}"; }}'
        for place, text in texts.items()
    ]
    st.html(f"<style>{' '.join(styles)}</style>")


def write_over_streamlit() -> None:
    """What any input may say in Streamlit's own words."""
    _ = translator()
    line = "[data-testid=InputInstructions] span:first-child"
    write_over(
        {
            "[data-testid=stFileUploaderDropzone] [data-testid=stBaseButton-secondary] p": _("Choose a file"),
            f":is([data-testid=stTextInput], [data-testid=stNumberInput]) {line}": _("Press Enter to apply"),
            f"[data-testid=stTextArea] {line}": _("Press Ctrl+Enter to apply"),
            "[data-key=__select_all__] > div": _("Select all"),
            "[role=listbox][data-empty=true] [role=option] span": _("No results"),
        }
    )


def switch(chosen: str) -> None:
    """The choice in the sidebar; the page's own language attribute follows for screen readers and line breaks."""
    with st.sidebar:
        st.segmented_control(
            "Language / 言語",
            list(LANGUAGES),
            format_func=LANGUAGES.__getitem__,
            key=url_state.key(NAME),
            required=True,
        )
        script = f"<script>document.documentElement.lang = '{chosen}'</script>"
        st.html(script, unsafe_allow_javascript=True)
    url_state.publish(NAME, chosen)


def _of_browser() -> str:
    preferred = (st.context.locale or "en").split("-")[0]
    return preferred if preferred in LANGUAGES else "en"


def local_time(at: datetime, in_table: bool = False) -> str:
    """In words, or as a table sorts it: `2026年11月26日 9:05`, `2026-11-26 09:05`.

    The browser names its distance to UTC in minutes, positive west of Greenwich; without one, UTC is named.
    """
    behind = st.context.timezone_offset
    here = at if behind is None else at - timedelta(minutes=behind)
    told = f"{here:%Y-%m-%d %H:%M}" if in_table else f"{day(here, current())} {here.hour}:{here:%M}"
    return told if behind is not None else f"{told} UTC"
