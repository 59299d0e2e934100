"""What the primary cloud alone is asked for: local dimensions, surrogates, distributions over tokens."""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np
import torch
from torch import Tensor

from core.geometry import correlation, local
from core.geometry.clouds import Cloud
from core.geometry.global_estimates import PlacedCloud
from core.geometry.neighbour_estimates import readings_of_points
from core.geometry.neighbours import NeighbourTable, SetNeighbours
from core.geometry.ratios import GRIDE_READ_AT
from core.geometry.resampling import jackknife_error
from core.geometry.results import CloudCorrelator, CloudEstimate, Distribution, from_blocks
from core.geometry.surrogates import gaussian_surrogate
from core.records import Estimate

CENTRES = 128
"""Seeded points on which the local d2 is computed without each block, for its error."""
WIDE_KS = (100, 200, 400)
"""Wider neighbourhoods, between the local value and d2 of the whole cloud, up to half of the points."""
WIDE_CENTRES = 32
"""Seeded points that stand for all of them there; their scatter is in the error, as a block leaves its centres out."""
COSINE_SAMPLE = 256


def local_readings(
    placed: PlacedCloud, table: NeighbourTable, distinct: Tensor, seed: int
) -> tuple[list[CloudEstimate], list[Distribution]]:
    """d2 of neighbourhoods: value on all points, error from the same on seeded centres without each block.

    Leaving a block out changes which points are there, counted on all of them with their neighbours kept, and who
    their neighbours are, counted on the centres: the two changes are added on the log. Wide neighbourhoods are read on
    few centres altogether.
    """
    rows = distinct[0].nonzero().squeeze(1)
    ks = [k for k in local.KS if k <= len(rows) - 1]
    if not ks:
        return [], []
    order = torch.randperm(len(rows), generator=torch.Generator().manual_seed(seed))[:CENTRES].to(rows.device)
    neighbours, distances = _first_members(table, rows, distinct[0], max(ks))
    c2 = local.local_c2(placed.points, neighbours, ks)
    exact = local.local_d2_of_sets(placed.points, table.indices[rows[order]], distinct, rows[order], ks)
    estimates = []
    for k in ks:
        blocks = []
        for s in range(1, len(distinct)):
            stays = distinct[s][rows]
            composition = local.local_dimension(c2[k][stays])
            of_kept = local.local_dimension(c2[k][order][stays[order]])
            blocks.append(composition * exact[k][s] / of_kept if of_kept > 0 else math.nan)
        value = local.local_dimension(c2[k])
        estimates.append(_local_d2(placed.cloud, k, float(distances[:, k - 1].mean()), value, blocks, len(rows)))
    estimates += _wide_d2(placed, distinct, rows[order[:WIDE_CENTRES]])
    largest = c2[max(ks)].cpu().numpy()
    defined = np.isfinite(largest)
    with np.errstate(divide="ignore"):  # a correlator of zero or below is a dimension beyond any number
        values = np.where(largest > 0, 1 / largest, np.inf)
    tokens = placed.cloud.rows[rows.cpu().numpy()]
    norms = placed.points[rows].norm(dim=1).cpu().numpy()
    return estimates, [
        Distribution("local_d2", tokens[defined], values[defined]),
        Distribution("distance_to_mean", tokens, norms),
    ]


def _wide_d2(placed: PlacedCloud, distinct: Tensor, centres: Tensor) -> list[CloudEstimate]:
    n, used = int(distinct[0].sum()), distinct.any(0)
    ks = [k for k in WIDE_KS if 2 * k <= n]
    if not ks:
        return []
    points, k_stored = placed.points, math.ceil(1.25 * ks[-1] * int(used.sum()) / n) + 32
    squared = points.square().sum(1)[None, :] - 2 * points[centres] @ points.T  # less the centre's own norm
    squared.masked_fill_(~used, torch.inf)
    squared[torch.arange(len(centres), device=points.device), centres] = torch.inf
    order = squared.topk(min(k_stored, int(used.sum()) - 1), largest=False).indices
    # Explicit, and sorted by it: the product form cancels where points are near each other and far from the origin.
    # A centre at a time: all neighbours of all centres are many times the cloud.
    away = [(points[near] - centre).norm(dim=1) for near, centre in zip(order, points[centres], strict=True)]
    distances, by_distance = torch.stack(away).sort(dim=1)
    order = order.gather(1, by_distance)
    values = local.local_d2_of_sets(points, order, distinct, centres, ks)
    return [
        _local_d2(placed.cloud, k, _mean_kth(distances, distinct[0][order], k), values[k][0], values[k][1:], n)
        for k in ks
    ]


def _mean_kth(distances: Tensor, member: Tensor, k: int) -> float:
    """Mean distance of the k-th neighbour that is a member; (n_centres, k_stored) both."""
    is_kth = member & (member.cumsum(1) == k)
    return float(distances[is_kth].mean())


def _local_d2(cloud: Cloud, k: int, distance: float, value: float, blocks: list[float], n: int) -> CloudEstimate:
    return from_blocks(
        cloud, "local_d2", None, k, value, blocks, scale=distance, n_points=n, n_dropped=cloud.n_points - n
    )


