"""One run: a small causal language model is trained, stopped and resumed at will, and saved at its checkpoints."""

from __future__ import annotations

import hashlib
import math
import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from transformers import LlamaConfig, LlamaForCausalLM
from transformers.utils import logging

from tests.ladder import text
from tests.ladder.recipes import BATCH, CONTEXT, HEAD, N_BLOCKS, VOCABULARY, Recipe

STATE = "state.pt"
SAVED_EVERY = 100
"""Steps after which a run that is stopped can go on."""
LOSS_EVERY = 25
"""Steps of which the loss curve has the mean."""
BETAS, CLIP, LAST_SHARE = (0.9, 0.95), 1.0, 0.1
"""Of AdamW; largest norm of the gradient; learning rate at the end, as a share of the highest."""

logging.disable_progress_bar()


class Push(Protocol):
    """What pushes weights beside the language loss: one gradient a parameter, added to that of the loss after it is clipped."""

    def watch(self, model: LlamaForCausalLM) -> None:
        """Look at the states of the model's forward passes."""

    def gradients(self, model: LlamaForCausalLM, ids: torch.Tensor, step: int) -> list[torch.Tensor | None]:
        """For each parameter, of the last forward pass, on ids (BATCH, CONTEXT)."""

    def state(self) -> dict[str, Any]:
        """What a process that goes on needs, as plain values."""

    def resume(self, state: dict[str, Any]) -> None:
        """Go on from such a state."""


def new_model(recipe: Recipe) -> LlamaForCausalLM:
    """Llama-style, with tied embeddings: 0.42, 1.43 and 3.02 million parameters at widths of 64, 128 and 192."""
    config = configuration(recipe)
    torch.manual_seed(recipe.seed)
    return LlamaForCausalLM(config)


def configuration(recipe: Recipe) -> LlamaConfig:
    return LlamaConfig(
        vocab_size=VOCABULARY,
        hidden_size=recipe.width,
        intermediate_size=recipe.width * 21 // 8,
        num_hidden_layers=N_BLOCKS,
        num_attention_heads=recipe.width // HEAD,
        num_key_value_heads=recipe.width // HEAD,
        max_position_embeddings=CONTEXT,
        tie_word_embeddings=True,
        bos_token_id=None,
        eos_token_id=0,
        pad_token_id=None,
        use_cache=False,
    )


def learning_rate(recipe: Recipe, step: int) -> float:
    """Rises linearly over the warm-up and falls with a cosine to a tenth at the last step."""
    if step < recipe.warmup:
        return recipe.learning_rate * (step + 1) / recipe.warmup
    done = (step - recipe.warmup) / max(1, recipe.steps - recipe.warmup)
    return recipe.learning_rate * (LAST_SHARE + (1 - LAST_SHARE) * (1 + math.cos(math.pi * done)) / 2)


def train(
    recipe: Recipe,
    rows: np.ndarray,
    folder: Path,
    say: Callable[[str], None] = print,
    until: int | None = None,
    push: Push | None = None,
    make: Callable[[Recipe], LlamaForCausalLM] = new_model,
) -> dict[str, Any]:
    """Train to the end, or `until` a step of the same schedule, and save the checkpoints in `folder`; goes on where an earlier
    process was stopped.

    rows (steps * BATCH, CONTEXT + 1): token ids of the windows in their order. Returns the loss curve (nats per token,
    means of `LOSS_EVERY` steps), and the seconds of computing and on the clock, over all processes.
    """
    model = make(recipe)
    _add_dropout(model, recipe.dropout)
    optimiser = _optimiser(model, recipe)
    state: dict[str, Any] = {"step": 0, "losses": [], "cpu_seconds": 0.0, "wall_seconds": 0.0, "n_processes": 0}
    if push:
        push.watch(model)
    if (folder / STATE).exists():
        state = torch.load(folder / STATE, weights_only=True)
        model.load_state_dict(state.pop("model"))
        optimiser.load_state_dict(state.pop("optimiser"))
        torch.set_rng_state(state.pop("random"))
        if push and "push" in state:  # else it begins here
            push.resume(state.pop("push"))
    state["n_processes"] += 1
    begun_cpu, begun = time.process_time(), time.monotonic()
    before_cpu, before = state["cpu_seconds"], state["wall_seconds"]
    last = recipe.steps if until is None else until
    for step in range(state["step"], last + 1):
        if step in recipe.checkpoints:
            save(model, folder / recipe.folder_of(step))
        if step == recipe.steps or (step % SAVED_EVERY == 0 and step > state["step"]):
            state |= {
                "step": step,
                "cpu_seconds": before_cpu + time.process_time() - begun_cpu,
                "wall_seconds": before + time.monotonic() - begun,
            }
            _save_state(folder, state | ({"push": push.state()} if push else {}), model, optimiser)
            say(f"{recipe.name}: step {step}, loss {np.mean(state['losses'][-LOSS_EVERY:] or math.nan):.3f}")
        if step < last:
            batch = torch.from_numpy(rows[step * BATCH : (step + 1) * BATCH].astype(np.int64))
            pushed = (lambda ids, at=step: push.gradients(model, ids, at)) if push else None
            state["losses"].append(_step(model, optimiser, batch, learning_rate(recipe, step), pushed))
    curve = [float(np.mean(state["losses"][n : n + LOSS_EVERY])) for n in range(0, last, LOSS_EVERY)]
    seconds = {key: round(state[key], 1) for key in ("cpu_seconds", "wall_seconds")}
    return {"loss": [round(value, 4) for value in curve], "n_processes": state["n_processes"], **seconds}


