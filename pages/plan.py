from core.ui.frame import guard

guard()

from functools import partial

import streamlit as st

from core.locale import _
from core.ui import inputs, job_cards, plan, reads, url_state

st.title(_("Layer plans"))
job_cards.show(job_cards.PLANNING)
plans = reads.lists().plans
model = plan.linked_model()
layer_plan = plan.choose_plan(plans, model)
if layer_plan is None:
    plan.show_empty(model, next(iter(plans["plan_id"]), None))
    plan.show_form()
    url_state.stop()
plan.show_answer(layer_plan)

show = inputs.choose_section(
    "shrink",
    {
        "price": (_("Loss by size"), partial(plan.show_prices, layer_plan)),
        "alone": (_("Single blocks"), partial(plan.show_single_blocks, layer_plan)),
        "harder": (_("What breaks first"), partial(plan.show_harder_texts, layer_plan)),
        "saving": (_("Savings"), partial(plan.show_saving, layer_plan)),
        "directions": (_("Directions"), partial(plan.show_directions, layer_plan)),
        "files": (_("Export"), partial(plan.show_files, layer_plan)),
        "history": (_("All plans"), lambda: plan.show_history(plans, reads.plan_outcomes())),
        "new": (_("New plan"), plan.show_form),
    },
)
show()
