"""The one table of the page Choose: a click on a head sorts it, marked rows are compared."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import polars as pl
import streamlit as st

from core import wording
from core.analysis.criteria import build_candidates, resolve_criterion
from core.analysis.intervals import NORMAL_95
from core.analysis.ranking import filter_benchmark, natural_sort_key
from core.locale import _
from core.pilots.saved import Criterion
from core.questions.ranking_question import BY_WORD, DIMENSIONS
from core.tables import ScoredRun, ids_of, records
from core.ui import language, tables
from core.ui.choose.choices import DecisionView
from core.ui.markdown import escape
from core.wording import answers as answer_wording
from core.wording.decisions import task_name
from core.wording.labels import run_labels
from core.wording.scores import is_made_here, rank_lines
from core.wording.verdicts import verdict_marks

MAX_SCORES = 4
"""Scores beside the names of models that have no ranking, where none of them is asked for."""
NAME_WIDTH, NAME_LETTERS = 157, 21
"""Pixels of a column of names, and how many letters of them can be read there."""
_RANKS = ("rank_low", "rank_high", "score_rank_low", "score_rank_high", "class_leader", "score_class_leader")


def show(view: DecisionView) -> None:
    """Draw the models that can be chosen: dimension and working dimension, score, ranks among all of the group."""
    rows = _rows(view)
    if rows.is_empty():
        st.info(_("No model passes these filters."))
        return
    selected = tables.show_plain(
        table := _table(view, rows),
        key="models",
        column_config=tables.column_widths(table, _name_width(table[_("Model")]))
        | {_("Weighted mean"): st.column_config.NumberColumn(format="%.3f")},
        on_select="rerun",
        selection_mode="multi-row",
        placeholder="–",
    )
    if marked := [row for row in selected["selection"]["rows"] if row < rows.height]:
        tables.show_comparison_button(ids_of(rows[marked]))
    notes = [
        _("Mark at least two runs at the left."),
        wording.veto_mark_text() if "veto" in rows["worst_check"] else "",
    ]
    if answer := view.ranked.group_answer:
        is_by_word = answer.population.asked.cloud == BY_WORD
        notes = [
            _("Compared: equal kind of model, text, protocol, words; N within 10 %.")
            if is_by_word
            else _("Compared: equal kind of model, text, protocol, tokenizer; N within 10 %."),
            _(
                "Ranks: 1 = largest dimension, best score; 95 % intervals for all models at once. No order by "
                "dimension is better."
            ),
            *rank_lines(answer),
            *notes,
        ]
    with st.container(horizontal=True):
        with st.popover(_("How to read it"), icon=":material/help:"):
            st.caption(escape(wording.joined_sentences(notes)))
        tables.show_download(lambda: _download_table(view, rows), "workdim_models.csv", _("Download (CSV)"))


def _name_width(names: pl.Series) -> int:
    """Pixels for the names of models: so few that a phone shows a value beside them, unless they were then cut alike."""
    are_told_apart = names.str.head(NAME_LETTERS).n_unique() == len(names)
    return NAME_WIDTH if are_told_apart else tables.MAX_FIRST_WIDTH


def _rows(view: DecisionView) -> pl.DataFrame:
    """The models in the order of the decision, then by name; with ranks and scores where they compare."""
    if view.ranked.group_answer:
        rows = view.ranked.group_answer.population.rows
        rows = rows.filter(pl.col("run_id").is_in(ids_of(view.context.runs)))
    else:
        rows, scored, asked = view.context.runs, view.context.scored, asked_scores(view)
        # Errors and sources are those of one score: beside several they would be anyone's.
        of_task = filter_benchmark(scored, dict(asked[0])) if len(asked) == 1 else scored.clear()
        of_score = [name for name in scored.columns if name not in rows.columns]
        rows = rows.join(of_task.select("run_id", *of_score), on="run_id", how="left", maintain_order="left")
    candidates = view.decision.candidates if view.decision and not view.is_refused else ()
    places = {candidate.run_id: place for place, candidate in enumerate(candidates)}
    place = pl.col("run_id").replace_strict(places, default=len(places), return_dtype=pl.Int64)
    return rows.sort(place, natural_sort_key(), pl.col("run_id"))


def _table(view: DecisionView, rows: pl.DataFrame) -> pl.DataFrame:
    """A line for each model; numbers are numbers, so that a head sorts them."""
    labels, answer, runs = run_labels(rows), view.ranked.group_answer, records(rows, ScoredRun)
    are_alike = rows.select("corpus_id", "protocol_hash").n_unique() == 1  # losses on two texts stand in no column
    dimension = DIMENSIONS[view.ranked.question.dimension].column
    title = answer_wording.dimension_name(view.ranked.question.dimension)
    models = {model.run_id: model for model in answer.models} if answer is not None else {}
    means = {}
    if view.decision is not None:
        pairs = zip(view.decision.candidates, view.decision.totals, strict=True)
        means = {candidate.run_id: round(total, 3) for candidate, total in pairs}

    def ranks(name: str) -> list[int | None]:
        return [getattr(models.get(run_id), name, None) for run_id in ids_of(rows)]

    numbers = partial(tables.rounded, rows)
    working = {
        _("Working dimension"): numbers("working_dimension"),
        _("from (95 %)"): numbers("working_dimension_lower"),
        _("to (95 %)"): numbers("working_dimension_upper"),
    }
    columns: dict[str, Any] = {
        _("Model"): [labels[run_id] for run_id in ids_of(rows)],
        # Dimension and score beside the name, as the rest of the table lies beyond the edge of a small window.
        **(working if dimension == "working_dimension" else {title[:1].upper() + title[1:]: numbers(dimension)}),
        **(
            {answer_wording.benchmark_name(answer): numbers("score")}
            if answer
            else {name: of.round_sig_figs(3) for name, of in shared_scores(view, ids_of(rows)).items()}
        ),
        _("Standard error"): numbers("score_std_error", digits=2),
        _("Weighted mean"): [means.get(run_id) for run_id in ids_of(rows)],
        **working,
        _("Rank by dimension"): ranks("rank_low"),
        _("down to rank"): ranks("rank_high"),
        (
            _("Rank by score")
            if answer is None or answer.ranked.has_score_errors
            else _("Rank by score (no error known)")
        ): ranks("score_rank_low"),
        _("down to rank, by score"): ranks("score_rank_high"),
        _("Own score"): numbers("own_score"),
        _("Bits per byte"): numbers("bits_per_byte") if are_alike else None,
        _("Parameters (millions)"): (rows["parameters"] / 1e6).round(1),
        _("Verdicts"): [verdict_marks(run) for run in runs],
        _("Whose score"): [_owner_text(run) for run in runs],
        _("Final dimension"): numbers("final_dimension_pre_norm"),
        _("One per type"): numbers("inner_max_by_type"),
        _("Checks"): [wording.outcome_name(outcome) for outcome in rows["worst_check"]],
        _("Licence"): rows["licence"],
        _("Tags"): [" ".join(f"#{tag}" for tag in tags) or None for tags in rows["tags"]],
        _("Text"): rows["corpus_name"],
        _("N (points)"): rows["n_points"],
        _("Measured"): [language.local_time(time, in_table=True) for time in rows["started_at"]],
    }
    return tables.without_empty(columns)


def asked_scores(view: DecisionView) -> list[Mapping[str, Any]]:
    """The benchmarks that models without a ranking are looked at by: that of the relation, else all that they are chosen by."""
    of_relation = view.ranked.answer.population.benchmark if view.ranked.answer else None
    if of_relation is not None:
        return [of_relation]
    return [one.benchmark for one in view.criteria if one.benchmark is not None] or ([view.task] if view.task else [])


def shared_scores(view: DecisionView, run_ids: Sequence[str]) -> dict[str, pl.Series]:
    """The scores of models that have no ranking, by their names: those asked for, else those that several of them have."""
    context = view.context
    offered = asked_scores(view) or context.benchmarks.filter(pl.col("n_models") > 1).head(MAX_SCORES).to_dicts()
    criteria = [resolve_criterion(Criterion("score"), context, row) for row in offered]
    found = {one.run_id: one.values for one in build_candidates(context, criteria)}
    values = [[value and value.value for value in found[run_id]] for run_id in run_ids]
    columns = [pl.Series([of_model[i] for of_model in values], dtype=pl.Float64) for i in range(len(offered))]
    names = [task_name(row) for row in offered]
    titles = (
        _(", ").join([name, row["suite"]]) if names.count(name) > 1 else name
        for name, row in zip(names, offered, strict=True)
    )
    return dict(zip(titles, columns, strict=True))


def _owner_text(row: ScoredRun) -> str | None:
    """Whose score it is, and remarks on it."""
    if row.score is None or row.score_match in (None, "none"):
        return None
    owners = {
        "own": _("this model, scored here") if is_made_here(row) else _("this model, own score"),
        "exact": _("this model"),
        "revision_not_stated": _("this model, revision not stated"),
        "mapped": _("this model, by an alias of {name}").format(name=row.score_name_in_source),
        "base": _("base model {name}").format(name=(row.score_repository or "").split("/")[-1]),
    }
    hint = [owners[row.score_match], *wording.score_note_lines(row), row.score_source or ""]
    return _("; ").join(part for part in hint if part)


def _download_table(view: DecisionView, rows: pl.DataFrame) -> pl.DataFrame:
    """The rows of the table with all columns; where they compare with ranks, limits of the score, and the answer, else with the
    scores that the table shows."""
    answer, told = view.ranked.group_answer, view.ranked.answer
    if answer is None or told is None:
        return rows.with_columns(**shared_scores(view, ids_of(rows)))
    dimension = DIMENSIONS[view.ranked.question.dimension].column
    ranks = pl.DataFrame([vars(model) for model in answer.models], infer_schema_length=None)
    joined = rows.join(ranks.select("run_id", *_RANKS), on="run_id", how="left", maintain_order="left")
    others = [name for name in rows.columns if name not in ("name", dimension)]
    return joined.select(
        "name",
        *others,
        *_RANKS,
        pl.col(dimension).alias("dimension"),
        score_lower=pl.col("score") - NORMAL_95 * pl.col("score_std_error"),
        score_upper=pl.col("score") + NORMAL_95 * pl.col("score_std_error"),
        answer=pl.lit(told.word),
        rho=pl.lit(told.relation.rho, pl.Float64),
        p=pl.lit(told.relation.p, pl.Float64),
        n=pl.lit(told.relation.n),
    )
