"""Repair without training: a least-squares matrix makes up for each gap and is merged into an existing weight.

After the last block before a gap, the residual stream is Y + M, with M the output of that block's MLP. A matrix T is
fitted so that Y + M T is as close as possible to L, the whole network's state after the gap, each token weighted by
1 / |L|^2 (ReplaceMe, arXiv 2505.02819, fits at the same place, by cosine). The ridge penalty draws T to the identity, not
to zero: directions that the text does not determine stay as they were. Gaps are healed in order, each with the earlier
ones healed, because the output of one is the input of the next.

Where a norm stands between MLP and stream (Gemma) no matrix passes. There the stream after each gap is multiplied by one
number, the mean over tokens of |L| / |Y + M| (after Prune&Comp, arXiv 2507.18212). Whatever is added later is divided by it
instead, in the weights of these norms: the next norm sees no difference.
"""

from __future__ import annotations

import math
from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.func import functional_call

from core.plans.pricing import ReportPasses
from core.plans.variants import ATTENTION, MLP, WHOLE, Network, Scaling, States, Variant, differs, output_axis
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
    network: Network, windows: TokenWindows, removed: Collection[int], report: ReportPasses = lambda done: None
) -> Healing:
    """One factor for each gap that has a block behind it, without position 0, whose norm is its own."""
    scales: dict[int, float] = {}
    gaps = [(start, end) for start, end in stretches(removed) if end < network.n_blocks]
    for gap, (start, end) in enumerate(gaps):
        so_far, ratios = Healing({}, 0, dict(scales)).variant(removed, network), []
        with network.hooked():
            for window in range(len(windows.ids)):
                ids = torch.from_numpy(windows.ids[window : window + 1]).to(network.model.device)
                target, current = States(frozenset({end})), States(frozenset({start}))
                network.states_only(ids, WHOLE, target)
                network.states_only(ids, so_far, current)
                norms = [
                    torch.linalg.vector_norm(state.float(), dim=-1)[:, 1:]
                    for state in (target.states[end], current.states[start])
                ]
                ratios.append(norms[0] / norms[1].clamp(min=1e-12))
                report((gap + (window + 1) / len(windows.ids)) / len(gaps))
        scales[start] = float(torch.cat(ratios).mean())
    return Healing({}, windows.ids.size, scales)


@torch.inference_mode()
def fit_healing(
    network: Network, windows: TokenWindows, removed: Collection[int], report: ReportPasses = lambda done: None
) -> Healing:
    """Fit one matrix for each gap, on windows of the selection text."""
    device, gaps = network.model.device, stretches(removed)
    matrices: dict[int, Tensor] = {}
    for gap, (start, end) in enumerate(gaps):
        block = start - 1
        healed_so_far = Variant(blocks=frozenset(removed), healed=dict(matrices))
        equations = [_NormalEquations(network.model.hidden_size, device) for _ in range(2)]
        with network.hooked():
            for window in range(len(windows.ids)):
                ids = torch.from_numpy(windows.ids[window : window + 1]).to(device)
                equations[window % HELD_BACK == HELD_BACK - 1].add(*_states(network, ids, healed_so_far, block, end))
                report((gap + (window + 1) / len(windows.ids)) / len(gaps))
        fitted, held_back = equations
        # Too few windows: none was held back to choose by.
        penalty = min(PENALTIES, key=lambda p: held_back.error(fitted.solve(p))) if held_back.n else PENALTIES[3]
        fitted.gram += held_back.gram
        fitted.cross += held_back.cross
        change = fitted.solve(penalty)
        matrices[block] = (torch.eye(len(change), dtype=change.dtype, device=device) + change).float()
    return Healing({block: m.cpu().numpy() for block, m in matrices.items()}, windows.ids.size)


def _states(network: Network, ids: Tensor, variant: Variant, block: int, end: int) -> tuple[Tensor, Tensor]:
    """Weighted output of the MLP before a gap, and weighted error of the state after it; both (n_tokens, hidden_size)."""
    target, current = States(frozenset({end})), States(frozenset({block + 1}))
    sublayers: dict[tuple[str, int], Tensor] = {}
    network.states_only(ids, WHOLE, target)
    network.states_only(ids, variant, current, sublayers=sublayers)
    target_state = target.states[end].flatten(0, 1).float()
    current_state = current.states[block + 1].flatten(0, 1).float()
    added = sublayers[MLP, block].reshape(current_state.shape).float()
    weight = 1 / torch.linalg.vector_norm(target_state, dim=1, keepdim=True).clamp(min=1e-12)
    return added * weight, (target_state - current_state) * weight


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
