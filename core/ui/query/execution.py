"""The running query of the screen Query: its answer, or a progress bar with a button that cancels it."""

from __future__ import annotations

import time
from dataclasses import dataclass

import streamlit as st

from core.errors import QueryError
from core.sql import gate, sandbox
from core.ui import language, reads

PATIENCE_SECONDS = 2.0
"""Seconds in which most queries are done; later a progress bar appears."""
_MAX_PARSED_AT_ONCE = 2_000
"""Characters of a statement that is parsed within milliseconds."""
_RUNNING = "query under way"
_ANSWER = "query answer"


@dataclass(frozen=True)
class Request:
    """A statement to be run, with its time limit."""

    sql: str
    seconds: float


@dataclass(frozen=True)
class Answer:
    """The rows of a statement, or why there are none."""

    sql: str
    number: int
    """Counts the answers of a session, so that each starts with a chart of its own."""
    result: sandbox.SqlResult | None
    error: str = ""


@dataclass(frozen=True)
class _Running:
    running: sandbox.RunningQuery
    seconds: float


def discard() -> None:
    """Cancel the running query, and drop the answer shown."""
    _cancel()
    st.session_state.pop(_ANSWER, None)


def start(request: Request) -> None:
    """Run a statement instead of the one that runs, and wait a moment for its answer."""
    _ = language.translator()
    discard()
    try:
        sandbox.check_request(request.sql, seconds=request.seconds)
        if len(request.sql) <= _MAX_PARSED_AT_ONCE:  # a refusal shows at once; parsing a long statement takes seconds
            gate.check_statement(request.sql)
        running = sandbox.start_query(reads.warehouse(), request.sql, seconds=request.seconds)
    except QueryError as error:
        _store_answer(request.sql, None, str(error))
        return
    st.session_state[_RUNNING] = _Running(running, request.seconds)
    with st.spinner(_("The query is running.")):
        while not running.is_done() and running.elapsed() < PATIENCE_SECONDS:
            time.sleep(0.02)


def current_answer() -> Answer | None:
    """The newest answer of this session; draws a progress bar while a query runs."""
    query: _Running | None = st.session_state.get(_RUNNING)
    if query is not None and query.running.is_done():
        _store_result(query.running)
    elif query is not None:
        st.fragment(_show_progress, run_every=0.5)()
    return st.session_state.get(_ANSWER)


def _show_progress() -> None:
    _ = language.translator()
    query: _Running | None = st.session_state.get(_RUNNING)
    if query is None or query.running.is_done():
        st.rerun()
    elapsed = query.running.elapsed()
    text = _("Running for {n} of at most {most} seconds.").format(n=int(elapsed), most=f"{query.seconds:g}")
    st.progress(min(1.0, elapsed / query.seconds), text)
    if st.button(_("Cancel"), icon=":material/close:", key="query cancel"):
        _cancel()
        _store_answer(query.running.sql, None, _("The query was cancelled."))
        st.rerun()


def _store_result(running: sandbox.RunningQuery) -> None:
    st.session_state.pop(_RUNNING)
    try:
        _store_answer(running.sql, running.result(), "")
    except QueryError as error:
        _store_answer(running.sql, None, str(error))


def _cancel() -> None:
    query: _Running | None = st.session_state.pop(_RUNNING, None)
    if query is not None:
        query.running.cancel()


def _store_answer(sql: str, result: sandbox.SqlResult | None, error: str) -> None:
    number = st.session_state["query number"] = st.session_state.get("query number", 0) + 1
    st.session_state[_ANSWER] = Answer(sql, number, result, error)
