"""What the criteria choose, what would change it, and what the models cost."""

from __future__ import annotations

from typing import Any

import polars as pl
import streamlit as st

from core.analysis import decision as deciding
from core.analysis.criteria import PRECISIONS
from core.analysis.decision import Decision
from core.analysis.ranking import natural_sort_key
from core.errors import Sentence
from core.figures import decisions as figures
from core.locale import worded
from core.pilots.rule import DIMENSIONS, Assumptions
from core.ui import inputs, language, pictures, reads, tables, url_state
from core.ui.decide.choices import ASSUMED_IN, NUMBERS, Look
from core.ui.markdown import escape
from core.wording import answers as answer_words
from core.wording import decisions as words


def say(look: Look) -> None:
    """The sentence first, and what limits it."""
    _ = language.translator()
    lang = language.current()
    if look.decision is None:
        st.info(escape(look.error), icon=":material/help:")
        return
    icon = ":material/check_circle:" if look.decision.chosen else ":material/block:"
    st.markdown(f"#### {icon} {escape(words.answer(look.decision, lang, look.assumed.bits))}")
    other = words.other_task(look.rule.rule, look.task, lang) if look.rule else None
    for line in [*([other] if other else []), *words.remarks(look.decision, lang), *_relation(look, look.decision)]:
        st.caption(escape(line))
    if look.rule:
        st.caption(escape(words.rule_text(look.rule.rule, lang)))


def _relation(look: Look, decision: Decision) -> list[str]:
    """What is known of the dimension and the score, where the dimension is asked for and may weigh."""
    if look.task is None or not any(
        one.resolved.criterion.of in DIMENSIONS and not one.muted_reason for one in decision.criteria
    ):
        return []
    found = reads.relation(look.question.with_score(look.task))
    return [answer_words.sentence(found, language.current())]


def show_choice(look: Look) -> None:
    """The front, then what each weight would change, then the numbers."""
    _ = language.translator()
    lang, decision = language.current(), look.decision
    if decision is None:
        return
    if decision.chosen:
        _draw_front(look, decision)
        bars = figures.weight_bars(decision, lang, look.assumed.bits)
        if bars:
            st.subheader(_("What a change of weight would choose"))
            pictures.plot(figures.weight_figure(bars, lang), "weights")
        st.subheader(_("The models, by their weighted mean"))
        rows = matrix(look, decision)
        runs = pl.DataFrame({"run_id": [one.run_id for one in decision.candidates]})
        marked = tables.show(rows, "matrix", on_select="rerun", selection_mode="multi-row")
        tables.offer_comparison(runs, marked, "matrix")
        st.caption(words.normalisation(lang))
        tables.download(_traced(rows, decision), "workdim_decision.csv", _("Download (CSV)"))
    if decision.excluded:
        told = [words.left_out(one, decision, lang, look.assumed) for one in decision.excluded]
        heading = Sentence("Left out: {n} model", "Left out: {n} models", n=len(told))
        with st.expander(worded(heading, lang), expanded=decision.chosen is None):
            st.markdown("\n".join(f"- {escape(line)}" for line in told))


def _draw_front(look: Look, decision: Decision) -> None:
    """Two criteria at a time; which ones is asked where there are more."""
    _ = language.translator()
    lang = language.current()
    names = {k: words.criterion_name(one.resolved, lang, look.assumed.bits) for k, one in enumerate(decision.criteria)}
    if len(names) < 2:
        return
    y, x = sorted(names, key=lambda k: (deciding.is_equal_for_all(decision, k), -decision.criteria[k].share, k))[:2]
    if len(names) > 2:
        with url_state.together(), st.container(horizontal=True):
            y = inputs.choose_from_list(_("Upwards"), list(names), "up", y, names.__getitem__, width=320)
            others = [k for k in names if k != y]
            x = inputs.choose_from_list(
                _("To the right"), others, "right", x if x != y else others[0], names.__getitem__, width=320
            )
    data = figures.front_points(decision, x, y, look.n_points, lang)
    pictures.plot(figures.front_figure(data, lang, look.assumed), "front")
    if data.has_others:
        st.caption(_("Whether a model is on the front is judged over all criteria that weigh, not over the two drawn."))


def matrix(look: Look, decision: Decision) -> pl.DataFrame:
    """One line for each model that can be chosen, the choice first."""
    _ = language.translator()
    lang = language.current()
    columns: dict[str, list[Any]] = {
        _("Model"): [one.name for one in decision.candidates],
        _("Weighted mean"): [round(total, 3) for total in decision.totals],
    }
    for k, one in enumerate(decision.criteria):
        name = words.measured_name(one.resolved, look.n_points, lang, look.assumed.bits)
        title = _("{criterion}, weight {share}").format(criterion=name, share=words.share(one.share, lang))
        columns[title] = [_cell(look, decision, row, k) for row in range(len(decision.candidates))]
    columns[_("Among all")] = [words.standing(one, decision, lang) for one in decision.pareto]
    return pl.DataFrame(columns)


def _cell(look: Look, decision: Decision, row: int, k: int) -> str:
    """`61.5 [58.2, 64.8] → 0.72`: the value, and what it counts."""
    weighed = decision.criteria[k]
    of = weighed.resolved.criterion.of
    told = words.reading(of, decision.candidates[row].values[k], language.current(), look.assumed)
    utility = decision.utilities[row][k]
    return f"{told} → {utility:.2f}" if utility is not None and weighed.share else told


