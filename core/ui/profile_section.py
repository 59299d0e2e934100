"""The first section of the profiles: one quantity over the layers, its controls, and what the run amounts to."""

from __future__ import annotations

import polars as pl
import streamlit as st

from core.report import figures, wording
from core.ui import cards, language, profiles, reads, references, states, tables


def show(runs: pl.DataFrame) -> None:
    _ = language.translator()
    reader = language.current()
    run_ids = runs["run_id"].to_list()
    estimates, correlators = reads.estimates(run_ids), reads.correlators(run_ids)
    states.stop_if_no_estimates(estimates)

    asked = profiles.choose_profile(estimates, correlators, runs)
    with st.container(horizontal=True, vertical_alignment="bottom"):
        asked = profiles.choose_equivalent(profiles.choose_scale(asked, estimates), estimates)
        data = references.choose_references(asked.data(estimates, correlators, runs), estimates, runs)
    st.plotly_chart(figures.layer_figure(data, reader), key="profile", theme=None)
    st.caption(profiles.reading_aid(asked, data))
    references.tell_references(data, runs)

    st.subheader(_("Working and final dimension (d2, one per type)"))
    cards.run_cards(runs)
    st.markdown(wording.sentences((wording.which_ten(reader), wording.own_definition(reader)), reader))

    st.subheader(_("Numbers"))
    shown = asked.rows(estimates, correlators, runs)
    tables.show(tables.layers(shown, runs), "numbers", height=320)
    tables.download(shown, "workdim_profiles.csv", _("Download these numbers (CSV)"))
