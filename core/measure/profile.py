"""THE flow: one model, one text, one protocol -> one profile."""

from __future__ import annotations

import gc
import logging
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, closing
from dataclasses import asdict, dataclass, replace
from itertools import groupby
from pathlib import Path
from typing import cast

import numpy as np
import torch
from torch import Tensor

from core.analysis.intervals import mean_difference, share_error
from core.errors import InputError, Sentence
from core.geometry.clouds import CloudCorrelator, CloudEstimate, Distribution, LayerResult, none_if_nan
from core.geometry.layer import CloudPlan, one_thread_on
from core.geometry.layer_pairs import LayerPairs
from core.measure.checkpoint import Checkpoint, Clock, result_key
from core.measure.layers import LayerMeasurer, LayerWorkers
from core.measure.plan import (
    STATES_FILE,
    HiddenStates,
    Setup,
    TokenMask,
    UsableWords,
    capture,
    extra_estimators,
    mask_tokens,
    open_setup,
    pair_budget,
    plan_layers,
    read_losses,
    require_known_tokens,
    require_readable,
    sample_layer_pairs,
    usable_words,
)
from core.measure.rows import (
    Measurement,
    build_profile,
    change_without_norm_rule,
    check_dependence,
    layers_of_claims,
    run_checks,
    window_pairs,
    window_shifts,
)
from core.models.model import OpenModel, load_network
from core.models.random_weights import (
    draw_network,
    load_with_random_blocks,
    require_plain_stream,
    rotate_updates,
    seeded_control,
    without_head,
)
from core.models.stacks import available_bytes, each_state, run_stack
from core.records import Estimate, Profile, Progress, ProgressCallback, RunConfig
from core.registry.protocols import BLOCKS_DRAWN, DRAWN, PASSES, REFERENCE, ROTATED, Protocol
from core.tables import LayerCorrelatorRow, LayerPairRow, LayerSeedRow
from core.texts.corpora import Corpus, LabelledTexts, read_labels
from core.texts.sample import MIN_TYPES, TokenSample, shuffle_tokens, too_few_types

_log = logging.getLogger("workdim")
FORWARD, LABELS = "forward", "labels"
"""Steps of a checkpoint: the forward pass, and what the labelled texts gave."""
LAYER_RECORDS = (LayerResult, CloudEstimate, CloudCorrelator, Distribution, Estimate)


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
        # What a layer reads does not depend on the memory that it may take; the kind of device is in the key of results.
        request = [asdict(config) | {"device": "", "memory_budget": None}, asdict(protocol), sample.digest]
        checkpoint = Checkpoint(scratch, [*request, *result_key(setup.blueprint, setup.corpus)])
        clock.add_earlier(checkpoint.resources())
        states = checkpoint.step(FORWARD, HiddenStates)
        if states:
            states = replace(states, states=np.load(scratch / STATES_FILE, mmap_mode="r"))
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
            # The states themselves are in the folder already.
            described = replace(states, states=cast("np.memmap", states.states[:0]))
            checkpoint.save_step(FORWARD, described, clock.resources())
        assert states
        opened = None  # frees the weights' memory
        gc.collect()
        mask, words, plan = _planned(config, protocol, sample, states)
        require_types(mask, setup.corpus)
    with clock.phase("geometry"), one_thread_on(model.device):
        layers = _measure_layers(states, mask, plan, checkpoint, clock, measurer)
        if config.memory_budget is not None:
            workers.close()  # the next pass of the job plans with the whole budget
        dependence = check_dependence(states, mask, plan, layers, protocol.max_types)
        norm_rule = change_without_norm_rule(states, sample, mask, plan, list(dependence), protocol.max_types)
        clock.report(Progress("geometry", len(layers), len(layers)))
    with clock.phase("layers"), one_thread_on(model.device):
        pairs = sample_layer_pairs(plan, states, pair_budget(config), run_id)
        if pairs:
            tokens = np.flatnonzero(mask.keep)[pairs.rows]
            for index in range(states.n_layers + 1):
                clock.report(Progress("layers", index, len(layers)))
                pairs.add(states.points(index, tokens).to(model.device))
        pair_values, layers = compare_layers(pairs, layers)
        clock.report(Progress("layers", len(layers), len(layers)))
    measurement = Measurement(
        config, run_id, setup, sample, states, mask, words, plan, layers, pair_values, dependence, norm_rule
    )
    profile = _with_labels(build_profile(measurement, run_checks(measurement), clock), checkpoint)
    if judges:
        shifts = {layer: found["sequence_invariance"][0] for layer, found in dependence.items()}
        profile = replace(
            profile, seeds=[*seed_rows(run_id, config.model_seed, layers, states.n_layers, shifts), *seeds]
        )
    return profile


