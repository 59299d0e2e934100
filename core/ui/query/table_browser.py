"""The table browser of the screen Query: the tables and columns of the warehouse, with a search."""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl
import streamlit as st

from core import locale
from core.ui import language, reads
from core.ui.markdown import escape
from core.ui.query import editor
from core.warehouse.schema import Table

_HEIGHT, _ROW_HEIGHT = 360, 88
"""Pixels of the table and of its rows, which hold four lines of a meaning."""


def show() -> None:
    """Draw the columns of one table, or those that contain a word; names can be copied from the rows."""
    _ = language.translator()
    tables = {table.name: table for table in reads.tables()}
    word = st.text_input(_("Search tables and columns"), key="query search", icon=":material/search:").strip()
    if word:
        _show_hits(list(tables.values()), word)
        return
    labels = {name: _("{name} (rows: {n})").format(name=name, n=f"{table.n_rows:,}") for name, table in tables.items()}
    first = list(tables).index("runs")
    chosen = tables[st.selectbox(_("Table"), list(tables), first, labels.__getitem__, key="query table")]
    with st.container(horizontal=True, gap="small", vertical_alignment="center"):
        st.caption(escape(locale.worded(chosen.comment, language.current())))
        st.button(
            _("Show its rows"),
            icon=":material/table_view:",
            key="query rows",
            on_click=editor.fill_and_run,
            args=[f"SELECT * FROM {chosen.name} LIMIT 100"],
        )
    meanings = [
        (column.name, locale.worded(column.comment, language.current()), column.type) for column in chosen.columns
    ]
    _show_columns(meanings, [_("Column"), _("Meaning"), _("Type")])


def _show_hits(tables: list[Table], word: str) -> None:
    """Draw the columns that contain a word in their names or meanings, in English or in the reader's language."""
    _ = language.translator()
    lang = language.current()
    hits = []
    for table in tables:
        about_table = f"{table.name} {table.comment} {locale.worded(table.comment, lang)}"
        for column in table.columns:
            meaning = locale.worded(column.comment, lang)
            if word.lower() in f"{about_table} {column.name} {column.comment} {meaning}".lower():
                hits.append((table.name, column.name, meaning, column.type))
    if hits:
        _show_columns(hits, [_("Table"), _("Column"), _("Meaning"), _("Type")])
    else:
        st.caption(_("No table or column speaks of it."))


def _show_columns(rows: Sequence[tuple[str, ...]], titles: list[str]) -> None:
    st.dataframe(
        pl.DataFrame(rows, schema=titles, orient="row"),
        hide_index=True,
        height=_HEIGHT,
        row_height=_ROW_HEIGHT,
        column_config={titles[0]: st.column_config.Column(pinned=True), titles[-2]: st.column_config.Column(width=195)},
    )
