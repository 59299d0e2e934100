from core.ui.frame import guard

guard()

import streamlit as st

from core.locale import _
from core.ui import inputs, url_state
from core.ui.measure import job_cards, measure_form, pilot_form

st.title(_("Measure"))
st.markdown(_("Measure models on a text of your choice. A measurement goes on when this page or the app is closed."))
job_cards.show()
if not inputs.may_write():
    url_state.stop()
show_form = inputs.choose_section(
    "way", {"models": (_("Models"), measure_form.show), "pilot": (_("A pilot"), pilot_form.show)}, _("What to measure")
)
show_form()
measure_form.show_cleanable()
