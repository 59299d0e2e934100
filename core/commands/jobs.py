"""The verb jobs: list, resume, cancel, clear; and the report on a job that has ended."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import fields
from typing import Any, TypeVar

from core.commands.context import fail, show_records, warn, worst
from core.errors import InputError, Sentence, nothing_yet, sentences
from core.files import max_parallel_jobs
from core.ids import SHORT_ID
from core.limits import watched
from core.questions.record import as_record
from core.records import PlanConfig, RunConfig, ScoreConfig
from core.runs import jobs
from core.runs.caches import recover
from core.runs.execution import load_layer_plan, load_scores, run_submitted
from core.runs.jobs import ERROR_FILE, STATES, JobStatus, find_job, list_jobs, remove_job, submit
from core.terminal.output import say, tell
from core.terminal.progress import ProgressBar
from core.warehouse.runs import read_profile
from core.wording.labels import text_name

RECORD = {
    "job_id": "job.job_id",
    "state": "state",
    "submitted_at": "job.submitted_at",
    "pilot_id": "job.pilot_id",
    "request": "job.config",
    "progress": "progress_record",
    "reason": "reason",
    "result": "result",
    "worker": "worker",
    "log": "job.log",
}
Request = TypeVar("Request", RunConfig, PlanConfig, ScoreConfig)


def request_of(kind: type[Request], options: argparse.Namespace, **others: Any) -> Request:
    """The request that the options say, each by the name of its field."""
    given = {field.name: getattr(options, field.name, None) for field in fields(kind)} | others
    return kind(**{name: value for name, value in given.items() if value is not None})


def run_each(
    configs: Sequence[Any],
    warehouse,
    report: Callable[[JobStatus], int],
    begun: str = "",
    engine=None,
    again: bool = False,
    at_once: bool = False,
) -> int:
    """Do one request after the other, or all that an engine runs at once, each in its own process; a failed one does not stop the
    others. Returns an exit code, where `report` gives that of a finished one; `begun` is told before each."""
    warehouse.prepare()  # an unusable warehouse is noticed now, not after measuring
    recover(warehouse)
    codes = []
    for number, batch in enumerate([configs] if at_once else [[config] for config in configs], 1):
        if begun:
            text, how = batch[0].what
            about = {"model": batch[0].model, "text": text_name(text), "protocol": how}
            tell(begun, **about, n=number, of=len(configs))
        submitted = []
        for config in batch:
            try:
                submitted.append(submit(config, warehouse, again=again))
            except InputError as error:
                codes.append(fail(error))
        for status in run_jobs(submitted, engine or local_engine(warehouse)):
            codes.append(report(status) if status.state == "finished" else report_unfinished(status))
    return worst(codes)


def local_engine(warehouse):
    """A core.runs.requests.Engine on this machine."""
    return lambda todo, on_progress: jobs.run_jobs(todo, warehouse, max_parallel_jobs(), on_progress)


def run_jobs(submitted: Sequence[Any], engine) -> Iterator[JobStatus]:
    """Run jobs with a progress bar; yields each when its process has ended. Ctrl-C cancels them."""
    with ProgressBar(n=len(submitted)) as bar:
        for status in engine(submitted, bar.follow):
            bar.ended()
            yield status


def report_end(status: JobStatus, warehouse) -> int:
    """Print the outcome of a job whose process has ended; returns an exit code."""
    if status.state != "finished":
        return report_unfinished(status)
    from core.terminal.tables import result_text  # what words results is not loaded by the process of a job

    result = status.result
    try:
        lines = _result_lines(status, warehouse)
    except KeyError:
        warn("No longer in the warehouse: {result}.", result=result_text(result))
        remove_job(status.job)
        return 1
    remove_job(status.job)
    say(*lines)
    for line in result.get("failed", ()):
        warn(line)
    if waits := result.get("waits"):
        message = Sentence("Finished; to be taken in later: {result}.", result=result_text(result))
        warn(sentences(message, waits))
    return 0


def _result_lines(status: JobStatus, warehouse) -> Iterable[str]:
    """Raises KeyError if the result was deleted since."""
    from core.terminal.run_details import answer_lines, next_lines
    from core.terminal.tables import made_plan_lines, result_text, scored_lines

    result = status.result
    if "plan_id" in result:
        return made_plan_lines(load_layer_plan(status, warehouse))
    if "file_sha256" in result:
        note = Sentence(
            "Already scored; `workdim scores remove {file}` first, to score it again.",
            file=result["file_sha256"][:SHORT_ID],
        )
        return [*([note] if result["was_known"] else []), *scored_lines(load_scores(status, warehouse))]
    profile = read_profile(warehouse, result["run_id"])
    note = Sentence("Already measured as {run}; --again measures it again.", run=result_text(result))
    return [*([note] if result.get("was_known") else []), *answer_lines(profile), *next_lines(profile)]


def report_unfinished(status: JobStatus) -> int:
    """Print why a job did not finish; returns an exit code."""
    job = status.job
    if status.state == "cancelled":
        warn("The job of {model} was cancelled; nothing is left.", model=job.config.model)
        return 130
    has_failed = status.state == "failed"
    if has_failed:
        warn(status.reason)
    else:
        warn("The process of {model} was ended from outside; out of memory?", model=job.config.model)
    if has_failed and not any(job.folder.glob("kept-*/step-*.json")):
        remove_job(job)
    else:
        warn(
            "Kept so far: `workdim jobs resume {job}` continues, `workdim jobs cancel {job}` removes it.",
            job=job.job_id[:SHORT_ID],
        )
    return status.exit_code if has_failed else 1


def list_(options: argparse.Namespace) -> None:
    from core.terminal.tables import jobs_table

    statuses = list_jobs(options.warehouse)
    none = nothing_yet("measure MODEL")
    show_records(options, [as_record(status, RECORD) for status in statuses], jobs_table(statuses), none)


def cancel(options: argparse.Namespace) -> None:
    status = find_job(options.warehouse, options.job)
    job = status.job
    jobs.cancel_job(job)
    if status.state == "finished":  # what it made stays
        tell("Finished jobs cleared: {n}.", n=1)
        return
    remainder = Sentence("nothing of it stays")
    if isinstance(job.config, RunConfig):
        remainder = Sentence("only control passes that it finished stay")
    tell(
        "The job {job} ({model}) is cancelled; {stays}.",
        job=job.job_id[:SHORT_ID],
        model=job.config.model,
        stays=remainder,
    )


def clear(options: argparse.Namespace) -> None:
    finished = [status.job for status in list_jobs(options.warehouse) if status.state == "finished"]
    for job in finished:
        remove_job(job)
    tell("Finished jobs cleared: {n}.", n=len(finished))


def resume(options: argparse.Namespace) -> int:
    warehouse = options.warehouse
    status = find_job(warehouse, options.job)
    job = status.job
    if options.here:  # run by a job's own process: the job counts as starting until this process holds it
        with watched(job.folder / ERROR_FILE):
            run_submitted(job, warehouse, lambda step: None)
        return 0
    if status.is_active:
        raise InputError(
            "The job {job} is {state}: `workdim jobs` shows it.", job=job.job_id[:SHORT_ID], state=STATES[status.state]
        )
    if status.state == "finished":
        return report_end(status, warehouse)
    (ended,) = run_jobs([job], local_engine(warehouse))
    return report_end(ended, warehouse)
