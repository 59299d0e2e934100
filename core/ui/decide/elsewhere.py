"""Whether a choice and what it rests on hold on other tasks and texts."""

from __future__ import annotations

from collections.abc import Mapping

import polars as pl
import streamlit as st

from core import wording
from core.analysis import generality
from core.analysis.criteria import score_key
from core.analysis.decision import Decision
from core.analysis.generality import OrderTable, OverTasks
from core.figures import generality as figures
from core.ui import language, pictures, reads, tables
from core.ui.decide.choices import Look
from core.ui.markdown import escape
from core.wording import answers as answer_words
from core.wording import decisions as words


def show_tasks(look: Look) -> None:
    """The relation and the choice of each task, and those of all together."""
    _ = language.translator()
    lang = language.current()
    found = _over_tasks(look)
    if not found.tasks:
        st.info(_("None of these models has a score. Import scores, or score the models on a task of your own."))
        st.page_link("pages/scores.py", label=_("Import scores"), icon=":material/scoreboard:")
        return
    if not look.on.comparable:
        st.caption(_("These models' dimensions do not compare: only what is chosen by each task is told."))
    else:
        pictures.plot(figures.task_figure(figures.task_lines(found, lang), lang), "tasks")
        for line in words.pooled(found.pooled, lang) if found.pooled else []:
            st.caption(escape(line))
    tables.show(task_table(look, found), "task table")
    st.caption(
        _(
            "What a task chooses: these criteria with the score of that task in the place of every score, without thresholds of scores."
        )
    )


def _over_tasks(look: Look) -> OverTasks:
    tasks = generality.choose_tasks(look.on.benchmarks)
    answers = [reads.relation(look.question.with_score(row)) for row in tasks]
    return generality.compare_over_tasks(answers, look.on, look.asked, look.use_class)


def task_table(look: Look, found: OverTasks) -> pl.DataFrame:
    _ = language.translator()
    lang = language.current()
    drawn = found.pooled.tasks if found.pooled else {}
    rows: list[tuple[str, ...]] = []
    for one in found.tasks:
        relation, pooled = one.answer.relation, drawn.get(one.key)
        rows.append(
            (
                words.task_name(one.benchmark, lang),
                str(relation.n),
                answer_words.word(one.answer, lang) if look.on.comparable else "–",
                answer_words.coefficient(relation.rho, relation.lower, relation.upper),
                answer_words.coefficient(pooled.rho, pooled.lower, pooled.upper) if pooled else "–",
                _chosen(one.decision),
            )
        )
    if found.decision or (found.pooled and found.pooled.n_tasks > 1):
        mean = found.pooled
        rho = answer_words.coefficient(mean.rho, mean.lower, mean.upper) if mean else "–"
        rows.append((_("all tasks together"), "", "", rho, "", _chosen(found.decision)))
    titles = [
        _("Task"),
        _("Models"),
        _("Dimension and score"),
        _("Spearman's rho"),
        _("Drawn towards the others"),
        _("The criteria choose"),
    ]
    table = pl.DataFrame(rows, schema=titles, orient="row")
    return table if look.on.comparable else table.drop(titles[2:5])


def _chosen(decision: Decision | None) -> str:
    return decision.chosen.name if decision and decision.chosen else "–"


def show_elsewhere(look: Look) -> None:
    """Whether order and shape hold on other texts, and the order by scores on other tasks."""
    _ = language.translator()
    lang = language.current()
    runs = reads.ranking().filter(pl.col("model_id").is_in(look.on.runs["model_id"].to_list()))
    st.subheader(_("Models on several texts"))
    order = generality.order_over_texts(runs)
    if order is None:
        st.info(
            _(
                "No two of these models were measured on two texts by one protocol: whether their order holds is not known."
            )
        )
    else:
        texts = dict(runs.select("corpus_id", pl.struct("corpus_name", "corpus_language", "corpus_domain")).rows())
        titles = [
            wording.text_name(one["corpus_name"], one["corpus_language"], one["corpus_domain"], lang)
            for one in (texts[key] for key in order.columns)
        ]
        _draw_order(order, titles, dict(runs.select("run_id", "name").rows()), "texts", _chosen(look.decision))
        st.caption(escape(words.concordance(order, lang, over_texts=True)))
    for one in generality.verdict_agreements(runs):
        if one.n_models or one.n_undecided:
            st.caption(escape(words.agreement(one, lang)))
    st.subheader(_("Models on several tasks"))
    of_tasks = _over_tasks(look).order
    if of_tasks is None:
        st.info(_("Fewer than two tasks have scores of most of these models: whether their order holds is not known."))
        return
    by_key = {score_key(row): words.task_name(row, lang) for row in look.on.benchmarks.to_dicts()}
    _draw_order(
        of_tasks,
        [by_key.get(key, key.split("~")[1]) for key in of_tasks.columns],
        look.names,
        "by tasks",
        _chosen(look.decision),
    )
    st.caption(escape(words.concordance(of_tasks, lang, over_texts=False)))


def _draw_order(order: OrderTable, titles: list[str], names: Mapping[str, str], key: str, chosen: str) -> None:
    _ = language.translator()
    data = figures.order_points(order, titles, {run_id: names.get(run_id, run_id) for run_id in order.run_ids}, chosen)
    title = _("Place (1 = largest)") if key == "texts" else _("Place (1 = best)")
    pictures.plot(figures.order_figure(data, title), f"order {key}")
