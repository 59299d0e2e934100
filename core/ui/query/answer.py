"""The answer of the screen Query: a statement runs, then its rows, downloads and a chart are drawn.

Cells are shown as text and never run as markup.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

import polars as pl
import streamlit as st

from core import exports
from core.errors import InputError, QueryError
from core.figures import query_chart
from core.figures.query_chart import KINDS, ChartChoice, default_choice, grouping_columns, numeric_columns, query_points
from core.locale import _
from core.sql import gate, sandbox
from core.sql.sandbox import SqlResult
from core.ui import inputs, pictures, reads, tables
from core.ui.markdown import escape

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


# --- running ----------------------------------------------------------------------------------------------------


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
            gate.check_statement(sql)
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
    text = _("Running for {n} of at most {most} seconds.").format(n=int(elapsed), most=f"{seconds:g}")
    st.progress(min(1.0, elapsed / seconds), text)
    if st.button(_("Cancel"), icon=":material/close:", key="query cancel"):
        discard()
        _store_answer(running.sql, None, _("The query was cancelled."))
        st.rerun()


def _store_answer(sql: str, result: SqlResult | None, error: str = "") -> None:
    number = st.session_state["query number"] = st.session_state.get("query number", 0) + 1
    st.session_state[_ANSWER] = Answer(sql, number, result, error)


# --- drawing ----------------------------------------------------------------------------------------------------


def show(answer: Answer) -> None:
    """Draw the rows of an answer with downloads, and beside them a chart; or why there are none."""
    if answer.result is None:
        st.error(escape(answer.error), icon=":material/error:")
        return
    frame = answer.result.frame
    _show_limits(answer.result)
    chart = default_choice(frame)
    left, right = st.columns(2, gap="large") if chart else (st.container(), None)
    with left:
        _show_rows(frame)
        with st.container(horizontal=True, gap="small"):
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


def _show_limits(result: SqlResult) -> None:
    n = result.frame.height
    if result.truncated:
        message = _("Only the first {n} rows: add a WHERE or GROUP BY.")
        st.warning(message.format(n=f"{n:,}"), icon=":material/content_cut:")
    text = _("Rows: {n}, columns: {columns}, in {seconds} seconds.")
    st.caption(text.format(n=f"{n:,}", columns=result.frame.width, seconds=f"{result.seconds:.2f}"))


def _show_rows(frame: pl.DataFrame) -> None:
    if frame.is_empty():  # the word that Streamlit writes into an empty table is in no language but its own
        st.info(_("No rows. The columns would be: {names}.").format(names=escape(_(", ").join(frame.columns))))
    else:
        height: Any = HEIGHT if frame.height >= HEIGHT // _ROW_HEIGHT else "auto"
        st.dataframe(
            frame,
            hide_index=True,
            placeholder="–",
            height=height,
            key="query rows shown",
            column_config=tables.text_widths(frame.head(_MEASURED_ROWS)),
        )


def _show_chart(frame: pl.DataFrame, first: ChartChoice, number: int) -> None:
    """Draw a picture of the rows, and beneath it what it shows of them."""
    drawn = st.container()
    choice = _choose_chart(frame, first, number)
    try:
        data = query_points(frame, choice)
    except InputError as error:
        st.info(escape(str(error)))
        return
    with drawn:
        figure = query_chart.query_figure(data).update_layout(height=HEIGHT)
        pictures.plot(figure, f"query picture {number}")
    if data.choice.kind != choice.kind:
        st.caption(_("Rows with equal horizontal values are points, never sums."))
    if data.n_empty:
        st.caption(_("Rows without a value to draw: {n}.").format(n=f"{data.n_empty:,}"))
    if data.n_beyond:
        st.caption(_("Rows not drawn, beyond the first series or points: {n}.").format(n=f"{data.n_beyond:,}"))


def _choose_chart(frame: pl.DataFrame, first: ChartChoice, number: int) -> ChartChoice:
    names = {"line": _("Line"), "scatter": _("Scatter"), "bar": _("Bars"), "histogram": _("Histogram")}
    with st.container(horizontal=True, gap="small", vertical_alignment="bottom"):
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
    return ChartChoice(kind, x, y, colour)


def _choose_column(label: str, columns: Sequence[T], first: T, key: str) -> T:
    none = _("none")
    names = {name: none if name is None else str(name) for name in columns}
    return st.selectbox(label, columns, columns.index(first), names.__getitem__, key=key, width=180)
