"""A network without some of its blocks: built, compared, timed, saved; and the recipe and the map of it.

The new network is built from a configuration with fewer blocks and takes over the tensors of the old one, so that
whatever an architecture makes of a block's number (a scale, a window, a place in the cache) is made anew. Whether it is
still the same function is tried, not assumed.
"""

from __future__ import annotations

import copy
import json
import os
import re
import shutil
import statistics
import time
from collections.abc import Collection, Mapping, Sequence
from contextlib import redirect_stderr
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from core.errors import InputError, ModelError, ResourceError
from core.files import make_folder, temporary_folder
from core.models.hub import find_weights
from core.models.model import OpenModel, load_network, read_blueprint
from core.models.weights import Weights
from core.plans.pricing import Pricer
from core.plans.variants import Network, without_blocks
from core.texts.sample import TokenWindows

SAME = 1e-4
"""Largest difference of logits, relative to the largest of them, between leaving out and deleting."""
INDEX_LISTS = ("mlp_only_layers", "attn_layer_indices", "full_attn_idxs", "cross_attention_layers", "global_layers")
"""Settings that list numbers of blocks."""
FIRST_BLOCKS = ("max_window_layers", "first_k_dense_replace")
"""Settings that count blocks from the first one on."""
NO_LAYERS = ("architectures", "eos_token_id", "bos_token_id", "pad_token_id", "bad_words_ids", "suppress_tokens")
"""Lists of a configuration that may be as long as it has layers and are about something else."""
PRECISIONS = {"float32": 4.0, "bfloat16": 2.0, "int8": 1.0, "int4": 0.5}
"""Bytes of a weight; of the integers without their scales, which depend on the method."""
REPRODUCED = 1e-4
"""Nats per token by which a saved model's loss may differ from the one that was verified."""
REPEATS = 3
PROMPT_TOKENS, NEW_TOKENS = 256, 16
CARD = "README.md"


def kept_blocks(n_blocks: int, removed: Collection[int]) -> list[int]:
    """Numbers of the blocks that stay, in their order."""
    return [index for index in range(n_blocks) if index not in removed]


def shorten_config(config: Any, n_blocks: int, removed: Collection[int]) -> Any:
    """The configuration of the network without these blocks; lists with an entry for each block are cut with them."""
    kept = kept_blocks(n_blocks, removed)
    number = {old: new for new, old in enumerate(kept)}
    settings = config.to_dict()
    changed: dict[str, Any] = {}
    for name, value in settings.items():
        if name in INDEX_LISTS and isinstance(value, (list, tuple)):
            changed[name] = [number[index] for index in value if index in number]
        elif name in FIRST_BLOCKS and isinstance(value, int):
            changed[name] = sum(index < value for index in kept)
        elif isinstance(value, (list, tuple)) and len(value) == n_blocks and name not in NO_LAYERS:
            changed[name] = [value[index] for index in kept]
    counted = config.attribute_map.get("num_hidden_layers", "num_hidden_layers")
    settings |= changed | {counted: len(kept)}
    settings.pop("quantization_config", None)
    new = type(config).from_dict(copy.deepcopy(settings))
    new._attn_implementation = config._attn_implementation
    return new


def delete_blocks(model: OpenModel, removed: Collection[int], changed: Mapping[str, Tensor] | None = None) -> Any:
    """A network without these blocks, which shares its tensors with the model's, but for those in `changed`, by their
    names in the model's network.

    Raises ModelError where the architecture makes no such network, or one that computes something else.
    """
    module = model.module
    config = shorten_config(module.config, model.n_layers, removed)
    prefix = block_prefix(module, model.layers)
    kept = kept_blocks(model.n_layers, removed)
    number = {old: new for new, old in enumerate(kept)}
    try:
        with torch.device("meta"):
            new = type(module)(config)
        new.to(next(module.parameters()).dtype)
        parameters = _renumbered(module.state_dict() | dict(changed or {}), prefix, number)
        new.load_state_dict(parameters, strict=True, assign=True)
        _take_buffers(new, _renumbered(dict(module.named_buffers()), prefix, number))
    except (RuntimeError, ValueError, TypeError, KeyError, IndexError, AttributeError) as error:
        reason = " ".join(str(error).split())[:200].rstrip(".")
        raise ModelError(
            "{model} without blocks {removed} cannot be built from its configuration ({reason}).",
            model=model.row.model_id,
            removed=_listed(removed),
            reason=reason,
        ) from error
    new.tie_weights()
    return new.eval().requires_grad_(False)


