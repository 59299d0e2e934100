"""What was imported, on the page Choose: its files, contradictions between them, and which model a name means."""

from __future__ import annotations

from typing import Any

import polars as pl
import streamlit as st

from core import wording
from core.locale import _
from core.ui import inputs, language, reads, tables, url_state
from core.ui.markdown import escape
from core.warehouse import stored_scores
from core.warehouse.aliases import set_aliases
from core.wording import scores as score_wording

_ROUND = "scores names round"
MAX_ROWS = 1_000
"""Scores drawn; the file holds all that were found."""


def show_all() -> None:
    """Draw every score of the warehouse, searched by words and by benchmark."""
    rows = reads.all_scores()
    with st.container(horizontal=True, vertical_alignment="bottom"):
        words = st.text_input(
            _("Find"), key=url_state.key("words"), placeholder=_("model, benchmark, source"), width=320
        )
        benchmarks = rows["benchmark"].unique().sort().to_list()
        chosen = inputs.choose_many(_("Benchmarks"), benchmarks, "benchmarks", placeholder=_("all"), width=320)
    rows = rows.filter(pl.col("benchmark").is_in(chosen)) if chosen else rows
    rows = inputs.matching_rows(rows, words, "repository", "name_in_source", "benchmark", "metric", "source")
    st.caption(
        _("Scores: {n}, the first {shown} drawn.").format(n=f"{rows.height:,}", shown=min(MAX_ROWS, rows.height))
    )
    drawn = rows.head(MAX_ROWS)
    table = {
        _("Model"): drawn["repository"],
        _("Benchmark"): drawn["benchmark"],
        _("Metric"): tables.named(drawn["metric"], wording.metric_name),
        _("Score"): drawn["value"].round_sig_figs(4),
        _("Standard error"): tables.rounded(drawn, "std_error", 2),
        _("Unit"): tables.named(drawn["unit"], wording.unit_name),
        **condition_columns(drawn),
        _("Source"): drawn["source"],
        _("As of"): drawn["as_of"],
    }
    tables.show(tables.without_empty(table), "scores all")
    tables.show_download(rows, "workdim_scores.csv", _("Download these scores (CSV)"))


def condition_columns(rows: pl.DataFrame) -> dict[str, Any]:
    """The columns of a table of scores that say under which conditions they were reached."""
    return {
        _("Shots"): rows["n_shot"],
        _("Filter"): tables.named(rows["filter"], wording.stated_text),
        _("Suite"): tables.named(rows["suite"], wording.stated_text),
        _("Revision"): rows["revision"],
    }


def show_files() -> None:
    """Draw the imported files, and the removal of one."""
    files = reads.score_files()
    st.markdown(_("Scores in the warehouse: {n}, shipped ones included.").format(n=f"{reads.counts()['scores']:,}"))
    if files.is_empty():
        st.info(_("No file was imported yet."))
        return
    table = {
        _("File"): files["file_name"],
        _("Kind of file"): [score_wording.format_name(name) for name in files["format"]],
        _("Scores"): files["n_taken"],
        _("Of partial runs"): files["n_partial"],
        _("Skipped"): files["n_skipped"],
        _("Single answers"): files["n_samples"],
        _("Models"): files["n_models"],
        _("Imported"): [language.local_time(time, in_table=True) for time in files["imported_at"]],
        "SHA-256": files["file_sha256"].str.head(12),
    }
    tables.show(pl.DataFrame(table), "scores imported")
    _show_removal(files)


@inputs.hidden_when_read_only
def _show_removal(files: pl.DataFrame) -> None:
    labels = {
        sha: f"{name} · {language.local_time(at)} · {sha[:12]}"
        for sha, name, at in files.select("file_sha256", "file_name", "imported_at").rows()
    }
    with st.container(horizontal=True, vertical_alignment="bottom"):
        chosen = st.selectbox(
            _("File to remove"), list(labels), key="scores to remove", width=480, format_func=labels.__getitem__
        )
        with st.popover(_("Remove"), icon=":material/delete:"):
            message = _("All scores and answers of {name} are removed; the file itself stays.")
            st.markdown(message.format(name=escape(files.filter(file_sha256=chosen)["file_name"][0])))
            if st.button(_("Remove it"), type="primary", key="scores remove"):
                stored_scores.remove_import(reads.warehouse(), chosen)
                st.rerun()


