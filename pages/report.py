from core.ui.frame import guard

guard()

from functools import partial

import polars as pl
import streamlit as st

from core.deck import build
from core.ui import inputs, language, notices, pilot_filter, reads, report

_ = language.translator()

st.title(_("Report"))
runs = reads.lists().runs
notices.stop_if_no_runs(runs)
pilot, runs = pilot_filter.choose(runs)
chosen = inputs.choose_runs(runs.filter(pl.col("pass") == "text"))
notices.stop_if_none_chosen(chosen.runs)
spoken = inputs.choose(
    _("Language of the slides"), list(language.LANGUAGES), "deck", language.current(), language.LANGUAGES.__getitem__
)
notices.warn_if_not_comparable(report.tellable(chosen.runs))
deck = report.data(chosen, spoken, pilot)

st.download_button(
    _("Download the slides (PowerPoint)"),
    partial(build.deck, deck),
    f"workdim_{spoken}.pptx",
    report.MIME,
    on_click="ignore",
    type="primary",
    icon=":material/download:",
)
st.caption(_("Charts are native: they can be edited in PowerPoint. Every slide names the runs that it shows."))

st.subheader(_("What the deck holds"))
report.preview(deck)

st.subheader(_("What it cannot decide"))
st.caption(_("Questions that a meeting will ask and that these runs leave open; they stand on the last slide too."))
report.undecided(deck)
