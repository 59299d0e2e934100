"""Verbs that measure: measure, demo, calibrate; and app, which shows what was measured."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import replace

from core.errors import InputError
from core.records import bytes_of
from core.verbs.chosen import chosen_warehouse, fail, take_in
from core.verbs.engines import chosen_engine
from core.verbs.jobs import bring_to_end, tell_end


def measure(options: argparse.Namespace) -> int:
    from core.records import RunConfig

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
        from core.runs.choices import side_by_side
        from core.verbs.estimating import estimate_all

        return estimate_all(side_by_side(asked, options.models), chosen_warehouse(options), options.json)
    if options.json:
        raise InputError("--json prints the card of --estimate-only. Add that, or leave --json out.")
    _tell_costs(asked.protocol, asked.estimators)
    # Models that are measured together are compared across tokenizers: their words are chosen for all of them.
    warehouse = chosen_warehouse(options)
    configs, engine = together(asked, options.models), chosen_engine(options, warehouse)
    if options.engine == "ray":
        return measure_at_once(configs, warehouse, options.again, engine)
    return measure_all(configs, warehouse, options.again, engine)


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
        print(
            f"{name}: about {find_estimator(name).cost * unit:.2g} s on each layer of each text (2,000 points of 100 dimensions; more "
            "where wider)"
        )


def together(asked, models: Sequence[str]):
    """One request for each model, with the others as companions."""
    if len(set(models)) < 2:
        return [replace(asked, model=model) for model in models]
    from core.measure.identity import with_tokenizer
    from core.runs.choices import side_by_side

    readable = with_tokenizer(list(dict.fromkeys(models)))
    return [
        replace(one, companions=tuple(o for o in one.companions if o in readable))
        for one in side_by_side(asked, models)
    ]


def measure_all(configs, warehouse, again: bool = False, engine=None, as_one: bool = False) -> int:
    """Measure one after the other, each in a process of its own; one that cannot be measured does not stop the next.

    `as_one`: each request for itself, without the further draws and texts that its protocol has.
    """
    from core.runs.jobs import submit
    from core.runs.measuring import parts_of
    from core.runs.settling import sweep

    warehouse.prepare()  # an unusable warehouse is found out now, not after the measuring
    sweep(warehouse)
    codes = [0]
    parts = [part for asked in configs for part in ([asked] if as_one else parts_of(asked))]
    for number, config in enumerate(parts, 1):
        print(f"Measuring {config.model} on {config.corpus}, {config.protocol} ({number} of {len(parts)})", flush=True)
        try:
            codes.append(bring_to_end(submit(config, warehouse, again=again), warehouse, engine))
        except InputError as error:
            codes.append(fail(error))
    return 1 if 1 in codes else max(codes)  # a failure of ours says more than a request that cannot be met


def measure_at_once(configs, warehouse, again: bool, engine) -> int:
    """Give all to an engine that has room for many; each is told as it ends."""
    from core.console import ProgressBar
    from core.runs.jobs import submit
    from core.runs.measuring import parts_of
    from core.runs.settling import sweep

    warehouse.prepare()
    sweep(warehouse)
    worst, jobs = 0, {}
    for config in (part for asked in configs for part in parts_of(asked)):
        try:
            job = submit(config, warehouse, again=again)
            jobs[job.job_id] = job
        except InputError as error:
            worst = fail(error)
    print(f"Measuring {len(jobs)} at once", flush=True)
    with ProgressBar("Measuring") as bar:
        for ended in engine(list(jobs.values()), lambda now: bar.report(now.progress) if now.progress else None):
            bar.clear()
            worst = tell_end(ended, warehouse) or worst
    return worst


def calibrate(options: argparse.Namespace) -> int:
    from core.console import ProgressBar
    from core.geometry import calibration
    from core.records import Progress

    path = options.out or calibration.TABLE
    if not path.parent.is_dir():
        raise InputError(f"There is no folder {path.parent}. Make it, or name another file with --out.")
    with ProgressBar("Gaussian clouds") as bar:
        rows = calibration.calibrate(lambda done, total: bar.report(Progress("calibrate", done, total)))
    calibration.write_table(rows, path)
    print(f"{path}: {len(rows)} readings")
    return 0


def demo(options: argparse.Namespace) -> int:
    from core.records import RunConfig
    from core.registry.protocols import find_protocol
    from core.runs.choices import demo_models
    from core.warehouse import queries

    warehouse = chosen_warehouse(options)
    asked = RunConfig("")
    wanted = {
        "protocol_hash": find_protocol(asked.protocol).hash(asked.seed),
        "corpus_name": asked.corpus,
        "dtype": asked.dtype,
        "pass": "text",
    }
    take_in(warehouse)
    known = set(queries.runs(warehouse).filter(**wanted)["reference"])
    models = demo_models()
    for model in models:
        if model in known:
            print(f"{model} is measured already.")
    configs = [config for config in together(asked, models) if config.model not in known]
    code = measure_all(configs, warehouse)
    if code or options.no_app:
        return code
    return app(options)


def app(options: argparse.Namespace) -> int:
    from core.launch import serve

    return serve(chosen_warehouse(options).path, options.port)
