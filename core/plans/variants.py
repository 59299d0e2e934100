"""A network run with parts of it left out or changed: blocks, attentions, MLPs, the space that a layer's states span.

A pass is the network's own forward pass. Each block is asked first whether this pass leaves it out, so that whatever an
architecture hands to its blocks (masks, positions, windows of its attention) is made as ever, and stays with the block
that it belongs to. A pass that differs from another one only from some block on begins there, with the state that the
other one had: all blocks before it return at once.

Blocks are numbered from 0. Layer 0 is what enters block 0, layer i what leaves block i - 1.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from greenlet import getcurrent
from torch import Tensor, nn

from core.errors import ModelError
from core.models.model import OpenModel
from core.models.stacks import input_state, output_state
from core.models.weight_streaming import run_together

ATTENTION, MLP = "attention", "mlp"
EXACT = {torch.float32: 1e-4}
"""Largest difference, relative to the largest number of a state, that rounding alone may make; else ROUNDED."""
ROUNDED = 0.05


@dataclass(frozen=True)
class Projection:
    """States x of a layer become m + P (x - m), but for those rows that are to stay."""

    mean: Tensor
    """(hidden_size,)"""
    basis: Tensor
    """Orthonormal columns; (hidden_size, rank)"""
    limit: float | None = None
    """Tokens with a larger norm stay as they are, and so does position 0; None projects all."""

    def __call__(self, states: Tensor) -> Tensor:
        """states (n_batch, n_tokens, hidden_size)"""
        wide = states.float()
        projected = (self.mean + (wide - self.mean) @ self.basis @ self.basis.T).to(states.dtype)
        if self.limit is None:
            return projected
        stay = torch.linalg.vector_norm(wide, dim=-1, keepdim=True) > self.limit
        stay[:, 0] = True
        return torch.where(stay, states, projected)


@dataclass(frozen=True, eq=False)
class Variant:
    """What a pass leaves out or changes; nothing at all is the model itself."""

    blocks: frozenset[int] = frozenset()
    attention: frozenset[int] = frozenset()
    """Blocks whose attention alone is left out."""
    mlp: frozenset[int] = frozenset()
    healed: Mapping[int, Tensor] = field(default_factory=dict)
    """Block -> what the output of its MLP is multiplied with, from the right; (hidden_size, hidden_size)"""
    projected: Mapping[int, Projection] = field(default_factory=dict)
    """Layer -> what becomes of its states."""

    def at(self, block: int) -> tuple[Any, ...]:
        """What it does with a block, or with the layer before it."""
        return (
            block in self.blocks,
            block in self.attention,
            block in self.mlp,
            self.healed.get(block),
            self.projected.get(block),
        )

    def parts_from(self, other: Variant, n_blocks: int) -> int:
        """The first block that it treats otherwise than `other`; n_blocks where only the last layer differs, or none."""
        for block in range(n_blocks):
            one, two = self.at(block), other.at(block)
            if one[:3] != two[:3] or one[3] is not two[3] or one[4] is not two[4]:
                return block
        return n_blocks


WHOLE = Variant()


def without_blocks(blocks: Collection[int]) -> Variant:
    return Variant(blocks=frozenset(blocks))


@dataclass
class States:
    """Layers of one pass over one batch, as later passes need them."""

    requested: frozenset[int]
    states: dict[int, Tensor] = field(default_factory=dict)
    """Layer -> (n_batch, n_tokens, hidden_size)"""


@dataclass(frozen=True)
class _Pass:
    variant: Variant
    start: int
    """The first block that is asked; those before it return at once."""
    before: States | None
    """Of another pass: the state that `start` gets."""
    keep: States | None
    sublayers: dict[tuple[str, int], Tensor] | None
    """Outputs of sublayers, by kind and block, where they are wanted."""
    last: int | None = None
    """The layer at which the pass ends; None for its own end."""


class _Enough(Exception):
    """A pass has come to the last layer that is wanted of it."""


@dataclass(frozen=True)
class Sublayer:
    """What an attention or an MLP adds to the stream comes out of this module."""

    module: nn.Module
    is_linear: bool
    """Whether it is the product with one matrix; not for a mixture of experts."""


class Network:
    """An open model whose passes can leave parts out. Use it inside `with network.hooked():`."""

    def __init__(self, model: OpenModel) -> None:
        _require_own_blocks(model)
        self.model, self.blocks = model, list(model.layers)
        self.n_blocks = len(self.blocks)
        self._passes: dict[Any, _Pass] = {}
        self._forms: dict[int, int] = {}
        self.sublayers: dict[tuple[str, int], Sublayer] = {}
        """By kind and block; empty until `find_sublayers`, and where this architecture's cannot be left out alone."""

    def logits(
        self,
        ids: Tensor,
        variant: Variant = WHOLE,
        *,
        start: int = 0,
        before: States | None = None,
        keep: States | None = None,
        sublayers: dict[tuple[str, int], Tensor] | None = None,
    ) -> Tensor:
        """ids (n_batch, n_tokens) -> (n_batch, n_tokens, n_vocabulary).

        With `before`, the layers of another pass over the same tokens, only the blocks from `start` on are run.
        """
        here = getcurrent()
        self._passes[here] = _Pass(variant, start, before, keep, sublayers)
        try:
            return self.model.module(input_ids=ids, use_cache=False).logits
        finally:
            del self._passes[here]

    def states_only(
        self,
        ids: Tensor,
        variant: Variant,
        *,
        start: int,
        before: States | None,
        keep: States,
        sublayers: dict[tuple[str, int], Tensor] | None = None,
    ) -> None:
        """As `logits`, up to the last layer that is wanted: no head is run."""
        here = getcurrent()
        self._passes[here] = _Pass(variant, start, before, keep, sublayers, max(keep.requested, default=None))
        try:
            self.model.module(input_ids=ids, use_cache=False)
        except _Enough:
            pass
        finally:
            del self._passes[here]

    @contextmanager
    def hooked(self) -> Iterator[None]:
        with ExitStack() as undo:
            for index, block in enumerate(self.blocks):
                undo.callback(_replace_forward(block, lambda own, i=index: self._forward(i, own)))
            for (kind, index), sublayer in self.sublayers.items():
                undo.callback(sublayer.module.register_forward_hook(self._after_sublayer(kind, index)).remove)
            yield

    def _forward(self, index: int, own: Any) -> Any:
        def forward(*arguments: Any, **keywords: Any) -> Any:
            step = self._passes.get(getcurrent())
            if step is None:
                return own(*arguments, **keywords)
            given = input_state(arguments, keywords)
            if index < step.start:
                if step.start == self.n_blocks and index == self.n_blocks - 1 and step.before is not None:
                    return self._last(index, step, self._in_form(index, step.before.states[self.n_blocks]))
                return self._in_form(index, given)
            state = given
            if step.before is not None and index == step.start:
                state = step.before.states[index]
            if step.keep is not None and index in step.keep.requested:
                step.keep.states[index] = state
            if index == step.last:
                raise _Enough
            if index in step.variant.projected:
                state = step.variant.projected[index](state)
            if index in step.variant.blocks:
                return self._last(index, step, self._in_form(index, state))
            if state is not given:
                arguments = tuple(state if value is given else value for value in arguments)
                keywords = {name: state if value is given else value for name, value in keywords.items()}
            output = own(*arguments, **keywords)
            self._forms[index] = len(output) if isinstance(output, tuple) else 0
            return self._last(index, step, output)

        return forward

    def _last(self, index: int, step: _Pass, output: Any) -> Any:
        """What leaves the last block is a layer as well."""
        if index != self.n_blocks - 1:
            return output
        if step.keep is not None and self.n_blocks in step.keep.requested:
            step.keep.states[self.n_blocks] = output_state(output)
        if self.n_blocks == step.last:
            raise _Enough
        if self.n_blocks in step.variant.projected:
            state = step.variant.projected[self.n_blocks](output_state(output))
            return (state, *output[1:]) if isinstance(output, tuple) else state
        return output

    def _in_form(self, index: int, state: Tensor) -> Any:
        """As the block itself would return it: some return a tuple that the state leads."""
        length = self._forms.get(index, max(self._forms.values(), default=0))
        return (state, *(None,) * (length - 1)) if length else state

    def _after_sublayer(self, kind: str, index: int) -> Any:
        def hook(_module: nn.Module, _arguments: Any, output: Any) -> Any:
            step = self._passes.get(getcurrent())
            if step is None:
                return None
            left_out = step.variant.attention if kind == ATTENTION else step.variant.mlp
            made = output_state(output)
            if step.sublayers is not None:
                step.sublayers[kind, index] = made
            if index in left_out:
                changed = torch.zeros_like(made)
            elif kind == MLP and index in step.variant.healed:
                changed = (made.float() @ step.variant.healed[index]).to(made.dtype)
            else:
                return None
            return (changed, *output[1:]) if isinstance(output, tuple) else changed

        return hook

    @torch.inference_mode()
    def find_sublayers(self, ids: Tensor) -> bool:
        """Whether attention and MLP can be left out alone; ids (n_batch, n_tokens), a short text.

        Tried, not taken from names: a block whose attention and MLP both give nothing must return what entered it.
        """
        calls = self._calls(ids)
        found = {}
        for index, block in enumerate(self.blocks):
            parts = _parts(block, calls[index], self.model.hidden_size)
            if parts is None:
                return False
            found[ATTENTION, index], found[MLP, index] = parts
        self.sublayers = found
        every = frozenset(range(self.n_blocks))
        keep = States(frozenset(range(self.n_blocks + 1)))
        with self.hooked():
            self.logits(ids, Variant(attention=every, mlp=every), keep=keep)
        first = keep.states[0]
        if any(_differs(keep.states[layer], first) for layer in range(1, self.n_blocks + 1)):
            self.sublayers = {}
        return bool(self.sublayers)

    def _calls(self, ids: Tensor) -> list[list[nn.Module]]:
        """The modules without children that each block runs, in their order."""
        calls: list[list[nn.Module]] = [[] for _ in self.blocks]
        with ExitStack() as undo:
            for index, block in enumerate(self.blocks):
                for part in block.modules():
                    if not any(True for _ in part.children()):
                        into = calls[index].append
                        undo.callback(part.register_forward_hook(lambda module, _a, _o, into=into: into(module)).remove)
            self.model.module(input_ids=ids, use_cache=False)
        return calls

    @torch.inference_mode()
    def why_no_healing(self, ids: Tensor, blocks: Collection[int]) -> str | None:
        """Why what the MLPs of these blocks add cannot be changed by a matrix, as a code that core.wording.plans knows; None where it can.

        Tried as well: a block must return what it returns without its MLP, plus the MLP's output as it is.
        """
        if not self.sublayers:
            return "no_stream"
        if not all(self.sublayers[MLP, index].is_linear for index in blocks):
            return "mixture"
        for index in blocks:
            with self.hooked():
                whole, bare = (States(frozenset({index, index + 1})) for _ in range(2))
                outputs: dict[tuple[str, int], Tensor] = {}
                self.logits(ids, keep=whole, sublayers=outputs)
                self.logits(ids, Variant(mlp=frozenset({index})), keep=bare)
            added = whole.states[index + 1] - bare.states[index + 1]
            if _differs(added, outputs[MLP, index].reshape(added.shape)):
                return "norm_between"
        return None


