"""Verbs that measure: measure, pilot and calibrate."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict
from pathlib import Path

from core.commands.context import chosen_warehouse, fail, warn
from core.commands.jobs import bring_to_end, tell_end
from core.errors import InputError, Sentence
from core.records import RunConfig, bytes_of
from core.terminal.output import say, say_json


def measure(options: argparse.Namespace) -> int:
    from core.runs.requests import with_companions, with_readable_companions

    asked = RunConfig(
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
        return estimate_all(with_companions(asked, options.models), chosen_warehouse(options), options.json)
    if options.json:
        raise InputError("--json prints the card of --estimate-only. Add that, or leave --json out.")
    _tell_costs(asked.protocol, asked.estimators)
    # Models that are measured together are compared across tokenizers: their words are chosen for all of them.
    tell_terms(options.models)
    warehouse = chosen_warehouse(options)
    configs, engine = with_readable_companions(asked, options.models), chosen_engine(options, warehouse)
    if options.engine == "ray":
        return measure_at_once(configs, warehouse, options.again, engine)
    return measure_all(configs, warehouse, options.again, engine)


SHOWN = 6
"""Requests that were not met and are named once more at the end."""


def tell_terms(models: Iterable[str], tell: Callable[[str], None] = say) -> None:
    """What whoever fetches these models accepts, before anything of them is fetched."""
    from core.models.packages import terms_before_fetching

    for terms in filter(None, map(terms_before_fetching, dict.fromkeys(models))):
        tell(terms)


def _tell_costs(protocol_name: str, asked: Sequence[str]) -> None:
    """What estimators beyond the usual ones will take on each layer, before they run."""
    from core.registry.protocols import find_protocol

    protocol = find_protocol(protocol_name)
    if not asked and not protocol.more_estimators:
        return
    from core.geometry.effort import unit_seconds
    from core.registry.estimators import find_estimator, require_on_request

    require_on_request(asked, protocol.name, protocol.clouds)
    unit = unit_seconds()
    for name in dict.fromkeys([*protocol.more_estimators, *asked]):
        say(
            Sentence(
                "{name}: about {seconds:.2g} s on each layer of each text (2,000 points of 100 dimensions; more where wider)",
                name=name,
                seconds=find_estimator(name).cost * unit,
            )
        )


def measure_all(configs, warehouse, again: bool = False, engine=None, as_one: bool = False) -> int:
    """Measure one after the other, each in a process of its own; one that cannot be measured does not stop the next.

    `as_one`: each request for itself, without the further draws and texts that its protocol has.
    """
    from core.runs.jobs import submit
    from core.runs.recovery import recover
    from core.runs.requests import expand_request

    warehouse.prepare()  # an unusable warehouse is found out now, not after the measuring
    recover(warehouse)
    codes = [0]
    parts = [part for asked in configs for part in ([asked] if as_one else expand_request(asked))]
    for number, config in enumerate(parts, 1):
        named, of = _named(config), len(parts)
        say(
            Sentence(
                "Measuring {named}, {protocol} ({n} of {of})", named=named, protocol=config.protocol, n=number, of=of
            )
        )
        try:
            codes.append(bring_to_end(submit(config, warehouse, again=again), warehouse, engine))
        except InputError as error:
            codes.append(fail(error))
    return 1 if 1 in codes else max(codes)  # a failure of ours says more than a request that cannot be met


def measure_at_once(configs, warehouse, again: bool, engine) -> int:
    """Give all to an engine that has room for many; each is told as it ends."""
    from core.runs.jobs import submit
    from core.runs.recovery import recover
    from core.runs.requests import expand_request
    from core.terminal.progress import ProgressBar

    warehouse.prepare()
    recover(warehouse)
    worst, jobs = 0, {}
    for config in (part for asked in configs for part in expand_request(asked)):
        try:
            job = submit(config, warehouse, again=again)
            jobs[job.job_id] = job
        except InputError as error:
            worst = fail(error)
    say(Sentence("Measuring {n} at once", n=len(jobs)))
    with ProgressBar(Sentence("Measuring"), len(jobs)) as bar:
        for ended in engine(list(jobs.values()), bar.follow):
            bar.ended()
            worst = tell_end(ended, warehouse) or worst
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
    """One card for each measurement that the requests stand for; exit code 2 where one of them is refused."""
    from core.runs.estimates import preflight_cards
    from core.terminal.preflight_card import card_lines

    found = preflight_cards(configs, warehouse)
    if as_json:
        say_json([asdict(card) for card in found])
    else:
        for number, card in enumerate(found):
            say(*([""] if number else []), *card_lines(card))
    return 2 if any(card.refusals for card in found) else 0


def chosen_engine(options: argparse.Namespace, warehouse):
    """As core.runs.pilot_jobs.Engine. Raises InputError where arguments do not go together, or there is no Ray."""
    if options.engine == "ray":
        from core.runs.ray import engine
        from core.runs.ray.cluster import check_ray

        check_ray(options.address)  # before anything is submitted
        return lambda jobs, told: engine.run_jobs_on_cluster(jobs, warehouse, options.address, told)
    if options.address:
        raise InputError("--address is that of a Ray cluster: add --engine ray, or leave it out.")
    from core.runs import processes
    from core.runs.processes import max_parallel_jobs

    return lambda jobs, told: processes.run_jobs(jobs, warehouse, max_parallel_jobs(), told)


def pilot(options: argparse.Namespace) -> int:
    """Exit code 2 where a request was not met; the others are measured all the same."""
    from core.runs.jobs import STATES
    from core.runs.pilot_jobs import pilot_measurements, run_pilot
    from core.terminal.progress import ProgressBar

    warehouse = chosen_warehouse(options)
    asked = _asked(options.pilot, warehouse)
    if options.estimate_only:
        from core.pilots.registration import pilot_requests

        return estimate_all(pilot_requests(asked), warehouse, options.json)
    tell_terms(one.reference for one in asked.models)
    n_requests = len(pilot_measurements(asked))
    say(Sentence("Pilot {name} ({id}): {n} measurements", name=asked.name, id=asked.pilot_id, n=n_requests))
    failed, begun = [], set()

    def told(at) -> None:
        name = _named(at.job.config)
        if at.state == "running" and name not in begun:  # where the output is no terminal, all that is seen of it
            begun.add(name)
            bar.clear()
            say(Sentence("  {name}: begun", name=name))
        bar.name(at.job.config.model)
        bar.follow(at)

    with ProgressBar(asked.name, n_requests) as bar:
        for one in run_pilot(asked, warehouse, chosen_engine(options, warehouse), told):
            bar.ended()
            name = _named(one.config)
            if one.state == "finished":
                known = Sentence(" (was there already)") if one.was_known else ""
                say(Sentence("  {name}: run {run}{known}", name=name, run=one.run_id, known=known))
            else:
                failed.append(name)
                warn(Sentence("{name}: {state}. {reason}", name=name, state=STATES[one.state], reason=one.reason))
            for note in one.notes:
                warn(Sentence("{name}: {problem}", name=name, problem=note))
    if failed:
        more = [Sentence("{n_there} more", n_there=len(failed) - SHOWN)] if len(failed) > SHOWN else []
        named = [*failed[:SHOWN], *more]
        warn(
            Sentence(
                "Not met: {n} of {of}: {named}. The same command tries again.",
                n=len(failed),
                of=n_requests,
                named=named,
            )
        )
    say(Sentence("`workdim slides --pilot {id} --out FILE.pptx` writes its slides.", id=asked.pilot_id))
    return 2 if failed else 0


def _named(config: RunConfig) -> Sentence:
    return Sentence("{model} on {text}", model=config.model, text=config.corpus)


def _asked(written: str, warehouse):
    """The pilot of a file, or one that is registered, by its name or id."""
    from core.pilots.registration import find_pilot, read_pilot
    from core.runs.requests import protocol_names, text_names
    from core.warehouse import queries
    from core.warehouse.connection import exists

    if written.endswith(".toml") or not exists(warehouse.path):
        return read_pilot(Path(written), protocol_names(), text_names())
    return find_pilot(queries.pilots(warehouse).to_dicts(), written).pilot
