"""Names that score files use for models: which model each means, suggested and edited here."""

from __future__ import annotations

import polars as pl
import streamlit as st

from core.errors import InputError
from core.ui import language, reads
from core.ui.markdown import escape
from core.warehouse.aliases import set_aliases

_ROUND = "scores names round"


def show() -> None:
    _ = language.translator()
    st.markdown(
        _(
            "A score belongs to a model by the name that its file uses. Where that is another name than the model is "
            "measured under, say here which model is meant: it acts at once on all scores under the name."
        )
    )
    _suggested()
    st.subheader(_("Names and the models that they mean"))
    _table()


def _suggested() -> None:
    """Names that look like a measured model; nothing is mapped before the reader ticks it."""
    _ = language.translator()
    unmet = reads.unmet_names()
    if unmet.is_empty():
        return
    st.subheader(_("Suggestions"))
    name, model, take = _("Name in the file"), _("Model that may be meant"), _("Map")
    table = pl.DataFrame(
        {
            take: [False] * unmet.height,
            name: unmet["name"],
            model: unmet["suggestions"].list.first(),
            _("Scores"): unmet["n_scores"],
            _("Single answers"): unmet["n_samples"],
        }
    )
    others = [column for column in table.columns if column not in (take, model)]
    edited = st.data_editor(table, key=_key("suggested"), hide_index=True, disabled=others)
    if st.button(_("Map those that are ticked"), key="scores map", icon=":material/link:"):
        ticked = edited.filter(pl.col(take))
        _save(dict(ticked.select(name, model).rows()), [])


def _table() -> None:
    _ = language.translator()
    known = reads.aliases()
    name, model = _("Name in the file"), _("Model that is meant")
    met = {True: _("measured here"), False: _("not measured here")}
    table = pl.DataFrame(
        {
            name: known["alias"],
            model: known["reference"],
            _("Known"): pl.Series([met[one] for one in known["is_measured"]], dtype=pl.String),
            _("Scores"): known["n_scores"],
        }
    )
    edited = st.data_editor(
        table, key=_key("table"), hide_index=True, num_rows="dynamic", disabled=[_("Known"), _("Scores")]
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
        wanted = dict(rows)
        if len(wanted) < len(rows):
            st.error(_("A name stands there twice. A name means one model."), icon=":material/error:")
            return
        _save(wanted, [alias for alias in known["alias"] if alias not in wanted])


def _save(wanted: dict[str, str], removed: list[str]) -> None:
    try:
        set_aliases(reads.warehouse(), wanted, removed)
    except InputError as error:
        st.error(escape(str(error)), icon=":material/error:")
        return
    st.session_state[_ROUND] = st.session_state.get(_ROUND, 0) + 1  # edits that are stored are no edits any more
    st.rerun()


def _key(name: str) -> str:
    return f"scores names {name} {st.session_state.get(_ROUND, 0)}"
