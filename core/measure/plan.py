"""What a run measures: the inputs of a job, opened once for all its passes, then one mask and one plan for all layers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

from core.errors import InputError
from core.geometry import clouds
from core.geometry.clouds import half_splits
from core.geometry.layer import CloudPlan
from core.geometry.layer_pairs import LayerPairs, points_within
from core.limits import opening
from core.measure.capture import HiddenStates
from core.models.hub import find_weights
from core.models.loading import read_tokenizer, tokenizer_hash
from core.models.model import Blueprint, read_blueprint
from core.records import RunConfig
from core.registry.protocols import PASSES, REFERENCE, Protocol, core_only_clouds
from core.texts.corpora import Corpus
from core.texts.sample import MIN_TYPES, TokenSample, draw_sample, open_text, read_template, template_hash


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

    def shares_words(self, words_hash: str | None) -> bool:
        """Whether a run on words of this hash has the words of this one: all models to compare with cut text as this one
        does, or the words are the same."""
        has_one_tokenizer = {tokenizer_hash(one) for one in self.companions} == {self.identity.tokenizer_hash}
        return has_one_tokenizer or words_hash == self.sample.words.hash

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


@dataclass(frozen=True)
class TokenMask:
    """Which tokens are measured, and how many were dropped by which rule."""

    keep: np.ndarray
    """(n_sequences * n_tokens,) bool"""
    types: np.ndarray
    """Token id of each kept token; (n_kept,)"""
    sequences: np.ndarray
    """Sequence of each kept token; (n_kept,)"""
    passages: np.ndarray
    """The same with near copies as one sequence: pairs of tokens within it do not count; (n_kept,)"""
    n_dropped_position: int
    n_dropped_special: int
    n_dropped_norm: int
    max_norm_ratio: float
    """Largest norm over the layer median on the inner layers, before masking."""
    n_dropped_template: int = 0
    """Tokens of a chat template that are not special: role markers, separators, prompts of its own."""
    large: np.ndarray = field(default_factory=lambda: np.zeros(0, dtype=bool))
    """Tokens beyond position 0 that the norm rule drops; (n_sequences * n_tokens,) bool"""

    @property
    def kept_rows(self) -> np.ndarray:
        """Row of each kept token in the table of kept tokens; undefined for dropped ones; (n_sequences * n_tokens,)"""
        return np.cumsum(self.keep) - 1

    @property
    def n_types(self) -> int:
        return len(np.unique(self.types))

    @property
    def norm_dropped_share(self) -> float:
        """Share of otherwise usable tokens that the norm rule drops."""
        return self.n_dropped_norm / max(1, int(self.keep.sum()) + self.n_dropped_norm)


def mask_tokens(sample: TokenSample, norms: np.ndarray, n_layers: int, norm_factor: float) -> TokenMask:
    """Drop position 0, special ids, chat templates, and tokens with a norm above `norm_factor` x the layer median.

    norms (n_states, n_tokens), states 0..n_layers first. The norm rule looks at states 1..n_layers-1: attention
    sinks live there, up to 170 times the median, while the norm of the last state says nothing about sinks. The median
    leaves out the tokens of a chat template, which are the same few in every window.
    """
    position = np.tile(np.arange(sample.ids.shape[1]) == 0, len(sample.ids))
    special = sample.special.flatten() & ~position
    template = sample.template.flatten() & ~position & ~special
    inner = norms[1:n_layers]
    if len(inner):
        medians = np.median(inner[:, ~sample.template.flatten()], axis=1, keepdims=True)
        ratios = (inner / np.maximum(medians, 1e-30)).max(0)
    else:
        ratios = np.zeros(norms.shape[1])
    large = (ratios > norm_factor) & ~position & ~special & ~template
    keep = ~(position | special | template | large)
    sequences = np.repeat(np.arange(len(sample.ids)), sample.ids.shape[1])
    return TokenMask(
        keep,
        sample.ids.flatten()[keep],
        sequences[keep],
        sample.passages[sequences[keep]],
        int(position.sum()),
        int(special.sum()),
        int(large.sum()),
        float(ratios.max()),
        int(template.sum()),
        large,
    )


@dataclass(frozen=True)
class UsableWords:
    """The word occurrences with a usable token in this run."""

    occurrences: np.ndarray
    """Indices into the sample's WordSet; (n_placed,)"""
    rows: np.ndarray
    """Row of each one's token in the table of kept tokens; (n_placed,)"""
    n_lost: int
    """Occurrences without a usable token: beyond the sequence, or masked."""

    @property
    def lost_share(self) -> float | None:
        """Share of occurrences lost; None if the text has no words."""
        total = self.n_lost + len(self.rows)
        return self.n_lost / total if total else None


