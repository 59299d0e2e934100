"""How much memory a measurement will have of its own at most, told from the shape of the network and of the clouds.

Counted is what `runs.peak_memory_bytes` counts: memory that no file backs. Weights that are mapped from a safetensors
file as they are, and the hidden states in their scratch file, are not in it.
"""

from __future__ import annotations

from dataclasses import dataclass

from core.geometry.layer import LayerPlan
from core.geometry.layer_pairs import points_within
from core.geometry.pairs import TILE
from core.measure.memory import MemoryPlan, Shape, batch_bytes, waiting_bytes

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
    is_drawn: bool
    """Made here at random."""
    is_gguf: bool
    on_device: bool
    """A GPU, whose memory is another."""


def footprint(
    base: int, shape: Shape, plan: MemoryPlan, placed: Placed, windows: tuple[int, int], vocabulary: int, geometry: int
) -> Footprint:
    """The peak of one pass: `base` before it, then the larger of its forward pass and its geometry.

    windows (number, tokens of each); geometry as `geometry_bytes` gives it.
    """
    start = held_before(base, placed.is_gguf, vocabulary)
    held = shape.largest_unit if plan.on_demand else shape.weights
    if placed.is_drawn and plan.on_demand:
        held += shape.outside  # embedding and head are drawn at once and stay
    resident = 0 if placed.is_mapped and not placed.is_drawn else held
    waiting = waiting_bytes(shape, *windows) if plan.on_demand else 0
    running = waiting + batch_bytes(shape, plan.batch, windows[1])
    if not placed.on_device:
        return Footprint(start + max(resident + running, geometry), 0)
    # Loaded weights are whole in main memory before they move; drawn ones move unit by unit.
    on_the_way = min(resident, shape.largest_unit) if placed.is_drawn or plan.on_demand else resident
    return Footprint(start + max(on_the_way, geometry), max(held + running, geometry))


def held_before(base: int, is_gguf: bool, vocabulary: int) -> int:
    """Bytes of a process that has read configuration and tokenizer."""
    return base + (GGUF_VOCABULARY * vocabulary if is_gguf else 0)


def geometry_bytes(plan: LayerPlan, n_layers: int, hidden_size: int, pair_budget: int) -> int:
    """The peak of a layer's geometry, what is kept of all layers for their comparison included."""
    clouds = [*plan.draws[:1], *plan.word_draws[:1], *plan.others]
    n = max((len(cloud.rows) for cloud in clouds), default=max(map(len, plan.prompts), default=0))
    n_sets = max((len(cloud.members) for cloud in clouds), default=1)
    of_layer = 2 * len(plan.blocks) * hidden_size * 4
    of_cloud = COPIES * n * hidden_size * 4 + n * (n_sets * 80 * PER_STORED + 3 * TILE * 4)
    return of_layer + of_cloud + _pair_bytes(plan, n_layers, hidden_size, pair_budget)


def _pair_bytes(plan: LayerPlan, n_layers: int, hidden_size: int, budget: int) -> int:
    if not plan.draws:
        return 0
    n = points_within(budget, n_layers + 1, hidden_size, plan.draws[0].n_points)
    return (n_layers + 1) * (2 * n * hidden_size * 4 + n * n * (4 + 2))
