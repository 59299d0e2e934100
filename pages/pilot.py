from core.ui.frame import guard

guard()

import streamlit as st

from core.ui import inputs, language
from core.ui.measure import job_cards, measure_form, pilot_form

_ = language.translator()

st.title(_("Measure models"))
st.markdown(_("Measure models on a text of your choice. A measurement goes on when this page or the app is closed."))
job_cards.show()
if not inputs.may_write():
    st.stop()
ways = {"models": (_("Models"), measure_form.ask), "pilot": (_("A pilot"), pilot_form.show)}
way = inputs.choose(
    _("What to measure"), list(ways), "way", "models", lambda name: ways[name][0], label_visibility="collapsed"
)
draw = ways[way][1]
draw()
measure_form.show_cleanable()
