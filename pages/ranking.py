from core.ui.frame import guard

guard()

import streamlit as st

from core.ui import language, notices, pilot_filter, ranking, ranking_table, reads

_ = language.translator()

st.title(_("Ranking"))
notices.stop_if_no_runs(reads.lists().runs)
pilot, _runs = pilot_filter.choose(reads.lists().runs)
first = ranking.primary(pilot)
ranking.say(first)
if pilot is None:
    pilot_filter.tell_forbidden(first.registration.pilot)
look, columns = ranking.choose(first, pilot)
ranking.say_shown(look, first)
ranking.draw(look)
ranking_table.show(look, columns, pilot_filter.own_title(first.registration.pilot))
ranking_table.show_sources(look.answer)
ranking_table.download(look)
ranking_table.show_others(first)
ranking_table.show_published(first)
