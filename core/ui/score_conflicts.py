"""Scores that sources tell differently. Both are kept: this says where to look twice."""

from __future__ import annotations

import streamlit as st

from core.ui import language, reads, score_tables


def show() -> None:
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
