from core.ui.frame import guard

guard()

import streamlit as st

from core.locale import _
from core.ui.query import answer, editor

st.title(_("Query"))

left, right = st.columns(2, gap="large")
with left:
    request = editor.query_form()
with right:
    editor.show_tables()
if request:
    answer.start(*request)
current = answer.current_answer()
if current is not None:
    editor.publish_statement(current.sql)
    answer.show(current)
