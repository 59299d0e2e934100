"""THE flow: one model, one text, one protocol -> one profile."""

from __future__ import annotations

import gc
import logging
from dataclasses import asdict, replace
from pathlib import Path

import torch

from core.errors import CorpusError
from core.geometry.layer import LayerPlan, measure_layer
from core.geometry.layer_pairs import LayerPairs, PairValue
from core.geometry.results import Distribution, LayerResult
from core.measure.capture import capture, give_back, require_readable
from core.measure.checkpoint import Kept
from core.measure.checks import check_dependence
from core.measure.mask import TokenMask, mask_tokens
from core.measure.plan import pair_budget, plan_layers, start_pairs, usable_words
from core.measure.provenance import Clock, code_stamp, code_version, library_versions
from core.measure.rows import Measured, as_profile
from core.models.loading import read_tokenizer
from core.models.model import OpenModel, is_out_of_memory, open_model, read_blueprint
from core.models.random_weights import open_random
from core.models.sources import find_weights
from core.records import Profile, Progress, ProgressCallback, RunConfig
from core.registry.protocols import Protocol, find_protocol
from core.texts.corpora import Corpus, open_corpus
from core.texts.sample import MIN_TYPES, draw_sample, shuffled

_log = logging.getLogger("workdim")


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
        words = usable_words(sample, mask)
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
            points, measured = measure_where_it_fits(states.points(index, mask.keep), device, plan, known)
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


def _without_weights(model: OpenModel) -> OpenModel:
    """Only the description is needed once the states are on disk; the weights' memory goes back."""
    return replace(model, module=None, tokenizer=None, layers=torch.nn.ModuleList(), owner=None)
