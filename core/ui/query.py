"""The screen Query: a statement is typed, or comes from a link, an example or a saved query, beside the tables and columns with their
meanings; it runs, then its rows, downloads and a chart are drawn. Cells are shown as text and never run as markup.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

import polars as pl
import streamlit as st

from core import exports, wording
from core.errors import InputError, QueryError, unknown_name
from core.figures import query_chart
from core.figures.query_chart import KINDS, ChartChoice, default_choice, grouping_columns, numeric_columns, query_points
from core.ids import MAX_NAME
from core.locale import _, translated, worded
from core.sql import sandbox
from core.sql.examples import EXAMPLES
from core.sql.sandbox import MAX_CHARACTERS, SqlResult
from core.ui import inputs, pictures, reads, tables, url_state
from core.ui.language import escape, show_error
from core.warehouse.people import delete_query, find_query, save_query

MAX_LINK_LENGTH = 3_000
"""Characters of a statement that a link may hold: browsers and mail programs cut long addresses."""
TIME_LIMITS = (10, 60, 300)
_EDITOR_HEIGHT = 150
"""Pixels: the answer stands below, and begins within the first 800 of a page."""
_TABLE_HEIGHT, _MEANING_HEIGHT, _MEANING_WIDTH = 150, 68, 245
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
    examples = {translated(example.title): example.statement() for example in EXAMPLES.values()}
    with inputs.row():
        _show_statements(_("Examples"), "query example", examples)
        if saved := {row.name: row.sql for row in reads.saved_queries()}:
            _show_statements(_("Saved queries"), "query saved", saved)
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
        with inputs.row():
            runs = st.form_submit_button(_("Run the query"), type="primary", icon=":material/play_arrow:")
            saves = inputs.may_write() and st.form_submit_button(_("Save..."), icon=":material/bookmark_add:")
            seconds = st.selectbox(
                _("Time limit"),
                TIME_LIMITS,
                format_func={n: _("{n} seconds", n=n) for n in TIME_LIMITS}.__getitem__,
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
    """Make the address lead to the statement shown, by its name where it has one, or say why it does not."""
    saved = {row.sql: row.name for row in reads.saved_queries()}
    examples = {example.statement(): name for name, example in EXAMPLES.items()}
    params = {"sql": sql} if len(sql) <= MAX_LINK_LENGTH else {}
    if sql.strip() in saved:
        params = {"saved": saved[sql.strip()]}
    elif sql in examples:
        params = {"example": examples[sql]}
    for name in _PARAMETERS:
        url_state.publish(name, params.get(name, ""))
    if not params:
        st.caption(_("Longer than a link can be ({most} characters): save the query.", most=f"{MAX_LINK_LENGTH:,}"))


def _apply_link() -> None:
    """Fill the editor from a link. The statement is not run: the author of a link must not make the reader's machine work."""
    params = {name: text for name in _PARAMETERS if (text := url_state.from_link(name)) is not None}
    if not params:
        return
    for name, text in params.items():
        url_state.publish(name, text)  # the link is dealt with
    try:
        if "saved" in params:
            sql = find_query(reads.warehouse(), params["saved"]).sql
        elif "example" not in params:
            sql = params["sql"]
        elif params["example"] in EXAMPLES:
            sql = EXAMPLES[params["example"]].statement()
        else:
            raise InputError(unknown_name("example", params["example"], EXAMPLES))
        st.session_state[_TEXT] = st.session_state[_LAST_TEXT] = st.session_state[_LINKED] = sql
        discard()
    except InputError as error:
        show_error(error)


def _show_statements(label: str, key: str, statements: dict[str, str]) -> None:
    """Draw a list of statements by name; a choice runs one and leaves the list empty again."""

    def run_chosen() -> None:
        if name := st.session_state[key]:
            fill_and_run(statements[name])
        st.session_state[key] = None

    placeholder = _("Choose a query")
    st.selectbox(label, list(statements), None, key=key, on_change=run_chosen, placeholder=placeholder)


@inputs.hidden_when_read_only
def _show_name_form() -> None:
    """Draw the form that names the statement to be saved; a saved query is replaced only on demand."""
    sql = st.session_state.get(_SAVING)
    if sql is None:
        return
    with st.container(border=True):
        name = st.text_input(_("Name"), max_chars=MAX_NAME, key="query name").strip()
        note = st.text_input(_("Note"), key="query note")
        is_taken = name in [row.name for row in reads.saved_queries()]
        replace = is_taken and st.checkbox(_("Replace the saved query of this name"), key="query replace")
        with inputs.row():
            is_closed = st.button(_("Close"), key="query close")
            is_saved = st.button(
                _("Save"), type="primary", disabled=not name or (is_taken and not replace), key="query save"
            )
        if is_saved:
            try:
                sandbox.check_statement(sql)
                save_query(reads.warehouse(), name, sql, note, replace=replace)
            except InputError as error:
                show_error(error)
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
    with inputs.row("center"):
        st.caption(escape(wording.joined_sentences((_("Saved as {name}.", name=query.name), query.note or ""))))
        with st.popover(_("Delete..."), icon=":material/delete:"):
            st.markdown(_("Delete the saved query {name}?", name=f"**{escape(query.name)}**"))
            if st.button(_("Delete"), key="query delete"):
                delete_query(reads.warehouse(), query.name)
                st.rerun()


