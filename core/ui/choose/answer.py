"""The answer of the page Choose, and its sections Reasons and Cost."""

from __future__ import annotations

from operator import attrgetter
from typing import Any

import polars as pl
import streamlit as st

from core.analysis import decision as decision_analysis
from core.analysis.criteria import PRECISIONS
from core.analysis.decision import Decision
from core.analysis.ranking import natural_sort_key
from core.figures import decisions as decision_figures
from core.figures.chart_figure import bars_figure
from core.locale import _
from core.pilots.saved import Assumptions
from core.questions.choice import PilotChoice
from core.tables import ids_of
from core.ui import inputs, pictures, tables, url_state
from core.ui.choose.choices import ASSUMPTION_UNITS, NUMBER_LIMITS, DecisionView
from core.ui.markdown import escape
from core.wording import decisions as decision_wording
from core.wording.decisions import value_text
from core.wording.labels import names_text, share_text

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
    notes = decision_wording.note_lines(view.decision) if view.decision else []
    if view.decision:
        notes.insert(0, decision_wording.criteria_text(view.decision, text, view.assumptions.bits))
    if view.rule:
        notes = [decision_wording.other_task_text(view.rule.rule, view.task) or "", *notes]
        notes.append(decision_wording.rule_text(view.rule.rule))
    help_ = "  \n".join(escape(line) for line in notes if line)
    st.markdown(f"#### {ICONS[view.answer.word]} {escape(text)}", help=help_ or None)
    for line in [*decision_wording.untested_lines(view.answer), *decision_wording.missing_lines(view.answer)]:
        st.caption(escape(line))
    _show_way_out(view.answer, view.context.runs)


def _show_way_out(answer: PilotChoice, runs: pl.DataFrame) -> None:
    """Draw a button that leaves out the models without the loss or the score that others have, where they prevent a choice."""
    for what in ("loss", "score"):
        lacking = list(dict.fromkeys(one.model for one in answer.missing if one.what == what))
        rest = runs.filter(~pl.col("name").is_in(lacking))["model_id"].unique(maintain_order=True).to_list()
        if answer.refusal == "no_criterion" and lacking and len(rest) > 1:
            label = _("Choose without {names}").format(names=names_text(lacking, most=2))
            st.button(escape(label), icon=":material/filter_alt:", key="without", on_click=_leave, args=(rest,))
            return


def _leave(model_ids: list[str]) -> None:
    st.session_state[url_state.key("among")] = model_ids


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
        ids = tables.of(decision.candidates, {"run_id": attrgetter("run_id"), "model_id": attrgetter("model_id")})
        tables.show(rows, "matrix")
        st.caption(decision_wording.normalisation_text())
        table = pl.concat([ids, rows], how="horizontal")
        tables.show_download(table, "workdim_decision.csv", _("Download (CSV)"))
    if decision.excluded:
        reasons = [
            decision_wording.exclusion_text(candidate, decision, view.assumptions) for candidate in decision.excluded
        ]
        heading = _("Left out: {n} model", "Left out: {n} models", n=len(reasons))
        with st.expander(heading, expanded=decision.chosen is None):
            st.markdown("\n".join(f"- {escape(line)}" for line in reasons))


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
        with url_state.batched(), st.container(horizontal=True):
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
        title = _("{criterion}, weight {share}").format(criterion=name, share=share_text(criterion.share))
        of = criterion.criterion.of
        columns[title] = [
            # `61.5 [58.2, 64.8] → 0.72`: a value and its utility
            None
            if candidate.values[i] is None
            else decision_wording.interval_text(of, candidate.values[i], view.assumptions)
            + (f" → {utility:.2f}" if (utility := utilities[i]) is not None and criterion.share else "")
            for candidate, utilities in zip(decision.candidates, decision.utilities, strict=True)
        ]
    columns[_("Among all")] = [decision_wording.pareto_text(standing, decision) for standing in decision.pareto]
    return tables.without_empty(columns)


# --- cost ------------------------------------------------------------------------------------------------------


def show_cost(view: DecisionView) -> None:
    """Draw memory and price of each model, and the assumptions behind them."""
    assumptions = view.assumptions
    bars, price = decision_figures.cost_bars(view.context.runs, view.context.costs, assumptions)
    pictures.plot(bars_figure(bars), "memory")
    if price.rows:
        pictures.plot(bars_figure(price), "price")
    else:
        st.caption(_("Cost needs the machine's cost per hour and each model's speed."))
    if len(view.context.costs) > len(bars.rows):
        st.caption(_("The {n} smallest of {total} models.").format(n=len(bars.rows), total=len(view.context.costs)))
    baseline = _choose_baseline(view)
    if view.rule:
        st.caption(_("Assumptions of the rule."))
    else:
        _show_assumption_inputs(assumptions)
    _show_cost_table(view, baseline)
    st.caption(decision_wording.cost_basis_text())


def _choose_baseline(view: DecisionView) -> str | None:
    """Return the run of the model in use, with which prices are compared."""
    priced = [run_id for run_id, cost in view.context.costs.items() if cost.price is not None]
    if len(priced) < 2:
        return None
    models = view.context.runs.filter(pl.col("run_id").is_in(priced))
    names = {"": _("none")} | dict(models.select("model_id", "name").rows())
    chosen = inputs.choose_from_list(_("Against the model in use"), names, "base", width=320)
    if chosen:
        url_state.forget("against")  # on the page Compare its run is what others are held against
    return next(iter(ids_of(models.filter(model_id=chosen))), None)


def _show_assumption_inputs(assumptions: Assumptions) -> None:
    st.subheader(_("Assumptions"))
    with st.container(horizontal=True):
        for name, (minimum, maximum) in NUMBER_LIMITS.items():
            is_whole = isinstance(getattr(assumptions, name), int) and name not in ASSUMPTION_UNITS
            inputs.show_number_input(
                decision_wording.assumption_name(name),
                f"a.{name}",
                minimum,
                maximum,
                format="%.0f" if is_whole else "%g",
                width=210,
            )
        st.text_input(
            decision_wording.assumption_name("currency"), key=url_state.key("a.currency"), max_chars=8, width=120
        )


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
                _("Weights at {bits} bits").format(bits=bits): [
                    value_text("memory", cost.weight_bytes[k]) for cost in costs
                ]
                for k, bits in enumerate(PRECISIONS)
            },
        }
    )
    references = runs["reference"].to_list()
    st.data_editor(
        rows,
        key="choose speeds",
        hide_index=True,
        placeholder="–",
        disabled=True if view.rule else [name for name in rows.columns if name != own_speed],
        column_config=tables.column_widths(rows) | {own_speed: st.column_config.NumberColumn(min_value=0.0)},
        on_change=_store_speeds,
        args=(references, own_speed),
    )


def _store_speeds(references: list[str], column: str) -> None:
    """Move the speeds typed into the table to the address, from which the costs are computed."""
    speeds = dict(text.rpartition("~")[::2] for text in st.session_state.get(url_state.key("speeds"), []))
    for row, edits in st.session_state["choose speeds"]["edited_rows"].items():
        if column in edits:
            speeds.pop(references[int(row)], None)
            if edits[column]:
                speeds[references[int(row)]] = f"{edits[column]:g}"
    st.session_state[url_state.key("speeds")] = [f"{name}~{value}" for name, value in speeds.items()]
