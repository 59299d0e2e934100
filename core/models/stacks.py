"""How the blocks of a network run: found in any architecture, read at their inputs and outputs, streamed if need be, and
within which memory.

One rule works for every architecture: a stack is a list whose length is the configuration's number of layers. The
module that holds the list runs it, and applies the final norm if there is one.

Networks whose weights do not fit into memory run unit by unit: the weights of a unit, a block or a module outside the
blocks that has weights of its own, are loaded only while it runs, once per pass. All batches of a pass go through the
network together: each runs up to the next unit and waits there; the unit's weights are read; one batch after the other
goes through it; the weights are dropped. A batch is an ordinary forward pass that is only interrupted. So we need not
know what an architecture passes from block to block (masks, positions, the state of another stack), and the states
equal those of a network in memory bit for bit.

What memory a pass takes is estimated from the shape of the network, and the pass planned by it. The estimates count what
is in memory at the peak. They agree with real passes within 25 percent
(`tests/bench/preflight.py`). A batch that does not fit after all is halved.
"""

from __future__ import annotations

import inspect
import logging
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

import psutil
import torch
from greenlet import GreenletExit, getcurrent, greenlet
from torch import Tensor, nn

from core.errors import InputError, ModelError, ResourceError, Sentence, unknown_name
from core.limits import anonymous_memory
from core.models.weights import not_measured

STACKS = ("encoder", "decoder")
"""Stacks of an encoder-decoder; every other model has one stack, `main`."""


@dataclass(frozen=True)
class Stack:
    name: str
    """`main`, `encoder` or `decoder`."""
    owner: nn.Module
    """Runs the blocks; its output is the state after the final norm."""
    blocks: nn.ModuleList


def choose_stack(config: Any, name: str | None, model: str) -> str:
    """The stack to measure; raises InputError if the model called `model` has no such stack."""
    if not config.is_encoder_decoder:
        if name is not None:
            raise InputError("{model} has one stack of blocks: leave --stack out.", model=model)
        return "main"
    if name is not None and name not in STACKS:
        raise InputError(unknown_name("stack", name, STACKS))
    return name or "encoder"


def stack_config(config: Any, stack: str) -> Any:
    """The part of the configuration that describes one stack."""
    own = getattr(config, stack, None) if stack in STACKS else None
    return config if own is None or isinstance(own, Mapping) else own


def find_stack(module: Any, config: Any, stack: str, model: str) -> Stack:
    """The blocks of `stack` in a transformers model, loaded or on the meta device."""
    root = {"encoder": module.get_encoder, "decoder": module.get_decoder}.get(stack, lambda: module.base_model)()
    # The two stacks may differ in depth, so a stack's own count comes before the common one.
    names = (f"{stack}_layers", f"num_{stack}_layers", "num_layers") if stack in STACKS else ()
    own = stack_config(config, stack)
    counts = (getattr(own, name, None) for name in (*names, "num_hidden_layers"))
    n = next((count for count in counts if isinstance(count, int)), None)
    if n is None:
        raise not_measured(model, Sentence("its configuration states no number of blocks"))
    for owner in root.modules():
        lists = [child for child in owner.children() if isinstance(child, nn.ModuleList) and len(child) == n]
        if len(lists) == 1:
            return Stack(stack, owner, lists[0])
        if lists:  # XLM has one list of attentions and one of feed-forwards: neither is a list of blocks
            break
    raise not_measured(model, Sentence("no list of {n} layers", n=n))


def all_stacks(module: Any, config: Any, model: str) -> list[Stack]:
    names = STACKS if config.is_encoder_decoder else ("main",)
    return [find_stack(module, config, name, model) for name in names]


def output_state(output: Any) -> Tensor:
    """The hidden state in what a block or a stack returns: a tensor, the first item of a tuple, or a named output."""
    if isinstance(output, Tensor):
        return output
    if isinstance(output, Mapping):  # transformers' outputs are mappings
        for name in ("last_hidden_state", "hidden_states", "hidden_state"):
            if isinstance(output.get(name), Tensor):
                return output[name]
        return next(value for value in output.values() if isinstance(value, Tensor))
    return output[0]


def input_state(arguments: tuple, keywords: dict[str, Any]) -> Tensor:
    """The hidden state among a block's arguments: the first tensor of (n_batch, n_tokens, hidden_size).

    Masks have two or four dimensions, position embeddings come as pairs.
    """
    named = [keywords["hidden_states"]] if "hidden_states" in keywords else []
    for value in [*arguments, *named, *keywords.values()]:
        if isinstance(value, Tensor) and value.is_floating_point() and value.dim() == 3:
            return value
    raise ModelError("The first block gets no hidden state.")


