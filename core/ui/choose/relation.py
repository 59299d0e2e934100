"""Whether dimension and score go together, on the page Choose: sentence, figure, sources, other groups, what is published; and whether
its choice holds on other tasks and texts.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

import polars as pl
import streamlit as st

from core import wording
from core.analysis.criteria import score_key
from core.analysis.decision import Decision
from core.analysis.ranking import RankingGroup
from core.figures import decisions as decision_figures
from core.figures.scores import relation_chart
from core.figures.svg import visual_svg
from core.locale import _, translated
from core.pilots.pilot import RegisteredPilot
from core.questions import generality
from core.questions.generality import OrderTable, OverTasks
from core.questions.ranking_answer import Answer
from core.questions.ranking_question import OtherGroup, RankingQuestion
from core.records import LOCAL
from core.registry.published import CLAIMS
from core.tables import Run, records
from core.ui import inputs, pictures, reads, run_choice, tables, url_state
from core.ui.choose.choices import DecisionView
from core.ui.language import as_lines, escape, show_list, show_notes
from core.wording import answers as answer_wording
from core.wording import decisions as decision_wording
from core.wording import runs as run_wording
from core.wording.scores import p_number_text, score_flag_lines, stated_text

SIZE = (900, 440)
"""Pixels of the figure: a drawing, as every filter draws it anew, which takes plotly a tenth of a second."""
MAX_GROUPS = 6
MAX_PREFILLED = 25
"""Models in a link to the screen Measure."""


def show_headline(view: DecisionView) -> None:
    """Draw in one line whether dimension and score go together; nothing where the models do not compare, or where nothing
    that a dimension says could support a choice."""
    answer = view.ranked.answer
    if answer is not None and view.ranked.group_answer and not view.is_refused:
        st.caption(f"{pictures.ICONS[answer.word]} {escape(answer_wording.headline_text(answer))}")


def show_answer(view: DecisionView) -> None:
    """Draw whether dimension and score go together, above the table of models: as it was registered, and as it is looked at
    where that says otherwise. Why nobody can tell, of models that do not compare."""
    answer, pilot = view.ranked.answer, view.ranked.pilot
    if answer is None:
        _show_why_apart(view)
        return
    if pilot is None:
        run_choice.show_forbidden(answer.registration.pilot)
    for text, one in _told(answer, pilot).items():
        st.markdown(f"**{pictures.ICONS[one.word]} {escape(text)}**")
    if answer.population.rows.height < view.ranked.runs["model_id"].n_unique():
        _show_why_apart(view)


def _told(answer: Answer, pilot: RegisteredPilot | None) -> dict[str, Answer]:
    """What was asked is answered, whatever is looked at, but for one's own models, of which it says nothing; each answer by its
    words, once where both have the same."""
    asked = answer if answer.population.asked.only_own else reads.answer(RankingQuestion(pilot=pilot))
    return {answer_wording.answer_text(one): one for one in (asked, answer)}


def show(view: DecisionView) -> None:
    """Draw what is behind the answer on dimension and score: figure, notes, coefficients, other groups, what is published."""
    answer = view.ranked.answer
    if answer is None:
        return
    _show_figure(answer)
    for one in _told(answer, view.ranked.pilot).values():
        st.caption(as_lines(answer_wording.note_lines(one)))
    if unfolded := inputs.unfolded(_("Coefficients, controls for size, single models"), "coefficients"):
        with unfolded:
            show_list(answer_wording.detail_lines(answer))
    show_notes(source_texts(answer.population.rows))
    if view.ranked.group_answer:
        _show_other_groups(view.ranked.group_answer)
    _show_published(answer)


def _show_figure(answer: Answer) -> None:
    """Draw the dimensions of the models against their scores; where they have none, the way to some."""
    chart = relation_chart(answer)
    if chart is None:
        if {"no_scores", "base_scores"} & {*answer.reasons}:
            inputs.show_link("choose", _("Import scores"), "scoreboard", choose="scores")
        return
    with st.container(width=SIZE[0]):
        pictures.plot_drawn(partial(visual_svg, chart, pictures.theme()), SIZE, "scatter")
    st.caption(escape(chart.key))
    st.markdown(wording.scatter_caution_text())


def _show_why_apart(view: DecisionView) -> None:
    """Draw what to do where these models' dimensions do not compare; all that keeps them apart, with the ways out, on a click."""
    lines = run_wording.why_apart_lines(view.context.runs)
    if view.ranked.answer is None:  # all models, whatever they were measured on
        lines.insert(0, _("Under “Compared models”, choose a group: dimensions compare within it."))
    if lines:
        st.info(escape(lines[0]), icon=":material/balance:")
    if lines[1:]:
        with st.popover(_("Why they do not compare"), icon=":material/help:"):
            st.markdown(escape(wording.joined_sentences(lines[1:])))


