"""THE flow: one model, one text, one protocol -> one profile."""

from __future__ import annotations

import gc
import logging
from contextlib import ExitStack, closing
from dataclasses import asdict, replace
from pathlib import Path
from typing import cast

import numpy as np
import torch

from core.errors import InputError, Sentence
from core.geometry.clouds import CloudCorrelator, CloudEstimate, Distribution, LayerResult
from core.geometry.layer import CloudPlan, one_thread_on
from core.geometry.layer_pairs import LayerPairs
from core.measure.capture import STATES_FILE, HiddenStates, capture, read_losses, require_readable
from core.measure.checkpoint import Checkpoint, Clock, result_key
from core.measure.checks import Measurement, change_without_norm_rule, check_dependence, run_checks
from core.measure.control_seeds import SeedMeasurer, seed_rows
from core.measure.label_probe import probe_layers
from core.measure.layers import LayerMeasurer, LayerWorkers
from core.measure.plan import (
    Setup,
    TokenMask,
    extra_estimators,
    mask_tokens,
    open_setup,
    pair_budget,
    plan_layers,
    sample_layer_pairs,
    usable_words,
)
from core.measure.rows import build_profile
from core.models.matched_blocks import require_plain_stream, rotate_updates, without_head
from core.models.memory import available_bytes
from core.models.model import OpenModel, load_network
from core.models.random_weights import draw_network, load_with_random_blocks
from core.records import Estimate, Profile, Progress, ProgressCallback, RunConfig
from core.registry.protocols import BLOCKS_DRAWN, DRAWN, PASSES, ROTATED, Protocol
from core.tables import LayerCorrelatorRow, LayerPairRow, LayerSeedRow
from core.texts.corpora import Corpus, read_labels
from core.texts.sample import MIN_TYPES, TokenSample, shuffle_tokens, too_few_types

_log = logging.getLogger("workdim")
FORWARD, LABELS = "forward", "labels"
"""Steps of a checkpoint: the forward pass, and what the labelled texts gave."""
LAYER_RECORDS = {one.__name__: one for one in (LayerResult, CloudEstimate, CloudCorrelator, Distribution, Estimate)}


def measure_profile(
    config: RunConfig,
    run_id: str,
    scratch: Path,
    progress: ProgressCallback,
    setup: Setup | None = None,
    workers: LayerWorkers | None = None,
) -> Profile:
    """Measure one pass of one model over one text.

    `scratch` is a folder for temporary files and checkpoints: states and layers that an interrupted process left there are
    reused. `setup` and `workers` are given by a job, which has them for all its passes. Raises InputError (and subclasses)
    for anything the user can fix; nothing is written outside `scratch`.
    """
    with ExitStack() as stack:
        workers = workers or stack.enter_context(LayerWorkers())
        return _measure_pass(
            config, run_id, scratch, Clock(progress, workers.memory, workers.processor_seconds), setup, workers
        )


