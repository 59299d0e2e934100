"""Checks: whether a run's numbers may be relied on, and what to do where they may not."""

from __future__ import annotations

import polars as pl
import streamlit as st

from core import wording
from core.ui import inputs, language, tables
from core.ui.markdown import escape
from core.ui.reads import Selection
from core.ui.tables import rounded, without_empty
from core.wording.labels import run_labels


def show(chosen: Selection) -> None:
    _ = language.translator()
    runs, checks = chosen.runs, chosen.of_runs(chosen.checks)
    if checks.is_empty():
        st.info(_("No check was made on these runs."))
        return
    each_layer = inputs.choose_yes_no(_("Every layer"), "each_layer", False)
    shown = all_checks(checks, runs) if each_layer else worst_checks(checks, runs)
    tables.show(shown, "checks", height="content" if shown.height < 40 else 600)
    st.caption(
        _(
            "Worst first. A warning limits a number; a veto says that it may describe the sample and not the model. "
            "A vetoed run is not usable, whatever its numbers. Shifts are differences of log d2: 0.095 is 10 %."
        )
    )
    tables.show_download(tables.with_provenance(checks, runs), "workdim_checks.csv", _("Download these numbers (CSV)"))

    st.subheader(_("Why each check matters"))
    st.markdown("\n".join(_meanings(checks_worst_first(checks))))
    controls = _controls(chosen)
    if controls:
        st.subheader(_("What the controls show"))
        st.markdown("\n".join(controls))
    limits = _limits(runs)
    if limits:
        st.subheader(_("What the verdicts rest on"))
        st.markdown("\n".join(limits))


def _meanings(names: list[str]) -> list[str]:
    lang = language.current()
    return [
        f"- **{escape(wording.name('check', name, lang))}**  \n  {escape(wording.check_meaning(name, lang))}"
        for name in names
    ]


def _controls(chosen: Selection) -> list[str]:
    """Of each run on text: what each of its controls says about each claim, with ratio, power and outcome."""
    lang = language.current()
    labels = run_labels(chosen.with_controls, lang)
    return [
        f"- **{escape(labels.get(row['run_id'], row['run_id']))}**, {escape(labels.get(row['control_run_id'], row['control_run_id']))}  \n"
        f"  {escape(wording.control_text(row, lang))}"
        for row in chosen.against_controls.iter_rows(named=True)
    ]


def _limits(runs: pl.DataFrame) -> list[str]:
    lang = language.current()
    texts = runs.filter(pl.col("pass") == "text")  # a control pass has no verdict
    found = [key for row in texts.iter_rows(named=True) for key in wording.reasons_of(row)]
    return [
        f"- **{escape(wording.reason_text(key, lang, brief=False))}**  \n  {escape(wording.reason_meaning(key, lang))}"
        for key in dict.fromkeys(found)
    ]


_WORST_FIRST = {"veto": 0, "warn": 1, "pass": 2}


def worst_checks(checks: pl.DataFrame, runs: pl.DataFrame) -> pl.DataFrame:
    """One line per run and check: where it acts on several layers, the layer that came out worst."""
    _ = language.translator()
    acts_on = checks.group_by("run_id", "check_name").agg(n_layers=pl.col("layer").drop_nulls().n_unique())
    worst = _by_severity(checks, runs).unique(["run_id", "check_name"], keep="first", maintain_order=True)
    worst = worst.join(acts_on, on=["run_id", "check_name"], maintain_order="left").sort(
        "severity", "check_name", "name", maintain_order=True
    )
    layers_checked = worst["n_layers"].replace(0, None)
    return _checks_shown(worst, runs, _("Worst layer"), {_("Layers"): layers_checked})


def all_checks(checks: pl.DataFrame, runs: pl.DataFrame) -> pl.DataFrame:
    """One line per run, check and layer, the worst first."""
    _ = language.translator()
    return _checks_shown(_by_severity(checks, runs), runs, _("Layer"), {})


def checks_worst_first(checks: pl.DataFrame) -> list[str]:
    """Names of the checks, those that came out worst first."""
    ranked = checks.group_by("check_name").agg(_severity().min().alias("severity")).sort("severity", "check_name")
    return ranked["check_name"].to_list()


def _by_severity(checks: pl.DataFrame, runs: pl.DataFrame) -> pl.DataFrame:
    return (
        checks.join(runs.select("run_id", "name"), on="run_id", how="inner", maintain_order="right")
        .with_columns(severity=_severity())
        .sort("severity", pl.col("value").abs(), descending=[False, True], nulls_last=True)
    )


def _severity() -> pl.Expr:
    """What has no limit cannot fail and comes last: it is there to be read with the numbers."""
    for_information = pl.col("threshold").is_null() & (pl.col("outcome") == "pass")
    severity = pl.col("outcome").replace_strict(_WORST_FIRST, default=0)
    return pl.when(for_information).then(len(_WORST_FIRST)).otherwise(severity)


def _checks_shown(rows: pl.DataFrame, runs: pl.DataFrame, layer: str, more: dict[str, pl.Series]) -> pl.DataFrame:
    _ = language.translator()
    lang = language.current()
    labels = run_labels(runs, language.current())
    outcomes = [
        _("for information") if threshold is None and outcome == "pass" else wording.outcome_name(outcome, lang)
        for outcome, threshold in rows.select("outcome", "threshold").rows()
    ]
    return without_empty(
        {
            _("Model"): [labels[run_id] for run_id in rows["run_id"]],
            _("Check"): [wording.name("check", name, lang) for name in rows["check_name"]],
            _("Outcome"): outcomes,
            _("Value"): rows["value"].round_sig_figs(3),
            _("± (paired)"): rounded(rows, "std_error", 2),
            _("Limit"): rows["threshold"].round_sig_figs(3),
            layer: rows["layer"],
            **more,
        }
    )