def run_whole(network: Network, ids: torch.Tensor, keep: States) -> None:
    """The layers of the whole network on one batch, without its head; weights that come on demand come for it."""
    run_together(
        network.model.units,
        [lambda: network.states_only(ids, WHOLE, start=0, before=None, keep=keep)],
        lambda index: None,
        lambda done: None,
    )


def no_decoder(name: str) -> ModelError:
    return ModelError(
        "{name} is no decoder: it has no loss per token, so that no removal can be priced. What each block "
        "changes can be measured all the same: `workdim measure` gives the correlators between its "
        "layers.",
        name=name,
    )


def _require_own_blocks(model: OpenModel) -> None:
    """Raises ModelError for what has no loss, and for blocks that share weights: leaving one out saves nothing then."""
    name = model.row.model_id
    if not model.is_causal:
        raise no_decoder(name)
    owners: dict[int, int] = {}
    for index, block in enumerate(model.layers):
        for parameter in block.parameters():
            if (other := owners.setdefault(id(parameter), index)) != index:
                raise ModelError(
                    "Blocks {other} and {index} of {name} share weights: without one of them the model is not smaller. "
                    "Layer plans are for models whose blocks have weights of their own.",
                    other=other,
                    index=index,
                    name=name,
                )


def _replace_forward(block: nn.Module, wrapped: Any) -> Any:
    """Puts another function in the place of a module's forward; returns what undoes that."""
    before = block.__dict__.get("forward")  # accelerate puts its own there, too
    block.forward = wrapped(block.forward)

    def undo() -> None:
        if before is None:
            del block.__dict__["forward"]
        else:
            block.forward = before

    return undo


