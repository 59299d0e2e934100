"""A network whose blocks were removed, as one of its own: repaired without training, built, timed and saved.

A least-squares matrix makes up for each gap and is merged into an existing weight.

After the last block before a gap, the residual stream is Y + M, with M the output of that block's MLP. A matrix T is
fitted so that Y + M T is as close as possible to L, the whole network's state after the gap, each token weighted by
1 / |L|^2 (ReplaceMe, arXiv 2505.02819, fits at the same place, by cosine). The ridge penalty draws T to the identity, not
to zero: directions that the text does not determine stay as they were. Gaps are healed in order, each with the earlier
ones healed, because the output of one is the input of the next.

Where a norm stands between MLP and stream (Gemma) no matrix passes. There the stream after each gap is multiplied by one
number, the mean over tokens of |L| / |Y + M| (after Prune&Comp, arXiv 2507.18212). Whatever is added later is divided by it
instead, in the weights of these norms: the next norm sees no difference.

A network without some of its blocks is built from a configuration with fewer of them and takes over the tensors of the old
one, so that whatever an architecture derives from a block's number (a scale, a window, a place in the cache) is derived
anew. Whether it still computes the same function is tested, not assumed.
"""

from __future__ import annotations

import copy
import json
import math
import os
import re
import shutil
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import redirect_stderr
from dataclasses import dataclass, field
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.func import functional_call

from core.errors import InputError, ModelError
from core.files import free_some, make_folder, remove_temporary_folders, require_room, temporary_folder, writing
from core.models.hub import find_weights
from core.models.model import OpenModel, load_network, read_blueprint
from core.models.weights import Weights
from core.plans.pricing import Pricer, ReportShare, of_part
from core.plans.variants import ATTENTION, MLP, WHOLE, Network, Scaling, Variant, differs, output_axis, without_blocks
from core.records import stretches
from core.texts.sample import TokenWindows

PENALTIES = tuple(10.0**power for power in range(-5, 2))
"""Ridge penalties in units of the mean eigenvalue; the one with the least error on held-back windows is used."""
HELD_BACK = 4
"""One window in so many is held back to choose the penalty."""
LEAST_TOKENS = 8192
"""Tokens without which no matrix is fitted."""


@dataclass(frozen=True)
class Healing:
    """The fitted matrices of a plan."""

    matrices: dict[int, np.ndarray]
    """Block -> matrix that its MLP's output is multiplied with, from the right; (hidden_size, hidden_size) float32"""
    n_tokens: int
    scales: dict[int, float] = field(default_factory=dict)
    """Layer at the beginning of a gap -> factor of its states, instead of matrices."""

    def variant(self, removed: Collection[int], network: Network) -> Variant:
        """The healed network without these blocks.

        In half precision with the weights that are saved: rounded, they predict measurably otherwise than the matrices do.
        """
        if self.scales:
            scalings = {layer: Scaling(factor) for layer, factor in self.scales.items()}
            return Variant(blocks=frozenset(removed), projected=scalings)
        if network.model.dtype != "float32":
            sublayers = {block: network.sublayers[MLP, block] for block in self.matrices}
            merged = {block: _merge(sublayers[block], matrix) for block, matrix in self.matrices.items()}
            return Variant(blocks=frozenset(removed), merged=merged)
        device = network.model.device
        matrices = {block: torch.from_numpy(matrix).to(device) for block, matrix in self.matrices.items()}
        return Variant(blocks=frozenset(removed), healed=matrices)


def why_no_healing(network: Network, removed: Collection[int], ids: Tensor, n_tokens: int) -> str | None:
    """Why this plan cannot be healed, as a code of core.wording.plans; None if it can.

    ids (n_batch, n_tokens): a short text to try it on. n_tokens: tokens to fit on.
    """
    if 0 in removed:
        return "first_block"
    if network.model.units:
        return "streamed"
    if n_tokens < LEAST_TOKENS:
        return "short_text"
    return network.why_no_healing(ids, [first - 1 for first, _ in stretches(removed)])


