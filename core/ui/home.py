"""The newest runs of the warehouse, on the home screen."""

from __future__ import annotations

import polars as pl
import streamlit as st

from core import wording
from core.ui import language, tables


def show(runs: pl.DataFrame, shown: pl.DataFrame) -> None:
    """Runs on text only: a control pass says nothing without the run that it belongs to."""
    _ = language.translator()
    texts = runs.filter(pl.col("pass") == "text")
    tables.show(tables.overview(shown), "latest")
    if texts.height > shown.height:
        st.caption(_("The newest {n} of {total} runs.").format(n=shown.height, total=texts.height))
    if texts.height < runs.height:
        n = runs.height - texts.height
        st.caption(_("Control passes not listed here: {n}. Profiles draw them with their runs.").format(n=n))
    if "veto" in shown["worst_check"]:
        st.caption(wording.veto_note(language.current()))
