"""Everything that is estimated on one layer: from its points to estimates, replicates and correlators."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from core.geometry import correlators, dimensions, second_order
from core.geometry.clouds import Cloud
from core.geometry.neighbours import NeighbourTable, first_copies, nearest
from core.geometry.resampling import jackknife_error, log_interval
from core.records import Estimate


@dataclass(frozen=True)
class CloudEstimate:
    cloud: str
    estimator: str
    n1: int | None
    n2: int | None
    estimate: Estimate
    blocks: list[float]
    halves: list[float] = field(default_factory=list)


@dataclass(frozen=True)
class CloudCorrelator:
    cloud: str
    correlator: str
    value: float
    std_error: float
    n_points: int


@dataclass(frozen=True)
class LayerResult:
    estimates: list[CloudEstimate]
    correlators: list[CloudCorrelator]
    duplicate_share: float
    """Exact copies among the points of `one_per_type`."""


@dataclass(frozen=True)
class LayerPlan:
    """The same for every layer of a run: which tokens form which cloud."""

    draws: list[Cloud]
    """`one_per_type`, once for each seeded permutation."""
    everything: Cloud
    """`all_tokens`"""
    halves: np.ndarray
    """Half-splits of the sequences; (n_splits, n_sequences) bool."""


def measure_layer(states: Tensor, plan: LayerPlan) -> LayerResult:
    """All estimates of one layer; states (n_tokens, hidden_size) of the masked tokens, fp32, on any device."""
    first = plan.draws[0]
    d2_types, c2_types = _d2_over_draws(states, plan)
    neighbours_types, copies = _neighbour_estimates(states[_index(first.rows, states)], first)
    neighbours_all, _ = _neighbour_estimates(states[_index(plan.everything.rows, states)], plan.everything)
    d2_all, c2_all = _d2_of_tokens(states, plan.everything)
    ratios = [_participation_ratio(states, cloud) for cloud in (first, plan.everything)]
    offsets = [c for cloud in (first, plan.everything) for c in _first_order(states, cloud)]
    return LayerResult(
        [d2_types, d2_all, *ratios, *neighbours_types, *neighbours_all], [c2_types, c2_all, *offsets],
        copies / first.n_points,
    )  # fmt: skip


def _index(rows: np.ndarray, states: Tensor) -> Tensor:
    return torch.from_numpy(rows).to(states.device)


def _members(cloud: Cloud, states: Tensor) -> Tensor:
    return torch.from_numpy(cloud.members).to(states.device)


# --- d2 --------------------------------------------------------------------------------------------------------


def _d2_over_draws(states: Tensor, plan: LayerPlan) -> tuple[CloudEstimate, CloudCorrelator]:
    """d2 on one token per type: the mean of log d2 over the draws, and the same with each block left out."""
    per_draw = np.array([_d2_of_members(states, cloud) for cloud in plan.draws])  # (n_draws, 1 + n_blocks)
    logs = np.log(per_draw).mean(0)
    first = plan.draws[0]
    blocks = np.exp(logs[1:]).tolist()
    estimate = log_interval(math.exp(logs[0]), blocks, per_draw[:, 0].tolist(), n_points=first.n_points)
    halves = _d2_of_halves(states, plan)
    return CloudEstimate(first.name, "d2", None, None, estimate, blocks, halves), _c2(first, estimate)


def _d2_of_tokens(states: Tensor, cloud: Cloud) -> tuple[CloudEstimate, CloudCorrelator]:
    values = _d2_of_members(states, cloud)
    estimate = log_interval(values[0], values[1:], n_points=cloud.n_points)
    return CloudEstimate(cloud.name, "d2", None, None, estimate, values[1:]), _c2(cloud, estimate)


def _c2(cloud: Cloud, d2: Estimate) -> CloudCorrelator:
    """C2 = 1 / d2, with the same relative error."""
    return CloudCorrelator(cloud.name, "C2", 1 / d2.value, d2.std_error / d2.value**2, d2.n_points)


def _d2_of_members(states: Tensor, cloud: Cloud) -> list[float]:
    """d2 of every member set of a cloud, each centred on its own mean."""
    points = states[_index(cloud.rows, states)]
    points = points - points.mean(0)
    sequences = _index(cloud.sequences, states)
    members = _members(cloud, states)
    if cloud.n_points > points.shape[1] * 2:
        return [second_order.direction_d2(points[m], sequences[m])[0] for m in members]
    gram = points @ points.T  # (n_union, n_union), one product for all member sets
    return [second_order.pair_d2(_block(gram, m), sequences[m])[0] for m in members]


def _d2_of_halves(states: Tensor, plan: LayerPlan) -> list[float]:
    """d2 of half A and half B of each split, as the mean log over the draws: [A0, B0, A1, B1, ...]."""
    halves = torch.from_numpy(plan.halves).to(states.device)
    logs = []
    for cloud in plan.draws:
        points = states[_index(cloud.rows[cloud.members[0]], states)]
        sequences = _index(cloud.sequences[cloud.members[0]], states)
        logs.append(second_order.d2_of_halves(points, sequences, halves).log())
    return torch.stack(logs).mean(0).exp().flatten().tolist()


def _block(gram: Tensor, keep: Tensor) -> Tensor:
    rows = keep.nonzero().squeeze(1)
    return gram.index_select(0, rows).index_select(1, rows)


# --- neighbour estimators ----------------------------------------------------------------------------------------


def _neighbour_estimates(points: Tensor, cloud: Cloud) -> tuple[list[CloudEstimate], int]:
    """GRIDE scan, TwoNN and MLE of a cloud from one table of neighbours; and the number of exact copies left out."""
    members = _members(cloud, points)
    distinct = first_copies(points, members)
    used = distinct.any(0)
    points, distinct = points[used], distinct[:, used]
    n, k = int(distinct[0].sum()), max(2 * dimensions.GRIDE_SCALES[-1], dimensions.MLE_NEIGHBOURS)
    copies = cloud.n_points - n
    if n < dimensions.MIN_POINTS:
        return [], copies
    # Enough stored neighbours that nearly every row finds k of them in a member set; the rest is recomputed.
    table = nearest(points, int(1.25 * k * len(points) / max(n, 1)) + 32)
    scans = [_all_scales(table, member, k) for member in distinct]
    (whole, scales), replicates = scans[0], [values for values, _ in scans[1:]]
    estimates = []
    for (estimator, n1, n2), value in whole.items():
        blocks = [r.get((estimator, n1, n2), math.nan) for r in replicates]
        estimate = log_interval(value, blocks, scale=scales[n2], n_points=n, n_dropped=copies)
        estimates.append(CloudEstimate(cloud.name, estimator, n1, n2, estimate, blocks))
    return estimates, copies


def _all_scales(table: NeighbourTable, keep: Tensor, k: int):
    """{(estimator, n1, n2): value} and {n2: mean distance of that neighbour} among the kept points."""
    distances = table.restrict(keep, k)
    available = distances.shape[1]
    values: dict[tuple[str, int | None, int], float] = {}
    if available >= dimensions.MLE_NEIGHBOURS:
        values["mle", None, dimensions.MLE_NEIGHBOURS] = dimensions.mle(distances[:, : dimensions.MLE_NEIGHBOURS])
    if available >= 2:
        values["two_nn", 1, 2] = dimensions.two_nn(distances)
    for n1 in dimensions.GRIDE_SCALES:
        if available >= 2 * n1 and len(distances) >= 8 * n1:  # beyond N/8 the neighbourhood is no longer local
            values["gride", n1, 2 * n1] = dimensions.gride(distances, n1)
    return values, {n2: float(distances[:, n2 - 1].mean()) for _, _, n2 in values}


# --- the rest ----------------------------------------------------------------------------------------------------


def _participation_ratio(states: Tensor, cloud: Cloud) -> CloudEstimate:
    points = states[_index(cloud.rows, states)]
    points = points - points.mean(0)
    members = _members(cloud, states)
    nested = bool((members[0] | ~members).all())
    if nested:
        values = second_order.participation_ratios(points, members)
    else:
        gram = points @ points.T
        values = [second_order.participation_ratio(_block(gram, m)) for m in members]
    estimate = log_interval(values[0], values[1:], n_points=cloud.n_points)
    return CloudEstimate(cloud.name, "participation_ratio", None, None, estimate, values[1:])


def _first_order(states: Tensor, cloud: Cloud) -> list[CloudCorrelator]:
    values = correlators.first_order(states[_index(cloud.rows, states)], _members(cloud, states))
    return [
        CloudCorrelator(cloud.name, name, v[0], jackknife_error(np.array(v[1:])), cloud.n_points)
        for name, v in values.items()
    ]
