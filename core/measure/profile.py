"""THE flow: one model, one text, one protocol -> one profile."""

from __future__ import annotations

import gc
import importlib.metadata
import json
import math
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import psutil
import torch

from core.errors import CorpusError
from core.geometry import clouds
from core.geometry.layer import LayerPlan, LayerResult, measure_layer
from core.geometry.resampling import half_splits
from core.geometry.stability import SequenceDependence, sequence_dependence, sequence_pairs
from core.measure.checks import run_checks
from core.measure.corpora import Corpus, open_corpus
from core.measure.hidden import HiddenStates, capture
from core.measure.mask import TokenMask, mask_tokens
from core.measure.models import OpenModel, open_model
from core.measure.protocol import MIN_TYPES, find_protocol
from core.measure.sample import TokenSample, draw_sample
from core.measure.sources import find_weights
from core.records import Estimate, Profile, Progress, ProgressCallback, Protocol, RunConfig
from core.tables import LayerCorrelatorRow, LayerEstimateRow, LayerReplicateRow, RunRow

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("torch", "transformers", "tokenizers", "numpy", "safetensors", "gguf", "scipy")
# Replicates are kept where a later analysis needs them: one GRIDE scale stands for the scan.
KEPT_REPLICATES = {("d2", None), ("two_nn", 1), ("mle", None), ("participation_ratio", None), ("gride", 8)}


def measure_profile(config: RunConfig, run_id: str, scratch: Path, progress: ProgressCallback) -> Profile:
    """Measure one model on one text.

    `scratch` is an empty folder for temporary files. Raises InputError (and its kinds) for anything that the user
    can mend; nothing is written outside `scratch`.
    """
    clock = _Clock(progress)
    protocol = find_protocol(config.protocol)
    corpus = open_corpus(config.corpus, config.column, config.encoding)
    with clock.phase("load"):
        model = open_model(find_weights(config.model), config.dtype, config.device)
        sample = draw_sample(corpus, model.tokenizer, protocol, config.seed, model.row.name)
    with clock.phase("forward"):
        states = capture(model, sample, scratch, clock.report)
        mask = mask_tokens(sample, states.norms, states.n_layers, protocol.norm_factor)
        require_types(mask, corpus)
        plan = plan_layers(sample, mask, protocol, config.seed)
        device = model.device
        model = _without_weights(model)
        gc.collect()
    with clock.phase("geometry"):
        layers = []
        for index in range(len(states.labels)):
            clock.report(Progress("geometry", index, len(states.labels)))
            points = torch.from_numpy(states.states[index][mask.keep]).to(device)  # (n_tokens_used, hidden_size)
            layers.append(measure_layer(points, plan))
        dependence = check_sequences(states, mask, plan, layers, protocol, config.seed)
        clock.report(Progress("geometry", len(states.labels), len(states.labels)))
    return _assemble(config, run_id, protocol, corpus, model, sample, states, mask, plan, layers, dependence, clock)


def require_types(mask: TokenMask, corpus: Corpus) -> None:
    """The text held enough token types before the mask; it must after it, too."""
    if mask.n_types < MIN_TYPES:
        raise CorpusError(
            f"Only {mask.n_types} token types of {corpus.row.name} are left after {mask.n_dropped_norm} tokens were "
            f"masked for their norm; a cloud needs {MIN_TYPES}. Measure with --dtype float32 or on another text."
        )


def plan_layers(sample: TokenSample, mask: TokenMask, protocol: Protocol, seed: int) -> LayerPlan:
    """Which masked tokens form which cloud, the same for every layer."""
    types, sequences = mask.types, mask.sequences
    blocks = sample.blocks[sequences]
    draws = [token_order(mask, seed, draw) for draw in range(protocol.n_draws)]
    n_blocks = protocol.n_blocks
    return LayerPlan(
        [clouds.one_per_type(order, types, blocks, sequences, n_blocks, protocol.max_types) for order in draws],
        clouds.all_tokens(draws[0], blocks, sequences, n_blocks, protocol.max_tokens),
        half_splits(len(sample.ids), protocol.n_half_splits, seed),
    )


def token_order(mask: TokenMask, seed: int, draw: int) -> np.ndarray:
    """The seeded permutation of the kept tokens that decides draw number `draw`."""
    return np.random.default_rng([seed, 1, draw]).permutation(len(mask.types))


def check_sequences(
    states: HiddenStates, mask: TokenMask, plan: LayerPlan, layers: list[LayerResult],
    protocol: Protocol, seed: int,
) -> dict[int, SequenceDependence]:  # fmt: skip
    """Dependence on the number of sequences at the embedding, the peak of d2 and the final layer."""
    order = token_order(mask, seed, 0)
    pairs = sequence_pairs(order, mask.types, mask.sequences, plan.halves[:4], protocol.max_types)
    inner = [result.estimates[0].estimate.value for result in layers[1 : states.n_layers]]
    peak = 1 + int(np.nanargmax(inner)) if np.isfinite(inner).any() else 0
    found = {}
    for layer in sorted({0, peak, states.n_layers}):
        points = torch.from_numpy(states.states[layer][mask.keep])
        found[layer] = sequence_dependence(points, mask.sequences, pairs, plan.draws[0])
    return found


