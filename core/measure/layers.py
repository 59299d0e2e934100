"""Layers of a pass, measured from its hidden states: side by side on a CPU, if that is worth it, else one after the other."""

from __future__ import annotations

import logging
from collections.abc import Generator, Sequence
from dataclasses import dataclass

import torch

from core.errors import Sentence
from core.geometry.layer import CloudPlan, measure_layer
from core.geometry.results import LayerResult
from core.measure.capture import HiddenStates, release_memory
from core.measure.layer_workers import LayerWorkers, count_workers
from core.measure.plan import TokenMask
from core.models.model import is_out_of_memory

_log = logging.getLogger("workdim")


@dataclass(frozen=True)
class LayerMeasurer:
    device: torch.device
    workers: LayerWorkers
    room: int
    """Bytes that the workers may take together."""

    def measure(
        self, states: HiddenStates, mask: TokenMask, plan: CloudPlan, layers: Sequence[int]
    ) -> Generator[tuple[int, LayerResult], None, None]:
        """Index and result of each of these entries of the states, as they are finished: out of order."""
        hidden_size, workers = states.states.shape[2], self.workers
        n = count_workers(plan, hidden_size, len(layers), workers.cpus, self.room) if self.device.type == "cpu" else 0
        if n:
            yield from workers.measure(n, states.file, mask.keep, plan, layers)
            return
        for index in layers:
            yield index, measure_layer_on(states.points(index, mask.keep), self.device, plan)


def measure_layer_on(points: torch.Tensor, device: torch.device, plan: CloudPlan) -> LayerResult:
    """The layer measured on the device; falls back to the CPU, with a warning, if memory runs out.

    points (n_tokens_used, hidden_size).
    """
    try:
        return measure_layer(points.to(device), plan)
    except (MemoryError, RuntimeError) as error:
        if device.type == "cpu" or not is_out_of_memory(error):
            raise
    release_memory(device)
    _log.warning(Sentence("Memory of {device} is short: measuring on the CPU.", device=device))
    return measure_layer(points, plan)
