"""A query under way: its answer, or for one that takes longer a bar and a way to stop it."""

from __future__ import annotations

import time
from dataclasses import dataclass

import streamlit as st

from core.errors import QueryError
from core.sql import gate, sandbox
from core.ui import language, reads

WAITED_FOR = 2.0
"""Seconds in which most queries are done; only then a bar appears."""
_BRIEF = 2_000
"""Characters that are parsed within milliseconds."""
_UNDER_WAY = "query under way"
_ANSWER = "query answer"


@dataclass(frozen=True)
class Request:
    """A statement that somebody wants run now."""

    sql: str
    seconds: float


@dataclass(frozen=True)
class Answer:
    """The rows of a statement, or why there are none."""

    sql: str
    number: int
    """Counts the answers of a session, so that each starts with a picture of its own."""
    result: sandbox.SqlResult | None
    error: str = ""


@dataclass(frozen=True)
class _UnderWay:
    running: sandbox.RunningQuery
    seconds: float


def forget() -> None:
    """End the query under way, and drop the answer that is shown."""
    _stop()
    st.session_state.pop(_ANSWER, None)


def start(request: Request) -> None:
    """Run a statement in place of the one under way, and give it a moment to be done."""
    _ = language.translator()
    forget()
    try:
        sandbox.check_request(request.sql, seconds=request.seconds)
        if len(request.sql) <= _BRIEF:  # what is refused is told at once; parsing a long statement takes seconds
            gate.check_statement(request.sql)
        running = sandbox.start_query(reads.warehouse(), request.sql, seconds=request.seconds)
    except QueryError as error:
        _keep(request.sql, None, str(error))
        return
    st.session_state[_UNDER_WAY] = _UnderWay(running, request.seconds)
    with st.spinner(_("The query is running.")):
        while not running.is_done() and running.elapsed() < WAITED_FOR:
            time.sleep(0.02)


def answer() -> Answer | None:
    """The newest answer of this session; one that is still waited for is drawn as a bar."""
    under_way: _UnderWay | None = st.session_state.get(_UNDER_WAY)
    if under_way is not None and under_way.running.is_done():
        _collect(under_way.running)
    elif under_way is not None:
        st.fragment(_bar, run_every=0.5)()
    return st.session_state.get(_ANSWER)


def _bar() -> None:
    _ = language.translator()
    under_way: _UnderWay | None = st.session_state.get(_UNDER_WAY)
    if under_way is None or under_way.running.is_done():
        st.rerun()
    elapsed = under_way.running.elapsed()
    told = _("Running for {n} of at most {most} seconds.").format(n=int(elapsed), most=f"{under_way.seconds:g}")
    st.progress(min(1.0, elapsed / under_way.seconds), told)
    if st.button(_("Cancel"), icon=":material/close:", key="query cancel"):
        _stop()
        _keep(under_way.running.sql, None, _("The query was cancelled."))
        st.rerun()


def _collect(running: sandbox.RunningQuery) -> None:
    st.session_state.pop(_UNDER_WAY)
    try:
        _keep(running.sql, running.result(), "")
    except QueryError as error:
        _keep(running.sql, None, str(error))


def _stop() -> None:
    under_way: _UnderWay | None = st.session_state.pop(_UNDER_WAY, None)
    if under_way is not None:
        under_way.running.cancel()


def _keep(sql: str, result: sandbox.SqlResult | None, error: str) -> None:
    number = st.session_state["query number"] = st.session_state.get("query number", 0) + 1
    st.session_state[_ANSWER] = Answer(sql, number, result, error)
