from core.ui.frame import guard

guard()

import streamlit as st

from core.ui import inputs, language, notices, pilot_filter, reads
from core.ui.decide import answer, choices, elsewhere, rules

_ = language.translator()

st.title(_("Decide"))
runs = reads.lists().runs
notices.stop_if_no_runs(runs)
pilot, _runs = pilot_filter.choose(runs)
first = st.container()
look = choices.choose(pilot)
with first:
    answer.say(look)

sections = {
    "choice": (_("The choice"), answer.show_choice),
    "cost": (_("Memory and cost"), answer.show_cost),
    "tasks": (_("Task by task"), elsewhere.show_tasks),
    "elsewhere": (_("Other texts and tasks"), elsewhere.show_elsewhere),
    "rules": (_("Rules"), rules.show_rules),
}
section = inputs.choose(
    _("Section"), list(sections), "decide", "choice", lambda name: sections[name][0], label_visibility="collapsed"
)
sections[section][1](look)
