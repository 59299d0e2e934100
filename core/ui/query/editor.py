"""Where a statement comes from: typed, from a link, from the examples or from the saved queries."""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl
import streamlit as st

from core import locale
from core.errors import InputError, unknown_name
from core.sql import gate
from core.sql.examples import EXAMPLES, TITLES, statement
from core.sql.sandbox import MAX_CHARACTERS
from core.ui import inputs, language, reads
from core.ui.markdown import escape
from core.ui.query import execution
from core.ui.query.execution import Request
from core.warehouse.saved_queries import MAX_NAME_LENGTH, delete_query, find_query, save_query
from core.warehouse.schema import Table

MAX_LINK = 3_000
"""Characters of a statement that a link may hold: browsers and mail programs cut long addresses."""
TIME_LIMITS = (10, 60, 300)
_TEXT = "query text"
_KEPT = "query kept"
_ASKED = "query asked"
_LINKED = "query of a link"
_PUBLISHED = "query published"
_PARAMETERS = ("saved", "example", "sql")
_MONOSPACED = "<style>.st-key-statement textarea {font-family: 'Source Code Pro', monospace; font-size: 0.9rem}</style>"


def ask() -> Request | None:
    """The editor with what it can be filled from; None where nothing new is asked for."""
    _ = language.translator()
    _take_link()
    # Streamlit forgets the text of an editor that another page did not draw.
    st.session_state.setdefault(_TEXT, st.session_state.get(_KEPT, ""))
    with st.container(horizontal=True, gap="small"):
        _pick_example()
        _pick_saved()
    st.html(_MONOSPACED)
    with st.container(key="statement"), st.form("statement form", border=False):
        sql = st.text_area(
            _("SQL"),
            key=_TEXT,
            height=280,
            max_chars=MAX_CHARACTERS,
            placeholder="SELECT * FROM runs",
            help=_("Ctrl+Enter runs it."),
        )
        with st.container(horizontal=True, gap="small", vertical_alignment="bottom"):
            is_run = st.form_submit_button(_("Run the query"), type="primary", icon=":material/play_arrow:")
            is_saved = inputs.may_write() and st.form_submit_button(_("Save..."), icon=":material/bookmark_add:")
            seconds = st.selectbox(
                _("Time limit"),
                TIME_LIMITS,
                format_func=lambda n: _("{n} seconds").format(n=n),
                width=160,
                label_visibility="collapsed",
            )
    st.session_state[_KEPT] = sql
    if st.session_state.get(_LINKED) == sql and not is_run:
        st.caption(_("This query came with a link. Read it, then run it."))
    if is_saved:
        ask_for_name(sql)
    show_form()
    show_current(sql)
    from_elsewhere = st.session_state.pop(_ASKED, False)
    return Request(sql, seconds) if is_run or from_elsewhere else None


def fill(sql: str) -> None:
    """Put a statement into the editor and have it run; to be called before the editor is drawn."""
    st.session_state[_TEXT] = st.session_state[_KEPT] = sql
    st.session_state[_ASKED] = True


def publish(sql: str) -> None:
    """Make the address lead to what is shown, or say why it does not."""
    _ = language.translator()
    params = _address(sql)
    for key in _PARAMETERS:
        if key in params:
            st.query_params[key] = params[key]
        else:
            st.query_params.pop(key, None)
    st.session_state[_PUBLISHED] = params
    if not params:
        line = _(
            "This statement is too long for a link ({n} characters; at most {most}). Save it: the address of a saved "
            "query is short."
        )
        st.caption(line.format(n=f"{len(sql):,}", most=f"{MAX_LINK:,}"))


def _address(sql: str) -> dict[str, str]:
    """By name where it has one: such an address is short, and a saved query may be mended behind it."""
    saved = {row.sql: row.name for row in reads.saved_queries()}
    examples = {statement(name, locale.translator(spoken)): name for name in EXAMPLES for spoken in language.LANGUAGES}
    if sql.strip() in saved:
        return {"saved": saved[sql.strip()]}
    if sql in examples:
        return {"example": examples[sql]}
    return {"sql": sql} if len(sql) <= MAX_LINK else {}


def _take_link() -> None:
    """A parameter that we did not write ourselves comes from a link, and a link wins.

    It only fills the editor: whoever makes a link shall not make the reader's machine work.
    """
    params = {key: st.query_params[key] for key in _PARAMETERS if key in st.query_params}
    if not params or params == st.session_state.get(_PUBLISHED):
        return
    st.session_state[_PUBLISHED] = params
    try:
        st.session_state[_TEXT] = st.session_state[_KEPT] = st.session_state[_LINKED] = _linked(params)
        execution.forget()
    except InputError as error:
        st.error(escape(str(error)), icon=":material/error:")


