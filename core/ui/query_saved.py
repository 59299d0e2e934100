"""Keeping a statement under a name, and forgetting it."""

from __future__ import annotations

import streamlit as st

from core.errors import InputError
from core.ui import language, reads
from core.ui.plain import plain
from core.warehouse import saved

_SAVING = "query being saved"


def ask_for_name() -> None:
    """From now on the form for the name is drawn, until it is filled in or closed."""
    st.session_state[_SAVING] = True


def show_form(sql: str) -> None:
    """Asks for the name; one that is taken is replaced only by whoever says so."""
    if not st.session_state.get(_SAVING):
        return
    _ = language.translator()
    with st.container(border=True, gap="small"):
        name = st.text_input(_("Name"), max_chars=saved.MAX_NAME, key="query name").strip()
        note = st.text_input(_("Note"), key="query note")
        taken = name in [row.name for row in reads.saved_queries()]
        replace = taken and st.checkbox(_("Replace the saved query of this name"), key="query replace")
        with st.container(horizontal=True, gap="small"):
            is_closed = st.button(_("Close"), key="query close")
            is_saved = st.button(
                _("Save"), type="primary", disabled=not name or (taken and not replace), key="query save"
            )
        if is_saved:
            try:
                saved.save(reads.warehouse(), name, sql, note, replace=replace)
            except InputError as error:
                st.error(plain(str(error)))
                return
        if is_saved or is_closed:
            st.session_state.pop(_SAVING)
            st.rerun()


def show_current(sql: str) -> None:
    """Which saved query stands in the editor, its note, and a way to forget it."""
    _ = language.translator()
    current = next((row for row in reads.saved_queries() if row.sql == sql.strip()), None)
    if current is None:
        return
    with st.container(horizontal=True, gap="small", vertical_alignment="center"):
        told = _("Saved as {name}.").format(name=current.name)
        st.caption(plain(f"{told} {current.note or ''}".strip()))
        with st.popover(_("Delete..."), icon=":material/delete:"):
            st.markdown(_("Forget the saved query {name}?").format(name=f"**{plain(current.name)}**"))
            if st.button(_("Delete"), key="query delete"):
                saved.delete(reads.warehouse(), current.name)
                st.rerun()
