from core.ui.frame import guard

guard()

import streamlit as st

from core.ui import inputs, language, reads, url_state
from core.ui.shrink import plan_form, plan_view

_ = language.translator()

st.title(_("Shrink"))
plan_form.show_jobs()
plans = reads.lists().plans
model = plan_form.linked_model()
found = plan_view.choose(plans, model)
if found is None:
    st.markdown(_("Which blocks of a model can go, what that costs, and what it saves."))
    plan_form.tell_empty(model, not plans.is_empty())
    plan_form.ask()
    url_state.stop()
plan_view.say(found)

sections = {
    "price": (_("Price of each step"), lambda: plan_view.show_price(found)),
    "alone": (_("Each block alone"), lambda: plan_view.show_alone(found)),
    "harder": (_("What breaks first"), lambda: plan_view.show_harder(found)),
    "saving": (_("What it saves"), lambda: plan_view.show_saving(found)),
    "directions": (_("Needed directions"), lambda: plan_view.show_directions(found)),
    "files": (_("Take it along"), lambda: plan_view.show_files(found)),
    "history": (_("Plans so far"), lambda: plan_view.show_history(plans, reads.plan_outcomes())),
    "new": (_("A new plan"), plan_form.ask),
}
section = inputs.choose(
    _("Section"), list(sections), "shrink", "price", lambda name: sections[name][0], label_visibility="collapsed"
)
sections[section][1]()
