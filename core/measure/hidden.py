"""One forward pass that spills every layer's hidden states to a scratch file.

Forward hooks write each layer's output to a memory-mapped file as it is computed, so that no
layers x tokens x hidden-size tensor is ever held in memory; the geometry reads it back one layer at a time.
"""

from __future__ import annotations

import math
import shutil
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from core.errors import ModelError, ResourceError
from core.measure.models import OpenModel
from core.measure.sample import TokenSample
from core.records import Progress, ProgressCallback

LOGIT_BUDGET = 192 * 2**20
"""Bytes of logits that one batch may produce: they are the largest tensor of the pass."""
MAX_BATCH = 8
"""Sequences per batch: larger ones are no faster on a CPU and only take memory."""


@dataclass(frozen=True)
class HiddenStates:
    """States of all sampled tokens: layer 0 (embedding output) to L (output of block L), then the post-norm one."""

    states: np.memmap
    """(n_states, n_sequences * n_tokens, hidden_size) float32 on disk"""
    norms: np.ndarray
    """(n_states, n_sequences * n_tokens)"""
    n_layers: int
    has_post_norm: bool
    bits_per_byte: float | None

    @property
    def labels(self) -> list[tuple[int, str]]:
        """(layer, state) of each entry."""
        residual = [(layer, "residual") for layer in range(self.n_layers + 1)]
        return residual + ([(self.n_layers, "post_norm")] if self.has_post_norm else [])


def capture(model: OpenModel, sample: TokenSample, scratch: Path, progress: ProgressCallback) -> HiddenStates:
    """Run the model over all windows; `scratch` is a folder for the states file, which is the caller's to delete.

    Raises ResourceError where the disk lacks room, ModelError for hidden states that are not finite.
    """
    n_sequences, n_tokens = sample.ids.shape
    if sample.ids.max() >= model.vocabulary_size:
        raise ModelError(
            f"The tokenizer of {model.row.model_id} gives token {sample.ids.max()}, but the model knows "
            f"{model.vocabulary_size}: they do not belong together. Check the folder."
        )
    if model.context and n_tokens > model.context:
        raise ModelError(
            f"{model.row.model_id} reads at most {model.context} tokens at once; the protocol's windows have "
            f"{n_tokens}. Choose another model or protocol."
        )
    shape = (model.n_layers + 2, n_sequences * n_tokens, model.hidden_size)
    _need_room(scratch, math.prod(shape) * 4)
    states = np.lib.format.open_memmap(scratch / "states.npy", mode="w+", dtype=np.float32, shape=shape)
    batch = min(MAX_BATCH, max(1, LOGIT_BUDGET // (4 * n_tokens * model.vocabulary_size)))
    loss, post_norm_differs = 0.0, False
    with torch.inference_mode(), _spilling(model, states) as position:
        for start in range(0, n_sequences, batch):
            progress(Progress("forward", start, n_sequences))
            ids = torch.from_numpy(sample.ids[start : start + batch]).to(model.device)
            position["row"] = start * n_tokens
            last, batch_loss = model.forward(ids)
            rows = slice(start * n_tokens, (start + len(ids)) * n_tokens)
            states[-1, rows] = last.flatten(0, 1).float().cpu().numpy()
            post_norm_differs |= not np.array_equal(states[-1, rows], states[-2, rows])
            loss += batch_loss
    progress(Progress("forward", n_sequences, n_sequences))
    norms = np.stack([_finite_norms(states[i], i, model) for i in range(len(states))])
    bits = loss / (math.log(2) * sample.n_bytes_scored) if model.is_causal and sample.n_bytes_scored else None
    return HiddenStates(states, norms, model.n_layers, post_norm_differs, bits)


@contextmanager
def _spilling(model: OpenModel, states: np.memmap) -> Iterator[dict[str, int]]:
    """Hooks on the layers; the yielded dict's `row` says where the current batch begins."""
    position = {"row": 0}
    n_tokens, hidden_size = states.shape[1:]
    written = np.zeros(model.n_layers + 1, dtype=np.int64)

    def write(index: int, state: Tensor) -> None:
        if state.shape[-1] != hidden_size:
            raise ModelError(
                f"Layer {index} of {model.row.model_id} is {state.shape[-1]} wide, not {hidden_size}: models whose "
                "width changes are not measured."
            )
        written[index] += state.shape[0] * state.shape[1]
        flat = state.flatten(0, 1).float().cpu().numpy()  # (n_batch * n_tokens, hidden_size)
        states[index, position["row"] : position["row"] + len(flat)] = flat

    def before_first(_module: nn.Module, arguments: tuple, keywords: dict) -> None:
        write(0, arguments[0] if arguments else keywords["hidden_states"])

    def after(index: int):
        return lambda _module, _arguments, output: write(index, output[0] if isinstance(output, tuple) else output)

    with ExitStack() as hooks:
        handles = [model.layers[0].register_forward_pre_hook(before_first, with_kwargs=True)]
        handles += [layer.register_forward_hook(after(i + 1)) for i, layer in enumerate(model.layers)]
        for handle in handles:
            hooks.callback(handle.remove)
        yield position
    if (written != n_tokens).any():
        layer = int(np.argmax(written != n_tokens))
        raise ModelError(
            f"Layer {layer} of {model.row.model_id} gave {written[layer]} of {n_tokens} tokens: its blocks are not run "
            "one after the other, which is not measured."
        )


def _finite_norms(state: np.ndarray, index: int, model: OpenModel) -> np.ndarray:
    norms = np.sqrt(np.einsum("td,td->t", state, state, dtype=np.float32))
    if not np.isfinite(norms).all():
        layer = min(index, model.n_layers)
        raise ModelError(
            f"Layer {layer} of {model.row.model_id} has {int((~np.isfinite(norms)).sum())} tokens with infinite or "
            f"missing values in {model.dtype}. Measure again with --dtype float32."
        )
    return norms


def _need_room(folder: Path, n_bytes: int) -> None:
    free = shutil.disk_usage(folder).free
    if free < n_bytes * 1.05:
        raise ResourceError(
            f"The hidden states need {n_bytes / 1e9:.2f} GB of scratch space in {folder}; {free / 1e9:.2f} GB is free. "
            "Free some space, or put the warehouse on another disk with --warehouse."
        )
