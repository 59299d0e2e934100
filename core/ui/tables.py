"""Tables of a screen: numbers that can be sorted, each beside its interval, and the same rows as CSV."""

from __future__ import annotations

from typing import Any

import polars as pl
import streamlit as st

from core.report import wording
from core.report.labels import run_labels
from core.ui import language, times

VERDICT_WIDTH, VERDICT_HEIGHT = 290, 68
"""Pixels for a verdict with three limits, on three lines; Streamlit breaks lines only in rows above 64 pixels."""

_WORST_FIRST = {"veto": 0, "warn": 1, "pass": 2}


def overview(runs: pl.DataFrame) -> pl.DataFrame:
    """One line per run for the home screen: what was measured, what came out, whether it can be trusted."""
    _ = language.translator()
    reader = language.current()
    return pl.DataFrame(
        {
            _("Model"): runs["name"],
            _("Expansion-contraction"): verdicts(runs),
            _("Text"): runs["corpus_name"],
            _("Working dimension"): _with_intervals(runs, "working_dimension"),
            _("Final, before the norm"): _with_intervals(runs, "final_dimension_pre_norm"),
            _("Final, after the norm"): _with_intervals(runs, "final_dimension_post_norm"),
            _("N (points)"): runs["n_points"],
            _("Checks"): [wording.outcome_name(worst, reader) for worst in runs["worst_check"]],
            _("Protocol"): runs["protocol"],
            _("Pass"): [wording.pass_name(name, reader) for name in runs["pass"]],
            _("Measured"): [times.local(at) for at in runs["started_at"]],
        }
    )


def ranked(runs: pl.DataFrame) -> pl.DataFrame:
    """Runs of one comparison group, in the order given; the scores are there where a benchmark was chosen.

    Whose score it is stands before the number, so that no window cuts a label off and leaves the number.
    """
    _ = language.translator()
    score = {_("Score of"): runs["score_of"], _("Score"): runs["score_text"]} if "score_of" in runs.columns else {}
    return pl.DataFrame(
        {
            _("Model"): runs["name"],
            _("Expansion-contraction"): verdicts(runs),
            _("Working dimension"): _with_intervals(runs, "working_dimension"),
            _("Final, before the norm"): _with_intervals(runs, "final_dimension_pre_norm"),
            _("Final, after the norm"): _with_intervals(runs, "final_dimension_post_norm"),
            _("N (points)"): runs["n_points"],
            **score,
            _("Checks"): [wording.outcome_name(worst, language.current()) for worst in runs["worst_check"]],
            _("Parameters (millions)"): (runs["parameters"] / 1e6).round(0).cast(pl.Int64),
            _("Measured"): [times.local(at) for at in runs["started_at"]],
        }
    )


def layers(estimates: pl.DataFrame, runs: pl.DataFrame) -> pl.DataFrame:
    """Every number behind a figure of profiles: value, error, scale and sample size, layer by layer."""
    _ = language.translator()
    labels = run_labels(runs)
    states = {"residual": _("residual stream"), "post_norm": _("after the final norm")}
    return _without_empty(
        {
            _("Model"): [labels[run_id] for run_id in estimates["run_id"]],
            _("Layer"): estimates["layer"],
            _("State"): [states.get(state, state) for state in estimates["state"]],
            _("Value"): estimates["value"].round_sig_figs(4),
            _("Standard error"): estimates["std_error"].round_sig_figs(2),
            _("95 % interval"): _intervals(estimates, ""),
            _("Mean neighbour distance"): estimates["mean_distance"].round_sig_figs(3),
            _("N (points)"): estimates["n_points"],
            _("Dropped"): estimates["n_dropped"],
        }
    )


def worst_checks(checks: pl.DataFrame, runs: pl.DataFrame) -> pl.DataFrame:
    """One line per run and check: where it acts on several layers, the layer that came out worst."""
    _ = language.translator()
    labels = run_labels(runs)
    worst = (
        checks.join(runs.select("run_id", "name"), on="run_id", how="inner", maintain_order="right")
        .with_columns(severity=pl.col("outcome").replace_strict(_WORST_FIRST, default=0))
        .sort("severity", pl.col("value").abs(), descending=[False, True], nulls_last=True)
        .unique(["run_id", "check_name"], keep="first", maintain_order=True)
        .sort("severity", "check_name", "name")
    )
    return _without_empty(
        {
            _("Model"): [labels[run_id] for run_id in worst["run_id"]],
            _("Check"): [wording.check_name(name, language.current()) for name in worst["check_name"]],
            _("Outcome"): [wording.outcome_name(outcome, language.current()) for outcome in worst["outcome"]],
            _("Value"): worst["value"].round_sig_figs(3),
            _("Limit"): worst["threshold"],
            _("Layer"): worst["layer"],
        }
    )


def verdicts(runs: pl.DataFrame) -> list[str]:
    reader = language.current()
    rows = runs.select("verdict", "qualifiers").rows()
    return ["–" if verdict is None else wording.verdict_short(verdict, limits, reader) for verdict, limits in rows]


def show(table: pl.DataFrame, key: str, **more: Any) -> None:
    """A table whose first column stays in sight when a narrow window scrolls sideways.

    A verdict is read with what limits it: its rows are high enough for the whole text.
    """
    _ = language.translator()
    verdict = _("Expansion-contraction")
    columns = {table.columns[0]: st.column_config.Column(pinned=True)}
    if verdict in table.columns:
        columns[verdict] = st.column_config.Column(width=VERDICT_WIDTH)
        more = {"row_height": VERDICT_HEIGHT} | more
    st.dataframe(table, key=key, hide_index=True, column_config=columns, placeholder="–", **more)


def download(frame: pl.DataFrame, file_name: str, label: str) -> None:
    content = as_csv(frame)
    st.download_button(label, content, file_name, "text/csv", on_click="ignore", icon=":material/download:")


def as_csv(frame: pl.DataFrame) -> bytes:
    """All columns at full precision, with the mark that makes Excel read UTF-8.

    A text that a spreadsheet would run as a formula gets an apostrophe in front.
    """
    flat = frame.with_columns(
        pl.col(name).list.join(" ") for name, kind in frame.schema.items() if kind == pl.List(pl.String)
    )
    safe = flat.with_columns(pl.col(pl.String).str.replace(r"^([=+\-@\t\r])", "'$1"))
    return safe.write_csv(include_bom=True).encode("utf-8")


def _without_empty(columns: dict[str, Any]) -> pl.DataFrame:
    """A table without the columns that hold nothing for these rows."""
    table = pl.DataFrame(columns)
    return table.select(column for column in table if column.is_empty() or column.null_count() < table.height)


def _with_intervals(runs: pl.DataFrame, column: str) -> list[str]:
    return [wording.with_interval(*row) for row in runs.select(column, f"{column}_lower", f"{column}_upper").rows()]


def _intervals(frame: pl.DataFrame, prefix: str) -> list[str]:
    ends = zip(frame[f"{prefix}lower"], frame[f"{prefix}upper"], strict=True)
    return ["–" if low is None else f"{wording.number(low)} – {wording.number(high)}" for low, high in ends]
