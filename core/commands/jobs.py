"""The verb jobs: list, resume, cancel, clear; and the report on a job that has ended."""

from __future__ import annotations

import argparse
from dataclasses import asdict

from core.commands.context import selected_warehouse, warn
from core.errors import InputError, Sentence, sentences
from core.records import SHORT_ID, PlanConfig, RunConfig, ScoreConfig
from core.terminal.output import say, say_json


def run_to_end(job, warehouse, engine=None) -> int:
    """Start a job, show its progress and report its outcome; returns an exit code. Ctrl-C cancels it."""
    return report_end(run_job(job, warehouse, engine), warehouse)


def run_job(job, warehouse, engine=None):
    """Run a job with a progress bar; returns its `core.runs.jobs.JobStatus` when its process has ended."""
    from core.runs.processes import run_jobs
    from core.terminal.progress import ProgressBar

    engine = engine or (lambda jobs, on_progress: run_jobs(jobs, warehouse, 1, on_progress))
    with ProgressBar(job.config.model) as bar:
        (status,) = engine([job], bar.follow)
    return status


def report_end(status, warehouse) -> int:
    """Print the outcome of a job whose process has ended; returns an exit code."""
    if status.state != "finished":
        return report_unfinished(status)
    if isinstance(status.job.config, ScoreConfig):
        return _report_scores(status, warehouse)
    if isinstance(status.job.config, PlanConfig):
        return _report_plan(status, warehouse)
    from core.runs.execution import load_measurement
    from core.runs.jobs import remove_job
    from core.terminal.run_summary import summary_lines

    job = status.job
    try:
        profile, controls = load_measurement(status, warehouse)
    except KeyError:
        warn(Sentence("The run {run} of this job is no longer in the warehouse.", run=status.result["run_id"]))
        remove_job(job)
        return 1
    remove_job(job)
    run_id, result = profile.run.run_id, status.result
    if result.get("was_known"):
        run = run_id[:SHORT_ID]
        say(Sentence("It is measured already, as run {run}; --again measures it once more.", run=run))
    say(*summary_lines(profile, controls))
    for line in result.get("failed", ()):
        warn(line)
    if result.get("waits"):
        message = Sentence("Run {run} is finished and waits in its parcel, to be ingested later.", run=run_id)
        warn(sentences(message, result["waits"]))
    return 0


def report_unfinished(status) -> int:
    """Print why a job did not finish; returns an exit code."""
    from core.runs.jobs import remove_job

    job = status.job
    if status.state == "failed":
        warn(status.reason)
        if not _has_begun(job):
            remove_job(job)
        else:
            warn(
                Sentence(
                    "What it has so far is kept: `workdim jobs resume {job}` goes on, `workdim jobs cancel {job}` removes it.",
                    job=job.job_id[:SHORT_ID],
                )
            )
        return status.exit_code
    if status.state == "cancelled":
        warn(Sentence("The job of {model} was cancelled; nothing of it is left.", model=job.config.model))
        return 130
    warn(
        Sentence(
            "The process that worked on {model} was ended from outside, perhaps for want of memory. `workdim jobs resume "
            "{job}` goes on where it stopped, `workdim jobs cancel {job}` removes what it has.",
            model=job.config.model,
            job=job.job_id[:SHORT_ID],
        )
    )
    return 1


def _report_scores(status, warehouse) -> int:
    from core.runs.execution import load_scores
    from core.terminal.tables import scored_lines

    file = status.result["file_sha256"][:SHORT_ID]
    note = Sentence(
        "It is scored already; `workdim scores remove {file}` takes the scores out, to score it again.", file=file
    )
    return _report_result(
        status,
        lambda: load_scores(status, warehouse),
        lambda tables: [*([note] if status.result["was_known"] else []), *scored_lines(tables)],
        if_deleted=Sentence("The scores {file} of this job were taken out of the warehouse.", file=file),
        if_waiting=Sentence("The scores {file} are finished and wait in their file, to be taken in later.", file=file),
    )


