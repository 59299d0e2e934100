"""Predicts the peak memory of a pass from the shapes of network and clouds.

Memory is counted as in `runs.peak_memory_bytes`: anonymous memory, not backed by a file. Weights mapped unchanged from
a safetensors file, and the hidden states in their scratch file, are not included.
"""

from __future__ import annotations

from dataclasses import dataclass

from core.geometry.layer import CloudPlan, layer_bytes
from core.geometry.layer_pairs import points_within
from core.measure.layers import WORKER_BYTES
from core.models.memory import MemoryPlan, Shape, batch_bytes, suspended_bytes
from core.registry.protocols import BLOCKS_DRAWN, CHANGED, DRAWN

GGUF_VOCABULARY = 2700
"""Bytes per token type of a GGUF file's vocabulary as Python objects: SmolLM2, 136 MB for 49,152."""


@dataclass(frozen=True)
class Placed:
    """Where the weights of a pass are located."""

    is_mapped: bool
    """Whether they are memory-mapped file pages, because the file has the dtype of the measurement."""
    weights: str
    """Kind of weights of the pass, as in `core.registry.protocols`."""
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
