"""Checks: whether a run's numbers may be relied on, and what to do where they may not."""

from __future__ import annotations

import polars as pl
import streamlit as st

from core.report import wording
from core.ui import check_tables, inputs, language, reads, tables
from core.ui.plain import plain


def show(runs: pl.DataFrame) -> None:
    _ = language.translator()
    checks = reads.checks(runs["run_id"].to_list())
    if checks.is_empty():
        st.info(_("No check was made on these runs."))
        return
    each_layer = inputs.choose_yes_no(_("Every layer"), "each_layer", False)
    shown = check_tables.all_checks(checks, runs) if each_layer else check_tables.worst_checks(checks, runs)
    tables.show(shown, "checks", height="content" if shown.height < 40 else 600)
    st.caption(
        _(
            "Worst first. A warning limits a number; a veto says that it may describe the sample and not the model. "
            "Neither changes the stored verdict: they qualify it. Shifts are differences of log d2: 0.095 is 10 %."
        )
    )
    tables.download(tables.traced(checks, runs), "workdim_checks.csv", _("Download these numbers (CSV)"))

    st.subheader(_("Why each check matters"))
    st.markdown("\n".join(_meanings(check_tables.checks_worst_first(checks))))
    limits = _limits(runs)
    if limits:
        st.subheader(_("What supports or limits the verdicts"))
        st.markdown("\n".join(limits))


def _meanings(names: list[str]) -> list[str]:
    reader = language.current()
    return [
        f"- **{plain(wording.check_name(name, reader))}**  \n  {plain(wording.check_meaning(name, reader))}"
        for name in names
    ]


def _limits(runs: pl.DataFrame) -> list[str]:
    reader = language.current()
    texts = runs.filter(pl.col("pass") == "text")  # a control pass has no verdict
    found = [name for row in texts.iter_rows(named=True) for name in row["qualifiers"] or []]
    return [
        f"- **{plain(wording.qualifier_text(name, reader))}**  \n  {plain(wording.qualifier_meaning(name, reader))}"
        for name in dict.fromkeys(found)
    ]
