"""Cards of the jobs that wait, run or have ended, kept up to date while the page is open."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import streamlit as st

from core import locale, wording
from core.errors import InputError
from core.figures.layer_profiles import THUMBNAIL, partial_thumbnail
from core.locale import N_, _, translated
from core.records import PLANNING, SCORING
from core.ui import inputs, pictures, reads, tables, url_state
from core.ui.language import escape, show_error, show_notes
from core.wording.labels import duration, text_name

if TYPE_CHECKING:
    from core.runs.jobs import JobStatus

LOG_LINES = 12
MIN_LAYERS = 2
"""Layers from which on the curve of a running measurement is drawn."""
_EXPECTED = "jobs are expected until"
_STARTED = "jobs were just started"
_REFUSED = "jobs that could not be started"
_ACTIVE = ("running", "queued")
_STATES = {
    "queued": ("gray", N_("waiting"), "", N_("Cancel")),
    "running": ("blue", N_("running"), "", N_("Cancel")),
    "interrupted": ("orange", N_("interrupted"), N_("Go on"), N_("Remove")),
    "failed": ("red", N_("failed"), N_("Try again"), N_("Remove")),
    "finished": ("green", N_("finished"), "", N_("Clear from this list")),
}
"""Colour and name of each state, and what the buttons of its card say: the one that starts it again, the one that ends it."""


def show(kind: str | None = None) -> None:
    """Draw what `start` was refused, and a card of every job, or of those of one kind; anew each second while one is active."""
    if st.session_state.pop(_STARTED, False):  # from a button below the fold
        st.toast(_start_text(), icon=":material/play_arrow:")
        url_state.scroll_to_top()
    for reason in st.session_state.pop(_REFUSED, []):
        show_error(reason)
    statuses = _job_statuses(kind)
    active_ids = [status.job.job_id for status in statuses if status.state in _ACTIVE]
    is_expecting = time.monotonic() < st.session_state.get(_EXPECTED, 0.0)
    if is_expecting and not active_ids:
        st.caption(_("Its measurements appear here in seconds."))
    if not active_ids:
        _show_comparison_button(statuses)
    st.fragment(_show_cards, run_every=1.0 if active_ids or is_expecting else None)(active_ids, kind)


def _show_comparison_button(statuses: Sequence[JobStatus]) -> None:
    """Draw a button that opens the comparison, where several models were measured alike."""
    finished: dict[tuple[str, str], dict[str, None]] = {}
    for status in statuses:
        if status.state == "finished" and "run_id" in status.result:
            finished.setdefault(status.job.config.what, {})[status.result["run_id"]] = None
    run_ids = [*max(finished.values(), key=len, default={})]
    if len(run_ids) > 1:
        tables.show_comparison_button(run_ids, type="primary")


def _start_text() -> str:
    return _("Starting. Its card appears at the top.")


def start(configs: Iterable[Any], estimate: str, *, again: bool = False) -> None:
    """Submit and start jobs, which run in turn, and draw the page anew; one that is refused does not stop the others.

    `estimate` is the key of the estimate that stands above the button, in the session: it goes when the jobs have begun.
    """
    from core.runs import jobs

    warehouse, refused = reads.warehouse(), []
    warehouse.prepare()
    with st.spinner(_start_text()):  # at once, beside the button
        for config in configs:
            try:
                jobs.start_job(jobs.submit(config, warehouse, again=again), warehouse)
            except InputError as error:
                refused.append(error)
    st.session_state[_STARTED], st.session_state[_REFUSED], st.session_state[estimate] = True, refused, None
    st.rerun()


def expect_more() -> None:
    """Say that another process is about to submit jobs, so that `show` keeps looking for a minute, at the top of the page."""
    st.session_state[_EXPECTED] = time.monotonic() + 60
    st.session_state[_STARTED] = True


def n_active() -> int:
    """The number of jobs that wait or run; where there was never one, the modules of jobs are not loaded."""
    jobs = reads.warehouse().jobs
    if not jobs.is_dir() or not any(jobs.iterdir()):
        return 0
    return sum(status.state in _ACTIVE for status in _job_statuses())


def _job_statuses(kind: str | None = None) -> Sequence[JobStatus]:
    from core.runs.jobs import list_jobs

    return [one for one in list_jobs(reads.warehouse()) if kind in (None, one.job.config.what[1])]


def _show_cards(active_before: list[str], kind: str | None) -> None:
    statuses = _job_statuses(kind)
    if [status.job.job_id for status in statuses if status.state in _ACTIVE] != active_before:
        st.rerun()  # the whole page: one has ended, and its run is there to be looked at
    ended = [status for status in reversed(statuses) if status.state not in _ACTIVE]  # the newest first
    active = [status for status in statuses if status.state in _ACTIVE]
    for status in [*sorted(active, key=lambda one: _ACTIVE.index(one.state)), *ended]:
        with st.container(border=True):
            _show_card(status)


def _show_card(status: JobStatus) -> None:
    from core.runs.jobs import read_log

    config, state = status.job.config, status.state
    text, kind = config.what
    kind = wording.phase_name(kind) if kind in (SCORING, PLANNING) else kind
    name = escape(f"{config.model} · {text_name(text)} · {kind}")
    colour, state_name, *_buttons = _STATES[state]
    st.markdown(f"**{name}** :{colour}-badge[{translated(state_name)}]")
    if state == "running":
        _show_progress(status)
        _show_partial_profile(status)
    notes = {
        "queued": _("Starts after those before it."),
        "failed": status.reason,
        "interrupted": _("Its process is gone; finished parts are kept."),
        "finished": _("Known before; nothing was repeated.") if status.result.get("was_known") else "",
    }
    show_notes([notes.get(state)])
    _show_actions(status)
    show_log(map(locale.worded, read_log(status.job, LOG_LINES)))


def _show_progress(status: JobStatus) -> None:
    step, record = status.progress, status.progress_record
    assert step is not None
    share = record.get("share", step.done / max(step.total, 1))
    parts = [wording.phase_name(step.phase)]
    if step.total > 1:
        parts.append(_("{done} of {total}", done=f"{step.done:,}", total=f"{step.total:,}"))
    if record.get("tokens_per_second"):
        parts.append(_("{n} tokens per second", n=f"{record['tokens_per_second']:,.0f}"))
    if record.get("seconds_left") is not None:
        parts.append(_("about {time} left", time=duration(record["seconds_left"])))
    st.progress(min(1.0, max(0.0, share)), escape(_(", ").join(parts)))


def _show_partial_profile(status: JobStatus) -> None:
    """Draw the curve of the layers measured so far, of which nothing is checked yet."""
    step = status.progress
    if step is None or step.phase != "geometry":
        return
    layers = status.job.finished_layers()
    layers.pop(step.total - 1, None)  # the state after the final norm
    if len(layers) >= MIN_LAYERS:
        svg = partial_thumbnail(status.job.config.model, layers, pictures.theme())
        st.image(svg, width=THUMBNAIL[0], alt=status.job.config.model)
        st.caption(_("Provisional: d2 of {n} layers. Checks, controls and verdicts follow.", n=len(layers)))


def _show_actions(status: JobStatus) -> None:
    with inputs.row("center"):
        if "file_sha256" in status.result:
            inputs.show_link("choose", _("Open the scores"), "leaderboard", choose="scores")
        elif plan_id := status.result.get("plan_id"):
            inputs.show_link("plan", _("Open the plan"), "content_cut", plan=plan_id)
        elif run_id := status.result.get("run_id"):
            inputs.show_link("compare", _("Open the profile"), "show_chart", runs=run_id, section="profile")
        _show_changes(status)


@inputs.hidden_when_read_only
def _show_changes(status: JobStatus) -> None:
    from core.runs import jobs

    job_id = status.job.job_id
    _colour, _name, resume, cancel = _STATES[status.state]
    if resume and st.button(translated(resume), key=f"go on {job_id}", icon=":material/play_arrow:"):
        jobs.start_job(status.job, reads.warehouse())
        st.rerun()
    if st.button(translated(cancel), key=f"cancel {job_id}", icon=":material/close:"):
        jobs.cancel_job(status.job)
        st.rerun()


def show_log(lines: Iterable[str]) -> None:
    """Draw the last lines of a process, folded; nothing where it has written none."""
    if text := "\n".join(lines):
        st.expander(_("Log")).code(text, language=None)