def usable_words(sample: TokenSample, mask: TokenMask) -> UsableWords:
    """The word occurrences whose token the mask keeps."""
    is_placed = sample.word_rows >= 0
    usable = is_placed & mask.keep[np.maximum(sample.word_rows, 0)]
    return UsableWords(np.flatnonzero(usable), mask.kept_rows[sample.word_rows[usable]], int((~usable).sum()))


def plan_layers(
    sample: TokenSample,
    mask: TokenMask,
    words: UsableWords,
    protocol: Protocol,
    seed: int,
    more_estimators: Sequence[str] = (),
    pass_: str = "text",
) -> CloudPlan:
    """Assign the kept tokens to clouds, identically for every layer; of a control that judges, to `one_per_type` alone."""
    reference_only = PASSES[pass_].judges
    tokens = clouds.Tokens(mask.types, mask.passages, sample.blocks[mask.sequences], sample.n_blocks)
    orders = [token_order(mask, seed, draw) for draw in range(protocol.n_draws)]
    cloud_names = (REFERENCE.cloud,) if reference_only else protocol.clouds
    others = []
    if "all_tokens" in cloud_names:
        others.append(clouds.all_tokens(orders[0], tokens, protocol.max_tokens))
    if "last_token" in cloud_names:
        last_tokens = np.flatnonzero(np.r_[mask.sequences[1:] != mask.sequences[:-1], True])
        others.append(clouds.last_token(last_tokens, tokens))
    sequence_starts = np.flatnonzero(np.r_[True, mask.sequences[1:] != mask.sequences[:-1]])
    prompts = np.split(np.arange(len(mask.types)), sequence_starts[1:]) if "per_prompt" in cloud_names else []
    return CloudPlan(
        draws=[clouds.one_per_type(order, tokens, protocol.max_types) for order in orders]
        if "one_per_type" in cloud_names
        else [],
        word_draws=_word_draws(sample, words, tokens, protocol, seed) if "one_per_word" in cloud_names else [],
        others=others,
        halves=half_splits(len(sample.ids), protocol.n_half_splits, seed),
        seed=seed,
        n_surrogates=protocol.n_surrogates,
        more_estimators=tuple(more_estimators),
        prompts=tuple(prompts),
        blocks=tokens.blocks,
        core_only=core_only_clouds(protocol, pass_),
        reference_only=reference_only,
    )


def _word_draws(
    sample: TokenSample, words: UsableWords, tokens: clouds.Tokens, protocol: Protocol, seed: int
) -> list[clouds.Cloud]:
    """The draws of `one_per_word`; empty if too few words are left."""
    labels = sample.words.words[words.occurrences]
    if len(np.unique(labels)) < MIN_TYPES:
        return []
    placed_index = np.full(len(sample.words.words), -1)
    placed_index[words.occurrences] = np.arange(len(words.occurrences))
    orders = (placed_index[sample.words.order(seed, draw)] for draw in range(protocol.n_draws))
    return [clouds.one_per_word(order[order >= 0], labels, words.rows, tokens, protocol.max_types) for order in orders]


def token_order(mask: TokenMask, seed: int, draw: int) -> np.ndarray:
    """The seeded permutation of the kept tokens, as rows of the masked table, for draw number `draw`.

    All sampled tokens are permuted before the masked ones are dropped, so that a token masked in one run only (by another
    dtype or machine) does not change the order of the others.
    """
    order = np.random.default_rng([seed, 1, draw]).permutation(len(mask.keep))
    return mask.kept_rows[order[mask.keep[order]]]


def extra_estimators(config: RunConfig, protocol: Protocol, pass_: str) -> tuple[str, ...]:
    """The estimators of the text pass beyond those that every pass measures: of the protocol, and of the request."""
    return tuple(dict.fromkeys([*protocol.more_estimators, *config.estimators])) if pass_ == "text" else ()


PAIR_BUDGET = 2**30
"""Most bytes of the layer x layer matrices; they also take at most a quarter of the memory budget."""
PAIR_DRAW = 0
"""The draw of `one_per_type` whose tokens are used for the layer x layer matrices."""


def pair_budget(config: RunConfig) -> int:
    """Bytes that the layer x layer matrices of a run may take."""
    return min(PAIR_BUDGET, (config.memory_budget or PAIR_BUDGET * 4) // 4)


def sample_layer_pairs(plan: CloudPlan, states: HiddenStates, budget: int, run_id: str) -> LayerPairs | None:
    """Draw the sub-sample of `one_per_type` for the layer x layer matrices; None if the protocol has no such cloud, or
    the pass measures its core specifications only."""
    if not plan.has_pairs:
        return None
    cloud = plan.draws[PAIR_DRAW]
    rows = cloud.rows[cloud.members[0]]
    n_points = points_within(budget, states.n_layers + 1, states.states.shape[2], len(rows))
    sample = np.sort(np.random.default_rng([plan.seed, 5]).permutation(len(rows))[:n_points])
    return LayerPairs(rows[sample], cloud.sequences[cloud.members[0]][sample], plan.blocks[rows[sample]], run_id)
