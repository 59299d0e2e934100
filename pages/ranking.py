from core.ui.frame import guard

guard()

import streamlit as st

from core.ui import language, notices, pilot_filter, reads
from core.ui.ranking import answer, choices, table

_ = language.translator()

st.title(_("Ranking"))
notices.stop_if_no_runs(reads.lists().runs)
pilot, _runs = pilot_filter.choose(reads.lists().runs)
first = answer.primary(pilot)
top = st.container()
look, columns = choices.choose(first, pilot)
with top:
    answer.say(first, is_brief=look.is_other)
    if pilot is None:
        pilot_filter.tell_forbidden(first.registration.pilot)
answer.say_shown(look, first)
answer.draw(look)
table.show(look, columns, pilot_filter.own_title(first.registration.pilot))
answer.show_sources(look.answer)
table.download(look)
answer.show_others(first)
answer.show_published(first)
