"""The verb jobs: list, resume, cancel, clear; and how the end of a job is told."""

from __future__ import annotations

import argparse
from dataclasses import asdict

from core.commands.context import chosen_warehouse, warn
from core.errors import InputError, Sentence, sentences
from core.records import SHORT_ID, PlanConfig, RunConfig, ScoreConfig
from core.terminal.output import say, say_json


def bring_to_end(job, warehouse, engine=None) -> int:
    """Start a job, show how far it is, and tell what came of it; returns an exit code. Ctrl-C cancels it."""
    return tell_end(brought_to_end(job, warehouse, engine), warehouse)


def brought_to_end(job, warehouse, engine=None):
    """As `core.runs.jobs.JobStatus`, once its process has ended."""
    from core.runs.processes import run_jobs
    from core.terminal.progress import ProgressBar

    engine = engine or (lambda jobs, told: run_jobs(jobs, warehouse, 1, told))
    with ProgressBar(job.config.model) as bar:
        (ended,) = engine([job], bar.follow)
    return ended


def tell_end(ended, warehouse) -> int:
    """What came of a job whose process has ended, on the screen; returns an exit code."""
    if ended.state != "finished":
        return tell_unfinished(ended)
    if isinstance(ended.job.config, ScoreConfig):
        return _tell_scored(ended, warehouse)
    if isinstance(ended.job.config, PlanConfig):
        return _tell_planned(ended, warehouse)
    from core.runs.execution import load_result
    from core.runs.jobs import remove_job
    from core.terminal.tables import summary_lines

    job = ended.job
    try:
        finished = load_result(ended, warehouse)
    except KeyError:
        warn(Sentence("The run {run} of this job is no longer in the warehouse.", run=ended.result["run_id"]))
        remove_job(job)
        return 1
    remove_job(job)
    if finished.was_known:
        run = finished.run_id[:SHORT_ID]
        say(Sentence("It is measured already, as run {run}; --again measures it once more.", run=run))
    say(*summary_lines(finished.profile, finished.controls))
    for line in finished.failed:
        warn(line)
    if finished.waits:
        told = Sentence("Run {run} is finished and waits in its parcel, to be ingested later.", run=finished.run_id)
        warn(sentences(told, finished.waits))
    return 0


def tell_unfinished(ended) -> int:
    """Why a job has come to no end; returns an exit code."""
    from core.runs.jobs import remove_job

    job = ended.job
    if ended.state == "failed":
        warn(ended.reason)
        if not _has_begun(job):
            remove_job(job)
        else:
            warn(
                Sentence(
                    "What it has so far is kept: `workdim jobs resume {job}` goes on, `workdim jobs cancel {job}` removes it.",
                    job=job.job_id[:SHORT_ID],
                )
            )
        return ended.exit_code
    if ended.state == "cancelled":
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


def _tell_scored(ended, warehouse) -> int:
    from core.runs.scoring import load_result
    from core.terminal.tables import scored_lines

    file = ended.result["file_sha256"][:SHORT_ID]
    known = Sentence(
        "It is scored already; `workdim scores remove {file}` takes the scores out, to score it again.", file=file
    )
    return _tell(
        ended,
        lambda: load_result(ended, warehouse),
        lambda found: [*([known] if ended.result["was_known"] else []), *scored_lines(found)],
        gone=Sentence("The scores {file} of this job were taken out of the warehouse.", file=file),
        waits=Sentence("The scores {file} are finished and wait in their file, to be taken in later.", file=file),
    )


def _tell_planned(ended, warehouse) -> int:
    from core.runs.planning import load_result
    from core.terminal.tables import plan_lines

    plan = ended.result["plan_id"][:SHORT_ID]
    return _tell(
        ended,
        lambda: load_result(ended, warehouse),
        plan_lines,
        gone=Sentence("The plan {plan} of this job was deleted.", plan=plan),
        waits=Sentence("The plan {plan} is finished and waits in its file, to be taken in later.", plan=plan),
    )


