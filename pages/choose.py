from core.ui.frame import guard

guard()

import streamlit as st

from core.locale import _
from core.ui.choose import page

st.title(_("Choose"))
page.show()
