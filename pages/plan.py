from core.ui.frame import guard

guard()

from functools import partial

import streamlit as st

from core.locale import _
from core.ui import inputs, reads, url_state
from core.ui.measure import job_cards
from core.ui.plan import plan_form, plan_view

st.title(_("Layer plans"))
job_cards.show(job_cards.PLANNING)
plans = reads.lists().plans
model = plan_form.linked_model()
plan = plan_view.choose_plan(plans, model)
if plan is None:
    plan_form.show_empty(model, next(iter(plans["plan_id"]), None))
    plan_form.show()
    url_state.stop()
plan_view.show_answer(plan)

show = inputs.choose_section(
    "shrink",
    {
        "price": (_("Loss by size"), partial(plan_view.show_prices, plan)),
        "alone": (_("Single blocks"), partial(plan_view.show_single_blocks, plan)),
        "harder": (_("What breaks first"), partial(plan_view.show_harder_texts, plan)),
        "saving": (_("Savings"), partial(plan_view.show_saving, plan)),
        "directions": (_("Directions"), partial(plan_view.show_directions, plan)),
        "files": (_("Export"), partial(plan_view.show_files, plan)),
        "history": (_("All plans"), lambda: plan_view.show_history(plans, reads.plan_outcomes())),
        "new": (_("New plan"), plan_form.show),
    },
)
show()
