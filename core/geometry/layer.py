"""Everything that is estimated on one layer: from its points to estimates, replicates, correlators, distributions."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from core.geometry import correlators, one_per_type, spectrum
from core.geometry.clouds import Cloud
from core.geometry.global_estimates import PlacedCloud, Scanned, d2_of_scaled, d2_without_components, place, scan_cloud
from core.geometry.neighbour_estimates import (
    Reading,
    distances_of_sets,
    neighbour_readings,
    readings_of_points,
    stored_neighbours,
)
from core.geometry.neighbours import SetNeighbours, first_copies
from core.geometry.resampling import jackknife_error, log_interval
from core.geometry.results import (
    CloudCorrelator,
    CloudEstimate,
    Distribution,
    LayerResult,
    as_cloud_estimate,
    from_blocks,
    of_sets,
)


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
        placed, scanned, distinct, d2 = measure_draws(states, plan, plan.word_draws)
        estimates += [
            d2,
            *_second_order(placed, scanned),
            *_neighbours(placed, distinct, distances_of_sets(scanned.table, distinct)),
        ]
        found += [_c2(d2), *_first_order(states, placed.cloud)]
    for cloud in plan.others:
        placed = place(states, cloud)
        scanned, distinct = scan_with_neighbours(placed, typed=cloud.name == "all_tokens")
        d2 = of_sets(cloud, "d2", scanned.d2)
        estimates += [
            d2,
            *_second_order(placed, scanned),
            *_neighbours(placed, distinct, distances_of_sets(scanned.table, distinct)),
        ]
        found += [_c2(d2), *_first_order(states, cloud)]
    if plan.prompts:
        estimates += _per_prompt(states, plan.prompts)
    return LayerResult(estimates, found, distributions, duplicates, states.device.type)


# --- one token per type ----------------------------------------------------------------------------------------


def _measure_types(
    states: Tensor,
    plan: LayerPlan,
    estimates: list[CloudEstimate],
    found: list[CloudCorrelator],
    distributions: list[Distribution],
) -> float:
    """The primary cloud; returns the share of exact copies in it."""
    placed, scanned, distinct, d2 = measure_draws(states, plan, plan.draws)
    within = distances_of_sets(scanned.table, distinct)
    cloud = placed.cloud
    estimates += [d2, *_second_order(placed, scanned)]
    estimates.append(of_sets(cloud, "d2", d2_without_components(placed), transform="abtt3"))
    estimates.append(of_sets(cloud, "d2", d2_of_scaled(placed), transform="zscore"))
    read = _neighbours(placed, distinct, within)
    estimates += read
    local_d2, of_tokens = one_per_type.local_readings(placed, scanned.table, distinct, plan.seed)
    estimates += local_d2
    distributions += of_tokens
    estimates.append(one_per_type.correlation_integral(placed, distinct, within))
    estimates += one_per_type.further(placed, plan.more_estimators)
    surrogate = one_per_type.surrogates(placed, plan.n_surrogates, plan.seed)
    estimates += surrogate
    found += [_c2(d2), *_first_order(states, cloud), *one_per_type.nonlinearity(read, surrogate)]
    found.append(one_per_type.cosines(placed, plan.seed, distributions))
    copies = cloud.n_points - int(distinct[0].sum())
    return copies / cloud.n_points


def measure_draws(
    states: Tensor, plan: LayerPlan, draws: list[Cloud]
) -> tuple[PlacedCloud, Scanned, Tensor, CloudEstimate]:
    """The first draw with its pass over pairs and its member sets without copies; d2 over all draws."""
    halves = torch.from_numpy(plan.halves).to(states.device)
    placed = place(states, draws[0])
    scanned, distinct = scan_with_neighbours(placed, halves=halves)
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
        of_sets(cloud, "d2_all_pairs", scanned.d2_all_pairs),
        of_sets(cloud, "participation_ratio", scanned.participation_ratio),
    ]
    if cloud.name == "one_per_word":  # a cloud to compare by, not to look into
        return estimates
    if len(scanned.d2_typed):
        estimates.append(of_sets(cloud, "d2_typed", scanned.d2_typed))
    effective, stable = spectrum.rank_replicates(placed.points, placed.members)
    return [*estimates, of_sets(cloud, "effective_rank", effective), of_sets(cloud, "stable_rank", stable)]


def _neighbours(placed: PlacedCloud, distinct: Tensor, within: SetNeighbours) -> list[CloudEstimate]:
    cloud, n = placed.cloud, int(distinct[0].sum())
    return [
        from_blocks(
            cloud,
            r.estimator,
            r.n1,
            r.n2,
            r.value,
            r.blocks,
            scale=r.mean_distance,
            n_points=n,
            n_dropped=cloud.n_points - n,
        )
        for r in neighbour_readings(within, distinct)
    ]


def _per_prompt(states: Tensor, prompts: Sequence[np.ndarray]) -> list[CloudEstimate]:
    """GRIDE and TwoNN of all tokens of one sequence, averaged over sequences with the error of that mean.

    Sequences count as independent: each is left out in turn. N is the mean number of distinct points.
    """
    read: dict[tuple[str, int | None, int], list[Reading]] = {}
    kept = []
    for rows in prompts:
        points = states[torch.from_numpy(rows).to(states.device)]
        everyone = torch.ones(1, len(points), dtype=torch.bool, device=points.device)
        distinct = points[first_copies(points, everyone)[0]]
        kept.append(len(distinct))
        for reading in readings_of_points(distinct):
            read.setdefault((reading.estimator, reading.n1, reading.n2), []).append(reading)
    n_points = round(float(np.mean(kept)))
    n_dropped = round(float(np.mean([len(rows) for rows in prompts]))) - n_points
    return [
        _mean_over_prompts(readings, len(prompts), n_points=n_points, n_dropped=n_dropped) for readings in read.values()
    ]


def _mean_over_prompts(readings: list[Reading], n_prompts: int, *, n_points: int, n_dropped: int) -> CloudEstimate:
    values = np.array([r.value for r in readings if math.isfinite(r.value)])
    without_one = (values.sum() - values) / (len(values) - 1) if len(values) > 1 else []
    notes = "" if len(values) == n_prompts else f"undefined in {n_prompts - len(values)} of {n_prompts} sequences"
    estimate = log_interval(
        float(values.mean()) if len(values) else math.nan,
        list(without_one),
        scale=float(np.mean([r.mean_distance for r in readings])),
        n_points=n_points,
        n_dropped=n_dropped,
        notes=notes,
    )
    first = readings[0]
    return as_cloud_estimate("per_prompt", first.estimator, first.n1, first.n2, estimate)


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
