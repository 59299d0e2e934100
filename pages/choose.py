from core.ui.frame import guard

guard()

import streamlit as st

from core.locale import _
from core.ui import inputs
from core.ui.decide import page as decide_page
from core.ui.ranking import page as ranking_page
from core.ui.scores import page as scores_page

st.title(_("Choose"))
show = inputs.choose_section(
    "choose",
    {
        "decide": (_("Which model"), decide_page.show),
        "ranking": (_("Dimension and score"), ranking_page.show),
        "scores": (_("Scores"), scores_page.show),
    },
)
show()
