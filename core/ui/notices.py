"""Messages of a screen instead of its figures, or before them: nothing measured, nothing chosen, not comparable."""

from __future__ import annotations

import logging

import polars as pl
import streamlit as st

from core import wording
from core.analysis.differences import comparability
from core.locale import _
from core.tables import Run, records
from core.ui import inputs, reads, trash, url_state
from core.ui.markdown import escape
from core.warehouse import reference
from core.wording.labels import run_labels
from core.wording.runs import apart_text


def runs_or_stop() -> pl.DataFrame:
    """All runs, as `Lists.runs` holds them; ends the page where nothing was measured, with what to do."""
    runs = reads.lists().runs
    if not runs.is_empty():
        return runs
    if reads.has_reference():
        st.info(_("No measurements of your own yet. The switch at the side shows shipped profiles."))
    else:
        st.info(_("No measurements yet."))
        if inputs.may_write() and st.button(_("Add the shipped profiles"), icon=":material/library_add:"):
            reference.add_profiles(reads.warehouse(), logging.getLogger("workdim").warning, with_removed=True)
            st.rerun()
    inputs.show_link("measure", _("Measure a model here"), "science")
    st.caption(_("Or: `workdim demo --no-app` measures two in a minute."))
    trash.show_trash()
    url_state.stop()


def stop_if_none_chosen(runs: pl.DataFrame) -> None:
    if runs.is_empty():
        st.info(_("Choose at least one run above."))
        url_state.stop()


def show_missing(runs: pl.DataFrame, of_literature: str) -> None:
    """Say why these runs hold no rows of a kind: their protocol measures none (`of_literature`), or they are shipped
    without."""
    protocols = runs.filter(pl.col("n_points").is_null())["protocol"].unique(maintain_order=True)
    if protocols.is_empty():
        st.info(_("Most shipped profiles leave this out: measure the model."))
        return
    named = _("; ").join(wording.name("protocol", protocol) for protocol in protocols)
    st.info(wording.joined_sentences((of_literature, _("Protocol: {name}.").format(name=escape(named)))))


def show_vetoes(runs: pl.DataFrame) -> None:
    """Draw `veto_notice`, before any number."""
    if told := veto_notice(runs):
        st.warning(escape(told), icon=":material/gpp_bad:")


def veto_notice(runs: pl.DataFrame) -> str:
    """Which runs a check vetoes; of a single one, what is wrong and what to do, of several by which checks; empty of none."""
    texts = veto_texts(runs)
    if not texts:
        return ""
    if runs.height > 1:
        return _("Vetoed by a check, not reliable: {runs}. See Checks.").format(runs=_("; ").join(texts))
    (name,) = run_labels(runs).values()
    told = _("Vetoed by a check, not reliable: {runs}.").format(runs=name)
    found = runs["vetoed_by"].explode().drop_nulls().unique(maintain_order=True)
    return wording.joined_sentences((told, *map(wording.check_meaning, found)))


def veto_texts(runs: pl.DataFrame) -> list[str]:
    """`SmolLM2-135M (Share of unknown tokens)` for each run that a check vetoes."""
    labels = run_labels(runs)
    return [
        _("{name} ({checks})").format(
            name=labels[run_id], checks=_(", ").join(wording.names("check", vetoed_by).values())
        )
        for run_id, vetoed_by in runs.filter(pl.col("worst_check") == "veto").select("run_id", "vetoed_by").rows()
    ]


def show_differing_conditions(runs: pl.DataFrame) -> None:
    """Draw why dimensions do not compare: a note and no warning, as to look at such runs together is a proper use."""
    if told := apart_text(comparability(*records(runs, Run))):
        st.info(told, icon=":material/balance:")
