"""The pilot that a page is looked at through: its runs only, what it decides, and what its use class forbids."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import polars as pl
import streamlit as st

from core import wording
from core.analysis.differences import with_controls
from core.pilots import registration
from core.pilots.pilot import Pilot
from core.pilots.registration import Registered
from core.ui import inputs, language, reads
from core.ui.markdown import escape
from core.wording import pilot_sentences


def choose(runs: pl.DataFrame) -> tuple[Registered | None, pl.DataFrame]:
    """The reader's pilot and its runs, control passes included; None and all runs where no pilot is chosen.

    What its use class forbids is said before any number; the page stops where the pilot has no result yet.
    """
    rows = reads.lists().pilots.to_dicts()
    chosen = inputs.choose_pilot(rows)
    if chosen is None:
        return None, runs
    _ = language.translator()
    registered = registration.registered(chosen)
    _tell(registered)
    own = with_controls(runs.filter(pl.col("run_id").is_in(reads.of_pilot(registered.pilot_id))), runs)
    if own.is_empty():
        st.info(_("This pilot has no result yet. Measure it in a terminal:"))
        st.code("python -m core pilot FILE.toml", language="bash")
        st.stop()
    return registered, own


def pilot_of(registered: Registered | None) -> Pilot | None:
    return registered.pilot if registered else None


def _tell(registered: Registered) -> None:
    _ = language.translator()
    reader, pilot = language.current(), registered.pilot
    told = _(
        "**{question}** Use class: {use_class}. Primary benchmark, named beforehand ({frozen}): {benchmark}. "
        "Expected: {expectation}"
    )
    st.markdown(
        told.format(
            question=escape(pilot.question),
            use_class=pilot_sentences.use_class_name(pilot.use_class, reader),
            frozen=pilot.benchmark.frozen.isoformat(),
            benchmark=escape(pilot_sentences.benchmark_line(pilot.benchmark, reader)),
            expectation=escape(pilot.benchmark.expectation),
        )
    )
    forbidden = _forbidden(pilot)
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


def tell_exploratory(pilot: Pilot | None, offered: pl.DataFrame, shown: Mapping[str, Any] | None) -> None:
    """Whether the benchmark that is shown is the one that was named before measuring."""
    if pilot is None or shown is None:
        return
    _ = language.translator()
    name = escape(pilot_sentences.benchmark_line(pilot.benchmark, language.current()))
    if not any(pilot.benchmark.is_met_by(row) for row in offered.iter_rows(named=True)):
        line = _(
            "No run here has a score of the pre-registered benchmark, {name}. Whatever another benchmark shows "
            "is exploratory: it was not named beforehand."
        )
        st.info(line.format(name=name), icon=":material/event_note:")
    elif pilot_sentences.is_exploratory(shown, pilot):
        line = _("This benchmark is not the pre-registered one, {name}: what it shows is exploratory.")
        st.info(line.format(name=name), icon=":material/event_note:")


def with_own_score(rows: pl.DataFrame, scored: pl.DataFrame, pilot: Pilot | None) -> pl.DataFrame:
    """The rows of a group with `own_score` and its error, as the user stated them; unchanged where there is no task."""
    if pilot is None or pilot.task is None:
        return rows
    own = scored.filter(score_match="own", benchmark=pilot.task.name, score_source=pilot.source)
    own = own.select("run_id", own_score="score", own_score_std_error="score_std_error").unique("run_id")
    return rows.join(own, on="run_id", how="left", maintain_order="left")


def own_title(pilot: Pilot | None) -> str:
    """The head of the column of own scores."""
    _ = language.translator()
    if pilot is None or pilot.task is None:
        return ""
    return _("Own: {task} [{unit}]").format(task=pilot.task.name, unit=pilot.task.unit)


def own_texts(rows: pl.DataFrame) -> list[str]:
    """`61.5 ± 1.9`, or a dash."""
    values = rows.select("own_score", "own_score_std_error").rows()
    return [
        "–" if value is None else wording.number(value) + ("" if error is None else f" ± {error:.2g}")
        for value, error in values
    ]