def _parts(block: nn.Module, calls: list[nn.Module], hidden_size: int) -> tuple[Sublayer, Sublayer] | None:
    """Where the attention and the MLP of a block give their output; None where there are not the two."""
    with_weights = [(name, child) for name, child in block.named_children() if any(True for _ in child.parameters())]
    children = [(name, child) for name, child in with_weights if "norm" not in type(child).__name__.lower()]
    attention = next((child for name, child in children if _is_called(name, child, ("attn", "attention"))), None)
    if attention is None:
        return None
    within = set(map(id, attention.modules()))
    of_attention = [part for part in calls if id(part) in within and _gives(part, hidden_size)]
    mlp = next(
        (
            child
            for name, child in children
            if _is_called(name, child, ("mlp", "ffn", "feed_forward", "feedforward", "moe"))
        ),
        None,
    )
    rest = [part for part in calls if id(part) not in within and _gives(part, hidden_size)]
    if mlp is not None and any(p.dim() == 3 for p in mlp.parameters()):
        return (Sublayer(of_attention[-1], True), Sublayer(mlp, False)) if of_attention else None
    if not of_attention or not rest:
        return None
    return Sublayer(of_attention[-1], True), Sublayer(rest[-1], True)


def _is_called(name: str, module: nn.Module, words: tuple[str, ...]) -> bool:
    return any(word in f"{name} {type(module).__name__}".lower() for word in words)


def _gives(module: nn.Module, hidden_size: int) -> bool:
    """Whether it is a product with a matrix whose result is a state."""
    weight = getattr(module, "weight", None)
    if not isinstance(weight, Tensor) or weight.dim() != 2 or isinstance(module, nn.Embedding):
        return False
    return weight.shape[output_axis(module)] == hidden_size


def output_axis(module: nn.Module) -> int:
    """The axis of a matrix that numbers its outputs: GPT-2 and its kin keep the transpose of a linear layer."""
    return 1 if type(module).__name__ == "Conv1D" else 0


def _differs(one: Tensor, other: Tensor) -> bool:
    return bool((one - other).abs().max() > EXACT.get(one.dtype, ROUNDED) * other.abs().max().clamp(min=1e-30))
