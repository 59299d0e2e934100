from core.ui.frame import guard

guard()

import streamlit as st

from core.ui import language
from core.ui.query import editor, execution, result

_ = language.translator()

st.title(_("Query"))
st.markdown(
    _("Ask the warehouse anything in SQL. A query only reads: it changes nothing and sees no files or networks.")
)

asking, beside = st.columns([4, 3], gap="large")
with asking:
    asked = editor.ask()
with beside:
    editor.show()
if asked:
    execution.start(asked)
answer = execution.answer()
if answer is not None:
    editor.publish(answer.sql)
    result.show(answer)
