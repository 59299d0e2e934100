"""Which model stated criteria choose: the answer first, then what it rests on."""

import streamlit as st

from core.locale import _
from core.ui import inputs, notices, pilot_filter
from core.ui.decide import answer, choices, rules, tasks_and_texts


def show() -> None:
    runs = notices.runs_or_stop()
    pilot, _pilot_runs = pilot_filter.choose(runs)
    top = st.container()
    view = choices.choose_view(pilot)
    with top:
        answer.show_answer(view)
    show_section = inputs.choose_section(
        "decide",
        {
            "choice": (_("The choice"), answer.show_choice),
            "cost": (_("Memory and cost"), answer.show_cost),
            "tasks": (_("Task by task"), tasks_and_texts.show_by_task),
            "elsewhere": (_("Other texts and tasks"), tasks_and_texts.show_other_texts),
            "rules": (_("Rules"), rules.show_rules),
        },
    )
    show_section(view)
