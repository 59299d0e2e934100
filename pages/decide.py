from core.ui.frame import guard

guard()

import streamlit as st

from core.ui import decide, inputs, language, notices, pilot_filter, reads

_ = language.translator()

st.title(_("Decide"))
runs = reads.lists().runs
notices.stop_if_no_runs(runs)
pilot, _runs = pilot_filter.choose(runs)
answer = st.container()
look = decide.choose(pilot)
with answer:
    decide.say(look)

sections = {
    "choice": (_("The choice"), decide.show_choice),
    "cost": (_("Memory and cost"), decide.show_cost),
    "tasks": (_("Task by task"), decide.show_tasks),
    "elsewhere": (_("Other texts and tasks"), decide.show_elsewhere),
    "rules": (_("Rules"), decide.show_rules),
}
section = inputs.choose(
    _("Section"), list(sections), "decide", "choice", lambda name: sections[name][0], label_visibility="collapsed"
)
sections[section][1](look)
