"""What a control run must share with the measurement that it controls, known before anything is measured."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from core.errors import InputError
from core.models.loading import read_tokenizer
from core.models.model import read_blueprint
from core.models.sources import find_weights
from core.records import RunConfig
from core.registry.protocols import find_protocol
from core.texts.chats import read_template, template_hash
from core.texts.corpora import open_corpus


@dataclass(frozen=True)
class Identity:
    model_id: str
    configuration_hash: str | None
    tokenizer_hash: str
    corpus_id: str
    protocol_hash: str
    dtype: str
    stack: str
    chat_template_hash: str | None


def identify(config: RunConfig) -> Identity:
    """From the configuration, the tokenizer and the text; the weights are hashed, not loaded."""
    corpus = open_corpus(config.corpus, config.column, config.encoding, config.chat)
    blueprint = read_blueprint(find_weights(config.model), config.dtype, config.device, config.stack)
    with torch.device("meta"):
        model = blueprint.opened(blueprint.loader.from_config(blueprint.config))
    template = read_template(blueprint.tokenizer, blueprint.weights.name) if corpus.conversations else None
    return Identity(
        model.row.model_id,
        model.row.configuration_hash,
        model.row.tokenizer_hash,
        corpus.row.corpus_id,
        find_protocol(config.protocol).hash(config.seed),
        config.dtype,
        model.stack,
        template_hash(template) if template else None,
    )


def with_tokenizer(models: list[str]) -> list[str]:
    """Those whose tokenizer can be read: the others are told their error when their own turn comes."""
    found = []
    for reference in models:
        try:
            read_tokenizer(find_weights(reference))
        except InputError:
            continue
        found.append(reference)
    return found
