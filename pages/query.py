from core.ui.frame import guard

guard()

import streamlit as st

from core.ui import language, query_editor, query_result, query_run, query_schema

_ = language.translator()

st.title(_("Query"))
st.markdown(
    _("Ask the warehouse anything in SQL. A query only reads: it changes nothing and sees no files or networks.")
)

asking, beside = st.columns([4, 3], gap="large")
with asking:
    asked = query_editor.ask()
with beside:
    query_schema.show()
if asked:
    query_run.start(asked)
answer = query_run.answer()
if answer is not None:
    query_editor.publish(answer.sql)
    query_result.show(answer)
