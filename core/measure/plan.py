"""What a run measures: the inputs of a job, opened once for all its passes; one mask and one plan for all layers; the hidden
states of one forward pass; the loss that each layer tells of the next token.
"""

from __future__ import annotations

import errno
import logging
import math
import os
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from core.errors import InputError, ModelError, Sentence
from core.files import free_some, no_room, require_room
from core.geometry import clouds
from core.geometry.clouds import half_splits
from core.geometry.layer import CloudPlan
from core.geometry.layer_pairs import LayerPairs, points_within
from core.limits import opening
from core.models.hub import find_weights
from core.models.loading import read_tokenizer, tokenizer_hash
from core.models.model import Blueprint, OpenModel, read_blueprint
from core.models.stacks import (
    LOSS_ROWS,
    blocks_replaced,
    each_state,
    form_of,
    halved,
    in_form,
    input_state,
    largest_batch,
    run_together,
    within_memory,
)
from core.models.weights import THE_TOKENIZER, THE_WEIGHTS, damaged, not_measured
from core.records import Progress, ProgressCallback, RunConfig
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
    readable = with_readable_tokenizer(list(config.companions))
    companions = tuple(read_tokenizer(find_weights(reference)) for reference in readable)
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


# --- one forward pass, which writes every layer's hidden states to a scratch file ------------------------------------

# Forward hooks write each layer's output to a memory-mapped file, so that no layers x tokens x hidden-size tensor is held
# in memory; the geometry reads it back one layer at a time.

_log = logging.getLogger("workdim")
STATES_FILE = "states.npy"


@dataclass(frozen=True)
class HiddenStates:
    """States of all sampled tokens: layer 0 (embedding output) to L (output of block L), then the post-norm one."""

    states: np.memmap
    """(n_states, n_sequences * n_tokens, hidden_size) float32 on disk"""
    norms: np.ndarray
    """(n_states, n_sequences * n_tokens)"""
    n_layers: int
    has_post_norm: bool
    bits_per_byte: float | None
    nats: np.ndarray | None = None
    """Loss of each token given those before it in its window, NaN where it is no target; (n_sequences, n_tokens).
    None for models that do not predict the next token."""
    readable: np.ndarray | None = None
    """Loss of a sub-sample of targets, read at each layer (`read_losses`); (n_layers + 1, n_targets)"""
    streamed: bool = False
    """Whether weights were streamed block by block."""
    batch_planned: int | None = None
    """Planned number of windows per batch."""
    batch: int | None = None
    """Actual number of windows per batch: smaller if memory ran out."""

    @property
    def file(self) -> Path:
        """The file that holds `states`, with a header."""
        return Path(str(self.states.filename))

    def points(self, index: int, tokens: np.ndarray) -> Tensor:
        """States of these tokens, a mask (n_sequences * n_tokens,) or indices, at one entry; (n_chosen, hidden_size)"""
        return torch.from_numpy(self.states[index][tokens])

    @property
    def labels(self) -> list[tuple[int, str]]:
        """(layer, state) of each entry."""
        residual = [(layer, "residual") for layer in range(self.n_layers + 1)]
        return residual + ([(self.n_layers, "post_norm")] if self.has_post_norm else [])


def require_readable(model: OpenModel, sample: TokenSample) -> None:
    """Raises ModelError for unknown token ids, and for windows longer than the model's context.

    `model` may be on the meta device, so this can be checked before weights are read.
    """
    require_known_tokens(model, int(sample.ids.max()))
    require_context(model, sample.ids.shape[1])