def _planned(
    config: RunConfig, protocol: Protocol, sample: TokenSample, states: HiddenStates
) -> tuple[TokenMask, UsableWords, CloudPlan]:
    """The tokens and words of a pass that are measured, and their clouds."""
    mask = mask_tokens(sample, states.norms, states.n_layers, protocol.norm_factor)
    words, estimators = usable_words(sample, mask), extra_estimators(config, protocol, config.pass_)
    return mask, words, plan_layers(sample, mask, words, protocol, config.seed, estimators, config.pass_)


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
    rows = checkpoint.step(LABELS, LayerCorrelatorRow) or []
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
    found = {
        index: layer for index in range(n_layers) if (layer := checkpoint.step(_layer_step(index), *LAYER_RECORDS))
    }
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


# --- the draws of a control that judges ------------------------------------------------------------------------------

# Its trained weights are read once, then each draw takes one forward pass and d2. The first draw is measured as any pass is, and gives the rows that a run has; what claims are held against are all draws
# (`layer_seeds`). Each is kept when it is finished, so that a job that was stopped goes on with the next.


@dataclass(frozen=True)
class SeedMeasurer:
    """Measures the draws of one control."""

    config: RunConfig
    run_id: str
    setup: Setup
    sample: TokenSample
    checkpoint: Checkpoint
    scratch: Path
    clock: Clock
    layers: LayerMeasurer

    def measure(self, opened: OpenModel | None) -> tuple[OpenModel | None, list[LayerSeedRow]]:
        """The network with its first draw, which is still to be measured, and the rows of all others.

        `opened` has its trained weights; it is None where the first draw was run already, which is the last to be."""
        first, n_seeds = self.config.model_seed, self.setup.protocol.n_control_seeds
        steps = [f"seed-{first + number}" for number in range(1, n_seeds)]
        folder = self.scratch / "seeds"
        if opened:
            folder.mkdir(exist_ok=True)
            self._report(0)
            control = seeded_control(opened, PASSES[self.config.pass_].weights, self.sample.ids)
            ratios = self.checkpoint.step("ratios")
            if ratios is None:
                self._run(control.trained(), folder, 0)
                ratios = control.ratios
                self.checkpoint.save_step("ratios", ratios, self.clock.resources())
            for number, step in enumerate(steps, 1):
                if not self.checkpoint.has_step(step):
                    rows = self._measure_seed(control.drawn(first + number, ratios), first + number, folder, number)
                    self.checkpoint.save_step(step, rows, self.clock.resources())
            shutil.rmtree(folder)
            opened = control.drawn(first, ratios)
        stored = (self.checkpoint.step(step, LayerSeedRow) for step in steps)
        return opened, [row for rows in stored for row in rows]

    def _report(self, number: int) -> None:
        self.clock.report(Progress("seeds", number, self.setup.protocol.n_control_seeds))

    def _run(self, model: OpenModel, folder: Path, number: int) -> HiddenStates:
        return capture(model, self.sample, folder, lambda _step: self._report(number))

    def _measure_seed(self, model: OpenModel, seed: int, folder: Path, number: int) -> list[LayerSeedRow]:
        states = self._run(model, folder, number)
        protocol = self.setup.protocol
        mask, _words, plan = _planned(self.config, protocol, self.sample, states)
        residual = range(states.n_layers + 1)
        with one_thread_on(model.device):
            found = dict(self.layers.measure(states, mask, plan, residual))
            layers = [found[index] for index in residual]
            pairs = window_pairs(mask, plan, protocol.max_types)
            shifts = {
                layer: float(np.mean(window_shifts(states.points(layer, mask.keep), mask.passages, pairs)[:, 0]))
                for layer in layers_of_claims(layers, states.n_layers)
            }
        return seed_rows(self.run_id, seed, layers, states.n_layers, shifts)


