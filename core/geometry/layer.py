"""Everything that is estimated on one layer: from its points to estimates, replicates, correlators, distributions."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from core.geometry import calibration, correlation, correlators, local, multiscale, spectrum
from core.geometry.clouds import Cloud
from core.geometry.global_estimates import PlacedCloud, Scanned, d2_of_scaled, place, scan_cloud
from core.geometry.neighbour_estimates import (
    distances_of_sets,
    neighbour_readings,
    readings_of_points,
    stored_neighbours,
)
from core.geometry.neighbours import NeighbourTable, SetNeighbours, first_copies
from core.geometry.resampling import jackknife_error, log_interval
from core.geometry.results import CloudCorrelator, CloudEstimate, Distribution, LayerResult
from core.geometry.surrogates import gaussian_surrogate
from core.records import Estimate

LOCAL_KS = (20, 50)
"""Neighbourhoods of the local d2 on all points."""
CENTRES = 128
"""Seeded points on which it is computed without each block, for its error."""
COSINE_SAMPLE = 256
READ_AT = 8
"""The GRIDE scale that is read: at smaller ones spelling variants of a word are nearest neighbours."""


@dataclass(frozen=True)
class LayerPlan:
    """The same for every layer of a run: which tokens form which cloud."""

    draws: list[Cloud]
    """`one_per_type`, once for each seeded permutation; empty where the protocol does without."""
    word_draws: list[Cloud]
    """`one_per_word`, likewise; empty where the text has too few words or the tokenizer does not place them."""
    others: list[Cloud]
    """`all_tokens`, `last_token`"""
    halves: np.ndarray
    """Half-splits of the sequences; (n_splits, n_sequences) bool."""
    seed: int = 0
    n_surrogates: int = 2
    more_estimators: tuple[str, ...] = ()
    prompts: tuple[np.ndarray, ...] = ()
    """Rows of each sequence, where the dimension of single sequences is averaged."""
    blocks: np.ndarray = field(default_factory=lambda: np.empty(0, dtype=np.int64))
    """Jackknife block of each masked token; (n_tokens,)"""


def measure_layer(states: Tensor, plan: LayerPlan) -> LayerResult:
    """All estimates of one layer; states (n_tokens, hidden_size) of the masked tokens, fp32, on any device."""
    estimates: list[CloudEstimate] = []
    found: list[CloudCorrelator] = []
    distributions: list[Distribution] = []
    duplicates = math.nan
    if plan.draws:
        duplicates = _measure_types(states, plan, estimates, found, distributions)
    if plan.word_draws:
        placed, scanned, distinct, d2 = _measure_draws(states, plan, plan.word_draws)
        estimates += [
            d2,
            *_second_order(placed, scanned),
            *_neighbours(placed, distinct, distances_of_sets(scanned.table, distinct)),
        ]
        found += [_c2(d2), *_first_order(states, placed.cloud)]
    for cloud in plan.others:
        placed = place(states, cloud)
        scanned, distinct = scan_with_neighbours(placed, typed=cloud.name == "all_tokens")
        d2 = _of_sets(cloud, "d2", scanned.d2)
        estimates += [
            d2,
            *_second_order(placed, scanned),
            *_neighbours(placed, distinct, distances_of_sets(scanned.table, distinct)),
        ]
        found += [_c2(d2), *_first_order(states, cloud)]
    if plan.prompts:
        estimates += _per_prompt(states, plan.prompts)
    return LayerResult(estimates, found, distributions, duplicates)


# --- one token per type ----------------------------------------------------------------------------------------


def _measure_types(
    states: Tensor,
    plan: LayerPlan,
    estimates: list[CloudEstimate],
    found: list[CloudCorrelator],
    distributions: list[Distribution],
) -> float:
    """The primary cloud; returns the share of exact copies in it."""
    placed, scanned, distinct, d2 = _measure_draws(states, plan, plan.draws, components=True)
    within = distances_of_sets(scanned.table, distinct)
    cloud = placed.cloud
    estimates += [d2, *_second_order(placed, scanned)]
    estimates.append(_of_sets(cloud, "d2", scanned.d2_without_components, transform="abtt3"))
    estimates.append(_of_sets(cloud, "d2", d2_of_scaled(placed), transform="zscore"))
    read = _neighbours(placed, distinct, within)
    estimates += read
    local_d2, of_tokens = local_readings(placed, scanned.table, distinct, plan.seed)
    estimates += local_d2
    distributions += of_tokens
    estimates.append(_correlation_integral(placed, distinct, within))
    estimates += _further(placed, plan.more_estimators)
    surrogate = _surrogates(placed, plan)
    estimates += surrogate
    found += [_c2(d2), *_first_order(states, cloud), *_nonlinearity(read, surrogate)]
    found.append(_cosines(placed, plan.seed, distributions))
    copies = cloud.n_points - int(distinct[0].sum())
    return copies / cloud.n_points


def _measure_draws(
    states: Tensor, plan: LayerPlan, draws: list[Cloud], **options
) -> tuple[PlacedCloud, Scanned, Tensor, CloudEstimate]:
    """The first draw with its pass over pairs and its member sets without copies; d2 over all draws."""
    halves = torch.from_numpy(plan.halves).to(states.device)
    placed = place(states, draws[0])
    scanned, distinct = scan_with_neighbours(placed, halves=halves, **options)
    repeats = [scanned, *(scan_cloud(place(states, cloud), halves=halves) for cloud in draws[1:])]
    return placed, scanned, distinct, _over_draws(placed.cloud, repeats)


def _over_draws(cloud: Cloud, repeats: Sequence[Scanned]) -> CloudEstimate:
    """d2 as the mean of log d2 over the draws, and the same with each block left out."""
    per_draw = np.stack([scanned.d2 for scanned in repeats])  # (n_draws, n_sets)
    logs = np.log(per_draw).mean(0)
    blocks = np.exp(logs[1:]).tolist()
    estimate = log_interval(math.exp(logs[0]), blocks, per_draw[:, 0].tolist(), n_points=cloud.n_points)
    halves = np.exp(np.log(np.stack([scanned.halves for scanned in repeats])).mean(0))  # (n_splits, 2)
    return CloudEstimate(cloud.name, "d2", None, None, estimate, blocks, halves.flatten().tolist())


def local_readings(
    placed: PlacedCloud, table: NeighbourTable, distinct: Tensor, seed: int
) -> tuple[list[CloudEstimate], list[Distribution]]:
    """d2 of neighbourhoods: value on all points, error from the same on seeded centres without each block.

    Leaving a block out changes which points are there, counted on all of them with their neighbours kept, and who
    their neighbours are, counted on the centres: the two changes are added on the log.
    """
    rows = distinct[0].nonzero().squeeze(1)
    ks = [k for k in LOCAL_KS if k <= len(rows) - 1]
    if not ks:
        return [], []
    order = torch.randperm(len(rows), generator=torch.Generator().manual_seed(seed))[:CENTRES].to(rows.device)
    c2 = local.local_c2(placed.points, _first_members(table.indices[rows], distinct[0], max(ks)), ks)
    exact = local.local_d2_of_sets(placed.points, table.indices, distinct, rows[order], ks)
    estimates = []
    for k in ks:
        blocks = []
        for s in range(1, len(distinct)):
            stays = distinct[s][rows]
            composition = local.local_dimension(c2[k][stays])
            of_kept = local.local_dimension(c2[k][order][stays[order]])
            blocks.append(composition * exact[k][s] / of_kept if of_kept > 0 else math.nan)
        value = local.local_dimension(c2[k])
        estimates.append(_from_blocks(placed.cloud, "local_d2", None, k, value, blocks, n_points=len(rows)))
    for k, values in multiscale.wide_d2(placed, distinct, seed).items():
        value, *blocks = values.tolist()
        estimates.append(_from_blocks(placed.cloud, "local_d2", None, k, value, blocks, n_points=len(rows)))
    largest = c2[max(ks)].cpu().numpy()
    good = largest > 0
    tokens = placed.cloud.rows[rows.cpu().numpy()]
    norms = placed.points[rows].norm(dim=1).cpu().numpy()
    return estimates, [
        Distribution("local_d2", tokens[good], 1 / largest[good]),
        Distribution("distance_to_mean", tokens, norms),
    ]


def _first_members(stored: Tensor, member: Tensor, k: int) -> Tensor:
    """The first k stored neighbours of each row that are members; (n_rows, k)."""
    alive = member[stored]
    order = (~alive).to(torch.uint8).argsort(dim=1, stable=True)[:, :k]
    return stored.gather(1, order)


def _correlation_integral(placed: PlacedCloud, distinct: Tensor, within: SetNeighbours) -> CloudEstimate:
    """With the whole cloud's radii for every subset: only the counts of pairs are taken again."""
    inner, outer = correlation.RANKS
    whole = within.distances[0][distinct[0]]
    radii = (_median(whole[:, within.ranks.index(inner)]), _median(whole[:, within.ranks.index(outer)]))
    sequences = torch.from_numpy(placed.cloud.sequences).to(placed.points.device)
    value, *blocks = correlation.correlation_of_sets(placed.points, sequences, distinct, radii)
    return _from_blocks(placed.cloud, "correlation_integral", inner, outer, value, blocks, n_points=len(whole))


