"""What rounding costs, beside removing: the weight matrices of all blocks rounded to 8 bits while a text is read.

Symmetric about zero, a scale for each output, rounded to the nearest; embedding, head and norms stay.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager

import torch
from torch import Tensor, nn

from core.plans.variants import Network, output_axis, product

LEVELS = 2**7 - 1
"""Of each sign, with 8 bits."""


def block_matrices(network: Network) -> list[nn.Module]:
    """The products with a matrix in all blocks; none where weights are streamed, or are those of experts."""
    modules = [module for block in network.blocks for module in block.modules()]
    is_mixture = any(p.dim() > 2 for module in modules for p in module.parameters(recurse=False))
    if network.model.units or is_mixture:
        return []
    return [module for module in modules if isinstance(module, nn.Linear) or type(module).__name__ == "Conv1D"]


def bytes_saved(modules: Sequence[nn.Module]) -> float:
    """Against two bytes a weight: one of them, less two for the scale of each output."""
    weights: list[Tensor] = [module.weight for module in modules]  # type: ignore[misc]
    outputs = [weight.shape[output_axis(module)] for weight, module in zip(weights, modules, strict=True)]
    return float(sum(weight.numel() for weight in weights) - 2 * sum(outputs))


@contextmanager
def rounded_weights(modules: Sequence[nn.Module]) -> Iterator[None]:
    """The products are made with rounded weights meanwhile; the weights themselves are not touched, nor held twice."""
    with ExitStack() as undo:
        for module in modules:
            undo.callback(module.register_forward_hook(_product).remove)
        yield


def _product(module: nn.Module, arguments: tuple[Tensor, ...], output: Tensor) -> Tensor:
    weight = rounded(module.weight, output_axis(module))  # type: ignore[arg-type]
    return product(module, arguments[0], weight, module.bias)  # type: ignore[arg-type]


def rounded(weight: Tensor, axis: int) -> Tensor:
    """A matrix rounded to 8 bits, with a scale for each entry of the axis of its outputs."""
    scale = weight.abs().amax(1 - axis, keepdim=True).clamp(min=torch.finfo(weight.dtype).tiny) / LEVELS
    return (weight / scale).round() * scale
