"""A pilot, started from a screen: its file is written or handed over here, checked, registered and measured."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import streamlit as st

from core.errors import InputError
from core.pilots import registration
from core.pilots.pilot import Pilot
from core.ui import language, reads, url_state
from core.ui.markdown import escape
from core.ui.measure import job_cards
from core.warehouse.pilots import register
from core.wording import pilot_sentences

SHIPPED = Path(__file__).resolve().parents[3] / "data" / "pilots"
_TEXT = url_state.key("pilot text")
_HERE = "pilots"
"""Folder beside the warehouse that a pilot written here counts as lying in."""


def show() -> None:
    """The pilots that are registered with how far they are, and a file for a new one."""
    _ = language.translator()
    st.markdown(
        _(
            "A pilot is a comparison that is written down before it is measured: what is decided, its use class, models, "
            "texts, protocol, and one primary benchmark with what is expected of it."
        )
    )
    for row in reads.lists().pilots.to_dicts():
        _registered(row)
    st.subheader(_("A new pilot"))
    _begin_with()
    text = st.text_area(_("Pilot file"), key=_TEXT, height=420)
    st.caption(_("A file that is handed over here has no folder: name models and texts by their whole paths."))
    pilot = _checked(text)
    if pilot is None:
        return
    _tell(pilot)
    if st.button(_("Register and measure"), type="primary", icon=":material/play_arrow:", key="pilot start"):
        register(reads.warehouse(), pilot)  # what speaks against it is told here
        _start(pilot)


def _begin_with() -> None:
    """Fills the text: with a file that comes with Workdim, or one that is handed over."""
    _ = language.translator()
    left, right = st.columns(2)
    names = sorted(path.stem for path in SHIPPED.glob("*.toml"))
    chosen = left.selectbox(_("Begin with a pilot that comes with Workdim"), names, key="pilot shipped")
    handed = right.file_uploader(_("Or with a file of your own"), type=["toml"], key="pilot handed", max_upload_size=1)
    source = handed.file_id if handed is not None else chosen
    if st.session_state.get("pilot source") != source or _TEXT not in st.session_state:  # a rerun does not
        st.session_state["pilot source"] = source
        raw = handed.getvalue() if handed is not None else (SHIPPED / f"{chosen}.toml").read_bytes()
        st.session_state[_TEXT] = raw.decode("utf-8", "replace")


def _checked(text: str) -> Pilot | None:
    """The pilot of the text; None, with the reason, where it is none."""
    from core.pilots.registration import pilot_of
    from core.runs.requests import protocols, texts

    try:
        return pilot_of(text, reads.warehouse().path.parent / _HERE, protocols(), texts())
    except InputError as error:
        st.error(escape(str(error)), icon=":material/edit_note:")
        return None


def _tell(pilot: Pilot) -> None:
    _ = language.translator()
    reader = language.current()
    told = _("{models} models × {texts} texts by {protocol}. Use class: {use_class}. Primary benchmark: {benchmark}.")
    st.markdown(
        told.format(
            models=len(pilot.models),
            texts=len(pilot.texts),
            protocol=escape(pilot.protocol),
            use_class=pilot_sentences.use_class_name(pilot.use_class, reader),
            benchmark=escape(pilot_sentences.benchmark_line(pilot.benchmark, reader)),
        )
    )


def _wanted(pilot: Pilot) -> int:
    """Measurements that it stands for; of a protocol that this version does not know, the least."""
    from core.runs.pilot_jobs import all_parts

    try:
        return len(all_parts(pilot))
    except InputError:
        return len(pilot.models) * len(pilot.texts)


def _registered(row: Mapping[str, Any]) -> None:
    _ = language.translator()
    pilot = registration.from_config(row["config"])
    wanted = _wanted(pilot)
    with st.container(border=True, horizontal=True, vertical_alignment="center"):
        st.markdown(f"**{escape(pilot.name)}**  \n{escape(pilot.question)}", width="stretch")
        st.caption(_("{done} of {wanted} measured").format(done=row["n_runs"], wanted=wanted))
        if row["n_runs"]:
            st.page_link(
                "pages/ranking.py",
                label=_("Look at it"),
                icon=":material/table_rows:",
                query_params={"pilot": row["pilot_id"]},
            )
        if row["n_runs"] < wanted and st.button(_("Measure what is missing"), key=f"pilot {row['pilot_id']}"):
            _start(pilot)
    _told(pilot)


def _start(pilot: Pilot) -> None:
    """In a process of its own, which submits the measurements and waits for them."""
    from core.runs.pilot_jobs import require_idle
    from core.runs.processes import start_verb

    require_idle(pilot, reads.warehouse())
    start_verb(reads.warehouse(), _log_of(pilot), "pilot", pilot.pilot_id)
    job_cards.expect_more()
    st.rerun()


def _log_of(pilot: Pilot) -> Path:
    return reads.warehouse().path.parent / "pilots" / f"{pilot.pilot_id}.log"


def _told(pilot: Pilot) -> None:
    """What the process said that measured the pilot last."""
    with suppress(OSError):
        lines = _log_of(pilot).read_text(encoding="utf-8", errors="replace").splitlines()[-job_cards.LOG_LINES :]
        if lines:
            with st.expander(language.translator()("Log")):
                st.code("\n".join(lines), language=None)
