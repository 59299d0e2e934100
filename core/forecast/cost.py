"""Predicts time and memory of a pass from the shapes of network and clouds and the speed of this machine.

Memory is counted as in `runs.peak_memory_bytes`: anonymous memory, not backed by a file. Weights mapped unchanged from
a safetensors file, and the hidden states in their scratch file, are not included.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from core.forecast.speed import Speed
from core.geometry.effort import extra_work, layer_bytes, layer_seconds, unit_seconds
from core.geometry.layer import CloudPlan
from core.geometry.layer_pairs import MAX_POINTS, points_within
from core.measure.layer_workers import WORKER_BYTES, WORKER_START
from core.models.memory import MemoryPlan, Shape, batch_bytes, suspended_bytes
from core.registry.passes import BLOCKS_DRAWN, CHANGED, DRAWN, MATCHED, PERMUTED

READ = 1e-9
"""Seconds to read one byte of an uncached file, for a disk of 1 GB/s; the only speed that is not tested."""
HASH = 0.7e-9
"""Seconds to hash one byte with SHA-256."""
DEQUANTISED = 12.0
"""Cost of dequantising and placing one number, as a multiple of `Speed.number`."""
SHUFFLED = 2.0
"""Cost of permuting one number, as a multiple of `Speed.draw`."""
VOCABULARY_STEPS = 1250.0
"""Interpreter steps per token type for reading a GGUF file's vocabulary."""
PER_BLOCK = 6e-4
"""Fixed seconds per block and batch: calls, hooks, file pages."""
OUTSET = 0.25
"""Fixed seconds of a phase, independent of its size."""


@dataclass(frozen=True)
class Work:
    """The inputs that determine the time of a pass."""

    shape: Shape
    plan: MemoryPlan
    placed: Placed
    layers: CloudPlan
    n_layers: int
    n_windows: int
    n_tokens: int
    """Tokens per window."""
    vocabulary: int
    weight_bytes: int
    """Bytes of the weight files."""
    n_workers: int = 0
    """Processes that measure layers side by side; 0 if the job's own does."""
    n_seeds: int = 1
    """Draws of a control that judges."""


def start_seconds(speed: Speed, weight_bytes: int, is_gguf: bool, vocabulary: int) -> float:
    """Time until the first pass: libraries, hash of the weights, and configuration and tokenizer of a GGUF file."""
    read_seconds = 2 * _vocabulary_seconds(speed, vocabulary) if is_gguf else 0.1
    return speed.start + weight_bytes * HASH + read_seconds


def pass_seconds(speed: Speed, work: Work, extra_estimators: tuple[str, ...] = ()) -> dict[str, float]:
    """Phase -> seconds of one pass; `extra_estimators` are those of the text pass alone."""
    forward, geometry = OUTSET + _forward(speed, work), _geometry(speed, work, extra_estimators)
    further = {}
    if work.placed.weights in CHANGED:  # one more pass measures how much the trained blocks write
        further["seeds"] = work.n_seeds * forward + (work.n_seeds - 1) * geometry
    return {
        "load": OUTSET + _load(speed, work),
        **further,
        "forward": forward,
        "geometry": geometry,
        "layers": _layers(speed, work),
        "store": OUTSET,
    }


def _vocabulary_seconds(speed: Speed, vocabulary: int) -> float:
    return VOCABULARY_STEPS * vocabulary * speed.step


def _load(speed: Speed, work: Work) -> float:
    if work.plan.on_demand or work.placed.stays_mapped:  # loaded block by block during the forward pass
        return 0.0
    return _weights(speed, work) + (
        2 * _vocabulary_seconds(speed, work.vocabulary) if work.placed.is_gguf and work.placed.weights != DRAWN else 0.0
    )


def _weights(speed: Speed, work: Work) -> float:
    """Time to load or create all weights once."""
    n_numbers = work.shape.weights / work.shape.element
    n_block_numbers = n_numbers - work.shape.outside / work.shape.element
    n_drawn = {DRAWN: 2 * n_numbers, BLOCKS_DRAWN: 2 * n_block_numbers}
    draw_seconds = n_drawn.get(work.placed.weights, 0) * speed.draw
    if work.placed.weights == DRAWN:
        return draw_seconds
    if work.placed.is_gguf:
        return n_numbers * DEQUANTISED * speed.number + draw_seconds
    return work.weight_bytes * READ + (0.0 if work.placed.is_mapped else n_numbers * speed.number) + draw_seconds


def token_seconds(speed: Speed, shape: Shape, n_layers: int, n_tokens: int) -> float:
    """Time for one token to pass through the whole network, in a window of `n_tokens` tokens."""
    n_products = shape.multiplications + 2 * n_tokens * shape.hidden_size * n_layers
    n_numbers = n_layers * (shape.width + 6 * shape.hidden_size) + 2 * shape.logits
    return n_products * speed.multiplication + n_numbers * speed.number