@torch.inference_mode()
def why_no_scales(network: Network, ids: Tensor) -> str | None:
    """Why no factor of states can be carried in the weights, as a code of core.wording.plans; None if it can.

    Tested: with a state doubled the network must predict as with norms that carry it. ids (n_batch, n_tokens): a short text.
    """
    behind = [network.behind.get((kind, block)) for block in range(network.n_blocks) for kind in (ATTENTION, MLP)]
    if not all(isinstance(weight := getattr(norm, "weight", None), Tensor) and weight.dim() == 1 for norm in behind):
        return "norm_between"
    doubled = Healing({}, 0, {network.n_blocks // 2: 2.0})
    with network.hooked():
        expected = network.logits(ids, doubled.variant((), network))
    given = {"input_ids": ids, "use_cache": False}
    carried = functional_call(network.model.module, merge_into_weights(network, doubled, ()), kwargs=given).logits
    return "norm_between" if differs(carried, expected) else None


@torch.inference_mode()
def fit_scales(
    network: Network, windows: TokenWindows, removed: Collection[int], report: ReportShare = lambda done: None
) -> Healing:
    """One factor for each gap that has a block behind it, without position 0, whose norm is its own."""
    scales: dict[int, float] = {}
    gaps = [(start, end) for start, end in stretches(removed) if end < network.n_blocks]
    for gap, (start, end) in enumerate(gaps):
        so_far, ratios = Healing({}, 0, dict(scales)).variant(removed, network), []
        for ids in _each_window(network, windows, of_part(report, gap, len(gaps))):
            states = network.state(ids, WHOLE, end), network.state(ids, so_far, start)
            target, current = (torch.linalg.vector_norm(state.float(), dim=-1)[:, 1:] for state in states)
            ratios.append(target / current.clamp(min=1e-12))
        scales[start] = float(torch.cat(ratios).mean())
    return Healing({}, windows.ids.size, scales)


@torch.inference_mode()
def fit_healing(
    network: Network, windows: TokenWindows, removed: Collection[int], report: ReportShare = lambda done: None
) -> Healing:
    """Fit one matrix for each gap, on windows of the selection text."""
    device, gaps = network.model.device, stretches(removed)
    matrices: dict[int, Tensor] = {}
    for gap, (start, end) in enumerate(gaps):
        block = start - 1
        healed_so_far = Variant(blocks=frozenset(removed), healed=dict(matrices))
        equations = [_NormalEquations(network.model.hidden_size, device) for _ in range(2)]
        each = _each_window(network, windows, of_part(report, gap, len(gaps)))
        for window, ids in enumerate(each):
            equations[window % HELD_BACK == HELD_BACK - 1].add(*_states(network, ids, healed_so_far, block, end))
        fitted, held_back = equations
        # Too few windows: none was held back to choose by.
        penalty = min(PENALTIES, key=lambda p: held_back.error(fitted.solve(p))) if held_back.n else PENALTIES[3]
        fitted.gram += held_back.gram
        fitted.cross += held_back.cross
        change = fitted.solve(penalty)
        matrices[block] = (torch.eye(len(change), dtype=change.dtype, device=device) + change).float()
    return Healing({block: m.cpu().numpy() for block, m in matrices.items()}, windows.ids.size)


def _each_window(network: Network, windows: TokenWindows, report: ReportShare) -> Iterator[Tensor]:
    """The token ids of each window, (1, n_tokens), to be passed through the network meanwhile."""
    with network.hooked():
        for window in range(len(windows.ids)):
            yield network.ids(windows, window, window + 1)
            report((window + 1) / len(windows.ids))


def _states(network: Network, ids: Tensor, variant: Variant, block: int, end: int) -> tuple[Tensor, Tensor]:
    """Weighted output of the MLP before a gap, and weighted error of the state after it; both (n_tokens, hidden_size)."""
    sublayers: dict[tuple[str, int], Tensor] = {}
    target = network.state(ids, WHOLE, end).flatten(0, 1).float()
    current = network.state(ids, variant, block + 1, sublayers=sublayers).flatten(0, 1).float()
    added = sublayers[MLP, block].reshape(current.shape).float()
    weight = 1 / torch.linalg.vector_norm(target, dim=1, keepdim=True).clamp(min=1e-12)
    return added * weight, (target - current) * weight


class _NormalEquations:
    """Normal equations of min |M X - R|^2 over tokens, accumulated in double precision; M inputs, R targets."""

    def __init__(self, n: int, device: torch.device) -> None:
        # Apple's GPU has no double precision.
        sum_device = torch.device("cpu") if device.type == "mps" else device
        self.gram = torch.zeros(n, n, dtype=torch.float64, device=sum_device)
        self.cross = torch.zeros(n, n, dtype=torch.float64, device=sum_device)
        self.total, self.n = 0.0, 0

    def add(self, inputs: Tensor, targets: Tensor) -> None:
        inputs, targets = inputs.to(self.gram.device), targets.to(self.gram.device)
        self.gram += (inputs.T @ inputs).double()
        self.cross += (inputs.T @ targets).double()
        self.total += float(targets.square().sum())
        self.n += len(inputs)

    def solve(self, penalty: float) -> Tensor:
        """The ridge solution X, (n, n)."""
        ridge = penalty * float(self.gram.diagonal().mean()) + 1e-300
        identity = torch.eye(len(self.gram), dtype=self.gram.dtype, device=self.gram.device)
        return torch.linalg.solve(self.gram + ridge * identity, self.cross)

    def error(self, change: Tensor) -> float:
        """|M X - R|^2 of a solution X."""
        return float((change * (self.gram @ change)).sum() - 2 * (change * self.cross).sum()) + self.total


def merge_into_weights(network: Network, healing: Healing, removed: Collection[int]) -> dict[str, Tensor]:
    """Changed weights by their names in the network: with them the network computes what the healed variant does."""
    names = {id(parameter): name for name, parameter in network.model.module.named_parameters()}
    changed = {}
    for block in set(range(network.n_blocks)) - set(removed) if healing.scales else ():
        factor = math.prod(scale for layer, scale in healing.scales.items() if layer <= block)
        for norm in (network.behind[kind, block] for kind in (ATTENTION, MLP)):
            changed[names[id(norm.weight)]] = _divided(norm, factor)
    for block, matrix in healing.matrices.items():
        module = network.sublayers[MLP, block]
        weight, bias = _merge(module, matrix)
        changed[names[id(module.weight)]] = weight
        if bias is not None:
            changed[names[id(module.bias)]] = bias
    return changed


@torch.no_grad()
def _divided(norm: nn.Module, factor: float) -> Tensor:
    """The weight with which a norm gives its output divided by a factor: some multiply by it, some by 1 plus it."""
    weight: Tensor = norm.weight.detach()  # type: ignore[operator]
    states = torch.linspace(-1, 1, len(weight), dtype=weight.dtype, device=weight.device)[None]
    wanted = norm(states) / factor
    candidates = (weight / factor, (1 + weight) / factor - 1)
    return min(
        candidates, key=lambda new: float((functional_call(norm, {"weight": new}, (states,)) - wanted).abs().max())
    )


def _merge(module: nn.Module, matrix: Any) -> tuple[Tensor, Tensor | None]:
    """Weight and bias of a product with a matrix whose result is multiplied with another one, from the right."""
    weight: Tensor = module.weight  # type: ignore[assignment]
    bias: Tensor | None = getattr(module, "bias", None)
    transform = torch.as_tensor(matrix, dtype=torch.float64)
    product = weight.detach().cpu().double()
    product = product @ transform if output_axis(module) else transform.T @ product
    merged = product.to(weight.device, weight.dtype)
    return merged, None if bias is None else (bias.detach().cpu().double() @ transform).to(bias.device, bias.dtype)


# --- a network without some of its blocks ----------------------------------------------------------------------------

SAME = 1e-4
"""Largest difference of logits, relative to the largest logit, between skipping blocks and deleting them."""
INDEX_LISTS = ("mlp_only_layers", "attn_layer_indices", "full_attn_idxs", "cross_attention_layers", "global_layers")
"""Settings that list numbers of blocks."""
FIRST_BLOCKS = ("max_window_layers", "first_k_dense_replace")
"""Settings that count blocks from the first one on."""
NO_LAYERS = ("architectures", "eos_token_id", "bos_token_id", "pad_token_id", "bad_words_ids", "suppress_tokens")
"""Lists of a configuration that are not about layers, even if there are as many entries as layers."""
PRECISIONS = {"float32": 4.0, "bfloat16": 2.0, "int8": 1.0, "int4": 0.5}
"""Bytes per weight; for integers without their scales, which depend on the method."""
REPRODUCED = 1e-4
"""Nats per token by which a saved model's loss may differ from the verified one."""
REPEATS = 3
"""Timings of each network, of which the median counts."""
PROMPT_TOKENS, NEW_TOKENS = 256, 16
CARD = "README.md"


def new_numbers(n_blocks: int, removed: Collection[int]) -> dict[int, int]:
    """Number of each block that stays -> its number then, in their order."""
    return {old: new for new, old in enumerate(index for index in range(n_blocks) if index not in removed)}


def shorten_config(config: Any, n_blocks: int, removed: Collection[int]) -> Any:
    """The configuration of the network without these blocks; lists with an entry for each block are cut with them."""
    kept = new_numbers(n_blocks, removed)
    settings = config.to_dict()
    changed: dict[str, Any] = {}
    for name, value in settings.items():
        if name in INDEX_LISTS and isinstance(value, (list, tuple)):
            changed[name] = [kept[index] for index in value if index in kept]
        elif name in FIRST_BLOCKS and isinstance(value, int):
            changed[name] = sum(index < value for index in kept)
        elif isinstance(value, (list, tuple)) and len(value) == n_blocks and name not in NO_LAYERS:
            changed[name] = [value[index] for index in kept]
    count_name = config.attribute_map.get("num_hidden_layers", "num_hidden_layers")
    settings |= changed | {count_name: len(kept)}
    settings.pop("quantization_config", None)
    shortened = type(config).from_dict(copy.deepcopy(settings))
    shortened._attn_implementation = config._attn_implementation
    return shortened


def delete_blocks(model: OpenModel, removed: Collection[int], replaced: Mapping[str, Tensor] | None = None) -> Any:
    """A network without these blocks that shares its tensors with the model's, except those that `replaced` gives by
    their names in the model's network.

    Raises ModelError if the architecture cannot be built so.
    """
    module = model.module
    config = shorten_config(module.config, model.n_layers, removed)
    prefix = next(f"{name}." for name, part in module.named_modules() if part is model.layers)  # `model.layers.`
    kept = new_numbers(model.n_layers, removed)
    try:
        with torch.device("meta"):
            new = type(module)(config)
        new.to(next(module.parameters()).dtype)
        parameters = _renumbered(module.state_dict() | dict(replaced or {}), prefix, kept)
        new.load_state_dict(parameters, strict=True, assign=True)
        _take_buffers(new, _renumbered(dict(module.named_buffers()), prefix, kept))
    except (RuntimeError, ValueError, TypeError, KeyError, IndexError, AttributeError) as error:
        reason = " ".join(str(error).split())[:200].rstrip(".")
        raise ModelError(
            "{model} without blocks {removed} cannot be built from its configuration ({reason}).",
            model=model.row.model_id,
            removed=sorted(removed),
            reason=reason,
        ) from error
    new.tie_weights()
    return new.eval().requires_grad_(False)


@torch.inference_mode()
def require_same(model: OpenModel, network: Network, new: Any, removed: Collection[int], ids: Tensor) -> float:
    """The largest difference of logits between skipping these blocks and the network `new` without them, relative to
    the largest logit; ids (n_batch, n_tokens).

    Raises ModelError if it is more than rounding: the architecture then treats blocks by their number.
    """
    with network.hooked():
        skipped = network.logits(ids, without_blocks(removed)).float()
    deleted = new(input_ids=ids, use_cache=False).logits.float()
    difference = float((skipped - deleted).abs().max() / skipped.abs().max().clamp(min=1e-30))
    if not difference <= SAME:
        raise ModelError(
            "{model} cannot be saved without blocks {removed}: {family} treats blocks by number (logits differ by {difference:.1g}).",
            model=model.row.model_id,
            removed=sorted(removed),
            family=model.row.family,
            difference=difference,
        )
    return difference


def _renumbered(tensors: Mapping[str, Tensor], prefix: str, new_number: Mapping[int, int]) -> dict[str, Tensor]:
    """The tensors of kept blocks under their new names, and those outside blocks."""
    renumbered = {}
    for name, tensor in tensors.items():
        match = re.match(rf"{re.escape(prefix)}(\d+)\.", name)
        if match is None:
            renumbered[name] = tensor
        elif (old := int(match[1])) in new_number:
            renumbered[f"{prefix}{new_number[old]}.{name[match.end() :]}"] = tensor
    return renumbered


def _take_buffers(new: nn.Module, buffers: Mapping[str, Tensor]) -> None:
    """Take over buffers that are not in the state dictionary, such as tables of rotary positions."""
    for name, buffer in list(new.named_buffers()):
        if buffer.device.type == "meta":
            owner, _, key = name.rpartition(".")
            new.get_submodule(owner)._buffers[key] = buffers[name]


# --- footprint -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Footprint:
    """Memory and speed of a network on this machine."""

    kv_bytes: float
    """Key-value cache of each token in the dtype of the plan; attention windows are not subtracted."""
    prefill_seconds: float
    """Median time to read the prompt and write one token."""
    generation_seconds: float
    """Median time to write the new tokens after the first."""
    prompt_tokens: int
    new_tokens: int


@torch.inference_mode()
def footprints(modules: Sequence[Any], prompt: Tensor) -> list[Footprint]:
    """Footprints of several networks, timed in turn so that a busy moment affects all of them; prompt (1, n_tokens)."""

    def timed(module: Any) -> tuple[float, float]:
        prefill = _generate(module, prompt, 1)
        return prefill, max(0.0, _generate(module, prompt, NEW_TOKENS + 1) - prefill)

    for module in modules:  # warm up
        _generate(module, prompt, 2)
    times = [[timed(module) for module in modules] for _ in range(REPEATS)]
    return [
        Footprint(_cache_bytes(module, prompt), float(prefill), float(generation), prompt.shape[1], NEW_TOKENS)
        for module, (prefill, generation) in zip(modules, np.median(times, axis=0), strict=True)
    ]


def _generate(module: Any, prompt: Tensor, n_new: int) -> float:
    """Seconds to read the prompt and write n_new tokens greedily."""
    started = time.perf_counter()
    with redirect_stderr(StringIO()):
        module.generate(
            prompt,
            attention_mask=torch.ones_like(prompt),
            max_new_tokens=n_new,
            min_new_tokens=n_new,
            do_sample=False,
            use_cache=True,
        )
    if prompt.device.type == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - started


def _cache_bytes(module: Any, prompt: Tensor) -> float:
    """Bytes that each token adds to the cache, from two lengths."""
    sizes = []
    lengths = (prompt.shape[1] // 4, prompt.shape[1] // 2)
    for length in lengths:
        output = module(input_ids=prompt[:, :length], use_cache=True)
        cache = getattr(output, "cache", None) or getattr(output, "past_key_values", None)
        sizes.append(_tensor_bytes(cache, set()))
    return (sizes[1] - sizes[0]) / max(1, lengths[1] - lengths[0])


def _tensor_bytes(value: Any, seen: set[int]) -> int:
    """Bytes of all tensors in a value, each once, whatever its classes are."""
    if id(value) in seen:
        return 0
    seen.add(id(value))
    if isinstance(value, Tensor):
        return value.numel() * value.element_size()
    if hasattr(value, "__dict__") and not isinstance(value, (Mapping, type)):
        value = vars(value)
    items = value.values() if isinstance(value, Mapping) else value if isinstance(value, (list, tuple)) else ()
    return sum(_tensor_bytes(item, seen) for item in items)


# --- saved model -----------------------------------------------------------------------------------------------------


def require_place(folder: Path, n_bytes: int) -> None:
    """Raises InputError if the folder exists and is not empty, ResourceError if the disk has no room for the model."""
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise InputError(
            "{folder} is there already and not empty. Name another folder with --save-model.", folder=folder
        )
    require_room(n_bytes * 1.05, folder, free_some("--save-model"))


def save_network(new: Any, tokenizer: Any, folder: Path, card: str, plan_id: str) -> None:
    """Save weights as safetensors, configuration, tokenizer and a card; the folder appears whole or not at all.

    Raises InputError if the folder is not empty, ResourceError if it cannot be written.
    """
    require_place(folder, sum(p.numel() * p.element_size() for p in new.parameters()))
    make_folder(folder.absolute().parent)
    with writing(folder), temporary_folder(_purpose(plan_id), folder.absolute().parent) as temporary:
        saved = temporary / folder.name
        saved.mkdir()
        with redirect_stderr(StringIO()):
            new.save_pretrained(saved, safe_serialization=True)
            tokenizer.save_pretrained(saved)
        (saved / CARD).write_text(card, encoding="utf-8")
        if folder.exists():
            folder.rmdir()  # empty: `require_place`
        os.replace(saved, folder)


def check_reproduction(
    folder: Path, device: str, dtype: str, windows: TokenWindows, expected: float, scratch: Path
) -> float:
    """The loss per token of the saved model, opened as any other; weights are streamed if memory is short.

    Raises ModelError if it differs from the verified loss `expected`.
    """
    blueprint = read_blueprint(find_weights(str(folder)), dtype, device, None)
    plan = blueprint.plan(windows.ids.shape[0], windows.ids.shape[1], None)
    model = load_network(blueprint, scratch if plan.on_demand else None)
    loss = Pricer(Network(model), windows, keep=False).scores([])[0].loss_per_token
    if not abs(loss - expected) <= REPRODUCED:
        raise ModelError(
            "The model saved in {folder} has a loss of {found:.5f} nats per token, not {expected:.5f}: it was removed. Please report this.",
            folder=folder,
            found=loss,
            expected=expected,
        )
    return loss


def _purpose(plan_id: str) -> str:
    """What the temporary folder of a plan is called, so that the plan finds what a kill left."""
    return f"model-{plan_id}"


def remove_of_plan(folder: Path, plan_id: str) -> None:
    """Remove a model that this plan saved before it was stopped, whole (its card names the plan) or half written.

    Anything else stays.
    """
    remove_temporary_folders(_purpose(plan_id), folder.absolute().parent)
    card = folder / CARD
    if card.is_file() and f"plan {plan_id}." in card.read_text(encoding="utf-8", errors="replace"):
        shutil.rmtree(folder, ignore_errors=True)


def why_no_mergekit(config: Any, weights: Weights, n_blocks: int, is_healed: bool) -> str | None:
    """Why mergekit would not make this model from a recipe, as a code of core.wording.plans; None if it would.

    mergekit copies the configuration and changes only the number of blocks: a list with an entry for each block would
    keep its length.
    """
    if weights.gguf_file:
        return "gguf"
    if is_healed:
        return "healed"
    try:
        written_config = json.loads((weights.folder / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        written_config = {}
    for name, value in config.to_dict().items():
        is_list = isinstance(value, (list, tuple)) and len(value) == n_blocks and name not in NO_LAYERS
        differs = is_list and len({json.dumps(item, default=str) for item in value}) > 1
        is_written = name in written_config
        if (name in INDEX_LISTS and value) or differs or (is_written and (name in FIRST_BLOCKS or is_list)):
            return "configuration"
    return None


def timing_prompt(model: OpenModel, windows: TokenWindows) -> Tensor:
    """The beginning of the text that generation is timed on, (1, n_tokens); the model has room to write after it."""
    ids = np.concatenate(windows.ids)[None]
    max_length = PROMPT_TOKENS if model.context is None else min(PROMPT_TOKENS, model.context - NEW_TOKENS - 1)
    return torch.from_numpy(ids[:, : max(8, max_length)]).to(model.device)