def show_conflicts() -> None:
    """Draw the scores on which two sources contradict each other."""
    rows = reads.score_conflicts()
    if rows.is_empty():
        st.info(_("No two sources contradict each other."))
        return
    st.markdown(
        _(
            "Values of one model, benchmark and setting that differ beyond rounding: {n}, widest first. All are kept; "
            "rankings show newest and range."
        ).format(n=rows.height)
    )
    variants = rows.select("dtype", "chat_template").rows()
    table = {
        _("Model"): rows["repository"],
        _("Benchmark"): rows["benchmark"],
        _("Metric"): tables.named(rows["metric"], wording.metric_name),
        _("Lowest"): rows["lowest"].round_sig_figs(4),
        _("Highest"): rows["highest"].round_sig_figs(4),
        _("Values"): rows["n_values"],
        _("Value and source"): rows["told"].list.join(" | "),
        **condition_columns(rows),
        _("Settings"): [wording.score_settings_text(dtype, template) for dtype, template in variants],
    }
    tables.show(tables.without_empty(table), "scores conflicts")


# --- names of models ---------------------------------------------------------------------------------------------------


def show_names() -> None:
    """Draw suggestions for names that no measured model has, and the table of names with their models."""
    st.markdown(
        _("A score belongs to the model that its file names. Where names differ, say which is meant; it acts at once.")
    )
    _show_suggestions()
    _show_name_table()


def _show_suggestions() -> None:
    """Draw names that resemble a measured model; only ticked ones are mapped."""
    unmatched = reads.unmatched_names()
    if unmatched.is_empty():
        return
    st.subheader(_("Suggestions"))
    name, model, take = _("Name in the file"), _("Model that may be meant"), _("Map")
    takes_all = st.checkbox(_("Tick all"), key="scores tick all")
    table = unmatched.select(
        pl.lit(takes_all).alias(take),
        pl.col("name").alias(name),
        pl.col("suggestions").list.first().alias(model),
        pl.col("n_scores").alias(_("Scores")),
        pl.col("n_samples").alias(_("Single answers")),
    )
    others = [column for column in table.columns if column not in (take, model)]
    edited = st.data_editor(
        table, key=_editor_key("all suggested" if takes_all else "suggested"), hide_index=True, disabled=others
    )
    if st.button(_("Map those that are ticked"), key="scores map", icon=":material/link:"):
        ticked = edited.filter(pl.col(take))
        _save(dict(ticked.select(name, model).rows()), [])


def _show_name_table() -> None:
    st.subheader(_("Names and the models that they mean"))
    aliases = reads.aliases()
    name, model = _("Name in the file"), _("Model that is meant")
    is_measured = pl.when("is_measured").then(pl.lit(_("measured here"))).otherwise(pl.lit(_("not measured here")))
    table = aliases.select(
        pl.col("alias").alias(name),
        pl.col("reference").alias(model),
        is_measured.alias(_("Known")),
        pl.col("n_scores").alias(_("Scores")),
    )
    edited = st.data_editor(
        table, key=_editor_key("table"), hide_index=True, num_rows="dynamic", disabled=[_("Known"), _("Scores")]
    )
    st.caption(_("A hub repository (owner/name) or a reference as measured. Add rows at the end; tick them to remove."))
    if st.button(_("Save the changes"), key="scores save names", icon=":material/save:"):
        rows = [(alias or "", reference or "") for alias, reference in edited.select(name, model).rows()]
        rows = [(alias.strip(), reference) for alias, reference in rows if alias.strip() or reference.strip()]
        references = dict(rows)
        if len(references) < len(rows):
            st.error(_("A name is there twice; each means one model."), icon=":material/error:")
            return
        _save(references, [alias for alias in aliases["alias"] if alias not in references])


def _save(references: dict[str, str], removed: list[str]) -> None:
    set_aliases(reads.warehouse(), references, removed)
    st.session_state[_ROUND] = st.session_state.get(_ROUND, 0) + 1  # edits that are stored are no edits any more
    st.rerun()


def _editor_key(name: str) -> str:
    return f"scores names {name} {st.session_state.get(_ROUND, 0)}"