def capture(model: OpenModel, sample: TokenSample, scratch: Path, progress: ProgressCallback) -> HiddenStates:
    """Run the model over all windows. The states file is created in `scratch`; the caller deletes it.

    Batches that do not fit into memory are halved, with a warning. Raises ResourceError if the disk is full or a single
    window does not fit, ModelError for hidden states that are not finite.
    """
    n_sequences, n_tokens = sample.ids.shape
    require_readable(model, sample)
    shape = (model.n_layers + 2, n_sequences * n_tokens, model.hidden_size)
    require_disk_space(scratch, states_bytes(model.n_layers, n_sequences * n_tokens, model.hidden_size))
    states = np.lib.format.open_memmap(scratch / STATES_FILE, mode="w+", dtype=np.float32, shape=shape)
    _allocate(scratch / STATES_FILE)
    writer = _StateWriter(model, states.reshape(len(states), *sample.ids.shape, model.hidden_size))
    batch_planned = batch = min(model.batch, largest_batch(model.n_logits, n_tokens))
    nats = np.full(sample.ids.shape, np.nan, dtype=np.float32)
    start = 0
    with torch.inference_mode(), each_state(model.layers, writer.write_layer):
        while start < n_sequences:
            progress(Progress("forward", start, n_sequences))
            # Streamed weights are read once for all batches.
            stop = n_sequences if model.units else min(start + batch, n_sequences)
            batches = [slice(first, min(first + batch, stop)) for first in range(start, stop, batch)]
            if not _forward(
                model, writer, sample, batches, nats, lambda n: progress(Progress("forward", n, len(model.units)))
            ):
                batch = halved(min(batch, stop - start), model.row.model_id, n_tokens, model.device)
                continue
            start = stop
    progress(Progress("forward", n_sequences, n_sequences))
    writer.check()
    bits_per_byte = None
    if model.is_causal and sample.n_bytes_scored:
        bits_per_byte = float(np.nansum(nats, dtype=np.float64)) / (math.log(2) * sample.n_bytes_scored)
    return HiddenStates(
        states,
        writer.norms.reshape(len(states), -1),
        model.n_layers,
        writer.post_norm_differs,
        bits_per_byte,
        nats if model.is_causal else None,
        streamed=bool(model.units),
        batch_planned=batch_planned,
        batch=batch,
    )


def require_known_tokens(model: OpenModel, largest_id: int) -> None:
    """Raises ModelError if the tokenizer gives ids without an embedding in the model."""
    if largest_id >= model.vocabulary_size:
        raise damaged(
            THE_TOKENIZER,
            model.row.model_id,
            Sentence(
                "it gives token {largest_id}, the model knows {vocabulary_size}",
                largest_id=largest_id,
                vocabulary_size=model.vocabulary_size,
            ),
        )


def require_context(model: OpenModel, n_tokens: int) -> None:
    """Raises ModelError if a window is longer than the model's context."""
    if model.context and n_tokens > model.context:
        raise ModelError(
            "{model} reads at most {context} tokens; windows have {n_tokens}. Choose another model or protocol.",
            model=model.row.model_id,
            context=model.context,
            n_tokens=n_tokens,
        )


def _forward(
    model: OpenModel,
    writer: _StateWriter,
    sample: TokenSample,
    batches: list[slice],
    nats: np.ndarray,
    on_units: Callable[[int], None],
) -> bool:
    """Run batches of windows, write their states and fill their losses into `nats`; returns False if memory runs out."""

    def run(windows: slice) -> None:
        ids, scored = sample.ids[windows], ~sample.template[windows]
        post_norm, losses = model.forward(*(torch.from_numpy(of).to(model.device) for of in (ids, scored)))
        writer.write_last(post_norm)
        if losses is not None:
            nats[windows] = losses.numpy()

    def enter(index: int) -> None:
        writer.windows = batches[index]

    def run_all() -> bool:
        run_together(model.units, [partial(run, windows) for windows in batches], enter, on_units)
        return True

    writer.written[:, batches[0].start : batches[-1].stop] = 0  # what an attempt without memory wrote does not count
    return within_memory(model.device, run_all) is not None