def _median(distances: Tensor) -> float:
    return float(distances.nanmedian())


def _further(placed: PlacedCloud, names: Iterable[str]) -> list[CloudEstimate]:
    """Estimators of the registry that a protocol asks for by name, as they come."""
    from core.geometry.dimensions import ESTIMATORS

    points = placed.points[placed.members[0]]
    return [CloudEstimate(placed.cloud.name, name, None, None, ESTIMATORS[name](points), []) for name in names]


def _surrogates(placed: PlacedCloud, plan: LayerPlan) -> list[CloudEstimate]:
    """GRIDE and TwoNN on Gaussian clouds with the covariance of this one: mean and error over the surrogates."""
    points = placed.points[placed.members[0]]
    generator = torch.Generator().manual_seed(plan.seed)
    per_scale: dict[tuple[str, int | None, int], list[float]] = {}
    for _ in range(plan.n_surrogates):
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


def _nonlinearity(read: Iterable[CloudEstimate], surrogate: Iterable[CloudEstimate]) -> list[CloudCorrelator]:
    """GRIDE of the Gaussian of equal covariance over that of the data: 1 for a Gaussian cloud, above it for others."""
    of_data = {e.n1: e.estimate for e in read if e.estimator == "gride"}
    result = []
    for e in surrogate:
        data = of_data.get(e.n1)
        if e.estimator == "gride" and e.n1 == READ_AT and data is not None and data.value > 0:
            ratio = e.estimate.value / data.value
            parts = [data.std_error / data.value, e.estimate.std_error / e.estimate.value]
            error = ratio * math.hypot(*(part for part in parts if math.isfinite(part)))
            result.append(CloudCorrelator(e.cloud, f"nonlinearity_ratio_{READ_AT}", ratio, error, data.n_points))
    return result


