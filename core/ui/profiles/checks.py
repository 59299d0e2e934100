"""The section Checks of the screen Profiles: whether the numbers of a run can be trusted, and what limits them."""

from __future__ import annotations

import polars as pl
import streamlit as st

from core import wording
from core.locale import _
from core.questions.selection import Selection
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
    table = all_checks(checks, runs) if each_layer else worst_checks(checks, runs)
    tables.show(table, "checks", height="content" if table.height < 40 else 600)
    st.caption(
        _(
            "Worst first. A warning limits a number; a veto says that it may describe the sample and not the model. "
            "A vetoed run is not usable, whatever its numbers. Shifts are differences of log d2: 0.095 is 10 %."
        )
    )
    tables.show_download(tables.with_provenance(checks, runs), "workdim_checks.csv", _("Download these numbers (CSV)"))

    st.subheader(_("Why each check matters"))
    meanings = [(wording.name("check", name), wording.check_meaning(name)) for name in check_names(checks)]
    st.markdown("\n".join(_list_item(*meaning) for meaning in meanings))
    controls = _control_lines(selection)
    if controls:
        st.subheader(_("What the controls show"))
        st.markdown("\n".join(controls))
    limits = _limit_lines(runs)
    if limits:
        st.subheader(_("What the verdicts rest on"))
        st.markdown("\n".join(limits))


def _list_item(title: str, text: str) -> str:
    return f"- **{escape(title)}**  \n  {escape(text)}"


def _control_lines(selection: Selection) -> list[str]:
    """What each control says about each claim of its run, with ratio, power and outcome."""
    labels = run_labels(selection.with_controls)
    lines = []
    for row in selection.against_controls.iter_rows(named=True):
        run, control = (labels.get(run_id, run_id) for run_id in (row["run_id"], row["control_run_id"]))
        lines.append(f"- **{escape(run)}**, {escape(control)}  \n  {escape(wording.control_text(row))}")
    return lines


def _limit_lines(runs: pl.DataFrame) -> list[str]:
    """What limits the verdicts of the runs on text; a control pass has none."""
    texts = runs.filter(pl.col("pass") == "text")
    reasons = dict.fromkeys(key for row in texts.iter_rows(named=True) for key in wording.run_reasons(row))
    return [_list_item(wording.reason_text(key, brief=False), wording.reason_meaning(key)) for key in reasons]


_SEVERITY = {"veto": 0, "warn": 1, "pass": 2}


def worst_checks(checks: pl.DataFrame, runs: pl.DataFrame) -> pl.DataFrame:
    """One line per run and check; of a check on several layers the worst layer."""
    acts_on = checks.group_by("run_id", "check_name").agg(n_layers=pl.col("layer").drop_nulls().n_unique())
    worst = _by_severity(checks, runs).unique(["run_id", "check_name"], keep="first", maintain_order=True)
    worst = worst.join(acts_on, on=["run_id", "check_name"], maintain_order="left").sort(
        "severity", "check_name", "name", maintain_order=True
    )
    layers_checked = worst["n_layers"].replace(0, None)
    return _check_table(worst, runs, _("Worst layer"), {_("Layers"): layers_checked})


def all_checks(checks: pl.DataFrame, runs: pl.DataFrame) -> pl.DataFrame:
    """One line per run, check and layer, the worst first."""
    return _check_table(_by_severity(checks, runs), runs, _("Layer"), {})


def check_names(checks: pl.DataFrame) -> list[str]:
    """Names of the checks, the worst outcome first."""
    by_severity = checks.group_by("check_name").agg(_severity().min().alias("severity")).sort("severity", "check_name")
    return by_severity["check_name"].to_list()


def _by_severity(checks: pl.DataFrame, runs: pl.DataFrame) -> pl.DataFrame:
    return (
        checks.join(runs.select("run_id", "name"), on="run_id", how="inner", maintain_order="right")
        .with_columns(severity=_severity())
        .sort("severity", pl.col("value").abs(), descending=[False, True], nulls_last=True)
    )


def _severity() -> pl.Expr:
    """The rank of an outcome, the worst first; a check without a limit cannot fail and comes last."""
    for_information = pl.col("threshold").is_null() & (pl.col("outcome") == "pass")
    severity = pl.col("outcome").replace_strict(_SEVERITY, default=0)
    return pl.when(for_information).then(len(_SEVERITY)).otherwise(severity)


def _check_table(rows: pl.DataFrame, runs: pl.DataFrame, layer: str, more: dict[str, pl.Series]) -> pl.DataFrame:
    labels = run_labels(runs)
    outcomes = [
        _("for information") if threshold is None and outcome == "pass" else wording.outcome_name(outcome)
        for outcome, threshold in rows.select("outcome", "threshold").rows()
    ]
    return without_empty(
        {
            _("Model"): [labels[run_id] for run_id in rows["run_id"]],
            _("Check"): [wording.name("check", name) for name in rows["check_name"]],
            _("Outcome"): outcomes,
            _("Value"): rows["value"].round_sig_figs(3),
            _("± (paired)"): rounded(rows, "std_error", 2),
            _("Limit"): rows["threshold"].round_sig_figs(3),
            layer: rows["layer"],
            **more,
        }
    )
