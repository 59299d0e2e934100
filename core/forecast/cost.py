"""How long a pass will take, and how much memory, from the shapes of network and clouds and the speed of this machine.

Memory is counted as `runs.peak_memory_bytes` counts it: what no file backs. Weights that are mapped from a safetensors
file as they are, and the hidden states in their scratch file, are not in it.
"""

from __future__ import annotations

from dataclasses import dataclass

from core.forecast.speed import Speed
from core.geometry.effort import extra_work, layer_seconds, unit_seconds
from core.geometry.layer import CloudPlan
from core.geometry.layer_pairs import MAX_POINTS, points_within
from core.geometry.pairs import TILE
from core.models.memory import MemoryPlan, Shape, batch_bytes, suspended_bytes
from core.registry.passes import BLOCKS_DRAWN, DRAWN, PERMUTED, TRAINED

READ = 1e-9
"""Seconds to read a byte of a file that is not in memory, on a disk of 1 GB/s: the one speed that is not tested."""
HASH = 0.7e-9
"""Seconds to take a byte into a SHA-256."""
DEQUANTISED = 12.0
"""Steps of copying that a quantised number takes until it is in its place, as multiples of `Speed.number`."""
SHUFFLED = 2.0
"""Random numbers drawn, as multiples of `Speed.draw`, that the permutation of a number takes."""
VOCABULARY_STEPS = 1250.0
"""Steps of the interpreter per token type that reading a GGUF file's vocabulary takes."""
PER_BLOCK = 6e-4
"""Seconds that a block takes beside its numbers, for each batch: calls, hooks, a file's pages."""
OUTSET = 0.25
"""Seconds of a pass for all that does not depend on its size."""


@dataclass(frozen=True)
class Work:
    """What decides about the time of a pass."""

    shape: Shape
    plan: MemoryPlan
    placed: Placed
    layers: CloudPlan
    n_layers: int
    n_windows: int
    n_tokens: int
    """Per window."""
    vocabulary: int
    weight_bytes: int
    """Of the files."""


def start_seconds(speed: Speed, weight_bytes: int, is_gguf: bool, vocabulary: int) -> float:
    """Until the first pass: libraries, the hash of the weights, and of a GGUF file configuration and tokenizer."""
    reading = 2 * _vocabulary_seconds(speed, vocabulary) if is_gguf else 0.1
    return speed.start + weight_bytes * HASH + reading


def pass_seconds(speed: Speed, work: Work, further: tuple[str, ...] = ()) -> dict[str, float]:
    """Phase -> seconds of one pass; `further` are the estimators that its text pass takes besides."""
    return {
        "load": OUTSET + _load(speed, work),
        "forward": OUTSET + _forward(speed, work),
        "geometry": _geometry(speed, work, further),
        "layers": _layers(speed, work),
        "store": OUTSET,
    }


def _vocabulary_seconds(speed: Speed, vocabulary: int) -> float:
    return VOCABULARY_STEPS * vocabulary * speed.step


def _load(speed: Speed, work: Work) -> float:
    if work.plan.on_demand or _is_mapped(work):  # as each block's turn comes
        return 0.0
    return _weights(speed, work) + (
        2 * _vocabulary_seconds(speed, work.vocabulary) if work.placed.is_gguf and work.placed.weights != DRAWN else 0.0
    )


def _is_mapped(work: Work) -> bool:
    return work.placed.is_mapped and work.placed.weights == TRAINED


def _weights(speed: Speed, work: Work) -> float:
    """To have all weights once."""
    numbers = work.shape.weights / work.shape.element
    of_blocks = numbers - work.shape.outside / work.shape.element
    changing = {DRAWN: 2 * numbers, BLOCKS_DRAWN: 2 * of_blocks, PERMUTED: SHUFFLED * of_blocks}
    changed = changing.get(work.placed.weights, 0) * speed.draw
    if work.placed.weights == DRAWN:
        return changed
    if work.placed.is_gguf:
        return numbers * DEQUANTISED * speed.number + changed
    return work.weight_bytes * READ + (0.0 if work.placed.is_mapped else numbers * speed.number) + changed


def token_seconds(speed: Speed, shape: Shape, n_layers: int, n_tokens: int) -> float:
    """For a token to pass through the whole network, in a window of so many."""
    products = shape.multiplications + 2 * n_tokens * shape.hidden_size * n_layers
    numbers = n_layers * (shape.width + 6 * shape.hidden_size) + 2 * shape.logits
    return products * speed.multiplication + numbers * speed.number


