"""The section Names of models of the screen Scores: which model a name in a file means."""

from __future__ import annotations

import polars as pl
import streamlit as st

from core.errors import InputError
from core.ui import language, reads
from core.ui.markdown import escape
from core.warehouse.aliases import set_aliases

_ROUND = "scores names round"


def show() -> None:
    """Draw suggestions for names that no measured model has, and the table of names with their models."""
    _ = language.translator()
    st.markdown(
        _(
            "A score belongs to a model by the name that its file uses. Where that is another name than the model is "
            "measured under, say here which model is meant: it acts at once on all scores under the name."
        )
    )
    _show_suggestions()
    st.subheader(_("Names and the models that they mean"))
    _show_name_table()


def _show_suggestions() -> None:
    """Draw names that resemble a measured model; only ticked ones are mapped."""
    _ = language.translator()
    unmatched = reads.unmatched_names()
    if unmatched.is_empty():
        return
    st.subheader(_("Suggestions"))
    name, model, take = _("Name in the file"), _("Model that may be meant"), _("Map")
    table = pl.DataFrame(
        {
            take: [False] * unmatched.height,
            name: unmatched["name"],
            model: unmatched["suggestions"].list.first(),
            _("Scores"): unmatched["n_scores"],
            _("Single answers"): unmatched["n_samples"],
        }
    )
    others = [column for column in table.columns if column not in (take, model)]
    edited = st.data_editor(table, key=_editor_key("suggested"), hide_index=True, disabled=others)
    if st.button(_("Map those that are ticked"), key="scores map", icon=":material/link:"):
        ticked = edited.filter(pl.col(take))
        _save(dict(ticked.select(name, model).rows()), [])


def _show_name_table() -> None:
    _ = language.translator()
    aliases = reads.aliases()
    name, model = _("Name in the file"), _("Model that is meant")
    labels = {True: _("measured here"), False: _("not measured here")}
    table = pl.DataFrame(
        {
            name: aliases["alias"],
            model: aliases["reference"],
            _("Known"): pl.Series([labels[is_measured] for is_measured in aliases["is_measured"]], dtype=pl.String),
            _("Scores"): aliases["n_scores"],
        }
    )
    edited = st.data_editor(
        table, key=_editor_key("table"), hide_index=True, num_rows="dynamic", disabled=[_("Known"), _("Scores")]
    )
    st.caption(
        _(
            "A model is a hub repository (owner/name) or a reference as measured. Rows are added at the end, and "
            "removed by ticking them."
        )
    )
    if st.button(_("Save the changes"), key="scores save names", icon=":material/save:"):
        rows = [(alias or "", reference or "") for alias, reference in edited.select(name, model).rows()]
        rows = [(alias.strip(), reference) for alias, reference in rows if alias.strip() or reference.strip()]
        references = dict(rows)
        if len(references) < len(rows):
            st.error(_("A name stands there twice. A name means one model."), icon=":material/error:")
            return
        _save(references, [alias for alias in aliases["alias"] if alias not in references])


def _save(references: dict[str, str], removed: list[str]) -> None:
    try:
        set_aliases(reads.warehouse(), references, removed)
    except InputError as error:
        st.error(escape(str(error)), icon=":material/error:")
        return
    st.session_state[_ROUND] = st.session_state.get(_ROUND, 0) + 1  # edits that are stored are no edits any more
    st.rerun()


def _editor_key(name: str) -> str:
    return f"scores names {name} {st.session_state.get(_ROUND, 0)}"
