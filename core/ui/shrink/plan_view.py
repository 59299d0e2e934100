"""A stored plan on a screen: the answer, the blocks, and what stands behind it."""

from __future__ import annotations

import json
import math
import shlex
from collections.abc import Sequence
from typing import Any

import polars as pl
import streamlit as st

from core import wording
from core.analysis import plans as read_again
from core.figures import plans as figures
from core.records import SHIPPED, LayerPlan
from core.tables import PlanOutcomeRow
from core.ui import inputs, language, pictures, reads, tables, url_state
from core.ui.markdown import escape
from core.wording import plans as sentences
from core.wording.labels import short_id
from core.wording.numbers import number


def choose(plans: pl.DataFrame, model: str) -> LayerPlan | None:
    """One of the plans, the newest at first; of the model that a link names where it has some, else None."""
    _ = language.translator()
    of_model = plans.filter(
        pl.any_horizontal(pl.col("model_id", "reference", "name") == model, pl.col("asked") == model)
    )
    if plans.is_empty() or (model and of_model.is_empty() and "plan" not in st.query_params):
        return None
    rows = {row["plan_id"]: row for row in plans.iter_rows(named=True)}
    newest = (of_model if model and not of_model.is_empty() else plans)["plan_id"][0]
    plan_id = newest
    if len(rows) > 1:
        plan_id = inputs.choose_from_list(
            _("Plan"), list(rows), "plan", newest, lambda key: _label(rows[key]), width=640
        )
    return reads.layer_plan(plan_id)


def _label(row: dict[str, Any]) -> str:
    _ = language.translator()
    told = _("{k} of {n} blocks").format(k=len(row["blocks"]), n=row["n_layers"])
    parts = [row["name"], told, row["corpus_id"], language.local_time(row["created_at"]), short_id(row["plan_id"])]
    if row["note"] == SHIPPED:
        parts.append(f"#{SHIPPED}")
    return " · ".join(parts)


def say(found: LayerPlan) -> None:
    """The answer, what speaks against it, and the blocks; the budget moves along the stored prices."""
    _ = language.translator()
    lang, plan = language.current(), found.plan
    answer = st.container(gap="small")
    if plan.budget_unit == "points":
        at, told_budget = read_again.within_task_budget(found), sentences.budget_text(plan, lang)
    else:
        budget = _budget(found)
        at, told_budget = read_again.sets_within_budget(found, budget), sentences.nats_text(budget, lang)
    with answer:
        st.subheader(escape(sentences.within_budget_text(found, at, told_budget, lang)), anchor=False)
        for line in (sentences.healing_text(found, lang) if at.is_plan else "", sentences.task_text(found, lang)):
            if line:
                st.markdown(escape(line))
        over = sentences.reason_text(
            "over_budget", lang
        )  # of the plan's own budget; the answer is about the one chosen here
        for line in sentences.objection_lines(plan, lang) if at.is_plan else ():
            if line != over:
                st.caption(escape(line))
        if at.price is not None and not at.is_plan:
            line = _(
                "This set was priced on the way to the plan, but not against random sets, harder texts and probes: "
                "`{command}` does."
            )
            offered = read_again.plan_command(found, "--verify", "--blocks", str(len(at.price.blocks)))
            st.caption(line.format(command=offered))
    blocks = (at.price or at.cheapest).blocks
    told = [sentences.range_example_text(blocks, lang)]
    st.image(figures.blocks_svg(blocks, plan.n_layers, lang, pictures.theme()), width="stretch", alt=told[0])
    if at.price is None and plan.budget_unit == "nats":
        told.insert(0, _("Drawn is the cheapest step of the search, which is over the budget."))
    st.caption(escape("  \n".join(told)), help=escape(_source(found)))


