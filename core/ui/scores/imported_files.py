"""Files of scores that were imported, and taking one out again."""

from __future__ import annotations

import streamlit as st

from core.ui import language, reads
from core.ui.markdown import escape
from core.ui.scores import score_tables
from core.warehouse import score_imports
from core.wording import score_files


def show() -> None:
    _ = language.translator()
    files = reads.score_files()
    st.markdown(
        _("Scores in the warehouse: {n}, those that come with Workdim included.").format(
            n=f"{reads.lists().counts['scores']:,}"
        )
    )
    if files.is_empty():
        st.info(_("No file was imported yet."))
        return
    score_tables.show(score_tables.files(files, score_files.format_name), "scores imported")
    rows = {row["file_sha256"]: row for row in files.iter_rows(named=True)}
    with st.container(horizontal=True, vertical_alignment="bottom"):
        chosen = st.selectbox(
            _("File to remove"),
            list(rows),
            key="scores to remove",
            width=480,
            format_func=lambda sha: (
                f"{rows[sha]['file_name']} · {language.local_time(rows[sha]['imported_at'])} · {sha[:12]}"
            ),
        )
        with st.popover(_("Remove"), icon=":material/delete:"):
            line = _(
                "All scores and single answers of {name} leave the warehouse. The file itself is not touched, and "
                "can be imported again."
            )
            st.markdown(line.format(name=escape(rows[chosen]["file_name"])))
            if st.button(_("Remove it"), type="primary", key="scores remove"):
                score_imports.remove(reads.warehouse(), chosen)
                st.rerun()


def show_conflicts() -> None:
    _ = language.translator()
    found = reads.score_conflicts()
    if found.is_empty():
        st.info(_("No two sources contradict each other."))
        return
    st.markdown(
        _(
            "Values of one model on one benchmark, by equal metric, filter, shots, suite and settings, that differ by "
            "more than rounding: {n}, the widest first. All are kept; rankings show the newest and the range."
        ).format(n=found.height)
    )
    score_tables.show(score_tables.conflicts(found), "scores conflicts")