def _step(
    model: LlamaForCausalLM,
    optimiser: torch.optim.Optimizer,
    batch: torch.Tensor,
    rate: float,
    pushed: Callable[[torch.Tensor], list[torch.Tensor | None]] | None = None,
) -> float:
    """One step on (BATCH, CONTEXT + 1) ids; its loss in nats per token."""
    model.train()
    logits = model(batch[:, :-1]).logits
    loss = torch.nn.functional.cross_entropy(logits.flatten(0, 1), batch[:, 1:].flatten())
    optimiser.zero_grad(set_to_none=True)
    beside = pushed(batch[:, :-1]) if pushed else []
    loss.backward()
    torch.nn.utils.clip_grad_norm_(model.parameters(), CLIP)
    for parameter, gradient in zip(model.parameters(), beside, strict=bool(beside)):
        if gradient is not None and parameter.grad is not None:
            parameter.grad += gradient
    for group in optimiser.param_groups:
        group["lr"] = rate
    optimiser.step()
    return loss.item()


def _add_dropout(model: LlamaForCausalLM, share: float) -> None:
    """Llama has none of its own besides attention's: hooks, which are no part of what is saved."""

    def drop(module: torch.nn.Module, _: Any, output: torch.Tensor) -> torch.Tensor:
        return torch.nn.functional.dropout(output, share, module.training)

    if share:
        for block in model.model.layers:
            block.self_attn.o_proj.register_forward_hook(drop)
            block.mlp.down_proj.register_forward_hook(drop)


def _optimiser(model: LlamaForCausalLM, recipe: Recipe) -> torch.optim.AdamW:
    """Weights of norms do not decay."""
    matrices = [p for p in model.parameters() if p.ndim > 1]
    vectors = [p for p in model.parameters() if p.ndim == 1]
    groups = [{"params": matrices, "weight_decay": recipe.weight_decay}, {"params": vectors, "weight_decay": 0.0}]
    return torch.optim.AdamW(groups, lr=recipe.learning_rate, betas=BETAS)


def _save_state(folder: Path, state: dict[str, Any], model: LlamaForCausalLM, optimiser: torch.optim.AdamW) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    new = folder / f"{STATE}.new"
    weights = {"model": model.state_dict(), "optimiser": optimiser.state_dict(), "random": torch.get_rng_state()}
    torch.save(state | weights, new)
    os.replace(new, folder / STATE)


def save(model: LlamaForCausalLM, folder: Path) -> None:
    """The weights, rounded to bfloat16, with configuration and tokenizer; whole or not at all."""
    if folder.exists():
        return
    new = folder.with_name(f"{folder.name}.new")
    shutil.rmtree(new, ignore_errors=True)
    rounded = type(model)(model.config)
    rounded.load_state_dict(model.state_dict())
    rounded.to(torch.bfloat16).save_pretrained(new)
    text.tokenizer().save_pretrained(new)
    new.rename(folder)


def load(folder: Path) -> LlamaForCausalLM:
    """A checkpoint as it is scored and measured: the rounded weights, computed with in float32."""
    return LlamaForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()


def weights_digest(folder: Path) -> str:
    return hashlib.sha256((folder / "model.safetensors").read_bytes()).hexdigest()
