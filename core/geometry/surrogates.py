"""Gaussian clouds that share a cloud's covariance: what an estimator would read if nothing but variances mattered."""

from __future__ import annotations

import torch
from torch import Tensor


def gaussian_surrogate(points: Tensor, generator: torch.Generator) -> Tensor:
    """As many Gaussian points with the covariance of `points` (n, n_dims), given the points.

    Each is a sum of the centred points with independent normal weights: exactly Gaussian with the sample covariance,
    without a decomposition. `generator` lives on the CPU, so that every device draws the same.
    """
    centred = points - points.mean(0)
    n = len(points)
    weights = torch.randn(n, n, generator=generator).to(points) / (n - 1) ** 0.5
    return weights @ centred
