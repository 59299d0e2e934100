"""THE flow: one model, one text, one protocol -> one profile."""

from __future__ import annotations

import gc
import logging
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import torch

from core.errors import CorpusError
from core.geometry import clouds
from core.geometry.layer import LayerPlan, measure_layer
from core.geometry.layer_pairs import LayerPairs, PairValue, points_within
from core.geometry.resampling import half_splits
from core.geometry.results import Distribution, LayerResult
from core.geometry.stability import Dependence, dependence, sequence_pairs
from core.measure.corpora import Corpus, open_corpus
from core.measure.hidden import HiddenStates, capture, give_back, require_readable
from core.measure.kept import Kept
from core.measure.loading import read_tokenizer
from core.measure.mask import TokenMask, mask_tokens
from core.measure.models import OpenModel, is_out_of_memory, open_model, read_blueprint
from core.measure.provenance import Clock, code_stamp, code_version, library_versions
from core.measure.random_init import open_random
from core.measure.sample import TokenSample, draw_sample
from core.measure.shuffle import shuffled
from core.measure.sources import find_weights
from core.measure.stored import Measured, as_profile
from core.records import Profile, Progress, ProgressCallback, RunConfig
from core.registry.protocols import MIN_TYPES, Protocol, find_protocol

_log = logging.getLogger("workdim")
PAIR_BUDGET = 2**30
"""Bytes that the layer x layer matrices may take, and at most a quarter of what the measurement may."""
PAIR_DRAW = 0
"""The draw of `one_per_type` whose tokens the layer x layer matrices follow."""


def measure_profile(config: RunConfig, run_id: str, scratch: Path, progress: ProgressCallback) -> Profile:
    """Measure one pass of one model over one text.

    `scratch` is a folder for temporary files. What a process that was stopped has left there is not measured again:
    the states of all tokens, if it came so far, and layers. Raises InputError (and its kinds) for anything that the
    user can mend; nothing is written outside `scratch`.
    """
    clock = Clock(progress)
    protocol = find_protocol(config.protocol)
    corpus = open_corpus(config.corpus, config.column, config.encoding, config.chat)
    with clock.phase("load"):
        # The tokens first: what is wrong with them or the text is known before the weights are read.
        blueprint = read_blueprint(find_weights(config.model), config.dtype, config.device, config.stack)
        model = blueprint.opened(blueprint.on_meta())
        companions = [read_tokenizer(find_weights(reference)) for reference in config.companions]
        sample = draw_sample(corpus, blueprint.tokenizer, protocol, config.seed, blueprint.weights.name, companions)
        if config.pass_ == "shuffled":
            sample = shuffled(sample, config.seed)
        require_readable(model, sample)
        row = model.row
        kept = Kept(
            scratch,
            [
                asdict(config),
                asdict(protocol),
                code_version(),
                code_stamp(),
                library_versions(),
                row.weights_sha256,
                row.configuration_hash,
                row.tokenizer_hash,
                corpus.row.sha256,
                sample.digest,
                model.device.type,
            ],
        )
        clock.add(kept.spent() or {})
        states = kept.states()
        if states is None:
            model = _open(config, protocol, scratch, clock.report)
    with clock.phase("forward"):
        if states is None:
            states = capture(model, sample, scratch, clock.report)
            kept.keep_states(states, clock.so_far())
        mask = mask_tokens(sample, states.norms, states.n_layers, protocol.norm_factor)
        require_types(mask, corpus)
        words = place_words(sample, mask)
        more = dict.fromkeys([*protocol.more_estimators, *config.estimators]) if config.pass_ == "text" else ()
        plan = plan_layers(sample, mask, words, protocol, config.seed, tuple(more))
        device, model = model.device, _without_weights(model)
        gc.collect()
    with clock.phase("geometry"):
        layers = []
        pairs = start_pairs(plan, states, pair_budget(config))
        for index, (_, state) in enumerate(states.labels):
            clock.report(Progress("geometry", index, len(states.labels)))
            # (n_tokens_used, hidden_size)
            known = kept.layer(index)
            points, measured = measure_where_it_fits(read_layer(states, mask, index), device, plan, known)
            if known is None:
                kept.keep_layer(index, measured, clock.so_far())
            layers.append(measured)
            if pairs and state == "residual":
                pairs.add(points)
        depends = check_dependence(states, mask, plan, layers, protocol, config.seed)
        clock.report(Progress("geometry", len(states.labels), len(states.labels)))
    with clock.phase("layers"):
        between, layers = compare_layers(pairs, layers)
        clock.report(Progress("layers", 1, 1))
    return as_profile(
        Measured(config, run_id, protocol, corpus, model, sample, states, mask, words, plan, layers, between, depends),
        clock,
    )


