"""The verdicts and key numbers of a run: a panel beside its figure, and a card."""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl
import streamlit as st

from core import wording
from core.figures import profile_data
from core.locale import _
from core.questions.runs import Selection
from core.registry.protocols import CLAIMS
from core.tables import (
    LayerCorrelatorRow,
    LayerEstimateRow,
    Run,
    RunClaimRow,
    RunControlRow,
    RunExtremumRow,
    RunSummaryRow,
    records,
)
from core.ui import inputs, language
from core.ui.markdown import escape
from core.wording import answers as answer_wording
from core.wording.labels import run_labels
from core.wording.runs import result_texts
from core.wording.verdicts import Chip, badge_text, control_chips, joint_text, opinion_chips, start_text

_VERDICT_COLOURS = {"holds": "blue", "mostly_holds": "blue", "depends": "orange", "invalid": "red"}
_CHIP_COLOURS = {"✓": "green", "✕": "red", "=": "gray", "≠": "gray", "?": "gray"}
_CARD_WIDTH = 288


def show_verdict_panel(run: Run, selection: Selection, name: str, cloud: str, *, names_points: bool) -> None:
    """Draw the key numbers of a run on the points that the figure shows, and a chip for each control and second opinion.

    Of a run that a check vetoes there are no chips: whether numbers of the sample agree says nothing of the model.
    `names_points`: where the figure shows another quantity than d2, whose points it does not tell. `name` is given where several panels are drawn: their chips are marks alone, and each has its verdict, which of a single
    run heads the page.
    """
    if name:
        st.markdown(f"**{escape(name)}**")
        verdicts = (run.verdict_rise, run.verdict_fall)
        colour = next((_VERDICT_COLOURS[verdict] for verdict in _VERDICT_COLOURS if verdict in verdicts), "gray")
        st.markdown(f":{colour}-badge[**{escape(badge_text(run))}**]", help=escape(wording.verdict_text(run)))
    for row in records(selection.summaries.filter(run_id=run.run_id, estimator="d2", cloud=cloud), RunSummaryRow):
        peak, final = (wording.interval_of(row, name) for name in ("inner_max", "final_dimension_pre_norm"))
        told = _("Largest inside {peak}, final {final}")
        if names_points:
            told = _("Largest inside {peak}, final {final} (d2, {points})")
        chosen = _("The layer is chosen on half of the windows and read on the other: the curve may differ a little.")
        st.markdown(escape(told.format(peak=peak, final=final, points=wording.name("cloud", cloud))), help=chosen)
    if run.worst_check == "veto":
        st.caption(_("A check failed: controls and other readings say nothing."))
        return
    passes = dict(selection.controls.select("run_id", "pass").rows())
    controls = records(selection.against_controls.filter(run_id=run.run_id), RunControlRow)
    opinions = records(selection.claims.filter(run_id=run.run_id), RunClaimRow)
    none = [Chip("?", _("none was measured"), "")]
    _show_chips(_("Controls"), control_chips(controls, passes) or none, marks_only=bool(name))
    _show_chips(_("Other readings"), opinion_chips(opinions), marks_only=bool(name))


def _show_chips(label: str, chips: list[Chip], *, marks_only: bool) -> None:
    """Draw a line of chips; the help explains each. `marks_only`: without their names."""
    if not chips:
        return
    details = "  \n".join(f"{escape(chip.mark)} **{escape(chip.name)}** {escape(chip.explanation)}" for chip in chips)
    shown = [chip.mark if marks_only else f"{chip.mark} {chip.name}" for chip in chips]
    badges = " ".join(
        f":{_CHIP_COLOURS[chip.mark]}-badge[{escape(text)}]" for chip, text in zip(chips, shown, strict=True)
    )
    if marks_only:
        st.markdown(f"{escape(label)} {badges}", help=details)
    else:
        st.caption(escape(label), help=details)
        st.markdown(badges)


def show_run_cards(selection: Selection) -> None:
    """Draw a card of each run, side by side as far as the window is wide enough; above them, what one method is worth. What came
    out of several runs on text stands in one table, and not here again."""
    labels, starts = run_labels(selection.runs), selection.estimates.filter(pl.col("layer") == 0)
    for run in records(selection.runs.filter(pl.col("pass") == "text").head(1), Run):
        if told := start_text(run, records(starts.filter(run_id=run.run_id), LayerEstimateRow)):
            st.caption(escape(_("{claim}: {verdict}").format(claim=labels[run.run_id], verdict=told)))
    with st.container(horizontal=True, gap="small"):
        for run in records(selection.runs, Run):
            with st.container(border=True, width=_CARD_WIDTH, gap="small"):
                st.markdown(f"**{escape(labels[run.run_id])}**")
                _show_card(run, selection)


def _show_card(run: Run, selection: Selection) -> None:
    st.caption(escape(f"{run.corpus_name} · {run.protocol} · {language.local_time(run.started_at)}"))
    correlators = records(selection.correlators.filter(run_id=run.run_id), LayerCorrelatorRow)
    if run.n_points is None:
        st.caption(_("This protocol gives no verdicts."))
        _show_served(correlators)
        return
    if run.pass_ != "text":  # a control has no verdict and is named
        st.markdown(escape(wording.outcome_text(run)))
    else:
        for claim in CLAIMS:
            colour = _VERDICT_COLOURS.get(getattr(run, f"verdict_{claim}"), "gray")
            st.markdown(
                f":{colour}[{escape(wording.claim_text(claim, run))}]", help=escape(joint_text(claim, run)) or None
            )
    if run.pass_ != "text" or selection.judged.height < 2:
        results = result_texts(run)
        del results[_("Verdicts")]
        st.markdown("\n\n".join(f"{label}  \n**{escape(text)}**" for label, text in results.items()))
    extrema = records(selection.extrema.filter(run_id=run.run_id, cloud=profile_data.PRIMARY[1]), RunExtremumRow)
    if extrema:
        st.caption(_("Profile: {extrema}").format(extrema=escape(wording.extrema_text(extrema))))
    if dominant := wording.dominance_text(row for row in correlators if row.correlator.startswith("top_")):
        st.caption(_("Dominant directions: {layers}").format(layers=escape(dominant)))
    readable = [row for row in correlators if row.correlator == "readable_loss"]
    if told := answer_wording.readable_text(readable, run.inner_max_layer):
        st.caption(escape(told), help=escape(answer_wording.readable_limits()))
    _show_served(correlators)
    if run.kind == "decoder" and run.pass_ == "text":
        inputs.show_link("plan", _("What can go"), "content_cut", model=run.reference)


def _show_served(correlators: Sequence[LayerCorrelatorRow]) -> None:
    """Draw which layer serves the reader's own labels, where some were given."""
    if told := answer_wording.served_text(correlators):
        st.markdown(escape(told), help=escape(answer_wording.served_limits()))
