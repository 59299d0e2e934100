"""The sections Imported files and Contradictions of the screen Scores."""

from __future__ import annotations

import polars as pl
import streamlit as st

from core import wording
from core.ui import language, reads, tables
from core.ui.markdown import escape
from core.warehouse import score_imports
from core.wording import score_files


def show() -> None:
    """Draw the imported files, and the removal of one."""
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
    tables.show(_file_table(files), "scores imported")
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
            message = _(
                "All scores and single answers of {name} leave the warehouse. The file itself is not touched, and "
                "can be imported again."
            )
            st.markdown(message.format(name=escape(rows[chosen]["file_name"])))
            if st.button(_("Remove it"), type="primary", key="scores remove"):
                score_imports.remove_import(reads.warehouse(), chosen)
                st.rerun()


def _file_table(rows: pl.DataFrame) -> pl.DataFrame:
    """The rows of `score_imports.list_imports` as a table."""
    _ = language.translator()
    lang = language.current()
    return pl.DataFrame(
        {
            _("File"): rows["file_name"],
            _("Kind of file"): [score_files.format_name(name, lang) for name in rows["format"]],
            _("Scores"): rows["n_taken"],
            _("Of partial runs"): rows["n_partial"],
            _("Skipped"): rows["n_skipped"],
            _("Single answers"): rows["n_samples"],
            _("Models"): rows["n_models"],
            _("Imported"): [language.local_time(time, in_table=True) for time in rows["imported_at"]],
            "SHA-256": rows["file_sha256"].str.head(12),
        }
    )


def show_conflicts() -> None:
    """Draw the scores on which two sources contradict each other."""
    _ = language.translator()
    conflicts = reads.score_conflicts()
    if conflicts.is_empty():
        st.info(_("No two sources contradict each other."))
        return
    st.markdown(
        _(
            "Values of one model on one benchmark, by equal metric, filter, shots, suite and settings, that differ by "
            "more than rounding: {n}, the widest first. All are kept; rankings show the newest and the range."
        ).format(n=conflicts.height)
    )
    tables.show(_conflict_table(conflicts), "scores conflicts")


def _conflict_table(rows: pl.DataFrame) -> pl.DataFrame:
    """The rows of `score_answers.score_conflicts` as a table."""
    _ = language.translator()
    lang = language.current()
    variants = rows.select("dtype", "chat_template").rows()
    settings = [wording.score_settings_text(dtype, template, lang) for dtype, template in variants]
    return tables.without_empty(
        {
            _("Model"): rows["repository"],
            _("Benchmark"): rows["benchmark"],
            _("Metric"): tables.named(rows["metric"], wording.metric_name),
            _("Lowest"): rows["lowest"].round_sig_figs(4),
            _("Highest"): rows["highest"].round_sig_figs(4),
            _("Values"): rows["n_values"],
            _("Value and source"): [" | ".join(values) for values in rows["told"]],
            _("Shots"): rows["n_shot"],
            _("Filter"): tables.named(rows["filter"], wording.stated_text),
            _("Suite"): tables.named(rows["suite"], wording.stated_text),
            _("Revision"): rows["revision"],
            _("Settings"): settings,
        }
    )