def _open(config: RunConfig, protocol: Protocol, scratch: Path, progress: ProgressCallback) -> OpenModel:
    """All weights at once where the memory is there for them, and on demand where it is not."""
    weights = find_weights(config.model)
    asked = (config.dtype, config.device, config.stack)
    is_random = config.pass_ == "random_init"
    windows = protocol.n_sequences, protocol.n_tokens
    plan = read_blueprint(weights, *asked).plan(*windows, config.memory_budget, is_random)
    if plan.on_demand:
        _log.warning("Memory is short for %s: its weights are taken block by block.", weights.name)
    if is_random:
        model = open_random(weights, config.model_seed, *asked, on_demand=plan.on_demand)
    else:
        model = open_model(
            weights, *asked, scratch=scratch if plan.on_demand else None, progress=progress, spread=plan.spread
        )
    return replace(model, batch=plan.batch)


def require_types(mask: TokenMask, corpus: Corpus) -> None:
    """The text held enough token types before the mask; it must after it, too."""
    if mask.n_types < MIN_TYPES:
        raise CorpusError(
            f"Only {mask.n_types} token types of {corpus.row.name} are left after {mask.n_dropped_norm} tokens were "
            f"masked for their norm; a cloud needs {MIN_TYPES}. Measure with --dtype float32 or on another text."
        )


def measure_where_it_fits(
    points: torch.Tensor, device: torch.device, plan: LayerPlan, known: LayerResult | None = None
) -> tuple[torch.Tensor, LayerResult]:
    """A layer and its points on the device; both on the CPU, and a line says so, where the device's memory is short.

    A layer that is `known` is not measured again.
    """
    there = points  # until the copy is made, which may fail as well
    try:
        there = points.to(device)
        return there, known or measure_layer(there, plan)
    except (MemoryError, RuntimeError) as error:
        if device.type == "cpu" or not is_out_of_memory(error):
            raise
    del there
    give_back(device)
    _log.warning("Memory of %s is short: the geometry of this layer is measured on the CPU.", device)
    return points, known or measure_layer(points, plan)


# --- which tokens form which cloud -----------------------------------------------------------------------------


@dataclass(frozen=True)
class PlacedWords:
    """The occurrences of words that this run can use."""

    occurrences: np.ndarray
    """Numbers in the sample's WordSet; (n_placed,)"""
    rows: np.ndarray
    """The masked token of each; (n_placed,)"""
    n_lost: int
    """Occurrences without a usable token: beyond the sequence, or masked."""

    @property
    def lost_share(self) -> float | None:
        """None where the text has no words to lose."""
        total = self.n_lost + len(self.rows)
        return self.n_lost / total if total else None


def place_words(sample: TokenSample, mask: TokenMask) -> PlacedWords:
    reached = sample.word_rows >= 0
    usable = reached & mask.keep[np.maximum(sample.word_rows, 0)]
    return PlacedWords(np.flatnonzero(usable), mask.kept_rows[sample.word_rows[usable]], int((~usable).sum()))


def plan_layers(
    sample: TokenSample,
    mask: TokenMask,
    words: PlacedWords,
    protocol: Protocol,
    seed: int,
    more_estimators: Sequence[str] = (),
) -> LayerPlan:
    """Which masked tokens form which cloud, the same for every layer."""
    tokens = clouds.Tokens(mask.types, mask.sequences, sample.blocks[mask.sequences], protocol.n_blocks)
    orders = [token_order(mask, seed, draw) for draw in range(protocol.n_draws)]
    wanted = protocol.clouds
    others = []
    if "all_tokens" in wanted:
        others.append(clouds.all_tokens(orders[0], tokens, protocol.max_tokens))
    if "last_token" in wanted:
        last = np.flatnonzero(np.r_[mask.sequences[1:] != mask.sequences[:-1], True])
        others.append(clouds.last_token(last, tokens))
    by_sequence = np.flatnonzero(np.r_[True, mask.sequences[1:] != mask.sequences[:-1]])
    prompts = np.split(np.arange(len(mask.types)), by_sequence[1:]) if "per_prompt" in wanted else []
    return LayerPlan(
        draws=[clouds.one_per_type(o, tokens, protocol.max_types) for o in orders] if "one_per_type" in wanted else [],
        word_draws=_word_draws(sample, words, tokens, protocol, seed) if "one_per_word" in wanted else [],
        others=others,
        halves=half_splits(len(sample.ids), protocol.n_half_splits, seed),
        seed=seed,
        n_surrogates=protocol.n_surrogates,
        more_estimators=tuple(more_estimators),
        prompts=tuple(prompts),
        blocks=tokens.blocks,
    )


