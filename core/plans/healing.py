"""Healing without training: what a gap leaves behind is fitted by one matrix and merged into a weight that is there.

After the last block before a gap, the stream is Y + M, with M what that block's MLP adds. A matrix T is fitted so that
Y + M T comes as near as it can to L, the whole network's state after the gap, each token counted by 1 / |L|^2
(ReplaceMe, arXiv 2505.02819, chooses the same place by cosine). The penalty draws T to the identity, not to zero: what
the text does not decide stays as it was. Gaps are healed from the first on, each with those before it healed, because
what comes out of one is what goes into the next.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from core.plans.pricing import ReportPasses
from core.plans.variants import MLP, WHOLE, Network, States, Variant, output_axis
from core.records import stretches
from core.texts.sample import TokenWindows

PENALTIES = tuple(10.0**power for power in range(-5, 2))
"""In units of the mean eigenvalue; that which fits windows best that were not fitted to is taken."""
HELD_BACK = 4
"""Every so manieth window chooses the penalty."""
LEAST_TOKENS = 8192


@dataclass(frozen=True)
class Healing:
    matrices: dict[int, np.ndarray]
    """Block -> what its MLP's output is multiplied with, from the right; (hidden_size, hidden_size) float32"""
    n_tokens: int
    remaining_errors: list[float]
    """For each gap: the share of the squared error that is left, on windows that were not fitted to."""

    def variant(self, removed: Collection[int], device: torch.device) -> Variant:
        matrices = {block: torch.from_numpy(m).to(device) for block, m in self.matrices.items()}
        return Variant(blocks=frozenset(removed), healed=matrices)


def why_no_healing(network: Network, removed: Collection[int], ids: Tensor, n_tokens: int) -> str | None:
    """Why this plan cannot be healed, as a code that core.wording.plans knows; None where it can.

    ids (n_batch, n_tokens): a short text to try it on.
    """
    if 0 in removed:
        return "first_block"
    if network.model.units:
        return "streamed"
    if n_tokens < LEAST_TOKENS:
        return "short_text"
    return network.why_no_healing(ids, [first - 1 for first, _ in stretches(removed)])


@torch.inference_mode()
def fit_healing(
    network: Network, windows: TokenWindows, removed: Collection[int], report: ReportPasses = lambda done: None
) -> Healing:
    """One matrix for each gap, fitted on windows of the selection text."""
    device, gaps = network.model.device, stretches(removed)
    matrices: dict[int, Tensor] = {}
    remaining_errors = []
    for number, (first, after) in enumerate(gaps):
        block = first - 1
        so_far = Variant(blocks=frozenset(removed), healed=dict(matrices))
        parts = [_NormalEquations(network.model.hidden_size, device) for _ in range(2)]
        with network.hooked():
            for window in range(len(windows.ids)):
                ids = torch.from_numpy(windows.ids[window : window + 1]).to(device)
                parts[window % HELD_BACK == HELD_BACK - 1].add(*_states(network, ids, so_far, block, after))
                report((number + (window + 1) / len(windows.ids)) / len(gaps))
        fitted, held_back = parts
        # Fewer windows than are held back leave none to choose by.
        chosen = min(PENALTIES, key=lambda p: held_back.error(fitted.solve(p))) if held_back.n else PENALTIES[3]
        remaining_errors.append(
            held_back.error(fitted.solve(chosen)) / max(held_back.total, 1e-300) if held_back.n else math.nan
        )
        change = fitted.combined_with(held_back).solve(chosen)
        matrices[block] = (torch.eye(len(change), dtype=change.dtype, device=device) + change).float()
    return Healing({block: m.cpu().numpy() for block, m in matrices.items()}, windows.ids.size, remaining_errors)


def _states(network: Network, ids: Tensor, so_far: Variant, block: int, after: int) -> tuple[Tensor, Tensor]:
    """What the MLP before a gap adds, and what is missing behind it, each token weighted; (n_tokens, hidden_size)."""
    whole, cut = States(frozenset({after})), States(frozenset({block + 1}))
    made: dict[tuple[str, int], Tensor] = {}
    network.states_only(ids, WHOLE, start=0, before=None, keep=whole)
    network.states_only(ids, so_far, start=0, before=None, keep=cut, sublayers=made)
    wanted, found = whole.states[after].flatten(0, 1).float(), cut.states[block + 1].flatten(0, 1).float()
    added = made[MLP, block].reshape(found.shape).float()
    weight = 1 / torch.linalg.vector_norm(wanted, dim=1, keepdim=True).clamp(min=1e-12)
    return added * weight, (wanted - found) * weight


class _NormalEquations:
    """The normal equations of |M X - R|^2, summed over tokens, in double precision."""

    def __init__(self, n: int, device: torch.device) -> None:
        # Apple's GPU has no double precision.
        at = torch.device("cpu") if device.type == "mps" else device
        self.gram = torch.zeros(n, n, dtype=torch.float64, device=at)
        self.cross = torch.zeros(n, n, dtype=torch.float64, device=at)
        self.total, self.n = 0.0, 0

    def add(self, left: Tensor, right: Tensor) -> None:
        left, right = left.to(self.gram.device), right.to(self.gram.device)
        self.gram += (left.T @ left).double()
        self.cross += (left.T @ right).double()
        self.total += float(right.square().sum())
        self.n += len(left)

    def combined_with(self, other: _NormalEquations) -> _NormalEquations:
        both = _NormalEquations(len(self.gram), self.gram.device)
        both.gram, both.cross = self.gram + other.gram, self.cross + other.cross
        both.total, both.n = self.total + other.total, self.n + other.n
        return both

    def solve(self, penalty: float) -> Tensor:
        size = penalty * float(self.gram.diagonal().mean()) + 1e-300
        eye = torch.eye(len(self.gram), dtype=self.gram.dtype, device=self.gram.device)
        return torch.linalg.solve(self.gram + size * eye, self.cross)

    def error(self, change: Tensor) -> float:
        """|M X - R|^2 of a solution, from the sums alone."""
        return float((change * (self.gram @ change)).sum() - 2 * (change * self.cross).sum()) + self.total


def merge_into_weights(network: Network, matrices: Mapping[int, Any]) -> dict[str, Tensor]:
    """The weights, by their names in the network, that give what the healed variant gives."""
    names = {id(parameter): name for name, parameter in network.model.module.named_parameters()}
    changed = {}
    for block, matrix in matrices.items():
        module = network.sublayers[MLP, block].module
        weight: Tensor = module.weight  # type: ignore[assignment]
        turn = torch.as_tensor(matrix, dtype=torch.float64)
        product = weight.detach().cpu().double()
        product = product @ turn if output_axis(module) else turn.T @ product
        changed[names[id(weight)]] = product.to(weight.device, weight.dtype)
        bias = getattr(module, "bias", None)
        if bias is not None:
            changed[names[id(bias)]] = (bias.detach().cpu().double() @ turn).to(bias.device, bias.dtype)
    return changed
