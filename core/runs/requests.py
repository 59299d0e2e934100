"""What may be asked for, the requests that are made of it, and the cards that say beforehand what they will take.

No model library is loaded for what a screen offers: cards are made here or in a process of their own.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from typing import Any

from pydantic import TypeAdapter

from core.errors import InputError
from core.files import default_path
from core.models.packages import DEMO_WHEELS
from core.records import Preflight, RunConfig
from core.registry.protocols import PROTOCOLS, find_protocol
from core.runs.processes import ROOT, environment
from core.texts.corpora import BUILT_IN
from core.warehouse.warehouse import Warehouse


def texts() -> list[str]:
    return list(BUILT_IN)


def demo_models() -> list[str]:
    return [f"pypi:{name}" for name in DEMO_WHEELS]


def protocols() -> list[str]:
    return list(PROTOCOLS)


def config_of(record: Mapping[str, Any]) -> RunConfig:
    """A request as it was read from JSON. Raises TypeError for one of another version, which has other fields."""
    fields: dict[str, Any] = {name: tuple(v) if isinstance(v, list) else v for name, v in record.items()}
    return RunConfig(**fields)


def requests(models: Sequence[str], **asked: Any) -> list[RunConfig]:
    """One request for each model, with the others as companions."""
    return with_companions(RunConfig("", **asked), list(dict.fromkeys(models)))


def with_companions(asked: RunConfig, models: Sequence[str]) -> list[RunConfig]:
    """One request for each model, with the others as companions, whether or not they are here."""
    return [
        replace(asked, model=model, companions=tuple(dict.fromkeys(other for other in models if other != model)))
        for model in models
    ]


def with_readable_companions(asked: RunConfig, models: Sequence[str]) -> list[RunConfig]:
    """The same; a model whose tokenizer cannot be read is no companion, and is refused when its own turn comes."""
    if len(set(models)) < 2:
        return with_companions(asked, models)
    from core.measure.setup import with_tokenizer

    readable = with_tokenizer(list(dict.fromkeys(models)))
    return [
        replace(one, companions=tuple(other for other in one.companions if other in readable))
        for one in with_companions(asked, models)
    ]


def parts_of(config: RunConfig) -> list[RunConfig]:
    """The measurements that one request stands for: a protocol may take further draws of the text, and other texts."""
    protocol = find_protocol(config.protocol)
    seeds = [replace(config, seed=seed) for seed in protocol.more_seeds if seed != config.seed]
    others = [name for name in protocol.more_corpora if name != config.corpus]
    texts = [replace(config, corpus=name, column=None, chat="template") for name in others]
    return [config, *seeds, *texts]


PATIENCE = 300
"""Seconds for the cards: the first on a machine measures its speed."""


def cards(configs: Sequence[RunConfig], warehouse: Warehouse) -> list[Preflight]:
    """One card for each measurement that the requests stand for."""
    from core.forecast.preflight_card import estimate

    return [estimate(part, warehouse) for asked in configs for part in parts_of(asked)]


def cards_from_process(configs: Sequence[RunConfig], warehouse: Warehouse) -> list[Preflight]:
    """The same, for a page, which loads no model library. Raises InputError for what `cards` refuses."""
    try:
        done = subprocess.run(
            [sys.executable, "-m", "core.runs.requests"],
            cwd=ROOT,
            env=environment(warehouse),
            input=json.dumps([asdict(config) for config in configs]),
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            timeout=PATIENCE,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise InputError(f"There is no estimate after {PATIENCE} seconds: machine or network are busy.") from error
    try:
        answer = json.loads(done.stdout)
        if "refused" in answer:
            raise InputError(answer["refused"])
        return TypeAdapter(list[Preflight]).validate_python(answer["cards"])
    except (ValueError, KeyError, TypeError) as error:
        raise InputError("No estimate came back.") from error


def main() -> None:
    configs = [config_of(one) for one in json.load(sys.stdin)]
    answer = sys.stdout
    sys.stdout = sys.stderr  # whatever a library prints is not the answer
    try:
        found = {"cards": [asdict(card) for card in cards(configs, Warehouse(default_path()))]}
    except InputError as error:
        answer.write(json.dumps({"refused": str(error)}))
    else:
        answer.write(json.dumps(found))


if __name__ == "__main__":
    main()
