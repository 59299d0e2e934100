"""What a statement of the screen Query is written with: the editor, and the tables and columns with their meanings.

A statement is typed, or comes from a link, an example or a saved query.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import polars as pl
import streamlit as st

from core.errors import InputError, unknown_name
from core.locale import _, in_language, translated, worded
from core.sql import gate
from core.sql.examples import EXAMPLES
from core.sql.sandbox import MAX_CHARACTERS
from core.store.user_files import MAX_NAME_LENGTH
from core.ui import inputs, language, reads, url_state
from core.ui.markdown import escape
from core.ui.query import answer
from core.ui.tables import show_plain
from core.warehouse.people import delete_query, find_query, save_query
from core.warehouse.schema import Column, Table

MAX_LINK_LENGTH = 3_000
"""Characters of a statement that a link may hold: browsers and mail programs cut long addresses."""
TIME_LIMITS = (10, 60, 300)
_EDITOR_HEIGHT = 150
"""Pixels: the answer stands below, and begins within the first 800 of a page."""
_HEIGHT, _ROW_HEIGHT, _MEANING_WIDTH = 150, 68, 245
"""Pixels of the table of columns, which is as high as the editor beside it, and of its rows and meanings, of three lines."""
_TEXT = "query text"
_LAST_TEXT = "query kept"
_RUN_NOW = "query asked"
_LINKED = "query of a link"
_SAVING = "query being saved"
_PARAMETERS = ("saved", "example", "sql")
_MONOSPACED = "<style>.st-key-statement textarea {font-family: 'Source Code Pro', monospace; font-size: 0.9rem}</style>"


def query_form() -> tuple[str, float] | None:
    """Draw the editor with examples and saved queries; returns the statement to run, with its limit in seconds, or None."""
    _apply_link()
    # Streamlit forgets the text of an editor that another page did not draw; set at every run, it would undo what is typed.
    st.session_state.setdefault(_TEXT, st.session_state.get(_LAST_TEXT, ""))
    examples = {name: example.statement() for name, example in EXAMPLES.items()}
    with st.container(horizontal=True, gap="small"):
        _show_statements(
            _("Examples"),
            "query example",
            examples,
            _("Choose a question"),
            lambda name: translated(EXAMPLES[name].title),
        )
        if saved := {row.name: row.sql for row in reads.saved_queries()}:
            _show_statements(_("Saved queries"), "query saved", saved, _("Choose a query"))
    st.html(_MONOSPACED)
    with st.container(key="statement"), st.form("statement form", border=False):
        sql = st.text_area(
            _("SQL"),
            key=_TEXT,
            height=_EDITOR_HEIGHT,
            max_chars=MAX_CHARACTERS,
            placeholder="SELECT * FROM runs",
            help=_("Ctrl+Enter runs it."),
        )
        with st.container(horizontal=True, gap="small", vertical_alignment="bottom"):
            runs = st.form_submit_button(_("Run the query"), type="primary", icon=":material/play_arrow:")
            saves = inputs.may_write() and st.form_submit_button(_("Save..."), icon=":material/bookmark_add:")
            seconds = st.selectbox(
                _("Time limit"),
                TIME_LIMITS,
                format_func={n: _("{n} seconds").format(n=n) for n in TIME_LIMITS}.__getitem__,
                width=130,
                label_visibility="collapsed",
            )
    st.session_state[_LAST_TEXT] = sql
    if st.session_state.get(_LINKED) == sql and not runs:
        st.caption(_("From a link: read it, then run it."))
    if saves:
        st.session_state[_SAVING] = sql
    _show_name_form()
    _show_saved_as(sql)
    run_now = st.session_state.pop(_RUN_NOW, False)
    return (sql, seconds) if runs or run_now else None


def fill_and_run(sql: str) -> None:
    """Put a statement into the editor and run it; to be called before the editor is drawn."""
    st.session_state[_TEXT] = st.session_state[_LAST_TEXT] = sql
    st.session_state[_RUN_NOW] = True


def publish_statement(sql: str) -> None:
    """Make the address lead to the statement shown, or say why it does not."""
    params = _url_params(sql)
    for name in _PARAMETERS:
        url_state.publish(name, params.get(name, ""))
    if not params:
        message = _("Too long for a link ({n} of {most} characters): save the query.")
        st.caption(message.format(n=f"{len(sql):,}", most=f"{MAX_LINK_LENGTH:,}"))


def _url_params(sql: str) -> dict[str, str]:
    """The parameters of a link to a statement: its name where it has one, which is short and follows later changes."""
    saved = {row.sql: row.name for row in reads.saved_queries()}
    examples = {
        in_language(lang, example.statement): name for name, example in EXAMPLES.items() for lang in language.LANGUAGES
    }
    if sql.strip() in saved:
        return {"saved": saved[sql.strip()]}
    if sql in examples:
        return {"example": examples[sql]}
    return {"sql": sql} if len(sql) <= MAX_LINK_LENGTH else {}


def _apply_link() -> None:
    """Fill the editor from a link. The statement is not run: the author of a link must not make the reader's machine work."""
    params = {name: text for name in _PARAMETERS if (text := url_state.from_link(name)) is not None}
    if not params:
        return
    for name, text in params.items():
        url_state.publish(name, text)  # the link is dealt with
    try:
        st.session_state[_TEXT] = st.session_state[_LAST_TEXT] = st.session_state[_LINKED] = _linked_statement(params)
        answer.discard()
    except InputError as error:
        st.error(escape(str(error)), icon=":material/error:")


