from core.ui.frame import guard

guard()

import streamlit as st

from core.ui import asking, jobs, language

_ = language.translator()

st.title(_("Measure models"))
st.markdown(_("Measure models on a text of your choice. A measurement goes on when this page or the app is closed."))
jobs.show()
asking.ask()
