"""Estimate the memory of a forward pass from the shape of the network, plan the pass by it, and tell where it runs out.

The estimates count what is in memory at the peak. They agree with real passes within 25 percent
(`tests/bench/preflight.py`). A batch that does not fit after all is halved (core/measure/plan.py).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import psutil
import torch
from torch import nn

from core.errors import ResourceError, Sentence
from core.limits import anonymous_memory

Found = TypeVar("Found")
SAFE_SHARE = 0.7
"""Share of the free memory that a pass may take if no budget is set: the rest is for other programs."""
LOGIT_BUDGET = 192 * 2**20
"""Bytes of logits that one batch may produce: they are the largest tensor of the pass."""
MAX_BATCH = 8
"""Windows per batch: larger batches are no faster on a CPU and only take memory."""
LOSS_ROWS = 128
"""Rows of logits per slice of the loss: its temporaries are as large as the slice."""


@dataclass(frozen=True)
class Scan:
    """Memory of the scan of a state-space block: a state per token, which the weights' shapes do not show.

    Counts transformers' own scan, in float32 for every dtype. Its optional kernels need less.
    """

    token_bytes: int = 0
    """Bytes per token; 0 if no block scans."""
    chunk: int = 1
    """Windows are padded to a multiple of this many tokens."""


NO_SCAN = Scan()


@dataclass(frozen=True)
class Shape:
    """The sizes that decide how much memory a pass takes. Bytes are those of the measured dtype."""

    weights: int
    """Bytes of all parameters."""
    largest_unit: int
    """Bytes of the largest block, embedding or head: the weights in memory at once if they are read on demand."""
    element: int
    """Bytes of one number."""
    width: int
    """Numbers per token that all products of a block give together."""
    hidden_size: int
    logits: int
    """Numbers per token that the head gives; 0 if the pass has none."""
    outside: int = 0
    """Bytes of the parameters outside the blocks."""
    multiplications: int = 0
    """Multiplications per token, in the products of the blocks and of the head."""
    heads: int = 0
    """Heads whose scores are in memory, one number for each pair of tokens of a window; 0 if a kernel avoids that."""
    scan: Scan = NO_SCAN


@dataclass(frozen=True)
class MemoryPlan:
    on_demand: bool
    """Whether each weight is in memory only while its block runs."""
    batch: int
    """Windows per forward pass."""
    n_bytes: int
    """Peak of weights and pass, beyond what the process already takes."""
    spread: tuple[int, ...] = ()
    """Bytes of weights that each of several GPUs may take; empty if one device holds all."""


def shape_of(
    module: nn.Module,
    blocks: Sequence[nn.Module],
    hidden_size: int,
    logits: int,
    running: Sequence[nn.Module] | None = None,
    experts: int | None = None,
    heads: int = 0,
) -> Shape:
    """Measure the shape of a network. module may be on the meta device; blocks are those of all its stacks.

    running: the blocks that a pass runs, None for all; experts: how many experts of a mixture each token uses;
    heads: number of attention heads whose scores are in memory.
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


def experts_per_token(config: Any) -> int | None:
    """How many experts of a mixture each token uses; None without experts. config: that of one stack."""
    return getattr(config, "num_experts_per_tok", None) or getattr(config, "top_k_experts", None)


def _expanded_parameters(parameter: torch.Tensor, experts: int | None) -> int:
    """Numbers per token that a product with this weight gives; experts of a mixture are stacked in one tensor."""
    if parameter.dim() == 3 and experts:
        return experts * parameter.shape[1]
    return parameter.shape[0] if parameter.dim() == 2 else 0


def _active_parameters(parameter: torch.Tensor, experts: int | None) -> float:
    """Share of a weight that one token uses."""
    return min(1.0, experts / parameter.shape[0]) if parameter.dim() == 3 and experts else 1.0


def _bytes(parameters: Iterable[torch.Tensor]) -> int:
    return sum(p.numel() * p.element_size() for p in parameters)


