from core.ui.frame import guard

guard()

import streamlit as st

from core.locale import _
from core.ui import notices, pilot_filter
from core.ui.ranking import answer as ranking_answer
from core.ui.ranking import choices as ranking_choices
from core.ui.ranking import table as ranking_table

st.title(_("Ranking"))
runs = notices.runs_or_stop()
pilot, _pilot_runs = pilot_filter.choose(runs)
page_answer = ranking_answer.page_answer(pilot)
registered = page_answer.registration.pilot
top = st.container()
view, columns = ranking_choices.choose_view(page_answer, pilot)
with top:
    ranking_answer.show_answer(page_answer, hides_notes=view.is_different)
    if pilot is None:
        pilot_filter.show_forbidden(registered)
ranking_answer.show_different_answer(view, page_answer)
ranking_answer.show_figure(view)
ranking_table.show(view, columns, registered)
ranking_answer.show_sources(view.answer)
ranking_table.show_download(view)
ranking_answer.show_other_groups(page_answer)
ranking_answer.show_published(page_answer)
