"""What each layer's state already tells of the next token: the model's own final norm and head read it as if it were the last.

Known as the logit lens (nostalgebraist 2020). No block runs again: the network is called with its blocks replaced by ones that
return at once, the last of them with the state of the layer that is read, so that whatever an architecture does to its
logits (scaling, soft caps) counts.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from core.measure.capture import HiddenStates
from core.models.memory import LOSS_ROWS
from core.models.model import OpenModel
from core.models.stacks import input_state
from core.texts.sample import TokenSample

TOLERANCE = 0.02
"""Largest mean difference in nats between the loss of the pass and what is read at the last layer: rounding in half precision."""


def choose_targets(sample: TokenSample, nats: np.ndarray, n_targets: int) -> np.ndarray:
    """Predicted tokens, all if there are fewer, the same for every run on this sample; (n_targets, 2): window and position.

    nats (n_sequences, n_tokens) is NaN where a token is no target.
    """
    places = np.argwhere(np.isfinite(nats))
    order = np.random.default_rng(sample.ids.shape).permutation(len(places))
    return places[np.sort(order[:n_targets])]


@torch.inference_mode()
def read_losses(model: OpenModel, sample: TokenSample, states: HiddenStates, n_targets: int) -> np.ndarray | None:
    """Loss in nats of the chosen targets, read at each layer; (n_layers + 1, n_targets) float32.

    None for a model that predicts no next token, for one that is streamed, as its weights would be read once more, and
    for an architecture that cannot be read like this: what is read at the last layer must be the loss of the pass.
    """
    if states.nats is None or model.units or not n_targets:
        return None
    targets = choose_targets(sample, states.nats, n_targets)
    n_tokens = sample.ids.shape[1]
    # A state is laid into windows of the usual size, whose ids only give it its shape: nothing mixes tokens any more.
    rows = np.resize(targets, (math.ceil(len(targets) / n_tokens) * n_tokens, 2))
    before = rows[:, 0] * n_tokens + rows[:, 1] - 1  # the state that predicts a token is the one before it
    wanted = torch.from_numpy(sample.ids[rows[:, 0], rows[:, 1]]).to(model.device)
    ids = torch.from_numpy(sample.ids[: len(rows) // n_tokens]).to(model.device)

    def read(layer: int) -> Tensor:
        points = states.points(layer, before).to(model.device, next(model.module.parameters()).dtype)
        windows = points.reshape(*ids.shape, -1)
        losses = []
        for some, state, tokens in zip(
            *(of.split(states.batch or 1) for of in (ids, windows, wanted.view(ids.shape))), strict=True
        ):
            with _blocks_replaced(model, forms, state):
                logits = model.module(input_ids=some, use_cache=False).logits.flatten(0, 1)
            # In slices, as the pass does: a softmax of all logits would take their memory again.
            for of, is_next in zip(logits.split(LOSS_ROWS), tokens.flatten().split(LOSS_ROWS), strict=True):
                losses.append(nn.functional.cross_entropy(of.float(), is_next, reduction="none"))
        return torch.cat(losses)[: len(targets)].float().cpu()

    forms = _forms(model, ids[:1, :1])
    found = torch.stack([read(layer) for layer in range(states.n_layers + 1)]).numpy()
    of_pass = states.nats[targets[:, 0], targets[:, 1]]
    return found if float(np.abs(found[-1] - of_pass).mean()) <= TOLERANCE else None


def _forms(model: OpenModel, ids: Tensor) -> list[int]:
    """For each block, the length of the tuple that it returns; 0 for a tensor. ids (1, 1)."""
    lengths: list[int] = []

    def keep(_module: nn.Module, _given: Any, output: Any) -> None:
        lengths.append(len(output) if isinstance(output, tuple) else 0)

    with ExitStack() as hooks:
        for block in model.layers:
            hooks.callback(block.register_forward_hook(keep).remove)
        model.module(input_ids=ids, use_cache=False)
    return lengths


@contextmanager
def _blocks_replaced(model: OpenModel, forms: list[int], last: Tensor) -> Iterator[None]:
    """Blocks return their input meanwhile, the last one `last` (n_batch, n_tokens, hidden_size)."""

    def returning(index: int) -> Callable[..., Any]:
        def forward(*arguments: Any, **keywords: Any) -> Any:
            state = last if index == len(forms) - 1 else input_state(arguments, keywords)
            return (state, *(None,) * (forms[index] - 1)) if forms[index] else state

        return forward

    with ExitStack() as undo:
        for index, block in enumerate(model.layers):
            own = block.__dict__.get("forward")  # accelerate puts its own there
            undo.callback(_restore, block, own)
            block.forward = returning(index)
        yield


def _restore(block: nn.Module, own: Any) -> None:
    if own is None:
        del block.__dict__["forward"]
    else:
        block.forward = own