def largest_batch(shape_logits: int, n_tokens: int) -> int:
    """Most windows per batch whose logits stay within LOGIT_BUDGET."""
    return min(MAX_BATCH, max(1, LOGIT_BUDGET // (4 * n_tokens * max(1, shape_logits))))


def batch_bytes(shape: Shape, batch: int, n_tokens: int) -> int:
    """Peak bytes of one batch: a block with its input and residual, or the head with the state that it reads."""
    tokens = batch * n_tokens
    block = tokens * shape.element * (shape.width + 4 * shape.hidden_size)
    # The scores and the mask, and two float32 copies for the softmax.
    block += tokens * n_tokens * shape.heads * (2 * shape.element + 2 * 4)
    block += batch * math.ceil(n_tokens / shape.scan.chunk) * shape.scan.chunk * shape.scan.token_bytes
    head = tokens * shape.element * (shape.logits + 2 * shape.hidden_size) + LOSS_ROWS * shape.logits * 4 * 3
    return max(block, head) + tokens * shape.hidden_size * 4  # the copy that is written to disk


def suspended_bytes(shape: Shape, n_windows: int, n_tokens: int) -> int:
    """Bytes that waiting batches hold: the state that goes into the next block, and the first one."""
    return n_windows * n_tokens * shape.element * 3 * shape.hidden_size


def plan_memory(
    shape: Shape,
    n_windows: int,
    n_tokens: int,
    room: int,
    name: str,
    others: Sequence[int] = (),
    is_drawn: bool = False,
    is_changed: bool = False,
) -> MemoryPlan:
    """Choose the first plan that fits: all weights on the device (`room` bytes), on several GPUs, or read on demand.

    `others` are the bytes that further GPUs of this machine offer. If weights are drawn, those outside the blocks stay
    in memory. If blocks are changed while they run, a second one is in memory, and all batches wait within it. Raises
    ResourceError with the smallest sufficient memory if not even single windows fit.
    """
    waiting = suspended_bytes(shape, n_windows, n_tokens)
    beside = shape.largest_unit + 2 * waiting if is_changed else 0
    held = shape.largest_unit + (shape.outside if is_drawn else 0) + (beside or waiting)
    batches = [2**i for i in range(MAX_BATCH.bit_length()) if 2**i <= largest_batch(shape.logits, n_tokens)]
    passes = [(batch, batch_bytes(shape, batch, n_tokens)) for batch in reversed(batches)]
    for batch, of_pass in passes:
        if shape.weights + beside + of_pass <= room:
            return MemoryPlan(False, batch, shape.weights + beside + of_pass)
    for batch, of_pass in passes if others else ():
        rooms = tuple(max(0, each - of_pass) for each in (room, *others))
        if shape.weights <= sum(rooms) and shape.largest_unit <= min(rooms):
            return MemoryPlan(False, batch, shape.weights + of_pass, rooms)
    for batch, of_pass in passes:
        if held + of_pass <= room:
            return MemoryPlan(True, batch, held + of_pass)
    least = held + batch_bytes(shape, 1, n_tokens)
    raise ResourceError(
        "{name} needs {least:.2f} GB of memory; {room:.2f} GB is allowed. Free some, raise --memory-budget, or choose --dtype bfloat16 or a smaller model.",
        name=name,
        least=least / 1e9,
        room=room / 1e9,
    )


def available_bytes(device: torch.device, budget: int | None) -> int:
    """Bytes that weights and pass may take on the device: `budget` minus what the process already holds."""
    if budget is None:
        return int(SAFE_SHARE * free_memory(device))
    return budget if device.type == "cuda" else max(0, budget - anonymous_memory())


def available_bytes_elsewhere(device: torch.device, budget: int | None) -> list[int]:
    """`available_bytes` of every further GPU if the device is `cuda` without a number; else empty."""
    if device.type != "cuda" or device.index is not None:
        return []
    return [available_bytes(torch.device("cuda", i), budget) for i in range(1, torch.cuda.device_count())]


def free_memory(device: torch.device) -> int:
    """Bytes that a tensor could take on the device now, including what torch reserves for later tensors."""
    if device.type != "cuda":
        return psutil.virtual_memory().available
    held = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
    return torch.cuda.mem_get_info(device)[0] + held


def scan_of(blocks: Sequence[nn.Module]) -> Scan:
    """The largest scan in these blocks, which may be on the meta device."""
    scans = [_scan(part) for block in blocks for part in block.modules() if hasattr(part, "A_log")]
    return max(scans, key=lambda scan: scan.token_bytes, default=NO_SCAN)


def _scan(mixer: nn.Module) -> Scan:
    """Memory of one scan. Factors were measured on real passes of several widths, in float32 numbers per token:
    Mamba 3.5 states; Mamba-2 6 states and 4 scores."""
    matrix: nn.Parameter = mixer.A_log  # type: ignore[assignment]
    if matrix.dim() > 1:  # Mamba: a matrix (n_inner, n_states), of this size for every token
        return Scan(14 * matrix.numel())
    n_states, chunk = (getattr(mixer, name, None) for name in ("ssm_state_size", "chunk_size"))
    if not (n_states and chunk):
        return NO_SCAN
    return Scan(matrix.numel() * (24 * n_states + 16 * chunk), chunk)  # Mamba-2: states per head, scores within a chunk


# --- memory that runs out ------------------------------------------------------------------------------------------


def within_memory(device: torch.device, work: Callable[[], Found]) -> Found | None:
    """What `work` gives, or None if memory runs out on its way; what torch has reserved for it is free again then."""
    try:
        return work()
    except (MemoryError, RuntimeError) as error:
        if not is_out_of_memory(error):
            raise
    if device.type == "cuda":  # not above: the error holds what is to be freed
        torch.cuda.empty_cache()
    return None


def too_large(name: str, device: torch.device) -> ResourceError:
    other = Sentence("a smaller model") if device.type == "cpu" else Sentence("--device cpu")
    return ResourceError(
        "{name} does not fit into the memory of {device}. Try --dtype bfloat16 or {other}.",
        name=name,
        device=device,
        other=other,
    )


def is_out_of_memory(error: BaseException) -> bool:
    """Whether memory ran out: Python, CUDA, MPS and torch's CPU allocator each report it differently."""
    if isinstance(error, (MemoryError, torch.OutOfMemoryError)):
        return True
    text = str(error)
    return isinstance(error, RuntimeError) and ("out of memory" in text or "DefaultCPUAllocator" in text)