@contextmanager
def each_state(blocks: nn.ModuleList, keep: Callable[[int, Tensor], None]) -> Iterator[None]:
    """Give the state of each layer to `keep` meanwhile, after its number: 0 goes into the first block, i comes out of block i."""

    def keep_input(_module: nn.Module, arguments: tuple, keywords: dict) -> None:
        keep(0, input_state(arguments, keywords))

    def keep_output(layer: int) -> Callable[..., None]:
        return lambda _module, _arguments, output: keep(layer, output_state(output))

    with ExitStack() as hooks:
        hooks.callback(blocks[0].register_forward_pre_hook(keep_input, with_kwargs=True).remove)
        for layer, block in enumerate(blocks, 1):
            hooks.callback(block.register_forward_hook(keep_output(layer)).remove)
        yield


def form_of(output: Any) -> int:
    """The length of the tuple that a block returns; 0 for a tensor."""
    return len(output) if isinstance(output, tuple) else 0


def in_form(state: Tensor, form: int) -> Any:
    """A state as a block returns it: some return a tuple that begins with the state."""
    return (state, *(None,) * (form - 1)) if form else state


@contextmanager
def blocks_replaced(
    blocks: Sequence[nn.Module] | nn.ModuleList, replacement: Callable[[int, Callable[..., Any]], Callable[..., Any]]
) -> Iterator[None]:
    """Run `replacement`, given a block's number and forward method, in place of the forward method of each block meanwhile."""
    with ExitStack() as undo:
        for index, block in enumerate(blocks):
            own = block.__dict__.get("forward")  # accelerate puts its own there
            undo.callback(partial(setattr, block, "forward", own) if own else partial(delattr, block, "forward"))
            block.forward = replacement(index, block.forward)
        yield


@dataclass
class FinalState:
    tensor: Tensor | None = None
    """(n_batch, n_tokens, hidden_size)"""


@contextmanager
def final_state(stack: Stack, hidden_size: int) -> Iterator[FinalState]:
    """Catch the last state of full width that the stack computes: after the final norm, if there is one.

    This is not always the stack's output: OPT can project its last state to a narrower one before the head.
    """
    kept, batch = FinalState(), getcurrent()

    def keep(_module: nn.Module, _arguments: Any, output: Any) -> None:
        state = output_state(output)
        # Several batches may take turns on one network, and each has its hooks here.
        if getcurrent() is batch and state.dim() == 3 and state.shape[-1] == hidden_size:
            kept.tensor = state

    norms = [child for child in stack.owner.children() if "norm" in type(child).__name__.lower()]
    with ExitStack() as hooks:
        for module in [stack.blocks[-1], *norms, stack.owner]:
            hooks.callback(module.register_forward_hook(keep).remove)
        yield kept


def position_padding(module: nn.Module) -> int | None:
    """Padding id that positions are counted from, in RoBERTa and related models: position 0 has number id + 1."""
    for name, part in module.named_modules():
        if name.endswith("position_embeddings") and isinstance(part, nn.Embedding) and part.padding_idx is not None:
            return part.padding_idx
    return None


def longest_text(module: Any, config: Any, stack: str) -> int | None:
    """Largest number of tokens that one forward pass reads; None if the architecture sets no limit."""
    limit = getattr(stack_config(config, stack).get_text_config(), "max_position_embeddings", None)
    if limit is None or limit < 0:  # XLNet has -1
        return None
    padding = position_padding(module)
    return limit - (0 if padding is None else padding + 1) - (1 if stack == "decoder" else 0)


def run_stack(module: Any, stack: str, ids: Tensor) -> None:
    """Run one forward pass without logits; ids (n_batch, n_tokens).

    A decoder is teacher-forced: it reads its start token and then the same window as its encoder. It gives one state
    more than there are tokens; the first one belongs to no token of the text.
    """
    if stack == "main":
        # Keys and values of earlier tokens would be kept for a next call, which does not come.
        asked = {"use_cache": False} if "use_cache" in inspect.signature(module.forward).parameters else {}
        module(input_ids=ids, **asked)
        return
    states = output_state(module.get_encoder()(input_ids=ids))
    if stack == "decoder":
        try:  # the token that the model itself puts before its targets; (n_batch, 1)
            start = module.prepare_decoder_input_ids_from_labels(labels=ids)[:, :1]
        except (AttributeError, ValueError, TypeError) as error:
            missing = Sentence("config.json has no decoder_start_token_id")
            remedy = Sentence("Add it, or measure the encoder.")
            raise not_measured(module.config.model_type, missing, remedy) from error
        shifted = torch.cat([start, ids], dim=1)  # (n_batch, 1 + n_tokens)
        module.get_decoder()(input_ids=shifted, encoder_hidden_states=states, use_cache=False)


