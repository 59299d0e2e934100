"""The local second-order correlator: d2 of each point's neighbourhood, a family from the local to the global.

For each point its k neighbours, the point itself left out, are centred on their own centroid and normalised to
directions W_a. C2_loc = mean_{a != b} (W_a . W_b)^2 - 1/(k-1)^2, where the last term is what centring on k points adds,
and d2(k) = 1 / mean C2_loc over points. With k = N it becomes d2. Angles at the point itself would not do: they
saturate near 60 degrees, so that the angle-based dimension of Thordsen and Schubert (arXiv 2006.12880) reads about 4
in 20 dimensions and in 100.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

KS = (20, 50)
"""Neighbourhoods that are read on all points of a cloud."""
CHUNK_BYTES = 2**24
"""Neighbours gathered at a time; chunks of 64 MB were no faster."""


def local_c2(points: Tensor, indices: Tensor, ks: Sequence[int]) -> dict[int, Tensor]:
    """C2_loc of each row for several k at once; {k: (n_rows,) fp32}, NaN where all k neighbours coincide.

    points (n, n_dims) fp32; indices (n_rows, k_max) int64: the neighbours of each row in order of distance, without the
    row's own point. One k_max x k_max Gram matrix per row serves every k; k that are not stored are left out.
    """
    ks = [k for k in ks if 3 <= k <= indices.shape[1]]
    if not ks:
        return {}
    indices = indices[:, : max(ks)]
    ranks = torch.arange(max(ks), device=points.device)
    first = (ranks[:, None] < torch.tensor(ks, device=points.device)).to(points.dtype)  # (k_max, n_ks)
    parts = [_c2(gram, first.expand(len(gram), -1, -1)) for gram in _grams(points, indices, min(ks))]
    return dict(zip(ks, torch.cat(parts).unbind(1), strict=True))


def local_dimension(c2: Tensor) -> float:
    """d2(k) = 1 / mean C2_loc over the points where it is defined; NaN where the mean is not positive."""
    mean = float(c2.nanmean())
    return 1 / mean if mean > 0 else math.nan


def local_d2_of_sets(
    points: Tensor, stored: Tensor, members: Tensor, centres: Tensor, ks: Sequence[int]
) -> dict[int, list[float]]:
    """d2(k) of each member set over a few hundred centres; {k: n_sets values}.

    points (n, n_dims) fp32; stored (n_centres, k_stored) neighbours of the centres in order of distance; members
    (n_sets, n) bool; centres (n_centres,) positions. In each set a centre that belongs to it takes its first k stored
    neighbours that belong to it too; a centre with fewer is left out of that set. Store about 1.25 k + 32 neighbours.
    """
    ks = [k for k in ks if 3 <= k <= stored.shape[1]]
    if not ks:
        return {}
    limits = torch.tensor(ks, device=points.device)
    parts, start = [], 0
    for gram in _grams(points, stored, min(ks)):
        rows = slice(start, start + len(gram))
        start += len(gram)
        alive = members[:, stored[rows]] & members[:, centres[rows], None]  # (n_sets, n_chunk, k_stored)
        rank = alive.cumsum(2)
        chosen = alive[..., None] & (rank[..., None] <= limits)  # (n_sets, n_chunk, k_stored, n_ks)
        c2 = _c2(gram, chosen.permute(1, 2, 0, 3).flatten(2).to(points.dtype)).unflatten(1, (len(members), len(ks)))
        parts.append(torch.where((rank[..., -1:] >= limits).transpose(0, 1), c2, torch.nan))
    c2 = torch.cat(parts)  # (n_centres, n_sets, n_ks)
    return {k: [local_dimension(c2[:, s, i]) for s in range(len(members))] for i, k in enumerate(ks)}


def _grams(points: Tensor, indices: Tensor, n_near: int) -> Iterator[Tensor]:
    """Gram matrices (n_chunk, k, k) of each row's neighbours, relative to the centroid of the `n_near` nearest.

    Relative, because a neighbourhood can be a thousand times smaller than its distance from the origin, or than a wider
    one around it.
    """
    k, n_dims = indices.shape[1], points.shape[1]
    for chunk in indices.split(max(1, CHUNK_BYTES // (4 * k * max(k, n_dims)))):
        gathered = points.index_select(0, chunk.flatten()).view(len(chunk), k, n_dims)
        gathered -= gathered[:, :n_near].mean(1, keepdim=True)
        yield torch.bmm(gathered, gathered.transpose(1, 2))


def _c2(gram: Tensor, chosen: Tensor) -> Tensor:
    """C2_loc of several choices among each row's neighbours; (n_chunk, n_choices).

    gram (n_chunk, k, k) is overwritten; chosen (n_chunk, k, n_choices) holds 0 and 1. Centred on the chosen points an
    entry is G_ab - t_a - t_b, t_a = mean_b G_ab - (mean of all G) / 2, so the sum of squared cosines expands into
    products of G and of its squares with vectors, and no centred matrix is formed for any choice.
    """
    n = chosen.sum(1)  # (n_chunk, n_choices)
    shift = torch.bmm(gram, chosen) / n[:, None]
    shift -= (chosen * shift).sum(1, keepdim=True) / n[:, None] / 2
    squared_norms = gram.diagonal(dim1=1, dim2=2)[..., None] - 2 * shift
    spread = (chosen * squared_norms).sum(1, keepdim=True) / n[:, None]
    # A neighbour on the centroid has no direction: it counts as orthogonal to all others.
    inverse = torch.where((chosen > 0) & (squared_norms > 1e-6 * spread), 1 / squared_norms, 0.0)
    shifted = inverse * shift
    mixed = (shifted * torch.bmm(gram, inverse)).sum(1)
    plain = (inverse * torch.bmm(gram.square_(), inverse)).sum(1)
    total = plain - 4 * mixed + 2 * inverse.sum(1) * (shifted * shift).sum(1) + 2 * shifted.sum(1).square()
    c2 = (total - (inverse > 0).sum(1)) / (n * (n - 1)) - 1 / (n - 1).square()
    return torch.where(spread.squeeze(1) > 0, c2, torch.nan)