def _linked(params: dict[str, str]) -> str:
    if "saved" in params:
        return find_query(reads.warehouse(), params["saved"]).sql
    if "example" not in params:
        return params["sql"]
    if params["example"] not in EXAMPLES:
        raise InputError(unknown_name("example", params["example"], EXAMPLES))
    return statement(params["example"], language.translator())


def _pick_example() -> None:
    _ = language.translator()

    def take() -> None:
        if name := st.session_state["query example"]:
            fill(statement(name, language.translator()))
        st.session_state["query example"] = None

    st.selectbox(
        _("Examples"),
        list(EXAMPLES),
        index=None,
        key="query example",
        on_change=take,
        placeholder=_("Choose a question"),
        format_func=lambda name: language.translator()(TITLES[name]),
    )


def _pick_saved() -> None:
    _ = language.translator()
    saved = {row.name: row for row in reads.saved_queries()}

    def take() -> None:
        if name := st.session_state["query saved"]:
            fill(saved[name].sql)
        st.session_state["query saved"] = None

    if saved:
        st.selectbox(
            _("Saved queries"),
            list(saved),
            index=None,
            key="query saved",
            on_change=take,
            placeholder=_("Choose a query"),
        )


_SAVING = "query being saved"


@inputs.hidden_when_read_only
def ask_for_name(sql: str) -> None:
    """From now on the form for the name of this statement is drawn, until it is filled in or closed."""
    st.session_state[_SAVING] = sql


@inputs.hidden_when_read_only
def show_form() -> None:
    """Asks for the name; one that is taken is replaced only by whoever says so."""
    sql = st.session_state.get(_SAVING)
    if sql is None:
        return
    _ = language.translator()
    with st.container(border=True, gap="small"):
        name = st.text_input(_("Name"), max_chars=MAX_NAME_LENGTH, key="query name").strip()
        note = st.text_input(_("Note"), key="query note")
        taken = name in [row.name for row in reads.saved_queries()]
        replace = taken and st.checkbox(_("Replace the saved query of this name"), key="query replace")
        with st.container(horizontal=True, gap="small"):
            is_closed = st.button(_("Close"), key="query close")
            is_saved = st.button(
                _("Save"), type="primary", disabled=not name or (taken and not replace), key="query save"
            )
        if is_saved:
            try:
                gate.check_statement(sql)
                save_query(reads.warehouse(), name, sql, note, replace=replace)
            except InputError as error:
                st.error(escape(str(error)))
                return
        if is_saved or is_closed:
            st.session_state.pop(_SAVING)
            st.rerun()


@inputs.hidden_when_read_only
def show_current(sql: str) -> None:
    """Which saved query stands in the editor, its note, and a way to forget it."""
    _ = language.translator()
    current = next((row for row in reads.saved_queries() if row.sql == sql.strip()), None)
    if current is None:
        return
    with st.container(horizontal=True, gap="small", vertical_alignment="center"):
        told = _("Saved as {name}.").format(name=current.name)
        st.caption(escape(f"{told} {current.note or ''}".strip()))
        with st.popover(_("Delete..."), icon=":material/delete:"):
            st.markdown(_("Forget the saved query {name}?").format(name=f"**{escape(current.name)}**"))
            if st.button(_("Delete"), key="query delete"):
                delete_query(reads.warehouse(), current.name)
                st.rerun()


_HEIGHT, _ROW_HEIGHT = 360, 88
"""Pixels of the list and of its rows, in which a meaning has four lines."""


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
        st.caption(escape(locale.worded(chosen.comment, language.current())))
        st.button(
            _("Show its rows"),
            icon=":material/table_view:",
            key="query rows",
            on_click=fill,
            args=[f"SELECT * FROM {chosen.name} LIMIT 100"],
        )
    meanings = [(one.name, locale.worded(one.comment, language.current()), one.type) for one in chosen.columns]
    _columns(meanings, [_("Column"), _("Meaning"), _("Type")])


def _found(tables: list[Table], word: str) -> None:
    """By name, and by meaning in English or in the reader's language."""
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
        _columns(hits, [_("Table"), _("Column"), _("Meaning"), _("Type")])
    else:
        st.caption(_("No table or column speaks of it."))


def _columns(rows: Sequence[tuple[str, ...]], titles: list[str]) -> None:
    st.dataframe(
        pl.DataFrame(rows, schema=titles, orient="row"),
        hide_index=True,
        height=_HEIGHT,
        row_height=_ROW_HEIGHT,
        column_config={titles[0]: st.column_config.Column(pinned=True), titles[-2]: st.column_config.Column(width=195)},
    )