def source_texts(rows: pl.DataFrame) -> list[str]:
    """Each source of the scores with its licence, its date and what it remarks on its own numbers."""
    columns = ["score_source", "score_licence", "score_as_of", "score_flags"]
    rows = rows.filter(pl.col("score").is_not_null()).unique(columns, maintain_order=True)
    texts = []
    for name, licence, as_of, flags in rows.head(MAX_GROUPS).select(columns).rows():
        remarks = "; ".join(flag.rstrip(".。") for flag in score_flag_lines(flags))
        told = (
            _("Scores from {source}, licence: {licence}.", source=name, licence=stated_text(licence)),
            _("As of {date}.", date=as_of) if as_of else "",
            _("Remarks on them: {flags}.", flags=remarks) if remarks else "",
        )
        texts.append(wording.joined_sentences(told))
    return texts


def _show_other_groups(answer: Answer) -> None:
    """Draw the groups that cannot be compared with the one shown: why, and what would change that."""
    others = answer.population.others
    if not others or answer.group is None:
        return
    heading = _("Not comparable ({n} group)", "Not comparable ({n} groups)", n=len(others))
    if not (unfolded := inputs.unfolded(heading, "other groups")):
        return
    with unfolded:
        for other in others[:MAX_GROUPS]:
            name, models = run_wording.group_name(other.group), run_wording.group_models_text(other.group)
            st.markdown(f"**{escape(name)}** – {escape(models)}  \n{escape(run_wording.group_advice_text(other))}")
            if params := _measure_params(other, answer.group):
                inputs.show_link("measure", _("Measure them so"), "science", **params)
        if len(others) > MAX_GROUPS:
            st.caption(_("and {n} more", n=len(others) - MAX_GROUPS))


def _measure_params(other: OtherGroup, group: RankingGroup) -> dict[str, str]:
    """Parameters of a link that measures a group so that it can be compared: models, text, protocol and seed.

    Empty where measuring would not help, or where the models lie in local folders.
    """
    groups = [other.group, group] if other.can_meet_on_words else [other.group] if other.can_be_measured else []
    names = [
        "@".join(filter(None, (row.reference, row.requested_revision)))
        for one in groups
        for row in records(one.rows, Run)
        if not row.reference.startswith(LOCAL)
    ]
    if len(names) < max(1, len(groups)):
        return {}
    (run,) = records(group.rows.head(1), Run)
    models = url_state.join_values(list(dict.fromkeys(names[:MAX_PREFILLED])))
    return {"models": models, "text": run.corpus_name, "protocol": run.protocol, "seed": str(run.seed)}


