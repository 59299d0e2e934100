"""Pilots on the screen Measure: those that are registered, and what makes a measurement one: a question, what is expected of
the answer, and until when it is decided, written down before anything is measured.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import date
from pathlib import Path
from typing import Any

import streamlit as st
import tomli_w

from core import wording
from core.errors import InputError
from core.locale import _, spoken
from core.pilots.pilot import USE_CLASSES, Pilot, parse_pilot, pilot_from_config
from core.ui import inputs, reads, url_state
from core.ui.markdown import escape
from core.ui.measure import job_cards
from core.warehouse.people import register_pilot

_FOLDER = "pilots"
"""Folder beside the warehouse from which paths in a pilot written here are read."""
_ASKED = url_state.key("pilot asked")


def show_registered() -> None:
    """Draw the registered pilots with their progress."""
    pilots = reads.lists().pilots
    if not pilots.is_empty():
        with st.expander(_("Pilots ({n})").format(n=pilots.height), icon=":material/science:"):
            for config, n_runs in pilots.select("config", "n_runs").iter_rows():
                _show_registered(pilot_from_config(config), n_runs)


def is_asked() -> bool:
    return bool(st.session_state.get(_ASKED))


def choose(models: Sequence[str], text: Mapping[str, Any], settings: Mapping[str, Any]) -> Pilot | None:
    """Draw what makes of these models, this text and these settings a pilot; return it once it is whole, else say what it
    lacks. None where no pilot is asked for."""
    st.toggle(
        _("Write down a question first (a pilot)"),
        key=_ASKED,
        help=_("What is expected is written down before measuring."),
    )
    if not is_asked():
        return None
    with st.container(border=True):
        file = inputs.upload(_("Or a pilot file (TOML)"), ["toml"], "pilot handed", 1)
        content = _entered(models, text, settings) if file is None else file.getvalue().decode("utf-8", "replace")
        return _parsed(content)


def _entered(models: Sequence[str], text: Mapping[str, Any], settings: Mapping[str, Any]) -> str:
    """The pilot of the form as the text of a file."""
    field = st.columns([3, 1])
    question = field[0].text_input(_("Question: what is to be decided"), key=_key("question"))
    names = wording.names("use_class", USE_CLASSES)
    use_class = field[1].selectbox(_("Use class"), list(names), key=_key("use"), format_func=names.__getitem__)
    field = st.columns([3, 1])
    expectation = field[0].text_input(_("Expectation, in words"), key=_key("expectation"))
    decide_by = field[1].date_input(_("To be decided by"), None, format="YYYY-MM-DD", key=_key("day"))
    field = st.columns([2, 2, 2])
    benchmark = field[0].text_input(_("Benchmark"), key=_key("benchmark"))
    metric = field[1].text_input(_("Metric"), key=_key("metric"))
    signs = {
        "none": _("no relation"),
        "negative": _("fewer dimensions go with better results"),
        "positive": _("more dimensions go with better results"),
    }
    sign = field[2].selectbox(_("Expected"), list(signs), key=_key("sign"), format_func=signs.__getitem__)
    better = {"higher": _("the higher score"), "lower": _("the lower score")}
    st.session_state.setdefault(_key("better"), "higher")
    direction = st.segmented_control(
        _("Better is"), list(better), format_func=better.__getitem__, required=True, key=_key("better")
    )
    asked_text = {"text": text["corpus"]} | {name: text[name] for name in ("column", "encoding") if text.get(name)}
    entered = {
        "name": question[:60],
        "question": question,
        "use_class": use_class,
        "models": list(models),
        "texts": [asked_text if text["column"] else text["corpus"]],
        "decide_by": decide_by,
        **{name: settings[name] for name in ("protocol", "seed", "controls", "dtype", "device")},
        "benchmark": {
            "name": benchmark,
            "metric": metric,
            "direction": direction,
            "expectation": expectation,
            "sign": sign,
            "frozen": date.today(),
        },
    }
    return tomli_w.dumps(_without_empty(entered))


def _key(name: str) -> str:
    """The session-state key of a field, whose value stays while other pages are drawn."""
    return url_state.key(f"pilot {name}")


def _without_empty(content: Mapping[str, Any]) -> dict[str, Any]:
    return {
        name: _without_empty(value) if isinstance(value, dict) else value
        for name, value in content.items()
        if value not in (None, "", [])
    }


def _parsed(content: str) -> Pilot | None:
    from core.runs.requests import protocol_names, text_names

    try:
        folder = reads.warehouse().path.parent / _FOLDER
        return parse_pilot(content, folder, protocol_names(), text_names())
    except InputError as error:
        st.caption(escape(str(error)))
        return None


def start(pilot: Pilot | None) -> None:
    """Register a pilot that is whole, and start the process that submits its measurements and waits for them."""
    if pilot is None:
        st.warning(_("The pilot is not whole yet."), icon=":material/edit_note:")
        return
    register_pilot(reads.warehouse(), pilot)  # an error is shown here
    _start(pilot)


def _n_measurements(pilot: Pilot) -> int:
    """The number of measurements of a pilot; at least, where this version does not know its protocol."""
    from core.runs.pilot_jobs import pilot_measurements

    try:
        return len(pilot_measurements(pilot))
    except InputError:
        return len(pilot.models) * len(pilot.texts)


def _show_registered(pilot: Pilot, n_runs: int) -> None:
    n_measurements = _n_measurements(pilot)
    with st.container(border=True, horizontal=True, vertical_alignment="center"):
        st.markdown(f"**{escape(pilot.name)}**  \n{escape(pilot.question_in(spoken()))}", width="stretch")
        st.caption(_("{done} of {wanted} measured").format(done=n_runs, wanted=n_measurements))
        if n_runs:
            inputs.show_link("choose", _("Look at it"), "table_rows", choose="ranking", pilot=pilot.pilot_id)
        if n_runs < n_measurements and st.button(_("Measure what is missing"), key=f"pilot {pilot.pilot_id}"):
            _start(pilot)
    with suppress(OSError):  # none before its first start
        job_cards.show_log(
            _log_path(pilot).read_text(encoding="utf-8", errors="replace").splitlines()[-job_cards.LOG_LINES :]
        )


def _start(pilot: Pilot) -> None:
    from core.runs.pilot_jobs import require_pilot_idle
    from core.runs.processes import start_verb

    require_pilot_idle(pilot, reads.warehouse())
    start_verb(reads.warehouse(), _log_path(pilot), "pilot", pilot.pilot_id)
    job_cards.expect_more()
    st.rerun()


def _log_path(pilot: Pilot) -> Path:
    return reads.warehouse().path.parent / _FOLDER / f"{pilot.pilot_id}.log"
