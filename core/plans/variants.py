"""A network run with parts of it left out or changed: blocks, attentions, MLPs, projections of a layer's states.

A pass is the network's own forward pass, with the forward method of each block wrapped: whatever an architecture hands to
its blocks (masks, positions, attention windows) is made as usual. A pass that differs from an earlier one only from some
block on starts there, with the state of the earlier one: the blocks before it return at once.

Blocks are numbered from 0. Layer 0 is what enters block 0, layer i what leaves block i - 1.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
from greenlet import getcurrent
from torch import Tensor, nn

from core.errors import ModelError
from core.models.model import OpenModel
from core.models.stacks import blocks_replaced, form_of, in_form, input_state, output_state, run_together
from core.texts.sample import TokenWindows

ATTENTION, MLP = "attention", "mlp"
"""Kinds of sublayers, and the fields of a variant that leave them out."""
EXACT, ROUNDED = 1e-4, 0.05
"""Largest difference, relative to the largest number of a state, that rounding may cause in single and in half precision."""


@dataclass(frozen=True)
class Projection:
    """Maps states x of a layer to m + P (x - m), except large-norm tokens and position 0."""

    mean: Tensor
    """(hidden_size,)"""
    basis: Tensor
    """Orthonormal columns; (hidden_size, rank)"""
    limit: float | None = None
    """Tokens with a larger norm stay as they are, and so does position 0; None projects all."""

    def __call__(self, states: Tensor) -> Tensor:
        """The projected states; states (n_batch, n_tokens, hidden_size)"""
        wide = states.float()
        projected = (self.mean + (wide - self.mean) @ self.basis @ self.basis.T).to(states.dtype)
        if self.limit is None:
            return projected
        stay = torch.linalg.vector_norm(wide, dim=-1, keepdim=True) > self.limit
        stay[:, 0] = True
        return torch.where(stay, states, projected)


@dataclass(frozen=True)
class Scaling:
    """Multiplies all states of a layer."""

    factor: float

    def __call__(self, states: Tensor) -> Tensor:
        return states * self.factor


@dataclass(frozen=True, eq=False)
class Variant:
    """What a pass leaves out or changes; by default nothing."""

    blocks: frozenset[int] = frozenset()
    """Blocks that are left out."""
    attention: frozenset[int] = frozenset()
    """Blocks whose attention alone is left out."""
    mlp: frozenset[int] = frozenset()
    healed: Mapping[int, Tensor] = field(default_factory=dict)
    """Block -> matrix that the output of its MLP is multiplied with, from the right; (hidden_size, hidden_size)"""
    merged: Mapping[int, tuple[Tensor, Tensor | None]] = field(default_factory=dict)
    """Block -> weight and bias of its MLP's last product instead of its own."""
    projected: Mapping[int, Projection | Scaling] = field(default_factory=dict)
    """Layer -> what becomes of its states."""

    def at(self, block: int) -> tuple[Any, ...]:
        """What it does to a block and to the layer before it, as a value that differs where that does."""
        changed = (self.healed, self.merged, self.projected)
        left_out = (self.blocks, self.attention, self.mlp)
        return *(block in of for of in left_out), *(id(of.get(block)) for of in changed)

    def parts_from(self, other: Variant, n_blocks: int) -> int:
        """The first block that it treats differently from `other`; n_blocks if none, or only the last layer, differs."""
        return next((block for block in range(n_blocks) if self.at(block) != other.at(block)), n_blocks)


WHOLE = Variant()


def without_blocks(blocks: Collection[int]) -> Variant:
    """The variant that leaves these blocks out."""
    return Variant(blocks=frozenset(blocks))


@dataclass
class States:
    """States of one pass over one batch, kept for later passes."""

    requested: frozenset[int]
    """Layers to keep."""
    states: dict[int, Tensor] = field(default_factory=dict)
    """Layer -> (n_batch, n_tokens, hidden_size)"""


@dataclass(frozen=True)
class _Pass:
    """One forward pass in progress."""

    variant: Variant = WHOLE
    start: int = 0
    """The first block that is run; those before it return at once."""
    before: States | None = None
    """States of another pass over the same tokens, the input of `start` among them."""
    keep: States | None = None
    """Receives the requested states of this pass."""
    sublayers: dict[tuple[str, int], Tensor] | None = None
    """Receives the outputs of sublayers, by kind and block."""
    last: int | None = None
    """The layer at which the pass stops; None for the whole pass."""