def _cosines(placed: PlacedCloud, seed: int, distributions: list[Distribution]) -> CloudCorrelator:
    """Distribution of the cosine between two centred tokens, and its excess kurtosis: above 0, the cloud has clusters.

    On a seeded sub-sample; in d isotropic dimensions the excess is -6 / (d + 2).
    """
    rows = placed.members[0].nonzero().squeeze(1)
    order = torch.randperm(len(rows), generator=torch.Generator().manual_seed(seed))[:COSINE_SAMPLE]
    directions = torch.nn.functional.normalize(placed.points[rows[order.to(rows.device)]], dim=1)
    cosines = directions @ directions.T
    upper = torch.triu_indices(len(order), len(order), 1, device=cosines.device)
    values = cosines[upper[0], upper[1]].cpu().double().numpy()
    distributions.append(Distribution("cosine", np.empty(0, dtype=np.int64), values))
    centred = values - values.mean()
    variance = float(np.mean(centred**2))
    excess = float(np.mean(centred**4)) / variance**2 - 3 if variance > 0 else math.nan
    return CloudCorrelator(placed.cloud.name, "cosine_kurtosis", excess, math.nan, len(order))


# --- any cloud -------------------------------------------------------------------------------------------------


def scan_with_neighbours(placed: PlacedCloud, **options) -> tuple[Scanned, Tensor]:
    """The pass over pairs, and the member sets without exact copies."""
    distinct = first_copies(placed.points, placed.members)
    used = distinct.any(0)
    k = stored_neighbours(int(distinct[0].sum()), int(used.sum()))
    return scan_cloud(placed, k=k, used=used, ratio=True, **options), distinct


