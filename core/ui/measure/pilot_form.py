"""The pilots of the screen Measure models: those registered, and the form that writes, registers and measures one."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from contextlib import suppress
from datetime import date, datetime
from pathlib import Path
from typing import Any

import polars as pl
import streamlit as st
import tomli_w

from core import wording
from core.errors import InputError
from core.locale import _, spoken
from core.pilots import registration
from core.pilots.pilot import USE_CLASSES, Pilot
from core.ui import inputs, reads, url_state
from core.ui.markdown import escape
from core.ui.measure import job_cards
from core.warehouse.pilots import register_pilot

SHIPPED = Path(__file__).resolve().parents[3] / "data" / "pilots"
_FILE = url_state.key("pilot text")
_FOLDER = "pilots"
"""Folder beside the warehouse from which paths in a pilot written here are read."""
_GENERATION = "pilot form"
"""Session-state key: how often the form was filled; part of the keys of its fields, so that they begin anew."""
_MAIN = {"models": "reference", "texts": "text"}
_SCORE = "score."


def show() -> None:
    """Draw the registered pilots with their progress, and the form of a new one."""
    from core.runs.requests import protocol_names, text_names

    st.markdown(
        _(
            "A pilot is a comparison that is written down before it is measured: what is decided, its use class, models, "
            "texts, protocol, and one primary benchmark with what is expected of it."
        )
    )
    for row in reads.lists().pilots.to_dicts():
        _show_registered(row)
    st.subheader(_("A new pilot"))
    _choose_start()
    folder = reads.warehouse().path.parent / _FOLDER
    pilot: Pilot | None = None
    error: InputError | None = None
    try:
        pilot = registration.parse_pilot(st.session_state[_FILE], folder, protocol_names(), text_names())
    except InputError as problem:
        error = problem
    _show_form(error)
    with st.expander(_("The same as a file (TOML)")):
        st.text_area(_("Pilot file"), key=_FILE, height=420, on_change=_reset_form)
        st.caption(_("A file that is handed over here has no folder: name models and texts by their whole paths."))
    if pilot and st.button(_("Register and measure"), type="primary", icon=":material/play_arrow:", key="pilot start"):
        register_pilot(reads.warehouse(), pilot)  # an error is shown here
        _start(pilot)


def _choose_start() -> None:
    """Draw the choice of a shipped or uploaded file, and fill the form with it when it changes."""
    left, right = st.columns(2)
    names = sorted(path.stem for path in SHIPPED.glob("*.toml"))
    chosen = left.selectbox(_("Begin with a pilot that comes with Workdim"), names, key="pilot shipped")
    with right:
        file = inputs.upload(_("Or with a file of your own"), ["toml"], "pilot handed", 1)
    source = file.file_id if file is not None else chosen
    if st.session_state.get("pilot source") != source or _FILE not in st.session_state:  # a rerun does not
        st.session_state["pilot source"] = source
        raw = file.getvalue() if file is not None else (SHIPPED / f"{chosen}.toml").read_bytes()
        st.session_state[_FILE] = raw.decode("utf-8", "replace")
        _reset_form()


# --- the form over the file -------------------------------------------------------------------------------------


def _reset_form() -> None:
    st.session_state[_GENERATION] = st.session_state.get(_GENERATION, 0) + 1


def _parsed_file() -> dict[str, Any]:
    """The content of the file; empty where it is no TOML, of which an error is drawn."""
    try:
        return tomllib.loads(st.session_state[_FILE])
    except (ValueError, RecursionError):
        return {}


def _show_form(error: InputError | None) -> None:
    """Draw a field for each key of the file; an error stands at the field that it is about."""
    from core.runs.requests import protocol_names

    form = _PilotForm(_parsed_file(), error)
    left, right = st.columns([3, 2])
    form.text(left, "name", _("Name"))
    form.choice(right, "use_class", _("Use class"), wording.names("use_class", USE_CLASSES))
    form.text(st, "question", _("Question: what is to be decided"))
    form.translation("question")
    left, right = st.columns(2)
    titles = {"reference": _("Model"), "score.value": _("Own score"), "score.std_error": _("Standard error")}
    form.table(left, "models", _("Models"), titles)
    titles = {"text": _("Text"), "column": _("Column"), "encoding": _("Encoding")}
    form.table(right, "texts", _("Texts"), titles)
    left, middle, right = st.columns(3)
    form.choice(left, "protocol", _("Protocol"), {name: name for name in protocol_names()}, "quick")
    form.text(middle, "decided_by", _("Who decides"))
    form.day(right, "decide_by", _("To be decided by"))
    st.markdown(f"**{escape(_('The one primary benchmark, and what is expected of it'))}**")
    left, middle, right = st.columns(3)
    form.text(left, "benchmark.name", _("Benchmark"))
    form.text(middle, "benchmark.metric", _("Metric"))
    form.better(right, "benchmark.direction", "higher", "lower")
    form.text(st, "benchmark.expectation", _("Expectation, in words"))
    form.translation("expectation")
    signs = {
        "negative": _("fewer dimensions go with better results"),
        "positive": _("more dimensions go with better results"),
        "none": _("no relation"),
    }
    left, right = st.columns(2)
    form.choice(left, "benchmark.sign", _("Expected relation of dimension and performance"), signs)
    form.day(right, "benchmark.frozen", _("Written down on"))
    st.markdown(f"**{escape(_('A task of your own, if the models have scores on it'))}**")
    left, middle, right = st.columns(3)
    form.text(left, "scores.task", _("Task"))
    form.text(middle, "scores.unit", _("Unit"))
    form.better(right, "scores.higher_is_better", True, False)
    form.show_remaining_error()


class _PilotForm:
    """Fields that begin with what a pilot file says, and write what is entered into it.

    Each is drawn at `place`, a column or `st`, for a key of the file (`benchmark.name`).
    """

    def __init__(self, content: dict[str, Any], error: InputError | None) -> None:
        self._content, self._error = content, error
        problem = error.message.parts.get("problem", "") if error else ""
        self._error_key = str(getattr(problem, "parts", {}).get("key", problem))
        """The key that the error is about, as its sentence begins: `benchmark.frozen`, `models[1].score`."""

    def text(self, place: Any, key: str, label: str) -> None:
        value = _value_at(self._content, key)
        self._draw(place, place.text_input, key, label, "" if value is None else str(value))

    def translation(self, name: str) -> None:
        """What screens and slides in the reader's language say in place of a text, where the file has it."""
        key = f"translations.{spoken()}.{name}"
        if _value_at(self._content, key) is not None:
            self.text(st, key, _("The same, as screens and slides in this language say it"))

    def choice(self, place: Any, key: str, label: str, names: Mapping[Any, str], default: Any = None) -> None:
        value = _value_at(self._content, key)
        chosen = value if value in names else default
        index = list(names).index(chosen) if chosen in names else None
        more = {"format_func": names.__getitem__, "placeholder": _("not chosen")}
        self._draw(place, place.selectbox, key, label, list(names), index, **more)

    def better(self, place: Any, key: str, higher: Any, lower: Any) -> None:
        """Which score is better; `higher` and `lower` are the values of the file."""
        self.choice(place, key, _("Better is"), {higher: _("the higher score"), lower: _("the lower score")})

    def day(self, place: Any, key: str, label: str) -> None:
        value = _value_at(self._content, key)
        day = value if isinstance(value, date) and not isinstance(value, datetime) else None
        self._draw(place, place.date_input, key, label, day, format="YYYY-MM-DD")

    def _draw(self, place: Any, draw: Any, key: str, *arguments: Any, **more: Any) -> None:
        widget = self._widget_key(key)
        draw(*arguments, key=widget, on_change=_write_field, args=(key, widget), **more)
        self._show_error(place, key)

    def table(self, place: Any, key: str, label: str, titles: Mapping[str, str]) -> None:
        """A table of models or texts; `titles` are those of its columns."""
        widget = self._widget_key(key)
        base = f"{widget} base"
        if base not in st.session_state:  # what a table begins with stays as it is while its rows are edited
            st.session_state[base] = _table_entries(self._content, key)
        schema = {name: pl.Float64 if name.startswith(_SCORE) else pl.String for name in titles}
        # By columns, a cell that is no number is left empty; by rows, polars refuses it.
        cells = {name: [row.get(name) for row in st.session_state[base]] for name in titles}
        number, text = st.column_config.NumberColumn, st.column_config.TextColumn
        place.caption(escape(label))
        place.data_editor(
            pl.DataFrame(cells, schema, strict=False),
            placeholder="",
            num_rows="dynamic",
            column_config={
                name: (number if name.startswith(_SCORE) else text)(title) for name, title in titles.items()
            },
            hide_index=True,
            height="content",
            key=widget,
            on_change=_write_table,
            args=(key, widget, base),
        )
        self._show_error(place, key)

    def show_remaining_error(self) -> None:
        """Draw an error that is about no field of the form."""
        if self._error:
            st.error(escape(str(self._error)), icon=":material/edit_note:")

    def _widget_key(self, key: str) -> str:
        return f"{_GENERATION} {st.session_state[_GENERATION]} {key}"

    def _show_error(self, place: Any, key: str) -> None:
        if self._error and re.match(re.escape(key) + r"\b", self._error_key):
            place.error(escape(self._error.message.parts["problem"]), icon=":material/edit_note:")
            self._error = None


