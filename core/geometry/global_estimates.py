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
    d2_without_components: np.ndarray
    halves: np.ndarray
    """(n_splits, 2)"""
    d2_typed: np.ndarray
    table: NeighbourTable


def place(states: Tensor, cloud: Cloud) -> PlacedCloud:
    points = states[torch.from_numpy(cloud.rows).to(states.device)]
    members = torch.from_numpy(cloud.members).to(states.device)
    moved = second_order.centred(points, members[0])
    # A coordinate that is constant but for round-off is constant.
    constant = moved[members[0]].std(0) <= 1e-6 * points[members[0]].mean(0).abs()
    return PlacedCloud(cloud, moved.masked_fill(constant, 0), members)


def scan_cloud(
    placed: PlacedCloud,
    *,
    k: int = 0,
    used: Tensor | None = None,
    halves: Tensor | None = None,
    typed: bool = False,
    components: bool = False,
    ratio: bool = False,
) -> Scanned:
    """One pass over all pairs: always d2; on request `k` neighbours among the `used` points, d2 of `halves`
    (n_splits, n_sequences) bool, typed d2, d2 without leading components, participation ratio."""
    points, members, cloud = placed.points, placed.members, placed.cloud
    centred = pairs.directions(points, members)
    removed = None
    if components:
        axes = second_order.leading_components(points, members, N_REMOVED)
        removed = pairs.directions(points, members, axes)
    sequences = torch.from_numpy(cloud.sequences).to(points.device)
    columns = [centred.weights.T]
    if ratio:
        columns.append(members.T.to(points.dtype))
    if removed is not None:
        columns.append(removed.weights.T)
    if halves is not None:
        of_sequence = torch.nn.functional.one_hot(sequences, halves.shape[1]).to(points.dtype)
        columns.append(of_sequence * centred.weights[0][:, None])
    products, table = pairs.scan(points, torch.cat(columns, 1), k, used)
    by_weight, *others = products.split([column.shape[1] for column in columns], 1)
    everything = pairs.all_pairs(points, centred, by_weight)
    within = pairs.pairs_within(points, centred, cloud.sequence_groups)
    d2_typed = d2_removed = split = ratios = np.empty(0)
    if ratio:
        squares = torch.einsum("sn,ns->s", members.to(points.dtype), others.pop(0))
        ratios = second_order.participation_ratios(points, members, squares)
    if typed:
        of_type = pairs.pairs_within(points, centred, cloud.type_groups)
        of_both = pairs.pairs_within(points, centred, cloud.type_and_sequence_groups)
        d2_typed = everything.without(within, of_type.without(of_both)).d2
    if removed is not None:
        d2_removed = pairs.all_pairs(points, removed, others.pop(0)).without(
            pairs.pairs_within(points, removed, cloud.sequence_groups)
        ).d2  # fmt: skip
    if halves is not None:
        between = of_sequence.T @ (others.pop(0) * centred.weights[0][:, None])  # (S, S)
        between = (between + between.T) / 2
        split = second_order.halves_of_sequences(sequences[members[0]], between, halves).cpu().numpy()
    return Scanned(
        everything.without(within).d2,
        everything.d2,
        ratios,
        d2_removed,
        split,
        d2_typed,
        table,
    )


def d2_of_scaled(placed: PlacedCloud) -> np.ndarray:
    """d2 with every coordinate divided by its standard deviation on the cloud; (n_sets,).

    The scales are those of the whole cloud in every subset: leaving a block out moves them too little to matter.
    """
    spread = placed.points[placed.members[0]].std(0)
    scale = torch.where(spread > 0, 1 / spread.clamp_min(1e-30), 0.0)  # constant coordinates are left out
    return scan_cloud(PlacedCloud(placed.cloud, placed.points * scale, placed.members)).d2