def _first_members(table: NeighbourTable, rows: Tensor, member: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """The first k stored neighbours of each row that are members, and their distances; (n_rows, k) each."""
    stored = table.indices[rows]
    order = (~member[stored]).to(torch.uint8).argsort(dim=1, stable=True)[:, :k]
    return stored.gather(1, order), table.distances[rows].gather(1, order)


def correlation_integral(placed: PlacedCloud, distinct: Tensor, within: SetNeighbours) -> CloudEstimate:
    """With the whole cloud's radii for every subset: only the counts of pairs are taken again."""
    inner, outer = correlation.RANKS
    whole = within.distances[0][distinct[0]]
    radii = (
        correlation.median(whole[:, within.ranks.index(inner)]),
        correlation.median(whole[:, within.ranks.index(outer)]),
    )
    sequences = torch.from_numpy(placed.cloud.sequences).to(placed.points.device)
    value, *blocks = correlation.correlation_of_sets(placed.points, sequences, distinct, radii)
    n, n_dropped = len(whole), placed.cloud.n_points - len(whole)
    return from_blocks(
        placed.cloud,
        "correlation_integral",
        inner,
        outer,
        value,
        blocks,
        scale=radii[1],
        n_points=n,
        n_dropped=n_dropped,
    )


def further(placed: PlacedCloud, names: Iterable[str]) -> list[CloudEstimate]:
    """Estimators of the registry that a protocol asks for by name, as they come."""
    from core.geometry.dimensions import ESTIMATORS

    points = placed.points[placed.members[0]]
    return [CloudEstimate(placed.cloud.name, name, None, None, ESTIMATORS[name](points), []) for name in names]


def surrogates(placed: PlacedCloud, n_surrogates: int, seed: int) -> list[CloudEstimate]:
    """GRIDE and TwoNN on Gaussian clouds with the covariance of this one: mean and error over the surrogates."""
    points = placed.points[placed.members[0]]
    generator = torch.Generator().manual_seed(seed)
    per_scale: dict[tuple[str, int | None, int], list[float]] = {}
    for _ in range(n_surrogates):
        for reading in readings_of_points(gaussian_surrogate(points, generator)):
            if reading.estimator in ("gride", "two_nn"):
                per_scale.setdefault((reading.estimator, reading.n1, reading.n2), []).append(reading.value)
    estimates = []
    for (estimator, n1, n2), values in per_scale.items():
        spread = float(np.std(values, ddof=1) / math.sqrt(len(values))) if len(values) > 1 else math.nan
        estimate = Estimate(float(np.mean(values)), spread, n_points=len(points))
        estimates.append(
            CloudEstimate(placed.cloud.name, estimator, n1, n2, estimate, [], transform="gaussian_surrogate")
        )
    return estimates


def nonlinearity(read: Iterable[CloudEstimate], surrogate: Iterable[CloudEstimate]) -> list[CloudCorrelator]:
    """GRIDE of the Gaussian of equal covariance over that of the data: 1 for a Gaussian cloud, above it for others."""
    of_data = {e.n1: e.estimate for e in read if e.estimator == "gride"}
    result = []
    for e in surrogate:
        data = of_data.get(e.n1)
        if e.estimator == "gride" and e.n1 == GRIDE_READ_AT and data is not None and data.value > 0:
            ratio = e.estimate.value / data.value
            parts = [data.std_error / data.value, e.estimate.std_error / e.estimate.value]
            error = ratio * math.hypot(*(part for part in parts if math.isfinite(part)))
            result.append(CloudCorrelator(e.cloud, f"nonlinearity_ratio_{GRIDE_READ_AT}", ratio, error, data.n_points))
    return result


def cosines(placed: PlacedCloud, seed: int, distributions: list[Distribution]) -> CloudCorrelator:
    """Distribution of the cosine between two centred tokens, and its excess kurtosis: above 0, the cloud has clusters.

    Over pairs of different sequences in a seeded sub-sample, with its jackknife error; in d isotropic dimensions the
    excess is -6 / (d + 2).
    """
    rows = placed.members[0].nonzero().squeeze(1).cpu()
    sample = rows[torch.randperm(len(rows), generator=torch.Generator().manual_seed(seed))[:COSINE_SAMPLE]]
    directions = torch.nn.functional.normalize(placed.points[sample.to(placed.points.device)], dim=1)
    products = (directions @ directions.T).cpu().double().numpy()
    sequences, kept = placed.cloud.sequences[sample.numpy()], placed.members[:, sample.to(placed.points.device)]
    counted = np.triu(sequences[:, None] != sequences[None, :], 1)
    of_sets = [_excess_kurtosis(products[counted & (k[:, None] & k[None, :])]) for k in kept.cpu().numpy()]
    distributions.append(Distribution("cosine", np.empty(0, dtype=np.int64), products[counted]))
    error = jackknife_error(np.array(of_sets[1:]))
    return CloudCorrelator(placed.cloud.name, "cosine_kurtosis", of_sets[0], error, len(sample))


def _excess_kurtosis(values: np.ndarray) -> float:
    centred = values - values.mean() if len(values) else values
    variance = float(np.mean(centred**2)) if len(values) else 0.0
    return float(np.mean(centred**4)) / variance**2 - 3 if variance > 0 else math.nan
