"""The section Checks of the page Compare: whether the numbers of a run can be trusted, and what limits them."""

from __future__ import annotations

import polars as pl
import streamlit as st

from core import wording
from core.locale import _
from core.questions.runs import Selection
from core.tables import Run, RunControlRow, ids_of, records
from core.ui import inputs, tables
from core.ui.markdown import escape
from core.ui.tables import rounded, without_empty
from core.wording.labels import run_labels


def show(selection: Selection) -> None:
    """Draw the outcomes of the checks, what each check means, and what controls and verdicts rest on."""
    runs, checks = selection.runs, selection.of_runs(selection.checks)
    if checks.is_empty():
        st.info(_("No check was made on these runs."))
        return
    each_layer = inputs.choose_yes_no(_("Every layer"), "each_layer", False)
    table = check_table(checks, runs, each_layer=each_layer)
    tables.show(table, "checks", height="content" if table.height < 40 else 600)
    st.caption(_("Worst first. Warnings limit a number; vetoed runs are not usable. Shift 0.095 = 10 %."))
    tables.show_rows_download(checks, runs, "checks")

    meanings = [(wording.name("check", name), wording.check_meaning(name)) for name in check_names(checks)]
    labels = run_labels(selection.with_controls)
    controls = [
        (
            _(", ").join(labels.get(run_id, run_id) for run_id in (row.run_id, row.control_run_id)),
            wording.control_text(row),
        )
        for row in records(selection.against_controls, RunControlRow)
    ]
    texts = runs.filter(pl.col("pass") == "text")  # a control pass has no verdict
    reasons = dict.fromkeys(key for run in records(texts, Run) for key in wording.run_reasons(run))
    limits = [(wording.reason_text(key), wording.reason_meaning(key)) for key in reasons]
    for title, items in (
        (_("Where a check fails"), meanings),
        (_("What the controls show"), controls),
        (_("What the verdicts rest on"), limits),
    ):
        if items:
            st.subheader(title)
            st.markdown("\n".join(f"- **{escape(name)}**  \n  {escape(text)}" for name, text in items))


_SEVERITY = {"veto": 0, "warn": 1, "pass": 2}


def check_table(checks: pl.DataFrame, runs: pl.DataFrame, *, each_layer: bool) -> pl.DataFrame:
    """One line per run, check and layer, the worst first; without `each_layer` only the worst layer of each check."""
    rows = (
        checks.join(runs.select("run_id", "name"), on="run_id", how="inner", maintain_order="right")
        .with_columns(
            severity=_severity(), n_layers=pl.col("layer").drop_nulls().n_unique().over("run_id", "check_name")
        )
        .sort("severity", pl.col("value").abs(), descending=[False, True], nulls_last=True)
    )
    if not each_layer:
        worst = rows.unique(["run_id", "check_name"], keep="first", maintain_order=True)
        rows = worst.sort("severity", "check_name", "name", maintain_order=True)
    labels = run_labels(runs)
    outcomes = [
        _("for information") if threshold is None and outcome == "pass" else wording.outcome_name(outcome)
        for outcome, threshold in rows.select("outcome", "threshold").rows()
    ]
    columns = {
        _("Model"): [labels[run_id] for run_id in ids_of(rows)],
        _("Check"): [wording.name("check", name) for name in rows["check_name"]],
        _("Outcome"): outcomes,
        _("Value"): rows["value"].round_sig_figs(3),
        _("± (paired)"): rounded(rows, "std_error", 2),
        _("Limit"): rows["threshold"].round_sig_figs(3),
        _("Layer") if each_layer else _("Worst layer"): rows["layer"],
        _("Layers"): None if each_layer else rows["n_layers"].replace(0, None),
    }
    return without_empty(columns)


def check_names(checks: pl.DataFrame) -> list[str]:
    """Names of the checks, the worst outcome first."""
    return checks.sort(_severity(), "check_name")["check_name"].unique(maintain_order=True).to_list()


def _severity() -> pl.Expr:
    """The rank of an outcome, the worst first; a check without a limit cannot fail and comes last."""
    for_information = pl.col("threshold").is_null() & (pl.col("outcome") == "pass")
    severity = pl.col("outcome").replace_strict(_SEVERITY, default=0)
    return pl.when(for_information).then(len(_SEVERITY)).otherwise(severity)