def _forward(speed: Speed, work: Work) -> float:
    passing = token_seconds(speed, work.shape, work.n_layers, work.n_tokens)
    batches = -(-work.n_windows // work.plan.batch)
    read = _weights(speed, work) if work.plan.on_demand or _is_mapped(work) else 0.0
    return work.n_windows * work.n_tokens * passing + batches * work.n_layers * PER_BLOCK + read


def _geometry(speed: Speed, work: Work, further: tuple[str, ...]) -> float:
    n_states = work.n_layers + 2
    of_layer = layer_seconds(work.layers, work.shape.hidden_size) * speed.geometry
    if work.layers.draws:
        of_layer += _pair_storage_seconds(speed, work)
    if further:
        of_layer += extra_work(further, work.layers.draws[0].n_points) * unit_seconds()
    return n_states * of_layer + 3 * _dependence(speed, work)


def _pair_points(work: Work) -> int:
    return min(MAX_POINTS, work.layers.draws[0].n_points)


def _pair_storage_seconds(speed: Speed, work: Work) -> float:
    """Ranks of all neighbours of every point of the sub-sample."""
    return _pair_points(work) ** 2 * 60 * speed.number


def _dependence(speed: Speed, work: Work) -> float:
    """d2 of 26 halves and wholes of the types."""
    if not work.layers.draws:
        return 0.0
    n = work.layers.draws[0].n_points
    return 26 * n * n * (work.shape.hidden_size / 2 * speed.multiplication + 2 * speed.number)


def _layers(speed: Speed, work: Work) -> float:
    if not work.layers.draws:
        return 0.0
    n, states = _pair_points(work), work.n_layers + 1
    # The common dimension takes every pair of points once for each member set.
    common = len(work.layers.draws[0].members) * n * n * states
    products = n * states**2 * (2 * n + 4 * work.shape.hidden_size) + common * states / 2
    return products * speed.multiplication + (n * n * states + 3 * common) * speed.number


GGUF_VOCABULARY = 2700
"""Bytes per token type that a GGUF file's vocabulary takes as objects: SmolLM2, 136 MB for 49,152."""
PER_STORED = 8
"""Bytes per member set, point and stored neighbour, while neighbours are told apart by set."""
COPIES = 6
"""Copies of a cloud's points that are there at once."""


@dataclass(frozen=True)
class Footprint:
    """Bytes of main memory, and of the device where that is another."""

    memory: int
    device: int
    """0 on a CPU."""


@dataclass(frozen=True)
class Placed:
    """Where the weights of a pass are."""

    is_mapped: bool
    """Pages of the file, because the file's numbers are those that are measured in."""
    weights: str
    """What the pass makes of them, as `core.registry.passes` calls it."""
    is_gguf: bool
    on_device: bool
    """A GPU, whose memory is another."""


def footprint(
    base: int, shape: Shape, plan: MemoryPlan, placed: Placed, windows: tuple[int, int], vocabulary: int, geometry: int
) -> Footprint:
    """The peak of one pass: `base` before it, then the larger of its forward pass and its geometry.

    windows (number, tokens of each); geometry as `geometry_bytes` gives it.
    """
    start = baseline_bytes(base, placed.is_gguf, vocabulary)
    held = shape.largest_unit if plan.on_demand else shape.weights
    if placed.weights == DRAWN and plan.on_demand:
        held += shape.outside  # embedding and head are drawn at once and stay
    resident = held
    if placed.is_mapped and placed.weights == TRAINED:
        resident = 0
    elif placed.is_mapped and placed.weights != DRAWN and not plan.on_demand:
        resident = shape.weights - shape.outside  # the blocks are made here
    waiting = suspended_bytes(shape, *windows) if plan.on_demand else 0
    running = waiting + batch_bytes(shape, plan.batch, windows[1])
    if not placed.on_device:
        return Footprint(start + max(resident + running, geometry), 0)
    # Loaded weights are whole in main memory before they move; drawn ones move unit by unit.
    comes_in_parts = placed.weights == DRAWN or placed.is_mapped or plan.on_demand
    on_the_way = min(resident, shape.largest_unit) if comes_in_parts else resident
    return Footprint(start + max(on_the_way, geometry), max(held + running, geometry))


def baseline_bytes(base: int, is_gguf: bool, vocabulary: int) -> int:
    """Bytes of a process that has read configuration and tokenizer."""
    return base + (GGUF_VOCABULARY * vocabulary if is_gguf else 0)


def geometry_bytes(plan: CloudPlan, n_layers: int, hidden_size: int, pair_budget: int) -> int:
    """The peak of a layer's geometry, what is kept of all layers for their comparison included."""
    clouds = [*plan.draws[:1], *plan.word_draws[:1], *plan.others]
    n = max((len(cloud.rows) for cloud in clouds), default=max(map(len, plan.prompts), default=0))
    n_sets = max((len(cloud.members) for cloud in clouds), default=1)
    of_layer = 2 * len(plan.blocks) * hidden_size * 4
    of_cloud = COPIES * n * hidden_size * 4 + n * (n_sets * 80 * PER_STORED + 3 * TILE * 4)
    return of_layer + of_cloud + _pair_bytes(plan, n_layers, hidden_size, pair_budget)


def _pair_bytes(plan: CloudPlan, n_layers: int, hidden_size: int, budget: int) -> int:
    if not plan.draws:
        return 0
    n = points_within(budget, n_layers + 1, hidden_size, plan.draws[0].n_points)
    return (n_layers + 1) * (2 * n * hidden_size * 4 + n * n * (4 + 2))
