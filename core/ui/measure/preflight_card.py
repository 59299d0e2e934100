"""The card before a measurement (core.records.Preflight): what it takes, and what speaks against it."""

from __future__ import annotations

import streamlit as st

from core.records import Preflight
from core.ui import language
from core.ui.markdown import escape
from core.wording.numbers import amount, duration


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
