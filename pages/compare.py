from core.ui.frame import guard

guard()

from collections.abc import Callable

import streamlit as st

from core.locale import _
from core.ui import inputs, run_choice
from core.ui.compare import answer, details, profile

st.title(_("Compare"))
run_choice.show_undo()
runs = run_choice.runs_or_stop()
top = st.container()
_pilot, runs = run_choice.choose_pilot(runs)
selection = run_choice.choose_runs(runs)
run_choice.stop_if_none_chosen(selection.runs)
curves, held, choices, below = (st.container() for _part in range(4))
comparison = answer.choose_comparison(selection, held)
with top:
    run_choice.show_vetoes(selection.runs)
    answer.show_answer(selection, comparison)
sections: dict[str, tuple[str, Callable[..., None]]] = {
    "profile": (_("Verdicts and numbers"), profile.show_readings),
    "pairs": (_("Layers against layers"), details.show_pairs),
    "distributions": (_("Distributions"), details.show_distributions),
    "within": (_("Dimension and loss"), details.show_windows),
    "norms": (_("Large-norm tokens"), details.show_large_norms),
    "checks": (_("Checks"), details.show_checks),
    "provenance": (_("Provenance"), answer.show_provenance),
}
with choices:
    show = inputs.choose_section("section", sections)
if show is profile.show_readings:
    with curves:
        figure = profile.show_curves(selection, comparison.points if comparison else None)
    with held:
        answer.show_differences(selection, comparison)
    with below:
        answer.show_results(selection, comparison)
        if figure is not None:
            profile.show_readings(selection, *figure)
else:
    with below:
        show(selection)
