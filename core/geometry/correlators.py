"""First-order token correlators of a cloud: E1 and the mean cosine, for the cloud and each set left out.

Both are identities on sums, so no pair is ever formed. They say how much of the cloud is a common offset; the
correlator that carries a dimension is C2 = 1 / d2 (`core.geometry.second_order`).
"""

from __future__ import annotations

import torch
from torch import Tensor


def first_order(points: Tensor, members: Tensor) -> dict[str, list[float]]:
    """Values of `E1` and `mean_cosine` for each member set.

    points (n, n_dims) fp32, NOT centred; members (n_sets, n) bool.
    E1 = sum_{i != j} x_i.x_j / (N sum |x_i|^2) = |mean x|^2 / mean |x|^2 - 1/N, in [-1/N, 1 - 1/N]: the formula of
    the DeepCT package, not verified against arXiv 2503.22547. mean_cosine = (N |mean u|^2 - 1) / (N - 1), u = x/|x|.
    """
    weights = members.to(points.dtype)
    n = weights.sum(1)
    norms = points.norm(dim=1)
    directions = points / norms.clamp_min(torch.finfo(points.dtype).tiny)[:, None]
    mean = weights @ points / n[:, None]  # (n_sets, n_dims)
    mean_direction = weights @ directions / n[:, None]
    energy = weights @ norms.square() / n
    return {
        "E1": (mean.square().sum(1) / energy - 1 / n).tolist(),
        "mean_cosine": ((n * mean_direction.square().sum(1) - 1) / (n - 1)).tolist(),
    }
