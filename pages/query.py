from core.ui.frame import guard

guard()

import streamlit as st

from core.locale import _
from core.ui import query

st.title(_("Query"))

left, right = st.columns(2, gap="large")
with left:
    request = query.query_form()
with right:
    query.show_tables()
if request:
    query.start(*request)
current = query.current_answer()
if current is not None:
    query.publish_statement(current.sql)
    query.show(current)
