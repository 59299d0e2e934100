"""The measurements that wait, are at work or were stopped, as cards that follow them while the reader looks."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import streamlit as st

from core import locale, wording
from core.figures.svg_profiles import THUMBNAIL, partial_thumbnail
from core.records import PLANNING, SCORING
from core.ui import inputs, language, pictures, reads, url_state
from core.ui.markdown import escape
from core.wording.numbers import duration

if TYPE_CHECKING:
    from core.runs.jobs import JobStatus

LOG_LINES = 12
_EXPECTED = "jobs are expected until"
_LIVE = ("queued", "running")
_COLOURS = {"queued": "gray", "running": "blue", "interrupted": "orange", "failed": "red", "finished": "green"}


def show(how: str | None = None) -> None:
    """Every job, or those of one kind (`config.what`), with what can be done about it; drawn anew each second as long as
    one is alive."""
    _ = language.translator()
    alive = [one.job.job_id for one in _standings(how) if one.state in _LIVE]
    expects = time.monotonic() < st.session_state.get(_EXPECTED, 0.0)
    if expects and not alive:
        st.caption(_("The measurements of the pilot appear here in a few seconds."))
    _offer_comparison()
    st.fragment(_cards, run_every=1.0 if alive or expects else None)(alive, how)


def _offer_comparison() -> None:
    """Where models that were measured on one text by one protocol have all ended: the first thing to do."""
    _ = language.translator()
    finished: dict[tuple[str, str], list[str]] = {}
    for one in _standings():
        if one.state == "finished" and "run_id" in one.result:
            finished.setdefault(one.job.config.what, []).append(one.result["run_id"])
    compared = max(finished, key=lambda what: len(set(finished[what])), default=None)
    ids = list(dict.fromkeys(finished[compared])) if compared else []
    if len(ids) < 2 or any(one.state in _LIVE for one in _standings()):
        return
    missing = [
        one.job.config.model for one in _standings() if one.state == "failed" and one.job.config.what == compared
    ]
    if missing:
        line = _("The comparison is incomplete: {names} could not be measured.")
        st.warning(escape(line.format(names=_(", ").join(missing))), icon=":material/rule:")
    if st.button(_("Open the comparison"), type="primary", icon=":material/compare_arrows:"):
        asked = {"runs": url_state.join_values(ids[: inputs.MAX_RUNS]), "section": "compare"}
        st.switch_page("pages/profiles.py", query_params=asked)


def expect_more() -> None:
    """Jobs are about to be submitted by another process."""
    st.session_state[_EXPECTED] = time.monotonic() + 60


def n_active() -> int:
    return sum(one.state in _LIVE for one in _standings())


def _standings(how: str | None = None) -> Sequence[JobStatus]:
    from core.runs.jobs import list_jobs

    return [one for one in list_jobs(reads.warehouse()) if how in (None, one.job.config.what[1])]


def _cards(alive_before: list[str], how: str | None) -> None:
    _ = language.translator()
    standings = _standings(how)
    if [one.job.job_id for one in standings if one.state in _LIVE] != alive_before:
        st.rerun()  # the whole page: one has ended, and its run is there to be looked at
    for standing in sorted(standings, key=lambda one: one.state not in _LIVE):
        with st.container(border=True, gap="small"):
            _card(standing)


def _card(standing: JobStatus) -> None:
    _ = language.translator()
    asked, state = standing.job.config, standing.state
    words = {
        "queued": _("waiting"),
        "running": _("at work"),
        "interrupted": _("interrupted"),
        "failed": _("failed"),
        "finished": _("finished"),
    }
    text, how = asked.what
    text = Path(text).name if Path(text).is_absolute() else text
    how = wording.phase_name(how, language.current()) if how in (SCORING, PLANNING) else how
    name = escape(f"{asked.model} · {text} · {how}")
    st.markdown(f"**{name}** :{_COLOURS[state]}-badge[{words[state]}]")
    if state == "running":
        _progress(standing)
        _so_far(standing)
    elif state == "queued":
        st.caption(_("It starts when the measurements before it have ended."))
    elif state == "failed":
        st.markdown(escape(standing.reason))
    elif state == "interrupted":
        st.caption(_("Its process is gone, as after a crash or a restart. What is finished of it is kept."))
    elif standing.result.get("was_known"):
        known = _("It was measured already; nothing was measured again.")
        st.caption(_("It was scored already; nothing was scored again.") if asked.what[1] == SCORING else known)
    _actions(standing)
    _log(standing)


def _progress(standing: JobStatus) -> None:
    _ = language.translator()
    step, told = standing.progress, standing.progress_record
    assert step is not None
    share = told.get("share", step.done / max(step.total, 1))
    parts = [wording.phase_name(step.phase, language.current())]
    if step.total > 1:
        parts.append(_("{done} of {total}").format(done=f"{step.done:,}", total=f"{step.total:,}"))
    if told.get("tokens_per_second"):
        parts.append(_("{n} tokens per second").format(n=f"{told['tokens_per_second']:,.0f}"))
    if told.get("seconds_left") is not None:
        parts.append(_("about {time} left").format(time=duration(told["seconds_left"], language.current())))
    st.progress(min(1.0, max(0.0, share)), escape(_(", ").join(parts)))


LEAST_LAYERS = 2


def _so_far(standing: JobStatus) -> None:
    """The curve as it grows, layer by layer, while the text is measured: nothing of it is checked yet."""
    _ = language.translator()
    step = standing.progress
    if step is None or step.phase != "geometry":
        return
    found = standing.job.finished_layers()[: step.total - 1]  # the last state is that after the final norm
    if len(found) >= LEAST_LAYERS:
        drawn = partial_thumbnail(standing.job.config.model, found, language.current(), pictures.theme())
        st.image(drawn, width=THUMBNAIL[0], alt=standing.job.config.model)
        st.caption(
            _(
                "Provisional: d2 (one point per token type) of the first {n} layers. Checks, controls and verdicts come "
                "at the end."
            ).format(n=len(found))
        )


@inputs.hidden_when_read_only
def _actions(standing: JobStatus) -> None:
    _ = language.translator()
    job_id, state = standing.job.job_id, standing.state
    with st.container(horizontal=True, gap="small"):
        if state == "finished" and "file_sha256" in standing.result:
            st.page_link("pages/scores.py", label=_("Open the scores"), icon=":material/leaderboard:")
        elif state == "finished" and "plan_id" in standing.result:
            st.page_link(
                "pages/shrink.py",
                label=_("Open the plan"),
                icon=":material/content_cut:",
                query_params={"plan": standing.result["plan_id"]},
            )
        elif state == "finished" and "run_id" in standing.result:
            st.page_link(
                "pages/profiles.py",
                label=_("Open the profile"),
                icon=":material/show_chart:",
                query_params={"runs": standing.result["run_id"]},
            )
        again = {"interrupted": _("Go on"), "failed": _("Try again")}
        if state in again and st.button(again[state], key=f"go on {job_id}", icon=":material/play_arrow:"):
            _go_on(standing)
        labels = {"queued": _("Cancel"), "running": _("Cancel"), "finished": _("Clear from this list")}
        if st.button(labels.get(state, _("Remove")), key=f"cancel {job_id}", icon=":material/close:"):
            _cancel(standing)


def _go_on(standing: JobStatus) -> None:
    from core.runs import processes

    processes.start_job(standing.job, reads.warehouse())
    st.rerun()


def _cancel(standing: JobStatus) -> None:
    from core.runs import processes

    processes.cancel_job(standing.job)
    st.rerun()


def _log(standing: JobStatus) -> None:
    from core.runs.progress import read_log

    _ = language.translator()
    lines = read_log(standing.job, LOG_LINES)
    if lines:
        with st.expander(_("Log")):
            st.code("\n".join(locale.worded(line, language.current()) for line in lines), language=None)
