"""What a job measures, opened once before its first pass: protocol, text, the model's description, its tokens."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

from core.errors import InputError
from core.models.hub import find_weights
from core.models.loading import read_tokenizer
from core.models.model import Blueprint, read_blueprint
from core.records import RunConfig
from core.registry.estimators import require_on_request
from core.registry.protocols import Protocol, find_protocol
from core.texts.chats import read_template, template_hash
from core.texts.corpora import Corpus, open_corpus
from core.texts.sample import TokenSample, draw_sample


@dataclass(frozen=True)
class Identity:
    """What a control run must share with the measurement that it controls, known before anything is measured."""

    model_id: str
    configuration_hash: str | None
    tokenizer_hash: str
    corpus_id: str
    protocol_hash: str
    dtype: str
    stack: str
    chat_template_hash: str | None


@dataclass(frozen=True)
class Setup:
    """All passes of a job share it: they differ in the order of the tokens, or in the values of the weights."""

    protocol: Protocol
    corpus: Corpus
    blueprint: Blueprint
    seed: int
    companions: tuple[Any, ...] = ()
    """Tokenizers of the models that this one is to be compared with: the words are chosen for all of them."""

    @cached_property
    def sample(self) -> TokenSample:
        """The tokens of the text; raises CorpusError or ModelError where they cannot be measured."""
        tokenizer, name = self.blueprint.tokenizer, self.blueprint.weights.name
        return draw_sample(self.corpus, tokenizer, self.protocol, self.seed, name, self.companions)

    @cached_property
    def sample_without_bos(self) -> TokenSample:
        """The same windows without the token that the tokenizer opens a text with."""
        tokenizer, name = self.blueprint.tokenizer, self.blueprint.weights.name
        return draw_sample(self.corpus, tokenizer, self.protocol, self.seed, name, self.companions, opened=False)

    @cached_property
    def identity(self) -> Identity:
        """From the configuration, the tokenizer and the text; the weights are hashed, not loaded."""
        blueprint, row = self.blueprint, self.blueprint.weightless.row
        template = read_template(blueprint.tokenizer, row.name) if self.corpus.conversations else None
        return Identity(
            row.model_id,
            row.configuration_hash,
            row.tokenizer_hash,
            self.corpus.row.corpus_id,
            self.protocol.hash(self.seed),
            blueprint.dtype,
            blueprint.stack,
            template_hash(template) if template else None,
        )


def open_setup(config: RunConfig) -> Setup:
    """Fetches the model where it is not here. Raises InputError (and its kinds) for anything that the user can mend."""
    protocol = find_protocol(config.protocol)
    require_on_request(config.estimators, protocol.name, protocol.clouds)
    corpus = open_corpus(config.corpus, config.column, config.encoding, config.chat)
    blueprint = read_blueprint(find_weights(config.model), config.dtype, config.device, config.stack)
    companions = tuple(read_tokenizer(find_weights(reference)) for reference in config.companions)
    return Setup(protocol, corpus, blueprint, config.seed, companions)


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