def _without_weights(model: OpenModel) -> OpenModel:
    """Only the description is needed once the states are on disk; the weights' memory goes back."""
    return OpenModel(model.row, None, None, torch.nn.ModuleList(), model.is_causal, model.device, model.dtype)


def _assemble(
    config: RunConfig, run_id: str, protocol: Protocol, corpus: Corpus, model: OpenModel, sample: TokenSample,
    states: HiddenStates, mask: TokenMask, plan: LayerPlan, layers: list[LayerResult],
    dependence: dict[int, SequenceDependence], clock: _Clock,
) -> Profile:  # fmt: skip
    run = RunRow(
        run_id=run_id,
        parent_run_id=None,
        pass_="text",
        seed=config.seed,
        model_id=model.row.model_id,
        corpus_id=corpus.row.corpus_id,
        pilot_id=None,
        protocol=protocol.name,
        protocol_hash=protocol.hash(config.seed),
        status="finished",
        tags=[],
        note=None,
        started_at=clock.started_at,
        finished_at=datetime.now(UTC),
        dtype=config.dtype,
        device=model.device.type,
        code_version=code_version(),
        library_versions=json.dumps({name: _version(name) for name in PACKAGES}),
        config=json.dumps({"run": asdict(config), "protocol": asdict(protocol)}, sort_keys=True),
        n_sequences=sample.ids.shape[0],
        n_tokens=sample.ids.size,
        n_tokens_used=int(mask.keep.sum()),
        n_types=mask.n_types,
        n_dropped_position=mask.n_dropped_position,
        n_dropped_special=mask.n_dropped_special,
        n_dropped_norm=mask.n_dropped_norm,
        max_norm_ratio=mask.max_norm_ratio,
        n_bytes_scored=sample.n_bytes_scored if model.is_causal else None,
        peak_memory_bytes=clock.peak_memory,
        phase_seconds=json.dumps({name: round(seconds, 2) for name, seconds in clock.seconds.items()}),
    )
    labelled = list(zip(states.labels, layers, strict=True))
    return Profile(
        model=model.row,
        corpus=corpus.row,
        run=run,
        estimates=[
            _estimate_row(run_id, layer, state, e.cloud, e.estimator, e.n1, e.n2, e.estimate)
            for (layer, state), result in labelled
            for e in result.estimates
        ],
        correlators=[
            LayerCorrelatorRow(run_id, layer, state, c.cloud, c.correlator, _stored(c.value), _stored(c.std_error),
                               c.n_points)
            for (layer, state), result in labelled
            for c in result.correlators
        ],
        replicates=[
            LayerReplicateRow(run_id, layer, state, e.cloud, e.estimator, e.n1, e.blocks, e.halves)
            for (layer, state), result in labelled
            for e in result.estimates
            if (e.estimator, e.n1) in KEPT_REPLICATES
        ],
        checks=run_checks(run_id, sample, mask, states, layers, plan.draws[0].n_points, dependence),
        bits_per_byte=states.bits_per_byte,
    )  # fmt: skip


def _estimate_row(run_id: str, layer: int, state: str, cloud: str, estimator: str, n1: int | None, n2: int | None,
                  e: Estimate) -> LayerEstimateRow:  # fmt: skip
    return LayerEstimateRow(
        run_id, layer, state, "main", cloud, estimator, n1, n2, "centred", _stored(e.scale), _stored(e.value),
        _stored(e.std_error), _stored(e.lower), _stored(e.upper), None, e.n_points, e.n_dropped,
    )  # fmt: skip


def _stored(value: float) -> float | None:
    """NaN means undefined, which a table says with NULL."""
    return value if math.isfinite(value) else None


@dataclass
class _Clock:
    """Phase times, peak memory and the start: what the run says about its own cost."""

    progress: ProgressCallback
    started_at: datetime = field(default_factory=lambda: datetime.now(UTC))
    seconds: dict[str, float] = field(default_factory=dict)
    peak_memory: int = 0

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        self.report(Progress(name, 0, 1))
        start = time.perf_counter()
        yield
        self.seconds[name] = time.perf_counter() - start

    def report(self, progress: Progress) -> None:
        self.peak_memory = max(self.peak_memory, anonymous_memory())
        self.progress(progress)


def anonymous_memory() -> int:
    """Bytes of memory that are the process's own, mapped files left out where the system tells them apart."""
    try:
        for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
            if line.startswith("RssAnon:"):
                return int(line.split()[1]) * 1024
    except OSError:
        pass
    return psutil.Process().memory_info().rss


def code_version() -> str:
    """Workdim's version, and the commit where the code is a git checkout."""
    version = _project_version()
    try:
        done = subprocess.run(["git", "describe", "--always", "--dirty", "--abbrev=10"], cwd=ROOT, capture_output=True,
                              text=True, encoding="utf-8", timeout=5, check=False)  # fmt: skip
    except (OSError, subprocess.TimeoutExpired):
        return version
    if not (ROOT / ".git").exists():  # unpacked inside another project's checkout
        return version
    return f"{version}+{done.stdout.strip()}" if done.returncode == 0 and done.stdout.strip() else version


def _project_version() -> str:
    import tomllib

    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"]


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "not installed"
