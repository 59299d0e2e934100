"""The sections Tasks and Other texts of the page Choose: whether its choice holds on others."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import polars as pl
import streamlit as st

from core import wording
from core.analysis.criteria import score_key
from core.analysis.decision import Decision
from core.figures import generality as generality_figures
from core.locale import _
from core.questions import generality
from core.questions.generality import OrderTable, OverTasks
from core.ui import inputs, pictures, reads, tables
from core.ui.choose.choices import DecisionView
from core.ui.markdown import escape
from core.wording import answers as answer_wording
from core.wording import decisions as decision_wording
from core.wording.scores import p_number_text


def show_by_task(view: DecisionView) -> None:
    """Draw the relation and the choice of each task, and those of all tasks together."""
    tasks = generality.choose_tasks(view.context.benchmarks)
    if not tasks:
        st.info(_("No model has a score: import some, or score the models."))
        inputs.show_link("choose", _("Import scores"), "scoreboard", choose="scores")
        return
    if not view.context.comparable:
        st.caption(_("These dimensions do not compare; each task's choice:"))
        tables.show(_choice_table(view, tasks), "task table")
    else:
        comparison = _over_tasks(view)
        chart = generality_figures.task_chart(comparison)
        pictures.plot(chart, "tasks", 174 + 44 * len(comparison.tasks))
        for line in answer_wording.pooled_relation_lines(comparison):
            st.caption(escape(line))
        tables.show(_task_table(comparison), "task table")
        if len(comparison.tasks) > 1:
            st.caption(escape(answer_wording.many_tasks_text()))
    st.caption(_("What a task chooses: its score instead, without thresholds."))


def _over_tasks(view: DecisionView) -> OverTasks:
    """Of models whose dimensions compare: the relation of each task is that of their group."""
    tasks = generality.choose_tasks(view.context.benchmarks)
    answers = [reads.relation(view.ranked.question.with_score(row)) for row in tasks]
    return generality.compare_over_tasks(answers, view.context, view.criteria, view.use_class)


def _choice_table(view: DecisionView, tasks: Sequence[Mapping[str, Any]]) -> pl.DataFrame:
    """One line per task, and one of all together: how many models have its score, and the model chosen by it."""

    def standing(chosen_by: Sequence[Mapping[str, Any]]) -> str:
        decision = generality.decide_by_benchmarks(view.context, chosen_by, view.criteria, view.use_class)
        return decision_wording.standing_text(decision)

    rows = [(decision_wording.task_name(task), str(task["n_models"]), standing([task])) for task in tasks]
    rows += [(_("all tasks together"), "", standing(tasks))] if len(tasks) > 1 else []
    return pl.DataFrame(rows, schema=[_("Task"), _("Models"), _("The criteria choose")], orient="row")


def _task_table(comparison: OverTasks) -> pl.DataFrame:
    """One line per task, and one of all together: relation of dimension and score, and the model chosen."""
    pooled_tasks = comparison.pooled.tasks if comparison.pooled else {}
    rows: list[tuple[str, ...]] = []
    for task in comparison.tasks:
        relation, pooled = task.answer.relation, pooled_tasks.get(task.key)
        rows.append(
            (
                decision_wording.task_name(task.benchmark),
                str(relation.n),
                answer_wording.answer_word(task.answer),
                answer_wording.coefficient_text(relation.rho, relation.lower, relation.upper),
                "–" if task.p is None else p_number_text(task.p),
                answer_wording.coefficient_text(pooled.rho, pooled.lower, pooled.upper) if pooled else "–",
                decision_wording.standing_text(task.decision),
            )
        )
    mean = comparison.pooled
    if comparison.decision or (mean and mean.n_tasks > 1):
        rho = answer_wording.coefficient_text(mean.rho, mean.lower, mean.upper) if mean else "–"
        rows.append((_("all tasks together"), "", "", rho, "", "", decision_wording.standing_text(comparison.decision)))
    titles = [
        _("Task"),
        _("Models"),
        _("Dimension and score"),
        _("Spearman's rho"),
        _("p (corrected)"),
        _("Drawn towards the others"),
        _("The criteria choose"),
    ]
    return pl.DataFrame(rows, schema=titles, orient="row")


def show_other_texts(view: DecisionView) -> None:
    """Draw whether the order by dimension and the shapes hold on other texts, and the order by scores on other tasks."""
    runs = reads.evidence().runs.filter(pl.col("model_id").is_in(view.context.runs["model_id"].to_list()))
    st.subheader(_("Models on several texts"))
    of_texts = runs.unique("corpus_id").select("corpus_id", "corpus_name", "corpus_language", "corpus_domain")
    texts = {key: wording.text_name(*described) for key, *described in of_texts.rows()}
    _show_order(generality.order_over_texts(runs), texts, _("Place (1 = largest)"), "texts", view.decision)
    for agreement in generality.verdict_agreements(runs):
        if agreement.n_models or agreement.n_undecided:
            st.caption(escape(answer_wording.agreement_text(agreement)))
    if not view.context.comparable:
        return
    st.subheader(_("Models on several tasks"))
    tasks = {score_key(row): decision_wording.task_name(row) for row in view.context.benchmarks.to_dicts()}
    _show_order(_over_tasks(view).order, tasks, _("Place (1 = best)"), "by tasks", view.decision)


def _show_order(
    order: OrderTable | None, titles: Mapping[str, str], place: str, key: str, decision: Decision | None
) -> None:
    """Draw the places of the models on each text or task, by whose keys `titles` names them, and how far they agree."""
    if order is None:
        st.info(_("Untested: it takes the same models on two texts or tasks."))
        return
    chosen = decision.chosen.name if decision and decision.chosen else "–"
    names = dict(reads.evidence().runs.select("run_id", "name").rows())  # of the whole group, not of those chosen alone
    named = {run_id: names.get(run_id, run_id) for run_id in order.run_ids}
    columns = [titles.get(column) or column.split("~")[1] for column in order.columns]
    chart = generality_figures.order_chart(order, columns, named, place, chosen)
    pictures.plot(chart, f"order {key}", max(360, 150 + 17 * len(named)))
    st.caption(escape(answer_wording.concordance_text(order)))
