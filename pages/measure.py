from core.ui.frame import guard

guard()

import streamlit as st

from core.locale import _
from core.ui import inputs, job_cards, measure, url_state

st.title(_("Measure"))
job_cards.show()
if not inputs.may_write():
    url_state.stop()
measure.show_form()
measure.show_pilots()