def seed_rows(
    run_id: str, seed: int, layers: Sequence[LayerResult], n_layers: int, shifts: Mapping[int, float]
) -> list[LayerSeedRow]:
    """The rows of a draw: of its layers, the residual ones first, and the change of log d2 with windows at some of them."""
    return [
        LayerSeedRow(
            run_id,
            seed,
            layer,
            none_if_nan(one.estimate.value),
            none_if_nan(one.estimate.lower),
            none_if_nan(one.estimate.upper),
            none_if_nan(shifts[layer]) if layer in shifts else None,
            list(one.blocks),
            list(one.halves),
        )
        for layer, result in enumerate(layers[: n_layers + 1])
        for one in result.estimates
        if (one.cloud, one.transform, one.estimator, one.n1) == REFERENCE.key
    ]


# --- which layer serves a user's own labels --------------------------------------------------------------------------

# A ridge classifier on the mean state of each text, layer by layer, which learned from the other documents alone. Mean states
# as in arXiv 2502.02013, which finds inner layers to serve many tasks better than the last.

MOST_TOKENS = 256
"""Of a text; what is longer is cut."""
RIDGE = 1.0
"""Penalty, in squared lengths of a text's centred state, which are all one."""


def probe_layers(model: OpenModel, labelled: LabelledTexts, run_id: str) -> list[LayerCorrelatorRow]:
    """By layer the share of texts that are told right, how far that is behind the best layer, paired by document, and the share of the
    commonest label, which guessing has."""
    states = mean_states(model, labelled.texts)
    classes, documents = labelled.classes, labelled.documents
    right = [(told(layer, classes, documents) == classes).astype(float) for layer in states]
    best = right[int(np.argmax([one.mean() for one in right]))]
    rows = []
    for layer, one in enumerate(right):
        behind = mean_difference(one - best, np.ones(len(one)), documents)
        values = {
            "label_accuracy": (float(one.mean()), share_error(one, documents)),
            "label_behind_best": (behind.value, behind.std_error),
            "label_guess": (labelled.guess, float("nan")),
        }
        for name, (value, error) in values.items():
            row = LayerCorrelatorRow(run_id, layer, "residual", "labelled", name, value, none_if_nan(error), len(one))
            rows.append(row)
    return rows


@torch.inference_mode()
def mean_states(model: OpenModel, texts: tuple[str, ...]) -> np.ndarray:
    """Mean over the tokens of each text, the first left out where there are more; (n_layers + 1, n_texts, hidden_size) float32."""
    most = min(model.context or MOST_TOKENS, MOST_TOKENS)
    ids = [model.tokenizer(text, verbose=False)["input_ids"][:most] or [0] for text in texts]
    require_known_tokens(model, max(map(max, ids)))
    found = np.zeros((model.n_layers + 1, len(ids), model.hidden_size), dtype=np.float32)
    module = model.module.base_model if model.stack == "main" else model.module  # no head
    rows: list[int] = []

    def keep(index: int, state: Tensor) -> None:
        of_text = state[:, model.n_before :].float()
        found[index, rows] = of_text[:, min(1, of_text.shape[1] - 1) :].mean(1).cpu().numpy()

    with each_state(model.layers, keep):
        for rows in _batches(ids, model.batch):
            run_stack(module, model.stack, torch.tensor([ids[row] for row in rows], device=model.device))
    return found


def _batches(ids: list[list[int]], most: int) -> Iterator[list[int]]:
    """Texts of equal length, so that none is padded."""
    order = sorted(range(len(ids)), key=lambda row: len(ids[row]))
    for _length, same in groupby(order, key=lambda row: len(ids[row])):
        alike = list(same)
        yield from (alike[start : start + most] for start in range(0, len(alike), most))


def told(states: np.ndarray, classes: np.ndarray, documents: np.ndarray) -> np.ndarray:
    """The class of each text by ridge regression on the texts of all other documents; (n_texts,)

    states (n_texts, hidden_size), centred and scaled to length one. Leaving a document out needs no fit of its own: with
    the fitted values HY, its errors are (I - H_dd)^-1 (Y - HY)_d.
    """
    centred = states.astype(np.float64) - states.mean(0)
    directions = centred / np.maximum(np.linalg.norm(centred, axis=1, keepdims=True), 1e-30)
    products = directions @ directions.T + 1.0  # the constant, penalised alike
    n = len(products)
    hat = np.linalg.solve(products + RIDGE * np.eye(n), products)
    wanted = np.eye(classes.max() + 1)[classes]
    errors = wanted - hat @ wanted
    predicted = np.empty_like(wanted)
    for document in np.unique(documents):
        own = np.flatnonzero(documents == document)
        without = np.linalg.solve(np.eye(len(own)) - hat[np.ix_(own, own)], errors[own])
        predicted[own] = wanted[own] - without
    return predicted.argmax(1)
