"""THE flow: one model, one text, one protocol -> one profile."""

from __future__ import annotations

import gc
import logging
from dataclasses import asdict, replace
from pathlib import Path

import torch

from core.errors import CorpusError, Sentence
from core.geometry.layer import CloudPlan, measure_layer
from core.geometry.layer_pairs import LayerPairs, PairValue
from core.geometry.results import Distribution, LayerResult
from core.measure.capture import HiddenStates, capture, give_back, require_readable
from core.measure.checkpoint import Checkpoint
from core.measure.checks import check_dependence, run_checks, without_norm_rule
from core.measure.plan import TokenMask, mask_tokens, pair_budget, plan_layers, start_pairs, usable_words
from core.measure.provenance import Clock, decisive
from core.measure.rows import Measured, as_profile
from core.measure.setup import Setup, open_setup
from core.models.model import OpenModel, is_out_of_memory, load_network
from core.models.random_weights import draw_network, load_permuted, load_with_random_blocks
from core.records import Profile, Progress, ProgressCallback, RunConfig
from core.registry.passes import BLOCKS_DRAWN, DRAWN, PASSES, PERMUTED
from core.texts.corpora import Corpus
from core.texts.sample import MIN_TYPES, TokenSample, shuffled

_log = logging.getLogger("workdim")


def measure_profile(
    config: RunConfig, run_id: str, scratch: Path, progress: ProgressCallback, setup: Setup | None = None
) -> Profile:
    """Measure one pass of one model over one text.

    `scratch` is a folder for temporary files. What a process that was stopped has left there is not measured again:
    the states of all tokens, if it came so far, and layers. `setup` is what the job has opened already. Raises
    InputError (and its kinds) for anything that the user can mend; nothing is written outside `scratch`.
    """
    clock = Clock(progress)
    with clock.phase("load"):
        # The tokens first: what is wrong with them or the text is known before the weights are read.
        setup = setup or open_setup(config)
        protocol, model = setup.protocol, setup.blueprint.weightless
        sample = _sample_of(config, setup)
        require_readable(model, sample)
        checkpoint = Checkpoint(scratch, _key(config, setup, sample))
        clock.add(checkpoint.spent())
        states = checkpoint.states()
        opened = None if states else open_network(config, setup, scratch, clock.report)
    with clock.phase("forward"):
        if opened:
            states = capture(opened, sample, scratch, clock.report)
            checkpoint.save_states(states, clock.so_far())
        assert states
        opened = None  # the weights' memory goes back
        gc.collect()
        mask = mask_tokens(sample, states.norms, states.n_layers, protocol.norm_factor)
        require_types(mask, setup.corpus)
        words = usable_words(sample, mask)
        further = dict.fromkeys([*protocol.more_estimators, *config.estimators]) if config.pass_ == "text" else ()
        plan = plan_layers(sample, mask, words, protocol, config.seed, tuple(further))
    with clock.phase("geometry"):
        pairs = start_pairs(plan, states, pair_budget(config))
        layers = _measure_layers(states, mask, plan, pairs, model.device, checkpoint, clock)
        dependence = check_dependence(states, mask, plan, layers, protocol, config.seed)
        norm_rule = without_norm_rule(states, sample, mask, plan, list(dependence), protocol.max_types)
        clock.report(Progress("geometry", len(layers), len(layers)))
    with clock.phase("layers"):
        between, layers = compare_layers(pairs, layers)
        clock.report(Progress("layers", 1, 1))
    measured = Measured(
        config, run_id, setup, sample, states, mask, words, plan, layers, between, dependence, norm_rule
    )
    return as_profile(measured, run_checks(measured), clock)


def _sample_of(config: RunConfig, setup: Setup) -> TokenSample:
    """What a pass reads: the text, or the text in the way that its control changes it."""
    if config.pass_ == "without_bos":
        return setup.sample_without_bos
    return shuffled(setup.sample, config.seed) if config.pass_ == "shuffled" else setup.sample


def _key(config: RunConfig, setup: Setup, sample: TokenSample) -> list[object]:
    """All that decides about the results of a pass: a checkpoint of anything else is of no use to it."""
    return [asdict(config), asdict(setup.protocol), sample.digest, *decisive(setup.blueprint, setup.corpus)]


def open_network(config: RunConfig, setup: Setup, scratch: Path, progress: ProgressCallback) -> OpenModel:
    """All weights at once where the memory is there for them, and on demand where it is not."""
    blueprint, protocol = setup.blueprint, setup.protocol
    weights = PASSES[config.pass_].weights
    plan = blueprint.plan(protocol.n_sequences, protocol.n_tokens, config.memory_budget, weights)
    folder = scratch if plan.on_demand else None
    if plan.on_demand:
        name = blueprint.weights.name
        _log.warning(Sentence("Memory is short for {model}: its weights are taken block by block.", model=name))
    if weights == DRAWN:
        model = draw_network(blueprint, config.model_seed, plan.on_demand)
    elif weights == BLOCKS_DRAWN:
        model = load_with_random_blocks(blueprint, config.model_seed, folder, progress)
    elif weights == PERMUTED:
        model = load_permuted(blueprint, config.model_seed, folder, progress)
    else:
        model = load_network(blueprint, folder, progress, plan.spread)
    return replace(model, batch=plan.batch)


def require_types(mask: TokenMask, corpus: Corpus) -> None:
    """The text held enough token types before the mask; it must after it, too."""
    if mask.n_types < MIN_TYPES:
        raise CorpusError(
            "Only {n_types} token types of {corpus} are left after {n_dropped_norm} tokens were masked for their "
            "norm; a cloud needs {min_types}. Measure with --dtype float32 or on another text.",
            n_types=mask.n_types,
            corpus=corpus.row.name,
            n_dropped_norm=mask.n_dropped_norm,
            min_types=MIN_TYPES,
        )


def _measure_layers(
    states: HiddenStates,
    mask: TokenMask,
    plan: CloudPlan,
    pairs: LayerPairs | None,
    device: torch.device,
    checkpoint: Checkpoint,
    clock: Clock,
) -> list[LayerResult]:
    """Every layer in turn, each from its checkpoint where it has one; `pairs` gets the points of each."""
    layers = []
    for index, (_, state) in enumerate(states.labels):
        clock.report(Progress("geometry", index, len(states.labels)))
        known = checkpoint.layer(index)
        points, measured = measure_where_it_fits(states.points(index, mask.keep), device, plan, known)
        if known is None:
            checkpoint.save_layer(index, measured, clock.so_far())
        layers.append(measured)
        if pairs and state == "residual":
            pairs.add(points)
    return layers


def measure_where_it_fits(
    points: torch.Tensor, device: torch.device, plan: CloudPlan, known: LayerResult | None = None
) -> tuple[torch.Tensor, LayerResult]:
    """A layer and its points on the device; both on the CPU, and a line says so, where the device's memory is short.

    points (n_tokens_used, hidden_size). A layer that is `known` is not measured again.
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
    _log.warning(
        Sentence("Memory of {device} is short: the geometry of this layer is measured on the CPU.", device=device)
    )
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
