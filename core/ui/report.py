"""The deck that the reader may take away: what it will hold, and the function that makes it when asked."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import polars as pl
import streamlit as st

from core.analysis import ranking
from core.deck import build, deck_data
from core.pilots.registration import Pilot, Registered
from core.ui import comparison, language, reads
from core.ui.markdown import escape
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


def maker(runs: pl.DataFrame, deck_language: str, pilot: Registered | None = None) -> Callable[[], bytes]:
    """Everything is read now, because a download runs outside of the page; the slides are made on the click.

    The runs take their control passes along: a verdict is not shown without what it was judged with.
    """
    taken = reads.with_controls(runs)
    run_ids = taken["run_id"].to_list()
    return partial(
        build.deck,
        taken,
        reads.estimates(run_ids),
        reads.correlators(run_ids),
        reads.checks(run_ids),
        reads.scores(comparison.repositories(runs)),
        deck_language,
        summaries=reads.summaries(run_ids),
        pilot=pilot,
    )


def preview(runs: pl.DataFrame, deck_language: str, pilot: Registered | None = None) -> None:
    """The slides by their titles, in the deck's own language."""
    taken = reads.with_controls(runs)
    run_ids = taken["run_id"].to_list()
    scores = reads.scores(comparison.repositories(runs))
    read = (reads.estimates(run_ids), reads.checks(run_ids), scores)
    titles = build.outline(taken, *read, deck_language, reads.summaries(run_ids), pilot)
    st.markdown("\n".join(f"{number}. {escape(title)}" for number, title in enumerate(titles, start=1)))


def undecided(runs: pl.DataFrame, pilot: Pilot | None = None) -> None:
    """The questions that will be asked in the meeting and that these runs leave open."""
    taken = reads.with_controls(deck_data.with_verdict(runs))
    ids = taken["run_id"].to_list()
    scores = reads.scores(comparison.repositories(runs))
    scored = ranking.with_scores(taken, ranking.without_other_pilots(scores, pilot))
    words = ranking.across_tokenizers(taken, reads.summaries(ids), lifted=True)
    for limit in limits.limits(taken, reads.checks(ids), scored, words, language.current(), pilot):
        st.markdown(f"- **{escape(limit.question)}**  \n  {escape(limit.reason)}")
