"""The pilot that a page is looked at through: its runs only, what it decides, and what its use class forbids."""

from __future__ import annotations

import polars as pl
import streamlit as st

from core import wording
from core.analysis.differences import with_controls
from core.pilots import registration
from core.pilots.pilot import Pilot
from core.pilots.registration import RegisteredPilot
from core.ui import inputs, language, reads, url_state
from core.ui.markdown import escape
from core.wording import pilot_sentences


def choose(runs: pl.DataFrame) -> tuple[RegisteredPilot | None, pl.DataFrame]:
    """The reader's pilot and its runs, control passes included; None and all runs where no pilot is chosen.

    What its use class forbids is said before any number; the page stops where the pilot has no result yet.
    """
    rows = reads.lists().pilots.to_dicts()
    chosen = inputs.choose_pilot(rows)
    if chosen is None:
        return None, runs
    _ = language.translator()
    registered = registration.registered_pilot(chosen)
    _tell(registered)
    own = with_controls(runs.filter(pl.col("run_id").is_in(reads.of_pilot(registered.pilot_id))), runs)
    if own.is_empty():
        st.info(_("This pilot has no result yet. Measure it in a terminal:"))
        st.code("workdim pilot FILE.toml", language=None)
        url_state.stop()
    return registered, own


def _tell(registered: RegisteredPilot) -> None:
    _ = language.translator()
    lang, pilot = language.current(), registered.pilot
    told = _(
        "**{question}** Use class: {use_class}. Primary benchmark, named beforehand ({frozen}): {benchmark}. "
        "Expected: {expectation}"
    )
    st.markdown(
        told.format(
            question=escape(pilot.question),
            use_class=pilot_sentences.use_class_name(pilot.use_class, lang),
            frozen=pilot.benchmark.frozen.isoformat(),
            benchmark=escape(pilot_sentences.benchmark_line(pilot.benchmark, lang)),
            expectation=escape(pilot.benchmark.expectation),
        )
    )
    tell_forbidden(pilot)


def tell_forbidden(pilot: Pilot | None) -> None:
    """What the use class of a pilot forbids, where it forbids something."""
    forbidden = _forbidden(pilot) if pilot else None
    if forbidden:
        st.warning(forbidden, icon=":material/front_hand:")


def _forbidden(pilot: Pilot) -> str | None:
    _ = language.translator()
    told = {
        "scarce_data": _(
            "**Scarce data.** There are too few task examples to check a choice by its results. A "
            "dimension never supports a recommendation by itself here: it can raise a question, and only "
            "evidence from the task can answer it."
        ),
        "safety_critical": _(
            "**Safety-critical.** A wrong answer can do harm. A dimension never supports a "
            "recommendation by itself here: it says nothing of answers, and a choice needs tests of "
            "the task and of its failures."
        ),
    }
    return told.get(pilot.use_class)


def own_title(pilot: Pilot | None) -> str:
    """The head of the column of own scores."""
    _ = language.translator()
    if pilot is None or pilot.task is None:
        return ""
    unit = "%" if pilot.task.unit == "percent" else wording.unit_name(pilot.task.unit, language.current())
    return _("Own: {task} [{unit}]").format(task=pilot.task.name, unit=unit)


def own_texts(rows: pl.DataFrame) -> list[str]:
    """`61.5 ± 1.9`, or a dash."""
    values = rows.select("own_score", "own_score_std_error").rows()
    return [
        "–" if value is None else wording.number(value) + ("" if error is None else f" ± {error:.2g}")
        for value, error in values
    ]