def _measure_pass(
    config: RunConfig, run_id: str, scratch: Path, clock: Clock, setup: Setup | None, workers: LayerWorkers
) -> Profile:
    with clock.phase("load"):
        # Tokens come first: problems with them or the text show before the weights are read.
        setup = setup or open_setup(config)
        protocol, model = setup.protocol, setup.blueprint.weightless
        sample = select_sample(config, setup)
        require_readable(model, sample)
        request = [asdict(config), asdict(protocol), sample.digest]
        checkpoint = Checkpoint(scratch, [*request, *result_key(setup.blueprint, setup.corpus)])
        clock.add_earlier(checkpoint.resources())
        states = _stored_states(checkpoint, scratch)
        opened = None if states else open_network(config, setup, scratch, clock.report)
        streamed = bool(opened and opened.units)
    seeds, judges = list[LayerSeedRow](), PASSES[config.pass_].judges
    measurer = LayerMeasurer(model.device, workers, available_bytes(torch.device("cpu"), config.memory_budget))
    further = SeedMeasurer(config, run_id, setup, sample, checkpoint, scratch, clock, measurer)
    if judges:
        with clock.phase("seeds"):
            opened, seeds = further.measure(opened)
    with clock.phase("forward"):
        if opened:
            # A control whose blocks are changed has units too where all its weights are in memory.
            _probe_labels(opened, config, run_id, checkpoint)
            states = replace(_capture(opened, sample, scratch, clock, config, protocol), streamed=streamed)
            _keep_states(states, checkpoint, clock)
        assert states
        opened = None  # frees the weights' memory
        gc.collect()
        mask = mask_tokens(sample, states.norms, states.n_layers, protocol.norm_factor)
        require_types(mask, setup.corpus)
        words = usable_words(sample, mask)
        estimators = extra_estimators(config, protocol, config.pass_)
        plan = plan_layers(sample, mask, words, protocol, config.seed, estimators, config.pass_)
    with clock.phase("geometry"), one_thread_on(model.device):
        layers = _measure_layers(states, mask, plan, checkpoint, clock, measurer)
        if config.memory_budget is not None:
            workers.close()  # the next pass of the job plans with the whole budget
        dependence = check_dependence(states, mask, plan, layers, protocol, config.seed)
        norm_rule = change_without_norm_rule(states, sample, mask, plan, list(dependence), protocol.max_types)
        clock.report(Progress("geometry", len(layers), len(layers)))
    with clock.phase("layers"), one_thread_on(model.device):
        pairs = sample_layer_pairs(plan, states, pair_budget(config), run_id)
        if pairs:
            _read_layer_pairs(pairs, states, mask, model.device, clock)
        pair_values, layers = compare_layers(pairs, layers)
        clock.report(Progress("layers", len(layers), len(layers)))
    measurement = Measurement(
        config, run_id, setup, sample, states, mask, words, plan, layers, pair_values, dependence, norm_rule
    )
    profile = _with_labels(build_profile(measurement, run_checks(measurement), clock), checkpoint)
    if judges:
        shifts = {layer: one.d2.value for layer, one in dependence.items()}
        profile = replace(
            profile, seeds=[*seed_rows(run_id, config.model_seed, layers, states.n_layers, shifts), *seeds]
        )
    return profile


def _stored_states(checkpoint: Checkpoint, scratch: Path) -> HiddenStates | None:
    """The states of a forward pass that an earlier process has finished."""
    found = checkpoint.step(FORWARD, {HiddenStates.__name__: HiddenStates})
    return replace(found, states=np.load(scratch / STATES_FILE, mmap_mode="r")) if found else None


def _keep_states(states: HiddenStates, checkpoint: Checkpoint, clock: Clock) -> None:
    """Keep what describes the states; they themselves are in the folder already."""
    described = replace(states, states=cast("np.memmap", states.states[:0]))
    checkpoint.save_step(FORWARD, described, clock.resources())


def _capture(
    opened: OpenModel, sample: TokenSample, scratch: Path, clock: Clock, config: RunConfig, protocol: Protocol
) -> HiddenStates:
    """The states of a pass, its updates turned where it asks for that; of one on the text also the loss readable at each layer."""
    n_readable = protocol.n_readable if config.pass_ == "text" else 0
    states = capture(opened, sample, scratch, clock.report)
    states.states.flush()
    states = replace(states, readable=read_losses(opened, sample, states, n_readable))
    return _with_turned_updates(states, config.model_seed) if PASSES[config.pass_].weights == ROTATED else states


def _probe_labels(opened: OpenModel, config: RunConfig, run_id: str, checkpoint: Checkpoint) -> None:
    """Probe every layer with the labelled texts that were asked for, and keep the rows. Raises InputError if their file has changed."""
    if config.labels is None or config.pass_ != "text" or checkpoint.has_step(LABELS):
        return
    if opened.units:
        _log.warning(Sentence("Weights are read block by block: the labelled texts are left out."))
        return
    labelled = read_labels(Path(config.labels))
    if labelled.sha256 != config.labels_sha256:
        raise InputError("{file} has changed since. Cancel this job and start anew.", file=config.labels)
    checkpoint.save_step(LABELS, probe_layers(opened, labelled, run_id))


def _with_labels(profile: Profile, checkpoint: Checkpoint) -> Profile:
    """The profile with what the labelled texts gave, if there were any."""
    rows = checkpoint.step(LABELS, {LayerCorrelatorRow.__name__: LayerCorrelatorRow}) or []
    return replace(profile, correlators=[*profile.correlators, *rows])