def _show_published(answer: Answer) -> None:
    """Draw the table of published claims, after a row with the answer of this page."""
    unfolded = inputs.unfolded(_("Published on dimension and performance"), "published claims")
    if not unfolded:
        return
    evidence = {"opening": _("abstract or opening"), "second hand": _("second hand")}
    here = (
        _("this page"),
        str(answer.relation.n),
        answer_wording.word_of(answer.word),
        answer_wording.relation_text(answer.relation),
        answer_wording.expectation_text(answer.registration),
        "",
    )
    claims = [
        (
            claim.source,
            translated(claim.n),
            answer_wording.direction_name(claim),
            translated(claim.said),
            translated(claim.confound),
            evidence[claim.seen],
        )
        for claim in CLAIMS
    ]
    titles = (_("Source"), _("n (models)"), _("Direction"), _("What is said"), _("What else it could be"), _("Seen as"))
    with unfolded:
        tables.show(pl.DataFrame([here, *claims], titles, orient="row"), "published")


# --- other tasks, other texts ----------------------------------------------------------------------------------------


def show_by_task(view: DecisionView) -> None:
    """Draw the relation and the choice of each task, and those of all tasks together."""
    tasks = generality.choose_tasks(view.context.benchmarks)
    if not tasks:
        st.info(_("No model has a score: import some, or score the models."))
        inputs.show_link("choose", _("Import scores"), "scoreboard", choose="scores")
        return
    if not view.context.comparable:
        st.caption(_("These dimensions do not compare; each task's choice:"))
        lines = [(decision_wording.task_name(task), str(task["n_models"]), [task]) for task in tasks]
        lines += [(_("all tasks together"), "", tasks)] if len(tasks) > 1 else []
        titles = (_("Task"), _("Models"), _("The criteria choose"))
        rows: list[tuple[str, ...]] = []
        for name, n, by in lines:
            chosen = generality.decide_by_benchmarks(view.context, by, view.criteria, view.use_class)
            rows.append((name, n, decision_wording.standing_text(chosen)))
        tables.show(pl.DataFrame(rows, titles, orient="row"), "task table")
    else:
        comparison = _over_tasks(view)
        chart = decision_figures.task_chart(comparison)
        pictures.plot(chart, "tasks", 174 + 44 * len(comparison.tasks))
        show_notes(answer_wording.pooled_relation_lines(comparison))
        tables.show(_task_table(comparison), "task table")
        if len(comparison.tasks) > 1:
            st.caption(escape(answer_wording.many_tasks_text()))
    st.caption(_("What a task chooses: its score instead, without thresholds."))


def _over_tasks(view: DecisionView) -> OverTasks:
    """Of models whose dimensions compare: the relation of each task is that of their group."""
    tasks = generality.choose_tasks(view.context.benchmarks)
    answers = [reads.relation(view.ranked.question.with_score(row)) for row in tasks]
    return generality.compare_over_tasks(answers, view.context, view.criteria, view.use_class)


def _task_table(comparison: OverTasks) -> pl.DataFrame:
    """One line per task, and one of all together: relation of dimension and score, and the model chosen."""

    def rho(found: Any) -> str:
        return answer_wording.coefficient_text(found.rho, found.lower, found.upper) if found else "–"

    mean = comparison.pooled
    rows = [
        (
            decision_wording.task_name(task.benchmark),
            str(task.answer.relation.n),
            answer_wording.word_of(task.answer.word),
            rho(task.answer.relation),
            "–" if task.p is None else p_number_text(task.p),
            rho(mean.tasks.get(task.key) if mean else None),
            decision_wording.standing_text(task.decision),
        )
        for task in comparison.tasks
    ]
    if comparison.decision or (mean and mean.n_tasks > 1):
        together = decision_wording.standing_text(comparison.decision)
        rows.append((_("all tasks together"), "", "", rho(mean), "", "", together))
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
    agreements = (one for one in generality.verdict_agreements(runs) if one.n_models or one.n_undecided)
    show_notes(map(answer_wording.agreement_text, agreements))
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
    chart = decision_figures.order_chart(order, columns, named, place, chosen)
    pictures.plot(chart, f"order {key}", max(360, 150 + 17 * len(named)))
    st.caption(escape(answer_wording.concordance_text(order)))
