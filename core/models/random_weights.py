"""Control models: an architecture whose weights are drawn by its own initialiser instead of trained.

Weights are drawn unit by unit: each block is a unit, and so is each module outside the blocks (embeddings, final norm,
head). A unit's generator is seeded from the seed and the unit's name only, always on the CPU and in float32. So a block
has the same weights on every device, in every dtype up to rounding, and whether it is drawn together with the others
or, if they exceed the memory, when the forward pass reaches it.

One control keeps the trained embedding and everything else outside the blocks (position embeddings, final norm, head)
and draws the blocks, the same ones as the fully random control of that seed. How much its blocks write is the
initialiser's, not the trained network's. Two others write as much as the trained blocks, in directions that were drawn.

A block adds two updates to the state of each token: of its attention, then of its MLP, or both at once. A control runs a
stream of its own from the trained embedding. The two differ in what makes the updates:

- `matched`: the trained network but for its value, output and MLP matrices, whose entries are drawn anew with the mean
  square of the trained ones. Norms, queries and keys stay as trained, so the attention patterns are those that the
  trained weights give on the control's own stream; routers of experts and vectors stay as well (a bias is the same for
  all tokens, and goes with their mean).
- `permuted`: the entries of each matrix of the blocks in random order, queries and keys included. A matrix is two
  dimensions of a parameter: fused projections are one matrix, the stacked experts of a mixture are one matrix each.

In both, every update is scaled by one number, so that the median over tokens of |update| / |state that enters the block|
equals the trained network's at that block (tokens of position 0 and beyond three times the median norm are left out).
Otherwise drawn blocks write too much or too little, and profiles differ for that alone. If the directions that training
wrote were nothing but drawn ones, the trained network and the `matched` ones would be exchangeable: the rank of the
trained one among them is an exact test.

`rotate_updates` is another control: the trained network's own updates, each block's turned by one random rotation.
"""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
import torch
from greenlet import getcurrent, greenlet
from torch import Tensor, nn

from core.errors import ModelError, Sentence
from core.models.model import TORCH_DTYPES, Blueprint, OpenModel, load_network
from core.models.stacks import Unit, all_stacks, input_state, is_out_of_memory, output_state, run_together, too_large
from core.records import ProgressCallback
from core.registry.protocols import PERMUTED

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
        made: dict[int, Tensor] = {}  # tied weights: one tensor in several places
        finished: dict[int, Tensor] = {}
        try:
            for place in places:
                place.entries[place.key] = made.setdefault(id(place.tensor), _fill_with_sentinel(place.tensor))
            for unit in units:
                self._initialise(unit)
            for place in places:
                self._check_set(place)
            for place in places:
                if id(place.tensor) not in finished:
                    finished[id(place.tensor)] = self._finished(place, made.pop(id(place.tensor)))
                place.entries[place.key] = finished[id(place.tensor)]
        except BaseException:  # a pass that runs out of memory here is tried again
            _restore(places)
            raise
        return places

    @torch.no_grad()
    def _initialise(self, unit: list[_Part]) -> None:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(unit_seed(self.seed, unit[-1].path))
            for part in unit:
                own = part.module.named_parameters(recurse=False)
                tied = [parameter for key, parameter in own if f"{part.path}.{key}" in self.tied]
                for parameter in tied:  # a head must not redraw its shared embedding
                    setattr(parameter, _DRAWN, True)
                try:
                    part.owner._init_weights(part.module)
                except Exception as error:  # code of the architecture, which may raise anything
                    if is_out_of_memory(error):
                        raise
                    first_line = str(error).partition("\n")[0]
                    path = part.path or type(part.owner).__name__
                    raise self._no_control(f"{type(error).__name__}: {first_line}", path) from error
                for parameter in tied:
                    delattr(parameter, _DRAWN)

    def _no_control(self, reason: str, path: str) -> ModelError:
        return ModelError("{name} has no random control: {reason} ({path}).", name=self.name, reason=reason, path=path)

    def _check_set(self, place: Place) -> None:
        tensor, never = place.entries[place.key], _sentinel(place.tensor.dtype)
        if tensor.numel() == 0 or never is None:
            return
        # A sum propagates NaN and, unlike a comparison, needs no memory.
        if math.isnan(tensor.sum()) if math.isnan(never) else tensor.min() == never:
            raise self._no_control(Sentence("its initialiser leaves gaps"), place.path)

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


