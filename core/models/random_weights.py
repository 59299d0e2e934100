"""Control models: an architecture whose weights are drawn by its own initialiser instead of trained.

Weights are drawn unit by unit: each block is a unit, and so is each module outside the blocks (embeddings, final norm,
head). A unit's generator is seeded from the seed and the unit's name only, always on the CPU and in float32. So a block
has the same weights on every device, in every dtype up to rounding, and whether it is drawn together with the others
or, if they exceed the memory, when the forward pass reaches it.

One control keeps the trained embedding and everything else outside the blocks (position embeddings, final norm, head)
and draws the blocks, the same ones as the fully random control of that seed. How much its blocks write is the
initialiser's, not the trained network's: `core.models.matched_blocks` has the controls that write as much.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from core.errors import ModelError, Sentence, WorkdimError
from core.models.memory import is_out_of_memory, too_large
from core.models.model import TORCH_DTYPES, Blueprint, OpenModel, load_network
from core.models.stacks import Unit, all_stacks
from core.records import ProgressCallback

_DRAWN = "_is_hf_initialized"
"""transformers' own mark for a tensor that its initialisers must not change."""


def draw_network(blueprint: Blueprint, seed: int, on_demand: bool = False) -> OpenModel:
    """The random control of a model: its configuration, tokenizer and row, none of its weights.

    With `on_demand`, each block is drawn when the forward pass reaches it, then dropped. Raises the errors of
    `load_network`.
    """
    module = blueprint.on_meta()
    module.tie_weights()
    return blueprint.opened(module, _WeightDrawer(module.eval(), seed, blueprint).draw(on_demand))


def load_with_random_blocks(
    blueprint: Blueprint, seed: int, scratch: Path | None = None, progress: ProgressCallback = lambda step: None
) -> OpenModel:
    """The model with the blocks of all stacks drawn, and the rest as trained. Arguments as for `load_network`."""
    model = load_network(blueprint, scratch, progress)
    drawn = _WeightDrawer(model.module, seed, blueprint).draw_blocks(on_demand=scratch is not None)
    return replace(model, units=tuple({unit.module: unit for unit in (*model.units, *drawn)}.values()))


@dataclass(frozen=True)
class _Part:
    """One module of the network, and the transformers model whose initialiser applies to it."""

    path: str
    module: nn.Module
    owner: Any


@dataclass(frozen=True)
class Place:
    """Where a tensor belongs: one entry of a module's parameters or buffers."""

    path: str
    entries: Any
    key: str
    tensor: Tensor
    """The original tensor."""


