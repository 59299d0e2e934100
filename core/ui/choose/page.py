"""Which model to pilot: one group of models, one answer, one table; what they rest on by section."""

from collections.abc import Callable

import streamlit as st

from core.locale import _
from core.ui import inputs, notices, pilot_filter
from core.ui.choose import answer, choices, rules, tasks_and_texts
from core.ui.ranking import answer as relation
from core.ui.ranking import table
from core.ui.scores import page as scores_page


def show() -> None:
    above, details, below = st.container(), st.container(), st.container()
    titles = {
        "choice": _("Criteria and weights"),
        "ranking": _("Dimension and score"),
        "cost": _("Memory and cost"),
        "tasks": _("Task by task"),
        "elsewhere": _("Other texts and tasks"),
        "rules": _("Rules"),
        "scores": _("Scores"),
    }
    with details:
        chosen = inputs.choose(_("Details"), titles, "choose", label_visibility="collapsed")
    if chosen == "scores":  # which need no run, and take the whole page
        with below:
            scores_page.show()
        return
    with above:
        runs = notices.runs_or_stop()
        pilot, _pilot_runs = pilot_filter.choose(runs)
        top = st.container()
        ranked, view = choices.choose_view(pilot)
        with top:
            answer.show_answer(view)
            relation.show_headline(ranked)
        table.show(ranked, view)
    sections: dict[str, Callable[[], None]] = {
        "choice": lambda: answer.show_choice(view),
        "ranking": lambda: relation.show(ranked, pilot),
        "cost": lambda: answer.show_cost(view),
        "tasks": lambda: tasks_and_texts.show_by_task(view),
        "elsewhere": lambda: tasks_and_texts.show_other_texts(view),
        "rules": lambda: rules.show_rules(view),
    }
    with below:
        sections[chosen]()
