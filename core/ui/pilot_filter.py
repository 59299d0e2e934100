"""The choice of a pilot, which limits a page to its runs: what the pilot decides, and what its use class forbids."""

from __future__ import annotations

from collections import Counter

import polars as pl
import streamlit as st

from core import wording
from core.analysis.differences import with_controls
from core.locale import _, spoken
from core.pilots.pilot import Pilot, RegisteredPilot, registered_pilot, shipped_pilot
from core.questions.ranking_question import pilot_registration
from core.tables import PilotRow, records
from core.ui import inputs, reads, url_state
from core.ui.markdown import escape
from core.wording import answers as answer_wording
from core.wording.scores import registered_benchmark_text


def choose(runs: pl.DataFrame) -> tuple[RegisteredPilot | None, pl.DataFrame]:
    """Return the chosen pilot and its runs with their control passes; None and all runs where no pilot is chosen.

    What the use class of the pilot forbids is shown before any number. The page stops where the pilot has no result yet.
    """
    rows = {row.pilot_id: row for row in records(reads.lists().pilots, PilotRow)}
    n_named = Counter(row.name for row in rows.values())
    names = {inputs.ALL: _("all runs")}
    for key, row in rows.items():  # an edited pilot has the name of the one that it was
        names[key] = f"{row.name} · {key[-8:]}" if n_named[row.name] > 1 else row.name
    chosen = inputs.choose_by_id(_("Pilot"), names, "pilot", width=480)
    if chosen == inputs.ALL:
        return None, runs
    pilot = registered_pilot(rows[chosen])
    _show_pilot(pilot)
    pilot_runs = with_controls(runs.filter(pl.col("run_id").is_in(reads.pilot_run_ids(pilot.pilot_id))), runs)
    if pilot_runs.is_empty():
        st.info(_("This pilot has no result yet."))
        inputs.show_link("measure", _("Measure what is missing"), "science")
        url_state.stop()
    return pilot, pilot_runs


def _show_pilot(registered: RegisteredPilot) -> None:
    pilot = registered.pilot
    expected = _("Expected: {expectation}").format(expectation=escape(pilot.expectation_in(spoken())))
    conditions = _("{use_class}. Benchmark ({registration}): {benchmark}.").format(
        use_class=wording.name("use_class", pilot.use_class),
        registration=answer_wording.registration_day_text(pilot_registration(registered, shipped_pilot())),
        benchmark=escape(registered_benchmark_text(pilot.benchmark)),
    )
    st.markdown(f"**{escape(pilot.question_in(spoken()))}**", help=f"{expected}  \n{conditions}")
    show_forbidden(pilot)


def show_forbidden(pilot: Pilot | None) -> None:
    """Draw what the use class of a pilot forbids, where it forbids something."""
    warnings = {
        "scarce_data": _("**Scarce data.** Too few examples to check a choice: never choose by dimension alone."),
        "safety_critical": _(
            "**Safety-critical.** Wrong answers do harm: test the task and its failures; never choose by "
            "dimension alone."
        ),
    }
    if pilot and pilot.use_class in warnings:
        st.warning(warnings[pilot.use_class], icon=":material/front_hand:")
