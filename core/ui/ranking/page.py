"""Whether dimension and score go together: the answer first, then the models in a table."""

import streamlit as st

from core.ui import notices, pilot_filter
from core.ui.ranking import answer, choices, table


def show() -> None:
    runs = notices.runs_or_stop()
    pilot, _pilot_runs = pilot_filter.choose(runs)
    page_answer = answer.page_answer(pilot)
    registered = page_answer.registration.pilot
    top = st.container()
    view, columns = choices.choose_view(page_answer, pilot)
    with top:
        answer.show_answer(page_answer, hides_notes=view.is_different)
        if pilot is None:
            pilot_filter.show_forbidden(registered)
    answer.show_different_answer(view, page_answer)
    answer.show_figure(view)
    table.show(view, columns, registered)
    answer.show_sources(view.answer)
    table.show_download(view)
    answer.show_other_groups(page_answer)
    answer.show_published(page_answer)