def _second_order(placed: PlacedCloud, scanned: Scanned) -> list[CloudEstimate]:
    cloud = placed.cloud
    estimates = [
        _of_sets(cloud, "d2_all_pairs", scanned.d2_all_pairs),
        _of_sets(cloud, "participation_ratio", scanned.participation_ratio),
    ]
    if cloud.name == "one_per_word":  # a cloud to compare by, not to look into
        return estimates
    if len(scanned.d2_typed):
        estimates.append(_of_sets(cloud, "d2_typed", scanned.d2_typed))
    effective, stable = spectrum.rank_replicates(placed.points, placed.members)
    return [*estimates, _of_sets(cloud, "effective_rank", effective), _of_sets(cloud, "stable_rank", stable)]


def _neighbours(placed: PlacedCloud, distinct: Tensor, within: SetNeighbours) -> list[CloudEstimate]:
    cloud, n = placed.cloud, int(distinct[0].sum())
    return [
        _from_blocks(cloud, r.estimator, r.n1, r.n2, r.value, r.blocks, scale=r.mean_distance, n_points=n,
                     n_dropped=cloud.n_points - n)
        for r in neighbour_readings(within, distinct)
    ]  # fmt: skip


def _per_prompt(states: Tensor, prompts: Sequence[np.ndarray]) -> list[CloudEstimate]:
    """GRIDE and TwoNN of all tokens of one sequence, averaged over sequences with the error of that mean."""
    per_scale: dict[tuple[str, int | None, int], list[float]] = {}
    for rows in prompts:
        points = states[torch.from_numpy(rows).to(states.device)]
        everyone = torch.ones(1, len(points), dtype=torch.bool, device=points.device)
        for r in readings_of_points(points[first_copies(points, everyone)[0]]):
            per_scale.setdefault((r.estimator, r.n1, r.n2), []).append(r.value)
    n_points = int(np.mean([len(rows) for rows in prompts]))
    estimates = []
    for (estimator, n1, n2), values in per_scale.items():
        mean, error = float(np.mean(values)), float(np.std(values, ddof=1)) / math.sqrt(len(values))
        estimate = Estimate(mean, error, mean - 1.96 * error, mean + 1.96 * error, n_points=n_points)
        estimates.append(CloudEstimate("per_prompt", estimator, n1, n2, estimate, []))
    return estimates


def _of_sets(
    cloud: Cloud, estimator: str, values: np.ndarray | list[float], transform: str = "centred"
) -> CloudEstimate:
    """From (n_sets,) values, the whole cloud's first."""
    value, *blocks = [float(v) for v in values]
    return _from_blocks(cloud, estimator, None, None, value, blocks, n_points=cloud.n_points, transform=transform)


def _from_blocks(
    cloud: Cloud,
    estimator: str,
    n1: int | None,
    n2: int | None,
    value: float,
    blocks: list[float],
    *,
    scale: float = math.nan,
    n_points: int,
    n_dropped: int = 0,
    transform: str = "centred",
) -> CloudEstimate:
    estimate = log_interval(value, blocks, scale=scale, n_points=n_points, n_dropped=n_dropped)
    equivalent = math.nan
    if transform == "centred" and estimator in calibration.CALIBRATED:
        equivalent = calibration.gaussian_equivalent(estimator, n1, value, n_points)
    return CloudEstimate(cloud.name, estimator, n1, n2, estimate, blocks, [], transform, equivalent)


def _c2(d2: CloudEstimate) -> CloudCorrelator:
    """C2 = 1 / d2, with the same relative error."""
    e = d2.estimate
    value = 1 / e.value if e.value > 0 else math.nan
    return CloudCorrelator(d2.cloud, "C2", value, e.std_error * value * value, e.n_points)


def _first_order(states: Tensor, cloud: Cloud) -> list[CloudCorrelator]:
    rows = torch.from_numpy(cloud.rows).to(states.device)
    values = correlators.first_order(states[rows], torch.from_numpy(cloud.members).to(states.device))
    return [
        CloudCorrelator(cloud.name, name, v[0], jackknife_error(np.array(v[1:])), cloud.n_points)
        for name, v in values.items()
    ]
