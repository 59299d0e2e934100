"""Files of scores that were imported, and taking one out again."""

from __future__ import annotations

import polars as pl
import streamlit as st

from core.errors import InputError
from core.ui import language, reads
from core.ui.markdown import escape
from core.ui.scores import score_tables
from core.warehouse import score_imports
from core.warehouse.aliases import set_aliases
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
                score_imports.remove_import(reads.warehouse(), chosen)
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


_ROUND = "scores names round"


def show_names() -> None:
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
    unmet = reads.unmatched_names()
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
