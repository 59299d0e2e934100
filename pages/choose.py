from core.ui.frame import guard

guard()

import streamlit as st

from core.locale import _
from core.ui import inputs, run_choice
from core.ui.choose import answer, choices, relation, rules, scores

st.title(_("Choose"))
above, details, below = st.container(), st.container(), st.container()
with details:
    show = inputs.choose_section(
        "choose",
        {
            "choice": (_("Reasons"), answer.show_choice),
            "ranking": (_("Dimension and score"), relation.show),
            "cost": (_("Cost"), answer.show_cost),
            "tasks": (_("Tasks"), relation.show_by_task),
            "elsewhere": (_("Other texts"), relation.show_other_texts),
            "rules": (_("Rules"), rules.show_rules),
            "scores": (_("Scores"), scores.show_all),
        },
    )
if show is scores.show_all:  # scores need no run, and take the whole page
    score_sections = {
        "all": (_("All scores"), scores.show_all),
        "import": (_("Import"), scores.show_import),
        "files": (_("Imported files"), scores.show_files),
        "names": (_("Names of models"), scores.show_names),
        "conflicts": (_("Contradictions"), scores.show_conflicts),
        "pairs": (_("Two models, question by question"), scores.show_pairs),
    }
    if not inputs.may_write():
        del score_sections["import"], score_sections["names"]
    with below:
        inputs.choose_section("scores", score_sections)()
else:
    with above:
        runs = run_choice.runs_or_stop()
        pilot, _pilot_runs = run_choice.choose_pilot(runs)
        top = st.container()
        view = choices.choose_view(pilot, relates=show is relation.show)
        with top:
            if show is relation.show:
                relation.show_answer(view)
            else:
                answer.show_answer(view)
                relation.show_headline(view)
        answer.show(view)
    with below:
        show(view)