def _traced(rows: pl.DataFrame, decision: Decision) -> pl.DataFrame:
    ids = pl.DataFrame(
        {
            "run_id": [one.run_id for one in decision.candidates],
            "model_id": [one.model_id for one in decision.candidates],
        }
    )
    return pl.concat([ids, rows], how="horizontal")


# --- cost ------------------------------------------------------------------------------------------------------


def show_cost(look: Look) -> None:
    """Memory and price of each model, then every assumption that they rest on."""
    _ = language.translator()
    lang, assumed = language.current(), look.assumed
    bars = figures.cost_bars(look.on.runs, look.on.costs, assumed)
    pictures.plot(figures.cost_figure(bars, lang, assumed), "memory")
    price = figures.price_figure(bars, lang, assumed)
    if price is not None:
        pictures.plot(price, "price")
    else:
        st.caption(_("No price is told: it needs the price per hour of the machine, and a speed of each model on it."))
    if len(look.on.costs) > len(bars):
        st.caption(_("Drawn: the {n} smallest of {total} models.").format(n=len(bars), total=len(look.on.costs)))
    base = _choose_baseline(look)
    if look.rule:
        st.caption(_("The assumptions are those of the rule."))
    else:
        _ask_assumptions(assumed)
    _show_costs(look, base)
    st.caption(words.cost_note(lang))


def _choose_baseline(look: Look) -> str | None:
    """The model that prices are held against: the one in use today."""
    _ = language.translator()
    priced = [run_id for run_id, one in look.on.costs.items() if one.price is not None]
    if len(priced) < 2:
        return None
    models = {row["model_id"]: row for row in look.on.runs.filter(pl.col("run_id").is_in(priced)).iter_rows(named=True)}
    chosen = inputs.choose_from_list(
        _("Against the model in use"),
        ["", *models],
        "base",
        "",
        lambda key: models[key]["name"] if key else _("none"),
        width=320,
    )
    return models[chosen]["run_id"] if chosen else None


def _ask_assumptions(assumed: Assumptions) -> None:
    _ = language.translator()
    lang = language.current()
    st.subheader(_("Assumptions"))
    with st.container(horizontal=True):
        for name, (low, high) in NUMBERS.items():
            whole = isinstance(getattr(assumed, name), int) and name not in ASSUMED_IN
            inputs.draw_number(
                words.assumption_name(name, lang), f"a.{name}", low, high, format="%.0f" if whole else "%g", width=210
            )
        st.text_input(words.assumption_name("currency", lang), key=url_state.key("a.currency"), max_chars=8, width=120)


def _show_costs(look: Look, base: str | None) -> None:
    """The table, in which own speeds are typed."""
    _ = language.translator()
    lang, runs = language.current(), look.on.runs.sort("parameters", natural_sort_key())
    cost = [look.on.costs[run_id] for run_id in runs["run_id"]]
    own = _("Own speed [tokens/s]")
    of_base = look.on.costs[base].price if base else None
    price = {_("Price per month"): [words.value("price", one.price, lang, look.assumed) for one in cost]}
    saving = {_("Less than in use"): [_saving(of_base, one.price, look.assumed) for one in cost]}
    rows = pl.DataFrame(
        {
            _("Model"): runs["name"],
            own: pl.Series([look.assumed.speeds.get(one) for one in runs["reference"]], dtype=pl.Float64),
            **(price if look.assumed.price_per_hour is not None else {}),
            **(saving if of_base is not None else {}),
            _("Hours per month"): pl.Series(
                [None if one.hours is None else round(one.hours, 1) for one in cost], dtype=pl.Float64
            ),
            _("Machines"): pl.Series([one.machines for one in cost], dtype=pl.Int64),
            _("Speed"): [words.value("speed", one.tokens_per_second, lang) for one in cost],
            _("Where from"): [words.speed_source(one, lang) for one in cost],
            _("Memory in all"): [words.value("memory", one.memory_bytes, lang) for one in cost],
            _("Key-value cache"): [words.cache(one, lang) for one in cost],
            _("Parameters"): [words.value("parameters", n, lang) for n in runs["parameters"]],
            **{
                _("Weights at {bits} bits").format(bits=bits): [
                    words.value("memory", one.weight_bytes[k], lang) for one in cost
                ]
                for k, bits in enumerate(PRECISIONS)
            },
        }
    )
    references = runs["reference"].to_list()
    st.data_editor(
        rows,
        key="decide speeds",
        hide_index=True,
        placeholder="–",
        disabled=True if look.rule else [name for name in rows.columns if name != own],
        column_config={
            _("Model"): st.column_config.Column(pinned=True),
            own: st.column_config.NumberColumn(min_value=0.0),
        },
        on_change=_take_speeds,
        args=(references, own),
    )


def _saving(base: float | None, price: float | None, assumed: Assumptions) -> str:
    return "–" if price is None or base is None else words.value("price", base - price, language.current(), assumed)


def _take_speeds(references: list[str], column: str) -> None:
    """What was typed into the table goes to the address, from which everything is computed."""
    speeds = dict(text.rpartition("~")[::2] for text in st.session_state.get(url_state.key("speeds"), []))
    for row, edits in st.session_state["decide speeds"]["edited_rows"].items():
        if column in edits:
            speeds.pop(references[int(row)], None)
            if edits[column]:
                speeds[references[int(row)]] = f"{edits[column]:g}"
    st.session_state[url_state.key("speeds")] = [f"{name}~{value}" for name, value in speeds.items()]