def select_sample(config: RunConfig, setup: Setup) -> TokenSample:
    """The tokens of a pass: those of the text, or of the text as a control changes it."""
    if config.pass_ == "without_bos":
        return setup.sample_without_bos
    return shuffle_tokens(setup.sample, config.seed) if config.pass_ == "shuffled" else setup.sample


def open_network(config: RunConfig, setup: Setup, scratch: Path, progress: ProgressCallback) -> OpenModel:
    """Load all weights if memory allows, else stream them block by block."""
    blueprint, protocol = setup.blueprint, setup.protocol
    weights = PASSES[config.pass_].weights
    plan = blueprint.plan(protocol.n_sequences, protocol.n_tokens, config.memory_budget, weights)
    folder = scratch if plan.on_demand else None
    if plan.on_demand:
        _log.warning(Sentence("Memory is short: weights are read block by block."))
    if weights == DRAWN:
        model = draw_network(blueprint, config.model_seed, plan.on_demand)
    elif weights == BLOCKS_DRAWN:
        model = load_with_random_blocks(blueprint, config.model_seed, folder, progress)
    elif weights == ROTATED:
        model = without_head(load_network(blueprint, folder, progress))
        require_plain_stream(model, setup.sample.ids)
    else:
        model = load_network(blueprint, folder, progress, plan.spread)
    return replace(model, batch=plan.batch)


def _with_turned_updates(states: HiddenStates, seed: int) -> HiddenStates:
    """The states of the stream to which the updates of a pass are added turned; it has no state after the final norm."""
    stream = np.lib.format.open_memmap(states.file, mode="r+")
    rotate_updates(stream, states.n_layers, seed)
    norms = states.norms.copy()
    for layer in range(states.n_layers + 1):
        norms[layer] = np.linalg.norm(stream[layer], axis=1)
    stream.flush()
    return replace(states, states=stream, norms=norms, has_post_norm=False)


def require_types(mask: TokenMask, corpus: Corpus) -> None:
    """Raises CorpusError if too few token types are left after masking."""
    if mask.n_types < MIN_TYPES:
        remedy = Sentence(
            "Not counted: {n} tokens of large norm. Try --dtype float32 or another text.", n=mask.n_dropped_norm
        )
        raise too_few_types(corpus, mask.n_types, remedy)


def _measure_layers(
    states: HiddenStates,
    mask: TokenMask,
    plan: CloudPlan,
    checkpoint: Checkpoint,
    clock: Clock,
    measurer: LayerMeasurer,
) -> list[LayerResult]:
    """Measure every layer, or read it from the checkpoint."""
    n_layers = len(states.labels)
    found = {index: layer for index in range(n_layers) if (layer := checkpoint.step(_layer_step(index), LAYER_RECORDS))}
    to_measure = [index for index in range(n_layers) if index not in found]
    clock.report(Progress("geometry", len(found), n_layers))
    with closing(measurer.measure(states, mask, plan, to_measure)) as measuring:
        for index, layer in measuring:
            checkpoint.save_step(_layer_step(index), layer, clock.resources())
            found[index] = layer
            clock.report(Progress("geometry", len(found), n_layers))
    return [found[index] for index in range(n_layers)]


def _layer_step(index: int) -> str:
    return f"layer-{index:04d}"


def _read_layer_pairs(
    pairs: LayerPairs, states: HiddenStates, mask: TokenMask, device: torch.device, clock: Clock
) -> None:
    """Add the sampled tokens at every residual layer."""
    tokens = np.flatnonzero(mask.keep)[pairs.rows]
    for index, (_, state) in enumerate(states.labels):
        if state == "residual":
            clock.report(Progress("layers", index, len(states.labels)))
            pairs.add(states.points(index, tokens).to(device))


def compare_layers(pairs: LayerPairs | None, layers: list[LayerResult]) -> tuple[list[LayerPairRow], list[LayerResult]]:
    """The values of all layer pairs, and the layers with the distributions of token displacements to the next layer."""
    if pairs is None:
        return [], layers
    values = pairs.values()
    displacements: list[list[Distribution]] = [pairs.distributions(i) for i in range(pairs.n_layers - 1)]
    displacements += [[] for _ in range(len(layers) - len(displacements))]
    return values, [
        replace(layer, distributions=layer.distributions + displacement)
        for layer, displacement in zip(layers, displacements, strict=True)
    ]
