"""The inputs of a job, opened once before its first pass: protocol, text, model description, tokens."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

from core.errors import InputError
from core.limits import opening
from core.models.description import tokenizer_hash
from core.models.hub import find_weights
from core.models.loading import read_tokenizer
from core.models.model import Blueprint, read_blueprint
from core.records import RunConfig
from core.registry.protocols import Protocol
from core.texts.chats import read_template, template_hash
from core.texts.corpora import Corpus
from core.texts.sample import TokenSample, draw_sample, open_text


@dataclass(frozen=True)
class Identity:
    """The properties that a control run must share with its measurement, known before measuring."""

    model_id: str
    configuration_hash: str
    tokenizer_hash: str
    corpus_id: str
    protocol_hash: str
    dtype: str
    stack: str
    chat_template_hash: str | None


@dataclass(frozen=True)
class Setup:
    """Inputs shared by all passes of a job, which differ in the order of tokens or in the values of weights."""

    protocol: Protocol
    corpus: Corpus
    blueprint: Blueprint
    seed: int
    companions: tuple[Any, ...] = ()
    """Tokenizers of the models to compare with: words are chosen so that all of them can place them."""

    @cached_property
    def sample(self) -> TokenSample:
        """The tokens of the text. Raises CorpusError or ModelError if they cannot be measured."""
        return self._draw_sample(opened=True)

    @cached_property
    def sample_without_bos(self) -> TokenSample:
        """The same windows without the tokenizer's opening token."""
        return self._draw_sample(opened=False)

    def _draw_sample(self, opened: bool) -> TokenSample:
        tokenizer, name = self.blueprint.tokenizer, self.blueprint.weights.name
        with opening(name):
            return draw_sample(self.corpus, tokenizer, self.protocol, self.seed, name, self.companions, opened=opened)

    @property
    def has_one_tokenizer(self) -> bool:
        """Whether there are models to compare with, and all of them cut text as this one does."""
        return {tokenizer_hash(one) for one in self.companions} == {self.identity.tokenizer_hash}

    @cached_property
    def identity(self) -> Identity:
        """Computed from configuration, tokenizer and text; weights are hashed, not loaded."""
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
    """Open text and model; downloads the model if needed. Raises InputError (and subclasses) for anything the user can fix."""
    protocol, corpus = open_text(config)
    blueprint = read_blueprint(find_weights(config.model), config.dtype, config.device, config.stack)
    companions = tuple(read_tokenizer(find_weights(reference)) for reference in config.companions)
    return Setup(protocol, corpus, blueprint, config.seed, companions)


def with_readable_tokenizer(models: list[str]) -> list[str]:
    """The models whose tokenizer can be read; the others raise their error when they are measured."""
    readable = []
    for reference in models:
        try:
            read_tokenizer(find_weights(reference))
        except InputError:
            continue
        readable.append(reference)
    return readable