# --- block by block ------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Unit:
    """A part of a network that has no weights until it is about to run."""

    module: nn.Module
    load: Callable[[], None]
    drop: Callable[[], None]
    arrive: Callable[[Any], Callable[[], Any]] | None = None
    """If given, batches wait behind the module instead: it gets the output of each, and what it returns gives the output
    that goes on, once all batches are there."""
    within: nn.Module | None = None
    """The module of the unit around it, which stays loaded meanwhile."""


def run_together(
    units: Sequence[Unit],
    batches: Sequence[Callable[[], None]],
    entering: Callable[[int], None] = lambda _index: None,
    units_done: Callable[[int], None] = lambda _n: None,
) -> None:
    """Run all batches unit by unit, or one after the other if there are no units. A batch is a function.

    `entering` is called with the index of the batch that continues, `units_done` with the number of units that all
    batches have passed.

    All batches must reach the same units in the same order. If one raises, the others are ended, the weights are
    dropped, and the error is raised here.
    """
    hub = getcurrent()
    runners = [greenlet(batch, parent=hub) for batch in batches]

    def go_on(index: int) -> Unit | None:
        """Continue a batch; return the unit that it waits at next, or None if it has ended."""
        entering(index)
        return runners[index].switch()

    def wait_before(unit: Unit, _module: nn.Module, _arguments: Any) -> None:
        hub.switch(unit)

    def wait_behind(unit: Unit, _module: nn.Module, _arguments: Any, output: Any) -> Any:
        assert unit.arrive
        finish = unit.arrive(output)
        hub.switch(unit)
        return finish()

    with ExitStack() as undo:
        undo.callback(lambda: [runner.throw(GreenletExit) for runner in runners if not runner.dead])
        for unit in units:
            hook = (
                unit.module.register_forward_hook(partial(wait_behind, unit))
                if unit.arrive
                else unit.module.register_forward_pre_hook(partial(wait_before, unit), prepend=True)
            )
            undo.callback(hook.remove)
        loaded = list[Unit]()

        def drop_all() -> None:
            while loaded:
                loaded.pop().drop()

        undo.callback(drop_all)
        waiting = {index: first for index in range(len(runners)) if (first := go_on(index))}
        n_done = 0
        while waiting:
            unit = next(iter(waiting.values()))
            unit.load()
            loaded.append(unit)
            waiting = {i: after for i, needed in waiting.items() if (after := go_on(i) if needed is unit else needed)}
            following = next(iter(waiting.values()), None)
            while loaded and not (following and following.within is loaded[-1].module):
                loaded.pop().drop()
            n_done += 1
            units_done(n_done)


# --- memory of a forward pass ----------------------------------------------------------------------------------------

_log = logging.getLogger("workdim")
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
    scan: Scan = Scan()


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
    return max(scans, key=lambda scan: scan.token_bytes, default=Scan())


def _scan(mixer: nn.Module) -> Scan:
    """Memory of one scan. Factors were measured on real passes of several widths, in float32 numbers per token:
    Mamba 3.5 states; Mamba-2 6 states and 4 scores."""
    matrix: nn.Parameter = mixer.A_log  # type: ignore[assignment]
    if matrix.dim() > 1:  # Mamba: a matrix (n_inner, n_states), of this size for every token
        return Scan(14 * matrix.numel())
    n_states, chunk = (getattr(mixer, name, None) for name in ("ssm_state_size", "chunk_size"))
    if not (n_states and chunk):
        return Scan()
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


def halved(size: int, model: str, n_tokens: int, device: torch.device) -> int:
    """Half the size of batches of which one did not fit, with a warning; `n_tokens` are those of each text in it.

    Raises ResourceError for a size of 1.
    """
    if size == 1:
        raise too_large(Sentence("A single text of {n} tokens in {model}", n=n_tokens, model=model), device)
    _log.warning(Sentence("Memory is short: now in batches of {n}.", n=size // 2))
    return size // 2


def too_large(name: str, device: torch.device) -> ResourceError:
    return ResourceError(
        "{name} does not fit into the memory of {device}. Try --dtype bfloat16, a smaller model, or another --device.",
        name=name,
        device=device,
    )


def is_out_of_memory(error: BaseException) -> bool:
    """Whether memory ran out: Python, CUDA, MPS and torch's CPU allocator each report it differently."""
    if isinstance(error, (MemoryError, torch.OutOfMemoryError)):
        return True
    text = str(error)
    return isinstance(error, RuntimeError) and ("out of memory" in text or "DefaultCPUAllocator" in text)