@torch.inference_mode()
def require_same(model: OpenModel, network: Network, new: Any, removed: Collection[int], ids: Tensor) -> float:
    """The largest difference between leaving these blocks out and having none of them, relative to the logits.

    Raises ModelError where it is more than rounding: a setting of the configuration goes by the number of a block.
    """
    with network.hooked():
        skipped = network.logits(ids, without_blocks(removed)).float()
    deleted = new(input_ids=ids, use_cache=False).logits.float()
    difference = float((skipped - deleted).abs().max() / skipped.abs().max().clamp(min=1e-30))
    if not difference <= SAME:
        raise ModelError(
            "{model} computes something else once blocks {removed} are deleted: its architecture ({family}) "
            "treats blocks by their number, and no configuration says which number they had (largest difference "
            "{difference:.1g} of the logits). It can be planned, not saved.",
            model=model.row.model_id,
            removed=_listed(removed),
            family=model.row.family,
            difference=difference,
        )
    return difference


def block_prefix(module: nn.Module, blocks: nn.ModuleList) -> str:
    """`model.layers.`, before the number of a block in the names of its tensors."""
    return next(f"{name}." for name, part in module.named_modules() if part is blocks)


def _renumbered(tensors: Mapping[str, Tensor], prefix: str, number: Mapping[int, int]) -> dict[str, Tensor]:
    found = {}
    for name, tensor in tensors.items():
        of_block = re.match(rf"{re.escape(prefix)}(\d+)\.", name)
        if of_block is None:
            found[name] = tensor
        elif (old := int(of_block[1])) in number:
            found[f"{prefix}{number[old]}.{name[of_block.end() :]}"] = tensor
    return found


def _take_buffers(new: nn.Module, buffers: Mapping[str, Tensor]) -> None:
    """Buffers that no state dictionary holds, as the tables of rotary positions."""
    for name, buffer in list(new.named_buffers()):
        if buffer.device.type == "meta":
            owner, _, key = name.rpartition(".")
            new.get_submodule(owner)._buffers[key] = buffers[name]


def _listed(blocks: Collection[int]) -> str:
    return ", ".join(map(str, sorted(blocks)))


# --- what it takes ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Footprint:
    """What a network takes here."""

    parameters: int
    kv_bytes_per_token: float
    """Of the cache of generation, at the dtype that is measured in; windows of attention not counted off."""
    prefill_seconds: float
    """Median of three readings of the same prompt."""
    generation_seconds: float
    """Median of three times as many tokens written after it."""
    prompt_tokens: int
    new_tokens: int


@torch.inference_mode()
def footprints(modules: Sequence[Any], prompt: Tensor, n_new: int = NEW_TOKENS) -> list[Footprint]:
    """Of several networks, measured by turns so that a busy moment hits all of them. prompt (1, n_tokens)."""
    times: list[tuple[list[float], list[float]]] = [([], []) for _ in modules]
    for module in modules:  # code and memory are made ready
        _generate(module, prompt, 2)
    for _ in range(REPEATS):
        for module, (reading, writing) in zip(modules, times, strict=True):
            one = _generate(module, prompt, 1)
            reading.append(one)
            writing.append(max(0.0, _generate(module, prompt, n_new + 1) - one))
    return [
        Footprint(
            n_parameters(module),
            _cache_bytes(module, prompt),
            statistics.median(reading),
            statistics.median(writing),
            prompt.shape[1],
            n_new,
        )
        for module, (reading, writing) in zip(modules, times, strict=True)
    ]


def n_parameters(module: Any) -> int:
    return sum(p.numel() for p in module.parameters())