def _value_at(content: Mapping[str, Any], key: str) -> Any:
    """The value of a dotted key."""
    value: Any = content
    for part in key.split("."):
        value = value.get(part) if isinstance(value, Mapping) else None
    return value


def _write_field(key: str, widget: str) -> None:
    """Write an entered value into the file; an empty field removes its key."""
    value = st.session_state[widget]
    content = _parsed_file()
    *parents, name = key.split(".")
    table = content
    for part in parents:
        if not isinstance(table.get(part), dict):
            table[part] = {}
        table = table[part]
    if value in (None, ""):
        table.pop(name, None)
    else:
        table[name] = value
    st.session_state[_FILE] = tomli_w.dumps({name: part for name, part in content.items() if part != {}})


def _table_entries(content: Mapping[str, Any], key: str) -> list[dict[str, Any]]:
    """The models or texts of the file with all their keys; scores stand with their models, each number under a key of its
    own (`score.std_error`)."""
    main, scores = _MAIN[key], _value_at(content, "scores.models")
    entries = []
    for written in content[key] if isinstance(content.get(key), list) else []:
        entry = dict(written) if isinstance(written, dict) else {main: str(written)}
        if key == "models":
            own = entry.pop("score", {})
            score = scores.get(entry.get(main), own) if isinstance(scores, dict) else own
            score = score if isinstance(score, dict) else {"value": score}
            entry |= {f"{_SCORE}{name}": value for name, value in score.items()}
        entries.append(entry)
    return entries


