"""Controls whose blocks write as much as the trained ones, in directions that were drawn.

A block adds two updates to the state of each token: of its attention, then of its MLP, or both at once. A control runs a
stream of its own from the trained embedding. Two kinds differ in what makes the updates:

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

import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
import torch
from greenlet import getcurrent, greenlet
from torch import Tensor, nn

from core.errors import ModelError
from core.models.model import OpenModel
from core.models.random_weights import Place, unit_seed
from core.models.stacks import Unit, input_state, output_state, run_together
from core.registry.protocols import PERMUTED

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
    parts: dict[str, _Part | None]
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
        base, change = {unit.module: unit for unit in self.model.units}, self._change(seed)
        changed = [_changed(block, base.pop(block, None), places, change) for block, places in self.matrices.items()]
        return self._with([*base.values(), *changed], ratios)

    def _with(self, units: Sequence[Unit], ratios: Sequence[float | None]) -> OpenModel:
        scaled = [update.unit(ratio) for update, ratio in zip(self.updates, ratios, strict=True)]
        return replace(self.model, units=(*units, *scaled))

    def _change(self, seed: int) -> Callable[[str, Tensor], Tensor]:
        if self.weights == PERMUTED:
            return lambda path, values: _permuted(values, unit_seed(seed, path))
        config = self.model.module.config
        return lambda path, values: _drawn(values, self.parts[path], config, unit_seed(seed, path))


def seeded_control(model: OpenModel, weights: str, ids: np.ndarray) -> SeededControl:
    """The control of a network that was loaded; ids (n_sequences, n_tokens) of the text.

    Raises ModelError for an architecture whose blocks do not add two updates, or hide which of their matrices are values.
    """
    model = without_head(model)
    updates = tuple(_Update(*one) for one in _updates(model, find_updates(model, ids).paths))
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
class _Entered:
    """Norms of the states that enter a block, of each batch that is at work; (n_batch, n_tokens)."""

    of_batch: WeakKeyDictionary[greenlet, Tensor] = field(default_factory=WeakKeyDictionary)

    def keep(self, _module: nn.Module, arguments: tuple, keywords: dict[str, Any]) -> None:
        self.of_batch[getcurrent()] = torch.linalg.vector_norm(input_state(arguments, keywords).float(), dim=-1)


@dataclass(eq=False)
class _Update:
    """One update of one block, and how large it is; all batches of a pass are needed to tell."""

    block: nn.Module
    module: nn.Module
    entered: _Entered
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
            states = self.entered.of_batch[batch].cpu()
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


def _updates(model: OpenModel, paths: tuple[str, str]) -> Iterator[tuple[nn.Module, nn.Module, _Entered]]:
    for block in model.layers:
        entered = _Entered()
        block.register_forward_pre_hook(entered.keep, with_kwargs=True)
        for path in paths:
            try:
                yield block, block.get_submodule(path), entered
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
        for place in matrices:
            place.entries[place.key] = place.tensor
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


_Part = Callable[[Tensor, Any], Tensor]


def _drawn_part(place: Place, model: OpenModel) -> _Part | None:
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


def _drawn(values: Tensor, part: _Part | None, config: Any, seed: int) -> Tensor:
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