class _StateWriter:
    """Forward hooks that write each layer's states and norms into the windows of the current batch."""

    def __init__(self, model: OpenModel, states: np.ndarray) -> None:
        """states (n_states, n_sequences, n_tokens, hidden_size)"""
        self.model, self.states = model, states
        self.norms = np.zeros(states.shape[:3], dtype=np.float32)
        self.written = np.zeros(states.shape[:2], dtype=np.int64)
        """How often the states of a window were written."""
        self.windows = slice(0)
        self.post_norm_differs = False

    def write(self, index: int, state: Tensor) -> None:
        """Write a state (n_batch, n_tokens, hidden_size) of any dtype and device. Raises ModelError for another shape."""
        if state.shape != self.states[index, self.windows].shape:
            raise self._not_measured(index, str(tuple(state.shape)))
        values = state.float().cpu().contiguous()
        self.norms[index, self.windows] = torch.linalg.vector_norm(values, dim=-1).numpy()
        self.states[index, self.windows] = values.numpy()
        self.written[index, self.windows] += 1

    def write_layer(self, layer: int, state: Tensor) -> None:
        """Write what a block gives, without the states of prefix tokens."""
        self.write(layer, state[:, self.model.n_before :])

    def write_last(self, state: Tensor) -> None:
        """Write the state after the final norm; call it after all other states of its windows."""
        self.write(len(self.states) - 1, state)
        last, before = self.states[-1, self.windows], self.states[-2, self.windows]
        self.post_norm_differs |= not np.array_equal(last, before)

    def _not_measured(self, layer: int, found: str) -> ModelError:
        gives = Sentence("layer {layer} gives {found} states", layer=layer, found=found)
        return not_measured(self.model.row.model_id, gives)

    def check(self) -> None:
        """Raises ModelError for a layer that did not run once per window, or whose states are zero or not finite."""
        for index, norms in enumerate(self.norms):
            layer, written = min(index, self.model.n_layers), self.written[index]
            if (written != 1).any():
                raise self._not_measured(layer, f"{written.sum() * norms.shape[1]} / {norms.size}")
            if norms.min() == norms.max() and (self.states[index] == self.states[index, 0, 0]).all():
                same = Sentence("layer {layer} is the same for every token", layer=layer)
                raise damaged(THE_WEIGHTS, self.model.row.model_id, same)
            if not np.isfinite(norms).all():
                raise no_numbers(self.model, Sentence("layer {layer}", layer=layer))


def _allocate(path: Path) -> None:
    """Allocate the disk space of a mapped file, where the system can.

    Otherwise writing a page to a full disk would kill the process (SIGBUS).
    """
    if not hasattr(os, "posix_fallocate"):
        return
    with path.open("r+b") as stream:
        try:
            os.posix_fallocate(stream.fileno(), 0, path.stat().st_size)
        except OSError as error:
            if error.errno in (errno.ENOSPC, errno.EDQUOT):
                raise no_room(path.stat().st_size, path.parent, free_some("--warehouse")) from error
            # Other errors: a file system without this call.


def states_bytes(n_layers: int, n_tokens: int, hidden_size: int) -> int:
    """Size of the scratch file: embedding, all layers and the state after the final norm, in float32."""
    return (n_layers + 2) * n_tokens * hidden_size * 4


def require_disk_space(folder: Path, n_bytes: int) -> None:
    """Raises ResourceError if the disk of `folder` has no room for the states file."""
    require_room(n_bytes * 1.05, folder, free_some("--warehouse"))


def no_numbers(model: OpenModel, where: str) -> ModelError:
    """The error for infinite or missing values: of a dtype that is too narrow, else of the weights."""
    if model.dtype == "float32":
        told = Sentence("infinite or missing values: {where}", where=where)
        return damaged(THE_WEIGHTS, model.row.model_id, told)
    return ModelError(
        "{model} gives infinite or missing values in {dtype} ({where}). Try again with --dtype float32.",
        model=model.row.model_id,
        dtype=model.dtype,
        where=where,
    )


# --- what each layer tells of the next token -------------------------------------------------------------------------

# The model's own final norm and head read each layer's state as if it were the last: the logit lens (nostalgebraist 2020).
# No block runs again: the network is called with its blocks replaced by ones that return at once, the last of them with the
# state of the layer that is read, so that whatever an architecture does to its logits (scaling, soft caps) counts.