# --- tables and columns -------------------------------------------------------------------------------------------


def show_tables() -> None:
    """Draw the columns of one table, or those that contain some words; names can be copied from the rows."""
    tables = {table.name: table for table in reads.tables()}
    heads, searched = [_("Table"), _("Column"), _("Meaning"), _("Type")], "in English, and of its table"
    columns = pl.DataFrame(
        [
            (
                name,
                column.name,
                worded(column.comment),
                column.type,
                f"{column.comment} {of.comment} {worded(of.comment)}",
            )
            for name, of in tables.items()
            for column in of.columns
        ],
        schema=[*heads, searched],
        orient="row",
    )
    table_column, search_column = st.columns(2)
    words = search_column.text_input(_("Search tables and columns"), key="query search", icon=":material/search:")
    if words.strip():
        hits = inputs.matching_rows(columns, words, *columns.columns)
        if hits.is_empty():
            st.caption(_("No table or column speaks of it."))
        else:
            _show_columns(hits.select(heads))
        return
    labels = {
        name: name if table.n_rows is None else _("{name} (rows: {n})", name=name, n=f"{table.n_rows:,}")
        for name, table in tables.items()
    }
    first = list(tables).index("runs")
    chosen = tables[table_column.selectbox(_("Table"), list(tables), first, labels.__getitem__, key="query table")]
    _show_columns(columns.filter(pl.col(heads[0]) == chosen.name).select(heads[1:]))
    st.button(
        _("Show its rows"),
        icon=":material/table_view:",
        key="query rows",
        help=escape(chosen.comment),
        on_click=fill_and_run,
        args=[f"SELECT * FROM {chosen.name} LIMIT 100"],
    )


def _show_columns(columns: pl.DataFrame) -> None:
    pinned, *_others, meaning, _type = columns.columns
    widths = {pinned: st.column_config.Column(pinned=True), meaning: st.column_config.Column(width=_MEANING_WIDTH)}
    tables.show_plain(columns, height=_TABLE_HEIGHT, row_height=_MEANING_HEIGHT, column_config=widths)


# --- the answer ------------------------------------------------------------------------------------------------------

T = TypeVar("T")
HEIGHT = 280
"""Pixels of the rows and of their picture, which both stand in the first view of a laptop, beneath the editor."""
_ROW_HEIGHT = 35
_MEASURED_ROWS = 200
"""Rows that the widths of columns follow."""
PATIENCE_SECONDS = 2.0
"""Seconds in which most queries are done; later a progress bar appears."""
_MAX_PARSED_AT_ONCE = 2_000
"""Characters of a statement that is parsed within milliseconds."""
_RUNNING = "query under way"
_ANSWER = "query answer"


@dataclass(frozen=True)
class Answer:
    """The rows of a statement, or why there are none."""

    sql: str
    number: int
    """Counts the answers of a session, so that each starts with a chart of its own."""
    result: SqlResult | None
    error: str = ""


def discard() -> None:
    """Cancel the running query, and drop the answer shown."""
    if _RUNNING in st.session_state:
        st.session_state.pop(_RUNNING)[0].cancel()
    st.session_state.pop(_ANSWER, None)


def start(sql: str, seconds: float) -> None:
    """Run a statement instead of the one that runs, for so many seconds, and wait a moment for its answer."""
    discard()
    try:
        sandbox.check_request(sql, seconds=seconds)
        if len(sql) <= _MAX_PARSED_AT_ONCE:  # a refusal shows at once; parsing a long statement takes seconds
            sandbox.check_statement(sql)
        running = sandbox.start_query(reads.warehouse(), sql, seconds=seconds)
    except QueryError as error:
        _store_answer(sql, None, str(error))
        return
    st.session_state[_RUNNING] = running, seconds
    with st.spinner(_("The query is running.")):
        while not running.is_done() and running.elapsed() < PATIENCE_SECONDS:
            time.sleep(0.02)