class _LastLayerReached(Exception):
    """Ends a pass early."""


class Network:
    """An open model whose passes can leave parts out. Use it inside `with network.hooked():`.

    Raises ModelError for an encoder, and for blocks that share weights.
    """

    def __init__(self, model: OpenModel) -> None:
        require_own_blocks(model)
        self.model, self.blocks = model, list(model.layers)
        self.n_blocks = len(self.blocks)
        self._passes: dict[Any, _Pass] = {}
        self._forms: dict[int, int] = {}
        self.sublayers: dict[tuple[str, int], nn.Module] = {}
        """By kind and block the module whose output an attention or MLP adds to the residual stream; empty until
        `find_sublayers`, and if the architecture has none that can be left out alone."""
        self.behind: dict[tuple[str, int], nn.Module] = {}
        """The module that runs next, a norm where one stands between the sublayer and the stream."""

    def logits(self, ids: Tensor, variant: Variant = WHOLE, **how: Any) -> Tensor:
        """Logits of a variant: ids (n_batch, n_tokens) -> (n_batch, n_tokens, n_vocabulary); `how`: fields of `_Pass`."""
        return self._run(ids, _Pass(variant, **how)).logits

    def ids(self, windows: TokenWindows, start: int = 0, stop: int = 1) -> Tensor:
        """The token ids of some windows, by default the first, on the network's device; (n_batch, n_tokens)"""
        return torch.from_numpy(windows.ids[start:stop]).to(self.model.device)

    def state(self, ids: Tensor, variant: Variant, layer: int, **how: Any) -> Tensor:
        """The state of one layer: ids (n_batch, n_tokens) -> (n_batch, n_tokens, hidden_size)"""
        keep = States(frozenset({layer}))
        self.states_only(ids, variant, keep, **how)
        return keep.states[layer]

    def states_only(self, ids: Tensor, variant: Variant, keep: States, **how: Any) -> None:
        """As `logits`, but only up to the last layer that `keep` requests, without the output head."""
        with suppress(_LastLayerReached):
            self._run(ids, _Pass(variant, keep=keep, last=max(keep.requested, default=None), **how))

    def _run(self, ids: Tensor, step: _Pass) -> Any:
        current = getcurrent()
        self._passes[current] = step
        try:
            return self.model.module(input_ids=ids, use_cache=False)
        finally:
            del self._passes[current]

    @contextmanager
    def hooked(self) -> Iterator[None]:
        """Wrap the blocks and sublayers meanwhile, so that passes can leave them out."""
        with ExitStack() as undo:
            undo.enter_context(blocks_replaced(self.blocks, self._forward))
            for (kind, index), sublayer in self.sublayers.items():
                undo.callback(sublayer.register_forward_hook(self._after_sublayer(kind, index)).remove)
            yield

    def _forward(self, index: int, block_forward: Any) -> Any:
        """The wrapped forward method of a block."""

        def forward(*arguments: Any, **keywords: Any) -> Any:
            step = self._passes.get(getcurrent())
            if step is None:
                return block_forward(*arguments, **keywords)
            input_ = input_state(arguments, keywords)
            if index < step.start:
                if step.start == self.n_blocks and index == self.n_blocks - 1 and step.before is not None:
                    return self._last(index, step, self._in_form(index, step.before.states[self.n_blocks]))
                return self._in_form(index, input_)
            given = input_ if step.before is None or index != step.start else step.before.states[index]
            state = self._pass_layer(step, index, given)
            if index in step.variant.blocks:
                return self._last(index, step, self._in_form(index, state))
            if state is not input_:
                arguments = tuple(state if value is input_ else value for value in arguments)
                keywords = {name: state if value is input_ else value for name, value in keywords.items()}
            output = block_forward(*arguments, **keywords)
            self._forms[index] = form_of(output)
            return self._last(index, step, output)

        return forward

    def _last(self, index: int, step: _Pass, output: Any) -> Any:
        """The output of a block; that of the last block is a layer, too, which may be kept or projected."""
        if index != self.n_blocks - 1:
            return output
        state = self._pass_layer(step, self.n_blocks, given := output_state(output))
        return output if state is given else _with_state(output, state)

    def _pass_layer(self, step: _Pass, layer: int, state: Tensor) -> Tensor:
        """What goes on of the state of a layer, where it is kept or projected, or the pass ends."""
        if step.keep is not None and layer in step.keep.requested:
            step.keep.states[layer] = state
        if layer == step.last:
            raise _LastLayerReached
        return step.variant.projected[layer](state) if layer in step.variant.projected else state

    def _in_form(self, index: int, state: Tensor) -> Any:
        """The state as the block itself would return it, or as another block has."""
        return in_form(state, self._forms.get(index, max(self._forms.values(), default=0)))

    def _after_sublayer(self, kind: str, index: int) -> Any:
        """The forward hook of a sublayer: records, drops or heals its output."""

        def hook(module: nn.Module, arguments: Any, output: Any) -> Any:
            step = self._passes.get(getcurrent())
            if step is None:
                return None
            contribution = output_state(output)
            if step.sublayers is not None:
                step.sublayers[kind, index] = contribution
            if index in getattr(step.variant, kind):
                changed = torch.zeros_like(contribution)
            elif kind == MLP and index in step.variant.healed:
                changed = (contribution.float() @ step.variant.healed[index]).to(contribution.dtype)
            elif kind == MLP and index in step.variant.merged:
                weight, bias = step.variant.merged[index]
                changed = product(module, arguments[0], weight, bias)
            else:
                return None
            return _with_state(output, changed)

        return hook

    @torch.inference_mode()
    def find_sublayers(self, ids: Tensor) -> bool:
        """Find the sublayers; returns whether attention and MLP can be left out alone. ids (n_batch, n_tokens): a short text.

        Tested, not taken from names: a block whose attention and MLP both return zero must return its input.
        """
        calls = self._calls(ids)
        sublayers = {}
        for index, block in enumerate(self.blocks):
            pair = _find_pair(block, calls[index], self.model.hidden_size)
            if pair is None:
                return False
            for kind, module in zip((ATTENTION, MLP), pair, strict=True):
                sublayers[kind, index] = module
                if module in calls[index][:-1]:
                    self.behind[kind, index] = calls[index][calls[index].index(module) + 1]
        self.sublayers = sublayers
        all_blocks = frozenset(range(self.n_blocks))
        keep = States(frozenset(range(self.n_blocks + 1)))
        with self.hooked():
            self.logits(ids, Variant(attention=all_blocks, mlp=all_blocks), keep=keep)
        embedding = keep.states[0]
        if any(differs(keep.states[layer], embedding) for layer in range(1, self.n_blocks + 1)):
            self.sublayers = {}
        return bool(self.sublayers)

    def _calls(self, ids: Tensor) -> list[list[nn.Module]]:
        """The modules without children that each block runs, in order of execution."""
        calls: list[list[nn.Module]] = [[] for _ in self.blocks]
        with ExitStack() as undo:
            for index, block in enumerate(self.blocks):
                for module in block.modules():
                    if not any(True for _ in module.children()):
                        append = calls[index].append
                        hook = module.register_forward_hook(lambda module, _a, _o, append=append: append(module))
                        undo.callback(hook.remove)
            self.model.module(input_ids=ids, use_cache=False)
        return calls

    @torch.inference_mode()
    def why_no_healing(self, ids: Tensor, blocks: Collection[int]) -> str | None:
        """Why a matrix cannot change what the MLPs of these blocks add, as a code of core.wording.plans; None if it can.

        Tested as well: a block must return its output without the MLP plus the output of the MLP.
        """
        if not self.sublayers:
            return "no_stream"
        if any(_is_mixture(self.sublayers[MLP, index]) for index in blocks):
            return "mixture"
        for index in blocks:
            with self.hooked():
                full, without_mlp = (States(frozenset({index, index + 1})) for _ in range(2))
                outputs: dict[tuple[str, int], Tensor] = {}
                self.logits(ids, keep=full, sublayers=outputs)
                self.logits(ids, Variant(mlp=frozenset({index})), keep=without_mlp)
            added = full.states[index + 1] - without_mlp.states[index + 1]
            if differs(added, outputs[MLP, index].reshape(added.shape)):
                return "norm_between"
        return None


