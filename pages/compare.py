from core.ui.frame import guard

guard()

from collections.abc import Callable

import streamlit as st

from core.locale import _
from core.ui import inputs, notices, pilot_filter, trash
from core.ui.compare import answer, distributions, layer_pairs, layer_profile, provenance
from core.ui.compare import checks as check_tables

st.title(_("Compare"))
trash.show_undo()
runs = notices.runs_or_stop()
top = st.container()
_pilot, runs = pilot_filter.choose(runs)
selection = inputs.choose_runs(runs)
notices.stop_if_none_chosen(selection.runs)
curves, held, details, below = (st.container() for _part in range(4))
comparison = answer.choose_comparison(selection, held)
with top:
    notices.show_vetoes(selection.runs)
    answer.show_answer(selection, comparison)
sections: dict[str, tuple[str, Callable[..., None]]] = {
    "profile": (_("Verdicts and numbers"), layer_profile.show_readings),
    "pairs": (_("Layers against layers"), layer_pairs.show),
    "distributions": (_("Distributions"), distributions.show),
    "within": (_("Dimension and loss"), distributions.show_windows),
    "norms": (_("Large-norm tokens"), distributions.show_large_norms),
    "checks": (_("Checks"), check_tables.show),
    "provenance": (_("Provenance"), provenance.show),
}
with details:
    show = inputs.choose_section("section", sections, _("Details"))
if show is layer_profile.show_readings:
    with curves:
        figure = layer_profile.show_curves(selection, comparison.points if comparison else None)
    with held:
        answer.show_differences(selection, comparison)
    with below:
        answer.show_results(selection, comparison)
        if figure is not None:
            layer_profile.show_readings(selection, *figure)
else:
    with below:
        show(selection)
