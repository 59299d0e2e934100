"""The second-order correlator of wide neighbourhoods: d2(k) between the local value and d2 of the whole cloud.

A neighbourhood is a subset of the cloud, so `core.geometry.pairs` gives the correlator of any number of them, and of
them without each block of text, from one pass over pairs.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

from core.geometry import pairs
from core.geometry.global_estimates import PlacedCloud

SIZES = (100, 200, 400)
CENTRES = 32
"""Seeded centres; their scatter is part of the error, because leaving a block out leaves its centres out."""


def wide_d2(placed: PlacedCloud, distinct: Tensor, seed: int) -> dict[int, np.ndarray]:
    """{k: d2(k) of every member set, (n_sets,)} for the sizes that leave at least as many points outside.

    distinct (n_sets, n) bool. In each set a centre that belongs to it is surrounded by its k nearest members; the mean
    of C2_loc = mean_{a != b} cos^2 - 1/(k-1)^2 over centres is inverted (see `core.geometry.local`).
    """
    points = placed.points
    rows = distinct[0].nonzero().squeeze(1)
    sizes = [k for k in SIZES if 2 * k <= len(rows)]
    if not sizes:
        return {}
    order = torch.randperm(len(rows), generator=torch.Generator().manual_seed(seed))[:CENTRES]
    centres = rows[order.to(rows.device)]
    relative = points.square().sum(1)[None, :] - 2 * points[centres] @ points.T
    relative[torch.arange(len(centres), device=points.device), centres] = torch.inf
    nearest = [
        relative[member[centres]].masked_fill(~member, torch.inf).topk(sizes[-1], largest=False).indices
        for member in distinct
    ]
    return {k: _of_neighbourhoods(points, nearest, k) for k in sizes}


def _of_neighbourhoods(points: Tensor, nearest: list[Tensor], k: int) -> np.ndarray:
    """d2(k) of each member set from the neighbours of its centres; one pass for all of them."""
    all_of_them = torch.cat(nearest)[:, :k]
    around = torch.zeros(len(all_of_them), len(points), dtype=torch.bool, device=points.device)
    around.scatter_(1, all_of_them, True)
    centred = pairs.directions(points, around)
    products, _ = pairs.scan(points, centred.weights.T)
    sums = pairs.all_pairs(points, centred, products)
    per_set = np.split(sums.squares / sums.pairs, np.cumsum([len(n) for n in nearest])[:-1])
    c2 = np.array([float(np.mean(values)) for values in per_set]) - 1 / (k - 1) ** 2
    return np.where(c2 > 0, 1 / np.maximum(c2, 1e-30), math.nan)
