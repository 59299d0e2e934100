"""A network without some of its blocks, as its own configuration makes it: what is saved, and what is timed.

The new network is built from a configuration with fewer blocks and takes over the tensors of the old one, so that
whatever an architecture makes of a block's number (a scale, a window, a place in the cache) is made anew. Whether it is
still the same function is tried, not assumed.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Collection, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from core.errors import ModelError
from core.models.model import OpenModel
from core.plans.variants import Network, without

SAME = 1e-4
"""Largest difference of logits, relative to the largest of them, between leaving out and deleting."""
INDEX_LISTS = ("mlp_only_layers", "attn_layer_indices", "full_attn_idxs", "cross_attention_layers", "global_layers")
"""Settings that list numbers of blocks."""
FIRST_BLOCKS = ("max_window_layers", "first_k_dense_replace")
"""Settings that count blocks from the first one on."""
NO_LAYERS = ("architectures", "eos_token_id", "bos_token_id", "pad_token_id", "bad_words_ids", "suppress_tokens")
"""Lists of a configuration that may be as long as it has layers and are about something else."""


def kept_blocks(n_blocks: int, removed: Collection[int]) -> list[int]:
    """Numbers of the blocks that stay, in their order."""
    return [index for index in range(n_blocks) if index not in removed]


def shortened(config: Any, n_blocks: int, removed: Collection[int]) -> Any:
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
    config = shortened(module.config, model.n_layers, removed)
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
            f"{model.row.model_id} without blocks {_listed(removed)} cannot be built from its configuration ({reason})."
        ) from error
    new.tie_weights()
    return new.eval().requires_grad_(False)


@torch.inference_mode()
def require_same(model: OpenModel, network: Network, new: Any, removed: Collection[int], ids: Tensor) -> float:
    """The largest difference between leaving these blocks out and having none of them, relative to the logits.

    Raises ModelError where it is more than rounding: a setting of the configuration goes by the number of a block.
    """
    with network.hooked():
        skipped = network.logits(ids, without(removed)).float()
    deleted = new(input_ids=ids, use_cache=False).logits.float()
    difference = float((skipped - deleted).abs().max() / skipped.abs().max().clamp(min=1e-30))
    if not difference <= SAME:
        raise ModelError(
            f"{model.row.model_id} computes something else once blocks {_listed(removed)} are deleted: its "
            f"architecture ({model.row.family}) treats blocks by their number, and no configuration says which "
            f"number they had (largest difference {difference:.1g} of the logits). It can be planned, not saved."
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


def runs_of(blocks: Collection[int]) -> list[tuple[int, int]]:
    """Contiguous stretches of blocks as half-open pairs (first, one past the last), in order."""
    runs: list[tuple[int, int]] = []
    for index in sorted(blocks):
        if runs and runs[-1][1] == index:
            runs[-1] = (runs[-1][0], index + 1)
        else:
            runs.append((index, index + 1))
    return runs
