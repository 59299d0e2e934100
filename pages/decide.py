from core.ui.frame import guard

guard()

import streamlit as st

from core.locale import _
from core.ui import inputs, notices, pilot_filter
from core.ui.decide import answer as decision_answer
from core.ui.decide import choices as decision_choices
from core.ui.decide import rules, tasks_and_texts

st.title(_("Decide"))
runs = notices.runs_or_stop()
pilot, _pilot_runs = pilot_filter.choose(runs)
top = st.container()
view = decision_choices.choose_view(pilot)
with top:
    decision_answer.show_answer(view)

show = inputs.choose_section(
    "decide",
    {
        "choice": (_("The choice"), decision_answer.show_choice),
        "cost": (_("Memory and cost"), decision_answer.show_cost),
        "tasks": (_("Task by task"), tasks_and_texts.show_by_task),
        "elsewhere": (_("Other texts and tasks"), tasks_and_texts.show_other_texts),
        "rules": (_("Rules"), rules.show_rules),
    },
)
show(view)
