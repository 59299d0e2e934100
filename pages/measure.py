from core.ui.frame import guard

guard()

import streamlit as st

from core.locale import _
from core.ui import inputs, url_state
from core.ui.measure import job_cards, measure_form, pilot_form

st.title(_("Measure"))
job_cards.show()
if not inputs.may_write():
    url_state.stop()
measure_form.show()
pilot_form.show_registered()
