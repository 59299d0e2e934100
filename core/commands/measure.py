"""Verbs that measure: measure, pilot and calibrate."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict
from pathlib import Path

from core.commands.context import fail, selected_warehouse, show_records, warn, worst
from core.commands.jobs import report_end, request_of, run_each
from core.errors import InputError, Sentence
from core.files import max_parallel_jobs, no_folder
from core.locale import worded
from core.models.packages import terms_before_fetching
from core.pilots.pilot import find_pilot, pilot_requests, read_pilot
from core.records import Progress, RunConfig
from core.registry.estimators import extra_seconds, require_on_request
from core.registry.protocols import find_protocol
from core.runs import processes
from core.runs.estimates import preflight_cards_from_process, with_readable_companions
from core.runs.jobs import STATES, submit
from core.runs.pilot_jobs import pilot_measurements, run_pilot
from core.runs.recovery import recover
from core.runs.requests import expand_request, protocol_names, text_names, with_companions, with_labels_hash
from core.tables import PilotRow, records
from core.terminal.output import say, tell
from core.terminal.preflight_card import card_lines
from core.terminal.progress import ProgressBar
from core.texts.sample import open_text
from core.warehouse import queries
from core.warehouse.connection import exists
from core.wording.labels import names_text

MOST_FAILED_NAMES = 6
"""Failed requests that are named again at the end."""


def measure(options: argparse.Namespace) -> int:
    request = request_of(RunConfig, options, model="", estimators=tuple(options.estimators or ()))
    request = with_labels_hash(request)
    if options.estimate_only:
        return estimate_all(with_companions(request, options.models), options)
    if options.json:
        raise InputError("--json prints the card of --estimate-only. Add that, or leave --json out.")
    open_text(request)  # once, and not when each model's job reaches it
    _show_costs(request.protocol, request.estimators)
    # Models measured together are compared across tokenizers: their words are chosen for all of them.
    show_terms(options.models)
    warehouse = selected_warehouse(options)
    engine = select_engine(options, warehouse)
    configs = with_readable_companions(request, options.models, warehouse)
    if options.engine == "ray":
        return measure_parallel(configs, warehouse, options.again, engine)
    return measure_all(configs, warehouse, options.again, engine)


def show_terms(models: Iterable[str], show: Callable[[str], None] = say) -> None:
    """Print the terms that a user accepts by fetching these models, before anything is fetched."""
    for terms in filter(None, map(terms_before_fetching, dict.fromkeys(models))):
        show(terms)


def _show_costs(protocol_name: str, estimators: Sequence[str]) -> None:
    """Print the time per layer of estimators beyond the usual ones, before they run."""
    protocol = find_protocol(protocol_name)
    if not estimators and not protocol.more_estimators:
        return
    require_on_request(estimators, protocol.name, protocol.clouds)
    for name in dict.fromkeys([*protocol.more_estimators, *estimators]):
        tell("{name}: about {seconds:.2g} s per layer and text", name=name, seconds=extra_seconds([name]))


def measure_all(configs, warehouse, again: bool = False, engine=None, as_one: bool = False) -> int:
    """Measure one after the other. Returns an exit code.

    `as_one`: measure exactly the requests, without the further draws and texts of their protocols.
    """
    parts = configs if as_one else [part for request in configs for part in expand_request(request)]

    def title(config: RunConfig, number: int) -> None:
        tell(
            "Measuring {named}, {protocol} ({n} of {of})",
            named=_request_text(config),
            protocol=config.protocol,
            n=number,
            of=len(parts),
        )

    return run_each(parts, warehouse, lambda status: report_end(status, warehouse), title, engine, again)


def measure_parallel(configs, warehouse, again: bool, engine) -> int:
    """Give all requests to an engine that runs many at once; reports each as it ends. Returns an exit code."""
    warehouse.prepare()
    recover(warehouse)
    codes, jobs = [], {}
    for config in (part for request in configs for part in expand_request(request)):
        try:
            job = submit(config, warehouse, again=again)
            jobs[job.job_id] = job
        except InputError as error:
            codes.append(fail(error))
    tell("Measuring {n} at once", n=len(jobs))
    with ProgressBar(Sentence("Measuring"), len(jobs)) as bar:
        for status in engine(list(jobs.values()), bar.follow):
            bar.ended()
            codes.append(report_end(status, warehouse))
    return worst(codes)


def calibrate(options: argparse.Namespace) -> None:
    from core.geometry.clouds import TABLE
    from core.geometry.estimators import calibrate_gaussian, write_table

    path = options.out or TABLE
    if not path.parent.is_dir():
        raise InputError(no_folder(path.parent))
    with ProgressBar(Sentence("Gaussian clouds")) as bar:
        rows = calibrate_gaussian(lambda done, total: bar.report(Progress("calibrate", done, total)))
    write_table(rows, path)
    tell("{path}: {n} readings", path=path, n=len(rows))


def estimate_all(configs: Sequence[RunConfig], options: argparse.Namespace) -> int:
    """Print one card for each measurement of the expanded requests; exit code 2 if one of them is refused."""
    parts = [part for config in configs for part in expand_request(config)]
    cards = preflight_cards_from_process(parts, selected_warehouse(options))
    lines = lambda: [line for card in cards for line in ("", *card_lines(card))][1:]  # noqa: E731
    show_records(options, [asdict(card) for card in cards], lines)
    return 2 if any(card.refusals for card in cards) else 0


def select_engine(options: argparse.Namespace, warehouse):
    """A core.runs.pilot_jobs.Engine. Raises InputError for options that conflict, or if Ray is not available."""
    if options.engine == "ray":
        from core.runs.ray import engine
        from core.runs.ray.cluster import check_ray

        check_ray(options.address)  # before any job is submitted
        return lambda jobs, on_progress: engine.run_jobs_on_cluster(jobs, warehouse, options.address, on_progress)
    if options.address:
        raise InputError("--address is that of a Ray cluster: add --engine ray, or leave it out.")
    return lambda jobs, on_progress: processes.run_jobs(jobs, warehouse, max_parallel_jobs(), on_progress)


def pilot(options: argparse.Namespace) -> int:
    """Exit code 2 if a request was not met; the others are measured all the same."""
    warehouse = selected_warehouse(options)
    asked = _load_pilot(options.file, warehouse)
    if options.estimate_only:
        return estimate_all(pilot_requests(asked), options)
    show_terms(model.reference for model in asked.models)
    n_requests = len(pilot_measurements(asked))
    tell(
        "Pilot {name} ({id}): {n} measurement",
        "Pilot {name} ({id}): {n} measurements",
        name=asked.name,
        id=asked.pilot_id,
        n=n_requests,
    )
    failed, started = [], set()

    def on_progress(status) -> None:
        name = _request_text(status.job.config)
        if status.state == "running" and name not in started:  # without a terminal this is the only sign of progress
            started.add(name)
            bar.clear()
            tell("  {name}: begun", name=name)
        bar.name(status.job.config.model)
        bar.follow(status)

    with ProgressBar(asked.name, n_requests) as bar:
        for result in run_pilot(asked, warehouse, select_engine(options, warehouse), on_progress):
            bar.ended()
            name = _request_text(result.config)
            if result.state == "finished":
                suffix = Sentence(" (was there already)") if result.was_known else ""
                tell("  {name}: run {run}{known}", name=name, run=result.run_id, known=suffix)
            else:
                failed.append(name)
                warn("{name}: {state}. {reason}", name=name, state=STATES[result.state], reason=result.reason)
            for note in result.notes:
                warn("{name}: {problem}", name=name, problem=note)
    if failed:
        named = names_text([*map(worded, failed)], MOST_FAILED_NAMES)
        warn("Failed: {n} of {of}: {named}. The same command tries again.", n=len(failed), of=n_requests, named=named)
    tell("`workdim slides --pilot {id} --out FILE.pptx` writes its slides.", id=asked.pilot_id)
    return 2 if failed else 0


def _request_text(config: RunConfig) -> Sentence:
    return Sentence("{model} on {text}", model=config.model, text=config.corpus)


def _load_pilot(name: str, warehouse):
    """A pilot from a file, or a registered one by its name or id."""
    if name.endswith(".toml") or not exists(warehouse.path):
        return read_pilot(Path(name), protocol_names(), text_names())
    return find_pilot(records(queries.pilots(warehouse), PilotRow), name).pilot
