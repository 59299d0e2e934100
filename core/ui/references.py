"""What the curves of a picture are held against: control passes and Gaussian points, each with its own switch."""

from __future__ import annotations

from dataclasses import replace

import polars as pl
import streamlit as st

from core.analysis.controls import control_links
from core.report import points
from core.report.labels import run_labels
from core.report.points import CorrelatorData, ProfileData, Reference
from core.ui import inputs, language, reads
from core.ui.plain import plain

FEW_RUNS = 2
"""Up to so many runs the control passes are drawn at first; with more, their lines would hide the curves."""


def choose_references(
    data: ProfileData | CorrelatorData, estimates: pl.DataFrame, runs: pl.DataFrame
) -> ProfileData | CorrelatorData:
    """The picture with what the reader wants it held against; a switch without effect is not drawn."""
    _ = language.translator()
    controls = _controls(data, runs)
    surrogates: list[Reference] = []
    if isinstance(data, ProfileData) and not data.is_equivalent:
        surrogates = points.surrogate_references(data, estimates, runs)
    shown: list[Reference] = []
    if controls and inputs.choose_yes_no(_("Control passes"), "controls", len(data.curves) <= FEW_RUNS):
        shown += controls
    help_ = _(
        "What the estimator reads on Gaussian points with the same covariance: their distance to the curve "
        "shows how far from Gaussian the real points are."
    )
    if surrogates and inputs.choose_yes_no(_("Gaussian points of equal covariance"), "surrogate", False, help=help_):
        shown += surrogates
    return replace(data, references=shown)


def _controls(data: ProfileData | CorrelatorData, runs: pl.DataFrame) -> list[Reference]:
    found = control_links(runs, reads.listing())
    if found.is_empty():
        return []
    ids = sorted(found["run_id"].unique().to_list())
    rows = reads.correlators(ids) if isinstance(data, CorrelatorData) else reads.estimates(ids)
    return points.control_references(data, rows, found, runs)


def tell_references(data: ProfileData | CorrelatorData, runs: pl.DataFrame) -> None:
    """What the thin lines are and what they decide; and which runs have no random weights to be held against."""
    _ = language.translator()
    kinds = {reference.kind for reference in data.references}
    meanings = {
        "random_init": _(
            "Random weights (dotted): the same architecture untrained. What they show too need not come from training."
        ),
        "shuffled": _(
            "Shuffled text (dashed): the tokens of each window in random order. What they show too is about "
            "vocabulary and weights, and no evidence of semantics."
        ),
        points.SURROGATE: _(
            "Gaussian points (dash-dotted): the same covariance and nothing else. Where the curve's "
            "interval lies below, the real points are not Gaussian."
        ),
    }
    told = [meaning for kind, meaning in meanings.items() if kind in kinds]
    if told:
        st.caption("  \n".join(told))
    missing, later = without_random(runs)
    if missing:
        line = _("Not controlled against random weights: {names}. Such a shape can come without any training.")
        st.caption(line.format(names=plain(_(", ").join(missing))))
    if later:
        line = _(
            "Random weights were measured after the verdict on {names}, which does not know them: measure again "
            "to have it judged with them."
        )
        st.caption(line.format(names=plain(_(", ").join(later))))


def without_random(runs: pl.DataFrame) -> tuple[list[str], list[str]]:
    """Names of the runs on text without random weights at all, and of those that were judged without them."""
    texts = runs.filter(pl.col("pass") == "text")
    controls = control_links(texts, reads.listing()).filter(pl.col("pass") == "random_init")
    labels = run_labels(runs, language.current())
    having = set(controls["text_run_id"])
    judged_without = set(texts.filter(pl.col("qualifiers").list.contains("no_random_init"))["run_id"])
    missing = [labels[run_id] for run_id in texts["run_id"] if run_id not in having]
    return missing, [labels[run_id] for run_id in texts["run_id"] if run_id in having & judged_without]
