"""A pilot, started from a screen: its file is written or handed over here, checked, registered and measured."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import streamlit as st

from core import pilots
from core.errors import InputError
from core.pilots import Pilot
from core.report import pilot_words
from core.ui import language, reads
from core.ui.plain import plain
from core.warehouse.pilots import register

SHIPPED = Path(__file__).resolve().parents[2] / "data" / "pilots"
_TEXT = "pilot file"


def show() -> None:
    """The pilots that are registered with how far they are, and a file for a new one."""
    _ = language.translator()
    st.markdown(
        _("A pilot is a comparison that is written down before it is measured: what is decided, its use class, models, "
          "texts, protocol, and one primary benchmark with what is expected of it.")
    )  # fmt: skip
    for row in reads.pilots().to_dicts():
        _registered(row)
    st.subheader(_("A new pilot"))
    _begin_with()
    text = st.text_area(_("Pilot file"), key=_TEXT, height=420)
    pilot, file = _checked(text)
    if pilot is None:
        return
    _tell(pilot)
    if st.button(_("Register and measure"), type="primary", icon=":material/play_arrow:", key="pilot start"):
        register(reads.warehouse(), pilot)  # what speaks against it is told here
        _start(pilot, str(file))


def _begin_with() -> None:
    """Fills the text: with a file that comes with Workdim, or one that is handed over."""
    _ = language.translator()
    left, right = st.columns(2)
    names = sorted(path.stem for path in SHIPPED.glob("*.toml"))
    chosen = left.selectbox(_("Begin with a pilot that comes with Workdim"), names, key="pilot shipped")
    handed = right.file_uploader(_("Or with a file of your own"), type=["toml"], key="pilot handed", max_upload_size=1)
    source = handed.file_id if handed is not None else chosen
    if st.session_state.get("pilot source") != source:  # a new choice replaces the text, a rerun does not
        st.session_state["pilot source"] = source
        raw = handed.getvalue() if handed is not None else (SHIPPED / f"{chosen}.toml").read_bytes()
        st.session_state[_TEXT] = raw.decode("utf-8", "replace")


def _checked(text: str) -> tuple[Pilot | None, Path]:
    """The pilot of the text, and the file that it was written to; None, with the reason, where it is none."""
    from core.pilot_file import read_pilot
    from core.runs.choices import protocols, texts

    folder = reads.warehouse().path.parent / "pilots"
    folder.mkdir(parents=True, exist_ok=True)
    draft = folder / "new.toml"
    draft.write_text(text, encoding="utf-8")
    try:
        pilot = read_pilot(draft, protocols(), texts())
    except InputError as error:
        st.error(plain(str(error)), icon=":material/edit_note:")
        return None, draft
    file = folder / f"{pilot.pilot_id}.toml"
    file.write_text(text, encoding="utf-8")
    return pilot, file


def _tell(pilot: Pilot) -> None:
    _ = language.translator()
    reader = language.current()
    told = _("{models} models × {texts} texts by {protocol}. Use class: {use_class}. Primary benchmark: {benchmark}.")
    st.markdown(
        told.format(
            models=len(pilot.models), texts=len(pilot.texts), protocol=plain(pilot.protocol),
            use_class=pilot_words.use_class_name(pilot.use_class, reader),
            benchmark=plain(pilot_words.benchmark_line(pilot.benchmark, reader)),
        )
    )  # fmt: skip


def _registered(row: Mapping[str, Any]) -> None:
    _ = language.translator()
    pilot = pilots.from_config(row["config"])
    wanted = len(pilot.models) * len(pilot.texts)
    with st.container(border=True, horizontal=True, vertical_alignment="center"):
        st.markdown(f"**{plain(pilot.name)}**  \n{plain(pilot.question)}", width="stretch")
        st.caption(_("{done} of {wanted} measured").format(done=row["n_runs"], wanted=wanted))
        if row["n_runs"]:
            st.page_link(
                "pages/ranking.py", label=_("Look at it"), icon=":material/table_rows:",
                query_params={"pilot": row["pilot_id"]},
            )  # fmt: skip
        if row["n_runs"] < wanted and st.button(_("Measure what is missing"), key=f"pilot {row['pilot_id']}"):
            _start(pilot, row["pilot_id"])


def _start(pilot: Pilot, what: str) -> None:
    """In a process of its own, which submits the measurements and waits for them."""
    from core.runs.local import start_verb
    from core.runs.piloting import require_idle

    require_idle(pilot, reads.warehouse())
    start_verb(reads.warehouse(), "pilot", what)
    st.toast(language.translator()("The pilot is started; its measurements appear above in a few seconds."))