def _forward(speed: Speed, work: Work) -> float:
    seconds_per_token = token_seconds(speed, work.shape, work.n_layers, work.n_tokens)
    batches = -(-work.n_windows // work.plan.batch)
    read_seconds = _weights(speed, work) if work.plan.on_demand or work.placed.stays_mapped else 0.0
    n_block_numbers = (work.shape.weights - work.shape.outside) / work.shape.element
    draws = {MATCHED: 1.0, PERMUTED: SHUFFLED}.get(work.placed.weights, 0.0) * n_block_numbers * speed.draw
    return (
        work.n_windows * work.n_tokens * seconds_per_token + batches * work.n_layers * PER_BLOCK + read_seconds + draws
    )


def _geometry(speed: Speed, work: Work, extra_estimators: tuple[str, ...]) -> float:
    n_states = work.n_layers + 2
    seconds_per_layer = layer_seconds(work.layers, work.shape.hidden_size) * speed.geometry
    if extra_estimators:
        seconds_per_layer += extra_work(extra_estimators, work.layers.draws[0].n_points) * unit_seconds()
    n_rounds = math.ceil(n_states / max(1, work.n_workers))
    start_seconds = WORKER_START if work.n_workers else 0.0
    return start_seconds + n_rounds * seconds_per_layer + 3 * _dependence(speed, work)


def _dependence(speed: Speed, work: Work) -> float:
    """Time of the dependence check: d2 of 26 subsets and full sets of the types."""
    if not work.layers.draws:
        return 0.0
    n_points = work.layers.draws[0].n_points
    return 26 * n_points * n_points * (work.shape.hidden_size / 2 * speed.multiplication + 2 * speed.number)


def _layers(speed: Speed, work: Work) -> float:
    if not work.layers.has_pairs:
        return 0.0
    n_points, n_states = min(MAX_POINTS, work.layers.draws[0].n_points), work.n_layers + 1
    # The common dimension processes every pair of points once per member set.
    n_common = len(work.layers.draws[0].members) * n_points * n_points * n_states
    n_products = n_points * n_states**2 * (2 * n_points + 4 * work.shape.hidden_size) + n_common * n_states / 2
    # The last: to rank all neighbours of every point.
    n_numbers = n_points * n_points * n_states + 3 * n_common + n_states * n_points**2 * 60
    return n_products * speed.multiplication + n_numbers * speed.number


GGUF_VOCABULARY = 2700
"""Bytes per token type of a GGUF file's vocabulary as Python objects: SmolLM2, 136 MB for 49,152."""


@dataclass(frozen=True)
class Placed:
    """Where the weights of a pass are located."""

    is_mapped: bool
    """Whether they are memory-mapped file pages, because the file has the dtype of the measurement."""
    weights: str
    """Kind of weights of the pass, as in `core.registry.passes`."""
    is_gguf: bool
    on_device: bool
    """Whether they are on a GPU with separate memory."""

    @property
    def stays_mapped(self) -> bool:
        """Whether none of them is replaced in memory for the whole pass."""
        return self.is_mapped and self.weights not in (DRAWN, BLOCKS_DRAWN)


def footprint(
    base: int, shape: Shape, plan: MemoryPlan, placed: Placed, windows: tuple[int, int], vocabulary: int, geometry: int
) -> tuple[int, int]:
    """Peak bytes of one pass, in main memory and on a device of its own (0 on a CPU): `base` before it, plus the larger of
    its forward pass and its geometry.

    windows (number, tokens of each); geometry from `geometry_bytes`.
    """
    baseline = baseline_bytes(base, placed.is_gguf, vocabulary)
    weight_bytes = shape.largest_unit if plan.on_demand else shape.weights
    if placed.weights == DRAWN and plan.on_demand:
        weight_bytes += shape.outside  # embedding and head are drawn at the start and stay in memory
    resident = weight_bytes
    if placed.stays_mapped:
        resident = 0
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


def baseline_bytes(base: int, is_gguf: bool, vocabulary: int) -> int:
    """Bytes of a process that has read configuration and tokenizer, the vocabulary of a GGUF file included."""
    return base + (GGUF_VOCABULARY * vocabulary if is_gguf else 0)


def geometry_bytes(plan: CloudPlan, n_layers: int, hidden_size: int, pair_budget: int, n_workers: int = 0) -> int:
    """Peak memory of the layers that are measured at once, their workers included, or of the comparison of all layers."""
    one = layer_bytes(plan, hidden_size)
    at_once = n_workers * (WORKER_BYTES + one) if n_workers else one
    return max(at_once, _pair_bytes(plan, n_layers, hidden_size, pair_budget))


def _pair_bytes(plan: CloudPlan, n_layers: int, hidden_size: int, budget: int) -> int:
    if not plan.has_pairs:
        return 0
    n_points = points_within(budget, n_layers + 1, hidden_size, plan.draws[0].n_points)
    # Directions twice, a kernel and ranks of each layer, and one kind of them once more as a stack.
    return (n_layers + 1) * (3 * n_points * hidden_size * 4 + n_points * n_points * (4 + 2 + 4))
