"""The deck that the reader may take away: what it is made from, its titles, and what it leaves open."""

from __future__ import annotations

import polars as pl
import streamlit as st

from core.analysis.asked import Asked
from core.deck import build, deck_data
from core.deck.deck_data import DeckData
from core.pilots.registration import Registered
from core.ui import language, reads
from core.ui.markdown import escape
from core.ui.reads import Selection
from core.wording import limits

MIME = "application/vnd.openxmlformats-officedocument.presentationml.presentation"


def tellable(runs: pl.DataFrame) -> pl.DataFrame:
    """The runs that a deck tells of: those without a verdict are left out, which is said; stops where no other is."""
    _ = language.translator()
    left_out = deck_data.without_verdict(runs, language.current())
    if left_out:
        line = _(
            "Without a verdict and left out of the slides: {names}. Their protocol measures no points of one per type."
        )
        st.info(line.format(names=escape(_(", ").join(left_out.values()))))
    if len(left_out) == runs.height:
        st.stop()
    return deck_data.with_verdict(runs)


def data(chosen: Selection, deck_language: str, pilot: Registered | None = None) -> DeckData:
    """Everything that the slides of these runs are made from: the page lists their titles, a download draws them.

    The runs take their control passes along: a verdict is not shown without what it was judged with.
    """
    frames = deck_data.RunFrames(
        runs=chosen.with_controls,
        estimates=chosen.estimates,
        correlators=chosen.correlators,
        checks=chosen.checks,
        summaries=chosen.summaries,
        scores=chosen.scores,
        claims=chosen.claims,
        extrema=chosen.extrema,
        against_controls=chosen.against_controls,
    )
    found = reads.answer(Asked(pilot=pilot)) if pilot else None
    return deck_data.deck_data(frames, deck_language, pilot, found=found)


def preview(deck: DeckData) -> None:
    """The slides by their titles, in the deck's own language."""
    st.markdown("\n".join(f"{number}. {escape(title)}" for number, title in enumerate(build.titles(deck), start=1)))


def undecided(deck: DeckData) -> None:
    """The questions that will be asked in the meeting and that these runs leave open, in the page's language."""
    pilot = deck.pilot.pilot if deck.pilot else None
    for limit in limits.limits(
        deck.runs, deck.checks, deck.against_controls, deck.scored, deck.words, language.current(), pilot, deck.answer
    ):
        st.markdown(f"- **{escape(limit.question)}**  \n  {escape(limit.reason)}")
