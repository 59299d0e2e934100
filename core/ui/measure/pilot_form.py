"""A pilot, started from a screen: its file is written or handed over here, checked, registered and measured."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Callable, Collection, Mapping
from contextlib import suppress
from datetime import date, datetime
from pathlib import Path
from typing import Any

import polars as pl
import streamlit as st
import tomli_w

from core.errors import InputError
from core.pilots import registration
from core.pilots.pilot import USE_CLASSES, Pilot
from core.ui import inputs, language, reads, url_state
from core.ui.markdown import escape
from core.ui.measure import job_cards
from core.warehouse.pilots import register_pilot
from core.wording import pilot_sentences

SHIPPED = Path(__file__).resolve().parents[3] / "data" / "pilots"
_TEXT = url_state.key("pilot text")
_HERE = "pilots"
"""Folder beside the warehouse that a pilot written here counts as lying in."""


def show() -> None:
    """The pilots that are registered with how far they are, and a file for a new one."""
    _ = language.translator()
    st.markdown(
        _(
            "A pilot is a comparison that is written down before it is measured: what is decided, its use class, models, "
            "texts, protocol, and one primary benchmark with what is expected of it."
        )
    )
    for row in reads.lists().pilots.to_dicts():
        _registered(row)
    st.subheader(_("A new pilot"))
    _begin_with()
    pilot, problem = _checked(st.session_state[_TEXT])
    _ask(problem)
    with st.expander(_("The same as a file (TOML)")):
        st.text_area(_("Pilot file"), key=_TEXT, height=420, on_change=_begin_anew)
        st.caption(_("A file that is handed over here has no folder: name models and texts by their whole paths."))
    if pilot is None:
        return
    _tell(pilot)
    if st.button(_("Register and measure"), type="primary", icon=":material/play_arrow:", key="pilot start"):
        register_pilot(reads.warehouse(), pilot)  # what speaks against it is told here
        _start(pilot)


def _begin_with() -> None:
    """Fills the text: with a file that comes with Workdim, or one that is handed over."""
    _ = language.translator()
    left, right = st.columns(2)
    names = sorted(path.stem for path in SHIPPED.glob("*.toml"))
    chosen = left.selectbox(_("Begin with a pilot that comes with Workdim"), names, key="pilot shipped")
    with right:
        handed = inputs.upload(_("Or with a file of your own"), ["toml"], "pilot handed", 1)
    source = handed.file_id if handed is not None else chosen
    if st.session_state.get("pilot source") != source or _TEXT not in st.session_state:  # a rerun does not
        st.session_state["pilot source"] = source
        raw = handed.getvalue() if handed is not None else (SHIPPED / f"{chosen}.toml").read_bytes()
        st.session_state[_TEXT] = raw.decode("utf-8", "replace")
        _begin_anew()


# --- the form over the file -------------------------------------------------------------------------------------


_GENERATION = "pilot form"
"""How often the form was filled anew: its fields begin with what the file says and then write into it."""
_MODEL, _TEXT_ROW = ("reference", "score", "std_error"), ("text", "column", "encoding")


def _begin_anew() -> None:
    st.session_state[_GENERATION] = st.session_state.get(_GENERATION, 0) + 1


def _content() -> dict[str, Any]:
    """What the file says; nothing where it is no TOML, which is told at its end."""
    try:
        return tomllib.loads(st.session_state[_TEXT])
    except (tomllib.TOMLDecodeError, RecursionError):
        return {}


def _ask(problem: InputError | None) -> None:
    """Fields and rows for what the file says; whatever is wrong is told at the field that it is about."""
    _ = language.translator()
    lang = language.current()
    form = _Form(_content(), problem)
    left, right = st.columns([3, 2])
    with left:
        form.text("name", _("Name"))
    with right:
        names = {key: pilot_sentences.use_class_name(key, lang) for key in USE_CLASSES}
        form.one_of("use_class", _("Use class"), names)
    form.text("question", _("Question: what is to be decided"))
    left, right = st.columns(2)
    with left:
        named = (_("Model"), _("Own score"), _("Standard error"))
        form.rows("models", _("Models"), dict(zip(_MODEL, named, strict=True)), numbers=_MODEL[1:])
    with right:
        named = (_("Text"), _("Column"), _("Encoding"))
        form.rows("texts", _("Texts"), dict(zip(_TEXT_ROW, named, strict=True)))
    from core.runs.requests import protocol_names

    _side_by_side(
        lambda: form.one_of("protocol", _("Protocol"), {key: key for key in protocol_names()}, "quick"),
        lambda: form.text("decided_by", _("Who decides")),
        lambda: form.day("decide_by", _("To be decided by")),
    )
    st.markdown(f"**{escape(_('The one primary benchmark, and what is expected of it'))}**")
    _side_by_side(
        lambda: form.text("benchmark.name", _("Benchmark")),
        lambda: form.text("benchmark.metric", _("Metric")),
        lambda: form.better("benchmark.direction", "higher", "lower"),
    )
    form.text("benchmark.expectation", _("Expectation, in words"))
    signs = {
        "negative": _("fewer dimensions go with better results"),
        "positive": _("more dimensions go with better results"),
        "none": _("no relation"),
    }
    _side_by_side(
        lambda: form.one_of("benchmark.sign", _("Expected relation of dimension and performance"), signs),
        lambda: form.day("benchmark.frozen", _("Written down on")),
    )
    st.markdown(f"**{escape(_('A task of your own, if the models have scores on it'))}**")
    _side_by_side(
        lambda: form.text("scores.task", _("Task")),
        lambda: form.text("scores.unit", _("Unit")),
        lambda: form.better("scores.higher_is_better", True, False),
    )
    form.tell_what_is_left()


def _side_by_side(*fields: Callable[[], None]) -> None:
    """Fields of one row, each as wide as the others."""
    for column, draw in zip(st.columns(len(fields)), fields, strict=True):
        with column:
            draw()


class _Form:
    """Fields that begin with what a pilot file says, and write what is entered into it."""

    def __init__(self, content: dict[str, Any], problem: InputError | None) -> None:
        self._content, self._problem = content, problem
        self._about = _key_of(problem) if problem else ""
        self._is_told = problem is None

    def text(self, key: str, label: str) -> None:
        held = _held(self._content, key)
        own = self._widget(key)
        st.text_input(label, "" if held is None else str(held), key=own, on_change=_write, args=(key, own))
        self._tell(key)

    def one_of(self, key: str, label: str, names: Mapping[Any, str], otherwise: Any = None) -> None:
        _ = language.translator()
        held = _held(self._content, key)
        options = list(names)
        at = options.index(held) if held in names else (options.index(otherwise) if otherwise in names else None)
        own = self._widget(key)
        st.selectbox(
            label,
            options,
            at,
            names.__getitem__,
            key=own,
            placeholder=_("not chosen"),
            on_change=_write,
            args=(key, own),
        )
        self._tell(key)

    def better(self, key: str, higher: Any, lower: Any) -> None:
        """Which score is better; `higher` and `lower` are how the file says so."""
        _ = language.translator()
        self.one_of(key, _("Better is"), {higher: _("the higher score"), lower: _("the lower score")})

    def day(self, key: str, label: str) -> None:
        held = _held(self._content, key)
        own = self._widget(key)
        value = held if isinstance(held, date) and not isinstance(held, datetime) else None
        st.date_input(label, value, key=own, format="YYYY-MM-DD", on_change=_write, args=(key, own))
        self._tell(key)

    def rows(self, key: str, label: str, names: Mapping[str, str], numbers: Collection[str] = ()) -> None:
        own = self._widget(key)
        base = f"{own} base"
        if base not in st.session_state:  # what a table begins with stays as it is while its rows are edited
            st.session_state[base] = _entries(self._content, key)
        schema = {name: pl.Float64 if name in numbers else pl.String for name in names}
        shown = pl.DataFrame([_shown(one, names) for one in st.session_state[base]], schema, strict=False)
        columns = {
            name: st.column_config.NumberColumn(told) if name in numbers else st.column_config.TextColumn(told)
            for name, told in names.items()
        }
        st.caption(escape(label))
        st.data_editor(
            shown, placeholder="", num_rows="dynamic", column_config=columns, hide_index=True, height="content", key=own,
            on_change=_write_rows, args=(key, own, base),
        )  # fmt: skip
        self._tell(key)

    def tell_what_is_left(self) -> None:
        """An error that is about no field of the form."""
        if self._problem and not self._is_told:
            st.error(escape(str(self._problem)), icon=":material/edit_note:")

    def _widget(self, key: str) -> str:
        return f"{_GENERATION} {st.session_state[_GENERATION]} {key}"

    def _tell(self, key: str) -> None:
        if self._problem and not self._is_told and re.match(re.escape(key) + r"\b", self._about):
            st.error(escape(self._problem.message.parts["problem"]), icon=":material/edit_note:")
            self._is_told = True


def _key_of(problem: InputError) -> str:
    """`benchmark.frozen`, `models[1].score`: what the error is about, as its sentence begins."""
    told = problem.message.parts.get("problem", "")
    return str(getattr(told, "parts", {}).get("key", told))


def _held(content: Mapping[str, Any], key: str) -> Any:
    """What stands under a dotted key."""
    value: Any = content
    for part in key.split("."):
        value = value.get(part) if isinstance(value, Mapping) else None
    return value


def _write(key: str, widget: str) -> None:
    """The file with what was entered; an empty field is a key less."""
    value = st.session_state[widget]
    content = _content()
    *above, last = key.split(".")
    table = content
    for part in above:
        if not isinstance(table.get(part), dict):
            table[part] = {}
        table = table[part]
    if value in (None, ""):
        table.pop(last, None)
    else:
        table[last] = value
    st.session_state[_TEXT] = tomli_w.dumps({name: part for name, part in content.items() if part != {}})


def _entries(content: Mapping[str, Any], key: str) -> list[dict[str, Any]]:
    """The models or texts of the file as tables, whatever else they hold; scores stand with their models."""
    first = "reference" if key == "models" else "text"
    held = content.get(key)
    found = [one if isinstance(one, dict) else {first: str(one)} for one in (held if isinstance(held, list) else [])]
    scores = _held(content, "scores.models")
    if key == "models" and isinstance(scores, dict):
        found = [one | ({"score": scores[one[first]]} if one.get(first) in scores else {}) for one in found]
    return found


def _shown(entry: Mapping[str, Any], names: Collection[str]) -> dict[str, Any]:
    score = entry.get("score")
    numbers = {"score": score.get("value"), "std_error": score.get("std_error")} if isinstance(score, dict) else {}
    return {name: {**entry, **numbers}.get(name) for name in names}


def _write_rows(key: str, widget: str, base: str) -> None:
    """What was changed in the rows, over what they began with."""
    changed = st.session_state[widget]
    rows = [dict(one) for one in st.session_state[base]]
    for at, values in changed["edited_rows"].items():
        rows[int(at)] = _changed(rows[int(at)], values)
    rows = [one for at, one in enumerate(rows) if at not in changed["deleted_rows"]]
    rows += [_changed({}, values) for values in changed["added_rows"]]
    first = "reference" if key == "models" else "text"
    content = _content()
    content[key] = [one[first] if set(one) == {first} else one for one in rows if one.get(first)]
    if isinstance(content.get("scores"), dict):
        content["scores"].pop("models", None)  # each stands with its model
    st.session_state[_TEXT] = tomli_w.dumps(content)


def _changed(entry: Mapping[str, Any], values: Mapping[str, Any]) -> dict[str, Any]:
    found = dict(entry)
    score = found.get("score")
    score = dict(score) if isinstance(score, dict) else {} if score is None else {"value": score}
    for name, value in values.items():
        held, own = (score, {"score": "value"}.get(name, name)) if name in _MODEL[1:] else (found, name)
        if value in (None, ""):
            held.pop(own, None)
        else:
            held[own] = value
    found.pop("score", None)
    return found | ({"score": score} if score else {})


def _checked(text: str) -> tuple[Pilot | None, InputError | None]:
    """The pilot of the text, or why it is none."""
    from core.pilots.registration import parse_pilot
    from core.runs.requests import protocol_names, text_names

    try:
        return parse_pilot(text, reads.warehouse().path.parent / _HERE, protocol_names(), text_names()), None
    except InputError as error:
        return None, error


def _tell(pilot: Pilot) -> None:
    _ = language.translator()
    lang = language.current()
    told = _(
        "Models: {models}; texts: {texts}; protocol: {protocol}. Use class: {use_class}. Primary benchmark: {benchmark}."
    )
    st.markdown(
        told.format(
            models=len(pilot.models),
            texts=len(pilot.texts),
            protocol=escape(pilot.protocol),
            use_class=pilot_sentences.use_class_name(pilot.use_class, lang),
            benchmark=escape(pilot_sentences.benchmark_text(pilot.benchmark, lang)),
        )
    )


def _wanted(pilot: Pilot) -> int:
    """Measurements that it stands for; of a protocol that this version does not know, the least."""
    from core.runs.pilot_jobs import pilot_measurements

    try:
        return len(pilot_measurements(pilot))
    except InputError:
        return len(pilot.models) * len(pilot.texts)


def _registered(row: Mapping[str, Any]) -> None:
    _ = language.translator()
    pilot = registration.pilot_from_config(row["config"])
    wanted = _wanted(pilot)
    with st.container(border=True, horizontal=True, vertical_alignment="center"):
        st.markdown(f"**{escape(pilot.name)}**  \n{escape(pilot.question)}", width="stretch")
        st.caption(_("{done} of {wanted} measured").format(done=row["n_runs"], wanted=wanted))
        if row["n_runs"]:
            st.page_link(
                "pages/ranking.py",
                label=_("Look at it"),
                icon=":material/table_rows:",
                query_params={"pilot": row["pilot_id"]},
            )
        if row["n_runs"] < wanted and st.button(_("Measure what is missing"), key=f"pilot {row['pilot_id']}"):
            _start(pilot)
    _told(pilot)


def _start(pilot: Pilot) -> None:
    """In a process of its own, which submits the measurements and waits for them."""
    from core.runs.pilot_jobs import require_pilot_idle
    from core.runs.processes import start_verb

    require_pilot_idle(pilot, reads.warehouse())
    start_verb(reads.warehouse(), _log_of(pilot), "pilot", pilot.pilot_id)
    job_cards.expect_more()
    st.rerun()


def _log_of(pilot: Pilot) -> Path:
    return reads.warehouse().path.parent / "pilots" / f"{pilot.pilot_id}.log"


def _told(pilot: Pilot) -> None:
    """What the process said that measured the pilot last."""
    with suppress(OSError):
        lines = _log_of(pilot).read_text(encoding="utf-8", errors="replace").splitlines()[-job_cards.LOG_LINES :]
        if lines:
            with st.expander(language.translator()("Log")):
                st.code("\n".join(lines), language=None)