def _with_state(output: Any, state: Tensor) -> Any:
    """What a module returned, with another state."""
    return (state, *output[1:]) if isinstance(output, tuple) else state


def layer_states(network: Network, windows: TokenWindows, layers: Collection[int]) -> Iterator[dict[int, Tensor]]:
    """The states of these layers of the whole network, batch by batch: layer -> (n_batch, n_tokens, hidden_size)."""
    batch = network.model.batch
    with network.hooked():
        for start in range(0, len(windows.ids), batch):
            keep = States(frozenset(layers))
            run = partial(network.states_only, network.ids(windows, start, start + batch), WHOLE, keep)
            run_together(network.model.units, [run])  # streams weights if needed
            yield keep.states


def require_own_blocks(model: OpenModel) -> None:
    """Raises ModelError for a model without a loss, and for blocks that share weights, of which removing one saves nothing.

    The weights need not be read yet.
    """
    name = model.row.name
    if not model.is_causal:
        raise ModelError(
            "{name} is no decoder: it has no loss per token. `workdim measure` shows what each block changes.",
            name=name,
        )
    owners: dict[int, int] = {}
    for index, block in enumerate(model.layers):
        for parameter in block.parameters():
            if (owner := owners.setdefault(id(parameter), index)) != index:
                raise ModelError(
                    "Blocks {other} and {index} of {name} share weights: removing one saves nothing. Plan another model.",
                    other=owner,
                    index=index,
                    name=name,
                )


