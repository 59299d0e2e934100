from core.ui.frame import guard

guard()

import streamlit as st

from core.ui import (
    check_section,
    distribution_section,
    inputs,
    language,
    large_norm_section,
    pair_section,
    pilots,
    profile_section,
    provenance_section,
    reads,
    states,
)

_ = language.translator()

st.title(_("Profiles"))
runs = reads.listing()
states.stop_if_no_runs(runs)
pilot, runs = pilots.choose(runs)
chosen = inputs.choose_runs(runs)
states.stop_if_none_chosen(chosen)
states.warn_of_vetoes(chosen)
states.warn_if_not_comparable(chosen)

sections = {
    "profile": (_("Profile"), profile_section.show),
    "pairs": (_("Layers against layers"), pair_section.show),
    "distributions": (_("Distributions"), distribution_section.show),
    "norms": (_("Large-norm tokens"), large_norm_section.show),
    "checks": (_("Checks"), check_section.show),
    "provenance": (_("Provenance"), provenance_section.show),
}
section = inputs.choose(
    _("Section"), list(sections), "section", "profile", lambda name: sections[name][0], label_visibility="collapsed"
)
draw = sections[section][1]
draw(chosen)
