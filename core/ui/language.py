"""The reader's language: `?lang=` in the URL, else what the browser prefers."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta

import streamlit as st
from streamlit.runtime.scriptrunner_utils.script_run_context import get_script_run_ctx

from core import locale
from core.locale import _
from core.ui import url_state
from core.wording.numbers import day

LANGUAGES = locale.LANGUAGES
NAME = "lang"


def restore() -> str:
    """Set the language of this run, before anything is drawn."""
    return url_state.restore_choice(NAME, list(LANGUAGES), _browser_language())


def current() -> str:
    """The code of the reader's language, `en` or `ja`; English where no screen is drawn."""
    if get_script_run_ctx(suppress_warning=True) is None:
        return "en"
    return st.session_state.get(url_state.key(NAME), "en")


locale.ask_reader_by(current)


def as_ascii(markdown: str) -> str:
    """Markdown with character references for other letters than ASCII.

    Streamlit asks whether the label of a button in a row begins with an emoji, and loads its list of all emojis for
    letters that are not ASCII: a seventh of a second of the first screen.
    """
    return markdown.encode("ascii", "xmlcharrefreplace").decode("ascii")


def replace_texts(texts: Mapping[str, str]) -> None:
    """Show texts (CSS selector -> text) in the place of English ones that Streamlit writes and offers no option for."""
    if current() == "en":
        return
    styles = [
        f"{selector} {{ font-size: 0 !important; white-space: normal; overflow: visible; }} "
        f'{selector}::after {{ font-size: 0.875rem; content: "{text}"; }}'
        for selector, text in texts.items()
    ]
    st.html(f"<style>{' '.join(styles)}</style>")


def replace_streamlit_texts() -> None:
    """Replace the English texts that any input may show."""
    hint = "[data-testid=InputInstructions] span:first-child"
    replace_texts(
        {
            "[data-testid=stFileUploaderDropzone] [data-testid=stBaseButton-secondary] p": _("Choose a file"),
            f":is([data-testid=stTextInput], [data-testid=stNumberInput]) {hint}": _("Press Enter to apply"),
            f"[data-testid=stTextArea] {hint}": _("Press Ctrl+Enter to apply"),
            "[data-key=__select_all__] > div": _("Select all"),
            "[role=listbox][data-empty=true] [role=option] span": _("No results"),
        }
    )


def show_switch(chosen: str) -> None:
    """Draw the choice of language in the sidebar, and set the page's language for screen readers and line breaks."""
    with st.sidebar:
        st.segmented_control(
            "Language / 言語",
            list(LANGUAGES),
            format_func=lambda lang: as_ascii(LANGUAGES[lang]),
            key=url_state.key(NAME),
            required=True,
        )
        script = f"<script>document.documentElement.lang = '{chosen}'</script>"
        st.html(script, unsafe_allow_javascript=True)
    url_state.publish(NAME, chosen)


def _browser_language() -> str:
    preferred = (st.context.locale or "en").split("-")[0]
    return preferred if preferred in LANGUAGES else "en"


def local_time(time: datetime, in_table: bool = False) -> str:
    """A time in the reader's zone, in words or as a table sorts it: `2026年11月26日 9:05`, `2026-11-26 09:05`.

    The browser gives its distance from UTC in minutes, positive west of Greenwich; without it, the text names UTC.
    """
    offset = st.context.timezone_offset
    local = time if offset is None else time - timedelta(minutes=offset)
    text = f"{local:%Y-%m-%d %H:%M}" if in_table else f"{day(local)} {local.hour}:{local:%M}"
    return text if offset is not None else f"{text} UTC"