def _find_pair(block: nn.Module, calls: list[nn.Module], hidden_size: int) -> tuple[nn.Module, nn.Module] | None:
    """The output modules of a block's attention and MLP; None unless it has both.

    `calls`: the modules without children that the block runs, in order.
    """
    with_weights = [(name, child) for name, child in block.named_children() if any(True for _ in child.parameters())]
    children = [(name, child) for name, child in with_weights if "norm" not in type(child).__name__.lower()]
    attention = next((child for name, child in children if _is_called(name, child, ("attn", "attention"))), None)
    if attention is None:
        return None
    of_attention = set(attention.modules())
    outputs = [module for module in calls if _outputs_state(module, hidden_size)]
    attention_outputs = [module for module in outputs if module in of_attention]
    mlp_outputs = [module for module in outputs if module not in of_attention]
    words = ("mlp", "ffn", "feed_forward", "feedforward", "moe")
    others = [(name, child) for name, child in children if child is not attention]
    mlp = next((child for name, child in others if _is_called(name, child, words)), None)
    if mlp is not None and _is_mixture(mlp):
        mlp_outputs = [mlp]
    return (attention_outputs[-1], mlp_outputs[-1]) if attention_outputs and mlp_outputs else None


def _is_mixture(mlp: nn.Module) -> bool:
    """Whether it is a mixture of experts, unlike a product with one matrix."""
    return any(p.dim() == 3 for p in mlp.parameters())


def _is_called(name: str, module: nn.Module, words: tuple[str, ...]) -> bool:
    return any(word in f"{name} {type(module).__name__}".lower() for word in words)


def _outputs_state(module: nn.Module, hidden_size: int) -> bool:
    """Whether it is a product with a matrix whose result has the hidden size."""
    weight = getattr(module, "weight", None)
    if not isinstance(weight, Tensor) or weight.dim() != 2 or isinstance(module, nn.Embedding):
        return False
    return weight.shape[output_axis(module)] == hidden_size


def output_axis(module: nn.Module) -> int:
    """The output axis of a weight matrix: GPT-2's Conv1D stores the transpose of a linear layer."""
    return 1 if type(module).__name__ == "Conv1D" else 0


def product(module: nn.Module, given: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """What a product with a matrix gives with another weight and bias; given (..., n_inputs)"""
    return nn.functional.linear(given, weight.T if output_axis(module) else weight, bias)


def differs(a: Tensor, b: Tensor) -> bool:
    return bool((a - b).abs().max() > (EXACT if a.dtype == torch.float32 else ROUNDED) * b.abs().max().clamp(min=1e-30))