class _WeightDrawer:
    """Draws the weights of one network, which may have other weights or be on the meta device."""

    def __init__(self, module: Any, seed: int, blueprint: Blueprint) -> None:
        self.module, self.seed, self.dtype = module, seed, TORCH_DTYPES[blueprint.dtype]
        self.device, self.name = blueprint.device, blueprint.weights.name
        self.tied = set(getattr(module, "all_tied_weights_keys", None) or ())
        self.in_float32 = _kept_in_float32(module, self.dtype)
        blocks = {id(b) for stack in all_stacks(module, module.config, self.name) for b in stack.blocks}
        self.parts = list(_parts(module, "", module, set()))
        self.blocks = [list(_parts(p.module, p.path, p.owner, set())) for p in self.parts if id(p.module) in blocks]

    def draw(self, on_demand: bool) -> list[Unit]:
        """Draw all units. With `on_demand`, return the blocks undrawn: they are drawn when the pass reaches them."""
        within = {id(part.module) for unit in self.blocks for part in unit}
        outside = [part for part in self.parts if id(part.module) not in within]
        with self._room():
            # Before the blocks: an initialiser of the whole model changes blocks only while they have no values.
            self._fill_outside(outside)
        return self.draw_blocks(on_demand)

    def draw_blocks(self, on_demand: bool) -> list[Unit]:
        """Draw all blocks. With `on_demand`, return them undrawn: they are drawn when the forward pass reaches them."""
        if on_demand:
            return [self._on_demand(unit[-1].module, unit) for unit in self.blocks]
        with self._room():
            for unit in self.blocks:
                self._fill([unit])
        return []

    @contextmanager
    def _room(self) -> Iterator[None]:
        try:
            yield
        except (MemoryError, RuntimeError) as error:
            if not is_out_of_memory(error):
                raise
            raise too_large(self.name, self.device) from error

    def _fill_outside(self, parts: list[_Part]) -> None:
        """Draw embeddings and heads one at a time, so that no two of them are in float32 at once without need."""
        wide, rest = _split_embeddings(parts)
        places: list[Place] = []
        try:
            for group in wide:
                places += self._fill([[part] for part in group])
            before = [(place.entries[place.key], place.entries[place.key]._version) for place in places]
            places += self._fill([[part] for part in rest])
            if all(tensor._version == version for tensor, version in before):
                return
        except ModelError:
            pass  # the values may come from the initialiser of the surrounding module
        # That initialiser draws them again: all together, in float32 on the CPU as always.
        _restore(places)
        self._fill([[part] for part in parts])

    def _on_demand(self, block: nn.Module, unit: list[_Part]) -> Unit:
        before: list[Place] = []

        def drop() -> None:
            _restore(before)
            before.clear()

        return Unit(block, lambda: before.extend(self._fill([unit])), drop)

    def _fill(self, units: list[list[_Part]]) -> list[Place]:
        """Draw these units together; return the places of their tensors, with the original tensors."""
        places = [place for unit in units for part in unit for place in _places(part)]
        try:
            self._fill_places(units, places)
        except BaseException:  # a pass that runs out of memory here is tried again
            _restore(places)
            raise
        return places

    def _fill_places(self, units: list[list[_Part]], places: list[Place]) -> None:
        made: dict[int, Tensor] = {}  # tied weights: one tensor in several places
        for place in places:
            place.entries[place.key] = made.setdefault(id(place.tensor), _fill_with_sentinel(place.tensor))
        for unit in units:
            self._initialise(unit)
        for place in places:
            self._check_set(place)
        finished: dict[int, Tensor] = {}
        for place in places:
            if id(place.tensor) not in finished:
                finished[id(place.tensor)] = self._finished(place, made.pop(id(place.tensor)))
            place.entries[place.key] = finished[id(place.tensor)]

    @torch.no_grad()
    def _initialise(self, unit: list[_Part]) -> None:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(unit_seed(self.seed, unit[-1].path))
            for part in unit:
                tied = [p for key, p in part.module.named_parameters(recurse=False) if self._is_tied(part, key)]
                for parameter in tied:  # a head must not redraw its shared embedding
                    setattr(parameter, _DRAWN, True)
                self._initialise_part(part)
                for parameter in tied:
                    delattr(parameter, _DRAWN)

    def _initialise_part(self, part: _Part) -> None:
        try:
            part.owner._init_weights(part.module)
        except Exception as error:  # code of the architecture, which may raise anything
            if isinstance(error, WorkdimError) or is_out_of_memory(error):
                raise
            reason = str(error).splitlines()[0] if str(error) else ""
            raise ModelError(
                "{name} has no random control: {reason} ({path}).",
                name=self.name,
                reason=f"{type(error).__name__}: {reason}",
                path=part.path or type(part.owner).__name__,
            ) from error

    def _is_tied(self, part: _Part, key: str) -> bool:
        return f"{part.path}.{key}" in self.tied

    def _check_set(self, place: Place) -> None:
        tensor, never = place.entries[place.key], _sentinel(place.tensor.dtype)
        if tensor.numel() == 0 or never is None:
            return
        # A sum propagates NaN and, unlike a comparison, needs no memory.
        if math.isnan(tensor.sum()) if math.isnan(never) else tensor.min() == never:
            raise ModelError(
                "{name} has no random control: {reason} ({path}).",
                name=self.name,
                reason=Sentence("its initialiser leaves gaps"),
                path=place.path,
            )

    def _finished(self, place: Place, tensor: Tensor) -> Tensor:
        """The tensor on its device and, for parameters, in the dtype that loading would give it."""
        if not isinstance(place.tensor, nn.Parameter):
            return tensor.to(self.device)
        in_float32 = any(name in place.path for name in self.in_float32)
        dtype = torch.float32 if in_float32 and tensor.is_floating_point() else place.tensor.dtype
        return nn.Parameter(tensor.detach().to(self.device, dtype), requires_grad=False)


