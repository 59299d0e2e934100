"""Verbs that measure: measure, pilot and calibrate."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict
from pathlib import Path

from core.commands.context import fail, selected_warehouse, warn
from core.commands.jobs import report_end, run_to_end
from core.errors import InputError, Sentence
from core.records import RunConfig, bytes_of
from core.terminal.output import say, say_json


def measure(options: argparse.Namespace) -> int:
    from core.runs.estimates import with_readable_companions
    from core.runs.requests import with_companions
    from core.texts.corpora import require_corpus

    request = RunConfig(
        "",
        options.corpus,
        options.protocol,
        options.column,
        options.encoding,
        options.seed,
        options.dtype,
        options.device,
        stack=options.stack,
        memory_budget=bytes_of(options.memory_budget),
        controls=options.controls,
        estimators=tuple(options.estimator or ()),
        keep_tokens=options.keep_tokens,
        chat=options.chat,
    )
    if options.estimate_only:
        return estimate_all(with_companions(request, options.models), selected_warehouse(options), options.json)
    if options.json:
        raise InputError("--json prints the card of --estimate-only. Add that, or leave --json out.")
    require_corpus(request.corpus)  # once, and not when each model's job reaches it
    _show_costs(request.protocol, request.estimators)
    # Models measured together are compared across tokenizers: their words are chosen for all of them.
    show_terms(options.models)
    warehouse = selected_warehouse(options)
    engine = select_engine(options, warehouse)
    configs = with_readable_companions(request, options.models, warehouse)
    if options.engine == "ray":
        return measure_parallel(configs, warehouse, options.again, engine)
    return measure_all(configs, warehouse, options.again, engine)


MOST_FAILED_NAMES = 6
"""Failed requests that are named again at the end."""


def show_terms(models: Iterable[str], tell: Callable[[str], None] = say) -> None:
    """Print the terms that a user accepts by fetching these models, before anything is fetched."""
    from core.models.packages import terms_before_fetching

    for terms in filter(None, map(terms_before_fetching, dict.fromkeys(models))):
        tell(terms)


def _show_costs(protocol_name: str, estimators: Sequence[str]) -> None:
    """Print the time per layer of estimators beyond the usual ones, before they run."""
    from core.registry.protocols import find_protocol

    protocol = find_protocol(protocol_name)
    if not estimators and not protocol.more_estimators:
        return
    from core.geometry.effort import unit_seconds
    from core.registry.estimators import find_estimator, require_on_request

    require_on_request(estimators, protocol.name, protocol.clouds)
    unit = unit_seconds()
    for name in dict.fromkeys([*protocol.more_estimators, *estimators]):
        say(
            Sentence(
                "{name}: about {seconds:.2g} s on each layer of each text (2,000 points of 100 dimensions; more where wider)",
                name=name,
                seconds=find_estimator(name).cost * unit,
            )
        )


def measure_all(configs, warehouse, again: bool = False, engine=None, as_one: bool = False) -> int:
    """Measure one after the other, each in its own process; a failed one does not stop the next. Returns an exit code.

    `as_one`: measure exactly the requests, without the further draws and texts of their protocols.
    """
    from core.runs.jobs import submit
    from core.runs.recovery import recover
    from core.runs.requests import expand_request

    warehouse.prepare()  # an unusable warehouse is noticed now, not after measuring
    recover(warehouse)
    codes = [0]
    parts = [part for request in configs for part in ([request] if as_one else expand_request(request))]
    for number, config in enumerate(parts, 1):
        title, total = _request_text(config), len(parts)
        say(
            Sentence(
                "Measuring {named}, {protocol} ({n} of {of})", named=title, protocol=config.protocol, n=number, of=total
            )
        )
        try:
            codes.append(run_to_end(submit(config, warehouse, again=again), warehouse, engine))
        except InputError as error:
            codes.append(fail(error))
    return 1 if 1 in codes else max(codes)  # a failure of ours (1) outweighs a request that cannot be met (2)


def measure_parallel(configs, warehouse, again: bool, engine) -> int:
    """Give all requests to an engine that runs many at once; reports each as it ends. Returns an exit code."""
    from core.runs.jobs import submit
    from core.runs.recovery import recover
    from core.runs.requests import expand_request
    from core.terminal.progress import ProgressBar

    warehouse.prepare()
    recover(warehouse)
    worst, jobs = 0, {}
    for config in (part for request in configs for part in expand_request(request)):
        try:
            job = submit(config, warehouse, again=again)
            jobs[job.job_id] = job
        except InputError as error:
            worst = fail(error)
    say(Sentence("Measuring {n} at once", n=len(jobs)))
    with ProgressBar(Sentence("Measuring"), len(jobs)) as bar:
        for status in engine(list(jobs.values()), bar.follow):
            bar.ended()
            worst = report_end(status, warehouse) or worst
    return worst


def calibrate(options: argparse.Namespace) -> int:
    from core.geometry import gaussian
    from core.records import Progress
    from core.terminal.progress import ProgressBar

    path = options.out or gaussian.TABLE
    if not path.parent.is_dir():
        raise InputError("There is no folder {parent}. Make it, or name another file with --out.", parent=path.parent)
    with ProgressBar(Sentence("Gaussian clouds")) as bar:
        rows = gaussian.calibrate(lambda done, total: bar.report(Progress("calibrate", done, total)))
    gaussian.write_table(rows, path)
    say(Sentence("{path}: {n} readings", path=path, n=len(rows)))
    return 0


def estimate_all(configs: Sequence[RunConfig], warehouse, as_json: bool) -> int:
    """Print one card for each measurement of the expanded requests; exit code 2 if one of them is refused."""
    from core.runs.estimates import preflight_cards_from_process
    from core.runs.requests import expand_request
    from core.terminal.preflight_card import card_lines

    parts = [part for config in configs for part in expand_request(config)]
    all_cards = preflight_cards_from_process(parts, warehouse)
    if as_json:
        say_json([asdict(card) for card in all_cards])
    else:
        for number, card in enumerate(all_cards):
            say(*([""] if number else []), *card_lines(card))
    return 2 if any(card.refusals for card in all_cards) else 0


def select_engine(options: argparse.Namespace, warehouse):
    """A core.runs.pilot_jobs.Engine. Raises InputError for options that conflict, or if Ray is not available."""
    if options.engine == "ray":
        from core.runs.ray import engine
        from core.runs.ray.cluster import check_ray

        check_ray(options.address)  # before any job is submitted
        return lambda jobs, on_progress: engine.run_jobs_on_cluster(jobs, warehouse, options.address, on_progress)
    if options.address:
        raise InputError("--address is that of a Ray cluster: add --engine ray, or leave it out.")
    from core.files import max_parallel_jobs
    from core.runs import processes

    return lambda jobs, on_progress: processes.run_jobs(jobs, warehouse, max_parallel_jobs(), on_progress)


def pilot(options: argparse.Namespace) -> int:
    """Exit code 2 if a request was not met; the others are measured all the same."""
    from core.runs.jobs import STATES
    from core.runs.pilot_jobs import pilot_measurements, run_pilot
    from core.terminal.progress import ProgressBar

    warehouse = selected_warehouse(options)
    selected_pilot = _load_pilot(options.file, warehouse)
    if options.estimate_only:
        from core.pilots.registration import pilot_requests

        return estimate_all(pilot_requests(selected_pilot), warehouse, options.json)
    show_terms(result.reference for result in selected_pilot.models)
    n_requests = len(pilot_measurements(selected_pilot))
    say(
        Sentence(
            "Pilot {name} ({id}): {n} measurement",
            "Pilot {name} ({id}): {n} measurements",
            name=selected_pilot.name,
            id=selected_pilot.pilot_id,
            n=n_requests,
        )
    )
    failed, started = [], set()

    def on_progress(status) -> None:
        name = _request_text(status.job.config)
        if status.state == "running" and name not in started:  # without a terminal this is the only sign of progress
            started.add(name)
            bar.clear()
            say(Sentence("  {name}: begun", name=name))
        bar.name(status.job.config.model)
        bar.follow(status)

    with ProgressBar(selected_pilot.name, n_requests) as bar:
        for result in run_pilot(selected_pilot, warehouse, select_engine(options, warehouse), on_progress):
            bar.ended()
            name = _request_text(result.config)
            if result.state == "finished":
                suffix = Sentence(" (was there already)") if result.was_known else ""
                say(Sentence("  {name}: run {run}{known}", name=name, run=result.run_id, known=suffix))
            else:
                failed.append(name)
                warn(Sentence("{name}: {state}. {reason}", name=name, state=STATES[result.state], reason=result.reason))
            for note in result.notes:
                warn(Sentence("{name}: {problem}", name=name, problem=note))
    if failed:
        more = (
            [Sentence("{n_there} more", n_there=len(failed) - MOST_FAILED_NAMES)]
            if len(failed) > MOST_FAILED_NAMES
            else []
        )
        names = [*failed[:MOST_FAILED_NAMES], *more]
        warn(
            Sentence(
                "Not met: {n} of {of}: {named}. The same command tries again.",
                n=len(failed),
                of=n_requests,
                named=names,
            )
        )
    say(Sentence("`workdim slides --pilot {id} --out FILE.pptx` writes its slides.", id=selected_pilot.pilot_id))
    return 2 if failed else 0


def _request_text(config: RunConfig) -> Sentence:
    return Sentence("{model} on {text}", model=config.model, text=config.corpus)


def _load_pilot(name: str, warehouse):
    """A pilot from a file, or a registered one by its name or id."""
    from core.pilots.registration import find_pilot, read_pilot
    from core.runs.requests import protocol_names, text_names
    from core.warehouse import queries
    from core.warehouse.connection import exists

    if name.endswith(".toml") or not exists(warehouse.path):
        return read_pilot(Path(name), protocol_names(), text_names())
    return find_pilot(queries.pilots(warehouse).to_dicts(), name).pilot
