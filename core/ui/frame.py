"""What every screen stands in: the navigation, the language, and one place where named errors are shown."""

from __future__ import annotations

import runpy
import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path

import pandas  # noqa: F401  # Streamlit and plotly meet it on first use: two sessions at once would find half of it
import streamlit as st

from core.errors import WorkdimError
from core.figures.svg import DARK
from core.ui import inputs, language, pictures, reads, url_state
from core.ui.markdown import escape
from core.warehouse.warehouse import PendingResult

ROOT = Path(__file__).resolve().parents[2]
_in_frame: ContextVar[bool] = ContextVar("in_frame", default=False)
"""True while the frame runs the page: Streamlit may also run a page's file on its own."""

_ROOM = (
    "<style>.stMainBlockContainer { padding: 4rem 3rem 6rem; } "
    # Streamlit writes it in the colour of buttons, which is too dark for text on the dark paper.
    "[data-testid=stSliderThumbValue], [data-testid=stSliderThumbValue] p { color: inherit !important; }</style>"
)
"""Streamlit leaves an eighth of a small window empty above a page."""
_CHOSEN = (
    "<style>[data-testid=stButtonGroup] button:is([aria-checked=true], [aria-pressed=true]) "
    "{ color: #8CC2F7 !important; }</style>"
)
"""In the dark: Streamlit writes what is chosen in the colour that fills buttons, which is too dark for letters."""
_TAKEN_IN = "waiting parcels taken in"
_AGAIN_AFTER = 30.0
"""Seconds until parcels that could not be written are tried again."""


def guard() -> None:
    """First line of every page: a cold server runs a deep link without app.py, so send it through there."""
    if not _in_frame.get():
        runpy.run_path(str(ROOT / "app.py"), run_name="__main__")
        st.stop()


def run() -> None:
    """Draw the frame and the page that the reader asked for."""
    # An emoji, not `:material/...:`, which would make the browser fetch the icon from a font host.
    st.set_page_config(page_title="Workdim", page_icon="🧭", layout="wide")
    st.html(_ROOM + (_CHOSEN if pictures.theme() == DARK else ""))
    url_state.keep()
    chosen = language.settle()
    language.write_over_streamlit()
    _ = language.translator()
    page = st.navigation(
        {
            "": [
                st.Page(ROOT / "pages/home.py", title=_("Home"), icon=":material/home:", default=True),
                st.Page(ROOT / "pages/guide.py", title=_("Guide"), icon=":material/menu_book:", url_path="guide"),
            ],
            _("Work"): [
                st.Page(
                    ROOT / "pages/pilot.py", title=_("Measure models"), icon=":material/science:", url_path="pilot"
                ),
                st.Page(ROOT / "pages/scores.py", title=_("Scores"), icon=":material/scoreboard:", url_path="scores"),
            ],
            _("Analysis"): [
                st.Page(
                    ROOT / "pages/profiles.py", title=_("Profiles"), icon=":material/show_chart:", url_path="profiles"
                ),
                st.Page(
                    ROOT / "pages/ranking.py", title=_("Ranking"), icon=":material/table_rows:", url_path="ranking"
                ),
                st.Page(ROOT / "pages/decide.py", title=_("Decide"), icon=":material/rule:", url_path="decide"),
                st.Page(ROOT / "pages/shrink.py", title=_("Shrink"), icon=":material/content_cut:", url_path="shrink"),
                st.Page(ROOT / "pages/query.py", title=_("Query"), icon=":material/database_search:", url_path="query"),
            ],
            _("Share"): [
                st.Page(ROOT / "pages/report.py", title=_("Report"), icon=":material/slideshow:", url_path="report")
            ],
        }
    )
    if language.NAME in url_state.follow_back(page.url_path):
        st.rerun()
    with url_state.together():
        language.switch(chosen)
        with errors_shown():
            _take_in_parcels()
            _switch_reference()
            if not inputs.may_write():
                st.sidebar.caption(_("Read-only: nothing is changed or started here."))
            _draw(page)


def _switch_reference() -> None:
    """Whether the profiles that come with Workdim are shown, on all pages; nothing is drawn where there are none."""
    if not reads.has_reference():
        return
    _ = language.translator()
    told = _(
        "Measured by whoever made Workdim, to compare with: the tag “reference” marks them. "
        "`workdim ingest --without-reference` takes them out for good."
    )
    with st.sidebar:
        inputs.choose_yes_no(_("Show profiles that come with Workdim"), reads.REFERENCE, True, help=told)


def _draw(page: st.Page) -> None:
    drawing = _in_frame.set(True)
    try:
        page.run()
    finally:
        _in_frame.reset(drawing)


@contextmanager
def errors_shown() -> Iterator[None]:
    """An error with a name becomes one line for the reader; anything else is a bug and stays visible as one."""
    try:
        yield
    except WorkdimError as error:
        _ = language.translator()
        st.error(escape(str(error)), icon=":material/error:")
        st.button(_("Try again"))
        url_state.stop()


def _take_in_parcels() -> None:
    """Take in, once per session, what was measured while the warehouse was locked; what still waits is told."""
    _ = language.translator()
    at, taken = st.session_state.get(_TAKEN_IN, (0.0, None))
    if taken is None or (taken.n_waiting and time.monotonic() - at > _AGAIN_AFTER):
        taken = reads.take_in()
        st.session_state[_TAKEN_IN] = (time.monotonic(), taken)
        if taken.run_ids:
            st.toast(_("Finished measurements added to the warehouse: {n}.").format(n=len(taken.run_ids)))
    _tell_what_waits(taken)


def _tell_what_waits(taken: PendingResult) -> None:
    _ = language.translator()
    if taken.n_late:
        line = _("Finished measurements that wait to be added to the warehouse: {n}. {reason}")
        st.warning(line.format(n=taken.n_late, reason=escape(taken.reason)), icon=":material/hourglass_top:")
    for line in taken.damaged:
        st.warning(escape(line), icon=":material/broken_image:")
