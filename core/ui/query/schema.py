"""What can be asked about: tables and columns with their meaning, beside the editor."""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl
import streamlit as st

from core.ui import language, reads
from core.ui.markdown import escape
from core.ui.query import editor
from core.warehouse.schema import Table

_HEIGHT = 280


def show() -> None:
    """One table at a time, or whatever a word is found in. Names can be copied out of the rows."""
    _ = language.translator()
    tables = {table.name: table for table in reads.tables()}
    word = st.text_input(_("Search tables and columns"), key="query search", icon=":material/search:").strip()
    if word:
        _found(list(tables.values()), word)
        return
    label = {name: _("{name} (rows: {n})").format(name=name, n=f"{table.n_rows:,}") for name, table in tables.items()}
    first = list(tables).index("runs")
    chosen = tables[st.selectbox(_("Table"), list(tables), first, label.__getitem__, key="query table")]
    with st.container(horizontal=True, gap="small", vertical_alignment="center"):
        st.caption(escape(chosen.comment))
        st.button(
            _("Show its rows"),
            icon=":material/table_view:",
            key="query rows",
            on_click=editor.fill,
            args=[f"SELECT * FROM {chosen.name} LIMIT 100"],
        )
    _columns(
        [(column.name, column.type, column.comment) for column in chosen.columns],
        [_("Column"), _("Type"), _("Meaning")],
    )


def _found(tables: list[Table], word: str) -> None:
    _ = language.translator()
    hits = [
        (table.name, column.name, column.type, column.comment)
        for table in tables
        for column in table.columns
        if word.lower() in f"{table.name} {table.comment} {column.name} {column.comment}".lower()
    ]
    if hits:
        _columns(hits, [_("Table"), _("Column"), _("Type"), _("Meaning")])
    else:
        st.caption(_("No table or column speaks of it."))


def _columns(rows: Sequence[tuple[str, ...]], titles: list[str]) -> None:
    st.dataframe(
        pl.DataFrame(rows, schema=titles, orient="row"),
        hide_index=True,
        height=_HEIGHT,
        column_config={titles[0]: st.column_config.Column(pinned=True)},
    )
