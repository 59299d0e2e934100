"""How much room could be had back on the disk, said where measurements are started."""

from __future__ import annotations

from pathlib import Path

import streamlit as st

from core.ui import language, reads

LEAST = 10_000_000
"""Bytes below which it is not worth a line."""


def show() -> None:
    _ = language.translator()
    n_bytes = _cleanable(reads.warehouse().path)
    if n_bytes > LEAST:
        line = _("{size} GB of models, conversions and deleted runs could be cleaned away: `python -m core cache`")
        st.caption(line.format(size=f"{n_bytes / 1e9:.2f}"))


@st.cache_data(max_entries=2, ttl=60, show_spinner=False)
def _cleanable(path: Path) -> int:
    from core.runs.caches import caches
    from core.warehouse.warehouse import Warehouse

    return sum(one.n_bytes for one in caches(Warehouse(path), only_cleanable=True))
