"""The frame of every screen: navigation, language, and the one place where named errors become messages."""

from __future__ import annotations

import runpy
import time
from contextvars import ContextVar
from typing import Any
from urllib.parse import quote

import streamlit as st

from core.errors import WorkdimError
from core.figures.svg import DARK
from core.files import PROJECT
from core.locale import _
from core.ui import inputs, language, pictures, reads, server, url_state
from core.ui.language import escape, show_error

_in_frame: ContextVar[bool] = ContextVar("in_frame", default=False)
"""True while the frame runs a page: Streamlit may also run a page's file on its own."""
_ICON = "data:image/svg+xml," + quote(
    "<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 32 32'><circle cx='16' cy='16' r='15' fill='#0B5CAD'/>"
    "<path d='M16 5l4 11h-8z' fill='#E69F00'/><path d='M16 27l4-11h-8z' fill='#FFF'/></svg>"
)
"""A compass. `:material/...:` would make the browser fetch a font from another host, and for an emoji Streamlit loads the
list of all emojis, which takes 0.14 s."""
_SIDEBAR_WIDTH = 240
"""Pixels: what stands in it fits, and beside it a figure with its verdicts does in a window of 1,280."""
_PAGE_STYLE = (
    "<style>.stMainBlockContainer { padding: 4rem 3rem 6rem; } "
    "@media (max-width: 640px) { .stMainBlockContainer { padding: 4rem 1rem 6rem; } } "
    # A fresh server draws the sidebar before `set_page_config` could tell its width.
    f"[data-testid=stSidebar] {{ max-width: {_SIDEBAR_WIDTH}px !important; }} "
    # Streamlit gives the value of a slider the colour of buttons, which is too dark for text on a dark page.
    "[data-testid=stSliderThumbValue], [data-testid=stSliderThumbValue] p { color: inherit !important; } "
    # Beside other inputs Streamlit keeps options in one line, of which a small window cuts the last.
    "[data-testid=stButtonGroup] [role=radiogroup] { flex-wrap: wrap !important; }</style>"
)
"""Less room around the page: Streamlit leaves an eighth of a small window empty above it."""
_DARK_STYLE = (
    "<style>[data-testid=stButtonGroup] button:is([aria-checked=true], [aria-pressed=true]) "
    "{ color: #8CC2F7 !important; }</style>"
)
"""In the dark theme: Streamlit gives a chosen option the colour that fills buttons, which is too dark for text."""
_WITH_PANDAS = ("cost", "scores")
"""Sections of the page Choose with tables to edit, which Streamlit turns into frames of pandas, as it does those of any type
on the page Query."""
_APPLIED = "waiting parcels taken in"
"""Session-state key: when pending measurements were last added, and the result."""
_RETRY_SECONDS = 30.0
"""Seconds until measurements that could not be added are tried again."""


def guard() -> None:
    """Run app.py first; the first line of every page, since a fresh server runs a deep link without it."""
    if not _in_frame.get():
        runpy.run_path(str(PROJECT / "app.py"), run_name="__main__")
        st.stop()


def run() -> None:
    """Draw the frame and the page of the address."""
    st.set_page_config(page_title="Workdim", page_icon=_ICON, layout="wide")
    st.html(_PAGE_STYLE + (_DARK_STYLE if pictures.theme() == DARK else ""))
    url_state.keep_widget_values()
    lang = language.restore()
    language.replace_streamlit_texts()
    page = st.navigation(
        {
            "": [
                _page("start", _("Start"), "home", default=True),
                _page("measure", _("Measure"), "science"),
                _page("compare", _("Compare"), "show_chart"),
                _page("choose", _("Choose"), "rule"),
                _page("share", _("Share"), "slideshow"),
                # Reached from a model, by a link or its address: its layers that can go.
                _page("plan", _("Layer plans"), "content_cut", visibility="hidden"),
            ],
            _("More"): [_page("query", _("Query"), "database_search"), _page("help", _("Help"), "help")],
        }
    )
    is_followed = url_state.is_followed(page.url_path)
    if is_followed:
        with st.sidebar:
            url_state.scroll_to_top()
    if language.NAME in url_state.apply_back_button(page.url_path, [language.NAME] if is_followed else []):
        st.rerun()
    with url_state.batched():
        language.show_switch(lang)
        token = _in_frame.set(True)
        try:
            _apply_pending()
            if reads.has_reference():
                help_ = _("Tagged “reference”; `workdim ingest --without-reference` removes them.")
                with st.sidebar:
                    inputs.choose_yes_no(_("Show shipped profiles"), reads.REFERENCE, True, help=help_)
            if not inputs.may_write():
                st.sidebar.caption(_("Read-only: nothing is changed or started here."))
            edits = page.url_path == "choose" and url_state.asked("choose") in _WITH_PANDAS
            with server.drawing(needs_pandas=edits or page.url_path == "query"):
                page.run()
        except WorkdimError as error:  # a named error is one line; anything else is a bug and stays visible as one
            show_error(error)
            st.button(_("Try again"))
            url_state.stop()
        finally:
            _in_frame.reset(token)


def _page(name: str, title: str, icon: str, **more: Any) -> st.Page:
    return st.Page(PROJECT / f"pages/{name}.py", title=title, icon=f":material/{icon}:", url_path=name, **more)


def _apply_pending() -> None:
    """Add, once per session, what was measured while the warehouse was locked; say what still waits."""
    applied_at, pending = st.session_state.get(_APPLIED, (0.0, None))
    if pending is None or (pending.n_waiting and time.monotonic() - applied_at > _RETRY_SECONDS):
        pending = reads.warehouse().try_apply_pending()
        st.session_state[_APPLIED] = (time.monotonic(), pending)
        if pending.run_ids:
            st.toast(_("Finished measurements added to the warehouse: {n}.", n=len(pending.run_ids)))
    for message in pending.messages:
        st.warning(escape(message), icon=":material/hourglass_top:")