def _restore(places: Iterable[Place]) -> None:
    for place in places:
        place.entries[place.key] = place.tensor


def _parts(module: nn.Module, path: str, owner: Any, seen: set[int]) -> Iterator[_Part]:
    """All modules, children first, in transformers' order; a model within a model initialises its own modules."""
    if id(module) in seen:
        return
    seen.add(id(module))
    owner = module if hasattr(module, "_init_weights") else owner
    for name, child in module.named_children():
        yield from _parts(child, f"{path}.{name}".lstrip("."), owner, seen)
    yield _Part(path, module, owner)


def _split_embeddings(parts: list[_Part]) -> tuple[list[list[_Part]], list[_Part]]:
    """Groups of embeddings and heads (those that share a tensor in one group), and all other parts."""
    wide: list[tuple[set[int], list[_Part]]] = []
    for part in parts:
        if isinstance(part.module, (nn.Embedding, nn.Linear)):
            tensors = {id(place.tensor) for place in _places(part)}
            same = [group for group in wide if group[0] & tensors]
            wide = [group for group in wide if group not in same]
            wide.append((tensors.union(*(g[0] for g in same)), [*(p for g in same for p in g[1]), part]))
    apart = [group for _, group in wide]
    within = {id(part.module) for group in apart for part in group}
    return apart, [part for part in parts if id(part.module) not in within]


def _places(part: _Part) -> Iterator[Place]:
    for entries in (part.module._parameters, part.module._buffers):
        for key, tensor in entries.items():
            if tensor is not None:
                yield Place(f"{part.path}.{key}".lstrip("."), entries, key, tensor)


def _fill_with_sentinel(tensor: Tensor) -> Tensor:
    """A new CPU tensor of this shape, filled with a value that no initialiser gives; parameters in float32."""
    is_parameter = isinstance(tensor, nn.Parameter)
    dtype = torch.float32 if is_parameter and tensor.is_floating_point() else tensor.dtype
    room = torch.full(tensor.shape, _sentinel(dtype) or 0, dtype=dtype)
    return nn.Parameter(room, requires_grad=False) if is_parameter else room


def _sentinel(dtype: torch.dtype) -> float | int | None:
    """A value that no initialiser gives; None for booleans."""
    if dtype.is_floating_point:
        return math.nan
    return None if dtype == torch.bool else torch.iinfo(dtype).min


def unit_seed(seed: int, unit: str) -> int:
    return int.from_bytes(hashlib.sha256(f"{seed}/{unit}".encode()).digest()[:8], "big", signed=True)


def _kept_in_float32(module: Any, dtype: torch.dtype) -> list[str]:
    """Substrings of the names of parameters that transformers always loads in float32, for this requested dtype."""
    names = list(getattr(module, "_keep_in_fp32_modules_strict", None) or ()) if dtype != torch.float32 else []
    return names + (list(getattr(module, "_keep_in_fp32_modules", None) or ()) if dtype == torch.float16 else [])


def load_libraries() -> None:
    """Import in advance what the first model of this process would: the code of an architecture and of tokenizers."""
    import transformers
    from transformers import PreTrainedTokenizerFast  # noqa: F401

    small = dict(hidden_size=8, intermediate_size=8, num_hidden_layers=1, num_attention_heads=1, vocab_size=8)
    with torch.device("meta"):
        transformers.AutoModelForCausalLM.from_config(transformers.AutoConfig.for_model("llama", **small))