def _write_table(key: str, widget: str, base: str) -> None:
    """Write the edited rows of a table into the file; `base` is the key of the rows that it began with."""
    edits = st.session_state[widget]
    entries = [
        entry | edits["edited_rows"].get(place, {})
        for place, entry in enumerate(st.session_state[base])
        if place not in edits["deleted_rows"]
    ]
    main, content = _MAIN[key], _parsed_file()
    content[key] = []
    for flat in [*entries, *edits["added_rows"]]:
        filled = {name: value for name, value in flat.items() if value not in (None, "")}
        score = {name.removeprefix(_SCORE): filled.pop(name) for name in list(filled) if name.startswith(_SCORE)}
        entry = filled | ({"score": score} if score else {})
        if main in entry:
            content[key].append(entry[main] if set(entry) == {main} else entry)
    if isinstance(content.get("scores"), dict):
        content["scores"].pop("models", None)  # each stands with its model
    st.session_state[_FILE] = tomli_w.dumps(content)


def _n_measurements(pilot: Pilot) -> int:
    """The number of measurements of a pilot; at least, where this version does not know its protocol."""
    from core.runs.pilot_jobs import pilot_measurements

    try:
        return len(pilot_measurements(pilot))
    except InputError:
        return len(pilot.models) * len(pilot.texts)


def _show_registered(row: Mapping[str, Any]) -> None:
    pilot = registration.pilot_from_config(row["config"])
    n_measurements = _n_measurements(pilot)
    with st.container(border=True, horizontal=True, vertical_alignment="center"):
        st.markdown(f"**{escape(pilot.name)}**  \n{escape(pilot.question_in(spoken()))}", width="stretch")
        st.caption(_("{done} of {wanted} measured").format(done=row["n_runs"], wanted=n_measurements))
        if row["n_runs"]:
            inputs.show_link("choose", _("Look at it"), "table_rows", pilot=row["pilot_id"], choose="ranking")
        if row["n_runs"] < n_measurements and st.button(_("Measure what is missing"), key=f"pilot {row['pilot_id']}"):
            _start(pilot)
    _show_log(pilot)


def _start(pilot: Pilot) -> None:
    """Start a process that submits the measurements of a pilot and waits for them."""
    from core.runs.pilot_jobs import require_pilot_idle
    from core.runs.processes import start_verb

    require_pilot_idle(pilot, reads.warehouse())
    start_verb(reads.warehouse(), _log_path(pilot), "pilot", pilot.pilot_id)
    job_cards.expect_more()
    st.rerun()


def _log_path(pilot: Pilot) -> Path:
    return reads.warehouse().path.parent / "pilots" / f"{pilot.pilot_id}.log"


def _show_log(pilot: Pilot) -> None:
    """Draw the log of the process that measured the pilot last."""
    with suppress(OSError):
        lines = _log_path(pilot).read_text(encoding="utf-8", errors="replace").splitlines()[-job_cards.LOG_LINES :]
        if lines:
            with st.expander(_("Log")):
                st.code("\n".join(lines), language=None)
