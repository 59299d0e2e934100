"""A card per run: the working dimension, the final dimension beside it, the verdict and what limits it.

A control pass has no verdict: its card says whether it shows the shape.
"""

from __future__ import annotations

from typing import Any

import polars as pl
import streamlit as st

from core.report import wording
from core.report.labels import run_labels
from core.ui import language, states, times
from core.ui.plain import plain

_WIDTH = 288
_COLOURS = {"found": "blue", "not_found": "gray", "undecided": "orange"}


def run_cards(runs: pl.DataFrame) -> None:
    """Side by side where the window is wide, below each other where it is not."""
    labels = run_labels(runs, language.current())
    with st.container(horizontal=True, gap="small"):
        for run in runs.iter_rows(named=True):
            with st.container(border=True, width=_WIDTH, gap="small"):
                _card(run, labels[run["run_id"]])


def _card(run: dict[str, Any], label: str) -> None:
    _ = language.translator()
    st.markdown(f"**{plain(label)}**")
    st.caption(plain(f"{run['corpus_name']} · {run['protocol']} · {times.local(run['started_at'])}"))
    if run["verdict"] is None:
        st.caption(_("No working dimension and no verdict: this protocol measures no points of one per type."))
        return
    _verdict(run)
    checks = wording.outcome_name(run["worst_check"], language.current())
    st.caption(_("N={n} points, checks: {outcome}").format(n=run["n_points"], outcome=checks))
    if run["vetoed_by"]:
        names = _(", ").join(states.check_names(run["vetoed_by"]))
        st.markdown(f":red[{plain(_('Not to be relied on: {checks}').format(checks=names))}]")
    _metric(_("Working dimension"), run, "working_dimension")
    if run["final_dimension_post_norm"] is None:
        _metric(_("Final dimension (no final norm)"), run, "final_dimension_pre_norm")
    else:
        _metric(_("Final dimension, before the norm"), run, "final_dimension_pre_norm")
        _metric(_("Final dimension, after the norm"), run, "final_dimension_post_norm")


def _metric(label: str, run: dict[str, Any], column: str) -> None:
    value, lower, upper = (run[f"{column}{end}"] for end in ("", "_lower", "_upper"))
    st.markdown(f"{label}  \n**{wording.with_interval(value, lower, upper)}**")


def _verdict(run: dict[str, Any]) -> None:
    """The verdict with what limits it in one breath; of a control pass, which has none, whether it shows the shape."""
    colour = _COLOURS.get(run["verdict"], "gray") if run["pass"] == "text" else "gray"
    st.markdown(f":{colour}[{wording.outcome_text(run, language.current())}]")
