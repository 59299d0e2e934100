from core.ui.frame import guard

guard()

import streamlit as st

from core.locale import _
from core.ui import inputs, notices, pilot_filter, trash, url_state
from core.ui.profiles import checks as check_tables
from core.ui.profiles import compare, distributions, layer_pairs, layer_profile, provenance

st.title(_("Compare"))
trash.show_undo()
runs = notices.runs_or_stop()
url_state.expand_link("compare", "runs", section="compare")
_pilot, runs = pilot_filter.choose(runs)
selection = inputs.choose_runs(runs)
notices.stop_if_none_chosen(selection.runs)
notices.show_vetoes(selection.runs)
notices.show_differing_conditions(selection.runs)

show = inputs.choose_section(
    "section",
    {
        "profile": (_("Profile"), layer_profile.show),
        "compare": (_("Compare"), compare.show),
        "pairs": (_("Layers against layers"), layer_pairs.show),
        "distributions": (_("Distributions"), distributions.show),
        "within": (_("Dimension and loss"), distributions.show_windows),
        "norms": (_("Large-norm tokens"), distributions.show_large_norms),
        "checks": (_("Checks"), check_tables.show),
        "provenance": (_("Provenance"), provenance.show),
    },
)
show(selection)
