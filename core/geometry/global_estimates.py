"""Global dimensions of one cloud and of the cloud without each block: the d2 family, participation ratio, ranks."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from core.geometry import pairs, second_order
from core.geometry.clouds import Cloud
from core.geometry.neighbours import NeighbourTable

N_REMOVED = 3
"""Leading components that the `abtt3` transform removes."""
RESIDUE = 1e-6
"""Share of the variance that must be left: below it single precision has too few digits."""


@dataclass(frozen=True)
class PlacedCloud:
    """A cloud's points on one layer, centred on the mean of the cloud itself (its first member set)."""

    cloud: Cloud
    points: Tensor
    """(n_union, hidden_size) fp32"""
    members: Tensor
    """(n_sets, n_union) bool"""


@dataclass(frozen=True)
class Scanned:
    """What one pass over the pairs of a cloud gave; arrays are (n_sets,) with the whole cloud first."""

    d2: np.ndarray
    d2_all_pairs: np.ndarray
    participation_ratio: np.ndarray
    """Empty where it was not asked for, as are all below."""
    halves: np.ndarray
    """(n_splits, 2)"""
    d2_typed: np.ndarray
    table: NeighbourTable


def place(states: Tensor, cloud: Cloud) -> PlacedCloud:
    points = states[torch.from_numpy(cloud.rows).to(states.device)]
    members = torch.from_numpy(cloud.members).to(states.device)
    moved = second_order.centred(points, members[0])
    # A coordinate that is constant but for round-off is constant.
    variances = members[0].to(points.dtype) @ moved.square() / members[0].sum()
    constant = variances.sqrt() <= 1e-6 * (points[0] - moved[0]).abs()
    return PlacedCloud(cloud, moved.masked_fill(constant, 0), members)


def scan_cloud(
    placed: PlacedCloud,
    *,
    k: int = 0,
    used: Tensor | None = None,
    halves: Tensor | None = None,
    typed: bool = False,
    ratio: bool = False,
) -> Scanned:
    """One pass over all pairs: always d2; on request `k` neighbours among the `used` points, d2 of `halves`
    (n_splits, n_sequences) bool, typed d2, participation ratio."""
    points, members, cloud = placed.points, placed.members, placed.cloud
    centred = pairs.directions(points, members)
    sequences = torch.from_numpy(cloud.sequences).to(points.device)
    columns = [centred.weights.T]
    if ratio:
        columns.append(members.T.to(points.dtype))
    if halves is not None:
        of_sequence = torch.nn.functional.one_hot(sequences, halves.shape[1]).to(points.dtype)
        columns.append(of_sequence * centred.weights[0][:, None])
    products, table = pairs.scan(points, torch.cat(columns, 1), k, used)
    by_weight, *others = products.split([column.shape[1] for column in columns], 1)
    everything = pairs.all_pairs(points, centred, by_weight)
    within = pairs.pairs_within(points, centred, cloud.sequence_groups)
    d2_typed = split = ratios = np.empty(0)
    if ratio:
        squares = torch.einsum("sn,ns->s", members.to(points.dtype), others.pop(0))
        ratios = second_order.participation_ratios(points, members, squares)
    if typed:
        of_type = pairs.pairs_within(points, centred, cloud.type_groups)
        of_both = pairs.pairs_within(points, centred, cloud.type_and_sequence_groups)
        d2_typed = everything.without(within, of_type.without(of_both)).d2
    if halves is not None:
        between = of_sequence.T @ (others.pop(0) * centred.weights[0][:, None])  # (S, S)
        between = (between + between.T) / 2
        split = second_order.halves_of_sequences(sequences[members[0]], between, halves).cpu().numpy()
    return Scanned(everything.without(within).d2, everything.d2, ratios, split, d2_typed, table)


def d2_without_components(placed: PlacedCloud) -> np.ndarray:
    """d2 after each member set lost its own leading components; (n_sets,).

    The components of the whole cloud are taken out of the points first, explicitly; a subset's own are nearly those,
    and the difference is a small move. NaN where they leave less than `RESIDUE` of the variance.
    """
    points, members = placed.points, placed.members
    own = second_order.leading_components(points, members, N_REMOVED)  # (n_sets, n_removed, n_dims)
    first = own[0]
    rest = points
    for _ in range(2):  # once leaves round-off of the large components behind
        rest = rest - (rest @ first.T) @ first
    of_whole = members[0]
    if not float(rest[of_whole].square().sum()) > RESIDUE * float(points[of_whole].square().sum()):
        return np.full(len(members), np.nan)
    taken = points @ first.T  # (n, n_removed)
    weight = members.to(points.dtype)
    means = weight / weight.sum(1, keepdim=True).clamp_min(1)  # (n_sets, n)
    # What a set's own components still find in the rest, and what they miss of the whole cloud's.
    found = torch.einsum("srd,nd->snr", own, rest) - torch.einsum("srd,sd->sr", own, means @ rest)[:, None]
    missed = first - (first @ own.transpose(1, 2)) @ own  # (n_sets, n_removed, n_dims)
    shifted = taken[None] - (means @ taken)[:, None]
    moved = pairs.directions(rest, members, torch.cat([own, missed], 1), torch.cat([-found, shifted], 2))
    products, _ = pairs.scan(rest, moved.weights.T)
    within = pairs.pairs_within(rest, moved, placed.cloud.sequence_groups)
    return pairs.all_pairs(rest, moved, products).without(within).d2


def d2_of_scaled(placed: PlacedCloud) -> np.ndarray:
    """d2 with every coordinate divided by its standard deviation on the cloud; (n_sets,).

    The scales are those of the whole cloud in every subset: leaving a block out moves them too little to matter.
    """
    spread = placed.points[placed.members[0]].std(0)
    scale = torch.where(spread > 0, 1 / spread.clamp_min(1e-30), 0.0)  # constant coordinates are left out
    return scan_cloud(PlacedCloud(placed.cloud, placed.points * scale, placed.members)).d2
