"""The answer of the page Choose, its sections Reasons and Cost, and its table: a click on a head sorts it, marked rows are compared."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from operator import attrgetter
from typing import Any

import polars as pl
import streamlit as st

from core import wording
from core.analysis import decision as decision_analysis
from core.analysis.criteria import PRECISIONS, build_candidates, resolve_criterion
from core.analysis.decision import Decision
from core.analysis.intervals import NORMAL_95
from core.analysis.ranking import filter_benchmark, natural_sort_key
from core.figures import decisions as decision_figures
from core.figures.chart_figure import bars_figure
from core.locale import _
from core.pilots.saved import Criterion
from core.questions.ranking_question import DIMENSIONS
from core.tables import ScoredRun, ids_of, records
from core.ui import inputs, language, pictures, tables, url_state
from core.ui.choose.choices import ASSUMPTION_UNITS, NUMBER_LIMITS, DecisionView, keep_speeds, read_speeds, score_names
from core.ui.language import as_lines, escape, show_list, show_notes
from core.wording import answers as answer_wording
from core.wording import decisions as decision_wording
from core.wording.decisions import value_text
from core.wording.labels import run_labels, share_text
from core.wording.scores import is_made_here, rank_lines
from core.wording.verdicts import verdict_marks

ICONS = {
    "choice": ":material/check_circle:",
    "leads": ":material/trending_up:",
    "cannot_tell": ":material/help:",
    "no_choice": ":material/block:",
}
"""Icons by the word of an answer: the tick only where the first place holds within the errors."""


def show_answer(view: DecisionView) -> None:
    """Draw which model to pilot, what is missing and what is untested; what limits it on hover."""
    if view.answer is None:
        st.info(escape(view.message), icon=":material/help:")
        return
    text = decision_wording.pilot_text(view.answer, view.assumptions.bits)
    notes: list[str | None] = []
    if view.decision:
        criteria = decision_wording.criteria_text(view.decision, text, view.assumptions.bits)
        notes = [criteria, *decision_wording.note_lines(view.decision)]
    if rule := view.rule and view.rule.rule:
        notes = [decision_wording.other_task_text(rule, view.task), *notes, decision_wording.rule_text(rule)]
    st.markdown(f"#### {ICONS[view.answer.word]} {escape(text)}", help=as_lines(notes))
    show_notes([*decision_wording.untested_lines(view.answer), *decision_wording.missing_lines(view.answer)])


def show_choice(view: DecisionView) -> None:
    """Draw the Pareto front, what a change of each weight would choose, and the table of models."""
    decision = view.decision
    if decision is None:
        return
    if decision.candidates:
        _show_front(view, decision)
        if decision.sensitivities:
            st.subheader(_("Choice by weight"))
            bars = decision_figures.weight_bars(decision, view.assumptions.bits)
            pictures.plot(bars_figure(bars, 46), "weights")
        st.subheader(_("What each value counts"))
        rows = _decision_table(view, decision)
        tables.show(rows, "matrix")
        st.caption(decision_wording.normalisation_text())
        ids = {name: list(map(attrgetter(name), decision.candidates)) for name in ("run_id", "model_id")}
        tables.show_download(pl.DataFrame(ids).hstack(rows), "workdim_decision.csv")
    if decision.excluded:
        reasons = [
            decision_wording.exclusion_text(candidate, decision, view.assumptions) for candidate in decision.excluded
        ]
        heading = _("Left out: {n} model", "Left out: {n} models", n=len(reasons))
        with st.expander(heading, expanded=decision.chosen is None):
            show_list(reasons)


def _show_front(view: DecisionView, decision: Decision) -> None:
    """Draw the models by two criteria, which are chosen where there are more."""
    names = {
        i: decision_wording.criterion_name(criterion, view.assumptions.bits)
        for i, criterion in enumerate(decision.criteria)
    }
    if len(names) < 2:
        return
    y, x = sorted(
        names, key=lambda i: (decision_analysis.is_equal_for_all(decision, i), -decision.criteria[i].share, i)
    )[:2]
    if len(names) > 2:
        with url_state.batched(), inputs.row():
            y = inputs.choose_from_list(_("Upwards"), names, "up", y, width=320)
            others = {i: name for i, name in names.items() if i != y}
            x = inputs.choose_from_list(_("To the right"), others, "right", x if x != y else None, width=320)
    chart = decision_figures.front_chart(decision, x, y, view.n_points, view.assumptions)
    pictures.plot(chart, "front")
    if any(criterion.share > 0 for k, criterion in enumerate(decision.criteria) if k not in (x, y)):
        st.caption(_("The front is judged over all criteria, not these two."))


def _decision_table(view: DecisionView, decision: Decision) -> pl.DataFrame:
    """One line per model that can be chosen, the choice first."""
    columns: dict[str, list[Any]] = {
        _("Model"): [candidate.name for candidate in decision.candidates],
        _("Weighted mean"): [f"{total:.3f}" for total in decision.totals],
    }
    for i, criterion in enumerate(decision.criteria):
        name = decision_wording.measured_criterion_name(criterion, view.n_points, view.assumptions.bits)
        title = _("{criterion}, weight {share}", criterion=name, share=share_text(criterion.share))
        of = criterion.criterion.of
        columns[title] = [
            # `61.5 [58.2, 64.8] → 0.72`: a value and its utility
            decision_wording.interval_text(of, candidate.values[i], view.assumptions)
            + (f" → {utility:.2f}" if (utility := utilities[i]) is not None and criterion.share else "")
            for candidate, utilities in zip(decision.candidates, decision.utilities, strict=True)
        ]
    columns[_("Among all")] = [decision_wording.pareto_text(standing, decision) for standing in decision.pareto]
    return tables.without_empty(columns)


# --- cost ------------------------------------------------------------------------------------------------------


def show_cost(view: DecisionView) -> None:
    """Draw memory and price of each model, and the assumptions behind them."""
    assumptions = view.assumptions
    bars = decision_figures.cost_bars(view.context.runs, view.context.costs, assumptions)
    pictures.plot(bars_figure(bars), "memory")
    if all(cost.price is None for cost in view.context.costs.values()):
        st.caption(_("Cost needs the machine's cost per hour and each model's speed."))
    if len(view.context.costs) > len(bars.rows):
        st.caption(_("The {n} smallest of {total} models.", n=len(bars.rows), total=len(view.context.costs)))
    priced = [run_id for run_id, cost in view.context.costs.items() if cost.price is not None]
    baseline = None
    if len(priced) > 1:  # the run of the model in use, with which prices are compared
        models = view.context.runs.filter(pl.col("run_id").is_in(priced))
        names = {"": _("none")} | dict(models.select("model_id", "name").rows())
        chosen = inputs.choose_from_list(_("Against the model in use"), names, "base", width=320)
        baseline = next(iter(ids_of(models.filter(model_id=chosen))), None)
    if view.rule:
        st.caption(_("Assumptions of the rule."))
    else:
        st.subheader(_("Assumptions"))
        with inputs.row():
            for name, limits in NUMBER_LIMITS.items():
                is_whole = isinstance(getattr(assumptions, name), int) and name not in ASSUMPTION_UNITS
                more: dict[str, Any] = {"format": "%.0f" if is_whole else "%g", "width": 210}
                inputs.show_number_input(decision_wording.assumption_name(name), f"a.{name}", *limits, **more)
            label = decision_wording.assumption_name("currency")
            st.text_input(label, key=url_state.key("a.currency"), max_chars=8, width=120)
    _show_cost_table(view, baseline)
    st.caption(decision_wording.cost_basis_text())


def _show_cost_table(view: DecisionView, baseline: str | None) -> None:
    """Draw the table of costs, in which own speeds are typed."""
    runs = view.context.runs.sort("parameters", natural_sort_key())
    costs, assumptions = [view.context.costs[run_id] for run_id in ids_of(runs)], view.assumptions
    own_speed = _("Own speed [tokens/s]")
    in_use = view.context.costs[baseline].price if baseline else None
    prices = {}
    if assumptions.price_per_hour is not None:
        prices[_("Cost per month")] = [value_text("price", cost.price, assumptions) for cost in costs]
    if in_use is not None:
        saved = [None if cost.price is None else in_use - cost.price for cost in costs]
        prices[_("Less than in use")] = [value_text("price", price, assumptions) for price in saved]
    rows = pl.DataFrame(
        {
            _("Model"): runs["name"],
            own_speed: pl.Series(map(assumptions.speeds.get, runs["reference"]), dtype=pl.Float64),
            **prices,
            _("Hours per month"): pl.Series([cost.hours for cost in costs], dtype=pl.Float64).round(1),
            _("Machines"): pl.Series([cost.machines for cost in costs], dtype=pl.Int64),
            _("Speed"): [value_text("speed", cost.tokens_per_second) for cost in costs],
            _("Where from"): list(map(decision_wording.speed_source_text, costs)),
            _("Memory in all"): [value_text("memory", cost.memory_bytes) for cost in costs],
            _("Key-value cache"): list(map(decision_wording.cache_text, costs)),
            _("Parameters"): [value_text("parameters", n) for n in runs["parameters"]],
            **{
                _("Weights at {bits} bits", bits=bits): [value_text("memory", cost.weight_bytes[k]) for cost in costs]
                for k, bits in enumerate(PRECISIONS)
            },
        }
    )
    references = runs["reference"].to_list()
    key = f"choose speeds {url_state.join_values(references)}"  # what is typed is kept by row, and other models are other rows
    st.data_editor(
        rows,
        key=key,
        hide_index=True,
        placeholder="–",
        disabled=True if view.rule else [name for name in rows.columns if name != own_speed],
        column_config=tables.column_widths(rows) | {own_speed: st.column_config.NumberColumn(min_value=0.0)},
        on_change=_store_speeds,
        args=(key, references, own_speed),
    )


def _store_speeds(key: str, references: list[str], column: str) -> None:
    """Move the speeds typed into the table to the address, from which the costs are computed."""
    speeds = read_speeds()
    for row, edits in st.session_state[key]["edited_rows"].items():
        if column in edits:
            speeds[references[int(row)]] = edits[column] or 0.0
    keep_speeds(speeds)


# --- the table -------------------------------------------------------------------------------------------------------

MAX_SCORES = 4
"""Scores beside the names of models that have no ranking, where none of them is asked for."""
NAME_WIDTH = 210
"""Pixels of the names of models at most: so few that a phone shows a value beside them."""
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
        column_config=tables.column_widths(table, NAME_WIDTH)
        | {_("Weighted mean"): st.column_config.NumberColumn(format="%.3f")},
        on_select="rerun",
        selection_mode="multi-row",
        placeholder="–",
    )
    if marked := [row for row in selected["selection"]["rows"] if row < rows.height]:
        tables.show_comparison_button(ids_of(rows[marked]))
    notes = [_("Mark at least two runs at the left."), wording.veto_mark_text()]
    if answer := view.ranked.group_answer:
        notes = [
            _("Compared: equal kind of model, text, protocol, tokenizer or words; N within 10 %."),
            _(
                "Ranks: 1 = largest dimension, best score; 95 % intervals for all models at once. No order by "
                "dimension is better."
            ),
            *rank_lines(answer),
            *notes,
        ]
    with inputs.row():
        with st.popover(_("How to read it"), icon=":material/help:"):
            st.caption(escape(wording.joined_sentences(notes)))
        tables.show_download(lambda: _download_table(view, rows), "workdim_models.csv")


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
    candidates = view.decision.candidates if view.decision else ()
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
    values = zip(*([value and value.value for value in found[run_id]] for run_id in run_ids), strict=True)
    columns = (pl.Series(of_models, dtype=pl.Float64) for of_models in values)
    return dict(zip(score_names(offered), columns, strict=True))


def _owner_text(row: ScoredRun) -> str | None:
    """Whose score it is, and remarks on it."""
    if row.score is None or row.score_match in (None, "none"):
        return None
    owners = {
        "own": _("this model, scored here") if is_made_here(row) else _("this model, own score"),
        "exact": _("this model"),
        "revision_not_stated": _("this model, revision not stated"),
        "mapped": _("this model, by an alias of {name}", name=row.score_name_in_source),
        "base": _("base model {name}", name=(row.score_repository or "").split("/")[-1]),
    }
    hint = (owners[row.score_match], *wording.score_note_lines(row), row.score_source)
    return _("; ").join(filter(None, hint))


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