def _tell(ended, find, lines, *, gone: str, waits: str) -> int:
    """What a finished job has brought, after which the job goes; returns an exit code."""
    from core.runs.jobs import remove_job

    try:
        found = find()
    except KeyError:
        warn(gone)
        remove_job(ended.job)
        return 1
    remove_job(ended.job)
    say(*lines(found))
    if ended.result["waits"]:
        warn(sentences(waits, ended.result["waits"]))
    return 0


def _has_begun(job) -> bool:
    return any(any(job.folder.glob(f"kept-*/{kept}")) for kept in ("forward.json", "step-*.json"))


def listed(options: argparse.Namespace) -> int:
    from core.runs.jobs import list_jobs
    from core.terminal.tables import jobs_table

    found = list_jobs(chosen_warehouse(options))
    if options.json:
        say_json([_as_plain(standing) for standing in found])
    elif not found:
        say(Sentence("No jobs. `workdim measure MODEL` starts one; finished ones are under `workdim runs`."))
    else:
        say(*jobs_table(found))
    return 0


def cancel(options: argparse.Namespace) -> int:
    from core.runs import processes
    from core.runs.jobs import find_job

    job = find_job(chosen_warehouse(options), options.job).job
    processes.cancel_job(job)
    stays = Sentence("nothing of it stays")
    if isinstance(job.config, RunConfig):
        stays = Sentence("only control passes that it finished stay")
    say(
        Sentence(
            "The job {job} ({model}) is cancelled; {stays}.",
            job=job.job_id[:SHORT_ID],
            model=job.config.model,
            stays=stays,
        )
    )
    return 0


def clear(options: argparse.Namespace) -> int:
    from core.runs.jobs import list_jobs, remove_job

    finished = [one.job for one in list_jobs(chosen_warehouse(options)) if one.state == "finished"]
    for job in finished:
        remove_job(job)
    n = len(finished)
    say(Sentence("{n} finished jobs were cleared.", n=n) if n else Sentence("No job is finished."))
    return 0


def resume(options: argparse.Namespace) -> int:
    from core.runs.execution import run_measurement
    from core.runs.jobs import STATES, find_job
    from core.runs.planning import run_plan
    from core.runs.processes import start_job
    from core.runs.scoring import run_scoring

    warehouse = chosen_warehouse(options)
    standing = find_job(warehouse, options.job)
    job = standing.job
    if options.here:  # what a job's own process runs: it is counted as starting until it holds the job
        if isinstance(job.config, ScoreConfig):
            run_scoring(job, warehouse, lambda step: None)
        elif isinstance(job.config, PlanConfig):
            run_plan(job, warehouse, lambda step: None)
        else:
            run_measurement(job, warehouse, lambda step: None, _expected)
        return 0
    if standing.state in ("queued", "running"):
        raise InputError(
            "The job {job} is {state}: `workdim jobs` shows it.",
            job=job.job_id[:SHORT_ID],
            state=STATES[standing.state],
        )
    if standing.state == "finished":
        return tell_end(standing, warehouse)
    if options.background:
        start_job(job, warehouse)
        say(Sentence("The job {job} goes on; `workdim jobs` shows how far it is.", job=job.job_id[:SHORT_ID]))
        return 0
    return bring_to_end(job, warehouse)


def _expected(config, warehouse, setup):
    from core.forecast.preflight_card import expected_seconds

    return expected_seconds(config, warehouse, setup)


def _as_plain(standing) -> dict[str, object]:
    job = standing.job
    return {
        "job_id": job.job_id,
        "state": standing.state,
        "submitted_at": job.submitted_at,
        "pilot_id": job.pilot_id,
        "request": asdict(job.config),
        "progress": standing.progress_record,
        "reason": standing.reason,
        "result": standing.result,
        "worker": standing.worker,
        "log": str(job.log),
    }