def current_answer() -> Answer | None:
    """The newest answer of this session; draws a progress bar while a query runs."""
    if _RUNNING in st.session_state:
        running, seconds = st.session_state[_RUNNING]
        if not running.is_done():
            st.fragment(_show_progress, run_every=0.5)(running, seconds)
        else:
            st.session_state.pop(_RUNNING)
            try:
                _store_answer(running.sql, running.result())
            except QueryError as error:
                _store_answer(running.sql, None, str(error))
    return st.session_state.get(_ANSWER)


def _show_progress(running: sandbox.RunningQuery, seconds: float) -> None:
    if running.is_done():
        st.rerun()
    elapsed = running.elapsed()
    text = _("Running for {n} of at most {most} seconds.", n=int(elapsed), most=f"{seconds:g}")
    st.progress(min(1.0, elapsed / seconds), text)
    if st.button(_("Cancel"), icon=":material/close:", key="query cancel"):
        discard()
        _store_answer(running.sql, None, _("The query was cancelled."))
        st.rerun()


def _store_answer(sql: str, result: SqlResult | None, error: str = "") -> None:
    number = st.session_state["query number"] = st.session_state.get("query number", 0) + 1
    st.session_state[_ANSWER] = Answer(sql, number, result, error)


def show(answer: Answer) -> None:
    """Draw the rows of an answer with downloads, and beside them a chart; or why there are none."""
    if answer.result is None:
        show_error(answer.error)
        return
    frame = answer.result.frame
    n, seconds = f"{frame.height:,}", f"{answer.result.seconds:.2f}"
    if answer.result.truncated:
        st.warning(_("Only the first {n} rows: add a WHERE or GROUP BY.", n=n), icon=":material/content_cut:")
    st.caption(_("Rows: {n}, columns: {columns}, in {seconds} seconds.", n=n, columns=frame.width, seconds=seconds))
    chart = default_choice(frame)
    left, right = st.columns(2, gap="large") if chart else (st.container(), None)
    with left:
        if frame.is_empty():  # the word that Streamlit writes into an empty table is in no language but its own
            st.info(escape(_("No rows. The columns would be: {names}.", names=frame.columns)))
        else:
            st.dataframe(
                frame,
                hide_index=True,
                placeholder="–",
                height=HEIGHT if frame.height >= HEIGHT // _ROW_HEIGHT else "auto",
                key="query rows shown",
                column_config=tables.column_widths(frame.head(_MEASURED_ROWS)),
            )
        with inputs.row():
            # Written on the click: a large result would slow down every run of the page.
            inputs.show_download(_("CSV"), partial(exports.csv, frame), "workdim_query.csv")
            inputs.show_download(_("CSV for Excel"), partial(exports.excel_csv, frame), "workdim_query_excel.csv")
            inputs.show_download(_("Parquet"), partial(exports.parquet, frame), "workdim_query.parquet")
            inputs.show_download(
                _("Markdown for a wiki"), partial(exports.markdown, frame, answer.sql), "workdim_query.md"
            )
    if chart and right:
        with right:
            _show_chart(frame, chart, answer.number)


def _show_chart(frame: pl.DataFrame, first: ChartChoice, number: int) -> None:
    """Draw a picture of the rows, and beneath it what it shows of them."""
    drawn = st.container()
    names = {"line": _("Line"), "scatter": _("Scatter"), "bar": _("Bars"), "histogram": _("Histogram")}
    with inputs.row():
        kind = st.segmented_control(
            _("Kind"),
            KINDS,
            default=first.kind,
            format_func=names.__getitem__,
            required=True,
            key=f"query kind {number}",
        )
        x = _choose_column(_("Horizontal"), frame.columns, first.x, f"query x {number}")
        y = None
        if kind != "histogram":
            columns = numeric_columns(frame)
            y = _choose_column(_("Vertical"), columns, first.y or columns[0], f"query y {number}")
        groupings = [None, *grouping_columns(frame)]
        colour = _choose_column(_("Colour"), groupings, first.colour, f"query colour {number}")
    data = query_points(frame, ChartChoice(kind, x, y, colour))
    with drawn:
        figure = query_chart.query_figure(data).update_layout(height=HEIGHT)
        pictures.plot(figure, f"query picture {number}")
    if data.choice.kind != kind:
        st.caption(_("Rows with equal horizontal values are points, never sums."))
    if data.n_empty:
        st.caption(_("Rows without a value to draw: {n}.", n=f"{data.n_empty:,}"))
    if data.n_beyond:
        st.caption(_("Rows not drawn, beyond the first series or points: {n}.", n=f"{data.n_beyond:,}"))


def _choose_column(label: str, columns: Sequence[T], first: T, key: str) -> T:
    none = _("none")
    names = {name: none if name is None else str(name) for name in columns}
    return st.selectbox(label, columns, columns.index(first), names.__getitem__, key=key, width=180)
