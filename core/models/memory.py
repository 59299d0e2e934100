"""How much memory a forward pass takes, from the shape of the network alone, and what follows from it.

The estimates count what is alive at once where most is. Held against real passes (`tests/bench/preflight.py`) they are
right within 25 percent; a batch that does not fit after all is halved (core/measure/capture.py).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import psutil
import torch
from torch import nn

from core.errors import ResourceError

SAFE_SHARE = 0.7
"""Of the free memory, what a pass may take where no budget was asked for: the rest is for other programs."""
LOGIT_BUDGET = 192 * 2**20
"""Bytes of logits that one batch may produce: they are the largest tensor of the pass."""
MAX_BATCH = 8
"""Windows per batch: larger ones are no faster on a CPU and only take memory."""
LOSS_ROWS = 128
"""Rows of logits that the loss takes at once: its temporaries are as large as they are."""


@dataclass(frozen=True)
class Scan:
    """What the scan of a state-space block has in memory: a state per token, which no product with a weight tells of.

    Counted is the scan of transformers itself, in float32 whatever the dtype; the kernels that it takes where they are
    installed need less.
    """

    token_bytes: int = 0
    """Bytes per token; 0 where no block scans."""
    chunk: int = 1
    """Windows are filled up to a multiple of so many tokens."""


NO_SCAN = Scan()


@dataclass(frozen=True)
class Shape:
    """What decides about the memory of a pass. Bytes are those of the dtype that is measured in."""

    weights: int
    """Bytes of all parameters."""
    largest_unit: int
    """Bytes of the largest block, embedding or head: of what is in memory at once where weights come on demand."""
    element: int
    """Bytes of one number."""
    width: int
    """Numbers per token that a block makes, all its products together."""
    hidden_size: int
    logits: int
    """Numbers per token that a head makes; 0 where the pass has none."""
    outside: int = 0
    """Bytes of the parameters outside the blocks."""
    multiplications: int = 0
    """Per token, in the products of the blocks and of the head."""
    heads: int = 0
    """Heads whose scores, a number for every two tokens of a window, are in memory; 0 where a kernel keeps them."""
    scan: Scan = NO_SCAN


@dataclass(frozen=True)
class MemoryPlan:
    on_demand: bool
    """Whether each weight is in memory only while its block runs."""
    batch: int
    """Windows that go through the network at a time."""
    n_bytes: int
    """Peak of weights and pass, beyond what the process takes already."""
    spread: tuple[int, ...] = ()
    """Bytes of weights that each of several GPUs may take; empty where one device holds all."""


def shape_of(
    module: nn.Module,
    blocks: Sequence[nn.Module],
    hidden_size: int,
    logits: int,
    running: Sequence[nn.Module] | None = None,
    experts: int | None = None,
    heads: int = 0,
) -> Shape:
    """module: the network, which may be on the meta device; blocks: of all its stacks.

    running: the blocks that a pass runs, all where None; experts: how many of a mixture each token goes through;
    heads: those of an attention that has its scores in memory.
    """
    within = {id(part) for block in blocks for part in block.modules()}
    outside = [part for part in module.modules() if id(part) not in within]
    others = (_bytes(part.parameters(recurse=False)) for part in outside)
    weights, of_blocks = _bytes(module.parameters()), sum(_bytes(block.parameters()) for block in blocks)
    ran = [p for block in (blocks if running is None else running) for p in block.parameters()]
    return Shape(
        weights=weights,
        largest_unit=max([*(_bytes(block.parameters()) for block in blocks), *others]),
        element=next(module.parameters()).element_size(),
        width=max(sum(_expanded_parameters(p, experts) for p in block.parameters()) for block in blocks),
        hidden_size=hidden_size,
        logits=logits,
        outside=weights - of_blocks,
        multiplications=int(sum(p.numel() * _active_parameters(p, experts) for p in ran)) + logits * hidden_size,
        heads=heads,
        scan=scan_of(blocks),
    )


def _expanded_parameters(parameter: torch.Tensor, experts: int | None) -> int:
    """Numbers per token that a product with this weight gives; the experts of a mixture are stacked in one tensor."""
    if parameter.dim() == 3 and experts:
        return experts * parameter.shape[1]
    return parameter.shape[0] if parameter.dim() == 2 else 0


def _active_parameters(parameter: torch.Tensor, experts: int | None) -> float:
    """Share of a weight that a token meets."""
    return min(1.0, experts / parameter.shape[0]) if parameter.dim() == 3 and experts else 1.0


def _bytes(parameters: Iterable[torch.Tensor]) -> int:
    return sum(p.numel() * p.element_size() for p in parameters)


def largest_batch(shape_logits: int, n_tokens: int) -> int:
    """Windows of a batch whose logits keep to LOGIT_BUDGET."""
    return min(MAX_BATCH, max(1, LOGIT_BUDGET // (4 * n_tokens * max(1, shape_logits))))


def batch_bytes(shape: Shape, batch: int, n_tokens: int) -> int:
    """Peak of one batch: a block with its input and residual, or the head with the state that it reads."""
    tokens = batch * n_tokens
    block = tokens * shape.element * (shape.width + 4 * shape.hidden_size)
    # Scores as they are, with the mask, and twice in float32 for the softmax.
    block += tokens * n_tokens * shape.heads * (2 * shape.element + 2 * 4)
    block += batch * math.ceil(n_tokens / shape.scan.chunk) * shape.scan.chunk * shape.scan.token_bytes
    head = tokens * shape.element * (shape.logits + 2 * shape.hidden_size) + LOSS_ROWS * shape.logits * 4 * 3
    return max(block, head) + tokens * shape.hidden_size * 4  # the copy that is spilled


def suspended_bytes(shape: Shape, n_windows: int, n_tokens: int) -> int:
    """What batches hold while they wait: the state that goes into the next block, and the one that came first."""
    return n_windows * n_tokens * shape.element * 3 * shape.hidden_size


def plan_memory(
    shape: Shape,
    n_windows: int,
    n_tokens: int,
    room: int,
    name: str,
    others: Sequence[int] = (),
    is_drawn: bool = False,
) -> MemoryPlan:
    """All weights on the device where they fit into `room` bytes, then on several, then on demand.

    `others` are the bytes that further GPUs of this machine offer; where weights are drawn, those outside the blocks
    stay. Raises ResourceError, with the least that would do,
    where not even a window at a time fits.
    """
    held = shape.largest_unit + (shape.outside if is_drawn else 0) + suspended_bytes(shape, n_windows, n_tokens)
    batches = [2**i for i in range(MAX_BATCH.bit_length()) if 2**i <= largest_batch(shape.logits, n_tokens)]
    passes = [(batch, batch_bytes(shape, batch, n_tokens)) for batch in reversed(batches)]
    for batch, of_pass in passes:
        if shape.weights + of_pass <= room:
            return MemoryPlan(False, batch, shape.weights + of_pass)
    for batch, of_pass in passes if others else ():
        rooms = tuple(max(0, each - of_pass) for each in (room, *others))
        if shape.weights <= sum(rooms) and shape.largest_unit <= min(rooms):
            return MemoryPlan(False, batch, shape.weights + of_pass, rooms)
    for batch, of_pass in passes:
        if held + of_pass <= room:
            return MemoryPlan(True, batch, held + of_pass)
    least = held + batch_bytes(shape, 1, n_tokens)
    raise ResourceError(
        "{name} needs {least:.2f} GB of memory for a pass even block by block, and may take {room:.2f} GB "
        "here. Free some, raise --memory-budget, or choose --dtype bfloat16, quick or a smaller model.",
        name=name,
        least=least / 1e9,
        room=room / 1e9,
    )


def available_bytes(device: torch.device, budget: int | None) -> int:
    """Bytes that weights and pass may take on the device: of `budget`, what the process does not hold already."""
    if budget is None:
        return int(SAFE_SHARE * free_memory(device))
    return budget if device.type == "cuda" else max(0, budget - _own_memory())


def available_bytes_elsewhere(device: torch.device, budget: int | None) -> list[int]:
    """The same of every further GPU, where `cuda` without a number was asked for."""
    if device.type != "cuda" or device.index is not None:
        return []
    return [available_bytes(torch.device("cuda", i), budget) for i in range(1, torch.cuda.device_count())]


def _own_memory() -> int:
    """Bytes of this process that no file backs."""
    info: Any = psutil.Process().memory_info()
    return info.rss - getattr(info, "shared", 0)


def free_memory(device: torch.device) -> int:
    """Bytes that a tensor could take on the device now, what torch holds back for later tensors included."""
    if device.type != "cuda":
        return psutil.virtual_memory().available
    held = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
    return torch.cuda.mem_get_info(device)[0] + held


def scan_of(blocks: Sequence[nn.Module]) -> Scan:
    """The largest among these blocks, which may be on the meta device."""
    found = [_scan(part) for block in blocks for part in block.modules() if hasattr(part, "A_log")]
    return max(found, key=lambda scan: scan.token_bytes, default=NO_SCAN)


def _scan(mixer: nn.Module) -> Scan:
    """Factors are what real passes of several widths took, in float32 numbers: 3.5 states; 6 states and 4 scores."""
    matrix: nn.Parameter = mixer.A_log  # type: ignore[assignment]
    if matrix.dim() > 1:  # Mamba: a matrix (n_inner, n_states), and so much for every token
        return Scan(14 * matrix.numel())
    n_states, chunk = (getattr(mixer, name, None) for name in ("ssm_state_size", "chunk_size"))
    if not (n_states and chunk):
        return NO_SCAN
    return Scan(matrix.numel() * (24 * n_states + 16 * chunk), chunk)  # Mamba-2: per head, and scores within a chunk