def _generate(module: Any, prompt: Tensor, n_new: int) -> float:
    started = time.perf_counter()
    with redirect_stderr(open(os.devnull, "w", encoding="utf-8")):
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
    """Bytes that a further token adds to the cache, from two lengths."""
    sizes = []
    lengths = (prompt.shape[1] // 4, prompt.shape[1] // 2)
    for n in lengths:
        output = module(input_ids=prompt[:, :n], use_cache=True)
        cache = getattr(output, "cache", None) or getattr(output, "past_key_values", None)
        sizes.append(_bytes(cache, set()))
    return (sizes[1] - sizes[0]) / max(1, lengths[1] - lengths[0])


def _bytes(value: Any, seen: set[int]) -> int:
    """Of all tensors that a cache holds, whatever it calls them."""
    if id(value) in seen:
        return 0
    seen.add(id(value))
    if isinstance(value, Tensor):
        return value.numel() * value.element_size()
    if isinstance(value, Mapping):
        return sum(_bytes(one, seen) for one in value.values())
    if isinstance(value, (list, tuple)):
        return sum(_bytes(one, seen) for one in value)
    if hasattr(value, "__dict__") and not isinstance(value, type):
        return sum(_bytes(one, seen) for one in vars(value).values())
    return 0


# --- a folder that transformers loads --------------------------------------------------------------------------------


def require_place(folder: Path, n_bytes: int) -> None:
    """Raises InputError where something is there already, ResourceError where the disk has no room for the model."""
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise InputError(
            "{folder} is there already and not empty. Name another folder with --save-model.", folder=folder
        )
    above = next(path for path in (folder.absolute(), *folder.absolute().parents) if path.exists())
    free = shutil.disk_usage(above).free
    if free < n_bytes * 1.05:
        raise ResourceError(
            "The saved model needs {needed:,.1f} MB in {folder}; {free:,.1f} MB is free. Free some, or name a "
            "folder on another disk.",
            needed=n_bytes / 1e6,
            folder=folder,
            free=free / 1e6,
        )


def save_network(new: Any, tokenizer: Any, folder: Path, card: str) -> None:
    """Weights as safetensors, configuration, tokenizer and a card; the folder appears whole or not at all."""
    require_place(folder, sum(p.numel() * p.element_size() for p in new.parameters()))
    make_folder(folder.absolute().parent)
    try:
        with temporary_folder("model", folder.absolute().parent) as place:
            made = place / folder.name
            made.mkdir()
            with redirect_stderr(open(os.devnull, "w", encoding="utf-8")):
                new.save_pretrained(made, safe_serialization=True)
                tokenizer.save_pretrained(made)
            (made / CARD).write_text(card, encoding="utf-8")
            if folder.exists():
                folder.rmdir()  # it is empty
            os.replace(made, folder)
    except OSError as error:
        raise ResourceError(
            "The model cannot be saved in {folder}: {reason}.", folder=folder, reason=error.strerror or error
        ) from error


def check_reproduction(
    folder: Path, device: str, dtype: str, windows: TokenWindows, expected: float, scratch: Path
) -> float:
    """The loss per token of the saved model, opened as any other; raises ModelError where it is not the verified one.

    What is too large to be there twice is read block by block.
    """
    blueprint = read_blueprint(find_weights(str(folder)), dtype, device, None)
    plan = blueprint.plan(windows.ids.shape[0], windows.ids.shape[1], None)
    model = load_network(blueprint, scratch if plan.on_demand else None)
    found = Pricer(Network(model), windows, keep=False).scores([])[0].loss_per_token
    if not abs(found - expected) <= REPRODUCED:
        raise ModelError(
            "The model that was saved in {folder} has a loss of {found:.5f} nats per token where {expected:.5f} "
            "was verified: it was removed again. Please report this with the name of the model.",
            folder=folder,
            found=found,
            expected=expected,
        )
    return found


def remove_saved(folder: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)


def remove_of_plan(folder: Path, plan_id: str) -> None:
    """What this very plan has saved before it was stopped: its card names it. Anything else is left as it is."""
    card = folder / CARD
    if card.is_file() and f"plan {plan_id}." in card.read_text(encoding="utf-8", errors="replace"):
        remove_saved(folder)


def why_no_mergekit(config: Any, weights: Weights, n_blocks: int, is_healed: bool) -> str | None:
    """Why mergekit would not make this model of a recipe, as a code that core.wording.plans knows; None where it would.

    It copies the configuration and sets the number of blocks alone: a setting for each block would stay as long as it was.
    """
    if weights.gguf_file:
        return "gguf"
    if is_healed:
        return "healed"
    written = _config_on_disk(weights)
    for name, value in config.to_dict().items():
        if (name in FIRST_BLOCKS and name in written) or (name in INDEX_LISTS and value):
            return "counts_blocks"
        if isinstance(value, (list, tuple)) and len(value) == n_blocks and name not in NO_LAYERS:
            if len({json.dumps(one, default=str) for one in value}) > 1:
                return "blocks_differ"
            if name in written:
                return "list_uncut"
    return None


def _config_on_disk(weights: Weights) -> Mapping[str, Any]:
    try:
        return json.loads((weights.folder / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}


def timing_prompt(model: OpenModel, windows: TokenWindows) -> Tensor:
    """(1, n_tokens) of the text, as long as the model has room to write after."""
    ids = np.concatenate(windows.ids)[None]
    longest = PROMPT_TOKENS if model.context is None else min(PROMPT_TOKENS, model.context - NEW_TOKENS - 1)
    return torch.from_numpy(ids[:, : max(8, longest)]).to(model.device)