def _linked_statement(params: dict[str, str]) -> str:
    if "saved" in params:
        return find_query(reads.warehouse(), params["saved"]).sql
    if "example" not in params:
        return params["sql"]
    if params["example"] not in EXAMPLES:
        raise InputError(unknown_name("example", params["example"], EXAMPLES))
    return EXAMPLES[params["example"]].statement()


def _show_statements(
    label: str, key: str, statements: dict[str, str], placeholder: str, format_func: Callable[[str], str] = str
) -> None:
    """Draw a list of statements by name; a choice runs one and leaves the list empty again."""

    def run_chosen() -> None:
        if name := st.session_state[key]:
            fill_and_run(statements[name])
        st.session_state[key] = None

    st.selectbox(
        label,
        list(statements),
        index=None,
        key=key,
        on_change=run_chosen,
        placeholder=placeholder,
        format_func=format_func,
    )


@inputs.hidden_when_read_only
def _show_name_form() -> None:
    """Draw the form that names the statement to be saved; a saved query is replaced only on demand."""
    sql = st.session_state.get(_SAVING)
    if sql is None:
        return
    with st.container(border=True, gap="small"):
        name = st.text_input(_("Name"), max_chars=MAX_NAME_LENGTH, key="query name").strip()
        note = st.text_input(_("Note"), key="query note")
        is_taken = name in [row.name for row in reads.saved_queries()]
        replace = is_taken and st.checkbox(_("Replace the saved query of this name"), key="query replace")
        with st.container(horizontal=True, gap="small"):
            is_closed = st.button(_("Close"), key="query close")
            is_saved = st.button(
                _("Save"), type="primary", disabled=not name or (is_taken and not replace), key="query save"
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
def _show_saved_as(sql: str) -> None:
    """Draw the name and note of the saved query in the editor, and its deletion."""
    query = next((row for row in reads.saved_queries() if row.sql == sql.strip()), None)
    if query is None:
        return
    with st.container(horizontal=True, gap="small", vertical_alignment="center"):
        text = _("Saved as {name}.").format(name=query.name)
        st.caption(escape(f"{text} {query.note or ''}".strip()))
        with st.popover(_("Delete..."), icon=":material/delete:"):
            st.markdown(_("Delete the saved query {name}?").format(name=f"**{escape(query.name)}**"))
            if st.button(_("Delete"), key="query delete"):
                delete_query(reads.warehouse(), query.name)
                st.rerun()


# --- tables and columns -------------------------------------------------------------------------------------------


def show_tables() -> None:
    """Draw the columns of one table, or those that contain a word; names can be copied from the rows."""
    tables = {table.name: table for table in reads.tables()}
    table_column, search_column = st.columns(2)
    word = search_column.text_input(
        _("Search tables and columns"), key="query search", icon=":material/search:"
    ).strip()
    if word:  # in names or meanings, in English or in the reader's language
        hits = [
            (table.name, column.name, worded(column.comment), column.type)
            for table in tables.values()
            for column in table.columns
            if word.lower() in f"{_searched_text(table)} {_searched_text(column)}".lower()
        ]
        if hits:
            _show_columns(hits, [_("Table"), _("Column"), _("Meaning"), _("Type")])
        else:
            st.caption(_("No table or column speaks of it."))
        return
    labels = {
        name: name if table.n_rows is None else _("{name} (rows: {n})").format(name=name, n=f"{table.n_rows:,}")
        for name, table in tables.items()
    }
    first = list(tables).index("runs")
    chosen = tables[table_column.selectbox(_("Table"), list(tables), first, labels.__getitem__, key="query table")]
    meanings = [(column.name, worded(column.comment), column.type) for column in chosen.columns]
    _show_columns(meanings, [_("Column"), _("Meaning"), _("Type")])
    st.button(
        _("Show its rows"),
        icon=":material/table_view:",
        key="query rows",
        help=escape(worded(chosen.comment)),
        on_click=fill_and_run,
        args=[f"SELECT * FROM {chosen.name} LIMIT 100"],
    )


def _searched_text(what: Table | Column) -> str:
    return f"{what.name} {what.comment} {worded(what.comment)}"


def _show_columns(rows: Sequence[tuple[str, ...]], titles: list[str]) -> None:
    show_plain(
        pl.DataFrame(rows, schema=titles, orient="row"),
        height=_HEIGHT,
        row_height=_ROW_HEIGHT,
        column_config={
            titles[0]: st.column_config.Column(pinned=True),
            titles[-2]: st.column_config.Column(width=_MEANING_WIDTH),
        },
    )
