from core.ui.frame import guard

guard()

import streamlit as st

from core.report import figures, wording
from core.ui import cards, inputs, language, profiles, reads, states, tables

_ = language.translator()
reader = language.current()

st.title(_("Profiles"))
runs = reads.runs()
states.stop_if_no_runs(runs)
chosen = inputs.choose_runs(runs)
states.stop_if_none_chosen(chosen)
run_ids = chosen["run_id"].to_list()
estimates = reads.estimates(run_ids)
states.stop_if_no_estimates(estimates)
asked = profiles.choose_estimates(estimates, chosen)
states.warn_if_not_comparable(chosen)

data = figures.profile_points(estimates, chosen, asked.estimator, asked.cloud, asked.n1)
st.plotly_chart(figures.profile_figure(asked.on_axis(data), reader), key="profile", theme=None)
st.caption(profiles.reading_aid(asked))

st.subheader(_("Working and final dimension (d2, one per type)"))
cards.run_cards(chosen)
st.markdown(f"{wording.which_ten(reader)} {wording.own_definition(reader)}")

st.subheader(_("Correlators"))
correlator = inputs.choose(
    _("Correlator"), wording.CORRELATORS, "correlator", "E1", lambda name: wording.correlator_name(name, reader)
)
pairs = figures.correlator_points(reads.correlators(run_ids), chosen, correlator, asked.cloud)
st.plotly_chart(figures.correlator_figure(asked.on_axis(pairs), reader), key="correlator", theme=None)

st.subheader(_("Checks"))
tables.show(tables.worst_checks(reads.checks(run_ids), chosen), "checks")

st.subheader(_("Numbers"))
shown = asked.rows(estimates, chosen)
tables.show(tables.layers(shown, chosen), "numbers", height=320)
tables.download(shown, "workdim_profiles.csv", _("Download these numbers (CSV)"))