def _budget(found: LayerPlan) -> float:
    """Nats per token, from nothing to what the dearest step of the search costs."""
    _ = language.translator()
    own = found.plan.budget
    budget = url_state.restore_number("nats", own, 0.0) or 0.0
    limits = [read_again.upper_limit(row) for row in read_again.search_steps(found)]
    highest = max(own, budget, *(limit for limit in limits if limit < math.inf), 0.01) * 1.1
    step = 10.0 ** (math.floor(math.log10(highest)) - 2)
    highest = round((highest // step + 1) * step, 6)
    st.slider(
        _("Budget: nats per token that may be lost"),
        0.0,
        highest,
        step=step,
        key=url_state.key("nats"),
        format="%g",
        help=_("Along the prices that this plan has stored; {own} was asked for.").format(
            own=sentences.budget_text(found.plan, language.current())
        ),
    )
    url_state.publish("nats", budget)
    return budget


def _source(found: LayerPlan) -> str:
    """Of what, on what and when the numbers were taken."""
    _ = language.translator()
    plan = found.plan
    n = plan.n_verification if plan.is_verified else plan.n_selection
    line = _("{model} on {text}, {n} windows of {tokens} tokens, 95 % intervals over windows; plan {plan}, {when}.")
    return line.format(
        model=plan.model_id,
        text=plan.corpus_id,
        n=n,
        tokens=plan.n_tokens,
        plan=short_id(plan.plan_id),
        when=language.local_time(plan.created_at),
    )


def _tell_set(found: LayerPlan) -> None:
    """Whose numbers follow: those of the plan itself, whatever the budget above allows."""
    _ = language.translator()
    lang, plan = language.current(), found.plan
    line = _("Of the plan itself, without {blocks}: {price} nats per token{healed}.")
    told = line.format(
        blocks=sentences.blocks_text(plan.blocks, plan.n_layers, lang),
        price=sentences.price_text(plan.loss_increase, plan.lower, plan.upper),
        healed=_(", healed") if plan.is_healed else "",
    )
    st.markdown(escape(told))


# --- sections -----------------------------------------------------------------------------------------------------------


def show_price(found: LayerPlan) -> None:
    """Size against loss, and the candidates of the plan's size."""
    _ = language.translator()
    lang = language.current()
    budget = st.session_state.get(url_state.key("nats")) if found.plan.budget_unit == "nats" else None
    data = figures.price_points(found)
    pictures.plot(figures.price_figure(data, budget, lang), "plan price")
    st.caption(
        _("Random sets were read on a part of the windows. Marks of one size stand side by side to be told apart.")
    )
    for line in sentences.published_lines(found, lang):
        st.markdown(escape(line))
    for line in sentences.control_lines(found.plan, lang):
        st.caption(escape(line))
    healed = [read_again.plan_price(found)] if found.plan.is_healed else []
    rows = [*healed, *read_again.rivals(found)]
    names = [sentences.rule_name(row.rule, lang) + (_(", healed") if row.is_healed else "") for row in rows]
    table = pl.DataFrame(
        {
            _("Rule"): names,
            _("Blocks"): [", ".join(map(str, row.blocks)) for row in rows],
            _("Nats per token [95 %]"): [_price(row) for row in rows],
            _("Taken"): [_taken(row) for row in rows],
        }
    )
    tables.show(table, "plan candidates")
    tables.show_download(
        _prices(found), f"workdim_plan_{short_id(found.plan.plan_id)}.csv", _("Download all prices (CSV)")
    )


def _price(row: PlanOutcomeRow) -> str:
    return sentences.price_text(row.difference, row.lower, row.upper)


def _taken(row: PlanOutcomeRow) -> str:
    _ = language.translator()
    if row.is_chosen:
        return _("the plan")
    return _("not told from the cheapest on the text that chose") if row.is_equal else ""


def _prices(found: LayerPlan) -> pl.DataFrame:
    frame = found.frames()["plan_outcomes"]
    return frame.with_columns(pl.col("blocks").cast(pl.List(pl.String)).list.join(" "))


def show_alone(found: LayerPlan) -> None:
    """What each block, each attention and each MLP costs alone."""
    _ = language.translator()
    influence = found.of("selection", "influence")
    points = figures.single_block_points(found)
    if not points["block"] and not points["attention"]:
        st.info(_("Only given blocks were priced; a plan that looks for blocks prices each of them alone."))
        return
    pictures.plot(figures.single_block_figure(points, influence, found.plan.blocks, language.current()), "plan alone")
    st.caption(
        _(
            "Each alone, on the text that chose ({n} windows; attention and MLP on a part of them). Prices do not add up, and "
            "a small influence does not make a block cheap: the pointer shows both."
        ).format(n=found.plan.n_selection)
    )


def show_harder(found: LayerPlan) -> None:
    """What loss on held-out text may hide: other texts, probes, the task of one's own."""
    _ = language.translator()
    lang = language.current()
    if not found.plan.is_verified:
        st.info(_("Only a verified plan reads harder texts and probes."))
        return
    _tell_set(found)
    st.markdown(f"**{escape(sentences.largest_losses_text(found, lang))}**")
    for line in sentences.caution_lines(found.plan, lang):
        st.caption(escape(line))
    for column, of_answers in zip(st.columns(2), (True, False), strict=True):
        rows = figures.harder_points(found, of_answers)
        with column:
            pictures.plot(figures.harder_figure(rows, of_answers, lang), f"plan harder {of_answers}")
    read = read_again.harder_text_prices(found)
    table = pl.DataFrame(
        {
            _("Text or probe"): [wording.name("plan_text", row.text, lang) for row in read],
            _("Healed"): [_("yes") if row.is_healed else _("no") for row in read],
            _("Measure"): [wording.name("plan_measure", row.measure, lang) for row in read],
            _("Before"): [_value(row, row.value_before) for row in read],
            _("After"): [_value(row, row.value_after) for row in read],
            _("Change [95 %]"): [_price(row) if row.measure == "loss" else sentences.points_text(row) for row in read],
            _("N"): [row.n_points for row in read],
        }
    )
    tables.show(table, "plan harder")


def _value(row: PlanOutcomeRow, value: float | None) -> str:
    if value is None:
        return "–"
    return f"{value:.3f}" if row.measure == "loss" else f"{value:.0%}"


def show_saving(found: LayerPlan) -> None:
    """Parameters, bytes, cache and time, before and after."""
    _ = language.translator()
    lang, plan = language.current(), found.plan
    _tell_set(found)
    with st.container(horizontal=True, gap="large"):
        share = 1 - plan.parameters_after / plan.parameters_before
        st.metric(_("Parameters"), f"{plan.parameters_after:,}", f"{-share:.1%}", "inverse", width="content")
        if (time := sentences.time_saved_share(plan)) is not None:
            label = _("Time to read a prompt and write {n} tokens").format(n=plan.new_tokens)
            st.metric(label, f"{1 - time:.0%}", f"{-time:.1%}", "inverse", width="content")
    rows = [row for row in found.outcomes if row.text == "weights" and row.value_before and row.value_after]
    table = pl.DataFrame(
        {
            _("Weights"): [wording.name("plan_measure", row.measure, lang) for row in rows],
            _("Before"): [_size(row.value_before) for row in rows],
            _("After"): [_size(row.value_after) for row in rows],
        }
    )
    if rows:
        tables.show(table, "plan weights", width="content")
    for line in sentences.saving_lines(plan, lang):
        st.markdown(escape(line))
    st.caption(_("Measured on this device: {device}, {dtype}.").format(device=plan.device, dtype=plan.dtype))


def _size(n_bytes: float | None) -> str:
    return "–" if n_bytes is None else f"{number(n_bytes / 1e6)} MB" if n_bytes < 1e9 else f"{number(n_bytes / 1e9)} GB"


def show_directions(found: LayerPlan) -> None:
    """How many directions each layer needs, beside how many d2 reads."""
    _ = language.translator()
    lang = language.current()
    points = read_again.layer_directions(found)
    if not points:
        st.info(_("This plan has not looked for the directions that each layer needs."))
        st.code(read_again.plan_command(found, "--verify", "--directions"), language=None)
        return
    of_task = read_again.layer_directions(found, "task")
    figure = figures.direction_figure(points, of_task, read_again.joint_projection(found), lang)
    pictures.plot(figure, "plan directions")
    st.caption(
        _(
            "Principal components that suffice are an upper bound: others may suffice in smaller number. Ranks of single "
            "layers do not compose; only that of all layers at once says something of a smaller model's width."
        )
    )
    st.markdown(f"**{escape(wording.joined_sentences(sentences.student_lines(found, lang), lang))}**")
    for line in sentences.direction_lines(found, lang):
        st.markdown(f"- {escape(line)}")


def tell_needed(runs: pl.DataFrame) -> None:
    """Of models whose profiles are shown, how many directions plans have found each layer to need; nothing without one."""
    _ = language.translator()
    plans = reads.lists().plans.filter(
        pl.col("config").str.json_path_match("$.directions") == "true",
        pl.col("model_id").is_in(runs["model_id"].unique().to_list()),
    )
    for plan_id in plans.unique("model_id", keep="first", maintain_order=True)["plan_id"]:
        found = reads.layer_plan(plan_id)
        told = found and sentences.sufficient_directions_text(
            found, read_again.layer_directions(found), language.current()
        )
        if told:
            st.markdown(escape(told))
            st.page_link(
                "pages/shrink.py",
                label=_("Needed directions"),
                icon=":material/content_cut:",
                query_params={"plan": plan_id, "shrink": "directions"},
            )


def show_files(found: LayerPlan) -> None:
    """The map, the recipe, the picture; and the command that saves the smaller model."""
    _ = language.translator()
    lang, plan = language.current(), found.plan
    _tell_set(found)
    name = f"workdim_plan_{short_id(plan.plan_id)}"
    picture = figures.blocks_svg(plan.blocks, plan.n_layers, lang)
    with st.container(horizontal=True):
        _download(_("Map of blocks (JSON)"), json.dumps(read_again.layer_map(found), indent=2), f"{name}.json")
        _download(_("Picture of the blocks (SVG)"), picture, f"{name}.svg")
        if plan.mergekit is None:
            _download(
                _("Recipe for mergekit (YAML)"),
                read_again.mergekit_recipe(found, sentences.plan_text(plan, lang)),
                f"{name}.yaml",
            )
    if plan.mergekit is not None:
        line = _("No recipe for mergekit. {reason}")
        st.caption(escape(line.format(reason=sentences.mergekit_reason_text(plan.mergekit, lang))))
    if plan.saved_as:
        st.markdown(
            _("The smaller model lies in `{folder}`; opened again, its loss is the verified one.").format(
                folder=plan.saved_as
            )
        )
        _measured_again(found)
        return
    st.markdown(_("Save the smaller model, to load it with `AutoModelForCausalLM.from_pretrained`:"))
    st.code(read_again.save_command(found), language=None)


def _download(label: str, content: str, file: str) -> None:
    kinds = {"json": "application/json", "svg": "image/svg+xml", "yaml": "application/yaml"}
    mime = kinds[file.rsplit(".", 1)[-1]]
    st.download_button(label, content, file, mime, on_click="ignore", icon=":material/download:")


def _measured_again(found: LayerPlan) -> None:
    """The profile of the smaller model beside that of the whole one, or how to get it."""
    _ = language.translator()
    runs = reads.lists().runs.filter(pl.col("pass") == "text")
    smaller = runs.filter(model_id=found.plan.saved_model_id)
    if smaller.is_empty():
        st.code(shlex.join(["workdim", "measure", str(found.plan.saved_as)]), language=None)
        return
    whole = runs.filter(model_id=found.plan.model_id).join(smaller, on=["corpus_id", "protocol_hash"], how="semi")
    chosen = [*whole["run_id"].head(1), *smaller["run_id"].head(1)]
    st.page_link(
        "pages/profiles.py",
        label=_("Open both profiles"),
        icon=":material/show_chart:",
        query_params={"runs": url_state.join_values(chosen)},
    )


def show_history(plans: pl.DataFrame, outcomes: Sequence[PlanOutcomeRow]) -> None:
    """All plans with what came out, and which rule had foreseen it best."""
    _ = language.translator()
    lang = language.current()
    rows = plans.to_dicts()
    table = pl.DataFrame(
        {
            _("Model"): [row["name"] for row in rows],
            _("Blocks"): [f"{len(row['blocks'])} / {row['n_layers']}" for row in rows],
            _("Which"): [", ".join(map(str, row["blocks"])) for row in rows],
            _("Nats per token [95 %]"): [
                sentences.price_text(row["loss_increase"], row["lower"], row["upper"]) for row in rows
            ],
            _("Verified"): [_("yes") if row["is_verified"] else _("no") for row in rows],
            _("Recommended"): [_("yes") if row["is_recommended"] else _("no") for row in rows],
            _("Rule"): [sentences.rule_name(row["rule"], lang) for row in rows],
            _("Text"): [row["corpus_id"] for row in rows],
            _("Planned"): [language.local_time(row["created_at"]) for row in rows],
            _("Plan"): [short_id(row["plan_id"]) for row in rows],
        }
    )
    tables.show(table, "plans so far")
    shown = set(plans["plan_id"])
    outcomes = [row for row in outcomes if row.plan_id in shown]
    records = read_again.rule_records(outcomes)
    if not records:
        return
    st.markdown(f"**{escape(sentences.best_rule_text(records, lang))}**")
    by_rule = pl.DataFrame(
        {
            _("Rule"): [sentences.rule_name(one.rule, lang) for one in records],
            _("Mean above the cheapest, nats per token"): [round(one.excess, 4) for one in records],
            _("Cheapest in"): [_("{n} of {total}").format(n=one.n_cheapest, total=one.n_plans) for one in records],
        }
    )
    tables.show(by_rule, "rules of plans", width="content")
    lines = read_again.all_rule_forecasts(outcomes, {row["plan_id"]: len(row["blocks"]) for row in rows})
    if lines:
        st.caption(escape(sentences.foresight_text(lines, lang)))
