"""Runs that are moved to the trash from a screen, and their way back: at once while the screen is open, later from the trash."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

import streamlit as st

from core.errors import WorkdimError
from core.locale import _, worded
from core.store import parcels
from core.ui import inputs, language, reads, url_state
from core.ui.markdown import escape
from core.warehouse.runs import restore_run

MOST_TRASHED = 20
"""Runs of the trash that are drawn before all are asked for."""
_DELETED = "the runs that were just deleted, their name, and which runs were chosen when that was told first"
_NOT_BACK = "why they could not be brought back"


@inputs.hidden_when_read_only
def show_undo() -> None:
    """Draw that runs were deleted just now, with Undo, until others are chosen. Drawn before the choice of runs.

    Where a chosen run was deleted nothing stands chosen after it: where other runs took their place, a second click would delete
    one of them.
    """
    if problem := st.session_state.pop(_NOT_BACK, None):
        st.error(escape(problem), icon=":material/error:")
    deleted = st.session_state.get(_DELETED)
    if deleted is None:
        return
    run_ids, label, chosen_then = deleted
    chosen = list(st.session_state.get(url_state.key("runs"), []))
    if set(run_ids) & set(chosen):
        url_state.set_value("runs", chosen := [])
    if chosen_then not in (None, chosen):
        del st.session_state[_DELETED]
        return
    st.session_state[_DELETED] = run_ids, label, chosen
    with st.container(horizontal=True, vertical_alignment="center"):
        st.success(_("In the trash: {name}").format(name=escape(label)), icon=":material/delete:")
        st.button(_("Undo"), icon=":material/undo:", key="undelete run", on_click=_undelete, args=(run_ids,))


def _undelete(run_ids: Sequence[str]) -> None:
    """Called before the page is drawn again, so that the runs are among those that can be chosen."""
    st.session_state.pop(_DELETED, None)
    try:
        for run_id in run_ids:
            restore_run(reads.warehouse(), run_id)
    except WorkdimError as error:
        st.session_state[_NOT_BACK] = worded(error)
        return
    st.session_state[url_state.key("runs")] = list(run_ids)


@inputs.hidden_when_read_only
def show_trash() -> None:
    """Draw the runs that lie in the trash, the last deleted first, each with its way back; nothing where it is empty."""
    folder = reads.warehouse().folder
    if not parcels.trashed_ids(folder) or not st.toggle(_("Show the trash"), key="trash shown"):
        return
    runs = [run for run in parcels.list_trashed(folder) if run.pass_ in ("", "text")]
    shows_all = len(runs) > MOST_TRASHED and st.toggle(_("All {n}").format(n=f"{len(runs):,}"), key="trash whole")
    for run in sorted(runs, key=lambda run: run.deleted_at, reverse=True)[: None if shows_all else MOST_TRASHED]:
        deleted_at = language.local_time(datetime.fromisoformat(run.deleted_at))
        told = filter(None, (run.model_id or run.run_id, run.corpus_id, run.protocol, deleted_at))
        with st.container(horizontal=True, vertical_alignment="center"):
            st.markdown(escape(" · ".join(told)))
            key = f"undelete {run.run_id}"
            st.button(_("Bring back"), icon=":material/undo:", key=key, on_click=_undelete, args=([run.run_id],))


@inputs.hidden_when_read_only
def show_delete_button(run_ids: Sequence[str], label: str) -> None:
    """Draw the button that moves runs to the trash; `label` is what they are called then."""
    if st.button(_("Move to the trash"), icon=":material/delete:", key="delete run"):
        from core.runs.stored_runs import delete_stored_runs

        delete_stored_runs(reads.warehouse(), run_ids)
        st.session_state[_DELETED] = list(run_ids), label, None
        st.rerun()