def _word_draws(
    sample: TokenSample, words: PlacedWords, tokens: clouds.Tokens, protocol: Protocol, seed: int
) -> list[clouds.Cloud]:
    """Empty where too few words are left: the run then goes on without this cloud."""
    labels = sample.words.words[words.occurrences]
    if len(np.unique(labels)) < MIN_TYPES:
        return []
    number = np.full(len(sample.words.words), -1)
    number[words.occurrences] = np.arange(len(words.occurrences))
    orders = (number[sample.words.order(seed, draw)] for draw in range(protocol.n_draws))
    return [clouds.one_per_word(o[o >= 0], labels, words.rows, tokens, protocol.max_types) for o in orders]


def token_order(mask: TokenMask, seed: int, draw: int) -> np.ndarray:
    """The seeded permutation of the kept tokens, as rows of the masked table, that decides draw number `draw`.

    All sampled tokens are permuted and the masked ones left out, so that a token that is masked in one run alone, by
    another dtype or machine, takes no other token's place.
    """
    order = np.random.default_rng([seed, 1, draw]).permutation(len(mask.keep))
    return mask.kept_rows[order[mask.keep[order]]]


# --- across layers ---------------------------------------------------------------------------------------------


def read_layer(states: HiddenStates, mask: TokenMask, index: int) -> torch.Tensor:
    return torch.from_numpy(states.states[index][mask.keep])


def pair_budget(config: RunConfig) -> int:
    return min(PAIR_BUDGET, (config.memory_budget or PAIR_BUDGET * 4) // 4)


def start_pairs(plan: LayerPlan, states: HiddenStates, budget: int) -> LayerPairs | None:
    """The sub-sample of `one_per_type` that the matrices follow; None where the protocol has no such cloud."""
    if not plan.draws:
        return None
    cloud = plan.draws[PAIR_DRAW]
    rows = cloud.rows[cloud.members[0]]
    n = points_within(budget, states.n_layers + 1, states.states.shape[2], len(rows))
    chosen = np.sort(np.random.default_rng([plan.seed, 5]).permutation(len(rows))[:n])
    return LayerPairs(rows[chosen], plan.blocks[rows[chosen]])


def compare_layers(pairs: LayerPairs | None, layers: list[LayerResult]) -> tuple[list[PairValue], list[LayerResult]]:
    """All layer pairs; and to each layer, what its tokens do on the way to the next."""
    if pairs is None:
        return [], layers
    between = pairs.values()
    moving: list[list[Distribution]] = [pairs.distributions(i) for i in range(pairs.n_layers - 1)]
    moving += [[] for _ in range(len(layers) - len(moving))]
    return between, [
        replace(layer, distributions=layer.distributions + more) for layer, more in zip(layers, moving, strict=True)
    ]


def check_dependence(
    states: HiddenStates, mask: TokenMask, plan: LayerPlan, layers: list[LayerResult], protocol: Protocol, seed: int
) -> dict[int, Dependence]:
    """Dependence on the number of sequences and points at the embedding, the peak of d2 and the final layer."""
    if not plan.draws:
        return {}
    order = token_order(mask, seed, 0)
    pairs = sequence_pairs(order, mask.types, mask.sequences, plan.halves[:4], protocol.max_types)
    half = plan.draws[0].n_points // 2
    tokens = clouds.Tokens(mask.types, mask.sequences, np.zeros(len(order), dtype=np.int64), 0)
    first_types = clouds.one_per_type(order, tokens, half).rows
    inner = [result.value("one_per_type", "d2") for result in layers[1 : states.n_layers]]
    peak = 1 + int(np.nanargmax(inner)) if any(map(math.isfinite, inner)) else 0
    return {
        layer: dependence(read_layer(states, mask, layer), mask.sequences, pairs, plan.draws[0], first_types, seed)
        for layer in sorted({0, peak, states.n_layers})
    }


def _without_weights(model: OpenModel) -> OpenModel:
    """Only the description is needed once the states are on disk; the weights' memory goes back."""
    return replace(model, module=None, tokenizer=None, layers=torch.nn.ModuleList(), owner=None)