def _report_plan(status, warehouse) -> int:
    from core.runs.execution import load_layer_plan
    from core.terminal.tables import plan_lines

    plan = status.result["plan_id"][:SHORT_ID]
    return _report_result(
        status,
        lambda: load_layer_plan(status, warehouse),
        plan_lines,
        if_deleted=Sentence("The plan {plan} of this job was deleted.", plan=plan),
        if_waiting=Sentence("The plan {plan} is finished and waits in its file, to be taken in later.", plan=plan),
    )


def _report_result(status, load, lines, *, if_deleted: str, if_waiting: str) -> int:
    """Print the result of a finished job and remove the job; returns an exit code."""
    from core.runs.jobs import remove_job

    try:
        result = load()
    except KeyError:
        warn(if_deleted)
        remove_job(status.job)
        return 1
    remove_job(status.job)
    say(*lines(result))
    if status.result["waits"]:
        warn(sentences(if_waiting, status.result["waits"]))
    return 0


def _has_begun(job) -> bool:
    return any(any(job.folder.glob(f"kept-*/{name}")) for name in ("forward.json", "step-*.json"))


def show_jobs(options: argparse.Namespace) -> int:
    from core.runs.jobs import list_jobs
    from core.terminal.tables import jobs_table

    statuses = list_jobs(selected_warehouse(options))
    if options.json:
        say_json([_as_json(status) for status in statuses])
    elif not statuses:
        say(Sentence("No jobs. `workdim measure MODEL` starts one; finished ones are under `workdim runs`."))
    else:
        say(*jobs_table(statuses))
    return 0


def cancel(options: argparse.Namespace) -> int:
    from core.runs import processes
    from core.runs.jobs import find_job

    job = find_job(selected_warehouse(options), options.job).job
    processes.cancel_job(job)
    remainder = Sentence("nothing of it stays")
    if isinstance(job.config, RunConfig):
        remainder = Sentence("only control passes that it finished stay")
    say(
        Sentence(
            "The job {job} ({model}) is cancelled; {stays}.",
            job=job.job_id[:SHORT_ID],
            model=job.config.model,
            stays=remainder,
        )
    )
    return 0


def clear(options: argparse.Namespace) -> int:
    from core.runs.jobs import list_jobs, remove_job

    finished = [status.job for status in list_jobs(selected_warehouse(options)) if status.state == "finished"]
    for job in finished:
        remove_job(job)
    if finished:
        say(Sentence("{n} finished job was cleared.", "{n} finished jobs were cleared.", n=len(finished)))
    else:
        say(Sentence("No job is finished."))
    return 0


def resume(options: argparse.Namespace) -> int:
    from core.limits import watched
    from core.runs.execution import run_submitted
    from core.runs.jobs import ERROR_FILE, STATES, find_job
    from core.runs.processes import start_job

    warehouse = selected_warehouse(options)
    status = find_job(warehouse, options.job)
    job = status.job
    if options.here:  # run by a job's own process: the job counts as starting until this process holds it
        with watched(job.folder / ERROR_FILE):
            run_submitted(job, warehouse, lambda step: None, _expected_seconds)
        return 0
    if status.state in ("queued", "running"):
        raise InputError(
            "The job {job} is {state}: `workdim jobs` shows it.", job=job.job_id[:SHORT_ID], state=STATES[status.state]
        )
    if status.state == "finished":
        return report_end(status, warehouse)
    if options.background:
        start_job(job, warehouse)
        say(Sentence("The job {job} goes on; `workdim jobs` shows how far it is.", job=job.job_id[:SHORT_ID]))
        return 0
    return run_to_end(job, warehouse)


def _expected_seconds(config, warehouse, setup):
    from core.forecast.preflight_card import expected_seconds

    return expected_seconds(config, warehouse, setup)


def _as_json(status) -> dict[str, object]:
    job = status.job
    return {
        "job_id": job.job_id,
        "state": status.state,
        "submitted_at": job.submitted_at,
        "pilot_id": job.pilot_id,
        "request": asdict(job.config),
        "progress": status.progress_record,
        "reason": status.reason,
        "result": status.result,
        "worker": status.worker,
        "log": str(job.log),
    }