TOLERANCE = 0.02
"""Largest mean difference in nats between the loss of the pass and what is read at the last layer: rounding in half precision."""


def choose_targets(sample: TokenSample, nats: np.ndarray, n_targets: int) -> np.ndarray:
    """Predicted tokens, all if there are fewer, the same for every run on this sample; (n_targets, 2): window and position.

    nats (n_sequences, n_tokens) is NaN where a token is no target.
    """
    places = np.argwhere(np.isfinite(nats))
    order = np.random.default_rng(sample.ids.shape).permutation(len(places))
    return places[np.sort(order[:n_targets])]


@torch.inference_mode()
def read_losses(model: OpenModel, sample: TokenSample, states: HiddenStates, n_targets: int) -> np.ndarray | None:
    """Loss in nats of the chosen targets, read at each layer; (n_layers + 1, n_targets) float32.

    None for a model that predicts no next token, and for one that is streamed, as its weights would be read once more. NaN,
    with a warning, for an architecture that cannot be read like this: what is read at the last layer must be the loss of the
    pass.
    """
    if states.nats is None or model.units or not n_targets:
        return None
    targets = choose_targets(sample, states.nats, n_targets)
    n_tokens = sample.ids.shape[1]
    # A state is laid into windows of the usual size, whose ids only give it its shape: nothing mixes tokens any more.
    rows = np.resize(targets, (math.ceil(len(targets) / n_tokens) * n_tokens, 2))
    before = rows[:, 0] * n_tokens + rows[:, 1] - 1  # the state that predicts a token is the one before it
    wanted = torch.from_numpy(sample.ids[rows[:, 0], rows[:, 1]]).to(model.device)
    ids = torch.from_numpy(sample.ids[: len(rows) // n_tokens]).to(model.device)

    def read(layer: int) -> Tensor:
        points = states.points(layer, before).to(model.device, next(model.module.parameters()).dtype)
        windows = points.reshape(*ids.shape, -1)
        losses = []
        for some, state, tokens in zip(
            *(of.split(states.batch or 1) for of in (ids, windows, wanted.view(ids.shape))), strict=True
        ):
            with blocks_replaced(model.layers, partial(_returning, forms, state)):
                logits = model.module(input_ids=some, use_cache=False).logits.flatten(0, 1)
            # In slices, as the pass does: a softmax of all logits would take their memory again.
            for of, is_next in zip(logits.split(LOSS_ROWS), tokens.flatten().split(LOSS_ROWS), strict=True):
                losses.append(nn.functional.cross_entropy(of.float(), is_next, reduction="none"))
        return torch.cat(losses)[: len(targets)].float().cpu()

    forms = _forms(model, ids[:1, :1])
    found = torch.stack([read(layer) for layer in range(states.n_layers + 1)]).numpy()
    of_pass = states.nats[targets[:, 0], targets[:, 1]]
    if float(np.abs(found[-1] - of_pass).mean()) <= TOLERANCE:
        return found
    _log.warning(Sentence("Readable loss is left out: read at the last layer, it is not the model's own."))
    return np.full_like(found, np.nan)


def _forms(model: OpenModel, ids: Tensor) -> list[int]:
    """For each block, the length of the tuple that it returns; 0 for a tensor. ids (1, 1)."""
    lengths: list[int] = []

    def keep(_module: nn.Module, _given: Any, output: Any) -> None:
        lengths.append(form_of(output))

    with ExitStack() as hooks:
        for block in model.layers:
            hooks.callback(block.register_forward_hook(keep).remove)
        model.module(input_ids=ids, use_cache=False)
    return lengths


def _returning(forms: list[int], last: Tensor, index: int, _own: Callable[..., Any]) -> Callable[..., Any]:
    """What runs in place of a block: it returns its input, the last one `last` (n_batch, n_tokens, hidden_size)."""
    is_last = index == len(forms) - 1
    return lambda *arguments, **keywords: in_form(last if is_last else input_state(arguments, keywords), forms[index])