# --- controls whose blocks write as much as the trained ones ---------------------------------------------------------

NORM_FACTOR = 3.0
"""States beyond this multiple of the median norm do not count for the size of updates: attention sinks."""
TOLERANCE = 64.0
"""Roundings, in units of the dtype's precision, by which a sum of states may differ from what the network computed."""
_ATTENTION = re.compile("att", re.IGNORECASE)
_PATTERNS = re.compile(r"(q|k|query|key)(_proj|_lin)?|relative_attention_bias|distance_embedding")
"""Matrices of an attention that decide where it looks."""
_VALUES = re.compile(r"(v|value)(_proj|_lin)?|o|o_proj|out_proj|out_lin|c_proj|dense|Wo")
"""Matrices of an attention that decide what it writes."""
_ROUTERS_AND_BIASES = re.compile(r"gate|router|shared_expert_gate|\w+_bias")
"""What stays outside an attention; the biases of a block's experts are one parameter of two dimensions."""


def _value_rows(weight: Tensor, _config: Any) -> Tensor:
    n_rows = weight.shape[1]
    if len(weight) != 3 * n_rows:  # fewer keys than queries, or columns that are rows (GPTBigCode)
        raise ValueError
    return weight[2 * n_rows :]


def _value_rows_of_heads(weight: Tensor, config: Any) -> Tensor:
    n_heads = n_groups = config.num_attention_heads
    if getattr(config, "new_decoder_architecture", False):
        n_groups = config.num_kv_heads
    elif getattr(config, "multi_query", False):
        n_groups = 1
    return weight.view(n_groups, -1, config.hidden_size // n_heads, weight.shape[1])[:, -1]


def _value_rows_of_groups(weight: Tensor, config: Any) -> Tensor:
    size = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    n_rows = config.num_key_value_heads * size
    if len(weight) != config.num_attention_heads * size + 2 * n_rows:
        raise ValueError
    return weight[-n_rows:]


_FUSED: dict[str, Callable[[Tensor, Any], Tensor]] = {
    "c_attn": lambda weight, config: _value_rows(weight.T, config).T,  # GPT-2
    "Wqkv": _value_rows,  # ModernBERT
    "query_key_value": _value_rows_of_heads,  # GPT-NeoX, BLOOM, Falcon
    "qkv_proj": _value_rows_of_groups,  # Phi-3
}
"""Queries, keys and values in one matrix -> the part of the values, as a view; an error where they are not in this order."""


@dataclass(frozen=True)
class SeededControl:
    """A network that is run with any number of draws of its blocks, its trained weights read once.

    First `trained` is run over the text, then `ratios` say how much its blocks write, then `drawn` is run for each seed.
    """

    model: OpenModel
    """With its trained weights, in memory or read on demand; without its head."""
    weights: str
    """`matched` or `permuted`, as in `core.registry.protocols`."""
    updates: tuple[_Update, ...]
    matrices: dict[nn.Module, list[Place]]
    """Of each block."""
    parts: dict[str, _Region | None]
    """Of each matrix of a `matched` control, by path: which part of it is drawn anew; None if it stays."""

    def trained(self) -> OpenModel:
        """The trained network; running it measures `ratios`."""
        return self._with(self.model.units, [None] * len(self.updates))

    @property
    def ratios(self) -> list[float]:
        """Of each update: the median over tokens of its size over that of the state that entered the block."""
        return [update.ratio for update in self.updates]

    def drawn(self, seed: int, ratios: Sequence[float]) -> OpenModel:
        """The network with the draw of this seed, whose updates have these sizes."""
        config = self.model.module.config

        def change(path: str, values: Tensor) -> Tensor:
            own = unit_seed(seed, path)
            return _permuted(values, own) if self.weights == PERMUTED else _drawn(values, self.parts[path], config, own)

        units = {unit.module: unit for unit in self.model.units}
        units |= {block: _changed(block, units.get(block), places, change) for block, places in self.matrices.items()}
        return self._with(units.values(), ratios)

    def _with(self, units: Iterable[Unit], ratios: Sequence[float | None]) -> OpenModel:
        scaled = [update.unit(ratio) for update, ratio in zip(self.updates, ratios, strict=True)]
        return replace(self.model, units=(*units, *scaled))


def seeded_control(model: OpenModel, weights: str, ids: np.ndarray) -> SeededControl:
    """The control of a network that was loaded; ids (n_sequences, n_tokens) of the text.

    Raises ModelError for an architecture whose blocks do not add two updates, or hide which of their matrices are values.
    """
    model = without_head(model)
    updates = tuple(_updates(model, find_updates(model, ids).paths))
    matrices = _matrices(model)
    places = [place for of_block in matrices.values() for place in of_block if weights != PERMUTED]
    return SeededControl(model, weights, updates, matrices, {place.path: _drawn_part(place, model) for place in places})


def without_head(model: OpenModel) -> OpenModel:
    """The model as one that predicts nothing: its head and loss are left out of a pass."""
    return replace(model, module=model.module.base_model, is_causal=False) if model.stack == "main" else model


# --- the updates of a block -------------------------------------------------------------------------------------


@dataclass(frozen=True)
class FoundUpdates:
    paths: tuple[str, str]
    """Within a block, the modules whose outputs are its updates."""
    is_normed: bool
    """Whether a norm stands on the stream itself, behind each sum of state and update (BERT and its kin)."""


def find_updates(model: OpenModel, ids: np.ndarray) -> FoundUpdates:
    """The two modules of a block whose outputs are added to its state, found by running the first block on one window.

    A block either gives state + first + second, or N2(N1(state + first) + second) with norms N1 and N2. Raises ModelError
    for blocks that do neither: those with one mixer or three updates, or that multiply what they add.
    """
    seen: dict[str, tuple[Tensor | None, Tensor]] = {}  # path -> input and output
    often = set[str]()  # dropouts that serve both updates
    block = model.layers[0]

    def keep(path: str) -> Callable[..., None]:
        def hook(_module: nn.Module, arguments: tuple, output: Any) -> None:
            given = next((a for a in arguments if isinstance(a, Tensor) and a.is_floating_point()), None)
            with suppress(StopIteration, TypeError, IndexError, KeyError):  # a module that gives no state
                state = output_state(output)
                if isinstance(state, Tensor):
                    often.update({path} & seen.keys())
                    seen[path] = given, state.clone()  # Falcon adds in place

        return hook

    entered: list[Tensor] = []
    hooks = [block.register_forward_pre_hook(lambda _m, a, k: entered.append(input_state(a, k)), with_kwargs=True)]
    hooks += [part.register_forward_hook(keep(path)) for path, part in block.named_modules() if path]

    def stop(_module: nn.Module, _arguments: Any, output: Any) -> None:
        seen[""] = None, output_state(output)
        raise _FirstBlockRanError

    hooks.append(block.register_forward_hook(stop))
    window = torch.from_numpy(ids[:1]).to(model.device)

    def run() -> None:
        with suppress(_FirstBlockRanError):
            model.forward(window, window > 0)

    try:
        with torch.inference_mode():
            run_together(model.units, [run])
    finally:
        for hook in hooks:
            hook.remove()
    once = {path: of for path, of in seen.items() if path not in often}
    found = _two_updates(entered[0], once) if entered else None
    if found is None:
        raise _not_available(model)
    return found


def require_plain_stream(model: OpenModel, ids: np.ndarray) -> None:
    """Raises ModelError where norms stand on the stream itself: what a block does to its state is more than an update."""
    if find_updates(model, ids).is_normed:
        raise _not_available(model)


class _FirstBlockRanError(Exception):
    """Ends a pass behind the first block."""


def _two_updates(state: Tensor, seen: dict[str, tuple[Tensor | None, Tensor]]) -> FoundUpdates | None:
    end = seen.pop("")[1]
    wide = {  # OPT has a row for each token of all windows
        path: (given, output.view_as(state))
        for path, (given, output) in seen.items()
        if output.numel() == state.numel() and output.shape[-1] == state.shape[-1]
    }

    def equal(found: Tensor, wanted: Tensor | None, update: Tensor) -> bool:
        if wanted is None or wanted.shape != found.shape:
            return False
        error = torch.linalg.vector_norm((found.float() - wanted.float()).flatten())
        size = torch.linalg.vector_norm(wanted.float().flatten()) + torch.linalg.vector_norm(update.float().flatten())
        return bool(error <= TOLERANCE * torch.finfo(state.dtype).eps * size)

    paths = list(wide)
    for first in paths:
        moved = state + wide[first][1]
        for second in paths[paths.index(first) + 1 :]:
            if equal(moved + wide[second][1], end, wide[second][1]) and not second.startswith(first + "."):
                return FoundUpdates((first, second), is_normed=False)
    for first in paths:
        for norm in paths:
            if not equal(state + wide[first][1], wide[norm][0], wide[first][1]):
                continue
            for second in paths:
                ends = (equal(wide[norm][1] + wide[second][1], wide[last][0], wide[second][1]) for last in paths)
                if any(ends) and first != second:
                    return FoundUpdates((first, second), is_normed=True)
    return None


def _not_available(model: OpenModel) -> ModelError:
    return ModelError("not available for this architecture ({network})", network=type(model.module).__name__)


@dataclass(eq=False)
class _Update:
    """One update of one block, and how large it is; all batches of a pass are needed to tell."""

    block: nn.Module
    module: nn.Module
    entered: WeakKeyDictionary[greenlet, Tensor]
    """Norms of the states that enter the block, of each batch that is at work; (n_batch, n_tokens)"""
    ratio: float = 0.0
    """As found in the last pass, before scaling."""
    _seen: list[tuple[greenlet, Tensor, Tensor]] = field(default_factory=list)
    """A batch, the norms of its states and of its updates; those of batches that were given up are dead."""
    _scale: float = 1.0

    def unit(self, target: float | None) -> Unit:
        """Waits behind the update for all batches, then scales it to `target`; None leaves it as it is."""

        def measure() -> None:
            seen, self._seen = [one for one in self._seen if not one[0].dead], []
            self.ratio = median_ratio(*(torch.cat([one[i] for one in seen]) for i in (1, 2)))
            self._scale = 1.0 if target is None or not self.ratio else target / self.ratio

        def arrive(output: Any) -> Callable[[], Any]:
            state = output_state(output)
            batch = getcurrent()
            states = self.entered[batch].cpu()
            updates = torch.linalg.vector_norm(state.float(), dim=-1).cpu().view_as(states)
            self._seen.append((batch, states, updates))

            def finish() -> Any:
                if target is None:
                    return output
                scaled = state * self._scale
                return scaled if isinstance(output, Tensor) else (scaled, *output[1:])

            return finish

        return Unit(self.module, measure, lambda: None, arrive, within=self.block)


def median_ratio(states: Tensor, updates: Tensor) -> float:
    """Median over tokens of |update| / |state|; both (n_sequences, n_tokens) norms."""
    states, updates = states[:, 1:].double(), updates[:, 1:].double()
    counted = (states <= NORM_FACTOR * states.median()) & (states > 0)
    return float((updates[counted] / states[counted]).median())


def _updates(model: OpenModel, paths: tuple[str, str]) -> Iterator[_Update]:
    for block in model.layers:
        entered = WeakKeyDictionary[greenlet, Tensor]()

        def keep(
            _module: nn.Module,
            given: tuple,
            named: dict[str, Any],
            entered: WeakKeyDictionary[greenlet, Tensor] = entered,
        ) -> None:
            entered[getcurrent()] = torch.linalg.vector_norm(input_state(given, named).float(), dim=-1)

        block.register_forward_pre_hook(keep, with_kwargs=True)
        try:
            yield from (_Update(block, block.get_submodule(path), entered) for path in paths)
        except AttributeError as error:  # blocks of several kinds
            raise _not_available(model) from error


# --- the matrices of a block ------------------------------------------------------------------------------------


def _matrices(model: OpenModel) -> dict[nn.Module, list[Place]]:
    """The matrices of each block, each under the first name of its tensor in the whole network.

    Tensors that a block shares with a module outside the blocks are left out: they stay as trained.
    """
    module, blocks = model.module, list(model.layers)
    within = {id(part) for block in blocks for part in block.modules()}
    shared = {id(p) for part in module.modules() if id(part) not in within for p in part.parameters(recurse=False)}
    names = {id(p): name for name, p in module.named_parameters()}
    return {
        block: [
            Place(names[id(tensor)], part._parameters, key, tensor)
            for part in block.modules()
            for key, tensor in part._parameters.items()
            if tensor is not None and id(tensor) not in shared and sum(size > 1 for size in tensor.shape) > 1
        ]
        for block in blocks
    }


def _changed(
    block: nn.Module, base: Unit | None, matrices: Sequence[Place], change: Callable[[str, Tensor], Tensor]
) -> Unit:
    """The unit of a block whose matrices are changed while it runs; `base` reads its weights, None if they are there."""

    def drop() -> None:
        _restore(matrices)
        if base:
            base.drop()

    @torch.no_grad()
    def load() -> None:
        if base:
            base.load()
        try:
            made: dict[int, nn.Parameter] = {}  # tied weights: one tensor in several places
            for place in matrices:
                if id(place.tensor) not in made:
                    values = change(place.path, place.entries[place.key].data)
                    made[id(place.tensor)] = nn.Parameter(values, requires_grad=False)
                place.entries[place.key] = made[id(place.tensor)]
        except BaseException:  # a pass that runs out of memory here is tried again
            drop()
            raise

    return Unit(block, load, drop)


def _permuted(values: Tensor, seed: int) -> Tensor:
    """A permuted copy of values (..., n_rows, n_columns), dimensions of size 1 not counted.

    Moves raw bits, so that the order is the same in every dtype. Copies, because the mapped pages of a weight file must
    not be written.
    """
    copy = values.to("cpu", copy=True).contiguous()
    rows, columns = [size for size in copy.shape if size > 1][-2:]
    integers = {2: torch.int16, 4: torch.int32, 8: torch.int64}[copy.element_size()]
    generator = np.random.default_rng(seed % 2**64)
    for matrix in copy.view(-1, rows * columns).view(integers).numpy():
        generator.shuffle(matrix)
    return copy.to(values.device)


_Region = Callable[[Tensor, Any], Tensor]


def _drawn_part(place: Place, model: OpenModel) -> _Region | None:
    """Which part of a matrix is drawn anew; None if it stays. Raises ModelError for an attention's that is not known."""
    before, _, name = place.path.removesuffix(".weight").rpartition(".")
    if not _ATTENTION.search(before):
        return None if _ROUTERS_AND_BIASES.fullmatch(name) else _whole
    if _PATTERNS.fullmatch(name):
        return None
    if _VALUES.fullmatch(name):
        return _whole
    if name in _FUSED:
        with suppress(ValueError, AttributeError, RuntimeError):  # heads in another order, or of other sizes
            _FUSED[name](place.tensor, model.module.config)
            return _FUSED[name]
    raise _not_available(model)


def _whole(weight: Tensor, _config: Any) -> Tensor:
    return weight


def _drawn(values: Tensor, part: _Region | None, config: Any, seed: int) -> Tensor:
    """A copy whose `part` is normal with the mean square of the trained entries there."""
    if part is None:
        return values
    copy = values.to("cpu", torch.float32, copy=True)
    drawn = part(copy, config)
    size = drawn.square().mean().sqrt()
    generator = torch.Generator().manual_seed(seed)
    drawn.copy_(torch.randn(drawn.shape, generator=generator) * size)
    return copy.to(values.device, values.dtype)


# --- the trained network's own updates, turned -------------------------------------------------------------------


def rotate_updates(states: np.ndarray, n_layers: int, seed: int) -> None:
    """Replace the states of layers 1 to n_layers by those of a stream to which each block's update is added turned.

    states (n_states, n_tokens, hidden_size), changed in place, those of layer 0 stay. One rotation a block: the Q of a
    Gaussian matrix, with the signs that make it uniform (Mezzadri, math-ph/0609050). Sizes and spectra of updates stay.
    """
    before = np.array(states[0])
    stream = torch.from_numpy(before.copy())
    for layer in range(1, n_layers + 1):
        trained = np.array(states[layer])
        generator = torch.Generator().manual_seed(unit_seed(seed, f"rotation {layer}"))
        q, r = torch.linalg.qr(torch.randn(trained.shape[1], trained.shape[1], generator=generator))
        stream += torch.from_numpy(trained - before) @ (q * r.diagonal().sign())
        states[layer] = stream.numpy()
        before = trained
